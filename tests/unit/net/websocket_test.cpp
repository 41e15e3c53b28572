#include <doctest/doctest.h>

#include <cohort/net/websocket.hpp>
#include <cohort/net/websocket_pipe.hpp>

#include "support/eventually.hpp"
#include "support/heap.hpp"
#include "support/memory_stream.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"
#include "support/test_content.hpp"

namespace websocket_test {

using namespace cohort;
using namespace cohort::test;

namespace {

using socket_pointer = std::unique_ptr<websocket>;

struct socket_pair {
    socket_pointer client;
    socket_pointer server;
};

asio::awaitable<socket_pair> connected(network& net, websocket_options options) {
    stream_pair links = co_await tcp_pair(net);
    socket_pair out;
    out.client = std::make_unique<websocket>(net, std::move(links.first), websocket_role::client, options);
    out.server = std::make_unique<websocket>(net, std::move(links.second), websocket_role::server, options);
    co_return out;
}

/// One of ours, and the bare stream of the other side.
struct half_pair {
    std::unique_ptr<stream> raw;
    socket_pointer ours;
};

asio::awaitable<half_pair> half_connected(network& net, websocket_options options) {
    stream_pair links = co_await tcp_pair(net);
    half_pair out;
    out.raw = std::move(links.first);
    out.ours = std::make_unique<websocket>(net, std::move(links.second), websocket_role::server, options);
    co_return out;
}

/// Counts how many read from it at the same time, where one may.
class watched_stream final : public stream {
public:
    watched_stream(std::unique_ptr<stream> inner, int& most) : inner_(std::move(inner)), most_(most) {}

    asio::awaitable<void> readable() override {
        const reader one(*this);
        co_await inner_->readable();
    }
    asio::awaitable<std::size_t> read_some(byte_span into) override {
        const reader one(*this);
        const std::size_t got = co_await inner_->read_some(into);
        co_return got;
    }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override { return inner_->write(buffers); }
    void close() noexcept override { inner_->close(); }
    endpoint remote_endpoint() const override { return inner_->remote_endpoint(); }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }

private:
    struct reader {
        explicit reader(watched_stream& s) : of(s) { of.most_ = std::max(of.most_, ++of.readers_); }
        ~reader() { --of.readers_; }
        watched_stream& of;
    };

