#include <cohort/core/error.hpp>

#include <ostream>
#include <set>
#include <string>
#include <system_error>

#include <doctest/doctest.h>

namespace error_test {

using namespace cohort;

TEST_CASE("every error has words of its own") {
    std::set<std::string> seen;
    for (int code = 1; code <= static_cast<int>(errc::tls_failed); ++code) {
        const std::error_code ec(code, cohort_category());
        CAPTURE(code);
        CHECK(ec.message() != "unknown error");
        CHECK(seen.insert(ec.message()).second);
    }
    CHECK(std::error_code(10000, cohort_category()).message() == "unknown error");
}

TEST_CASE("raise throws the code and says what it concerns") {
    try {
        raise(errc::disk_full, "/data/file");
    } catch (const std::system_error& e) {
        CHECK(e.code() == errc::disk_full);
        CHECK(std::string(e.what()).find("/data/file") != std::string::npos);
        return;
    }
    FAIL("raise returned");
}

}  // namespace error_test
