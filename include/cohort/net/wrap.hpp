// Any Asio stream as a cohort::stream: the way to run the engine over a TLS stream, a Unix socket or one's own type.
#pragma once

#include <utility>

#include <cohort/net/stream.hpp>

#include <asio/buffer.hpp>
#include <asio/write.hpp>

namespace cohort {

namespace detail {

/// Needs of `AsyncStream`: async_read_some, async_write_some, lowest_layer().close().
template <class AsyncStream>
class wrapped_stream final : public stream {
public:
    wrapped_stream(AsyncStream inner, endpoint remote, endpoint local)
        : inner_(std::move(inner)), remote_(remote), local_(local) {}

    asio::awaitable<std::size_t> read_some(byte_span into) override {
        const asio::mutable_buffer target = asio::buffer(into.data(), into.size());
        const auto result = co_await inner_.async_read_some(target, as_result);
        const auto& [error, size] = result;
        if (error == asio::error::eof) co_return 0;
        if (error) throw std::system_error(standard_error(error));
        co_return size;
    }

    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        std::vector<asio::const_buffer> sources;
        sources.reserve(buffers.size());
        for (const byte_view& one : buffers) sources.emplace_back(one.data(), one.size());
        const auto result = co_await asio::async_write(inner_, sources, as_result);
        if (const std::error_code error = std::get<0>(result)) throw std::system_error(standard_error(error));
    }

    void close() noexcept override {
        std::error_code ignored;
        inner_.lowest_layer().close(ignored);
    }

    endpoint remote_endpoint() const override { return remote_; }
    endpoint local_endpoint() const override { return local_; }

private:
    AsyncStream inner_;
    endpoint remote_;
    endpoint local_;
};

}  // namespace detail

/// Takes over a connected Asio stream. The endpoints are only names: give what fits where there is no address.
template <class AsyncStream>
std::unique_ptr<stream> wrap(AsyncStream inner, endpoint remote = {}, endpoint local = {}) {
    return std::make_unique<detail::wrapped_stream<AsyncStream>>(std::move(inner), remote, local);
}

}  // namespace cohort
