// The cryptographic primitives of Noise and of identities, over OpenSSL's EVP interface: X25519, Ed25519,
// ChaCha20-Poly1305, HMAC and HKDF with SHA-256, and memory that is wiped.
#pragma once

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/secret_random.hpp>

namespace cohort {

/// A key, secret or public, or a SHA-256 digest used as one.
using key32 = std::array<std::uint8_t, 32>;
/// An Ed25519 signature (RFC 8032).
using signature64 = std::array<std::uint8_t, 64>;
/// A nonce of ChaCha20-Poly1305 (RFC 8439): never twice under one key.
using nonce12 = std::array<std::uint8_t, 12>;

/// Overwrites a secret so that no compiler leaves it out.
inline void wipe(byte_span secret) noexcept { OPENSSL_cleanse(secret.data(), secret.size()); }

/// Equal or not, in a time that does not depend on where they differ. The lengths are no secret.
inline bool equal_secrets(byte_view a, byte_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

/// 32 secret bytes, wiped when they go.
struct secret32 {
    key32 bytes{};

    secret32() = default;
    secret32(const key32& from) : bytes(from) {}
    secret32(const secret32&) = default;
    secret32& operator=(const secret32&) = default;
    ~secret32() { wipe(bytes); }

    operator const key32&() const { return bytes; }
    byte_view view() const { return bytes; }
};

/// A Diffie-Hellman key (RFC 7748). The secret part is wiped when it goes.
struct x25519_pair {
    secret32 secret;
    key32 public_key{};
};

/// The pair that belongs to any 32 secret bytes.
x25519_pair x25519_from(const key32& secret);

/// A new pair, of fresh randomness.
x25519_pair x25519_random(const secret_source& secrets = secret_random);

/// The secret that two pairs have in common. Nothing if it is all zero: the other key was one of the few of low order,
/// which say nothing about their sender (RFC 7748, section 6.1).
std::optional<secret32> x25519(const key32& secret, const key32& public_key);

/// Whether `signature` is that of `message` by the owner of `public_key` (Ed25519, RFC 8032). Strict: false for another
/// length, an s that is not reduced, and a public key that is not canonical or of low order.
bool verify_signature(const key32& public_key, byte_view message, byte_view signature);

/// HMAC-SHA-256 (RFC 2104).
secret32 hmac_sha256(byte_view key, byte_view message);

/// HKDF-SHA-256 (RFC 5869): fills `out`, at most 8160 bytes. Throws errc::noise_failed for more.
void hkdf_sha256(byte_view salt, byte_view secret, byte_view info, byte_span out);

namespace detail {

/// What OpenSSL refuses although its arguments are right: no memory, or an algorithm that was compiled out.
inline void need_openssl(bool done) {
    if (done) return;
    ERR_clear_error();
    raise(errc::noise_failed, "the cryptographic library failed");
}

/// An ordinary no of OpenSSL. Its queue of errors is emptied: TLS on this thread would take them for its own.
inline bool openssl_refused() {
    ERR_clear_error();
    return false;
}

template <auto Free>
struct openssl_deleter {
    template <class T>
    void operator()(T* object) const {
        Free(object);
    }
};

using pkey_ptr = std::unique_ptr<EVP_PKEY, openssl_deleter<&EVP_PKEY_free>>;
using pkey_context_ptr = std::unique_ptr<EVP_PKEY_CTX, openssl_deleter<&EVP_PKEY_CTX_free>>;
using digest_context_ptr = std::unique_ptr<EVP_MD_CTX, openssl_deleter<&EVP_MD_CTX_free>>;
using mac_context_ptr = std::unique_ptr<EVP_MAC_CTX, openssl_deleter<&EVP_MAC_CTX_free>>;
using cipher_context_ptr = std::unique_ptr<EVP_CIPHER_CTX, openssl_deleter<&EVP_CIPHER_CTX_free>>;

/// Algorithms are looked up once for the whole program.
inline const EVP_CIPHER* chacha20_poly1305() {
    static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
    need_openssl(cipher != nullptr);
    return cipher;
}
inline EVP_MAC* hmac_algorithm() {
    static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    need_openssl(mac != nullptr);
    return mac;
}

inline pkey_ptr private_key(const char* type, const key32& secret) {
    pkey_ptr out(EVP_PKEY_new_raw_private_key_ex(nullptr, type, nullptr, secret.data(), secret.size()));
    need_openssl(out != nullptr);
    return out;
}

inline pkey_ptr public_key(const char* type, const key32& bytes) {
    return pkey_ptr(EVP_PKEY_new_raw_public_key_ex(nullptr, type, nullptr, bytes.data(), bytes.size()));
}

inline key32 public_half(const EVP_PKEY* key) {
    key32 out;
    std::size_t size = out.size();
    need_openssl(EVP_PKEY_get_raw_public_key(key, out.data(), &size) == 1 && size == out.size());
    return out;
}

inline secret32 hmac_of_parts(byte_view key, std::initializer_list<byte_view> parts) {
    const mac_context_ptr context(EVP_MAC_CTX_new(hmac_algorithm()));
    need_openssl(context != nullptr);
    char digest[] = "SHA256";
    const OSSL_PARAM how[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                              OSSL_PARAM_construct_end()};
    constexpr std::uint8_t none = 0;  // a null pointer would mean "the key from before"
    const std::uint8_t* const start = key.empty() ? &none : key.data();
    need_openssl(EVP_MAC_init(context.get(), start, key.size(), how) == 1);
    for (const byte_view part : parts) {
        if (!part.empty()) need_openssl(EVP_MAC_update(context.get(), part.data(), part.size()) == 1);
    }
    secret32 out;
    std::size_t size = 0;
    need_openssl(EVP_MAC_final(context.get(), out.bytes.data(), &size, out.bytes.size()) == 1 && size == 32);
    return out;
}

/// A point of order 8 or less, or one whose y is not below 2^255 - 19 and so has a second encoding. A signature of such
/// a "key" can fit many messages.
inline bool weak_ed25519_key(const key32& key) {
    constexpr std::array<std::string_view, 5> low_order_y{
        "0000000000000000000000000000000000000000000000000000000000000000",  // order 4
        "0100000000000000000000000000000000000000000000000000000000000000",  // order 1
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // order 2
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  // order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  // order 8
    };
    key32 y = key;
    y[31] &= 0x7f;  // the sign of x
    const bool high = y[31] == 0x7f && std::all_of(y.begin() + 1, y.end() - 1, [](std::uint8_t b) { return b == 255; });
    if (high && y[0] >= 0xed) return true;
    const std::string text = to_hex(y);
    return std::find(low_order_y.begin(), low_order_y.end(), text) != low_order_y.end();
}

}  // namespace detail

/// Signs with Ed25519 (RFC 8032).
class signing_key {
public:
    explicit signing_key(const key32& seed)
        : key_(detail::private_key("ED25519", seed)), public_key_(detail::public_half(key_.get())) {}

    const key32& public_key() const { return public_key_; }

    signature64 sign(byte_view message) const {
        const detail::digest_context_ptr context(EVP_MD_CTX_new());
        detail::need_openssl(context != nullptr);
        detail::need_openssl(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
        signature64 out;
        std::size_t size = out.size();
        detail::need_openssl(EVP_DigestSign(context.get(), out.data(), &size, message.data(), message.size()) == 1);
        detail::need_openssl(size == out.size());
        return out;
    }

private:
    detail::pkey_ptr key_;
    key32 public_key_;
};

/// ChaCha20-Poly1305 (RFC 8439) under one key. The key is set up once; a call changes the nonce and allocates nothing.
class aead {
public:
    static constexpr std::size_t tag_size = 16;

    explicit aead(const key32& key) : context_(EVP_CIPHER_CTX_new()) {
        detail::need_openssl(context_ != nullptr);
        constexpr nonce12 none{};
        detail::need_openssl(
            EVP_CipherInit_ex2(context_.get(), detail::chacha20_poly1305(), key.data(), none.data(), 1, nullptr) == 1);
    }

    /// Fills `out`, which is 16 bytes longer than `plaintext` and may begin where that does.
    void seal(const nonce12& nonce, byte_view ad, byte_view plaintext, byte_span out) {
        detail::need_openssl(out.size() == plaintext.size() + tag_size && fits(ad, plaintext));
        detail::need_openssl(begin(nonce, ad, 1) && step(plaintext, out.data()));
        const byte_span tag = out.last(tag_size);
        detail::need_openssl(
            EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, tag_size, static_cast<void*>(tag.data())) == 1);
    }

    /// Fills `out`, which is 16 bytes shorter than `ciphertext` and may begin where that does. False, with `out` wiped,
    /// if the ciphertext is not what was sealed under this key with this nonce and `ad`.
    [[nodiscard]] bool open(const nonce12& nonce, byte_view ad, byte_view ciphertext, byte_span out) {
        if (ciphertext.size() < tag_size || out.size() != ciphertext.size() - tag_size) return false;
        std::array<std::uint8_t, tag_size> tag;
        std::copy(ciphertext.end() - tag_size, ciphertext.end(), tag.begin());
        const byte_view body = ciphertext.first(out.size());
        const bool good =
            fits(ad, body) && begin(nonce, ad, 0) &&
            EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, tag_size, static_cast<void*>(tag.data())) == 1 &&
            step(body, out.data());
        if (good) return true;
        wipe(out);
        return detail::openssl_refused();
    }

private:
    static bool fits(byte_view ad, byte_view text) { return ad.size() <= INT_MAX && text.size() <= INT_MAX; }

    bool begin(const nonce12& nonce, byte_view ad, int encrypt) {
        if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, nonce.data(), encrypt, nullptr) != 1) return false;
        int taken = 0;
        return ad.empty() ||
               EVP_CipherUpdate(context_.get(), nullptr, &taken, ad.data(), static_cast<int>(ad.size())) == 1;
    }

    /// All the text, and the end, where a wrong tag shows.
    bool step(byte_view in, std::uint8_t* out) {
        int size = 0;
        if (!in.empty() && EVP_CipherUpdate(context_.get(), out, &size, in.data(), static_cast<int>(in.size())) != 1)
            return false;
        std::uint8_t nothing[tag_size];
        int rest = 0;
        return EVP_CipherFinal_ex(context_.get(), nothing, &rest) == 1 && rest == 0 &&
               static_cast<std::size_t>(size) == in.size();
    }

    detail::cipher_context_ptr context_;
};

