// Events wait here for whoever wants them, in a queue that never grows without bound.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include <cohort/net/wakeup.hpp>

namespace cohort {

/// When nobody takes them, the oldest make room. One thread only.
template <class Event>
class basic_event_queue {
public:
    static constexpr std::size_t capacity = 1024;

    explicit basic_event_queue(const asio::any_io_executor& executor) : changed_(executor) {}

    void push(Event what) {
        if (waiting_.size() == capacity) waiting_.pop_front();
        waiting_.push_back(std::move(what));
        changed_.notify();
    }

    /// Completes with the oldest event not taken yet. Cancelling takes none.
    asio::awaitable<Event> next() {
        while (waiting_.empty()) co_await changed_.wait();
        Event oldest = std::move(waiting_.front());
        waiting_.pop_front();
        co_return oldest;
    }

private:
    std::deque<Event> waiting_;
    wakeup changed_;
};

}  // namespace cohort
