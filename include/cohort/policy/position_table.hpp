// Finding things in an array by a key: a hash table that stores nothing but their positions, four bytes each.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
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

namespace detail {

/// Open addressing with linear probing, and deletion by shifting back, so that no graves pile up.
class position_slots {
public:
    static constexpr std::uint32_t none = 0xffffffff;

    position_slots() = default;
    explicit position_slots(std::size_t size) : slots_(size, none) {}  // a power of two

    std::size_t size() const { return slots_.size(); }
    std::size_t memory() const { return slots_.capacity() * sizeof(std::uint32_t); }
    std::size_t next(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
    std::uint32_t& operator[](std::size_t slot) { return slots_[slot]; }

    /// A free slot, which there always is: what follows it has nothing to do with what is before it.
    std::size_t free_slot() const {
        std::size_t i = 0;
        while (slots_[i] != none) ++i;
        return i;
    }

    template <class Visit>
    bool for_each(std::uint64_t hash, Visit visit) const {
        if (slots_.empty()) return false;
        for (std::size_t i = home(hash); slots_[i] != none; i = next(i))
            if (visit(slots_[i])) return true;
        return false;
    }

    /// Where the position is; null if it is not here. Not to be asked of no slots at all.
    std::uint32_t* find(std::uint64_t hash, std::uint32_t position) {
        for (std::size_t i = home(hash); slots_[i] != none; i = next(i))
            if (slots_[i] == position) return &slots_[i];
        return nullptr;
    }

    void place(std::uint64_t hash, std::uint32_t position) {
        std::size_t i = home(hash);
        while (slots_[i] != none) i = next(i);
        slots_[i] = position;
    }

    template <class HashOf>
    void erase(std::uint32_t* slot, HashOf hash_of) {
        auto hole = static_cast<std::size_t>(slot - slots_.data());
        for (std::size_t i = next(hole); slots_[i] != none; i = next(i)) {
            // May stand in the hole what does not come before its own home by that.
            if (distance(home(hash_of(slots_[i])), i) < distance(hole, i)) continue;
            slots_[hole] = slots_[i];
            hole = i;
        }
        slots_[hole] = none;
    }

private:
    std::size_t home(std::uint64_t hash) const { return static_cast<std::size_t>(hash) & (slots_.size() - 1); }
    std::size_t distance(std::size_t from, std::size_t to) const { return (to - from) & (slots_.size() - 1); }

    std::vector<std::uint32_t> slots_;
};

}  // namespace detail

/// The table knows neither keys nor things: the caller passes the hash, and where positions move within the table,
/// `hash_of(position)`, which must answer for everything in it. Several things may have one hash; for_each() meets
/// them all.
///
/// Growing does not stop the world: the old slots stay beside the new ones, and every change carries a few of them
/// over.
class position_table {
public:
    static constexpr std::uint32_t none = detail::position_slots::none;

    std::size_t size() const { return size_; }
    std::size_t memory() const {
        return slots_.memory() + (leaving_ ? sizeof *leaving_ + leaving_->slots.memory() : 0);
    }

    /// Calls visit(position) for everything that may have this hash, until it returns true; false if it never does.
    template <class Visit>
    bool for_each(std::uint64_t hash, Visit visit) const {
        return slots_.for_each(hash, visit) || (leaving_ && leaving_->slots.for_each(hash, visit));
    }

    /// Makes room for so many more, so that insert() takes no memory for them.
    template <class HashOf>
    void reserve(std::size_t more, HashOf hash_of) {
        if ((size_ + more) * 4 > slots_.size() * 3) resize(std::bit_ceil((size_ + more) * 2), hash_of);
    }

    template <class HashOf>
    void insert(std::uint64_t hash, std::uint32_t position, HashOf hash_of) {
        reserve(1, hash_of);
        carry_over(slots_a_change, hash_of);
        slots_.place(hash, position);
        ++size_;
    }

    template <class HashOf>
    void erase(std::uint64_t hash, std::uint32_t position, HashOf hash_of) {
        if (std::uint32_t* const slot = slots_.find(hash, position))
            slots_.erase(slot, hash_of);
        else
            leaving_->slots.erase(&slot_of(hash, position), hash_of);
        --size_;
        carry_over(slots_a_change, hash_of);
        if (leaving_ || slots_.size() <= 64 || size_ * 8 >= slots_.size()) return;
        try {
            resize(std::bit_ceil(size_ * 2), hash_of);
        } catch (const std::bad_alloc&) {
            // It stays too large for now.
        }
    }

    /// The thing with this hash moved.
    void moved(std::uint64_t hash, std::uint32_t from, std::uint32_t to) { slot_of(hash, from) = to; }

    /// Two things changed places.
    void exchanged(std::uint64_t hash_a, std::uint32_t a, std::uint64_t hash_b, std::uint32_t b) {
        std::uint32_t& slot_a = slot_of(hash_a, a);
        std::uint32_t& slot_b = slot_of(hash_b, b);
        slot_a = b;
        slot_b = a;
    }

    void clear() {
        slots_ = {};
        leaving_.reset();
        size_ = 0;
    }

private:
    /// The old slots. Invariant: those that were looked at are free, and the next to look at follows a free one, so
    /// that no row of taken slots is ever torn.
    struct old_slots {
        detail::position_slots slots;
        std::size_t at = 0;
        std::size_t left = 0;  // to look at
    };

    /// Some microseconds' worth. Of n slots all are looked at within n / 64 changes, long before the next growth.
    static constexpr std::size_t slots_a_change = 64;

    std::uint32_t& slot_of(std::uint64_t hash, std::uint32_t position) {
        std::uint32_t* slot = slots_.find(hash, position);
        if (slot == nullptr && leaving_) slot = leaving_->slots.find(hash, position);
        assert(slot != nullptr);
        return *slot;
    }

    template <class HashOf>
    void resize(std::size_t slots, HashOf hash_of) {
        if (leaving_) carry_over(leaving_->left, hash_of);
        detail::position_slots larger(slots < 8 ? 8 : slots);
        if (size_ > 0) {
            leaving_ = std::make_unique<old_slots>();
            leaving_->slots = std::move(slots_);
            leaving_->at = leaving_->slots.free_slot();
            leaving_->left = leaving_->slots.size();
        }
        slots_ = std::move(larger);
    }

    /// Looks at so many old slots, and at those up to the next free one.
    template <class HashOf>
    void carry_over(std::size_t count, HashOf hash_of) {
        if (!leaving_) return;
        detail::position_slots& old = leaving_->slots;
        for (; leaving_->left > 0; --leaving_->left, leaving_->at = old.next(leaving_->at)) {
            std::uint32_t& slot = old[leaving_->at];
            if (slot == none && count == 0) return;
            if (count > 0) --count;
            if (slot == none) continue;
            slots_.place(hash_of(slot), slot);
            slot = none;
        }
        leaving_.reset();
    }

    detail::position_slots slots_;
    std::unique_ptr<old_slots> leaving_;  // while it grows or shrinks
    std::size_t size_ = 0;
};

}  // namespace cohort
