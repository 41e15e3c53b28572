// A torrent's content as one row of bytes, kept in the files that it consists of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/core/file_slice.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/file_cache.hpp>
#include <cohort/storage/journal_name.hpp>

namespace cohort {

enum class content_place {
    below,  ///< the path is a directory to save to: the torrent's own name comes below it
    itself  ///< the path is the content, whatever its name: the file, or the folder that has the files
};

struct torrent_files_options {
    content_place place = content_place::below;
    bool read_only = false;
    std::size_t max_open = 64;  ///< files kept open between uses
};

/// A part of a torrent within one file.
struct content_slice {
    std::shared_ptr<disk_file> file;  ///< keeps the file open; none for padding, which is all zeros
    file_slice range;                 ///< handle is -1 for padding and on disks without descriptors: read `file`

    bool is_padding() const { return file == nullptr; }
};

/// The files of one torrent. Thread-safe. Padding (BEP 47) never exists on the disk: it reads as zeros, and what is
/// written there is dropped. Offsets count from the torrent's first byte; ranges must lie within the torrent.
///
/// Failures are std::system_error with the file's path in what(), as disk_file has them.
class torrent_files {
public:
    /// `files` and `layout` are a metainfo's. `path` is a directory or the content itself, as options.place says.
    /// Fails with errc::metainfo_invalid if the files do not add up to the layout, and with errc::path_unsafe if
    /// one would take a resume journal's name. Changes nothing on the disk.
    torrent_files(disk& d, std::vector<file_entry> files, const piece_layout& layout, std::string path,
                  const torrent_files_options& options = {});

    const piece_layout& layout() const { return layout_; }
    const std::vector<file_entry>& files() const { return files_; }
    bool read_only() const { return options_.read_only; }
    /// Where the number-th file is. Content itself may have names that we would not give (file_entry::author_path):
    /// they are used if all of them are there when this is constructed.
    disk_path path_of(std::size_t number) const;

    enum class allocation { sparse, full };

    /// Fails with std::errc::file_exists if a file is there and longer than it should be: that is somebody's own, and
    /// nothing of it may be cut off.
    void check_lengths() const;
    /// Makes all directories and files, the empty ones too, and gives each its size; what exists keeps its bytes.
    /// allocation::full reserves the space at once. Fails as check_lengths() does, and with errc::path_unsafe if a part
    /// of a path below the directory is a link or of the wrong kind.
    void create(allocation how = allocation::sparse);

    /// Writes the buffers, one after the other, from `offset` on.
    void write(std::uint64_t offset, std::span<const byte_view> data);
    void write(std::uint64_t offset, byte_view data) { write(offset, std::span<const byte_view>(&data, 1)); }
    /// Fills `out`. Fails with errc::file_missing, or errc::file_changed where a file is too short.
    void read(std::uint64_t offset, byte_span out);
    /// As read(), but false where a file is missing or too short.
    bool try_read(std::uint64_t offset, byte_span out);

    /// The range in parts, each in one file, for sending.
    std::vector<content_slice> slices(std::uint64_t offset, std::size_t length);
    /// Says that the range will be read soon. Never fails.
    void prefetch(std::uint64_t offset, std::size_t length);
    /// Whether the range is known to be all zeros: nothing of it was ever written.
    bool is_hole(std::uint64_t offset, std::uint64_t length);

    /// Returns when all that was written before the call survives a loss of power. After one failure all later calls
    /// fail as well: the system reports lost data only once.
    void sync();
    /// Whether sync() has anything to do.
    bool has_unsynced() const;
    /// Counts the files of this range as written, so that sync() includes them: for data of an earlier run.
    void mark_written(std::uint64_t offset, std::uint64_t length);

