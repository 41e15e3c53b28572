#include <cohort/policy/name_registry.hpp>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>

namespace name_registry_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) {
    key32 seed{};
    seed.fill(number);
    return identity(seed);
}

/// Both clocks, so many seconds after the start.
clock_reading at(std::int64_t seconds) {
    return {time_point(std::chrono::seconds(1000 + seconds)), 1'700'000'000'000 + seconds * 1000};
}

ip_address from(std::uint32_t number) { return ip_address::v4(0x0a000000 + number); }

registration user(const std::string& name, const std::string& host = "10.0.0.1") { return {name, host, 8001}; }

registration signed_user(const std::string& name, const identity& by, clock_reading when,
                         const std::string& host = "10.0.0.1") {
    registration out = user(name, host);
    sign_registration(out, by, when.calendar);
    return out;
}

std::vector<std::string> active(const name_registry& names, std::size_t first = 0, std::size_t count = 100) {
    std::vector<std::string> out;
    names.for_each_active(first, count, [&](const named_user& one) {
        out.push_back(one.self.username.empty() ? one.peer_id : one.self.username);
    });
    return out;
}

using names_t = std::vector<std::string>;

}  // namespace

TEST_CASE("users get small numbers, are found whatever their case, and are updated in place") {
    name_registry names;
    const auto first = names.enter(user("Alice"), from(1), at(0));
    REQUIRE(first.user != nullptr);
    CHECK(first.user->id == 1);
    CHECK(names.enter(user("bob"), from(1), at(0)).user->id == 2);
    const auto again = names.enter(user("alice", "10.0.0.9"), from(1), at(5));
    CHECK(again.user->id == 1);
    CHECK(again.user->self.host == "10.0.0.9");
    CHECK(again.user->self.username == "alice");
    CHECK(again.user->last_heartbeat == at(5).calendar);
    REQUIRE(names.find("ALICE") != nullptr);
    CHECK(names.find("carol") == nullptr);
    CHECK(names.totals().registered == 2);
    CHECK(active(names) == names_t{"alice", "bob"});
    CHECK(active(names, 1) == names_t{"bob"});
    CHECK(active(names, 0, 1) == names_t{"alice"});
    CHECK(active(names, 9).empty());
}

TEST_CASE("an unspecified host becomes the address that asked") {
    name_registry names;
    CHECK(names.enter(user("a", ""), from(1), at(0)).user->self.host == "10.0.0.1");
    CHECK(names.enter(user("b", "0.0.0.0"), from(2), at(0)).user->self.host == "10.0.0.2");
    CHECK(names.enter(user("c", "::"), *ip_address::parse("fd00::1"), at(0)).user->self.host == "fd00::1");
    const auto keyed = names.enter(signed_user("d", somebody(1), at(0), ""), from(3), at(0));
    CHECK(keyed.user->self.host == "10.0.0.3");
    CHECK(keyed.user->signed_host == "");
    registration as_signed = keyed.user->self;
    as_signed.host = *keyed.user->signed_host;
    CHECK(verify_registration(as_signed));
    CHECK(!names.enter(signed_user("d", somebody(1), at(1)), from(3), at(1)).user->signed_host);
}

TEST_CASE("who is silent for 120 seconds is inactive, and active again with a heartbeat") {
    name_registry names;
    names.enter(user("alice"), from(1), at(0));
    names.enter(user("bob"), from(1), at(0));
    CHECK(names.sweep(at(119).now) == 0);
    CHECK(names.heartbeat("BOB", at(119)).verdict == name_verdict::accepted);
    CHECK(names.sweep(at(120).now) == 1);
    CHECK(active(names) == names_t{"bob"});
    CHECK(!names.find("alice")->is_active);
    CHECK(names.totals().registered == 2);
    CHECK(names.totals().active == 1);
    CHECK(names.heartbeat("alice", at(500)).user->is_active);
    CHECK(names.totals().active == 2);
    CHECK(names.heartbeat("nobody", at(500)).verdict == name_verdict::unknown);
}

