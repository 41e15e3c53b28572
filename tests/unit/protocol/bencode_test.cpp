#include <cohort/protocol/bencode.hpp>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include <doctest/doctest.h>
#include <cohort/core/random.hpp>
#include <support/corpus.hpp>
#include <support/mutate.hpp>

namespace bencode_test {

using namespace cohort;
using namespace std::string_literals;

namespace {

std::string bytes_of(const picojson::value& text) {
    if (text.contains("s")) return text.get("s").get<std::string>();
    const std::string digits = text.get("hex").get<std::string>();
    std::string out(digits.size() / 2, '\0');
    REQUIRE(from_hex(digits, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()}));
    return out;
}

void check_value(bencode::node node, const picojson::value& expected) {
    if (expected.is<std::int64_t>()) {
        CHECK(node.integer() == expected.get<std::int64_t>());
    } else if (expected.is<picojson::array>()) {
        const auto& list = expected.get<picojson::array>();
        REQUIRE(node.is_list());
        REQUIRE(node.size() == list.size());
        std::size_t i = 0;
        for (const bencode::node element : node) check_value(element, list[i++]);
    } else if (expected.contains("dict")) {
        const auto& entries = expected.get("dict").get<picojson::array>();
        REQUIRE(node.is_dict());
        REQUIRE(node.size() == entries.size());
        std::size_t i = 0;
        for (const auto [key, value] : node.entries()) {
            CHECK(key == bytes_of(entries[i].get(0)));
            check_value(value, entries[i].get(1));
            check_value(node[key], entries[i].get(1));
            ++i;
        }
    } else {
        CHECK(node.text() == bytes_of(expected));
    }
}

void rewrite(bencode::node node, bencode::writer& out) {
    if (node.is_dict()) {
        out.begin_dict();
        for (const auto [key, value] : node.entries()) rewrite(value, out.key(key));
        out.end();
    } else if (node.is_list()) {
        out.begin_list();
        for (const bencode::node element : node) rewrite(element, out);
        out.end();
    } else if (const auto number = node.integer()) {
        out.integer(*number);
    } else if (const auto text = node.text()) {
        out.text(*text);
    } else {
        out.raw(node.raw());  // an integer beyond 64 bits
    }
}

std::string rewritten(const bencode::document& document) {
    bencode::writer out;
    rewrite(document.root(), out);
    return out.take();
}

std::error_code error_of(std::string_view text, const bencode::limits& most = {}) {
    std::error_code ec;
    const auto document = bencode::parse(as_bytes(text), ec, most);
    CHECK(document.has_value() == !ec);
    return ec;
}

bool is_canonical(std::string_view text) {
    std::error_code ec;
    const auto document = bencode::parse(as_bytes(text), ec);
    REQUIRE(document);
    return document->canonical();
}

}  // namespace

TEST_CASE("the recorded inputs of other implementations get the stated verdicts and values") {
    std::size_t accepted = 0;
    std::size_t refused = 0;
    for (const test::corpus_case& one : test::corpus("bencode")) {
        CAPTURE(one.id);
        const byte_vector input = one.bytes();
        const std::string verdict = one.expect().get("valid").get<std::string>();
        std::error_code ec;
        const auto document = bencode::parse(input, ec);
        CHECK(document.has_value() == !ec);
        if (verdict == "yes") {
            REQUIRE(document);
            CHECK(document->canonical());
            CHECK(rewritten(*document) == as_text(input));
            check_value(document->root(), one.expect().get("value"));
            ++accepted;
        } else if (verdict == "no") {
            CHECK(ec == errc::bencode_syntax);
            ++refused;
        } else if (document) {
            CHECK_FALSE((document->canonical() && rewritten(*document) != as_text(input)));
        }
        std::size_t consumed = 0;
        if (bencode::parse_prefix(input, consumed, ec) && one.expect().contains("consumed"))
            CHECK(consumed == static_cast<std::size_t>(one.expect().get("consumed").get<std::int64_t>()));
    }
    CHECK(accepted == 33);
    CHECK(refused == 26);
}

TEST_CASE("what is not bencode is refused") {
    for (const std::string text : {"",
                                   "i",
                                   "ie",
                                   "i-e",
                                   "i1",
                                   "i+1e",
                                   "i 1e",
                                   "i1.0e",
                                   "1",
                                   "1:",
                                   "2:a",
                                   ":",
                                   "-1:a",
                                   "+1:a",
                                   "l",
                                   "d",
                                   "e",
                                   "di1e1:ae",
                                   "d1:ae",
                                   "d1:a",
                                   "x",
                                   "lx",
                                   "d1:ai1e1:be",
                                   "99999999999999999999999999:a",
                                   "4294967295:a",
                                   "l1:a",
                                   "dle1:ae"}) {
        CAPTURE(text);
        CHECK(error_of(text) == errc::bencode_syntax);
    }
}

TEST_CASE("integers reach the ends of 64 bits, and what goes beyond reads as none") {
    std::error_code ec;
    const auto value = [&](std::string_view text) { return bencode::parse(as_bytes(text), ec)->root().integer(); };
    CHECK(value("i9223372036854775807e") == std::numeric_limits<std::int64_t>::max());
    CHECK(value("i-9223372036854775808e") == std::numeric_limits<std::int64_t>::min());
    CHECK_FALSE(value("i9223372036854775808e"));
    CHECK_FALSE(value("i-9223372036854775809e"));
}

