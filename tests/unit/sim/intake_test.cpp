#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include <cohort/core/random.hpp>
#include <cohort/sim/intake.hpp>

namespace intake_test {

using namespace cohort;

constexpr std::uint64_t rate = 1'000'000;

TEST_CASE("a packet from nearby does not wait for one from far away that was sent before it") {
    sim::intake line;
    const time_point now{100s};
    const auto took = [&](duration after, std::size_t bytes) {
        return std::chrono::round<std::chrono::microseconds>(line.pass(now, now + after, bytes, rate) - now);
    };
    CHECK(took(800ms, 16'000) == 816ms);
    CHECK(took(1ms, 16'000) == 17ms);
    CHECK(took(5ms, 16'000) == 33ms);
    CHECK(took(800ms, 100'000) == 916ms);
}

TEST_CASE("packets that arrive in the order in which they were sent take exactly as long as the line needs") {
    sim::intake line;
    random_engine random(1);
    time_point now{5s}, busy_until{};
    for (int i = 0; i < 10'000; ++i) {
        now += random.below(12'000) * 1us;
        const std::size_t bytes = random.below(16'000);
        busy_until = std::max(busy_until, now + 30ms) + bytes * 1us;
        const duration error = line.pass(now, now + 30ms, bytes, rate) - busy_until;
        REQUIRE(std::chrono::abs(error) < 1us);
    }
}

TEST_CASE("however they arrive, no time takes more bytes than fit into it, and none is early") {
    sim::intake line;
    random_engine random(2);
    time_point now{};
    std::map<std::int64_t, std::size_t> through;  // by seconds
    for (int i = 0; i < 20'000; ++i) {
        now += random.below(1000) * 1us;
        const time_point earliest = now + random.below(400) * 1ms;
        const std::size_t bytes = 1 + random.below(3000);
        const time_point done = line.pass(now, earliest, bytes, rate);
        REQUIRE(done >= earliest + bytes * 1us - 1us);
        through[done.time_since_epoch() / 1s] += bytes;
    }
    std::size_t most = 0;
    for (const auto& [second, bytes] : through) most = std::max(most, bytes);
    CHECK(most <= rate * 102 / 100);
    CHECK(most >= rate * 95 / 100);
}

}  // namespace intake_test
