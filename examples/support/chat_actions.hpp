// What each command of the chat does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/chat/events.hpp>
#include <cohort/net/asio.hpp>
#include <cohort/net/calendar.hpp>

#include "chat_commands.hpp"
#include "chat_completion.hpp"
#include "chat_json.hpp"
#include "chat_screen.hpp"

namespace cohort::examples {

/// What a command is answered with: members for scripts, lines for people.
struct chat_answer {
    json_line line;
    std::string text;
};

/// Does commands with a node, for one screen.
template <class Node>
class chat_actions {
public:
    /// `files` is the folder for accepted files; `changed` is called when the current conversation changes on the way.
    chat_actions(Node& node, chat_screen& screen, std::string files, std::function<void()> changed)
        : node_(node), screen_(screen), files_(std::move(files)), changed_(std::move(changed)) {}

    /// Completes when the command is done. Throws what the node throws, and std::runtime_error with words for people
    /// where the command makes no sense now. Cancelling cancels what the node does for it.
    asio::awaitable<void> perform(const any_chat_command& command, chat_answer& reply) {
        if (!std::holds_alternative<chat_command::history>(command)) earlier_.reset();
        return std::visit([&](const auto& one) { return run(one, reply); }, command);
    }

private:
    static constexpr std::size_t page = 20;

    /// The conversation that is meant.
    std::string meant(const std::string& with) const {
        if (!with.empty()) return with;
        if (screen_.current().empty()) {
            throw std::runtime_error("nobody to talk to yet: @NAME TEXT, /connect NAME or /join ROOM");
        }
        return screen_.current();
    }

    void turn_to(const std::string& with) {
        screen_.turn_to(with);
        if (!with.empty() && screen_.live()) node_.mark_read(with);
    }

    asio::awaitable<void> run(chat_command::nothing, chat_answer&) { co_return; }
    asio::awaitable<void> run(chat_command::quit, chat_answer&) { co_return; }
    asio::awaitable<void> run(chat_command::help command, chat_answer& reply) {
        reply.text = chat_help(command.topic);
        co_return;
    }

    asio::awaitable<void> run(chat_command::say command, chat_answer& reply) {
        shown_message said;
        said.with = meant(command.to);
        said.from = node_.name();
        said.text = std::move(command.text);
        said.own = true;
        said.id = co_await node_.send(said.with, said.text);
        said.time_ms = calendar_now();
        reply.line.add("with", said.with).add("id", said.id.text());
        reply.text = screen_.show_own(said, said.time_ms);
        if (command.turn) turn_to(said.with);
    }

    asio::awaitable<void> run(chat_command::turn_to command, chat_answer& reply) {
        turn_to(command.with);
        reply.line.add("with", command.with);
        co_return;
    }

    /// What is typed meanwhile is meant for them already.
    asio::awaitable<void> run(chat_command::connect command, chat_answer& reply) {
        const std::string before = screen_.current();
        turn_to(command.name);
        changed_();
        try {
            co_await node_.connect(command.name);
        } catch (const std::system_error& error) {
            const bool nobody = error.code() == errc::unknown_peer || error.code() == errc::name_invalid;
            if (nobody && screen_.current() == command.name) turn_to(before);
            throw;
        }
        reply.line.add("name", command.name);
    }

    asio::awaitable<void> run(chat_command::peers, chat_answer& reply) {
        const std::vector<chat_peer> peers = node_.peers();
        reply.line.add("peers", peers_json(peers));
        reply.text = peers_text(peers, screen_.paint());
        co_return;
    }
    asio::awaitable<void> run(chat_command::rooms, chat_answer& reply) {
        const std::vector<chat_room_info> rooms = node_.rooms();
        reply.line.add("rooms", rooms_json(rooms));
        reply.text = rooms_text(rooms);
        co_return;
    }

    asio::awaitable<void> run(chat_command::join command, chat_answer& reply) {
        co_await node_.join(command.room);
        turn_to(command.room);
        reply.line.add("room", command.room);
        reply.text = screen_.show_note("you are in " + command.room);
    }
    asio::awaitable<void> run(chat_command::leave command, chat_answer& reply) {
        const std::string room = meant(command.room);
        if (!room.starts_with('#')) throw std::runtime_error(room + " is no room; /leave ROOM");
        co_await node_.leave(room);
        if (screen_.current() == room) turn_to({});
        reply.line.add("room", room);
        reply.text = screen_.show_note("you left " + room);
    }

