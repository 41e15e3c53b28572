// An open file with known contents, gone when the test ends.
#pragma once

#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "support/temp_dir.hpp"

namespace cohort::test {

class open_file {
public:
    explicit open_file(byte_vector content) : bytes(std::move(content)) {
        write_file(folder_ / "file", bytes);
        handle = ::open((folder_ / "file").c_str(), O_RDWR | O_CLOEXEC);
        if (handle < 0) throw std::system_error(errno, std::generic_category(), folder_.string());
    }
    ~open_file() { ::close(handle); }
    open_file(const open_file&) = delete;
    open_file& operator=(const open_file&) = delete;

    byte_vector bytes;
    int handle = -1;

private:
    temp_dir folder_;
};

}  // namespace cohort::test
