#include <doctest/doctest.h>

#include <memory>

#include <cohort/net/peer_connection.hpp>

#include "support/eventually.hpp"
#include "support/memory_stream.hpp"
#include "support/run.hpp"
#include "support/scripted_peer.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"
#include "support/test_content.hpp"

namespace peer_connection_test {

using namespace cohort;
using namespace cohort::test;

namespace {

info_hash some_hash(std::uint8_t fill) {
    info_hash out;
    out.bytes.fill(fill);
    return out;
}

const piece_layout layout{10 * 32'768, 32'768};

/// Both ends of one connection: ours, and the script's.
struct both_ends {
    std::unique_ptr<peer_connection> ours;
    std::unique_ptr<scripted_peer> theirs;
};

both_ends over(network& net, stream_pair pair) {
    return {std::make_unique<peer_connection>(net, std::move(pair.first)),
            std::make_unique<scripted_peer>(net, std::move(pair.second))};
}

asio::awaitable<both_ends> connected(network& net) {
    stream_pair pair = co_await tcp_pair(net);
    co_return over(net, std::move(pair));
}

/// How an operation ended.
struct outcome {
    bool done = false;
    std::error_code code;
};

template <class T>
asio::awaitable<void> watch(outcome& out, asio::awaitable<T> op) {
    try {
        co_await std::move(op);
    } catch (const std::system_error& error) {
        out.code = error.code();
    }
    out.done = true;
}

asio::awaitable<void> keep_block(block_data& out, peer_connection& of, block wanted) {
    out = co_await of.request(wanted);
}

/// A running conversation after the handshake; the script's side is unchoked on its word.
struct conversation {
    conversation(network& net, stream_pair pair, bool fast) : tasks(net.executor()), ends(over(net, std::move(pair))) {
        ends.ours->begin(layout, fast);
        tasks.spawn(watch(ran, ends.ours->run()));
    }
    peer_connection& ours() { return *ends.ours; }
    scripted_peer& theirs() { return *ends.theirs; }

    task_group tasks;
    both_ends ends;
    outcome ran;
};

asio::awaitable<void> unchoke(conversation& with) {
    with.theirs().say(wire::unchoke{});
    co_await with.theirs().flush();
    const peer_event event = co_await with.ours().next_event();
    CHECK(event.message == wire::message(wire::unchoke{}));
}

asio::awaitable<void> finish(conversation& with) {
    with.theirs().close();
    co_await with.tasks.join();
    CHECK(with.ran.done);
}

byte_vector bytes_of(const handshake& h) {
    const auto bytes = encode(h);
    return {bytes.begin(), bytes.end()};
}

}  // namespace

// The handshake

TEST_CASE("both sides learn of each other in the handshake") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair pair = co_await tcp_pair(net);
        peer_connection dialler(net, std::move(pair.first));
        peer_connection accepter(net, std::move(pair.second));
        handshake a = greeting_of(some_hash(1), "dialler");
        a.extension_protocol = true;
        handshake b = greeting_of(some_hash(1), "listener");
        b.fast = false;
        info_hash asked;
        const peer_connection::handshake_answer answer = [&](const info_hash& hash) {
            asked = hash;
            return std::optional(b);
        };
        handshake seen_by_b;
        task_group tasks(net.executor());
        tasks.spawn(store(seen_by_b, accepter.handshake_as_listener(answer)));
        const handshake seen_by_a = co_await dialler.handshake_as_dialler(a);
        co_await tasks.join();
        CHECK(seen_by_a == b);
        CHECK(seen_by_b == a);
        CHECK(asked == a.hash);
    });
}

TEST_CASE("the listener answers as soon as it knows the info-hash, before the peer's id came") {
    run([](network& net) -> asio::awaitable<void> {
        both_ends ends = co_await connected(net);
        const handshake theirs = greeting_of(some_hash(1), "patient");
        const handshake ours = greeting_of(some_hash(1), "ours");
        const peer_connection::handshake_answer answer = [&](const info_hash&) { return std::optional(ours); };
        handshake seen;
        task_group tasks(net.executor());
        tasks.spawn(store(seen, ends.ours->handshake_as_listener(answer)));
        const byte_vector bytes = bytes_of(theirs);
        ends.theirs->say_bytes(byte_view(bytes).first(48));
        co_await ends.theirs->flush();
        const handshake reply = co_await ends.theirs->expect_handshake();
        CHECK(reply == ours);
        ends.theirs->say_bytes(byte_view(bytes).subspan(48));
        co_await ends.theirs->flush();
        co_await tasks.join();
        CHECK(seen == theirs);
    });
}

