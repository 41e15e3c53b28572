#include <algorithm>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cohort/storage/make_torrent.hpp>

#include "support/faulty_disk.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace make_torrent_test {

using namespace cohort;
using namespace cohort::test;

namespace {

std::vector<std::string> paths_of(const metainfo& m) {
    std::vector<std::string> out;
    for (const file_entry& file : m.files) out.push_back(file.path);
    return out;
}

/// Everything is there and right when read by way of the torrent.
bool matches(const metainfo& m, const std::string& path) {
    real_disk d;
    torrent_files files(d, m.files, m.layout(), path, {.place = content_place::itself, .read_only = true});
    const piece_index count = m.layout().piece_count();
    return verify_range(files, m.piece_hashes, 0, count, bitfield(count, true)).size() == count;
}

}  // namespace

TEST_CASE("a folder becomes a torrent of all its files, in bytewise order of their paths") {
    const temp_dir dir;
    write_file(dir / "content/b", random_bytes(100'000, 1));
    write_file(dir / "content/a/z", random_bytes(50'000, 2));
    write_file(dir / "content/a.txt", random_bytes(1, 3));
    write_file(dir / "content/empty", "");
    write_file(dir / "content/.hidden", "h");
    write_file(dir / "content/B", "upper");
    write_file(dir / "content/\xc3\xa4/\xe6\x97\xa5\xe6\x9c\xac", "non-ASCII");
    std::filesystem::create_directory(dir / "content/no files");
    real_disk d;
    worker_pool pool(2);
    const auto m = make_torrent(d, (dir / "content").string(), pool,
                                {.trackers = {{"http://one/announce"}, {"udp://two:1"}},
                                 .comment = "words",
                                 .created_by = "a test",
                                 .creation_date = 1234});
    REQUIRE(m);
    CHECK(m->name == "content");
    CHECK(m->multi_file);
    CHECK(paths_of(*m) == std::vector<std::string>{"content/.hidden", "content/B", "content/a.txt", "content/a/z",
                                                   "content/b", "content/empty",
                                                   "content/\xc3\xa4/\xe6\x97\xa5\xe6\x9c\xac"});
    CHECK(m->total_size == 150'016);
    CHECK(m->piece_length == choose_piece_length(m->total_size));
    CHECK(!m->is_private);
    CHECK(matches(*m, (dir / "content").string()));

    std::error_code error;
    const std::string text = write_metainfo(*m);
    const auto again = parse_metainfo(as_bytes(text), error);
    REQUIRE(again);
    CHECK(again->hash == m->hash);
    CHECK(again->trackers == m->trackers);
    CHECK(again->comment == "words");
    CHECK(again->creation_date == 1234);
}

TEST_CASE("a file becomes a torrent of one file") {
    const temp_dir dir;
    const byte_vector data = random_bytes(100'001);
    write_file(dir / "one.bin", data);
    real_disk d;
    worker_pool pool(2);
    const auto m = make_torrent(d, (dir / "one.bin").string(), pool, {.piece_length = 32 * 1024, .is_private = true});
    REQUIRE(m);
    CHECK(m->name == "one.bin");
    CHECK(!m->multi_file);
    CHECK(m->is_private);
    CHECK(m->total_size == data.size());
    CHECK(m->piece_hashes == hashes_of(data, 32 * 1024));
}

TEST_CASE("the hashes are those of the files one after the other, at every piece length") {
    const temp_dir dir;
    byte_vector all;
    for (int i = 0; i < 30; ++i) {
        const byte_vector part = random_bytes(static_cast<std::size_t>(i) * 12'345, static_cast<std::uint64_t>(i) + 1);
        write_file(dir / "c" / (i < 10 ? "0" + std::to_string(i) : std::to_string(i)), part);
        all.insert(all.end(), part.begin(), part.end());
    }
    real_disk d;
    worker_pool pool(3);
    for (const std::uint32_t piece_length :
         {16u * 1024, 48u * 1024, 1024u * 1024, 4u * 1024 * 1024, 16u * 1024 * 1024}) {
        const auto m = make_torrent(d, (dir / "c").string(), pool, {.piece_length = piece_length});
        REQUIRE(m);
        CHECK(m->piece_hashes == hashes_of(all, piece_length));
    }
}

TEST_CASE("sparse files are hashed as the zeros they are, without reading them") {
    const temp_dir dir;
    faulty_disk d;
    d.open({dir.string(), "sparse"}, open_mode::create)->resize(300'000'000);
    worker_pool pool(2);
    const auto m = make_torrent(d, (dir / "sparse").string(), pool, {.piece_length = 1024 * 1024});
    REQUIRE(m);
    CHECK(m->piece_hashes.front() == sha1_of(byte_vector(1024 * 1024)));
    CHECK(m->piece_hashes.back() == sha1_of(byte_vector(300'000'000 % (1024 * 1024))));
    CHECK(d.bytes_read == 0);
}

TEST_CASE("the name does not depend on how the path is written") {
    const temp_dir dir;
    write_file(dir / "folder/a", "x");
    for (const std::string ending : {"", "/", "/.", "/../folder", "//"})
        CHECK(scan_content((dir / "folder").string() + ending).draft.name == "folder");
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(dir / "folder");
    CHECK(scan_content(".").draft.name == "folder");
    CHECK(scan_content("a").draft.name == "a");
    std::filesystem::current_path(before);
}

TEST_CASE("links to files count as the files, and what cannot be shared is listed") {
    const temp_dir dir;
    write_file(dir / "outside", "12345");
    write_file(dir / "c/a", "x");
    std::filesystem::create_symlink(dir / "outside", dir / "c/link");
    std::filesystem::create_symlink(dir / "nowhere", dir / "c/dangling");
    std::filesystem::create_symlink("loop", dir / "c/loop");
    std::filesystem::create_directory_symlink(dir / "c", dir / "c/up");
    REQUIRE(::mkfifo((dir / "c/pipe").c_str(), 0600) == 0);
    info_hash hash;
    write_file(dir / "c" / journal_name(hash), "journal");
    const scanned_content content = scan_content((dir / "c").string());
    REQUIRE(content.draft.files.size() == 2);
    CHECK(content.draft.files[1].path == std::vector<std::string>{"link"});
    CHECK(content.draft.files[1].length == 5);
    const std::string c = (dir / "c/").string();
    CHECK(content.skipped == std::vector<std::string>{c + "dangling", c + "loop", c + "pipe", c + "up"});
    real_disk d;
    worker_pool pool(1);
    const auto m = make_torrent(d, (dir / "c").string(), pool);
    REQUIRE(m);
    CHECK(matches(*m, (dir / "c").string()));
}

TEST_CASE("nothing to share, and no such path, are errors with the path") {
    const temp_dir dir;
    std::filesystem::create_directories(dir / "c/empty/folders");
    const auto scan = [&](const std::string& name) { return [&dir, name] { scan_content((dir / name).string()); }; };
    CHECK(failure_of(scan("no")) == errc::file_missing);
    CHECK(failure_of(scan("c")) == errc::file_missing);
    CHECK(message_of(scan("c")).find((dir / "c").string()) != std::string::npos);
    CHECK(message_of(scan("no")).find((dir / "no").string()) != std::string::npos);
}

TEST_CASE("a folder of nothing but empty files is a torrent without pieces") {
    const temp_dir dir;
    write_file(dir / "c/a", "");
    write_file(dir / "c/b", "");
    real_disk d;
    worker_pool pool(1);
    const auto m = make_torrent(d, (dir / "c").string(), pool);
    REQUIRE(m);
    CHECK(m->files.size() == 2);
    CHECK(m->piece_hashes.empty());
}

TEST_CASE("a name that is not UTF-8 is named in the error") {
    const temp_dir dir;
    write_file(dir / "c/ok", "x");
    write_file(dir / "c/bad\xff.txt", "x");
    CHECK(failure_of([&] { scan_content((dir / "c").string()); }) == errc::metainfo_invalid);
    CHECK(message_of([&] { scan_content((dir / "c").string()); }).find("c/bad_.txt") != std::string::npos);
}

TEST_CASE("piece lengths that peers would not take are refused") {
    const temp_dir dir;
    write_file(dir / "a", random_bytes(100));
    real_disk d;
    worker_pool pool(1);
    for (const std::uint32_t length : {1u, 1000u, 16u * 1024 + 1, 8u * 1024, 1024u * 1024 * 1024})
        CHECK(failure_of([&] { make_torrent(d, (dir / "a").string(), pool, {.piece_length = length}); }) ==
              errc::metainfo_invalid);
    d.open({dir.string(), "huge"}, open_mode::create)->resize(std::uint64_t{40'000'000'000});
    CHECK(failure_of([&] { make_torrent(d, (dir / "huge").string(), pool, {.piece_length = 16 * 1024}); }) ==
          errc::metainfo_invalid);
}

TEST_CASE("names that we would not give keep their spelling in the torrent, and are found by its seeder") {
    const temp_dir dir;
    write_file(dir / "c/aux.c", random_bytes(20'000, 1));
    write_file(dir / "c/ends with a dot.", random_bytes(20'000, 2));
    write_file(dir / "c/back\\slash", random_bytes(20'000, 3));
    write_file(dir / "c/back_slash", random_bytes(20'000, 4));
    real_disk d;
    worker_pool pool(1);
    const auto m = make_torrent(d, (dir / "c").string(), pool);
    REQUIRE(m);
    CHECK(as_text(m->info).find("5:aux.c") != std::string::npos);
    CHECK(matches(*m, (dir / "c").string()));
}

TEST_CASE("a file that changes while it is hashed is told, not shared half old and half new") {
    const temp_dir dir;
    write_file(dir / "c/a", random_bytes(40'000'000));
    write_file(dir / "c/b", random_bytes(1000));
    real_disk d;
    worker_pool pool(1);
    bool done = false;
    const auto code_when = [&](auto change) {
        done = false;
        return failure_of([&] {
            make_torrent(d, (dir / "c").string(), pool, {}, [&](const hash_progress&) {
                if (!std::exchange(done, true)) change();
                return true;
            });
        });
    };
    SUBCASE("written to") {
        CHECK(code_when([&] {
                  std::filesystem::last_write_time(
                      dir / "c/a", std::filesystem::last_write_time(dir / "c/a") + std::chrono::seconds(1));
              }) == errc::file_changed);
    }
    SUBCASE("cut short") {
        CHECK(code_when([&] { std::filesystem::resize_file(dir / "c/a", 20'000'000); }) == errc::file_changed);
    }
    SUBCASE("removed") {
        CHECK(code_when([&] { std::filesystem::remove(dir / "c/b"); }) == errc::file_changed);
    }
    SUBCASE("grown between the scan and the hashing") {
        scanned_content content = scan_content((dir / "c").string());
        content.draft.piece_length = 16 * 1024;
        write_file(dir / "c/b", random_bytes(1001));
        CHECK(failure_of([&] { hash_pieces(d, content, pool); }) == errc::file_changed);
        CHECK(message_of([&] { hash_pieces(d, content, pool); }).find("c/b") != std::string::npos);
    }
}

TEST_CASE("progress runs from the start to the whole size, and can stop the hashing") {
    const temp_dir dir;
    write_file(dir / "a", random_bytes(50'000'000));
    real_disk d;
    worker_pool pool(2);
    std::vector<std::uint64_t> seen;
    REQUIRE(make_torrent(d, (dir / "a").string(), pool, {}, [&](const hash_progress& p) {
        CHECK(p.total == 50'000'000);
        seen.push_back(p.hashed);
        return true;
    }));
    REQUIRE(seen.size() > 2);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(seen.back() == 50'000'000);

    int calls = 0;
    CHECK(!make_torrent(d, (dir / "a").string(), pool, {}, [&](const hash_progress&) {
        ++calls;
        return false;
    }));
    CHECK(calls == 1);
}

TEST_CASE("a disk that cannot be read is an error with its path") {
    const temp_dir dir;
    write_file(dir / "a", random_bytes(1000));
    faulty_disk d;
    d.reads_fail = true;
    worker_pool pool(1);
    CHECK(failure_of([&] { make_torrent(d, (dir / "a").string(), pool); }) == errc::disk_failed);
}

}  // namespace make_torrent_test
