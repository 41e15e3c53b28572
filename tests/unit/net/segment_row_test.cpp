// A row of segments is sent whole and in order, however little goes out at a time.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include <cohort/net/segment_row.hpp>

#include "support/open_file.hpp"
#include "support/test_content.hpp"

namespace segment_row_test {

using namespace cohort;

namespace {

/// What goes out if `memory` bytes of files are read at once and `sent` bytes taken of them.
byte_vector sent_of(std::span<const segment> segments, std::size_t memory, std::size_t sent) {
    byte_vector out;
    byte_vector space(memory);
    segment_row row(segments);
    while (!row.empty()) {
        byte_vector stretch;
        for (const byte_view part : row.gather(space)) stretch.insert(stretch.end(), part.begin(), part.end());
        REQUIRE(!stretch.empty());
        stretch.resize(std::min(stretch.size(), sent));
        out.insert(out.end(), stretch.begin(), stretch.end());
        row.advance(stretch.size());
    }
    return out;
}

}  // namespace

TEST_CASE("a row of segments goes out in order, in stretches of any size") {
    const byte_vector content = test::random_bytes(3000);
    const byte_vector text = test::random_bytes(40, 2);
    const test::open_file file(content);
    const byte_view all = content, words = text;
    // Headers between ranges that follow one another, ranges that do not, and nothing at all at either end.
    const std::vector<segment> segments{byte_view(),
                                        file_slice{file.handle, 0, 0},
                                        words.first(13),
                                        file_slice{file.handle, 100, 300},
                                        words.first(13),
                                        file_slice{file.handle, 400, 700},
                                        words,
                                        file_slice{file.handle, 50, 1},
                                        file_slice{file.handle, 51, 1000},
                                        byte_view(),
                                        file_slice{file.handle, 2999, 1},
                                        words.last(1),
                                        file_slice{file.handle, 0, 0}};
    byte_vector wanted;
    for (const byte_view part : {words.first(13), all.subspan(100, 300), words.first(13), all.subspan(400, 700), words,
                                 all.subspan(50, 1001), all.last(1), words.last(1)})
        wanted.insert(wanted.end(), part.begin(), part.end());
    for (const std::size_t memory : {1u, 2u, 17u, 300u, 999u, 5000u})
        for (const std::size_t sent : {1u, 7u, 313u, 5000u}) CHECK(sent_of(segments, memory, sent) == wanted);
}

TEST_CASE("a row of more segments than one call takes goes out whole") {
    const byte_vector content = test::random_bytes(1000);
    const test::open_file file(content);
    std::vector<segment> segments;
    for (std::uint64_t at = 0; at < content.size(); ++at) segments.push_back(file_slice{file.handle, at, 1});
    CHECK(sent_of(segments, 5000, 5000) == content);
}

TEST_CASE("a row without a byte has nothing to send") {
    const std::vector<segment> nothing{byte_view(), file_slice{0, 0, 0}};
    CHECK(segment_row(nothing).empty());
    CHECK(segment_row({}).empty());
}

TEST_CASE("a range beyond the end of its file, and one that cannot be read, are failures") {
    const test::open_file file(test::random_bytes(100));
    byte_vector space(1000);
    const std::vector<segment> beyond{file_slice{file.handle, 90, 20}};
    CHECK(test::failure_of([&] { segment_row(beyond).gather(space); }) == errc::file_changed);
    const std::vector<segment> closed{file_slice{-1, 0, 20}};
    CHECK(test::failure_of([&] { segment_row(closed).gather(space); }) == std::errc::bad_file_descriptor);
}

}  // namespace segment_row_test
