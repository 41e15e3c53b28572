#include <doctest/doctest.h>

#include "support/chat_fixture.hpp"
#include "support/chat_stranger.hpp"
#include "support/heap.hpp"
#include "support/stream_pair.hpp"

namespace hostile_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// A node that knows no tracker, and somebody who links to it.
struct attack {
    explicit attack(chat_fixture& in, std::string name = "mallory")
        : world(in), victim(in.start(alone(in))), self(new_identity()), mallory(in.net, self, std::move(name)) {}

    static chat_options alone(chat_fixture& world) {
        chat_options out = world.options("alice");
        out.tracker.clear();
        return out;
    }
    asio::awaitable<void> begin() { co_await mallory.meet(victim.node.port()); }
    conversation_id direct() const { return direct_conversation(self.key(), victim.node.key()); }

    /// The node is still there for others.
    asio::awaitable<void> others_are_served() {
        const identity friend_key = new_identity();
        chat_stranger bob(world.net, friend_key, "bob");
        co_await bob.meet(victim.node.port());
        const conversation_id where = direct_conversation(friend_key.key(), victim.node.key());
        const signed_entry hello = bob.entry(where, chat::text{"still there?"});
        const std::vector<chat::head> heads{bob.own_head()};
        co_await bob.say_have(where, heads);
        co_await bob.say_entry(hello);
        const auto is_his = [](const chat_event::message& one) { return one.what.text == "still there?"; };
        const auto heard = co_await victim.until<chat_event::message>(is_his);
        CHECK(heard.what.from == "bob");
        bob.hang_up();
    }
    /// Opens the conversation of the two, and says these in it.
    asio::awaitable<void> say_all(std::vector<signed_entry> list) {
        const std::vector<chat::head> heads{mallory.own_head()};
        co_await mallory.say_have(direct(), heads);
        for (const signed_entry& one : list) co_await mallory.say_entry(one);
    }
    asio::awaitable<std::size_t> messages() {
        const auto all = co_await victim.node.history("mallory", 10'000, std::nullopt);
        co_return all.size();
    }

    chat_fixture& world;
    chat_person& victim;
    identity self;
    chat_stranger mallory;
};

/// `act(attack&)` must end the link of whoever does it, and nothing else.
template <class Act>
void ends_the_link(Act act) {
    run_chat([act](chat_fixture& world) -> asio::awaitable<void> {
        return [](chat_fixture& in, Act does) -> asio::awaitable<void> {
            attack it(in);
            co_await it.begin();
            co_await does(it);
            co_await it.mallory.is_dropped();
            co_await it.others_are_served();
        }(world, act);
    });
}

chat_entry forged_by(const attack& it, const identity_key& author) {
    chat_entry out;
    out.conversation = it.direct();
    out.author = author;
    out.seq = 1;
    out.clock = 1;
    out.body = chat::text{"I owe mallory a million"};
    return out;
}

}  // namespace

TEST_CASE("A49: what is no message ends the link of whoever says it, and nobody else's") {
    const std::string bomb = std::string(100'000, '[') + std::string(100'000, ']');
    const std::string deep = "{\"type\":\"typing\",\"conversation\":" + std::string(10'000, '{');
    const std::string wide = "{\"type\":\"have\",\"conversation\":\"\",\"heads\":[" + std::string(60'000, '1') + "]}";
    const std::string not_utf8 = "{\"type\":\"presence\",\"state\":\"\xff\xfe\"}";
    for (const std::string& text : {bomb, deep, wide, not_utf8, std::string("{}"), std::string("null"), std::string(),
                                    std::string("{\"type\":\"have\"}"), std::string(200'000, '\0')}) {
        CAPTURE(text.substr(0, 40));
        ends_the_link([text](attack& it) -> asio::awaitable<void> { return it.mallory.say_raw(text); });
    }
}

TEST_CASE("A49: an entry that its author did not sign ends the link and is not kept") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const signed_entry good = it.mallory.entry(it.direct(), chat::text{"hello"});
        const std::vector<signed_entry> list{good};
        co_await it.say_all(list);
        co_await it.victim.hears();
        byte_vector bytes = entry_bytes(forged_by(it, it.victim.node.key()));
        const signature64 by_mallory = it.self.sign(bytes);
        bytes.insert(bytes.end(), by_mallory.begin(), by_mallory.end());
        std::error_code ec;
        const auto forged = signed_entry::parse(bytes, ec);
        REQUIRE(forged);
        co_await it.mallory.say_entry(*forged);
        co_await it.mallory.is_dropped();
        const std::size_t kept = co_await it.messages();
        CHECK(kept == 1);
        co_await it.others_are_served();
    });
}

TEST_CASE("A49: a flood of entries with bad signatures costs the flooder its link at the first") {
    ends_the_link([](attack& it) -> asio::awaitable<void> {
        return [](attack& at) -> asio::awaitable<void> {
            chat::entries flood;
            for (int i = 0; i < 200; ++i) {
                const signed_entry one = at.mallory.entry(at.direct(), chat::text{"x"});
                byte_vector bytes(one.bytes().begin(), one.bytes().end());
                bytes.back() ^= 1;
                std::error_code ec;
                flood.list.push_back(*signed_entry::parse(bytes, ec));
            }
            const std::vector<chat::head> heads{at.mallory.own_head()};
            co_await at.mallory.say_have(at.direct(), heads);
            const chat::message what = std::move(flood);
            co_await at.mallory.say(what);
        }(it);
    });
}

TEST_CASE("A49: who says different things to different people is shown once, and the first thing said stays") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        chat_stranger twin(world.net, it.self, "mallory");
        const signed_entry one = it.mallory.entry(it.direct(), chat::text{"yes"});
        const signed_entry other = twin.entry(it.direct(), chat::text{"no"});
        const std::vector<signed_entry> list{one, other, other, other};
        co_await it.say_all(list);
        const auto warned = co_await it.victim.until<chat_event::warning>();
        CHECK(warned.text.find("different things") != std::string::npos);
        co_await it.mallory.is_heard();
        const auto kept = co_await it.victim.node.history("mallory", 10, std::nullopt);
        REQUIRE(kept.size() == 1);
        CHECK(kept.front().text == "yes");
        co_await it.others_are_served();
    });
}

