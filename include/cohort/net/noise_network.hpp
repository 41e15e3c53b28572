// A network whose connections are all encrypted and lead to known identities only. What runs on a network runs on this
// one unchanged: the swarm engine over it moves files between people who trust each other.
#pragma once

#include <deque>
#include <exception>
#include <memory>
#include <new>
#include <set>
#include <utility>

#include <cohort/net/network.hpp>
#include <cohort/net/noise_stream.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/wakeup.hpp>

namespace cohort {

struct noise_network_options {
    noise_stream_options streams;
    std::size_t max_handshakes = 64;     ///< of those who dial a listener, at the same time; more are turned away
    std::size_t max_of_one_address = 8;  ///< of these, or of one IPv6 network (/64); this machine has no such limit
    std::size_t max_ready = 16;          ///< connections that wait for accept(); then nobody is greeted for a while
};

namespace detail {

/// What the connections of one noise_network have in common.
struct noise_surroundings {
    network& inner;
    const identity& self;
    identity_handshake::predicate allowed;
    noise_network_options options;
};

/// Greets whoever dials, all at the same time, from the first accept() on.
class noise_listener final : public listener {
public:
    noise_listener(std::shared_ptr<const noise_surroundings> around, std::unique_ptr<listener> inner)
        : state_(std::make_shared<state>(std::move(around), std::move(inner))) {}
    ~noise_listener() override { close(); }

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        const std::shared_ptr<state> shared = state_;
        if (!shared->started && !shared->closed) shared->tasks.spawn(greet_all(shared));
        shared->started = true;
        while (shared->ready.empty()) {
            if (shared->closed) throw_cancelled();
            if (shared->failure) std::rethrow_exception(shared->failure);
            co_await shared->changed.wait();
        }
        std::unique_ptr<stream> out = std::move(shared->ready.front());
        shared->ready.pop_front();
        shared->changed.notify();
        co_return out;
    }

    endpoint local_endpoint() const override { return state_->inner->local_endpoint(); }

    void close() noexcept override {
        if (state_->closed) return;
        state_->closed = true;
        state_->inner->close();
        state_->tasks.cancel();
        state_->ready.clear();
        state_->changed.notify();
    }

private:
    /// Lives as long as the listener and everybody who is being greeted.
    struct state {
        state(std::shared_ptr<const noise_surroundings> where, std::unique_ptr<listener> from)
            : around(std::move(where)),
              inner(std::move(from)),
              tasks(around->inner.executor()),
              changed(around->inner.executor()) {}

        std::shared_ptr<const noise_surroundings> around;
        std::unique_ptr<listener> inner;
        task_group tasks;
        wakeup changed;
        std::deque<std::unique_ptr<stream>> ready;
        std::multiset<ip_address> newcomers;
        std::exception_ptr failure;
        bool started = false;
        bool closed = false;
    };

    /// A newcomer's place, from the door until it is known or turned away, however that ends.
    class place {
    public:
        place(std::shared_ptr<state> where, ip_address from)
            : shared_(std::move(where)), taken_(shared_->newcomers.insert(from)) {}
        place(place&&) noexcept = default;
        place& operator=(place&&) = delete;
        ~place() {
            if (shared_) shared_->newcomers.erase(taken_);
        }

    private:
        std::shared_ptr<state> shared_;
        std::multiset<ip_address>::iterator taken_;
    };

    static asio::awaitable<void> greet_all(std::shared_ptr<state> shared) {
        const noise_network_options& options = shared->around->options;
        try {
            for (;;) {
                while (shared->ready.size() >= options.max_ready) co_await shared->changed.wait();
                std::unique_ptr<stream> link = co_await shared->inner->accept();
                // The newest goes, so that those who came first can finish; and nobody takes all places alone.
                const ip_address address = link->remote_endpoint().address;
                const ip_address from = address.network();
                const bool crowded =
                    !address.is_loopback() && shared->newcomers.count(from) >= options.max_of_one_address;
                if (crowded || shared->newcomers.size() >= options.max_handshakes) continue;
                admit(shared, std::move(link), from);
            }
        } catch (...) {
            shared->failure = std::current_exception();
        }
        shared->changed.notify();
    }

    static void admit(const std::shared_ptr<state>& shared, std::unique_ptr<stream> link, const ip_address& from) {
        try {
            place taken(shared, from);
            shared->tasks.admit(greet(shared, std::move(link), std::move(taken)));
        } catch (const std::bad_alloc&) {
            // That one finds its connection closed.
        }
    }

    static asio::awaitable<void> greet(std::shared_ptr<state> shared, std::unique_ptr<stream> link, place taken) {
        const place kept = std::move(taken);  // given back at the end of this, not with its frame
        const noise_surroundings& around = *shared->around;
        std::unique_ptr<stream> known;
        try {
            // Closed, there may be no identity any more.
            if (!shared->closed) {
                known = co_await noise_stream::as_responder(around.inner, std::move(link), around.self, around.allowed,
                                                            around.options.streams);
            }
            if (known && !shared->closed) shared->ready.push_back(std::move(known));
        } catch (...) {
            // Nobody waits for this connection but the stranger who made it.
        }
        shared->changed.notify();
    }

    std::shared_ptr<state> state_;
};

}  // namespace detail

/// Connections are noise_streams between `self` and identities that `allowed` approves; the time, randomness, names and
/// datagrams are those of `inner`. HTTP trackers do not speak Noise: peers are given by address. `inner` and `self`
/// outlive this and all that was made through it; `inner`, too, the turn of its executor that follows.
class noise_network final : public network {
public:
    using predicate = identity_handshake::predicate;

    noise_network(network& inner, const identity& self, predicate allowed, noise_network_options options = {})
        : around_(std::make_shared<detail::noise_surroundings>(
              detail::noise_surroundings{inner, self, std::move(allowed), std::move(options)})) {}

    asio::any_io_executor executor() override { return around_->inner.executor(); }
    time_point now() const override { return around_->inner.now(); }
    asio::awaitable<void> sleep_until(time_point deadline) override { return around_->inner.sleep_until(deadline); }
    std::int64_t calendar() const override { return around_->inner.calendar(); }
    random_engine& random() override { return around_->inner.random(); }
    void secret(byte_span out) override { around_->inner.secret(out); }

    /// Completes with a connection to an allowed identity. Throws what the inner network and noise_stream throw.
    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override { return dial(around_, to); }

    /// Those who are not allowed, not able or too slow are turned away; accept() does not hear of them.
    std::unique_ptr<listener> listen(endpoint at) override {
        return std::make_unique<detail::noise_listener>(around_, around_->inner.listen(at));
    }

    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override { return around_->inner.bind_udp(at); }
    asio::awaitable<std::vector<ip_address>> resolve(std::string host) override {
        return around_->inner.resolve(std::move(host));
    }

private:
    static asio::awaitable<std::unique_ptr<stream>> dial(std::shared_ptr<const detail::noise_surroundings> around,
                                                         endpoint to) {
        std::unique_ptr<stream> link = co_await around->inner.connect(to);
        std::unique_ptr<stream> out = co_await noise_stream::as_initiator(around->inner, std::move(link), around->self,
                                                                          around->allowed, around->options.streams);
        co_return out;
    }

    std::shared_ptr<const detail::noise_surroundings> around_;
};

}  // namespace cohort
