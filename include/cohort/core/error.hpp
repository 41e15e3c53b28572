// Every way the library fails. A violation, a timeout, a cancellation and a closed connection are four different
// things: cancellation is asio::error::operation_aborted, the other three are here, each with a code of its own.
#pragma once

#include <new>
#include <string>
#include <system_error>

namespace cohort {

enum class errc {
    // Waiting
    timed_out = 1,      ///< a deadline of ours passed before the other side answered
    connection_closed,  ///< the other side ended the connection in good order
    stopped,            ///< the object that owned the operation ended (its run() returned, its torrent stopped)

    // Bencode (BEP 3)
    bencode_syntax,    ///< not bencode: a wrong digit, colon, type byte or end
    bencode_limit,     ///< deeper, longer or of more items than we accept
    bencode_trailing,  ///< bytes after the end of the value

    // Metainfo (BEP 3, 12, 27, 47)
    metainfo_missing,      ///< a key that every torrent needs is absent or of the wrong type
    metainfo_invalid,      ///< lengths, counts or names that contradict each other or our limits
    metainfo_unsupported,  ///< a version 2 torrent (BEP 52) without the version 1 half

    // Peer wire (BEP 3, 6, 10)
    handshake_invalid,   ///< the first bytes are not "\x13BitTorrent protocol"
    unknown_info_hash,   ///< the peer asked for a torrent that we do not have
    wrong_info_hash,     ///< we dialled for one torrent and the peer answered with another
    self_connection,     ///< the peer id is our own
    duplicate_peer,      ///< this peer is connected already
    message_too_long,    ///< a length prefix above the limit
    message_malformed,   ///< a known message with a wrong size or wrong contents
    bitfield_invalid,    ///< wrong length, spare bits set, or sent when it may not be
    index_out_of_range,  ///< a piece or range that the torrent does not have
    unexpected_block,    ///< data that nobody asked for, again and again
    request_abuse,       ///< requests beyond the limits, or while choked, again and again
    choked,              ///< the peer choked us before it answered; the block may be asked again
    rejected,            ///< the peer refused the request (BEP 6)
    peer_banned,         ///< the address sent data that failed its hash
    peer_inactive,       ///< nothing but keep-alives for too long
    peer_useless,        ///< both sides are complete, or neither wants the other

    // Sessions
    duplicate_torrent,  ///< the session has a torrent with this info-hash already

    // Trackers (BEP 3, 15)
    tracker_refused,    ///< the tracker answered with a failure reason
    tracker_malformed,  ///< the answer is not an announce or scrape answer
    no_tracker,         ///< no tracker of the torrent could be reached

    // URLs and HTTP
    url_invalid,         ///< not an absolute http, https or udp URL, or with control characters in it
    url_unsupported,     ///< a scheme that this program does not speak
    too_many_redirects,  ///< more than five, or in a circle, or to a place that a redirect may not name
    http_malformed,      ///< not HTTP/1.x
    http_too_large,      ///< a header or body above the limit
    http_status,         ///< an answer other than 200
    host_not_found,      ///< the name does not resolve

    // JSON
    json_invalid,  ///< not JSON (RFC 8259), or arrays and objects too deep in one another

    // Storage
    disk_full,      ///< no space left, or the quota is used up
    disk_failed,    ///< an input or output error; the path is in the message
    file_missing,   ///< a file that must exist does not
    file_changed,   ///< a file was altered, shortened or removed after it had been checked
    path_unsafe,    ///< the path would lead outside the torrent's folder
    hash_mismatch,  ///< the data does not match the metainfo's hash

    // Chat
    websocket_malformed,  ///< a frame or opening handshake that RFC 6455 does not allow
    websocket_closed,     ///< the other side sent a close frame; its code is in the message
    noise_failed,         ///< an encrypted message that does not authenticate: altered, replayed, cut or moved
    identity_unproven,    ///< the other side could not show that its key is its own
    identity_changed,     ///< a name that we know came with another key
    name_taken,           ///< the name is registered with another key
    name_invalid,         ///< empty, too long, or with characters that a name may not have
    signature_invalid,    ///< what was signed is not what arrived
    chat_malformed,       ///< not a message of the chat, or one that contradicts what its author said before
    chat_too_long,        ///< a message above 64 KiB
    chat_gap,             ///< an entry whose predecessors are missing
    unknown_peer,         ///< nobody of that name is registered
    queue_full,           ///< the other side does not take what is sent
    log_damaged,          ///< a log altered, or cut in the middle
    identity_invalid,     ///< the identity file is not one, or others can read it

    // TLS
    tls_failed,  ///< no common version or cipher, or a certificate that is not trusted
};

namespace detail {

class error_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "cohort"; }
    std::string message(int value) const override;
};

