// Makes torrents out of files and folders: finds what there is, and hashes it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/protocol/metainfo.hpp>
#include <cohort/protocol/metainfo_write.hpp>
#include <cohort/protocol/utf8.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/journal_name.hpp>
#include <cohort/storage/torrent_files.hpp>
#include <cohort/storage/verify.hpp>
#include <cohort/storage/worker_pool.hpp>

namespace cohort {

struct make_torrent_options {
    std::uint32_t piece_length = 0;  ///< bytes, a multiple of 16 KiB; 0 takes what suits the size
    bool is_private = false;
    std::vector<std::vector<std::string>> trackers = {};  ///< tiers (BEP 12)
    std::vector<std::string> url_list = {};
    std::string comment = {};
    std::string created_by = {};
    std::int64_t creation_date = 0;  ///< seconds since 1970; 0 leaves it out
};

struct hash_progress {
    std::uint64_t hashed = 0;  ///< bytes
    std::uint64_t total = 0;   ///< bytes
};

/// Hears how far it is, and says whether to go on. Called from the lanes, one call at a time.
using hash_callback = std::function<bool(const hash_progress&)>;

/// The torrent of a file or folder, hashed on all lanes of the runner; nothing if the callback said to stop. Needs
/// about 1 MiB a lane. Fails with errc::file_missing if there is nothing to share, errc::metainfo_invalid for a name
/// that is not UTF-8 and for an unfit piece length, errc::file_changed if a file changes meanwhile, and as the disk
/// does; the path is in what().
std::optional<metainfo> make_torrent(disk& d, const std::string& path, job_runner& runner,
                                     const make_torrent_options& options = {}, const hash_callback& progress = {});

/// What scan_content() found.
struct scanned_content {
    std::string path;
    torrent_draft draft;  ///< without piece length and hashes
    std::uint64_t total_size = 0;
    std::vector<std::string> skipped;  ///< what cannot be shared: dangling links, links to folders, devices, pipes
};

/// The files at and below `path`, empty ones included, in the bytewise order of their paths, which other programs
/// use as well. Links to files count as the files; resume journals are left out. Fails as make_torrent().
scanned_content scan_content(const std::string& path);

/// Hashes the content into draft.piece_hashes; draft.piece_length must be set. False if the callback said to stop.
bool hash_pieces(disk& d, scanned_content& content, job_runner& runner, const hash_callback& progress = {});

namespace detail {

/// The name that a path stands for, also where it ends in "." or a slash.
inline std::string content_name(const std::string& path) {
    std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
    if (!whole.has_filename()) whole = whole.parent_path();
    return whole.filename().string();
}

inline void require_utf8(const std::string& name, const std::string& path) {
    if (!is_utf8(name)) raise(errc::metainfo_invalid, to_utf8(path) + ": the name is not valid UTF-8");
}

/// The files below one folder, in any order; folders are put on `folders` instead. Both hold names from the root on.
inline void scan_folder(const std::filesystem::path& root, std::vector<std::vector<std::string>>& folders,
                        scanned_content& out) {
    const std::vector<std::string> names = std::move(folders.back());
    folders.pop_back();
    std::filesystem::path folder = root;
    for (const std::string& name : names) folder /= name;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::filesystem::path path = entry->path();
        const std::string name = path.filename().string();
        if (is_journal_name(name)) continue;
        std::error_code failure;
        const bool link = entry->is_symlink(failure);
        const std::filesystem::file_status status = entry->status(failure);  // follows links
        const bool regular = std::filesystem::is_regular_file(status);
        if (!regular && (link || !std::filesystem::is_directory(status))) {
            out.skipped.push_back(path.string());
            continue;
        }
        require_utf8(name, path.string());
        std::vector<std::string> below = names;
        below.push_back(name);
        if (!regular) {
            folders.push_back(std::move(below));
            continue;
        }
        const std::uintmax_t size = std::filesystem::file_size(path, failure);
        if (failure) raise_disk_error(failure.value(), path.string());
        out.draft.files.push_back({std::move(below), size, false});
    }
    if (error) raise_disk_error(error.value(), folder.string());
}

/// Compares as the paths, with slashes, would.
inline bool bytewise_less(const draft_file& a, const draft_file& b) {
    const auto join = [](const draft_file& file) {
        std::string path;
        for (const std::string& name : file.path) path.append(path.empty() ? "" : "/").append(name);
        return path;
    };
    return join(a) < join(b);
}

}  // namespace detail

