#include <doctest/doctest.h>

#include <memory>

#include <cohort/net/message_reader.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>

#include "support/eventually.hpp"
#include "support/heap.hpp"
#include "support/memory_stream.hpp"
#include "support/run.hpp"
#include "support/test_content.hpp"

namespace message_reader_test {

using namespace cohort;
using namespace cohort::test;

namespace {

byte_vector joined(const std::vector<wire::message>& messages) {
    byte_vector out;
    for (const wire::message& message : messages) wire::append(out, message);
    return out;
}

/// Of every kind of length: none, fixed, variable.
struct mixed_messages {
    byte_vector data = random_bytes(100);
    std::vector<wire::message> all{
        wire::keep_alive{},       wire::unchoke{},         wire::have{7},     wire::piece{1, 16'384, data},
        wire::request{{1, 2, 3}}, wire::extended{3, data}, wire::keep_alive{}};
    byte_vector bytes = joined(all);
};

/// Receives until so many messages have come, and compares.
asio::awaitable<void> expect_messages(message_reader& reader, const std::vector<wire::message>& expected) {
    std::size_t next = 0;
    while (next < expected.size()) {
        const message_batch batch = co_await reader.receive();
        CHECK_FALSE(batch.messages.empty());
        for (const wire::message& message : batch.messages) {
            REQUIRE(next < expected.size());
            CHECK(message == expected[next]);
            ++next;
        }
    }
}

asio::awaitable<std::error_code> failure_of_receive(message_reader& reader) {
    std::error_code code;
    try {
        co_await reader.receive();
    } catch (const std::system_error& error) {
        code = error.code();
    }
    co_return code;
}

asio::awaitable<void> receive_and_drop(message_reader& reader) { co_await reader.receive(); }

}  // namespace

TEST_CASE("messages that arrive together come as one batch whose views point into its memory") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        const mixed_messages mixed;
        link.put(mixed.bytes);
        const message_batch batch = co_await reader.receive();
        CHECK(batch.messages.size() == mixed.all.size());
        CHECK(batch.bytes == mixed.bytes.size());
        CHECK(link.reads == 1);
        CHECK(reader.partial() == 0);
        const auto& block = std::get<wire::piece>(batch.messages[3]);
        CHECK(block.data.data() >= batch.memory.get());
        CHECK(block.data.data() + block.data.size() <= batch.memory.get() + mixed.bytes.size());
    });
}

TEST_CASE("a batch's memory outlives the reader's next batch") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        const byte_vector data = random_bytes(16'384);
        const byte_vector other = random_bytes(16'384, 2);
        link.put(wire::encode(wire::piece{1, 0, data}));
        message_batch batch = co_await reader.receive();
        const byte_view view = std::get<wire::piece>(batch.messages[0]).data;
        const std::shared_ptr<const std::uint8_t[]> memory = batch.memory;
        link.put(wire::encode(wire::piece{2, 0, other}));
        batch = co_await reader.receive();
        CHECK(as_text(view) == as_text(byte_view(data)));
    });
}

TEST_CASE("messages come whole wherever the stream is cut") {
    run([](network& net) -> asio::awaitable<void> {
        const mixed_messages mixed;
        for (std::size_t cut = 1; cut < mixed.bytes.size(); ++cut) {
            memory_stream link(net.executor());
            message_reader reader(link);
            link.put(byte_view(mixed.bytes).first(cut));
            link.put(byte_view(mixed.bytes).subspan(cut));
            co_await expect_messages(reader, mixed.all);
            CHECK(reader.partial() == 0);
        }
    });
}

TEST_CASE("messages come whole when each byte comes alone") {
    run([](network& net) -> asio::awaitable<void> {
        const mixed_messages mixed;
        memory_stream link(net.executor());
        message_reader reader(link);
        for (const std::uint8_t& byte : mixed.bytes) link.put(byte_view(&byte, 1));
        co_await expect_messages(reader, mixed.all);
        const byte_vector start = {0, 0, 0, 5, 4};
        link.put(start);
        link.put_end();
        const std::error_code code = co_await failure_of_receive(reader);
        CHECK(code == errc::connection_closed);
        CHECK(reader.partial() == start.size());
    });
}

