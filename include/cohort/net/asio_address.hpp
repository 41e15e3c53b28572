// Between our addresses and Asio's.
#pragma once

#include <algorithm>

#include <cohort/core/endpoint.hpp>
#include <cohort/net/asio.hpp>

#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>

namespace cohort {

inline asio::ip::address to_asio(const ip_address& address) {
    const byte_view bytes = address.bytes();
    if (address.is_v4()) return asio::ip::address_v4(load_be<std::uint32_t>(bytes.data()));
    asio::ip::address_v6::bytes_type raw;
    std::copy(bytes.begin(), bytes.end(), raw.begin());
    return asio::ip::address_v6(raw);
}

inline ip_address from_asio(const asio::ip::address& address) {
    if (address.is_v4()) return ip_address::v4(address.to_v4().to_uint());
    return ip_address::v6(address.to_v6().to_bytes());
}

template <class Protocol>
asio::ip::basic_endpoint<Protocol> to_asio(const endpoint& e) {
    return {to_asio(e.address), e.port};
}

template <class Protocol>
endpoint from_asio(const asio::ip::basic_endpoint<Protocol>& e) {
    return {from_asio(e.address()), e.port()};
}

}  // namespace cohort
