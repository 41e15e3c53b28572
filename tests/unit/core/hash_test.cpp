#include <cohort/core/hash.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <support/corpus.hpp>

using namespace cohort;

namespace {

byte_vector hex_bytes(const std::string& text) {
    byte_vector out(text.size() / 2);
    REQUIRE(from_hex(text, out));
    return out;
}

byte_vector message_of(const test::corpus_case& one) {
    if (one.has_file()) return one.bytes();
    if (one.input().contains("msg")) return hex_bytes(one.input().get("msg").get<std::string>());
    const std::string text = one.input().get("text").get<std::string>();
    byte_vector out;
    for (std::int64_t i = one.input().get("repeat").get<std::int64_t>(); i > 0; --i)
        out.insert(out.end(), text.begin(), text.end());
    return out;
}

/// The Monte Carlo test of NIST's CAVP: a hundred thousand hashes, each over the three before it.
template <class Digest>
void check_monte_carlo(const test::corpus_case& one) {
    hasher<Digest> hash;
    Digest seed = *Digest::parse_hex(one.input().get("monte_seed").get<std::string>());
    const auto& expected = one.expect().get("digests").get<picojson::object>();
    std::size_t compared = 0;
    for (int outer = 1; outer <= 100; ++outer) {
        std::array<Digest, 3> last{seed, seed, seed};
        for (int inner = 0; inner < 1000; ++inner) {
            for (const Digest& digest : last) hash.update(digest.view());
            std::rotate(last.begin(), last.begin() + 1, last.end());
            last[2] = hash.finish();
        }
        seed = last[2];
        if (const auto at = expected.find(std::to_string(outer)); at != expected.end()) {
            CHECK(seed.hex() == at->second.get<std::string>());
            ++compared;
        }
    }
    CHECK(compared == expected.size());
}

template <class Digest>
void check_case(const test::corpus_case& one) {
    if (one.input().contains("monte_seed")) return check_monte_carlo<Digest>(one);
    const byte_vector message = message_of(one);
    const std::string expected = one.expect().get("digest").get<std::string>();
    CHECK(digest_of<Digest>(message).hex() == expected);

    hasher<Digest> in_steps;
    for (std::size_t at = 0, step = 1; at < message.size(); at += step, step = step * 2 + 1) {
        step = std::min(step, message.size() - at);
        in_steps.update(byte_view(message).subspan(at, step));
    }
    CHECK(in_steps.finish().hex() == expected);
}

}  // namespace

TEST_CASE("hashes are those of the NIST vectors, in one call and in steps") {
    std::size_t cases = 0;
    for (const test::corpus_case& one : test::corpus("hash")) {
        CAPTURE(one.id);
        const std::string algorithm = one.input().get("alg").get<std::string>();
        if (algorithm == "SHA1") check_case<sha1_digest>(one);
        if (algorithm == "SHA256") check_case<sha256_digest>(one);
        cases += algorithm == "SHA1" || algorithm == "SHA256";
    }
    CHECK(cases == 81);
}

TEST_CASE("a hasher starts afresh after finish and after reset") {
    sha1 hash;
    hash.update(as_bytes("abc"));
    const sha1_digest first = hash.finish();
    CHECK(first.hex() == "a9993e364706816aba3e25717850c26c9cd0d89d");
    hash.update(as_bytes("something else"));
    hash.reset();
    hash.update(as_bytes("abc"));
    CHECK(hash.finish() == first);
    CHECK(hash.finish() == sha1_of({}));
}

TEST_CASE("digest_many gives each buffer its own digest") {
    const std::array<byte_view, 3> in{as_bytes("abc"), byte_view{}, as_bytes("abd")};
    std::array<sha256_digest, 3> out;
    digest_many<sha256_digest>(in, out);
    for (std::size_t i = 0; i < in.size(); ++i) CHECK(out[i] == sha256_of(in[i]));
    CHECK(out[0] != out[2]);
}