inline scanned_content scan_content(const std::string& path) {
    scanned_content out;
    out.path = path;
    out.draft.name = detail::content_name(path);
    detail::require_utf8(out.draft.name, path);
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (error) raise_disk_error(error.value(), path);
    if (std::filesystem::is_regular_file(status)) {
        const std::uintmax_t size = std::filesystem::file_size(path, error);
        if (error) raise_disk_error(error.value(), path);
        out.draft.files.push_back({{}, size, false});
    } else if (std::filesystem::is_directory(status)) {
        out.draft.multi_file = true;
        std::vector<std::vector<std::string>> folders{{}};
        while (!folders.empty()) detail::scan_folder(path, folders, out);
        std::sort(out.draft.files.begin(), out.draft.files.end(), detail::bytewise_less);
        std::sort(out.skipped.begin(), out.skipped.end());
    }
    if (out.draft.files.empty() || out.draft.name.empty()) raise(errc::file_missing, path + ": no files to share");
    for (const draft_file& file : out.draft.files) out.total_size += file.length;
    return out;
}

inline bool hash_pieces(disk& d, scanned_content& content, job_runner& runner, const hash_callback& progress) {
    torrent_draft& draft = content.draft;
    const std::string length = "piece length " + std::to_string(draft.piece_length);
    if (draft.piece_length == 0 || draft.piece_length % block_size != 0 || draft.piece_length > max_piece_length)
        raise(errc::metainfo_invalid, length + " must be a multiple of " + std::to_string(block_size) + ", at most " +
                                          std::to_string(max_piece_length));
    if (content.total_size / draft.piece_length >= max_piece_count)
        raise(errc::metainfo_invalid, length + " makes more than " + std::to_string(max_piece_count) + " pieces");
    const piece_layout layout(content.total_size, draft.piece_length);

    std::vector<file_entry> entries;
    entries.reserve(draft.files.size());
    std::uint64_t offset = 0;
    for (const draft_file& file : draft.files) {
        file_entry entry;
        entry.path = draft.name;
        for (const std::string& name : file.path) entry.path.append("/").append(name);
        entry.length = file.length;
        entry.offset = offset;
        entry.pad = file.pad;
        offset += file.length;
        entries.push_back(std::move(entry));
    }
    torrent_files files(d, std::move(entries), layout, content.path,
                        {.place = content_place::itself, .read_only = true});
    const auto before = files.stamps();
    for (std::size_t i = 0; i < before.size(); ++i)
        if (!draft.files[i].pad && (!before[i] || before[i]->size != draft.files[i].length))
            raise(errc::file_changed, files.path_of(i).text());

    const auto require_unchanged = [&] {
        const auto now = files.stamps();
        for (std::size_t i = 0; i < before.size(); ++i)
            if (before[i] != now[i]) raise(errc::file_changed, files.path_of(i).text());
    };

    draft.piece_hashes.assign(layout.piece_count(), sha1_digest{});
    hash_progress state{0, content.total_size};
    bool go_on = true;
    std::mutex mutex;  // guards the above two, and keeps the callback to one call at a time
    run_slices(runner, layout.piece_count(), verify_step(layout), [&](piece_index first, piece_index last) {
        std::vector<piece_index> pieces(last - first);
        std::iota(pieces.begin(), pieces.end(), first);
        detail::piece_hasher hasher(files);
        auto hash = draft.piece_hashes.begin() + static_cast<std::ptrdiff_t>(first);
        for (const auto& digest : hasher.hash(pieces)) {
            if (!digest) {
                require_unchanged();
                raise(errc::file_changed, content.path);
            }
            *hash++ = *digest;
        }
        const std::lock_guard lock(mutex);
        state.hashed += layout.offset(last - 1) + layout.piece_size(last - 1) - layout.offset(first);
        if (progress && go_on) go_on = progress(state);
        return go_on;
    });
    require_unchanged();
    return go_on;
}

inline std::optional<metainfo> make_torrent(disk& d, const std::string& path, job_runner& runner,
                                            const make_torrent_options& options, const hash_callback& progress) {
    scanned_content content = scan_content(path);
    content.draft.is_private = options.is_private;
    content.draft.piece_length =
        options.piece_length != 0 ? options.piece_length : choose_piece_length(content.total_size);
    if (!hash_pieces(d, content, runner, progress)) return std::nullopt;
    metainfo out = metainfo_of(content.draft, path);
    out.trackers = options.trackers;
    out.url_list = options.url_list;
    out.comment = options.comment;
    out.created_by = options.created_by;
    out.creation_date = options.creation_date;
    return out;
}

}  // namespace cohort
