// A swarm in a simulated world: a tracker, seeders and leechers, each on a host and a disk of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/task_group.hpp>
#include <cohort/sim/disk.hpp>
#include <cohort/sim/world.hpp>
#include <cohort/swarm/session.hpp>

#include "support/sim_world.hpp"
#include "support/test_content.hpp"

namespace cohort::test {

class sim_swarm {
public:
    /// One node of the swarm. Its disk outlives its session.
    struct peer {
        sim::host* host = nullptr;
        std::shared_ptr<sim::medium> platters;
        std::unique_ptr<cohort::session> session;
        std::shared_ptr<cohort::torrent> torrent;
        std::unique_ptr<task_group> running;
    };

    sim_swarm(std::uint64_t seed_of_all, std::size_t size, std::uint32_t piece_length)
        : seed(seed_of_all), world(seed), bytes(random_bytes(size, seed)), info(info_of(bytes, piece_length)) {
        add_tracker();
    }

    /// Leechers and seeders that start from now on know it too.
    sim_tracker& add_tracker() { return *trackers.emplace_back(std::make_unique<sim_tracker>(world.add_host())); }
    sim::host& tracker_host() { return trackers.front()->host; }
    void start_tracker() { trackers.front()->start(); }
    asio::awaitable<void> stop_tracker() { return trackers.front()->stop(); }

    peer& add(bool has_all, const sim::access& at = {}) { return add_at(has_all, world.add_host(at)); }
    peer& add_at(bool has_all, sim::host& where) {
        peer& out = *peers.emplace_back(std::make_unique<peer>());
        out.host = &where;
        out.platters = std::make_shared<sim::medium>(seed + world.hosts().size());
        if (has_all) {
            sim::disk d(out.platters);
            d.create_directories({"/d", ""});
            d.open({"/d", info.name}, open_mode::create)->write_at(0, bytes);
        }
        start(out);
        return out;
    }

    /// Begins a life of the node, with what is on its disk.
    void start(peer& it) {
        sim::host& net = *it.host;
        session_options options;
        options.addresses = {net.address()};
        it.session = std::make_unique<session>(net, std::make_unique<sim::disk>(it.platters),
                                               std::make_unique<sim::jobs>(net.executor()), options);
        torrent_options how;
        how.content.path = "/d";
        for (const auto& one : trackers) how.announcing.more_trackers.push_back(one->url());
        how.swarm.download_limit = download_limit;
        it.torrent = it.session->add(info, how);
        it.running = std::make_unique<task_group>(net.executor());
        it.running->spawn(run_session(*it.session));
        it.running->spawn(watch(it, it.torrent));
    }

    /// Ends one, in good order.
    asio::awaitable<void> stop(peer& it) {
        if (!it.session) co_return;
        it.running->cancel();
        co_await it.running->join();
        it.torrent.reset();
        it.session.reset();
    }

    /// Ends all, whatever becomes of `main`.
    void run(asio::awaitable<void> main, duration limit = 1h) {
        std::exception_ptr failure;
        try {
            world.run(std::move(main), limit);
        } catch (...) {
            failure = std::current_exception();
        }
        world.run(end());
        check_nothing_left(world);
        if (failure) std::rethrow_exception(failure);
    }

    bool has_all(const peer& it) const {
        sim::disk d(it.platters);
        byte_vector out(bytes.size());
        const auto file = d.open({"/d", info.name}, open_mode::read);
        return file->read_at(0, out) == out.size() && out == bytes && file->size() == out.size();
    }

    const std::uint64_t seed;
    sim::world world;
    byte_vector bytes;
    metainfo info;
    std::uint64_t download_limit = 0;
    std::function<void(const peer&, const torrent_event&)> on_event;
    std::size_t failed_pieces = 0;
    std::size_t banned_peers = 0;
    std::vector<std::unique_ptr<peer>> peers;
    std::vector<std::unique_ptr<sim_tracker>> trackers;

private:
    static asio::awaitable<void> run_session(session& one) { co_await one.run(); }

    asio::awaitable<void> watch(const peer& it, std::shared_ptr<cohort::torrent> one) {
        for (;;) {
            const torrent_event what = co_await one->next_event();
            if (on_event) on_event(it, what);
            if (std::holds_alternative<event::piece_failed>(what)) ++failed_pieces;
            if (std::holds_alternative<event::peer_banned>(what)) ++banned_peers;
        }
    }

    asio::awaitable<void> end() {
        for (const auto& one : peers) co_await stop(*one);
        for (const auto& one : trackers) co_await one->stop();
    }
};

}  // namespace cohort::test
