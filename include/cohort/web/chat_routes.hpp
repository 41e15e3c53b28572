// The control door of a chat node: what scripts and pages on this machine ask of it over REST, and hear over a
// WebSocket.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/net/http_message.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/net/websocket_server.hpp>
#include <cohort/web/chat_answers.hpp>
#include <cohort/web/chat_face.hpp>
#include <cohort/web/chat_frames.hpp>
#include <cohort/web/frame_feed.hpp>
#include <cohort/web/json_answer.hpp>
#include <cohort/web/local_guard.hpp>
#include <cohort/web/request_values.hpp>

namespace cohort {

struct chat_start {
    std::string username;
    std::uint16_t port = 0;  ///< to listen on; 0 takes a free one
    std::string tracker_url;
};

struct started_chat {
    std::shared_ptr<chat_face> node;
    std::optional<bool> tracker_reachable{};  ///< nothing while it has not answered
};

/// Makes a node and lets it run. Throws what chat_node throws, errc::name_taken from its run() included. Called by one
/// at a time, and not again once it succeeded.
using chat_starter = std::function<asio::awaitable<started_chat>(chat_start)>;

/// The bytes of a body or a frame that these routes take at most; larger ones are the server's to refuse.
inline constexpr std::size_t chat_body_max = 128 * 1024;

/// - POST /start {username,port,tracker_url}: {status,username,port,tracker_url,key,tracker_reachable}
/// - POST /connect {peer_username}: {status,peer_username}, when there is a link
/// - POST /send {peer_username,content}: {status,id,from,to,timestamp}; "sent", or "queued" until there is a link
/// - GET /peers[?all=true]: {"peers":[...]}, the connected ones or all that are known
/// - GET /messages[?with][&limit][&before=ID]: {"messages":[...]}, the last 100 or `limit`, at most 1000, oldest first
/// - GET /rooms: {"rooms":[...]}; POST /join {room}, POST /leave {room}: {status,room}
/// - POST /typing {peer_username[,on]}, POST /read {peer_username}: {status}
/// - POST /files {peer_username,path}: {status,id}, a file of this machine is offered
/// - POST /files/accept {peer_username,id[,directory]}, POST /files/refuse {peer_username,id}: {status,id}
/// - GET /safety_number?with: {username,safety_number,verified}
/// - GET /health: {status,service,version,uptime_s,username,total_peers,active_peers,timestamp}
/// - WebSocket /ws: frames as chat_frames.hpp has them; takes {"type":"ping"}, and "typing" and "read" with their data
///
/// Where a person's name is asked for, "#room" is a room of ours. A refusal is
/// {"status":"error","message":"KEY: why"}: 400 for what cannot be understood, 401, 403 and 421 as local_guard says,
/// 404 for an unknown peer, room or message, 409 before POST /start, for another name after it and where keys
/// contradict, 502 where the other side or the tracker cannot be reached. One thread only.
class chat_routes {
public:
    /// With `node` it is there already; then `start` is not called.
    chat_routes(network& net, local_guard guard, chat_starter start, std::shared_ptr<chat_face> node = nullptr)
        : net_(net),
          guard_(std::move(guard)),
          start_(std::move(start)),
          feed_(net),
          began_(net.now()),
          changed_(net.executor()) {
        now_.node = std::move(node);
    }

    /// Answers any request. Throws nothing but asio::error::operation_aborted, when cancelled.
    asio::awaitable<http_response> answer(http_request& request);

    /// Tells the listeners of /ws what happens, until cancelled.
    asio::awaitable<void> run();

private:
    using node_pointer = chat_answer::node_pointer;
    using action = asio::awaitable<http_response> (*)(node_pointer, request_values&);

    struct route {
        std::string_view path, method;
        const char* key = "";  ///< what an unknown name or a failure is blamed on
        action act = nullptr;  ///< needs a node; nothing for what the routes do themselves
    };
    static const route* find_route(std::string_view path);
    asio::awaitable<http_response> perform(const route& at, request_values& given) {
        return at.act == nullptr ? start(given) : at.act(now_.node, given);
    }
    asio::awaitable<http_response> respond(const http_request& request);

    static http_response refusal(const std::system_error& failure, std::string_view key);
    static http_response start_refusal(const std::system_error& failure);
    http_response refuse(int status) const;
    http_response open_feed(const http_request& request);
    std::string answer_frame(std::string_view text);

