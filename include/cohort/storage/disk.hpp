// What storage asks of a disk, as an interface: real_disk keeps it with system calls, a simulated disk in memory.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>

namespace cohort {

/// A place on a disk in two parts. `root` was chosen by the user and is taken as it is; `below` may come from a
/// stranger's torrent: relative, '/'-separated, without "." or "..". An empty `below` names the root itself.
struct disk_path {
    std::string root;
    std::string below;

    /// The whole path, for messages and for what needs no protection.
    std::string text() const {
        if (below.empty()) return root;
        return root.empty() || root.back() == '/' ? root + below : root + "/" + below;
    }
};

/// What tells whether a file is still the one it was. Equal stamps mean: untouched, as far as the system can tell.
struct file_stamp {
    std::uint64_t size = 0;        ///< bytes
    std::int64_t modified_ns = 0;  ///< nanoseconds since 1970
    std::uint64_t inode = 0;       ///< the number of the file on its disk

    bool operator==(const file_stamp&) const = default;
};

enum class open_mode {
    read,        ///< an existing file; links are followed
    read_write,  ///< an existing file; fails with errc::path_unsafe if anything below the root is a link
    create,      ///< as read_write, but makes an empty file where there is none
};

/// One open file. All calls are synchronous and may come from several threads at once. Every failure is a
/// std::system_error with the path in what(): errc::disk_full, errc::disk_failed, errc::file_missing,
/// errc::path_unsafe, and otherwise the system's own code.
class disk_file {
public:
    virtual ~disk_file() = default;

    /// Fills `out` and returns its size; less only where the file ends.
    virtual std::size_t read_at(std::uint64_t offset, byte_span out) = 0;
    /// Writes all buffers, one after the other, from `offset` on. After a failure any part may have been written.
    virtual void write_at(std::uint64_t offset, std::span<const byte_view> data) = 0;
    void write_at(std::uint64_t offset, byte_view data) { write_at(offset, std::span<const byte_view>(&data, 1)); }

    virtual std::uint64_t size() = 0;
    /// Shortens, or lengthens by zeros that take no space.
    virtual void resize(std::uint64_t size) = 0;
    /// Reserves the space of the first `size` bytes, so that writing there cannot fail with errc::disk_full.
    virtual void allocate(std::uint64_t size) = 0;
    /// Returns when everything written survives a loss of power.
    virtual void sync() = 0;
    /// Fails with errc::file_missing if the file was removed while open.
    virtual file_stamp stamp() = 0;

    /// The POSIX file descriptor, for handing ranges to a socket; -1 where there is none.
    virtual int native_handle() const { return -1; }
    /// The first byte from `offset` on that may differ from zero; size() if none does.
    virtual std::uint64_t next_data(std::uint64_t offset) { return offset; }
    /// Says that the range will be read soon.
    virtual void prefetch(std::uint64_t /*offset*/, std::uint64_t /*length*/) {}
};

/// Where files live. Thread-safe; fails as disk_file does.
class disk {
public:
    virtual ~disk() = default;

    virtual std::unique_ptr<disk_file> open(const disk_path& path, open_mode mode) = 0;
    /// Makes what is missing of `root` and `below`. Fails with errc::path_unsafe if a part of `below` is a link or
    /// not a directory.
    virtual void create_directories(const disk_path& path) = 0;
    /// Removes a file; it is no failure if there is none. `below` must not be empty here and in rename().
    virtual void remove(const disk_path& path) = 0;
    /// Gives `from` the name `to`, in one step that replaces what was there.
    virtual void rename(const disk_path& from, const disk_path& to) = 0;
    /// Nothing if there is no such file. Follows links.
    virtual std::optional<file_stamp> stat(const disk_path& path) = 0;
    /// Returns when the names in the directory survive a loss of power.
    virtual void sync_directory(const disk_path& path) = 0;
    /// Returns when everything written to these files survives a loss of power. Fails with errc::file_missing if one is
    /// not there. For many files a disk may have something quicker than one sync for each.
    virtual void sync_files(std::span<const disk_path> paths) {
        for (const disk_path& path : paths) open(path, open_mode::read_write)->sync();
    }
    /// Differs from an earlier one if written data that was not synced may have been lost since.
    virtual std::string boot_id() = 0;
    /// Bytes that we may still write below `root`.
    virtual std::uint64_t free_space(const std::string& root) = 0;
};

/// Throws what a failed system call means, with the path.
[[noreturn]] inline void raise_disk_error(int error, const std::string& path) {
    switch (error) {
    case ENOSPC:
    case EDQUOT: raise(errc::disk_full, path);
    case EIO: raise(errc::disk_failed, path);
    case ENOENT: raise(errc::file_missing, path);
    case ELOOP: raise(errc::path_unsafe, path);
    default: raise(std::error_code(error, std::generic_category()), path);
    }
}

}  // namespace cohort