    std::unique_ptr<stream> inner_;
    int readers_ = 0;
    int& most_;
};

byte_vector masked_frame(websocket_opcode kind, std::string_view payload, bool last = true) {
    byte_vector out;
    append_websocket_frame(out, kind, as_bytes(payload), 0x1a2b3c4d, last);
    return out;
}

/// The next messages as text, until the link ends; how it ended is the last.
asio::awaitable<void> collect(websocket& from, std::vector<std::string>& out) {
    try {
        for (;;) {
            const websocket_message message = co_await from.receive();
            out.emplace_back(message.text());
        }
    } catch (const std::system_error& error) {
        out.emplace_back(error.what());
        if (is_cancellation(error.code())) throw;
    }
}

asio::awaitable<void> echo(websocket& with) {
    for (;;) {
        const websocket_message message = co_await with.receive();
        co_await with.send(message);
    }
}

asio::awaitable<void> echo_until_end(websocket& with, std::error_code& why) {
    try {
        co_await echo(with);
    } catch (const std::system_error& error) {
        why = error.code();
    }
}

asio::awaitable<void> send_text(websocket& to, std::string text) { co_await to.send(text); }
asio::awaitable<void> send_message(websocket& to, websocket_message message) { co_await to.send(message); }

asio::awaitable<void> send_numbers(websocket& to, std::string name, int count) {
    for (int i = 0; i < count; ++i) {
        const std::string text = name + std::to_string(i);
        co_await to.send(text);
    }
}

asio::awaitable<void> close_with(websocket& one, std::uint16_t code, std::string reason) {
    co_await one.close(code, reason);
}

asio::awaitable<void> turns(network& net, int count) {
    for (int i = 0; i < count; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
}

asio::awaitable<void> send_again_and_again(websocket& to, const std::string& text) {
    for (;;) co_await to.send(text);
}

/// A memory_stream whose writes wait until it is opened.
class gated_stream final : public stream {
public:
    explicit gated_stream(const asio::any_io_executor& executor) : in(executor), changed_(executor) {}

    void open() {
        open_ = true;
        changed_.notify();
    }

    asio::awaitable<std::size_t> read_some(byte_span into) override { return in.read_some(into); }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        while (!open_) co_await changed_.wait();
        co_await in.write(buffers);
    }
    void close() noexcept override {
        in.close();
        open();
    }
    endpoint remote_endpoint() const override { return {}; }
    endpoint local_endpoint() const override { return {}; }

    memory_stream in;

private:
    wakeup changed_;
    bool open_ = false;
};

asio::awaitable<void> flood_with(stream& link) {
    const byte_vector bytes(64 * 1024);
    for (;;) co_await write_all(link, bytes);
}

/// Bytes that a client must not send, and what a server says to them.
struct violation {
    byte_vector bytes;
    std::uint16_t code;
    errc expected;
};

std::vector<violation> violations() {
    byte_vector unmasked;
    append_websocket_frame(unmasked, websocket_opcode::text, as_bytes("x"), std::nullopt);
    return {
        {unmasked, 1002, errc::websocket_malformed},
        {{0xc1}, 1002, errc::websocket_malformed},
        {{0x83}, 1002, errc::websocket_malformed},
        {{0x09}, 1002, errc::websocket_malformed},
        {{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1009, errc::message_too_long},
        {masked_frame(websocket_opcode::text, "\xc0\x80"), 1007, errc::websocket_malformed},
        {masked_frame(websocket_opcode::close, "x"), 1002, errc::websocket_malformed},
        {masked_frame(websocket_opcode::binary, std::string(2000, 'x')), 1009, errc::message_too_long},
    };
}

/// What came out of a websocket over a memory_stream, as the other side reads it.
struct heard {
    std::vector<std::pair<websocket_opcode, std::string>> events{};
    std::uint16_t code = 0;
    std::uint16_t refusal = 0;
};

heard understand(byte_vector written, websocket_role reader) {
    heard out;
    websocket_parser parser(reader, 100 * 1024 * 1024);
    byte_span in = written;
    while (const auto event = parser.next(in, out.refusal)) {
        out.events.emplace_back(event->kind, as_text(event->payload));
        out.code = event->code;
    }
    return out;
}

}  // namespace

TEST_CASE("messages of all sizes go both ways as they are") {
    run([](network& net) -> asio::awaitable<void> {
        socket_pair ends = co_await connected(net, websocket_options());
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(echo_until_end(*ends.server, why));
        for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U, 1024U * 1024U}) {
            const byte_vector sent = random_bytes(size, size);
            co_await ends.client->send(sent);
            const websocket_message back = co_await ends.client->receive();
            CHECK(!back.is_text);
            const bool same = std::equal(back.payload.begin(), back.payload.end(), sent.begin(), sent.end());
            CHECK(same);
        }
        co_await ends.client->send("κόσμε");
        const websocket_message back = co_await ends.client->receive();
        CHECK(back.is_text);
        CHECK(back.text() == "κόσμε");
        co_await ends.client->close();
        co_await tasks.join();
        CHECK(why == errc::websocket_closed);
        co_await ends.server->close();
    });
}

