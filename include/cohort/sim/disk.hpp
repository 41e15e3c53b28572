// A disk in memory that loses power, runs full and fails, as a test or a lesson wants it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/random.hpp>
#include <cohort/storage/disk.hpp>

namespace cohort::sim {

/// What the platters hold, which outlives the programs that use it. One thread only.
class medium {
public:
    explicit medium(std::uint64_t seed = 1) : random_(seed) {}

    /// What needs more than so many bytes from now on fails with errc::disk_full. Space is taken and given back in
    /// pages of 4 KiB; holes take none.
    void leave_free(std::uint64_t bytes) { capacity_ = used() + bytes; }
    std::uint64_t free() const { return capacity_ == unlimited ? unlimited : capacity_ - std::min(capacity_, used()); }

    /// Asked before each call that may fail, by its name: "open", "read", "write", "sync", "rename" and so on. What it
    /// returns, if it is an error, is thrown. Of a file whose sync fails, what was written since the last one is there
    /// afterwards or not, as after a loss of power, and the next sync knows nothing of it.
    std::function<std::error_code(const char* call, const std::string& path)> fault;

    /// The power goes. What was synced stays; of the writes since then some are there, whole or torn, and others not;
    /// of the changes of names in a directory that was not synced, the first so and so many.
    void lose_power();

    /// A medium of its own with all that is on this one: what a program that is killed goes on writing here does not
    /// reach it.
    std::shared_ptr<medium> clone() const;

    std::uint64_t calls() const { return calls_; }  ///< that asked for a fault so far

private:
    friend class disk;

    struct write {
        std::uint64_t offset = 0;
        byte_vector bytes;
        std::uint64_t resized = none;  ///< or a new size
    };
    static constexpr std::uint64_t none = ~std::uint64_t{0};
    static constexpr std::uint64_t unlimited = ~std::uint64_t{0};
    static constexpr std::uint64_t page_size = 4096;

    struct file {
        std::uint64_t inode = 0;
        std::int64_t modified = 0;
        byte_vector now;
        byte_vector safe;
        std::set<std::uint64_t> pages;  // that take space
        std::vector<write> since;       // what lies between the two
    };
    using names = std::map<std::string, std::shared_ptr<file>>;

    struct name_change {
        std::string name;
        std::shared_ptr<file> to;  // null: the name is gone
        std::string old_name;      // of a rename: gone in the same step
    };

    static void apply(byte_vector& to, const write& one, std::size_t size) {
        if (one.resized != none) {
            to.resize(static_cast<std::size_t>(one.resized));
            return;
        }
        const auto end = static_cast<std::size_t>(one.offset) + size;
        if (to.size() < end) to.resize(end);
        std::copy_n(one.bytes.begin(), size, to.begin() + static_cast<std::ptrdiff_t>(one.offset));
    }
    std::error_code trouble(const char* call, const std::string& path) {
        ++calls_;
        return fault ? fault(call, path) : std::error_code();
    }
    void ask(const char* call, const std::string& path) {
        if (const std::error_code code = trouble(call, path)) raise(code, path);
    }
    std::uint64_t used() const {
        std::uint64_t out = 0;
        for (const auto& [name, one] : now_) out += one->pages.size() * page_size;
        return out;
    }
    /// Pages for these bytes, or errc::disk_full and none.
    void occupy(file& what, std::uint64_t offset, std::uint64_t size, const std::string& path) {
        std::set<std::uint64_t> more;
        for (std::uint64_t page = offset / page_size; page * page_size < offset + size; ++page)
            if (!what.pages.contains(page)) more.insert(page);
        if (more.empty()) return;
        if (capacity_ != unlimited && more.size() * page_size > free()) raise(errc::disk_full, path);
        what.pages.merge(more);
    }
    /// Of what was not synced a part is there from now on, and the rest never was.
    void settle(file& one) {
        for (const write& unsafe : one.since) {
            const bool there = random_.chance(0.5);
            const bool torn = there && !unsafe.bytes.empty() && random_.chance(0.25);
            const auto size = static_cast<std::uint32_t>(unsafe.bytes.size());
            if (there) apply(one.safe, unsafe, torn ? random_.below(size) : size);
        }
        one.since.clear();
        one.now = one.safe;
        std::erase_if(one.pages, [&](std::uint64_t page) { return page * page_size >= one.now.size(); });
    }
    bool has_name(const file& one) const {
        return std::any_of(now_.begin(), now_.end(), [&one](const auto& entry) { return entry.second.get() == &one; });
    }
    static std::string folder_of(const std::string& name) {
        return name.substr(0, std::max<std::size_t>(1, name.rfind('/')));
    }
    void change_name(name_change one) {
        apply(now_, one);
        since_.push_back(std::move(one));
    }
    static void apply(names& to, const name_change& one) {
        to.erase(one.old_name);
        if (one.to) {
            to[one.name] = one.to;
        } else {
            to.erase(one.name);
        }
    }

    random_engine random_;
    names now_, safe_;
    std::vector<name_change> since_;
    std::set<std::string> directories_{"/"};
    std::uint64_t capacity_ = unlimited;
    std::uint64_t inodes_ = 0;
    std::int64_t clock_ = 1;  // of changes, in nanoseconds: it only has to grow
    std::uint64_t boots_ = 1;
    std::uint64_t calls_ = 0;
};

inline void medium::lose_power() {
    const auto kept = since_.empty() ? 0 : random_.below(static_cast<std::uint32_t>(since_.size()) + 1);
    for (std::size_t i = 0; i < kept; ++i) apply(safe_, since_[i]);
    since_.clear();
    now_ = safe_;
    for (auto& [name, one] : now_) {
        settle(*one);
        one->modified = ++clock_;
    }
    ++boots_;
}

inline std::shared_ptr<medium> medium::clone() const {
    auto out = std::make_shared<medium>(*this);
    std::map<const file*, std::shared_ptr<file>> copies;
    const auto copy_of = [&copies](std::shared_ptr<file>& one) {
        if (!one) return;
        auto& copy = copies[one.get()];
        if (!copy) copy = std::make_shared<file>(*one);
        one = copy;
    };
    for (names* const all : {&out->now_, &out->safe_})
        for (auto& [name, one] : *all) copy_of(one);
    for (name_change& one : out->since_) copy_of(one.to);
    return out;
}

/// The medium as storage sees it. Several of these may look at one medium, one after the other.
class disk final : public cohort::disk {
public:
    explicit disk(std::shared_ptr<medium> of) : medium_(std::move(of)) {}

