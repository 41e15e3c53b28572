// Lesson 3: ask a peer for one piece, block by block, and check it.
#include <cstdio>
#include <string>

#include <cohort/core/hash.hpp>
#include <cohort/net/beside.hpp>
#include <cohort/net/peer_connection.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/protocol/client.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/addresses.hpp"
#include "support/program.hpp"

namespace {

struct flags {
    std::string torrent;
    std::string peer;
    std::uint32_t piece = 0;
};

asio::awaitable<void> fetch_piece(cohort::peer_connection& peer, const cohort::metainfo& info, std::uint32_t piece) {
    // A peer gives nothing before it unchokes us, and unchokes only who is interested (BEP 3).
    peer.queue(cohort::wire::interested{});
    while (peer.state().peer_choking) co_await peer.next_event();

    const cohort::piece_layout layout = info.layout();
    cohort::sha1 hash;
    for (std::uint32_t number = 0; number < layout.blocks_in(piece); ++number) {
        const cohort::block wanted = layout.block_at(piece, number);
        const cohort::block_data got = co_await peer.request(wanted);
        hash.update(got.bytes);
        std::printf("block %u: %u bytes from %u\n", number, got.range.length, got.range.begin);
    }
    const bool right = hash.finish() == info.piece_hashes[piece];
    std::printf("piece %u %s its hash\n", piece, right ? "matches" : "does not match");
    if (!right) cohort::raise(cohort::errc::hash_mismatch);
}

asio::awaitable<int> ask(const flags& given) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network net(executor);
    const cohort::metainfo info = cohort::read_torrent(given.torrent);
    const std::uint32_t pieces = info.layout().piece_count();
    if (given.piece >= pieces)
        throw cohort::examples::usage_error("--piece: the last is " + std::to_string(pieces - 1));

    auto link = co_await cohort::examples::connect_peer(net, given.peer, std::chrono::seconds(10));
    cohort::peer_connection peer(net, std::move(link));
    cohort::handshake ours;
    ours.hash = info.hash;
    ours.id = cohort::make_peer_id(net.random());
    co_await peer.handshake_as_dialler(ours);
    peer.begin(info.layout(), false);

    // run() reads and writes for as long as fetch_piece() needs it.
    const auto limit = std::chrono::seconds(60);
    co_await cohort::with_timeout(net, limit, cohort::beside(peer.run(), fetch_piece(peer, info, given.piece)));
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Fetches one piece from a peer and checks it against the torrent's hash.");
    flags given;
    cohort::examples::add_torrent_argument(app, given.torrent);
    app.add_option("peer", given.peer, "The peer's address")->required()->option_text("HOST:PORT");
    app.add_option("--piece", given.piece, "Which piece; the first by default")->option_text("N");
    return cohort::examples::run_program(argc, argv, app, given, ask);
}
