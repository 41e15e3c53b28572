// Users at a tracker, the client's side: register a name, find others, and believe no record that its key did not sign.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/net/http_client.hpp>
#include <cohort/protocol/json_registration.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/plain_text.hpp>

namespace cohort {

/// What a record of another user is worth.
enum class record_trust {
    verified,     ///< signed by the key in it, which is the one that we know, or the first that we see
    keyless,      ///< nobody vouches for it, the tracker's word apart
    key_changed,  ///< we know the name with another key: it comes with a new one, or with none
};

struct registered_user {
    registration self;
    record_trust trust = record_trust::keyless;
    bool signed_host = false;  ///< the key vouches for the address too; otherwise the tracker filled it in
    bool is_active = true;
};

struct user_list {
    std::vector<registered_user> users;
    /// Records that are none, whose signature does not fit, that are older than what we have seen of the same key, or
    /// that give a name once more.
    std::size_t dropped = 0;
};

struct registry_client_options {
    http_client_options http{.limits = {.header = 16 * 1024, .body = 4 * 1024 * 1024}, .total_timeout = 15s};
    std::size_t max_users = 10'000;               ///< of a list; the rest is not asked for
    std::function<unix_ms()> calendar = nullptr;  ///< the time of day, for signatures; none: the network's
};

/// Speaks with one tracker. Remembers, as long as it lives, which key a name had and how new each key's record was, so
/// that a tracker cannot take either back. One call at a time.
class registry_client {
public:
    /// `tracker` is the URL of an announce or the part before it: "http://127.0.0.1:6969/announce" or
    /// "http://127.0.0.1:6969". Throws errc::url_invalid or url_unsupported. `self` signs what is registered and
    /// outlives this; without it registrations have no key.
    registry_client(network& net, const std::string& tracker, const identity* self = nullptr,
                    registry_client_options options = {});

    /// Registers or updates us and returns how the tracker shows us. An empty host: where the tracker sees us.
    /// Fails as http_request_to() does; with errc::name_invalid (the message says which field), name_taken,
    /// signature_invalid (also for a clock that is wrong by more than ten minutes), tracker_refused with the tracker's
    /// words, or tracker_malformed if it answers with something else than we said.
    asio::awaitable<registered_user> register_self(std::string username, std::string host, std::uint16_t port);

    /// Says that we are still there. Also fails with errc::unknown_peer: register again.
    asio::awaitable<void> heartbeat(std::string username);

    /// Ends our registration. Also fails with errc::unknown_peer.
    asio::awaitable<void> unregister(std::string username);

    /// Completes with the users that are active, by pages of 1000.
    asio::awaitable<user_list> peers();

    /// The user of that name if active; nothing if there is none, or none whose record can be believed.
    asio::awaitable<std::optional<registered_user>> find(std::string username);

    /// Makes a name known with its key, from earlier times: records of another key are key_changed from now on. Also
    /// how to accept a new key.
    void trust(const std::string& username, const identity_key& key) { known_[folded_user_name(username)] = key; }
    void forget(const std::string& username) { known_.erase(folded_user_name(username)); }

private:
    static constexpr std::size_t page = 1000;

    static std::string base_of(const std::string& tracker, const http_client_options& options);
    asio::awaitable<http_response> ask(std::string method, std::string target, std::string body);
    static json parsed(const http_response& response);
    [[noreturn]] static void fail(const http_response& response);
    bool is_outdated(const http_response& response);
    static std::string written(const registration& one);
    std::string end_target(const std::string& username);
    /// A time to sign: now, and after all that were signed before.
    unix_ms stamp() { return stamped_ = std::max(options_.calendar(), stamped_ + 1); }
    std::optional<registered_user> judge(const json& record);
    bool is_newest(const registration& one);
    record_trust weigh(const registration& one);

