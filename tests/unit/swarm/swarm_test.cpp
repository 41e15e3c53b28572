// The conversations of one torrent, without a session around them.
#include <doctest/doctest.h>

#include <cohort/storage/real_disk.hpp>
#include <cohort/swarm/swarm.hpp>

#include "support/eventually.hpp"
#include "support/gated_pool.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/scripted_peer.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace swarm_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 32'768;
constexpr piece_index piece_count = 20;

/// A swarm that has nothing, and peers that talk with it.
struct bare_swarm {
    explicit bare_swarm(network& n) : net(n), conversations(n.executor()) {
        bytes = random_bytes(piece_count * piece_length);
        info->files = entries({{"one", bytes.size()}});
        info->total_size = bytes.size();
        info->piece_length = piece_length;
        info->piece_hashes = hashes_of(bytes, piece_length);
        const auto files = std::make_shared<torrent_files>(disk, info->files, info->layout(), folder.string());
        files->create();
        where.emplace(net.executor(), pool, files, info, nullptr,
                      content::handlers{[this](const piece_verdict& one) { it->on_verdict(one); },
                                        [](const std::exception_ptr&) {}});
        it.emplace(net, info, id_of("us"), 6881, swarm_options{}, known, totals,
                   swarm::handlers{[this](torrent_event one) { events.push_back(std::move(one)); }, [] {}, [] {},
                                   [](const std::exception_ptr&) {}});
        it->use(&*where);
    }

    asio::awaitable<std::shared_ptr<scripted_peer>> enter(std::string_view name) {
        stream_pair pair = co_await tcp_pair(net);
        auto link = std::make_unique<peer_connection>(net, std::move(pair.second));
        const handshake theirs = greeting_of(info->hash, name);
        conversations.spawn(it->converse(it->meet(std::move(link), theirs, true)));
        co_return std::make_shared<scripted_peer>(net, std::move(pair.first));
    }

    asio::awaitable<void> end() {
        conversations.cancel();
        co_await conversations.join();
        co_await where->drain();
    }

    bool availability_is(const std::vector<std::uint32_t>& expected) const {
        for (piece_index piece = 0; piece < piece_count; ++piece)
            if (it->picker().availability(piece) != expected[piece]) return false;
        return true;
    }
    bool nobody_has_anything() const { return availability_is(std::vector<std::uint32_t>(piece_count)); }

    network& net;
    temp_dir folder;
    real_disk disk;
    gated_pool pool{1};
    byte_vector bytes;
    std::shared_ptr<metainfo> info = std::make_shared<metainfo>();
    peer_list known;
    totals_by_peer totals;
    std::vector<torrent_event> events;
    std::optional<content> where;
    std::optional<swarm> it;
    task_group conversations;
};

/// What the script's peer has said that it has.
struct claims {
    std::shared_ptr<scripted_peer> peer;
    bitfield has{piece_count};
};

}  // namespace

TEST_CASE("A10: availability stays exact when peers are left for a second word about all pieces") {
    run([](network& net) -> asio::awaitable<void> {
        bare_swarm swarm(net);
        bitfield half(piece_count);
        for (piece_index piece = 0; piece < piece_count / 2; ++piece) half.set(piece);
        auto good = co_await swarm.enter("good");
        good->say(wire::bitfield{half.bytes()});
        co_await good->flush();
        std::vector<std::uint32_t> expected(piece_count);
        std::fill_n(expected.begin(), piece_count / 2, 1);
        const auto counted = [&] { return swarm.availability_is(expected); };
        co_await eventually(net, counted);
        for (const wire::message& second : {wire::message(wire::have_all{}), wire::message(wire::have_none{})}) {
            auto bad = co_await swarm.enter("bad");
            bad->say(wire::bitfield{half.bytes()}).say(wire::have{piece_count - 1}).say(second);
            co_await bad->flush();
            co_await bad->expect_end();
            const auto gone = [&] { return swarm.it->peers().size() == 1; };
            co_await eventually(net, gone);
            CHECK(counted());
        }
        good->close();
        const auto empty = [&] { return swarm.it->peers().empty(); };
        co_await eventually(net, empty);
        CHECK(swarm.nobody_has_anything());
        co_await swarm.end();
    });
}

