#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/protocol/json.hpp>
#include <cohort/protocol/trace.hpp>
#include <cohort/protocol/trace_conversation.hpp>
#include <cohort/protocol/trace_datagram.hpp>

namespace trace_test {

using namespace cohort;

namespace {

constexpr trace_direction out = trace_direction::out;
constexpr trace_direction in = trace_direction::in;

std::string line_of(const trace_event& event) {
    trace_writer writer;
    writer.begin(0, "h");
    writer.add(event);
    const std::string whole(writer.finish());
    const std::string before = R"({"time":0.000000,"host":"h",)";
    REQUIRE(whole.starts_with(before));
    return "{" + whole.substr(before.size());
}

/// One turn of a conversation.
struct turn {
    trace_direction dir;
    std::string bytes;
};

using lines = std::vector<std::string>;

/// What a conversation comes to when every turn is cut into pieces of `piece` bytes, 0 for not at all.
lines told(const std::vector<turn>& turns, std::size_t piece = 0) {
    lines heard;
    conversation_trace trace([&heard](trace_direction dir, const trace_event& event) {
        heard.push_back(std::string(name_of(dir)) + " " + line_of(event));
    });
    for (const turn& one : turns) {
        byte_view rest = as_bytes(one.bytes);
        while (!rest.empty()) {
            const std::size_t size = piece == 0 ? rest.size() : std::min(piece, rest.size());
            trace.feed(one.dir, rest.first(size));
            rest = rest.subspan(size);
        }
    }
    trace.end(out);
    trace.end(in);
    return heard;
}

/// The same however it is cut.
lines told_always(const std::vector<turn>& turns) {
    const lines whole = told(turns);
    constexpr std::size_t pieces[] = {1, 2, 3, 5, 7, 16, 64, 1000, 4095, 4096, 4097};
    for (const std::size_t piece : pieces) CHECK(told(turns, piece) == whole);
    return whole;
}

template <class... Messages>
std::string wire_bytes(const Messages&... messages) {
    std::string bytes;
    (wire::append(bytes, messages), ...);
    return bytes;
}

std::string greeting() {
    handshake ours;
    ours.hash.bytes.fill(0xab);
    std::copy_n(
        "-CO0001-abc \x01\xff"
        "1234567",
        20, ours.id.bytes.begin());
    ours.fast = ours.extension_protocol = true;
    const auto bytes = encode(ours);
    return std::string(bytes.begin(), bytes.end());
}
const std::string greeting_line =
    R"({"message":"handshake","info_hash":"abababababababababababababababababababab",)"
    R"("peer_id":"-CO0001-abc%20%01%FF123456","fast":true,"extension_protocol":true,"dht":false})";

std::string to_string(const byte_vector& bytes) { return std::string(as_text(bytes)); }

}  // namespace

TEST_CASE("a trace names every message of the peer wire with its fields, however the bytes come") {
    const byte_vector data(16384, 0xff), bits{0xff, 0x01, 0x80};
    const std::string messages = wire_bytes(
        wire::keep_alive{}, wire::choke{}, wire::unchoke{}, wire::interested{}, wire::not_interested{}, wire::have{7},
        wire::bitfield{bits}, wire::request{{1, 2, 3}}, wire::piece{4, 5, data}, wire::cancel{{6, 7, 8}},
        wire::port{6881}, wire::suggest{9}, wire::have_all{}, wire::have_none{}, wire::reject{{10, 11, 12}},
        wire::allowed_fast{13}, wire::extended{3, as_bytes("abc")}, wire::piece{4, 5, {}}, wire::extended{4, {}});
    const std::string strange{0, 0, 0, 1, 99, 0, 0, 0, 3, 98, 'x', 'y'};
    const lines heard = told_always({{out, greeting() + messages + strange}});
    const lines expected{greeting_line,
                         R"({"message":"keep_alive"})",
                         R"({"message":"choke"})",
                         R"({"message":"unchoke"})",
                         R"({"message":"interested"})",
                         R"({"message":"not_interested"})",
                         R"({"message":"have","index":7})",
                         R"({"message":"bitfield","length":3,"count":10})",
                         R"({"message":"request","index":1,"begin":2,"length":3})",
                         R"({"message":"piece","index":4,"begin":5,"length":16384})",
                         R"({"message":"cancel","index":6,"begin":7,"length":8})",
                         R"({"message":"port","value":6881})",
                         R"({"message":"suggest","index":9})",
                         R"({"message":"have_all"})",
                         R"({"message":"have_none"})",
                         R"({"message":"reject","index":10,"begin":11,"length":12})",
                         R"({"message":"allowed_fast","index":13})",
                         R"({"message":"extended","id":3,"length":3})",
                         R"({"message":"piece","index":4,"begin":5,"length":0})",
                         R"({"message":"extended","id":4,"length":0})",
                         R"({"message":"unknown","id":99,"length":0})",
                         R"({"message":"unknown","id":98,"length":2})"};
    REQUIRE(heard.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(heard[i] == "out " + expected[i]);
}

TEST_CASE("a trace knows extended messages by the name that their receiver gave them") {
    extension_handshake ours{.m = {{"ut_metadata", 2}, {"ct_chat", 5}}, .v = "cohort", .reqq = 500};
    extension_handshake theirs{.m = {{"ut_metadata", 9}}, .p = 6881, .metadata_size = 77, .upload_only = true};
    extension_handshake later{.m = {{"ut_metadata", 0}, {"ut_pex", 9}, {"zz_same", 9}}};
    const auto extended = [](const extension_handshake& what) {
        return wire_bytes(wire::extended{0, as_bytes(write_extension_handshake(what))});
    };
    const lines heard = told_always({{out, greeting() + extended(ours)},
                                     {in, greeting() + extended(theirs) + wire_bytes(wire::extended{5, as_bytes("x")})},
                                     {out, wire_bytes(wire::extended{9, as_bytes("xy")}, wire::extended{2, {}})},
                                     {in, extended(later)},
                                     {out, wire_bytes(wire::extended{9, as_bytes("xy")})}});
    REQUIRE(heard.size() == 9);
    CHECK(heard[1] ==
          R"(out {"message":"extension_handshake","m":{"ct_chat":5,"ut_metadata":2},"v":"cohort","reqq":500})");
    CHECK(heard[3] == R"(in {"message":"extension_handshake","m":{"ut_metadata":9},"p":6881,"metadata_size":77,)"
                      R"("upload_only":true})");
    CHECK(heard[4] == R"(in {"message":"extended","id":5,"name":"ct_chat","length":1})");
    CHECK(heard[5] == R"(out {"message":"extended","id":9,"name":"ut_metadata","length":2})");
    CHECK(heard[6] == R"(out {"message":"extended","id":2,"length":0})");
    CHECK(heard[8] == R"(out {"message":"extended","id":9,"name":"ut_pex","length":2})");
}

TEST_CASE("a trace does not keep an extension handshake that is too long, and takes no nonsense from one") {
    const std::string much(100'000, 'd');
    const lines heard = told_always(
        {{in, greeting() + wire_bytes(wire::extended{0, as_bytes(much)}, wire::extended{0, as_bytes("no bencode")},
                                      wire::extended{0, {}}, wire::choke{})}});
    REQUIRE(heard.size() == 5);
    CHECK(heard[1] == R"(in {"message":"extension_handshake","length":100000})");
    CHECK(heard[2] == R"(in {"message":"extension_handshake","length":10})");
    CHECK(heard[3] == R"(in {"message":"extension_handshake","length":0})");
    CHECK(heard[4] == R"(in {"message":"choke"})");
}

TEST_CASE("data that goes out of a file is counted unseen, and what should have been seen makes the rest opaque") {
    std::vector<std::string> heard;
    conversation_trace trace(
        [&heard](trace_direction, const trace_event& event) { heard.emplace_back(event.message); });
    trace.feed(out, as_bytes(greeting()));
    const auto header = wire::piece_header({0, 0, 16384});
    trace.feed(out, header);
    trace.skip(out, 16000);
    CHECK(heard.size() == 1);
    trace.skip(out, 384);
    trace.feed(out, wire::encode(wire::choke{}));
    CHECK(heard == std::vector<std::string>{"handshake", "piece", "choke"});
    CHECK(trace.total(out) == 68 + 13 + 16384 + 5);
    trace.skip(out, 3);
    trace.feed(out, wire::encode(wire::choke{}));
    trace.skip(out, 3);
    CHECK(heard == std::vector<std::string>{"handshake", "piece", "choke", "opaque"});
    conversation_trace at_once(
        [&heard](trace_direction, const trace_event& event) { heard.emplace_back(event.message); });
    at_once.skip(in, 10);
    at_once.end(in);
    CHECK(heard.size() == 5);
}

TEST_CASE("a trace shows HTTP, with the info_hash in hexadecimal and what the tracker answers") {
    const std::string announce =
        "GET /announce?info_hash=%AB%CD123456789012345678&peer_id=-CO0001-abc&port=1 HTTP/1.1\r\nHost: t\r\n\r\n";
    announce_response answer;
    answer.interval = std::chrono::seconds(1800);
    answer.complete = 1;
    answer.incomplete = 2;
    answer.peers = {{ip_address::loopback_v4(), 1}, {ip_address::loopback_v4(), 2}};
    const auto reply = [](const std::string& status, const std::string& body, const std::string& more = "") {
        return "HTTP/1.1 " + status + "\r\n" + more + "content-length: " + std::to_string(body.size()) + "\r\n\r\n" +
               body;
    };
    scrape_response counts;
    counts.files.resize(1);
    const lines heard = told_always({{out, announce},
                                     {in, reply("200 OK", write_announce_response(answer))},
                                     {out, "POST /register HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"},
                                     {in, reply("404 Not Found", std::string(5000, 'd'))},
                                     {out, "GET /announce HTTP/1.1\r\n\r\n"},
                                     {in, reply("200 OK", write_failure("not registered"))},
                                     {out, "GET /scrape HTTP/1.1\r\n\r\n"},
                                     {in, reply("200 OK", write_scrape_response(counts))},
                                     {out, "HEAD / HTTP/1.1\r\n\r\n"},
                                     {in, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"},
                                     {out,
                                      "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n"
                                      "Trailer: yes\r\n\r\n"},
                                     {in, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"},
                                     {out, "GET / HTTP/1.0\r\n\r\n"},
                                     {in, "HTTP/1.0 200 OK\r\n\r\nuntil the end\r\nof all"}});
    const lines expected{R"(out {"message":"http_request","method":"GET","target":"/announce?info_hash=)"
                         R"(abcd313233343536373839303132333435363738&peer_id=-CO0001-abc&port=1"})",
                         R"(in {"message":"http_response","status":200,"length":69,"interval":1800,)"
                         R"("complete":1,"incomplete":2,"peers":2})",
                         R"(out {"message":"http_request","method":"POST","target":"/register","length":5})",
                         R"(in {"message":"http_response","status":404,"length":5000})",
                         R"(out {"message":"http_request","method":"GET","target":"/announce"})",
                         R"(in {"message":"http_response","status":200,"length":36,"failure":"not registered"})",
                         R"(out {"message":"http_request","method":"GET","target":"/scrape"})",
                         R"(in {"message":"http_response","status":200,"length":81,"files":1})",
                         R"(out {"message":"http_request","method":"HEAD","target":"/"})",
                         R"(in {"message":"http_response","status":200,"length":9})",
                         R"(out {"message":"http_request","method":"PUT","target":"/"})",
                         R"(in {"message":"http_response","status":100})",
                         R"(in {"message":"http_response","status":204})",
                         R"(out {"message":"http_request","method":"GET","target":"/"})",
                         R"(in {"message":"http_response","status":200})"};
    REQUIRE(heard.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(heard[i] == expected[i]);
}

TEST_CASE("a trace follows a WebSocket, and sees of a chat that it is encrypted") {
    const auto frame = [](websocket_opcode kind, std::size_t size, bool masked, bool last = true) {
        byte_vector bytes;
        const std::optional<std::uint32_t> mask = masked ? std::optional<std::uint32_t>(0x1234) : std::nullopt;
        append_websocket_frame(bytes, kind, byte_vector(size), mask, last);
        return to_string(bytes);
    };
    const std::string agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n";
    const auto ask = [](const std::string& path) { return "GET " + path + " HTTP/1.1\r\nupgrade: websocket\r\n\r\n"; };
    SUBCASE("of any kind") {
        const lines heard = told_always(
            {{in, ask("/ws")},
             {out,
              agreed + frame(websocket_opcode::text, 0, false) + frame(websocket_opcode::binary, 126, false, false)},
             {in, frame(websocket_opcode::ping, 3, true) + frame(websocket_opcode::binary, 70'000, true)},
             {out, frame(websocket_opcode::continuation, 5, false) + frame(websocket_opcode::pong, 3, false)},
             {in, frame(websocket_opcode::close, 2, true)}});
        const lines expected{R"(in {"message":"http_request","method":"GET","target":"/ws","upgrade":"websocket"})",
                             R"(out {"message":"http_response","status":101,"upgrade":"websocket"})",
                             R"(out {"message":"websocket_frame","opcode":"text","fin":true,"length":0})",
                             R"(out {"message":"websocket_frame","opcode":"binary","fin":false,"length":126})",
                             R"(in {"message":"websocket_frame","opcode":"ping","fin":true,"length":3})",
                             R"(in {"message":"websocket_frame","opcode":"binary","fin":true,"length":70000})",
                             R"(out {"message":"websocket_frame","opcode":"continuation","fin":true,"length":5})",
                             R"(out {"message":"websocket_frame","opcode":"pong","fin":true,"length":3})",
                             R"(in {"message":"websocket_frame","opcode":"close","fin":true,"length":2})"};
        CHECK(heard == expected);
    }
    SUBCASE("of a chat") {
        const lines heard = told_always({{out, ask("/chat")},
                                         {in, agreed},
                                         {out, frame(websocket_opcode::binary, 40, true)},
                                         {in, frame(websocket_opcode::binary, 96, false)},
                                         {out, frame(websocket_opcode::binary, 64, true)},
                                         {in, frame(websocket_opcode::binary, 500, false)},
                                         {out, frame(websocket_opcode::binary, 20, true)}});
        REQUIRE(heard.size() == 7);
        CHECK(heard[2] == R"(out {"message":"noise_handshake","tokens":"e","length":40})");
        CHECK(heard[3] == R"(in {"message":"noise_handshake","tokens":"e, ee, s, es","length":96})");
        CHECK(heard[4] == R"(out {"message":"noise_handshake","tokens":"s, se","length":64})");
        CHECK(heard[5] == R"(in {"message":"encrypted","length":500})");
        CHECK(heard[6] == R"(out {"message":"encrypted","length":20})");
    }
    SUBCASE("that was not asked for") {
        const lines heard = told_always({{out, "GET / HTTP/1.1\r\n\r\n"}, {in, agreed + "x"}});
        REQUIRE(heard.size() == 3);
        CHECK(heard[2] == R"(in {"message":"opaque"})");
    }
}

TEST_CASE("what a trace does not understand is opaque, once a direction") {
    const std::string opaque = R"(out {"message":"opaque"})";
    for (const std::string& bytes :
         {std::string("\x13"
                      "BitTorrent protocoX and more"),
          std::string("hello"), std::string("ABCDEFGHIJ / HTTP"), std::string(" "), std::string(1, '\0'),
          std::string("HTTP/x\r\n"), std::string("HTTP/1.1 abc\r\n"), std::string("GET\r\n\r\n"),
          std::string("\x13"
                      "Bit"),
          std::string("GE"), std::string("GET / HTTP/1.1\r\nno colon\r\n")}) {
        const lines heard = told_always({{out, bytes}});
        CHECK_MESSAGE(heard == lines{opaque}, bytes);
    }
    CHECK(told_always({{in, "\x16\x03\x01 and so on"}, {out, "\x16"}}) == lines{R"(in {"message":"tls"})", opaque});
    // After a message that nobody would take.
    const lines heard = told_always({{out, greeting() + std::string("\x7f\xff\xff\xff and so on")},
                                     {in, greeting() + std::string("\0\0\0\x02\x04 and so on", 16)}});
    CHECK(heard == lines{"out " + greeting_line, opaque, "in " + greeting_line, R"(in {"message":"opaque"})"});
    CHECK(told_always({}).empty());
}

TEST_CASE("garbage at any place of a conversation harms nothing") {
    const std::string good =
        greeting() + wire_bytes(wire::have{1}, wire::request{{1, 2, 3}}, wire::piece{0, 0, byte_vector(100)});
    const std::string web = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    std::mt19937 random(7);
    std::size_t heard = 0;
    for (int i = 0; i < 3000; ++i) {
        std::string bytes = i % 2 == 0 ? good : web + good;
        for (int n = 0; n < 4; ++n) bytes[random() % bytes.size()] = static_cast<char>(random());
        const std::string answer =
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n" + bytes.substr(random() % bytes.size());
        conversation_trace trace([&heard](trace_direction, const trace_event& event) {
            ++heard;
            std::error_code ec;
            const auto line = parse_json(line_of(event), ec);
            REQUIRE(line);
        });
        trace.feed(out, as_bytes(bytes));
        trace.feed(in, as_bytes(answer));
        trace.skip(out, random() % 100);
        trace.feed(out, as_bytes(bytes));
        trace.end(out);
        trace.end(in);
    }
    CHECK(heard > 3000);
}

TEST_CASE("a trace holds no more than a few kilobytes of lines that do not end") {
    trace_decoder* seen = nullptr;
    struct reader final : trace_decoder {
        trace_wish first() override { return trace_wish::line(); }
        trace_wish take(byte_view unit) override {
            size = unit.size();
            return trace_wish::line();
        }
        std::size_t size = 0;
    };
    auto decoder = std::make_unique<reader>();
    seen = decoder.get();
    trace_scanner scanner(std::move(decoder));
    const byte_vector part(1000, 'x');
    for (int i = 0; i < 10'000; ++i) scanner.feed(part);
    scanner.feed(as_bytes("\nshort\n"));
    CHECK(static_cast<reader*>(seen)->size == 6);
    scanner.feed(part);
    const std::string longest = "GET /" + std::string(1'000'000, 'y') + " HTTP/1.1\r\n\r\n";
    const lines heard = told_always({{out, longest}});
    REQUIRE(heard.size() == 1);
    CHECK(heard[0].size() < 4200);
}

TEST_CASE("a trace names the datagrams of trackers, and gives the length of others") {
    announce_request asked;
    asked.hash.bytes.fill(1);
    asked.id.bytes.fill('a');
    asked.port = 6881;
    asked.left = 5;
    asked.event = announce_event::started;
    const auto event_of = [](byte_view packet, bool ipv6 = false) { return line_of(trace_datagram(packet, ipv6)); };
    CHECK(event_of(udp_tracker::write_connect(7)) == R"({"message":"connect_request","transaction":7})");
    CHECK(event_of(udp_tracker::write_connect_answer(7, 1)) == R"({"message":"connect_answer","transaction":7})");
    const std::uint64_t id = 0x0123456789abcdef;
    CHECK(event_of(udp_tracker::write_announce(id, 8, asked, "/announce")) ==
          R"({"message":"announce_request","transaction":8,"info_hash":"0101010101010101010101010101010101010101",)"
          R"("peer_id":"aaaaaaaaaaaaaaaaaaaa","event":"started","downloaded":0,"left":5,"uploaded":0,"port":6881})");
    asked.numwant = 30;
    CHECK(event_of(udp_tracker::write_announce(id, 8, asked)).ends_with(R"("port":6881,"numwant":30})"));
    byte_vector answer(500);
    const std::vector<endpoint> peers{{ip_address::loopback_v4(), 1}, {*ip_address::parse("::1"), 2}};
    for (const bool ipv6 : {false, true}) {
        const std::size_t size =
            udp_tracker::write_announce_answer(answer, 8, std::chrono::seconds(60), 1, 2, peers, ipv6);
        CHECK(event_of(byte_view(answer).first(size), ipv6) ==
              R"({"message":"announce_answer","transaction":8,"interval":60,"complete":2,"incomplete":1,"peers":1})");
    }
    const std::vector<info_hash> hashes(3);
    CHECK(event_of(udp_tracker::write_scrape(id, 9, hashes)) ==
          R"({"message":"scrape_request","transaction":9,"files":3})");
    const std::vector<scrape_entry> entries(3);
    const std::size_t scraped = udp_tracker::write_scrape_answer(answer, 9, entries);
    CHECK(event_of(byte_view(answer).first(scraped)) == R"({"message":"scrape_answer","transaction":9,"files":3})");
    const std::size_t refused = udp_tracker::write_error_answer(answer, 9, "no \x01 way");
    CHECK(event_of(byte_view(answer).first(refused)) ==
          R"({"message":"error_answer","transaction":9,"failure":"no   way"})");
    CHECK(event_of({}) == R"({"message":"datagram","length":0})");
    CHECK(event_of(byte_vector(1400, 0xff)) == R"({"message":"datagram","length":1400})");
}

TEST_CASE("a line of a trace is JSON whatever is in it") {
    trace_writer writer;
    writer.begin(12'345'678, "a \"host\"\n");
    writer.add("big", std::uint64_t{18446744073709551615U});
    writer.add(trace_event{
        "x", {{"text", std::string("\\ \x1b\x7f\xc2\x9b \xff é")}, {"m", trace_ids{{"a\"", 1}, {"b", 2}}}}});
    const std::string line(writer.finish());
    CHECK(line ==
          "{\"time\":12.345678,\"host\":\"a \\\"host\\\"\\u000a\",\"big\":18446744073709551615,"
          "\"message\":\"x\",\"text\":\"\\\\ \\u001b\\u007f\\u009b \xef\xbf\xbd é\",\"m\":{\"a\\\"\":1,\"b\":2}}");
    std::error_code ec;
    CHECK(parse_json(line.substr(0, line.find("\"big\"")) + "\"x\":1}", ec));
    writer.begin(-1'000'005, "h");
    CHECK(writer.finish() == R"({"time":-1.000005,"host":"h"})");
    writer.begin(0, "");
    CHECK(writer.finish() == R"({"time":0.000000,"host":""})");
}

}  // namespace trace_test
