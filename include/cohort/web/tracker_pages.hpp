// What a tracker shows of itself: figures as JSON, and a page.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/net/http_message.hpp>
#include <cohort/policy/swarm_registry.hpp>
#include <cohort/protocol/json.hpp>

namespace cohort {

/// Served since the start.
struct tracker_counters {
    std::uint64_t http_announces = 0;
    std::uint64_t udp_announces = 0;
    std::uint64_t http_scrapes = 0;
    std::uint64_t udp_scrapes = 0;
    std::uint64_t refused = 0;

    std::uint64_t announces() const { return http_announces + udp_announces; }
    std::uint64_t scrapes() const { return http_scrapes + udp_scrapes; }
};

/// The figures of all swarms together, for the tracker to add its own to.
inline json_line tracker_statistics(const registry_totals& totals, const tracker_counters& counters) {
    json_line out;
    out.add("service", "tracker")
        .add("swarms", totals.torrents)
        .add("peers", totals.peers())
        .add("seeders", totals.complete)
        .add("leechers", totals.incomplete)
        .add("downloaded", totals.downloaded)
        .add("announces", counters.announces())
        .add("http_announces", counters.http_announces)
        .add("udp_announces", counters.udp_announces)
        .add("scrapes", counters.scrapes())
        .add("refused", counters.refused);
    return out;
}

inline json_array swarms_json(const std::vector<swarm_summary>& swarms) {
    json_array out;
    for (const swarm_summary& one : swarms) {
        out.push_back(to_json(json_object{{"info_hash", to_json(one.hash.hex())},
                                          {"complete", to_json(one.counts.complete)},
                                          {"incomplete", to_json(one.counts.incomplete)},
                                          {"downloaded", to_json(one.counts.downloaded)}}));
    }
    return out;
}

inline http_response tracker_page(const registry_totals& totals, const tracker_counters& counters,
                                  const std::string& http_url, const std::string& udp_url) {
    const auto row = [](std::string_view name, std::uint64_t value) {
        return "<tr><td>" + std::string(name) + "<td>" + std::to_string(value) + "\n";
    };
    std::string body =
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>cohort tracker</title>\n"
        "<style>body{font:16px/1.5 sans-serif;margin:3em auto;max-width:36em;padding:0 1em}"
        "td+td{text-align:right;padding-left:2em}</style>\n"
        "<h1>cohort tracker</h1>\n<p>A BitTorrent tracker. Announce at <code>" +
        http_url + "</code> or <code>" + udp_url + "</code>, or at this host's other names.\n<table>\n" +
        row("torrents", totals.torrents) + row("seeders", totals.complete) + row("leechers", totals.incomplete) +
        row("downloads", totals.downloaded) + row("announces", counters.announces()) +
        "</table>\n<p>As JSON: <a href=\"/stats\">/stats</a>. Who is here: <a href=\"/peers\">/peers</a>.\n";
    return make_http_response(200, "text/html; charset=utf-8", std::move(body));
}

}  // namespace cohort
