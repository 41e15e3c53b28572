#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/storage/worker_pool.hpp>

namespace worker_pool_test {

using namespace cohort;

TEST_CASE("the jobs of one lane run in order and on one thread") {
    constexpr std::uint32_t lanes = 5;
    std::vector<std::vector<int>> seen(lanes);
    std::vector<std::set<std::thread::id>> threads(lanes);
    {
        worker_pool pool(3);
        CHECK(pool.concurrency() == 3);
        for (int i = 0; i < 1000; ++i)
            for (std::uint32_t lane = 0; lane < lanes; ++lane)
                pool.post(lane, [&seen, &threads, lane, i] {
                    seen[lane].push_back(i);
                    threads[lane].insert(std::this_thread::get_id());
                });
    }
    std::set<std::thread::id> all;
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
        REQUIRE(seen[lane].size() == 1000);
        CHECK(std::is_sorted(seen[lane].begin(), seen[lane].end()));
        CHECK(threads[lane].size() == 1);
        all.insert(threads[lane].begin(), threads[lane].end());
    }
    CHECK(all.size() == 3);
    CHECK(threads[0] == threads[3]);
}

TEST_CASE("lanes of different threads do not wait for one another") {
    std::promise<void> go, done;
    worker_pool pool(2);
    pool.post(0, [&] { go.get_future().wait(); });
    pool.post(1, [&] { done.set_value(); });
    done.get_future().wait();
    go.set_value();
}

TEST_CASE("ending a pool finishes what is queued and what that posts to any lane") {
    std::atomic<int> ran = 0;
    {
        worker_pool pool(2);
        for (std::uint32_t i = 0; i < 100; ++i)
            pool.post(i, [&pool, &ran, i] {
                ++ran;
                pool.post(i + 1, [&pool, &ran, i] {
                    ++ran;
                    pool.post(i + 2, [&ran] { ++ran; });
                });
            });
    }
    CHECK(ran == 300);
}

TEST_CASE("what a job holds is given up before the pool counts it as done") {
    const auto held = std::make_shared<int>(1);
    {
        worker_pool pool(1);
        pool.post(0, [held] {});
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("slices cover everything once, in steps") {
    worker_pool pool(3);
    for (const std::uint32_t count : {0u, 1u, 7u, 1000u}) {
        std::vector<std::atomic<int>> seen(count);
        std::atomic<bool> small = true;
        run_slices(pool, count, 7, [&](std::uint32_t first, std::uint32_t last) {
            if (last <= first || last - first > 7) small = false;
            for (std::uint32_t i = first; i < last; ++i) ++seen[i];
            return true;
        });
        CHECK(small);
        CHECK(std::all_of(seen.begin(), seen.end(), [](const std::atomic<int>& n) { return n == 1; }));
    }
    // Nearly as far as a number goes: the next slice's begin must not wrap around.
    std::atomic<std::uint32_t> highest = 0;
    run_slices(pool, 0xffffffff, 0xf0000000, [&](std::uint32_t, std::uint32_t last) {
        if (last == 0xffffffff) highest = last;
        return true;
    });
    CHECK(highest == 0xffffffff);
}

TEST_CASE("slices end early when asked to, and pass on what was thrown") {
    worker_pool pool(2);
    std::atomic<int> calls = 0;
    run_slices(pool, 1'000'000, 1, [&](std::uint32_t, std::uint32_t) { return ++calls < 10; });
    CHECK(calls >= 10);
    CHECK(calls <= 11);
    CHECK_THROWS_WITH_AS(run_slices(pool, 1'000'000, 1,
                                    [&](std::uint32_t first, std::uint32_t) -> bool {
                                        if (first >= 5) throw std::runtime_error("five");
                                        return true;
                                    }),
                         "five", std::runtime_error);
}

}  // namespace worker_pool_test
