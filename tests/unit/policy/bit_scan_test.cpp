#include <cohort/policy/bit_scan.hpp>

#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>

namespace bit_scan_test {

using namespace cohort;

TEST_CASE("searching two bitfields by words finds what searching them bit by bit finds") {
    random_engine random(1);
    for (int round = 0; round < 300; ++round) {
        const std::uint32_t size = random.below(300);
        bitfield a(size), b(size);
        const std::uint32_t density = 1 + random.below(40);
        for (std::uint32_t i = 0; i < size; ++i) {
            if (random.below(density) == 0) a.set(i);
            if (random.below(density) == 0) b.set(i);
        }
        std::uint32_t both = 0;
        for (std::uint32_t i = 0; i < size; ++i) both += a.get(i) && b.get(i) ? 1 : 0;
        CHECK(count_common(a, b) == both);

        const std::uint32_t from = random.below(size + 1);
        const std::uint32_t to = random.below(size + 1);
        std::optional<std::uint32_t> expected;
        for (std::uint32_t i = from; i < to && !expected; ++i)
            if (a.get(i) && b.get(i)) expected = i;
        std::uint64_t steps = 0;
        CHECK(next_common(a, b, from, to, steps) == expected);
        CHECK(steps <= size / 64 + 1);

        std::vector<std::uint32_t> seen, bits;
        for (auto i = next_set(a, 0); i; i = next_set(a, *i + 1)) seen.push_back(*i);
        for (std::uint32_t i = 0; i < size; ++i)
            if (a.get(i)) bits.push_back(i);
        CHECK(seen == bits);
    }
}

TEST_CASE("a search looks at one word for 64 bits") {
    bitfield bits(64 * 100);
    bits.set(64 * 99 + 5);
    std::uint64_t steps = 0;
    CHECK(next_common(bits, bits, 0, bits.size(), steps) == 64 * 99 + 5);
    CHECK(steps == 100);
    CHECK(next_common(bits, bits, 64 * 99 + 6, bits.size(), steps) == std::nullopt);
    CHECK(steps == 101);
}

}  // namespace bit_scan_test
