// What trackers and their clients say to each other, over HTTP and UDP, and the URLs and times in it.

#include <optional>
#include <set>

#include <cohort/core/ascii.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/announce_query.hpp>
#include <cohort/protocol/iso_time.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/scrape.hpp>
#include <cohort/protocol/udp_tracker.hpp>
#include <cohort/protocol/url.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

void check_announce_query(byte_view input) {
    std::string reason;
    auto got = parse_announce_query(as_text(input), reason);
    require(got.has_value() == reason.empty(), "a request or a reason, never both");
    if (!got) return;
    require(got->port != 0, "nobody listens on port 0");
    require(got->tracker_id.size() <= input.size(), "nothing grows");
    got->numwant = std::max(got->numwant, -1);  // all negative ones mean the same and are not written
    const std::string target = append_query("/announce?passkey=1", announce_query(*got));
    const auto again = parse_announce_query(target.substr(target.find('?') + 1), reason);
    require(again == got, "what is written reads the same");
}

void check_answer_promises(const announce_response& got) {
    require(got.interval >= std::chrono::seconds(0) && got.interval <= announce_interval_max, "a sane interval");
    require(got.min_interval >= std::chrono::seconds(0) && got.min_interval <= announce_interval_max,
            "a sane minimal interval");
    require(got.peers.size() + got.named_peers.size() <= 2 * announce_peers_max, "a bounded number of peers");
    for (const endpoint& peer : got.peers) require(peer.port != 0, "nobody listens on port 0");
    for (const named_peer& peer : got.named_peers)
        require(peer.port != 0 && !peer.host.empty() && peer.host.size() <= 253 && !ip_address::parse(peer.host),
                "a named peer has a name");
    require(plain_text(got.warning) == got.warning, "the warning may be shown");
    require(got.tracker_id.size() <= 256, "a tracker id that fits a query");
}

void check_announce_answer(byte_view input) {
    std::error_code ec;
    std::string failure;
    const auto got = parse_announce_response(input, ec, failure);
    require(got.has_value() == !ec, "an answer or an error, never both");
    require(failure.empty() || ec == errc::tracker_refused, "words of failure come with a refusal");
    require(plain_text(failure) == failure, "the reason may be shown");
    const auto retry = parse_retry_in(input);
    require(!retry || *retry == std::chrono::minutes::max() || *retry <= announce_interval_max, "a sane retry");
    if (!got) return;
    check_answer_promises(*got);
    const std::string listed = write_announce_response(*got, false);
    require(parse_announce_response(as_bytes(listed), ec, failure) == got, "a list of peers reads the same");
    if (!got->named_peers.empty()) return;
    announce_response sorted = *got;
    std::stable_partition(sorted.peers.begin(), sorted.peers.end(),
                          [](const endpoint& e) { return e.address.is_v4(); });
    const std::string compact = write_announce_response(*got);
    require(parse_announce_response(as_bytes(compact), ec, failure) == sorted,
            "compact peers read the same, those of IPv4 first");
}

void check_scrape_answer(byte_view input) {
    std::error_code ec;
    std::string failure;
    auto got = parse_scrape_response(input, ec, failure);
    require(got.has_value() == !ec, "an answer or an error, never both");
    if (!got) return;
    require(got->files.size() <= scrape_hashes_max, "a bounded number of torrents");
    const std::string written = write_scrape_response(*got);
    const auto again = parse_scrape_response(as_bytes(written), ec, failure);
    require(again.has_value() && write_scrape_response(*again) == written, "what is written reads the same");
    std::set<info_hash> before;
    for (const auto& [hash, entry] : got->files) before.insert(hash);
    require(again->files.size() == before.size(), "each torrent is there once");
}

void check_scrape_query(byte_view input) {
    std::string reason;
    const auto got = parse_scrape_query(as_text(input), reason);
    require(got.has_value() == reason.empty(), "hashes or a reason, never both");
    if (!got) return;
    require(got->size() <= scrape_hashes_max, "no more torrents than a packet holds");
    require(parse_scrape_query(scrape_query(*got), reason) == got, "what is written reads the same");
}

