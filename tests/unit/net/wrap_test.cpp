#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdlib>

#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/wrap.hpp>

#include "support/net.hpp"
#include "support/run.hpp"
#include "support/stream_pair.hpp"

namespace wrap_test {

using namespace cohort;

namespace {

asio::awaitable<void> talk(network& net) {
    auto pair = test::unix_pair(net);
    const std::vector<byte_view> parts{as_bytes("one "), {}, as_bytes("two")};
    co_await pair.first->write(parts);
    co_await pair.second->readable();
    byte_vector buffer(7);
    co_await read_exactly(*pair.second, buffer);
    CHECK(as_text(buffer) == "one two");
    co_await write_all(*pair.second, as_bytes("back"));
    const std::size_t got = co_await pair.first->read_some(buffer);
    CHECK(got == 4);
}

void name() {
    asio::io_context io(1);
    const endpoint remote{ip_address::loopback_v4(), 1};
    const endpoint local{ip_address::loopback_v4(), 2};
    const auto named = wrap(asio::local::stream_protocol::socket(io), remote, local);
    CHECK(named->remote_endpoint() == remote);
    CHECK(named->local_endpoint() == local);
    const auto nameless = wrap(asio::local::stream_protocol::socket(io));
    CHECK(nameless->remote_endpoint() == endpoint{});
}

asio::awaitable<void> write_much(network& net) {
    auto pair = test::unix_pair(net);
    byte_vector much(5'000'000);
    random_engine(1).fill(much);
    task_group tasks(net.executor());
    tasks.spawn(write_all(*pair.first, much));
    byte_vector got(much.size());
    co_await read_exactly(*pair.second, got);
    co_await tasks.join();
    CHECK(got == much);
}

struct temporary_file {
    explicit temporary_file(std::string_view content) {
        char path[] = "/tmp/cohort-test-XXXXXX";
        handle = ::mkstemp(path);
        ::unlink(path);
        REQUIRE(::write(handle, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    }
    ~temporary_file() { ::close(handle); }
    int handle;
};

asio::awaitable<void> send_file(network& net, std::error_code& cut) {
    auto pair = test::unix_pair(net);
    const temporary_file file("0123456789");
    const std::vector<segment> segments{as_bytes("<"), file_slice{file.handle, 3, 4}, as_bytes(">")};
    co_await pair.first->write_segments(segments);
    byte_vector buffer(6);
    co_await read_exactly(*pair.second, buffer);
    CHECK(as_text(buffer) == "<3456>");
    const std::vector<segment> beyond{file_slice{file.handle, 8, 4}};
    co_await test::store_error(cut, pair.first->write_segments(beyond));
}

asio::awaitable<void> end(network& net) {
    auto pair = test::unix_pair(net);
    pair.first->close();
    pair.first->close();
    byte_vector buffer(1);
    const std::size_t got = co_await pair.second->read_some(buffer);
    CHECK(got == 0);
    std::error_code error;
    co_await test::store_error(error, write_all(*pair.second, as_bytes("x")));
    CHECK(error == std::errc::broken_pipe);
}

asio::awaitable<void> cancel_and_close(network& net) {
    auto pair = test::unix_pair(net);
    byte_vector buffer(3);
    std::error_code error;
    co_await test::store_error(error, with_timeout(net, 5ms, read_exactly(*pair.second, buffer)));
    CHECK(error == errc::timed_out);
    co_await write_all(*pair.first, as_bytes("abc"));
    co_await read_exactly(*pair.second, buffer);
    CHECK(as_text(buffer) == "abc");

    error.clear();
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, read_exactly(*pair.second, buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    pair.second->close();
    co_await tasks.join();
    CHECK(is_cancellation(error));
}

}  // namespace

TEST_CASE("a wrapped Unix socket carries bytes both ways") { test::run(&talk); }

TEST_CASE("a wrapped stream has the names it was given") { name(); }

TEST_CASE("a wrapped stream writes all, however little its socket takes at once") { test::run(&write_much); }

TEST_CASE("a wrapped stream sends file ranges through memory and notices a file that is too short") {
    std::error_code cut;
    test::run([&](network& net) { return send_file(net, cut); });
    CHECK(cut == errc::file_changed);
}

TEST_CASE("the end of a wrapped stream is an end for its reader and an error for its writer") { test::run(&end); }

TEST_CASE("a wrapped stream's read can be cancelled without loss, and is ended by close") {
    test::run(&cancel_and_close);
}

}  // namespace wrap_test
