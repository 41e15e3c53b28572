// What a simulated swarm did, as figures for a terminal and as a page that stands alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim_play.hpp"
#include "svg_plot.hpp"

namespace cohort::examples {

inline std::string_view name_of(piece_order order) {
    switch (order) {
    case piece_order::rarest_first: return "rarest-first";
    case piece_order::random: return "random";
    case piece_order::sequential: return "sequential";
    }
    return "";
}
inline std::string_view name_of(choking choke) { return choke == choking::tit_for_tat ? "tit-for-tat" : "everybody"; }
inline std::string name_of(const play& one) {
    return std::string(name_of(one.options.order)) + ", " + std::string(name_of(one.options.choke));
}

/// The figures that one compares swarms by.
struct play_summary {
    std::size_t complete = 0, leechers = 0;
    double median = 0, last = 0;      ///< seconds from coming to completion
    double rider_median = 0;          ///< the same of those who gave nothing; 0 if there are none
    double seeder_copies = 0;         ///< how often the seeders gave each byte
    double from_peers = 0;            ///< part of all bytes that came from leechers
    std::uint32_t fewest_copies = 0;  ///< of any piece, at the end
};

inline double median_of(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

inline play_summary summary_of(const play& one) {
    play_summary out;
    std::vector<double> times, rider_times;
    std::uint64_t from_seeders = 0, all = 0;
    for (const peer_story& peer : one.peers) {
        all += peer.given;
        if (peer.plays == peer_story::part::seeder) {
            from_seeders += peer.given;
            continue;
        }
        ++out.leechers;
        if (!peer.completed) continue;
        ++out.complete;
        const double took = *peer.completed - peer.joined;
        (peer.plays == peer_story::part::free_rider ? rider_times : times).push_back(took);
        out.last = std::max(out.last, took);
    }
    out.median = median_of(times);
    out.rider_median = median_of(rider_times);
    const double size = static_cast<double>(one.options.pieces) * one.options.piece_length;
    out.seeder_copies = static_cast<double>(from_seeders) / size;
    out.from_peers = all == 0 ? 0 : 1 - static_cast<double>(from_seeders) / static_cast<double>(all);
    if (!one.moments.empty()) {
        const auto& copies = one.moments.back().copies;
        out.fewest_copies = *std::min_element(copies.begin(), copies.end());
    }
    return out;
}

namespace detail {

inline std::string fixed(double value, int digits) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.*f", digits, value);
    return text.data();
}

inline std::string completion_chart(const std::vector<play>& plays) {
    double longest = 0;
    for (const play& one : plays) longest = std::max(longest, one.lasted);
    svg_plot plot("How many are complete", longest, 100, "seconds", "% of the leechers");
    for (std::size_t i = 0; i < plays.size(); ++i) {
        std::vector<double> times;
        double leechers = 0;
        for (const peer_story& peer : plays[i].peers) {
            if (peer.plays != peer_story::part::seeder) ++leechers;
            if (peer.completed) times.push_back(*peer.completed);
        }
        std::sort(times.begin(), times.end());
        svg_plot::points line{{0, 0}};
        for (std::size_t n = 0; n < times.size(); ++n) {
            line.emplace_back(times[n], line.back().second);
            line.emplace_back(times[n], 100 * static_cast<double>(n + 1) / leechers);
        }
        line.emplace_back(longest, line.back().second);
        plot.line(line, i, name_of(plays[i]));
    }
    return plot.take();
}

inline std::string progress_chart(const play& one) {
    svg_plot plot("How far they are", one.lasted, 100, "seconds", "% of the pieces");
    constexpr std::array<std::pair<double, std::string_view>, 5> parts{
        {{0, "slowest"}, {0.1, "10 %"}, {0.5, "median"}, {0.9, "90 %"}, {1, "fastest"}}};
    for (std::size_t i = 0; i < parts.size(); ++i) {
        svg_plot::points line;
        for (const moment& now : one.moments) {
            if (now.progress.empty()) continue;
            const auto which = static_cast<std::size_t>(parts[i].first * static_cast<double>(now.progress.size() - 1));
            line.emplace_back(now.at, 100.0 * now.progress[which] / one.options.pieces);
        }
        plot.line(line, i, parts[i].second);
    }
    return plot.take();
}

inline std::string copies_chart(const play& one) {
    const auto everybody = static_cast<double>(one.peers.size());
    svg_plot plot("Copies of a piece in the swarm", one.lasted, everybody, "seconds", "copies");
    std::array<svg_plot::points, 3> lines;
    for (const moment& now : one.moments) {
        const auto [fewest, most] = std::minmax_element(now.copies.begin(), now.copies.end());
        const double sum = std::accumulate(now.copies.begin(), now.copies.end(), 0.0);
        lines[0].emplace_back(now.at, *fewest);
        lines[1].emplace_back(now.at, sum / static_cast<double>(now.copies.size()));
        lines[2].emplace_back(now.at, *most);
    }
    plot.line(lines[0], 0, "rarest piece");
    plot.line(lines[1], 1, "mean");
    plot.line(lines[2], 2, "most common");
    return plot.take();
}

/// Pieces from bottom to top, time from left to right: the stronger, the more copies.
inline std::string availability_map(const play& one) {
    const std::size_t rows = std::min<std::size_t>(one.options.pieces, 100);
    svg_plot plot("Where the copies are", one.lasted, one.options.pieces, "seconds", "pieces; stronger: more copies");
    const std::size_t step = one.moments.size() / 120 + 1;
    for (std::size_t i = 0; i < one.moments.size(); i += step) {
        const double from = one.moments[i].at;
        const double to = i + step < one.moments.size() ? one.moments[i + step].at : one.lasted;
        for (std::size_t row = 0; row < rows; ++row) {
            const std::size_t first = row * one.options.pieces / rows, end = (row + 1) * one.options.pieces / rows;
            const auto& copies = one.moments[i].copies;
            const auto at = copies.begin() + static_cast<std::ptrdiff_t>(first);
            const double mean = std::accumulate(at, at + static_cast<std::ptrdiff_t>(end - first), 0.0) /
                                static_cast<double>(end - first);
            const double shade = mean / static_cast<double>(one.peers.size());
            plot.field(from, static_cast<double>(first), to, static_cast<double>(end), 1, shade);
        }
    }
    return plot.take();
}

/// Bytes from each to each, in groups of peers where they are many. The first are the seeders.
inline std::string feeding_map(const play& one) {
    const std::size_t groups = std::min<std::size_t>(one.peers.size(), 50);
    std::vector<double> sums(groups * groups);
    for (const auto& [pair, bytes] : one.fed)
        sums[pair.first * groups / one.peers.size() * groups + pair.second * groups / one.peers.size()] +=
            static_cast<double>(bytes);
    const double most = *std::max_element(sums.begin(), sums.end());
    const auto all = static_cast<double>(one.peers.size());
    svg_plot plot("Who fed whom", all, all, "who took (peers in order; the first are seeders)", "who gave");
    const double width = all / static_cast<double>(groups);
    for (std::size_t from = 0; from < groups; ++from)
        for (std::size_t to = 0; to < groups; ++to) {
            const double x = width * static_cast<double>(to), y = width * static_cast<double>(from);
            plot.field(x, y, x + width, y + width, 0, most == 0 ? 0 : std::sqrt(sums[from * groups + to] / most));
        }
    return plot.take();
}

/// Each row is a peer that the first leecher was linked with; colours tell who gave to whom.
inline std::string rounds_chart(const play& one) {
    std::vector<std::size_t> rows;
    for (const choke_round& round : one.rounds)
        for (const auto& [who, how] : round.with)
            if ((how.first || how.second) && std::find(rows.begin(), rows.end(), who) == rows.end())
                rows.push_back(who);
    const double until = one.rounds.empty() ? 10 : one.rounds.back().at + 10;
    svg_plot plot("One leecher's choking rounds", until, static_cast<double>(std::max<std::size_t>(rows.size(), 1)),
                  "seconds", "peers, as they came");
    for (const choke_round& round : one.rounds) {
        for (const auto& [who, how] : round.with) {
            if (!how.first && !how.second) continue;
            const auto row = static_cast<double>(std::find(rows.begin(), rows.end(), who) - rows.begin());
            const std::size_t colour = how.first && how.second ? 2 : how.first ? 0 : 1;
            plot.field(round.at - 10, row, round.at, row + 1, colour, 0.9);
        }
    }
    plot.legend(0, "unchoked by it");
    plot.legend(1, "unchokes it");
    plot.legend(2, "both");
    return plot.take();
}

inline std::string fairness_chart(const play& one) {
    std::array<svg_plot::points, 3> kinds;
    double most_given = 1, longest = 1;
    const double size = static_cast<double>(one.options.pieces) * one.options.piece_length;
    for (const peer_story& peer : one.peers) {
        if (!peer.completed) continue;
        const double took = *peer.completed - peer.joined, given = static_cast<double>(peer.given) / size;
        kinds[peer.plays == peer_story::part::free_rider ? 1 : 0].emplace_back(given, took);
        most_given = std::max(most_given, given);
        longest = std::max(longest, took);
    }
    svg_plot plot("What giving brings", most_given * 1.05, longest * 1.05, "copies given", "seconds until complete");
    plot.dots(kinds[0], 0, "leechers");
    if (!kinds[1].empty()) plot.dots(kinds[1], 3, "give nothing");
    return plot.take();
}

inline std::string summary_table(const std::vector<play>& plays) {
    std::string out =
        "<table><tr><th>swarm</th><th>complete</th><th>median, s</th><th>slowest, s</th>"
        "<th>giving nothing: median, s</th><th>copies from seeders</th><th>from leechers</th></tr>";
    for (const play& one : plays) {
        const play_summary of = summary_of(one);
        out += "<tr><td>" + name_of(one) + "</td><td>" + std::to_string(of.complete) + " of " +
               std::to_string(of.leechers) + "</td><td>" + fixed(of.median, 1) + "</td><td>" + fixed(of.last, 1) +
               "</td><td>" + (of.rider_median > 0 ? fixed(of.rider_median, 1) : "") + "</td><td>" +
               fixed(of.seeder_copies, 2) + "</td><td>" + fixed(100 * of.from_peers, 1) + " %</td></tr>";
    }
    return out + "</table>\n";
}

inline constexpr std::string_view page_style = R"(
:root { color-scheme: light dark; --back: #fff; --text: #1a1a1a; --soft: #ddd; --c0: #1f6fb2; --c1: #c8571b;
  --c2: #2d8a4e; --c3: #8a3fa0; --c4: #b08a00; --c5: #555; }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --text: #e6e6e6; --soft: #3a3d44; --c0: #5aa9e6;
  --c1: #f08a4b; --c2: #5cc07e; --c3: #c58be0; --c4: #e0c04a; --c5: #aaa; } }
body { font: 15px/1.5 system-ui, sans-serif; background: var(--back); color: var(--text); max-width: 1340px;
  margin: 0 auto; padding: 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 1rem; }
figure { margin: 0; } .wide { max-width: 900px; } .legend { min-height: 1.5em; }
.legend span { margin-right: 1rem; white-space: nowrap; }
.legend b { display: inline-block; width: .8em; height: .8em; margin-right: .3em; background: var(--c); }
 figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--text); } .grid { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; } .c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
.line { stroke: var(--c); } .dot, .field { fill: var(--c); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr + tr td { border-top: 1px solid var(--soft); }
)";

}  // namespace detail

