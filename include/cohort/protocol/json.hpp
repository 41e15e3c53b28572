// JSON through picojson, with integers of 64 bits that never pass through a double. The only header that names
// picojson.
#pragma once

#if defined(picojson_h) && !defined(PICOJSON_USE_INT64)
#error "include <cohort/protocol/json.hpp> before <picojson.h>, or define PICOJSON_USE_INT64 for the whole program"
#endif
#ifndef PICOJSON_USE_INT64
#define PICOJSON_USE_INT64
#endif
#include <picojson.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <cohort/core/error.hpp>
#include <cohort/protocol/utf8.hpp>

namespace cohort {

using json = picojson::value;
using json_array = picojson::array;
using json_object = picojson::object;

// to_json() makes a value of whatever has an obvious JSON form.

inline json to_json(json value) { return value; }
inline json to_json(json_array value) { return json(std::move(value)); }
inline json to_json(json_object value) { return json(std::move(value)); }
inline json to_json(std::same_as<bool> auto value) { return json(value); }
/// Above 2^63 - 1, that: no size or count reaches it.
template <std::integral T>
    requires(!std::same_as<T, bool>)
json to_json(T value) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    return json(std::cmp_greater(value, most) ? most : static_cast<std::int64_t>(value));
}
/// null if it is not finite: JSON has no infinity.
inline json to_json(std::floating_point auto value) {
    const double number = static_cast<double>(value);
    return number - number == 0.0 ? json(number) : json();
}
/// Bytes that are not UTF-8 are replaced, so that the output is always JSON.
inline json to_json(std::string_view text) { return json(to_utf8(text)); }
inline json to_json(const std::string& text) { return to_json(std::string_view(text)); }
inline json to_json(const char* text) { return to_json(std::string_view(text)); }
template <class T>
json to_json(const std::optional<T>& value) {
    return value ? to_json(*value) : json();
}

/// A JSON object in one line whose members keep the order in which they are added:
/// `json_line().add("event", "progress").add("bytes", 17).take()` is `{"event":"progress","bytes":17}`.
class json_line {
public:
    template <class T>
    json_line& add(std::string_view key, const T& value) {
        text_ += text_.empty() ? '{' : ',';
        text_ += to_json(key).serialize();
        text_ += ':';
        text_ += to_json(value).serialize();
        return *this;
    }

    /// The text, without an end of line; the object is empty afterwards.
    std::string take() {
        if (text_.empty()) text_ += '{';
        text_ += '}';
        return std::exchange(text_, {});
    }

private:
    std::string text_;
};

namespace detail {

/// Whether arrays and objects lie at most `most` deep in one another: picojson recurses, so this is asked first.
inline bool json_depth_within(std::string_view text, std::size_t most) {
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > most) return false;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return true;
}

}  // namespace detail

/// Reads one JSON value that fills `text` but for white space. Fails with errc::json_invalid, also where arrays and
/// objects lie deeper in one another than `depth`.
inline std::optional<json> parse_json(std::string_view text, std::error_code& ec, std::size_t depth = 64) {
    ec.clear();
    if (detail::json_depth_within(text, depth)) {
        try {
            json out;
            std::string failure;
            const char* const end = text.data() + text.size();
            const char* const rest = picojson::parse(out, text.data(), end, &failure);
            const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
            if (failure.empty() && std::all_of(rest, end, is_space)) return out;
        } catch (const std::exception&) {
            // A number above what a double holds.
        }
    }
    ec = errc::json_invalid;
    return std::nullopt;
}

/// The member of an object, or nullptr if `value` is no object or lacks it.
inline const json* json_member(const json& value, const std::string& key) {
    if (!value.is<json_object>()) return nullptr;
    const auto& members = value.get<json_object>();
    const auto at = members.find(key);
    return at == members.end() ? nullptr : &at->second;
}

/// The same, but null is as good as nothing.
inline const json* json_given(const json& value, const std::string& key) {
    const json* const found = json_member(value, key);
    return found == nullptr || found->is<picojson::null>() ? nullptr : found;
}

/// A number written without fraction or exponent that fits 64 bits; nothing for anything else, nullptr included.
inline std::optional<std::int64_t> json_integer(const json* value) {
    if (value == nullptr || !value->is<std::int64_t>()) return std::nullopt;
    return value->get<std::int64_t>();
}

/// The text of a string, which lives as long as the value; nothing for anything else, nullptr included.
inline std::optional<std::string_view> json_text(const json* value) {
    if (value == nullptr || !value->is<std::string>()) return std::nullopt;
    return value->get<std::string>();
}

}  // namespace cohort
