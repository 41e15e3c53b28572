// The query of a URL: what stands behind '?', as `name=value` with '&' between.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

/// A URL's target with more parameters: after '?', or after '&' where there is a query already (private trackers keep
/// their passkey there).
inline std::string append_query(std::string_view target, std::string_view query) {
    std::string out(target);
    if (out.find('?') == std::string::npos)
        out += '?';
    else if (!out.ends_with('?') && !out.ends_with('&'))
        out += '&';
    out += query;
    return out;
}

struct query_parameter {
    std::string_view name{};
    std::string_view value{};
};

/// Takes the next `name=value` off the front of a query, neither decoded; nothing at the end. Empty ones are skipped.
inline std::optional<query_parameter> take_parameter(std::string_view& query) {
    while (!query.empty()) {
        const std::string_view one = query.substr(0, query.find('&'));
        query.remove_prefix(one.size() + (one.size() < query.size() ? 1 : 0));
        if (one.empty()) continue;
        const std::size_t equals = one.find('=');
        if (equals == std::string_view::npos) return query_parameter{one, {}};
        return query_parameter{one.substr(0, equals), one.substr(equals + 1)};
    }
    return std::nullopt;
}

}  // namespace cohort
