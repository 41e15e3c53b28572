// SHA-1 and SHA-256 (FIPS 180-4) with the SHA instructions of x86, of one input or of two in step. Each instruction
// waits for the result of the one before, so that one input leaves their unit idle half of the time; two keep it busy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include <cohort/core/ids.hpp>

#if defined(__x86_64__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define COHORT_HAS_SHA_NI 1
#include <cpuid.h>
#endif
#endif

namespace cohort::detail {

inline constexpr std::size_t sha_block = 64;  // bytes

/// The hash value H while it grows.
template <class Digest>
using sha_state = std::array<std::uint32_t, Digest::size / 4>;

/// What H is at first (section 5.3).
template <class Digest>
inline constexpr sha_state<Digest> sha_initial;
template <>
inline constexpr sha_state<sha1_digest> sha_initial<sha1_digest>{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
                                                                 0xc3d2e1f0};
template <>
inline constexpr sha_state<sha256_digest> sha_initial<sha256_digest>{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

#ifdef COHORT_HAS_SHA_NI

/// Whether this processor can run compress(). g++ 12 does not know "sha" in __builtin_cpu_supports().
inline bool has_sha_ni() {
    static const bool found = [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0 &&
               __builtin_cpu_supports("sse4.1") != 0 && __builtin_cpu_supports("ssse3") != 0;
    }();
    return found;
}

/// Four words in a register, the first one lowest. The compiler's own vectors: nearly every file includes this, and
/// <immintrin.h> is long.
using sha_vector = int __attribute__((vector_size(16)));

inline std::uint32_t word(sha_vector v, int i) { return static_cast<std::uint32_t>(v[i]); }

inline sha_vector sum(sha_vector a, sha_vector b) {
    using wrapping = unsigned __attribute__((vector_size(16)));
    return reinterpret_cast<sha_vector>(reinterpret_cast<wrapping>(a) + reinterpret_cast<wrapping>(b));
}

inline sha_vector load_words(const std::uint32_t* from) {
    sha_vector out;
    std::memcpy(&out, from, sizeof out);
    return out;
}

/// 16 bytes in another order.
template <int... Order>
__attribute__((target("sha,sse4.1"), always_inline)) inline sha_vector load_bytes(const std::uint8_t* from) {
    using bytes = char __attribute__((vector_size(16)));
    bytes in;
    std::memcpy(&in, from, sizeof in);
    return reinterpret_cast<sha_vector>(__builtin_shufflevector(in, in, Order...));
}

/// One input on its way through the compression function: rounds<0>() to rounds<groups - 1>(), four rounds each, take
/// the next 64 bytes of it.
template <class Digest>
struct sha_lane;

template <>
struct sha_lane<sha1_digest> {
    static constexpr int groups = 20;

    sha_lane(const sha_state<sha1_digest>& h, const std::uint8_t* from) : next(from) {
        const sha_vector dcba = load_words(h.data());
        abcd = __builtin_shufflevector(dcba, dcba, 3, 2, 1, 0);
        e = sha_vector{0, 0, 0, static_cast<int>(h[4])};
    }

    sha_state<sha1_digest> state() const {
        return {word(abcd, 3), word(abcd, 2), word(abcd, 1), word(abcd, 0), word(e, 3)};
    }

    template <int G>
    __attribute__((target("sha,sse4.1"), always_inline)) void rounds() {
        sha_vector& wt = w[G % 4];  // words 4G to 4G + 3 of the message schedule, the first one highest
        if constexpr (G < 4) {
            wt = load_bytes<15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0>(next + 16 * G);
        } else {
            const sha_vector part = __builtin_ia32_sha1msg1(wt, w[(G + 1) % 4]) ^ w[(G + 2) % 4];
            wt = __builtin_ia32_sha1msg2(part, w[(G + 3) % 4]);
        }
        const sha_vector e_and_w = G == 0 ? sum(e, wt) : __builtin_ia32_sha1nexte(before, wt);
        if constexpr (G == 0) first = abcd;
        before = abcd;
        abcd = __builtin_ia32_sha1rnds4(abcd, e_and_w, G / 5);
        if constexpr (G == groups - 1) {
            e = __builtin_ia32_sha1nexte(before, e);
            abcd = sum(abcd, first);
            next += sha_block;
        }
    }

    const std::uint8_t* next;
    sha_vector abcd, e;  // named from the highest word down; e is the highest of its own
    sha_vector before;   // abcd four rounds ago: its a, rotated, is e now
    sha_vector first;    // abcd before this block
    sha_vector w[4];
};

template <>
struct sha_lane<sha256_digest> {
    static constexpr int groups = 16;

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2).
    alignas(16) static constexpr std::uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

    sha_lane(const sha_state<sha256_digest>& h, const std::uint8_t* from) : next(from) {
        const sha_vector dcba = load_words(h.data());
        const sha_vector hgfe = load_words(h.data() + 4);
        abef = __builtin_shufflevector(hgfe, dcba, 1, 0, 5, 4);
        cdgh = __builtin_shufflevector(hgfe, dcba, 3, 2, 7, 6);
    }

    sha_state<sha256_digest> state() const {
        return {word(abef, 3), word(abef, 2), word(cdgh, 3), word(cdgh, 2),
                word(abef, 1), word(abef, 0), word(cdgh, 1), word(cdgh, 0)};
    }

    template <int G>
    __attribute__((target("sha,sse4.1"), always_inline)) void rounds() {
        sha_vector& wt = w[G % 4];  // words 4G to 4G + 3 of the message schedule, the first one lowest
        if constexpr (G < 4) {
            wt = load_bytes<3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12>(next + 16 * G);
        } else {
            const sha_vector seven_ago = __builtin_shufflevector(w[(G + 2) % 4], w[(G + 3) % 4], 1, 2, 3, 4);
            wt = __builtin_ia32_sha256msg2(sum(__builtin_ia32_sha256msg1(wt, w[(G + 1) % 4]), seven_ago),
                                           w[(G + 3) % 4]);
        }
        if constexpr (G == 0) first_abef = abef, first_cdgh = cdgh;
        // Two rounds make a new abef, and the old one is the new cdgh: the two change places twice.
        const sha_vector wk = sum(wt, load_words(k + 4 * G));
        cdgh = __builtin_ia32_sha256rnds2(cdgh, abef, wk);
        abef = __builtin_ia32_sha256rnds2(abef, cdgh, __builtin_shufflevector(wk, wk, 2, 3, 2, 3));
        if constexpr (G == groups - 1) {
            abef = sum(abef, first_abef);
            cdgh = sum(cdgh, first_cdgh);
            next += sha_block;
        }
    }

    const std::uint8_t* next;
    sha_vector abef, cdgh;
    sha_vector first_abef, first_cdgh;  // before this block
    sha_vector w[4];
};

template <int G, class... Lane>
__attribute__((target("sha,sse4.1"), always_inline)) inline void rounds_of(Lane&... lane) {
    (lane.template rounds<G>(), ...);
}

template <int... G, class... Lane>
__attribute__((target("sha,sse4.1"), always_inline)) inline void compress_block(std::integer_sequence<int, G...>,
                                                                                Lane&... lane) {
    (rounds_of<G>(lane...), ...);
}

/// Takes `blocks` blocks of 64 bytes from `in` into `h`. Requires has_sha_ni(), as the next one.
template <class Digest>
__attribute__((target("sha,sse4.1"))) void compress(std::size_t blocks, sha_state<Digest>& h, const std::uint8_t* in) {
    sha_lane<Digest> lane(h, in);
    for (; blocks > 0; --blocks) compress_block(std::make_integer_sequence<int, sha_lane<Digest>::groups>(), lane);
    h = lane.state();
}

/// The same for two independent inputs, in step.
template <class Digest>
__attribute__((target("sha,sse4.1"))) void compress(std::size_t blocks, sha_state<Digest>& h_a,
                                                    const std::uint8_t* in_a, sha_state<Digest>& h_b,
                                                    const std::uint8_t* in_b) {
    sha_lane<Digest> a(h_a, in_a);
    sha_lane<Digest> b(h_b, in_b);
    for (; blocks > 0; --blocks) compress_block(std::make_integer_sequence<int, sha_lane<Digest>::groups>(), a, b);
    h_a = a.state();
    h_b = b.state();
}

#else

inline bool has_sha_ni() { return false; }

/// Never called: has_sha_ni() is false.
template <class Digest, class... More>
void compress(std::size_t, sha_state<Digest>&, const std::uint8_t*, More&&...) {}

#endif

}  // namespace cohort::detail