TEST_CASE("messages that come in one packet with the handshake are not lost") {
    run([](network& net) -> asio::awaitable<void> {
        both_ends ends = co_await connected(net);
        const handshake theirs = greeting_of(some_hash(1), "hasty");
        const byte_vector bits{0xff, 0xc0};
        ends.theirs->say_handshake(theirs).say(wire::bitfield{bits}).say(wire::unchoke{});
        co_await ends.theirs->flush();
        const handshake ours = greeting_of(some_hash(1), "ours");
        co_await ends.ours->handshake_as_dialler(ours);
        const message_batch batch = co_await ends.ours->receive();
        CHECK(batch.messages.size() == 2);
        CHECK(batch.messages[0] == wire::message(wire::bitfield{bits}));
        CHECK(batch.messages[1] == wire::message(wire::unchoke{}));
    });
}

TEST_CASE("A03: a stranger who speaks something else is refused at the first wrong byte, and hears nothing") {
    run([](network& net) -> asio::awaitable<void> {
        const std::string_view strangers[] = {"GET / HTTP/1.1\r\n",
                                              "\x13"
                                              "BitTorrent Protocol",
                                              "\x12"
                                              "B"};
        for (const std::string_view words : strangers) {
            both_ends ends = co_await connected(net);
            bool asked = false;
            const peer_connection::handshake_answer answer = [&](const info_hash&) {
                asked = true;
                return std::optional<handshake>();
            };
            ends.theirs->say_bytes(as_bytes(words));
            co_await ends.theirs->flush();
            std::error_code code;
            co_await store_error(code, ends.ours->handshake_as_listener(answer));
            CHECK(code == errc::handshake_invalid);
            CHECK_FALSE(asked);
            ends.ours->close();
            const std::size_t heard = co_await ends.theirs->expect_end();
            CHECK(heard == 0);

            both_ends dialled = co_await connected(net);
            dialled.theirs->say_bytes(as_bytes(words));
            co_await dialled.theirs->flush();
            const handshake ours = greeting_of(some_hash(1), "ours");
            co_await store_error(code, dialled.ours->handshake_as_dialler(ours));
            CHECK(code == errc::handshake_invalid);
        }
    });
}

TEST_CASE("A04: whoever asks for a torrent that we do not have hears nothing") {
    run([](network& net) -> asio::awaitable<void> {
        both_ends ends = co_await connected(net);
        const peer_connection::handshake_answer answer = [](const info_hash&) { return std::optional<handshake>(); };
        const handshake theirs = greeting_of(some_hash(7), "curious");
        ends.theirs->say_handshake(theirs);
        co_await ends.theirs->flush();
        std::error_code code;
        co_await store_error(code, ends.ours->handshake_as_listener(answer));
        CHECK(code == errc::unknown_info_hash);
        ends.ours->close();
        const std::size_t heard = co_await ends.theirs->expect_end();
        CHECK(heard == 0);
    });
}

TEST_CASE("a dialled peer that answers for another torrent is refused") {
    run([](network& net) -> asio::awaitable<void> {
        both_ends ends = co_await connected(net);
        const handshake theirs = greeting_of(some_hash(2), "other");
        ends.theirs->say_handshake(theirs);
        co_await ends.theirs->flush();
        const handshake ours = greeting_of(some_hash(1), "ours");
        std::error_code code;
        co_await store_error(code, ends.ours->handshake_as_dialler(ours));
        CHECK(code == errc::wrong_info_hash);
    });
}

TEST_CASE("A05: both sides notice that they are the same peer") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair pair = co_await tcp_pair(net);
        peer_connection dialler(net, std::move(pair.first));
        peer_connection accepter(net, std::move(pair.second));
        const handshake ours = greeting_of(some_hash(1), "myself");
        const peer_connection::handshake_answer answer = [&](const info_hash&) { return std::optional(ours); };
        std::error_code dialling;
        std::error_code accepting;
        task_group tasks(net.executor());
        tasks.spawn(store_error(accepting, accepter.handshake_as_listener(answer)));
        co_await store_error(dialling, dialler.handshake_as_dialler(ours));
        co_await tasks.join();
        CHECK(dialling == errc::self_connection);
        CHECK(accepting == errc::self_connection);
    });
}

