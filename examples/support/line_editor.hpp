// The line that people type, as a state machine: keys in, finished lines and screen updates out. It knows no terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/protocol/utf8.hpp>

#include "keys.hpp"
#include "terminal.hpp"

namespace cohort::examples {

/// What the end of the typed text may become: each candidate stands in for the bytes from `from` on.
struct completion {
    std::size_t from = 0;
    std::vector<std::string> candidates;
};

/// What the person at the keyboard wants.
struct typed {
    enum class kind {
        line,          ///< Enter: the text is in `line`
        interrupt,     ///< Ctrl-C, with what stood in the line, which is empty now
        end_of_input,  ///< Ctrl-D on an empty line
        suspend,       ///< Ctrl-Z
    };
    kind what = kind::line;
    std::string line;

    bool operator==(const typed&) const = default;
};

/// A line with a prompt, and above it, if wished, a row for news about now. Everything printed meanwhile goes above
/// both and never into them. A line longer than the screen scrolls sideways. Lines typed before are a list in memory
/// only: what people say to each other is nobody else's business on the disk.
///
/// Call take_output() after each change and write what it returns, all of it and nothing else, to the terminal.
class line_editor {
public:
    static constexpr std::size_t longest_line = 65536;  ///< code points; more is not taken
    static constexpr std::size_t most_history = 500;
    static constexpr std::size_t most_listed = 100;  ///< candidates shown at once

    using completer = std::function<completion(std::string_view before_cursor)>;

    explicit line_editor(std::size_t columns = 80) { resize(columns); }

    /// Asked at Tab: candidates come from here.
    void complete_with(completer source) { completer_ = std::move(source); }

    /// Takes bytes as the terminal sends them, cut anywhere.
    std::vector<typed> feed(std::string_view bytes) {
        std::vector<typed> out;
        for (const key_press& pressed : keys_.read(bytes)) press(pressed, out);
        return out;
    }

    /// The text, without the prompt, and the cursor in it, in code points.
    std::string line() const { return to_utf8_text(text_); }
    std::size_t cursor() const { return cursor_; }

    void set_prompt(std::string_view text) { change(prompt_, printable(text)); }
    /// The row above the line; nothing takes the row away. Cut where the screen ends.
    void set_status(std::optional<std::string> text) {
        if (text) text = printable(*text);
        if (text != status_) redraw_ = true;
        status_ = std::move(text);
    }
    /// How prompt and status look: what a terminal needs to hear before and after, such as "\x1b[1m" and "\x1b[0m".
    void set_styles(std::string prompt, std::string status) {
        prompt_style_ = std::move(prompt);
        status_style_ = std::move(status);
        redraw_ = true;
    }
    void resize(std::size_t columns) {
        columns_ = std::max<std::size_t>(columns, 8);
        redraw_ = true;
    }
    std::size_t columns() const { return columns_; }

    /// Lines to stand above the one being typed, each safe for a terminal. Printed as they are.
    void print_above(std::string_view text) {
        for (const char c : text) {
            if (c == '\n') above_ += '\r';
            above_ += c;
        }
        if (!text.empty() && text.back() != '\n') above_ += "\r\n";
    }

    /// Takes the line off the screen, until the next change.
    void hide() {
        above_ = erased() + above_;
        rows_ = 0;
        redraw_ = changed_ = false;
    }
    /// The line must be drawn anew, because somebody else wrote to the terminal. `gone`: nothing of it is there.
    void redraw(bool gone = false) {
        if (gone) rows_ = 0;
        redraw_ = true;
    }

    /// What the terminal has to get now.
    std::string take_output() {
        if (above_.empty() && !redraw_ && !changed_) return {};
        std::string out;
        if (rows_ == 0 && !redraw_ && !changed_) return std::exchange(above_, {});
        const bool whole = redraw_ || !above_.empty() || rows_ == 0;
        if (clear_) {
            out = "\x1b[H\x1b[2J";
        } else {
            out = whole ? erased() : "\r";
        }
        if (whole) out += std::exchange(above_, {}) + drawn_status();
        out += drawn_line();
        if (bell_) out += '\a';
        redraw_ = changed_ = clear_ = bell_ = false;
        rows_ = status_ ? 2 : 1;
        return out;
    }

private:
    void change(std::string& what, std::string to) {
        changed_ = changed_ || what != to;
        what = std::move(to);
    }

    // ---- keys ----

