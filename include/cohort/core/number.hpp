// Whole numbers as text.
#pragma once

#include <charconv>
#include <concepts>
#include <string_view>
#include <system_error>

namespace cohort {

/// True if all of `text` is one number that fits `out`: no sign but '-' of signed types, no blanks, no prefix.
template <std::integral T>
bool parse_number(std::string_view text, T& out, int base = 10) {
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, out, base);
    return error == std::errc{} && rest == end;
}

}  // namespace cohort
