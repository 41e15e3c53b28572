// The tracker's memory: who is in which swarm, and whom to tell about whom.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <cohort/core/endian.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/random.hpp>
#include <cohort/core/time.hpp>
#include <cohort/policy/position_table.hpp>
#include <cohort/policy/swarm_peers.hpp>
#include <cohort/protocol/announce.hpp>

namespace cohort {

struct registry_options {
    duration peer_lifetime = 45min;        ///< without an announce; should be above the announce interval
    std::size_t max_torrents = 1'000'000;  ///< a further one takes the place of one with a single peer, or is refused
    std::size_t max_peers = 20'000'000;    ///< in all; further ones get answers but are not remembered
    std::uint32_t max_peers_per_torrent = 1'000'000;
    /// In one swarm, for one IPv4 address or IPv6 network (/64); a further one takes the place of the oldest.
    std::uint32_t max_peers_per_address = 64;
    std::uint32_t default_numwant = 50;  ///< endpoints in an answer if the peer does not say (BEP 3)
    std::uint32_t max_numwant = 200;
};

/// One announce, as far as the registry cares.
struct registry_announce {
    peer_id id;
    endpoint address;  ///< where other peers reach it
    std::uint64_t left = 0;
    announce_event event = announce_event::none;
    std::int32_t numwant = -1;
    std::uint32_t key = 0;
};

/// Of one swarm: peers that have everything, other peers, and how often somebody finished.
struct swarm_counts {
    std::uint32_t complete = 0;
    std::uint32_t incomplete = 0;
    std::uint32_t downloaded = 0;

    bool operator==(const swarm_counts&) const = default;
};

struct swarm_summary {
    info_hash hash;
    swarm_counts counts;
};

struct registry_totals {
    std::size_t torrents = 0;
    std::size_t complete = 0;
    std::size_t incomplete = 0;
    std::uint64_t downloaded = 0;  ///< of the swarms that are remembered

    std::size_t peers() const { return complete + incomplete; }
};

/// A peer is an endpoint. The same peer id and key on another port of the same address is the same peer after a
/// restart, and replaces it. A peer that announces over IPv4 and IPv6 is in both lists and counted in both.
///
/// An announce costs the same in a swarm of three and in one of a million, beyond the endpoints that it returns.
/// Memory: see memory(); about 25 bytes an IPv4 peer in a big swarm, 250 a swarm.
class swarm_registry {
public:
    /// `secret` is drawn from a source that strangers cannot guess.
    swarm_registry(registry_options options, std::uint64_t secret) : options_(options), hash_(secret) {}

    /// Notes the peer (or, on `stopped`, its end) and appends up to `numwant` other peers of the same address family,
    /// at random, to `out`; a seeder is told about leechers only.
    /// Returns the swarm's counts with this peer in them; nothing if there is no room for another torrent.
    std::optional<swarm_counts> announce(const info_hash& torrent, const registry_announce& from, time_point now,
                                         random_engine& random, std::vector<endpoint>& out);

    /// Zeros for an unknown torrent.
    swarm_counts scrape(const info_hash& torrent) const {
        const std::uint32_t at = find(torrent);
        return at == position_table::none ? swarm_counts{} : swarms_[at].counts();
    }

    /// Forgets peers that have not announced for their lifetime, and swarms that have been empty for as long. Looks at
    /// `budget` peers at most and goes on next time where it stopped. Returns how many peers it forgot.
    std::size_t expire(time_point now, std::size_t budget);

    const registry_totals& totals() const { return totals_; }

    /// Up to `count` swarms from the `first` on, in no particular order. The order changes when swarms come and go.
    std::vector<swarm_summary> list(std::size_t first, std::size_t count) const {
        std::vector<swarm_summary> out;
        for (std::size_t i = first; i < swarms_.size() && out.size() < count; ++i)
            out.push_back({swarms_[i].hash, swarms_[i].counts()});
        return out;
    }

    /// Bytes in use, without what the allocator adds. Walks over all swarms.
    std::size_t memory() const {
        std::size_t sum = sizeof *this + index_.memory() + swarms_.size() * sizeof(swarm);
        for (const swarm& s : swarms_) sum += s.v4.memory() + s.v6.memory();
        return sum;
    }

private:
    struct swarm {
        info_hash hash;
        std::uint32_t downloaded = 0;
        std::uint32_t seen = 0;  // the last announce, in seconds
        swarm_peers<4> v4;
        swarm_peers<16> v6;

        std::uint32_t peers() const { return v4.size() + v6.size(); }
        swarm_counts counts() const { return {v4.seeders() + v6.seeders(), v4.leechers() + v6.leechers(), downloaded}; }
    };

