// A torrent may have more files than a process may have open. This keeps the ones used last.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include <cohort/storage/disk.hpp>

namespace cohort {

/// At most `capacity` files stay open here, by number; who holds the pointer keeps a file open for longer.
/// Thread-safe.
class file_cache {
public:
    explicit file_cache(std::size_t capacity) : capacity_(capacity) {}

    /// The open file, or what `open()` gives. Other threads are not held up while it opens.
    template <class Open>
    std::shared_ptr<disk_file> get(std::uint32_t number, Open open) {
        {
            const std::lock_guard lock(mutex_);
            if (const auto found = by_number_.find(number); found != by_number_.end()) {
                latest_first_.splice(latest_first_.begin(), latest_first_, found->second);
                return found->second->file;
            }
        }
        std::shared_ptr<disk_file> file = open();
        // Closed after the lock is given back: closing can take its time.
        std::shared_ptr<disk_file> dropped;
        const std::lock_guard lock(mutex_);
        if (const auto found = by_number_.find(number); found != by_number_.end()) return found->second->file;
        if (capacity_ == 0) return file;
        if (latest_first_.size() == capacity_) {
            dropped = std::move(latest_first_.back().file);
            by_number_.erase(latest_first_.back().number);
            latest_first_.pop_back();
        }
        std::list<entry> first;
        first.push_front({number, file});
        by_number_.emplace(number, first.begin());
        latest_first_.splice(latest_first_.begin(), first);
        return file;
    }

    void clear() {
        std::list<entry> dropped;
        const std::lock_guard lock(mutex_);
        by_number_.clear();
        dropped.swap(latest_first_);
    }

    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return latest_first_.size();
    }

private:
    struct entry {
        std::uint32_t number;
        std::shared_ptr<disk_file> file;
    };

    std::size_t capacity_;
    mutable std::mutex mutex_;
    std::list<entry> latest_first_;
    std::unordered_map<std::uint32_t, std::list<entry>::iterator> by_number_;
};

}  // namespace cohort
