#include <cohort/policy/request_pipeline.hpp>

#include <deque>

#include <doctest/doctest.h>

namespace request_pipeline_test {

using namespace cohort;

namespace {

/// A peer behind a link: serves requests in order at `rate` bytes a second, after half of `latency` each way.
struct peer_link {
    peer_link(double bytes_a_second, duration round_trip) : rate(bytes_a_second), latency(round_trip) {}

    double rate;
    duration latency;
    request_pipeline pipeline;
    time_point now{std::chrono::hours(1)};
    std::uint64_t bytes = 0;

    struct request {
        time_point sent, comes;
    };
    std::deque<request> waiting;
    time_point free_at{};

    void refill() {
        const std::size_t depth = pipeline.depth();
        if (pipeline.waiting() >= depth) return;
        const std::size_t n = depth - pipeline.waiting();
        for (std::size_t i = 0; i < n; ++i) {
            const auto work = std::chrono::duration_cast<duration>(std::chrono::duration<double>(block_size / rate));
            free_at = std::max(free_at, now + latency / 2) + work;
            waiting.push_back({now, free_at + latency / 2});
        }
        pipeline.sent(n, now);
    }
    void run(duration length) {
        const time_point end = now + length;
        refill();
        while (!waiting.empty() && waiting.front().comes <= end) {
            now = waiting.front().comes;
            pipeline.received(block_size, now - waiting.front().sent, now);
            waiting.pop_front();
            bytes += block_size;
            refill();
        }
        now = end;
    }
    /// Bytes a second over the next `length`.
    double measure(duration length) {
        bytes = 0;
        run(length);
        return static_cast<double>(bytes) / to_seconds(length);
    }
};

peer_link make_link(double rate, duration latency) {
    peer_link out(rate, latency);
    out.pipeline.limit(2000);
    return out;
}

}  // namespace

TEST_CASE("over loopback the depth passes a thousand within the first 64 MiB and keeps the link full") {
    peer_link l = make_link(1.5e9, 200us);
    l.run(45ms);
    CHECK(l.pipeline.depth() > 1000);
    CHECK(l.measure(1s) > 0.99 * 1.5e9);
    CHECK(l.pipeline.depth() > 1000);
    CHECK(l.pipeline.depth() <= 2000);
}

TEST_CASE("a slow peer gets a few requests, soon and for good") {
    peer_link l = make_link(100e3, 80ms);
    l.run(1s);
    CHECK(l.pipeline.depth() <= 20);
    for (int minute = 0; minute < 60; ++minute) {
        CHECK(l.measure(60s) > 0.97 * 100e3);
        CHECK(l.pipeline.depth() >= 4);
        CHECK(l.pipeline.depth() <= 20);
    }
}

TEST_CASE("a long fat link is filled, and has never more than about two seconds of work") {
    for (const double rate : {1e6, 10e6, 100e6}) {
        CAPTURE(rate);
        peer_link l = make_link(rate, 150ms);
        l.run(5s);
        CHECK(l.measure(5s) > 0.97 * rate);
        CHECK(static_cast<double>(l.pipeline.depth()) <= 2.2 * rate / block_size + 4);
        CHECK(l.pipeline.rate() > 0.9 * rate);
    }
}

TEST_CASE("a link that becomes faster is filled again") {
    peer_link l = make_link(1e6, 50ms);
    l.run(10s);
    l.rate = 50e6;
    l.run(5s);
    CHECK(l.measure(5s) > 0.97 * 50e6);
}

TEST_CASE("the depth never exceeds what the peer takes, nor what is common while it has not said") {
    request_pipeline unknown;
    CHECK(unknown.depth() == 32);
    peer_link l(1.5e9, 200us);
    l.run(1s);
    CHECK(l.pipeline.depth() == 250);
    l.pipeline.limit(10);
    CHECK(l.pipeline.depth() == 10);
    l.pipeline.limit(0);
    CHECK(l.pipeline.depth() == 1);
}

TEST_CASE("a peer is snubbed after twenty seconds with requests and without a block") {
    const time_point start{1s};
    request_pipeline p;
    CHECK_FALSE(p.snubbed(start + 1h));
    p.sent(5, start);
    CHECK_FALSE(p.snubbed(start + 19s));
    p.received(block_size, 19s, start + 19s);
    CHECK_FALSE(p.snubbed(start + 38s));
    CHECK(p.snubbed(start + 39s));

    // It stays so when its requests are taken back, and is tried with one at a time.
    p.dropped(4, start + 40s);
    CHECK(p.waiting() == 0);
    CHECK(p.snubbed(start + 40s));
    CHECK(p.depth() == 1);
    p.sent(1, start + 40s);
    CHECK(p.snubbed(start + 41s));
    p.received(block_size, 1s, start + 41s);
    CHECK_FALSE(p.snubbed(start + 41s));
    CHECK(p.depth() > 1);
}

TEST_CASE("a peer that chokes us is not snubbed for keeping silent meanwhile") {
    const time_point start{1s};
    request_pipeline p;
    p.sent(5, start);
    p.dropped(5, start + 5s);
    CHECK_FALSE(p.snubbed(start + 60s));
    p.sent(5, start + 60s);
    CHECK_FALSE(p.snubbed(start + 79s));
    CHECK(p.snubbed(start + 80s));
}

TEST_CASE("time in which nobody read what the peer sent is no silence of the peer") {
    const time_point start{1s};
    request_pipeline p;
    p.sent(5, start);
    p.unread(50s, start + 55s);
    CHECK(p.silence(start + 55s) == 5s);
    CHECK_FALSE(p.snubbed(start + 69s));
    CHECK(p.snubbed(start + 70s));
    p.received(block_size, 70s, start + 70s);
    // Longer than anybody could have been silent.
    p.unread(50s, start + 71s);
    CHECK(p.silence(start + 71s) == 0s);
    CHECK(p.snubbed(start + 91s));
}

TEST_CASE("silence counts from the oldest of the requests that wait, for a snubbed peer too") {
    const time_point start{1s};
    request_pipeline p;
    CHECK(p.silence(start) == 0s);
    p.sent(5, start);
    p.dropped(5, start + 30s);
    CHECK(p.silence(start + 40s) == 0s);
    p.sent(1, start + 50s);
    CHECK(p.snubbed(start + 50s));
    CHECK(p.silence(start + 60s) == 10s);
}

TEST_CASE("pauses of ours do not make the peer look slow") {
    peer_link l = make_link(10e6, 20ms);
    l.run(3s);
    const double before = l.pipeline.rate();
    for (int i = 0; i < 20; ++i) {
        l.pipeline.dropped(l.pipeline.waiting(), l.now);
        l.waiting.clear();
        l.now += 10s;
        l.free_at = l.now;
        l.run(25ms);
        CHECK(l.pipeline.rate() > 0.9 * before);
    }
}

}  // namespace request_pipeline_test
