#include <doctest/doctest.h>

#include <functional>

#include <cohort/net/task_group.hpp>
#include <cohort/net/tracker_client.hpp>

#include "support/http_script.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"

namespace tracker_client_test {

using namespace cohort;

namespace {

announce_request example_request() {
    announce_request out;
    out.hash.bytes.fill(0x11);
    out.id.bytes.fill('i');
    out.port = 6881;
    out.left = 5;
    return out;
}

struct outcome {
    announce_response response;
    scrape_response scraped;
    std::error_code error;
    std::string message;
};

/// Announces and keeps what comes of it.
asio::awaitable<void> try_announce(network& net, std::string address, tracker_client_options options, outcome& out) {
    const announce_request request = example_request();
    try {
        out.response = co_await announce(net, address, request, options);
    } catch (const std::system_error& error) {
        out.error = error.code();
        out.message = error.what();
    }
}

// ---- HTTP

asio::awaitable<void> announce_to_script(network& net, test::script& what, std::string path,
                                         tracker_client_options options, outcome& out) {
    auto door = net.listen({ip_address::loopback_v4(), 0});
    const std::string address = "http://" + door->local_endpoint().to_string() + path;
    task_group tasks(net.executor());
    tasks.spawn(test::serve_script(net, *door, what));
    co_await try_announce(net, address, options, out);
    tasks.cancel();
    co_await tasks.join();
}

outcome announce_over_http(test::script& what, std::string path = "/announce", tracker_client_options options = {}) {
    outcome out;
    test::run([&](network& net) { return announce_to_script(net, what, path, options, out); });
    return out;
}

outcome announce_over_http(const std::string& body, const std::string& status = "200 OK") {
    test::script what{
        .answers = {"HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body}};
    return announce_over_http(what);
}

}  // namespace

TEST_CASE("an HTTP tracker's answer is read, and its URL's own query kept") {
    using namespace std::string_literals;
    const std::string body = "d8:intervali900e5:peers6:\x7f\0\0\1\x1a\xe1"s + "e";
    test::script what{
        .answers = {"HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body}};
    const outcome got = announce_over_http(what, "/x/announce?key=secret");
    CHECK(!got.error);
    CHECK(got.response.interval == 900s);
    CHECK(got.response.peers == std::vector<endpoint>{{ip_address::loopback_v4(), 6881}});
    CHECK(what.request.starts_with("GET /x/announce?key=secret&info_hash=%11%11"));
    CHECK(what.request.find("&peer_id=iiiiiiiiiiiiiiiiiiii&port=6881&") != std::string::npos);
}

TEST_CASE("an HTTP tracker that refuses is quoted, whatever the status of its answer") {
    for (const char* status : {"200 OK", "400 Bad Request", "403 Forbidden"}) {
        const outcome got = announce_over_http("d14:failure reason9:not todaye", status);
        CHECK(got.error == errc::tracker_refused);
        CHECK(got.message.starts_with("not today"));
    }
}

TEST_CASE("an HTTP tracker that talks nonsense or is not there fails with its reason") {
    CHECK(announce_over_http("garbage").error == errc::tracker_malformed);
    CHECK(announce_over_http("").error == errc::tracker_malformed);
    CHECK(announce_over_http("d8:intervali1800e5:peers5:abcdee").error == errc::tracker_malformed);
    const outcome missing = announce_over_http("<html>gone", "404 Not Found");
    CHECK(missing.error == errc::http_status);
    CHECK(missing.message.find("404") != std::string::npos);
    test::script gigabyte{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"}, .hang_up = false};
    CHECK(announce_over_http(gigabyte).error == errc::http_too_large);
    std::string chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 40; ++i) chunks += "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
    test::script endless{.answers = {chunks}, .hang_up = false};
    CHECK(announce_over_http(endless).error == errc::http_too_large);
    test::script circle{.answers = {"HTTP/1.1 302 Found\r\nLocation: /announce\r\nContent-Length: 0\r\n\r\n"}};
    CHECK(announce_over_http(circle).error == errc::too_many_redirects);
    test::script silent{.answers = {""}, .hang_up = false};
    tracker_client_options short_limits;
    short_limits.http.first_byte_timeout = 50ms;
    CHECK(announce_over_http(silent, "/announce", short_limits).error == errc::timed_out);
}

TEST_CASE("a URL that is no tracker's fails at once") {
    const auto error_of = [](const std::string& address) {
        outcome out;
        test::run([&](network& net) { return try_announce(net, address, {}, out); });
        return out.error;
    };
    CHECK(error_of("ftp://example.com/announce") == errc::url_unsupported);
    CHECK(error_of("wss://example.com/announce") == errc::url_unsupported);
    CHECK(error_of("https://example.com/announce") == errc::url_unsupported);
    CHECK(error_of("http://exa mple.com/announce") == errc::url_invalid);
    CHECK(error_of("udp://example.com/announce") == errc::url_invalid);
}

namespace {

asio::awaitable<void> scrape_without_rule(network& net, std::error_code& out) {
    const std::vector<info_hash> hashes(1);
    co_await test::store_error(out, scrape(net, "http://127.0.0.1:1/x/tracker.php", hashes));
}

}  // namespace

TEST_CASE("a tracker whose URL names no scrape is not asked for one") {
    std::error_code error;
    test::run([&](network& net) { return scrape_without_rule(net, error); });
    CHECK(error == errc::url_unsupported);
}

// ---- UDP

namespace {

using packets = std::vector<byte_vector>;
/// What a tracker sends back for a packet.
using behaviour = std::function<packets(byte_view packet)>;

byte_vector bytes_of(byte_view in) { return {in.begin(), in.end()}; }

constexpr std::uint64_t example_id = 0x1122334455667788;

/// As BEP 15 says.
packets proper(byte_view packet) {
    std::error_code ec;
    const auto request = udp_tracker::parse_request(packet, ec);
    if (!request) return {};
    byte_vector out(udp_tracker::answer_size_max);
    if (const auto* const connect = std::get_if<udp_tracker::connect_request>(&*request))
        return {bytes_of(udp_tracker::write_connect_answer(connect->transaction, example_id))};
    if (const auto* const announce = std::get_if<udp_tracker::announce_request>(&*request)) {
        CHECK(announce->connection_id == example_id);
        CHECK(announce->announce == example_request());
        const std::vector<endpoint> peers{{*ip_address::parse("10.0.0.1"), 1}, {*ip_address::parse("::2"), 2}};
        const bool v6 = announce->options.size() > 2 && as_text(announce->options.subspan(2)) == "/v6";
        out.resize(udp_tracker::write_announce_answer(out, announce->transaction, 600s, 3, 4, peers, v6));
        return {out};
    }
    const auto& scrape = std::get<udp_tracker::scrape_request>(*request);
    CHECK(scrape.connection_id == example_id);
    std::vector<scrape_entry> entries;
    for (std::size_t i = 0; i < scrape.size(); ++i) entries.push_back({scrape[i].bytes[0], 0, 1});
    out.resize(udp_tracker::write_scrape_answer(out, scrape.transaction, entries));
    return {out};
}

bool is_connect(byte_view packet) { return packet.size() == udp_tracker::connect_size; }

asio::awaitable<void> serve_udp(datagram_socket& socket, const behaviour& reply, packets& seen) {
    byte_vector buffer(4096);
    for (;;) {
        const auto got = co_await socket.receive(buffer);
        const byte_view packet = byte_view(buffer).first(got.size);
        seen.push_back(bytes_of(packet));
        const packets answers = reply(packet);
        for (const byte_vector& one : answers) co_await socket.send(got.from, one);
    }
}

/// Runs `client(net, port)` beside a UDP tracker that behaves as given; returns the packets that the tracker saw.
template <class Client>
asio::awaitable<void> beside_tracker(network& net, const ip_address at, const behaviour& reply, packets& seen,
                                     Client client) {
    auto socket = net.bind_udp({at, 0});
    const std::uint16_t port = socket->local_endpoint().port;
    task_group tasks(net.executor());
    tasks.spawn(serve_udp(*socket, reply, seen));
    co_await client(net, port);
    tasks.cancel();
    co_await tasks.join();
}

struct udp_outcome : outcome {
    packets seen;
};

udp_outcome announce_over_udp(const behaviour& reply, udp_tracker_options udp = {.retry = 50ms, .retries = 3},
                              const std::string& host = "127.0.0.1", const std::string& path = "") {
    udp_outcome out;
    tracker_client_options options;
    options.udp = udp;
    const auto client = [&](network& net, std::uint16_t port) {
        return try_announce(net, "udp://" + host + ":" + std::to_string(port) + path, options, out);
    };
    const ip_address at = host == "[::1]" ? *ip_address::parse("::1") : ip_address::loopback_v4();
    test::run([&](network& net) { return beside_tracker(net, at, reply, out.seen, client); });
    return out;
}

}  // namespace

TEST_CASE("a UDP announce connects, asks, and reads peers of the socket's family") {
    const udp_outcome four = announce_over_udp(proper);
    CHECK(!four.error);
    CHECK(four.response.interval == 600s);
    CHECK(four.response.incomplete == 3);
    CHECK(four.response.complete == 4);
    CHECK(four.response.peers == std::vector<endpoint>{{*ip_address::parse("10.0.0.1"), 1}});
    CHECK(four.seen.size() == 2);
    const udp_outcome six = announce_over_udp(proper, {}, "[::1]", "/v6");
    CHECK(!six.error);
    CHECK(six.response.peers == std::vector<endpoint>{{*ip_address::parse("::2"), 2}});
}

TEST_CASE("path and query of a UDP tracker's URL travel as options") {
    const udp_outcome got = announce_over_udp(proper, {}, "127.0.0.1", "/announce?key=1");
    CHECK(!got.error);
    REQUIRE(got.seen.size() == 2);
    std::string url_data;
    CHECK(udp_tracker::parse_options(byte_view(got.seen[1]).subspan(udp_tracker::announce_size), url_data));
    CHECK(url_data == "/announce?key=1");
    CHECK(announce_over_udp(proper, {}, "127.0.0.1", "/").seen[1].size() == udp_tracker::announce_size);
}

TEST_CASE("lost packets are sent again") {
    int connects = 0;
    int announces = 0;
    const udp_outcome got = announce_over_udp([&](byte_view packet) {
        int& count = is_connect(packet) ? connects : announces;
        return count++ == 0 ? packets{} : proper(packet);
    });
    CHECK(!got.error);
    CHECK(got.response.peers.size() == 1);
    CHECK(announces == 2);
}

TEST_CASE("a silent UDP tracker is asked as often as the options say and then given up") {
    const udp_outcome got = announce_over_udp([](byte_view) { return packets{}; }, {.retry = 5ms, .retries = 3});
    CHECK(got.error == errc::timed_out);
    CHECK(got.seen.size() == 4);
}

TEST_CASE("packets that are too short, of another transaction or of another kind are dropped") {
    const udp_outcome got = announce_over_udp([&](byte_view packet) {
        packets out{{}, {0, 0, 0}, byte_vector(7), byte_vector(2000, 0xff)};
        for (const byte_vector& right : proper(packet)) {
            byte_vector other = right;
            other[7] ^= 1;
            out.push_back(other);                                // somebody else's
            out.push_back(bytes_of(byte_view(right).first(8)));  // cut
            byte_vector scrape = right;
            scrape[3] = 2;
            scrape.resize(20);
            out.push_back(scrape);  // no answer to this question
            out.push_back(right);
        }
        return out;
    });
    CHECK(!got.error);
    CHECK(got.response.peers.size() == 1);
    CHECK(got.seen.size() == 2);
}

TEST_CASE("a UDP tracker that sends nothing but nonsense is malformed") {
    const udp_outcome got = announce_over_udp(
        [&](byte_view packet) {
            packets out = proper(packet);
            if (!is_connect(packet)) out[0].resize(19);
            return out;
        },
        {.retry = 5ms, .retries = 2});
    CHECK(got.error == errc::tracker_malformed);
    CHECK(got.seen.size() == 2);  // asking again would not help
}

TEST_CASE("a UDP tracker's error is quoted") {
    const udp_outcome got = announce_over_udp([&](byte_view packet) {
        if (is_connect(packet)) return proper(packet);
        byte_vector out(100);
        out.resize(udp_tracker::write_error_answer(out, load_be<std::uint32_t>(packet.data() + 12), "go away"));
        return packets{out};
    });
    CHECK(got.error == errc::tracker_refused);
    CHECK(got.message.starts_with("go away"));
}

namespace {

/// A second socket that answers, as if it were the tracker, before the tracker does.
asio::awaitable<void> announce_beside_forger(network& net, outcome& out, int& forged) {
    auto door = net.bind_udp({ip_address::loopback_v4(), 0});
    auto forger = net.bind_udp({ip_address::loopback_v4(), 0});
    tracker_client_options options;
    options.udp.retry = 5s;
    struct tracker_and_forger {
        static asio::awaitable<void> serve(datagram_socket& right, datagram_socket& wrong, int& count) {
            byte_vector buffer(4096);
            for (;;) {
                const auto got = co_await right.receive(buffer);
                const byte_view packet = byte_view(buffer).first(got.size);
                const packets answers = proper(packet);
                byte_vector lie = answers[0];
                lie.back() ^= 0xff;
                ++count;
                co_await wrong.send(got.from, lie);
                co_await right.send(got.from, answers[0]);
            }
        }
    };
    task_group tasks(net.executor());
    tasks.spawn(tracker_and_forger::serve(*door, *forger, forged));
    const std::string address = "udp://" + door->local_endpoint().to_string();
    co_await try_announce(net, address, options, out);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("an answer from another address is dropped, even with the right transaction") {
    outcome out;
    int forged = 0;
    test::run([&](network& net) { return announce_beside_forger(net, out, forged); });
    CHECK(!out.error);
    CHECK(out.response.peers == std::vector<endpoint>{{*ip_address::parse("10.0.0.1"), 1}});
    CHECK(forged == 2);
}

namespace {

/// Sleeps take no time and are written down.
class hasty_network final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;

    time_point now() const override { return start_; }
    asio::awaitable<void> sleep_until(time_point deadline) override {
        sleeps.push_back(deadline - now());
        return inner().sleep_until(time_point{});
    }

    std::vector<duration> sleeps;

private:
    time_point start_ = std::chrono::steady_clock::now();
};

asio::awaitable<void> measure_retries(network& real, std::vector<duration>& waits, std::error_code& error) {
    hasty_network net(real);
    auto deaf = real.bind_udp({ip_address::loopback_v4(), 0});
    const std::string address = "udp://" + deaf->local_endpoint().to_string();
    outcome out;
    const tracker_client_options defaults;
    co_await try_announce(net, address, defaults, out);
    error = out.error;
    waits = net.sleeps;
}

}  // namespace

TEST_CASE("the waits for a UDP answer double from 15 seconds, nine of them") {
    std::vector<duration> waits;
    std::error_code error;
    test::run([&](network& net) { return measure_retries(net, waits, error); });
    CHECK(error == errc::timed_out);
    REQUIRE(waits.size() == 9);
    for (std::size_t n = 0; n < waits.size(); ++n) CHECK(waits[n] == 15s * (1 << n));
}

namespace {

asio::awaitable<void> announce_thrice(network& real, std::uint16_t port) {
    test::shifting_network net(real);
    udp_tracker_client client(net, {ip_address::loopback_v4()}, port);
    const announce_request request = example_request();
    const std::string no_url;
    co_await client.announce(request, no_url);
    net.shift(59s);
    co_await client.announce(request, no_url);
    net.shift(2s);
    co_await client.announce(request, no_url);
}

}  // namespace

TEST_CASE("a connection id serves for one minute") {
    packets seen;
    const behaviour reply = proper;
    test::run(
        [&](network& net) { return beside_tracker(net, ip_address::loopback_v4(), reply, seen, &announce_thrice); });
    REQUIRE(seen.size() == 5);
    CHECK(is_connect(seen[0]));
    CHECK_FALSE(is_connect(seen[1]));
    CHECK_FALSE(is_connect(seen[2]));
    CHECK(is_connect(seen[3]));
    CHECK_FALSE(is_connect(seen[4]));
}

namespace {

asio::awaitable<void> scrape_many(network& net, std::uint16_t port, scrape_response& out) {
    std::vector<info_hash> hashes(100);
    for (std::size_t i = 0; i < hashes.size(); ++i) hashes[i].bytes[0] = static_cast<std::uint8_t>(i);
    const std::string address = "udp://127.0.0.1:" + std::to_string(port);
    out = co_await scrape(net, address, hashes);
}

}  // namespace

TEST_CASE("a UDP scrape names each torrent's counts, in packets of 74") {
    packets seen;
    scrape_response got;
    const behaviour reply = proper;
    const auto client = [&](network& net, std::uint16_t port) { return scrape_many(net, port, got); };
    test::run([&](network& net) { return beside_tracker(net, ip_address::loopback_v4(), reply, seen, client); });
    REQUIRE(got.files.size() == 100);
    for (std::size_t i = 0; i < 100; ++i) {
        CHECK(got.files[i].first.bytes[0] == i);
        CHECK(got.files[i].second == scrape_entry{static_cast<std::uint32_t>(i), 0, 1});
    }
    CHECK(seen.size() == 3);  // one connect, two scrapes
}

namespace {

class two_families final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;
    asio::awaitable<std::vector<ip_address>> resolve(std::string) override {
        std::vector<ip_address> out{ip_address::loopback_v4(), *ip_address::parse("::1")};
        co_return out;
    }
};

asio::awaitable<void> announce_by_name(network& real, std::uint16_t port, address_family family, outcome& out) {
    two_families net(real);
    tracker_client_options options;
    options.family = family;
    options.udp = {.retry = 50ms, .retries = 3};
    co_await try_announce(net, "udp://tracker.example:" + std::to_string(port) + "/v6", options, out);
}

}  // namespace

TEST_CASE("the family that is asked for is used; with any, a silent address gives way to the next one") {
    const behaviour reply = proper;
    for (const address_family family : {address_family::v6, address_family::any}) {
        packets seen;
        outcome out;
        const auto client = [&](network& net, std::uint16_t port) { return announce_by_name(net, port, family, out); };
        test::run([&](network& net) { return beside_tracker(net, *ip_address::parse("::1"), reply, seen, client); });
        CHECK(!out.error);
        CHECK(out.response.peers.size() == 1);
    }
    packets seen;
    outcome out;
    const auto client = [&](network& net, std::uint16_t port) {
        return announce_by_name(net, port, address_family::v4, out);
    };
    test::run([&](network& net) { return beside_tracker(net, *ip_address::parse("::1"), reply, seen, client); });
    CHECK(out.error == errc::timed_out);
    CHECK(seen.empty());
}

namespace {

asio::awaitable<void> cancel_announce(network& net, std::uint16_t port, std::error_code& out) {
    const announce_request request = example_request();
    task_group tasks(net.executor());
    const std::string address = "udp://127.0.0.1:" + std::to_string(port);
    tasks.spawn(test::store_error(out, announce(net, address, request)));
    co_await net.sleep_for(1ms);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("a cancelled announce says so") {
    packets seen;
    std::error_code error;
    const behaviour silent = [](byte_view) { return packets{}; };
    const auto client = [&](network& net, std::uint16_t port) { return cancel_announce(net, port, error); };
    test::run([&](network& net) { return beside_tracker(net, ip_address::loopback_v4(), silent, seen, client); });
    CHECK(is_cancellation(error));
}

}  // namespace tracker_client_test
