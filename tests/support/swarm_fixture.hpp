// A world for tests of the engine: content, torrents, sessions and scripted peers in one process, over loopback.
#pragma once

#include <algorithm>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/task_group.hpp>
#include <cohort/sim/world.hpp>
#include <cohort/storage/make_torrent.hpp>
#include <cohort/storage/real_disk.hpp>
#include <cohort/swarm/session.hpp>

#include <doctest/doctest.h>

#include "support/eventually.hpp"
#include "support/placed_network.hpp"
#include "support/run.hpp"
#include "support/scripted_peer.hpp"
#include "support/shifting_network.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace cohort::test {

/// Content on the disk and the torrent made of it.
struct shared_content {
    std::string path;
    metainfo info;
    byte_vector bytes;  ///< of all files, in the torrent's order

    serving honest() const { return {.content = &bytes, .piece_length = info.piece_length}; }
    std::size_t blocks() const { return (bytes.size() + block_size - 1) / block_size; }
};

/// Everything that a torrent told, and the wait for what it is to tell.
class event_log {
public:
    event_log(network& clock, std::shared_ptr<torrent> of) : clock_(clock), of_(std::move(of)) {}

    /// Completes with the next event of this kind; keeps those before it in `seen`, and that one too.
    template <class Event>
    asio::awaitable<Event> until() {
        return with_timeout(clock_, patience, search<Event>());
    }

    template <class Event>
    std::vector<Event> all() const {
        std::vector<Event> out;
        for (const torrent_event& one : seen)
            if (const auto* const wanted = std::get_if<Event>(&one)) out.push_back(*wanted);
        return out;
    }

    std::vector<torrent_event> seen;

private:
    template <class Event>
    asio::awaitable<Event> search() {
        for (;;) {
            const torrent_event one = co_await of_->next_event();
            seen.push_back(one);
            if (const auto* const wanted = std::get_if<Event>(&one)) co_return *wanted;
        }
    }

    network& clock_;
    std::shared_ptr<torrent> of_;
};

/// The engine lives in `net`, whose clock a test may put forward; a test's own deadlines go by `real`. What was started
/// ends with the fixture, whatever became of the test.
class swarm_fixture {
public:
    explicit swarm_fixture(network& machine, bool simulated = false)
        : real(machine), net(machine), background(machine.executor()), simulated_(simulated) {}

    /// Random files below `name`, or one file called so; the same for the same seed.
    shared_content make_content(const std::string& name, const std::vector<std::pair<std::string, std::size_t>>& files,
                                std::uint32_t piece_length = 64 * 1024, std::uint64_t seed = 1) {
        shared_content out;
        const std::filesystem::path root = directory / "originals" / name;
        out.path = root.string();
        for (const auto& [below, size] : files) {
            write_file(below.empty() ? root : root / below, random_bytes(size, seed++));
        }
        real_disk files_on_disk;
        worker_pool pool(1);
        make_torrent_options options;
        options.piece_length = piece_length;
        out.info = *make_torrent(files_on_disk, out.path, pool, options);
        torrent_files_options how;
        how.place = content_place::itself;
        how.read_only = true;
        torrent_files all(files_on_disk, out.info.files, out.info.layout(), out.path, how);
        out.bytes.resize(out.info.total_size);
        all.read(0, out.bytes);
        return out;
    }
    shared_content make_content(std::size_t size, std::uint32_t piece_length = 64 * 1024, std::uint64_t seed = 1) {
        return make_content("content-" + std::to_string(seed), {{"", size}}, piece_length, seed);
    }

    /// A session that listens on loopback and runs.
    session& start() { return start(std::make_unique<real_disk>()); }
    session& start(std::unique_ptr<disk> files) { return start(net, std::move(files)); }
    session& start(network& of, std::unique_ptr<disk> files, ip_address at = ip_address::loopback_v4()) {
        session_options options;
        options.addresses = {at};
        options.port = 0;
        std::unique_ptr<job_runner> pool;
        if (simulated_) {
            pool = std::make_unique<sim::jobs>(of.executor());
        } else {
            pool = std::make_unique<worker_pool>(2);
        }
        sessions_.push_back(std::make_unique<session>(of, std::move(files), std::move(pool), options));
        background.spawn(sessions_.back()->run());
        return *sessions_.back();
    }

    /// The host 10.0.0.`number`.
    placed_network& host(std::uint8_t number) {
        std::unique_ptr<placed_network>& out = hosts_[number];
        if (!out) out = std::make_unique<placed_network>(net, number);
        return *out;
    }

    static endpoint address_of(const session& s) { return {ip_address::loopback_v4(), s.port()}; }

    /// To give the original.
    static torrent_options seeding(const shared_content& content) {
        torrent_options out;
        out.content.path = content.path;
        out.content.place = content_place::itself;
        out.content.read_only = true;
        return out;
    }
    /// To download into a directory of this name.
    torrent_options leeching(const std::string& name, std::vector<endpoint> peers = {}) const {
        torrent_options out;
        out.content.path = (directory / name).string();
        out.peers = std::move(peers);
        return out;
    }

