// Everything that happens to swarms, over many seeds. COHORT_SEEDS=COUNT and COHORT_SEED=FIRST choose them
// (tests/soak.sh); a failure names the seed that plays it again. COHORT_TROUBLE='the power goes' plays that alone.
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "support/sim_swarm.hpp"

namespace scenarios_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// One leecher in particular, and the seeder.
sim_swarm::peer& victim_of(sim_swarm& of) { return *of.peers.back(); }
sim_swarm::peer& seeder_of(sim_swarm& of) { return *of.peers.front(); }

asio::awaitable<void> a_while(sim_swarm& of, random_engine& chance, std::uint32_t most_ms) {
    const auto pause = std::chrono::milliseconds(50 + chance.below(most_ms));
    co_await of.tracker_host().sleep_for(pause);
}

// What can happen. Each takes the time it takes, while the swarm goes on.

asio::awaitable<void> nothing(sim_swarm&, random_engine&) { co_return; }

asio::awaitable<void> the_net_is_split(sim_swarm& of, random_engine& chance) {
    co_await a_while(of, chance, 4000);
    for (const auto& one : of.peers) one->host->move_to(chance.below(2));
    co_await a_while(of, chance, 50'000);
    for (const auto& one : of.peers) one->host->move_to(0);
}

asio::awaitable<void> connections_are_reset(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 8; ++i) {
        co_await a_while(of, chance, 1500);
        of.peers[chance.below(static_cast<std::uint32_t>(of.peers.size()))]->host->reset_connections();
    }
}

asio::awaitable<void> the_tracker_is_away(sim_swarm& of, random_engine& chance) {
    of.tracker_host().set_online(false);
    co_await a_while(of, chance, 90'000);
    of.tracker_host().set_online(true);
}

asio::awaitable<void> the_tracker_forgets(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 3000);
        co_await of.stop_tracker();
        co_await a_while(of, chance, 3000);
        of.start_tracker();
    }
}

asio::awaitable<void> leechers_begin_anew(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 6; ++i) {
        co_await a_while(of, chance, 1500);
        sim_swarm::peer& it = *of.peers[1 + chance.below(static_cast<std::uint32_t>(of.peers.size() - 1))];
        co_await of.stop(it);
        co_await a_while(of, chance, 500);
        of.start(it);
    }
}

asio::awaitable<void> the_seeder_begins_anew(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 2000);
        co_await of.stop(seeder_of(of));
        co_await a_while(of, chance, 20'000);
        of.start(seeder_of(of));
    }
}

asio::awaitable<void> the_power_goes(sim_swarm& of, random_engine& chance) {
    sim_swarm::peer& it = victim_of(of);
    for (int i = 0; i < 4; ++i) {
        co_await a_while(of, chance, 2000);
        // What the dying program still writes goes nowhere, and what it still says nobody hears.
        it.platters = it.platters->clone();
        it.platters->lose_power();
        it.host->set_online(false);
        co_await of.stop(it);
        it.host->reset_connections();
        it.host->set_online(true);
        of.start(it);
    }
}

asio::awaitable<void> the_seeder_goes_when_one_is_complete(sim_swarm& of, random_engine&) {
    co_await victim_of(of).torrent->completed();
    co_await of.stop(seeder_of(of));
}

asio::awaitable<void> newcomers_come(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 4000);
        of.add(false, {.latency = 15ms});
    }
}

asio::awaitable<void> lines_go_dead(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 4; ++i) {
        sim::host& one = *of.peers[chance.below(static_cast<std::uint32_t>(of.peers.size()))]->host;
        co_await a_while(of, chance, 1500);
        one.set_online(false);
        co_await a_while(of, chance, 20'000);
        one.set_online(true);
    }
}

asio::awaitable<void> some_are_behind_routers(sim_swarm& of, random_engine& chance) {
    constexpr std::array kinds{sim::nat_kind::full_cone, sim::nat_kind::address_restricted,
                               sim::nat_kind::port_restricted, sim::nat_kind::symmetric};
    for (int i = 0; i < 3; ++i) {
        const auto router = of.world.add_nat(kinds[chance.below(4)], {.latency = 15ms, .up = 300'000});
        of.add_at(false, of.world.add_host(router));
    }
    co_return;
}

asio::awaitable<void> machines_sleep(sim_swarm& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 2000);
        of.world.time().jump(std::chrono::seconds(1 + chance.below(4000)));
    }
}

