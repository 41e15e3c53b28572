#include <cohort/swarm/swarm_chat.hpp>

#include <doctest/doctest.h>

#include <cohort/protocol/extension.hpp>

#include "support/eventually.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"
#include "support/swarm_fixture.hpp"

namespace swarm_chat_test {

using namespace cohort;
using namespace cohort::test;

namespace {

torrent_options talking(torrent_options options, const std::string& name) {
    options.chat = swarm_chat({.name = name});
    return options;
}

/// What the torrent has heard so far; waits for nothing.
std::vector<event::chat_message> heard_by(const event_log& log) { return log.all<event::chat_message>(); }

std::vector<std::string> texts(const std::vector<event::chat_message>& from) {
    std::vector<std::string> out;
    for (const event::chat_message& one : from) out.push_back(one.from_name + ": " + one.text);
    return out;
}

/// Completes when the torrent's peers are so many.
asio::awaitable<void> with_peers(swarm_fixture& world, std::shared_ptr<torrent> of, std::size_t count) {
    const auto there = [of, count] { return of->status().peers == count; };
    co_await eventually(world.real, there);
}

/// Completes when the log has so many chat messages.
asio::awaitable<void> heard(event_log& log, std::size_t count) {
    while (heard_by(log).size() < count) co_await log.until<event::chat_message>();
}

/// A peer whose chat is what a test says.
struct talker {
    static constexpr std::uint8_t own_id = 9;

    std::shared_ptr<scripted_peer> peer;
    std::uint8_t id = 0;  ///< what the session wants chat under
    identity self = identity::random();
    conversation_id room;
    std::string room_name;
    std::uint64_t seq = 1000;

    signed_entry entry(chat::entry_body body) {
        chat_entry out;
        out.conversation = room;
        out.seq = out.clock = ++seq;
        out.time_ms = 1'700'000'000'000;
        out.prev.bytes[0] = 1;
        out.body = std::move(body);
        std::error_code ec;
        return signed_entry::make(out, self, ec).value();
    }
    signed_entry text(std::string words) { return entry(chat::text{std::move(words)}); }
    signed_entry name(std::string called) { return entry(chat::room_join{room_name, std::move(called)}); }

    void say_raw(std::string_view payload) { peer->say(wire::extended{id, as_bytes(payload)}); }
    void say(std::vector<signed_entry> list) { say_raw(chat::serialize(chat::entries{std::move(list)})); }
};

extension_handshake with_chat(std::uint8_t id) {
    extension_handshake out;
    out.m["ct_chat"] = id;
    return out;
}

/// Completes with the session's extension handshake.
asio::awaitable<extension_handshake> extensions_of(std::shared_ptr<scripted_peer> peer) {
    for (;;) {
        const wire::extended message = co_await peer->expect<wire::extended>();
        std::error_code ec;
        if (message.id == 0) co_return parse_extension_handshake(message.payload, ec).value();
    }
}

/// Completes with a peer that has nothing, and has told that it talks under `own_id`; 0: that it does not.
asio::awaitable<talker> enter(swarm_fixture& world, session& at, info_hash hash, std::string name,
                              std::uint8_t own_id = talker::own_id) {
    talker out;
    out.room_name = swarm_room(hash);
    out.room = room_conversation(out.room_name);
    const endpoint address = world.address_of(at);
    out.peer = co_await dial_as_peer(world.real, address);
    handshake ours = greeting_of(hash, name);
    ours.extension_protocol = true;
    co_await out.peer->greet(ours);
    const extension_handshake theirs = co_await extensions_of(out.peer);
    const auto found = theirs.m.find("ct_chat");
    if (found != theirs.m.end()) out.id = found->second;
    const std::string payload = write_extension_handshake(with_chat(own_id));
    out.peer->say(wire::extended{0, as_bytes(payload)}).say(wire::have_none{});
    co_await out.peer->flush();
    co_return out;
}

/// Completes with the next chat message that the peer gets.
asio::awaitable<chat::entries> next_entries(std::shared_ptr<scripted_peer> peer) {
    for (;;) {
        const wire::extended message = co_await peer->expect<wire::extended>();
        if (message.id != talker::own_id) continue;
        std::error_code ec;
        const auto parsed = chat::parse(as_text(message.payload), ec);
        co_return std::get<chat::entries>(parsed.value());
    }
}

std::string words_of(const signed_entry& one) { return std::get<chat::text>(one.entry().body).content; }

/// A session that talks, seeds, and has a log.
struct host {
    host(swarm_fixture& world, const shared_content& content, const std::string& name)
        : at(world.start()), it(at.add(content.info, talking(world.seeding(content), name))), log(world.log(it)) {}

