// Peers that send wrong data: found out, named and banned, while the download goes on.
#include <doctest/doctest.h>

#include "support/eventually.hpp"
#include "support/swarm_fixture.hpp"

namespace integrity_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 65'536;

struct running_leecher {
    session& where;
    std::shared_ptr<torrent> it;
    event_log log;
};

asio::awaitable<running_leecher> start_leecher(swarm_fixture& world, const shared_content& content) {
    session& where = world.start();
    auto it = where.add(content.info, world.leeching("copy"));
    running_leecher out{where, it, world.log(it)};
    co_await out.log.until<event::started>();
    co_return out;
}

}  // namespace

TEST_CASE("A20: the only source of a piece sends corrupt data: banned at the first piece, and the torrent waits") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(10 * piece_length);
        running_leecher leecher = co_await start_leecher(world, content);
        serving wrong = content.honest();
        wrong.corrupt = [](const block& range) { return range.begin == 0; };
        // Of one piece only, so that nothing else is under way when it fails.
        std::optional<piece_index> only;
        wrong.ignore = [&only](const block& range) {
            if (!only) only = range.piece;
            return range.piece != *only;
        };
        const endpoint at = world.address_of(leecher.where);
        auto bad = co_await world.source(at, content, "bad", wrong);
        const auto banned = co_await leecher.log.until<event::peer_banned>();
        CHECK(banned.address == bad->link().local_endpoint());
        co_await bad->expect_end();
        CHECK(leecher.log.all<event::piece_failed>().size() == 1);
        CHECK(leecher.it->status().wasted == piece_length);
        CHECK(leecher.it->status().state == torrent_state::downloading);

        // The same peer is not taken again.
        auto again = co_await dial_as_peer(world.real, at);
        again->say_handshake(greeting_of(content.info.hash, "bad"));
        co_await again->flush();
        co_await again->expect_end();
        CHECK(again->requests() == 0);

        const serving honest = content.honest();
        co_await world.source(at, content, "honest", honest);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
        CHECK(leecher.log.all<event::piece_failed>().size() == 1);
        CHECK(leecher.log.all<event::peer_banned>().size() == 1);
    });
}

TEST_CASE("A19: one of ten peers sends corrupt blocks: it alone is banned, within two bad pieces") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(320 * piece_length);
        running_leecher leecher = co_await start_leecher(world, content);
        const endpoint at = world.address_of(leecher.where);
        serving wrong = content.honest();
        wrong.corrupt = [](const block&) { return true; };
        const auto bad = co_await world.source(at, content, "bad", wrong);
        const serving honest = content.honest();
        for (const char* const name : {"1", "2", "3", "4", "5", "6", "7", "8", "9"})
            co_await world.source(at, content, name, honest);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
        const auto banned = leecher.log.all<event::peer_banned>();
        CHECK(banned.size() == 1);
        CHECK(banned.at(0).address == bad->link().local_endpoint());
        const std::size_t failed = leecher.log.all<event::piece_failed>().size();
        CHECK(failed >= 1);
        CHECK(failed <= 2);
        CHECK(leecher.it->status().wasted <= content.bytes.size() * 2 / 100);
    });
}

