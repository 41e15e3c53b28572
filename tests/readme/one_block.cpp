// The small steps of README.md: each is one co_await, and each can be used alone.
#include <cstdio>

#include <cohort/net/beside.hpp>
#include <cohort/net/peer_connection.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/net/tracker_client.hpp>
#include <cohort/protocol/client.hpp>
#include <cohort/storage/torrent_file.hpp>

using namespace std::chrono_literals;

asio::awaitable<void> first_block(cohort::peer_connection& peer, cohort::piece_layout layout) {
    peer.queue(cohort::wire::interested{});
    while (peer.state().peer_choking) co_await peer.next_event();
    const cohort::block wanted = layout.block_at(0, 0);
    const cohort::block_data got = co_await peer.request(wanted);
    std::printf("got %zu bytes\n", got.bytes.size());
}

asio::awaitable<void> ask_the_swarm(cohort::network& net, cohort::metainfo info) {
    cohort::announce_request ask;
    ask.hash = info.hash;
    ask.id = cohort::make_peer_id(net.random());
    ask.port = 6881;
    ask.left = info.total_size;
    ask.event = cohort::announce_event::started;
    const auto answer = co_await cohort::announce(net, info.trackers.at(0).at(0), ask);

    auto link = co_await cohort::with_timeout(net, 10s, net.connect(answer.peers.at(0)));
    cohort::peer_connection peer(net, std::move(link));
    cohort::handshake ours;
    ours.hash = info.hash;
    ours.id = ask.id;
    co_await peer.handshake_as_dialler(ours);
    peer.begin(info.layout(), false);

    co_await cohort::with_timeout(net, 60s, cohort::beside(peer.run(), first_block(peer, info.layout())));
}

int main(int argc, char** argv) {
    asio::io_context io;
    cohort::real_network net(io.get_executor());
    asio::co_spawn(io, ask_the_swarm(net, cohort::read_torrent(argc > 1 ? argv[1] : "some.torrent")),
                   [](std::exception_ptr failure) {
                       if (failure) std::rethrow_exception(failure);
                   });
    io.run();
}
