// Searching bitfields 64 bits at a time: the next bit that is set here, or here and there.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/endian.hpp>

namespace cohort {

namespace detail {

/// The bits [64 * number, 64 * number + 64), the first in the highest place; zeros past the end.
inline std::uint64_t bitfield_word(byte_view bytes, std::uint32_t number) {
    const std::size_t at = static_cast<std::size_t>(number) * 8;
    if (bytes.size() - at >= 8) return load_be<std::uint64_t>(bytes.data() + at);
    std::uint64_t word = 0;
    for (std::size_t i = at; i < bytes.size(); ++i) word |= std::uint64_t{bytes[i]} << (56 - 8 * (i - at));
    return word;
}

inline std::uint32_t bitfield_words(const bitfield& bits) { return bits.size() / 64 + (bits.size() % 64 != 0 ? 1 : 0); }

}  // namespace detail

/// The lowest index in [from, to) that is set in both, or nothing. `to` is at most the common size of both.
/// Adds the number of 64-bit words it looked at to `steps`.
inline std::optional<std::uint32_t> next_common(const bitfield& a, const bitfield& b, std::uint32_t from,
                                                std::uint32_t to, std::uint64_t& steps) {
    if (from >= to) return std::nullopt;
    const std::uint32_t last = (to - 1) / 64;
    std::uint64_t mask = ~std::uint64_t{0} >> (from % 64);
    for (std::uint32_t number = from / 64; number <= last; ++number, mask = ~std::uint64_t{0}) {
        ++steps;
        const std::uint64_t word =
            detail::bitfield_word(a.bytes(), number) & detail::bitfield_word(b.bytes(), number) & mask;
        if (word == 0) continue;
        const std::uint32_t found = number * 64 + static_cast<std::uint32_t>(std::countl_zero(word));
        if (found >= to) return std::nullopt;
        return found;
    }
    return std::nullopt;
}

/// The lowest index at or after `from` that is set, or nothing.
inline std::optional<std::uint32_t> next_set(const bitfield& bits, std::uint32_t from) {
    std::uint64_t steps = 0;
    return next_common(bits, bits, from, bits.size(), steps);
}

/// How many indices are set in both, which have the same size.
inline std::uint32_t count_common(const bitfield& a, const bitfield& b) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < detail::bitfield_words(a); ++i)
        count += static_cast<std::uint32_t>(
            std::popcount(detail::bitfield_word(a.bytes(), i) & detail::bitfield_word(b.bytes(), i)));
    return count;
}

}  // namespace cohort
