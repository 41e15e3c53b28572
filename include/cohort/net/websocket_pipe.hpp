// A WebSocket as a message_pipe: binary messages and nothing else.
#pragma once

#include <memory>
#include <utility>

#include <cohort/net/message_pipe.hpp>
#include <cohort/net/websocket.hpp>

namespace cohort {

/// Owns the link. Fails as websocket does. The other side is told of a text message with close code 1003; receive()
/// throws errc::websocket_malformed then.
class websocket_pipe final : public message_pipe {
public:
    explicit websocket_pipe(std::unique_ptr<websocket> link) : link_(std::move(link)) {}

    asio::awaitable<void> send(byte_view message) override { return link_->send(message); }

    asio::awaitable<byte_vector> receive() override {
        const websocket_message message = co_await link_->receive();
        if (message.is_text) {
            co_await link_->close(close_code::unsupported, "binary messages only");
            raise(errc::websocket_malformed, "a text where binary messages are spoken");
        }
        byte_vector out(message.payload.begin(), message.payload.end());
        co_return out;
    }

    asio::awaitable<void> finish() override { return link_->close(); }
    void close() noexcept override { link_->abort(); }
    endpoint remote_endpoint() const override { return link_->remote_endpoint(); }

private:
    std::unique_ptr<websocket> link_;
};

}  // namespace cohort
