// A simulated machine on the net, which is a `network` like the real one: everything that waits runs on it unchanged.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/sim/nat.hpp>
#include <cohort/sim/stream.hpp>

namespace cohort::sim {

/// What all hosts of a world share.
struct registry {
    std::map<ip_address, class host*> hosts;
    std::map<ip_address, std::shared_ptr<nat>> nats;
    std::map<std::string, std::vector<ip_address>> names;
};

/// Made by world::add_host(); the world outlives it. One thread only.
class host final : public network {
public:
    host(asio::any_io_executor executor, std::shared_ptr<fabric> net, std::shared_ptr<registry> all,
         const ip_address& address, std::shared_ptr<line> at, std::shared_ptr<nat> router)
        : executor_(std::move(executor)),
          net_(std::move(net)),
          all_(std::move(all)),
          address_(address),
          line_(std::move(at)),
          router_(std::move(router)),
          random_(net_->random()),
          secrets_(random_engine(random_)()) {}

    const ip_address& address() const { return address_; }

    /// Pulls the plug of the net, or puts it back. Connections outlast a short while.
    void set_online(bool yes) { line_->up = yes; }
    /// Hosts of different sides do not reach each other.
    void move_to(std::uint32_t side) { line_->side = side; }
    access& line_quality() { return line_->at; }
    /// The calendar of this host is ahead of the others', or behind them.
    void set_calendar_ahead(std::chrono::milliseconds by) { ahead_ = by; }

    /// Every connection of this host breaks, on both sides, as when a router forgets them all.
    void reset_connections() {
        for (const std::weak_ptr<connection>& one : std::exchange(connections_, {})) {
            const auto living = one.lock();
            if (!living) continue;
            living->fail(0, asio::error::connection_reset);
            living->fail(1, asio::error::connection_reset);
        }
    }

    /// Nothing is open: no listener, no socket, no connection.
    bool is_quiet() const {
        const bool connected = std::any_of(connections_.begin(), connections_.end(),
                                           [](const std::weak_ptr<connection>& one) { return !one.expired(); });
        return doors_.empty() && sockets_.empty() && !connected;
    }

    asio::any_io_executor executor() override { return executor_; }
    time_point now() const override { return net_->time.now(); }
    asio::awaitable<void> sleep_until(time_point deadline) override;
    /// The world begins on the second of January 2026.
    std::int64_t calendar() const override {
        return first_day + std::chrono::floor<std::chrono::milliseconds>(now().time_since_epoch() + ahead_).count();
    }
    random_engine& random() override { return random_; }
    /// The seed's, like all else here, and so no secrets: for a simulation, and nothing that is to be kept from
    /// anybody.
    void secret(byte_span out) override { secrets_.fill(out); }
    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override;
    std::unique_ptr<listener> listen(endpoint at) override;
    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override;
    asio::awaitable<std::vector<ip_address>> resolve(std::string name) override;

private:
    class door;
    class socket;
    static constexpr duration longest_try = 75s;  // for a way to the other side
    static constexpr std::size_t backlog = 128;   // connections that nobody has accepted yet
    static constexpr std::int64_t first_day = 1'767'225'600'000;

    std::uint16_t free_port() {
        if (++last_port_ < 49152) last_port_ = 49152;
        return last_port_;
    }
    void take(const endpoint& at, const endpoint& from, byte_vector bytes);
    template <class T>
    endpoint own(endpoint at, const std::map<endpoint, T*>& bound);

    /// What is bound to that address, or to all of its family.
    template <class T>
    static T* bound_to(const endpoint& at, const std::map<endpoint, T*>& bound) {
        const ip_address all = at.address.is_v6() ? ip_address::v6({}) : ip_address::v4(0);
        for (const ip_address& address : {at.address, all})
            if (const auto found = bound.find({address, at.port}); found != bound.end()) return found->second;
        return nullptr;
    }

    /// The host of that address as it can be reached from here: not through its router, unless that is ours too.
    host* find(const ip_address& address) {
        if (address.is_loopback()) return this;
        const auto found = all_->hosts.find(address);
        const bool there = found != all_->hosts.end() && (!found->second->router_ || found->second->router_ == router_);
        return there ? found->second : nullptr;
    }
    std::shared_ptr<nat> find_router(const ip_address& address) const {
        const auto found = all_->nats.find(address);
        return found == all_->nats.end() ? nullptr : found->second;
    }
    /// The line at whose end an address is; null if there is none.
    std::shared_ptr<line> line_to(const ip_address& address) {
        if (const host* const other = find(address)) return other->line_;
        const auto router = find_router(address);
        return router ? router->outside() : nullptr;
    }
    /// Where what is sent to `to` ends up, once it is there.
    struct arrival_place {
        host* who = nullptr;
        endpoint at;
    };
    arrival_place door_of(const endpoint& to);
    /// On the other side of our router.
    bool is_outside(const ip_address& address) {
        if (!router_) return false;
        const host* const other = find(address);
        return other == nullptr || other->router_ != router_;
    }
    void remember(const std::shared_ptr<connection>& one) {
        std::erase_if(connections_, [](const auto& old) { return old.expired(); });
        connections_.push_back(one);
    }

