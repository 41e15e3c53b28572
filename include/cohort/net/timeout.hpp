// A bound on how long an operation may take.
#pragma once

#include <exception>
#include <optional>
#include <utility>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/race.hpp>

namespace cohort {

/// Completes when `op` does, with its result or exception. Throws errc::timed_out when `limit` passes first: `op` has
/// then been cancelled and has ended. Cancelling cancels `op` and throws asio::error::operation_aborted, never
/// timed_out. `op || timer` would not do: it waits for the first success, so a fast failure would wait for the timer.
inline asio::awaitable<void> with_timeout(network& net, duration limit, asio::awaitable<void> op) {
    const detail::race_result outcome = co_await detail::race(std::move(op), net.sleep_for(limit));
    if (outcome.cancelled) throw_cancelled();
    if (!outcome.first_won) raise(errc::timed_out);
    if (outcome.first_failure) std::rethrow_exception(outcome.first_failure);
}

/// The same for an operation that returns something.
template <class T>
asio::awaitable<T> with_timeout(network& net, duration limit, asio::awaitable<T> op) {
    std::optional<T> result;
    auto kept = detail::keep_result(std::move(op), result);
    co_await with_timeout(net, limit, std::move(kept));
    co_return std::move(*result);
}

}  // namespace cohort
