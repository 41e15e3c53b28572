// precompiled.hpp and Asio, for the rooms that wait. cohort's own header comes first because it prepares Asio.
#include "precompiled.hpp"

#include <cohort/net/asio.hpp>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/read.hpp>
#include <asio/signal_set.hpp>
#include <asio/thread_pool.hpp>
#include <asio/write.hpp>
