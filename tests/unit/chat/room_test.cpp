#include <doctest/doctest.h>

#include <cohort/protocol/noise_sender_key.hpp>

#include "support/chat_fixture.hpp"
#include "support/chat_stranger.hpp"
#include "support/eventually.hpp"
#include "support/faulty_disk.hpp"
#include "support/heap.hpp"
#include "support/wire_network.hpp"

namespace room_test {

using namespace cohort;
using namespace cohort::test;

namespace {

// The work grows with the square of their number, and sanitizers make each step twenty times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
constexpr std::size_t everybody = 20;
#else
constexpr std::size_t everybody = 50;
#endif
constexpr std::size_t late = 10;

asio::awaitable<std::vector<std::string>> lobby_of(chat_person& who) {
    const auto all = co_await who.node.history("#lobby", 10'000, std::nullopt);
    std::vector<std::string> out;
    for (const shown_message& one : all) out.push_back(one.text);
    co_return out;
}

asio::awaitable<void> has_messages(chat_person& who, std::size_t count) {
    auto now = co_await lobby_of(who);
    while (now.size() < count) {
        co_await who.until<chat_event::message>();
        now = co_await lobby_of(who);
    }
}

/// What a reader of the room makes of a sealed message with a key that it got.
std::optional<byte_vector> opened(const chat::room_key& key, const chat::room_message& sealed) {
    sender_chain chain;
    chain.index = key.index;
    chain.key = secret32(key.chain_key);
    sender_key_reader reader({key.room, key.author, key.key_id}, chain);
    std::error_code ec;
    return reader.open(sealed.index, sealed.ciphertext, ec);
}

asio::awaitable<void> enter(chat_stranger& who, std::uint16_t port) {
    co_await who.meet(port);
    const conversation_id lobby = room_conversation("lobby");
    const signed_entry came = who.entry(lobby, chat::room_join{"lobby", "somebody"});
    const std::vector<chat::head> nothing;
    co_await who.say_have(lobby, nothing);
    co_await who.say_entry(came);
    co_await who.is_heard();
}

}  // namespace

TEST_CASE(
    "S3-W3: after somebody left, messages go out under a new key that the leaver never got, and nothing reaches it") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_options how = world.options("alice");
        how.tracker.clear();
        chat_person& alice = world.start(how);
        co_await alice.node.join("#lobby");
        const conversation_id lobby = room_conversation("lobby");
        const identity stays = new_identity(), leaves = new_identity();
        chat_stranger bob(world.net, stays, "bob"), mallory(world.net, leaves, "mallory");
        co_await enter(bob, alice.node.port());
        co_await enter(mallory, alice.node.port());
        const auto two = [](const auto& all) { return all.rooms().front().members.size() == 3; };
        while (!two(alice.node)) co_await alice.until<chat_event::member_joined>();
        co_await alice.node.send("#lobby", "for both");
        const auto for_bob = co_await bob.hears<chat::room_message>();
        const auto for_mallory = co_await mallory.hears<chat::room_message>();
        REQUIRE(mallory.keys_heard.size() == 1);
        CHECK(opened(mallory.keys_heard.front(), for_mallory));

        const signed_entry going = mallory.entry(lobby, chat::room_leave{});
        co_await mallory.say_entry(going);
        co_await alice.until<chat_event::member_left>();
        mallory.sealed_heard.clear();
        mallory.entries_heard.clear();
        co_await alice.node.send("#lobby", "not for mallory");
        const auto second = co_await bob.hears<chat::room_message>();
        CHECK(second.key_id != for_bob.key_id);
        REQUIRE(bob.keys_heard.size() == 2);
        CHECK(opened(bob.keys_heard.back(), second));
        CHECK(!opened(mallory.keys_heard.front(), second));
        // Not even when it asks.
        const std::vector<chat::head> heads{mallory.own_head()};
        co_await mallory.say_have(lobby, heads);
        const chat::message ask = chat::history_request{lobby, alice.node.key(), 1, 100};
        co_await mallory.say(ask);
        co_await mallory.is_heard();
        co_await mallory.is_heard();
        CHECK(mallory.keys_heard.size() == 1);
        CHECK(mallory.sealed_heard.empty());
        for (const chat::entries& list : mallory.entries_heard)
            for (const signed_entry& one : list.list) CHECK(std::holds_alternative<chat::room_join>(one.entry().body));
    });
}

TEST_CASE("S3-W3: a node that leaves is heard to leave, with all that it said before, and gets no more") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        co_await alice.node.join("#lobby");
        chat_person& bob = world.start("bob");
        co_await bob.node.join("#lobby");
        const auto both = [&alice](const auto&) { return alice.node.rooms().front().members.size() == 2; };
        co_await alice.until<chat_event::member_joined>(both);
        const std::string words = "bye";
        co_await alice.node.send("#lobby", words);
        co_await alice.node.leave("#lobby");
        const std::string heard = co_await bob.hears();
        CHECK(heard == words);
        const auto left = co_await bob.until<chat_event::member_left>();
        CHECK(left.name == "alice");
        CHECK(bob.node.rooms().front().members == std::vector<std::string>{"bob"});
        CHECK(alice.node.rooms().empty());
        const std::string alone = "alone";
        co_await bob.node.send("#lobby", alone);
        // What bob says to alice comes after whatever he would have said in the room.
        co_await bob.node.send("alice", "and to you");
        const auto next = co_await alice.until<chat_event::message>([](const auto& one) { return !one.what.own; });
        CHECK(next.what.with == "bob");
        // She may come again, and then has what was said meanwhile.
        co_await alice.node.join("#lobby");
        const auto missed = co_await alice.until<chat_event::message>([](const auto& one) { return !one.what.own; });
        CHECK(missed.what.text == alone);
    });
}