TEST_CASE("answers to the messages of one read go out in one write") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& wire = *link;
        websocket ours(net, std::move(link), websocket_role::server);
        byte_vector all;
        for (int i = 0; i < 100; ++i) {
            const byte_vector one = masked_frame(websocket_opcode::text, "message " + std::to_string(i));
            all.insert(all.end(), one.begin(), one.end());
        }
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(echo_until_end(ours, why));
        co_await turns(net, 5);
        wire.put(all);
        const auto all_said = [&] { return understand(wire.written, websocket_role::client).events.size() == 100; };
        co_await eventually(net, all_said);
        CHECK(wire.writes == 1);
        const heard back = understand(wire.written, websocket_role::client);
        for (std::size_t i = 0; i < 100; ++i) CHECK(back.events[i].second == "message " + std::to_string(i));
        wire.put_end();
        co_await tasks.join();
        CHECK(why == errc::connection_closed);
        CHECK(ours.ended());
        CHECK(ours.peer_close_code() == close_code::abnormal);
        co_await ours.close();
    });
}

TEST_CASE("messages of several senders stay whole and each sender's in order, though the queue is full") {
    run([](network& net) -> asio::awaitable<void> {
        const websocket_options small{.max_queued = 300};
        socket_pair ends = co_await connected(net, small);
        task_group tasks(net.executor());
        std::vector<std::string> got;
        tasks.spawn(collect(*ends.server, got));
        task_group senders(net.executor());
        for (const char* const name : {"a", "b", "c", "d"}) senders.spawn(send_numbers(*ends.client, name, 500));
        co_await senders.join();
        co_await ends.client->close();
        co_await tasks.join();
        REQUIRE(got.size() == 2001);
        std::map<char, int> next;
        for (std::size_t i = 0; i < 2000; ++i) REQUIRE(got[i].substr(1) == std::to_string(next[got[i][0]]++));
        co_await ends.server->close();
    });
}

TEST_CASE("a close is answered, and both sides know the code and the words") {
    run([](network& net) -> asio::awaitable<void> {
        for (const bool client_closes : {true, false}) {
            socket_pair ends = co_await connected(net, websocket_options());
            websocket& closer = client_closes ? *ends.client : *ends.server;
            websocket& other = client_closes ? *ends.server : *ends.client;
            task_group tasks(net.executor());
            std::vector<std::string> got;
            tasks.spawn(collect(other, got));
            co_await closer.send("last words");
            co_await closer.close(4001, "enough");
            co_await tasks.join();
            REQUIRE(got.size() == 2);
            CHECK(got[0] == "last words");
            CHECK(got[1] == "4001 enough: WebSocket closed by the other side");
            CHECK(other.peer_close_code() == 4001);
            CHECK(closer.peer_close_code() == 4001);
            std::error_code why;
            co_await store_error(why, closer.receive());
            CHECK(why == errc::websocket_closed);
            co_await store_error(why, closer.send("late"));
            CHECK(why == errc::stopped);
            co_await store_error(why, other.send("late"));
            CHECK(why == errc::websocket_closed);
            co_await other.close();
            co_await other.close();
        }
    });
}

TEST_CASE("both ends may close at once") {
    run([](network& net) -> asio::awaitable<void> {
        for (const bool reading : {true, false}) {
            socket_pair ends = co_await connected(net, websocket_options());
            const time_point before = net.now();
            task_group tasks(net.executor());
            std::vector<std::string> got;
            if (reading) tasks.spawn(collect(*ends.client, got));
            if (reading) tasks.spawn(collect(*ends.server, got));
            co_await turns(net, 5);
            tasks.spawn(close_with(*ends.client, 1000, "a"));
            tasks.spawn(close_with(*ends.server, 1001, "b"));
            co_await tasks.join();
            CHECK(net.now() - before < 3s);
            CHECK(ends.client->peer_close_code() == 1001);
            CHECK(ends.server->peer_close_code() == 1000);
            CHECK(got.size() == (reading ? 2 : 0));
        }
    });
}

