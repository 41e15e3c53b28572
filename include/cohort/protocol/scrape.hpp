// Asking a tracker for counts without announcing (BEP 48), over HTTP.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/bencode.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/query.hpp>

namespace cohort {

/// The counts of one torrent.
struct scrape_entry {
    std::uint32_t complete = 0;    ///< seeders
    std::uint32_t downloaded = 0;  ///< completions
    std::uint32_t incomplete = 0;  ///< leechers

    bool operator==(const scrape_entry&) const = default;
};

struct scrape_response {
    /// Over HTTP in the order of the answer, only those that the tracker knows.
    std::vector<std::pair<info_hash, scrape_entry>> files{};
    std::chrono::seconds min_request_interval{0};  ///< 0 if the tracker did not say

    bool operator==(const scrape_response&) const = default;
};

/// How many torrents one scrape may name: what a UDP packet holds (BEP 15).
inline constexpr std::size_t scrape_hashes_max = 74;

/// The target of the scrape that belongs to an announce target: the last part of the path begins with "announce", which
/// becomes "scrape". Nothing if it begins otherwise: such a tracker has no scrape.
inline std::optional<std::string> scrape_target(std::string_view announce_target) {
    constexpr std::string_view word = "announce";
    const std::size_t slash = announce_target.substr(0, announce_target.find('?')).rfind('/');
    if (slash == std::string_view::npos || !announce_target.substr(slash + 1).starts_with(word)) return std::nullopt;
    std::string out(announce_target);
    out.replace(slash + 1, word.size(), "scrape");
    return out;
}

/// "info_hash=...&info_hash=...", to be put behind the target with append_query().
inline std::string scrape_query(std::span<const info_hash> hashes) {
    std::string out;
    for (const info_hash& hash : hashes) {
        if (!out.empty()) out += '&';
        out += "info_hash=" + percent_encode(as_text(hash.view()));
    }
    return out;
}

/// Reads what stands behind '?' in a scrape: the hashes asked for, none for "all". Nothing, with a sentence for the
/// client in `reason`, for a wrong hash or more than scrape_hashes_max.
inline std::optional<std::vector<info_hash>> parse_scrape_query(std::string_view query, std::string& reason) {
    std::vector<info_hash> out;
    while (const auto parameter = take_parameter(query)) {
        if (parameter->name != "info_hash") continue;
        info_hash hash;
        if (out.size() == scrape_hashes_max) {
            reason = "more than " + std::to_string(scrape_hashes_max) + " info_hash";
            return std::nullopt;
        }
        if (!percent_decode(parameter->value, hash.span())) {
            reason = "invalid info_hash";
            return std::nullopt;
        }
        out.push_back(hash);
    }
    return out;
}

/// Reads the body of an HTTP answer to a scrape; entries beyond scrape_hashes_max are ignored. Fails with
/// errc::tracker_refused and the tracker's words in `failure_reason`, or with errc::tracker_malformed.
inline std::optional<scrape_response> parse_scrape_response(byte_view body, std::error_code& ec,
                                                            std::string& failure_reason) {
    const auto document = detail::parse_tracker_answer(body, ec, failure_reason);
    if (!document) return std::nullopt;
    const bencode::node files = document->root()["files"];
    if (!files.is_dict()) {
        ec = errc::tracker_malformed;
        return std::nullopt;
    }
    scrape_response out;
    out.min_request_interval = detail::tracker_interval(document->root()["flags"]["min_request_interval"]);
    for (const auto [key, value] : files.entries()) {
        if (out.files.size() == scrape_hashes_max) break;
        const auto hash = info_hash::from(as_bytes(key));
        if (!hash || !value.is_dict()) {
            ec = errc::tracker_malformed;
            return std::nullopt;
        }
        out.files.emplace_back(*hash, scrape_entry{detail::tracker_count(value["complete"]).value_or(0),
                                                   detail::tracker_count(value["downloaded"]).value_or(0),
                                                   detail::tracker_count(value["incomplete"]).value_or(0)});
    }
    return out;
}

/// The body of an HTTP answer. A hash that occurs twice is written once.
inline std::string write_scrape_response(scrape_response response) {
    auto& files = response.files;
    const auto by_hash = [](const auto& a, const auto& b) { return a.first < b.first; };
    const auto same_hash = [](const auto& a, const auto& b) { return a.first == b.first; };
    std::stable_sort(files.begin(), files.end(), by_hash);
    files.erase(std::unique(files.begin(), files.end(), same_hash), files.end());
    bencode::writer out;
    out.begin_dict().key("files").begin_dict();
    for (const auto& [hash, entry] : files) {
        out.key(as_text(hash.view())).begin_dict();
        out.key("complete").integer(entry.complete);
        out.key("downloaded").integer(entry.downloaded);
        out.key("incomplete").integer(entry.incomplete).end();
    }
    out.end();
    if (response.min_request_interval.count() > 0) {
        out.key("flags").begin_dict();
        out.key("min_request_interval").integer(response.min_request_interval.count()).end();
    }
    out.end();
    return out.take();
}

}  // namespace cohort
