#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include <cohort/net/noise_network.hpp>
#include <cohort/net/task_group.hpp>

#include "support/net.hpp"
#include "support/placed_network.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"

namespace noise_network_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) { return identity(key32{number}); }

/// Ann and Bob, who want only each other, and Eve. Each has a network over the same machine.
struct three_people {
    explicit three_people(network& machine, noise_network_options for_bob = {})
        : clock(machine),
          of_ann(clock, ann, only(bob.key())),
          of_bob(clock, bob, only(ann.key()), std::move(for_bob)),
          of_eve(clock, eve, only(bob.key())),
          door(of_bob.listen(endpoint{ip_address::loopback_v4(), 0})),
          tasks(machine.executor()) {}

    static noise_network::predicate only(const identity_key& one) {
        return [one](const identity_key& key) { return key == one; };
    }
    endpoint at() const { return door->local_endpoint(); }

    test::shifting_network clock;
    identity ann = somebody(1);
    identity bob = somebody(2);
    identity eve = somebody(3);
    noise_network of_ann;
    noise_network of_bob;
    noise_network of_eve;
    std::unique_ptr<listener> door;
    task_group tasks;
};

using link = std::unique_ptr<stream>;

/// What Ann says through her end is what Bob hears at his.
asio::awaitable<void> check_linked(stream& from, stream& to) {
    co_await write_all(from, as_bytes("knock"));
    byte_vector heard(5);
    co_await read_exactly(to, heard);
    CHECK(as_text(heard) == "knock");
}

asio::awaitable<void> meet(network& net) {
    three_people all(net);
    link a;
    link b;
    all.tasks.spawn(test::store(a, all.of_ann.connect(all.at())));
    all.tasks.spawn(test::store(b, all.door->accept()));
    co_await all.tasks.join();
    co_await check_linked(*a, *b);
    co_await check_linked(*b, *a);
    CHECK(a->remote_endpoint() == all.at());
    CHECK(b->remote_endpoint() == a->local_endpoint());
    CHECK(dynamic_cast<noise_stream&>(*b).remote() == all.ann.key());
}

asio::awaitable<void> turn_away(network& net) {
    three_people all(net);
    link b;
    all.tasks.spawn(test::store(b, all.door->accept()));
    // Eve proves who she is, and is not wanted; a stranger speaks another protocol; somebody goes at once.
    link e = co_await all.of_eve.connect(all.at());
    byte_vector buffer(1);
    std::error_code error;
    std::size_t got = 0;
    try {
        got = co_await e->read_some(buffer);
    } catch (const std::system_error& failure) {
        error = failure.code();
    }
    CHECK(got == 0);
    link stranger = co_await net.connect(all.at());
    co_await write_all(*stranger, as_bytes("GET / HTTP/1.1\r\n\r\n"));
    link hasty = co_await net.connect(all.at());
    hasty->close();
    CHECK(!b);
    link a = co_await all.of_ann.connect(all.at());
    co_await all.tasks.join();
    co_await check_linked(*a, *b);
}

asio::awaitable<void> dial_wrong_person(network& net) {
    three_people all(net);
    noise_network strict(net, all.ann, three_people::only(all.eve.key()));
    std::error_code error;
    link b;
    task_group accepting(net.executor());
    accepting.spawn(test::store(b, all.door->accept()));
    co_await test::store_error(error, strict.connect(all.at()));
    CHECK(error == errc::identity_changed);
    CHECK(!b);
    accepting.cancel();
    co_await accepting.join();

    const endpoint nowhere = all.at();
    all.door->close();
    error.clear();
    co_await test::store_error(error, all.of_ann.connect(nowhere));
    CHECK(error == std::errc::connection_refused);
}

