#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include <cohort/net/message_writer.hpp>
#include <cohort/net/task_group.hpp>

#include "support/eventually.hpp"
#include "support/memory_stream.hpp"
#include "support/open_file.hpp"
#include "support/run.hpp"
#include "support/stream_pair.hpp"
#include "support/test_content.hpp"

namespace message_writer_test {

using namespace cohort;
using namespace cohort::test;

namespace {

std::vector<wire::message> parsed(byte_view in) {
    std::vector<wire::message> out;
    std::error_code error;
    while (const auto message = wire::parse(in, error)) out.push_back(*message);
    CHECK_FALSE(error);
    CHECK(in.empty());
    return out;
}

asio::awaitable<void> flush_one(message_writer& writer) { co_await writer.flush(); }

}  // namespace

TEST_CASE("what is queued goes out in one write, in order") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_writer writer(link);
        CHECK(writer.empty());
        writer.queue(wire::unchoke{});
        writer.queue(wire::have{3});
        writer.queue(wire::message(wire::interested{}));
        CHECK_FALSE(writer.empty());
        CHECK(writer.queued_bytes() == 5 + 9 + 5);
        co_await writer.flush();
        CHECK(link.writes == 1);
        CHECK(writer.empty());
        CHECK(writer.queued_bytes() == 0);
        const auto sent = parsed(link.written);
        const std::vector<wire::message> expected{wire::unchoke{}, wire::have{3}, wire::interested{}};
        CHECK(sent == expected);
        co_await writer.flush();
        CHECK(link.writes == 1);
    });
}

TEST_CASE("blocks from files and from memory stand between messages where they were queued") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_writer writer(link);
        const open_file file(random_bytes(50'000));
        const byte_vector zeros(100);
        const auto owner = std::make_shared<int>(1);
        writer.queue(wire::have{1});
        const std::vector<segment> whole{file_slice{file.handle, 1000, 16'384}};
        writer.queue_block({2, 0, 16'384}, whole, owner);
        writer.queue(wire::have{2});
        const std::vector<segment> parts{file_slice{file.handle, 49'990, 10}, byte_view(zeros),
                                         file_slice{file.handle, 0, 20}};
        writer.queue_block({2, 16'384, 130}, parts, owner);
        CHECK(writer.queued_bytes() == 9 + 13 + 16'384 + 9 + 13 + 130);
        co_await writer.flush();
        const byte_view all = file.bytes;
        byte_vector pieced(all.begin() + 49'990, all.end());
        pieced.resize(110);
        pieced.insert(pieced.end(), all.begin(), all.begin() + 20);
        const std::vector<wire::message> expected{wire::have{1}, wire::piece{2, 0, all.subspan(1000, 16'384)},
                                                  wire::have{2}, wire::piece{2, 16'384, pieced}};
        CHECK(parsed(link.written) == expected);
    });
}

TEST_CASE("the owner of a block's file is kept until the block was sent, and not longer") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_writer writer(link);
        const open_file file(random_bytes(100));
        auto owner = std::make_shared<int>(1);
        const std::weak_ptr<int> watched = owner;
        const std::vector<segment> data{file_slice{file.handle, 0, 100}};
        writer.queue_block({0, 0, 100}, data, std::move(owner));
        CHECK_FALSE(watched.expired());
        co_await writer.flush();
        CHECK(watched.expired());
    });
}

TEST_CASE("what is queued during a flush waits for the next one") {
    run([](network& net) -> asio::awaitable<void> {
        const stream_pair pair = co_await tcp_pair(net);
        message_writer writer(*pair.first);
        const byte_vector large = random_bytes(1024 * 1024 - 2);
        for (int i = 0; i < 16; ++i) writer.queue(wire::extended{1, large});
        const std::size_t first_part = writer.queued_bytes();
        task_group flushing(net.executor());
        flushing.spawn(flush_one(writer));
        const auto begun = [&] { return writer.empty(); };
        co_await eventually(net, begun);
        CHECK(writer.queued_bytes() == first_part);
        writer.queue(wire::have{9});
        CHECK(writer.queued_bytes() == first_part + 9);
        CHECK_FALSE(writer.empty());
        byte_vector in(first_part);
        co_await read_exactly(*pair.second, in);
        co_await flushing.join();
        CHECK(writer.queued_bytes() == 9);
        co_await writer.flush();
        byte_vector last(9);
        co_await read_exactly(*pair.second, last);
        CHECK(last == wire::encode(wire::have{9}));
    });
}

TEST_CASE("over TCP a file range arrives as the file has it") {
    run([](network& net) -> asio::awaitable<void> {
        const stream_pair pair = co_await tcp_pair(net);
        message_writer writer(*pair.first);
        const open_file file(random_bytes(3 * 16'384));
        for (std::uint32_t i = 0; i < 3; ++i) {
            const std::vector<segment> data{file_slice{file.handle, i * 16'384, 16'384}};
            writer.queue_block({0, i * 16'384, 16'384}, data, nullptr);
        }
        writer.queue(wire::choke{});
        byte_vector in(writer.queued_bytes());
        co_await writer.flush();
        co_await read_exactly(*pair.second, in);
        const auto messages = parsed(in);
        CHECK(messages.size() == 4);
        for (std::uint32_t i = 0; i < 3; ++i) {
            const byte_view expected = byte_view(file.bytes).subspan(i * 16'384, 16'384);
            CHECK(messages[i] == wire::message(wire::piece{0, i * 16'384, expected}));
        }
    });
}

TEST_CASE("a file that became shorter is reported, over every carrier") {
    run([](network& net) -> asio::awaitable<void> {
        const open_file file(random_bytes(20'000));
        const std::vector<segment> data{file_slice{file.handle, 10'000, 16'384}};
        memory_stream memory(net.executor());
        const stream_pair pair = co_await tcp_pair(net);
        stream* const carriers[] = {&memory, pair.first.get()};
        for (stream* const carrier : carriers) {
            message_writer writer(*carrier);
            writer.queue_block({0, 0, 16'384}, data, nullptr);
            std::error_code code;
            try {
                co_await writer.flush();
            } catch (const std::system_error& error) {
                code = error.code();
            }
            CHECK(code == errc::file_changed);
        }
    });
}

TEST_CASE("a failed write throws the stream's error") {
    run([](network& net) -> asio::awaitable<void> {
        memory_stream link(net.executor());
        message_writer writer(link);
        link.fail_writes(std::make_error_code(std::errc::broken_pipe));
        writer.queue(wire::choke{});
        std::error_code code;
        try {
            co_await writer.flush();
        } catch (const std::system_error& error) {
            code = error.code();
        }
        CHECK(code == std::errc::broken_pipe);
    });
}

}  // namespace message_writer_test
