// HTTP and WebSocket, from bytes to messages, and who may use the doors that they open.

#include <optional>
#include <type_traits>

#include <cohort/net/http_parser.hpp>
#include <cohort/protocol/websocket.hpp>
#include <cohort/protocol/websocket_handshake.hpp>
#include <cohort/web/local_guard.hpp>
#include <cohort/web/request_values.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

/// The messages of a stream, as text, and whether anything was behind them. Whether that is refused at once or only
/// when its header is whole depends on how it comes, so it is one thing here.
struct http_reading {
    std::vector<std::string> messages;
    bool more = false;

    bool operator==(const http_reading&) const = default;
};

void add_headers(std::string& to, const http_headers& headers) {
    for (std::size_t i = 0; i < headers.size(); ++i)
        to.append(headers[i].name).append(": ").append(headers[i].value).append("\n");
}

std::string shown(const http_request& m) {
    std::string out = m.method + " " + m.target + " " + std::to_string(m.version) + (m.keep_alive ? " +\n" : " -\n");
    add_headers(out, m.headers);
    return out + "\n" + m.body;
}

std::string shown(const http_response& m) {
    std::string out = std::to_string(m.status) + "\n";
    add_headers(out, m.headers);
    return out + "\n" + m.body;
}

constexpr http_limits small_limits{.header = 1024, .body = 1024};

template <class Message>
http_reading read_http(byte_view sent, cuts reads, std::vector<Message>* kept = nullptr) {
    http_reading out;
    byte_vector pending;
    while (out.messages.size() < 32) {
        Message message;
        message.clear();
        detail::http_reader<Message> reader(message, small_limits);
        std::error_code ec;
        for (;;) {
            byte_view in = pending;
            reader.put(in, ec);
            pending = byte_vector(in.begin(), in.end());
            if (reader.is_done() || ec || sent.empty()) break;
            const byte_view read = reads.take(sent);
            pending.insert(pending.end(), read.begin(), read.end());
        }
        require(message.body.size() <= small_limits.body, "a body within its limit");
        if (!ec && !reader.is_done() && !std::is_same_v<Message, http_request> && reader.is_header_done() &&
            reader.need_eof())
            reader.put_eof(ec);
        out.more = ec || !reader.is_done();
        if (out.more) return out;
        out.messages.push_back(shown(message));
        if (kept != nullptr) kept->push_back(message);
        if (sent.empty() && pending.empty()) return out;
    }
    return out;
}

void check_http_request(byte_view input) {
    script from(input);
    const cuts reads(from.byte());
    const byte_view sent = from.rest();
    std::vector<http_request> requests;
    const http_reading whole = read_http<http_request>(sent, cuts::none(), &requests);
    require(read_http<http_request>(sent, reads) == whole, "reads of any size give the same requests");
    for (const http_request& one : requests) {
        require(!one.target.empty() && detail::is_http_token(one.method), "a method and a target");
        for (std::size_t i = 0; i < one.headers.size(); ++i)
            require(detail::is_http_token(one.headers[i].name) && detail::is_http_value(one.headers[i].value),
                    "no field holds another line");
        request_values values(one);
        values.text("text");
        const std::int64_t number = values.number("number", 1, 1000);
        require(number >= 1 && number <= 1000, "a number within its bounds");
        values.truth("truth", false);
        require(is_utf8(values.wrong()), "what is wrong can be told");
    }
}

void check_http_response(byte_view input) {
    script from(input);
    const cuts reads(from.byte());
    const byte_view sent = from.rest();
    std::vector<http_response> responses;
    const http_reading whole = read_http<http_response>(sent, cuts::none(), &responses);
    require(read_http<http_response>(sent, reads) == whole, "reads of any size give the same responses");
    for (const http_response& one : responses) {
        if (one.status < 200 || one.status == 204 || one.status == 304) continue;
        http_response copy = make_http_response(one.status, "text/plain", one.body);
        for (std::size_t i = 0; i < one.headers.size(); ++i) {
            const auto [name, value] = one.headers[i];
            const bool framing = equal_ignoring_case(name, "Content-Length") ||
                                 equal_ignoring_case(name, "Connection") ||
                                 equal_ignoring_case(name, "Transfer-Encoding");
            if (!framing && i < 8) copy.headers.add("X-" + std::string(name).substr(0, 50), value.substr(0, 50));
        }
        std::string written;
        append_head(written, copy, true);
        if (written.size() > small_limits.header) continue;
        written += copy.body;
        std::vector<http_response> again;
        read_http<http_response>(as_bytes(written), cuts::none(), &again);
        require(again.size() == 1 && again[0].body == copy.body && again[0].status == copy.status &&
                    again[0].headers.size() == copy.headers.size() + 2,
                "what is written reads the same");
    }
}

/// What a WebSocket's other side said.
struct websocket_heard {
    struct event {
        websocket_opcode kind;
        byte_vector payload;
        std::uint16_t code;
        bool operator==(const event&) const = default;
    };
    std::vector<event> events;
    std::uint16_t refusal = 0;

    bool operator==(const websocket_heard&) const = default;
};

websocket_heard hear_websocket(byte_view sent, websocket_role ours, cuts reads) {
    constexpr std::size_t limit = 1000;
    websocket_heard out;
    websocket_parser parser(ours, limit);
    byte_vector pending;
    while (!sent.empty() && out.refusal == 0) {
        const byte_view read = reads.take(sent);
        pending.insert(pending.end(), read.begin(), read.end());
        byte_span in = pending;
        while (const auto event = parser.next(in, out.refusal)) {
            require(out.refusal == 0 && event->payload.size() <= limit, "a message within its limit");
            require(event->kind == websocket_opcode::binary || event->kind == websocket_opcode::ping ||
                        event->kind == websocket_opcode::pong || is_utf8(as_text(event->payload)),
                    "text is UTF-8");
            out.events.push_back({event->kind, {event->payload.begin(), event->payload.end()}, event->code});
        }
        require(out.refusal != 0 || in.size() < 140, "little is left in the buffer");
        require(parser.gathered() <= limit, "what is gathered has a limit");
        pending = byte_vector(in.begin(), in.end());
    }
    return out;
}

