// Everything that happens to people who chat, over many seeds. COHORT_SEEDS=COUNT and COHORT_SEED=FIRST choose them
// (tests/soak.sh); a failure names the seed that plays it again.
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include <cohort/net/traced_network.hpp>

#include "support/sim_chat.hpp"
#include "support/wire_network.hpp"

namespace scenarios_test {

using namespace cohort;
using namespace cohort::test;

namespace {

asio::awaitable<void> a_while(sim_chat& of, random_engine& chance, std::uint32_t most_ms) {
    const auto pause = std::chrono::milliseconds(50 + chance.below(most_ms));
    co_await of.tracker_host().sleep_for(pause);
}

sim_chat::person& anybody(sim_chat& of, random_engine& chance) {
    return *of.people[chance.below(static_cast<std::uint32_t>(of.people.size()))];
}

// What can happen. Each takes the time it takes, while all speak.

asio::awaitable<void> nothing(sim_chat&, random_engine&) { co_return; }

asio::awaitable<void> the_net_is_split(sim_chat& of, random_engine& chance) {
    co_await a_while(of, chance, 4000);
    for (const auto& one : of.people) one->host->move_to(chance.below(2));
    co_await a_while(of, chance, 90'000);
    for (const auto& one : of.people) one->host->move_to(0);
}

asio::awaitable<void> connections_are_reset(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 10; ++i) {
        co_await a_while(of, chance, 1500);
        anybody(of, chance).host->reset_connections();
    }
}

asio::awaitable<void> nodes_begin_anew(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 6; ++i) {
        co_await a_while(of, chance, 2000);
        sim_chat::person& it = anybody(of, chance);
        co_await of.stop(it);
        co_await a_while(of, chance, 3000);
        of.start(it);
    }
}

asio::awaitable<void> the_power_goes(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 6; ++i) {
        co_await a_while(of, chance, 3000);
        sim_chat::person& it = anybody(of, chance);
        co_await of.lose_power(it);
        of.start(it);
    }
}

asio::awaitable<void> the_tracker_is_away(sim_chat& of, random_engine& chance) {
    co_await a_while(of, chance, 1000);
    of.tracker_host().set_online(false);
    co_await a_while(of, chance, 120'000);
    of.tracker_host().set_online(true);
}

asio::awaitable<void> the_tracker_forgets(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 3000);
        co_await of.stop_tracker();
        co_await a_while(of, chance, 20'000);
        of.start_tracker();
    }
}

asio::awaitable<void> newcomers_come(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 6000);
        const sim::access line{.latency = 15ms};
        of.add(line);
    }
}

asio::awaitable<void> lines_go_dead(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 5; ++i) {
        sim::host& one = *anybody(of, chance).host;
        co_await a_while(of, chance, 2000);
        one.set_online(false);
        co_await a_while(of, chance, 60'000);
        one.set_online(true);
    }
}

