// What a .torrent file says (BEP 3, 5, 12, 19, 27, 47), checked so thoroughly that the rest of the library can rely on
// every number and name in it. Of hybrid torrents (BEP 52) the version 1 half is read.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/protocol/bencode.hpp>
#include <cohort/protocol/safe_path.hpp>

namespace cohort {

/// The most pieces a torrent may have: 40 MB of hashes.
inline constexpr std::uint32_t max_piece_count = 2'000'000;
/// The longest piece we load.
inline constexpr std::uint32_t max_piece_length = 512 * 1024 * 1024;

/// One file of a torrent.
struct file_entry {
    /// Where it is kept: a safe, relative, '/'-separated path in UTF-8 that no other file of the torrent has. In a
    /// multi-file torrent the first component is the torrent's name.
    std::string path;
    std::uint64_t length = 0;  ///< bytes
    std::uint64_t offset = 0;  ///< where its first byte stands in the torrent
    bool pad = false;          ///< BEP 47: only zeros that align what follows; never on disk
    /// Where the author's own copy may be, if not at `path`: what the torrent says, below the same first
    /// component. Empty if it is `path` or has components that no file can have or that lead elsewhere (".."). Only for
    /// reading what exists; may be any bytes.
    std::string author_path = {};
};

/// A torrent. Invariants: files follow one another without gaps from 0 to total_size; piece_hashes has
/// layout().piece_count() elements.
struct metainfo {
    info_hash hash;
    std::string name;  ///< safe; the file's or folder's own name
    std::uint32_t piece_length = block_size;
    std::uint64_t total_size = 0;  ///< pad files included
    std::vector<file_entry> files;
    bool multi_file = false;  ///< the content is a folder
    std::vector<sha1_digest> piece_hashes;
    bool is_private = false;                                   ///< BEP 27: peers from trackers only
    std::vector<std::vector<std::string>> trackers;            ///< tiers (BEP 12), or `announce` as the only one
    std::vector<std::string> url_list;                         ///< web seeds as written (BEP 19)
    std::vector<std::pair<std::string, std::uint16_t>> nodes;  ///< DHT nodes, host and port (BEP 5)
    std::string comment;
    std::string created_by;
    std::int64_t creation_date = 0;  ///< as written: seconds since 1970, by BEP 3; 0 if absent
    byte_vector info;                ///< the raw info dictionary, whose SHA-1 is `hash`

    piece_layout layout() const { return {total_size, piece_length}; }
};

/// A .torrent file's contents. Bytes after the outer dictionary are ignored. Fails with an errc of bencode or metainfo.
std::optional<metainfo> parse_metainfo(byte_view torrent, std::error_code& ec);

/// The info dictionary alone, as peers send it (BEP 9): everything but trackers, url_list, nodes, comment, created_by
/// and creation_date. Fails as parse_metainfo does.
std::optional<metainfo> parse_info(byte_view info_dict, std::error_code& ec);

namespace detail {

/// A string of a dictionary, preferring the ".utf-8" variant that clients write beside one in another encoding.
inline std::optional<std::string_view> utf8_text(bencode::node dict, std::string_view key) {
    const auto variant = dict[std::string(key) + ".utf-8"].text();
    return variant && is_utf8(*variant) ? variant : dict[key].text();
}

/// Reads an info dictionary into `out`.
class info_reader {
public:
    info_reader(bencode::node info, metainfo& out) : info_(info), out_(out) {}

    errc read() {
        const auto name = utf8_text(info_, "name");
        const auto piece_length = info_["piece length"].integer();
        const auto pieces = info_["pieces"].text();
        if (!pieces && info_["file tree"].is_dict()) return errc::metainfo_unsupported;
        if (!name || !piece_length || !pieces) return errc::metainfo_missing;
        if (*piece_length < 1 || *piece_length > max_piece_length) return errc::metainfo_invalid;
        if (name->find('\0') != name->npos)
            return errc::metainfo_invalid;  // no file had that name: the torrent is broken
        out_.piece_length = static_cast<std::uint32_t>(*piece_length);
        out_.info.assign(info_.raw().begin(), info_.raw().end());
        out_.hash.bytes = sha1_of(out_.info).bytes;
        out_.is_private = info_["private"].integer().value_or(0) != 0;
        // A name of which nothing is left would be the same for all such torrents.
        out_.name = name->empty() || *name == "." || *name == ".." ? out_.hash.hex() : safe_component(*name);

        const errc failure = read_files();
        if (failure != errc{}) return failure;
        resolve_names();
        return read_pieces(as_bytes(*pieces));
    }

private:
    static constexpr std::uint64_t max_total = std::uint64_t{max_piece_count} * max_piece_length;
    static constexpr std::size_t max_path = 4096;               // no system opens a longer one
    static constexpr std::size_t max_paths = 32 * 1024 * 1024;  // of all files together
    using components = std::vector<std::string_view>;

