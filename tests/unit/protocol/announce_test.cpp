#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/announce_query.hpp>
#include <support/corpus.hpp>

namespace announce_test {

using namespace cohort;
using namespace std::chrono_literals;

namespace {

std::optional<announce_response> read(std::string_view body) {
    std::error_code ec;
    std::string reason;
    auto out = parse_announce_response(as_bytes(body), ec, reason);
    CHECK(out.has_value() == !ec);
    return out;
}

std::error_code refusal(std::string_view body, std::string* words = nullptr) {
    std::error_code ec;
    std::string reason;
    CHECK_FALSE(parse_announce_response(as_bytes(body), ec, reason));
    if (words != nullptr) *words = reason;
    return ec;
}

std::string query_refusal(std::string_view query) {
    std::string reason;
    CHECK_FALSE(parse_announce_query(query, reason));
    return reason;
}

/// A query that is right but for what is put behind it.
const std::string good_query =
    "info_hash=%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9a"
    "&peer_id=-CO0001-abcdefghijkl&port=6881&left=5";

ip_address random_address(random_engine& random) {
    if (random.chance(0.5)) return ip_address::v4(static_cast<std::uint32_t>(random()));
    std::array<std::uint8_t, 16> bytes;
    random.fill(bytes);
    return ip_address::v6(bytes);
}

endpoint random_peer(random_engine& random) {
    return {random_address(random), static_cast<std::uint16_t>(1 + random.below(65535))};
}

announce_response random_response(random_engine& random) {
    const auto count = [&]() -> std::optional<std::uint32_t> {
        if (random.chance(0.5)) return std::nullopt;
        return static_cast<std::uint32_t>(random());
    };
    announce_response out;
    out.interval = std::chrono::seconds(random.below(10'000));
    out.min_interval = std::chrono::seconds(random.below(2) * random.below(10'000));
    out.complete = count();
    out.incomplete = count();
    out.downloaded = count();
    for (std::uint32_t i = random.below(60); i > 0; --i) out.peers.push_back(random_peer(random));
    // The order of the wire: IPv4 peers, then IPv6 ones.
    std::stable_partition(out.peers.begin(), out.peers.end(), [](const endpoint& e) { return e.address.is_v4(); });
    if (random.chance(0.3)) out.warning = "busy";
    if (random.chance(0.3)) out.tracker_id = std::string("\x00\xff id", 5);
    if (random.chance(0.3)) out.external_ip = random_address(random);
    return out;
}

void check_response(const test::corpus_case& c) {
    const byte_vector body = c.bytes();
    std::error_code ec;
    std::string reason;
    const auto response = parse_announce_response(body, ec, reason);
    const json& valid = c.expect().get("valid");
    if (valid.is<std::string>()) {
        CHECK(valid.get<std::string>() == "disputed");
        REQUIRE(response);
        CHECK(response->peers.size() + response->named_peers.size() ==
              static_cast<std::size_t>(json_integer(json_member(c.expect(), "peers_if_lenient")).value()));
        return;
    }
    REQUIRE(response.has_value() == valid.get<bool>());
    if (!response) {
        CHECK(ec == errc::tracker_malformed);
        return;
    }
    std::vector<std::string> peers;
    std::vector<std::string> ids;
    for (const endpoint& peer : response->peers) peers.push_back(peer.to_string());
    for (const named_peer& peer : response->named_peers) {
        peers.push_back(peer.host + ":" + std::to_string(peer.port));
        ids.emplace_back(as_text(peer.id.value().view()));
    }
    std::vector<std::string> expected;
    for (const json& peer : c.expect().get("peers").get<json_array>()) expected.push_back(peer.get<std::string>());
    CHECK(peers == expected);
    if (const json* const list = json_member(c.expect(), "peer_ids")) {
        std::vector<std::string> expected_ids;
        for (const json& id : list->get<json_array>()) expected_ids.push_back(id.get<std::string>());
        CHECK(ids == expected_ids);
    }
    if (const auto ip = json_text(json_member(c.expect(), "external_ip")))
        CHECK(response->external_ip.value().to_string() == *ip);
    if (const auto n = json_integer(json_member(c.expect(), "interval"))) CHECK(response->interval.count() == *n);
    if (const auto n = json_integer(json_member(c.expect(), "min_interval")))
        CHECK(response->min_interval.count() == *n);
    if (const auto n = json_integer(json_member(c.expect(), "complete"))) CHECK(response->complete.value() == *n);
    if (const auto n = json_integer(json_member(c.expect(), "incomplete"))) CHECK(response->incomplete.value() == *n);
}

void check_peer_dictionary(const test::corpus_case& c) {
    const byte_vector bytes = c.bytes();
    std::error_code ec;
    const auto document = bencode::parse(bytes, ec);
    REQUIRE(document);
    CHECK(detail::parse_peer(document->root()).has_value() == c.expect().get("valid").get<bool>());
}

void check_request(const test::corpus_case& c) {
    const byte_vector bytes = c.bytes();
    std::string_view text = as_text(bytes);
    text = text.substr(text.find('?') + 1);
    text = text.substr(0, text.find(' '));
    // The disputed request lacks what every announce needs, so it is refused as well.
    CHECK_FALSE(query_refusal(text).empty());
}

}  // namespace

TEST_CASE("an answer is written with sorted keys and compact peers") {
    announce_response r{.interval = 1800s, .complete = 1, .incomplete = 2};
    r.peers = {{ip_address::v4(0x01020304), 0x1ae1}};
    CHECK(write_announce_response(r) ==
          "d8:completei1e10:incompletei2e8:intervali1800e5:peers6:\x01\x02\x03\x04\x1a\xe1"
          "e");
    r.peers = {{*ip_address::parse("::1"), 1}};
    const std::string one = std::string(15, '\0') + '\x01' + '\0' + '\x01';
    CHECK(write_announce_response(r) ==
          "d8:completei1e10:incompletei2e8:intervali1800e5:peers0:6:peers618:" + one + "e");
}

TEST_CASE("an answer that is not compact lists dictionaries, and names and ids with them") {
    announce_response r{.interval = 60s};
    r.peers = {{ip_address::v4(0x01020304), 6881}};
    r.named_peers = {{"peer.example", 1, std::nullopt}};
    CHECK(write_announce_response(r, false) ==
          "d8:intervali60e5:peersld2:ip7:1.2.3.44:porti6881eed2:ip12:peer.example4:porti1eeee");
    r.named_peers[0].id = peer_id::from(as_bytes("-CO0001-abcdefghijkl"));
    CHECK(read(write_announce_response(r, false)) == r);
}

TEST_CASE("a random answer reads back as itself, compact or not") {
    random_engine random(1);
    for (int round = 0; round < 500; ++round) {
        const announce_response response = random_response(random);
        REQUIRE(read(write_announce_response(response)) == response);
        REQUIRE(read(write_announce_response(response, false)) == response);
    }
}

TEST_CASE("an answer cut short is malformed wherever it is cut") {
    random_engine random(2);
    const announce_response response = random_response(random);
    REQUIRE_FALSE(response.peers.empty());
    const std::string body = write_announce_response(response);
    for (std::size_t cut = 0; cut < body.size(); ++cut)
        REQUIRE(refusal(body.substr(0, cut)) == errc::tracker_malformed);
    CHECK(read(body + "\r\n") == response);
}

TEST_CASE("a refusal gives the tracker's words, made printable and cut") {
    std::string words;
    CHECK(refusal(write_failure("torrent not registered"), &words) == errc::tracker_refused);
    CHECK(words == "torrent not registered");
    CHECK(refusal("d14:failure reason8:a\x1b[31m\nb5:peers0:e", &words) == errc::tracker_refused);
    CHECK(words == "a [31m b");
    CHECK(refusal("d14:failure reason10000:" + std::string(10000, 'x') + "e", &words) == errc::tracker_refused);
    CHECK(words.size() == 512);
    CHECK(refusal("d14:failure reasoni1ee", &words) == errc::tracker_refused);
}

TEST_CASE("a refusal can say when to try again (BEP 31)") {
    const auto retry = [](std::string_view body) { return parse_retry_in(as_bytes(body)); };
    CHECK(write_failure("full", 5min) == "d14:failure reason4:full8:retry ini5ee");
    CHECK(retry(write_failure("full", 5min)) == 5min);
    CHECK(retry(write_failure("gone", std::chrono::minutes::max())) == std::chrono::minutes::max());
    CHECK_FALSE(retry(write_failure("full")));
    CHECK_FALSE(retry("d8:retry ini-1ee"));
    CHECK_FALSE(retry("d8:retry in4:soone"));
    CHECK_FALSE(retry("garbage"));
    CHECK(retry("d8:retry ini9223372036854775807ee") == announce_interval_max);
}

TEST_CASE("intervals and counts out of range are brought into it") {
    const auto r = read(
                       "d8:completei-1e10:downloadedi9223372036854775807e10:incomplete1:x8:intervali-5e"
                       "12:min intervali9223372036854775807ee")
                       .value();
    CHECK(r.interval == 0s);
    CHECK(r.min_interval == announce_interval_max);
    CHECK_FALSE(r.complete);
    CHECK_FALSE(r.incomplete);
    CHECK(r.downloaded == std::numeric_limits<std::uint32_t>::max());
    CHECK(read("d8:intervali99999999999999999999999ee").value().interval == 0s);
    CHECK(read("de").value().interval == 0s);
}

TEST_CASE("an answer that is no dictionary, or whose peers are no peers, is malformed") {
    for (const char* const body :
         {"", "garbage", "le", "i1e", "4:spam", "<html>", "d5:peersi1ee", "d5:peersdee", "d6:peers6lee",
          "d6:peers6i1ee", "d5:peers7:1234567e", "d6:peers617:12345678901234567e"})
        CHECK(refusal(body) == errc::tracker_malformed);
}

TEST_CASE("entries that name no peer are left out and the others kept") {
    const auto r = read(
                       "d5:peersl"
                       "d2:ip7:1.2.3.44:porti1ee"
                       "d2:ip7:1.2.3.44:porti0ee"
                       "d2:ip7:1.2.3.44:porti65536ee"
                       "d2:ip7:1.2.3.44:porti-1ee"
                       "d2:ip0:4:porti1ee"
                       "d2:ip3:a b4:porti1ee"
                       "d2:ip3:a\nb4:porti1ee"
                       "d2:ip3:::14:porti2ee"
                       "d2:ip4:host7:peer id5:short4:porti3ee"
                       "i1ele0:ee")
                       .value();
    REQUIRE(r.peers.size() == 2);
    CHECK(r.peers[0].to_string() == "1.2.3.4:1");
    CHECK(r.peers[1].to_string() == "[::1]:2");
    CHECK(r.named_peers == std::vector<named_peer>{{"host", 3, std::nullopt}});
    CHECK(read(std::string("d5:peers12:\1\2\3\4\0\0\1\2\3\4\0\1e", 24)).value().peers.size() == 1);
}

TEST_CASE("the number of peers taken from one answer is bounded") {
    std::string v4;
    for (std::uint32_t i = 0; i < 100'000; ++i) append_compact(v4, {ip_address::v4(i), 1});
    const std::string compact =
        "d5:peers" + std::to_string(v4.size()) + ":" + v4 + "6:peers618:" + std::string(18, 1) + "e";
    CHECK(read(compact).value().peers.size() == announce_peers_max);
    std::string list = "d5:peersl";
    for (int i = 0; i < 20'000; ++i) list += i % 2 == 0 ? "d2:ip1:a4:porti1ee" : "d2:ip7:1.2.3.44:porti1ee";
    const auto r = read(list + "ee").value();
    CHECK(r.peers.size() + r.named_peers.size() == announce_peers_max);
    for (int i = 0; i < 80'000; ++i) list += "d2:ip1:a4:porti1ee";
    CHECK(refusal(list + "ee") == errc::tracker_malformed);
}

TEST_CASE("the address the tracker sees is taken in 4 or 16 bytes (BEP 24)") {
    CHECK(read("d11:external ip4:\x01\x02\x03\x04"
               "e")
              .value()
              .external_ip == ip_address::v4(0x01020304));
    CHECK_FALSE(read("d11:external ip5:12345e").value().external_ip);
    CHECK_FALSE(read("d11:external ipi1ee").value().external_ip);
}

TEST_CASE("an announce is written as the query that BEP 3 describes") {
    announce_request r;
    r.hash = *info_hash::parse_hex("123456789abcdef123456789abcdef123456789a");
    r.id = *peer_id::from(as_bytes("-CO0001-abcdefghijkl"));
    r.port = 6881;
    r.left = 5;
    r.event = announce_event::started;
    r.key = 0xab;
    CHECK(announce_query(r) ==
          "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=-CO0001-abcdefghijkl"
          "&port=6881&uploaded=0&downloaded=0&left=5&compact=1&key=000000ab&event=started");
    CHECK(append_query("/announce", "a=b") == "/announce?a=b");
    CHECK(append_query("/announce?passkey=x", "a=b") == "/announce?passkey=x&a=b");
    CHECK(append_query("/announce?", "a=b") == "/announce?a=b");
    CHECK(append_query("/announce?x&", "a=b") == "/announce?x&a=b");
}

TEST_CASE("a random announce reads back from its query as itself") {
    random_engine random(3);
    std::string reason;
    for (int round = 0; round < 2000; ++round) {
        announce_request r;
        random.fill(r.hash.span());
        random.fill(r.id.span());
        r.port = static_cast<std::uint16_t>(1 + random.below(65535));
        r.uploaded = random();
        r.downloaded = random();
        r.left = random();
        r.event = static_cast<announce_event>(random.below(4));
        r.numwant = static_cast<std::int32_t>(random.below(300)) - 1;
        r.key = static_cast<std::uint32_t>(random());
        if (random.chance(0.3)) r.ip = random_address(random);
        if (random.chance(0.3)) r.tracker_id = std::string("a&=%\x00\xff", 6);
        r.compact = random.chance(0.5);
        REQUIRE(parse_announce_query(announce_query(r), reason) == r);
    }
}

TEST_CASE("a query needs info_hash, peer_id, port and left, and the reason names what is missing") {
    std::string reason;
    CHECK(parse_announce_query(good_query, reason));
    for (const std::string name : {"info_hash", "peer_id", "port", "left"}) {
        const std::size_t begin = good_query.find(name + "=");
        const std::size_t end = std::min(good_query.find('&', begin), good_query.size());
        std::string without = good_query;
        without.erase(begin, end - begin);
        CHECK(query_refusal(without) == "missing " + name);
        CHECK(query_refusal(good_query + "&" + good_query.substr(begin, end - begin)) == name + " given twice");
    }
    CHECK(query_refusal("") == "missing info_hash");
}

TEST_CASE("a wrong parameter is refused by name") {
    const std::string rest = good_query.substr(good_query.find('&'));
    CHECK(query_refusal("info_hash=abc" + rest) == "invalid info_hash");
    CHECK(query_refusal("info_hash=" + std::string(21, 'a') + rest) == "invalid info_hash");
    CHECK(query_refusal("info_hash=" + std::string(19, 'a') + "%4" + rest) == "invalid info_hash");
    CHECK(query_refusal("info_hash=" + std::string(19, 'a') + "%zz" + rest) == "invalid info_hash");
    CHECK(query_refusal("info_hash" + rest) == "invalid info_hash");
    CHECK(query_refusal("peer_id=short") == "invalid peer_id");
    for (const char* const port : {"", "0", "65536", "-1", "+1", "1x", " 1", "0x50", "99999999999999999999"})
        CHECK(query_refusal("port=" + std::string(port)) == "invalid port");
    for (const char* const name : {"left", "uploaded", "downloaded"}) {
        CHECK(query_refusal(std::string(name) + "=-1") == "invalid " + std::string(name));
        CHECK(query_refusal(std::string(name) + "=18446744073709551616") == "invalid " + std::string(name));
    }
    CHECK(query_refusal("numwant=many") == "invalid numwant");
    CHECK(query_refusal("numwant=2147483648") == "invalid numwant");
    CHECK(query_refusal("trackerid=%x") == "invalid trackerid");
    CHECK(query_refusal("ip=%") == "invalid ip");
}

TEST_CASE("parameters that may be left out have their defaults, and unknown ones are ignored") {
    std::string reason;
    const auto r =
        parse_announce_query("&&" + good_query + "&supportcrypto=1&x&=&no_peer_id=1&event=paused&numwant=&%=%", reason);
    REQUIRE(r);
    CHECK(r->uploaded == 0);
    CHECK(r->downloaded == 0);
    CHECK(r->left == 5);
    CHECK(r->event == announce_event::none);
    CHECK(r->numwant == -1);
    CHECK(r->key == 0);
    CHECK_FALSE(r->ip);
    CHECK(r->compact);
    CHECK_FALSE(parse_announce_query(good_query + "&compact=0", reason).value().compact);
    CHECK_FALSE(parse_announce_query(good_query + "&ip=tracker.example", reason).value().ip);
    CHECK(parse_announce_query(good_query + "&ip=%3A%3A1", reason).value().ip == ip_address::parse("::1"));
}

TEST_CASE("a key of any text keeps clients apart") {
    std::string reason;
    const auto key = [&](const std::string& text) {
        return parse_announce_query(good_query + "&key=" + text, reason).value().key;
    };
    CHECK(key("DEADbeef") == 0xdeadbeef);
    CHECK(key("1") == 1);
    CHECK(key("T8hWq2Zz") == key("T8hWq2Zz"));
    CHECK(key("T8hWq2Zz") != key("T8hWq2Zy"));
    CHECK(key("123456789") != key("12345678"));
}

TEST_CASE("damaged answers and queries never crash the readers") {
    random_engine random(4);
    std::string reason;
    for (int round = 0; round < 5000; ++round) {
        std::string body = write_announce_response(random_response(random), random.chance(0.5));
        std::string query = good_query + "&event=started&numwant=50&key=1&ip=1.2.3.4";
        for (std::uint32_t i = 1 + random.below(4); i > 0; --i) {
            body[random.below(static_cast<std::uint32_t>(body.size()))] = static_cast<char>(random());
            query[random.below(static_cast<std::uint32_t>(query.size()))] = static_cast<char>(random());
        }
        const auto r = read(body);
        if (r) REQUIRE(r->interval <= announce_interval_max);
        reason.clear();
        const auto q = parse_announce_query(query, reason);
        REQUIRE(q.has_value() == reason.empty());
        if (q) REQUIRE(q->port != 0);
    }
}

TEST_CASE("the corpus's tracker answers and requests have the stated results") {
    std::map<std::string, int> ops;
    for (const test::corpus_case& c : test::corpus("tracker")) {
        CAPTURE(c.id);
        const std::string op = c.input().get("op").get<std::string>();
        ++ops[op];
        if (op == "http_response") check_response(c);
        if (op == "peer_dict") check_peer_dictionary(c);
        if (op == "http_request") check_request(c);
    }
    // udp_options is read in udp_tracker_test.cpp.
    const std::map<std::string, int> expected = {
        {"http_response", 9}, {"udp_options", 6}, {"peer_dict", 3}, {"http_request", 2}};
    CHECK(ops == expected);
}

}  // namespace announce_test
