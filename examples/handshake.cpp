// Lesson 2: say hello to a peer, and see what it says about itself.
#include <cstdio>
#include <string>

#include <cohort/net/peer_connection.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/protocol/client.hpp>
#include <cohort/protocol/extension.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/addresses.hpp"
#include "support/program.hpp"

namespace {

struct flags {
    std::string torrent;
    std::string peer;
};

asio::awaitable<int> say_hello(const flags& given) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network net(executor);
    const cohort::metainfo info = cohort::read_torrent(given.torrent);

    // The connection is a stream of bytes; peer_connection gives them their meaning.
    auto link = co_await cohort::examples::connect_peer(net, given.peer, std::chrono::seconds(10));
    cohort::peer_connection peer(net, std::move(link));

    cohort::handshake ours;
    ours.hash = info.hash;
    ours.id = cohort::make_peer_id(net.random());
    ours.fast = true;
    ours.extension_protocol = true;
    const cohort::handshake theirs = co_await peer.handshake_as_dialler(ours);
    peer.begin(info.layout(), theirs.fast);
    std::printf("peer id    %s\n", cohort::examples::printable(cohort::as_text(theirs.id.view())).c_str());
    std::printf("speaks     BEP 3%s%s\n", theirs.fast ? ", Fast (BEP 6)" : "",
                theirs.extension_protocol ? ", extensions (BEP 10)" : "");

    // What follows the handshake: the peer's extension handshake, and the pieces that it has.
    const cohort::message_batch batch = co_await cohort::with_timeout(net, std::chrono::seconds(10), peer.receive());
    for (const cohort::wire::message& message : batch.messages) {
        if (const std::error_code violation = peer.state().apply(message)) cohort::raise(violation);
        const auto* const extended = std::get_if<cohort::wire::extended>(&message);
        if (extended == nullptr || extended->id != 0) continue;
        std::error_code broken;
        const auto more = cohort::parse_extension_handshake(extended->payload, broken);
        if (more) std::printf("client     %s\n", cohort::examples::printable(more->v).c_str());
    }
    std::printf("has        %u of %u pieces\n", peer.state().has.count(), peer.state().has.size());
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Exchanges handshakes with a peer and shows what it says about itself.");
    flags given;
    cohort::examples::add_torrent_argument(app, given.torrent);
    app.add_option("peer", given.peer, "The peer's address")->required()->option_text("HOST:PORT");
    return cohort::examples::run_program(argc, argv, app, given, say_hello);
}
