// The role of a seeder: gives one torrent's content, which it never writes to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/swarm/run_session.hpp>
#include <cohort/swarm/session.hpp>

namespace cohort {

struct seeder_options {
    std::string path;                                     ///< the file or folder that the torrent was made from
    std::vector<ip_address> addresses = all_addresses();  ///< to listen on
    std::uint16_t port = 6881;                            ///< 0 takes a free one
    std::vector<endpoint> peers = {};                     ///< to dial, beside those of the trackers
    std::vector<std::string> trackers = {};               ///< beside the torrent's own
    std::uint64_t upload_limit = 0;                       ///< bytes a second; 0: none
    std::size_t max_peers = 200;                          ///< connected at the same time
    bool super_seeding = false;                           ///< tell peers little, so that they share (BEP 16)
    swarm_talk_maker chat = {};                           ///< talk with the peers: see swarm/swarm_chat.hpp
};

/// Listens from the start; the content is checked, and then given, while run() goes.
///
///     cohort::seeder seeder(net, info, {.path = "holiday"});
///     co_await seeder.run();
class seeder {
public:
    /// Throws the system's error if it cannot listen.
    seeder(network& net, metainfo info, seeder_options options)
        : session_(net, {.addresses = options.addresses, .port = options.port}),
          torrent_(session_.add(std::move(info), torrent_options_of(options))) {}

    std::uint16_t port() const { return session_.port(); }
    /// For events, figures and peers.
    cohort::torrent& torrent() { return *torrent_; }

    /// Seeds until cancelled, then leaves the swarm in good order. Throws errc::file_missing, errc::hash_mismatch or
    /// errc::file_changed, with the path, if the content is not, or no longer, what the torrent says.
    asio::awaitable<void> run() { return run_session(session_, torrent_->ended()); }

private:
    static torrent_options torrent_options_of(const seeder_options& options) {
        torrent_options out;
        out.content.path = options.path;
        out.content.place = content_place::itself;
        out.content.read_only = true;
        out.peers = options.peers;
        out.swarm.uploading.rate_limit = options.upload_limit;
        out.swarm.max_peers = options.max_peers;
        out.swarm.super_seeding = options.super_seeding;
        out.announcing.more_trackers = options.trackers;
        out.chat = options.chat;
        return out;
    }

    session session_;
    std::shared_ptr<cohort::torrent> torrent_;
};

}  // namespace cohort
