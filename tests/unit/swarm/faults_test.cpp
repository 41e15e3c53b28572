// What goes wrong with the disk (adversary A51): that torrent stops with a clear word, the others go on, nothing that
// was verified is lost, and resume() continues when the cause is gone.
#include <doctest/doctest.h>

#include "support/eventually.hpp"
#include "support/faulty_disk.hpp"
#include "support/swarm_fixture.hpp"

namespace faults_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 65'536;

bool mentions(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

/// Bytes on the way may be lost, what the torrent calls verified must be there.
void check_verified_pieces(const swarm_fixture& world, const shared_content& content, const std::string& name,
                           const event_log& log) {
    const byte_vector all = world.copy_of(content, name);
    const piece_layout layout = content.info.layout();
    for (const auto& one : log.all<event::piece_verified>()) {
        const byte_view bytes = byte_view(all).subspan(layout.offset(one.piece), layout.piece_size(one.piece));
        CHECK(sha1_of(bytes) == content.info.piece_hashes[one.piece]);
    }
}

}  // namespace

TEST_CASE("A51: a full disk stops the torrent, not its neighbour; with space it goes on where it was") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content large = world.make_content(40 * piece_length, piece_length, 1);
        const shared_content small = world.make_content(3 * piece_length, piece_length, 2);
        auto files = std::make_unique<faulty_disk>();
        faulty_disk& disk = *files;
        session& giver = world.start();
        giver.add(small.info, world.seeding(small));
        session& taker = world.start(std::move(files));
        const auto leeched = taker.add(large.info, world.leeching("large"));
        const auto neighbour = taker.add(small.info, world.leeching("small"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const auto neighbour_ready = [&] { return neighbour->status().state == torrent_state::downloading; };
        co_await eventually(world.real, neighbour_ready);
        // Room for the journals and ten pieces.
        disk.bytes_left = 10 * piece_length + 8192;
        const serving honest = large.honest();
        const auto source = co_await world.source(world.address_of(taker), large, "source", honest);
        const auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::disk_full);
        CHECK(mentions(failed.message, (world.directory / "large").string()));
        CHECK(mentions(failed.message, "no space left"));
        co_await source->expect_end();
        CHECK(leeched->status().state == torrent_state::failed);
        std::error_code waiting;
        co_await store_error(waiting, leeched->completed());
        CHECK(waiting == errc::disk_full);
        check_verified_pieces(world, large, "large", log);
        const std::size_t verified = log.all<event::piece_verified>().size();
        CHECK(verified >= 1);
        CHECK(verified <= 10);

        disk.bytes_left = 100 * piece_length;
        neighbour->add_peer(world.address_of(giver));
        co_await world.completed(neighbour);
        CHECK(world.is_copy(small, "small"));

        leeched->resume();
        const auto again = co_await log.until<event::started>();
        CHECK(again.have >= verified * piece_length);
        const auto second = co_await world.source(world.address_of(taker), large, "second source", honest);
        co_await log.until<event::completed>();
        CHECK(world.is_copy(large, "large"));
        CHECK(second->asked.size() == (large.bytes.size() - again.have) / block_size);
    });
}

TEST_CASE("A51: a download that cannot be brought to safety at its end says so, and the next run checks it") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(3 * piece_length);
        session& giver = world.start();
        giver.add(content.info, world.seeding(content));
        for (const bool keep : {false, true}) {
            CAPTURE(keep);
            auto files = std::make_unique<faulty_disk>();
            faulty_disk& disk = *files;
            session& taker = world.start(std::move(files));
            const std::string name = keep ? "kept" : "not kept";
            torrent_options options = world.leeching(name, {world.address_of(giver)});
            options.keep_journal = keep;
            const auto leeched = taker.add(content.info, options);
            co_await world.completed(leeched);
            CHECK(!leeched->failure());
            disk.syncs_fail = true;
            co_await taker.stop();
            REQUIRE(leeched->failure());
            CHECK(leeched->failure()->code() == errc::disk_failed);

            session& again = world.start();
            const auto next = again.add(content.info, options);
            event_log log = world.log(next);
            co_await log.until<event::completed>();
            CHECK_FALSE(log.all<event::checking>().empty());
            CHECK(next->status().downloaded == 0);
            co_await again.stop();
            CHECK(!next->failure());
        }
    });
}

