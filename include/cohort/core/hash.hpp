// SHA-1 and SHA-256 over OpenSSL's EVP interface: in one call, in steps, or of many buffers at once.
#pragma once

#include <memory>
#include <new>
#include <span>
#include <type_traits>

#include <openssl/evp.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/ids.hpp>

namespace cohort {

namespace detail {

struct evp_context_deleter {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

/// EVP_sha1() looks the algorithm up again at each use; a fetched one is found once for the whole program.
inline const EVP_MD* fetch_digest(const char* name) {
    const EVP_MD* const digest = EVP_MD_fetch(nullptr, name, nullptr);
    if (digest == nullptr) throw std::bad_alloc();
    return digest;
}

}  // namespace detail

/// A hash in steps. `finish()` gives the digest and starts afresh, so that one object serves many inputs.
template <class Digest>
class hasher {
public:
    hasher() : context_(EVP_MD_CTX_new()) {
        if (!context_) throw std::bad_alloc();
        reset();
    }

    void reset() {
        if (EVP_DigestInit_ex2(context_.get(), algorithm(), nullptr) != 1) throw std::bad_alloc();
    }

    void update(byte_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }

    Digest finish() {
        Digest out;
        EVP_DigestFinal_ex(context_.get(), out.bytes.data(), nullptr);
        reset();
        return out;
    }

private:
    static const EVP_MD* algorithm() {
        static const EVP_MD* const digest =
            detail::fetch_digest(std::is_same_v<Digest, sha1_digest> ? "SHA1" : "SHA256");
        return digest;
    }

    std::unique_ptr<EVP_MD_CTX, detail::evp_context_deleter> context_;
};

using sha1 = hasher<sha1_digest>;
using sha256 = hasher<sha256_digest>;

/// The digest of one buffer.
template <class Digest>
Digest digest_of(byte_view bytes) {
    hasher<Digest> hash;
    hash.update(bytes);
    return hash.finish();
}

inline sha1_digest sha1_of(byte_view bytes) { return digest_of<sha1_digest>(bytes); }
inline sha256_digest sha256_of(byte_view bytes) { return digest_of<sha256_digest>(bytes); }

/// The digests of many buffers, each on its own: out[i] is that of in[i]. Both spans have the same length.
template <class Digest>
void digest_many(std::span<const byte_view> in, std::span<Digest> out) {
    hasher<Digest> hash;
    for (std::size_t i = 0; i < in.size(); ++i) {
        hash.update(in[i]);
        out[i] = hash.finish();
    }
}

}  // namespace cohort
