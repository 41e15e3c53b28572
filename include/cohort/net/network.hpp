// Everything the world outside does to a program: connections, datagrams, names, time, chance and secrets, as one
// value. real_network is the machine's; a simulated one runs the same code in virtual time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/random.hpp>
#include <cohort/core/secret_random.hpp>
#include <cohort/core/time.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/calendar.hpp>
#include <cohort/net/datagram_batch.hpp>
#include <cohort/net/stream.hpp>

namespace cohort {

/// Accepts connections at one address. Destroying or closing it ends a pending accept().
class listener {
public:
    virtual ~listener() = default;

    /// Completes with the next connection. Running out of file descriptors is waited out, not thrown. Cancelling or
    /// close() throws asio::error::operation_aborted.
    virtual asio::awaitable<std::unique_ptr<stream>> accept() = 0;
    virtual endpoint local_endpoint() const = 0;
    virtual void close() noexcept = 0;
};

/// A bound UDP socket.
class datagram_socket {
public:
    struct arrival {
        std::size_t size = 0;  ///< bytes put at the start of the buffer; a longer datagram is cut
        endpoint from;
    };

    virtual ~datagram_socket() = default;

    /// Completes with the next datagram. Errors that one destination caused earlier (ICMP) are not reported here.
    virtual asio::awaitable<arrival> receive(byte_span into) = 0;
    /// Completes when the datagram was handed over; one that cannot be sent now is lost, as datagrams may be.
    virtual asio::awaitable<void> send(endpoint to, byte_view bytes) = 0;

    /// The same for many. Receiving adds at least one to `into`, where there must be room, and not more than are there.
    virtual asio::awaitable<void> receive_many(datagram_batch& into) {
        const byte_span room = into.room();
        const arrival one = co_await receive(room);
        into.add(one.from, one.size);
    }
    virtual asio::awaitable<void> send_many(const datagram_batch& all) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            const endpoint to = all.address(i);
            const byte_view bytes = all.bytes(i);
            co_await send(to, bytes);
        }
    }
    virtual endpoint local_endpoint() const = 0;
    virtual void close() noexcept = 0;
};

/// The world. Used by one thread; outlives all that was made through it.
class network {
public:
    virtual ~network() = default;

    virtual asio::any_io_executor executor() = 0;

    virtual time_point now() const = 0;
    /// Completes at `deadline`, at once if it has passed. Cancelling throws asio::error::operation_aborted.
    virtual asio::awaitable<void> sleep_until(time_point deadline) = 0;
    asio::awaitable<void> sleep_for(duration d) { return sleep_until(now() + d); }

    /// Milliseconds since 1970, UTC: for what people read and other machines compare. It may jump; now() does not.
    virtual std::int64_t calendar() const { return calendar_now(); }

    virtual random_engine& random() = 0;
    /// Fills `out` with what nobody may guess: keys, tokens, masks. Unlike all else here it may be called on any
    /// thread. Whoever overrides it answers for every key: only a simulation does, and a network around another, which
    /// asks it.
    virtual void secret(byte_span out) { secret_random(out); }

    /// Completes with a connected stream. Throws the system's error (refused, unreachable); use with_timeout() for a
    /// bound on the wait.
    virtual asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) = 0;

    /// Listens at once; port 0 takes a free one. Throws the system's error with the address in its message.
    virtual std::unique_ptr<listener> listen(endpoint at) = 0;
    virtual std::unique_ptr<datagram_socket> bind_udp(endpoint at) = 0;

    /// Completes with at least one address of `host` (a name or a literal). Throws errc::host_not_found.
    virtual asio::awaitable<std::vector<ip_address>> resolve(std::string host) = 0;
};

/// The same for code that knows no network. `net` outlives whoever has it.
inline secret_source secrets_of(network& net) {
    return [&net](byte_span out) { net.secret(out); };
}

}  // namespace cohort
