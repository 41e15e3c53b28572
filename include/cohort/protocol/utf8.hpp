// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

/// Takes one code point off the front of `in`, which must not be empty. If it does not begin with a whole and valid
/// one, takes one byte and returns nothing.
inline std::optional<char32_t> take_code_point(std::string_view& in) {
    const auto byte = [&in](std::size_t i) { return static_cast<std::uint8_t>(in[i]); };
    const std::uint8_t lead = byte(0);
    std::size_t length = 1;
    char32_t value = lead;
    if (lead >= 0x80) {
        // The least value of each length: what is below it has a shorter form.
        constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        length = lead >= 0xf8 ? 0 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
        bool valid = length != 0 && length <= in.size();
        value = valid ? lead & (0x7fU >> length) : 0;
        for (std::size_t i = 1; valid && i < length; ++i) {
            valid = (byte(i) & 0xc0) == 0x80;
            value = value << 6 | (byte(i) & 0x3fU);
        }
        valid = valid && value >= least[length] && value <= 0x10ffff && (value < 0xd800 || value > 0xdfff);
        if (!valid) {
            in.remove_prefix(1);
            return std::nullopt;
        }
    }
    in.remove_prefix(length);
    return value;
}

inline bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        if (!take_code_point(text)) return false;
    }
    return true;
}

/// The text with every run of invalid bytes replaced by one '_'.
inline std::string to_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    bool in_run = false;
    while (!text.empty()) {
        const std::string_view before = text;
        const bool valid = take_code_point(text).has_value();
        if (valid) out += before.substr(0, before.size() - text.size());
        if (!valid && !in_run) out += '_';
        in_run = !valid;
    }
    return out;
}

}  // namespace cohort
