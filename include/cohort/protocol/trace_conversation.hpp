// A stream's conversation for a trace: it finds out from the first bytes what is spoken, and tells what is said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <cohort/protocol/handshake.hpp>
#include <cohort/protocol/trace_http.hpp>
#include <cohort/protocol/trace_talk.hpp>
#include <cohort/protocol/trace_wire.hpp>

namespace cohort {

namespace detail {

/// Looks at the first bytes of one direction and hands on to whoever understands them.
class beginning_trace final : public trace_side {
public:
    using trace_side::trace_side;

    trace_wish first() override { return trace_wish::bytes(1); }

    trace_wish take(byte_view unit) override {
        const std::string_view text = as_text(unit);
        begun_ = true;
        if (handshake_prefix.starts_with(text)) {
            if (text.size() < handshake_prefix.size()) return trace_wish::up_to(text.size() + 1);
            scanner(dir()).become(std::make_unique<wire_trace>(talk(), dir()));
            return trace_wish::up_to(handshake_size);
        }
        // A TLS record that holds a handshake: its type and the version 3.x (RFC 8446, 5.1).
        constexpr std::string_view tls = "\x16\x03";
        if (tls.starts_with(text)) {
            if (text.size() < tls.size()) return trace_wish::up_to(tls.size());
            decided_ = true;
            tell("tls");
            return trace_wish::nothing();
        }
        return http(unit, text);
    }

    void ended() override {
        if (begun_ && !decided_) opaque();
    }
    trace_wish lost() override {
        decided_ = true;
        return opaque();
    }

private:
    /// A method and a space, or "HTTP/".
    trace_wish http(byte_view unit, std::string_view text) {
        constexpr std::size_t longest_method = 7;
        constexpr std::string_view version = "HTTP/";
        const char last = text.back();
        const bool answer = text == version;
        if (answer || (last == ' ' && text.size() > 1)) {
            scanner(dir()).become(std::make_unique<http_trace>(talk(), dir(), !answer));
            return trace_wish::rest_of_line();
        }
        if (last >= 'A' && last <= 'Z' && text.size() <= longest_method) return trace_wish::up_to(unit.size() + 1);
        return lost();
    }

    bool begun_ = false;
    bool decided_ = false;
};

}  // namespace detail

/// Both directions of one stream. Never throws for what comes: what it does not understand is "opaque", once a
/// direction, and so is what follows. Memory is bounded by two times trace_scanner::held_max and the names of
/// extensions; it costs next to nothing for data that goes by.
class conversation_trace {
public:
    /// `tell` hears of every message, and throws nothing.
    explicit conversation_trace(std::function<void(trace_direction, const trace_event&)> tell)
        : talk_{.tell = std::move(tell)},
          out_(std::make_unique<detail::beginning_trace>(talk_, trace_direction::out)),
          in_(std::make_unique<detail::beginning_trace>(talk_, trace_direction::in)) {
        talk_.sides = {&out_, &in_};
    }
    conversation_trace(const conversation_trace&) = delete;
    conversation_trace& operator=(const conversation_trace&) = delete;

    void feed(trace_direction dir, byte_view bytes) { side(dir).feed(bytes); }
    /// `size` bytes go by that are not at hand, such as a file's.
    void skip(trace_direction dir, std::uint64_t size) { side(dir).skip(size); }
    /// No more will come in that direction.
    void end(trace_direction dir) { side(dir).end(); }
    /// Bytes that went by.
    std::uint64_t total(trace_direction dir) const { return dir == trace_direction::out ? out_.total() : in_.total(); }

private:
    trace_scanner& side(trace_direction dir) { return dir == trace_direction::out ? out_ : in_; }

    detail::trace_talk talk_;
    trace_scanner out_;
    trace_scanner in_;
};

}  // namespace cohort
