// Threads for what would hold up the protocol: disk work and hashing. Work is posted to lanes; the jobs of one lane
// run one after the other, in the order they came, so what belongs to one piece needs no lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace cohort {

/// Runs jobs. A job must not throw: whoever posts it passes failures on inside it.
class job_runner {
public:
    virtual ~job_runner() = default;

    /// Queues the job and returns at once; from any thread. Whoever posts bounds how many are under way.
    virtual void post(std::uint32_t lane, std::function<void()> job) = 0;
    /// How many lanes run side by side; lanes beyond share.
    virtual std::uint32_t concurrency() const = 0;
};

/// A fixed number of threads. Lane n always runs on thread n modulo that number.
class worker_pool final : public job_runner {
public:
    explicit worker_pool(std::uint32_t threads = std::max(1u, std::thread::hardware_concurrency())) {
        const std::uint32_t count = std::max(1u, threads);
        workers_.reserve(count);
        for (std::uint32_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<worker>());
    }

    /// Finishes what is queued, and what that posts, then ends the threads.
    ~worker_pool() override {
        // A running job may still post to any worker, so all must be idle before the first is told to end.
        std::unique_lock lock(pending_mutex_);
        idle_.wait(lock, [this] { return pending_ == 0; });
    }

    worker_pool(const worker_pool&) = delete;
    worker_pool& operator=(const worker_pool&) = delete;

    void post(std::uint32_t lane, std::function<void()> job) override {
        {
            const std::lock_guard lock(pending_mutex_);
            ++pending_;
        }
        try {
            workers_[lane % workers_.size()]->push([this, job = std::move(job)]() mutable noexcept {
                job();
                job = nullptr;  // what it holds goes away before we count it as done
                one_less();
            });
        } catch (...) {
            one_less();
            throw;
        }
    }

    std::uint32_t concurrency() const override { return static_cast<std::uint32_t>(workers_.size()); }

private:
    class worker {
    public:
        worker() : thread_([this] { run(); }) {}

        ~worker() {
            {
                const std::lock_guard lock(mutex_);
                ending_ = true;
            }
            filled_.notify_one();
            thread_.join();
        }

        void push(std::function<void()> job) {
            {
                const std::lock_guard lock(mutex_);
                queue_.push_back(std::move(job));
            }
            filled_.notify_one();
        }

    private:
        void run() noexcept {
            for (;;) {
                std::unique_lock lock(mutex_);
                filled_.wait(lock, [this] { return ending_ || !queue_.empty(); });
                if (queue_.empty()) return;
                std::function<void()> job = std::move(queue_.front());
                queue_.pop_front();
                lock.unlock();
                job();
            }
        }

        std::mutex mutex_;
        std::condition_variable filled_;
        std::deque<std::function<void()>> queue_;
        bool ending_ = false;
        std::thread thread_;  // the last member: it uses the others
    };

    void one_less() {
        const std::lock_guard lock(pending_mutex_);
        if (--pending_ == 0) idle_.notify_all();
    }

    std::mutex pending_mutex_;
    std::condition_variable idle_;
    std::size_t pending_ = 0;
    std::vector<std::unique_ptr<worker>> workers_;
};

/// Runs `work(0)` ... `work(n - 1)` side by side, one on each of the runner's lanes, and waits for all of them.
/// Throws what the first of them threw. Not to be called from a job of the same runner.
inline void run_on_all_lanes(job_runner& runner, const std::function<void(std::uint32_t lane)>& work) {
    struct {
        std::mutex mutex;
        std::condition_variable done;
        std::uint32_t left = 0;
        std::exception_ptr failure;
    } shared;
    const std::uint32_t lanes = runner.concurrency();
    shared.left = lanes;
    const auto ended = [&shared](std::uint32_t how_many, std::exception_ptr failure) {
        const std::lock_guard lock(shared.mutex);
        if (failure && !shared.failure) shared.failure = std::move(failure);
        shared.left -= how_many;
        if (shared.left == 0) shared.done.notify_all();
    };
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
        try {
            runner.post(lane, [&ended, &work, lane] {
                std::exception_ptr failure;
                try {
                    work(lane);
                } catch (...) {
                    failure = std::current_exception();
                }
                ended(1, std::move(failure));
            });
        } catch (...) {
            // Those that run already use what is ours.
            ended(lanes - lane, std::current_exception());
            break;
        }
    }
    std::unique_lock lock(shared.mutex);
    shared.done.wait(lock, [&shared] { return shared.left == 0; });
    if (shared.failure) std::rethrow_exception(shared.failure);
}

/// Divides [0, count) into slices of at most `step` and runs `work(first, last)` for each, on all lanes side by side,
/// until all are done or one call returns false. Throws what the first call to fail threw. As run_on_all_lanes().
template <class Work>
void run_slices(job_runner& runner, std::uint32_t count, std::uint32_t step, const Work& work) {
    std::atomic<std::uint64_t> next = 0;
    std::atomic<bool> go_on = true;
    run_on_all_lanes(runner, [&](std::uint32_t) {
        while (go_on) {
            const std::uint64_t first = next.fetch_add(step);
            if (first >= count) return;
            const std::uint64_t last = std::min<std::uint64_t>(first + step, count);
            try {
                if (!work(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last))) go_on = false;
            } catch (...) {
                go_on = false;
                throw;
            }
        }
    });
}

}  // namespace cohort
