// Who gave bad data, by what name that is remembered, and how we keep away from it.
#pragma once

#include <set>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/policy/peer_list.hpp>
#include <cohort/policy/smart_ban.hpp>
#include <cohort/swarm/content.hpp>
#include <cohort/swarm/peer.hpp>
#include <cohort/swarm/peer_totals.hpp>

namespace cohort {

/// A culprit's name is the address that it talked from, with port 0; on this machine, where all have the same one, the
/// port where it listens goes with it. What a peer says of itself, its id and other addresses, is no name: a liar would
/// have honest peers banned by it.
class culprits {
public:
    culprits(peer_list& known, const totals_by_peer& totals, const peer_table& peers)
        : known_(known), totals_(totals), peers_(peers) {}

    /// A piece did not match its hash. Returns whose fault that certainly is.
    std::vector<endpoint> failed(const std::vector<peer_key>& contributors, const piece_verdict& verdict) {
        std::vector<endpoint> names;
        for (const peer_key key : contributors) names.push_back(totals_.culprit_name(key, peers_));
        return suspects_.failed(verdict.piece, names, verdict.blocks);
    }
    /// A piece matched. Returns who gave other blocks of it before.
    std::vector<endpoint> passed(const piece_verdict& verdict) {
        return suspects_.passed(verdict.piece, verdict.blocks);
    }

    /// False if it was banned already.
    bool ban(const endpoint& name) {
        if (name.address.is_unspecified()) return false;  // it left so long ago that it is forgotten
        if (!name.address.is_loopback()) {
            const bool news = !known_.is_banned(name.address);
            known_.ban(name.address);
            return news;
        }
        known_.exclude(name);
        for (const auto& [key, p] : peers_)
            if (totals_by_peer::culprit_name(*p) == name) banned_here_.insert(p->id);
        return banned_ports_.insert(name).second;
    }
    bool is_banned(const peer& p) const { return known_.is_banned(p.address.address) || banned_here_.contains(p.id); }

private:
    peer_list& known_;
    const totals_by_peer& totals_;
    const peer_table& peers_;
    smart_ban suspects_;
    std::set<peer_id> banned_here_;  // peers of this machine
    std::set<endpoint> banned_ports_;
};

}  // namespace cohort
