// Who is in a room, told by the members' own entries: everybody who has the same entries names the same people.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <cohort/protocol/chat_entry.hpp>

namespace cohort {

/// What an entry did to the membership.
enum class member_change {
    none,     ///< neither a join nor a leave, or an older one than we know
    joined,   ///< somebody new, or back
    left,     ///< a member went: everybody else makes a new sender key
    renamed,  ///< a member came again, under another name perhaps
    refused,  ///< the room has too many people
};

struct room_member {
    identity_key key{};
    std::string name;
    bool joined = false;
    std::uint64_t seq = 0;    ///< of the last join or leave
    std::uint64_t since = 0;  ///< a member may read what has a higher clock than this
};

/// Each person's last join or leave, by their own chain, counts; so who is in does not depend on the order in which
/// entries come. Only `since` takes a chain to come in its own order, as chat_timeline has it.
/// Nobody can put another in or out.
class room_members {
public:
    explicit room_members(std::size_t max_people = 10'000) : max_people_(max_people) {}

    /// Takes a verified entry of the room; all but joins and leaves change nothing. `seen_clock` is the highest clock
    /// that we had before: one who dates its join back does not get to read what was said by then. 0 believes the
    /// entry.
    member_change apply(const chat_entry& entry, std::uint64_t seen_clock = 0);

    bool is_member(const identity_key& key) const {
        const room_member* const one = find(key);
        return one != nullptr && one->joined;
    }
    /// Nothing of those who were never here. The pointer lives until the next apply().
    const room_member* find(const identity_key& key) const {
        const auto at = people_.find(key);
        return at == people_.end() ? nullptr : &at->second;
    }
    /// Those who are in the room, by key.
    std::vector<room_member> joined() const {
        std::vector<room_member> out;
        for (const auto& [key, one] : people_)
            if (one.joined) out.push_back(one);
        return out;
    }
    std::size_t joined_count() const { return joined_count_; }

    /// Grows when a member leaves. A sender key made in an earlier epoch is known to somebody who left, and must seal
    /// nothing more. Counts what this node saw, in its order: to compare with itself only.
    std::uint64_t epoch() const { return epoch_; }

    /// Whether the member may be given this entry: it was made after the member came, or by the member.
    bool may_read(const identity_key& reader, const identity_key& author, std::uint64_t clock) const {
        const room_member* const one = find(reader);
        return one != nullptr && (reader == author || (one->joined && clock > one->since));
    }

private:
    std::map<identity_key, room_member> people_;  // those who left stay: an old join must not bring them back
    std::size_t max_people_;
    std::size_t joined_count_ = 0;
    std::uint64_t epoch_ = 0;
};

inline member_change room_members::apply(const chat_entry& entry, std::uint64_t seen_clock) {
    const auto* const join = std::get_if<chat::room_join>(&entry.body);
    if (join == nullptr && !std::holds_alternative<chat::room_leave>(entry.body)) return member_change::none;
    auto at = people_.find(entry.author);
    if (at == people_.end()) {
        if (people_.size() >= max_people_) return member_change::refused;
        at = people_.emplace(entry.author, room_member{entry.author, {}, false, 0, 0}).first;
    }
    room_member& one = at->second;
    if (entry.seq <= one.seq) return member_change::none;
    const bool was_joined = one.joined;
    one.seq = entry.seq;
    one.joined = join != nullptr;
    if (join != nullptr) {
        one.name = join->name;
        // Who joins again without having left keeps what it had.
        if (!was_joined) one.since = std::max(entry.clock, seen_clock);
        joined_count_ += was_joined ? 0 : 1;
        return was_joined ? member_change::renamed : member_change::joined;
    }
    if (!was_joined) return member_change::none;
    --joined_count_;
    ++epoch_;
    return member_change::left;
}

}  // namespace cohort