    void press(const key_press& pressed, std::vector<typed>& out) {
        const bool again = std::exchange(tabbed_, pressed.what == key::tab);
        changed_ = true;
        switch (pressed.what) {
        case key::text: return insert(pressed.text);
        case key::newline: return insert(U"\n");
        case key::tab: return complete(again);
        case key::enter: return out.push_back({typed::kind::line, take_line()});
        case key::backspace: return kill(left_of(cursor_), cursor_);
        case key::erase: return kill(cursor_, right_of(cursor_));
        case key::left: cursor_ = left_of(cursor_); return;
        case key::right: cursor_ = right_of(cursor_); return;
        case key::up: return recall(shown_ + 1);
        case key::down:
            if (shown_ > 0) recall(shown_ - 1);
            return;
        case key::home: cursor_ = 0; return;
        case key::end: cursor_ = text_.size(); return;
        case key::word_left: cursor_ = word_left(); return;
        case key::word_right: cursor_ = word_right(); return;
        case key::kill_to_start: return kill(0, cursor_);
        case key::kill_to_end: return kill(cursor_, text_.size());
        case key::kill_word: return kill(word_left(), cursor_);
        case key::kill_next_word: return kill(cursor_, word_right());
        case key::clear_screen: clear_ = redraw_ = true; return;
        case key::interrupt: {
            std::string was = line();
            replace_all({});
            shown_ = 0;
            return out.push_back({typed::kind::interrupt, std::move(was)});
        }
        case key::end_of_input:
            if (!text_.empty()) return kill(cursor_, right_of(cursor_));
            return out.push_back({typed::kind::end_of_input, {}});
        case key::suspend: return out.push_back({typed::kind::suspend, {}});
        }
    }

    void insert(std::u32string_view text) {
        const std::size_t room = longest_line - text_.size();
        if (text.size() > room) bell_ = true;
        text = text.substr(0, room);
        text_.insert(cursor_, text);
        cursor_ += text.size();
    }

    void kill(std::size_t first, std::size_t last) {
        text_.erase(first, last - first);
        cursor_ = first;
    }

    void replace_all(std::u32string text) {
        text_ = std::move(text);
        cursor_ = text_.size();
    }

    // A character is a code point and the marks that combine with it: the cursor never stands between them.

    bool is_mark(std::size_t i) const { return i < text_.size() && width_of(text_[i]) == 0; }
    std::size_t left_of(std::size_t at) const {
        if (at > 0) --at;
        while (at > 0 && is_mark(at)) --at;
        return at;
    }
    std::size_t right_of(std::size_t at) const {
        if (at < text_.size()) ++at;
        while (is_mark(at)) ++at;
        return at;
    }
    static bool is_space(char32_t c) { return c == ' ' || c == '\t' || c == '\n'; }
    std::size_t word_left() const {
        std::size_t at = cursor_;
        while (at > 0 && is_space(text_[at - 1])) --at;
        while (at > 0 && !is_space(text_[at - 1])) --at;
        return at;
    }
    std::size_t word_right() const {
        std::size_t at = cursor_;
        while (at < text_.size() && is_space(text_[at])) ++at;
        while (at < text_.size() && !is_space(text_[at])) ++at;
        return at;
    }

    // ---- lines typed before ----

    std::string take_line() {
        std::string out = line();
        const bool blank = std::all_of(text_.begin(), text_.end(), is_space);
        if (!blank && (history_.empty() || history_.front() != text_)) history_.push_front(text_);
        if (history_.size() > most_history) history_.pop_back();
        replace_all({});
        shown_ = 0;
        return out;
    }

    /// 0 is the line being written, 1 the newest before it.
    void recall(std::size_t wanted) {
        if (wanted > history_.size()) return void(bell_ = true);
        if (shown_ == 0) draft_ = text_;
        shown_ = wanted;
        replace_all(wanted == 0 ? draft_ : history_[wanted - 1]);
    }

    // ---- completion ----

    void complete(bool again) {
        const std::string before = to_utf8_text(std::u32string_view(text_).substr(0, cursor_));
        completion found;
        if (completer_) found = completer_(before);
        std::erase_if(found.candidates, [](const std::string& one) { return printable(one) != one; });
        if (found.candidates.empty() || found.from > before.size()) return void(bell_ = true);

        std::string common = found.candidates.front();
        for (const std::string& one : found.candidates) {
            const auto differ = std::mismatch(common.begin(), common.end(), one.begin(), one.end());
            common.erase(differ.first, common.end());
        }
        while (!common.empty() && !is_utf8(common)) common.pop_back();
        const std::string typed_part = before.substr(found.from);
        if (common.size() > typed_part.size() || (found.candidates.size() == 1 && common != typed_part)) {
            const std::u32string rest = text_.substr(cursor_);
            replace_all(to_code_points(before.substr(0, found.from) + common));
            text_ += rest.substr(0, longest_line - std::min(longest_line, text_.size()));
        } else if (again && found.candidates.size() > 1) {
            print_above(listed(found.candidates));
        } else {
            bell_ = true;
        }
    }