TEST_CASE("a connection that ends in the middle of the handshake is told from a wrong one") {
    run([](network& net) -> asio::awaitable<void> {
        both_ends ends = co_await connected(net);
        const handshake theirs = greeting_of(some_hash(1), "short");
        const byte_vector bytes = bytes_of(theirs);
        ends.theirs->say_bytes(byte_view(bytes).first(67));
        co_await ends.theirs->flush();
        const peer_connection::handshake_answer answer = [&](const info_hash& hash) {
            return std::optional(greeting_of(hash, "ours"));
        };
        task_group tasks(net.executor());
        std::error_code code;
        tasks.spawn(store_error(code, ends.ours->handshake_as_listener(answer)));
        co_await ends.theirs->expect_handshake();
        ends.theirs->close();
        co_await tasks.join();
        CHECK(code == errc::connection_closed);
    });
}

TEST_CASE("A01: a silent peer is given up at the deadline, whoever dialled") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        both_ends dialled = co_await connected(net);
        both_ends accepted = co_await connected(net);
        const handshake ours = greeting_of(some_hash(1), "ours");
        const peer_connection::handshake_answer answer = [&](const info_hash&) { return std::optional(ours); };
        outcome dialling;
        outcome accepting;
        task_group tasks(net.executor());
        tasks.spawn(watch(dialling, dialled.ours->handshake_as_dialler(ours)));
        tasks.spawn(watch(accepting, accepted.ours->handshake_as_listener(answer)));
        co_await dialled.theirs->expect_handshake();
        net.shift(9s);
        co_await asio::post(net.executor(), asio::use_awaitable);
        CHECK_FALSE(dialling.done);
        CHECK_FALSE(accepting.done);
        net.shift(1s);
        co_await tasks.join();
        CHECK(dialling.code == errc::timed_out);
        CHECK(accepting.code == errc::timed_out);
    });
}

TEST_CASE("A02: bytes that drip in do not move the deadline of the handshake") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        const handshake theirs = greeting_of(some_hash(1), "loris");
        const byte_vector bytes = bytes_of(theirs);
        both_ends ends = co_await connected(net);
        const handshake ours = greeting_of(some_hash(1), "ours");
        const peer_connection::handshake_answer answer = [&](const info_hash&) { return std::optional(ours); };
        outcome accepting;
        task_group tasks(net.executor());
        tasks.spawn(watch(accepting, ends.ours->handshake_as_listener(answer)));
        int seconds = 0;
        for (; !accepting.done && seconds < 60; ++seconds) {
            ends.theirs->say_bytes(byte_view(bytes).subspan(static_cast<std::size_t>(seconds), 1));
            // Writing fails once it is over.
            std::error_code ignored;
            co_await store_error(ignored, write_all(ends.theirs->link(), byte_view(bytes).subspan(0, 0)));
            co_await ends.theirs->flush();
            net.shift(1s);
            for (int turns = 0; turns < 10; ++turns) co_await asio::post(net.executor(), asio::use_awaitable);
        }
        co_await tasks.join();
        CHECK(accepting.code == errc::timed_out);
        CHECK(seconds <= 11);
        CHECK(seconds >= 9);
    });
}

TEST_CASE("the time for a handshake can be set, and cancelling is not a timeout") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair pair = co_await tcp_pair(net);
        peer_options hasty;
        hasty.handshake_timeout = 30ms;
        peer_connection connection(net, std::move(pair.first), hasty);
        const handshake ours = greeting_of(some_hash(1), "ours");
        std::error_code code;
        co_await store_error(code, connection.handshake_as_dialler(ours));
        CHECK(code == errc::timed_out);

        both_ends ends = co_await connected(net);
        outcome dialling;
        task_group tasks(net.executor());
        tasks.spawn(watch(dialling, ends.ours->handshake_as_dialler(ours)));
        co_await ends.theirs->expect_handshake();
        tasks.cancel();
        co_await tasks.join();
        CHECK(is_cancellation(dialling.code));
    });
}

// run(), request() and next_event()

