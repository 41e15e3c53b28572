// A disk for swarms of a thousand: the content of the torrent is in memory once, whoever has it.
#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <cohort/sim/disk.hpp>

namespace cohort::sim {

/// As sim::disk, but of one file it only keeps which ranges were written: their bytes are those of a content that all
/// share. Writing anything else there fails with errc::disk_failed, so this is for swarms in which nobody lies. What is
/// written is safe at once.
class shared_disk final : public cohort::disk {
public:
    shared_disk(std::shared_ptr<const byte_vector> content, std::string path, bool has_all)
        : file_(std::make_shared<file>()), path_(std::move(path)), rest_(std::make_shared<medium>()) {
        file_->exists = has_all;
        file_->content = std::move(content);
        if (has_all) file_->wrote(0, file_->content->size());
    }

    std::unique_ptr<disk_file> open(const disk_path& path, open_mode mode) override {
        if (path.text() != path_) return rest_.open(path, mode);
        if (!file_->exists && mode != open_mode::create) raise(errc::file_missing, path_);
        file_->exists = true;
        return std::make_unique<open_file>(file_);
    }
    std::optional<file_stamp> stat(const disk_path& path) override {
        if (path.text() != path_) return rest_.stat(path);
        if (!file_->exists) return std::nullopt;
        return file_->stamp();
    }
    void create_directories(const disk_path& path) override { rest_.create_directories(path); }
    void remove(const disk_path& path) override { rest_.remove(path); }
    void rename(const disk_path& from, const disk_path& to) override { rest_.rename(from, to); }
    void sync_directory(const disk_path& path) override { rest_.sync_directory(path); }
    std::string boot_id() override { return rest_.boot_id(); }
    std::uint64_t free_space(const std::string& root) override { return rest_.free_space(root); }

private:
    struct file {
        std::shared_ptr<const byte_vector> content;
        bool exists = false;
        std::uint64_t size = 0;
        std::int64_t changes = 1;
        std::map<std::uint64_t, std::uint64_t> written;  // begin: end, apart from each other

        void wrote(std::uint64_t begin, std::uint64_t end) {
            size = std::max(size, end);
            ++changes;
            auto next = written.upper_bound(begin);
            if (next != written.begin() && std::prev(next)->second >= begin) begin = (--next)->first;
            while (next != written.end() && next->first <= end) {
                end = std::max(end, next->second);
                next = written.erase(next);
            }
            written[begin] = end;
        }
        /// The first range that ends behind `offset`.
        auto range_at(std::uint64_t offset) const {
            const auto next = written.upper_bound(offset);
            return next != written.begin() && std::prev(next)->second > offset ? std::prev(next) : next;
        }
        file_stamp stamp() const { return {size, changes, 1}; }
    };

    class open_file final : public disk_file {
    public:
        explicit open_file(std::shared_ptr<file> of) : file_(std::move(of)) {}

        std::size_t read_at(std::uint64_t offset, byte_span out) override {
            if (offset >= file_->size) return 0;
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), file_->size - offset));
            const std::uint64_t end = offset + size;
            std::uint64_t done = offset;
            const auto put = [&](std::uint64_t until, bool written) {
                const byte_span target = out.subspan(done - offset, until - done);
                if (written)
                    std::copy_n(byte_view(*file_->content).subspan(done).begin(), target.size(), target.begin());
                if (!written) std::fill(target.begin(), target.end(), std::uint8_t{0});
                done = until;
            };
            for (auto one = file_->range_at(offset); one != file_->written.end() && one->first < end; ++one) {
                put(std::max(one->first, offset), false);
                put(std::min(one->second, end), true);
            }
            put(end, false);
            return size;
        }
        using disk_file::write_at;
        void write_at(std::uint64_t offset, std::span<const byte_view> data) override {
            for (const byte_view part : data) {
                const byte_view all = *file_->content;
                const bool fits = offset <= all.size() && part.size() <= all.size() - offset;
                const auto at = fits ? all.begin() + static_cast<std::ptrdiff_t>(offset) : all.begin();
                if (!fits || !std::equal(part.begin(), part.end(), at)) raise(errc::disk_failed, "not the content");
                file_->wrote(offset, offset + part.size());
                offset += part.size();
            }
        }
        std::uint64_t size() override { return file_->size; }
        void resize(std::uint64_t size) override {
            file_->size = size;
            ++file_->changes;
            file_->written.erase(file_->written.lower_bound(size), file_->written.end());
            if (!file_->written.empty() && file_->written.rbegin()->second > size)
                file_->written.rbegin()->second = size;
        }
        void allocate(std::uint64_t size) override { resize(std::max(size, file_->size)); }
        void sync() override {}
        file_stamp stamp() override { return file_->stamp(); }
        std::uint64_t next_data(std::uint64_t offset) override {
            const auto next = file_->range_at(offset);
            return next == file_->written.end() ? file_->size : std::max(next->first, offset);
        }

    private:
        std::shared_ptr<file> file_;
    };

    std::shared_ptr<file> file_;
    std::string path_;
    sim::disk rest_;
};

}  // namespace cohort::sim
