// A .torrent file, read and written.
#pragma once

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/protocol/metainfo_write.hpp>
#include <cohort/storage/real_disk.hpp>

namespace cohort {

/// No torrent that we load is larger: two million pieces and their files fit.
inline constexpr std::size_t torrent_file_max = 256 * 1024 * 1024;

/// The torrent in the file. Throws std::system_error with the path: the system's code, errc::bencode_limit for a file
/// above torrent_file_max, or why it is not a torrent.
inline metainfo read_torrent(const std::string& path) {
    std::error_code error;
    errno = 0;
    std::ifstream in(path, std::ios::binary);
    byte_vector bytes;
    std::string buffer(64 * 1024, '\0');
    while (in && bytes.size() <= torrent_file_max) {
        in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
        bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + in.gcount());
    }
    if (bytes.size() > torrent_file_max) raise(errc::bencode_limit, path);
    if (!in.eof()) raise({errno != 0 ? errno : EIO, std::generic_category()}, "cannot read " + path);
    auto info = parse_metainfo(bytes, error);
    if (!info) raise(error, path);
    return std::move(*info);
}

/// Writes the .torrent file of `info`, whole or not at all, also if the power goes: who watches for the file never
/// reads a part of it. Throws std::system_error with the path; then nothing is left behind.
inline void write_torrent(const std::string& path, const metainfo& info) {
    const std::string bytes = write_metainfo(info);
    std::string unfinished;
    detail::unique_fd fresh;
    // Files of that name that are there already are somebody else's.
    for (unsigned number = 0; !fresh; ++number) {
        unfinished = path + "." + std::to_string(number) + ".part";
        constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
        fresh =
            detail::unique_fd(detail::uninterrupted([&] { return ::open(unfinished.c_str(), flags, mode_t{0666}); }));
        if (!fresh && errno != EEXIST) raise({errno, std::generic_category()}, "cannot write " + path);
    }
    try {
        detail::real_file out(std::move(fresh), path);
        out.write_at(0, as_bytes(bytes));
        out.sync();
        if (::rename(unfinished.c_str(), path.c_str()) != 0) raise({errno, std::generic_category()}, path);
    } catch (const std::system_error& error) {
        ::unlink(unfinished.c_str());
        raise(error.code(), "cannot write " + path);
    }
}

}  // namespace cohort
