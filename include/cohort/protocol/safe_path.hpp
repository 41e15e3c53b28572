// File names from strangers, made fit for any file system: what comes out cannot leave its folder, cannot deceive the
// eye by reversing text, and names one file only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/core/ascii.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort {

/// The longest name, in bytes, that common file systems take.
inline constexpr std::size_t max_component_size = 255;

/// One folder or file name made safe; a name that is safe already comes back unchanged. The result is never empty, "."
/// or "..", is valid UTF-8 of at most 255 bytes, and has no separator of any system, no control character and none that
/// changes the direction of text or hides. What may not stay becomes '_'. Device names of Windows ("nul", "com1.txt")
/// get a '_' in front, a dot or space at the end becomes '_'. Shortening keeps the extension.
std::string safe_component(std::string_view raw);

/// A path that must change: the element of the input that it replaces, and what it becomes.
struct new_path {
    std::size_t index = 0;
    std::string path;
};

/// What must change so that '/'-separated paths of files are distinct, in the order of the input: of equal ones the
/// first stays, and a file that has the name of another's folder gives way. Who gives way gets a number before the
/// extension ("a.txt", "a.1.txt"). Only last components change; the result depends on the paths and their order alone.
/// Costs O(n log n) whatever the names.
std::vector<new_path> distinct_paths(std::span<const std::string* const> paths);

/// Control characters, and characters that reorder text, break lines or are not seen (joiners and emoji's variation
/// selectors stay: without them scripts and emoji are others).
constexpr bool is_deceptive(char32_t c) {
    constexpr std::pair<char32_t, char32_t> ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x034f, 0x034f}, {0x061c, 0x061c},   {0x115f, 0x1160},
        {0x17b4, 0x17b5}, {0x180b, 0x180f}, {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
        {0x3164, 0x3164}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (const auto& [first, last] : ranges) {
        if (c >= first && c <= last) return true;
    }
    return false;
}

namespace detail {

/// In a name: what is_deceptive(), and separators.
constexpr bool is_unsafe(char32_t c) { return c == '/' || c == '\\' || is_deceptive(c); }

/// Whether Windows takes the name for a device: it looks at what stands before the first dot, without spaces.
inline bool is_device_name(std::string_view name) {
    name = name.substr(0, name.find('.'));
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    for (const std::string_view device : {"con", "prn", "aux", "nul", "clock$", "conin$", "conout$"}) {
        if (equal_ignoring_case(name, device)) return true;
    }
    const std::string_view port = name.substr(0, 3);
    if (name.size() < 4 || !(equal_ignoring_case(port, "com") || equal_ignoring_case(port, "lpt"))) return false;
    const std::string_view number = name.substr(3);
    const bool digit = number.size() == 1 && number[0] >= '0' && number[0] <= '9';
    return digit || number == "\u00b9" || number == "\u00b2" || number == "\u00b3";  // superscripts count as digits
}

/// Where the extension begins, its dot included; the end of the name if it has none. A dot in front is no extension,
/// nor is anything long.
inline std::size_t extension_of(std::string_view name) {
    constexpr std::size_t longest = 16;
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos || dot == 0 || name.size() - dot > longest) return name.size();
    return dot;
}

/// The longest prefix of at most `size` bytes that does not cut a code point.
inline std::string_view utf8_prefix(std::string_view text, std::size_t size) {
    if (text.size() <= size) return text;
    while (size > 0 && (static_cast<std::uint8_t>(text[size]) & 0xc0) == 0x80) --size;
    return text.substr(0, size);
}

/// Orders paths so that a file directly precedes everything below a folder of the same name.
inline bool path_less(std::string_view a, std::string_view b) {
    const auto [at_a, at_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    if (at_a == a.end() || at_b == b.end()) return a.size() < b.size();
    if (*at_a == '/' || *at_b == '/') return *at_a == '/';
    return static_cast<std::uint8_t>(*at_a) < static_cast<std::uint8_t>(*at_b);
}

inline bool is_below(std::string_view path, std::string_view folder) {
    return path.size() > folder.size() && path[folder.size()] == '/' && path.starts_with(folder);
}

}  // namespace detail