    /// What each file looks like now, by its path; nothing for padding and for files that do not exist.
    std::vector<std::optional<file_stamp>> stamps() const;
    /// Remembers stamps() as what the files should look like from now on.
    void remember_stamps();
    /// Fails with errc::file_changed or errc::file_missing if a file of the range is not what remember_stamps() saw.
    /// Costs one system call a file.
    void check_unchanged(std::uint64_t offset, std::uint64_t length);
    /// Fails with errc::file_missing or errc::file_changed if a file of the range is no longer at its path, or shorter
    /// than it was made: a removed file still takes writes, and loses them when it is closed.
    void check_in_place(std::uint64_t offset, std::uint64_t length);

    /// Calls visit(number, offset in the file, length) for each file of the range, padding included.
    template <class Visit>
    void for_each_file(std::uint64_t offset, std::uint64_t length, Visit visit) const;

    /// Closes what is open; the next use opens it again.
    void close() { cache_.clear(); }
    std::size_t open_files() const { return cache_.size(); }

private:
    disk_path inside(const std::string& path) const;
    bool has_author_names() const;
    void require_no_longer(std::size_t number, std::uint64_t size) const;
    std::shared_ptr<disk_file> open(std::size_t number);
    bool transfer(std::uint64_t offset, byte_span out, bool must);