TEST_CASE("sloppy forms are read, but are not canonical") {
    for (const char* text :
         {"d1:bi1e1:ai2ee", "d1:ai1e1:ai2ee", "i01e", "i-0e", "i00e", "i-01e", "01:a", "00:", "ld1:b0:1:a0:ee"}) {
        CAPTURE(text);
        CHECK_FALSE(is_canonical(text));
    }
    for (const char* text : {"i0e", "0:", "de", "le", "d0:i1e1:ai2e2:aai3e1:bi4ee", "i-10e", "10:0123456789"}) {
        CAPTURE(text);
        CHECK(is_canonical(text));
    }
}

TEST_CASE("of a key that occurs again the first value counts") {
    std::error_code ec;
    const std::string text = "d1:ai1e1:bi3e1:ai2ee";
    const auto document = bencode::parse(as_bytes(text), ec);
    REQUIRE(document);
    CHECK(document->root()["a"].integer() == 1);
    CHECK(document->root().size() == 3);
}

TEST_CASE("lookups chain through what is not there") {
    std::error_code ec;
    const std::string text = "d4:infod6:lengthi5eee";
    auto parsed = bencode::parse(as_bytes(text), ec);
    REQUIRE(parsed);
    const bencode::node root = parsed->root();
    const bencode::document moved = std::move(*parsed);  // nodes outlive a move of their document
    CHECK(root["info"]["length"].integer() == 5);
    CHECK_FALSE(root["info"]["length"].text());
    CHECK_FALSE(root["info"]["length"]["deeper"]);
    const bencode::node none = root["nothing"]["at"]["all"];
    CHECK_FALSE(none);
    CHECK_FALSE(none.integer());
    CHECK_FALSE(none.text());
    CHECK_FALSE((none.is_dict() || none.is_list() || none.is_string() || none.is_integer()));
    CHECK(none.size() == 0);
    CHECK(none.begin() == none.end());
    CHECK(none.entries().begin() == none.entries().end());
    CHECK(none.raw().empty());
}

TEST_CASE("raw gives the exact bytes of a value, wherever it stands") {
    std::error_code ec;
    const std::string text = "d1:ald1:xi-7eee1:b3:abc1:cdee";
    const auto document = bencode::parse(as_bytes(text), ec);
    REQUIRE(document);
    const bencode::node root = document->root();
    CHECK(as_text(root.raw()) == text);
    CHECK(as_text(root["a"].raw()) == "ld1:xi-7eee");
    CHECK(as_text((*root["a"].begin())["x"].raw()) == "i-7e");
    CHECK(as_text(root["b"].raw()) == "3:abc");
    CHECK(as_text(root["c"].raw()) == "de");
}

TEST_CASE("a prefix parse says where the value ends, a whole parse refuses more") {
    std::error_code ec;
    std::size_t consumed = 0;
    const std::string text = "d1:ai1eepayload";
    REQUIRE(bencode::parse_prefix(as_bytes(text), consumed, ec));
    CHECK(consumed == 8);
    CHECK(error_of(text) == errc::bencode_trailing);
}

TEST_CASE("depth and number of items are limited") {
    const auto nested = [](std::size_t depth) { return std::string(depth, 'l') + std::string(depth, 'e'); };
    CHECK_FALSE(error_of(nested(100)));
    CHECK(error_of(nested(101)) == errc::bencode_limit);
    CHECK(error_of(std::string(1'000'000, 'd')) == errc::bencode_syntax);
    CHECK(error_of(std::string(1'000'000, 'l')) == errc::bencode_limit);

    CHECK_FALSE(error_of("l0:0:e", {.depth = 1, .items = 4}));
    CHECK(error_of("l0:0:0:e", {.depth = 1, .items = 4}) == errc::bencode_limit);
    std::string many = "l";
    for (int i = 0; i < 2'500'000; ++i) many += "0:";
    CHECK(error_of(many + 'e') == errc::bencode_limit);
}

TEST_CASE("the writer writes what the reader reads") {
    bencode::writer out;
    out.begin_dict();
    out.key("").integer(std::numeric_limits<std::int64_t>::min());
    out.key("a").begin_list().text("x").text("\0\xff"s).begin_dict().end().end();
    out.key("aa").raw(as_bytes("le"));
    out.end();
    const std::string text = out.take();
    CHECK(text ==
          "d0:i-9223372036854775808e1:al1:x2:\0\xff"
          "dee2:aalee"s);
    CHECK(is_canonical(text));
    CHECK(out.begin_list().end().take() == "le");
}

TEST_CASE("damaged input never crashes the reader, and what is canonical comes back byte for byte") {
    random_engine random(1);
    std::size_t canonical = 0;
    for (const test::corpus_case& one : test::corpus("bencode")) {
        const byte_vector input = one.bytes();
        for (int round = 0; round < 100; ++round) {
            const byte_vector damaged = test::mutated(input, random);
            CAPTURE(one.id);
            CAPTURE(round);
            std::error_code ec;
            const auto document = bencode::parse(damaged, ec);
            REQUIRE(document.has_value() == !ec);
            if (!document) continue;
            const std::string again = document->canonical() ? rewritten(*document) : std::string();
            if (document->canonical()) REQUIRE(again == as_text(damaged));
            canonical += document->canonical();
        }
    }
    CHECK(canonical > 500);
}

}  // namespace bencode_test
