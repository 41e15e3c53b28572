// One piece on its way: which of its blocks nobody was asked for, who was asked for the others, and who gave them.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/core/pieces.hpp>
#include <cohort/policy/peer_key.hpp>

namespace cohort {

/// Invariant: a block is exactly one of open (nobody was asked), asked of one peer (`single`), asked of two, or
/// received. A received block keeps the peer that still owes us a second copy until that copy comes or is given up.
class partial_piece {
public:
    /// How many peers may be asked for one block in the endgame. A block is late because the peer that was asked is
    /// slow; a second one almost always delivers, and a third would only add another copy to throw away.
    static constexpr std::size_t max_requesters = 2;

    partial_piece(piece_index piece, std::uint32_t blocks)
        : piece_(piece), open_(blocks, true), single_(blocks), received_(blocks), records_(blocks) {}

    piece_index piece() const { return piece_; }
    std::uint32_t blocks() const { return received_.size(); }
    const bitfield& open() const { return open_; }
    const bitfield& single() const { return single_; }
    const bitfield& received() const { return received_; }
    bool untouched() const { return open_.all(); }

    bool is_requested(std::uint32_t number, peer_key peer) const { return slot_of(number, peer) != nullptr; }

    /// Asks `peer` for a block that is open, or asked of one other peer.
    void request(std::uint32_t number, peer_key peer) {
        assert((open_.get(number) || single_.get(number)) && !is_requested(number, peer));
        *slot_of(number, no_peer) = peer;
        settle(number);
    }

    /// `peer` will not deliver: true if the block is open now and was not before.
    bool abandon(std::uint32_t number, peer_key peer) {
        peer_key* const slot = slot_of(number, peer);
        if (slot == nullptr) return false;
        *slot = no_peer;
        settle(number);
        return open_.get(number);
    }

    /// `peer` delivered, asked or not. False if the block was there already.
    bool receive(std::uint32_t number, peer_key peer) {
        if (peer_key* const slot = slot_of(number, peer)) *slot = no_peer;
        const bool first = received_.set(number);
        if (first) records_[number].giver = peer;
        settle(number);
        return first;
    }

    /// Those who were asked for the block and neither delivered nor were given up.
    void requesters(std::uint32_t number, std::vector<peer_key>& out) const {
        for (const peer_key peer : records_[number].asked)
            if (peer != no_peer) out.push_back(peer);
    }

    /// Who gave each block; no_peer where it has not come.
    std::vector<peer_key> contributors() const {
        std::vector<peer_key> out;
        out.reserve(records_.size());
        for (const block_record& record : records_) out.push_back(record.giver);
        return out;
    }

private:
    struct block_record {
        std::array<peer_key, max_requesters> asked{no_peer, no_peer};
        peer_key giver = no_peer;
    };

    const peer_key* slot_of(std::uint32_t number, peer_key peer) const {
        const auto& asked = records_[number].asked;
        const auto at = std::find(asked.begin(), asked.end(), peer);
        return at == asked.end() ? nullptr : &*at;
    }
    peer_key* slot_of(std::uint32_t number, peer_key peer) {
        return const_cast<peer_key*>(std::as_const(*this).slot_of(number, peer));
    }

    /// Makes the bitfields say what the record of the block says.
    void settle(std::uint32_t number) {
        const auto& asked = records_[number].asked;
        const auto vacant = static_cast<std::size_t>(std::count(asked.begin(), asked.end(), no_peer));
        const bool missing = !received_.get(number);
        mark(open_, number, missing && vacant == max_requesters);
        mark(single_, number, missing && vacant == max_requesters - 1);
    }

    static void mark(bitfield& bits, std::uint32_t number, bool value) {
        if (value)
            bits.set(number);
        else
            bits.reset(number);
    }

    piece_index piece_;
    bitfield open_;
    bitfield single_;
    bitfield received_;
    std::vector<block_record> records_;
};

}  // namespace cohort
