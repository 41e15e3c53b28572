// Words of a stranger (a tracker's reason, a client's name, a chat message) made fit to be stored, logged and shown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <cohort/protocol/safe_path.hpp>
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

enum class line_breaks { keep, flatten };

/// The whole text as one may print it on a terminal: valid UTF-8 without control characters of either set (C0, C1) and
/// without what reorders text or is not seen; each of those becomes U+FFFD, so that the reader sees that something was
/// there. Tabs become spaces. Line breaks of all kinds become '\n', or with `flatten` a space. Applying it twice
/// changes nothing more.
inline std::string terminal_text(std::string_view text, line_breaks breaks = line_breaks::flatten) {
    constexpr std::string_view replacement = "\xef\xbf\xbd";
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::string_view before = text;
        const auto code = take_code_point(text);
        if (code == U'\r' && text.starts_with('\n')) continue;
        if (code == U'\t') {
            out += ' ';
        } else if (code == U'\n' || code == U'\r' || code == U'\u2028' || code == U'\u2029') {
            out += breaks == line_breaks::keep ? '\n' : ' ';
        } else if (!code || (detail::is_unsafe(*code) && *code != U'/' && *code != U'\\')) {
            out += replacement;
        } else {
            out += before.substr(0, before.size() - text.size());
        }
    }
    return out;
}

}  // namespace cohort
