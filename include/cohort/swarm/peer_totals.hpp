// Who gave and took how much, also of peers that have left.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include <cohort/swarm/download.hpp>
#include <cohort/swarm/peer.hpp>

namespace cohort {

/// One peer's share, connected or not.
struct peer_total {
    endpoint address;  ///< where it listens if it said so, else where it called from
    std::string client;
    std::uint64_t downloaded = 0;  ///< bytes of blocks from it
    std::uint64_t uploaded = 0;    ///< bytes of blocks to it
    bool connected = false;
    bool unchoked = false;     ///< by us, now
    bool unchokes_us = false;  ///< now
};

/// Remembers the latest 1,000 peers that left, and gives out the keys: through all lives of a torrent's swarm no two
/// peers have the same.
class totals_by_peer {
public:
    peer_key next_key() { return next_key_++; }

    void gone(const peer& p) {
        const endpoint name = p.listens_at.value_or(p.address);
        departed_[p.key] = {{name, p.client, p.download.total(), p.upload.total()}, culprit_name(p)};
        if (departed_.size() > most_departed) departed_.erase(departed_.begin());
    }

    /// What a peer is remembered by when it gave bad data: see culprits.
    static endpoint culprit_name(const peer& p) {
        if (p.address.address.is_loopback()) return p.listens_at.value_or(p.address);
        return {p.address.address, 0};
    }
    /// The same of one that may have left; the unspecified address if it is forgotten.
    endpoint culprit_name(peer_key key, const peer_table& connected) const {
        if (const auto here = connected.find(key); here != connected.end()) return culprit_name(*here->second);
        const auto known = departed_.find(key);
        return known == departed_.end() ? endpoint{} : known->second.culprit_name;
    }

    /// One entry an address, the connected first seen by key.
    std::vector<peer_total> list(const peer_table& connected) const {
        std::map<endpoint, peer_total> sums;
        const auto add = [&](const peer_total& one) {
            peer_total& sum = sums[one.address];
            sum.address = one.address;
            if (!one.client.empty()) sum.client = one.client;
            sum.downloaded += one.downloaded;
            sum.uploaded += one.uploaded;
            sum.connected = sum.connected || one.connected;
            sum.unchoked = sum.unchoked || one.unchoked;
            sum.unchokes_us = sum.unchokes_us || one.unchokes_us;
        };
        for (const auto& [key, one] : departed_) add(one.total);
        for (const auto& [key, p] : connected) {
            add({p->listens_at.value_or(p->address), p->client, p->download.total(), p->upload.total(), true,
                 !p->state().am_choking, !p->state().peer_choking});
        }
        std::vector<peer_total> out;
        for (auto& [address, total] : sums) out.push_back(std::move(total));
        return out;
    }

private:
    static constexpr std::size_t most_departed = 1000;

    struct departed {
        peer_total total;
        endpoint culprit_name;
    };

    std::map<peer_key, departed> departed_;
    peer_key next_key_ = 1;
};

}  // namespace cohort