    session& at;
    std::shared_ptr<torrent> it;
    event_log log;
};

}  // namespace

TEST_CASE("peers of a torrent hear each other, and stay linked for it when both have everything") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        host alice(world, content, "alice");
        session& taker = world.start();
        const auto bob = taker.add(content.info, talking(world.leeching("bob", {world.address_of(alice.at)}), "bob"));
        event_log bobs = world.log(bob);
        alice.it->say("before anybody came");
        co_await world.completed(bob);
        co_await heard(bobs, 1);
        bob->say("h\xc3\xa9llo \xf0\x9f\x99\x82");
        const auto first = co_await alice.log.until<event::chat_message>();
        CHECK(first.from_name == "bob");
        CHECK(first.text == "h\xc3\xa9llo \xf0\x9f\x99\x82");
        CHECK(first.time_ms > 1'700'000'000'000);
        alice.it->say("welcome");
        co_await heard(bobs, 2);
        CHECK(texts(heard_by(bobs)) == std::vector<std::string>{"alice: before anybody came", "alice: welcome"});
        CHECK(heard_by(bobs)[0].key == heard_by(bobs)[1].key);
        CHECK(heard_by(bobs)[0].key.bytes != first.key.bytes);
        world.net.shift(3600s);
        bob->say("an hour later");
        co_await heard(alice.log, 2);
        CHECK(bob->status().peers == 1);
        CHECK(alice.log.all<event::peer_disconnected>().empty());
        CHECK(world.is_copy(content, "bob"));
    });
}

TEST_CASE("three in a line hear each other once, and so do three in a ring") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        for (const bool ring : {false, true}) {
            host alice(world, content, "alice");
            session& middle = world.start();
            session& last = world.start();
            const std::string folder = ring ? "ring" : "line";
            const auto bob =
                middle.add(content.info, talking(world.leeching(folder + "b", {world.address_of(alice.at)}), "bob"));
            std::vector<endpoint> peers = {world.address_of(middle)};
            if (ring) peers.push_back(world.address_of(alice.at));
            const auto carol = last.add(content.info, talking(world.leeching(folder + "c", peers), "carol"));
            event_log bobs = world.log(bob), carols = world.log(carol);
            co_await with_peers(world, bob, 2);
            co_await with_peers(world, carol, peers.size());
            co_await world.completed(carol);
            for (int i = 0; i < 3; ++i) {
                const std::string number = std::to_string(i);
                alice.it->say("a" + number);
                co_await heard(carols, 2 * static_cast<std::size_t>(i) + 1);
                bob->say("b" + number);
                co_await heard(carols, 2 * static_cast<std::size_t>(i) + 2);
                carol->say("c" + number);
                co_await heard(alice.log, 2 * static_cast<std::size_t>(i) + 2);
            }
            co_await heard(bobs, 6);
            // What would come twice would be there by now: one more round trip through all.
            alice.it->say("end");
            co_await heard(bobs, 7);
            co_await heard(carols, 7);
            bob->say("end");
            co_await heard(carols, 8);
            co_await heard(alice.log, 7);
            carol->say("end");
            co_await heard(alice.log, 8);
            co_await heard(bobs, 8);
            CHECK(texts(heard_by(carols)) == std::vector<std::string>{"alice: a0", "bob: b0", "alice: a1", "bob: b1",
                                                                      "alice: a2", "bob: b2", "alice: end",
                                                                      "bob: end"});
            CHECK(heard_by(alice.log).size() == 8);
            CHECK(heard_by(bobs).size() == 8);
            co_await alice.at.stop();
            co_await middle.stop();
            co_await last.stop();
        }
    });
}

