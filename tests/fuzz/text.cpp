// Text from strangers: UTF-8, what a terminal gets to see, names, base64, JSON.

#include <cohort/core/base64.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <cohort/protocol/json.hpp>
#include <cohort/protocol/json_registration.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/plain_text.hpp>
#include <cohort/protocol/user_name.hpp>
#include <cohort/protocol/utf8.hpp>
#include <cohort/protocol/utf8_checker.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

/// RFC 3629, section 3.
std::string encoded(char32_t c) {
    const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
    if (c < 0x80) return {static_cast<char>(c)};
    if (c < 0x800) return {static_cast<char>(0xc0 | c >> 6), tail(0)};
    if (c < 0x10000) return {static_cast<char>(0xe0 | c >> 12), tail(6), tail(0)};
    return {static_cast<char>(0xf0 | c >> 18), tail(12), tail(6), tail(0)};
}

void check_utf8(byte_view input) {
    script from(input);
    cuts reads(from.byte());
    const byte_view bytes = from.rest();
    const std::string_view text = as_text(bytes);
    const bool valid = is_utf8(text);
    utf8_checker checker;
    bool good = true;
    for (byte_view left = bytes; good && !left.empty();) good = checker.put(reads.take(left));
    require((good && checker.complete()) == valid, "a text in pieces is judged as the whole is");
    const std::string repaired = to_utf8(text);
    require(is_utf8(repaired) && (repaired == text) == valid, "repair changes what is broken and nothing else");
    std::string again;
    for (std::string_view left = text; !left.empty();) {
        const auto c = take_code_point(left);
        if (c) again += encoded(*c);
        require(!c || (*c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff)), "no code point is a surrogate");
    }
    require(!valid || again == text, "each code point has one form");
}

/// Whether it may go to a terminal: no control characters, nothing that reorders or hides.
bool is_harmless(std::string_view text, bool lines) {
    while (!text.empty()) {
        const auto c = take_code_point(text);
        if (!c) return false;
        if (*c == U'\n' && lines) continue;
        if (detail::is_unsafe(*c) && *c != U'/' && *c != U'\\') return false;
    }
    return true;
}

void check_plain_text(byte_view input) {
    script from(input);
    const std::size_t most = from.byte();
    const std::string_view text = as_text(from.rest());
    const std::string plain = plain_text(text, most);
    require(plain.size() <= most && is_utf8(plain), "plain text is bounded UTF-8");
    for (const char c : plain) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "no control characters");
    require(plain_text(plain, most) == plain, "twice changes nothing more");
    const std::string flat = terminal_text(text);
    require(is_harmless(flat, false), "nothing moves the cursor");
    require(terminal_text(flat) == flat, "twice changes nothing more");
    const std::string lines = terminal_text(text, line_breaks::keep);
    require(is_harmless(lines, true), "nothing but a line break moves the cursor");
    require(terminal_text(lines, line_breaks::keep) == lines, "twice changes nothing more");
    require(flat.size() <= text.size() * 3, "nothing grows but by U+FFFD");
}

void check_names(byte_view input) {
    const std::string_view name = as_text(input);
    if (is_user_name(name)) {
        require(!name.empty() && name.size() <= user_name_max && is_harmless(name, false), "a name may be shown");
        require(name.find_first_of(":/") == name.npos, "a name ends where people think");
        const std::string folded = folded_user_name(name);
        require(is_user_name(folded) && folded_user_name(folded) == folded, "so may its folded form");
        require(percent_decode(percent_encode(name)) == name, "a name fits a URL");
    }
    if (is_chat_name(name)) {
        require(name.size() <= 64 && is_harmless(name, false) && name.find(':') == name.npos, "a name may be shown");
        require(to_json(name).get<std::string>() == name, "a name fits JSON");
    }
    const std::string host(name);
    if (is_registration_host(host)) {
        require(host.size() <= registration_host_max, "a host fits DNS");
        require(std::all_of(host.begin(), host.end(), [](char c) { return c > 0x20 && c < 0x7f; }), "a host is ASCII");
        std::error_code ec;
        const bool ipv6 = host.find(':') != host.npos;
        require(parse_url("ws://" + (ipv6 ? "[" + host + "]" : host) + "/", ec).has_value(), "a host fits a URL");
    }
}

