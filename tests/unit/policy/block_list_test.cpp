#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/policy/block_list.hpp>

namespace block_list_test {

using namespace cohort;

namespace {

std::vector<int> forwards(const block_list<int>& list) {
    std::vector<int> out;
    for (auto at = list.begin(); at != list.end(); at = list.next(at)) out.push_back(list[at]);
    return out;
}

std::vector<int> backwards(const block_list<int>& list) {
    std::vector<int> out;
    for (auto at = list.end(); at != list.begin();) {
        at = list.previous(at);
        out.push_back(list[at]);
    }
    std::reverse(out.begin(), out.end());
    return out;
}

}  // namespace

TEST_CASE("a block list holds what a sorted array would, after any insertions and erasures") {
    random_engine random(1);
    for (const std::uint32_t erase_in_ten : {0U, 3U, 6U}) {
        block_list<int> list;
        std::vector<int> model;
        for (int i = 0; i < 12'000; ++i) {
            const int value = static_cast<int>(random.below(1'000'000));
            const auto before = [&](int other) { return other < value; };
            const auto at = list.lower_bound(before);
            const auto expected = std::lower_bound(model.begin(), model.end(), value);
            CHECK((at == list.end()) == (expected == model.end()));
            if (expected != model.end()) CHECK(list[at] == *expected);
            if (random.below(10) < erase_in_ten && expected != model.end()) {
                list.erase(at);
                model.erase(expected);
            } else {
                list.insert(at, value);
                model.insert(expected, value);
            }
            CHECK(list.size() == model.size());
        }
        CHECK(forwards(list) == model);
        CHECK(backwards(list) == model);
        if (!model.empty()) CHECK(list.back() == model.back());
    }
}

TEST_CASE("a block list that was emptied takes values again") {
    block_list<int> list;
    CHECK(list.empty());
    CHECK(list.begin() == list.end());
    for (int i = 0; i < 3000; ++i) list.insert(list.end(), i);
    while (!list.empty()) list.erase(list.begin());
    CHECK(list.begin() == list.end());
    list.insert(list.end(), 4);
    CHECK(forwards(list) == std::vector<int>{4});
}

}  // namespace block_list_test
