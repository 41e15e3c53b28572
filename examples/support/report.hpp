// What a seeder or leecher shows while it runs: a progress bar and a few lines, or one JSON line an event.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/protocol/json.hpp>
#include <cohort/swarm/torrent.hpp>

#include "swarm_talk.hpp"
#include "terminal.hpp"

namespace cohort::examples {

/// Follows one torrent to its end.
class reporter {
public:
    /// With `chat` it is also where people talk with the swarm.
    reporter(network& net, torrent& shown, std::string program, bool json, bool chat = false)
        : net_(net), torrent_(shown), program_(std::move(program)), json_(json), began_(net.now()) {
        if (chat) talk_.emplace(net, shown, json, [this](const std::string& text) { say(text); });
    }

    /// Says first that others reach us at `port`. Completes when the torrent has stopped, which whoever cancels sees
    /// to. Throws when nobody reads what is printed.
    asio::awaitable<void> run(std::uint16_t port) {
        // A seeder knows no other end than Ctrl-C, and its last words count.
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        listening(port);
        task_group both(net_.executor());
        both.spawn(progress_loop());
        both.spawn(event_loop(both));
        if (talk_) both.spawn(talk_->run());
        co_await both.join();
        summary();
    }

private:
    void listening(std::uint16_t port) {
        if (json_) {
            emit(line("listening").add("port", port).add("info_hash", torrent_.info().hash.hex()));
        } else {
            print(program_ + ": listening on port " + std::to_string(port));
        }
    }

    static constexpr duration bar_interval = 100ms;
    static constexpr duration json_interval = 500ms;

    static json_line line(std::string_view event) {
        json_line out;
        out.add("event", event);
        return out;
    }
    void emit(json_line out) { print(out.take()); }
    void print(const std::string& text) {
        if (talk_ && talk_->live()) {
            talk_->print(text);
        } else {
            printer_.print(text);
        }
    }

    asio::awaitable<void> event_loop(task_group& both) {
        for (;;) {
            const torrent_event what = co_await torrent_.next_event();
            std::visit([this](const auto& e) { on(e); }, what);
            if (std::holds_alternative<event::stopped>(what)) break;
        }
        both.cancel();
    }

    asio::awaitable<void> progress_loop() {
        for (;;) {
            show();
            const duration pause = json_ ? json_interval : bar_interval;
            co_await net_.sleep_for(pause);
        }
    }

    void show() {
        const torrent_status now = torrent_.status();
        if (json_) {
            emit(line("progress")
                     .add("done", now.have)
                     .add("total", now.total)
                     .add("downloaded", now.downloaded)
                     .add("uploaded", now.uploaded)
                     .add("wasted", now.wasted)
                     .add("down_rate", now.download_rate)
                     .add("up_rate", now.upload_rate)
                     .add("peers", now.peers));
            return;
        }
        progress state;
        state.label = torrent_.info().name;
        state.total = now.total;
        const bool seeding = now.state == torrent_state::seeding;
        state.done = now.state == torrent_state::checking ? checked_ : now.have;
        state.rate = seeding ? now.upload_rate : now.download_rate;
        state.note = now.state == torrent_state::checking
                         ? "checking"
                         : std::to_string(now.peers) + (now.peers == 1 ? " peer" : " peers");
        if (talk_ && talk_->live()) {
            talk_->show(state);
        } else {
            printer_.show(state);
        }
    }

    /// The last words: who gave and took how much.
    void summary() {
        const torrent_status now = torrent_.status();
        if (talk_) talk_->finish();
        if (!json_) {
            printer_.finish();
            print(program_ + ": " + human_size(now.downloaded) + " down, " + human_size(now.uploaded) + " up in " +
                  human_duration(net_.now() - began_));
            return;
        }
        json_array peers;
        for (const peer_total& peer : torrent_.peers()) {
            json_object one;
            one["address"] = to_json(peer.address.to_string());
            one["client"] = to_json(peer.client);
            one["downloaded"] = to_json(peer.downloaded);
            one["uploaded"] = to_json(peer.uploaded);
            peers.push_back(to_json(one));
        }
        emit(line("peer_totals")
                 .add("downloaded", now.downloaded)
                 .add("uploaded", now.uploaded)
                 .add("wasted", now.wasted)
                 .add("peers", peers));
    }

    // One event each. What people need to know is printed; everything is for scripts.

    void say(const std::string& text) {
        if (json_) {
            emit(line("note").add("message", text));
        } else {
            print(program_ + ": " + printable(text));
        }
    }

    void on(const event::checking& e) {
        checked_ = e.done;
        if (json_) emit(line("checking").add("done", e.done).add("total", e.total));
    }
    void on(const event::started& e) {
        if (json_) emit(line("started").add("have", e.have));
    }
    void on(const event::piece_verified& e) {
        if (json_) emit(line("piece_verified").add("piece", e.piece));
    }
    void on(const event::piece_failed& e) {
        if (json_) {
            emit(line("piece_failed").add("piece", e.piece));
        } else {
            say("piece " + std::to_string(e.piece) + " came damaged and is fetched again");
        }
    }
    void on(const event::peer_connected& e) {
        if (json_) emit(line("peer_connected").add("address", e.address.to_string()).add("incoming", e.incoming));
    }
    void on(const event::peer_disconnected& e) {
        if (!json_) return;
        emit(line("peer_disconnected")
                 .add("address", e.address.to_string())
                 .add("reason", e.reason.message())
                 .add("downloaded", e.downloaded)
                 .add("uploaded", e.uploaded));
    }
    void on(const event::peer_banned& e) {
        if (json_) {
            emit(line("peer_banned").add("address", e.address.to_string()));
        } else {
            say("banned " + e.address.to_string() + " for sending damaged data");
        }
    }
    void on(const event::tracker_answered& e) {
        if (!json_) return;
        emit(line("tracker_answered").add("url", e.url).add("peers", e.peers).add("interval", e.interval.count()));
    }
    void on(const event::tracker_failed& e) {
        if (json_) {
            emit(line("tracker_failed").add("url", e.url).add("message", e.message));
        } else {
            say("tracker " + e.url + ": " + e.message);
        }
    }
    void on(const event::chat_message& e) {
        if (json_) {
            emit(line("chat_message")
                     .add("name", e.from_name)
                     .add("key", e.key.hex())
                     .add("text", e.text)
                     .add("time_ms", e.time_ms));
        } else {
            print(talk_text(e, calendar_now()));
        }
    }
    void on(const event::completed&) {
        if (json_) {
            emit(line("completed").add("seconds", to_seconds(net_.now() - began_)));
        } else {
            show();
        }
    }
    void on(const event::failed& e) {
        if (json_) emit(line("failed").add("message", e.message));
    }
    void on(const event::paused&) {
        if (json_) emit(line("paused"));
    }
    void on(const event::stopped&) {
        if (json_) emit(line("stopped"));
    }

    network& net_;
    torrent& torrent_;
    std::string program_;
    bool json_;
    time_point began_;
    std::uint64_t checked_ = 0;
    progress_printer printer_;
    std::optional<talk_line> talk_;
};

}  // namespace cohort::examples
