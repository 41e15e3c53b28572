// What a chat node is told when it is made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <cohort/chat/links.hpp>
#include <cohort/chat/rooms.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/protocol/noise_identity.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/worker_pool.hpp>

namespace cohort {

struct chat_options {
    std::string name;                                     ///< how others call us: is_user_name()
    std::string home;                                     ///< a folder of this person's own; made if it is missing
    std::string tracker = {};                             ///< an http URL; empty: only those who dial us are met
    std::vector<ip_address> addresses = all_addresses();  ///< to listen on
    std::uint16_t port = 0;                               ///< 0 takes a free one
    std::string host = {};                                ///< how others reach us; empty: as the tracker sees us
    duration heartbeat = 30s;                             ///< to the tracker
    bool accept_files = false;                            ///< every file that is offered, without asking
    chat::links_options linking = {};                     ///< its greeting is filled in here
    chat::rooms_options meeting = {};                     ///< its name, tracker and port are filled in here
    std::optional<secret32> seed = {};                    ///< who we are; none: the home's file `identity` says it
    disk* storage = nullptr;                              ///< of home; null: this machine's. Outlives the node
    job_runner* pool = nullptr;                           ///< for that disk; null: a thread of its own. Outlives it too
};

}  // namespace cohort
