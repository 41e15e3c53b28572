// Announce and scrape over UDP (BEP 15): the client's side, with its retries.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/protocol/udp_tracker.hpp>

namespace cohort {

struct udp_tracker_options {
    duration retry = 15s;  ///< the first wait for an answer; each further one is twice as long (BEP 15)
    int retries = 8;       ///< waits after the first; 8 of them last more than two hours in all
};

/// Talks to one tracker. Its connection id is kept for a minute, so that calls which follow each other take one round
/// trip. One call at a time.
class udp_tracker_client {
public:
    /// `addresses` are those of the tracker's host, not empty; each wait uses the next one of them.
    udp_tracker_client(network& net, std::vector<ip_address> addresses, std::uint16_t port,
                       udp_tracker_options options = {})
        : net_(net), addresses_(std::move(addresses)), port_(port), options_(options), buffer_(64 * 1024) {}

    /// Announces; `url_data` is the path and query of the tracker's URL (BEP 41). Fails with errc::tracker_refused and
    /// the tracker's words, errc::timed_out after the last retry, or errc::tracker_malformed after a wait in which
    /// nothing but nonsense came. Packets from other addresses or for other transactions are dropped.
    asio::awaitable<announce_response> announce(announce_request request, std::string url_data) {
        const query what{&request, url_data, {}};
        auto answer = co_await ask(what);
        co_return std::get<udp_tracker::announce_answer>(std::move(answer)).response;
    }

    /// The counts of up to scrape_hashes_max torrents, in the order of `hashes`. Fails as announce() does.
    asio::awaitable<std::vector<scrape_entry>> scrape(std::vector<info_hash> hashes) {
        const query what{nullptr, {}, hashes};
        auto answer = co_await ask(what);
        co_return std::get<udp_tracker::scrape_answer>(std::move(answer)).entries;
    }

private:
    static constexpr duration connection_lifetime = 60s;  // BEP 15

    /// What is asked: an announce, or where that is null a scrape.
    struct query {
        const announce_request* announce;
        std::string_view url_data;
        std::span<const info_hash> hashes;
    };

    asio::awaitable<udp_tracker::answer> ask(const query& what) {
        bool heard_nonsense = false;
        for (int attempt = 0; attempt <= options_.retries; ++attempt) {
            if (attempt > 0) use_next_address();
            const duration limit = options_.retry * (1 << std::min(attempt, 8));
            const bool id_is_old = connected();
            try {
                if (!connected()) co_await connect(limit, heard_nonsense);
                auto answer = co_await with_timeout(net_, limit, exchange(what, heard_nonsense));
                co_return answer;
            } catch (const std::system_error& error) {
                connection_id_.reset();
                if (error.code() == errc::tracker_refused && id_is_old) {
                    --attempt;  // a tracker that was started anew does not know the id: this was no attempt
                    continue;
                }
                // Without IPv6 on this machine another address of the tracker may do.
                const bool no_family = error.code() == std::errc::address_family_not_supported;
                if (error.code() != errc::timed_out && !no_family) throw;
                // Some trackers refuse with an empty answer. The right one had its time to come, too.
                if (heard_nonsense) break;
            }
        }
        raise(heard_nonsense ? errc::tracker_malformed : errc::timed_out, server().to_string());
    }

    endpoint server() const { return {addresses_[current_], port_}; }
    bool connected() const { return connection_id_ && net_.now() - connected_at_ < connection_lifetime; }

    void use_next_address() {
        const std::size_t before = current_;
        current_ = (current_ + 1) % addresses_.size();
        if (current_ == before) return;
        connection_id_.reset();
        socket_.reset();
    }

    asio::awaitable<void> connect(duration limit, bool& heard_nonsense) {
        if (!socket_) {
            const bool v6 = server().address.is_v6();
            socket_ = net_.bind_udp({v6 ? ip_address::v6({}) : ip_address(), 0});
        }
        const std::uint32_t transaction = new_transaction();
        const auto packet = udp_tracker::write_connect(transaction);
        auto answer = co_await with_timeout(net_, limit, send_and_receive(packet, transaction, heard_nonsense, 0));
        connection_id_ = std::get<udp_tracker::connect_answer>(answer).connection_id;
        connected_at_ = net_.now();
    }

    asio::awaitable<udp_tracker::answer> exchange(const query& what, bool& heard_nonsense) {
        const std::uint32_t transaction = new_transaction();
        const bool announce = what.announce != nullptr;
        const byte_vector packet =
            announce ? udp_tracker::write_announce(*connection_id_, transaction, *what.announce, what.url_data)
                     : udp_tracker::write_scrape(*connection_id_, transaction, what.hashes);
        const std::size_t wanted = announce ? 1 : 2;
        auto answer = co_await send_and_receive(packet, transaction, heard_nonsense, wanted);
        co_return answer;
    }

    /// `wanted` is the index of the answer's type in udp_tracker::answer. Anybody can send us datagrams: all but the
    /// right one are dropped, also broken ones, since the right one may still come.
    asio::awaitable<udp_tracker::answer> send_and_receive(byte_view packet, std::uint32_t transaction,
                                                          bool& heard_nonsense, std::size_t wanted) {
        co_await socket_->send(server(), packet);
        for (;;) {
            const auto got = co_await socket_->receive(buffer_);
            const byte_view received = byte_view(buffer_).first(got.size);
            if (got.from != server() || udp_tracker::transaction_of(received) != transaction) continue;
            std::error_code ec;
            auto answer = udp_tracker::parse_answer(received, server().address.is_v6(), ec);
            if (answer) {
                if (const auto* const error = std::get_if<udp_tracker::error_answer>(&*answer))
                    raise(errc::tracker_refused, error->reason);
                if (answer->index() == wanted) co_return std::move(*answer);
            }
            heard_nonsense = true;
        }
    }

    std::uint32_t new_transaction() { return static_cast<std::uint32_t>(net_.random()() >> 32); }

    network& net_;
    std::vector<ip_address> addresses_;
    std::uint16_t port_;
    udp_tracker_options options_;
    byte_vector buffer_;
    std::size_t current_ = 0;
    std::unique_ptr<datagram_socket> socket_;
    std::optional<std::uint64_t> connection_id_;
    time_point connected_at_;
};

}  // namespace cohort
