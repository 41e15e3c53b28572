// What people type in a chat: "/connect bob", "@bob hello", or words for whoever they are talking with.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/number.hpp>

#include "line_editor.hpp"
#include "terminal.hpp"

namespace cohort::examples {

/// One struct a command. A `with` or `to` is a conversation: "bob", or a room with '#' before it; empty is the one that
/// people are in.
namespace chat_command {

struct nothing {};
struct say {
    std::string to;
    std::string text;
    bool turn = false;  ///< go on with them: "@bob hello"
};
struct turn_to {
    std::string with;
};
struct connect {
    std::string name;
};
struct peers {};
struct rooms {};
struct join {
    std::string room;
};
struct leave {
    std::string room;
};
struct history {
    std::string with;
    std::optional<std::size_t> count;
    std::string before;  ///< a message's id, from scripts; empty: go on where the last one ended
    bool again = true;   ///< asked twice, it goes further back; scripts say `before` instead
};
struct send_file {
    std::string to;
    std::string path;
};
struct accept {
    std::optional<std::size_t> offer;  ///< the number that was shown; nothing for the newest
    std::string directory;
    std::string with, id;  ///< from scripts, instead of the number
};
struct refuse {
    std::optional<std::size_t> offer;
    std::string with, id;
};
struct verify {
    std::string name;
    bool confirmed = false;  ///< the numbers were compared and are the same
};
struct forget {
    std::string name;
};
struct presence {
    std::string state;
};
struct read {
    std::string with;
};
struct typing {
    std::string to;
    bool on = false;
};
struct help {
    std::string topic;
};
struct quit {};

}  // namespace chat_command

using any_chat_command =
    std::variant<chat_command::nothing, chat_command::say, chat_command::turn_to, chat_command::connect,
                 chat_command::peers, chat_command::rooms, chat_command::join, chat_command::leave,
                 chat_command::history, chat_command::send_file, chat_command::accept, chat_command::refuse,
                 chat_command::verify, chat_command::forget, chat_command::presence, chat_command::read,
                 chat_command::typing, chat_command::help, chat_command::quit>;

/// What a word of a command is, for completion.
enum class chat_argument { nothing, peer, room, joined_room, conversation, receiver_or_file, file, command };

struct chat_command_info {
    std::string_view name, shorter, arguments, about;
    std::array<chat_argument, 2> words{};
};

inline constexpr std::array chat_command_table = {
    chat_command_info{"connect", "c", "NAME", "link to somebody and talk with them", {chat_argument::peer}},
    chat_command_info{
        "msg", "m", "WHO TEXT", "say something to a peer or #room, and stay here", {chat_argument::conversation}},
    chat_command_info{"peers", "p", "", "who is there", {}},
    chat_command_info{"rooms", "", "", "the rooms that you are in, and their members", {}},
    chat_command_info{"join", "j", "ROOM", "enter a room and talk there", {chat_argument::room}},
    chat_command_info{"leave", "", "[ROOM]", "leave a room, by default this one", {chat_argument::joined_room}},
    chat_command_info{"history",
                      "h",
                      "[WHO] [COUNT]",
                      "what was said; again for what was said before that",
                      {chat_argument::conversation}},
    chat_command_info{"send", "", "[WHO] FILE", "offer a file", {chat_argument::receiver_or_file, chat_argument::file}},
    chat_command_info{"accept",
                      "a",
                      "[NUMBER] [FOLDER]",
                      "fetch an offered file, by default the newest",
                      {chat_argument::file, chat_argument::file}},
    chat_command_info{"refuse", "", "[NUMBER]", "turn an offered file down", {}},
    chat_command_info{
        "verify", "", "NAME [yes]", "the safety number to compare; yes: it was the same", {chat_argument::peer}},
    chat_command_info{
        "forget", "", "NAME", "forget somebody's key, and take the next one that comes", {chat_argument::peer}},
    chat_command_info{"away", "", "[TEXT]", "tell the others that you are away", {}},
    chat_command_info{"back", "", "", "tell the others that you are here again", {}},
    chat_command_info{
        "read", "", "[WHO]", "tell others that you saw it (automatic on a terminal)", {chat_argument::conversation}},
    chat_command_info{"help", "?", "[COMMAND]", "this", {chat_argument::command}},
    chat_command_info{"quit", "q", "", "leave (or Ctrl-D)", {}},
};

inline const chat_command_info* find_chat_command(std::string_view name) {
    const auto* const found =
        std::find_if(chat_command_table.begin(), chat_command_table.end(), [name](const chat_command_info& one) {
            return one.name == name || (!one.shorter.empty() && one.shorter == name);
        });
    return found == chat_command_table.end() ? nullptr : found;
}

/// Lines for /help, or /help COMMAND.
inline std::string chat_help(std::string_view topic = {}) {
    std::string out;
    const chat_command_info* const only = topic.empty() ? nullptr : find_chat_command(topic);
    for (const chat_command_info& one : chat_command_table) {
        if (only != nullptr && only != &one) continue;
        std::string usage = "/" + std::string(one.name);
        if (!one.arguments.empty()) usage += " " + std::string(one.arguments);
        out += "  " + fit(usage, 26) + " " + std::string(one.about);
        if (!one.shorter.empty()) out += " (/" + std::string(one.shorter) + ")";
        out += '\n';
    }
    if (only != nullptr) return out;
    return out + "  " + fit("@NAME [TEXT]", 26) + " talk with somebody, or in @#ROOM, from now on\n" + "  " +
           fit("TEXT", 26) + " to whom you talk with; //TEXT if it begins with a /\n";
}

namespace detail {

inline std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// The first word, and what follows the white space behind it.
inline std::pair<std::string_view, std::string_view> first_word(std::string_view text) {
    text = trimmed(text);
    const std::size_t end = std::min(text.find_first_of(" \t\r\n"), text.size());
    return {text.substr(0, end), trimmed(text.substr(end))};
}

/// Words with quotes and backslashes as a shell takes them, so that names of files may have spaces. Nothing where a
/// quote is not closed.
inline std::optional<std::vector<std::string>> split_words(std::string_view text) {
    std::vector<std::string> out;
    char quote = 0;
    bool inside = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if (quote == 0 && space) {
            inside = false;
            continue;
        }
        if (!std::exchange(inside, true)) out.emplace_back();
        if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
            out.back() += text[++i];
        } else if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
        } else if (c == quote) {
            quote = 0;
        } else {
            out.back() += c;
        }
    }
    if (quote != 0) return std::nullopt;
    return out;
}

