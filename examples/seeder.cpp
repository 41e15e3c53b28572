// Shares a file or folder for which there is a torrent.
#include <cohort/net/real_network.hpp>
#include <cohort/seeder.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/addresses.hpp"
#include "support/program.hpp"
#include "support/report.hpp"
#include "support/trace_file.hpp"

namespace {

struct flags {
    std::string torrent;
    std::string path;
    std::string host;
    std::uint16_t port = 6881;
    std::vector<std::string> peers;
    std::uint64_t upload_limit = 0;
    std::size_t max_peers = 200;
    bool super_seeding = false;
    bool json = false;
    std::string trace;
    cohort::examples::talk_flags chat;
};

asio::awaitable<int> seed(const flags& given) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network machine(executor);
    cohort::examples::maybe_traced traced(machine, given.trace, "seeder");
    cohort::network& net = traced.net();
    cohort::metainfo info = cohort::read_torrent(given.torrent);

    cohort::seeder_options options;
    options.path = given.path;
    options.addresses = co_await cohort::examples::resolve_host(net, given.host);
    options.port = given.port;
    for (const std::string& peer : given.peers) {
        const auto found = co_await cohort::examples::resolve_peer(net, peer);
        options.peers.insert(options.peers.end(), found.begin(), found.end());
    }
    options.upload_limit = given.upload_limit;
    options.max_peers = given.max_peers;
    options.super_seeding = given.super_seeding;
    options.chat = given.chat.maker();

    cohort::seeder seeder(net, std::move(info), options);
    cohort::examples::reporter report(net, seeder.torrent(), "seeder", given.json, given.chat.on);
    cohort::task_group both(executor);
    both.spawn(seeder.run());
    both.spawn(report.run(seeder.port()));
    co_await both.join();
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Shares the content of a torrent until it is interrupted. It is checked first and never written to.");
    flags given;
    cohort::examples::add_torrent_argument(app, given.torrent);
    app.add_option("path", given.path, "The file or folder that it was made from")
        ->required()
        ->option_text("PATH")
        ->check(cohort::examples::not_empty());
    app.add_option("--host", given.host, "Address to listen on; all by default")->option_text("A");
    app.add_option("--port", given.port, "Port to listen on, 0 for a free one; 6881 by default")->option_text("P");
    app.add_option("--peer", given.peers, "A peer to dial beside those of the trackers; may be repeated")
        ->option_text("HOST:PORT")
        ->expected(1)
        ->take_all();
    app.add_option("--upload-limit", given.upload_limit, "Bytes a second, 0 for none")->option_text("N");
    app.add_option("--max-peers", given.max_peers, "Peers at the same time, at most; 200 by default")
        ->option_text("N")
        ->check(CLI::Range(1, 1'000'000));
    app.add_flag("--super-seed", given.super_seeding,
                 "For what nobody else has: give each piece to one peer first, which gives it on (BEP 16)");
    cohort::examples::add_talk_flag(app, given.chat, "seeder");
    app.add_flag("--json", given.json, "Print one JSON line an event");
    cohort::examples::add_trace_flag(app, given.trace);
    return cohort::examples::run_program(argc, argv, app, given, seed);
}
