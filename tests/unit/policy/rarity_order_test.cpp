#include <cohort/policy/rarity_order.hpp>

#include <map>
#include <set>

#include <doctest/doctest.h>

namespace rarity_order_test {

using namespace cohort;

TEST_CASE("the rarest listed piece of the highest priority comes first") {
    rarity_order order(4, 4);
    for (piece_index p = 0; p < 4; ++p) order.list(p);
    const bitfield all(4, true);
    random_engine random(1);
    std::uint64_t steps = 0;
    order.add_copy(0);
    order.add_copy(0);
    order.add_copy(1);
    order.add_copy(3);
    CHECK(order.rarest(all, random, steps) == 2);
    order.unlist(2);
    order.drop_copy(3);
    CHECK(order.rarest(all, random, steps) == 3);
    order.set_priority(0, 7);
    CHECK(order.rarest(all, random, steps) == 0);
    CHECK(order.lowest(all, steps) == 0);
    order.set_priority(0, 1);
    CHECK(order.rarest(all, random, steps) == 3);
    CHECK(order.lowest(all, steps) == 1);
}

TEST_CASE("equally rare pieces come equally often") {
    rarity_order order(10, 4);
    for (piece_index p = 0; p < 10; ++p) order.list(p);
    const bitfield all(10, true);
    random_engine random(2);
    std::uint64_t steps = 0;
    std::map<piece_index, int> times;
    for (int i = 0; i < 10000; ++i) ++times[*order.rarest(all, random, steps)];
    CHECK(times.size() == 10);
    for (const auto& [piece, n] : times) {
        CHECK(n > 800);
        CHECK(n < 1200);
    }
    CHECK(steps == 10000);
}

TEST_CASE("looking for the rarest stops after 64 pieces, and scanning finds what it missed") {
    rarity_order order(10000, 4);
    for (piece_index p = 0; p < 10000; ++p) {
        order.add_copy(p);
        order.list(p);
    }
    bitfield has(10000);
    has.set(9876);
    random_engine random(3);
    std::uint64_t steps = 0;
    CHECK(order.rarest(has, random, steps) == std::nullopt);
    CHECK(steps <= 64);
    CHECK(order.scan(has, 0, steps) == 9876);
    CHECK(order.scan(has, 9900, steps) == 9876);
    CHECK(order.lowest(has, steps) == 9876);
    has.reset(9876);
    CHECK(order.scan(has, 5, steps) == std::nullopt);
}

TEST_CASE("after random changes the order agrees with sorting") {
    constexpr piece_index pieces = 60;
    rarity_order order(pieces, 4);
    std::map<piece_index, int> copies;
    std::map<piece_index, int> priority;
    std::set<piece_index> listed;
    for (piece_index p = 0; p < pieces; ++p) priority[p] = 4;
    const bitfield all(pieces, true);
    random_engine random(4);
    std::uint64_t steps = 0;
    for (int i = 0; i < 20000; ++i) {
        const piece_index p = random.below(pieces);
        switch (random.below(5)) {
        case 0:
            if (copies[p] < 80) {
                ++copies[p];
                order.add_copy(p);
            }
            break;
        case 1:
            if (copies[p] > 0) {
                --copies[p];
                order.drop_copy(p);
            }
            break;
        case 2:
            if (listed.insert(p).second) order.list(p);
            break;
        case 3:
            if (listed.erase(p) > 0) order.unlist(p);
            break;
        case 4:
            priority[p] = 1 + static_cast<int>(random.below(7));
            order.set_priority(p, static_cast<std::uint8_t>(priority[p]));
            break;
        }
        CHECK(static_cast<int>(order.copies(p)) == copies[p]);
        CHECK(order.listed(p) == listed.contains(p));
        const auto rank = [&](piece_index q) { return std::pair(-priority[q], std::min(copies[q], 63)); };
        auto best = std::pair(0, 0);
        piece_index lowest = pieces;
        bool any_copied = false;
        for (const piece_index q : listed) {
            best = std::min(best, rank(q));
            any_copied |= copies[q] > 0;
        }
        for (const piece_index q : listed)
            if (-priority[q] == best.first) lowest = std::min(lowest, q);
        const auto found = order.rarest(all, random, steps);
        REQUIRE(found.has_value() == !listed.empty());
        CHECK(order.any_with(0) == !listed.empty());
        CHECK(order.any_with(1) == any_copied);
        if (!found) continue;
        CHECK(listed.contains(*found));
        CHECK(rank(*found) == best);
        CHECK(order.lowest(all, steps) == lowest);
    }
}

}  // namespace rarity_order_test
