#include <string>

#include <doctest/doctest.h>

#include <cohort/core/base64.hpp>
#include <cohort/core/random.hpp>

namespace base64_test {

using namespace cohort;

namespace {

std::string decoded(std::string_view text) {
    const auto out = from_base64(text);
    REQUIRE(out);
    return std::string(as_text(*out));
}

}  // namespace

TEST_CASE("base64 is as in the examples of RFC 4648") {
    const char* const cases[][2] = {{"", ""},
                                    {"f", "Zg=="},
                                    {"fo", "Zm8="},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg=="},
                                    {"fooba", "Zm9vYmE="},
                                    {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, text] : cases) {
        CHECK(to_base64(as_bytes(plain)) == text);
        CHECK(decoded(text) == plain);
        CHECK(base64_size(std::string(plain).size()) == std::string(text).size());
    }
    CHECK(to_base64(byte_vector{0xfb, 0xff, 0xbf}) == "+/+/");
}

TEST_CASE("base64 in any other spelling is refused") {
    for (const char* const text : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v\n", " Zg==", "Zg==Zg==", "====",
                                   "=", "==", "Z===", "Zm9vYg=a", "Zm9_", "Zm9-", "Zm\x80v", "Z=g=", "Zm=v"})
        CHECK_FALSE(from_base64(text));
}

TEST_CASE("base64 fills a fixed number of bytes or nothing") {
    std::array<std::uint8_t, 2> two;
    CHECK(from_base64("Zm8=", two));
    CHECK(two[1] == 'o');
    CHECK_FALSE(from_base64("Zg==", two));
    CHECK_FALSE(from_base64("Zm9v", two));
}

TEST_CASE("any bytes come back from base64, and any text that decodes is the text of its bytes") {
    random_engine random(7);
    for (int round = 0; round < 2000; ++round) {
        byte_vector bytes(random.below(100));
        random.fill(bytes);
        std::string text = to_base64(bytes);
        CHECK(from_base64(text) == bytes);
        if (text.empty()) continue;
        text[random.below(static_cast<std::uint32_t>(text.size()))] = static_cast<char>(random());
        if (const auto other = from_base64(text)) CHECK(to_base64(*other) == text);
    }
}

}  // namespace base64_test
