#include <cohort/policy/token_bucket.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>

namespace token_bucket_test {

using namespace cohort;

TEST_CASE("without a rate everything passes at once") {
    token_bucket bucket;
    CHECK(bucket.unlimited());
    CHECK(bucket.take(1'000'000'000'000, time_point(1s)) == 1'000'000'000'000);
    CHECK(bucket.wait(1'000'000'000'000, time_point(1s)) == duration::zero());
}

TEST_CASE("a burst passes at once, and the rest at the rate") {
    token_bucket bucket(1000, 500);
    const time_point start{10s};
    CHECK(bucket.take(800, start) == 500);
    CHECK(bucket.take(800, start) == 0);
    CHECK(bucket.take(800, start + 100ms) == 100);
    CHECK(bucket.take(50, start + 200ms) == 50);
    CHECK(bucket.take(800, start + 200ms) == 50);
    CHECK(bucket.take(800, start + 1h) == 500);
}

TEST_CASE("after the time that wait() tells, take() grants what was asked") {
    random_engine random(1);
    for (int round = 0; round < 1000; ++round) {
        token_bucket bucket(1 + random.below(random.below(2) == 0 ? 100 : 100'000'000), 16'384);
        time_point now{std::chrono::milliseconds(random.below(1'000'000))};
        bucket.take(random.below(20'000), now);
        const std::uint64_t wanted = 1 + random.below(16'384);
        const duration wait = bucket.wait(wanted, now);
        if (wait > duration::zero()) CHECK(bucket.take(0, now + wait / 2) == 0);
        CHECK(bucket.take(wanted, now + wait) == wanted);
    }
}

TEST_CASE("over a long time no more passes than the rate and one burst allow, and no less than the rate") {
    random_engine random(2);
    token_bucket bucket(100'000, 20'000);
    const time_point start{5s};
    time_point now = start;
    std::uint64_t passed = 0;
    while (now - start < 100s) {
        now += std::chrono::microseconds(random.below(100'000));
        passed += bucket.take(1'000'000, now);
    }
    const double rate = 100'000 * to_seconds(now - start);
    CHECK(static_cast<double>(passed) <= rate + 20'000 + 1);
    CHECK(static_cast<double>(passed) >= rate - 1);
}

TEST_CASE("what was spent already is earned afterwards, by all who spent") {
    token_bucket bucket(1000, 500);
    const time_point start{10s};
    bucket.spend(400, start);
    CHECK(bucket.wait(0, start) == duration::zero());
    bucket.spend(1100, start);
    const duration first = bucket.wait(0, start);
    CHECK(first >= 1s);
    CHECK(first <= 1s + 1ms);
    bucket.spend(500, start);
    const duration second = bucket.wait(0, start);
    CHECK(second >= 1500ms);
    CHECK(second <= 1501ms);
    CHECK(bucket.take(1, start + 1400ms) == 0);
    CHECK(bucket.wait(0, start + second) == duration::zero());
    CHECK(bucket.take(1000, start + 1600ms) == 100);

    token_bucket unlimited;
    unlimited.spend(1'000'000, start);
    CHECK(unlimited.wait(0, start) == duration::zero());
}

TEST_CASE("over a long time all who spend and wait have together what the rate allows") {
    constexpr std::size_t readers = 7;
    random_engine random(3);
    token_bucket bucket(100'000, 20'000);
    const time_point start{5s};
    std::vector<time_point> next(readers, start);
    std::vector<int> turns(readers);
    std::uint64_t passed = 0;
    for (;;) {
        const auto first = std::min_element(next.begin(), next.end());
        if (*first - start >= 100s) break;
        const std::uint64_t bytes = 10'000 + random.below(10'000);
        passed += bytes;
        ++turns[static_cast<std::size_t>(first - next.begin())];
        bucket.spend(bytes, *first);
        *first += bucket.wait(0, *first);
    }
    CHECK(passed <= 100 * 100'000 + 20'000 + readers * 20'000);
    CHECK(passed >= 100 * 100'000);
    for (const int one : turns) CHECK(std::abs(one - turns.front()) <= 10);
}

TEST_CASE("the rate can be changed, to nothing and back") {
    token_bucket bucket(1000, 1000);
    const time_point start{10s};
    CHECK(bucket.take(1000, start) == 1000);
    bucket.set_rate(0);
    CHECK(bucket.take(5000, start) == 5000);
    bucket.set_rate(2000, 100);
    CHECK(bucket.take(5000, start) == 100);
    CHECK(bucket.take(5000, start + 10ms) == 20);
}

TEST_CASE("extreme rates and clocks that go back do no harm") {
    constexpr auto huge = std::numeric_limits<std::uint64_t>::max();
    token_bucket bucket(huge, huge);
    CHECK(bucket.take(huge, time_point(1s)) > 0);
    CHECK(bucket.wait(huge, time_point(1s)) <= 24h + 1s);
    bucket.spend(huge, time_point(1s));
    bucket.spend(huge, time_point(1s));
    CHECK(bucket.wait(0, time_point(1s)) <= 24h + 1s);
    token_bucket slow(1, 10);
    CHECK(slow.take(10, time_point(100s)) == 10);
    CHECK(slow.take(10, time_point(50s)) == 0);
    CHECK(slow.take(10, time_point(101s)) == 1);
    CHECK(slow.wait(huge, time_point(101s)) <= 24h + 1s);
}

}  // namespace token_bucket_test
