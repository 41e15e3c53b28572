#include <doctest/doctest.h>

#include <cohort/chat/turns.hpp>

namespace turns_test {

using namespace cohort;
using namespace cohort::chat;

namespace {

identity_key key_of(std::uint8_t number) {
    identity_key out;
    out.bytes.fill(number);
    return out;
}

const conversation_id room = room_conversation("lobby");
const identity_key ann = key_of(1), bob = key_of(2);
const std::vector<head> much{{bob, 5, {}}};
constexpr time_point start{1h};

}  // namespace

TEST_CASE(
    "turns: while one is at it nobody else is asked; the next is when it is silent, gone, slow or has given all") {
    turns all;
    CHECK(all.is_free(room, start));
    all.begin(room, ann, much, start);
    CHECK_FALSE(all.is_free(room, start));
    CHECK(all.is_free(room_conversation("other"), start));
    SUBCASE("silent") {
        all.heard(room, bob, start + 9s);
        CHECK(all.is_free(room, start + 10s));
        all.heard(room, ann, start + 9s);
        CHECK_FALSE(all.is_free(room, start + 10s));
        CHECK(all.is_free(room, start + 19s));
    }
    SUBCASE("slow") {
        for (int i = 1; i < 60; ++i) all.heard(room, ann, start + i * 1s);
        CHECK_FALSE(all.is_free(room, start + 59s));
        CHECK(all.is_free(room, start + 60s));
    }
    SUBCASE("gone") {
        CHECK(all.gone(bob).empty());
        CHECK(all.gone(ann) == std::vector{room});
        CHECK(all.is_free(room, start));
    }
    SUBCASE("all given") {
        chat_timeline ours;
        CHECK_FALSE(all.is_over(room, ours));
        chat_entry said;
        said.author = bob;
        for (said.seq = 1; said.seq <= 5; ++said.seq) {
            sha256_digest hash;
            hash.bytes.fill(static_cast<std::uint8_t>(said.seq));
            REQUIRE(ours.add(said, hash, said.seq).result == add_result::added);
            said.prev = hash;
            CHECK(all.is_over(room, ours) == (said.seq == 5));
        }
        CHECK(all.is_free(room, start));
    }
}

TEST_CASE("A49: turns: after three who promised and gave nothing all may be asked at once, until somebody gives") {
    turns all;
    time_point now = start;
    for (std::uint8_t i = 0; i < 3; ++i, now += 10s) {
        CHECK(all.is_free(room, now));
        all.begin(room, key_of(i), much, now);
        CHECK_FALSE(all.is_free(room, now));
    }
    all.begin(room, key_of(7), much, now);
    CHECK(all.is_free(room, now));
    const std::vector<head> nothing;
    all.begin(room, ann, nothing, now);
    const chat_timeline ours;
    CHECK(all.is_over(room, ours));
    all.begin(room, bob, much, now);
    CHECK_FALSE(all.is_free(room, now));
}

}  // namespace turns_test
