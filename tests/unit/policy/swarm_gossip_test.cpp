#include <cohort/policy/swarm_gossip.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>

#include <cohort/core/random.hpp>

namespace swarm_gossip_test {

using namespace cohort;

namespace {

constexpr time_point start{};
const info_hash torrent_hash = {{7}};

/// Somebody whose entries are what they say, or not.
struct author {
    explicit author(std::uint8_t number) {
        key32 seed{};
        seed[0] = number;
        seed[1] = 1;
        self.emplace(seed);
    }

    signed_entry entry(std::uint64_t seq, chat::entry_body body, std::string_view room = {}) const {
        chat_entry out;
        out.conversation = room_conversation(room.empty() ? swarm_room(torrent_hash) : std::string(room));
        out.seq = out.clock = seq;
        out.prev.bytes[0] = 1;
        out.body = std::move(body);
        std::error_code ec;
        const auto made = signed_entry::make(out, *self, ec);
        REQUIRE(made);
        return *made;
    }
    signed_entry text(std::uint64_t seq, std::string words = "hello") const {
        return entry(seq, chat::text{std::move(words)});
    }
    signed_entry name(std::uint64_t seq, std::string called) const {
        return entry(seq, chat::room_join{swarm_room(torrent_hash), std::move(called)});
    }