asio::awaitable<void> stall(network& net) {
    noise_network_options few;
    few.max_handshakes = 3;
    three_people all(net, few);
    link b;
    all.tasks.spawn(test::store(b, all.door->accept()));
    std::vector<link> silent;
    for (int i = 0; i < 2; ++i) {
        link one = co_await net.connect(all.at());
        silent.push_back(std::move(one));
    }
    link a = co_await all.of_ann.connect(all.at());
    co_await all.tasks.join();
    co_await check_linked(*a, *b);  // nobody waited for the silent ones

    // With all places taken the next is turned away at once; after the deadline there is room again.
    link third = co_await net.connect(all.at());
    silent.push_back(std::move(third));
    link late;
    all.tasks.spawn(test::store(b, all.door->accept()));
    std::error_code error;
    co_await test::store_error(error, all.of_ann.connect(all.at()));
    CHECK(error);
    CHECK(error != errc::timed_out);
    all.clock.shift(11s);
    byte_vector buffer(1);
    for (const link& one : silent) {
        std::error_code ended;
        co_await test::store_error(ended, one->read_some(buffer));
    }
    late = co_await all.of_ann.connect(all.at());
    co_await all.tasks.join();
    co_await check_linked(*late, *b);
}

asio::awaitable<void> crowd(network& net) {
    const identity bob = somebody(2);
    noise_network_options options;
    options.max_of_one_address = 2;
    test::placed_network server(net, 9);
    noise_network of_bob(server, bob, {}, options);
    const std::unique_ptr<listener> door = of_bob.listen(endpoint{server.address(), 0});
    link b;
    task_group tasks(net.executor());
    tasks.spawn(test::store(b, door->accept()));
    test::placed_network rude(net, 5);
    test::placed_network polite(net, 6);
    std::vector<link> silent;
    for (int i = 0; i < 3; ++i) {
        link one = co_await rude.connect(door->local_endpoint());
        silent.push_back(std::move(one));
    }
    // The third is closed at once; the first two wait for their deadline, which others do not.
    byte_vector buffer(1);
    const std::size_t got = co_await silent[2]->read_some(buffer);
    CHECK(got == 0);
    const identity ann = somebody(1);
    noise_network of_ann(polite, ann, {});
    link a = co_await of_ann.connect(door->local_endpoint());
    co_await tasks.join();
    co_await check_linked(*a, *b);
    CHECK(b->remote_endpoint().address == polite.address());
}

/// Whoever dials a listener of this comes from another address of one IPv6 network.
class crowded_network final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;
    std::unique_ptr<listener> listen(endpoint at) override { return std::make_unique<door>(inner().listen(at)); }

private:
    class door final : public listener {
    public:
        explicit door(std::unique_ptr<listener> inner) : inner_(std::move(inner)) {}
        asio::awaitable<std::unique_ptr<stream>> accept() override {
            link plain = co_await inner_->accept();
            const endpoint from{*ip_address::parse("2001:db8::" + std::to_string(++accepted_)), 1};
            co_return std::make_unique<test::renamed_stream>(std::move(plain), from);
        }
        endpoint local_endpoint() const override { return inner_->local_endpoint(); }
        void close() noexcept override { inner_->close(); }

    private:
        std::unique_ptr<listener> inner_;
        int accepted_ = 0;
    };
};

asio::awaitable<void> crowd_of_one_network(network& net) {
    const identity bob = somebody(2);
    noise_network_options options;
    options.max_of_one_address = 2;
    crowded_network server(net);
    noise_network of_bob(server, bob, {}, options);
    const std::unique_ptr<listener> door = of_bob.listen(endpoint{ip_address::loopback_v4(), 0});
    link b;
    task_group tasks(net.executor());
    tasks.spawn(test::store(b, door->accept()));
    std::vector<link> silent;
    for (int i = 0; i < 3; ++i) {
        link one = co_await net.connect(door->local_endpoint());
        silent.push_back(std::move(one));
    }
    byte_vector buffer(1);
    const std::size_t got = co_await with_timeout(net, 5s, silent[2]->read_some(buffer));
    CHECK(got == 0);
    tasks.cancel();
    co_await tasks.join();
}