TEST_CASE("what was sent before a close arrives, however much it is") {
    run([](network& net) -> asio::awaitable<void> {
        socket_pair ends = co_await connected(net, websocket_options());
        task_group tasks(net.executor());
        std::vector<std::string> got;
        const std::string large(900'000, 'x');
        co_await ends.client->send(large);
        co_await ends.client->send("end");
        tasks.spawn(close_with(*ends.client, 1000, ""));
        co_await turns(net, 50);
        co_await collect(*ends.server, got);
        co_await tasks.join();
        REQUIRE(got.size() == 3);
        CHECK(got[0] == large);
        CHECK(got[1] == "end");
    });
}

TEST_CASE("a receive() that begins while close() reads takes nothing from it, and hears of the end") {
    run([](network& net) -> asio::awaitable<void> {
        stream_pair links = co_await tcp_pair(net);
        int readers = 0;
        auto link = std::make_unique<watched_stream>(std::move(links.second), readers);
        websocket ours(net, std::move(link), websocket_role::server);
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(close_with(ours, 1000, ""));
        co_await turns(net, 10);
        tasks.spawn(store_error(why, ours.receive()));
        const byte_vector late = masked_frame(websocket_opcode::text, "late");
        co_await write_all(*links.first, late);
        co_await turns(net, 10);
        CHECK(tasks.size() == 2);
        const byte_vector goodbye = masked_frame(websocket_opcode::close, "");
        co_await write_all(*links.first, goodbye);
        co_await tasks.join();
        CHECK(why == errc::websocket_closed);
        CHECK(readers == 1);
    });
}

TEST_CASE("a close that nobody answers ends with its deadline") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        half_pair ends = co_await half_connected(net, websocket_options());
        task_group tasks(net.executor());
        tasks.spawn(close_with(*ends.ours, 1000, ""));
        std::error_code why;
        tasks.spawn(store_error(why, ends.ours->receive()));
        co_await turns(net, 20);
        CHECK(tasks.size() == 2);
        net.shift(6s);
        co_await tasks.join();
        CHECK(ends.ours->ended());
    });
}

TEST_CASE("a stream that ends without a close frame is a closed connection") {
    run([](network& net) -> asio::awaitable<void> {
        half_pair ends = co_await half_connected(net, websocket_options());
        const byte_vector half = masked_frame(websocket_opcode::text, "cut in the middle");
        const byte_view part = byte_view(half).first(9);
        co_await write_all(*ends.raw, part);
        ends.raw->close();
        std::error_code why;
        co_await store_error(why, ends.ours->receive());
        CHECK(why == errc::connection_closed);
        co_await store_error(why, ends.ours->send("x"));
        CHECK(why == errc::connection_closed);
        co_await ends.ours->close();
    });
}

TEST_CASE("who breaks a rule is told the code, and the link ends") {
    run([](network& net) -> asio::awaitable<void> {
        for (const violation& one : violations()) {
            const websocket_options small{.max_message = 1000};
            half_pair ends = co_await half_connected(net, small);
            byte_vector bytes = masked_frame(websocket_opcode::text, "good");
            bytes.insert(bytes.end(), one.bytes.begin(), one.bytes.end());
            co_await write_all(*ends.raw, bytes);
            const websocket_message good = co_await ends.ours->receive();
            CHECK(good.text() == "good");
            task_group tasks(net.executor());
            std::error_code why;
            tasks.spawn(store_error(why, ends.ours->receive()));
            byte_vector answer(4);
            co_await read_exactly(*ends.raw, answer);
            CHECK(answer[0] == 0x88);
            CHECK(answer[1] == 2);
            CHECK(load_be<std::uint16_t>(&answer[2]) == one.code);
            ends.raw->close();
            co_await tasks.join();
            CHECK(why == one.expected);
            co_await store_error(why, ends.ours->send("x"));
            CHECK(why == one.expected);
            co_await ends.ours->close();
        }
    });
}

TEST_CASE("a goodbye counts, though its sender is gone before it is answered") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& wire = *link;
        wire.fail_writes(std::make_error_code(std::errc::broken_pipe));
        websocket ours(net, std::move(link), websocket_role::server);
        const byte_vector goodbye = masked_frame(websocket_opcode::close, "\x03\xe9");
        wire.put(goodbye);
        std::error_code why;
        co_await store_error(why, ours.receive());
        CHECK(why == errc::websocket_closed);
        CHECK(ours.peer_close_code() == close_code::going_away);
        co_await ours.close();
    });
}

