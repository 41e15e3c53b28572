// What trackers hear of a torrent, and how often, in virtual time.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/net/task_group.hpp>
#include <cohort/protocol/announce_query.hpp>
#include <cohort/sim/world.hpp>
#include <cohort/swarm/announcer.hpp>

#include "support/test_content.hpp"

namespace announcer_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// An HTTP tracker that notes what it is asked, and answers while it is well.
struct noting_tracker {
    explicit noting_tracker(sim::host& on) : host(on) {}

    std::string url() const { return "http://" + host.address().to_string() + ":6969/announce"; }

    asio::awaitable<void> run() {
        const std::unique_ptr<listener> door = host.listen({host.address(), 6969});
        for (;;) {
            const std::unique_ptr<stream> link = co_await door->accept();
            byte_vector buffer(4096);
            const std::size_t got = co_await link->read_some(buffer);
            note(as_text(byte_view(buffer).first(got)));
            if (!well) continue;
            static constexpr std::string_view answer =
                "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nd8:intervali1800ee";
            co_await write_all(*link, as_bytes(answer));
        }
    }

    void note(std::string_view request) {
        const std::size_t begin = request.find('?') + 1;
        std::string reason;
        const auto asked = parse_announce_query(request.substr(begin, request.find(' ', begin) - begin), reason);
        REQUIRE(asked);
        heard.push_back(asked->event);
    }

    std::ptrdiff_t count(announce_event event) const { return std::count(heard.begin(), heard.end(), event); }

    sim::host& host;
    bool well = true;
    std::vector<announce_event> heard;
};

/// A torrent's announcer on one host, its tracker on another.
struct announced_torrent {
    announced_torrent()
        : world(1),
          here(world.add_host()),
          tracker(world.add_host()),
          tasks(here.executor()),
          it(here, info_of(random_bytes(1000), 16 * 1024), peer_id{}, 6881, {address_family::v4}, options(),
             {[this] { return numbers; }, [](const torrent_event&) {}, [](const std::vector<endpoint>&) {}}) {
        numbers.left = 1000;
    }

    announcer_options options() const {
        announcer_options out;
        out.more_trackers = {tracker.url()};
        return out;
    }

    asio::awaitable<void> start() {
        tasks.spawn(tracker.run());
        tasks.spawn(it.run());
        co_await here.sleep_for(1s);
        CHECK(tracker.heard == std::vector{announce_event::started});
    }

    asio::awaitable<void> stop() {
        co_await it.stopped();
        CHECK(tracker.heard.back() == announce_event::stopped);
        tasks.cancel();
        co_await tasks.join();
    }

    sim::world world;
    sim::host& here;
    noting_tracker tracker;
    announce_numbers numbers;
    task_group tasks;
    announcer it;
};

}  // namespace

TEST_CASE("a completion that no tracker hears of is told again after longer and longer pauses, and in the end once") {
    announced_torrent one;
    const auto story = [](announced_torrent& of) -> asio::awaitable<void> {
        co_await of.start();
        of.tracker.well = false;
        of.numbers.left = 0;
        of.it.completed();
        co_await of.here.sleep_for(60s);
        // At once, and after 5, 15 and 35 seconds.
        CHECK(of.tracker.count(announce_event::completed) == 4);
        of.tracker.well = true;
        co_await of.here.sleep_for(1h);
        CHECK(of.tracker.count(announce_event::completed) == 5);
        co_await of.stop();
        CHECK(of.tracker.count(announce_event::completed) == 5);
    };
    one.world.run(story(one), 2h);
}

TEST_CASE("a completion is told when nothing is left, not when all that was wanted is there") {
    announced_torrent one;
    const auto story = [](announced_torrent& of) -> asio::awaitable<void> {
        co_await of.start();
        of.it.completed();
        co_await of.here.sleep_for(1h);
        CHECK(of.tracker.heard.size() == 3);
        of.numbers.left = 0;
        of.it.completed();
        co_await of.here.sleep_for(1h);
        CHECK(of.tracker.heard[3] == announce_event::completed);
        co_await of.stop();
        CHECK(of.tracker.count(announce_event::completed) == 1);
    };
    one.world.run(story(one), 3h);
}

TEST_CASE("who leaves tells a completion that is not told yet, unless something is left") {
    for (const std::uint64_t left : {0u, 500u}) {
        announced_torrent one;
        const auto story = [](announced_torrent& of, std::uint64_t rest) -> asio::awaitable<void> {
            co_await of.start();
            of.numbers.left = rest;
            of.it.completed();
            co_await of.stop();
            CHECK(of.tracker.count(announce_event::completed) == (rest == 0 ? 1 : 0));
        };
        one.world.run(story(one, left));
    }
}

}  // namespace announcer_test
