// The fuzzer's program, for one target at a time: COHORT_FUZZ_TARGET names it. tests/fuzz/run.sh builds and runs it.

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "fuzz/targets.hpp"

namespace {

const cohort::fuzz::target& chosen() {
    static const cohort::fuzz::target one = [] {
        const char* const wanted = std::getenv("COHORT_FUZZ_TARGET");
        const auto all = cohort::fuzz::all_targets();
        for (const auto& each : all) {
            if (wanted != nullptr && each.name == wanted) return each;
        }
        std::fputs("COHORT_FUZZ_TARGET must be one of these, with the most bytes of an input:\n", stderr);
        for (const auto& each : all) std::printf("%s %zu\n", std::string(each.name).c_str(), each.max_len);
        std::fflush(stdout);
        std::_Exit(2);
    }();
    return one;
}

}  // namespace

void cohort::fuzz::broken(const char* promise) {
    std::fprintf(stderr, "ERROR: %s does not hold: %s\n", std::string(chosen().name).c_str(), promise);
    std::abort();
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    chosen();
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size <= chosen().max_len) chosen().run({data, size});
    return 0;
}
