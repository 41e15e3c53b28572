// What the parts cost that decide: the piece picker, by the number of peers and of pieces, and the tracker's registry,
// a million peers in a hundred thousand swarms. By hand, never as a test:
//
//   build/release/examples/policy [picker|registry]
//
// Prints one JSON line a measurement; of one part alone a small one, for instructions.py.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include <malloc.h>

#include <cohort/core/hash.hpp>
#include <cohort/policy/piece_picker.hpp>
#include <cohort/policy/swarm_registry.hpp>

using namespace cohort;

namespace {

using steady = std::chrono::steady_clock;

double nanoseconds(steady::duration d) { return std::chrono::duration<double, std::nano>(d).count(); }

/// A whole download as the picker sees it: peers that have a half of the pieces each and one that has all, 64 requests
/// at each of them, and blocks that come in turns.
void measure_picker(std::uint32_t peers, std::uint32_t pieces) {
    constexpr std::uint32_t blocks_a_piece = 16;
    constexpr std::size_t depth = 64;
    const piece_layout layout(std::uint64_t{pieces} * blocks_a_piece * block_size, blocks_a_piece * block_size);
    picker_options options;
    options.trial_pieces = 0;
    piece_picker picker(layout, options);
    random_engine random(1);
    struct source {
        peer_key key;
        bitfield has;
        std::deque<block> asked;
    };
    std::vector<source> sources;
    for (std::uint32_t i = 0; i < peers; ++i) {
        source& one = sources.emplace_back(source{i + 1, bitfield(pieces, i == 0), {}});
        for (piece_index piece = 0; i > 0 && piece < pieces; ++piece)
            if (random.below(2) == 0) one.has.set(piece);
        picker.peer_joined(one.has);
    }
    endgame_rule endgame;
    endgame.most = 4;
    std::vector<block> picked;
    std::uint64_t blocks = 0;
    const auto begun = steady::now();
    while (!picker.finished()) {
        for (source& one : sources) {
            if (one.asked.size() <= depth * 3 / 4) {
                picked.clear();
                picker.pick(one.key, one.has, depth - one.asked.size(), random, picked, endgame);
                one.asked.insert(one.asked.end(), picked.begin(), picked.end());
            }
            for (std::size_t i = 0; i < depth / 4 && !one.asked.empty(); ++i) {
                const block got = one.asked.front();
                one.asked.pop_front();
                ++blocks;
                if (picker.received(got, one.key) == block_result::piece_complete) picker.passed(got.piece);
            }
        }
    }
    std::printf("{\"bench\":\"picker, %u peers, %u pieces\",\"peers\":%u,\"pieces\":%u,\"ns_per_block\":%.1f}\n", peers,
                pieces, peers, pieces, nanoseconds(steady::now() - begun) / static_cast<double>(blocks));
    std::fflush(stdout);
}

std::size_t heap_in_use() {
    const auto all = mallinfo2();
    return all.uordblks + all.hblkhd;
}

/// Lets all peers expire, some at a time as the tracker does; the longest of these steps in milliseconds.
double sweep(swarm_registry& registry, time_point now) {
    steady::duration longest{};
    while (registry.totals().peers() > 0) {
        const auto start = steady::now();
        registry.expire(now, 1000);
        longest = std::max(longest, steady::now() - start);
    }
    return nanoseconds(longest) / 1e6;
}

/// So many swarms of so many peers come, announce once more, and fall silent.
void measure_registry(std::uint32_t swarms, std::uint32_t peers) {
    std::vector<info_hash> hashes(swarms);
    for (std::uint32_t i = 0; i < swarms; ++i) {
        std::array<std::uint8_t, 4> name;
        store_be(name.data(), i);
        hashes[i] = info_hash(sha1_of(name).bytes);
    }
    random_engine random(1);
    std::vector<endpoint> out;
    const time_point now{};
    const std::size_t before = heap_in_use();
    swarm_registry registry({}, 1);
    steady::duration slowest{};
    const auto announce_all = [&](std::int32_t numwant) {
        const auto begun = steady::now();
        for (std::uint32_t peer = 0; peer < peers; ++peer) {
            for (const info_hash& hash : hashes) {
                registry_announce from;
                store_be(from.id.bytes.data(), peer);
                from.address = {ip_address::v4(0x01000000 + 7919 * peer), 6881};
                from.left = peer % 4;
                from.numwant = numwant;
                out.clear();
                const auto start = steady::now();
                registry.announce(hash, from, now, random, out);
                slowest = std::max(slowest, steady::now() - start);
            }
        }
        return nanoseconds(steady::now() - begun) / (static_cast<double>(peers) * swarms);
    };
    const double first = announce_all(0);
    const auto bytes = static_cast<double>(heap_in_use() - before) / (static_cast<double>(peers) * swarms);
    const double again = announce_all(30);
    const double longest_sweep = sweep(registry, now + std::chrono::hours(2));
    std::printf(
        "{\"bench\":\"registry, %u swarms of "
        "%u\",\"swarms\":%u,\"peers_each\":%u,\"bytes_per_peer\":%.1f,\"ns_first\":%.0f,"
        "\"ns_again\":%.0f,\"slowest_announce_ms\":%.2f,\"longest_sweep_ms\":%.2f}\n",
        swarms, peers, swarms, peers, bytes, first, again, nanoseconds(slowest) / 1e6, longest_sweep);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view only = argc > 1 ? argv[1] : "";
    if (only == "picker") return measure_picker(200, 1'000), 0;
    if (only == "registry") return measure_registry(1'000, 50), 0;
    for (const std::uint32_t peers : {1u, 10u, 50u, 200u, 1000u}) measure_picker(peers, 10'000);
    for (const std::uint32_t pieces : {100u, 1'000u, 100'000u}) measure_picker(200, pieces);
    measure_registry(100'000, 10);
    measure_registry(1'000, 1'000);
    measure_registry(1, 1'000'000);
}
