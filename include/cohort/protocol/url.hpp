// Absolute URLs of trackers, web seeds and hubs. Stricter than a browser: what is odd is refused and never repaired, so
// that the host we judge is the host we dial.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <cohort/core/ascii.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/number.hpp>
#include <cohort/protocol/percent.hpp>

namespace cohort {

/// Invariants after parse_url(): scheme and host in lower case, addresses in their shortest form; target without
/// spaces, control characters, fragment and dot segments, beginning with '/'.
struct url {
    std::string scheme{};    ///< "http", "https", "udp", "ws" or "wss"
    std::string userinfo{};  ///< what stands before '@', still percent-encoded; no request of ours sends it
    std::string host{};      ///< a name, or an address without brackets
    std::uint16_t port = 0;  ///< the scheme's own where the text names none; never 0
    std::string target{};    ///< path and query
    bool ipv6 = false;       ///< the host is an IPv6 address

    bool operator==(const url&) const = default;

    bool secure() const { return scheme == "https" || scheme == "wss"; }
    /// Host and port as a `Host` header names them: without the port if it is the scheme's own.
    std::string authority() const;
    /// The whole URL. With `userinfo` in it: not for a log.
    std::string to_string() const;
};

/// The port of a scheme, 0 if it has none of its own (udp).
constexpr std::uint16_t default_port(std::string_view scheme) {
    return scheme == "http" || scheme == "ws" ? 80 : scheme == "https" || scheme == "wss" ? 443 : 0;
}

inline constexpr std::size_t url_size_max = 8 * 1024;

/// Reads an absolute URL of one of the five schemes. errc::url_unsupported for another scheme, errc::url_invalid for
/// everything else: spaces, control characters and backslashes, host names beyond letters, digits, '-' and '.', numbers
/// as hosts that are not four plain ones ("127.1", "0x7f000001"), ports outside 1..65535, udp without a port, more than
/// 8 KiB. Characters of the target that RFC 3986 does not allow, non-ASCII ones included, are percent-encoded; the
/// fragment is dropped.
inline std::optional<url> parse_url(std::string_view text, std::error_code& ec);

/// Where a redirect from `base` with this `Location` leads (RFC 3986, section 5.2). Fails as parse_url() does.
inline std::optional<url> resolve_redirect(const url& base, std::string_view location, std::error_code& ec);

/// Whether a client at `from` may follow a redirect to `to`: only to http and https, never from https to http, and not
/// from elsewhere to this machine or the local link. Judges addresses and "localhost" as they stand in the URL; where a
/// name resolves to is for the caller to see.
inline bool redirect_allowed(const url& from, const url& to);

namespace detail {

/// Length of the scheme that `text` begins with, its colon not counted; npos if there is none.
inline std::size_t scheme_length(std::string_view text) {
    if (text.empty() || !is_ascii_letter(text.front())) return std::string_view::npos;
    const auto in_scheme = [](char c) {
        return is_ascii_letter(c) || is_ascii_digit(c) || c == '+' || c == '-' || c == '.';
    };
    const auto end = std::find_if_not(text.begin(), text.end(), in_scheme);
    return end != text.end() && *end == ':' ? static_cast<std::size_t>(end - text.begin()) : std::string_view::npos;
}

/// Letters, digits and '-' in labels of 1 to 63, 253 in all; one dot may end it (RFC 1123).
inline bool is_host_name(std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    if (host.empty() || host.size() > 253) return false;
    std::size_t label = 0;
    for (const char c : host) {
        if (c == '.') {
            if (label == 0) return false;
            label = 0;
        } else if (!is_ascii_letter(c) && !is_ascii_digit(c) && c != '-') {
            return false;
        } else if (++label > 63) {
            return false;
        }
    }
    return label > 0;
}

/// Whether a resolver may take the name for an IPv4 address: its last label is a decimal or hexadecimal number.
inline bool ends_in_number(std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    std::string_view label = host.substr(host.rfind('.') + 1);
    if (std::all_of(label.begin(), label.end(), is_ascii_digit)) return true;
    if (!label.starts_with("0x")) return false;
    label.remove_prefix(2);
    return std::all_of(label.begin(), label.end(), [](char c) { return hex_digit(c) >= 0; });
}

inline bool parse_host(std::string_view text, url& out) {
    const bool bracketed = text.starts_with('[');
    if (bracketed) {
        if (text.size() < 2 || !text.ends_with(']')) return false;
        text = text.substr(1, text.size() - 2);
    }
    out.host = ascii_lower(text);
    if (bracketed || ends_in_number(out.host)) {
        const auto address = ip_address::parse(out.host);
        if (!address || (out.host.find(':') != std::string::npos) != bracketed) return false;
        out.host = address->to_string();
        out.ipv6 = address->is_v6();
        return true;
    }
    return is_host_name(out.host);
}

inline bool parse_port(std::string_view digits, url& out) {
    out.port = default_port(out.scheme);
    if (!digits.empty() && !parse_number(digits, out.port)) return false;
    return out.port != 0;
}

/// What stands between "//" and the path: [userinfo@]host[:port].
inline bool parse_authority(std::string_view text, url& out) {
    if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
        out.userinfo = text.substr(0, at);
        text.remove_prefix(at + 1);
    }
    const std::size_t bracket = text.rfind(']');
    const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
    const bool has_port = colon != std::string_view::npos;
    return parse_host(text.substr(0, colon), out) && parse_port(has_port ? text.substr(colon + 1) : "", out);
}

/// RFC 3986, section 5.2.4, for a path that begins with '/'.
inline std::string remove_dot_segments(std::string_view path) {
    std::string out;
    while (!path.empty()) {
        const std::size_t next = path.find('/', 1);
        const std::string_view segment = path.substr(0, next);
        path.remove_prefix(segment.size());
        const bool up = segment == "/..";
        if (!up && segment != "/.") {
            out += segment;
            continue;
        }
        if (up && !out.empty()) out.resize(out.rfind('/'));
        if (path.empty()) out += '/';
    }
    return out;
}

/// Percent-encodes what RFC 3986 allows in neither path nor query; escapes that are there stay as they are.
inline std::string encode_target(std::string_view text) {
    constexpr std::string_view forbidden = "\"<>\\^`{|}";
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80 || forbidden.find(c) != std::string_view::npos)
            append_percent(out, c);
        else
            out += c;
    }
    return out;
}

