// The JSON form of chat messages: {"type":"typing","conversation":"<base64>","on":true}. Bytes are base64, numbers
// 64-bit integers; an entry is one string, because its bytes are signed as they are.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/base64.hpp>
#include <cohort/protocol/chat_message.hpp>
#include <cohort/protocol/json.hpp>

namespace cohort::chat {

/// The message as JSON in one line. Text that is not UTF-8 is repaired on the way.
std::string serialize(const message& m);

/// Reads one message. Unknown types come back as `unknown`, unknown members are ignored. Fails with
/// errc::chat_too_long above a limit and errc::chat_malformed for all else: no JSON, a member that is missing, of the
/// wrong type, or with a value that cannot be. Nothing is verified: neither entries nor keys.
std::optional<message> parse(std::string_view text, std::error_code& ec);

/// An entry for programs and logs: {"author":hex, "seq", "clock", "time_ms", "hash":hex, "kind", and what it says}.
json_object describe(const signed_entry& entry);

namespace detail {

/// Reads members of an object; the first failure stays, and what is read after it is of no account.
class json_reader {
public:
    json_reader(const json& object, std::error_code& ec) : object_(object), ec_(ec) {}

    void fail(errc code = errc::chat_malformed) {
        if (!ec_) ec_ = code;
    }
    bool good() const { return !ec_; }

    template <class Fixed>
        requires requires(Fixed value) { value.size(); }
    void bytes(const char* key, Fixed& out) {
        const auto value = json_text(json_member(object_, key));
        if (!value || !from_base64(*value, out)) fail();
    }
    void bytes(const char* key, byte_vector& out, std::size_t most) {
        const auto value = json_text(json_member(object_, key));
        if (value && value->size() > base64_size(most)) return fail(errc::chat_too_long);
        auto decoded = value ? from_base64(*value) : std::nullopt;
        if (!decoded) return fail();
        if (decoded->size() > most) return fail(errc::chat_too_long);
        out = std::move(*decoded);
    }
    template <std::unsigned_integral T>
    void number(const char* key, T& out, std::uint64_t most = std::numeric_limits<T>::max()) {
        const auto value = json_integer(json_member(object_, key));
        if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > most) return fail();
        out = static_cast<T>(*value);
    }
    void flag(const char* key, bool& out) {
        const json* const value = json_member(object_, key);
        if (value == nullptr || !value->is<bool>()) return fail();
        out = value->get<bool>();
    }
    /// False where there is none.
    void maybe_flag(const char* key, bool& out) {
        if (json_member(object_, key) != nullptr) flag(key, out);
    }
    void words(const char* key, std::string& out, std::size_t most) {
        const auto value = json_text(json_member(object_, key));
        if (!value || !is_utf8(*value)) return fail();
        if (value->size() > most) return fail(errc::chat_too_long);
        out = *value;
    }
    void optional_words(const char* key, std::string& out, std::size_t most) {
        if (json_member(object_, key) != nullptr) words(key, out, most);
    }
    void name(const char* key, std::string& out) {
        words(key, out, 64);
        if (good() && !is_chat_name(out)) fail();
    }
    /// Calls `each(json)` for each element.
    template <class Each>
    void list(const char* key, std::size_t most, Each each) {
        const json* const value = json_member(object_, key);
        if (value == nullptr || !value->is<json_array>()) return fail();
        const auto& elements = value->get<json_array>();
        if (elements.size() > most) return fail(errc::chat_too_long);
        for (const json& element : elements) {
            if (!good()) return;
            each(element);
        }
    }
    template <class T, class Each>
    void objects(const char* key, std::size_t most, std::vector<T>& out, Each each) {
        list(key, most, [&](const json& element) {
            if (!element.is<json_object>()) return fail();
            json_reader in(element, ec_);
            T one;
            each(in, one);
            if (good()) out.push_back(std::move(one));
        });
    }