TEST_CASE("chat is off by default: it is not offered, what comes is ignored, and nothing can be said") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        session& at = world.start();
        const auto it = at.add(content.info, world.seeding(content));
        event_log log = world.log(it);
        co_await log.until<event::started>();
        talker bob = co_await enter(world, at, content.info.hash, "bob");
        CHECK(bob.id == 0);
        bob.id = 1;
        bob.say({bob.text("hello?")});
        co_await bob.peer->flush();
        bob.peer->say(wire::interested{});
        co_await bob.peer->flush();
        co_await bob.peer->expect<wire::unchoke>();
        CHECK_THROWS_AS(it->say("hello"), std::system_error);
        bob.peer->close();
        co_await log.until<event::peer_disconnected>();
        CHECK(heard_by(log).empty());
    });
}

TEST_CASE("peers without chat are served as ever, get none of it, and are left when both have everything") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        host alice(world, content, "alice");
        co_await alice.log.until<event::started>();
        talker plain = co_await enter(world, alice.at, content.info.hash, "plain", 0);
        CHECK(plain.id != 0);
        plain.say({plain.text("I do not listen")});
        alice.it->say("hello");
        for (piece_index piece = 0; piece < content.info.layout().piece_count(); ++piece) {
            plain.peer->say(wire::have{piece});
        }
        co_await plain.peer->flush();
        co_await plain.peer->expect_end();
        const auto gone = co_await alice.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::peer_useless);
        CHECK(plain.peer->count<wire::extended>() == 1);  // the handshake
        CHECK(heard_by(alice.log).empty());
    });
}

TEST_CASE("a newcomer is told the last forty messages and whose they are, and no more after it has switched chat off") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        host alice(world, content, "alice");
        co_await alice.log.until<event::started>();
        talker bob = co_await enter(world, alice.at, content.info.hash, "bob");
        bob.say({bob.name("bob")});
        for (int i = 0; i < 60; ++i) bob.say({bob.text(std::to_string(i))});
        co_await bob.peer->flush();
        co_await heard(alice.log, 60);

        talker carol = co_await enter(world, alice.at, content.info.hash, "carol");
        for (int i = 20; i < 60; ++i) {
            const chat::entries got = co_await next_entries(carol.peer);
            CHECK(got.list.size() == (i == 20 ? 2 : 1));
            CHECK(words_of(got.list.back()) == std::to_string(i));
            if (i == 20) CHECK(std::get<chat::room_join>(got.list[0].entry().body).name == "bob");
            for (const signed_entry& one : got.list) CHECK(one.verify());
        }
        alice.it->say("last");
        const chat::entries last = co_await next_entries(carol.peer);
        CHECK(words_of(last.list.back()) == "last");
        CHECK(std::get<chat::room_join>(last.list[0].entry().body).name == "alice");

        const std::string off = write_extension_handshake(with_chat(0));
        carol.peer->say(wire::extended{0, as_bytes(off)});
        carol.say({carol.text("ignored")});
        carol.peer->say(wire::interested{});
        co_await carol.peer->flush();
        co_await carol.peer->expect<wire::unchoke>();
        const int before = carol.peer->count<wire::extended>();
        alice.it->say("not for carol");
        const std::string on = write_extension_handshake(with_chat(talker::own_id));
        carol.peer->say(wire::extended{0, as_bytes(on)}).say(wire::request{block{0, 0, 16384}});
        co_await carol.peer->flush();
        co_await carol.peer->expect<wire::piece>();
        CHECK(carol.peer->count<wire::extended>() == before);
        CHECK(heard_by(alice.log).size() == 60);
    });
}

