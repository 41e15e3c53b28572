// Who somebody is: a signing key, from which all other keys of a person follow, the proof that a Noise key belongs to
// it, and the number that two people compare to know that nobody sits between them.
#pragma once

#include <algorithm>
#include <compare>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/protocol/noise.hpp>
#include <cohort/protocol/noise_crypto.hpp>

namespace cohort {

/// The public half of an identity: an Ed25519 public key.
struct identity_key {
    static constexpr std::size_t size = 32;

    key32 bytes{};

    auto operator<=>(const identity_key&) const = default;

    byte_view view() const { return bytes; }
    std::string hex() const { return to_hex(bytes); }
    /// A UUID for places that want one, of RFC 9562's version 8. Two identities never have the same; but a name to
    /// show, not a proof.
    std::string uuid() const;

    /// From exactly 32 bytes.
    static std::optional<identity_key> from(byte_view in) {
        if (in.size() != size) return std::nullopt;
        identity_key out;
        std::memcpy(out.bytes.data(), in.data(), size);
        return out;
    }
    /// From exactly 64 hexadecimal digits.
    static std::optional<identity_key> parse(std::string_view text) {
        identity_key out;
        if (!from_hex(text, out.bytes)) return std::nullopt;
        return out;
    }
};

/// A person, or a program that speaks for one: everything follows from 32 secret bytes, by HKDF-SHA-256.
class identity {
public:
    explicit identity(const key32& seed)
        : signing_(derived(seed, "ed25519")),
          key_{signing_.public_key()},
          noise_(x25519_from(derived(seed, "x25519"))),
          storage_(derived(seed, "storage")) {}

    /// A new one, of fresh randomness. To keep one, keep its seed: secret_random().
    static identity random(const secret_source& secrets = secret_random) {
        secret32 seed;
        secrets(seed.bytes);
        return identity(seed);
    }

    const identity_key& key() const { return key_; }
    signature64 sign(byte_view message) const { return signing_.sign(message); }

    /// The static key of Noise handshakes.
    const x25519_pair& noise_static() const { return noise_; }

    /// A secret of this identity alone, for each label another one.
    secret32 storage_key(std::string_view label) const { return derived(storage_, label); }

private:
    static secret32 derived(const key32& from, std::string_view label) {
        secret32 out;
        hkdf_sha256(as_bytes("cohort identity"), from, as_bytes(label), out.bytes);
        return out;
    }

    signing_key signing_;
    identity_key key_;
    x25519_pair noise_;
    secret32 storage_;
};

/// "This Noise key is mine": the identity's key, and its signature over "cohort noise static key" and the static key.
byte_vector identity_proof(const identity& self);

/// Who proves to own `noise_static`. Sets errc::identity_unproven if `payload` is not a proof, or one for another key.
std::optional<identity_key> check_identity_proof(byte_view payload, const key32& noise_static, std::error_code& ec);

/// 60 digits in groups of five, the same for both: if they read the same on both screens, there are just these two
/// keys. Each half is a key's own, hashed 5,200 times, so that a key whose number looks alike is that much dearer to
/// find.
std::string safety_number(const identity_key& a, const identity_key& b);

/// Noise XX between two identities: the payloads of the second and the third message are proofs. After any failure
/// nothing more can be written or read.
class identity_handshake {
public:
    /// Says which identities are welcome. Asked as soon as theirs is proven: the initiator asks before it has told its
    /// own.
    using predicate = std::function<bool(const identity_key&)>;

    /// With an ephemeral key of fresh randomness.
    identity_handshake(noise_role role, byte_view prologue, const identity& self, predicate welcome,
                       const secret_source& secrets = secret_random)
        : noise_(role, prologue, self.noise_static(), x25519_random(secrets)),
          proof_(identity_proof(self)),
          welcome_(std::move(welcome)) {}

    bool done() const { return noise_.done() && remote_; }
    bool our_turn() const { return !failed_ && noise_.our_turn(); }

    /// The next message. errc::noise_failed if it cannot be made.
    std::optional<byte_vector> write(std::error_code& ec) {
        const byte_view payload = messages_++ == 0 ? byte_view() : byte_view(proof_);
        if (!failed_) return noise_.write_message(payload, ec);
        ec = errc::noise_failed;
        return std::nullopt;
    }

