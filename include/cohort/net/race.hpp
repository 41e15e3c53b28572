// Two operations at once, until one ends: what with_timeout() and beside() are made of.
#pragma once

#include <exception>
#include <optional>
#include <tuple>
#include <utility>

#include <cohort/net/asio.hpp>

#include <asio/experimental/parallel_group.hpp>

namespace cohort::detail {

struct race_result {
    bool first_won = false;
    bool cancelled = false;  ///< by whoever awaited the race
    std::exception_ptr first_failure;
    std::exception_ptr second_failure;
};

/// Completes when both have ended: as soon as one has, the other is cancelled. Throws nothing of theirs. Cancelling
/// cancels both.
inline asio::awaitable<race_result> race(asio::awaitable<void> first, asio::awaitable<void> second) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto both = asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(first), deferred),
                                                        asio::co_spawn(executor, std::move(second), deferred));
    auto outcome = co_await both.async_wait(asio::experimental::wait_for_one(), as_result);
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    race_result out;
    out.first_won = std::get<0>(outcome)[0] == 0;
    out.cancelled = state.cancelled() != asio::cancellation_type::none;
    out.first_failure = std::get<1>(outcome);
    out.second_failure = std::get<2>(outcome);
    co_return out;
}

/// Puts the result of `op` where it is to go. A race of results themselves would be compiled anew for each type.
template <class T>
asio::awaitable<void> keep_result(asio::awaitable<T> op, std::optional<T>& out) {
    T result = co_await std::move(op);
    out.emplace(std::move(result));
}

}  // namespace cohort::detail
