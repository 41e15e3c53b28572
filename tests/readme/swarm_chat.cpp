#include <utility>

#include <cohort/leecher.hpp>
#include <cohort/swarm/swarm_chat.hpp>

asio::awaitable<void> talkative(cohort::network& net, cohort::metainfo info) {
    cohort::leecher_options options{.directory = "downloads", .chat = cohort::swarm_chat({.name = "alice"})};
    cohort::leecher leecher(net, std::move(info), options);
    leecher.torrent().say("hello");  // and torrent().next_event() has event::chat_message for what others say
    co_await leecher.run();
}
