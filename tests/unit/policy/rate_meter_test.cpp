#include <cohort/policy/rate_meter.hpp>

#include <deque>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>

namespace rate_meter_test {

using namespace cohort;

TEST_CASE("a steady stream is measured as what it is") {
    rate_meter meter;
    time_point now{100s};
    CHECK(meter.rate(now) == 0);
    for (int i = 0; i < 200; ++i, now += 100ms) meter.add(1000, now);
    CHECK(meter.rate(now) == doctest::Approx(10'000).epsilon(0.05));
    CHECK(meter.total() == 200'000);
}

TEST_CASE("a stream that has just begun is not measured over a whole window") {
    rate_meter meter;
    const time_point start{100s};
    for (int i = 0; i < 10; ++i) meter.add(1000, start + i * 100ms);
    CHECK(meter.rate(start + 1s) == doctest::Approx(10'000).epsilon(0.05));
}

TEST_CASE("silence brings the rate to nothing within the window") {
    rate_meter meter;
    time_point now{100s};
    for (int i = 0; i < 100; ++i, now += 100ms) meter.add(1000, now);
    double last = meter.rate(now);
    for (int i = 0; i < 10; ++i) {
        now += 500ms;
        CHECK(meter.rate(now) < last);
        last = meter.rate(now);
    }
    now += 300ms;
    CHECK(meter.rate(now) == 0);
    CHECK(meter.rate(now + 24h) == 0);
    CHECK(meter.total() == 100'000);
}

TEST_CASE("the rate is that of the bytes of the last five seconds, give or take a slot") {
    random_engine random(1);
    rate_meter meter;
    std::deque<std::pair<time_point, std::uint64_t>> all;
    time_point now{100s};
    for (int i = 0; i < 5000; ++i) {
        now += std::chrono::milliseconds(random.below(random.below(50) == 0 ? 3000 : 60));
        const std::uint64_t bytes = random.below(100'000);
        meter.add(bytes, now);
        all.emplace_back(now, bytes);
        if (now - time_point(100s) < rate_meter::window) continue;
        double narrow = 0, wide = 0;
        for (const auto& [when, n] : all) {
            if (now - when < rate_meter::window - 250ms) narrow += static_cast<double>(n);
            if (now - when <= rate_meter::window) wide += static_cast<double>(n);
        }
        CHECK(meter.rate(now) >= narrow / 5.0 * 0.999);
        CHECK(meter.rate(now) <= wide / 4.75 * 1.001);
    }
}

TEST_CASE("a clock that goes back does no harm") {
    rate_meter meter;
    meter.add(1000, time_point(100s));
    meter.add(1000, time_point(90s));
    CHECK(meter.total() == 2000);
    CHECK(meter.rate(time_point(100s)) == doctest::Approx(8000));
}

}  // namespace rate_meter_test
