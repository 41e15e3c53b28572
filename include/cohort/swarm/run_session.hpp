// A session that lives exactly as long as what it is for.
#pragma once

#include <exception>
#include <utility>

#include <cohort/net/beside.hpp>
#include <cohort/swarm/session.hpp>

namespace cohort {

namespace detail {

/// Ends the session when its purpose has ended.
inline asio::awaitable<void> serve_purpose(session& owner, asio::awaitable<void> purpose) {
    std::exception_ptr failure;
    try {
        co_await std::move(purpose);
    } catch (...) {
        failure = std::current_exception();
    }
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await owner.stop();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace detail

/// Runs the session until `purpose` completes, then stops it; completes when nothing of it runs any more. Throws what
/// `purpose` or the session threw. Cancelling cancels `purpose`, and stops the session in the same good order.
inline asio::awaitable<void> run_session(session& owner, asio::awaitable<void> purpose) {
    return beside(owner.run(), detail::serve_purpose(owner, std::move(purpose)));
}

}  // namespace cohort
