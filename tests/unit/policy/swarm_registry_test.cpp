#include <cohort/policy/swarm_registry.hpp>

#include <map>
#include <set>

#include <doctest/doctest.h>

namespace swarm_registry_test {

using namespace cohort;

namespace {

constexpr time_point start{std::chrono::hours(1)};

info_hash torrent(std::uint32_t n) {
    info_hash out;
    store_be(out.bytes.data(), n);
    return out;
}

endpoint v4(std::uint32_t address, std::uint16_t port = 6881) { return {ip_address::v4(address), port}; }

/// Each in a network of its own.
endpoint v6(std::uint32_t n, std::uint16_t port = 6881, std::uint32_t host = 1) {
    std::array<std::uint8_t, 16> bytes{0x20, 0x01};
    store_be(bytes.data() + 4, n);
    store_be(bytes.data() + 12, host);
    return {ip_address::v6(bytes), port};
}

registry_announce from(const endpoint& address, std::uint64_t left, announce_event event = announce_event::none) {
    registry_announce out;
    out.address = address;
    out.left = left;
    out.event = event;
    const auto hash = std::hash<endpoint>{}(address);
    store_be(out.id.bytes.data(), static_cast<std::uint64_t>(hash));
    return out;
}

/// A registry and what its calls need.
struct fixture {
    swarm_registry registry;
    random_engine random{1};

    explicit fixture(registry_options options = {}) : registry(options, 0x1234) {}

