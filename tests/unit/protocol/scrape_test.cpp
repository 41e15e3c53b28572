#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/scrape.hpp>

namespace scrape_test {

using namespace cohort;
using namespace std::chrono_literals;

namespace {

info_hash hash_of(std::uint8_t byte) {
    info_hash out;
    out.bytes.fill(byte);
    return out;
}

std::error_code refusal(std::string_view body, std::string& reason) {
    std::error_code ec;
    CHECK_FALSE(parse_scrape_response(as_bytes(body), ec, reason));
    return ec;
}

std::optional<scrape_response> read(std::string_view body) {
    std::error_code ec;
    std::string reason;
    auto out = parse_scrape_response(as_bytes(body), ec, reason);
    CHECK(out.has_value() == !ec);
    return out;
}

}  // namespace

TEST_CASE("the scrape URL is the announce URL with its last part renamed (BEP 48)") {
    CHECK(scrape_target("/announce") == "/scrape");
    CHECK(scrape_target("/x/announce") == "/x/scrape");
    CHECK(scrape_target("/announce.php") == "/scrape.php");
    CHECK(scrape_target("/announce?x2%0644") == "/scrape?x2%0644");
    CHECK(scrape_target("/announce?x=2/4") == "/scrape?x=2/4");
    CHECK(scrape_target("/x%064announce") == std::nullopt);
    CHECK(scrape_target("/a") == std::nullopt);
    CHECK(scrape_target("/announce/x") == std::nullopt);
    CHECK(scrape_target("/") == std::nullopt);
    CHECK(scrape_target("") == std::nullopt);
}

TEST_CASE("a scrape query names its hashes, and reads back as them") {
    random_engine random(1);
    std::string reason;
    for (std::size_t size = 0; size <= scrape_hashes_max; ++size) {
        std::vector<info_hash> hashes(size);
        for (info_hash& hash : hashes) random.fill(hash.span());
        REQUIRE(parse_scrape_query(scrape_query(hashes), reason) == hashes);
    }
    CHECK(parse_scrape_query("passkey=x&info_hash=" + std::string(20, 'a') + "&y", reason) ==
          std::vector{hash_of('a')});
}

TEST_CASE("a scrape query with a wrong hash or more than 74 is refused") {
    std::string reason;
    CHECK_FALSE(parse_scrape_query("info_hash=abc", reason));
    CHECK(reason == "invalid info_hash");
    const std::vector<info_hash> many(scrape_hashes_max + 1);
    CHECK_FALSE(parse_scrape_query(scrape_query(many), reason));
    CHECK(reason == "more than 74 info_hash");
}

TEST_CASE("a scrape answer is written sorted, each hash once") {
    const scrape_response r{.files = {{hash_of('b'), {1, 2, 3}}, {hash_of('a'), {4, 5, 6}}, {hash_of('b'), {1, 2, 3}}},
                            .min_request_interval = 60s};
    CHECK(write_scrape_response(r) ==
          "d5:filesd"
          "20:aaaaaaaaaaaaaaaaaaaad8:completei4e10:downloadedi5e10:incompletei6ee"
          "20:bbbbbbbbbbbbbbbbbbbbd8:completei1e10:downloadedi2e10:incompletei3eee"
          "5:flagsd20:min_request_intervali60eee");
    CHECK(write_scrape_response({}) == "d5:filesdee");
}

TEST_CASE("a random scrape answer reads back as itself") {
    random_engine random(2);
    for (int round = 0; round < 200; ++round) {
        scrape_response r;
        r.files.resize(random.below(scrape_hashes_max + 1));
        for (auto& [hash, entry] : r.files) {
            random.fill(hash.span());
            entry = {static_cast<std::uint32_t>(random()), static_cast<std::uint32_t>(random()),
                     static_cast<std::uint32_t>(random())};
        }
        std::sort(r.files.begin(), r.files.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        r.min_request_interval = std::chrono::seconds(random.below(1000));
        REQUIRE(read(write_scrape_response(r)) == r);
    }
}

TEST_CASE("counts out of range are brought into it and missing ones are zero") {
    const auto r = read(
                       "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei-1e10:downloadedi4294967296eee"
                       "5:flagsd20:min_request_intervali-1eee")
                       .value();
    REQUIRE(r.files.size() == 1);
    CHECK(r.files[0].second == scrape_entry{0, 0xffffffff, 0});
    CHECK(r.min_request_interval == 0s);
}

TEST_CASE("a scrape answer that is none is malformed, and a refusal gives the tracker's words") {
    std::string reason;
    for (const char* const body :
         {"", "de", "d5:fileslee", "d5:filesd3:abcdeee", "d5:filesd20:aaaaaaaaaaaaaaaaaaaai1eee"})
        CHECK(refusal(body, reason) == errc::tracker_malformed);
    CHECK(refusal(write_failure("no scrape here"), reason) == errc::tracker_refused);
    CHECK(reason == "no scrape here");
}

TEST_CASE("the number of entries taken from one answer is bounded") {
    std::string body = "d5:filesd";
    for (int i = 10000; i < 12000; ++i) body += "20:" + std::string(15, 'x') + std::to_string(i) + "de";
    CHECK(read(body + "ee").value().files.size() == scrape_hashes_max);
}

}  // namespace scrape_test