    /// What the directory of this name has of the torrent; nothing if a file is missing or too short.
    byte_vector copy_of(const shared_content& content, const std::string& name) const {
        real_disk files;
        torrent_files copy(files, content.info.files, content.info.layout(), (directory / name).string());
        byte_vector bytes(content.bytes.size());
        if (!copy.try_read(0, bytes)) bytes.clear();
        return bytes;
    }
    bool is_copy(const shared_content& content, const std::string& name) const {
        return copy_of(content, name) == content.bytes;
    }

    event_log log(const std::shared_ptr<torrent>& of) { return event_log(real, of); }

    /// Completes when the torrent has all.
    asio::awaitable<void> completed(std::shared_ptr<torrent> of) {
        return with_timeout(real, patience, of->completed());
    }

    /// Completes with a peer that has dialled the session and exchanged handshakes.
    asio::awaitable<std::shared_ptr<scripted_peer>> join(endpoint at, info_hash hash, std::string_view name) {
        std::shared_ptr<scripted_peer> out = co_await dial_as_peer(real, at);
        const handshake ours = greeting_of(hash, name);
        co_await out->greet(ours);
        co_return out;
    }

    /// Lets the peer serve beside the test. What `how` refers to need not outlive the test's body.
    void serve(const std::shared_ptr<scripted_peer>& peer, serving how) {
        serving_.push_back(peer);
        background.spawn(serve_alone(peer, std::move(how)));
    }
    /// A peer that has everything, dials, and serves.
    asio::awaitable<std::shared_ptr<scripted_peer>> source(endpoint at, const shared_content& content,
                                                           std::string_view name, serving how) {
        return source_of_first(content.info.layout().piece_count(), at, content, name, std::move(how));
    }
    /// One that has the first `pieces`.
    asio::awaitable<std::shared_ptr<scripted_peer>> source_of_first(piece_index pieces, endpoint at,
                                                                    const shared_content& content,
                                                                    std::string_view name, serving how) {
        auto out = co_await join(at, content.info.hash, name);
        bitfield has(content.info.layout().piece_count());
        for (piece_index piece = 0; piece < pieces; ++piece) has.set(piece);
        out->say(wire::bitfield{has.bytes()});
        co_await out->flush();
        serve(out, std::move(how));
        co_return out;
    }

    /// eventually(), in virtual time where that is simulated: it stands still while anybody has a turn.
    template <class Condition>
    asio::awaitable<void> eventually(Condition holds) {
        while (simulated_ && !holds()) co_await real.sleep_for(1ms);
        co_await test::eventually(real, holds);
    }
    /// So many turns of the executor, or what corresponds to them in virtual time.
    asio::awaitable<void> take_turns(int count) {
        return simulated_ ? real.sleep_for(count * 1ms) : test::take_turns(real, count);
    }

    /// Ends all that was started. For run_swarm().
    asio::awaitable<void> end() {
        for (const auto& peer : serving_) peer->close();
        for (const auto& one : sessions_) co_await with_timeout(real, patience, one->stop());
        background.cancel();
        co_await background.join();
    }

    network& real;
    shifting_network net;
    temp_dir directory;
    task_group background;

private:
    static asio::awaitable<void> serve_alone(std::shared_ptr<scripted_peer> peer, serving how) {
        co_await peer->serve(std::move(how));
    }

    bool simulated_;  // then no thread works while virtual time goes on
    std::map<std::uint8_t, std::unique_ptr<placed_network>> hosts_;
    std::vector<std::unique_ptr<session>> sessions_;
    std::vector<std::shared_ptr<scripted_peer>> serving_;
};

using swarm_test = asio::awaitable<void> (*)(swarm_fixture&);

inline asio::awaitable<void> run_in_fixture(network& machine, swarm_test body, bool simulated) {
    swarm_fixture world(machine, simulated);
    std::exception_ptr failure;
    try {
        co_await body(world);
    } catch (...) {
        failure = std::current_exception();
    }
    co_await world.end();
    if (failure) std::rethrow_exception(failure);
}

/// Runs one test in a world of its own.
inline void run_swarm(swarm_test body) {
    const auto start = [body](network& machine) { return run_in_fixture(machine, body, false); };
    run(start, 2 * patience);
}

/// The same on a simulated host, in virtual time.
inline void run_swarm_simulated(swarm_test body) {
    sim::world world(1);
    sim::host& machine = world.add_host();
    world.run(run_in_fixture(machine, body, true));
    world.run(machine.sleep_for(1h));
    CHECK(world.time().idle());
    CHECK(machine.is_quiet());
}

/// Over real sockets, and in the simulation.
inline void run_swarm_everywhere(swarm_test body) {
    SUBCASE("over sockets") { run_swarm(body); }
    SUBCASE("in the simulation") { run_swarm_simulated(body); }
}

}  // namespace cohort::test
