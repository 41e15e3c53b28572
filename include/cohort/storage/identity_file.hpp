// Where a person's secret lives: one small file that nobody else can read, made once and never written over.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/protocol/noise_crypto.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/real_disk.hpp>

namespace cohort {

/// The seed of an `identity`. Fails with errc::file_missing if there is no file, and with errc::identity_invalid, whose
/// message says what to do, if it is not an identity file, is damaged, belongs to another user, or may be read by
/// others.
secret32 read_identity_file(const std::string& path);

/// Makes the file with this seed, with mode 0600, and returns when it survives a loss of power. It appears whole or not
/// at all. Fails with std::errc::file_exists if there is one already, whatever it is, and otherwise as a disk does.
void create_identity_file(const std::string& path, const secret32& seed);

/// The seed of the file, which is made with a fresh one if there is none. Two programs that start at once get the same.
secret32 load_or_create_identity(const std::string& path);

/// Makes the folder if there is none, and the one it is in; a new one is for its owner alone. Fails as a disk does.
void create_private_folder(std::string path);

namespace detail {

inline constexpr std::string_view identity_title = "cohort identity 1, secret: whoever reads this can speak as you\n";
inline constexpr std::size_t identity_digits = 64;
inline constexpr std::size_t identity_check_digits = 16;
inline constexpr std::size_t identity_file_size =
    identity_title.size() + identity_digits + 1 + identity_check_digits + 1;

/// Tells a damaged seed: it would be somebody else's.
inline std::string identity_check(const secret32& seed) {
    sha256 hash;
    hash.update(as_bytes("cohort identity file"));
    hash.update(seed.view());
    return hash.finish().hex().substr(0, identity_check_digits);
}

inline void write_whole(int fd, byte_view bytes, const std::string& path) {
    while (!bytes.empty()) {
        const ssize_t n = uninterrupted([&] { return ::write(fd, bytes.data(), bytes.size()); });
        if (n < 0) raise_disk_error(errno, path);
        if (n == 0) raise(errc::disk_full, path);
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

inline void sync_parent(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    real_disk().sync_directory({parent, {}});
}

}  // namespace detail

inline secret32 read_identity_file(const std::string& path) {
    const detail::unique_fd file(
        detail::uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
    if (!file) raise_disk_error(errno, path);
    struct stat info;
    if (::fstat(file.get(), &info) != 0) raise_disk_error(errno, path);
    if (!S_ISREG(info.st_mode)) raise(errc::identity_invalid, path + " is not a regular file");
    if (info.st_uid != ::geteuid()) raise(errc::identity_invalid, path + " belongs to another user");
    if ((info.st_mode & 077) != 0)
        raise(errc::identity_invalid,
              path + " may be read or written by others. If it was never in other hands, run: chmod 600 " + path);

    std::array<char, detail::identity_file_size + 1> text;
    const byte_span in(reinterpret_cast<std::uint8_t*>(text.data()), text.size());
    std::size_t size = 0;
    while (size < in.size()) {
        const ssize_t n = detail::uninterrupted([&] { return ::read(file.get(), in.data() + size, in.size() - size); });
        if (n < 0) raise_disk_error(errno, path);
        if (n == 0) break;
        size += static_cast<std::size_t>(n);
    }
    std::string_view left(text.data(), size);
    secret32 seed;
    const bool good = size == detail::identity_file_size && left.starts_with(detail::identity_title) &&
                      from_hex(left.substr(detail::identity_title.size(), detail::identity_digits), seed.bytes) &&
                      left.substr(detail::identity_title.size() + detail::identity_digits) ==
                          "\n" + detail::identity_check(seed) + "\n";
    wipe(in);
    if (!good)
        raise(errc::identity_invalid, path +
                                          " is not an identity file, or damaged: restore it from a copy, or move it "
                                          "away to begin as somebody new");
    return seed;
}

inline void create_identity_file(const std::string& path, const secret32& seed) {
    std::string text(detail::identity_title);
    text.reserve(detail::identity_file_size);
    std::string digits = to_hex(seed.bytes);
    text += digits;
    wipe({reinterpret_cast<std::uint8_t*>(digits.data()), digits.size()});
    text += "\n" + detail::identity_check(seed) + "\n";

    std::string fresh = path + ".XXXXXX";
    const detail::unique_fd file(::mkostemp(fresh.data(), O_CLOEXEC));
    if (!file) raise_disk_error(errno, path);
    try {
        if (::fchmod(file.get(), 0600) != 0) raise_disk_error(errno, path);
        detail::write_whole(file.get(), as_bytes(text), path);
        if (detail::uninterrupted([&] { return ::fsync(file.get()); }) != 0) raise_disk_error(errno, path);
        // A rename would replace what is there; a second name cannot.
        if (::link(fresh.c_str(), path.c_str()) != 0) {
            if (errno == EEXIST) raise(std::make_error_code(std::errc::file_exists), path);
            raise_disk_error(errno, path);
        }
    } catch (...) {
        ::unlink(fresh.c_str());
        wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
        throw;
    }
    ::unlink(fresh.c_str());
    wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    detail::sync_parent(path);
}

inline secret32 load_or_create_identity(const std::string& path) {
    try {
        return read_identity_file(path);
    } catch (const std::system_error& error) {
        if (error.code() != errc::file_missing) throw;
    }
    secret32 seed;
    secret_random(seed.bytes);
    try {
        create_identity_file(path, seed);
    } catch (const std::system_error& error) {
        // Another program was quicker, and its seed is the one.
        if (error.code() != std::errc::file_exists) throw;
        return read_identity_file(path);
    }
    return seed;
}

inline void create_private_folder(std::string path) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    std::error_code error;
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    if (!parent.empty()) std::filesystem::create_directories(parent, error);
    if (error) raise_disk_error(error.value(), parent.string());
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) raise_disk_error(errno, path);
}

}  // namespace cohort
