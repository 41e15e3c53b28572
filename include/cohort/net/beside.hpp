// An operation that needs something else to run meanwhile.
#pragma once

#include <exception>
#include <optional>
#include <utility>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/race.hpp>

namespace cohort {

/// Runs `background` for as long as `op` takes: `co_await beside(peer.run(), fetch(peer))`. Completes when both have
/// ended, with what `op` returned or threw; `background` is cancelled once `op` is over. If `background` ends first,
/// `op` is cancelled and what ended `background` is thrown; if that just returned, what `op` threw for reasons of its
/// own, else errc::stopped. Cancelling cancels both and throws asio::error::operation_aborted.
inline asio::awaitable<void> beside(asio::awaitable<void> background, asio::awaitable<void> op) {
    const detail::race_result outcome = co_await detail::race(std::move(op), std::move(background));
    if (!outcome.first_won && outcome.first_failure) {
        if (outcome.cancelled) throw_cancelled();
        if (outcome.second_failure) std::rethrow_exception(outcome.second_failure);
        // It may have failed for reasons of its own, and ended the background while it cleaned up.
        if (!is_cancellation(outcome.first_failure)) std::rethrow_exception(outcome.first_failure);
        raise(errc::stopped);
    }
    if (outcome.first_failure) std::rethrow_exception(outcome.first_failure);
}

/// The same for an operation that returns something.
template <class T>
asio::awaitable<T> beside(asio::awaitable<void> background, asio::awaitable<T> op) {
    std::optional<T> result;
    auto kept = detail::keep_result(std::move(op), result);
    co_await beside(std::move(background), std::move(kept));
    co_return std::move(*result);
}

}  // namespace cohort
