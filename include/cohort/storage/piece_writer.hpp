// One piece on its way to the disk: its blocks come in any order and are hashed while they are still in the cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/hash_many.hpp>
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
        store(begin, data);
        hash_stored();
    }
    void write(std::uint32_t begin, byte_view data) { write(begin, std::span<const byte_view>(&data, 1)); }

    /// The same in two steps, so that two writers can take the second together: `data` stays valid until then.
    void store(std::uint32_t begin, std::span<const byte_view> data) {
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
            store_run(number, end, begin, data);
            number = end;
        }
    }
    void hash_stored() {
        for (byte_view next = take_unhashed(); !next.empty(); next = take_unhashed()) hash_.update(next);
    }
    /// hash_stored() of all of them, two side by side.
    static void hash_stored(std::span<piece_writer* const> writers);

    /// The digest of the piece. All blocks must have been written. Fails with errc::file_missing or
    /// errc::file_changed if a file was taken away meanwhile. Call it once.
    sha1_digest finish() {
        files_.check_in_place(files_.layout().offset(piece_), size_);
        return hash_.finish();
    }

private:
    /// Blocks [number, end), none of which we have, out of data that starts at `begin`.
    void store_run(std::uint32_t number, std::uint32_t end, std::uint32_t begin, std::span<const byte_view> data) {
        const std::uint32_t from = number * block_size;
        std::size_t skip = from - begin;
        std::size_t left = end_of(end) - from;
        const std::size_t had = fresh_.size();
        for (byte_view part : data) {
            const std::size_t skipped = std::min(skip, part.size());
            skip -= skipped;
            part = part.subspan(skipped, std::min(left, part.size() - skipped));
            left -= part.size();
            if (!part.empty()) fresh_.push_back(part);
        }
        files_.write(files_.layout().offset(piece_, from), std::span(fresh_).subspan(had));
        for (std::uint32_t i = number; i < end; ++i) have_.set(i);
        if (number == in_order_) {
            in_order_ = end;
        } else {
            fresh_.resize(had);
        }
    }

    /// Gives what the hash is to take next; nothing if the block that follows is not there. First what came in order,
    /// then what came early, read back.
    byte_view take_unhashed() {
        if (next_fresh_ < fresh_.size()) return fresh_[next_fresh_++];
        fresh_.clear();
        next_fresh_ = 0;
        constexpr std::uint32_t at_once = 16;
        std::uint32_t end = in_order_;
        while (end < have_.size() && end < in_order_ + at_once && have_.get(end)) ++end;
        if (end == in_order_) {
            read_back_ = byte_vector();
            return {};
        }
        read_back_.resize(end_of(end) - in_order_ * block_size);
        files_.read(files_.layout().offset(piece_, in_order_ * block_size), read_back_);
        in_order_ = end;
        return read_back_;
    }

    struct lane;

    /// Where the blocks before `number` end.
    std::uint32_t end_of(std::uint32_t number) const { return number == have_.size() ? size_ : number * block_size; }

    torrent_files& files_;
    piece_index piece_;
    std::uint32_t size_;
    bitfield have_;               // blocks on the disk
    std::uint32_t in_order_ = 0;  // blocks, from the first on, that the hash has seen or finds in fresh_
    sha1 hash_;
    std::vector<byte_view> fresh_;  // what the hash has not seen
    std::size_t next_fresh_ = 0;    // of these
    byte_vector read_back_;
};

/// Takes one writer after the other from those that lanes share.
struct piece_writer::lane {
    std::span<piece_writer* const>& left;
    piece_writer* writer = nullptr;
    byte_view bytes = {};

    sha1& hash() { return writer->hash_; }
    bool refill() {
        if (bytes.empty() && writer != nullptr) bytes = writer->take_unhashed();
        while (bytes.empty() && !left.empty()) {
            writer = left.front();
            left = left.subspan(1);
            bytes = writer->take_unhashed();
        }
        return !bytes.empty();
    }
};

inline void piece_writer::hash_stored(std::span<piece_writer* const> writers) {
    lane a{writers}, b{writers};
    hash_in_step(a, b);
}

/// The digest of each block of a piece as it is on the disk: by comparing those of a failed and of a good copy, the
/// peer who sent the bad block is found. Fails as torrent_files::read().
inline std::vector<sha1_digest> block_digests(torrent_files& files, piece_index piece) {
    constexpr std::uint32_t at_once = 16;
    const piece_layout& layout = files.layout();
    std::vector<sha1_digest> out(layout.blocks_in(piece));
    byte_vector buffer;
    std::vector<byte_view> blocks;
    for (std::uint32_t number = 0; number < out.size(); number += at_once) {
        const auto count = std::min<std::size_t>(at_once, out.size() - number);
        const std::uint32_t begin = number * block_size;
        buffer.resize(std::min<std::size_t>(count * block_size, layout.piece_size(piece) - begin));
        files.read(layout.offset(piece, begin), buffer);
        blocks.clear();
        for (byte_view left = buffer; !left.empty(); left = left.subspan(blocks.back().size()))
            blocks.push_back(left.first(std::min<std::size_t>(left.size(), block_size)));
        digest_many<sha1_digest>(blocks, std::span(out).subspan(number, count));
    }
    return out;
}

}  // namespace cohort
