// One piece on its way to the disk: its blocks come in any order and are hashed while they are still in the cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/storage/torrent_files.hpp>

namespace cohort {

/// Writes the blocks of one piece and computes its SHA-1. Blocks that come in order are hashed as they come; one that
/// comes early is read back when those before it are there. To be used from one lane at a time.
/// Fails as torrent_files does; the piece is then to be given up or begun anew with another writer.
class piece_writer {
public:
    piece_writer(torrent_files& files, piece_index piece)
        : files_(files),
          piece_(piece),
          size_(files.layout().piece_size(piece)),
          have_(files.layout().blocks_in(piece)) {}

    piece_index piece() const { return piece_; }
    bool complete() const { return have_.all(); }

    /// `data`, in its order, is the content from `begin` on: whole blocks, one or more (the last of a piece may be
    /// short); otherwise errc::index_out_of_range. Blocks that are there already are left alone: the first to come
    /// is what is hashed, so it must be what stays on the disk.
    void write(std::uint32_t begin, std::span<const byte_view> data) {
        std::uint64_t length = 0;
        for (const byte_view part : data) length += part.size();
        if (begin % block_size != 0 || length == 0 || begin > size_ || length > size_ - begin ||
            ((begin + length) % block_size != 0 && begin + length != size_))
            raise(errc::index_out_of_range);
        const std::uint32_t first = begin / block_size;
        const std::uint32_t last = static_cast<std::uint32_t>((begin + length - 1) / block_size);
        for (std::uint32_t number = first; number <= last;) {
            if (have_.get(number)) {
                ++number;
                continue;
            }
            std::uint32_t end = number + 1;
            while (end <= last && !have_.get(end)) ++end;
            write_run(number, end, begin, data);
            number = end;
        }
        catch_up();
    }
    void write(std::uint32_t begin, byte_view data) { write(begin, std::span<const byte_view>(&data, 1)); }

    /// The digest of the piece. All blocks must have been written. Fails with errc::file_missing or
    /// errc::file_changed if a file was taken away meanwhile. Call it once.
    sha1_digest finish() {
        files_.check_in_place(files_.layout().offset(piece_), size_);
        return hash_.finish();
    }

private:
    /// Blocks [number, end), none of which we have, out of data that starts at `begin`.
    void write_run(std::uint32_t number, std::uint32_t end, std::uint32_t begin, std::span<const byte_view> data) {
        const std::uint32_t from = number * block_size;
        std::size_t skip = from - begin;
        std::size_t left = end_of(end) - from;
        parts_.clear();
        for (byte_view part : data) {
            const std::size_t skipped = std::min(skip, part.size());
            skip -= skipped;
            part = part.subspan(skipped, std::min(left, part.size() - skipped));
            left -= part.size();
            if (!part.empty()) parts_.push_back(part);
        }
        files_.write(files_.layout().offset(piece_, from), parts_);
        for (std::uint32_t i = number; i < end; ++i) have_.set(i);
        if (number != hashed_) return;
        for (const byte_view part : parts_) hash_.update(part);
        hashed_ = end;
    }

    /// Hashes the blocks that came early, up to the next one that is missing.
    void catch_up() {
        byte_vector buffer;
        while (hashed_ < have_.size() && have_.get(hashed_)) {
            constexpr std::uint32_t at_once = 16;
            std::uint32_t end = hashed_ + 1;
            while (end < have_.size() && end < hashed_ + at_once && have_.get(end)) ++end;
            buffer.resize(end_of(end) - hashed_ * block_size);
            files_.read(files_.layout().offset(piece_, hashed_ * block_size), buffer);
            hash_.update(buffer);
            hashed_ = end;
        }
    }

    /// Where the blocks before `number` end.
    std::uint32_t end_of(std::uint32_t number) const { return number == have_.size() ? size_ : number * block_size; }

    torrent_files& files_;
    piece_index piece_;
    std::uint32_t size_;
    bitfield have_;             // blocks on the disk
    std::uint32_t hashed_ = 0;  // blocks, from the first on, that the hash has seen
    sha1 hash_;
    std::vector<byte_view> parts_;
};

/// The digest of each block of a piece as it is on the disk: by comparing those of a failed and of a good copy, the
/// peer who sent the bad block is found. Fails as torrent_files::read().
inline std::vector<sha1_digest> block_digests(torrent_files& files, piece_index piece) {
    const piece_layout& layout = files.layout();
    std::vector<sha1_digest> out(layout.blocks_in(piece));
    byte_vector buffer(std::min(block_size, layout.piece_size(piece)));
    sha1 hash;
    for (std::uint32_t number = 0; number < out.size(); ++number) {
        const block range = layout.block_at(piece, number);
        const byte_span part = byte_span(buffer).first(range.length);
        files.read(layout.offset(piece, range.begin), part);
        hash.update(part);
        out[number] = hash.finish();
    }
    return out;
}

}  // namespace cohort
