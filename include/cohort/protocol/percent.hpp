// Percent-encoding (RFC 3986, section 2.1), for URLs and for the binary values that trackers put into queries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// Letters, digits and "-._~": what never needs encoding (RFC 3986, section 2.3).
constexpr bool is_unreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

/// Adds "%XX".
inline void append_percent(std::string& out, char c) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto byte = static_cast<std::uint8_t>(c);
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 15];
}

inline std::string percent_encode(std::string_view text) {
    std::string out;
    out.reserve(text.size() * 3);
    for (const char c : text) {
        if (is_unreserved(c))
            out += c;
        else
            append_percent(out, c);
    }
    return out;
}

namespace detail {

/// Calls `put` with each decoded byte until it returns false; false for that and for a '%' without two digits.
template <class Put>
bool percent_decode_each(std::string_view text, Put put) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto byte = static_cast<std::uint8_t>(text[i]);
        if (byte == '%') {
            if (text.size() - i < 3) return false;
            const int high = hex_digit(text[i + 1]);
            const int low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0) return false;
            byte = static_cast<std::uint8_t>(high << 4 | low);
            i += 2;
        }
        if (!put(byte)) return false;
    }
    return true;
}

}  // namespace detail

/// Nothing if a '%' is not followed by two hexadecimal digits. A '+' stays one: tracker clients do not mean a space.
inline std::optional<std::string> percent_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    const auto put = [&out](std::uint8_t byte) {
        out += static_cast<char>(byte);
        return true;
    };
    if (!detail::percent_decode_each(text, put)) return std::nullopt;
    return out;
}

/// Decodes exactly out.size() bytes; false, with `out` unspecified, for fewer, more, or a wrong '%'.
inline bool percent_decode(std::string_view text, byte_span out) {
    std::size_t size = 0;
    const auto put = [&](std::uint8_t byte) {
        if (size == out.size()) return false;
        out[size++] = byte;
        return true;
    };
    return detail::percent_decode_each(text, put) && size == out.size();
}

}  // namespace cohort
