// What a chat node tells its owner: one small struct an event. Who somebody is, is said by a name that the owner knows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/number.hpp>
#include <cohort/protocol/noise_identity.hpp>

namespace cohort {

/// How far one of our own messages has come. Each includes those before it.
enum class delivery {
    kept,       ///< on our disk; goes out when a link to the other side is there
    sent,       ///< handed to a link
    delivered,  ///< on the other side's disk; in a room on that of one member at least
    read,       ///< the other side saw it
};

inline std::string_view name_of(delivery state) {
    switch (state) {
    case delivery::kept: return "kept";
    case delivery::sent: return "sent";
    case delivery::delivered: return "delivered";
    case delivery::read: return "read";
    }
    return "";
}

/// A message's place among those of its author: the same on every node.
struct message_id {
    identity_key author;
    std::uint64_t seq = 0;  ///< from 1, in this conversation

    auto operator<=>(const message_id&) const = default;
    /// "3f…c2:17": the author's key in hexadecimal and the number.
    std::string text() const { return author.hex() + ":" + std::to_string(seq); }
    static std::optional<message_id> parse(std::string_view text) {
        const std::size_t colon = text.find(':');
        if (colon == std::string_view::npos) return std::nullopt;
        const auto author = identity_key::parse(text.substr(0, colon));
        std::uint64_t seq = 0;
        if (!author || !parse_number(text.substr(colon + 1), seq)) return std::nullopt;
        return message_id{*author, seq};
    }
};

/// One line of a conversation. `with` is a peer's name, or a room's with '#' before it.
struct shown_message {
    std::string with;
    std::string from;
    message_id id;
    std::int64_t time_ms = 0;  ///< by the author's clock, since 1970
    std::string text;          ///< UTF-8, not made safe for a terminal
    bool own = false;
    delivery state = delivery::kept;  ///< of own messages
};

namespace chat_event {

struct message {
    shown_message what;
};
/// Own messages up to `up_to`, in the order of that conversation, have come so far.
struct receipt {
    std::string with;
    std::string by;
    message_id up_to;
    delivery state = delivery::delivered;
};
struct typing {
    std::string with;
    std::string who;
    bool on = false;
};
/// A link to a peer is there, encrypted, and the peer proved its key.
struct peer_connected {
    std::string name;
    identity_key key;
    endpoint address;
    bool verified = false;
};
struct peer_disconnected {
    std::string name;
    std::error_code reason;
};
/// What the peer says of itself: "online", "away", or words of its own.
struct presence {
    std::string name;
    std::string state;
};
struct member_joined {
    std::string room;
    std::string name;
};
struct member_left {
    std::string room;
    std::string name;
};
/// A name that we knew came with another key: somebody else, or the same person on a new machine. No link was made;
/// nothing is sent there until forget() was called for the name.
struct identity_changed {
    std::string name;
    identity_key known;
    identity_key claimed;
};
struct file_offered {
    std::string with;
    std::string from;
    message_id id;
    std::string file_name;
    std::uint64_t size = 0;
};
struct file_progress {
    std::string with;
    message_id id;
    std::uint64_t done = 0;  ///< bytes verified here, or taken by the other side
    std::uint64_t total = 0;
    double rate = 0;  ///< bytes a second
};
struct file_done {
    std::string with;
    message_id id;
    std::string path;  ///< where it is on this machine
};
struct file_failed {
    std::string with;
    message_id id;
    std::string reason;
};
/// The tracker answers again, or no longer.
struct tracker_state {
    bool reachable = false;
    std::string reason;
};
/// Something that the owner should know and that nothing else says.
struct warning {
    std::string text;
};

}  // namespace chat_event

using chat_node_event = std::variant<chat_event::message, chat_event::receipt, chat_event::typing,
                                     chat_event::peer_connected, chat_event::peer_disconnected, chat_event::presence,
                                     chat_event::member_joined, chat_event::member_left, chat_event::identity_changed,
                                     chat_event::file_offered, chat_event::file_progress, chat_event::file_done,
                                     chat_event::file_failed, chat_event::tracker_state, chat_event::warning>;

/// Somebody the node knows: from the tracker, from a link, or from earlier days.
struct chat_peer {
    std::string name;
    std::optional<identity_key> key;  ///< nothing for those whom the tracker names without one
    std::optional<endpoint> address;
    bool online = false;     ///< the tracker says so, or a link is there
    bool connected = false;  ///< a link is there
    bool verified = false;   ///< the safety number was compared
    std::string presence;
};

struct chat_room_info {
    std::string name;                  ///< with '#'
    std::vector<std::string> members;  ///< names, ourselves included
    std::size_t connected = 0;         ///< members with a link
};

}  // namespace cohort
