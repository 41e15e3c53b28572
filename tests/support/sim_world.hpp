// What tests that play in a simulated world share: a tracker, the end of all, and the seeds to play.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <cohort/net/task_group.hpp>
#include <cohort/sim/world.hpp>
#include <cohort/tracker.hpp>

#include <doctest/doctest.h>

namespace cohort::test {

/// The tracker of a host, which asks to hear from peers every minute.
inline std::unique_ptr<tracker> tracker_at(sim::host& host) {
    tracker_options how;
    how.host = host.address().to_string();
    how.interval = 60s;
    how.min_interval = 10s;
    return std::make_unique<tracker>(host, std::move(how));
}

/// A tracker that runs on a host of its own.
class sim_tracker {
public:
    explicit sim_tracker(sim::host& at) : host(at) { start(); }

    /// Where users register, and where peers announce.
    std::string root() const { return "http://" + host.address().to_string() + ":6969"; }
    std::string url() const { return root() + "/announce"; }
    void start() {
        tracker_ = tracker_at(host);
        running_ = std::make_unique<task_group>(host.executor());
        running_->spawn(run(*tracker_));
    }
    /// Ends it; what it knew is gone.
    asio::awaitable<void> stop() {
        if (!tracker_) co_return;
        running_->cancel();
        co_await running_->join();
        tracker_.reset();
    }

    sim::host& host;

private:
    static asio::awaitable<void> run(tracker& one) { co_await one.run(); }

    std::unique_ptr<tracker> tracker_;
    std::unique_ptr<task_group> running_;
};

/// Once all who live in it have ended: what was on its way arrives where nobody is any more, and that is all.
inline void check_nothing_left(sim::world& world) {
    world.run(world.hosts().front()->sleep_for(10min));
    CHECK(world.time().idle());
    for (const auto& one : world.hosts()) CHECK(one->is_quiet());
}

/// A number that the environment may choose.
inline std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
    const char* const text = std::getenv(variable);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace cohort::test
