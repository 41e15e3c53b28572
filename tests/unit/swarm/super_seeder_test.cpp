// Super-seeding (BEP 16): what a seeder says that has the only copy.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/swarm_fixture.hpp"

namespace super_seeder_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr piece_index piece_count = 40;

struct sparing_seeder {
    shared_content content;
    std::shared_ptr<torrent> it;
    endpoint address;
};

asio::awaitable<sparing_seeder> start_seeder(swarm_fixture& world) {
    shared_content content = world.make_content(piece_count * block_size, block_size);
    session& where = world.start();
    torrent_options sparing = world.seeding(content);
    sparing.swarm.super_seeding = true;
    const auto it = where.add(content.info, sparing);
    event_log log = world.log(it);
    co_await log.until<event::completed>();
    co_return sparing_seeder{std::move(content), it, world.address_of(where)};
}

}  // namespace

TEST_CASE("super-seeding: a peer hears of a few pieces, and of more once others have those") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const sparing_seeder seeder = co_await start_seeder(world);
        auto one = co_await world.join(seeder.address, seeder.content.info.hash, "one");
        co_await one->expect<wire::have_none>();
        wire::have offer;
        for (std::size_t i = 0; i < super_seeding::most_open; ++i) offer = co_await one->expect<wire::have>();
        one->say(wire::interested{}).say(wire::request{{offer.piece, 0, block_size}}).say(wire::have{offer.piece});
        co_await one->flush();
        co_await one->expect<wire::piece>();
        CHECK(one->count<wire::have>() == super_seeding::most_open);

        auto other = co_await world.join(seeder.address, seeder.content.info.hash, "other");
        for (std::size_t i = 0; i < super_seeding::most_open; ++i) {
            const auto different = co_await other->expect<wire::have>();
            CHECK(different.piece != offer.piece);
        }
        other->say(wire::have{offer.piece});
        co_await other->flush();
        co_await one->expect<wire::have>();
        CHECK(other->count<wire::have>() == super_seeding::most_open);
        CHECK(other->count<wire::have_all>() == 0);
    });
}

TEST_CASE("super-seeding: a peer that is alone is told of everything after two seconds") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const sparing_seeder seeder = co_await start_seeder(world);
        auto alone = co_await world.join(seeder.address, seeder.content.info.hash, "alone");
        world.net.shift(super_seeding::alone_patience + 1s);
        bitfield told(piece_count);
        for (piece_index i = 0; i < piece_count; ++i) {
            const auto one = co_await alone->expect<wire::have>();
            told.set(one.piece);
        }
        CHECK(told.all());
    });
}

TEST_CASE("super-seeding: to say again what one has is no progress") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const sparing_seeder seeder = co_await start_seeder(world);
        auto alone = co_await world.join(seeder.address, seeder.content.info.hash, "alone");
        bitfield has(piece_count);
        has.set(0);
        for (int i = 0; i < 5; ++i) {
            alone->say(wire::bitfield{has.bytes()});
            co_await alone->flush();
            co_await world.take_turns(50);
            world.net.shift(1s);
        }
        for (piece_index i = 1; i < piece_count; ++i) co_await alone->expect<wire::have>();
    });
}

TEST_CASE("super-seeding: a swarm completes, and the seeder gives little more than one copy") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const sparing_seeder seeder = co_await start_seeder(world);
        std::vector<std::shared_ptr<torrent>> all;
        std::vector<endpoint> known{seeder.address};
        for (int i = 0; i < 5; ++i) {
            session& taker = world.start();
            all.push_back(taker.add(seeder.content.info, world.leeching("copy " + std::to_string(i), known)));
            known.push_back(world.address_of(taker));
        }
        for (const auto& one : all) co_await world.completed(one);
        for (int i = 0; i < 5; ++i) CHECK(world.is_copy(seeder.content, "copy " + std::to_string(i)));
        CHECK(seeder.it->status().uploaded >= seeder.content.bytes.size());
        CHECK(2 * seeder.it->status().uploaded <= 3 * seeder.content.bytes.size());
    });
}

}  // namespace super_seeder_test
