// What the decoders of a stream's two directions know of each other.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/protocol/trace.hpp>
#include <cohort/protocol/trace_scanner.hpp>

namespace cohort::detail {

struct trace_talk {
    std::function<void(trace_direction, const trace_event&)> tell;
    std::array<trace_scanner*, 2> sides{};
    std::array<trace_ids, 2> extensions{};  ///< by the direction that announced them (BEP 10)
    bool head_request = false;              ///< the last HTTP request wants no body
    bool wants_websocket = false;           ///< and it asks for an upgrade
    bool is_chat = false;                   ///< to the path where chats link
};

/// The common part of the decoders: where they are, and how they tell.
class trace_side : public trace_decoder {
public:
    trace_side(trace_talk& talk, trace_direction dir) : talk_(talk), dir_(dir) {}

    trace_wish lost() override { return opaque(); }

protected:
    trace_talk& talk() const { return talk_; }
    trace_direction dir() const { return dir_; }
    trace_direction other() const { return dir_ == trace_direction::out ? trace_direction::in : trace_direction::out; }
    trace_scanner& scanner(trace_direction of) const { return *talk_.sides[static_cast<std::size_t>(of)]; }
    trace_ids& extensions(trace_direction of) const { return talk_.extensions[static_cast<std::size_t>(of)]; }

    void tell(std::string_view message, std::vector<trace_field> fields = {}) const {
        const trace_event event{message, std::move(fields)};
        talk_.tell(dir_, event);
    }
    trace_wish opaque() const {
        tell("opaque");
        return trace_wish::nothing();
    }

private:
    trace_talk& talk_;
    trace_direction dir_;
};

}  // namespace cohort::detail
