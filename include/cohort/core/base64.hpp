// Base64 (RFC 4648, section 4), for bytes inside JSON. The decoder takes one spelling of each value and no other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// With padding, in one line.
std::string to_base64(byte_view bytes);

/// Nothing unless the text is what to_base64() makes of some bytes: no white space, no missing padding, no stray bits.
std::optional<byte_vector> from_base64(std::string_view text);

/// Fills `out` exactly; false, with `out` unspecified, for another length or what from_base64() refuses.
bool from_base64(std::string_view text, byte_span out);

/// How many characters to_base64() makes of so many bytes.
constexpr std::size_t base64_size(std::size_t bytes) { return (bytes + 2) / 3 * 4; }

namespace detail {

inline constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of each character, or 64.
inline constexpr std::array<std::uint8_t, 256> base64_values = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(64);
    for (std::size_t i = 0; i < base64_digits.size(); ++i)
        values[static_cast<std::uint8_t>(base64_digits[i])] = static_cast<std::uint8_t>(i);
    return values;
}();

/// How many bytes a text of this length and padding stands for; nothing for a length that none has.
inline std::optional<std::size_t> base64_decoded_size(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t size = text.size() / 4 * 3;
    if (text.ends_with("==")) return size - 2;
    if (text.ends_with('=')) --size;
    return size;
}

}  // namespace detail

inline std::string to_base64(byte_view bytes) {
    std::string out(base64_size(bytes.size()), '=');
    std::size_t at = 0;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t left = bytes.size() - i;
        const std::uint32_t word = std::uint32_t{bytes[i]} << 16 | (left > 1 ? std::uint32_t{bytes[i + 1]} << 8 : 0) |
                                   (left > 2 ? std::uint32_t{bytes[i + 2]} : 0);
        out[at] = detail::base64_digits[word >> 18];
        out[at + 1] = detail::base64_digits[word >> 12 & 63];
        if (left > 1) out[at + 2] = detail::base64_digits[word >> 6 & 63];
        if (left > 2) out[at + 3] = detail::base64_digits[word & 63];
        at += 4;
    }
    return out;
}

inline bool from_base64(std::string_view text, byte_span out) {
    const auto size = detail::base64_decoded_size(text);
    if (!size || *size != out.size()) return false;
    const auto value = [&text](std::size_t at) -> std::uint32_t {
        return detail::base64_values[static_cast<std::uint8_t>(text[at])];
    };
    for (std::size_t i = 0, at = 0; i < out.size(); i += 3, at += 4) {
        const std::size_t left = out.size() - i;  // in the last group, 1 or 2: so many characters less
        const std::uint32_t a = value(at);
        const std::uint32_t b = value(at + 1);
        const std::uint32_t c = left > 1 ? value(at + 2) : 0;
        const std::uint32_t d = left > 2 ? value(at + 3) : 0;
        if ((a | b | c | d) > 63) return false;
        const std::uint32_t word = a << 18 | b << 12 | c << 6 | d;
        out[i] = static_cast<std::uint8_t>(word >> 16);
        if (left > 1)
            out[i + 1] = static_cast<std::uint8_t>(word >> 8);
        else if ((word & 0xffff) != 0)
            return false;
        if (left > 2)
            out[i + 2] = static_cast<std::uint8_t>(word);
        else if ((word & 0xff) != 0)
            return false;
    }
    return true;
}

inline std::optional<byte_vector> from_base64(std::string_view text) {
    const auto size = detail::base64_decoded_size(text);
    if (!size) return std::nullopt;
    byte_vector out(*size);
    if (!from_base64(text, out)) return std::nullopt;
    return out;
}

}  // namespace cohort