    asio::any_io_executor executor_;
    std::shared_ptr<fabric> net_;
    std::shared_ptr<registry> all_;
    ip_address address_;
    std::shared_ptr<line> line_;
    std::shared_ptr<nat> router_;  // null: none
    random_engine random_;
    random_engine secrets_;  // of its own: who draws more secrets than before meets the same chance
    std::chrono::milliseconds ahead_{0};
    std::map<endpoint, door*> doors_;
    std::map<endpoint, socket*> sockets_;
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

template <class T>
endpoint host::own(endpoint at, const std::map<endpoint, T*>& bound) {
    const bool ours = at.address == address() || at.address.is_loopback() ||
                      (at.address.is_unspecified() && at.address.is_v6() == address().is_v6());
    if (!ours) raise(std::make_error_code(std::errc::address_not_available), at.to_string());
    const auto is_taken = [&](std::uint16_t port) {
        return std::any_of(bound.begin(), bound.end(), [&](const auto& other) {
            const ip_address& address = other.first.address;
            const bool same = address == at.address || address.is_unspecified() || at.address.is_unspecified();
            return other.first.port == port && same;
        });
    };
    if (at.port == 0) {
        do at.port = free_port();
        while (is_taken(at.port));
    }
    if (is_taken(at.port)) raise(std::make_error_code(std::errc::address_in_use), at.to_string());
    return at;
}

// ---- Machinery: connections

/// What has come to a door or a socket. Shared with who waits for it, and may do so a moment longer than they are
/// there.
template <class T>
struct mailbox {
    explicit mailbox(const asio::any_io_executor& executor) : came(executor) {}

    void put(T one) {
        waiting.push_back(std::move(one));
        came.notify();
    }
    /// True the first time.
    bool close() {
        if (std::exchange(closed, true)) return false;
        waiting.clear();
        came.notify();
        return true;
    }
    static asio::awaitable<T> next(std::shared_ptr<mailbox> from) {
        while (from->waiting.empty() && !from->closed) co_await from->came.wait();
        if (from->closed) raise(asio::error::operation_aborted);
        T out = std::move(from->waiting.front());
        from->waiting.pop_front();
        co_return out;
    }

    wakeup came;
    std::deque<T> waiting;
    bool closed = false;
};

class host::door final : public listener {
public:
    door(host& owner, const endpoint& at)
        : owner_(owner), at_(at), here_(std::make_shared<mailbox<std::unique_ptr<stream>>>(owner.executor_)) {
        owner_.doors_[at] = this;
    }
    ~door() override { close(); }

    asio::awaitable<std::unique_ptr<stream>> accept() override { return mailbox<std::unique_ptr<stream>>::next(here_); }
    endpoint local_endpoint() const override { return at_; }
    void close() noexcept override {
        if (here_->close()) owner_.doors_.erase(at_);
    }

