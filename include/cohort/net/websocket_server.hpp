// From an HTTP request to a WebSocket: what a handler of http_server returns for it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/http_message.hpp>
#include <cohort/net/websocket.hpp>
#include <cohort/protocol/websocket_handshake.hpp>

namespace cohort {

struct websocket_server_options {
    websocket_options link{};
    std::vector<std::string> protocols{};  ///< subprotocols that we speak, the favourite first
    /// Whether pages of other sites may connect: their visitor's browser would do it with the visitor's rights.
    /// Programs that are no browsers name no origin and are not asked for one.
    bool any_origin = false;
};

/// Speaks with one client; owns the link. Runs as a part of the server, is cancelled and awaited with it. An exception
/// that is a std::system_error ends this link alone and is dropped.
using websocket_talk = std::function<asio::awaitable<void>(std::unique_ptr<websocket>)>;

/// The answer to a request for a WebSocket: 101, and the talk begins when it is out; or 400, 403 (a page of another
/// site) or 426 (no request for a WebSocket, or not for version 13). `net` outlives the server.
inline http_response upgrade_to_websocket(network& net, const http_request& request, websocket_talk talk,
                                          const websocket_server_options& options = {});

namespace detail {

inline http_response refuse_websocket(int status) {
    http_response out = make_http_response(status, "text/plain", std::string(http_reason(status)) + "\n");
    if (status == 426) {
        out.headers.add("Upgrade", "websocket");  // RFC 9110, 15.5.22
        out.headers.add("Sec-WebSocket-Version", websocket_version);
    }
    return out;
}

}  // namespace detail

inline http_response upgrade_to_websocket(network& net, const http_request& request, websocket_talk talk,
                                          const websocket_server_options& options) {
    const std::string upgrade = request.headers.find_all("Upgrade").value_or("");
    const std::string connection = request.headers.find_all("Connection").value_or("");
    const std::string key = request.headers.find_all("Sec-WebSocket-Key").value_or("");
    const std::string version = request.headers.find_all("Sec-WebSocket-Version").value_or("");
    const std::string protocols = request.headers.find_all("Sec-WebSocket-Protocol").value_or("");
    const websocket_request_fields fields{.method = request.method,
                                          .http_version = request.version,
                                          .upgrade = upgrade,
                                          .connection = connection,
                                          .key = key,
                                          .version = version,
                                          .protocols = protocols};
    int status = 0;
    const auto accepted = accept_websocket_request(fields, options.protocols, status);
    if (!accepted) return detail::refuse_websocket(status);
    const std::string origin = request.headers.find_all("Origin").value_or("");
    const std::string_view host = request.headers.find("Host").value_or("");
    if (!origin.empty() && !options.any_origin && !websocket_same_origin(origin, host))
        return detail::refuse_websocket(403);

    http_response out;
    out.status = 101;
    out.headers.add("Upgrade", "websocket");
    out.headers.add("Connection", "Upgrade");
    out.headers.add("Sec-WebSocket-Accept", accepted->accept);
    const std::string protocol(accepted->protocol);
    if (!protocol.empty()) out.headers.add("Sec-WebSocket-Protocol", protocol);
    out.upgrade = [&net, link = options.link, talk = std::move(talk), protocol](std::unique_ptr<stream> carrier,
                                                                                byte_vector early) {
        auto socket = std::make_unique<websocket>(net, std::move(carrier), websocket_role::server, link, early);
        socket->protocol = protocol;
        return talk(std::move(socket));
    };
    return out;
}

}  // namespace cohort
