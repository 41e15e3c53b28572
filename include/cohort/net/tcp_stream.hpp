// A TCP connection as a stream: non-blocking system calls first, the reactor only when they would wait.
#pragma once

#include <array>
#include <utility>

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cohort/net/asio_address.hpp>
#include <cohort/net/stream.hpp>

namespace cohort {

class tcp_stream final : public stream {
public:
    /// Takes over a connected socket.
    explicit tcp_stream(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
        socket_.non_blocking(true);
        std::error_code ignored;
        socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
        if (const auto remote = socket_.remote_endpoint(ignored); !ignored) remote_ = from_asio(remote);
        if (const auto local = socket_.local_endpoint(ignored); !ignored) local_ = from_asio(local);
    }

    asio::awaitable<void> readable() override { return wait(asio::ip::tcp::socket::wait_read); }

    asio::awaitable<std::size_t> read_some(byte_span into) override {
        for (;;) {
            const ssize_t got = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
            if (got >= 0) co_return static_cast<std::size_t>(got);
            co_await wait_if_blocked(asio::ip::tcp::socket::wait_read);
        }
    }

    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        std::array<iovec, max_gather> batch;
        std::size_t next = 0;
        std::size_t skip = 0;  // bytes of buffers[next] that are sent already
        while (next < buffers.size()) {
            const std::size_t count = gather(buffers.subspan(next), skip, batch);
            const ssize_t sent = send_batch(std::span(batch).first(count), 0);
            if (sent < 0) {
                co_await wait_if_blocked(asio::ip::tcp::socket::wait_write);
                continue;
            }
            advance(buffers, next, skip, static_cast<std::size_t>(sent));
        }
    }

    asio::awaitable<void> write_segments(std::span<const segment> segments) override {
        for (const segment& part : segments) {
            if (const auto* const slice = std::get_if<file_slice>(&part)) {
                const file_slice whole = *slice;
                co_await send_file(whole);
            } else {
                const byte_view bytes = std::get<byte_view>(part);
                co_await write_before_more(bytes, &part != &segments.back());
            }
        }
    }

    void finish() noexcept override {
        std::error_code ignored;
        socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    }

    void close() noexcept override {
        std::error_code ignored;
        socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
        socket_.close(ignored);
    }

    endpoint remote_endpoint() const override { return remote_; }
    endpoint local_endpoint() const override { return local_; }

private:
    /// Buffers a system call takes at most; IOV_MAX is 1024 on Linux, and this many blocks fill a socket buffer.
    static constexpr std::size_t max_gather = 128;

    asio::awaitable<void> wait(asio::ip::tcp::socket::wait_type what) {
        co_await socket_.async_wait(what, asio::use_awaitable);
    }

    /// To be called right after a system call failed: waits if it only would have waited, throws otherwise.
    asio::awaitable<void> wait_if_blocked(asio::ip::tcp::socket::wait_type what) {
        const int error = errno;
        if (!socket_.is_open()) throw_cancelled();
        if (error == EINTR) co_return;
        if (error != EAGAIN && error != EWOULDBLOCK) raise({error, std::system_category()});
        co_await socket_.async_wait(what, asio::use_awaitable);
    }

    static std::size_t gather(std::span<const byte_view> buffers, std::size_t skip,
                              std::array<iovec, max_gather>& out) {
        const std::size_t count = std::min(buffers.size(), out.size());
        for (std::size_t i = 0; i < count; ++i) {
            const byte_view bytes = i == 0 ? buffers[i].subspan(skip) : buffers[i];
            out[i] = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
        }
        return count;
    }

    ssize_t send_batch(std::span<iovec> batch, int flags) {
        msghdr message{};
        message.msg_iov = batch.data();
        message.msg_iovlen = batch.size();
        return ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | flags);
    }

    static void advance(std::span<const byte_view> buffers, std::size_t& next, std::size_t& skip, std::size_t sent) {
        while (next < buffers.size() && sent >= buffers[next].size() - skip) {
            sent -= buffers[next].size() - skip;
            ++next;
            skip = 0;
        }
        skip += sent;
    }

    /// MSG_MORE keeps a header in the kernel until the file range that follows fills the packet.
    asio::awaitable<void> write_before_more(byte_view bytes, bool more) {
        while (!bytes.empty()) {
            const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
            const ssize_t sent = ::send(socket_.native_handle(), bytes.data(), bytes.size(), flags);
            if (sent < 0) {
                co_await wait_if_blocked(asio::ip::tcp::socket::wait_write);
                continue;
            }
            bytes = bytes.subspan(static_cast<std::size_t>(sent));
        }
    }

    asio::awaitable<void> send_file(file_slice slice) {
        auto offset = static_cast<off_t>(slice.offset);
        while (slice.length > 0) {
            const ssize_t sent = ::sendfile(socket_.native_handle(), slice.handle, &offset, slice.length);
            if (sent == 0) raise(errc::file_changed);
            if (sent < 0) {
                co_await wait_if_blocked(asio::ip::tcp::socket::wait_write);
                continue;
            }
            slice.length -= static_cast<std::size_t>(sent);
        }
    }

    asio::ip::tcp::socket socket_;
    endpoint remote_;
    endpoint local_;
};

}  // namespace cohort
