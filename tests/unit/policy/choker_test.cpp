#include <cohort/policy/choker.hpp>

#include <map>
#include <set>

#include <doctest/doctest.h>

namespace choker_test {

using namespace cohort;

namespace {

constexpr time_point start{1h};

choke_candidate peer(peer_key key, double download_rate = 0) {
    choke_candidate out;
    out.key = key;
    out.interested = true;
    out.download_rate = download_rate;
    out.connected_since = start - 1h + 1s;
    return out;
}

std::set<peer_key> rechoke(choker& c, const std::vector<choke_candidate>& peers, bool seeding, time_point now,
                           random_engine& random) {
    const auto keys = c.rechoke(peers, seeding, now, random);
    const std::set<peer_key> out(keys.begin(), keys.end());
    CHECK(out.size() == keys.size());
    return out;
}

/// What the engine does with the answer.
void apply(std::vector<choke_candidate>& peers, const std::set<peer_key>& unchoked, time_point now) {
    for (choke_candidate& p : peers) {
        const bool next = unchoked.contains(p.key);
        if (next && !p.unchoked_now) {
            p.unchoked_since = now;
            p.uploaded_since_unchoke = 0;
        }
        p.unchoked_now = next;
    }
}

}  // namespace

TEST_CASE("those who give most are unchoked, and one by luck") {
    choker c({.unchoke_slots = 3, .optimistic_slots = 1});
    random_engine random(1);
    std::vector<choke_candidate> peers;
    for (peer_key k = 0; k < 10; ++k) peers.push_back(peer(k, k * 1000.0));
    const auto got = rechoke(c, peers, false, start, random);
    CHECK(got.size() == 4);
    for (const peer_key k : {7u, 8u, 9u}) CHECK(got.contains(k));
}

TEST_CASE("who is not interested gets no slot, and who is snubbed only one by luck") {
    choker c({.unchoke_slots = 2, .optimistic_slots = 1});
    random_engine random(1);
    std::vector<choke_candidate> peers{peer(0, 9000), peer(1, 8000), peer(2, 10), peer(3, 20), peer(4, 5)};
    peers[0].interested = false;
    peers[1].snubbed = true;
    int lucky = 0;
    for (int i = 0; i < 300; ++i) {
        const auto got = rechoke(c, peers, false, start + i * 30s, random);
        CHECK(got.size() == 3);
        CHECK_FALSE(got.contains(0));
        CHECK(got.contains(2));
        CHECK(got.contains(3));
        lucky += got.contains(1) ? 1 : 0;
    }
    CHECK(lucky > 100);
    CHECK(lucky < 200);
}

TEST_CASE("a slot that nobody earned is given by luck") {
    choker c({.unchoke_slots = 4, .optimistic_slots = 1});
    random_engine random(1);
    std::vector<choke_candidate> peers{peer(0, 100), peer(1), peer(2), peer(3)};
    for (std::size_t i = 1; i < 4; ++i) peers[i].snubbed = true;
    CHECK(rechoke(c, peers, false, start, random) == std::set<peer_key>{0, 1, 2, 3});
    CHECK(rechoke(c, {}, false, start, random).empty());
}

TEST_CASE("where nobody gives anything the slots go round, and whoever begins to give keeps one") {
    choker c({.unchoke_slots = 3, .optimistic_slots = 1});
    random_engine random(1);
    std::vector<choke_candidate> peers;
    for (peer_key k = 0; k < 12; ++k) {
        peers.push_back(peer(k));
        peers.back().connected_since += k * 1s;
    }
    std::map<peer_key, int> turns;
    for (int i = 0; i < 360; ++i) {
        const time_point now = start + i * 10s;
        if (i == 180) peers[7].download_rate = 1;
        const auto got = rechoke(c, peers, false, now, random);
        CHECK(got.size() == 4);
        CHECK((i < 180 || got.contains(7)));
        apply(peers, got, now);
        for (const peer_key k : got) ++turns[k];
    }
    // 720 slots for twelve, then 540 for eleven.
    for (peer_key k = 0; k < 12; ++k) {
        if (k == 7) continue;
        CHECK(turns[k] >= 90);
        CHECK(turns[k] <= 130);
    }
}

TEST_CASE("luck lasts thirty seconds, and then goes to somebody else") {
    choker c({.unchoke_slots = 1, .optimistic_slots = 1});
    random_engine random(1);
    std::vector<choke_candidate> peers{peer(0, 100), peer(1), peer(2), peer(3)};
    peer_key before = 0;
    for (int i = 0; i < 30; ++i) {
        const time_point now = start + i * 30s;
        auto got = rechoke(c, peers, false, now, random);
        CHECK(got == rechoke(c, peers, false, now + 10s, random));
        CHECK(got == rechoke(c, peers, false, now + 20s, random));
        got.erase(0);
        REQUIRE(got.size() == 1);
        CHECK(*got.begin() != before);
        before = *got.begin();
    }
}

TEST_CASE("a new peer is three times as likely to be lucky") {
    random_engine random(1);
    std::vector<choke_candidate> peers{peer(0, 100), peer(1), peer(2), peer(3)};
    peers[3].connected_since = start - 5s;
    std::map<peer_key, int> times;
    for (int i = 0; i < 5000; ++i) {
        choker c({.unchoke_slots = 1, .optimistic_slots = 1});
        for (const peer_key k : rechoke(c, peers, false, start, random)) ++times[k];
    }
    CHECK(times[3] > 2700);
    CHECK(times[3] < 3300);
    CHECK(times[1] > 800);
    CHECK(times[2] > 800);
}

TEST_CASE("equal givers keep their slots") {
    choker c({.unchoke_slots = 2, .optimistic_slots = 0});
    random_engine random(1);
    std::vector<choke_candidate> peers;
    for (peer_key k = 0; k < 6; ++k) peers.push_back(peer(k, 500));
    peers[3].unchoked_now = peers[5].unchoked_now = true;
    CHECK(rechoke(c, peers, false, start, random) == std::set<peer_key>{3, 5});
}

TEST_CASE("a seeder lets everybody have a turn of the same size, newcomers too") {
    choker c({.unchoke_slots = 2, .optimistic_slots = 1});
    random_engine random(1);
    std::vector<choke_candidate> peers;
    for (peer_key k = 0; k < 10; ++k) peers.push_back(peer(k));
    std::map<peer_key, int> turns;
    for (int i = 0; i < 600; ++i) {
        const time_point now = start + i * 10s;
        if (i == 300) {
            peers.push_back(peer(10));
            peers.back().connected_since = now;
        }
        const auto got = rechoke(c, peers, true, now, random);
        CHECK(got.size() == 3);
        apply(peers, got, now);
        for (const peer_key k : got) ++turns[k];
    }
    // 1800 slots of ten seconds for ten peers, later eleven; turns are six long.
    for (peer_key k = 0; k < 10; ++k) {
        CHECK(turns[k] >= 160);
        CHECK(turns[k] <= 185);
    }
    CHECK(turns[10] >= 70);
    CHECK(turns[10] <= 90);
}

TEST_CASE("a seeder ends a turn when the peer has its share, unless nobody waits") {
    choker c({.unchoke_slots = 1, .optimistic_slots = 0, .share = 1000});
    random_engine random(1);
    std::vector<choke_candidate> peers{peer(0)};
    peers[0].unchoked_now = true;
    peers[0].unchoked_since = start - 10s;
    peers[0].uploaded_since_unchoke = 1000;
    CHECK(rechoke(c, peers, true, start, random) == std::set<peer_key>{0});
    peers.push_back(peer(1));
    peers[1].connected_since = start - 1s;
    CHECK(rechoke(c, peers, true, start, random) == std::set<peer_key>{1});
    peers[0].uploaded_since_unchoke = 999;
    CHECK(rechoke(c, peers, true, start, random) == std::set<peer_key>{0});
}

}  // namespace choker_test
