// What travels on a chat link, as typed values: entries of conversations and what is said about them. Their JSON form
// is protocol/json_chat.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <cohort/protocol/noise_crypto.hpp>
#include <cohort/protocol/noise_identity.hpp>

namespace cohort::chat {

/// How much one message may hold; whoever sends keeps these, whoever receives checks them.
struct limits {
    static constexpr std::size_t message = 1024 * 1024;       ///< bytes of the JSON text
    static constexpr std::size_t entries = 256;               ///< in one message,
    static constexpr std::size_t entries_bytes = 512 * 1024;  ///< and the sum of their bytes
    static constexpr std::size_t heads = 4096;                ///< authors in `have` and `read`
    static constexpr std::size_t members = 4096;              ///< people in `members`
    static constexpr std::size_t features = 64;               ///< of 64 bytes each
    static constexpr std::size_t words = 1024;                ///< bytes of a presence text or a reason
    static constexpr std::size_t ciphertext = 72 * 1024;      ///< bytes of a room message: an entry and a tag
    static constexpr std::uint32_t history = 256;             ///< entries asked for at once
};

/// Opens a link: what the sender is called and speaks.
struct hello {
    std::string name;
    std::uint32_t version = 1;
    std::vector<std::string> features;
    bool operator==(const hello&) const = default;
};

/// Entries that the receiver lacks, each author's in order.
struct entries {
    std::vector<signed_entry> list;
    bool operator==(const entries&) const = default;
};

/// How far an author's chain goes.
struct head {
    identity_key author{};
    std::uint64_t seq = 0;
    sha256_digest hash;  ///< of that entry
    bool operator==(const head&) const = default;
};

/// What the sender has on disk of a conversation: of each author all up to these, of others nothing.
struct have {
    conversation_id conversation;
    std::uint64_t clock = 0;  ///< the highest that the sender has seen there; 0 for none
    std::vector<head> heads;
    bool later = false;  ///< the sender does not ask for what it lacks now: it says this again when it does
    bool operator==(const have&) const = default;
};

struct read_mark {
    identity_key author{};
    std::uint64_t seq = 0;
    bool operator==(const read_mark&) const = default;
};
/// The receipt to an author whose entries came: they are on the sender's disk, all up to this one.
struct received {
    conversation_id conversation;
    std::uint64_t seq = 0;  ///< in the chain of whoever gets this message
    bool operator==(const received&) const = default;
};
/// What the sender's user has seen: all up to these.
struct read {
    conversation_id conversation;
    std::vector<read_mark> marks;
    bool operator==(const read&) const = default;
};

struct typing {
    conversation_id conversation;
    bool on = false;
    bool operator==(const typing&) const = default;
};

enum class presence_state { online, away };

struct presence {
    presence_state state = presence_state::online;
    std::string text;  ///< the user's own words, may be empty
    bool operator==(const presence&) const = default;
};

/// A sender key of the author's, for the members of a room. Its chain key is a secret: only over a pairwise link.
struct room_key {
    conversation_id room;
    identity_key author{};
    std::uint32_t key_id = 0;
    std::uint32_t index = 0;  ///< of the first message that it opens
    key32 chain_key{};
    signature64 signature{};  ///< by the author, over room_key_bytes()
    bool operator==(const room_key&) const = default;
};

/// An entry for a room, sealed once for all members (protocol/noise_sender_key.hpp).
struct room_message {
    conversation_id room;
    identity_key author{};
    std::uint32_t key_id = 0;
    std::uint32_t index = 0;
    byte_vector ciphertext;
    bool operator==(const room_message&) const = default;
};

/// Asks for an author's entries from `from_seq` on, `count` at most.
struct history_request {
    conversation_id conversation;
    identity_key author{};
    std::uint64_t from_seq = 1;
    std::uint32_t count = limits::history;
    bool operator==(const history_request&) const = default;
};

struct member {
    identity_key key{};
    std::string name;
    std::optional<endpoint> address;  ///< where the sender reached it last
    bool joined = true;               ///< false: left
    bool operator==(const member&) const = default;
};
/// Whom the sender knows in a room, and where: a hint for dialling, proven by nothing.
struct members {
    conversation_id room;
    std::vector<member> list;
    bool operator==(const members&) const = default;
};

/// An entry that holds a file_offer.
struct offer_id {
    conversation_id conversation;
    identity_key author{};
    std::uint64_t seq = 0;
    bool operator==(const offer_id&) const = default;
};
/// The sender wants the file, and takes peers of its torrent at this port of the address of the link; 0 for none.
struct file_accept {
    offer_id offer;
    std::uint16_t port = 0;
    bool operator==(const file_accept&) const = default;
};
struct file_progress {
    offer_id offer;
    std::uint64_t bytes = 0;  ///< of the file that the sender has, verified
    bool operator==(const file_progress&) const = default;
};
struct file_refuse {
    offer_id offer;
    std::string reason;  ///< may be empty
    bool operator==(const file_refuse&) const = default;
};

/// To be answered by a pong with the same number.
struct ping {
    std::uint64_t id = 0;
    bool operator==(const ping&) const = default;
};
struct pong {
    std::uint64_t id = 0;
    bool operator==(const pong&) const = default;
};

/// Of a type that a later version knows: kept as the JSON object that it came as, and otherwise ignored.
struct unknown {
    std::string type;
    std::string json;
    bool operator==(const unknown&) const = default;
};

using message = std::variant<hello, entries, have, received, read, typing, presence, room_key, room_message,
                             history_request, members, file_accept, file_progress, file_refuse, ping, pong, unknown>;

/// What the author of a room key signs.
inline byte_vector room_key_bytes(const room_key& key) {
    constexpr std::string_view label = "cohort room key";
    byte_vector out(label.begin(), label.end());
    out.insert(out.end(), key.room.bytes.begin(), key.room.bytes.end());
    out.insert(out.end(), key.author.bytes.begin(), key.author.bytes.end());
    append_be(out, key.key_id);
    append_be(out, key.index);
    out.insert(out.end(), key.chain_key.begin(), key.chain_key.end());
    return out;
}

/// Signs as `by`, who becomes the author.
inline void sign(room_key& key, const identity& by) {
    key.author = by.key();
    byte_vector bytes = room_key_bytes(key);
    key.signature = by.sign(bytes);
    wipe(bytes);
}

inline bool verify(const room_key& key) {
    byte_vector bytes = room_key_bytes(key);
    const bool good = verify_signature(key.author.bytes, bytes, key.signature);
    wipe(bytes);
    return good;
}

}  // namespace cohort::chat
