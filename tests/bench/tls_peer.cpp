// A seeder or a leecher whose connections are TLS ones, for transfer.py.
//
//     tls_peer seed  TORRENT CONTENT   PORT CERTIFICATE KEY
//     tls_peer leech TORRENT DIRECTORY PORT CERTIFICATE KEY PEER_PORT...
//
// The certificate is one of our own for 127.0.0.1, and who dials trusts it alone. Prints `ready` when the files are
// checked and `completed SECONDS` when a download is complete, counted from `ready`. Ends when it is terminated.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/leecher.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/net/tls_stream.hpp>
#include <cohort/seeder.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/net.hpp"

using namespace cohort;

namespace {

class tls_network final : public test::forwarding_network {
public:
    tls_network(network& inner, const std::string& certificate, const std::string& key)
        : forwarding_network(inner),
          client_(tls_context::client({.ca_file = certificate})),
          server_(tls_context::server({.certificate_file = certificate, .key_file = key})) {}

    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override {
        std::unique_ptr<stream> plain = co_await inner().connect(to);
        const std::string host = to.address.to_string();
        auto link = co_await tls_connect(std::move(plain), client_, host);
        co_return link;
    }
    std::unique_ptr<listener> listen(endpoint at) override { return tls_listen(inner().listen(at), server_); }

private:
    tls_context client_;
    tls_context server_;
};

asio::awaitable<void> tell(network& net, torrent& one, bool downloads) {
    time_point begun{};
    for (;;) {
        const torrent_event what = co_await one.next_event();
        if (std::holds_alternative<event::started>(what)) {
            begun = net.now();
            std::puts("ready");
        } else if (downloads && std::holds_alternative<event::completed>(what)) {
            std::printf("completed %.4f\n", to_seconds(net.now() - begun));
        }
        std::fflush(stdout);
    }
}

template <class Role>
asio::awaitable<void> play(network& net, Role& role, bool downloads) {
    co_await beside(tell(net, role.torrent(), downloads), role.run());
}

asio::awaitable<void> run(std::vector<std::string> words) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    real_network machine(executor);
    tls_network net(machine, words[4], words[5]);
    const std::vector<ip_address> here{ip_address::loopback_v4()};
    const auto port_of = [](const std::string& word) { return static_cast<std::uint16_t>(std::stoi(word)); };
    if (words[0] == "seed") {
        seeder_options options;
        options.path = words[2];
        options.addresses = here;
        options.port = port_of(words[3]);
        seeder role(net, read_torrent(words[1]), options);
        co_await play(net, role, false);
    } else {
        leecher_options options;
        options.directory = words[2];
        options.addresses = here;
        options.port = port_of(words[3]);
        options.seed = true;
        for (std::size_t i = 6; i < words.size(); ++i) options.peers.push_back({here[0], port_of(words[i])});
        leecher role(net, read_torrent(words[1]), options);
        co_await play(net, role, true);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 7) return 2;
    asio::io_context io(1);
    std::vector<std::string> words(argv + 1, argv + argc);
    asio::co_spawn(io, run(std::move(words)), [](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
    });
    io.run();
}
