// Who may talk with whom, and how often: the same peer twice, ourselves, several peers of one address.
#include <doctest/doctest.h>

#include "support/eventually.hpp"
#include "support/swarm_fixture.hpp"

namespace peers_test {

using namespace cohort;
using namespace cohort::test;

namespace {

asio::awaitable<std::shared_ptr<torrent>> running_seeder(swarm_fixture& world, session& on,
                                                         const shared_content& content) {
    const auto out = on.add(content.info, world.seeding(content));
    co_await world.completed(out);
    const auto takes_part = [&out] { return out->status().state == torrent_state::seeding; };
    co_await eventually(world.real, takes_part);
    co_return out;
}

/// Asks for the first block and compares.
asio::awaitable<void> expect_service(scripted_peer& peer, const shared_content& content) {
    peer.say(wire::interested{});
    co_await peer.flush();
    co_await peer.expect<wire::unchoke>();
    const block first = content.info.layout().block_at(0, 0);
    peer.say(wire::request{first});
    co_await peer.flush();
    const auto got = co_await peer.expect<wire::piece>();
    const byte_view expected = byte_view(content.bytes).first(first.length);
    CHECK(as_text(got.data) == as_text(expected));
}

/// Two leechers with nothing to give stay connected; both know the other and dial at the same moment.
asio::awaitable<void> cross(swarm_fixture& world, network& first_net, network& second_net, ip_address first_address,
                            ip_address second_address, const shared_content& content, int round) {
    session& first = world.start(first_net, std::make_unique<real_disk>(), first_address);
    session& second = world.start(second_net, std::make_unique<real_disk>(), second_address);
    const std::string name = std::to_string(round);
    const auto one = first.add(content.info, world.leeching("a" + name, {{second_address, second.port()}}));
    const auto other = second.add(content.info, world.leeching("b" + name, {{first_address, first.port()}}));
    event_log one_log = world.log(one);
    event_log other_log = world.log(other);
    co_await one_log.until<event::peer_connected>();
    co_await other_log.until<event::peer_connected>();
    const auto settled = [&] { return one->status().peers == 1 && other->status().peers == 1; };
    co_await eventually(world.real, settled);
    // Whatever else is under way comes to its end, and a second look a second later dials nobody.
    for (int turns = 0; turns < 200; ++turns) co_await asio::post(world.real.executor(), asio::use_awaitable);
    world.net.shift(20s);
    for (int turns = 0; turns < 200; ++turns) co_await asio::post(world.real.executor(), asio::use_awaitable);
    CHECK(settled());
    co_await first.stop();
    co_await second.stop();
    co_await one_log.until<event::stopped>();
    co_await other_log.until<event::stopped>();
    // At most the two that crossed, one of which ended as a duplicate.
    for (const event_log* const log : {&one_log, &other_log}) {
        CHECK(log->all<event::peer_connected>().size() <= 2);
        for (const auto& gone : log->all<event::peer_disconnected>())
            CHECK((gone.reason == errc::duplicate_peer || gone.reason == errc::stopped ||
                   gone.reason == errc::connection_closed || gone.reason == std::errc::connection_reset));
    }
}

}  // namespace

TEST_CASE("A05: a peer id that is connected already is refused, and the older connection goes on") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        session& giver = world.start();
        const auto seeded = co_await running_seeder(world, giver, content);
        auto older = co_await world.join(world.address_of(giver), content.info.hash, "the same");
        co_await older->expect<wire::have_all>();
        auto newer = co_await world.join(world.address_of(giver), content.info.hash, "the same");
        co_await newer->expect_end();
        CHECK(seeded->status().peers == 1);
        co_await expect_service(*older, content);
    });
}

