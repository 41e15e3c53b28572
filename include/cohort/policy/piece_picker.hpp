// What to ask whom for next: rarest first with random ties, started pieces before new ones, and the endgame.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/core/random.hpp>
#include <cohort/policy/bit_scan.hpp>
#include <cohort/policy/newcomers.hpp>
#include <cohort/policy/partial_piece.hpp>
#include <cohort/policy/peer_key.hpp>
#include <cohort/policy/rarity_order.hpp>

namespace cohort {

struct picker_options {
    bool sequential = false;       ///< lowest index first instead of rarest first
    piece_index random_first = 1;  ///< pieces are chosen at random until we have this many, to have something to trade
    std::size_t trial_pieces = 2;  ///< of a peer none of whose pieces was good yet; 0: any number (newcomers.hpp)
};

enum class block_result {
    accepted,        ///< new to us
    piece_complete,  ///< new to us, and the last of its piece: verify it, then call passed() or failed()
    duplicate,       ///< we had it already
};

/// When a peer is asked for blocks that another was asked for already.
struct endgame_rule {
    std::size_t most = std::numeric_limits<std::size_t>::max();  ///< so many such blocks in one pick()
    std::function<bool(peer_key holder)> is_late = nullptr;      ///< whose blocks; null: anybody's
};

/// A started piece, for statistics.
struct partial_progress {
    piece_index piece = 0;
    std::uint32_t blocks = 0;     ///< of the piece
    std::uint32_t received = 0;   ///< blocks that came
    std::uint32_t requested = 0;  ///< blocks that peers were asked for and that have not come
};

/// The order of preference, for one peer:
///   1. the piece that it is giving us already, so that its blocks come in long runs;
///   2. another started piece: the sooner it is whole, the sooner we can give it to others; a seed is asked for what no
///      leecher has before that;
///   3. a new piece: highest priority, then rarest, then random (sequential: lowest index);
///   4. the endgame: once no connected peer could give a block that nobody was asked for, blocks that one other peer
///      was asked for. While there is work for others, duplicates would only take bandwidth from them.
/// A piece on which a newcomer proves itself (newcomers.hpp) is left to it while there is anything else to do.
///
/// What it costs. A piece is searched for once in a run of blocks, not once a block, and a search looks at 32 started
/// and 64 new pieces at most, whatever the size of torrent and swarm. Only for a peer that has few of the pieces we
/// still look for (less than about one in thirty) that may not do; then its bitfield is scanned, 64 pieces a step,
/// from where the last scan for this peer ended, so that one turn around it serves for all the pieces it has. If
/// nothing was found, that is remembered until the peer has more or a block is given back. `search_steps()` counts.
/// (Sequential: a scan from the first piece we lack to the first that the peer has, for each piece it starts.)
///
/// Memory: about 20 bytes a piece, 12 bytes a block of the started pieces, 60 bytes a peer.
///
/// Blocks are those of piece_layout::block_at(), pieces are below piece_count() and bitfields have that size; the
/// caller has checked what came from the wire.
class piece_picker {
public:
    static constexpr std::uint8_t default_priority = 4;

    explicit piece_picker(const piece_layout& layout, picker_options options = {})
        : layout_(layout),
          options_(options),
          order_(layout.piece_count(), default_priority),
          partial_of_(layout.piece_count(), not_started),
          have_(layout.piece_count()),
          wanted_(layout.piece_count(), true),
          bytes_left_(layout.total_size()),
          bytes_missing_(layout.total_size()),
          newcomers_(options.trial_pieces) {
        for (piece_index piece = 0; piece < layout.piece_count(); ++piece) order_.list(piece);
    }

    // ---- Who has what. A peer joins with what it has, tells of more, and leaves with all it had then.

    /// O(pieces the peer has); O(1) for a peer that has everything.
    void peer_joined(const bitfield& has) {
        if (has.all())
            ++seeds_;
        else
            for_each(has, [this](piece_index piece) { order_.add_copy(piece); });
    }
    /// Its requests are given back one by one with abandoned(), before or after.
    void peer_left(peer_key peer, const bitfield& has) {
        // A peer that became complete while connected was counted piece by piece. Which complete peer is counted how
        // does not matter: the sums are right if one of them goes.
        if (has.all() && seeds_ > 0)
            --seeds_;
        else
            for_each(has, [this](piece_index piece) { order_.drop_copy(piece); });
        peers_.erase(peer);
        newcomers_.left(peer);
    }
    /// For each `have` that is news; O(1).
    void peer_has(piece_index piece) { order_.add_copy(piece); }

