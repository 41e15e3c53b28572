// Virtual time: it stands still while anything can be done, and then jumps to the next event.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include <cohort/core/time.hpp>

namespace cohort::sim {

/// One thread only. Events of one moment happen in the order in which they were planned, so a run can be repeated.
class clock {
public:
    /// Names a planned event.
    using ticket = std::pair<time_point, std::uint64_t>;

    time_point now() const { return now_; }

    /// Plans `what` for `when`, or for now if that has passed.
    ticket at(time_point when, std::function<void()> what) {
        const ticket out{std::max(when, now_), ++planned_};
        if (!closed_) events_.emplace(out, std::move(what));
        return out;
    }
    ticket after(duration d, std::function<void()> what) { return at(now_ + d, std::move(what)); }

    /// The event does not happen, if it has not happened yet.
    void cancel(const ticket& which) { events_.erase(which); }

    /// The end of time: nothing of what is planned, or will be, happens.
    void close() {
        closed_ = true;
        const auto forgotten = std::exchange(events_, {});
    }

    bool idle() const { return events_.empty(); }

    /// Time passes and nobody notices, as when a machine sleeps: what was planned for meanwhile happens late, at once.
    void jump(duration d) { now_ += d; }

    /// Goes to the next event and lets it happen. There must be one.
    void step() {
        auto next = events_.extract(events_.begin());
        now_ = std::max(now_, next.key().first);
        next.mapped()();
    }

private:
    // Not the epoch: code that takes a default time_point for "never" shall see that it is not now.
    time_point now_ = time_point(std::chrono::hours(24));
    std::uint64_t planned_ = 0;
    bool closed_ = false;
    std::map<ticket, std::function<void()>> events_;
};

}  // namespace cohort::sim
