#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/announce_query.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/udp_tracker.hpp>
#include <support/corpus.hpp>

namespace udp_tracker_test {

using namespace cohort;
using namespace std::chrono_literals;

namespace {

template <class T>
T request_as(byte_view packet) {
    std::error_code ec;
    const auto out = udp_tracker::parse_request(packet, ec);
    REQUIRE_FALSE(ec);
    REQUIRE(out);
    return std::get<T>(*out);
}

template <class T>
T answer_as(byte_view packet, bool ipv6 = false) {
    std::error_code ec;
    const auto out = udp_tracker::parse_answer(packet, ipv6, ec);
    REQUIRE_FALSE(ec);
    REQUIRE(out);
    return std::get<T>(*out);
}

bool refuses_request(byte_view packet) {
    std::error_code ec;
    const auto out = udp_tracker::parse_request(packet, ec);
    CHECK(out.has_value() == !ec);
    return ec == errc::tracker_malformed;
}

bool refuses_answer(byte_view packet, bool ipv6 = false) {
    std::error_code ec;
    const auto out = udp_tracker::parse_answer(packet, ipv6, ec);
    CHECK(out.has_value() == !ec);
    return ec == errc::tracker_malformed;
}

announce_request random_announce(random_engine& random) {
    announce_request r;
    random.fill(r.hash.span());
    random.fill(r.id.span());
    r.port = static_cast<std::uint16_t>(random());
    r.uploaded = random();
    r.downloaded = random();
    r.left = random();
    r.event = static_cast<announce_event>(random.below(4));
    r.numwant = static_cast<std::int32_t>(random());
    r.key = static_cast<std::uint32_t>(random());
    if (random.chance(0.5)) r.ip = ip_address::v4(1 + random.below(0xfffffffe));
    return r;
}

std::vector<endpoint> random_peers(random_engine& random, std::size_t size, bool ipv6) {
    std::vector<endpoint> out(size);
    for (endpoint& peer : out) {
        std::array<std::uint8_t, 16> bytes;
        random.fill(bytes);
        bytes[0] = 0x20;
        peer.address = ipv6 ? ip_address::v6(bytes) : ip_address::v4(static_cast<std::uint32_t>(random()));
        peer.port = static_cast<std::uint16_t>(1 + random.below(65535));
    }
    return out;
}

}  // namespace

TEST_CASE("connect packets have the bytes of BEP 15") {
    CHECK(to_hex(udp_tracker::write_connect(0x01020304)) == "00000417271019800000000001020304");
    CHECK(to_hex(udp_tracker::write_connect_answer(0x01020304, 0x1122334455667788)) ==
          "00000000010203041122334455667788");
    CHECK(request_as<udp_tracker::connect_request>(udp_tracker::write_connect(7)).transaction == 7);
    const auto answer = answer_as<udp_tracker::connect_answer>(udp_tracker::write_connect_answer(8, 9));
    CHECK(answer.transaction == 8);
    CHECK(answer.connection_id == 9);
}

TEST_CASE("an announce request has the bytes of BEP 15") {
    announce_request r;
    r.hash.bytes.fill(0xaa);
    r.id.bytes.fill(0xbb);
    r.downloaded = 1;
    r.left = 2;
    r.uploaded = 3;
    r.event = announce_event::started;
    r.ip = ip_address::v4(0x7f000001);
    r.key = 4;
    r.port = 6881;
    CHECK(to_hex(udp_tracker::write_announce(0x1122334455667788, 5, r)) ==
          "1122334455667788"
          "00000001"
          "00000005"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
          "0000000000000001"
          "0000000000000002"
          "0000000000000003"
          "00000002"
          "7f000001"
          "00000004"
          "ffffffff"
          "1ae1");
}

TEST_CASE("a random announce reads back as itself, with its URL data") {
    random_engine random(1);
    for (int round = 0; round < 500; ++round) {
        const announce_request r = random_announce(random);
        const std::string url_data(random.below(700), 'u');
        const std::uint64_t id = random();
        const byte_vector packet = udp_tracker::write_announce(id, 77, r, url_data);
        const auto read = request_as<udp_tracker::announce_request>(packet);
        REQUIRE(read.connection_id == id);
        REQUIRE(read.transaction == 77);
        REQUIRE(read.announce == r);
        std::string options;
        REQUIRE(udp_tracker::parse_options(read.options, options));
        REQUIRE(options == url_data);
        for (std::size_t cut = 0; cut < udp_tracker::announce_size; ++cut)
            REQUIRE(refuses_request(byte_view(packet).first(cut)));
    }
}

TEST_CASE("an IPv6 address has no place in the request, and an unknown event is none") {
    announce_request r;
    r.ip = ip_address::parse("::1");
    byte_vector packet = udp_tracker::write_announce(1, 2, r);
    CHECK_FALSE(request_as<udp_tracker::announce_request>(packet).announce.ip);
    packet[83] = 4;
    CHECK(request_as<udp_tracker::announce_request>(packet).announce.event == announce_event::none);
}

TEST_CASE("a scrape names up to 74 hashes") {
    random_engine random(2);
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{74}, std::size_t{100}}) {
        std::vector<info_hash> hashes(size);
        for (info_hash& hash : hashes) random.fill(hash.span());
        const byte_vector packet = udp_tracker::write_scrape(3, 4, hashes);
        const auto read = request_as<udp_tracker::scrape_request>(packet);
        CHECK(read.connection_id == 3);
        CHECK(read.transaction == 4);
        REQUIRE(read.size() == std::min(size, scrape_hashes_max));
        for (std::size_t i = 0; i < read.size(); ++i) CHECK(read[i] == hashes[i]);
    }
    byte_vector packet = udp_tracker::write_scrape(3, 4, std::vector<info_hash>(74));
    packet.resize(packet.size() + 20);
    CHECK(refuses_request(packet));
    CHECK(refuses_request(udp_tracker::write_scrape(3, 4, {})));
    packet.resize(16 + 21);
    CHECK(refuses_request(packet));
}

