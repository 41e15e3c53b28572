// One torrent's life: checked, downloaded, seeded, paused, stopped - and told about all the way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/net/shielded.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/policy/file_priorities.hpp>
#include <cohort/policy/peer_list.hpp>
#include <cohort/policy/token_bucket.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/disk.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/announcer.hpp>
#include <cohort/swarm/content.hpp>
#include <cohort/swarm/events.hpp>
#include <cohort/swarm/open_content.hpp>
#include <cohort/swarm/swarm.hpp>
#include <cohort/swarm/torrent_options.hpp>

namespace cohort {

/// Made by session::add(). One thread only.
class torrent {
public:
    torrent(torrent_surroundings around, metainfo info, torrent_options options);

    const metainfo& info() const { return *info_; }
    torrent_status status() const;
    std::vector<peer_total> peers() const { return totals_.list(swarm_->peers()); }

    /// Completes with the next thing that happens; the last is event::stopped. At most 1,024 wait for a reader, then
    /// the oldest are dropped.
    asio::awaitable<torrent_event> next_event() { return events_.next(); }

    /// Completes when all wanted pieces are there and verified, at once if they are. Throws what event::failed tells
    /// when the torrent cannot go on, errc::stopped when it was stopped before. Cancelling only ends the wait.
    asio::awaitable<void> completed();

    /// What event::failed told last, until resume(). Also of a torrent that was stopped: that its files could not be
    /// brought to safety shows only then.
    const std::optional<std::system_error>& failure() const { return failure_; }

    /// Completes when the torrent was stopped. Throws what event::failed tells when it cannot go on. Cancelling only
    /// ends the wait.
    asio::awaitable<void> ended();

    /// Leaves the swarm until resume(); what is verified stays. Takes effect soon: event::paused says when.
    void pause() { want(goal::paused); }
    /// Goes on after pause() or a failure; files are looked at anew.
    void resume() { want(goal::running); }
    /// Ends the torrent: tells the trackers (for two seconds at most), brings what was written to safety. Completes
    /// when nothing of it runs any more; failure() tells if that did not succeed.
    asio::awaitable<void> stop();

    /// Changes what to fetch first, or at all; see torrent_options::file_priorities. Who wants more than is there goes
    /// on downloading, and completes anew.
    void set_file_priorities(std::vector<std::uint8_t> priorities) {
        options_.file_priorities = std::move(priorities);
        prioritize();
        if (!swarm_->picker().finished()) {
            complete_ = false;
            if (state_ == torrent_state::seeding) state_ = torrent_state::downloading;
        } else if (active_) {
            on_completed();
        }
    }

    /// Tries to connect with a peer, beside those that trackers tell of.
    void add_peer(const endpoint& address) {
        known_.add(address, peer_source::user, around_.net.now());
        dial_some();
    }

    /// Says something to all who talk in this swarm; see swarm_talk::say(). With no torrent_options::chat it throws
    /// std::errc::operation_not_supported.
    void say(std::string_view text) {
        if (!chat_) raise(std::make_error_code(std::errc::operation_not_supported), "no chat in this torrent");
        chat_->say(text);
    }

    /// Lives until stop() or cancellation, which stops as well. For the session.
    asio::awaitable<void> run();
    /// The answer to the handshake of a peer that dialled; nothing if it is not welcome. For the session.
    std::optional<handshake> greeting(const endpoint& from) const {
        if (!active_ || swarm_->full() || known_.is_banned(from.address)) return std::nullopt;
        return swarm_->greeting();
    }
    /// Goes on with such a peer. For the session.
    void adopt(std::unique_ptr<peer_connection> link, const handshake& theirs) {
        if (active_) conversations_->admit(swarm_->converse(swarm_->meet(std::move(link), theirs, true)));
    }

private:
    enum class goal { running, paused, stopped };

    static constexpr duration dial_timeout = 10s;
    static constexpr duration sign_of_life_interval = 5s;  // well below what resume_journal takes for late
    static constexpr duration checkpoint_interval = 60s;
    static constexpr std::uint64_t dials_per_second = 10;
    static constexpr std::size_t most_dials = 30;

