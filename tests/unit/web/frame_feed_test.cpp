#include <doctest/doctest.h>

#include <cohort/web/frame_feed.hpp>

#include "support/heap.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/stream_pair.hpp"

namespace frame_feed_test {

using namespace cohort;
using namespace cohort::test;

namespace {

std::string shout(std::string_view said) { return said == "hush" ? "" : std::string(said) + "!"; }

struct listener_pair {
    std::unique_ptr<websocket> listener;
    std::unique_ptr<websocket> ours;
};

asio::awaitable<listener_pair> met(network& net) {
    stream_pair links = co_await tcp_pair(net);
    listener_pair out;
    out.listener = std::make_unique<websocket>(net, std::move(links.first), websocket_role::client);
    out.ours = std::make_unique<websocket>(net, std::move(links.second), websocket_role::server);
    co_return out;
}

asio::awaitable<std::string> hear(websocket& from) {
    const websocket_message message = co_await from.receive();
    co_return std::string(message.text());
}

}  // namespace

TEST_CASE("listeners hear what is told, and answers to what they said, until they go") {
    run([](network& net) -> asio::awaitable<void> {
        frame_feed feed(net);
        feed.tell("nobody hears this");
        listener_pair a = co_await met(net);
        listener_pair b = co_await met(net);
        task_group tasks(net.executor());
        std::error_code end_a;
        std::error_code end_b;
        tasks.spawn(store_error(end_a, feed.talk(std::move(a.ours), &shout)));
        tasks.spawn(store_error(end_b, feed.talk(std::move(b.ours), &shout)));
        co_await a.listener->send("hush");
        co_await a.listener->send("hello");
        std::string heard = co_await hear(*a.listener);
        CHECK(heard == "hello!");
        feed.tell("news");
        heard = co_await hear(*a.listener);
        CHECK(heard == "news");
        heard = co_await hear(*b.listener);
        CHECK(heard == "news");
        task_group closing(net.executor());
        closing.spawn(a.listener->close());
        closing.spawn(b.listener->close());
        co_await closing.join();
        co_await tasks.join();
        CHECK(end_a == errc::websocket_closed);
        CHECK(end_b == errc::websocket_closed);
    });
}

TEST_CASE("listeners who come and go while nothing is told leave nothing behind") {
    run([](network& net) -> asio::awaitable<void> {
        frame_feed feed(net);
        std::optional<heap_growth> growth;
        for (int i = 0; i < 100; ++i) {
            listener_pair one = co_await met(net);
            task_group tasks(net.executor());
            std::error_code end;
            tasks.spawn(store_error(end, feed.talk(std::move(one.ours), &shout)));
            one.listener->abort();
            co_await tasks.join();
            co_await one.listener->close();
            if (i == 0) growth.emplace();
        }
        CHECK(growth->bytes() < 16 * 1024);
    });
}

}  // namespace frame_feed_test
