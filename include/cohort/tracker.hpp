// The tracker: it tells peers of a torrent about each other, over HTTP and UDP, IPv4 and IPv6 (BEP 3, 7, 15, 23, 48),
// and people who is called what and where they are (web/registry_routes.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/core/log.hpp>
#include <cohort/core/number.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/net/udp_tracker_server.hpp>
#include <cohort/policy/swarm_registry.hpp>
#include <cohort/protocol/announce_query.hpp>
#include <cohort/protocol/query.hpp>
#include <cohort/protocol/scrape.hpp>
#include <cohort/web/registry_routes.hpp>
#include <cohort/web/tracker_pages.hpp>

namespace cohort {

struct tracker_options {
    std::string host{};                       ///< an address to listen on; empty for all addresses of both families
    std::uint16_t port = 6969;                ///< HTTP; 0 takes a free one
    std::uint16_t udp_port = 6969;            ///< UDP; 0 takes a free one
    std::chrono::seconds interval = 1800s;    ///< told to peers: how often to announce
    std::chrono::seconds min_interval = 60s;  ///< told to peers: not more often than this (or interval, if shorter)
    /// Bounds of memory and answers. A peer is forgotten after twice the interval and a minute without an announce:
    /// peer_lifetime is set to that.
    registry_options registry{};
    /// Whether to believe the `ip` that a peer gives. Otherwise only those that ask from a loopback or private address
    /// are believed, because those addresses are of no use to others.
    bool trust_ip = false;
    /// Users by name, on the same port; `log` is put in if it has none.
    registry_routes_options users{};
    http_server_options http{.idle_timeout = 15s};
    log_sink log{};
};

/// Everything is in memory. After a crash (kill -9) and a restart at the same ports, peers come back with their next
/// announce, an interval later at most; who asks before that hears of those who are back already. Users come back with
/// their next heartbeat, which is told to register anew. What is lost: the counts of `downloaded`, and which names
/// belong to which keys until their owners are back.
class tracker : private udp_tracker_backend {
public:
    /// Opens all sockets, so that an address in use shows here. Throws the system's error with the address in its
    /// message, and errc::host_not_found for a host that is no address.
    tracker(network& net, tracker_options options);

    /// Serves until cancelled, and then throws asio::error::operation_aborted.
    asio::awaitable<void> run() {
        tasks_.spawn(http_.run());
        tasks_.spawn(udp_.run());
        tasks_.spawn(forget_silent_peers());
        tasks_.spawn(users_.run());
        co_await tasks_.join();
    }

    std::vector<endpoint> http_endpoints() const { return http_.local_endpoints(); }
    std::vector<endpoint> udp_endpoints() const { return udp_.local_endpoints(); }

    /// What to put into a torrent: "http://127.0.0.1:6969/announce". Where it listens on all addresses, the one of this
    /// machine alone.
    std::string http_url() const { return "http://" + reachable(http_endpoints().front()).to_string() + "/announce"; }
    std::string udp_url() const { return "udp://" + reachable(udp_endpoints().front()).to_string() + "/announce"; }

    const registry_totals& totals() const { return registry_.totals(); }
    const name_registry& users() const { return users_.names(); }

private:
    static tracker_options checked(tracker_options options);
    static std::vector<ip_address> addresses(const std::string& host);
    static connection_ids::secret new_secret(network& net);
    static endpoint reachable(endpoint at);
    http_server_options http_options() const;

    bool announce_over_udp(const announce_request& request, const endpoint& from, announce_response& out,
                           std::string& reason) override;
    scrape_entry scrape_over_udp(const info_hash& hash) override;

    bool note(const announce_request& request, const endpoint& from, announce_response& out, std::string& reason);
    scrape_entry counts_of(const info_hash& hash) const;
    asio::awaitable<void> forget_silent_peers();

    asio::awaitable<http_response> answer(http_request& request);
    http_response answer_announce(const http_request& request);
    http_response answer_scrape(const http_request& request);
    http_response refusal(const endpoint& from, const std::string& reason);
    http_response statistics(std::string_view query) const;

