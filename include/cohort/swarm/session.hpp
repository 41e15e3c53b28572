// Several torrents behind one port.
#pragma once

#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/listen_all.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/protocol/client.hpp>
#include <cohort/storage/real_disk.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/torrent.hpp>

namespace cohort {

struct session_options {
    std::vector<ip_address> addresses = all_addresses();  ///< to listen on
    std::uint16_t port = 6881;                            ///< 0 takes a free one
    std::uint32_t threads = 1;                            ///< for disk and hashing
    std::size_t max_handshakes = 100;                     ///< accepted connections that are not introduced yet
};

/// Owns the listening sockets, the threads for disk and hashing, and the torrents. One thread only; `net` outlives it.
class session {
public:
    /// Listens at once. Throws the system's error with the address in its message.
    explicit session(network& net, session_options options = {})
        : session(net, std::make_unique<real_disk>(), std::make_unique<worker_pool>(std::max(1u, options.threads)),
                  options) {}

    /// With another disk and another way to run jobs: the simulated ones.
    session(network& net, std::unique_ptr<disk> files, std::unique_ptr<job_runner> pool, session_options options)
        : net_(net),
          options_(std::move(options)),
          id_(make_peer_id(net.random())),
          files_(std::move(files)),
          listeners_(listen_all(net, options_.addresses, options_.port)),
          pool_(std::move(pool)),
          tasks_(net.executor()) {}

    std::uint16_t port() const { return listeners_.empty() ? 0 : listeners_.front()->local_endpoint().port; }
    const peer_id& id() const { return id_; }

    /// Begins with a torrent, which runs from now on; but nobody who dials is let in before run(). Throws
    /// errc::duplicate_torrent if the session has it.
    std::shared_ptr<torrent> add(metainfo info, torrent_options options);

    /// The torrent with that info-hash, or null.
    std::shared_ptr<torrent> find(const info_hash& hash) const {
        const auto found = torrents_.find(hash);
        return found == torrents_.end() ? nullptr : found->second;
    }

    /// Stops a torrent and lets go of it. Completes when nothing of it runs any more.
    asio::awaitable<void> remove(info_hash hash);

    /// Accepts peers and runs the torrents until stop() or cancellation; both stop every torrent in good order before
    /// it completes. Throws what the session itself cannot get over; a torrent's failure is the torrent's own.
    asio::awaitable<void> run();

    /// Makes run() end. Completes when every torrent has stopped.
    asio::awaitable<void> stop();

private:
    static constexpr std::size_t most_of_a_network = 8;  ///< newcomers at the same time

    asio::awaitable<void> accept_loop(listener& from);
    void receive(std::unique_ptr<stream> link);
    asio::awaitable<void> greet(std::unique_ptr<stream> link);
    asio::awaitable<void> run_torrent(std::shared_ptr<torrent> one) { co_await one->run(); }
    asio::awaitable<void> stop_torrent(std::shared_ptr<torrent> one) { co_await one->stop(); }
    std::vector<address_family> families() const;

    network& net_;
    session_options options_;
    peer_id id_;
    std::unique_ptr<disk> files_;
    std::vector<std::unique_ptr<listener>> listeners_;
    std::map<info_hash, std::shared_ptr<torrent>> torrents_;
    std::multiset<ip_address> newcomers_;  // networks of those accepted, and not introduced yet
    std::unique_ptr<job_runner> pool_;     // its jobs use the torrents: it ends before them
    task_group tasks_;
};

inline std::shared_ptr<torrent> session::add(metainfo info, torrent_options options) {
    const info_hash hash = info.hash;
    if (torrents_.contains(hash)) raise(errc::duplicate_torrent, info.name);
    const torrent_surroundings around{net_, *files_, *pool_, id_, port(), families()};
    const auto added = std::make_shared<torrent>(around, std::move(info), std::move(options));
    torrents_.emplace(hash, added);
    try {
        tasks_.admit(run_torrent(added));
    } catch (...) {
        torrents_.erase(hash);
        throw;
    }
    return added;
}

inline asio::awaitable<void> session::remove(info_hash hash) {
    const std::shared_ptr<torrent> gone = find(hash);
    if (!gone) co_return;
    co_await gone->stop();
    torrents_.erase(hash);
}

inline asio::awaitable<void> session::run() {
    for (const auto& from : listeners_) tasks_.spawn(accept_loop(*from));
    co_await tasks_.join();
}

inline asio::awaitable<void> session::stop() {
    for (const auto& from : listeners_) from->close();
    task_group stopping(net_.executor());
    for (const auto& [hash, one] : torrents_) stopping.spawn(stop_torrent(one));
    co_await stopping.join();
    tasks_.cancel();
}

inline asio::awaitable<void> session::accept_loop(listener& from) {
    for (;;) {
        std::unique_ptr<stream> link = co_await from.accept();
        try {
            receive(std::move(link));
        } catch (const std::bad_alloc&) {
            // That one finds its connection closed, and may come again.
        }
    }
}

inline void session::receive(std::unique_ptr<stream> link) {
    // Beyond that somebody is flooding us: the newest goes, so that those who came first can finish. And nobody may
    // take all places alone; but this machine may talk to itself.
    const ip_address address = link->remote_endpoint().address;
    const bool crowded = !address.is_loopback() && newcomers_.count(address.network()) >= most_of_a_network;
    if (crowded || newcomers_.size() >= options_.max_handshakes) return;
    const auto place = newcomers_.insert(address.network());
    try {
        tasks_.admit(greet(std::move(link)));
    } catch (...) {
        newcomers_.erase(place);
        throw;
    }
}

/// Finds out which torrent a newcomer wants. Whatever it does wrong, the connection is closed and nothing is said.
inline asio::awaitable<void> session::greet(std::unique_ptr<stream> link) {
    const endpoint from = link->remote_endpoint();
    try {
        auto connection = std::make_unique<peer_connection>(net_, std::move(link));
        const peer_connection::handshake_answer answer = [this, from](const info_hash& hash) {
            const std::shared_ptr<torrent> wanted = find(hash);
            return wanted ? wanted->greeting(from) : std::nullopt;
        };
        const handshake theirs = co_await connection->handshake_as_listener(answer);
        if (const std::shared_ptr<torrent> wanted = find(theirs.hash)) wanted->adopt(std::move(connection), theirs);
    } catch (...) {
        caught_error();  // Nobody waits for this connection but the stranger who made it.
    }
    newcomers_.erase(newcomers_.find(from.address.network()));
}

inline std::vector<address_family> session::families() const {
    std::vector<address_family> out;
    for (const auto& from : listeners_) {
        const address_family family = from->local_endpoint().address.is_v6() ? address_family::v6 : address_family::v4;
        if (std::find(out.begin(), out.end(), family) == out.end()) out.push_back(family);
    }
    return out;
}

}  // namespace cohort