    std::unique_ptr<disk_file> open(const disk_path& path, open_mode mode) override;
    void create_directories(const disk_path& path) override {
        medium_->ask("mkdir", path.text());
        for (std::string name = path.text(); name != "/" && !name.empty(); name = medium::folder_of(name))
            medium_->directories_.insert(name);
    }
    void remove(const disk_path& path) override {
        medium_->ask("remove", path.text());
        if (medium_->now_.contains(path.text())) medium_->change_name({path.text(), nullptr, {}});
    }
    void rename(const disk_path& from, const disk_path& to) override {
        medium_->ask("rename", from.text());
        const auto found = medium_->now_.find(from.text());
        if (found == medium_->now_.end()) raise(errc::file_missing, from.text());
        medium_->change_name({to.text(), found->second, from.text()});
    }
    std::optional<file_stamp> stat(const disk_path& path) override {
        medium_->ask("stat", path.text());
        const auto found = medium_->now_.find(path.text());
        if (found == medium_->now_.end()) return std::nullopt;
        return stamp_of(*found->second);
    }
    void sync_directory(const disk_path& path) override {
        medium_->ask("sync", path.text());
        std::erase_if(medium_->since_, [&](const medium::name_change& one) {
            const bool here = medium::folder_of(one.name) == path.text();
            if (here) medium::apply(medium_->safe_, one);
            return here;
        });
    }
    std::string boot_id() override { return "boot " + std::to_string(medium_->boots_); }
    std::uint64_t free_space(const std::string&) override { return medium_->free(); }

private:
    class open_file;
    static file_stamp stamp_of(const medium::file& one) { return {one.now.size(), one.modified, one.inode}; }

    std::shared_ptr<medium> medium_;
};

class disk::open_file final : public disk_file {
public:
    open_file(std::shared_ptr<medium> on, std::shared_ptr<medium::file> what, std::string path)
        : on_(std::move(on)), what_(std::move(what)), path_(std::move(path)) {}

    std::size_t read_at(std::uint64_t offset, byte_span out) override {
        on_->ask("read", path_);
        const byte_vector& all = what_->now;
        if (offset >= all.size()) return 0;
        const std::size_t size = std::min<std::size_t>(out.size(), all.size() - static_cast<std::size_t>(offset));
        std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
        return size;
    }
    using disk_file::write_at;
    void write_at(std::uint64_t offset, std::span<const byte_view> data) override {
        const std::error_code trouble = on_->trouble("write", path_);
        medium::write one;
        one.offset = offset;
        for (const byte_view part : data) one.bytes.insert(one.bytes.end(), part.begin(), part.end());
        // A write that fails may have written a part.
        if (trouble) one.bytes.resize(on_->random_.below(static_cast<std::uint32_t>(one.bytes.size()) + 1));
        on_->occupy(*what_, offset, one.bytes.size(), path_);
        change(std::move(one));
        if (trouble) raise(trouble, path_);
    }
    std::uint64_t size() override { return what_->now.size(); }
    void resize(std::uint64_t size) override {
        on_->ask("resize", path_);
        medium::write one;
        one.resized = size;
        std::erase_if(what_->pages, [&](std::uint64_t page) { return page * medium::page_size >= size; });
        change(std::move(one));
    }
    void allocate(std::uint64_t size) override {
        on_->ask("allocate", path_);
        on_->occupy(*what_, 0, size, path_);
        if (size > what_->now.size()) resize(size);
    }
    void sync() override {
        if (const std::error_code trouble = on_->trouble("sync", path_)) {
            on_->settle(*what_);
            raise(trouble, path_);
        }
        for (const medium::write& one : what_->since) medium::apply(what_->safe, one, one.bytes.size());
        what_->since.clear();
    }
    file_stamp stamp() override {
        if (!on_->has_name(*what_)) raise(errc::file_missing, path_);
        return stamp_of(*what_);
    }

private:
    void change(medium::write one) {
        medium::apply(what_->now, one, one.bytes.size());
        what_->since.push_back(std::move(one));
        what_->modified = ++on_->clock_;
    }

    std::shared_ptr<medium> on_;
    std::shared_ptr<medium::file> what_;
    std::string path_;
};

inline std::unique_ptr<disk_file> disk::open(const disk_path& path, open_mode mode) {
    medium_->ask("open", path.text());
    const auto found = medium_->now_.find(path.text());
    std::shared_ptr<medium::file> what = found == medium_->now_.end() ? nullptr : found->second;
    const bool may_be_made =
        mode == open_mode::create && medium_->directories_.contains(medium::folder_of(path.text()));
    if (!what && !may_be_made) raise(errc::file_missing, path.text());
    if (!what) {
        what = std::make_shared<medium::file>();
        what->inode = ++medium_->inodes_;
        what->modified = ++medium_->clock_;
        medium_->change_name({path.text(), what, {}});
    }
    return std::make_unique<open_file>(medium_, std::move(what), path.text());
}

}  // namespace cohort::sim
