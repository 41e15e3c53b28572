#include <doctest/doctest.h>

#include <map>
#include <set>

#include <cohort/net/http_parser.hpp>

#include "support/corpus.hpp"

namespace http_parser_test {

using namespace cohort;

namespace {

enum class verdict { accepted, refused, incomplete };

struct reading {
    verdict end = verdict::incomplete;
    int messages = 0;
    int status = 0;  // of the refusal
    std::string body;
};

/// Reads all messages that stand in `bytes`, `step` bytes at a time, and lets the stream end behind them.
template <class Message>
reading read_all(byte_view bytes, std::size_t step, const http_limits& limits = {}) {
    reading out;
    byte_vector pending;
    while (true) {
        Message message;
        message.clear();
        detail::http_reader<Message> reader(message, limits);
        std::error_code ec;
        while (!reader.is_done() && !ec) {
            byte_view in = pending;
            reader.put(in, ec);
            pending.erase(pending.begin(), pending.end() - static_cast<std::ptrdiff_t>(in.size()));
            if (reader.is_done() || ec) break;
            if (bytes.empty()) {
                if (!reader.started()) {
                    if (!pending.empty()) out.end = verdict::incomplete;
                    return out;
                }
                if (std::is_same_v<Message, http_response> && reader.is_header_done() && reader.need_eof()) {
                    reader.put_eof(ec);
                    break;
                }
                out.end = verdict::incomplete;
                return out;
            }
            const std::size_t count = std::min(step, bytes.size());
            pending.insert(pending.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
            bytes = bytes.subspan(count);
        }
        if (ec) {
            out.end = verdict::refused;
            out.status = reader.refusal();
            return out;
        }
        out.end = verdict::accepted;
        out.body += message.body;
        ++out.messages;
        if constexpr (std::is_same_v<Message, http_request>) {
            if (!message.keep_alive || message.method == "CONNECT" || message.headers.contains("Upgrade")) return out;
        } else {
            return out;
        }
    }
}

reading read_request(std::string_view text, std::size_t step = 1 << 20, const http_limits& limits = {}) {
    return read_all<http_request>(as_bytes(text), step, limits);
}

reading read_response(std::string_view text, std::size_t step = 1 << 20, const http_limits& limits = {}) {
    return read_all<http_response>(as_bytes(text), step, limits);
}

/// Where our answer differs from the corpus on purpose, and why.
const std::map<std::string, std::string> stricter{
    {"llhttp/request-sample-10", "HTTP/0.9 is not HTTP/1.x"},
    {"llhttp/response-sample-02", "RTSP is not HTTP"},
    {"llhttp/response-sample-03", "ICE is not HTTP"},
    {"llhttp/response-sample-16", "HTTP/0.9 is not HTTP/1.x"},
    {"libtorrent/t-missing_chunked_header", "a bare LF is not a chunk size"},
};

}  // namespace

TEST_CASE("the corpus's messages get their verdicts, whole and byte by byte") {
    for (const test::corpus_case& one : test::corpus("http")) {
        CAPTURE(one.id);
        byte_vector bytes = one.bytes();
        const picojson::value& valid = one.expect().get("valid");
        const bool request = one.input().get("kind").to_str() == "request";
        const auto read = [&](std::size_t step) {
            return request ? read_all<http_request>(bytes, step) : read_all<http_response>(bytes, step);
        };
        const picojson::value& count = one.expect().get("messages_complete");
        const int messages = count.is<std::int64_t>() ? static_cast<int>(count.get<std::int64_t>()) : 1;
        // The files lack the empty line that ends the header or the trailer where it was the last line.
        if (valid.is<bool>() && read(bytes.size()).messages < messages) {
            bytes.push_back('\r');
            bytes.push_back('\n');
        }
        const reading got = read(bytes.size());
        const reading slow = read(1);
        CHECK(slow.messages == got.messages);
        CHECK(slow.body == got.body);
        if (valid.is<bool>()) {
            const bool wanted = valid.get<bool>() && stricter.count(one.id) == 0;
            if (wanted) CHECK(got.messages == messages);
            if (!wanted) CHECK(got.messages == 0);
        } else if (valid.to_str() == "incomplete") {
            CHECK(got.messages == 0);
            CHECK(got.end == verdict::incomplete);
        }
    }
}

TEST_CASE("requests in one stream are told apart and keep their parts") {
    http_request request;
    detail::http_reader<http_request> reader(request, {});
    byte_view in =
        as_bytes("POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-One:  two \r\nContent-Length: 3\r\n\r\nxyzGET / HTTP/1.1");
    std::error_code ec;
    reader.put(in, ec);
    CHECK(!ec);
    CHECK(reader.is_done());
    CHECK(request.method == "POST");
    CHECK(request.path() == "/a");
    CHECK(request.query() == "b=c");
    CHECK(request.headers.find("x-one") == "two");
    CHECK(request.body == "xyz");
    CHECK(request.keep_alive);
    CHECK(as_text(in) == "GET / HTTP/1.1");
}

TEST_CASE("what two parsers could read in two ways is refused") {
    const auto refused = [](const std::string& head) {
        const std::string text = head + "\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        return read_request(text).end == verdict::refused && read_request(text, 1).end == verdict::refused;
    };
    const std::string start = "POST / HTTP/1.1\r\nHost: h\r\n";
    CHECK(read_request(start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").body == "hello");
    CHECK(refused(start + "Content-Length: 5\r\nTransfer-Encoding: chunked"));
    CHECK(refused(start + "Transfer-Encoding: chunked\r\nContent-Length: 5"));
    CHECK(refused(start + "Transfer-Encoding: identity"));
    CHECK(refused(start + "Transfer-Encoding: chunked, identity"));
    CHECK(refused(start + "Transfer-Encoding: xchunked"));
    CHECK(refused(start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"));
    CHECK(refused(start + "Transfer-Encoding:\vchunked"));
    CHECK(refused(start + "Transfer-Encoding : chunked"));
    CHECK(refused(start + "Content-Length: 5\r\nContent-Length: 5"));
    CHECK(refused(start + "Content-Length: 5, 5"));
    CHECK(refused(start + "Content-Length: +5"));
    CHECK(refused(start + "Content-Length: 0x5"));
    CHECK(refused(start + "Content-Length: -1"));
    CHECK(refused(start + "Content-Length: 18446744073709551621"));
    CHECK(refused(start + "Host: other\r\nContent-Length: 5"));
    CHECK(refused(start + "X: a\r\n b\r\nContent-Length: 5"));
    CHECK(refused(start + "X:\r\n\tb\r\nContent-Length: 5"));
    CHECK(refused(start + "X: a\nContent-Length: 5"));
    CHECK(refused(start + "X: a\rContent-Length: 5"));
    CHECK(refused(start + std::string("X: a\0b", 6)));
    CHECK(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked"));
}

TEST_CASE("chunk sizes that are wrong or do not fit are refused") {
    const auto read = [](const std::string& chunks) {
        return read_request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks);
    };
    CHECK(read("5\r\nhello\r\n0\r\nX: trailer\r\n\r\n").body == "hello");
    CHECK(read("ffffffffffffffff\r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("10000000000000005\r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("-5\r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("0x5\r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("5 \r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("5;a=b\r\nhello\r\n0;c\r\n\r\n").body == "hello");
    CHECK(read("\r\n\r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("5\nhello\r\n0\r\n\r\n").messages == 0);
    CHECK(read("4\r\nhello\r\n0\r\n\r\n").end == verdict::refused);
    CHECK(read("5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n").end == verdict::refused);
}

TEST_CASE("a trailer adds no field to the header") {
    http_request request;
    detail::http_reader<http_request> reader(request, {});
    byte_view in =
        as_bytes("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Admin: yes\r\n\r\n");
    std::error_code ec;
    reader.put(in, ec);
    CHECK(reader.is_done());
    CHECK_FALSE(request.headers.contains("X-Admin"));
}

TEST_CASE("headers and bodies beyond the limits are refused with the status that says so, however they arrive") {
    const http_limits limits{.header = 1000, .body = 10};
    const std::string start = "POST / HTTP/1.1\r\nHost: h\r\n";
    const std::string one_long = start + "X: " + std::string(1000, 'a') + "\r\n\r\n";
    std::string many = start;
    for (int i = 0; i < 200; ++i) many += "X: y\r\n";
    many += "\r\n";
    const std::string long_target = "GET /" + std::string(1000, 'a') + " HTTP/1.1\r\n\r\n";
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{1} << 20}) {
        for (const std::string& text : {one_long, many, long_target, one_long.substr(0, 1010)}) {
            const reading got = read_request(text, step, limits);
            CHECK(got.end == verdict::refused);
            CHECK(got.status == 431);
        }
        const reading length = read_request(start + "Content-Length: 11\r\n\r\nhello world", step, limits);
        CHECK(length.end == verdict::refused);
        CHECK(length.status == 413);
        const reading chunked = read_request(
            start + "Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n", step, limits);
        CHECK(chunked.end == verdict::refused);
        CHECK(chunked.status == 413);
        const reading until_close = read_response("HTTP/1.1 200 OK\r\n\r\nhello world", step, limits);
        CHECK(until_close.end == verdict::refused);
        const reading trailer = read_request(
            start + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + std::string(2000, 'a') + "\r\n\r\n", step, limits);
        CHECK(trailer.end == verdict::refused);
        CHECK(read_request(start + "Content-Length: 10\r\n\r\nhello worl", step, limits).body == "hello worl");
    }
}

TEST_CASE("refusals name their cause") {
    CHECK(read_request("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n").status == 501);
    CHECK(read_request("GET / HTTP/2.0\r\nHost: h\r\n\r\n").status == 505);
    CHECK(read_request("\x16\x03\x01 a TLS client\r\n\r\n").status == 400);
}

TEST_CASE("a response without a length ends with its stream, one with a length must not end before") {
    CHECK(read_response("HTTP/1.0 200 OK\r\n\r\nall of it").body == "all of it");
    CHECK(read_response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour").end == verdict::incomplete);
    CHECK(read_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n").end ==
          verdict::incomplete);
}

}  // namespace http_parser_test