void check_base64(byte_view input) {
    require(from_base64(to_base64(input)) == byte_vector(input.begin(), input.end()), "what is encoded can be decoded");
    const std::string_view text = as_text(input);
    const auto decoded = from_base64(text);
    if (!decoded) return;
    require(to_base64(*decoded) == text && base64_size(decoded->size()) == text.size(), "one text for each value");
    byte_vector exact(decoded->size());
    require(from_base64(text, exact) && exact == *decoded, "both decoders agree");
    exact.push_back(0);
    require(!from_base64(text, exact), "another length is refused");
}

std::size_t depth_of(const json& value) {
    std::size_t deepest = 0;
    if (value.is<json_array>()) {
        for (const json& one : value.get<json_array>()) deepest = std::max(deepest, depth_of(one));
    } else if (value.is<json_object>()) {
        for (const auto& [key, one] : value.get<json_object>()) deepest = std::max(deepest, depth_of(one));
    } else {
        return 0;
    }
    return deepest + 1;
}

/// A number may change its type on the way ("-0.0" is written as "-0", which is an integer), but not its value.
bool same_value(const json& a, const json& b) {
    if (a.is<json_array>() && b.is<json_array>()) {
        const auto& [x, y] = std::pair(a.get<json_array>(), b.get<json_array>());
        return std::equal(x.begin(), x.end(), y.begin(), y.end(), same_value);
    }
    if (a.is<json_object>() && b.is<json_object>()) {
        const auto& [x, y] = std::pair(a.get<json_object>(), b.get<json_object>());
        return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const auto& one, const auto& other) {
            return one.first == other.first && same_value(one.second, other.second);
        });
    }
    if (a.is<std::int64_t>() != b.is<std::int64_t>() && a.is<double>() && b.is<double>())
        return a.get<double>() == b.get<double>();
    return a.serialize() == b.serialize();
}

void check_json(byte_view input) {
    const std::string_view text = as_text(input);
    std::error_code ec;
    const auto value = parse_json(text, ec);
    require(value.has_value() == !ec, "a value or an error, never both");
    if (value) {
        const std::size_t depth = depth_of(*value);
        require(depth <= 64, "depth is limited");
        // A member that occurs again hides the one before, which may be deeper.
        require(depth == 0 || !parse_json(text, ec, depth - 1), "a lower limit refuses");
        const std::string written = value->serialize();
        const auto again = parse_json(written, ec);
        require(again && same_value(*value, *again), "what is written reads the same");
    }
    const std::string line = json_line().add(text, text).add("n", input.size()).take();
    require(line.find('\n') == line.npos, "a line is one");
    const auto read = parse_json(line, ec);
    const std::string repaired = to_utf8(text);
    require(read && (repaired == "n" || json_text(json_member(*read, repaired)) == repaired),
            "any text survives as a member");
}

/// What the chat's tracker is sent and tells others.
void check_json_registration(byte_view input) {
    std::error_code ec;
    const auto value = parse_json(as_text(input), ec, 8);
    if (!value) return;
    std::string wrong;
    const auto got = read_registration(*value, wrong);
    require(got.has_value() == wrong.empty(), "a registration or a reason, never both");
    if (!got) return;
    require(is_user_name(got->username) && got->port != 0, "a name and a port");
    require(got->host.empty() || is_registration_host(got->host), "a host that can be dialled");
    require(!got->proof || got->proof->signed_at >= 0, "a time since 1970");
    json_line line;
    add_registration(line, *got);
    const auto again = parse_json(line.take(), ec);
    require(again && read_registration(*again, wrong) == got, "what is written reads the same");
    if (got->proof) verify_registration(*got);
}

constexpr target table[] = {
    {"utf8", check_utf8, 256},   {"plain_text", check_plain_text, 1024},
    {"names", check_names, 300}, {"base64", check_base64, 512},
    {"json", check_json, 2048},  {"json_registration", check_json_registration, 2048},
};

}  // namespace

std::span<const target> text_targets() { return table; }

}  // namespace cohort::fuzz
