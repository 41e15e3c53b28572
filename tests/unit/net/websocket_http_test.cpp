#include <doctest/doctest.h>

#include <cohort/net/http_client.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/net/websocket_server.hpp>

#include "support/eventually.hpp"
#include "support/heap.hpp"
#include "support/http_script.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"

namespace websocket_http_test {

using namespace cohort;
using namespace cohort::test;

namespace {

asio::awaitable<void> echo(std::unique_ptr<websocket> with) {
    if (!with->protocol.empty()) co_await with->send("speaking " + with->protocol);
    for (;;) {
        const websocket_message message = co_await with->receive();
        if (message.text() == "throw") throw std::runtime_error("words for the log");
        co_await with->send(message);
    }
}

/// An HTTP server with a WebSocket at /ws, for as long as one test's client runs.
class served {
public:
    explicit served(network& net, http_server_options options = {}, websocket_server_options upgrade = {})
        : net_(net),
          upgrade_(std::move(upgrade)),
          server(net, listen_all(net, {ip_address::loopback_v4()}, 0), handler(), std::move(options)),
          tasks_(net.executor()) {
        tasks_.spawn(server.run());
    }

    endpoint address() const { return server.local_endpoints().front(); }
    std::string url(std::string_view path = "/ws") const { return "ws://" + address().to_string() + std::string(path); }

    asio::awaitable<void> stop() {
        tasks_.cancel();
        co_await tasks_.join();
    }

private:
    http_handler handler() {
        return [this](http_request& request) { return answer(request); };
    }
    asio::awaitable<http_response> answer(http_request& request) {
        if (request.path() != "/ws") co_return make_http_response(404, "text/plain", "nothing here");
        http_response out = upgrade_to_websocket(net_, request, &echo, upgrade_);
        co_return out;
    }

