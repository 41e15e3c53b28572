// A range of an open file, for handing file contents to a socket without copying them through user space.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cohort {

/// `length` bytes from `offset` of an open file. The handle's owner keeps it open while the slice is in use.
struct file_slice {
    int handle = -1;  ///< POSIX file descriptor
    std::uint64_t offset = 0;
    std::size_t length = 0;
};

}  // namespace cohort