    network& net_;
    std::string base_;
    const identity* self_;
    registry_client_options options_;
    std::map<std::string, identity_key> known_;                            // by folded name
    std::map<std::pair<std::string, identity_key>, registration> newest_;  // as signed
    unix_ms stamped_ = 0;
};

// ---- Machinery

inline registry_client::registry_client(network& net, const std::string& tracker, const identity* self,
                                        registry_client_options options)
    : net_(net), base_(base_of(tracker, options.http)), self_(self), options_(std::move(options)) {
    options_.http.keep_status = true;
    if (!options_.calendar) options_.calendar = [&net] { return net.calendar(); };
}

inline std::string registry_client::base_of(const std::string& tracker, const http_client_options& options) {
    url at = detail::parse_http_url(tracker, options);
    at.target.resize(std::min(at.target.find('?'), at.target.size()));
    for (const std::string_view end : {"/announce", "/"}) {
        if (at.target.ends_with(end)) {
            at.target.resize(at.target.size() - end.size());
            break;
        }
    }
    return at.to_string();
}

inline asio::awaitable<http_response> registry_client::ask(std::string method, std::string target, std::string body) {
    http_headers headers;
    if (!body.empty()) headers.add("Content-Type", "application/json");
    return http_request_to(net_, std::move(method), base_ + target, std::move(headers), std::move(body), options_.http);
}

inline json registry_client::parsed(const http_response& response) {
    std::error_code ec;
    auto out = parse_json(response.body, ec, 8);
    if (!out || !out->is<json_object>()) raise(errc::tracker_malformed);
    return std::move(*out);
}

/// Turns a refusal into the exception that says it.
inline void registry_client::fail(const http_response& response) {
    std::error_code ec;
    const auto body = parse_json(response.body, ec, 8);
    const std::string words = body ? plain_text(json_text(json_member(*body, "message")).value_or("")) : std::string();
    switch (response.status) {
    case 400:
        if (words.starts_with("signed_at")) raise(errc::signature_invalid, words);
        raise(errc::name_invalid, words);
    case 403: raise(errc::signature_invalid, words);
    case 404: raise(errc::unknown_peer, words);
    case 409:
        if (words.starts_with("signed_at")) raise(errc::signature_invalid, words);
        raise(errc::name_taken, words);
    case 429:
    case 503: raise(errc::tracker_refused, words);
    default: raise(errc::http_status, std::to_string(response.status));
    }
}

/// Whether the tracker knows a newer signature of ours: an earlier run's, before our clock went back. The next one will
/// be newer still. False where the tracker cannot have got what it names from us.
inline bool registry_client::is_outdated(const http_response& response) {
    if (response.status != 409 || self_ == nullptr) return false;
    std::error_code ec;
    const auto body = parse_json(response.body, ec, 8);
    const auto last = json_integer(body ? json_member(*body, "signed_at") : nullptr);
    // Ours will be a millisecond newer than that, and must not be from the future itself.
    if (!last || *last < stamped_ || is_from_future(*last, options_.calendar() - 1)) return false;
    stamped_ = *last;
    return true;
}

inline std::string registry_client::written(const registration& one) {
    json_line line;
    add_registration(line, one);
    return line.take();
}

inline asio::awaitable<registered_user> registry_client::register_self(std::string username, std::string host,
                                                                       std::uint16_t port) {
    registration mine{std::move(username), std::move(host), port};
    if (!is_user_name(mine.username)) raise(errc::name_invalid, plain_text(mine.username));
    if (self_ != nullptr) sign_registration(mine, *self_, stamp());
    auto response = co_await ask("POST", "/register", written(mine));
    if (is_outdated(response)) {
        sign_registration(mine, *self_, stamp());
        response = co_await ask("POST", "/register", written(mine));
    }
    if (response.status != 200) fail(response);
    auto shown = judge(parsed(response));
    // Who has our name, key and port there is us; the address may be the tracker's view.
    const bool same = shown && shown->self.username == mine.username && shown->self.port == mine.port &&
                      shown->self.proof == mine.proof && shown->trust != record_trust::key_changed &&
                      (shown->self.host == mine.host || is_unspecified_host(mine.host));
    if (!same) raise(errc::tracker_malformed, "another registration than ours");
    co_return std::move(*shown);
}

inline asio::awaitable<void> registry_client::heartbeat(std::string username) {
    json_line line;
    line.add("username", username);
    const auto response = co_await ask("POST", "/heartbeat", line.take());
    if (response.status != 200) fail(response);
}

inline asio::awaitable<void> registry_client::unregister(std::string username) {
    auto response = co_await ask("DELETE", end_target(username), std::string());
    if (is_outdated(response)) response = co_await ask("DELETE", end_target(username), std::string());
    if (response.status != 200) fail(response);
}

inline std::string registry_client::end_target(const std::string& username) {
    std::string out = "/unregister/" + percent_encode(username);
    if (self_ == nullptr) return out;
    const registration_proof proof = sign_registration_end(username, *self_, stamp());
    return out + "?key=" + proof.key.hex() + "&signed_at=" + std::to_string(proof.signed_at) +
           "&signature=" + to_hex(proof.signature);
}

inline asio::awaitable<user_list> registry_client::peers() {
    user_list out;
    std::map<std::string, bool> names;
    for (std::size_t seen = 0; seen < options_.max_users;) {
        const std::size_t wanted = std::min(page, options_.max_users - seen);
        const auto response = co_await ask(
            "GET", "/peers?limit=" + std::to_string(wanted) + "&offset=" + std::to_string(seen), std::string());
        if (response.status != 200) fail(response);
        const json body = parsed(response);
        const json* const list = json_member(body, "peers");
        if (list == nullptr || !list->is<json_array>()) raise(errc::tracker_malformed);
        const json_array& records = list->get<json_array>();
        for (std::size_t i = 0; i < std::min(records.size(), wanted); ++i) {
            // A signature takes a tenth of a millisecond, and others have work, too.
            if (i % 32 == 31) co_await asio::post(net_.executor(), asio::use_awaitable);
            const json* const username = json_given(records[i], "username");
            if (username == nullptr && json_given(records[i], "peer_id") != nullptr) continue;  // has no name
            auto user = judge(records[i]);
            if (user && names.emplace(folded_user_name(user->self.username), true).second)
                out.users.push_back(std::move(*user));
            else
                ++out.dropped;
        }
        if (records.size() > wanted) out.dropped += records.size() - wanted;
        if (records.size() < wanted) break;
        seen += wanted;
    }
    co_return out;
}

inline asio::awaitable<std::optional<registered_user>> registry_client::find(std::string username) {
    if (!is_user_name(username)) raise(errc::name_invalid, plain_text(username));
    const auto response = co_await ask("GET", "/peers?username=" + percent_encode(username), std::string());
    if (response.status != 200) fail(response);
    const json body = parsed(response);
    const json* const list = json_member(body, "peers");
    if (list == nullptr || !list->is<json_array>()) raise(errc::tracker_malformed);
    std::optional<registered_user> out;
    for (const json& record : list->get<json_array>()) {
        // Trackers that know no such query answer with all; of those only the one may teach us anything.
        const std::string name(json_text(json_member(record, "username")).value_or(""));
        if (folded_user_name(name) != folded_user_name(username)) continue;
        out = judge(record);
        if (out) break;
    }
    co_return out;
}

/// Nothing for a record that is none or not to be believed.
inline std::optional<registered_user> registry_client::judge(const json& record) {
    std::string wrong;
    auto one = read_registration(record, wrong);
    if (!one || is_unspecified_host(one->host)) return std::nullopt;
    registered_user out;
    if (one->proof) {
        registration as_signed = *one;
        const auto signed_host = json_text(json_given(record, "signed_host"));
        if (signed_host) {
            // The tracker may fill in an address where its owner left that open, and not elsewhere.
            as_signed.host = *signed_host;
            if (!is_unspecified_host(as_signed.host)) return std::nullopt;
        }
        if (is_from_future(one->proof->signed_at, options_.calendar()) || !is_newest(as_signed)) return std::nullopt;
        out.signed_host = !signed_host;
    }
    out.trust = weigh(*one);
    const json* const active = json_given(record, "is_active");
    out.is_active = active == nullptr || active->evaluate_as_boolean();
    out.self = std::move(*one);
    return out;
}

/// Whether its key signed this, and nothing newer that we have seen under that name; remembers it. A record that is
/// there again, as most are, needs no second look at its signature.
inline bool registry_client::is_newest(const registration& one) {
    const auto who = std::make_pair(folded_user_name(one.username), one.proof->key);
    const auto known = newest_.find(who);
    if (known != newest_.end()) {
        if (known->second == one) return true;
        if (one.proof->signed_at < known->second.proof->signed_at) return false;
    }
    if (!verify_registration(one)) return false;
    if (known != newest_.end())
        known->second = one;
    else if (newest_.size() < 2 * options_.max_users)
        newest_.emplace(who, one);
    return true;
}

inline record_trust registry_client::weigh(const registration& one) {
    const std::string name = folded_user_name(one.username);
    const auto known = known_.find(name);
    if (known != known_.end()) {
        const bool same = one.proof && one.proof->key == known->second;
        return same ? record_trust::verified : record_trust::key_changed;
    }
    if (!one.proof) return record_trust::keyless;
    if (known_.size() < 2 * options_.max_users) known_.emplace(name, one.proof->key);
    return record_trust::verified;
}

}  // namespace cohort
