// Where other nodes knock: a WebSocket at one path, and nothing else.
#pragma once

#include <memory>
#include <utility>

#include <cohort/chat/links.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/websocket_server.hpp>

namespace cohort::chat {

/// The answer to a request at a chat node's port: whoever asks for chat_path is handed to `to` as a connection that
/// somebody else made. `net` and `to` outlive the connection.
inline asio::awaitable<http_response> answer_knock(network& net, links& to, http_request& request) {
    if (request.path() != chat_path) co_return make_http_response(404, "text/plain", "not found\n");
    // No page has any business here: a browser cannot speak Noise, but it could try.
    if (request.headers.contains("Origin")) co_return make_http_response(403, "text/plain", "not for browsers\n");
    websocket_server_options how;
    how.link.max_message = 512 * 1024;
    const websocket_talk talk = [&to](std::unique_ptr<websocket> socket) {
        return to.answer(std::make_unique<websocket_pipe>(std::move(socket)));
    };
    co_return upgrade_to_websocket(net, request, talk, how);
}

}  // namespace cohort::chat
