#include <cohort/policy/piece_picker.hpp>

#include <algorithm>
#include <map>
#include <set>

#include <doctest/doctest.h>

namespace piece_picker_test {

using namespace cohort;

namespace {

using blocks = std::vector<block>;

blocks pick(piece_picker& picker, peer_key peer, const bitfield& has, std::size_t count, random_engine& random) {
    blocks out;
    picker.pick(peer, has, count, random, out);
    return out;
}

/// Asks `peer` for everything it can give, takes it, and passes every piece.
void fetch_all(piece_picker& picker, peer_key peer, const bitfield& has, random_engine& random) {
    for (;;) {
        const blocks got = pick(picker, peer, has, 10, random);
        if (got.empty()) return;
        for (const block& b : got)
            if (picker.received(b, peer) == block_result::piece_complete) picker.passed(b.piece);
    }
}

bitfield bits_of(std::uint32_t size, std::initializer_list<piece_index> set) {
    bitfield out(size);
    for (const piece_index p : set) out.set(p);
    return out;
}

piece_layout layout_of(piece_index pieces, std::uint32_t blocks_per_piece) {
    return {std::uint64_t{pieces} * blocks_per_piece * block_size, blocks_per_piece * block_size};
}

// Nobody has to prove anything, but where a test says otherwise.
constexpr picker_options rarest_at_once{.sequential = false, .random_first = 0, .trial_pieces = 0};
constexpr picker_options in_order{.sequential = true, .random_first = 0, .trial_pieces = 0};

}  // namespace

TEST_CASE("the rarest piece is asked for first") {
    piece_picker picker(layout_of(4, 1), rarest_at_once);
    random_engine random(1);
    const bitfield all(4, true);
    picker.peer_joined(all);
    picker.peer_joined(bits_of(4, {0, 1, 3}));
    picker.peer_joined(bits_of(4, {0, 1}));
    picker.peer_has(1);
    CHECK(picker.availability(0) == 3);
    CHECK(picker.availability(1) == 4);
    CHECK(picker.availability(2) == 1);
    CHECK(picker.availability(3) == 2);
    const blocks got = pick(picker, 1, all, 4, random);
    REQUIRE(got.size() == 4);
    CHECK(got[0].piece == 2);
    CHECK(got[1].piece == 3);
    CHECK(got[2].piece == 0);
    CHECK(got[3].piece == 1);
}

TEST_CASE("until the first piece is verified pieces are chosen at random") {
    std::set<piece_index> chosen;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        piece_picker picker(layout_of(8, 2), {.trial_pieces = 0});
        random_engine random(seed);
        const bitfield all(8, true);
        picker.peer_joined(all);
        picker.peer_joined(bits_of(8, {0, 1, 2, 3, 4, 5, 6}));  // makes piece 7 the rarest
        chosen.insert(pick(picker, 1, all, 1, random).at(0).piece);
        picker.set_have(pick(picker, 1, all, 1, random).at(0).piece);
        if (!picker.have().get(7)) CHECK(pick(picker, 1, all, 1, random).at(0).piece == 7);
    }
    CHECK(chosen.size() == 8);
}

TEST_CASE("a started piece is finished before a new one is begun, by whoever comes") {
    piece_picker picker(layout_of(10, 4), rarest_at_once);
    random_engine random(1);
    const bitfield all(10, true);
    picker.peer_joined(all);
    picker.peer_joined(all);
    const piece_index first = pick(picker, 1, all, 2, random).at(0).piece;
    const blocks second = pick(picker, 2, all, 3, random);
    REQUIRE(second.size() == 3);
    CHECK(second[0] == block{first, 2 * block_size, block_size});
    CHECK(second[1] == block{first, 3 * block_size, block_size});
    CHECK(second[2].piece != first);
    CHECK(picker.partial_count() == 2);
}

TEST_CASE("a seed is asked for what no leecher has before it helps with a started piece that one has") {
    for (const bool sequential : {false, true}) {
        piece_picker picker(layout_of(4, 4), sequential ? in_order : rarest_at_once);
        random_engine random(1);
        const bitfield all(4, true);
        const bitfield first = bits_of(4, {0});
        picker.peer_joined(all);
        picker.peer_joined(first);
        CHECK(pick(picker, 2, first, 1, random).at(0).piece == 0);
        const blocks from_seed = pick(picker, 1, all, 12, random);
        REQUIRE(from_seed.size() == 12);
        const bool helps_at_once =
            std::any_of(from_seed.begin(), from_seed.end(), [](const block& b) { return b.piece == 0; });
        CHECK(helps_at_once == sequential);
        // When there is no more of that, it helps.
        CHECK(pick(picker, 1, all, 1, random).at(0).piece == (sequential ? 3 : 0));
    }
}

