// Words of a stranger (a tracker's reason, a client's name) made fit to be stored, logged and shown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <cohort/protocol/utf8.hpp>

namespace cohort {

/// The first `most` bytes or less of `text` as valid UTF-8: control characters (which could move a terminal's cursor)
/// become spaces, invalid bytes '?'.
inline std::string plain_text(std::string_view text, std::size_t most = 512) {
    std::string out;
    while (!text.empty()) {
        const std::string_view before = text;
        const auto code = take_code_point(text);
        const std::string_view bytes = before.substr(0, before.size() - text.size());
        if (out.size() + bytes.size() > most) break;
        if (!code)
            out += '?';
        else if (*code < 0x20 || (*code >= 0x7f && *code < 0xa0))
            out += ' ';
        else
            out += bytes;
    }
    return out;
}

}  // namespace cohort
