// The opening handshake of WebSocket (RFC 6455, 4): what makes a request one, and what shows that the answer is to it.
// Header values come in as text, whoever read them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <cohort/core/ascii.hpp>
#include <cohort/core/base64.hpp>
#include <cohort/core/bytes.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/hash.hpp>

namespace cohort {

inline constexpr std::string_view websocket_version = "13";
inline constexpr std::size_t websocket_key_size = 16;  ///< bytes of a key before base64

/// What of a request matters. Values of several fields of one name are joined by ", " (RFC 9110, 5.3); a field that is
/// absent is empty.
struct websocket_request_fields {
    std::string_view method;
    int http_version = 11;
    std::string_view upgrade{};
    std::string_view connection{};
    std::string_view key{};        ///< Sec-WebSocket-Key
    std::string_view version{};    ///< Sec-WebSocket-Version
    std::string_view protocols{};  ///< Sec-WebSocket-Protocol
};

/// What the server says to it.
struct websocket_acceptance {
    std::string accept;         ///< for Sec-WebSocket-Accept
    std::string_view protocol;  ///< for Sec-WebSocket-Protocol; empty: none, and then no such field
};

/// Judges a request. `supported` are our subprotocols, the favourite first; their views last as long as they do.
/// Without a match the link has none. On failure `status` is what to answer: 400 for one that breaks the rules, 426 for
/// one that asks for no WebSocket or another version than 13; a 426 carries `Upgrade: websocket` and
/// `Sec-WebSocket-Version: 13`.
inline std::optional<websocket_acceptance> accept_websocket_request(const websocket_request_fields& request,
                                                                    std::span<const std::string> supported,
                                                                    int& status);

/// What of an answer matters, in the same way.
struct websocket_response_fields {
    int status = 0;
    std::string_view upgrade{};
    std::string_view connection{};
    std::string_view accept{};      ///< Sec-WebSocket-Accept
    std::string_view protocol{};    ///< Sec-WebSocket-Protocol
    std::string_view extensions{};  ///< Sec-WebSocket-Extensions
};

/// Judges the answer to a request with `key` that offered `protocols`; returns the subprotocol agreed, empty for none.
/// errc::http_status for a status other than 101; errc::websocket_malformed for an answer that was not made for this
/// request, or that chose what was not offered: we offer no extension.
inline std::optional<std::string_view> check_websocket_response(const websocket_response_fields& response,
                                                                std::string_view key,
                                                                std::span<const std::string> protocols,
                                                                std::error_code& ec);

/// Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2).
inline std::string websocket_accept(std::string_view key);

/// Sec-WebSocket-Key: 16 random bytes as text.
inline std::string websocket_key(std::span<const std::uint8_t, websocket_key_size> random);

/// Whether a page of that Origin belongs to the server that the browser asked as `host`: a page of another site may
/// open a WebSocket to any address and would speak with its visitor's rights (RFC 6455, 10.2).
inline bool websocket_same_origin(std::string_view origin, std::string_view host);

namespace detail {

/// Whether it is base64 of 16 bytes.
inline bool is_websocket_key(std::string_view key) {
    std::uint8_t bytes[websocket_key_size];
    return from_base64(key, bytes);
}

/// Takes the next element off a comma-separated list, without white space around it.
inline std::string_view take_element(std::string_view& list) {
    std::string_view out = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), out.size() + 1));
    while (!out.empty() && (out.front() == ' ' || out.front() == '\t')) out.remove_prefix(1);
    while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.remove_suffix(1);
    return out;
}

inline bool list_has_word(std::string_view list, std::string_view word) {
    while (!list.empty()) {
        if (equal_ignoring_case(take_element(list), word)) return true;
    }
    return false;
}

}  // namespace detail

inline std::string websocket_accept(std::string_view key) {
    sha1 hash;
    hash.update(as_bytes(key));
    hash.update(as_bytes("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    return to_base64(hash.finish().bytes);
}

inline std::string websocket_key(std::span<const std::uint8_t, websocket_key_size> random) { return to_base64(random); }

inline std::optional<websocket_acceptance> accept_websocket_request(const websocket_request_fields& request,
                                                                    std::span<const std::string> supported,
                                                                    int& status) {
    status = 426;
    if (!detail::list_has_word(request.upgrade, "websocket")) return std::nullopt;
    if (request.version != websocket_version) return std::nullopt;
    status = 400;
    if (request.method != "GET" || request.http_version < 11) return std::nullopt;
    if (!detail::list_has_word(request.connection, "upgrade")) return std::nullopt;
    if (!detail::is_websocket_key(request.key)) return std::nullopt;
    status = 101;
    websocket_acceptance out{websocket_accept(request.key), {}};
    for (const std::string& ours : supported) {
        std::string_view offered = request.protocols;
        while (!offered.empty() && out.protocol.empty()) {
            if (detail::take_element(offered) == ours) out.protocol = ours;
        }
    }
    return out;
}

inline std::optional<std::string_view> check_websocket_response(const websocket_response_fields& response,
                                                                std::string_view key,
                                                                std::span<const std::string> protocols,
                                                                std::error_code& ec) {
    ec = errc::http_status;
    if (response.status != 101) return std::nullopt;
    ec = errc::websocket_malformed;
    if (!equal_ignoring_case(response.upgrade, "websocket")) return std::nullopt;
    if (!detail::list_has_word(response.connection, "upgrade")) return std::nullopt;
    if (response.accept != websocket_accept(key)) return std::nullopt;
    if (!response.extensions.empty()) return std::nullopt;
    const bool offered = std::find(protocols.begin(), protocols.end(), response.protocol) != protocols.end();
    if (!response.protocol.empty() && !offered) return std::nullopt;
    ec.clear();
    return response.protocol;
}

inline bool websocket_same_origin(std::string_view origin, std::string_view host) {
    const std::size_t end = origin.find("://");
    if (end == std::string_view::npos || host.empty()) return false;
    const std::string_view scheme = origin.substr(0, end);
    const auto without_default_port = [scheme](std::string_view authority) {
        const std::string_view port = equal_ignoring_case(scheme, "https") ? ":443" : ":80";
        if (authority.ends_with(port)) authority.remove_suffix(port.size());
        return authority;
    };
    return equal_ignoring_case(without_default_port(origin.substr(end + 3)), without_default_port(host));
}

}  // namespace cohort