TEST_CASE("A51: a directory that cannot be made is named, and resume() tries again") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(3 * piece_length);
        session& giver = world.start();
        giver.add(content.info, world.seeding(content));
        write_file(world.directory / "in the way", std::string_view("a file"));
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("in the way/copy", {world.address_of(giver)}));
        event_log log = world.log(leeched);
        auto failed = co_await log.until<event::failed>();
        CHECK(mentions(failed.message, (world.directory / "in the way").string()));
        leeched->resume();
        failed = co_await log.until<event::failed>();
        CHECK(leeched->status().state == torrent_state::failed);

        std::filesystem::remove(world.directory / "in the way");
        leeched->resume();
        co_await log.until<event::completed>();
        CHECK(world.is_copy(content, "in the way/copy"));
    });
}

TEST_CASE("content that is the path itself is only read, and nothing is made in its place") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(3 * piece_length);
        session& taker = world.start();
        torrent_options options = world.leeching("copy");
        options.content.place = content_place::itself;
        const auto leeched = taker.add(content.info, options);
        event_log log = world.log(leeched);
        const auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::path_unsafe);
        CHECK(!std::filesystem::exists(world.directory / "copy"));
    });
}

TEST_CASE("A51: a file that is removed under a seeder stops it with the file's name until the file is back") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content =
            world.make_content("folder", {{"one", 4 * piece_length}, {"two", 4 * piece_length}}, piece_length);
        const shared_content other = world.make_content(2 * piece_length, piece_length, 7);
        session& giver = world.start();
        const auto seeded = giver.add(content.info, world.seeding(content));
        giver.add(other.info, world.seeding(other));
        event_log log = world.log(seeded);
        co_await log.until<event::completed>();
        const std::filesystem::path second = std::filesystem::path(content.path) / "two";
        std::filesystem::remove(second);

        session& taker = world.start();
        torrent_options options = world.leeching("copy", {world.address_of(giver)});
        options.swarm.picking.sequential = true;
        const auto leeched = taker.add(content.info, options);
        const auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::file_missing);
        CHECK(mentions(failed.message, "two"));
        std::error_code ended;
        co_await store_error(ended, seeded->ended());
        CHECK(ended == errc::file_missing);
        const auto unaffected = taker.add(other.info, world.leeching("other", {world.address_of(giver)}));
        co_await world.completed(unaffected);

        write_file(second, byte_view(content.bytes).subspan(4 * piece_length));
        seeded->resume();
        co_await log.until<event::completed>();
        world.net.shift(60s);
        co_await world.completed(leeched);
        CHECK(world.is_copy(content, "copy"));
    });
}

TEST_CASE("A51: a file that changes under a seeder stops it before changed data is given") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        for (const bool shorter : {true, false}) {
            const std::uint64_t seed = shorter ? 1 : 2;
            const shared_content content = world.make_content(8 * piece_length, piece_length, seed);
            session& giver = world.start();
            const auto seeded = giver.add(content.info, world.seeding(content));
            event_log log = world.log(seeded);
            co_await log.until<event::completed>();
            if (shorter) {
                std::filesystem::resize_file(content.path, 5 * piece_length + 1000);
            } else {
                byte_vector changed = content.bytes;
                changed[6 * piece_length] ^= 1;
                write_file(content.path, changed);
                // As if some time had passed since it was made.
                const auto then = std::filesystem::last_write_time(content.path);
                std::filesystem::last_write_time(content.path, then + std::chrono::seconds(5));
            }
            auto guest = co_await world.join(world.address_of(giver), content.info.hash, "guest");
            guest->say(wire::interested{});
            co_await guest->flush();
            co_await guest->expect<wire::unchoke>();
            for (std::uint32_t number = 0; number < 4; ++number)
                guest->say(wire::request{content.info.layout().block_at(5, number)});
            co_await guest->flush();
            const auto failed = co_await log.until<event::failed>();
            CHECK(failed.code == errc::file_changed);
            CHECK(mentions(failed.message, content.info.name));
            co_await guest->expect_end();

            write_file(content.path, content.bytes);
            seeded->resume();
            co_await log.until<event::completed>();
            CHECK(seeded->status().state == torrent_state::seeding);
        }
    });
}

