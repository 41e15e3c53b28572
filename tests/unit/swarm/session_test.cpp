#include <doctest/doctest.h>

#include <algorithm>

#include <cohort/leecher.hpp>
#include <cohort/seeder.hpp>

#include "support/eventually.hpp"
#include "support/swarm_fixture.hpp"

namespace session_test {

using namespace cohort;
using namespace cohort::test;

namespace {

asio::awaitable<void> run_seeder(seeder& role) { co_await role.run(); }

asio::awaitable<void> run_leecher(leecher& role, std::error_code& failed) {
    try {
        co_await role.run();
    } catch (...) {
        failed = caught_error();
    }
}

std::uint64_t pieces_of(const shared_content& content) { return content.info.piece_hashes.size(); }

}  // namespace

TEST_CASE("a leecher downloads from a seeder, files of all sizes included") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(
            "folder", {{"a/large", 700'000}, {"b/empty", 0}, {"b/one byte", 1}, {"d\xc3\xa9j\xc3\xa0 vu", 100'003}});
        session& giver = world.start();
        const auto seeded = giver.add(content.info, world.seeding(content));
        session& taker = world.start();
        const auto options = world.leeching("copy", {world.address_of(giver)});
        const auto leeched = taker.add(content.info, options);
        co_await world.completed(leeched);
        CHECK(world.is_copy(content, "copy"));
        CHECK(std::filesystem::file_size(world.directory / "copy/folder/b/empty") == 0);
        CHECK(leeched->status().downloaded == content.bytes.size());
        CHECK(leeched->status().wasted == 0);
        CHECK(leeched->status().have == content.bytes.size());
        CHECK(leeched->status().state == torrent_state::seeding);
        CHECK(seeded->status().uploaded == content.bytes.size());
    });
}

TEST_CASE("a leecher whose files cannot be brought to safety at its end throws, complete as it is") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(3 * 65'536);
        session& giver = world.start();
        giver.add(content.info, world.seeding(content));
        for (const bool lost : {false, true}) {
            CAPTURE(lost);
            leecher_options options;
            options.directory = (world.directory / (lost ? "lost" : "kept")).string();
            options.addresses = {ip_address::loopback_v4()};
            options.port = 0;
            options.peers = {world.address_of(giver)};
            options.seed = true;  // so that there is a time between the last piece and the end
            leecher role(world.real, content.info, options);
            std::error_code failed;
            task_group running(world.real.executor());
            running.spawn(run_leecher(role, failed));
            co_await with_timeout(world.real, patience, role.torrent().completed());
            if (lost) std::filesystem::remove(std::filesystem::path(options.directory) / content.info.name);
            co_await role.torrent().stop();
            co_await running.join();
            CHECK(failed == (lost ? make_error_code(errc::file_missing) : std::error_code()));
        }
    });
}

TEST_CASE("events tell a download from beginning to end") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(500'000);
        session& giver = world.start();
        giver.add(content.info, world.seeding(content));
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy", {world.address_of(giver)}));
        event_log log = world.log(leeched);
        co_await log.until<event::completed>();
        // Both have everything: the connection has no use any more.
        const auto gone = co_await log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::peer_useless);
        CHECK(gone.downloaded == content.bytes.size());
        CHECK(gone.uploaded == 0);
        co_await taker.stop();
        co_await log.until<event::stopped>();

        CHECK(log.all<event::started>().size() == 1);
        CHECK(log.all<event::started>().at(0).have == 0);
        CHECK(log.all<event::completed>().size() == 1);
        CHECK(log.all<event::piece_failed>().empty());
        const auto connected = log.all<event::peer_connected>();
        CHECK(connected.size() == 1);
        CHECK(connected.at(0).address == world.address_of(giver));
        CHECK(connected.at(0).id == giver.id());
        CHECK_FALSE(connected.at(0).incoming);
        std::set<piece_index> pieces;
        for (const auto& one : log.all<event::piece_verified>()) pieces.insert(one.piece);
        CHECK(pieces.size() == pieces_of(content));
        CHECK(log.all<event::piece_verified>().size() == pieces_of(content));
    });
}

TEST_CASE("a leecher uploads as it downloads: one that knows only it has pieces before it has all itself") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(20 * 65'536);
        session& middle = world.start();
        const auto relay = middle.add(content.info, world.leeching("middle"));
        session& last = world.start();
        const auto end = last.add(content.info, world.leeching("last", {world.address_of(middle)}));
        event_log log = world.log(end);

        event_log relay_log = world.log(relay);
        co_await relay_log.until<event::started>();
        // Only half of the pieces until the last in the chain has some of them.
        const serving honest = content.honest();
        co_await world.source_of_first(10, world.address_of(middle), content, "half", honest);
        for (int i = 0; i < 3; ++i) co_await log.until<event::piece_verified>();
        CHECK_FALSE(relay->status().state == torrent_state::seeding);

        co_await world.source(world.address_of(middle), content, "all", honest);
        co_await world.completed(end);
        CHECK(world.is_copy(content, "last"));
        CHECK(relay->status().uploaded == content.bytes.size());
        CHECK(end->status().downloaded == content.bytes.size());
    });
}

