#include <doctest/doctest.h>

#include <set>
#include <string>

#include <cohort/sim/disk.hpp>

#include "support/test_content.hpp"

namespace disk_test {

using namespace cohort;
using namespace cohort::test;

namespace {

std::string text_of(cohort::disk& d, const std::string& name) {
    const auto file = d.open({"/d", name}, open_mode::read);
    byte_vector out(100);
    out.resize(file->read_at(0, out));
    return std::string(as_text(out));
}

void write(cohort::disk& d, const std::string& name, const std::string& text, bool sync) {
    const auto file = d.open({"/d", name}, open_mode::create);
    file->write_at(0, as_bytes(text));
    if (sync) file->sync();
}

}  // namespace

TEST_CASE("files keep what is written, and say when they were changed") {
    sim::disk d(std::make_shared<sim::medium>());
    d.create_directories({"/d", ""});
    write(d, "a", "hello", false);
    CHECK(text_of(d, "a") == "hello");
    const auto before = *d.stat({"/d", "a"});
    const auto file = d.open({"/d", "a"}, open_mode::read_write);
    CHECK(file->stamp() == before);
    file->write_at(7, as_bytes("you"));
    CHECK(file->size() == 10);
    CHECK(text_of(d, "a") == std::string("hello\0\0you", 10));
    CHECK(file->stamp() != before);
    file->resize(2);
    CHECK(text_of(d, "a") == "he");
    d.rename({"/d", "a"}, {"/d", "b"});
    CHECK(!d.stat({"/d", "a"}));
    CHECK(text_of(d, "b") == "he");
    CHECK(!failure_of([&] { file->stamp(); }));
    d.remove({"/d", "b"});
    CHECK(failure_of([&] { file->stamp(); }) == errc::file_missing);
    CHECK(failure_of([&] { text_of(d, "b"); }) == errc::file_missing);
    CHECK(failure_of([&] { d.rename({"/d", "b"}, {"/d", "c"}); }) == errc::file_missing);
}

TEST_CASE("a loss of power keeps what was synced, and of the rest what chance will have") {
    std::set<std::string> seen;
    bool gone = false, there = false;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        const auto platters = std::make_shared<sim::medium>(seed);
        sim::disk d(platters);
        d.create_directories({"/d", ""});
        const std::string boot = d.boot_id();
        write(d, "a", "safe", true);
        d.sync_directory({"/d", ""});
        write(d, "a", "SAFE and more", false);
        write(d, "b", "new", true);
        platters->lose_power();
        CHECK(d.boot_id() != boot);
        const std::string text = text_of(d, "a");
        seen.insert(text);
        // Synced bytes of a file whose name was not: either is there, or neither.
        const bool named = d.stat({"/d", "b"}).has_value();
        (named ? there : gone) = true;
        if (named) CHECK(text_of(d, "b") == "new");
        CHECK(text.size() >= 4);
        platters->lose_power();
        CHECK(text_of(d, "a") == text);
    }
    CHECK(gone);
    CHECK(there);
    CHECK(seen.contains("safe"));
    CHECK(seen.contains("SAFE and more"));
    CHECK(seen.contains("SAFE and"));
    CHECK(seen.size() > 8);
}

TEST_CASE("a rename that was not synced happened whole or not at all") {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const auto platters = std::make_shared<sim::medium>(seed);
        sim::disk d(platters);
        d.create_directories({"/d", ""});
        write(d, "old", "old", true);
        write(d, "new", "new", true);
        d.sync_directory({"/d", ""});
        d.rename({"/d", "new"}, {"/d", "old"});
        platters->lose_power();
        const bool moved = !d.stat({"/d", "new"});
        CHECK(text_of(d, "old") == (moved ? "new" : "old"));
    }
}

TEST_CASE("a disk runs full, and any call can be made to fail") {
    const auto platters = std::make_shared<sim::medium>();
    sim::disk d(platters);
    d.create_directories({"/d", ""});
    platters->leave_free(6000);
    write(d, "a", "four", false);
    CHECK(d.free_space("/d") == 6000 - 4096);
    CHECK(failure_of([&] { write(d, "b", "four", false); }) == errc::disk_full);
    write(d, "a", "FOUR and more of the same page", false);
    // A hole takes no space, what is reserved does; what is removed gives it back.
    const auto file = d.open({"/d", "a"}, open_mode::read_write);
    file->resize(1'000'000);
    CHECK(failure_of([&] { file->write_at(100'000, as_bytes("four")); }) == errc::disk_full);
    CHECK(failure_of([&] { file->allocate(1'000'000); }) == errc::disk_full);
    d.remove({"/d", "a"});
    CHECK(d.free_space("/d") == 6000);
    write(d, "b", "four", false);
    platters->leave_free(100'000);
    const std::uint64_t calls = platters->calls();
    platters->fault = [](const char* call, const std::string&) {
        return std::string(call) == "sync" ? make_error_code(errc::disk_failed) : std::error_code();
    };
    CHECK(failure_of([&] { write(d, "b", "five", true); }) == errc::disk_failed);
    CHECK(platters->calls() > calls);
}

TEST_CASE("a sync that fails loses what chance will have, once and for all, and nothing that was safe") {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        const auto platters = std::make_shared<sim::medium>(seed);
        sim::disk d(platters);
        d.create_directories({"/d", ""});
        write(d, "a", "safe", true);
        d.sync_directory({"/d", ""});
        platters->fault = [](const char* call, const std::string&) {
            return std::string(call) == "sync" ? make_error_code(errc::disk_failed) : std::error_code();
        };
        CHECK(failure_of([&] { write(d, "a", "SAFE and more", true); }) == errc::disk_failed);
        platters->fault = nullptr;
        const std::string text = text_of(d, "a");
        seen.insert(text);
        CHECK(text.size() >= 4);
        // The next one finds nothing to do, and says so.
        d.open({"/d", "a"}, open_mode::read_write)->sync();
        CHECK(text_of(d, "a") == text);
        platters->lose_power();
        CHECK(text_of(d, "a") == text);
    }
    CHECK(seen.contains("safe"));
    CHECK(seen.contains("SAFE and more"));
    CHECK(seen.size() > 5);  // torn ones
}

TEST_CASE("names are safe in the folder that was synced, and only there; no file is made in a folder that is not") {
    bool gone = false;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const auto platters = std::make_shared<sim::medium>(seed);
        sim::disk d(platters);
        CHECK(failure_of([&] { write(d, "a", "text", false); }) == errc::file_missing);
        d.create_directories({"/d", "below"});
        write(d, "a", "text", true);
        write(d, "below/b", "text", true);
        d.sync_directory({"/d", ""});
        platters->lose_power();
        CHECK(text_of(d, "a") == "text");
        gone = gone || !d.stat({"/d", "below/b"});
    }
    CHECK(gone);
}

}  // namespace disk_test
