// Files of a torrent that a test makes up, and checks of how things fail.
#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/hash.hpp>
#include <cohort/core/random.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/protocol/metainfo_write.hpp>

namespace cohort::test {

/// Bytes that are the same for the same seed.
inline byte_vector random_bytes(std::size_t size, std::uint64_t seed = 1) {
    byte_vector out(size);
    random_engine(seed).fill(out);
    return out;
}

/// Entries one after the other, of the given paths and lengths; a path that begins with "pad" is padding.
inline std::vector<file_entry> entries(const std::vector<std::pair<std::string, std::uint64_t>>& files) {
    std::vector<file_entry> out;
    std::uint64_t offset = 0;
    for (const auto& [path, length] : files) {
        file_entry entry;
        entry.path = path;
        entry.length = length;
        entry.offset = offset;
        entry.pad = path.starts_with("pad");
        offset += length;
        out.push_back(std::move(entry));
    }
    return out;
}

inline piece_layout layout_of(const std::vector<file_entry>& files, std::uint32_t piece_length) {
    return {files.empty() ? 0 : files.back().offset + files.back().length, piece_length};
}

/// The hashes of a torrent's pieces, given all its bytes.
inline std::vector<sha1_digest> hashes_of(const byte_vector& all, std::uint32_t piece_length) {
    const piece_layout layout(all.size(), piece_length);
    std::vector<sha1_digest> out;
    for (piece_index piece = 0; piece < layout.piece_count(); ++piece)
        out.push_back(sha1_of(byte_view(all).subspan(layout.offset(piece), layout.piece_size(piece))));
    return out;
}

/// A torrent of one file called "content" with these bytes.
inline metainfo info_of(const byte_vector& all, std::uint32_t piece_length) {
    torrent_draft draft;
    draft.name = "content";
    draft.piece_length = piece_length;
    draft.files.push_back({{}, all.size()});
    draft.piece_hashes = hashes_of(all, piece_length);
    return metainfo_of(draft);
}

/// What `f` fails with; empty if it does not.
template <class F>
std::error_code failure_of(const F& f) {
    try {
        f();
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}

/// The words of that failure.
template <class F>
std::string message_of(const F& f) {
    try {
        f();
    } catch (const std::system_error& error) {
        return error.what();
    }
    return {};
}

}  // namespace cohort::test
