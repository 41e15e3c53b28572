// The chat as people use it: what they type goes to the node, what the node tells goes to their screen.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/net/calendar.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/wakeup.hpp>

#include "chat_actions.hpp"
#include "chat_completion.hpp"
#include "chat_json.hpp"
#include "chat_json_commands.hpp"
#include "chat_screen.hpp"
#include "console.hpp"

namespace cohort::examples {

struct chat_program_options {
    bool json = false;  ///< one JSON line an event, and JSON commands beside those for people
    bool stay = false;  ///< the end of the input is not the end
    std::string files;  ///< the folder for accepted files where the command names none
};

/// Joins a node (cohort::chat_node, or one that pretends) with a console. On a terminal commands that take long run
/// beside the others; from a pipe one runs after the other, so that a script's lines mean what they say.
template <class Node>
class chat_program {
public:
    chat_program(network& net, Node& node, console& terminal, chat_program_options options = {})
        : net_(net),
          node_(node),
          terminal_(terminal),
          options_(options),
          screen_(node.name(), terminal.live(), painter::wanted(terminal.live())),
          actions_(node, screen_, options.files, [this] { refresh(); }),
          tasks_(net.executor()),
          changed_(net.executor()),
          edited_(net.executor()) {}

    /// Runs the node too. Completes when the person leaves, with 0, 130 after Ctrl-C twice, or 1 if a piped command
    /// failed (with JSON its answer says so instead); at the end of piped input own messages are first handed over to
    /// whoever is there, for five seconds at most. Throws what ends the node, and the system's error when nobody reads
    /// what is printed. Cancelling throws operation_aborted.
    asio::awaitable<int> run() {
        greet();
        if (terminal_.live()) {
            terminal_.editor().complete_with([this](std::string_view before) { return complete(before); });
            terminal_.on_edit([this] { note_typing(); });
        }
        tasks_.spawn(node_.run());
        tasks_.spawn(event_loop());
        tasks_.spawn(typing_loop());
        tasks_.spawn(input_loop());
        co_await tasks_.join();
        terminal_.restore();
        co_return code_;
    }

private:
    static constexpr duration handing_over = 5s;
    static constexpr duration finding = 2s;
    static constexpr duration pause_in_typing = 8s;
    static constexpr int interrupted = 128 + SIGINT;

    // ---- what is shown ----

    void greet() {
        if (options_.json) {
            terminal_.print(detail::event_line("ready")
                                .add("name", node_.name())
                                .add("key", node_.key().hex())
                                .add("port", node_.port())
                                .take());
        } else {
            terminal_.print(screen_.show_note(node_.name() + " listens on port " + std::to_string(node_.port()) +
                                              "; /help says what can be done"));
        }
        const painter& paint = screen_.paint();
        if (paint.on()) terminal_.editor().set_styles("\x1b[1m", "\x1b[2m");
        refresh();
    }

    void print(const std::string& text) {
        if (!options_.json && !text.empty()) terminal_.print(text);
    }

    /// A script that reads no JSON finds failures where scripts look for them: on standard error and in the exit code.
    void show_failure(const std::string& failure) {
        const std::string text = screen_.show_error("!! " + failure);
        if (terminal_.live() || options_.json) return print(text);
        code_ = 1;
        std::fputs(text.c_str(), stderr);
    }

    void refresh() {
        changed_.notify();
        if (!terminal_.live()) return;
        screen_.set_columns(terminal_.editor().columns());
        terminal_.editor().set_prompt(screen_.prompt());
        terminal_.editor().set_status(screen_.status(screen_.columns() - 1));
        terminal_.flush();
    }

    asio::awaitable<void> event_loop() {
        try {
            for (;;) {
                const chat_node_event event = co_await node_.receive();
                show(event);
            }
        } catch (const std::system_error& error) {
            if (error.code() != errc::stopped) throw;
        }
    }

    void show(const chat_node_event& event) {
        if (std::holds_alternative<chat_event::tracker_state>(event)) looked_ = true;
        const std::string text = screen_.show(event, calendar_now());
        if (options_.json) {
            terminal_.print(chat_event_json(event));
        } else {
            print(text);
        }
        const auto* const message = std::get_if<chat_event::message>(&event);
        // A person looks at what is printed; of a script nobody knows.
        if (terminal_.live() && message != nullptr && message->what.with == screen_.current()) {
            node_.mark_read(screen_.current());
        }
        refresh();
    }

    // ---- what is typed ----

    asio::awaitable<void> input_loop() {
        bool leaving = false, warned = false;
        while (!leaving) {
            const typed input = co_await terminal_.next();
            if (input.what == typed::kind::line) {
                warned = false;
                chat_request request = parse_chat_request(input.line, options_.json);
                leaving = std::holds_alternative<chat_command::quit>(request.command);
                if (terminal_.live() && input.line.starts_with('/')) {
                    print(screen_.paint().dim("> " + printable(input.line)) + "\n");
                }
                if (terminal_.live() && takes_long(request.command)) {
                    tasks_.spawn(execute(std::move(request)));
                } else {
                    co_await execute(std::move(request));
                }
            } else if (input.what == typed::kind::interrupt) {
                leaving = warned && input.line.empty();
                if (leaving) code_ = interrupted;
                if (!leaving && input.line.empty()) print(screen_.show_note("Ctrl-C again leaves"));
                warned = input.line.empty();
            } else if (input.what == typed::kind::end_of_input) {
                if (!terminal_.live()) co_await hand_over();
                leaving = true;
            }
        }
        terminal_.restore();
        node_.stop();
        tasks_.cancel();
    }

