#include <cohort/protocol/registration.hpp>

#include <doctest/doctest.h>

#include <cohort/protocol/iso_time.hpp>
#include <cohort/protocol/json_registration.hpp>

#include "support/mutate.hpp"

namespace registration_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) {
    key32 seed{};
    seed.fill(number);
    return identity(seed);
}

registration alice_at(unix_ms now) {
    registration out{"alice", "10.0.0.1", 8001};
    sign_registration(out, somebody(1), now);
    return out;
}

std::optional<json> json_of(const registration& one) {
    json_line line;
    add_registration(line, one);
    std::error_code ec;
    return parse_json(line.take(), ec);
}

std::string complaint(const std::string& text) {
    std::error_code ec;
    const auto value = parse_json(text, ec);
    REQUIRE(value);
    std::string wrong;
    const auto read = read_registration(*value, wrong);
    CHECK(read.has_value() == wrong.empty());
    return wrong.substr(0, wrong.find(':'));
}

}  // namespace

TEST_CASE("names are visible text without '/' and without white space at the ends") {
    for (const char* good : {"a", "alice", "Alice Smith", "josé", "日本", "o'neill", "a.b", "a@b", "🙂"})
        CHECK_MESSAGE(is_user_name(good), good);
    CHECK(is_user_name(std::string(64, 'a')));
    for (const char* bad : {"",
                            " a",
                            "a ",
                            "a/b",
                            "/",
                            ".",
                            "..",
                            "#room",
                            "@alice",
                            "a\nb",
                            "a\tb",
                            "\x7f",
                            "a\x1b[2J",
                            "\xff",
                            "a\xc3",
                            "\xc2\x85",
                            "a\xe2\x80\xae-",
                            "\xe2\x80\x8b",
                            "al\xc2\xadice",
                            "\xe3\x85\xa4",
                            "alice\xf3\xa0\x80\xa0",
                            "\xc2\xa0x",
                            "x\xe3\x80\x80",
                            "\xef\xbf\xbd"})
        CHECK_MESSAGE(!is_user_name(bad), bad);
    CHECK(!is_user_name(std::string(65, 'a')));
    CHECK(!is_user_name(std::string_view("a\0b", 3)));
}

TEST_CASE("names are the same whatever the case of their ASCII letters") {
    CHECK(folded_user_name("ALICE") == folded_user_name("alice"));
    CHECK(folded_user_name("Jos\xc3\x89") != folded_user_name("jos\xc3\xa9"));
    CHECK(folded_user_name("al1ce") != folded_user_name("alice"));
}

TEST_CASE("hosts are addresses and names, not what is neither") {
    for (const char* good : {"127.0.0.1", "::1", "localhost", "a.example.org", "0.0.0.0"})
        CHECK_MESSAGE(is_registration_host(good), good);
    for (const char* bad : {"a b", "a/b", "[::1]", "127.1", "0x7f000001", "224.0.0.1", "ff02::1", "x:80", "-\n", "é"})
        CHECK_MESSAGE(!is_registration_host(bad), bad);
    CHECK(!is_registration_host(std::string(254, 'a')));
    CHECK(is_unspecified_host(""));
    CHECK(is_unspecified_host("0.0.0.0"));
    CHECK(is_unspecified_host("::"));
    CHECK(!is_unspecified_host("127.0.0.1"));
}

TEST_CASE("the signed text is each field in its place, and never that of another registration") {
    registration one{"al", "h", 0x1234};
    one.proof.emplace();
    one.proof->key.bytes.fill(7);
    one.proof->signed_at = 0x0102030405060708;
    const std::string expected = to_hex(as_bytes("cohort registration")) + "0002616c" + "000168" + "1234" +
                                 "0102030405060708" + to_hex(one.proof->key.view());
    CHECK(to_hex(registration_text(one)) == expected);
    CHECK(to_hex(registration_end_text("al", one.proof->key, 1)) ==
          to_hex(as_bytes("cohort unregistration")) + "0002616c" + "0000000000000001" + to_hex(one.proof->key.view()));
    registration shifted = one;
    shifted.username = "a";
    shifted.host = "lh";
    CHECK(registration_text(shifted) != registration_text(one));
}

