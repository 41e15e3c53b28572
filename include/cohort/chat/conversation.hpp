// One conversation as a node holds it: what was said, who takes part, and how far each of us has it. Entries go to the
// log before anybody is told that they are here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/policy/chat_timeline.hpp>
#include <cohort/policy/room_members.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <cohort/storage/chat_log.hpp>

namespace cohort::chat {

/// What a record of the log is.
enum class record_kind : std::uint8_t {
    entry = 1,  ///< the bytes of a signed entry
    received,   ///< a reader's key and a seq: that member has our entries up to it
    read,       ///< the same: that member has seen them
    seen,       ///< an author's key and a seq: our user has seen these
    offered,    ///< a seq and a path: the file that our own offer speaks of
    accepted,   ///< an author's key, a seq and a folder: an offer that we take
    settled,    ///< an author's key and a seq: that offer is done with here
};

/// A record on its way to the log.
struct record {
    record_kind kind = record_kind::entry;
    byte_vector payload;
    std::optional<signed_entry> entry;  ///< of a record_kind::entry

    std::size_t size() const { return 1 + (entry ? entry->bytes().size() : payload.size()); }
    byte_vector bytes() const {
        byte_vector out{static_cast<std::uint8_t>(kind)};
        const byte_view body = entry ? entry->bytes() : byte_view(payload);
        out.insert(out.end(), body.begin(), body.end());
        return out;
    }
};

/// A mark: somebody's key and how far.
inline record mark_record(record_kind kind, const identity_key& who, std::uint64_t seq, std::string_view text = {}) {
    record out{kind, byte_vector(who.bytes.begin(), who.bytes.end()), std::nullopt};
    append_be(out.payload, seq);
    out.payload.insert(out.payload.end(), text.begin(), text.end());
    return out;
}

struct parsed_mark {
    identity_key who;
    std::uint64_t seq = 0;
    std::string text;
};
inline std::optional<parsed_mark> parse_mark(byte_view payload) {
    if (payload.size() < identity_key::size + 8) return std::nullopt;
    parsed_mark out;
    out.who = *identity_key::from(payload.first(identity_key::size));
    out.seq = load_be<std::uint64_t>(payload.data() + identity_key::size);
    out.text = as_text(payload.subspan(identity_key::size + 8));
    return out;
}

/// A file that was offered here, and what became of it on this machine.
struct offer_state {
    std::string path;      ///< the file, of our own offers; the folder to download to, of those that we accepted
    bool settled = false;  ///< downloaded, or refused
};

/// One thread only; `keep_writing` of the archive is the only one that touches the log.
class conversation {
public:
    conversation(const asio::any_io_executor& executor, std::string with, const conversation_id& its_id,
                 std::optional<identity_key> person)
        : id(its_id), name(std::move(with)), other(person), filled(executor), changed(executor) {}

    const conversation_id id;
    std::string name;                         ///< the other's, or the room's with '#'
    const std::optional<identity_key> other;  ///< of a conversation of two

    bool is_room() const { return !other; }

    bool has_member(const identity_key& who) const { return other ? *other == who : members.is_member(who); }

    /// Whether an entry of that author belongs here at all: those of people who left stay true.
    bool may_hold(const identity_key& author, const identity_key& self) const {
        return !other || author == *other || author == self;
    }

    /// Takes a verified entry; it is queued for the log if it is new.
    add_answer add(signed_entry entry) {
        const add_answer answer = timeline.add(entry, next_position);
        if (answer.result != add_result::added) return answer;
        apply_to_room(entry.entry());
        remember(entry);
        queue({record_kind::entry, {}, std::move(entry)});
        return answer;
    }

    void queue(record one) {
        pending_bytes += one.size();
        pending.push_back(std::move(one));
        ++next_position;
        filled.notify();
    }

    /// The highest of our own entries that somebody else has; its reader has seen no more.
    delivery state_of(std::uint64_t own_seq) const {
        const auto reaches = [own_seq](const auto& one) { return one.second >= own_seq; };
        if (std::any_of(read_by.begin(), read_by.end(), reaches)) return delivery::read;
        if (std::any_of(received_by.begin(), received_by.end(), reaches)) return delivery::delivered;
        return sent >= own_seq ? delivery::sent : delivery::kept;
    }

    /// An entry that was added not long ago: live messages are not read back from the disk.
    const signed_entry* recent(std::uint64_t position) const {
        const auto found = recent_.find(position);
        return found == recent_.end() ? nullptr : &found->second;
    }

    /// Goes through the log at the start, record by record.
    void replay(std::uint64_t position, byte_view bytes);

    /// So many people that what one says it has of them all fits into a message.
    static constexpr std::size_t max_people = 1500;

    chat_timeline timeline{{.max_authors = max_people}};
    room_members members{max_people};
    std::set<message_id> comings;                       ///< those entries that are a room_join
    std::map<identity_key, std::uint64_t> received_by;  ///< how much of our own chain others have,
    std::map<identity_key, std::uint64_t> read_by;      ///< and have seen
    std::map<identity_key, std::uint64_t> seen;         ///< by author: what our user has seen
    std::map<message_id, offer_state> offers;           ///< those with something to remember
    std::uint64_t sent = 0;                             ///< of our own chain, handed to some link

    std::deque<record> pending;       ///< for the log,
    std::size_t pending_bytes = 0;    ///< and what it takes
    std::uint64_t next_position = 0;  ///< of the next record
    wakeup filled;                    ///< pending has grown
    wakeup changed;                   ///< the log has grown
    std::unique_ptr<chat_log> log;

private:
    static constexpr std::size_t recent_max = 256;
    static constexpr std::size_t recent_bytes_max = 512 * 1024;

    void apply_to_room(const chat_entry& entry) {
        if (!is_room()) return;
        members.apply(entry);
        if (std::holds_alternative<room_join>(entry.body)) comings.insert({entry.author, entry.seq});
    }

    void remember(const signed_entry& entry) {
        recent_.emplace(next_position, entry);
        recent_bytes_ += entry.bytes().size();
        while (recent_.size() > recent_max || recent_bytes_ > recent_bytes_max) {
            recent_bytes_ -= recent_.begin()->second.bytes().size();
            recent_.erase(recent_.begin());
        }
    }

    std::map<std::uint64_t, signed_entry> recent_;  // by position
    std::size_t recent_bytes_ = 0;
};

inline void conversation::replay(std::uint64_t position, byte_view bytes) {
    next_position = position + 1;
    if (bytes.empty()) return;
    const auto kind = static_cast<record_kind>(bytes.front());
    const byte_view payload = bytes.subspan(1);
    if (kind == record_kind::entry) {
        std::error_code ec;
        const auto entry = signed_entry::parse(payload, ec);
        if (!entry) return;
        timeline.add(*entry, position);
        apply_to_room(entry->entry());
        return;
    }
    const auto mark = parse_mark(payload);
    if (!mark) return;
    const auto raise_to = [&](std::map<identity_key, std::uint64_t>& in) {
        in[mark->who] = std::max(in[mark->who], mark->seq);
    };
    switch (kind) {
    case record_kind::received: raise_to(received_by); break;
    case record_kind::read: raise_to(read_by); break;
    case record_kind::seen: raise_to(seen); break;
    case record_kind::offered:
    case record_kind::accepted: offers[{mark->who, mark->seq}].path = mark->text; break;
    case record_kind::settled: offers[{mark->who, mark->seq}].settled = true; break;
    default: break;
    }
}

}  // namespace cohort::chat
