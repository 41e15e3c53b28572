#include <doctest/doctest.h>

#include <functional>

#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/net/registry_client.hpp>
#include <cohort/web/registry_routes.hpp>

#include "support/net.hpp"
#include "support/run.hpp"

namespace registry_client_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) {
    key32 seed{};
    seed.fill(number);
    return identity(seed);
}

using responder = std::function<http_response(http_request&)>;

asio::awaitable<http_response> respond(const responder& how, http_request& request) { co_return how(request); }

/// An HTTP server that answers as the test says, and its URL.
struct server {
    server(network& net, responder how)
        : answer(std::move(how)),
          http(net, listen_all(net, {ip_address::loopback_v4()}, 0),
               [this](http_request& request) { return respond(answer, request); }, {}),
          url("http://" + http.local_endpoints().front().to_string()) {}

    responder answer;
    http_server http;
    std::string url;
};

/// Runs f(net, server) beside a server that answers by `how`.
template <class F>
asio::awaitable<void> beside_server(network& net, responder how, F f) {
    server here(net, std::move(how));
    task_group tasks(net.executor());
    tasks.spawn(here.http.run());
    std::exception_ptr failure;
    try {
        co_await f(net, here);
    } catch (...) {
        failure = std::current_exception();
    }
    tasks.cancel();
    co_await tasks.join();
    if (failure) std::rethrow_exception(failure);
}

asio::awaitable<void> on_real_routes(network& net, asio::awaitable<void> (*f)(network&, server&)) {
    registry_routes_options options;
    options.names.max_per_address = 4000;
    registry_routes routes(net, options);
    const responder how = [&routes](http_request& request) { return routes.answer(request); };
    co_await beside_server(net, how, f);
}

/// Against the routes as they are.
void with_routes(asio::awaitable<void> (*f)(network&, server&)) {
    test::run([f](network& net) { return on_real_routes(net, f); });
}

template <class T>
asio::awaitable<std::error_code> error_of(asio::awaitable<T> op) {
    std::error_code out;
    co_await test::store_error(out, std::move(op));
    co_return out;
}

asio::awaitable<void> live(network& net, server& here) {
    const identity alice = somebody(1);
    registry_client registry(net, here.url + "/announce?x", &alice);
    const auto mine = co_await registry.register_self("Alice", "", 8001);
    CHECK(mine.self.host == "127.0.0.1");
    CHECK(mine.self.proof->key == alice.key());
    CHECK(mine.trust == record_trust::verified);
    CHECK(!mine.signed_host);

    registry_client keyless(net, here.url + "/");
    const auto bob = co_await keyless.register_self("bøb c", "bob.example", 8002);
    CHECK(bob.self == registration{"bøb c", "bob.example", 8002});
    CHECK(bob.trust == record_trust::keyless);

    const auto all = co_await keyless.peers();
    REQUIRE(all.users.size() == 2);
    CHECK(all.dropped == 0);
    CHECK(all.users[0].self.username == "Alice");
    CHECK(all.users[0].trust == record_trust::verified);
    CHECK(all.users[1].trust == record_trust::keyless);
    const auto found = co_await registry.find("BØB c");
    CHECK(!found);  // only ASCII letters are the same in both cases
    const auto found_again = co_await registry.find("bøb C");
    REQUIRE(found_again);
    CHECK(found_again->self.port == 8002);

    co_await registry.heartbeat("alice");
    co_await registry.unregister("alice");
    std::error_code error = co_await error_of(registry.heartbeat("alice"));
    CHECK(error == errc::unknown_peer);
    error = co_await error_of(registry.unregister("alice"));
    CHECK(error == errc::unknown_peer);
    const auto nobody = co_await registry.find("alice");
    CHECK(!nobody);
    co_await registry.register_self("alice", "10.1.1.1", 8001);
    const auto back = co_await keyless.find("alice");
    REQUIRE(back);
    CHECK(back->signed_host);
    CHECK(back->self.host == "10.1.1.1");
    co_await keyless.unregister("bøb c");
}

asio::awaitable<void> quarrel(network& net, server& here) {
    const identity alice = somebody(1);
    const identity mallory = somebody(2);
    registry_client owner(net, here.url, &alice);
    registry_client thief(net, here.url, &mallory);
    registry_client stranger(net, here.url);
    co_await owner.register_self("alice", "", 8001);
    std::error_code error = co_await error_of(thief.register_self("ALICE", "", 8001));
    CHECK(error == errc::name_taken);
    error = co_await error_of(stranger.register_self("alice", "", 8001));
    CHECK(error == errc::name_taken);
    error = co_await error_of(thief.unregister("alice"));
    CHECK(error == errc::name_taken);
    error = co_await error_of(stranger.unregister("alice"));
    CHECK(error == errc::name_taken);
    error = co_await error_of(owner.register_self("a/b", "", 8001));
    CHECK(error == errc::name_invalid);
    error = co_await error_of(owner.register_self("a", "no host", 8001));
    CHECK(error == errc::name_invalid);
    error = co_await error_of(owner.find(""));
    CHECK(error == errc::name_invalid);
}