    /// Wraps around after 136 years of uptime; only differences are used.
    static std::uint32_t seconds(time_point now) {
        return static_cast<std::uint32_t>(std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count());
    }
    bool is_old(std::uint32_t seen, std::uint32_t now) const {
        return now - seen >=
               static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(options_.peer_lifetime).count());
    }

    std::uint32_t identity(const registry_announce& from) const {
        std::array<std::uint8_t, peer_id::size + 4> bytes;
        std::copy(from.id.bytes.begin(), from.id.bytes.end(), bytes.begin());
        store_be(bytes.data() + peer_id::size, from.key);
        return static_cast<std::uint32_t>(hash_(bytes));
    }

    /// A peer that announces over both families says twice that it has finished, one right after the other; and one
    /// that leaves and comes back may say it again. False if the completion is among the last that were counted.
    bool is_news(const info_hash& torrent, std::uint32_t who) {
        std::array<std::uint8_t, info_hash::size + 4> bytes;
        std::copy(torrent.bytes.begin(), torrent.bytes.end(), bytes.begin());
        store_be(bytes.data() + info_hash::size, who);
        const std::uint64_t completion = hash_(bytes);
        if (std::find(completions_.begin(), completions_.end(), completion) != completions_.end()) return false;
        completions_[next_completion_++ % completions_.size()] = completion;
        return true;
    }

    auto swarm_hashes() const {
        return [this](std::uint32_t position) { return hash_(swarms_[position].hash.view()); };
    }
    std::uint32_t find(const info_hash& torrent) const {
        std::uint32_t found = position_table::none;
        index_.for_each(hash_(torrent.view()), [&](std::uint32_t position) {
            if (swarms_[position].hash != torrent) return false;
            found = position;
            return true;
        });
        return found;
    }
    std::uint32_t find_or_add(const info_hash& torrent, random_engine& random);
    bool make_room(random_engine& random);
    void remove_swarm(std::uint32_t position);

    /// `own` is the list of the swarm in the announce's address family.
    template <std::size_t N>
    void announce_to(swarm& to, swarm_peers<N>& own, const registry_announce& from, std::uint32_t now,
                     random_engine& random, std::vector<endpoint>& out);
    template <std::size_t N>
    std::uint32_t enter(const swarm& to, swarm_peers<N>& own, const typename swarm_peers<N>::peer& added,
                        const typename swarm_peers<N>::matches& known);

    template <class Change>
    void counted(swarm& s, Change change) {
        const swarm_counts before = s.counts();
        const auto count = [&] {
            const swarm_counts after = s.counts();
            totals_.complete += std::size_t{after.complete} - before.complete;
            totals_.incomplete += std::size_t{after.incomplete} - before.incomplete;
            totals_.downloaded += std::uint64_t{after.downloaded} - before.downloaded;
        };
        try {
            change();
        } catch (...) {
            count();
            throw;
        }
        count();
    }

    registry_options options_;
    secret_hash hash_;
    std::deque<swarm> swarms_;  // not a vector: growing must not move a million swarms at once
    position_table index_;      // of swarms_ by info-hash
    registry_totals totals_;
    std::array<std::uint64_t, 256> completions_{};
    std::size_t next_completion_ = 0;

    struct {
        std::uint32_t swarm = 0;
        std::uint32_t peer = 0;  // IPv4 first, IPv6 after that
    } sweep_;                    // where expire() goes on
};

// ---- Machinery

inline std::optional<swarm_counts> swarm_registry::announce(const info_hash& torrent, const registry_announce& from,
                                                            time_point now, random_engine& random,
                                                            std::vector<endpoint>& out) {
    const bool stopped = from.event == announce_event::stopped;
    const std::uint32_t at = stopped ? find(torrent) : find_or_add(torrent, random);
    if (at == position_table::none) return stopped ? std::optional(swarm_counts{}) : std::nullopt;
    swarm& to = swarms_[at];
    to.seen = seconds(now);
    counted(to, [&] {
        if (from.address.address.is_v4())
            announce_to(to, to.v4, from, to.seen, random, out);
        else
            announce_to(to, to.v6, from, to.seen, random, out);
    });
    return to.counts();
}

