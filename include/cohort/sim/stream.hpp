// A connection between two simulated hosts: bytes in order, at the pace of the lines, and never more on the way than a
// window. Lost packets come later, as TCP sends them again; a way that is cut for long ends the connection.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/net/stream.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/sim/fabric.hpp>

namespace cohort::sim {

/// Both directions of one connection. One thread only; the two ends and the events on the way share it.
class connection : public std::enable_shared_from_this<connection> {
public:
    static constexpr std::size_t window = 256 * 1024;  ///< bytes of one direction that are sent and not read
    static constexpr std::size_t largest_packet = 32 * 1024;
    static constexpr std::size_t small = 1500;
    static constexpr duration most_apart = 300ms;  ///< of what arrives as one packet
    static constexpr duration resend = 200ms;     ///< after a loss
    static constexpr duration give_up = 60s;      ///< without a way to the other side

    struct side {
        side(const asio::any_io_executor& executor, std::shared_ptr<line> at, const endpoint& address)
            : where(std::move(at)), local(address), readable(executor), writable(executor) {}

        std::shared_ptr<line> where;
        endpoint local;
        bool closed = false;     // by its owner
        bool finished = false;   // its owner writes no more
        bool ended = false;      // the other's end has arrived
        std::error_code broken;  // what the operations of this side fail with

        std::deque<byte_vector> arrived;
        std::size_t read = 0;       // of the first of them
        std::size_t under_way = 0;  // bytes from this side that the other has not read
        struct packet {
            byte_vector bytes;  // none: the end
            time_point leaves;  // the sender's line; until then more bytes may join
            time_point at;
            time_point first_at;  // its first bytes would have arrived; they wait for the others
            bool lost = false;    // however often it was sent
        };
        std::deque<packet> on_the_way;  // from this side, in order
        bool arriving = false;          // an event for the first of them is planned
        std::optional<time_point> cut_since;
        wakeup readable;
        wakeup writable;
    };

    connection(const asio::any_io_executor& executor, std::shared_ptr<fabric> net, std::shared_ptr<line> a,
               const endpoint& a_address, std::shared_ptr<line> b, const endpoint& b_address)
        : sides{side(executor, std::move(a), a_address), side(executor, std::move(b), b_address)},
          net_(std::move(net)) {}

    asio::awaitable<void> readable(std::size_t me) {
        side& mine = sides[me];
        while (mine.arrived.empty() && !mine.ended && !stopped(mine)) co_await mine.readable.wait();
    }

    asio::awaitable<std::size_t> read_some(std::size_t me, byte_span into) {
        side& mine = sides[me];
        while (mine.arrived.empty() && !mine.ended && !stopped(mine)) co_await mine.readable.wait();
        check(mine);
        std::size_t out = 0;
        while (out < into.size() && !mine.arrived.empty()) {
            const byte_vector& first = mine.arrived.front();
            const std::size_t part = std::min(first.size() - mine.read, into.size() - out);
            std::copy_n(first.begin() + static_cast<std::ptrdiff_t>(mine.read), part,
                        into.begin() + static_cast<std::ptrdiff_t>(out));
            out += part;
            mine.read += part;
            if (mine.read < first.size()) break;
            mine.arrived.pop_front();
            mine.read = 0;
        }
        side& other = sides[1 - me];
        other.under_way -= out;
        if (out > 0) other.writable.notify();
        co_return out;
    }

    asio::awaitable<void> write(std::size_t me, byte_view bytes) {
        side& mine = sides[me];
        while (!bytes.empty()) {
            while (mine.under_way >= window && !stopped(mine)) co_await mine.writable.wait();
            const bool stays = mine.where == sides[1 - me].where;
            if (bytes.size() > small && !stays && !stopped(mine)) co_await place_on_line(me);
            check(mine);
            const std::size_t size = std::min({bytes.size(), largest_packet / 2, window - mine.under_way});
            send(me, bytes.first(size));
            bytes = bytes.subspan(size);
        }
        check(mine);
    }

    /// A line that is busy sends what is small first, and lets the large writers take turns.
    asio::awaitable<void> place_on_line(std::size_t me) {
        side& mine = sides[me];
        if (net_->has_place(*mine.where)) co_return;
        const auto has_turn = std::make_shared<bool>(false);
        net_->await_place(mine.where, [self = shared_from_this(), me, has_turn] {
            *has_turn = true;
            self->sides[me].writable.notify();
        });
        while (!*has_turn && !stopped(mine)) co_await mine.writable.wait();
    }

    /// Without memory for the word of it, the other finds the connection reset.
    void finish(std::size_t me) noexcept {
        side& mine = sides[me];
        if (mine.finished || stopped(mine)) return;
        mine.finished = true;
        try {
            send(me, {});
        } catch (const std::bad_alloc&) {
            fail(1 - me, asio::error::connection_reset);
        }
    }

    /// The owner of a side lets go. What it has not read makes this a reset for the other.
    void close(std::size_t me) noexcept {
        side& mine = sides[me];
        if (mine.closed) return;
        const bool unread = !mine.arrived.empty();
        if (!unread) finish(me);
        mine.closed = true;
        mine.readable.notify();
        mine.writable.notify();
        if (unread) break_later(1 - me);
    }

