// HTTP requests and responses as values, and how they look on the wire. Reading them is http_parser.hpp's work.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/core/ascii.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/net/stream.hpp>

namespace cohort {

/// The fields of a header in their order. All text stands in one string, so that a header costs two allocations and
/// one that is cleared and filled again none. Views stay valid until the next change.
class http_headers {
public:
    struct field {
        std::string_view name;
        std::string_view value;
    };

    void add(std::string_view name, std::string_view value) {
        entries_.push_back({static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(name.size()),
                            static_cast<std::uint32_t>(value.size())});
        text_.append(name).append(value);
    }

    /// The value of the first field of that name, in whatever case.
    std::optional<std::string_view> find(std::string_view name) const {
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            const field one = (*this)[i];
            if (equal_ignoring_case(one.name, name)) return one.value;
        }
        return std::nullopt;
    }

    /// Makes `value`, which is no view of these, that of the only field of that name.
    void set(std::string_view name, std::string_view value) {
        http_headers out;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            const field one = (*this)[i];
            if (!equal_ignoring_case(one.name, name)) out.add(one.name, one.value);
        }
        out.add(name, value);
        *this = std::move(out);
    }

    bool contains(std::string_view name) const { return find(name).has_value(); }

    /// The values of all fields of that name, as one list (RFC 9110, 5.3).
    std::optional<std::string> find_all(std::string_view name) const {
        std::optional<std::string> out;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            const field one = (*this)[i];
            if (!equal_ignoring_case(one.name, name)) continue;
            if (out) *out += ", ";
            if (!out) out.emplace();
            *out += one.value;
        }
        return out;
    }

    std::size_t size() const { return entries_.size(); }

    field operator[](std::size_t index) const {
        const entry& e = entries_[index];
        const std::string_view all = text_;
        return {all.substr(e.begin, e.name), all.substr(e.begin + e.name, e.value)};
    }

    void clear() {
        text_.clear();
        entries_.clear();
    }

private:
    struct entry {
        std::uint32_t begin, name, value;
    };

    std::string text_;
    std::vector<entry> entries_;
};

struct http_request {
    std::string method = "GET";
    std::string target = "/";  ///< as sent: the path and, after '?', the query; not decoded. A server's has no host
    int version = 11;          ///< 10 or 11
    http_headers headers;
    std::string body;
    bool keep_alive = true;  ///< whether the connection may serve another request
    endpoint from;           ///< who asks

    std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
    std::string_view query() const {
        const std::size_t mark = target.find('?');
        return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
    }

    /// Empties the request but keeps its memory for the next one.
    void clear() {
        method.clear();
        target.clear();
        headers.clear();
        body.clear();
        version = 11;
        keep_alive = true;
    }
};

/// Speaks another protocol on a connection after the answer 101 (RFC 9110, 7.8). Gets the stream, and what the client
/// sent behind its request already.
using http_upgrade = std::function<asio::awaitable<void>(std::unique_ptr<stream>, byte_vector early)>;

struct http_response {
    int status = 200;
    http_headers headers;  ///< Content-Length and Connection are the server's business, but for Connection in a 101
    std::string body;
    http_upgrade upgrade = nullptr;  ///< for a server's 101 alone

    void clear() {
        status = 200;
        headers.clear();
        body.clear();
        upgrade = nullptr;
    }
};

/// A response with a body of the given type.
inline http_response make_http_response(int status, std::string_view content_type, std::string body) {
    http_response out;
    out.status = status;
    out.headers.add("Content-Type", content_type);
    out.body = std::move(body);
    return out;
}

/// The customary words for a status code (RFC 9110, 15).
inline std::string_view http_reason(int status) {
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 416: return "Range Not Satisfiable";
    case 421: return "Misdirected Request";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}

namespace detail {

/// Interim answers (1xx) to one request; who sends more of them never comes to the point.
inline constexpr int max_interim_answers = 8;

/// Turns a target that is a whole URL, as clients send it to a proxy and servers have to understand it, into a path;
/// its authority replaces the Host (RFC 9112, 3.2.2). False if there is no such host: nobody may be it, and a name that
/// looks like another with a password before it is none (RFC 9110, 4.2.4).
inline bool to_origin_form(http_request& request) {
    if (request.target.starts_with('/')) return true;
    const std::string_view whole = request.target;
    const std::size_t mark = whole.find("://");
    const std::string_view scheme = whole.substr(0, mark == std::string_view::npos ? 0 : mark);
    if (!equal_ignoring_case(scheme, "http") && !equal_ignoring_case(scheme, "https")) return true;
    const std::string_view rest = whole.substr(mark + 3);
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    if (authority.empty() || authority.front() == ':' || authority.find('@') != std::string_view::npos) return false;
    const std::string_view path = rest.substr(authority.size());
    std::string target = path.starts_with('/') ? std::string(path) : "/" + std::string(path);
    request.headers.set("Host", authority);
    request.target = std::move(target);
    return true;
}

inline bool is_http_token(std::string_view text) {
    const auto part_of_token = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    };
    return !text.empty() && std::all_of(text.begin(), text.end(), part_of_token);
}

/// Control characters would let a value end its line and begin another field.
inline bool is_http_value(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

inline void append_field(std::string& out, std::string_view name, std::string_view value) {
    if (!is_http_token(name) || !is_http_value(value)) raise(errc::http_malformed, "header field not fit to be sent");
    out.append(name).append(": ").append(value).append("\r\n");
}

inline void append_number(std::string& out, std::uint64_t number) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(digits, end);
}

}  // namespace detail

/// Appends the status line and header of `response` up to and with the empty line. Throws errc::http_malformed, with
/// `out` partly written, for fields with control characters in them.
inline void append_head(std::string& out, const http_response& response, bool keep_alive) {
    out.append("HTTP/1.1 ");
    detail::append_number(out, static_cast<std::uint64_t>(response.status));
    out.append(" ").append(http_reason(response.status)).append("\r\n");
    for (std::size_t i = 0; i < response.headers.size(); ++i) {
        const http_headers::field one = response.headers[i];
        detail::append_field(out, one.name, one.value);
    }
    // RFC 9110, 8.6: these have no body and must not announce the length of one.
    if (response.status >= 200 && response.status != 204 && response.status != 304) {
        out.append("Content-Length: ");
        detail::append_number(out, response.body.size());
        out.append("\r\n");
    }
    if (response.status == 101)
        out.append("\r\n");
    else
        out.append(response.status == 426 ? "Connection: upgrade, " : "Connection: ")  // RFC 9110, 7.8 and 15.5.22
            .append(keep_alive ? "keep-alive\r\n\r\n" : "close\r\n\r\n");
}

}  // namespace cohort
