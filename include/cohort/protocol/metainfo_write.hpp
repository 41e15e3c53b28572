// Making torrents: the canonical info dictionary, which every client makes the same from the same content, name, order
// of files and piece length; and the .torrent file around it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/protocol/bencode.hpp>
#include <cohort/protocol/metainfo.hpp>

namespace cohort {

/// One file of a torrent to be.
struct draft_file {
    std::vector<std::string> path;  ///< names from below the torrent's folder down to the file's; empty if single-file
    std::uint64_t length = 0;       ///< bytes
    bool pad = false;               ///< zeros that align what follows (BEP 47)
};

/// What goes into an info dictionary. A caller that keeps to what metainfo promises gets one that parse_info() takes.
struct torrent_draft {
    std::string name;  ///< of the file or folder
    std::uint32_t piece_length = block_size;
    bool multi_file = false;        ///< a folder, even of one file; otherwise `files` has exactly one element
    std::vector<draft_file> files;  ///< in the order in which their bytes are hashed
    std::vector<sha1_digest> piece_hashes;
    bool is_private = false;  ///< BEP 27; written only when set
};

/// The info dictionary, canonical.
inline byte_vector write_info(const torrent_draft& draft) {
    bencode::writer out;
    out.begin_dict();
    if (draft.multi_file) {
        out.key("files").begin_list();
        for (const draft_file& file : draft.files) {
            out.begin_dict();
            if (file.pad) out.key("attr").text("p");
            out.key("length").integer(static_cast<std::int64_t>(file.length));
            out.key("path").begin_list();
            for (const std::string& component : file.path) out.text(component);
            out.end().end();
        }
        out.end();
    } else {
        out.key("length").integer(static_cast<std::int64_t>(draft.files.front().length));
    }
    out.key("name").text(draft.name);
    out.key("piece length").integer(draft.piece_length);
    std::string pieces;
    pieces.reserve(draft.piece_hashes.size() * sha1_digest::size);
    for (const sha1_digest& digest : draft.piece_hashes) pieces += as_text(digest.view());
    out.key("pieces").text(pieces);
    if (draft.is_private) out.key("private").integer(1);
    out.end();
    const std::string text = out.take();
    return {text.begin(), text.end()};
}

/// The contents of the .torrent file of `m`: m.info as it stands, with the outer fields around it.
inline std::string write_metainfo(const metainfo& m) {
    bencode::writer out;
    out.begin_dict();
    std::size_t urls = 0;
    for (const auto& tier : m.trackers) {
        if (urls == 0 && !tier.empty()) out.key("announce").text(tier.front());
        urls += tier.size();
    }
    // One tracker needs no list, and a file without one is the file that other programs make.
    if (urls > 1) {
        out.key("announce-list").begin_list();
        for (const auto& tier : m.trackers) {
            if (tier.empty()) continue;
            out.begin_list();
            for (const std::string& url : tier) out.text(url);
            out.end();
        }
        out.end();
    }
    if (!m.comment.empty()) out.key("comment").text(m.comment);
    if (!m.created_by.empty()) out.key("created by").text(m.created_by);
    if (m.creation_date != 0) out.key("creation date").integer(m.creation_date);
    out.key("info").raw(m.info);
    if (!m.nodes.empty()) {
        out.key("nodes").begin_list();
        for (const auto& [host, port] : m.nodes) out.begin_list().text(host).integer(port).end();
        out.end();
    }
    if (!m.url_list.empty()) {
        out.key("url-list").begin_list();
        for (const std::string& url : m.url_list) out.text(url);
        out.end();
    }
    return out.end().take();
}

/// The metainfo of what is to be shared; `what` is for the message if the draft is not what it promises, which fails as
/// parse_info() does.
inline metainfo metainfo_of(const torrent_draft& draft, const std::string& what = {}) {
    std::error_code error;
    std::optional<metainfo> out = parse_info(write_info(draft), error);
    if (!out) raise(error, what);
    return std::move(*out);
}

/// A piece length for so many bytes: the power of two from 16 KiB to 16 MiB that gives about 1000 to 2000 pieces.
/// Fewer and larger pieces would slow the spread (only whole pieces are passed on), more would only fatten the torrent.
/// From 32 GiB on pieces stay at 16 MiB, until their number would exceed max_piece_count.
inline std::uint32_t choose_piece_length(std::uint64_t total_size) {
    constexpr std::uint64_t enough_pieces = 2000;
    constexpr std::uint32_t longest = 16 * 1024 * 1024;
    const auto pieces = [&](std::uint64_t length) { return total_size / length + (total_size % length != 0); };
    std::uint32_t length = block_size;
    while (length < longest && pieces(length) > enough_pieces) length *= 2;
    while (length < max_piece_length && pieces(length) > max_piece_count) length *= 2;
    return length;
}

}  // namespace cohort
