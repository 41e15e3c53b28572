// How much memory the program has taken and not given back: bounds are checked by counting.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#define COHORT_TEST_HAS_FEATURE(x) __has_feature(x)
#else
#define COHORT_TEST_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || COHORT_TEST_HAS_FEATURE(address_sanitizer) || \
    COHORT_TEST_HAS_FEATURE(thread_sanitizer)
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#define COHORT_TEST_SANITIZED 1
#else
#include <malloc.h>
#define COHORT_TEST_SANITIZED 0
#endif

namespace cohort::test {

/// Bytes on the heap now.
inline std::size_t heap_in_use() {
#if COHORT_TEST_SANITIZED
    return __sanitizer_get_current_allocated_bytes();
#else
    const auto figures = ::mallinfo2();
    return figures.uordblks + figures.hblkhd;
#endif
}

/// How many bytes more than at its construction.
class heap_growth {
public:
    std::size_t bytes() const {
        const std::size_t now = heap_in_use();
        return now < before_ ? 0 : now - before_;
    }

private:
    std::size_t before_ = heap_in_use();
};

}  // namespace cohort::test
