// Peers that waste our time (adversaries A21 to A25): what they hold up goes to others, and in the end they are given
// up.
#include <doctest/doctest.h>

#include <ctime>
#include <filesystem>

#include "support/eventually.hpp"
#include "support/heap.hpp"
#include "support/swarm_fixture.hpp"

namespace adversary_liveness_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 65'536;
constexpr piece_index piece_count = 40;

struct target {
    shared_content content;
    session& where;
    std::shared_ptr<torrent> it;
    event_log log;
    endpoint address;
};

asio::awaitable<target> start_leecher(swarm_fixture& world) {
    shared_content content = world.make_content(piece_count * piece_length);
    session& where = world.start();
    const auto it = where.add(content.info, world.leeching("copy"));
    target out{std::move(content), where, it, world.log(it), world.address_of(where)};
    co_await out.log.until<event::started>();
    co_return out;
}

/// A peer without the Fast extension that says it has everything.
asio::awaitable<std::shared_ptr<scripted_peer>> plain_source(swarm_fixture& world, const target& at,
                                                             std::string_view name) {
    auto out = co_await dial_as_peer(world.real, at.address);
    handshake ours = greeting_of(at.content.info.hash, name);
    ours.fast = false;
    co_await out->greet(ours);
    const bitfield all(piece_count, true);
    out->say(wire::bitfield{all.bytes()});
    co_await out->flush();
    co_return out;
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

TEST_CASE("A21: choking and unchoking without end loses and doubles no request, and costs little") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto flapping = co_await plain_source(world, leecher, "flapping");
        co_await flapping->expect<wire::interested>();
        const double before = cpu_seconds();
        const heap_growth growth;
        constexpr int flaps = 1000;
        for (int i = 0; i < flaps; ++i) {
            flapping->say(wire::unchoke{});
            co_await flapping->flush();
            const auto request = co_await flapping->expect<wire::request>();
            static_cast<void>(request);
            flapping->say(wire::choke{});
            co_await flapping->flush();
        }
        CHECK(growth.bytes() < 1024 * 1024);
        // Far below a second where nothing checks every access; the test's own part is in it.
        CHECK(cpu_seconds() - before < 10);
        CHECK(leecher.it->status().downloaded == 0);
        flapping->say(wire::unchoke{});
        co_await flapping->flush();
        // What was asked for before the last choke is in the stream still, and forgotten by both sides.
        const serving honest = leecher.content.honest();
        flapping->close();
        co_await leecher.log.until<event::peer_disconnected>();
        const auto source = co_await world.source(leecher.address, leecher.content, "source", honest);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
        CHECK(source->requests() == static_cast<int>(leecher.content.blocks()));
        CHECK(leecher.it->status().wasted == 0);
    });
}

TEST_CASE("A21: whoever flaps without ever listening gets no memory for our requests") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto deaf = co_await plain_source(world, leecher, "deaf");
        byte_vector flap;
        wire::append(flap, wire::unchoke{});
        const byte_vector unchoke = flap;
        wire::append(flap, wire::choke{});
        const heap_growth growth;
        // Each answered with a pipeline of requests, in batches as small as the network makes them. Virtual time may
        // stand still meanwhile, so they are counted as well.
        std::error_code cut;
        const time_point until = world.real.now() + 2s;
        for (int flaps = 0; flaps < 100'000 && world.real.now() < until && !cut; ++flaps)
            co_await store_error(cut, with_timeout(world.real, 100ms, write_all(deaf->link(), flap)));
        CHECK(growth.bytes() < 6 * 1024 * 1024);
        deaf->close();
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "source", honest);
        co_await leecher.log.until<event::completed>();
    });
}

TEST_CASE("A22: a peer that takes requests and sends nothing loses them after 20 s, and is left after 60 s") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto silent = co_await world.join(leecher.address, leecher.content.info.hash, "silent");
        silent->say(wire::have_all{}).say(wire::unchoke{});
        co_await silent->flush();
        for (int i = 0; i < 8; ++i) co_await silent->expect<wire::request>();
        // Another one that has only what the silent one was asked for: nothing is left for it but the endgame.
        std::set<piece_index> asked;
        for (const auto& [range, times] : silent->asked) asked.insert(range.piece);
        world.net.shift(19s);
        co_await take_turns(world.real, 50);
        CHECK(leecher.it->status().peers == 1);

        world.net.shift(2s);
        co_await take_turns(world.real, 50);
        auto honest = co_await world.join(leecher.address, leecher.content.info.hash, "honest");
        bitfield has(piece_count);
        for (const piece_index piece : asked) has.set(piece);
        honest->say(wire::bitfield{has.bytes()});
        co_await honest->flush();
        world.serve(honest, leecher.content.honest());
        for (std::size_t i = 0; i < asked.size(); ++i) co_await leecher.log.until<event::piece_verified>();
        // All of it in the normal way, except for the one request that shows whether the silent one comes back.
        CHECK(honest->asked.size() >= asked.size() * 4 - 1);

        world.net.shift(40s);
        const auto gone = co_await leecher.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::timed_out);
        CHECK(gone.downloaded == 0);
        co_await silent->expect_end();
        const serving all = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "source", all);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
    });
}

