// `--chat` of seeder and leecher: what the swarm says above, and on a terminal a line to type in below, with the
// progress between the two.
#pragma once

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>

#include <cohort/net/calendar.hpp>
#include <cohort/protocol/plain_text.hpp>
#include <cohort/swarm/swarm_chat.hpp>
#include <cohort/swarm/torrent.hpp>

#include "chat_text.hpp"
#include "console.hpp"
#include "terminal.hpp"

namespace cohort::examples {

/// The flag, and the name that may follow it.
struct talk_flags {
    bool on = false;
    std::string name;

    /// For torrent_options::chat.
    swarm_talk_maker maker() const { return on ? swarm_chat({.name = name}) : swarm_talk_maker(); }
};

inline void add_talk_flag(CLI::App& app, talk_flags& to, const std::string& default_name) {
    const auto take = [&to, default_name](const CLI::results_t& given) {
        to.on = true;
        to.name = given.empty() || given[0].empty() || given[0] == "{}" ? default_name : given[0];
        if (to.name.ends_with(".torrent"))
            throw CLI::ValidationError("--chat", "'" + to.name + "' is no name; put --chat last, or write --chat=NAME");
        return is_chat_name(to.name);
    };
    app.add_option("--chat", take,
                   "Talk with the peers, as \"" + default_name +
                       "\" or NAME: show what they say, say what is typed. All of the swarm can read it")
        ->option_text("[NAME]")
        ->expected(0, 1);
}

/// "14:03 alice 1f2e3d4c: hello". The digits are the key's first, because anybody may be called alice.
inline std::string talk_text(const event::chat_message& what, std::int64_t now_ms) {
    const std::string name = what.from_name.empty() ? "" : what.from_name + " ";
    return clock_text(what.time_ms, now_ms) + " " + printable(name + what.key.hex().substr(0, 8)) + ": " +
           printable(terminal_text(what.text));
}

/// What people type while a torrent runs.
class talk_line {
public:
    /// On a terminal with a line of its own, unless `plain`. `complain` hears what was not sent, and why.
    talk_line(network& net, torrent& to, bool plain, std::function<void(const std::string&)> complain)
        : net_(net), to_(to), complain_(std::move(complain)), console_(net.executor(), plain), live_(console_.live()) {
        if (live_) console_.editor().set_prompt("say: ");
    }

    /// Whether the screen is ours: everything must be printed here.
    bool live() const { return live_; }
    void print(std::string_view line) { console_.print(std::string(line) + "\n"); }
    void show(const progress& state) {
        line_editor& editor = console_.editor();
        editor.set_status(progress_line(state, editor.columns() - 1));
        console_.flush();
    }
    void finish() {
        console_.restore();
        live_ = false;
    }

    /// Says line after line; completes at the end of the input.
    asio::awaitable<void> run() {
        for (;;) {
            typed input = co_await console_.next();
            if (input.what == typed::kind::end_of_input) break;
            // The keyboard is ours, so Ctrl-C is as well.
            if (input.what == typed::kind::interrupt) ::raise(SIGINT);
            if (input.what == typed::kind::line && !input.line.empty()) {
                say(input.line);
                // A script gets no further ahead than the swarm lets it.
                if (!live_) co_await net_.sleep_for(script_pause);
            }
        }
        finish();
    }

private:
    static constexpr duration script_pause = std::chrono::milliseconds(1000) / gossip_limits::rate_own;

    void say(const std::string& text) {
        try {
            to_.say(text);
            if (live_) print(clock_text(calendar_now(), calendar_now()) + " you: " + printable(text));
        } catch (const std::system_error& error) {
            const bool much = error.code() == errc::queue_full;
            complain_("not sent: " + (much ? "that is too much at once" : error.code().message()));
        }
    }

    network& net_;
    torrent& to_;
    std::function<void(const std::string&)> complain_;
    console console_;
    bool live_;
};

}  // namespace cohort::examples
