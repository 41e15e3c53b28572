// The machine's disk with faults on request: full after so many bytes, failing reads, failing syncs, another boot.
// A sync is only noted: no test takes the power away, and the real thing is slow.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cohort/storage/real_disk.hpp>

namespace cohort::test {

class faulty_disk final : public disk {
public:
    /// Writes and allocations that go beyond fail with errc::disk_full; a write first does what fits.
    std::atomic<std::uint64_t> bytes_left = std::numeric_limits<std::uint64_t>::max();
    std::atomic<bool> reads_fail = false;  ///< with errc::disk_failed
    std::atomic<bool> syncs_fail = false;  ///< with errc::disk_failed
    std::atomic<bool> resizes_fail = false;
    /// Called by the thread that syncs a file, before it does.
    std::function<void()> on_sync;
    std::string boot = "first boot";
    std::atomic<int> opened = 0;
    std::atomic<std::uint64_t> bytes_read = 0;

    std::vector<std::string> synced() const {
        const std::lock_guard lock(mutex_);
        return synced_;
    }
    void forget_synced() {
        const std::lock_guard lock(mutex_);
        synced_.clear();
    }

    std::unique_ptr<disk_file> open(const disk_path& path, open_mode mode) override {
        ++opened;
        return std::make_unique<file>(*this, real_.open(path, mode), path.text());
    }
    void create_directories(const disk_path& path) override { real_.create_directories(path); }
    void remove(const disk_path& path) override { real_.remove(path); }
    void rename(const disk_path& from, const disk_path& to) override { real_.rename(from, to); }
    std::optional<file_stamp> stat(const disk_path& path) override { return real_.stat(path); }
    void sync_directory(const disk_path& path) override { note_sync(path.text()); }
    std::string boot_id() override { return boot; }
    std::uint64_t free_space(const std::string& root) override {
        return std::min(bytes_left.load(), real_.free_space(root));
    }

private:
    class file final : public disk_file {
    public:
        file(faulty_disk& owner, std::unique_ptr<disk_file> real, std::string path)
            : owner_(owner), real_(std::move(real)), path_(std::move(path)) {}

        std::size_t read_at(std::uint64_t offset, byte_span out) override {
            if (owner_.reads_fail) raise_disk_error(EIO, path_);
            const std::size_t size = real_->read_at(offset, out);
            owner_.bytes_read += size;
            return size;
        }
        using disk_file::write_at;
        void write_at(std::uint64_t offset, std::span<const byte_view> data) override {
            for (const byte_view part : data) {
                const byte_view fits = part.first(owner_.take(part.size()));
                real_->write_at(offset, fits);
                offset += fits.size();
                if (fits.size() < part.size()) raise_disk_error(ENOSPC, path_);
            }
        }
        std::uint64_t size() override { return real_->size(); }
        void resize(std::uint64_t size) override {
            if (owner_.resizes_fail) raise_disk_error(EIO, path_);
            real_->resize(size);
        }
        void allocate(std::uint64_t size) override {
            if (size > owner_.bytes_left) raise_disk_error(ENOSPC, path_);
            real_->allocate(size);
        }
        void sync() override {
            if (const auto call = owner_.on_sync) call();
            if (owner_.syncs_fail) raise_disk_error(EIO, path_);
            owner_.note_sync(path_);
        }
        file_stamp stamp() override { return real_->stamp(); }
        std::uint64_t next_data(std::uint64_t offset) override { return real_->next_data(offset); }

    private:
        faulty_disk& owner_;
        std::unique_ptr<disk_file> real_;
        std::string path_;
    };

    /// Takes up to `size` bytes of those that are left; several threads do so at once.
    std::size_t take(std::size_t size) {
        std::uint64_t left = bytes_left, taken = 0;
        do taken = std::min<std::uint64_t>(size, left);
        while (!bytes_left.compare_exchange_weak(left, left - taken));
        return static_cast<std::size_t>(taken);
    }

    void note_sync(const std::string& path) {
        const std::lock_guard lock(mutex_);
        synced_.push_back(path);
    }

    real_disk real_;
    mutable std::mutex mutex_;
    std::vector<std::string> synced_;
};

}  // namespace cohort::test
