#include <filesystem>
#include <set>
#include <thread>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cohort/storage/torrent_files.hpp>

#include "support/corpus.hpp"
#include "support/faulty_disk.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace torrent_files_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 32 * 1024;

/// Sizes that make ranges begin, end and turn at every kind of place.
std::vector<file_entry> mixed_files() {
    return entries({{"t/empty first", 0},
                    {"t/a", 10},
                    {"t/sub/empty", 0},
                    {"t/sub/b", 70'000},
                    {"pad/30", 30},
                    {"t/sub/deep/\xc3\xa4\xe2\x82\xac", 1},
                    {"t/c", 40'000},
                    {"t/empty last", 0}});
}

byte_vector zero_padding(byte_vector all, const std::vector<file_entry>& files) {
    for (const file_entry& file : files)
        if (file.pad)
            std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(file.offset), static_cast<std::size_t>(file.length),
                        std::uint8_t{0});
    return all;
}

}  // namespace

TEST_CASE("any range is written and read across the files it touches") {
    const temp_dir dir;
    real_disk d;
    const auto files = mixed_files();
    const piece_layout layout = layout_of(files, piece_length);
    const byte_vector all = zero_padding(random_bytes(layout.total_size()), files);
    torrent_files t(d, files, layout, dir.string());
    t.create();

    random_engine random(5);
    byte_vector shadow(all.size(), 0);
    for (int i = 0; i < 300; ++i) {
        const std::uint32_t at = random.below(static_cast<std::uint32_t>(all.size()));
        const std::uint32_t size =
            random.below(static_cast<std::uint32_t>(std::min<std::size_t>(all.size() - at, 50'000)) + 1);
        // In several buffers, some of them empty.
        std::vector<byte_view> parts;
        for (std::uint32_t done = 0; done < size;) {
            const std::uint32_t step = std::min(random.below(9000), size - done);
            parts.push_back(byte_view(all).subspan(at + done, step));
            done += step;
        }
        t.write(at, parts);
        std::copy_n(all.begin() + at, size, shadow.begin() + at);
        const std::uint32_t from = random.below(static_cast<std::uint32_t>(all.size()));
        byte_vector back(random.below(static_cast<std::uint32_t>(all.size()) - from + 1), 0xee);
        t.read(from, back);
        REQUIRE(std::equal(back.begin(), back.end(), shadow.begin() + from));
    }
    t.write(0, all);
    for (const file_entry& file : files) {
        if (file.pad) continue;
        CAPTURE(file.path);
        const byte_vector content = read_file(dir / file.path);
        REQUIRE(content.size() == file.length);
        CHECK(std::equal(content.begin(), content.end(), all.begin() + static_cast<std::ptrdiff_t>(file.offset)));
    }
    CHECK(!std::filesystem::exists(dir / "pad"));
}

TEST_CASE("ranges beyond the torrent are refused") {
    const temp_dir dir;
    real_disk d;
    const auto files = mixed_files();
    const piece_layout layout = layout_of(files, piece_length);
    torrent_files t(d, files, layout, dir.string());
    t.create();
    byte_vector two(2);
    CHECK(failure_of([&] { t.read(layout.total_size() - 1, two); }) == errc::index_out_of_range);
    CHECK(failure_of([&] { t.write(layout.total_size() - 1, two); }) == errc::index_out_of_range);
    CHECK(failure_of([&] { t.read(~std::uint64_t{0}, two); }) == errc::index_out_of_range);
    CHECK(failure_of([&] { t.slices(layout.total_size() + 1, 0); }) == errc::index_out_of_range);
    CHECK(t.slices(layout.total_size(), 0).empty());
}

TEST_CASE("create makes everything but padding, gives sizes, and keeps what is there") {
    const temp_dir dir;
    real_disk d;
    const auto files = mixed_files();
    write_file(dir / "t/c", "kept, but too short");
    write_file(dir / "t/a", "kept, as i");
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    t.create();
    t.create();
    for (const file_entry& file : files) {
        if (file.pad) continue;
        CAPTURE(file.path);
        CHECK(std::filesystem::file_size(dir / file.path) == file.length);
    }
    CHECK(as_text(byte_view(read_file(dir / "t/c")).first(19)) == "kept, but too short");
    CHECK(as_text(read_file(dir / "t/a")) == "kept, as i");
    CHECK(!std::filesystem::exists(dir / "pad"));
}

TEST_CASE("a file that is there and longer than the torrent says is somebody's own, and loses nothing") {
    const temp_dir dir;
    real_disk d;
    const auto files = mixed_files();
    write_file(dir / "t/c", "a diary that has grown since it was shared, and grown, and grown, and grown, and grown");
    std::filesystem::resize_file(dir / "t/c", 1'000'000);
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    CHECK(failure_of([&] { t.check_lengths(); }) == std::errc::file_exists);
    CHECK(failure_of([&] { t.create(); }) == std::errc::file_exists);
    CHECK(std::filesystem::file_size(dir / "t/c") == 1'000'000);
}

TEST_CASE("a file that somebody cut short is told of before a piece of it counts as written") {
    const temp_dir dir;
    real_disk d;
    const auto files = entries({{"t/a", 100'000}, {"t/b", 300'000}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    t.create();
    t.check_in_place(0, 400'000);
    std::filesystem::resize_file(dir / "t/b", 299'999);
    t.check_in_place(0, 100'000);
    CHECK(failure_of([&] { t.check_in_place(0, 400'000); }) == errc::file_changed);
}

TEST_CASE("space is reserved on request, or the disk says at once that it is full") {
    const temp_dir dir;
    faulty_disk d;
    const auto files = entries({{"t/a", 100'000}, {"t/b", 300'000}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    d.bytes_left = 200'000;
    CHECK(failure_of([&] { t.create(torrent_files::allocation::full); }) == errc::disk_full);
    d.bytes_left = 1'000'000;
    t.create(torrent_files::allocation::full);
    struct stat info;
    REQUIRE(::stat((dir / "t/b").c_str(), &info) == 0);
    CHECK(info.st_blocks * 512 >= 300'000);
}

TEST_CASE("A48 a link or the wrong kind of thing in the way of a torrent's file stops it before anything is written") {
    const temp_dir dir, victim;
    write_file(victim / "a", "precious");
    real_disk d;
    const auto files = entries({{"t/sub/a", 8}, {"t/z", 8}});
    const auto fails = [&] {
        torrent_files t(d, files, layout_of(files, piece_length), dir.string());
        const auto code = failure_of([&] { t.create(); });
        const auto later = failure_of([&] { t.write(0, as_bytes("attacked")); });
        return code == errc::path_unsafe && later;
    };
    SUBCASE("a link for a folder") {
        std::filesystem::create_directory(dir / "t");
        std::filesystem::create_directory_symlink(victim / ".", dir / "t/sub");
        CHECK(fails());
    }
    SUBCASE("a link for the torrent's own folder") {
        std::filesystem::create_directory(victim / "sub");
        write_file(victim / "sub/a", "precious");
        std::filesystem::create_directory_symlink(victim / ".", dir / "t");
        CHECK(fails());
        CHECK(as_text(read_file(victim / "sub/a")) == "precious");
    }
    SUBCASE("a link for a file") {
        std::filesystem::create_directories(dir / "t/sub");
        std::filesystem::create_symlink(victim / "a", dir / "t/sub/a");
        CHECK(fails());
    }
    SUBCASE("a file for a folder") {
        write_file(dir / "t/sub", "x");
        CHECK(fails());
    }
    SUBCASE("a folder for a file") {
        std::filesystem::create_directories(dir / "t/sub/a");
        CHECK(fails());
    }
    CHECK(as_text(read_file(victim / "a")) == "precious");
}

TEST_CASE("A48 a folder that becomes a link while a download runs is not written through") {
    const temp_dir dir, victim;
    write_file(victim / "a", "precious");
    real_disk d;
    const auto files = entries({{"t/sub/a", 8}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string(), {.max_open = 0});
    t.create();
    t.write(0, as_bytes("original"));
    std::filesystem::remove_all(dir / "t/sub");
    std::filesystem::create_directory_symlink(victim / ".", dir / "t/sub");
    CHECK(failure_of([&] { t.write(0, as_bytes("attacked")); }) == errc::path_unsafe);
    CHECK(as_text(read_file(victim / "a")) == "precious");
}

TEST_CASE("A52 no file of a torrent can take the place of a resume journal") {
    const temp_dir dir;
    real_disk d;
    info_hash hash;
    for (const std::string& name : {journal_name(hash), journal_name(hash) + ".new", journal_name(hash) + "/x"}) {
        const auto files = entries({{name, 8}});
        CHECK(failure_of([&] { torrent_files(d, files, layout_of(files, piece_length), dir.string()); }) ==
              errc::path_unsafe);
    }
    const auto deeper = entries({{"t/" + journal_name(hash), 8}});
    torrent_files(d, deeper, layout_of(deeper, piece_length), dir.string()).create();
}

TEST_CASE("files that do not add up to the layout are refused") {
    real_disk d;
    auto files = entries({{"t/a", 8}, {"t/b", 8}});
    const auto code = [&](std::uint64_t total) {
        return failure_of([&] { torrent_files(d, files, piece_layout(total, piece_length), "/nowhere"); });
    };
    CHECK(!code(16));
    CHECK(code(15) == errc::metainfo_invalid);
    CHECK(code(17) == errc::metainfo_invalid);
    files[1].offset = 9;
    CHECK(code(17) == errc::metainfo_invalid);
    files[1] = {"t/b", ~std::uint64_t{0}, 8, false};
    CHECK(code(7) == errc::metainfo_invalid);
}

TEST_CASE("content is found where its author has it, whatever it is called there") {
    const temp_dir dir;
    real_disk d;
    byte_vector back(3);
    SUBCASE("a folder") {
        write_file(dir / "renamed/sub/a", "abc");
        const auto files = entries({{"t/sub/a", 3}});
        torrent_files t(d, files, layout_of(files, piece_length), (dir / "renamed").string(),
                        {.place = content_place::itself, .read_only = true});
        t.read(0, back);
    }
    SUBCASE("a single file") {
        write_file(dir / "renamed.bin", "abc");
        const auto files = entries({{"t.bin", 3}});
        torrent_files t(d, files, layout_of(files, piece_length), (dir / "renamed.bin").string(),
                        {.place = content_place::itself, .read_only = true});
        t.read(0, back);
    }
    SUBCASE("a file with a name that we would not give") {
        write_file(dir / "folder/aux.c", "abc");
        auto files = entries({{"t/_aux.c", 3}});
        files[0].author_path = "t/aux.c";
        torrent_files t(d, files, layout_of(files, piece_length), (dir / "folder").string(),
                        {.place = content_place::itself, .read_only = true});
        t.read(0, back);
    }
    SUBCASE("a file that a download gave a safe name") {
        write_file(dir / "folder/_aux.c", "abc");
        write_file(dir / "folder/aux.c", "other");
        auto files = entries({{"t/_aux.c", 3}});
        files[0].author_path = "t/aux.c";
        torrent_files t(d, files, layout_of(files, piece_length), (dir / "folder").string(),
                        {.place = content_place::itself, .read_only = true});
        t.read(0, back);
    }
    SUBCASE("a file behind a link") {
        write_file(dir / "elsewhere", "abc");
        std::filesystem::create_directory(dir / "folder");
        std::filesystem::create_symlink(dir / "elsewhere", dir / "folder/a");
        const auto files = entries({{"t/a", 3}});
        torrent_files t(d, files, layout_of(files, piece_length), (dir / "folder").string(),
                        {.place = content_place::itself, .read_only = true});
        t.read(0, back);
    }
    CHECK(as_text(back) == "abc");
}

TEST_CASE("read-only files are never written, made or locked") {
    const temp_dir dir;
    real_disk d;
    write_file(dir / "t/a", "abc");
    std::filesystem::permissions(dir / "t/a", std::filesystem::perms::owner_read);
    const auto files = entries({{"t/a", 3}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string(), {.read_only = true});
    byte_vector back(3);
    t.read(0, back);
    CHECK(as_text(back) == "abc");
    CHECK(failure_of([&] { t.write(0, back); }) == std::errc::read_only_file_system);
}

TEST_CASE("a missing or short file is told with its path, and try_read just says no") {
    const temp_dir dir;
    real_disk d;
    write_file(dir / "t/a", "1234");
    write_file(dir / "t/b", "12");
    const auto files = entries({{"t/a", 4}, {"t/b", 4}, {"t/c", 4}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string(), {.read_only = true});
    byte_vector back(4);
    CHECK(t.try_read(0, back));
    CHECK(failure_of([&] { t.read(4, back); }) == errc::file_changed);
    CHECK(message_of([&] { t.read(4, back); }).find("t/b") != std::string::npos);
    CHECK(!t.try_read(4, back));
    CHECK(failure_of([&] { t.read(8, back); }) == errc::file_missing);
    CHECK(message_of([&] { t.read(8, back); }).find("t/c") != std::string::npos);
    CHECK(!t.try_read(8, back));
    CHECK(!t.is_hole(8, 4));
    t.prefetch(0, 12);
    CHECK(failure_of([&] { t.slices(8, 1); }) == errc::file_missing);
}

TEST_CASE("a failing disk is heard, never taken for a missing file") {
    const temp_dir dir;
    faulty_disk d;
    write_file(dir / "t/a", "1234");
    const auto files = entries({{"t/a", 4}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string(), {.read_only = true});
    d.reads_fail = true;
    byte_vector back(4);
    CHECK(failure_of([&] { t.try_read(0, back); }) == errc::disk_failed);
    CHECK(message_of([&] { t.read(0, back); }).find("t/a") != std::string::npos);
}

TEST_CASE("slices name files and ranges, keep files open, and give padding as zeros") {
    const temp_dir dir;
    real_disk d;
    const auto files = mixed_files();
    const piece_layout layout = layout_of(files, piece_length);
    const byte_vector all = zero_padding(random_bytes(layout.total_size()), files);
    torrent_files t(d, files, layout, dir.string(), {.max_open = 1});
    t.create();
    t.write(0, all);
    const auto slices = t.slices(5, 70'050);
    REQUIRE(slices.size() == 5);
    t.close();
    CHECK(t.open_files() == 0);
    byte_vector joined;
    for (const content_slice& slice : slices) {
        byte_vector part(slice.range.length, 0);
        if (!slice.is_padding()) {
            CHECK(slice.range.handle == slice.file->native_handle());
            CHECK(slice.file->read_at(slice.range.offset, part) == part.size());
        }
        joined.insert(joined.end(), part.begin(), part.end());
    }
    CHECK(slices[2].is_padding());
    CHECK(slices[2].range.handle == -1);
    CHECK(joined == byte_vector(all.begin() + 5, all.begin() + 5 + 70'050));
}

TEST_CASE("holes are told from data") {
    const temp_dir dir;
    real_disk d;
    const auto files = entries({{"t/a", 50'000'000}, {"pad/1", 1000}, {"t/b", 10}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    CHECK(!t.is_hole(0, 100));
    t.create();
    CHECK(t.is_hole(0, 50'001'010));
    t.write(40'000'000, as_bytes("x"));
    CHECK(!t.is_hole(0, 50'001'010));
    CHECK(!t.is_hole(39'999'000, 2000));
    CHECK(t.is_hole(0, 30'000'000));
    CHECK(t.is_hole(49'999'000, 2010));
}

TEST_CASE("sync reaches every file written and every directory made, once") {
    const temp_dir dir;
    faulty_disk d;
    const auto files = entries({{"t/a", 10}, {"t/x/y/b", 10}, {"t/c", 10}, {"t/empty", 0}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string(), {.max_open = 1});
    CHECK(!t.has_unsynced());
    t.create();
    CHECK(t.has_unsynced());
    t.write(0, byte_vector(20));
    t.sync();
    const auto synced = d.synced();
    const std::set<std::string> all(synced.begin(), synced.end());
    CHECK(all.size() == synced.size());
    CHECK(all == std::set<std::string>{dir.string(), dir.string() + "/t", dir.string() + "/t/x",
                                       dir.string() + "/t/x/y", dir.string() + "/t/a", dir.string() + "/t/x/y/b"});
    CHECK(!t.has_unsynced());
    d.forget_synced();
    t.sync();
    CHECK(d.synced().empty());
    t.mark_written(5, 10);
    t.sync();
    CHECK(d.synced() == std::vector<std::string>{dir.string() + "/t/a", dir.string() + "/t/x/y/b"});
}

TEST_CASE("after a failed sync nothing is claimed to be safe any more") {
    const temp_dir dir;
    faulty_disk d;
    const auto files = entries({{"t/a", 10}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    t.create();
    t.write(0, byte_vector(10));
    d.syncs_fail = true;
    CHECK(failure_of([&] { t.sync(); }) == errc::disk_failed);
    d.syncs_fail = false;
    CHECK(failure_of([&] { t.sync(); }) == errc::disk_failed);
    CHECK(t.has_unsynced());
}

TEST_CASE("a file removed or replaced while it is written is noticed") {
    const temp_dir dir;
    real_disk d;
    const auto files = entries({{"t/a", 10}, {"pad/6", 6}, {"t/b", 10}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    t.create();
    t.write(0, byte_vector(26));
    t.check_in_place(0, 26);
    std::filesystem::remove(dir / "t/b");
    t.check_in_place(0, 16);
    CHECK(failure_of([&] { t.check_in_place(0, 26); }) == errc::file_missing);
    CHECK(failure_of([&] { t.sync(); }) == errc::file_missing);
    write_file(dir / "new", "0123456789");
    std::filesystem::rename(dir / "t/a", dir / "moved");
    std::filesystem::rename(dir / "new", dir / "t/a");
    CHECK(failure_of([&] { t.check_in_place(0, 10); }) == errc::file_changed);
    CHECK(message_of([&] { t.check_in_place(0, 10); }).find("t/a") != std::string::npos);
}

TEST_CASE("a file changed below a seeder is noticed, and only where it matters") {
    const temp_dir dir;
    real_disk d;
    write_file(dir / "t/a", "0123456789");
    write_file(dir / "t/b", "0123456789");
    const auto files = entries({{"t/a", 10}, {"pad/6", 6}, {"t/b", 10}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string(), {.read_only = true});
    t.check_unchanged(0, 26);
    t.remember_stamps();
    t.check_unchanged(0, 26);
    SUBCASE("rewritten in place") {
        write_file(dir / "t/b", "changed!!!");
        std::filesystem::last_write_time(dir / "t/b",
                                         std::filesystem::last_write_time(dir / "t/b") + std::chrono::seconds(2));
        CHECK(failure_of([&] { t.check_unchanged(16, 1); }) == errc::file_changed);
    }
    SUBCASE("cut short") {
        std::filesystem::resize_file(dir / "t/b", 3);
        CHECK(failure_of([&] { t.check_unchanged(0, 26); }) == errc::file_changed);
    }
    SUBCASE("removed") {
        std::filesystem::remove(dir / "t/b");
        CHECK(failure_of([&] { t.check_unchanged(20, 2); }) == errc::file_missing);
        t.close();
        CHECK(failure_of([&] { t.check_unchanged(20, 2); }) == errc::file_missing);
    }
    SUBCASE("replaced") {
        t.close();
        write_file(dir / "new", "0123456789");
        std::filesystem::rename(dir / "new", dir / "t/b");
        CHECK(failure_of([&] { t.check_unchanged(20, 2); }) == errc::file_changed);
        CHECK(message_of([&] { t.check_unchanged(20, 2); }).find("t/b") != std::string::npos);
    }
    t.check_unchanged(0, 16);
}

TEST_CASE("a full disk is an error with the path, and what was written before stays") {
    const temp_dir dir;
    faulty_disk d;
    const auto files = entries({{"t/a", 40'000}, {"t/b", 40'000}});
    torrent_files t(d, files, layout_of(files, piece_length), dir.string());
    t.create();
    const byte_vector all = random_bytes(80'000);
    d.bytes_left = 50'000;
    t.write(0, byte_view(all).first(30'000));
    CHECK(failure_of([&] { t.write(30'000, byte_view(all).subspan(30'000)); }) == errc::disk_full);
    CHECK(message_of([&] { t.write(50'000, byte_view(all).subspan(50'000)); }).find("t/b") != std::string::npos);
    byte_vector back(30'000);
    t.read(0, back);
    CHECK(std::equal(back.begin(), back.end(), all.begin()));
}

TEST_CASE("twenty thousand small files need few handles and no search through them") {
    const temp_dir dir;
    faulty_disk d;
    std::vector<std::pair<std::string, std::uint64_t>> names;
    for (int i = 0; i < 20'000; ++i)
        names.emplace_back("t/" + std::to_string(i / 500) + "/" + std::to_string(i), i % 10 == 0 ? 0 : 7);
    const auto files = entries(names);
    const piece_layout layout = layout_of(files, piece_length);
    torrent_files t(d, files, layout, dir.string(), {.max_open = 16});
    t.create();
    const byte_vector all = random_bytes(layout.total_size());
    d.opened = 0;
    for (piece_index piece = 0; piece < layout.piece_count(); ++piece)
        t.write(layout.offset(piece), byte_view(all).subspan(layout.offset(piece), layout.piece_size(piece)));
    CHECK(d.opened <= 18'000 + 2 * static_cast<int>(layout.piece_count()));
    CHECK(t.open_files() == 16);
    byte_vector back(all.size());
    t.read(0, back);
    CHECK(back == all);
    // One block needs the files it is in, and no others.
    d.opened = 0;
    t.close();
    byte_vector few(70);
    t.read(layout.total_size() / 2, few);
    CHECK(d.opened <= 12);
}

TEST_CASE("files far beyond 4 GiB are addressed right") {
    const temp_dir dir;
    real_disk d;
    const std::uint64_t big = 6'000'000'000;
    const auto files = entries({{"t/a", big}, {"t/b", big}, {"t/c", 5}});
    torrent_files t(d, files, layout_of(files, 16 * 1024 * 1024), dir.string());
    t.create();
    t.write(big - 3, as_bytes("abcdef"));
    t.write(2 * big - 2, as_bytes("uvwxyz!"));
    byte_vector back(6);
    t.read(big - 3, back);
    CHECK(as_text(back) == "abcdef");
    CHECK(as_text(read_file(dir / "t/c")) == "wxyz!");
    back.resize(3);
    CHECK(d.open({dir.string(), "t/a"}, open_mode::read)->read_at(big - 3, back) == 3);
    CHECK(as_text(back) == "abc");
}

TEST_CASE("threads write and read different pieces at the same time") {
    const temp_dir dir;
    real_disk d;
    std::vector<std::pair<std::string, std::uint64_t>> names;
    for (int i = 0; i < 40; ++i) names.emplace_back("t/" + std::to_string(i), 20'000 + i);
    const auto files = entries(names);
    const piece_layout layout = layout_of(files, piece_length);
    const byte_vector all = random_bytes(layout.total_size());
    torrent_files t(d, files, layout, dir.string(), {.max_open = 4});
    t.create();
    std::vector<std::thread> threads;
    for (piece_index lane = 0; lane < 4; ++lane)
        threads.emplace_back([&, lane] {
            for (piece_index piece = lane; piece < layout.piece_count(); piece += 4) {
                t.write(layout.offset(piece), byte_view(all).subspan(layout.offset(piece), layout.piece_size(piece)));
                byte_vector back(layout.piece_size(piece));
                t.read(layout.offset(piece), back);
                if (piece % 5 == 0) t.sync();
            }
        });
    for (std::thread& thread : threads) thread.join();
    byte_vector back(all.size());
    t.read(0, back);
    CHECK(back == all);
}

}  // namespace torrent_files_test