/// Datagrams to the tracker (BEP 15, BEP 41).
void check_udp_request(byte_view input) {
    std::error_code ec;
    const auto got = udp_tracker::parse_request(input, ec);
    require(got.has_value() == !ec, "a request or an error, never both");
    if (!got) return;
    const auto same = [input](byte_view written) {
        return written.size() <= input.size() && std::equal(written.begin(), written.end(), input.begin());
    };
    if (const auto* const connect = std::get_if<udp_tracker::connect_request>(&*got)) {
        require(same(udp_tracker::write_connect(connect->transaction)), "connect is written as it came");
    } else if (const auto* const scrape = std::get_if<udp_tracker::scrape_request>(&*got)) {
        std::vector<info_hash> hashes;
        for (std::size_t i = 0; i < scrape->size(); ++i) hashes.push_back((*scrape)[i]);
        require(!hashes.empty() && hashes.size() <= scrape_hashes_max, "a bounded number of torrents");
        const byte_vector written = udp_tracker::write_scrape(scrape->connection_id, scrape->transaction, hashes);
        require(written.size() == input.size() && same(written), "scrape is written as it came");
    } else {
        const auto& announce = std::get<udp_tracker::announce_request>(*got);
        std::string url_data;
        if (!udp_tracker::parse_options(announce.options, url_data)) return;
        require(url_data.size() <= announce.options.size(), "URL data comes from the packet");
        const byte_vector written =
            udp_tracker::write_announce(announce.connection_id, announce.transaction, announce.announce, url_data);
        const bool known_event = input[80] == 0 && input[81] == 0 && input[82] == 0 && input[83] <= 3;
        require(!known_event || same(byte_view(written).first(udp_tracker::announce_size)),
                "announce is written as it came");
        const auto again = udp_tracker::parse_request(written, ec);
        const auto* const back = again ? std::get_if<udp_tracker::announce_request>(&*again) : nullptr;
        std::string again_data;
        require(back != nullptr && back->announce == announce.announce &&
                    udp_tracker::parse_options(back->options, again_data) && again_data == url_data,
                "what is written reads the same");
    }
}

/// Datagrams from the tracker.
void check_udp_answer(byte_view input) {
    script from(input);
    const bool ipv6 = from.flag();
    const byte_view packet = from.rest();
    std::error_code ec;
    const auto got = udp_tracker::parse_answer(packet, ipv6, ec);
    require(got.has_value() == !ec, "an answer or an error, never both");
    if (!got) return;
    require(std::visit([](const auto& one) { return one.transaction; }, *got) == udp_tracker::transaction_of(packet),
            "an answer belongs to its transaction");
    byte_vector out(packet.size() + udp_tracker::connect_size);
    if (const auto* const error = std::get_if<udp_tracker::error_answer>(&*got)) {
        require(plain_text(error->reason) == error->reason, "the reason may be shown");
        out.resize(udp_tracker::write_error_answer(out, error->transaction, error->reason));
        const auto again = udp_tracker::parse_answer(out, ipv6, ec);
        require(again && std::get<udp_tracker::error_answer>(*again).reason == error->reason, "a reason stays");
    } else if (const auto* const scrape = std::get_if<udp_tracker::scrape_answer>(&*got)) {
        require(scrape->entries.size() <= scrape_hashes_max, "a bounded number of torrents");
        out.resize(udp_tracker::write_scrape_answer(byte_span(out).first(packet.size()), scrape->transaction,
                                                    scrape->entries));
        require(std::equal(out.begin(), out.end(), packet.begin(), packet.end()), "scrape is written as it came");
    } else if (const auto* const announce = std::get_if<udp_tracker::announce_answer>(&*got)) {
        const announce_response& told = announce->response;
        check_answer_promises(told);
        out.resize(udp_tracker::write_announce_answer(out, announce->transaction, told.interval, *told.incomplete,
                                                      *told.complete, told.peers, ipv6));
        const auto again = udp_tracker::parse_answer(out, ipv6, ec);
        require(again.has_value(), "what is written can be read");
        // A mapped IPv4 address has no place among those of IPv6.
        std::vector<endpoint> kept = told.peers;
        std::erase_if(kept, [ipv6](const endpoint& e) { return e.address.is_v6() != ipv6; });
        require(std::get<udp_tracker::announce_answer>(*again).response.peers == kept, "peers stay");
    }
}