TEST_CASE("who breaks a rule and goes on sending is left after the deadline, and holds nobody up") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        half_pair ends = co_await half_connected(net, websocket_options());
        const byte_vector bad{0xff};
        co_await write_all(*ends.raw, bad);
        task_group tasks(net.executor());
        std::error_code why;
        std::error_code flood;
        tasks.spawn(store_error(why, ends.ours->receive()));
        tasks.spawn(store_error(flood, flood_with(*ends.raw)));
        co_await turns(net, 100);
        CHECK(!why);
        net.shift(6s);
        co_await tasks.join();
        CHECK(why == errc::websocket_malformed);
        CHECK(flood);
        co_await ends.ours->close();
    });
}

TEST_CASE("who breaks a rule and reads nothing is left after the deadline") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        half_pair ends = co_await half_connected(net, websocket_options());
        const byte_vector bad{0xff};
        co_await write_all(*ends.raw, bad);
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, ends.ours->receive()));
        co_await turns(net, 20);
        CHECK(!why);
        net.shift(6s);
        co_await tasks.join();
        CHECK(why == errc::websocket_malformed);
        co_await ends.ours->close();
    });
}

TEST_CASE("a reader that takes nothing fills the queue and no more; then the link ends with queue_full") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        half_pair ends = co_await half_connected(net, websocket_options());
        task_group tasks(net.executor());
        std::vector<std::error_code> why(3);
        const std::string large(256 * 1024, 'x');
        for (std::error_code& one : why) tasks.spawn(store_error(one, send_again_and_again(*ends.ours, large)));
        std::error_code receiving;
        tasks.spawn(store_error(receiving, ends.ours->receive()));
        std::size_t before = 1;
        while (ends.ours->queued_bytes() != before) {
            before = ends.ours->queued_bytes();
            co_await turns(net, 200);
        }
        CHECK(before <= 1024 * 1024);
        CHECK(before > 700 * 1024);
        net.shift(20s);
        co_await turns(net, 20);
        CHECK(!ends.ours->ended());
        net.shift(11s);
        co_await turns(net, 20);
        net.shift(8s);
        co_await tasks.join();
        for (const std::error_code& one : why) CHECK(one == errc::queue_full);
        CHECK(receiving == errc::queue_full);
        co_await ends.ours->close();
    });
}

TEST_CASE("a slow reader that goes on reading is waited for") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        half_pair ends = co_await half_connected(net, websocket_options());
        task_group tasks(net.executor());
        std::error_code why;
        const std::string large(256 * 1024, 'x');
        tasks.spawn(store_error(why, send_again_and_again(*ends.ours, large)));
        byte_vector some(512 * 1024);
        for (int i = 0; i < 40; ++i) {
            co_await read_exactly(*ends.raw, some);
            co_await turns(net, 50);
            net.shift(4s);
        }
        CHECK(!ends.ours->ended());
        ends.ours->abort();
        co_await tasks.join();
        CHECK(why == errc::stopped);
        co_await ends.ours->close();
    });
}

TEST_CASE("pings are answered in order") {
    run([](network& net) -> asio::awaitable<void> {
        half_pair ends = co_await half_connected(net, websocket_options());
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, ends.ours->receive()));
        byte_vector pings;
        byte_vector expected;
        for (int i = 0; i < 10; ++i) {
            const std::string payload = "payload-" + std::to_string(i);
            const byte_vector one = masked_frame(websocket_opcode::ping, payload);
            pings.insert(pings.end(), one.begin(), one.end());
            append_websocket_frame(expected, websocket_opcode::pong, as_bytes(payload), std::nullopt);
        }
        co_await write_all(*ends.raw, pings);
        byte_vector answer(expected.size());
        co_await read_exactly(*ends.raw, answer);
        CHECK(answer == expected);
        ends.raw->close();
        co_await tasks.join();
        CHECK(why == errc::connection_closed);
        co_await ends.ours->close();
    });
}

