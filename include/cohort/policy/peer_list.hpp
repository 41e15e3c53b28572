// The addresses that may have a torrent, and which of them to dial next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/random.hpp>
#include <cohort/core/time.hpp>

namespace cohort {

/// Where an address came from; a later one is trusted more, and takes the place of an earlier one in a full list.
enum class peer_source : std::uint8_t {
    pex,       ///< another peer said so (BEP 11)
    tracker,   ///< a tracker said so
    incoming,  ///< it dialled us, and named the port on which it listens (BEP 10)
    user,      ///< given by hand: never dropped
};

struct peer_list_options {
    std::size_t max_peers = 3000;
    /// Ports of one address that are kept, and of which one is in use at a time: an attacker may name thousands of
    /// ports of one victim (BEP 11). A machine that talks to itself may run as many peers as it likes.
    std::size_t max_per_address = 8;
    std::size_t max_banned = 10000;
    /// So many banned addresses of an IPv6 network (/64), which one subscriber has all of, ban the network.
    std::size_t max_banned_of_network = 3;
    duration first_retry = 5s;    ///< doubled with each failure ...
    duration last_retry = 10min;  ///< ... up to this
    int max_failures = 8;         ///< then the address is forgotten
    duration good_session = 60s;  ///< a connection that lasted so long makes up for earlier failures
};

class peer_list {
public:
    explicit peer_list(peer_list_options options = {}) : options_(options) {}

    /// True if the address is new and kept. Not kept: what nobody can dial (port 0, multicast, unspecified, broadcast),
    /// banned and excluded ones, too many ports of one address, and what a full list has no better place for.
    bool add(const endpoint& peer, peer_source source, time_point now);

    /// Never dial this one: it is ourselves, or another name of a peer we have.
    void exclude(const endpoint& peer) {
        if (excluded_.size() < options_.max_banned) excluded_.insert(peer);
        forget(peer);
    }
    void forget(const endpoint& peer) {
        if (const auto at = peers_.find(peer); at != peers_.end()) erase(at);
    }

    /// The address to dial now: of those whose time has come, one that failed least, from the best source, else at
    /// random. Nothing if there is none. It is on offer again until dialled() says that it was taken.
    std::optional<endpoint> next_to_dial(time_point now, random_engine& random) const;

    // What happened to an address; those that are not in the list are ignored.

    void dialled(const endpoint& peer) { set_state(peer, state::dialling); }
    /// The handshake succeeded, whoever dialled.
    void connected(const endpoint& peer, time_point now) {
        set_state(peer, state::connected);
        if (const auto at = peers_.find(peer); at != peers_.end()) at->second.since = now;
    }
    /// Dialling or the handshake failed.
    void failed(const endpoint& peer, time_point now) { ended(peer, now, false); }
    /// A connection ended.
    void closed(const endpoint& peer, time_point now) {
        const auto at = peers_.find(peer);
        ended(peer, now, at != peers_.end() && now - at->second.since >= options_.good_session);
    }

    /// From now on no port of this address is dialled, added or to be accepted.
    void ban(const ip_address& address) {
        if (banned_.size() < options_.max_banned && banned_.insert(address).second && address.is_v6())
            ++banned_of_network_[address.network()];
        std::vector<endpoint> gone;
        for (const auto& [peer, known] : peers_)
            if (is_banned(peer.address)) gone.push_back(peer);
        for (const endpoint& peer : gone) forget(peer);
    }
    bool is_banned(const ip_address& address) const {
        if (banned_.contains(address)) return true;
        if (banned_of_network_.empty() || address.is_v4()) return false;
        const auto network = banned_of_network_.find(address.network());
        return network != banned_of_network_.end() && network->second >= options_.max_banned_of_network;
    }

    bool contains(const endpoint& peer) const { return peers_.contains(peer); }
    std::size_t size() const { return peers_.size(); }
    std::size_t banned_count() const { return banned_.size(); }

private:
    enum class state : std::uint8_t { idle, dialling, connected };

    struct entry {
        peer_source source = peer_source::pex;
        state now = state::idle;
        int failures = 0;
        time_point next_try{};
        time_point since{};  // connected
    };
    struct address_use {
        std::uint32_t known = 0;
        std::uint32_t active = 0;  // dialling or connected
    };
    using entries = std::unordered_map<endpoint, entry>;

    static bool can_be_dialled(const endpoint& peer) {
        return peer.port != 0 && !peer.address.is_unspecified() && !peer.address.is_multicast() &&
               peer.address != ip_address::v4(0xffffffff);
    }

