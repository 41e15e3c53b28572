// What peers send to each other: handshake, wire messages, extension handshake, and addresses of peers.

#include <bit>
#include <optional>

#include <cohort/protocol/compact_peers.hpp>
#include <cohort/protocol/extension.hpp>
#include <cohort/protocol/handshake.hpp>
#include <cohort/protocol/peer_state.hpp>
#include <cohort/protocol/wire.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

void check_handshake(byte_view input) {
    script from(input);
    cuts reads(from.byte());
    const byte_view sent = from.rest();
    byte_view whole = sent;
    std::error_code whole_ec;
    const auto expected = parse_handshake(whole, whole_ec);
    require(!(expected && whole_ec), "a handshake or an error, never both");
    require(expected ? whole.size() == sent.size() - handshake_size : whole.size() == sent.size(),
            "it takes its own bytes and no others");

    byte_vector come;
    std::optional<handshake> got;
    std::error_code ec;
    for (byte_view left = sent; !left.empty() && !got && !ec;) {
        const byte_view read = reads.take(left);
        come.insert(come.end(), read.begin(), read.end());
        byte_view in = come;
        got = parse_handshake(in, ec);
    }
    require(got == expected && ec == whole_ec, "reads of any size give the same");
    if (!got) return;
    const auto written = encode(*got);
    byte_view again = written;
    require(parse_handshake(again, ec) == got, "what is written reads the same");
    const auto same = [&](std::size_t begin, std::size_t size) {
        return std::equal(written.begin() + static_cast<std::ptrdiff_t>(begin),
                          written.begin() + static_cast<std::ptrdiff_t>(begin + size),
                          sent.begin() + static_cast<std::ptrdiff_t>(begin));
    };
    require(same(0, 20) && same(28, 40), "all but the reserved bits stay");
}

/// What a receiver makes of a stream.
struct heard {
    std::vector<byte_vector> messages;  // encoded; of an unknown one its id alone
    std::error_code wrong;
    byte_vector left;

    bool operator==(const heard& other) const {
        return messages == other.messages && wrong == other.wrong && (wrong || left == other.left);
    }
};

heard hear(byte_view in, cuts reads) {
    constexpr wire::limits limits{.message = 2048, .piece_data = 1024};
    heard out;
    while (!in.empty() && !out.wrong) {
        const byte_view read = reads.take(in);
        out.left.insert(out.left.end(), read.begin(), read.end());
        byte_view rest = out.left;
        for (;;) {
            const byte_view before = rest;
            const auto message = wire::parse(rest, out.wrong, limits);
            if (!message) {
                require(rest.size() == before.size(), "without a message nothing is taken");
                const std::size_t needed = wire::needed(rest);
                require(out.wrong || needed == 0 || (needed > rest.size() && needed <= 4 + limits.message),
                        "never is more waited for than a message may have");
                break;
            }
            require(!out.wrong, "a message or an error, never both");
            const byte_vector encoded = wire::encode(*message);
            const byte_view taken = before.first(before.size() - rest.size());
            const auto* const unknown = std::get_if<wire::unknown>(&*message);
            require(unknown != nullptr || std::equal(taken.begin(), taken.end(), encoded.begin(), encoded.end()),
                    "a message is written as it came");
            out.messages.push_back(unknown != nullptr ? byte_vector{unknown->id} : encoded);
        }
        out.left = byte_vector(rest.begin(), rest.end());
    }
    return out;
}

void check_wire(byte_view input) {
    script from(input);
    const cuts reads(from.byte());
    const byte_view sent = from.rest();
    require(hear(sent, reads) == hear(sent, cuts::none()), "reads of any size give the same messages and error");
}

