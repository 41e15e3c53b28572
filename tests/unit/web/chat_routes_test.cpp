#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/net/http_client.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/web/chat_routes.hpp>

#include "support/chat_fixture.hpp"
#include "support/mutate.hpp"

namespace chat_routes_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint16_t door_port = 8001;

std::shared_ptr<chat_face> face_of(chat_person& who, const chat_fixture& world) {
    const std::shared_ptr<chat_node> node(std::shared_ptr<void>(), &who.node);
    return std::make_shared<chat_face_of<chat_node>>(node, chat_origin{world.url, (world.folder / "got").string()});
}

asio::awaitable<started_chat> nobody_starts(chat_start) { co_return started_chat{}; }

http_request question(std::string method, std::string target, std::string body = {}) {
    http_request out;
    out.method = std::move(method);
    out.target = std::move(target);
    out.body = std::move(body);
    out.headers.add("Host", "localhost:8001");
    return out;
}

struct said {
    int status;
    json body;

    std::string text(const std::string& key) const {
        return std::string(json_text(json_member(body, key)).value_or("(none)"));
    }
    const json_array& list(const std::string& key) const { return json_member(body, key)->get<json_array>(); }
};

asio::awaitable<said> ask(chat_routes& routes, http_request request) {
    const http_response answer = co_await routes.answer(request);
    CHECK(answer.headers.find("Content-Type") == "application/json");
    std::error_code ec;
    auto body = parse_json(answer.body, ec);
    REQUIRE(body);
    co_return said{answer.status, std::move(*body)};
}
asio::awaitable<said> get(chat_routes& routes, std::string target) {
    return ask(routes, question("GET", std::move(target)));
}
asio::awaitable<said> post(chat_routes& routes, std::string target, std::string body) {
    return ask(routes, question("POST", std::move(target), std::move(body)));
}

/// The status, and the key that the message names.
std::string verdict(const said& answer) {
    const std::string message = answer.text("message");
    CHECK(answer.text("status") == "error");
    return std::to_string(answer.status) + " " + message.substr(0, message.find(':'));
}

std::vector<std::string> contents(const said& answer) {
    std::vector<std::string> out;
    for (const json& one : answer.list("messages")) out.emplace_back(*json_text(json_member(one, "content")));
    return out;
}

/// Routes behind a real server on the loopback, for WebSockets.
class served {
public:
    served(network& net, std::shared_ptr<chat_face> node) : net_(net), tasks_(net.executor()) {
        auto doors = listen_all(net, {ip_address::loopback_v4()}, 0);
        port = doors.front()->local_endpoint().port;
        routes = std::make_unique<chat_routes>(net, local_guard{port}, &nobody_starts, std::move(node));
        server_ = std::make_unique<http_server>(net, std::move(doors),
                                                [this](http_request& request) { return routes->answer(request); });
        tasks_.spawn(server_->run());
        tasks_.spawn(routes->run());
    }
    asio::awaitable<void> stop() {
        tasks_.cancel();
        co_await tasks_.join();
    }
    asio::awaitable<std::unique_ptr<websocket>> open(std::string origin) {
        websocket_client_options how;
        if (!origin.empty()) how.headers.add("Origin", origin);
        const std::string address = "ws://127.0.0.1:" + std::to_string(port) + "/ws";
        auto out = co_await websocket_connect(net_, address, how);
        co_return out;
    }

    std::uint16_t port = 0;
    std::unique_ptr<chat_routes> routes;

private:
    network& net_;
    std::unique_ptr<http_server> server_;
    task_group tasks_;
};

/// The next frame of a type, and its data.
asio::awaitable<json> frame(websocket& socket, std::string type) {
    for (;;) {
        const websocket_message message = co_await socket.receive();
        std::error_code ec;
        const auto read = parse_json(message.text(), ec);
        REQUIRE(read);
        if (json_text(json_member(*read, "type")) == type) co_return *read;
    }
}

std::string data_text(const json& frame, const std::string& key) {
    return std::string(json_text(json_member(*json_member(frame, "data"), key)).value_or("(none)"));
}

asio::awaitable<void> meet(chat_person& a, chat_person& b) {
    co_await a.until<chat_event::tracker_state>();
    co_await b.until<chat_event::tracker_state>();
    co_await a.node.connect(b.node.name());
    co_await b.until<chat_event::peer_connected>();
}

}  // namespace

