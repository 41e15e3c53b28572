// Peers that break the rules of the wire (adversaries A06 to A18): the one connection ends, with the right reason, or
// the nonsense is ignored; others go on, and memory stays bounded.
#include <doctest/doctest.h>

#include "support/eventually.hpp"
#include "support/heap.hpp"
#include "support/swarm_fixture.hpp"

namespace adversary_wire_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 65'536;
constexpr piece_index piece_count = 12;

/// A torrent under attack, and what it told.
struct target {
    shared_content content;
    session& where;
    std::shared_ptr<torrent> it;
    event_log log;
    endpoint address;

    block block_at(piece_index piece, std::uint32_t number) const {
        return content.info.layout().block_at(piece, number);
    }
};

asio::awaitable<target> start_seeder(swarm_fixture& world) {
    shared_content content = world.make_content(piece_count * piece_length);
    session& where = world.start();
    const auto it = where.add(content.info, world.seeding(content));
    target out{std::move(content), where, it, world.log(it), world.address_of(where)};
    co_await out.log.until<event::completed>();
    co_return out;
}

asio::awaitable<target> start_leecher(swarm_fixture& world) {
    shared_content content = world.make_content(piece_count * piece_length);
    session& where = world.start();
    const auto it = where.add(content.info, world.leeching("copy"));
    target out{std::move(content), where, it, world.log(it), world.address_of(where)};
    co_await out.log.until<event::started>();
    co_return out;
}

asio::awaitable<std::shared_ptr<scripted_peer>> join(swarm_fixture& world, const target& at, std::string_view name) {
    auto out = co_await world.join(at.address, at.content.info.hash, name);
    co_return out;
}

asio::awaitable<void> unchoked(scripted_peer& peer) {
    peer.say(wire::interested{});
    co_await peer.flush();
    co_await peer.expect<wire::unchoke>();
}

/// Somebody else gets what he asks for.
asio::awaitable<void> expect_service(swarm_fixture& world, target& at) {
    auto guest = co_await join(world, at, "honest");
    co_await unchoked(*guest);
    guest->say(wire::request{at.block_at(0, 0)});
    co_await guest->flush();
    const auto got = co_await guest->expect<wire::piece>();
    CHECK(as_text(got.data) == as_text(byte_view(at.content.bytes).first(block_size)));
    guest->close();
    co_await at.log.until<event::peer_disconnected>();
}

/// Plays a peer that says `bytes` after its handshake; completes with the reason for which it was left.
asio::awaitable<std::error_code> reason_for(swarm_fixture& world, target& at, byte_vector bytes) {
    auto peer = co_await join(world, at, "offender");
    peer->say_bytes(bytes);
    co_await peer->flush();
    co_await peer->expect_end();
    const auto gone = co_await at.log.until<event::peer_disconnected>();
    co_return gone.reason;
}

byte_vector joined(const std::vector<wire::message>& messages) {
    byte_vector out;
    for (const wire::message& message : messages) wire::append(out, message);
    return out;
}

}  // namespace

TEST_CASE("A06: a length prefix above the limit ends the connection before its body is waited for") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        const byte_vector prefixes[] = {{0xff, 0xff, 0xff, 0xff}, {0x7f, 0xff, 0xff, 0xff}, {0x00, 0x10, 0x00, 0x01}};
        for (const byte_vector& prefix : prefixes) {
            const heap_growth growth;
            const std::error_code reason = co_await reason_for(world, seeder, prefix);
            CHECK(reason == errc::message_too_long);
            CHECK(growth.bytes() < 256 * 1024);
        }
        co_await expect_service(world, seeder);
    });
}

TEST_CASE("A07: the longest message dripped in takes memory as it comes, and ends after two minutes") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto loris = co_await join(world, seeder, "loris");
        co_await take_turns(world.real, 100);
        const byte_vector start{0x00, 0x10, 0x00, 0x00, 20, 1};
        const byte_vector drop{0};
        const heap_growth growth;
        loris->say_bytes(start);
        co_await loris->flush();
        for (int minute_parts = 0; minute_parts < 11; ++minute_parts) {
            loris->say_bytes(drop);
            co_await loris->flush();
            co_await take_turns(world.real, 50);
            world.net.shift(10s);
        }
        co_await take_turns(world.real, 50);
        CHECK(seeder.it->status().peers == 1);
        CHECK(growth.bytes() < 256 * 1024);
        world.net.shift(12s);
        co_await loris->expect_end();
        const auto gone = co_await seeder.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::peer_inactive);
    });
}

