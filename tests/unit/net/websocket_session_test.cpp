// The recorded sessions of the Autobahn test suite: a tester sends frames, ours echoes, and both ends close.
#include <doctest/doctest.h>

#include <cohort/net/websocket.hpp>

#include "support/corpus.hpp"
#include "support/memory_stream.hpp"
#include "support/net.hpp"
#include "support/run.hpp"

namespace websocket_session_test {

using namespace cohort;
using namespace cohort::test;

namespace {

std::string text_of(const picojson::value& in, const char* name) {
    return in.contains(name) && in.get(name).is<std::string>() ? in.get(name).get<std::string>() : std::string();
}

std::size_t number_of(const picojson::value& in, const char* name, std::size_t otherwise) {
    return in.contains(name) && in.get(name).is<std::int64_t>()
               ? static_cast<std::size_t>(in.get(name).get<std::int64_t>())
               : otherwise;
}

bool is_set(const picojson::value& in, const char* name) { return in.get(name).get<bool>(); }

byte_vector from_hex_text(const std::string& hex) {
    byte_vector out(hex.size() / 2);
    REQUIRE(from_hex(hex, out));
    return out;
}

byte_vector payload_of(const picojson::value& frame) {
    if (!frame.contains("repeat_hex")) return from_hex_text(text_of(frame, "payload"));
    const byte_vector pattern = from_hex_text(text_of(frame, "repeat_hex"));
    byte_vector out(number_of(frame, "payload_len", 0));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = pattern[i % pattern.size()];
    return out;
}

/// The tester's side: turns the recorded events into bytes for ours, and keeps what ours says.
class tester {
public:
    tester(network& net, memory_stream& wire, websocket_role role)
        : net_(net), wire_(wire), role_(role), said_(role, 100 * 1024 * 1024) {}

    asio::awaitable<void> play(const picojson::value& step) {
        if (step.contains("frame")) {
            const byte_vector bytes = frame_of(step.get("frame"));
            const std::size_t piece = number_of(step, "chopsize", bytes.size());
            co_await put(bytes, piece);
        } else if (step.contains("message")) {
            const byte_vector bytes =
                message_of(step.get("message"), number_of(step, "fragment_size", std::size_t{1} << 30));
            co_await put(bytes, bytes.size());
        } else if (step.contains("begin_message")) {
            opcode_ = is_set(step.get("begin_message"), "binary") ? websocket_opcode::binary : websocket_opcode::text;
        } else if (step.contains("begin_frame")) {
            const byte_vector header = header_of(number_of(step.get("begin_frame"), "length", 0));
            co_await put(header, header.size());
            streamed_ = 0;
        } else if (step.contains("frame_data")) {
            byte_vector bytes = from_hex_text(text_of(step, "frame_data"));
            if (role_ == websocket_role::client) websocket_mask(bytes, mask, streamed_);
            streamed_ += bytes.size();
            co_await put(bytes, bytes.size());
        } else if (step.contains("wait_s")) {
            co_await settle();
            if (!text_of(step, "tag").empty() && !closed()) note({"timeout", text_of(step, "tag"), false});
        } else if (step.contains("close") || step.contains("close_frame")) {
            const picojson::value& said = step.get(step.contains("close") ? "close" : "close_frame");
            co_await say_close(said);
        }
    }

    /// Ends the session as the tester would have: says goodbye if nobody did.
    asio::awaitable<void> finish() {
        co_await settle();
        if (!closed() && !closing_) {
            const byte_vector payload = websocket_close_payload(close_code::normal, "");
            const byte_vector bytes = framed(websocket_opcode::close, payload, true);
            co_await put(bytes, bytes.size());
        }
        co_await settle();
        wire_.put_end();
    }

    struct event {
        std::string kind;
        std::string payload;
        bool is_binary;
        bool operator==(const event&) const = default;
    };

    const std::vector<event>& events() const { return events_; }
    bool closed() const { return code_ != 0; }
    std::uint16_t code() const { return code_; }
    std::uint16_t refusal() const { return refusal_; }

private:
    static constexpr std::uint32_t mask = 0x12345678;

    byte_vector framed(websocket_opcode kind, byte_view payload, bool last, unsigned reserved = 0) const {
        byte_vector out;
        std::optional<std::uint32_t> key;
        if (role_ == websocket_role::client) key = mask;
        append_websocket_frame(out, kind, payload, key, last);
        out[0] = static_cast<std::uint8_t>(out[0] | reserved << 4);
        return out;
    }

    byte_vector frame_of(const picojson::value& in) const {
        const auto kind = static_cast<websocket_opcode>(number_of(in, "opcode", 0));
        return framed(kind, payload_of(in), is_set(in, "fin"), static_cast<unsigned>(number_of(in, "rsv", 0)));
    }

    byte_vector message_of(const picojson::value& in, std::size_t fragment) const {
        const byte_vector payload = from_hex_text(text_of(in, "payload"));
        byte_vector out;
        websocket_opcode kind = is_set(in, "binary") ? websocket_opcode::binary : websocket_opcode::text;
        byte_view rest = payload;
        do {
            const byte_view part = rest.first(std::min(fragment, rest.size()));
            rest = rest.subspan(part.size());
            const byte_vector one = framed(kind, part, rest.empty());
            out.insert(out.end(), one.begin(), one.end());
            kind = websocket_opcode::continuation;
        } while (!rest.empty());
        return out;
    }

