#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include <cohort/core/error.hpp>
#include <cohort/net/task_group.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace task_group_test {

using namespace cohort;

namespace {

asio::awaitable<void> turn(network& net) { co_await asio::post(net.executor(), asio::use_awaitable); }

asio::awaitable<void> count_after(network& net, int turns, int& count) {
    for (int i = 0; i < turns; ++i) co_await turn(net);
    ++count;
}

/// Waits until cancelled, then takes some turns to clean up.
asio::awaitable<void> clean_up_slowly(network& net, int& cleaned) {
    bool cancelled = false;
    try {
        co_await net.sleep_for(1h);
    } catch (const std::system_error& error) {
        cancelled = is_cancellation(error.code());
    }
    if (!cancelled) co_return;
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    for (int i = 0; i < 5; ++i) co_await turn(net);
    ++cleaned;
}

asio::awaitable<void> fail_after(network& net, int turns, errc how) {
    for (int i = 0; i < turns; ++i) co_await turn(net);
    raise(how);
}

asio::awaitable<void> join_all(network& net, int& count) {
    task_group tasks(net.executor());
    co_await tasks.join();  // nothing to wait for
    for (int i = 0; i < 10; ++i) tasks.spawn(count_after(net, i, count));
    CHECK(tasks.size() == 10);
    CHECK(count == 0);  // none runs inside spawn()
    co_await tasks.join();
    CHECK(tasks.size() == 0);
    tasks.spawn(count_after(net, 0, count));
    co_await tasks.join();
}

asio::awaitable<void> fail_one(network& net, int& cleaned, std::error_code& error, int& joined_with) {
    task_group tasks(net.executor());
    for (int i = 0; i < 3; ++i) tasks.spawn(clean_up_slowly(net, cleaned));
    tasks.spawn(fail_after(net, 2, errc::choked));
    tasks.spawn(fail_after(net, 2, errc::rejected));
    co_await test::store_error(error, tasks.join());
    joined_with = cleaned;
}

asio::awaitable<void> cancel_group(network& net, int& cleaned) {
    task_group tasks(net.executor());
    for (int i = 0; i < 3; ++i) tasks.spawn(clean_up_slowly(net, cleaned));
    co_await turn(net);
    tasks.cancel();
    tasks.cancel();
    co_await tasks.join();
    CHECK(cleaned == 3);
    tasks.spawn(clean_up_slowly(net, cleaned));  // starts cancelled
    co_await tasks.join();
}

asio::awaitable<void> join_in(network& net, int& cleaned, std::error_code& error) {
    task_group inner(net.executor());
    for (int i = 0; i < 3; ++i) inner.spawn(clean_up_slowly(net, cleaned));
    co_await test::store_error(error, inner.join());
    CHECK(cleaned == 3);  // cancelled, and waited for
    CHECK(inner.size() == 0);
}

asio::awaitable<void> cancel_join(network& net, int& cleaned, std::error_code& error) {
    task_group outer(net.executor());
    outer.spawn(join_in(net, cleaned, error));
    co_await turn(net);
    co_await turn(net);
    outer.cancel();
    co_await outer.join();
}

asio::awaitable<void> throw_plain() {
    throw std::runtime_error("plain");
    co_return;
}

asio::awaitable<void> fail_plainly(network& net, std::string& what) {
    task_group tasks(net.executor());
    tasks.spawn(throw_plain());
    try {
        co_await tasks.join();
    } catch (const std::runtime_error& error) {
        what = error.what();
    }
}

asio::awaitable<void> grow(network& net, task_group& tasks, int depth, int& count) {
    co_await turn(net);
    ++count;
    if (depth == 0) co_return;
    tasks.spawn(grow(net, tasks, depth - 1, count));
    tasks.spawn(grow(net, tasks, depth - 1, count));
}

asio::awaitable<void> spawn_from_tasks(network& net, int& count) {
    task_group tasks(net.executor());
    tasks.spawn(grow(net, tasks, 6, count));
    co_await tasks.join();
}

}  // namespace

TEST_CASE("join waits for every task") {
    int count = 0;
    test::run([&](network& net) { return join_all(net, count); });
    CHECK(count == 11);
}

TEST_CASE("a task that fails cancels the others; join waits for them and throws the first failure") {
    int cleaned = 0;
    int at_join = 0;
    std::error_code error;
    test::run([&](network& net) { return fail_one(net, cleaned, error, at_join); });
    CHECK(error == errc::choked);
    CHECK(at_join == 3);
}

TEST_CASE("cancel ends all tasks in their own order, and those spawned later too") {
    int cleaned = 0;
    test::run([&](network& net) { return cancel_group(net, cleaned); });
    CHECK(cleaned == 4);
}

TEST_CASE("cancelling join cancels the tasks and still waits for them") {
    int cleaned = 0;
    std::error_code error;
    test::run([&](network& net) { return cancel_join(net, cleaned, error); });
    CHECK(is_cancellation(error));
}

TEST_CASE("an exception of any type arrives at join") {
    std::string what;
    test::run([&](network& net) { return fail_plainly(net, what); });
    CHECK(what == "plain");
}

TEST_CASE("tasks may spawn tasks") {
    int count = 0;
    test::run([&](network& net) { return spawn_from_tasks(net, count); });
    CHECK(count == 127);
}

TEST_CASE("a group and its tasks that the context destroys in the middle leave nothing behind") {
    int cleaned = 0;
    asio::io_context io(1);
    real_network net(io.get_executor());
    std::optional<task_group> tasks(std::in_place, net.executor());
    tasks->spawn(clean_up_slowly(net, cleaned));
    io.poll();
    tasks->cancel();
    SUBCASE("the group first") { tasks.reset(); }
    SUBCASE("the context first") {}
    CHECK(cleaned == 0);
}

TEST_CASE("a group that goes before the first turn starts nothing, whoever else of it goes on") {
    test::run([](network& net) -> asio::awaitable<void> {
        int count = 0;
        auto tasks = std::make_unique<task_group>(net.executor());
        tasks->spawn(count_after(net, 3, count));
        co_await turn(net);
        tasks->spawn(count_after(net, 0, count));
        tasks.reset();
        for (int i = 0; i < 10; ++i) co_await turn(net);
        CHECK(count == 1);
        tasks = std::make_unique<task_group>(net.executor());
        tasks->spawn(count_after(net, 0, count));
        tasks.reset();
        for (int i = 0; i < 10; ++i) co_await turn(net);
        CHECK(count == 1);
    });
}

}  // namespace task_group_test
