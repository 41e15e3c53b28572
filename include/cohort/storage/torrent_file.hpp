// A .torrent file, read and written.
#pragma once

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/protocol/metainfo_write.hpp>

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

/// Writes the .torrent file of `info`, whole or not at all: who watches for the file never reads a part of it. Throws
/// std::system_error with the path.
inline void write_torrent(const std::string& path, const metainfo& info) {
    const std::string bytes = write_metainfo(info);
    const std::string unfinished = path + ".part";
    errno = 0;
    std::ofstream out(unfinished, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    std::error_code error;
    if (!out) error.assign(errno != 0 ? errno : EIO, std::generic_category());
    if (!error) std::filesystem::rename(unfinished, path, error);
    if (!error) return;
    std::error_code ignored;
    std::filesystem::remove(unfinished, ignored);
    raise(error, "cannot write " + path);
}

}  // namespace cohort
