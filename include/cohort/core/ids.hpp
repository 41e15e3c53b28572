// The fixed-size names of the protocol. Each is its own type, so that one never passes for another.
#pragma once

#include <array>
#include <compare>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// N opaque bytes; `Tag` makes the type distinct.
template <std::size_t N, class Tag>
struct fixed_bytes {
    static constexpr std::size_t size = N;

    std::array<std::uint8_t, N> bytes{};

    auto operator<=>(const fixed_bytes&) const = default;

    byte_view view() const { return bytes; }
    byte_span span() { return bytes; }
    std::string hex() const { return to_hex(bytes); }

    /// From exactly N bytes.
    static std::optional<fixed_bytes> from(byte_view in) {
        if (in.size() != N) return std::nullopt;
        fixed_bytes out;
        std::memcpy(out.bytes.data(), in.data(), N);
        return out;
    }

    /// From exactly 2N hexadecimal digits.
    static std::optional<fixed_bytes> parse_hex(std::string_view text) {
        fixed_bytes out;
        if (!from_hex(text, out.bytes)) return std::nullopt;
        return out;
    }
};

/// SHA-1 of anything (20 bytes).
using sha1_digest = fixed_bytes<20, struct sha1_digest_tag>;
/// SHA-256 of anything (32 bytes).
using sha256_digest = fixed_bytes<32, struct sha256_digest_tag>;
/// SHA-1 of the raw `info` dictionary: the name of a torrent (BEP 3).
using info_hash = fixed_bytes<20, struct info_hash_tag>;
/// What a peer calls itself in handshakes and announces (BEP 3, BEP 20).
using peer_id = fixed_bytes<20, struct peer_id_tag>;

}  // namespace cohort

/// The bytes are hashes or random already, so their first word serves. Tables that strangers can fill
/// must not rely on that alone: the tracker's registry mixes in a secret.
template <std::size_t N, class Tag>
struct std::hash<cohort::fixed_bytes<N, Tag>> {
    std::size_t operator()(const cohort::fixed_bytes<N, Tag>& id) const noexcept {
        std::size_t word;
        static_assert(N >= sizeof word);
        std::memcpy(&word, id.bytes.data(), sizeof word);
        return word;
    }
};
