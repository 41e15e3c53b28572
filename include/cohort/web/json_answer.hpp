// What the routes that speak JSON have in common: how they answer, refuse, and say how they are.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <cohort/core/time.hpp>
#include <cohort/net/http_message.hpp>
#include <cohort/protocol/client.hpp>
#include <cohort/protocol/json.hpp>

namespace cohort {

inline http_response json_answer(int status, json_line& line) {
    return make_http_response(status, "application/json", line.take() + "\n");
}

/// A refusal; `message` is "KEY: why".
inline http_response json_error(int status, std::string_view message) {
    json_line line;
    return json_answer(status, line.add("status", "error").add("message", message));
}
inline http_response json_error(int status, std::string_view key, std::string_view why) {
    return json_error(status, std::string(key) + ": " + std::string(why));
}

/// What decides who answers: a HEAD is a GET whose body the server leaves out.
inline std::string_view route_method(const http_request& request) {
    return request.method == "HEAD" ? std::string_view("GET") : request.method;
}

/// Refuses a method that is none of `allowed`, as in "POST, OPTIONS".
inline http_response method_refused(std::string_view allowed) {
    http_response out = json_error(405, "method", std::string(allowed) + " are allowed");
    out.headers.add("Allow", allowed);
    return out;
}

/// The answer to GET /health, for the service to add its figures to.
inline json_line health_line(std::string_view service, duration uptime) {
    json_line out;
    out.add("status", "healthy")
        .add("service", service)
        .add("version", client_version)
        .add("uptime_s", std::chrono::floor<std::chrono::seconds>(uptime).count());
    return out;
}

}  // namespace cohort