TEST_CASE("A22: a snubbed peer that comes back is asked again, and its late blocks are no offence") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto slow = co_await world.join(leecher.address, leecher.content.info.hash, "slow");
        slow->say(wire::have_all{}).say(wire::unchoke{});
        co_await slow->flush();
        std::vector<block> first;
        while (first.size() < 8) {
            const auto request = co_await slow->expect<wire::request>();
            first.push_back(request.range);
        }
        world.net.shift(21s);
        co_await take_turns(world.real, 50);
        const serving honest = leecher.content.honest();
        for (const block& range : first) slow->say_block(honest, range);
        co_await slow->flush();
        world.serve(slow, honest);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
        CHECK(leecher.log.all<event::peer_disconnected>().empty());
    });
}

TEST_CASE("A22: two silent peers do not keep the last blocks to themselves for longer than 20 s") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        // Two at most are asked for a block, and these two are asked for the same ones, in the same order.
        bitfield has(piece_count);
        has.set(0);
        std::vector<std::shared_ptr<scripted_peer>> silent;
        for (const char* const name : {"first", "second"}) {
            auto one = co_await world.join(leecher.address, leecher.content.info.hash, name);
            one->say(wire::bitfield{has.bytes()}).say(wire::unchoke{});
            co_await one->flush();
            for (int i = 0; i < 4; ++i) co_await one->expect<wire::request>();
            silent.push_back(one);
            world.net.shift(5s);  // now its answers are late
        }
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "source", honest);
        co_await take_turns(world.real, 200);
        world.net.shift(21s);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
    });
}

TEST_CASE("A22: in the endgame the last blocks are asked of several, and the first answer settles them") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto stuck = co_await world.join(leecher.address, leecher.content.info.hash, "stuck");
        stuck->say(wire::have_all{}).say(wire::unchoke{});
        co_await stuck->flush();
        co_await stuck->expect<wire::request>();
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "source", honest);
        // Without waiting for any time to pass.
        co_await leecher.log.until<event::completed>();
        co_await stuck->expect<wire::cancel>();
        CHECK(world.is_copy(leecher.content, "copy"));
    });
}

TEST_CASE("A23: a reset in the middle of a block gives its requests to others at once, and leaks nothing") {
    const std::size_t before = open_descriptors();
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        const serving honest = leecher.content.honest();
        const std::size_t base = open_descriptors();
        for (int i = 0; i < 5; ++i) {
            auto rude = co_await plain_source(world, leecher, "rude");
            rude->say(wire::unchoke{});
            co_await rude->flush();
            const auto request = co_await rude->expect<wire::request>();
            const byte_vector data(request.range.length);
            const byte_vector message = wire::encode(wire::piece{request.range.piece, request.range.begin, data});
            rude->say_bytes(byte_view(message).first(5000));
            co_await rude->flush();
            // Closing with unread requests makes the kernel send a reset.
            co_await take_turns(world.real, 20);
            rude->close();
            const auto gone = co_await leecher.log.until<event::peer_disconnected>();
            CHECK((gone.reason == std::errc::connection_reset || gone.reason == errc::connection_closed));
        }
        co_await take_turns(world.real, 20);
        CHECK(open_descriptors() == base);
        const auto source = co_await world.source(leecher.address, leecher.content, "source", honest);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
        CHECK(source->requests() == static_cast<int>(leecher.content.blocks()));
        CHECK(leecher.it->status().wasted == 0);
    });
    CHECK(open_descriptors() == before);
}

TEST_CASE("A24: keep-alives do not count as activity: ten minutes of nothing else end the connection") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto idle = co_await world.join(leecher.address, leecher.content.info.hash, "idle");
        auto lively = co_await world.join(leecher.address, leecher.content.info.hash, "lively");
        int kept_alive = 0;
        for (int minute = 0; minute < 10; ++minute) {
            idle->say(wire::keep_alive{});
            co_await idle->flush();
            lively->say(wire::have{static_cast<piece_index>(minute)});
            co_await lively->flush();
            co_await world.take_turns(50);
            CHECK(leecher.it->status().peers == 2);
            world.net.shift(60s);
            co_await world.take_turns(50);
        }
        world.net.shift(2s);
        co_await idle->expect_end();
        const auto gone = co_await leecher.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::peer_inactive);
        CHECK(leecher.it->status().peers == 1);
        // We kept both alive meanwhile: BEP 3 gives two minutes.
        for (; kept_alive < 5; ++kept_alive) co_await lively->expect<wire::keep_alive>();
    });
}

