#include <doctest/doctest.h>

#include <cohort/protocol/json_registration.hpp>

#include "support/chat_fixture.hpp"
#include "support/chat_stranger.hpp"
#include "support/http_script.hpp"

namespace identity_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// A tracker whose user list a test writes; it takes every registration as it comes.
class lying_tracker {
public:
    explicit lying_tracker(network& net) : net_(net), tasks_(net.executor()) {
        const endpoint any{ip_address::loopback_v4(), 0};
        std::vector<std::unique_ptr<listener>> doors;
        doors.push_back(net.listen(any));
        url = "http://127.0.0.1:" + std::to_string(doors.front()->local_endpoint().port);
        server_ = std::make_unique<http_server>(net, std::move(doors),
                                                [this](http_request& request) { return answer(request); });
        tasks_.spawn(serve());
    }
    asio::awaitable<void> end() {
        tasks_.cancel();
        co_await tasks_.join();
    }

    /// A record as its owner signed it.
    static registration signed_record(const std::string& name, std::uint16_t port, const identity& by, int age_s = 0) {
        registration out{name, "127.0.0.1", port};
        sign_registration(out, by, calendar_now() - age_s * 1000);
        return out;
    }

    std::string url;
    std::map<std::string, registration> records;
    bool silent = false;  ///< takes questions and answers none

private:
    asio::awaitable<void> serve() { co_await server_->run(); }
    asio::awaitable<http_response> answer(http_request& request) {
        if (silent) co_await net_.sleep_until(time_point::max());
        if (request.method == "POST" && request.path() == "/register") {
            std::error_code ec;
            auto body = parse_json(request.body, ec, 8);
            body->get<json_object>()["id"] = json(std::int64_t{1});
            body->get<json_object>()["is_active"] = json(true);
            body->get<json_object>()["signed_host"] = body->get<json_object>()["host"];
            body->get<json_object>()["host"] = json("127.0.0.1");
            co_return make_http_response(200, "application/json", body->serialize());
        }
        if (request.path() != "/peers") co_return make_http_response(200, "application/json", "{\"message\":\"ok\"}");
        std::string list;
        for (const auto& [name, one] : records) {
            json_line line;
            add_registration(line, one);
            list += (list.empty() ? "" : ",") + line.take();
        }
        co_return make_http_response(200, "application/json", "{\"peers\":[" + list + "]}");
    }

    network& net_;
    task_group tasks_;
    std::unique_ptr<http_server> server_;
};

chat_options with_tracker(chat_fixture& world, const lying_tracker& tracker, const std::string& name) {
    chat_options out = world.options(name);
    out.tracker = tracker.url;
    out.linking.first_retry = 10ms;
    return out;
}

template <class F>
void run_with_liar(F body) {
    run_chat([body](chat_fixture& world) -> asio::awaitable<void> {
        return [](chat_fixture& in, F f) -> asio::awaitable<void> {
            lying_tracker tracker(in.net);
            std::exception_ptr failure;
            try {
                co_await f(in, tracker);
            } catch (...) {
                failure = std::current_exception();
            }
            co_await in.end_people();
            co_await tracker.end();
            if (failure) std::rethrow_exception(failure);
        }(world, body);
    });
}

template <class T>
asio::awaitable<void> fails_with(std::error_code expected, asio::awaitable<T> op) {
    std::error_code got;
    try {
        co_await std::move(op);
    } catch (const std::system_error& error) {
        got = error.code();
    }
    CHECK(got == expected);
}

}  // namespace

TEST_CASE(
    "A50: a name that comes with another key is shown loudly, gets nothing, and is believed after forget() only") {
    run_with_liar([](chat_fixture& world, lying_tracker& tracker) -> asio::awaitable<void> {
        chat_person* bob = &world.start(with_tracker(world, tracker, "bob"));
        const identity old_key(read_identity_file((world.folder / "bob/identity").string()));
        tracker.records["bob"] = lying_tracker::signed_record("bob", bob->node.port(), old_key);
        chat_person& alice = world.start(with_tracker(world, tracker, "alice"));
        co_await alice.node.send("bob", "to the first bob");
        co_await bob->hears();
        co_await world.stop("bob");
        std::filesystem::remove_all(world.folder / "bob");

        // Somebody else, or bob on a new machine.
        bob = &world.start(with_tracker(world, tracker, "bob"));
        const identity new_key(read_identity_file((world.folder / "bob/identity").string()));
        REQUIRE(new_key.key() != old_key.key());
        tracker.records["bob"] = lying_tracker::signed_record("bob", bob->node.port(), new_key);
        chat_stranger as_bob(world.net, new_key, "bob");
        std::error_code refused;
        try {
            co_await as_bob.meet(alice.node.port());
            co_await as_bob.is_dropped();
        } catch (const std::system_error& error) {
            refused = error.code();
        }
        const auto changed = co_await alice.until<chat_event::identity_changed>();
        CHECK(changed.name == "bob");
        CHECK(changed.known == old_key.key());
        CHECK(changed.claimed == new_key.key());
        co_await alice.node.send("bob", "still to the first bob");
        CHECK(!alice.node.peers().front().connected);
        CHECK(bob->node.conversations().empty());

        alice.node.forget("bob");
        co_await alice.node.send("bob", "to the second bob");
        const std::string heard = co_await bob->hears();
        CHECK(heard == "to the second bob");
        const auto all = co_await alice.node.history("bob", 10, std::nullopt);
        CHECK(all.size() == 1);
    });
}

