// How what happens in a chat reads: each thing as one line for people. What others wrote is made safe for a terminal,
// and cannot be laid out so that it looks like a line of somebody else.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/chat/events.hpp>

#include "terminal.hpp"

namespace cohort::examples {

/// Colours, or none: not in a pipe, and not where people asked for none (no-color.org).
class painter {
public:
    explicit painter(bool on = false) : on_(on) {}

    static bool wanted(bool live) {
        const char* const no_color = std::getenv("NO_COLOR");
        return live && (no_color == nullptr || *no_color == '\0');
    }

    bool on() const { return on_; }
    std::string dim(std::string_view text) const { return painted("2", text); }
    std::string bold(std::string_view text) const { return painted("1", text); }
    std::string alarm(std::string_view text) const { return painted("1;31", text); }
    /// A name in its colour, which is always the same one. Red is for alarms.
    std::string name(std::string_view text, bool own = false) const {
        constexpr std::array<std::string_view, 9> colours = {"32", "33", "35", "36", "92", "93", "94", "95", "96"};
        std::uint32_t hash = 2166136261U;  // FNV-1a
        for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
        return painted(own ? "1" : colours[hash % colours.size()], printable(text));
    }

private:
    std::string painted(std::string_view code, std::string_view text) const {
        if (!on_) return std::string(text);
        return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
    }

