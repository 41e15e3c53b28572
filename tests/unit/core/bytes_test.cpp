#include <cohort/core/bytes.hpp>

#include <array>
#include <string>
#include <type_traits>

#include <doctest/doctest.h>
#include <cohort/core/ids.hpp>

namespace bytes_test {

using namespace cohort;

TEST_CASE("hexadecimal goes both ways and takes either case") {
    std::array<std::uint8_t, 4> bytes{};
    REQUIRE(from_hex("00fFA5b0", bytes));
    CHECK(to_hex(bytes) == "00ffa5b0");
    CHECK_FALSE(from_hex("00ffa5b", bytes));
    CHECK_FALSE(from_hex("00ffa5b00", bytes));
    CHECK_FALSE(from_hex("00ffa5bg", bytes));
    CHECK_FALSE(from_hex("00ffa5b ", bytes));
    CHECK(to_hex({}).empty());
}

TEST_CASE("an id is made from exactly its size, in bytes or digits") {
    const byte_vector bytes(21, 0x5a);
    const auto id = info_hash::from(byte_view(bytes).first(20));
    REQUIRE(id);
    CHECK(id->hex() == "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");
    CHECK(info_hash::parse_hex(id->hex()) == id);
    CHECK_FALSE(info_hash::from(bytes));
    CHECK_FALSE(info_hash::from(byte_view(bytes).first(19)));
    CHECK_FALSE(info_hash::parse_hex(id->hex() + "5a"));
    CHECK_FALSE(std::is_convertible_v<info_hash, sha1_digest>);
}

}  // namespace bytes_test
