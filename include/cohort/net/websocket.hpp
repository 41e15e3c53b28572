// A WebSocket over any stream (RFC 6455): messages in both directions, pings, and a closing handshake with a deadline.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/websocket_writer.hpp>
#include <cohort/protocol/plain_text.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort {

struct websocket_options {
    std::size_t max_message = websocket_message_max;  ///< bytes; a longer one ends the link with code 1009
    std::size_t max_queued = 1024 * 1024;             ///< bytes that wait to be sent; beyond it senders wait
    duration send_timeout = 30s;                      ///< for the other side to take the next 64 KiB: errc::queue_full
    duration ping_interval = 30s;  ///< of silence, after which we ask whether the other side is there
    int missed_pings = 2;          ///< and did not hear, an interval later: errc::timed_out
    duration close_timeout = 5s;   ///< for the closing handshake
};

/// A message as it came. `payload` is valid until the next receive() or close().
struct websocket_message {
    bool is_text = false;
    byte_view payload;

    /// The payload as characters: valid UTF-8 if is_text.
    std::string_view text() const { return as_text(payload); }
};

namespace detail {
class websocket_state;
}

/// One end of a WebSocket whose opening handshake is done. No run() is needed: one coroutine calls receive() again and
/// again, and in it everything that comes is dealt with, pings and the closing handshake too; so it is called even
/// where no message is expected. Two small tasks of the object write what is queued and watch the time. close() ends
/// them and waits for them; destroying the object ends them at the executor's next turns, for which they keep alive
/// what they use. One thread only; the object outlives what is awaited on it.
class websocket {
public:
    /// `early`: bytes of the other side that came behind its handshake.
    websocket(network& net, std::unique_ptr<stream> link, websocket_role role, websocket_options options = {},
              byte_view early = {});
    ~websocket();
    websocket(websocket&&) noexcept = default;
    websocket& operator=(websocket&&) = delete;

    /// Completes with the next message. Throws errc::websocket_closed when the other side closed in good order, its
    /// code and words in the message; errc::connection_closed when the stream ended without; errc::websocket_malformed
    /// or errc::message_too_long when it broke a rule, which it has been told then (RFC 6455, 7.4.1); errc::timed_out
    /// when it answered no ping; errc::queue_full when it takes nothing; errc::stopped after abort() and after our own
    /// close(), or websocket_closed if the other side answered that; the stream's error. Cancelling throws
    /// asio::error::operation_aborted and loses no message. One caller at a time.
    asio::awaitable<websocket_message> receive();

    /// Completes when the message stands in the queue, behind all that were sent before; the bytes stay valid until
    /// then. Waits while the queue is full. Throws what ended the link, or errc::stopped after close(); and
    /// errc::websocket_malformed for a text that is not UTF-8. Cancelling throws operation_aborted; the message is not
    /// sent then. Any number of callers.
    asio::awaitable<void> send(std::string_view text);
    asio::awaitable<void> send(byte_view binary);
    asio::awaitable<void> send(const websocket_message& message);

    /// Completes when all that was sent is with the stream, or the link has ended.
    asio::awaitable<void> flush();

    /// Says goodbye: sends what is queued and a close frame, waits for the other side's, and ends the stream. Completes
    /// when nothing is left running, after close_timeout at the latest. A receive() under way still gets what comes
    /// before the other side's close frame; without one, that is dropped, the last message's payload is no longer
    /// valid, and a receive() that begins meanwhile waits for the end. Throws nothing but
    /// asio::error::operation_aborted when cancelled; the link is ended then too. `reason` is cut to 123 bytes.
    asio::awaitable<void> close(std::uint16_t code = close_code::normal, std::string_view reason = "");

    /// Ends the link now: what waits fails, with errc::stopped.
    void abort() noexcept;

    std::size_t queued_bytes() const;
    bool ended() const;
    /// The code of the other side's close frame; close_code::none if it had none, close_code::abnormal without a frame.
    std::uint16_t peer_close_code() const;
    endpoint remote_endpoint() const;
    endpoint local_endpoint() const;

    /// The subprotocol that both sides agreed on; empty if none.
    std::string protocol;

private:
    std::shared_ptr<detail::websocket_state> state_;
};

