#include <doctest/doctest.h>

#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/swarm/events.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace events_test {

using namespace cohort;
using namespace cohort::test;

namespace {

piece_index piece_of(const torrent_event& one) { return std::get<event::piece_verified>(one).piece; }

}  // namespace

TEST_CASE("events come in the order in which they happened, to whoever waits or comes later") {
    run([](network& net) -> asio::awaitable<void> {
        event_queue queue(net.executor());
        torrent_event first;
        task_group waiting(net.executor());
        waiting.spawn(store(first, queue.next()));
        co_await asio::post(net.executor(), asio::use_awaitable);
        for (piece_index piece = 1; piece <= 3; ++piece) queue.push(event::piece_verified{piece});
        co_await waiting.join();
        CHECK(piece_of(first) == 1);
        const torrent_event second = co_await queue.next();
        const torrent_event third = co_await queue.next();
        CHECK(piece_of(second) == 2);
        CHECK(piece_of(third) == 3);
    });
}

TEST_CASE("when nobody takes events, the oldest make room") {
    run([](network& net) -> asio::awaitable<void> {
        event_queue queue(net.executor());
        for (piece_index piece = 0; piece < 5000; ++piece) queue.push(event::piece_verified{piece});
        piece_index expected = 5000 - event_queue::capacity;
        for (; expected < 5000; ++expected) {
            const torrent_event one = co_await queue.next();
            CHECK(piece_of(one) == expected);
        }
        std::error_code code;
        co_await store_error(code, with_timeout(net, 10ms, queue.next()));
        CHECK(code == errc::timed_out);
    });
}

TEST_CASE("a cancelled wait takes no event") {
    run([](network& net) -> asio::awaitable<void> {
        event_queue queue(net.executor());
        std::error_code code;
        co_await store_error(code, with_timeout(net, 10ms, queue.next()));
        CHECK(code == errc::timed_out);
        queue.push(event::piece_verified{7});
        const torrent_event one = co_await queue.next();
        CHECK(piece_of(one) == 7);
    });
}

}  // namespace events_test