    /// After the last piped line.
    asio::awaitable<void> hand_over() {
        while (options_.stay) co_await changed_.wait();
        const time_point began = net_.now();
        for (;;) {
            const bool there = somebody_waits();
            // Who is there is known once the tracker has answered.
            const bool unknown = !looked_ && !screen_.undelivered().empty();
            const time_point deadline = began + (there ? handing_over : finding);
            if ((!there && !unknown) || net_.now() >= deadline) break;
            try {
                co_await with_timeout(net_, deadline - net_.now(), changed_.wait());
            } catch (const std::system_error& error) {
                if (error.code() != errc::timed_out) throw;
            }
        }
        for (const std::string& with : screen_.undelivered()) {
            print(screen_.show_note("the text waits on disk for " + with));
        }
    }

    /// Whether somebody who is there has not got all that we wrote.
    bool somebody_waits() const {
        const std::vector<std::string> missing = screen_.undelivered();
        const auto lacks = [&missing](const std::string& with) {
            return std::find(missing.begin(), missing.end(), with) != missing.end();
        };
        const std::vector<chat_peer> peers = node_.peers();
        const std::vector<chat_room_info> rooms = node_.rooms();
        return std::any_of(peers.begin(), peers.end(),
                           [&](const chat_peer& one) { return (one.online || one.connected) && lacks(one.name); }) ||
               std::any_of(rooms.begin(), rooms.end(),
                           [&](const chat_room_info& one) { return one.connected > 0 && lacks(one.name); });
    }

    static bool takes_long(const any_chat_command& command) {
        return std::holds_alternative<chat_command::connect>(command) ||
               std::holds_alternative<chat_command::join>(command) ||
               std::holds_alternative<chat_command::send_file>(command) ||
               std::holds_alternative<chat_command::accept>(command);
    }

    completion complete(std::string_view before) const {
        chat_names names;
        for (const chat_peer& one : node_.peers()) names.peers.push_back(one.name);
        for (const std::string& one : node_.conversations()) {
            const bool known = std::find(names.peers.begin(), names.peers.end(), one) != names.peers.end();
            if (!one.starts_with('#') && !known) names.peers.push_back(one);
        }
        for (const chat_room_info& one : node_.rooms()) names.rooms.push_back(one.name);
        return complete_chat_line(before, names, matching_files);
    }

    // ---- "is typing", for whoever we are talking with ----

    void note_typing() {
        const std::string line = terminal_.editor().line();
        const bool words = !line.empty() && !line.starts_with('/') && !line.starts_with('@');
        set_typing(words ? screen_.current() : std::string());
    }
    void set_typing(const std::string& to) {
        typing_until_ = net_.now() + pause_in_typing;
        if (to == typing_to_) return;
        if (!typing_to_.empty()) node_.typing(typing_to_, false);
        typing_to_ = to;
        if (!typing_to_.empty()) node_.typing(typing_to_, true);
        edited_.notify();
    }
    /// Somebody who thinks for long is not typing.
    asio::awaitable<void> typing_loop() {
        for (;;) {
            while (typing_to_.empty()) co_await edited_.wait();
            const time_point until = typing_until_;
            co_await net_.sleep_until(until);
            if (typing_until_ <= net_.now()) set_typing({});
        }
    }

    // ---- commands ----

    asio::awaitable<void> execute(chat_request request) {
        std::string failure = request.error;
        chat_answer reply;
        reply.line = detail::event_line("done").add("command", request.name);
        if (request.valid()) {
            try {
                co_await actions_.perform(request.command, reply);
            } catch (const std::system_error& error) {
                if (is_cancellation(error.code())) throw;
                failure = error.what();
            } catch (const std::exception& error) {
                failure = error.what();
            }
        }
        if (failure.empty()) {
            print(reply.text);
        } else {
            reply.line = detail::event_line("error");
            reply.line.add("command", request.name.empty() ? json() : to_json(request.name)).add("message", failure);
            show_failure(failure);
        }
        if (options_.json && !(failure.empty() && request.name.empty())) {
            if (!request.tag.template is<picojson::null>()) reply.line.add("tag", request.tag);
            terminal_.print(reply.line.take());
        }
        refresh();
    }

    network& net_;
    Node& node_;
    console& terminal_;
    chat_program_options options_;
    chat_screen screen_;
    chat_actions<Node> actions_;
    task_group tasks_;
    wakeup changed_;       ///< notified after each event and command
    bool looked_ = false;  ///< the tracker was asked who is there
    wakeup edited_;
    std::string typing_to_;
    time_point typing_until_{};
    int code_ = 0;
};

}  // namespace cohort::examples