    /// The candidates in columns.
    std::string listed(const std::vector<std::string>& candidates) const {
        const std::size_t count = std::min(candidates.size(), most_listed);
        std::size_t widest = 0;
        for (std::size_t i = 0; i < count; ++i) widest = std::max(widest, display_width(candidates[i]) + 2);
        const std::size_t in_row = std::max<std::size_t>(1, (columns_ - 1) / widest);
        std::string out;
        for (std::size_t i = 0; i < count; ++i) {
            const bool last = (i + 1) % in_row == 0 || i + 1 == count;
            out += last ? candidates[i] + "\n" : fit(candidates[i], widest);
        }
        if (count < candidates.size()) out += "and " + std::to_string(candidates.size() - count) + " more\n";
        return out;
    }

    // ---- the screen ----

    /// What a code point of the line looks like: a line end and a tab get a sign of one column.
    static char32_t sign_of(char32_t c) { return c == '\n' ? U'\u21b5' : c == '\t' ? U' ' : c; }
    static std::size_t width_of(char32_t c) { return detail::columns_of(sign_of(c)); }
    std::size_t width(std::size_t first, std::size_t last) const {
        std::size_t sum = 0;
        for (std::size_t i = first; i < last; ++i) sum += width_of(text_[i]);
        return sum;
    }

    /// From the line's row, in which the cursor always is, to the first row and all below it empty.
    std::string erased() const { return rows_ == 0 ? "" : rows_ == 1 ? "\r\x1b[J" : "\r\x1b[A\x1b[J"; }

    std::string drawn_status() const {
        if (!status_) return {};
        const std::string text = display_width(*status_) < columns_ ? *status_ : fit(*status_, columns_ - 1);
        return styled(status_style_, text) + "\r\n";
    }

    static std::string styled(const std::string& style, const std::string& text) {
        return style.empty() || text.empty() ? text : style + text + "\x1b[0m";
    }

    /// The last column stays free, because a terminal that has filled it is between two rows.
    std::string drawn_line() {
        const std::size_t prompt_width = std::min(display_width(prompt_), (columns_ - 1) / 2);
        const std::size_t space = columns_ - 1 - prompt_width;
        scroll(space);

        std::string out =
            styled(prompt_style_, display_width(prompt_) > prompt_width ? fit(prompt_, prompt_width) : prompt_);
        std::size_t used = prompt_width, at = first_;
        if (first_ > 0) {
            out += '<';
            ++used;
        }
        const std::size_t cursor_column = used + width(first_, cursor_);
        const std::size_t end = columns_ - 2;  // one more for '>', or for the cursor behind the last character
        while (at < text_.size() && used + width_of(text_[at]) <= end) {
            used += width_of(text_[at]);
            const char32_t sign = sign_of(text_[at++]);
            out += to_utf8_text(std::u32string_view(&sign, 1));
        }
        if (at < text_.size()) out += '>';
        out += "\x1b[K\r";
        if (cursor_column > 0) out += "\x1b[" + std::to_string(cursor_column) + "C";
        return out;
    }

    /// Chooses the first code point on the screen so that the cursor is on it too, in `space` columns of which the
    /// outer ones may be taken by signs.
    void scroll(std::size_t space) {
        const std::size_t inner = space > 4 ? space - 3 : 1;
        if (first_ >= cursor_) first_ = cursor_;
        if (width(0, text_.size()) <= space - 1) {
            first_ = 0;
        } else if (first_ == cursor_ || width(first_, cursor_) >= inner) {
            // A third of the screen is left before the cursor, so that it is not redrawn at each key.
            first_ = cursor_;
            std::size_t before = 0;
            while (first_ > 0 && before + width_of(text_[first_ - 1]) <= inner * 2 / 3) {
                before += width_of(text_[first_ - 1]);
                --first_;
            }
        }
        while (is_mark(first_)) ++first_;
    }

    key_reader keys_;
    completer completer_;
    std::u32string text_;
    std::size_t cursor_ = 0;
    std::deque<std::u32string> history_;  ///< newest first
    std::size_t shown_ = 0;
    std::u32string draft_;
    bool tabbed_ = false;

    std::size_t columns_ = 80;
    std::string prompt_;
    std::optional<std::string> status_;
    std::string prompt_style_, status_style_;
    std::string above_;
    std::size_t first_ = 0;  ///< the first code point on the screen
    std::size_t rows_ = 0;   ///< on the screen now
    bool redraw_ = false, changed_ = false, clear_ = false, bell_ = false;
};

}  // namespace cohort::examples
