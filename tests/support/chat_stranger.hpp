// A peer of a chat node that says what a test writes down: it keeps the rules of the link, and none above it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/calendar.hpp>
#include <cohort/net/noise_channel.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/net/websocket_pipe.hpp>
#include <cohort/protocol/json_chat.hpp>

namespace cohort::test {

inline identity new_identity() {
    secret32 seed;
    secret_random(seed.bytes);
    return identity(seed);
}

class chat_stranger {
public:
    chat_stranger(network& net, const identity& self, std::string name)
        : net_(net), self_(self), name_(std::move(name)) {}

    /// Links to the node at that port of this machine, and introduces itself.
    asio::awaitable<void> meet(std::uint16_t port) {
        const std::string url = "ws://127.0.0.1:" + std::to_string(port) + "/chat";
        auto socket = co_await websocket_connect(net_, url);
        std::unique_ptr<message_pipe> pipe = std::make_unique<websocket_pipe>(std::move(socket));
        channel_ = co_await noise_channel::as_initiator(net_, std::move(pipe), self_);
        const chat::message greeting = chat::hello{name_, 1, {}};
        co_await say(greeting);
        co_await hears<chat::hello>();
    }

    asio::awaitable<void> say(const chat::message& what) {
        const std::string text = serialize(what);
        co_await channel_->send(as_bytes(text));
    }
    asio::awaitable<void> say_raw(std::string text) { co_await channel_->send(as_bytes(text)); }
    asio::awaitable<void> say_entry(const signed_entry& one) {
        chat::entries list;
        list.list.push_back(one);
        const chat::message what = list;
        co_await say(what);
    }
    /// Says what it has of a conversation: nothing, or these heads.
    asio::awaitable<void> say_have(conversation_id where, std::vector<chat::head> heads) {
        const chat::message what = chat::have{where, 0, std::move(heads)};
        co_await say(what);
    }

    /// Completes with the next message of that type.
    template <class T>
    asio::awaitable<T> hears() {
        return with_timeout(net_, patience, search<T>());
    }

    /// Completes when the node has ended the link.
    asio::awaitable<void> is_dropped() { return with_timeout(net_, patience, read_to_the_end()); }
    /// Completes when the node has dealt with all that was said.
    asio::awaitable<void> is_heard() {
        const std::uint64_t number = ++pings_;
        const chat::message question = chat::ping{number};
        co_await say(question);
        for (;;) {
            const auto answer = co_await hears<chat::pong>();
            if (answer.id == number) co_return;
        }
    }
    void hang_up() { channel_->close(); }

    /// The next entry of its own chain in a conversation.
    signed_entry entry(const conversation_id& where, chat::entry_body body, std::uint64_t clock = 0) {
        chat_entry out;
        out.conversation = where;
        out.seq = ++seq_;
        out.clock = clock == 0 ? static_cast<std::uint64_t>(calendar_now()) + seq_ : clock;
        out.time_ms = calendar_now();
        out.prev = last_;
        out.body = std::move(body);
        std::error_code ec;
        auto made = signed_entry::make(std::move(out), self_, ec);
        if (!made) raise(ec);
        last_ = made->hash();
        return *made;
    }
    chat::head own_head() const { return {self_.key(), seq_, last_}; }
    const identity_key& key() const { return self_.key(); }

    std::vector<chat::entries> entries_heard;
    std::vector<chat::room_message> sealed_heard;
    std::vector<chat::room_key> keys_heard;

    static constexpr duration patience = 20s;

private:
    template <class T>
    asio::awaitable<T> search() {
        for (;;) {
            const byte_vector text = co_await channel_->receive();
            std::error_code ec;
            auto what = chat::parse(as_text(text), ec);
            if (!what) raise(ec);
            if (const auto* const one = std::get_if<chat::entries>(&*what)) entries_heard.push_back(*one);
            if (const auto* const one = std::get_if<chat::room_message>(&*what)) sealed_heard.push_back(*one);
            if (const auto* const one = std::get_if<chat::room_key>(&*what)) keys_heard.push_back(*one);
            if (const T* const wanted = std::get_if<T>(&*what)) co_return *wanted;
        }
    }
    asio::awaitable<void> read_to_the_end() {
        try {
            for (;;) co_await search<chat::unknown>();
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code())) throw;
        }
    }

    network& net_;
    const identity& self_;
    std::string name_;
    std::unique_ptr<noise_channel> channel_;
    std::uint64_t pings_ = 0;
    std::uint64_t seq_ = 0;
    sha256_digest last_;
};

}  // namespace cohort::test
