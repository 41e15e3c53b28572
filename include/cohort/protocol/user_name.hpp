// What a user may be called, and when two names are the same.
#pragma once

#include <string>
#include <string_view>

#include <cohort/core/ascii.hpp>
#include <cohort/protocol/plain_text.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort {

inline constexpr std::size_t user_name_max = 64;  ///< bytes

namespace detail {

/// White space in any script.
constexpr bool is_blank_character(char32_t c) {
    return c == U' ' || c == U'\u00a0' || c == U'\u1680' || (c >= U'\u2000' && c <= U'\u200a') || c == U'\u202f' ||
           c == U'\u205f' || c == U'\u3000';
}

}  // namespace detail

/// 1 to 64 bytes of UTF-8 that a terminal shows as they are: without control characters, line breaks, and characters
/// that nobody sees or that turn the order around. No white space at the ends; no '/', which would end it in a URL, and
/// no
/// ':', which ends it where people read what it said; not "." or ".."; not beginning with '#' or '@', which mean a room
/// and a person where people type.
inline bool is_user_name(std::string_view name) {
    if (name.empty() || name.size() > user_name_max || name == "." || name == "..") return false;
    if (name.front() == '#' || name.front() == '@') return false;
    if (terminal_text(name) != name) return false;
    char32_t last = 0;
    for (std::string_view left = name; !left.empty();) {
        const auto code = take_code_point(left);
        if (!code || *code == U'/' || *code == U':' || *code == U'\ufffd') return false;
        if (last == 0 && detail::is_blank_character(*code)) return false;
        last = *code;
    }
    return !detail::is_blank_character(last);
}

/// Two names are the same if this is: capitals A to Z count as small letters, so that nobody is "Alice" beside "alice".
/// Letters of other scripts that look alike remain different: what tells people apart for sure is the key.
inline std::string folded_user_name(std::string_view name) { return ascii_lower(name); }

}  // namespace cohort
