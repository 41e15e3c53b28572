#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/noise_identity.hpp>
#include <cohort/storage/identity_file.hpp>
#include <support/corpus.hpp>
#include <support/temp_dir.hpp>

namespace identity_file_test {

using namespace cohort;
using namespace cohort::test;

namespace {

struct fixture {
    temp_dir dir;
    std::string path = (dir / "identity").string();

    template <class Call>
    std::error_code failure(Call call, std::string* words = nullptr) const {
        try {
            call();
        } catch (const std::system_error& error) {
            if (words != nullptr) *words = error.what();
            return error.code();
        }
        return {};
    }
    std::error_code read_failure(std::string* words = nullptr) const {
        return failure([this] { read_identity_file(path); }, words);
    }
    void mode(unsigned bits) const { REQUIRE(::chmod(path.c_str(), bits) == 0); }
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(dir.string()), {}));
    }
};

}  // namespace

TEST_CASE("an identity is made once and read ever after") {
    fixture f;
    const secret32 seed = load_or_create_identity(f.path);
    CHECK(seed.bytes != key32{});
    CHECK(read_identity_file(f.path).bytes == seed.bytes);
    CHECK(load_or_create_identity(f.path).bytes == seed.bytes);
    CHECK(f.files() == 1);
    struct stat info;
    REQUIRE(::stat(f.path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
    CHECK(info.st_nlink == 1);
    fixture other;
    CHECK(load_or_create_identity(other.path).bytes != seed.bytes);
}

TEST_CASE("a new folder is its owner's alone, and one that is there stays as it is") {
    const fixture f;
    const auto mode_of = [](const std::string& path) {
        struct stat info;
        REQUIRE(::stat(path.c_str(), &info) == 0);
        return info.st_mode & 0777u;
    };
    const std::string made = (f.dir / "a/b/made/").string();
    create_private_folder(made);
    CHECK(mode_of(made) == 0700);
    REQUIRE(::chmod(made.c_str(), 0750) == 0);
    create_private_folder(made);
    CHECK(mode_of(made) == 0750);
    create_identity_file(f.path, secret32{});
    CHECK(f.failure([&] { create_private_folder(f.path + "/below/a/file"); }) != std::error_code{});
}

TEST_CASE("an identity that others could read is refused, with the remedy") {
    fixture f;
    load_or_create_identity(f.path);
    for (const unsigned bits : {0640U, 0604U, 0660U, 0644U, 0610U, 0602U}) {
        f.mode(bits);
        std::string words;
        CHECK(f.read_failure(&words) == errc::identity_invalid);
        CHECK(words.find("chmod 600 " + f.path) != std::string::npos);
        CHECK(f.failure([&] { load_or_create_identity(f.path); }) == errc::identity_invalid);
    }
    f.mode(0400);
    CHECK_FALSE(f.read_failure());
}

TEST_CASE("an identity file is never written over") {
    fixture f;
    const secret32 seed = load_or_create_identity(f.path);
    CHECK(f.failure([&] { create_identity_file(f.path, secret32()); }) == std::errc::file_exists);
    CHECK(read_identity_file(f.path).bytes == seed.bytes);
    CHECK(f.files() == 1);
    std::filesystem::remove(f.path);
    std::filesystem::create_symlink("nowhere", f.path);
    CHECK(f.failure([&] { create_identity_file(f.path, secret32()); }) == std::errc::file_exists);
    CHECK(f.files() == 1);
}

TEST_CASE("A52: a damaged identity is refused and kept: it must not become somebody else") {
    fixture f;
    load_or_create_identity(f.path);
    const byte_vector good = read_file(f.path);
    random_engine random(2);
    for (std::size_t i = 0; i < good.size(); ++i) {
        byte_vector bad = good;
        bad[i] = static_cast<std::uint8_t>(bad[i] ^ 1U << random.below(5));
        write_file(f.path, bad);
        CHECK(f.read_failure() == errc::identity_invalid);
        CHECK(f.failure([&] { load_or_create_identity(f.path); }) == errc::identity_invalid);
        CHECK(read_file(f.path) == bad);
        write_file(f.path, byte_view(good).first(i));
        CHECK(f.read_failure() == errc::identity_invalid);
    }
    byte_vector longer = good;
    longer.push_back('\n');
    write_file(f.path, longer);
    CHECK(f.read_failure() == errc::identity_invalid);
    write_file(f.path, good);
    CHECK_FALSE(f.read_failure());
}

TEST_CASE("what is not a file is no identity") {
    fixture f;
    CHECK(f.read_failure() == errc::file_missing);
    std::filesystem::create_directory(f.path);
    CHECK(f.read_failure() == errc::identity_invalid);
    std::filesystem::remove(f.path);
    REQUIRE(::mkfifo(f.path.c_str(), 0600) == 0);
    CHECK(f.read_failure() == errc::identity_invalid);
    CHECK(f.failure([&] { create_identity_file((f.dir / "no/where").string(), secret32()); }) == errc::file_missing);
}

TEST_CASE("programs that start at once get the same identity") {
    for (int round = 0; round < 20; ++round) {
        fixture f;
        std::vector<secret32> seeds(4);
        {
            std::vector<std::thread> threads;
            for (secret32& seed : seeds) threads.emplace_back([&] { seed = load_or_create_identity(f.path); });
            for (std::thread& thread : threads) thread.join();
        }
        for (const secret32& seed : seeds) CHECK(seed.bytes == seeds[0].bytes);
        CHECK(f.files() == 1);
    }
}

}  // namespace identity_file_test
