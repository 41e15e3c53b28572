// Awaiting work that blocks - disk and hashing - while it runs on the pool.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <cohort/net/asio.hpp>
#include <cohort/storage/worker_pool.hpp>

#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>

namespace cohort {

namespace detail {

/// Starts a job and resumes the waiting coroutine on its own executor afterwards.
struct job_initiation {
    job_runner* pool;
    std::uint32_t lane;

    template <class Handler>
    void operator()(Handler handler, std::function<void()> work) const {
        auto executor = asio::get_associated_executor(handler);
        auto resume = std::make_shared<Handler>(std::move(handler));
        auto alive = asio::make_work_guard(executor);
        pool->post(lane, [work = std::move(work), resume = std::move(resume), alive = std::move(alive)]() mutable {
            work();
            auto ex = alive.get_executor();
            asio::post(ex, [resume = std::move(resume)] { std::move (*resume)(); });
        });
    }
};

}  // namespace detail

/// Completes when `work()` has run on the pool; returns its result or throws its exception. A job cannot be cancelled
/// halfway: cancelling takes effect at the caller's next co_await. So `work` may refer to the caller's locals.
template <class Work>
asio::awaitable<std::invoke_result_t<Work&>> run_job(job_runner& pool, std::uint32_t lane, Work work) {
    using result = std::invoke_result_t<Work&>;
    std::conditional_t<std::is_void_v<result>, bool, std::optional<result>> value{};
    std::exception_ptr failure;
    std::function<void()> job = [&] {
        try {
            if constexpr (std::is_void_v<result>) {
                work();
            } else {
                value = work();
            }
        } catch (...) {
            failure = std::current_exception();
        }
    };
    const detail::job_initiation start{&pool, lane};
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(start, asio::use_awaitable, std::move(job));
    if (failure) std::rethrow_exception(failure);
    if constexpr (!std::is_void_v<result>) co_return std::move(*value);
}

}  // namespace cohort
