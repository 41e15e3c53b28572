// Piece arithmetic: how a torrent's bytes divide into pieces, and pieces into blocks.
#pragma once

#include <compare>
#include <cstdint>

namespace cohort {

using piece_index = std::uint32_t;

/// The size of every request but the last of a piece (BEP 3 practice: 16 KiB).
inline constexpr std::uint32_t block_size = 16 * 1024;

/// A range inside one piece: what `request`, `cancel` and `reject` name, and what `piece` carries.
struct block {
    piece_index piece = 0;
    std::uint32_t begin = 0;   ///< bytes from the start of the piece
    std::uint32_t length = 0;  ///< bytes

    auto operator<=>(const block&) const = default;
};

/// The division of `total_size` bytes into pieces of `piece_length`, the last one possibly shorter.
/// Invariant: piece_length > 0 and piece_count() fits 32 bits (metainfo parsing checks both).
class piece_layout {
public:
    piece_layout() = default;
    piece_layout(std::uint64_t total_size, std::uint32_t piece_length)
        : total_(total_size), piece_length_(piece_length) {}

    std::uint64_t total_size() const { return total_; }
    std::uint32_t piece_length() const { return piece_length_; }
    piece_index piece_count() const { return static_cast<piece_index>((total_ + piece_length_ - 1) / piece_length_); }

    /// Bytes in `piece`, which must be below piece_count().
    std::uint32_t piece_size(piece_index piece) const {
        const std::uint64_t left = total_ - offset(piece);
        return left < piece_length_ ? static_cast<std::uint32_t>(left) : piece_length_;
    }

    /// Where the byte `begin` of `piece` stands in the torrent.
    std::uint64_t offset(piece_index piece, std::uint32_t begin = 0) const {
        return static_cast<std::uint64_t>(piece) * piece_length_ + begin;
    }

    std::uint32_t blocks_in(piece_index piece) const { return (piece_size(piece) + block_size - 1) / block_size; }
    /// Blocks in every piece but the last: the stride of tables indexed by piece and block.
    std::uint32_t blocks_per_piece() const { return (piece_length_ + block_size - 1) / block_size; }

    /// The `number`-th block of `piece`; both must exist.
    block block_at(piece_index piece, std::uint32_t number) const {
        const std::uint32_t begin = number * block_size;
        const std::uint32_t left = piece_size(piece) - begin;
        return {piece, begin, left < block_size ? left : block_size};
    }

    /// Whether the range lies inside its piece and is not empty: safe to call with numbers from the wire.
    bool contains(const block& range) const {
        if (range.piece >= piece_count() || range.length == 0) return false;
        const std::uint32_t size = piece_size(range.piece);
        return range.begin < size && range.length <= size - range.begin;
    }

    /// Whether the range is one of ours: aligned and of the size that block_at() gives.
    bool is_block(const block& range) const {
        return contains(range) && range.begin % block_size == 0 &&
               range == block_at(range.piece, range.begin / block_size);
    }

private:
    std::uint64_t total_ = 0;
    std::uint32_t piece_length_ = block_size;
};

}  // namespace cohort
