// Opens a WebSocket to a server: dialling, the opening handshake, and a bound on both.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/dial.hpp>
#include <cohort/net/http_parser.hpp>
#include <cohort/net/stream_upgrade.hpp>
#include <cohort/net/websocket.hpp>
#include <cohort/protocol/url.hpp>
#include <cohort/protocol/websocket_handshake.hpp>

namespace cohort {

struct websocket_client_options {
    websocket_options link{};
    std::vector<std::string> protocols{};  ///< subprotocols that we offer, the favourite first
    http_headers headers{};                ///< further fields of the request, such as Origin
    duration open_timeout = 10s;           ///< to resolve, connect and see the handshake through
    address_family family = address_family::any;
    std::size_t max_header = 16 * 1024;  ///< bytes of the server's answer
    std::string user_agent = "cohort/0.1";
    stream_upgrade tls = nullptr;  ///< for wss URLs, which are errc::url_unsupported without it
};

/// Connects to `address`, a ws URL (wss with options.tls), and completes with the open WebSocket. Fails with
/// errc::url_invalid or url_unsupported, host_not_found, the system's error if nothing can be connected, tls_failed,
/// timed_out, connection_closed, http_status with the number if the server answers anything but 101 (redirects are not
/// followed), http_malformed or http_too_large for what is no HTTP, websocket_malformed for an answer that is not one
/// to our request. Cancelling closes the connection and throws asio::error::operation_aborted.
inline asio::awaitable<std::unique_ptr<websocket>> websocket_connect(network& net, std::string address,
                                                                     websocket_client_options options);
inline asio::awaitable<std::unique_ptr<websocket>> websocket_connect(network& net, std::string address) {
    return websocket_connect(net, std::move(address), websocket_client_options{});
}

/// The same over a stream that is connected already, and encrypted if need be; `at` is a ws or wss URL, of which host
/// and target go into the request. The stream is closed on failure.
inline asio::awaitable<std::unique_ptr<websocket>> websocket_connect(network& net, std::unique_ptr<stream> link, url at,
                                                                     websocket_client_options options);

namespace detail {

inline std::string websocket_request_head(const url& at, std::string_view key,
                                          const websocket_client_options& options) {
    std::string out = "GET " + at.target + " HTTP/1.1\r\n";
    append_field(out, "Host", at.authority());
    append_field(out, "User-Agent", options.user_agent);
    append_field(out, "Upgrade", "websocket");
    append_field(out, "Connection", "Upgrade");
    append_field(out, "Sec-WebSocket-Key", key);
    append_field(out, "Sec-WebSocket-Version", websocket_version);
    std::string offered;
    for (const std::string& one : options.protocols) offered += (offered.empty() ? "" : ", ") + one;
    if (!offered.empty()) append_field(out, "Sec-WebSocket-Protocol", offered);
    for (std::size_t i = 0; i < options.headers.size(); ++i)
        append_field(out, options.headers[i].name, options.headers[i].value);
    return out + "\r\n";
}

/// The subprotocol that the server chose; throws what is wrong with its answer.
inline std::string agreed_protocol(const http_response& response, std::string_view key,
                                   const websocket_client_options& options) {
    const std::string upgrade = response.headers.find_all("Upgrade").value_or("");
    const std::string connection = response.headers.find_all("Connection").value_or("");
    const std::string accept = response.headers.find_all("Sec-WebSocket-Accept").value_or("");
    const std::string protocol = response.headers.find_all("Sec-WebSocket-Protocol").value_or("");
    const std::string extensions = response.headers.find_all("Sec-WebSocket-Extensions").value_or("");
    const websocket_response_fields fields{.status = response.status,
                                           .upgrade = upgrade,
                                           .connection = connection,
                                           .accept = accept,
                                           .protocol = protocol,
                                           .extensions = extensions};
    std::error_code ec;
    const auto agreed = check_websocket_response(fields, key, options.protocols, ec);
    if (ec == errc::http_status)
        raise(ec, std::to_string(response.status) + " " + std::string(http_reason(response.status)));
    if (!agreed) raise(ec, "the answer to the opening handshake");
    return std::string(*agreed);
}

/// Completes with the header of the answer; interim ones (1xx) are passed over. What came behind it is left in
/// `buffer`.
inline asio::awaitable<http_response> read_websocket_answer(stream& link, std::size_t max_header, byte_vector& buffer) {
    const http_limits limits{.header = max_header, .body = std::uint64_t{1} << 40};  // no body is read
    buffer.resize(4 * 1024);
    std::size_t filled = 0;
    for (int interim = 0; interim <= max_interim_answers; ++interim) {
        http_response response;
        http_reader<http_response> reader(response, limits);
        for (;;) {
            std::error_code ec;
            byte_view in = byte_view(buffer).first(filled);
            reader.put(in, ec);
            if (ec && !reader.is_header_done()) raise(ec);
            std::copy(in.begin(), in.end(), buffer.begin());
            filled = in.size();
            if (reader.is_header_done()) break;
            if (filled == buffer.size()) buffer.resize(2 * buffer.size());
            const byte_span room = byte_span(buffer).subspan(filled);
            const std::size_t got = co_await link.read_some(room);
            if (got == 0) raise(errc::connection_closed);
            filled += got;
        }
        if (response.status >= 200 || response.status == 101) {
            buffer.resize(filled);
            co_return response;
        }
    }
    raise(errc::http_malformed, "only interim answers");
}

inline asio::awaitable<std::unique_ptr<websocket>> open_websocket(network& net, std::unique_ptr<stream> link, url at,
                                                                  websocket_client_options options) {
    std::uint8_t random[websocket_key_size];
    net.secret(random);
    const std::string key = websocket_key(random);
    const std::string head = websocket_request_head(at, key, options);
    co_await write_all(*link, as_bytes(head));

    byte_vector early;
    const http_response response = co_await read_websocket_answer(*link, options.max_header, early);
    std::string protocol = agreed_protocol(response, key, options);
    auto out = std::make_unique<websocket>(net, std::move(link), websocket_role::client, options.link, early);
    out->protocol = std::move(protocol);
    co_return out;
}

inline asio::awaitable<std::unique_ptr<websocket>> dial_websocket(network& net, url at,
                                                                  websocket_client_options options) {
    const auto addresses = co_await resolve_host(net, at.host, options.family);
    auto link = co_await connect_any(net, addresses, at.port, options.open_timeout);
    if (at.secure()) {
        auto plain = std::move(link);
        link = co_await options.tls(std::move(plain), at.host);
    }
    auto out = co_await open_websocket(net, std::move(link), std::move(at), std::move(options));
    co_return out;
}

}  // namespace detail

inline asio::awaitable<std::unique_ptr<websocket>> websocket_connect(network& net, std::string address,
                                                                     websocket_client_options options) {
    std::error_code ec;
    auto at = parse_url(address, ec);
    if (!at) raise(ec);
    const bool spoken = at->scheme == "ws" || (at->scheme == "wss" && options.tls);
    if (!spoken) raise(errc::url_unsupported, at->scheme);
    const duration limit = options.open_timeout;
    auto out = co_await with_timeout(net, limit, detail::dial_websocket(net, std::move(*at), std::move(options)));
    co_return out;
}

inline asio::awaitable<std::unique_ptr<websocket>> websocket_connect(network& net, std::unique_ptr<stream> link, url at,
                                                                     websocket_client_options options) {
    const duration limit = options.open_timeout;
    auto out = co_await with_timeout(net, limit,
                                     detail::open_websocket(net, std::move(link), std::move(at), std::move(options)));
    co_return out;
}

}  // namespace cohort