    /// How many connected peers have the piece.
    std::uint32_t availability(piece_index piece) const { return order_.copies(piece) + seeds_; }

    // ---- What we have and want.

    const bitfield& have() const { return have_; }
    /// The piece is verified: from an earlier run, or whatever else is known about it.
    void set_have(piece_index piece) {
        if (!have_.set(piece)) return;
        if (started(piece)) drop_partial(piece);
        if (order_.listed(piece)) order_.unlist(piece);
        bytes_missing_ -= layout_.piece_size(piece);
        if (wanted_.reset(piece)) bytes_left_ -= layout_.piece_size(piece);
    }

    std::uint8_t priority(piece_index piece) const { return order_.priority(piece); }
    /// 0: do not download; 1 to 7: higher first. Blocks already asked for are not taken back.
    void set_priority(piece_index piece, std::uint8_t priority) {
        assert(priority <= rarity_order::max_priority);
        if (priority == order_.priority(piece)) return;
        if (priority == 0 && order_.listed(piece)) order_.unlist(piece);
        order_.set_priority(piece, priority);
        if (have_.get(piece)) return;
        if (priority == 0) {
            newcomers_.forget(piece);
            if (wanted_.reset(piece)) bytes_left_ -= layout_.piece_size(piece);
        } else {
            if (wanted_.set(piece)) bytes_left_ += layout_.piece_size(piece);
            if (!started(piece) && !order_.listed(piece)) order_.list(piece);
        }
        if (started(piece)) settle(piece);
        ++version_;
    }

    /// Neither had nor deselected.
    bool wants(piece_index piece) const { return wanted_.get(piece); }
    /// How many pieces out of `has` we want: we are interested if it is not 0. One step for 64 pieces.
    std::uint32_t count_wanted(const bitfield& has) const { return count_common(has, wanted_); }
    /// All wanted pieces are verified.
    bool finished() const { return wanted_.none(); }
    /// Bytes of wanted pieces that are not verified.
    std::uint64_t bytes_left() const { return bytes_left_; }
    /// Bytes of all pieces that are not verified, wanted or not: what announces call `left` (BEP 3).
    std::uint64_t bytes_missing() const { return bytes_missing_; }

    // ---- Asking.

    /// Appends up to `count` blocks that `peer`, which has joined with `has` or told of it since, should be asked for
    /// now, and notes that it was. Fewer, if there is nothing more for it, or it has to prove itself first: then the
    /// next passed() may change that. `endgame` bounds the blocks that are asked for twice: a deep pipeline full of
    /// them would fetch everything again that is on its way already.
    void pick(peer_key peer, const bitfield& has, std::size_t count, random_engine& random, std::vector<block>& out,
              const endgame_rule& endgame = {});

    /// Whether `peer` was asked for the block and neither delivered it nor was given up.
    bool is_requested(const block& wanted, peer_key peer) const {
        return started(wanted.piece) && partial(wanted.piece).is_requested(number_of(wanted), peer);
    }
    /// Appends who else still owes us the block: after received(), those to send `cancel` to.
    void requesters(const block& wanted, std::vector<peer_key>& out) const {
        if (started(wanted.piece)) partial(wanted.piece).requesters(number_of(wanted), out);
    }

    // ---- What became of it.

    /// A block came from `peer`, asked for or late; its request is over.
    block_result received(const block& got, peer_key peer) {
        if (have_.get(got.piece)) return block_result::duplicate;
        if (!started(got.piece)) start(got.piece);
        if (!partial(got.piece).receive(number_of(got), peer)) return block_result::duplicate;
        settle(got.piece);
        return partial(got.piece).received().all() ? block_result::piece_complete : block_result::accepted;
    }

    /// The peer will not send the block: it choked us, rejected, took too long or left. Others may be asked again.
    /// Ignored if it was not asked.
    void abandoned(const block& wanted, peer_key peer) {
        if (!started(wanted.piece) || !partial(wanted.piece).abandon(number_of(wanted), peer)) return;
        ++version_;
        reopen_if_untouched(wanted.piece);
    }