asio::awaitable<void> some_are_behind_routers(sim_chat& of, random_engine& chance) {
    constexpr std::array kinds{sim::nat_kind::full_cone, sim::nat_kind::address_restricted,
                               sim::nat_kind::port_restricted, sim::nat_kind::symmetric};
    for (int i = 0; i < 2; ++i) {
        const auto router = of.world.add_nat(kinds[chance.below(4)], {.latency = 15ms, .up = 300'000});
        of.add_at(of.world.add_host(router), true);
    }
    co_return;
}

asio::awaitable<void> machines_sleep(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 3; ++i) {
        co_await a_while(of, chance, 3000);
        of.world.time().jump(std::chrono::seconds(1 + chance.below(4000)));
    }
}

asio::awaitable<void> calendars_differ(sim_chat& of, random_engine& chance) {
    for (const auto& one : of.people) {
        const auto ahead = std::chrono::seconds(chance.below(480)) - std::chrono::seconds(240);
        one->host->set_calendar_ahead(ahead);
    }
    co_return;
}

asio::awaitable<void> some_leave_and_come_again(sim_chat& of, random_engine& chance) {
    const std::string lobby = sim_chat::room;
    for (int i = 0; i < 4; ++i) {
        co_await a_while(of, chance, 4000);
        sim_chat::person& it = anybody(of, chance);
        if (it.node->rooms().empty()) continue;
        co_await it.node->leave(lobby);
        co_await a_while(of, chance, 8000);
        co_await it.node->join(lobby);
    }
}

asio::awaitable<void> a_disk_runs_full(sim_chat& of, random_engine& chance) {
    sim_chat::person& it = anybody(of, chance);
    co_await a_while(of, chance, 4000);
    it.platters->leave_free(chance.below(20'000));
    co_await a_while(of, chance, 30'000);
    it.platters->leave_free(1 << 30);
}

asio::awaitable<void> one_trouble_after_the_other(sim_chat& of, random_engine& chance);

struct trouble {
    const char* name;
    asio::awaitable<void> (*happens)(sim_chat&, random_engine&);
};
constexpr std::array troubles{
    trouble{"nothing", nothing},
    trouble{"the net is split", the_net_is_split},
    trouble{"connections are reset", connections_are_reset},
    trouble{"nodes begin anew", nodes_begin_anew},
    trouble{"the power goes", the_power_goes},
    trouble{"the tracker is away", the_tracker_is_away},
    trouble{"the tracker forgets", the_tracker_forgets},
    trouble{"newcomers come", newcomers_come},
    trouble{"lines go dead", lines_go_dead},
    trouble{"some are behind routers", some_are_behind_routers},
    trouble{"machines sleep", machines_sleep},
    trouble{"calendars differ", calendars_differ},
    trouble{"some leave and come again", some_leave_and_come_again},
    trouble{"a disk runs full", a_disk_runs_full},
    trouble{"one trouble after the other", one_trouble_after_the_other},
};

asio::awaitable<void> one_trouble_after_the_other(sim_chat& of, random_engine& chance) {
    for (int i = 0; i < 4; ++i) co_await troubles[chance.below(troubles.size() - 1)].happens(of, chance);
}

struct kind_of_line {
    const char* name;
    sim::access line;
};
const std::array lines{
    kind_of_line{"good lines", {.latency = 10ms, .up = 1'000'000}},
    kind_of_line{"lines that lose and reorder", {.latency = 20ms, .jitter = 20ms, .up = 500'000, .loss = 0.05}},
    kind_of_line{"thin lines", {.latency = 150ms, .up = 4'000, .down = 16'000}},
};

asio::awaitable<void> live(sim_chat& of, const trouble& what, random_engine& chance) {
    co_await what.happens(of, chance);
    co_await a_while(of, chance, 20'000);
    co_await of.converged();
}

void play(sim_chat& chat, const trouble& what, const kind_of_line& on, std::uint64_t seed) {
    random_engine chance(seed);
    for (int i = 0; i < 4; ++i) chat.add(on.line);
    try {
        chat.run(live(chat, what, chance), 24h);
    } catch (const std::exception& error) {
        FAIL_CHECK(std::string(error.what()) << ": " << chat.why_not);
    }
    for (const auto& one : chat.people)
        for (const auto& [message, times] : one->heard) CHECK_MESSAGE(times == 1, one->name << " heard " << message);
}

void play(const trouble& what, const kind_of_line& on, std::uint64_t seed) {
    INFO(std::string(what.name) << ", " << std::string(on.name) << ": COHORT_SEED=" << seed << " COHORT_SEEDS=1");
    sim_chat chat(seed);
    play(chat, what, on, seed);
}

/// All that was said on all wires, as ciphertext and as a trace of messages.
struct record_of_all {
    std::string trace;
    sha256_digest bytes;
};

record_of_all recorded(const trouble& what, const kind_of_line& on, std::uint64_t seed) {
    record_of_all out;
    sha256 bytes;
    std::vector<std::unique_ptr<network>> layers;
    {
        sim_chat chat(seed);
        chat.around = [&](sim::host& host, const std::string& name) {
            auto wire = std::make_unique<wire_network>(host);
            wire->alter = [&bytes](stream&, byte_vector& written) { bytes.update(written); };
            const trace_sink sink = [&out](std::string_view line) { out.trace += std::string(line) + '\n'; };
            auto traced = std::make_unique<traced_network>(*wire, sink, name);
            network* const top = traced.get();
            layers.push_back(std::move(wire));
            layers.push_back(std::move(traced));
            return top;
        };
        play(chat, what, on, seed);
    }
    out.bytes = bytes.finish();
    return out;
}

}  // namespace

TEST_CASE("scenarios of a chat: all members have the same messages in the same order, and nothing is left behind") {
    const std::uint64_t first = number_of("COHORT_SEED", 1), seeds = number_of("COHORT_SEEDS", 1);
    for (std::uint64_t seed = first; seed < first + seeds; ++seed)
        for (const trouble& what : troubles)
            for (const kind_of_line& on : lines) play(what, on, seed);
}

TEST_CASE("the same seed gives the same chat, ciphertext and trace, byte for byte; another seed another one") {
    const trouble& power = troubles[4];
    const kind_of_line& lossy = lines[1];
    const record_of_all once = recorded(power, lossy, 5);
    const record_of_all again = recorded(power, lossy, 5);
    const record_of_all other = recorded(power, lossy, 6);
    CHECK(once.trace.size() > 10'000);
    CHECK(once.trace == again.trace);
    CHECK(once.bytes == again.bytes);
    CHECK(once.trace != other.trace);
    CHECK(once.bytes != other.bytes);
}

TEST_CASE("somebody who comes to a room gets what was said from one member at a time, not from each") {
    sim_chat chat(3);
    std::uint64_t to_newcomer = 0;
    const ip_address its_address = ip_address::v4(0x0a000000 + 8);  // after the tracker and six members
    std::vector<std::unique_ptr<network>> layers;
    chat.around = [&](sim::host& host, const std::string&) {
        auto wire = std::make_unique<wire_network>(host);
        wire->alter = [&](stream& at, byte_vector& written) {
            if (at.remote_endpoint().address == its_address) to_newcomer += written.size();
        };
        network* const top = wire.get();
        layers.push_back(std::move(wire));
        return top;
    };
    constexpr std::size_t members = 6, said = 10, length = 8'000;
    const sim::access line{.latency = 10ms, .up = 1'000'000};
    for (std::size_t i = 0; i < members; ++i) chat.add(line).talkative = false;
    const auto story = [](sim_chat& of, sim::access at) -> asio::awaitable<void> {
        const std::string room = sim_chat::room;
        co_await of.tracker_host().sleep_for(2min);
        for (std::size_t i = 0; i < said; ++i) {
            for (const auto& one : of.people)
                co_await one->node->send(room, std::to_string(i) + std::string(length, 'x'));
            co_await of.tracker_host().sleep_for(1s);
        }
        sim_chat::person& last = of.add(at);
        last.talkative = false;
        REQUIRE(last.host->address() == ip_address::v4(0x0a000000 + 8));
        const time_point begun = of.tracker_host().now();
        co_await of.converged();
        CHECK(of.tracker_host().now() - begun < 1min);
    };
    chat.run(story(chat, line), 1h);
    constexpr std::uint64_t once = members * said * length * 4 / 3;  // in base64
    CHECK(to_newcomer > once);
    CHECK(to_newcomer < once * 3 / 2);
}

}  // namespace scenarios_test
