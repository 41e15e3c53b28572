// Waiting for something that another coroutine of the same thread does.
#pragma once

#include <cohort/net/asio.hpp>

namespace cohort {

/// A condition without memory: notify() resumes those who wait now, so the state it speaks of is looked at before
/// waiting and again after: `while (queue.empty()) co_await changed.wait();`. One thread only.
class wakeup {
public:
    /// The timer never fires by itself; cancelling it is what wakes. That is Asio's own idiom for a condition, and
    /// it inherits cancellation of the waiting coroutine for nothing.
    explicit wakeup(const asio::any_io_executor& executor) : timer_(executor, asio::steady_timer::time_point::max()) {}

    void notify() { timer_.cancel(); }

    /// Completes at the next notify(). Cancelling the waiter throws asio::error::operation_aborted.
    asio::awaitable<void> wait() {
        co_await timer_.async_wait(as_result);
        const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
    }

private:
    asio::steady_timer timer_;
};

}  // namespace cohort
