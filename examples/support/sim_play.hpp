// Plays a swarm in a simulated world, and keeps what a report wants to show.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/hash.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/traced_network.hpp>
#include <cohort/protocol/metainfo_write.hpp>
#include <cohort/sim/shared_disk.hpp>
#include <cohort/sim/world.hpp>
#include <cohort/swarm/session.hpp>
#include <cohort/tracker.hpp>

namespace cohort::examples {

enum class piece_order { rarest_first, random, sequential };
enum class choking { tit_for_tat, everybody };

struct play_options {
    std::size_t peers = 100;
    std::size_t seeders = 1;
    std::uint32_t pieces = 200;
    std::uint32_t piece_length = 4096;  ///< little: what a lesson looks at are pieces, and bytes cost time
    std::uint64_t up = 62'500;          ///< bytes a second, of each peer
    std::uint64_t down = 500'000;
    std::uint64_t seeder_up = 62'500;
    double latency_ms = 20;
    double loss = 0;
    double arrivals = 0;           ///< seconds over which the leechers come
    std::size_t connections = 20;  ///< of each peer, at most
    piece_order order = piece_order::rarest_first;
    choking choke = choking::tit_for_tat;
    double free_riders = 0;      ///< part of the leechers that gives nothing
    bool leave = false;          ///< leechers go when they are complete
    bool seeders_leave = false;  ///< as soon as every piece was given once
    bool super_seed = false;     ///< seeders tell of each piece to one peer first
    std::uint64_t seed = 1;
    duration limit = std::chrono::hours(24);
    trace_sink trace{};  ///< what the first leecher says and hears
};

/// What became of one peer.
struct peer_story {
    enum class part { seeder, leecher, free_rider } plays = part::leecher;
    double joined = 0;                ///< seconds
    std::optional<double> completed;  ///< seconds; nothing for seeders and who did not get there
    std::uint64_t given = 0, taken = 0;
    std::uint32_t pieces = 0;
};

/// The swarm at one moment.
struct moment {
    double at = 0;
    std::vector<std::uint32_t> progress;  ///< of the leechers, in pieces, sorted
    std::vector<std::uint32_t> copies;    ///< of each piece, in the whole swarm
};

/// One leecher's relations in one choking round.
struct choke_round {
    double at = 0;
    std::map<std::size_t, std::pair<bool, bool>> with;  ///< peer: do we give to it, does it give to us
};

struct play {
    play_options options;
    std::vector<peer_story> peers;
    std::vector<moment> moments;
    std::size_t watched = 0;
    std::vector<choke_round> rounds;
    std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> fed;  ///< from, to: bytes
    double lasted = 0;                                                 ///< seconds of the swarm's time
    double computed = 0;                                               ///< seconds of ours
    bool all_complete = false;
};

/// One swarm. Everything happens in run().
class swarm_play {
public:
    explicit swarm_play(const play_options& options) : world_(options.seed), copies_(options.pieces) {
        out_.options = options;
        auto bytes = std::make_shared<byte_vector>(std::size_t{options.pieces} * options.piece_length);
        random_engine(options.seed).fill(*bytes);
        content_ = std::move(bytes);
        make_info();
    }

    play run() {
        const auto begun = std::chrono::steady_clock::now();
        begin_ = world_.time().now();
        try {
            world_.run(whole(), out_.options.limit);
            out_.all_complete = true;
        } catch (const std::runtime_error&) {
            // Nobody has what some lack: that is a result too.
        }
        settle();
        world_.run(end());
        out_.computed = to_seconds(std::chrono::steady_clock::now() - begun);
        return std::move(out_);
    }

private:
    struct node {
        sim::host* host = nullptr;
        std::unique_ptr<traced_network> traced;
        std::unique_ptr<cohort::session> session;
        std::shared_ptr<cohort::torrent> torrent;
        std::unique_ptr<task_group> running;
        bitfield has;
    };

    double now() { return to_seconds(world_.time().now() - begin_); }
    bool seeds(std::size_t who) const { return who < out_.options.seeders; }
    void make_info();
    void begin_tracker();
    void add_node();
    void start(std::size_t who);
    torrent_options torrent_options_of(std::size_t who) const;
    asio::awaitable<void> track() { co_await tracker_->run(); }
    asio::awaitable<void> live(std::size_t who) { co_await nodes_[who]->session->run(); }
    asio::awaitable<void> whole();
    asio::awaitable<void> leech(std::size_t who, double at);
    asio::awaitable<void> note(std::size_t who);
    moment moment_now();
    asio::awaitable<void> sample_loop();
    asio::awaitable<void> round_loop();
    asio::awaitable<void> end();
    void settle();

