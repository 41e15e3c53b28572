// What Tab makes of a line in a chat: commands, names, rooms, and files on this machine.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "chat_commands.hpp"
#include "line_editor.hpp"

namespace cohort::examples {

/// The names that may be meant.
struct chat_names {
    std::vector<std::string> peers;  ///< "bob"
    std::vector<std::string> rooms;  ///< "#lobby", those that we are in
};

/// "~/x" as the shell understands it.
inline std::string expand_home(std::string_view path) {
    const char* const home = std::getenv("HOME");
    const bool ours = path == "~" || path.starts_with("~/");
    return ours && home != nullptr ? std::string(home) + std::string(path.substr(1)) : std::string(path);
}

/// What `typed_path` may go on to, in the same form: folders with '/' at the end. Hidden ones only if asked for.
inline std::vector<std::string> matching_files(std::string_view typed_path) {
    constexpr std::size_t most = 1000;
    std::vector<std::string> out;
    if (typed_path == "~") return {"~/"};
    const std::size_t slash = typed_path.rfind('/');
    const std::string_view folder = slash == std::string_view::npos ? "" : typed_path.substr(0, slash + 1);
    const std::string_view begun = typed_path.substr(folder.size());
    std::error_code failure;
    const std::string searched = folder.empty() ? "." : expand_home(folder);
    for (std::filesystem::directory_iterator at(searched, failure), end; !failure && at != end; at.increment(failure)) {
        std::string name = at->path().filename().string();
        if (!name.starts_with(begun) || (name.starts_with('.') && !begun.starts_with('.'))) continue;
        std::error_code ignored;
        if (at->is_directory(ignored)) name += '/';
        out.push_back(std::string(folder) + name);
        if (out.size() == most) break;
    }
    std::sort(out.begin(), out.end());
    return out;
}

namespace detail {

/// Where the last word of `text` begins, and how many are before it. Quotes hide spaces.
inline std::pair<std::size_t, std::size_t> last_word(std::string_view text) {
    std::size_t begin = 0, before = 0;
    char quote = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\\' && quote != '\'') {
            ++i;
        } else if (quote != 0 || c == '"' || c == '\'') {
            quote = quote == c ? char{0} : quote == 0 ? c : quote;
        } else if (c == ' ') {
            if (i > begin) ++before;
            begin = i + 1;
        }
    }
    return {begin, before};
}

/// The word as split_words() would read it, whether its quote is closed or not.
inline std::string unquoted_word(std::string_view word) {
    std::string text(word);
    for (const char* const closing : {"", "\"", "'"}) {
        const auto words = split_words(text + closing);
        if (words) return words->empty() ? std::string() : words->front();
    }
    return text;
}

}  // namespace detail

/// The candidates for a line that is typed up to here. `files` is asked for names of files.
inline completion complete_chat_line(std::string_view before, const chat_names& names,
                                     const std::function<std::vector<std::string>(std::string_view)>& files) {
    completion out;
    const auto [begin, count] = detail::last_word(before);
    out.from = begin;
    const std::string_view word = before.substr(begin);
    const auto offer = [&out, word](const std::vector<std::string>& all, const std::string& front,
                                    const std::string& behind) {
        for (const std::string& one : all) {
            const std::string whole = front + detail::quoted_word(one);
            if (whole.starts_with(word)) out.candidates.push_back(whole + behind);
        }
    };
    const auto offer_files = [&] {
        for (const std::string& path : files(detail::unquoted_word(word))) {
            out.candidates.push_back(detail::quoted_word(path) + (path.ends_with('/') ? "" : " "));
        }
    };
    const auto offer_commands = [&](const std::string& front) {
        for (const chat_command_info& one : chat_command_table) {
            offer({std::string(one.name)}, front, one.arguments.empty() ? "" : " ");
        }
    };

    if (before.starts_with("//") || before.empty()) return out;
    if (before.starts_with('/') && begin == 0) {
        offer_commands("/");
    } else if (before.starts_with('/')) {
        const chat_command_info* const info = find_chat_command(detail::first_word(before.substr(1)).first);
        if (info == nullptr || count == 0 || count > info->words.size()) return out;
        const std::string at = word.starts_with('@') ? "@" : "";
        switch (info->words[count - 1]) {
        case chat_argument::nothing: break;
        case chat_argument::peer: offer(names.peers, at, " "); break;
        case chat_argument::room:
        case chat_argument::joined_room:
            offer(names.rooms, "", "");
            if (!word.starts_with('#')) {
                for (const std::string& room : names.rooms) offer({room.substr(1)}, "", "");
            }
            break;
        case chat_argument::conversation:
            offer(names.peers, at, " ");
            offer(names.rooms, at, " ");
            break;
        case chat_argument::receiver_or_file:
            offer(names.peers, at, " ");
            offer_files();
            break;
        case chat_argument::file: offer_files(); break;
        case chat_argument::command: offer_commands(word.starts_with('/') ? "/" : ""); break;
        }
    } else if (before.starts_with('@') && begin == 0) {
        offer(names.peers, "@", " ");
        offer(names.rooms, "@", " ");
    } else if (!word.empty()) {
        offer(names.peers, "", begin == 0 ? ": " : " ");  // somebody is spoken to, or of
    }
    return out;
}

}  // namespace cohort::examples
