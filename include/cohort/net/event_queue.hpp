// Events wait here for whoever wants them, in a queue that never grows without bound.
#pragma once

#include <cstddef>
#include <deque>
#include <new>
#include <utility>

#include <cohort/net/wakeup.hpp>

namespace cohort {

/// When nobody takes them, the oldest make room. One thread only.
template <class Event>
class basic_event_queue {
public:
    static constexpr std::size_t capacity = 1024;

    explicit basic_event_queue(const asio::any_io_executor& executor) : changed_(executor) {}

    /// What happened has happened: where no memory is left to tell of it, the reader hears of that.
    void push(Event what) noexcept {
        if (waiting_.size() == capacity) waiting_.pop_front();
        try {
            waiting_.push_back(std::move(what));
        } catch (const std::bad_alloc&) {
            lost_ = true;
        }
        changed_.notify();
    }

    /// Completes with the oldest event not taken yet. Throws std::bad_alloc after those before a gap. Cancelling takes
    /// none.
    asio::awaitable<Event> next() {
        while (waiting_.empty()) {
            if (std::exchange(lost_, false)) throw std::bad_alloc();
            co_await changed_.wait();
        }
        Event oldest = std::move(waiting_.front());
        waiting_.pop_front();
        co_return oldest;
    }

private:
    std::deque<Event> waiting_;
    bool lost_ = false;  // events, for want of memory
    wakeup changed_;
};

}  // namespace cohort
