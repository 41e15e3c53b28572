// One direction of the peer wire (BEP 3, 6, 10) for a trace: every message with its fields, no data.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/endian.hpp>
#include <cohort/protocol/extension.hpp>
#include <cohort/protocol/handshake.hpp>
#include <cohort/protocol/percent.hpp>
#include <cohort/protocol/trace_talk.hpp>
#include <cohort/protocol/wire.hpp>

namespace cohort::detail {

/// Begins with the handshake. Messages that no connection would take (wire::limits) end it: what follows is opaque.
class wire_trace final : public trace_side {
public:
    using trace_side::trace_side;

    trace_wish first() override { return trace_wish::bytes(handshake_size); }

    trace_wish take(byte_view unit) override {
        switch (step_) {
        case step::handshake: return greet(unit);
        case step::length: {
            size_ = load_be<std::uint32_t>(unit.data());
            if (size_ == 0) return tell_and_go_on("keep_alive");
            if (size_ > wire::limits().message) return opaque();
            step_ = step::id;
            return trace_wish::up_to(5);
        }
        case step::id: {
            id_ = static_cast<wire::message_id>(unit[4]);
            if (!wire::detail::length_fits(id_, size_, wire::limits())) return opaque();
            step_ = step::head;
            const std::size_t head = head_size();
            return head > unit.size() ? trace_wish::up_to(head) : take(unit);
        }
        case step::head: return head(unit);
        }
        return opaque();
    }

    void see(byte_view part) override {
        if (id_ != wire::message_id::bitfield) return;
        for (const std::uint8_t byte : part) bits_ += static_cast<std::uint64_t>(std::popcount(byte));
    }

    trace_wish passed() override {
        if (id_ == wire::message_id::bitfield) fields_.push_back({"count", bits_});
        return tell_and_go_on(name_, std::move(fields_));
    }

private:
    enum class step { handshake, length, id, head };

    trace_wish greet(byte_view unit) {
        std::error_code error;
        const auto greeting = parse_handshake(unit, error);
        if (!greeting) return opaque();
        return tell_and_go_on("handshake", {{"info_hash", greeting->hash.hex()},
                                            {"peer_id", percent_encode(as_text(greeting->id.view()))},
                                            {"fast", greeting->fast},
                                            {"extension_protocol", greeting->extension_protocol},
                                            {"dht", greeting->dht}});
    }

    /// How much of the message is looked at, its length included.
    std::size_t head_size() const {
        const std::size_t whole = std::size_t{4} + size_;
        switch (id_) {
        case wire::message_id::piece: return wire::piece_header_size;
        case wire::message_id::extended: return 6;
        case wire::message_id::bitfield: return 5;
        default: return wire::detail::fixed_length(id_) == wire::detail::any_length ? 5 : whole;
        }
    }

    trace_wish head(byte_view unit) {
        const std::size_t whole = std::size_t{4} + size_;
        if (id_ == wire::message_id::extended) {
            const bool readable = unit[5] == 0 && whole <= trace_scanner::held_max;
            if (!readable) return pass_extended(unit[5]);
            return unit.size() < whole ? trace_wish::up_to(whole) : extension_handshake_of(unit.subspan(6));
        }
        if (id_ == wire::message_id::piece) {
            const std::uint64_t length = size_ - 9;
            return pass("piece", length, {{"index", number(unit, 5)}, {"begin", number(unit, 9)}, {"length", length}});
        }
        if (id_ == wire::message_id::bitfield) {
            bits_ = 0;
            return pass("bitfield", size_ - 1, {{"length", std::uint64_t{size_ - 1}}});
        }
        std::error_code error;
        byte_view in = unit;
        const auto message = wire::parse(in, error);
        if (!message) {
            const auto id = static_cast<std::uint64_t>(id_);
            return pass("unknown", size_ - 1, {{"id", id}, {"length", std::uint64_t{size_ - 1}}});
        }
        std::visit([this](const auto& m) { tell_of(m); }, *message);
        step_ = step::length;
        return trace_wish::bytes(4);
    }

    static std::uint64_t number(byte_view unit, std::size_t at) { return load_be<std::uint32_t>(unit.data() + at); }

