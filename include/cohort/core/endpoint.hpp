// Internet addresses as values, for the parts that never open a socket.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <arpa/inet.h>

#include <cohort/core/bytes.hpp>
#include <cohort/core/endian.hpp>
#include <cohort/core/number.hpp>

namespace cohort {

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (::ffff:a.b.c.d) is always kept as IPv4, so that one host
/// has one name.
class ip_address {
public:
    ip_address() = default;  ///< 0.0.0.0

    static ip_address v4(std::uint32_t host_order) {
        std::array<std::uint8_t, 4> bytes;
        store_be(bytes.data(), host_order);
        return v4(bytes);
    }
    static ip_address v4(const std::array<std::uint8_t, 4>& bytes) {
        ip_address out;
        std::copy(bytes.begin(), bytes.end(), out.bytes_.begin() + 12);
        return out;
    }
    static ip_address v6(const std::array<std::uint8_t, 16>& bytes) {
        ip_address out;
        out.bytes_ = bytes;
        return out;
    }
    static ip_address loopback_v4() { return v4(0x7f000001); }

    /// From exactly 4 or 16 bytes in network order.
    static std::optional<ip_address> from(byte_view in) {
        if (in.size() == 4) return v4(load_be<std::uint32_t>(in.data()));
        if (in.size() != 16) return std::nullopt;
        ip_address out;
        std::copy(in.begin(), in.end(), out.bytes_.begin());
        return out;
    }

    /// From text as people write it ("127.0.0.1", "::1"; no brackets, no zone).
    static std::optional<ip_address> parse(const std::string& text) {
        std::array<std::uint8_t, 16> bytes;
        if (text.find('\0') != std::string::npos) return std::nullopt;  // where inet_pton() would stop
        if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return from(byte_view(bytes).first(4));
        if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return from(bytes);
        return std::nullopt;
    }

    bool is_v4() const { return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin()); }
    bool is_v6() const { return !is_v4(); }
    bool is_unspecified() const {
        return std::all_of(bytes_.begin() + (is_v4() ? 12 : 0), bytes_.end(), [](std::uint8_t b) { return b == 0; });
    }
    bool is_loopback() const {
        return is_v4() ? bytes_[12] == 127 : *this == v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    }
    /// RFC 1918 and RFC 4193: of a network that has no place in the Internet.
    bool is_private() const {
        const byte_view b = bytes();
        if (is_v6()) return (b[0] & 0xfe) == 0xfc;
        return b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168);
    }
    bool is_link_local() const {
        const byte_view b = bytes();
        return is_v4() ? b[0] == 169 && b[1] == 254 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
    }
    /// What one subscriber has all of, for limits on who asks: an IPv4 address, or the /64 of an IPv6 one.
    ip_address network() const {
        ip_address out = *this;
        if (is_v6()) std::fill(out.bytes_.begin() + v6_network_size, out.bytes_.end(), std::uint8_t{0});
        return out;
    }
    static constexpr std::size_t v6_network_size = 8;  ///< the bytes of a /64
    bool is_multicast() const { return is_v4() ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff; }

    /// 4 or 16 bytes in network order.
    byte_view bytes() const { return is_v4() ? byte_view(bytes_).subspan(12) : byte_view(bytes_); }
    /// Always 16 bytes: IPv4 in its mapped form.
    const std::array<std::uint8_t, 16>& mapped() const { return bytes_; }

    std::string to_string() const {
        char text[INET6_ADDRSTRLEN];
        ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes().data(), text, sizeof text);
        return text;
    }

    auto operator<=>(const ip_address&) const = default;

private:
    static constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    std::array<std::uint8_t, 16> bytes_{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
};

/// An address and a port, for TCP and UDP alike.
struct endpoint {
    ip_address address;
    std::uint16_t port = 0;

    auto operator<=>(const endpoint&) const = default;

    /// "127.0.0.1:6881" or "[::1]:6881".
    std::string to_string() const {
        const std::string host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
        return host + ":" + std::to_string(port);
    }

    /// The reverse of to_string(); names are not resolved.
    static std::optional<endpoint> parse(std::string_view text) {
        const std::size_t colon = text.rfind(':');
        if (colon == std::string_view::npos) return std::nullopt;
        std::string_view host = text.substr(0, colon);
        const std::string_view digits = text.substr(colon + 1);
        const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
        if (bracketed) host = host.substr(1, host.size() - 2);
        const auto address = ip_address::parse(std::string(host));
        if (!address || address->is_v6() != bracketed) return std::nullopt;
        std::uint16_t port = 0;
        if (!parse_number(digits, port)) return std::nullopt;
        return endpoint{*address, port};
    }
};

}  // namespace cohort

template <>
struct std::hash<cohort::ip_address> {
    std::size_t operator()(const cohort::ip_address& address) const noexcept {
        const auto& bytes = address.mapped();
        const auto high = cohort::load_be<std::uint64_t>(bytes.data());
        const auto low = cohort::load_be<std::uint64_t>(bytes.data() + 8);
        return static_cast<std::size_t>((high * 0x9e3779b97f4a7c15) ^ (low * 0xbf58476d1ce4e5b9));
    }
};

template <>
struct std::hash<cohort::endpoint> {
    std::size_t operator()(const cohort::endpoint& e) const noexcept {
        return std::hash<cohort::ip_address>{}(e.address) * 31 + e.port;
    }
};