TEST_CASE("S3-15 S3-16 S3-17 S3-18 S3-24: connect, send, peers and messages go through the node") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        co_await bob.until<chat_event::tracker_state>();
        chat_routes routes(world.net, {door_port}, &nobody_starts, face_of(alice, world));

        const said before = co_await get(routes, "/peers");
        CHECK(before.list("peers").empty());
        const said connected = co_await post(routes, "/connect", R"({"peer_username":"bob","unknown":[{}]})");
        CHECK(connected.status == 200);
        CHECK(connected.text("status") == "connected");
        const said peers = co_await get(routes, "/peers");
        REQUIRE(peers.list("peers").size() == 1);
        const json& peer = peers.list("peers").front();
        CHECK(json_text(json_member(peer, "username")) == "bob");
        CHECK(json_text(json_member(peer, "key")) == bob.node.key().hex());
        CHECK(json_integer(json_member(peer, "port")) == bob.node.port());

        const said sent =
            co_await post(routes, "/send", R"({"peer_username":"bob","content":"¡Hola Bob! 👋 \ud83c\udf89"})");
        CHECK(sent.status == 200);
        CHECK(sent.text("status") == "sent");
        CHECK(sent.text("id") == alice.node.key().hex() + ":1");
        const std::string heard = co_await bob.hears();
        CHECK(heard == "¡Hola Bob! 👋 🎉");
        co_await bob.node.send("alice", "two");
        const auto third = R"({"peer_username":"bob","content":"three"})";
        co_await alice.hears();
        co_await post(routes, "/send", third);

        const said all = co_await get(routes, "/messages?with=bob");
        CHECK(contents(all) == std::vector<std::string>{"¡Hola Bob! 👋 🎉", "two", "three"});
        const json& first = all.list("messages").front();
        CHECK(json_text(json_member(first, "from")) == "alice");
        CHECK(json_text(json_member(first, "to")) == "bob");
        CHECK(json_text(json_member(first, "timestamp"))->size() ==
              std::string_view("2026-11-21T14:30:00.000Z").size());
        const json& second = all.list("messages")[1];
        CHECK(json_text(json_member(second, "to")) == "alice");
        const said last = co_await get(routes, "/messages?with=bob&limit=1");
        CHECK(contents(last) == std::vector<std::string>{"three"});
        const std::string id(*json_text(json_member(second, "id")));
        const said earlier = co_await get(routes, "/messages?with=bob&before=" + percent_encode(id));
        CHECK(contents(earlier) == std::vector<std::string>{"¡Hola Bob! 👋 🎉"});
        const said merged = co_await get(routes, "/messages?limit=2");
        CHECK(contents(merged) == std::vector<std::string>{"two", "three"});
        const said none = co_await get(routes, "/messages?with=bob&limit=0");
        CHECK(contents(none).empty());
    });
}

TEST_CASE("messages are read without those they were exchanged with, and one that cannot be read hides no other") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        chat_person& carol = world.start("carol");
        chat_person& dave = world.start("dave");
        chat_routes routes(world.net, {door_port}, &nobody_starts, face_of(alice, world));
        co_await meet(alice, bob);
        co_await carol.until<chat_event::tracker_state>();
        co_await dave.until<chat_event::tracker_state>();
        co_await alice.node.send("bob", "to bob");
        co_await alice.node.send("carol", "to carol");
        co_await bob.hears();
        co_await carol.hears();
        const identity_key key_of_bob = bob.node.key();
        co_await world.stop("bob");
        alice.node.forget("bob");
        const said all = co_await get(routes, "/messages");
        CHECK(all.status == 200);
        CHECK(contents(all) == std::vector<std::string>{"to bob", "to carol"});
        const said with = co_await get(routes, "/messages?with=" + key_of_bob.hex().substr(0, 8));
        CHECK(with.status == 200);
        CHECK(contents(with) == std::vector<std::string>{"to bob"});

        // Nothing is in memory after a restart.
        const std::string talk = direct_conversation(alice.node.key(), carol.node.key()).hex() + ".log";
        co_await alice.node.send("dave", "to dave");
        co_await world.stop("alice");
        chat_person& again = world.start("alice");
        chat_routes later(world.net, {door_port}, &nobody_starts, face_of(again, world));
        std::filesystem::resize_file(world.folder / "alice/conversations" / talk, 1);
        const said damaged = co_await get(later, "/messages?with=carol");
        CHECK(damaged.status == 500);
        const said rest = co_await get(later, "/messages");
        CHECK(rest.status == 200);
        CHECK(contents(rest) == std::vector<std::string>{"to dave"});
    });
}

