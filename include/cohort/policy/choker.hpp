// Whom to give to: those who give most while we lack something, everybody in turn once we are complete.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <cohort/core/random.hpp>
#include <cohort/core/time.hpp>
#include <cohort/policy/peer_key.hpp>

namespace cohort {

/// What the choker looks at in one connected peer.
struct choke_candidate {
    peer_key key = no_peer;
    bool interested = false;    ///< in us; who is not gets no slot
    bool snubbed = false;       ///< has not delivered for a while what we asked for
    bool unchoked_now = false;  ///< by us
    double download_rate = 0;   ///< bytes a second that it gives us
    double upload_rate = 0;     ///< bytes a second that we give it
    time_point connected_since{};
    time_point unchoked_since{};  ///< when we last began to unchoke it; the default if never
    std::uint64_t uploaded_since_unchoke = 0;
};

struct choker_options {
    std::size_t unchoke_slots = 8;       ///< earned by giving
    std::size_t optimistic_slots = 1;    ///< in addition, by luck
    duration optimistic_interval = 30s;  ///< how long luck lasts (BEP 3)
    std::uint64_t share = 16 << 20;      ///< when seeding, a turn ends after so many bytes ...
    duration turn = 60s;                 ///< ... or so long, whichever comes first
};

/// The engine calls rechoke() every ten seconds (BEP 3: often enough to follow the rates, too seldom to flutter).
/// Between two rounds whoever waits longest gets the slot of who leaves or, when seeding, loses interest or has used
/// its share.
class choker {
public:
    explicit choker(choker_options options = {}) : options_(options) {}

    /// The keys of the peers to be unchoked, all others are to be choked. `seeding` is true when we need nothing.
    std::vector<peer_key> rechoke(std::span<const choke_candidate> peers, bool seeding, time_point now,
                                  random_engine& random) {
        std::vector<const choke_candidate*> interested;
        for (const choke_candidate& peer : peers)
            if (peer.interested) interested.push_back(&peer);
        // Those who are equal in everything below come in random order: a fixed one would favour the same peers each
        // time.
        random.shuffle(interested);
        std::vector<peer_key> out;
        if (seeding) {
            lucky_.clear();
            take(interested, options_.unchoke_slots + options_.optimistic_slots, out,
                 [&](const auto& a, const auto& b) { return deserves_turn(a, b, now); });
        } else {
            // A snubbed peer may have a slot by luck only (BEP 3, anti-snubbing), and so may one that gives nothing.
            const auto unearned = std::stable_partition(
                interested.begin(), interested.end(),
                [](const choke_candidate* peer) { return !peer->snubbed && peer->download_rate > 0; });
            std::vector<const choke_candidate*> others(unearned, interested.end());
            interested.erase(unearned, interested.end());
            take(interested, options_.unchoke_slots, out, gives_more);
            others.insert(others.end(), interested.begin(), interested.end());
            // Slots that nobody earned go by luck as well: a swarm of strangers has to begin somewhere.
            const std::size_t slots = options_.unchoke_slots + options_.optimistic_slots - out.size();
            draw(others, slots, now, random, out);
        }
        return out;
    }

    /// Whether a seeder's peer has had what one turn gives.
    bool used_share(std::uint64_t uploaded_since_unchoke) const { return uploaded_since_unchoke >= options_.share; }

private:
    /// Tit for tat, in order of importance.
    static bool gives_more(const choke_candidate& a, const choke_candidate& b) {
        // Who gives us more
        if (a.download_rate != b.download_rate) return a.download_rate > b.download_rate;
        // Who has the slot: changing costs a pause
        if (a.unchoked_now != b.unchoked_now) return a.unchoked_now;
        // Who makes better use of it
        if (a.upload_rate != b.upload_rate) return a.upload_rate > b.upload_rate;
        // Who has been with us longer
        return a.connected_since < b.connected_since;
    }

    /// A seeder's rounds, in order of importance.
    bool deserves_turn(const choke_candidate& a, const choke_candidate& b, time_point now) const {
        // Who is in the middle of its turn
        const bool a_in_turn = in_turn(a, now), b_in_turn = in_turn(b, now);
        if (a_in_turn != b_in_turn) return a_in_turn;
        // Who waits, before whoever has just had its turn
        if (a.unchoked_now != b.unchoked_now) return !a.unchoked_now;
        // Whose last turn, or arrival, was longest ago
        return waiting_since(a) < waiting_since(b);
    }

    bool in_turn(const choke_candidate& peer, time_point now) const {
        return peer.unchoked_now && !used_share(peer.uploaded_since_unchoke) &&
               now - peer.unchoked_since < options_.turn;
    }
    static time_point waiting_since(const choke_candidate& peer) {
        return std::max(peer.connected_since, peer.unchoked_since);
    }

    /// Moves the keys of the best `slots` of `from` to `out`, and removes them from `from`.
    template <class Better>
    static void take(std::vector<const choke_candidate*>& from, std::size_t slots, std::vector<peer_key>& out,
                     Better better) {
        std::stable_sort(from.begin(), from.end(), [&](const auto* a, const auto* b) { return better(*a, *b); });
        const auto end = from.begin() + static_cast<std::ptrdiff_t>(std::min(slots, from.size()));
        for (auto peer = from.begin(); peer != end; ++peer) out.push_back((*peer)->key);
        from.erase(from.begin(), end);
    }

    /// Fills `slots` with the lucky ones of before whose time is not over, and then at random.
    void draw(std::vector<const choke_candidate*>& from, std::size_t slots, time_point now, random_engine& random,
              std::vector<peer_key>& out) {
        std::vector<luck> kept;
        for (const luck& l : lucky_) {
            const auto at =
                std::find_if(from.begin(), from.end(), [&](const auto* peer) { return peer->key == l.key; });
            if (at == from.end() || now - l.since >= options_.optimistic_interval || kept.size() == slots) continue;
            kept.push_back(l);
            from.erase(at);
        }
        // Those whose time is over step back behind all who have not had theirs.
        const auto had = [this](const choke_candidate* peer) {
            return std::any_of(lucky_.begin(), lucky_.end(), [&](const luck& l) { return l.key == peer->key; });
        };
        const auto again = std::stable_partition(from.begin(), from.end(), [&](const auto* p) { return !had(p); });
        std::vector<const choke_candidate*> last(again, from.end());
        from.erase(again, from.end());
        for (auto* pool : {&from, &last})
            while (kept.size() < slots && !pool->empty()) kept.push_back({draw_one(*pool, now, random), now});
        lucky_ = std::move(kept);
        for (const luck& l : lucky_) out.push_back(l.key);
    }

    /// One at random, a new peer three times as likely: it has nothing to give yet (BEP 3).
    peer_key draw_one(std::vector<const choke_candidate*>& pool, time_point now, random_engine& random) const {
        const auto tickets = [&](const choke_candidate* peer) -> std::uint32_t {
            return now - peer->connected_since < 2 * options_.optimistic_interval ? 3 : 1;
        };
        std::uint32_t sum = 0;
        for (const auto* peer : pool) sum += tickets(peer);
        std::uint32_t drawn = random.below(sum);
        auto at = pool.begin();
        for (; drawn >= tickets(*at); ++at) drawn -= tickets(*at);
        const peer_key key = (*at)->key;
        pool.erase(at);
        return key;
    }

    struct luck {
        peer_key key;
        time_point since;
    };

    choker_options options_;
    std::vector<luck> lucky_;
};

}  // namespace cohort