TEST_CASE("A05: a stranger with our own peer id is refused") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        session& giver = world.start();
        const auto seeded = co_await running_seeder(world, giver, content);
        auto mirror = co_await dial_as_peer(world.real, world.address_of(giver));
        handshake ours = greeting_of(content.info.hash, "");
        ours.id = giver.id();
        mirror->say_handshake(ours);
        co_await mirror->flush();
        const std::size_t heard = co_await mirror->expect_end();
        CHECK(heard <= handshake_size);
        CHECK(seeded->status().peers == 0);
    });
}

TEST_CASE("A05: a session that is told its own address finds out, and does not try again") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy", {world.address_of(taker)}));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        for (int i = 0; i < 5; ++i) {
            for (int turns = 0; turns < 100; ++turns) co_await asio::post(world.real.executor(), asio::use_awaitable);
            CHECK(leeched->status().peers == 0);
            world.net.shift(20s);
        }
        co_await taker.stop();
        co_await log.until<event::stopped>();
        CHECK(log.all<event::peer_connected>().empty());
    });
}

TEST_CASE("two peers that dial each other at the same time keep exactly one connection") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        const ip_address here = ip_address::loopback_v4();
        for (int round = 0; round < 10; ++round)
            co_await cross(world, world.net, world.net, here, here, content, round);
    });
}

TEST_CASE("two peers of different addresses that dial each other at the same time keep exactly one connection") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        placed_network& first = world.host(1);
        placed_network& second = world.host(2);
        for (int round = 0; round < 10; ++round)
            co_await cross(world, first, second, first.address(), second.address(), content, round);
    });
}

TEST_CASE("A35: of a stranger's connections from one address only the first is taken") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        placed_network& host = world.host(1);
        placed_network& stranger = world.host(2);
        placed_network& neighbour = world.host(3);
        session& giver = world.start(host, std::make_unique<real_disk>(), host.address());
        const auto seeded = co_await running_seeder(world, giver, content);
        const endpoint at{host.address(), giver.port()};
        auto taken = co_await dial_as_peer(stranger, at);
        const handshake first = greeting_of(content.info.hash, "0");
        co_await taken->greet(first);
        co_await taken->expect<wire::have_all>();
        for (int i = 1; i <= 20; ++i) {
            auto one = co_await dial_as_peer(stranger, at);
            one->say_handshake(greeting_of(content.info.hash, std::to_string(i)));
            co_await one->flush();
            co_await one->expect_end();
        }
        CHECK(seeded->status().peers == 1);
        auto other = co_await dial_as_peer(neighbour, at);
        const handshake second = greeting_of(content.info.hash, "neighbour");
        co_await other->greet(second);
        co_await expect_service(*other, content);
        co_await expect_service(*taken, content);
        CHECK(seeded->status().peers == 2);
    });
}

TEST_CASE("an address that gave bad data is refused from then on, whatever its peer id and port") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        placed_network& host = world.host(1);
        placed_network& stranger = world.host(2);
        placed_network& neighbour = world.host(3);
        session& taker = world.start(host, std::make_unique<real_disk>(), host.address());
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const endpoint at{host.address(), taker.port()};
        auto bad = co_await dial_as_peer(stranger, at);
        const handshake bad_one = greeting_of(content.info.hash, "bad");
        co_await bad->greet(bad_one);
        bad->say(wire::have_all{});
        co_await bad->flush();
        serving wrong = content.honest();
        wrong.corrupt = [](const block&) { return true; };
        world.serve(bad, wrong);
        const auto banned = co_await log.until<event::peer_banned>();
        CHECK(banned.address == endpoint{stranger.address(), 0});
        auto again = co_await dial_as_peer(stranger, at);
        again->say_handshake(greeting_of(content.info.hash, "reformed"));
        co_await again->flush();
        const std::size_t heard = co_await again->expect_end();
        CHECK(heard == 0);
        auto honest = co_await dial_as_peer(neighbour, at);
        const handshake honest_one = greeting_of(content.info.hash, "honest");
        co_await honest->greet(honest_one);
        honest->say(wire::have_all{});
        co_await honest->flush();
        world.serve(honest, content.honest());
        co_await log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
    });
}