asio::awaitable<void> wait_for_accept(network& net) {
    noise_network_options options;
    options.max_ready = 2;
    three_people all(net, options);
    link first;
    all.tasks.spawn(test::store(first, all.door->accept()));
    link a = co_await all.of_ann.connect(all.at());
    co_await all.tasks.join();
    // Nobody accepts: two are greeted, one more was at the door before that, and the others wait there.
    std::vector<link> dialled;
    for (int i = 0; i < 5; ++i) {
        link one;
        std::error_code error;
        co_await test::store_error(error, with_timeout(net, 500ms, test::store(one, all.of_ann.connect(all.at()))));
        if (one) dialled.push_back(std::move(one));
        CHECK((error == errc::timed_out) == (dialled.size() == 3 && i >= 3));
    }
    CHECK(dialled.size() == 3);
    for (const link& one : dialled) {
        link next = co_await all.door->accept();
        co_await check_linked(*one, *next);
    }
    // Those who gave up are not heard of.
    all.tasks.spawn(test::store(first, all.door->accept()));
    link last = co_await all.of_ann.connect(all.at());
    co_await all.tasks.join();
    co_await check_linked(*last, *first);
}

asio::awaitable<void> close_door(network& net) {
    three_people all(net);
    std::error_code error;
    all.tasks.spawn(test::store_error(error, all.door->accept()));
    link silent = co_await net.connect(all.at());
    for (int i = 0; i < 5; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
    all.door->close();
    all.door->close();
    co_await all.tasks.join();
    CHECK(is_cancellation(error));
    error.clear();
    co_await test::store_error(error, all.door->accept());
    CHECK(is_cancellation(error));
    byte_vector buffer(1);
    error.clear();
    co_await test::store_error(error, with_timeout(net, 5s, silent->read_some(buffer)));
    CHECK(error != errc::timed_out);  // it was let go

    // The same by destroying it; and one that nobody ever listened at.
    three_people others(net);
    error.clear();
    others.tasks.spawn(test::store_error(error, others.door->accept()));
    link another = co_await net.connect(others.at());
    for (int i = 0; i < 5; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
    others.door.reset();
    co_await others.tasks.join();
    CHECK(is_cancellation(error));
    others.door = others.of_bob.listen(endpoint{ip_address::loopback_v4(), 0});
}

asio::awaitable<void> cancel_accept(network& net) {
    three_people all(net);
    std::error_code error;
    co_await test::store_error(error, with_timeout(net, 5ms, all.door->accept()));
    CHECK(error == errc::timed_out);
    // Whoever comes meanwhile is greeted, and there at the next accept().
    link a = co_await all.of_ann.connect(all.at());
    link b = co_await all.door->accept();
    co_await check_linked(*a, *b);
}

/// A listener that fails.
class broken_listener final : public listener {
public:
    asio::awaitable<std::unique_ptr<stream>> accept() override {
        raise(std::make_error_code(std::errc::network_down));
        co_return nullptr;
    }
    endpoint local_endpoint() const override { return {}; }
    void close() noexcept override {}
};

class broken_network final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;
    std::unique_ptr<listener> listen(endpoint) override { return std::make_unique<broken_listener>(); }
};

asio::awaitable<void> fail_to_accept(network& net) {
    broken_network broken(net);
    const identity bob = somebody(2);
    noise_network of_bob(broken, bob, {});
    const auto door = of_bob.listen(endpoint{});
    for (int i = 0; i < 2; ++i) {
        std::error_code error;
        co_await test::store_error(error, door->accept());
        CHECK(error == std::errc::network_down);
    }
}

/// Fails at the first accept() in a way that no system does.
class odd_network final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;
    std::unique_ptr<listener> listen(endpoint) override { return std::make_unique<odd_listener>(); }

private:
    class odd_listener final : public listener {
    public:
        asio::awaitable<std::unique_ptr<stream>> accept() override {
            throw std::bad_alloc();
            co_return nullptr;
        }
        endpoint local_endpoint() const override { return {}; }
        void close() noexcept override {}
    };
};

