// A simulated machine on the net, which is a `network` like the real one: everything that waits runs on it unchanged.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/sim/stream.hpp>

namespace cohort::sim {

/// What all hosts of a world share.
struct registry {
    std::map<ip_address, class host*> hosts;
    std::map<std::string, std::vector<ip_address>> names;
};

/// Made by world::add_host(); the world outlives it. One thread only.
class host final : public network {
public:
    host(asio::any_io_executor executor, std::shared_ptr<fabric> net, std::shared_ptr<registry> all,
         const ip_address& address, const access& at)
        : executor_(std::move(executor)),
          net_(std::move(net)),
          all_(std::move(all)),
          line_(std::make_shared<line>()),
          random_(net_->random()) {
        line_->address = address;
        line_->at = at;
    }

    const ip_address& address() const { return line_->address; }

    /// Pulls the plug of the net, or puts it back. Connections outlast a short while.
    void set_online(bool yes) { line_->up = yes; }
    /// Hosts of different sides do not reach each other.
    void move_to(std::uint32_t side) { line_->side = side; }
    access& line_quality() { return line_->at; }

    /// Every connection of this host breaks, on both sides, as when a router forgets them all.
    void reset_connections() {
        for (const std::weak_ptr<connection>& one : std::exchange(connections_, {})) {
            const auto living = one.lock();
            if (!living) continue;
            living->fail(0, asio::error::connection_reset);
            living->fail(1, asio::error::connection_reset);
        }
    }

    asio::any_io_executor executor() override { return executor_; }
    time_point now() const override { return net_->time.now(); }
    asio::awaitable<void> sleep_until(time_point deadline) override;
    random_engine& random() override { return random_; }
    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override;
    std::unique_ptr<listener> listen(endpoint at) override;
    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override;
    asio::awaitable<std::vector<ip_address>> resolve(std::string name) override;

private:
    class door;
    class socket;
    static constexpr duration longest_try = 75s;  // for a way to the other side
    static constexpr std::size_t backlog = 128;   // connections that nobody has accepted yet

    std::uint16_t free_port() {
        if (++last_port_ < 49152) last_port_ = 49152;
        return last_port_;
    }
    void take(std::uint16_t port, const endpoint& from, byte_vector bytes);
    endpoint own(endpoint at, const std::function<bool(std::uint16_t)>& is_taken);
    host* find(const ip_address& address) {
        if (address.is_loopback()) return this;
        const auto found = all_->hosts.find(address);
        return found == all_->hosts.end() ? nullptr : found->second;
    }
    void remember(const std::shared_ptr<connection>& one) {
        std::erase_if(connections_, [](const auto& old) { return old.expired(); });
        connections_.push_back(one);
    }

    asio::any_io_executor executor_;
    std::shared_ptr<fabric> net_;
    std::shared_ptr<registry> all_;
    std::shared_ptr<line> line_;
    random_engine random_;
    std::map<std::uint16_t, door*> doors_;
    std::map<std::uint16_t, socket*> sockets_;
    std::vector<std::weak_ptr<connection>> connections_;
    std::uint16_t last_port_ = 49151;
};

// ---- Machinery: time and names

inline asio::awaitable<void> host::sleep_until(time_point deadline) {
    struct sleeper {
        explicit sleeper(const asio::any_io_executor& executor) : woken(executor) {}
        bool due = false;
        wakeup woken;
    };
    const auto state = std::make_shared<sleeper>(executor_);
    // A deadline that never comes is no event: whoever waits for it alone waits for somebody's notice.
    const bool planned = deadline != time_point::max();
    clock::ticket ticket{};
    if (planned) {
        ticket = net_->time.at(deadline, [state] {
            state->due = true;
            state->woken.notify();
        });
    }
    struct guard {
        ~guard() {
            if (planned) net.time.cancel(ticket);
        }
        fabric& net;
        bool planned;
        clock::ticket ticket;
    };
    const guard forgets{*net_, planned, ticket};
    while (!state->due) co_await state->woken.wait();
}

inline asio::awaitable<std::vector<ip_address>> host::resolve(std::string name) {
    if (const auto address = ip_address::parse(name)) co_return std::vector<ip_address>{*address};
    if (name == "localhost") co_return std::vector<ip_address>{ip_address::loopback_v4()};
    co_await sleep_for(2 * line_->at.latency);
    const auto found = all_->names.find(name);
    if (found == all_->names.end()) raise(errc::host_not_found, name);
    co_return found->second;
}

inline endpoint host::own(endpoint at, const std::function<bool(std::uint16_t)>& is_taken) {
    const bool ours = at.address == address() || at.address.is_loopback() ||
                      (at.address.is_unspecified() && at.address.is_v6() == address().is_v6());
    if (!ours) raise(std::make_error_code(std::errc::address_not_available), at.to_string());
    if (at.port == 0) {
        do at.port = free_port();
        while (is_taken(at.port));
    }
    if (is_taken(at.port)) raise(std::make_error_code(std::errc::address_in_use), at.to_string());
    return at;
}

// ---- Machinery: connections

class host::door final : public listener {
public:
    door(host& owner, const endpoint& at) : owner_(owner), at_(at), came_(owner.executor_) {
        owner_.doors_[at.port] = this;
    }
    ~door() override { close(); }

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        while (waiting_.empty() && !closed_) co_await came_.wait();
        if (closed_) raise(asio::error::operation_aborted);
        std::unique_ptr<stream> out = std::move(waiting_.front());
        waiting_.pop_front();
        co_return out;
    }
    endpoint local_endpoint() const override { return at_; }
    void close() noexcept override {
        if (std::exchange(closed_, true)) return;
        owner_.doors_.erase(at_.port);
        waiting_.clear();
        came_.notify();
    }

