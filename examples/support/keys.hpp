// What a terminal sends, taken apart into the keys that people press. No terminal is needed for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/protocol/safe_path.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort::examples {

enum class key {
    text,     ///< what was typed or pasted; of what printable() replaces only line ends and tabs are left, in pastes
    enter,    ///< ends the line
    newline,  ///< a line end inside the line: Alt-Enter
    tab,
    backspace,
    erase,  ///< the character under the cursor: Delete
    left,
    right,
    up,
    down,
    home,
    end,
    word_left,
    word_right,
    kill_to_start,
    kill_to_end,
    kill_word,       ///< the one before the cursor
    kill_next_word,  ///< the one after it
    clear_screen,
    interrupt,     ///< Ctrl-C
    end_of_input,  ///< Ctrl-D: the end on an empty line, else as `erase`
    suspend,       ///< Ctrl-Z
};

struct key_press {
    key what = key::text;
    std::u32string text;  ///< of key::text

    bool operator==(const key_press&) const = default;
};

/// The code points of UTF-8; invalid bytes are left out.
inline std::u32string to_code_points(std::string_view utf8) {
    std::u32string out;
    while (!utf8.empty()) {
        if (const auto c = take_code_point(utf8)) out += *c;
    }
    return out;
}

inline std::string to_utf8_text(std::u32string_view text) {
    std::string out;
    const auto add = [&out](char32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
    for (const char32_t c : text) {
        if (c < 0x80) {
            add(c);
        } else if (c < 0x800) {
            add(0xc0 | c >> 6), add(0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            add(0xe0 | c >> 12), add(0x80 | (c >> 6 & 0x3f)), add(0x80 | (c & 0x3f));
        } else {
            add(0xf0 | c >> 18), add(0x80 | (c >> 12 & 0x3f)), add(0x80 | (c >> 6 & 0x3f)), add(0x80 | (c & 0x3f));
        }
    }
    return out;
}

/// Takes bytes as they come, cut anywhere, and gives keys. UTF-8, the sequences of xterm and its many descendants, and
/// bracketed paste. Sequences that mean nothing here vanish whole.
class key_reader {
public:
    static constexpr std::size_t longest_paste = 256 * 1024;  ///< bytes; the rest of a longer one is dropped

    std::vector<key_press> read(std::string_view bytes) {
        std::vector<key_press> out;
        rest_ += bytes;
        std::size_t used = 0;
        while (used < rest_.size()) {
            const std::string_view in = std::string_view(rest_).substr(used);
            const std::size_t taken = pasting_ ? take_paste(in, out) : take_key(in, out);
            if (taken == 0) break;  // the rest of it is still to come
            used += taken;
        }
        rest_.erase(0, used);
        return out;
    }

private:
    static constexpr std::string_view paste_end = "\x1b[201~";
    static constexpr std::size_t longest_sequence = 32;

    static void add(std::vector<key_press>& out, key what) { out.push_back({what, {}}); }

    /// Text that follows text is one key press: whoever types fast, or pastes without brackets, is drawn once.
    static void add_text(std::vector<key_press>& out, std::u32string_view text) {
        if (text.empty()) return;
        if (out.empty() || out.back().what != key::text) add(out, key::text);
        out.back().text += text;
    }

    // Each take_...() returns how many bytes of `in` it used, 0 if it needs more to decide.

    static constexpr std::size_t length_by_lead(unsigned char lead) {
        return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 1;
    }

    std::size_t take_key(std::string_view in, std::vector<key_press>& out) {
        const auto first = static_cast<unsigned char>(in[0]);
        if (first == 0x1b) return take_escape(in, out);
        if (first < 0x20 || first == 0x7f) {
            if (const key* const found = control(first)) add(out, *found);
            return 1;
        }
        const std::size_t length = length_by_lead(first);
        const std::string_view more = in.substr(1, length - 1);
        const bool all_continue = std::all_of(more.begin(), more.end(), [](char c) { return (c & 0xc0) == 0x80; });
        if (in.size() < length && all_continue) return 0;
        std::string_view after = in;
        const auto c = take_code_point(after);
        if (c && !is_deceptive(*c)) add_text(out, std::u32string_view(&*c, 1));
        return in.size() - after.size();
    }

    static const key* control(unsigned char byte) {
        static constexpr std::pair<unsigned char, key> table[] = {{'\r', key::enter},
                                                                  {'\n', key::enter},
                                                                  {'\t', key::tab},
                                                                  {0x7f, key::backspace},
                                                                  {0x08, key::backspace},
                                                                  {'A' - 64, key::home},
                                                                  {'B' - 64, key::left},
                                                                  {'C' - 64, key::interrupt},
                                                                  {'D' - 64, key::end_of_input},
                                                                  {'E' - 64, key::end},
                                                                  {'F' - 64, key::right},
                                                                  {'K' - 64, key::kill_to_end},
                                                                  {'L' - 64, key::clear_screen},
                                                                  {'N' - 64, key::down},
                                                                  {'P' - 64, key::up},
                                                                  {'U' - 64, key::kill_to_start},
                                                                  {'W' - 64, key::kill_word},
                                                                  {'Z' - 64, key::suspend}};
        const auto* const found =
            std::find_if(std::begin(table), std::end(table), [byte](const auto& entry) { return entry.first == byte; });
        return found == std::end(table) ? nullptr : &found->second;
    }

    std::size_t take_escape(std::string_view in, std::vector<key_press>& out) {
        if (in.size() < 2) return 0;
        switch (in[1]) {
        case '[': return take_csi(in, out);
        case 'O':
            if (in.size() < 3) return 0;
            cursor_key(in[2], false, out);
            return 3;
        case 'b':
        case 'B': return add(out, key::word_left), 2;
        case 'f':
        case 'F': return add(out, key::word_right), 2;
        case 'd':
        case 'D': return add(out, key::kill_next_word), 2;
        case '\x7f':
        case '\b': return add(out, key::kill_word), 2;
        case '\r':
        case '\n': return add(out, key::newline), 2;
        default: return 1;  // somebody pressed Esc, then something else
        }
    }

    std::size_t take_csi(std::string_view in, std::vector<key_press>& out) {
        if (in.size() < 3) return 0;
        if (in[2] == '[') return in.size() < 4 ? 0 : 4;  // the function keys of the Linux console
        const auto ends = [](char c) { return static_cast<unsigned char>(c - 0x20) >= 0x20; };
        const auto last = std::find_if(in.begin() + 2, in.end(), ends);
        const auto length = static_cast<std::size_t>(last - in.begin());
        if (last == in.end()) return length > longest_sequence ? length : 0;
        if (*last < 0x40 || *last > 0x7e) return length;  // broken off by another key

        const std::string_view parameters = in.substr(2, length - 2);
        const bool modified = parameters.find(';') != std::string_view::npos;
        const std::string_view number = parameters.substr(0, parameters.find(';'));
        if (*last != '~') {
            cursor_key(*last, modified, out);
        } else if (number == "1" || number == "7") {
            add(out, key::home);
        } else if (number == "4" || number == "8") {
            add(out, key::end);
        } else if (number == "3") {
            add(out, modified ? key::kill_next_word : key::erase);
        } else if (number == "200") {
            pasting_ = true;
        }
        return length + 1;
    }

    /// With Ctrl or Alt the arrows go by words.
    static void cursor_key(char last, bool modified, std::vector<key_press>& out) {
        switch (last) {
        case 'A': return add(out, key::up);
        case 'B': return add(out, key::down);
        case 'C': return add(out, modified ? key::word_right : key::right);
        case 'D': return add(out, modified ? key::word_left : key::left);
        case 'H': return add(out, key::home);
        case 'F': return add(out, key::end);
        default: return;
        }
    }

    std::size_t take_paste(std::string_view in, std::vector<key_press>& out) {
        const std::size_t end = in.find(paste_end);
        std::size_t taken = std::min(end, in.size());
        for (std::size_t held = std::min(in.size(), paste_end.size() - 1); end > in.size() && held > 0; --held) {
            if (!in.ends_with(paste_end.substr(0, held))) continue;
            taken = in.size() - held;  // perhaps the end's first bytes
            break;
        }
        paste_ += in.substr(0, std::min(taken, longest_paste - paste_.size()));
        if (end == std::string_view::npos) return taken;
        pasting_ = false;
        add_text(out, pasted(std::exchange(paste_, {})));
        return end + paste_end.size();
    }

    /// Line ends of all systems become '\n'.
    static std::u32string pasted(std::string_view bytes) {
        std::u32string text = to_code_points(bytes), out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool crlf = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
            if (text[i] == '\r' && !crlf) text[i] = '\n';
            if (text[i] == '\n' || text[i] == '\t' || !is_deceptive(text[i])) out += text[i];
        }
        return out;
    }

    std::string rest_;  ///< bytes that are not yet a whole key
    std::string paste_;
    bool pasting_ = false;
};

}  // namespace cohort::examples
