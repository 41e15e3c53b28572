// SHA-1 and SHA-256, in one call or in steps; two of one kind that are fed in step take little longer than one.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include <openssl/evp.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/sha_ni.hpp>

namespace cohort {

/// Who computes a hash. The digests are the same.
enum class hash_engine {
    openssl,
    sha_ni  ///< our own, with the SHA instructions of x86: alone as fast as OpenSSL, and faster for two in step
};

/// The faster of those that this processor has.
inline hash_engine best_hash_engine() {
#ifdef __OPTIMIZE__
    if (detail::has_sha_ni()) return hash_engine::sha_ni;
#endif
    return hash_engine::openssl;  // compiled without optimisation, ours takes several times as long
}

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

template <class Digest>
class hasher;

/// Does a.update(in_a) and b.update(in_b), in step as far as both inputs reach: with hash_engine::sha_ni that takes
/// little longer than one of them. The two hashes must be different objects, and are as independent as ever.
template <class Digest>
void update_both(hasher<Digest>& a, byte_view in_a, hasher<Digest>& b, byte_view in_b);

/// A hash in steps. `finish()` gives the digest and starts afresh, so that one object serves many inputs.
template <class Digest>
class hasher {
public:
    hasher() : hasher(best_hash_engine()) {}
    /// What this processor does not have is left to OpenSSL.
    explicit hasher(hash_engine engine) {
        if (engine == hash_engine::openssl || !detail::has_sha_ni()) {
            context_.reset(EVP_MD_CTX_new());
            if (!context_) throw std::bad_alloc();
        }
        reset();
    }

    void reset() {
        if (context_ && EVP_DigestInit_ex2(context_.get(), algorithm(), nullptr) != 1) throw std::bad_alloc();
        state_ = detail::sha_initial<Digest>;
        length_ = 0;
    }

    void update(byte_view bytes) {
        if (context_) {
            EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
            return;
        }
        fill_block(bytes);
        const std::size_t blocks = bytes.size() / detail::sha_block;
        if (blocks > 0) detail::compress<Digest>(blocks, state_, bytes.data());
        length_ += blocks * detail::sha_block;
        keep(bytes.subspan(blocks * detail::sha_block));
    }

    Digest finish() {
        Digest out;
        if (context_) {
            EVP_DigestFinal_ex(context_.get(), out.bytes.data(), nullptr);
        } else {
            pad();
            for (std::size_t i = 0; i < state_.size(); ++i) store_be(out.bytes.data() + 4 * i, state_[i]);
        }
        reset();
        return out;
    }

private:
    friend void update_both<Digest>(hasher&, byte_view, hasher&, byte_view);

    static const EVP_MD* algorithm() {
        static const EVP_MD* const digest =
            detail::fetch_digest(std::is_same_v<Digest, sha1_digest> ? "SHA1" : "SHA256");
        return digest;
    }

    /// Takes what completes the block that an earlier input began.
    void fill_block(byte_view& bytes) {
        const std::size_t kept = length_ % detail::sha_block;
        if (kept == 0) return;
        const byte_view part = bytes.first(std::min(bytes.size(), detail::sha_block - kept));
        bytes = bytes.subspan(part.size());
        keep(part);
        if (length_ % detail::sha_block == 0) detail::compress<Digest>(1, state_, block_.data());
    }

    /// Keeps bytes, no more than still fit into the block.
    void keep(byte_view bytes) {
        if (bytes.empty()) return;
        std::memcpy(block_.data() + length_ % detail::sha_block, bytes.data(), bytes.size());
        length_ += bytes.size();
    }

    /// A one bit, zeros, and in the last eight bytes of a block the length in bits (FIPS 180-4, section 5.1.1).
    void pad() {
        const std::uint64_t bits = length_ * 8;
        std::size_t used = length_ % detail::sha_block;
        block_[used++] = 0x80;
        if (used > detail::sha_block - 8) {
            std::fill(block_.begin() + static_cast<std::ptrdiff_t>(used), block_.end(), std::uint8_t{0});
            detail::compress<Digest>(1, state_, block_.data());
            used = 0;
        }
        std::fill(block_.begin() + static_cast<std::ptrdiff_t>(used), block_.end(), std::uint8_t{0});
        store_be(block_.data() + detail::sha_block - 8, bits);
        detail::compress<Digest>(1, state_, block_.data());
    }

    std::unique_ptr<EVP_MD_CTX, detail::evp_context_deleter> context_;  // none: what follows is used instead
    detail::sha_state<Digest> state_;
    std::uint64_t length_ = 0;                           // bytes
    std::array<std::uint8_t, detail::sha_block> block_;  // the bytes after the last whole block
};

template <class Digest>
void update_both(hasher<Digest>& a, byte_view in_a, hasher<Digest>& b, byte_view in_b) {
    if (!a.context_ && !b.context_) {
        a.fill_block(in_a);
        b.fill_block(in_b);
        // An input that did not complete its block is empty now.
        const std::size_t blocks = std::min(in_a.size(), in_b.size()) / detail::sha_block;
        const std::size_t size = blocks * detail::sha_block;
        if (blocks > 0) detail::compress<Digest>(blocks, a.state_, in_a.data(), b.state_, in_b.data());
        a.length_ += size;
        b.length_ += size;
        in_a = in_a.subspan(size);
        in_b = in_b.subspan(size);
    }
    a.update(in_a);
    b.update(in_b);
}

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

}  // namespace cohort