TEST_CASE("each byte counts once, in the batch that it was read for or before") {
    run([](network& net) -> asio::awaitable<void> {
        const byte_vector payload = random_bytes(100'000);
        byte_vector bytes = joined({wire::unchoke{}, wire::have{7}, wire::extended{9, payload}, wire::unchoke{}});
        memory_stream link(net.executor());
        message_reader reader(link);
        // Most of these reads end no message; some of what is read of the long one extends it in place.
        for (std::size_t at = 0; at < bytes.size();) {
            const std::size_t size = std::min<std::size_t>(bytes.size() - at, at < 20 ? 2 : 3000);
            link.put(byte_view(bytes).subspan(at, size));
            at += size;
        }
        std::size_t messages = 0;
        std::size_t counted = 0;
        while (messages < 4) {
            const message_batch batch = co_await reader.receive();
            messages += batch.messages.size();
            counted += batch.bytes;
            if (messages == 1) CHECK(batch.bytes == 6);  // an unchoke is five bytes
        }
        CHECK(counted == bytes.size());
    });
}

TEST_CASE("bytes that came with the handshake stand in front of the stream") {
    run([](network& net) -> asio::awaitable<void> {
        const mixed_messages mixed;
        memory_stream link(net.executor());
        message_reader reader(link);
        reader.unread(byte_view(mixed.bytes).first(30));
        link.put(byte_view(mixed.bytes).subspan(30));
        co_await expect_messages(reader, mixed.all);

        memory_stream silent(net.executor());
        message_reader second(silent);
        second.unread(mixed.bytes);
        const message_batch batch = co_await second.receive();
        CHECK(batch.messages.size() == mixed.all.size());
        CHECK(silent.reads == 0);
    });
}

TEST_CASE("the longest message in tiny pieces takes memory as it comes, and is hardly ever copied") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        constexpr std::size_t size = 1024 * 1024;
        const byte_vector payload = random_bytes(size - 2);
        const byte_vector bytes = wire::encode(wire::extended{9, payload});
        CHECK(bytes.size() == 4 + size);
        task_group receiving(net.executor());
        receiving.spawn(receive_and_drop(reader));
        const heap_growth growth;
        std::size_t excess = 0;
        constexpr std::size_t step = 1000;
        std::size_t sent = 0;
        for (; sent + step < bytes.size(); sent += step) {
            link.put(byte_view(bytes).subspan(sent, step));
            const auto taken_in = [&] { return reader.partial() >= sent + step; };
            co_await eventually(net, taken_in);
            // Twice what has come, and a read's buffer.
            const std::size_t fair = 2 * (sent + step) + 64 * 1024;
            if (growth.bytes() > fair) excess = std::max(excess, growth.bytes() - fair);
        }
        CHECK(excess == 0);
        // 33 short reads before the message counts as long, and then a move for each doubling.
        CHECK(link.moves <= 33 + 6);
        link.put(byte_view(bytes).subspan(sent));
        co_await receiving.join();
        CHECK(reader.partial() == 0);
        // An idle connection holds next to nothing, however long its last message was.
        CHECK(growth.bytes() < 16 * 1024);
    });
}

TEST_CASE("a long message comes out right, and so do those behind it") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        const byte_vector payload = random_bytes(300'000);
        const byte_vector block = random_bytes(16'384, 2);
        const std::vector<wire::message> all{wire::extended{9, payload}, wire::piece{3, 0, block}, wire::choke{},
                                             wire::extended{10, payload}, wire::have{4}};
        const byte_vector bytes = joined(all);
        random_engine random(3);
        for (std::size_t at = 0; at < bytes.size();) {
            const std::size_t size = std::min<std::size_t>(bytes.size() - at, 1 + random.below(5000));
            link.put(byte_view(bytes).subspan(at, size));
            at += size;
        }
        co_await expect_messages(reader, all);
    });
}

TEST_CASE("one read takes no more than it may, and a whole block in any case") {
    run([](network& net) -> asio::awaitable<void> {
        for (const std::size_t most : {std::size_t{1}, std::size_t{40'000}}) {
            memory_stream link(net.executor());
            message_reader reader(link);
            reader.read_at_most(most);
            const byte_vector block = wire::encode(wire::piece{1, 0, random_bytes(block_size)});
            byte_vector many;
            for (int i = 0; i < 30; ++i) many.insert(many.end(), block.begin(), block.end());
            link.put(many);
            for (std::size_t got = 0; got < 30;) {
                const message_batch batch = co_await reader.receive();
                got += batch.messages.size();
            }
            CHECK(link.largest_target <= std::max(most, block_size + std::size_t{1024}));
            CHECK(link.largest_target >= std::max(most, block.size()));
        }
    });
}

TEST_CASE("A06: a length prefix above the limit ends the connection before memory is taken") {
    run([](network& net) -> asio::awaitable<void> {
        for (const std::uint32_t length : {0xffffffffU, 0x7fffffffU, 1024U * 1024 + 1}) {
            memory_stream link(net.executor());
            message_reader reader(link);
            byte_vector prefix;
            append_be(prefix, length);
            link.put(prefix);
            const heap_growth growth;
            const std::error_code code = co_await failure_of_receive(reader);
            CHECK(code == errc::message_too_long);
            CHECK(growth.bytes() < 64 * 1024);
            CHECK(link.largest_target <= 256 * 1024);
        }
    });
}

TEST_CASE("A07: the longest length prefix alone takes no memory for the message") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        byte_vector start;
        append_be(start, std::uint32_t{1024 * 1024});
        start.push_back(20);
        const heap_growth growth;
        link.put(start);
        task_group receiving(net.executor());
        receiving.spawn(receive_and_drop(reader));
        const auto taken_in = [&] { return reader.partial() == start.size(); };
        co_await eventually(net, taken_in);
        CHECK(growth.bytes() < 32 * 1024);
        receiving.cancel();
        co_await receiving.join();
    });
}

