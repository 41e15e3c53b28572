// The entries that a conversation is made of. Each author's form a chain: an entry names the hash of the one before and
// is signed. The bytes that are hashed, signed, kept and sent are the same.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/protocol/noise_crypto.hpp>
#include <cohort/protocol/noise_identity.hpp>
#include <cohort/protocol/plain_text.hpp>
#include <cohort/protocol/safe_path.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort {

/// What two people, or the members of a room, call their conversation.
using conversation_id = fixed_bytes<32, struct conversation_id_tag>;

/// The same whoever of the two asks.
inline conversation_id direct_conversation(const identity_key& a, const identity_key& b) {
    sha256 hash;
    hash.update(as_bytes("cohort direct"));
    hash.update(std::min(a.bytes, b.bytes));
    hash.update(std::max(a.bytes, b.bytes));
    return {hash.finish().bytes};
}

inline conversation_id room_conversation(std::string_view room) {
    sha256 hash;
    hash.update(as_bytes("cohort room"));
    hash.update(as_bytes(room));
    return {hash.finish().bytes};
}

/// Whether people and rooms may be called so: 1 to 64 bytes of UTF-8 that show on a terminal as they are, on one line,
/// without a space at either end and without ':', which ends a name where people read what it said.
inline bool is_chat_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 && name.front() != ' ' && name.back() != ' ' &&
           terminal_text(name) == name && name.find(':') == std::string_view::npos &&
           name.find("\xef\xbf\xbd") == std::string_view::npos;
}

namespace chat {

// The bodies of entries.

inline constexpr std::size_t max_text = 64 * 1024;       ///< bytes of a text
inline constexpr std::size_t max_file_info = 60 * 1024;  ///< bytes of an offer's info dictionary
inline constexpr std::size_t max_reason = 1024;          ///< bytes of the words of one who leaves

/// Something said: 1 byte to 64 KiB of UTF-8. It may hold anything else: show it through terminal_text().
struct text {
    std::string content;
    bool operator==(const text&) const = default;
};
/// A file that the author offers as a torrent of their own.
struct file_offer {
    std::string name;        ///< as the author calls it, 1 to 255 bytes of UTF-8: never a path to write to
    std::uint64_t size = 0;  ///< bytes
    info_hash hash;
    byte_vector info;  ///< the raw `info` dictionary, whose SHA-1 is `hash`; empty if it is to be fetched

    /// What the file may be called here.
    std::string safe_name() const { return safe_component(name); }
    bool operator==(const file_offer&) const = default;
};
/// The author came to a room; the entry's conversation is that room's.
struct room_join {
    std::string room;
    std::string name;  ///< what the author is called
    bool operator==(const room_join&) const = default;
};
/// The author left the room.
struct room_leave {
    std::string reason;  ///< may be empty
    bool operator==(const room_leave&) const = default;
};
/// Of a kind that a later version knows: kept and handed on.
struct unknown_body {
    std::uint16_t kind = 0;
    byte_vector data;
    bool operator==(const unknown_body&) const = default;
};

using entry_body = std::variant<text, file_offer, room_join, room_leave, unknown_body>;

}  // namespace chat

/// One entry, not yet or no longer signed.
struct chat_entry {
    conversation_id conversation;
    identity_key author{};
    std::uint64_t seq = 1;     ///< 1, 2, 3, ... in the author's chain
    std::uint64_t clock = 1;   ///< above that of all the author had seen (Lamport), for one order that all agree on
    std::int64_t time_ms = 0;  ///< since 1970 by the author's clock, to be shown and for nothing else
    sha256_digest prev;        ///< the hash of the author's entry before; zeros for the first
    chat::entry_body body;

    bool operator==(const chat_entry&) const = default;
};

/// No seq and no clock is above it, so that JSON's integers of other languages hold them.
inline constexpr std::uint64_t max_clock = std::uint64_t{1} << 53;
/// The year 9999.
inline constexpr std::int64_t max_time_ms = 253'402'300'799'999;
/// A body's bytes at most, of an unknown kind too.
inline constexpr std::size_t max_entry_body = 66 * 1024;
/// What stands before the body: "cohort entry", version, conversation, author, seq, clock, time, prev, kind, length.
inline constexpr std::size_t entry_header_size = 12 + 1 + 32 + 32 + 8 + 8 + 8 + 32 + 2 + 4;
/// A signed entry's bytes at most.
inline constexpr std::size_t max_signed_entry = entry_header_size + max_entry_body + 64;

/// The bytes that are hashed and signed. Says nothing about whether the entry keeps the limits.
byte_vector entry_bytes(const chat_entry& entry);

/// Reads what entry_bytes() wrote. Fails with errc::chat_too_long above a limit and errc::chat_malformed for all else:
/// other bytes, more bytes, text that is not UTF-8, a seq of 0, names that is_chat_name() refuses, a room_join under
/// another conversation than the room's. An unknown kind is no failure.
std::optional<chat_entry> parse_entry(byte_view bytes, std::error_code& ec);

