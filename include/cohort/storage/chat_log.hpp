// A log that only grows: records sealed with a key of the owner's, each bound to its number and to the record before,
// so that nothing in the middle can be altered, left out or moved unseen.
//
//   0     "cohortL1", a random salt, a MAC of both
//   512   how far the log was known to be safe on disk: records, bytes, the last tag, a MAC; and again at 1024, written
//         in turns, so that one of the two is always whole
//   1536  records: length (4), nonce (12), ciphertext, tag (16)
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/file.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/error.hpp>
#include <cohort/protocol/noise_crypto.hpp>
#include <cohort/storage/disk.hpp>

namespace cohort {

/// One log, `<directory>/<name>`. Every call may wait for the disk, and only one may run at a time.
///
/// A record counts once append() has returned; then it survives kill -9 and a loss of power. What a crash left half
/// written at the end is dropped when the log is opened. What was safe and is not as it was is errc::log_damaged.
class chat_log {
public:
    /// Called for each record when the log is opened. The payload lives until it returns.
    using replay = std::function<void(std::uint64_t index, byte_view payload)>;

    /// Bytes of one record at most.
    static constexpr std::size_t max_record = 256 * 1024;

    /// Opens the log, or begins one where there is no file; the directory must exist. Fails with errc::log_damaged,
    /// leaving the file as it is, if it was altered or cut, or belongs to another key; with
    /// std::errc::device_or_resource_busy if somebody has it open, in this process or another; and as the disk does.
    chat_log(disk& d, const std::string& directory, const std::string& name, const key32& key, const replay& each,
             secret_source secrets = secret_random);

    /// Records in the log.
    std::uint64_t size() const { return offsets_.size() - 1; }

    /// Adds the records and brings them to safety with one sync: all of them, or none if it throws. Fails as the disk
    /// does, and may be tried again (errc::disk_full: when there is room); with errc::chat_too_long above max_record.
    void append(std::span<const byte_view> records);
    void append(byte_view record) { append(std::span<const byte_view>(&record, 1)); }

    /// The payload of one record; index < size(). Fails with errc::log_damaged if the file was altered since.
    byte_vector read(std::uint64_t index);

    /// Bytes of unfinished writing that were dropped when the log was opened.
    std::uint64_t dropped() const { return dropped_; }

private:
    static constexpr std::string_view magic = "cohortL1";
    static constexpr std::size_t mac_size = 32;
    static constexpr std::size_t header_size = 8 + 32 + mac_size;
    static constexpr std::uint64_t mark_at = 512;    // the first of the two,
    static constexpr std::uint64_t mark_step = 512;  // each in a sector of its own
    static constexpr std::uint64_t data_at = 1536;
    static constexpr std::size_t tag_size = aead::tag_size;
    static constexpr std::size_t prefix_size = 4 + 12;  // length and nonce
    static constexpr std::size_t overhead = prefix_size + tag_size;

    using tag = std::array<std::uint8_t, tag_size>;

    /// So much was safe when this was written.
    struct mark {
        std::uint64_t records = 0;
        std::uint64_t end = data_at;
        tag last{};
    };
    static constexpr std::size_t mark_size = 8 + 8 + tag_size + mac_size;

    void lock();
    void begin(const key32& key);
    bool read_header(const key32& key);
    void derive_keys(byte_view salt, const key32& key);
    byte_vector encode(const mark& m) const;
    std::optional<mark> read_mark(std::uint64_t at);
    void write_mark();
    void scan(const mark& safe, const replay& each);
    /// The payload goes to `out`.
    bool open_record(std::uint64_t index, const tag& before, byte_view record, byte_vector& out);
    static std::array<std::uint8_t, 8 + tag_size + 4> bound_data(std::uint64_t index, const tag& before,
                                                                 std::uint32_t length);
    [[noreturn]] void damaged(const std::string& how) const { raise(errc::log_damaged, name_ + ": " + how); }

