#include <cohort/core/random.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

namespace random_test {

using namespace cohort;

TEST_CASE("the sequence of a seed is fixed, or no simulation could be replayed") {
    random_engine a(42);
    random_engine b(42);
    random_engine other(43);
    bool differs = false;
    for (int i = 0; i < 100; ++i) {
        const std::uint64_t value = a();
        REQUIRE(value == b());
        differs = differs || value != other();
    }
    CHECK(differs);
    CHECK(random_engine(0)() == 11091344671253066420U);
}

TEST_CASE("below stays below and reaches every number about as often") {
    random_engine random(1);
    std::array<int, 7> seen{};
    for (int i = 0; i < 70000; ++i) ++seen.at(random.below(7));
    for (const int count : seen) {
        CHECK(count > 9000);
        CHECK(count < 11000);
    }
    CHECK(random.below(1) == 0);
}

TEST_CASE("chance keeps to its probability") {
    random_engine random(2);
    int hits = 0;
    for (int i = 0; i < 100000; ++i) hits += random.chance(0.25);
    CHECK(hits > 24000);
    CHECK(hits < 26000);
    CHECK_FALSE(random.chance(0));
    CHECK(random.chance(1));
}

TEST_CASE("shuffle keeps the elements and moves them everywhere") {
    random_engine random(3);
    std::vector<int> items(10);
    std::array<int, 10> place_of_first{};
    for (int round = 0; round < 10000; ++round) {
        std::iota(items.begin(), items.end(), 0);
        random.shuffle(items);
        ++place_of_first.at(static_cast<std::size_t>(std::find(items.begin(), items.end(), 0) - items.begin()));
    }
    for (const int count : place_of_first) CHECK(count > 800);
    std::sort(items.begin(), items.end());
    CHECK(items.front() == 0);
    CHECK(items.back() == 9);
    CHECK(std::adjacent_find(items.begin(), items.end()) == items.end());
}

TEST_CASE("fill reaches every byte") {
    random_engine random(4);
    std::array<std::uint8_t, 64> any{};
    for (int i = 0; i < 10; ++i) {
        std::array<std::uint8_t, 64> bytes{};
        random.fill(bytes);
        for (std::size_t k = 0; k < any.size(); ++k) any[k] |= bytes[k];
    }
    CHECK(std::count(any.begin(), any.end(), 0) == 0);
}

}  // namespace random_test