/// SHA-256 of the bytes, without the signature: what the next entry calls `prev`.
inline sha256_digest entry_hash(byte_view bytes) { return sha256_of(bytes); }

/// An entry with its signature, in the form in which it is kept and sent. What parse() gives is well-formed but may be
/// forged: nothing of it counts until verify() said yes.
class signed_entry {
public:
    /// Signs; the author becomes `by`. Fails as parse_entry() does for an entry that nobody would take.
    static std::optional<signed_entry> make(chat_entry entry, const identity& by, std::error_code& ec);

    /// Reads the bytes of another's entry. Fails as parse_entry() does.
    static std::optional<signed_entry> parse(byte_view bytes, std::error_code& ec);

    /// Whether the author signed it. About as slow as all else done with an entry together.
    bool verify() const {
        return verify_signature(entry_.author.bytes, byte_view(bytes_).first(bytes_.size() - 64),
                                byte_view(bytes_).last(64));
    }

    const chat_entry& entry() const { return entry_; }
    const sha256_digest& hash() const { return hash_; }
    /// entry_bytes() and 64 bytes of signature.
    byte_view bytes() const { return bytes_; }

    bool operator==(const signed_entry& other) const { return bytes_ == other.bytes_; }

private:
    signed_entry(chat_entry entry, byte_vector bytes)
        : entry_(std::move(entry)),
          bytes_(std::move(bytes)),
          hash_(entry_hash(byte_view(bytes_).first(bytes_.size() - 64))) {}

    chat_entry entry_;
    byte_vector bytes_;
    sha256_digest hash_;
};

namespace detail {

inline constexpr std::string_view entry_magic = "cohort entry";  // so that no other signed thing passes for an entry
inline constexpr std::uint8_t entry_version = 1;

enum class body_kind : std::uint16_t { text = 1, file_offer = 2, room_join = 3, room_leave = 4 };

/// Takes big-endian numbers and length-prefixed strings off the front; after a failure everything is empty.
class entry_reader {
public:
    explicit entry_reader(byte_view in) : left_(in) {}

    byte_view take(std::size_t size) {
        if (size > left_.size()) good_ = false;
        if (!good_) return {};
        const byte_view out = left_.first(size);
        left_ = left_.subspan(size);
        return out;
    }
    template <std::unsigned_integral T>
    T number() {
        const byte_view bytes = take(sizeof(T));
        return good_ ? load_be<T>(bytes.data()) : T{};
    }
    template <class Fixed>
    void fill(Fixed& out) {
        const byte_view bytes = take(out.size());
        if (good_) std::copy(bytes.begin(), bytes.end(), out.begin());
    }
    std::string words() { return std::string(as_text(take(number<std::uint16_t>()))); }
    byte_view rest() { return std::exchange(left_, {}); }

