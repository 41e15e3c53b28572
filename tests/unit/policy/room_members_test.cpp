#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/policy/room_members.hpp>

namespace room_members_test {

using namespace cohort;

namespace {

identity_key key_of(std::uint8_t number) {
    identity_key out;
    out.bytes.fill(number);
    return out;
}

chat_entry entry_of(std::uint8_t author, std::uint64_t seq, std::uint64_t clock, chat::entry_body body) {
    chat_entry out;
    out.author = key_of(author);
    out.seq = seq;
    out.clock = clock;
    out.body = std::move(body);
    return out;
}

chat_entry join(std::uint8_t author, std::uint64_t seq, std::uint64_t clock, std::string name = "somebody") {
    return entry_of(author, seq, clock, chat::room_join{"lobby", std::move(name)});
}

chat_entry leave(std::uint8_t author, std::uint64_t seq, std::uint64_t clock) {
    return entry_of(author, seq, clock, chat::room_leave{});
}

}  // namespace

TEST_CASE("members come and go by their own entries") {
    room_members members;
    CHECK(members.apply(join(1, 1, 1, "alice")) == member_change::joined);
    CHECK(members.apply(join(2, 1, 2, "bob")) == member_change::joined);
    CHECK(members.apply(entry_of(3, 1, 3, chat::text{"hi"})) == member_change::none);
    CHECK(members.joined_count() == 2);
    CHECK(members.find(key_of(2))->name == "bob");
    CHECK(members.find(key_of(3)) == nullptr);
    CHECK(members.epoch() == 0);
    CHECK(members.apply(leave(2, 2, 4)) == member_change::left);
    CHECK_FALSE(members.is_member(key_of(2)));
    CHECK(members.epoch() == 1);
    CHECK(members.joined().size() == 1);
    CHECK(members.apply(leave(2, 3, 5)) == member_change::none);
    CHECK(members.epoch() == 1);
    CHECK(members.apply(join(2, 4, 6, "robert")) == member_change::joined);
    CHECK(members.find(key_of(2))->name == "robert");
    CHECK(members.apply(join(2, 5, 7, "rob")) == member_change::renamed);
    CHECK(members.joined_count() == 2);
    CHECK(members.epoch() == 1);
}

TEST_CASE("an old join does not bring back who left, nor an old leave send away who came again") {
    room_members members;
    CHECK(members.apply(leave(1, 5, 9)) == member_change::none);
    CHECK(members.apply(join(1, 4, 8)) == member_change::none);
    CHECK_FALSE(members.is_member(key_of(1)));
    CHECK(members.apply(join(1, 8, 20)) == member_change::joined);
    CHECK(members.apply(leave(1, 7, 19)) == member_change::none);
    CHECK(members.apply(join(1, 8, 20)) == member_change::none);
    CHECK(members.is_member(key_of(1)));
    CHECK(members.epoch() == 0);
}

TEST_CASE("whoever has the same joins and leaves, in whatever order they came, names the same members") {
    random_engine random(31);
    for (int round = 0; round < 100; ++round) {
        std::vector<chat_entry> entries;
        for (std::uint8_t author = 1; author <= 5; ++author) {
            const std::uint32_t count = random.below(6);
            for (std::uint32_t seq = 1; seq <= count; ++seq) {
                if (random.chance(0.5))
                    entries.push_back(join(author, seq, seq * 2, "n" + std::to_string(seq)));
                else
                    entries.push_back(leave(author, seq, seq * 2));
            }
        }
        room_members first;
        for (const chat_entry& e : entries) first.apply(e);
        for (int other = 0; other < 5; ++other) {
            random.shuffle(entries);
            room_members second;
            for (const chat_entry& e : entries) second.apply(e);
            for (const chat_entry& e : entries) CHECK(second.apply(e) == member_change::none);
            CHECK(second.joined_count() == first.joined_count());
            CHECK(second.joined().size() == second.joined_count());
            for (std::uint8_t author = 1; author <= 5; ++author) {
                CHECK(second.is_member(key_of(author)) == first.is_member(key_of(author)));
                if (first.is_member(key_of(author)))
                    CHECK(second.find(key_of(author))->name == first.find(key_of(author))->name);
            }
        }
    }
}

TEST_CASE("a member may read what was said after it came, and its own words") {
    room_members members;
    members.apply(join(1, 1, 1));
    members.apply(join(2, 1, 10));
    CHECK_FALSE(members.may_read(key_of(2), key_of(1), 10));
    CHECK(members.may_read(key_of(2), key_of(1), 11));
    CHECK(members.may_read(key_of(2), key_of(2), 3));
    CHECK_FALSE(members.may_read(key_of(3), key_of(1), 100));
    members.apply(join(2, 2, 20, "again"));  // without having left, it keeps what it had
    CHECK(members.may_read(key_of(2), key_of(1), 15));
    members.apply(leave(2, 3, 30));
    CHECK_FALSE(members.may_read(key_of(2), key_of(1), 40));
    members.apply(join(2, 4, 50));
    CHECK_FALSE(members.may_read(key_of(2), key_of(1), 40));
    CHECK(members.may_read(key_of(2), key_of(1), 51));
}

TEST_CASE("A50: a join dated back does not open what was said before") {
    room_members members;
    members.apply(join(1, 1, 1));
    CHECK(members.apply(join(2, 1, 1), 40) == member_change::joined);
    CHECK_FALSE(members.may_read(key_of(2), key_of(1), 40));
    CHECK(members.may_read(key_of(2), key_of(1), 41));
}

TEST_CASE("a room holds so many people and no more") {
    room_members members(2);
    CHECK(members.apply(join(1, 1, 1)) == member_change::joined);
    CHECK(members.apply(join(2, 1, 1)) == member_change::joined);
    CHECK(members.apply(join(3, 1, 1)) == member_change::refused);
    CHECK_FALSE(members.is_member(key_of(3)));
    CHECK(members.apply(leave(2, 2, 2)) == member_change::left);
    CHECK(members.apply(join(2, 3, 3)) == member_change::joined);
}

}  // namespace room_members_test