TEST_CASE("the valid messages before a bad one are handed out, then its error, again and again") {
    run([](network& net) -> asio::awaitable<void> {
        const std::pair<byte_vector, errc> bad_ones[] = {
            {{0xff, 0, 0, 0}, errc::message_too_long},
            {{0, 0, 0, 2, 0}, errc::message_malformed},          // choke with a payload
            {{0, 0, 0, 4, 4}, errc::message_malformed},          // have of three bytes
            {{0, 0, 0, 8, 7, 0, 0, 0}, errc::message_malformed}  // piece without room for its header
        };
        for (const auto& [bad, expected] : bad_ones) {
            memory_stream link(net.executor());
            message_reader reader(link);
            byte_vector bytes = joined({wire::unchoke{}, wire::have{1}});
            bytes.insert(bytes.end(), bad.begin(), bad.end());
            link.put(bytes);
            const message_batch batch = co_await reader.receive();
            CHECK(batch.messages.size() == 2);
            const std::error_code first = co_await failure_of_receive(reader);
            CHECK(first == expected);
            link.put(wire::encode(wire::choke{}));
            const std::error_code second = co_await failure_of_receive(reader);
            CHECK(second == expected);
        }
    });
}

TEST_CASE("a limit given by the caller counts") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        wire::limits tight;
        tight.message = 100;
        message_reader reader(link, tight);
        const byte_vector payload(99);
        link.put(wire::encode(wire::extended{1, payload}));
        const std::error_code code = co_await failure_of_receive(reader);
        CHECK(code == errc::message_too_long);
    });
}

TEST_CASE("cancelling a wait loses no byte") {
    run([](network& net) -> asio::awaitable<void> {
        const mixed_messages mixed;
        memory_stream link(net.executor());
        message_reader reader(link);
        const std::size_t cuts[] = {3, 20, 60, mixed.bytes.size() - 4};
        std::size_t sent = 0;
        std::size_t whole = 0;
        for (const std::size_t cut : cuts) {
            link.put(byte_view(mixed.bytes).subspan(sent, cut - sent));
            sent = cut;
            // Takes what is whole, then waits in vain and is cancelled.
            try {
                for (;;) {
                    const message_batch batch = co_await with_timeout(net, 20ms, reader.receive());
                    for (const wire::message& message : batch.messages) {
                        CHECK(message == mixed.all[whole]);
                        ++whole;
                    }
                }
            } catch (const std::system_error& error) {
                CHECK(error.code() == errc::timed_out);
            }
        }
        link.put(byte_view(mixed.bytes).subspan(sent));
        const std::vector<wire::message> rest(mixed.all.begin() + static_cast<std::ptrdiff_t>(whole), mixed.all.end());
        co_await expect_messages(reader, rest);
    });
}

TEST_CASE("cancelling in the middle of a long message loses no byte") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        const byte_vector payload = random_bytes(200'000);
        const byte_vector bytes = wire::encode(wire::extended{9, payload});
        for (std::size_t at = 0; at < bytes.size(); at += 50'000) {
            link.put(byte_view(bytes).subspan(at, std::min<std::size_t>(50'000, bytes.size() - at)));
            if (at + 50'000 >= bytes.size()) break;
            std::error_code code;
            try {
                co_await with_timeout(net, 20ms, reader.receive());
            } catch (const std::system_error& error) {
                code = error.code();
            }
            CHECK(code == errc::timed_out);
            CHECK(reader.partial() == at + 50'000);
        }
        const message_batch batch = co_await reader.receive();
        CHECK(batch.messages.size() == 1);
        CHECK(batch.messages[0] == wire::message(wire::extended{9, payload}));
    });
}

TEST_CASE("A24: a flood of the smallest messages leaves no memory behind") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_reader reader(link);
        const byte_vector flood(256 * 1024);  // keep-alives: four zeros each
        const heap_growth growth;
        std::size_t messages = 0;
        for (int i = 0; i < 10; ++i) link.put(flood);
        while (messages < 10 * flood.size() / 4) {
            const message_batch batch = co_await reader.receive();
            messages += batch.messages.size();
        }
        CHECK(messages == 10 * flood.size() / 4);
        link.put(wire::encode(wire::choke{}));
        co_await receive_and_drop(reader);
        CHECK(growth.bytes() < 64 * 1024);
    });
}

}  // namespace message_reader_test
