// A rate limit: so many bytes a second, of which some may be saved up for a burst.
#pragma once

#include <algorithm>
#include <cstdint>

#include <cohort/core/time.hpp>

namespace cohort {

class token_bucket {
public:
    /// `rate` in bytes a second, 0 for no limit. `burst` bytes can be saved up; by default what a quarter of a second
    /// brings, but at least 16 KiB, so that a block passes at once. Starts full.
    explicit token_bucket(std::uint64_t rate = 0, std::uint64_t burst = 0) { set_rate(rate, burst); }

    /// As in the constructor; what was saved up stays, as far as it fits.
    void set_rate(std::uint64_t rate, std::uint64_t burst = 0) {
        const bool was_unlimited = rate_ == 0;
        rate_ = static_cast<double>(rate);
        // Capped, so that a number of tokens always fits an integer.
        burst_ = std::min(burst > 0 ? static_cast<double>(burst) : std::max(rate_ / 4, 16384.0), 1e15);
        tokens_ = was_unlimited ? burst_ : std::min(tokens_, burst_);
    }

    bool unlimited() const { return rate_ == 0; }

    /// How many of `bytes` may pass now; they count as passed.
    std::uint64_t take(std::uint64_t bytes, time_point now) {
        if (unlimited()) return bytes;
        refill(now);
        const std::uint64_t granted = std::min(bytes, static_cast<std::uint64_t>(std::max(tokens_, 0.0)));
        tokens_ -= static_cast<double>(granted);
        return granted;
    }

    /// These bytes have passed already, whatever was there for them. Until what is missing was earned, which wait(0)
    /// tells, take() grants nothing: whoever spends and then waits for so long has had its turn after all before it.
    void spend(std::uint64_t bytes, time_point now) {
        if (unlimited()) return;
        refill(now);
        tokens_ = std::max(tokens_ - static_cast<double>(bytes), -1e15);
    }

    /// How long until take() grants `bytes` in full, or a full burst if that is less. Zero if it would now.
    duration wait(std::uint64_t bytes, time_point now) {
        if (unlimited()) return duration::zero();
        refill(now);
        const double missing = std::min(static_cast<double>(bytes), burst_) - tokens_;
        if (missing <= 0) return duration::zero();
        // A day at most: the rate may be changed meanwhile, and a huge number would not fit a duration.
        const double seconds = std::min(missing / rate_, 86400.0);
        return std::chrono::ceil<duration>(std::chrono::duration<double>(seconds)) + duration(1);
    }

private:
    void refill(time_point now) {
        if (started_ && now > updated_) tokens_ = std::min(burst_, tokens_ + rate_ * to_seconds(now - updated_));
        if (!started_ || now > updated_) updated_ = now;
        started_ = true;
    }

    double rate_ = 0;
    double burst_ = 0;
    double tokens_ = 0;
    bool started_ = false;
    time_point updated_{};
};

}  // namespace cohort
