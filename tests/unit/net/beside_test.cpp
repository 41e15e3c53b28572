#include <doctest/doctest.h>

#include <ostream>
#include <string>

#include <cohort/net/beside.hpp>
#include <cohort/net/task_group.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace beside_test {

using namespace cohort;

namespace {

/// Waits for ever and says how it ended.
asio::awaitable<void> wait_forever(network& net, std::string& end) {
    try {
        co_await net.sleep_for(1h);
    } catch (const std::system_error& error) {
        end = is_cancellation(error.code()) ? "cancelled" : "failed";
        throw;
    }
}

asio::awaitable<int> answer(network& net) {
    co_await net.sleep_for(1ms);
    co_return 42;
}

asio::awaitable<void> fail(network& net, errc how) {
    co_await net.sleep_for(1ms);
    raise(how);
}

/// Fails after the group has ended, whatever is asked of it meanwhile.
asio::awaitable<void> fail_after(network& net, task_group& background, errc how) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    while (background.size() > 0) co_await net.sleep_for(1ms);
    co_await net.sleep_for(1ms);
    raise(how);
}

asio::awaitable<void> end_soon(network& net) { co_await net.sleep_for(1ms); }

asio::awaitable<void> both_forever(network& net, std::error_code& error, std::string& background, std::string& op) {
    co_await test::store_error(error, beside(wait_forever(net, background), wait_forever(net, op)));
}

}  // namespace

TEST_CASE("the result of the operation comes through, and the background has been cancelled by then") {
    test::run([](network& net) -> asio::awaitable<void> {
        std::string background;
        const int got = co_await beside(wait_forever(net, background), answer(net));
        CHECK(got == 42);
        CHECK(background == "cancelled");
    });
}

TEST_CASE("the operation's exception comes through, and the background has been cancelled by then") {
    test::run([](network& net) -> asio::awaitable<void> {
        std::string background;
        std::error_code error;
        co_await test::store_error(error, beside(wait_forever(net, background), fail(net, errc::choked)));
        CHECK(error == errc::choked);
        CHECK(background == "cancelled");
    });
}

TEST_CASE("a background that fails cancels the operation and is what is thrown") {
    test::run([](network& net) -> asio::awaitable<void> {
        std::string op;
        std::error_code error;
        co_await test::store_error(error, beside(fail(net, errc::connection_closed), wait_forever(net, op)));
        CHECK(error == errc::connection_closed);
        CHECK(op == "cancelled");
    });
}

TEST_CASE("a background that just ends stops the operation") {
    test::run([](network& net) -> asio::awaitable<void> {
        std::string op;
        std::error_code error;
        co_await test::store_error(error, beside(end_soon(net), wait_forever(net, op)));
        CHECK(error == errc::stopped);
        CHECK(op == "cancelled");
    });
}

TEST_CASE("an operation that ends the background while it fails keeps its own reason") {
    test::run([](network& net) -> asio::awaitable<void> {
        std::error_code error;
        task_group background(net.executor());
        background.spawn(end_soon(net));
        co_await test::store_error(error, beside(background.join(), fail_after(net, background, errc::disk_full)));
        CHECK(error == errc::disk_full);
    });
}

TEST_CASE("cancelling cancels both, and reads as cancellation") {
    test::run([](network& net) -> asio::awaitable<void> {
        std::string background, op;
        std::error_code error;
        task_group tasks(net.executor());
        tasks.spawn(both_forever(net, error, background, op));
        co_await net.sleep_for(5ms);
        tasks.cancel();
        co_await tasks.join();
        CHECK(is_cancellation(error));
        CHECK(background == "cancelled");
        CHECK(op == "cancelled");
    });
}

}  // namespace beside_test