    disk& disk_;
    std::vector<file_entry> files_;
    piece_layout layout_;
    std::string root_;
    torrent_files_options options_;
    bool author_names_ = false;
    file_cache cache_;
    mutable std::mutex mutex_;  // guards what follows
    std::set<std::size_t> unsynced_;
    std::set<std::string> unsynced_directories_;  // below the root
    std::exception_ptr sync_failure_;
    std::vector<std::optional<file_stamp>> remembered_;
};

inline torrent_files::torrent_files(disk& d, std::vector<file_entry> files, const piece_layout& layout,
                                    std::string path, const torrent_files_options& options)
    : disk_(d),
      files_(std::move(files)),
      layout_(layout),
      root_(std::move(path)),
      options_(options),
      cache_(options.max_open) {
    std::uint64_t end = 0;
    for (const file_entry& file : files_) {
        if (file.offset != end || file.length > layout_.total_size() - end) raise(errc::metainfo_invalid, file.path);
        end += file.length;
        if (options_.place == content_place::below && is_journal_name(file.path.substr(0, file.path.find('/'))))
            raise(errc::path_unsafe, file.path);
    }
    if (end != layout_.total_size()) raise(errc::metainfo_invalid, root_);
    author_names_ = options_.place == content_place::itself && has_author_names();
}

inline disk_path torrent_files::path_of(std::size_t number) const {
    const file_entry& file = files_[number];
    if (options_.place == content_place::below) return {root_, file.path};
    return inside(author_names_ && !file.author_path.empty() ? file.author_path : file.path);
}

inline disk_path torrent_files::inside(const std::string& path) const {
    const std::size_t slash = path.find('/');
    return {root_, slash == std::string::npos ? std::string() : path.substr(slash + 1)};
}

inline bool torrent_files::has_author_names() const {
    return std::all_of(files_.begin(), files_.end(), [this](const file_entry& file) {
        if (file.pad || file.author_path.empty()) return true;
        const std::optional<file_stamp> there = disk_.stat(inside(file.author_path));
        return there && there->size == file.length;
    });
}

template <class Visit>
void torrent_files::for_each_file(std::uint64_t offset, std::uint64_t length, Visit visit) const {
    if (offset > layout_.total_size() || length > layout_.total_size() - offset) raise(errc::index_out_of_range);
    if (length == 0) return;
    // The last file that begins at or before `offset`; empty files beside it begin there too, but come before it.
    auto file = std::upper_bound(files_.begin(), files_.end(), offset,
                                 [](std::uint64_t at, const file_entry& entry) { return at < entry.offset; });
    for (--file; length > 0; ++file) {
        const std::uint64_t within = offset - file->offset;
        const std::uint64_t part = std::min(length, file->length - within);
        if (part == 0) continue;
        visit(static_cast<std::size_t>(file - files_.begin()), within, part);
        offset += part;
        length -= part;
    }
}

inline std::shared_ptr<disk_file> torrent_files::open(std::size_t number) {
    return cache_.get(static_cast<std::uint32_t>(number), [this, number] {
        const open_mode mode = options_.read_only ? open_mode::read : open_mode::read_write;
        return std::shared_ptr<disk_file>(disk_.open(path_of(number), mode));
    });
}

inline void torrent_files::require_no_longer(std::size_t number, std::uint64_t size) const {
    if (size <= files_[number].length) return;
    raise(std::make_error_code(std::errc::file_exists),
          path_of(number).text() + " is longer than the torrent says: move it away");
}

inline void torrent_files::check_lengths() const {
    for (std::size_t i = 0; i < files_.size(); ++i) {
        if (files_[i].pad) continue;
        if (const std::optional<file_stamp> there = disk_.stat(path_of(i))) require_no_longer(i, there->size);
    }
}

inline void torrent_files::create(allocation how) {
    if (options_.place == content_place::below) disk_.create_directories({root_, {}});
    std::string last_directory;
    for (std::size_t i = 0; i < files_.size(); ++i) {
        if (files_[i].pad) continue;
        const disk_path path = path_of(i);
        const std::size_t slash = path.below.rfind('/');
        const std::string directory = slash == std::string::npos ? std::string() : path.below.substr(0, slash);
        if (directory != last_directory) {
            disk_.create_directories({root_, directory});
            last_directory = directory;
        }
        const std::unique_ptr<disk_file> file = disk_.open(path, open_mode::create);
        require_no_longer(i, file->size());
        if (file->size() < files_[i].length) file->resize(files_[i].length);
        if (how == allocation::full) file->allocate(files_[i].length);
        if (path.below.empty()) continue;
        // The names must be brought to safety once; a file that is never written may be lost and made again.
        const std::lock_guard lock(mutex_);
        for (std::string name = directory; unsynced_directories_.insert(name).second && !name.empty();)
            name.resize(name.rfind('/') == std::string::npos ? 0 : name.rfind('/'));
    }
}

inline void torrent_files::write(std::uint64_t offset, std::span<const byte_view> data) {
    std::uint64_t length = 0;
    for (const byte_view part : data) length += part.size();
    if (options_.read_only) raise(std::make_error_code(std::errc::read_only_file_system), root_);
    std::size_t next = 0;     // the buffer to go on with,
    std::size_t skipped = 0;  // and how much of it is written
    std::vector<byte_view> parts;
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t within, std::uint64_t part) {
        parts.clear();
        for (std::uint64_t left = part; left > 0;) {
            const std::size_t step =
                static_cast<std::size_t>(std::min<std::uint64_t>(left, data[next].size() - skipped));
            if (step > 0) parts.push_back(data[next].subspan(skipped, step));
            left -= step;
            skipped += step;
            if (skipped == data[next].size()) {
                ++next;
                skipped = 0;
            }
        }
        if (files_[number].pad) return;
        open(number)->write_at(within, parts);
        // Only now: a sync() that runs beside us must leave the file for the next one.
        const std::lock_guard lock(mutex_);
        unsynced_.insert(number);
    });
}

inline bool torrent_files::transfer(std::uint64_t offset, byte_span out, bool must) {
    bool complete = true;
    for_each_file(offset, out.size(), [&](std::size_t number, std::uint64_t within, std::uint64_t length) {
        const byte_span part = out.first(static_cast<std::size_t>(length));
        out = out.subspan(part.size());
        if (files_[number].pad) {
            std::memset(part.data(), 0, part.size());
            return;
        }
        if (!complete) return;
        try {
            if (open(number)->read_at(within, part) == part.size()) return;
            if (must) raise(errc::file_changed, path_of(number).text() + " is too short");
        } catch (const std::system_error& error) {
            if (must || error.code() != errc::file_missing) throw;
        }
        complete = false;
    });
    return complete;
}

inline void torrent_files::read(std::uint64_t offset, byte_span out) { transfer(offset, out, true); }