TEST_CASE("what is no request is refused") {
    byte_vector packet(200);
    CHECK(refuses_request({}));
    CHECK(refuses_request(packet));  // a connect without the protocol's id
    packet[11] = 3;
    CHECK(refuses_request(packet));  // an error, which only trackers send
    packet[11] = 4;
    CHECK(refuses_request(packet));
    CHECK(refuses_request(byte_view(udp_tracker::write_connect(1)).first(15)));
}

TEST_CASE("an announce answer carries the peers of its family, as many as fit") {
    random_engine random(3);
    for (const bool ipv6 : {false, true}) {
        for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{50}, std::size_t{500}}) {
            const auto wanted = random_peers(random, count, ipv6);
            auto mixed = wanted;
            const auto others = random_peers(random, 10, !ipv6);
            mixed.insert(mixed.begin(), others.begin(), others.end());
            std::array<std::uint8_t, udp_tracker::answer_size_max> buffer;
            const std::size_t size = udp_tracker::write_announce_answer(buffer, 5, 1800s, 6, 7, mixed, ipv6);
            const byte_view packet = byte_view(buffer).first(size);
            const auto read = answer_as<udp_tracker::announce_answer>(packet, ipv6);
            CHECK(read.transaction == 5);
            CHECK(read.response.interval == 1800s);
            CHECK(read.response.incomplete == 6);
            CHECK(read.response.complete == 7);
            const std::size_t fit = (buffer.size() - 20) / (ipv6 ? 18 : 6);
            REQUIRE(read.response.peers.size() == std::min(count, fit));
            CHECK(std::equal(read.response.peers.begin(), read.response.peers.end(), wanted.begin()));
            for (std::size_t cut = 0; cut < std::min<std::size_t>(size, 60); ++cut) {
                const bool whole = cut >= 20 && (cut - 20) % (ipv6 ? 18 : 6) == 0;
                CHECK(refuses_answer(packet.first(cut), ipv6) != whole);
            }
        }
    }
}

TEST_CASE("an announce answer has the bytes of BEP 15") {
    std::array<std::uint8_t, 26> out;
    const std::vector<endpoint> peers = {{ip_address::v4(0x01020304), 6881}};
    CHECK(udp_tracker::write_announce_answer(out, 1, 2s, 3, 4, peers, false) == 26);
    CHECK(to_hex(out) ==
          "00000001"
          "00000001"
          "00000002"
          "00000003"
          "00000004"
          "01020304"
          "1ae1");
}

