#include <doctest/doctest.h>

#include <cohort/protocol/websocket_handshake.hpp>

#include "support/corpus.hpp"

namespace websocket_handshake_test {

using namespace cohort;
using namespace cohort::test;

namespace {

const std::string sample_key = "dGhlIHNhbXBsZSBub25jZQ==";
const std::string sample_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

websocket_request_fields good_request() {
    return {.method = "GET",
            .http_version = 11,
            .upgrade = "websocket",
            .connection = "Upgrade",
            .key = sample_key,
            .version = "13",
            .protocols = ""};
}

/// The status that a request is answered with, 101 if it is taken.
int status_of(const websocket_request_fields& request) {
    int status = 0;
    const std::vector<std::string> none;
    const auto accepted = accept_websocket_request(request, none, status);
    CHECK(accepted.has_value() == (status == 101));
    return status;
}

std::string protocol_of(std::string_view offered, const std::vector<std::string>& supported) {
    websocket_request_fields request = good_request();
    request.protocols = offered;
    int status = 0;
    const auto accepted = accept_websocket_request(request, supported, status);
    REQUIRE(accepted);
    return std::string(accepted->protocol);
}

websocket_response_fields good_response() {
    return {.status = 101,
            .upgrade = "websocket",
            .connection = "Upgrade",
            .accept = sample_accept,
            .protocol = "",
            .extensions = ""};
}

std::error_code failure_of_response(const websocket_response_fields& response,
                                    const std::vector<std::string>& offered = {}) {
    std::error_code ec;
    const auto agreed = check_websocket_response(response, sample_key, offered, ec);
    CHECK(agreed.has_value() == !ec);
    return ec;
}

}  // namespace

TEST_CASE("the accept value is that of RFC 6455") {
    std::size_t seen = 0;
    for (const corpus_case& one : corpus("websocket")) {
        if (one.input().get("op").to_str() != "accept") continue;
        ++seen;
        CHECK(websocket_accept(one.input().get("key").to_str()) == one.expect().get("accept").to_str());
    }
    CHECK(seen == 1);
}

TEST_CASE("a key is 16 bytes in base64") {
    const std::array<std::uint8_t, 16> random{0x74, 0x68, 0x65, 0x20, 0x73, 0x61, 0x6d, 0x70,
                                              0x6c, 0x65, 0x20, 0x6e, 0x6f, 0x6e, 0x63, 0x65};
    CHECK(websocket_key(random) == sample_key);
}

TEST_CASE("a request for a WebSocket is taken, whatever the case of its words and what stands beside them") {
    websocket_request_fields request = good_request();
    CHECK(status_of(request) == 101);
    request.upgrade = "h2c, WebSocket";
    request.connection = "keep-alive,\tUPGRADE ";
    CHECK(status_of(request) == 101);
    int status = 0;
    const std::vector<std::string> none;
    CHECK(accept_websocket_request(request, none, status)->accept == sample_accept);
}

TEST_CASE("a request that asks for no WebSocket is answered with 426") {
    websocket_request_fields request = good_request();
    request.upgrade = "";
    CHECK(status_of(request) == 426);
    request.upgrade = "websockets";
    CHECK(status_of(request) == 426);
    request = good_request();
    for (const char* const version : {"8", "13, 13", "013", ""}) {
        request.version = version;
        CHECK(status_of(request) == 426);
    }
    request.version = "";
    CHECK(status_of(request) == 426);
}

TEST_CASE("a request that breaks the rules is answered with 400") {
    websocket_request_fields request = good_request();
    request.method = "POST";
    CHECK(status_of(request) == 400);
    request = good_request();
    request.http_version = 10;
    CHECK(status_of(request) == 400);
    request = good_request();
    request.connection = "keep-alive";
    CHECK(status_of(request) == 400);
    request.connection = "";
    CHECK(status_of(request) == 400);
    request = good_request();
    for (const char* const key :
         {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j",
          "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZQ==, x", "dGhlIHNhbXBsZS*ub25jZQ=="}) {
        CAPTURE(key);
        request.key = key;
        CHECK(status_of(request) == 400);
    }
    request.key = "";
    CHECK(status_of(request) == 400);
}

TEST_CASE("of the subprotocols offered, our favourite is chosen") {
    CHECK(protocol_of("chat, superchat", {"superchat", "chat"}) == "superchat");
    CHECK(protocol_of("chat , superchat", {"other", "chat"}) == "chat");
    CHECK(protocol_of("Chat", {"chat"}).empty());
    CHECK(protocol_of("", {"chat"}).empty());
    CHECK(protocol_of("chat", {}).empty());
}

TEST_CASE("an answer counts only if it was made for this request") {
    CHECK(!failure_of_response(good_response()));
    websocket_response_fields response = good_response();
    response.upgrade = "WEBSOCKET";
    response.connection = "keep-alive, upgrade";
    CHECK(!failure_of_response(response));
    response.status = 200;
    CHECK(failure_of_response(response) == errc::http_status);
    response = good_response();
    response.upgrade = "";
    CHECK(failure_of_response(response) == errc::websocket_malformed);
    response = good_response();
    response.connection = "close";
    CHECK(failure_of_response(response) == errc::websocket_malformed);
    response = good_response();
    response.accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOp=";
    CHECK(failure_of_response(response) == errc::websocket_malformed);
    response.accept = "";
    CHECK(failure_of_response(response) == errc::websocket_malformed);
    response = good_response();
    response.extensions = "permessage-deflate";
    CHECK(failure_of_response(response) == errc::websocket_malformed);
}

TEST_CASE("a server may choose a subprotocol that was offered, or none") {
    websocket_response_fields response = good_response();
    CHECK(!failure_of_response(response, {"chat"}));
    response.protocol = "chat";
    CHECK(!failure_of_response(response, {"other", "chat"}));
    CHECK(failure_of_response(response, {"other"}) == errc::websocket_malformed);
    CHECK(failure_of_response(response) == errc::websocket_malformed);
    response.protocol = "chat, other";
    CHECK(failure_of_response(response, {"chat", "other"}) == errc::websocket_malformed);
}

TEST_CASE("a page belongs to the server that it came from, and to no other") {
    CHECK(websocket_same_origin("http://localhost:8080", "localhost:8080"));
    CHECK(websocket_same_origin("http://Example.org", "example.org:80"));
    CHECK(websocket_same_origin("https://example.org:443", "example.org"));
    CHECK(!websocket_same_origin("http://localhost:8081", "localhost:8080"));
    CHECK(!websocket_same_origin("http://example.org.evil.net", "example.org"));
    CHECK(!websocket_same_origin("null", "example.org"));
    CHECK(!websocket_same_origin("", ""));
    CHECK(!websocket_same_origin("http://", ""));
}

}  // namespace websocket_handshake_test