inline bool torrent_files::try_read(std::uint64_t offset, byte_span out) { return transfer(offset, out, false); }

inline std::vector<content_slice> torrent_files::slices(std::uint64_t offset, std::size_t length) {
    std::vector<content_slice> out;
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t within, std::uint64_t part) {
        content_slice slice;
        slice.range = {-1, within, static_cast<std::size_t>(part)};
        if (!files_[number].pad) {
            slice.file = open(number);
            slice.range.handle = slice.file->native_handle();
        }
        out.push_back(std::move(slice));
    });
    return out;
}

inline void torrent_files::prefetch(std::uint64_t offset, std::size_t length) {
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t within, std::uint64_t part) {
        if (files_[number].pad) return;
        try {
            open(number)->prefetch(within, part);
        } catch (...) {
            caught_error();  // It is a hint; who reads will hear of the failure.
        }
    });
}

inline bool torrent_files::is_hole(std::uint64_t offset, std::uint64_t length) {
    bool hole = true;
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t within, std::uint64_t part) {
        if (!hole || files_[number].pad) return;
        try {
            const std::shared_ptr<disk_file> file = open(number);
            hole = file->size() >= within + part && file->next_data(within) >= within + part;
        } catch (const std::system_error& error) {
            if (error.code() != errc::file_missing) throw;
            hole = false;
        }
    });
    return hole;
}

inline bool torrent_files::has_unsynced() const {
    const std::lock_guard lock(mutex_);
    return !unsynced_.empty() || !unsynced_directories_.empty() || sync_failure_;
}

inline void torrent_files::mark_written(std::uint64_t offset, std::uint64_t length) {
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t, std::uint64_t) {
        const std::lock_guard lock(mutex_);
        if (!files_[number].pad) unsynced_.insert(number);
    });
}

inline void torrent_files::sync() {
    std::set<std::size_t> numbers;
    std::set<std::string> directories;
    {
        const std::lock_guard lock(mutex_);
        if (sync_failure_) std::rethrow_exception(sync_failure_);
        numbers.swap(unsynced_);
        directories.swap(unsynced_directories_);
    }
    try {
        std::vector<disk_path> paths;
        for (const std::size_t number : numbers) paths.push_back(path_of(number));
        disk_.sync_files(paths);
        for (const std::string& directory : directories) disk_.sync_directory({root_, directory});
    } catch (...) {
        const std::lock_guard lock(mutex_);
        sync_failure_ = std::current_exception();
        throw;
    }
}

inline std::vector<std::optional<file_stamp>> torrent_files::stamps() const {
    std::vector<std::optional<file_stamp>> out(files_.size());
    for (std::size_t i = 0; i < files_.size(); ++i)
        if (!files_[i].pad) out[i] = disk_.stat(path_of(i));
    return out;
}

inline void torrent_files::remember_stamps() {
    std::vector<std::optional<file_stamp>> now = stamps();
    const std::lock_guard lock(mutex_);
    remembered_ = std::move(now);
}

inline void torrent_files::check_unchanged(std::uint64_t offset, std::uint64_t length) {
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t, std::uint64_t) {
        if (files_[number].pad) return;
        const file_stamp now = open(number)->stamp();
        const std::lock_guard lock(mutex_);
        if (remembered_.empty()) return;
        if (remembered_[number] != now) raise(errc::file_changed, path_of(number).text());
    });
}

inline void torrent_files::check_in_place(std::uint64_t offset, std::uint64_t length) {
    for_each_file(offset, length, [&](std::size_t number, std::uint64_t, std::uint64_t) {
        if (files_[number].pad) return;
        const disk_path path = path_of(number);
        const file_stamp ours = open(number)->stamp();
        const std::optional<file_stamp> there = disk_.stat(path);
        if (!there) raise(errc::file_missing, path.text());
        if (there->inode != ours.inode || there->size < files_[number].length) raise(errc::file_changed, path.text());
    });
}

}  // namespace cohort
