// Giving pieces: whose requests are answered, and when.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <cohort/core/error.hpp>
#include <cohort/net/network.hpp>
#include <cohort/policy/choker.hpp>
#include <cohort/policy/token_bucket.hpp>
#include <cohort/swarm/content.hpp>
#include <cohort/swarm/download.hpp>
#include <cohort/swarm/peer.hpp>

namespace cohort {

struct upload_options {
    choker_options choking;
    std::uint64_t rate_limit = 0;  ///< bytes a second over all peers; 0: none
};

/// The upload half of one torrent. Called by the coroutines that read and write peers, never waits.
class upload {
public:
    upload(network& net, const piece_layout& layout, const bitfield& have, peer_table& peers, upload_options options)
        : net_(net),
          layout_(layout),
          have_(have),
          peers_(peers),
          options_(options),
          choker_(options.choking),
          limit_(options.rate_limit) {}

    /// Where blocks are taken from now on.
    void use(content* where) { content_ = where; }

    /// Bytes of blocks. They count when they are queued, so a connection that breaks adds up to 512 KiB too many: to
    /// take those back would make the number fall, and trackers reckon with its differences.
    std::uint64_t uploaded() const { return uploaded_; }

    /// A peer wants something: it is unchoked at once while there are free slots, so that a small swarm does not wait
    /// for the next round.
    void on_interested(peer& who) {
        if (who.state().am_choking && has_free_slot()) unchoke(who);
    }

    /// A peer has all it wants of us. While we lack something this can change with the next piece.
    void on_not_interested(peer& who) {
        if (have_.all() && !who.state().am_choking) pass_on(who);
    }

    /// Whoever waits longest gets a slot that became free, so that a crowd need not wait for the next round.
    void fill_slots() {
        while (has_free_slot()) {
            peer* const next = next_in_line();
            if (next == nullptr) return;
            unchoke(*next);
        }
    }

    bool has_free_slot() const {
        return unchoked() < options_.choking.unchoke_slots + options_.choking.optimistic_slots;
    }

    /// Queues an acceptable request, refuses any other. Throws errc::request_abuse when a peer goes on with those.
    void on_request(peer& from, const block& range);
    /// Forgets a queued request; what was answered already is past recall.
    void on_cancel(peer& from, const block& range) {
        const auto found = std::find(from.wanted_blocks.begin(), from.wanted_blocks.end(), range);
        if (found == from.wanted_blocks.end()) return;
        from.wanted_blocks.erase(found);
        refuse(from, range);
    }

    /// Moves requests into the peer's outgoing queue until that holds enough, or the rate limit says to wait: then
    /// returns how long. Throws errc::stopped after the disk failed.
    duration fill(peer& to);

    /// The choking round of every ten seconds.
    void rechoke(bool seeding, time_point now);

private:
    /// More requests than anybody's pipeline needs (BEP 10 `reqq`; see request_pipeline).
    static constexpr std::size_t most_queued = 2000;
    /// What waits in a connection: enough for the kernel to have work while we serve the others.
    static constexpr std::size_t most_outgoing = 512 * 1024;
    static constexpr std::uint32_t most_refused = 300;
    /// Requests that crossed our choke are no offence.
    static constexpr duration choke_crossing = 2s;

    std::size_t unchoked() const {
        return static_cast<std::size_t>(std::count_if(
            peers_.begin(), peers_.end(), [](const auto& entry) { return !entry.second->state().am_choking; }));
    }

    /// The interested peer that has been choked for longest; null if there is none.
    peer* next_in_line() const {
        const auto waits_since = [](const peer& p) { return std::max(p.connected_at, p.choked_at); };
        peer* out = nullptr;
        for (const auto& [key, p] : peers_) {
            if (!p->state().am_choking || !p->state().peer_interested) continue;
            if (out == nullptr || waits_since(*p) < waits_since(*out)) out = p;
        }
        return out;
    }

