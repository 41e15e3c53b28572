// A function that encrypts a connection: how https and wss get TLS without making their clients depend on it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <cohort/net/stream.hpp>

namespace cohort {

/// Turns a connection to `host` into an encrypted one; tls_upgrade() of net/tls_stream.hpp makes one.
using stream_upgrade =
    std::function<asio::awaitable<std::unique_ptr<stream>>(std::unique_ptr<stream> plain, std::string host)>;

}  // namespace cohort
