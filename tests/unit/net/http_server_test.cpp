#include <doctest/doctest.h>

#include <cohort/net/http_client.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>

#include "support/eventually.hpp"
#include "support/net.hpp"
#include "support/placed_network.hpp"
#include "support/run.hpp"

namespace http_server_test {

using namespace cohort;

namespace {

/// Says back what it was asked; some paths do more.
asio::awaitable<http_response> echo(http_request& request) {
    if (request.path() == "/host") {
        const std::string hosts = request.headers.find_all("Host").value_or("none");
        co_return make_http_response(200, "text/plain", request.target + " at " + hosts);
    }
    if (request.path() == "/throw") throw std::runtime_error("secret words");
    if (request.path() == "/inject") {
        http_response out;
        out.headers.add("X-Name", "a\r\nX-Evil: b");
        co_return out;
    }
    if (request.path() == "/big") co_return make_http_response(200, "text/plain", std::string(3'000'000, 'b'));
    std::string text = request.method + " " + request.target;
    if (!request.body.empty()) text += " [" + request.body + "]";
    co_return make_http_response(200, "text/plain", text);
}

/// Runs a server for as long as one test's client runs.
class served {
public:
    served(network& net, http_server_options options)
        : server(net, listen_all(net, {ip_address::loopback_v4()}, 0), echo, std::move(options)),
          tasks_(net.executor()) {
        tasks_.spawn(server.run());
    }

    endpoint address() const { return server.local_endpoints().front(); }

    asio::awaitable<void> stop() {
        tasks_.cancel();
        co_await tasks_.join();
    }

    http_server server;

private:
    task_group tasks_;
};

/// Reads until the server ends the connection.
asio::awaitable<std::string> read_to_end(stream& link) {
    std::string out;
    byte_vector buffer(64 * 1024);
    for (;;) {
        const std::size_t got = co_await link.read_some(buffer);
        if (got == 0) co_return out;
        out += as_text(byte_view(buffer).first(got));
    }
}

asio::awaitable<void> converse(network& net, const std::string& text, http_server_options options, std::string& out) {
    served here(net, std::move(options));
    auto link = co_await net.connect(here.address());
    co_await write_all(*link, as_bytes(text));
    out = co_await read_to_end(*link);
    co_await here.stop();
    CHECK(here.server.connections() == 0);
}

/// Everything that the server says to `text` before it closes the connection.
std::string say(const std::string& text, http_server_options options = {}) {
    std::string out;
    test::run([&](network& net) { return converse(net, text, std::move(options), out); });
    return out;
}

std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

int status_of(const std::string& answer) { return answer.size() < 12 ? 0 : std::stoi(answer.substr(9, 3)); }

const std::string last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

}  // namespace

TEST_CASE("a request is answered, with its length, and the connection is kept or closed as asked") {
    const std::string answer = say("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n" + last);
    CHECK(
        answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n"
                           "Connection: keep-alive\r\n\r\nGET /a?bHTTP/1.1 200 OK\r\n"));
    CHECK(answer.ends_with("Connection: close\r\n\r\nGET /last"));
}

