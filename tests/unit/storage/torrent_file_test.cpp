#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include <cohort/storage/make_torrent.hpp>
#include <cohort/storage/real_disk.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/corpus.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace torrent_file_test {

using namespace cohort;
using namespace cohort::test;

namespace {

metainfo some_torrent(const temp_dir& dir) {
    write_file(dir / "content", random_bytes(100'000));
    real_disk d;
    worker_pool pool(1);
    auto made = make_torrent(d, dir / "content", pool);
    return std::move(made.value());
}

std::ptrdiff_t names_in(const temp_dir& dir) {
    return std::distance(std::filesystem::directory_iterator(dir / ""), std::filesystem::directory_iterator());
}

}  // namespace

TEST_CASE("a torrent file that was written is read as it was, and replaces the one before") {
    const temp_dir dir;
    metainfo info = some_torrent(dir);
    const std::string path = dir / "x.torrent";
    for (const char* comment : {"the first", "the second"}) {
        info.comment = comment;
        write_torrent(path, info);
        const metainfo read = read_torrent(path);
        CHECK(read.hash == info.hash);
        CHECK(read.comment == comment);
    }
    CHECK(names_in(dir) == 2);
}

TEST_CASE("writing a torrent file touches no file beside it, whatever its name") {
    const temp_dir dir;
    const metainfo info = some_torrent(dir);
    const std::string path = dir / "x.torrent";
    for (const char* end : {".part", ".0.part", ".1.part"}) write_file(path + end, std::string_view("a diary"));
    write_torrent(path, info);
    CHECK(read_torrent(path).hash == info.hash);
    for (const char* end : {".part", ".0.part", ".1.part"}) CHECK(as_text(read_file(path + end)) == "a diary");
    CHECK(names_in(dir) == 5);
}

TEST_CASE("a torrent file that cannot be written is an error with its path, and leaves nothing behind") {
    const temp_dir dir;
    const metainfo info = some_torrent(dir);
    const std::string folder = dir / "folder";
    write_file(dir / "folder/file", std::string_view("x"));
    for (const std::string& path : {folder, std::string(dir / "missing/x.torrent")}) {
        try {
            write_torrent(path, info);
            FAIL("written to " << path);
        } catch (const std::system_error& error) {
            CHECK(std::string(error.what()).starts_with("cannot write " + path + ": "));
        }
    }
    CHECK(names_in(dir) == 2);
}

}  // namespace torrent_file_test
