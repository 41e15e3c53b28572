#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/random.hpp>
#include <cohort/protocol/wire.hpp>
#include <support/corpus.hpp>

namespace wire_test {

using namespace cohort;

namespace {

byte_vector bytes(std::string_view hex) {
    byte_vector out(hex.size() / 2);
    REQUIRE(from_hex(hex, out));
    return out;
}

/// A message of any kind but `unknown`, with any contents; payloads point into `storage`.
wire::message random_message(random_engine& random, byte_vector& storage) {
    const auto word = [&] { return static_cast<std::uint32_t>(random()); };
    const block range{word(), word(), word()};
    storage.resize(random.below(300));
    random.fill(storage);
    switch (random.below(17)) {
    case 0: return wire::keep_alive{};
    case 1: return wire::choke{};
    case 2: return wire::unchoke{};
    case 3: return wire::interested{};
    case 4: return wire::not_interested{};
    case 5: return wire::have{word()};
    case 6: return wire::bitfield{storage};
    case 7: return wire::request{range};
    case 8: return wire::piece{word(), word(), storage};
    case 9: return wire::cancel{range};
    case 10: return wire::port{static_cast<std::uint16_t>(word())};
    case 11: return wire::suggest{word()};
    case 12: return wire::have_all{};
    case 13: return wire::have_none{};
    case 14: return wire::reject{range};
    case 15: return wire::allowed_fast{word()};
    default: return wire::extended{static_cast<std::uint8_t>(word()), storage};
    }
}

std::error_code refusal(std::string_view hex, const wire::limits& limits = {}) {
    const byte_vector input = bytes(hex);
    byte_view in = input;
    std::error_code ec;
    CHECK_FALSE(wire::parse(in, ec, limits));
    CHECK(in.size() == input.size());
    return ec;
}

const std::map<std::string, std::size_t> names = {
    {"keepalive", 0}, {"choke", 1},   {"unchoke", 2}, {"interested", 3},    {"not_interested", 4}, {"have", 5},
    {"bitfield", 6},  {"request", 7}, {"piece", 8},   {"allowed_fast", 15}, {"extended", 16}};

void check_fields(const wire::message& message, const json& expected) {
    const json* const index = json_member(expected, "index");
    if (const auto* const m = std::get_if<wire::request>(&message)) {
        CHECK(m->range.piece == json_integer(index).value());
        CHECK(m->range.begin == json_integer(json_member(expected, "begin")).value());
        CHECK(m->range.length == json_integer(json_member(expected, "len")).value());
    } else if (const auto* const fast = std::get_if<wire::allowed_fast>(&message)) {
        CHECK(fast->piece == json_integer(index).value());
    } else if (const auto* const bits = std::get_if<wire::bitfield>(&message)) {
        CHECK(to_hex(bits->bits) == json_text(json_member(expected, "bitfield")).value());
    } else if (const auto* const extended = std::get_if<wire::extended>(&message)) {
        CHECK(extended->id == json_integer(json_member(expected, "ext_id")).value());
    }
}

void check_messages(const test::corpus_case& c) {
    const byte_vector input = c.bytes();
    byte_view in = input;
    std::error_code ec;
    for (const json& expected : c.expect().get("messages").get<json_array>()) {
        const byte_view before = in;
        const auto message = wire::parse(in, ec);
        REQUIRE(message);
        CHECK(message->index() == names.at(expected.get("type").get<std::string>()));
        if (const json* const length = json_member(expected, "length"))
            CHECK(before.size() - in.size() == static_cast<std::size_t>(*json_integer(length)) + 4);
        check_fields(*message, expected);
    }
    CHECK_FALSE(wire::parse(in, ec));
    const json& valid = c.expect().get("valid");
    if (valid.is<std::string>()) {
        CHECK(valid.get<std::string>() == "incomplete");
        CHECK_FALSE(ec);
        CHECK_FALSE(in.empty());
    } else if (valid.get<bool>()) {
        CHECK_FALSE(ec);
        CHECK(in.empty());
    } else {
        CHECK(ec == errc::message_malformed);
    }
}

void check_bitfield(const test::corpus_case& c) {
    const auto size = static_cast<std::uint32_t>(*json_integer(json_member(c.input(), "num_bits")));
    const auto bits = bitfield::from_wire(bytes(c.input().get("hex").get<std::string>()), size);
    REQUIRE(bits);
    const auto& set = c.expect().get("bits_set").get<json_array>();
    CHECK(bits->count() == set.size());
    for (const json& index : set) CHECK(bits->get(static_cast<std::uint32_t>(*json_integer(&index))));
}

}  // namespace

TEST_CASE("every message is written as the specifications say") {
    const byte_vector data = {1, 2, 3};
    const auto hex = [](const wire::message& m) { return to_hex(wire::encode(m)); };
    CHECK(hex(wire::keep_alive{}) == "00000000");
    CHECK(hex(wire::choke{}) == "0000000100");
    CHECK(hex(wire::unchoke{}) == "0000000101");
    CHECK(hex(wire::interested{}) == "0000000102");
    CHECK(hex(wire::not_interested{}) == "0000000103");
    CHECK(hex(wire::have{258}) == "000000050400000102");
    CHECK(hex(wire::bitfield{data}) == "0000000405010203");
    CHECK(hex(wire::request{{1, 2, 3}}) == "0000000d06000000010000000200000003");
    CHECK(hex(wire::piece{1, 2, data}) == "0000000c070000000100000002010203");
    CHECK(hex(wire::cancel{{1, 2, 3}}) == "0000000d08000000010000000200000003");
    CHECK(hex(wire::port{0x1ae1}) == "00000003091ae1");
    CHECK(hex(wire::suggest{5}) == "000000050d00000005");
    CHECK(hex(wire::have_all{}) == "000000010e");
    CHECK(hex(wire::have_none{}) == "000000010f");
    CHECK(hex(wire::reject{{1, 2, 3}}) == "0000000d10000000010000000200000003");
    CHECK(hex(wire::allowed_fast{5}) == "000000051100000005");
    CHECK(hex(wire::extended{7, data}) == "000000051407010203");
    CHECK(hex(wire::unknown{99}).empty());
}

TEST_CASE("the header of a piece followed by its data is the piece message") {
    const byte_vector data(100, 0xaa);
    const auto header = wire::piece_header({3, 16384, 100});
    byte_vector whole(header.begin(), header.end());
    whole.insert(whole.end(), data.begin(), data.end());
    CHECK(whole == wire::encode(wire::piece{3, 16384, data}));
    CHECK((wire::piece{3, 16384, data}.range() == block{3, 16384, 100}));
}

TEST_CASE("a random message reads back as itself, and every prefix of it only asks for more") {
    random_engine random(1);
    byte_vector storage;
    for (int round = 0; round < 3000; ++round) {
        const wire::message message = random_message(random, storage);
        byte_vector encoded = wire::encode(message);
        const std::size_t size = encoded.size();
        for (std::size_t cut = 0; cut < size; ++cut) {
            byte_view in = byte_view(encoded).first(cut);
            std::error_code ec;
            REQUIRE_FALSE(wire::parse(in, ec));
            REQUIRE_FALSE(ec);
            REQUIRE(in.size() == cut);
            REQUIRE(wire::needed(in) == (cut < 4 ? 0 : size));
        }
        encoded.push_back(0x55);
        byte_view in = encoded;
        std::error_code ec;
        const auto read = wire::parse(in, ec);
        REQUIRE(read);
        REQUIRE(*read == message);
        REQUIRE(in.size() == 1);
    }
}

TEST_CASE("a stream of messages gives the same messages wherever it is split") {
    random_engine random(2);
    std::vector<byte_vector> storage(12);
    std::vector<wire::message> sent;
    std::string stream;
    for (byte_vector& payload : storage) {
        sent.push_back(random_message(random, payload));
        wire::append(stream, sent.back());
    }
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        std::size_t read = 0;
        std::size_t at = 0;
        for (const std::size_t end : {cut, stream.size()}) {
            byte_view in = as_bytes(stream).subspan(at, end - at);
            std::error_code ec;
            while (const auto message = wire::parse(in, ec)) REQUIRE(*message == sent.at(read++));
            REQUIRE_FALSE(ec);
            at = end - in.size();
        }
        REQUIRE(read == sent.size());
        REQUIRE(at == stream.size());
    }
}