TEST_CASE("a flood of pings grows nothing, and the newest is answered in the end") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<gated_stream>(net.executor());
        gated_stream& wire = *link;
        websocket ours(net, std::move(link), websocket_role::server);
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, ours.receive()));
        for (int i = 0; i < 1000; ++i) {
            byte_vector pings;
            for (int j = 0; j < 100; ++j) {
                const byte_vector one =
                    masked_frame(websocket_opcode::ping, std::string(100, 'p') + std::to_string(100 * i + j));
                pings.insert(pings.end(), one.begin(), one.end());
            }
            wire.in.put(pings);
            co_await turns(net, 3);
            REQUIRE(ours.queued_bytes() < 10 * 1024);
        }
        wire.open();
        const auto all_sent = [&] { return ours.queued_bytes() == 0; };
        co_await eventually(net, all_sent);
        const heard back = understand(wire.in.written, websocket_role::client);
        CHECK(back.refusal == 0);
        CHECK(back.events.size() < 100);
        CHECK(back.events.back().second == std::string(100, 'p') + "99999");
        wire.in.put_end();
        co_await tasks.join();
        CHECK(why == errc::connection_closed);
        co_await ours.close();
    });
}

TEST_CASE("a silent peer is asked twice, and given up an interval later") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        half_pair ends = co_await half_connected(net, websocket_options());
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, ends.ours->receive()));
        co_await turns(net, 10);
        duration alive{0};
        while (tasks.size() > 0 && alive < 200s) {
            net.shift(5s);
            alive += 5s;
            co_await turns(net, 10);
        }
        co_await tasks.join();
        CHECK(why == errc::timed_out);
        CHECK(alive >= 90s);
        CHECK(alive <= 105s);
        const byte_vector expected{0x89, 0, 0x89, 0};
        byte_vector asked(4);
        co_await read_exactly(*ends.raw, asked);
        CHECK(asked == expected);
        const std::size_t more = co_await ends.raw->read_some(asked);
        CHECK(more == 0);
        co_await ends.ours->close();
    });
}

TEST_CASE("a peer that answers pings is never given up, and neither is one while nobody calls receive()") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        socket_pair ends = co_await connected(net, websocket_options());
        for (int i = 0; i < 50; ++i) {
            net.shift(10s);
            co_await turns(net, 10);
        }
        CHECK(!ends.client->ended());
        CHECK(!ends.server->ended());
        ends.client->abort();

        task_group tasks(net.executor());
        socket_pair others = co_await connected(net, websocket_options());
        std::error_code first;
        std::error_code second;
        tasks.spawn(store_error(first, others.client->receive()));
        tasks.spawn(store_error(second, others.server->receive()));
        const auto nothing_waits = [&] { return others.client->queued_bytes() + others.server->queued_bytes() == 0; };
        for (int i = 0; i < 100; ++i) {
            net.shift(10s);
            co_await eventually(net, nothing_waits);
            co_await turns(net, 30);
        }
        CHECK(!first);
        CHECK(!second);
        co_await others.client->close();
        co_await tasks.join();
        CHECK(second == errc::websocket_closed);
        co_await others.server->close();
        co_await ends.client->close();
        co_await ends.server->close();
    });
}

TEST_CASE("a cancelled receive() loses no message") {
    run([](network& net) -> asio::awaitable<void> {
        half_pair ends = co_await half_connected(net, websocket_options());
        const byte_vector first = masked_frame(websocket_opcode::text, "in two parts", false);
        const byte_vector second = masked_frame(websocket_opcode::continuation, ", and one");
        for (std::size_t cut = 0; cut < first.size(); ++cut) {
            const byte_view head = byte_view(first).first(cut);
            const byte_view tail = byte_view(first).subspan(cut);
            co_await write_all(*ends.raw, head);
            task_group tasks(net.executor());
            std::error_code why;
            tasks.spawn(store_error(why, ends.ours->receive()));
            co_await turns(net, 4);
            tasks.cancel();
            co_await tasks.join();
            CHECK(why == asio::error::operation_aborted);
            co_await write_all(*ends.raw, tail);
            co_await write_all(*ends.raw, second);
            const websocket_message message = co_await ends.ours->receive();
            CHECK(message.text() == "in two parts, and one");
        }
        CHECK(!ends.ours->ended());
        ends.raw->close();
        co_await ends.ours->close();
    });
}