TEST_CASE("S3-19: listeners of /ws hear messages, links, typing and receipts, and get a pong") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        co_await bob.until<chat_event::tracker_state>();
        served door(world.net, face_of(alice, world));
        const auto socket = co_await door.open("");
        const auto other = co_await door.open("http://localhost:3000");
        co_await alice.node.connect("bob");
        const json linked = co_await frame(*socket, "peer_connected");
        CHECK(data_text(linked, "username") == "bob");
        co_await alice.node.send("bob", "hello");
        const json receipt = co_await frame(*socket, "receipt");
        CHECK(data_text(receipt, "with") == "bob");
        CHECK(data_text(receipt, "state") == "delivered");
        bob.node.typing("alice", true);
        const json typing = co_await frame(*socket, "typing");
        CHECK(data_text(typing, "from") == "bob");
        co_await bob.node.send("alice", "¡Hola! 🎉");
        json message;
        do message = co_await frame(*socket, "message");
        while (data_text(message, "from") != "bob");
        CHECK(data_text(message, "content") == "¡Hola! 🎉");
        CHECK(data_text(message, "to") == "alice");
        CHECK(data_text(message, "id") == bob.node.key().hex() + ":1");
        const json also = co_await frame(*other, "message");
        CHECK(data_text(also, "with") == "bob");

        const std::string_view ping = R"({"type":"ping"})";
        co_await socket->send(ping);
        const json pong = co_await frame(*socket, "pong");
        CHECK(pong.serialize() == R"({"type":"pong"})");
        const std::string_view seen = R"({"type":"read","data":{"peer_username":"alice"}})";
        co_await socket->send(seen);
        const json wrong = co_await frame(*socket, "error");
        CHECK(data_text(wrong, "message") == "peer_username: somebody else is needed");
        const std::string_view read = R"({"type":"read","data":{"peer_username":"bob"}})";
        co_await socket->send(read);
        const auto is_read = [](const chat_event::receipt& one) { return one.state == delivery::read; };
        co_await bob.until<chat_event::receipt>(is_read);
        for (const std::string_view odd : {"", "x", "[]", R"({"type":7})", R"({"type":"typing","data":[]})"}) {
            co_await socket->send(odd);
            co_await frame(*socket, "error");
        }
        const byte_vector bytes{0xff, 0xfe, 0x00};
        const byte_view binary(bytes);
        co_await socket->send(binary);
        co_await frame(*socket, "error");
        co_await world.stop("bob");
        const json gone = co_await frame(*socket, "peer_disconnected");
        CHECK(data_text(gone, "username") == "bob");
        co_await door.stop();
    });
}