TEST_CASE("a block that was asked for comes as it was sent, others are events") {
    run([](network& net) -> asio::awaitable<void> {
        conversation with(net, unix_pair(net), false);
        const byte_vector data = random_bytes(16'384);
        co_await unchoke(with);
        block_data got;
        const block wanted{3, 16'384, 16'384};
        with.tasks.spawn(keep_block(got, with.ours(), wanted));
        const auto request = co_await with.theirs().expect<wire::request>();
        CHECK(request.range == wanted);
        with.theirs().say(wire::have{1}).say(wire::piece{3, 16'384, data}).say(wire::keep_alive{});
        co_await with.theirs().flush();
        peer_event event = co_await with.ours().next_event();
        CHECK(event.message == wire::message(wire::have{1}));
        event = co_await with.ours().next_event();
        CHECK(event.message == wire::message(wire::keep_alive{}));
        const auto came = [&] { return got.range == wanted; };
        co_await eventually(net, came);
        CHECK(as_text(got.bytes) == as_text(byte_view(data)));
        CHECK(with.ours().state().has.get(1));
        co_await finish(with);
        CHECK(with.ran.code == errc::connection_closed);
        // The bytes stay while their memory is held.
        CHECK(as_text(got.bytes) == as_text(byte_view(data)));
    });
}

TEST_CASE("several requests are under way at once and answered in any order") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair pair = co_await tcp_pair(net);
        conversation with(net, std::move(pair), false);
        const byte_vector data = random_bytes(10 * 32'768);
        co_await unchoke(with);
        std::vector<block_data> got(8);
        for (std::uint32_t i = 0; i < got.size(); ++i)
            with.tasks.spawn(keep_block(got[i], with.ours(), layout.block_at(i / 2, i % 2)));
        std::vector<block> asked;
        while (asked.size() < got.size()) {
            const auto request = co_await with.theirs().expect<wire::request>();
            asked.push_back(request.range);
        }
        const serving honest{.content = &data, .piece_length = 32'768};
        std::reverse(asked.begin(), asked.end());
        for (const block& range : asked) with.theirs().say_block(honest, range);
        co_await with.theirs().flush();
        const auto all_came = [&] {
            return std::all_of(got.begin(), got.end(), [](const block_data& one) { return !one.bytes.empty(); });
        };
        co_await eventually(net, all_came);
        for (std::uint32_t i = 0; i < got.size(); ++i) {
            const byte_view expected = byte_view(data).subspan(i * 16'384, 16'384);
            CHECK(as_text(got[i].bytes) == as_text(expected));
        }
        co_await finish(with);
    });
}

TEST_CASE("while the peer chokes us a request fails at once, and nothing is sent") {
    run([](network& net) -> asio::awaitable<void> {
        conversation with(net, unix_pair(net), false);
        std::error_code code;
        const block wanted{0, 0, 16'384};
        co_await store_error(code, with.ours().request(wanted));
        CHECK(code == errc::choked);
        CHECK(with.ours().nothing_queued());
        co_await finish(with);
    });
}

TEST_CASE("a choke ends the requests that wait; after the next unchoke the block may be asked again") {
    run([](network& net) -> asio::awaitable<void> {
        conversation with(net, unix_pair(net), false);
        co_await unchoke(with);
        outcome first;
        const block wanted{0, 0, 16'384};
        with.tasks.spawn(watch(first, with.ours().request(wanted)));
        co_await with.theirs().expect<wire::request>();
        with.theirs().say(wire::choke{});
        co_await with.theirs().flush();
        const peer_event event = co_await with.ours().next_event();
        CHECK(event.message == wire::message(wire::choke{}));
        const auto ended = [&] { return first.done; };
        co_await eventually(net, ended);
        CHECK(first.code == errc::choked);

        co_await unchoke(with);
        block_data got;
        with.tasks.spawn(keep_block(got, with.ours(), wanted));
        co_await with.theirs().expect<wire::request>();
        const byte_vector data = random_bytes(16'384);
        with.theirs().say(wire::piece{0, 0, data});
        co_await with.theirs().flush();
        const auto came = [&] { return !got.bytes.empty(); };
        co_await eventually(net, came);
        co_await finish(with);
    });
}

TEST_CASE("with the Fast extension a choke leaves requests alone, and a reject ends the one that it names") {
    run([](network& net) -> asio::awaitable<void> {
        conversation with(net, unix_pair(net), true);
        co_await unchoke(with);
        outcome refused;
        block_data got;
        const block one{0, 0, 16'384};
        const block other{0, 16'384, 16'384};
        with.tasks.spawn(watch(refused, with.ours().request(one)));
        with.tasks.spawn(keep_block(got, with.ours(), other));
        co_await with.theirs().expect<wire::request>();
        co_await with.theirs().expect<wire::request>();
        const byte_vector data = random_bytes(16'384);
        with.theirs().say(wire::choke{}).say(wire::reject{one}).say(wire::piece{0, 16'384, data});
        co_await with.theirs().flush();
        const auto both = [&] { return refused.done && !got.bytes.empty(); };
        co_await eventually(net, both);
        CHECK(refused.code == errc::rejected);
        co_await finish(with);
    });
}

TEST_CASE("a cancelled request sends cancel, and its late block is dropped") {
    run([](network& net) -> asio::awaitable<void> {
        conversation with(net, unix_pair(net), false);
        co_await unchoke(with);
        outcome cancelled;
        const block wanted{0, 0, 16'384};
        task_group asking(net.executor());
        asking.spawn(watch(cancelled, with.ours().request(wanted)));
        co_await with.theirs().expect<wire::request>();
        asking.cancel();
        co_await asking.join();
        CHECK(is_cancellation(cancelled.code));
        const auto cancel = co_await with.theirs().expect<wire::cancel>();
        CHECK(cancel.range == wanted);
        const byte_vector data = random_bytes(16'384);
        with.theirs().say(wire::piece{0, 0, data}).say(wire::have{2});
        co_await with.theirs().flush();
        const peer_event event = co_await with.ours().next_event();
        CHECK(event.message == wire::message(wire::have{2}));
        co_await finish(with);
    });
}

TEST_CASE("when the connection ends, everything that waits ends with its reason, and so does what comes later") {
    run([](network& net) -> asio::awaitable<void> {
        conversation with(net, unix_pair(net), false);
        co_await unchoke(with);
        outcome request;
        outcome event;
        const block wanted{0, 0, 16'384};
        with.tasks.spawn(watch(request, with.ours().request(wanted)));
        with.tasks.spawn(watch(event, with.ours().next_event()));
        co_await with.theirs().expect<wire::request>();
        with.theirs().say(wire::have{10});
        co_await with.theirs().flush();
        co_await with.tasks.join();
        CHECK(with.ran.code == errc::index_out_of_range);
        CHECK(request.code == errc::index_out_of_range);
        CHECK(event.code == errc::index_out_of_range);
        outcome late;
        co_await watch(late, with.ours().request(wanted));
        CHECK(late.code == errc::index_out_of_range);
        co_await watch(late, with.ours().next_event());
        CHECK(late.code == errc::index_out_of_range);
        const std::size_t rest = co_await with.theirs().expect_end();
        CHECK(rest == 0);
    });
}

TEST_CASE("cancelling run() closes the connection; what waits on it was stopped, not cancelled") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair pair = co_await tcp_pair(net);
        both_ends ends = over(net, std::move(pair));
        ends.ours->begin(layout, false);
        task_group running(net.executor());
        outcome ran;
        running.spawn(watch(ran, ends.ours->run()));
        task_group waiting(net.executor());
        outcome event;
        waiting.spawn(watch(event, ends.ours->next_event()));
        co_await asio::post(net.executor(), asio::use_awaitable);
        running.cancel();
        co_await running.join();
        co_await waiting.join();
        CHECK(is_cancellation(ran.code));
        CHECK(event.code == errc::stopped);
        co_await ends.theirs->expect_end();
    });
}

TEST_CASE("a write that fails is the reason for everybody") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& carrier = *link;
        peer_connection connection(net, std::move(link));
        connection.begin(layout, false);
        carrier.put(wire::encode(wire::unchoke{}));
        task_group tasks(net.executor());
        outcome ran;
        outcome request;
        tasks.spawn(watch(ran, connection.run()));
        co_await connection.next_event();
        carrier.fail_writes(std::make_error_code(std::errc::broken_pipe));
        const block wanted{0, 0, 16'384};
        tasks.spawn(watch(request, connection.request(wanted)));
        co_await tasks.join();
        CHECK(ran.code == std::errc::broken_pipe);
        CHECK(request.code == std::errc::broken_pipe);
        CHECK(carrier.closed());
    });
}

TEST_CASE("events that nobody takes stop the reading, not the memory's bounds") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& carrier = *link;
        peer_connection connection(net, std::move(link));
        connection.begin(layout, false);
        task_group tasks(net.executor());
        outcome ran;
        tasks.spawn(watch(ran, connection.run()));
        const byte_vector message = wire::encode(wire::have{1});
        for (int i = 0; i < 200; ++i) carrier.put(message);
        carrier.put_end();
        const auto full = [&] { return carrier.reads >= 64; };
        co_await eventually(net, full);
        for (int turns = 0; turns < 20; ++turns) co_await asio::post(net.executor(), asio::use_awaitable);
        CHECK(carrier.reads == 64);
        for (int i = 0; i < 200; ++i) {
            const peer_event event = co_await connection.next_event();
            CHECK(event.message == wire::message(wire::have{1}));
        }
        co_await tasks.join();
        CHECK(ran.code == errc::connection_closed);
    });
}

TEST_CASE("events that nobody takes stop the hearing in the middle of what was read at once") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& carrier = *link;
        peer_connection connection(net, std::move(link));
        connection.begin(layout, false);
        task_group tasks(net.executor());
        outcome ran;
        tasks.spawn(watch(ran, connection.run()));
        byte_vector bytes;
        for (int i = 0; i < 64; ++i) wire::append(bytes, wire::have{1});
        wire::append(bytes, wire::unchoke{});
        carrier.put(bytes);
        carrier.put_end();
        const auto read = [&] { return carrier.reads == 1; };
        co_await eventually(net, read);
        co_await take_turns(net, 20);
        CHECK(connection.state().peer_choking);
        for (int i = 0; i < 64; ++i) co_await connection.next_event();
        const peer_event last = co_await connection.next_event();
        CHECK(last.message == wire::message(wire::unchoke{}));
        CHECK_FALSE(connection.state().peer_choking);
        co_await tasks.join();
    });
}

TEST_CASE("A13: who waits for room goes on when the connection is closed, and when a write fails") {
    run([](network& net) -> asio::awaitable<void> {
        for (const bool write_fails : {false, true}) {
            auto link = std::make_unique<memory_stream>(net.executor());
            memory_stream& carrier = *link;
            peer_connection connection(net, std::move(link));
            connection.begin(layout, true);
            while (connection.queued_bytes() < 3 * 1024 * 1024) connection.queue(wire::have{1});
            task_group tasks(net.executor());
            outcome waited, closed;
            tasks.spawn(watch(waited, connection.room()));
            tasks.spawn(watch(closed, connection.closed()));
            co_await asio::post(net.executor(), asio::use_awaitable);
            CHECK_FALSE(waited.done);
            CHECK_FALSE(closed.done);
            if (write_fails) {
                carrier.fail_writes(std::make_error_code(std::errc::broken_pipe));
                outcome flushed;
                co_await watch(flushed, connection.flush());
                CHECK(flushed.code == std::errc::broken_pipe);
            } else {
                connection.close();
            }
            CHECK(carrier.closed());
            const auto go_on = [&] { return waited.done && closed.done; };
            co_await eventually(net, go_on);
            CHECK_FALSE(waited.code);
            CHECK_FALSE(closed.code);
            outcome received;
            co_await watch(received, connection.receive());
            CHECK(is_cancellation(received.code));
            co_await tasks.join();
        }
    });
}

TEST_CASE("what is queued goes out while run() reads") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair pair = co_await tcp_pair(net);
        conversation with(net, std::move(pair), true);
        with.ours().queue(wire::have_none{});
        with.ours().queue(wire::interested{});
        CHECK(with.ours().state().am_interested);
        co_await with.theirs().expect<wire::have_none>();
        co_await with.theirs().expect<wire::interested>();
        co_await finish(with);
    });
}

TEST_CASE("a whole conversation runs over a wrapped Unix socket, handshake included") {
    run([](network& net) -> asio::awaitable<void> {
        both_ends ends = over(net, unix_pair(net));
        const handshake theirs = greeting_of(some_hash(1), "unix");
        ends.theirs->say_handshake(theirs).say(wire::have_all{});
        co_await ends.theirs->flush();
        const handshake ours = greeting_of(some_hash(1), "ours");
        const handshake seen = co_await ends.ours->handshake_as_dialler(ours);
        CHECK(seen == theirs);
        const handshake heard = co_await ends.theirs->expect_handshake();
        CHECK(heard == ours);
        ends.ours->begin(layout, seen.fast);
        task_group tasks(net.executor());
        outcome ran;
        tasks.spawn(watch(ran, ends.ours->run()));
        const peer_event event = co_await ends.ours->next_event();
        CHECK(event.message == wire::message(wire::have_all{}));
        CHECK(ends.ours->state().has.all());
        ends.theirs->close();
        co_await tasks.join();
        CHECK(ran.code == errc::connection_closed);
    });
}

}  // namespace peer_connection_test