TEST_CASE("a length above the limit is refused before anything of the message is there") {
    CHECK(refusal("00100001") == errc::message_too_long);
    CHECK(refusal("ffffffff") == errc::message_too_long);
    CHECK(refusal("00100000") == std::error_code());
    CHECK(refusal("00000011", {.message = 16}) == errc::message_too_long);
}

TEST_CASE("a wrong size for the message's id is refused as soon as the id is there") {
    for (int id = 0; id <= 0xff; ++id) {
        const auto kind = static_cast<wire::message_id>(id);
        const std::uint32_t right = wire::detail::fixed_length(kind);
        if (right == wire::detail::any_length) continue;
        for (std::uint32_t length = 1; length < 20; ++length) {
            byte_vector head;
            append_be(head, length);
            append_be(head, static_cast<std::uint8_t>(id));
            byte_view in = head;
            std::error_code ec;
            const bool complete = wire::parse(in, ec).has_value();
            CHECK(complete == (length == right && length == 1));
            CHECK((ec == errc::message_malformed) == (length != right));
        }
    }
}

TEST_CASE("a piece without room for its index, or with more data than any client sends, is malformed") {
    CHECK(refusal("0000000807") == errc::message_malformed);
    CHECK(refusal("0000000907") == std::error_code());
    CHECK(refusal("0002000907") == std::error_code());
    CHECK(refusal("0002000a07") == errc::message_malformed);
    CHECK(refusal("0000000a07", {.piece_data = 0}) == errc::message_malformed);
}

