#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/json_chat.hpp>
#include <support/mutate.hpp>

namespace json_chat_test {

using namespace cohort;

namespace {

identity person(std::uint8_t number) {
    key32 seed{};
    seed.fill(number);
    return identity(seed);
}

signed_entry entry_of(std::uint64_t seq, chat::entry_body body) {
    chat_entry out;
    out.conversation = room_conversation("lobby");
    out.seq = seq;
    out.clock = seq + 3;
    if (seq > 1) out.prev.bytes.fill(9);
    out.body = std::move(body);
    std::error_code ec;
    auto made = signed_entry::make(out, person(1), ec);
    REQUIRE(made);
    return *made;
}

chat::message round_trip(const chat::message& m) {
    const std::string text = chat::serialize(m);
    CHECK(text.find('\n') == std::string::npos);
    std::error_code ec;
    const auto back = chat::parse(text, ec);
    REQUIRE_MESSAGE(back, text);
    CHECK_FALSE(ec);
    CHECK(chat::serialize(*back) == text);
    return *back;
}

std::error_code refusal(std::string_view text) {
    std::error_code ec;
    CHECK_FALSE(chat::parse(text, ec));
    return ec;
}

/// A message of each type, each member in use.
std::vector<chat::message> all_messages() {
    const conversation_id room = room_conversation("lobby");
    const identity_key alice = person(1).key();
    const identity_key bob = person(2).key();
    sha256_digest hash;
    hash.bytes.fill(0xab);
    chat::room_key key{room, {}, 4, 17, {}, {}};
    key.chain_key.fill(0x77);
    chat::sign(key, person(1));
    const chat::offer_id offer{room, alice, (std::uint64_t{1} << 53)};
    return {
        chat::hello{"José", 1, {"rooms", "files"}},
        chat::hello{"x", 4'294'967'295, {}},
        chat::entries{{entry_of(1, chat::text{"hi \"there\"\n"}), entry_of(2, chat::unknown_body{77, {0, 255}})}},
        chat::entries{},
        chat::have{room, 12, {{alice, 3, hash}, {bob, max_clock, hash}}},
        chat::have{room, 12, {}, true},
        chat::received{room, 3},
        chat::read{room, {{alice, 3}}},
        chat::typing{room, true},
        chat::presence{chat::presence_state::away, "lunch"},
        chat::presence{},
        key,
        chat::room_message{room, alice, 4, 18, {1, 2, 3, 4}},
        chat::history_request{room, bob, 5, 100},
        chat::members{room,
                      {{alice, "alice", endpoint::parse("127.0.0.1:4000"), true},
                       {bob, "bob", endpoint::parse("[::1]:4000"), false},
                       {bob, "bob", std::nullopt, true}}},
        chat::file_accept{offer, 6881},
        chat::file_progress{offer, 5'000'000'000},
        chat::file_refuse{offer, "too big"},
        chat::ping{9},
        chat::pong{9},
    };
}

}  // namespace

TEST_CASE("every chat message comes back from its JSON as it was") {
    std::size_t types = 0;
    std::vector<bool> seen(std::variant_size_v<chat::message>);
    for (const chat::message& m : all_messages()) {
        CHECK(round_trip(m) == m);
        types += seen[m.index()] ? 0 : 1;
        seen[m.index()] = true;
    }
    CHECK(types == std::variant_size_v<chat::message> - 1);  // all but `unknown`
}

TEST_CASE("chat messages look as documented") {
    CHECK(chat::serialize(chat::typing{{}, true}) ==
          R"({"type":"typing","conversation":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","on":true})");
    CHECK(chat::serialize(chat::ping{5}) == R"({"type":"ping","id":5})");
    CHECK(chat::serialize(chat::presence{chat::presence_state::away, "a\"b"}) ==
          R"({"type":"presence","state":"away","text":"a\"b"})");
}

TEST_CASE("a message of an unknown type is kept with all that it says") {
    std::error_code ec;
    const auto m = chat::parse(R"({"later":[1,{"a":9007199254740993}],"type":"hologram","x":null})", ec);
    REQUIRE(m);
    const auto* const unknown = std::get_if<chat::unknown>(&*m);
    REQUIRE(unknown != nullptr);
    CHECK(unknown->type == "hologram");
    CHECK(unknown->json == R"({"later":[1,{"a":9007199254740993}],"type":"hologram","x":null})");
    CHECK(round_trip(*m) == *m);
}

TEST_CASE("unknown members of a known chat message are ignored, and so are unknown states and bodies") {
    std::error_code ec;
    auto m = chat::parse(R"({"type":"ping","id":3,"colour":{"deep":[]}})", ec);
    REQUIRE(m);
    CHECK(*m == chat::message(chat::ping{3}));
    m = chat::parse(R"({"type":"presence","state":"under water"})", ec);
    REQUIRE(m);
    CHECK(*m == chat::message(chat::presence{}));
}

TEST_CASE("what is no chat message is refused") {
    for (const char* const text :
         {"",
          "{",
          "[]",
          "3",
          "null",
          "{}",
          R"({"type":3})",
          R"({"type":null})",
          R"({"type":"ping"})",
          R"({"type":"ping","id":"3"})",
          R"({"type":"ping","id":3.5})",
          R"({"type":"ping","id":-1})",
          R"({"type":"ping","id":1e3})",
          R"({"type":"ping","id":9007199254740993})",
          R"({"type":"ping","id":99999999999999999999})",
          R"({"type":"typing","conversation":"AAAA","on":true})",
          R"({"type":"typing","conversation":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","on":1})",
          R"({"type":"typing","conversation":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=","on":true})",
          R"({"type":"typing","conversation":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","on":true})",
          R"({"type":"hello","name":"","version":1,"features":[]})",
          R"({"type":"hello","name":"a\nb","version":1,"features":[]})",
          R"({"type":"hello","name":"a","version":4294967296,"features":[]})",
          R"({"type":"hello","name":"a","version":1,"features":[1]})",
          R"({"type":"hello","name":"a","version":1,"features":{}})",
          R"({"type":"entries","entries":["AAAA"]})",
          R"({"type":"entries","entries":[{}]})",
          R"({"type":"entries"})",
          "\"\xff\"",
          "{\"type\":\"presence\",\"state\":\"\xff\"}"})
        CHECK_MESSAGE(refusal(text) == errc::chat_malformed, text);
}

