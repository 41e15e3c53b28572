#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohort/storage/real_disk.hpp>

#include "support/corpus.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace real_disk_test {

using namespace cohort;
using namespace cohort::test;

TEST_CASE("what is written gathered is read back, wherever it lies") {
    const temp_dir dir;
    real_disk d;
    const auto file = d.open({dir.string(), "a"}, open_mode::create);
    // Thousands of buffers of odd sizes, empty ones among them, are more than one system call takes.
    const byte_vector data = random_bytes(300'000);
    std::vector<byte_view> parts;
    for (std::size_t at = 0, size = 0; at < data.size(); at += size, size = (size + 1) % 97)
        parts.push_back(byte_view(data).subspan(at, std::min(size, data.size() - at)));
    REQUIRE(parts.size() > 3000);
    file->write_at(1000, parts);
    CHECK(file->size() == 301'000);

    byte_vector back(300'000);
    CHECK(file->read_at(1000, back) == back.size());
    CHECK(back == data);
    CHECK(file->read_at(300'000, back) == 1000);
    CHECK(file->read_at(301'000, back) == 0);
    CHECK(file->read_at(900'000, back) == 0);
    file->write_at(0, std::span<const byte_view>());
    file->sync();
    file->prefetch(0, 301'000);
    CHECK(file->size() == 301'000);
}

TEST_CASE("offsets beyond 4 GiB work, and take no space where nothing is written") {
    const temp_dir dir;
    real_disk d;
    const auto file = d.open({dir.string(), "big"}, open_mode::create);
    const std::uint64_t far = 5'000'000'000;
    file->resize(far + 5);
    file->write_at(far, as_bytes("hello"));
    byte_vector back(5);
    CHECK(file->read_at(far, back) == 5);
    CHECK(as_text(back) == "hello");
    CHECK(d.stat({dir.string(), "big"})->size == far + 5);
    struct stat info;
    REQUIRE(::fstat(file->native_handle(), &info) == 0);
    CHECK(info.st_blocks * 512 < 1'000'000);
    CHECK(file->next_data(far + 5) == far + 5);
    CHECK(file->next_data(far) == far);
    CHECK(failure_of([&] { file->write_at(~std::uint64_t{0}, as_bytes("x")); }) == std::errc::file_too_large);
}

TEST_CASE("reserved space counts as taken and reads as zeros") {
    const temp_dir dir;
    real_disk d;
    const auto file = d.open({dir.string(), "a"}, open_mode::create);
    file->allocate(0);
    CHECK(file->size() == 0);
    file->allocate(1'000'000);
    CHECK(file->size() == 1'000'000);
    struct stat info;
    REQUIRE(::fstat(file->native_handle(), &info) == 0);
    CHECK(info.st_blocks * 512 >= 1'000'000);
    byte_vector back(100, 1);
    file->read_at(500'000, back);
    CHECK(back == byte_vector(100, 0));
}

TEST_CASE("opening says what is wrong, with the path") {
    const temp_dir dir;
    real_disk d;
    CHECK(failure_of([&] { d.open({dir.string(), "no"}, open_mode::read); }) == errc::file_missing);
    CHECK(failure_of([&] { d.open({dir.string(), "no"}, open_mode::read_write); }) == errc::file_missing);
    CHECK(failure_of([&] { d.open({dir.string(), "no/file"}, open_mode::create); }) == errc::file_missing);
    CHECK(message_of([&] {
              d.open({dir.string(), "no"}, open_mode::read);
          }).find(dir.string() + "/no") != std::string::npos);
    write_file(dir / "file", "x");
    std::filesystem::create_directory(dir / "folder");
    CHECK(failure_of([&] { d.open({dir.string(), "folder"}, open_mode::create); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.open({dir.string(), "folder"}, open_mode::read); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.open({dir.string(), "file/x"}, open_mode::create); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.open({dir.string(), "file/x"}, open_mode::read); }) == errc::file_missing);
    CHECK(!d.stat({dir.string(), "no"}));
    CHECK(!d.stat({dir.string(), "file/x"}));
    CHECK(d.stat({dir.string(), "file"})->size == 1);
}

TEST_CASE("no path from a stranger leads out of its root") {
    const temp_dir dir;
    real_disk d;
    std::filesystem::create_directory(dir / "root");
    write_file(dir / "outside", "secret");
    const std::string root = (dir / "root").string();
    for (const std::string below : {"../outside", "a/../../outside", "/etc/passwd", ".", "..", "a//b", "a/", "./a"}) {
        CAPTURE(below);
        for (const open_mode mode : {open_mode::read, open_mode::read_write, open_mode::create})
            CHECK(failure_of([&] { d.open({root, below}, mode); }) == errc::path_unsafe);
        CHECK(failure_of([&] { d.create_directories({root, below}); }) == errc::path_unsafe);
        CHECK(failure_of([&] { d.remove({root, below}); }) == errc::path_unsafe);
        CHECK(failure_of([&] { d.rename({root, below}, {root, "x"}); }) == errc::path_unsafe);
        CHECK(failure_of([&] { d.rename({root, "x"}, {root, below}); }) == errc::path_unsafe);
    }
    CHECK(failure_of([&] { d.open({root, std::string("a\0b", 3)}, open_mode::create); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.remove({root, {}}); }) == errc::path_unsafe);
}

TEST_CASE("A48 nothing is written, made or removed through a symbolic link below the root") {
    const temp_dir dir;
    real_disk d;
    const std::string root = (dir / "root").string();
    std::filesystem::create_directory(root);
    write_file(dir / "victim/file", "precious");
    std::filesystem::create_symlink(dir / "victim", dir / "root/folder");
    std::filesystem::create_symlink(dir / "victim/file", dir / "root/file");
    std::filesystem::create_symlink(dir / "victim/fresh", dir / "root/dangling");

    for (const open_mode mode : {open_mode::read_write, open_mode::create}) {
        CHECK(failure_of([&] { d.open({root, "folder/file"}, mode); }) == errc::path_unsafe);
        CHECK(failure_of([&] { d.open({root, "file"}, mode); }) == errc::path_unsafe);
        CHECK(failure_of([&] { d.open({root, "dangling"}, mode); }) == errc::path_unsafe);
    }
    CHECK(failure_of([&] { d.create_directories({root, "folder/deeper"}); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.create_directories({root, "folder"}); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.remove({root, "folder/file"}); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.rename({root, "folder/file"}, {root, "x"}); }) == errc::path_unsafe);
    CHECK(as_text(read_file(dir / "victim/file")) == "precious");
    CHECK(!std::filesystem::exists(dir / "victim/fresh"));
    CHECK(!std::filesystem::exists(dir / "victim/deeper"));

    // Reading follows them: what is read is checked against a hash before anybody gets it.
    CHECK(d.open({root, "folder/file"}, open_mode::read)->size() == 8);
    // And the root is the user's own: he may keep it behind a link.
    std::filesystem::create_symlink(dir / "victim", dir / "own");
    CHECK(d.open({(dir / "own").string(), "fresh"}, open_mode::create)->size() == 0);
}

TEST_CASE("a pipe or socket in a file's place is refused without waiting for its other end") {
    const temp_dir dir;
    real_disk d;
    REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
    CHECK(failure_of([&] { d.open({dir.string(), "pipe"}, open_mode::read); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.open({dir.string(), "pipe"}, open_mode::create); }) == errc::path_unsafe);
    CHECK(!d.stat({dir.string(), "pipe"}));

    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ::sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (dir / "socket").c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(listener, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
    CHECK(failure_of([&] { d.open({dir.string(), "socket"}, open_mode::create); }) == errc::path_unsafe);
    ::close(listener);
}

TEST_CASE("directories are made with all that lead to them, and again without harm") {
    const temp_dir dir;
    real_disk d;
    const disk_path path{(dir / "new/root").string(), "a/\xc3\xa4/c"};
    d.create_directories(path);
    d.create_directories(path);
    CHECK(std::filesystem::is_directory(dir / "new/root/a/\xc3\xa4/c"));
    d.sync_directory(path);
    write_file(dir / "new/root/file", "x");
    CHECK(failure_of([&] { d.create_directories({path.root, "file/a"}); }) == errc::path_unsafe);
    CHECK(failure_of([&] { d.create_directories({path.root, "file"}); }) == errc::path_unsafe);
}

TEST_CASE("rename replaces and remove forgives") {
    const temp_dir dir;
    real_disk d;
    write_file(dir / "a", "new");
    write_file(dir / "b", "old content");
    d.rename({dir.string(), "a"}, {dir.string(), "b"});
    CHECK(as_text(read_file(dir / "b")) == "new");
    CHECK(!std::filesystem::exists(dir / "a"));
    CHECK(failure_of([&] { d.rename({dir.string(), "a"}, {dir.string(), "b"}); }) == errc::file_missing);
    d.remove({dir.string(), "b"});
    d.remove({dir.string(), "b"});
    CHECK(!std::filesystem::exists(dir / "b"));
}

TEST_CASE("few and many files are synced, and one that is missing is told") {
    const temp_dir dir;
    real_disk d;
    std::vector<disk_path> paths;
    for (int i = 0; i < 100; ++i) {
        paths.push_back({dir.string(), std::to_string(i)});
        d.open(paths.back(), open_mode::create)->write_at(0, as_bytes("x"));
    }
    d.sync_files(paths);
    d.sync_files(std::span(paths).first(3));
    d.sync_files({});
    d.remove(paths[2]);
    CHECK(failure_of([&] { d.sync_files(paths); }) == errc::file_missing);
    CHECK(failure_of([&] { d.sync_files(std::span(paths).first(3)); }) == errc::file_missing);
    CHECK(message_of([&] { d.sync_files(paths); }).find(dir.string() + "/2") != std::string::npos);
}

TEST_CASE("a sync that fails says why, whatever is done about it") {
    real_disk d;
    // A file of the kernel's own cannot be synced.
    const disk_path path{"/proc/self/comm", ""};
    CHECK(failure_of([&] { d.open(path, open_mode::read_write)->sync(); }) == std::errc::invalid_argument);
    CHECK(message_of([&] { d.sync_files({&path, 1}); }).find(path.root) != std::string::npos);
}

TEST_CASE("stamps tell apart a changed, a replaced and a removed file") {
    const temp_dir dir;
    real_disk d;
    const disk_path path{dir.string(), "a"};
    write_file(dir / "a", "one");
    const auto file = d.open(path, open_mode::read_write);
    const file_stamp first = file->stamp();
    CHECK(first == *d.stat(path));
    CHECK(first.size == 3);

    std::filesystem::last_write_time(dir / "a", std::filesystem::last_write_time(dir / "a") + std::chrono::seconds(1));
    CHECK(file->stamp() != first);
    CHECK(file->stamp().modified_ns == first.modified_ns + 1'000'000'000);

    write_file(dir / "b", "two");
    std::filesystem::rename(dir / "b", dir / "a");
    CHECK(failure_of([&] { file->stamp(); }) == errc::file_missing);
    CHECK(d.stat(path)->inode != first.inode);
}

TEST_CASE("times that do not fit are no trouble") {
    const temp_dir dir;
    real_disk d;
    write_file(dir / "a", "x");
    for (const std::int64_t seconds : {std::int64_t{15'000'000'000}, std::int64_t{-2'000'000'000}}) {
        const ::timespec times[2]{{static_cast<time_t>(seconds), 999'999'999},
                                  {static_cast<time_t>(seconds), 999'999'999}};
        REQUIRE(::utimensat(AT_FDCWD, (dir / "a").c_str(), times, 0) == 0);
        const std::int64_t seen = d.stat({dir.string(), "a"})->modified_ns;
        CHECK((seen > 0) == (seconds > 0));
    }
}

TEST_CASE("a write cut short by a limit is an error, not a success") {
    const temp_dir dir;
    // In a process of its own: the limit, once there, holds for everything that writes.
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGXFSZ, SIG_IGN);
        const ::rlimit limit{10'000, 10'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        bool right = false;
        try {
            real_disk d;
            const auto file = d.open({dir.string(), "a"}, open_mode::create);
            const byte_vector data(6000, 7);
            const byte_view parts[]{data, data};
            const auto code = failure_of([&] { file->write_at(0, parts); });
            right = code == std::errc::file_too_large && file->size() == 10'000;
        } catch (...) {
        }
        ::_exit(right ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("the codes of the system become ours where we have one") {
    const auto code = [](int error) { return failure_of([&] { raise_disk_error(error, "/a/b"); }); };
    CHECK(code(ENOSPC) == errc::disk_full);
    CHECK(code(EDQUOT) == errc::disk_full);
    CHECK(code(EIO) == errc::disk_failed);
    CHECK(code(ENOENT) == errc::file_missing);
    CHECK(code(ELOOP) == errc::path_unsafe);
    CHECK(code(EACCES) == std::errc::permission_denied);
    CHECK(code(EROFS) == std::errc::read_only_file_system);
    CHECK(message_of([] { raise_disk_error(EACCES, "/a/b"); }).find("/a/b") != std::string::npos);
}

TEST_CASE("the boot id stays while the system is up, and there is space to report") {
    const temp_dir dir;
    real_disk d;
    CHECK(d.boot_id() == d.boot_id());
    CHECK(d.boot_id().size() == 36);
    CHECK(d.free_space(dir.string()) > 0);
    CHECK(failure_of([&] { d.free_space((dir / "no").string()); }) == errc::file_missing);
}

TEST_CASE("paths are put together with one slash") {
    CHECK(disk_path{"/a", "b/c"}.text() == "/a/b/c");
    CHECK(disk_path{"/a/", "b"}.text() == "/a/b");
    CHECK(disk_path{"/", "b"}.text() == "/b");
    CHECK(disk_path{"/a", ""}.text() == "/a");
}

}  // namespace real_disk_test
