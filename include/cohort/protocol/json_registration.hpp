// Registrations as JSON, for the tracker that takes them and the client that sends them and reads those of others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <cohort/protocol/json.hpp>
#include <cohort/protocol/registration.hpp>

namespace cohort {

/// Adds username, host and port, and of a signed one key, signed_at and signature (hexadecimal).
void add_registration(json_line& to, const registration& one);

/// Reads what add_registration() wrote; other members are ignored. Nothing, with `wrong` naming the member and what is
/// needed, if one is missing, has the wrong type, or holds what cannot be: a name or a host that is none. Host may be
/// unspecified. Signatures are read, not checked.
std::optional<registration> read_registration(const json& from, std::string& wrong);

/// The same for key, signed_at and signature alone. Without any of the three (or null) there is no proof and nothing
/// wrong; some of them are not enough.
std::optional<registration_proof> read_registration_proof(const json& from, std::string& wrong);

// ---- Machinery

inline void add_registration(json_line& to, const registration& one) {
    to.add("username", one.username).add("host", one.host).add("port", one.port);
    if (!one.proof) return;
    to.add("key", one.proof->key.hex())
        .add("signed_at", one.proof->signed_at)
        .add("signature", to_hex(one.proof->signature));
}

inline std::optional<registration_proof> read_registration_proof(const json& from, std::string& wrong) {
    const json* const key = json_given(from, "key");
    const json* const signed_at = json_given(from, "signed_at");
    const json* const signature = json_given(from, "signature");
    if (key == nullptr && signed_at == nullptr && signature == nullptr) return std::nullopt;
    registration_proof out;
    const auto parsed = identity_key::parse(json_text(key).value_or(""));
    if (!parsed) {
        wrong = "key: 64 hexadecimal digits are needed";
        return std::nullopt;
    }
    out.key = *parsed;
    out.signed_at = json_integer(signed_at).value_or(-1);
    if (out.signed_at < 0) {
        wrong = "signed_at: milliseconds since 1970 are needed, as an integer";
        return std::nullopt;
    }
    if (!from_hex(json_text(signature).value_or(""), out.signature)) {
        wrong = "signature: 128 hexadecimal digits are needed";
        return std::nullopt;
    }
    return out;
}

inline std::optional<registration> read_registration(const json& from, std::string& wrong) {
    registration out;
    const auto username = json_text(json_member(from, "username"));
    if (!username || !is_user_name(*username)) {
        wrong = "username: 1 to 64 bytes of visible text are needed, without '/', ':' and white space at the ends";
        return std::nullopt;
    }
    out.username = *username;
    const auto host = json_text(json_member(from, "host"));
    if (host) out.host = *host;
    if (!host || (!out.host.empty() && !is_registration_host(out.host))) {
        wrong = "host: an address or a host's name is needed, or an empty text for where the request comes from";
        return std::nullopt;
    }
    const auto port = json_integer(json_member(from, "port"));
    if (!port || *port < 1 || *port > 65535) {
        wrong = "port: an integer from 1 to 65535 is needed";
        return std::nullopt;
    }
    out.port = static_cast<std::uint16_t>(*port);
    wrong.clear();
    out.proof = read_registration_proof(from, wrong);
    if (!wrong.empty()) return std::nullopt;
    return out;
}

}  // namespace cohort
