#include <cohort/policy/partial_piece.hpp>

#include <doctest/doctest.h>

namespace partial_piece_test {

using namespace cohort;

namespace {

std::vector<peer_key> asked(const partial_piece& piece, std::uint32_t number) {
    std::vector<peer_key> out;
    piece.requesters(number, out);
    return out;
}

}  // namespace

TEST_CASE("a block goes from open over asked of one to asked of two and back") {
    partial_piece piece(7, 3);
    CHECK(piece.untouched());
    piece.request(1, 10);
    CHECK_FALSE(piece.open().get(1));
    CHECK(piece.single().get(1));
    CHECK_FALSE(piece.untouched());
    piece.request(1, 11);
    CHECK_FALSE(piece.single().get(1));
    CHECK(asked(piece, 1) == std::vector<peer_key>{10, 11});

    CHECK_FALSE(piece.abandon(1, 10));
    CHECK(piece.single().get(1));
    CHECK(piece.is_requested(1, 11));
    CHECK_FALSE(piece.is_requested(1, 10));
    CHECK(piece.abandon(1, 11));
    CHECK(piece.open().get(1));
    CHECK_FALSE(piece.abandon(1, 11));
}

TEST_CASE("a received block knows who gave it and who still owes a second copy") {
    partial_piece piece(7, 2);
    piece.request(0, 10);
    piece.request(0, 11);
    CHECK(piece.receive(0, 11));
    CHECK(piece.received().get(0));
    CHECK_FALSE(piece.open().get(0));
    CHECK_FALSE(piece.single().get(0));
    CHECK(asked(piece, 0) == std::vector<peer_key>{10});
    CHECK_FALSE(piece.receive(0, 10));
    CHECK(asked(piece, 0).empty());
    CHECK(piece.contributors() == std::vector<peer_key>{11, no_peer});
}

TEST_CASE("giving up a second copy does not open a block that has come") {
    partial_piece piece(7, 1);
    piece.request(0, 10);
    piece.request(0, 11);
    piece.receive(0, 10);
    CHECK_FALSE(piece.abandon(0, 11));
    CHECK(piece.open().none());
    CHECK(piece.received().all());
}

}  // namespace partial_piece_test
