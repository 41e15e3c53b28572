// Who has not proved yet that what it gives is right, and the pieces that it may prove it with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <cohort/core/pieces.hpp>
#include <cohort/policy/peer_key.hpp>

namespace cohort {

/// A newcomer works on pieces of its own, two at a time: if one turns out bad there is nobody else to blame, and a liar
/// spoils no more than those two. It has proved itself with the first piece it took part in that is good; whoever took
/// part in a bad one is a newcomer again, so that the one who spoiled it is soon alone with its next.
class newcomers {
public:
    /// `most_at_once`: the pieces that a newcomer may work on; 0 if nobody has to prove anything.
    explicit newcomers(std::size_t most_at_once = 2) : most_at_once_(most_at_once) {}

    bool proven(peer_key peer) const { return most_at_once_ == 0 || proven_.contains(peer); }
    /// The pieces that the newcomer was asked for and whose verdict is not known.
    std::span<const piece_index> pieces_of(peer_key peer) const {
        const auto found = trials_.find(peer);
        return found == trials_.end() ? std::span<const piece_index>() : found->second;
    }
    /// Whether a newcomer is at work there: others had better leave it alone.
    bool has_trial(piece_index piece) const { return on_trial_.contains(piece); }

    /// Whether `peer` may be asked for blocks of one more piece, or of this one.
    bool may_try_another(peer_key peer) const { return proven(peer) || pieces_of(peer).size() < most_at_once_; }
    bool may_try(peer_key peer, piece_index piece) const {
        const auto mine = pieces_of(peer);
        return may_try_another(peer) || std::find(mine.begin(), mine.end(), piece) != mine.end();
    }
    /// `peer` was asked for blocks of the piece.
    void tries(peer_key peer, piece_index piece) {
        if (proven(peer)) return;
        auto& mine = trials_[peer];
        if (std::find(mine.begin(), mine.end(), piece) != mine.end()) return;
        mine.push_back(piece);
        ++on_trial_[piece];
    }

    /// The piece is good; these gave its blocks.
    void passed(std::span<const peer_key> contributors) {
        for (const peer_key peer : contributors)
            if (proven_.insert(peer).second) end_trials(peer);
    }
    /// It is bad.
    void failed(std::span<const peer_key> contributors) {
        for (const peer_key peer : contributors) proven_.erase(peer);
    }
    /// Nobody works on the piece any more.
    void forget(piece_index piece) {
        if (on_trial_.erase(piece) == 0) return;
        for (auto& [peer, mine] : trials_) std::erase(mine, piece);
    }
    void left(peer_key peer) {
        proven_.erase(peer);
        end_trials(peer);
    }

private:
    void end_trials(peer_key peer) {
        const auto found = trials_.find(peer);
        if (found == trials_.end()) return;
        for (const piece_index piece : found->second) {
            const auto entry = on_trial_.find(piece);
            if (--entry->second == 0) on_trial_.erase(entry);
        }
        trials_.erase(found);
    }

    std::size_t most_at_once_;
    std::unordered_set<peer_key> proven_;
    std::unordered_map<peer_key, std::vector<piece_index>> trials_;
    std::unordered_map<piece_index, std::uint32_t> on_trial_;  // how many newcomers are at work on it
};

}  // namespace cohort
