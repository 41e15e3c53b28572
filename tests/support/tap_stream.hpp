// A stream with a man in the middle: what is written can be looked at, altered and held back.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include <cohort/net/stream.hpp>

namespace cohort::test {

class tap_stream final : public stream {
public:
    explicit tap_stream(std::unique_ptr<stream> inner) : inner_(std::move(inner)) {}

    asio::awaitable<void> readable() override { return inner_->readable(); }
    asio::awaitable<std::size_t> read_some(byte_span into) override {
        largest_target = std::max(largest_target, into.size());
        return inner_->read_some(into);
    }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        byte_vector bytes;
        for (const byte_view part : buffers) bytes.insert(bytes.end(), part.begin(), part.end());
        ++writes;
        written.insert(written.end(), bytes.begin(), bytes.end());
        if (alter) alter(bytes);
        if (!hold) co_await write_all(*inner_, bytes);
    }
    void finish() noexcept override { inner_->finish(); }
    void close() noexcept override { inner_->close(); }
    endpoint remote_endpoint() const override { return inner_->remote_endpoint(); }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }

    /// What is under the tap, to write to it past whoever owns this.
    stream& inner() { return *inner_; }

    byte_vector written;  ///< before it was altered
    std::size_t writes = 0;
    std::function<void(byte_vector&)> alter;  ///< what becomes of one write
    bool hold = false;                        ///< nothing goes out
    std::size_t largest_target = 0;           ///< the most bytes that a reader made room for

private:
    std::unique_ptr<stream> inner_;
};

}  // namespace cohort::test
