// The targets of tests/fuzz as plain tests: with the committed cases, and with each of those damaged a little.

#include <algorithm>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fuzz/targets.hpp"
#include "support/corpus.hpp"

using namespace cohort;
using namespace cohort::fuzz;

void cohort::fuzz::broken(const char* promise) { throw std::logic_error(promise); }

namespace {

std::filesystem::path corpus_folder() { return test::data_directory() / ".." / "fuzz" / "corpus"; }

/// The files of one target, in an order that does not change.
std::vector<std::filesystem::path> cases_of(const target& one) {
    std::vector<std::filesystem::path> out;
    const auto folder = corpus_folder() / one.name;
    if (!std::filesystem::exists(folder)) return out;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) out.push_back(entry.path());
    std::sort(out.begin(), out.end());
    return out;
}

/// What is broken, or nothing.
std::string complaint(const target& one, byte_view input) {
    try {
        one.run(input);
    } catch (const std::exception& error) {
        return error.what();
    }
    return {};
}

/// There are 9 ways for each byte: to end before it, and to flip one of its bits.
byte_vector damaged(byte_vector bytes, std::size_t way) {
    if (way < bytes.size()) {
        bytes.resize(way);
    } else {
        way -= bytes.size();
        bytes[way / 8] ^= static_cast<std::uint8_t>(1U << way % 8);
    }
    return bytes;
}

}  // namespace

TEST_CASE("every target has committed cases, few and small, and no other folder has any") {
    std::set<std::string> names{"README.md"};
    std::uintmax_t sum = 0;
    for (const target& one : all_targets()) {
        CAPTURE(one.name);
        CHECK(names.insert(std::string(one.name)).second);
        const auto cases = cases_of(one);
        CHECK(!cases.empty());
        CHECK(cases.size() <= 60);
        for (const auto& path : cases) {
            CAPTURE(path.filename().string());
            CHECK(std::filesystem::file_size(path) <= one.max_len);
            sum += std::filesystem::file_size(path);
        }
    }
    CHECK(sum <= 600 * 1024);
    for (const auto& entry : std::filesystem::directory_iterator(corpus_folder()))
        CHECK_MESSAGE(names.contains(entry.path().filename().string()), entry.path().filename().string());
}

TEST_CASE("all promises hold for the committed cases and for nothing at all") {
    for (const target& one : all_targets()) {
        CAPTURE(one.name);
        CHECK(complaint(one, {}) == "");
        for (const auto& path : cases_of(one)) {
            CAPTURE(path.filename().string());
            CHECK(complaint(one, test::read_file(path)) == "");
        }
    }
}

TEST_CASE("all promises hold for committed cases that are cut or have one bit flipped") {
    constexpr std::size_t largest = 1024;  // bytes of a case
    constexpr std::size_t most = 400;      // damaged cases of one target
    for (const target& one : all_targets()) {
        CAPTURE(one.name);
        std::vector<byte_vector> cases;
        std::size_t ways = 0;
        for (const auto& path : cases_of(one)) {
            if (std::filesystem::file_size(path) > largest) continue;
            cases.push_back(test::read_file(path));
            ways += 9 * cases.back().size();
        }
        // Spread evenly over all ways of all cases, so that each run tries the same.
        const std::size_t step = std::max<std::size_t>(1, ways / most) | 1;
        std::size_t way = 0;
        for (const byte_vector& whole : cases) {
            for (; way < 9 * whole.size(); way += step) {
                CAPTURE(to_hex(whole));
                CAPTURE(way);
                const std::string wrong = complaint(one, damaged(whole, way));
                REQUIRE(wrong == "");
            }
            way -= 9 * whole.size();
        }
    }
}
