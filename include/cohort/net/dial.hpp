// From a host and a port to a connection: name resolution, choice of the address family, one address after the other.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/error.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/timeout.hpp>

namespace cohort {

/// Which addresses of a host may be used. A tracker sees the address that asks it, so a peer that wants to be known
/// under both announces over both (BEP 7).
enum class address_family { any, v4, v6 };

/// Completes with the addresses of `host` in that family. Throws errc::host_not_found if there are none.
inline asio::awaitable<std::vector<ip_address>> resolve_host(network& net, std::string host, address_family family) {
    auto addresses = co_await net.resolve(host);
    std::erase_if(addresses, [family](const ip_address& address) {
        return (family == address_family::v4 && address.is_v6()) || (family == address_family::v6 && address.is_v4());
    });
    if (addresses.empty()) raise(errc::host_not_found, host);
    co_return addresses;
}

/// Completes with a connection to the first of `addresses` that takes one. Each of them gets an equal part of what is
/// left of `limit`, so that a dead one does not use it up. Throws the error of the last one, with its address.
inline asio::awaitable<std::unique_ptr<stream>> connect_any(network& net, std::vector<ip_address> addresses,
                                                            std::uint16_t port, duration limit) {
    const time_point deadline = net.now() + limit;
    std::error_code failure = errc::host_not_found;
    std::string where;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        const endpoint to{addresses[i], port};
        const duration share = (deadline - net.now()) / static_cast<int>(addresses.size() - i);
        try {
            auto link = co_await with_timeout(net, share, net.connect(to));
            co_return link;
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code())) throw;
            failure = error.code();
            where = to.to_string();
        }
    }
    raise(failure, "cannot connect to " + where);
}

}  // namespace cohort
