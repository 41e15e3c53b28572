// The piece picker under a script of peers that come, give, refuse and go, beside a plain model of what it must know.

#include <map>
#include <optional>
#include <set>
#include <tuple>

#include <cohort/policy/piece_picker.hpp>

#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

using block_name = std::pair<piece_index, std::uint32_t>;  // piece and begin

block_name name_of(const block& b) { return {b.piece, b.begin}; }

struct picker_script {
    static constexpr peer_key peers = 4;

    explicit picker_script(script& input)
        : from(input),
          layout(std::uint64_t{1 + from.below(24)} * piece_length + from.below(piece_length), piece_length),
          trials(from.flag()),
          picker(layout, {.sequential = from.flag(), .random_first = from.below(3), .trial_pieces = trials ? 2u : 0u}),
          random(from.byte()) {}

    void run() {
        while (!from.done() && ++steps < 400) step();
        finish();
    }

    void step() {
        const peer_key peer = from.below(peers);
        const piece_index piece = from.below(layout.piece_count());
        switch (from.byte() % 9) {
        case 0: join(peer); break;
        case 1: leave(peer); break;
        case 2:
            if (has[peer] && has[peer]->set(piece)) picker.peer_has(piece);
            break;
        case 3:
        case 4: pick(peer, from.below(20), from.below(4)); break;
        case 5: deliver_next(peer); break;
        case 6: abandon_next(peer); break;
        case 7: picker.set_priority(piece, static_cast<std::uint8_t>(from.below(8))); break;
        default: judge(piece); break;
        }
        check_sums();
    }

    void join(peer_key peer) {
        if (has[peer]) return;
        has[peer].emplace(layout.piece_count(), from.byte() % 4 == 0);
        for (piece_index i = 0; i < layout.piece_count(); ++i)
            if (from.flag()) has[peer]->set(i);
        picker.peer_joined(*has[peer]);
    }

    void leave(peer_key peer) {
        if (!has[peer]) return;
        while (!asked[peer].empty()) abandon_next(peer);
        picker.peer_left(peer, *has[peer]);
        has[peer].reset();
    }

    void pick(peer_key peer, std::size_t count, std::size_t duplicates) {
        if (!has[peer]) return;
        std::vector<block> out;
        picker.pick(peer, *has[peer], count, random, out, {duplicates});
        require(out.size() <= count, "no more than was wanted");
        std::size_t again = 0;
        for (const block& b : out) {
            require(layout.is_block(b) && has[peer]->get(b.piece), "a block of a piece that the peer has");
            require(picker.wants(b.piece) && !picker.have().get(b.piece), "of a piece that we want");
            require(!got.contains(name_of(b)), "that has not come");
            require(!asked[peer].contains(name_of(b)), "and that this peer was not asked for");
            const std::size_t others = askers(b);
            require(others <= 1, "two peers at most are asked for one block");
            again += others;
            asked[peer].emplace(name_of(b), b);
            require(picker.is_requested(b, peer), "the picker knows");
        }
        require(again <= duplicates, "so many duplicates and no more");
        require(again == 0 || !somebody_has_open_block(), "duplicates only in the endgame");
        require(out.size() == count || trials || !has_open_block(*has[peer]),
                "no peer waits while it could give something");
    }

    std::size_t askers(const block& b) const {
        std::size_t count = 0;
        for (const auto& requests : asked) count += requests.contains(name_of(b));
        return count;
    }

    bool has_open_block(const bitfield& bits) const {
        for (piece_index piece = 0; piece < layout.piece_count(); ++piece) {
            if (!bits.get(piece) || !picker.wants(piece)) continue;
            for (std::uint32_t i = 0; i < layout.blocks_in(piece); ++i) {
                const block b = layout.block_at(piece, i);
                if (!got.contains(name_of(b)) && askers(b) == 0) return true;
            }
        }
        return false;
    }
    bool somebody_has_open_block() const {
        return std::any_of(has.begin(), has.end(), [this](const auto& one) { return one && has_open_block(*one); });
    }

