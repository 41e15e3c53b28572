#include <cohort/core/bitfield.hpp>

#include <array>
#include <cstdint>
#include <initializer_list>

#include <doctest/doctest.h>

namespace bitfield_test {

using namespace cohort;

TEST_CASE("piece 0 is the highest bit of the first byte") {
    bitfield pieces(10);
    CHECK(pieces.set(0));
    CHECK(pieces.set(9));
    REQUIRE(pieces.bytes().size() == 2);
    CHECK(pieces.bytes()[0] == 0x80);
    CHECK(pieces.bytes()[1] == 0x40);
}

TEST_CASE("set and reset say whether they changed anything, and the count follows") {
    bitfield pieces(9);
    CHECK(pieces.none());
    CHECK(pieces.set(8));
    CHECK_FALSE(pieces.set(8));
    CHECK(pieces.count() == 1);
    CHECK(pieces.get(8));
    CHECK_FALSE(pieces.get(7));
    CHECK(pieces.reset(8));
    CHECK_FALSE(pieces.reset(8));
    CHECK(pieces.none());
}

TEST_CASE("a full bitfield has no spare bits set and equals one filled piece by piece") {
    for (const std::uint32_t size : {0U, 1U, 7U, 8U, 9U, 64U, 65U}) {
        CAPTURE(size);
        const bitfield full(size, true);
        bitfield filled(size);
        for (std::uint32_t i = 0; i < size; ++i) filled.set(i);
        CHECK(full.all());
        CHECK(full.count() == size);
        CHECK(full == filled);
    }
}

TEST_CASE("a bitfield from the wire must have the exact length and no spare bits") {
    const std::array<std::uint8_t, 2> good{0x81, 0x80};
    const auto pieces = bitfield::from_wire(good, 9);
    REQUIRE(pieces);
    CHECK(pieces->count() == 3);
    CHECK(pieces->get(0));
    CHECK(pieces->get(7));
    CHECK(pieces->get(8));

    const std::array<std::uint8_t, 2> spare{0x81, 0xc0};
    CHECK_FALSE(bitfield::from_wire(spare, 9));
    CHECK_FALSE(bitfield::from_wire(good, 8));
    CHECK_FALSE(bitfield::from_wire(good, 17));
    CHECK_FALSE(bitfield::from_wire({}, 1));
    REQUIRE(bitfield::from_wire({}, 0));
    CHECK(bitfield::from_wire({}, 0)->all());
}

TEST_CASE("one bitfield added to another has the bits of both, and counts them") {
    bitfield ours(10), theirs(10);
    for (const std::uint32_t bit : {0u, 7u, 9u}) ours.set(bit);
    for (const std::uint32_t bit : {1u, 7u, 8u}) theirs.set(bit);
    ours |= theirs;
    CHECK(ours.count() == 5);
    for (const std::uint32_t bit : {0u, 1u, 7u, 8u, 9u}) CHECK(ours.get(bit));
    bitfield nothing;
    nothing |= bitfield();
    CHECK(nothing.all());
}

}  // namespace bitfield_test