    byte_vector header_of(std::size_t length) const {
        const byte_vector whole = framed(opcode_, byte_vector(length), true);
        return {whole.begin(), whole.end() - static_cast<std::ptrdiff_t>(length)};
    }

    asio::awaitable<void> say_close(const picojson::value& in) {
        byte_vector payload;
        append_be(payload, static_cast<std::uint16_t>(number_of(in, "code", 1000)));
        std::string reason = text_of(in, "reason");
        if (in.contains("reason") && reason.find('*') == std::string::npos && !reason.empty()) {
            const byte_vector bytes = from_hex_text(reason);
            reason.assign(as_text(bytes));
        }
        payload.insert(payload.end(), reason.begin(), reason.end());
        const byte_vector bytes = framed(websocket_opcode::close, payload, true);
        closing_ = true;
        co_await put(bytes, bytes.size());
    }

    asio::awaitable<void> put(byte_view bytes, std::size_t piece) {
        while (!bytes.empty()) {
            const byte_view part = bytes.first(std::min(piece, bytes.size()));
            bytes = bytes.subspan(part.size());
            wire_.put(part);
        }
        co_await settle();
    }

    /// Until ours has read everything and has said what it has to say.
    asio::awaitable<void> settle() {
        for (std::size_t quiet = 0, reads = wire_.reads, writes = wire_.writes; quiet < 10; ++quiet) {
            co_await asio::post(net_.executor(), asio::use_awaitable);
            if (reads != wire_.reads || writes != wire_.writes) quiet = 0;
            reads = wire_.reads;
            writes = wire_.writes;
        }
        listen();
    }

    void listen() {
        unread_.insert(unread_.end(), wire_.written.begin(), wire_.written.end());
        wire_.written.clear();
        byte_span in = unread_;
        while (const auto one = said_.next(in, refusal_)) {
            const std::string payload = to_hex(one->payload);
            if (one->kind == websocket_opcode::close) code_ = one->code;
            if (one->kind == websocket_opcode::pong) note({"pong", payload, false});
            if (one->kind == websocket_opcode::text) note({"message", payload, false});
            if (one->kind == websocket_opcode::binary) note({"message", payload, true});
        }
        unread_.erase(unread_.begin(), unread_.end() - static_cast<std::ptrdiff_t>(in.size()));
    }

    void note(event what) { events_.push_back(std::move(what)); }

    network& net_;
    memory_stream& wire_;
    websocket_role role_;
    websocket_parser said_;
    byte_vector unread_;
    std::vector<event> events_;
    websocket_opcode opcode_ = websocket_opcode::text;
    std::size_t streamed_ = 0;
    std::uint16_t code_ = 0;
    std::uint16_t refusal_ = 0;
    bool closing_ = false;
};

std::vector<tester::event> events_of(const picojson::value& list) {
    std::vector<tester::event> out;
    for (const picojson::value& one : list.get<picojson::array>()) {
        const auto& parts = one.get<picojson::array>();
        const bool is_message = parts[0].get<std::string>() == "message";
        out.push_back({parts[0].get<std::string>(), parts[1].get<std::string>(), is_message && parts[2].get<bool>()});
    }
    return out;
}

asio::awaitable<void> echo(websocket& with) {
    try {
        for (;;) {
            const websocket_message message = co_await with.receive();
            co_await with.send(message);
        }
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
    }
}

asio::awaitable<void> play_session(network& net, const corpus_case& one, websocket_role ours) {
    auto link = std::make_unique<memory_stream>(net.executor());
    memory_stream& wire = *link;
    websocket socket(net, std::move(link), ours);
    const websocket_role theirs = ours == websocket_role::server ? websocket_role::client : websocket_role::server;
    tester other(net, wire, theirs);
    task_group tasks(net.executor());
    tasks.spawn(echo(socket));
    for (const picojson::value& event : one.input().get("send").get<picojson::array>()) co_await other.play(event);
    co_await other.finish();
    co_await tasks.join();
    co_await socket.close();

    CHECK(other.refusal() == 0);
    const picojson::value& expect = one.expect();
    CHECK(wire.closed());
    bool code_fits = false;
    for (const picojson::value& code : expect.get("close").get("closeCode").get<picojson::array>())
        code_fits = code_fits || code.get<std::int64_t>() == other.code();
    CHECK(code_fits);
    // This session may end as the tester likes: it says goodbye before the echo can be with it.
    if (one.id == "autobahn/7.1.6") co_return;
    CHECK(other.events() == events_of(expect.get("OK")));
}

}  // namespace

TEST_CASE("the recorded sessions go as they should, whichever side we are") {
    std::size_t seen = 0;
    for (const corpus_case& one : corpus("websocket")) {
        if (one.input().get("op").to_str() != "session") continue;
        ++seen;
        CAPTURE(one.id);
        for (const websocket_role role : {websocket_role::server, websocket_role::client}) {
            const auto start = [&one, role](network& net) { return play_session(net, one, role); };
            run(start);
        }
    }
    CHECK(seen == 75);
}

}  // namespace websocket_session_test
