// The machine's disk. Nothing below a torrent's folder is reached through a symbolic link when it is written: each
// part of the path is opened on its own, relative to the one before, and a link ends the walk.
#pragma once

#include <algorithm>
#include <array>
#include <climits>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cohort/storage/disk.hpp>

namespace cohort {

namespace detail {

/// Owns a file descriptor.
class unique_fd {
public:
    unique_fd() = default;
    explicit unique_fd(int fd) : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~unique_fd() {
        if (fd_ >= 0) ::close(fd_);
    }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

/// Calls again while a signal interrupts.
template <class Call>
auto uninterrupted(Call call) {
    for (;;) {
        const auto result = call();
        if (result != -1 || errno != EINTR) return result;
    }
}

/// For after a failed sync: the system counts pages that it could not write as clean, and would go on to show them. Who
/// reads from now on, a recheck above all, is to see what the disk has. A hint, whose failure is none.
inline void forget_cached(int fd) { ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); }

inline file_stamp to_stamp(const struct stat& info) {
    // Times beyond what 64 bits of nanoseconds hold exist on disks, and are as good as "very late".
    constexpr std::int64_t far = 9'000'000'000;
    const auto seconds = std::clamp(static_cast<std::int64_t>(info.st_mtim.tv_sec), -far, far);
    return {static_cast<std::uint64_t>(info.st_size), seconds * 1'000'000'000 + info.st_mtim.tv_nsec,
            static_cast<std::uint64_t>(info.st_ino)};
}

class real_file final : public disk_file {
public:
    real_file(unique_fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

    std::size_t read_at(std::uint64_t offset, byte_span out) override {
        std::size_t done = 0;
        while (done < out.size()) {
            const ssize_t n = uninterrupted(
                [&] { return ::pread(fd_.get(), out.data() + done, out.size() - done, position(offset + done)); });
            if (n < 0) fail();
            if (n == 0) break;
            done += static_cast<std::size_t>(n);
        }
        return done;
    }

    using disk_file::write_at;
    void write_at(std::uint64_t offset, std::span<const byte_view> data) override {
        std::size_t next = 0;     // the buffer to go on with,
        std::size_t skipped = 0;  // and how much of it is written
        for (;;) {
            std::array<::iovec, 64> parts;
            static_assert(std::tuple_size_v<decltype(parts)> <= IOV_MAX);
            int count = 0;
            for (std::size_t i = next; i < data.size() && count < static_cast<int>(parts.size()); ++i) {
                const byte_view left = data[i].subspan(i == next ? skipped : 0);
                if (left.empty()) continue;
                parts[static_cast<std::size_t>(count++)] = {const_cast<std::uint8_t*>(left.data()), left.size()};
            }
            if (count == 0) return;
            const ssize_t n =
                uninterrupted([&] { return ::pwritev(fd_.get(), parts.data(), count, position(offset)); });
            if (n < 0) fail();
            // A device that takes nothing and says nothing would keep us here for ever.
            if (n == 0) raise(errc::disk_full, path_);
            offset += static_cast<std::uint64_t>(n);
            for (auto left = static_cast<std::size_t>(n); left > 0;) {
                const std::size_t step = std::min(left, data[next].size() - skipped);
                left -= step;
                skipped += step;
                if (skipped == data[next].size()) {
                    ++next;
                    skipped = 0;
                }
            }
        }
    }

    std::uint64_t size() override { return to_stamp(info()).size; }

    void resize(std::uint64_t size) override {
        if (uninterrupted([&] { return ::ftruncate(fd_.get(), position(size)); }) != 0) fail();
    }

    void allocate(std::uint64_t size) override {
        if (size == 0) return;
        int error = EINTR;
        while (error == EINTR) error = ::posix_fallocate(fd_.get(), 0, position(size));
        if (error != 0) raise_disk_error(error, path_);
    }

    void sync() override {
        if (uninterrupted([&] { return ::fdatasync(fd_.get()); }) == 0) return;
        const int error = errno;
        forget_cached(fd_.get());
        raise_disk_error(error, path_);
    }

    file_stamp stamp() override {
        const struct stat now = info();
        if (now.st_nlink == 0) raise(errc::file_missing, path_);
        return to_stamp(now);
    }

    int native_handle() const override { return fd_.get(); }

    std::uint64_t next_data(std::uint64_t offset) override {
        const off_t found = ::lseek(fd_.get(), position(offset), SEEK_DATA);
        if (found >= 0) return static_cast<std::uint64_t>(found);
        // ENXIO: no data from here on. Anything else: this file system cannot tell.
        return errno == ENXIO ? std::max(size(), offset) : offset;
    }

    void prefetch(std::uint64_t offset, std::uint64_t length) override {
        ::posix_fadvise(fd_.get(), position(offset), position(length), POSIX_FADV_WILLNEED);
    }

private:
    [[noreturn]] void fail() const { raise_disk_error(errno, path_); }

    off_t position(std::uint64_t value) const {
        if (value > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) raise_disk_error(EFBIG, path_);
        return static_cast<off_t>(value);
    }

    struct stat info() const {
        struct stat now;
        if (::fstat(fd_.get(), &now) != 0) fail();
        return now;
    }

    unique_fd fd_;
    std::string path_;
};

}  // namespace detail

class real_disk final : public disk {
public:
    std::unique_ptr<disk_file> open(const disk_path& path, open_mode mode) override {
        // Whoever opens must not be held up by a pipe or get a terminal: such things are refused just below.
        constexpr int common = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
        detail::unique_fd file;
        if (mode == open_mode::read) {
            split(path);
            file = open_at(AT_FDCWD, path.text(), O_RDONLY | common, path);
        } else {
            const int flags = O_RDWR | common | (mode == open_mode::create ? O_CREAT : 0);
            if (path.below.empty()) {
                file = open_at(AT_FDCWD, path.root, flags, path);
            } else {
                const entry at = find(path);
                file = open_at(at.folder.get(), at.name, flags | O_NOFOLLOW, path);
            }
        }
        struct stat info;
        if (::fstat(file.get(), &info) != 0) raise_disk_error(errno, path.text());
        if (!S_ISREG(info.st_mode)) raise(errc::path_unsafe, path.text() + " is not a regular file");
        return std::make_unique<detail::real_file>(std::move(file), path.text());
    }

