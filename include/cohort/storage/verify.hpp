// Finds out which pieces of a torrent are on the disk, by hashing what is there.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/hash_many.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/storage/torrent_files.hpp>

namespace cohort {

/// How many bytes are in memory at once: several small pieces, or a part of each of two big ones.
inline constexpr std::size_t verify_read_size = 1024 * 1024;

/// Pieces that make a job of about 16 MiB, but at least two, which take little longer than one: short enough to be
/// spread over lanes and to be cancelled between two.
inline piece_index verify_step(const piece_layout& layout) {
    constexpr std::uint32_t bytes = 16 * 1024 * 1024;
    return std::max<piece_index>(2, bytes / layout.piece_length());
}

/// Checks those of the pieces [first, last) that are set in `which`, and returns the ones whose data matches
/// hashes[piece], in ascending order. One job for a lane; needs one buffer of verify_read_size. What is missing or was
/// never written costs next to nothing. Fails as torrent_files::read(), but not for files that are missing or too
/// short.
std::vector<piece_index> verify_range(torrent_files& files, std::span<const sha1_digest> hashes, piece_index first,
                                      piece_index last, const bitfield& which);

namespace detail {

/// Hashes pieces as they are on the disk: neighbours that fit into the buffer with one read, others in step.
class piece_hasher {
public:
    explicit piece_hasher(torrent_files& files) : files_(files), layout_(files.layout()) {}

    /// The digest of each of the pieces, which ascend; nothing in place of one that is in a file that is missing or
    /// too short. Good until the next call.
    std::span<const std::optional<sha1_digest>> hash(std::span<const piece_index> pieces) {
        pieces_ = pieces;
        out_.assign(pieces.size(), std::nullopt);
        alone_.clear();
        for (std::size_t i = 0, end = 0; i < pieces.size(); i = end) {
            for (end = i + 1; end < pieces.size() && pieces[end] == pieces[end - 1] + 1; ++end)
                if (layout_.offset(pieces[i]) + verify_read_size < end_of(pieces[end])) break;
            if (end - i > 1 && hash_neighbours(i, end)) continue;
            for (std::size_t one = i; one < end; ++one) alone_.push_back(one);
        }
        if (alone_.empty()) return out_;
        next_alone_ = 0;
        buffer_.resize(verify_read_size);
        lane a{*this, byte_span(buffer_).first(verify_read_size / 2)};
        lane b{*this, byte_span(buffer_).last(verify_read_size / 2)};
        hash_in_step(a, b);
        return out_;
    }

private:
    std::uint64_t end_of(piece_index piece) const { return layout_.offset(piece) + layout_.piece_size(piece); }

    /// Pieces number [i, end) of those asked for, with one read; false if it does not succeed.
    bool hash_neighbours(std::size_t i, std::size_t end) {
        const std::uint64_t offset = layout_.offset(pieces_[i]);
        const std::uint64_t size = end_of(pieces_[end - 1]) - offset;
        if (files_.is_hole(offset, size)) {
            for (; i < end; ++i) out_[i] = zeros(layout_.piece_size(pieces_[i]));
            return true;
        }
        buffer_.resize(static_cast<std::size_t>(size));
        if (!files_.try_read(offset, buffer_)) return false;
        parts_.clear();
        for (const piece_index piece : pieces_.subspan(i, end - i))
            parts_.push_back(byte_view(buffer_).subspan(static_cast<std::size_t>(layout_.offset(piece) - offset),
                                                        layout_.piece_size(piece)));
        digests_.resize(parts_.size());
        digest_many<sha1_digest>(parts_, digests_);
        std::copy(digests_.begin(), digests_.end(), out_.begin() + static_cast<std::ptrdiff_t>(i));
        return true;
    }

    /// Reads one piece after the other, a part at a time.
    struct lane {
        piece_hasher& owner;
        byte_span buffer;
        sha1 own = {};
        byte_view bytes = {};
        std::optional<sha1_digest>* out = nullptr;  // where the digest of this piece goes; none before the first piece
        std::uint64_t offset = 0;                   // of what of it is still to be read
        std::uint32_t left = 0;

        sha1& hash() { return own; }
        bool refill() {
            while (bytes.empty()) {
                if (left > 0) {
                    read();
                } else {
                    if (out != nullptr) *out = own.finish();
                    out = nullptr;
                    if (owner.next_alone_ == owner.alone_.size()) return false;
                    begin(owner.alone_[owner.next_alone_++]);
                }
            }
            return true;
        }

        void begin(std::size_t number) {
            const piece_index piece = owner.pieces_[number];
            offset = owner.layout_.offset(piece);
            left = owner.layout_.piece_size(piece);
            out = &owner.out_[number];
            if (!owner.files_.is_hole(offset, left)) return;
            *out = owner.zeros(left);
            give_up();
        }

        void read() {
            const byte_span part = buffer.first(std::min<std::size_t>(buffer.size(), left));
            if (!owner.files_.try_read(offset, part)) return give_up();
            bytes = part;
            offset += part.size();
            left -= static_cast<std::uint32_t>(part.size());
        }

        /// Leaves this piece as it is.
        void give_up() {
            own.reset();
            out = nullptr;
            left = 0;
        }
    };

    /// The digest of `size` zeros: a piece that was never written may still be one of nothing but zeros.
    const sha1_digest& zeros(std::uint32_t size) {
        if (size != zeros_size_) {
            static constexpr std::array<std::uint8_t, 4096> some{};
            sha1 hash;
            for (std::uint32_t left = size; left > 0;) {
                const byte_view part = byte_view(some).first(std::min<std::size_t>(some.size(), left));
                hash.update(part);
                left -= static_cast<std::uint32_t>(part.size());
            }
            zeros_ = hash.finish();
            zeros_size_ = size;
        }
        return zeros_;
    }

    torrent_files& files_;
    const piece_layout& layout_;
    std::span<const piece_index> pieces_;
    std::vector<std::optional<sha1_digest>> out_;
    std::vector<std::size_t> alone_;  // numbers of the pieces that are read on their own,
    std::size_t next_alone_ = 0;      // and the first that no lane has
    byte_vector buffer_;
    std::vector<byte_view> parts_;
    std::vector<sha1_digest> digests_;
    std::uint32_t zeros_size_ = 0;
    sha1_digest zeros_;
};

}  // namespace detail

inline std::vector<piece_index> verify_range(torrent_files& files, std::span<const sha1_digest> hashes,
                                             piece_index first, piece_index last, const bitfield& which) {
    const piece_layout& layout = files.layout();
    if (hashes.size() != layout.piece_count() || which.size() != layout.piece_count() || last > layout.piece_count())
        raise(errc::index_out_of_range);
    std::vector<piece_index> pieces;
    for (piece_index piece = first; piece < last; ++piece)
        if (which.get(piece)) pieces.push_back(piece);
    detail::piece_hasher hasher(files);
    const auto digests = hasher.hash(pieces);
    std::vector<piece_index> good;
    for (std::size_t i = 0; i < pieces.size(); ++i)
        if (digests[i] == hashes[pieces[i]]) good.push_back(pieces[i]);
    return good;
}

}  // namespace cohort
