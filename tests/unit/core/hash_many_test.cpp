#include <cohort/core/hash_many.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <cohort/core/random.hpp>

namespace hash_many_test {

using namespace cohort;

namespace {

std::vector<hash_engine> engines() {
    std::vector<hash_engine> out{hash_engine::openssl};
    if (detail::has_sha_ni()) out.push_back(hash_engine::sha_ni);
    return out;
}

/// Inputs of these lengths, each in memory of its own, so that AddressSanitizer sees whoever reads beyond one.
std::vector<byte_vector> inputs_of(const std::vector<std::size_t>& lengths) {
    random_engine random(1);
    std::vector<byte_vector> out;
    for (const std::size_t length : lengths) random.fill(out.emplace_back(length));
    return out;
}

/// The same bytes in pieces that begin and end anywhere; some are empty.
std::vector<byte_view> cut(byte_view bytes, random_engine& random) {
    std::vector<byte_view> out;
    while (!bytes.empty()) {
        out.push_back(bytes.first(std::min<std::size_t>(bytes.size(), random.below(200))));
        bytes = bytes.subspan(out.back().size());
    }
    return out;
}

}  // namespace

TEST_CASE_TEMPLATE("digest_many gives each buffer its own digest, whatever the lengths of its neighbours", Digest,
                   sha1_digest, sha256_digest) {
    for (const std::vector<std::size_t>& lengths :
         std::vector<std::vector<std::size_t>>{{},
                                               {0},
                                               {1000},
                                               {0, 0},
                                               {64, 64, 64},
                                               {16 * 1024, 16 * 1024, 16 * 1024, 1},
                                               {5000, 0, 63, 64, 65, 0, 55, 56, 1, 4096, 4096, 4095},
                                               {1, 100'000, 2, 3, 128, 0}}) {
        const std::vector<byte_vector> inputs = inputs_of(lengths);
        const std::vector<byte_view> in(inputs.begin(), inputs.end());
        for (const hash_engine engine : engines()) {
            std::vector<Digest> out(in.size());
            digest_many<Digest>(in, out, engine);
            for (std::size_t i = 0; i < in.size(); ++i) {
                CAPTURE(i);
                CHECK(out[i] == digest_of<Digest>(in[i]));
            }
        }
    }
}

TEST_CASE_TEMPLATE("an input may be a list of slices, cut anywhere", Digest, sha1_digest, sha256_digest) {
    random_engine random(2);
    const std::vector<byte_vector> inputs = inputs_of({3000, 3000, 0, 64, 700, 5001, 1, 16 * 1024, 128});
    for (int round = 0; round < 30; ++round) {
        std::vector<std::vector<byte_view>> slices;
        for (const byte_vector& bytes : inputs) slices.push_back(cut(bytes, random));
        const std::vector<std::span<const byte_view>> in(slices.begin(), slices.end());
        for (const hash_engine engine : engines()) {
            std::vector<Digest> out(in.size());
            digest_many<Digest>(in, out, engine);
            for (std::size_t i = 0; i < in.size(); ++i) {
                CAPTURE(i);
                CHECK(out[i] == digest_of<Digest>(inputs[i]));
            }
        }
    }
}

TEST_CASE("one input does not change the digest of the other") {
    const std::vector<byte_vector> inputs = inputs_of({2000, 2000, 2000});
    const sha1_digest expected = sha1_of(inputs[0]);
    for (const hash_engine engine : engines()) {
        for (std::size_t other = 0; other < inputs.size(); ++other) {
            std::array<sha1_digest, 2> out;
            const std::array<byte_view, 2> before{inputs[0], inputs[other]};
            digest_many<sha1_digest>(before, out, engine);
            CHECK(out[0] == expected);
            const std::array<byte_view, 2> after{inputs[other], inputs[0]};
            digest_many<sha1_digest>(after, out, engine);
            CHECK(out[1] == expected);
        }
    }
}

}  // namespace hash_many_test
