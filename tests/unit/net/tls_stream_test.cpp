#include <doctest/doctest.h>

#include <cstdlib>

#include <cohort/net/http_client.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/tls_stream.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/net/websocket_server.hpp>

#include "support/certificates.hpp"
#include "support/heap.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/stream_pair.hpp"
#include "support/temp_dir.hpp"

namespace tls_stream_test {

using namespace cohort;

namespace {

/// A server's certificate and who trusts it.
struct certified {
    explicit certified(const test::certificate_wish& wish = {}) { test::write_certificate(folder / "x", wish); }

    std::string certificate() const { return (folder / "x/cert.pem").string(); }
    std::string key() const { return (folder / "x/key.pem").string(); }
    tls_context server(const std::string& ca_file = {}) const {
        const tls_server_options how{certificate(), key(), ca_file};
        return tls_context::server(how);
    }
    tls_context client() const {
        const tls_client_options how{.ca_file = certificate()};
        return tls_context::client(how);
    }

    test::temp_dir folder;
};

asio::awaitable<void> accept_into(std::unique_ptr<stream>& out, std::error_code& error, std::unique_ptr<stream> plain,
                                  tls_context server) {
    try {
        out = co_await tls_accept(std::move(plain), std::move(server));
    } catch (const std::system_error& failure) {
        error = failure.code();
    }
}

struct tls_pair {
    std::unique_ptr<stream> client;
    std::unique_ptr<stream> server;
    std::error_code client_error;
    std::error_code server_error;
    std::string words;  ///< of the client's failure
};

/// Both ends of a handshake, however it ends.
asio::awaitable<tls_pair> shake(network& net, tls_context client, tls_context server, std::string host) {
    tls_pair out;
    auto links = co_await test::tcp_pair(net);
    task_group tasks(net.executor());
    tasks.spawn(accept_into(out.server, out.server_error, std::move(links.second), std::move(server)));
    try {
        out.client = co_await tls_connect(std::move(links.first), std::move(client), std::move(host));
    } catch (const std::system_error& failure) {
        out.client_error = failure.code();
        out.words = failure.what();
    }
    co_await tasks.join();
    co_return out;
}

/// The streams go before the network that they need.
asio::awaitable<void> note_errors(network& net, tls_context client, tls_context server, std::string host,
                                  tls_pair& out) {
    out = co_await shake(net, std::move(client), std::move(server), std::move(host));
    out.client.reset();
    out.server.reset();
}

tls_pair shaken(const tls_context& client, const tls_context& server, const std::string& host = "localhost") {
    tls_pair out;
    test::run([&](network& net) { return note_errors(net, client, server, host, out); });
    return out;
}

asio::awaitable<void> talk(network& net, const certified& who) {
    auto pair = co_await shake(net, who.client(), who.server(), "localhost");
    REQUIRE(pair.client);
    REQUIRE(pair.server);
    CHECK(pair.client->remote_endpoint() == pair.server->local_endpoint());
    const std::vector<byte_view> parts{as_bytes("one "), {}, as_bytes("two")};
    co_await pair.client->write(parts);
    co_await pair.server->readable();
    byte_vector buffer(7);
    byte_vector first(3);
    co_await read_exactly(*pair.server, first);
    co_await pair.server->readable();  // what is decrypted already counts
    co_await read_exactly(*pair.server, byte_span(buffer).first(4));
    CHECK(as_text(byte_view(buffer).first(4)) == " two");
    co_await write_all(*pair.server, as_bytes("back"));
    const std::size_t got = co_await pair.client->read_some(buffer);
    CHECK(got == 4);

    // An orderly end is one for the reader, while the other direction goes on.
    pair.client->finish();
    const std::size_t end = co_await pair.server->read_some(buffer);
    CHECK(end == 0);
    co_await write_all(*pair.server, as_bytes("late"));
    co_await read_exactly(*pair.client, byte_span(buffer).first(4));
    CHECK(as_text(byte_view(buffer).first(4)) == "late");
    std::error_code error;
    co_await test::store_error(error, write_all(*pair.client, as_bytes("x")));
    CHECK(error == std::errc::broken_pipe);
}

asio::awaitable<void> read_into(stream& link, byte_span room, std::size_t& got) { got = co_await link.read_some(room); }

asio::awaitable<void> wait_idly(network& net, const certified& who) {
    const tls_context client = who.client();
    const tls_context server = who.server();
    auto first = co_await shake(net, client, server, "localhost");  // OpenSSL's own tables
    const test::heap_growth growth;
    auto pair = co_await shake(net, client, server, "localhost");
    REQUIRE(pair.server);
    byte_vector room(100);
    for (int i = 0; i < 2; ++i) {
        std::size_t got = 0;
        task_group tasks(net.executor());
        tasks.spawn(read_into(*pair.server, room, got));
        for (int turn = 0; turn < 10; ++turn) co_await asio::post(net.executor(), asio::use_awaitable);
        CHECK(tasks.size() == 1);
        CHECK(growth.bytes() < 48 * 1024);  // of both ends, most of it OpenSSL's
        co_await write_all(*pair.client, as_bytes("hello"));
        co_await tasks.join();
        CHECK(got == 5);
    }
}

asio::awaitable<void> send_in_pieces(stream& link, const byte_vector& all) {
    random_engine random(5);
    byte_view left = all;
    while (!left.empty()) {
        std::vector<byte_view> parts;
        for (std::uint32_t count = 1 + random.below(5); count > 0; --count) {
            const byte_view part = left.first(std::min<std::size_t>(left.size(), random.below(40'000)));
            parts.push_back(part);
            left = left.subspan(part.size());
        }
        co_await link.write(parts);
    }
    link.finish();
}

asio::awaitable<void> receive_all(stream& link, byte_vector& out) {
    byte_vector buffer(10'000);
    for (;;) {
        const std::size_t got = co_await link.read_some(buffer);
        if (got == 0) co_return;
        out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got));
    }
}

asio::awaitable<void> both_ways(network& net, const certified& who) {
    auto pair = co_await shake(net, who.client(), who.server(), "127.0.0.1");
    byte_vector up(3'000'000);
    byte_vector down(2'000'000);
    random_engine random(1);
    random.fill(up);
    random.fill(down);
    byte_vector got_up;
    byte_vector got_down;
    task_group tasks(net.executor());
    tasks.spawn(send_in_pieces(*pair.client, up));
    tasks.spawn(send_in_pieces(*pair.server, down));
    tasks.spawn(receive_all(*pair.server, got_up));
    tasks.spawn(receive_all(*pair.client, got_down));
    co_await tasks.join();
    CHECK(got_up == up);
    CHECK(got_down == down);
}

asio::awaitable<void> end_badly(network& net, const certified& who) {
    byte_vector buffer(10);
    {
        auto pair = co_await shake(net, who.client(), who.server(), "localhost");
        std::error_code error;
        co_await test::store_error(error, with_timeout(net, 5ms, pair.server->read_some(buffer)));
        CHECK(error == errc::timed_out);
        co_await write_all(*pair.client, as_bytes("abc"));
        const std::size_t got = co_await pair.server->read_some(buffer);
        CHECK(got == 3);  // nothing was lost by the cancelled read
        pair.client->close();
        co_await test::store_error(error, pair.server->read_some(buffer));
        CHECK(error == errc::connection_closed);  // cut, for all we know
    }
    auto pair = co_await shake(net, who.client(), who.server(), "localhost");
    std::error_code error;
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, read_exactly(*pair.server, buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    pair.server->close();
    co_await tasks.join();
    CHECK(is_cancellation(error));
    co_await test::store_error(error, write_all(*pair.server, as_bytes("x")));
    CHECK(is_cancellation(error));
}

/// What the server's side makes of a client that says `bytes`.
asio::awaitable<std::error_code> accept_bytes(network& net, const certified& who, byte_view bytes, bool hang_up) {
    auto links = co_await test::tcp_pair(net);
    co_await write_all(*links.first, bytes);
    if (hang_up) links.first->finish();
    std::error_code out;
    auto accepted = tls_accept(std::move(links.second), who.server());
    co_await test::store_error(out, with_timeout(net, 300ms, std::move(accepted)));
    co_return out;
}

std::error_code accepted(const certified& who, std::string_view bytes, bool hang_up) {
    std::error_code out;
    test::run([&](network& net) { return test::store(out, accept_bytes(net, who, as_bytes(bytes), hang_up)); });
    return out;
}

/// Carries bytes between two streams and flips one of them.
asio::awaitable<void> carry(stream& from, stream& to, std::size_t flip) {
    byte_vector buffer(4096);
    std::size_t seen = 0;
    try {
        for (;;) {
            const std::size_t got = co_await from.read_some(buffer);
            if (got == 0) break;
            if (flip >= seen && flip < seen + got) buffer[flip - seen] ^= 1;
            seen += got;
            const byte_view bytes = byte_view(buffer).first(got);
            co_await write_all(to, bytes);
        }
    } catch (const std::system_error&) {
        // One of the two had enough.
    }
    from.close();
    to.close();
}

asio::awaitable<void> exchange(stream& client, stream& server, bool& whole) {
    byte_vector buffer(5);
    co_await write_all(client, as_bytes("hello"));
    co_await read_exactly(server, buffer);
    co_await write_all(server, buffer);
    co_await read_exactly(client, buffer);
    whole = as_text(buffer) == "hello";
}

asio::awaitable<void> through_the_middle(network& net, const certified& who, std::size_t flip, bool upwards,
                                         bool& whole) {
    auto outer = co_await test::tcp_pair(net);
    auto inner = co_await test::tcp_pair(net);
    constexpr std::size_t never = static_cast<std::size_t>(-1);
    task_group middle(net.executor());
    middle.spawn(carry(*outer.second, *inner.first, upwards ? flip : never));
    middle.spawn(carry(*inner.first, *outer.second, upwards ? never : flip));
    tls_pair ends;
    task_group tasks(net.executor());
    tasks.spawn(accept_into(ends.server, ends.server_error, std::move(inner.second), who.server()));
    try {
        ends.client = co_await tls_connect(std::move(outer.first), who.client(), "localhost");
    } catch (const std::system_error&) {
        // Noticed.
    }
    co_await tasks.join();
    if (ends.client && ends.server) {
        std::error_code ignored;
        co_await test::store_error(ignored, exchange(*ends.client, *ends.server, whole));
    }
    ends.client.reset();
    ends.server.reset();
    co_await middle.join();
}

}  // namespace

TEST_CASE("a TLS connection carries bytes both ways, and ends in one direction") {
    const certified who;
    test::run([&](network& net) { return talk(net, who); });
}

TEST_CASE("a connection that waits for something to read holds no buffer for it") {
    const certified who;
    test::run([&](network& net) { return wait_idly(net, who); });
}

TEST_CASE("both directions run at once, in pieces of any size") {
    const certified who;
    test::run([&](network& net) { return both_ways(net, who); });
}

TEST_CASE("a cut is not an orderly end; a read can be cancelled without loss, and is ended by close") {
    const certified who;
    test::run([&](network& net) { return end_badly(net, who); });
}

TEST_CASE("a certificate that is not trusted, for another host or out of date is refused, unless all are accepted") {
    const certified who;
    const certified other;
    const tls_client_options careless{.verify = false};
    const auto refused = [](const tls_pair& got, const std::string& why) {
        CHECK(got.client_error == errc::tls_failed);
        CHECK(got.server_error == errc::tls_failed);  // it hears of it
        CHECK_MESSAGE(got.words.find(why) != std::string::npos, got.words);
    };
    refused(shaken(other.client(), who.server()), "self-signed");
    refused(shaken(tls_context::client(), who.server()), "self-signed");
    refused(shaken(who.client(), who.server(), "example.org"), "hostname mismatch");
    refused(shaken(who.client(), who.server(), "127.0.0.2"), "IP address mismatch");
    const certified expired({.valid_from = -7200, .valid_for = -3600});
    refused(shaken(expired.client(), expired.server()), "expired");
    const certified early({.valid_from = 3600});
    refused(shaken(early.client(), early.server()), "not yet valid");
    const certified wild({.names = "DNS:*.example.org"});
    refused(shaken(wild.client(), wild.server(), "a.b.example.org"), "hostname mismatch");

    CHECK(!shaken(wild.client(), wild.server(), "a.example.org").client_error);
    CHECK(!shaken(who.client(), who.server(), "127.0.0.1").client_error);
    CHECK(!shaken(tls_context::client(careless), expired.server()).client_error);
    CHECK(!shaken(tls_context::client(careless), who.server(), "").client_error);
    const tls_pair nobody = shaken(who.client(), who.server(), "");
    CHECK(nobody.client_error == errc::tls_failed);  // to verify, one must know whom
}

TEST_CASE("a server that asks for certificates takes clients with one of its authorities only") {
    const certified who;
    const certified friendly;
    const certified stranger;
    const auto ask_as = [&](const certified* client) {
        tls_client_options how{.ca_file = who.certificate()};
        if (client != nullptr) {
            how.certificate_file = client->certificate();
            how.key_file = client->key();
        }
        return shaken(tls_context::client(how), who.server(friendly.certificate())).server_error;
    };
    CHECK(!ask_as(&friendly));
    CHECK(ask_as(&stranger) == errc::tls_failed);
    CHECK(ask_as(nullptr) == errc::tls_failed);
}

TEST_CASE("files that are missing, or hold something else, are named") {
    const certified who;
    const certified other;
    const auto words = [](auto make) {
        try {
            make();
        } catch (const std::system_error& error) {
            CHECK(error.code() == errc::tls_failed);
            return std::string(error.what());
        }
        return std::string();
    };
    const auto server = [&](const std::string& certificate, const std::string& key) {
        return words([&] { (void)tls_context::server(tls_server_options{certificate, key, {}}); });
    };
    CHECK(server(who.certificate(), who.key()).empty());
    CHECK(server("/no/such.pem", who.key()).find("/no/such.pem") != std::string::npos);
    CHECK(server(who.key(), who.key()).find("key.pem") != std::string::npos);
    CHECK(server(who.certificate(), "/no/such.pem").find("/no/such.pem") != std::string::npos);
    CHECK(server(who.certificate(), other.key()).find("key.pem") != std::string::npos);
    const tls_client_options missing{.ca_file = "/no/ca.pem"};
    CHECK(words([&] { (void)tls_context::client(missing); }).find("/no/ca.pem") != std::string::npos);
}

TEST_CASE("what is not TLS fails, what ends is closed, and what says nothing is timed out") {
    const certified who;
    CHECK(accepted(who, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false) == errc::tls_failed);
    CHECK(accepted(who, std::string(1000, '\0'), false) == errc::tls_failed);
    CHECK(accepted(who, "\x16\x03\x01\xff\xff", false) == errc::tls_failed);
    CHECK(accepted(who, "", true) == errc::connection_closed);
    CHECK(accepted(who, std::string_view("\x16\x03\x01\x00\x05", 5), true) == errc::connection_closed);
    CHECK(accepted(who, "", false) == errc::timed_out);
    CHECK(accepted(who, std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7), false) == errc::timed_out);
}

TEST_CASE("a byte that somebody in the middle changes never arrives as data") {
    const certified who;
    for (const bool upwards : {true, false}) {
        for (std::size_t flip = 0; flip < (upwards ? 340U : 600U); flip += 41) {
            bool whole = false;
            test::run([&](network& net) { return through_the_middle(net, who, flip, upwards, whole); });
            CHECK_MESSAGE(!whole, flip);
        }
        bool whole = false;
        test::run([&](network& net) { return through_the_middle(net, who, 1'000'000, upwards, whole); });
        CHECK(whole);
    }
}

namespace {

/// A client made by hand, because ours has no way to misbehave: it asks for new keys again and again.
asio::awaitable<void> ask_for_keys(stream& link, SSL_CTX* context, std::size_t times, std::error_code& end) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context), &SSL_free);
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    byte_vector buffer(20'000);
    try {
        for (bool done = false; !done;) {
            done = SSL_do_handshake(ssl.get()) == 1;
            const int size = BIO_read(SSL_get_wbio(ssl.get()), buffer.data(), static_cast<int>(buffer.size()));
            if (size > 0) co_await write_all(link, byte_view(buffer).first(static_cast<std::size_t>(size)));
            if (done) break;
            const std::size_t got = co_await link.read_some(buffer);
            if (got == 0) raise(errc::connection_closed);
            BIO_write(SSL_get_rbio(ssl.get()), buffer.data(), static_cast<int>(got));
        }
        for (; times > 0; --times) {
            SSL_key_update(ssl.get(), SSL_KEY_UPDATE_REQUESTED);
            SSL_do_handshake(ssl.get());
            const int size = BIO_read(SSL_get_wbio(ssl.get()), buffer.data(), static_cast<int>(buffer.size()));
            if (size <= 0) raise(errc::tls_failed);
            co_await write_all(link, byte_view(buffer).first(static_cast<std::size_t>(size)));
        }
        std::size_t done = 0;
        SSL_write_ex(ssl.get(), "done", 4, &done);
        const int size = BIO_read(SSL_get_wbio(ssl.get()), buffer.data(), static_cast<int>(buffer.size()));
        co_await write_all(link, byte_view(buffer).first(static_cast<std::size_t>(size)));
    } catch (const std::system_error& error) {
        end = error.code();
    }
}

asio::awaitable<void> be_asked_for_keys(network& net, const certified& who, std::size_t times, std::error_code& end,
                                        std::string& got) {
    auto links = co_await test::tcp_pair(net);
    const tls_client_options careless{.verify = false};
    const tls_context client = tls_context::client(careless);
    std::error_code client_end;
    task_group tasks(net.executor());
    tasks.spawn(ask_for_keys(*links.first, client.native(), times, client_end));
    auto server = co_await tls_accept(std::move(links.second), who.server());
    byte_vector buffer(4);
    co_await test::store_error(end, read_exactly(*server, buffer));
    got = as_text(buffer);
    server->close();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("new keys are made when asked for, but not without end for somebody who reads nothing") {
    const certified who;
    std::error_code end;
    std::string got;
    test::run([&](network& net) { return be_asked_for_keys(net, who, 20, end, got); });
    CHECK(!end);
    CHECK(got == "done");
    test::run([&](network& net) { return be_asked_for_keys(net, who, 100'000, end, got); });
    CHECK(end == errc::tls_failed);
}

namespace {

asio::awaitable<http_response> greet(http_request& request) {
    co_return make_http_response(200, "text/plain", "hello " + request.body + std::string(100'000, '.'));
}

asio::awaitable<void> ask_https(network& net, const certified& who) {
    std::vector<std::unique_ptr<listener>> doors;
    doors.push_back(tls_listen(net.listen({ip_address::loopback_v4(), 0}), who.server()));
    const http_server_options patience{.header_timeout = 2s};
    http_server server(net, std::move(doors), &greet, patience);
    const std::string port = std::to_string(server.local_endpoints().front().port);
    const std::string url = "https://127.0.0.1:" + port + "/";
    task_group tasks(net.executor());
    tasks.spawn(server.run());

    // Somebody who dials and says nothing does not keep others waiting.
    auto silent = co_await net.connect(server.local_endpoints().front());
    http_client_options options;
    options.tls = tls_upgrade(who.client());
    const http_headers headers;
    const auto answer = co_await http_request_to(net, "POST", url, headers, "bob", options);
    CHECK(answer.body.starts_with("hello bob."));
    CHECK(answer.body.size() == 100'009);

    std::error_code error;
    co_await test::store_error(error, http_get(net, url));
    CHECK(error == errc::url_unsupported);
    const certified other;
    options.tls = tls_upgrade(other.client());
    co_await test::store_error(error, http_get(net, url, options));
    CHECK(error == errc::tls_failed);
    const std::string plain = "http://127.0.0.1:" + port + "/";
    co_await test::store_error(error, http_get(net, plain));
    CHECK(error);

    silent.reset();
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("https works with the HTTP server and client that there are") {
    const certified who;
    test::run([&](network& net) { return ask_https(net, who); });
}

namespace {

asio::awaitable<void> echo(std::unique_ptr<websocket> link) {
    try {
        for (;;) {
            const websocket_message heard = co_await link->receive();
            const std::string said(heard.text());
            co_await link->send(std::string_view(said));
        }
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
    }
}

asio::awaitable<http_response> let_in(network& net, http_request& request) {
    const websocket_server_options how;
    co_return upgrade_to_websocket(net, request, &echo, how);
}

asio::awaitable<void> talk_wss(network& net, const certified& who) {
    std::vector<std::unique_ptr<listener>> doors;
    doors.push_back(tls_listen(net.listen({ip_address::loopback_v4(), 0}), who.server()));
    http_server server(net, std::move(doors), [&net](http_request& request) { return let_in(net, request); });
    const std::string url = "wss://127.0.0.1:" + std::to_string(server.local_endpoints().front().port) + "/";
    task_group tasks(net.executor());
    tasks.spawn(server.run());
    websocket_client_options options;
    options.tls = tls_upgrade(who.client());
    const auto link = co_await websocket_connect(net, url, options);
    for (const std::string& said : {std::string("hello"), std::string(60'000, '.')}) {
        co_await link->send(std::string_view(said));
        const websocket_message back = co_await link->receive();
        CHECK(back.text() == said);
    }
    std::error_code error;
    co_await test::store_error(error, websocket_connect(net, url));
    CHECK(error == errc::url_unsupported);
    const certified other;
    options.tls = tls_upgrade(other.client());
    co_await test::store_error(error, websocket_connect(net, url, options));
    CHECK(error == errc::tls_failed);
    tasks.cancel();
    co_await tasks.join();
}

}  // namespace

TEST_CASE("wss works with the WebSockets that there are") {
    const certified who;
    test::run([&](network& net) { return talk_wss(net, who); });
}

TEST_CASE("the recipe for a certificate of one's own works as it is written") {
    test::temp_dir folder;
    const std::string recipe =
        "cd " + folder.string() +
        " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 "
        "-keyout key.pem -out cert.pem -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>log";
    REQUIRE(std::system(recipe.c_str()) == 0);
    const tls_server_options server{(folder / "cert.pem").string(), (folder / "key.pem").string(), {}};
    const tls_client_options client{.ca_file = (folder / "cert.pem").string()};
    CHECK(!shaken(tls_context::client(client), tls_context::server(server), "localhost").client_error);
    CHECK(!shaken(tls_context::client(client), tls_context::server(server), "127.0.0.1").client_error);
    CHECK(shaken(tls_context::client(client), tls_context::server(server), "example.org").client_error);
}

}  // namespace tls_stream_test