    network& net_;
    tracker_options options_;
    swarm_registry registry_;
    registry_routes users_;
    tracker_counters counters_;
    time_point started_;
    announce_response response_;  // kept for its memory
    wakeup populated_;
    http_server http_;
    udp_tracker_server udp_;
    task_group tasks_;
};

// ---- Machinery

inline tracker::tracker(network& net, tracker_options options)
    : net_(net),
      options_(checked(std::move(options))),
      registry_(options_.registry, load_be<std::uint64_t>(new_secret(net).data())),
      users_(net, options_.users),
      started_(net.now()),
      populated_(net.executor()),
      http_(
          net, listen_all(net, addresses(options_.host), options_.port),
          [this](http_request& request) { return answer(request); }, http_options()),
      udp_(net, bind_udp_all(net, addresses(options_.host), options_.udp_port), new_secret(net), *this),
      tasks_(net.executor()) {}

inline tracker_options tracker::checked(tracker_options options) {
    options.interval = std::clamp<std::chrono::seconds>(options.interval, 1s, announce_interval_max);
    options.min_interval = std::min(options.min_interval, options.interval);
    options.registry.peer_lifetime = 2 * options.interval + 60s;
    if (!options.users.log.write) options.users.log = options.log;
    return options;
}

inline std::vector<ip_address> tracker::addresses(const std::string& host) {
    if (host.empty()) return all_addresses();
    const auto address = ip_address::parse(host);
    if (!address) raise(errc::host_not_found, host + " is not an address");
    return {*address};
}

/// Not from the network's generator: its sequence could be told from the peers that answers name.
inline connection_ids::secret tracker::new_secret(network& net) {
    connection_ids::secret out;
    net.secret(out);
    return out;
}

inline endpoint tracker::reachable(endpoint at) {
    if (at.address.is_unspecified())
        at.address = at.address.is_v4() ? ip_address::loopback_v4() : *ip_address::parse("::1");
    return at;
}

inline http_server_options tracker::http_options() const {
    http_server_options out = options_.http;
    out.limits.body = registry_body_max;
    if (!out.on_handler_error) {
        out.on_handler_error = [log = options_.log](const http_request& request, const std::string& what) {
            log(log_level::error, request.from.to_string() + ": " + what);
        };
    }
    return out;
}

inline bool tracker::note(const announce_request& request, const endpoint& from, announce_response& out,
                          std::string& reason) {
    registry_announce news{request.id, {from.address, request.port}, request.left, request.event, request.numwant,
                           request.key};
    // What others on the Internet cannot dial.
    const bool local = from.address.is_loopback() || from.address.is_private() || from.address.is_link_local();
    const bool believed = options_.trust_ip || local;
    if (believed && request.ip && !request.ip->is_unspecified() && !request.ip->is_multicast())
        news.address.address = *request.ip;
    if (request.port == 0) {
        reason = "invalid port";
        return false;
    }
    const bool was_empty = registry_.totals().torrents == 0;
    const auto counts = registry_.announce(request.hash, news, net_.now(), net_.random(), out.peers);
    if (!counts) {
        reason = "too many torrents";
        options_.log(log_level::warn, "no room for another torrent: " + request.hash.hex());
        return false;
    }
    if (was_empty) populated_.notify();
    out.interval = options_.interval;
    out.min_interval = options_.min_interval;
    out.complete = counts->complete;
    out.incomplete = counts->incomplete;
    out.downloaded = counts->downloaded;
    if (options_.log.enabled(log_level::debug)) {
        constexpr std::string_view events[] = {"announce", "completed", "started", "stopped"};
        options_.log(log_level::debug, std::string(events[static_cast<std::size_t>(request.event)]) + " " +
                                           request.hash.hex() + " " + news.address.to_string() + " left " +
                                           std::to_string(request.left) + ", told " + std::to_string(out.peers.size()) +
                                           " peers");
    }
    return true;
}

inline bool tracker::announce_over_udp(const announce_request& request, const endpoint& from, announce_response& out,
                                       std::string& reason) {
    ++counters_.udp_announces;
    if (note(request, from, out, reason)) return true;
    ++counters_.refused;
    return false;
}

inline scrape_entry tracker::counts_of(const info_hash& hash) const {
    const swarm_counts counts = registry_.scrape(hash);
    return {counts.complete, counts.downloaded, counts.incomplete};
}

inline scrape_entry tracker::scrape_over_udp(const info_hash& hash) {
    ++counters_.udp_scrapes;
    return counts_of(hash);
}

/// All of the registry is looked at within a minute, in steps so small that no announce waits for long.
inline asio::awaitable<void> tracker::forget_silent_peers() {
    constexpr std::size_t step = 1000;
    for (;;) {
        while (registry_.totals().torrents == 0) co_await populated_.wait();
        const registry_totals& totals = registry_.totals();
        const std::size_t steps_a_second = 1 + (totals.torrents + totals.peers()) / (60 * step);
        co_await net_.sleep_for(duration(1s) / steps_a_second);
        const std::size_t gone = registry_.expire(net_.now(), step);
        if (gone > 0) options_.log(log_level::debug, "forgot " + std::to_string(gone) + " silent peers");
    }
}

inline asio::awaitable<http_response> tracker::answer(http_request& request) {
    const std::string_view path = request.path();
    if (users_.owns(path)) co_return users_.answer(request);
    if (request.method != "GET" && request.method != "HEAD") {
        auto refused = make_http_response(405, "text/plain", "only GET and HEAD\n");
        refused.headers.add("Allow", "GET, HEAD");
        co_return refused;
    }
    if (path == "/announce") co_return answer_announce(request);
    if (path == "/scrape") co_return answer_scrape(request);
    if (path == "/stats") co_return statistics(request.query());
    if (path == "/") co_return tracker_page(registry_.totals(), counters_, http_url(), udp_url());
    co_return make_http_response(404, "text/plain", "not found\n");
}

inline http_response tracker::refusal(const endpoint& from, const std::string& reason) {
    ++counters_.refused;
    if (options_.log.enabled(log_level::info)) options_.log(log_level::info, from.to_string() + ": " + reason);
    // Clients show the reason of a 200 alone.
    return make_http_response(200, "text/plain", write_failure(reason));
}

inline http_response tracker::answer_announce(const http_request& request) {
    ++counters_.http_announces;
    std::string reason;
    const auto asked = parse_announce_query(request.query(), reason);
    if (!asked) return refusal(request.from, reason);
    response_.peers.clear();
    if (!note(*asked, request.from, response_, reason)) return refusal(request.from, reason);
    response_.external_ip = request.from.address;
    return make_http_response(200, "text/plain", write_announce_response(response_, asked->compact));
}

inline http_response tracker::answer_scrape(const http_request& request) {
    ++counters_.http_scrapes;
    std::string reason;
    const auto hashes = parse_scrape_query(request.query(), reason);
    if (!hashes) return refusal(request.from, reason);
    // All torrents at once would be as large as the tracker.
    if (hashes->empty()) return refusal(request.from, "missing info_hash");
    scrape_response out;
    for (const info_hash& hash : *hashes) out.files.emplace_back(hash, counts_of(hash));
    return make_http_response(200, "text/plain", write_scrape_response(std::move(out)));
}

inline http_response tracker::statistics(std::string_view query) const {
    std::size_t limit = 100;
    std::size_t offset = 0;
    while (const auto parameter = take_parameter(query)) {
        if (parameter->name == "limit") parse_number(parameter->value, limit);
        if (parameter->name == "offset") parse_number(parameter->value, offset);
    }
    constexpr std::size_t torrents_max = 1000;
    json_line line = tracker_statistics(registry_.totals(), counters_);
    line.add("uptime_s", std::chrono::floor<std::chrono::seconds>(net_.now() - started_).count())
        .add("connections", http_.connections())
        .add("interval_s", options_.interval.count())
        .add("torrents", swarms_json(registry_.list(offset, std::min(limit, torrents_max))));
    return json_answer(200, line);
}

}  // namespace cohort
