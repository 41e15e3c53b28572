// What lies between simulated hosts: who can reach whom, how long it takes, how much fits, and what is lost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/random.hpp>
#include <cohort/sim/clock.hpp>

namespace cohort::sim {

/// How a host hangs on the net. A way between two hosts has the sum of their latencies and the worse of their losses.
struct access {
    duration latency = 5ms;  ///< to the middle of the net, one way
    duration jitter = 0ms;   ///< up to so much more, drawn for each packet
    std::uint64_t up = 0;    ///< bytes a second, 0: without limit
    std::uint64_t down = 0;  ///< the same
    double loss = 0;         ///< part of the packets
    duration queue = 500ms;  ///< a datagram that would wait longer for the line is lost
};

/// A host as the net sees it.
struct line {
    ip_address address;
    access at;
    bool up = true;          ///< false: nothing gets in or out
    std::uint32_t side = 0;  ///< while the net is split, hosts of different sides do not reach each other
    time_point sent_until{};
    time_point received_until{};
};

/// One thread only. Streams and sockets share it with the world that made it.
class fabric {
public:
    explicit fabric(std::uint64_t seed) : random(seed) {}

    clock time;
    random_engine random;

    static bool reach(const line& a, const line& b) { return a.up && b.up && a.side == b.side; }

    /// One way, without what waiting for the lines adds.
    duration latency(const line& from, const line& to) {
        if (&from == &to) return 10us;
        return from.at.latency + to.at.latency + drawn(from.at.jitter) + drawn(to.at.jitter);
    }

    bool is_lost(const line& from, const line& to) {
        return &from != &to && random.chance(std::max(from.at.loss, to.at.loss));
    }

    /// When the last of `bytes` that are sent now arrives. Both lines are busy until then.
    time_point arrival(line& from, line& to, std::size_t bytes) {
        const time_point sent = pass(from.sent_until, time.now(), bytes, &from == &to ? 0 : from.at.up);
        return pass(to.received_until, sent + latency(from, to), bytes, &from == &to ? 0 : to.at.down);
    }

    /// How long something that is sent now waits for the line.
    duration backlog(const line& from) const { return std::max(duration::zero(), from.sent_until - time.now()); }

private:
    static time_point pass(time_point& busy_until, time_point earliest, std::size_t bytes, std::uint64_t rate) {
        if (rate == 0) return earliest;
        const double seconds = static_cast<double>(bytes) / static_cast<double>(rate);
        busy_until =
            std::max(busy_until, earliest) + std::chrono::ceil<duration>(std::chrono::duration<double>(seconds));
        return busy_until;
    }
    duration drawn(duration most) {
        if (most <= duration::zero()) return duration::zero();
        return most * random.below(1 << 16) / (1 << 16);
    }
};

}  // namespace cohort::sim
