#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>

#include <doctest/doctest.h>

#include <cohort/storage/piece_writer.hpp>

#include "support/faulty_disk.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace piece_writer_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 8 * block_size;

/// Two whole pieces and one that ends in the middle of a block, over files with odd sizes and padding.
struct fixture {
    temp_dir dir;
    faulty_disk d;
    std::vector<file_entry> files = entries({{"t/a", 50'000}, {"pad/1000", 1000}, {"t/b", 200'000}, {"t/c", 60'001}});
    piece_layout layout = layout_of(files, piece_length);
    byte_vector all = random_bytes(layout.total_size());
    torrent_files t{d, files, layout, dir.string()};

    fixture() {
        std::fill_n(all.begin() + 50'000, 1000, std::uint8_t{0});
        t.create();
    }

    byte_view piece(piece_index index) const {
        return byte_view(all).subspan(layout.offset(index), layout.piece_size(index));
    }
    byte_view block_of(piece_index index, std::uint32_t number) const {
        const block range = layout.block_at(index, number);
        return piece(index).subspan(range.begin, range.length);
    }
    byte_vector on_disk(piece_index index) {
        byte_vector back(layout.piece_size(index));
        t.read(layout.offset(index), back);
        return back;
    }
};

}  // namespace

TEST_CASE("pieces that are hashed together come out as alone, however their blocks come") {
    fixture f;
    random_engine chance(3);
    for (int round = 0; round < 200; ++round) {
        std::vector<std::unique_ptr<piece_writer>> writers;
        std::vector<piece_writer*> all;
        std::vector<std::pair<piece_index, std::uint32_t>> to_come;
        for (const piece_index index : {0u, 1u, 2u}) {
            all.push_back(writers.emplace_back(std::make_unique<piece_writer>(f.t, index)).get());
            for (std::uint32_t i = 0; i < f.layout.blocks_in(index); ++i) to_come.emplace_back(index, i);
        }
        // Half of the rounds in order, as most peers give them.
        if (round % 2 == 0) chance.shuffle(to_come);
        while (!to_come.empty()) {
            for (std::uint32_t batch = 1 + chance.below(12); batch > 0 && !to_come.empty(); --batch) {
                const auto [index, number] = to_come.front();
                to_come.erase(to_come.begin());
                const byte_view data = f.block_of(index, number);
                writers[index]->store(number * block_size, std::span(&data, 1));
            }
            piece_writer::hash_stored(std::span(all).first(1 + chance.below(3)));
            piece_writer::hash_stored(all);
        }
        for (const auto& one : writers) {
            REQUIRE(one->complete());
            REQUIRE(one->finish() == sha1_of(f.piece(one->piece())));
        }
    }
}

TEST_CASE("a piece whose blocks come in order is hashed without being read") {
    fixture f;
    for (const piece_index index : {0u, 1u, 2u}) {
        piece_writer writer(f.t, index);
        CHECK(writer.piece() == index);
        for (std::uint32_t i = 0; i < f.layout.blocks_in(index); ++i) {
            CHECK(!writer.complete());
            writer.write(i * block_size, f.block_of(index, i));
        }
        CHECK(writer.complete());
        CHECK(writer.finish() == sha1_of(f.piece(index)));
        CHECK(f.d.bytes_read == 0);
        CHECK(std::ranges::equal(f.on_disk(index), f.piece(index)));
        f.d.bytes_read = 0;
    }
}

TEST_CASE("blocks may come in any order, in runs, in odd buffers and twice") {
    fixture f;
    random_engine random(7);
    for (int round = 0; round < 60; ++round) {
        const piece_index index = random.below(3);
        const std::uint32_t blocks = f.layout.blocks_in(index);
        std::vector<std::uint32_t> order(blocks);
        std::iota(order.begin(), order.end(), 0u);
        random.shuffle(order);
        piece_writer writer(f.t, index);
        std::vector<std::uint32_t> seen(blocks, 0);
        for (const std::uint32_t first : order) {
            const std::uint32_t count = std::min(1 + random.below(3), blocks - first);
            const std::uint32_t begin = first * block_size;
            const std::uint32_t end = std::min((first + count) * block_size, f.layout.piece_size(index));
            std::vector<byte_view> parts;
            for (std::uint32_t at = begin; at < end;) {
                const std::uint32_t step = std::min(random.below(20'000), end - at);
                parts.push_back(f.piece(index).subspan(at, step));
                at += step;
            }
            writer.write(begin, parts);
            for (std::uint32_t i = first; i < first + count; ++i) ++seen[i];
            CHECK(writer.complete() == std::ranges::all_of(seen, [](std::uint32_t n) { return n > 0; }));
        }
        REQUIRE(writer.complete());
        CHECK(writer.finish() == sha1_of(f.piece(index)));
        CHECK(std::ranges::equal(f.on_disk(index), f.piece(index)));
    }
}

TEST_CASE("a block that comes again with other bytes changes neither the digest nor the disk") {
    fixture f;
    piece_writer writer(f.t, 1);
    const byte_vector wrong(3 * block_size, 0xbb);
    writer.write(2 * block_size, f.block_of(1, 2));
    writer.write(0, f.block_of(1, 0));
    writer.write(0, byte_view(wrong).first(block_size));
    // A run that has one new block between two known ones.
    byte_vector run = wrong;
    std::ranges::copy(f.block_of(1, 1), run.begin() + block_size);
    writer.write(0, run);
    for (std::uint32_t i = 3; i < 8; ++i) writer.write(i * block_size, f.block_of(1, i));
    writer.write(block_size, wrong);
    CHECK(writer.finish() == sha1_of(f.piece(1)));
    CHECK(std::ranges::equal(f.on_disk(1), f.piece(1)));
}

TEST_CASE("only what came early is read back") {
    fixture f;
    piece_writer writer(f.t, 0);
    writer.write(3 * block_size, f.block_of(0, 3));
    writer.write(4 * block_size, f.block_of(0, 4));
    for (const std::uint32_t i : {0u, 1u, 2u, 5u, 6u, 7u}) writer.write(i * block_size, f.block_of(0, i));
    CHECK(writer.finish() == sha1_of(f.piece(0)));
    CHECK(f.d.bytes_read <= 2 * block_size);
    CHECK(f.d.bytes_read > 0);
}

TEST_CASE("ranges that are not whole blocks of the piece are refused and leave it as it was") {
    fixture f;
    piece_writer writer(f.t, 2);
    const byte_vector data(piece_length + block_size);
    const std::uint32_t size = f.layout.piece_size(2);
    const auto code = [&](std::uint32_t begin, std::size_t length) {
        return failure_of([&] { writer.write(begin, byte_view(data).first(length)); });
    };
    CHECK(code(0, 0) == errc::index_out_of_range);
    CHECK(code(1, block_size) == errc::index_out_of_range);
    CHECK(code(0, block_size - 1) == errc::index_out_of_range);
    CHECK(code(0, size + 1) == errc::index_out_of_range);
    CHECK(code(size / block_size * block_size, block_size) == errc::index_out_of_range);
    CHECK(code(0xffffc000, block_size) == errc::index_out_of_range);
    writer.write(0, f.piece(2));
    CHECK(writer.finish() == sha1_of(f.piece(2)));
}

TEST_CASE("a corrupt block shows in the piece's digest, and the digests of the blocks tell which it was") {
    fixture f;
    piece_writer bad(f.t, 0);
    byte_vector data(f.piece(0).begin(), f.piece(0).end());
    data[5 * block_size + 17] ^= 1;
    bad.write(0, data);
    CHECK(bad.finish() != sha1_of(f.piece(0)));
    const auto before = block_digests(f.t, 0);
    piece_writer good(f.t, 0);
    good.write(0, f.piece(0));
    CHECK(good.finish() == sha1_of(f.piece(0)));
    const auto after = block_digests(f.t, 0);
    REQUIRE(before.size() == 8);
    REQUIRE(after.size() == 8);
    for (std::uint32_t i = 0; i < 8; ++i) {
        CHECK((before[i] == after[i]) == (i != 5));
        CHECK(after[i] == sha1_of(f.block_of(0, i)));
    }
    piece_writer last(f.t, 2);
    last.write(0, f.piece(2));
    const auto digests = block_digests(f.t, 2);
    CHECK(digests.size() == f.layout.blocks_in(2));
    CHECK(digests.back() == sha1_of(f.block_of(2, f.layout.blocks_in(2) - 1)));
}

TEST_CASE("a full disk ends the piece, and never gives a digest for what is not there") {
    fixture f;
    for (std::uint64_t room = 0; room < piece_length; room += 9001) {
        f.d.bytes_left = room;
        piece_writer writer(f.t, 0);
        std::error_code code;
        for (std::uint32_t i = 0; i < 8 && !code; ++i)
            code = failure_of([&] { writer.write(i * block_size, f.block_of(0, i)); });
        // The padding takes no room.
        CHECK((code == errc::disk_full) == (room < piece_length - 1000));
        CHECK(writer.complete() == !code);
    }
}

TEST_CASE("a file taken away before the piece is done makes it fail instead of pass") {
    fixture f;
    piece_writer writer(f.t, 0);
    writer.write(0, f.piece(0));
    std::filesystem::remove(f.dir / "t/b");
    CHECK(failure_of([&] { writer.finish(); }) == errc::file_missing);
}

TEST_CASE("an unreadable block that came early is an error") {
    fixture f;
    piece_writer writer(f.t, 0);
    writer.write(block_size, f.block_of(0, 1));
    f.d.reads_fail = true;
    CHECK(failure_of([&] { writer.write(0, f.block_of(0, 0)); }) == errc::disk_failed);
}

}  // namespace piece_writer_test