TEST_CASE("A49: nobody is blamed on another's word: a head with another hash proves nothing") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const signed_entry one = it.mallory.entry(it.direct(), chat::text{"yes"});
        const std::vector<signed_entry> list{one};
        co_await it.say_all(list);
        co_await it.victim.hears();
        chat::head lie = it.mallory.own_head();
        lie.hash.bytes[0] ^= 1;
        const std::vector<chat::head> heads{lie};
        co_await it.mallory.say_have(it.direct(), heads);
        const auto asked = co_await it.mallory.hears<chat::history_request>();
        CHECK(asked.author == it.self.key());
        co_await it.mallory.is_heard();
        it.victim.node.set_presence("away");
        it.mallory.hang_up();
        // The link's end comes next, and no warning before it.
        for (;;) {
            const chat_node_event next = co_await it.victim.node.receive();
            CHECK(!std::holds_alternative<chat_event::warning>(next));
            if (std::holds_alternative<chat_event::peer_disconnected>(next)) break;
        }
    });
}

TEST_CASE("A49: a clock far ahead does not carry a conversation into the future") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const auto now = static_cast<std::uint64_t>(calendar_now());
        const signed_entry good = it.mallory.entry(it.direct(), chat::text{"now"}, now);
        const signed_entry ahead = it.mallory.entry(it.direct(), chat::text{"in an hour"}, now + 3'600'000);
        const signed_entry last = it.mallory.entry(it.direct(), chat::text{"at the end of time"}, max_clock);
        const std::vector<signed_entry> list{good, ahead, last};
        co_await it.say_all(list);
        co_await it.mallory.is_heard();
        const std::size_t kept = co_await it.messages();
        CHECK(kept == 1);
        co_await it.others_are_served();
    });
}

TEST_CASE("A49: entries of other conversations, of third persons and of rooms that we are not in are left alone") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        const identity third = new_identity();
        co_await it.victim.node.join("#lobby");
        co_await it.begin();
        chat_stranger as_third(world.net, third, "third");
        const conversation_id others = direct_conversation(third.key(), it.victim.node.key());
        const signed_entry foreign = as_third.entry(others, chat::text{"not mallory's"});
        const signed_entry misplaced = it.mallory.entry(others, chat::text{"into another's"});
        const signed_entry unknown_room = it.mallory.entry(room_conversation("cellar"), chat::room_join{"cellar", "m"});
        // A chain in a room begins with its author's coming.
        chat_stranger fresh(world.net, it.self, "mallory");
        const signed_entry uninvited = fresh.entry(room_conversation("lobby"), chat::text{"no join before"});
        for (const signed_entry& one : {foreign, misplaced, unknown_room, uninvited})
            co_await it.mallory.say_entry(one);
        const chat::message sealed =
            chat::room_message{room_conversation("lobby"), it.self.key(), 7, 7, byte_vector(99)};
        for (int i = 0; i < 100; ++i) co_await it.mallory.say(sealed);
        co_await it.mallory.is_heard();
        const auto lobby = co_await it.victim.node.history("#lobby", 10, std::nullopt);
        CHECK(lobby.empty());
        CHECK(it.victim.node.conversations() == std::vector<std::string>{"#lobby"});
        co_await it.others_are_served();
    });
}

