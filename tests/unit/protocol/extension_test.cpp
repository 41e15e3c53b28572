#include <ostream>
#include <string>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/extension.hpp>

namespace extension_test {

using namespace cohort;

namespace {

std::optional<extension_handshake> read(std::string_view text) {
    std::error_code ec;
    auto out = parse_extension_handshake(as_bytes(text), ec);
    CHECK(out.has_value() == !ec);
    return out;
}

}  // namespace

TEST_CASE("an extension handshake is a dictionary with sorted keys") {
    extension_handshake h;
    CHECK(write_extension_handshake(h) == "d1:mdee");
    h.m = {{"ut_pex", 1}, {"ut_metadata", 2}};
    h.v = "cohort";
    h.p = 6881;
    h.reqq = 500;
    h.yourip = ip_address::v4(0x01020304);
    h.metadata_size = 31235;
    h.upload_only = true;
    CHECK(write_extension_handshake(h) ==
          std::string("d1:md11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e"
                      "4:reqqi500e11:upload_onlyi1e1:v6:cohort6:yourip4:\x01\x02\x03\x04"
                      "e"));
}

TEST_CASE("a random extension handshake reads back as itself") {
    random_engine random(1);
    for (int round = 0; round < 500; ++round) {
        extension_handshake h;
        for (std::uint32_t i = random.below(8); i > 0; --i)
            h.m["ut_" + std::to_string(random.below(100))] = static_cast<std::uint8_t>(random());
        h.v = std::string(random.below(40), 'v');
        if (random.chance(0.5)) h.p = static_cast<std::uint16_t>(1 + random.below(65535));
        if (random.chance(0.5)) h.reqq = 1 + random.below(0xffffffff);
        if (random.chance(0.5)) h.metadata_size = 1 + random.below(metadata_size_max);
        if (random.chance(0.5)) h.yourip = ip_address::v4(static_cast<std::uint32_t>(random()));
        if (random.chance(0.3)) h.yourip = ip_address::v6({0x20, 1, 2, 3});
        h.upload_only = random.chance(0.5);
        REQUIRE(read(write_extension_handshake(h)) == h);
    }
}

TEST_CASE("an empty dictionary is a handshake that says nothing") { CHECK(read("de") == extension_handshake{}); }

TEST_CASE("values that make no sense are as if absent") {
    for (const char* const text : {"d13:metadata_sizei0ee",
                                   "d13:metadata_sizei-1ee",
                                   "d13:metadata_sizei2147483648ee",
                                   "d13:metadata_sizei31457281ee",
                                   "d13:metadata_size1:xe",
                                   "d1:pi0ee",
                                   "d1:pi65536ee",
                                   "d1:pi-1ee",
                                   "d1:p4:6881e",
                                   "d4:reqqi0ee",
                                   "d4:reqqi-5ee",
                                   "d4:reqqi4294967296ee",
                                   "d4:reqqi99999999999999999999ee",
                                   "d1:mi1ee",
                                   "d1:mlee",
                                   "d1:md1:ai256e1:bi-1e1:c1:xee",
                                   "d1:vi1ee",
                                   "d6:yourip3:abce",
                                   "d6:youripi1ee",
                                   "d11:upload_onlyi0ee",
                                   "d11:upload_only1:1e"})
        CHECK(read(text) == extension_handshake{});
    CHECK(read("d13:metadata_sizei31457280ee").value().metadata_size == metadata_size_max);
}

TEST_CASE("an extension with id 0 is kept, because it switches the extension off") {
    CHECK(read("d1:md6:ut_pexi0eee").value().m.at("ut_pex") == 0);
}

TEST_CASE("a client's name is cut and made printable") {
    const std::string end = "e";
    CHECK(read("d1:v5:a\x1b[2J" + end).value().v == "a [2J");
    CHECK(read("d1:v3:a\xff\x7f" + end).value().v == "a? ");
    CHECK(read("d1:v1000:" + std::string(1000, 'x') + "e").value().v.size() == 128);
    CHECK(read("d1:v130:" + std::string(127, 'x') + "\xe2\x82\xac" + end).value().v == std::string(127, 'x'));
}

TEST_CASE("the number and the length of extension names are bounded") {
    std::string text = "d1:md";
    for (int i = 100; i < 600; ++i) text += "3:" + std::to_string(i) + "i1e";
    CHECK(read(text + "ee").value().m.size() == 64);
    CHECK(read("d1:md65:" + std::string(65, 'x') + "i1eee").value().m.empty());
    CHECK(read("d1:md64:" + std::string(64, 'x') + "i1eee").value().m.size() == 1);
}

TEST_CASE("a handshake that is nested too deep, has too many tokens or is none is refused") {
    std::error_code ec;
    const auto refused = [&ec](std::string_view text) { return !parse_extension_handshake(as_bytes(text), ec); };
    CHECK(refused("d1:a" + std::string(20'000, 'l') + std::string(20'000, 'e') + "e"));
    CHECK(ec == errc::bencode_limit);
    std::string many = "d1:al";
    for (int i = 0; i < 1'000'000; ++i) many += "0:";
    CHECK(refused(many + "ee"));
    CHECK(ec == errc::bencode_limit);
    CHECK(refused("le"));
    CHECK(ec == errc::message_malformed);
    CHECK(refused("i1e"));
    CHECK(ec == errc::message_malformed);
    CHECK(refused("d1:pi6881e"));
    CHECK(ec == errc::bencode_syntax);
    CHECK(refused(""));
    CHECK(ec == errc::bencode_syntax);
}

TEST_CASE("damaged extension handshakes never crash the reader") {
    random_engine random(2);
    const std::string good = write_extension_handshake({.m = {{"ut_metadata", 3}, {"ut_pex", 1}},
                                                        .v = "client 1.0",
                                                        .p = 6881,
                                                        .reqq = 250,
                                                        .yourip = ip_address::loopback_v4(),
                                                        .metadata_size = 12345,
                                                        .upload_only = true});
    for (int round = 0; round < 20000; ++round) {
        std::string text = good.substr(0, good.size() - random.below(3));
        for (std::uint32_t i = random.below(4); i > 0; --i)
            text[random.below(static_cast<std::uint32_t>(text.size()))] = static_cast<char>(random());
        const auto h = read(text);
        if (h) CHECK(h->v.size() <= 128);
    }
}

}  // namespace extension_test
