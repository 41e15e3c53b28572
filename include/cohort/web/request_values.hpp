// What a request brings, by name: the members of its JSON body, or the parameters of its query.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <cohort/core/number.hpp>
#include <cohort/net/http_message.hpp>
#include <cohort/protocol/json.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/query.hpp>

namespace cohort {

/// The first value that is missing or wrong is remembered, with words for whoever sent it: "KEY: what is needed".
/// Names that nobody asks for are ignored, and null is as good as nothing.
class request_values {
public:
    /// From the query of GET and HEAD, from the body of others.
    explicit request_values(const http_request& request)
        : in_query_(request.method == "GET" || request.method == "HEAD") {
        if (in_query_)
            read_query(request.query());
        else
            read_body(request.body);
    }
    /// Of a value that was read already.
    explicit request_values(json body) : values_(std::move(body)) {}

    bool ok() const { return wrong_.empty(); }
    const std::string& wrong() const { return wrong_; }
    void fail(std::string_view key, std::string_view needed) {
        if (ok()) wrong_.append(key).append(": ").append(needed);
    }

    std::string text(const char* key) {
        const auto found = json_text(json_given(values_, key));
        if (!found) fail(key, "a text is needed");
        return std::string(found.value_or(""));
    }
    /// A text that is not empty.
    std::string word(const char* key) {
        std::string out = text(key);
        if (out.empty()) fail(key, "a text that is not empty is needed");
        return out;
    }
    std::optional<std::string> maybe_text(const char* key) {
        if (json_given(values_, key) == nullptr) return std::nullopt;
        return text(key);
    }
    std::int64_t number(const char* key, std::int64_t least, std::int64_t most,
                        std::optional<std::int64_t> otherwise = std::nullopt) {
        const json* const given = json_given(values_, key);
        if (given == nullptr && otherwise) return *otherwise;
        auto found = json_integer(given);
        std::int64_t number = 0;
        if (in_query_ && given != nullptr && parse_number(json_text(given).value_or(""), number)) found = number;
        if (found && *found >= least && *found <= most) return *found;
        const bool open = most == std::numeric_limits<std::int64_t>::max();
        fail(key,
             "an integer from " + std::to_string(least) + (open ? "" : " to " + std::to_string(most)) + " is needed");
        return least;
    }
    bool truth(const char* key, bool otherwise) {
        const json* const given = json_given(values_, key);
        if (given == nullptr) return otherwise;
        if (!given->is<bool>()) fail(key, "true or false is needed");
        return given->is<bool>() && given->get<bool>();
    }

private:
    void read_body(std::string_view body) {
        constexpr std::size_t depth = 8;
        std::error_code ec;
        auto read = parse_json(body, ec, depth);
        if (!read || !read->is<json_object>()) return fail("body", "a JSON object is needed");
        values_ = std::move(*read);
    }
    void read_query(std::string_view query) {
        json_object values;
        while (const auto one = take_parameter(query)) {
            const auto value = percent_decode(one->value);
            if (!value) fail(to_utf8(one->name), "a '%' needs two hexadecimal digits");
            values[std::string(one->name)] = to_json(value.value_or(""));
        }
        values_ = json(std::move(values));
    }

    json values_;
    std::string wrong_;
    bool in_query_ = false;
};

}  // namespace cohort