/// A page of its own: no script, nothing from elsewhere.
inline std::string report_page(const std::vector<play>& plays) {
    const play_options& first = plays.front().options;
    std::string out =
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>A simulated swarm</title><style>";
    out += detail::page_style;
    out += "</style></head><body><h1>" + std::to_string(first.peers) + " leechers, " + std::to_string(first.seeders) +
           (first.seeders == 1 ? " seeder, " : " seeders, ") + std::to_string(first.pieces) +
           " pieces</h1><p>Pieces of " + short_number(first.piece_length) + " bytes; lines of " +
           short_number(static_cast<double>(first.up)) + " bytes/s up and " +
           short_number(static_cast<double>(first.down)) + " down, " + detail::fixed(2 * first.latency_ms, 0) +
           " ms from peer to peer, " + detail::fixed(100 * first.loss, 1) + " % lost; at most " +
           std::to_string(first.connections) + " links a peer; seed " + std::to_string(first.seed) +
           ".</p><div class='scroll'>" + detail::summary_table(plays) + "</div>";
    out += "<div class='wide'>" + detail::completion_chart(plays) + "</div>";
    for (const play& one : plays) {
        out += "<h2>" + html_text(name_of(one)) + "</h2><div class='charts'>";
        out += detail::progress_chart(one) + detail::copies_chart(one) + detail::availability_map(one);
        out += detail::feeding_map(one) + detail::rounds_chart(one) + detail::fairness_chart(one);
        out += "</div>";
    }
    return out + "</body></html>\n";
}

}  // namespace cohort::examples
