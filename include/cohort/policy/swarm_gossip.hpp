// The talk of a swarm, passed from peer to peer: what is new, what is passed on to whom, and how much anybody may say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/ids.hpp>
#include <cohort/core/time.hpp>
#include <cohort/policy/token_bucket.hpp>
#include <cohort/protocol/chat_entry.hpp>

namespace cohort {

/// The room of a torrent's peers.
inline std::string swarm_room(const info_hash& hash) { return "torrent " + hash.hex(); }

struct gossip_limits {
    static constexpr std::size_t text = 4096;     ///< bytes of one message
    static constexpr std::size_t recent = 200;    ///< messages kept
    static constexpr std::size_t backlog = 40;    ///< of those a newcomer is told
    static constexpr std::size_t authors = 1024;  ///< remembered; beyond that the longest silent is forgotten
    static constexpr std::size_t told = 256;      ///< introductions to a peer that are remembered
    /// Entries a second from one peer, and how many may be saved up: above 10 a second for 10 seconds they are ignored.
    static constexpr std::uint64_t rate_in = 10, burst_in = 100;
    /// Entries a second to one peer: below what it takes, so that who passes on is not taken for who floods.
    static constexpr std::uint64_t rate_out = 8, burst_out = 80;
    /// Signatures that are checked a second, whoever sent them: 2 or 3 % of a core.
    static constexpr std::uint64_t rate_checked = 200, burst_checked = 400;
    /// Own messages a second: what peers would take.
    static constexpr std::uint64_t rate_own = 4, burst_own = 20;
    /// What something malformed or forged costs, in entries. Who passes on checks before, so that is nobody's accident.
    static constexpr std::uint64_t penalty = 20;
};

/// What one peer may say and was told.
class gossip_link {
public:
    /// Whether another entry of the peer is looked at; it counts as one.
    bool may_hear(time_point now) { return in_.take(1, now) == 1; }
    void punish(time_point now) { in_.take(gossip_limits::penalty, now); }

    /// Whether the peer is sent so many entries; they count as sent.
    bool may_tell(std::uint64_t entries, time_point now) {
        return out_.wait(entries, now) == duration::zero() && out_.take(entries, now) == entries;
    }

    /// Whether the peer knows what the author is called.
    bool knows(const identity_key& author) const { return told_.contains(author); }
    void introduced(const identity_key& author) {
        // It may be told again: that costs little.
        if (told_.size() >= gossip_limits::told) told_.clear();
        told_.insert(author);
    }

private:
    token_bucket in_{gossip_limits::rate_in, gossip_limits::burst_in};
    token_bucket out_{gossip_limits::rate_out, gossip_limits::burst_out};
    std::set<identity_key> told_;
};

/// What came of an entry.
enum class gossip_verdict {
    fresh,    ///< a new message, to be shown and passed on
    name,     ///< says what its author is called; it travels with the author's messages
    known,    ///< or older than what is remembered
    ignored,  ///< of a kind that is not for swarms, or too many come to be checked
    refused,  ///< another room's, too long, or forged
};

/// A bounded set of signed entries. Authors count theirs: one counts as new once, if it is not more than 63 behind the
/// author's newest. An author's first entry, the introduction, holds the name.
class swarm_gossip {
public:
    explicit swarm_gossip(const info_hash& hash) : room_(room_conversation(swarm_room(hash))) {}

    const conversation_id& room() const { return room_; }

    /// Judges an entry of whoever sent it, and remembers it if it is good.
    gossip_verdict take(const signed_entry& entry, time_point now);

    /// Remembers one of our own.
    void add_own(const signed_entry& entry) {
        own_ = entry.entry().author;
        remember(entry);
    }

    /// What the author is called; empty if it never said so.
    std::string_view name_of(const identity_key& author) const {
        const signed_entry* const said = introduction(author);
        return said == nullptr ? std::string_view() : std::get<chat::room_join>(said->entry().body).name;
    }
    const signed_entry* introduction(const identity_key& author) const {
        const auto found = authors_.find(author);
        return found == authors_.end() || !found->second.introduction ? nullptr : &*found->second.introduction;
    }

    /// The messages kept, in the order of coming.
    const std::deque<signed_entry>& recent() const { return recent_; }
    std::size_t authors() const { return authors_.size(); }

private:
    struct record {
        std::uint64_t newest = 0;  ///< seq of a message
        std::uint64_t seen = 0;    ///< bit n: the message `newest` - n came
        std::uint64_t heard = 0;   ///< when last, in entries
        std::optional<signed_entry> introduction;
    };
    static constexpr std::uint64_t window = 64;

    bool is_new(const signed_entry& entry) const;
    void remember(const signed_entry& entry);
    record& of(const identity_key& key);

    conversation_id room_;
    std::optional<identity_key> own_;
    std::map<identity_key, record> authors_;
    std::deque<signed_entry> recent_;
    token_bucket checked_{gossip_limits::rate_checked, gossip_limits::burst_checked};
    std::uint64_t heard_ = 0;
};

inline gossip_verdict swarm_gossip::take(const signed_entry& entry, time_point now) {
    const chat_entry& said = entry.entry();
    if (said.conversation != room_) return gossip_verdict::refused;
    const auto* const text = std::get_if<chat::text>(&said.body);
    if (text == nullptr && !std::holds_alternative<chat::room_join>(said.body)) return gossip_verdict::ignored;
    if (text != nullptr && text->content.size() > gossip_limits::text) return gossip_verdict::refused;
    if (!is_new(entry)) return gossip_verdict::known;
    if (checked_.take(1, now) == 0) return gossip_verdict::ignored;
    if (!entry.verify()) return gossip_verdict::refused;
    remember(entry);
    return text != nullptr ? gossip_verdict::fresh : gossip_verdict::name;
}

inline bool swarm_gossip::is_new(const signed_entry& entry) const {
    const chat_entry& said = entry.entry();
    const auto found = authors_.find(said.author);
    if (found == authors_.end()) return true;
    const record& known = found->second;
    if (!std::holds_alternative<chat::text>(said.body)) {
        return !known.introduction || said.seq > known.introduction->entry().seq;
    }
    if (said.seq > known.newest) return true;
    const std::uint64_t behind = known.newest - said.seq;
    return behind < window && (known.seen >> behind & 1) == 0;
}

inline void swarm_gossip::remember(const signed_entry& entry) {
    const chat_entry& said = entry.entry();
    record& by = of(said.author);
    by.heard = ++heard_;
    if (!std::holds_alternative<chat::text>(said.body)) {
        by.introduction = entry;
        return;
    }
    if (said.seq > by.newest) {
        const std::uint64_t ahead = said.seq - by.newest;
        by.seen = ahead < window ? by.seen << ahead : 0;
        by.newest = said.seq;
    }
    by.seen |= std::uint64_t{1} << (by.newest - said.seq);
    if (recent_.size() == gossip_limits::recent) recent_.pop_front();
    recent_.push_back(entry);
}

inline swarm_gossip::record& swarm_gossip::of(const identity_key& key) {
    const auto found = authors_.find(key);
    if (found != authors_.end()) return found->second;
    if (authors_.size() >= gossip_limits::authors) {
        // First those who have said nothing, so that names alone displace nobody who speaks; ourselves never.
        const auto worth = [this](const auto& one) {
            return std::tuple(one.first == own_, one.second.newest != 0, one.second.heard);
        };
        authors_.erase(std::min_element(authors_.begin(), authors_.end(),
                                        [&worth](const auto& a, const auto& b) { return worth(a) < worth(b); }));
    }
    return authors_[key];
}

}  // namespace cohort
