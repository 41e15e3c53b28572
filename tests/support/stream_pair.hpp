// Two connected streams for tests that need both ends.
#pragma once

#include <memory>
#include <utility>

#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>

#include <cohort/net/network.hpp>
#include <cohort/net/wrap.hpp>

namespace cohort::test {

struct stream_pair {
    std::unique_ptr<stream> first;
    std::unique_ptr<stream> second;
};

/// Over TCP, on this machine. `first` has dialled.
inline asio::awaitable<stream_pair> tcp_pair(network& net) {
    const endpoint any{ip_address::loopback_v4(), 0};
    const std::unique_ptr<listener> door = net.listen(any);
    stream_pair out;
    out.first = co_await net.connect(door->local_endpoint());
    out.second = co_await door->accept();
    co_return out;
}

/// Over a Unix socket, wrapped as any Asio stream would be.
inline stream_pair unix_pair(network& net) {
    asio::local::stream_protocol::socket first(net.executor());
    asio::local::stream_protocol::socket second(net.executor());
    asio::local::connect_pair(first, second);
    return {wrap(std::move(first)), wrap(std::move(second))};
}

}  // namespace cohort::test
