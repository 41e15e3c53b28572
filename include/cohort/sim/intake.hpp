// The receiving half of a line: what arrives first is served first, whenever it was sent.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

#include <cohort/core/time.hpp>

namespace cohort::sim {

/// Packets are booked when they are sent, for the time at which they will arrive, and a later one may arrive earlier
/// because it comes from nearby. So the line keeps an account of the bytes that each slice of time still takes.
class intake {
public:
    /// Takes `bytes` that arrive from `earliest` on, which is not before `now`, at `rate` bytes a second. Returns when
    /// the last of them is through.
    time_point pass(time_point now, time_point earliest, std::size_t bytes, std::uint64_t rate) {
        const double a_slice = static_cast<double>(rate) * to_seconds(slice);
        forget_before(number_of(now));
        const std::int64_t first = number_of(earliest);
        const auto wanted = static_cast<std::size_t>(first - begin_);
        std::size_t at = std::max(wanted, full_);
        if (at >= taken_.size()) taken_.resize(at + 1);
        // What of the first slice is over when they arrive is lost to them.
        const double over = at == wanted ? a_slice * to_seconds(earliest - begin_of(first)) / to_seconds(slice) : 0;
        taken_[at] = std::max(taken_[at], over);
        for (auto left = static_cast<double>(bytes);; ++at) {
            if (at == taken_.size()) taken_.push_back(0);
            const double part = std::clamp(a_slice - taken_[at], 0.0, left);
            taken_[at] += part;
            left -= part;
            if (left <= 0) break;
        }
        while (full_ < taken_.size() && taken_[full_] >= a_slice) ++full_;
        const std::chrono::duration<double> into = std::chrono::duration<double>(slice) * (taken_[at] / a_slice);
        return begin_of(begin_ + static_cast<std::int64_t>(at)) + std::chrono::ceil<duration>(into);
    }

private:
    static constexpr duration slice = 20ms;

    static std::int64_t number_of(time_point t) { return t.time_since_epoch() / slice; }
    static time_point begin_of(std::int64_t number) { return time_point(number * slice); }

    void forget_before(std::int64_t number) {
        for (; begin_ < number && !taken_.empty(); ++begin_) {
            taken_.pop_front();
            if (full_ > 0) --full_;
        }
        begin_ = std::max(begin_, number);
    }

    std::deque<double> taken_;  // bytes of each slice
    std::int64_t begin_ = 0;    // the number of the first of them
    std::size_t full_ = 0;      // so many from the first on take nothing more
};

}  // namespace cohort::sim
