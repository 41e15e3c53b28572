// Downloads a torrent into a folder, sharing it with others meanwhile.
#include <cohort/leecher.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/addresses.hpp"
#include "support/program.hpp"
#include "support/report.hpp"
#include "support/trace_file.hpp"

namespace {

struct flags {
    std::string torrent;
    std::string directory;
    std::string host;
    std::uint16_t port = 6881;
    std::vector<std::string> peers;
    bool seed = false;
    bool sequential = false;
    bool preallocate = false;
    bool json = false;
    std::string trace;
    cohort::examples::talk_flags chat;
    std::uint64_t download_limit = 0;
    std::uint64_t upload_limit = 0;
    std::size_t max_peers = 200;
};

asio::awaitable<int> leech(const flags& given) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network machine(executor);
    cohort::examples::maybe_traced traced(machine, given.trace, "leecher");
    cohort::network& net = traced.net();
    cohort::metainfo info = cohort::read_torrent(given.torrent);

    cohort::leecher_options options;
    options.directory = given.directory;
    options.addresses = co_await cohort::examples::resolve_host(net, given.host);
    options.port = given.port;
    for (const std::string& peer : given.peers) {
        const auto found = co_await cohort::examples::resolve_peer(net, peer);
        options.peers.insert(options.peers.end(), found.begin(), found.end());
    }
    options.seed = given.seed;
    options.sequential = given.sequential;
    options.preallocate = given.preallocate;
    options.download_limit = given.download_limit;
    options.upload_limit = given.upload_limit;
    options.max_peers = given.max_peers;
    options.chat = given.chat.maker();

    cohort::leecher leecher(net, std::move(info), options);
    cohort::examples::reporter report(net, leecher.torrent(), "leecher", given.json, given.chat.on);
    cohort::task_group both(executor);
    both.spawn(leecher.run());
    both.spawn(report.run(leecher.port()));
    co_await both.join();
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Downloads a torrent. Ends when all is there and verified; run again, it goes on where it stopped.");
    flags given;
    cohort::examples::add_torrent_argument(app, given.torrent);
    app.add_option("directory", given.directory, "Where its file or folder goes")
        ->required()
        ->option_text("DIR")
        ->check(cohort::examples::not_empty());
    app.add_option("--host", given.host, "Address to listen on; all by default")->option_text("A");
    app.add_option("--port", given.port, "Port to listen on, 0 for a free one; 6881 by default")->option_text("P");
    app.add_option("--peer", given.peers, "A peer beside those of the trackers; may be repeated")
        ->option_text("HOST:PORT")
        ->expected(1)
        ->take_all();
    app.add_flag("--seed", given.seed, "Stay and share when complete");
    app.add_flag("--sequential", given.sequential, "Fetch pieces in order");
    app.add_flag("--preallocate", given.preallocate, "Reserve the disk space at the start");
    app.add_option("--download-limit", given.download_limit, "Bytes a second, 0 for none")->option_text("N");
    app.add_option("--upload-limit", given.upload_limit, "Bytes a second, 0 for none")->option_text("N");
    app.add_option("--max-peers", given.max_peers, "Peers at the same time, at most; 200 by default")
        ->option_text("N")
        ->check(CLI::Range(1, 1'000'000));
    cohort::examples::add_talk_flag(app, given.chat, "leecher");
    app.add_flag("--json", given.json, "Print one JSON line an event");
    cohort::examples::add_trace_flag(app, given.trace);
    return cohort::examples::run_program(argc, argv, app, given, leech);
}