TEST_CASE("A50: a tracker that names another address for a key gets no link made to whoever is there") {
    run_with_liar([](chat_fixture& world, lying_tracker& tracker) -> asio::awaitable<void> {
        chat_person& bob = world.start(with_tracker(world, tracker, "bob"));
        chat_person& carol = world.start(with_tracker(world, tracker, "carol"));
        const identity bobs(read_identity_file((world.folder / "bob/identity").string()));
        // Its owner signed no address, so the tracker may fill in one: carol's.
        tracker.records["bob"] = lying_tracker::signed_record("bob", carol.node.port(), bobs);
        chat_person& alice = world.start(with_tracker(world, tracker, "alice"));
        const std::string name = "bob";
        co_await fails_with(errc::identity_changed, alice.node.connect(name));
        co_await alice.node.send("bob", "for bob's eyes");
        for (const chat_peer& one : carol.node.peers()) CHECK(!one.connected);
        // The right address: it comes through.
        tracker.records["bob"] = lying_tracker::signed_record("bob", bob.node.port(), bobs, -1);
        const std::string heard = co_await bob.hears();
        CHECK(heard == "for bob's eyes");
        CHECK(carol.node.conversations().empty());
    });
}

TEST_CASE("A50: a record that was altered, or an old one that is played back, is worth nothing") {
    run_with_liar([](chat_fixture& world, lying_tracker& tracker) -> asio::awaitable<void> {
        chat_person& bob = world.start(with_tracker(world, tracker, "bob"));
        chat_person& carol = world.start(with_tracker(world, tracker, "carol"));
        chat_person& alice = world.start(with_tracker(world, tracker, "alice"));
        const identity bobs(read_identity_file((world.folder / "bob/identity").string()));
        const std::string name = "bob";
        registration altered = lying_tracker::signed_record("bob", bob.node.port(), bobs);
        altered.port = carol.node.port();
        tracker.records["bob"] = altered;
        co_await fails_with(errc::unknown_peer, alice.node.connect(name));
        registration renamed = lying_tracker::signed_record("robert", bob.node.port(), bobs);
        renamed.username = "bob";
        tracker.records["bob"] = renamed;
        co_await fails_with(errc::unknown_peer, alice.node.connect(name));

        tracker.records["bob"] = lying_tracker::signed_record("bob", bob.node.port(), bobs);
        co_await alice.node.connect(name);
        const auto at = alice.node.peers().front().address;
        tracker.records["bob"] = lying_tracker::signed_record("bob", carol.node.port(), bobs, 3600);
        co_await alice.node.send("bob", "hello");
        co_await bob.hears();
        CHECK(alice.node.peers().front().address == at);
    });
}

TEST_CASE("A50: a stranger with a known name, in capitals or not, gets no link; of two at once the first has it") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_options how = world.options("alice");
        how.tracker.clear();
        chat_person& alice = world.start(how);
        const identity bobs = new_identity(), others = new_identity();
        chat_stranger bob(world.net, bobs, "bob");
        co_await bob.meet(alice.node.port());
        const auto in = co_await alice.until<chat_event::peer_connected>();
        CHECK(in.name == "bob");
        for (const std::string name : {"bob", "Bob", "alice", "ALICE"}) {
            chat_stranger liar(world.net, others, name);
            try {
                co_await liar.meet(alice.node.port());
                co_await liar.is_dropped();
            } catch (const std::system_error& error) {
                CHECK(!is_cancellation(error.code()));
            }
        }
        const auto alarm = co_await alice.until<chat_event::identity_changed>();
        CHECK(alarm.known == bobs.key());
        CHECK(alarm.claimed == others.key());
        REQUIRE(alice.node.peers().size() == 1);
        CHECK(alice.node.peers().front().key == bobs.key());
        co_await bob.is_heard();
    });
}

TEST_CASE("A50: a tracker that does not answer keeps nobody from talking") {
    run_with_liar([](chat_fixture& world, lying_tracker& tracker) -> asio::awaitable<void> {
        chat_person& alice = world.start(with_tracker(world, tracker, "alice"));
        co_await alice.until<chat_event::tracker_state>();
        tracker.silent = true;
        const identity bobs = new_identity();
        chat_stranger bob(world.net, bobs, "bob");
        co_await bob.meet(alice.node.port());
        const auto in = co_await alice.until<chat_event::peer_connected>();
        CHECK(in.name == "bob");
    });
}

}  // namespace identity_test