    void offer(offer_id& out) {
        bytes("conversation", out.conversation.bytes);
        bytes("author", out.author.bytes);
        number("seq", out.seq, max_clock);
    }

private:
    const json& object_;
    std::error_code& ec_;
};

inline void read_json(json_reader& in, hello& out) {
    in.name("name", out.name);
    in.number("version", out.version);
    in.list("features", limits::features, [&](const json& element) {
        const auto feature = json_text(&element);
        if (!feature || !is_utf8(*feature)) return in.fail();
        if (feature->size() > 64) return in.fail(errc::chat_too_long);
        out.features.emplace_back(*feature);
    });
}

inline void read_json(json_reader& in, entries& out) {
    std::size_t sum = 0;
    in.list("entries", limits::entries, [&](const json& element) {
        const auto text = json_text(&element);
        if (!text) return in.fail();
        if (text->size() > base64_size(max_signed_entry)) return in.fail(errc::chat_too_long);
        const auto bytes = from_base64(*text);
        if (!bytes) return in.fail();
        sum += bytes->size();
        if (sum > limits::entries_bytes) return in.fail(errc::chat_too_long);
        std::error_code ec;
        auto entry = signed_entry::parse(*bytes, ec);
        if (!entry) return in.fail(static_cast<errc>(ec.value()));
        out.list.push_back(std::move(*entry));
    });
}

inline void read_json(json_reader& in, have& out) {
    in.bytes("conversation", out.conversation.bytes);
    in.number("clock", out.clock, max_clock);
    in.objects("heads", limits::heads, out.heads, [](json_reader& from, head& one) {
        from.bytes("author", one.author.bytes);
        from.number("seq", one.seq, max_clock);
        from.bytes("hash", one.hash.bytes);
    });
    in.maybe_flag("later", out.later);
}

inline void read_json(json_reader& in, received& out) {
    in.bytes("conversation", out.conversation.bytes);
    in.number("seq", out.seq, max_clock);
}

inline void read_json(json_reader& in, read& out) {
    in.bytes("conversation", out.conversation.bytes);
    in.objects("marks", limits::heads, out.marks, [](json_reader& from, read_mark& one) {
        from.bytes("author", one.author.bytes);
        from.number("seq", one.seq, max_clock);
    });
}

inline void read_json(json_reader& in, typing& out) {
    in.bytes("conversation", out.conversation.bytes);
    in.flag("on", out.on);
}

inline void read_json(json_reader& in, presence& out) {
    std::string state;
    in.words("state", state, limits::words);
    // A state of a later version is some way to be there.
    out.state = state == "away" ? presence_state::away : presence_state::online;
    in.optional_words("text", out.text, limits::words);
}

inline void read_json(json_reader& in, room_key& out) {
    in.bytes("room", out.room.bytes);
    in.bytes("author", out.author.bytes);
    in.number("key_id", out.key_id);
    in.number("index", out.index);
    in.bytes("chain_key", out.chain_key);
    in.bytes("signature", out.signature);
}

inline void read_json(json_reader& in, room_message& out) {
    in.bytes("room", out.room.bytes);
    in.bytes("author", out.author.bytes);
    in.number("key_id", out.key_id);
    in.number("index", out.index);
    in.bytes("ciphertext", out.ciphertext, limits::ciphertext);
}

inline void read_json(json_reader& in, history_request& out) {
    in.bytes("conversation", out.conversation.bytes);
    in.bytes("author", out.author.bytes);
    in.number("from_seq", out.from_seq, max_clock);
    in.number("count", out.count);
    out.count = std::min(out.count, limits::history);
}

inline void read_json(json_reader& in, members& out) {
    in.bytes("room", out.room.bytes);
    in.objects("members", limits::members, out.list, [](json_reader& from, member& one) {
        from.bytes("key", one.key.bytes);
        from.name("name", one.name);
        from.flag("joined", one.joined);
        std::string address;
        from.optional_words("address", address, 64);
        one.address = endpoint::parse(address);
        if (!address.empty() && !one.address) from.fail();
    });
}

inline void read_json(json_reader& in, file_accept& out) {
    in.offer(out.offer);
    in.number("port", out.port);
}

inline void read_json(json_reader& in, file_progress& out) {
    in.offer(out.offer);
    in.number("bytes", out.bytes, max_clock);
}

inline void read_json(json_reader& in, file_refuse& out) {
    in.offer(out.offer);
    in.optional_words("reason", out.reason, limits::words);
}

inline void read_json(json_reader& in, ping& out) { in.number("id", out.id, max_clock); }
inline void read_json(json_reader& in, pong& out) { in.number("id", out.id, max_clock); }

struct json_writer {
    json_line line;

