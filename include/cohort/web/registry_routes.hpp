// The REST routes by which users and peers make themselves known: register, heartbeat, peers, unregister, health.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <cohort/core/log.hpp>
#include <cohort/core/number.hpp>
#include <cohort/net/http_message.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/policy/name_registry.hpp>
#include <cohort/protocol/iso_time.hpp>
#include <cohort/protocol/json_registration.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/query.hpp>
#include <cohort/web/cors.hpp>
#include <cohort/web/json_answer.hpp>

namespace cohort {

struct registry_routes_options {
    name_registry_options names{};
    duration sweep_interval = 30s;
    cors_policy cors{};
    std::string service = "tracker";              ///< what /health calls us
    std::function<unix_ms()> calendar = nullptr;  ///< the time of day; none: the network's
    log_sink log{};
};

/// The bytes of a body that these routes take at most; larger ones are the server's to refuse.
inline constexpr std::size_t registry_body_max = 64 * 1024;

/// - POST /register {username,host,port[,key,signed_at,signature]}: {id,username,host,port,is_active,...}
/// - POST /register {peer_id,address[,timestamp]}: {"status":"registered"}
/// - POST /heartbeat {username}: {message,username}
/// - GET /peers[?limit][&offset], GET /peers?username: {"peers":[...]}, the active ones, 1000 or `limit`, at most 5000
/// - DELETE /unregister/NAME[?key&signed_at&signature]: {message}
/// - GET /health: {status,service,version,uptime_s,total_peers,active_peers,timestamp}
///
/// A refusal is {"status":"error","message":"KEY: why"}: 400 for what cannot be understood, 403 for a signature that
/// does not fit and pages of foreign origin, 404 for an unknown name, 409 for a name that belongs to another key or a
/// registration older than the last (then with the last one's signed_at), 429 for too many names from one address,
/// 503 when there is no room.
class registry_routes {
public:
    registry_routes(network& net, registry_routes_options options)
        : net_(net),
          options_(std::move(options)),
          names_(options_.names),
          started_(net.now()),
          populated_(net.executor()) {
        if (!options_.calendar) options_.calendar = [&net] { return net.calendar(); };
    }

    /// Whether requests for this path, whatever their method, are answered here.
    static bool owns(std::string_view path) { return !methods_of(path).empty(); }

    /// Answers a request for one of our paths.
    http_response answer(const http_request& request);

    /// Sweeps at each interval until cancelled, and then throws asio::error::operation_aborted.
    asio::awaitable<void> run();

    /// Marks the silent as inactive.
    void sweep() {
        const std::size_t silent = names_.sweep(net_.now());
        if (silent > 0) options_.log(log_level::debug, std::to_string(silent) + " users fell silent");
    }

    const name_registry& names() const { return names_; }

private:
    static constexpr std::size_t peers_default = 1000;
    static constexpr std::size_t peers_max = 5000;
    static constexpr std::size_t body_depth = 8;
    static constexpr std::string_view unregister = "/unregister/";

    static std::string_view methods_of(std::string_view path) {
        if (path == "/register" || path == "/heartbeat") return "POST, OPTIONS";
        if (path == "/peers" || path == "/health") return "GET, HEAD, OPTIONS";
        return path.starts_with(unregister) ? "DELETE, OPTIONS" : "";
    }

    clock_reading clocks() const { return {net_.now(), options_.calendar()}; }

    http_response route(const http_request& request);
    http_response answer_register(const json& body, const ip_address& from);
    http_response answer_register_peer(const named_user& peer, const ip_address& from);
    http_response answer_heartbeat(const json& body);
    http_response answer_unregister(const http_request& request);
    http_response answer_peers(std::string_view query) const;
    http_response answer_health() const;
    http_response refuse(const name_registry::result& result, const std::string& who) const;
    static std::optional<named_user> read_peer(const json& body, std::string& wrong);
    static std::string describe(const named_user& user);

