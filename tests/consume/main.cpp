// A stranger's program: two source files that both include the library, so that a function that is not inline shows.
#include <cstdio>

#include <cohort/core/hash.hpp>
#include <cohort/core/pieces.hpp>

cohort::sha1_digest digest_elsewhere(cohort::byte_view bytes);

int main() {
    const cohort::byte_vector bytes = {'a', 'b', 'c'};
    const cohort::piece_layout layout(100'000, 1 << 15);
    const bool right = cohort::sha1_of(bytes) == digest_elsewhere(bytes) &&
                       digest_elsewhere(bytes).hex() == "a9993e364706816aba3e25717850c26c9cd0d89d" &&
                       layout.piece_count() == 4;
    std::puts(right ? "cohort works" : "cohort is broken");
    return right ? 0 : 1;
}
