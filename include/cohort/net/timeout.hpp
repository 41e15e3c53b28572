// A bound on how long an operation may take.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/network.hpp>

namespace cohort {

/// Completes when `op` does, with its result or exception. Throws errc::timed_out when `limit` passes first: `op` has
/// then been cancelled and has ended. Cancelling cancels `op` and throws asio::error::operation_aborted, never
/// timed_out. `op || timer` would not do: it waits for the first success, so a fast failure would wait for the timer.
template <class T>
asio::awaitable<T> with_timeout(network& net, duration limit, asio::awaitable<T> op) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto both = asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(op), deferred),
                                                        asio::co_spawn(executor, net.sleep_for(limit), deferred));
    auto outcome = co_await both.async_wait(asio::experimental::wait_for_one(), as_result);
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();

    const std::size_t first = std::get<0>(outcome)[0];
    if (first == 1) raise(errc::timed_out);
    if (const std::exception_ptr failure = std::get<1>(outcome)) std::rethrow_exception(failure);
    if constexpr (!std::is_void_v<T>) co_return std::move(std::get<2>(outcome));
}

}  // namespace cohort
