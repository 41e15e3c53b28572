#include <doctest/doctest.h>

#include <cohort/net/http_client.hpp>
#include <cohort/net/task_group.hpp>

#include "support/http_script.hpp"
#include "support/net.hpp"
#include "support/run.hpp"

namespace http_client_test {

using namespace cohort;
using test::script;
using test::serve_script;

namespace {

struct fetched {
    http_response response;
    std::error_code error;
    std::string message;
};

/// What http_get makes of a URL while the script is played. %PORT% in the answers becomes the server's port.
asio::awaitable<fetched> fetch(network& net, script& what, std::string path, http_client_options options) {
    auto door = net.listen({ip_address::loopback_v4(), 0});
    const std::string port = std::to_string(door->local_endpoint().port);
    for (std::string& answer : what.answers) test::replace_all(answer, "%PORT%", port);
    task_group tasks(net.executor());
    tasks.spawn(serve_script(net, *door, what));
    fetched out;
    try {
        out.response = co_await http_get(net, "http://127.0.0.1:" + port + path, options);
    } catch (const std::system_error& error) {
        out.error = error.code();
        out.message = error.what();
    }
    tasks.cancel();
    co_await tasks.join();
    co_return out;
}

fetched get(script& what, http_client_options options = {}, std::string path = "/file") {
    fetched out;
    test::run([&](network& net) { return test::store(out, fetch(net, what, path, options)); });
    return out;
}

fetched get(std::string answer, http_client_options options = {}) {
    script what{.answers = {std::move(answer)}};
    return get(what, std::move(options));
}

}  // namespace

TEST_CASE("a body with a length, in chunks, or until the end of the connection is fetched") {
    CHECK(get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").response.body == "hello");
    CHECK(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").response.body ==
          "hello");
    CHECK(get("HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello").response.body == "hello");
    CHECK(get("HTTP/1.0 200 OK\r\nX: y\r\n\r\n").response.body == "");
}

TEST_CASE("the request names host and target, and asks for no compression") {
    script what{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}};
    const fetched got = get(what, {}, "/a?b=%20");
    CHECK(!got.error);
    CHECK(what.request.starts_with("GET /a?b=%20 HTTP/1.1\r\nHost: 127.0.0.1:"));
    CHECK(what.request.find("gzip") == std::string::npos);
    CHECK(what.request.find("Connection: close\r\n") != std::string::npos);
}

TEST_CASE("a connection that stays open behind a complete answer is not waited for") {
    script what{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"}, .hang_up = false};
    CHECK(get(what).response.body == "hello");
}

TEST_CASE("interim answers are passed over") {
    CHECK(get("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").response.body ==
          "ok");
}

TEST_CASE("interim answers without end are none") {
    std::string many;
    for (int i = 0; i < 9; ++i) many += "HTTP/1.1 103 Early Hints\r\n\r\n";
    script endless{.answers = {many}, .hang_up = false};
    CHECK(get(endless).error == errc::http_malformed);
    const std::string few = many.substr(0, many.size() / 9 * 8);
    CHECK(get(few + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").response.body == "ok");
}

TEST_CASE("a status other than 200 is an error with its number, unless it is asked for") {
    const fetched refused = get("HTTP/1.1 404 Gone fishing\r\nContent-Length: 2\r\n\r\nno");
    CHECK(refused.error == errc::http_status);
    CHECK(refused.message.find("404") != std::string::npos);
    const fetched kept = get("HTTP/1.1 404 Gone fishing\r\nContent-Length: 2\r\n\r\nno", {.keep_status = true});
    CHECK(!kept.error);
    CHECK(kept.response.status == 404);
    CHECK(kept.response.body == "no");
}

TEST_CASE("bodies beyond the limit are refused: by their length before a byte of them, by their bytes otherwise") {
    script gigabyte{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"}, .hang_up = false};
    CHECK(get(gigabyte).error == errc::http_too_large);
    const std::string much(2 * 1024 * 1024, 'x');
    CHECK(get("HTTP/1.1 200 OK\r\n\r\n" + much).error == errc::http_too_large);
    CHECK(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + much).error == errc::http_too_large);
    CHECK(get("HTTP/1.1 200 OK\r\nX: " + much).error == errc::http_too_large);
    CHECK(get("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n").error == errc::http_malformed);
}

TEST_CASE("an answer that breaks off is a closed connection") {
    CHECK(get("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").error == errc::connection_closed);
    CHECK(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").error == errc::connection_closed);
    CHECK(get("HTTP/1.1 200").error == errc::connection_closed);
    CHECK(get("").error == errc::connection_closed);
}

TEST_CASE("garbage and contradictions are malformed") {
    CHECK(get("SSH-2.0-OpenSSH_9.2\r\n\r\n").error == errc::http_malformed);
    CHECK(get("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy").error == errc::http_malformed);
    CHECK(get("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxy").error == errc::http_malformed);
    CHECK(get("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx").error == errc::http_malformed);
}

TEST_CASE("a server that says nothing, or a byte now and then, is given up in time") {
    script silent{.answers = {""}, .hang_up = false};
    CHECK(get(silent, {.first_byte_timeout = 100ms, .total_timeout = 10s}).error == errc::timed_out);
    script slow{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x')}, .pause = 10ms};
    const time_point start = std::chrono::steady_clock::now();
    CHECK(get(slow, {.first_byte_timeout = 10s, .total_timeout = 300ms}).error == errc::timed_out);
    CHECK(std::chrono::steady_clock::now() - start < 5s);
}

TEST_CASE("redirects are followed, also relative ones") {
    script what{.answers = {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%PORT%/b?c\r\nContent-Length: 0\r\n\r\n",
                            "HTTP/1.1 301 Moved\r\nLocation: d\r\nContent-Length: 0\r\n\r\n",
                            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}};
    CHECK(get(what).response.body == "ok");
    CHECK(what.request.starts_with("GET /d HTTP/1.1\r\n"));
    CHECK(what.connections == 3);
}

TEST_CASE("redirects in a circle, or too many of them, or to forbidden places end the search") {
    const auto to = [](const std::string& place) {
        return "HTTP/1.1 302 Found\r\nLocation: " + place + "\r\nContent-Length: 0\r\n\r\n";
    };
    script circle{.answers = {to("/a"), to("/b"), to("/a")}};
    CHECK(get(circle).error == errc::too_many_redirects);
    CHECK(circle.connections == 3);
    script self{.answers = {to("/file")}};
    CHECK(get(self).error == errc::too_many_redirects);
    CHECK(self.connections == 1);
    script chain{.answers = {to("/1"), to("/2"), to("/3"), to("/4"), to("/5"), to("/6"), to("/7")}};
    CHECK(get(chain).error == errc::too_many_redirects);
    CHECK(chain.connections == 6);
    CHECK(get(to("file:///etc/passwd")).error == errc::url_unsupported);
    CHECK(get(to("udp://127.0.0.1:%PORT%/")).error == errc::too_many_redirects);
    CHECK(get(to("https://127.0.0.1:%PORT%/")).error == errc::url_unsupported);
    CHECK(get(to("/a b")).error == errc::url_invalid);
    CHECK(get("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").error == errc::http_status);
}

namespace {

/// A world where names lead to a public address, which a server on this machine plays.
class disguised_network final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;

    asio::awaitable<std::vector<ip_address>> resolve(std::string host) override {
        std::vector<ip_address> out{host == "inside.example" ? ip_address::loopback_v4() : public_address};
        co_return out;
    }
    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override {
        const bool disguised = to.address == public_address;
        if (disguised) to.address = ip_address::loopback_v4();
        auto link = co_await inner().connect(to);
        if (disguised)
            link = std::make_unique<test::renamed_stream>(std::move(link), endpoint{public_address, to.port});
        co_return link;
    }

    const ip_address public_address = *ip_address::parse("198.51.100.7");
};

asio::awaitable<void> fetch_in_disguise(network& real, script& what, std::error_code& error) {
    disguised_network net(real);
    auto door = net.listen({ip_address::loopback_v4(), 0});
    const std::string port = std::to_string(door->local_endpoint().port);
    for (std::string& answer : what.answers) test::replace_all(answer, "%PORT%", port);
    task_group tasks(net.executor());
    tasks.spawn(serve_script(net, *door, what));
    try {
        co_await http_get(net, "http://tracker.example:" + port + "/");
    } catch (const std::system_error& failure) {
        error = failure.code();
    }
    tasks.cancel();
    co_await tasks.join();
}

std::error_code get_in_disguise(script& what) {
    std::error_code out;
    test::run([&](network& net) { return fetch_in_disguise(net, what, out); });
    return out;
}

}  // namespace

TEST_CASE("a public server may not send us to this machine, neither by address nor by a name that leads there") {
    const auto to = [](const std::string& place) {
        return "HTTP/1.1 302 Found\r\nLocation: " + place + "\r\nContent-Length: 0\r\n\r\n";
    };
    const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    script other{.answers = {to("http://other.example:%PORT%/"), ok}};
    CHECK(!get_in_disguise(other));
    CHECK(other.connections == 2);
    for (const char* host : {"127.0.0.1", "localhost", "inside.example", "169.254.169.254", "[::1]"}) {
        CAPTURE(host);
        script what{.answers = {to("http://" + std::string(host) + ":%PORT%/"), ok}};
        CHECK(get_in_disguise(what) == errc::too_many_redirects);
        CHECK(what.connections == 1);
    }
}

TEST_CASE("URLs that cannot be fetched fail at once") {
    const auto error_of = [](const std::string& address) {
        std::error_code out;
        test::run([&](network& net) { return test::store_error(out, http_get(net, address)); });
        return out;
    };
    CHECK(error_of("https://127.0.0.1/") == errc::url_unsupported);
    CHECK(error_of("udp://127.0.0.1:1/") == errc::url_unsupported);
    CHECK(error_of("http://127.0.0.1/a b") == errc::url_invalid);
    CHECK(error_of("http://no-such-host.invalid/") == errc::host_not_found);
    CHECK(error_of("http://127.0.0.1:1/") == std::errc::connection_refused);
}

namespace {

asio::awaitable<void> fetch_from_second_address(network& real, std::string& body) {
    class two_addresses final : public test::forwarding_network {
    public:
        using forwarding_network::forwarding_network;
        asio::awaitable<std::vector<ip_address>> resolve(std::string) override {
            std::vector<ip_address> out{*ip_address::parse("127.0.0.2"), ip_address::loopback_v4()};
            co_return out;
        }
    };
    two_addresses net(real);
    auto door = net.listen({ip_address::loopback_v4(), 0});
    const std::string port = std::to_string(door->local_endpoint().port);
    script what{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}};
    task_group tasks(net.executor());
    tasks.spawn(serve_script(net, *door, what));
    const auto response = co_await http_get(net, "http://two.example:" + port + "/");
    body = response.body;
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("where one address of a host refuses, the next one is tried") {
    std::string body;
    test::run([&](network& net) { return fetch_from_second_address(net, body); });
    CHECK(body == "ok");
}

namespace {

/// What http_request_to makes of a script.
asio::awaitable<fetched> send(network& net, script& what, std::string method, http_headers headers, std::string body,
                              http_client_options options) {
    auto door = net.listen({ip_address::loopback_v4(), 0});
    const std::string port = std::to_string(door->local_endpoint().port);
    for (std::string& answer : what.answers) test::replace_all(answer, "%PORT%", port);
    task_group tasks(net.executor());
    tasks.spawn(serve_script(net, *door, what));
    fetched out;
    try {
        out.response = co_await http_request_to(net, method, "http://127.0.0.1:" + port + "/x", headers, body, options);
    } catch (const std::system_error& error) {
        out.error = error.code();
        out.message = error.what();
    }
    tasks.cancel();
    co_await tasks.join();
    co_return out;
}

fetched ask(script& what, const std::string& method, const std::string& body = {}, const http_headers& headers = {},
            const http_client_options& options = {}) {
    fetched out;
    test::run([&](network& net) { return test::store(out, send(net, what, method, headers, body, options)); });
    return out;
}

}  // namespace

TEST_CASE("other methods are sent with their body, its length, and the headers that are given") {
    script what{.answers = {"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"}};
    http_headers headers;
    headers.add("Content-Type", "application/json");
    CHECK(ask(what, "POST", "{}", headers).response.status == 201);
    CHECK(what.request.starts_with("POST /x HTTP/1.1\r\nHost: 127.0.0.1:"));
    CHECK(what.request.find("\r\nContent-Type: application/json\r\nContent-Length: 2\r\n") != std::string::npos);
    CHECK(what.request.ends_with("\r\n\r\n{}"));
    CHECK(ask(what, "DELETE").response.body == "ok");
    CHECK(what.request.starts_with("DELETE /x HTTP/1.1\r\n"));
    CHECK(what.request.find("Content-Length: 0\r\n") != std::string::npos);
}

TEST_CASE("an answer to HEAD has no body, whatever length it tells") {
    script what{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"}, .hang_up = false};
    const fetched got = ask(what, "HEAD");
    CHECK(!got.error);
    CHECK(got.response.body.empty());
    CHECK(got.response.headers.find("Content-Length") == "1000000000");
}

TEST_CASE("a request that may change something follows no redirect") {
    script what{.answers = {"HTTP/1.1 307 Elsewhere\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
                            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}};
    CHECK(ask(what, "POST", "x").error == errc::http_status);
    CHECK(what.connections == 1);
    what.connections = 0;
    CHECK(ask(what, "DELETE", {}, {}, {.keep_status = true}).response.status == 307);
    CHECK(what.connections == 1);
    what.connections = 0;
    CHECK(ask(what, "GET").response.status == 200);
    CHECK(what.connections == 2);
}

TEST_CASE("methods and headers that would become others on the wire are not sent") {
    script what{.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}};
    CHECK(ask(what, "GET / HTTP/1.1\r\nX:").error == errc::http_malformed);
    CHECK(ask(what, "").error == errc::http_malformed);
    http_headers headers;
    headers.add("X", "y\r\nHost: elsewhere");
    CHECK(ask(what, "GET", {}, headers).error == errc::http_malformed);
    CHECK(what.connections == 0);
}

}  // namespace http_client_test