void check_url_promises(const url& u) {
    require(u.port != 0 && !u.host.empty() && ascii_lower(u.host) == u.host, "a host and a port");
    require(u.target.starts_with('/'), "a target begins with a slash");
    require(std::all_of(u.target.begin(), u.target.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '#'; }),
            "a target may stand in a request line");
    const std::string path = u.target.substr(0, u.target.find('?')) + "/";
    require(path.find("/./") == path.npos && path.find("/../") == path.npos, "no dot segments are left");
    std::error_code ec;
    require(parse_url(u.to_string(), ec) == u, "a URL has one text that reads the same");
}

/// This machine or the local link, by address or by name.
bool is_local(const url& u) {
    if (const auto address = ip_address::parse(u.host)) {
        const byte_view b = address->bytes();
        if (b.size() == 4) return b[0] == 127 || b[0] == 0 || (b[0] == 169 && b[1] == 254);
        if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) return true;
        return std::all_of(b.begin(), b.end() - 1, [](std::uint8_t one) { return one == 0; }) && b[15] <= 1;
    }
    const std::string dotted = "." + u.host;
    return dotted.ends_with(".localhost") || dotted.ends_with(".localhost.");
}

/// Two lines: a URL, and where it redirects to.
void check_url(byte_view input) {
    script from(input);
    std::error_code ec;
    const auto base = parse_url(from.line(), ec);
    require(base.has_value() == !ec, "a URL or an error, never both");
    if (!base) return;
    check_url_promises(*base);
    const std::string_view location = from.line();
    const auto to = resolve_redirect(*base, location, ec);
    require(to.has_value() == !ec, "a place or an error, never both");
    if (!to) return;
    check_url_promises(*to);
    const bool relative = detail::scheme_length(location) == location.npos && !location.starts_with("//");
    require(!relative || (to->host == base->host && to->port == base->port && to->scheme == base->scheme &&
                          to->userinfo == base->userinfo),
            "a relative redirect stays with its host");
    if (!redirect_allowed(*base, *to)) return;
    require(to->scheme == "http" || to->scheme == "https", "redirects lead to HTTP");
    require(to->secure() || !base->secure(), "redirects do not leave TLS");
    require(!is_local(*to) || is_local(*base), "redirects do not lead strangers to this machine");
}

void check_percent(byte_view input) {
    const std::string_view text = as_text(input);
    require(percent_decode(percent_encode(text)) == text, "what is encoded can be decoded");
    const auto decoded = percent_decode(text);
    byte_vector exact(decoded ? decoded->size() : input.size());
    const bool fits = percent_decode(text, exact);
    require(fits == decoded.has_value(), "both decoders agree");
    if (!decoded) return;
    require(as_text(exact) == *decoded && percent_decode(percent_encode(*decoded)) == decoded, "decoding is exact");
    exact.push_back(0);
    require(!percent_decode(text, exact), "fewer bytes than expected are refused");
}

void check_iso_time(byte_view input) {
    script from(input);
    const auto a = static_cast<std::int64_t>(from.number<std::uint64_t>());
    const auto b = static_cast<std::int64_t>(from.number<std::uint64_t>());
    const std::string first = iso_time(std::min(a, b));
    const std::string second = iso_time(std::max(a, b));
    require(first.size() == 24 && second.size() == 24, "every time has 24 characters");
    require(first <= second, "texts have the order of their times");
}

constexpr target table[] = {
    {"announce_query", check_announce_query, 1024},
    {"announce_answer", check_announce_answer, 4096},
    {"scrape_answer", check_scrape_answer, 4096},
    {"scrape_query", check_scrape_query, 4096},
    {"udp_request", check_udp_request, 2048},
    {"udp_answer", check_udp_answer, 2048},
    {"url", check_url, 2000},
    {"percent", check_percent, 512},
    {"iso_time", check_iso_time, 16},
};

}  // namespace

std::span<const target> tracker_targets() { return table; }

}  // namespace cohort::fuzz
