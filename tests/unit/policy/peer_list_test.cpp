#include <cohort/policy/peer_list.hpp>

#include <map>
#include <set>

#include <doctest/doctest.h>

namespace peer_list_test {

using namespace cohort;

namespace {

constexpr time_point start{1000s};

endpoint at(std::uint32_t address, std::uint16_t port = 6881) { return {ip_address::v4(0x0a000000 + address), port}; }

}  // namespace

TEST_CASE("addresses that nobody can dial are not kept") {
    peer_list list;
    CHECK_FALSE(list.add({ip_address::v4(0x0a000001), 0}, peer_source::tracker, start));
    CHECK_FALSE(list.add({ip_address::v4(0), 6881}, peer_source::tracker, start));
    CHECK_FALSE(list.add({ip_address::v4(0xe0000001), 6881}, peer_source::tracker, start));
    CHECK_FALSE(list.add({ip_address::v4(0xffffffff), 6881}, peer_source::tracker, start));
    CHECK_FALSE(list.add(*endpoint::parse("[ff02::1]:6881"), peer_source::tracker, start));
    CHECK_FALSE(list.add(*endpoint::parse("[::]:6881"), peer_source::tracker, start));
    CHECK(list.size() == 0);
    CHECK(list.add(at(1), peer_source::tracker, start));
    CHECK_FALSE(list.add(at(1), peer_source::tracker, start));
    CHECK(list.size() == 1);
}

TEST_CASE("an address is on offer until it is dialled, and again some time after it failed") {
    peer_list list;
    random_engine random(1);
    CHECK(list.next_to_dial(start, random) == std::nullopt);
    list.add(at(1), peer_source::tracker, start);
    CHECK(list.next_to_dial(start, random) == at(1));
    list.dialled(at(1));
    CHECK(list.next_to_dial(start, random) == std::nullopt);
    time_point now = start;
    for (const auto wait : {5s, 10s, 20s, 40s, 80s, 160s, 320s}) {
        list.failed(at(1), now);
        CHECK(list.next_to_dial(now + wait - 1s, random) == std::nullopt);
        CHECK(list.next_to_dial(now + wait, random) == at(1));
        now += wait;
        list.dialled(at(1));
    }
    list.failed(at(1), now);
    CHECK_FALSE(list.contains(at(1)));
}

TEST_CASE("an address given by hand is tried every ten minutes for ever") {
    peer_list list;
    random_engine random(1);
    list.add(at(1), peer_source::user, start);
    time_point now = start;
    for (int i = 0; i < 50; ++i) {
        list.dialled(at(1));
        list.failed(at(1), now);
        now += 10min;
        REQUIRE(list.next_to_dial(now, random) == at(1));
    }
}

TEST_CASE("a long connection makes up for failures, and a short one counts as one") {
    peer_list list;
    random_engine random(1);
    list.add(at(1), peer_source::tracker, start);
    for (int i = 0; i < 4; ++i) list.failed(at(1), start);
    list.connected(at(1), start);
    CHECK(list.next_to_dial(start + 1h, random) == std::nullopt);
    list.closed(at(1), start + 1h);
    CHECK(list.next_to_dial(start + 1h + 5s, random) == at(1));
    list.connected(at(1), start + 2h);
    list.closed(at(1), start + 2h + 1s);
    list.connected(at(1), start + 2h + 6s);
    list.closed(at(1), start + 2h + 7s);
    CHECK(list.next_to_dial(start + 2h + 16s, random) == std::nullopt);
    CHECK(list.next_to_dial(start + 2h + 17s, random) == at(1));
}

TEST_CASE("who failed least and comes from the best source is dialled first, equals at random") {
    peer_list list;
    random_engine random(1);
    for (std::uint32_t i = 0; i < 10; ++i) list.add(at(i), peer_source::pex, start);
    list.add(at(100), peer_source::tracker, start);
    CHECK(list.next_to_dial(start, random) == at(100));
    list.failed(at(100), start);
    std::map<endpoint, int> times;
    for (int i = 0; i < 1000; ++i) ++times[*list.next_to_dial(start + 1h, random)];
    CHECK(times.size() == 10);
    for (const auto& [peer, n] : times) CHECK(n > 60);
}

TEST_CASE("one port of an address is in use at a time, except on this machine") {
    peer_list list;
    random_engine random(1);
    list.add(at(1, 1000), peer_source::tracker, start);
    list.add(at(1, 2000), peer_source::tracker, start);
    list.dialled(at(1, 1000));
    CHECK(list.next_to_dial(start, random) == std::nullopt);
    list.failed(at(1, 1000), start);
    CHECK(list.next_to_dial(start, random) == at(1, 2000));

    const endpoint here{ip_address::loopback_v4(), 1};
    const endpoint also_here{ip_address::loopback_v4(), 2};
    peer_list local;
    local.add(here, peer_source::tracker, start);
    local.add(also_here, peer_source::tracker, start);
    local.dialled(here);
    CHECK(local.next_to_dial(start, random) == also_here);
}

TEST_CASE("thousands of ports of one victim take a handful of places") {
    peer_list list;
    for (std::uint16_t port = 1; port < 5000; ++port) list.add(at(7, port), peer_source::pex, start);
    CHECK(list.size() == 8);
}

TEST_CASE("the list is bounded, and better sources and working addresses keep their places") {
    peer_list list({.max_peers = 100});
    for (std::uint32_t i = 0; i < 100; ++i) CHECK(list.add(at(i), peer_source::pex, start));
    CHECK_FALSE(list.add(at(1000), peer_source::pex, start));
    list.connected(at(0), start);
    for (std::uint32_t i = 0; i < 200; ++i) list.add(at(2000 + i), peer_source::tracker, start);
    CHECK(list.size() == 100);
    CHECK(list.contains(at(0)));
    list.failed(at(2000), start);
    CHECK(list.add(at(3000), peer_source::pex, start));
    CHECK_FALSE(list.contains(at(2000)));
    CHECK(list.add(at(4000), peer_source::user, start));
    CHECK(list.size() == 101);
}

TEST_CASE("three banned addresses of an IPv6 network ban the whole of it, and no other") {
    peer_list list;
    const auto v6 = [](std::uint8_t network, std::uint8_t host) {
        return endpoint{ip_address::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, host}), 6881};
    };
    list.add(v6(1, 9), peer_source::tracker, start);
    list.add(v6(2, 9), peer_source::tracker, start);
    list.ban(v6(1, 1).address);
    list.ban(v6(1, 1).address);
    list.ban(v6(1, 2).address);
    CHECK_FALSE(list.is_banned(v6(1, 9).address));
    list.ban(v6(1, 3).address);
    CHECK(list.is_banned(v6(1, 9).address));
    CHECK_FALSE(list.contains(v6(1, 9)));
    CHECK_FALSE(list.is_banned(v6(2, 9).address));
    CHECK(list.contains(v6(2, 9)));
}

