#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/utf8.hpp>
#include <cohort/protocol/websocket.hpp>

#include "support/corpus.hpp"
#include "support/mutate.hpp"

namespace websocket_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// An event that outlives the buffer.
struct kept_event {
    websocket_opcode kind;
    std::string payload;
    std::uint16_t code;

    bool operator==(const kept_event&) const = default;
};

struct outcome {
    std::vector<kept_event> events;
    std::uint16_t refusal = 0;
    std::size_t read = 0;     ///< bytes fed before the refusal
    std::size_t most_left = 0;  ///< the most that ever stayed in the buffer

    bool operator==(const outcome& other) const { return events == other.events && refusal == other.refusal; }
};

/// Feeds `bytes` in pieces as a connection would: what is left stands before what comes.
class feeder {
public:
    feeder(websocket_role role, std::size_t limit) : parser_(role, limit) {}

    void put(byte_view piece) {
        buffer_.insert(buffer_.end(), piece.begin(), piece.end());
        byte_span in = buffer_;
        while (out.refusal == 0) {
            const auto event = parser_.next(in, out.refusal);
            if (!event) break;
            out.events.push_back({event->kind, std::string(as_text(event->payload)), event->code});
        }
        if (out.refusal == 0) out.read += piece.size();
        buffer_.erase(buffer_.begin(), buffer_.end() - static_cast<std::ptrdiff_t>(in.size()));
        if (out.refusal == 0) out.most_left = std::max(out.most_left, buffer_.size());
    }

    const websocket_parser& parser() const { return parser_; }

    outcome out;

private:
    websocket_parser parser_;
    byte_vector buffer_;
};

outcome parse_all(byte_view bytes, websocket_role role = websocket_role::client,
                  std::size_t limit = websocket_message_max) {
    feeder in(role, limit);
    in.put(bytes);
    return in.out;
}

outcome parse_bytewise(byte_view bytes, websocket_role role = websocket_role::client,
                       std::size_t limit = websocket_message_max) {
    feeder in(role, limit);
    for (std::size_t i = 0; i < bytes.size() && in.out.refusal == 0; ++i) in.put(bytes.subspan(i, 1));
    return in.out;
}

byte_vector frame(websocket_opcode kind, std::string_view payload, bool last = true,
                  std::optional<std::uint32_t> mask = std::nullopt) {
    byte_vector out;
    append_websocket_frame(out, kind, as_bytes(payload), mask, last);
    return out;
}

