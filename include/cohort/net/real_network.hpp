// The machine's own network, clock and randomness.
#pragma once

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/error.hpp>
#include <cohort/net/asio_address.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/tcp_stream.hpp>
#include <cohort/net/udp_socket.hpp>
#include <cohort/net/wakeup.hpp>

#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>

namespace cohort {

namespace detail {

/// What is wrong when accept() fails.
enum class accept_failure {
    listener,    ///< it will accept no more
    connection,  ///< of the one that came: errors of its network that wait already are told in its place (accept(2))
    shortage     ///< of descriptors or memory, or something that may pass like one
};

inline accept_failure judge_accept(const std::error_code& error) {
    const auto is_any_of = [&](std::initializer_list<int> numbers) {
        return error.category() == std::system_category() &&
               std::find(numbers.begin(), numbers.end(), error.value()) != numbers.end();
    };
    if (is_cancellation(error) || is_any_of({EBADF, EINVAL, ENOTSOCK})) return accept_failure::listener;
    const bool passing = is_any_of({ECONNABORTED, ECONNRESET, EINTR, EAGAIN, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN,
                                    EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ETIMEDOUT, EPERM});
    return passing ? accept_failure::connection : accept_failure::shortage;
}

class tcp_listener final : public listener {
public:
    tcp_listener(const asio::any_io_executor& executor, endpoint at) : acceptor_(executor), pause_(executor) {
        const auto address = to_asio<asio::ip::tcp>(at);
        std::error_code error;
        acceptor_.open(address.protocol(), error);
        if (!error) acceptor_.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
        if (!error && at.address.is_v6()) acceptor_.set_option(asio::ip::v6_only(true), error);
        // What is accepted inherits it.
        if (!error) acceptor_.set_option(asio::ip::tcp::no_delay(true), error);
        if (!error) acceptor_.bind(address, error);
        if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
        if (error) raise(standard_error(error), "cannot listen on " + at.to_string());
    }

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        for (;;) {
            if (!acceptor_.is_open()) throw_cancelled();
            try {
                asio::ip::tcp::endpoint from;
                auto result = co_await acceptor_.async_accept(from, as_result);
                auto& [error, socket] = result;
                if (!error) co_return std::make_unique<tcp_stream>(std::move(socket), from_asio(from));
                const std::error_code reason = standard_error(error);
                const accept_failure failure = judge_accept(reason);
                if (failure == accept_failure::listener) throw std::system_error(reason);
                if (failure == accept_failure::connection) continue;  // others had their turn before the failure came
            } catch (const std::bad_alloc&) {
                // A shortage like the others.
            }
            // The system tells nobody when a descriptor becomes free.
            pause_.expires_after(100ms);
            co_await pause_.async_wait(asio::use_awaitable);
        }
    }

    endpoint local_endpoint() const override { return from_asio(acceptor_.local_endpoint()); }

    void close() noexcept override {
        std::error_code ignored;
        acceptor_.close(ignored);
        pause_.cancel();
    }

private:
    asio::ip::tcp::acceptor acceptor_;
    asio::steady_timer pause_;
};

/// A name that is being looked up. Whoever asks may leave; the answer, which nothing hurries, still finds this here.
struct name_lookup {
    explicit name_lookup(const asio::any_io_executor& executor) : resolver(executor), changed(executor) {}

    static void begin(const std::shared_ptr<name_lookup>& self, const std::string& host) {
        self->resolver.async_resolve(host, "", [self](const std::error_code& failure, const results& addresses) {
            self->done = true;
            self->error = failure;
            self->found = addresses;
            self->changed.notify();
        });
    }

    using results = asio::ip::tcp::resolver::results_type;

    asio::ip::tcp::resolver resolver;
    wakeup changed;
    bool done = false;
    std::error_code error;
    results found;
};

}  // namespace detail

/// The real thing. `executor` belongs to an io_context that one thread runs.
class real_network final : public network {
public:
    explicit real_network(asio::any_io_executor executor) : executor_(std::move(executor)), random_(seed()) {}

    asio::any_io_executor executor() override { return executor_; }
    time_point now() const override { return std::chrono::steady_clock::now(); }
    random_engine& random() override { return random_; }

    asio::awaitable<void> sleep_until(time_point deadline) override {
        asio::steady_timer timer(executor_, deadline);
        co_await timer.async_wait(asio::use_awaitable);
    }

    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override {
        asio::ip::tcp::socket socket(executor_);
        const auto address = to_asio<asio::ip::tcp>(to);
        const auto result = co_await socket.async_connect(address, as_result);
        if (const std::error_code error = std::get<0>(result)) throw std::system_error(standard_error(error));
        std::error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        co_return std::make_unique<tcp_stream>(std::move(socket), to);
    }

    std::unique_ptr<listener> listen(endpoint at) override {
        return std::make_unique<detail::tcp_listener>(executor_, at);
    }

    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override {
        return std::make_unique<detail::udp_socket>(executor_, at);
    }

    /// One name is looked up at a time, by a thread of the io_context. Cancelling completes at once, but nothing ends
    /// the look-up that is under way: later ones, the end of io_context::run() and its destructor wait for it.
    asio::awaitable<std::vector<ip_address>> resolve(std::string host) override {
        if (const auto literal = ip_address::parse(host)) {
            std::vector<ip_address> one{*literal};
            co_return one;
        }
        const auto lookup = std::make_shared<detail::name_lookup>(executor_);
        detail::name_lookup::begin(lookup, host);
        try {
            while (!lookup->done) co_await lookup->changed.wait();
        } catch (...) {
            lookup->resolver.cancel();
            throw;
        }
        std::vector<ip_address> addresses;
        for (const auto& entry : lookup->found) {
            const ip_address address = from_asio(entry.endpoint().address());
            if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
        }
        if (lookup->error || addresses.empty()) raise(errc::host_not_found, host);
        co_return addresses;
    }

private:
    static std::uint64_t seed() {
        std::random_device device;
        return static_cast<std::uint64_t>(device()) << 32 | device();
    }

    asio::any_io_executor executor_;
    random_engine random_;
};

}  // namespace cohort
