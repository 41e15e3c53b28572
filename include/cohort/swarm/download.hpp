// Getting pieces: which blocks to ask of whom, and what becomes of those that come.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <cohort/core/error.hpp>
#include <cohort/net/network.hpp>
#include <cohort/policy/piece_picker.hpp>
#include <cohort/swarm/content.hpp>
#include <cohort/swarm/peer.hpp>

namespace cohort {

/// The connected peers of one torrent, by key, so in the order in which they came.
using peer_table = std::map<peer_key, peer*>;

/// The download half of one torrent. Called by the coroutines that read peers, never waits.
class download {
public:
    struct handlers {
        std::function<void(piece_index)> on_verified;
        /// The piece is bad; `contributors` has the peer of each block, `digests` what the block was.
        std::function<void(piece_index, const std::vector<peer_key>& contributors, const piece_verdict&)> on_failed;
    };

    download(network& net, const piece_layout& layout, peer_table& peers, picker_options options, handlers h)
        : net_(net), layout_(layout), peers_(peers), picker_(layout, options), handlers_(std::move(h)) {}

    piece_picker& picker() { return picker_; }
    const piece_picker& picker() const { return picker_; }
    /// Where blocks go from now on.
    void use(content* where) { content_ = where; }

    /// Bytes of blocks that came, and those of them that were of no use.
    std::uint64_t downloaded() const { return downloaded_; }
    std::uint64_t wasted() const { return wasted_; }

    // What peers say. Each follows peer_state::apply() of the message.

    void on_pieces(peer& from) {
        picker_.peer_joined(from.state().has);
        from.wanted_pieces = picker_.count_wanted(from.state().has);
        update_interest(from);
    }
    /// A bitfield that came after other words about pieces, which had told of those in `before`.
    void on_more_pieces(peer& from, const bitfield& before) {
        const bitfield& has = from.state().has;
        for (piece_index piece = 0; has.count() != before.count() && piece < has.size(); ++piece) {
            if (has.get(piece) && !before.get(piece)) on_have(from, piece);
        }
    }
    /// Only for news.
    void on_have(peer& from, piece_index piece) {
        picker_.peer_has(piece);
        if (picker_.wants(piece)) ++from.wanted_pieces;
        update_interest(from);
    }
    /// Without the Fast extension a choke drops all requests; with it each is answered or rejected (BEP 6).
    void on_choke(peer& from) {
        if (from.state().fast() || from.requests.empty()) return;
        give_back(from, false);
        refill_idle();
    }
    /// Throws errc::rejected for a peer that goes on refusing what it claims to have: it would be asked for ever.
    void on_reject(peer& from, const block& range) {
        if (!from.take_request(range)) {
            // The answer to a request that we took back: its block will not come any more.
            if (from.forgiven_blocks > 0) --from.forgiven_blocks;
            return;
        }
        if (++from.rejects_in_row > most_rejects) raise(errc::rejected);
        from.pipeline.dropped(1, net_.now());
        picker_.abandoned(range, from.key);
    }
    /// Throws std::system_error for what no honest peer sends.
    void on_block(peer& from, const wire::piece& message, const std::shared_ptr<const std::uint8_t[]>& memory);

    /// Hands what the batch brought to the disk, and asks for more.
    void end_of_batch(peer& from) {
        flush_run(false);
        refill(from);
    }
    /// Sends as many requests as the peer should have. Those of a batch go out together.
    void refill(peer& to);

    /// After a change of priorities.
    void wants_changed() {
        for (const auto& [key, p] : peers_) {
            p->wanted_pieces = picker_.count_wanted(p->state().has);
            update_interest(*p);
            refill(*p);
        }
    }

    void left(peer& gone) {
        give_back(gone, false);
        picker_.peer_left(gone.key, gone.state().has);
        refill_idle();
    }