asio::awaitable<void> the_disk_runs_full(sim_swarm& of, random_engine& chance) {
    sim_swarm::peer& it = victim_of(of);
    co_await a_while(of, chance, 2000);
    it.platters->leave_free(chance.below(200'000));
    co_await a_while(of, chance, 30'000);
    it.platters->leave_free(1 << 30);
    it.torrent->resume();
}

struct trouble {
    const char* name;
    asio::awaitable<void> (*happens)(sim_swarm&, random_engine&);
};
constexpr std::array troubles{
    trouble{"nothing", nothing},
    trouble{"the net is split", the_net_is_split},
    trouble{"connections are reset", connections_are_reset},
    trouble{"the tracker is away", the_tracker_is_away},
    trouble{"the tracker forgets", the_tracker_forgets},
    trouble{"leechers begin anew", leechers_begin_anew},
    trouble{"the seeder begins anew", the_seeder_begins_anew},
    trouble{"the power goes", the_power_goes},
    trouble{"the seeder goes when one is complete", the_seeder_goes_when_one_is_complete},
    trouble{"newcomers come", newcomers_come},
    trouble{"lines go dead", lines_go_dead},
    trouble{"some are behind routers", some_are_behind_routers},
    trouble{"machines sleep", machines_sleep},
    trouble{"the disk runs full", the_disk_runs_full},
};

struct kind_of_line {
    const char* name;
    sim::access line;
};
const std::array lines{
    kind_of_line{"good lines", {.latency = 10ms, .up = 1'000'000}},
    kind_of_line{"lines that lose and reorder", {.latency = 20ms, .jitter = 20ms, .up = 500'000, .loss = 0.02}},
    kind_of_line{"thin lines", {.latency = 40ms, .up = 60'000, .down = 300'000}},
};

struct kind_of_content {
    const char* name;
    std::size_t size;
    std::uint32_t piece_length;
};
constexpr std::array contents{
    kind_of_content{"many pieces", 1'500'001, 16 * 1024},
    kind_of_content{"few pieces", 1'500'001, 512 * 1024},
};

asio::awaitable<void> all_complete(sim_swarm& of) {
    for (std::size_t i = 1; i < of.peers.size(); ++i) co_await of.peers[i]->torrent->completed();
}

asio::awaitable<void> live(sim_swarm& of, const trouble& what, random_engine& chance) {
    co_await what.happens(of, chance);
    co_await all_complete(of);
}

void play(const trouble& what, const kind_of_line& on, const kind_of_content& of, std::uint64_t seed) {
    INFO(what.name << ", " << on.name << ", " << of.name << ": COHORT_SEED=" << seed << " COHORT_SEEDS=1");
    sim_swarm swarm(seed, of.size, of.piece_length);
    random_engine chance(seed);
    swarm.add(true, on.line);
    for (int i = 0; i < 4; ++i) swarm.add(false, on.line);
    try {
        swarm.run(live(swarm, what, chance), 12h);
    } catch (const std::exception& error) {
        FAIL_CHECK(error.what());
    }
    for (const auto& one : swarm.peers) CHECK(swarm.has_all(*one));
    CHECK(swarm.failed_pieces == 0);
    CHECK(swarm.banned_peers == 0);
}

}  // namespace

TEST_CASE("scenarios: every swarm completes, nobody honest is banned, nothing is left behind") {
    const std::uint64_t first = number_of("COHORT_SEED", 1), seeds = number_of("COHORT_SEEDS", 2);
    const char* const chosen = std::getenv("COHORT_TROUBLE");
    int played = 0;
    for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
        for (const trouble& what : troubles) {
            if (chosen != nullptr && std::string_view(chosen) != what.name) continue;
            for (const kind_of_line& on : lines) {
                for (const kind_of_content& of : contents) {
                    play(what, on, of, seed);
                    ++played;
                }
            }
        }
    }
    CHECK(played > 0);
}

}  // namespace scenarios_test
