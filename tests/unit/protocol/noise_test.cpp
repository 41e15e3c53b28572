#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <cohort/protocol/noise.hpp>

#include "support/corpus.hpp"
#include "support/mutate.hpp"
#include "support/noise_pattern.hpp"

namespace noise_test {

using namespace cohort;

namespace {

byte_vector hex_bytes(const std::string& text) {
    byte_vector out(text.size() / 2);
    REQUIRE(from_hex(text, out));
    return out;
}

std::optional<key32> key_member(const picojson::value& object, const std::string& name) {
    if (!object.contains(name) || !object.get(name).is<std::string>()) return std::nullopt;
    key32 out;
    REQUIRE(from_hex(object.get(name).get<std::string>(), out));
    return out;
}

std::optional<x25519_pair> pair_member(const picojson::value& object, const std::string& name) {
    const auto secret = key_member(object, name);
    if (!secret) return std::nullopt;
    return x25519_from(*secret);
}

std::vector<byte_vector> psk_members(const picojson::value& object, const std::string& name) {
    std::vector<byte_vector> out;
    if (!object.contains(name)) return out;
    for (const picojson::value& one : object.get(name).get<picojson::array>())
        out.push_back(hex_bytes(one.get<std::string>()));
    return out;
}

test::noise_player player(const picojson::value& in, noise_role role) {
    const std::string side = role == noise_role::initiator ? "init_" : "resp_";
    return {in.get("protocol_name").get<std::string>(),
            role,
            hex_bytes(in.get(side + "prologue").get<std::string>()),
            psk_members(in, side + "psks"),
            pair_member(in, side + "static"),
            pair_member(in, side + "ephemeral"),
            key_member(in, side + "remote_static")};
}

struct recorded_message {
    byte_vector payload;
    byte_vector ciphertext;
};

std::vector<recorded_message> messages_of(const test::corpus_case& one) {
    std::vector<recorded_message> out;
    for (const picojson::value& message : one.expect().get("messages").get<picojson::array>()) {
        out.push_back({hex_bytes(message.get("payload").get<std::string>()),
                       hex_bytes(message.get("ciphertext").get<std::string>())});
    }
    return out;
}

void check_hash(const test::corpus_case& one, const key32& hash) {
    const auto wanted = key_member(one.expect(), "handshake_hash");
    if (wanted) CHECK(to_hex(hash) == to_hex(*wanted));
}

void check_transport(noise_cipher& from, noise_cipher& to, const recorded_message& message) {
    byte_vector sealed(message.payload.size() + noise_tag);
    CHECK(from.seal({}, message.payload, sealed));
    CHECK(sealed == message.ciphertext);
    byte_vector opened(message.payload.size());
    CHECK(to.open({}, message.ciphertext, opened));
    CHECK(opened == message.payload);
}

bool is_noise(const test::corpus_case& one) { return one.input().contains("protocol_name"); }

/// Two sides with fixed keys.
struct both_sides {
    x25519_pair initiator_static = x25519_from(key32{1});
    x25519_pair responder_static = x25519_from(key32{2});
    noise_handshake initiator{noise_role::initiator, as_bytes("test"), initiator_static, x25519_from(key32{3})};
    noise_handshake responder{noise_role::responder, as_bytes("test"), responder_static, x25519_from(key32{4})};

    noise_handshake& writer(int message) { return message % 2 == 0 ? initiator : responder; }
    noise_handshake& reader(int message) { return message % 2 == 0 ? responder : initiator; }

    byte_vector write(int message) {
        std::error_code ec;
        const auto out = writer(message).write_message(as_bytes("payload"), ec);
        REQUIRE(out);
        return *out;
    }
    bool read(int message, byte_view in) {
        std::error_code ec;
        const auto payload = reader(message).read_message(in, ec);
        CHECK(payload.has_value() == !ec);
        if (!payload) CHECK(ec == errc::noise_failed);
        return payload && as_text(*payload) == "payload";
    }
    /// Exchanges all messages before this one.
    void up_to(int message) {
        for (int i = 0; i < message; ++i) REQUIRE(read(i, write(i)));
    }
};

bool dead(noise_handshake& handshake) {
    std::error_code ec;
    const bool silent = !handshake.write_message({}, ec) && !handshake.read_message(byte_vector(200), ec);
    auto keys = handshake.split();
    return silent && ec == errc::noise_failed && !handshake.done() && !handshake.our_turn() && !keys.first.usable() &&
           !keys.second.usable();
}

struct linked_ciphers {
    noise_cipher send{key32{5}};
    noise_cipher receive{key32{5}};

