// Announce and scrape in datagrams (BEP 15, with the URL data of BEP 41), requests and answers, both sides. Answers are
// written into fixed memory: a busy tracker allocates nothing for a packet.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/compact_peers.hpp>
#include <cohort/protocol/plain_text.hpp>
#include <cohort/protocol/scrape.hpp>

namespace cohort::udp_tracker {

enum class action : std::uint32_t { connect = 0, announce = 1, scrape = 2, error = 3 };

/// What the first eight bytes of a connect request say instead of a connection id.
inline constexpr std::uint64_t protocol_id = 0x41727101980;
inline constexpr std::size_t connect_size = 16;
inline constexpr std::size_t announce_size = 98;
inline constexpr std::size_t announce_answer_header_size = 20;
/// No answer of ours is longer, so that none is cut into fragments on the way (IPv6's smallest MTU, less headers).
inline constexpr std::size_t answer_size_max = 1232;

// Requests, as the tracker sees them. Views point into the packet.

struct connect_request {
    std::uint32_t transaction = 0;
};
struct announce_request {
    std::uint64_t connection_id = 0;
    std::uint32_t transaction = 0;
    /// `ip` is what the packet's IPv4 field says, if anything; `port` may be 0.
    cohort::announce_request announce{};
    byte_view options{};  ///< for parse_options()
};
struct scrape_request {
    std::uint64_t connection_id = 0;
    std::uint32_t transaction = 0;
    byte_view hashes{};  ///< 20 bytes each, at most scrape_hashes_max