    trace_wish pass_extended(std::uint8_t id) {
        const std::uint64_t length = size_ - 2;
        std::vector<trace_field> fields{{"id", std::uint64_t{id}}};
        if (id == 0) return pass("extension_handshake", length, {{"length", length}});
        const trace_ids& names = extensions(other());
        const auto same = [id](const auto& one) { return one.second == id; };
        const auto known = std::find_if(names.begin(), names.end(), same);
        if (known != names.end()) fields.push_back({"name", known->first});
        fields.push_back({"length", length});
        return pass("extended", length, std::move(fields));
    }

    trace_wish extension_handshake_of(byte_view payload) {
        std::error_code error;
        const auto read = parse_extension_handshake(payload, error);
        if (!read) {
            const std::uint64_t length = payload.size();
            return tell_and_go_on("extension_handshake", {{"length", length}});
        }
        std::vector<trace_field> fields{{"m", read->m}};
        if (!read->v.empty()) fields.push_back({"v", read->v});
        if (read->p) fields.push_back({"p", std::uint64_t{*read->p}});
        if (read->reqq) fields.push_back({"reqq", std::uint64_t{*read->reqq}});
        if (read->metadata_size) fields.push_back({"metadata_size", std::uint64_t{*read->metadata_size}});
        if (read->upload_only) fields.push_back({"upload_only", true});
        // A second handshake adds to the first, and 0 takes back (BEP 10).
        trace_ids& known = extensions(dir());
        for (const auto& [name, id] : read->m) {
            if (id == 0)
                known.erase(name);
            else if (known.contains(name) || known.size() < extensions_max)
                known[name] = id;
        }
        return tell_and_go_on("extension_handshake", std::move(fields));
    }

    trace_wish pass(std::string_view name, std::uint64_t size, std::vector<trace_field> fields) {
        name_ = name;
        fields_ = std::move(fields);
        return trace_wish::body(size);
    }
    trace_wish tell_and_go_on(std::string_view name, std::vector<trace_field> fields = {}) {
        tell(name, std::move(fields));
        step_ = step::length;
        return trace_wish::bytes(4);
    }

    void tell_of(const wire::keep_alive&) const { tell("keep_alive"); }
    void tell_of(const wire::choke&) const { tell("choke"); }
    void tell_of(const wire::unchoke&) const { tell("unchoke"); }
    void tell_of(const wire::interested&) const { tell("interested"); }
    void tell_of(const wire::not_interested&) const { tell("not_interested"); }
    void tell_of(const wire::have_all&) const { tell("have_all"); }
    void tell_of(const wire::have_none&) const { tell("have_none"); }
    void tell_of(const wire::have& m) const { tell_piece("have", m.piece); }
    void tell_of(const wire::suggest& m) const { tell_piece("suggest", m.piece); }
    void tell_of(const wire::allowed_fast& m) const { tell_piece("allowed_fast", m.piece); }
    void tell_of(const wire::request& m) const { tell_block("request", m.range); }
    void tell_of(const wire::cancel& m) const { tell_block("cancel", m.range); }
    void tell_of(const wire::reject& m) const { tell_block("reject", m.range); }
    void tell_of(const wire::port& m) const { tell("port", {{"value", std::uint64_t{m.value}}}); }
    void tell_of(const wire::unknown& m) const {
        tell("unknown", {{"id", std::uint64_t{m.id}}, {"length", std::uint64_t{0}}});
    }
    // These three are passed by in parts.
    void tell_of(const wire::bitfield&) const {}
    void tell_of(const wire::piece&) const {}
    void tell_of(const wire::extended&) const {}

    void tell_piece(std::string_view name, piece_index index) const { tell(name, {{"index", std::uint64_t{index}}}); }
    void tell_block(std::string_view name, const block& range) const {
        tell(name, {{"index", std::uint64_t{range.piece}},
                    {"begin", std::uint64_t{range.begin}},
                    {"length", std::uint64_t{range.length}}});
    }

    step step_ = step::handshake;
    std::uint32_t size_ = 0;  ///< of the message under way, as its length prefix says
    wire::message_id id_{};
    std::uint64_t bits_ = 0;
    std::string_view name_;
    std::vector<trace_field> fields_;
};

}  // namespace cohort::detail
