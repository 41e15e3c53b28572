// The query of an HTTP announce (BEP 3): written by clients, read by trackers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/number.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/query.hpp>

namespace cohort {

/// "info_hash=...&peer_id=...", to be put behind the announce URL with append_query().
inline std::string announce_query(const announce_request& request);

/// Reads what stands behind '?' in an announce. info_hash, peer_id, port and left must be there, once, and right; what
/// else is there must be right too; unknown parameters and events are ignored. Nothing, with a sentence for the client
/// in `reason`, for anything else. Memory stays below the query's own size.
inline std::optional<announce_request> parse_announce_query(std::string_view query, std::string& reason);

namespace detail {

/// Clients write the key as up to eight hexadecimal digits, but BEP 3 practice is "any text": other text is hashed
/// (FNV-1a), since only equality matters.
inline std::uint32_t parse_announce_key(std::string_view text) {
    std::uint32_t key = 0;
    if (text.empty() || (text.size() <= 8 && parse_number(text, key, 16))) return key;
    key = 2166136261;
    for (const char c : text) key = (key ^ static_cast<std::uint8_t>(c)) * 16777619;
    return key;
}

inline announce_event parse_announce_event(std::string_view text) {
    if (text == "started") return announce_event::started;
    if (text == "stopped") return announce_event::stopped;
    if (text == "completed") return announce_event::completed;
    return announce_event::none;
}

/// False if the parameter's value is wrong.
inline bool read_announce_parameter(const query_parameter& parameter, announce_request& out) {
    const auto [name, value] = parameter;
    if (name == "info_hash") return percent_decode(value, out.hash.span());
    if (name == "peer_id") return percent_decode(value, out.id.span());
    if (name == "port") return parse_number(value, out.port) && out.port != 0;
    if (name == "uploaded") return parse_number(value, out.uploaded);
    if (name == "downloaded") return parse_number(value, out.downloaded);
    if (name == "left") return parse_number(value, out.left);
    if (name == "numwant") return value.empty() || parse_number(value, out.numwant);
    if (name == "event") out.event = parse_announce_event(value);
    if (name == "key") out.key = parse_announce_key(value);
    if (name == "compact") out.compact = value != "0";
    if (name == "ip" || name == "trackerid") {
        const auto text = percent_decode(value);
        if (!text) return false;
        // BEP 3 allows a name here, which a tracker should not resolve.
        if (name == "ip") out.ip = ip_address::parse(*text);
        if (name == "trackerid") out.tracker_id = *text;
    }
    return true;
}

}  // namespace detail

inline std::optional<announce_request> parse_announce_query(std::string_view query, std::string& reason) {
    constexpr std::string_view required[] = {"info_hash", "peer_id", "port", "left"};
    bool seen[std::size(required)] = {};
    announce_request out;
    while (const auto parameter = take_parameter(query)) {
        for (std::size_t i = 0; i < std::size(required); ++i) {
            if (parameter->name != required[i]) continue;
            if (seen[i]) {
                reason = std::string(required[i]) + " given twice";
                return std::nullopt;
            }
            seen[i] = true;
        }
        if (!detail::read_announce_parameter(*parameter, out)) {
            reason = "invalid " + std::string(parameter->name);
            return std::nullopt;
        }
    }
    for (std::size_t i = 0; i < std::size(required); ++i) {
        if (seen[i]) continue;
        reason = "missing " + std::string(required[i]);
        return std::nullopt;
    }
    return out;
}

inline std::string announce_query(const announce_request& request) {
    std::string out = "info_hash=" + percent_encode(as_text(request.hash.view()));
    out += "&peer_id=" + percent_encode(as_text(request.id.view()));
    out += "&port=" + std::to_string(request.port);
    out += "&uploaded=" + std::to_string(request.uploaded);
    out += "&downloaded=" + std::to_string(request.downloaded);
    out += "&left=" + std::to_string(request.left);
    out += request.compact ? "&compact=1" : "&compact=0";
    std::array<std::uint8_t, 4> key;
    store_be(key.data(), request.key);
    out += "&key=" + to_hex(key);
    if (request.numwant >= 0) out += "&numwant=" + std::to_string(request.numwant);
    switch (request.event) {
    case announce_event::none: break;
    case announce_event::completed: out += "&event=completed"; break;
    case announce_event::started: out += "&event=started"; break;
    case announce_event::stopped: out += "&event=stopped"; break;
    }
    if (request.ip) out += "&ip=" + percent_encode(request.ip->to_string());
    if (!request.tracker_id.empty()) out += "&trackerid=" + percent_encode(request.tracker_id);
    return out;
}

}  // namespace cohort