    bool on_;
};

/// "14:03" where the machine is; with the day where that is not today.
inline std::string clock_text(std::int64_t time_ms, std::int64_t now_ms) {
    const auto local = [](std::int64_t ms) {
        // Whatever the author's clock says, the year has four digits.
        constexpr std::int64_t last = 253402300799;
        const std::time_t seconds = static_cast<std::time_t>(std::clamp<std::int64_t>(ms / 1000, 0, last - 86400));
        std::tm out{};
        ::localtime_r(&seconds, &out);
        return out;
    };
    const std::tm time = local(time_ms), now = local(now_ms);
    const bool today = time.tm_year == now.tm_year && time.tm_yday == now.tm_yday;
    char text[32];
    std::strftime(text, sizeof text, today ? "%H:%M" : "%Y-%m-%d %H:%M", &time);
    return text;
}

/// How far an own message has come, for people. Before it is anywhere: nothing to see but that it waits.
inline std::string_view mark_of(delivery state) {
    switch (state) {
    case delivery::kept: return "waiting";
    case delivery::sent: return "✓";
    case delivery::delivered: return "✓✓";
    case delivery::read: return "✓✓ read";
    }
    return "";
}

namespace detail {

/// Cut into rows of at most `columns`, the first of at most `first`, between words where there are any.
inline void append_rows(std::vector<std::string>& out, std::string_view text, std::size_t first, std::size_t columns) {
    std::size_t room = first, used = 0, row = 0, space = std::string_view::npos;
    for (std::size_t at = 0; at < text.size();) {
        std::string_view rest = text.substr(at);
        const char32_t c = take_code_point(rest).value_or('?');
        const std::size_t width = columns_of(c);
        if (c == ' ') space = at;
        if (used + width > room && at > row) {
            const bool between_words = space != std::string_view::npos;
            out.emplace_back(text.substr(row, (between_words ? space : at) - row));
            row = between_words ? space + 1 : at;
            used = at > row ? display_width(text.substr(row, at - row)) : 0;
            room = columns;
            space = std::string_view::npos;
            at = std::max(at, row);
            continue;
        }
        used += width;
        at = text.size() - rest.size();
    }
    out.emplace_back(text.substr(row));
}

}  // namespace detail

/// A text of several lines behind `head`, which takes `head_width` columns: all lines but the first begin with a bar,
/// so that none passes for a line of its own. With `columns` no line is longer. Of very many lines the first are shown.
inline std::string lines_behind(const std::string& head, std::size_t head_width, std::string_view text,
                                std::size_t columns = 0) {
    constexpr std::size_t most_lines = 100, least_room = 10;
    constexpr std::string_view bar = "      | ";
    const bool bounded = columns > head_width + least_room && columns > bar.size() + least_room;
    const std::size_t space = bounded ? columns - 1 : text.size() * 4 + head_width + bar.size();
    std::string spaced;
    for (const char c : text) spaced += c == '\t' ? std::string(4, ' ') : std::string(1, c);

    std::vector<std::string> rows;
    std::size_t lines = 0;
    for (std::size_t at = 0; at <= spaced.size(); ++lines) {
        const std::size_t end = std::min(spaced.find('\n', at), spaced.size());
        const std::string line = printable(std::string_view(spaced).substr(at, end - at));
        const std::size_t rest = space - bar.size();
        if (lines < most_lines) detail::append_rows(rows, line, lines == 0 ? space - head_width : rest, rest);
        at = end + 1;
    }
    std::string out = head;
    for (std::size_t i = 0; i < rows.size(); ++i) out += (i == 0 ? "" : std::string(bar)) + rows[i] + "\n";
    if (lines > most_lines) out += std::string(bar) + "(" + std::to_string(lines - most_lines) + " more lines)\n";
    return out;
}

/// "14:03 bob: hello", "14:03 #lobby bob: hello"; of our own "14:03 alice → bob: hello". With `mark` own messages say
/// how far they have come.
inline std::string message_text(const shown_message& what, const painter& paint, std::int64_t now_ms,
                                std::size_t columns = 0, bool mark = false) {
    const bool room = what.with.starts_with('#');
    const std::string time = clock_text(what.time_ms, now_ms);
    const std::string with = printable(what.with), from = printable(what.from);
    std::string head = paint.dim(time) + " ";
    std::string plain = time + " ";
    if (room) {
        head += paint.dim(with) + " ";
        plain += with + " ";
    }
    head += paint.name(from, what.own);
    plain += from;
    if (what.own && !room) {
        head += paint.dim(" → ") + paint.name(with);
        plain += " → " + with;
    }
    std::string out = lines_behind(head + ": ", display_width(plain) + 2, what.text, columns);
    if (mark && what.own) out.insert(out.size() - 1, paint.dim("  (" + std::string(mark_of(what.state)) + ")"));
    return out;
}

/// What cannot be overlooked: somebody may be pretending to be somebody else.
inline std::string identity_alarm(const chat_event::identity_changed& what, const painter& paint) {
    const std::string name = printable(what.name);
    const auto grouped = [](const std::string& hex) {
        std::string out;
        for (std::size_t i = 0; i < hex.size(); ++i) {
            if (i > 0 && i % 8 == 0) out += ' ';
            out += hex[i];
        }
        return out;
    };
    const std::array lines = {
        std::string("!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"),
        "!! WARNING: " + name + " CAME WITH ANOTHER KEY",
        std::string("!! It is somebody else under that name, or the same person on a new machine."),
        "!! Known: " + grouped(what.known.hex()),
        "!! Now:   " + grouped(what.claimed.hex()),
        std::string("!! No link was made and nothing is sent. Ask the person in another way. Only if the"),
        "!! new key is right: /forget " + name + ", then /connect " + name + ", and compare with /verify " + name,
        std::string("!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"),
    };
    std::string out;
    for (const std::string& line : lines) out += paint.alarm(line) + "\n";
    return out;
}

/// The answer to /peers.
inline std::string peers_text(const std::vector<chat_peer>& peers, const painter& paint) {
    if (peers.empty()) return "nobody is known yet\n";
    std::size_t widest = 0;
    for (const chat_peer& one : peers)
        widest = std::max(widest, std::min<std::size_t>(display_width(printable(one.name)), 32));
    std::string out;
    for (const chat_peer& one : peers) {
        const std::size_t width = display_width(printable(one.name));
        std::string line = "  " + paint.name(one.name) + std::string(widest - std::min(widest, width), ' ');
        line += one.connected ? "  connected" : one.online ? "  online" : "  offline";
        if (!one.presence.empty() && one.presence != "online") line += ", " + printable(one.presence);
        line += one.verified ? ", verified" : one.key ? ", not verified" : "";
        if (one.address) line += paint.dim("  " + one.address->to_string());
        out += line + "\n";
    }
    return out;
}

/// The answer to /rooms.
inline std::string rooms_text(const std::vector<chat_room_info>& rooms) {
    if (rooms.empty()) return "you are in no room; /join one\n";
    std::string out;
    for (const chat_room_info& one : rooms) {
        out += "  " + printable(one.name) + ": ";
        for (std::size_t i = 0; i < one.members.size(); ++i) out += (i == 0 ? "" : ", ") + printable(one.members[i]);
        out += " (" + std::to_string(one.connected) + " connected)\n";
    }
    return out;
}

/// The answer to /verify.
inline std::string safety_number_text(std::string_view name, std::string_view number, const painter& paint) {
    const std::string who = printable(name);
    return "  " + paint.bold(printable(number)) + "\n  Compare it with what " + who +
           " sees, not through this chat. The same? Then /verify " + who + " yes\n";
}

}  // namespace cohort::examples