inline std::string error_category::message(int value) const {
    switch (static_cast<errc>(value)) {
    case errc::timed_out: return "timed out";
    case errc::connection_closed: return "connection closed by the other side";
    case errc::stopped: return "stopped";
    case errc::bencode_syntax: return "not valid bencode";
    case errc::bencode_limit: return "bencode exceeds the limits";
    case errc::bencode_trailing: return "bytes after the bencoded value";
    case errc::metainfo_missing: return "not a torrent: a required key is missing or of the wrong type";
    case errc::metainfo_invalid: return "invalid torrent: lengths, counts or names do not fit";
    case errc::metainfo_unsupported: return "version 2 torrents without a version 1 part are not supported";
    case errc::handshake_invalid: return "not a BitTorrent handshake";
    case errc::unknown_info_hash: return "peer asked for an unknown torrent";
    case errc::wrong_info_hash: return "peer answered for another torrent";
    case errc::self_connection: return "connected to ourselves";
    case errc::duplicate_peer: return "peer is connected already";
    case errc::message_too_long: return "message exceeds the length limit";
    case errc::message_malformed: return "malformed message";
    case errc::bitfield_invalid: return "invalid bitfield";
    case errc::index_out_of_range: return "piece or range out of bounds";
    case errc::unexpected_block: return "block that was not requested";
    case errc::request_abuse: return "requests beyond the limits";
    case errc::choked: return "choked by the peer";
    case errc::rejected: return "request rejected by the peer";
    case errc::peer_banned: return "peer is banned for corrupt data";
    case errc::peer_inactive: return "peer was inactive for too long";
    case errc::peer_useless: return "neither side wants anything";
    case errc::duplicate_torrent: return "torrent was added already";
    case errc::tracker_refused: return "tracker refused";
    case errc::tracker_malformed: return "tracker sent an invalid answer";
    case errc::no_tracker: return "no tracker could be reached";
    case errc::url_invalid: return "invalid URL";
    case errc::url_unsupported: return "unsupported URL scheme";
    case errc::too_many_redirects: return "too many or forbidden redirects";
    case errc::http_malformed: return "malformed HTTP message";
    case errc::http_too_large: return "HTTP message exceeds the limit";
    case errc::http_status: return "HTTP request failed";
    case errc::host_not_found: return "host not found";
    case errc::json_invalid: return "not valid JSON";
    case errc::disk_full: return "no space left on the disk";
    case errc::disk_failed: return "disk error";
    case errc::file_missing: return "file not found";
    case errc::file_changed: return "file changed on disk";
    case errc::path_unsafe: return "unsafe path";
    case errc::hash_mismatch: return "data does not match its hash";
    case errc::websocket_malformed: return "malformed WebSocket frame or handshake";
    case errc::websocket_closed: return "WebSocket closed by the other side";
    case errc::noise_failed: return "encrypted message does not authenticate";
    case errc::identity_unproven: return "the other side did not prove its identity";
    case errc::identity_changed: return "the key of a known name has changed";
    case errc::name_taken: return "the name belongs to another key";
    case errc::name_invalid: return "not a valid name";
    case errc::signature_invalid: return "signature does not fit";
    case errc::chat_malformed: return "malformed chat message";
    case errc::chat_too_long: return "message is longer than 64 KiB";
    case errc::chat_gap: return "earlier messages are missing";
    case errc::unknown_peer: return "nobody of that name is registered";
    case errc::queue_full: return "the other side takes nothing more";
    case errc::log_damaged: return "the log is damaged";
    case errc::identity_invalid: return "not a usable identity file";
    case errc::tls_failed: return "TLS failed";
    }
    return "unknown error";
}

}  // namespace detail

inline const std::error_category& cohort_category() {
    static const detail::error_category instance;
    return instance;
}

inline std::error_code make_error_code(errc code) { return {static_cast<int>(code), cohort_category()}; }

/// Throws std::system_error with the code and, where given, what it concerns: a path, an address, a tracker's words.
[[noreturn]] inline void raise(std::error_code code, const std::string& what = {}) {
    if (what.empty()) throw std::system_error(code);
    throw std::system_error(code, what);
}
[[noreturn]] inline void raise(errc code, const std::string& what = {}) { raise(make_error_code(code), what); }

/// The code of the exception that is being handled, for a catch (...) where an operation ends. A lack of memory has one
/// too, as it can be all that is left of any other error: that takes memory to throw. What is neither is a bug, and
/// goes on.
inline std::error_code caught_error() {
    try {
        throw;
    } catch (const std::system_error& error) {
        return error.code();
    } catch (const std::bad_alloc&) {
        return std::make_error_code(std::errc::not_enough_memory);
    }
}

}  // namespace cohort

template <>
struct std::is_error_code_enum<cohort::errc> : std::true_type {};
