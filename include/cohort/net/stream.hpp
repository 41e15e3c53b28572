// The one interface between the protocol and whatever carries it: TCP, TLS, a Unix socket, or a simulated link.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <variant>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/segment_row.hpp>

namespace cohort {

/// A connected, ordered, reliable byte stream. One read and one write may be under way at the same time, each by one
/// coroutine. Whoever owns the stream keeps it alive until both have ended; close() ends them.
class stream {
public:
    virtual ~stream() = default;

    /// Completes when read_some() would probably not wait, so that an idle connection needs no buffer. Carriers that
    /// cannot tell complete at once. Cancelling throws asio::error::operation_aborted.
    virtual asio::awaitable<void> readable() { co_return; }

    /// Completes when at least one byte has arrived: returns how many were put at the start of `into`, 0 at the end
    /// of the stream. Throws the carrier's error. Cancelling throws operation_aborted and loses no byte.
    virtual asio::awaitable<std::size_t> read_some(byte_span into) = 0;

    /// Completes when all buffers, in order, were handed to the carrier. They stay valid until then. Throws the
    /// carrier's error. After cancelling, an unknown part may have been sent: the stream can only be closed.
    virtual asio::awaitable<void> write(std::span<const byte_view> buffers) = 0;

    /// The same for a mixture of memory and file ranges. Throws errc::file_changed when a file ends before its range
    /// does.
    virtual asio::awaitable<void> write_segments(std::span<const segment> segments);

    /// Tells the other side that nothing more will be written, where the carrier can; reading goes on.
    virtual void finish() noexcept {}

    /// Ends both directions now: pending operations fail, later ones too. May be called more than once.
    virtual void close() noexcept = 0;

    virtual endpoint remote_endpoint() const = 0;
    virtual endpoint local_endpoint() const = 0;
};

inline asio::awaitable<void> stream::write_segments(std::span<const segment> segments) {
    const auto is_range = [](const segment& part) { return std::holds_alternative<file_slice>(part); };
    const bool ranges = std::any_of(segments.begin(), segments.end(), is_range);
    const std::size_t at_once = ranges ? 64 * 1024 : 0;
    const auto memory = std::make_unique_for_overwrite<std::uint8_t[]>(at_once);
    segment_row row(segments);
    while (!row.empty()) {
        const std::span<const byte_view> buffers = row.gather({memory.get(), at_once});
        co_await write(buffers);
        row.advance(total_size(buffers));
    }
}

/// Completes when `into` is full. Throws errc::connection_closed if the stream ends before.
inline asio::awaitable<void> read_exactly(stream& link, byte_span into) {
    while (!into.empty()) {
        const std::size_t got = co_await link.read_some(into);
        if (got == 0) raise(errc::connection_closed);
        into = into.subspan(got);
    }
}

/// Completes when `bytes` were handed to the carrier.
inline asio::awaitable<void> write_all(stream& link, byte_view bytes) {
    const std::span<const byte_view> one(&bytes, 1);
    co_await link.write(one);
}

}  // namespace cohort