TEST_CASE("S3-W3: who comes while others talk gets all of it, though the key opens only what follows") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        co_await alice.node.join("#lobby");
        chat_person& bob = world.start("bob");
        co_await bob.node.join("#lobby");
        const auto both = [&alice](const auto&) { return alice.node.rooms().front().members.size() == 2; };
        co_await alice.until<chat_event::member_joined>(both);
        for (int i = 0; i < 30; ++i) co_await alice.node.send("#lobby", "early " + std::to_string(i));
        chat_person& carol = world.start("carol");
        co_await carol.node.join("#lobby");
        for (int i = 0; i < 30; ++i) {
            co_await alice.node.send("#lobby", "a " + std::to_string(i));
            co_await bob.node.send("#lobby", "b " + std::to_string(i));
        }
        for (chat_person* const one : {&alice, &bob, &carol}) co_await has_messages(*one, 90);
        const auto first = co_await lobby_of(alice);
        const auto second = co_await lobby_of(bob);
        const auto third = co_await lobby_of(carol);
        CHECK(first.size() == 90);
        CHECK(first == second);
        CHECK(first == third);
    });
}

TEST_CASE("S3-W4: a full disk holds messages back, and they go on when there is room again") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        faulty_disk small;
        chat_options how = world.options("alice");
        how.storage = &small;
        chat_person& alice = world.start(how);
        chat_person& bob = world.start("bob");
        co_await alice.until<chat_event::tracker_state>();
        co_await bob.node.send("alice", "before");
        co_await alice.hears();
        small.bytes_left = 0;
        co_await bob.node.send("alice", "while it is full");
        const auto trouble = co_await alice.until<chat_event::warning>();
        CHECK(trouble.text.find("cannot keep") != std::string::npos);
        const auto meanwhile = co_await bob.node.history("alice", 1, std::nullopt);
        REQUIRE(meanwhile.size() == 1);
        CHECK(meanwhile.front().state <= delivery::sent);
        small.bytes_left = 1'000'000'000;
        const std::string arrived = co_await alice.hears();
        CHECK(arrived == "while it is full");
        co_await world.end_people();
    });
}

TEST_CASE("S3-W3: many in one room converge through comings, goings, restarts and lost links") {
    const auto whole = [](network& machine) -> asio::awaitable<void> {
        const heap_growth growth;
        faulty_disk quick;  // a sync that only counts
        wire_network wire(machine);
        chat_fixture world(wire);
        std::vector<chat_person*> people(everybody);
        const auto come = [&](std::size_t number) {
            chat_options how = world.options("p" + std::to_string(number));
            how.storage = &quick;
            how.linking.first_retry = 50ms;
            how.linking.longest_retry = 1s;
            how.meeting.announce_min = 500ms;
            how.meeting.compare = 5s;
            people[number] = &world.start(how);
        };
        std::exception_ptr failure;
        try {
            std::size_t said = 0;
            for (std::size_t i = 0; i < everybody - late; ++i) {
                come(i);
                co_await people[i]->node.join("#lobby");
                if (i % 4 != 0) continue;
                co_await people[i]->node.send("#lobby", "hello of " + std::to_string(i));
                ++said;
            }
            for (std::size_t i = everybody - late; i < everybody; ++i) {
                come(i);
                co_await people[i]->node.join("#lobby");
                const std::size_t other = i - (everybody - late);
                if (i % 3 == 0) co_await people[other]->node.leave("#lobby");
                if (i % 3 == 1) co_await world.stop("p" + std::to_string(other));
                if (i % 3 == 1) come(other);
                if (i % 3 == 2) wire.cut_at(people[other]->node.port());
                co_await people[i]->node.send("#lobby", "late hello of " + std::to_string(i));
                ++said;
            }
            for (std::size_t i = 0; i < everybody; ++i) {
                const auto rooms = people[i]->node.rooms();
                if (rooms.empty()) co_await people[i]->node.join("#lobby");  // back again
                if (i % 4 != 0) continue;
                co_await people[i]->node.send("#lobby", "last of " + std::to_string(i));
                ++said;
            }
            for (chat_person* const one : people) co_await has_messages(*one, said);
            const auto first = co_await lobby_of(*people.front());
            CHECK(first.size() == said);
            for (chat_person* const one : people) {
                const auto now = co_await lobby_of(*one);
                CHECK(now == first);
                const auto all_here = [one] { return one->node.rooms().front().members.size() == everybody; };
                co_await eventually(wire, all_here);
            }
            CHECK(growth.bytes() < 1'000'000'000);
        } catch (...) {
            failure = std::current_exception();
        }
        co_await world.end();
        if (failure) std::rethrow_exception(failure);
    };
    run(whole, 240s);
}

}  // namespace room_test