    template <std::size_t N, class Tag>
    static std::string text(const fixed_bytes<N, Tag>& value) {
        return to_base64(value.bytes);
    }
    static std::string text(const identity_key& value) { return to_base64(value.bytes); }
    static std::string text(byte_view value) { return to_base64(value); }

    json_line& of_type(std::string_view type) { return line.add("type", type); }
    json_line& of_offer(std::string_view type, const offer_id& id) {
        of_type(type).add("conversation", text(id.conversation)).add("author", text(id.author));
        return line.add("seq", id.seq);
    }

    template <class T, class Each>
    static json_array array(const std::vector<T>& from, Each each) {
        json_array out;
        out.reserve(from.size());
        for (const T& one : from) out.push_back(json(each(one)));
        return out;
    }

    void operator()(const hello& m) {
        of_type("hello").add("name", m.name).add("version", m.version);
        line.add("features", array(m.features, [](const std::string& one) { return to_json(one); }));
    }
    void operator()(const entries& m) {
        of_type("entries").add("entries", array(m.list, [](const signed_entry& one) { return text(one.bytes()); }));
    }
    void operator()(const have& m) {
        of_type("have").add("conversation", text(m.conversation)).add("clock", m.clock);
        line.add("heads", array(m.heads, [](const head& one) {
                     return json_object{
                         {"author", json(text(one.author))}, {"seq", to_json(one.seq)}, {"hash", json(text(one.hash))}};
                 }));
        if (m.later) line.add("later", true);
    }
    void operator()(const received& m) {
        of_type("received").add("conversation", text(m.conversation)).add("seq", m.seq);
    }
    void operator()(const read& m) {
        of_type("read").add("conversation", text(m.conversation));
        line.add("marks", array(m.marks, [](const read_mark& one) {
                     return json_object{{"author", json(text(one.author))}, {"seq", to_json(one.seq)}};
                 }));
    }
    void operator()(const typing& m) { of_type("typing").add("conversation", text(m.conversation)).add("on", m.on); }
    void operator()(const presence& m) {
        of_type("presence").add("state", m.state == presence_state::away ? "away" : "online").add("text", m.text);
    }
    void operator()(const room_key& m) {
        of_type("room_key").add("room", text(m.room)).add("author", text(m.author)).add("key_id", m.key_id);
        line.add("index", m.index).add("chain_key", text(m.chain_key)).add("signature", text(m.signature));
    }
    void operator()(const room_message& m) {
        of_type("room_message").add("room", text(m.room)).add("author", text(m.author)).add("key_id", m.key_id);
        line.add("index", m.index).add("ciphertext", text(m.ciphertext));
    }
    void operator()(const history_request& m) {
        of_type("history_request").add("conversation", text(m.conversation)).add("author", text(m.author));
        line.add("from_seq", m.from_seq).add("count", m.count);
    }
    void operator()(const members& m) {
        of_type("members").add("room", text(m.room));
        line.add("members", array(m.list, [](const member& one) {
                     json_object out{
                         {"key", json(text(one.key))}, {"name", to_json(one.name)}, {"joined", to_json(one.joined)}};
                     if (one.address) out.emplace("address", to_json(one.address->to_string()));
                     return out;
                 }));
    }
    void operator()(const file_accept& m) { of_offer("file_accept", m.offer).add("port", m.port); }
    void operator()(const file_progress& m) { of_offer("file_progress", m.offer).add("bytes", m.bytes); }
    void operator()(const file_refuse& m) { of_offer("file_refuse", m.offer).add("reason", m.reason); }
    void operator()(const ping& m) { of_type("ping").add("id", m.id); }
    void operator()(const pong& m) { of_type("pong").add("id", m.id); }
    void operator()(const unknown&) {}
};

template <class Message>
std::optional<message> read_message(const json& object, std::error_code& ec) {
    json_reader in(object, ec);
    Message out;
    read_json(in, out);
    if (ec) return std::nullopt;
    return message(std::move(out));
}

struct message_type {
    std::string_view name;
    std::optional<message> (*read)(const json& object, std::error_code& ec);
};

inline constexpr message_type message_types[] = {
    {"entries", read_message<entries>},
    {"have", read_message<have>},
    {"room_message", read_message<room_message>},
    {"hello", read_message<hello>},
    {"received", read_message<received>},
    {"read", read_message<read>},
    {"typing", read_message<typing>},
    {"presence", read_message<presence>},
    {"room_key", read_message<room_key>},
    {"history_request", read_message<history_request>},
    {"members", read_message<members>},
    {"file_accept", read_message<file_accept>},
    {"file_progress", read_message<file_progress>},
    {"file_refuse", read_message<file_refuse>},
    {"ping", read_message<ping>},
    {"pong", read_message<pong>},
};

}  // namespace detail

