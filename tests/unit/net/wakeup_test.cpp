#include <doctest/doctest.h>

#include <cohort/net/task_group.hpp>
#include <cohort/net/wakeup.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace wakeup_test {

using namespace cohort;

namespace {

asio::awaitable<void> wait_and_count(wakeup& changed, int& woken) {
    co_await changed.wait();
    ++woken;
}

asio::awaitable<void> notify_all(network& net, int& woken) {
    wakeup changed(net.executor());
    task_group tasks(net.executor());
    changed.notify();  // nobody waits yet, so this is forgotten
    for (int i = 0; i < 3; ++i) tasks.spawn(wait_and_count(changed, woken));
    co_await asio::post(net.executor(), asio::use_awaitable);
    CHECK(woken == 0);
    changed.notify();
    co_await tasks.join();
}

asio::awaitable<void> cancel_one(network& net, int& woken, std::error_code& error) {
    wakeup changed(net.executor());
    task_group others(net.executor());
    task_group cancelled(net.executor());
    others.spawn(wait_and_count(changed, woken));
    cancelled.spawn(test::store_error(error, changed.wait()));
    co_await asio::post(net.executor(), asio::use_awaitable);
    cancelled.cancel();
    co_await cancelled.join();
    CHECK(woken == 0);
    changed.notify();
    co_await others.join();
}

asio::awaitable<void> hand_over(network& net, std::vector<int>& taken) {
    struct sides {
        static asio::awaitable<void> produce(network& world, std::vector<int>& queue, wakeup& changed) {
            for (int i = 0; i < 100; ++i) {
                queue.push_back(i);
                changed.notify();
                if (i % 3 == 0) co_await asio::post(world.executor(), asio::use_awaitable);
            }
        }
    };
    wakeup changed(net.executor());
    std::vector<int> queue;
    task_group tasks(net.executor());
    tasks.spawn(sides::produce(net, queue, changed));
    while (taken.size() < 100) {
        while (queue.empty()) co_await changed.wait();
        taken.insert(taken.end(), queue.begin(), queue.end());
        queue.clear();
    }
    co_await tasks.join();
}

}  // namespace

TEST_CASE("notify resumes everybody who waits now, and nobody who comes later") {
    int woken = 0;
    test::run([&](network& net) { return notify_all(net, woken); });
    CHECK(woken == 3);
}

TEST_CASE("cancelling one waiter is a cancellation for it and nothing for the others") {
    int woken = 0;
    std::error_code error;
    test::run([&](network& net) { return cancel_one(net, woken, error); });
    CHECK(is_cancellation(error));
    CHECK(woken == 1);
}

TEST_CASE("a queue guarded by a wakeup loses nothing") {
    std::vector<int> taken;
    test::run([&](network& net) { return hand_over(net, taken); });
    REQUIRE(taken.size() == 100);
    for (int i = 0; i < 100; ++i) CHECK(taken[static_cast<std::size_t>(i)] == i);
}

}  // namespace wakeup_test