    errc read_files() {
        if (const bencode::node files = info_["files"]; files.is_list()) {
            out_.multi_file = true;
            for (const bencode::node file : files) {
                if (const errc failure = read_file(file); failure != errc{}) return failure;
            }
        } else if (const bencode::node length = info_["length"]) {
            const auto bytes = length.integer();
            if (!bytes) return errc::metainfo_missing;
            return add_file({}, *bytes, false);
        } else if (const bencode::node tree = info_["file tree"]; tree.is_dict()) {
            if (const errc failure = read_tree(tree); failure != errc{}) return failure;
        }
        return out_.files.empty() ? errc::metainfo_missing : errc{};
    }

    errc read_file(bencode::node file) {
        const auto length = file["length"].integer();
        bencode::node path = file["path.utf-8"];
        if (!path.is_list()) path = file["path"];
        if (!length || !path.is_list()) return errc::metainfo_missing;
        path_.clear();
        for (const bencode::node component : path) {
            const auto text = component.text();
            if (!text) return errc::metainfo_invalid;
            path_.push_back(*text);
        }
        if (path_.empty()) return errc::metainfo_invalid;
        const std::string_view attributes = file["attr"].text().value_or("");
        // The prefix is BitComet's, which marked its pad files so before BEP 47.
        const bool pad = attributes.find('p') != attributes.npos || path_.back().starts_with("_____padding_file_");
        return add_file(path_, *length, pad);
    }

    /// A hybrid torrent that lists its files only the version 2 way (BEP 52): each file begins with a new piece.
    errc read_tree(bencode::node tree) {
        struct level {
            bencode::node::entry_range::iterator at, end;
        };
        const auto open = [](bencode::node dict) { return level{dict.entries().begin(), dict.entries().end()}; };
        const auto name = utf8_text(info_, "name");
        out_.multi_file = !(tree.size() == 1 && tree[*name][""].is_dict());
        std::vector<level> levels{open(tree)};
        path_.clear();
        while (!levels.empty()) {
            level& top = levels.back();
            if (top.at == top.end) {
                levels.pop_back();
                if (!path_.empty()) path_.pop_back();
                continue;
            }
            const bencode::entry entry = *top.at;
            ++top.at;
            if (!entry.value.is_dict()) return errc::metainfo_invalid;
            if (!entry.key.empty()) {
                path_.push_back(entry.key);
                levels.push_back(open(entry.value));
                continue;
            }
            const auto length = entry.value["length"].integer();
            if (!length || path_.empty()) return errc::metainfo_missing;
            if (const errc failure = align(); failure != errc{}) return failure;
            if (const errc failure = add_file(out_.multi_file ? path_ : components{}, *length, false);
                failure != errc{})
                return failure;
        }
        return errc{};
    }

    /// Fills the last piece begun with a pad file.
    errc align() {
        const std::uint64_t over = out_.total_size % out_.piece_length;
        if (over == 0) return errc{};
        const std::uint64_t fill = out_.piece_length - over;
        const std::string size = std::to_string(fill);
        return add_file({".pad", size}, static_cast<std::int64_t>(fill), true);
    }

    /// `raw` is the path below the torrent's folder; empty for the file of a single-file torrent.
    errc add_file(const components& raw, std::int64_t length, bool pad) {
        if (length < 0 || static_cast<std::uint64_t>(length) > max_total - out_.total_size)
            return errc::metainfo_invalid;
        file_entry file;
        file.path = out_.name;
        bool same = true;
        bool harmless = true;
        for (const std::string_view component : raw) {
            const std::string safe = safe_component(component);
            file.path += '/';
            file.path += safe;
            if (file.path.size() > max_path) return errc::metainfo_invalid;
            same = same && safe == component;
            harmless = harmless && !component.empty() && component != "." && component != ".." &&
                       component.size() <= max_component_size &&
                       component.find_first_of(std::string_view("/\0", 2)) == component.npos;
        }
        if (!same && harmless) {
            file.author_path = out_.name;
            for (const std::string_view component : raw) file.author_path.append("/").append(component);
        }
        paths_size_ += file.path.size() + file.author_path.size();
        if (paths_size_ > max_paths) return errc::metainfo_invalid;
        altered_.push_back(!same);
        file.length = static_cast<std::uint64_t>(length);
        file.offset = out_.total_size;
        file.pad = pad;
        out_.total_size += file.length;
        out_.files.push_back(std::move(file));
        return errc{};
    }

