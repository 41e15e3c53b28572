// The digests of many independent inputs: pieces, or the blocks of a piece. Two at a time are hashed in step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include <cohort/core/bytes.hpp>
#include <cohort/core/hash.hpp>

namespace cohort {

/// Puts the digest of in[i] into out[i]. Both spans have the same length.
template <class Digest>
void digest_many(std::span<const byte_view> in, std::span<Digest> out, hash_engine engine = best_hash_engine());

/// The same where each input is a list of slices, cut anywhere: in[i] is what they are one after the other.
template <class Digest>
void digest_many(std::span<const std::span<const byte_view>> in, std::span<Digest> out,
                 hash_engine engine = best_hash_engine());

/// Feeds two hashes in step until neither has anything left. A lane has the `bytes` that are to be taken next, a hash()
/// that takes them, and a refill() that, once they are used up, gets more, of this input or of another, and says
/// whether there are any.
template <class Lane>
void hash_in_step(Lane& a, Lane& b) {
    for (;;) {
        const bool has_a = a.refill();
        const bool has_b = b.refill();
        if (has_a && has_b) {
            const std::size_t common = std::min(a.bytes.size(), b.bytes.size());
            update_both(a.hash(), a.bytes.first(common), b.hash(), b.bytes.first(common));
            a.bytes = a.bytes.subspan(common);
            b.bytes = b.bytes.subspan(common);
        } else if (has_a || has_b) {
            Lane& alone = has_a ? a : b;
            alone.hash().update(alone.bytes);
            alone.bytes = {};
        } else {
            return;
        }
    }
}

namespace detail {

/// What two lanes of digest_many() share: who is free takes the next input.
template <class Digest, class SlicesOf>
struct digest_queue {
    std::span<Digest> out;
    SlicesOf slices_of;
    std::size_t next = 0;
};

template <class Digest, class SlicesOf>
struct digest_lane {
    digest_queue<Digest, SlicesOf>& queue;
    hasher<Digest> own;
    byte_view bytes = {};
    std::span<const byte_view> slices = {};  // of the same input, after those bytes
    Digest* out = nullptr;                   // where its digest goes; none before the first input

    hasher<Digest>& hash() { return own; }
    bool refill() {
        while (bytes.empty()) {
            if (slices.empty()) {
                if (out != nullptr) *out = own.finish();
                out = nullptr;
                if (queue.next == queue.out.size()) return false;
                slices = queue.slices_of(queue.next);
                out = &queue.out[queue.next++];
            } else {
                bytes = slices.front();
                slices = slices.subspan(1);
            }
        }
        return true;
    }
};

template <class Digest, class SlicesOf>
void digest_each(std::span<Digest> out, hash_engine engine, SlicesOf slices_of) {
    digest_queue<Digest, SlicesOf> queue{out, slices_of};
    digest_lane<Digest, SlicesOf> a{queue, hasher<Digest>(engine)};
    digest_lane<Digest, SlicesOf> b{queue, hasher<Digest>(engine)};
    hash_in_step(a, b);
}

}  // namespace detail

template <class Digest>
void digest_many(std::span<const byte_view> in, std::span<Digest> out, hash_engine engine) {
    detail::digest_each(out, engine, [in](std::size_t i) { return in.subspan(i, 1); });
}

template <class Digest>
void digest_many(std::span<const std::span<const byte_view>> in, std::span<Digest> out, hash_engine engine) {
    detail::digest_each(out, engine, [in](std::size_t i) { return in[i]; });
}

}  // namespace cohort
