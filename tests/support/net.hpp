// Small helps for tests over the network: results and errors of coroutines, streams and networks that pretend.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/network.hpp>

namespace cohort::test {

/// Awaits `op` and keeps its result.
template <class T>
asio::awaitable<void> store(T& out, asio::awaitable<T> op) {
    out = co_await std::move(op);
}

/// Awaits `op`, drops its result and keeps the code of the std::system_error that it throws, if any.
template <class T>
asio::awaitable<void> store_error(std::error_code& out, asio::awaitable<T> op) {
    try {
        co_await std::move(op);
    } catch (const std::system_error& error) {
        out = error.code();
    }
}

inline void replace_all(std::string& text, const std::string& from, const std::string& to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
}

/// Hands everything on to another network; tests override what shall differ.
class forwarding_network : public network {
public:
    explicit forwarding_network(network& inner) : inner_(inner) {}

    network& inner() { return inner_; }
    asio::any_io_executor executor() override { return inner_.executor(); }
    time_point now() const override { return inner_.now(); }
    asio::awaitable<void> sleep_until(time_point deadline) override { return inner_.sleep_until(deadline); }
    std::int64_t calendar() const override { return inner_.calendar(); }
    random_engine& random() override { return inner_.random(); }
    void secret(byte_span out) override { inner_.secret(out); }
    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override { return inner_.connect(to); }
    std::unique_ptr<listener> listen(endpoint at) override { return inner_.listen(at); }
    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override { return inner_.bind_udp(at); }
    asio::awaitable<std::vector<ip_address>> resolve(std::string host) override { return inner_.resolve(host); }

private:
    network& inner_;
};

/// A stream under another name.
class renamed_stream final : public stream {
public:
    renamed_stream(std::unique_ptr<stream> inner, endpoint remote) : inner_(std::move(inner)), remote_(remote) {}

    asio::awaitable<std::size_t> read_some(byte_span into) override { return inner_->read_some(into); }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override { return inner_->write(buffers); }
    void finish() noexcept override { inner_->finish(); }
    void close() noexcept override { inner_->close(); }
    endpoint remote_endpoint() const override { return remote_; }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }

private:
    std::unique_ptr<stream> inner_;
    endpoint remote_;
};

}  // namespace cohort::test
