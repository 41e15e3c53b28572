#include <doctest/doctest.h>

#include <string>

#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace timeout_test {

using namespace cohort;

namespace {

asio::awaitable<std::string> succeed(network& net) {
    co_await net.sleep_for(1ms);
    co_return "done";
}

asio::awaitable<std::string> fail(network& net, errc how) {
    co_await net.sleep_for(1ms);
    raise(how);
}

/// Waits for ever and says how it ended, after some more turns of the executor.
asio::awaitable<void> wait_forever(network& net, std::string& end) {
    try {
        co_await net.sleep_for(1h);
    } catch (const std::system_error& error) {
        end = is_cancellation(error.code()) ? "cancelled" : "failed";
        throw;
    }
    end = "returned";
}

struct timing {
    std::error_code error;
    std::string end;
    duration took{0};
};

asio::awaitable<void> limit_forever(network& net, duration limit, timing& out) {
    const time_point start = net.now();
    co_await test::store_error(out.error, with_timeout(net, limit, wait_forever(net, out.end)));
    out.took = net.now() - start;
    CHECK_FALSE(out.end.empty());  // it has ended before with_timeout did
}

asio::awaitable<void> cancel_from_outside(network& net, timing& out) {
    task_group tasks(net.executor());
    tasks.spawn(limit_forever(net, 1h, out));
    co_await net.sleep_for(5ms);
    tasks.cancel();
    co_await tasks.join();
}

/// Both at once: the cancellation of the caller wins.
asio::awaitable<void> cancel_at_the_limit(network& net, timing& out) {
    task_group tasks(net.executor());
    tasks.spawn(limit_forever(net, 0s, out));
    tasks.cancel();
    co_await tasks.join();
}

asio::awaitable<void> fail_fast(network& net, errc how, timing& out) {
    const time_point start = net.now();
    co_await test::store_error(out.error, with_timeout(net, 1h, fail(net, how)));
    out.took = net.now() - start;
}

asio::awaitable<void> return_in_time(network& net, std::string& out) {
    out = co_await with_timeout(net, 1h, succeed(net));
}

/// Own cancellation of the operation, not of the caller.
asio::awaitable<void> throw_own_cancellation() {
    throw_cancelled();
    co_return;
}

asio::awaitable<void> inner_cancellation(network& net, std::error_code& out) {
    co_await test::store_error(out, with_timeout(net, 1h, throw_own_cancellation()));
}

asio::awaitable<void> nest(network& net, timing& out) {
    const time_point start = net.now();
    co_await test::store_error(out.error, with_timeout(net, 5ms, with_timeout(net, 1h, wait_forever(net, out.end))));
    out.took = net.now() - start;
}

asio::awaitable<void> close_while_waiting(network& net, std::error_code& out) {
    auto door = net.listen({ip_address::loopback_v4(), 0});
    auto link = co_await net.connect(door->local_endpoint());
    auto other = co_await door->accept();
    other->close();
    byte_vector buffer(1);
    co_await test::store_error(out, with_timeout(net, 1h, read_exactly(*link, buffer)));
}

}  // namespace

TEST_CASE("what ends in time gives its result") {
    std::string out;
    test::run([&](network& net) { return return_in_time(net, out); });
    CHECK(out == "done");
}

TEST_CASE("what does not end in time is cancelled, has ended, and is reported as timed out") {
    timing out;
    test::run([&](network& net) { return limit_forever(net, 20ms, out); });
    CHECK(out.error == errc::timed_out);
    CHECK(out.end == "cancelled");
    CHECK(out.took >= 20ms);
    CHECK(out.took < 10s);
}

TEST_CASE("a limit that has passed already is a timeout") {
    timing out;
    test::run([&](network& net) { return limit_forever(net, -1s, out); });
    CHECK(out.error == errc::timed_out);
}

TEST_CASE("a fast failure is that failure, at once, and never a timeout") {
    for (const errc how : {errc::choked, errc::connection_closed}) {
        timing out;
        test::run([&](network& net) { return fail_fast(net, how, out); });
        CHECK(out.error == how);
        CHECK(out.took < 10s);
    }
}

TEST_CASE("a closed connection is a closed connection") {
    std::error_code error;
    test::run([&](network& net) { return close_while_waiting(net, error); });
    CHECK(error == errc::connection_closed);
}

TEST_CASE("cancelling the caller is a cancellation, also when the limit passes at the same time") {
    timing out;
    test::run([&](network& net) { return cancel_from_outside(net, out); });
    CHECK(is_cancellation(out.error));
    CHECK(out.end == "cancelled");
    out = {};
    test::run([&](network& net) { return cancel_at_the_limit(net, out); });
    CHECK(is_cancellation(out.error));
}

TEST_CASE("a cancellation that the operation throws by itself comes through") {
    std::error_code error;
    test::run([&](network& net) { return inner_cancellation(net, error); });
    CHECK(is_cancellation(error));
}

TEST_CASE("the outer of two limits counts when it is the shorter one") {
    timing out;
    test::run([&](network& net) { return nest(net, out); });
    CHECK(out.error == errc::timed_out);
    CHECK(out.end == "cancelled");
    CHECK(out.took < 10s);
}

}  // namespace timeout_test
