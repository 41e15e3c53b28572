#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/web/registry_routes.hpp>

#include "support/mutate.hpp"
#include "support/net.hpp"

namespace registry_routes_test {

using namespace cohort;

namespace {

/// A network whose clock is the test's.
class still_network final : public test::forwarding_network {
public:
    using test::forwarding_network::forwarding_network;
    time_point now() const override { return time_point(1000s) + passed; }
    duration passed{0};
};

struct fixture {
    explicit fixture(registry_routes_options options = {}) : routes(net, with_calendar(std::move(options))) {}

    registry_routes_options with_calendar(registry_routes_options options) {
        options.calendar = [this] { return calendar(); };
        return options;
    }
    unix_ms calendar() const {
        return 1'795'271'400'000 + std::chrono::duration_cast<std::chrono::milliseconds>(net.passed).count();
    }

    http_response ask(std::string method, std::string target, std::string body = {}, const std::string& origin = {}) {
        http_request request;
        request.method = std::move(method);
        request.target = std::move(target);
        request.body = std::move(body);
        request.from = {from, 40000};
        request.headers.add("Host", "tracker.example:6969");
        if (!origin.empty()) request.headers.add("Origin", origin);
        REQUIRE(registry_routes::owns(request.path()));
        return routes.answer(request);
    }
    std::string say(const std::string& method, const std::string& target, const std::string& body = {}) {
        const http_response answer = ask(method, target, body);
        CHECK(answer.headers.find("Content-Type") == "application/json");
        std::error_code ec;
        CHECK(parse_json(answer.body, ec));
        return std::to_string(answer.status) + " " + answer.body.substr(0, answer.body.find_last_not_of('\n') + 1);
    }
    int status(const std::string& method, const std::string& target, const std::string& body = {}) {
        return ask(method, target, body).status;
    }
    std::size_t peers(const std::string& query = {}) {
        std::error_code ec;
        const auto value = parse_json(ask("GET", "/peers" + query).body, ec);
        REQUIRE(value);
        return json_member(*value, "peers")->get<json_array>().size();
    }