    void on_verdict(const piece_verdict& verdict);
    /// Asks for the blocks of good pieces too, to compare them with those of an earlier bad copy.
    void want_digests(piece_index piece) { suspected_.insert(piece); }

    /// Once a second: what waited too long goes to others. Sets peer::leaving where a peer is to be given up.
    void tick(peer& of, time_point now);

private:
    /// Blocks nobody asked for that we bear: stray ones can be honest, when a cancel crosses a reply.
    static constexpr std::uint32_t most_unexpected = 64;
    /// Refusals without a block in between: more than the longest queue, which a choke may refuse as a whole.
    static constexpr std::uint32_t most_rejects = 4000;
    /// Requests at a peer up to which it is asked for blocks that another peer owes us as well.
    static constexpr std::size_t endgame_depth = 8;
    /// What would come within this time anyway is not worth a second copy.
    static constexpr duration endgame_patience = 200ms;
    /// A peer that took requests and sent nothing for so long is given up.
    static constexpr duration request_timeout = 60s;

    bool is_later(peer_key holder, const peer& than) const;
    void give_back(peer& from, bool may_still_come);
    void refill_idle();
    void cancel_others(const block& got, const peer& from);
    void flush_run(bool finishes_piece);

    static void update_interest(peer& p) {
        const bool interested = p.wanted_pieces > 0;
        if (interested == p.state().am_interested) return;
        if (interested) {
            p.connection->queue(wire::interested{});
        } else {
            p.connection->queue(wire::not_interested{});
        }
    }

    network& net_;
    piece_layout layout_;
    peer_table& peers_;
    piece_picker picker_;
    handlers handlers_;
    content* content_ = nullptr;
    std::uint64_t downloaded_ = 0;
    std::uint64_t wasted_ = 0;
    std::set<piece_index> suspected_;

