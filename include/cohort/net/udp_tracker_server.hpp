// The tracker's side of UDP (BEP 15, 41): who may ask, and how an answer looks. What it says is its owner's business.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/hash.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/protocol/udp_tracker.hpp>

namespace cohort {

/// Connection ids that need no memory: a keyed hash of the asker's address and the minute. Whoever can show one has
/// received a packet at that address within the last two minutes, so nobody announces, or is answered at length, in
/// another's name.
class connection_ids {
public:
    using secret = std::array<std::uint8_t, 32>;

    explicit connection_ids(const secret& key) : key_(key) {}

    std::uint64_t make(const ip_address& for_address, time_point now) { return id_of(for_address, minute(now)); }

    bool valid(std::uint64_t id, const ip_address& from, time_point now) {
        const std::uint64_t current = minute(now);
        return id == id_of(from, current) || id == id_of(from, current - 1);
    }

private:
    static std::uint64_t minute(time_point now) {
        return static_cast<std::uint64_t>(std::chrono::floor<std::chrono::minutes>(now.time_since_epoch()).count());
    }

    std::uint64_t id_of(const ip_address& address, std::uint64_t minute) {
        std::array<std::uint8_t, 8> time;
        store_be(time.data(), minute);
        hash_.update(key_);
        hash_.update(address.mapped());
        hash_.update(time);
        return load_be<std::uint64_t>(hash_.finish().bytes.data());
    }

    secret key_;
    sha256 hash_;
};

/// What a UDP tracker asks its owner.
class udp_tracker_backend {
public:
    virtual ~udp_tracker_backend() = default;

    /// Notes the announce of `from` and fills `out`, which is empty, with interval, counts and peers. False refuses,
    /// with a sentence in `reason`.
    virtual bool announce_over_udp(const announce_request& request, const endpoint& from, announce_response& out,
                                   std::string& reason) = 0;
    virtual scrape_entry scrape_over_udp(const info_hash& hash) = 0;
};

class udp_tracker_server {
public:
    udp_tracker_server(network& net, std::vector<std::unique_ptr<datagram_socket>> sockets,
                       const connection_ids::secret& secret, udp_tracker_backend& backend)
        : net_(net), sockets_(std::move(sockets)), ids_(secret), backend_(backend), tasks_(net.executor()) {}

    std::vector<endpoint> local_endpoints() const {
        std::vector<endpoint> out;
        for (const auto& one : sockets_) out.push_back(one->local_endpoint());
        return out;
    }

    /// Answers until cancelled, and then throws asio::error::operation_aborted.
    asio::awaitable<void> run() {
        for (const auto& one : sockets_) tasks_.spawn(serve(*one));
        co_await tasks_.join();
    }

private:
    /// Longer requests than this have no meaning: 74 hashes, or an announce with the longest URL that anybody uses.
    static constexpr std::size_t packet_max = 2048;
    static constexpr std::size_t most_at_once = 64;

    asio::awaitable<void> serve(datagram_socket& socket) {
        datagram_batch packets(most_at_once, packet_max);
        datagram_batch answers(most_at_once, udp_tracker::answer_size_max);
        for (;;) {
            packets.clear();
            co_await socket.receive_many(packets);
            answers.clear();
            for (std::size_t i = 0; i < packets.size(); ++i) {
                const endpoint& from = packets.address(i);
                const std::size_t size = respond(packets.bytes(i), from, answers.room());
                if (size > 0) answers.add(from, size);
            }
            co_await socket.send_many(answers);
            // Neither of these waits in a flood, and others have work too.
            co_await asio::post(net_.executor(), asio::use_awaitable);
        }
    }

    /// Writes the answer and returns its size; 0 for packets that get none.
    std::size_t respond(byte_view packet, const endpoint& from, byte_span out) {
        std::error_code ec;
        const auto request = udp_tracker::parse_request(packet, ec);
        if (!request || from.port == 0) return 0;
        const time_point now = net_.now();
        if (const auto* const connect = std::get_if<udp_tracker::connect_request>(&*request)) {
            // As long as the shortest request: nothing to gain for those who forge addresses.
            const auto answer = udp_tracker::write_connect_answer(connect->transaction, ids_.make(from.address, now));
            std::copy(answer.begin(), answer.end(), out.begin());
            return answer.size();
        }
        if (const auto* const announce = std::get_if<udp_tracker::announce_request>(&*request)) {
            if (!ids_.valid(announce->connection_id, from.address, now))
                return udp_tracker::write_error_answer(out, announce->transaction, stale_id);
            return respond_announce(*announce, from, out);
        }
        const auto& scrape = std::get<udp_tracker::scrape_request>(*request);
        if (!ids_.valid(scrape.connection_id, from.address, now))
            return udp_tracker::write_error_answer(out, scrape.transaction, stale_id);
        return respond_scrape(scrape, out);
    }

    std::size_t respond_announce(const udp_tracker::announce_request& request, const endpoint& from, byte_span out) {
        response_.peers.clear();
        reason_.clear();
        if (!backend_.announce_over_udp(request.announce, from, response_, reason_))
            return udp_tracker::write_error_answer(out, request.transaction, reason_);
        return udp_tracker::write_announce_answer(out, request.transaction, response_.interval,
                                                  response_.incomplete.value_or(0), response_.complete.value_or(0),
                                                  response_.peers, from.address.is_v6());
    }

    std::size_t respond_scrape(const udp_tracker::scrape_request& request, byte_span out) {
        std::array<scrape_entry, scrape_hashes_max> entries;
        for (std::size_t i = 0; i < request.size(); ++i) entries[i] = backend_.scrape_over_udp(request[i]);
        return udp_tracker::write_scrape_answer(out, request.transaction, std::span(entries).first(request.size()));
    }

    static constexpr std::string_view stale_id = "connection id is not valid";
    static_assert(8 + stale_id.size() <= udp_tracker::connect_size + info_hash::size,
                  "a forged request must not be answered with more than it sent");

    network& net_;
    std::vector<std::unique_ptr<datagram_socket>> sockets_;
    connection_ids ids_;
    udp_tracker_backend& backend_;
    task_group tasks_;
    announce_response response_;  // kept for its memory
    std::string reason_;
};

}  // namespace cohort