TEST_CASE("A48: a name in a message cannot move the cursor or reverse text") {
    CHECK(refusal(R"({"type":"hello","name":"\u001b[2J","version":1,"features":[]})") == errc::chat_malformed);
    CHECK(refusal(R"({"type":"hello","name":"a\u202eb","version":1,"features":[]})") == errc::chat_malformed);
    CHECK(refusal(R"({"type":"hello","name":"\u009b1m","version":1,"features":[]})") == errc::chat_malformed);
}

TEST_CASE("messages above a limit are too long, not merely malformed") {
    CHECK(refusal(std::string(chat::limits::message + 1, ' ')) == errc::chat_too_long);
    CHECK(refusal(chat::serialize(chat::presence{{}, std::string(chat::limits::words + 1, 'x')})) ==
          errc::chat_too_long);
    CHECK(refusal(chat::serialize(chat::read{{}, std::vector<chat::read_mark>(chat::limits::heads + 1)})) ==
          errc::chat_too_long);
    CHECK(refusal(chat::serialize(chat::room_message{{}, {}, 0, 0, byte_vector(chat::limits::ciphertext + 1)})) ==
          errc::chat_too_long);
    CHECK(refusal(chat::serialize(chat::hello{"a", 1, std::vector<std::string>(65, "x")})) == errc::chat_too_long);
    CHECK(refusal(chat::serialize(chat::hello{"a", 1, {std::string(65, 'x')}})) == errc::chat_too_long);
    const signed_entry small = entry_of(1, chat::text{"x"});
    CHECK(refusal(chat::serialize(chat::entries{std::vector<signed_entry>(chat::limits::entries + 1, small)})) ==
          errc::chat_too_long);
    const signed_entry big = entry_of(1, chat::text{std::string(chat::max_text, 'x')});
    CHECK(refusal(chat::serialize(chat::entries{std::vector<signed_entry>(8, big)})) == errc::chat_too_long);
    CHECK(round_trip(chat::entries{std::vector<signed_entry>(7, big)}).index() == 1);
    CHECK(refusal(std::string(100'000, '[')) == errc::chat_malformed);
}

TEST_CASE("the longest messages that the limits allow fit into a link's message") {
    const auto fits = [](const chat::message& m) {
        CHECK(chat::serialize(m).size() <= chat::limits::message);
        round_trip(m);
    };
    chat::head head{person(1).key(), max_clock, {}};
    head.hash.bytes.fill(0xff);
    fits(chat::have{{}, max_clock, std::vector<chat::head>(chat::limits::heads, head)});
    const chat::member member{person(1).key(), std::string(64, '\\'), endpoint::parse("[ffff:ffff:ffff:ffff::1]:65535"),
                              true};
    fits(chat::members{{}, std::vector<chat::member>(chat::limits::members, member)});
    fits(chat::room_message{{}, {}, 0, 0, byte_vector(chat::limits::ciphertext)});
    fits(chat::entries{std::vector<signed_entry>(256, entry_of(1, chat::text{std::string(1800, 'x')}))});
}

TEST_CASE("a request for history asks for what a message holds at most") {
    std::error_code ec;
    chat::history_request ask{{}, {}, 1, 4'000'000'000};
    const auto back = chat::parse(chat::serialize(ask), ec);
    REQUIRE(back);
    CHECK(std::get<chat::history_request>(*back).count == chat::limits::history);
}

TEST_CASE("A50: a room key that was altered, or given out as another's, does not verify") {
    chat::room_key key{room_conversation("lobby"), {}, 4, 17, {}, {}};
    chat::sign(key, person(1));
    CHECK(key.author == person(1).key());
    CHECK(chat::verify(key));
    const auto changed = [&](auto change) {
        chat::room_key other = key;
        change(other);
        return chat::verify(other);
    };
    CHECK_FALSE(changed([](chat::room_key& k) { k.room.bytes[0] ^= 1; }));
    CHECK_FALSE(changed([](chat::room_key& k) { k.author = person(2).key(); }));
    CHECK_FALSE(changed([](chat::room_key& k) { ++k.key_id; }));
    CHECK_FALSE(changed([](chat::room_key& k) { ++k.index; }));
    CHECK_FALSE(changed([](chat::room_key& k) { k.chain_key[31] ^= 1; }));
    CHECK_FALSE(changed([](chat::room_key& k) { k.signature[0] ^= 1; }));
}

TEST_CASE("entries that come through JSON verify as they did") {
    const chat::message m = round_trip(chat::entries{{entry_of(1, chat::text{"\u00a1Hola Bob! \U0001F600"})}});
    const signed_entry& entry = std::get<chat::entries>(m).list.at(0);
    CHECK(entry.verify());
    const json_object shown = chat::describe(entry);
    CHECK(json(shown).serialize().find("\"content\":\"\u00a1Hola Bob! \U0001F600\"") != std::string::npos);
    CHECK(json_text(json_member(json(shown), "author")) == person(1).key().hex());
}

TEST_CASE("mutated chat messages are refused or read as something that can be said again") {
    random_engine random(5);
    int read = 0;
    for (const chat::message& m : all_messages()) {
        const std::string text = chat::serialize(m);
        for (int round = 0; round < 300; ++round) {
            const byte_vector bytes = test::mutated(byte_vector(text.begin(), text.end()), random);
            std::error_code ec;
            const auto back = chat::parse(as_text(bytes), ec);
            CHECK(back.has_value() == !ec);
            if (!back) {
                const bool expected = ec == errc::chat_malformed || ec == errc::chat_too_long;
                CHECK(expected);
                continue;
            }
            ++read;
            CHECK(round_trip(*back) == *back);
        }
    }
    CHECK(read > 300);
}

}  // namespace json_chat_test
