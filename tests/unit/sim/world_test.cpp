#include <doctest/doctest.h>

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/sim/world.hpp>

#include <asio/detached.hpp>

#include "support/net.hpp"
#include "support/test_content.hpp"

namespace world_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint16_t port = 7000;

asio::awaitable<int> sleep_and_count(network& net, duration pause, int times) {
    int out = 0;
    for (; out < times; ++out) co_await net.sleep_for(pause);
    co_return out;
}

asio::awaitable<byte_vector> read_all(std::unique_ptr<listener> door) {
    const auto link = co_await door->accept();
    byte_vector out, buffer(10'000);
    for (std::size_t got = 1; got > 0;) {
        got = co_await link->read_some(buffer);
        out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got));
    }
    co_return out;
}

asio::awaitable<void> store(byte_vector& out, asio::awaitable<byte_vector> op) {
    auto got = co_await std::move(op);
    out = std::move(got);
}

/// Sends `bytes` from one host to the other; returns how long it took until the last was read.
asio::awaitable<duration> carry(sim::host& from, sim::host& to, const byte_vector& bytes) {
    task_group reading(to.executor());
    byte_vector got;
    const endpoint at{to.address(), port};
    reading.spawn(store(got, read_all(to.listen(at))));
    const auto link = co_await from.connect(at);
    const time_point begun = from.now();
    co_await write_all(*link, bytes);
    link->finish();
    co_await reading.join();
    CHECK(got == bytes);
    co_return from.now() - begun;
}

double seconds(duration d) { return to_seconds(d); }

}  // namespace

TEST_CASE("a day passes in no time, and what waits for ever is told") {
    sim::world world(1);
    sim::host& here = world.add_host();
    const time_point begun = world.time().now();
    CHECK(world.run(sleep_and_count(here, 1h, 24), 25h) == 24);
    CHECK(world.time().now() - begun == 24h);
    CHECK_THROWS_AS(world.run(here.sleep_until(time_point::max())), std::runtime_error);
    CHECK_THROWS_AS(world.run(sleep_and_count(here, 1s, 1'000'000), 1min), std::runtime_error);
    CHECK(world.run(sleep_and_count(here, 1ms, 3)) == 3);
}

