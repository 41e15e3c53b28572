// Which web pages may talk to us through their visitors' browsers (Fetch standard, CORS).
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <cohort/net/http_message.hpp>
#include <cohort/protocol/url.hpp>

namespace cohort {

/// By default pages of our own origin and of this machine; programs that are no browser send no Origin and are not
/// concerned.
struct cors_policy {
    std::vector<std::string> origins{};  ///< further ones, as "https://example.org"; "*" for all

    /// Whether the page that sent the request may; true if no page did.
    bool allows(const http_request& request) const {
        const auto origin = request.headers.find("Origin");
        if (!origin) return true;
        const auto same = [&](const std::string& one) { return one == "*" || equal_ignoring_case(one, *origin); };
        if (std::any_of(origins.begin(), origins.end(), same)) return true;
        std::error_code ec;
        const auto from = parse_url(*origin, ec);
        if (!from || (from->scheme != "http" && from->scheme != "https") || from->target != "/") return false;
        const std::string_view authority = origin->substr(from->scheme.size() + 3);
        const auto host = request.headers.find("Host");
        if (host && equal_ignoring_case(*host, authority)) return true;
        if (const auto address = ip_address::parse(from->host)) return address->is_loopback();
        return from->host == "localhost" || from->host.ends_with(".localhost");
    }

    /// Adds what lets the page read the answer, if it may.
    void open(http_response& response, const http_request& request) const {
        const auto origin = request.headers.find("Origin");
        response.headers.add("Vary", "Origin");
        if (origin && allows(request)) response.headers.add("Access-Control-Allow-Origin", *origin);
    }

    /// The answer to OPTIONS, to be opened as any other: what a page may send. `methods` as in "GET, POST".
    http_response preflight(const http_request& request, std::string_view methods) const {
        http_response out;
        out.status = 204;
        out.headers.add("Allow", methods);
        if (!allows(request)) return out;
        out.headers.add("Access-Control-Allow-Methods", methods);
        out.headers.add("Access-Control-Allow-Headers", "Content-Type, Authorization");
        out.headers.add("Access-Control-Max-Age", "600");
        return out;
    }
};

}  // namespace cohort