TEST_CASE("S3-14: a start makes the node once, answers with its state again, and refuses another name") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        int starts = 0;
        const chat_starter starter = [&world, &starts](chat_start wanted) {
            return [](chat_fixture& in, int& count, chat_start what) -> asio::awaitable<started_chat> {
                ++count;
                if (what.username == "taken") raise(errc::name_taken, what.username);
                if (what.username == "a/b") raise(errc::name_invalid, what.username);
                if (what.port == 9) raise(std::make_error_code(std::errc::address_in_use), "0.0.0.0:9");
                if (what.tracker_url == "ftp://x") raise(errc::url_unsupported);
                co_await in.net.sleep_for(20ms);
                started_chat out;
                out.node = face_of(in.start(what.username), in);
                out.tracker_reachable = true;
                co_return out;
            }(world, starts, std::move(wanted));
        };
        chat_routes routes(world.net, {door_port}, starter);
        const auto start = [&routes](std::string name, int port = 0, std::string tracker = "http://127.0.0.1:1") {
            json_line line;
            line.add("username", name).add("port", port).add("tracker_url", tracker);
            return post(routes, "/start", line.take());
        };
        for (const std::string path : {"/peers", "/messages", "/rooms", "/safety_number?with=bob"}) {
            const said early = co_await get(routes, path);
            CHECK(verdict(early) == "409 username");
        }
        const said health = co_await get(routes, "/health");
        CHECK(health.text("status") == "healthy");
        CHECK(json_member(health.body, "username")->is<picojson::null>());

        const said taken = co_await start("taken");
        CHECK(verdict(taken) == "409 username");
        const said odd = co_await start("a/b");
        CHECK(verdict(odd) == "400 username");
        const said busy = co_await start("alice", 9);
        CHECK(verdict(busy) == "409 port");
        const said where = co_await start("alice", 0, "ftp://x");
        CHECK(verdict(where) == "400 tracker_url");
        CHECK(starts == 4);

        // Two at a time end in one node.
        task_group both(world.net.executor());
        std::vector<said> answers;
        const auto one = [](chat_routes& at, std::vector<said>& into) -> asio::awaitable<void> {
            const std::string body = R"({"username":"alice","port":0,"tracker_url":""})";
            said answer = co_await post(at, "/start", body);
            into.push_back(std::move(answer));
        };
        both.spawn(one(routes, answers));
        both.spawn(one(routes, answers));
        co_await both.join();
        CHECK(starts == 5);
        REQUIRE(answers.size() == 2);
        CHECK(answers[0].text("status") == "started");
        CHECK(answers[1].text("status") == "running");
        for (const said& answer : answers) {
            CHECK(answer.status == 200);
            CHECK(answer.text("username") == "alice");
            CHECK(answer.text("tracker_url") == world.url);
            CHECK(json_member(answer.body, "tracker_reachable")->evaluate_as_boolean());
        }
        const said other = co_await start("bob");
        CHECK(verdict(other) == "409 username");
        const said named = co_await get(routes, "/health");
        CHECK(named.text("username") == "alice");
    });
}

TEST_CASE("rooms, typing, files and safety numbers have their routes") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        co_await meet(alice, bob);
        chat_routes ours(world.net, {door_port}, &nobody_starts, face_of(alice, world));
        chat_routes theirs(world.net, {door_port}, &nobody_starts, face_of(bob, world));
        const auto number = R"(/safety_number?with=)";
        const said here = co_await get(ours, number + std::string("bob"));
        const said there = co_await get(theirs, number + std::string("alice"));
        CHECK(here.text("safety_number") == there.text("safety_number"));
        CHECK(here.status == 200);

        const said joined = co_await post(ours, "/join", R"({"room":"lobby"})");
        CHECK(joined.text("room") == "#lobby");
        co_await post(theirs, "/join", R"({"room":"#lobby"})");
        const said quiet = co_await post(ours, "/send", R"({"peer_username":"#lobby","content":"all"})");
        CHECK(quiet.status == 200);
        const std::string heard = co_await bob.hears();
        CHECK(heard == "all");
        const said rooms = co_await get(theirs, "/rooms");
        CHECK(json_text(json_member(rooms.list("rooms").front(), "room")) == "#lobby");
        const said messages = co_await get(theirs, "/messages?with=%23lobby");
        CHECK(contents(messages) == std::vector<std::string>{"all"});
        const said left = co_await post(theirs, "/leave", R"({"room":"lobby"})");
        CHECK(left.text("status") == "left");
        const said again = co_await post(theirs, "/leave", R"({"room":"lobby"})");
        CHECK(verdict(again) == "404 room");
        const said nowhere = co_await post(ours, "/join", R"({"room":"a\nb"})");
        CHECK(verdict(nowhere) == "400 room");

        const said early = co_await post(ours, "/typing", R"({"peer_username":"bob"})");
        CHECK(early.text("status") == "told");

        const byte_vector content(100'000, 0x5a);
        write_file(world.folder / "photo.jpg", content);
        json_line offer;
        offer.add("peer_username", "bob").add("path", (world.folder / "photo.jpg").string());
        const said offered = co_await post(ours, "/files", offer.take());
        CHECK(offered.text("status") == "offered");
        const auto news = co_await bob.until<chat_event::file_offered>();
        CHECK(news.id.text() == offered.text("id"));
        std::filesystem::create_directories(world.folder / "got");
        json_line accept;
        accept.add("peer_username", "alice").add("id", offered.text("id"));
        const said accepted = co_await post(theirs, "/files/accept", accept.take());
        CHECK(accepted.text("status") == "accepted");
        const auto done = co_await bob.until<chat_event::file_done>();
        CHECK(done.path == (world.folder / "got/photo.jpg").string());
        json_line unknown;
        unknown.add("peer_username", "alice").add("id", alice.node.key().hex() + ":99");
        const said missing = co_await post(theirs, "/files/accept", unknown.take());
        CHECK(verdict(missing) == "404 id");
    });
}

