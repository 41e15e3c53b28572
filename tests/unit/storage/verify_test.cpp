#include <algorithm>
#include <filesystem>

#include <doctest/doctest.h>

#include <cohort/storage/verify.hpp>

#include "support/faulty_disk.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace verify_test {

using namespace cohort;
using namespace cohort::test;

namespace {

using pieces = std::vector<piece_index>;

struct fixture {
    temp_dir dir;
    faulty_disk d;
    std::vector<file_entry> files;
    piece_layout layout;
    byte_vector all;
    std::vector<sha1_digest> hashes;
    std::unique_ptr<torrent_files> t;

    fixture(const std::vector<std::pair<std::string, std::uint64_t>>& names, std::uint32_t piece_length)
        : files(entries(names)), layout(layout_of(files, piece_length)), all(random_bytes(layout.total_size())) {
        for (const file_entry& file : files)
            if (file.pad)
                std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(file.offset), file.length, std::uint8_t{0});
        hashes = hashes_of(all, piece_length);
        t = std::make_unique<torrent_files>(d, files, layout, dir.string());
    }

    void write_all() {
        t->create();
        t->write(0, all);
    }
    bitfield everything() const { return bitfield(layout.piece_count(), true); }
    pieces right(const bitfield& which) { return verify_range(*t, hashes, 0, layout.piece_count(), which); }
};

}  // namespace

TEST_CASE("the check finds exactly the pieces that are right, at every piece length") {
    for (const std::uint32_t piece_length : {16u * 1024, 48u * 1024, 1024u * 1024, 3u * 1024 * 1024}) {
        CAPTURE(piece_length);
        fixture f({{"t/a", 3'000'001}, {"t/empty", 0}, {"pad/9", 99'999}, {"t/b", 4'000'000}, {"t/c", 12}},
                  piece_length);
        f.write_all();
        CHECK(f.right(f.everything()).size() == f.layout.piece_count());

        const std::uint64_t wrong = 3'200'000;
        f.t->write(wrong, as_bytes("wrong"));
        const auto first = static_cast<piece_index>(wrong / piece_length);
        pieces expected;
        for (piece_index piece = 0; piece < f.layout.piece_count(); ++piece)
            if (piece != first) expected.push_back(piece);
        CHECK(f.right(f.everything()) == expected);

        bitfield which(f.layout.piece_count());
        which.set(0);
        which.set(first);
        CHECK(f.right(which) == (first == 0 ? pieces{} : pieces{0}));
    }
}

TEST_CASE("a range is one job: it checks its own pieces only") {
    fixture f({{"t/a", 2'000'000}}, 16 * 1024);
    f.write_all();
    bitfield which = f.everything();
    which.reset(12);
    which.reset(13);
    f.t->write(f.layout.offset(20), as_bytes("x"));
    CHECK(verify_range(*f.t, f.hashes, 10, 23, which) == pieces{10, 11, 14, 15, 16, 17, 18, 19, 21, 22});
    CHECK(verify_range(*f.t, f.hashes, 10, 10, which).empty());
    const piece_index count = f.layout.piece_count();
    CHECK(failure_of([&] { verify_range(*f.t, f.hashes, 0, count + 1, which); }) == errc::index_out_of_range);
    CHECK(failure_of([&] { verify_range(*f.t, f.hashes, 0, 1, bitfield(count - 1)); }) == errc::index_out_of_range);
    CHECK(failure_of([&] { verify_range(*f.t, std::span(f.hashes).first(count - 1), 0, 1, which); }) ==
          errc::index_out_of_range);
}

TEST_CASE("missing and short files cost their own pieces only") {
    fixture f({{"t/a", 100'000}, {"t/b", 100'000}, {"t/c", 100'000}}, 16 * 1024);
    CHECK(f.right(f.everything()).empty());
    CHECK(f.d.bytes_read == 0);
    f.write_all();
    f.t->close();
    std::filesystem::remove(f.dir / "t/b");
    std::filesystem::resize_file(f.dir / "t/c", 90'000);
    // Piece n has the bytes from n * 16384 on; b has those from 100000 on, c those from 200000 to 290000.
    CHECK(f.right(f.everything()) == pieces{0, 1, 2, 3, 4, 5, 13, 14, 15, 16});
}

TEST_CASE("what was never written is not read, but pieces of zeros are known") {
    fixture f({{"t/a", 200'000'000}}, 1024 * 1024);
    f.t->create();
    const byte_vector zeros(1024 * 1024);
    f.hashes[100] = sha1_of(zeros);
    f.t->write(f.layout.offset(7), byte_view(f.all).subspan(f.layout.offset(7), 1024 * 1024));
    CHECK(f.right(f.everything()) == pieces{7, 100});
    CHECK(f.d.bytes_read <= 2 * 1024 * 1024);
    const std::uint32_t last = f.layout.piece_count() - 1;
    f.hashes[last] = sha1_of(byte_view(zeros).first(f.layout.piece_size(last)));
    CHECK(verify_range(*f.t, f.hashes, last, last + 1, f.everything()) == pieces{last});
}

TEST_CASE("pieces that are hashed beside others do not suffer from what those are") {
    // Of 2 MiB each, read in parts: right, never written, right, wrong, in a file that is gone, short, right.
    constexpr std::uint32_t length = 2 * 1024 * 1024;
    fixture f({{"t/a", 4 * length}, {"t/gone", length}, {"t/short", length}, {"t/b", length / 2}}, length);
    f.t->create();
    for (const piece_index piece : {0u, 2u, 3u, 4u, 5u, 6u})
        f.t->write(f.layout.offset(piece), byte_view(f.all).subspan(piece * length, f.layout.piece_size(piece)));
    f.t->write(f.layout.offset(3) + length - 1, byte_vector{static_cast<std::uint8_t>(f.all[4 * length - 1] ^ 1)});
    f.t->close();
    std::filesystem::remove(f.dir / "t/gone");
    std::filesystem::resize_file(f.dir / "t/short", length * 3 / 4);
    CHECK(f.right(f.everything()) == pieces{0, 2, 6});
    f.hashes[1] = sha1_of(byte_vector(length));
    CHECK(f.right(f.everything()) == pieces{0, 1, 2, 6});
    for (piece_index first = 0; first < 7; ++first) {
        CAPTURE(first);
        pieces expected{0, 1, 2, 6};
        std::erase_if(expected, [first](piece_index piece) { return piece < first; });
        CHECK(verify_range(*f.t, f.hashes, first, 7, f.everything()) == expected);
    }
}

TEST_CASE("a disk that fails ends the check with its error") {
    fixture f({{"t/a", 100'000}}, 16 * 1024);
    f.write_all();
    f.d.reads_fail = true;
    CHECK(failure_of([&] { f.right(f.everything()); }) == errc::disk_failed);
}

TEST_CASE("a job is never of nothing") {
    CHECK(verify_step(piece_layout(1, 16 * 1024)) == 1024);
    CHECK(verify_step(piece_layout(1, 512 * 1024 * 1024)) == 2);
}

}  // namespace verify_test