    bool is_full() const { return here_->waiting.size() >= backlog; }
    void bring(std::unique_ptr<stream> link) { here_->put(std::move(link)); }

private:
    host& owner_;
    endpoint at_;
    std::shared_ptr<mailbox<std::unique_ptr<stream>>> here_;
};

inline std::unique_ptr<listener> host::listen(endpoint at) {
    const endpoint mine = own(at, doors_);
    return std::make_unique<door>(*this, mine);
}

inline host::arrival_place host::door_of(const endpoint& to) {
    if (host* const direct = find(to.address)) return {direct, to};
    const auto router = find_router(to.address);
    const auto inside = router ? router->forwarded(to.port) : std::nullopt;
    if (!inside) return {};
    const auto found = all_->hosts.find(inside->address);
    if (found == all_->hosts.end()) return {};
    return {found->second, *inside};
}

inline asio::awaitable<std::unique_ptr<stream>> host::connect(endpoint to) {
    const std::shared_ptr<line> way = line_to(to.address);
    if (!way) raise(std::make_error_code(std::errc::host_unreachable), to.to_string());
    const time_point until = now() + longest_try;
    duration pause = 1s;
    arrival_place there = door_of(to);
    // Whoever is off the net answers nothing, not even that nobody listens; no more does a router.
    while (!there.who || !fabric::reach(*line_, *way) || net_->is_lost(*line_, *way)) {
        if (now() + pause > until) {
            co_await sleep_until(until);
            raise(asio::error::timed_out, to.to_string());
        }
        co_await sleep_for(pause);
        pause *= 2;
        there = door_of(to);
    }
    const duration onward = net_->latency(*line_, *way);
    co_await sleep_for(onward);
    door* const listening = bound_to(there.at, there.who->doors_);
    std::unique_ptr<stream> out;
    if (listening != nullptr && !listening->is_full()) {
        endpoint from{to.address.is_loopback() ? to.address : address(), free_port()};
        if (is_outside(to.address)) from = {router_->address(), router_->next_port()};
        const auto whole = std::make_shared<connection>(executor_, net_, line_, from, way, to);
        remember(whole);
        if (there.who != this) there.who->remember(whole);
        out = std::make_unique<end_of_connection>(whole, 0);
        listening->bring(std::make_unique<end_of_connection>(whole, 1));
    }
    const duration back = net_->latency(*way, *line_);
    co_await sleep_for(back);
    if (!out) raise(asio::error::connection_refused, to.to_string());
    co_return out;
}

// ---- Machinery: datagrams

class host::socket final : public datagram_socket {
public:
    socket(host& owner, const endpoint& at)
        : owner_(owner), at_(at), here_(std::make_shared<mailbox<packet>>(owner.executor_)) {
        owner_.sockets_[at] = this;
    }
    ~socket() override { close(); }

    asio::awaitable<arrival> receive(byte_span into) override {
        const packet first = co_await mailbox<packet>::next(here_);
        const std::size_t size = std::min(into.size(), first.second.size());
        std::copy_n(first.second.begin(), size, into.begin());
        co_return arrival{size, first.first};
    }

    asio::awaitable<void> send(endpoint to, byte_view bytes) override {
        if (here_->closed) raise(asio::error::operation_aborted);
        send_now(to, bytes);
        co_return;
    }
    endpoint local_endpoint() const override { return at_; }
    void close() noexcept override {
        if (here_->close()) owner_.sockets_.erase(at_);
    }

    void take(const endpoint& from, byte_vector bytes) {
        if (here_->waiting.size() < most_waiting) here_->put({from, std::move(bytes)});
    }

private:
    using packet = std::pair<endpoint, byte_vector>;
    static constexpr std::size_t most_waiting = 256;

    void send_now(const endpoint& to, byte_view bytes) {
        fabric& net = *owner_.net_;
        line& here = *owner_.line_;
        const std::shared_ptr<line> way = owner_.line_to(to.address);
        endpoint from{to.address.is_loopback() ? to.address : owner_.address(), at_.port};
        if (owner_.is_outside(to.address)) from = owner_.router_->outward(from, to, net.time.now());
        if (!way || !fabric::reach(here, *way) || net.is_lost(here, *way)) return;
        if (&here != way.get() && net.backlog(here) > here.at.queue) return;
        // Each takes its own time, so that a later one may come earlier. Who is there is seen when it comes.
        const fabric::transit passage = net.carry(here, *way, bytes.size());
        if (passage.waited > way->at.queue) return;
        const time_point at = passage.arrives;
        byte_vector copy(bytes.begin(), bytes.end());
        host* const direct = owner_.find(to.address);
        net.time.at(at, [all = owner_.all_, router = owner_.find_router(to.address), own_net = owner_.net_, direct, to,
                         from, copy = std::move(copy)]() mutable {
            if (direct != nullptr) return direct->take(to, from, std::move(copy));
            const auto inside = router->inward(to.port, from, own_net->time.now());
            if (!inside) return;
            const auto found = all->hosts.find(inside->address);
            if (found != all->hosts.end()) found->second->take(*inside, from, std::move(copy));
        });
    }

    host& owner_;
    endpoint at_;
    std::shared_ptr<mailbox<packet>> here_;
};

inline std::unique_ptr<datagram_socket> host::bind_udp(endpoint at) {
    const endpoint mine = own(at, sockets_);
    return std::make_unique<socket>(*this, mine);
}

inline void host::take(const endpoint& at, const endpoint& from, byte_vector bytes) {
    socket* const bound = bound_to(at, sockets_);
    if (bound != nullptr && line_->up) bound->take(from, std::move(bytes));
}

}  // namespace cohort::sim