TEST_CASE("a peer that was idle for long and begins a message is given the time to finish it") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto slow = co_await join(world, seeder, "slow");
        co_await slow->expect<wire::have_all>();
        world.net.shift(300s);
        co_await take_turns(world.real, 50);
        const byte_vector bytes = wire::encode(wire::interested{});
        slow->say_bytes(byte_view(bytes).first(4));
        co_await slow->flush();
        co_await take_turns(world.real, 50);
        world.net.shift(2s);
        co_await take_turns(world.real, 50);
        slow->say_bytes(byte_view(bytes).subspan(4));
        co_await slow->flush();
        co_await slow->expect<wire::unchoke>();
    });
}

TEST_CASE("A08: a message of the wrong size ends the connection, one of an unknown kind does not") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        const byte_vector wrong[] = {
            {0, 0, 0, 2, 0, 0},                                       // choke with a payload
            {0, 0, 0, 4, 4, 0, 0, 0},                                 // have of three bytes
            {0, 0, 0, 2, 9, 1},                                       // port of one byte
            {0, 0, 0, 12, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},        // request of eleven
            {0, 0, 0, 14, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0},  // cancel of thirteen
            {0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0},                     // piece without its header
            {0, 0, 0, 1, 20},                                         // extended without an id
        };
        for (const byte_vector& bytes : wrong) {
            const std::error_code reason = co_await reason_for(world, seeder, bytes);
            CHECK(reason == errc::message_malformed);
        }
        auto modern = co_await join(world, seeder, "modern");
        byte_vector unknown{0, 0, 0, 5, 99, 1, 2, 3, 4};
        modern->say_bytes(unknown);
        unknown = {0, 0, 0, 3, 20, 77, 1};  // an extension that we did not offer
        modern->say_bytes(unknown).say(wire::port{6881}).say(wire::suggest{3}).say(wire::allowed_fast{3});
        co_await modern->flush();
        co_await unchoked(*modern);
        CHECK(seeder.log.all<event::peer_disconnected>().size() == std::size(wrong));
    });
}

TEST_CASE("A09: a bitfield of the wrong size, or with spare bits, ends the connection") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        const byte_vector wrong[] = {{}, {0xff}, {0xff, 0xf1}, {0xff, 0xf0, 0x00}};  // twelve pieces
        for (const byte_vector& bits : wrong) {
            const auto sent = wire::encode(wire::bitfield{bits});
            const std::error_code reason = co_await reason_for(world, leecher, sent);
            CHECK(reason == errc::bitfield_invalid);
        }
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "honest", honest);
        co_await leecher.log.until<event::completed>();
    });
}

TEST_CASE("A10: a second word about all pieces ends the connection, but a later bitfield may tell of more") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        const byte_vector bits{0xff, 0xf0};
        const std::vector<wire::message> wrong[] = {
            {wire::bitfield{bits}, wire::have_all{}},
            {wire::have{1}, wire::have_none{}},
            {wire::have_all{}, wire::have_none{}},
        };
        for (const auto& messages : wrong) {
            const std::error_code reason = co_await reason_for(world, leecher, joined(messages));
            CHECK(reason == errc::bitfield_invalid);
        }
        auto piecemeal = co_await join(world, leecher, "piecemeal");
        const byte_vector first_half{0xfc, 0x00};
        const byte_vector second_half{0x03, 0xf0};
        piecemeal->say(wire::have{7}).say(wire::bitfield{first_half}).say(wire::bitfield{second_half});
        piecemeal->say(wire::bitfield{first_half});
        co_await piecemeal->flush();
        world.serve(piecemeal, leecher.content.honest());
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
    });
}

