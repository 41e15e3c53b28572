// What a trace makes of bytes that go by.

#include <string>
#include <utility>

#include <cohort/protocol/trace.hpp>
#include <cohort/protocol/trace_conversation.hpp>
#include <cohort/protocol/trace_datagram.hpp>
#include <cohort/protocol/utf8.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

std::string line_of(trace_direction dir, const trace_event& event) {
    trace_writer writer;
    writer.begin(1, "host");
    writer.add("dir", name_of(dir));
    writer.add(event);
    const std::string out(writer.finish());
    require(is_utf8(out), "lines are UTF-8");
    require(out.find('\n') == std::string::npos, "a line is one line");
    return out;
}

/// Both directions in turns, as the input has them; `reads` cut each turn.
std::string read_conversation(byte_view input, cuts reads) {
    std::string out;
    conversation_trace talk([&](trace_direction dir, const trace_event& event) { out += line_of(dir, event) + "\n"; });
    script from(input);
    while (!from.done()) {
        const std::uint8_t how = from.byte();
        const trace_direction dir = how % 2 == 0 ? trace_direction::out : trace_direction::in;
        for (byte_view turn = how % 4 < 2 ? from.some() : from.rest(); !turn.empty();) talk.feed(dir, reads.take(turn));
    }
    talk.end(trace_direction::out);
    talk.end(trace_direction::in);
    return out;
}

void check_trace_stream(std::span<const std::uint8_t> input) {
    if (input.empty()) return;
    const std::string at_once = read_conversation(input.subspan(1), cuts::none());
    require(at_once == read_conversation(input.subspan(1), cuts(input[0])), "however it is cut");
}

void check_trace_datagram(std::span<const std::uint8_t> input) {
    for (const bool ipv6 : {false, true}) line_of(trace_direction::in, trace_datagram(input, ipv6));
}

constexpr target table[] = {
    {"trace_stream", check_trace_stream, 2048},
    {"trace_datagram", check_trace_datagram, 512},
};

}  // namespace

std::span<const target> trace_targets() { return table; }

}  // namespace cohort::fuzz