TEST_CASE("what is missing, of the wrong type or unknown is refused by its name") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        co_await alice.until<chat_event::tracker_state>();
        chat_routes routes(world.net, {door_port}, &nobody_starts, face_of(alice, world));
        struct one {
            std::string target, body, expected;
        };
        const std::string too_long = R"({"peer_username":"bob","content":")" + std::string(65537, 'x') + "\"}";
        const std::vector<one> posts = {
            {"/start", "", "400 body"},
            {"/start", "[]", "400 body"},
            {"/start", std::string(1000, '['), "400 body"},
            {"/start", R"({"port":1,"tracker_url":""})", "400 username"},
            {"/start", R"({"username":7,"port":1,"tracker_url":""})", "400 username"},
            {"/start", R"({"username":"","port":1,"tracker_url":""})", "400 username"},
            {"/start", R"({"username":"alice","tracker_url":""})", "400 port"},
            {"/start", R"({"username":"alice","port":"1","tracker_url":""})", "400 port"},
            {"/start", R"({"username":"alice","port":65536,"tracker_url":""})", "400 port"},
            {"/start", R"({"username":"alice","port":1.5,"tracker_url":""})", "400 port"},
            {"/start", R"({"username":"alice","port":1})", "400 tracker_url"},
            {"/start", R"({"username":"alice","port":1,"tracker_url":null})", "400 tracker_url"},
            {"/connect", "{}", "400 peer_username"},
            {"/connect", R"({"peer_username":["bob"]})", "400 peer_username"},
            {"/connect", R"({"peer_username":"alice"})", "400 peer_username"},
            {"/connect", R"({"peer_username":"nobody"})", "404 peer_username"},
            {"/send", R"({"content":"x"})", "400 peer_username"},
            {"/send", R"({"peer_username":"bob"})", "400 content"},
            {"/send", R"({"peer_username":"bob","content":7})", "400 content"},
            {"/send", R"({"peer_username":"nobody","content":"x"})", "404 peer_username"},
            {"/send", R"({"peer_username":"#nowhere","content":"x"})", "404 peer_username"},
            {"/typing", R"({"peer_username":"nobody"})", "404 peer_username"},
            {"/typing", R"({"peer_username":"bob","on":1})", "400 on"},
            {"/read", R"({"peer_username":"nobody"})", "404 peer_username"},
            {"/join", "{}", "400 room"},
            {"/files", R"({"peer_username":"bob","path":"relative"})", "400 path"},
            {"/files", R"({"peer_username":"bob","path":"/nowhere/at/all"})", "400 path"},
            {"/files/accept", R"({"peer_username":"bob","id":"x"})", "400 id"},
            {"/files/refuse", R"({"peer_username":"bob","id":"x:1"})", "400 id"},
            {"/peers", "{}", "405 method"},
            {"/nowhere", "{}", "404 path"},
        };
        for (const one& now : posts) {
            CAPTURE(now.target);
            CAPTURE(now.body);
            const said answer = co_await post(routes, now.target, now.body);
            CHECK(verdict(answer) == now.expected);
        }
        const std::vector<one> gets = {
            {"/messages?with=nobody", "", "404 with"},
            {"/messages?limit=x", "", "400 limit"},
            {"/messages?limit=-1", "", "400 limit"},
            {"/messages?with=%zz", "", "400 with"},
            {"/messages?with=bob&before=1", "", "400 before"},
            {"/messages?before=" + alice.node.key().hex() + ":1", "", "400 with"},
            {"/peers?all=7", "", "400 all"},
            {"/send", "", "405 method"},
            {"/ws/x", "", "404 path"},
        };
        for (const one& now : gets) {
            CAPTURE(now.target);
            const said answer = co_await get(routes, now.target);
            CHECK(verdict(answer) == now.expected);
        }
        world.start("bob");
        const auto seen = [&routes]() { return post(routes, "/connect", R"({"peer_username":"bob"})"); };
        said connected = co_await seen();
        while (connected.status == 404) connected = co_await seen();
        for (const std::string& body : {too_long, std::string(R"({"peer_username":"bob","content":""})")}) {
            const said answer = co_await post(routes, "/send", body);
            CHECK(verdict(answer) == "400 content");
        }
        co_await world.stop("bob");
        const auto known = R"({"peer_username":"bob","content":"for later"})";
        co_await alice.until<chat_event::peer_disconnected>();
        const said queued = co_await post(routes, "/send", known);
        CHECK(queued.text("status") == "queued");
        const said refused = co_await post(routes, "/connect", R"({"peer_username":"bob"})");
        CHECK(verdict(refused) == "502 peer_username");
    });
}