    /// The complete piece matches its hash.
    void passed(piece_index piece) {
        newcomers_.passed(contributors(piece));
        set_have(piece);
    }
    /// It does not: all its blocks are to be fetched again.
    void failed(piece_index piece) {
        if (!started(piece)) return;
        const std::vector<peer_key> givers = contributors(piece);
        newcomers_.failed(givers);
        for (const peer_key peer : givers)
            if (const auto notes = peers_.find(peer); notes != peers_.end()) notes->second.current = no_piece;
        drop_partial(piece);
        if (wants(piece)) order_.list(piece);
        ++version_;
    }

    /// Who gave each block of a started piece, no_peer for those that have not come; ask before passed() or failed().
    /// Empty if the piece is not started.
    std::vector<peer_key> contributors(piece_index piece) const {
        return started(piece) ? partial(piece).contributors() : std::vector<peer_key>{};
    }

    // ---- Statistics.

    std::size_t partial_count() const { return partials_.size(); }
    std::vector<partial_progress> partial_pieces() const {
        std::vector<partial_progress> out;
        out.reserve(partials_.size());
        for (const partial_piece& p : partials_)
            out.push_back(
                {p.piece(), p.blocks(), p.received().count(), p.blocks() - p.received().count() - p.open().count()});
        return out;
    }
    /// Pieces looked at, or words of 64, in all searches so far: lets tests hold pick() to its promise.
    std::uint64_t search_steps() const { return steps_; }

private:
    static constexpr std::uint32_t not_started = 0xffffffff;
    static constexpr std::uint32_t no_piece = 0xffffffff;

    /// What was found out for a peer in its last searches; all of it may be forgotten without harm.
    struct peer_notes {
        piece_index current = no_piece;  // the piece it is giving us
        piece_index scan_from = 0;       // where the last scan of its bitfield ended
        bool nothing_open = false;       // there was no open block for it ...
        std::uint32_t had = 0;           // ... when it had this many pieces
        std::uint64_t version = 0;       // ... and no block had been opened again since
    };

    static std::uint32_t number_of(const block& b) { return b.begin / block_size; }

    template <class Visit>
    static void for_each(const bitfield& bits, Visit visit) {
        for (auto piece = next_set(bits, 0); piece; piece = next_set(bits, *piece + 1)) visit(*piece);
    }

    bool started(piece_index piece) const { return partial_of_[piece] != not_started; }
    const partial_piece& partial(piece_index piece) const { return partials_[partial_of_[piece]]; }
    partial_piece& partial(piece_index piece) { return partials_[partial_of_[piece]]; }
    bool is_fetchable(piece_index piece) const { return partial_of_[piece] < fetchable_; }

    // Keeping partials_ in order
    void start(piece_index piece);
    void drop_partial(piece_index piece);
    void settle(piece_index piece);
    void swap_partials(std::uint32_t a, std::uint32_t b);
    void reopen_if_untouched(piece_index piece);

    // Searching
    std::optional<piece_index> find_open(peer_key peer, peer_notes& notes, const bitfield& has, random_engine& random);
    std::optional<piece_index> best_partial(const bitfield& has, std::uint32_t from, std::uint32_t to);
    bool is_better_left(piece_index piece, const bitfield& has) const;
    std::optional<piece_index> own_trial(peer_key peer, const bitfield& has) const;
    std::optional<piece_index> find_new(peer_notes& notes, const bitfield& has, random_engine& random);
    bool nobody_has_open_blocks() const;
    void pick_endgame(peer_key peer, const bitfield& has, std::size_t count, const endgame_rule& rule,
                      std::vector<block>& out);
    bool is_late(const partial_piece& of, std::uint32_t number, const endgame_rule& rule);

    piece_layout layout_;
    picker_options options_;
    rarity_order order_;  // lists the pieces that are wanted and not started
    std::uint32_t seeds_ = 0;

    // The started pieces. Invariant: the first `fetchable_` are those that are wanted and have open blocks, and
    // partial_of_ says where each stands.
    std::vector<partial_piece> partials_;
    std::uint32_t fetchable_ = 0;
    std::vector<std::uint32_t> partial_of_;