    network& net_;
    registry_routes_options options_;
    name_registry names_;
    time_point started_;
    wakeup populated_;
};

// ---- Machinery

inline asio::awaitable<void> registry_routes::run() {
    for (;;) {
        while (names_.size() == 0) co_await populated_.wait();
        co_await net_.sleep_for(options_.sweep_interval);
        sweep();
    }
}

inline http_response registry_routes::answer(const http_request& request) {
    http_response out =
        request.method == "OPTIONS" ? options_.cors.preflight(request, methods_of(request.path())) : route(request);
    options_.cors.open(out, request);
    return out;
}

inline http_response registry_routes::route(const http_request& request) {
    const std::string_view path = request.path();
    const std::string_view methods = methods_of(path);
    if (methods.substr(0, methods.find(',')) != route_method(request)) return method_refused(methods);
    if (path == "/health") return answer_health();
    if (path == "/peers") return answer_peers(request.query());
    // A page can send these without being allowed to see the answer.
    if (!options_.cors.allows(request)) return json_error(403, "origin: pages from there may not do this");
    if (path.starts_with(unregister)) return answer_unregister(request);

    std::error_code ec;
    const auto body = parse_json(request.body, ec, body_depth);
    if (!body || !body->is<json_object>()) return json_error(400, "body: a JSON object is needed");
    return path == "/register" ? answer_register(*body, request.from.address) : answer_heartbeat(*body);
}

inline http_response registry_routes::answer_register(const json& body, const ip_address& from) {
    std::string wrong;
    named_user extra;
    if (json_given(body, "peer_id") != nullptr) {
        auto peer = read_peer(body, wrong);
        if (!peer) return json_error(400, wrong);
        if (json_given(body, "username") == nullptr) return answer_register_peer(*peer, from);
        extra = std::move(*peer);
    }
    const auto news = read_registration(body, wrong);
    if (!news) return json_error(400, wrong);
    const bool was_empty = names_.size() == 0;
    const auto result = names_.enter(*news, extra, from, clocks());
    if (result.verdict != name_verdict::accepted) return refuse(result, news->username);
    if (was_empty) populated_.notify();
    if (options_.log.enabled(log_level::debug))
        options_.log(log_level::debug, "registered " + news->username + " at " + result.user->self.host);
    return make_http_response(200, "application/json", describe(*result.user) + "\n");
}

inline http_response registry_routes::answer_register_peer(const named_user& peer, const ip_address& from) {
    named_user news = peer;
    if (std::holds_alternative<std::monostate>(news.timestamp)) news.timestamp = iso_time(options_.calendar());
    const bool was_empty = names_.size() == 0;
    const auto result = names_.enter_peer(news, from, clocks());
    if (result.verdict != name_verdict::accepted) return refuse(result, news.peer_id);
    if (was_empty) populated_.notify();
    json_line line;
    return json_answer(200, line.add("status", "registered"));
}

inline http_response registry_routes::answer_heartbeat(const json& body) {
    const auto username = json_text(json_member(body, "username"));
    if (!username) return json_error(400, "username: a text is needed");
    const auto result = names_.heartbeat(*username, clocks());
    if (result.verdict != name_verdict::accepted) return refuse(result, std::string(*username));
    json_line line;
    return json_answer(200, line.add("message", "heartbeat received").add("username", result.user->self.username));
}

inline http_response registry_routes::answer_unregister(const http_request& request) {
    const auto username = percent_decode(request.path().substr(unregister.size()));
    if (!username) return json_error(400, "username: a '%' needs two hexadecimal digits");
    json_object members;
    std::string_view query = request.query();
    while (const auto parameter = take_parameter(query)) {
        std::int64_t number = 0;
        const bool is_number = parameter->name == "signed_at" && parse_number(parameter->value, number);
        members[std::string(parameter->name)] = is_number ? to_json(number) : to_json(parameter->value);
    }
    std::string wrong;
    const auto proof = read_registration_proof(json(std::move(members)), wrong);
    if (!wrong.empty()) return json_error(400, wrong);
    const auto result = names_.leave(*username, proof, clocks());
    if (result.verdict != name_verdict::accepted) return refuse(result, *username);
    json_line line;
    return json_answer(200, line.add("message", *username + " is unregistered"));
}

inline http_response registry_routes::answer_peers(std::string_view query) const {
    std::size_t limit = peers_default;
    std::size_t offset = 0;
    std::optional<std::string> only;
    while (const auto parameter = take_parameter(query)) {
        if (parameter->name == "limit" && !parse_number(parameter->value, limit))
            return json_error(400, "limit: a number is needed");
        if (parameter->name == "offset" && !parse_number(parameter->value, offset))
            return json_error(400, "offset: a number is needed");
        if (parameter->name == "username") only = percent_decode(parameter->value).value_or("");
    }
    std::string body = "{\"peers\":[";
    const std::size_t empty = body.size();
    const auto append = [&](const named_user& user) {
        if (body.size() > empty) body += ',';
        body += describe(user);
    };
    if (only) {
        const named_user* const found = names_.find(*only);
        if (found != nullptr && found->is_active) append(*found);
    } else {
        names_.for_each_active(offset, std::min(limit, peers_max), append);
    }
    return make_http_response(200, "application/json", body + "]}\n");
}

inline http_response registry_routes::answer_health() const {
    const name_totals totals = names_.totals();
    json_line line = health_line(options_.service, net_.now() - started_);
    line.add("total_peers", totals.registered)
        .add("active_peers", totals.active)
        .add("timestamp", iso_time(options_.calendar()));
    return json_answer(200, line);
}

/// `who` is the stranger's word: JSON escapes it, and it is short.
inline http_response registry_routes::refuse(const name_registry::result& result, const std::string& who) const {
    if (options_.log.enabled(log_level::debug))
        options_.log(log_level::debug, "refused " + plain_text(who, user_name_max));
    switch (result.verdict) {
    case name_verdict::accepted: break;
    case name_verdict::name_taken: return json_error(409, "username: the name belongs to another key");
    case name_verdict::key_needed:
        if (options_.names.require_keys) return json_error(403, "key: only signed registrations are taken here");
        return json_error(409, "username: the name belongs to a key, which must sign this");
    case name_verdict::signature_invalid: return json_error(403, "signature: does not fit");
    case name_verdict::outdated: {
        json_line line;
        line.add("status", "error")
            .add("message", "signed_at: older than what is known already")
            .add("signed_at", result.user->self.proof->signed_at);
        return json_answer(409, line);
    }
    case name_verdict::from_future: return json_error(400, "signed_at: more than ten minutes in the future");
    case name_verdict::unknown: return json_error(404, "username: nobody of that name is registered");
    case name_verdict::address_full: return json_error(429, "username: too many names come from your address");
    case name_verdict::registry_full: return json_error(503, "username: there is no room for another name");
    }
    return json_error(500, "internal");
}

inline std::optional<named_user> registry_routes::read_peer(const json& body, std::string& wrong) {
    constexpr std::size_t address_max = 256;
    const auto is_line = [](std::optional<std::string_view> text, std::size_t most) {
        return text && !text->empty() && text->size() <= most && plain_text(*text, most) == *text;
    };
    named_user out;
    const auto id = json_text(json_member(body, "peer_id"));
    const auto address = json_text(json_member(body, "address"));
    const json* const timestamp = json_given(body, "timestamp");
    if (!is_line(id, user_name_max)) {
        wrong = "peer_id: 1 to 64 bytes of text are needed";
        return std::nullopt;
    }
    if (!is_line(address, address_max)) {
        wrong = "address: 1 to 256 bytes of text are needed";
        return std::nullopt;
    }
    out.peer_id = *id;
    out.address = *address;
    if (timestamp == nullptr) return out;
    if (const auto integer = json_integer(timestamp)) {
        out.timestamp = *integer;
    } else if (timestamp->is<double>()) {
        out.timestamp = timestamp->get<double>();
    } else if (const auto text = json_text(timestamp); is_line(text, user_name_max)) {
        out.timestamp = std::string(*text);
    } else {
        wrong = "timestamp: a number or a short text is needed";
        return std::nullopt;
    }
    return out;
}

/// As /register and /peers show somebody: all that is known.
inline std::string registry_routes::describe(const named_user& user) {
    json_line line;
    line.add("id", user.id);
    if (!user.self.username.empty()) add_registration(line, user.self);
    if (user.signed_host) line.add("signed_host", *user.signed_host);
    if (!user.peer_id.empty()) line.add("peer_id", user.peer_id).add("address", user.address);
    if (const auto* const number = std::get_if<std::int64_t>(&user.timestamp)) line.add("timestamp", *number);
    if (const auto* const number = std::get_if<double>(&user.timestamp)) line.add("timestamp", *number);
    if (const auto* const text = std::get_if<std::string>(&user.timestamp)) line.add("timestamp", *text);
    return line.add("is_active", user.is_active).add("last_heartbeat", iso_time(user.last_heartbeat)).take();
}

}  // namespace cohort