namespace detail {

/// Shared by a websocket and its two tasks.
class websocket_state : public std::enable_shared_from_this<websocket_state> {
public:
    websocket_state(network& net, std::unique_ptr<stream> link, websocket_role role, websocket_options options)
        : net_(net),
          link_(std::move(link)),
          role_(role),
          options_(options),
          parser_(role, options.max_message),
          writer_(net, *link_, role, options.max_queued, [this] { tasks_.spawn(write(shared_from_this())); }),
          tasks_(net.executor()),
          ended_changed_(net.executor()),
          heard_(net.now()) {}

    void start(byte_view early) {
        if (!early.empty()) make_room(early.size());
        if (!early.empty()) std::memcpy(input_.get(), early.data(), early.size());
        end_ = early.size();
        tasks_.spawn(watch(shared_from_this()));
    }

    asio::awaitable<websocket_message> receive();
    asio::awaitable<void> close(byte_vector payload);

    /// The first reason is the one that everybody is told, whatever fails on the way to the end.
    void decide(std::error_code reason, std::string words) {
        if (why_) return;
        why_ = is_cancellation(reason) ? errc::stopped : reason;
        words_ = std::move(words);
    }
    void end(std::error_code reason, std::string words = {}) {
        if (ended_) return;
        decide(reason, std::move(words));
        ended_ = true;
        link_->close();
        writer_.end(why_);
        ended_changed_.notify();
    }
    void stop() {
        end(errc::stopped);
        tasks_.cancel();
    }
    [[noreturn]] void raise_ended() const { raise(why_, words_); }

    bool ended() const { return ended_; }
    websocket_writer& writer() { return writer_; }
    const stream& link() const { return *link_; }
    std::uint16_t peer_code() const { return peer_code_; }

private:
    /// A read follows the other side's pace: little memory for a link that says little.
    static constexpr std::size_t smallest_read = 4 * 1024;
    static constexpr std::size_t largest_read = 64 * 1024;
    /// Then others have their turn, the writer among them.
    static constexpr int most_reads_in_a_row = 8;

    struct flag {
        explicit flag(bool& target) : target_(target) { target_ = true; }
        ~flag() { target_ = false; }
        flag(const flag&) = delete;
        flag& operator=(const flag&) = delete;
        bool& target_;
    };

    static asio::awaitable<void> write(std::shared_ptr<websocket_state> self);
    static asio::awaitable<void> watch(std::shared_ptr<websocket_state> self);
    void look_at_the_time();
    asio::awaitable<void> read_more();
    asio::awaitable<void> refuse(std::uint16_t code);
    asio::awaitable<void> answer_close(std::uint16_t code, std::string reason);
    asio::awaitable<void> wind_up(bool until_their_end);
    asio::awaitable<void> send_rest(bool until_their_end);
    asio::awaitable<void> await_their_close();

    void say_goodbye(byte_view payload, std::error_code to_senders) {
        if (said_goodbye_) return;
        said_goodbye_ = true;
        writer_.queue_control(websocket_opcode::close, payload);
        writer_.seal(to_senders);
    }

    /// Sees to `space` bytes behind those that are not parsed yet.
    void make_room(std::size_t space) {
        const std::size_t kept = end_ - begin_;
        if (capacity_ < kept + space) {
            auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(kept + space);
            if (kept > 0) std::memcpy(larger.get(), input_.get() + begin_, kept);
            input_ = std::move(larger);
            capacity_ = kept + space;
        } else if (kept > 0) {
            std::memmove(input_.get(), input_.get() + begin_, kept);
        }
        begin_ = 0;
        end_ = kept;
    }
    void drop_empty_buffer() {
        if (begin_ != end_) return;
        input_.reset();
        capacity_ = begin_ = end_ = 0;
    }

    network& net_;
    const std::unique_ptr<stream> link_;
    const websocket_role role_;
    const websocket_options options_;
    websocket_parser parser_;
    websocket_writer writer_;
    task_group tasks_;
    wakeup ended_changed_;

    std::unique_ptr<std::uint8_t[]> input_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;  ///< of what was received and not parsed
    std::size_t end_ = 0;
    std::size_t read_size_ = smallest_read;
    bool more_at_once_ = false;  ///< the last read filled its buffer
    int reads_in_a_row_ = 0;