TEST_CASE(
    "A20: a liar with the peer id of an honest seed is banned by its own address, and the seed is dialled again") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        placed_network& host = world.host(1);
        placed_network& stranger = world.host(2);
        placed_network& far = world.host(3);
        session& giver = world.start(far, std::make_unique<real_disk>(), far.address());
        const auto seeded = co_await running_seeder(world, giver, content);
        event_log seen_by_giver = world.log(seeded);
        session& taker = world.start(host, std::make_unique<real_disk>(), host.address());
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const endpoint at{host.address(), taker.port()};
        auto liar = co_await dial_as_peer(stranger, at);
        handshake stolen = greeting_of(content.info.hash, "");
        stolen.id = giver.id();
        co_await liar->greet(stolen);
        co_await log.until<event::peer_connected>();
        world.net.shift(11s);  // so that nobody takes them for two sides that dialled each other
        leeched->add_peer({far.address(), giver.port()});
        co_await seen_by_giver.until<event::peer_disconnected>();
        liar->say(wire::have_all{});
        co_await liar->flush();
        serving wrong = content.honest();
        wrong.corrupt = [](const block&) { return true; };
        world.serve(liar, wrong);
        const auto banned = co_await log.until<event::peer_banned>();
        CHECK(banned.address == endpoint{stranger.address(), 0});
        world.net.shift(20s);
        co_await log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
    });
}

TEST_CASE("a peer that was known by two addresses can be dialled at both when it has left") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        placed_network& host = world.host(1);
        placed_network& first = world.host(2);
        placed_network& second = world.host(3);
        session& giver = world.start(second, std::make_unique<real_disk>(), second.address());
        const auto seeded = co_await running_seeder(world, giver, content);
        event_log seen_by_giver = world.log(seeded);
        session& taker = world.start(host, std::make_unique<real_disk>(), host.address());
        const std::unique_ptr<listener> door = first.listen({first.address(), 0});
        const auto leeched = taker.add(content.info, world.leeching("copy", {door->local_endpoint()}));
        event_log log = world.log(leeched);
        auto link = co_await with_timeout(world.real, patience, door->accept());
        auto peer = std::make_shared<scripted_peer>(world.real, std::move(link));
        handshake same = greeting_of(content.info.hash, "");
        same.id = giver.id();
        co_await peer->expect_handshake();
        peer->say_handshake(same);
        co_await peer->flush();
        co_await log.until<event::peer_connected>();
        leeched->add_peer({second.address(), giver.port()});
        co_await seen_by_giver.until<event::peer_disconnected>();
        peer->close();
        co_await log.until<event::peer_disconnected>();
        world.net.shift(20s);
        auto again = co_await with_timeout(world.real, patience, door->accept());
        co_await log.until<event::completed>();
    });
}

TEST_CASE("A35: a stranger with a whole IPv6 network takes a few places and no more") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(200'000);
        placed_network& host = world.host(1);
        session& giver = world.start(host, std::make_unique<real_disk>(), host.address());
        const auto seeded = co_await running_seeder(world, giver, content);
        const endpoint at{host.address(), giver.port()};
        std::vector<std::shared_ptr<scripted_peer>> taken;
        for (std::uint8_t i = 0; i < 20; ++i) {
            auto one = co_await dial_as_peer(world.host(static_cast<std::uint8_t>(200 + i)), at);
            one->say_handshake(greeting_of(content.info.hash, std::to_string(i)));
            co_await one->flush();
            if (i < 8) {
                co_await one->expect_handshake();
                co_await one->expect<wire::have_all>();
                taken.push_back(std::move(one));
            } else {
                co_await one->expect_end();
            }
        }
        CHECK(seeded->status().peers == 8);
        auto other = co_await dial_as_peer(world.host(2), at);
        const handshake greeting = greeting_of(content.info.hash, "neighbour");
        co_await other->greet(greeting);
        co_await expect_service(*other, content);
    });
}

}  // namespace peers_test