inline std::string safe_component(std::string_view raw) {
    if (raw == "." || raw == "..") return "_";
    std::string out;
    bool in_run = false;
    while (!raw.empty()) {
        const std::string_view before = raw;
        const auto c = take_code_point(raw);
        if (c && !detail::is_unsafe(*c)) {
            out += before.substr(0, before.size() - raw.size());
        } else if (c || !in_run) {
            out += '_';
        }
        in_run = !c;
    }
    if (out.empty()) return "_";
    if (out.size() >= 2 && out[1] == ':' && is_ascii_letter(out[0])) out[1] = '_';  // a drive
    if (detail::is_device_name(out)) out.insert(out.begin(), '_');
    if (out.size() > max_component_size) {
        const std::string extension = out.substr(detail::extension_of(out));
        out = detail::utf8_prefix(out, max_component_size - extension.size());
        out += extension;
        if (detail::is_device_name(out)) out.front() = '_';
    }
    if (out.back() == '.' || out.back() == ' ') out.back() = '_';
    return out;
}

inline std::vector<new_path> distinct_paths(std::span<const std::string* const> paths) {
    std::vector<std::uint32_t> order(paths.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        if (*paths[a] == *paths[b]) return a < b;
        return detail::path_less(*paths[a], *paths[b]);
    });

    // `order` keeps the paths that stay. Every folder has one of them below it, so they alone tell what is taken.
    std::vector<std::uint32_t> moving;
    std::size_t kept = 0;
    for (std::size_t i = 0, next = 0; i < order.size(); i = next) {
        const std::string& path = *paths[order[i]];
        while (next < order.size() && *paths[order[next]] == path) ++next;
        const bool folder = next < order.size() && detail::is_below(*paths[order[next]], path);
        if (!folder) order[kept++] = order[i++];
        while (i < next) moving.push_back(order[i++]);
    }
    order.resize(kept);
    std::sort(moving.begin(), moving.end());

    const auto less = [&](std::uint32_t index, const std::string& path) {
        return detail::path_less(*paths[index], path);
    };
    std::vector<new_path> out;
    out.reserve(moving.size());
    std::set<std::string_view> given;  // views of `out`, whose elements do not move
    const auto taken = [&](const std::string& path) {
        if (given.contains(path)) return true;
        const auto at = std::lower_bound(order.begin(), order.end(), path, less);
        return at != order.end() && (*paths[*at] == path || detail::is_below(*paths[*at], path));
    };
    // Numbers go on where they stopped for the same stem and extension: a name is not tried again and again.
    std::map<std::pair<std::string_view, std::string_view>, std::uint32_t> last_number;
    for (const std::uint32_t index : moving) {
        const std::string_view path = *paths[index];
        const std::string_view name = path.substr(path.rfind('/') + 1);
        const std::string_view extension = name.substr(detail::extension_of(name));
        constexpr std::size_t number_size = 11;  // a dot and ten digits
        const std::string_view stem = detail::utf8_prefix(name.substr(0, name.size() - extension.size()),
                                                          max_component_size - extension.size() - number_size);
        const std::string_view front = path.substr(0, path.size() - name.size() + stem.size());
        std::uint32_t& number = last_number[{front, extension}];
        std::string fresh;
        do {
            fresh = front;
            fresh.append(".").append(std::to_string(++number)).append(extension);
            const std::size_t begin = path.size() - name.size();
            if (detail::is_device_name(std::string_view(fresh).substr(begin))) fresh[begin] = '_';
        } while (taken(fresh));
        out.push_back({index, std::move(fresh)});
        given.insert(out.back().path);
    }
    return out;
}

}  // namespace cohort