    std::size_t size() const { return hashes.size() / info_hash::size; }
    info_hash operator[](std::size_t i) const {
        return *info_hash::from(hashes.subspan(i * info_hash::size, info_hash::size));
    }
};
using request = std::variant<connect_request, announce_request, scrape_request>;

/// Reads a request. Fails with errc::tracker_malformed for anything else; such a packet is dropped without an answer.
/// Whether the connection id is one of ours must be asked before anything else is believed.
inline std::optional<request> parse_request(byte_view packet, std::error_code& ec);

/// Collects the URL data (path and query) of an announce's options, "" if there are none. False if an option ends
/// beyond the packet.
inline bool parse_options(byte_view options, std::string& url_data);

/// Requests, as the client writes them.
inline std::array<std::uint8_t, connect_size> write_connect(std::uint32_t transaction);
/// `url_data`, if not empty, is the path and query of the tracker's URL (BEP 41).
inline byte_vector write_announce(std::uint64_t connection_id, std::uint32_t transaction,
                                  const cohort::announce_request& announce, std::string_view url_data = {});
/// Of the first scrape_hashes_max hashes.
inline byte_vector write_scrape(std::uint64_t connection_id, std::uint32_t transaction,
                                std::span<const info_hash> hashes);

// Answers, as the client sees them.

struct connect_answer {
    std::uint32_t transaction = 0;
    std::uint64_t connection_id = 0;  ///< valid for one minute
};
struct announce_answer {
    std::uint32_t transaction = 0;
    announce_response response{};
};
struct scrape_answer {
    std::uint32_t transaction = 0;
    std::vector<scrape_entry> entries{};  ///< in the order of the request
};
struct error_answer {
    std::uint32_t transaction = 0;
    std::string reason{};
};
using answer = std::variant<connect_answer, announce_answer, scrape_answer, error_answer>;

/// Whose answer a packet claims to be: the request's transaction. Nothing if the packet is too short for one. To be
/// compared before more is read, since anybody can send a datagram.
inline std::optional<std::uint32_t> transaction_of(byte_view packet) {
    if (packet.size() < 8) return std::nullopt;
    return load_be<std::uint32_t>(packet.data() + 4);
}

/// Reads an answer; `ipv6` is the family of the socket, which decides the size of a peer. Fails with
/// errc::tracker_malformed.
inline std::optional<answer> parse_answer(byte_view packet, bool ipv6, std::error_code& ec);

// Answers, as the tracker writes them: into `out`, of which they use the returned number of bytes.

inline std::array<std::uint8_t, connect_size> write_connect_answer(std::uint32_t transaction,
                                                                   std::uint64_t connection_id);
/// As many of the peers of the given family as fit; `out` has announce_answer_header_size bytes or more.
inline std::size_t write_announce_answer(byte_span out, std::uint32_t transaction, std::chrono::seconds interval,
                                         std::uint32_t incomplete, std::uint32_t complete,
                                         std::span<const endpoint> peers, bool ipv6);
/// One entry for each hash of the request, in its order; as many as fit `out`, which has 8 bytes or more.
inline std::size_t write_scrape_answer(byte_span out, std::uint32_t transaction, std::span<const scrape_entry> entries);
/// As much of the reason as fits `out`, which has 8 bytes or more.
inline std::size_t write_error_answer(byte_span out, std::uint32_t transaction, std::string_view reason);

namespace detail {

/// Reads a packet's fields one after the other; the caller has checked the size.
class field_reader {
public:
    explicit field_reader(byte_view in) : in_(in) {}
    template <std::unsigned_integral T>
    T number() {
        return load_be<T>(bytes(sizeof(T)).data());
    }
    byte_view bytes(std::size_t size) {
        const byte_view out = in_.first(size);
        in_ = in_.subspan(size);
        return out;
    }
    byte_view rest() const { return in_; }

private:
    byte_view in_;
};

/// Writes fields one after the other; the caller has checked the size.
class field_writer {
public:
    explicit field_writer(byte_span out) : out_(out) {}
    template <std::unsigned_integral T>
    field_writer& number(T value) {
        store_be(out_.data() + size_, value);
        size_ += sizeof(T);
        return *this;
    }
    field_writer& bytes(byte_view in) {
        std::copy(in.begin(), in.end(), out_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += in.size();
        return *this;
    }
    field_writer& head(action what, std::uint32_t transaction) {
        return number(static_cast<std::uint32_t>(what)).number(transaction);
    }
    std::size_t size() const { return size_; }
    std::size_t room() const { return out_.size() - size_; }

private:
    byte_span out_;
    std::size_t size_ = 0;
};

inline cohort::announce_request read_announce(field_reader& in) {
    cohort::announce_request out;
    out.hash = *info_hash::from(in.bytes(20));
    out.id = *peer_id::from(in.bytes(20));
    out.downloaded = in.number<std::uint64_t>();
    out.left = in.number<std::uint64_t>();
    out.uploaded = in.number<std::uint64_t>();
    const auto event = in.number<std::uint32_t>();
    if (event <= static_cast<std::uint32_t>(announce_event::stopped)) out.event = static_cast<announce_event>(event);
    const auto ip = in.number<std::uint32_t>();
    if (ip != 0) out.ip = ip_address::v4(ip);
    out.key = in.number<std::uint32_t>();
    out.numwant = static_cast<std::int32_t>(in.number<std::uint32_t>());
    out.port = in.number<std::uint16_t>();
    return out;
}

// Types of BEP 41's options.
inline constexpr std::uint8_t option_end = 0;
inline constexpr std::uint8_t option_nop = 1;
inline constexpr std::uint8_t option_url_data = 2;

}  // namespace detail

inline std::optional<request> parse_request(byte_view packet, std::error_code& ec) {
    ec.clear();
    if (packet.size() >= connect_size) {
        detail::field_reader in(packet);
        const auto connection_id = in.number<std::uint64_t>();
        const auto what = static_cast<action>(in.number<std::uint32_t>());
        const auto transaction = in.number<std::uint32_t>();
        if (what == action::connect && connection_id == protocol_id) return connect_request{transaction};
        if (what == action::announce && packet.size() >= announce_size) {
            announce_request out{connection_id, transaction, detail::read_announce(in), {}};
            out.options = in.rest();
            return out;
        }
        const byte_view hashes = in.rest();
        if (what == action::scrape && !hashes.empty() && hashes.size() % info_hash::size == 0 &&
            hashes.size() / info_hash::size <= scrape_hashes_max)
            return scrape_request{connection_id, transaction, hashes};
    }
    ec = errc::tracker_malformed;
    return std::nullopt;
}

inline bool parse_options(byte_view options, std::string& url_data) {
    url_data.clear();
    while (!options.empty() && options[0] != detail::option_end) {
        const std::uint8_t type = options[0];
        options = options.subspan(1);
        if (type == detail::option_nop) continue;
        if (options.empty() || options.size() - 1 < options[0]) return false;
        const byte_view value = options.subspan(1, options[0]);
        options = options.subspan(1 + value.size());
        if (type == detail::option_url_data) url_data += as_text(value);
    }
    return true;
}

inline std::array<std::uint8_t, connect_size> write_connect(std::uint32_t transaction) {
    std::array<std::uint8_t, connect_size> out;
    detail::field_writer(out).number(protocol_id).head(action::connect, transaction);
    return out;
}

inline byte_vector write_announce(std::uint64_t connection_id, std::uint32_t transaction,
                                  const cohort::announce_request& announce, std::string_view url_data) {
    byte_vector out(announce_size);
    const bool has_v4 = announce.ip && announce.ip->is_v4();
    detail::field_writer(out)
        .number(connection_id)
        .head(action::announce, transaction)
        .bytes(announce.hash.view())
        .bytes(announce.id.view())
        .number(announce.downloaded)
        .number(announce.left)
        .number(announce.uploaded)
        .number(static_cast<std::uint32_t>(announce.event))
        .number(has_v4 ? load_be<std::uint32_t>(announce.ip->bytes().data()) : std::uint32_t{0})
        .number(announce.key)
        .number(static_cast<std::uint32_t>(announce.numwant))
        .number(announce.port);
    while (!url_data.empty()) {
        const std::string_view part = url_data.substr(0, 255);
        out.push_back(detail::option_url_data);
        out.push_back(static_cast<std::uint8_t>(part.size()));
        out.insert(out.end(), part.begin(), part.end());
        url_data.remove_prefix(part.size());
    }
    return out;
}

inline byte_vector write_scrape(std::uint64_t connection_id, std::uint32_t transaction,
                                std::span<const info_hash> hashes) {
    hashes = hashes.first(std::min(hashes.size(), scrape_hashes_max));
    byte_vector out(connect_size + hashes.size() * info_hash::size);
    detail::field_writer writer(out);
    writer.number(connection_id).head(action::scrape, transaction);
    for (const info_hash& hash : hashes) writer.bytes(hash.view());
    return out;
}

inline std::optional<answer> parse_answer(byte_view packet, bool ipv6, std::error_code& ec) {
    ec.clear();
    if (packet.size() >= 8) {
        detail::field_reader in(packet);
        const auto what = static_cast<action>(in.number<std::uint32_t>());
        const auto transaction = in.number<std::uint32_t>();
        if (what == action::error) return error_answer{transaction, plain_text(as_text(in.rest()))};
        if (what == action::connect && packet.size() >= connect_size)
            return connect_answer{transaction, in.number<std::uint64_t>()};
        if (what == action::announce && packet.size() >= announce_answer_header_size) {
            announce_answer out{transaction, {}};
            out.response.interval = std::min(std::chrono::seconds(in.number<std::uint32_t>()), announce_interval_max);
            out.response.incomplete = in.number<std::uint32_t>();
            out.response.complete = in.number<std::uint32_t>();
            const std::size_t entry = ipv6 ? compact_v6_size : compact_v4_size;
            if (parse_compact(in.rest(), entry, out.response.peers, announce_peers_max)) return out;
        }
        constexpr std::size_t entry = 12;
        if (what == action::scrape && in.rest().size() % entry == 0 && in.rest().size() / entry <= scrape_hashes_max) {
            scrape_answer out{transaction, {}};
            while (!in.rest().empty()) {
                scrape_entry& one = out.entries.emplace_back();
                one.complete = in.number<std::uint32_t>();
                one.downloaded = in.number<std::uint32_t>();
                one.incomplete = in.number<std::uint32_t>();
            }
            return out;
        }
    }
    ec = errc::tracker_malformed;
    return std::nullopt;
}

inline std::array<std::uint8_t, connect_size> write_connect_answer(std::uint32_t transaction,
                                                                   std::uint64_t connection_id) {
    std::array<std::uint8_t, connect_size> out;
    detail::field_writer(out).head(action::connect, transaction).number(connection_id);
    return out;
}

inline std::size_t write_announce_answer(byte_span out, std::uint32_t transaction, std::chrono::seconds interval,
                                         std::uint32_t incomplete, std::uint32_t complete,
                                         std::span<const endpoint> peers, bool ipv6) {
    detail::field_writer writer(out);
    writer.head(action::announce, transaction);
    writer.number(static_cast<std::uint32_t>(interval.count())).number(incomplete).number(complete);
    for (const endpoint& peer : peers) {
        if (peer.address.is_v6() != ipv6) continue;
        if (writer.room() < (ipv6 ? compact_v6_size : compact_v4_size)) break;
        writer.bytes(peer.address.bytes()).number(peer.port);
    }
    return writer.size();
}

inline std::size_t write_scrape_answer(byte_span out, std::uint32_t transaction,
                                       std::span<const scrape_entry> entries) {
    detail::field_writer writer(out);
    writer.head(action::scrape, transaction);
    for (const scrape_entry& entry : entries) {
        if (writer.room() < 12) break;
        writer.number(entry.complete).number(entry.downloaded).number(entry.incomplete);
    }
    return writer.size();
}

inline std::size_t write_error_answer(byte_span out, std::uint32_t transaction, std::string_view reason) {
    detail::field_writer writer(out);
    writer.head(action::error, transaction);
    writer.bytes(as_bytes(reason.substr(0, writer.room())));
    return writer.size();
}

}  // namespace cohort::udp_tracker
