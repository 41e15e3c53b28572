// A conversation with one peer: handshake, messages in batches, and single blocks asked for by name.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include <cohort/net/message_reader.hpp>
#include <cohort/net/message_writer.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/protocol/handshake.hpp>
#include <cohort/protocol/peer_state.hpp>

namespace cohort {

/// One block as it came. `bytes` is valid while `memory` is held.
struct block_data {
    block range;
    byte_view bytes;
    std::shared_ptr<const void> memory;
};

/// A message that outlives its batch; its views are valid while `memory` is held.
struct peer_event {
    wire::message message;
    std::shared_ptr<const void> memory;
};

struct peer_options {
    /// For the whole handshake, however slowly its bytes come.
    duration handshake_timeout = 10s;
    wire::limits limits;
};

/// Two ways to use it after the handshake. An engine reads with receive() and sends with queue() and flush(), a loop of
/// its own for each direction. A program that wants a few things from one peer spawns run() and awaits request() and
/// next_event(). One thread only; the object outlives everything awaited on it.
class peer_connection {
public:
    peer_connection(network& net, std::unique_ptr<stream> link, peer_options options = {})
        : net_(net),
          link_(std::move(link)),
          options_(options),
          reader_(*link_, options_.limits),
          writer_(*link_),
          outgoing_(net.executor()),
          flushed_(net.executor()),
          incoming_(net.executor()) {}

    /// As the side that dialled: sends our handshake and completes with the peer's. Throws errc::handshake_invalid,
    /// errc::wrong_info_hash, errc::self_connection, errc::connection_closed, or errc::timed_out ten seconds after the
    /// start. Cancelling throws operation_aborted. After any failure the connection can only be closed.
    asio::awaitable<handshake> handshake_as_dialler(handshake ours) {
        return with_timeout(net_, options_.handshake_timeout, dial(ours));
    }

    /// As the side that accepted: reads the info-hash, asks `answer` for the handshake to reply with, and completes
    /// with the peer's handshake. When `answer` returns nothing, errc::unknown_info_hash is thrown and no byte is sent.
    using handshake_answer = std::function<std::optional<handshake>(const info_hash&)>;
    asio::awaitable<handshake> handshake_as_listener(handshake_answer answer) {
        return with_timeout(net_, options_.handshake_timeout, accept(std::move(answer)));
    }

    /// Tells how the torrent divides; `fast` is whether both handshakes had the Fast extension. Before any message.
    void begin(piece_layout layout, bool fast) { state_ = peer_state(layout, fast); }

    peer_state& state() { return state_; }
    const peer_state& state() const { return state_; }
    endpoint remote_endpoint() const { return link_->remote_endpoint(); }
    /// Bytes of an unfinished message: a peer that leaves one standing is not idle but stuck.
    std::size_t partial() const { return reader_.partial(); }

    /// See message_reader::receive(). The messages are not yet applied to state().
    asio::awaitable<message_batch> receive() { return reader_.receive(); }

    /// See message_reader.
    void read_at_most(std::size_t bytes) { reader_.read_at_most(bytes); }

    /// Queues one message for the next flush().
    template <class Message>
    void queue(const Message& message) {
        queue_quietly(message);
        outgoing_.notify();
    }
    /// Queues one message that may wait until something else is flushed; nudge() sees that it goes.
    template <class Message>
    void queue_quietly(const Message& message) {
        state_.sent(message);
        writer_.queue(message);
    }
    /// Queues a block whose bytes stand in files; see message_writer.
    void queue_block(const block& range, std::span<const segment> data, std::shared_ptr<const void> owner) {
        writer_.queue_block(range, data, std::move(owner));
        outgoing_.notify();
    }

    std::size_t queued_bytes() const { return writer_.queued_bytes(); }
    bool nothing_queued() const { return writer_.empty(); }
    /// See message_writer::flush(). Closes the connection if that fails: nothing can follow half a message.
    asio::awaitable<void> flush() {
        try {
            co_await writer_.flush();
        } catch (...) {
            close();
            throw;
        }
        flushed_.notify();
    }
    /// Completes when the peer has taken enough of what we queued to be heard again: a reading loop awaits it, so that
    /// answers to one who asks and does not listen cannot pile up. Completes too when the connection is closed, as the
    /// next receive() tells.
    asio::awaitable<void> room() {
        while (!closed_ && queued_bytes() > most_queued) co_await flushed_.wait();
    }
    /// Completes at the next queue() or nudge(): what a writing loop awaits when it has nothing to do.
    asio::awaitable<void> wait_for_outgoing() { return outgoing_.wait(); }
    void nudge() { outgoing_.notify(); }