    /// Gives the slot to whoever waits longest. False if nobody does.
    bool pass_on(peer& from) {
        peer* const next = next_in_line();
        if (next == nullptr) return false;
        choke(from);
        unchoke(*next);
        return true;
    }

    void unchoke(peer& who) {
        who.connection->queue(wire::unchoke{});
        who.unchoked_at = net_.now();
        who.uploaded_since_unchoke = 0;
    }

    void choke(peer& who) {
        who.connection->queue(wire::choke{});
        who.choked_at = net_.now();
        for (const block& range : std::exchange(who.wanted_blocks, {})) refuse(who, range);
    }

    /// With the Fast extension every request gets an answer (BEP 6).
    static void refuse(peer& who, const block& range) {
        if (who.state().fast()) who.connection->queue(wire::reject{range});
    }

    void queue_block(peer& to, const block& range);

    network& net_;
    piece_layout layout_;
    const bitfield& have_;
    peer_table& peers_;
    upload_options options_;
    choker choker_;
    token_bucket limit_;
    content* content_ = nullptr;
    std::uint64_t uploaded_ = 0;
};

inline void upload::on_request(peer& from, const block& range) {
    const bool sensible = layout_.contains(range) && range.length <= block_size && have_.get(range.piece);
    const bool allowed = !from.state().am_choking && from.wanted_blocks.size() < most_queued;
    if (sensible && allowed) {
        from.wanted_blocks.push_back(range);
        from.connection->nudge();
        return;
    }
    refuse(from, range);
    const bool crossed = from.state().am_choking && net_.now() - from.choked_at < choke_crossing;
    if (!crossed && ++from.refused_requests > most_refused) raise(errc::request_abuse);
}

inline duration upload::fill(peer& to) {
    while (!to.wanted_blocks.empty() && to.connection->queued_bytes() < most_outgoing) {
        const block range = to.wanted_blocks.front();
        const time_point now = net_.now();
        if (const duration wait = limit_.wait(range.length, now); wait > duration::zero()) return wait;
        limit_.take(range.length, now);
        to.wanted_blocks.pop_front();
        queue_block(to, range);
    }
    return duration::zero();
}

inline void upload::queue_block(peer& to, const block& range) {
    if (to.serving != range.piece && content_->about_to_serve(range.piece)) to.serving = range.piece;
    const auto bytes = content_->block_to_send(range);
    to.connection->queue_block(range, bytes->data, bytes);
    uploaded_ += range.length;
    to.uploaded_since_unchoke += range.length;
    to.upload.add(range.length, net_.now());
    // On a fast line a turn is over long before the next round; a thousand peers would wait for hours.
    const bool over = have_.all() && choker_.used_share(to.uploaded_since_unchoke);
    if (over && !pass_on(to)) to.uploaded_since_unchoke = 0;
}

inline void upload::rechoke(bool seeding, time_point now) {
    std::vector<choke_candidate> candidates;
    for (const auto& [key, p] : peers_) {
        choke_candidate candidate;
        candidate.key = key;
        candidate.interested = p->state().peer_interested;
        candidate.snubbed = p->pipeline.snubbed(now);
        candidate.unchoked_now = !p->state().am_choking;
        candidate.download_rate = p->download.rate(now);
        candidate.upload_rate = p->upload.rate(now);
        candidate.connected_since = p->connected_at;
        candidate.unchoked_since = p->unchoked_at;
        candidate.uploaded_since_unchoke = p->uploaded_since_unchoke;
        candidates.push_back(candidate);
    }
    const std::vector<peer_key> chosen = choker_.rechoke(candidates, seeding, now, net_.random());
    const std::set<peer_key> lucky(chosen.begin(), chosen.end());
    for (const auto& [key, p] : peers_) {
        const bool wanted = lucky.contains(key);
        if (wanted && p->state().am_choking) unchoke(*p);
        if (!wanted && !p->state().am_choking) choke(*p);
    }
}

}  // namespace cohort
