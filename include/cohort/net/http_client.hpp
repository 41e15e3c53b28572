// One HTTP request: redirects, deadlines and bounds, so that no server can hold or fill the caller.
#pragma once

#include <array>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/dial.hpp>
#include <cohort/net/http_parser.hpp>
#include <cohort/net/stream_upgrade.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/protocol/url.hpp>

namespace cohort {

struct http_client_options {
    http_limits limits{};
    duration first_byte_timeout = 10s;  ///< to resolve, connect, ask and see the answer begin; anew for each redirect
    duration total_timeout = 30s;       ///< for everything
    int max_redirects = 5;
    address_family family = address_family::any;
    bool keep_status = false;  ///< return answers other than 200 instead of throwing errc::http_status
    std::string user_agent = "cohort/0.1";
    stream_upgrade tls = nullptr;  ///< for https URLs, which are errc::url_unsupported without it
};

namespace detail {

/// What is asked, apart from where.
struct http_question {
    std::string method = "GET";
    http_headers headers{};
    std::string body{};

    bool is_head() const { return method == "HEAD"; }
    bool only_reads() const { return method == "GET" || is_head(); }
};

inline std::string http_request_head(const http_question& what, const url& at, const http_client_options& options) {
    if (!is_http_token(what.method)) raise(errc::http_malformed, "not a method");
    std::string out = what.method + " " + at.target + " HTTP/1.1\r\n";
    append_field(out, "Host", at.authority());
    append_field(out, "User-Agent", options.user_agent);
    append_field(out, "Accept-Encoding", "identity");  // a compressed bomb has nowhere to go off
    for (std::size_t i = 0; i < what.headers.size(); ++i) {
        const http_headers::field one = what.headers[i];
        append_field(out, one.name, one.value);
    }
    if (!what.only_reads() || !what.body.empty()) append_field(out, "Content-Length", std::to_string(what.body.size()));
    append_field(out, "Connection", "close");
    return out + "\r\n";
}

inline bool is_this_machine_or_link(const ip_address& address) {
    url u;
    u.host = address.to_string();
    return is_this_machine_or_link(u);
}

inline void check_http_scheme(const url& at, const http_client_options& options) {
    const bool spoken = at.scheme == "http" || (at.scheme == "https" && options.tls);
    if (!spoken) raise(errc::url_unsupported, at.scheme);
}

inline url parse_http_url(const std::string& text, const http_client_options& options) {
    std::error_code ec;
    auto out = parse_url(text, ec);
    if (!out) raise(ec);
    check_http_scheme(*out, options);
    return std::move(*out);
}

inline bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/// A connection whose answer has begun.
struct http_exchange {
    std::unique_ptr<stream> link;
    byte_vector received;
};

/// `spare_local`: whether addresses of this machine and of the local link may be dialled.
inline asio::awaitable<http_exchange> begin_http(network& net, const http_question& what, const url& at,
                                                 const http_client_options& options, bool spare_local) {
    const duration limit = options.first_byte_timeout;
    const std::string head = http_request_head(what, at, options);
    auto addresses = co_await resolve_host(net, at.host, options.family);
    if (spare_local) {
        std::erase_if(addresses, [](const ip_address& address) { return is_this_machine_or_link(address); });
        if (addresses.empty()) raise(errc::too_many_redirects, "redirected to this machine");
    }
    http_exchange out;
    out.link = co_await connect_any(net, addresses, at.port, limit);
    if (at.secure()) {
        auto plain = std::move(out.link);
        out.link = co_await options.tls(std::move(plain), at.host);
    }
    const std::array<byte_view, 2> parts{as_bytes(head), as_bytes(what.body)};
    co_await out.link->write(parts);
    out.received.resize(16 * 1024);
    const std::size_t got = co_await out.link->read_some(out.received);
    out.received.resize(got);
    co_return out;
}

/// Reads the answer; interim ones (1xx) are passed over.
inline asio::awaitable<http_response> read_http_response(http_exchange& from, const http_limits& limits,
                                                         bool head_only) {
    byte_vector buffer = std::move(from.received);
    std::size_t filled = buffer.size();
    bool ended = buffer.empty();
    for (int interim = 0; interim <= max_interim_answers; ++interim) {
        http_response response;
        http_reader<http_response> reader(response, limits);
        if (head_only) reader.expect_no_body();
        for (;;) {
            std::error_code ec;
            byte_view in = byte_view(buffer).first(filled);
            reader.put(in, ec);
            if (!ec && ended && !reader.is_done()) {
                if (!reader.is_header_done() || !reader.need_eof()) raise(errc::connection_closed);
                reader.put_eof(ec);
            }
            if (ec) raise(ec);
            std::copy(in.begin(), in.end(), buffer.begin());
            filled = in.size();
            if (reader.is_done()) break;
            // The reader leaves no more than a header may have.
            if (filled == buffer.size()) buffer.resize(buffer.size() + 16 * 1024);
            const byte_span room = byte_span(buffer).subspan(filled);
            const std::size_t got = co_await from.link->read_some(room);
            filled += got;
            ended = got == 0;
        }
        if (response.status >= 200 || response.status == 101) co_return response;
    }
    raise(errc::http_malformed, "only interim answers");
}

inline asio::awaitable<http_response> http_ask(network& net, http_question what, url at,
                                               const http_client_options& options) {
    std::set<std::string> visited;
    bool spare_local = false;
    for (int redirects = 0;; ++redirects) {
        if (redirects > options.max_redirects || !visited.insert(at.to_string()).second)
            raise(errc::too_many_redirects);
        auto exchange =
            co_await with_timeout(net, options.first_byte_timeout, begin_http(net, what, at, options, spare_local));
        spare_local = !is_this_machine_or_link(exchange.link->remote_endpoint().address);
        auto response = co_await read_http_response(exchange, options.limits, what.is_head());
        const auto location = response.headers.find("Location");
        if (!what.only_reads() || !is_redirect(response.status) || !location) co_return response;
        std::error_code ec;
        auto next = resolve_redirect(at, *location, ec);
        if (!next) raise(ec, "redirect");
        if (!redirect_allowed(at, *next)) raise(errc::too_many_redirects, "redirect to " + next->authority());
        check_http_scheme(*next, options);
        at = std::move(*next);
    }
}

}  // namespace detail

/// Sends one request to `address`, an http URL (https with options.tls), and completes with the answer: one of 200 to
/// 299, or any with keep_status. `headers` are sent besides Host, User-Agent, Accept-Encoding, Content-Length and
/// Connection. Redirects are followed for GET and HEAD alone, with the same headers.
/// Fails with errc::url_invalid or url_unsupported, host_not_found, the system's error if nothing can be connected,
/// tls_failed, timed_out, connection_closed in the middle of the answer, http_malformed (for headers that cannot be
/// sent, and for a content coding, which was not asked for), http_too_large, http_status with the number in the
/// message, too_many_redirects. The server may have acted on a request that failed. Cancelling closes the connection
/// and throws asio::error::operation_aborted.
inline asio::awaitable<http_response> http_request_to(network& net, std::string method, std::string address,
                                                      http_headers headers, std::string body,
                                                      http_client_options options) {
    url at = detail::parse_http_url(address, options);
    detail::http_question what;
    what.method = std::move(method);
    what.headers = std::move(headers);
    what.body = std::move(body);
    auto response = co_await with_timeout(net, options.total_timeout,
                                          detail::http_ask(net, std::move(what), std::move(at), options));
    const auto coding = response.headers.find("Content-Encoding");
    if (coding && !equal_ignoring_case(*coding, "identity"))
        raise(errc::http_malformed, "content coding " + std::string(*coding).substr(0, 20));
    const bool good = response.status >= 200 && response.status < 300;
    if (!options.keep_status && !good)
        raise(errc::http_status, std::to_string(response.status) + " " + std::string(http_reason(response.status)));
    co_return response;
}

/// Fetches `address`, an http URL, and completes with the answer (status 200, or any with keep_status). Fails as
/// http_request_to() does.
inline asio::awaitable<http_response> http_get(network& net, std::string address, http_client_options options) {
    const bool keep_status = options.keep_status;
    const http_headers no_headers;
    auto response =
        co_await http_request_to(net, "GET", std::move(address), no_headers, std::string(), std::move(options));
    if (!keep_status && response.status != 200)
        raise(errc::http_status, std::to_string(response.status) + " " + std::string(http_reason(response.status)));
    co_return response;
}

inline asio::awaitable<http_response> http_get(network& net, std::string address) {
    return http_get(net, std::move(address), http_client_options{});
}

}  // namespace cohort
