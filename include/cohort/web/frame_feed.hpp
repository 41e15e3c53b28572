// Frames for everybody who listens over a WebSocket, and what the listeners say.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/net/event_queue.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/websocket.hpp>

namespace cohort {

/// A listener who is slow misses the oldest of 1,024 frames, and one who takes nothing is left. One thread only.
class frame_feed {
public:
    /// What a listener said is answered with a frame, or with nothing if that is empty.
    using answerer = std::function<std::string(std::string_view)>;

    explicit frame_feed(network& net) : net_(net) {}

    void tell(std::string frame) {
        drop_deserted();
        if (listeners_.empty()) return;
        const auto shared = std::make_shared<const std::string>(std::move(frame));
        for (const auto& one : listeners_) one->push(shared);
    }

    /// Speaks with one listener. Throws what ended the link; cancelling throws asio::error::operation_aborted.
    asio::awaitable<void> talk(std::unique_ptr<websocket> socket, answerer answer) {
        drop_deserted();
        const auto frames = listeners_.emplace_back(std::make_shared<queue>(net_.executor()));
        task_group sending(net_.executor());
        sending.spawn(forward(*socket, *frames));
        std::exception_ptr end;
        try {
            co_await listen(*socket, answer);
        } catch (...) {
            end = std::current_exception();
        }
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        sending.cancel();
        try {
            co_await sending.join();
        } catch (const std::system_error&) {
            // The link's end, which we know already.
        }
        std::rethrow_exception(end);
    }

private:
    using queue = basic_event_queue<std::shared_ptr<const std::string>>;

    /// A queue that nobody but us holds has no listener any more.
    void drop_deserted() {
        std::erase_if(listeners_, [](const auto& one) { return one.use_count() == 1; });
    }

    static asio::awaitable<void> forward(websocket& socket, queue& frames) {
        for (;;) {
            const auto frame = co_await frames.next();
            const std::string_view text = *frame;
            co_await socket.send(text);
        }
    }

    static asio::awaitable<void> listen(websocket& socket, const answerer& answer) {
        for (;;) {
            const websocket_message said = co_await socket.receive();
            const std::string reply = answer(said.text());
            const std::string_view text = reply;
            if (!reply.empty()) co_await socket.send(text);
        }
    }

    network& net_;
    std::vector<std::shared_ptr<queue>> listeners_;
};

}  // namespace cohort
