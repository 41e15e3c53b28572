#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/handshake.hpp>
#include <support/corpus.hpp>

namespace handshake_test {

using namespace cohort;

TEST_CASE("a handshake is the protocol's name, reserved bits, info-hash and peer id") {
    handshake h{.fast = true, .extension_protocol = true, .dht = true};
    h.hash.bytes.fill(0x11);
    h.id.bytes.fill(0x22);
    CHECK(to_hex(encode(h)) ==
          "13426974546f7272656e742070726f746f636f6c"
          "0000000000100005"
          "1111111111111111111111111111111111111111"
          "2222222222222222222222222222222222222222");
    h.fast = h.extension_protocol = h.dht = false;
    CHECK(to_hex(encode(h)).substr(40, 16) == "0000000000000000");
}

TEST_CASE("a handshake reads back as itself, and every prefix of it only asks for more") {
    random_engine random(1);
    for (int round = 0; round < 100; ++round) {
        handshake h{.fast = random.chance(0.5), .extension_protocol = random.chance(0.5), .dht = random.chance(0.5)};
        random.fill(h.hash.span());
        random.fill(h.id.span());
        byte_vector encoded(handshake_size);
        std::ranges::copy(encode(h), encoded.begin());
        encoded.push_back(0);
        for (std::size_t cut = 0; cut < handshake_size; ++cut) {
            byte_view in = byte_view(encoded).first(cut);
            std::error_code ec;
            REQUIRE_FALSE(parse_handshake(in, ec));
            REQUIRE_FALSE(ec);
            REQUIRE(in.size() == cut);
        }
        byte_view in = encoded;
        std::error_code ec;
        REQUIRE(parse_handshake(in, ec) == h);
        REQUIRE(in.size() == 1);
    }
}

TEST_CASE("the first byte that is not the protocol's name is refused at once") {
    const auto good = encode(handshake{});
    for (std::size_t wrong = 0; wrong < handshake_prefix.size(); ++wrong) {
        byte_vector bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(wrong) + 1);
        std::error_code ec;
        byte_view in = bytes;
        CHECK_FALSE(parse_handshake(in, ec));
        CHECK_FALSE(ec);
        bytes.back() ^= 0x20;
        in = bytes;
        CHECK_FALSE(parse_handshake(in, ec));
        CHECK(ec == errc::handshake_invalid);
    }
}

TEST_CASE("the corpus's handshakes have the stated results") {
    int seen = 0;
    for (const test::corpus_case& c : test::corpus("peerwire")) {
        if (c.input().get("op").get<std::string>() != "handshake") continue;
        CAPTURE(c.id);
        ++seen;
        const byte_vector input = c.bytes();
        byte_view in = input;
        std::error_code ec;
        const auto h = parse_handshake(in, ec);
        REQUIRE(h.has_value() == c.expect().get("valid").get<bool>());
        if (!h) {
            CHECK(ec == errc::handshake_invalid);
            continue;
        }
        CHECK(h->hash.hex() == c.expect().get("info_hash").get<std::string>());
        CHECK(h->id.hex() == c.expect().get("peer_id").get<std::string>());
        byte_vector reserved(8);
        REQUIRE(from_hex(c.expect().get("reserved").get<std::string>(), reserved));
        CHECK(h->extension_protocol == ((reserved[5] & 0x10) != 0));
        CHECK(h->fast == ((reserved[7] & 0x04) != 0));
        CHECK(h->dht == ((reserved[7] & 0x01) != 0));
    }
    CHECK(seen == 3);
}

}  // namespace handshake_test
