// What a torrent tells about its life: one small struct an event.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <variant>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/net/event_queue.hpp>

namespace cohort {

namespace event {

/// Files that exist are being checked against the hashes; in bytes.
struct checking {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
};
/// Checking is over; peers are sought from now on. `have` bytes were there and right.
struct started {
    std::uint64_t have = 0;
};
/// A piece is downloaded, right, and written.
struct piece_verified {
    piece_index piece = 0;
};
/// A downloaded piece did not match its hash; it will be asked for again.
struct piece_failed {
    piece_index piece = 0;
};
struct peer_connected {
    endpoint address;
    peer_id id;
    bool incoming = false;
};
/// `reason` is a cohort::errc for what the protocol decided, the system's code for what the network did.
struct peer_disconnected {
    endpoint address;
    std::error_code reason;
    std::uint64_t downloaded = 0;  ///< bytes of blocks
    std::uint64_t uploaded = 0;
};
/// The address sent data that failed its hash and is refused from now on: all its ports where port is 0.
struct peer_banned {
    endpoint address;
};
struct tracker_answered {
    std::string url;
    std::size_t peers = 0;
    std::chrono::seconds interval{};
};
struct tracker_failed {
    std::string url;
    std::string message;
};
/// Somebody in the swarm said something, maybe before we came (swarm_chat.hpp).
struct chat_message {
    std::string from_name;                        ///< what the author goes by, as anybody may; empty if it is unknown
    fixed_bytes<32, struct chat_author_tag> key;  ///< who it is: the bytes of the identity_key that signed it
    std::string text;                             ///< UTF-8, and anything in it: not fit for a terminal as it is
    std::int64_t time_ms = 0;                     ///< since 1970, by the author's clock
};
/// All wanted pieces are there.
struct completed {};
/// The torrent cannot go on, as its disk failed or memory ran out (std::errc::not_enough_memory); nothing verified is
/// lost. resume() tries again.
struct failed {
    std::error_code code;
    std::string message;
};
struct paused {};
/// The last event: nothing of the torrent runs any more.
struct stopped {};

}  // namespace event

using torrent_event =
    std::variant<event::checking, event::started, event::piece_verified, event::piece_failed, event::peer_connected,
                 event::peer_disconnected, event::peer_banned, event::tracker_answered, event::tracker_failed,
                 event::chat_message, event::completed, event::failed, event::paused, event::stopped>;

using event_queue = basic_event_queue<torrent_event>;

}  // namespace cohort
