// A UDP socket of the machine: system calls first, for as many datagrams as there are, and the reactor only when they
// would wait.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cohort/core/error.hpp>
#include <cohort/net/asio_address.hpp>
#include <cohort/net/network.hpp>

#include <asio/ip/udp.hpp>
#include <asio/ip/v6_only.hpp>

namespace cohort::detail {

class udp_socket final : public datagram_socket {
public:
    udp_socket(const asio::any_io_executor& executor, endpoint at) : socket_(executor) {
        const auto address = to_asio<asio::ip::udp>(at);
        std::error_code error;
        socket_.open(address.protocol(), error);
        if (!error && at.address.is_v6()) socket_.set_option(asio::ip::v6_only(true), error);
        if (!error) socket_.bind(address, error);
        if (!error) socket_.non_blocking(true, error);
        if (error) raise(standard_error(error), "cannot bind UDP " + at.to_string());
    }

    asio::awaitable<arrival> receive(byte_span into) override {
        asio::ip::udp::endpoint from;
        const asio::mutable_buffer target = asio::buffer(into.data(), into.size());
        for (;;) {
            if (!socket_.is_open()) throw_cancelled();
            const auto result = co_await socket_.async_receive_from(target, from, as_result);
            const auto& [error, size] = result;
            if (is_old_news(error)) continue;
            if (error) throw std::system_error(standard_error(error));
            arrival out{size, from_asio(from)};
            co_return out;
        }
    }

    asio::awaitable<void> send(endpoint to, byte_view bytes) override {
        const auto target = to_asio<asio::ip::udp>(to);
        const asio::const_buffer source = asio::buffer(bytes.data(), bytes.size());
        const auto result = co_await socket_.async_send_to(source, target, as_result);
        if (is_cancellation(std::get<0>(result))) throw_cancelled();
    }

    asio::awaitable<void> receive_many(datagram_batch& into) override {
        for (;;) {
            if (!socket_.is_open()) throw_cancelled();
            const int got = take(into);
            if (got > 0) co_return;
            co_await wait_if_blocked(asio::socket_base::wait_read);
        }
    }

    asio::awaitable<void> send_many(const datagram_batch& all) override {
        for (std::size_t next = 0; next < all.size();) {
            const int sent = give(all, next);
            if (sent > 0) {
                next += static_cast<std::size_t>(sent);
            } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
                co_await wait_if_blocked(asio::socket_base::wait_write);
            } else {
                if (!socket_.is_open()) throw_cancelled();
                ++next;  // that one is lost
            }
        }
    }

    endpoint local_endpoint() const override { return from_asio(socket_.local_endpoint()); }

    void close() noexcept override {
        std::error_code ignored;
        socket_.close(ignored);
    }

private:
    static constexpr std::size_t most_at_once = 64;

    /// What one destination did with an earlier datagram.
    static bool is_old_news(const std::error_code& error) {
        const std::error_code reason = standard_error(error);
        return reason == std::errc::connection_refused || reason == std::errc::connection_reset;
    }

    /// To be called right after a system call failed: waits if it only would have waited, throws what is serious.
    asio::awaitable<void> wait_if_blocked(asio::socket_base::wait_type what) {
        const std::error_code error(errno, std::system_category());
        if (error == std::errc::interrupted || is_old_news(error)) co_return;
        if (error != std::errc::resource_unavailable_try_again && error != std::errc::operation_would_block)
            raise(error);
        co_await socket_.async_wait(what, asio::use_awaitable);
    }

    /// As recvmmsg(), after which errno says why there is nothing.
    int take(datagram_batch& into) {
        const std::size_t most = std::min(into.capacity() - into.size(), most_at_once);
        for (std::size_t i = 0; i < most; ++i) {
            const byte_span room = into.room(into.size() + i);
            parts_[i] = {room.data(), room.size()};
            prepare(i, sizeof addresses_[i]);
        }
        const int got =
            ::recvmmsg(socket_.native_handle(), messages_.data(), static_cast<unsigned>(most), MSG_DONTWAIT, nullptr);
        for (int i = 0; i < got; ++i) {
            const auto number = static_cast<std::size_t>(i);
            into.add(from_system(addresses_[number]), messages_[number].msg_len);
        }
        return got;
    }

    /// As sendmmsg() of those from `next` on.
    int give(const datagram_batch& all, std::size_t next) {
        const std::size_t most = std::min(all.size() - next, most_at_once);
        for (std::size_t i = 0; i < most; ++i) {
            const byte_view bytes = all.bytes(next + i);
            parts_[i] = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
            prepare(i, to_system(all.address(next + i), addresses_[i]));
        }
        return ::sendmmsg(socket_.native_handle(), messages_.data(), static_cast<unsigned>(most),
                          MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    void prepare(std::size_t i, std::size_t address_length) {
        ::msghdr& header = messages_[i].msg_hdr;
        header = {};
        header.msg_name = &addresses_[i];
        header.msg_namelen = static_cast<socklen_t>(address_length);
        header.msg_iov = &parts_[i];
        header.msg_iovlen = 1;
    }

    union system_address {
        ::sockaddr_in v4;
        ::sockaddr_in6 v6;
    };

    static endpoint from_system(const system_address& from) {
        if (from.v4.sin_family == AF_INET)
            return {ip_address::v4(ntohl(from.v4.sin_addr.s_addr)), ntohs(from.v4.sin_port)};
        std::array<std::uint8_t, 16> bytes;
        std::copy_n(from.v6.sin6_addr.s6_addr, bytes.size(), bytes.begin());
        return {ip_address::v6(bytes), ntohs(from.v6.sin6_port)};
    }

    /// Returns the length.
    static std::size_t to_system(const endpoint& from, system_address& to) {
        const byte_view bytes = from.address.bytes();
        if (from.address.is_v4()) {
            to.v4 = {};
            to.v4.sin_family = AF_INET;
            to.v4.sin_port = htons(from.port);
            to.v4.sin_addr.s_addr = htonl(load_be<std::uint32_t>(bytes.data()));
            return sizeof to.v4;
        }
        to.v6 = {};
        to.v6.sin6_family = AF_INET6;
        to.v6.sin6_port = htons(from.port);
        std::copy(bytes.begin(), bytes.end(), to.v6.sin6_addr.s6_addr);
        return sizeof to.v6;
    }

    asio::ip::udp::socket socket_;
    std::array<system_address, most_at_once> addresses_;
    std::array<::iovec, most_at_once> parts_;
    std::array<::mmsghdr, most_at_once> messages_;
};

}  // namespace cohort::detail
