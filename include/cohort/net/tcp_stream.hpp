// A TCP connection as a stream: non-blocking system calls first, the reactor only when they would wait.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include <cohort/net/asio_address.hpp>
#include <cohort/net/stream.hpp>

namespace cohort {

class tcp_stream final : public stream {
public:
    /// Takes over a socket that is connected to `remote`. It should have no_delay set.
    tcp_stream(asio::ip::tcp::socket socket, const endpoint& remote) : socket_(std::move(socket)), remote_(remote) {}

    asio::awaitable<void> readable() override { return wait_to_read(); }

    /// Others have their turn now and then, however fast the bytes come.
    asio::awaitable<std::size_t> read_some(byte_span into) override {
        if (reads_in_turn_ >= most_in_turn) co_await wait_to_read();
        for (;;) {
            const ssize_t got = ::recv(socket_.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
            if (got >= 0) {
                ++reads_in_turn_;
                co_return static_cast<std::size_t>(got);
            }
            if (would_wait()) co_await wait_to_read();
        }
    }

    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        std::size_t skip = 0;  // bytes of the first that are sent already
        while (!buffers.empty()) {
            const ssize_t sent = send(buffers, skip);
            if (sent >= 0) {
                advance(buffers, skip, static_cast<std::size_t>(sent));
            } else if (would_wait()) {
                co_await wait(asio::ip::tcp::socket::wait_write);
            }
        }
    }

    /// Whoever waits holds no buffer: what was read of a file and not sent is read again.
    asio::awaitable<void> write_segments(std::span<const segment> segments) override {
        segment_row row(segments);
        while (!row.empty()) {
            const bool full = send_next(row);
            if (full) co_await wait(asio::ip::tcp::socket::wait_write);
        }
    }

    void finish() noexcept override {
        std::error_code ignored;
        socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    }

    void close() noexcept override {
        std::error_code ignored;
        socket_.close(ignored);
    }

    endpoint remote_endpoint() const override { return remote_; }
    endpoint local_endpoint() const override {
        std::error_code ignored;
        return from_asio(socket_.local_endpoint(ignored));
    }

private:
    /// Buffers a system call takes at most; IOV_MAX is 1024 on Linux, and this many blocks fill a socket buffer.
    static constexpr std::size_t max_gather = 128;
    /// Read of files at once: enough to make system calls cheap, little enough to be sent out of the cache.
    static constexpr std::size_t least_read = 16 * 1024;
    static constexpr std::size_t most_read = 128 * 1024;
    /// Reads without a wait between them. A loop that reads and answers returns to the executor nowhere else, as long
    /// as the other side is fast enough; so a stranger could keep everybody else, and all deadlines, from running.
    static constexpr int most_in_turn = 16;

    asio::awaitable<void> wait(asio::ip::tcp::socket::wait_type what) {
        co_await socket_.async_wait(what, asio::use_awaitable);
    }

    asio::awaitable<void> wait_to_read() {
        reads_in_turn_ = 0;
        return wait(asio::ip::tcp::socket::wait_read);
    }

    /// To be called right after a system call failed: whether it only would have waited. Throws if it is another
    /// failure, false for an interruption.
    bool would_wait() {
        const int error = errno;
        if (!socket_.is_open()) throw_cancelled();
        if (error == EAGAIN || error == EWOULDBLOCK) return true;
        if (error != EINTR) raise({error, std::system_category()});
        return false;
    }

    /// One system call for as many of the buffers as it takes, without the first `skip` bytes.
    ssize_t send(std::span<const byte_view> buffers, std::size_t skip) {
        std::array<iovec, max_gather> batch;
        const std::size_t count = std::min(buffers.size(), batch.size());
        for (std::size_t i = 0; i < count; ++i) {
            const byte_view bytes = i == 0 ? buffers[i].subspan(skip) : buffers[i];
            batch[i] = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
        }
        msghdr message{};
        message.msg_iov = batch.data();
        message.msg_iovlen = count;
        return ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    /// One system call for what comes next in the row; says whether the socket is full now. How much is read of files
    /// for it follows what the socket took: that of a slow peer takes little at a time.
    bool send_next(segment_row& row) {
        thread_local const auto memory = std::make_unique_for_overwrite<std::uint8_t[]>(most_read);
        const std::span<const byte_view> buffers = row.gather({memory.get(), read_size_});
        const ssize_t result = send(buffers, 0);
        if (result < 0 && !would_wait()) return false;
        const std::size_t sent = result < 0 ? 0 : static_cast<std::size_t>(result);
        const bool full = sent < total_size(buffers);
        read_size_ = full ? std::max(read_size_ / 2, least_read) : std::min(read_size_ * 2, most_read);
        row.advance(sent);
        return full;
    }

    asio::ip::tcp::socket socket_;
    endpoint remote_;
    std::size_t read_size_ = least_read;
    int reads_in_turn_ = 0;
};

}  // namespace cohort