template <std::size_t N>
void swarm_registry::announce_to(swarm& to, swarm_peers<N>& own, const registry_announce& from, std::uint32_t now,
                                 random_engine& random, std::vector<endpoint>& out) {
    typename swarm_peers<N>::peer self{{}, from.address.port, false, identity(from), now};
    const byte_view address = from.address.address.bytes();
    std::copy(address.begin(), address.end(), self.address.begin());

    auto known = own.find(self, hash_, now);
    if (known.same_identity != known.same_endpoint && known.same_identity != own.none) {
        // It was on another port before. Its completion goes with it.
        self.completed = own[known.same_identity].completed;
        own.remove(known.same_identity, hash_);
        known = own.find(self, hash_, now);
    }
    if (from.event == announce_event::stopped) {
        if (known.same_endpoint != own.none) own.remove(known.same_endpoint, hash_);
        return;
    }

    const bool seeder = from.left == 0;
    std::uint32_t position = known.same_endpoint;
    if (position == own.none) position = enter(to, own, self, known);
    if (position != own.none) {
        position = own.set_seeder(position, seeder, hash_);
        auto& entry = own[position];
        entry.completed = self.completed || (entry.completed && entry.identity == self.identity);
        entry.identity = self.identity;
        entry.seen = now;
        if (from.event == announce_event::completed && !entry.completed) {
            entry.completed = true;
            if (is_news(to.hash, self.identity)) ++to.downloaded;
        }
    }
    const std::uint32_t wanted = from.numwant < 0 ? options_.default_numwant : static_cast<std::uint32_t>(from.numwant);
    own.sample(std::min(wanted, options_.max_numwant), seeder, position, random, out);
}

/// Makes an entry if there is room, and returns its position or none.
template <std::size_t N>
std::uint32_t swarm_registry::enter(const swarm& to, swarm_peers<N>& own, const typename swarm_peers<N>::peer& added,
                                    const typename swarm_peers<N>::matches& known) {
    if (known.count >= options_.max_peers_per_address) {
        if (known.oldest == own.none) return own.none;
        own.remove(known.oldest, hash_);
    } else if (to.peers() >= options_.max_peers_per_torrent || totals_.peers() >= options_.max_peers) {
        return own.none;
    }
    return own.insert(added, hash_);
}

inline std::size_t swarm_registry::expire(time_point now, std::size_t budget) {
    const std::uint32_t time = seconds(now);
    std::size_t forgotten = 0;
    for (std::size_t left = swarms_.size(); left > 0 && budget > 0; --budget) {
        if (sweep_.swarm >= swarms_.size()) sweep_ = {};
        swarm& s = swarms_[sweep_.swarm];
        if (sweep_.peer >= s.peers()) {
            sweep_.peer = 0;
            --left;
            if (s.peers() == 0 && is_old(s.seen, time))
                remove_swarm(sweep_.swarm);
            else
                ++sweep_.swarm;
            continue;
        }
        const bool in_v4 = sweep_.peer < s.v4.size();
        const std::uint32_t position = in_v4 ? sweep_.peer : sweep_.peer - s.v4.size();
        if (!is_old(in_v4 ? s.v4[position].seen : s.v6[position].seen, time)) {
            ++sweep_.peer;
            continue;
        }
        counted(s, [&] { in_v4 ? s.v4.remove(position, hash_) : s.v6.remove(position, hash_); });
        ++forgotten;
    }
    return forgotten;
}

inline std::uint32_t swarm_registry::find_or_add(const info_hash& torrent, random_engine& random) {
    const std::uint32_t known = find(torrent);
    if (known != position_table::none) return known;
    if (swarms_.size() >= options_.max_torrents && !make_room(random)) return position_table::none;
    const auto position = static_cast<std::uint32_t>(swarms_.size());
    index_.reserve(1, swarm_hashes());
    swarms_.emplace_back().hash = torrent;
    index_.insert(hash_(torrent.view()), position, swarm_hashes());
    ++totals_.torrents;
    return position;
}

/// Removes the emptiest and then longest silent of a few swarms, if it has one peer at most. So a stranger who makes up
/// torrents by the million mostly displaces those; whom they displace is back with its next announce.
inline bool swarm_registry::make_room(random_engine& random) {
    constexpr int looks = 16;
    const auto worth = [this](std::uint32_t at) { return std::pair(swarms_[at].peers(), swarms_[at].seen); };
    if (swarms_.empty()) return false;
    std::uint32_t worst = random.below(static_cast<std::uint32_t>(swarms_.size()));
    for (int i = 1; i < looks; ++i) {
        const std::uint32_t other = random.below(static_cast<std::uint32_t>(swarms_.size()));
        if (worth(other) < worth(worst)) worst = other;
    }
    swarm& s = swarms_[worst];
    if (s.peers() > 1) return false;
    counted(s, [&] {
        if (s.v4.size() > 0) s.v4.remove(0, hash_);
        if (s.v6.size() > 0) s.v6.remove(0, hash_);
    });
    remove_swarm(worst);
    return true;
}

/// The last swarm takes the place of the removed one.
inline void swarm_registry::remove_swarm(std::uint32_t position) {
    const auto last = static_cast<std::uint32_t>(swarms_.size() - 1);
    totals_.downloaded -= swarms_[position].downloaded;
    index_.erase(hash_(swarms_[position].hash.view()), position, swarm_hashes());
    if (position != last) {
        index_.moved(hash_(swarms_[last].hash.view()), last, position);
        swarms_[position] = std::move(swarms_[last]);
    }
    swarms_.pop_back();
    --totals_.torrents;
}

}  // namespace cohort
