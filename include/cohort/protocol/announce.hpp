// What a client tells a tracker and what the tracker answers: the values, and the HTTP answer's bencode (BEP 3, 7, 23,
// 24, 31). The request's query is in announce_query.hpp, UDP in udp_tracker.hpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/protocol/bencode.hpp>
#include <cohort/protocol/compact_peers.hpp>
#include <cohort/protocol/plain_text.hpp>

namespace cohort {

/// Why the client announces. The numbers are those of BEP 15.
enum class announce_event : std::uint8_t { none = 0, completed = 1, started = 2, stopped = 3 };

struct announce_request {
    info_hash hash{};
    peer_id id{};
    std::uint16_t port = 0;  ///< where the client listens
    std::uint64_t uploaded = 0;
    std::uint64_t downloaded = 0;
    std::uint64_t left = 0;  ///< bytes missing; 0 makes the client a seeder
    announce_event event = announce_event::none;
    std::int32_t numwant = -1;       ///< peers wanted; negative leaves it to the tracker
    std::uint32_t key = 0;           ///< stays the same when the client's address changes
    std::optional<ip_address> ip{};  ///< where the client says it is; most trackers ignore it
    std::string tracker_id{};        ///< as an earlier answer gave it
    bool compact = true;             ///< BEP 23; HTTP only

    bool operator==(const announce_request&) const = default;
};

/// A peer known by name, or one whose id the tracker gave along: dictionary answers only (BEP 3).
struct named_peer {
    std::string host{};
    std::uint16_t port = 0;
    std::optional<peer_id> id{};

    bool operator==(const named_peer&) const = default;
};

struct announce_response {
    std::chrono::seconds interval{0};           ///< until the next announce; 0 if the tracker did not say
    std::chrono::seconds min_interval{0};       ///< not sooner than this; 0 if the tracker did not say
    std::optional<std::uint32_t> complete{};    ///< seeders
    std::optional<std::uint32_t> incomplete{};  ///< leechers
    std::optional<std::uint32_t> downloaded{};  ///< completions
    std::vector<endpoint> peers{};
    std::vector<named_peer> named_peers{};  ///< those whose host is not an address
    std::string warning{};
    std::string tracker_id{};
    std::optional<ip_address> external_ip{};  ///< where the tracker sees us (BEP 24)

