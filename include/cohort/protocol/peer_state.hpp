// What the messages of one connection have established so far, and which message may not follow (BEP 3, 6).
#pragma once

#include <optional>
#include <system_error>
#include <utility>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/error.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/protocol/wire.hpp>

namespace cohort {

/// Both sides' flags and the peer's pieces. A connection begins choked and not interested on both sides (BEP 3).
class peer_state {
public:
    peer_state() = default;
    /// `fast`: both handshakes carried the Fast extension's bit (BEP 6).
    peer_state(piece_layout layout, bool fast) : has(layout.piece_count()), layout_(layout), fast_(fast) {}

    bool am_choking = true;
    bool am_interested = false;
    bool peer_choking = true;
    bool peer_interested = false;
    /// The pieces that the peer announced.
    bitfield has;

    bool fast() const { return fast_; }
    /// Whether the peer has said anything about its pieces.
    bool pieces_known() const { return pieces_known_; }
    const piece_layout& layout() const { return layout_; }

    /// Takes in a message that arrived. An error is a violation: the connection should end with it. Requests are not
    /// judged here: out of range or unwanted ones are answered with `reject`, which is the engine's business.
    std::error_code apply(const wire::message& message) {
        return std::visit([this](const auto& m) { return on(m); }, message);
    }

    /// Takes in a message that goes out.
    void sent(const wire::choke&) { am_choking = true; }
    void sent(const wire::unchoke&) { am_choking = false; }
    void sent(const wire::interested&) { am_interested = true; }
    void sent(const wire::not_interested&) { am_interested = false; }
    template <class Message>
    void sent(const Message&) {}

private:
    template <class Message>
    std::error_code on(const Message&) {
        return {};
    }

    std::error_code on(const wire::choke&) { return peer_choking = true, std::error_code{}; }
    std::error_code on(const wire::unchoke&) { return peer_choking = false, std::error_code{}; }
    std::error_code on(const wire::interested&) { return peer_interested = true, std::error_code{}; }
    std::error_code on(const wire::not_interested&) { return peer_interested = false, std::error_code{}; }

    std::error_code on(const wire::have& m) {
        if (m.piece >= layout_.piece_count()) return errc::index_out_of_range;
        pieces_known_ = true;
        has.set(m.piece);
        return {};
    }

    /// BEP 3 has it first and once, but aria2 sends it again where that is shorter than a `have` for each new piece. So
    /// a later one is taken for those: it adds, and never takes back.
    std::error_code on(const wire::bitfield& m) {
        const auto bits = cohort::bitfield::from_wire(m.bits, layout_.piece_count());
        if (!bits) return errc::bitfield_invalid;
        pieces_known_ = true;
        has |= *bits;
        return {};
    }
    std::error_code on(const wire::have_all&) {
        return fast_ ? announce_all(cohort::bitfield(layout_.piece_count(), true)) : errc::message_malformed;
    }
    std::error_code on(const wire::have_none&) {
        return fast_ ? announce_all(cohort::bitfield(layout_.piece_count())) : errc::message_malformed;
    }

    std::error_code on(const wire::piece& m) {
        const block range = m.range();
        return layout_.contains(range) ? std::error_code{} : errc::index_out_of_range;
    }
    std::error_code on(const wire::reject&) { return fast_ ? std::error_code{} : errc::message_malformed; }
    std::error_code on(const wire::allowed_fast&) { return fast_ ? std::error_code{} : errc::message_malformed; }
    std::error_code on(const wire::suggest&) { return fast_ ? std::error_code{} : errc::message_malformed; }

    /// Once, and not after any other word about pieces (BEP 6).
    std::error_code announce_all(cohort::bitfield bits) {
        if (std::exchange(pieces_known_, true)) return errc::bitfield_invalid;
        has = std::move(bits);
        return {};
    }

    piece_layout layout_;
    bool fast_ = false;
    bool pieces_known_ = false;
};

}  // namespace cohort
