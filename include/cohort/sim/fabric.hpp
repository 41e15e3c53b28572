// What lies between simulated hosts: who can reach whom, how long it takes, how much fits, and what is lost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/random.hpp>
#include <cohort/sim/clock.hpp>
#include <cohort/sim/intake.hpp>

namespace cohort::sim {

/// How a host hangs on the net. A way between two hosts has the sum of their latencies and the worse of their losses.
struct access {
    duration latency = 5ms;  ///< to the middle of the net, one way
    duration jitter = 0ms;   ///< up to so much more, drawn for each packet
    std::uint64_t up = 0;    ///< bytes a second, 0: without limit
    std::uint64_t down = 0;  ///< the same
    double loss = 0;         ///< part of the packets
    /// How long things wait for the line at most: a datagram is lost then, a connection holds its writer back (on the
    /// way up; what comes down the line is bounded by the connections' windows).
    duration queue = 500ms;
};

/// A host as the net sees it.
struct line {
    ip_address address;
    access at;
    bool up = true;          ///< false: nothing gets in or out
    std::uint32_t side = 0;  ///< while the net is split, hosts of different sides do not reach each other
    time_point sent_until{};
    intake received;
    std::deque<std::function<void()>> waiting;  ///< for a place in the queue
};

/// One thread only. Streams and sockets share it with the world that made it.
class fabric {
public:
    explicit fabric(std::uint64_t seed) : random(seed) {}

    clock time;
    random_engine random;

    static bool reach(const line& a, const line& b) { return &a == &b || (a.up && b.up && a.side == b.side); }

    /// One way, without what waiting for the lines adds.
    duration latency(const line& from, const line& to) {
        if (&from == &to) return 10us;
        return from.at.latency + to.at.latency + drawn(from.at.jitter) + drawn(to.at.jitter);
    }

    bool is_lost(const line& from, const line& to) {
        return &from != &to && random.chance(std::max(from.at.loss, to.at.loss));
    }

    /// When the last of the bytes is on the way, when it is there, and how long they waited for the way down.
    struct transit {
        time_point leaves;
        time_point arrives;
        duration waited;
    };
    /// Takes `bytes` that are sent now over both lines. What stays behind one line costs it nothing.
    transit carry(line& from, line& to, std::size_t bytes) {
        const time_point now = time.now();
        if (&from == &to) return {now, now + latency(from, to), {}};
        if (from.at.up > 0) from.sent_until = std::max(from.sent_until, now) + taking(bytes, from.at.up);
        const time_point leaves = from.at.up > 0 ? from.sent_until : now;
        const time_point there = leaves + latency(from, to);
        if (to.at.down == 0) return {leaves, there, {}};
        const time_point arrives = to.received.pass(now, there, bytes, to.at.down);
        return {leaves, arrives, arrives - there - taking(bytes, to.at.down)};
    }

    /// Calls `ready` when the queue of the line has a place; those who wait have turns.
    void await_place(const std::shared_ptr<line>& at, std::function<void()> ready) {
        at->waiting.push_back(std::move(ready));
        if (at->waiting.size() == 1) plan_turn(at);
    }
    bool has_place(const line& at) const { return at.waiting.empty() && backlog(at) <= at.at.queue; }

    /// How long something that is sent now waits for the line.
    duration backlog(const line& from) const { return std::max(duration::zero(), from.sent_until - time.now()); }

private:
    void plan_turn(const std::shared_ptr<line>& at) {
        time.at(at->sent_until - at->at.queue, [this, at] {
            if (backlog(*at) > at->at.queue) return plan_turn(at);
            const std::function<void()> ready = std::move(at->waiting.front());
            at->waiting.pop_front();
            // Whoever has the turn takes its place before the next event, which is when the next one is looked at.
            if (!at->waiting.empty()) plan_turn(at);
            ready();
        });
    }
    static duration taking(std::size_t bytes, std::uint64_t rate) {
        const double seconds = static_cast<double>(bytes) / static_cast<double>(rate);
        return std::chrono::ceil<duration>(std::chrono::duration<double>(seconds));
    }
    duration drawn(duration most) {
        if (most <= duration::zero()) return duration::zero();
        return most * random.below(1 << 16) / (1 << 16);
    }
};

}  // namespace cohort::sim
