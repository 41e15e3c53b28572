// How many requests to keep waiting at one peer: enough that it never runs dry, and hardly more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <cohort/core/pieces.hpp>
#include <cohort/core/time.hpp>

namespace cohort {

struct pipeline_options {
    std::size_t start = 32;     ///< before anything was measured
    std::size_t floor = 4;      ///< for the slowest peer
    std::size_t max = 2000;     ///< for the fastest
    std::size_t unknown = 250;  ///< while the peer has not said how many it takes (`reqq`, BEP 10; 250 is common)
    duration snub_after = 20s;  ///< without a block while requests wait
};

/// The depth is bandwidth times delay. A peer is always busy if we keep waiting with it what it sends in one latency;
/// twice that leaves room to find out that it could send more. 20 ms on top carry us over the pauses of both programs
/// (reading, hashing, scheduling), which is what counts on a fast local network, where the latency is next to nothing.
/// Latency as measured includes the queue that we ourselves made, so it is the lowest of late that counts, and never
/// more than a second of it: a slow peer has at most two seconds of work, and its requests are not tied up for longer.
///
/// Until the rate stops growing that says too little, so at first the depth doubles, as in TCP's slow start: a round
/// is as many blocks as are waiting, and each adds one more, until two rounds in a row were not faster by a quarter.
class request_pipeline {
public:
    explicit request_pipeline(pipeline_options options = {}) : options_(options), depth_(options.start) {}

    /// The peer's `reqq`: it drops what exceeds that.
    void limit(std::size_t reqq) { peer_limit_ = std::max<std::size_t>(reqq, 1); }

    /// `n` requests went out.
    void sent(std::size_t n, time_point now) {
        if (waiting_ == 0 && n > 0) {
            asked_since_ = now;
            if (!snubbed_) quiet_since_ = now;
            // A pause of ours, and the latency after it, say nothing about the peer's speed.
            if (now - idle_since_ >= 100ms) measuring_ = false;
        }
        waiting_ += n;
    }

    /// A block of `bytes` came, `latency` after its request.
    void received(std::size_t bytes, duration latency, time_point now) {
        done(1, now);
        asked_since_ = quiet_since_ = now;
        snubbed_ = false;
        note_latency(latency, now);
        if (slow_start_ && round_.blocks < depth_) depth_ = std::min(depth_ + 1, options_.max);
        if (!measuring_) {
            // The time before this block is unknown, so it only starts the round.
            measuring_ = true;
            round_ = {now, 0, 0};
            return;
        }
        round_.bytes += bytes;
        ++round_.blocks;
        // A round ends when everything that waited at its start has come, or after half a second of a slow peer.
        const duration elapsed = now - round_.start;
        const bool enough = round_.blocks >= round_length_ || elapsed >= 500ms;
        if (enough && elapsed > duration::zero()) end_round(to_seconds(elapsed), now);
    }

    /// `n` requests will not be answered: choked, rejected, cancelled or given up.
    void dropped(std::size_t n, time_point now) {
        snubbed_ = snubbed(now);
        done(n, now);
    }

    /// For so long until now nobody looked at what the peer sent: that was no silence of the peer.
    void unread(duration time, time_point now) {
        quiet_since_ = std::min(quiet_since_ + time, now);
        asked_since_ = std::min(asked_since_ + time, now);
    }

    /// How many requests should be waiting at the peer, at least 1. A snubbed peer has to show that it is alive with
    /// one.
    std::size_t depth() const {
        if (snubbed_) return 1;
        return std::clamp<std::size_t>(depth_, 1, std::min(options_.max, peer_limit_.value_or(options_.unknown)));
    }
    std::size_t waiting() const { return waiting_; }

    /// Requests wait, and no block has come for 20 s. It stays so until a block comes, even if the requests were given
    /// back with dropped().
    bool snubbed(time_point now) const {
        return snubbed_ || (waiting_ > 0 && now - quiet_since_ >= options_.snub_after);
    }

    /// For how long requests have been waiting without a block, whatever the peer did before them.
    duration silence(time_point now) const { return waiting_ > 0 ? now - asked_since_ : duration::zero(); }

    /// How long a block would take to come if it were asked for now, as far as one can tell; a second for a peer that
    /// was never asked.
    duration delay(time_point now) const {
        const double queue = rate_ > 0 ? static_cast<double>(waiting_) * block_size / rate_ : 0.0;
        const auto expected = std::min(latency_, older_latency_) +
                              std::chrono::duration_cast<duration>(std::chrono::duration<double>(std::min(queue, 1e6)));
        return waiting_ > 0 ? std::max(expected, now - quiet_since_) : expected;
    }

    /// Bytes a second, smoothed; 0 before the first round.
    double rate() const { return rate_; }

private:
    static constexpr duration latency_memory = 10s;

    void done(std::size_t n, time_point now) {
        if (waiting_ > 0 && n >= waiting_) idle_since_ = now;
        waiting_ -= std::min(n, waiting_);
    }

    void note_latency(duration latency, time_point now) {
        latency = std::max(latency, duration::zero());
        if (now - latency_since_ >= latency_memory) {
            older_latency_ = latency_;
            latency_ = latency;
            latency_since_ = now;
        }
        latency_ = std::min(latency_, latency);
    }

    void end_round(double seconds, time_point now) {
        const double measured = static_cast<double>(round_.bytes) / seconds;
        // Up at once, down gently: one late block is no reason to let the peer run dry.
        const bool grew = measured > rate_ * 1.25;
        rate_ = measured > rate_ ? measured : rate_ + (measured - rate_) / 4;
        flat_rounds_ = grew ? 0 : flat_rounds_ + 1;
        if (flat_rounds_ >= 2) slow_start_ = false;

        const double blocks = rate_ / block_size;
        const double latency = std::min(to_seconds(std::min(latency_, older_latency_)), 1.0);
        const auto ceiling = static_cast<double>(options_.max);
        const auto target = [&](double delay) {
            return options_.floor + static_cast<std::size_t>(std::min(blocks * delay, ceiling));
        };
        // Two seconds of work bound slow start as well: the first guess is far too much for a slow peer.
        depth_ = slow_start_ ? std::min(depth_, target(2.0)) : target(2 * latency + 0.02);
        depth_ = std::min(depth_, options_.max);
        round_ = {now, 0, 0};
        round_length_ = depth_;
    }

    struct round {
        time_point start{};
        std::size_t bytes = 0;
        std::size_t blocks = 0;
    };

    pipeline_options options_;
    std::optional<std::size_t> peer_limit_;
    std::size_t depth_;
    std::size_t waiting_ = 0;

    bool slow_start_ = true;
    int flat_rounds_ = 0;
    bool measuring_ = false;
    round round_;
    std::size_t round_length_ = options_.start;
    double rate_ = 0;

    // The lowest latency of this period of ten seconds, and of the one before.
    duration latency_ = 1s;
    duration older_latency_ = 1s;
    time_point latency_since_{};

    bool snubbed_ = false;
    time_point asked_since_{};  // the last block, or the first request after none waited
    time_point quiet_since_{};  // the same, but a snubbed peer's requests do not count
    time_point idle_since_{};   // when none waited any more
};

}  // namespace cohort
