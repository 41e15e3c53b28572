#include <doctest/doctest.h>

#include <cohort/net/tracker_client.hpp>
#include <cohort/tracker.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace tracker_test {

using namespace cohort;

namespace {

tracker_options any_port() {
    tracker_options out;
    out.port = 0;
    out.udp_port = 0;
    return out;
}

/// Runs `client(net, tracker)` beside a tracker on free ports.
template <class Client>
asio::awaitable<void> beside_tracker(network& net, tracker_options options, Client client) {
    tracker here(net, std::move(options));
    task_group tasks(net.executor());
    tasks.spawn(here.run());
    co_await client(net, here);
    tasks.cancel();
    co_await tasks.join();
}

template <class Client>
void with_tracker(tracker_options options, Client client) {
    test::run([&](network& net) { return beside_tracker(net, options, client); });
}

announce_request request_of(std::uint8_t peer, std::uint64_t left, announce_event event = announce_event::started) {
    announce_request out;
    out.hash.bytes.fill(0xaa);
    out.id.bytes.fill(peer);
    out.port = static_cast<std::uint16_t>(6000 + peer);
    out.left = left;
    out.event = event;
    return out;
}

endpoint local(std::uint16_t port) { return {ip_address::loopback_v4(), port}; }

std::string url_of(const tracker& here, const std::string& scheme, const std::string& host = "127.0.0.1") {
    const endpoint at = scheme == "http" ? here.http_endpoints().front() : here.udp_endpoints().front();
    return scheme + "://" + host + ":" + std::to_string(at.port) + "/announce";
}

asio::awaitable<json> get_json(network& net, std::string address) {
    const auto response = co_await http_get(net, address);
    std::error_code ec;
    auto out = parse_json(response.body, ec);
    if (!out) raise(ec);
    co_return *out;
}

std::int64_t number(const json& object, const std::string& key) {
    return json_integer(json_member(object, key)).value_or(-1);
}

}  // namespace

namespace {

asio::awaitable<void> meet(network& net, tracker& here, std::string scheme) {
    const std::string address = url_of(here, scheme);
    announce_request request = request_of(1, 0);
    const auto first = co_await announce(net, address, request);
    CHECK(first.interval == 1800s);
    CHECK(first.complete == 1);
    CHECK(first.incomplete == 0);
    CHECK(first.peers.empty());

    request = request_of(2, 10);
    const auto second = co_await announce(net, address, request);
    CHECK(second.peers == std::vector<endpoint>{local(6001)});
    CHECK(second.complete == 1);
    CHECK(second.incomplete == 1);

    request = request_of(2, 0, announce_event::completed);
    const auto done = co_await announce(net, address, request);
    CHECK(done.complete == 2);
    CHECK(done.peers.empty());  // seeders are not told about seeders

    const std::vector<info_hash> hashes{request.hash, info_hash{}};
    const auto counts = co_await scrape(net, address, hashes);
    REQUIRE(counts.files.size() == 2);
    for (const auto& [hash, entry] : counts.files) {
        CHECK(entry == (hash == request.hash ? scrape_entry{2, 1, 0} : scrape_entry{}));
    }

    request = request_of(1, 0, announce_event::stopped);
    const auto gone = co_await announce(net, address, request);
    CHECK(gone.complete == 1);
    CHECK(gone.peers.empty());
}

asio::awaitable<void> meet_over_http(network& net, tracker& here) { return meet(net, here, "http"); }
asio::awaitable<void> meet_over_udp(network& net, tracker& here) { return meet(net, here, "udp"); }

}  // namespace

TEST_CASE("peers meet over HTTP") { with_tracker(any_port(), &meet_over_http); }
TEST_CASE("peers meet over UDP") { with_tracker(any_port(), &meet_over_udp); }