    void erase(entries::iterator at);
    void set_state(const endpoint& peer, state next);
    void change_state(entries::iterator at, state next);
    void ended(const endpoint& peer, time_point now, bool good);
    bool make_room(peer_source source);

    peer_list_options options_;
    entries peers_;
    std::unordered_map<ip_address, address_use> addresses_;
    std::unordered_set<ip_address> banned_;
    std::unordered_map<ip_address, std::size_t> banned_of_network_;
    std::unordered_set<endpoint> excluded_;
};

inline bool peer_list::add(const endpoint& peer, peer_source source, time_point now) {
    if (!can_be_dialled(peer) || is_banned(peer.address) || excluded_.contains(peer)) return false;
    if (const auto at = peers_.find(peer); at != peers_.end()) {
        at->second.source = std::max(at->second.source, source);
        return false;
    }
    if (source != peer_source::user) {
        const auto use = addresses_.find(peer.address);
        const bool crowded = use != addresses_.end() && use->second.known >= options_.max_per_address;
        if (crowded && !peer.address.is_loopback()) return false;
        if (peers_.size() >= options_.max_peers && !make_room(source)) return false;
    }
    address_use& use = addresses_[peer.address];
    peers_.emplace(peer, entry{source, state::idle, 0, now, {}});
    ++use.known;
    return true;
}

inline std::optional<endpoint> peer_list::next_to_dial(time_point now, random_engine& random) const {
    const auto ready = [&](const endpoint& peer, const entry& known) {
        if (known.now != state::idle || known.next_try > now) return false;
        return peer.address.is_loopback() || addresses_.at(peer.address).active == 0;
    };
    const auto rank = [](const entry& known) { return std::pair(known.failures, -static_cast<int>(known.source)); };

    const endpoint* best = nullptr;
    const entry* best_entry = nullptr;
    std::uint32_t equals = 0;
    for (const auto& [peer, known] : peers_) {
        if (!ready(peer, known)) continue;
        const bool better = best == nullptr || rank(known) < rank(*best_entry);
        if (better) equals = 0;
        if (!better && rank(known) != rank(*best_entry)) continue;
        // Each of n equals is kept with probability 1/n.
        if (random.below(++equals) == 0) {
            best = &peer;
            best_entry = &known;
        }
    }
    if (best == nullptr) return std::nullopt;
    return *best;
}

inline void peer_list::erase(entries::iterator at) {
    change_state(at, state::idle);
    const auto use = addresses_.find(at->first.address);
    if (--use->second.known == 0) addresses_.erase(use);
    peers_.erase(at);
}

inline void peer_list::set_state(const endpoint& peer, state next) {
    if (const auto at = peers_.find(peer); at != peers_.end()) change_state(at, next);
}

inline void peer_list::change_state(entries::iterator at, state next) {
    address_use& use = addresses_.at(at->first.address);
    if (at->second.now == state::idle && next != state::idle) ++use.active;
    if (at->second.now != state::idle && next == state::idle) --use.active;
    at->second.now = next;
}

inline void peer_list::ended(const endpoint& peer, time_point now, bool good) {
    const auto at = peers_.find(peer);
    if (at == peers_.end()) return;
    change_state(at, state::idle);
    entry& known = at->second;
    // The first wait follows a good connection too: whatever ended it will take a moment to pass.
    duration wait = options_.first_retry;
    for (int i = 0; i < known.failures && !good && wait < options_.last_retry; ++i) wait *= 2;
    known.next_try = now + std::min(wait, options_.last_retry);
    known.failures = good ? 0 : known.failures + 1;
    if (known.failures < options_.max_failures) return;
    if (known.source == peer_source::user)
        known.failures = options_.max_failures;
    else
        erase(at);
}

/// Drops the idle address that is worth least, if it is worth less than one from `source` that never failed.
inline bool peer_list::make_room(peer_source source) {
    const auto worth = [](const entry& known) { return std::pair(-known.failures, known.source); };
    auto worst = peers_.end();
    for (auto at = peers_.begin(); at != peers_.end(); ++at) {
        if (at->second.now != state::idle || at->second.source == peer_source::user) continue;
        if (worst == peers_.end() || worth(at->second) < worth(worst->second)) worst = at;
    }
    if (worst == peers_.end() || worth(worst->second) >= std::pair(0, source)) return false;
    erase(worst);
    return true;
}

}  // namespace cohort
