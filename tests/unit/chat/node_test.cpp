#include <doctest/doctest.h>

#include "support/chat_fixture.hpp"
#include "support/net.hpp"

namespace node_test {

using namespace cohort;
using namespace cohort::test;

namespace {

std::vector<std::string> texts(const std::vector<shown_message>& messages) {
    std::vector<std::string> out;
    for (const shown_message& one : messages) out.push_back(one.text);
    return out;
}

asio::awaitable<std::vector<std::string>> said(chat_node& node, std::string with) {
    const auto all = co_await node.history(std::move(with), 1000, std::nullopt);
    co_return texts(all);
}

}  // namespace

TEST_CASE("S3-01 S3-24: two people find each other by name and talk, whatever the script") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        co_await alice.until<chat_event::tracker_state>();
        co_await bob.until<chat_event::tracker_state>();
        co_await alice.node.connect("bob");
        co_await alice.node.send("bob", "¡Hola Bob! 👋");
        const std::string first = co_await bob.hears();
        CHECK(first == "¡Hola Bob! 👋");
        const auto delivered = co_await alice.until<chat_event::receipt>();
        CHECK(delivered.state == delivery::delivered);
        co_await bob.node.send("alice", "hello");
        const std::string second = co_await alice.hears();
        CHECK(second == "hello");
        bob.node.mark_read("alice");
        const auto is_read = [](const chat_event::receipt& one) { return one.state == delivery::read; };
        const auto read = co_await alice.until<chat_event::receipt>(is_read);
        CHECK(read.by == "bob");
        CHECK(alice.node.safety_number("bob") == bob.node.safety_number("alice"));
    });
}

TEST_CASE("a node that is made and never runs, and one that has ended, leave nothing running behind") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        co_await bob.until<chat_event::tracker_state>();
        co_await alice.node.send("bob", "0");
        co_await bob.hears();
        co_await alice.node.join("#lobby");
        co_await world.stop("alice");
        const chat_options how = world.options("alice");
        { const chat_node idle(world.net, how); }
        co_await world.net.sleep_for(1ms);
        chat_person& again = world.start(how);
        co_await again.until<chat_event::peer_connected>();
        co_await again.stop();
        std::error_code refused;
        const std::string late = "too late";
        co_await store_error(refused, again.node.send("bob", late));
        CHECK(refused == errc::stopped);
    });
}

TEST_CASE("S3-W4: what is written while the other is away is delivered once, in order, when it is back") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person* bob = &world.start("bob");
        co_await bob->until<chat_event::tracker_state>();
        co_await alice.node.send("bob", "0");
        const std::string zero = co_await bob->hears();
        co_await world.stop("bob");
        std::vector<std::string> expected{"0"};
        for (int i = 1; i <= 50; ++i) {
            expected.push_back(std::to_string(i));
            co_await alice.node.send("bob", expected.back());
        }
        bob = &world.start("bob");
        const auto is_last = [](const chat_event::message& one) { return one.what.text == "50"; };
        co_await bob->until<chat_event::message>(is_last);
        const auto history = co_await said(bob->node, "alice");
        CHECK(history == expected);
    });
}

TEST_CASE("S3-W3: three people talk in a room, and all see the same order") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        const std::vector<std::string> names{"alice", "bob", "carol"};
        std::vector<chat_person*> all;
        for (const std::string& name : names) {
            all.push_back(&world.start(name));
            co_await all.back()->node.join("#lobby");
        }
        for (chat_person* const one : all) {
            const auto whole = [&one](const auto&) { return one->node.rooms().front().members.size() == 3; };
            co_await one->until<chat_event::member_joined>(whole);
        }
        for (int i = 0; i < 10; ++i)
            for (chat_person* const one : all) co_await one->node.send("#lobby", one->node.name() + std::to_string(i));
        std::vector<std::vector<std::string>> orders;
        for (chat_person* const one : all) {
            std::vector<std::string> seen = co_await said(one->node, "#lobby");
            while (seen.size() < 30) {
                co_await one->until<chat_event::message>();
                seen = co_await said(one->node, "#lobby");
            }
            orders.push_back(std::move(seen));
        }
        CHECK(orders[0] == orders[1]);
        CHECK(orders[0] == orders[2]);
    });
}

TEST_CASE("S3-W2: a file that is offered and accepted arrives whole, under its own name") {
    run_chat([](chat_fixture& world) -> asio::awaitable<void> {
        chat_person& alice = world.start("alice");
        chat_person& bob = world.start("bob");
        co_await bob.until<chat_event::tracker_state>();
        const byte_vector content(3'000'000, 0x5a);
        write_file(world.folder / "photo.jpg", content);
        co_await alice.node.send_file("bob", (world.folder / "photo.jpg").string());
        const auto offered = co_await bob.until<chat_event::file_offered>();
        CHECK(offered.file_name == "photo.jpg");
        CHECK(offered.size == content.size());
        std::filesystem::create_directories(world.folder / "received");
        co_await bob.node.accept_file("alice", offered.id, (world.folder / "received").string());
        const auto done = co_await bob.until<chat_event::file_done>();
        CHECK(done.path == (world.folder / "received/photo.jpg").string());
        CHECK(std::filesystem::file_size(done.path) == content.size());
        co_await alice.until<chat_event::file_done>();
    });
}

}  // namespace node_test
