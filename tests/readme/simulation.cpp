#include <cohort/sim/world.hpp>

#include <chrono>
#include <cstdio>

asio::awaitable<void> meet(cohort::sim::host& here, cohort::sim::host& there) {
    const cohort::endpoint door{there.address(), 7000};
    const auto listener = there.listen(door);
    const cohort::time_point begun = here.now();
    const auto link = co_await here.connect(door);  // a round trip, of virtual time
    std::printf("linked after %.0f ms\n", cohort::to_seconds(here.now() - begun) * 1000);
}

void simulate() {
    cohort::sim::world world(7);  // the seed decides everything
    cohort::sim::host& here = world.add_host();
    cohort::sim::host& there = world.add_host({.latency = std::chrono::milliseconds(40), .up = 1'000'000});
    world.run(meet(here, there));
}
