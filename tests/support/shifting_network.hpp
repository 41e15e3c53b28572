// The machine's network with a clock that a test can put forward: what takes minutes happens at once.
#pragma once

#include <algorithm>
#include <vector>

#include <asio/steady_timer.hpp>

#include "support/net.hpp"

namespace cohort::test {

class shifting_network final : public forwarding_network {
public:
    using forwarding_network::forwarding_network;

    /// Lets so much time pass for all that sleeps now or looks at the clock later.
    void shift(duration by) {
        ahead_ += by;
        for (asio::steady_timer* const timer : sleepers_) timer->cancel();
    }

    time_point now() const override { return forwarding_network::now() + ahead_; }

    asio::awaitable<void> sleep_until(time_point deadline) override {
        asio::steady_timer timer(executor());
        const sleeper entry(sleepers_, timer);
        do {
            // Not at a point in time: that of a simulated host is no time of the timer's clock.
            timer.expires_after(deadline - now());
            co_await timer.async_wait(as_result);
            const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
        } while (now() < deadline);
    }

private:
    class sleeper {
    public:
        sleeper(std::vector<asio::steady_timer*>& all, asio::steady_timer& timer) : all_(all), timer_(&timer) {
            all_.push_back(timer_);
        }
        ~sleeper() { std::erase(all_, timer_); }
        sleeper(const sleeper&) = delete;
        sleeper& operator=(const sleeper&) = delete;

    private:
        std::vector<asio::steady_timer*>& all_;
        asio::steady_timer* timer_;
    };

    std::vector<asio::steady_timer*> sleepers_;
    duration ahead_{};
};

}  // namespace cohort::test
