// A host of its own on the internet, made of loopback: 127.0.0.n appears as 10.0.0.n, which is not this machine.
#pragma once

#include <memory>
#include <utility>

#include <asio/ip/tcp.hpp>

#include <cohort/net/asio_address.hpp>
#include <cohort/net/tcp_stream.hpp>

#include "support/net.hpp"

namespace cohort::test {

class placed_network final : public forwarding_network {
public:
    placed_network(network& inner, std::uint8_t number) : forwarding_network(inner), number_(number) {}

    ip_address address() const { return address_of(number_); }

    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override {
        asio::ip::tcp::socket socket(executor());
        const asio::ip::tcp::endpoint from = to_asio<asio::ip::tcp>(endpoint{inside(address()), 0});
        socket.open(from.protocol());
        socket.bind(from);
        const endpoint there{inside(to.address), to.port};
        const asio::ip::tcp::endpoint target = to_asio<asio::ip::tcp>(there);
        const auto result = co_await socket.async_connect(target, as_result);
        if (const std::error_code error = std::get<0>(result)) raise(standard_error(error));
        co_return rename(std::make_unique<tcp_stream>(std::move(socket), there));
    }

    std::unique_ptr<listener> listen(endpoint at) override {
        return std::make_unique<door>(inner().listen(endpoint{inside(at.address), at.port}));
    }

private:
    class door final : public listener {
    public:
        explicit door(std::unique_ptr<listener> inner) : inner_(std::move(inner)) {}
        asio::awaitable<std::unique_ptr<stream>> accept() override {
            std::unique_ptr<stream> link = co_await inner_->accept();
            co_return rename(std::move(link));
        }
        endpoint local_endpoint() const override { return outside(inner_->local_endpoint()); }
        void close() noexcept override { inner_->close(); }

    private:
        std::unique_ptr<listener> inner_;
    };

    /// From 200 on all have IPv6 addresses of one /64.
    static ip_address address_of(std::uint8_t number) {
        if (number < 200) return ip_address::v4({10, 0, 0, number});
        return ip_address::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number});
    }
    static ip_address inside(const ip_address& address) { return ip_address::v4({127, 0, 0, address.bytes().back()}); }
    static endpoint outside(const endpoint& at) { return {address_of(at.address.bytes().back()), at.port}; }
    static std::unique_ptr<stream> rename(std::unique_ptr<stream> link) {
        const endpoint remote = outside(link->remote_endpoint());
        return std::make_unique<renamed_stream>(std::move(link), remote);
    }

    std::uint8_t number_;
};

}  // namespace cohort::test
