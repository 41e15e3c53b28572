// How the example programs talk to people: sizes, rates and times in words, and progress as a bar that redraws itself
// on a terminal or as a few plain lines in a pipe.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <cohort/core/time.hpp>
#include <cohort/protocol/safe_path.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort::examples {

/// Whether a person sees there what is printed, and lines can be drawn anew.
inline bool is_live_terminal(int descriptor) {
    const char* const term = std::getenv("TERM");
    return ::isatty(descriptor) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

/// "0 B", "1.5 kB", "234 MB": decimal units, because people count MB/s that way.
inline std::string human_size(std::uint64_t bytes) {
    if (bytes < 1000) return std::to_string(bytes) + " B";
    constexpr std::string_view units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = static_cast<double>(bytes) / 1000;
    std::size_t unit = 0;
    for (; value >= 999.5; value /= 1000) ++unit;  // 999.5 would be printed as 1000
    char number[16];
    std::snprintf(number, sizeof number, value < 99.95 ? "%.1f" : "%.0f", value);
    return std::string(number) + " " + std::string(units[unit]);
}

/// "12.3 MB/s".
inline std::string human_rate(double bytes_per_second) {
    constexpr double most = 1e18;
    if (!(bytes_per_second > 0)) bytes_per_second = 0;
    return human_size(static_cast<std::uint64_t>(std::llround(std::min(bytes_per_second, most)))) + "/s";
}

/// "3.2 s", "42 s", "3:05", "2:03:05", "4 d 02:03".
inline std::string human_duration(duration time) {
    const double seconds = std::max(0.0, to_seconds(time));
    char text[48];
    if (seconds < 9.95) {
        std::snprintf(text, sizeof text, "%.1f s", seconds);
        return text;
    }
    const long long whole = std::llround(seconds);
    const int s = static_cast<int>(whole % 60), m = static_cast<int>(whole / 60 % 60);
    const int h = static_cast<int>(whole / 3600 % 24);
    if (whole < 60) {
        std::snprintf(text, sizeof text, "%d s", s);
    } else if (whole < 3600) {
        std::snprintf(text, sizeof text, "%d:%02d", m, s);
    } else if (whole < 86400) {
        std::snprintf(text, sizeof text, "%d:%02d:%02d", h, m, s);
    } else {
        std::snprintf(text, sizeof text, "%lld d %02d:%02d", whole / 86400, h, m);
    }
    return text;
}

namespace detail {

/// Columns that a terminal gives to one code point: 0 for combining marks, 2 for wide characters (Unicode TR 11).
inline std::size_t columns_of(char32_t c) {
    struct range {
        char32_t first, last;
    };
    constexpr range none[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                              {0x64b, 0x65f},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f},
                              {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}};
    constexpr range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xac00, 0xd7a3},
                              {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
                              {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd}};
    const auto holds = [c](const range& r) { return c >= r.first && c <= r.last; };
    if (std::any_of(std::begin(none), std::end(none), holds)) return 0;
    return std::any_of(std::begin(wide), std::end(wide), holds) ? 2 : 1;
}

}  // namespace detail

/// `text` safe to print: what is not UTF-8, what a terminal would obey (control characters, direction marks), and what
/// nobody sees is replaced by '?'. Names come from strangers' torrents.
inline std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::string_view before = text;
        const std::optional<char32_t> c = take_code_point(text);
        out += !c || is_deceptive(*c) ? "?" : before.substr(0, before.size() - text.size());
    }
    return out;
}

/// Columns that printable `text` takes.
inline std::size_t display_width(std::string_view text) {
    std::size_t width = 0;
    while (!text.empty()) width += detail::columns_of(take_code_point(text).value_or('?'));
    return width;
}

/// `text` in exactly `columns`: filled with spaces, or cut between characters with "…" at its end.
inline std::string fit(std::string_view text, std::size_t columns) {
    const std::size_t width = display_width(text);
    if (width <= columns) return std::string(text) + std::string(columns - width, ' ');
    if (columns == 0) return {};
    std::size_t used = 0;
    std::string_view rest = text;
    while (true) {
        std::string_view after = rest;
        const std::size_t next = detail::columns_of(take_code_point(after).value_or('?'));
        if (used + next > columns - 1) break;
        used += next;
        rest = after;
    }
    return std::string(text.substr(0, text.size() - rest.size())) + "…" + std::string(columns - 1 - used, ' ');
}

/// How far something is.
struct progress {
    std::string label;
    std::uint64_t done = 0;   ///< bytes
    std::uint64_t total = 0;  ///< bytes
    double rate = 0;          ///< bytes per second
    std::string note;         ///< more, such as "4 peers"

    bool complete() const { return done >= total; }
    /// 100 only when complete.
    unsigned percent() const {
        if (complete()) return 100;
        const double part = 100 * static_cast<double>(done) / static_cast<double>(total);
        return std::min(99U, static_cast<unsigned>(part));
    }
    /// The time left at this rate; nothing where that says nothing.
    std::optional<duration> left() const {
        if (complete() || !(rate >= 1)) return std::nullopt;
        const std::chrono::duration<double> seconds(static_cast<double>(total - done) / rate);
        if (seconds > std::chrono::hours(24 * 99)) return std::nullopt;
        return std::chrono::duration_cast<duration>(seconds);
    }
};

