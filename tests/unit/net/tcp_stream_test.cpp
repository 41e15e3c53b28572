#include <doctest/doctest.h>

#include <unistd.h>

#include <cohort/net/task_group.hpp>
#include <cohort/net/tcp_stream.hpp>

#include "support/net.hpp"
#include "support/open_file.hpp"
#include "support/run.hpp"
#include "support/stream_pair.hpp"

namespace tcp_stream_test {

using namespace cohort;

namespace {

byte_vector pattern(std::size_t size, std::uint32_t seed) {
    byte_vector out(size);
    random_engine(seed).fill(out);
    return out;
}

asio::awaitable<void> write_buffers(stream& link, std::vector<byte_view> buffers, bool& done) {
    co_await link.write(buffers);
    done = true;
}

asio::awaitable<void> write_much(network& net) {
    auto pair = co_await test::tcp_pair(net);
    // Far more than both socket buffers, in more parts than one system call takes, some of them empty.
    std::vector<byte_vector> parts;
    byte_vector all;
    for (std::uint32_t i = 0; i < 400; ++i) {
        parts.push_back(pattern(i % 7 == 0 ? 0 : i % 5 == 0 ? 1 : 100'000, i));
        all.insert(all.end(), parts.back().begin(), parts.back().end());
    }
    const std::vector<byte_view> views(parts.begin(), parts.end());
    bool done = false;
    task_group tasks(net.executor());
    tasks.spawn(write_buffers(*pair.first, views, done));
    byte_vector got(all.size());
    const byte_span first = byte_span(got).first(1);
    co_await read_exactly(*pair.second, first);
    CHECK_FALSE(done);
    const byte_span rest = byte_span(got).subspan(1);
    co_await read_exactly(*pair.second, rest);
    co_await tasks.join();
    CHECK(done);
    CHECK(got == all);
}

asio::awaitable<void> write_nothing(network& net) {
    auto pair = co_await test::tcp_pair(net);
    const std::vector<byte_view> none;
    co_await pair.first->write(none);
    const std::vector<byte_view> empty(3);
    co_await pair.first->write(empty);
    co_await write_all(*pair.first, as_bytes("x"));
    byte_vector buffer(10);
    const std::size_t got = co_await pair.second->read_some(buffer);
    CHECK(got == 1);
}

asio::awaitable<void> write_parts(stream& link, std::vector<segment> segments) {
    co_await link.write_segments(segments);
}

asio::awaitable<void> send_files(network& net) {
    auto pair = co_await test::tcp_pair(net);
    const byte_vector content = pattern(5'000'000, 1);
    const byte_vector head = pattern(13, 2);
    const test::open_file file(content);
    const std::vector<segment> segments{byte_view(head),
                                        file_slice{file.handle, 1'000'000, 16'384},
                                        byte_view(head),
                                        file_slice{file.handle, 0, 0},
                                        file_slice{file.handle, 0, 5'000'000},
                                        byte_view(),
                                        file_slice{file.handle, 4'999'999, 1},
                                        byte_view(head)};
    byte_vector wanted;
    for (const segment& part : segments) {
        if (const auto* const slice = std::get_if<file_slice>(&part)) {
            const byte_view range = byte_view(content).subspan(slice->offset, slice->length);
            wanted.insert(wanted.end(), range.begin(), range.end());
        } else {
            const byte_view bytes = std::get<byte_view>(part);
            wanted.insert(wanted.end(), bytes.begin(), bytes.end());
        }
    }
    task_group tasks(net.executor());
    tasks.spawn(write_parts(*pair.first, segments));
    byte_vector got(wanted.size());
    co_await read_exactly(*pair.second, got);
    co_await tasks.join();
    CHECK(got == wanted);
}

asio::awaitable<void> send_cut_file(network& net, std::error_code& error) {
    auto pair = co_await test::tcp_pair(net);
    const test::open_file file(pattern(100'000, 1));
    REQUIRE(::ftruncate(file.handle, 60'000) == 0);
    const std::vector<segment> segments{file_slice{file.handle, 50'000, 20'000}};
    co_await test::store_error(error, pair.first->write_segments(segments));
}

asio::awaitable<void> send_bad_handle(network& net, std::error_code& error) {
    auto pair = co_await test::tcp_pair(net);
    const std::vector<segment> segments{file_slice{-1, 0, 10}};
    co_await test::store_error(error, pair.first->write_segments(segments));
}

asio::awaitable<void> end_in_order(network& net) {
    auto pair = co_await test::tcp_pair(net);
    co_await write_all(*pair.first, as_bytes("last words"));
    pair.first->finish();
    byte_vector buffer(100);
    std::size_t got = co_await pair.second->read_some(buffer);
    CHECK(as_text(byte_view(buffer).first(got)) == "last words");
    got = co_await pair.second->read_some(buffer);
    CHECK(got == 0);
    // Only one direction has ended.
    co_await write_all(*pair.second, as_bytes("answer"));
    got = co_await pair.first->read_some(buffer);
    CHECK(got == 6);
    pair.second->close();
    std::error_code closed;
    co_await test::store_error(closed, read_exactly(*pair.first, buffer));
    CHECK(closed == errc::connection_closed);
}

asio::awaitable<void> write_to_the_gone(network& net, std::error_code& error) {
    auto pair = co_await test::tcp_pair(net);
    pair.second->close();
    while (!error) co_await test::store_error(error, write_all(*pair.first, as_bytes("anybody there?")));
}

asio::awaitable<void> close_under_both(network& net, std::error_code& read_error, std::error_code& write_error) {
    auto pair = co_await test::tcp_pair(net);
    byte_vector buffer(1);
    const byte_vector much(50'000'000);
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(read_error, read_exactly(*pair.first, buffer)));
    tasks.spawn(test::store_error(write_error, write_all(*pair.first, much)));
    byte_vector first(1);
    co_await read_exactly(*pair.second, first);  // both are under way
    pair.first->close();
    pair.first->close();
    co_await tasks.join();
    std::error_code later;
    co_await test::store_error(later, read_exactly(*pair.first, buffer));
    CHECK(is_cancellation(later));
    later.clear();
    co_await test::store_error(later, write_all(*pair.first, buffer));
    CHECK(is_cancellation(later));
}

asio::awaitable<void> cancel_read(network& net) {
    auto pair = co_await test::tcp_pair(net);
    byte_vector buffer(10);
    std::error_code error;
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, read_exactly(*pair.second, buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    tasks.cancel();
    co_await tasks.join();
    CHECK(is_cancellation(error));
    // Nothing was lost, and the stream still works.
    co_await write_all(*pair.first, as_bytes("0123456789"));
    co_await read_exactly(*pair.second, buffer);
    CHECK(as_text(buffer) == "0123456789");
}

asio::awaitable<void> wait_until_readable(network& net) {
    auto pair = co_await test::tcp_pair(net);
    std::error_code error;
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, pair.second->readable()));
    co_await asio::post(net.executor(), asio::use_awaitable);
    tasks.cancel();
    co_await tasks.join();
    CHECK(is_cancellation(error));
    co_await write_all(*pair.first, as_bytes("x"));
    co_await pair.second->readable();
    byte_vector buffer(10);
    const std::size_t got = co_await pair.second->read_some(buffer);
    CHECK(got == 1);
    CHECK(pair.first->remote_endpoint() == pair.second->local_endpoint());
    CHECK(pair.first->local_endpoint() == pair.second->remote_endpoint());
}

asio::awaitable<void> count_turns(network& net, int& turns) {
    for (;; ++turns) co_await asio::post(net.executor(), asio::use_awaitable);
}

asio::awaitable<void> read_what_is_there(network& net, int& turns) {
    auto pair = co_await test::tcp_pair(net);
    const byte_vector all(200);
    co_await write_all(*pair.first, all);
    co_await pair.second->readable();
    task_group tasks(net.executor());
    tasks.spawn(count_turns(net, turns));
    byte_vector one(1);
    for (std::size_t i = 0; i < all.size(); ++i) co_await read_exactly(*pair.second, one);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("others have their turns while the bytes come faster than they are read") {
    int turns = 0;
    test::run([&](network& net) { return read_what_is_there(net, turns); });
    CHECK(turns >= 10);
}

TEST_CASE("a gathered write beyond the socket buffer arrives whole and in order") { test::run(&write_much); }

TEST_CASE("writing nothing completes") { test::run(&write_nothing); }

TEST_CASE("memory and file ranges go out in their order") { test::run(&send_files); }

TEST_CASE("a file that ends before its range does has changed") {
    std::error_code error;
    test::run([&](network& net) { return send_cut_file(net, error); });
    CHECK(error == errc::file_changed);
}

TEST_CASE("a file that cannot be read is the system's error") {
    std::error_code error;
    test::run([&](network& net) { return send_bad_handle(net, error); });
    CHECK(error == std::errc::bad_file_descriptor);
}

TEST_CASE("the end of one direction is read as such, and the other goes on") { test::run(&end_in_order); }

TEST_CASE("writing to somebody who is gone fails, and not as a cancellation") {
    std::error_code error;
    test::run([&](network& net) { return write_to_the_gone(net, error); });
    const bool right = error == std::errc::broken_pipe || error == std::errc::connection_reset;
    CHECK_MESSAGE(right, error.message());
}

TEST_CASE("close ends a pending read and a pending write, and all later ones") {
    std::error_code read_error;
    std::error_code write_error;
    test::run([&](network& net) { return close_under_both(net, read_error, write_error); });
    CHECK(is_cancellation(read_error));
    CHECK(is_cancellation(write_error));
}

TEST_CASE("a cancelled read loses no byte") { test::run(&cancel_read); }

TEST_CASE("readable waits for data, without taking it") { test::run(&wait_until_readable); }

}  // namespace tcp_stream_test