asio::awaitable<void> fail_oddly(network& net) {
    odd_network odd(net);
    const identity bob = somebody(2);
    noise_network of_bob(odd, bob, {});
    const auto door = of_bob.listen(endpoint{});
    bool told = false;
    try {
        co_await with_timeout(net, 5s, door->accept());
    } catch (const std::bad_alloc&) {
        told = true;
    } catch (const std::system_error& error) {
        CHECK_MESSAGE(false, error.what());
    }
    CHECK(told);
}

/// Whoever judges the first who comes, fails.
asio::awaitable<void> fail_to_judge(network& net) {
    int asked = 0;
    const identity ann = somebody(1);
    const identity bob = somebody(2);
    const noise_network::predicate judge = [&asked](const identity_key&) {
        if (++asked == 1) throw std::runtime_error("no opinion");
        return true;
    };
    noise_network_options options;
    options.max_handshakes = 1;
    noise_network of_ann(net, ann, three_people::only(bob.key()));
    noise_network of_bob(net, bob, judge, options);
    const std::unique_ptr<listener> door = of_bob.listen(endpoint{ip_address::loopback_v4(), 0});
    link b;
    task_group tasks(net.executor());
    tasks.spawn(test::store(b, door->accept()));
    link a = co_await of_ann.connect(door->local_endpoint());
    byte_vector buffer(1);
    std::error_code ended;
    co_await test::store_error(ended, a->read_some(buffer));
    a = co_await of_ann.connect(door->local_endpoint());
    co_await with_timeout(net, 5s, tasks.join());
    co_await check_linked(*a, *b);
}

asio::awaitable<void> delegate(network& net) {
    three_people all(net);
    CHECK(&all.of_ann.random() == &all.clock.random());
    CHECK(all.of_ann.executor() == all.clock.executor());
    all.clock.shift(1h);
    CHECK(all.of_ann.now() >= net.now() + 59min);
    co_await all.of_ann.sleep_for(1ms);
    const auto addresses = co_await all.of_ann.resolve("127.0.0.1");
    CHECK(addresses.size() == 1);
    const auto socket = all.of_ann.bind_udp(endpoint{ip_address::loopback_v4(), 0});
    CHECK(socket->local_endpoint().port != 0);
    CHECK_THROWS_AS(all.of_ann.listen(all.at()), std::system_error);
}

}  // namespace

TEST_CASE("two people who know each other connect over Noise networks") { test::run(&meet); }

TEST_CASE("who is not allowed, speaks otherwise or goes at once is turned away, and accept does not hear of it (A50)") {
    test::run(&turn_away);
}

TEST_CASE("dialling the wrong person, or nobody, fails") { test::run(&dial_wrong_person); }

TEST_CASE("peers that never answer keep nobody waiting, and lose their place at the deadline (A50)") {
    test::run(&stall);
}

TEST_CASE("one address does not get all places") { test::run(&crowd); }

TEST_CASE("one IPv6 network does not get all places") { test::run(&crowd_of_one_network); }

TEST_CASE("connections that nobody accepts are bounded, and none is lost") { test::run(&wait_for_accept); }

TEST_CASE("closing or destroying a listener ends its accept and lets go of those it was greeting") {
    test::run(&close_door);
}

TEST_CASE("a cancelled accept loses no connection") { test::run(&cancel_accept); }

TEST_CASE("what ends the inner listener is told to who accepts") {
    test::run(&fail_to_accept);
    test::run(&fail_oddly);
}

TEST_CASE("whatever happens while one is greeted, its place is free afterwards and others are greeted") {
    test::run(&fail_to_judge);
}

TEST_CASE("time, randomness, names and datagrams are those of the inner network") { test::run(&delegate); }

}  // namespace noise_network_test