    bool receiving_ = false;    ///< somebody is in receive()
    bool listening_ = false;    ///< and waits for bytes
    bool buffer_idle_ = false;  ///< and nothing holds the buffer meanwhile
    time_point heard_;          ///< when the last bytes came
    int pings_ = 0;             ///< sent since

    bool said_goodbye_ = false;
    std::uint16_t peer_code_ = close_code::abnormal;
    bool ended_ = false;
    std::error_code why_;
    std::string words_;
};

inline asio::awaitable<websocket_message> websocket_state::receive() {
    // Two readers would take each other's bytes: where close() reads already, only the end is left to hear of.
    while (receiving_ && !ended_) co_await ended_changed_.wait();
    if (ended_) raise_ended();
    const flag receiving(receiving_);
    for (;;) {
        if (ended_) raise_ended();
        byte_span in(input_.get() + begin_, end_ - begin_);
        std::uint16_t refusal = 0;
        const auto event = parser_.next(in, refusal);
        begin_ = end_ - in.size();
        if (refusal != 0) {
            co_await refuse(refusal);
        } else if (!event) {
            co_await read_more();
        } else if (event->kind == websocket_opcode::ping) {
            writer_.answer_ping(event->payload);
        } else if (event->kind == websocket_opcode::close) {
            std::string reason(as_text(event->payload));
            co_await answer_close(event->code, std::move(reason));
        } else if (event->kind != websocket_opcode::pong) {
            co_return websocket_message{event->kind == websocket_opcode::text, event->payload};
        }
    }
}

/// An idle link waits without a buffer, a busy one keeps its own.
inline asio::awaitable<void> websocket_state::read_more() {
    const flag listening(listening_);
    try {
        if (++reads_in_a_row_ > most_reads_in_a_row || !more_at_once_) {
            reads_in_a_row_ = 0;
            if (read_size_ == smallest_read) drop_empty_buffer();
            const flag idle(buffer_idle_);
            co_await link_->readable();
        }
        make_room(read_size_);
        const byte_span room(input_.get() + end_, capacity_ - end_);
        const std::size_t got = co_await link_->read_some(room);
        end_ += got;
        more_at_once_ = got == room.size();
        if (got == room.size()) read_size_ = std::min(read_size_ * 2, largest_read);
        if (got < read_size_ / 8) read_size_ = std::max(read_size_ / 2, smallest_read);
        if (got == 0) end(errc::connection_closed);
    } catch (const std::system_error& error) {
        if (ended_) raise_ended();  // closing the stream looks like a cancellation
        if (is_cancellation(error.code())) throw;
        end(error.code());
    }
    heard_ = net_.now();
    pings_ = 0;
}

/// The other side broke a rule: says so and ends the link. Leaves the throwing to receive().
inline asio::awaitable<void> websocket_state::refuse(std::uint16_t code) {
    const byte_vector payload = websocket_close_payload(code, "");
    const errc reason = code == close_code::too_big ? errc::message_too_long : errc::websocket_malformed;
    decide(reason, "close code " + std::to_string(code));
    say_goodbye(payload, reason);
    co_await wind_up(true);
    end(reason);
}

/// The other side said goodbye: so do we. The server ends the stream (RFC 6455, 7.1.1).
inline asio::awaitable<void> websocket_state::answer_close(std::uint16_t code, std::string reason) {
    peer_code_ = code;
    const byte_vector payload = websocket_close_payload(code, "");
    decide(errc::websocket_closed, std::to_string(code) + (reason.empty() ? "" : " " + plain_text(reason, 123)));
    say_goodbye(payload, errc::websocket_closed);
    co_await wind_up(role_ == websocket_role::client);
    end(errc::websocket_closed);
}

/// Sends what is queued, within the deadline. `until_their_end`: then waits for the other side to end the stream,
/// because closing it over bytes that nobody read would reset it, and our last words might be lost.
inline asio::awaitable<void> websocket_state::wind_up(bool until_their_end) {
    try {
        co_await with_timeout(net_, options_.close_timeout, send_rest(until_their_end));
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code()) && !ended_) {
            end(errc::stopped);
            throw;
        }
    }
}

