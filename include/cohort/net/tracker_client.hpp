// Asking a tracker by its URL, over HTTP or UDP.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/http_tracker.hpp>
#include <cohort/net/udp_tracker_client.hpp>

namespace cohort {

struct tracker_client_options {
    /// The family to ask over, which is the one the tracker then knows us by. A host without such an address fails with
    /// errc::host_not_found.
    address_family family = address_family::any;
    http_client_options http{};  ///< its family is ignored
    udp_tracker_options udp{};
};

namespace detail {

inline url parse_tracker_url(const std::string& text) {
    std::error_code ec;
    auto out = parse_url(text, ec);
    if (!out) raise(ec, "tracker URL");
    if (out->scheme != "http" && out->scheme != "udp") raise(errc::url_unsupported, out->scheme);
    return std::move(*out);
}

/// BEP 41: the path and query, unless they say nothing.
inline std::string udp_url_data(const url& tracker) { return tracker.target == "/" ? "" : tracker.target; }

}  // namespace detail

/// Tells the tracker at `address` (http://... or udp://...) about us and completes with its answer: other peers, and
/// when to announce again.
/// Fails with errc::tracker_refused and the tracker's words in the message, tracker_malformed, timed_out,
/// host_not_found, url_invalid or url_unsupported, with what http_get() throws, or with the system's error.
/// Cancelling throws asio::error::operation_aborted; the tracker may have heard the announce or not.
inline asio::awaitable<announce_response> announce(network& net, std::string address, announce_request request,
                                                   tracker_client_options options) {
    const url tracker = detail::parse_tracker_url(address);
    if (tracker.scheme == "http") {
        options.http.family = options.family;
        auto response = co_await http_announce(net, tracker, request, options.http);
        co_return response;
    }
    auto addresses = co_await resolve_host(net, tracker.host, options.family);
    udp_tracker_client client(net, std::move(addresses), tracker.port, options.udp);
    const std::string url_data = detail::udp_url_data(tracker);
    auto response = co_await client.announce(request, url_data);
    co_return response;
}

inline asio::awaitable<announce_response> announce(network& net, std::string address, announce_request request) {
    return announce(net, std::move(address), std::move(request), tracker_client_options{});
}

/// Completes with the counts of the torrents: over UDP one for each of `hashes`, over HTTP one for each that the
/// tracker knows. More than scrape_hashes_max are asked for in several goes. Fails as announce() does, and with
/// errc::url_unsupported if the URL names no scrape (BEP 48).
inline asio::awaitable<scrape_response> scrape(network& net, std::string address, std::vector<info_hash> hashes,
                                               tracker_client_options options) {
    const url tracker = detail::parse_tracker_url(address);
    options.http.family = options.family;
    scrape_response all;
    std::span<const info_hash> rest = hashes;
    if (tracker.scheme == "http") {
        while (!rest.empty()) {
            const auto part = rest.first(std::min(rest.size(), scrape_hashes_max));
            auto response = co_await http_scrape(net, tracker, part, options.http);
            all.files.insert(all.files.end(), response.files.begin(), response.files.end());
            all.min_request_interval = std::max(all.min_request_interval, response.min_request_interval);
            rest = rest.subspan(part.size());
        }
        co_return all;
    }
    auto addresses = co_await resolve_host(net, tracker.host, options.family);
    udp_tracker_client client(net, std::move(addresses), tracker.port, options.udp);
    while (!rest.empty()) {
        const auto part = rest.first(std::min(rest.size(), scrape_hashes_max));
        const std::vector<info_hash> asked(part.begin(), part.end());
        const auto entries = co_await client.scrape(asked);
        for (std::size_t i = 0; i < std::min(entries.size(), part.size()); ++i)
            all.files.emplace_back(part[i], entries[i]);
        rest = rest.subspan(part.size());
    }
    co_return all;
}

inline asio::awaitable<scrape_response> scrape(network& net, std::string address, std::vector<info_hash> hashes) {
    return scrape(net, std::move(address), std::move(hashes), tracker_client_options{});
}

}  // namespace cohort
