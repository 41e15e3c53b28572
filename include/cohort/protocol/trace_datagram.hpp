// A datagram for a trace: the tracker protocol (BEP 15), or its length alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/trace.hpp>
#include <cohort/protocol/udp_tracker.hpp>

namespace cohort {

namespace detail {

inline std::string_view name_of(announce_event event) {
    switch (event) {
    case announce_event::none: break;
    case announce_event::completed: return "completed";
    case announce_event::started: return "started";
    case announce_event::stopped: return "stopped";
    }
    return "none";
}

inline trace_event trace_of(const udp_tracker::connect_request& m) {
    return {"connect_request", {{"transaction", std::uint64_t{m.transaction}}}};
}
inline trace_event trace_of(const udp_tracker::announce_request& m) {
    trace_event out{"announce_request",
                    {{"transaction", std::uint64_t{m.transaction}},
                     {"info_hash", m.announce.hash.hex()},
                     {"peer_id", percent_encode(as_text(m.announce.id.view()))},
                     {"event", std::string(name_of(m.announce.event))},
                     {"downloaded", m.announce.downloaded},
                     {"left", m.announce.left},
                     {"uploaded", m.announce.uploaded},
                     {"port", std::uint64_t{m.announce.port}}}};
    if (m.announce.numwant >= 0) out.fields.push_back({"numwant", static_cast<std::uint64_t>(m.announce.numwant)});
    return out;
}
inline trace_event trace_of(const udp_tracker::scrape_request& m) {
    return {"scrape_request", {{"transaction", std::uint64_t{m.transaction}}, {"files", std::uint64_t{m.size()}}}};
}
inline trace_event trace_of(const udp_tracker::connect_answer& m) {
    return {"connect_answer", {{"transaction", std::uint64_t{m.transaction}}}};
}
inline trace_event trace_of(const udp_tracker::announce_answer& m) {
    return {"announce_answer",
            {{"transaction", std::uint64_t{m.transaction}},
             {"interval", static_cast<std::uint64_t>(m.response.interval.count())},
             {"complete", std::uint64_t{m.response.complete.value_or(0)}},
             {"incomplete", std::uint64_t{m.response.incomplete.value_or(0)}},
             {"peers", std::uint64_t{m.response.peers.size()}}}};
}
inline trace_event trace_of(const udp_tracker::scrape_answer& m) {
    return {"scrape_answer",
            {{"transaction", std::uint64_t{m.transaction}}, {"files", std::uint64_t{m.entries.size()}}}};
}
inline trace_event trace_of(const udp_tracker::error_answer& m) {
    return {"error_answer", {{"transaction", std::uint64_t{m.transaction}}, {"failure", m.reason}}};
}

}  // namespace detail

/// `ipv6` is the family of whoever sent or gets it, which decides the size of a peer in an answer.
inline trace_event trace_datagram(byte_view packet, bool ipv6) {
    // An answer begins with its action, a request with a connection id, which is random or begins with 0x417.
    std::error_code error;
    const bool answers = packet.size() >= 8 && load_be<std::uint32_t>(packet.data()) <= 3;
    if (answers) {
        const auto answer = udp_tracker::parse_answer(packet, ipv6, error);
        if (answer) return std::visit([](const auto& m) { return detail::trace_of(m); }, *answer);
    }
    const auto request = udp_tracker::parse_request(packet, error);
    if (request) return std::visit([](const auto& m) { return detail::trace_of(m); }, *request);
    return {"datagram", {{"length", std::uint64_t{packet.size()}}}};
}

}  // namespace cohort
