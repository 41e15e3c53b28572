// One port on several addresses, usually 0.0.0.0 and [::]: what a server means by "listen".
#pragma once

#include <memory>
#include <vector>

#include <cohort/net/network.hpp>

namespace cohort {

/// Every address of the machine, in both families.
inline std::vector<ip_address> all_addresses() { return {ip_address(), ip_address::v6({})}; }

namespace detail {

inline bool lacks_address_family(const std::error_code& code) {
    return code == std::errc::address_family_not_supported || code == std::errc::address_not_available;
}

/// open(endpoint) for each address. With port 0 the first one takes a free port and the others take the same.
template <class Open>
auto open_all(const std::vector<ip_address>& addresses, std::uint16_t port, Open open) {
    constexpr int attempts = 16;
    for (int attempt = 1;; ++attempt) {
        std::vector<decltype(open(endpoint{}))> out;
        try {
            for (const ip_address& address : addresses) {
                const std::uint16_t wanted = out.empty() ? port : out.front()->local_endpoint().port;
                try {
                    out.push_back(open(endpoint{address, wanted}));
                } catch (const std::system_error& error) {
                    // A machine without IPv6 still serves IPv4.
                    const bool dispensable = address.is_v6() && address.is_unspecified() && !out.empty();
                    if (!dispensable || !lacks_address_family(error.code())) throw;
                }
            }
            return out;
        } catch (const std::system_error& error) {
            // The port that was free for the first address may be taken for the second one.
            const bool unlucky = port == 0 && !out.empty() && error.code() == std::errc::address_in_use;
            if (!unlucky || attempt == attempts) throw;
        }
    }
}

}  // namespace detail

/// Listens on all `addresses` at one port; port 0 takes one that is free on all. Throws the system's error with the
/// address in its message.
inline std::vector<std::unique_ptr<listener>> listen_all(network& net, const std::vector<ip_address>& addresses,
                                                         std::uint16_t port) {
    return detail::open_all(addresses, port, [&net](const endpoint& at) { return net.listen(at); });
}

/// The same for UDP.
inline std::vector<std::unique_ptr<datagram_socket>> bind_udp_all(network& net,
                                                                  const std::vector<ip_address>& addresses,
                                                                  std::uint16_t port) {
    return detail::open_all(addresses, port, [&net](const endpoint& at) { return net.bind_udp(at); });
}

}  // namespace cohort
