// WebSocket frames (RFC 6455) without I/O: bytes to messages inside the receive buffer, and messages to bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/protocol/utf8_checker.hpp>

namespace cohort {

/// Which side we are: a client masks what it sends, a server must not (RFC 6455, 5.1).
enum class websocket_role { client, server };

enum class websocket_opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Why a connection ends (RFC 6455, 7.4.1). 0 means that nothing is wrong.
namespace close_code {
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t going_away = 1001;
inline constexpr std::uint16_t protocol_error = 1002;
inline constexpr std::uint16_t unsupported = 1003;  ///< data of a kind that we do not take
inline constexpr std::uint16_t none = 1005;         ///< never sent: a close frame without a code
inline constexpr std::uint16_t abnormal = 1006;     ///< never sent: the stream ended without a close frame
inline constexpr std::uint16_t invalid_text = 1007;
inline constexpr std::uint16_t policy = 1008;
inline constexpr std::uint16_t too_big = 1009;
inline constexpr std::uint16_t internal_error = 1011;

/// Whether a close frame may carry it: what RFC 6455 and the IANA registry define, and the ranges for libraries and
/// applications.
constexpr bool may_be_sent(std::uint16_t code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
}  // namespace close_code

inline constexpr std::size_t websocket_control_max = 125;  ///< payload of close, ping and pong (RFC 6455, 5.5)
inline constexpr std::size_t websocket_message_max = 1024 * 1024;

/// A whole message or a control frame. `payload` is valid until the parser's next call and while the bytes it was
/// given stand.
struct websocket_event {
    websocket_opcode kind = websocket_opcode::binary;  ///< text, binary, close, ping or pong
    byte_view payload;                                 ///< of a close frame the reason, valid UTF-8
    std::uint16_t code = 0;                            ///< of a close frame; close_code::none if it has none
};

/// XORs `bytes` with the key, as both masking and unmasking do. `offset`: how many bytes of the frame came before.
inline void websocket_mask(byte_span bytes, std::uint32_t key, std::size_t offset = 0);

/// One side's view of what the other side sends. Single frames are handed on where they stand in the receive buffer,
/// unmasked in place; only fragments and frames whose end has not come yet are gathered, as they arrive and up to
/// the limit.
class websocket_parser {
public:
    explicit websocket_parser(websocket_role ours, std::size_t max_message = websocket_message_max)
        : limit_(max_message), masked_(ours == websocket_role::server) {}

    /// Returns what stands at the front of `in` and advances it. Nothing, with `refusal` 0: more bytes are needed, to
    /// be put behind those left in `in`, which are fewer than 140. Nothing with `refusal` set: the other side broke a
    /// rule and the connection is to be failed with that code; so it stays. After a close frame nothing more comes.
    std::optional<websocket_event> next(byte_span& in, std::uint16_t& refusal);

    /// Bytes of an unfinished message that are held.
    std::size_t gathered() const { return message_.size(); }

    /// Gives memory back that earlier messages took. Ends the validity of the last event.
    void release_memory() {
        forget_delivered();
        if (message_.empty()) message_ = byte_vector();
    }

private:
    struct header {
        std::size_t size = 0;  ///< of the header itself
        std::uint64_t length = 0;
        std::uint32_t key = 0;
        websocket_opcode opcode{};
        bool last = false;
    };

    static bool is_control(websocket_opcode opcode) { return static_cast<std::uint8_t>(opcode) >= 8; }

    std::uint16_t examine(std::uint8_t first) const;
    std::optional<header> read_header(byte_view in, std::uint16_t& refusal) const;
    std::optional<websocket_event> whole_frame(const header& frame, byte_span payload);
    std::optional<websocket_event> part_of_message(byte_span& in);
    std::optional<websocket_event> close(byte_view payload);

    std::nullopt_t fail(std::uint16_t code) {
        failed_ = code;
        return std::nullopt;
    }
    void forget_delivered() {
        if (delivered_) message_.clear();
        delivered_ = false;
    }