void check_websocket(byte_view input) {
    script from(input);
    const websocket_role ours = from.flag() ? websocket_role::server : websocket_role::client;
    const cuts reads(from.byte());
    const byte_view sent = from.rest();
    const websocket_heard whole = hear_websocket(sent, ours, cuts::none());
    require(hear_websocket(sent, ours, reads) == whole, "reads of any size give the same messages");
    byte_vector written;
    for (const auto& event : whole.events) {
        const bool is_close = event.kind == websocket_opcode::close;
        require(!is_close || event.code == close_code::none || close_code::may_be_sent(event.code),
                "a code that is one");
        const byte_vector closing = websocket_close_payload(event.code, as_text(event.payload));
        const auto mask = ours == websocket_role::server ? std::optional<std::uint32_t>(0x12345678) : std::nullopt;
        append_websocket_frame(written, event.kind, is_close ? closing : event.payload, mask);
    }
    require(hear_websocket(written, ours, reads).events == whole.events, "what is written reads the same");
}

/// Lines: the fields of a request, then those of an answer.
void check_websocket_handshake(byte_view input) {
    script from(input);
    const std::vector<std::string> supported{"chat.1", "chat"};
    websocket_request_fields request;
    request.method = from.line();
    for (std::string_view* const field :
         {&request.upgrade, &request.connection, &request.key, &request.version, &request.protocols})
        *field = from.line();
    int status = 0;
    const auto accepted = accept_websocket_request(request, supported, status);
    require(accepted ? status == 101 : status == 400 || status == 426, "a status for every end");
    websocket_response_fields answer{101, from.line(), from.line(), from.line(), from.line(), from.line()};
    std::error_code ec;
    const auto agreed = check_websocket_response(answer, request.key, supported, ec);
    require(agreed.has_value() == !ec, "an agreement or an error, never both");
    require(!agreed || answer.accept == websocket_accept(request.key), "an answer is to its request");
    if (accepted) {
        require(accepted->protocol.empty() || request.protocols.find(accepted->protocol) != std::string_view::npos,
                "a subprotocol that was offered");
        answer = {101, "websocket", "Upgrade", accepted->accept, accepted->protocol, {}};
        require(check_websocket_response(answer, request.key, supported, ec) == accepted->protocol,
                "what a server says its clients take");
    }
    const std::string_view origin = from.line();
    const std::string_view host = from.line();
    require(!websocket_same_origin(origin, host) || origin.find("://") != origin.npos, "an origin has a scheme");
}

/// Whether a parameter of the query, decoded, is exactly this token.
bool has_token(std::string_view query, std::string_view token) {
    for (std::size_t at = 0; at <= query.size();) {
        const std::size_t end = std::min(query.find('&', at), query.size());
        const std::string_view one = query.substr(at, end - at);
        at = end + 1;
        if (one.starts_with("token=") && percent_decode(one.substr(6)) == token) return true;
    }
    return false;
}

/// Lines: a request's target, then its Host, Origin, Sec-Fetch-Site and Authorization, then its method.
void check_local_guard(byte_view input) {
    script from(input);
    http_request request;
    request.target = from.line();
    for (const char* const name : {"Host", "Origin", "Sec-Fetch-Site", "Authorization"}) {
        const std::string_view value = from.line();
        if (!value.empty()) request.headers.add(name, value);
    }
    request.method = from.line();
    const local_guard open{.port = 8000};
    const local_guard locked{.port = 8000, .token = "t0ken"};
    const std::string_view host = request.headers.find("Host").value_or("");
    const bool by_name = equal_ignoring_case(host, "localhost:8000");
    require(open.refusal(request) != 0 || by_name || host == "127.0.0.1:8000" || host == "[::1]:8000",
            "nobody gets in under another name");
    if (const auto origin = request.headers.find("Origin"); origin && open.refusal(request) == 0) {
        std::error_code ec;
        const auto page = parse_url(*origin, ec);
        const auto address = page ? ip_address::parse(page->host) : std::nullopt;
        require(page && (address ? address->is_loopback() : ("." + page->host).ends_with(".localhost")),
                "nobody gets in from another site");
    }
    require(locked.refusal(request) != 0 || open.refusal(request) == 0, "a token opens no other door");
    const auto given = request.headers.find("Authorization").value_or("");
    const bool by_header = equal_ignoring_case(given.substr(0, 7), "Bearer ") && given.substr(7) == "t0ken";
    // A browser asks first, and without it, whether the page may ask at all.
    const bool preflight = request.method == "OPTIONS";
    require(locked.refusal(request) != 0 || preflight || by_header || has_token(request.query(), "t0ken"),
            "nobody gets in without the token");
    require(!preflight || locked.refusal(request) == open.refusal(request), "a preflight needs no token");
}

constexpr target table[] = {
    {"http_request", check_http_request, 4096}, {"http_response", check_http_response, 4096},
    {"websocket", check_websocket, 4096},       {"websocket_handshake", check_websocket_handshake, 512},
    {"local_guard", check_local_guard, 512},
};

}  // namespace

std::span<const target> web_targets() { return table; }

}  // namespace cohort::fuzz
