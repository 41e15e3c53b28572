// What a chat node answers to scripts and pages: one coroutine a request, over the values that came with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/net/calendar.hpp>
#include <cohort/net/http_message.hpp>
#include <cohort/web/chat_face.hpp>
#include <cohort/web/chat_frames.hpp>
#include <cohort/web/json_answer.hpp>
#include <cohort/web/request_values.hpp>

namespace cohort::chat_answer {

using node_pointer = std::shared_ptr<chat_face>;

inline http_response misunderstood(const request_values& given) { return json_error(400, given.wrong()); }

/// Whom a request is about. Nobody has a link to themselves.
inline std::string other(const chat_face& node, request_values& given, const char* key = "peer_username") {
    std::string out = given.word(key);
    if (out == node.name()) given.fail(key, "somebody else is needed");
    return out;
}

inline bool knows(const chat_face& node, const std::string& with) {
    const std::vector<std::string> talks = node.conversations();
    if (std::find(talks.begin(), talks.end(), with) != talks.end()) return true;
    const std::vector<chat_peer> peers = node.peers();
    return std::any_of(peers.begin(), peers.end(), [&](const chat_peer& one) { return one.name == with; });
}

inline bool is_linked(const chat_face& node, const std::string& with) {
    const std::vector<chat_peer> peers = node.peers();
    const std::vector<chat_room_info> rooms = node.rooms();
    return std::any_of(peers.begin(), peers.end(),
                       [&](const chat_peer& one) { return one.name == with && one.connected; }) ||
           std::any_of(rooms.begin(), rooms.end(),
                       [&](const chat_room_info& one) { return one.name == with && one.connected > 0; });
}

inline message_id offer_id(request_values& given) {
    const auto out = message_id::parse(given.text("id"));
    if (!out) given.fail("id", "one as file_offered has it is needed");
    return out.value_or(message_id{});
}

// Each throws what the node throws; chat_routes makes an answer of that too. `given` outlives the coroutine.

inline asio::awaitable<http_response> connect(node_pointer node, request_values& given) {
    const std::string name = other(*node, given);
    if (!given.ok()) co_return misunderstood(given);
    co_await node->connect(name);
    json_line line;
    line.add("status", "connected").add("peer_username", name);
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> send(node_pointer node, request_values& given) {
    const std::string to = other(*node, given);
    const std::string content = given.text("content");
    if (!given.ok()) co_return misunderstood(given);
    const message_id id = co_await node->send(to, content);
    json_line line;
    line.add("status", is_linked(*node, to) ? "sent" : "queued")
        .add("id", id.text())
        .add("from", node->name())
        .add("to", to)
        .add("timestamp", iso_time(calendar_now()));
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> peers(node_pointer node, request_values& given) {
    const std::string all = given.maybe_text("all").value_or("false");
    if (all != "true" && all != "false") given.fail("all", "true or false is needed");
    if (!given.ok()) co_return misunderstood(given);
    json_array list;
    for (const chat_peer& one : node->peers())
        if (one.connected || all == "true") list.push_back(json(chat_peer_json(one)));
    json_line line;
    line.add("peers", list);
    co_return json_answer(200, line);
}

/// Of all conversations. One that cannot be read is left out: asked for by its name, it says why.
inline asio::awaitable<std::vector<shown_message>> latest(node_pointer node, std::size_t limit) {
    const std::optional<message_id> from_the_end;
    std::vector<shown_message> out;
    const std::vector<std::string> talks = node->conversations();
    for (const std::string& name : talks) {
        std::vector<shown_message> part;
        try {
            part = co_await node->history(name, limit, from_the_end);
        } catch (const std::system_error& failure) {
            if (is_cancellation(failure.code())) throw;
        }
        out.insert(out.end(), part.begin(), part.end());
        std::stable_sort(out.begin(), out.end(),
                         [](const shown_message& a, const shown_message& b) { return a.time_ms < b.time_ms; });
        if (out.size() > limit) out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(limit));
    }
    co_return out;
}

inline asio::awaitable<http_response> messages(node_pointer node, request_values& given) {
    constexpr std::int64_t usual = 100;
    constexpr std::int64_t most = 1000;
    const auto with = given.maybe_text("with");
    const auto limit = static_cast<std::size_t>(
        std::min(given.number("limit", 0, std::numeric_limits<std::int64_t>::max(), usual), most));
    std::optional<message_id> before;
    if (const auto text = given.maybe_text("before")) {
        before = message_id::parse(*text);
        if (!before) given.fail("before", "the id of a message is needed");
        if (!with) given.fail("with", "it is needed beside before");
    }
    if (!given.ok()) co_return misunderstood(given);
    std::vector<shown_message> found;
    if (with) {
        if (!knows(*node, *with)) raise(errc::unknown_peer, *with);
        const std::vector<std::string> talks = node->conversations();
        const bool talked = std::find(talks.begin(), talks.end(), *with) != talks.end();
        const std::string name = *with;
        if (talked) found = co_await node->history(name, limit, before);
    } else {
        found = co_await latest(node, limit);
    }
    json_array list;
    for (const shown_message& one : found) list.push_back(json(chat_message_json(one, node->name())));
    json_line line;
    line.add("messages", list);
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> rooms(node_pointer node, request_values&) {
    json_array list;
    for (const chat_room_info& one : node->rooms()) list.push_back(json(chat_room_json(one)));
    json_line line;
    line.add("rooms", list);
    co_return json_answer(200, line);
}

/// With the '#' that people may leave out.
inline std::string shown_room(const std::string& room) { return room.starts_with('#') ? room : "#" + room; }

inline asio::awaitable<http_response> join(node_pointer node, request_values& given) {
    const std::string room = given.word("room");
    if (!given.ok()) co_return misunderstood(given);
    co_await node->join(room);
    json_line line;
    line.add("status", "joined").add("room", shown_room(room));
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> leave(node_pointer node, request_values& given) {
    const std::string room = given.word("room");
    if (!given.ok()) co_return misunderstood(given);
    co_await node->leave(room);
    json_line line;
    line.add("status", "left").add("room", shown_room(room));
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> typing(node_pointer node, request_values& given) {
    const std::string to = other(*node, given);
    const bool on = given.truth("on", true);
    if (!given.ok()) co_return misunderstood(given);
    if (!knows(*node, to)) raise(errc::unknown_peer, to);
    node->typing(to, on);
    json_line line;
    co_return json_answer(200, line.add("status", "told"));
}

inline asio::awaitable<http_response> read(node_pointer node, request_values& given) {
    const std::string with = other(*node, given);
    if (!given.ok()) co_return misunderstood(given);
    if (!knows(*node, with)) raise(errc::unknown_peer, with);
    node->mark_read(with);
    json_line line;
    co_return json_answer(200, line.add("status", "read"));
}

inline asio::awaitable<http_response> offer_file(node_pointer node, request_values& given) {
    const std::string to = other(*node, given);
    const std::string path = given.word("path");
    std::error_code ec;
    if (!std::filesystem::path(path).is_absolute() || !std::filesystem::exists(path, ec))
        given.fail("path", "the absolute path of a file on this machine is needed");
    if (!given.ok()) co_return misunderstood(given);
    const message_id id = co_await node->send_file(to, path);
    json_line line;
    line.add("status", "offered").add("id", id.text());
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> accept_file(node_pointer node, request_values& given) {
    const std::string with = other(*node, given);
    const message_id id = offer_id(given);
    const std::string directory = given.maybe_text("directory").value_or(node->files_folder());
    if (!std::filesystem::path(directory).is_absolute()) given.fail("directory", "an absolute path is needed");
    if (!given.ok()) co_return misunderstood(given);
    if (!knows(*node, with)) raise(errc::unknown_peer, with);
    co_await node->accept_file(with, id, directory);
    json_line line;
    line.add("status", "accepted").add("id", id.text());
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> refuse_file(node_pointer node, request_values& given) {
    const std::string with = other(*node, given);
    const message_id id = offer_id(given);
    if (!given.ok()) co_return misunderstood(given);
    if (!knows(*node, with)) raise(errc::unknown_peer, with);
    node->refuse_file(with, id);
    json_line line;
    line.add("status", "refused").add("id", id.text());
    co_return json_answer(200, line);
}

inline asio::awaitable<http_response> safety_number(node_pointer node, request_values& given) {
    const std::string with = other(*node, given, "with");
    if (!given.ok()) co_return misunderstood(given);
    const std::string number = node->safety_number(with);
    const std::vector<chat_peer> peers = node->peers();
    const bool verified =
        std::any_of(peers.begin(), peers.end(), [&](const chat_peer& one) { return one.name == with && one.verified; });
    json_line line;
    line.add("username", with).add("safety_number", number).add("verified", verified);
    co_return json_answer(200, line);
}

}  // namespace cohort::chat_answer