TEST_CASE("a banned address is dropped with all its ports and not taken again") {
    peer_list list;
    random_engine random(1);
    list.add(at(1, 1), peer_source::tracker, start);
    list.add(at(1, 2), peer_source::tracker, start);
    list.add(at(2), peer_source::tracker, start);
    list.dialled(at(1, 1));
    list.ban(at(1).address);
    CHECK(list.is_banned(at(1).address));
    CHECK(list.banned_count() == 1);
    CHECK(list.size() == 1);
    CHECK_FALSE(list.add(at(1, 3), peer_source::user, start));
    CHECK(list.next_to_dial(start, random) == at(2));
    list.closed(at(1, 1), start);  // its connection ends later: nothing to note
    CHECK(list.size() == 1);
}

TEST_CASE("an excluded endpoint is never dialled, its neighbours are") {
    peer_list list;
    list.add(at(1, 1), peer_source::tracker, start);
    list.exclude(at(1, 1));
    CHECK(list.size() == 0);
    CHECK_FALSE(list.add(at(1, 1), peer_source::tracker, start));
    CHECK(list.add(at(1, 2), peer_source::tracker, start));
}

TEST_CASE("random events keep the use of addresses consistent") {
    peer_list list({.max_peers = 50, .max_per_address = 3});
    random_engine random(2);
    time_point now = start;
    std::set<endpoint> active;
    for (int i = 0; i < 20'000; ++i) {
        now += std::chrono::seconds(random.below(3));
        const endpoint peer = at(random.below(30), static_cast<std::uint16_t>(1 + random.below(5)));
        switch (random.below(6)) {
        case 0: list.add(peer, peer_source::pex, now); break;
        case 1: list.add(peer, peer_source::tracker, now); break;
        case 2:
            if (const auto next = list.next_to_dial(now, random)) {
                for (const endpoint& other : active) REQUIRE(other.address != next->address);
                list.dialled(*next);
                active.insert(*next);
            }
            break;
        case 3:
            if (active.contains(peer)) list.connected(peer, now);
            break;
        case 4:
            if (active.erase(peer) > 0) list.failed(peer, now);
            break;
        case 5:
            if (active.erase(peer) > 0) list.closed(peer, now);
            break;
        }
        REQUIRE(list.size() <= 50);
        for (const endpoint& a : active) REQUIRE(list.contains(a));
    }
    for (const endpoint& a : active) list.closed(a, now);
    active.clear();
    // Nothing is left in use: everything in the list can be dialled again.
    const std::size_t size = list.size();
    std::set<ip_address> dialled;
    while (const auto next = list.next_to_dial(now + 1h, random)) {
        list.dialled(*next);
        CHECK(dialled.insert(next->address).second);
    }
    CHECK(dialled.size() <= size);
    CHECK(dialled.size() * 3 >= size);
}

}  // namespace peer_list_test