    void want(goal g) {
        if (goal_ == goal::stopped) return;
        if (g == goal::running) failure_.reset();
        goal_ = g;
        changed_.notify();
    }
    void fail(const std::exception_ptr& why);
    asio::awaitable<void> vital(asio::awaitable<void> part);
    asio::awaitable<void> run_active();
    asio::awaitable<bool> open();
    asio::awaitable<void> take_part();
    asio::awaitable<void> end_all(task_group& loops);
    asio::awaitable<void> close();
    asio::awaitable<void> dial(endpoint address);
    asio::awaitable<void> tick_loop();
    asio::awaitable<void> checkpoint_loop();
    void make_swarm();
    void prioritize();
    void dial_some();
    void on_completed();
    announce_numbers numbers() const;

    torrent_surroundings around_;
    std::shared_ptr<const metainfo> info_;
    torrent_options options_;
    event_queue events_;
    wakeup changed_;
    peer_list known_;
    totals_by_peer totals_;
    token_bucket dials_{dials_per_second, dials_per_second};
    std::size_t dialling_ = 0;
    announcer announcer_;

    goal goal_ = goal::running;
    torrent_state state_ = torrent_state::checking;
    std::optional<std::system_error> failure_;  // until resume()
    // Made while there is some.
    const std::system_error out_of_memory_{std::make_error_code(std::errc::not_enough_memory)};
    bool ended_ = false;
    std::uint64_t downloaded_before_ = 0;  // in earlier activations
    std::uint64_t uploaded_before_ = 0;
    std::uint64_t wasted_before_ = 0;

