// What every file path that comes out of a torrent must be, judged without the library's own tables.
#pragma once

#include <cstdint>
#include <string_view>

namespace cohort::test {

/// Whether `text` is UTF-8 without control characters and without characters that change the direction of text.
inline bool is_plain_text(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<std::uint8_t>(text[i]);
        const std::size_t length = lead < 0x80   ? 1
                                   : lead < 0xc2 ? 0
                                   : lead < 0xe0 ? 2
                                   : lead < 0xf0 ? 3
                                   : lead < 0xf5 ? 4
                                                 : 0;
        if (length == 0 || i + length > text.size()) return false;
        std::uint32_t c = length == 1 ? lead : lead & (0xffU >> (length + 1));
        for (std::size_t k = 1; k < length; ++k) {
            const auto byte = static_cast<std::uint8_t>(text[i + k]);
            if ((byte & 0xc0) != 0x80) return false;
            c = c << 6 | (byte & 0x3fU);
        }
        if (length == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff))) return false;
        if (length == 4 && (c < 0x10000 || c > 0x10ffff)) return false;
        if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
        if (c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x61c)
            return false;
        i += length;
    }
    return true;
}

/// Whether the path stays below the folder it is put into, on any system, and every name in it can be made.
inline bool is_safe_path(std::string_view path) {
    while (true) {
        const std::size_t slash = path.find('/');
        const std::string_view name = path.substr(0, slash);
        if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
        if (name.find('\\') != name.npos || name.back() == '.' || name.back() == ' ' || !is_plain_text(name))
            return false;
        if (slash == path.npos) return true;
        path.remove_prefix(slash + 1);
    }
}

}  // namespace cohort::test