/// The name at the front of a line of free text, and what follows it. A name with spaces has quotes around it, or a
/// backslash before each space; elsewhere quotes are letters: O'Neill.
inline std::pair<std::string, std::string_view> first_name(std::string_view text) {
    text = trimmed(text);
    const bool quoted = text.starts_with('"') && text.find('"', 1) != std::string_view::npos;
    std::string name;
    std::size_t at = quoted ? 1 : 0;
    for (; at < text.size(); ++at) {
        const bool escaped = text[at] == '\\' && at + 1 < text.size();
        const bool space = text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r';
        if (!escaped && (quoted ? text[at] == '"' : space)) break;
        name += escaped ? text[++at] : text[at];
    }
    if (quoted) ++at;
    return {name, trimmed(text.substr(std::min(at, text.size())))};
}

/// `path` as one word for split_words().
inline std::string quoted_word(std::string_view path) {
    std::string out;
    for (const char c : path) {
        if (c == ' ' || c == '\\' || c == '"' || c == '\'') out += '\\';
        out += c;
    }
    return out;
}

/// How many letters must be added, dropped, changed or swapped with their neighbour.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) {
        for (std::size_t j = 0; j <= b.size(); ++j) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            const std::size_t changed = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, changed});
            const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a.size()][b.size()];
}

inline std::string no_such_command(std::string_view name) {
    std::string out = "/" + printable(name.substr(0, 40)) + ": no such command; ";
    const chat_command_info* nearest = nullptr;
    std::size_t distance = 3;  // from here on it is a guess in the dark
    for (const chat_command_info& one : chat_command_table) {
        const bool begun = name.size() >= 2 && one.name.starts_with(name);
        const std::size_t here = begun ? 0 : edit_distance(name.substr(0, 40), one.name);
        if (here < std::min(distance, one.name.size())) nearest = &one, distance = here;
    }
    return out + (nearest ? "did you mean /" + std::string(nearest->name) + "?" : std::string("see /help"));
}

inline std::optional<std::size_t> whole_number(std::string_view text) {
    std::size_t value = 0;
    if (!parse_number(text, value)) return std::nullopt;
    return value;
}

/// "@bob" and "bob" are the same to who types them.
inline std::string without_at(std::string_view name) {
    if (name.starts_with('@')) name.remove_prefix(1);
    return std::string(name);
}

inline std::string room_name(std::string_view name) {
    std::string out = without_at(name);
    return out.empty() || out.starts_with('#') ? out : "#" + out;
}