    bool is_full() const { return waiting_.size() >= backlog; }
    void bring(std::unique_ptr<stream> link) {
        waiting_.push_back(std::move(link));
        came_.notify();
    }

private:
    host& owner_;
    endpoint at_;
    wakeup came_;
    std::deque<std::unique_ptr<stream>> waiting_;
    bool closed_ = false;
};

inline std::unique_ptr<listener> host::listen(endpoint at) {
    const endpoint mine = own(at, [this](std::uint16_t port) { return doors_.contains(port); });
    return std::make_unique<door>(*this, mine);
}

inline asio::awaitable<std::unique_ptr<stream>> host::connect(endpoint to) {
    host* const other = find(to.address);
    if (other == nullptr) raise(std::make_error_code(std::errc::host_unreachable), to.to_string());
    const time_point until = now() + longest_try;
    duration pause = 1s;
    // Whoever is off the net answers nothing, not even that nobody listens.
    while (!fabric::reach(*line_, *other->line_) || net_->is_lost(*line_, *other->line_)) {
        if (now() + pause > until) {
            co_await sleep_until(until);
            raise(asio::error::timed_out, to.to_string());
        }
        co_await sleep_for(pause);
        pause *= 2;
    }
    const duration there = net_->latency(*line_, *other->line_);
    co_await sleep_for(there);
    const auto listening = other->doors_.find(to.port);
    const bool refused = listening == other->doors_.end() || listening->second->is_full();
    std::unique_ptr<stream> out;
    if (!refused) {
        const ip_address from = to.address.is_loopback() ? to.address : address();
        const auto whole =
            std::make_shared<connection>(executor_, net_, line_, endpoint{from, free_port()}, other->line_, to);
        remember(whole);
        if (other != this) other->remember(whole);
        out = std::make_unique<end_of_connection>(whole, 0);
        listening->second->bring(std::make_unique<end_of_connection>(whole, 1));
    }
    const duration back = net_->latency(*other->line_, *line_);
    co_await sleep_for(back);
    if (refused) raise(asio::error::connection_refused, to.to_string());
    co_return out;
}

// ---- Machinery: datagrams

class host::socket final : public datagram_socket {
public:
    socket(host& owner, const endpoint& at) : owner_(owner), at_(at), came_(owner.executor_) {
        owner_.sockets_[at.port] = this;
    }
    ~socket() override { close(); }

    asio::awaitable<arrival> receive(byte_span into) override {
        while (arrived_.empty() && !closed_) co_await came_.wait();
        if (closed_) raise(asio::error::operation_aborted);
        const auto first = std::move(arrived_.front());
        arrived_.pop_front();
        const std::size_t size = std::min(into.size(), first.second.size());
        std::copy_n(first.second.begin(), size, into.begin());
        co_return arrival{size, first.first};
    }

    asio::awaitable<void> send(endpoint to, byte_view bytes) override {
        if (closed_) raise(asio::error::operation_aborted);
        host* const other = owner_.find(to.address);
        const fabric& net = *owner_.net_;
        if (other == nullptr || !fabric::reach(*owner_.line_, *other->line_)) co_return;
        if (net.backlog(*owner_.line_) > owner_.line_->at.queue) co_return;
        if (owner_.net_->is_lost(*owner_.line_, *other->line_)) co_return;
        const ip_address address = to.address.is_loopback() ? to.address : owner_.address();
        const endpoint from{address, at_.port};
        // Each takes its own time, so that a later one may come earlier.
        const time_point at = owner_.net_->arrival(*owner_.line_, *other->line_, bytes.size());
        byte_vector copy(bytes.begin(), bytes.end());
        owner_.net_->time.at(at, [all = owner_.all_, address_of = other->address(), port = to.port, from,
                                  copy = std::move(copy)]() mutable {
            const auto found = all->hosts.find(address_of);
            if (found != all->hosts.end()) found->second->take(port, from, std::move(copy));
        });
    }
    endpoint local_endpoint() const override { return at_; }
    void close() noexcept override {
        if (std::exchange(closed_, true)) return;
        owner_.sockets_.erase(at_.port);
        came_.notify();
    }

    void take(const endpoint& from, byte_vector bytes) {
        if (arrived_.size() >= most_waiting) return;
        arrived_.emplace_back(from, std::move(bytes));
        came_.notify();
    }

private:
    static constexpr std::size_t most_waiting = 256;

    host& owner_;
    endpoint at_;
    wakeup came_;
    std::deque<std::pair<endpoint, byte_vector>> arrived_;
    bool closed_ = false;
};

inline std::unique_ptr<datagram_socket> host::bind_udp(endpoint at) {
    const endpoint mine = own(at, [this](std::uint16_t port) { return sockets_.contains(port); });
    return std::make_unique<socket>(*this, mine);
}

inline void host::take(std::uint16_t port, const endpoint& from, byte_vector bytes) {
    const auto found = sockets_.find(port);
    if (found != sockets_.end() && line_->up) found->second->take(from, std::move(bytes));
}

}  // namespace cohort::sim
