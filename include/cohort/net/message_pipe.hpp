// Whole binary messages instead of a stream of bytes: what an encrypted channel stands on.
#pragma once

#include <cohort/core/bytes.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/net/asio.hpp>

namespace cohort {

/// A connected, ordered, reliable carrier of binary messages. Any number of coroutines may send, one receives. Whoever
/// owns the pipe keeps it alive until all of them have ended; close() ends them. One thread only.
class message_pipe {
public:
    virtual ~message_pipe() = default;

    /// Completes when the message is with the carrier or in its bounded queue, after all that were sent before; the
    /// bytes stay valid until then. Throws the carrier's error; errc::queue_full when the other side takes nothing for
    /// too long. A message is sent whole or, when this throws before it was queued, not at all; cancelling throws
    /// asio::error::operation_aborted.
    virtual asio::awaitable<void> send(byte_view message) = 0;

    /// Completes with the next message. Throws errc::websocket_closed or errc::connection_closed when the other side
    /// ended the pipe in good order, the carrier's error otherwise. Cancelling throws operation_aborted and loses none.
    virtual asio::awaitable<byte_vector> receive() = 0;

    /// Ends the pipe in good order: completes when what was sent has gone out and the other side knows that nothing
    /// follows, or when it takes too long. Nobody sends meanwhile. Throws asio::error::operation_aborted alone.
    virtual asio::awaitable<void> finish() {
        close();
        co_return;
    }

    /// Ends the pipe now: pending operations fail, later ones too. May be called more than once.
    virtual void close() noexcept = 0;

    virtual endpoint remote_endpoint() const = 0;
};

}  // namespace cohort
