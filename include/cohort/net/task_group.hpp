// Coroutines that belong to an object and end with it: structured concurrency in fifty lines.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <utility>

#include <cohort/net/asio.hpp>
#include <cohort/net/wakeup.hpp>

namespace cohort {

/// A set of running coroutines. None is lost: join() waits for all of them and throws what one of them threw first.
/// Whoever owns a group awaits join() before destroying what the tasks refer to. One thread only.
class task_group {
public:
    explicit task_group(asio::any_io_executor executor) : state_(std::make_shared<state>(std::move(executor))) {
        state_->self = state_;
    }
    /// What has not begun by now never does: an owner that failed before its first turn leaves nobody behind.
    ~task_group() { state_->abandoned = true; }
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;

    /// Starts `task` at the next turn of the executor. After cancel() it is started cancelled. Throws nothing: a task
    /// for which there is no memory has failed.
    void spawn(asio::awaitable<void> task) noexcept {
        try {
            admit(std::move(task));
        } catch (...) {
            state_->fail(std::current_exception());
        }
    }

    /// The same for a task without which the others go on: throws std::bad_alloc.
    void admit(asio::awaitable<void> task) {
        const std::uint64_t id = state_->next_id++;
        state_->running[id];
        try {
            // Posted, because co_spawn() alone would run the task up to its first wait inside this call.
            asio::post(state_->executor,
                       [state = state_, id, task = std::move(task)]() mutable { state->start(id, std::move(task)); });
        } catch (...) {
            state_->running.erase(id);
            throw;
        }
        if (state_->cancelled) state_->cancel_one(id);
    }

    /// Asks every task to end: each sees asio::error::operation_aborted at what it awaits.
    void cancel() {
        state_->cancelled = true;
        for (auto& [id, signal] : state_->running) state_->cancel_one(id);
    }

    std::size_t size() const { return state_->running.size(); }

    /// Completes when no task is left; throws the first exception that is not a cancellation. A failing task cancels
    /// the others. Cancelling join() cancels the tasks and still waits for them.
    asio::awaitable<void> join() {
        std::exception_ptr interrupted;  // by a cancellation, or by what there was no memory for
        while (!state_->running.empty()) {
            try {
                co_await state_->changed.wait();
            } catch (...) {
                interrupted = std::current_exception();
            }
            if (interrupted) {
                cancel();
                co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
            }
        }
        if (state_->failure) std::rethrow_exception(state_->failure);
        if (interrupted) std::rethrow_exception(interrupted);
    }

private:
    /// Shared with the completion handlers, so that a group destroyed with its executor's context leaves none dangling.
    struct state {
        explicit state(asio::any_io_executor ex) : executor(std::move(ex)), changed(executor) {}

        void start(std::uint64_t id, asio::awaitable<void> task) {
            if (abandoned) return;
            asio::cancellation_signal& signal = running[id];
            try {
                asio::co_spawn(
                    executor, std::move(task),
                    asio::bind_cancellation_slot(signal.slot(), [state = self.lock(), id](std::exception_ptr thrown) {
                        state->ended(id, std::move(thrown));
                    }));
            } catch (...) {
                ended(id, std::current_exception());
            }
        }

        /// Posted, because emitting a signal can run the task, and its end, on the spot.
        void cancel_one(std::uint64_t id) {
            asio::post(executor, [weak = self, id] {
                const std::shared_ptr<state> alive = weak.lock();
                if (!alive) return;
                const auto found = alive->running.find(id);
                if (found != alive->running.end()) found->second.emit(asio::cancellation_type::terminal);
            });
        }

        void ended(std::uint64_t id, std::exception_ptr thrown) {
            running.erase(id);
            if (thrown && !is_cancellation(thrown)) fail(std::move(thrown));
            if (running.empty()) changed.notify();
        }

        void fail(std::exception_ptr why) {
            if (failure) return;
            failure = std::move(why);
            cancelled = true;
            for (auto& [id, signal] : running) cancel_one(id);
        }

        asio::any_io_executor executor;
        wakeup changed;
        std::map<std::uint64_t, asio::cancellation_signal> running;
        std::weak_ptr<state> self;
        std::uint64_t next_id = 0;
        std::exception_ptr failure;
        bool cancelled = false;
        bool abandoned = false;  // by the group
    };

    std::shared_ptr<state> state_;
};

}  // namespace cohort