TEST_CASE("A24: who waits for a slot is patient for an hour, and keeps its place in the line") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(piece_count * piece_length);
        session& where = world.start();
        torrent_options options = world.seeding(content);
        options.swarm.uploading.choking.unchoke_slots = 0;
        options.swarm.uploading.choking.optimistic_slots = 0;
        const auto seeded = where.add(content.info, options);
        event_log log = world.log(seeded);
        co_await log.until<event::completed>();
        const auto takes_part = [&] { return seeded->status().state == torrent_state::seeding; };
        co_await world.eventually(takes_part);
        auto waiting = co_await world.join(world.address_of(where), content.info.hash, "waiting");
        waiting->say(wire::interested{});
        co_await waiting->flush();
        for (int minutes = 0; minutes < 58; minutes += 2) {
            co_await world.take_turns(50);
            REQUIRE(seeded->status().peers == 1);
            world.net.shift(120s);
        }
        co_await world.take_turns(50);
        world.net.shift(180s);
        co_await waiting->expect_end();
        const auto gone = co_await log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::peer_inactive);
    });
}

TEST_CASE("A24: a flood of keep-alives costs no memory and holds up nobody") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto noisy = co_await world.join(leecher.address, leecher.content.info.hash, "noisy");
        const byte_vector flood(4 * 1'000'000);
        const heap_growth growth;
        co_await write_all(noisy->link(), flood);
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "source", honest);
        co_await leecher.log.until<event::completed>();
        CHECK(leecher.log.all<event::peer_disconnected>().size() <= 1);
        CHECK(growth.bytes() < 8 * 1024 * 1024);
    });
}

TEST_CASE("A25: an extension handshake of monstrous shape is ignored, and costs neither memory nor the stack") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        std::string tokens = "d1:ml";
        for (int i = 0; i < 300'000; ++i) tokens += "i1e";
        std::string wide = "d1:md";
        for (int i = 100'000; i < 170'000; ++i) wide += "6:" + std::to_string(i) + "i1e";
        const std::string payloads[] = {
            "d1:m" + std::string(20'000, 'l') + std::string(20'000, 'e') + "e",
            "d1:m" + std::string(20'000, 'l'),
            tokens + "ee",
            wide + "ee",
            "d1:mi5e1:pi70000e4:reqqi-1e1:v5:\xff\xfe\x00\x01\x02"
            "e",
            "i1e",
            "garbage",
            std::string(1, '\0'),
            "d1:v99999999999:xe",
            "d13:metadata_sizei99999999999e1:pi0ee",
        };
        auto odd = co_await dial_as_peer(world.real, leecher.address);
        handshake ours = greeting_of(leecher.content.info.hash, "odd");
        ours.extension_protocol = true;
        co_await odd->greet(ours);
        const heap_growth growth;
        std::size_t most = 0;
        for (const std::string& payload : payloads) {
            odd->say(wire::extended{0, as_bytes(payload)});
            co_await odd->flush();
            co_await take_turns(world.real, 50);
            most = std::max(most, growth.bytes());
        }
        CHECK(most < 4 * 1024 * 1024);
        odd->say(wire::have_all{});
        co_await odd->flush();
        world.serve(odd, leecher.content.honest());
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
        CHECK(leecher.log.all<event::peer_connected>().size() == 1);
    });
}

TEST_CASE("A25: of an extension handshake the name, the port and the queue are used, as far as they make sense") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto peer = co_await dial_as_peer(world.real, leecher.address);
        handshake ours = greeting_of(leecher.content.info.hash, "modest");
        ours.extension_protocol = true;
        co_await peer->greet(ours);
        const auto message = co_await peer->expect<wire::extended>();
        CHECK(message.id == 0);
        std::error_code broken;
        const auto theirs = parse_extension_handshake(message.payload, broken);
        CHECK(theirs.value().v == client_name);
        CHECK(theirs.value().p == leecher.where.port());
        CHECK(theirs.value().yourip == ip_address::loopback_v4());
        extension_handshake modest;
        modest.v = "Modest 1.0";
        modest.p = std::uint16_t{7};
        modest.reqq = 3U;
        const std::string payload = write_extension_handshake(modest);
        peer->say(wire::extended{0, as_bytes(payload)}).say(wire::have_all{}).say(wire::unchoke{});
        co_await peer->flush();
        co_await peer->expect<wire::request>();
        co_await take_turns(world.real, 50);
        const auto all = leecher.it->peers();
        CHECK(all.size() == 1);
        CHECK(all.at(0).client == "Modest 1.0");
        CHECK(all.at(0).address == endpoint{ip_address::loopback_v4(), 7});
        co_await peer->expect<wire::request>();
        co_await peer->expect<wire::request>();
        std::error_code silence;
        co_await store_error(silence, with_timeout(world.real, 50ms, peer->expect<wire::request>()));
        CHECK(silence == errc::timed_out);
    });
}

}  // namespace adversary_liveness_test
