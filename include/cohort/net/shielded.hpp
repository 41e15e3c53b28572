// Work that is done in good order even if whoever awaits it is cancelled meanwhile.
#pragma once

#include <exception>
#include <utility>

#include <cohort/net/asio.hpp>

namespace cohort {

/// Completes as `op` does, which no cancellation reaches. One that comes meanwhile takes effect afterwards: if `op`
/// did not throw, asio::error::operation_aborted is thrown then. Disabling cancellation alone would forget it.
inline asio::awaitable<void> shielded(asio::awaitable<void> op) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation(),
                                                       asio::disable_cancellation());
    std::exception_ptr failure;
    try {
        co_await asio::co_spawn(executor, std::move(op), asio::use_awaitable);
    } catch (...) {
        failure = std::current_exception();
    }
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    const bool cancelled = state.cancelled() != asio::cancellation_type::none;  // resetting takes it away
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    co_await asio::this_coro::throw_if_cancelled(true);
    if (failure) std::rethrow_exception(failure);
    if (cancelled) throw_cancelled();
}

}  // namespace cohort
