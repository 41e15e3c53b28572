#include <examples/support/addresses.hpp>

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <support/net.hpp>
#include <support/run.hpp>

namespace addresses_test {

using namespace cohort;

namespace {

/// Every name stands for the same two addresses of this machine.
class two_addresses final : public test::forwarding_network {
public:
    using forwarding_network::forwarding_network;
    asio::awaitable<std::vector<ip_address>> resolve(std::string) override {
        std::vector<ip_address> out{ip_address::v4({127, 0, 0, 2}), ip_address::loopback_v4()};
        co_return out;
    }
};

}  // namespace

TEST_CASE("a peer is reached at whichever address of its name takes the connection, or the error has the address") {
    test::run([](network& real) -> asio::awaitable<void> {
        two_addresses net(real);
        auto door = net.listen({ip_address::loopback_v4(), 0});
        const std::uint16_t port = door->local_endpoint().port;
        const std::string peer = "somebody:" + std::to_string(port);
        const auto link = co_await examples::connect_peer(net, peer, 10s);
        CHECK(link->remote_endpoint().address == ip_address::loopback_v4());
        door.reset();
        std::string failure;
        try {
            co_await examples::connect_peer(net, peer, 10s);
        } catch (const std::system_error& error) {
            failure = error.what();
        }
        CHECK(failure.find("127.0.0.1:" + std::to_string(port) + ": Connection refused") != std::string::npos);
    });
}

}  // namespace addresses_test
