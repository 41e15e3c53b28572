// One direction of a WebSocket (RFC 6455, 5.2) for a trace: the frames' headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/core/endian.hpp>
#include <cohort/protocol/trace_talk.hpp>
#include <cohort/protocol/websocket.hpp>

namespace cohort::detail {

/// A chat's link is Noise XX within: its three handshake messages are named, and what follows is encrypted.
class websocket_trace final : public trace_side {
public:
    websocket_trace(trace_talk& talk, trace_direction dir, bool of_client)
        : trace_side(talk, dir), is_chat_(talk.is_chat), of_client_(of_client) {}

    trace_wish first() override { return trace_wish::bytes(2); }

    trace_wish take(byte_view unit) override {
        const std::uint8_t short_length = unit[1] & 0x7f;
        const std::size_t wide = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
        const std::size_t head = 2 + wide + ((unit[1] & 0x80) != 0 ? 4 : 0);
        if (unit.size() < head) return trace_wish::up_to(head);
        length_ = short_length;
        if (wide == 2) length_ = load_be<std::uint16_t>(&unit[2]);
        if (wide == 8) length_ = load_be<std::uint64_t>(&unit[2]);
        opcode_ = static_cast<websocket_opcode>(unit[0] & 0x0f);
        last_ = (unit[0] & 0x80) != 0;
        if (name_of(opcode_).empty() || length_ >> 63 != 0) return opaque();
        return trace_wish::body(length_);
    }

    trace_wish passed() override {
        if (is_chat_ && opcode_ == websocket_opcode::binary) {
            const std::string_view tokens = noise_tokens();
            std::vector<trace_field> fields{{"length", length_}};
            if (!tokens.empty()) fields.insert(fields.begin(), {"tokens", std::string(tokens)});
            tell(tokens.empty() ? "encrypted" : "noise_handshake", std::move(fields));
            if (last_) ++messages_;
        } else {
            tell("websocket_frame", {{"opcode", std::string(name_of(opcode_))}, {"fin", last_}, {"length", length_}});
        }
        return trace_wish::bytes(2);
    }

private:
    static std::string_view name_of(websocket_opcode opcode) {
        switch (opcode) {
        case websocket_opcode::continuation: return "continuation";
        case websocket_opcode::text: return "text";
        case websocket_opcode::binary: return "binary";
        case websocket_opcode::close: return "close";
        case websocket_opcode::ping: return "ping";
        case websocket_opcode::pong: return "pong";
        }
        return {};
    }

    /// Of the message under way, in the pattern XX (The Noise Protocol Framework, 7.5); empty after the handshake.
    std::string_view noise_tokens() const {
        if (of_client_) return messages_ == 0 ? "e" : messages_ == 1 ? "s, se" : "";
        return messages_ == 0 ? "e, ee, s, es" : "";
    }

    bool is_chat_;
    bool of_client_;
    websocket_opcode opcode_{};
    bool last_ = false;
    std::uint64_t length_ = 0;
    std::uint64_t messages_ = 0;
};

}  // namespace cohort::detail