TEST_CASE("a swarm of leechers shares: each byte leaves the seeder less often than there are leechers") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        // So slow that the leechers have time for each other, however busy the machine is.
        const shared_content content = world.make_content(48 * 16'384, 16'384);
        session& giver = world.start();
        torrent_options slow = world.seeding(content);
        slow.swarm.uploading.rate_limit = 256 * 1024;
        const auto seeded = giver.add(content.info, slow);
        std::vector<std::shared_ptr<torrent>> all;
        std::vector<endpoint> known{world.address_of(giver)};
        for (int i = 0; i < 3; ++i) {
            session& taker = world.start();
            all.push_back(taker.add(content.info, world.leeching("copy " + std::to_string(i), known)));
            known.push_back(world.address_of(taker));
        }
        for (const auto& one : all) co_await world.completed(one);
        for (int i = 0; i < 3; ++i) CHECK(world.is_copy(content, "copy " + std::to_string(i)));
        CHECK(2 * seeded->status().uploaded < 5 * content.bytes.size());
    });
}

TEST_CASE("a seeder's turn is over with its share when somebody waits, and goes on when nobody does") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(8 * block_size, block_size);
        session& giver = world.start();
        torrent_options strict = world.seeding(content);
        strict.swarm.uploading.choking.unchoke_slots = 1;
        strict.swarm.uploading.choking.optimistic_slots = 0;
        strict.swarm.uploading.choking.share = 2 * block_size;
        event_log log = world.log(giver.add(content.info, strict));
        co_await log.until<event::completed>();
        const endpoint at = world.address_of(giver);
        const auto ask = [&](scripted_peer& from, piece_index piece) {
            from.say(wire::request{{piece, 0, block_size}});
            return from.flush();
        };
        auto first = co_await world.join(at, content.info.hash, "first");
        first->say(wire::interested{});
        for (piece_index piece = 0; piece < 3; ++piece) {
            co_await ask(*first, piece);
            co_await first->expect<wire::piece>();
        }
        auto second = co_await world.join(at, content.info.hash, "second");
        second->say(wire::interested{});
        co_await second->flush();
        co_await world.take_turns(50);
        CHECK(first->count<wire::choke>() == 0);
        co_await ask(*first, 3);
        co_await first->expect<wire::piece>();
        co_await first->expect<wire::choke>();
        co_await second->expect<wire::unchoke>();
        for (piece_index piece = 0; piece < 2; ++piece) {
            co_await ask(*second, piece);
            co_await second->expect<wire::piece>();
        }
        co_await second->expect<wire::choke>();
        co_await first->expect<wire::unchoke>();
    });
}

TEST_CASE("several torrents live behind one port") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        std::vector<shared_content> contents;
        for (std::uint64_t i = 0; i < 3; ++i) contents.push_back(world.make_content(200'000 + i, 32'768, 1 + i));
        session& giver = world.start();
        session& taker = world.start();
        std::vector<std::shared_ptr<torrent>> leeched;
        for (const shared_content& content : contents) {
            giver.add(content.info, world.seeding(content));
            leeched.push_back(taker.add(content.info, world.leeching("copies", {world.address_of(giver)})));
        }
        for (const auto& one : leeched) co_await world.completed(one);
        for (const shared_content& content : contents) CHECK(world.is_copy(content, "copies"));
        CHECK(giver.find(contents[1].info.hash)->info().name == contents[1].info.name);
        CHECK(giver.find(info_hash{}) == nullptr);
    });
}

TEST_CASE("a torrent is in a session once; removed, it is gone from the port and may come again") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        session& giver = world.start();
        const auto first = giver.add(content.info, world.seeding(content));
        event_log log = world.log(first);
        co_await log.until<event::completed>();
        CHECK(failure_of([&] { giver.add(content.info, world.seeding(content)); }) == errc::duplicate_torrent);

        auto peer = co_await world.join(world.address_of(giver), content.info.hash, "guest");
        co_await giver.remove(content.info.hash);
        co_await peer->expect_end();
        co_await log.until<event::stopped>();
        CHECK(first->status().state == torrent_state::stopped);
        CHECK(giver.find(content.info.hash) == nullptr);
        auto late = co_await dial_as_peer(world.real, world.address_of(giver));
        late->say_handshake(greeting_of(content.info.hash, "late"));
        co_await late->flush();
        const std::size_t heard = co_await late->expect_end();
        CHECK(heard == 0);
        co_await giver.remove(content.info.hash);

        const auto again = giver.add(content.info, world.seeding(content));
        co_await world.completed(again);
        peer = co_await world.join(world.address_of(giver), content.info.hash, "guest");
        co_await peer->expect<wire::have_all>();
    });
}