/// The command with this name and these words; `rest` is the text behind the name as it was typed. Nothing, and what is
/// wrong in `error`, where they do not fit.
inline std::optional<any_chat_command> make_command(std::string_view name, std::string_view rest,
                                                    const std::vector<std::string>& words, std::string& error) {
    const auto word = [&words](std::size_t i) { return i < words.size() ? words[i] : std::string(); };
    const std::size_t count = words.size();
    if (name == "msg") {
        const auto [who, text] = first_name(rest.substr(rest.starts_with('@') ? 1 : 0));
        if (!text.empty()) return chat_command::say{who, std::string(text)};
    } else if (name == "connect") {
        if (count == 1) return chat_command::connect{without_at(word(0))};
    } else if (name == "peers") {
        if (count == 0) return chat_command::peers{};
    } else if (name == "rooms") {
        if (count == 0) return chat_command::rooms{};
    } else if (name == "join") {
        if (count == 1) return chat_command::join{room_name(word(0))};
    } else if (name == "leave") {
        if (count <= 1) return chat_command::leave{room_name(word(0))};
    } else if (name == "history") {
        const std::optional<std::size_t> last = whole_number(count == 0 ? "" : words.back());
        if (count <= (last ? 2U : 1U)) {
            return chat_command::history{count > (last ? 1U : 0U) ? without_at(word(0)) : "", last, {}};
        }
    } else if (name == "send") {
        if (count == 1) return chat_command::send_file{"", word(0)};
        if (count == 2) return chat_command::send_file{without_at(word(0)), word(1)};
        if (count > 2) error = "/send: a file name with spaces needs quotes around it";
    } else if (name == "accept") {
        const std::optional<std::size_t> offer = whole_number(word(0));
        if (count <= (offer ? 2U : 1U)) return chat_command::accept{offer, word(offer ? 1 : 0), {}, {}};
    } else if (name == "refuse") {
        const std::optional<std::size_t> offer = whole_number(word(0));
        if (count == (offer ? 1U : 0U)) return chat_command::refuse{offer, {}, {}};
    } else if (name == "verify") {
        const bool confirmed = word(1) == "yes";
        if (count == (confirmed ? 2U : 1U)) return chat_command::verify{without_at(word(0)), confirmed};
    } else if (name == "forget") {
        if (count == 1) return chat_command::forget{without_at(word(0))};
    } else if (name == "away") {
        return chat_command::presence{rest.empty() ? "away" : std::string(rest)};
    } else if (name == "back") {
        if (count == 0) return chat_command::presence{"online"};
    } else if (name == "read") {
        if (count <= 1) return chat_command::read{without_at(word(0))};
    } else if (name == "help") {
        std::string topic = word(0);
        if (topic.starts_with('/')) topic.erase(0, 1);
        if (!topic.empty() && find_chat_command(topic) == nullptr) error = no_such_command(topic);
        if (count <= 1 && error.empty()) return chat_command::help{topic};
    } else if (name == "quit") {
        if (count == 0) return chat_command::quit{};
    }
    return std::nullopt;
}

}  // namespace detail

/// What one typed line means; a text may have line ends in it. Nothing, and one line for people in `error`, where it
/// cannot be understood.
inline std::optional<any_chat_command> parse_chat_line(std::string_view line, std::string& error) {
    error.clear();
    const std::string_view text = detail::trimmed(line);
    if (text.empty()) return chat_command::nothing{};
    if (text.starts_with("//")) return chat_command::say{"", std::string(text.substr(1))};
    if (text.starts_with('@') && text.size() > 1) {
        const auto [who, what] = detail::first_name(text.substr(1));
        if (what.empty()) return chat_command::turn_to{who};
        return chat_command::say{who, std::string(what), true};
    }
    if (!text.starts_with('/')) {
        // What is in front of the words may be meant, in a line of code for one.
        return chat_command::say{"", std::string(line.substr(0, line.find_last_not_of(" \t\r\n") + 1))};
    }

    const auto [name, rest] = detail::first_word(text.substr(1));
    const chat_command_info* const info = find_chat_command(name);
    if (info == nullptr) {
        error = detail::no_such_command(name);
        return std::nullopt;
    }
    // Quotes mean something in names of files only: people write don't.
    const bool free_text = info->name == "msg" || info->name == "away";
    const auto words = free_text ? std::vector<std::string>() : detail::split_words(rest);
    const std::string usage =
        "/" + std::string(info->name) + (info->arguments.empty() ? "" : " ") + std::string(info->arguments);
    if (!words) {
        error = "/" + std::string(info->name) + ": a quote is not closed";
        return std::nullopt;
    }
    auto out = detail::make_command(info->name, rest, *words, error);
    if (!out && error.empty()) error = "/" + std::string(info->name) + ": usage: " + usage;
    return out;
}

}  // namespace cohort::examples
