#include <doctest/doctest.h>

#include <map>
#include <set>
#include <vector>

#include <cohort/policy/super_seeding.hpp>

namespace super_seeding_test {

using namespace cohort;

namespace {

constexpr piece_index piece_count = 64;

/// Peers that have nothing at first, and what they were told of.
struct crowd {
    explicit crowd(std::initializer_list<peer_key> keys) {
        for (const peer_key key : keys) join(key);
    }
    void join(peer_key key) {
        has.emplace(key, bitfield(piece_count));
        policy.joined(key, now);
    }
    /// What the peer is told now.
    std::vector<piece_index> tell(peer_key to) {
        std::vector<piece_index> out;
        policy.tell(to, has.at(to), now, out);
        for (const piece_index piece : out) CHECK_MESSAGE(told[to].insert(piece).second, "told twice: ", piece);
        return out;
    }
    peer_key get(peer_key who, piece_index piece) {
        has.at(who).set(piece);
        return policy.has(who, piece, now);
    }
    void leave(peer_key who) {
        has.erase(who);
        policy.left(who);
    }
    std::uint32_t copies(piece_index piece) const {
        std::uint32_t out = 0;
        for (const auto& [key, bits] : has) out += bits.get(piece);
        return out;
    }

    time_point now{std::chrono::hours(1)};
    random_engine random{1};
    std::map<peer_key, bitfield> has;
    std::map<peer_key, std::set<piece_index>> told;
    super_seeding policy{piece_count, [this](piece_index piece) { return copies(piece); }, random};
};

}  // namespace

TEST_CASE("a piece is offered to one peer, and the next one when another has it as well") {
    crowd peers{1, 2};
    const auto first = peers.tell(1);
    const auto second = peers.tell(2);
    REQUIRE(first.size() == super_seeding::most_open);
    REQUIRE(second.size() == super_seeding::most_open);
    for (const piece_index piece : first) CHECK(std::find(second.begin(), second.end(), piece) == second.end());
    CHECK(peers.tell(1).empty());
    // That it has got the piece itself is not enough.
    CHECK(peers.get(1, first[0]) == no_peer);
    CHECK(peers.tell(1).empty());
    CHECK(peers.get(2, first[0]) == 1);
    CHECK(peers.tell(1).size() == 1);
    CHECK(peers.tell(2).empty());
}

TEST_CASE("a swarm that shares gets each piece from the seeder once") {
    crowd peers{1, 2, 3, 4};
    std::size_t given = 0;
    for (int round = 0; round < 100; ++round) {
        peers.now += 1s;
        for (peer_key key = 1; key <= 4; ++key) {
            for (const piece_index piece : peers.tell(key)) {
                ++given;
                CHECK(peers.copies(piece) == 0);
                for (peer_key who = 1; who <= 4; ++who) peers.get(who, piece);
            }
        }
    }
    CHECK(given == piece_count);
    for (const auto& [key, bits] : peers.has) CHECK(bits.all());
}

TEST_CASE("what was offered to, or only held by, a peer that leaves is offered again") {
    crowd peers{1, 2};
    const auto lost = peers.tell(1);
    peers.get(1, lost[0]);
    peers.leave(1);
    std::set<piece_index> offered;
    for (int round = 0; round < 64; ++round) {
        for (const piece_index piece : peers.tell(2)) {
            offered.insert(piece);
            peers.get(2, piece);
        }
        // Somebody comes, takes what the other has, and stays.
        const peer_key other = static_cast<peer_key>(10 + round);
        peers.join(other);
        for (const piece_index piece : offered) peers.get(other, piece);
    }
    for (const piece_index piece : lost) CHECK(offered.contains(piece));
    CHECK(offered.size() == piece_count);
}

TEST_CASE("who gets nothing from anybody is told of everything, once and in parts") {
    crowd peers{1, 2};
    const auto first = peers.tell(1);
    peers.now += super_seeding::patience;
    peers.get(2, peers.tell(2).at(0));
    CHECK(peers.tell(1).empty());
    peers.now += 1s;
    peers.get(2, 63);
    const std::size_t rest = piece_count - first.size();
    CHECK(peers.tell(1).size() == rest);
    CHECK(peers.tell(1).empty());
    CHECK(peers.tell(2).size() <= 1);
}

TEST_CASE("a single peer does not wait for others that may never come") {
    crowd peers{1};
    const auto first = peers.tell(1);
    peers.now += super_seeding::alone_patience;
    CHECK(peers.tell(1).empty());
    peers.now += 1s;
    CHECK(peers.tell(1).size() == piece_count - first.size());
}

}  // namespace super_seeding_test
