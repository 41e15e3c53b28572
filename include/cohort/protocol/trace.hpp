// What was said on the net, one JSON object a line: to be read, searched, and drawn as a sequence diagram.
//
//   {"time":12.345678,"host":"leecher","peer":"127.0.0.1:6881","link":3,"dir":"out","message":"request",
//    "index":1,"begin":0,"length":16384}
//
// (in one line). "time" is seconds since the trace began, "host" whose trace it is, "peer" the other side, "link" the
// number of the stream or UDP socket in order of opening, "dir" "out" for what the host did. Then come the members that
// belong to the message. Readers ignore messages and members that they do not know: more may come.
//
//   trace                the first line: "clock", what the host's clock showed, in seconds; no link
//   connect, accept      a stream is open: "local"          connect_failed   "reason"
//   end                  "dir" will send nothing more
//   close                of a stream: bytes "sent", "received", and the "reason" unless the host just closed it; no dir
//   bind                 a UDP socket is open: "local"; no dir
//
//   handshake            info_hash, peer_id (percent-encoded), fast, extension_protocol, dht
//   keep_alive choke unchoke interested not_interested have_all have_none
//   have suggest allowed_fast   index                       request cancel reject piece   index, begin, length
//   bitfield             length (bytes), count (bits set)   port   value
//   extension_handshake  m, and of v, p, reqq, metadata_size, upload_only what is there
//   extended             id, name (as the receiver had called it, if that was seen), length
//   unknown              id, length
//
//   http_request         method, target (info_hash in hexadecimal), length, upgrade
//   http_response        status, length, upgrade; of a tracker's answer also failure, or interval, complete,
//                        incomplete and peers (their count), or of a scrape files (their count)
//   websocket_frame      opcode, fin, length
//   noise_handshake      tokens, length; then encrypted: length          (a chat's link)
//   tls, opaque          once a direction, for bytes that say nothing more
//
//   connect_request, connect_answer, announce_request and so on, error_answer     (BEP 15)
//   datagram             length, of any other datagram
//
// A message that comes in is noted when its last byte has come, one that goes out when it is handed to the carrier.
// Data of pieces, bodies and payloads is never kept; targets are, with the passkeys that some trackers have in them.
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/bytes.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort {

/// The numbers of extensions by their names.
using trace_ids = std::map<std::string, std::uint8_t>;

struct trace_field {
    std::string_view name;  ///< of static storage
    std::variant<bool, std::uint64_t, std::string, trace_ids> value;

    bool operator==(const trace_field&) const = default;
};

/// One message.
struct trace_event {
    std::string_view message;  ///< of static storage
    std::vector<trace_field> fields{};

    bool operator==(const trace_event&) const = default;
};

/// Of the host whose trace it is.
enum class trace_direction : std::uint8_t { out, in };

inline std::string_view name_of(trace_direction dir) { return dir == trace_direction::out ? "out" : "in"; }

/// Takes a line, without an end of line, valid until it returns. Throws nothing.
using trace_sink = std::function<void(std::string_view line)>;

/// Writes one line into memory that is used again for the next. (json_line writes no fixed point, and is slow where
/// tens of thousands of lines a second come.)
class trace_writer {
public:
    void begin(std::int64_t microseconds, std::string_view host) {
        text_.clear();
        text_ += '{';
        add_seconds("time", microseconds);
        add("host", host);
    }

    template <class T>
        requires(std::is_unsigned_v<T> && !std::is_same_v<T, bool>)
    void add(std::string_view name, T value) {
        add_name(name);
        add_number(value);
    }
    void add(std::string_view name, std::string_view value) {
        add_name(name);
        add_text(value);
    }
    void add(std::string_view name, const char*) = delete;
    template <class T>
        requires std::is_same_v<T, bool>
    void add(std::string_view name, T value) {
        add_name(name);
        text_ += value ? "true" : "false";
    }
    void add(std::string_view name, const trace_ids& ids) {
        add_name(name);
        text_ += '{';
        for (const auto& [key, id] : ids) {
            if (text_.back() != '{') text_ += ',';
            add_text(key);
            text_ += ':';
            add_number(std::uint64_t{id});
        }
        text_ += '}';
    }
    /// With six decimals, as all of a trace's times are.
    void add_seconds(std::string_view name, std::int64_t microseconds) {
        add_name(name);
        if (microseconds < 0) text_ += '-';
        const auto size = static_cast<std::uint64_t>(microseconds < 0 ? -microseconds : microseconds);
        add_number(size / 1'000'000);
        const std::string fraction = std::to_string(1'000'000 + size % 1'000'000);
        text_ += '.';
        text_ += std::string_view(fraction).substr(1);
    }
    void add(const trace_event& event) {
        add("message", event.message);
        for (const trace_field& field : event.fields)
            std::visit([&](const auto& value) { add_value(field.name, value); }, field.value);
    }

    /// The line so far as a whole object, valid until the next begin().
    std::string_view finish() {
        text_ += '}';
        return text_;
    }

private:
    template <class T>
    void add_value(std::string_view name, const T& value) {
        if constexpr (std::is_same_v<T, std::string>) {
            add(name, std::string_view(value));
        } else {
            add(name, value);
        }
    }
    void add_name(std::string_view name) {
        if (text_.size() > 1) text_ += ',';
        add_text(name);
        text_ += ':';
    }
    void add_number(std::uint64_t value) {
        char digits[20];
        const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        text_.append(digits, end);
    }
    /// What is not UTF-8 is replaced, and what a terminal would obey is escaped (RFC 8259, 7).
    void add_text(std::string_view value) {
        text_ += '"';
        while (!value.empty()) {
            const std::string_view before = value;
            const auto code = take_code_point(value);
            if (!code) {
                text_ += "\xef\xbf\xbd";
            } else if (*code == U'"' || *code == U'\\') {
                text_ += '\\';
                text_ += before[0];
            } else if (*code < 0x20 || (*code >= 0x7f && *code < 0xa0)) {
                const std::uint8_t byte[] = {static_cast<std::uint8_t>(*code)};
                text_ += "\\u00" + to_hex(byte);
            } else {
                text_ += before.substr(0, before.size() - value.size());
            }
        }
        text_ += '"';
    }

    std::string text_;
};

}  // namespace cohort