    asio::io_context io;
    real_network real{io.get_executor()};
    still_network net{real};
    registry_routes routes;
    ip_address from = ip_address::v4(0x0a000005);
};

std::string user(const std::string& name, const std::string& host = "127.0.0.1", int port = 8001) {
    return json_line().add("username", name).add("host", host).add("port", port).take();
}

identity somebody(std::uint8_t number) {
    key32 seed{};
    seed.fill(number);
    return identity(seed);
}

std::string signed_user(const std::string& name, const identity& by, unix_ms when,
                        const std::string& host = "1.2.3.4") {
    registration one{name, host, 8001};
    sign_registration(one, by, when);
    json_line line;
    add_registration(line, one);
    return line.take();
}

std::string end_query(const std::string& name, const identity& by, unix_ms when) {
    const registration_proof proof = sign_registration_end(name, by, when);
    return "?key=" + proof.key.hex() + "&signed_at=" + std::to_string(when) + "&signature=" + to_hex(proof.signature);
}

}  // namespace

TEST_CASE("S3-09 POST /register takes a user and returns what is known of them") {
    fixture f;
    CHECK(f.say("POST", "/register", user("alice")) ==
          R"(200 {"id":1,"username":"alice","host":"127.0.0.1","port":8001,"is_active":true,)"
          R"("last_heartbeat":"2026-11-21T14:30:00.000Z"})");
    CHECK(
        f.say("POST", "/register", user("bob", "0.0.0.0", 8002)).find(R"("id":2,"username":"bob","host":"10.0.0.5")") !=
        std::string::npos);
    CHECK(f.say("POST", "/register", R"({"username":"alice","host":"","port":9,"unknown":{"a":[1]}})")
              .find(R"("id":1,"username":"alice","host":"10.0.0.5","port":9)") != std::string::npos);
    CHECK(f.peers() == 2);
}

TEST_CASE("S1-20 POST /register takes a peer of S1") {
    fixture f;
    CHECK(
        f.say("POST", "/register", R"({"peer_id":"p-1","address":"http://10.0.0.1:5004","timestamp":1700000000.5})") ==
        R"(200 {"status":"registered"})");
    CHECK(f.say("POST", "/register",
                R"({"peer_id":"p-2","address":"10.0.0.2:5004","timestamp":"2024-01-01T00:00:00"})") ==
          R"(200 {"status":"registered"})");
    CHECK(f.say("POST", "/register", R"({"peer_id":"p-3","address":"10.0.0.3:5004"})") ==
          R"(200 {"status":"registered"})");
    const std::string list = f.say("GET", "/peers");
    CHECK(list.find(R"({"id":1,"peer_id":"p-1","address":"http:\/\/10.0.0.1:5004","timestamp":1700000000.5,)") !=
          std::string::npos);
    CHECK(list.find(R"("timestamp":"2024-01-01T00:00:00")") != std::string::npos);
    CHECK(list.find(R"("peer_id":"p-3","address":"10.0.0.3:5004","timestamp":"2026-11-21T14:30:00.000Z")") !=
          std::string::npos);
    CHECK(f.peers() == 3);
    // Both forms at once: a user with a peer's fields.
    const std::string both =
        f.say("POST", "/register",
              R"({"username":"a","host":"h.example","port":1,"peer_id":"p-4","address":"x","timestamp":7})");
    CHECK(both.find(R"("username":"a","host":"h.example","port":1,"peer_id":"p-4","address":"x","timestamp":7,)") !=
          std::string::npos);
}

TEST_CASE("S3-10 POST /heartbeat answers, and 404 for the unknown") {
    fixture f;
    f.ask("POST", "/register", user("alice"));
    CHECK(f.say("POST", "/heartbeat", R"({"username":"alice"})") ==
          R"(200 {"message":"heartbeat received","username":"alice"})");
    CHECK(f.say("POST", "/heartbeat", R"({"username":"bob"})") ==
          R"(404 {"status":"error","message":"username: nobody of that name is registered"})");
    CHECK(f.status("POST", "/heartbeat", "{}") == 400);
    CHECK(f.status("POST", "/heartbeat", R"({"username":5})") == 400);
}

TEST_CASE("S1-21 S3-11 GET /peers lists the active ones, in pages and by name") {
    fixture f;
    CHECK(f.say("GET", "/peers") == R"(200 {"peers":[]})");
    for (const char* name : {"alice", "bob", "carol"}) f.ask("POST", "/register", user(name));
    CHECK(f.peers() == 3);
    CHECK(f.peers("?limit=2") == 2);
    CHECK(f.peers("?limit=2&offset=2") == 1);
    CHECK(f.peers("?limit=0") == 0);
    CHECK(f.peers("?offset=18446744073709551615") == 0);
    CHECK(f.peers("?username=BOB") == 1);
    CHECK(f.peers("?username=b%6Fb") == 1);
    CHECK(f.peers("?username=%") == 0);
    CHECK(f.status("GET", "/peers?limit=-1") == 400);
    CHECK(f.status("GET", "/peers?offset=x") == 400);
    CHECK(f.say("GET", "/peers?username=bob")
              .starts_with(R"(200 {"peers":[{"id":2,"username":"bob","host":"127.0.0.1",)"));
}

TEST_CASE("S3-12 DELETE /unregister ends a registration, and 404 for the unknown") {
    fixture f;
    f.ask("POST", "/register", user("Zoë a"));
    CHECK(f.say("DELETE", "/unregister/Zo%C3%AB%20a") == R"(200 {"message":"Zoë a is unregistered"})");
    CHECK(f.status("DELETE", "/unregister/Zo%C3%AB%20a") == 404);
    CHECK(f.status("DELETE", "/unregister/") == 404);
    CHECK(f.status("DELETE", "/unregister/%zz") == 400);
    CHECK(f.peers() == 0);
}

TEST_CASE("S3-05 S3-20 the sweep marks silent peers inactive") {
    fixture f;
    f.ask("POST", "/register", user("alice"));
    f.net.passed = 60s;
    f.ask("POST", "/register", user("bob"));
    f.net.passed = 121s;
    f.routes.sweep();
    CHECK(f.peers() == 1);
    CHECK(f.peers("?username=alice") == 0);
    CHECK(f.say("GET", "/health").find(R"("total_peers":2,"active_peers":1)") != std::string::npos);
    CHECK(f.status("POST", "/heartbeat", R"({"username":"alice"})") == 200);
    CHECK(f.peers() == 2);
}

TEST_CASE("S0-17 S1-18 S3-13 GET /health") {
    fixture f;
    f.net.passed = 90s;
    CHECK(f.say("GET", "/health") ==
          R"(200 {"status":"healthy","service":"tracker","version":"0.1","uptime_s":90,"total_peers":0,)"
          R"("active_peers":0,"timestamp":"2026-11-21T14:31:30.000Z"})");
    CHECK(f.ask("HEAD", "/health").status == 200);
}

TEST_CASE("what is missing or of the wrong type is named") {
    fixture f;
    const auto names = [&f](const std::string& body, const std::string& key) {
        const std::string said = f.say("POST", "/register", body);
        CHECK_MESSAGE(said.starts_with(R"(400 {"status":"error","message":")" + key + ":"), said);
    };
    names("", "body");
    names("[]", "body");
    names("{", "body");
    names("{} x", "body");
    names("username=alice&host=x&port=1", "body");
    names("{}", "username");
    names(R"({"username":null,"host":"","port":1})", "username");
    names(R"({"username":"a","port":1})", "host");
    names(R"({"username":"a","host":"x","port":"80"})", "port");
    names(R"({"peer_id":7,"address":"x"})", "peer_id");
    names(R"({"peer_id":"","address":"x"})", "peer_id");
    names(R"({"peer_id":")" + std::string(65, 'a') + R"(","address":"x"})", "peer_id");
    names(R"({"peer_id":"a"})", "address");
    names(R"({"peer_id":"a","address":"x\ny"})", "address");
    names(R"({"peer_id":"a","address":")" + std::string(257, 'a') + R"("})", "address");
    names(R"({"peer_id":"a","address":"x","timestamp":[]})", "timestamp");
    names(R"({"peer_id":"a","address":"x","timestamp":")" + std::string(65, 'a') + R"("})", "timestamp");
    names(R"({"username":"a","host":"","port":1,"key":"00"})", "key");
    names(user(std::string(65, 'a')), "username");
    names(user("a", std::string(254, 'a')), "host");
    CHECK(f.peers() == 0);
}

TEST_CASE("a name that was registered with a key belongs to it") {
    fixture f;
    const identity owner = somebody(1);
    const unix_ms now = f.calendar();
    const std::string first = signed_user("alice", owner, now);
    CHECK(f.say("POST", "/register", first).find(R"("key":")" + owner.key().hex() + R"(","signed_at":)") !=
          std::string::npos);
    CHECK(f.say("POST", "/register", signed_user("Alice", somebody(2), now + 1)) ==
          R"(409 {"status":"error","message":"username: the name belongs to another key"})");
    CHECK(f.status("POST", "/register", user("alice")) == 409);
    CHECK(f.status("POST", "/register", signed_user("alice", owner, now + 2)) == 200);
    CHECK(f.say("POST", "/register", first).find(R"("signed_at":)" + std::to_string(now + 2)) != std::string::npos);
    CHECK(f.status("POST", "/register", first) == 409);
    CHECK(f.status("POST", "/register", signed_user("alice", owner, now + 600'001)) == 400);
    std::string altered = signed_user("alice", owner, now + 3);
    test::replace_all(altered, "1.2.3.4", "1.2.3.5");
    CHECK(f.status("POST", "/register", altered) == 403);
    CHECK(f.say("GET", "/peers").find("1.2.3.5") == std::string::npos);

    CHECK(f.status("DELETE", "/unregister/alice") == 409);
    CHECK(f.status("DELETE", "/unregister/alice" + end_query("alice", somebody(2), now + 4)) == 409);
    CHECK(f.status("DELETE", "/unregister/alice" + end_query("bob", owner, now + 4)) == 403);
    CHECK(f.status("DELETE", "/unregister/alice" + end_query("alice", owner, now)) == 409);
    CHECK(f.status("DELETE", "/unregister/alice?key=00") == 400);
    CHECK(f.status("DELETE", "/unregister/alice" + end_query("alice", owner, now + 4)) == 200);
    CHECK(f.peers() == 0);
}

TEST_CASE("an address that the tracker filled in is told apart from one that was signed") {
    fixture f;
    const std::string said = f.say("POST", "/register", signed_user("alice", somebody(1), f.calendar(), "0.0.0.0"));
    CHECK(said.find(R"("host":"10.0.0.5")") != std::string::npos);
    CHECK(said.find(R"("signed_host":"0.0.0.0")") != std::string::npos);
}

TEST_CASE("with required keys those without are refused") {
    fixture f({.names = {.require_keys = true}});
    CHECK(f.say("POST", "/register", user("alice")) ==
          R"(403 {"status":"error","message":"key: only signed registrations are taken here"})");
    CHECK(f.status("POST", "/register", R"({"peer_id":"a","address":"x"})") == 403);
    CHECK(f.status("POST", "/register", signed_user("alice", somebody(1), f.calendar())) == 200);
}

TEST_CASE("a flood of names ends at the limits") {
    fixture f({.names = {.max_names = 20, .max_per_address = 10}});
    for (int i = 0; i < 10; ++i) CHECK(f.status("POST", "/register", user("a" + std::to_string(i))) == 200);
    CHECK(f.status("POST", "/register", user("b")) == 429);
    CHECK(f.status("POST", "/register", R"({"peer_id":"b","address":"x"})") == 429);
    CHECK(f.status("POST", "/register", user("a3")) == 200);
    for (std::uint32_t i = 0; i < 10; ++i) {
        f.from = ip_address::v4(0x0b000000 + i);
        CHECK(f.status("POST", "/register", user("c" + std::to_string(i))) == 200);
    }
    CHECK(f.status("POST", "/register", user("d")) == 503);
    CHECK(f.routes.names().size() == 20);
}

TEST_CASE("JSON bombs cost little and are refused") {
    fixture f;
    const std::size_t most = registry_body_max;
    CHECK(f.status("POST", "/register", std::string(most, '[')) == 400);
    CHECK(f.status("POST", "/register", std::string(most, '{')) == 400);
    std::string deep = R"({"username":"a","host":"","port":1,"x":)";
    for (int i = 0; i < 20; ++i) deep += "[";
    for (int i = 0; i < 20; ++i) deep += "]";
    CHECK(f.status("POST", "/register", deep + "}") == 400);
    std::string wide = "{";
    while (wide.size() < most - 100) wide += "\"" + std::to_string(wide.size()) + "\":0,";
    CHECK(f.status("POST", "/register", wide + R"("username":"a","host":"","port":1})") == 200);
    CHECK(f.status("POST", "/register", R"({"username":"a","host":"","port":1e999999999})") == 400);
    CHECK(f.status("POST", "/register", R"({"username":")" + std::string(60'000, 'a') + R"(","host":"","port":1})") ==
          400);
}

TEST_CASE("other methods and paths are refused") {
    fixture f;
    CHECK(f.status("GET", "/register") == 405);
    CHECK(f.status("POST", "/peers") == 405);
    CHECK(f.status("PUT", "/unregister/a") == 405);
    CHECK(f.status("G", "/peers") == 405);
    CHECK(f.ask("GET", "/heartbeat").headers.find("Allow") == "POST, OPTIONS");
    for (const char* path : {"/", "/announce", "/registers", "/unregister", "/peers/", "/peers/x", "/stats"})
        CHECK_MESSAGE(!registry_routes::owns(path), path);
}

TEST_CASE("S0-20 pages of our own origin and of this machine may ask, others may not change anything") {
    fixture f({.cors = {.origins = {"https://friend.example"}}});
    const auto allowed = [&f](const std::string& origin) {
        const http_response answer = f.ask("GET", "/peers", {}, origin);
        const auto shown = answer.headers.find("Access-Control-Allow-Origin");
        const int written = f.ask("POST", "/register", user("a"), origin).status;
        CHECK((written == 200) == shown.has_value());
        const http_response before = f.ask("OPTIONS", "/register", {}, origin);
        CHECK(before.status == 204);
        CHECK(before.headers.contains("Access-Control-Allow-Methods") == shown.has_value());
        // Given twice, a browser takes neither.
        for (const http_response& one : {answer, before}) {
            CHECK(one.headers.find_all("Access-Control-Allow-Origin") == shown);
            CHECK(one.headers.find_all("Vary") == "Origin");
        }
        return shown == origin;
    };
    for (const char* good : {"http://localhost:3000", "http://127.0.0.1", "https://[::1]:8", "http://x.localhost",
                             "http://tracker.example:6969", "https://friend.example"})
        CHECK_MESSAGE(allowed(good), good);
    for (const char* bad : {"null", "http://evil.example", "http://localhost.evil.example", "http://tracker.example",
                            "https://friend.example.evil", "file://localhost", "http://127.0.0.1.evil.example", "x"})
        CHECK_MESSAGE(!allowed(bad), bad);
    CHECK(!f.ask("GET", "/peers").headers.contains("Access-Control-Allow-Origin"));
}

TEST_CASE("damaged requests never break anything") {
    fixture f;
    random_engine random(3);
    const std::string good = signed_user("alice", somebody(1), f.calendar());
    const std::string both = R"({"username":"a","host":"h","port":1,"peer_id":"p-4","address":"x","timestamp":7})";
    for (int round = 0; round < 4000; ++round) {
        const std::string& start = round % 2 == 0 ? good : both;
        const byte_vector body = test::mutated({start.begin(), start.end()}, random);
        const int status = f.status("POST", round % 3 == 0 ? "/heartbeat" : "/register", std::string(as_text(body)));
        CHECK((status == 200 || (status >= 400 && status < 500)));
    }
    std::error_code ec;
    CHECK(parse_json(f.ask("GET", "/peers?limit=5000").body, ec));
}

}  // namespace registry_routes_test
