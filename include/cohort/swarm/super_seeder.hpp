// Super-seeding (BEP 16) as the engine does it: nothing is said at first, and then one piece at a time.
#pragma once

#include <optional>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/policy/super_seeding.hpp>
#include <cohort/swarm/download.hpp>
#include <cohort/swarm/peer.hpp>

namespace cohort {

/// Only tells peers less than there is: whatever they ask for is given. Does nothing unless it is asked to, and until
/// we have everything.
class super_seeder {
public:
    super_seeder(network& net, const piece_picker& picker, peer_table& peers, piece_index count, bool wanted)
        : net_(net), picker_(picker), peers_(peers) {
        const auto copies = [this](piece_index piece) { return picker_.availability(piece); };
        if (wanted) policy_.emplace(count, copies, net.random());
    }

    bool active() const { return policy_.has_value() && picker_.have().all(); }

    /// After the peer was told that we have nothing.
    void entered(peer& newcomer) {
        if (!active()) return;
        policy_->joined(newcomer.key, net_.now());
        tell(newcomer);
    }
    void left(const peer& gone) {
        if (policy_) policy_->left(gone.key);
    }
    /// After the download has counted it.
    void on_have(peer& from, piece_index piece) {
        if (!active()) return;
        const peer_key earned = policy_->has(from.key, piece, net_.now());
        if (const auto found = peers_.find(earned); found != peers_.end()) tell(*found->second);
        if (from.state().has.all()) policy_->left(from.key);
    }
    void on_pieces(peer& from) {
        if (!active()) return;
        for (piece_index piece = 0; piece < from.state().has.size(); ++piece)
            if (from.state().has.get(piece)) on_have(from, piece);
    }
    /// As in the download: what it had before is no progress, and costs nothing to hear again.
    void on_more_pieces(peer& from, const bitfield& before) {
        const bitfield& has = from.state().has;
        if (!active() || has.count() == before.count()) return;
        for (piece_index piece = 0; piece < has.size(); ++piece)
            if (has.get(piece) && !before.get(piece)) on_have(from, piece);
    }
    /// Once a second.
    void tick() {
        if (!active()) return;
        for (const auto& [key, p] : peers_) tell(*p);
    }

private:
    void tell(peer& to) {
        told_.clear();
        policy_->tell(to.key, to.state().has, net_.now(), told_);
        for (const piece_index piece : told_) to.connection->queue(wire::have{piece});
    }

    network& net_;
    const piece_picker& picker_;
    peer_table& peers_;
    std::optional<super_seeding> policy_;
    std::vector<piece_index> told_;
};

}  // namespace cohort
