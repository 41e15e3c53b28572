#include <cohort/core/endian.hpp>

#include <array>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>
#include <cohort/core/bytes.hpp>

namespace endian_test {

using namespace cohort;

TEST_CASE("integers are stored with the most significant byte first") {
    std::string out;
    append_be(out, std::uint8_t{0x01});
    append_be(out, std::uint16_t{0x0203});
    append_be(out, std::uint32_t{0x04050607});
    append_be(out, std::uint64_t{0x08090a0b0c0d0e0f});
    CHECK(to_hex(as_bytes(out)) == "0102030405060708090a0b0c0d0e0f");
    const std::uint8_t* at = as_bytes(out).data();
    CHECK(load_be<std::uint8_t>(at) == 0x01);
    CHECK(load_be<std::uint16_t>(at + 1) == 0x0203);
    CHECK(load_be<std::uint32_t>(at + 3) == 0x04050607);
    CHECK(load_be<std::uint64_t>(at + 7) == 0x08090a0b0c0d0e0f);
}

TEST_CASE("the highest bit survives") {
    const std::array<std::uint8_t, 8> ones{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe};
    CHECK(load_be<std::uint64_t>(ones.data()) == 0xfffffffffffffffe);
    CHECK(load_be<std::uint16_t>(ones.data()) == 0xffff);
    byte_vector out;
    append_be(out, std::uint32_t{0xfffefdfc});
    CHECK(out == byte_vector{0xff, 0xfe, 0xfd, 0xfc});
}

}  // namespace endian_test