TEST_CASE("garbage, what is huge, forged or not UTF-8, and what is unknown is ignored, and harms nobody") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        host alice(world, content, "alice");
        co_await alice.log.until<event::started>();
        talker bob = co_await enter(world, alice.at, content.info.hash, "bob");
        talker carol = co_await enter(world, alice.at, content.info.hash, "carol");

        const std::string good = chat::serialize(chat::entries{{bob.text("cut")}});
        const signed_entry honest = bob.text("I was altered");
        byte_vector altered(honest.bytes().begin(), honest.bytes().end());
        altered[altered.size() - 70] ^= 1;  // within the text, so that the signature is not of it
        const std::string text = "{\"type\":\"entries\",\"entries\":[\"" + to_base64(altered) + "\"]}";
        byte_vector invalid = altered;
        invalid[invalid.size() - 70] = 0xff;
        const std::string not_utf8 = "{\"type\":\"entries\",\"entries\":[\"" + to_base64(invalid) + "\"]}";
        const conversation_id here = std::exchange(bob.room, room_conversation("lobby"));
        const signed_entry elsewhere = bob.text("another room");
        bob.room = here;
        const std::vector<std::string> wrong = {
            "x",
            "{}",
            std::string(1000, '['),
            std::string("\0\xff\x1b[2J", 6),
            good.substr(0, good.size() / 2),
            std::string(900'000, 'x'),
            "{\"type\":\"entries\",\"entries\":[\"" + std::string(100'000, 'A') + "\"]}",
            text,
            not_utf8,
            "{\"type\":\"entries\",\"entries\":7}",
            "{\"type\":\"entries\",\"entries\":[\"AAAA\"]}",
            chat::serialize(chat::entries{{elsewhere}}),
            chat::serialize(chat::entries{{bob.text(std::string(4097, 'x'))}}),
            chat::serialize(chat::entries{{bob.text(std::string(60'000, 'x'))}}),
        };
        const std::vector<std::string> nothing = {
            "{\"type\":\"dance\",\"steps\":[1,2,3]}",
            chat::serialize(chat::typing{bob.room, true}),
            chat::serialize(chat::hello{"mallory", 1, {}}),
            chat::serialize(chat::entries{}),
            chat::serialize(chat::entries{{bob.entry(chat::unknown_body{99, {1, 2, 3}})}}),
            chat::serialize(chat::entries{{bob.entry(chat::file_offer{"x", 1, {}, {}})}}),
            chat::serialize(chat::entries{{bob.entry(chat::room_leave{"bye"})}}),
        };
        std::size_t count = 0;
        for (const auto* const kind : {&wrong, &nothing}) {
            for (const std::string& one : *kind) {
                bob.say_raw(one);
                // A message between, so that its mate is known to have been looked at.
                const std::string proof = std::to_string(count++);
                world.net.shift(20s);
                bob.say({bob.text(proof)});
                co_await bob.peer->flush();
                const auto said = co_await alice.log.until<event::chat_message>();
                CHECK(said.text == proof);
                CHECK(said.from_name.empty());
                const chat::entries passed = co_await next_entries(carol.peer);
                REQUIRE(passed.list.size() == 1);
                CHECK(words_of(passed.list[0]) == proof);
            }
        }
        CHECK(alice.it->status().peers == 2);
        // Numbers that nobody gave out
        bob.peer->say(wire::extended{77, as_bytes(good)}).say(wire::extended{255, {}});
        bob.say({bob.text("still here")});
        co_await bob.peer->flush();
        const auto said = co_await alice.log.until<event::chat_message>();
        CHECK(said.text == "still here");
    });
}

TEST_CASE("what a terminal would obey comes through as text in messages, and not at all in names") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        host alice(world, content, "alice");
        co_await alice.log.until<event::started>();
        talker bob = co_await enter(world, alice.at, content.info.hash, "bob");
        const std::string evil = "\x1b]0;owned\x07\x1b[2J\r\nline \xe2\x80\xae txet";
        bob.say({bob.text(evil)});
        co_await bob.peer->flush();
        const auto said = co_await alice.log.until<event::chat_message>();
        CHECK(said.text == evil);

        chat_entry named;
        named.conversation = bob.room;
        named.seq = named.clock = ++bob.seq;
        named.prev.bytes[0] = 1;
        named.body = chat::room_join{bob.room_name, "\x1b[31mroot"};
        byte_vector bytes = entry_bytes([&] {
            named.author = bob.self.key();
            return named;
        }());
        const auto signature = bob.self.sign(bytes);
        bytes.insert(bytes.end(), signature.begin(), signature.end());
        bob.say_raw("{\"type\":\"entries\",\"entries\":[\"" + to_base64(bytes) + "\"]}");
        bob.say({bob.text("who am I?")});
        co_await bob.peer->flush();
        const auto nameless = co_await alice.log.until<event::chat_message>();
        CHECK(nameless.text == "who am I?");
        CHECK(nameless.from_name.empty());
        for (const char* const name : {"", " x", "a\nb", "\x1b[0m", "\xff"}) {
            CHECK_THROWS_AS(swarm_chat({.name = name}), std::system_error);
        }
    });
}

TEST_CASE("a flood is ignored beyond a hundred at once and ten a second, and its relay never floods") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        host alice(world, content, "alice");
        co_await alice.log.until<event::started>();
        talker bob = co_await enter(world, alice.at, content.info.hash, "bob");
        talker carol = co_await enter(world, alice.at, content.info.hash, "carol");
        const time_point began = world.net.now();
        for (int i = 0; i < 1000; ++i) bob.say({bob.text(std::to_string(i))});
        std::vector<signed_entry> many;
        for (int i = 0; i < 200; ++i) many.push_back(bob.text("many " + std::to_string(i)));
        bob.say(many);
        bob.peer->say(wire::interested{});
        co_await bob.peer->flush();
        co_await bob.peer->expect<wire::unchoke>();
        world.net.shift(1s);
        bob.say({bob.text("end")});
        co_await bob.peer->flush();
        std::string last;
        while (last != "end") {
            const auto said = co_await alice.log.until<event::chat_message>();
            last = said.text;
        }
        const auto allowed = [&](double burst, double rate) {
            return burst + rate * (to_seconds(world.net.now() - began) + 1);
        };
        CHECK(heard_by(alice.log).size() >= 101);
        CHECK(static_cast<double>(heard_by(alice.log).size()) <= allowed(100, 10));
        int passed = 0;
        while (last != "") {
            const chat::entries got = co_await next_entries(carol.peer);
            passed += static_cast<int>(got.list.size());
            if (words_of(got.list.back()) == "end") last.clear();
        }
        CHECK(passed >= 81);
        CHECK(passed <= allowed(80, 8));

        // So is one who says too much himself.
        int said = 0;
        try {
            for (; said < 1000; ++said) alice.it->say("spam");
        } catch (const std::system_error& error) {
            CHECK(error.code() == errc::queue_full);
        }
        CHECK(said >= 20);
        CHECK(said <= 24);
        const auto code_of = [&](std::string_view text) {
            try {
                alice.it->say(text);
            } catch (const std::system_error& error) {
                return error.code();
            }
            return std::error_code();
        };
        CHECK(code_of("") == errc::chat_malformed);
        CHECK(code_of("\xff") == errc::chat_malformed);
        CHECK(code_of(std::string(4097, 'x')) == errc::chat_too_long);
    });
}

