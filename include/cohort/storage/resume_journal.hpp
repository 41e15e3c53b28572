// Remembers which pieces were verified, so that a restart, even after kill -9 or a loss of power, fetches none of them
// again.
//
// The file is a snapshot, written whole and put in place by a rename, and after it records of 16 bytes that are only
// appended. Everything is covered by CRC-32: a torn or damaged record ends the reading, and because it or those behind
// it may have spoken of any piece, all pieces not recorded before it are checked; a damaged or foreign snapshot means
// that every piece is checked again. The journal holds no content and names no file; and since torrent_files gives its
// name to no torrent's file, no stranger can put one there.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/storage/crc32.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/journal_name.hpp>
#include <cohort/storage/torrent_files.hpp>

namespace cohort {

/// What an earlier run left. No piece is in both.
struct resume_state {
    bitfield verified;  ///< pieces to be trusted
    bitfield recheck;   ///< pieces that may be there: to be hashed before they are fetched
};

/// The journal of one torrent, `<directory>/.<info-hash>.cohort`. Thread-safe.
///
/// What is trusted when it is opened:
///  - after close_clean(): every piece, but those of files whose stamps differ now;
///  - in the same boot (the process was killed, but the system's cache lived on): every piece recorded;
///  - after a loss of power: pieces recorded before the last checkpoint() began. All others are to be rechecked: the
///    system may have written a piece and not its record;
///  - never pieces of a file that is missing or has another size, or, without a clean stop, of one that was modified
///    more than ten seconds after the journal was: somebody else may have been at it. They are to be rechecked.
class resume_journal {
public:
    /// Reads what is there and starts a new snapshot from it. To be called before torrent_files::create(), which
    /// would hide that files were missing. The directory must exist. Without a readable journal of this torrent all
    /// pieces are to be rechecked (which is quick where there are no files). Fails only as the disk does.
    resume_journal(disk& d, const std::string& directory, const info_hash& hash, torrent_files& files);

    /// What was found when the journal was opened.
    const resume_state& found() const { return found_; }

    /// Records pieces whose data was verified and written; known ones cost nothing. After a failure (errc::disk_full)
    /// none of these count as recorded, and the journal is whole: it can be tried again.
    void append_verified(std::span<const piece_index> pieces);
    void append_verified(piece_index piece) { append_verified(std::span<const piece_index>(&piece, 1)); }

    /// Records nothing but the time, so that files that were just written to are not younger than the journal: a large
    /// piece may take minutes, and until it is verified nothing else is recorded. To be called every few seconds while
    /// blocks come in. Waits for no sync.
    void append_sign_of_life();

    /// Records that the recheck is over: what it found was given to append_verified(), the rest is not there.
    void append_rechecked();

    /// Brings the torrent's files to safety, then records that what was verified before the call survives a loss of
    /// power. What came since the last call may have to be fetched again after one, so it is to be called now and then
    /// while data comes in; does nothing when nothing was written. If the files' sync fails, the pieces not yet safe
    /// are rechecked by the next run, and so are those recorded from then on.
    void checkpoint();

    /// For a stop in good order, when nothing is written any more: syncs the files and leaves a snapshot with the
    /// stamps of all of them. A sync that fails means what it does in checkpoint().
    void close_clean();

    /// For a stop in good order after which nothing is left to resume: syncs the files and removes the journal. A sync
    /// that fails means what it does in checkpoint(), and the journal stays. Nothing may be called afterwards.
    void remove();

private:
    enum class record : std::uint32_t {
        verified = 1,   // value: the piece
        synced = 2,     // value: so many of the verified pieces that were not safe, the oldest first, now are
        doubtful = 3,   // a sync failed: pieces not safe so far may be lost
        lost = 4,       // value: a piece that is not right after all; only older versions wrote it
        rechecked = 5,  // no piece is left to recheck
    };
    static constexpr std::array<std::uint8_t, 8> magic{'c', 'o', 'h', 'o', 'r', 't', 'J', '1'};
    // Magic, info-hash, digest of the boot id, numbers of pieces and of stamps.
    static constexpr std::size_t header_size = magic.size() + info_hash::size + sha1_digest::size + 4 + 4;
    static constexpr std::size_t stamp_size = 24;   // size, time, inode; a size of all ones where there was no file
    static constexpr std::size_t record_size = 16;  // kind, value, CRC-32 of these and of the record's number
    static constexpr std::int64_t late_ns = 10'000'000'000;

    struct loaded {
        bitfield safe, verified, recheck;  // safe is part of verified
        bool same_boot = false;
        std::vector<std::optional<file_stamp>> stamps;  // of all files after a clean stop, otherwise none
    };

