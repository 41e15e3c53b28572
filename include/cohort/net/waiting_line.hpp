// Waiting for one's turn, in the order of coming.
#pragma once

#include <cstdint>
#include <vector>

#include <cohort/net/wakeup.hpp>

namespace cohort {

/// Coroutines of one thread that stand in line. It and `changed` outlive those who wait.
class waiting_line {
public:
    bool empty() const { return tickets_.empty(); }

    /// Completes when may_go(whether nobody stands before us) is true, which is asked at each `changed`; and notifies
    /// those behind, however it ends. Cancelling throws asio::error::operation_aborted.
    template <class MayGo>
    asio::awaitable<void> wait(wakeup& changed, MayGo may_go) {
        const place ours(*this, changed);
        while (!may_go(tickets_.front() == ours.ticket)) co_await changed.wait();
    }

private:
    struct place {
        place(waiting_line& in, wakeup& at_end) : line(in), changed(at_end) { line.tickets_.push_back(ticket); }
        ~place() {
            std::erase(line.tickets_, ticket);
            if (line.empty()) line.tickets_ = std::vector<std::uint64_t>();  // idle links keep no memory
            changed.notify();
        }
        waiting_line& line;
        wakeup& changed;
        const std::uint64_t ticket = line.next_ticket_++;
    };

    std::vector<std::uint64_t> tickets_;
    std::uint64_t next_ticket_ = 0;
};

}  // namespace cohort
