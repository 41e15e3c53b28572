#include <doctest/doctest.h>

#include <set>
#include <string>

#include <cohort/protocol/noise_identity.hpp>

namespace noise_identity_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) { return identity(key32{number}); }

const byte_view prologue = as_bytes("test");

/// What each side says of the other, and how the handshake ended.
struct meeting {
    identity_handshake initiator;
    identity_handshake responder;
    std::error_code initiator_error;
    std::error_code responder_error;

    meeting(const identity& a, const identity& b, identity_handshake::predicate welcome_to_a = {},
            identity_handshake::predicate welcome_to_b = {})
        : initiator(noise_role::initiator, prologue, a, std::move(welcome_to_a)),
          responder(noise_role::responder, prologue, b, std::move(welcome_to_b)) {}

    /// Passes messages until one side has failed or both are done; how many were passed.
    int play() {
        for (int message = 0;; ++message) {
            identity_handshake& from = message % 2 == 0 ? initiator : responder;
            identity_handshake& to = message % 2 == 0 ? responder : initiator;
            if (!from.our_turn()) return message;
            const auto bytes = from.write(message % 2 == 0 ? initiator_error : responder_error);
            if (!bytes) return message;
            if (!to.read(*bytes, message % 2 == 0 ? responder_error : initiator_error)) return message + 1;
        }
    }
};

/// A handshake as somebody who sends these payloads.
std::error_code answer_to(byte_view first_payload, byte_view proof, const x25519_pair& static_key) {
    const identity us = somebody(1);
    identity_handshake responder(noise_role::responder, prologue, us, {});
    noise_handshake other(noise_role::initiator, prologue, static_key, x25519_random());
    std::error_code ec;
    if (!responder.read(*other.write_message(first_payload, ec), ec)) return ec;
    REQUIRE(other.read_message(*responder.write(ec), ec));
    responder.read(*other.write_message(proof, ec), ec);
    CHECK((ec || responder.done()));
    if (ec) {
        CHECK(!responder.done());
        CHECK(!responder.split().first.usable());
        std::error_code later;
        CHECK(!responder.write(later));
        CHECK(!responder.read({}, later));
        CHECK(later == errc::noise_failed);
    }
    return ec;
}

}  // namespace

TEST_CASE("all keys of an identity follow from its seed, and differ") {
    const identity one = somebody(1);
    const identity again = somebody(1);
    const identity two = somebody(2);
    CHECK(one.key() == again.key());
    CHECK(one.noise_static().public_key == again.noise_static().public_key);
    CHECK(one.storage_key("log").bytes == again.storage_key("log").bytes);
    CHECK(one.key() != two.key());
    CHECK(one.noise_static().public_key != two.noise_static().public_key);

    const std::set<key32> keys{one.key().bytes,        one.noise_static().public_key, one.noise_static().secret,
                               one.storage_key("log"), one.storage_key("other"),      one.storage_key("ed25519"),
                               two.storage_key("log"), one.storage_key("storage"),    one.storage_key("x25519")};
    CHECK(keys.size() == 9);
    CHECK(identity::random().key() != identity::random().key());
}

TEST_CASE("an identity's keys are the same in every release") {
    const identity one = somebody(1);
    CHECK(one.key().hex() == "1de6947fd0d55dcd4fa7cc877b03dbfa3f7c16bc994b437fa4135e6acba5662e");
    CHECK(to_hex(one.noise_static().public_key) == "788ad4fe4edc930aba928415b32d08d1c3b93a1af682a620dcedd5ceeb8a0e20");
    CHECK(to_hex(one.storage_key("log").bytes) == "ae1a3fcf613e551fea247e2ad27510865ec8452de679edbadf6ab58ef791e072");
    CHECK(one.key().uuid() == "a1edf3f1-e7d3-8639-8d24-2d9c718f1fb5");
    CHECK(safety_number(one.key(), somebody(2).key()) ==
          "28490 04394 68598 37937 71125 86043 41366 62008 77529 38519 96976 80153");
}

TEST_CASE("an identity key is written as 64 hexadecimal digits, and has a UUID") {
    const identity_key key = somebody(3).key();
    CHECK(identity_key::parse(key.hex()) == key);
    CHECK(identity_key::from(key.view()) == key);
    CHECK(!identity_key::parse(key.hex().substr(1)));
    CHECK(!identity_key::parse(key.hex() + "00"));
    CHECK(!identity_key::parse("g" + key.hex().substr(1)));
    CHECK(!identity_key::from(key.view().first(31)));

    const std::string uuid = key.uuid();
    REQUIRE(uuid.size() == 36);
    for (const std::size_t dash : {8u, 13u, 18u, 23u}) CHECK(uuid[dash] == '-');
    CHECK(uuid[14] == '8');
    CHECK(std::string("89ab").find(uuid[19]) != std::string::npos);
    CHECK(uuid != somebody(4).key().uuid());
}

TEST_CASE("an identity signs so that its key verifies it") {
    const identity self = somebody(1);
    const signature64 signature = self.sign(as_bytes("hello"));
    CHECK(verify_signature(self.key().bytes, as_bytes("hello"), signature));
    CHECK(!verify_signature(somebody(2).key().bytes, as_bytes("hello"), signature));
}

