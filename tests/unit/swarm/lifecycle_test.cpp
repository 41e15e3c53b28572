#include <doctest/doctest.h>

#include <cohort/swarm/session.hpp>

#include "support/eventually.hpp"
#include "support/faulty_disk.hpp"
#include "support/gated_pool.hpp"
#include "support/swarm_fixture.hpp"

namespace lifecycle_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// A source that has only the first `pieces`.
asio::awaitable<std::shared_ptr<scripted_peer>> source_of(swarm_fixture& world, const session& to,
                                                          const shared_content& content, piece_index pieces) {
    const serving honest = content.honest();
    auto out = co_await world.source_of_first(pieces, world.address_of(to), content, "source", honest);
    co_return out;
}

/// Completes when so many more pieces were verified.
asio::awaitable<void> pieces_verified(event_log& log, piece_index count) {
    for (piece_index i = 0; i < count; ++i) co_await log.until<event::piece_verified>();
}

constexpr std::uint32_t piece_length = 65'536;
constexpr piece_index piece_count = 16;
constexpr piece_index first_half = 8;
constexpr int blocks_in_piece = 4;

}  // namespace

TEST_CASE("a paused torrent leaves the swarm, and goes on where it was") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        auto source = co_await source_of(world, taker, content, first_half);
        co_await pieces_verified(log, first_half);

        leeched->pause();
        co_await log.until<event::paused>();
        CHECK(leeched->status().state == torrent_state::paused);
        CHECK(leeched->status().peers == 0);
        CHECK(leeched->status().have == first_half * piece_length);
        auto refused = co_await dial_as_peer(world.real, world.address_of(taker));
        refused->say_handshake(greeting_of(content.info.hash, "guest"));
        co_await refused->flush();
        const std::size_t heard = co_await refused->expect_end();
        CHECK(heard == 0);

        leeched->resume();
        const auto started = co_await log.until<event::started>();
        CHECK(started.have == first_half * piece_length);
        auto second = co_await source_of(world, taker, content, piece_count);
        co_await log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
        CHECK(second->requests() == (piece_count - first_half) * blocks_in_piece);
        CHECK(leeched->status().downloaded == content.bytes.size());
        CHECK(log.all<event::piece_verified>().size() == piece_count);
    });
}

TEST_CASE("what a peer gave before a pause is not forgotten for one that comes after it") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const auto before = co_await source_of(world, taker, content, first_half);
        co_await pieces_verified(log, first_half);
        leeched->pause();
        co_await log.until<event::paused>();
        leeched->resume();
        co_await log.until<event::started>();
        const auto after = co_await source_of(world, taker, content, piece_count);
        co_await log.until<event::completed>();
        co_await log.until<event::peer_disconnected>();
        const std::vector<peer_total> peers = leeched->peers();
        CHECK(peers.size() == 2);
        for (const peer_total& one : peers) CHECK(one.downloaded == first_half * piece_length);
    });
}

TEST_CASE("pausing and resuming at once changes nothing, and a torrent may be stopped while paused") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& giver = world.start();
        const auto seeded = giver.add(content.info, world.seeding(content));
        event_log log = world.log(seeded);
        co_await log.until<event::completed>();
        auto guest = co_await world.join(world.address_of(giver), content.info.hash, "guest");
        seeded->pause();
        seeded->resume();
        guest->say(wire::interested{});
        co_await guest->flush();
        co_await guest->expect<wire::unchoke>();
        CHECK(log.all<event::paused>().empty());

        seeded->pause();
        co_await log.until<event::paused>();
        co_await guest->expect_end();
        co_await seeded->stop();
        co_await log.until<event::stopped>();
        CHECK(log.all<event::paused>().size() == 1);
    });
}

TEST_CASE("a torrent that is stopped while its files are checked ends soon") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(4 * 1024 * 1024);
        session& giver = world.start();
        const auto seeded = giver.add(content.info, world.seeding(content));
        event_log log = world.log(seeded);
        co_await seeded->stop();
        co_await log.until<event::stopped>();
        CHECK(log.all<event::started>().empty());
        CHECK(seeded->status().state == torrent_state::stopped);
    });
}

