// The peer wire after the handshake (BEP 3, Fast extension BEP 6, extension protocol BEP 10) as typed values, parsed
// in place: a message's payload is a view of the receive buffer.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <type_traits>
#include <variant>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/pieces.hpp>

namespace cohort::wire {

/// The byte after the length prefix.
enum class message_id : std::uint8_t {
    choke = 0,
    unchoke = 1,
    interested = 2,
    not_interested = 3,
    have = 4,
    bitfield = 5,
    request = 6,
    piece = 7,
    cancel = 8,
    port = 9,      // BEP 5
    suggest = 13,  // BEP 6, as are the four below
    have_all = 14,
    have_none = 15,
    reject = 16,
    allowed_fast = 17,
    extended = 20,  // BEP 10
};

namespace detail {
inline bool same(byte_view a, byte_view b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }
}  // namespace detail

struct keep_alive {
    bool operator==(const keep_alive&) const = default;
};
struct choke {
    bool operator==(const choke&) const = default;
};
struct unchoke {
    bool operator==(const unchoke&) const = default;
};
struct interested {
    bool operator==(const interested&) const = default;
};
struct not_interested {
    bool operator==(const not_interested&) const = default;
};
struct have {
    piece_index piece = 0;
    bool operator==(const have&) const = default;
};
/// Which pieces the sender has; bitfield::from_wire() checks the bits against the torrent.
struct bitfield {
    byte_view bits{};
    bool operator==(const bitfield& other) const { return detail::same(bits, other.bits); }
};
struct request {
    block range{};
    bool operator==(const request&) const = default;
};
/// A block's data (the message is called `piece` for historical reasons, says BEP 3).
struct piece {
    piece_index index = 0;
    std::uint32_t begin = 0;
    byte_view data{};
    bool operator==(const piece& other) const {
        return index == other.index && begin == other.begin && detail::same(data, other.data);
    }
    /// The range that the data fills.
    block range() const { return {index, begin, static_cast<std::uint32_t>(data.size())}; }
};
struct cancel {
    block range{};
    bool operator==(const cancel&) const = default;
};
/// The sender's DHT node (BEP 5).
struct port {
    std::uint16_t value = 0;
    bool operator==(const port&) const = default;
};
struct suggest {
    piece_index piece = 0;
    bool operator==(const suggest&) const = default;
};
struct have_all {
    bool operator==(const have_all&) const = default;
};
struct have_none {
    bool operator==(const have_none&) const = default;
};
struct reject {
    block range{};
    bool operator==(const reject&) const = default;
};
struct allowed_fast {
    piece_index piece = 0;
    bool operator==(const allowed_fast&) const = default;
};
/// A message of BEP 10: id 0 is the extension handshake, the others are those that the receiver handed out in its own.
struct extended {
    std::uint8_t id = 0;
    byte_view payload{};
    bool operator==(const extended& other) const { return id == other.id && detail::same(payload, other.payload); }
};
/// A message of an extension that we do not know, to be ignored. Only received, never sent.
struct unknown {
    std::uint8_t id = 0;
    bool operator==(const unknown&) const = default;
};

using message = std::variant<keep_alive, choke, unchoke, interested, not_interested, have, bitfield, request, piece,
                             cancel, port, suggest, have_all, have_none, reject, allowed_fast, extended, unknown>;

/// The largest messages that we take, length prefix not counted.
struct limits {
    std::uint32_t message = 1024 * 1024;    ///< any message; a bitfield of 8 million pieces
    std::uint32_t piece_data = 128 * 1024;  ///< the data of a `piece`; nobody sends blocks above this
};

/// The length prefix, the id, the piece's index and the begin: all of a `piece` message but its data.
inline constexpr std::size_t piece_header_size = 13;

namespace detail {

constexpr std::uint32_t any_length = 0xffffffff;

/// What the length prefix of a message says if its size is fixed.
constexpr std::uint32_t fixed_length(message_id id) {
    switch (id) {
    case message_id::choke:
    case message_id::unchoke:
    case message_id::interested:
    case message_id::not_interested:
    case message_id::have_all:
    case message_id::have_none: return 1;
    case message_id::port: return 3;
    case message_id::have:
    case message_id::suggest:
    case message_id::allowed_fast: return 5;
    case message_id::request:
    case message_id::cancel:
    case message_id::reject: return 13;
    case message_id::bitfield:
    case message_id::piece:
    case message_id::extended: break;
    }
    return any_length;
}

constexpr bool length_fits(message_id id, std::uint32_t length, const limits& limit) {
    if (id == message_id::piece) return length >= 9 && length - 9 <= limit.piece_data;
    if (id == message_id::extended) return length >= 2;
    const std::uint32_t fixed = fixed_length(id);
    return fixed == any_length || length == fixed;
}

inline block load_block(const std::uint8_t* from) {
    return {load_be<std::uint32_t>(from), load_be<std::uint32_t>(from + 4), load_be<std::uint32_t>(from + 8)};
}

template <class Container, class... Words>
void append_message(Container& out, message_id id, Words... words) {
    std::array<std::uint8_t, 5 + 4 * sizeof...(Words)> bytes;
    store_be(bytes.data(), static_cast<std::uint32_t>(bytes.size() - 4));
    bytes[4] = static_cast<std::uint8_t>(id);
    std::size_t at = 5;
    ((store_be(bytes.data() + at, static_cast<std::uint32_t>(words)), at += 4), ...);
    out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class Container>
void append_message(Container& out, message_id id, const block& range) {
    append_message(out, id, range.piece, range.begin, range.length);
}

}  // namespace detail

/// How many bytes the message at the front of `in` takes, its length prefix included; 0 while the prefix is not
/// complete. Not bounded: ask after parse() wanted more, so that the length is known to be within the limits.
inline std::size_t needed(byte_view in) {
    return in.size() < 4 ? 0 : std::size_t{4} + load_be<std::uint32_t>(in.data());
}

/// Takes one message off the front of `in`; its views point into the same bytes. Nothing, with `ec` clear and `in`
/// unchanged, if more bytes are needed. Fails with errc::message_too_long or errc::message_malformed as soon as the
/// length prefix or the id shows it: the body of a wrong message is never waited for. Whether indices exist in the
/// torrent, and whether the message may be sent now, is for the connection to judge.
inline std::optional<message> parse(byte_view& in, std::error_code& ec, const limits& limit = {}) {
    ec.clear();
    if (in.size() < 4) return std::nullopt;
    const auto length = load_be<std::uint32_t>(in.data());
    if (length == 0) {
        in = in.subspan(4);
        return keep_alive{};
    }
    if (length > limit.message) {
        ec = errc::message_too_long;
        return std::nullopt;
    }
    if (in.size() < 5) return std::nullopt;
    const auto id = static_cast<message_id>(in[4]);
    if (!detail::length_fits(id, length, limit)) {
        ec = errc::message_malformed;
        return std::nullopt;
    }
    if (in.size() - 4 < length) return std::nullopt;
    const byte_view body = in.subspan(5, length - 1);
    in = in.subspan(std::size_t{4} + length);
    switch (id) {
    case message_id::choke: return choke{};
    case message_id::unchoke: return unchoke{};
    case message_id::interested: return interested{};
    case message_id::not_interested: return not_interested{};
    case message_id::have: return have{load_be<std::uint32_t>(body.data())};
    case message_id::bitfield: return bitfield{body};
    case message_id::request: return request{detail::load_block(body.data())};
    case message_id::piece:
        return piece{load_be<std::uint32_t>(body.data()), load_be<std::uint32_t>(body.data() + 4), body.subspan(8)};
    case message_id::cancel: return cancel{detail::load_block(body.data())};
    case message_id::port: return port{load_be<std::uint16_t>(body.data())};
    case message_id::suggest: return suggest{load_be<std::uint32_t>(body.data())};
    case message_id::have_all: return have_all{};
    case message_id::have_none: return have_none{};
    case message_id::reject: return reject{detail::load_block(body.data())};
    case message_id::allowed_fast: return allowed_fast{load_be<std::uint32_t>(body.data())};
    case message_id::extended: return extended{body[0], body.subspan(1)};
    }
    return unknown{static_cast<std::uint8_t>(id)};
}

/// The first 13 bytes of the `piece` message that carries `range`; the data follows from wherever it lies.
inline std::array<std::uint8_t, piece_header_size> piece_header(const block& range) {
    std::array<std::uint8_t, piece_header_size> out;
    store_be(out.data(), range.length + 9);
    out[4] = static_cast<std::uint8_t>(message_id::piece);
    store_be(out.data() + 5, range.piece);
    store_be(out.data() + 9, range.begin);
    return out;
}

// append() adds one whole message, length prefix included, to the end of a std::string or a vector of bytes.

template <class Container>
void append(Container& out, const keep_alive&) {
    append_be(out, std::uint32_t{0});
}
template <class Container>
void append(Container& out, const choke&) {
    detail::append_message(out, message_id::choke);
}
template <class Container>
void append(Container& out, const unchoke&) {
    detail::append_message(out, message_id::unchoke);
}
template <class Container>
void append(Container& out, const interested&) {
    detail::append_message(out, message_id::interested);
}
template <class Container>
void append(Container& out, const not_interested&) {
    detail::append_message(out, message_id::not_interested);
}
template <class Container>
void append(Container& out, const have& m) {
    detail::append_message(out, message_id::have, m.piece);
}
template <class Container>
void append(Container& out, const bitfield& m) {
    append_be(out, static_cast<std::uint32_t>(1 + m.bits.size()));
    append_be(out, static_cast<std::uint8_t>(message_id::bitfield));
    out.insert(out.end(), m.bits.begin(), m.bits.end());
}
template <class Container>
void append(Container& out, const request& m) {
    detail::append_message(out, message_id::request, m.range);
}
template <class Container>
void append(Container& out, const piece& m) {
    const auto header = piece_header(m.range());
    out.insert(out.end(), header.begin(), header.end());
    out.insert(out.end(), m.data.begin(), m.data.end());
}
template <class Container>
void append(Container& out, const cancel& m) {
    detail::append_message(out, message_id::cancel, m.range);
}
template <class Container>
void append(Container& out, const port& m) {
    append_be(out, std::uint32_t{3});
    append_be(out, static_cast<std::uint8_t>(message_id::port));
    append_be(out, m.value);
}
template <class Container>
void append(Container& out, const suggest& m) {
    detail::append_message(out, message_id::suggest, m.piece);
}
template <class Container>
void append(Container& out, const have_all&) {
    detail::append_message(out, message_id::have_all);
}
template <class Container>
void append(Container& out, const have_none&) {
    detail::append_message(out, message_id::have_none);
}
template <class Container>
void append(Container& out, const reject& m) {
    detail::append_message(out, message_id::reject, m.range);
}
template <class Container>
void append(Container& out, const allowed_fast& m) {
    detail::append_message(out, message_id::allowed_fast, m.piece);
}
template <class Container>
void append(Container& out, const extended& m) {
    append_be(out, static_cast<std::uint32_t>(2 + m.payload.size()));
    append_be(out, static_cast<std::uint8_t>(message_id::extended));
    append_be(out, m.id);
    out.insert(out.end(), m.payload.begin(), m.payload.end());
}
/// Any message but `unknown`, which adds nothing.
template <class Container>
void append(Container& out, const message& m) {
    std::visit(
        [&out]<class T>(const T& one) {
            if constexpr (!std::is_same_v<T, unknown>) append(out, one);
        },
        m);
}

/// The bytes of one message.
inline byte_vector encode(const message& m) {
    byte_vector out;
    append(out, m);
    return out;
}

}  // namespace cohort::wire
