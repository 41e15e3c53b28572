#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/sim_swarm.hpp"

namespace swarm_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::size_t MiB = 1024 * 1024;

asio::awaitable<void> all_complete(sim_swarm& of) {
    for (const auto& one : of.peers) co_await one->torrent->completed();
}

/// When each piece came to each peer: two runs that agree in this agree in all that matters.
struct story {
    std::vector<std::string> lines;
    duration took{};
};

asio::awaitable<void> watch(sim_swarm& of, story& into) {
    of.on_event = [&](const sim_swarm::peer& who, const torrent_event& what) {
        const auto* const piece = std::get_if<event::piece_verified>(&what);
        if (piece == nullptr) return;
        into.lines.push_back(std::to_string(of.world.time().now().time_since_epoch().count()) + " " +
                             who.host->address().to_string() + " " + std::to_string(piece->piece));
    };
    const time_point begun = of.world.time().now();
    co_await all_complete(of);
    into.took = of.world.time().now() - begun;
}

story play(std::uint64_t seed) {
    sim_swarm swarm(seed, 4 * MiB, 64 * 1024);
    const sim::access home{.latency = 15ms, .jitter = 3ms, .up = 1'000'000, .down = 4'000'000, .loss = 0.002};
    swarm.add(true, home);
    for (int i = 0; i < 7; ++i) swarm.add(false, home);
    story out;
    swarm.run(watch(swarm, out));
    for (const auto& one : swarm.peers) CHECK(swarm.has_all(*one));
    return out;
}

}  // namespace

TEST_CASE("a swarm completes in a simulated world, and the same seed tells the same story") {
    const story one = play(11), same = play(11), other = play(12);
    CHECK(one.lines.size() == 7 * 64);
    CHECK(one.lines == same.lines);
    CHECK(one.lines != other.lines);
    // One seeder's line alone would take 29 s for seven copies; those who leech give as well.
    CHECK(one.took > 4s);
    CHECK(one.took < 20s);
}

TEST_CASE("a swarm outlasts a split of the net, lost connections and a tracker that nobody reaches") {
    for (const std::uint64_t seed : {21u, 22u, 23u}) {
        sim_swarm swarm(seed, 4 * MiB, 64 * 1024);
        const sim::access home{.latency = 15ms, .up = 500'000};
        swarm.add(true, home);
        for (int i = 0; i < 5; ++i) swarm.add(false, home);
        const auto trouble = [](sim_swarm& of) -> asio::awaitable<void> {
            network& clock = *of.peers.front()->host;
            co_await clock.sleep_for(3s);
            for (std::size_t i = 0; i < 3; ++i) of.peers[i]->host->move_to(1);
            co_await clock.sleep_for(5s);
            of.peers[4]->host->reset_connections();
            for (std::size_t i = 0; i < 3; ++i) of.peers[i]->host->move_to(0);
            of.world.hosts().front()->set_online(false);
            co_await all_complete(of);
        };
        swarm.run(trouble(swarm));
        for (const auto& one : swarm.peers) CHECK(swarm.has_all(*one));
    }
}

TEST_CASE("a leecher whose power goes again and again claims nothing that is not on its disk") {
    for (std::uint64_t seed = 31; seed < 41; ++seed) {
        sim_swarm swarm(seed, 2 * MiB, 32 * 1024);
        swarm.add(true, {.latency = 5ms, .up = 500'000});
        sim_swarm::peer& victim = swarm.add(false, {.latency = 5ms});
        const auto lives = [](sim_swarm& of, sim_swarm::peer& it) -> asio::awaitable<void> {
            random_engine random(of.seed);
            for (int life = 0; life < 6; ++life) {
                const auto pause = std::chrono::milliseconds(100 + random.below(1200));
                co_await it.host->sleep_for(pause);
                // What the dying program still writes goes nowhere.
                it.platters = it.platters->clone();
                it.platters->lose_power();
                co_await of.stop(it);
                of.start(it);
            }
            co_await all_complete(of);
        };
        swarm.run(lives(swarm, victim));
        CHECK(swarm.has_all(victim));
    }
}

}  // namespace swarm_test
