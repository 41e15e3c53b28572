// A directory of a test's own, gone when the test ends.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <cohort/core/bytes.hpp>

namespace cohort::test {

class temp_dir {
public:
    temp_dir() {
        std::string pattern = (std::filesystem::temp_directory_path() / "cohort-test-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::system_error(errno, std::generic_category(), pattern);
        path_ = pattern;
    }
    ~temp_dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    temp_dir(const temp_dir&) = delete;
    temp_dir& operator=(const temp_dir&) = delete;

    std::string string() const { return path_.string(); }
    std::filesystem::path operator/(const std::string& below) const { return path_ / below; }

private:
    std::filesystem::path path_;
};

/// Writes a whole file, with the folders it needs.
inline void write_file(const std::filesystem::path& path, byte_view content) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    out.close();
    if (!out) throw std::system_error(std::make_error_code(std::errc::io_error), path.string());
}

inline void write_file(const std::filesystem::path& path, std::string_view content) {
    write_file(path, as_bytes(content));
}

}  // namespace cohort::test