TEST_CASE("a cancelled send() leaves the line, and those behind it go on") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<gated_stream>(net.executor());
        gated_stream& wire = *link;
        websocket ours(net, std::move(link), websocket_role::server, websocket_options{.max_queued = 100});
        co_await ours.send(std::string(80, 'a'));
        task_group doomed(net.executor());
        task_group others(net.executor());
        std::error_code why;
        doomed.spawn(store_error(why, send_text(ours, std::string(80, 'b'))));
        others.spawn(send_text(ours, std::string(80, 'c')));
        others.spawn(send_text(ours, "d"));
        co_await turns(net, 10);
        CHECK(others.size() == 2);
        doomed.cancel();
        co_await doomed.join();
        CHECK(why == asio::error::operation_aborted);
        CHECK(others.size() == 2);
        wire.open();
        co_await others.join();
        co_await ours.flush();
        const heard back = understand(wire.in.written, websocket_role::client);
        REQUIRE(back.events.size() == 3);
        CHECK(back.events[1].second == std::string(80, 'c'));
        CHECK(back.events[2].second == "d");
        ours.abort();
        co_await ours.close();
    });
}

TEST_CASE("a cancelled close() ends the link all the same") {
    run([](network& net) -> asio::awaitable<void> {
        half_pair ends = co_await half_connected(net, websocket_options());
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, close_with(*ends.ours, 1000, "")));
        co_await turns(net, 10);
        tasks.cancel();
        co_await tasks.join();
        CHECK(why == asio::error::operation_aborted);
        CHECK(ends.ours->ended());
        byte_vector rest(100);
        std::size_t got = 1;
        while (got > 0) got = co_await ends.raw->read_some(rest);
    });
}

TEST_CASE("an error of the stream ends everything that waits with it") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& wire = *link;
        wire.fail_writes(std::make_error_code(std::errc::broken_pipe));
        websocket ours(net, std::move(link), websocket_role::client);
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, ours.receive()));
        co_await ours.send("x");
        co_await tasks.join();
        CHECK(why == std::errc::broken_pipe);
        co_await store_error(why, ours.send("y"));
        CHECK(why == std::errc::broken_pipe);
        co_await ours.flush();
        co_await ours.close();
    });
}

TEST_CASE("a text that is not UTF-8 is not sent") {
    run([](network& net) -> asio::awaitable<void> {
        socket_pair ends = co_await connected(net, websocket_options());
        std::error_code why;
        co_await store_error(why, send_text(*ends.client, "\xff"));
        CHECK(why == errc::websocket_malformed);
        why.clear();
        const websocket_message message{true, as_bytes("\xff")};
        co_await store_error(why, send_message(*ends.client, message));
        CHECK(why == errc::websocket_malformed);
        CHECK(ends.client->queued_bytes() == 0);
        ends.server.reset();
        co_await ends.client->close();
    });
}

TEST_CASE("what is sent by a client is masked, each frame with another key") {
    run([](network& net) -> asio::awaitable<void> {
        auto link = std::make_unique<memory_stream>(net.executor());
        memory_stream& wire = *link;
        websocket ours(net, std::move(link), websocket_role::client);
        random_engine untouched = net.random();
        co_await ours.send("same");
        co_await ours.send("same");
        co_await ours.flush();
        REQUIRE(wire.written.size() == 20);
        CHECK(wire.written[1] == 0x84);
        const bool another = !std::equal(&wire.written[2], &wire.written[6], &wire.written[12]);
        CHECK(another);
        CHECK(net.random()() == untouched());  // whose numbers others see
        const heard back = understand(wire.written, websocket_role::server);
        CHECK(back.events.size() == 2);
        CHECK(back.events[1].second == "same");
        ours.abort();
        co_await ours.close();
    });
}

