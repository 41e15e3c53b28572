// A sorted sequence that takes values anywhere at once: an array cut into blocks, so that little moves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace cohort {

/// Values in an order that the caller knows. Finding costs a binary search, inserting and erasing move one block.
template <class T>
class block_list {
public:
    /// A place in the sequence: a value, or the end. Any change of the sequence ends its life.
    struct place {
        std::size_t block = 0;
        std::size_t offset = 0;

        bool operator==(const place&) const = default;
    };

    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    const T& back() const { return blocks_.back().back(); }

    place begin() const { return {}; }
    place end() const { return {blocks_.size(), 0}; }
    const T& operator[](place at) const { return blocks_[at.block][at.offset]; }
    place next(place at) const {
        return at.offset + 1 < blocks_[at.block].size() ? place{at.block, at.offset + 1} : place{at.block + 1, 0};
    }
    place previous(place at) const {
        return at.offset > 0 ? place{at.block, at.offset - 1} : place{at.block - 1, blocks_[at.block - 1].size() - 1};
    }

    /// The first value for which before(value) is false; it must be true for all that stand earlier.
    template <class Before>
    place lower_bound(Before before) const {
        const auto block = std::partition_point(blocks_.begin(), blocks_.end(),
                                                [&](const std::vector<T>& b) { return before(b.back()); });
        if (block == blocks_.end()) return end();
        const auto value = std::partition_point(block->begin(), block->end(), before);
        return {static_cast<std::size_t>(block - blocks_.begin()), static_cast<std::size_t>(value - block->begin())};
    }

    /// Puts the value in front of what is at `at`.
    void insert(place at, T value) {
        ++size_;
        if (at == end()) {
            // At the end blocks are filled up; elsewhere they are halved.
            if (blocks_.empty() || blocks_.back().size() >= block_size) blocks_.emplace_back();
            blocks_.back().push_back(std::move(value));
            return;
        }
        std::vector<T>& block = blocks_[at.block];
        block.insert(block.begin() + static_cast<std::ptrdiff_t>(at.offset), std::move(value));
        if (block.size() <= block_size) return;
        const auto half = block.begin() + static_cast<std::ptrdiff_t>(block.size() / 2);
        std::vector<T> second(half, block.end());
        block.erase(half, block.end());
        blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(at.block) + 1, std::move(second));
    }

    void erase(place at) {
        --size_;
        std::vector<T>& block = blocks_[at.block];
        block.erase(block.begin() + static_cast<std::ptrdiff_t>(at.offset));
        if (block.empty()) blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(at.block));
    }

private:
    static constexpr std::size_t block_size = 1024;

    std::vector<std::vector<T>> blocks_;  // none is empty
    std::size_t size_ = 0;
};

}  // namespace cohort