TEST_CASE("A11: a have out of range ends the connection, a flood of the same one changes nothing") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        for (const piece_index piece : {piece_count, 0xffffffffU}) {
            const auto sent = wire::encode(wire::have{piece});
            const std::error_code reason = co_await reason_for(world, leecher, sent);
            CHECK(reason == errc::index_out_of_range);
        }
        auto chatty = co_await join(world, leecher, "chatty");
        const heap_growth growth;
        byte_vector flood;
        for (int i = 0; i < 20'000; ++i) wire::append(flood, wire::have{static_cast<piece_index>(i % 3)});
        chatty->say_bytes(flood);
        co_await chatty->flush();
        co_await chatty->expect<wire::interested>();
        flood = byte_vector();
        // Only these three are asked for, each block once.
        chatty->say(wire::unchoke{});
        co_await chatty->flush();
        for (int i = 0; i < 12; ++i) {
            const auto request = co_await chatty->expect<wire::request>();
            CHECK(request.range.piece < 3);
            chatty->say_block(leecher.content.honest(), request.range);
            co_await chatty->flush();
        }
        co_await chatty->expect<wire::not_interested>();
        CHECK(chatty->requests() == 12);
        CHECK(chatty->asked.size() == 12);
        CHECK(growth.bytes() < 1024 * 1024);
    });
}

TEST_CASE("A12: requests that make no sense are rejected and read nothing, too many end the connection") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto peer = co_await join(world, seeder, "confused");
        co_await unchoked(*peer);
        const block senseless[] = {
            {piece_count, 0, block_size},
            {0xffffffff, 0, block_size},
            {0, piece_length, block_size},
            {0, 0xffffffff, block_size},
            {0, 0xfffffff0, 0x20},
            {0, piece_length - 1, 2},
            {0, 0, 0},
            {0, 0, block_size + 1},
            {0, 0, 0xffffffff},
            {piece_count - 1, 0x80000000, 0x80000000},
        };
        int told = 0;
        for (; told < 300; ++told)
            peer->say(wire::request{senseless[static_cast<std::size_t>(told) % std::size(senseless)]});
        // A sensible one at the end is still answered, in any size up to a block and at any place.
        const block odd{1, 12'345, 777};
        peer->say(wire::request{odd});
        co_await peer->flush();
        for (int i = 0; i < 300; ++i) {
            const auto refused = co_await peer->expect<wire::reject>();
            CHECK(refused.range == senseless[static_cast<std::size_t>(i) % std::size(senseless)]);
        }
        const auto got = co_await peer->expect<wire::piece>();
        CHECK(got.range() == odd);
        const byte_view expected = byte_view(seeder.content.bytes).subspan(piece_length + odd.begin, odd.length);
        CHECK(as_text(got.data) == as_text(expected));
        CHECK(peer->count<wire::piece>() == 1);
        peer->say(wire::request{senseless[0]});
        co_await peer->flush();
        co_await peer->expect_end();
        const auto gone = co_await seeder.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::request_abuse);
        CHECK(gone.uploaded == odd.length);
    });
}

TEST_CASE("A12: a piece that we lack is refused") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto peer = co_await join(world, leecher, "hopeful");
        co_await unchoked(*peer);
        peer->say(wire::request{leecher.block_at(3, 0)});
        co_await peer->flush();
        const auto refused = co_await peer->expect<wire::reject>();
        CHECK(refused.range == leecher.block_at(3, 0));
    });
}

TEST_CASE("A13: a flood of requests is bounded, and hurts only who sent it") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto greedy = co_await join(world, seeder, "greedy");
        co_await unchoked(*greedy);
        byte_vector flood;
        for (std::uint32_t i = 0; i < 100'000; ++i)
            wire::append(flood, wire::request{seeder.block_at(i % piece_count, i % 4)});
        const heap_growth growth;
        // Sent by another coroutine, as nobody may ever take it; nothing is read.
        task_group sending(world.real.executor());
        std::error_code ignored;
        sending.spawn(store_error(ignored, write_all(greedy->link(), flood)));
        const auto gone = co_await seeder.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::request_abuse);
        // At most the queue, what the kernel takes, and a batch are on the way.
        CHECK(growth.bytes() < 8 * 1024 * 1024);
        co_await sending.join();
        co_await greedy->expect_end();
        co_await expect_service(world, seeder);
    });
}

