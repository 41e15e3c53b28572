// How fast bytes come and go: over the last five seconds, in constant memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <cohort/core/time.hpp>

namespace cohort {

class rate_meter {
public:
    static constexpr duration window = 5s;

    void add(std::uint64_t bytes, time_point now) {
        advance(now);
        slots_[static_cast<std::size_t>(slot_) % slots_.size()] += bytes;
        in_window_ += bytes;
        total_ += bytes;
    }

    /// Bytes a second, over the window or the time since the first add() if that is shorter (but never less than a
    /// slot of a quarter second, so that a first burst does not look like a flood).
    double rate(time_point now) {
        if (total_ == 0) return 0;
        advance(now);
        // The newest slot has only begun, so the window reaches from the start of the oldest to now.
        const duration covered = now - time_point(slot_length * (slot_ - static_cast<std::int64_t>(slots_.size()) + 1));
        return static_cast<double>(in_window_) /
               to_seconds(std::clamp(std::min(covered, now - began_), slot_length, window));
    }

    /// Bytes since the beginning.
    std::uint64_t total() const { return total_; }

private:
    static constexpr duration slot_length = 250ms;

    /// Empties the slots that have left the window. A clock that goes back counts as standing still.
    void advance(time_point now) {
        const std::int64_t current = now.time_since_epoch() / slot_length;
        if (total_ == 0) {
            began_ = now;
            slot_ = current;
        }
        if (current - slot_ >= static_cast<std::int64_t>(slots_.size())) {
            slots_.fill(0);
            in_window_ = 0;
            slot_ = current;
        }
        while (slot_ < current) {
            std::uint64_t& oldest = slots_[static_cast<std::size_t>(++slot_) % slots_.size()];
            in_window_ -= oldest;
            oldest = 0;
        }
    }

    std::array<std::uint64_t, static_cast<std::size_t>(window / slot_length)> slots_{};
    std::int64_t slot_ = 0;  // number of the newest slot since the clock's beginning
    std::uint64_t in_window_ = 0;
    std::uint64_t total_ = 0;
    time_point began_{};
};

}  // namespace cohort