    void deliver_next(peer_key peer) {
        if (!has[peer]) return;
        block b = layout.block_at(from.below(layout.piece_count()), 0);
        if (!asked[peer].empty()) b = asked[peer].begin()->second;  // otherwise it comes unasked
        asked[peer].erase(name_of(b));
        const bool news = !picker.have().get(b.piece) && got.insert(name_of(b)).second;
        const block_result result = picker.received(b, peer);
        require((result != block_result::duplicate) == news, "a block is new once");
        require((result == block_result::piece_complete) == (news && is_complete(b.piece)), "the last block is told");
    }

    bool is_complete(piece_index piece) const {
        for (std::uint32_t i = 0; i < layout.blocks_in(piece); ++i)
            if (!got.contains(name_of(layout.block_at(piece, i)))) return false;
        return true;
    }

    void abandon_next(peer_key peer) {
        if (asked[peer].empty()) return;
        const block b = asked[peer].begin()->second;
        asked[peer].erase(asked[peer].begin());
        picker.abandoned(b, peer);
        require(!picker.is_requested(b, peer), "a request that was given back is over");
    }

    void judge(piece_index piece) {
        if (picker.have().get(piece) || !is_complete(piece)) return;
        if (from.byte() % 4 != 0)
            picker.passed(piece);
        else
            picker.failed(piece);
        for (std::uint32_t i = 0; i < layout.blocks_in(piece); ++i) {
            const block_name name = name_of(layout.block_at(piece, i));
            got.erase(name);
            for (auto& requests : asked) requests.erase(name);
        }
    }

    void check_sums() const {
        std::uint64_t left = 0;
        std::uint64_t missing = 0;
        for (piece_index piece = 0; piece < layout.piece_count(); ++piece) {
            const bool lacking = !picker.have().get(piece);
            if (lacking) missing += layout.piece_size(piece);
            if (picker.wants(piece)) left += layout.piece_size(piece);
            require(picker.wants(piece) == (lacking && picker.priority(piece) > 0),
                    "wanted is what is lacking and chosen");
            std::uint32_t copies = 0;
            for (const auto& bits : has) copies += bits && bits->get(piece);
            require(picker.availability(piece) == copies, "copies are counted right");
        }
        require(picker.bytes_left() == left && picker.bytes_missing() == missing, "bytes are counted right");
        require(picker.finished() == (left == 0), "the end is seen");
    }

    /// A seeder that gives all that it is asked for makes an end, whatever was before.
    void finish() {
        for (peer_key peer = 0; peer < peers; ++peer) leave(peer);
        for (piece_index piece = 0; piece < layout.piece_count(); ++piece)
            if (is_complete(piece) && !picker.have().get(piece)) picker.passed(piece);
        const bitfield all(layout.piece_count(), true);
        picker.peer_joined(all);
        for (std::vector<block> out; !picker.finished(); out.clear()) {
            picker.pick(peers, all, 10, random, out);
            require(!out.empty(), "there is work until the end");
            for (const block& b : out)
                if (picker.received(b, peers) == block_result::piece_complete) picker.passed(b.piece);
        }
        require(picker.bytes_left() == 0, "nothing is left");
    }

    static constexpr std::uint32_t piece_length = 3 * block_size;

    script& from;
    piece_layout layout;
    bool trials;  // newcomers have to prove themselves
    piece_picker picker;
    random_engine random;
    int steps = 0;
    std::array<std::optional<bitfield>, peers> has;
    std::array<std::map<block_name, block>, peers> asked;
    std::set<block_name> got;  // blocks of pieces that are not verified
};

void check_piece_picker(byte_view input) {
    script from(input);
    picker_script(from).run();
}

constexpr target table[] = {{"piece_picker", check_piece_picker, 2048}};

}  // namespace

std::span<const target> picker_targets() { return table; }

}  // namespace cohort::fuzz
