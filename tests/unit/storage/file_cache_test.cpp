#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/storage/file_cache.hpp>
#include <cohort/storage/real_disk.hpp>

#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace file_cache_test {

using namespace cohort;
using namespace cohort::test;

TEST_CASE("the files used last stay open, the others are closed unless somebody holds them") {
    const temp_dir dir;
    real_disk d;
    std::vector<int> opened(10);
    file_cache cache(3);
    const auto get = [&](std::uint32_t number) {
        return cache.get(number, [&] {
            ++opened[number];
            return std::shared_ptr<disk_file>(d.open({dir.string(), std::to_string(number)}, open_mode::create));
        });
    };
    get(0);
    get(1);
    const std::weak_ptr<disk_file> second = get(1);
    const std::shared_ptr<disk_file> third = get(2);
    get(0);
    get(3);  // 1 is the one not used for longest
    CHECK(cache.size() == 3);
    CHECK(second.expired());
    CHECK(opened[0] == 1);
    get(0);
    CHECK(opened[0] == 1);
    get(4);
    get(5);
    get(6);
    CHECK(third->size() == 0);
    CHECK(opened[2] == 1);
    get(2);
    CHECK(opened[2] == 2);
    cache.clear();
    CHECK(cache.size() == 0);
    get(2);
    CHECK(opened[2] == 3);
}

TEST_CASE("a file that does not open leaves nothing behind") {
    file_cache cache(2);
    const auto fail = [&] { cache.get(1, []() -> std::shared_ptr<disk_file> { raise(errc::file_missing, "x"); }); };
    CHECK(failure_of(fail) == errc::file_missing);
    CHECK(cache.size() == 0);
}

TEST_CASE("without room every use opens") {
    const temp_dir dir;
    real_disk d;
    file_cache cache(0);
    int opened = 0;
    for (int i = 0; i < 3; ++i)
        cache.get(1, [&] {
            ++opened;
            return std::shared_ptr<disk_file>(d.open({dir.string(), "a"}, open_mode::create));
        });
    CHECK(opened == 3);
    CHECK(cache.size() == 0);
}

TEST_CASE("threads share a cache") {
    const temp_dir dir;
    real_disk d;
    file_cache cache(4);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (std::uint32_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (std::uint32_t i = 0; i < 500; ++i) {
                const std::uint32_t number = (i * 7 + t) % 9;
                const auto file = cache.get(number, [&] {
                    return std::shared_ptr<disk_file>(
                        d.open({dir.string(), std::to_string(number)}, open_mode::create));
                });
                const std::uint8_t mark = static_cast<std::uint8_t>(number);
                file->write_at(0, byte_view(&mark, 1));
                std::uint8_t back = 0xff;
                if (file->read_at(0, byte_span(&back, 1)) != 1 || back != number) ++wrong;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(cache.size() <= 4);
}

}  // namespace file_cache_test