TEST_CASE("A11: availability is exact whatever peers say, however often, and in whatever order they leave") {
    run([](network& net) -> asio::awaitable<void> {
        bare_swarm swarm(net);
        random_engine random(5);
        std::vector<claims> peers;
        for (int step = 0; step < 150; ++step) {
            const std::uint32_t what = random.below(10);
            if (peers.size() < 3 || (what < 2 && peers.size() < 12)) {
                const std::string name = "peer " + std::to_string(step);
                claims one;
                one.peer = co_await swarm.enter(name);
                const std::uint32_t kind = random.below(4);
                if (kind == 0) {
                    one.has = bitfield(piece_count, true);
                    one.peer->say(wire::have_all{});
                } else if (kind == 1) {
                    one.peer->say(wire::have_none{});
                } else if (kind == 2) {
                    for (piece_index piece = 0; piece < piece_count; ++piece)
                        if (random.below(2) == 0) one.has.set(piece);
                    one.peer->say(wire::bitfield{one.has.bytes()});
                }
                co_await one.peer->flush();
                peers.push_back(std::move(one));
            } else {
                const std::size_t number = random.below(static_cast<std::uint32_t>(peers.size()));
                if (what < 4) {
                    peers[number].peer->close();
                    peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(number));
                } else {
                    claims& one = peers[number];
                    if (what == 4) {
                        // A late bitfield adds.
                        bitfield more(piece_count);
                        for (int times = 0; times < 5; ++times) more.set(random.below(piece_count));
                        one.has |= more;
                        one.peer->say(wire::bitfield{more.bytes()});
                    } else {
                        const piece_index piece = random.below(piece_count);
                        one.has.set(piece);
                        for (int times = 0; times < 3; ++times) one.peer->say(wire::have{piece});
                    }
                    co_await one.peer->flush();
                }
            }
            std::vector<std::uint32_t> expected(piece_count);
            for (const claims& one : peers)
                for (piece_index piece = 0; piece < piece_count; ++piece) expected[piece] += one.has.get(piece);
            const auto exact = [&] {
                return swarm.it->peers().size() == peers.size() && swarm.availability_is(expected);
            };
            co_await eventually(net, exact);
        }
        for (const claims& one : peers) one.peer->close();
        const auto empty = [&] { return swarm.it->peers().empty(); };
        co_await eventually(net, empty);
        CHECK(swarm.nobody_has_anything());
        co_await swarm.end();
    });
}

TEST_CASE("we are interested while a peer has something that we want, and say so once") {
    run([](network& net) -> asio::awaitable<void> {
        bare_swarm swarm(net);
        auto peer = co_await swarm.enter("peer");
        co_await peer->expect<wire::have_none>();
        peer->say(wire::have_none{}).say(wire::have{3}).say(wire::have{4}).say(wire::have{3});
        co_await peer->flush();
        co_await peer->expect<wire::interested>();
        peer->say(wire::unchoke{});
        co_await peer->flush();
        const serving honest{.content = &swarm.bytes, .piece_length = piece_length};
        for (int i = 0; i < 4; ++i) {
            const auto request = co_await peer->expect<wire::request>();
            peer->say_block(honest, request.range);
        }
        co_await peer->flush();
        co_await peer->expect<wire::not_interested>();
        CHECK(swarm.it->picker().have().count() == 2);
        peer->say(wire::have{5});
        co_await peer->flush();
        co_await peer->expect<wire::interested>();
        CHECK(peer->count<wire::interested>() == 2);
        CHECK(peer->count<wire::not_interested>() == 1);
        co_await swarm.end();
    });
}