    /// The side fails now, as if its host had found out that the other is gone.
    void fail(std::size_t me, std::error_code why) {
        side& mine = sides[me];
        if (stopped(mine)) return;
        mine.broken = why;
        mine.readable.notify();
        mine.writable.notify();
    }

    std::array<side, 2> sides;

private:
    static bool stopped(const side& one) { return one.closed || bool(one.broken); }
    static void check(const side& mine) {
        if (mine.closed) raise(asio::error::operation_aborted);
        if (mine.broken) raise(mine.broken);
    }

    void send(std::size_t me, byte_view bytes) {
        side& mine = sides[me];
        line &from = *mine.where, &to = *sides[1 - me].where;
        mine.under_way += bytes.size();
        fabric::transit way = net_->carry(from, to, bytes.size());
        const time_point latest = way.arrives + give_up;
        bool lost = net_->is_lost(from, to);
        while (lost && way.arrives < latest) {
            way.arrives += resend + 2 * net_->latency(from, to);
            lost = net_->is_lost(from, to);
        }
        if (joins_last(mine, bytes, way.arrives)) {
            side::packet& last = mine.on_the_way.back();
            last.bytes.insert(last.bytes.end(), bytes.begin(), bytes.end());
            last.leaves = way.leaves;
            last.at = std::max(last.at, way.arrives);
            last.lost = last.lost || lost;
            return;
        }
        if (!mine.on_the_way.empty()) way.arrives = std::max(way.arrives, mine.on_the_way.back().at);
        mine.on_the_way.push_back({{bytes.begin(), bytes.end()}, way.leaves, way.arrives, way.arrives, lost});
        plan(me);
    }

    bool joins_last(const side& mine, byte_view bytes, time_point arrives) const {
        if (bytes.empty() || mine.on_the_way.empty()) return false;
        const side::packet& last = mine.on_the_way.back();
        const bool is_end = last.bytes.empty();
        return !is_end && last.leaves >= net_->time.now() && arrives - last.first_at <= most_apart &&
               last.bytes.size() + bytes.size() <= largest_packet;
    }

    void plan(std::size_t me) {
        side& mine = sides[me];
        if (mine.arriving || mine.on_the_way.empty()) return;
        net_->time.at(mine.on_the_way.front().at, [self = shared_from_this(), me] { self->arrive(me); });
        mine.arriving = true;
    }

    void arrive(std::size_t me) {
        side& mine = sides[me];
        side& other = sides[1 - me];
        mine.arriving = false;
        if (mine.on_the_way.front().at > net_->time.now()) return plan(me);  // more has joined it
        if (!fabric::reach(*mine.where, *other.where)) return wait_for_a_way(me);
        if (mine.on_the_way.front().lost) return break_off(me);
        mine.cut_since.reset();
        byte_vector bytes = std::move(mine.on_the_way.front().bytes);
        mine.on_the_way.pop_front();
        if (other.closed) {
            if (!bytes.empty()) break_later(me);  // nobody is there to take it
        } else if (bytes.empty()) {
            other.ended = true;
        } else {
            other.arrived.push_back(std::move(bytes));
        }
        other.readable.notify();
        plan(me);
    }

    void wait_for_a_way(std::size_t me) {
        side& mine = sides[me];
        const time_point now = net_->time.now();
        if (!mine.cut_since) mine.cut_since = now;
        if (now - *mine.cut_since >= give_up) return break_off(me);
        mine.on_the_way.front().at = now + resend;
        plan(me);
    }

    void break_off(std::size_t me) {
        sides[me].on_the_way.clear();
        fail(me, asio::error::timed_out);
    }

    void break_later(std::size_t me) noexcept {
        const duration way = net_->latency(*sides[0].where, *sides[1].where);
        try {
            net_->time.after(way, [self = shared_from_this(), me] { self->fail(me, asio::error::connection_reset); });
        } catch (const std::bad_alloc&) {
            fail(me, asio::error::connection_reset);
        }
    }

    std::shared_ptr<fabric> net_;
};

/// One end of a connection.
class end_of_connection final : public cohort::stream {
public:
    end_of_connection(std::shared_ptr<connection> whole, std::size_t me) : whole_(std::move(whole)), me_(me) {}
    ~end_of_connection() override { close(); }

    asio::awaitable<void> readable() override { return whole_->readable(me_); }
    asio::awaitable<std::size_t> read_some(byte_span into) override { return whole_->read_some(me_, into); }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        const std::shared_ptr<connection> whole = whole_;
        for (const byte_view part : buffers) co_await whole->write(me_, part);
    }
    void finish() noexcept override { whole_->finish(me_); }
    void close() noexcept override { whole_->close(me_); }
    endpoint remote_endpoint() const override { return whole_->sides[1 - me_].local; }
    endpoint local_endpoint() const override { return whole_->sides[me_].local; }

private:
    std::shared_ptr<connection> whole_;
    std::size_t me_;
};

}  // namespace cohort::sim
