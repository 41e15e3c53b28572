// How fast one core hashes: two inputs in step, one alone, and OpenSSL. By hand, never as a test, bound to one core:
//
//   taskset -c 1 build/release/examples/hash
//
// MB/s are 10^6 bytes a second of processor time, medians of rounds in which all take turns; the ratio is that of the
// first to OpenSSL.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include <cohort/core/hash_many.hpp>
#include <cohort/core/random.hpp>

namespace {

using namespace cohort;

constexpr std::size_t rounds = 5;

/// Millions of bytes a second of its own processor time, of a function that hashes `bytes`.
template <class Work>
double speed(std::size_t bytes, const Work& work) {
    const std::clock_t began = std::clock();
    std::size_t done = 0;
    std::clock_t passed = 0;
    do {
        work();
        done += bytes;
        passed = std::clock() - began;
    } while (passed < CLOCKS_PER_SEC / 10);
    return static_cast<double>(done) * CLOCKS_PER_SEC / static_cast<double>(passed) / 1e6;
}

template <class Digest>
void measure(const char* name, hash_engine ours) {
    for (const std::size_t size : {16u * 1024, 256u * 1024, 1024u * 1024}) {
        // One byte further than memory is aligned, as blocks are that come after a message's head.
        std::array<byte_vector, 2> memory{byte_vector(size + 1), byte_vector(size + 1)};
        for (byte_vector& bytes : memory) random_engine(size).fill(bytes);
        const std::array<byte_view, 2> in{byte_view(memory[0]).subspan(1), byte_view(memory[1]).subspan(1)};
        std::array<Digest, 2> out;
        hasher<Digest> alone(ours);
        hasher<Digest> openssl(hash_engine::openssl);
        const auto one_by_one = [&](hasher<Digest>& hash) {
            for (std::size_t i = 0; i < in.size(); ++i) {
                hash.update(in[i]);
                out[i] = hash.finish();
            }
        };
        std::array<std::array<double, rounds>, 3> results;
        for (std::size_t round = 0; round < rounds; ++round) {
            results[0][round] = speed(2 * size, [&] { digest_many<Digest>(in, out, ours); });
            results[1][round] = speed(2 * size, [&] { one_by_one(alone); });
            results[2][round] = speed(2 * size, [&] { one_by_one(openssl); });
        }
        for (auto& column : results) std::sort(column.begin(), column.end());
        const auto median = [&](std::size_t column) { return results[column][rounds / 2]; };
        std::printf("%-8s %5zu KiB %9.0f %9.0f %9.0f %9.2f\n", name, size / 1024, median(0), median(1), median(2),
                    median(0) / median(2));
    }
}

}  // namespace

int main() {
    const bool has = detail::has_sha_ni();
    if (!has) std::puts("This processor has no SHA instructions: all columns are OpenSSL's.");
    std::printf("%-8s %9s %9s %9s %9s %9s\n", "MB/s", "input", "two", "one", "OpenSSL", "ratio");
    const hash_engine ours = has ? hash_engine::sha_ni : hash_engine::openssl;
    measure<sha1_digest>("SHA-1", ours);
    measure<sha256_digest>("SHA-256", ours);
}
