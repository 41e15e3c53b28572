// The chat for scripts: one JSON object a line in both directions. Names of events and members stay as they are; more
// may come, so scripts ignore what they do not know.
//
// Events (`with` is a conversation: a name, or a room with '#' before it; `id` is "KEY:NUMBER", the author's key in
// hexadecimal and the number of the message in that conversation; times are milliseconds since 1970; sizes are bytes;
// own messages and offers come as events too):
//
//   {"event":"ready","name":..,"key":..,"port":..}            the first: others can reach us
//   {"event":"message","with":..,"from":..,"text":..,"time_ms":..,"id":..,"own":false}
//   {"event":"receipt","with":..,"by":..,"up_to":ID,"state":"sent"|"delivered"|"read"}
//   {"event":"typing","with":..,"who":..,"on":true}
//   {"event":"peer_connected","name":..,"key":..,"address":..,"verified":false}
//   {"event":"peer_disconnected","name":..,"reason":..}
//   {"event":"presence","name":..,"state":..}
//   {"event":"member_joined","room":..,"name":..}             and member_left
//   {"event":"identity_changed","name":..,"known":KEY,"claimed":KEY}
//   {"event":"file_offered","with":..,"from":..,"id":..,"file_name":..,"size":..}
//   {"event":"file_progress","with":..,"id":..,"done":..,"total":..,"rate":..}
//   {"event":"file_done","with":..,"id":..,"path":..}
//   {"event":"file_failed","with":..,"id":..,"reason":..}
//   {"event":"tracker_state","reachable":true,"reason":..}
//   {"event":"warning","text":..}
//
// Commands are what people type, or objects, of which only "command" and what has no default must be there:
//
//   {"command":"send","to":..,"text":..}                      "to" and "with" are by default the current conversation,
//   {"command":"talk","with":..}                              which this command sets, as connect and join do
//   {"command":"connect","name":..}       {"command":"peers"}         {"command":"rooms"}      {"command":"quit"}
//   {"command":"join","room":..}          {"command":"leave","room":..}
//   {"command":"history","with":..,"count":20,"before":ID}    oldest first; "before" for what was earlier
//   {"command":"send_file","to":..,"path":..}
//   {"command":"accept","with":..,"id":..,"directory":..}     {"command":"refuse",..}          without id: the newest
//   {"command":"verify","name":..,"confirmed":false}          {"command":"forget","name":..}
//   {"command":"presence","state":..}     {"command":"read","with":..}        {"command":"typing","to":..,"on":true}
//
// Each command is answered when it is done, in order, by one of
//
//   {"event":"done","command":"send",..}                      send, send_file: "id"; peers: "peers"; rooms: "rooms";
//                                                             history: "messages"; verify: "safety_number"
//   {"event":"error","command":..,"message":..}
//
// with the "tag" of the command, if it has one, or {"event":"error","command":null,..} for what is no command.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/protocol/json.hpp>

