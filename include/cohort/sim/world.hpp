// A world of simulated hosts, in virtual time and in one thread. One seed decides everything that takes its time, its
// chance and its secrets from the network: the same seed and the same program give the same run, event by event, with
// the same keys and the same bytes on the wire.
//
//     sim::world world(7);
//     sim::host& here = world.add_host();
//     sim::host& there = world.add_host({.latency = 40ms, .up = 1'000'000});
//     world.run(meet(here, there));
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cohort/net/asio.hpp>
#include <cohort/sim/host.hpp>
#include <cohort/storage/worker_pool.hpp>

#include <asio/io_context.hpp>

namespace cohort::sim {

class world {
public:
    explicit world(std::uint64_t seed) : net_(std::make_shared<fabric>(seed)), all_(std::make_shared<registry>()) {}
    ~world() { net_->time.close(); }
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    /// A host of its own address, 10.0.0.1 and so on. It lives as long as the world.
    host& add_host(const access& at = {}) { return place(line_of(at), nullptr); }

    /// A router with an address of its own, which hosts behind it share.
    std::shared_ptr<nat> add_nat(nat_kind kind, const access& at = {}) {
        const auto out = std::make_shared<nat>(kind, line_of(at));
        all_->nats[out->address()] = out;
        return out;
    }
    /// A host behind a router, on the router's line, with an address that only hosts behind the same router reach.
    host& add_host(const std::shared_ptr<nat>& behind) { return place(behind->outside(), behind); }
    const std::vector<std::unique_ptr<host>>& hosts() const { return hosts_; }

    /// What resolve() answers.
    void name(const std::string& name, const host& of) { all_->names[name].push_back(of.address()); }

    clock& time() { return net_->time; }

    /// Plays until `main` has ended, and returns what it returned or throws what it threw. When nothing can happen any
    /// more, or after `limit` of virtual time, `main` is cancelled and std::runtime_error says so. What `main` started
    /// and did not end stays, and goes on in the next run().
    template <class T>
    T run(asio::awaitable<T> main, duration limit = std::chrono::hours(1));

private:
    std::shared_ptr<line> line_of(const access& at) {
        const auto out = std::make_shared<line>();
        out->address = ip_address::v4(0x0a000000 + ++lines_);
        out->at = at;
        return out;
    }
    host& place(std::shared_ptr<line> at, std::shared_ptr<nat> behind) {
        const auto number = static_cast<std::uint32_t>(hosts_.size() + 1);
        const ip_address address = behind ? ip_address::v4(0xc0a80000 + number) : at->address;  // 192.168.0.0
        hosts_.push_back(
            std::make_unique<host>(io_.get_executor(), net_, all_, address, std::move(at), std::move(behind)));
        all_->hosts[address] = hosts_.back().get();
        return *hosts_.back();
    }

    /// Does all that can be done now, and lets time go on until `done` or then. False when nothing can happen any more.
    bool play(const bool& done, time_point until) {
        for (;;) {
            io_.restart();
            io_.poll();
            if (done || net_->time.now() > until) return true;
            if (net_->time.idle()) return false;
            net_->time.step();
        }
    }

    std::shared_ptr<fabric> net_;
    std::shared_ptr<registry> all_;
    std::vector<std::unique_ptr<host>> hosts_;
    std::uint32_t lines_ = 0;
    asio::io_context io_{1};  // ends first: what still waits in it refers to the hosts
};

template <class T>
T world::run(asio::awaitable<T> main, duration limit) {
    struct outcome {
        std::conditional_t<std::is_void_v<T>, bool, std::optional<T>> result{};
        std::exception_ptr failure;
        bool done = false;
        asio::cancellation_signal stop;
    };
    // Shared, because what does not end when it is cancelled outlives this call.
    const auto main_of_all = std::make_shared<outcome>();
    const auto ended = [main_of_all](std::exception_ptr why, auto... value) {
        main_of_all->failure = std::move(why);
        if constexpr (!std::is_void_v<T>) ((main_of_all->result = std::move(value)), ...);
        main_of_all->done = true;
    };
    auto& [result, failure, done, stop] = *main_of_all;
    asio::co_spawn(io_, std::move(main), asio::bind_cancellation_slot(stop.slot(), ended));
    const time_point until = net_->time.now() + limit;
    const bool late = play(done, until);
    if (!done) {
        const std::string trouble = late ? "not done within the limit" : "all wait for what will never happen";
        stop.emit(asio::cancellation_type::all);
        play(done, until + limit);
        if (!done) throw std::logic_error(trouble + ", and cancelling does not help");
        throw std::runtime_error(trouble);
    }
    if (failure) std::rethrow_exception(failure);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Runs jobs on the world's own thread, one after the other: disk work takes no virtual time.
class jobs final : public job_runner {
public:
    explicit jobs(asio::any_io_executor executor) : executor_(std::move(executor)) {}

    void post(std::uint32_t, std::function<void()> job) override { asio::post(executor_, std::move(job)); }
    std::uint32_t concurrency() const override { return 1; }

private:
    asio::any_io_executor executor_;
};

}  // namespace cohort::sim
