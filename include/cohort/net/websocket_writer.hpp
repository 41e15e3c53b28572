// What one side of a WebSocket still has to send: a bounded queue of frames, written together as they were queued.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <cohort/core/endian.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/waiting_line.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/protocol/websocket.hpp>

namespace cohort::detail {

/// Frames of any number of senders in front of a stream. All that gathers while one write is under way goes out with
/// the next, from one buffer, so that a frame costs no allocation and seldom a system call of its own.
class websocket_writer {
public:
    /// `start` is called when there is something to send and run() is not active: it sees to run(). A link that says
    /// nothing has no coroutine for it.
    websocket_writer(network& net, stream& link, websocket_role role, std::size_t limit, std::function<void()> start)
        : net_(net), link_(link), role_(role), limit_(limit), start_(std::move(start)), changed_(net.executor()) {}

    /// Completes when the frame stands in the queue, which keeps the order of the calls. Waits while the queue has no
    /// room; a frame above the limit goes in alone. Throws what end() or seal() was told; when cancelled,
    /// operation_aborted. After any exception the frame is not sent.
    asio::awaitable<void> queue(websocket_opcode kind, byte_view payload) {
        if (!closed_ && (!line_.empty() || !has_room(payload.size()))) co_await wait_in_line(payload.size());
        if (closed_) raise(closed_);
        append(kind, payload);
    }

    /// Queues a control frame of our own at once.
    void queue_control(websocket_opcode kind, byte_view payload) {
        if (!closed_) append(kind, payload);
    }

    /// Queues a pong. While many wait already, only the newest ping is remembered (RFC 6455, 5.5.3): whoever asks and
    /// does not read cannot fill the queue with our answers.
    void answer_ping(byte_view payload) {
        if (closed_) return;
        if (pong_bytes_ + payload.size() <= most_pong_bytes) {
            append(websocket_opcode::pong, payload);
            pong_bytes_ += payload.size() + 2;
            newest_ping_.reset();
        } else {
            newest_ping_.emplace(payload.begin(), payload.end());
        }
    }

    /// Takes no more frames: senders fail with `reason`. What is queued still goes out.
    void seal(std::error_code reason) {
        if (closed_) return;
        closed_ = reason;
        changed_.notify();
    }

    /// Nothing more goes out.
    void end(std::error_code reason) {
        seal(reason);
        ended_ = true;
        changed_.notify();
    }

    /// Completes when all that is queued was written. Throws the stream's error.
    asio::awaitable<void> run() {
        while (!ended_ && !waiting_.empty()) {
            std::swap(waiting_, sending_);
            pong_bytes_ = 0;
            if (newest_ping_) answer_remembered_ping();
            while (sent_ < sending_.size()) {
                const byte_view rest = byte_view(sending_).subspan(sent_);
                const byte_view part = rest.first(std::min(rest.size(), largest_write));
                last_progress_ = net_.now();
                co_await write_all(link_, part);
                sent_ += part.size();
                changed_.notify();
            }
            sent_ = 0;
            sending_.clear();
            if (sending_.capacity() > largest_write) sending_ = byte_vector();
        }
        running_ = false;
    }

    /// Completes when all that is queued is with the stream, or after end().
    asio::awaitable<void> flushed() {
        while (!ended_ && queued_bytes() > 0) co_await changed_.wait();
    }

    std::size_t queued_bytes() const { return waiting_.size() + sending_.size() - sent_; }

    /// Whether something waits for the stream, which has completed no write since `moment`: streams do not tell how
    /// much of one they have taken.
    bool stalled_since(time_point moment) const { return !sending_.empty() && last_progress_ <= moment; }

    /// Gives back what a busy time took.
    void release_memory() {
        if (waiting_.empty()) waiting_ = byte_vector();
        if (sending_.empty()) sending_ = byte_vector();
        masks_ = std::vector<std::uint32_t>();
    }

private:
    /// What one write hands to the stream: small enough that a slow reader's progress shows, if it is not slower than
    /// one of them within the time that the link allows.
    static constexpr std::size_t largest_write = 64 * 1024;
    static constexpr std::size_t most_pong_bytes = 4 * 1024;

    bool has_room(std::size_t size) const { return queued_bytes() == 0 || queued_bytes() + size <= limit_; }

    asio::awaitable<void> wait_in_line(std::size_t size) {
        return line_.wait(changed_, [this, size](bool is_first) { return closed_ || (is_first && has_room(size)); });
    }

    void append(websocket_opcode kind, byte_view payload) {
        std::optional<std::uint32_t> mask;
        if (role_ == websocket_role::client) mask = next_mask();
        append_websocket_frame(waiting_, kind, payload, mask);
        if (!std::exchange(running_, true)) start_();
    }

    /// Nobody may guess the next one (RFC 6455, 5.3). Many are drawn at a time, as each draw costs a microsecond.
    std::uint32_t next_mask() {
        if (masks_.empty()) {
            std::array<std::uint8_t, 256> bytes;
            net_.secret(bytes);
            for (std::size_t i = 0; i < bytes.size(); i += 4) masks_.push_back(load_be<std::uint32_t>(&bytes[i]));
        }
        const std::uint32_t out = masks_.back();
        masks_.pop_back();
        return out;
    }

    void answer_remembered_ping() {
        const byte_vector payload = std::move(*newest_ping_);
        newest_ping_.reset();
        answer_ping(payload);
    }

    network& net_;
    stream& link_;
    websocket_role role_;
    std::size_t limit_;
    byte_vector waiting_;
    byte_vector sending_;
    std::size_t sent_ = 0;  ///< bytes of sending_ that are with the stream
    std::size_t pong_bytes_ = 0;
    std::optional<byte_vector> newest_ping_;
    std::vector<std::uint32_t> masks_;  ///< for the next frames of a client
    time_point last_progress_{};
    waiting_line line_;       ///< of senders, for room
    std::error_code closed_;  ///< why nothing can be queued any more
    bool ended_ = false;
    bool running_ = false;
    std::function<void()> start_;
    wakeup changed_;
};

}  // namespace cohort::detail
