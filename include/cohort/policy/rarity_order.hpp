// Which piece to start next: pieces sorted by priority and by how few peers have them, without ever sorting.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/core/random.hpp>
#include <cohort/policy/bit_scan.hpp>

namespace cohort {

/// Knows the number of copies and the priority of every piece, and keeps the *listed* ones (wanted, and nobody asked
/// for a block of them yet) in buckets by both. A change of copies or priority, listing and unlisting are O(1) each.
///
/// There are 64 buckets a priority: copies 0, 1, ... 62, and "63 or more". Rarity matters because a piece may die out
/// with its owners; with 63 of them it will not, and so many buckets fit one machine word that says which hold
/// anything. Finding the rarest piece is then one instruction, however many peers and pieces there are.
class rarity_order {
public:
    static constexpr std::uint8_t max_priority = 7;  ///< 1 is the lowest; 0 means: not wanted, never listed

    /// Nothing is listed, nobody has a copy, all pieces have `priority`.
    rarity_order(piece_index pieces, std::uint8_t priority) : ranks_(pieces, rank{unlisted, 0, priority}) {}

    std::uint32_t copies(piece_index piece) const { return ranks_[piece].copies; }
    std::uint8_t priority(piece_index piece) const { return ranks_[piece].priority; }
    bool listed(piece_index piece) const { return ranks_[piece].position != unlisted; }

    void add_copy(piece_index piece) {
        assert(ranks_[piece].copies < std::numeric_limits<std::uint16_t>::max());
        change(piece, [](rank& r) { ++r.copies; });
    }
    void drop_copy(piece_index piece) {
        assert(ranks_[piece].copies > 0);
        change(piece, [](rank& r) { --r.copies; });
    }
    /// `priority` is 1..7, or 0 for a piece that is not listed.
    void set_priority(piece_index piece, std::uint8_t priority) {
        change(piece, [priority](rank& r) { r.priority = priority; });
    }

    void list(piece_index piece) {
        assert(!listed(piece) && priority(piece) > 0);
        insert(piece);
        level& home = level_of(piece);
        if (home.members.size() == 0) home.members = bitfield(static_cast<std::uint32_t>(ranks_.size()));
        home.members.set(piece);
        home.lowest = std::min(home.lowest, piece);
    }
    void unlist(piece_index piece) {
        assert(listed(piece));
        remove(piece);
        level_of(piece).members.reset(piece);
    }

    /// Whether a listed piece has at least `copies` copies, where `copies` is 0 or 1.
    bool any_with(std::uint32_t copies) const {
        for (const level& l : levels_)
            if ((l.non_empty >> copies) != 0) return true;
        return false;
    }

    /// Whether there is a listed piece of this priority or a higher one that has no copy.
    bool any_without_copies(std::uint8_t at_least) const {
        return std::any_of(levels_.begin() + (at_least - 1), levels_.end(),
                           [](const level& l) { return (l.non_empty & 1) != 0; });
    }

    /// A listed piece out of `has`, the highest priority and rarest first, equals at random. It looks at no more than
    /// 64 pieces, so a peer that has few of those listed may end with nothing although there is something: see scan().
    std::optional<piece_index> rarest(const bitfield& has, random_engine& random, std::uint64_t& steps) const {
        // Every piece of a peer that lacks some was counted with add_copy(), so bucket 0 has nothing of it.
        const std::uint64_t possible = has.all() ? ~std::uint64_t{0} : ~std::uint64_t{1};
        std::uint32_t budget = 64;
        for (std::size_t l = levels_.size(); l-- > 0;) {
            for (std::uint64_t left = levels_[l].non_empty & possible; left != 0; left &= left - 1) {
                const auto& bucket = levels_[l].buckets[static_cast<std::size_t>(std::countr_zero(left))];
                const auto size = static_cast<std::uint32_t>(bucket.size());
                // A share for each bucket, lest a big one that is strange to this peer hides those after it.
                std::uint32_t tries = std::min({size, budget, std::uint32_t{16}});
                budget -= tries;
                for (std::uint32_t at = random.below(size); tries > 0; --tries, at = at + 1 == size ? 0 : at + 1) {
                    ++steps;
                    if (has.get(bucket[at])) return bucket[at];
                }
                if (budget == 0) return std::nullopt;
            }
        }
        return std::nullopt;
    }