namespace {

asio::awaitable<void> mix(network& net, tracker& here) {
    announce_request request = request_of(1, 0);
    co_await announce(net, url_of(here, "http"), request);
    request = request_of(2, 1);
    const auto over_udp = co_await announce(net, url_of(here, "udp"), request);
    CHECK(over_udp.peers == std::vector<endpoint>{local(6001)});
    request = request_of(3, 1);
    const auto over_http = co_await announce(net, url_of(here, "http"), request);
    CHECK(over_http.peers.size() == 2);
    CHECK(over_http.external_ip == ip_address::loopback_v4());
    CHECK(over_http.min_interval == 60s);

    // The same over IPv6: a list of its own, one swarm.
    request = request_of(4, 1);
    const auto six = co_await announce(net, url_of(here, "http", "[::1]"), request);
    CHECK(six.peers.empty());
    CHECK(six.incomplete == 3);
    request = request_of(5, 1);
    const auto six_over_udp = co_await announce(net, url_of(here, "udp", "[::1]"), request);
    CHECK(six_over_udp.peers == std::vector<endpoint>{{*ip_address::parse("::1"), 6004}});

    const json stats =
        co_await get_json(net, "http://" + local(here.http_endpoints().front().port).to_string() + "/stats");
    CHECK(number(stats, "swarms") == 1);
    CHECK(number(stats, "peers") == 5);
    CHECK(number(stats, "seeders") == 1);
    CHECK(number(stats, "leechers") == 4);
    CHECK(number(stats, "announces") == 5);
    CHECK(number(stats, "udp_announces") == 2);
    CHECK(number(stats, "uptime_s") >= 0);
    const json_array torrents = json_member(stats, "torrents")->get<json_array>();
    REQUIRE(torrents.size() == 1);
    CHECK(json_text(json_member(torrents[0], "info_hash")) == std::string(40, 'a'));
    CHECK(number(torrents[0], "incomplete") == 4);
}

}  // namespace

TEST_CASE("HTTP and UDP, IPv4 and IPv6 share one swarm, and the statistics count it") {
    with_tracker(any_port(), &mix);
}

namespace {

asio::awaitable<void> ask_badly(network& net, tracker& here) {
    const std::string base = "http://" + local(here.http_endpoints().front().port).to_string();
    http_client_options keep;
    keep.keep_status = true;
    for (const char* query : {"", "?info_hash=short&peer_id=x", "?info_hash=%zz", "?port=1"}) {
        CAPTURE(query);
        const std::string address = base + "/announce" + query;
        const auto refused = co_await http_get(net, address, keep);
        CHECK(refused.status == 200);
        CHECK(refused.body.starts_with("d14:failure reason"));
    }
    const std::string hash = "info_hash=%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa";
    const auto no_hash = co_await http_get(net, base + "/scrape", keep);
    CHECK(no_hash.body.starts_with("d14:failure reason"));
    std::string many = base + "/scrape?" + hash;
    for (int i = 0; i < 74; ++i) many += "&" + hash;
    const auto too_many = co_await http_get(net, many, keep);
    CHECK(too_many.body.starts_with("d14:failure reason"));
    const auto nowhere = co_await http_get(net, base + "/admin", keep);
    CHECK(nowhere.status == 404);
    const auto page = co_await http_get(net, base + "/", keep);
    CHECK(page.status == 200);
    CHECK(page.headers.find("Content-Type") == "text/html; charset=utf-8");
    const json stats = co_await get_json(net, base + "/stats?limit=x&offset=99999999999999999999");
    CHECK(number(stats, "refused") == 6);
    CHECK(number(stats, "swarms") == 0);
}

asio::awaitable<void> give_address(network& net, tracker& here) {
    announce_request request = request_of(1, 0);
    request.ip = *ip_address::parse("198.51.100.1");
    co_await announce(net, url_of(here, "http"), request);
    request = request_of(2, 0);
    request.ip = *ip_address::parse("198.51.100.2");
    co_await announce(net, url_of(here, "udp"), request);
    request = request_of(3, 0);
    request.ip = *ip_address::parse("224.0.0.1");
    co_await announce(net, url_of(here, "http"), request);
    request = request_of(4, 1);
    auto got = co_await announce(net, url_of(here, "http"), request);
    std::sort(got.peers.begin(), got.peers.end());
    CHECK(got.peers == std::vector<endpoint>{local(6003),
                                             {*ip_address::parse("198.51.100.1"), 6001},
                                             {*ip_address::parse("198.51.100.2"), 6002}});
}

}  // namespace

TEST_CASE("requests that are no announce are refused in words") { with_tracker(any_port(), &ask_badly); }

TEST_CASE("a peer of this machine or a private network may say where it is, unless that is no host") {
    with_tracker(any_port(), &give_address);
}

namespace {

/// All connections and datagrams seem to come from a public address.
class public_clients final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;

    static ip_address client() { return *ip_address::parse("203.0.113.9"); }

    std::unique_ptr<listener> listen(endpoint at) override {
        return std::make_unique<renaming_listener>(inner().listen(at));
    }
    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override {
        return std::make_unique<renaming_socket>(inner().bind_udp(at));
    }

private:
    class renaming_listener final : public listener {
    public:
        explicit renaming_listener(std::unique_ptr<listener> inner) : inner_(std::move(inner)) {}
        asio::awaitable<std::unique_ptr<stream>> accept() override {
            auto link = co_await inner_->accept();
            const endpoint name{client(), link->remote_endpoint().port};
            co_return std::make_unique<test::renamed_stream>(std::move(link), name);
        }
        endpoint local_endpoint() const override { return inner_->local_endpoint(); }
        void close() noexcept override { inner_->close(); }

