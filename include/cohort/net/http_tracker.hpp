// Announce and scrape over HTTP (BEP 3, 48): the client's side.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>

#include <cohort/net/http_client.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/announce_query.hpp>
#include <cohort/protocol/query.hpp>
#include <cohort/protocol/scrape.hpp>
#include <cohort/protocol/url.hpp>

namespace cohort {

namespace detail {

/// Fetches what a tracker says to a query. Trackers give their reasons with all kinds of statuses, so the body is what
/// counts; `parse` is parse_announce_response or parse_scrape_response.
template <class Answer>
asio::awaitable<Answer> ask_http_tracker(network& net, std::string address, http_client_options options,
                                         std::optional<Answer> (*parse)(byte_view, std::error_code&, std::string&)) {
    options.keep_status = true;
    const auto response = co_await http_get(net, std::move(address), std::move(options));
    std::error_code ec;
    std::string reason;
    std::optional<Answer> answer = parse(as_bytes(response.body), ec, reason);
    if (ec == errc::tracker_refused) raise(ec, reason);
    if (response.status != 200) raise(errc::http_status, std::to_string(response.status));
    if (!answer) raise(ec);
    co_return std::move(*answer);
}

}  // namespace detail

/// Announces at `tracker`, an http URL. Fails as http_get() does, with errc::tracker_refused and the tracker's words,
/// or with errc::tracker_malformed.
inline asio::awaitable<announce_response> http_announce(network& net, url tracker, const announce_request& request,
                                                        http_client_options options) {
    tracker.target = append_query(tracker.target, announce_query(request));
    return detail::ask_http_tracker(net, tracker.to_string(), std::move(options), &parse_announce_response);
}

/// Asks for the counts of up to scrape_hashes_max torrents. Fails as http_announce() does, and with
/// errc::url_unsupported for a tracker whose URL names no scrape (BEP 48).
inline asio::awaitable<scrape_response> http_scrape(network& net, url tracker, std::span<const info_hash> hashes,
                                                    http_client_options options) {
    const auto target = scrape_target(tracker.target);
    if (!target) raise(errc::url_unsupported, "the tracker has no scrape");
    tracker.target = append_query(*target, scrape_query(hashes));
    return detail::ask_http_tracker(net, tracker.to_string(), std::move(options), &parse_scrape_response);
}

}  // namespace cohort
