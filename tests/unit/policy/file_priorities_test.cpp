#include <doctest/doctest.h>

#include <cohort/policy/file_priorities.hpp>

namespace file_priorities_test {

using namespace cohort;

namespace {

/// Files of 24 KiB, 8 KiB, nothing, and 16 KiB of padding before 4 KiB, in pieces of 16 KiB.
metainfo four_files() {
    metainfo info;
    info.piece_length = 16 * 1024;
    std::uint64_t offset = 0;
    const auto add = [&](std::uint64_t length, bool pad) {
        info.files.push_back({"f" + std::to_string(info.files.size()), length, offset, pad});
        offset += length;
    };
    add(24 * 1024, false);
    add(8 * 1024, false);
    add(0, false);
    add(16 * 1024, true);
    add(4 * 1024, false);
    info.total_size = offset;
    return info;
}

using priorities = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("without wishes every piece of a file has the default priority, and padding none") {
    CHECK(piece_priorities(four_files(), {}) == priorities{4, 4, 0, 4});
}

TEST_CASE("a piece that belongs to two files has the higher of their priorities") {
    const priorities wishes{0, 6};
    CHECK(piece_priorities(four_files(), wishes) == priorities{0, 6, 0, 4});
}

TEST_CASE("priorities above the highest count as that, and wishes for files that are not there are ignored") {
    const priorities wishes{9, 0, 5, 5, 0, 7, 7};
    CHECK(piece_priorities(four_files(), wishes) == priorities{7, 7, 0, 0});
}

}  // namespace file_priorities_test