inline std::string serialize(const message& m) {
    if (const auto* const raw = std::get_if<unknown>(&m)) return raw->json;
    detail::json_writer out;
    std::visit(std::ref(out), m);
    return out.line.take();
}

inline std::optional<message> parse(std::string_view text, std::error_code& ec) {
    ec.clear();
    if (text.size() > limits::message) {
        ec = errc::chat_too_long;
        return std::nullopt;
    }
    constexpr std::size_t depth = 16;
    const auto object = parse_json(text, ec, depth);
    const auto type = object ? json_text(json_member(*object, "type")) : std::nullopt;
    if (!type) {
        ec = errc::chat_malformed;
        return std::nullopt;
    }
    const auto* const known = std::find_if(std::begin(detail::message_types), std::end(detail::message_types),
                                           [&](const detail::message_type& one) { return one.name == *type; });
    if (known != std::end(detail::message_types)) return known->read(*object, ec);
    return unknown{std::string(*type), object->serialize()};
}

inline json_object describe(const signed_entry& entry) {
    const chat_entry& e = entry.entry();
    json_object out{{"author", json(e.author.hex())},
                    {"seq", to_json(e.seq)},
                    {"clock", to_json(e.clock)},
                    {"time_ms", to_json(e.time_ms)},
                    {"hash", json(entry.hash().hex())}};
    const auto add = [&out](const char* key, json value) { out[key] = std::move(value); };
    if (const auto* const said = std::get_if<chat::text>(&e.body)) {
        add("kind", json("text"));
        add("content", to_json(said->content));
    } else if (const auto* const offer = std::get_if<file_offer>(&e.body)) {
        add("kind", json("file_offer"));
        add("name", to_json(offer->name));
        add("size", to_json(offer->size));
        add("info_hash", json(offer->hash.hex()));
    } else if (const auto* const join = std::get_if<room_join>(&e.body)) {
        add("kind", json("room_join"));
        add("room", to_json(join->room));
        add("name", to_json(join->name));
    } else if (const auto* const leave = std::get_if<room_leave>(&e.body)) {
        add("kind", json("room_leave"));
        add("reason", to_json(leave->reason));
    } else {
        add("kind", json("unknown"));
    }
    return out;
}

}  // namespace cohort::chat