    std::optional<swarm_counts> announce(const info_hash& hash, const registry_announce& a, time_point now = start) {
        std::vector<endpoint> out;
        return registry.announce(hash, a, now, random, out);
    }
    std::vector<endpoint> peers(const info_hash& hash, const registry_announce& a, time_point now = start) {
        std::vector<endpoint> out;
        registry.announce(hash, a, now, random, out);
        return out;
    }
};

}  // namespace

TEST_CASE("an announce counts the peer, and the next one is told about it") {
    fixture f;
    CHECK(f.announce(torrent(1), from(v4(1), 100)) == swarm_counts{0, 1, 0});
    CHECK(f.announce(torrent(1), from(v4(2), 0)) == swarm_counts{1, 1, 0});
    CHECK(f.peers(torrent(1), from(v4(1), 100)) == std::vector{v4(2)});
    CHECK(f.registry.scrape(torrent(1)) == swarm_counts{1, 1, 0});
    CHECK(f.registry.scrape(torrent(2)) == swarm_counts{});
    CHECK(f.registry.totals().torrents == 1);
    CHECK(f.registry.totals().peers() == 2);
}

TEST_CASE("seeders are not told about seeders, and nobody about itself") {
    fixture f;
    for (std::uint32_t i = 0; i < 40; ++i) f.announce(torrent(1), from(v4(i), i % 2));
    const auto for_seeder = f.peers(torrent(1), from(v4(0), 0));
    CHECK(for_seeder.size() == 20);
    for (const endpoint& e : for_seeder) CHECK(load_be<std::uint32_t>(e.address.bytes().data()) % 2 == 1);
    const auto for_leecher = f.peers(torrent(1), from(v4(1), 1));
    CHECK(for_leecher.size() == 39);
    CHECK(std::set(for_leecher.begin(), for_leecher.end()).size() == 39);
    CHECK(std::find(for_leecher.begin(), for_leecher.end(), v4(1)) == for_leecher.end());
}

TEST_CASE("peers are told about their own address family, and both families are counted") {
    fixture f;
    f.announce(torrent(1), from(v4(1), 0));
    f.announce(torrent(1), from(v6(2), 5));
    CHECK(f.peers(torrent(1), from(v4(3), 5)) == std::vector{v4(1)});
    CHECK(f.peers(torrent(1), from(v6(4), 5)) == std::vector{v6(2)});
    CHECK(f.registry.scrape(torrent(1)) == swarm_counts{1, 3, 0});
}

TEST_CASE("numwant is obeyed, up to the limit, and has a default") {
    fixture f({.max_peers_per_address = 1000, .default_numwant = 50, .max_numwant = 80});
    for (std::uint32_t i = 0; i < 200; ++i) f.announce(torrent(1), from(v4(i), 1));
    auto ask = from(v4(0), 1);
    CHECK(f.peers(torrent(1), ask).size() == 50);
    ask.numwant = 0;
    CHECK(f.peers(torrent(1), ask).empty());
    ask.numwant = 7;
    CHECK(f.peers(torrent(1), ask).size() == 7);
    ask.numwant = 2'000'000'000;
    CHECK(f.peers(torrent(1), ask).size() == 80);
}

TEST_CASE("the choice of peers meets everybody, and everybody about equally often") {
    fixture f;
    constexpr std::uint32_t swarm = 97;
    for (std::uint32_t i = 0; i < swarm; ++i) f.announce(torrent(1), from(v4(i), i % 3));
    auto ask = from(v4(1000), 1);
    ask.numwant = 10;
    std::map<endpoint, int> times;
    for (int i = 0; i < 9700; ++i) {
        const auto got = f.peers(torrent(1), ask);
        CHECK(std::set(got.begin(), got.end()).size() == 10);
        for (const endpoint& e : got) ++times[e];
    }
    CHECK(times.size() == swarm);
    for (const auto& [peer, n] : times) {
        CHECK(n > 800);
        CHECK(n < 1200);
    }
}

TEST_CASE("a peer that finishes moves from incomplete to complete, and is counted as downloaded once") {
    fixture f;
    f.announce(torrent(1), from(v4(1), 100, announce_event::started));
    CHECK(f.announce(torrent(1), from(v4(1), 0, announce_event::completed)) == swarm_counts{1, 0, 1});
    CHECK(f.announce(torrent(1), from(v4(1), 0, announce_event::completed)) == swarm_counts{1, 0, 1});
    f.announce(torrent(1), from(v4(1), 0, announce_event::stopped));
    CHECK(f.announce(torrent(1), from(v4(1), 0, announce_event::completed)) == swarm_counts{1, 0, 1});
    CHECK(f.announce(torrent(1), from(v4(2), 0, announce_event::completed)) == swarm_counts{2, 0, 2});
    CHECK(f.announce(torrent(2), from(v4(1), 0, announce_event::completed)) == swarm_counts{1, 0, 1});
    CHECK(f.registry.totals().downloaded == 3);
}

TEST_CASE("a peer that finishes and says so over both address families is counted once") {
    fixture f;
    auto over_v4 = from(v4(1), 0, announce_event::completed);
    auto over_v6 = from(v6(1), 0, announce_event::completed);
    over_v6.id = over_v4.id;
    f.announce(torrent(1), over_v4);
    CHECK(f.announce(torrent(1), over_v6) == swarm_counts{2, 0, 1});
}

TEST_CASE("a stopped peer is gone at once and gets no peers; stopping what is unknown does nothing") {
    fixture f;
    f.announce(torrent(1), from(v4(1), 100));
    f.announce(torrent(1), from(v4(2), 100));
    CHECK(f.peers(torrent(1), from(v4(1), 100, announce_event::stopped)).empty());
    CHECK(f.registry.scrape(torrent(1)) == swarm_counts{0, 1, 0});
    CHECK(f.announce(torrent(1), from(v4(1), 100, announce_event::stopped)) == swarm_counts{0, 1, 0});
    CHECK(f.announce(torrent(9), from(v4(1), 100, announce_event::stopped)) == swarm_counts{});
    CHECK(f.registry.totals().torrents == 1);
}

TEST_CASE("the same peer on another port replaces itself; another peer on the same endpoint does so too") {
    fixture f;
    auto peer = from(v4(1, 1000), 100, announce_event::completed);
    f.announce(torrent(1), peer);
    peer.address.port = 2000;
    CHECK(f.announce(torrent(1), peer) == swarm_counts{0, 1, 1});
    CHECK(f.peers(torrent(1), from(v4(2), 1)) == std::vector{v4(1, 2000)});

    auto other = from(v4(1, 3000), 100);
    CHECK(f.announce(torrent(1), other) == swarm_counts{0, 3, 1});
    other.address.port = 2000;
    // Its own old port and the entry of the other one are both replaced.
    CHECK(f.announce(torrent(1), other) == swarm_counts{0, 2, 1});
    peer = from(v4(1, 2000), 100);
    peer.key = 77;
    CHECK(f.announce(torrent(1), peer) == swarm_counts{0, 2, 1});
}

TEST_CASE("one address has a bounded number of places in a swarm, and takes the oldest of its own") {
    fixture f({.max_peers_per_address = 3});
    f.announce(torrent(1), from(v4(9), 1), start);
    for (std::uint16_t port = 1; port <= 100; ++port)
        f.announce(torrent(1), from(v4(1, port), 1), start + std::chrono::seconds(port));
    CHECK(f.registry.scrape(torrent(1)).incomplete == 4);
    auto got = f.peers(torrent(1), from(v4(2), 1), start + 200s);
    std::sort(got.begin(), got.end());
    CHECK(got == std::vector{v4(1, 98), v4(1, 99), v4(1, 100), v4(9)});
}

TEST_CASE("all addresses of an IPv6 network share its places, and remain peers of their own") {
    fixture f({.max_peers_per_address = 3});
    for (std::uint32_t n = 1; n <= 20; ++n) f.announce(torrent(1), from(v6(n), 1), start);  // many enough for an index
    for (std::uint32_t host = 2; host <= 100; ++host)
        f.announce(torrent(1), from(v6(1, 6881, host), 1), start + std::chrono::seconds(host));
    CHECK(f.registry.scrape(torrent(1)).incomplete == 22);
    f.announce(torrent(1), from(v6(1, 6881, 100), 0, announce_event::stopped), start + 200s);
    CHECK(f.registry.scrape(torrent(1)).incomplete == 21);
    const auto got = f.peers(torrent(1), from(v6(2), 1), start + 200s);
    CHECK(std::count(got.begin(), got.end(), v6(1, 6881, 98)) == 1);
    CHECK(std::count(got.begin(), got.end(), v6(1, 6881, 99)) == 1);
}

TEST_CASE("a full registry refuses new torrents, and a full swarm answers without remembering") {
    fixture f({.max_torrents = 2, .max_peers = 5, .max_peers_per_torrent = 3});
    for (std::uint32_t i = 0; i < 3; ++i) f.announce(torrent(1), from(v4(i), 1));
    CHECK(f.peers(torrent(1), from(v4(10), 1)).size() == 3);
    CHECK(f.registry.scrape(torrent(1)).incomplete == 3);
    CHECK(f.announce(torrent(1), from(v4(0), 0)) == swarm_counts{1, 2, 0});
    CHECK(f.announce(torrent(2), from(v4(0), 1)) == swarm_counts{0, 1, 0});
    CHECK(f.announce(torrent(2), from(v4(1), 1)) == swarm_counts{0, 2, 0});
    CHECK(f.announce(torrent(2), from(v4(2), 1)) == swarm_counts{0, 2, 0});
    CHECK(f.announce(torrent(3), from(v4(1), 1)) == std::nullopt);
    CHECK(f.registry.totals().torrents == 2);
}

TEST_CASE("a stranger who makes up torrents without end closes a full registry to nobody, and spoils no swarm") {
    fixture f({.max_torrents = 100});
    for (std::uint32_t t = 0; t < 20; ++t)
        for (std::uint32_t i = 0; i < 3; ++i) f.announce(torrent(t), from(v4(i), 1));
    for (std::uint32_t t = 1000; t < 11'000; ++t) {
        const time_point now = start + t * 1ms;
        REQUIRE(f.announce(torrent(t), from(t % 2 ? v4(66) : v6(66), 1), now) == swarm_counts{0, 1, 0});
        REQUIRE(f.registry.totals().torrents <= 100);
        REQUIRE(f.registry.totals().peers() <= 140);
    }
    for (std::uint32_t t = 0; t < 20; ++t) CHECK(f.registry.scrape(torrent(t)).incomplete == 3);
    CHECK(f.announce(torrent(500), from(v4(1), 1)) == swarm_counts{0, 1, 0});
    std::size_t left = 0;
    for (std::uint32_t t = 0; t < 11'000; ++t) left += f.registry.scrape(torrent(t)).incomplete;
    CHECK(left == f.registry.totals().incomplete);
}

TEST_CASE("silent peers and then empty swarms are forgotten, a bounded number at each call") {
    fixture f({.peer_lifetime = 100s});
    for (std::uint32_t t = 0; t < 50; ++t)
        for (std::uint32_t i = 0; i < 10; ++i) f.announce(torrent(t), from(i % 2 ? v4(i) : v6(i), i % 3));
    f.announce(torrent(7), from(v4(1), 1), start + 50s);
    CHECK(f.registry.expire(start + 99s, 1'000'000) == 0);
    CHECK(f.registry.expire(start + 100s, 10) <= 10);
    std::size_t calls = 1;
    while (f.registry.totals().peers() > 1) {
        CHECK(f.registry.expire(start + 100s, 10) <= 10);
        REQUIRE(++calls < 100);
    }
    for (int i = 0; i < 20; ++i) f.registry.expire(start + 100s, 10);
    CHECK(f.registry.totals().torrents == 1);
    CHECK(f.registry.scrape(torrent(7)).incomplete == 1);
    CHECK(f.registry.expire(start + 150s, 1'000'000) == 1);
    f.registry.expire(start + 150s, 1'000'000);
    CHECK(f.registry.totals().torrents == 0);
    CHECK(f.registry.totals().peers() == 0);
    CHECK(f.registry.totals().downloaded == 0);
}

TEST_CASE("the downloads of a swarm survive a time without peers") {
    fixture f({.peer_lifetime = 100s});
    f.announce(torrent(1), from(v4(1), 0, announce_event::completed), start);
    f.announce(torrent(1), from(v4(1), 0, announce_event::stopped), start + 10s);
    f.registry.expire(start + 109s, 1000);
    CHECK(f.registry.scrape(torrent(1)) == swarm_counts{0, 0, 1});
    f.registry.expire(start + 110s, 1000);
    CHECK(f.registry.totals().torrents == 0);
}

TEST_CASE("all swarms can be listed in pages") {
    fixture f;
    for (std::uint32_t t = 0; t < 25; ++t) f.announce(torrent(t), from(v4(t), t % 2));
    std::set<info_hash> seen;
    for (std::size_t first = 0;; first += 10) {
        const auto page = f.registry.list(first, 10);
        CHECK(page.size() <= 10);
        for (const swarm_summary& s : page) {
            seen.insert(s.hash);
            CHECK(s.counts == f.registry.scrape(s.hash));
        }
        if (page.size() < 10) break;
    }
    CHECK(seen.size() == 25);
}

TEST_CASE("the registry agrees with a plain model under random announces and expiry") {
    random_engine random(3);
    fixture f({.peer_lifetime = 300s, .max_peers_per_address = 1000, .max_numwant = 10'000});
    struct remembered {
        std::uint64_t left;
        time_point seen;
    };
    std::map<info_hash, std::map<endpoint, remembered>> model;
    time_point now = start;
    for (int i = 0; i < 20'000; ++i) {
        now += std::chrono::milliseconds(random.below(500));
        const info_hash hash = torrent(random.below(1 + random.below(30)));
        const std::uint32_t n = random.below(60);
        const auto port = static_cast<std::uint16_t>(1 + random.below(2));
        const endpoint who = random.below(3) == 0 ? v6(n, port) : v4(n, port);
        const bool stop = random.below(10) == 0;
        auto a = from(who, random.below(2), stop ? announce_event::stopped : announce_event::none);
        a.numwant = 10'000;
        auto& swarm = model[hash];
        if (stop)
            swarm.erase(who);
        else
            swarm[who] = {a.left, now};
        std::set<endpoint> expected;
        if (!stop)
            for (const auto& [peer, state] : swarm)
                if (peer != who && peer.address.is_v4() == who.address.is_v4() && (a.left > 0 || state.left > 0))
                    expected.insert(peer);
        const auto got = f.peers(hash, a, now);
        REQUIRE(got.size() == expected.size());
        REQUIRE(std::set(got.begin(), got.end()) == expected);

        if (random.below(100) == 0) {
            // Two passes: one may have begun in the middle of a swarm.
            f.registry.expire(now, 100'000);
            f.registry.expire(now, 100'000);
            for (auto& [h, peers] : model)
                std::erase_if(peers, [&](const auto& p) {
                    return std::chrono::floor<std::chrono::seconds>(now) -
                               std::chrono::floor<std::chrono::seconds>(p.second.seen) >=
                           300s;
                });
        }
        swarm_counts counts;
        for (const auto& [peer, state] : swarm) ++(state.left == 0 ? counts.complete : counts.incomplete);
        REQUIRE(f.registry.scrape(hash) == counts);
    }
    std::size_t peers = 0;
    for (const auto& [hash, swarm] : model) peers += swarm.size();
    CHECK(f.registry.totals().peers() == peers);
}

TEST_CASE("memory stays far below 64 bytes a peer, and is given back") {
    fixture f({.peer_lifetime = 100s});
    constexpr std::uint32_t peers = 100'000;
    const std::size_t empty = f.registry.memory();
    for (std::uint32_t i = 0; i < peers; ++i) {
        auto a = from(v4(i), i % 2);
        a.numwant = 0;
        f.announce(torrent(1), a);
    }
    CHECK(static_cast<double>(f.registry.memory()) / peers < 34);
    for (std::uint32_t i = 0; i < peers; ++i) {
        auto a = from(v6(i), i % 2);
        a.numwant = 0;
        f.announce(torrent(2), a);
    }
    CHECK(static_cast<double>(f.registry.memory()) / (2 * peers) < 40);
    f.registry.expire(start + 100s, 10 * peers);
    f.registry.expire(start + 100s, 10 * peers);
    CHECK(f.registry.totals().torrents == 0);
    CHECK(f.registry.memory() <= empty + 1024);
}

TEST_CASE("a hundred thousand swarms of one peer fit in 40 MB") {
    fixture f;
    for (std::uint32_t t = 0; t < 100'000; ++t) f.announce(torrent(t), from(v4(t), 1));
    CHECK(f.registry.totals().torrents == 100'000);
    CHECK(f.registry.memory() < 40'000'000);
    for (std::uint32_t t = 0; t < 100'000; t += 997) CHECK(f.registry.scrape(torrent(t)).incomplete == 1);
}

}  // namespace swarm_registry_test