TEST_CASE("an idle link over TCP holds no buffer, even after busy times") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        stream_pair links = co_await tcp_pair(net);
        const heap_growth growth;
        auto ours = std::make_unique<websocket>(net, std::move(links.second), websocket_role::server);
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(echo_until_end(*ours, why));
        co_await turns(net, 10);
        CHECK(growth.bytes() < 6 * 1024);
        const byte_vector busy = masked_frame(websocket_opcode::binary, std::string(500'000, 'x'));
        byte_vector answer(busy.size() - 4);
        for (int i = 0; i < 10; ++i) {
            task_group writing(net.executor());
            writing.spawn(write_all(*links.first, busy));
            co_await read_exactly(*links.first, answer);
            co_await writing.join();
        }
        answer = byte_vector();
        CHECK(growth.bytes() > 64 * 1024);
        for (int i = 0; i < 4; ++i) {
            net.shift(8s);
            co_await turns(net, 10);
        }
        CHECK(growth.bytes() < busy.capacity() + 6 * 1024);
        links.first->close();
        co_await tasks.join();
        co_await ours->close();
    });
}

TEST_CASE("a websocket may be destroyed while its queue is full and its peer silent") {
    run([](network& net) -> asio::awaitable<void> {
        half_pair ends = co_await half_connected(net, websocket_options());
        const byte_vector large(1'000'000, 'x');
        for (int i = 0; i < 4; ++i) co_await ends.ours->send(large);
        ends.ours.reset();
        co_await turns(net, 10);
    });
}

TEST_CASE("a pipe carries binary messages and refuses text") {
    run([](network& net) -> asio::awaitable<void> {
        socket_pair ends = co_await connected(net, websocket_options());
        websocket_pipe pipe(std::move(ends.server));
        CHECK(pipe.remote_endpoint() == ends.client->local_endpoint());
        const byte_vector sent = random_bytes(1000);
        co_await ends.client->send(sent);
        const byte_vector got = co_await pipe.receive();
        CHECK(got == sent);
        co_await pipe.send(got);
        const websocket_message back = co_await ends.client->receive();
        CHECK(!back.is_text);
        CHECK(back.payload.size() == 1000);

        task_group tasks(net.executor());
        std::vector<std::string> end;
        tasks.spawn(collect(*ends.client, end));
        co_await ends.client->send("words");
        std::error_code why;
        co_await store_error(why, pipe.receive());
        CHECK(why == errc::websocket_malformed);
        co_await tasks.join();
        REQUIRE(end.size() == 1);
        CHECK(ends.client->peer_close_code() == close_code::unsupported);
        co_await ends.client->close();
    });
}

TEST_CASE("a pipe that is finished delivers what was sent, one that is closed ends at once") {
    run([](network& net) -> asio::awaitable<void> {
        socket_pair ends = co_await connected(net, websocket_options());
        websocket_pipe first(std::move(ends.client));
        websocket_pipe second(std::move(ends.server));
        const byte_vector message{1, 2, 3};
        co_await first.send(message);
        task_group tasks(net.executor());
        tasks.spawn(first.finish());
        const byte_vector got = co_await second.receive();
        CHECK(got == message);
        std::error_code why;
        co_await store_error(why, second.receive());
        CHECK(why == errc::websocket_closed);
        co_await tasks.join();

        socket_pair others = co_await connected(net, websocket_options());
        websocket_pipe third(std::move(others.client));
        tasks.spawn(store_error(why, third.receive()));
        co_await turns(net, 10);
        third.close();
        co_await tasks.join();
        CHECK(why == errc::stopped);
        co_await store_error(why, others.server->receive());
        CHECK(why == errc::connection_closed);
        co_await others.server->close();
    });
}

}  // namespace websocket_test
