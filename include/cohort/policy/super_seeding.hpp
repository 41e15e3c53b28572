// What a seeder that is alone with the content tells its peers of (BEP 16): each piece to one peer first, for it to
// give on, so that a whole swarm costs the seeder little more than one copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/core/random.hpp>
#include <cohort/core/time.hpp>
#include <cohort/policy/peer_key.hpp>

namespace cohort {

/// A peer is offered pieces that nobody has, some at a time; an offer is open until another peer has the piece as well,
/// and only then comes the next: who gives on gets more. But nobody is left without: a peer that gets no piece from
/// anybody for a while, or is the only one, is told of everything.
///
/// Memory: 8 bytes a piece; a bit for each piece and peer.
class super_seeding {
public:
    static constexpr std::size_t most_open = 4;  ///< offers to one peer: the next one comes while the last one is sent
    static constexpr duration patience = 10s;    ///< without any piece; a round of choking
    static constexpr duration alone_patience = 2s;  ///< while no other peer is there
    static constexpr std::size_t most_told = 4096;  ///< in one call

    /// `copies` says how many peers have a piece, whoever has told us so before the call.
    super_seeding(piece_index count, std::function<std::uint32_t(piece_index)> copies, random_engine& random)
        : copies_(std::move(copies)), order_(count), offered_to_(count, no_peer) {
        std::iota(order_.begin(), order_.end(), piece_index{0});
        random.shuffle(order_);
    }

    /// A peer comes that lacks something.
    void joined(peer_key who, time_point now) {
        peers_.try_emplace(who, notes{{}, bitfield(static_cast<piece_index>(order_.size())), now});
    }

    /// News of what a peer has. Returns the peer that has earned its next offer, or no_peer.
    peer_key has(peer_key who, piece_index piece, time_point now) {
        if (const auto found = peers_.find(who); found != peers_.end()) found->second.progress = now;
        const peer_key giver = offered_to_[piece];
        if (giver == no_peer || giver == who) return no_peer;
        offered_to_[piece] = no_peer;
        std::erase(peers_.at(giver).open, piece);
        return giver;
    }

    /// A peer goes, or has everything. What only it had is to be offered again.
    void left(peer_key who) {
        const auto found = peers_.find(who);
        if (found == peers_.end()) return;
        for (const piece_index piece : found->second.open) offered_to_[piece] = no_peer;
        peers_.erase(found);
        next_ = 0;
    }

    /// Appends the pieces that this peer is to be told of now. To be called when it has earned some, and once a second.
    void tell(peer_key who, const bitfield& has, time_point now, std::vector<piece_index>& out) {
        const auto found = peers_.find(who);
        if (found == peers_.end()) return;
        notes& its = found->second;
        const duration limit = peers_.size() > 1 ? patience : alone_patience;
        its.knows_all = its.knows_all || now - its.progress > limit;
        if (its.knows_all) return tell_all(its, has, out);
        while (its.open.size() < most_open && find_unseen()) {
            const piece_index piece = order_[next_++];
            offered_to_[piece] = who;
            its.open.push_back(piece);
            if (its.told.set(piece)) out.push_back(piece);
        }
    }

private:
    struct notes {
        std::vector<piece_index> open;
        bitfield told;
        time_point progress;  // when it last got a piece, from anybody
        bool knows_all = false;
        piece_index cursor = 0;  // what is below was told
    };

    /// Moves on to a piece that no peer has or is offered.
    bool find_unseen() {
        const auto seen = [this](piece_index piece) { return offered_to_[piece] != no_peer || copies_(piece) > 0; };
        while (next_ < order_.size() && seen(order_[next_])) ++next_;
        return next_ < order_.size();
    }

    void tell_all(notes& its, const bitfield& has, std::vector<piece_index>& out) {
        for (std::size_t told = 0; told < most_told && its.cursor < order_.size(); ++its.cursor) {
            if (has.get(its.cursor) || !its.told.set(its.cursor)) continue;
            out.push_back(its.cursor);
            ++told;
        }
    }

    std::function<std::uint32_t(piece_index)> copies_;
    std::vector<piece_index> order_;
    std::size_t next_ = 0;              // in order_: what is before was offered or seen
    std::vector<peer_key> offered_to_;  // by piece
    std::map<peer_key, notes> peers_;
};

}  // namespace cohort