    network& net_;
    websocket_server_options upgrade_;

public:
    http_server server;

private:
    task_group tasks_;
};

/// Sends bytes on a connection of its own and returns what comes until `end` is in it or the connection ends.
asio::awaitable<std::string> ask(network& net, endpoint at, std::string request, std::string end) {
    auto link = co_await net.connect(at);
    co_await write_all(*link, as_bytes(request));
    std::string out;
    byte_vector buffer(4096);
    while (out.find(end) == std::string::npos) {
        const std::size_t got = co_await link->read_some(buffer);
        if (got == 0) break;
        out += as_text(byte_view(buffer).first(got));
    }
    co_return out;
}

std::string request_head(const std::string& more = "") {
    return "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
           more + "\r\n";
}

/// What websocket_connect() fails with when the server says `answer`; "KEY" in it becomes the right accept value.
asio::awaitable<std::error_code> failure_of_answer(network& net, std::string answer, websocket_client_options options) {
    const endpoint any{ip_address::loopback_v4(), 0};
    const auto door = net.listen(any);
    script what;
    what.answers.push_back(std::move(answer));
    task_group tasks(net.executor());
    tasks.spawn(serve_script(net, *door, what));
    std::error_code why;
    const std::string at = "ws://" + door->local_endpoint().to_string() + "/chat?x=1";
    co_await store_error(why, websocket_connect(net, at, std::move(options)));
    tasks.cancel();
    co_await tasks.join();
    co_return why;
}

}  // namespace

TEST_CASE("a client connects by URL and a server's handler talks with it") {
    run([](network& net) -> asio::awaitable<void> {
        served world(net);
        const auto link = co_await websocket_connect(net, world.url());
        CHECK(link->protocol.empty());
        CHECK(link->remote_endpoint() == world.address());
        co_await link->send("hello");
        const websocket_message back = co_await link->receive();
        CHECK(back.text() == "hello");
        CHECK(world.server.connections() == 1);
        co_await link->close();
        CHECK(link->peer_close_code() == 1000);
        const auto gone = [&] { return world.server.connections() == 0; };
        co_await eventually(net, gone);
        co_await world.stop();
    });
}

TEST_CASE("both sides know the subprotocol that they agreed on") {
    run([](network& net) -> asio::awaitable<void> {
        const websocket_server_options speaks{.protocols = {"cohort.2", "cohort.1"}};
        served world(net, http_server_options(), speaks);
        websocket_client_options options;
        options.protocols = {"cohort.1", "other"};
        const auto link = co_await websocket_connect(net, world.url(), options);
        CHECK(link->protocol == "cohort.1");
        const websocket_message first = co_await link->receive();
        CHECK(first.text() == "speaking cohort.1");
        co_await link->close();
        options.protocols = {"other"};
        const auto without = co_await websocket_connect(net, world.url(), options);
        CHECK(without->protocol.empty());
        co_await without->close();
        co_await world.stop();
    });
}

TEST_CASE("frames that come in one packet with the request are not lost") {
    run([](network& net) -> asio::awaitable<void> {
        served world(net);
        byte_vector frames;
        append_websocket_frame(frames, websocket_opcode::text, as_bytes("early"), 7);
        append_websocket_frame(frames, websocket_opcode::close, {}, 8);
        const std::string request = request_head() + std::string(as_text(frames));
        const std::string never = "\x01\x02never";
        const std::string answer = co_await ask(net, world.address(), request, never);
        CHECK(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        CHECK(answer.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != std::string::npos);
        CHECK(answer.find("Connection: Upgrade\r\n") != std::string::npos);
        CHECK(answer.find("keep-alive") == std::string::npos);
        CHECK(answer.find("Content-Length") == std::string::npos);
        const std::string expected(
            "\r\n\r\n\x81\x05"
            "early\x88\x00",
            13);
        CHECK(answer.ends_with(expected));
        co_await world.stop();
    });
}

TEST_CASE("frames that come in one packet with the answer are not lost") {
    run([](network& net) -> asio::awaitable<void> {
        const websocket_server_options speaks{.protocols = {"p"}};
        served world(net, http_server_options(), speaks);
        websocket_client_options options;
        options.protocols = {"p"};
        for (int i = 0; i < 20; ++i) {
            const auto link = co_await websocket_connect(net, world.url(), options);
            const websocket_message first = co_await link->receive();
            CHECK(first.text() == "speaking p");
            link->abort();
        }
        co_await world.stop();
    });
}

TEST_CASE("a request that is none for a WebSocket gets an answer that says so, and the connection lives on") {
    run([](network& net) -> asio::awaitable<void> {
        served world(net);
        const std::string plain = "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n";
        const std::string last = "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        const std::string both = co_await ask(net, world.address(), plain + last, "nothing here");
        CHECK(
            both.starts_with("HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain\r\nUpgrade: websocket\r\n"
                             "Sec-WebSocket-Version: 13\r\n"));
        CHECK(both.find("\r\nConnection: upgrade, keep-alive\r\n") != std::string::npos);
        CHECK(both.find("HTTP/1.1 404") != std::string::npos);
        std::string broken = request_head();
        replace_all(broken, "ZQ==", "");
        const std::string refused = co_await ask(net, world.address(), broken, "Bad Request\n");
        CHECK(refused.starts_with("HTTP/1.1 400 "));
        co_await world.stop();
    });
}

TEST_CASE("a page of another site is refused unless it is let in") {
    run([](network& net) -> asio::awaitable<void> {
        served world(net);
        const std::string foreign = request_head("Origin: http://evil.example\r\n");
        const std::string refused = co_await ask(net, world.address(), foreign, "\r\n\r\n");
        CHECK(refused.starts_with("HTTP/1.1 403 "));
        const std::string own = request_head("Origin: http://localhost\r\n");
        const std::string taken = co_await ask(net, world.address(), own, "\r\n\r\n");
        CHECK(taken.starts_with("HTTP/1.1 101 "));
        co_await world.stop();
        const websocket_server_options open_to_all{.any_origin = true};
        served open(net, http_server_options(), open_to_all);
        const std::string let_in = co_await ask(net, open.address(), foreign, "\r\n\r\n");
        CHECK(let_in.starts_with("HTTP/1.1 101 "));
        co_await open.stop();
    });
}

TEST_CASE("the deadlines of HTTP do not concern a link that speaks another protocol") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        served world(net);
        const auto link = co_await websocket_connect(net, world.url());
        task_group tasks(net.executor());
        std::error_code why;
        tasks.spawn(store_error(why, link->receive()));
        for (int i = 0; i < 60; ++i) {
            net.shift(10s);
            for (int j = 0; j < 50; ++j) co_await asio::post(net.executor(), asio::use_awaitable);
        }
        CHECK(world.server.connections() == 1);
        CHECK(!why);
        co_await link->close();
        co_await tasks.join();
        co_await world.stop();
    });
}

TEST_CASE("a server that stops ends its links") {
    run([](network& net) -> asio::awaitable<void> {
        served world(net);
        const auto link = co_await websocket_connect(net, world.url());
        co_await link->send("hello");
        co_await link->receive();
        co_await world.stop();
        CHECK(world.server.connections() == 0);
        std::error_code why;
        co_await store_error(why, link->receive());
        CHECK(why == errc::connection_closed);
        co_await link->close();
    });
}

TEST_CASE("an exception of a talk ends that link alone and is told") {
    run([](network& net) -> asio::awaitable<void> {
        std::string told;
        http_server_options options;
        options.on_handler_error = [&told](const http_request& request, const std::string& what) {
            told = request.method + " " + request.target + ": " + what;
        };
        served world(net, options);
        const auto doomed = co_await websocket_connect(net, world.url("/ws?a=1"));
        const auto other = co_await websocket_connect(net, world.url());
        co_await doomed->send("throw");
        std::error_code why;
        co_await store_error(why, doomed->receive());
        CHECK(why == errc::connection_closed);
        CHECK(told == "GET /ws?a=1: words for the log");
        co_await other->send("still here");
        const websocket_message back = co_await other->receive();
        CHECK(back.text() == "still here");
        co_await other->close();
        co_await doomed->close();
        co_await world.stop();
    });
}