    // The blocks of the present batch that follow one another within a piece: one write for all.
    struct {
        block range;
        std::vector<byte_view> parts;
        std::shared_ptr<const void> memory;
    } run_;
    std::vector<block> picked_;
    std::vector<peer_key> others_;
};

inline void download::on_block(peer& from, const wire::piece& message,
                               const std::shared_ptr<const std::uint8_t[]>& memory) {
    const block range = message.range();
    if (!layout_.is_block(range)) raise(errc::index_out_of_range);
    const time_point now = net_.now();
    downloaded_ += range.length;
    from.download.add(range.length, now);
    if (const auto sent = from.take_request(range)) {
        from.pipeline.received(range.length, now - sent->sent_at, now);
        from.rejects_in_row = 0;
    } else if (from.forgiven_blocks > 0) {
        --from.forgiven_blocks;
    } else {
        wasted_ += range.length;
        if (++from.unexpected_blocks > most_unexpected) raise(errc::unexpected_block);
        return;
    }

    const block_result result = picker_.received(range, from.key);
    if (result == block_result::duplicate) {
        wasted_ += range.length;
        return;
    }
    const bool continues = !run_.parts.empty() && run_.range.piece == range.piece &&
                           run_.range.begin + run_.range.length == range.begin && run_.memory == memory;
    if (!continues) {
        flush_run(false);
        run_.range = {range.piece, range.begin, 0};
        run_.memory = memory;
    }
    run_.range.length += range.length;
    run_.parts.push_back(message.data);
    cancel_others(range, from);
    if (result == block_result::piece_complete) {
        flush_run(true);
        content_->finish(range.piece, suspected_.contains(range.piece));
    }
}

inline void download::flush_run(bool finishes_piece) {
    if (run_.parts.empty()) return;
    content_->write(run_.range.piece, run_.range.begin, std::exchange(run_.parts, {}), std::exchange(run_.memory, {}),
                    finishes_piece);
}

/// In the endgame several peers were asked for the same block; the first answer settles it.
inline void download::cancel_others(const block& got, const peer& from) {
    others_.clear();
    picker_.requesters(got, others_);
    for (const peer_key key : others_) {
        const auto found = peers_.find(key);
        if (key == from.key || found == peers_.end()) continue;
        peer& other = *found->second;
        picker_.abandoned(got, key);
        if (!other.take_request(got)) continue;
        other.pipeline.dropped(1, net_.now());
        ++other.forgiven_blocks;
        other.connection->queue(wire::cancel{got});
    }
}

inline void download::refill(peer& to) {
    if (to.state().peer_choking || to.wanted_pieces == 0 || content_ == nullptr) return;
    const std::size_t depth = to.pipeline.depth();
    // A batch is worth waiting for: the system call costs the same for one request as for many.
    if (to.requests.size() >= depth - depth / 4) return;
    picked_.clear();
    const time_point now = net_.now();
    const std::size_t waiting = to.requests.size();
    endgame_rule endgame;
    endgame.most = waiting < endgame_depth ? endgame_depth - waiting : 0;
    endgame.is_late = [this, &to](peer_key holder) { return is_later(holder, to); };
    picker_.pick(to.key, to.state().has, depth - waiting, net_.random(), picked_, endgame);
    if (picked_.empty()) return;
    for (const block& wanted : picked_) {
        to.requests.push_back({wanted, now});
        to.connection->queue(wire::request{wanted});
    }
    to.pipeline.sent(picked_.size(), now);
}

/// Whether asking `than` as well would bring us a block of `holder` a good deal sooner.
inline bool download::is_later(peer_key holder, const peer& than) const {
    const auto found = peers_.find(holder);
    if (found == peers_.end()) return true;
    const time_point now = net_.now();
    return found->second->pipeline.delay(now) > 2 * than.pipeline.delay(now) + endgame_patience;
}

/// Takes back all requests of a peer. `may_still_come`: it was not told, so late answers are no offence.
inline void download::give_back(peer& from, bool may_still_come) {
    if (may_still_come) from.forgiven_blocks += static_cast<std::uint32_t>(from.requests.size());
    from.pipeline.dropped(from.requests.size(), net_.now());
    for (const sent_request& sent : from.requests) picker_.abandoned(sent.range, from.key);
    from.requests.clear();
}

/// After blocks became open again, or a newcomer may have proved itself: peers that had nothing left to do would not
/// notice by themselves.
inline void download::refill_idle() {
    for (const auto& [key, idle] : peers_) {
        if (idle->requests.empty()) refill(*idle);
    }
}

inline void download::on_verdict(const piece_verdict& verdict) {
    if (!verdict.passed) {
        const std::vector<peer_key> contributors = picker_.contributors(verdict.piece);
        wasted_ += layout_.piece_size(verdict.piece);
        picker_.failed(verdict.piece);
        handlers_.on_failed(verdict.piece, contributors, verdict);
        refill_idle();
        return;
    }
    const bool wanted = picker_.wants(verdict.piece);
    picker_.passed(verdict.piece);
    suspected_.erase(verdict.piece);
    for (const auto& [key, other] : peers_) {
        if (!other->state().has.get(verdict.piece) || !wanted) continue;
        --other->wanted_pieces;
        update_interest(*other);
    }
    handlers_.on_verified(verdict.piece);
    refill_idle();
}

inline void download::tick(peer& of, time_point now) {
    of.forgive_unread(now);
    const bool waiting = !of.requests.empty();
    if (waiting && of.pipeline.snubbed(now)) {
        if (of.pipeline.silence(now) >= request_timeout) of.leaving = errc::timed_out;
        // Others may try them all, while the oldest shows whether the peer comes back (BEP 3, anti-snubbing). Not even
        // that one stays its own: two silent peers would keep a block of the endgame to themselves.
        const sent_request probe = of.requests.front();
        of.requests.pop_front();
        give_back(of, true);
        picker_.abandoned(probe.range, of.key);
        of.requests.push_front(probe);
    }
    refill(of);
}

}  // namespace cohort
