#include <cohort/policy/tracker_tiers.hpp>

#include <set>

#include <doctest/doctest.h>

namespace tracker_tiers_test {

using namespace cohort;

using tiers_of_urls = std::vector<std::vector<std::string>>;

TEST_CASE("all of a tier are tried before the next tier, and then it is over") {
    random_engine random(1);
    tracker_tiers tiers(tiers_of_urls{{"a", "b", "c"}, {"d"}, {"e", "f"}}, random);
    for (int round = 0; round < 3; ++round) {
        tiers.begin();
        std::vector<std::string> tried;
        do tried.push_back(*tiers.current());
        while (tiers.failed());
        REQUIRE(tried.size() == 6);
        CHECK(std::set(tried.begin(), tried.begin() + 3) == std::set<std::string>{"a", "b", "c"});
        CHECK(tried[3] == "d");
        CHECK(std::set(tried.begin() + 4, tried.end()) == std::set<std::string>{"e", "f"});
    }
}

TEST_CASE("a tracker that answered is the first of its tier from then on") {
    random_engine random(1);
    tracker_tiers tiers(tiers_of_urls{{"a"}, {"b", "c", "d"}}, random);
    tiers.begin();
    tiers.failed();
    tiers.failed();
    tiers.failed();
    const std::string last = *tiers.current();
    const std::vector<std::string> before = tiers.tiers()[1];
    tiers.succeeded();
    CHECK(*tiers.current() == last);
    CHECK(tiers.tiers()[1] == std::vector<std::string>{last, before[0], before[1]});
    tiers.begin();
    CHECK(*tiers.current() == "a");
    tiers.failed();
    CHECK(*tiers.current() == last);
}

TEST_CASE("tiers are shuffled within themselves") {
    std::set<std::string> first;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        random_engine random(seed);
        first.insert(*tracker_tiers(tiers_of_urls{{"a", "b", "c"}, {"d"}}, random).current());
    }
    CHECK(first == std::set<std::string>{"a", "b", "c"});
}

TEST_CASE("without trackers there is nothing to try; empty tiers and repeated URLs are left out") {
    random_engine random(1);
    tracker_tiers none;
    CHECK(none.empty());
    CHECK(none.current() == nullptr);
    CHECK_FALSE(none.failed());
    none.succeeded();
    const tracker_tiers tiers(tiers_of_urls{{}, {"a", "a"}, {"a"}, {"b", "a"}}, random);
    CHECK(tiers.tiers() == tiers_of_urls{{"a"}, {"b"}});
}

}  // namespace tracker_tiers_test