    /// Completes when the connection was closed from this side, or could not be written to.
    asio::awaitable<void> closed() {
        while (!closed_) co_await flushed_.wait();
    }
    void close() noexcept {
        closed_ = true;
        link_->close();
        flushed_.notify();
    }

    /// Reads and writes until the connection ends; request() and next_event() need it active. Throws what ended the
    /// connection; by then every pending request() and next_event() has failed with the same. Cancelling closes the
    /// connection: those fail with errc::stopped.
    asio::awaitable<void> run();

    /// Asks the peer for one block and waits for it. Fails with errc::choked if the peer chokes us first and with
    /// errc::rejected if it refuses; the block may be asked again after the next unchoke. Cancelling sends `cancel`
    /// (BEP 3); a late reply is dropped. Requires run() to be active.
    asio::awaitable<block_data> request(block wanted);

    /// Completes with the next message that is not the answer to a request(). At most 64 wait; then the connection
    /// is not heard until one is taken, nor are answers to a request(). Requires run() to be active.
    asio::awaitable<peer_event> next_event();

private:
    struct pending_request {
        pending_request(block r, const asio::any_io_executor& executor) : range(r), changed(executor) {}
        block range;
        wakeup changed;
        bool done = false;
        std::error_code failed;
        block_data data;
    };
    static constexpr std::size_t max_events = 64;
    static constexpr std::size_t most_queued = 2 * 1024 * 1024;

    asio::awaitable<handshake> dial(handshake ours);
    asio::awaitable<handshake> accept(handshake_answer answer);
    asio::awaitable<handshake> read_handshake(byte_vector so_far);
    asio::awaitable<void> read_loop();
    asio::awaitable<void> write_loop();
    void end(std::error_code reason);
    void dispatch(const wire::message& message, const message_batch& batch);
    void fail_requests(std::error_code reason);
    template <class Match>
    void settle(Match matches, std::error_code failed, const block_data& data);