    void create_directories(const disk_path& path) override {
        std::error_code error;
        std::filesystem::create_directories(path.root, error);
        if (error) raise_disk_error(error.value(), path.root);
        walk(path, split(path), true);
    }

    void remove(const disk_path& path) override {
        const entry at = find(path);
        if (::unlinkat(at.folder.get(), at.name.c_str(), 0) != 0 && errno != ENOENT)
            raise_disk_error(errno, path.text());
    }

    void rename(const disk_path& from, const disk_path& to) override {
        const entry source = find(from);
        const entry target = find(to);
        if (::renameat(source.folder.get(), source.name.c_str(), target.folder.get(), target.name.c_str()) != 0)
            raise_disk_error(errno, from.text());
    }

    std::optional<file_stamp> stat(const disk_path& path) override {
        struct stat info;
        if (::stat(path.text().c_str(), &info) == 0) {
            if (!S_ISREG(info.st_mode)) return std::nullopt;
            return detail::to_stamp(info);
        }
        if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
        raise_disk_error(errno, path.text());
    }

    void sync_directory(const disk_path& path) override {
        const detail::unique_fd folder = open_at(AT_FDCWD, path.text(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, path);
        // EINVAL: this file system keeps its directories safe on its own.
        if (::fsync(folder.get()) != 0 && errno != EINVAL) raise_disk_error(errno, path.text());
    }

    /// A sync makes the file system write its own log, which takes milliseconds each time: twenty thousand small files
    /// would take minutes. From some number on it is quicker to sync each file system that they are on as a whole.
    void sync_files(std::span<const disk_path> paths) override {
        constexpr std::size_t few = 32;
        if (paths.size() <= few) return disk::sync_files(paths);
        try {
            sync_file_systems(paths);
        } catch (...) {
            for (const disk_path& path : paths) forget(path);
            throw;
        }
    }

    /// Linux gives each boot an id. Where it is not to be had the answer is empty, which no caller may trust.
    std::string boot_id() override {
        std::ifstream in("/proc/sys/kernel/random/boot_id");
        std::string id;
        std::getline(in, id);
        return id;
    }

    std::uint64_t free_space(const std::string& root) override {
        struct statvfs info;
        if (::statvfs(root.c_str(), &info) != 0) raise_disk_error(errno, root);
        return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
    }

private:
    void sync_file_systems(std::span<const disk_path> paths) {
        std::map<dev_t, const disk_path*> file_systems;
        for (const disk_path& path : paths) {
            struct stat info;
            if (::stat(path.text().c_str(), &info) != 0) raise_disk_error(errno, path.text());
            file_systems.emplace(info.st_dev, &path);
        }
        for (const auto& [device, path] : file_systems) {
            const std::unique_ptr<disk_file> file = open(*path, open_mode::read_write);
            if (::syncfs(file->native_handle()) != 0) raise_disk_error(errno, path->text());
        }
        // What could not be written, syncfs() tells not before Linux 5.8, and later only the first who asks. Each file
        // tells as well, and as nothing is left to be written that takes no time.
        for (const disk_path& path : paths) {
            const std::unique_ptr<disk_file> file = open(path, open_mode::read_write);
            const int handle = file->native_handle();
            const auto wait = [&] { return ::sync_file_range(handle, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE); };
            if (detail::uninterrupted(wait) != 0) raise_disk_error(errno, path.text());
        }
    }

    void forget(const disk_path& path) {
        try {
            detail::forget_cached(open(path, open_mode::read)->native_handle());
        } catch (...) {
            caught_error();  // Another failure is being told.
        }
    }

    /// The parts of `below`; fails with errc::path_unsafe where one would lead out.
    static std::vector<std::string> split(const disk_path& path) {
        std::vector<std::string> parts;
        if (path.below.empty()) return parts;
        if (path.below.find('\0') != std::string::npos) raise(errc::path_unsafe, path.root);
        std::string_view left = path.below;
        for (;;) {
            const std::size_t slash = left.find('/');
            const std::string_view part = left.substr(0, slash);
            if (part.empty() || part == "." || part == "..") raise(errc::path_unsafe, path.text());
            parts.emplace_back(part);
            if (slash == std::string_view::npos) return parts;
            left.remove_prefix(slash + 1);
        }
    }

    static detail::unique_fd open_at(int folder, const std::string& name, int flags, const disk_path& whole) {
        detail::unique_fd fd(
            detail::uninterrupted([&] { return ::openat(folder, name.c_str(), flags, mode_t{0666}); }));
        if (fd) return fd;
        // Who only reads may follow links, so a file where a directory belongs just means that nothing is there.
        if (errno == ENOTDIR && (flags & (O_ACCMODE | O_PATH | O_DIRECTORY)) == O_RDONLY)
            raise(errc::file_missing, whole.text());
        // Who writes may not: what stands where a file or directory belongs is as little ours as a link.
        if (errno == EISDIR || errno == ENOTDIR || errno == ENXIO) raise(errc::path_unsafe, whole.text());
        raise_disk_error(errno, whole.text());
    }

    struct entry {
        detail::unique_fd folder;
        std::string name;
    };

    /// The directory that holds what `below` names. `below` must not be empty.
    static entry find(const disk_path& path) {
        std::vector<std::string> parts = split(path);
        if (parts.empty()) raise(errc::path_unsafe, path.root);
        std::string name = std::move(parts.back());
        parts.pop_back();
        return {walk(path, parts, false), std::move(name)};
    }

    /// From the root down the given parts, making those that are missing if asked to.
    static detail::unique_fd walk(const disk_path& path, const std::vector<std::string>& parts, bool make) {
        constexpr int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
        detail::unique_fd here = open_at(AT_FDCWD, path.root.empty() ? "." : path.root, flags, path);
        for (const std::string& part : parts) {
            if (make && ::mkdirat(here.get(), part.c_str(), 0777) != 0 && errno != EEXIST)
                raise_disk_error(errno, path.text());
            here = open_at(here.get(), part, flags | O_NOFOLLOW, path);
        }
        return here;
    }
};

}  // namespace cohort
