// The addresses that people type.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/number.hpp>
#include <cohort/net/dial.hpp>
#include <cohort/net/listen_all.hpp>

#include "usage_error.hpp"

namespace cohort::examples {

/// The addresses behind "HOST:PORT", where HOST is a name or an address, IPv6 in brackets. Throws usage_error for
/// another text, std::system_error for a name that nobody knows.
inline asio::awaitable<std::vector<endpoint>> resolve_peer(network& net, std::string text) {
    std::vector<endpoint> out;
    if (const auto literal = endpoint::parse(text)) {
        out.push_back(*literal);
        co_return out;
    }
    const std::size_t colon = text.rfind(':');
    std::uint16_t port = 0;
    const bool valid = colon != std::string::npos && colon > 0 &&
                       parse_number(std::string_view(text).substr(colon + 1), port) && port != 0;
    if (!valid) throw usage_error("'" + text + "' is not HOST:PORT");
    const std::string host = text.substr(0, colon);
    const std::vector<ip_address> addresses = co_await net.resolve(host);
    for (const ip_address& address : addresses) out.push_back({address, port});
    co_return out;
}

/// Completes with a connection to the first of these addresses that takes one. Throws std::system_error, with the
/// address, if none does within `limit`.
inline asio::awaitable<std::unique_ptr<stream>> connect_peer(network& net, std::string text, duration limit) {
    const std::vector<endpoint> found = co_await resolve_peer(net, text);
    std::vector<ip_address> addresses;
    for (const endpoint& one : found) addresses.push_back(one.address);
    const std::uint16_t port = found.empty() ? std::uint16_t{0} : found.front().port;
    auto link = co_await connect_any(net, addresses, port, limit);
    co_return link;
}

/// The addresses to listen on: those of `host`, or all of the machine where it is empty.
inline asio::awaitable<std::vector<ip_address>> resolve_host(network& net, std::string host) {
    std::vector<ip_address> out;
    if (host.empty()) {
        out = all_addresses();
    } else {
        out = co_await net.resolve(host);
    }
    co_return out;
}

}  // namespace cohort::examples