    network& net_;
    std::unique_ptr<stream> link_;
    peer_options options_;
    message_reader reader_;
    message_writer writer_;
    wakeup outgoing_;
    wakeup flushed_;
    wakeup incoming_;
    peer_state state_;
    std::vector<std::shared_ptr<pending_request>> requests_;
    std::deque<peer_event> events_;
    bool closed_ = false;
    std::error_code ended_;
};

// The handshake. Bytes are judged as they come, so that a stranger is refused at its first wrong byte (BEP 3).

inline asio::awaitable<handshake> peer_connection::read_handshake(byte_vector bytes) {
    std::error_code error;
    for (;;) {
        byte_view in = bytes;
        const auto theirs = parse_handshake(in, error);
        if (error) raise(error);
        if (theirs) {
            reader_.unread(in);
            co_return *theirs;
        }
        const std::size_t had = bytes.size();
        bytes.resize(handshake_size);
        const byte_span target = byte_span(bytes).subspan(had);
        const std::size_t got = co_await link_->read_some(target);
        if (got == 0) raise(errc::connection_closed);
        bytes.resize(had + got);
    }
}

inline asio::awaitable<handshake> peer_connection::dial(handshake ours) {
    const auto bytes = encode(ours);
    co_await write_all(*link_, bytes);
    byte_vector none;
    const handshake theirs = co_await read_handshake(std::move(none));
    if (theirs.hash != ours.hash) raise(errc::wrong_info_hash);
    if (theirs.id == ours.id) raise(errc::self_connection);
    co_return theirs;
}

inline asio::awaitable<handshake> peer_connection::accept(handshake_answer answer) {
    constexpr std::size_t through_hash = handshake_size - peer_id::size;
    std::error_code error;
    byte_vector bytes;
    while (bytes.size() < through_hash) {
        const std::size_t had = bytes.size();
        bytes.resize(handshake_size);
        const byte_span target = byte_span(bytes).subspan(had);
        const std::size_t got = co_await link_->read_some(target);
        if (got == 0) raise(errc::connection_closed);
        bytes.resize(had + got);
        byte_view in = bytes;
        parse_handshake(in, error);
        if (error) raise(error);
    }
    const auto wanted = info_hash::from(byte_view(bytes).subspan(through_hash - info_hash::size, info_hash::size));
    const std::optional<handshake> ours = answer(*wanted);
    if (!ours) raise(errc::unknown_info_hash);
    const auto reply = encode(*ours);
    co_await write_all(*link_, reply);
    const handshake theirs = co_await read_handshake(std::move(bytes));
    if (theirs.id == ours->id) raise(errc::self_connection);
    co_return theirs;
}

// run(), and what stands on it.

inline asio::awaitable<void> peer_connection::run() {
    task_group writing(net_.executor());
    writing.spawn(write_loop());
    std::exception_ptr why;
    try {
        co_await read_loop();
    } catch (...) {
        why = std::current_exception();
        end(caught_error());
    }
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    writing.cancel();
    co_await writing.join();  // throws what made a write fail: that closed the stream under the reader
    std::rethrow_exception(why);
}

/// Tells all who wait. Who comes first has the reason: closing the stream makes the other direction fail as well.
inline void peer_connection::end(std::error_code reason) {
    close();
    if (ended_) return;
    ended_ = is_cancellation(reason) ? errc::stopped : reason;
    fail_requests(ended_);
    incoming_.notify();
}

inline asio::awaitable<void> peer_connection::read_loop() {
    for (;;) {
        const message_batch batch = co_await reader_.receive();
        for (const wire::message& message : batch.messages) {
            if (const std::error_code violation = state_.apply(message)) raise(violation);
            dispatch(message, batch);
            while (events_.size() >= max_events) co_await incoming_.wait();
        }
    }
}

inline asio::awaitable<void> peer_connection::write_loop() {
    try {
        for (;;) {
            if (nothing_queued()) {
                co_await outgoing_.wait();
            } else {
                co_await flush();
            }
        }
    } catch (...) {
        end(caught_error());
        throw;
    }
}

inline void peer_connection::dispatch(const wire::message& message, const message_batch& batch) {
    if (const auto* const piece = std::get_if<wire::piece>(&message)) {
        const block range = piece->range();
        settle([&](const block& b) { return b == range; }, {}, {range, piece->data, batch.memory});
        return;
    }
    if (const auto* const reject = std::get_if<wire::reject>(&message)) {
        settle([&](const block& b) { return b == reject->range; }, errc::rejected, {});
        return;
    }
    // A choke drops all requests, unless the Fast extension is on: then each is answered or rejected (BEP 6).
    if (std::holds_alternative<wire::choke>(message) && !state_.fast()) fail_requests(errc::choked);
    events_.push_back({message, batch.memory});
    incoming_.notify();
}

template <class Match>
void peer_connection::settle(Match matches, std::error_code failed, const block_data& data) {
    std::erase_if(requests_, [&](const std::shared_ptr<pending_request>& pending) {
        if (!matches(pending->range)) return false;
        pending->done = true;
        pending->failed = failed;
        pending->data = data;
        pending->changed.notify();
        return true;
    });
}

inline void peer_connection::fail_requests(std::error_code reason) {
    settle([](const block&) { return true; }, reason, {});
}

inline asio::awaitable<block_data> peer_connection::request(block wanted) {
    if (ended_) raise(ended_);
    if (state_.peer_choking) raise(errc::choked);
    const auto pending = std::make_shared<pending_request>(wanted, net_.executor());
    requests_.push_back(pending);
    queue(wire::request{wanted});
    try {
        while (!pending->done) co_await pending->changed.wait();
    } catch (...) {
        std::erase(requests_, pending);
        if (!ended_) queue(wire::cancel{wanted});
        throw;
    }
    if (pending->failed) raise(pending->failed);
    co_return std::move(pending->data);
}

inline asio::awaitable<peer_event> peer_connection::next_event() {
    while (events_.empty()) {
        if (ended_) raise(ended_);
        co_await incoming_.wait();
    }
    peer_event event = std::move(events_.front());
    events_.pop_front();
    incoming_.notify();
    co_return event;
}

}  // namespace cohort