TEST_CASE("A13: 2,000 requests are taken, as we say in our extension handshake, and all are answered") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto eager = co_await dial_as_peer(world.real, seeder.address);
        handshake ours = greeting_of(seeder.content.info.hash, "eager");
        ours.extension_protocol = true;
        co_await eager->greet(ours);
        const auto message = co_await eager->expect<wire::extended>();
        std::error_code broken;
        const auto offered = parse_extension_handshake(message.payload, broken);
        CHECK(offered.value().reqq == 2000U);
        co_await unchoked(*eager);
        for (std::uint32_t i = 0; i < 2000; ++i) {
            const block small{i % piece_count, (i / piece_count) * 16, 16};
            eager->say(wire::request{small});
        }
        co_await eager->flush();
        for (std::uint32_t i = 0; i < 2000; ++i) {
            const auto got = co_await eager->expect<wire::piece>();
            CHECK(got.range() == block{i % piece_count, (i / piece_count) * 16, 16});
        }
        CHECK(eager->count<wire::reject>() == 0);
    });
}

TEST_CASE("A13: whoever asks and takes back without ever listening gets no memory for the answers") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto deaf = co_await join(world, seeder, "deaf");
        co_await unchoked(*deaf);
        // Fills what the kernel takes, so that all further answers would have to wait with us.
        byte_vector flood;
        for (std::uint32_t i = 0; i < 1000; ++i)
            wire::append(flood, wire::request{seeder.block_at(i % piece_count, 0)});
        co_await write_all(deaf->link(), flood);
        flood.clear();
        for (std::uint32_t i = 0; i < 400'000; ++i) {
            wire::append(flood, wire::request{seeder.block_at(1, 1)});
            wire::append(flood, wire::cancel{seeder.block_at(1, 1)});
        }
        const heap_growth growth;
        std::error_code cut;
        co_await store_error(cut, with_timeout(world.real, 1s, write_all(deaf->link(), flood)));
        CHECK(growth.bytes() < 6 * 1024 * 1024);
        CHECK(seeder.it->status().peers == 1);
        deaf->close();
        co_await seeder.log.until<event::peer_disconnected>();
        CHECK(seeder.it->status().peers == 0);
        co_await expect_service(world, seeder);
    });
}

TEST_CASE("A14: requests while choked are rejected, and end the connection when they go on") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        auto pushy = co_await join(world, seeder, "pushy");
        for (int i = 0; i < 300; ++i) pushy->say(wire::request{seeder.block_at(0, 0)});
        co_await pushy->flush();
        for (int i = 0; i < 300; ++i) co_await pushy->expect<wire::reject>();
        pushy->say(wire::request{seeder.block_at(0, 0)});
        co_await pushy->flush();
        co_await pushy->expect_end();
        const auto gone = co_await seeder.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::request_abuse);
        CHECK(gone.uploaded == 0);
        CHECK(pushy->count<wire::piece>() == 0);
    });
}

TEST_CASE("A14: requests that crossed our choke are no offence for two seconds") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target seeder = co_await start_seeder(world);
        // Eight have slots already, and a tenth wants the ninth: in the next round it comes to who has waited longest.
        std::vector<std::shared_ptr<scripted_peer>> rivals;
        for (const char* const name : {"1", "2", "3", "4", "5", "6", "7", "8"}) {
            auto one = co_await join(world, seeder, name);
            co_await unchoked(*one);
            rivals.push_back(one);
        }
        auto peer = co_await join(world, seeder, "last");
        co_await unchoked(*peer);
        auto tenth = co_await join(world, seeder, "tenth");
        tenth->say(wire::interested{});
        co_await tenth->flush();
        co_await world.take_turns(50);
        world.net.shift(61s);
        co_await peer->expect<wire::choke>();
        for (int i = 0; i < 400; ++i) peer->say(wire::request{seeder.block_at(0, 0)});
        co_await peer->flush();
        for (int i = 0; i < 400; ++i) co_await peer->expect<wire::reject>();
        world.net.shift(2s);
        for (int i = 0; i < 301; ++i) peer->say(wire::request{seeder.block_at(0, 0)});
        co_await peer->flush();
        co_await peer->expect_end();
        const auto gone = co_await seeder.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::request_abuse);
    });
}