TEST_CASE("what a leecher has of a higher priority comes before what only a seed has") {
    piece_picker picker(layout_of(4, 4), rarest_at_once);
    random_engine random(1);
    const bitfield all(4, true);
    picker.peer_joined(all);
    picker.peer_joined(bits_of(4, {2}));
    picker.set_priority(2, 7);
    CHECK(pick(picker, 2, bits_of(4, {2}), 1, random).at(0).piece == 2);
    CHECK(pick(picker, 1, all, 1, random).at(0).piece == 2);
}

TEST_CASE("of several started pieces the one nearest to completion goes on") {
    piece_picker picker(layout_of(3, 4), rarest_at_once);
    random_engine random(1);
    for (int i = 0; i < 3; ++i) picker.peer_joined(bits_of(3, {0, 1, 2}));
    for (const piece_index piece : {0u, 1u, 2u}) picker.peer_joined(bits_of(3, {piece}));
    CHECK(pick(picker, 1, bits_of(3, {0}), 1, random).at(0).piece == 0);
    CHECK(pick(picker, 2, bits_of(3, {1}), 3, random).at(0).piece == 1);
    CHECK(pick(picker, 3, bitfield(3, true), 1, random).at(0).piece == 1);
    CHECK(pick(picker, 3, bitfield(3, true), 1, random).at(0).piece == 0);
}

TEST_CASE("a big batch comes as long runs of one piece") {
    piece_picker picker(layout_of(100, 64), rarest_at_once);
    random_engine random(1);
    const bitfield all(100, true);
    picker.peer_joined(all);
    const blocks got = pick(picker, 1, all, 640, random);
    REQUIRE(got.size() == 640);
    int breaks = 0;
    for (std::size_t i = 1; i < got.size(); ++i)
        if (got[i].piece != got[i - 1].piece || got[i].begin != got[i - 1].begin + block_size) ++breaks;
    CHECK(breaks == 9);
}

TEST_CASE("sequential picks go by index, whatever is rare") {
    piece_picker picker(layout_of(6, 2), in_order);
    random_engine random(1);
    const bitfield all(6, true);
    picker.peer_joined(all);
    picker.peer_joined(bits_of(6, {0, 1, 2}));
    const blocks got = pick(picker, 1, all, 12, random);
    REQUIRE(got.size() == 12);
    CHECK(std::is_sorted(got.begin(), got.end()));
}

TEST_CASE("sequential picks return to an earlier piece that failed") {
    piece_picker picker(layout_of(6, 1), in_order);
    random_engine random(1);
    const bitfield all(6, true);
    picker.peer_joined(all);
    const blocks got = pick(picker, 1, all, 3, random);
    REQUIRE(picker.received(got.at(1), 1) == block_result::piece_complete);
    picker.failed(1);
    CHECK(pick(picker, 1, all, 1, random).at(0).piece == 1);
    CHECK(pick(picker, 1, all, 1, random).at(0).piece == 3);
}

TEST_CASE("a higher priority comes before rarity and before a lower index") {
    for (const picker_options options : {rarest_at_once, in_order}) {
        piece_picker picker(layout_of(5, 1), options);
        random_engine random(1);
        const bitfield all(5, true);
        picker.peer_joined(all);
        picker.peer_joined(bits_of(5, {3, 4}));
        picker.set_priority(3, 7);
        picker.set_priority(4, 6);
        picker.set_priority(0, 0);
        picker.set_priority(1, 1);
        const blocks got = pick(picker, 1, all, 5, random);
        REQUIRE(got.size() == 4);
        CHECK(got[0].piece == 3);
        CHECK(got[1].piece == 4);
        CHECK(got[2].piece == 2);
        CHECK(got[3].piece == 1);
    }
}

TEST_CASE("deselected pieces are neither wanted nor asked for, and can be selected again") {
    piece_picker picker(layout_of(3, 2), rarest_at_once);
    random_engine random(1);
    const bitfield all(3, true);
    picker.peer_joined(all);
    picker.set_priority(0, 0);
    picker.set_priority(2, 0);
    CHECK_FALSE(picker.wants(0));
    CHECK(picker.count_wanted(all) == 1);
    CHECK(picker.bytes_left() == 2 * block_size);
    CHECK(picker.bytes_missing() == 6 * block_size);
    fetch_all(picker, 1, all, random);
    CHECK(picker.finished());
    CHECK(picker.have() == bits_of(3, {1}));
    CHECK(picker.bytes_left() == 0);
    CHECK(picker.bytes_missing() == 4 * block_size);

    picker.set_priority(2, 4);
    CHECK_FALSE(picker.finished());
    fetch_all(picker, 1, all, random);
    CHECK(picker.have() == bits_of(3, {1, 2}));
}

