// The peers of one swarm in one address family, as a tracker remembers them: 16 bytes for IPv4, 28 for IPv6.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/random.hpp>
#include <cohort/policy/position_table.hpp>

namespace cohort {

/// N is the length of an address: 4 or 16. Invariant: leechers stand before seeders, and a swarm of more than
/// `index_above` peers has an index by network, so that nothing here but sample() depends on the size of the swarm.
template <std::size_t N>
class swarm_peers {
public:
    static constexpr std::uint32_t none = position_table::none;

    struct peer {
        std::array<std::uint8_t, N> address{};
        std::uint16_t port = 0;
        bool completed = false;      ///< it told us that it finished downloading
        std::uint32_t identity = 0;  ///< a hash of peer id and key
        std::uint32_t seen = 0;      ///< seconds
    };

    std::uint32_t size() const { return static_cast<std::uint32_t>(peers_.size()); }
    std::uint32_t leechers() const { return leechers_; }
    std::uint32_t seeders() const { return size() - leechers_; }
    const peer& operator[](std::uint32_t position) const { return peers_[position]; }
    /// Port, identity, seen and completed may be changed; not the address, which the index knows.
    peer& operator[](std::uint32_t position) { return peers_[position]; }
    std::size_t memory() const { return peers_.capacity() * sizeof(peer) + index_.memory(); }

    /// What is known about the address of a peer, and about its network.
    struct matches {
        std::uint32_t same_endpoint = none;
        std::uint32_t same_identity = none;  ///< at the same address
        std::uint32_t oldest = none;         ///< of the network: the one that was not seen for longest
        std::uint32_t count = 0;             ///< of the network
    };
    matches find(const peer& wanted, const secret_hash& hash, std::uint32_t now) const {
        matches out;
        const auto look = [&](std::uint32_t position) {
            const peer& p = peers_[position];
            if (!std::ranges::equal(network_of(p), network_of(wanted))) return false;
            ++out.count;
            const bool here = p.address == wanted.address;
            if (here && p.port == wanted.port) out.same_endpoint = position;
            if (here && p.identity == wanted.identity) out.same_identity = position;
            // Ages rather than times: the seconds wrap around.
            if (out.oldest == none || now - p.seen > now - peers_[out.oldest].seen) out.oldest = position;
            return false;
        };
        if (indexed())
            index_.for_each(hash(network_of(wanted)), look);
        else
            for (std::uint32_t i = 0; i < size(); ++i) look(i);
        return out;
    }

    /// Adds a peer as a leecher and returns its position; set_seeder() may change that.
    std::uint32_t insert(const peer& added, const secret_hash& hash) {
        // Growing by an eighth, not by doubling: memory is what a tracker runs out of.
        if (peers_.size() == peers_.capacity()) peers_.reserve(peers_.size() + peers_.size() / 8 + 1);
        if (indexed() || size() == index_above) index_.reserve(size() + 1 - index_.size(), hashes(hash));
        peers_.push_back(added);
        if (indexed())
            index_.insert(hash(network_of(added)), size() - 1, hashes(hash));
        else if (size() > index_above)
            for (std::uint32_t i = 0; i < size(); ++i) index_.insert(hash(network_of(peers_[i])), i, hashes(hash));
        exchange(leechers_, size() - 1, hash);
        return leechers_++;
    }

    /// Returns the new position.
    std::uint32_t set_seeder(std::uint32_t position, bool seeder, const secret_hash& hash) {
        if (seeder == (position >= leechers_)) return position;
        const std::uint32_t border = seeder ? --leechers_ : leechers_++;
        exchange(position, border, hash);
        return border;
    }

    void remove(std::uint32_t position, const secret_hash& hash) {
        const std::uint32_t last = size() - 1;
        exchange(set_seeder(position, true, hash), last, hash);
        if (indexed()) index_.erase(hash(network_of(peers_[last])), last, hashes(hash));
        peers_.pop_back();
        if (size() <= index_above / 2) index_.clear();
        if (peers_.size() < peers_.capacity() / 2) peers_.shrink_to_fit();
    }

    /// Appends up to `count` endpoints of distinct peers, all but the one at `asker`; only leechers if so wished.
    /// Every peer is as likely as any other. Steps through the array by a random stride that has no common divisor
    /// with its length, and so meets everybody once without a list of who was met.
    void sample(std::size_t count, bool only_leechers, std::uint32_t asker, random_engine& random,
                std::vector<endpoint>& out) const {
        const std::uint32_t size = only_leechers ? leechers_ : this->size();
        if (size == 0) return;
        std::uint32_t stride = 1;
        if (size > 2) {
            do stride = 1 + random.below(size - 1);
            while (std::gcd(stride, size) != 1);
        }
        std::uint64_t at = random.below(size);
        for (std::uint32_t i = 0; i < size && count > 0; ++i, at = (at + stride) % size) {
            if (at == asker) continue;
            const peer& p = peers_[static_cast<std::size_t>(at)];
            out.push_back({*ip_address::from(p.address), p.port});
            --count;
        }
    }

private:
    static constexpr std::uint32_t index_above = 16;

    /// As ip_address::network() has it.
    static byte_view network_of(const peer& p) {
        return byte_view(p.address).first(N == 16 ? ip_address::v6_network_size : N);
    }

    bool indexed() const { return index_.size() > 0; }

    auto hashes(const secret_hash& hash) const {
        return [this, &hash](std::uint32_t position) { return hash(network_of(peers_[position])); };
    }

    void exchange(std::uint32_t a, std::uint32_t b, const secret_hash& hash) {
        if (a == b) return;
        if (indexed()) index_.exchanged(hash(network_of(peers_[a])), a, hash(network_of(peers_[b])), b);
        std::swap(peers_[a], peers_[b]);
    }

    std::vector<peer> peers_;
    std::uint32_t leechers_ = 0;
    position_table index_;
};

}  // namespace cohort