    byte_vector seal(std::string_view text) {
        byte_vector out(text.size() + noise_tag);
        REQUIRE(send.seal({}, as_bytes(text), out));
        return out;
    }
    /// The text, or nothing.
    std::string open(byte_view in) {
        byte_vector out(in.size() < noise_tag ? 0 : in.size() - noise_tag, 0xee);
        if (receive.open({}, in, out)) return std::string(as_text(out));
        CHECK(out == byte_vector(out.size(), 0));
        return {};
    }
};

}  // namespace

TEST_CASE("all recorded Noise vectors of these algorithms come out, byte for byte, up to the transport messages") {
    std::size_t count = 0;
    for (const test::corpus_case& one : test::corpus("crypto")) {
        if (!is_noise(one)) continue;
        CAPTURE(one.id);
        ++count;
        test::noise_player initiator = player(one.input(), noise_role::initiator);
        test::noise_player responder = player(one.input(), noise_role::responder);
        const std::vector<recorded_message> messages = messages_of(one);
        std::size_t next = 0;
        for (; !initiator.done(); ++next) {
            test::noise_player& from = next % 2 == 0 ? initiator : responder;
            test::noise_player& to = next % 2 == 0 ? responder : initiator;
            CHECK(from.write(messages.at(next).payload) == messages.at(next).ciphertext);
            CHECK(to.read(messages.at(next).ciphertext) == messages.at(next).payload);
        }
        check_hash(one, initiator.hash());
        check_hash(one, responder.hash());
        auto ours = initiator.split();
        auto theirs = responder.split();
        REQUIRE(next < messages.size());
        for (; next < messages.size(); ++next) {
            const bool from_initiator = next % 2 == 0 || initiator.pattern().one_way();
            noise_cipher& from = from_initiator ? ours.first : theirs.second;
            noise_cipher& to = from_initiator ? theirs.first : ours.second;
            check_transport(from, to, messages[next]);
        }
    }
    CHECK(count == 36);
}

TEST_CASE("the handshake class gives the recorded XX messages, hash, static keys and transport messages") {
    std::size_t count = 0;
    for (const test::corpus_case& one : test::corpus("crypto")) {
        if (!is_noise(one) || one.input().get("protocol_name").get<std::string>() != noise_handshake::protocol_name)
            continue;
        ++count;
        const picojson::value& in = one.input();
        const byte_vector prologue = hex_bytes(in.get("init_prologue").get<std::string>());
        const x25519_pair own = *pair_member(in, "init_static");
        const x25519_pair other = *pair_member(in, "resp_static");
        noise_handshake initiator(noise_role::initiator, prologue, own, *pair_member(in, "init_ephemeral"));
        noise_handshake responder(noise_role::responder, prologue, other, *pair_member(in, "resp_ephemeral"));
        const std::vector<recorded_message> messages = messages_of(one);
        std::error_code ec;
        for (std::size_t i = 0; i < 3; ++i) {
            noise_handshake& from = i % 2 == 0 ? initiator : responder;
            noise_handshake& to = i % 2 == 0 ? responder : initiator;
            CHECK((from.our_turn() && !to.our_turn() && !from.done() && !to.done()));
            CHECK(from.write_message(messages.at(i).payload, ec) == messages.at(i).ciphertext);
            CHECK(to.read_message(messages.at(i).ciphertext, ec) == messages.at(i).payload);
        }
        CHECK(!ec);
        CHECK((initiator.done() && responder.done()));
        CHECK(initiator.remote_static() == other.public_key);
        CHECK(responder.remote_static() == own.public_key);
        check_hash(one, initiator.handshake_hash());
        check_hash(one, responder.handshake_hash());
        auto ours = initiator.split();
        auto theirs = responder.split();
        for (std::size_t i = 3; i < messages.size(); ++i) {
            if (i % 2 == 0) check_transport(ours.first, theirs.second, messages[i]);
            if (i % 2 == 1) check_transport(theirs.first, ours.second, messages[i]);
        }
        CHECK(!initiator.split().first.usable());  // once only
    }
    CHECK(count == 1);
}

TEST_CASE("a handshake message altered at any byte ends the handshake for good (A50)") {
    for (int message = 0; message < 3; ++message) {
        CAPTURE(message);
        std::size_t size = 1;
        for (std::size_t i = 0; i < size; ++i) {
            CAPTURE(i);
            both_sides both;
            both.up_to(message);
            byte_vector bytes = both.write(message);
            size = bytes.size();
            bytes[i] ^= 0x40;
            if (message > 0) {
                CHECK(!both.read(message, bytes));
                CHECK(dead(both.reader(message)));
                continue;
            }
            // Nothing in the first message is sealed: the second one shows that they do not agree.
            std::error_code ec;
            const auto payload = both.responder.read_message(bytes, ec);
            REQUIRE(payload);
            CHECK(!both.read(1, both.write(1)));
            CHECK(dead(both.initiator));
        }
    }
}

TEST_CASE("a handshake message that is cut, lengthened or too long ends the handshake (A50)") {
    for (int message = 0; message < 3; ++message) {
        CAPTURE(message);
        std::size_t size = 1;
        for (std::size_t length = 0; length < size; ++length) {
            both_sides both;
            both.up_to(message);
            const byte_vector bytes = both.write(message);
            size = message == 0 ? 32 : bytes.size();  // the first message's payload may be any
            CHECK(!both.read(message, byte_view(bytes).first(length)));
            CHECK(dead(both.reader(message)));
        }
        for (const std::size_t length : {std::size_t{1}, noise_max_message}) {
            both_sides both;
            both.up_to(message);
            byte_vector bytes = both.write(message);
            bytes.resize(bytes.size() + length, 1);
            CHECK(!both.read(message, bytes));
        }
    }
}

TEST_CASE("replayed, reflected and out of turn handshake messages end the handshake (A50)") {
    both_sides one;
    const byte_vector first = one.write(0);
    CHECK(!one.read(1, first));  // the initiator hears itself
    CHECK(dead(one.initiator));

    both_sides two;
    two.up_to(1);
    CHECK(!two.read(0, first));  // the same message again
    CHECK(dead(two.responder));

    both_sides three;
    std::error_code ec;
    CHECK(!three.responder.write_message({}, ec));
    CHECK(ec == errc::noise_failed);
    CHECK(dead(three.responder));

    // A third message of another connection.
    both_sides recorded;
    recorded.up_to(2);
    const byte_vector last = recorded.write(2);
    both_sides fresh;
    fresh.responder =
        noise_handshake(noise_role::responder, as_bytes("test"), fresh.responder_static, x25519_from(key32{9}));
    fresh.up_to(2);
    CHECK(!fresh.read(2, last));
    CHECK(dead(fresh.responder));

    both_sides done;
    done.up_to(3);
    CHECK(!done.initiator.write_message({}, ec));
    CHECK(dead(done.initiator));
}

TEST_CASE("a key of low order in any place ends the handshake (A50)") {
    std::vector<key32> low_order;
    for (const test::corpus_case& one : test::corpus("crypto")) {
        if (!one.input().contains("shared")) continue;
        if (key_member(one.input(), "shared") == key32{}) low_order.push_back(*key_member(one.input(), "public"));
    }
    REQUIRE(low_order.size() == 6);
    for (const key32& weak : low_order) {
        CAPTURE(to_hex(weak));
        const auto with_weak_key = [&](const x25519_pair& pair) { return x25519_pair{pair.secret, weak}; };

        both_sides one;  // the initiator's ephemeral
        byte_vector first = one.write(0);
        std::copy(weak.begin(), weak.end(), first.begin());
        CHECK(one.read(0, first));
        std::error_code ec;
        CHECK(!one.responder.write_message({}, ec));
        CHECK(ec == errc::noise_failed);
        CHECK(dead(one.responder));

        both_sides two;  // the responder's ephemeral
        two.up_to(1);
        byte_vector second = two.write(1);
        std::copy(weak.begin(), weak.end(), second.begin());
        CHECK(!two.read(1, second));
        CHECK(dead(two.initiator));

        both_sides three;  // the responder's static key
        three.responder = noise_handshake(noise_role::responder, as_bytes("test"),
                                          with_weak_key(three.responder_static), x25519_from(key32{4}));
        three.up_to(1);
        CHECK(!three.read(1, three.write(1)));
        CHECK(dead(three.initiator));

        both_sides four;  // the initiator's static key
        four.initiator = noise_handshake(noise_role::initiator, as_bytes("test"), with_weak_key(four.initiator_static),
                                         x25519_from(key32{3}));
        four.up_to(2);
        CHECK(!four.read(2, four.write(2)));
        CHECK(dead(four.responder));
    }
}

TEST_CASE("another prologue ends the handshake") {
    both_sides both;
    both.responder =
        noise_handshake(noise_role::responder, as_bytes("tesd"), both.responder_static, x25519_from(key32{4}));
    both.up_to(1);
    CHECK(!both.read(1, both.write(1)));
}

TEST_CASE("a handshake payload may fill its message and not more") {
    for (const std::size_t size : {noise_max_message - 96, noise_max_message - 95}) {
        both_sides both;
        std::error_code ec;
        const auto out = both.initiator.write_message(byte_vector(size), ec);
        CHECK(out.has_value() == (size == noise_max_message - 96));
        if (!out) CHECK(dead(both.initiator));
    }
}

TEST_CASE("transport messages open in their order, once each, and not after one failure (A50)") {
    linked_ciphers good;
    for (const std::string text : {"one", "", "three"}) CHECK(good.open(good.seal(text)) == text);
    CHECK(good.receive.count() == 3);

    const auto breaks = [](auto&& damage) {
        linked_ciphers link;
        const byte_vector first = link.seal("first");
        const byte_vector second = link.seal("second");
        const byte_vector third = link.seal("third");
        REQUIRE(link.open(first) == "first");
        const bool refused = link.open(damage(first, second, third)).empty();
        CHECK(!link.receive.usable());
        CHECK(link.open(second).empty());  // the right one comes too late
        return refused;
    };
    using bytes = const byte_vector&;
    CHECK(breaks([](bytes first, bytes, bytes) { return first; }));  // again
    CHECK(breaks([](bytes, bytes, bytes third) { return third; }));  // before its turn
    CHECK(breaks([](bytes, bytes, bytes) { return byte_vector(); }));
    CHECK(breaks([](bytes, bytes, bytes) { return byte_vector(noise_max_message + 1); }));
    const std::size_t size = std::string("second").size() + noise_tag;
    for (std::size_t i = 0; i < size; ++i) {
        CHECK(breaks([i](bytes, byte_vector second, bytes) {
            second[i] ^= 0x80;
            return second;
        }));
        CHECK(breaks([i](bytes, byte_vector second, bytes) {
            second.resize(i);
            return second;
        }));
    }
    CHECK(breaks([](bytes, byte_vector second, bytes) {
        second.push_back(0);
        return second;
    }));
}

TEST_CASE("an authentic transport message above 65535 bytes is refused (A50)") {
    for (const std::size_t size : {noise_max_message, noise_max_message + 1}) {
        const key32 key{5};
        aead by_hand(key);
        const byte_vector text(size - noise_tag, 'x');
        byte_vector sealed(size);
        by_hand.seal({}, {}, text, sealed);
        noise_cipher receive(key);
        byte_vector out(text.size(), 'y');
        CHECK(receive.open({}, sealed, out) == (size == noise_max_message));
        CHECK(out == byte_vector(text.size(), size == noise_max_message ? 'x' : 0));
    }
}

TEST_CASE("random damage to transport messages never gives plaintext (A50)") {
    random_engine random(50);
    for (int round = 0; round < 500; ++round) {
        linked_ciphers link;
        const byte_vector good = link.seal("something to say that is a little longer");
        const byte_vector bad = test::mutated(good, random);
        if (bad != good) CHECK(link.open(bad).empty());
    }
}

TEST_CASE("a cipher without a key, used up, or moved from does nothing") {
    noise_cipher none;
    byte_vector out(noise_tag);
    CHECK(!none.usable());
    CHECK(!none.seal({}, {}, out));
    CHECK(!none.open({}, byte_vector(noise_tag), {}));

    // 2^64 - 1 is reserved for rekeying.
    noise_cipher last(key32{1}, std::numeric_limits<std::uint64_t>::max() - 1);
    CHECK(last.seal({}, {}, out));
    CHECK(!last.seal({}, {}, out));
    last.rekey();
    CHECK(!last.seal({}, {}, out));

    noise_cipher first(key32{1});
    noise_cipher second = std::move(first);
    CHECK((!first.usable() && second.usable()));

    noise_cipher full(key32{1});
    byte_vector big(noise_max_message);
    CHECK(full.seal({}, byte_view(big).first(noise_max_payload), big));
    byte_vector bigger(big.size() + noise_tag);
    CHECK(!full.seal({}, big, bigger));
    CHECK(!full.usable());
}

TEST_CASE("rekeying on both sides goes on, on one side it does not; and it is what the specification says") {
    linked_ciphers link;
    CHECK(link.open(link.seal("before")) == "before");
    link.send.rekey();
    link.receive.rekey();
    CHECK(link.send.count() == 0);
    CHECK(link.open(link.seal("after")) == "after");
    CHECK(link.send.count() == 1);
    link.send.rekey();
    CHECK(link.open(link.seal("alone")).empty());

    // The first 32 bytes of what 32 zeros become under the key so far with the reserved nonce; the counter goes on.
    const key32 key{7};
    aead plain(key);
    byte_vector sealed(32 + noise_tag);
    nonce12 reserved;
    reserved.fill(0xff);
    std::fill_n(reserved.begin(), 4, std::uint8_t{0});
    plain.seal(reserved, {}, key32{}, sealed);
    key32 next;
    std::copy_n(sealed.begin(), 32, next.begin());
    noise_cipher by_hand(next, 5);
    noise_cipher rekeyed(key, 5);
    rekeyed.rekey();
    byte_vector one(noise_tag + 3);
    byte_vector two(noise_tag + 3);
    CHECK(by_hand.seal({}, as_bytes("abc"), one));
    CHECK(rekeyed.seal({}, as_bytes("abc"), two));
    CHECK(one == two);
}

}  // namespace noise_test
