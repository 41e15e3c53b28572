#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <cohort/net/task_group.hpp>
#include <cohort/swarm/run_job.hpp>

#include "support/eventually.hpp"
#include "support/net.hpp"
#include "support/run.hpp"

namespace run_job_test {

using namespace cohort;
using namespace cohort::test;

namespace {

struct cancelled_job {
    std::atomic<bool> go_on = false;
    std::atomic<bool> begun = false;
    std::atomic<bool> over = false;
    bool returned = false;
    bool went_on = false;
};

asio::awaitable<void> run_and_go_on(network& net, job_runner& pool, cancelled_job& job) {
    const auto work = [&job] {
        job.begun = true;
        while (!job.go_on) std::this_thread::yield();
        job.over = true;
    };
    co_await run_job(pool, 0, work);
    job.returned = true;
    co_await net.sleep_for(1h);
    job.went_on = true;
}

}  // namespace

TEST_CASE("a job runs on another thread, and its result comes back on ours") {
    run([](network& net) -> asio::awaitable<void> {
        worker_pool pool(1);
        const std::thread::id here = std::this_thread::get_id();
        const auto work = [] { return std::this_thread::get_id(); };
        const std::thread::id there = co_await run_job(pool, 0, work);
        CHECK(there != here);
        CHECK(std::this_thread::get_id() == here);
        const auto text = [] { return std::make_unique<std::string>("moved, not copied"); };
        const std::unique_ptr<std::string> words = co_await run_job(pool, 0, text);
        CHECK(*words == "moved, not copied");
        static_cast<void>(net);
    });
}

TEST_CASE("what a job throws comes out of the wait") {
    run([](network&) -> asio::awaitable<void> {
        worker_pool pool(1);
        const auto fails = [] { throw std::runtime_error("no such luck"); };
        std::string words;
        try {
            co_await run_job(pool, 0, fails);
        } catch (const std::runtime_error& error) {
            words = error.what();
        }
        CHECK(words == "no such luck");
    });
}

TEST_CASE("jobs of one lane run in the order in which they were started") {
    run([](network& net) -> asio::awaitable<void> {
        worker_pool pool(2);
        std::vector<int> order;
        task_group tasks(net.executor());
        for (int i = 0; i < 20; ++i) {
            const auto work = [&order, i] { order.push_back(i); };
            tasks.spawn(run_job(pool, 3, work));
        }
        co_await tasks.join();
        CHECK(order.size() == 20);
        CHECK(std::is_sorted(order.begin(), order.end()));
    });
}

TEST_CASE("a job is not cancelled halfway: its locals live until it is over, then the cancellation takes effect") {
    run([](network& net) -> asio::awaitable<void> {
        worker_pool pool(1);
        cancelled_job job;
        task_group tasks(net.executor());
        tasks.spawn(run_and_go_on(net, pool, job));
        const auto begun = [&] { return job.begun.load(); };
        co_await eventually(net, begun);
        tasks.cancel();
        for (int turns = 0; turns < 10; ++turns) co_await asio::post(net.executor(), asio::use_awaitable);
        CHECK_FALSE(job.returned);
        job.go_on = true;
        co_await tasks.join();
        CHECK(job.over);
        CHECK_FALSE(job.went_on);
    });
}

TEST_CASE("a pool that ends finishes the jobs whose waiters are gone with their context") {
    worker_pool pool(1);
    cancelled_job job;
    {
        asio::io_context io(1);
        real_network net(io.get_executor());
        asio::co_spawn(io, run_and_go_on(net, pool, job), [](std::exception_ptr) {});
        while (!job.begun) io.poll_one();
        job.go_on = true;
        io.run_one();
        // The context must not go before the job has let go of it, which it has when the next one runs.
        std::atomic<bool> idle = false;
        pool.post(0, [&idle] { idle = true; });
        while (!idle) std::this_thread::yield();
    }
    CHECK(job.over);
    CHECK_FALSE(job.went_on);
}

}  // namespace run_job_test