TEST_CASE("A19: a culprit that spoils one block of each piece is told from those who gave the others") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(12 * piece_length);
        running_leecher leecher = co_await start_leecher(world, content);
        const endpoint at = world.address_of(leecher.where);

        // Gives the first block of some pieces, wrong, and chokes, which gives the others back (no Fast extension).
        auto bad = co_await dial_as_peer(world.real, at);
        handshake plain = greeting_of(content.info.hash, "bad");
        plain.fast = false;
        co_await bad->greet(plain);
        const bitfield all(content.info.layout().piece_count(), true);
        bad->say(wire::bitfield{all.bytes()}).say(wire::unchoke{});
        co_await bad->flush();
        serving wrong = content.honest();
        wrong.corrupt = [](const block&) { return true; };
        for (int i = 0; i < 8; ++i) {
            const auto request = co_await bad->expect<wire::request>();
            if (request.range.begin == 0) bad->say_block(wrong, request.range);
        }
        bad->say(wire::choke{});
        co_await bad->flush();
        const auto received = [&] { return leecher.it->status().downloaded >= 2 * block_size; };
        co_await world.eventually(received);

        std::vector<std::shared_ptr<scripted_peer>> honest_ones;
        const serving honest = content.honest();
        for (const char* const name : {"first", "second", "third"}) {
            const auto one = co_await world.source(at, content, name, honest);
            honest_ones.push_back(one);
        }
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
        const std::size_t failed = leecher.log.all<event::piece_failed>().size();
        CHECK(failed >= 2);
        CHECK(failed <= 3);
        co_await bad->expect_end();
        co_await leecher.where.stop();
        co_await leecher.log.until<event::stopped>();
        const auto banned = leecher.log.all<event::peer_banned>();
        CHECK(banned.size() == 1);
        CHECK(banned.at(0).address == bad->link().local_endpoint());
    });
}

TEST_CASE("A19: two culprits that spoil the same piece are both found") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_length);
        running_leecher leecher = co_await start_leecher(world, content);
        const endpoint at = world.address_of(leecher.where);
        serving wrong = content.honest();
        wrong.corrupt = [](const block&) { return true; };
        const bitfield all(1, true);
        std::vector<std::shared_ptr<scripted_peer>> bad_ones;
        for (const char* const name : {"bad", "worse"}) {
            auto bad = co_await dial_as_peer(world.real, at);
            handshake plain = greeting_of(content.info.hash, name);
            plain.fast = false;
            co_await bad->greet(plain);
            bad->say(wire::bitfield{all.bytes()}).say(wire::unchoke{});
            co_await bad->flush();
            const auto request = co_await bad->expect<wire::request>();
            bad->say_block(wrong, request.range).say(wire::choke{});
            co_await bad->flush();
            const std::uint64_t bytes = (bad_ones.size() + 1) * block_size;
            const auto received = [&] { return leecher.it->status().downloaded == bytes; };
            co_await world.eventually(received);
            bad_ones.push_back(bad);
        }
        const serving honest = content.honest();
        co_await world.source(at, content, "honest", honest);
        for (const auto& bad : bad_ones) co_await bad->expect_end();
        co_await leecher.where.stop();
        co_await leecher.log.until<event::stopped>();
        std::set<endpoint> banned;
        for (const auto& one : leecher.log.all<event::peer_banned>()) banned.insert(one.address);
        CHECK(banned.size() == 2);
        for (const auto& bad : bad_ones) CHECK(banned.contains(bad->link().local_endpoint()));
        CHECK(leecher.log.all<event::piece_failed>().size() == 1);
    });
}

TEST_CASE("a culprit that has left is still named") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_length);
        running_leecher leecher = co_await start_leecher(world, content);
        const endpoint at = world.address_of(leecher.where);
        serving wrong = content.honest();
        wrong.corrupt = [](const block&) { return true; };
        auto bad = co_await world.join(at, content.info.hash, "bad");
        bad->say(wire::have_all{}).say(wire::unchoke{});
        co_await bad->flush();
        const auto request = co_await bad->expect<wire::request>();
        bad->say_block(wrong, request.range);
        co_await bad->flush();
        const auto received = [&] { return leecher.it->status().downloaded == block_size; };
        co_await world.eventually(received);
        const endpoint name = bad->link().local_endpoint();
        bad->close();
        co_await leecher.log.until<event::peer_disconnected>();
        const serving honest = content.honest();
        co_await world.source(at, content, "honest", honest);
        const auto banned = co_await leecher.log.until<event::peer_banned>();
        CHECK(banned.address == name);
        co_await world.completed(leecher.it);
        CHECK(world.is_copy(content, "copy"));
    });
}

}  // namespace integrity_test
