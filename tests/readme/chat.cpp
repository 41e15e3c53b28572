#include <cohort/chat.hpp>
#include <cohort/net/beside.hpp>
#include <cohort/protocol/plain_text.hpp>

#include <cstdio>

asio::awaitable<void> greet(cohort::chat_node& node) {
    co_await node.connect("bob");
    co_await node.send("bob", "hello");
    for (;;) {
        const cohort::chat_node_event event = co_await node.receive();
        const auto* const heard = std::get_if<cohort::chat_event::message>(&event);
        if (heard != nullptr) std::printf("%s\n", cohort::terminal_text(heard->what.text).c_str());
    }
}

asio::awaitable<void> talk(cohort::network& net) {
    cohort::chat_options options{.name = "alice", .home = "alice's", .tracker = "http://127.0.0.1:6969"};
    cohort::chat_node node(net, options);
    co_await cohort::beside(node.run(), greet(node));
}
