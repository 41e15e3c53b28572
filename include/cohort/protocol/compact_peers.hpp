// Peers in 6 bytes (IPv4, BEP 23) or 18 bytes (IPv6, BEP 7): address, then port.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/endpoint.hpp>

namespace cohort {

inline constexpr std::size_t compact_v4_size = 6;
inline constexpr std::size_t compact_v6_size = 18;

/// Adds the 6 or 18 bytes of `peer` to a std::string or a vector of bytes.
template <class Container>
void append_compact(Container& out, const endpoint& peer) {
    const byte_view address = peer.address.bytes();
    out.insert(out.end(), address.begin(), address.end());
    append_be(out, peer.port);
}

/// The reverse of append_compact() for one peer; `in` has 6 or 18 bytes.
inline endpoint load_compact(byte_view in) {
    const std::size_t address_size = in.size() - 2;
    return {*ip_address::from(in.first(address_size)), load_be<std::uint16_t>(in.data() + address_size)};
}

/// Adds the peers of a list whose entries have `entry_size` (6 or 18) bytes to `out`, until it holds `most`. Entries
/// with port 0, where nobody can listen, are left out. False, with `out` unchanged, if the list ends inside an entry.
inline bool parse_compact(byte_view in, std::size_t entry_size, std::vector<endpoint>& out, std::size_t most) {
    if (in.size() % entry_size != 0) return false;
    out.reserve(std::min(most, out.size() + in.size() / entry_size));
    for (; !in.empty() && out.size() < most; in = in.subspan(entry_size)) {
        const endpoint peer = load_compact(in.first(entry_size));
        if (peer.port != 0) out.push_back(peer);
    }
    return true;
}

}  // namespace cohort