TEST_CASE("A49: who left a room says nothing more in it, whatever is signed") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.victim.node.join("#lobby");
        co_await it.begin();
        const conversation_id lobby = room_conversation("lobby");
        const signed_entry came = it.mallory.entry(lobby, chat::room_join{"lobby", "mallory"});
        const signed_entry said = it.mallory.entry(lobby, chat::text{"hello all"});
        const signed_entry left = it.mallory.entry(lobby, chat::room_leave{});
        const signed_entry late = it.mallory.entry(lobby, chat::text{"and another thing"});
        for (const signed_entry& one : {came, said, left, late}) co_await it.mallory.say_entry(one);
        co_await it.victim.until<chat_event::member_left>();
        co_await it.mallory.is_heard();
        const auto shown = co_await it.victim.node.history("#lobby", 10, std::nullopt);
        REQUIRE(shown.size() == 1);
        CHECK(shown.front().text == "hello all");
    });
}

TEST_CASE("A49: a flood of messages is taken at the disk's pace, in bounded memory, and others are served meanwhile") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const signed_entry first = it.mallory.entry(it.direct(), chat::text{"0"});
        const std::vector<signed_entry> list{first};
        co_await it.say_all(list);
        co_await it.mallory.is_heard();
        const heap_growth growth;
        const std::string large(60'000, 'x');
        for (int i = 0; i < 300; ++i) {
            const signed_entry one = it.mallory.entry(it.direct(), chat::text{large});
            co_await it.mallory.say_entry(one);
        }
        co_await it.others_are_served();
        co_await it.mallory.is_heard();
        CHECK(growth.bytes() < 100'000'000);  // the 1,024 events that wait for a reader hold the texts
        const std::size_t kept = co_await it.messages();
        CHECK(kept == 301);
    });
}

TEST_CASE("A49: questions without end, of a peer that does not read the answers, end its link") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const signed_entry first = it.mallory.entry(it.direct(), chat::text{"0"});
        const std::vector<signed_entry> list{first};
        co_await it.say_all(list);
        co_await it.mallory.is_heard();
        const std::string large(60'000, 'x');
        for (int i = 0; i < 300; ++i) co_await it.victim.node.send("mallory", large);
        const heap_growth growth;
        const chat::message question = chat::ping{1};
        try {
            for (int i = 0; i < 5000; ++i) co_await it.mallory.say(question);
        } catch (const std::system_error& error) {
            CHECK(!is_cancellation(error.code()));
        }
        const auto gone = co_await it.victim.until<chat_event::peer_disconnected>();
        CHECK(gone.reason == errc::queue_full);
        CHECK(growth.bytes() < 30'000'000);
        co_await it.others_are_served();
    });
}

TEST_CASE("A49: strangers who have said nothing cost no file, and names that show something else are refused") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const std::vector<chat::head> nothing;
        co_await it.mallory.say_have(it.direct(), nothing);
        const chat::message asks = chat::history_request{it.direct(), it.self.key(), 0, 10};
        co_await it.mallory.say(asks);
        const chat::message here = chat::presence{chat::presence_state::online, "\x1b]0;owned\x07 hi"};
        co_await it.mallory.say(here);
        const auto shown = co_await it.victim.until<chat_event::presence>(
            [](const chat_event::presence& one) { return one.state != "online"; });
        CHECK(shown.state.find('\x1b') == std::string::npos);
        co_await it.mallory.is_heard();
        CHECK(it.victim.node.conversations().empty());
        const identity other = new_identity();
        for (const char* const name : {"bob\x1b[2J", "#lobby", "@bob", "bob: yes, do it", "a/b"}) {
            chat_stranger posing(world.net, other, name);
            try {
                co_await posing.meet(it.victim.node.port());
                co_await posing.is_dropped();
            } catch (const std::system_error& error) {
                CHECK(!is_cancellation(error.code()));
            }
        }
        CHECK(it.victim.node.peers().size() == 1);
        co_await it.others_are_served();
    });
}

TEST_CASE("A50: half frames, a frame of 2 GiB, and bytes that are no handshake trouble nobody else") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        attack it(world);
        co_await it.begin();
        const std::string upgrade =
            "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        const std::string huge(
            "\x82\xff\x00\x00\x00\x00\x80\x00\x00\x00"
            "abcd",
            14);
        const std::string half(
            "\x82\xfe\x01\x00"
            "abcdefgh",
            12);
        const std::string noise_rubbish(
            "\x82\x85"
            "\0\0\0\0hello",
            11);
        std::vector<std::unique_ptr<stream>> open;
        const endpoint door{ip_address::loopback_v4(), it.victim.node.port()};
        for (const std::string& after : {huge, half, noise_rubbish, std::string()}) {
            auto link = co_await world.net.connect(door);
            const std::string all = upgrade + after;
            co_await write_all(*link, as_bytes(all));
            open.push_back(std::move(link));
        }
        auto rubbish = co_await world.net.connect(door);
        const std::string junk(1000, '\xee');
        co_await write_all(*rubbish, as_bytes(junk));
        co_await it.others_are_served();
        // The one with the frame of 2 GiB has been told and is let go.
        byte_vector buffer(4096);
        std::size_t got = 1;
        while (got > 0) {
            try {
                got = co_await open.front()->read_some(buffer);
            } catch (const std::system_error&) {
                got = 0;
            }
        }
        co_await it.mallory.is_heard();
    });
}

}  // namespace hostile_test
