// Who we say we are.
#pragma once

#include <cstdint>
#include <string_view>

#include <cohort/core/ids.hpp>
#include <cohort/core/random.hpp>

namespace cohort {

/// What peers and torrents are told about the program (BEP 10 `v`, `created by`).
inline constexpr std::string_view client_name = "cohort 0.1";
inline constexpr std::string_view client_version = client_name.substr(client_name.find(' ') + 1);

/// "-CO0100-" and twelve random characters (BEP 20).
inline peer_id make_peer_id(random_engine& random) {
    constexpr std::string_view prefix = "-CO0100-";
    constexpr std::string_view letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    peer_id id;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
        const std::uint32_t letter = random.below(static_cast<std::uint32_t>(letters.size()));
        id.bytes[i] = static_cast<std::uint8_t>(i < prefix.size() ? prefix[i] : letters[letter]);
    }
    return id;
}

}  // namespace cohort