TEST_CASE("an answer that is none to our request is refused") {
    run([](network& net) -> asio::awaitable<void> {
        const websocket_client_options options;
        std::error_code why =
            co_await failure_of_answer(net, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", options);
        CHECK(why == errc::http_status);
        why = co_await failure_of_answer(
            net, "HTTP/1.1 301 Moved\r\nLocation: ws://x/\r\nContent-Length: 9999999\r\n\r\n", options);
        CHECK(why == errc::http_status);
        const std::string upgrade = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        why = co_await failure_of_answer(net, upgrade + "\r\n", options);
        CHECK(why == errc::websocket_malformed);
        why = co_await failure_of_answer(net, upgrade + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                                         options);
        CHECK(why == errc::websocket_malformed);
        // An interim answer is not the final one, and neither is an endless row of them.
        const std::string hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        why = co_await failure_of_answer(net, hints + upgrade + "\r\n", options);
        CHECK(why == errc::websocket_malformed);
        std::string many;
        for (int i = 0; i < 9; ++i) many += hints;
        why = co_await failure_of_answer(net, many, options);
        CHECK(why == errc::http_malformed);
        why = co_await failure_of_answer(net, "SSH-2.0-x\r\n\r\n", options);
        CHECK(why == errc::http_malformed);
        why = co_await failure_of_answer(net, "HTTP/1.1 101 Yes\r\nX: " + std::string(20'000, 'x'), options);
        CHECK(why == errc::http_too_large);
        why = co_await failure_of_answer(net, "HTTP/1.1 101 Yes\r\n", options);
        CHECK(why == errc::connection_closed);
    });
}

TEST_CASE("an opening handshake that takes too long is given up") {
    run([](network& machine) -> asio::awaitable<void> {
        shifting_network net(machine);
        const endpoint any{ip_address::loopback_v4(), 0};
        const auto door = net.listen(any);
        task_group tasks(net.executor());
        std::error_code why;
        const std::string at = "ws://" + door->local_endpoint().to_string() + "/";
        tasks.spawn(store_error(why, websocket_connect(net, at)));
        const auto silent = co_await door->accept();
        byte_vector request(10);
        co_await read_exactly(*silent, request);
        net.shift(11s);
        co_await tasks.join();
        CHECK(why == errc::timed_out);
    });
}

TEST_CASE("the request names host, target, subprotocols and what else it shall") {
    run([](network& net) -> asio::awaitable<void> {
        const endpoint any{ip_address::loopback_v4(), 0};
        const auto door = net.listen(any);
        websocket_client_options options;
        options.protocols = {"a", "b"};
        options.headers.add("Origin", "http://here");
        task_group tasks(net.executor());
        std::error_code why;
        auto carrier = co_await net.connect(door->local_endpoint());
        std::error_code ec;
        const auto at = parse_url("wss://example.org/chat?x=1", ec);
        tasks.spawn(store_error(why, websocket_connect(net, std::move(carrier), *at, options)));
        const auto link = co_await door->accept();
        std::string request;
        byte_vector buffer(4096);
        while (request.find("\r\n\r\n") == std::string::npos) {
            const std::size_t got = co_await link->read_some(buffer);
            request += as_text(byte_view(buffer).first(got));
        }
        CHECK(request.starts_with("GET /chat?x=1 HTTP/1.1\r\nHost: example.org\r\n"));
        CHECK(request.find("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ") !=
              std::string::npos);
        CHECK(
            request.find("\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: http://here\r\n") !=
            std::string::npos);
        link->close();
        co_await tasks.join();
        CHECK(why == errc::connection_closed);
    });
}

TEST_CASE("only ws URLs are dialled") {
    run([](network& net) -> asio::awaitable<void> {
        std::error_code why;
        co_await store_error(why, websocket_connect(net, "wss://localhost/"));
        CHECK(why == errc::url_unsupported);
        co_await store_error(why, websocket_connect(net, "ws://local host/"));
        CHECK(why == errc::url_invalid);
    });
}

TEST_CASE("an idle link costs a server less than 8 KiB, and a client too") {
    run([](network& net) -> asio::awaitable<void> {
        served world(net);
        std::vector<std::unique_ptr<websocket>> links;
        task_group tasks(net.executor());
        std::vector<std::error_code> ends(50);
        const heap_growth growth;
        for (std::error_code& end : ends) {
            auto link = co_await websocket_connect(net, world.url());
            links.push_back(std::move(link));
            tasks.spawn(store_error(end, links.back()->receive()));
        }
        const auto all_connected = [&] { return world.server.connections() == 50; };
        co_await eventually(net, all_connected);
        for (int i = 0; i < 50; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
        MESSAGE("bytes of both ends of an idle link: ", growth.bytes() / 50);
        CHECK(growth.bytes() / 50 < 2 * 8 * 1024);
        for (const auto& link : links) link->abort();
        co_await tasks.join();
        co_await world.stop();
    });
}

}  // namespace websocket_http_test