TEST_CASE("an extended message without an id of its own is malformed") {
    CHECK(refusal("0000000114") == errc::message_malformed);
}

TEST_CASE("a message of an unknown kind is taken off whole and told apart") {
    const byte_vector input = bytes(
        "0000000463010203"
        "0000000100");
    byte_view in = input;
    std::error_code ec;
    CHECK(wire::parse(in, ec) == wire::message(wire::unknown{0x63}));
    CHECK(wire::parse(in, ec) == wire::message(wire::choke{}));
}

TEST_CASE("payloads are views of the input, not copies") {
    const byte_vector input = wire::encode(wire::piece{0, 0, byte_vector(50, 1)});
    byte_view in = input;
    std::error_code ec;
    const auto message = wire::parse(in, ec);
    REQUIRE(message);
    CHECK(std::get<wire::piece>(*message).data.data() == input.data() + wire::piece_header_size);
}

TEST_CASE("random bytes end in a message, a wish for more or a violation, and always make progress") {
    random_engine random(3);
    for (int round = 0; round < 20000; ++round) {
        byte_vector input(random.below(64));
        random.fill(input);
        // Small lengths, or everything would be too long.
        for (std::size_t i = 0; i + 4 <= input.size(); i += 4 + random.below(12))
            input[i] = input[i + 1] = input[i + 2] = 0;
        byte_view in = input;
        std::error_code ec;
        std::size_t left = in.size();
        while (const auto message = wire::parse(in, ec)) {
            REQUIRE(in.size() < left);
            left = in.size();
        }
        REQUIRE(in.size() == left);
    }
}

TEST_CASE("the corpus's peer-wire streams and bitfields have the stated results") {
    // Payloads of extensions that are not read yet, and names of clients.
    const std::vector<std::string> elsewhere = {"handshake", "ut_metadata", "pex_payload", "peer_id"};
    std::map<std::string, int> seen;
    for (const test::corpus_case& c : test::corpus("peerwire")) {
        CAPTURE(c.id);
        const std::string op = c.input().get("op").get<std::string>();
        ++seen[op];
        if (op == "messages")
            check_messages(c);
        else if (op == "bitfield")
            check_bitfield(c);
        else
            CHECK(std::find(elsewhere.begin(), elsewhere.end(), op) != elsewhere.end());
    }
    const std::map<std::string, int> expected = {{"messages", 13},   {"bitfield", 5},    {"handshake", 3},
                                                 {"ut_metadata", 7}, {"pex_payload", 1}, {"peer_id", 3}};
    CHECK(seen == expected);
}

}  // namespace wire_test