    bool operator==(const announce_response&) const = default;
};

/// How many peers of one answer are taken; the rest is ignored.
inline constexpr std::size_t announce_peers_max = 2'000;
/// Longer intervals are read as this.
inline constexpr std::chrono::seconds announce_interval_max = std::chrono::hours(24 * 7);

/// Reads the body of an HTTP answer to an announce. Numbers out of range are brought into it (intervals to 0 and
/// announce_interval_max), entries of a peer list that name no peer are left out. Fails with errc::tracker_refused and
/// the tracker's words in `failure_reason`, or with errc::tracker_malformed: no dictionary, or a peer list of the wrong
/// type or cut inside an entry. How often to announce is for the caller to bound from below.
inline std::optional<announce_response> parse_announce_response(byte_view body, std::error_code& ec,
                                                                std::string& failure_reason);

/// How long a refused client should wait (BEP 31), if the answer says so; minutes::max() for "never".
inline std::optional<std::chrono::minutes> parse_retry_in(byte_view body);

/// The body of an HTTP answer: `peers` and, if there are IPv6 ones, `peers6` as compact strings, or (not compact) one
/// list of dictionaries, which alone has room for named peers.
inline std::string write_announce_response(const announce_response& response, bool compact = true);

/// The body that refuses an announce or a scrape.
inline std::string write_failure(std::string_view reason, std::optional<std::chrono::minutes> retry_in = std::nullopt);

namespace detail {

/// 35,000 dictionary peers fit into the 1 MiB that a client reads; this takes them all, and no more.
inline constexpr bencode::limits tracker_answer_limits{.depth = 10, .items = 300'000};

/// A count as 32 bits: nothing where it is negative or no integer, the largest where it is beyond.
inline std::optional<std::uint32_t> tracker_count(bencode::node value) {
    const auto number = value.integer();
    if (!number || *number < 0) return std::nullopt;
    constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::min(*number, most));
}

inline std::chrono::seconds tracker_interval(bencode::node value) {
    return std::chrono::seconds(
        std::clamp<std::int64_t>(value.integer().value_or(0), 0, announce_interval_max.count()));
}

/// A peer of a dictionary answer, whether named or numeric; nothing if it lacks a host or a port that can be dialled.
inline std::optional<named_peer> parse_peer(bencode::node value) {
    const auto host = value["ip"].text();
    const auto port = value["port"].integer();
    if (!host || host->empty() || host->size() > 253 || !port || *port < 1 || *port > 65535) return std::nullopt;
    if (!std::all_of(host->begin(), host->end(), [](char c) { return c > 0x20 && c < 0x7f; })) return std::nullopt;
    named_peer out{std::string(*host), static_cast<std::uint16_t>(*port), std::nullopt};
    if (const auto id = value["peer id"].text()) out.id = peer_id::from(as_bytes(*id));
    return out;
}

inline void parse_peer_list(bencode::node list, announce_response& out) {
    for (const bencode::node one : list) {
        if (out.peers.size() + out.named_peers.size() >= announce_peers_max) return;
        auto peer = parse_peer(one);
        if (!peer) continue;
        if (const auto address = ip_address::parse(peer->host))
            out.peers.push_back({*address, peer->port});
        else
            out.named_peers.push_back(std::move(*peer));
    }
}

inline bool parse_peers(bencode::node root, announce_response& out) {
    if (const bencode::node peers = root["peers"]) {
        if (peers.is_list())
            parse_peer_list(peers, out);
        else if (!peers.is_string() ||
                 !parse_compact(as_bytes(*peers.text()), compact_v4_size, out.peers, announce_peers_max))
            return false;
    }
    if (const bencode::node peers = root["peers6"]) {
        if (!peers.is_string()) return false;
        return parse_compact(as_bytes(*peers.text()), compact_v6_size, out.peers, announce_peers_max);
    }
    return true;
}

/// The dictionary of an answer that does not refuse. Bytes after it, such as an end of line, do no harm.
inline std::optional<bencode::document> parse_tracker_answer(byte_view body, std::error_code& ec,
                                                             std::string& failure_reason) {
    std::size_t consumed = 0;
    auto document = bencode::parse_prefix(body, consumed, ec, tracker_answer_limits);
    if (!document || !document->root().is_dict()) {
        ec = errc::tracker_malformed;
        return std::nullopt;
    }
    if (const bencode::node reason = document->root()["failure reason"]) {
        failure_reason = plain_text(reason.text().value_or(""));
        ec = errc::tracker_refused;
        return std::nullopt;
    }
    return document;
}

inline void write_peer(bencode::writer& out, std::string_view host, std::uint16_t port,
                       const std::optional<peer_id>& id) {
    out.begin_dict().key("ip").text(host);
    if (id) out.key("peer id").text(as_text(id->view()));
    out.key("port").integer(port).end();
}

inline void write_peer_list(bencode::writer& out, const announce_response& response) {
    out.key("peers").begin_list();
    for (const endpoint& peer : response.peers) write_peer(out, peer.address.to_string(), peer.port, std::nullopt);
    for (const named_peer& peer : response.named_peers) write_peer(out, peer.host, peer.port, peer.id);
    out.end();
}

inline void write_compact_peers(bencode::writer& out, const announce_response& response) {
    std::string v4;
    std::string v6;
    v4.reserve(response.peers.size() * compact_v4_size);
    for (const endpoint& peer : response.peers) append_compact(peer.address.is_v4() ? v4 : v6, peer);
    out.key("peers").text(v4);
    if (!v6.empty()) out.key("peers6").text(v6);
}

}  // namespace detail

inline std::optional<announce_response> parse_announce_response(byte_view body, std::error_code& ec,
                                                                std::string& failure_reason) {
    const auto document = detail::parse_tracker_answer(body, ec, failure_reason);
    if (!document) return std::nullopt;
    const bencode::node root = document->root();
    announce_response out;
    out.interval = detail::tracker_interval(root["interval"]);
    out.min_interval = detail::tracker_interval(root["min interval"]);
    out.complete = detail::tracker_count(root["complete"]);
    out.incomplete = detail::tracker_count(root["incomplete"]);
    out.downloaded = detail::tracker_count(root["downloaded"]);
    out.warning = plain_text(root["warning message"].text().value_or(""));
    // To be sent back byte for byte, so an id that is too long for a query is none.
    if (const auto id = root["tracker id"].text(); id && id->size() <= 256) out.tracker_id = *id;
    if (const auto ip = root["external ip"].text()) out.external_ip = ip_address::from(as_bytes(*ip));
    if (!detail::parse_peers(root, out)) {
        ec = errc::tracker_malformed;
        return std::nullopt;
    }
    return out;
}

inline std::optional<std::chrono::minutes> parse_retry_in(byte_view body) {
    std::size_t consumed = 0;
    std::error_code ec;
    const auto document = bencode::parse_prefix(body, consumed, ec, detail::tracker_answer_limits);
    if (!document) return std::nullopt;
    const bencode::node value = document->root()["retry in"];
    if (value.text() == "never") return std::chrono::minutes::max();
    const auto minutes = value.integer();
    if (!minutes || *minutes < 0) return std::nullopt;
    constexpr std::int64_t most = std::chrono::duration_cast<std::chrono::minutes>(announce_interval_max).count();
    return std::chrono::minutes(std::min(*minutes, most));
}

inline std::string write_announce_response(const announce_response& response, bool compact) {
    bencode::writer out;
    out.begin_dict();
    if (response.complete) out.key("complete").integer(*response.complete);
    if (response.downloaded) out.key("downloaded").integer(*response.downloaded);
    if (response.external_ip) out.key("external ip").text(as_text(response.external_ip->bytes()));
    if (response.incomplete) out.key("incomplete").integer(*response.incomplete);
    out.key("interval").integer(response.interval.count());
    if (response.min_interval.count() > 0) out.key("min interval").integer(response.min_interval.count());
    if (compact)
        detail::write_compact_peers(out, response);
    else
        detail::write_peer_list(out, response);
    if (!response.tracker_id.empty()) out.key("tracker id").text(response.tracker_id);
    if (!response.warning.empty()) out.key("warning message").text(response.warning);
    out.end();
    return out.take();
}

inline std::string write_failure(std::string_view reason, std::optional<std::chrono::minutes> retry_in) {
    bencode::writer out;
    out.begin_dict().key("failure reason").text(reason);
    if (retry_in == std::chrono::minutes::max())
        out.key("retry in").text("never");
    else if (retry_in)
        out.key("retry in").integer(retry_in->count());
    out.end();
    return out.take();
}

}  // namespace cohort