TEST_CASE("a peer that does not read costs a bounded queue") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        const info_hash hash{{1, 2, 3}};
        const swarm_talk_maker make = swarm_chat({.name = "alice"});
        const auto talk = make(net, hash, [](torrent_event) {});
        stream_pair pair = co_await tcp_pair(net);
        // Nobody flushes: what is queued stays.
        peer deaf(1, std::make_unique<peer_connection>(net, std::move(pair.second)), greeting_of(hash, "deaf"), true,
                  net.now());
        talk->joined(deaf, talker::own_id);
        for (int i = 0; i < 1000; ++i) {
            talk->say(std::string(4096, 'x'));
            net.shift(1s);
        }
        CHECK(deaf.connection->queued_bytes() > 1'000'000);
        CHECK(deaf.connection->queued_bytes() < 1'100'000);
        CHECK(talk->holds(deaf));
        talk->left(deaf);
        CHECK_FALSE(talk->holds(deaf));
        talk->say("to nobody");
    });
}

TEST_CASE("an identity that is given is known again, in another life too") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        host alice(world, content, "alice");
        key32 seed{};
        seed[5] = 5;
        for (int life = 0; life < 2; ++life) {
            session& at = world.start();
            torrent_options options = world.leeching("bob" + std::to_string(life), {world.address_of(alice.at)});
            options.chat = swarm_chat({.name = "bob", .seed = secret32(seed)});
            const auto bob = at.add(content.info, options);
            bob->say("life " + std::to_string(life));
            const auto said = co_await alice.log.until<event::chat_message>();
            CHECK(said.text == "life " + std::to_string(life));
            CHECK(said.key.bytes == identity(seed).key().bytes);
            co_await at.stop();
        }
    });
}

}  // namespace swarm_chat_test
