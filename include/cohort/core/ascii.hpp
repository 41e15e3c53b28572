// Letters without their case, where a protocol makes no difference. Only those of ASCII: no locale has a say.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace cohort {

constexpr char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline std::string ascii_lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = ascii_lower(c);
    return out;
}

/// Whether two header names, methods or tokens are the same but for the case of ASCII letters.
inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

}  // namespace cohort
