// Noise and what stands on it, with somebody in the middle who changes, repeats, reorders and makes up messages.

#include <optional>
#include <set>
#include <utility>

#include <cohort/core/hash.hpp>
#include <cohort/protocol/noise.hpp>
#include <cohort/protocol/noise_identity.hpp>
#include <cohort/protocol/noise_sender_key.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

key32 key_of(std::uint8_t number) {
    key32 out;
    out.fill(number);
    return out;
}

/// A key of its own for each input. The fuzzer remembers what it saw compared: under one key for all it comes to show
/// what an earlier input had sealed.
key32 key_for(byte_view input) { return sha256_of(input).bytes; }

/// The same keys in every run: so that a finding comes again.
const x25519_pair& pair_of(std::uint8_t number) {
    static const std::array<x25519_pair, 4> pairs{x25519_from(key_of(1)), x25519_from(key_of(2)),
                                                  x25519_from(key_of(3)), x25519_from(key_of(4))};
    return pairs[number];
}

void check_noise_handshake(byte_view input) {
    script from(input);
    const byte_view prologue = from.some();
    noise_handshake sides[] = {{noise_role::initiator, prologue, pair_of(0), pair_of(1)},
                               {noise_role::responder, prologue, pair_of(2), pair_of(3)}};
    bool touched = false;
    for (std::size_t i = 0; i < 3; ++i) {
        std::error_code ec;
        const byte_view payload = from.some();
        const auto message = sides[i % 2].write_message(payload, ec);
        require(message.has_value() || touched, "an untouched handshake goes on");
        if (!message) break;
        const byte_vector come = altered(*message, from);
        touched = touched || come != *message;
        const auto got = sides[1 - i % 2].read_message(come, ec);
        require(touched || (got && std::equal(got->begin(), got->end(), payload.begin(), payload.end())),
                "an untouched message is read");
        if (got) continue;
        require(ec == errc::noise_failed && !sides[1 - i % 2].write_message({}, ec), "after a failure nothing goes on");
        auto keys = sides[1 - i % 2].split();
        require(!keys.first.usable() && !keys.second.usable(), "a failed handshake gives no keys");
        break;
    }
    require(touched ? !sides[1].done() : sides[0].done() && sides[1].done(), "only an untouched handshake ends well");
    if (touched) return;
    require(sides[0].handshake_hash() == sides[1].handshake_hash(), "both have heard the same");
    require(sides[0].remote_static() == pair_of(2).public_key && sides[1].remote_static() == pair_of(0).public_key,
            "each knows the other");
    auto first = sides[0].split();
    auto second = sides[1].split();
    byte_vector sealed(3 + noise_tag);
    byte_vector opened(3);
    const byte_vector said{1, 2, 3};
    require(first.first.seal({}, said, sealed) && second.second.open({}, sealed, opened) && opened == said,
            "both have the same keys");
    require(!sides[0].split().first.usable(), "keys are given once");
}

void check_noise_transport(byte_view input) {
    script from(input);
    noise_cipher sender(key_for(input));
    noise_cipher receiver(key_for(input));
    std::vector<std::pair<byte_vector, byte_vector>> sent;  // what was said, and its ciphertext
    std::size_t next = 0;
    bool alive = true;
    while (!from.done() && sent.size() < 64) {
        const byte_view said = from.some();
        byte_vector sealed(said.size() + noise_tag);
        require(sender.seal({}, said, sealed), "a short message is sealed");
        sent.emplace_back(byte_vector(said.begin(), said.end()), sealed);
        for (std::uint32_t deliveries = from.below(4); deliveries > 0; --deliveries) {
            const std::uint32_t which = from.below(static_cast<std::uint32_t>(sent.size()));
            const byte_vector come = altered(sent[which].second, from);
            byte_vector opened(come.size() < noise_tag ? 0 : come.size() - noise_tag);
            if (come.size() < noise_tag) continue;  // where no tag fits, nobody asks the cipher
            const bool right = alive && which == next && come == sent[which].second;
            require(receiver.open({}, come, opened) == right, "the next message opens, and no other");
            if (right) require(opened == sent[which].first, "as it was said");
            if (!right) require(std::all_of(opened.begin(), opened.end(), [](auto b) { return b == 0; }), "wiped");
            alive = right;
            next += right;
        }
        if (from.byte() % 8 != 0) continue;
        // Both change the key at the same message, or nothing goes on.
        sender.rekey();
        receiver.rekey();
        alive = alive && next == sent.size();
        if (next != sent.size()) return;
    }
}

/// Who cannot sign has no identity.
void check_proof_of_identity(byte_view input) {
    static const identity self(key_of(6));
    static const byte_vector proof = identity_proof(self);
    script from(input);
    const byte_vector shown = altered(proof, from);
    key32 noise_key = self.noise_static().public_key;
    noise_key[from.byte() % 32] ^= from.byte();
    std::error_code ec;
    const auto got = check_identity_proof(shown, noise_key, ec);
    const bool right = shown == proof && noise_key == self.noise_static().public_key;
    require(got.has_value() == right && got.has_value() == !ec, "a proof is for one key, and as it was made");
    require(!got || *got == self.key(), "and tells whose it is");
}

/// A room's messages come in any order, some never, some altered or twice.
void check_sender_key(byte_view input) {
    script from(input);
    const sender_key_name name{{}, {}, 1};
    const sender_chain start{from.flag() ? sender_key::max_messages - from.below(300) : from.below(300),
                             key_for(input)};
    sender_key author(name, start);
    sender_key_reader reader(name, start);
    std::vector<std::pair<sender_key::sealed, byte_vector>> sent;
    std::set<std::uint32_t> skipped;
    for (int steps = 0; steps < 64 && !from.done(); ++steps) {
        std::uint32_t lost = from.byte() % 32;
        if (lost > 29) lost += 970;  // about as many as may be skipped
        for (; lost > 0 && !author.spent(); --lost) author.seal({});
        if (author.spent()) return;
        const byte_view said = from.some();
        sent.emplace_back(author.seal(said), byte_vector(said.begin(), said.end()));
        for (std::uint32_t deliveries = from.below(4); deliveries > 0; --deliveries) {
            const auto& [sealed, plain] = sent[from.below(static_cast<std::uint32_t>(sent.size()))];
            const std::uint32_t index = sealed.index + (from.byte() % 16 == 0 ? from.byte() : 0);
            const byte_vector come = altered(sealed.ciphertext, from);
            const std::uint32_t next = reader.next_index();
            const bool in_reach =
                index >= next ? index - next <= sender_key_reader::max_skipped : skipped.contains(index);
            std::error_code ec;
            const auto got = reader.open(index, come, ec);
            require(got.has_value() == (in_reach && index == sealed.index && come == sealed.ciphertext),
                    "what the author sealed opens once, and nothing else");
            require(!got || *got == plain, "as it was said");
            if (got) skipped.erase(index);
            for (std::uint32_t missing = next; got && missing < index; ++missing) skipped.insert(missing);
            while (skipped.size() > sender_key_reader::max_skipped) skipped.erase(skipped.begin());
            require(reader.skipped() == skipped.size(), "so many keys are kept");
            require(reader.next_index() == (got && index >= next ? index + 1 : next), "the chain goes on");
        }
    }
}

constexpr target table[] = {
    {"noise_handshake", check_noise_handshake, 1024},
    {"noise_transport", check_noise_transport, 2048},
    {"identity_proof", check_proof_of_identity, 300},
    {"sender_key", check_sender_key, 1024},
};

}  // namespace

std::span<const target> noise_targets() { return table; }

}  // namespace cohort::fuzz