TEST_CASE("others hear of each piece that we have got, except who has it") {
    run([](network& net) -> asio::awaitable<void> {
        bare_swarm swarm(net);
        auto listener = co_await swarm.enter("listener");
        auto source = co_await swarm.enter("source");
        bitfield one(piece_count);
        one.set(7);
        source->say(wire::bitfield{one.bytes()}).say(wire::unchoke{});
        co_await source->flush();
        const serving honest{.content = &swarm.bytes, .piece_length = piece_length};
        for (int i = 0; i < 2; ++i) {
            const auto request = co_await source->expect<wire::request>();
            source->say_block(honest, request.range);
        }
        co_await source->flush();
        const auto news = co_await listener->expect<wire::have>();
        CHECK(news.piece == 7);
        co_await source->expect<wire::not_interested>();
        CHECK(source->count<wire::have>() == 0);
        // Whoever comes later learns of it from the bitfield.
        auto late = co_await swarm.enter("late");
        const auto bits = co_await late->expect<wire::bitfield>();
        CHECK(as_text(bits.bits) == as_text(one.bytes()));
        co_await swarm.end();
    });
}

TEST_CASE("A17: what a peer has refused is not borne from it unasked") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        bare_swarm world(net);
        auto peer = co_await world.enter("silent");
        peer->say(wire::have_all{}).say(wire::unchoke{});
        co_await peer->flush();
        std::vector<block> asked;
        do {
            const auto request = co_await peer->expect<wire::request>();
            asked.push_back(request.range);
        } while (asked.size() < world.it->peers().begin()->second->requests.size());
        CHECK(asked.size() > 1);
        net.shift(21s);
        world.it->tick();
        const auto forgiven = [&] { return world.it->peers().begin()->second->forgiven_blocks; };
        CHECK(forgiven() == asked.size() - 1);
        for (const block& range : asked) peer->say(wire::reject{range});
        co_await peer->flush();
        // The first of them shows that it is alive, and is asked for the next.
        co_await peer->expect<wire::request>();
        CHECK(forgiven() == 0);
        co_await world.end();
    });
}

TEST_CASE("while our disk stands still nobody is late, and when it goes on silence counts again") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        bare_swarm world(net);
        auto peer = co_await world.enter("honest");
        peer->say(wire::have_all{}).say(wire::unchoke{});
        co_await peer->flush();
        co_await peer->expect<wire::request>();
        world.pool.shut();
        const byte_view last = byte_view(world.bytes).last(piece_length);
        for (int i = 0; i < 300; ++i) world.where->write(piece_count - 1, 0, {last}, nullptr);
        // Takes the reader to where it waits for the disk.
        peer->say(wire::keep_alive{});
        co_await peer->flush();
        const auto unread = [&] { return world.it->peers().begin()->second->unread_since.has_value(); };
        co_await eventually(machine, unread);
        const auto wait = [&](int seconds) {
            for (; seconds > 0; --seconds) {
                net.shift(1s);
                world.it->tick();
            }
        };
        wait(700);
        CHECK_FALSE(world.it->peers().begin()->second->pipeline.snubbed(net.now()));
        world.pool.open();
        const auto read_on = [&] { return !unread(); };
        co_await eventually(machine, read_on);
        wait(19);
        CHECK_FALSE(world.it->peers().begin()->second->pipeline.snubbed(net.now()));
        wait(2);
        CHECK(world.it->peers().begin()->second->pipeline.snubbed(net.now()));
        wait(38);
        CHECK_FALSE(world.it->peers().begin()->second->leaving);
        wait(2);
        co_await peer->expect_end();
        const auto* const gone = std::get_if<event::peer_disconnected>(&world.events.back());
        CHECK(gone != nullptr);
        CHECK(gone->reason == errc::timed_out);
        co_await world.end();
    });
}

TEST_CASE("cancelling a conversation ends it as stopped, and the peer sees the end") {
    run([](network& net) -> asio::awaitable<void> {
        bare_swarm swarm(net);
        auto peer = co_await swarm.enter("peer");
        co_await peer->expect<wire::have_none>();
        co_await swarm.end();
        CHECK(swarm.it->peers().empty());
        CHECK(std::get<event::peer_disconnected>(swarm.events.back()).reason == errc::stopped);
        co_await peer->expect_end();
    });
}

}  // namespace swarm_test