    private:
        std::unique_ptr<listener> inner_;
    };

    class renaming_socket final : public datagram_socket {
    public:
        explicit renaming_socket(std::unique_ptr<datagram_socket> inner) : inner_(std::move(inner)) {}
        asio::awaitable<arrival> receive(byte_span into) override {
            auto got = co_await inner_->receive(into);
            got.from.address = client();
            co_return got;
        }
        asio::awaitable<void> send(endpoint to, byte_view bytes) override {
            to.address = ip_address::loopback_v4();
            return inner_->send(to, bytes);
        }
        endpoint local_endpoint() const override { return inner_->local_endpoint(); }
        void close() noexcept override { inner_->close(); }

    private:
        std::unique_ptr<datagram_socket> inner_;
    };
};

asio::awaitable<void> announce_as_public(network& real, bool trust, std::vector<endpoint>& out) {
    public_clients net(real);
    tracker_options options = any_port();
    options.host = "127.0.0.1";
    options.trust_ip = trust;
    tracker here(net, options);
    task_group tasks(net.executor());
    tasks.spawn(here.run());
    announce_request request = request_of(1, 0);
    request.ip = *ip_address::parse("198.51.100.1");
    co_await announce(real, here.http_url(), request);
    request = request_of(2, 0);
    request.ip = *ip_address::parse("198.51.100.2");
    co_await announce(real, here.udp_url(), request);
    request = request_of(3, 1);
    auto got = co_await announce(real, here.http_url(), request);
    std::sort(got.peers.begin(), got.peers.end());
    out = got.peers;
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("a stranger on the Internet may not announce another's address, unless the owner trusts it") {
    std::vector<endpoint> peers;
    test::run([&](network& net) { return announce_as_public(net, false, peers); });
    CHECK(peers == std::vector<endpoint>{{public_clients::client(), 6001}, {public_clients::client(), 6002}});
    test::run([&](network& net) { return announce_as_public(net, true, peers); });
    CHECK(peers == std::vector<endpoint>{{*ip_address::parse("198.51.100.1"), 6001},
                                         {*ip_address::parse("198.51.100.2"), 6002}});
}

// ---- UDP, packet by packet

namespace {

asio::awaitable<void> exchange(datagram_socket& socket, endpoint to, byte_view packet, byte_vector& answer) {
    co_await socket.send(to, packet);
    answer.resize(4096);
    const auto got = co_await socket.receive(answer);
    answer.resize(got.size);
}

asio::awaitable<void> probe_udp(network& net, tracker& here) {
    const endpoint to = local(here.udp_endpoints().front().port);
    auto socket = net.bind_udp(local(0));
    byte_vector answer;
    std::error_code ec;

    // Nobody gets more bytes than he sent without having shown a connection id.
    const auto connect = udp_tracker::write_connect(7);
    co_await exchange(*socket, to, connect, answer);
    CHECK(answer.size() <= connect.size());
    const auto connected = udp_tracker::parse_answer(answer, false, ec);
    REQUIRE(connected);
    const std::uint64_t id = std::get<udp_tracker::connect_answer>(*connected).connection_id;

    const announce_request request = request_of(1, 1);
    const byte_vector forged = udp_tracker::write_announce(id + 1, 8, request);
    co_await exchange(*socket, to, forged, answer);
    CHECK(answer.size() <= forged.size());
    const auto refused = udp_tracker::parse_answer(answer, false, ec);
    REQUIRE(refused);
    CHECK(std::get<udp_tracker::error_answer>(*refused).transaction == 8);
    const std::vector<info_hash> one(1);
    const byte_vector forged_scrape = udp_tracker::write_scrape(id + 1, 9, one);
    co_await exchange(*socket, to, forged_scrape, answer);
    CHECK(answer.size() <= forged_scrape.size());
    CHECK(here.totals().peers() == 0);

    // The id belongs to an address, whatever the port.
    auto other_port = net.bind_udp(local(0));
    const byte_vector right = udp_tracker::write_announce(id, 10, request);
    co_await exchange(*other_port, to, right, answer);
    CHECK(load_be<std::uint32_t>(answer.data()) == 1);
    auto other_address = net.bind_udp({*ip_address::parse("127.0.0.2"), 0});
    co_await exchange(*other_address, to, right, answer);
    CHECK(load_be<std::uint32_t>(answer.data()) == 3);
    CHECK(here.totals().peers() == 1);

    // Garbage gets no answer: the next packet to arrive is that of the connect behind it.
    for (const byte_vector& garbage : {byte_vector{}, byte_vector(15), byte_vector(2000, 0xff), byte_vector(98)})
        co_await socket->send(to, garbage);
    const byte_vector cut(right.begin(), right.end() - 1);
    co_await socket->send(to, cut);
    const auto again = udp_tracker::write_connect(11);
    co_await exchange(*socket, to, again, answer);
    CHECK(udp_tracker::transaction_of(answer) == 11);
}

asio::awaitable<void> fill_swarm(network& net, tracker& here) {
    const endpoint to = local(here.udp_endpoints().front().port);
    auto socket = net.bind_udp(local(0));
    byte_vector answer;
    std::error_code ec;
    const auto connect = udp_tracker::write_connect(1);
    co_await exchange(*socket, to, connect, answer);
    const auto connected = udp_tracker::parse_answer(answer, false, ec);
    const std::uint64_t id = std::get<udp_tracker::connect_answer>(*connected).connection_id;
    announce_request request = request_of(0, 1);
    for (std::uint32_t i = 0; i < 500; ++i) {
        store_be(request.id.bytes.data(), i);
        request.ip = ip_address::v4(0x0a000000 + i);
        request.numwant = 1'000'000;
        const byte_vector packet = udp_tracker::write_announce(id, i, request);
        co_await exchange(*socket, to, packet, answer);
        CHECK(answer.size() <= udp_tracker::answer_size_max);
    }
    CHECK(here.totals().peers() == 500);
    const auto last = udp_tracker::parse_answer(answer, false, ec);
    REQUIRE(last);
    CHECK(std::get<udp_tracker::announce_answer>(*last).response.peers.size() == 200);
}

}  // namespace

TEST_CASE("UDP answers only those who can show a connection id for their address") {
    with_tracker(any_port(), &probe_udp);
}

TEST_CASE("however many peers are asked for, 200 are given and one packet holds them") {
    with_tracker(any_port(), &fill_swarm);
}

TEST_CASE("connection ids hold for one to two minutes, for one address, and only with the same secret") {
    connection_ids ids({1});
    connection_ids others({2});
    const time_point now{std::chrono::hours(5)};
    const ip_address a = *ip_address::parse("198.51.100.1");
    const ip_address b = *ip_address::parse("198.51.100.2");
    const std::uint64_t id = ids.make(a, now);
    CHECK(ids.valid(id, a, now));
    CHECK(ids.valid(id, a, now + 119s));
    CHECK_FALSE(ids.valid(id, a, now + 120s));
    CHECK_FALSE(ids.valid(id, a, now - 1s));
    CHECK_FALSE(ids.valid(id, b, now));
    CHECK_FALSE(others.valid(id, a, now));
}

namespace {

/// Time stands still until hurry(); from then on a sleep takes none of ours.
class patient_network final : public test::forwarding_network {
public:
    explicit patient_network(network& inner) : forwarding_network(inner), hurried_(inner.executor()) {}

    void hurry() {
        hurries_ = true;
        hurried_.notify();
    }
    time_point now() const override { return now_; }
    asio::awaitable<void> sleep_until(time_point deadline) override {
        while (!hurries_) co_await hurried_.wait();
        co_await asio::post(executor(), asio::use_awaitable);
        now_ = std::max(now_, deadline);
    }

private:
    wakeup hurried_;
    bool hurries_ = false;
    time_point now_ = std::chrono::steady_clock::now();
};

asio::awaitable<void> wait_until_forgotten(network& real, std::size_t& before, duration& lifetime) {
    patient_network net(real);
    tracker_options options = any_port();
    options.interval = 30s;
    tracker here(net, options);
    task_group tasks(net.executor());
    const announce_request request = request_of(1, 1);
    tasks.spawn(here.run());
    co_await announce(real, url_of(here, "udp"), request);
    before = here.totals().peers();
    const time_point start = net.now();
    net.hurry();
    while (here.totals().peers() > 0) co_await net.sleep_for(1s);
    lifetime = net.now() - start;
    while (here.totals().torrents > 0) co_await net.sleep_for(1s);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("silent peers, and then their torrents, are forgotten after two intervals and a minute") {
    std::size_t before = 0;
    duration lifetime{0};
    test::run([&](network& net) { return wait_until_forgotten(net, before, lifetime); });
    CHECK(before == 1);
    CHECK(lifetime >= 119s);  // the registry counts in whole seconds
    CHECK(lifetime < 130s);
}

namespace {

asio::awaitable<void> take_ports(network& net, tracker& here) {
    tracker_options options = any_port();
    options.port = here.http_endpoints().front().port;
    CHECK_THROWS_WITH_AS(tracker(net, options), doctest::Contains("in use"), std::system_error);
    options = any_port();
    options.udp_port = here.udp_endpoints().front().port;
    CHECK_THROWS_WITH_AS(tracker(net, options), doctest::Contains("in use"), std::system_error);
    options = any_port();
    options.host = "tracker.example";
    CHECK_THROWS_WITH_AS(tracker(net, options), doctest::Contains("tracker.example"), std::system_error);
    co_return;
}

asio::awaitable<void> listen_on_one(network& net, std::string host, std::string& http, std::string& udp) {
    tracker_options options = any_port();
    options.host = host;
    tracker here(net, options);
    http = here.http_url();
    udp = here.udp_url();
    CHECK(here.http_endpoints().size() == 1);
    co_return;
}

}  // namespace

TEST_CASE("a port that is taken, or a host that is no address, shows before anything runs") {
    with_tracker(any_port(), &take_ports);
}

TEST_CASE("the URLs name the address that is listened on") {
    std::string http;
    std::string udp;
    test::run([&](network& net) { return listen_on_one(net, "::1", http, udp); });
    CHECK(http.starts_with("http://[::1]:"));
    CHECK(udp.starts_with("udp://[::1]:"));
    CHECK(udp.ends_with("/announce"));
    test::run([&](network& net) { return listen_on_one(net, "0.0.0.0", http, udp); });
    CHECK(http.starts_with("http://127.0.0.1:"));
}

namespace {

asio::awaitable<void> log_some(network& net, tracker& here) {
    const announce_request request = request_of(1, 1);
    co_await announce(net, url_of(here, "http"), request);
    const std::string bad = "http://" + local(here.http_endpoints().front().port).to_string() + "/announce?port=x";
    co_await http_get(net, bad);
}

}  // namespace

TEST_CASE("log lines come up to the level that was asked for") {
    for (const log_level level : {log_level::warn, log_level::info, log_level::debug}) {
        std::vector<std::string> lines;
        tracker_options options = any_port();
        options.log = {level, [&](log_level of, const std::string& line) {
                           lines.push_back(std::string(to_string(of)) + " " + line);
                       }};
        with_tracker(options, &log_some);
        const std::size_t wanted = level == log_level::warn ? 0 : level == log_level::info ? 1 : 2;
        REQUIRE(lines.size() == wanted);
        if (wanted > 0) CHECK(lines.back().starts_with("info 127.0.0.1:"));
        if (wanted > 1)
            CHECK(lines.front() == "debug started " + std::string(40, 'a') + " 127.0.0.1:6001 left 1, told 0 peers");
    }
}

namespace {

/// A tracker that is killed and started again at the same ports, as its peers see it.
asio::awaitable<void> restart(network& net) {
    tracker_options options = any_port();
    const announce_request seeder = request_of(1, 0);
    const announce_request leecher = request_of(2, 1, announce_event::none);
    udp_tracker_options impatient;
    impatient.retry = 200ms;
    auto first = std::make_unique<tracker>(net, options);
    auto tasks = std::make_unique<task_group>(net.executor());
    tasks->spawn(first->run());
    options.port = first->http_endpoints().front().port;
    options.udp_port = first->udp_endpoints().front().port;
    udp_tracker_client remembering(net, {ip_address::loopback_v4()}, options.udp_port, impatient);
    const std::string no_url;
    co_await remembering.announce(seeder, no_url);
    const auto before = co_await remembering.announce(leecher, no_url);
    CHECK(before.peers.size() == 1);
    tasks->cancel();
    co_await tasks->join();
    first.reset();

    tracker second(net, options);
    tasks = std::make_unique<task_group>(net.executor());
    tasks->spawn(second.run());
    // Its old connection id is refused, so the client gets a new one.
    co_await remembering.announce(seeder, no_url);
    const std::string address = url_of(second, "http");
    const auto after = co_await announce(net, address, leecher);
    CHECK(after.peers == std::vector<endpoint>{local(6001)});
    tasks->cancel();
    co_await tasks->join();
}

}  // namespace

TEST_CASE("after a restart, peers come back with their next announce") {
    test::run([](network& net) { return restart(net); });
}

}  // namespace tracker_test
