#include <doctest/doctest.h>

#include <set>
#include <string>

#include <cohort/protocol/noise_crypto.hpp>

#include "support/corpus.hpp"
#include "support/heap.hpp"

namespace noise_crypto_test {

using namespace cohort;

namespace {

byte_vector hex_bytes(std::string_view text) {
    byte_vector out(text.size() / 2);
    REQUIRE(from_hex(text, out));
    return out;
}

byte_vector field(const test::corpus_case& one, const std::string& name) {
    return hex_bytes(one.input().get(name).get<std::string>());
}

key32 key_field(const test::corpus_case& one, const std::string& name) {
    const byte_vector bytes = field(one, name);
    REQUIRE(bytes.size() == 32);
    key32 out;
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
}

std::string result_of(const test::corpus_case& one) { return one.expect().get("result").get<std::string>(); }

bool flagged(const test::corpus_case& one, const std::string& flag) {
    for (const picojson::value& value : one.expect().get("flags").get<picojson::array>()) {
        if (value.get<std::string>() == flag) return true;
    }
    return false;
}

/// Calls check(case) for each case of one algorithm; how many there were.
template <class Check>
std::size_t each_case(const std::string& algorithm, Check check) {
    std::size_t count = 0;
    for (const test::corpus_case& one : test::corpus("crypto")) {
        if (!one.input().contains("alg") || one.input().get("alg").get<std::string>() != algorithm) continue;
        CAPTURE(one.id);
        check(one);
        ++count;
    }
    return count;
}

key32 key_of(std::uint8_t first) {
    key32 out{};
    out[0] = first;
    return out;
}

byte_vector sealed(aead& with, const nonce12& nonce, byte_view ad, byte_view text) {
    byte_vector out(text.size() + aead::tag_size);
    with.seal(nonce, ad, text, out);
    return out;
}

}  // namespace

TEST_CASE("X25519 gives the secrets of all Wycheproof vectors, and none for keys of low order (A50)") {
    std::size_t refused = 0;
    const std::size_t count = each_case("x25519", [&](const test::corpus_case& one) {
        const auto shared = x25519(key_field(one, "private"), key_field(one, "public"));
        if (flagged(one, "ZeroSharedSecret")) {
            CHECK(!shared);
            ++refused;
        } else {
            REQUIRE(shared);
            CHECK(shared->bytes == key_field(one, "shared"));
        }
    });
    CHECK(count == 148);
    CHECK(refused == 6);
}

TEST_CASE("two X25519 pairs have one secret, and a pair follows from its secret half") {
    const x25519_pair ours = x25519_random();
    const x25519_pair theirs = x25519_random();
    CHECK(ours.public_key != theirs.public_key);
    CHECK(x25519(ours.secret, theirs.public_key)->bytes == x25519(theirs.secret, ours.public_key)->bytes);
    CHECK(x25519_from(ours.secret).public_key == ours.public_key);
}

TEST_CASE("Ed25519 accepts and refuses what Wycheproof says") {
    const std::size_t count = each_case("ed25519", [](const test::corpus_case& one) {
        const bool good = verify_signature(key_field(one, "publicKey"), field(one, "msg"), field(one, "sig"));
        CHECK(good == (result_of(one) == "valid"));
    });
    CHECK(count == 44);
}

TEST_CASE("Ed25519 signs as RFC 8032 does, and one changed bit of anything is noticed") {
    key32 seed;
    REQUIRE(from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", seed));
    const signing_key signer(seed);
    CHECK(to_hex(signer.public_key()) == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    signature64 signature = signer.sign({});
    CHECK(to_hex(signature) ==
          "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b"
          "be24"
          "655141438e7a100b");
    CHECK(verify_signature(signer.public_key(), {}, signature));

    const byte_view message = as_bytes("who is there");
    signature = signer.sign(message);
    CHECK(verify_signature(signer.public_key(), message, signature));
    for (std::size_t bit = 0; bit < signature.size() * 8; ++bit) {
        signature64 altered = signature;
        altered[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
        CHECK(!verify_signature(signer.public_key(), message, altered));
    }
    for (std::size_t bit = 0; bit < 256; ++bit) {
        key32 altered = signer.public_key();
        altered[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
        CHECK(!verify_signature(altered, message, signature));
    }
    CHECK(!verify_signature(signer.public_key(), as_bytes("who is here"), signature));
    CHECK(!verify_signature(signer.public_key(), message, byte_view(signature).first(63)));
    CHECK(!verify_signature(signer.public_key(), message, {}));
}

TEST_CASE("a signature that would fit any message is refused: its key is of low order or not canonical (A50)") {
    // With the neutral point as key and as R, and s = 0, the equation of RFC 8032 holds for all messages.
    key32 neutral{};
    neutral[0] = 1;
    signature64 forged{};
    forged[0] = 1;
    CHECK(!verify_signature(neutral, as_bytes("anything"), forged));
    for (const std::string_view y : {"0000000000000000000000000000000000000000000000000000000000000000",
                                     "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                     "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                     "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                     "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                                     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"}) {
        key32 key;
        REQUIRE(from_hex(y, key));
        for (const int sign : {0x00, 0x80}) {
            key[31] = static_cast<std::uint8_t>((key[31] & 0x7f) | sign);
            for (int message = 0; message < 16; ++message) {
                CHECK(!verify_signature(key, as_bytes(std::to_string(message)), forged));
            }
        }
    }
}

TEST_CASE("ChaCha20-Poly1305 seals and opens what Wycheproof says, and no wrong tag passes (A50)") {
    std::size_t other_nonce = 0;
    const std::size_t count = each_case("chacha20_poly1305", [&](const test::corpus_case& one) {
        const byte_vector iv = field(one, "iv");
        if (iv.size() != sizeof(nonce12)) {  // the type allows no other length
            CHECK(result_of(one) == "invalid");
            ++other_nonce;
            return;
        }
        nonce12 nonce;
        std::copy(iv.begin(), iv.end(), nonce.begin());
        aead cipher(key_field(one, "key"));
        const byte_vector text = field(one, "msg");
        byte_vector wanted = field(one, "ct");
        const byte_vector tag = field(one, "tag");
        wanted.insert(wanted.end(), tag.begin(), tag.end());
        const bool valid = result_of(one) == "valid";
        CHECK((sealed(cipher, nonce, field(one, "aad"), text) == wanted) == valid);

        byte_vector opened(text.size(), 0xee);
        CHECK(cipher.open(nonce, field(one, "aad"), wanted, opened) == valid);
        CHECK(opened == (valid ? text : byte_vector(text.size(), 0)));

        // In place, too.
        byte_vector place = wanted;
        CHECK(cipher.open(nonce, field(one, "aad"), place, byte_span(place).first(text.size())) == valid);
        if (valid) CHECK(std::equal(text.begin(), text.end(), place.begin()));
    });
    CHECK(count == 84);
    CHECK(other_nonce < 10);
}

TEST_CASE(
    "no altered byte, other nonce, other data, cut or longer text opens, and none leaves plaintext behind (A50)") {
    aead cipher(key_of(1));
    const nonce12 nonce{7};
    const byte_view ad = as_bytes("header");
    const byte_view text = as_bytes("the quick brown fox");
    const byte_vector good = sealed(cipher, nonce, ad, text);
    byte_vector out(text.size());
    const auto opens = [&](const nonce12& with, byte_view data, const byte_vector& in) {
        out.assign(in.size() < aead::tag_size ? 0 : in.size() - aead::tag_size, 0xee);
        const bool done = cipher.open(with, data, in, out);
        if (!done && in.size() >= aead::tag_size) CHECK(out == byte_vector(out.size(), 0));
        return done;
    };
    CHECK(opens(nonce, ad, good));
    CHECK(as_text(out) == as_text(text));
    for (std::size_t i = 0; i < good.size(); ++i) {
        byte_vector altered = good;
        altered[i] ^= 0x01;
        CHECK(!opens(nonce, ad, altered));
        CHECK(!opens(nonce, ad, byte_vector(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i))));
    }
    byte_vector longer = good;
    longer.push_back(0);
    CHECK(!opens(nonce, ad, longer));
    CHECK(!opens(nonce12{8}, ad, good));
    CHECK(!opens(nonce, as_bytes("Header"), good));
    CHECK(!opens(nonce, {}, good));
    aead other(key_of(2));
    CHECK(!other.open(nonce, ad, good, out));
    CHECK(opens(nonce, ad, good));  // a failure leaves the key as it was
}

TEST_CASE("sealing and opening leave no memory behind") {
    aead cipher(key_of(1));
    const byte_vector text(100, 1);
    byte_vector out(text.size() + aead::tag_size);
    byte_vector back(text.size());
    nonce12 nonce{};
    const auto once = [&] {
        ++nonce[4];
        cipher.seal(nonce, {}, text, out);
        return cipher.open(nonce, {}, out, back);
    };
    REQUIRE(once());
    const std::size_t before = test::heap_in_use();
    bool good = true;
    for (int i = 0; i < 200; ++i) good = once() && good;
    CHECK(good);
    CHECK(test::heap_in_use() == before);
}

TEST_CASE("HMAC-SHA-256 gives the tags of all Wycheproof vectors, whole and cut") {
    const std::size_t count = each_case("hmac_sha256", [](const test::corpus_case& one) {
        const byte_vector tag = field(one, "tag");
        const secret32 ours = hmac_sha256(field(one, "key"), field(one, "msg"));
        CHECK(equal_secrets(ours.view().first(tag.size()), tag) == (result_of(one) == "valid"));
    });
    CHECK(count == 65);
}

TEST_CASE("HKDF-SHA-256 gives the keys of all Wycheproof vectors, up to the longest") {
    const std::size_t count = each_case("hkdf_sha256", [](const test::corpus_case& one) {
        byte_vector out(static_cast<std::size_t>(one.input().get("size").get<std::int64_t>()));
        hkdf_sha256(field(one, "salt"), field(one, "ikm"), field(one, "info"), out);
        CHECK(out == field(one, "okm"));
    });
    CHECK(count == 20);
    byte_vector too_long(255 * 32 + 1);
    CHECK_THROWS_AS(hkdf_sha256({}, {}, {}, too_long), std::system_error);
}

TEST_CASE("random secrets differ, wiped ones are gone, and equality is of all bytes") {
    std::set<key32> seen;
    for (int i = 0; i < 100; ++i) {
        key32 key;
        secret_random(key);
        seen.insert(key);
    }
    CHECK(seen.size() == 100);

    alignas(secret32) std::uint8_t memory[sizeof(secret32)];
    auto* const secret = new (memory) secret32(key_of(9));
    CHECK(memory[0] == 9);
    secret->~secret32();
    CHECK(*static_cast<volatile std::uint8_t*>(memory) == 0);

    CHECK(equal_secrets(as_bytes("same"), as_bytes("same")));
    CHECK(!equal_secrets(as_bytes("same"), as_bytes("sama")));
    CHECK(!equal_secrets(as_bytes("same"), as_bytes("sam")));
}

}  // namespace noise_crypto_test
