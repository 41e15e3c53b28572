// Views of raw bytes, and the few conversions between bytes, text and hexadecimal that everything shares.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// Bytes somebody else owns, to read.
using byte_view = std::span<const std::uint8_t>;
/// Bytes somebody else owns, to fill.
using byte_span = std::span<std::uint8_t>;
/// Bytes we own.
using byte_vector = std::vector<std::uint8_t>;

inline std::size_t total_size(std::span<const byte_view> parts) {
    std::size_t out = 0;
    for (const byte_view part : parts) out += part.size();
    return out;
}

inline byte_view as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline std::string_view as_text(byte_view bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

inline std::string to_hex(byte_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    return out;
}

/// The value of one hexadecimal digit of either case, or -1.
constexpr int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Fills `out` from exactly twice as many hexadecimal digits; false, with `out` unspecified, for anything else.
inline bool from_hex(std::string_view text, byte_span out) {
    if (text.size() != out.size() * 2) return false;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = hex_digit(text[2 * i]);
        const int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return true;
}

}  // namespace cohort
