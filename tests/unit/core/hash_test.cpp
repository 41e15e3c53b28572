#include <cohort/core/hash.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <cohort/core/random.hpp>
#include <support/corpus.hpp>

namespace hash_test {

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

/// All that this processor has, whatever was chosen when this was compiled.
std::vector<hash_engine> engines() {
    std::vector<hash_engine> out{hash_engine::openssl};
    if (detail::has_sha_ni()) out.push_back(hash_engine::sha_ni);
    return out;
}

/// The Monte Carlo test of NIST's CAVP: a hundred thousand hashes, each over the three before it.
template <class Digest>
void check_monte_carlo(const test::corpus_case& one, hash_engine engine) {
    hasher<Digest> hash(engine);
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
void check_case(const test::corpus_case& one, hash_engine engine) {
    if (one.input().contains("monte_seed")) return check_monte_carlo<Digest>(one, engine);
    const byte_vector message = message_of(one);
    const std::string expected = one.expect().get("digest").get<std::string>();
    CHECK(digest_of<Digest>(message).hex() == expected);
    hasher<Digest> at_once(engine);
    at_once.update(message);
    CHECK(at_once.finish().hex() == expected);

    hasher<Digest> in_steps(engine);
    for (std::size_t at = 0, step = 1; at < message.size(); at += step, step = step * 2 + 1) {
        step = std::min(step, message.size() - at);
        in_steps.update(byte_view(message).subspan(at, step));
    }
    CHECK(in_steps.finish().hex() == expected);

    hasher<Digest> beside(engine);
    update_both(beside, as_bytes("something else"), in_steps, byte_view(message).first(message.size() / 3));
    update_both(in_steps, byte_view(message).subspan(message.size() / 3), beside, message);
    CHECK(in_steps.finish().hex() == expected);
}

/// Bytes that nothing may be read beyond, which AddressSanitizer sees to.
byte_vector random_bytes(random_engine& random, std::size_t size) {
    byte_vector out(size);
    random.fill(out);
    return out;
}

std::size_t up_to(random_engine& random, std::size_t most) {
    return random.below(static_cast<std::uint32_t>(most + 1));
}

template <class Digest>
Digest by_openssl(byte_view bytes) {
    hasher<Digest> hash(hash_engine::openssl);
    hash.update(bytes);
    return hash.finish();
}

}  // namespace

TEST_CASE("hashes are those of the NIST vectors, in one call, in steps and beside another") {
    for (const hash_engine engine : engines()) {
        CAPTURE(static_cast<int>(engine));
        std::size_t cases = 0;
        for (const test::corpus_case& one : test::corpus("hash")) {
            CAPTURE(one.id);
            const std::string algorithm = one.input().get("alg").get<std::string>();
            if (algorithm == "SHA1") check_case<sha1_digest>(one, engine);
            if (algorithm == "SHA256") check_case<sha256_digest>(one, engine);
            cases += algorithm == "SHA1" || algorithm == "SHA256";
        }
        CHECK(cases == 81);
    }
}

TEST_CASE("a hasher starts afresh after finish and after reset") {
    for (const hash_engine engine : engines()) {
        sha1 hash(engine);
        hash.update(as_bytes("abc"));
        const sha1_digest first = hash.finish();
        CHECK(first.hex() == "a9993e364706816aba3e25717850c26c9cd0d89d");
        hash.update(as_bytes("something else"));
        hash.reset();
        hash.update(as_bytes("abc"));
        CHECK(hash.finish() == first);
        CHECK(hash.finish() == sha1_of({}));
    }
}

TEST_CASE_TEMPLATE("every engine agrees with OpenSSL at every length, and wherever the input is cut", Digest,
                   sha1_digest, sha256_digest) {
    random_engine random(1);
    for (const hash_engine engine : engines()) {
        CAPTURE(static_cast<int>(engine));
        hasher<Digest> hash(engine);
        for (std::size_t length = 0; length <= 300; ++length) {
            CAPTURE(length);
            const byte_vector bytes = random_bytes(random, length);
            const Digest expected = by_openssl<Digest>(bytes);
            hash.update(bytes);
            REQUIRE(hash.finish() == expected);
            for (std::size_t cut = 0; cut <= length; cut += 1 + length / 70) {
                hash.update(byte_view(bytes).first(cut));
                hash.update({});
                hash.update(byte_view(bytes).subspan(cut));
                REQUIRE(hash.finish() == expected);
            }
        }
    }
}

TEST_CASE_TEMPLATE("two hashes fed in step are each their own, whatever their lengths and cuts", Digest, sha1_digest,
                   sha256_digest) {
    random_engine random(2);
    for (const hash_engine engine : engines()) {
        CAPTURE(static_cast<int>(engine));
        hasher<Digest> a(engine);
        hasher<Digest> b(engine);
        hasher<Digest> other(hash_engine::openssl);
        for (int round = 0; round < 300; ++round) {
            CAPTURE(round);
            const byte_vector from_a = random_bytes(random, random.below(700));
            const byte_vector from_b = random_bytes(random, round % 3 == 0 ? from_a.size() : random.below(700));
            for (byte_view left_a = from_a, left_b = from_b; !left_a.empty() || !left_b.empty();) {
                const auto part_a = left_a.first(up_to(random, left_a.size()));
                const auto part_b = left_b.first(up_to(random, left_b.size()));
                update_both(a, part_a, b, part_b);
                left_a = left_a.subspan(part_a.size());
                left_b = left_b.subspan(part_b.size());
            }
            REQUIRE(a.finish() == by_openssl<Digest>(from_a));
            REQUIRE(b.finish() == by_openssl<Digest>(from_b));
            update_both(a, from_a, other, from_b);
            REQUIRE(a.finish() == by_openssl<Digest>(from_a));
            REQUIRE(other.finish() == by_openssl<Digest>(from_b));
        }
    }
}

}  // namespace hash_test