    std::optional<identity> self;
};

signed_entry forged(const signed_entry& from) {
    byte_vector bytes(from.bytes().begin(), from.bytes().end());
    bytes.back() ^= 1;
    std::error_code ec;
    return *signed_entry::parse(bytes, ec);
}

}  // namespace

TEST_CASE("a message is new once, whoever brings it, and in whatever order") {
    const author alice(1);
    swarm_gossip gossip(torrent_hash);
    std::array<std::uint64_t, 64> order{};
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = 1000 + i;
    random_engine random(3);
    random.shuffle(order);
    for (const std::uint64_t seq : order) CHECK(gossip.take(alice.text(seq), start) == gossip_verdict::fresh);
    for (const std::uint64_t seq : order) CHECK(gossip.take(alice.text(seq), start) == gossip_verdict::known);
    CHECK(gossip.recent().size() == 64);
    // Another text under a number that was used is not new either.
    CHECK(gossip.take(alice.text(1010, "other"), start) == gossip_verdict::known);
}

TEST_CASE("what is more than 63 messages behind the author's newest is old, however long ago it came") {
    const author alice(1), bob(2);
    swarm_gossip gossip(torrent_hash);
    CHECK(gossip.take(alice.text(1000), start) == gossip_verdict::fresh);
    CHECK(gossip.take(alice.text(936), start) == gossip_verdict::known);
    CHECK(gossip.take(alice.text(937), start) == gossip_verdict::fresh);
    CHECK(gossip.take(alice.text(5000), start) == gossip_verdict::fresh);
    CHECK(gossip.take(alice.text(1000), start) == gossip_verdict::known);
    CHECK(gossip.take(alice.text(max_clock), start) == gossip_verdict::fresh);
    CHECK(gossip.take(alice.text(5001), start) == gossip_verdict::known);
    CHECK(gossip.take(bob.text(2), start) == gossip_verdict::fresh);
}

TEST_CASE("forged entries, those of other rooms, and long texts are refused and leave no trace") {
    const author alice(1);
    swarm_gossip gossip(torrent_hash);
    CHECK(gossip.take(forged(alice.text(10)), start) == gossip_verdict::refused);
    CHECK(gossip.take(forged(alice.name(9, "alice")), start) == gossip_verdict::refused);
    CHECK(gossip.take(alice.entry(10, chat::text{"x"}, "lobby"), start) == gossip_verdict::refused);
    CHECK(gossip.take(alice.text(10, std::string(gossip_limits::text + 1, 'x')), start) == gossip_verdict::refused);
    CHECK(gossip.take(alice.entry(10, chat::room_leave{"bye"}), start) == gossip_verdict::ignored);
    CHECK(gossip.take(alice.entry(10, chat::unknown_body{77, {1}}), start) == gossip_verdict::ignored);
    CHECK(gossip.authors() == 0);
    CHECK(gossip.recent().empty());
    CHECK(gossip.take(alice.text(10, std::string(gossip_limits::text, 'x')), start) == gossip_verdict::fresh);
}

TEST_CASE("the newest introduction gives the name") {
    const author alice(1);
    swarm_gossip gossip(torrent_hash);
    CHECK(gossip.name_of(alice.self->key()).empty());
    CHECK(gossip.take(alice.text(100), start) == gossip_verdict::fresh);
    CHECK(gossip.name_of(alice.self->key()).empty());
    CHECK(gossip.take(alice.name(5, "al"), start) == gossip_verdict::name);
    CHECK(gossip.take(alice.name(7, "alice"), start) == gossip_verdict::name);
    CHECK(gossip.take(alice.name(6, "ali"), start) == gossip_verdict::known);
    CHECK(gossip.name_of(alice.self->key()) == "alice");
}

TEST_CASE("messages, authors and checked signatures are bounded") {
    swarm_gossip gossip(torrent_hash);
    const author first(1);
    std::size_t checked = 0;
    for (std::uint64_t seq = 1; seq <= 2 * gossip_limits::burst_checked; ++seq) {
        checked += gossip.take(first.text(seq + 1), start) == gossip_verdict::fresh;
    }
    CHECK(checked == gossip_limits::burst_checked);
    CHECK(gossip.recent().size() == gossip_limits::recent);

    time_point now = start;
    for (std::uint64_t number = 0; number < gossip_limits::authors + 10; ++number) {
        key32 seed{};
        seed[0] = static_cast<std::uint8_t>(number);
        seed[1] = static_cast<std::uint8_t>(2 + number / 256);
        author one(0);
        one.self.emplace(seed);
        now += 1s;
        REQUIRE(gossip.take(one.text(2), now) == gossip_verdict::fresh);
    }
    CHECK(gossip.authors() == gossip_limits::authors);
    CHECK(gossip.recent().size() == gossip_limits::recent);
}

TEST_CASE("a peer is heard ten times a second, can save up a hundred, and pays for nonsense") {
    gossip_link link;
    const auto heard = [&](time_point now) {
        int out = 0;
        while (link.may_hear(now)) ++out;
        return out;
    };
    CHECK(heard(start) == 100);
    CHECK(heard(start + 1s) == 10);
    CHECK(heard(start + 100s) == 100);
    link.punish(start + 101s);
    CHECK(heard(start + 101s) == 0);
    for (int i = 0; i < 5; ++i) link.punish(start + 200s);
    CHECK(heard(start + 200s) == 0);
    CHECK(heard(start + 201s) == 10);
}

TEST_CASE("who passes on says less than who listens takes") {
    gossip_link giver, taker;
    time_point now = start;
    for (int step = 0; step < 10'000; ++step) {
        now += 10ms;
        if (giver.may_tell(2, now)) {
            CHECK(taker.may_hear(now));
            CHECK(taker.may_hear(now));
        }
    }
}

TEST_CASE("a peer is introduced to an author once, or seldom more") {
    gossip_link link;
    identity_key key;
    std::size_t introductions = 0;
    for (int round = 0; round < 2; ++round) {
        for (std::uint8_t i = 0; i < 200; ++i) {
            key.bytes[0] = i;
            if (link.knows(key)) continue;
            link.introduced(key);
            ++introductions;
        }
    }
    CHECK(introductions == 200);
    for (std::uint8_t i = 0; i < 200; ++i) {
        key.bytes[1] = static_cast<std::uint8_t>(i + 1);
        link.introduced(key);
    }
    CHECK(link.knows(key));
}

}  // namespace swarm_gossip_test
