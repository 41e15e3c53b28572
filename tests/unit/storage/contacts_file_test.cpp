#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/storage/contacts_file.hpp>
#include <support/corpus.hpp>
#include <support/faulty_disk.hpp>
#include <support/mutate.hpp>
#include <support/temp_dir.hpp>

namespace contacts_file_test {

using namespace cohort;
using namespace cohort::test;

namespace {

identity_key key_of(std::uint8_t number) {
    identity_key out;
    out.bytes.fill(number);
    return out;
}

struct fixture {
    temp_dir dir;
    faulty_disk d;

    contacts_file open() { return contacts_file(d, dir.string(), "contacts.json"); }
    std::error_code failure(std::string_view content, std::string* words = nullptr) {
        write_file(dir / "contacts.json", content);
        try {
            open();
        } catch (const std::system_error& error) {
            if (words != nullptr) *words = error.what();
            CHECK(as_text(read_file(dir / "contacts.json")) == content);
            return error.code();
        }
        return {};
    }
};

}  // namespace

TEST_CASE("contacts are there at the next start") {
    fixture f;
    contacts_file file = f.open();
    CHECK(file.size() == 0);
    const contact bob{"bob", key_of(2), true, endpoint::parse("[::1]:4000")};
    const contact jose{"José \"el\" \\ García", key_of(3), false, std::nullopt};
    file.put(bob);
    file.put(jose);
    file.put({"eve", key_of(4), false, {}});
    file.erase("eve");
    file.erase("nobody");
    const contacts_file again = f.open();
    CHECK(again.all() == std::vector<contact>{jose, bob});
    CHECK(*again.find("bob") == bob);
    CHECK(*again.find(key_of(3)) == jose);
    CHECK(again.find("eve") == nullptr);
    CHECK(again.find(key_of(4)) == nullptr);
}

TEST_CASE("a contact is replaced as a whole, and one that is the same costs no writing") {
    fixture f;
    contacts_file file = f.open();
    file.put({"bob", key_of(2), true, {}});
    file.put({"bob", key_of(3), false, endpoint::parse("127.0.0.1:1")});
    f.d.forget_synced();
    file.put({"bob", key_of(3), false, endpoint::parse("127.0.0.1:1")});
    CHECK(f.d.synced().empty());
    CHECK(f.open().find("bob")->key == key_of(3));
    CHECK_FALSE(f.open().find("bob")->verified);
    CHECK_THROWS_AS(file.put({"\x1b[2J", key_of(1), false, {}}), std::system_error);
    CHECK(file.size() == 1);
}

TEST_CASE("A51: contacts that cannot be written stay as they were, in the file too") {
    fixture f;
    contacts_file file = f.open();
    file.put({"bob", key_of(2), true, {}});
    for (const std::uint64_t room : {0U, 10U, 100U}) {
        f.d.bytes_left = room;
        CHECK_THROWS_AS(file.put({"carol", key_of(3), false, {}}), std::system_error);
        CHECK_THROWS_AS(file.put({"bob", key_of(3), false, {}}), std::system_error);
        f.d.bytes_left = 1'000'000;
        CHECK(file.find("carol") == nullptr);
        CHECK(f.open().all() == file.all());
        CHECK(file.find("bob")->verified);
    }
    f.d.syncs_fail = true;
    CHECK_THROWS_AS(file.erase("bob"), std::system_error);
    f.d.syncs_fail = false;
    CHECK(f.open().find("bob") != nullptr);
    file.put({"carol", key_of(3), false, {}});
    CHECK(f.open().size() == 2);
}

TEST_CASE("A51: somebody who was met while the disk was full is known at once, and kept when there is room") {
    fixture f;
    contacts_file file = f.open();
    f.d.bytes_left = 0;
    const contact carol{"carol", key_of(3), false, {}};
    CHECK_THROWS_AS(file.put(carol), std::system_error);
    file.note(carol);
    file.note({"bad:name", key_of(4), false, {}});
    CHECK(file.all() == std::vector{carol});
    CHECK_THROWS_AS(file.keep(), std::system_error);
    CHECK_THROWS_AS(file.put(carol), std::system_error);
    CHECK(f.open().size() == 0);
    f.d.bytes_left = 1'000'000;
    SUBCASE("by itself") { file.keep(); }
    SUBCASE("when it comes again") { file.put(carol); }
    SUBCASE("with the next one") { file.put({"dave", key_of(5), false, {}}); }
    CHECK(f.open().all() == file.all());
    f.d.bytes_left = 0;
    file.keep();  // there is nothing left to write
}

TEST_CASE("A52: damaged contacts are not forgotten silently: the file is named, and kept") {
    fixture f;
    const std::string key(64, 'a');
    const auto with = [&](const std::string& members) { return "{\"contacts\":[{" + members + "}]}"; };
    std::string words;
    CHECK(f.failure("", &words) == errc::json_invalid);
    CHECK(words.find("contacts.json") != std::string::npos);
    CHECK(f.failure("{\"contacts\":[") == errc::json_invalid);
    CHECK(f.failure("[]") == errc::chat_malformed);
    CHECK(f.failure("{\"contacts\":{}}") == errc::chat_malformed);
    CHECK(f.failure(with(R"("name":"a","verified":true)"), &words) == errc::chat_malformed);
    CHECK(words.find("contact 1 has no valid key") != std::string::npos);
    CHECK(f.failure(with(R"("name":"a","verified":true,"key":"12")")) == errc::chat_malformed);
    CHECK(f.failure(with(R"("name":"a","verified":1,"key":")" + key + "\"")) == errc::chat_malformed);
    CHECK(f.failure(with(R"("name":"","verified":true,"key":")" + key + "\"")) == errc::chat_malformed);
    CHECK(f.failure(with(R"("name":"a","verified":true,"key":")" + key + R"("},{"name":"a","verified":true,"key":")" +
                         key + "\"")) == errc::chat_malformed);
    CHECK_FALSE(f.failure(with(R"("name":"a","verified":true,"address":"?","later":[],"key":")" + key + "\"")));
    CHECK(f.open().find("a")->verified);
    CHECK_FALSE(f.failure("{\"contacts\":[]}"));
}

TEST_CASE("mutated contacts are refused, or read as contacts that can be kept") {
    fixture f;
    contacts_file file = f.open();
    for (std::uint8_t i = 0; i < 5; ++i)
        file.put({"name " + std::to_string(i), key_of(i), i % 2 == 0, endpoint::parse("10.0.0.1:77")});
    const byte_vector good = read_file(f.dir / "contacts.json");
    random_engine random(3);
    int read = 0;
    for (int round = 0; round < 1000; ++round) {
        const byte_vector bad = mutated(good, random);
        const std::error_code failure = f.failure(as_text(bad));
        const bool expected = !failure || failure == errc::json_invalid || failure == errc::chat_malformed;
        CHECK(expected);
        if (failure) continue;
        ++read;
        contacts_file damaged = f.open();
        damaged.put({"new", key_of(9), false, {}});
        CHECK(f.open().all() == damaged.all());
    }
    CHECK(read > 50);
}

}  // namespace contacts_file_test
