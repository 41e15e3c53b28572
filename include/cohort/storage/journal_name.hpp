// How a resume journal is called: so that storage finds it, and so that no torrent can put a file in its place.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <cohort/core/ids.hpp>

namespace cohort {

/// ".<info-hash in hexadecimal>.cohort", in the directory that holds the torrent's content.
inline std::string journal_name(const info_hash& hash) { return "." + hash.hex() + ".cohort"; }

/// Whether a file of this name could be a journal, or one that is just being written. Cases do not count: some file
/// systems do not tell them apart.
inline bool is_journal_name(std::string_view name) {
    constexpr std::size_t digits = info_hash::size * 2;
    constexpr std::string_view suffix = ".cohort";
    if (name.size() < 1 + digits + suffix.size() || name.front() != '.') return false;
    const std::string_view hex = name.substr(1, digits);
    const std::string_view rest = name.substr(1 + digits, suffix.size());
    return std::all_of(hex.begin(), hex.end(), [](char c) { return hex_digit(c) >= 0; }) &&
           std::equal(rest.begin(), rest.end(), suffix.begin(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; });
}

}  // namespace cohort
