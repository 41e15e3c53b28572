// An operation that needs something else to run meanwhile.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>

namespace cohort {

/// Runs `background` for as long as `op` takes: `co_await beside(peer.run(), fetch(peer))`. Completes when both have
/// ended, with what `op` returned or threw; `background` is cancelled once `op` is over. If `background` ends first,
/// `op` is cancelled and what ended `background` is thrown; if that just returned, what `op` threw for reasons of its
/// own, else errc::stopped. Cancelling cancels both and throws asio::error::operation_aborted.
template <class T>
asio::awaitable<T> beside(asio::awaitable<void> background, asio::awaitable<T> op) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto both = asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(op), deferred),
                                                        asio::co_spawn(executor, std::move(background), deferred));
    auto outcome = co_await both.async_wait(asio::experimental::wait_for_one(), as_result);
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    const bool op_first = std::get<0>(outcome)[0] == 0;
    const std::exception_ptr op_failure = std::get<1>(outcome);
    const std::exception_ptr background_failure = std::get<std::tuple_size_v<decltype(outcome)> - 1>(outcome);
    if (!op_first && op_failure) {
        if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
        if (background_failure) std::rethrow_exception(background_failure);
        // It may have failed for reasons of its own, and ended the background while it cleaned up.
        if (!is_cancellation(op_failure)) std::rethrow_exception(op_failure);
        raise(errc::stopped);
    }
    if (op_failure) std::rethrow_exception(op_failure);
    if constexpr (!std::is_void_v<T>) co_return std::move(std::get<2>(outcome));
}

}  // namespace cohort
