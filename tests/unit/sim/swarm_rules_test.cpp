// What a swarm is to do for those who live in it, over some seeds.
#include <doctest/doctest.h>

#include <vector>

#include <examples/support/sim_play.hpp>

#include "support/sim_swarm.hpp"

namespace swarm_rules_test {

using namespace cohort;
using namespace cohort::test;
using examples::peer_story;
using examples::play_options;

namespace {

/// Mean seconds to completion of those who play this part.
double mean_time(const examples::play& of, peer_story::part who) {
    double sum = 0, count = 0;
    for (const peer_story& peer : of.peers) {
        if (peer.plays != who) continue;
        sum += peer.completed.value() - peer.joined;
        ++count;
    }
    return sum / count;
}

/// How much longer free riders take than those who give.
double price_of_riding(examples::choking choke, std::uint64_t seed) {
    play_options how;
    how.peers = 24;
    how.pieces = 200;
    how.free_riders = 0.25;
    how.choke = choke;
    how.seed = seed;
    const examples::play played = examples::swarm_play(how).run();
    REQUIRE(played.all_complete);
    return mean_time(played, peer_story::part::free_rider) / mean_time(played, peer_story::part::leecher);
}

asio::awaitable<void> first_tracker_dies(sim_swarm& of) {
    co_await of.stop_tracker();
    of.tracker_host().set_online(false);
    of.add(true);
    for (int i = 0; i < 3; ++i) of.add(false);
    for (std::size_t i = 1; i < of.peers.size(); ++i) co_await of.peers[i]->torrent->completed();
    // And back, while the second goes.
    of.tracker_host().set_online(true);
    of.start_tracker();
    co_await of.trackers.back()->stop();
    sim_swarm::peer& late = of.add(false);
    co_await late.torrent->completed();
}

/// Completes with the seconds until the last of the peers has everything.
asio::awaitable<void> complete(sim_swarm& of, double& seconds) {
    const time_point start = of.world.time().now();
    co_await of.peers.back()->torrent->completed();
    seconds = to_seconds(of.world.time().now() - start);
}

/// How many seconds' worth of its download limit a leecher took from so many seeders, for a second that passed.
double part_of_limit(std::size_t seeders, std::size_t size, std::uint64_t limit) {
    sim_swarm swarm(3, size, 32 * 1024);
    swarm.download_limit = limit;
    int given_up = 0;
    swarm.on_event = [&](const sim_swarm::peer&, const torrent_event& what) {
        const auto* const gone = std::get_if<event::peer_disconnected>(&what);
        if (gone != nullptr && (gone->reason == errc::timed_out || gone->reason == errc::peer_inactive)) ++given_up;
    };
    for (std::size_t i = 0; i < seeders; ++i) swarm.add(true);
    swarm.add(false);
    double seconds = 0;
    swarm.run(complete(swarm, seconds));
    CHECK(swarm.has_all(*swarm.peers.back()));
    CHECK(given_up == 0);
    return static_cast<double>(size) / static_cast<double>(limit) / seconds;
}

}  // namespace

TEST_CASE("swarm rules: who gives nothing gets less where giving is rewarded, and no less where it is not") {
    const double first = price_of_riding(examples::choking::tit_for_tat, 1);
    const double second = price_of_riding(examples::choking::tit_for_tat, 2);
    CAPTURE(first);
    CAPTURE(second);
    CHECK((first + second) / 2 > 1.03);  // chance has its part in a small swarm
    CHECK(price_of_riding(examples::choking::everybody, 1) < 1.02);
}

TEST_CASE("swarm rules: when the last seeder goes as soon as it gave every piece once, none is lost") {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        INFO("seed " << seed);
        play_options how;
        how.peers = 12;
        how.pieces = 60;
        how.seeders_leave = true;
        how.seed = seed;
        const examples::play played = examples::swarm_play(how).run();
        CHECK(played.all_complete);
    }
}

TEST_CASE("swarm rules: where the first tracker is dead the second serves, and the other way round") {
    sim_swarm swarm(5, 300'000, 32 * 1024);
    swarm.add_tracker();
    swarm.run(first_tracker_dies(swarm));
    for (const auto& one : swarm.peers) CHECK(swarm.has_all(*one));
}

TEST_CASE("swarm rules: all peers together keep to the download limit, and none is given up for having to wait") {
    for (const std::size_t seeders : {1u, 4u}) {
        INFO("seeders " << seeders);
        const double part = part_of_limit(seeders, 8'000'000, 200'000);
        CHECK(part > 0.9);
        CHECK(part < 1.1);
    }
    // Each of these is read every 50 s.
    const double part = part_of_limit(12, 1'600'000, 4000);
    CHECK(part > 0.8);
    CHECK(part < 1.1);
}

}  // namespace swarm_rules_test