inline asio::awaitable<void> websocket_state::send_rest(bool until_their_end) {
    co_await writer_.flushed();
    if (!until_their_end) co_return;
    link_->finish();
    begin_ = end_ = 0;
    make_room(smallest_read);
    const byte_span scratch(input_.get(), capacity_);
    std::size_t got = 1;
    while (got > 0) {
        co_await link_->readable();  // others have their turn, however fast it comes
        got = co_await link_->read_some(scratch);
    }
}

inline asio::awaitable<void> websocket_state::await_their_close() {
    const bool others_read = receiving_;
    while (!ended_ && others_read) co_await ended_changed_.wait();
    while (!ended_) co_await receive();
}

inline asio::awaitable<void> websocket_state::close(byte_vector payload) {
    bool cancelled = false;
    if (!ended_) {
        say_goodbye(payload, errc::stopped);
        try {
            co_await with_timeout(net_, options_.close_timeout, await_their_close());
        } catch (const std::system_error& error) {
            cancelled = is_cancellation(error.code());
        }
    }
    stop();
    co_await tasks_.join();
    if (cancelled) throw_cancelled();
}

// The two tasks.

inline asio::awaitable<void> websocket_state::write(std::shared_ptr<websocket_state> self) {
    try {
        co_await self->writer_.run();
    } catch (const std::system_error& error) {
        self->end(error.code());
    } catch (...) {
        self->end(errc::stopped);
        throw;
    }
}

/// Four times an interval is often enough: every limit is kept with a quarter of itself to spare.
inline asio::awaitable<void> websocket_state::watch(std::shared_ptr<websocket_state> self) {
    const duration pause = std::min(self->options_.ping_interval, self->options_.send_timeout) / 4;
    while (!self->ended_) {
        co_await self->net_.sleep_for(pause);
        self->look_at_the_time();
    }
}

inline void websocket_state::look_at_the_time() {
    const time_point now = net_.now();
    if (writer_.stalled_since(now - options_.send_timeout)) return end(errc::queue_full);
    if (!listening_) {  // what may have come is not read: silence would be ours
        heard_ = now;
        return;
    }
    const duration silence = now - heard_;
    if (silence >= options_.ping_interval * (pings_ + 1)) {
        if (pings_ >= options_.missed_pings) return end(errc::timed_out, "no answer to a ping");
        ++pings_;
        writer_.queue_control(websocket_opcode::ping, {});
    }
    if (silence >= options_.ping_interval / 4) {
        read_size_ = smallest_read;
        parser_.release_memory();
        if (buffer_idle_) drop_empty_buffer();
        if (writer_.queued_bytes() == 0) writer_.release_memory();
    }
}

}  // namespace detail

inline websocket::websocket(network& net, std::unique_ptr<stream> link, websocket_role role, websocket_options options,
                            byte_view early)
    : state_(std::make_shared<detail::websocket_state>(net, std::move(link), role, options)) {
    state_->start(early);
}

inline websocket::~websocket() {
    if (state_) state_->stop();
}

inline asio::awaitable<websocket_message> websocket::receive() { return state_->receive(); }

inline asio::awaitable<void> websocket::send(std::string_view text) {
    if (!is_utf8(text)) raise(errc::websocket_malformed, "a text to send is not UTF-8");
    return state_->writer().queue(websocket_opcode::text, as_bytes(text));
}

inline asio::awaitable<void> websocket::send(byte_view binary) {
    return state_->writer().queue(websocket_opcode::binary, binary);
}

inline asio::awaitable<void> websocket::send(const websocket_message& message) {
    return message.is_text ? send(message.text()) : send(message.payload);
}

inline asio::awaitable<void> websocket::flush() { return state_->writer().flushed(); }

inline asio::awaitable<void> websocket::close(std::uint16_t code, std::string_view reason) {
    return state_->close(websocket_close_payload(code, reason));
}

inline void websocket::abort() noexcept { state_->end(errc::stopped); }
inline std::size_t websocket::queued_bytes() const { return state_->writer().queued_bytes(); }
inline bool websocket::ended() const { return state_->ended(); }
inline std::uint16_t websocket::peer_close_code() const { return state_->peer_code(); }
inline endpoint websocket::remote_endpoint() const { return state_->link().remote_endpoint(); }
inline endpoint websocket::local_endpoint() const { return state_->link().local_endpoint(); }

}  // namespace cohort