TEST_CASE("HTTP/1.0 closes unless asked to stay") {
    CHECK(say("GET /a HTTP/1.0\r\n\r\n").ends_with("Connection: close\r\n\r\nGET /a"));
    const std::string both = say("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
    CHECK(count_of(both, "HTTP/1.1 200") == 2);
}

TEST_CASE("HEAD has the length of the body and no body") {
    const std::string answer = say("HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    CHECK(answer.find("Content-Length: 7\r\n") != std::string::npos);
    CHECK(answer.ends_with("\r\n\r\n"));
}

TEST_CASE("bodies come with a length or in chunks") {
    CHECK(say("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz" + last).find("POST /a [xyz]") !=
          std::string::npos);
    CHECK(say("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n" + last)
              .find("POST /a [xyz]") != std::string::npos);
}

TEST_CASE("refusals have their status and end the connection") {
    const auto status = [](const std::string& text) {
        const std::string answer = say(text + "\r\n\r\n" + last);
        CHECK(count_of(answer, "HTTP/1.1 ") == 1);
        CHECK(answer.find("Connection: close\r\n") != std::string::npos);
        return status_of(answer);
    };
    CHECK(status("GET / HTTP/1.1") == 400);  // no Host
    CHECK(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b") == 400);
    CHECK(status("GET  / HTTP/1.1\r\nHost: h") == 400);
    CHECK(status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked") == 400);
    CHECK(status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577") == 413);
    CHECK(status("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(70'000, 'x')) == 431);
    CHECK(status("FROB / HTTP/1.1\r\nHost: h") == 501);
    CHECK(status("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0") == 501);
    CHECK(status("GET / HTTP/3.0\r\nHost: h") == 505);
}

TEST_CASE("a target that is a whole URL is a path at the URL's host, whatever the Host says") {
    const auto ask = [](const std::string& target) {
        const std::string answer = say("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        return status_of(answer) == 200 ? answer.substr(answer.find("\r\n\r\n") + 4) : answer.substr(9, 3);
    };
    CHECK(ask("/host") == "/host at localhost");
    CHECK(ask("http://other.example:6969/host?a=b://c") == "/host?a=b://c at other.example:6969");
    CHECK(ask("HTTPS://[::1]/host") == "/host at [::1]");
    CHECK(ask("http://other.example") == "GET /");
    CHECK(ask("http://other.example?a") == "GET /?a");
    CHECK(ask("/x?http://host") == "GET /x?http://host");
    for (const std::string wrong : {"http://", "http:///host", "http://:80/host", "http://localhost@evil.example/host"})
        CHECK(ask(wrong) == "400");
    CHECK(status_of(say("GET http://h/host HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400);
}

TEST_CASE("ten thousand fields are refused before they are all kept") {
    std::string text = "GET / HTTP/1.1\r\nHost: h\r\n";
    for (int i = 0; i < 10'000; ++i) text += "X-" + std::to_string(i) + ": y\r\n";
    CHECK(status_of(say(text)) == 431);
}

TEST_CASE("a client that sends its whole too large body still hears why it was refused") {
    const std::string body(2'000'000, 'x');
    CHECK(status_of(say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n" + body,
                        {.header_timeout = 300ms})) == 413);
}

namespace {

asio::awaitable<void> put_after_100(network& net, std::string& seen) {
    served here(net, {});
    auto link = co_await net.connect(here.address());
    co_await write_all(*link, as_bytes("PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                                       "Content-Length: 3\r\nConnection: close\r\n\r\n"));
    byte_vector interim(25);
    co_await read_exactly(*link, interim);
    seen = as_text(interim);
    co_await write_all(*link, as_bytes("xyz"));
    const std::string rest = co_await read_to_end(*link);
    seen += rest;
    co_await here.stop();
}

}  // namespace

TEST_CASE("an expected 100 comes before the body is sent") {
    std::string seen;
    test::run([&](network& net) { return put_after_100(net, seen); });
    CHECK(seen.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
    CHECK(seen.ends_with("PUT /a [xyz]"));
}

namespace {

/// Sends header and body apart; returns the answers.
asio::awaitable<void> put_in_two_parts(network& net, std::string head, std::string& seen) {
    served here(net, {});
    auto link = co_await net.connect(here.address());
    co_await write_all(*link, as_bytes(head));
    co_await test::take_turns(net, 20);
    co_await write_all(*link, as_bytes("xyz"));
    seen = co_await read_to_end(*link);
    co_await here.stop();
}

}  // namespace

TEST_CASE("nobody hears 100 who does not know it or expects something else") {
    for (const std::string head :
         {"PUT /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
          "PUT /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: miracles\r\nContent-Length: 3\r\n\r\n"}) {
        std::string seen;
        test::run([&](network& net) { return put_in_two_parts(net, head, seen); });
        CHECK(seen.starts_with("HTTP/1.1 200 OK\r\n"));
        CHECK(seen.ends_with("PUT /a [xyz]"));
    }
}

TEST_CASE("a handler's exception is a 500 that tells the client nothing, and the connection goes on") {
    std::vector<std::string> told;
    http_server_options options;
    options.on_handler_error = [&](const http_request& request, const std::string& what) {
        told.push_back(request.target + ": " + what);
    };
    const std::string answer = say("GET /throw HTTP/1.1\r\nHost: h\r\n\r\n" + last, options);
    CHECK(status_of(answer) == 500);
    CHECK(answer.find("secret") == std::string::npos);
    CHECK(answer.ends_with("GET /last"));
    CHECK(told == std::vector<std::string>{"/throw: secret words"});
}

TEST_CASE("a field that would end its line never reaches the wire") {
    const std::string answer = say("GET /inject HTTP/1.1\r\nHost: h\r\n\r\n" + last);
    CHECK(status_of(answer) == 500);
    CHECK(answer.find("Evil") == std::string::npos);
    CHECK(answer.ends_with("GET /last"));
}

namespace {

class counting_stream final : public stream {
public:
    counting_stream(std::unique_ptr<stream> inner, int& writes) : inner_(std::move(inner)), writes_(writes) {}

    asio::awaitable<std::size_t> read_some(byte_span into) override { return inner_->read_some(into); }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        ++writes_;
        return inner_->write(buffers);
    }
    void finish() noexcept override { inner_->finish(); }
    void close() noexcept override { inner_->close(); }
    endpoint remote_endpoint() const override { return inner_->remote_endpoint(); }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }

private:
    std::unique_ptr<stream> inner_;
    int& writes_;
};

class counting_listener final : public listener {
public:
    counting_listener(std::unique_ptr<listener> inner, int& writes) : inner_(std::move(inner)), writes_(writes) {}

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        auto link = co_await inner_->accept();
        co_return std::make_unique<counting_stream>(std::move(link), writes_);
    }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }
    void close() noexcept override { inner_->close(); }

private:
    std::unique_ptr<listener> inner_;
    int& writes_;
};

asio::awaitable<void> pipeline(network& net, int requests, int& writes, std::string& out) {
    std::vector<std::unique_ptr<listener>> doors;
    doors.push_back(std::make_unique<counting_listener>(net.listen({ip_address::loopback_v4(), 0}), writes));
    http_server server(net, std::move(doors), echo);
    task_group tasks(net.executor());
    tasks.spawn(server.run());
    auto link = co_await net.connect(server.local_endpoints().front());
    std::string text;
    for (int i = 0; i < requests; ++i) text += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
    co_await write_all(*link, as_bytes(text + last));
    out = co_await read_to_end(*link);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("pipelined requests are answered in order, many in one write") {
    int writes = 0;
    std::string out;
    test::run([&](network& net) { return pipeline(net, 50, writes, out); });
    CHECK(count_of(out, "HTTP/1.1 200") == 51);
    CHECK(out.find("GET /7HTTP") < out.find("GET /8HTTP"));
    CHECK(writes <= 2);  // the requests may arrive in two parts
}

namespace {

asio::awaitable<void> count_turns(network& net, int& turns) {
    for (;; ++turns) co_await asio::post(net.executor(), asio::use_awaitable);
}

asio::awaitable<void> send_all(stream& link, std::string text) { co_await write_all(link, as_bytes(text)); }

/// The most requests that were answered within one turn of the executor.
asio::awaitable<void> flood(network& net, std::size_t& most) {
    int turns = 0;
    int turn = 0;
    std::size_t run = 0;
    const http_handler count = [&](http_request& request) {
        run = turn == turns ? run + 1 : 1;
        turn = turns;
        most = std::max(most, run);
        return echo(request);
    };
    http_server server(net, listen_all(net, {ip_address::loopback_v4()}, 0), count);
    task_group tasks(net.executor());
    tasks.spawn(server.run());
    tasks.spawn(count_turns(net, turns));
    auto link = co_await net.connect(server.local_endpoints().front());
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    tasks.spawn(send_all(*link, text + last));
    const std::string out = co_await read_to_end(*link);
    CHECK(count_of(out, "HTTP/1.1 200") == 20'001);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("a client that asks without end does not keep others from their turns") {
    std::size_t most = 0;
    test::run([&](network& net) { return flood(net, most); });
    CHECK(most < 3000);
}

TEST_CASE("a large body goes out behind the small ones that wait") {
    const std::string out = say("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /big HTTP/1.1\r\nHost: h\r\n\r\n" + last);
    CHECK(count_of(out, "HTTP/1.1 200") == 3);
    CHECK(count_of(out, "b") >= 3'000'000);
    CHECK(out.ends_with("GET /last"));
}

namespace {

asio::awaitable<void> dawdle(network& net, std::string text, http_server_options options, bool drip, std::string& out) {
    served here(net, std::move(options));
    auto link = co_await net.connect(here.address());
    co_await write_all(*link, as_bytes(text));
    if (drip) {
        // A byte now and then does not extend the deadline: the writes fail when the server has closed.
        try {
            for (int i = 0; i < 1000; ++i) {
                co_await net.sleep_for(10ms);
                co_await write_all(*link, as_bytes("x"));
            }
            FAIL("the server waited for all");
        } catch (const std::system_error& error) {
            CHECK_FALSE(is_cancellation(error.code()));
        }
    } else {
        out = co_await read_to_end(*link);
    }
    co_await here.stop();
}

}  // namespace

TEST_CASE("slow headers and slow bodies are answered with 408 at an absolute deadline") {
    std::string out;
    http_server_options options;
    options.header_timeout = 100ms;
    options.body_timeout = 100ms;
    const auto wait_with = [&](const std::string& text, bool drip) {
        out.clear();
        test::run([&](network& net) { return dawdle(net, text, options, drip, out); });
        return out;
    };
    CHECK(status_of(wait_with("GET / HTTP/1.1\r\nHost:", false)) == 408);
    CHECK(status_of(wait_with("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc", false)) == 408);
    CHECK(wait_with("", false) == "");  // said nothing: hears nothing
    wait_with("GET /", true);
}

TEST_CASE("a kept connection is closed when nothing more is asked") {
    std::string out;
    http_server_options options;
    options.idle_timeout = 100ms;
    const time_point start = std::chrono::steady_clock::now();
    test::run([&](network& net) { return dawdle(net, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", options, false, out); });
    CHECK(out.ends_with("GET /a"));
    CHECK(std::chrono::steady_clock::now() - start < 5s);
}

namespace {

asio::awaitable<void> put_idle_ask(network& net, std::string& out) {
    served here(net, {});
    auto link = co_await net.connect(here.address());
    byte_vector buffer(4096);
    const std::array<std::string, 3> parts{
        "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "xyz",
        "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"};
    for (const std::string& part : parts) {
        co_await write_all(*link, as_bytes(part));
        const std::size_t got = co_await link->read_some(buffer);
        out += as_text(byte_view(buffer).first(got));
    }
    co_await write_all(*link, as_bytes(last));
    const std::string rest = co_await read_to_end(*link);
    out += rest;
    co_await here.stop();
}

}  // namespace

TEST_CASE("a connection that idles after a body in a packet of its own is asked again") {
    std::string out;
    test::run([&](network& net) { return put_idle_ask(net, out); });
    CHECK(count_of(out, "HTTP/1.1 200") == 3);
    CHECK(out.find("PUT /a [xyz]") < out.find("GET /b"));
    CHECK(out.ends_with("GET /last"));
}

TEST_CASE("an idle connection keeps little memory") {
    detail::http_connection client;
    client.input.resize(detail::http_connection::large_buffer);
    client.input_begin = client.input_end = 70;
    client.output.reserve(100'000);
    client.request.body.reserve(100'000);
    client.release_memory();
    CHECK(client.unread().empty());
    CHECK(client.input.capacity() + client.output.capacity() + client.request.body.capacity() < 100);
}

namespace {

asio::awaitable<void> crowd(network& net, std::size_t& most) {
    http_server_options options;
    options.max_connections = 2;
    served here(net, std::move(options));
    std::vector<std::unique_ptr<stream>> links;
    const std::string ask = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
    byte_vector buffer(4096);
    for (int i = 0; i < 5; ++i) {
        auto link = co_await net.connect(here.address());
        co_await write_all(*link, as_bytes(ask));
        links.push_back(std::move(link));
    }
    // Each gets its turn when one before it goes.
    for (auto& link : links) {
        const std::size_t got = co_await link->read_some(buffer);
        CHECK(as_text(byte_view(buffer).first(got)).ends_with("GET /x"));
        most = std::max(most, here.server.connections());
        link->close();
    }
    co_await here.stop();
}

}  // namespace

TEST_CASE("beyond the limit, connections wait until others have gone") {
    std::size_t most = 0;
    test::run([&](network& net) { return crowd(net, most); });
    CHECK(most == 2);
}

namespace {

asio::awaitable<void> crowd_of_one(network& net) {
    test::placed_network home(net, 9);
    test::placed_network rude(net, 5);
    test::placed_network polite(net, 6);
    http_server_options options;
    options.max_of_one_network = 2;
    options.max_connections = 4;
    served here(home, std::move(options));
    std::vector<std::unique_ptr<stream>> silent;
    for (int i = 0; i < 4; ++i) {
        auto link = co_await rude.connect(here.address());
        silent.push_back(std::move(link));
    }
    for (std::size_t i = 2; i < silent.size(); ++i) {
        const std::string nothing = co_await read_to_end(*silent[i]);
        CHECK(nothing.empty());
    }
    CHECK(here.server.connections() == 2);
    auto link = co_await polite.connect(here.address());
    co_await write_all(*link, as_bytes(last));
    const std::string answer = co_await read_to_end(*link);
    CHECK(answer.ends_with("GET /last"));

    // A place that becomes free may be taken by the same.
    silent[0]->close();
    const auto gone = [&] { return here.server.connections() == 1; };
    co_await test::eventually(net, gone);
    link = co_await rude.connect(here.address());
    co_await write_all(*link, as_bytes(last));
    const std::string again = co_await read_to_end(*link);
    CHECK(again.ends_with("GET /last"));
    co_await here.stop();
}

/// Has no memory for the first connection.
class poor_listener final : public listener {
public:
    explicit poor_listener(std::unique_ptr<listener> inner) : inner_(std::move(inner)) {}

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        auto link = co_await inner_->accept();
        if (++accepted_ == 1) throw std::bad_alloc();
        co_return link;
    }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }
    void close() noexcept override { inner_->close(); }

private:
    std::unique_ptr<listener> inner_;
    int accepted_ = 0;
};

asio::awaitable<void> accept_in_poverty(network& net) {
    std::vector<std::unique_ptr<listener>> doors;
    doors.push_back(std::make_unique<poor_listener>(net.listen({ip_address::loopback_v4(), 0})));
    http_server server(net, std::move(doors), echo);
    task_group tasks(net.executor());
    tasks.spawn(server.run());
    auto first = co_await net.connect(server.local_endpoints().front());
    const std::string nothing = co_await read_to_end(*first);
    CHECK(nothing.empty());
    auto second = co_await net.connect(server.local_endpoints().front());
    co_await write_all(*second, as_bytes(last));
    const std::string answer = co_await read_to_end(*second);
    CHECK(answer.ends_with("GET /last"));
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("one address does not get all places, and loses no place that it leaves") { test::run(&crowd_of_one); }

TEST_CASE("a connection for which there is no memory is no reason to serve no other") { test::run(&accept_in_poverty); }

namespace {

asio::awaitable<void> both_families(network& net) {
    http_server server(net, listen_all(net, all_addresses(), 0), echo);
    task_group tasks(net.executor());
    tasks.spawn(server.run());
    const auto addresses = server.local_endpoints();
    REQUIRE(addresses.size() == 2);
    CHECK(addresses[0].port == addresses[1].port);
    const std::string port = std::to_string(addresses[0].port);
    const auto four = co_await http_get(net, "http://127.0.0.1:" + port + "/four");
    CHECK(four.body == "GET /four");
    const auto six = co_await http_get(net, "http://[::1]:" + port + "/six");
    CHECK(six.body == "GET /six");
    CHECK_THROWS_WITH_AS(listen_all(net, all_addresses(), addresses[0].port), doctest::Contains("0.0.0.0"),
                         std::system_error);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("one server listens on both families at one port") {
    test::run([](network& net) { return both_families(net); });
}

namespace {

asio::awaitable<void> stop_in_the_middle(network& net) {
    served here(net, {});
    byte_vector buffer(4096);
    auto idle = co_await net.connect(here.address());
    co_await write_all(*idle, as_bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    co_await idle->read_some(buffer);
    auto busy = co_await net.connect(here.address());
    co_await write_all(*busy, as_bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT"));
    co_await busy->read_some(buffer);
    CHECK(here.server.connections() == 2);
    co_await here.stop();
    CHECK(here.server.connections() == 0);
    const std::size_t got = co_await idle->read_some(buffer);
    CHECK(got == 0);
}

}  // namespace

TEST_CASE("stopping ends every connection") {
    test::run([](network& net) { return stop_in_the_middle(net); });
}

}  // namespace http_server_test
