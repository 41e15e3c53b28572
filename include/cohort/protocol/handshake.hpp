// The first 68 bytes that each side of a peer connection sends (BEP 3), with the reserved bits that announce
// extensions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/ids.hpp>

namespace cohort {

struct handshake {
    info_hash hash{};
    peer_id id{};
    bool fast = false;                ///< BEP 6
    bool extension_protocol = false;  ///< BEP 10
    bool dht = false;                 ///< BEP 5

    bool operator==(const handshake&) const = default;
};

inline constexpr std::size_t handshake_size = 68;
inline constexpr std::string_view handshake_prefix =
    "\x13"
    "BitTorrent protocol";

/// The bytes to send. Reserved bits of extensions that `handshake` does not name are zero.
inline std::array<std::uint8_t, handshake_size> encode(const handshake& h) {
    std::array<std::uint8_t, handshake_size> out{};
    std::memcpy(out.data(), handshake_prefix.data(), handshake_prefix.size());
    if (h.extension_protocol) out[20 + 5] |= 0x10;
    if (h.fast) out[20 + 7] |= 0x04;
    if (h.dht) out[20 + 7] |= 0x01;
    std::copy(h.hash.bytes.begin(), h.hash.bytes.end(), out.begin() + 28);
    std::copy(h.id.bytes.begin(), h.id.bytes.end(), out.begin() + 48);
    return out;
}

/// Takes a handshake off the front of `in`. Nothing, with `ec` clear, if more bytes are needed. Fails with
/// errc::handshake_invalid at the first byte that differs from the protocol's name: a stranger who speaks something
/// else is not waited for. Reserved bits that we do not know are ignored.
inline std::optional<handshake> parse_handshake(byte_view& in, std::error_code& ec) {
    ec.clear();
    const std::size_t seen = std::min(in.size(), handshake_prefix.size());
    if (as_text(in.first(seen)) != handshake_prefix.substr(0, seen)) {
        ec = errc::handshake_invalid;
        return std::nullopt;
    }
    if (in.size() < handshake_size) return std::nullopt;
    handshake out;
    out.extension_protocol = (in[20 + 5] & 0x10) != 0;
    out.fast = (in[20 + 7] & 0x04) != 0;
    out.dht = (in[20 + 7] & 0x01) != 0;
    std::copy_n(in.begin() + 28, 20, out.hash.bytes.begin());
    std::copy_n(in.begin() + 48, 20, out.id.bytes.begin());
    in = in.subspan(handshake_size);
    return out;
}

}  // namespace cohort
