// Awaiting work that blocks - disk and hashing - while it runs on the pool.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include <cohort/net/asio.hpp>
#include <cohort/storage/worker_pool.hpp>

#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>

namespace cohort {

namespace detail {

/// Has `then` called on `executor`, from a job that is over. Who waits for that would wait for ever without, so where
/// there is no memory for it, this thread of the pool waits until there is.
template <class Then>
void post_result(const asio::any_io_executor& executor, Then then) {
    for (;;) {
        try {
            return asio::post(executor, then);
        } catch (const std::bad_alloc&) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
}

/// A coroutine that waits for its job.
struct job_waiter {
    using handler = asio::async_result<asio::use_awaitable_t<>, void()>::handler_type;

    void resume() { std::exchange(waiting, std::nullopt).value()(); }

    std::optional<handler> waiting;
};

/// Leaves the coroutine with its waiter.
struct job_initiation {
    void operator()(job_waiter::handler handler, std::shared_ptr<job_waiter> waiter) const {
        waiter->waiting.emplace(std::move(handler));
    }
};

/// The same for all kinds of work, so that little is compiled anew for each.
inline asio::awaitable<void> run_on_pool(job_runner& pool, std::uint32_t lane, std::function<void()> work) {
    std::exception_ptr failure;
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto waiter = std::make_shared<job_waiter>();
    std::function<void()> job = [&work, &failure, waiter, alive = asio::make_work_guard(executor)] {
        try {
            work();
        } catch (...) {
            failure = std::current_exception();
        }
        post_result(alive.get_executor(), [waiter] { waiter->resume(); });
    };
    // From the post on nothing may throw, as the job has our locals: all that takes memory is done before, and so is
    // the look at a cancellation that the co_await takes.
    const job_initiation keep;
    auto done =
        asio::async_initiate<const asio::use_awaitable_t<>, void()>(keep, asio::use_awaitable, std::move(waiter));
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    if (throws && state.cancelled() != asio::cancellation_type::none) throw_cancelled();
    pool.post(lane, std::move(job));
    co_await std::move(done);
    if (failure) std::rethrow_exception(failure);
}

}  // namespace detail

/// Completes when `work()` has run on the pool; returns its result or throws its exception. A job cannot be cancelled
/// halfway: cancelling takes effect at the caller's next co_await. So `work` may refer to the caller's locals. Throws
/// std::bad_alloc if there is no memory to begin with.
template <class Work>
asio::awaitable<std::invoke_result_t<Work&>> run_job(job_runner& pool, std::uint32_t lane, Work work) {
    std::optional<std::invoke_result_t<Work&>> result;
    std::function<void()> job = [&work, &result] { result.emplace(work()); };
    co_await detail::run_on_pool(pool, lane, std::move(job));
    co_return std::move(*result);
}

/// The same for work without a result.
template <class Work>
    requires std::is_void_v<std::invoke_result_t<Work&>>
asio::awaitable<void> run_job(job_runner& pool, std::uint32_t lane, Work work) {
    return detail::run_on_pool(pool, lane, std::function<void()>(std::move(work)));
}

}  // namespace cohort
