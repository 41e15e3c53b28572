#include <doctest/doctest.h>

#include "support/chat_fixture.hpp"
#include "support/chat_stranger.hpp"
#include "support/eventually.hpp"
#include "support/wire_network.hpp"

namespace links_test {

using namespace cohort;
using namespace cohort::test;

namespace {

/// Two people over a wire that the test can cut, who dial again at once.
struct pair_on_a_wire {
    explicit pair_on_a_wire(network& machine) : wire(machine), world(wire) {
        start("alice");
        start("bob");
    }

    chat_person& start(const std::string& name) {
        chat_options how = world.options(name);
        how.linking.first_retry = 10ms;
        how.linking.longest_retry = 100ms;
        chat_person& out = world.start(how);
        (name == "alice" ? alice : bob) = &out;
        return out;
    }
    asio::awaitable<void> introduce() {
        co_await alice->until<chat_event::tracker_state>();
        co_await bob->until<chat_event::tracker_state>();
        co_await alice->node.send("bob", "first");
        co_await bob->hears();
    }
    std::size_t link_ends() const { return wire.ends_at(alice->node.port()) + wire.ends_at(bob->node.port()); }

    wire_network wire;
    chat_fixture world;
    chat_person* alice = nullptr;
    chat_person* bob = nullptr;
};

template <class F>
void run_pair(F body, duration limit = 100s) {
    const auto whole = [body](network& net) -> asio::awaitable<void> {
        return [](network& machine, F f) -> asio::awaitable<void> {
            pair_on_a_wire both(machine);
            std::exception_ptr failure;
            try {
                co_await f(both);
            } catch (...) {
                failure = std::current_exception();
            }
            both.wire.alter = nullptr;
            co_await both.world.end();
            if (failure) std::rethrow_exception(failure);
        }(net, body);
    };
    run(whole, limit);
}

asio::awaitable<std::vector<std::string>> said(chat_node& node, std::string with) {
    const auto all = co_await node.history(std::move(with), 10'000, std::nullopt);
    std::vector<std::string> out;
    for (const shown_message& one : all) out.push_back(one.text);
    co_return out;
}

asio::awaitable<void> hears_at_last(chat_person& who, std::string text) {
    const auto is_it = [text](const chat_event::message& one) { return one.what.text == text; };
    co_await who.until<chat_event::message>(is_it);
}

asio::awaitable<void> connect_quietly(chat_node& node, std::string name) {
    try {
        co_await node.connect(std::move(name));
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
    }
}

}  // namespace

TEST_CASE("S3-21: two who dial each other at the same moment end up with one link, every time") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        for (int round = 0; round < 40; ++round) {
            both.wire.cut();
            task_group dials(both.wire.executor());
            dials.spawn(connect_quietly(both.alice->node, "bob"));
            dials.spawn(connect_quietly(both.bob->node, "alice"));
            co_await dials.join();
            co_await both.alice->node.send("bob", "a" + std::to_string(round));
            co_await both.bob->node.send("alice", "b" + std::to_string(round));
            co_await hears_at_last(*both.bob, "a" + std::to_string(round));
            co_await hears_at_last(*both.alice, "b" + std::to_string(round));
            const auto one_link = [&both] { return both.link_ends() == 2; };
            co_await eventually(both.wire, one_link);
        }
    });
}

TEST_CASE("A50: a line that is cut again and again in the middle of traffic loses and doubles nothing") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        std::vector<std::string> of_alice{"first"}, of_bob;
        for (int i = 0; i < 120; ++i) {
            of_alice.push_back("a" + std::to_string(i));
            of_bob.push_back("b" + std::to_string(i));
            co_await both.alice->node.send("bob", of_alice.back());
            co_await both.bob->node.send("alice", of_bob.back());
            if (i % 7 == 3) both.wire.cut();
        }
        co_await hears_at_last(*both.bob, of_alice.back());
        co_await hears_at_last(*both.alice, of_bob.back());
        const auto here = co_await said(both.alice->node, "bob");
        const auto there = co_await said(both.bob->node, "alice");
        CHECK(here == there);
        CHECK(here.size() == of_alice.size() + of_bob.size());
        std::vector<std::string> a, b;
        for (const std::string& one : there) (one.starts_with('b') ? b : a).push_back(one);
        CHECK(a == of_alice);
        CHECK(b == of_bob);
    });
}

