// Lesson 1: one announce. Tells a tracker that we have joined a torrent's swarm, prints whom it knows, and leaves
// again.
//
//   announce TRACKER-URL INFO-HASH [--port P] [--ipv4 | --ipv6] [--scrape]

#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <cohort/net/real_network.hpp>
#include <cohort/net/tracker_client.hpp>
#include <cohort/protocol/client.hpp>

#include "support/program.hpp"

namespace {

struct options {
    std::string tracker;
    std::string hash;
    std::uint16_t port = 6881;
    bool ipv4 = false;
    bool ipv6 = false;
    bool scrape = false;
};

/// The counts alone, without joining (BEP 48).
asio::awaitable<void> ask_for_counts(cohort::network& net, const options& chosen, cohort::info_hash hash,
                                     cohort::tracker_client_options how) {
    const std::vector<cohort::info_hash> hashes{hash};
    const auto answer = co_await cohort::scrape(net, chosen.tracker, hashes, how);
    for (const auto& [known, counts] : answer.files) {
        std::printf("%u seeders, %u leechers, %u downloads\n", counts.complete, counts.incomplete, counts.downloaded);
    }
    if (answer.files.empty()) std::printf("not known there\n");
}

asio::awaitable<int> run(const options& chosen) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network net(executor);
    const auto hash = cohort::info_hash::parse_hex(chosen.hash);
    if (!hash) throw cohort::examples::usage_error("an info-hash has 40 hexadecimal digits");

    cohort::announce_request request;
    request.hash = *hash;
    request.id = cohort::make_peer_id(net.random());
    request.port = chosen.port;
    request.left = 1;  // a leecher: seeders are told about leechers only
    request.event = cohort::announce_event::started;

    cohort::tracker_client_options how;
    if (chosen.ipv4) how.family = cohort::address_family::v4;
    if (chosen.ipv6) how.family = cohort::address_family::v6;
    how.udp.retries = 1;
    if (chosen.scrape) {
        co_await ask_for_counts(net, chosen, *hash, how);
        co_return 0;
    }

    const auto response = co_await cohort::announce(net, chosen.tracker, request, how);
    std::printf("announce again in %lld s\n", static_cast<long long>(response.interval.count()));
    std::printf("%u seeders, %u leechers\n", response.complete.value_or(0), response.incomplete.value_or(0));
    for (const cohort::endpoint& peer : response.peers) std::printf("peer %s\n", peer.to_string().c_str());

    request.event = cohort::announce_event::stopped;
    co_await cohort::announce(net, chosen.tracker, request, how);
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Announces to a tracker and prints the peers that it names.");
    options chosen;
    app.add_option("tracker", chosen.tracker, "http:// or udp:// URL of the tracker")->required();
    app.add_option("info-hash", chosen.hash, "the torrent, as 40 hexadecimal digits")->required();
    app.add_option("--port", chosen.port, "where we would listen for peers")->capture_default_str();
    auto* const ipv4 = app.add_flag("--ipv4", chosen.ipv4, "announce over IPv4");
    app.add_flag("--ipv6", chosen.ipv6, "announce over IPv6")->excludes(ipv4);
    app.add_flag("--scrape", chosen.scrape, "only ask how many seeders, leechers and downloads there are");
    return cohort::examples::run_program(argc, argv, app, chosen, &run);
}