byte_vector operator+(byte_vector a, const byte_vector& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

byte_vector bytes(std::string_view hex) {
    byte_vector out(hex.size() / 2);
    REQUIRE(from_hex(hex, out));
    return out;
}

constexpr auto text = websocket_opcode::text;
constexpr auto binary = websocket_opcode::binary;
constexpr auto more = websocket_opcode::continuation;
constexpr auto ping = websocket_opcode::ping;
constexpr auto pong = websocket_opcode::pong;
constexpr auto close_frame = websocket_opcode::close;

std::uint16_t refusal_of(const byte_vector& in, websocket_role role = websocket_role::client) {
    const outcome whole = parse_all(in, role);
    CHECK(parse_bytewise(in, role) == whole);
    return whole.refusal;
}

/// A conversation of all kinds of frames: fragments, with control frames between them, and lengths of all three sizes.
byte_vector conversation(random_engine& random, websocket_role sender) {
    byte_vector out;
    const auto mask = [&]() -> std::optional<std::uint32_t> {
        if (sender == websocket_role::server) return std::nullopt;
        return static_cast<std::uint32_t>(random());
    };
    const auto letters = [&](std::size_t size) {
        std::string said;
        while (said.size() < size) said += random.below(4) == 0 ? "Ωß" : "plain";
        return said;
    };
    for (int i = 0; i < 20; ++i) {
        const std::size_t size = random.below(8) == 0 ? random.below(70'000) : random.below(200);
        const std::uint32_t parts = random.below(3) == 0 ? 1 + random.below(4) : 1;
        const websocket_opcode kind = random.below(2) == 0 ? text : binary;
        for (std::uint32_t part = 0; part < parts; ++part) {
            append_websocket_frame(out, part == 0 ? kind : more, as_bytes(letters(size)), mask(), part + 1 == parts);
            if (random.below(4) == 0) append_websocket_frame(out, ping, as_bytes(letters(random.below(100))), mask());
        }
    }
    append_websocket_frame(out, close_frame, websocket_close_payload(1000, "bye"), mask());
    return out;
}

std::string text_member(const picojson::value& value, const char* name) {
    return value.get(name).is<std::string>() ? value.get(name).get<std::string>() : std::string();
}

}  // namespace

TEST_CASE("the frames of RFC 6455, section 5.7, are read") {
    CHECK(parse_all(bytes("810548656c6c6f")).events == std::vector<kept_event>{{text, "Hello", 0}});
    CHECK(parse_all(bytes("818537fa213d7f9f4d5158"), websocket_role::server).events ==
          std::vector<kept_event>{{text, "Hello", 0}});
    CHECK(parse_all(bytes("010348656c80026c6f")).events == std::vector<kept_event>{{text, "Hello", 0}});
    CHECK(parse_all(bytes("890548656c6c6f")).events == std::vector<kept_event>{{ping, "Hello", 0}});
    CHECK(parse_all(bytes("8a8537fa213d7f9f4d5158"), websocket_role::server).events ==
          std::vector<kept_event>{{pong, "Hello", 0}});
}

TEST_CASE("the recorded frames are read as they say") {
    std::size_t seen = 0;
    for (const corpus_case& one : corpus("websocket")) {
        if (one.input().get("op").to_str() != "frame") continue;
        CAPTURE(one.id);
        ++seen;
        const byte_vector in = bytes(one.input().get("hex").to_str());
        const auto kind = static_cast<websocket_opcode>(one.expect().get("opcode").get<std::int64_t>());
        const byte_vector payload = bytes(text_member(one.expect(), "payload"));
        const bool last = one.expect().get("fin").get<bool>();
        byte_vector made;
        append_websocket_frame(made, kind, payload, std::nullopt, last);
        CHECK(made == in);
        feeder feed(websocket_role::client, websocket_message_max);
        feed.put(in);
        CHECK(feed.out.refusal == 0);
        CHECK(feed.out.events.size() == (last ? 1 : 0));
        if (!last) CHECK(feed.parser().gathered() == payload.size());
    }
    CHECK(seen == 2);
}

TEST_CASE("the recorded texts are judged as they say, in one piece and byte by byte") {
    std::size_t seen = 0;
    for (const corpus_case& one : corpus("websocket")) {
        if (one.input().get("op").to_str() != "utf8") continue;
        CAPTURE(one.id);
        ++seen;
        const byte_vector in = bytes(one.input().get("hex").to_str());
        const bool valid = one.expect().get("valid_utf8").get<bool>();
        utf8_checker whole;
        CHECK((whole.put(in) && whole.complete()) == valid);
        utf8_checker bytewise;
        bool so_far = true;
        for (const std::uint8_t& byte : in) so_far = so_far && bytewise.put({&byte, 1});
        CHECK((so_far && bytewise.complete()) == valid);
        CHECK(parse_all(frame(text, as_text(in))).refusal == (valid ? 0 : close_code::invalid_text));
    }
    CHECK(seen == 38);
}

TEST_CASE("the text checker agrees with is_utf8() on random bytes, however they are cut") {
    random_engine random(7);
    for (int round = 0; round < 20'000; ++round) {
        std::string in;
        for (std::uint32_t i = random.below(12); i > 0; --i) {
            constexpr std::string_view pieces[] = {"a", "ascii of some length", "\xc3\xa4", "\xe0\xa0\x80",
                                                   "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
            in += pieces[random.below(7)];
        }
        if (!in.empty() && random.below(2) == 0)
            in[random.below(static_cast<std::uint32_t>(in.size()))] = static_cast<char>(random());
        utf8_checker checker;
        byte_view rest = as_bytes(in);
        bool good = true;
        while (good && !rest.empty()) {
            const std::size_t size = 1 + random.below(static_cast<std::uint32_t>(rest.size()));
            good = checker.put(rest.first(size));
            rest = rest.subspan(size);
        }
        REQUIRE((good && checker.complete()) == is_utf8(in));
    }
}

TEST_CASE("masking is the same in one go, in pieces and as RFC 6455 spells it") {
    random_engine random(3);
    for (std::size_t size = 0; size < 70; ++size) {
        byte_vector plain(size);
        random.fill(plain);
        const auto key = static_cast<std::uint32_t>(random());
        byte_vector expected = plain;
        for (std::size_t i = 0; i < size; ++i)
            expected[i] = static_cast<std::uint8_t>(expected[i] ^ (key >> (24 - 8 * (i % 4))));
        byte_vector masked = plain;
        websocket_mask(masked, key);
        CHECK(masked == expected);
        for (std::size_t cut = 0; cut <= size; ++cut) {
            byte_vector pieces = plain;
            websocket_mask(byte_span(pieces).first(cut), key);
            websocket_mask(byte_span(pieces).subspan(cut), key, cut);
            REQUIRE(pieces == expected);
        }
    }
}

TEST_CASE("a single frame is handed on where it stands in the buffer") {
    byte_vector buffer = frame(binary, std::string(300, 'x'), true, 0x01020304) + frame(text, "y", true, 0x0a0b0c0d);
    websocket_parser parser(websocket_role::server);
    byte_span in = buffer;
    std::uint16_t refusal = 0;
    const auto first = parser.next(in, refusal);
    REQUIRE(first);
    CHECK(first->payload.data() == buffer.data() + 8);
    CHECK(as_text(first->payload) == std::string(300, 'x'));
    const auto second = parser.next(in, refusal);
    REQUIRE(second);
    CHECK(second->payload.data() == buffer.data() + buffer.size() - 1);
    CHECK(in.empty());
    CHECK(parser.gathered() == 0);
}

TEST_CASE("messages come out the same from any cutting of the bytes") {
    random_engine random(11);
    for (const websocket_role role : {websocket_role::server, websocket_role::client}) {
        const websocket_role sender = role == websocket_role::server ? websocket_role::client : websocket_role::server;
        for (int round = 0; round < 10; ++round) {
            const byte_vector all = conversation(random, sender);
            const outcome whole = parse_all(all, role);
            CHECK(whole.refusal == 0);
            CHECK(whole.events.size() > 20);
            CHECK(whole.events.back() == kept_event{close_frame, "bye", 1000});
            if (round == 0) CHECK(parse_bytewise(all, role) == whole);
            feeder in(role, websocket_message_max);
            for (byte_view rest = all; !rest.empty();) {
                const std::uint32_t most = random.below(3) == 0 ? 9000 : 20;
                const std::size_t size = std::min<std::size_t>(1 + random.below(most), rest.size());
                in.put(rest.first(size));
                rest = rest.subspan(size);
            }
            CHECK(in.out == whole);
            CHECK(in.out.most_left < 140);
        }
    }
}

TEST_CASE("reserved bits and opcodes are refused with the first byte") {
    for (unsigned first = 0; first < 256; ++first) {
        const unsigned opcode = first & 0x0f;
        const bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
        const bool fragmented_control = opcode >= 8 && first < 0x80;
        const bool bad = (first & 0x70) != 0 || !known || fragmented_control || opcode == 0;
        CAPTURE(first);
        const byte_vector in{static_cast<std::uint8_t>(first)};
        CHECK(parse_all(in).refusal == (bad ? close_code::protocol_error : 0));
    }
}

TEST_CASE("a server refuses frames without a mask, a client those with one") {
    CHECK(refusal_of(frame(text, "x"), websocket_role::server) == close_code::protocol_error);
    CHECK(refusal_of(frame(text, "x", true, 1), websocket_role::client) == close_code::protocol_error);
    CHECK(refusal_of(frame(ping, ""), websocket_role::server) == close_code::protocol_error);
    CHECK(refusal_of(frame(ping, "", true, 1), websocket_role::client) == close_code::protocol_error);
}

TEST_CASE("control frames are short, whole, and may stand between fragments") {
    CHECK(refusal_of(frame(ping, std::string(125, 'p'))) == 0);
    CHECK(refusal_of(frame(ping, std::string(126, 'p'))) == close_code::protocol_error);
    CHECK(refusal_of(bytes("897f0000000000000001")) == close_code::protocol_error);
    CHECK(refusal_of(frame(pong, "x", false)) == close_code::protocol_error);
    const byte_vector in = frame(text, "a", false) + frame(ping, "p") + frame(more, "b", false) + frame(pong, "q") +
                           frame(more, "c");
    const std::vector<kept_event> expected{{ping, "p", 0}, {pong, "q", 0}, {text, "abc", 0}};
    CHECK(parse_all(in).events == expected);
    CHECK(parse_bytewise(in).events == expected);
}

TEST_CASE("fragments in a wrong order are refused") {
    CHECK(refusal_of(frame(more, "x")) == close_code::protocol_error);
    CHECK(refusal_of(frame(more, "x", false)) == close_code::protocol_error);
    CHECK(refusal_of(frame(text, "a", false) + frame(text, "b")) == close_code::protocol_error);
    CHECK(refusal_of(frame(text, "a", false) + frame(binary, "b", false)) == close_code::protocol_error);
    CHECK(refusal_of(frame(text, "a", false) + frame(more, "b") + frame(more, "c")) == close_code::protocol_error);
}

TEST_CASE("a message above the limit is refused by its header, before a byte of it came") {
    CHECK(parse_all(bytes("827f8000000000000000")).refusal == close_code::too_big);
    CHECK(parse_all(bytes("827fffffffffffffffff")).refusal == close_code::too_big);
    CHECK(parse_all(bytes("827f0000000000100000")).refusal == 0);
    CHECK(parse_all(bytes("827f0000000000100001")).refusal == close_code::too_big);
    const byte_vector exact = frame(binary, std::string(1000, 'x'));
    CHECK(parse_all(exact, websocket_role::client, 1000).events.size() == 1);
    CHECK(parse_all(exact, websocket_role::client, 999).refusal == close_code::too_big);
    CHECK(parse_all(byte_view(exact).first(4), websocket_role::client, 999).refusal == close_code::too_big);
    CHECK(parse_all(frame(binary, "x"), websocket_role::client, 0).refusal == close_code::too_big);
    CHECK(parse_all(frame(binary, ""), websocket_role::client, 0).events.size() == 1);
}

TEST_CASE("fragments together are bounded by the same limit") {
    const byte_vector first = frame(binary, std::string(600, 'x'), false);
    const byte_vector good = first + frame(more, std::string(400, 'x'));
    CHECK(parse_all(good, websocket_role::client, 1000).events.size() == 1);
    const byte_vector bad = first + byte_vector{0x00, 126, 401 / 256, 401 % 256};
    CHECK(parse_all(bad, websocket_role::client, 1000).refusal == close_code::too_big);
    CHECK(parse_all(first + bytes("007f7fffffffffffffff"), websocket_role::client, 1000).refusal ==
          close_code::too_big);
    CHECK(parse_all(first + bytes("807fffffffffffffff00"), websocket_role::client, 1000).refusal ==
          close_code::too_big);
}

TEST_CASE("fragments without end hold no more than the limit") {
    feeder in(websocket_role::client, 64 * 1024);
    in.put(frame(text, "", false));
    const byte_vector part = frame(more, std::string(1000, 'x'), false);
    for (int i = 0; i < 1000 && in.out.refusal == 0; ++i) {
        in.put(part);
        CHECK(in.parser().gathered() <= 64 * 1024);
    }
    CHECK(in.out.refusal == close_code::too_big);
    CHECK(in.out.read < 67'000);
}

TEST_CASE("a length written longer than needed is refused") {
    CHECK(refusal_of(bytes("827e007d") + byte_vector(125, 'x')) == close_code::protocol_error);
    CHECK(refusal_of(bytes("827e007e") + byte_vector(126, 'x')) == 0);
    CHECK(refusal_of(bytes("827f000000000000ffff")) == close_code::protocol_error);
    CHECK(refusal_of(bytes("827f0000000000010000")) == 0);
}

TEST_CASE("text that cannot become UTF-8 any more is refused at once, wherever the fragment ends") {
    const std::string good = "κόσμε";
    const std::string bad = good + "\xf4\x90\x80\x80" + "edited";
    const outcome out = parse_bytewise(frame(text, bad));
    CHECK(out.refusal == close_code::invalid_text);
    CHECK(out.read == 2 + good.size() + 1);  // 0xf4 may begin a character, 0x90 cannot go on with it

    byte_vector fragments = frame(text, "", false);
    for (const char& one : good) fragments = fragments + frame(more, std::string_view(&one, 1), false);
    CHECK(parse_all(fragments + frame(more, "")).events == std::vector<kept_event>{{text, good, 0}});
    CHECK(refusal_of(frame(text, "\xce", false) + frame(more, "")) == close_code::invalid_text);
    CHECK(refusal_of(frame(text, "\xce", false) + frame(more, "\xba")) == 0);
    CHECK(refusal_of(frame(text, "\xce")) == close_code::invalid_text);
    CHECK(refusal_of(frame(binary, "\xce")) == 0);
    CHECK(refusal_of(frame(ping, "\xce")) == 0);
}

TEST_CASE("text cut inside a character goes on after a message in binary") {
    const byte_vector in = frame(text, "\xce", false) + frame(more, "\xba") + frame(binary, "\xff", false) +
                           frame(more, "\xfe") + frame(text, "ok");
    const std::vector<kept_event> expected{{text, "\xce\xba", 0}, {binary, "\xff\xfe", 0}, {text, "ok", 0}};
    CHECK(parse_all(in).events == expected);
}

TEST_CASE("close frames are judged by length, code and words") {
    const auto closing = [](std::string_view hex) { return frame(close_frame, as_text(bytes(hex))); };
    CHECK(parse_all(closing("")).events == std::vector<kept_event>{{close_frame, "", close_code::none}});
    CHECK(parse_all(closing("03e8")).events == std::vector<kept_event>{{close_frame, "", 1000}});
    CHECK(parse_all(closing("03e9cea9")).events == std::vector<kept_event>{{close_frame, "Ω", 1001}});
    CHECK(refusal_of(closing("03")) == close_code::protocol_error);
    CHECK(refusal_of(closing("03e8ce")) == close_code::invalid_text);
    for (unsigned code = 0; code < 65536; ++code) {
        const bool good = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
                          (code >= 3000 && code < 5000);
        byte_vector payload;
        append_be(payload, static_cast<std::uint16_t>(code));
        CAPTURE(code);
        REQUIRE(parse_all(frame(close_frame, as_text(payload))).refusal == (good ? 0 : close_code::protocol_error));
    }
}

TEST_CASE("nothing is read after a close frame or a refusal") {
    const byte_vector closed = frame(close_frame, "") + frame(text, "late") + byte_vector{0xff, 0xff};
    CHECK(parse_all(closed).events.size() == 1);
    CHECK(refusal_of(closed) == 0);
    const outcome refused = parse_all(byte_vector{0xff} + frame(text, "late"));
    CHECK(refused.events.empty());
    feeder in(websocket_role::client, 100);
    in.put(byte_vector{0xff});
    std::uint16_t again = 0;
    websocket_parser parser(websocket_role::client);
    byte_vector buffer{0xff};
    byte_span rest = buffer;
    CHECK(!parser.next(rest, again));
    again = 0;
    CHECK(!parser.next(rest, again));
    CHECK(again == close_code::protocol_error);
}

TEST_CASE("the reason of a close frame is cut between characters") {
    CHECK(websocket_close_payload(close_code::none, "dropped").empty());
    CHECK(websocket_close_payload(1000, std::string(123, 'a')).size() == 125);
    CHECK(websocket_close_payload(1000, std::string(124, 'a')).size() == 125);
    const byte_vector cut = websocket_close_payload(1000, std::string(122, 'a') + "Ω");
    CHECK(cut.size() == 124);
    CHECK(parse_all(frame(close_frame, as_text(cut))).refusal == 0);
}

TEST_CASE("memory of a long message is given back when it is asked for") {
    websocket_parser parser(websocket_role::client);
    byte_vector buffer = frame(binary, std::string(100'000, 'x'), false) + frame(more, "y");
    byte_span in = buffer;
    std::uint16_t refusal = 0;
    const auto event = parser.next(in, refusal);
    REQUIRE(event);
    CHECK(event->payload.size() == 100'001);
    CHECK(parser.gathered() == 100'001);
    parser.release_memory();
    CHECK(parser.gathered() == 0);
}

TEST_CASE("damaged conversations never read what is not there, and whole and cut they fail alike") {
    random_engine random(1234);
    int refused = 0;
    for (int round = 0; round < 1500; ++round) {
        const websocket_role role = round % 2 == 0 ? websocket_role::server : websocket_role::client;
        const websocket_role sender = round % 2 == 0 ? websocket_role::client : websocket_role::server;
        byte_vector all = conversation(random, sender);
        if (all.size() > 3000) all.resize(3000);
        const byte_vector damaged = mutated(all, random);
        const outcome whole = parse_all(damaged, role, 20'000);
        REQUIRE(parse_bytewise(damaged, role, 20'000) == whole);
        refused += whole.refusal != 0;
    }
    CHECK(refused > 300);
}

}  // namespace websocket_test