    http_response state(std::string_view status) const;
    http_response health() const;
    asio::awaitable<http_response> start(request_values& given);

    network& net_;
    local_guard guard_;
    chat_starter start_;
    frame_feed feed_;
    time_point began_;
    wakeup changed_;  ///< notified when a start has come to its end
    started_chat now_;
    bool starting_ = false;
};

// ---- Machinery

inline const chat_routes::route* chat_routes::find_route(std::string_view path) {
    static constexpr route all[] = {
        {"/send", "POST", "peer_username", &chat_answer::send},
        {"/peers", "GET", "peers", &chat_answer::peers},
        {"/messages", "GET", "with", &chat_answer::messages},
        {"/typing", "POST", "peer_username", &chat_answer::typing},
        {"/read", "POST", "peer_username", &chat_answer::read},
        {"/connect", "POST", "peer_username", &chat_answer::connect},
        {"/rooms", "GET", "rooms", &chat_answer::rooms},
        {"/join", "POST", "room", &chat_answer::join},
        {"/leave", "POST", "room", &chat_answer::leave},
        {"/files", "POST", "peer_username", &chat_answer::offer_file},
        {"/files/accept", "POST", "id", &chat_answer::accept_file},
        {"/files/refuse", "POST", "id", &chat_answer::refuse_file},
        {"/safety_number", "GET", "with", &chat_answer::safety_number},
        {"/start", "POST"},
        {"/health", "GET"},
        {"/ws", "GET"},
    };
    const auto* const found =
        std::find_if(std::begin(all), std::end(all), [path](const route& one) { return one.path == path; });
    return found == std::end(all) ? nullptr : found;
}

inline asio::awaitable<void> chat_routes::run() {
    while (!now_.node) co_await changed_.wait();
    const node_pointer node = now_.node;
    for (;;) {
        const chat_node_event event = co_await node->receive();
        if (const auto* const news = std::get_if<chat_event::tracker_state>(&event))
            now_.tracker_reachable = news->reachable;
        feed_.tell(chat_frame(event, node->name()));
    }
}

inline asio::awaitable<http_response> chat_routes::answer(http_request& request) {
    if (const int status = guard_.refusal(request)) co_return refuse(status);
    http_response out = co_await respond(request);
    if (out.status != 101) cors_policy{}.open(out, request);
    co_return out;
}

inline asio::awaitable<http_response> chat_routes::respond(const http_request& request) {
    const route* const at = find_route(request.path());
    if (at == nullptr) co_return json_error(404, "path", "there is nothing here");
    const std::string allowed = std::string(at->method) + (at->method == "GET" ? ", HEAD" : "") + ", OPTIONS";
    if (request.method == "OPTIONS") co_return cors_policy{}.preflight(request, allowed);
    if (route_method(request) != at->method) co_return method_refused(allowed);
    if (at->path == "/ws") co_return open_feed(request);
    if (at->path == "/health") co_return health();
    request_values given(request);
    if (!given.ok()) co_return chat_answer::misunderstood(given);
    if (at->act != nullptr && !now_.node) co_return json_error(409, "username", "nobody yet; POST /start comes first");
    http_response out;
    try {
        out = co_await perform(*at, given);
    } catch (const std::system_error& failure) {
        if (is_cancellation(failure.code())) throw;
        out = at->act == nullptr ? start_refusal(failure) : refusal(failure, at->key);
    }
    co_return out;
}

inline http_response chat_routes::refuse(int status) const {
    if (status == 421) return json_error(status, "host", "localhost:" + std::to_string(guard_.port) + " is meant");
    if (status == 403) return json_error(status, "origin", "pages from there may not do this");
    http_response out = json_error(status, "token", "it is missing, or another one");
    out.headers.add("WWW-Authenticate", "Bearer");
    return out;
}

inline http_response chat_routes::refusal(const std::system_error& failure, std::string_view key) {
    const std::error_code& code = failure.code();
    if (code == errc::unknown_peer) return json_error(404, key, failure.what());
    if (code == errc::chat_too_long || code == errc::chat_malformed) return json_error(400, "content", failure.what());
    if (code == errc::name_invalid) return json_error(400, key, failure.what());
    if (code == errc::identity_changed || code == errc::name_taken) return json_error(409, key, failure.what());
    const bool ours = code == errc::log_damaged || code == errc::disk_full || code == errc::disk_failed;
    return json_error(ours ? 500 : 502, key, failure.what());
}

inline http_response chat_routes::start_refusal(const std::system_error& failure) {
    const std::error_code& code = failure.code();
    if (code == errc::name_invalid) return json_error(400, "username", failure.what());
    if (code == errc::url_invalid || code == errc::url_unsupported)
        return json_error(400, "tracker_url", failure.what());
    if (code == errc::name_taken || code == std::errc::device_or_resource_busy)
        return json_error(409, "username", failure.what());
    if (code == std::errc::address_in_use || code == std::errc::permission_denied)
        return json_error(409, "port", failure.what());
    return json_error(500, "start", failure.what());
}

// ---- Machinery: the WebSocket

inline http_response chat_routes::open_feed(const http_request& request) {
    websocket_server_options how;
    how.link.max_message = chat_body_max;
    how.any_origin = true;  // the guard has judged it
    const websocket_talk talk = [this](std::unique_ptr<websocket> socket) {
        return feed_.talk(std::move(socket), [this](std::string_view text) { return answer_frame(text); });
    };
    return upgrade_to_websocket(net_, request, talk, how);
}

inline std::string chat_routes::answer_frame(std::string_view text) {
    constexpr std::size_t depth = 8;
    const auto failure = [](const std::string& why) { return chat_frame("error", {{"message", to_json(why)}}); };
    std::error_code ec;
    const auto frame = parse_json(text, ec, depth);
    const std::string_view type = frame ? json_text(json_member(*frame, "type")).value_or("") : "";
    const json* const data = frame ? json_member(*frame, "data") : nullptr;
    if (type == "ping") {
        json_line pong;
        pong.add("type", "pong");
        if (data != nullptr) pong.add("data", *data);
        return pong.take();
    }
    if (type != "typing" && type != "read") return failure("type: ping, typing or read is needed");
    if (!now_.node) return failure("username: nobody yet; POST /start comes first");
    request_values given(data == nullptr ? json(json_object{}) : *data);
    const std::string with = chat_answer::other(*now_.node, given);
    const bool on = given.truth("on", true);
    if (!given.ok()) return failure(given.wrong());
    if (type == "typing") now_.node->typing(with, on);
    if (type == "read") now_.node->mark_read(with);
    return {};
}

// ---- Machinery: beginnings, and how we are

inline http_response chat_routes::state(std::string_view status) const {
    json_line line;
    line.add("status", status)
        .add("username", now_.node->name())
        .add("port", now_.node->port())
        .add("tracker_url", now_.node->tracker_url())
        .add("key", now_.node->key().hex())
        .add("tracker_reachable", now_.tracker_reachable);
    return json_answer(200, line);
}

inline asio::awaitable<http_response> chat_routes::start(request_values& given) {
    chat_start wanted;
    wanted.username = given.word("username");
    wanted.port = static_cast<std::uint16_t>(given.number("port", 0, 65535));
    wanted.tracker_url = given.text("tracker_url");
    if (!given.ok()) co_return chat_answer::misunderstood(given);
    while (starting_) co_await changed_.wait();
    if (now_.node && now_.node->name() == wanted.username) co_return state("running");
    if (now_.node) co_return json_error(409, "username", now_.node->name() + " is running here");
    struct turn {
        explicit turn(chat_routes& r) : owner(r) { owner.starting_ = true; }
        ~turn() {
            owner.starting_ = false;
            owner.changed_.notify();
        }
        chat_routes& owner;
    };
    const turn ours(*this);
    started_chat made = co_await start_(wanted);
    now_ = std::move(made);
    co_return state("started");
}

inline http_response chat_routes::health() const {
    const chat_face* const node = now_.node.get();
    const std::vector<chat_peer> known = node != nullptr ? node->peers() : std::vector<chat_peer>{};
    json_line line = health_line("chat", net_.now() - began_);
    line.add("username", node != nullptr ? to_json(node->name()) : json())
        .add("total_peers", known.size())
        .add("active_peers", std::count_if(known.begin(), known.end(), [](const auto& one) { return one.connected; }))
        .add("timestamp", iso_time(net_.calendar()));
    return json_answer(200, line);
}

}  // namespace cohort