TEST_CASE("A46: requests meant for another host and those of foreign pages reach nothing") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_routes routes(world.net, {door_port}, &nobody_starts, face_of(alice, world));
        struct caller {
            std::string host, origin, site;
            int expected;
        };
        const std::vector<caller> callers = {
            {"localhost:8001", "", "", 200},
            {"LOCALHOST:8001", "", "", 200},
            {"127.0.0.1:8001", "", "", 200},
            {"[::1]:8001", "", "", 200},
            {"127.0.0.1:8001", "http://127.0.0.1:8001", "same-origin", 200},
            {"localhost:8001", "http://localhost:3000", "same-site", 200},
            {"127.0.0.1:8001", "http://localhost:3000", "cross-site", 200},
            {"localhost:8001", "", "none", 200},
            {"evil.example:8001", "", "", 421},
            {"evil.example:8001", "http://evil.example:8001", "same-origin", 421},
            {"localhost.evil.example:8001", "", "", 421},
            {"evil-localhost:8001", "", "", 421},
            {"localhost", "", "", 421},
            {"localhost:80", "", "", 421},
            {"localhost:18001", "", "", 421},
            {"localhost:8001:8001", "", "", 421},
            {"localhost.:8001", "", "", 421},
            {"user@localhost:8001", "", "", 421},
            {"127.0.0.1.nip.io:8001", "", "", 421},
            {"2130706433:8001", "", "", 421},
            {"0.0.0.0:8001", "", "", 421},
            {"", "", "", 421},
            {"localhost:8001", "http://evil.example", "cross-site", 403},
            {"localhost:8001", "http://evil.example:8001", "", 403},
            {"localhost:8001", "https://localhost.evil.example", "", 403},
            {"localhost:8001", "http://evil.example/localhost:8001", "", 403},
            {"localhost:8001", "null", "", 403},
            {"localhost:8001", "", "cross-site", 403},
            {"localhost:8001", "file://", "", 403},
            {"localhost:8001", "chrome-extension://abcdef", "", 403},
        };
        for (const caller& one : callers) {
            const std::vector<http_request> calls = {question("GET", "/peers"), question("GET", "/messages"),
                                                     question("POST", "/join", R"({"room":"lobby"})"),
                                                     question("GET", "/ws")};
            for (http_request call : calls) {
                call.headers.clear();
                if (!one.host.empty()) call.headers.add("Host", one.host);
                if (!one.origin.empty()) call.headers.add("Origin", one.origin);
                if (!one.site.empty()) call.headers.add("Sec-Fetch-Site", one.site);
                CAPTURE(one.host);
                CAPTURE(one.origin);
                CAPTURE(call.target);
                const bool ws = call.target == "/ws";
                if (ws) {
                    call.headers.add("Upgrade", "websocket");
                    call.headers.add("Connection", "Upgrade");
                    call.headers.add("Sec-WebSocket-Version", "13");
                    call.headers.add("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
                }
                const http_response answer = co_await routes.answer(call);
                CHECK(answer.status == (ws && one.expected == 200 ? 101 : one.expected));
                const auto opened = answer.headers.find("Access-Control-Allow-Origin");
                CHECK(opened.has_value() == (one.expected == 200 && !ws && !one.origin.empty()));
            }
            if (one.expected != 200) {
                const std::vector<chat_room_info> rooms = alice.node.rooms();
                CHECK(rooms.size() == 1);
            }
        }
        http_request two_hosts = question("GET", "/peers");
        two_hosts.headers.add("Host", "evil.example");
        const http_response both = co_await routes.answer(two_hosts);
        CHECK(both.status == 421);
        http_request preflight = question("OPTIONS", "/send");
        preflight.headers.add("Origin", "http://evil.example");
        const http_response refused = co_await routes.answer(preflight);
        CHECK(refused.status == 403);
        http_request ours = question("OPTIONS", "/send");
        ours.headers.add("Origin", "http://localhost:3000");
        const http_response allowed = co_await routes.answer(ours);
        CHECK(allowed.status == 204);
        CHECK(allowed.headers.find("Access-Control-Allow-Methods") == "POST, OPTIONS");
        ours.method = "GET";
        ours.target = "/peers";
        const http_response answered = co_await routes.answer(ours);
        // Given twice, a browser takes neither.
        for (const http_response* const one : {&allowed, &answered}) {
            CHECK(one->headers.find_all("Access-Control-Allow-Origin") == "http://localhost:3000");
            CHECK(one->headers.find_all("Vary") == "Origin");
        }
    });
}

