// Finding things in an array by a key: a hash table that stores nothing but their positions, four bytes each.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>

namespace cohort {

/// A hash of short keys that strangers choose, such as addresses and info-hashes. It is fast, not cryptographic: what
/// keeps a stranger from choosing keys that collide is that the secret is drawn at random and never leaves the program.
class secret_hash {
public:
    explicit secret_hash(std::uint64_t secret) : secret_(secret) {}

    std::uint64_t operator()(byte_view key) const {
        std::uint64_t state = mix(secret_ ^ key.size());
        while (key.size() >= 8) {
            state = mix(state ^ load_be<std::uint64_t>(key.data()));
            key = key.subspan(8);
        }
        std::uint64_t rest = 0;
        for (const std::uint8_t byte : key) rest = rest << 8 | byte;
        return mix(mix(state ^ rest) + secret_);
    }

private:
    /// The finisher of SplitMix64: every bit of the input moves about half of the output's.
    static constexpr std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    std::uint64_t secret_;
};

/// Open addressing with linear probing, and deletion by shifting back, so that no graves pile up. The table knows
/// neither keys nor things: the caller passes the hash, and where things move, `hash_of(position)`.
/// Several things may have one hash; for_each() meets them all.
class position_table {
public:
    static constexpr std::uint32_t none = 0xffffffff;

    std::size_t size() const { return size_; }
    std::size_t memory() const { return slots_.capacity() * sizeof(std::uint32_t); }

    /// Calls visit(position) for everything that may have this hash, until it returns true; false if it never does.
    template <class Visit>
    bool for_each(std::uint64_t hash, Visit visit) const {
        if (slots_.empty()) return false;
        for (std::size_t i = home(hash); slots_[i] != none; i = next(i))
            if (visit(slots_[i])) return true;
        return false;
    }

    /// Makes room for so many more, so that insert() takes no memory for them.
    template <class HashOf>
    void reserve(std::size_t more, HashOf hash_of) {
        if ((size_ + more) * 4 > slots_.size() * 3) resize(std::bit_ceil((size_ + more) * 2), hash_of);
    }

    template <class HashOf>
    void insert(std::uint64_t hash, std::uint32_t position, HashOf hash_of) {
        reserve(1, hash_of);
        place(hash, position);
        ++size_;
    }

    /// Must be called while hash_of() still answers for everything in the table.
    template <class HashOf>
    void erase(std::uint64_t hash, std::uint32_t position, HashOf hash_of) {
        std::size_t hole = slot_of(hash, position);
        for (std::size_t i = next(hole); slots_[i] != none; i = next(i)) {
            // May stand in the hole what does not come before its own home by that.
            if (distance(home(hash_of(slots_[i])), i) < distance(hole, i)) continue;
            slots_[hole] = slots_[i];
            hole = i;
        }
        slots_[hole] = none;
        --size_;
        if (slots_.size() <= 64 || size_ * 8 >= slots_.size()) return;
        try {
            resize(std::bit_ceil(size_ * 2), hash_of);
        } catch (const std::bad_alloc&) {
            // It stays too large for now.
        }
    }

    /// The thing with this hash moved.
    void moved(std::uint64_t hash, std::uint32_t from, std::uint32_t to) { slots_[slot_of(hash, from)] = to; }

    /// Two things changed places.
    void exchanged(std::uint64_t hash_a, std::uint32_t a, std::uint64_t hash_b, std::uint32_t b) {
        const std::size_t slot_a = slot_of(hash_a, a);
        const std::size_t slot_b = slot_of(hash_b, b);
        slots_[slot_a] = b;
        slots_[slot_b] = a;
    }

    void clear() {
        slots_ = {};
        size_ = 0;
    }

private:
    std::size_t home(std::uint64_t hash) const { return static_cast<std::size_t>(hash) & (slots_.size() - 1); }
    std::size_t next(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
    std::size_t distance(std::size_t from, std::size_t to) const { return (to - from) & (slots_.size() - 1); }

    std::size_t slot_of(std::uint64_t hash, std::uint32_t position) const {
        std::size_t i = home(hash);
        for (; slots_[i] != position; i = next(i)) assert(slots_[i] != none);
        return i;
    }

    void place(std::uint64_t hash, std::uint32_t position) {
        std::size_t i = home(hash);
        while (slots_[i] != none) i = next(i);
        slots_[i] = position;
    }

    template <class HashOf>
    void resize(std::size_t slots, HashOf hash_of) {
        std::vector<std::uint32_t> old(slots < 8 ? 8 : slots, none);
        old.swap(slots_);
        for (const std::uint32_t position : old)
            if (position != none) place(hash_of(position), position);
    }

    std::vector<std::uint32_t> slots_;  // the number of slots is a power of two
    std::size_t size_ = 0;
};

}  // namespace cohort
