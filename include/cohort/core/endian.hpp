// Integers as the network writes them: most significant byte first.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace cohort {

/// Reads sizeof(T) bytes at `from`; the caller has checked that they are there.
template <std::unsigned_integral T>
constexpr T load_be(const std::uint8_t* from) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | from[i]);
    return value;
}

/// Writes sizeof(T) bytes at `to`; the caller has checked that they fit.
template <std::unsigned_integral T>
constexpr void store_be(std::uint8_t* to, T value) {
    for (std::size_t i = sizeof(T); i-- > 0; value = static_cast<T>(value >> 8))
        to[i] = static_cast<std::uint8_t>(value);
}

/// Appends sizeof(T) bytes to a std::string or a vector of bytes.
template <std::unsigned_integral T, class Container>
void append_be(Container& out, T value) {
    std::uint8_t bytes[sizeof(T)];
    store_be(bytes, value);
    out.insert(out.end(), bytes, bytes + sizeof(T));
}

}  // namespace cohort
