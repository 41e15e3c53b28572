// Waiting for what no event tells: the condition is looked at in every turn of the executor.
#pragma once

#include <stdexcept>

#include <asio/post.hpp>

#include <cohort/net/network.hpp>

namespace cohort::test {

/// Completes when `holds()` does. Throws std::runtime_error if that takes more than ten seconds.
template <class Condition>
asio::awaitable<void> eventually(network& net, Condition holds) {
    const time_point deadline = net.now() + 10s;
    while (!holds()) {
        if (net.now() > deadline) throw std::runtime_error("what was waited for did not happen");
        co_await asio::post(net.executor(), asio::use_awaitable);
    }
}

/// Lets everybody have so many turns: enough for what was sent to have been heard.
inline asio::awaitable<void> take_turns(network& net, int turns) {
    for (; turns > 0; --turns) co_await asio::post(net.executor(), asio::use_awaitable);
}

}  // namespace cohort::test