namespace cohort::examples {

namespace detail {

inline json_line event_line(std::string_view event) {
    json_line out;
    out.add("event", event);
    return out;
}

// One function an event, as the comment above has them.

inline json_line event_json(const chat_event::message& e) {
    const shown_message& m = e.what;
    json_line out = event_line("message");
    out.add("with", m.with).add("from", m.from).add("text", m.text).add("time_ms", m.time_ms);
    return out.add("id", m.id.text()).add("own", m.own);
}
inline json_line event_json(const chat_event::receipt& e) {
    json_line out = event_line("receipt");
    return out.add("with", e.with).add("by", e.by).add("up_to", e.up_to.text()).add("state", name_of(e.state));
}
inline json_line event_json(const chat_event::typing& e) {
    return event_line("typing").add("with", e.with).add("who", e.who).add("on", e.on);
}
inline json_line event_json(const chat_event::peer_connected& e) {
    json_line out = event_line("peer_connected");
    out.add("name", e.name).add("key", e.key.hex()).add("address", e.address.to_string());
    return out.add("verified", e.verified);
}
inline json_line event_json(const chat_event::peer_disconnected& e) {
    return event_line("peer_disconnected").add("name", e.name).add("reason", e.reason ? e.reason.message() : "");
}
inline json_line event_json(const chat_event::presence& e) {
    return event_line("presence").add("name", e.name).add("state", e.state);
}
inline json_line event_json(const chat_event::member_joined& e) {
    return event_line("member_joined").add("room", e.room).add("name", e.name);
}
inline json_line event_json(const chat_event::member_left& e) {
    return event_line("member_left").add("room", e.room).add("name", e.name);
}
inline json_line event_json(const chat_event::identity_changed& e) {
    json_line out = event_line("identity_changed");
    return out.add("name", e.name).add("known", e.known.hex()).add("claimed", e.claimed.hex());
}
inline json_line event_json(const chat_event::file_offered& e) {
    json_line out = event_line("file_offered");
    out.add("with", e.with).add("from", e.from).add("id", e.id.text());
    return out.add("file_name", e.file_name).add("size", e.size);
}
inline json_line event_json(const chat_event::file_progress& e) {
    json_line out = event_line("file_progress");
    out.add("with", e.with).add("id", e.id.text());
    return out.add("done", e.done).add("total", e.total).add("rate", e.rate);
}
inline json_line event_json(const chat_event::file_done& e) {
    return event_line("file_done").add("with", e.with).add("id", e.id.text()).add("path", e.path);
}
inline json_line event_json(const chat_event::file_failed& e) {
    return event_line("file_failed").add("with", e.with).add("id", e.id.text()).add("reason", e.reason);
}
inline json_line event_json(const chat_event::tracker_state& e) {
    return event_line("tracker_state").add("reachable", e.reachable).add("reason", e.reason);
}
inline json_line event_json(const chat_event::warning& e) { return event_line("warning").add("text", e.text); }

}  // namespace detail

/// An event as its line, without the end of line.
inline std::string chat_event_json(const chat_node_event& event) {
    return std::visit([](const auto& what) { return detail::event_json(what).take(); }, event);
}

inline json_array messages_json(const std::vector<shown_message>& messages) {
    json_array out;
    for (const shown_message& m : messages) {
        json_object one;
        one["with"] = to_json(m.with);
        one["from"] = to_json(m.from);
        one["text"] = to_json(m.text);
        one["time_ms"] = to_json(m.time_ms);
        one["id"] = to_json(m.id.text());
        one["own"] = to_json(m.own);
        if (m.own) one["state"] = to_json(name_of(m.state));
        out.push_back(to_json(one));
    }
    return out;
}

/// Members: name, key (null if unknown), address (null if unknown), online, connected, verified, presence.
inline json_array peers_json(const std::vector<chat_peer>& peers) {
    json_array out;
    for (const chat_peer& peer : peers) {
        json_object one;
        one["name"] = to_json(peer.name);
        one["key"] = peer.key ? to_json(peer.key->hex()) : json();
        one["address"] = peer.address ? to_json(peer.address->to_string()) : json();
        one["online"] = to_json(peer.online);
        one["connected"] = to_json(peer.connected);
        one["verified"] = to_json(peer.verified);
        one["presence"] = to_json(peer.presence);
        out.push_back(to_json(one));
    }
    return out;
}

/// Members: name, members (their names), connected (how many of them).
inline json_array rooms_json(const std::vector<chat_room_info>& rooms) {
    json_array out;
    for (const chat_room_info& room : rooms) {
        json_array members;
        for (const std::string& name : room.members) members.push_back(to_json(name));
        json_object one;
        one["name"] = to_json(room.name);
        one["members"] = to_json(members);
        one["connected"] = to_json(room.connected);
        out.push_back(to_json(one));
    }
    return out;
}

}  // namespace cohort::examples