TEST_CASE("bytes arrive whole, in order, and when the lines allow it") {
    sim::world world(2);
    sim::host& here = world.add_host({.latency = 20ms, .up = 1'000'000});
    sim::host& there = world.add_host({.latency = 30ms});
    sim::host& slow = world.add_host({.latency = 30ms, .down = 100'000});
    const byte_vector bytes = random_bytes(500'000);
    const duration one = world.run(carry(here, there, bytes));
    CHECK(seconds(one) == doctest::Approx(0.55).epsilon(0.02));
    const duration two = world.run(carry(here, slow, bytes));
    CHECK(seconds(two) == doctest::Approx(5.05).epsilon(0.05));
    const duration own = world.run(carry(here, here, bytes));
    CHECK(own < 5ms);
}

TEST_CASE("two who send over one line share it") {
    sim::world world(3);
    sim::host& here = world.add_host({.latency = 0ms, .up = 1'000'000});
    sim::host& a = world.add_host({.latency = 0ms});
    sim::host& b = world.add_host({.latency = 0ms});
    const byte_vector bytes = random_bytes(500'000);
    const auto both = [](sim::host& from, sim::host& x, sim::host& y, const byte_vector& all) -> asio::awaitable<void> {
        const auto quietly = [](sim::host& f, sim::host& t, const byte_vector& what) -> asio::awaitable<void> {
            co_await carry(f, t, what);
        };
        task_group tasks(from.executor());
        tasks.spawn(quietly(from, x, all));
        tasks.spawn(quietly(from, y, all));
        co_await tasks.join();
    };
    const time_point begun = world.time().now();
    world.run(both(here, a, b, bytes));
    CHECK(seconds(world.time().now() - begun) == doctest::Approx(1.0).epsilon(0.05));
}

TEST_CASE("loss costs time and no byte, and the same seed loses the same") {
    std::set<duration> times;
    for (const std::uint64_t seed : {4u, 4u, 5u, 4u}) {
        sim::world world(seed);
        sim::host& here = world.add_host({.latency = 10ms, .jitter = 5ms, .loss = 0.1});
        sim::host& there = world.add_host({.latency = 10ms, .jitter = 5ms});
        const byte_vector bytes = random_bytes(400'000);
        const duration took = world.run(carry(here, there, bytes));
        CHECK(took > 200ms);
        times.insert(took);
    }
    CHECK(times.size() == 2);
}

TEST_CASE("who does not read holds the writer back") {
    sim::world world(6);
    sim::host& here = world.add_host();
    sim::host& there = world.add_host();
    const auto talk = [](sim::host& a, sim::host& b) -> asio::awaitable<void> {
        const endpoint at{b.address(), port};
        const auto door = b.listen(at);
        const auto link = co_await a.connect(at);
        const auto other = co_await door->accept();
        const byte_vector much(10'000'000, 1);
        std::error_code why;
        co_await store_error(why, with_timeout(a, 10s, write_all(*link, much)));
        CHECK(why == errc::timed_out);
        byte_vector buffer(1'000'000);
        std::size_t all = 0;
        for (int i = 0; i < 64; ++i) {
            co_await b.sleep_for(10ms);
            std::size_t got = 0;
            try {
                got = co_await with_timeout(b, 10ms, other->read_some(buffer));
            } catch (const std::system_error&) {
                break;
            }
            all += got;
        }
        CHECK(all == sim::connection::window);
    };
    world.run(talk(here, there));
}

TEST_CASE("connections are refused, unreachable, cut, healed and reset as real ones are") {
    sim::world world(7);
    sim::host& here = world.add_host();
    sim::host& there = world.add_host();
    const auto talk = [](sim::host& a, sim::host& b) -> asio::awaitable<void> {
        const endpoint at{b.address(), port}, nowhere{ip_address::v4({192, 0, 2, 1}), port};
        std::error_code why;
        co_await store_error(why, a.connect(at));
        CHECK(why == asio::error::connection_refused);
        co_await store_error(why, a.connect(nowhere));
        CHECK(why == std::errc::host_unreachable);
        const auto door = b.listen(at);
        CHECK(failure_of([&] { b.listen(at); }) == std::errc::address_in_use);
        CHECK(failure_of([&] { a.listen(at); }) == std::errc::address_not_available);
        const auto link = co_await a.connect(at);
        const auto other = co_await door->accept();
        CHECK(link->remote_endpoint() == at);
        CHECK(other->remote_endpoint() == link->local_endpoint());

        // A way that is cut for a while is waited out.
        const byte_vector word{1, 2, 3};
        b.move_to(1);
        co_await write_all(*link, word);
        byte_vector buffer(10);
        co_await store_error(why, with_timeout(b, 10s, other->read_some(buffer)));
        CHECK(why == errc::timed_out);
        b.move_to(0);
        const std::size_t got = co_await other->read_some(buffer);
        CHECK(got == 3);
        // One that stays cut ends the connection.
        b.set_online(false);
        co_await write_all(*link, word);
        co_await store_error(why, link->read_some(buffer));
        CHECK(why == asio::error::timed_out);
        co_await store_error(why, a.connect(at));
        CHECK(why == asio::error::timed_out);
        b.set_online(true);

        const auto second = co_await a.connect(at);
        const auto taken = co_await door->accept();
        a.reset_connections();
        co_await store_error(why, taken->read_some(buffer));
        CHECK(why == asio::error::connection_reset);
        co_await store_error(why, write_all(*second, word));
        CHECK(why == asio::error::connection_reset);

        // Who closes over unread bytes resets; who closes in good order is read to the end.
        const auto third = co_await a.connect(at);
        auto last = co_await door->accept();
        co_await write_all(*third, word);
        co_await a.sleep_for(1s);
        last.reset();
        co_await store_error(why, third->read_some(buffer));
        CHECK(why == asio::error::connection_reset);
    };
    world.run(talk(here, there));
}

TEST_CASE("datagrams get lost, come in another order, and never more than the line takes") {
    sim::world world(8);
    sim::host& here = world.add_host({.latency = 1ms, .jitter = 50ms, .loss = 0.2});
    sim::host& there = world.add_host({.latency = 1ms});
    sim::host& thin = world.add_host({.latency = 1ms, .up = 10'000, .queue = 100ms});
    const auto talk = [](sim::host& a, sim::host& b, sim::host& c) -> asio::awaitable<void> {
        const endpoint at{b.address(), port}, any{ip_address(), 0};
        const auto to = b.bind_udp(at);
        const auto from = a.bind_udp(any), narrow = c.bind_udp(any);
        for (std::uint8_t i = 0; i < 200; ++i) {
            const byte_vector one{i};
            co_await from->send(at, one);
        }
        std::vector<std::uint8_t> came;
        byte_vector buffer(1500);
        std::error_code why;
        while (!why) {
            try {
                const auto next = co_await with_timeout(b, 1s, to->receive(buffer));
                CHECK(next.from.address == a.address());
                came.push_back(buffer[0]);
            } catch (const std::system_error& error) {
                why = error.code();
            }
        }
        CHECK(why == errc::timed_out);
        CHECK(came.size() > 120);
        CHECK(came.size() < 190);
        CHECK(!std::is_sorted(came.begin(), came.end()));
        CHECK(std::set<std::uint8_t>(came.begin(), came.end()).size() == came.size());

        const byte_vector large(1000, 7);
        for (int i = 0; i < 50; ++i) co_await narrow->send(at, large);
        co_await b.sleep_for(10s);
        int arrived = 0;
        for (why = {}; !why; ++arrived) {
            try {
                co_await with_timeout(b, 1s, to->receive(buffer));
            } catch (const std::system_error& error) {
                why = error.code();
            }
        }
        CHECK(arrived - 1 == 2);
    };
    world.run(talk(here, there, thin));
}

TEST_CASE("names lead to hosts, and unknown ones to an error") {
    sim::world world(9);
    sim::host& here = world.add_host();
    sim::host& there = world.add_host();
    world.name("there.example", there);
    const auto ask = [](sim::host& from, sim::host& to) -> asio::awaitable<void> {
        const std::string name = "there.example", other = "nowhere.example";
        const auto found = co_await from.resolve(name);
        CHECK(found == std::vector<ip_address>{to.address()});
        std::error_code why;
        co_await store_error(why, from.resolve(other));
        CHECK(why == errc::host_not_found);
    };
    world.run(ask(here, there));
}

TEST_CASE("a world may end while much goes on in it") {
    sim::world world(10);
    sim::host& here = world.add_host();
    sim::host& there = world.add_host();
    const auto begin = [](sim::host& a, sim::host& b) -> asio::awaitable<void> {
        const auto listen = [](sim::host& on) -> asio::awaitable<void> {
            const endpoint at{on.address(), port};
            const auto door = on.listen(at);
            const auto link = co_await door->accept();
            byte_vector buffer(10);
            for (;;) co_await link->read_some(buffer);
        };
        const auto say = [](sim::host& from, sim::host& to) -> asio::awaitable<void> {
            const endpoint at{to.address(), port};
            const auto link = co_await from.connect(at);
            const byte_vector word(1000, 1);
            for (;;) {
                co_await write_all(*link, word);
                co_await from.sleep_for(1ms);
            }
        };
        asio::co_spawn(b.executor(), listen(b), asio::detached);
        asio::co_spawn(a.executor(), say(a, b), asio::detached);
        co_await a.sleep_for(1s);
    };
    world.run(begin(here, there));
}

TEST_CASE("what is bound to one address is not reached at another, and two addresses have the same port") {
    sim::world world(11);
    sim::host& here = world.add_host();
    sim::host& there = world.add_host();
    const auto talk = [](sim::host& a, sim::host& b) -> asio::awaitable<void> {
        const endpoint local{ip_address::loopback_v4(), port}, open{b.address(), port};
        const endpoint all{ip_address::v4(0), port + 1}, reached{b.address(), port + 1};
        const auto inner = b.listen(local);
        std::error_code why;
        co_await store_error(why, a.connect(open));
        CHECK(why == asio::error::connection_refused);
        const auto outer = b.listen(open);
        const auto everywhere = b.listen(all);
        CHECK(failure_of([&] { b.listen(reached); }) == std::errc::address_in_use);
        const auto one = co_await a.connect(open);
        const auto two = co_await a.connect(reached);
        const auto own = co_await b.connect(local);
        CHECK(own->remote_endpoint() == local);
    };
    world.run(talk(here, there));
}

TEST_CASE("who waits at a door that goes away is told") {
    sim::world world(12);
    sim::host& here = world.add_host();
    const auto wait = [](sim::host& at) -> asio::awaitable<void> {
        const endpoint where{at.address(), port};
        auto door = at.listen(where);
        auto socket = at.bind_udp(where);
        byte_vector buffer(10);
        std::error_code why, other;
        task_group waiting(at.executor());
        waiting.spawn(store_error(why, door->accept()));
        waiting.spawn(store_error(other, socket->receive(buffer)));
        co_await at.sleep_for(1s);
        door.reset();
        socket.reset();
        co_await waiting.join();
        CHECK(why == asio::error::operation_aborted);
        CHECK(other == asio::error::operation_aborted);
    };
    world.run(wait(here));
}

TEST_CASE("a line that loses everything ends a connection") {
    sim::world world(13);
    sim::host& here = world.add_host();
    sim::host& there = world.add_host();
    const auto talk = [](sim::host& a, sim::host& b) -> asio::awaitable<void> {
        const endpoint at{b.address(), port};
        const auto door = b.listen(at);
        const auto link = co_await a.connect(at);
        a.line_quality().loss = 1;
        const byte_vector word{1, 2, 3};
        byte_vector buffer(10);
        co_await write_all(*link, word);
        std::error_code why;
        co_await store_error(why, link->read_some(buffer));
        CHECK(why == asio::error::timed_out);
    };
    world.run(talk(here, there));
}

}  // namespace world_test
