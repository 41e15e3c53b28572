// CRC-32 as in IEEE 802.3: finds what a crash tore, not what somebody forged.
#pragma once

#include <array>
#include <cstdint>

#include <cohort/core/bytes.hpp>

namespace cohort {

namespace detail {

constexpr std::array<std::uint32_t, 256> make_crc32_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xedb88320 : value >> 1;
        table[i] = value;
    }
    return table;
}

}  // namespace detail

/// The checksum of `bytes`, or of what gave `before` and then `bytes`.
constexpr std::uint32_t crc32(byte_view bytes, std::uint32_t before = 0) {
    constexpr std::array<std::uint32_t, 256> table = detail::make_crc32_table();
    std::uint32_t value = ~before;
    for (const std::uint8_t byte : bytes) value = value >> 8 ^ table[(value ^ byte) & 0xff];
    return ~value;
}

}  // namespace cohort