TEST_CASE("a check of files that is paused or stopped looks at no more of them, and the next begins anew") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        // Nothing but a hole: sixteen steps for two lanes, and no bytes to read.
        constexpr std::uint32_t large_piece = 1 << 20;
        torrent_draft draft;
        draft.name = "zeros";
        draft.piece_length = large_piece;
        draft.files.push_back({{}, 256 * large_piece});
        draft.piece_hashes.assign(256, sha1_of(byte_vector(large_piece)));
        const metainfo info = metainfo_of(draft);
        write_file(world.directory / "copy" / info.name, std::string_view());
        std::filesystem::resize_file(world.directory / "copy" / info.name, info.total_size);

        session_options options;
        options.addresses = {ip_address::loopback_v4()};
        options.port = 0;
        auto pool = std::make_unique<gated_pool>();
        gated_pool& gate = *pool;
        session owner(world.net, std::make_unique<real_disk>(), std::move(pool), options);
        task_group tasks(world.real.executor());
        tasks.spawn(owner.run());
        gate.shut();
        const auto leeched = owner.add(info, world.leeching("copy"));
        event_log log = world.log(leeched);
        const auto looks_at_journal = [&] { return gate.held() == 1; };
        const auto checks = [&] { return gate.held() == 2; };
        for (const bool pausing : {true, false}) {
            co_await eventually(world.real, looks_at_journal);
            gate.open();
            gate.shut();
            co_await eventually(world.real, checks);
            if (pausing) {
                leeched->pause();
            } else {
                tasks.spawn(owner.stop());
                co_await take_turns(world.real, 10);
            }
            gate.open();
            if (!pausing) break;
            co_await log.until<event::paused>();
            CHECK(log.all<event::checking>().size() == 2);
            gate.shut();
            leeched->resume();
        }
        co_await log.until<event::stopped>();
        CHECK(log.all<event::checking>().size() == 4);
        CHECK(log.all<event::started>().empty());
        co_await tasks.join();

        session& second = world.start();
        event_log later = world.log(second.add(info, world.leeching("copy")));
        const auto started = co_await later.until<event::started>();
        CHECK(started.have == info.total_size);
    });
}

TEST_CASE("after a stop in good order the next session fetches only what is missing") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& first = world.start();
        const auto before = first.add(content.info, world.leeching("copy"));
        event_log log = world.log(before);
        co_await log.until<event::started>();
        auto source = co_await source_of(world, first, content, first_half);
        co_await pieces_verified(log, first_half);
        co_await first.stop();

        auto disk = std::make_unique<faulty_disk>();
        const faulty_disk& counting = *disk;
        session& second = world.start(std::move(disk));
        const auto after = second.add(content.info, world.leeching("copy"));
        event_log later = world.log(after);
        const auto started = co_await later.until<event::started>();
        CHECK(started.have == first_half * piece_length);
        CHECK(counting.bytes_read < piece_length);
        auto rest = co_await source_of(world, second, content, piece_count);
        co_await later.until<event::completed>();
        CHECK(rest->requests() == (piece_count - first_half) * blocks_in_piece);
        for (const auto& [range, times] : rest->asked) {
            CHECK_FALSE(source->asked.contains(range));
            CHECK(times == 1);
        }
        CHECK(world.is_copy(content, "copy"));
    });
}

TEST_CASE("A52: after kill -9 no verified piece is fetched again") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& first = world.start();
        const auto before = first.add(content.info, world.leeching("copy"));
        event_log log = world.log(before);
        co_await log.until<event::started>();
        const auto source = co_await source_of(world, first, content, first_half);
        co_await pieces_verified(log, first_half);
        // What a killed process leaves: the files as they are now, with the journal open.
        std::filesystem::copy(world.directory / "copy", world.directory / "left behind",
                              std::filesystem::copy_options::recursive);

        session& second = world.start();
        const auto after = second.add(content.info, world.leeching("left behind"));
        event_log later = world.log(after);
        const auto started = co_await later.until<event::started>();
        CHECK(started.have == first_half * piece_length);
        auto rest = co_await source_of(world, second, content, piece_count);
        co_await later.until<event::completed>();
        CHECK(rest->requests() == (piece_count - first_half) * blocks_in_piece);
        CHECK(world.is_copy(content, "left behind"));
    });
}

