// A network whose connections a test can count, cut and damage.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "support/net.hpp"

namespace cohort::test {

class wire_network final : public forwarding_network {
public:
    using forwarding_network::forwarding_network;

    /// What becomes of a write; the other end is told nothing.
    std::function<void(stream&, byte_vector&)> alter;

    /// Ends all connections at once, as if a cable were pulled.
    void cut() {
        const auto all = *open_;
        for (wire* const one : all)
            if (open_->contains(one)) one->cut();
    }
    /// Those alone of which either side is at this port.
    void cut_at(std::uint16_t port) {
        const auto all = *open_;
        for (wire* const one : all)
            if (open_->contains(one) && is_at(*one, port)) one->cut();
    }
    /// Ends of connections of which either side is at this port.
    std::size_t ends_at(std::uint16_t port) const {
        return static_cast<std::size_t>(
            std::count_if(open_->begin(), open_->end(), [port](const wire* one) { return is_at(*one, port); }));
    }

    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override {
        auto link = co_await forwarding_network::connect(to);
        std::unique_ptr<stream> out = std::make_unique<wire>(*this, std::move(link));
        co_return out;
    }
    std::unique_ptr<listener> listen(endpoint at) override {
        return std::make_unique<door>(*this, forwarding_network::listen(at));
    }

private:
    class wire;
    using stream_set = std::set<wire*>;

    static bool is_at(const stream& one, std::uint16_t port) {
        return one.remote_endpoint().port == port || one.local_endpoint().port == port;
    }

    class wire final : public stream {
    public:
        wire(wire_network& owner, std::unique_ptr<stream> inner)
            : owner_(owner),
              open_(owner.open_),
              inner_(std::move(inner)),
              remote_(inner_->remote_endpoint()),
              local_(inner_->local_endpoint()) {
            open_->insert(this);
        }
        ~wire() override { open_->erase(this); }

        asio::awaitable<void> readable() override {
            std::error_code failure;
            try {
                co_await inner_->readable();
            } catch (const std::system_error& error) {
                failure = error.code();
            }
            if (failure) co_await fail(failure);
        }
        asio::awaitable<std::size_t> read_some(byte_span into) override {
            std::error_code failure;
            std::size_t got = 0;
            try {
                got = co_await inner_->read_some(into);
            } catch (const std::system_error& error) {
                failure = error.code();
            }
            if (failure) co_await fail(failure);
            co_return got;
        }
        asio::awaitable<void> write(std::span<const byte_view> buffers) override {
            byte_vector bytes;
            for (const byte_view part : buffers) bytes.insert(bytes.end(), part.begin(), part.end());
            if (owner_.alter) owner_.alter(*this, bytes);
            std::error_code failure;
            try {
                co_await write_all(*inner_, bytes);
            } catch (const std::system_error& error) {
                failure = error.code();
            }
            if (failure) co_await fail(failure);
        }
        void finish() noexcept override { inner_->finish(); }
        void close() noexcept override {
            open_->erase(this);
            inner_->close();
        }
        endpoint remote_endpoint() const override { return remote_; }
        endpoint local_endpoint() const override { return local_; }

        void cut() noexcept {
            is_cut_ = true;
            close();
        }

    private:
        /// A cable that is pulled is no cancellation, though closing looks like one.
        asio::awaitable<void> fail(std::error_code why) const {
            const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
            const bool cancelled = state.cancelled() != asio::cancellation_type::none;
            raise(is_cut_ && !cancelled ? std::error_code(asio::error::connection_reset) : why);
        }

        wire_network& owner_;
        bool is_cut_ = false;
        std::shared_ptr<stream_set> open_;
        std::unique_ptr<stream> inner_;
        endpoint remote_;
        endpoint local_;
    };

    class door final : public listener {
    public:
        door(wire_network& owner, std::unique_ptr<listener> inner) : owner_(owner), inner_(std::move(inner)) {}
        asio::awaitable<std::unique_ptr<stream>> accept() override {
            auto link = co_await inner_->accept();
            std::unique_ptr<stream> out = std::make_unique<wire>(owner_, std::move(link));
            co_return out;
        }
        endpoint local_endpoint() const override { return inner_->local_endpoint(); }
        void close() noexcept override { inner_->close(); }

    private:
        wire_network& owner_;
        std::unique_ptr<listener> inner_;
    };

    std::shared_ptr<stream_set> open_ = std::make_shared<stream_set>();
};

}  // namespace cohort::test