/// The progress as one line of at most `columns`: `name [====>   ]  45 %  12.3 MB/s  0:12 left  4 peers`. Narrow
/// terminals lose the note, then the time, then the bar, then the end of the name.
inline std::string progress_line(const progress& state, std::size_t columns) {
    const std::string percent = fit("", state.percent() < 10    ? 2
                                        : state.percent() < 100 ? 1
                                                                : 0) +
                                std::to_string(state.percent()) + " %";
    std::string right = percent + "  " + fit(human_rate(state.rate), 9);
    if (percent.size() >= columns) return fit(percent, columns);

    const std::string label = printable(state.label);
    const std::size_t label_width = std::min(display_width(label), std::max<std::size_t>(columns / 3, 8));
    constexpr std::size_t smallest_bar = 10, frame = 4;  // "[", "]" and a space on each side
    const auto add_if_it_fits = [&](const std::string& more) {
        if (label_width + frame + smallest_bar + display_width(right) + 2 + display_width(more) > columns) return false;
        right += "  " + more;
        return true;
    };
    const std::optional<duration> left = state.left();
    const bool roomy = add_if_it_fits(fit(left ? human_duration(*left) + " left" : "", 12));
    if (roomy && !state.note.empty()) add_if_it_fits(printable(state.note));

    const std::size_t right_width = display_width(right);
    if (label_width + frame + smallest_bar + right_width > columns) {
        if (right_width + 1 + std::min<std::size_t>(label_width, 8) > columns) right = percent;
        const std::size_t space = columns - display_width(right);
        return space < 3 ? fit(right, columns) : fit(label, space - 1) + " " + right;
    }
    const std::size_t bar = columns - label_width - frame - right_width;
    const std::size_t filled = state.complete() ? bar : bar * state.percent() / 100;
    std::string cells = std::string(filled, '=') + std::string(bar - filled, ' ');
    if (filled < bar && filled > 0) cells[filled - 1] = '>';
    return fit(label, label_width) + " [" + cells + "] " + right;
}

/// The progress as a sentence for a log: `name: 45 %, 12 MB of 27 MB, 3.1 MB/s, 4 peers`.
inline std::string progress_sentence(const progress& state) {
    std::string out = printable(state.label) + ": " + std::to_string(state.percent()) + " %, " +
                      human_size(std::min(state.done, state.total)) + " of " + human_size(state.total) + ", " +
                      human_rate(state.rate);
    if (!state.note.empty()) out += ", " + printable(state.note);
    return out;
}

/// Prints lines and progress to one file. On a terminal the progress is its last line, redrawn at most ten times a
/// second. Elsewhere it is a sentence at each 10 %, at most one a second, and one every 10 s when nothing moves.
/// Throws std::system_error when nobody reads any more (a closed pipe, a full disk).
class progress_printer {
public:
    explicit progress_printer(std::FILE* out = stdout) : progress_printer(out, is_live_terminal(::fileno(out))) {}
    progress_printer(std::FILE* out, bool live, std::size_t columns = 0) : out_(out), live_(live), columns_(columns) {}
    progress_printer(const progress_printer&) = delete;
    progress_printer& operator=(const progress_printer&) = delete;
    ~progress_printer() {
        if (drawn_) std::fputc('\n', out_);
    }

    /// A line of its own, above the bar where there is one.
    void print(std::string_view line) {
        std::string text = drawn_ ? "\r\x1b[K" : "";
        text.append(line) += '\n';
        if (drawn_) text += bar();
        write(text);
    }

    /// The newest state; shown if it is time to.
    void show(const progress& state, time_point now = std::chrono::steady_clock::now()) {
        const bool ends = state.complete() && !(state_ && state_->complete());
        state_ = state;
        if (!ends && shown_at_ && !due(now - *shown_at_)) return;
        if (state.complete() && !ends && !live_) return;  // a log is told of the end once
        shown_at_ = now;
        shown_step_ = state.percent() / 10;
        if (!live_) return write(progress_sentence(state) + "\n");
        drawn_ = true;
        write(bar());
    }

    /// Leaves the last state on the screen and ends its line. A later show() starts anew.
    void finish() {
        if (drawn_) write(bar() + "\n");
        drawn_ = false;
        state_.reset();
        shown_at_.reset();
    }

private:
    bool due(duration since) const {
        if (live_) return since >= 100ms;
        return (since >= 1s && state_->percent() / 10 > shown_step_) || since >= 10s;
    }

    /// Asked at each drawing: people resize their windows.
    std::size_t columns() const {
        if (columns_ != 0) return columns_;
        winsize size{};
        return ::ioctl(::fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    }

    /// One column stays free: a full line would wrap, and "\r" would not reach its start.
    std::string bar() const { return "\r" + progress_line(*state_, columns() - 1) + "\x1b[K"; }

    void write(const std::string& text) {
        if (std::fwrite(text.data(), 1, text.size(), out_) != text.size() || std::fflush(out_) != 0) {
            throw std::system_error(errno, std::generic_category(), "cannot write");
        }
    }

    std::FILE* out_;
    bool live_;
    std::size_t columns_;
    bool drawn_ = false;
    std::optional<progress> state_;
    std::optional<time_point> shown_at_;
    unsigned shown_step_ = 0;
};

}  // namespace cohort::examples
