// Finds out which pieces of a torrent are on the disk, by hashing what is there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/storage/torrent_files.hpp>

namespace cohort {

/// How many bytes are read at once, where a piece or several small ones have that many.
inline constexpr std::size_t verify_read_size = 1024 * 1024;

/// Pieces that make a job of about 16 MiB: short enough to be spread over lanes and to be cancelled between two.
inline piece_index verify_step(const piece_layout& layout) {
    constexpr std::uint32_t bytes = 16 * 1024 * 1024;
    return std::max<piece_index>(1, bytes / layout.piece_length());
}

/// Checks those of the pieces [first, last) that are set in `which`, and returns the ones whose data matches
/// hashes[piece], in ascending order. One job for a lane; needs one buffer of verify_read_size, or a little more.
/// What is missing or was never written costs next to nothing. Fails as torrent_files::read(), but not for files that
/// are missing or too short.
std::vector<piece_index> verify_range(torrent_files& files, std::span<const sha1_digest> hashes, piece_index first,
                                      piece_index last, const bitfield& which);

namespace detail {

/// Hashes pieces as they are on the disk, neighbours with one read.
class piece_hasher {
public:
    explicit piece_hasher(torrent_files& files) : files_(files), layout_(files.layout()) {}

    /// How many pieces to hash at once.
    piece_index run() const {
        return std::max<piece_index>(1, static_cast<piece_index>(verify_read_size / layout_.piece_length()));
    }

    /// The digests of the pieces [first, last), of which there are at most run(); nothing in place of one that is
    /// in a file that is missing or too short. Good until the next call.
    std::span<const std::optional<sha1_digest>> hash(piece_index first, piece_index last) {
        out_.clear();
        const std::uint64_t offset = layout_.offset(first);
        const std::uint64_t size = layout_.offset(last - 1) + layout_.piece_size(last - 1) - offset;
        if (files_.is_hole(offset, size)) {
            for (piece_index piece = first; piece < last; ++piece) out_.push_back(zeros(layout_.piece_size(piece)));
            return out_;
        }
        if (last - first > 1) {
            buffer_.resize(static_cast<std::size_t>(size));
            if (files_.try_read(offset, buffer_)) {
                for (piece_index piece = first; piece < last; ++piece) {
                    const auto at = static_cast<std::size_t>(layout_.offset(piece) - offset);
                    hash_.update(byte_view(buffer_).subspan(at, layout_.piece_size(piece)));
                    out_.push_back(hash_.finish());
                }
                return out_;
            }
        }
        for (piece_index piece = first; piece < last; ++piece) out_.push_back(hash_one(piece));
        return out_;
    }

private:
    std::optional<sha1_digest> hash_one(piece_index piece) {
        hash_.reset();
        for (std::uint32_t done = 0, size = layout_.piece_size(piece); done < size;) {
            buffer_.resize(std::min<std::size_t>(verify_read_size, size - done));
            if (!files_.try_read(layout_.offset(piece, done), buffer_)) return std::nullopt;
            hash_.update(buffer_);
            done += static_cast<std::uint32_t>(buffer_.size());
        }
        return hash_.finish();
    }

    /// The digest of `size` zeros: a piece that was never written may still be one of nothing but zeros.
    const sha1_digest& zeros(std::uint32_t size) {
        if (size != zeros_size_) {
            buffer_.assign(std::min<std::size_t>(verify_read_size, size), 0);
            hash_.reset();
            for (std::uint32_t left = size; left > 0;) {
                const byte_view part = byte_view(buffer_).first(std::min<std::size_t>(buffer_.size(), left));
                hash_.update(part);
                left -= static_cast<std::uint32_t>(part.size());
            }
            zeros_ = hash_.finish();
            zeros_size_ = size;
        }
        return zeros_;
    }

    torrent_files& files_;
    const piece_layout& layout_;
    std::vector<std::optional<sha1_digest>> out_;
    byte_vector buffer_;
    sha1 hash_;
    std::uint32_t zeros_size_ = 0;
    sha1_digest zeros_;
};

}  // namespace detail

inline std::vector<piece_index> verify_range(torrent_files& files, std::span<const sha1_digest> hashes,
                                             piece_index first, piece_index last, const bitfield& which) {
    const piece_layout& layout = files.layout();
    if (hashes.size() != layout.piece_count() || which.size() != layout.piece_count() || last > layout.piece_count())
        raise(errc::index_out_of_range);
    std::vector<piece_index> good;
    detail::piece_hasher hasher(files);
    for (piece_index piece = first; piece < last;) {
        if (!which.get(piece)) {
            ++piece;
            continue;
        }
        piece_index end = piece + 1;
        while (end < last && end - piece < hasher.run() && which.get(end)) ++end;
        for (const std::optional<sha1_digest>& digest : hasher.hash(piece, end)) {
            if (digest == hashes[piece]) good.push_back(piece);
            ++piece;
        }
    }
    return good;
}

}  // namespace cohort