    // While active
    std::shared_ptr<torrent_files> files_;
    std::shared_ptr<resume_journal> journal_;
    std::unique_ptr<content> content_;
    std::unique_ptr<swarm_talk> chat_;  // null: off
    std::unique_ptr<swarm> swarm_;
    std::unique_ptr<task_group> conversations_;
    bool broken_ = false;    // failed; ends in any case, even if resume() comes before that
    bool active_ = false;    // takes part in the swarm
    bool complete_ = false;  // all wanted pieces are there
};

inline torrent::torrent(torrent_surroundings around, metainfo info, torrent_options options)
    : around_(std::move(around)),
      info_(std::make_shared<const metainfo>(std::move(info))),
      options_(std::move(options)),
      events_(around_.net.executor()),
      changed_(around_.net.executor()),
      announcer_(around_.net, *info_, around_.id, around_.port, around_.families, options_.announcing,
                 {[this] { return numbers(); }, [this](torrent_event what) { events_.push(std::move(what)); },
                  [this](const std::vector<endpoint>& found) {
                      for (const endpoint& peer : found) known_.add(peer, peer_source::tracker, around_.net.now());
                      dial_some();
                  }}) {
    for (const endpoint& peer : options_.peers) known_.add(peer, peer_source::user, around_.net.now());
    if (options_.chat) {
        chat_ = options_.chat(around_.net, info_->hash, [this](torrent_event what) { events_.push(std::move(what)); });
    }
    make_swarm();
}

// Life

inline asio::awaitable<void> torrent::run() {
    std::exception_ptr interrupted;  // by a cancellation
    while (goal_ != goal::stopped && !interrupted) {
        try {
            if (goal_ == goal::running && !failure_) {
                co_await run_active();
            } else {
                co_await changed_.wait();
            }
        } catch (...) {
            interrupted = std::current_exception();
        }
    }
    goal_ = goal::stopped;
    state_ = torrent_state::stopped;
    ended_ = true;
    events_.push(event::stopped{});
    changed_.notify();
    if (interrupted) std::rethrow_exception(interrupted);
}

/// From the look at the files to the last word to the tracker. Ends when another goal is set, the disk failed, or on
/// cancellation - then by throwing, but in every case in good order.
inline asio::awaitable<void> torrent::run_active() {
    broken_ = false;
    bool cancelled = false;
    try {
        make_swarm();
        const bool opened = co_await open();
        if (opened) co_await take_part();
    } catch (...) {
        cancelled = is_cancellation(caught_error());
        if (!cancelled) fail(std::current_exception());
    }
    // There may have been no memory to say so.
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    cancelled = cancelled || state.cancelled() != asio::cancellation_type::none;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    try {
        co_await shielded(close());
    } catch (...) {
        caught_error();
        cancelled = true;
    }
    if (cancelled) throw_cancelled();
    if (goal_ == goal::paused) {
        state_ = torrent_state::paused;
        events_.push(event::paused{});
    }
}

inline void torrent::make_swarm() {
    auto fresh = std::make_unique<swarm>(
        around_.net, info_, around_.id, around_.port, options_.swarm, known_, totals_,
        swarm::handlers{[this](torrent_event what) { events_.push(std::move(what)); }, [this] { on_completed(); },
                        [this] { dial_some(); }, [this](const std::exception_ptr& why) { fail(why); }});
    if (chat_) fresh->speak(*chat_);
    if (swarm_) {
        downloaded_before_ += swarm_->downloads().downloaded();
        wasted_before_ += swarm_->downloads().wasted();
        uploaded_before_ += swarm_->uploads().uploaded();
    }
    swarm_ = std::move(fresh);
}

/// Looks at what is on the disk. False if another goal was set meanwhile.
inline asio::awaitable<bool> torrent::open() {
    state_ = torrent_state::checking;
    complete_ = false;
    const check_progress progress = [this](std::uint64_t done, std::uint64_t total) {
        events_.push(event::checking{done, total});
    };
    const check_wanted wanted = [this] { return goal_ == goal::running; };
    opened_content opened;
    try {
        opened = co_await open_content(around_.files, around_.pool, *info_, options_.content, progress, wanted);
    } catch (const std::system_error& error) {
        if (error.code() != errc::stopped) throw;
        co_return false;
    }
    files_ = std::move(opened.files);
    journal_ = std::move(opened.journal);
    for (piece_index piece = 0; piece < opened.have.size(); ++piece) {
        if (opened.have.get(piece)) swarm_->picker().set_have(piece);
    }
    prioritize();
    co_return goal_ == goal::running;
}

inline void torrent::prioritize() {
    const std::vector<std::uint8_t>& wishes = options_.file_priorities;
    // Whoever has no wishes wants everything, padding too: only with all pieces one is a seeder.
    swarm_->set_priorities(wishes.empty() ? std::vector(swarm_->picker().have().size(), piece_picker::default_priority)
                                          : piece_priorities(*info_, wishes));
}

inline asio::awaitable<void> torrent::take_part() {
    content_ = std::make_unique<content>(
        around_.net.executor(), around_.pool, files_, info_, journal_,
        content::handlers{[this](const piece_verdict& verdict) { swarm_->on_verdict(verdict); },
                          [this](const std::exception_ptr& why) { fail(why); }});
    swarm_->use(content_.get());
    conversations_ = std::make_unique<task_group>(around_.net.executor());
    task_group loops(around_.net.executor());
    active_ = true;
    state_ = torrent_state::downloading;
    events_.push(event::started{status().have});
    if (swarm_->picker().finished()) on_completed();

    std::exception_ptr failed;
    try {
        loops.admit(vital(tick_loop()));
        loops.admit(vital(checkpoint_loop()));
        loops.admit(vital(announcer_.run()));
        dial_some();
        while (goal_ == goal::running && !broken_) co_await changed_.wait();
    } catch (...) {
        failed = std::current_exception();
    }
    active_ = false;
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    const bool cancelled = state.cancelled() != asio::cancellation_type::none;
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    co_await shielded(end_all(loops));
    if (cancelled) throw_cancelled();
    if (failed) std::rethrow_exception(failed);
}

/// A part of the torrent that it cannot do without: if it fails, so does the torrent.
inline asio::awaitable<void> torrent::vital(asio::awaitable<void> part) {
    try {
        co_await std::move(part);
    } catch (...) {
        if (is_cancellation(caught_error())) throw;
        fail(std::current_exception());
    }
}

inline asio::awaitable<void> torrent::end_all(task_group& loops) {
    loops.cancel();
    conversations_->cancel();
    co_await loops.join();
    co_await conversations_->join();
}

/// Lets what is on its way to the disk arrive, leaves the journal in order, and says goodbye to the trackers.
inline asio::awaitable<void> torrent::close() {
    conversations_.reset();
    if (content_) co_await content_->drain();
    swarm_->use(nullptr);
    content_.reset();
    const bool complete = swarm_->picker().have().all();
    const auto settle = [this, complete] {
        if (!journal_) return;
        if (complete && !options_.keep_journal) {
            journal_->remove();
        } else {
            journal_->close_clean();
        }
    };
    try {
        co_await run_job(around_.pool, 0, settle);
    } catch (...) {
        fail(std::current_exception());
    }
    journal_.reset();
    files_.reset();
    co_await announcer_.stopped();
}

/// Throws nothing but bugs.
inline void torrent::fail(const std::exception_ptr& why) {
    if (std::exchange(broken_, true)) return;
    try {
        std::rethrow_exception(why);
    } catch (const std::system_error& error) {
        failure_ = error;
    } catch (const std::bad_alloc&) {
        failure_ = out_of_memory_;
    }
    state_ = torrent_state::failed;
    event::failed news{failure_->code(), {}};
    try {
        news.message = failure_->what();
    } catch (const std::bad_alloc&) {
        news.message.clear();  // the code says it
    }
    events_.push(std::move(news));
    changed_.notify();
}

inline void torrent::on_completed() {
    if (std::exchange(complete_, true)) return;
    state_ = torrent_state::seeding;
    announcer_.completed();
    events_.push(event::completed{});
    changed_.notify();
}

inline asio::awaitable<void> torrent::completed() {
    while (!complete_) {
        if (failure_) throw std::system_error(*failure_);
        if (ended_) raise(errc::stopped);
        co_await changed_.wait();
    }
}

inline asio::awaitable<void> torrent::ended() {
    while (!ended_) {
        if (failure_) throw std::system_error(*failure_);
        co_await changed_.wait();
    }
}

inline asio::awaitable<void> torrent::stop() {
    want(goal::stopped);
    while (!ended_) co_await changed_.wait();
}

// Finding peers

/// Dials as many known addresses as bounds allow.
inline void torrent::dial_some() {
    if (!active_) return;
    network& net = around_.net;
    while (!swarm_->full() && dialling_ < most_dials && dials_.wait(1, net.now()) == duration::zero()) {
        const auto address = known_.next_to_dial(net.now(), net.random());
        if (!address) return;
        dials_.take(1, net.now());
        conversations_->admit(dial(*address));
        known_.dialled(*address);
    }
}

inline asio::awaitable<void> torrent::dial(endpoint address) {
    network& net = around_.net;
    std::unique_ptr<peer> newcomer;
    ++dialling_;
    std::error_code failed;
    try {
        std::unique_ptr<stream> raw = co_await with_timeout(net, dial_timeout, net.connect(address));
        auto link = std::make_unique<peer_connection>(net, std::move(raw));
        const handshake ours = swarm_->greeting();
        const handshake theirs = co_await link->handshake_as_dialler(ours);
        newcomer = swarm_->meet(std::move(link), theirs, false);
    } catch (...) {
        failed = caught_error();
    }
    --dialling_;
    if (failed == errc::self_connection) known_.exclude(address);
    if (failed) {
        known_.failed(address, net.now());
        co_return;
    }
    co_await swarm_->converse(std::move(newcomer));
}

inline asio::awaitable<void> torrent::tick_loop() {
    for (;;) {
        co_await around_.net.sleep_for(1s);
        swarm_->tick();
        dial_some();
    }
}

inline asio::awaitable<void> torrent::checkpoint_loop() {
    std::uint64_t safe = 0;
    time_point due = around_.net.now() + checkpoint_interval;
    for (;;) {
        co_await around_.net.sleep_for(sign_of_life_interval);
        co_await content_->sign_of_life();
        if (around_.net.now() < due) continue;
        due = around_.net.now() + checkpoint_interval;
        const std::uint64_t have = status().have;
        if (std::exchange(safe, have) != have) co_await content_->checkpoint();
    }
}

// Telling

inline announce_numbers torrent::numbers() const {
    const torrent_status now = status();
    const bool lonely = now.peers == 0 && !swarm_->picker().finished();
    return {now.uploaded, now.downloaded, now.total - now.have, swarm_->full() ? 0 : 50, lonely};
}

inline torrent_status torrent::status() const {
    torrent_status out;
    const time_point now = around_.net.now();
    out.state = state_;
    out.total = info_->total_size;
    out.have = info_->total_size - swarm_->picker().bytes_missing();
    out.downloaded = downloaded_before_ + swarm_->downloads().downloaded();
    out.uploaded = uploaded_before_ + swarm_->uploads().uploaded();
    out.wasted = wasted_before_ + swarm_->downloads().wasted();
    out.peers = swarm_->peers().size();
    for (const auto& [key, p] : swarm_->peers()) {
        out.download_rate += p->download.rate(now);
        out.upload_rate += p->upload.rate(now);
    }
    return out;
}

}  // namespace cohort