    sim::world world_;
    std::shared_ptr<const byte_vector> content_;
    metainfo info_;
    play out_;
    time_point begin_{};
    std::unique_ptr<tracker> tracker_;
    std::unique_ptr<task_group> tracking_;
    std::vector<std::unique_ptr<node>> nodes_;
    std::map<ip_address, std::size_t> who_is_;
    std::vector<std::uint32_t> copies_;
};

inline void swarm_play::make_info() {
    torrent_draft draft;
    draft.name = "content";
    draft.piece_length = out_.options.piece_length;
    draft.files.push_back({{}, content_->size()});
    const piece_layout layout(content_->size(), draft.piece_length);
    for (piece_index piece = 0; piece < layout.piece_count(); ++piece) {
        const byte_view bytes = byte_view(*content_).subspan(layout.offset(piece), layout.piece_size(piece));
        draft.piece_hashes.push_back(sha1_of(bytes));
    }
    info_ = metainfo_of(draft);
}

inline void swarm_play::begin_tracker() {
    sim::host& here = world_.add_host();
    tracker_options how;
    how.host = here.address().to_string();
    how.interval = std::chrono::seconds(300);
    tracker_ = std::make_unique<tracker>(here, std::move(how));
    info_.trackers = {{"http://" + here.address().to_string() + ":6969/announce"}};
    tracking_ = std::make_unique<task_group>(here.executor());
    tracking_->spawn(track());
}

inline void swarm_play::add_node() {
    const play_options& options = out_.options;
    const std::size_t who = nodes_.size();
    sim::access line;
    line.latency = std::chrono::duration_cast<duration>(std::chrono::duration<double, std::milli>(options.latency_ms));
    line.up = seeds(who) ? options.seeder_up : options.up;
    line.down = options.down;
    line.loss = options.loss;
    node& one = *nodes_.emplace_back(std::make_unique<node>());
    one.host = &world_.add_host(line);
    who_is_[one.host->address()] = who;
    peer_story& story = out_.peers.emplace_back();
    if (seeds(who)) story.plays = peer_story::part::seeder;
}

inline torrent_options swarm_play::torrent_options_of(std::size_t who) const {
    const play_options& options = out_.options;
    torrent_options how;
    how.content.path = "/swarm";
    how.keep_journal = false;
    how.swarm.max_peers = options.connections;
    how.swarm.super_seeding = options.super_seed && seeds(who);
    how.swarm.picking.sequential = options.order == piece_order::sequential;
    if (options.order == piece_order::random) how.swarm.picking.random_first = options.pieces;
    choker_options& slots = how.swarm.uploading.choking;
    slots.unchoke_slots = 4;
    if (options.choke == choking::everybody) slots.unchoke_slots = options.connections;
    if (out_.peers[who].plays == peer_story::part::free_rider) slots.unchoke_slots = slots.optimistic_slots = 0;
    return how;
}

inline void swarm_play::start(std::size_t who) {
    node& one = *nodes_[who];
    session_options options;
    options.addresses = {one.host->address()};
    auto files = std::make_unique<sim::shared_disk>(content_, "/swarm/content", seeds(who));
    auto pool = std::make_unique<sim::jobs>(one.host->executor());
    network* net = one.host;
    if (who == out_.watched && out_.options.trace) {
        one.traced = std::make_unique<traced_network>(*net, out_.options.trace, "leecher");
        net = one.traced.get();
    }
    one.session = std::make_unique<session>(*net, std::move(files), std::move(pool), options);
    one.torrent = one.session->add(info_, torrent_options_of(who));
    one.running = std::make_unique<task_group>(one.host->executor());
    one.running->spawn(live(who));
    one.running->spawn(note(who));
    if (seeds(who))
        for (std::uint32_t& copies : copies_) ++copies;
}

/// From the first seeder's start to the last leecher's end.
inline asio::awaitable<void> swarm_play::whole() {
    const play_options& options = out_.options;
    begin_tracker();
    for (std::size_t i = 0; i < options.seeders + options.peers; ++i) add_node();
    out_.watched = options.seeders;
    const auto riders = static_cast<std::size_t>(options.free_riders * static_cast<double>(options.peers) + 0.5);
    for (std::size_t i = 0; i < riders; ++i) out_.peers[out_.peers.size() - 1 - i].plays = peer_story::part::free_rider;
    for (std::size_t i = 0; i < options.seeders; ++i) start(i);
    task_group watching(world_.hosts().front()->executor()), leeching(world_.hosts().front()->executor());
    watching.spawn(sample_loop());
    watching.spawn(round_loop());
    random_engine chance(options.seed);
    for (std::size_t i = options.seeders; i < nodes_.size(); ++i) {
        const double part = static_cast<double>(chance.below(1'000'000)) / 1e6;
        leeching.spawn(leech(i, 1 + part * options.arrivals));
    }
    co_await leeching.join();
    watching.cancel();
    co_await watching.join();
}

inline asio::awaitable<void> swarm_play::leech(std::size_t who, double at) {
    node& one = *nodes_[who];
    const auto pause = std::chrono::duration_cast<duration>(std::chrono::duration<double>(at));
    co_await one.host->sleep_for(pause);
    out_.peers[who].joined = now();
    start(who);
    co_await one.torrent->completed();
    out_.peers[who].completed = now();
    if (out_.options.leave) co_await one.torrent->stop();
}

inline asio::awaitable<void> swarm_play::note(std::size_t who) {
    for (;;) {
        const torrent_event what = co_await nodes_[who]->torrent->next_event();
        if (const auto* const piece = std::get_if<event::piece_verified>(&what)) {
            ++copies_[piece->piece];
            ++out_.peers[who].pieces;
        }
    }
}

inline moment swarm_play::moment_now() {
    moment one;
    one.at = now();
    one.copies = copies_;
    for (const peer_story& peer : out_.peers) {
        if (peer.plays != peer_story::part::seeder) one.progress.push_back(peer.pieces);
    }
    std::sort(one.progress.begin(), one.progress.end());
    return one;
}

/// A moment a second; when there are many, every other is forgotten and they come half as often.
inline asio::awaitable<void> swarm_play::sample_loop() {
    constexpr std::size_t most = 240;
    duration every = std::chrono::seconds(1);
    bool seeders_are_here = true;
    for (;;) {
        out_.moments.push_back(moment_now());
        if (out_.moments.size() >= most) {
            for (std::size_t i = 1; i < out_.moments.size(); ++i)
                if (i % 2 == 0) out_.moments[i / 2] = std::move(out_.moments[i]);
            out_.moments.resize((out_.moments.size() + 1) / 2);
            every *= 2;
        }
        const std::uint32_t rarest = *std::min_element(copies_.begin(), copies_.end());
        if (out_.options.seeders_leave && rarest > out_.options.seeders && std::exchange(seeders_are_here, false))
            for (std::size_t i = 0; i < out_.options.seeders; ++i) co_await nodes_[i]->torrent->stop();
        co_await world_.hosts().front()->sleep_for(every);
    }
}

/// Looks at the first leecher's relations as often as it thinks about them (BEP 3: every ten seconds).
inline asio::awaitable<void> swarm_play::round_loop() {
    constexpr std::size_t most = 120;
    for (std::size_t i = 0; i < most; ++i) {
        co_await world_.hosts().front()->sleep_for(std::chrono::seconds(10));
        const node& one = *nodes_[out_.watched];
        if (!one.torrent) continue;
        if (out_.peers[out_.watched].completed) co_return;
        choke_round round;
        round.at = now();
        for (const peer_total& other : one.torrent->peers())
            if (const auto known = who_is_.find(other.address.address); other.connected && known != who_is_.end())
                round.with[known->second] = {other.unchoked, other.unchokes_us};
        out_.rounds.push_back(std::move(round));
    }
}

/// Who fed whom, as those who were fed have it.
inline void swarm_play::settle() {
    out_.lasted = now();
    out_.moments.push_back(moment_now());
    for (std::size_t who = 0; who < nodes_.size(); ++who) {
        if (!nodes_[who]->torrent) continue;
        for (const peer_total& other : nodes_[who]->torrent->peers()) {
            const auto known = who_is_.find(other.address.address);
            if (known == who_is_.end() || other.downloaded == 0) continue;
            out_.fed[{known->second, who}] += other.downloaded;
            out_.peers[who].taken += other.downloaded;
            out_.peers[known->second].given += other.downloaded;
        }
    }
}

inline asio::awaitable<void> swarm_play::end() {
    for (const auto& one : nodes_)
        if (one->running) one->running->cancel();
    for (const auto& one : nodes_)
        if (one->running) co_await one->running->join();
    tracking_->cancel();
    co_await tracking_->join();
}

}  // namespace cohort::examples