TEST_CASE("a signature holds for what was signed and for nothing else") {
    const registration good = alice_at(1000);
    CHECK(verify_registration(good));
    registration bad = good;
    bad.username = "Alice";
    CHECK(!verify_registration(bad));
    bad = good;
    bad.host = "10.0.0.2";
    CHECK(!verify_registration(bad));
    bad = good;
    ++bad.port;
    CHECK(!verify_registration(bad));
    bad = good;
    ++bad.proof->signed_at;
    CHECK(!verify_registration(bad));
    bad = good;
    bad.proof->key = somebody(2).key();
    CHECK(!verify_registration(bad));
    for (std::size_t bit = 0; bit < 512; ++bit) {
        bad = good;
        bad.proof->signature[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        CHECK(!verify_registration(bad));
    }
    bad.proof.reset();
    CHECK(!verify_registration(bad));
    // The end is another thing to sign than the beginning.
    const registration_proof end = sign_registration_end("alice", somebody(1), 1000);
    CHECK(verify_registration_end("alice", end));
    CHECK(!verify_registration_end("bob", end));
    CHECK(!verify_registration_end("alice", *good.proof));
    bad = good;
    bad.proof = end;
    CHECK(!verify_registration(bad));
}

TEST_CASE("ten minutes in the future is the limit") {
    CHECK(!is_from_future(0, 1'000'000));
    CHECK(!is_from_future(1'600'000, 1'000'000));
    CHECK(is_from_future(1'600'001, 1'000'000));
    CHECK(is_from_future(std::numeric_limits<unix_ms>::max(), 0));
}

TEST_CASE("registrations go through JSON and back") {
    std::string wrong;
    const registration keyed = alice_at(1'700'000'000'123);
    const auto value = json_of(keyed);
    REQUIRE(value);
    CHECK(read_registration(*value, wrong) == keyed);
    const registration keyless{"bøb", "", 1};
    CHECK(read_registration(*json_of(keyless), wrong) == keyless);
}

TEST_CASE("a member that is missing, of the wrong type or impossible is named") {
    CHECK(complaint(R"({"username":"a","host":"","port":1,"more":[{}]})") == "");
    CHECK(complaint(R"({"username":"a","host":"","port":1,"key":null})") == "");
    CHECK(complaint(R"([])") == "username");
    CHECK(complaint(R"({"host":"","port":1})") == "username");
    CHECK(complaint(R"({"username":7,"host":"","port":1})") == "username");
    CHECK(complaint(R"({"username":"a/b","host":"","port":1})") == "username");
    CHECK(complaint(R"({"username":"a","port":1})") == "host");
    CHECK(complaint(R"({"username":"a","host":null,"port":1})") == "host");
    CHECK(complaint(R"({"username":"a","host":"a b","port":1})") == "host");
    CHECK(complaint(R"({"username":"a","host":""})") == "port");
    for (const char* port :
         {"0", "65536", "-1", "1.5", "\"80\"", "true", "null", "[80]", "1e3", "99999999999999999999"})
        CHECK(complaint(R"({"username":"a","host":"","port":)" + std::string(port) + "}") == "port");
    const std::string start = R"({"username":"a","host":"","port":1,)";
    const std::string key = "\"key\":\"" + std::string(64, 'a') + "\"";
    const std::string signature = "\"signature\":\"" + std::string(128, 'a') + "\"";
    CHECK(complaint(start + key + ",\"signed_at\":1," + signature + "}") == "");
    CHECK(complaint(start + "\"signed_at\":1," + signature + "}") == "key");
    CHECK(complaint(start + "\"key\":\"" + std::string(63, 'a') + "\"}") == "key");
    CHECK(complaint(start + key + "}") == "signed_at");
    CHECK(complaint(start + key + ",\"signed_at\":-1," + signature + "}") == "signed_at");
    CHECK(complaint(start + key + ",\"signed_at\":\"1\"," + signature + "}") == "signed_at");
    CHECK(complaint(start + key + ",\"signed_at\":1}") == "signature");
    CHECK(complaint(start + key + ",\"signed_at\":1,\"signature\":\"00\"}") == "signature");
}

TEST_CASE("no damage to a signed record leaves it valid as something else") {
    random_engine random(1);
    const registration good = alice_at(1'700'000'000'123);
    json_line line;
    add_registration(line, good);
    const std::string text = line.take();
    for (int round = 0; round < 3000; ++round) {
        const byte_vector damaged = test::mutated({text.begin(), text.end()}, random);
        std::error_code ec;
        const auto value = parse_json(as_text(damaged), ec);
        if (!value) continue;
        std::string wrong;
        const auto read = read_registration(*value, wrong);
        if (read && read->proof && verify_registration(*read)) CHECK(*read == good);
    }
}

TEST_CASE("times are written as ISO 8601") {
    CHECK(iso_time(0) == "1970-01-01T00:00:00.000Z");
    CHECK(iso_time(1'795'271'400'123) == "2026-11-21T14:30:00.123Z");
    CHECK(iso_time(-1) == "1969-12-31T23:59:59.999Z");
    CHECK(iso_time(std::numeric_limits<std::int64_t>::max()) == "9999-12-31T23:59:59.999Z");
    CHECK(iso_time(std::numeric_limits<std::int64_t>::min()) == "0000-01-01T00:00:00.000Z");
}

}  // namespace registration_test
