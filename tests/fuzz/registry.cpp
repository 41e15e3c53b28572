// What a tracker remembers: names with their keys, and swarms with their peers.

#include <map>
#include <set>

#include <cohort/policy/name_registry.hpp>
#include <cohort/policy/swarm_registry.hpp>

#include "fuzz/people.hpp"
#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

/// The names that a tracker keeps, with and without keys.
void check_name_registry(byte_view input) {
    script from(input);
    constexpr name_registry_options options{.max_names = 4, .max_per_address = 3};
    name_registry names(options);
    clock_reading now{{}, 1'000'000'000};
    std::map<std::string, identity_key> owners;
    constexpr std::string_view spellings[] = {"alice", "Alice", "bob", "carol", "dave", "erin"};
    for (int steps = 0; steps < 48 && !from.done(); ++steps) {
        const duration passed = std::chrono::minutes(from.byte());
        now.now += passed;
        now.calendar += std::chrono::duration_cast<std::chrono::milliseconds>(passed).count();
        registration one{
            .username = std::string(spellings[from.below(6)]), .host = from.flag() ? "" : "10.1.1.1", .port = 1};
        const std::string name = folded_user_name(one.username);
        const ip_address at = ip_address::v4(0x0a000000 + from.below(3));
        const identity& self = person(from.below(3));
        const auto owner = owners.find(name);
        switch (from.byte() % 6) {
        case 0:
        case 1: {
            sign_registration(one, self, now.calendar - from.byte() * 1000);
            if (from.byte() % 8 == 0) one.port = 2;
            const auto answer = names.enter(one, at, now);
            if (answer.verdict != name_verdict::accepted) break;
            registration kept = answer.user->self;
            if (answer.user->signed_host) kept.host = *answer.user->signed_host;
            require(kept.proof == one.proof && verify_registration(kept), "what is accepted is signed");
            require(owner == owners.end() || owner->second == self.key(), "a name stays its key's");
            owners.emplace(name, self.key());
            break;
        }
        case 2: {
            const auto answer = names.enter(one, at, now);
            require(answer.verdict != name_verdict::accepted || owner == owners.end(), "a name with a key needs it");
            break;
        }
        case 3: names.heartbeat(one.username, now); break;
        case 4: {
            const auto answer = names.leave(one.username, sign_registration_end(one.username, self, now.calendar), now);
            require(answer.verdict != name_verdict::accepted || owner == owners.end() || owner->second == self.key(),
                    "nobody ends another's name");
            break;
        }
        default: names.sweep(now.now); break;
        }
        const name_totals totals = names.totals();
        require(names.size() <= options.max_names, "what is kept is bounded");
        require(totals.active <= totals.registered && totals.registered <= names.size(), "sums are right");
        std::size_t active = 0;
        names.for_each_active(0, 100, [&active](const named_user& user) {
            ++active;
            require(user.is_active && !user.left && !is_unspecified_host(user.self.host),
                    "who is there can be dialled");
        });
        require(active == totals.active, "all who are active are told");
    }
}

/// The tracker's swarms.
void check_swarm_registry(byte_view input) {
    script from(input);
    const registry_options options{.peer_lifetime = 30min,
                                   .max_torrents = 3,
                                   .max_peers = 12,
                                   .max_peers_per_torrent = 6,
                                   .max_peers_per_address = 2};
    swarm_registry registry(options, 42);
    random_engine random(from.byte());
    time_point now{};
    while (!from.done()) {
        now += std::chrono::seconds(from.byte());
        info_hash torrent;
        torrent.bytes[0] = from.byte() % 4;
        registry_announce announce;
        announce.id.bytes[0] = from.byte() % 8;
        const std::uint8_t what = from.byte();
        announce.address = {ip_address::v4(0x0a000000U + what % 8), static_cast<std::uint16_t>(1 + what / 64)};
        if (what / 8 % 4 == 0) announce.address.address = ip_address::v6({0x20, 1, 0, 0, 0, 0, 0, 0, what});
        announce.left = from.byte() % 2;
        announce.event = static_cast<announce_event>(from.byte() % 4);
        announce.numwant = static_cast<std::int32_t>(from.below(16)) - 1;
        std::vector<endpoint> told;
        const auto counts = registry.announce(torrent, announce, now, random, told);
        const std::set<endpoint> different(told.begin(), told.end());
        require(different.size() == told.size() && !different.contains(announce.address), "others, each once");
        require(told.size() <=
                    (announce.numwant < 0 ? options.default_numwant : static_cast<std::size_t>(announce.numwant)),
                "no more than were wanted");
        for (const endpoint& one : told)
            require(one.address.is_v4() == announce.address.address.is_v4(), "of the same family");
        require(!counts || registry.scrape(torrent) == *counts || announce.event == announce_event::stopped,
                "the counts are those of a scrape");
        if (from.byte() % 8 == 0) registry.expire(now, from.byte());
        const registry_totals& totals = registry.totals();
        require(totals.torrents <= options.max_torrents && totals.peers() <= options.max_peers,
                "what is kept is bounded");
        std::size_t complete = 0;
        std::size_t incomplete = 0;
        for (const swarm_summary& one : registry.list(0, 10)) {
            complete += one.counts.complete;
            incomplete += one.counts.incomplete;
        }
        require(totals.complete == complete && totals.incomplete == incomplete, "sums are right");
    }
}

constexpr target table[] = {
    {"name_registry", check_name_registry, 512},
    {"swarm_registry", check_swarm_registry, 1024},
};

}  // namespace

std::span<const target> registry_targets() { return table; }

}  // namespace cohort::fuzz
