// The first look at a torrent's files: what an earlier run noted, what is there, and whether it is right.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/resume_journal.hpp>
#include <cohort/storage/torrent_files.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/check.hpp>
#include <cohort/swarm/run_job.hpp>

namespace cohort {

struct open_options {
    std::string path;                            ///< where the content is, or is to be
    content_place place = content_place::below;  ///< `path` is a directory for it; the content itself only if read_only
    bool read_only = false;                      ///< write nothing; the content must be there and right
    bool preallocate = false;                    ///< reserve the disk space at the start
};

struct opened_content {
    std::shared_ptr<torrent_files> files;
    std::shared_ptr<resume_journal> journal;  ///< none where nothing is written
    bitfield have;                            ///< the pieces that are there and verified
};

namespace detail {

inline opened_content prepare_content(disk& d, const metainfo& info, const open_options& options) {
    // A journal has no place beside content that is the path itself.
    if (options.place == content_place::itself && !options.read_only) raise(errc::path_unsafe, options.path);
    torrent_files_options how;
    how.place = options.place;
    how.read_only = options.read_only;
    opened_content out;
    out.files = std::make_shared<torrent_files>(d, info.files, info.layout(), options.path, how);
    out.have = bitfield(info.layout().piece_count());
    if (options.read_only) {
        out.files->remember_stamps();
        return out;
    }
    out.files->check_lengths();
    d.create_directories({options.path, {}});
    out.journal = std::make_shared<resume_journal>(d, options.path, info.hash, *out.files);
    out.files->create(options.preallocate ? torrent_files::allocation::full : torrent_files::allocation::sparse);
    return out;
}

/// Throws for content that is not complete; the message names a file that is missing or of another size, or else the
/// one that most bytes of wrong pieces belong to.
inline void require_complete(disk& d, const metainfo& info, const opened_content& content) {
    const bitfield& have = content.have;
    if (have.all()) return;
    const piece_layout layout = info.layout();
    std::map<std::size_t, std::uint64_t> doubtful;  // bytes of wrong pieces, by file
    for (piece_index piece = 0; piece < have.size(); ++piece) {
        if (have.get(piece)) continue;
        content.files->for_each_file(layout.offset(piece), layout.piece_size(piece),
                                     [&](std::size_t number, std::uint64_t, std::uint64_t part) {
                                         if (!info.files[number].pad) doubtful[number] += part;
                                     });
    }
    std::string where;
    std::uint64_t most = 0;
    for (const auto& [number, bytes] : doubtful) {
        const disk_path path = content.files->path_of(number);
        const auto stamp = d.stat(path);
        if (!stamp) raise(errc::file_missing, path.text());
        const bool wrong_size = stamp->size != info.files[number].length;
        if (!wrong_size && bytes <= most) continue;
        where = path.text();
        most = wrong_size ? std::numeric_limits<std::uint64_t>::max() : bytes;
    }
    raise(errc::hash_mismatch, where + " (" + std::to_string(have.size() - have.count()) + " of " +
                                   std::to_string(have.size()) + " pieces are not as the torrent says)");
}

}  // namespace detail

/// Completes when it is known which pieces are there: those that the journal vouches for, and of the others those that
/// match their hash. Makes the files where there are none. Throws the disk's error; errc::path_unsafe for
/// content_place::itself that is not read_only; for read_only content that is not complete errc::file_missing or
/// errc::hash_mismatch with the path; errc::stopped when the check is not wanted any more. Cancelling stops the check.
/// All arguments outlive it.
inline asio::awaitable<opened_content> open_content(disk& d, job_runner& pool, const metainfo& info,
                                                    const open_options& options, const check_progress& progress,
                                                    const check_wanted& wanted) {
    const auto prepare = [&] { return detail::prepare_content(d, info, options); };
    opened_content out = co_await run_job(pool, 0, prepare);
    const bitfield unknown = out.journal ? out.journal->found().recheck : bitfield(out.have.size(), true);
    out.have = co_await check_pieces(pool, *out.files, info, unknown, progress, wanted);
    if (out.journal) {
        const auto note = [&] {
            std::vector<piece_index> found;
            for (piece_index piece = 0; piece < out.have.size(); ++piece) {
                if (out.have.get(piece)) found.push_back(piece);
            }
            out.journal->append_verified(found);
            out.journal->append_rechecked();
        };
        co_await run_job(pool, 0, note);
        out.have |= out.journal->found().verified;
    }
    if (options.read_only) detail::require_complete(d, info, out);
    co_return std::move(out);
}

}  // namespace cohort
