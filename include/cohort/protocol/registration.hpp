// What a user tells a tracker: "I am NAME, at HOST:PORT", with a signature that binds the name to a key.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cohort/core/ascii.hpp>
#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/endpoint.hpp>
#include <cohort/core/time.hpp>
#include <cohort/protocol/noise_identity.hpp>
#include <cohort/protocol/url.hpp>
#include <cohort/protocol/user_name.hpp>

namespace cohort {

/// Milliseconds since 1970 in UTC: what different machines can compare.
using unix_ms = std::int64_t;

inline constexpr std::size_t registration_host_max = 253;  ///< bytes: the longest name that DNS has
/// How far a registration's time may lie in the future of whoever reads it.
inline constexpr std::chrono::milliseconds registration_time_skew = 10min;

/// Whose registration it is, since when, and that it is theirs.
struct registration_proof {
    identity_key key;
    unix_ms signed_at = 0;  ///< a newer one replaces an older one, never the other way round
    signature64 signature{};

    bool operator==(const registration_proof&) const = default;
};

struct registration {
    std::string username;
    std::string host;  ///< an address or a host's name; unspecified, the tracker puts in where it was asked from
    std::uint16_t port = 0;
    std::optional<registration_proof> proof{};  ///< nothing: no key, so that anybody may change it

    bool operator==(const registration&) const = default;
};

/// Whether a host says "wherever I am": "", "0.0.0.0" or "::".
inline bool is_unspecified_host(const std::string& host) {
    if (host.empty()) return true;
    const auto address = ip_address::parse(host);
    return address && address->is_unspecified();
}

/// Whether others can dial a host: an address (IPv6 without brackets) or a host's name.
inline bool is_registration_host(const std::string& host) {
    if (host.size() > registration_host_max) return false;
    const auto address = ip_address::parse(host);
    if (address) return !address->is_multicast();
    return detail::is_host_name(host) && !detail::ends_in_number(ascii_lower(host));
}

/// The bytes that `one.proof` signs: "cohort registration", then username and host, each behind its length in two
/// bytes, the port in two, the time in eight, and the key. Numbers are big-endian. Needs a proof with key and time.
byte_vector registration_text(const registration& one);

/// The bytes that end a registration: "cohort unregistration" in place of the first words, without host and port.
byte_vector registration_end_text(std::string_view username, const identity_key& key, unix_ms signed_at);

/// Puts the proof of `self` into `one`.
void sign_registration(registration& one, const identity& self, unix_ms now);
registration_proof sign_registration_end(std::string_view username, const identity& self, unix_ms now);

/// Whether the proof's key signed this registration; false without a proof.
bool verify_registration(const registration& one);
bool verify_registration_end(std::string_view username, const registration_proof& proof);

/// Whether a time is too far in the future to be believed: it would lock its own key out for long.
inline bool is_from_future(unix_ms signed_at, unix_ms now) {
    return signed_at > now && signed_at - now > registration_time_skew.count();
}

// ---- Machinery

namespace detail {

inline void append_bytes(byte_vector& out, byte_view bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

inline void append_counted(byte_vector& out, std::string_view text) {
    append_be(out, static_cast<std::uint16_t>(text.size()));
    append_bytes(out, as_bytes(text));
}

}  // namespace detail

inline byte_vector registration_text(const registration& one) {
    byte_vector out;
    detail::append_bytes(out, as_bytes("cohort registration"));
    detail::append_counted(out, one.username);
    detail::append_counted(out, one.host);
    append_be(out, one.port);
    append_be(out, static_cast<std::uint64_t>(one.proof->signed_at));
    detail::append_bytes(out, one.proof->key.view());
    return out;
}

inline byte_vector registration_end_text(std::string_view username, const identity_key& key, unix_ms signed_at) {
    byte_vector out;
    detail::append_bytes(out, as_bytes("cohort unregistration"));
    detail::append_counted(out, username);
    append_be(out, static_cast<std::uint64_t>(signed_at));
    detail::append_bytes(out, key.view());
    return out;
}

inline void sign_registration(registration& one, const identity& self, unix_ms now) {
    one.proof.emplace();
    one.proof->key = self.key();
    one.proof->signed_at = now;
    one.proof->signature = self.sign(registration_text(one));
}

inline registration_proof sign_registration_end(std::string_view username, const identity& self, unix_ms now) {
    registration_proof out;
    out.key = self.key();
    out.signed_at = now;
    out.signature = self.sign(registration_end_text(username, out.key, now));
    return out;
}

inline bool verify_registration(const registration& one) {
    if (!one.proof || one.username.size() > user_name_max || one.host.size() > registration_host_max) return false;
    return verify_signature(one.proof->key.bytes, registration_text(one), one.proof->signature);
}

inline bool verify_registration_end(std::string_view username, const registration_proof& proof) {
    if (username.size() > user_name_max) return false;
    return verify_signature(proof.key.bytes, registration_end_text(username, proof.key, proof.signed_at),
                            proof.signature);
}

}  // namespace cohort
