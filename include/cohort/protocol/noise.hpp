// Noise_XX_25519_ChaChaPoly_SHA256 (noiseprotocol.org, revision 34) as a state machine: bytes in, bytes out. Both sides
// send their static key encrypted, and afterwards share two keys that nobody else has, one for each direction.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/protocol/noise_crypto.hpp>

namespace cohort {

/// No Noise message is longer (section 3).
inline constexpr std::size_t noise_max_message = 65535;
/// What encryption adds to each.
inline constexpr std::size_t noise_tag = aead::tag_size;
/// The most that one transport message carries.
inline constexpr std::size_t noise_max_payload = noise_max_message - noise_tag;

/// One direction of a connection: a key and a counter (CipherState, section 5.1). Messages are opened in the order in
/// which they were sealed, each once. After one failure everything fails. Without a key it does nothing.
class noise_cipher {
public:
    noise_cipher() = default;
    explicit noise_cipher(const key32& key, std::uint64_t nonce = 0) : aead_(key), nonce_(nonce) {}
    noise_cipher(noise_cipher&& from) noexcept
        : aead_(std::exchange(from.aead_, std::nullopt)), nonce_(from.nonce_), count_(from.count_) {}
    noise_cipher& operator=(noise_cipher&& from) noexcept {
        aead_ = std::exchange(from.aead_, std::nullopt);
        nonce_ = from.nonce_;
        count_ = from.count_;
        return *this;
    }

    bool usable() const { return aead_.has_value(); }

    /// Fills `out`, which is 16 bytes longer than `plaintext` and may begin where that does. False, with nothing of the
    /// plaintext in `out` that was not there before, if the sealed message would be too long, or after the last nonce.
    [[nodiscard]] bool seal(byte_view ad, byte_view plaintext, byte_span out) {
        if (plaintext.size() > noise_max_payload || !may_go_on()) return fail();
        aead_->seal(next(), ad, plaintext, out);
        return true;
    }

    /// Fills `out`, which is 16 bytes shorter than `ciphertext` and may begin where that does. False, with `out` wiped,
    /// if this is not the message that comes next.
    [[nodiscard]] bool open(byte_view ad, byte_view ciphertext, byte_span out) {
        if (ciphertext.size() > noise_max_message || !may_go_on() || !aead_->open(next(), ad, ciphertext, out)) {
            wipe(out);
            return fail();
        }
        return true;
    }

    /// Goes on with a key from which the one so far cannot be computed (section 11.3). The other side does the same at
    /// the same message.
    void rekey() {
        if (!usable()) return;
        constexpr key32 zeros{};
        std::array<std::uint8_t, sizeof(key32) + noise_tag> sealed;
        aead_->seal(nonce_of(reserved_nonce), {}, zeros, sealed);
        secret32 key;
        std::copy_n(sealed.begin(), key.bytes.size(), key.bytes.begin());
        wipe(sealed);
        aead_.emplace(key);
        count_ = 0;
    }

    /// Messages under the present key.
    std::uint64_t count() const { return count_; }

private:
    static constexpr std::uint64_t reserved_nonce = std::numeric_limits<std::uint64_t>::max();

    bool may_go_on() const { return usable() && nonce_ != reserved_nonce; }

    nonce12 next() {
        ++count_;
        return nonce_of(nonce_++);
    }

    /// Four zero bytes, then the counter with its lowest byte first (section 12.3).
    static nonce12 nonce_of(std::uint64_t counter) {
        nonce12 out{};
        for (std::size_t i = 0; i < 8; ++i) out[4 + i] = static_cast<std::uint8_t>(counter >> (8 * i));
        return out;
    }

    bool fail() {
        aead_.reset();
        return false;
    }

    std::optional<aead> aead_;
    std::uint64_t nonce_ = 0;
    std::uint64_t count_ = 0;
};

/// Everything that both sides have said so far, as a hash, and the keys that follow from it (SymmetricState,
/// section 5.2).
class noise_symmetric {
public:
    /// A protocol name of up to 32 bytes is its own first hash.
    explicit noise_symmetric(std::string_view protocol_name) {
        if (protocol_name.size() <= hash_.size()) {
            std::copy(protocol_name.begin(), protocol_name.end(), hash_.begin());
        } else {
            hash_ = sha256_of(as_bytes(protocol_name)).bytes;
        }
        chaining_key_.bytes = hash_;
    }