    /// The first listed piece out of `has` at or after `from`, around the end; higher priorities first. Finds what
    /// there is, at the cost of one step for 64 pieces.
    std::optional<piece_index> scan(const bitfield& has, piece_index from, std::uint64_t& steps) const {
        for (std::size_t l = levels_.size(); l-- > 0;) {
            if (levels_[l].non_empty == 0) continue;
            if (const auto found = next_common(has, levels_[l].members, from, has.size(), steps)) return found;
            if (const auto found = next_common(has, levels_[l].members, 0, from, steps)) return found;
        }
        return std::nullopt;
    }

    /// The lowest listed piece out of `has`; higher priorities first. One step for 64 pieces between the lowest listed
    /// one and the result.
    std::optional<piece_index> lowest(const bitfield& has, std::uint64_t& steps) {
        for (std::size_t l = levels_.size(); l-- > 0;) {
            level& from = levels_[l];
            if (from.non_empty == 0) continue;
            from.lowest = *next_common(from.members, from.members, from.lowest, has.size(), steps);
            if (const auto found = next_common(has, from.members, from.lowest, has.size(), steps)) return found;
        }
        return std::nullopt;
    }

private:
    static constexpr std::uint32_t unlisted = 0xffffffff;
    static constexpr std::uint32_t last_bucket = 63;

    struct rank {
        std::uint32_t position = unlisted;  // in its bucket
        std::uint16_t copies = 0;
        std::uint8_t priority = 0;
    };

    /// Invariant: bit b of `non_empty` is set exactly if buckets[b] is not empty; `members` is the union of all, and
    /// none of them is below `lowest`.
    struct level {
        std::uint64_t non_empty = 0;
        std::array<std::vector<piece_index>, last_bucket + 1> buckets;
        bitfield members;
        piece_index lowest = 0;
    };

    level& level_of(piece_index piece) { return levels_[ranks_[piece].priority - 1u]; }
    std::uint32_t bucket_of(piece_index piece) const { return std::min<std::uint32_t>(copies(piece), last_bucket); }

    template <class Change>
    void change(piece_index piece, Change apply) {
        rank after = ranks_[piece];
        apply(after);
        if (!listed(piece)) {
            ranks_[piece] = after;
        } else if (after.priority != priority(piece)) {
            unlist(piece);
            ranks_[piece].priority = after.priority;
            list(piece);
        } else {
            remove(piece);
            ranks_[piece].copies = after.copies;
            insert(piece);
        }
    }

    void insert(piece_index piece) {
        const std::uint32_t number = bucket_of(piece);
        level& home = level_of(piece);
        auto& bucket = home.buckets[number];
        ranks_[piece].position = static_cast<std::uint32_t>(bucket.size());
        bucket.push_back(piece);
        home.non_empty |= std::uint64_t{1} << number;
    }

    void remove(piece_index piece) {
        const std::uint32_t number = bucket_of(piece);
        level& home = level_of(piece);
        auto& bucket = home.buckets[number];
        bucket[ranks_[piece].position] = bucket.back();
        ranks_[bucket.back()].position = ranks_[piece].position;
        ranks_[piece].position = unlisted;
        bucket.pop_back();
        if (bucket.empty()) home.non_empty &= ~(std::uint64_t{1} << number);
        // Pieces wander through the buckets as peers come; the room they leave behind must not add up.
        if (bucket.capacity() > 16 && bucket.size() < bucket.capacity() / 4) bucket.shrink_to_fit();
    }

    std::vector<rank> ranks_;
    std::array<level, max_priority> levels_;
};

}  // namespace cohort
