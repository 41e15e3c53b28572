// Who may use a door that is meant for this machine. A page from anywhere can send requests to it through its visitor's
// browser, directly or under a name that it made resolve to here (DNS rebinding); both show in the request's header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <cohort/net/http_message.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/query.hpp>
#include <cohort/web/cors.hpp>

namespace cohort {

/// Programs name no origin, and need to know no more than the port; pages are those of this machine.
struct local_guard {
    std::uint16_t port = 0;  ///< at which we listen on the loopback
    std::string token{};     ///< if not empty, each request needs `Authorization: Bearer TOKEN` or `?token=TOKEN`

    /// 0 if the request may be answered, else what to answer: 421 if it was meant for another host, 403 if the page of
    /// another site sent it, 401 without the token.
    int refusal(const http_request& request) const {
        if (!is_for_us(request.headers.find_all("Host").value_or(""))) return 421;  // RFC 9110, 15.5.20
        const auto origin = request.headers.find_all("Origin");
        if (origin && !cors_policy{}.allows(request)) return 403;
        // What a page merely embeds comes without an origin; the browser says so in another way (Fetch Metadata).
        const auto site = request.headers.find("Sec-Fetch-Site");
        if (site && !origin && equal_ignoring_case(*site, "cross-site")) return 403;
        const bool preflight = request.method == "OPTIONS";
        return token.empty() || preflight || has_token(request) ? 0 : 401;
    }

private:
    bool is_for_us(std::string_view host) const {
        const std::string ours = ":" + std::to_string(port);
        if (host.ends_with(ours))
            host.remove_suffix(ours.size());
        else if (port != 80)
            return false;
        return equal_ignoring_case(host, "localhost") || host == "127.0.0.1" || host == "[::1]";
    }

    bool has_token(const http_request& request) const {
        constexpr std::string_view scheme = "Bearer ";
        const std::string_view given = request.headers.find("Authorization").value_or("");
        if (equal_ignoring_case(given.substr(0, scheme.size()), scheme)) return is_token(given.substr(scheme.size()));
        // Browsers let a page set no header for a WebSocket.
        std::string_view query = request.query();
        while (const auto parameter = take_parameter(query)) {
            if (parameter->name != "token") continue;
            const auto shown = percent_decode(parameter->value);
            if (shown && is_token(*shown)) return true;
        }
        return false;
    }

    /// Takes as long for a token that is nearly right as for any other.
    bool is_token(std::string_view given) const {
        if (given.size() != token.size()) return false;
        unsigned different = 0;
        for (std::size_t i = 0; i < given.size(); ++i)
            different |=
                static_cast<unsigned char>(given[i]) ^ static_cast<unsigned>(static_cast<unsigned char>(token[i]));
        return different == 0;
    }
};

}  // namespace cohort
