// What happens in a chat as JSON for scripts and pages: {"type":"message","data":{...}}, one frame an event.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/protocol/iso_time.hpp>
#include <cohort/protocol/json.hpp>

namespace cohort {

/// A frame as text. Who we are says `own_name`. Members of `data` by type (`with` is a person's name, or a room's with
/// '#' before it; ids are "KEY:NUMBER"; timestamps ISO 8601 in UTC):
///
/// | type | data |
/// |---|---|
/// | message | from, to, content, timestamp, id, with, own; of own ones state: kept, sent, delivered, read |
/// | receipt | with, by, id, state: all own messages up to that one have come so far |
/// | typing | from, with, on |
/// | peer_connected | username, key, address, verified |
/// | peer_disconnected | username, reason |
/// | presence | username, state |
/// | member_joined, member_left | room, username |
/// | identity_changed | username, known, claimed |
/// | file_offered | with, from, id, name, size |
/// | file_progress | with, id, done, total, rate |
/// | file_done, file_failed | with, id, path or reason |
/// | tracker | reachable, reason |
/// | warning | text |
std::string chat_frame(const chat_node_event& event, const std::string& own_name);

std::string chat_frame(std::string_view type, json_object data);
json_object chat_message_json(const shown_message& m, const std::string& own_name);
/// Members: username, key, host and port (null if unknown), is_active, connected, verified, presence.
json_object chat_peer_json(const chat_peer& peer);
json_object chat_room_json(const chat_room_info& room);

// ---- Machinery

inline json_object chat_message_json(const shown_message& m, const std::string& own_name) {
    const bool to_us = !m.own && !m.with.starts_with('#');
    json_object out{{"from", to_json(m.from)},    {"to", to_json(to_us ? own_name : m.with)},
                    {"content", to_json(m.text)}, {"timestamp", to_json(iso_time(m.time_ms))},
                    {"id", to_json(m.id.text())}, {"with", to_json(m.with)},
                    {"own", to_json(m.own)}};
    if (m.own) out["state"] = to_json(name_of(m.state));
    return out;
}

inline json_object chat_peer_json(const chat_peer& peer) {
    json_object out{{"username", to_json(peer.name)},
                    {"host", json()},
                    {"port", json()},
                    {"key", json()},
                    {"is_active", to_json(peer.online)},
                    {"connected", to_json(peer.connected)},
                    {"verified", to_json(peer.verified)},
                    {"presence", to_json(peer.presence)}};
    if (peer.key) out["key"] = to_json(peer.key->hex());
    if (peer.address) out["host"] = to_json(peer.address->address.to_string());
    if (peer.address) out["port"] = to_json(peer.address->port);
    return out;
}

inline json_object chat_room_json(const chat_room_info& room) {
    json_array members;
    for (const std::string& one : room.members) members.push_back(to_json(one));
    return {
        {"room", to_json(room.name)}, {"members", to_json(std::move(members))}, {"connected", to_json(room.connected)}};
}

inline std::string chat_frame(std::string_view type, json_object data) {
    return json_line().add("type", type).add("data", std::move(data)).take();
}

namespace detail {

struct chat_framer {
    const std::string& own_name;

    std::string operator()(const chat_event::message& e) const {
        return chat_frame("message", chat_message_json(e.what, own_name));
    }
    std::string operator()(const chat_event::receipt& e) const {
        return chat_frame("receipt", {{"with", to_json(e.with)},
                                      {"by", to_json(e.by)},
                                      {"id", to_json(e.up_to.text())},
                                      {"state", to_json(name_of(e.state))}});
    }
    std::string operator()(const chat_event::typing& e) const {
        return chat_frame("typing", {{"from", to_json(e.who)}, {"with", to_json(e.with)}, {"on", to_json(e.on)}});
    }
    std::string operator()(const chat_event::peer_connected& e) const {
        return chat_frame("peer_connected", {{"username", to_json(e.name)},
                                             {"key", to_json(e.key.hex())},
                                             {"address", to_json(e.address.to_string())},
                                             {"verified", to_json(e.verified)}});
    }
    std::string operator()(const chat_event::peer_disconnected& e) const {
        return chat_frame("peer_disconnected",
                          {{"username", to_json(e.name)}, {"reason", to_json(e.reason ? e.reason.message() : "")}});
    }
    std::string operator()(const chat_event::presence& e) const {
        return chat_frame("presence", {{"username", to_json(e.name)}, {"state", to_json(e.state)}});
    }
    std::string operator()(const chat_event::member_joined& e) const {
        return chat_frame("member_joined", {{"room", to_json(e.room)}, {"username", to_json(e.name)}});
    }
    std::string operator()(const chat_event::member_left& e) const {
        return chat_frame("member_left", {{"room", to_json(e.room)}, {"username", to_json(e.name)}});
    }
    std::string operator()(const chat_event::identity_changed& e) const {
        return chat_frame(
            "identity_changed",
            {{"username", to_json(e.name)}, {"known", to_json(e.known.hex())}, {"claimed", to_json(e.claimed.hex())}});
    }
    std::string operator()(const chat_event::file_offered& e) const {
        return chat_frame("file_offered", {{"with", to_json(e.with)},
                                           {"from", to_json(e.from)},
                                           {"id", to_json(e.id.text())},
                                           {"name", to_json(e.file_name)},
                                           {"size", to_json(e.size)}});
    }
    std::string operator()(const chat_event::file_progress& e) const {
        return chat_frame("file_progress", {{"with", to_json(e.with)},
                                            {"id", to_json(e.id.text())},
                                            {"done", to_json(e.done)},
                                            {"total", to_json(e.total)},
                                            {"rate", to_json(e.rate)}});
    }
    std::string operator()(const chat_event::file_done& e) const {
        return chat_frame("file_done",
                          {{"with", to_json(e.with)}, {"id", to_json(e.id.text())}, {"path", to_json(e.path)}});
    }
    std::string operator()(const chat_event::file_failed& e) const {
        return chat_frame("file_failed",
                          {{"with", to_json(e.with)}, {"id", to_json(e.id.text())}, {"reason", to_json(e.reason)}});
    }
    std::string operator()(const chat_event::tracker_state& e) const {
        return chat_frame("tracker", {{"reachable", to_json(e.reachable)}, {"reason", to_json(e.reason)}});
    }
    std::string operator()(const chat_event::warning& e) const {
        return chat_frame("warning", {{"text", to_json(e.text)}});
    }
};

}  // namespace detail

inline std::string chat_frame(const chat_node_event& event, const std::string& own_name) {
    return std::visit(detail::chat_framer{own_name}, event);
}

}  // namespace cohort
