// The extension handshake (BEP 10): what a peer can do beyond the standard messages, and under which numbers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <system_error>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/protocol/bencode.hpp>
#include <cohort/protocol/plain_text.hpp>

namespace cohort {

/// The payload of `extended` with id 0.
struct extension_handshake {
    std::map<std::string, std::uint8_t> m{};       ///< name of an extension -> id of its messages; 0 switches it off
    std::string v{};                               ///< the client's name and version
    std::optional<std::uint16_t> p{};              ///< where the peer listens
    std::optional<std::uint32_t> reqq{};           ///< requests that it keeps in its queue
    std::optional<ip_address> yourip{};            ///< where the peer sees us
    std::optional<std::uint32_t> metadata_size{};  ///< bytes of the info dictionary (BEP 9)
    bool upload_only = false;                      ///< wants nothing any more (BEP 21)

    bool operator==(const extension_handshake&) const = default;
};

/// Larger claims about the info dictionary are ignored.
inline constexpr std::uint32_t metadata_size_max = 30 * 1024 * 1024;

namespace detail {

/// A real handshake has some 40 tokens.
inline constexpr bencode::limits extension_limits{.depth = 100, .items = 2'000};
inline constexpr std::size_t extensions_max = 64;
inline constexpr std::size_t extension_name_max = 64;

/// An integer within [1, most]; nothing for anything else.
template <class T>
std::optional<T> positive(bencode::node value, T most) {
    const auto number = value.integer();
    if (!number || *number < 1 || *number > static_cast<std::int64_t>(most)) return std::nullopt;
    return static_cast<T>(*number);
}

}  // namespace detail

/// Reads the payload. Members of the wrong type or out of range are as if absent; a second handshake updates the first
/// (BEP 10), which is the caller's to merge. Fails with the error of bencode::parse, also for what is nested deeper
/// than 100 or has more than 2,000 tokens, or with errc::message_malformed if it is no dictionary.
inline std::optional<extension_handshake> parse_extension_handshake(byte_view payload, std::error_code& ec) {
    std::size_t consumed = 0;
    const auto document = bencode::parse_prefix(payload, consumed, ec, detail::extension_limits);
    if (!document) return std::nullopt;
    const bencode::node root = document->root();
    if (!root.is_dict()) {
        ec = errc::message_malformed;
        return std::nullopt;
    }
    extension_handshake out;
    for (const auto [name, id] : root["m"].entries()) {
        const auto number = id.integer();
        if (!number || *number < 0 || *number > 255 || name.size() > detail::extension_name_max) continue;
        if (out.m.size() == detail::extensions_max) break;
        out.m.emplace(name, static_cast<std::uint8_t>(*number));
    }
    out.v = plain_text(root["v"].text().value_or(""), 128);
    out.p = detail::positive(root["p"], std::numeric_limits<std::uint16_t>::max());
    out.reqq = detail::positive(root["reqq"], std::numeric_limits<std::uint32_t>::max());
    if (const auto ip = root["yourip"].text()) out.yourip = ip_address::from(as_bytes(*ip));
    out.metadata_size = detail::positive(root["metadata_size"], metadata_size_max);
    out.upload_only = root["upload_only"].integer().value_or(0) != 0;
    return out;
}

/// The payload, to be sent as `extended` with id 0.
inline std::string write_extension_handshake(const extension_handshake& handshake) {
    bencode::writer out;
    out.begin_dict().key("m").begin_dict();
    for (const auto& [name, id] : handshake.m) out.key(name).integer(id);
    out.end();
    if (handshake.metadata_size) out.key("metadata_size").integer(*handshake.metadata_size);
    if (handshake.p) out.key("p").integer(*handshake.p);
    if (handshake.reqq) out.key("reqq").integer(*handshake.reqq);
    if (handshake.upload_only) out.key("upload_only").integer(1);
    if (!handshake.v.empty()) out.key("v").text(handshake.v);
    if (handshake.yourip) out.key("yourip").text(as_text(handshake.yourip->bytes()));
    out.end();
    return out.take();
}

}  // namespace cohort