void check_peer_state(byte_view input) {
    script from(input);
    const piece_layout layout(1 + from.number<std::uint16_t>(), 1 + from.number<std::uint16_t>());
    peer_state state(layout, from.flag());
    byte_view sent = from.rest();
    std::error_code ec;
    while (const auto message = wire::parse(sent, ec)) {
        const bitfield before = state.has;
        const std::error_code violation = state.apply(*message);
        require(state.has.size() == layout.piece_count(), "the peer's pieces are the torrent's");
        std::uint32_t count = 0;
        for (const std::uint8_t byte : state.has.bytes()) count += static_cast<std::uint32_t>(std::popcount(byte));
        require(count == state.has.count(), "pieces are counted right");
        require(!violation || state.has == before, "a violation changes nothing");
        for (piece_index i = 0; i < layout.piece_count(); ++i)
            require(!before.get(i) || state.has.get(i), "a piece that was announced stays");
        if (violation) return;
        if (const auto* const piece = std::get_if<wire::piece>(&*message))
            require(layout.contains(piece->range()), "a block lies within its piece");
        const bool of_fast = std::holds_alternative<wire::have_all>(*message) ||
                             std::holds_alternative<wire::have_none>(*message) ||
                             std::holds_alternative<wire::reject>(*message);
        require(!of_fast || state.fast(), "messages of BEP 6 need its bit");
    }
}

void check_extension_handshake(byte_view input) {
    std::error_code ec;
    const auto got = parse_extension_handshake(input, ec);
    require(got.has_value() == !ec, "a handshake or an error, never both");
    if (!got) return;
    require(got->m.size() <= 64 && got->v.size() <= 128, "what is kept is bounded");
    require(!got->p || *got->p != 0, "port 0 is none");
    require(!got->metadata_size || *got->metadata_size <= metadata_size_max, "metadata_size is within limits");
    require(plain_text(got->v) == got->v, "the client's name may be shown");
    const std::string written = write_extension_handshake(*got);
    const auto document = bencode::parse(as_bytes(written), ec);
    require(document && document->canonical(), "what we write is canonical");
    require(parse_extension_handshake(as_bytes(written), ec) == got, "what is written reads the same");
}

void check_compact_peers(byte_view input) {
    script from(input);
    const bool v6 = from.flag();
    const std::size_t most = from.byte();
    const byte_view list = from.rest();
    const std::size_t size = v6 ? compact_v6_size : compact_v4_size;
    std::vector<endpoint> peers;
    const bool whole = parse_compact(list, size, peers, most);
    require(whole == (list.size() % size == 0) && (whole || peers.empty()), "a list that is cut gives nothing");
    require(peers.size() <= most, "no more than were asked for");
    std::size_t at = 0;
    for (const endpoint& peer : peers) {
        while (load_compact(list.subspan(at, size)).port == 0) at += size;
        require(load_compact(list.subspan(at, size)) == peer, "peers come in the order of the list");
        byte_vector written;
        append_compact(written, peer);
        require(load_compact(written) == peer, "a peer that is written reads the same");
        require(endpoint::parse(peer.to_string()) == peer, "so does one that is written as text");
        at += size;
    }
}

/// Addresses as people and other programs write them.
void check_endpoint(byte_view input) {
    const std::string text(as_text(input));
    if (const auto address = ip_address::parse(text)) {
        require(text.find_first_not_of("0123456789abcdefABCDEF.:") == text.npos,
                "an address is digits, dots and colons");
        require(ip_address::parse(address->to_string()) == address, "an address has one text that reads the same");
    }
    const auto got = endpoint::parse(text);
    if (!got) return;
    require(endpoint::parse(got->to_string()) == got, "an endpoint has one text that reads the same");
    require(ip_address::from(got->address.bytes()) == got->address, "bytes give the same address");
}

constexpr target table[] = {
    {"handshake", check_handshake, 128},         {"wire", check_wire, 4096},
    {"peer_state", check_peer_state, 2048},      {"extension_handshake", check_extension_handshake, 4096},
    {"compact_peers", check_compact_peers, 512}, {"endpoint", check_endpoint, 128},
};

}  // namespace

std::span<const target> peer_targets() { return table; }

}  // namespace cohort::fuzz
