// What one can ask of a torrent, and what it says of itself.
#pragma once

#include <cstdint>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/ids.hpp>
#include <cohort/net/network.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/announcer.hpp>
#include <cohort/swarm/extensions.hpp>
#include <cohort/swarm/open_content.hpp>
#include <cohort/swarm/swarm.hpp>

namespace cohort {

struct torrent_options {
    open_options content;         ///< where it is, or is to be
    bool keep_journal = true;     ///< also once complete, so that a restart need not check again
    std::vector<endpoint> peers;  ///< to begin with
    /// For each file of the metainfo 0 (do not fetch) to 7 (first); files beyond its end have 4. A piece that belongs
    /// to several files has the highest of theirs, so a little of a file that is not fetched may come along.
    std::vector<std::uint8_t> file_priorities;
    swarm_options swarm;
    swarm_talk_maker chat;  ///< talk in the swarm, say swarm_chat({.name = "alice"}); without, there is none
    announcer_options announcing;
};

enum class torrent_state { checking, downloading, seeding, paused, failed, stopped };

struct torrent_status {
    torrent_state state = torrent_state::checking;
    std::uint64_t total = 0;       ///< bytes of the torrent
    std::uint64_t have = 0;        ///< bytes of verified pieces
    std::uint64_t downloaded = 0;  ///< bytes of blocks received
    std::uint64_t uploaded = 0;    ///< bytes of blocks sent
    std::uint64_t wasted = 0;      ///< of those received: duplicate, unasked for, or of failed pieces
    double download_rate = 0;      ///< bytes a second
    double upload_rate = 0;
    std::size_t peers = 0;
};

/// What a torrent needs of the session that owns it.
struct torrent_surroundings {
    network& net;
    disk& files;
    job_runner& pool;
    peer_id id;
    std::uint16_t port = 0;  ///< where the session listens
    std::vector<address_family> families;
};

}  // namespace cohort