TEST_CASE("A16: cancels and rejects of what was never asked are ignored") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto odd = co_await join(world, leecher, "odd");
        odd->say(wire::have_all{});
        byte_vector flood;
        for (std::uint32_t i = 0; i < 50'000; ++i) {
            wire::append(flood, wire::cancel{{i, i, i}});
            wire::append(flood, wire::reject{{i % piece_count, 0, block_size}});
        }
        const heap_growth growth;
        odd->say_bytes(flood);
        co_await odd->flush();
        CHECK(growth.bytes() < 1024 * 1024);
        odd->say(wire::unchoke{});
        co_await odd->flush();
        world.serve(odd, leecher.content.honest());
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
        CHECK(odd->count<wire::reject>() == 0);
        CHECK(leecher.it->status().wasted == 0);
    });
}

TEST_CASE("A16: a peer that refuses all that it claims to have is asked a bounded number of times") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto miser = co_await join(world, leecher, "miser");
        miser->say(wire::have_all{}).say(wire::unchoke{});
        co_await miser->flush();
        int asked = 0;
        try {
            for (; asked < 20'000; ++asked) {
                const auto request = co_await miser->expect<wire::request>();
                miser->say(wire::reject{request.range});
                co_await miser->flush();
            }
        } catch (const std::runtime_error&) {
            // Given up: refused too often, or the connection ended.
        }
        CHECK(asked < 5'000);
        const auto gone = co_await leecher.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::rejected);
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "honest", honest);
        co_await leecher.log.until<event::completed>();
    });
}

TEST_CASE("A17: blocks that nobody asked for are dropped, and end the connection when they go on") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        auto pushy = co_await join(world, leecher, "pushy");
        const serving honest = leecher.content.honest();
        for (std::uint32_t i = 0; i < 48; ++i) pushy->say_block(honest, leecher.block_at(i / 4, i % 4));
        co_await pushy->flush();
        const auto counted = [&] { return leecher.it->status().wasted == leecher.content.bytes.size(); };
        co_await world.eventually(counted);
        CHECK(leecher.it->status().have == 0);
        CHECK(leecher.it->status().peers == 1);
        for (std::uint32_t i = 0; i < 17; ++i) pushy->say_block(honest, leecher.block_at(i / 4, i % 4));
        co_await pushy->flush();
        co_await pushy->expect_end();
        const auto gone = co_await leecher.log.until<event::peer_disconnected>();
        CHECK(gone.reason == errc::unexpected_block);
        // Nothing of it reached the disk.
        const byte_vector file = world.copy_of(leecher.content, "copy");
        CHECK(file.size() == leecher.content.bytes.size());
        CHECK(std::all_of(file.begin(), file.end(), [](std::uint8_t byte) { return byte == 0; }));
        CHECK(leecher.log.all<event::piece_verified>().empty());
    });
}

TEST_CASE("A18: a block of the wrong length or at a wrong place ends the connection") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        target leecher = co_await start_leecher(world);
        const byte_vector data(2 * block_size);
        const byte_view all = data;
        const wire::piece wrong[] = {
            {piece_count, 0, all.first(block_size)},
            {0xffffffff, 0, all.first(block_size)},
            {0, piece_length, all.first(block_size)},
            {0, 0xffffc000, all.first(block_size)},
            {0, 1, all.first(block_size)},
            {0, 0, all.first(block_size - 1)},
            {0, 0, all},
            {0, 0, {}},
            {0, 3 * block_size, all.first(1)},
        };
        for (const wire::piece& one : wrong) {
            const std::error_code reason = co_await reason_for(world, leecher, wire::encode(one));
            CHECK(reason == errc::index_out_of_range);
        }
        CHECK(leecher.it->status().have == 0);
        const serving honest = leecher.content.honest();
        co_await world.source(leecher.address, leecher.content, "honest", honest);
        co_await leecher.log.until<event::completed>();
        CHECK(world.is_copy(leecher.content, "copy"));
    });
}

}  // namespace adversary_wire_test
