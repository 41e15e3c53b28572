#include <doctest/doctest.h>

#include <array>
#include <string>
#include <system_error>

#include "support/sim_swarm.hpp"

namespace disk_faults_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr int most_attempts = 5;

/// A user who says "go on" whenever the torrent says that it cannot.
asio::awaitable<void> insist(sim_swarm& of, int& attempts) {
    sim_swarm::peer& it = *of.peers.back();
    for (attempts = 1; attempts < most_attempts; ++attempts) {
        std::error_code failed;
        try {
            co_await it.torrent->completed();
        } catch (const std::system_error& error) {
            failed = error.code();
        }
        if (!failed) co_return;
        co_await it.host->sleep_for(1s);
        it.torrent->resume();
    }
}

/// The leecher's disk fails at its `which`-th call, once. Returns whether there were so many.
bool play(std::uint64_t which, std::error_code how, bool power_goes) {
    INFO("call " << which << ": " << how.message() << std::string(power_goes ? ", then the power goes" : ""));
    sim_swarm swarm(which, 300'001, 32 * 1024);
    swarm.add(true, {.latency = 5ms, .up = 1'000'000});
    sim_swarm::peer& it = swarm.add(false, {.latency = 5ms});
    std::uint64_t calls = 0;
    std::string failed;
    it.platters->fault = [&](const char* call, const std::string& path) {
        if (++calls != which) return std::error_code();
        failed = std::string(call) + " of " + path;
        return how;
    };
    int attempts = 0;
    const auto both = [](sim_swarm& of, sim_swarm::peer& victim, int& tries, bool cut) -> asio::awaitable<void> {
        co_await insist(of, tries);
        if (cut) {
            victim.platters = victim.platters->clone();
            victim.platters->fault = nullptr;
            victim.platters->lose_power();
        }
        // What it claims to have must be there after this too, also where it is the stop that fails.
        co_await of.stop(victim);
        of.start(victim);
        co_await insist(of, tries);
        victim.platters->fault = nullptr;
    };
    swarm.run(both(swarm, it, attempts, power_goes));
    INFO("it was " << failed);
    const std::uint64_t all = calls;
    it.platters->fault = nullptr;
    CHECK(attempts < most_attempts);
    CHECK(swarm.has_all(it));
    CHECK(swarm.banned_peers == 0);
    return all >= which;
}

}  // namespace

TEST_CASE("A51: whichever call to the disk fails, nothing is claimed that is not there, and resume() goes on") {
    const std::array troubles{make_error_code(errc::disk_full), make_error_code(errc::disk_failed)};
    std::uint64_t which = 1;
    while (play(which, troubles[which % 2], which % 3 == 0)) ++which;
    CHECK(which > 50);
}

}  // namespace disk_faults_test
