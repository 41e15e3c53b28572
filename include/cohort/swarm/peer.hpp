// What the engine keeps about one connected peer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/core/time.hpp>
#include <cohort/net/peer_connection.hpp>
#include <cohort/policy/peer_key.hpp>
#include <cohort/policy/rate_meter.hpp>
#include <cohort/policy/request_pipeline.hpp>

namespace cohort {

/// A request that we sent and that is not answered yet.
struct sent_request {
    block range;
    time_point sent_at;
};

/// Created when the handshakes are over. Owned by the coroutine that reads the connection.
struct peer {
    peer(peer_key k, std::unique_ptr<peer_connection> link, const handshake& theirs, bool dialled_us, time_point now)
        : key(k),
          connection(std::move(link)),
          address(connection->remote_endpoint()),
          id(theirs.id),
          incoming(dialled_us),
          extension_protocol(theirs.extension_protocol),
          connected_at(now),
          last_message(now),
          partial_since(now),
          last_sent(now) {}

    peer_state& state() { return connection->state(); }
    const peer_state& state() const { return connection->state(); }

    /// Takes the request that a block or reject answers off the list. Answers mostly come in the order of asking.
    std::optional<sent_request> take_request(const block& range) {
        const auto found = std::find_if(requests.begin(), requests.end(),
                                        [&](const sent_request& sent) { return sent.range == range; });
        if (found == requests.end()) return std::nullopt;
        const sent_request taken = *found;
        requests.erase(found);
        return taken;
    }

    bool has_name(const endpoint& name) const {
        return listens_at == name || std::ranges::count(other_names, name) > 0;
    }
    /// False if it has more of them than it can have use for.
    bool add_name(const endpoint& name) {
        if (!listens_at) listens_at = name;
        if (has_name(name)) return true;
        if (other_names.size() == most_other_names) return false;
        other_names.push_back(name);
        return true;
    }

    /// Whether one side waits for the other to unchoke it.
    bool in_line() const {
        const peer_state& now = state();
        return (now.am_choking && now.peer_interested) || (now.peer_choking && now.am_interested);
    }

    /// We do not read what it sends, for reasons of our own, until resume(): meanwhile nothing of it is late.
    void pause(time_point now) { unread_since = now; }
    void resume(time_point now) {
        forgive_unread(now);
        unread_since.reset();
    }
    /// Moves on all that its silence is counted from. To be called before any of that is looked at.
    void forgive_unread(time_point now) {
        if (!unread_since) return;
        const duration unread = now - std::exchange(*unread_since, now);
        pipeline.unread(unread, now);
        last_message = std::min(last_message + unread, now);
        partial_since = std::min(partial_since + unread, now);
    }

    static constexpr std::size_t most_other_names = 4;

    const peer_key key;
    const std::unique_ptr<peer_connection> connection;
    const endpoint address;
    const peer_id id;
    const bool incoming;
    const bool extension_protocol;
    std::string client;                  ///< what it calls itself in its extension handshake
    std::optional<endpoint> listens_at;  ///< where others reach it, if we know
    std::vector<endpoint> other_names;   ///< where they reach it too, such as by IPv6

    // Downloading from it
    std::deque<sent_request> requests;  ///< in the order of asking
    request_pipeline pipeline;
    rate_meter download;                ///< bytes of blocks
    std::uint32_t wanted_pieces = 0;    ///< pieces it has that we want: we are interested while this is not 0
    std::uint32_t forgiven_blocks = 0;  ///< blocks that may still come for requests that we took back
    std::uint32_t unexpected_blocks = 0;
    std::uint32_t rejects_in_row = 0;  ///< since the last block

    // Uploading to it
    std::deque<block> wanted_blocks;  ///< its requests, in the order of asking
    rate_meter upload;                ///< bytes of blocks
    time_point unchoked_at{};
    time_point choked_at{};
    std::uint64_t uploaded_since_unchoke = 0;
    std::uint32_t refused_requests = 0;  ///< that made no sense or came while choked
    std::optional<piece_index> serving;  ///< the piece that was made ready for it last

    // Liveness
    const time_point connected_at;
    time_point last_message;   ///< of a message other than keep_alive
    time_point partial_since;  ///< an unfinished message has been standing at least so long
    time_point last_sent;
    std::optional<time_point> unread_since;  ///< while it is not read: up to here that was forgiven
    std::error_code leaving;                 ///< why we are about to close, once that is decided
};

}  // namespace cohort