    void mix_hash(byte_view data) {
        sha256 hash;
        hash.update(hash_);
        hash.update(data);
        hash_ = hash.finish().bytes;
    }

    void mix_key(byte_view secret) {
        std::array<std::uint8_t, 64> out;
        hkdf_sha256(chaining_key_.view(), secret, {}, out);
        take_keys(out);
        wipe(out);
    }

    /// For a secret that both sides have from elsewhere.
    void mix_key_and_hash(byte_view secret) {
        std::array<std::uint8_t, 96> out;
        hkdf_sha256(chaining_key_.view(), secret, {}, out);
        mix_hash(byte_view(out).subspan(32, 32));
        std::copy_n(out.begin() + 64, 32, out.begin() + 32);
        take_keys(byte_view(out).first(64));
        wipe(out);
    }

    /// Appends the text to `out`: encrypted, or plain as long as there is no key.
    [[nodiscard]] bool encrypt_and_hash(byte_view text, byte_vector& out) {
        const std::size_t start = out.size();
        if (!keyed_) {
            out.insert(out.end(), text.begin(), text.end());
        } else {
            out.resize(start + text.size() + noise_tag);
            if (!cipher_.seal(hash_, text, byte_span(out).subspan(start))) return false;
        }
        mix_hash(byte_view(out).subspan(start));
        return true;
    }

    /// Nothing if it does not authenticate.
    std::optional<byte_vector> decrypt_and_hash(byte_view in) {
        byte_vector out(in.begin(), in.end());
        if (keyed_) {
            if (in.size() < noise_tag) return std::nullopt;
            out.resize(in.size() - noise_tag);
            if (!cipher_.open(hash_, in, out)) return std::nullopt;
        }
        mix_hash(in);
        return out;
    }

    /// The keys of both directions, that of the initiator first. The object is of no further use but for its hash.
    std::pair<noise_cipher, noise_cipher> split() {
        std::array<std::uint8_t, 64> out;
        hkdf_sha256(chaining_key_.view(), {}, {}, out);
        const secret32 first = half(out, 0);
        const secret32 second = half(out, 1);
        wipe(out);
        wipe(chaining_key_.bytes);
        cipher_ = noise_cipher();
        return {noise_cipher(first), noise_cipher(second)};
    }

    bool keyed() const { return keyed_; }
    const key32& hash() const { return hash_; }

private:
    static secret32 half(byte_view both, std::size_t which) {
        secret32 out;
        std::copy_n(both.begin() + static_cast<std::ptrdiff_t>(which * 32), 32, out.bytes.begin());
        return out;
    }

    void take_keys(byte_view both) {
        chaining_key_ = half(both, 0);
        cipher_ = noise_cipher(half(both, 1));
        keyed_ = true;
    }

    key32 hash_{};
    secret32 chaining_key_;
    noise_cipher cipher_;
    bool keyed_ = false;
};

enum class noise_role { initiator, responder };

/// The XX handshake: three messages, the initiator's first, in turns. After any failure nothing more can be written,
/// read or split.
///
///     -> e    <- e, ee, s, es    -> s, se
class noise_handshake {
public:
    static constexpr std::string_view protocol_name = "Noise_XX_25519_ChaChaPoly_SHA256";

    /// Both sides must have the same `prologue`. `ephemeral` is fresh: of one handshake and no other.
    noise_handshake(noise_role role, byte_view prologue, const x25519_pair& own_static, const x25519_pair& ephemeral)
        : role_(role), static_(own_static), ephemeral_(ephemeral), symmetric_(protocol_name) {
        symmetric_.mix_hash(prologue);
    }

    bool done() const { return !failed_ && next_ == 3; }
    bool our_turn() const { return !failed_ && next_ < 3 && (next_ % 2 == 0) == (role_ == noise_role::initiator); }