    asio::awaitable<void> run(chat_command::history command, chat_answer& reply) {
        const std::string with = meant(command.with);
        std::optional<message_id> before;
        if (!command.before.empty()) {
            before = message_id::parse(command.before);
            if (!before) throw std::runtime_error("\"before\" is no id of a message");
        } else if (command.again && earlier_ && earlier_->first == with) {
            before = earlier_->second;
        }
        const std::size_t limit = command.count.value_or(page);
        const std::vector<shown_message> found = co_await node_.history(with, limit, before);
        reply.line.add("with", with).add("messages", messages_json(found));
        reply.text = screen_.show_history(with, found, calendar_now());
        if (!found.empty()) earlier_.emplace(with, found.front().id);
    }

    asio::awaitable<void> run(chat_command::send_file command, chat_answer& reply) {
        const std::string to = meant(command.to);
        std::error_code failure;
        const std::filesystem::path path = std::filesystem::absolute(expand_home(command.path), failure);
        const std::uint64_t size = failure ? 0 : std::filesystem::file_size(path, failure);
        if (failure) raise(failure, command.path);
        const std::string name = path.filename().string();
        const message_id id = co_await node_.send_file(to, path.string());
        reply.line.add("to", to).add("id", id.text());
        reply.text = screen_.offered(id, to, name, size);
    }
    asio::awaitable<void> run(chat_command::accept command, chat_answer& reply) {
        const chat_screen::offer offer = take_offer(command.offer, command.with, command.id);
        const std::string directory = command.directory.empty() ? files_ : expand_home(command.directory);
        reply.line.add("id", offer.id.text());
        std::exception_ptr failure;
        try {
            co_await node_.accept_file(offer.with, offer.id, directory);
        } catch (...) {
            failure = std::current_exception();
        }
        if (!failure) co_return;
        screen_.reopen_offer(offer.with, offer.id);
        std::rethrow_exception(failure);
    }
    asio::awaitable<void> run(chat_command::refuse command, chat_answer& reply) {
        const chat_screen::offer offer = take_offer(command.offer, command.with, command.id);
        reply.line.add("id", offer.id.text());
        node_.refuse_file(offer.with, offer.id);
        co_return;
    }
    chat_screen::offer take_offer(std::optional<std::size_t> number, const std::string& with, const std::string& text) {
        const std::optional<message_id> id = message_id::parse(text);
        chat_screen::offer* const found = id             ? screen_.find_offer(meant(with), *id)
                                          : with.empty() ? screen_.find_offer(number)
                                                         : screen_.newest_offer(with);
        if (found == nullptr || !found->open || (!text.empty() && !id)) throw std::runtime_error("no such offer");
        found->open = false;
        return *found;
    }

    asio::awaitable<void> run(chat_command::verify command, chat_answer& reply) {
        const std::string number = node_.safety_number(command.name);
        reply.line.add("name", command.name).add("safety_number", number).add("verified", command.confirmed);
        reply.text = safety_number_text(command.name, number, screen_.paint());
        if (command.confirmed) {
            node_.verify(command.name);
            screen_.mark_verified(command.name);
            reply.text = screen_.show_note(command.name + " is verified");
        }
        co_return;
    }
    asio::awaitable<void> run(chat_command::forget command, chat_answer& reply) {
        node_.forget(command.name);
        reply.line.add("name", command.name);
        reply.text = screen_.show_note("the key of " + command.name + " is forgotten; the next one is taken");
        co_return;
    }

    asio::awaitable<void> run(chat_command::presence command, chat_answer& reply) {
        node_.set_presence(command.state);
        reply.text = screen_.show_note("the others see: " + command.state);
        co_return;
    }
    asio::awaitable<void> run(chat_command::read command, chat_answer& reply) {
        const std::string with = meant(command.with);
        node_.mark_read(with);
        reply.line.add("with", with);
        co_return;
    }
    asio::awaitable<void> run(chat_command::typing command, chat_answer&) {
        node_.typing(meant(command.to), command.on);
        co_return;
    }

    Node& node_;
    chat_screen& screen_;
    std::string files_;
    std::function<void()> changed_;
    std::optional<std::pair<std::string, message_id>> earlier_;  ///< where the last page of history began
};

}  // namespace cohort::examples