    std::size_t limit_;
    std::uint64_t remaining_ = 0;                             ///< bytes of the frame that has begun and not ended
    std::uint32_t key_ = 0;                                   ///< its mask, turned so that it fits the next byte
    websocket_opcode kind_ = websocket_opcode::continuation;  ///< of the message under way; continuation: there is none
    utf8_checker text_;
    bool masked_;
    bool in_frame_ = false;
    bool last_frame_ = false;
    bool delivered_ = false;  ///< message_ was handed out by the call before
    bool closed_ = false;
    std::uint16_t failed_ = 0;
    byte_vector message_;  ///< what is there of a message that did not come in one piece
};

/// Appends one frame. `mask` is the key of a client's frame, which must be unpredictable where browsers' data passes
/// through (RFC 6455, 10.3); a server gives none.
inline void append_websocket_frame(byte_vector& out, websocket_opcode kind, byte_view payload,
                                   std::optional<std::uint32_t> mask, bool last = true);

/// The payload of a close frame: the code and as much of `reason` as a control frame holds, cut between characters.
/// Empty for close_code::none.
inline byte_vector websocket_close_payload(std::uint16_t code, std::string_view reason);

// Masking: the key stands in the order of its bytes on the wire, whatever the machine's own order is.

inline void websocket_mask(byte_span bytes, std::uint32_t key, std::size_t offset) {
    std::uint8_t turned[8];
    for (std::size_t i = 0; i < sizeof turned; ++i)
        turned[i] = static_cast<std::uint8_t>(key >> (24 - 8 * ((offset + i) % 4)));
    std::uint64_t wide;
    std::memcpy(&wide, turned, sizeof wide);
    std::uint8_t* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 16; left -= 16, at += 16) {
        std::uint64_t words[2];
        std::memcpy(words, at, sizeof words);
        words[0] ^= wide;
        words[1] ^= wide;
        std::memcpy(at, words, sizeof words);
    }
    if (left >= 8) {
        std::uint64_t word;
        std::memcpy(&word, at, sizeof word);
        word ^= wide;
        std::memcpy(at, &word, sizeof word);
        left -= 8;
        at += 8;
    }
    for (std::size_t i = 0; i < left; ++i) at[i] = static_cast<std::uint8_t>(at[i] ^ turned[i]);
}

// The parser.

inline std::optional<websocket_event> websocket_parser::next(byte_span& in, std::uint16_t& refusal) {
    forget_delivered();
    refusal = failed_;
    while (failed_ == 0 && !closed_) {
        if (in_frame_) {
            const auto message = part_of_message(in);
            refusal = failed_;
            if (message || in_frame_) return message;
            continue;
        }
        const auto frame = read_header(in, failed_);
        refusal = failed_;
        if (!frame) return std::nullopt;
        const bool whole = in.size() - frame->size >= frame->length;
        if (is_control(frame->opcode) && !whole) return std::nullopt;
        in = in.subspan(frame->size);
        if (whole && (is_control(frame->opcode) || (frame->last && kind_ == websocket_opcode::continuation))) {
            const byte_span payload = in.first(static_cast<std::size_t>(frame->length));
            in = in.subspan(payload.size());
            const auto event = whole_frame(*frame, payload);
            refusal = failed_;
            return event;
        }
        if (kind_ == websocket_opcode::continuation) kind_ = frame->opcode;
        in_frame_ = true;
        last_frame_ = frame->last;
        remaining_ = frame->length;
        key_ = frame->key;
    }
    if (closed_) in = in.subspan(in.size());
    return std::nullopt;
}

/// What the first byte alone shows to be wrong.
inline std::uint16_t websocket_parser::examine(std::uint8_t first) const {
    if ((first & 0x70) != 0) return close_code::protocol_error;  // no extension was agreed that gives them a meaning
    const bool last = (first & 0x80) != 0;
    const bool under_way = kind_ != websocket_opcode::continuation;
    switch (static_cast<websocket_opcode>(first & 0x0f)) {
    case websocket_opcode::continuation: return under_way ? 0 : close_code::protocol_error;
    case websocket_opcode::text:
    case websocket_opcode::binary: return under_way ? close_code::protocol_error : 0;
    case websocket_opcode::close:
    case websocket_opcode::ping:
    case websocket_opcode::pong: return last ? 0 : close_code::protocol_error;
    }
    return close_code::protocol_error;
}

inline std::optional<websocket_parser::header> websocket_parser::read_header(byte_view in,
                                                                             std::uint16_t& refusal) const {
    if (in.empty()) return std::nullopt;
    refusal = examine(in[0]);
    if (refusal != 0 || in.size() < 2) return std::nullopt;
    header out;
    out.opcode = static_cast<websocket_opcode>(in[0] & 0x0f);
    out.last = (in[0] & 0x80) != 0;
    out.length = in[1] & 0x7f;
    const bool has_mask = (in[1] & 0x80) != 0;
    if (has_mask != masked_ || (is_control(out.opcode) && out.length > websocket_control_max)) {
        refusal = close_code::protocol_error;
        return std::nullopt;
    }
    out.size = 2;
    if (out.length >= 126) {
        const bool wide = out.length == 127;
        out.size = wide ? 10 : 4;
        if (in.size() < out.size) return std::nullopt;
        out.length = wide ? load_be<std::uint64_t>(&in[2]) : load_be<std::uint16_t>(&in[2]);
        if (out.length < (wide ? 0x10000U : 126U)) refusal = close_code::protocol_error;  // a shorter form exists
    }
    // Here, before a byte of it came, and without an overflow: the sum of the fragments is at most the limit.
    if (!is_control(out.opcode) && out.length > limit_ - message_.size()) refusal = close_code::too_big;
    if (refusal != 0) return std::nullopt;
    if (masked_) {
        if (in.size() < out.size + 4) return std::nullopt;
        out.key = load_be<std::uint32_t>(&in[out.size]);
        out.size += 4;
    }
    return out;
}

inline std::optional<websocket_event> websocket_parser::whole_frame(const header& frame, byte_span payload) {
    if (masked_) websocket_mask(payload, frame.key);
    if (frame.opcode == websocket_opcode::close) return close(payload);
    if (frame.opcode == websocket_opcode::text) {
        utf8_checker text;
        if (!text.put(payload) || !text.complete()) return fail(close_code::invalid_text);
    }
    return websocket_event{frame.opcode, payload};
}

/// Takes what has come of a frame; returns the message if that was its end.
inline std::optional<websocket_event> websocket_parser::part_of_message(byte_span& in) {
    const byte_span piece = in.first(remaining_ < in.size() ? static_cast<std::size_t>(remaining_) : in.size());
    in = in.subspan(piece.size());
    remaining_ -= piece.size();
    if (masked_) {
        websocket_mask(piece, key_);
        key_ = std::rotl(key_, static_cast<int>(8 * (piece.size() % 4)));
    }
    if (kind_ == websocket_opcode::text && !text_.put(piece)) return fail(close_code::invalid_text);
    message_.insert(message_.end(), piece.begin(), piece.end());
    if (remaining_ > 0) return std::nullopt;
    in_frame_ = false;
    if (!last_frame_) return std::nullopt;
    if (!text_.complete()) return fail(close_code::invalid_text);
    delivered_ = true;
    const websocket_event event{kind_, message_};
    kind_ = websocket_opcode::continuation;
    return event;
}

inline std::optional<websocket_event> websocket_parser::close(byte_view payload) {
    websocket_event event{websocket_opcode::close, {}, close_code::none};
    if (payload.size() == 1) return fail(close_code::protocol_error);
    if (payload.size() >= 2) {
        event.code = load_be<std::uint16_t>(payload.data());
        event.payload = payload.subspan(2);
        utf8_checker text;
        if (!close_code::may_be_sent(event.code)) return fail(close_code::protocol_error);
        if (!text.put(event.payload) || !text.complete()) return fail(close_code::invalid_text);
    }
    closed_ = true;
    return event;
}

// The serializer.

inline void append_websocket_frame(byte_vector& out, websocket_opcode kind, byte_view payload,
                                   std::optional<std::uint32_t> mask, bool last) {
    std::uint8_t header[14];
    const std::uint8_t mask_bit = mask ? 0x80 : 0;
    std::size_t size = 2;
    header[0] = static_cast<std::uint8_t>(static_cast<unsigned>(kind) | (last ? 0x80U : 0U));
    if (payload.size() < 126) {
        header[1] = static_cast<std::uint8_t>(payload.size() | mask_bit);
    } else if (payload.size() < 0x10000) {
        header[1] = 126 | mask_bit;
        store_be(header + 2, static_cast<std::uint16_t>(payload.size()));
        size = 4;
    } else {
        header[1] = 127 | mask_bit;
        store_be(header + 2, static_cast<std::uint64_t>(payload.size()));
        size = 10;
    }
    if (mask) {
        store_be(header + size, *mask);
        size += 4;
    }
    out.insert(out.end(), header, header + size);
    out.insert(out.end(), payload.begin(), payload.end());
    if (mask) websocket_mask(byte_span(out).last(payload.size()), *mask);
}

inline byte_vector websocket_close_payload(std::uint16_t code, std::string_view reason) {
    byte_vector out;
    if (code == close_code::none) return out;
    append_be(out, code);
    std::size_t size = reason.size() < websocket_control_max - 2 ? reason.size() : websocket_control_max - 2;
    while (size > 0 && size < reason.size() && (static_cast<std::uint8_t>(reason[size]) & 0xc0) == 0x80) --size;
    const byte_view kept = as_bytes(reason.substr(0, size));
    out.insert(out.end(), kept.begin(), kept.end());
    return out;
}

}  // namespace cohort
