#include <limits>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/json.hpp>

namespace json_test {

using namespace cohort;

namespace {

std::optional<json> read(std::string_view text) {
    std::error_code ec;
    auto out = parse_json(text, ec);
    CHECK(out.has_value() == !ec);
    if (!out) CHECK(ec == errc::json_invalid);
    return out;
}

}  // namespace

TEST_CASE("a JSON line keeps the order of its members") {
    json_line line;
    line.add("event", "progress").add("bytes", 17).add("a", true).add("rate", 0.5).add("none", std::optional<int>());
    CHECK(line.take() == R"({"event":"progress","bytes":17,"a":true,"rate":0.5,"none":null})");
    CHECK(line.take() == "{}");
}

TEST_CASE("a JSON line takes arrays and objects") {
    json_array list;
    list.push_back(to_json(1));
    list.push_back(to_json("two"));
    json_object object;
    object["key"] = to_json(std::string("value"));
    CHECK(json_line().add("list", list).add("object", object).take() ==
          R"({"list":[1,"two"],"object":{"key":"value"}})");
}

TEST_CASE("64-bit integers keep every digit in both directions") {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
    const std::string text = json_line().add("most", most).add("least", least).add("odd", (1LL << 53) + 1).take();
    CHECK(text == R"({"most":9223372036854775807,"least":-9223372036854775808,"odd":9007199254740993})");
    const auto value = read(text);
    REQUIRE(value);
    CHECK(json_integer(json_member(*value, "most")) == most);
    CHECK(json_integer(json_member(*value, "least")) == least);
    CHECK(json_integer(json_member(*value, "odd")) == (1LL << 53) + 1);
}

TEST_CASE("an unsigned number above 63 bits is written as the largest, not as a negative one") {
    CHECK(to_json(std::numeric_limits<std::uint64_t>::max()).serialize() == "9223372036854775807");
}

TEST_CASE("what is not finite is written as null") {
    CHECK(to_json(std::numeric_limits<double>::infinity()).serialize() == "null");
    CHECK(to_json(std::numeric_limits<float>::quiet_NaN()).serialize() == "null");
    CHECK(to_json(1.5F).serialize() == "1.5");
}

TEST_CASE("any bytes become a valid JSON string on one line") {
    const std::string text = json_line().add("t", std::string_view("a\"\\\n\x01\xff\xfe \xc3\xa4", 10)).take();
    CHECK(text == "{\"t\":\"a\\\"\\\\\\n\\u0001_ \xc3\xa4\"}");
    CHECK(read(text));
}

TEST_CASE("members are looked up without exceptions") {
    const auto value = read(R"({"n":1,"f":1.5,"s":"x","big":9223372036854775808})");
    REQUIRE(value);
    CHECK(json_integer(json_member(*value, "n")) == 1);
    CHECK(json_text(json_member(*value, "s")) == "x");
    CHECK_FALSE(json_integer(json_member(*value, "f")));
    CHECK_FALSE(json_integer(json_member(*value, "big")));
    CHECK_FALSE(json_integer(json_member(*value, "s")));
    CHECK_FALSE(json_integer(json_member(*value, "missing")));
    CHECK_FALSE(json_text(json_member(*value, "n")));
    CHECK_FALSE(json_text(json_member(*value, "missing")));
    CHECK(json_member(to_json(1), "n") == nullptr);
}

TEST_CASE("text that is not one JSON value is refused") {
    for (const char* const text : {"", " ", "{", "[1,]", "{\"a\"}", "tru", "1 2", "{} x", "\"\n\"", "\"\\ud800\"",
                                   "1e999", "-", "'a'", "[1", "\"abc"})
        CHECK_FALSE(read(text));
    CHECK(read(" {\"a\" : [ 1 , 2 ] } \r\n"));
}

TEST_CASE("nesting is bounded before the parser recurses") {
    CHECK(read(std::string(64, '[') + std::string(64, ']')));
    CHECK_FALSE(read(std::string(65, '[') + std::string(65, ']')));
    CHECK_FALSE(read(std::string(1'000'000, '[')));
    std::string objects;
    for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
    CHECK_FALSE(read(objects));
    std::error_code ec;
    CHECK(parse_json("[[1]]", ec, 2));
    CHECK_FALSE(parse_json("[[1]]", ec, 1));
}

TEST_CASE("brackets inside strings are not nesting") {
    CHECK(read("\"" + std::string(1000, '[') + "\""));
    CHECK(read("[\"\\\"" + std::string(1000, '{') + "\\\\\"]"));
}

TEST_CASE("random bytes and damaged JSON never crash the reader") {
    random_engine random(1);
    const std::string good = R"({"list":[1,-2.5e3,"x\u00e4\n",true,null],"object":{"a":{"b":[]}}})";
    for (int round = 0; round < 5000; ++round) {
        std::string text = good.substr(0, random.below(static_cast<std::uint32_t>(good.size() + 1)));
        for (std::uint32_t i = 0; i < 3 && !text.empty(); ++i)
            text[random.below(static_cast<std::uint32_t>(text.size()))] = static_cast<char>(random());
        read(text);
    }
}

}  // namespace json_test
