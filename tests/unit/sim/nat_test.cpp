#include <doctest/doctest.h>

#include <array>
#include <string>

#include <cohort/net/timeout.hpp>
#include <cohort/sim/world.hpp>

#include "support/net.hpp"
#include "support/sim_swarm.hpp"

namespace nat_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint16_t port = 7000;
using sim::nat_kind;

asio::awaitable<endpoint> seen_by(sim::host& from, datagram_socket& through, datagram_socket& meeting_place,
                                  endpoint there) {
    const byte_vector word{1};
    byte_vector buffer(10);
    co_await through.send(there, word);
    const auto came = co_await with_timeout(from, 5s, meeting_place.receive(buffer));
    co_return came.from;
}

/// Whether a datagram from one to the other's outer address gets there, once both have sent one.
asio::awaitable<bool> punch(sim::host& a, sim::host& b, sim::host& meeting_place) {
    const endpoint any{ip_address::v4(0), port}, there{meeting_place.address(), port};
    const auto of_a = a.bind_udp(any), of_b = b.bind_udp(any), known = meeting_place.bind_udp(any);
    const endpoint a_outside = co_await seen_by(a, *of_a, *known, there);
    const endpoint b_outside = co_await seen_by(b, *of_b, *known, there);
    CHECK(a_outside.address != a.address());
    const byte_vector word{2};
    byte_vector buffer(10);
    for (int i = 0; i < 3; ++i) {
        co_await of_a->send(b_outside, word);
        co_await of_b->send(a_outside, word);
        co_await a.sleep_for(1s);
    }
    // Whoever hears the other answers where it came from, so one that is heard is enough.
    std::error_code why;
    co_await store_error(why, with_timeout(a, 1s, of_a->receive(buffer)));
    if (!why) co_return true;
    why = {};
    co_await store_error(why, with_timeout(b, 1s, of_b->receive(buffer)));
    co_return !why;
}

}  // namespace

TEST_CASE("routers let through what their kind lets through: the table of all who punch holes") {
    constexpr std::array kinds{nat_kind::full_cone, nat_kind::address_restricted, nat_kind::port_restricted,
                               nat_kind::symmetric};
    for (const nat_kind one : kinds) {
        for (const nat_kind other : kinds) {
            sim::world world(1);
            sim::host& a = world.add_host(world.add_nat(one));
            sim::host& b = world.add_host(world.add_nat(other));
            sim::host& known = world.add_host();
            const bool hard = (one == nat_kind::symmetric && other >= nat_kind::port_restricted) ||
                              (other == nat_kind::symmetric && one >= nat_kind::port_restricted);
            CAPTURE(static_cast<int>(one));
            CAPTURE(static_cast<int>(other));
            CHECK(world.run(punch(a, b, known)) == !hard);
        }
    }
}

TEST_CASE("a port that nothing was sent through for two minutes is closed, and the next is another") {
    sim::world world(2);
    sim::host& inside = world.add_host(world.add_nat(nat_kind::full_cone));
    sim::host& outside = world.add_host();
    const auto talk = [](sim::host& a, sim::host& b) -> asio::awaitable<void> {
        const endpoint any{ip_address::v4(0), port}, there{b.address(), port};
        const auto of_a = a.bind_udp(any), of_b = b.bind_udp(any);
        const endpoint first = co_await seen_by(a, *of_a, *of_b, there);
        const byte_vector word{2};
        byte_vector buffer(10);
        co_await of_b->send(first, word);
        co_await with_timeout(a, 1s, of_a->receive(buffer));
        co_await a.sleep_for(121s);
        co_await of_b->send(first, word);
        std::error_code why;
        co_await store_error(why, with_timeout(a, 1s, of_a->receive(buffer)));
        CHECK(why == errc::timed_out);
        const endpoint second = co_await seen_by(a, *of_a, *of_b, there);
        CHECK(second != first);
    };
    world.run(talk(inside, outside));
}

TEST_CASE("connections leave a router and do not enter it, but through a port that is forwarded") {
    sim::world world(3);
    const auto router = world.add_nat(nat_kind::full_cone);
    sim::host& a = world.add_host(router);
    sim::host& neighbour = world.add_host(router);
    sim::host& outside = world.add_host();
    const auto talk = [](sim::nat& home, sim::host& in, sim::host& next, sim::host& out) -> asio::awaitable<void> {
        const endpoint at_in{in.address(), port}, at_out{out.address(), port}, at_home{home.address(), port};
        const auto inner = in.listen(at_in), outer = out.listen(at_out);
        const auto leaving = co_await in.connect(at_out);
        const auto seen = co_await outer->accept();
        CHECK(seen->remote_endpoint().address == home.address());
        const auto beside = co_await next.connect(at_in);
        CHECK(beside->remote_endpoint() == at_in);
        std::error_code why;
        co_await store_error(why, out.connect(at_in));
        CHECK(why == std::errc::host_unreachable);
        co_await store_error(why, out.connect(at_home));
        CHECK(why == asio::error::timed_out);
        home.forward(port, at_in);
        const auto entering = co_await out.connect(at_home);
        CHECK(entering->remote_endpoint() == at_home);
    };
    world.run(talk(*router, a, neighbour, outside));
}

TEST_CASE("leechers behind routers complete from those who can be reached, and feed them") {
    sim_swarm swarm(4, 2 * 1024 * 1024, 64 * 1024);
    swarm.add(true, {.latency = 15ms, .up = 300'000});
    swarm.add(false, {.latency = 15ms});
    for (int i = 0; i < 4; ++i) {
        const auto router = swarm.world.add_nat(nat_kind::port_restricted, {.latency = 15ms, .up = 1'000'000});
        swarm.add_at(false, swarm.world.add_host(router));
    }
    const auto all = [](sim_swarm& of) -> asio::awaitable<void> {
        for (const auto& one : of.peers) co_await one->torrent->completed();
    };
    swarm.run(all(swarm));
    for (const auto& one : swarm.peers) CHECK(swarm.has_all(*one));
}

}  // namespace nat_test
