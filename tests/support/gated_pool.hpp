// A pool of workers whose jobs can be held up, so that a test sees what happens meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include <cohort/storage/worker_pool.hpp>

namespace cohort::test {

/// Used by one thread.
class gated_pool final : public job_runner {
public:
    explicit gated_pool(std::uint32_t threads = 2) : pool_(threads) {}

    void shut() { open_ = false; }
    void open() {
        open_ = true;
        for (auto& [lane, job] : std::exchange(held_, {})) pool_.post(lane, std::move(job));
    }
    std::size_t held() const { return held_.size(); }

    void post(std::uint32_t lane, std::function<void()> job) override {
        if (open_) {
            pool_.post(lane, std::move(job));
        } else {
            held_.emplace_back(lane, std::move(job));
        }
    }
    std::uint32_t concurrency() const override { return pool_.concurrency(); }

private:
    bool open_ = true;
    std::vector<std::pair<std::uint32_t, std::function<void()>>> held_;
    worker_pool pool_;
};

}  // namespace cohort::test
