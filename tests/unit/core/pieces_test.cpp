#include <cohort/core/pieces.hpp>

#include <cstdint>
#include <initializer_list>
#include <limits>

#include <doctest/doctest.h>

namespace pieces_test {

using namespace cohort;

TEST_CASE("the last piece and its last block are what is left") {
    const piece_layout layout(3 * 32768 + 20000, 32768);
    CHECK(layout.piece_count() == 4);
    CHECK(layout.piece_size(2) == 32768);
    CHECK(layout.piece_size(3) == 20000);
    CHECK(layout.blocks_per_piece() == 2);
    CHECK(layout.blocks_in(3) == 2);
    CHECK(layout.block_at(3, 1) == block{3, 16384, 20000 - 16384});
    CHECK(layout.offset(3, 5) == 3 * 32768 + 5);
}

TEST_CASE("pieces that the size is a multiple of are all whole, and an empty torrent has none") {
    CHECK(piece_layout(65536, 32768).piece_count() == 2);
    CHECK(piece_layout(65536, 32768).piece_size(1) == 32768);
    CHECK(piece_layout(0, 32768).piece_count() == 0);
    CHECK_FALSE(piece_layout(0, 32768).contains({0, 0, 1}));
}

TEST_CASE("the blocks of every piece follow one another without gaps") {
    for (const std::uint32_t piece_length : {1U, 1000U, 16384U, 16385U, 50000U}) {
        const piece_layout layout(123457, piece_length);
        std::uint64_t at = 0;
        for (piece_index piece = 0; piece < layout.piece_count(); ++piece) {
            for (std::uint32_t number = 0; number < layout.blocks_in(piece); ++number) {
                const block one = layout.block_at(piece, number);
                REQUIRE(layout.offset(piece, one.begin) == at);
                REQUIRE(layout.is_block(one));
                at += one.length;
            }
        }
        CHECK(at == layout.total_size());
    }
}

TEST_CASE("ranges from the wire are checked without overflow") {
    const piece_layout layout(100000, 32768);
    constexpr std::uint32_t huge = std::numeric_limits<std::uint32_t>::max();
    CHECK(layout.contains({0, 1, 100}));
    CHECK_FALSE(layout.is_block({0, 1, 100}));
    CHECK_FALSE(layout.is_block({0, 0, 100}));
    CHECK_FALSE(layout.contains({0, 0, 0}));
    CHECK_FALSE(layout.contains({4, 0, 1}));
    CHECK_FALSE(layout.contains({huge, 0, 1}));
    CHECK_FALSE(layout.contains({0, huge, 2}));
    CHECK_FALSE(layout.contains({0, 16384, huge}));
    CHECK_FALSE(layout.contains({0, 32768, 1}));
    CHECK_FALSE(layout.contains({3, 1000, 1000}));
}

TEST_CASE("sizes beyond 32 bits are counted exactly") {
    const std::uint64_t size = (std::uint64_t{1} << 40) + 1;
    const piece_layout layout(size, 1 << 24);
    CHECK(layout.piece_count() == 65537);
    CHECK(layout.piece_size(65536) == 1);
    CHECK(layout.offset(65536) == size - 1);
}

}  // namespace pieces_test