inline x25519_pair x25519_from(const key32& secret) {
    return {secret, detail::public_half(detail::private_key("X25519", secret).get())};
}

inline x25519_pair x25519_random(const secret_source& secrets) {
    secret32 secret;
    secrets(secret.bytes);
    return x25519_from(secret);
}

inline std::optional<secret32> x25519(const key32& secret, const key32& public_key) {
    const detail::pkey_ptr ours = detail::private_key("X25519", secret);
    const detail::pkey_ptr theirs = detail::public_key("X25519", public_key);
    const detail::pkey_context_ptr context(EVP_PKEY_CTX_new_from_pkey(nullptr, ours.get(), nullptr));
    detail::need_openssl(theirs != nullptr && context != nullptr && EVP_PKEY_derive_init(context.get()) == 1 &&
                         EVP_PKEY_derive_set_peer(context.get(), theirs.get()) == 1);
    secret32 out;
    std::size_t size = out.bytes.size();
    const bool derived = EVP_PKEY_derive(context.get(), out.bytes.data(), &size) == 1 && size == out.bytes.size();
    constexpr key32 zero{};
    if (derived && !equal_secrets(out.bytes, zero)) return out;
    detail::openssl_refused();
    return std::nullopt;
}

inline bool verify_signature(const key32& public_key, byte_view message, byte_view signature) {
    if (signature.size() != std::tuple_size_v<signature64> || detail::weak_ed25519_key(public_key)) return false;
    const detail::pkey_ptr key = detail::public_key("ED25519", public_key);
    if (!key) return detail::openssl_refused();
    const detail::digest_context_ptr context(EVP_MD_CTX_new());
    detail::need_openssl(context != nullptr);
    const bool good =
        EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
        EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
    return good || detail::openssl_refused();
}

inline secret32 hmac_sha256(byte_view key, byte_view message) { return detail::hmac_of_parts(key, {message}); }

inline void hkdf_sha256(byte_view salt, byte_view secret, byte_view info, byte_span out) {
    detail::need_openssl(out.size() <= 255 * 32);
    const secret32 extracted = hmac_sha256(salt, secret);
    secret32 block;
    byte_view before;
    for (std::uint8_t number = 1; !out.empty(); ++number) {
        const byte_view count(&number, 1);
        block = detail::hmac_of_parts(extracted.view(), {before, info, count});
        before = block.view();
        const std::size_t size = std::min(out.size(), before.size());
        std::copy_n(before.begin(), size, out.begin());
        out = out.subspan(size);
    }
}

}  // namespace cohort
