#include <cohort/core/endpoint.hpp>

#include <array>
#include <initializer_list>
#include <string>
#include <unordered_set>

#include <doctest/doctest.h>

namespace endpoint_test {

using namespace cohort;

TEST_CASE("endpoints read what they print") {
    for (const std::string text :
         {"127.0.0.1:6881", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[2001:db8::7]:1"}) {
        CAPTURE(text);
        const auto parsed = endpoint::parse(text);
        REQUIRE(parsed);
        CHECK(parsed->to_string() == text);
    }
}

TEST_CASE("text that is no endpoint is refused") {
    for (const char* text :
         {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1x", "127.0.0.1: 1",
          "::1:80", "[127.0.0.1]:80", "[::1:80", "256.0.0.1:1", "localhost:1", "[::1]80", "127.1:80"}) {
        CAPTURE(text);
        CHECK_FALSE(endpoint::parse(text));
    }
    CHECK_FALSE(ip_address::parse(std::string("::1\0and more", 12)));
}

TEST_CASE("an IPv4-mapped address is the IPv4 address") {
    const auto mapped = ip_address::parse("::ffff:10.1.2.3");
    REQUIRE(mapped);
    CHECK(mapped->is_v4());
    CHECK(*mapped == ip_address::v4(0x0a010203));
    CHECK(mapped->to_string() == "10.1.2.3");
    CHECK(mapped->bytes().size() == 4);
    CHECK(std::hash<ip_address>{}(*mapped) == std::hash<ip_address>{}(ip_address::v4(0x0a010203)));
}

TEST_CASE("an address has 4 or 16 bytes") {
    const std::array<std::uint8_t, 17> bytes{};
    CHECK(ip_address::from(byte_view(bytes).first(4))->is_v4());
    CHECK(ip_address::from(byte_view(bytes).first(16))->is_v6());
    for (const std::size_t size : {0U, 3U, 5U, 15U, 17U}) CHECK_FALSE(ip_address::from(byte_view(bytes).first(size)));
}

TEST_CASE("special addresses are known in both families") {
    CHECK(ip_address{}.is_unspecified());
    CHECK(ip_address::parse("::")->is_unspecified());
    CHECK_FALSE(ip_address::parse("::1")->is_unspecified());
    CHECK(ip_address::loopback_v4().is_loopback());
    CHECK(ip_address::parse("127.8.8.8")->is_loopback());
    CHECK(ip_address::parse("::1")->is_loopback());
    CHECK_FALSE(ip_address::parse("128.0.0.1")->is_loopback());
    CHECK(ip_address::parse("224.0.0.1")->is_multicast());
    CHECK(ip_address::parse("ff02::1")->is_multicast());
    CHECK_FALSE(ip_address::parse("223.255.255.255")->is_multicast());
    for (const char* one : {"10.0.0.1", "172.16.0.0", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"})
        CHECK_MESSAGE(ip_address::parse(one)->is_private(), one);
    for (const char* one : {"11.0.0.1", "172.15.0.1", "172.32.0.1", "192.169.1.1", "127.0.0.1", "fe00::1", "::1"})
        CHECK_MESSAGE(!ip_address::parse(one)->is_private(), one);
    for (const char* one : {"169.254.0.1", "fe80::1", "febf::1"})
        CHECK_MESSAGE(ip_address::parse(one)->is_link_local(), one);
    for (const char* one : {"169.253.0.1", "10.254.0.1", "fec0::1", "fd80::1"})
        CHECK_MESSAGE(!ip_address::parse(one)->is_link_local(), one);
}

TEST_CASE("who has one IPv6 address has its /64") {
    CHECK(ip_address::parse("10.1.2.3")->network() == *ip_address::parse("10.1.2.3"));
    CHECK(ip_address::parse("2001:db8:1:2:3:4:5:6")->network() == *ip_address::parse("2001:db8:1:2::"));
    CHECK(ip_address::parse("2001:db8:1:3::1")->network() == *ip_address::parse("2001:db8:1:3::"));
}

TEST_CASE("endpoints differ by address and by port") {
    std::unordered_set<endpoint> seen;
    for (const char* text : {"1.2.3.4:1", "1.2.3.4:2", "1.2.3.5:1", "[::1]:1"})
        CHECK(seen.insert(*endpoint::parse(text)).second);
    CHECK_FALSE(seen.insert(endpoint{ip_address::v4(0x01020304), 2}).second);
}

}  // namespace endpoint_test