TEST_CASE("a proof binds one Noise key to one identity, and no byte of it can be another") {
    const identity self = somebody(1);
    const key32& noise_key = self.noise_static().public_key;
    const byte_vector proof = identity_proof(self);
    std::error_code ec;
    CHECK(check_identity_proof(proof, noise_key, ec) == self.key());
    CHECK(!ec);

    const auto refused = [](byte_view payload, const key32& key) {
        std::error_code why;
        return !check_identity_proof(payload, key, why) && why == errc::identity_unproven;
    };
    CHECK(refused(proof, somebody(2).noise_static().public_key));
    CHECK(refused({}, noise_key));
    for (std::size_t i = 0; i < proof.size(); ++i) {
        byte_vector altered = proof;
        altered[i] ^= 0x01;
        CHECK(refused(altered, noise_key));
        CHECK(refused(byte_view(proof).first(i), noise_key));
    }
    byte_vector longer = proof;
    longer.push_back(0);
    CHECK(refused(longer, noise_key));

    // A signature by the same person over something else does not pass for a proof.
    byte_vector other(self.key().bytes.begin(), self.key().bytes.end());
    const signature64 signature = self.sign(noise_key);
    other.insert(other.end(), signature.begin(), signature.end());
    CHECK(refused(other, noise_key));
}

TEST_CASE("the safety number is the same for both, and another for every other pair") {
    const identity_key a = somebody(1).key();
    const identity_key b = somebody(2).key();
    const identity_key c = somebody(3).key();
    const std::string number = safety_number(a, b);
    CHECK(number == safety_number(b, a));
    CHECK(number != safety_number(a, c));
    CHECK(number != safety_number(c, b));
    CHECK(number != safety_number(a, a));

    REQUIRE(number.size() == 71);
    std::size_t digits = 0;
    for (std::size_t i = 0; i < number.size(); ++i) {
        const bool gap = i % 6 == 5;
        CHECK(gap == (number[i] == ' '));
        if (!gap) digits += number[i] >= '0' && number[i] <= '9';
    }
    CHECK(digits == 60);

    identity_key near_a = a;
    near_a.bytes[31] ^= 1;
    CHECK(safety_number(near_a, b) != number);
}

TEST_CASE("two identities that shake hands know each other, and can talk") {
    const identity a = somebody(1);
    const identity b = somebody(2);
    meeting both(a, b);
    CHECK(both.play() == 3);
    CHECK((both.initiator.done() && both.responder.done()));
    CHECK(both.initiator.remote() == b.key());
    CHECK(both.responder.remote() == a.key());
    CHECK(both.initiator.handshake_hash() == both.responder.handshake_hash());
    auto ours = both.initiator.split();
    auto theirs = both.responder.split();
    byte_vector sealed(5 + noise_tag);
    byte_vector opened(5);
    CHECK(ours.first.seal({}, as_bytes("hello"), sealed));
    CHECK(theirs.second.open({}, sealed, opened));
    CHECK(as_text(opened) == "hello");
    CHECK(theirs.first.seal({}, as_bytes("world"), sealed));
    CHECK(ours.second.open({}, sealed, opened));
    CHECK(as_text(opened) == "world");

    meeting again(a, b);
    again.play();
    CHECK(again.initiator.handshake_hash() != both.initiator.handshake_hash());
}

TEST_CASE("whoever is not welcome gets no link: the dialler does not even say who it is (A50)") {
    const identity a = somebody(1);
    const identity b = somebody(2);
    const identity_key wanted = somebody(3).key();
    const auto only_wanted = [&](const identity_key& key) { return key == wanted; };

    meeting changed(a, b, only_wanted);
    CHECK(changed.play() == 2);
    CHECK(changed.initiator_error == errc::identity_changed);
    CHECK(changed.initiator.remote() == b.key());
    CHECK(!changed.initiator.our_turn());
    CHECK(!changed.initiator.split().first.usable());
    CHECK(!changed.responder.remote());

    meeting refused(a, b, {}, only_wanted);
    CHECK(refused.play() == 3);
    CHECK(refused.responder_error == errc::identity_changed);
    CHECK(!refused.responder.split().first.usable());

    meeting right(a, somebody(3), only_wanted);
    CHECK(right.play() == 3);
    CHECK(right.initiator.done());
}

TEST_CASE("a handshake without a proof of one's own key does not count (A50)") {
    const identity honest = somebody(2);
    const identity victim = somebody(3);
    const x25519_pair stranger = x25519_random();
    CHECK(!answer_to({}, identity_proof(honest), honest.noise_static()));
    CHECK(answer_to({}, {}, stranger) == errc::identity_unproven);
    // The victim's proof, as anybody who has talked to the victim has it, with a Noise key that is not the victim's.
    CHECK(answer_to({}, identity_proof(victim), stranger) == errc::identity_unproven);
    byte_vector cut = identity_proof(honest);
    cut.pop_back();
    CHECK(answer_to({}, cut, honest.noise_static()) == errc::identity_unproven);
    CHECK(answer_to(as_bytes("unasked"), identity_proof(honest), honest.noise_static()) == errc::noise_failed);
}

}  // namespace noise_identity_test