TEST_CASE("A52: after kill -9 in a piece that takes long, what was verified before it is not checked again") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& first = world.start();
        const auto before = first.add(content.info, world.leeching("copy"));
        event_log log = world.log(before);
        co_await log.until<event::started>();
        const auto source = co_await source_of(world, first, content, first_half);
        co_await pieces_verified(log, first_half);
        // As if that had been minutes ago, and since then a few blocks had come.
        const auto journal = world.directory / "copy" / journal_name(content.info.hash);
        const auto long_ago = std::filesystem::last_write_time(journal) - std::chrono::minutes(5);
        std::filesystem::last_write_time(journal, long_ago);
        world.net.shift(6s);
        const auto is_young = [&] { return std::filesystem::last_write_time(journal) > long_ago; };
        co_await eventually(world.real, is_young);
    });
}

TEST_CASE("content that is there already is found without a journal") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        byte_vector half = content.bytes;
        std::fill(half.begin() + first_half * piece_length, half.end(), std::uint8_t{0});
        write_file(world.directory / "copy" / content.info.name, half);
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        const auto started = co_await log.until<event::started>();
        CHECK(started.have == first_half * piece_length);
        CHECK_FALSE(log.all<event::checking>().empty());
        auto rest = co_await source_of(world, taker, content, piece_count);
        co_await log.until<event::completed>();
        CHECK(rest->requests() == (piece_count - first_half) * blocks_in_piece);
    });
}

TEST_CASE("a complete torrent keeps its journal or not, as it was told; with it a restart reads nothing") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        const auto journal = world.directory / "copy" / journal_name(content.info.hash);
        session& giver = world.start();
        giver.add(content.info, world.seeding(content));
        for (const bool keep : {true, false}) {
            session& taker = world.start();
            torrent_options options = world.leeching("copy", {world.address_of(giver)});
            options.keep_journal = keep;
            const auto leeched = taker.add(content.info, options);
            co_await world.completed(leeched);
            CHECK(std::filesystem::exists(journal));
            co_await taker.stop();
            CHECK(std::filesystem::exists(journal) == keep);
            if (!keep) continue;
            auto disk = std::make_unique<faulty_disk>();
            const faulty_disk& counting = *disk;
            session& again = world.start(std::move(disk));
            const auto complete = again.add(content.info, options);
            co_await world.completed(complete);
            CHECK(complete->status().downloaded == 0);
            CHECK(counting.bytes_read < piece_length);
            co_await again.stop();
        }
    });
}

TEST_CASE("who wants more than was selected at first downloads again, and completes a second time") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const std::size_t half = first_half * piece_length;
        const shared_content content = world.make_content("folder", {{"one", half}, {"two", half}});
        session& giver = world.start();
        giver.add(content.info, world.seeding(content));
        session& taker = world.start();
        torrent_options options = world.leeching("copy", {world.address_of(giver)});
        options.file_priorities = {4, 0};
        const auto leeched = taker.add(content.info, options);
        event_log log = world.log(leeched);
        co_await log.until<event::completed>();
        CHECK(leeched->status().state == torrent_state::seeding);
        CHECK(leeched->status().have == half);

        leeched->set_file_priorities({});
        CHECK(leeched->status().state == torrent_state::downloading);
        co_await world.completed(leeched);
        CHECK(leeched->status().state == torrent_state::seeding);
        CHECK(world.is_copy(content, "copy"));
        co_await log.until<event::completed>();
        CHECK(log.all<event::completed>().size() == 2);
    });
}

TEST_CASE("cancelling a session stops its torrents in good order, also one that is just closing") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        for (const bool closing : {false, true}) {
            session_options options;
            options.addresses = {ip_address::loopback_v4()};
            options.port = 0;
            auto pool = std::make_unique<gated_pool>();
            gated_pool& gate = *pool;
            session owner(world.net, std::make_unique<real_disk>(), std::move(pool), options);
            const auto seeded = owner.add(content.info, world.seeding(content));
            event_log log = world.log(seeded);
            task_group tasks(world.real.executor());
            tasks.spawn(owner.run());
            co_await log.until<event::completed>();
            if (closing) {
                gate.shut();
                seeded->pause();
                const auto waits = [&] { return gate.held() > 0; };
                co_await eventually(world.real, waits);
            }
            tasks.cancel();
            for (int turns = 0; turns < 10; ++turns) co_await asio::post(world.real.executor(), asio::use_awaitable);
            gate.open();
            co_await with_timeout(world.real, patience, tasks.join());
            co_await log.until<event::stopped>();
            CHECK(seeded->status().state == torrent_state::stopped);
        }
    });
}

}  // namespace lifecycle_test