    bitfield have_;
    bitfield wanted_;
    std::uint64_t bytes_left_;
    std::uint64_t bytes_missing_;

    std::unordered_map<peer_key, peer_notes> peers_;
    newcomers newcomers_;
    std::uint64_t version_ = 0;  // grows whenever a block becomes open again
    struct {
        std::uint32_t piece = 0;  // in partials_
        std::uint32_t block = 0;
    } endgame_;  // where the next search for duplicates begins
    std::vector<peer_key> holders_;
    std::uint64_t steps_ = 0;
};

// ---- Machinery

inline void piece_picker::pick(peer_key peer, const bitfield& has, std::size_t count, random_engine& random,
                               std::vector<block>& out, const endgame_rule& endgame) {
    peer_notes& notes = peers_[peer];
    while (count > 0) {
        const auto piece = find_open(peer, notes, has, random);
        if (!piece) {
            const std::size_t most = std::min(count, endgame.most);
            if (most > 0 && nobody_has_open_blocks()) pick_endgame(peer, has, most, endgame, out);
            return;
        }
        notes.current = *piece;
        newcomers_.tries(peer, *piece);
        partial_piece& from = partial(*piece);
        for (auto number = next_set(from.open(), 0); number && count > 0; number = next_set(from.open(), *number)) {
            from.request(*number, peer);
            out.push_back(layout_.block_at(*piece, *number));
            --count;
        }
        settle(*piece);
    }
}

/// A started piece with an open block that the peer has; starts one if need be.
inline std::optional<piece_index> piece_picker::find_open(peer_key peer, peer_notes& notes, const bitfield& has,
                                                          random_engine& random) {
    constexpr std::uint32_t glance = 32;
    if (notes.current != no_piece && is_fetchable(notes.current) && has.get(notes.current)) return notes.current;
    if (notes.had != has.count() || notes.version != version_) {
        notes.nothing_open = false;
        notes.had = has.count();
        notes.version = version_;
    }
    if (notes.nothing_open) return std::nullopt;
    if (newcomers_.proven(peer)) {
        const auto piece = best_partial(has, 0, std::min(glance, fetchable_));
        if (piece && !newcomers_.has_trial(*piece) && !is_better_left(*piece, has)) return piece;
    } else {
        if (const auto piece = own_trial(peer, has)) return piece;
        if (!newcomers_.may_try_another(peer)) return std::nullopt;
    }
    if (const auto piece = find_new(notes, has, random)) {
        start(*piece);
        return piece;
    }
    if (const auto piece = best_partial(has, 0, fetchable_)) return piece;
    notes.nothing_open = true;
    return std::nullopt;
}

/// A seed's time goes to what no leecher could give first. Otherwise all leechers of a swarm would fetch the rest of
/// their pieces from its only seed, which has given most of that before.
inline bool piece_picker::is_better_left(piece_index piece, const bitfield& has) const {
    return has.all() && !options_.sequential && order_.copies(piece) > 0 && order_.any_without_copies(priority(piece));
}

/// A piece with which the newcomer has begun.
inline std::optional<piece_index> piece_picker::own_trial(peer_key peer, const bitfield& has) const {
    for (const piece_index piece : newcomers_.pieces_of(peer))
        if (is_fetchable(piece) && has.get(piece)) return piece;
    return std::nullopt;
}

inline std::optional<piece_index> piece_picker::best_partial(const bitfield& has, std::uint32_t from,
                                                             std::uint32_t to) {
    const auto better = [this](const partial_piece& a, const partial_piece& b) {
        // What was asked for first
        if (priority(a.piece()) != priority(b.piece())) return priority(a.piece()) > priority(b.piece());
        // What nobody proves itself with
        const bool a_trial = newcomers_.has_trial(a.piece()), b_trial = newcomers_.has_trial(b.piece());
        if (a_trial != b_trial) return b_trial;
        // What is needed first
        if (options_.sequential) return a.piece() < b.piece();
        // What is done first
        return a.open().count() < b.open().count();
    };
    const partial_piece* best = nullptr;
    for (std::uint32_t i = from; i < to; ++i) {
        ++steps_;
        if (has.get(partials_[i].piece()) && (best == nullptr || better(partials_[i], *best))) best = &partials_[i];
    }
    if (best == nullptr) return std::nullopt;
    return best->piece();
}

inline std::optional<piece_index> piece_picker::find_new(peer_notes& notes, const bitfield& has,
                                                         random_engine& random) {
    if (options_.sequential) return order_.lowest(has, steps_);
    if (have_.count() < options_.random_first) {
        notes.scan_from = random.below(has.size());
    } else if (const auto piece = order_.rarest(has, random, steps_)) {
        return piece;
    }
    const auto piece = order_.scan(has, notes.scan_from, steps_);
    if (piece) notes.scan_from = *piece;
    return piece;
}

inline bool piece_picker::nobody_has_open_blocks() const {
    if (order_.any_with(seeds_ > 0 ? 0 : 1)) return false;
    return std::none_of(partials_.begin(), partials_.begin() + fetchable_,
                        [this](const partial_piece& p) { return availability(p.piece()) > 0; });
}

/// Looks at a bounded number of blocks, and goes on next time where it stopped: when hundreds of peers wait for the
/// last blocks, each call must not go through all of them.
inline void piece_picker::pick_endgame(peer_key peer, const bitfield& has, std::size_t count, const endgame_rule& rule,
                                       std::vector<block>& out) {
    std::size_t budget = 64 + 4 * count;
    // One more than there are, because the first is entered in its middle.
    for (std::size_t pieces = partials_.size() + 1; pieces > 0; --pieces, ++endgame_.piece, endgame_.block = 0) {
        if (endgame_.piece >= partials_.size()) endgame_ = {};
        if (partials_.empty()) return;
        partial_piece& from = partials_[endgame_.piece];
        const bool useful = wants(from.piece()) && has.get(from.piece()) && newcomers_.may_try(peer, from.piece());
        auto number = useful ? next_set(from.single(), endgame_.block) : std::nullopt;
        for (; number; number = next_set(from.single(), *number + 1)) {
            endgame_.block = *number;
            if (count == 0 || budget == 0) return;
            --budget;
            ++steps_;
            if (from.is_requested(*number, peer) || !is_late(from, *number, rule)) continue;
            from.request(*number, peer);
            newcomers_.tries(peer, from.piece());
            out.push_back(layout_.block_at(from.piece(), *number));
            --count;
        }
        if (count == 0 || budget == 0) return;
        --budget;
        ++steps_;
    }
}

inline bool piece_picker::is_late(const partial_piece& of, std::uint32_t number, const endgame_rule& rule) {
    if (!rule.is_late) return true;
    holders_.clear();
    of.requesters(number, holders_);
    return std::all_of(holders_.begin(), holders_.end(), rule.is_late);
}

inline void piece_picker::start(piece_index piece) {
    if (order_.listed(piece)) order_.unlist(piece);
    partial_of_[piece] = static_cast<std::uint32_t>(partials_.size());
    partials_.emplace_back(piece, layout_.blocks_in(piece));
    settle(piece);
}

inline void piece_picker::drop_partial(piece_index piece) {
    newcomers_.forget(piece);
    if (is_fetchable(piece)) swap_partials(partial_of_[piece], --fetchable_);
    swap_partials(partial_of_[piece], static_cast<std::uint32_t>(partials_.size() - 1));
    partials_.pop_back();
    partial_of_[piece] = not_started;
}

/// Puts the piece on its side of the border after its blocks or its priority changed.
inline void piece_picker::settle(piece_index piece) {
    const bool fetchable = wants(piece) && !partial(piece).open().none();
    if (fetchable == is_fetchable(piece)) return;
    swap_partials(partial_of_[piece], fetchable ? fetchable_++ : --fetchable_);
}

inline void piece_picker::swap_partials(std::uint32_t a, std::uint32_t b) {
    if (a == b) return;
    std::swap(partials_[a], partials_[b]);
    partial_of_[partials_[a].piece()] = a;
    partial_of_[partials_[b].piece()] = b;
}

/// A piece of which nothing came and nothing is asked for is as if it had never been started.
inline void piece_picker::reopen_if_untouched(piece_index piece) {
    settle(piece);
    if (!partial(piece).untouched()) return;
    drop_partial(piece);
    if (wants(piece)) order_.list(piece);
}

}  // namespace cohort