asio::awaitable<void> wrong_clocks(network& net, server& here) {
    const identity alice = somebody(1);
    registry_client_options ahead;
    ahead.calendar = [] { return calendar_now() + 300'000; };
    registry_client_options far_ahead;
    far_ahead.calendar = [] { return calendar_now() + 700'000; };
    registry_client first(net, here.url, &alice, ahead);
    registry_client second(net, here.url, &alice);
    registry_client third(net, here.url, &alice, far_ahead);
    co_await first.register_self("alice", "", 1);
    const auto again = co_await second.register_self("alice", "", 2);  // its clock is behind the first one's
    CHECK(again.self.port == 2);
    co_await first.register_self("alice", "", 3);
    co_await second.unregister("alice");
    const std::error_code error = co_await error_of(third.register_self("alice", "", 4));
    CHECK(error == errc::signature_invalid);
}

asio::awaitable<void> many(network& net, server& here) {
    registry_client registry(net, here.url);
    const http_headers headers;
    for (int i = 0; i < 2100; ++i) {
        http_request request;
        request.method = "POST";
        request.target = "/register";
        request.from = {ip_address::loopback_v4(), 1};
        request.body = i % 3 == 0
                           ? json_line().add("peer_id", i).take()
                           : json_line().add("username", "u" + std::to_string(i)).add("host", "").add("port", 1).take();
        if (i % 3 == 0) request.body = R"({"peer_id":"p)" + std::to_string(i) + R"(","address":"x"})";
        CHECK(here.answer(request).status == 200);
    }
    const auto all = co_await registry.peers();
    CHECK(all.users.size() == 1400);
    CHECK(all.dropped == 0);
    registry_client_options few;
    few.max_users = 30;
    registry_client modest(net, here.url, nullptr, few);
    const auto some = co_await modest.peers();
    CHECK(some.users.size() == 20);
}

}  // namespace

TEST_CASE("a user registers, is found, beats, and leaves, with a key and without") { with_routes(&live); }

TEST_CASE("a name of another key is taken, and bad names are told from it") { with_routes(&quarrel); }

TEST_CASE("a clock that is a little wrong does no harm, and one that is far ahead is told") {
    with_routes(&wrong_clocks);
}

TEST_CASE("long lists come in pages, up to the limit that the caller set") { with_routes(&many); }

TEST_CASE("tracker URLs are taken with and without their announce, and others refused") {
    test::run([](network& net) -> asio::awaitable<void> {
        CHECK_NOTHROW(registry_client(net, "http://tracker.example:6969/x/announce"));
        CHECK_THROWS_AS(registry_client(net, "udp://tracker.example:6969"), std::system_error);
        CHECK_THROWS_AS(registry_client(net, "https://tracker.example"), std::system_error);
        CHECK_THROWS_AS(registry_client(net, "tracker"), std::system_error);
        co_return;
    });
}

namespace {

// A tracker that lies.

std::string record_of(const registration& one, const std::string& more = {}) {
    json_line line;
    add_registration(line, one);
    std::string out = line.take();
    if (!more.empty()) out.insert(out.size() - 1, "," + more);
    return out;
}

registration signed_by(std::uint8_t who, const std::string& name, unix_ms when, const std::string& host = "10.0.0.1") {
    registration out{name, host, 8001};
    sign_registration(out, somebody(who), when);
    return out;
}

http_response list_of(const std::vector<std::string>& records) {
    std::string body = "{\"peers\":[";
    for (const std::string& one : records) body += (body.ends_with('[') ? "" : ",") + one;
    return make_http_response(200, "application/json", body + "]}");
}

/// What peers() of one client makes of a list after the other.
struct reader_of_lies {
    std::vector<http_response> lists{};
    std::function<void(registry_client&)> prepare = nullptr;
    std::vector<user_list> seen{};
    std::vector<std::error_code> errors{};
};

asio::awaitable<void> read_lists(network& net, server& here, reader_of_lies& what, std::size_t& turn) {
    registry_client registry(net, here.url);
    if (what.prepare) what.prepare(registry);
    for (turn = 0; turn < what.lists.size(); ++turn) {
        user_list got;
        std::error_code error;
        try {
            got = co_await registry.peers();
        } catch (const std::system_error& failure) {
            error = failure.code();
        }
        what.seen.push_back(got);
        what.errors.push_back(error);
    }
}

asio::awaitable<void> lie(network& net, reader_of_lies& what) {
    std::size_t turn = 0;
    const responder how = [&what, &turn](http_request&) { return what.lists[turn]; };
    const auto read = [&what, &turn](network& inside, server& here) { return read_lists(inside, here, what, turn); };
    co_await beside_server(net, how, read);
}

reader_of_lies told(reader_of_lies what) {
    test::run([&](network& net) { return lie(net, what); });
    return what;
}

user_list told(const std::vector<std::string>& records) {
    return told(reader_of_lies{.lists = {list_of(records)}}).seen.at(0);
}

}  // namespace

TEST_CASE("a lying tracker's other address, port, name, time or key is noticed") {
    const unix_ms now = calendar_now();
    const registration good = signed_by(1, "alice", now);
    CHECK(told({record_of(good)}).users.at(0).trust == record_trust::verified);
    std::vector<std::string> lies;
    registration bad = good;
    bad.host = "10.0.0.66";
    lies.push_back(record_of(bad));
    bad = good;
    bad.port = 66;
    lies.push_back(record_of(bad));
    bad = good;
    bad.username = "bob";
    lies.push_back(record_of(bad));
    bad = good;
    ++bad.proof->signed_at;
    lies.push_back(record_of(bad));
    bad = good;
    bad.proof->key = somebody(2).key();
    lies.push_back(record_of(bad));
    bad = good;
    bad.proof->signature[0] ^= 1;
    lies.push_back(record_of(bad));
    lies.push_back(record_of(signed_by(1, "alice", now + 700'000)));
    // Another address under the cover of one that was left open, or of another one that was signed.
    bad = good;
    bad.host = "10.0.0.66";
    lies.push_back(record_of(bad, R"("signed_host":"10.0.0.1")"));
    lies.push_back(record_of(bad, R"("signed_host":"")"));
    for (const std::string& one : lies) {
        const user_list got = told({one});
        CHECK(got.users.empty());
        CHECK(got.dropped == 1);
    }
    registration open = signed_by(1, "alice", now, "");
    open.host = "10.0.0.7";
    const user_list filled = told({record_of(open, R"("signed_host":"")")});
    REQUIRE(filled.users.size() == 1);
    CHECK(!filled.users[0].signed_host);
}

TEST_CASE("an old record that is replayed is dropped, and a newer one is taken") {
    const unix_ms now = calendar_now();
    const std::string old = record_of(signed_by(1, "alice", now - 1000, "10.0.0.1"));
    const std::string current = record_of(signed_by(1, "alice", now, "10.0.0.2"));
    const std::string of_the_same_key = record_of(signed_by(1, "alice at work", now - 500, "10.0.0.1"));
    const auto got =
        told({.lists = {list_of({old}), list_of({current, of_the_same_key}), list_of({old}), list_of({current})}});
    CHECK(got.seen[0].users.size() == 1);
    CHECK(got.seen[1].users.size() == 2);
    CHECK(got.seen[2].users.empty());
    CHECK(got.seen[2].dropped == 1);
    CHECK(got.seen[3].users.at(0).self.host == "10.0.0.2");

    // Nor does a signature that was good once cover anything else.
    registration altered = signed_by(1, "alice", now, "10.0.0.2");
    altered.host = "10.0.0.66";
    const auto again = told({.lists = {list_of({current}), list_of({record_of(altered)}), list_of({current})}});
    CHECK(again.seen[0].users.size() == 1);
    CHECK(again.seen[1].users.empty());
    CHECK(again.seen[2].users.size() == 1);
}

TEST_CASE("a known name with another key, or with none, is told as that") {
    const unix_ms now = calendar_now();
    const std::string alice = record_of(signed_by(1, "alice", now));
    const std::string other = record_of(signed_by(2, "Alice", now));
    const std::string keyless = record_of({"alice", "10.0.0.1", 1});
    auto got = told({.lists = {list_of({alice}), list_of({other}), list_of({keyless}), list_of({alice})}});
    CHECK(got.seen[0].users.at(0).trust == record_trust::verified);
    CHECK(got.seen[1].users.at(0).trust == record_trust::key_changed);
    CHECK(got.seen[2].users.at(0).trust == record_trust::key_changed);
    CHECK(got.seen[3].users.at(0).trust == record_trust::verified);

    got = told({.lists = {list_of({alice})},
                .prepare = [](registry_client& registry) { registry.trust("ALICE", somebody(2).key()); }});
    CHECK(got.seen[0].users.at(0).trust == record_trust::key_changed);
    got = told({.lists = {list_of({alice})}, .prepare = [](registry_client& registry) {
                    registry.trust("alice", somebody(2).key());
                    registry.forget("Alice");
                }});
    CHECK(got.seen[0].users.at(0).trust == record_trust::verified);
}

TEST_CASE("records that are none are dropped, those of a name given twice too, and peers without a name passed over") {
    const std::string good = record_of({"bob", "10.0.0.1", 1});
    const user_list got =
        told({"7", "null", "{}", "[]", R"({"username":"x"})", R"({"username":"a\u001b[2J","host":"h","port":1})",
              R"({"username":"x","host":"","port":1})", R"({"username":"x","host":"h","port":0})",
              R"({"username":"x","host":"h","port":1,"key":"zz"})", good, record_of({"BOB", "10.0.0.2", 2}),
              R"({"peer_id":"p","address":"x"})"});
    REQUIRE(got.users.size() == 1);
    CHECK(got.users[0].self.host == "10.0.0.1");
    CHECK(got.dropped == 10);
}

TEST_CASE("answers that are none, too large or too many end in an error, not in memory") {
    std::vector<http_response> lists;
    for (const char* body : {"", "x", "[]", "{}", R"({"peers":7})", R"({"peers":[)"})
        lists.push_back(make_http_response(200, "text/plain", body));
    lists.push_back(make_http_response(200, "text/plain", std::string(3'000'000, '[')));
    const std::size_t malformed = lists.size();
    lists.push_back(make_http_response(200, "text/plain", std::string(5'000'000, ' ')));
    lists.push_back(make_http_response(500, "text/plain", "{}"));
    lists.push_back(make_http_response(503, "text/plain", R"({"message":"full\nhouse"})"));
    http_response elsewhere = make_http_response(302, "text/plain", "");
    elsewhere.headers.add("Location", "ftp://127.0.0.1/");
    lists.push_back(elsewhere);
    const auto got = told({.lists = lists});
    for (std::size_t i = 0; i < malformed; ++i) CHECK(got.errors[i] == errc::tracker_malformed);
    CHECK(got.errors[malformed] == errc::http_too_large);
    CHECK(got.errors[malformed + 1] == errc::http_status);
    CHECK(got.errors[malformed + 2] == errc::tracker_refused);
    CHECK(got.errors[malformed + 3]);

    // Far more records than were asked for.
    std::vector<std::string> flood;
    for (int i = 0; i < 3000; ++i) flood.push_back(record_of({"u" + std::to_string(i), "10.0.0.1", 1}));
    const auto flooded = told({.lists = {list_of(flood)}});
    CHECK(flooded.seen[0].users.size() <= 1000);
}

namespace {

asio::awaitable<void> register_at_liar(network& net, server& here, std::vector<std::error_code>& errors,
                                       std::size_t runs) {
    const identity alice = somebody(1);
    registry_client registry(net, here.url, &alice);
    for (std::size_t i = 0; i < runs; ++i) {
        const std::error_code error = co_await error_of(registry.register_self("alice", "10.0.0.1", 8001));
        errors.push_back(error);
    }
}

asio::awaitable<void> lie_about_us(network& net, std::vector<std::error_code>& errors, int& asked) {
    const std::vector<std::string> answers{
        record_of(signed_by(1, "alice", 5)),  // ours, but an old one
        record_of(signed_by(2, "alice", calendar_now())),
        record_of({"alice", "10.0.0.1", 8001}),
        "{}",
        R"({"status":"error","signed_at":9000000000000000000})",
        R"({"status":"error","signed_at":9223372036854775807})",
        R"({"status":"error","signed_at":-5})",
    };
    const responder how = [&answers, &asked](http_request&) {
        const std::string& body = answers[static_cast<std::size_t>(asked++) % answers.size()];
        return make_http_response(body.find("error") != std::string::npos ? 409 : 200, "application/json", body);
    };
    const auto act = [&](network& inside, server& here) {
        return register_at_liar(inside, here, errors, answers.size());
    };
    co_await beside_server(net, how, act);
}

}  // namespace

TEST_CASE("a tracker that shows us as somebody else, or calls us outdated for ever, is not believed") {
    std::vector<std::error_code> errors;
    int asked = 0;
    test::run([&](network& net) { return lie_about_us(net, errors, asked); });
    REQUIRE(errors.size() == 7);
    CHECK(asked == 7);
    for (std::size_t i = 0; i < 4; ++i) CHECK(errors[i] == errc::tracker_malformed);
    for (std::size_t i = 4; i < 7; ++i) CHECK(errors[i] == errc::name_taken);
}

}  // namespace registry_client_test