    disk& disk_;
    disk_path path_;
    std::string name_;       // for messages
    secret_source secrets_;  // of salts and nonces
    std::unique_ptr<disk_file> file_;
    std::optional<aead> cipher_;
    secret32 mac_key_;
    tag first_{};                                  // what the first record calls the tag before it
    tag last_{};                                   // of the last record
    std::vector<std::uint64_t> offsets_{data_at};  // of each record, and the end
    std::uint64_t next_mark_ = mark_at;
    std::uint64_t dropped_ = 0;
};

inline chat_log::chat_log(disk& d, const std::string& directory, const std::string& name, const key32& key,
                          const replay& each, secret_source secrets)
    : disk_(d), path_{directory, name}, name_(path_.text()), secrets_(std::move(secrets)) {
    try {
        file_ = disk_.open(path_, open_mode::read_write);
        lock();
    } catch (const std::system_error& error) {
        if (error.code() != errc::file_missing) throw;
        begin(key);
    }
    if (file_->size() < data_at) damaged("it was cut, or is no log");
    if (!read_header(key)) damaged("not a log of this identity");
    const auto first = read_mark(mark_at);
    const auto second = read_mark(mark_at + mark_step);
    if (!first && !second) damaged("its marks are destroyed");
    const bool first_is_newer = first && (!second || first->records > second->records);
    next_mark_ = first_is_newer ? mark_at + mark_step : mark_at;
    scan(first_is_newer ? *first : *second, each);
    // Who began it, just now or before being killed, has not brought its name to safety.
    if (size() == 0) disk_.sync_directory({path_.root, {}});
}

/// Where the disk has files of the system, one open log keeps all others away until it is closed.
inline void chat_log::lock() {
    const int handle = file_->native_handle();
    if (handle < 0) return;
    int result;
    do result = ::flock(handle, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result == 0) return;
    if (errno != EWOULDBLOCK) raise_disk_error(errno, name_);
    raise(std::make_error_code(std::errc::device_or_resource_busy), name_ + " is open in another program");
}

inline void chat_log::derive_keys(byte_view salt, const key32& key) {
    std::array<std::uint8_t, 64> keys;
    hkdf_sha256(salt, key, as_bytes("cohort chat log"), keys);
    key32 cipher_key;
    std::copy_n(keys.begin(), 32, cipher_key.begin());
    std::copy_n(keys.begin() + 32, 32, mac_key_.bytes.begin());
    cipher_.emplace(cipher_key);
    wipe(cipher_key);
    wipe(keys);
}

/// The file gets its name when it is whole: so one that is shorter was cut. Under the other name it is locked already,
/// and stays so.
inline void chat_log::begin(const key32& key) {
    const disk_path fresh{path_.root, path_.below + ".new"};
    file_ = disk_.open(fresh, open_mode::create);
    lock();
    std::array<std::uint8_t, 32> salt;
    secrets_(salt);
    derive_keys(salt, key);
    byte_vector all(magic.begin(), magic.end());
    all.insert(all.end(), salt.begin(), salt.end());
    const secret32 mac = hmac_sha256(mac_key_.bytes, all);
    all.insert(all.end(), mac.bytes.begin(), mac.bytes.end());
    tag none;
    std::copy_n(mac.bytes.begin(), tag_size, none.begin());
    const byte_vector nothing = encode({0, data_at, none});
    for (const std::uint64_t at : {mark_at, mark_at + mark_step}) {
        all.resize(at);
        all.insert(all.end(), nothing.begin(), nothing.end());
    }
    all.resize(data_at);
    try {
        // Another program that begins at the same time may have been quicker.
        if (disk_.stat(path_)) raise(std::make_error_code(std::errc::device_or_resource_busy), name_);
        file_->resize(0);
        file_->write_at(0, all);
        file_->sync();
        disk_.rename(fresh, path_);
    } catch (...) {
        try {
            disk_.remove(fresh);
        } catch (const std::system_error&) {
            // The first failure is the one to tell; the next start writes over it.
        }
        throw;
    }
}

inline bool chat_log::read_header(const key32& key) {
    std::array<std::uint8_t, header_size> head;
    if (file_->read_at(0, head) != head.size()) return false;
    const byte_view salt = byte_view(head).subspan(magic.size(), 32);
    if (as_text(byte_view(head).first(magic.size())) != magic) return false;
    derive_keys(salt, key);
    const secret32 mac = hmac_sha256(mac_key_.bytes, byte_view(head).first(header_size - mac_size));
    if (!equal_secrets(mac.bytes, byte_view(head).last(mac_size))) return false;
    std::copy_n(mac.bytes.begin(), tag_size, first_.begin());
    last_ = first_;
    return true;
}

inline byte_vector chat_log::encode(const mark& m) const {
    byte_vector out;
    append_be(out, m.records);
    append_be(out, m.end);
    out.insert(out.end(), m.last.begin(), m.last.end());
    const secret32 mac = hmac_sha256(mac_key_.bytes, out);
    out.insert(out.end(), mac.bytes.begin(), mac.bytes.end());
    return out;
}

inline std::optional<chat_log::mark> chat_log::read_mark(std::uint64_t at) {
    std::array<std::uint8_t, mark_size> in;
    if (file_->read_at(at, in) != in.size()) return std::nullopt;
    mark out{load_be<std::uint64_t>(in.data()), load_be<std::uint64_t>(in.data() + 8), {}};
    std::copy_n(in.begin() + 16, tag_size, out.last.begin());
    if (!equal_secrets(encode(out), in)) return std::nullopt;
    return out;
}

/// What is not noted stays safe all the same, only less of a later damage is told from an unfinished write.
inline void chat_log::write_mark() {
    try {
        file_->write_at(next_mark_, encode({size(), offsets_.back(), last_}));
        next_mark_ = next_mark_ == mark_at ? mark_at + mark_step : mark_at;
    } catch (const std::system_error&) {
    }
}

inline std::array<std::uint8_t, 8 + chat_log::tag_size + 4> chat_log::bound_data(std::uint64_t index, const tag& before,
                                                                                 std::uint32_t length) {
    std::array<std::uint8_t, 8 + tag_size + 4> out;
    store_be(out.data(), index);
    std::copy(before.begin(), before.end(), out.begin() + 8);
    store_be(out.data() + 8 + tag_size, length);
    return out;
}

inline bool chat_log::open_record(std::uint64_t index, const tag& before, byte_view record, byte_vector& out) {
    nonce12 nonce;
    std::copy_n(record.begin() + 4, nonce.size(), nonce.begin());
    const byte_view sealed = record.subspan(prefix_size);
    const auto length = static_cast<std::uint32_t>(sealed.size() - tag_size);
    out.resize(length);
    return cipher_->open(nonce, bound_data(index, before, length), sealed, out);
}

inline void chat_log::scan(const mark& safe, const replay& each) {
    const std::uint64_t end = file_->size();
    byte_vector buffer(std::size_t{1} << 20);
    static_assert((1 << 20) > max_record + overhead);
    std::uint64_t buffer_at = 0;
    std::size_t filled = 0;
    byte_vector payload;
    std::uint64_t at = data_at;
    // A view of the record at `at`; empty if none can be there.
    const auto next = [&]() -> byte_view {
        for (int tries = 0; tries < 2; ++tries) {
            const std::size_t offset = static_cast<std::size_t>(at - buffer_at);
            const byte_view left =
                at - buffer_at < filled ? byte_view(buffer).first(filled).subspan(offset) : byte_view();
            if (left.size() >= prefix_size) {
                const auto length = load_be<std::uint32_t>(left.data());
                if (length > max_record || length + overhead > end - at) return {};
                if (left.size() >= length + overhead) return left.first(length + overhead);
            }
            if (end - at < overhead) return {};
            buffer_at = at;
            filled = file_->read_at(at, buffer);
        }
        return {};
    };
    for (;;) {
        if (at == safe.end && (size() != safe.records || last_ != safe.last)) damaged("it is not the one it was");
        const byte_view record = next();
        if (record.empty() || !open_record(size(), last_, record, payload)) break;
        if (each) each(size(), payload);
        std::copy_n(record.end() - tag_size, tag_size, last_.begin());
        at += record.size();
        offsets_.push_back(at);
    }
    if (size() < safe.records || at < safe.end)
        damaged("record " + std::to_string(size()) + " was altered, or the log was cut there");
    dropped_ = end - at;
    if (dropped_ > 0) {
        try {
            file_->resize(at);
        } catch (const std::system_error&) {
            // The next append() writes over it.
        }
    }
    if (size() == safe.records) return;
    // Somebody was killed between writing these and the end of the sync: so far the system's cache alone may have them.
    file_->sync();
    write_mark();
}

inline void chat_log::append(std::span<const byte_view> records) {
    byte_vector out;
    std::vector<std::uint64_t> offsets;
    tag last = last_;
    for (const byte_view record : records) {
        if (record.size() > max_record) raise(errc::chat_too_long, name_);
        const std::size_t at = out.size();
        const auto length = static_cast<std::uint32_t>(record.size());
        append_be(out, length);
        out.resize(at + record.size() + overhead);
        // Drawn, not counted: after a failure the same number is written again, with something else in it.
        nonce12 nonce;
        secrets_(nonce);
        std::copy(nonce.begin(), nonce.end(), out.begin() + static_cast<std::ptrdiff_t>(at) + 4);
        const byte_span sealed = byte_span(out).subspan(at + prefix_size);
        cipher_->seal(nonce, bound_data(size() + offsets.size(), last, length), record, sealed);
        std::copy_n(sealed.end() - tag_size, tag_size, last.begin());
        offsets.push_back(offsets_.back() + out.size());
    }
    if (offsets.empty()) return;
    if (offsets_.capacity() < offsets_.size() + offsets.size())
        offsets_.reserve(std::max(offsets_.capacity() * 2, offsets_.size() + offsets.size()));
    try {
        file_->write_at(offsets_.back(), out);
        file_->sync();
    } catch (...) {
        try {
            file_->resize(offsets_.back());
        } catch (const std::system_error&) {
            // The disk is in trouble, and the first failure is the one to tell. The next append() writes over it.
        }
        throw;
    }
    offsets_.insert(offsets_.end(), offsets.begin(), offsets.end());
    last_ = last;
    write_mark();
}

inline byte_vector chat_log::read(std::uint64_t index) {
    if (index >= size()) raise(errc::log_damaged, name_ + ": there is no record " + std::to_string(index));
    const std::uint64_t at = offsets_[static_cast<std::size_t>(index)];
    const auto record_size = static_cast<std::size_t>(offsets_[static_cast<std::size_t>(index) + 1] - at);
    // The tag before stands right in front of the record.
    byte_vector in(tag_size + record_size);
    const bool whole = file_->read_at(at - tag_size, in) == in.size();
    tag before = first_;
    if (index > 0) std::copy_n(in.begin(), tag_size, before.begin());
    byte_vector out;
    const byte_view record = byte_view(in).subspan(tag_size);
    if (!whole || load_be<std::uint32_t>(record.data()) != record_size - overhead ||
        !open_record(index, before, record, out))
        damaged("record " + std::to_string(index) + " was altered");
    return out;
}

}  // namespace cohort