TEST_CASE("a piece deselected while it is fetched is left alone, and goes on when selected again") {
    piece_picker picker(layout_of(1, 4), rarest_at_once);
    random_engine random(1);
    const bitfield all(1, true);
    picker.peer_joined(all);
    const blocks got = pick(picker, 1, all, 1, random);
    picker.set_priority(0, 0);
    CHECK(pick(picker, 1, all, 4, random).empty());
    CHECK(pick(picker, 2, all, 4, random).empty());
    CHECK(picker.received(got.at(0), 1) == block_result::accepted);
    picker.set_priority(0, 4);
    CHECK(pick(picker, 1, all, 4, random).size() == 3);
}

TEST_CASE("the last block of a piece and of the torrent has its own length") {
    piece_picker picker(piece_layout(100'000, 65'536), in_order);
    random_engine random(1);
    const bitfield all(2, true);
    picker.peer_joined(all);
    const blocks got = pick(picker, 1, all, 100, random);
    REQUIRE(got.size() == 7);
    CHECK(got[6] == block{1, 32'768, 100'000 - 65'536 - 32'768});
    CHECK(picker.bytes_left() == 100'000);
    picker.set_have(1);
    CHECK(picker.bytes_left() == 65'536);
}

TEST_CASE("an empty torrent is finished from the beginning") {
    piece_picker picker(piece_layout(0, 16'384));
    random_engine random(1);
    picker.peer_joined(bitfield(0));
    CHECK(picker.finished());
    CHECK(pick(picker, 1, bitfield(0), 5, random).empty());
    picker.peer_left(1, bitfield(0));
}

TEST_CASE("an abandoned block is asked for again, and first") {
    piece_picker picker(layout_of(2, 4), in_order);
    random_engine random(1);
    const bitfield all(2, true);
    picker.peer_joined(all);
    const blocks got = pick(picker, 1, all, 6, random);
    CHECK(picker.is_requested(got.at(1), 1));
    picker.abandoned(got.at(1), 1);
    CHECK_FALSE(picker.is_requested(got.at(1), 1));
    CHECK(pick(picker, 2, all, 1, random).at(0) == got.at(1));
    picker.abandoned(got.at(1), 1);  // no longer its request
    CHECK(picker.is_requested(got.at(1), 2));
}

TEST_CASE("a piece of which nothing came and nothing is asked for is as if never started") {
    piece_picker picker(layout_of(8, 4), rarest_at_once);
    random_engine random(1);
    const bitfield all(8, true);
    picker.peer_joined(all);
    for (const block& b : pick(picker, 1, all, 6, random)) picker.abandoned(b, 1);
    CHECK(picker.partial_count() == 0);
    CHECK(pick(picker, 1, all, 100, random).size() == 32);
}

TEST_CASE("a complete piece waits for its verdict, and a failed one is fetched again") {
    piece_picker picker(layout_of(1, 2), rarest_at_once);
    random_engine random(1);
    const bitfield all(1, true);
    picker.peer_joined(all);
    picker.peer_joined(all);
    const block one = pick(picker, 1, all, 1, random).at(0);
    const block two = pick(picker, 2, all, 1, random).at(0);
    CHECK(picker.received(one, 1) == block_result::accepted);
    CHECK(picker.received(two, 2) == block_result::piece_complete);
    CHECK(picker.contributors(0) == std::vector<peer_key>{1, 2});
    CHECK(pick(picker, 1, all, 5, random).empty());
    CHECK_FALSE(picker.finished());
    CHECK(picker.received(one, 2) == block_result::duplicate);
    picker.failed(0);
    CHECK(picker.contributors(0).empty());
    CHECK(pick(picker, 1, all, 5, random).size() == 2);
    picker.received(one, 1);
    picker.received(two, 1);
    picker.passed(0);
    CHECK(picker.finished());
    CHECK(picker.partial_count() == 0);
    CHECK(picker.received(one, 1) == block_result::duplicate);
}

TEST_CASE("a late block that was given up is still welcome, even if its piece was closed meanwhile") {
    piece_picker picker(layout_of(2, 2), in_order);
    random_engine random(1);
    const bitfield all(2, true);
    picker.peer_joined(all);
    const block late = pick(picker, 1, all, 1, random).at(0);
    picker.abandoned(late, 1);
    CHECK(picker.partial_count() == 0);
    CHECK(picker.received(late, 1) == block_result::accepted);
    CHECK(picker.partial_count() == 1);
    const auto progress = picker.partial_pieces().at(0);
    CHECK(progress.received == 1);
    CHECK(progress.requested == 0);
    CHECK(progress.blocks == 2);
    CHECK(pick(picker, 1, all, 10, random).size() == 3);
}

TEST_CASE("in the endgame a second peer is asked for what another owes, but not a third") {
    piece_picker picker(layout_of(1, 4), rarest_at_once);
    random_engine random(1);
    const bitfield all(1, true);
    for (int i = 0; i < 3; ++i) picker.peer_joined(all);
    const blocks first = pick(picker, 1, all, 10, random);
    CHECK(first.size() == 4);
    CHECK(pick(picker, 1, all, 10, random).empty());
    CHECK(pick(picker, 2, all, 10, random) == first);
    CHECK(pick(picker, 3, all, 10, random).empty());

    CHECK(picker.received(first[0], 2) == block_result::accepted);
    std::vector<peer_key> others;
    picker.requesters(first[0], others);
    CHECK(others == std::vector<peer_key>{1});
    picker.abandoned(first[0], 1);
    picker.abandoned(first[1], 1);
    CHECK(pick(picker, 3, all, 10, random) == blocks{first[1]});
}

TEST_CASE("there is no endgame while another peer could give a block that nobody was asked for") {
    piece_picker picker(layout_of(2, 2), rarest_at_once);
    random_engine random(1);
    const bitfield left = bits_of(2, {0});
    const bitfield right = bits_of(2, {1});
    picker.peer_joined(left);
    picker.peer_joined(left);
    picker.peer_joined(right);
    CHECK(pick(picker, 1, left, 10, random).size() == 2);
    CHECK(pick(picker, 2, left, 10, random).empty());
    const blocks others = pick(picker, 3, right, 1, random);
    CHECK(pick(picker, 2, left, 10, random).empty());
    SUBCASE("it begins when the last block was asked for") {
        CHECK(pick(picker, 3, right, 1, random).size() == 1);
        CHECK(pick(picker, 2, left, 10, random).size() == 2);
    }
    SUBCASE("it begins when nobody is left who could give it") {
        picker.abandoned(others.at(0), 3);
        picker.peer_left(3, right);
        CHECK(pick(picker, 2, left, 10, random).size() == 2);
    }
}

TEST_CASE("a peer that became complete while connected takes all its copies along when it leaves") {
    piece_picker picker(layout_of(2, 1), rarest_at_once);
    random_engine random(1);
    const bitfield left = bits_of(2, {0});
    picker.peer_joined(left);
    picker.peer_joined(left);
    bitfield grown = bits_of(2, {0});
    picker.peer_joined(grown);
    grown.set(1);
    picker.peer_has(1);
    picker.peer_left(3, grown);
    CHECK(picker.availability(1) == 0);
    // Nobody has the other piece any more, so this is the endgame.
    CHECK(pick(picker, 1, left, 1, random).size() == 1);
    CHECK(pick(picker, 2, left, 1, random).size() == 1);
}

TEST_CASE("in the endgame a peer gets past its own requests to those of others, however many they are") {
    piece_picker picker(layout_of(1, 500), rarest_at_once);
    random_engine random(1);
    const bitfield all(1, true);
    picker.peer_joined(all);
    picker.peer_joined(all);
    CHECK(pick(picker, 1, all, 400, random).size() == 400);
    CHECK(pick(picker, 2, all, 100, random).size() == 100);
    std::size_t got = 0;
    for (int calls = 0; calls < 120; ++calls) got += pick(picker, 1, all, 1, random).size();
    CHECK(got == 100);
}

TEST_CASE("in the endgame hundreds of waiting peers do not go through all blocks at each call") {
    piece_picker picker(layout_of(200, 64), rarest_at_once);
    random_engine random(1);
    const bitfield all(200, true);
    for (peer_key peer = 0; peer < 200; ++peer) picker.peer_joined(all);
    for (peer_key peer = 0; peer < 200; ++peer) CHECK(pick(picker, peer, all, 64, random).size() == 64);
    const std::uint64_t before = picker.search_steps();
    std::size_t doubled = 0;
    std::uint64_t calls = 0;
    for (; calls < 40'000; ++calls) doubled += pick(picker, random.below(200), all, 1, random).size();
    CHECK(picker.search_steps() - before <= calls * 70);
    CHECK(doubled == 200 * 64);  // each block exactly once more
}

TEST_CASE("availability is exact when peers become complete while connected, and leave in any order") {
    random_engine random(5);
    for (int round = 0; round < 200; ++round) {
        constexpr piece_index pieces = 9;
        piece_picker picker(layout_of(pieces, 1), rarest_at_once);
        std::map<peer_key, bitfield> peers;
        peer_key next = 0;
        for (int i = 0; i < 200; ++i) {
            if (peers.empty() || random.below(3) == 0) {
                bitfield has(pieces, random.below(3) == 0);
                for (piece_index p = 0; p < pieces; ++p)
                    if (random.below(2) == 0) has.set(p);
                picker.peer_joined(has);
                peers.emplace(next++, has);
            } else {
                const auto at = std::next(peers.begin(), random.below(static_cast<std::uint32_t>(peers.size())));
                if (random.below(5) == 0) {
                    picker.peer_left(at->first, at->second);
                    peers.erase(at);
                } else if (const piece_index p = random.below(pieces); at->second.set(p)) {
                    picker.peer_has(p);
                }
            }
            for (piece_index p = 0; p < pieces; ++p) {
                std::uint32_t expected = 0;
                for (const auto& [key, has] : peers) expected += has.get(p) ? 1 : 0;
                REQUIRE(picker.availability(p) == expected);
            }
        }
    }
}

namespace {

/// The picker told twice: once to the code, once to tables that are searched in the plainest way.
struct model {
    struct state {
        std::set<peer_key> asked;
        bool received = false;
    };

    piece_layout layout;
    std::map<block, state> table;
    std::set<piece_index> have;
    std::map<piece_index, int> priority;

    bool wants(piece_index p) const { return !have.contains(p) && priority.at(p) > 0; }

    /// Blocks that nobody was asked for and that are wanted, of pieces out of `has`.
    std::size_t open_blocks(const bitfield& has) const {
        std::size_t n = 0;
        for (const auto& [b, s] : table) n += wants(b.piece) && has.get(b.piece) && s.asked.empty() && !s.received;
        return n;
    }
    bool complete(piece_index p) const {
        for (std::uint32_t i = 0; i < layout.blocks_in(p); ++i)
            if (!table.at(layout.block_at(p, i)).received) return false;
        return true;
    }
};

}  // namespace

TEST_CASE("the picker agrees with a plain model under thousands of random events") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        random_engine random(seed);
        const piece_layout layout(1 + random.below(3'000'000), (1 + random.below(5)) * block_size);
        const piece_index pieces = layout.piece_count();
        piece_picker picker(layout, {.sequential = seed % 4 == 0, .random_first = random.below(4), .trial_pieces = 0});
        model truth{layout, {}, {}, {}};
        for (piece_index p = 0; p < pieces; ++p) {
            truth.priority[p] = 4;
            for (std::uint32_t i = 0; i < layout.blocks_in(p); ++i) truth.table[layout.block_at(p, i)];
        }
        std::map<peer_key, bitfield> peers;
        peer_key next_key = 0;
        const auto some_peer = [&] {
            return std::next(peers.begin(), random.below(static_cast<std::uint32_t>(peers.size())));
        };
        const auto requests_of = [&](peer_key key) {
            blocks out;
            for (const auto& [b, s] : truth.table)
                if (s.asked.contains(key)) out.push_back(b);
            return out;
        };
        for (int step = 0; step < 3000; ++step) {
            const std::uint32_t action = random.below(100);
            if (peers.empty() || action < 3) {
                bitfield has(pieces, random.below(4) == 0);
                const std::uint32_t sparse = 1 + random.below(20);
                for (piece_index p = 0; p < pieces; ++p)
                    if (random.below(sparse) == 0) has.set(p);
                picker.peer_joined(has);
                peers.emplace(next_key++, has);
            } else if (action < 5) {
                const auto at = some_peer();
                for (const block& b : requests_of(at->first)) {
                    picker.abandoned(b, at->first);
                    truth.table[b].asked.erase(at->first);
                }
                picker.peer_left(at->first, at->second);
                peers.erase(at);
            } else if (action < 15) {
                const auto at = some_peer();
                const piece_index p = random.below(pieces);
                if (at->second.set(p)) picker.peer_has(p);
            } else if (action < 18) {
                const piece_index p = random.below(pieces);
                const auto priority = static_cast<std::uint8_t>(random.below(3) == 0 ? 0 : random.below(8));
                picker.set_priority(p, priority);
                truth.priority[p] = priority;
            } else if (action < 50) {
                const auto& [key, has] = *some_peer();
                const std::size_t count = 1 + random.below(12);
                const std::size_t open = truth.open_blocks(has);
                const std::size_t open_anywhere = [&] {
                    bitfield reachable(pieces);
                    for (const auto& [other, theirs] : peers)
                        for (piece_index p = 0; p < pieces; ++p)
                            if (theirs.get(p)) reachable.set(p);
                    return truth.open_blocks(reachable);
                }();
                const blocks got = pick(picker, key, has, count, random);
                // Nothing open is left behind while more was asked for.
                REQUIRE(got.size() >= std::min(open, count));
                REQUIRE(got.size() <= count);
                if (open_anywhere > open) REQUIRE(got.size() <= open);
                for (std::size_t i = 0; i < got.size(); ++i) {
                    const block& b = got[i];
                    model::state& s = truth.table.at(b);
                    REQUIRE(layout.is_block(b));
                    REQUIRE(has.get(b.piece));
                    REQUIRE(truth.wants(b.piece));
                    REQUIRE_FALSE(s.received);
                    // A block is never handed out twice before the endgame.
                    REQUIRE(s.asked.size() == (i < open ? 0 : 1));
                    REQUIRE(s.asked.insert(key).second);
                    REQUIRE(picker.is_requested(b, key));
                }
            } else if (action < 90) {
                const auto& [key, has] = *some_peer();
                const blocks mine = requests_of(key);
                if (mine.empty()) continue;
                const block b = mine[random.below(static_cast<std::uint32_t>(mine.size()))];
                model::state& s = truth.table.at(b);
                s.asked.erase(key);
                if (random.below(5) == 0) {
                    picker.abandoned(b, key);
                    REQUIRE_FALSE(picker.is_requested(b, key));
                    continue;
                }
                const block_result result = picker.received(b, key);
                const bool duplicate = s.received || truth.have.contains(b.piece);
                s.received = true;
                const auto expected = duplicate                 ? block_result::duplicate
                                      : truth.complete(b.piece) ? block_result::piece_complete
                                                                : block_result::accepted;
                REQUIRE(result == expected);
                if (result != block_result::piece_complete) continue;
                if (random.below(4) == 0) {
                    picker.failed(b.piece);
                    for (std::uint32_t i = 0; i < layout.blocks_in(b.piece); ++i)
                        truth.table[layout.block_at(b.piece, i)] = {};
                } else {
                    picker.passed(b.piece);
                    truth.have.insert(b.piece);
                    for (std::uint32_t i = 0; i < layout.blocks_in(b.piece); ++i)
                        truth.table[layout.block_at(b.piece, i)].asked.clear();
                }
            } else if (action < 91) {
                const piece_index p = random.below(pieces);
                picker.set_have(p);
                truth.have.insert(p);
                for (std::uint32_t i = 0; i < layout.blocks_in(p); ++i)
                    truth.table[layout.block_at(p, i)].asked.clear();
            } else {
                std::uint64_t left = 0, missing = 0;
                bool finished = true;
                for (piece_index p = 0; p < pieces; ++p) {
                    REQUIRE(picker.have().get(p) == truth.have.contains(p));
                    REQUIRE(picker.wants(p) == truth.wants(p));
                    if (truth.wants(p)) left += layout.piece_size(p);
                    if (!truth.have.contains(p)) missing += layout.piece_size(p);
                    finished &= !truth.wants(p);
                }
                REQUIRE(picker.bytes_left() == left);
                REQUIRE(picker.bytes_missing() == missing);
                REQUIRE(picker.finished() == finished);
                std::set<piece_index> started;
                for (const auto& [b, s] : truth.table)
                    if (!truth.have.contains(b.piece) && (s.received || !s.asked.empty())) started.insert(b.piece);
                REQUIRE(picker.partial_count() == started.size());
                for (const partial_progress& p : picker.partial_pieces()) {
                    REQUIRE(started.contains(p.piece));
                    REQUIRE(p.blocks == layout.blocks_in(p.piece));
                }
            }
        }
    }
}

TEST_CASE("a swarm that trades only what one seeder gave becomes complete everywhere") {
    constexpr piece_index pieces = 60;
    constexpr std::uint32_t members = 12;
    const piece_layout layout = layout_of(pieces, 3);
    random_engine random(6);
    std::vector<piece_picker> pickers;
    for (std::uint32_t i = 0; i < members; ++i) pickers.emplace_back(layout);
    for (piece_index p = 0; p < pieces; ++p) pickers[0].set_have(p);
    for (piece_picker& mine : pickers)
        for (const piece_picker& other : pickers)
            if (&mine != &other) mine.peer_joined(other.have());

    struct delivery {
        std::uint32_t from, to;
        block what;
    };
    std::vector<delivery> in_flight;
    std::size_t sent = 0, wasted = 0, by_seeder = 0;
    for (int round = 0; round < 100'000; ++round) {
        const std::uint32_t to = 1 + random.below(members - 1);
        const std::uint32_t from = random.below(members);
        if (from != to) {
            const auto waiting = std::count_if(in_flight.begin(), in_flight.end(),
                                               [&](const delivery& d) { return d.from == from && d.to == to; });
            if (waiting < 4)
                for (const block& b : pick(pickers[to], from, pickers[from].have(), 4, random))
                    in_flight.push_back({from, to, b});
        }
        if (in_flight.empty()) continue;
        // The links are not equally fast: the one to deliver is drawn.
        const std::uint32_t drawn = random.below(static_cast<std::uint32_t>(in_flight.size()));
        const delivery d = in_flight[drawn];
        in_flight.erase(in_flight.begin() + drawn);
        ++sent;
        by_seeder += d.from == 0 ? 1 : 0;
        const block_result result = pickers[d.to].received(d.what, d.from);
        if (result == block_result::duplicate) ++wasted;
        if (result != block_result::piece_complete) continue;
        pickers[d.to].passed(d.what.piece);
        for (std::uint32_t other = 0; other < members; ++other)
            if (other != d.to) pickers[other].peer_has(d.what.piece);
    }
    for (const piece_picker& p : pickers) CHECK(p.finished());
    // Nothing is cancelled here, so all copies of the endgame arrive; they stay a small part.
    CHECK(wasted * 10 < sent);
    // Most of it came from one another.
    CHECK(by_seeder * 3 < sent);
}

namespace {

/// Downloads a torrent from 200 peers and returns the search steps for each block.
double steps_a_block(piece_index pieces, std::uint32_t blocks_per_piece, std::uint32_t one_in, std::uint32_t peers) {
    random_engine random(7);
    piece_picker picker(layout_of(pieces, blocks_per_piece), {.trial_pieces = 0});
    std::vector<bitfield> has;
    for (std::uint32_t i = 0; i < peers; ++i) {
        has.emplace_back(pieces);
        for (std::uint32_t n = pieces / one_in; n > 0; --n) has.back().set(random.below(pieces));
        picker.peer_joined(has.back());
    }
    std::vector<blocks> waiting(peers);
    std::uint64_t total = 0;
    std::vector<peer_key> others;
    for (bool progress = true; progress;) {
        progress = false;
        for (peer_key peer = 0; peer < peers; ++peer) {
            // As an engine in steady state: one block comes, and one is asked for.
            picker.pick(peer, has[peer], waiting[peer].empty() ? 8 : 1, random, waiting[peer]);
            if (waiting[peer].empty()) continue;
            progress = true;
            const block b = waiting[peer].front();
            waiting[peer].erase(waiting[peer].begin());
            ++total;
            if (picker.received(b, peer) == block_result::piece_complete) picker.passed(b.piece);
        }
    }
    return static_cast<double>(picker.search_steps()) / static_cast<double>(total);
}

}  // namespace

TEST_CASE("the cost of a block does not grow with the number of pieces") {
    for (const std::uint32_t one_in : {1u, 2u, 20u, 200u}) {
        CAPTURE(one_in);
        const double small = steps_a_block(2'000, 4, one_in, 40);
        const double large = steps_a_block(20'000, 4, one_in, 40);
        CHECK(large < 1.2 * small + 1);
        CHECK(large < 32 + 64);
    }
}

TEST_CASE("100,000 pieces and 200 peers stay cheap, for peers that have much and for peers that have little") {
    CHECK(steps_a_block(100'000, 1, 2, 200) < 8);
    CHECK(steps_a_block(100'000, 1, 100, 200) < 32 + 64);
}

TEST_CASE("a peer that can give nothing is not searched for again and again") {
    constexpr piece_index pieces = 100'000;
    piece_picker picker(layout_of(pieces, 1), rarest_at_once);
    random_engine random(8);
    const bitfield all(pieces, true);
    bitfield few(pieces);
    for (piece_index p = 0; p < 50; ++p) few.set(p * 7);
    picker.peer_joined(all);
    picker.peer_joined(few);
    CHECK(pick(picker, 2, few, 100, random).size() == 50);
    const std::uint64_t before = picker.search_steps();
    for (int i = 0; i < 1000; ++i) CHECK(pick(picker, 2, few, 1, random).empty());
    CHECK(picker.search_steps() - before <= pieces / 64 + 100);
    // News wake it up.
    few.set(99'999);
    picker.peer_has(99'999);
    CHECK(pick(picker, 2, few, 1, random).size() == 1);
}

TEST_CASE("one turn around its bitfield serves for all pieces of a peer that has few") {
    constexpr piece_index pieces = 100'000;
    piece_picker picker(layout_of(pieces, 1), rarest_at_once);
    random_engine random(9);
    bitfield few(pieces);
    for (piece_index p = 0; p < 200; ++p) few.set(p * 500);
    const bitfield most = [&] {
        bitfield out(pieces, true);
        out.reset(1);
        return out;
    }();
    picker.peer_joined(most);
    picker.peer_joined(few);
    // Makes the pieces of the peer the most common ones, so that the rarest are all strange to it.
    for (int i = 0; i < 5; ++i) picker.peer_joined(few);
    picker.peer_joined(most);
    const std::uint64_t before = picker.search_steps();
    for (int i = 0; i < 200; ++i) REQUIRE(pick(picker, 2, few, 1, random).size() == 1);
    CHECK(picker.search_steps() - before <= 200 * (64 + 32) + 2 * (pieces / 64 + 1));
}

TEST_CASE("a newcomer works on two pieces of its own until one of them is good") {
    piece_picker picker(layout_of(10, 4), {.random_first = 0});
    random_engine random(1);
    const bitfield all(10, true);
    picker.peer_joined(all);
    picker.peer_joined(all);
    const blocks mine = pick(picker, 1, all, 100, random);
    CHECK(mine.size() == 8);
    CHECK(pick(picker, 1, all, 100, random).empty());
    for (const block& theirs : pick(picker, 2, all, 100, random))
        for (const block& one : mine) CHECK(one.piece != theirs.piece);

    for (std::size_t i = 0; i < 4; ++i) picker.received(mine[i], 1);
    CHECK(pick(picker, 1, all, 100, random).empty());
    picker.passed(mine[0].piece);
    CHECK(pick(picker, 1, all, 100, random).size() >= 6 * 4);
}

TEST_CASE("who took part in a bad piece works alone again, and the liar is the only giver of its next") {
    piece_picker picker(layout_of(12, 2), {.random_first = 0});
    random_engine random(1);
    const bitfield all(12, true);
    for (const peer_key peer : {1u, 2u}) {
        picker.peer_joined(all);
        const blocks got = pick(picker, peer, all, 2, random);
        for (const block& one : got) picker.received(one, peer);
        picker.passed(got[0].piece);
    }
    // Both are trusted, so they share.
    const block first = pick(picker, 1, all, 1, random).at(0);
    const block second = pick(picker, 2, all, 1, random).at(0);
    REQUIRE(first.piece == second.piece);
    picker.received(first, 1);
    picker.received(second, 2);
    picker.failed(first.piece);
    std::set<piece_index> pieces[2];
    for (const peer_key peer : {1u, 2u})
        for (const block& one : pick(picker, peer, all, 100, random)) pieces[peer - 1].insert(one.piece);
    CHECK(pieces[0].size() == 2);
    CHECK(pieces[1].size() == 2);
    for (const piece_index piece : pieces[0]) CHECK(!pieces[1].contains(piece));
}

TEST_CASE("a newcomer that goes, or whose piece is not wanted any more, holds nothing back") {
    piece_picker picker(layout_of(2, 4), {.random_first = 0});
    random_engine random(1);
    const bitfield all(2, true);
    for (int i = 0; i < 3; ++i) picker.peer_joined(all);
    const blocks asked = pick(picker, 1, all, 6, random);
    CHECK(asked.size() == 6);
    picker.received(asked[0], 1);
    SUBCASE("it goes") {
        for (std::size_t i = 1; i < asked.size(); ++i) picker.abandoned(asked[i], 1);
        picker.peer_left(1, all);
        CHECK(pick(picker, 2, all, 100, random).size() == 7);
    }
    SUBCASE("others may help where nothing else is to do") { CHECK(pick(picker, 2, all, 100, random).size() == 7); }
    SUBCASE("not wanted") {
        picker.set_priority(asked[0].piece, 0);
        CHECK(pick(picker, 2, all, 100, random).size() == 4);
    }
}

TEST_CASE("in the endgame only what is late is asked for twice") {
    piece_picker picker(layout_of(1, 4), rarest_at_once);
    random_engine random(1);
    const bitfield all(1, true);
    for (int i = 0; i < 3; ++i) picker.peer_joined(all);
    const blocks fast = pick(picker, 1, all, 2, random);
    const blocks slow = pick(picker, 2, all, 2, random);
    endgame_rule rule;
    rule.is_late = [](peer_key holder) { return holder == 2; };
    blocks twice;
    picker.pick(3, all, 10, random, twice, rule);
    CHECK(twice == slow);
}

}  // namespace piece_picker_test