TEST_CASE("a hostile announce answer is bounded") {
    byte_vector packet(20 + 6 * 10'000, 1);
    store_be(packet.data(), std::uint32_t{1});
    store_be(packet.data() + 8, std::uint32_t{0xffffffff});
    const auto read = answer_as<udp_tracker::announce_answer>(packet);
    CHECK(read.response.peers.size() == announce_peers_max);
    CHECK(read.response.interval == announce_interval_max);
}

TEST_CASE("a scrape answer reads back as itself, and is cut to what fits") {
    random_engine random(4);
    std::vector<scrape_entry> entries(74);
    for (scrape_entry& entry : entries) entry = {random.below(100), random.below(100), random.below(100)};
    std::array<std::uint8_t, udp_tracker::answer_size_max> buffer;
    const std::size_t size = udp_tracker::write_scrape_answer(buffer, 9, entries);
    CHECK(size == 8 + 74 * 12);
    const auto read = answer_as<udp_tracker::scrape_answer>(byte_view(buffer).first(size));
    CHECK(read.transaction == 9);
    CHECK(read.entries == entries);
    CHECK(udp_tracker::write_scrape_answer(byte_span(buffer).first(33), 9, entries) == 32);
    CHECK(refuses_answer(byte_view(buffer).first(size - 1)));
    byte_vector many(8 + 75 * 12);
    store_be(many.data(), std::uint32_t{2});
    CHECK(refuses_answer(many));
}

TEST_CASE("a scrape answer has the counts in the order of BEP 15: seeders, completed, leechers") {
    std::array<std::uint8_t, 20> out;
    const std::vector<scrape_entry> one = {{.complete = 1, .downloaded = 2, .incomplete = 3}};
    CHECK(udp_tracker::write_scrape_answer(out, 5, one) == 20);
    CHECK(to_hex(out) ==
          "00000002"
          "00000005"
          "00000001"
          "00000002"
          "00000003");
}

TEST_CASE("an error answer carries its reason, printable and cut to what fits") {
    std::array<std::uint8_t, 16> buffer;
    const std::size_t size = udp_tracker::write_error_answer(buffer, 6, "too busy, come back later");
    CHECK(size == 16);
    auto read = answer_as<udp_tracker::error_answer>(byte_view(buffer));
    CHECK(read.transaction == 6);
    CHECK(read.reason == "too busy");
    buffer[8] = 0x1b;
    CHECK(answer_as<udp_tracker::error_answer>(byte_view(buffer)).reason == " oo busy");
    CHECK(answer_as<udp_tracker::error_answer>(byte_view(buffer).first(8)).reason.empty());
}

TEST_CASE("a datagram's transaction is known before anything else of it is read") {
    CHECK(udp_tracker::transaction_of(udp_tracker::write_connect_answer(0x01020304, 5)) == 0x01020304);
    CHECK_FALSE(udp_tracker::transaction_of(byte_vector(7)));
    CHECK(refuses_answer(byte_vector(7)));
    CHECK(refuses_answer(byte_vector(15)));
    CHECK(refuses_answer(byte_vector(40, 9)));
}

TEST_CASE("options are concatenated, padding and unknown ones skipped, and none may end beyond the packet") {
    std::string data;
    const auto read = [&data](std::initializer_list<std::uint8_t> bytes) {
        return udp_tracker::parse_options(byte_vector(bytes), data);
    };
    CHECK(read({1, 1, 2, 2, 'a', 'b', 9, 1, 'x', 2, 1, 'c', 0, 2, 1, 'd'}));
    CHECK(data == "abc");
    CHECK_FALSE(read({2}));
    CHECK_FALSE(read({2, 1}));
    CHECK_FALSE(read({2, 3, 'a', 'b'}));
    CHECK_FALSE(read({9, 200, 0}));
    CHECK(read({}));
    CHECK(data.empty());
}

TEST_CASE("random datagrams never crash either side") {
    random_engine random(5);
    std::string data;
    for (int round = 0; round < 50000; ++round) {
        byte_vector packet(random.below(200));
        random.fill(packet);
        // A plausible action where each side looks for it.
        if (packet.size() >= 12) {
            store_be(packet.data(), random.below(5));
            store_be(packet.data() + 8, random.below(5));
        }
        std::error_code ec;
        if (const auto r = udp_tracker::parse_request(packet, ec)) {
            if (const auto* const announce = std::get_if<udp_tracker::announce_request>(&*r))
                udp_tracker::parse_options(announce->options, data);
            REQUIRE(data.size() < 200);
        }
        const auto answer = udp_tracker::parse_answer(packet, round % 2 == 0, ec);
        REQUIRE(answer.has_value() == !ec);
    }
}

TEST_CASE("the corpus's options have the stated results") {
    int seen = 0;
    for (const test::corpus_case& c : test::corpus("tracker")) {
        if (c.input().get("op").get<std::string>() != "udp_options") continue;
        CAPTURE(c.id);
        ++seen;
        const byte_vector bytes = c.bytes();
        std::string data;
        REQUIRE(udp_tracker::parse_options(bytes, data) == c.expect().get("valid").get<bool>());
        if (const json* const expected = json_member(c.expect(), "url_data"))
            CHECK(to_hex(as_bytes(data)) == json_text(expected).value_or(""));
        if (const json* const expected = json_member(c.expect(), "params")) {
            std::string_view query = data;
            query = query.substr(std::min(query.find('?'), query.size()));
            if (!query.empty()) query.remove_prefix(1);
            std::map<std::string, std::string> params;
            while (const auto parameter = take_parameter(query))
                params[std::string(parameter->name)] = percent_decode(parameter->value).value();
            CHECK(params.size() == expected->get<json_object>().size());
            for (const auto& [name, value] : params) CHECK(value == expected->get(name).get<std::string>());
        }
    }
    CHECK(seen == 6);
}

}  // namespace udp_tracker_test
