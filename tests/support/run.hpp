// Runs one coroutine on the machine's own network, with a bound on its time.
#pragma once

#include <exception>
#include <stdexcept>
#include <utility>

#include <cohort/core/time.hpp>
#include <cohort/net/real_network.hpp>

namespace cohort::test {

/// Starts f(network&) and runs until nothing is left to do, so that work which f leaves behind counts as a hang.
/// Rethrows what f throws; throws std::runtime_error when `limit` passes first. `f` outlives the coroutine.
template <class F>
void run(F f, duration limit = 20s) {
    asio::io_context io(1);
    real_network net(io.get_executor());
    std::exception_ptr failure;
    bool ended = false;
    asio::co_spawn(io, f(net), [&failure, &ended, &io](std::exception_ptr thrown) {
        failure = std::move(thrown);
        ended = true;
        if (failure) io.stop();
    });
    io.run_for(limit);
    if (failure) std::rethrow_exception(failure);
    if (!ended) throw std::runtime_error("the coroutine did not end within its limit");
    if (!io.stopped()) throw std::runtime_error("the coroutine left work behind");
}

}  // namespace cohort::test