    /// The next message, with a payload. That of the first message is readable for everyone, that of the second for
    /// anyone who has dialled, that of the third for the responder alone. errc::noise_failed if it is not our turn, the
    /// message would be above 65535 bytes, or the other side's key is of low order.
    std::optional<byte_vector> write_message(byte_view payload, std::error_code& ec) {
        byte_vector out;
        const bool good = our_turn() && payload.size() <= noise_max_message - most_added && write(payload, out);
        if (!good) return fail(ec);
        advance();
        return out;
    }

    /// The payload of the other side's next message. errc::noise_failed if it is not their turn or the message is cut,
    /// too long, altered, or with a key of low order.
    std::optional<byte_vector> read_message(byte_view in, std::error_code& ec) {
        const bool their_turn = !failed_ && next_ < 3 && !our_turn();
        std::optional<byte_vector> payload;
        if (their_turn && in.size() <= noise_max_message) payload = read(in);
        if (!payload) return fail(ec);
        advance();
        return payload;
    }

    /// What we send with and what we receive with. Once, when done(); otherwise two that fail.
    std::pair<noise_cipher, noise_cipher> split() {
        if (!done() || std::exchange(is_split_, true)) return {};
        auto keys = symmetric_.split();
        if (role_ == noise_role::responder) std::swap(keys.first, keys.second);
        return keys;
    }

    /// The other side's static key: known to the initiator after the second message, to the responder after the third.
    /// That it is theirs is certain once they have sealed something with it: at the same message.
    const key32& remote_static() const { return remote_static_; }

    /// When done(), the same on both sides and in no other connection (channel binding, section 11.2).
    const key32& handshake_hash() const { return symmetric_.hash(); }

private:
    static constexpr std::size_t most_added = 32 + 32 + 2 * noise_tag;

    bool write(byte_view payload, byte_vector& out) {
        if (next_ < 2) {
            out.insert(out.end(), ephemeral_.public_key.begin(), ephemeral_.public_key.end());
            symmetric_.mix_hash(ephemeral_.public_key);
        }
        if (next_ == 1 && !mix(ephemeral_, remote_ephemeral_)) return false;
        if (next_ > 0) {
            if (!symmetric_.encrypt_and_hash(static_.public_key, out)) return false;
            if (!mix(static_, remote_ephemeral_)) return false;
        }
        return symmetric_.encrypt_and_hash(payload, out);
    }

    std::optional<byte_vector> read(byte_view in) {
        if (next_ < 2) {
            if (in.size() < remote_ephemeral_.size()) return std::nullopt;
            std::copy_n(in.begin(), remote_ephemeral_.size(), remote_ephemeral_.begin());
            in = in.subspan(remote_ephemeral_.size());
            symmetric_.mix_hash(remote_ephemeral_);
        }
        if (next_ == 1 && !mix(ephemeral_, remote_ephemeral_)) return std::nullopt;
        if (next_ > 0) {
            if (in.size() < remote_static_.size() + noise_tag) return std::nullopt;
            const auto key = symmetric_.decrypt_and_hash(in.first(remote_static_.size() + noise_tag));
            if (!key) return std::nullopt;
            std::copy(key->begin(), key->end(), remote_static_.begin());
            in = in.subspan(remote_static_.size() + noise_tag);
            if (!mix(ephemeral_, remote_static_)) return std::nullopt;
        }
        return symmetric_.decrypt_and_hash(in);
    }

    bool mix(const x25519_pair& ours, const key32& theirs) {
        const auto shared = x25519(ours.secret, theirs);
        if (shared) symmetric_.mix_key(shared->view());
        return shared.has_value();
    }

    void advance() {
        if (++next_ == 3) forget_secrets();
    }

    std::nullopt_t fail(std::error_code& ec) {
        failed_ = true;
        forget_secrets();
        ec = errc::noise_failed;
        return std::nullopt;
    }

    void forget_secrets() {
        wipe(static_.secret.bytes);
        wipe(ephemeral_.secret.bytes);
    }

    noise_role role_;
    x25519_pair static_;
    x25519_pair ephemeral_;
    noise_symmetric symmetric_;
    key32 remote_static_{};
    key32 remote_ephemeral_{};
    int next_ = 0;  // the message, of three
    bool failed_ = false;
    bool is_split_ = false;
};

}  // namespace cohort
