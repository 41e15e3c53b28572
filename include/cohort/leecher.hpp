// The role of a leecher: downloads one torrent, gives to others while it does, and after that if asked to.
#pragma once

#include <cstdint>

#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/net/network.hpp>

#include <cohort/protocol/metainfo.hpp>
#include <cohort/swarm/run_session.hpp>
#include <cohort/swarm/session.hpp>

namespace cohort {

struct leecher_options {
    std::string directory = ".";                          ///< the torrent's file or folder comes into it
    std::vector<ip_address> addresses = all_addresses();  ///< to listen on
    std::uint16_t port = 6881;                            ///< 0 takes a free one
    std::vector<endpoint> peers = {};                     ///< beside those of the trackers
    std::vector<std::string> trackers = {};               ///< beside the torrent's own
    bool seed = false;                                    ///< stay when complete
    bool sequential = false;                              ///< pieces in order, for watching while it loads
    bool preallocate = false;                             ///< reserve the disk space at the start
    std::uint64_t download_limit = 0;                     ///< bytes a second; 0: none
    std::uint64_t upload_limit = 0;                       ///< bytes a second; 0: none
    std::size_t max_peers = 200;                          ///< connected at the same time
    swarm_talk_maker chat = {};                           ///< talk with the peers: see swarm/swarm_chat.hpp
};

/// Listens from the start; the transfer goes while run() does.
///
///     cohort::leecher leecher(net, info, {.directory = "downloads"});
///     co_await leecher.run();
class leecher {
public:
    /// Throws the system's error if it cannot listen.
    leecher(network& net, metainfo info, leecher_options options)
        : seed_(options.seed),
          session_(net, {.addresses = options.addresses, .port = options.port}),
          torrent_(session_.add(std::move(info), torrent_options_of(options))) {}

    std::uint16_t port() const { return session_.port(); }
    /// For events, figures and peers.
    cohort::torrent& torrent() { return *torrent_; }

    /// Completes when all is there, verified, and would survive a loss of power; with `seed` it goes on. Throws the
    /// disk's error if that stops the torrent, or if at the end the files cannot be brought to safety: what is verified
    /// stays, and the next run goes on from there. Cancelling leaves the swarm in good order.
    asio::awaitable<void> run() {
        asio::awaitable<void> purpose = seed_ ? torrent_->ended() : torrent_->completed();
        co_await run_session(session_, std::move(purpose));
        if (torrent_->failure()) throw std::system_error(*torrent_->failure());
    }

private:
    static torrent_options torrent_options_of(const leecher_options& options) {
        torrent_options out;
        out.content.path = options.directory;
        out.content.preallocate = options.preallocate;
        out.keep_journal = options.seed;
        out.peers = options.peers;
        out.swarm.picking.sequential = options.sequential;
        out.swarm.download_limit = options.download_limit;
        out.swarm.uploading.rate_limit = options.upload_limit;
        out.swarm.max_peers = options.max_peers;
        out.announcing.more_trackers = options.trackers;
        out.chat = options.chat;
        return out;
    }

    bool seed_;
    session session_;
    std::shared_ptr<cohort::torrent> torrent_;
};

}  // namespace cohort
