#include <doctest/doctest.h>

#include <cohort/protocol/peer_state.hpp>

namespace peer_state_test {

using namespace cohort;

namespace {

/// Ten pieces, the last one short.
piece_layout ten_pieces() { return {9 * 32'768 + 5, 32'768}; }

byte_vector bits(std::uint8_t first, std::uint8_t second) { return {first, second}; }

}  // namespace

TEST_CASE("a connection begins choked and not interested on both sides, without a piece") {
    const peer_state state(ten_pieces(), true);
    CHECK(state.am_choking);
    CHECK(state.peer_choking);
    CHECK_FALSE(state.am_interested);
    CHECK_FALSE(state.peer_interested);
    CHECK(state.has.size() == 10);
    CHECK(state.has.none());
}

TEST_CASE("messages that arrive set the peer's flags, messages that go out set ours") {
    peer_state state(ten_pieces(), false);
    CHECK_FALSE(state.apply(wire::unchoke{}));
    CHECK_FALSE(state.apply(wire::interested{}));
    CHECK_FALSE(state.peer_choking);
    CHECK(state.peer_interested);
    CHECK(state.am_choking);
    CHECK_FALSE(state.am_interested);
    CHECK_FALSE(state.apply(wire::choke{}));
    CHECK_FALSE(state.apply(wire::not_interested{}));
    CHECK(state.peer_choking);
    CHECK_FALSE(state.peer_interested);

    state.sent(wire::unchoke{});
    state.sent(wire::interested{});
    CHECK_FALSE(state.am_choking);
    CHECK(state.am_interested);
    state.sent(wire::request{{1, 0, 5}});
    state.sent(wire::choke{});
    state.sent(wire::not_interested{});
    CHECK(state.am_choking);
    CHECK_FALSE(state.am_interested);
    CHECK(state.peer_choking);
}

TEST_CASE("a bitfield tells what the peer has, and have messages add to it") {
    peer_state state(ten_pieces(), false);
    const byte_vector some = bits(0b1000'0001, 0b0100'0000);
    CHECK_FALSE(state.apply(wire::bitfield{some}));
    CHECK(state.has.count() == 3);
    CHECK(state.has.get(0));
    CHECK(state.has.get(7));
    CHECK(state.has.get(9));
    CHECK_FALSE(state.apply(wire::have{8}));
    CHECK_FALSE(state.apply(wire::have{8}));
    CHECK(state.has.count() == 4);
}

TEST_CASE("a bitfield of the wrong size or with spare bits set is a violation and changes nothing") {
    peer_state state(ten_pieces(), false);
    const byte_vector spare = bits(0xff, 0b1110'0000);
    const byte_vector good = bits(0xff, 0b1100'0000);
    CHECK(state.apply(wire::bitfield{byte_view(good).first(1)}) == errc::bitfield_invalid);
    CHECK(state.apply(wire::bitfield{}) == errc::bitfield_invalid);
    CHECK(state.apply(wire::bitfield{spare}) == errc::bitfield_invalid);
    const byte_vector long_one(3);
    CHECK(state.apply(wire::bitfield{long_one}) == errc::bitfield_invalid);
    CHECK(state.has.none());
}

TEST_CASE("a later bitfield adds to what is known, and takes nothing back") {
    const byte_vector some = bits(0b1000'0001, 0b0100'0000);
    const byte_vector more = bits(0b0100'0000, 0b0100'0000);
    const byte_vector spare = bits(0xff, 0b1110'0000);
    const wire::message firsts[] = {wire::bitfield{some}, wire::have_none{}, wire::have{3}};
    const std::uint32_t counts[] = {4, 2, 3};
    for (std::size_t i = 0; i < 3; ++i) {
        peer_state state(ten_pieces(), true);
        CHECK_FALSE(state.pieces_known());
        CHECK_FALSE(state.apply(firsts[i]));
        CHECK(state.pieces_known());
        CHECK_FALSE(state.apply(wire::bitfield{more}));
        CHECK(state.has.count() == counts[i]);
        CHECK(state.has.get(1));
        CHECK(state.has.get(9));
        CHECK(state.apply(wire::bitfield{spare}) == errc::bitfield_invalid);
        CHECK(state.has.count() == counts[i]);
    }
}

TEST_CASE("only the first word about pieces may be have_all or have_none") {
    const byte_vector all = bits(0xff, 0b1100'0000);
    const wire::message firsts[] = {wire::bitfield{all}, wire::have_all{}, wire::have_none{}, wire::have{3}};
    const wire::message seconds[] = {wire::have_all{}, wire::have_none{}};
    for (const wire::message& first : firsts) {
        for (const wire::message& second : seconds) {
            peer_state state(ten_pieces(), true);
            CHECK_FALSE(state.apply(first));
            const std::uint32_t had = state.has.count();
            CHECK(state.apply(second) == errc::bitfield_invalid);
            CHECK(state.has.count() == had);
        }
    }
}

TEST_CASE("other messages may come before the bitfield") {
    peer_state state(ten_pieces(), true);
    const byte_vector all = bits(0xff, 0b1100'0000);
    CHECK_FALSE(state.apply(wire::extended{0, all}));
    CHECK_FALSE(state.apply(wire::port{6881}));
    CHECK_FALSE(state.apply(wire::keep_alive{}));
    CHECK_FALSE(state.apply(wire::bitfield{all}));
    CHECK(state.has.all());
}

TEST_CASE("messages of the Fast extension are violations where it was not agreed on") {
    const wire::message fast_ones[] = {wire::have_all{}, wire::have_none{}, wire::reject{{0, 0, 16'384}},
                                       wire::suggest{1}, wire::allowed_fast{1}};
    for (const wire::message& one : fast_ones) {
        peer_state without(ten_pieces(), false);
        CHECK(without.apply(one) == errc::message_malformed);
        peer_state with(ten_pieces(), true);
        CHECK_FALSE(with.apply(one));
    }
}

TEST_CASE("indices and ranges outside the torrent are violations") {
    peer_state state(ten_pieces(), true);
    CHECK(state.apply(wire::have{10}) == errc::index_out_of_range);
    CHECK(state.apply(wire::have{0xffffffff}) == errc::index_out_of_range);
    CHECK_FALSE(state.apply(wire::have{9}));

    const byte_vector data(6);
    CHECK(state.apply(wire::piece{9, 0, data}) == errc::index_out_of_range);
    CHECK(state.apply(wire::piece{10, 0, data}) == errc::index_out_of_range);
    CHECK(state.apply(wire::piece{0, 0xffffffff, data}) == errc::index_out_of_range);
    CHECK(state.apply(wire::piece{0, 0, {}}) == errc::index_out_of_range);
    CHECK_FALSE(state.apply(wire::piece{9, 0, byte_view(data).first(5)}));
}

TEST_CASE("requests and cancels are not judged here, and unknown messages are ignored") {
    peer_state state(ten_pieces(), true);
    CHECK_FALSE(state.apply(wire::request{{99, 0, 1}}));
    CHECK_FALSE(state.apply(wire::cancel{{99, 0, 1}}));
    CHECK_FALSE(state.apply(wire::unknown{200}));
}

}  // namespace peer_state_test
