#include <cohort/policy/position_table.hpp>

#include <set>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>

namespace position_table_test {

using namespace cohort;

TEST_CASE("a table of positions agrees with a plain array under random changes, however much the hashes collide") {
    for (const std::uint64_t distinct_hashes : {std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{1} << 40}) {
        random_engine random(1);
        position_table table;
        std::vector<std::uint64_t> things;  // each is its own hash
        const auto hash_of = [&](std::uint32_t position) { return things[position]; };
        for (int i = 0; i < 4000; ++i) {
            // Grows at first and shrinks later.
            if (things.empty() || random.below(4000) > static_cast<std::uint32_t>(i)) {
                things.push_back(random() % distinct_hashes);
                table.insert(things.back(), static_cast<std::uint32_t>(things.size() - 1), hash_of);
            } else {
                const std::uint32_t gone = random.below(static_cast<std::uint32_t>(things.size()));
                const auto last = static_cast<std::uint32_t>(things.size() - 1);
                table.erase(things[gone], gone, hash_of);
                if (gone != last) table.moved(things[last], last, gone);
                things[gone] = things.back();
                things.pop_back();
            }
            if (things.size() >= 2) {
                const std::uint32_t a = random.below(static_cast<std::uint32_t>(things.size()));
                const std::uint32_t b = random.below(static_cast<std::uint32_t>(things.size()));
                if (a != b) {
                    table.exchanged(things[a], a, things[b], b);
                    std::swap(things[a], things[b]);
                }
            }
            REQUIRE(table.size() == things.size());
            if (i % 50 != 0) continue;
            for (std::uint32_t position = 0; position < things.size(); ++position)
                REQUIRE(table.for_each(things[position], [&](std::uint32_t found) { return found == position; }));
        }
        CHECK(table.memory() <= 64 * sizeof(std::uint32_t) + things.size() * 8 * sizeof(std::uint32_t));
    }
}

TEST_CASE("no change of a large table moves more than a little of it") {
    position_table table;
    const secret_hash hash(3);
    std::size_t hashed = 0;
    const auto hash_of = [&](std::uint32_t position) {
        ++hashed;
        std::array<std::uint8_t, 4> key;
        store_be(key.data(), position);
        return hash(key);
    };
    std::size_t most = 0;
    const auto change = [&](auto&& make) {
        hashed = 0;
        make();
        most = std::max(most, hashed);
    };
    for (std::uint32_t i = 0; i < 100'000; ++i) change([&] { table.insert(hash_of(i), i, hash_of); });
    CHECK(table.memory() <= 100'000 * 16);
    for (std::uint32_t i = 100'000; i-- > 10;) change([&] { table.erase(hash_of(i), i, hash_of); });
    CHECK(table.memory() <= 10'000);
    for (std::uint32_t i = 0; i < 10; ++i)
        CHECK(table.for_each(hash_of(i), [&](std::uint32_t found) { return found == i; }));
    CHECK(most > 4);
    CHECK(most < 500);
}

TEST_CASE("an empty table finds nothing") {
    const position_table table;
    CHECK_FALSE(table.for_each(5, [](std::uint32_t) { return true; }));
}

TEST_CASE("keys hash differently under different secrets, and spread evenly") {
    const secret_hash one(1), two(2);
    std::vector<int> buckets(64);
    std::set<std::uint64_t> distinct;
    for (std::uint32_t i = 0; i < 6400; ++i) {
        std::array<std::uint8_t, 4> key;
        store_be(key.data(), i);
        CHECK(one(key) != two(key));
        ++buckets[one(key) % 64];
        distinct.insert(one(key));
    }
    CHECK(distinct.size() == 6400);
    for (const int n : buckets) {
        CHECK(n > 50);
        CHECK(n < 160);
    }
    const std::array<std::uint8_t, 20> zeros{};
    CHECK(one(byte_view(zeros)) != one(byte_view(zeros).first(19)));
}

}  // namespace position_table_test