    /// Names that are as their author wrote them come first, so that no file is kept under the author's name of
    /// another; pad files, which never reach the disk, come last.
    void resolve_names() {
        std::vector<const std::string*> paths;
        std::vector<std::uint32_t> order;
        const auto rank = [this](std::uint32_t i) { return out_.files[i].pad ? 2 : altered_[i] ? 1 : 0; };
        for (const int now : {0, 1, 2}) {
            for (std::uint32_t i = 0; i < out_.files.size(); ++i) {
                if (rank(i) != now) continue;
                paths.push_back(&out_.files[i].path);
                order.push_back(i);
            }
        }
        for (new_path& fresh : distinct_paths(paths)) {
            const std::uint32_t i = order[fresh.index];
            file_entry& file = out_.files[i];
            if (!altered_[i]) file.author_path = std::move(file.path);
            file.path = std::move(fresh.path);
        }
    }

    errc read_pieces(byte_view pieces) {
        const std::uint64_t count = out_.total_size / out_.piece_length + (out_.total_size % out_.piece_length != 0);
        if (count > max_piece_count || pieces.size() != count * sha1_digest::size) return errc::metainfo_invalid;
        out_.piece_hashes.reserve(count);
        for (; !pieces.empty(); pieces = pieces.subspan(sha1_digest::size))
            out_.piece_hashes.push_back(*sha1_digest::from(pieces.first(sha1_digest::size)));
        return errc{};
    }

    bencode::node info_;
    metainfo& out_;
    components path_;
    std::vector<bool> altered_;  // for each file, whether its names had to be made safe
    std::size_t paths_size_ = 0;
};

/// Trackers, web seeds and DHT nodes beyond this many of each are not read.
inline constexpr std::size_t max_listed = 1000;

inline std::string_view trimmed(std::string_view text) {
    constexpr std::string_view spaces = " \t\r\n";
    const std::size_t first = text.find_first_not_of(spaces);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(spaces) + 1 - first);
}

/// BEP 12: where there is an announce-list, `announce` is ignored.
inline std::vector<std::vector<std::string>> read_trackers(bencode::node root) {
    std::vector<std::vector<std::string>> tiers;
    std::set<std::string_view> seen;
    std::size_t left = max_listed;
    for (const bencode::node list : root["announce-list"]) {
        std::vector<std::string> tier;
        for (const bencode::node entry : list) {
            if (left == 0) break;
            --left;
            const std::string_view url = trimmed(entry.text().value_or(""));
            if (!url.empty() && seen.insert(url).second) tier.emplace_back(url);
        }
        if (!tier.empty()) tiers.push_back(std::move(tier));
        if (left == 0) break;
    }
    const std::string_view single = trimmed(root["announce"].text().value_or(""));
    if (tiers.empty() && !single.empty()) tiers.push_back({std::string(single)});
    return tiers;
}

/// A string, or a list of strings.
inline std::vector<std::string> read_url_list(bencode::node list) {
    std::vector<std::string> urls;
    const auto add = [&](bencode::node entry) {
        const std::string_view url = trimmed(entry.text().value_or(""));
        if (!url.empty() && urls.size() < max_listed) urls.emplace_back(url);
    };
    add(list);
    for (const bencode::node entry : list) add(entry);
    return urls;
}

inline std::vector<std::pair<std::string, std::uint16_t>> read_nodes(bencode::node list) {
    std::vector<std::pair<std::string, std::uint16_t>> nodes;
    for (const bencode::node entry : list) {
        if (entry.size() != 2 || nodes.size() == max_listed) continue;
        const auto host = (*entry.begin()).text();
        const auto port = (*std::next(entry.begin())).integer();
        if (host && !host->empty() && port && *port > 0 && *port <= 0xffff)
            nodes.emplace_back(*host, static_cast<std::uint16_t>(*port));
    }
    return nodes;
}

}  // namespace detail

inline std::optional<metainfo> parse_info(byte_view info_dict, std::error_code& ec) {
    const auto document = bencode::parse(info_dict, ec);
    if (!document) return std::nullopt;
    metainfo out;
    const errc failure = detail::info_reader(document->root(), out).read();
    if (failure != errc{}) {
        ec = failure;
        return std::nullopt;
    }
    return out;
}

inline std::optional<metainfo> parse_metainfo(byte_view torrent, std::error_code& ec) {
    std::size_t consumed = 0;
    const auto document = bencode::parse_prefix(torrent, consumed, ec);
    if (!document) return std::nullopt;
    const bencode::node root = document->root();
    metainfo out;
    const errc failure = detail::info_reader(root["info"], out).read();
    if (failure != errc{}) {
        ec = failure;
        return std::nullopt;
    }
    out.trackers = detail::read_trackers(root);
    out.url_list = detail::read_url_list(root["url-list"]);
    out.nodes = detail::read_nodes(root["nodes"]);
    out.comment = to_utf8(detail::utf8_text(root, "comment").value_or(""));
    out.created_by = to_utf8(detail::utf8_text(root, "created by").value_or(""));
    out.creation_date = root["creation date"].integer().value_or(0);
    return out;
}

}  // namespace cohort