TEST_CASE("peers are listed with what they gave and took, under the address at which others reach them") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(300'000);
        session& giver = world.start();
        const auto seeded = giver.add(content.info, world.seeding(content));
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy", {world.address_of(giver)}));
        event_log log = world.log(seeded);
        co_await world.completed(leeched);
        const auto gone = co_await log.until<event::peer_disconnected>();
        CHECK(gone.uploaded == content.bytes.size());
        const auto at_seeder = seeded->peers();
        CHECK(at_seeder.size() == 1);
        CHECK(at_seeder.at(0).address == world.address_of(taker));
        CHECK(at_seeder.at(0).uploaded == content.bytes.size());
        CHECK(at_seeder.at(0).client == client_name);
        CHECK_FALSE(at_seeder.at(0).connected);
        const auto at_leecher = leeched->peers();
        CHECK(at_leecher.size() == 1);
        CHECK(at_leecher.at(0).address == world.address_of(giver));
        CHECK(at_leecher.at(0).downloaded == content.bytes.size());
    });
}

TEST_CASE("stopping a session ends its torrents with a last event, and whoever waits for completion hears of it") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        std::error_code waiting;
        std::error_code ended = errc::timed_out;
        task_group tasks(world.real.executor());
        tasks.spawn(store_error(waiting, leeched->completed()));
        co_await taker.stop();
        co_await tasks.join();
        CHECK(waiting == errc::stopped);
        co_await log.until<event::stopped>();
        ended.clear();
        co_await store_error(ended, leeched->ended());
        CHECK_FALSE(ended);
        leeched->resume();
        CHECK(leeched->status().state == torrent_state::stopped);
    });
}

TEST_CASE("torrents may be removed while their session stops") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        session& giver = world.start();
        std::vector<shared_content> contents;
        task_group removing(world.real.executor());
        for (std::uint64_t i = 0; i < 4; ++i) {
            contents.push_back(world.make_content(100'000, 32'768, 1 + i));
            giver.add(contents.back().info, world.seeding(contents.back()));
        }
        for (const shared_content& content : contents) removing.spawn(giver.remove(content.info.hash));
        co_await giver.stop();
        co_await removing.join();
        for (const shared_content& content : contents) CHECK(giver.find(content.info.hash) == nullptr);
    });
}

TEST_CASE("a session listens on several addresses at one port, IPv6 included") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        session_options options;
        options.addresses = {ip_address::loopback_v4(), *ip_address::parse("::1")};
        options.port = 0;
        session both(world.net, options);
        world.background.spawn(both.run());
        both.add(content.info, world.seeding(content));
        session& taker = world.start();
        const auto leeched =
            taker.add(content.info, world.leeching("copy", {{*ip_address::parse("::1"), both.port()}}));
        co_await world.completed(leeched);
        CHECK(world.is_copy(content, "copy"));
        co_await both.stop();
        world.background.cancel();
        co_await world.background.join();
    });
}

TEST_CASE("a port that is taken is told with the address") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        session& first = world.start();
        session_options options;
        options.addresses = {ip_address::loopback_v4()};
        options.port = first.port();
        const auto second = [&] { const session taken(world.net, options); };
        CHECK(failure_of(second) == std::errc::address_in_use);
        CHECK(message_of(second).find(world.address_of(first).to_string()) != std::string::npos);
        co_return;
    });
}

TEST_CASE("the roles: a leecher's run() ends when it has everything, a seeder's when it is cancelled") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(300'000);
        seeder_options giving;
        giving.path = content.path;
        giving.addresses = {ip_address::loopback_v4()};
        giving.port = 0;
        seeder giver(world.net, content.info, giving);
        task_group tasks(world.real.executor());
        tasks.spawn(run_seeder(giver));
        leecher_options taking;
        taking.directory = (world.directory / "copy").string();
        taking.addresses = giving.addresses;
        taking.port = 0;
        taking.peers = {{ip_address::loopback_v4(), giver.port()}};
        taking.preallocate = true;
        leecher taker(world.net, content.info, taking);
        co_await with_timeout(world.real, patience, taker.run());
        CHECK(world.is_copy(content, "copy"));
        CHECK(taker.torrent().status().state == torrent_state::stopped);
        tasks.cancel();
        co_await tasks.join();
        CHECK(giver.torrent().status().state == torrent_state::stopped);
    });
}

TEST_CASE("a sequential download asks for its blocks in order") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(20 * 65'536);
        session& taker = world.start();
        torrent_options options = world.leeching("copy");
        options.swarm.picking.sequential = true;
        const auto leeched = taker.add(content.info, options);
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const serving honest = content.honest();
        const auto source = co_await world.source(world.address_of(taker), content, "source", honest);
        co_await log.until<event::completed>();
        CHECK(std::is_sorted(source->asked_in_turn.begin(), source->asked_in_turn.end()));
        CHECK(source->requests() == static_cast<int>(content.blocks()));
    });
}

}  // namespace session_test
