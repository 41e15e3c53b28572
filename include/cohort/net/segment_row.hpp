// What goes out in one write, bytes in memory and ranges of files by turns, brought into memory a stretch at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <variant>

#include <unistd.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/file_slice.hpp>

namespace cohort {

/// What goes out in one write: bytes in memory, or a range of a file.
using segment = std::variant<byte_view, file_slice>;

inline std::size_t size_of(byte_view part) { return part.size(); }
inline std::size_t size_of(const segment& part) {
    const auto* const slice = std::get_if<file_slice>(&part);
    return slice != nullptr ? slice->length : std::get<byte_view>(part).size();
}

/// Moves on in what is left of a row of parts: `done` bytes of the first were out before, `more` are now. No empty part
/// is left at the front.
template <class Part>
void advance(std::span<const Part>& left, std::size_t& done, std::size_t more) {
    while (!left.empty() && more >= size_of(left.front()) - done) {
        more -= size_of(left.front()) - done;
        done = 0;
        left = left.subspan(1);
    }
    done += more;
}

/// Reads a whole range to `to`. Throws errc::file_changed when the file ends before it does, or the system's error.
inline void read_range(const file_slice& range, std::uint8_t* to) {
    for (std::size_t have = 0; have < range.length;) {
        const auto at = static_cast<off_t>(range.offset + have);
        const ssize_t got = ::pread(range.handle, to + have, range.length - have, at);
        if (got == 0) raise(errc::file_changed);
        if (got < 0 && errno != EINTR) raise({errno, std::generic_category()}, "reading a file to send");
        if (got > 0) have += static_cast<std::size_t>(got);
    }
}

/// A place in a row of segments, which outlive it.
///
/// Blocks stand between short headers, so a call of the kernel for each of both would cost more than reading a
/// few blocks at once to where the processor's cache still has them when they are sent: half as much in all on Linux,
/// for the side that receives larger packets too.
class segment_row {
public:
    explicit segment_row(std::span<const segment> all) : left_(all) { advance(0); }

    bool empty() const { return left_.empty(); }

    /// The next bytes: whatever is in memory, and of files as much as `memory` takes, one call for ranges that follow
    /// one another. The views are valid until the next call. Throws errc::file_changed when a file ends before its
    /// range does, or the system's error. Does not move on.
    std::span<const byte_view> gather(byte_span memory);

    /// So many of the bytes that follow have gone out.
    void advance(std::size_t sent) { cohort::advance(left_, done_, sent); }

private:
    std::span<const segment> left_;
    std::size_t done_ = 0;  // bytes of the first segment that have gone out
    std::array<byte_view, 64> views_;
};

inline std::span<const byte_view> segment_row::gather(byte_span memory) {
    std::size_t count = 0;
    std::size_t skip = done_;
    file_slice pending;  // read at the end, or when a range does not follow it
    std::uint8_t* pending_to = memory.data();
    for (const segment& part : left_) {
        if (count == views_.size()) break;
        const auto* const slice = std::get_if<file_slice>(&part);
        if (slice == nullptr) {
            views_[count++] = std::get<byte_view>(part).subspan(skip);
            skip = 0;
            continue;
        }
        const std::size_t length = std::min(slice->length - skip, memory.size());
        if (length == 0 && skip < slice->length) break;
        const std::uint64_t offset = slice->offset + skip;
        const bool follows = slice->handle == pending.handle && offset == pending.offset + pending.length;
        if (!follows) {
            read_range(pending, pending_to);
            pending = {slice->handle, offset, 0};
            pending_to = memory.data();
        }
        pending.length += length;
        views_[count++] = memory.first(length);
        memory = memory.subspan(length);
        if (length < slice->length - skip) break;
        skip = 0;
    }
    read_range(pending, pending_to);
    return std::span(views_).first(count);
}

}  // namespace cohort