    std::optional<loaded> load(disk_file& file) const;
    void load_records(disk_file& file, std::uint64_t offset, loaded& state) const;
    void distrust_changed_files(loaded& state, std::int64_t written_ns) const;
    void write_snapshot(const bitfield& safe, std::span<const std::optional<file_stamp>> stamps);
    void append(std::span<const std::uint8_t> records);
    void sync_failed();
    void sync_files();
    static std::array<std::uint8_t, record_size> encode(record kind, std::uint64_t value, std::uint64_t number);

    disk& disk_;
    disk_path path_;
    info_hash hash_;
    torrent_files& files_;
    std::string boot_id_;
    resume_state found_;

    std::mutex checkpoint_mutex_;  // one checkpoint at a time; taken before the other
    std::mutex mutex_;             // guards what follows
    std::shared_ptr<disk_file> file_;
    std::uint64_t end_ = 0;      // where the next record goes
    std::uint64_t records_ = 0;  // since the snapshot
    std::uint64_t unsafe_ = 0;   // verified pieces that no checkpoint has covered yet; none once a sync has failed
    bool lost_ = false;          // a sync failed: whatever is not safe by now is never again to be trusted by a record
    bitfield verified_, recheck_;
};

inline resume_journal::resume_journal(disk& d, const std::string& directory, const info_hash& hash,
                                      torrent_files& files)
    : disk_(d), path_{directory, journal_name(hash)}, hash_(hash), files_(files), boot_id_(d.boot_id()) {
    const piece_layout& layout = files_.layout();
    const piece_index pieces = layout.piece_count();
    std::optional<loaded> state;
    try {
        const std::unique_ptr<disk_file> old = disk_.open(path_, open_mode::read);
        state = load(*old);
        if (state) distrust_changed_files(*state, old->stamp().modified_ns);
    } catch (const std::system_error& error) {
        // Without a journal, or with something else in its place, we begin anew. But a disk that fails must be heard.
        if (error.code() != errc::file_missing && error.code() != errc::path_unsafe) throw;
    }
    if (!state) {
        state.emplace();
        state->safe = state->verified = bitfield(pieces);
        state->recheck = bitfield(pieces, true);
    }
    verified_ = std::move(state->verified);
    recheck_ = std::move(state->recheck);
    found_ = {verified_, recheck_};
    for (piece_index piece = 0; piece < pieces; ++piece) {
        if (!verified_.get(piece) || state->safe.get(piece)) continue;
        ++unsafe_;
        files_.mark_written(layout.offset(piece), layout.piece_size(piece));
    }
    write_snapshot(state->safe, {});
}

inline std::optional<resume_journal::loaded> resume_journal::load(disk_file& file) const {
    const piece_index pieces = files_.layout().piece_count();
    byte_vector head(header_size);
    if (file.read_at(0, head) != head.size()) return std::nullopt;
    auto is = [from = head.data()](byte_view expected) mutable {
        const bool same = std::equal(expected.begin(), expected.end(), from);
        from += expected.size();
        return same;
    };
    if (!is(magic) || !is(hash_.view())) return std::nullopt;
    loaded state;
    state.same_boot = is(sha1_of(as_bytes(boot_id_)).view()) && !boot_id_.empty();
    const std::uint8_t* const counts = head.data() + head.size() - 8;
    const auto stamps = load_be<std::uint32_t>(counts + 4);
    if (load_be<std::uint32_t>(counts) != pieces || (stamps != 0 && stamps != files_.files().size()))
        return std::nullopt;

    const std::size_t bits_size = bitfield(pieces).bytes().size();
    byte_vector rest(bits_size * 3 + std::size_t{stamps} * stamp_size + 4);
    if (file.read_at(head.size(), rest) != rest.size()) return std::nullopt;
    const byte_view body = byte_view(rest).first(rest.size() - 4);
    if (crc32(body, crc32(head)) != load_be<std::uint32_t>(rest.data() + body.size())) return std::nullopt;
    std::size_t at = 0;
    for (bitfield* const set : {&state.safe, &state.verified, &state.recheck}) {
        auto bits = bitfield::from_wire(body.subspan(at, bits_size), pieces);
        if (!bits) return std::nullopt;
        *set = std::move(*bits);
        at += bits_size;
    }
    for (; at < body.size(); at += stamp_size) {
        const std::uint8_t* const from = body.data() + at;
        const file_stamp stamp{load_be<std::uint64_t>(from),
                               static_cast<std::int64_t>(load_be<std::uint64_t>(from + 8)),
                               load_be<std::uint64_t>(from + 16)};
        state.stamps.push_back(stamp.size == ~std::uint64_t{0} ? std::nullopt : std::optional(stamp));
    }
    load_records(file, head.size() + rest.size(), state);
    return state;
}

inline void resume_journal::load_records(disk_file& file, std::uint64_t offset, loaded& state) const {
    const piece_index pieces = state.verified.size();
    const piece_index none = pieces;
    // Verified pieces that are not safe, the oldest first; what stands before `settled` is dealt with.
    std::vector<piece_index> pending;
    std::size_t settled = 0;
    for (piece_index piece = 0; piece < pieces; ++piece)
        if (state.verified.get(piece) && !state.safe.get(piece)) pending.push_back(piece);
    const auto doubt = [&] {
        for (; settled < pending.size(); ++settled) {
            if (pending[settled] == none || !state.verified.reset(pending[settled])) continue;
            state.recheck.set(pending[settled]);
        }
    };
    const auto apply = [&](record kind, std::uint64_t value) {
        const auto piece = static_cast<piece_index>(value);
        switch (kind) {
        case record::verified:
            if (value >= pieces) return false;
            state.recheck.reset(piece);
            if (state.verified.set(piece)) pending.push_back(piece);
            return true;
        case record::synced:
            if (value > pending.size() - settled) return false;
            for (; value > 0; --value, ++settled)
                if (pending[settled] != none) state.safe.set(pending[settled]);
            return true;
        case record::doubtful: doubt(); return true;
        case record::lost:
            if (value >= pieces) return false;
            state.verified.reset(piece);
            state.safe.reset(piece);
            state.recheck.set(piece);
            std::replace(pending.begin() + static_cast<std::ptrdiff_t>(settled), pending.end(), piece, none);
            return true;
        case record::rechecked: state.recheck = bitfield(pieces); return true;
        }
        return false;
    };

    byte_vector buffer(4096 * record_size);
    std::uint64_t number = 0;
    bool whole = true;
    while (whole) {
        const std::size_t size = file.read_at(offset, buffer);
        offset += size;
        for (std::size_t i = 0; whole && i + record_size <= size; i += record_size, ++number) {
            const byte_view bytes = byte_view(buffer).subspan(i, record_size);
            const auto kind = static_cast<record>(load_be<std::uint32_t>(bytes.data()));
            const auto value = load_be<std::uint64_t>(bytes.data() + 4);
            const auto expected = encode(kind, value, number);
            whole = std::equal(bytes.begin(), bytes.end(), expected.begin()) && apply(kind, value);
        }
        whole = whole && size % record_size == 0;
        if (size < buffer.size()) break;
    }
    // Whoever appends to a cleanly closed journal opens the files again for writing.
    if (number > 0) state.stamps.clear();
    const bool power_was_lost = !state.same_boot && state.stamps.empty();
    if (power_was_lost) doubt();
    if (whole && !power_was_lost) return;
    // Records may be missing, with the power whole ones too, and they may have spoken of any piece.
    state.recheck = bitfield(pieces, true);
    for (piece_index piece = 0; piece < pieces; ++piece)
        if (state.verified.get(piece)) state.recheck.reset(piece);
}

inline void resume_journal::distrust_changed_files(loaded& state, std::int64_t written_ns) const {
    const piece_layout& layout = files_.layout();
    const std::vector<std::optional<file_stamp>> now = files_.stamps();
    for (std::size_t i = 0; i < now.size(); ++i) {
        const file_entry& file = files_.files()[i];
        if (file.pad || file.length == 0) continue;
        const bool same =
            now[i] && now[i]->size == file.length &&
            (state.stamps.empty() ? now[i]->modified_ns - late_ns <= written_ns : now[i] == state.stamps[i]);
        if (same) continue;
        const auto first = static_cast<piece_index>(file.offset / layout.piece_length());
        const auto last = static_cast<piece_index>((file.offset + file.length - 1) / layout.piece_length());
        for (piece_index piece = first; piece <= last; ++piece) {
            state.verified.reset(piece);
            state.safe.reset(piece);
            state.recheck.set(piece);
        }
    }
}

inline void resume_journal::write_snapshot(const bitfield& safe, std::span<const std::optional<file_stamp>> stamps) {
    byte_vector out(magic.begin(), magic.end());
    const auto put = [&out](byte_view bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
    put(hash_.view());
    put(sha1_of(as_bytes(boot_id_)).view());
    append_be(out, verified_.size());
    append_be(out, static_cast<std::uint32_t>(stamps.size()));
    put(safe.bytes());
    put(verified_.bytes());
    put(recheck_.bytes());
    for (const std::optional<file_stamp>& stamp : stamps) {
        append_be(out, stamp ? stamp->size : ~std::uint64_t{0});
        append_be(out, stamp ? static_cast<std::uint64_t>(stamp->modified_ns) : std::uint64_t{0});
        append_be(out, stamp ? stamp->inode : std::uint64_t{0});
    }
    append_be(out, crc32(out));

    const disk_path fresh{path_.root, path_.below + ".new"};
    disk_.remove(fresh);
    std::shared_ptr<disk_file> file = disk_.open(fresh, open_mode::create);
    file->write_at(0, out);
    file->sync();
    disk_.rename(fresh, path_);
    disk_.sync_directory({path_.root, {}});
    file_ = std::move(file);
    end_ = out.size();
    records_ = 0;
}

inline std::array<std::uint8_t, resume_journal::record_size> resume_journal::encode(record kind, std::uint64_t value,
                                                                                    std::uint64_t number) {
    std::array<std::uint8_t, record_size> out;
    store_be(out.data(), static_cast<std::uint32_t>(kind));
    store_be(out.data() + 4, value);
    std::array<std::uint8_t, 8> salt;
    store_be(salt.data(), number);
    store_be(out.data() + 12, crc32(byte_view(out).first(12), crc32(salt)));
    return out;
}

/// The caller has locked.
inline void resume_journal::append(std::span<const std::uint8_t> records) {
    try {
        file_->write_at(end_, records);
    } catch (...) {
        // Whole records may have got through: they are true, but would stand behind the next, shorter append.
        try {
            file_->resize(end_);
        } catch (const std::system_error&) {
            // The disk is in trouble, and the first failure is the one to tell.
        }
        throw;
    }
    end_ += records.size();
    records_ += records.size() / record_size;
}

inline void resume_journal::append_verified(std::span<const piece_index> pieces) {
    const std::lock_guard lock(mutex_);
    // What a recheck found may be in the system's cache alone, and nothing of this run has written it.
    for (const piece_index piece : pieces)
        if (recheck_.get(piece)) files_.mark_written(files_.layout().offset(piece), files_.layout().piece_size(piece));
    byte_vector out;
    std::vector<piece_index> fresh;
    out.reserve((pieces.size() + 1) * record_size);
    fresh.reserve(pieces.size());
    for (const piece_index piece : pieces) {
        if (!verified_.set(piece)) continue;
        const auto bytes = encode(record::verified, piece, records_ + fresh.size());
        out.insert(out.end(), bytes.begin(), bytes.end());
        fresh.push_back(piece);
    }
    if (fresh.empty()) return;
    if (lost_) {
        // The system tells of a loss only once, and these may be part of what it lost.
        const auto bytes = encode(record::doubtful, 0, records_ + fresh.size());
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
    try {
        append(out);
    } catch (...) {
        for (const piece_index piece : fresh) verified_.reset(piece);
        throw;
    }
    for (const piece_index piece : fresh) recheck_.reset(piece);
    if (!lost_) unsafe_ += fresh.size();
}

inline void resume_journal::append_sign_of_life() {
    const std::lock_guard lock(mutex_);
    append(encode(record::synced, 0, records_));
}

inline void resume_journal::append_rechecked() {
    const std::lock_guard lock(mutex_);
    if (recheck_.none() || lost_) return;  // what is in doubt has still to be checked
    append(encode(record::rechecked, 0, records_));
    recheck_ = bitfield(recheck_.size());
}

/// The caller has locked, and goes on to tell of the failure.
inline void resume_journal::sync_failed() {
    lost_ = true;
    unsafe_ = 0;
    try {
        append(encode(record::doubtful, 0, records_));
    } catch (...) {
        caught_error();
        // Without a journal everything is rechecked, and to remove it takes no space.
        try {
            disk_.remove(path_);
        } catch (...) {
            caught_error();  // As in append().
        }
    }
}

/// The caller has locked, and nothing is written meanwhile.
inline void resume_journal::sync_files() {
    try {
        files_.sync();
    } catch (...) {
        sync_failed();
        throw;
    }
}

inline void resume_journal::checkpoint() {
    const std::lock_guard one(checkpoint_mutex_);
    std::unique_lock lock(mutex_);
    const std::uint64_t covered = unsafe_;
    if (covered == 0 && !files_.has_unsynced()) return;
    lock.unlock();
    try {
        files_.sync();
    } catch (...) {
        lock.lock();
        sync_failed();
        throw;
    }
    lock.lock();
    append(encode(record::synced, covered, records_));
    unsafe_ -= covered;
    const std::shared_ptr<disk_file> file = file_;
    lock.unlock();
    file->sync();
}

inline void resume_journal::close_clean() {
    const std::lock_guard one(checkpoint_mutex_);
    const std::lock_guard lock(mutex_);
    sync_files();
    const std::vector<std::optional<file_stamp>> stamps = files_.stamps();
    write_snapshot(verified_, stamps);
    unsafe_ = 0;
}

inline void resume_journal::remove() {
    const std::lock_guard one(checkpoint_mutex_);
    const std::lock_guard lock(mutex_);
    sync_files();
    file_.reset();
    disk_.remove(path_);
}

}  // namespace cohort