TEST_CASE("a seeder without its content says which file is wrong") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content =
            world.make_content("folder", {{"one", 2 * piece_length}, {"two", 2 * piece_length}}, piece_length);
        const std::filesystem::path second = std::filesystem::path(content.path) / "two";
        byte_vector changed(content.bytes.begin() + 2 * piece_length, content.bytes.end());
        changed[5] ^= 1;
        write_file(second, changed);
        session& giver = world.start();
        const auto seeded = giver.add(content.info, world.seeding(content));
        event_log log = world.log(seeded);
        auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::hash_mismatch);
        CHECK(mentions(failed.message, "two"));
        std::filesystem::remove(second);
        seeded->resume();
        failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::file_missing);
        CHECK(mentions(failed.message, "two"));
        CHECK(log.all<event::started>().empty());
    });
}

TEST_CASE("A51: a disk that cannot be read stops a seeder, over whatever carrier its blocks go") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(4 * piece_length);
        auto files = std::make_unique<faulty_disk>();
        faulty_disk& disk = *files;
        session& giver = world.start(std::move(files));
        const auto seeded = giver.add(content.info, world.seeding(content));
        event_log log = world.log(seeded);
        co_await log.until<event::completed>();
        auto guest = co_await world.join(world.address_of(giver), content.info.hash, "guest");
        guest->say(wire::interested{}).say(wire::request{content.info.layout().block_at(0, 0)});
        co_await guest->flush();
        const auto got = co_await guest->expect<wire::unchoke>();
        static_cast<void>(got);
        disk.reads_fail = true;
        guest->say(wire::request{content.info.layout().block_at(2, 0)});
        co_await guest->flush();
        const auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::disk_failed);
        CHECK(mentions(failed.message, content.info.name));
        co_await guest->expect_end();
        disk.reads_fail = false;
        seeded->resume();
        co_await log.until<event::completed>();
    });
}

TEST_CASE("A51: a file that is removed under a leecher stops it, and is made and fetched anew") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(8 * piece_length);
        session& taker = world.start();
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const auto file = world.directory / "copy" / content.info.name;
        const serving honest = content.honest();
        const endpoint at = world.address_of(taker);
        const auto source = co_await world.source_of_first(4, at, content, "source", honest);
        for (int i = 0; i < 4; ++i) co_await log.until<event::piece_verified>();
        std::filesystem::remove(file);
        source->close();
        co_await world.source(at, content, "second", honest);
        const auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::file_missing);
        CHECK(mentions(failed.message, content.info.name));
        CHECK(log.all<event::piece_verified>().size() == 4);

        leeched->resume();
        const auto started = co_await log.until<event::started>();
        CHECK(started.have == 0);
        co_await world.source(at, content, "third", honest);
        co_await log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
    });
}

TEST_CASE("A51: a disk that cannot bring data to safety stops the torrent at the next checkpoint") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(4 * piece_length);
        auto files = std::make_unique<faulty_disk>();
        faulty_disk& disk = *files;
        session& taker = world.start(std::move(files));
        const auto leeched = taker.add(content.info, world.leeching("copy"));
        event_log log = world.log(leeched);
        co_await log.until<event::started>();
        const endpoint at = world.address_of(taker);
        const serving honest = content.honest();
        co_await world.source_of_first(2, at, content, "source", honest);
        for (int i = 0; i < 2; ++i) co_await log.until<event::piece_verified>();
        disk.syncs_fail = true;
        world.net.shift(61s);
        const auto failed = co_await log.until<event::failed>();
        CHECK(failed.code == errc::disk_failed);
        disk.syncs_fail = false;
        leeched->resume();
        co_await log.until<event::started>();
        co_await world.source(at, content, "second", honest);
        co_await log.until<event::completed>();
        CHECK(world.is_copy(content, "copy"));
    });
}

}  // namespace faults_test
