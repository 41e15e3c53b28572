// Which pieces somebody has: one bit a piece, the first piece in the highest bit of the first byte (BEP 3).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include <cohort/core/bytes.hpp>

namespace cohort {

/// Invariant: spare bits after the last piece are zero, and count() is always known.
class bitfield {
public:
    bitfield() = default;
    explicit bitfield(std::uint32_t size, bool value = false)
        : size_(size), count_(value ? size : 0), bytes_((static_cast<std::size_t>(size) + 7) / 8, value ? 0xff : 0) {
        if (value) clear_spare_bits();
    }

    /// From the payload of a `bitfield` message. Nothing if the length is not exactly that of `size` pieces or a
    /// spare bit is set: BEP 3 says to drop such a peer.
    static std::optional<bitfield> from_wire(byte_view payload, std::uint32_t size) {
        bitfield out(size);
        if (payload.size() != out.bytes_.size()) return std::nullopt;
        std::copy(payload.begin(), payload.end(), out.bytes_.begin());
        out.clear_spare_bits();
        if (!payload.empty() && out.bytes_.back() != payload.back()) return std::nullopt;
        for (const std::uint8_t byte : out.bytes_) out.count_ += static_cast<std::uint32_t>(std::popcount(byte));
        return out;
    }

    std::uint32_t size() const { return size_; }
    std::uint32_t count() const { return count_; }
    bool all() const { return count_ == size_; }
    bool none() const { return count_ == 0; }
    byte_view bytes() const { return bytes_; }

    bool get(std::uint32_t index) const { return (bytes_[index / 8] & mask(index)) != 0; }

    /// True if the bit was clear before.
    bool set(std::uint32_t index) {
        if (get(index)) return false;
        bytes_[index / 8] |= mask(index);
        ++count_;
        return true;
    }

    /// True if the bit was set before.
    bool reset(std::uint32_t index) {
        if (!get(index)) return false;
        bytes_[index / 8] &= static_cast<std::uint8_t>(~mask(index));
        --count_;
        return true;
    }

    /// Adds the bits of another one of the same size.
    bitfield& operator|=(const bitfield& other) {
        count_ = 0;
        for (std::size_t i = 0; i < bytes_.size(); ++i) {
            bytes_[i] |= other.bytes_[i];
            count_ += static_cast<std::uint32_t>(std::popcount(bytes_[i]));
        }
        return *this;
    }

    bool operator==(const bitfield& other) const { return size_ == other.size_ && bytes_ == other.bytes_; }

private:
    static constexpr std::uint8_t mask(std::uint32_t index) { return static_cast<std::uint8_t>(0x80 >> (index % 8)); }

    void clear_spare_bits() {
        if (const std::uint32_t used = size_ % 8; used != 0)
            bytes_.back() &= static_cast<std::uint8_t>(0xff << (8 - used));
    }

    std::uint32_t size_ = 0;
    std::uint32_t count_ = 0;
    byte_vector bytes_;
};

}  // namespace cohort