    bool good() const { return good_; }
    bool done() const { return good_ && left_.empty(); }

private:
    byte_view left_;
    bool good_ = true;
};

inline void append_to_entry(byte_vector& out, byte_view bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

/// With a length of 16 bits. What is longer is cut, and parse_entry() will refuse what comes of it or take it as cut.
inline void append_words_to_entry(byte_vector& out, std::string_view words) {
    words = words.substr(0, 0xffff);
    append_be(out, static_cast<std::uint16_t>(words.size()));
    append_to_entry(out, as_bytes(words));
}

struct body_writer {
    byte_vector& out;

    std::uint16_t operator()(const chat::text& body) {
        append_to_entry(out, as_bytes(body.content));
        return static_cast<std::uint16_t>(body_kind::text);
    }
    std::uint16_t operator()(const chat::file_offer& body) {
        append_words_to_entry(out, body.name);
        append_be(out, body.size);
        append_to_entry(out, body.hash.view());
        append_to_entry(out, body.info);
        return static_cast<std::uint16_t>(body_kind::file_offer);
    }
    std::uint16_t operator()(const chat::room_join& body) {
        append_words_to_entry(out, body.room);
        append_words_to_entry(out, body.name);
        return static_cast<std::uint16_t>(body_kind::room_join);
    }
    std::uint16_t operator()(const chat::room_leave& body) {
        append_words_to_entry(out, body.reason);
        return static_cast<std::uint16_t>(body_kind::room_leave);
    }
    std::uint16_t operator()(const chat::unknown_body& body) {
        append_to_entry(out, body.data);
        return body.kind;
    }
};

inline std::error_code parse_text(byte_view in, chat::entry_body& out) {
    if (in.size() > chat::max_text) return errc::chat_too_long;
    if (in.empty() || !is_utf8(as_text(in))) return errc::chat_malformed;
    out = chat::text{std::string(as_text(in))};
    return {};
}

inline std::error_code parse_offer(byte_view in, chat::entry_body& out) {
    entry_reader from(in);
    chat::file_offer offer;
    offer.name = from.words();
    offer.size = from.number<std::uint64_t>();
    from.fill(offer.hash.bytes);
    if (!from.good() || offer.name.empty() || !is_utf8(offer.name)) return errc::chat_malformed;
    const byte_view info = from.rest();
    if (offer.name.size() > max_component_size || info.size() > chat::max_file_info) return errc::chat_too_long;
    if (offer.size > max_clock || (!info.empty() && sha1_of(info).bytes != offer.hash.bytes))
        return errc::chat_malformed;
    offer.info.assign(info.begin(), info.end());
    out = std::move(offer);
    return {};
}

inline std::error_code parse_join(byte_view in, const conversation_id& conversation, chat::entry_body& out) {
    entry_reader from(in);
    chat::room_join join;
    join.room = from.words();
    join.name = from.words();
    if (!from.done() || !is_chat_name(join.room) || !is_chat_name(join.name) ||
        room_conversation(join.room) != conversation)
        return errc::chat_malformed;
    out = std::move(join);
    return {};
}

inline std::error_code parse_leave(byte_view in, chat::entry_body& out) {
    entry_reader from(in);
    chat::room_leave leave{from.words()};
    if (!from.done() || !is_utf8(leave.reason)) return errc::chat_malformed;
    if (leave.reason.size() > chat::max_reason) return errc::chat_too_long;
    out = std::move(leave);
    return {};
}

inline std::error_code parse_body(std::uint16_t kind, byte_view in, chat_entry& entry) {
    switch (static_cast<body_kind>(kind)) {
    case body_kind::text: return parse_text(in, entry.body);
    case body_kind::file_offer: return parse_offer(in, entry.body);
    case body_kind::room_join: return parse_join(in, entry.conversation, entry.body);
    case body_kind::room_leave: return parse_leave(in, entry.body);
    }
    entry.body = chat::unknown_body{kind, byte_vector(in.begin(), in.end())};
    return {};
}

}  // namespace detail

inline byte_vector entry_bytes(const chat_entry& entry) {
    byte_vector out;
    out.reserve(entry_header_size + 256);
    detail::append_to_entry(out, as_bytes(detail::entry_magic));
    out.push_back(detail::entry_version);
    detail::append_to_entry(out, entry.conversation.view());
    detail::append_to_entry(out, entry.author.bytes);
    append_be(out, entry.seq);
    append_be(out, entry.clock);
    append_be(out, static_cast<std::uint64_t>(entry.time_ms));
    detail::append_to_entry(out, entry.prev.view());
    out.resize(entry_header_size);
    const std::uint16_t kind = std::visit(detail::body_writer{out}, entry.body);
    store_be(out.data() + entry_header_size - 6, kind);
    store_be(out.data() + entry_header_size - 4, static_cast<std::uint32_t>(out.size() - entry_header_size));
    return out;
}

inline std::optional<chat_entry> parse_entry(byte_view bytes, std::error_code& ec) {
    ec = errc::chat_malformed;
    detail::entry_reader from(bytes);
    if (as_text(from.take(detail::entry_magic.size())) != detail::entry_magic ||
        from.number<std::uint8_t>() != detail::entry_version)
        return std::nullopt;
    chat_entry entry;
    from.fill(entry.conversation.bytes);
    from.fill(entry.author.bytes);
    entry.seq = from.number<std::uint64_t>();
    entry.clock = from.number<std::uint64_t>();
    entry.time_ms = static_cast<std::int64_t>(from.number<std::uint64_t>());
    from.fill(entry.prev.bytes);
    const auto kind = from.number<std::uint16_t>();
    const auto size = from.number<std::uint32_t>();
    if (!from.good()) return std::nullopt;
    if (size > max_entry_body) {
        ec = errc::chat_too_long;
        return std::nullopt;
    }
    const byte_view body = from.take(size);
    if (!from.done() || entry.seq == 0 || entry.seq > max_clock || entry.clock == 0 || entry.clock > max_clock ||
        entry.time_ms < 0 || entry.time_ms > max_time_ms || (entry.seq == 1) != (entry.prev == sha256_digest{}))
        return std::nullopt;
    ec = detail::parse_body(kind, body, entry);
    if (ec) return std::nullopt;
    return entry;
}

inline std::optional<signed_entry> signed_entry::parse(byte_view bytes, std::error_code& ec) {
    ec = errc::chat_malformed;
    if (bytes.size() < 64) return std::nullopt;
    auto entry = parse_entry(bytes.first(bytes.size() - 64), ec);
    if (!entry) return std::nullopt;
    return signed_entry(std::move(*entry), byte_vector(bytes.begin(), bytes.end()));
}

inline std::optional<signed_entry> signed_entry::make(chat_entry entry, const identity& by, std::error_code& ec) {
    entry.author = by.key();
    byte_vector bytes = entry_bytes(entry);
    // What was cut or cannot be said in bytes must not be signed.
    const auto read_back = parse_entry(bytes, ec);
    if (!ec && *read_back != entry) ec = errc::chat_malformed;
    if (ec) return std::nullopt;
    const auto signature = by.sign(bytes);
    bytes.insert(bytes.end(), signature.begin(), signature.end());
    return signed_entry(std::move(entry), std::move(bytes));
}

}  // namespace cohort