TEST_CASE("those without a key are forgotten after a day, those with one keep their name") {
    name_registry names;
    names.enter(user("alice"), from(1), at(0));
    names.enter(signed_user("bob", somebody(1), at(0)), from(1), at(0));
    names.sweep(at(200).now);
    names.sweep(at(86'399).now);
    CHECK(names.find("alice") != nullptr);
    names.sweep(at(86'400).now);
    CHECK(names.find("alice") == nullptr);
    CHECK(names.find("bob") != nullptr);
    CHECK(names.enter(signed_user("bob", somebody(2), at(86'401)), from(1), at(86'401)).verdict ==
          name_verdict::name_taken);
    CHECK(names.enter(user("alice"), from(1), at(86'401)).user->id == 3);
}

TEST_CASE("a name that was registered with a key belongs to that key") {
    name_registry names;
    const identity owner = somebody(1);
    CHECK(names.enter(signed_user("alice", owner, at(0)), from(1), at(0)).verdict == name_verdict::accepted);
    CHECK(names.enter(signed_user("alice", somebody(2), at(1)), from(1), at(1)).verdict == name_verdict::name_taken);
    CHECK(names.enter(signed_user("ALICE", somebody(2), at(1)), from(1), at(1)).verdict == name_verdict::name_taken);
    CHECK(names.enter(user("alice"), from(1), at(1)).verdict == name_verdict::key_needed);
    const auto moved = names.enter(signed_user("alice", owner, at(2), "10.0.0.7"), from(7), at(2));
    CHECK(moved.verdict == name_verdict::accepted);
    CHECK(names.find("alice")->self.host == "10.0.0.7");
}

TEST_CASE("a name without a key can be taken over with one") {
    name_registry names;
    names.enter(user("alice"), from(1), at(0));
    CHECK(names.enter(signed_user("alice", somebody(1), at(1)), from(2), at(1)).user->id == 1);
    CHECK(names.enter(user("alice"), from(1), at(2)).verdict == name_verdict::key_needed);
    names.sweep(at(100'000).now);
    names.sweep(at(200'000).now);
    CHECK(names.find("alice") != nullptr);
}

TEST_CASE("a signature that does not fit, is old, or comes from the future is refused") {
    name_registry names;
    const identity owner = somebody(1);
    registration altered = signed_user("alice", owner, at(0));
    ++altered.port;
    CHECK(names.enter(altered, from(1), at(0)).verdict == name_verdict::signature_invalid);
    CHECK(names.find("alice") == nullptr);
    CHECK(names.enter(signed_user("alice", owner, at(601)), from(1), at(0)).verdict == name_verdict::from_future);
    const registration old = signed_user("alice", owner, at(1), "10.0.0.5");
    CHECK(names.enter(old, from(1), at(1)).verdict == name_verdict::accepted);
    CHECK(names.enter(signed_user("alice", owner, at(2)), from(1), at(2)).verdict == name_verdict::accepted);
    const auto replayed = names.enter(old, from(1), at(3));
    CHECK(replayed.verdict == name_verdict::outdated);
    REQUIRE(replayed.user != nullptr);
    CHECK(replayed.user->self.proof->signed_at == at(2).calendar);
    CHECK(names.find("alice")->self.host == "10.0.0.1");
}

TEST_CASE("the current registration sent once more changes nothing, the address least") {
    name_registry names;
    const registration mine = signed_user("alice", somebody(1), at(0), "");
    names.enter(mine, from(1), at(0));
    names.sweep(at(200).now);
    const auto copied = names.enter(mine, from(66), at(201));
    CHECK(copied.verdict == name_verdict::accepted);
    CHECK(copied.user->self.host == "10.0.0.1");
    CHECK(copied.user->from == from(1));
    CHECK(copied.user->is_active);
}

TEST_CASE("anybody ends a name without a key, and only its key one with") {
    name_registry names;
    const identity owner = somebody(1);
    names.enter(user("bob"), from(1), at(0));
    CHECK(names.leave("Bob", {}, at(1)).verdict == name_verdict::accepted);
    CHECK(names.leave("bob", {}, at(1)).verdict == name_verdict::unknown);
    CHECK(names.size() == 0);

    const registration first = signed_user("Alice", owner, at(0));
    names.enter(first, from(1), at(0));
    CHECK(names.leave("alice", {}, at(1)).verdict == name_verdict::key_needed);
    CHECK(names.leave("alice", sign_registration_end("alice", somebody(2), at(1).calendar), at(1)).verdict ==
          name_verdict::name_taken);
    CHECK(names.leave("alice", sign_registration_end("bob", owner, at(1).calendar), at(1)).verdict ==
          name_verdict::signature_invalid);
    CHECK(names.leave("alice", first.proof, at(1)).verdict == name_verdict::signature_invalid);
    CHECK(names.leave("alice", sign_registration_end("alice", owner, at(0).calendar), at(1)).verdict ==
          name_verdict::outdated);
    CHECK(names.leave("alice", sign_registration_end("alice", owner, at(700).calendar), at(1)).verdict ==
          name_verdict::from_future);
    const registration_proof end = sign_registration_end("alice", owner, at(2).calendar);
    CHECK(names.leave("alice", end, at(2)).verdict == name_verdict::accepted);
    CHECK(names.find("alice") == nullptr);
    CHECK(active(names).empty());
    CHECK(names.totals().registered == 0);
    CHECK(names.leave("alice", end, at(2)).verdict == name_verdict::unknown);
    CHECK(names.heartbeat("alice", at(2)).verdict == name_verdict::unknown);

    // It is gone, but nobody else's, and what was said before the end cannot be said again.
    CHECK(names.enter(first, from(1), at(3)).verdict == name_verdict::outdated);
    CHECK(names.enter(user("alice"), from(1), at(3)).verdict == name_verdict::key_needed);
    CHECK(names.enter(signed_user("alice", somebody(2), at(3)), from(1), at(3)).verdict == name_verdict::name_taken);
    CHECK(names.enter(signed_user("alice", owner, at(3)), from(1), at(3)).verdict == name_verdict::accepted);
    CHECK(names.totals().registered == 1);
}

TEST_CASE("peers of S1 have ids, which never clash with names") {
    name_registry names;
    named_user peer;
    peer.peer_id = "alice";
    peer.address = "http://10.0.0.1:5004";
    peer.timestamp = std::int64_t{17};
    CHECK(names.enter_peer(peer, from(1), at(0)).user->id == 1);
    CHECK(names.enter(user("alice"), from(1), at(0)).user->id == 2);
    peer.address = "http://10.0.0.2:5004";
    const auto again = names.enter_peer(peer, from(1), at(1));
    CHECK(again.user->id == 1);
    CHECK(again.user->address == "http://10.0.0.2:5004");
    CHECK(names.leave("alice", {}, at(2)).verdict == name_verdict::accepted);
    CHECK(names.totals().registered == 1);
    names.sweep(at(200).now);
    CHECK(names.totals().active == 0);
    names.sweep(at(90'000).now);
    CHECK(names.size() == 0);
}

TEST_CASE("with required keys nothing enters without one") {
    name_registry names({.require_keys = true});
    named_user peer;
    peer.peer_id = "x";
    CHECK(names.enter(user("alice"), from(1), at(0)).verdict == name_verdict::key_needed);
    CHECK(names.enter_peer(peer, from(1), at(0)).verdict == name_verdict::key_needed);
    CHECK(names.enter(signed_user("alice", somebody(1), at(0)), from(1), at(0)).verdict == name_verdict::accepted);
}

TEST_CASE("one address cannot fill the registry, nor one IPv6 network") {
    name_registry names({.max_per_address = 3});
    for (int i = 0; i < 3; ++i) CHECK(names.enter(user("a" + std::to_string(i)), from(1), at(0)).user != nullptr);
    CHECK(names.enter(user("a3"), from(1), at(0)).verdict == name_verdict::address_full);
    CHECK(names.enter(user("a2"), from(1), at(1)).verdict == name_verdict::accepted);
    CHECK(names.enter(user("b"), from(2), at(1)).verdict == name_verdict::accepted);
    // A name that moved counts where it is.
    CHECK(names.enter(user("a2"), from(2), at(1)).verdict == name_verdict::accepted);
    CHECK(names.enter(user("a3"), from(1), at(1)).verdict == name_verdict::accepted);
    names.leave("a3", {}, at(1));
    CHECK(names.enter(user("a4"), from(1), at(1)).verdict == name_verdict::accepted);
    for (int i = 0; i < 4; ++i) {
        const auto address = *ip_address::parse("2001:db8::" + std::to_string(i));
        const auto verdict = names.enter(user("six" + std::to_string(i)), address, at(1)).verdict;
        CHECK(verdict == (i < 3 ? name_verdict::accepted : name_verdict::address_full));
    }
    CHECK(names.enter(user("six"), *ip_address::parse("2001:db8:0:1::"), at(1)).verdict == name_verdict::accepted);
}

TEST_CASE("names that gather at one address count where they came from, once it has no room") {
    name_registry names({.max_per_address = 1});
    names.enter(user("a"), from(1), at(0));
    names.enter(user("b"), from(2), at(0));
    CHECK(names.enter(user("b"), from(1), at(1)).verdict == name_verdict::accepted);
    CHECK(names.enter(user("c"), from(2), at(1)).verdict == name_verdict::address_full);
    names.leave("a", {}, at(2));
    CHECK(names.enter(user("b"), from(1), at(2)).verdict == name_verdict::accepted);
    CHECK(names.enter(user("c"), from(2), at(2)).verdict == name_verdict::accepted);
    CHECK(names.enter(user("d"), from(1), at(2)).verdict == name_verdict::address_full);
}

TEST_CASE("when it is full, a new name takes the place of the longest silent one without a key") {
    name_registry names({.max_names = 3});
    names.enter(signed_user("keyed", somebody(1), at(0)), from(1), at(0));
    names.enter(user("old"), from(1), at(1));
    names.enter(user("older"), from(1), at(2));
    names.heartbeat("old", at(3));
    CHECK(names.enter(user("new"), from(2), at(4)).verdict == name_verdict::registry_full);
    names.sweep(at(200).now);
    CHECK(names.enter(user("new"), from(2), at(200)).verdict == name_verdict::accepted);
    CHECK(names.find("older") == nullptr);
    CHECK(names.find("old") != nullptr);
    CHECK(names.enter(user("newer"), from(2), at(200)).verdict == name_verdict::accepted);
    CHECK(names.find("old") == nullptr);
    CHECK(names.enter(user("newest"), from(2), at(200)).verdict == name_verdict::registry_full);
    CHECK(names.find("keyed") != nullptr);
    CHECK(names.size() == 3);
}

TEST_CASE("whatever happens, the counts are those of a plain list") {
    random_engine random(7);
    name_registry names({.max_names = 12, .max_per_address = 6});
    const identity keys[] = {somebody(1), somebody(2)};
    std::int64_t time = 0;
    for (int step = 0; step < 4000; ++step) {
        time += random.below(60);
        const std::string name(1, static_cast<char>('a' + random.below(16)));
        const ip_address address = from(random.below(3));
        switch (random.below(7)) {
        case 0:
        case 1: names.enter(user(name), address, at(time)); break;
        case 2: names.enter(signed_user(name, keys[random.below(2)], at(time)), address, at(time)); break;
        case 3: names.heartbeat(name, at(time)); break;
        case 4: names.leave(name, {}, at(time)); break;
        case 5: {
            named_user peer;
            peer.peer_id = name;
            names.enter_peer(peer, address, at(time));
            break;
        }
        default:
            if (random.below(20) == 0) time += 90'000;
            names.sweep(at(time).now);
        }
        if (random.below(5) == 0)
            names.leave(name, sign_registration_end(name, keys[random.below(2)], at(time).calendar + 1), at(time));
        std::size_t seen = 0;
        std::uint64_t last = 0;
        names.for_each_active(0, 100, [&](const named_user& one) {
            CHECK(one.is_active);
            CHECK(!one.left);
            CHECK(one.id > last);
            last = one.id;
            ++seen;
        });
        REQUIRE(seen == names.totals().active);
        REQUIRE(names.totals().registered >= seen);
        REQUIRE(names.size() <= 12);
    }
}

}  // namespace name_registry_test
