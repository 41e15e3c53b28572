// A range of an open file: what is to be sent of it, before anybody has read it.
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