    /// False with errc::noise_failed for a bad message, errc::identity_unproven, or errc::identity_changed if the
    /// identity is not welcome; remote() then tells whose it is.
    bool read(byte_view message, std::error_code& ec) {
        ec.clear();
        const bool first = messages_++ == 0;
        std::optional<byte_vector> payload;
        if (failed_) {
            ec = errc::noise_failed;
        } else {
            payload = noise_.read_message(message, ec);
        }
        if (payload && first) {
            if (!payload->empty()) ec = errc::noise_failed;
        } else if (payload) {
            remote_ = check_identity_proof(*payload, noise_.remote_static(), ec);
            if (remote_ && welcome_ && !welcome_(*remote_)) ec = errc::identity_changed;
        }
        failed_ = failed_ || ec;
        return !failed_;
    }

    /// Whoever has proven to be the other side, welcome or not.
    const std::optional<identity_key>& remote() const { return remote_; }
    const key32& handshake_hash() const { return noise_.handshake_hash(); }

    /// What we send with and what we receive with. Once, when done(); otherwise two that fail.
    std::pair<noise_cipher, noise_cipher> split() {
        if (failed_) return {};
        return noise_.split();
    }

private:
    noise_handshake noise_;
    byte_vector proof_;
    predicate welcome_;
    std::optional<identity_key> remote_;
    int messages_ = 0;
    bool failed_ = false;
};

namespace detail {

inline byte_vector identity_claim(const key32& noise_static) {
    const byte_view label = as_bytes("cohort noise static key");
    byte_vector out(label.size() + noise_static.size());
    std::copy(label.begin(), label.end(), out.begin());
    std::copy(noise_static.begin(), noise_static.end(), out.begin() + static_cast<std::ptrdiff_t>(label.size()));
    return out;
}

/// Half of a safety number: 30 digits, five from each five bytes.
inline std::string safety_half(const identity_key& key) {
    constexpr int rounds = 5200;
    sha256 hash;
    hash.update(as_bytes("cohort safety number"));
    hash.update(key.view());
    sha256_digest digest = hash.finish();
    for (int i = 1; i < rounds; ++i) {
        hash.update(digest.view());
        hash.update(key.view());
        digest = hash.finish();
    }
    std::string out;
    for (std::size_t group = 0; group < 6; ++group) {
        std::uint64_t number = 0;
        for (std::size_t i = 0; i < 5; ++i) number = number << 8 | digest.bytes[group * 5 + i];
        const std::string digits = std::to_string(number % 100000);
        if (group > 0) out += ' ';
        out += std::string(5 - digits.size(), '0') + digits;
    }
    return out;
}

}  // namespace detail

inline std::string identity_key::uuid() const {
    sha256 hash;
    hash.update(as_bytes("cohort uuid"));
    hash.update(bytes);
    std::array<std::uint8_t, 16> id;
    const sha256_digest digest = hash.finish();
    std::copy_n(digest.bytes.begin(), id.size(), id.begin());
    id[6] = static_cast<std::uint8_t>(0x80 | (id[6] & 0x0f));
    id[8] = static_cast<std::uint8_t>(0x80 | (id[8] & 0x3f));
    std::string out = to_hex(id);
    for (const std::size_t dash : {20u, 16u, 12u, 8u}) out.insert(dash, 1, '-');
    return out;
}

inline byte_vector identity_proof(const identity& self) {
    byte_vector out(self.key().bytes.begin(), self.key().bytes.end());
    const signature64 signature = self.sign(detail::identity_claim(self.noise_static().public_key));
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
}

inline std::optional<identity_key> check_identity_proof(byte_view payload, const key32& noise_static,
                                                        std::error_code& ec) {
    if (payload.size() == identity_key::size + std::tuple_size_v<signature64>) {
        const auto key = identity_key::from(payload.first(identity_key::size));
        const byte_view signature = payload.subspan(identity_key::size);
        if (verify_signature(key->bytes, detail::identity_claim(noise_static), signature)) return key;
    }
    ec = errc::identity_unproven;
    return std::nullopt;
}

inline std::string safety_number(const identity_key& a, const identity_key& b) {
    const auto& [first, second] = std::minmax(a, b);
    return detail::safety_half(first) + ' ' + detail::safety_half(second);
}

}  // namespace cohort

/// The first word of a public key. A table that strangers can fill must not rely on it.
template <>
struct std::hash<cohort::identity_key> {
    std::size_t operator()(const cohort::identity_key& key) const noexcept {
        std::size_t word;
        std::memcpy(&word, key.bytes.data(), sizeof word);
        return word;
    }
};
