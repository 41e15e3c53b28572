// An HTTP server that says what a test wrote down, whatever it is asked.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/net/network.hpp>

namespace cohort::test {

/// A server that says what it was told to and does not care what it is asked: one text for each connection, in turn.
struct script {
    std::vector<std::string> answers{};
    bool hang_up = true;    // close after the answer
    duration pause{0};      // between two bytes, if not 0
    std::string request{};  // the last one
    int connections = 0;
};

inline asio::awaitable<void> play(network& net, stream& link, script& what, std::string answer) {
    byte_vector buffer(4096);
    what.request.clear();
    while (what.request.find("\r\n\r\n") == std::string::npos) {
        const std::size_t got = co_await link.read_some(buffer);
        if (got == 0) co_return;
        what.request += as_text(byte_view(buffer).first(got));
    }
    if (what.pause == duration{0}) {
        co_await write_all(link, as_bytes(answer));
    } else {
        for (const char& one : answer) {
            co_await write_all(link, as_bytes(std::string_view(&one, 1)));
            co_await net.sleep_for(what.pause);
        }
    }
    if (what.hang_up) co_return;
    const std::size_t more = co_await link.read_some(buffer);
    if (more > 0) throw std::logic_error("the client sent more than a request");
}

inline asio::awaitable<void> serve_script(network& net, listener& door, script& what) {
    for (;;) {
        auto link = co_await door.accept();
        const std::size_t number =
            std::min<std::size_t>(static_cast<std::size_t>(what.connections++), what.answers.size() - 1);
        try {
            co_await play(net, *link, what, what.answers[number]);
        } catch (const std::system_error& error) {
            if (error.code() == asio::error::operation_aborted) throw;  // a client that went away is no failure
        }
    }
}

}  // namespace cohort::test