inline bool is_this_machine_or_link(const url& u) {
    if (const auto address = ip_address::parse(u.host)) {
        const bool this_network = address->is_v4() && address->bytes()[0] == 0;  // RFC 1122, 3.2.1.3
        return address->is_loopback() || address->is_unspecified() || address->is_link_local() || this_network;
    }
    std::string_view name = u.host;
    if (name.ends_with('.')) name.remove_suffix(1);
    return name == "localhost" || name.ends_with(".localhost");
}

}  // namespace detail

inline std::string url::authority() const {
    std::string out = ipv6 ? "[" + host + "]" : host;
    if (port != default_port(scheme)) out += ":" + std::to_string(port);
    return out;
}

inline std::string url::to_string() const {
    return scheme + "://" + (userinfo.empty() ? "" : userinfo + "@") + authority() + target;
}

inline std::optional<url> parse_url(std::string_view text, std::error_code& ec) {
    ec = errc::url_invalid;
    if (text.size() > url_size_max) return std::nullopt;
    const auto is_control_or_space = [](char c) { return (c >= 0 && c <= 0x20) || c == 0x7f; };
    if (std::any_of(text.begin(), text.end(), is_control_or_space)) return std::nullopt;
    const std::size_t scheme = detail::scheme_length(text);
    if (scheme == std::string_view::npos) return std::nullopt;
    url out;
    out.scheme = ascii_lower(text.substr(0, scheme));
    if (default_port(out.scheme) == 0 && out.scheme != "udp") {
        ec = errc::url_unsupported;
        return std::nullopt;
    }
    text.remove_prefix(scheme + 1);
    if (!text.starts_with("//")) return std::nullopt;
    text.remove_prefix(2);
    text = text.substr(0, text.find('#'));
    const std::string_view authority = text.substr(0, text.find_first_of("/?"));
    // A browser reads '\' as '/' and would see another host here.
    if (authority.find('\\') != std::string_view::npos) return std::nullopt;
    if (!detail::parse_authority(authority, out)) return std::nullopt;
    text.remove_prefix(authority.size());
    const std::string_view path = text.substr(0, text.find('?'));
    text.remove_prefix(path.size());
    out.target =
        detail::encode_target(path.empty() ? "/" : detail::remove_dot_segments(path)) + detail::encode_target(text);
    ec.clear();
    return out;
}

inline std::optional<url> resolve_redirect(const url& base, std::string_view location, std::error_code& ec) {
    if (detail::scheme_length(location) != std::string_view::npos) return parse_url(location, ec);
    if (location.starts_with("//")) return parse_url(base.scheme + ":" + std::string(location), ec);
    location = location.substr(0, location.find('#'));
    const std::string_view path = std::string_view(base.target).substr(0, base.target.find('?'));
    url at = base;
    if (location.empty())
        at.target = base.target;
    else if (location.front() == '/')
        at.target = location;
    else if (location.front() == '?')
        at.target = std::string(path) + std::string(location);
    else
        at.target = std::string(path.substr(0, path.rfind('/') + 1)) + std::string(location);
    return parse_url(at.to_string(), ec);
}

inline bool redirect_allowed(const url& from, const url& to) {
    if (to.scheme != "http" && to.scheme != "https") return false;
    if (from.secure() && !to.secure()) return false;
    return !detail::is_this_machine_or_link(to) || detail::is_this_machine_or_link(from);
}

}  // namespace cohort