TEST_CASE("A46: a target that names another host is not answered, whatever the Host says") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        served door(world.net, face_of(alice, world));
        const std::string port = std::to_string(door.port);
        const endpoint at{ip_address::loopback_v4(), door.port};
        for (const std::string host : {"evil.example", "localhost"}) {
            const std::string ask = "GET http://" + host + ":" + port + "/peers HTTP/1.1\r\nHost: localhost:" + port +
                                    "\r\nConnection: close\r\n\r\n";
            auto link = co_await world.net.connect(at);
            co_await write_all(*link, as_bytes(ask));
            byte_vector status(12);
            co_await read_exactly(*link, status);
            CHECK(as_text(status) == (host == "localhost" ? "HTTP/1.1 200" : "HTTP/1.1 421"));
        }
        co_await door.stop();
    });
}

TEST_CASE("A46: with a token, nothing is answered without it") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_routes routes(world.net, {door_port, "s3cret"}, &nobody_starts, face_of(alice, world));
        struct key {
            std::string field, query;
            int expected;
        };
        const std::vector<key> keys = {
            {"", "", 401},
            {"Bearer wrong!", "", 401},
            {"Bearer s3cret2", "", 401},
            {"s3cret", "", 401},
            {"Basic s3cret", "", 401},
            {"", "?token=", 401},
            {"", "?token=wrong!", 401},
            {"", "?xtoken=s3cret", 401},
            {"Bearer s3cret", "", 200},
            {"bearer s3cret", "", 200},
            {"", "?all=true&token=s3cret", 200},
        };
        for (const key& one : keys) {
            CAPTURE(one.field);
            CAPTURE(one.query);
            http_request request = question("GET", "/peers" + one.query);
            if (!one.field.empty()) request.headers.add("Authorization", one.field);
            const http_response answer = co_await routes.answer(request);
            CHECK(answer.status == one.expected);
        }
    });
}

TEST_CASE("10,000 damaged bodies are refused or understood, and nothing else happens") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_routes routes(world.net, {door_port}, &nobody_starts, face_of(alice, world));
        random_engine chance(7);
        const std::string good = R"({"peer_username":"nobody","path":"/nowhere","id":"ab:1","on":true})";
        const std::vector<std::string> targets = {"/typing", "/read", "/files/refuse", "/start"};
        for (int i = 0; i < 10'000; ++i) {
            const byte_vector bytes = mutated(byte_vector(good.begin(), good.end()), chance);
            http_request request =
                question("POST", targets[static_cast<std::size_t>(i) % targets.size()], std::string(as_text(bytes)));
            const http_response answer = co_await routes.answer(request);
            const bool expected = answer.status == 400 || answer.status == 404 || answer.status == 409;
            if (!expected && answer.status != 200) FAIL_CHECK(answer.status << " " << answer.body);
        }
    });
}

}  // namespace chat_routes_test