TEST_CASE("A49: whatever a man in the middle does to the bytes, messages arrive once, unaltered and in order") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        random_engine random(7);
        std::vector<std::string> expected{"first"};
        byte_vector held;
        int damaged = 0;
        for (int round = 0; round < 40; ++round) {
            bool done = false;
            both.wire.alter = [&, round](stream& link, byte_vector& bytes) {
                const std::uint16_t a = both.alice->node.port(), b = both.bob->node.port();
                const auto is_chat = [&](const endpoint& at) { return at.port == a || at.port == b; };
                const bool chat = is_chat(link.remote_endpoint()) || is_chat(link.local_endpoint());
                if (done || !chat || bytes.size() < 40) return;
                done = true;
                ++damaged;
                switch (round % 4) {
                case 0: bytes[8 + random.below(static_cast<std::uint32_t>(bytes.size()) - 8)] ^= 0x10; break;
                case 1: {  // replayed
                    const byte_vector copy = bytes;
                    bytes.insert(bytes.end(), copy.begin(), copy.end());
                    break;
                }
                case 2: {  // cut short, and what follows comes too early
                    bytes.resize(bytes.size() - 1 - random.below(20));
                    break;
                }
                default: std::swap(held, bytes);  // an older one in its place
                }
            };
            expected.push_back(std::to_string(round));
            co_await both.alice->node.send("bob", expected.back());
            // Bytes that are missing leave the other side waiting for them; then the line is cut, as a dead one is.
            std::string last;
            while (last != expected.back()) {
                try {
                    co_await with_timeout(both.wire, 500ms, hears_at_last(*both.bob, expected.back()));
                } catch (const std::system_error& error) {
                    if (error.code() != errc::timed_out) throw;
                    both.wire.cut();
                }
                const auto now = co_await said(both.bob->node, "alice");
                last = now.back();
            }
        }
        CHECK(damaged == 40);
        const auto there = co_await said(both.bob->node, "alice");
        CHECK(there == expected);
    });
}

TEST_CASE("S3-W4: either side may end and come back at any point, and nothing is lost or doubled") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        std::vector<std::string> expected{"first"};
        for (int i = 0; i < 24; ++i) {
            expected.push_back(std::to_string(i));
            co_await both.alice->node.send("bob", expected.back());
            const std::string who = i % 2 == 0 ? "bob" : "alice";
            if (i % 3 == 0) co_await both.world.stop(who);
            if (i % 3 == 0) both.start(who);
        }
        auto there = co_await said(both.bob->node, "alice");
        while (there.size() < expected.size()) {
            co_await both.bob->until<chat_event::message>();
            there = co_await said(both.bob->node, "alice");
        }
        const auto here = co_await said(both.alice->node, "bob");
        CHECK(there == expected);
        CHECK(here == expected);
    });
}

TEST_CASE("S3-W7: typing, presence, what was delivered and read, and what is unread, also over a new link") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        both.alice->node.typing("bob", true);
        const auto types = co_await both.bob->until<chat_event::typing>();
        CHECK(types.on);
        CHECK(types.who == "alice");
        both.alice->node.set_presence("at lunch");
        const auto state = co_await both.bob->until<chat_event::presence>(
            [](const chat_event::presence& one) { return one.state != "online"; });
        CHECK(state.state == "at lunch");
        CHECK(both.bob->node.unread("alice") == 1);
        both.bob->node.mark_read("alice");
        CHECK(both.bob->node.unread("alice") == 0);
        const auto is_read = [](const chat_event::receipt& one) { return one.state == delivery::read; };
        const auto read = co_await both.alice->until<chat_event::receipt>(is_read);
        CHECK(read.up_to.seq == 1);
        // A new link tells anew what was read, and makes nothing read that was not.
        co_await both.alice->node.send("bob", "second");
        co_await both.bob->hears();
        both.wire.cut();
        co_await both.bob->until<chat_event::peer_connected>();
        co_await both.alice->node.send("bob", "third");
        co_await both.bob->hears();
        CHECK(both.bob->node.unread("alice") == 2);
        co_await both.world.stop("bob");
        both.start("bob");
        CHECK(both.bob->node.unread("alice") == 2);
        const auto pages = co_await both.alice->node.history("bob", 10, std::nullopt);
        REQUIRE(pages.size() == 3);
        CHECK(pages[0].state == delivery::read);
        CHECK(pages[1].state == delivery::delivered);
    });
}

TEST_CASE("S3-18: history is read back by pages, also while much of it is on its way to the disk") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        std::vector<std::string> expected{"first"};
        for (int i = 0; i < 300; ++i) {
            expected.push_back(std::to_string(i));
            co_await both.alice->node.send("bob", expected.back());
        }
        co_await hears_at_last(*both.bob, expected.back());
        std::vector<std::string> pages;
        std::optional<message_id> before;
        for (;;) {
            const auto page = co_await both.bob->node.history("alice", 17, before);
            if (page.empty()) break;
            CHECK(page.size() <= 17);
            for (std::size_t i = page.size(); i > 0; --i) pages.push_back(page[i - 1].text);
            before = page.front().id;
        }
        std::reverse(pages.begin(), pages.end());
        CHECK(pages == expected);
    });
}

TEST_CASE("S3-W4: what waits for a node that ends says so, and is not lost") {
    run_pair([](pair_on_a_wire& both) -> asio::awaitable<void> {
        co_await both.introduce();
        both.bob->node.stop();
        co_await both.bob->stop();
        std::error_code ended;
        try {
            co_await with_timeout(both.wire, 5s, both.bob->node.send("alice", "too late"));
        } catch (const std::system_error& error) {
            ended = error.code();
        }
        CHECK(ended == errc::stopped);
    });
}

}  // namespace links_test
