// Commands of scripts, as chat_json.hpp describes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include <cohort/protocol/json.hpp>

#include "chat_commands.hpp"

namespace cohort::examples {

/// A command's name in answers; empty for an empty line.
inline std::string_view chat_command_name(const any_chat_command& command) {
    struct {
        std::string_view operator()(const chat_command::nothing&) const { return ""; }
        std::string_view operator()(const chat_command::say&) const { return "send"; }
        std::string_view operator()(const chat_command::turn_to&) const { return "talk"; }
        std::string_view operator()(const chat_command::connect&) const { return "connect"; }
        std::string_view operator()(const chat_command::peers&) const { return "peers"; }
        std::string_view operator()(const chat_command::rooms&) const { return "rooms"; }
        std::string_view operator()(const chat_command::join&) const { return "join"; }
        std::string_view operator()(const chat_command::leave&) const { return "leave"; }
        std::string_view operator()(const chat_command::history&) const { return "history"; }
        std::string_view operator()(const chat_command::send_file&) const { return "send_file"; }
        std::string_view operator()(const chat_command::accept&) const { return "accept"; }
        std::string_view operator()(const chat_command::refuse&) const { return "refuse"; }
        std::string_view operator()(const chat_command::verify&) const { return "verify"; }
        std::string_view operator()(const chat_command::forget&) const { return "forget"; }
        std::string_view operator()(const chat_command::presence&) const { return "presence"; }
        std::string_view operator()(const chat_command::read&) const { return "read"; }
        std::string_view operator()(const chat_command::typing&) const { return "typing"; }
        std::string_view operator()(const chat_command::help&) const { return "help"; }
        std::string_view operator()(const chat_command::quit&) const { return "quit"; }
    } constexpr names;
    return std::visit(names, command);
}

/// A command with what its answer repeats.
struct chat_request {
    any_chat_command command;
    std::string name;
    json tag;           ///< null: none
    std::string error;  ///< not empty: it could not be understood, and `command` is nothing

    bool valid() const { return error.empty(); }
};

namespace detail {

/// The members of a JSON command. The first one that is missing or of the wrong type is the error.
class command_members {
public:
    explicit command_members(const json& object) : object_(object) {}

    std::string text(const char* key, bool needed = false) {
        const json* const member = find(key, needed);
        const auto value = json_text(member);
        if (member != nullptr && !value) fail(key, "is not a text");
        return std::string(value.value_or(""));
    }
    bool truth(const char* key, bool otherwise) {
        const json* const member = find(key, false);
        if (member == nullptr) return otherwise;
        if (!member->is<bool>()) {
            fail(key, "is not true or false");
            return otherwise;
        }
        return member->get<bool>();
    }
    std::optional<std::size_t> count(const char* key) {
        const json* const member = find(key, false);
        const auto value = json_integer(member);
        if (member != nullptr && (!value || *value < 0)) fail(key, "is not a count");
        if (!value || *value < 0) return std::nullopt;
        return static_cast<std::size_t>(*value);
    }

    const std::string& error() const { return error_; }

private:
    const json* find(const char* key, bool needed) {
        const json* const member = json_member(object_, key);
        if (needed && member == nullptr) fail(key, "is missing");
        return member;
    }
    void fail(const std::string& key, const std::string& how) {
        if (error_.empty()) error_ = "\"" + key + "\" " + how;
    }

    const json& object_;
    std::string error_;
};

inline std::optional<any_chat_command> json_command(std::string_view name, command_members& given) {
    using namespace chat_command;
    if (name == "send") return say{without_at(given.text("to")), given.text("text", true)};
    if (name == "talk") return turn_to{without_at(given.text("with", true))};
    if (name == "connect") return connect{without_at(given.text("name", true))};
    if (name == "peers") return peers{};
    if (name == "rooms") return rooms{};
    if (name == "join") return join{room_name(given.text("room", true))};
    if (name == "leave") return leave{room_name(given.text("room"))};
    if (name == "history")
        return history{without_at(given.text("with")), given.count("count"), given.text("before"), false};
    if (name == "send_file") return send_file{without_at(given.text("to")), given.text("path", true)};
    if (name == "accept")
        return accept{std::nullopt, given.text("directory"), without_at(given.text("with")), given.text("id")};
    if (name == "refuse") return refuse{std::nullopt, without_at(given.text("with")), given.text("id")};
    if (name == "verify") return verify{without_at(given.text("name", true)), given.truth("confirmed", false)};
    if (name == "forget") return forget{without_at(given.text("name", true))};
    if (name == "presence") return presence{given.text("state", true)};
    if (name == "read") return read{without_at(given.text("with"))};
    if (name == "typing") return typing{without_at(given.text("to")), given.truth("on", true)};
    if (name == "quit") return quit{};
    return std::nullopt;
}

}  // namespace detail

/// A line as people type it, or, if it begins with '{', a JSON object.
inline chat_request parse_chat_request(std::string_view line, bool json_too) {
    chat_request out;
    if (!json_too || !detail::trimmed(line).starts_with('{')) {
        auto command = parse_chat_line(line, out.error);
        if (command) {
            out.name = chat_command_name(*command);
            out.command = std::move(*command);
        }
        return out;
    }
    std::error_code failure;
    const auto object = parse_json(line, failure);
    if (!object) {
        out.error = failure.message();
        return out;
    }
    if (const json* const tag = json_member(*object, "tag")) out.tag = *tag;
    const auto name = json_text(json_member(*object, "command"));
    if (!name) {
        out.error = "\"command\" is missing";
        return out;
    }
    out.name = *name;
    detail::command_members members(*object);
    auto command = detail::json_command(*name, members);
    out.error = command ? members.error() : "no such command";
    if (out.valid()) out.command = std::move(*command);
    return out;
}

}  // namespace cohort::examples
