#include <doctest/doctest.h>

#include <cohort/storage/crc32.hpp>
#include <cohort/storage/journal_name.hpp>

namespace crc32_test {

using namespace cohort;

TEST_CASE("CRC-32 gives the standard's check value, in one step or several") {
    CHECK(crc32(as_bytes("123456789")) == 0xcbf43926);
    CHECK(crc32(as_bytes("6789"), crc32(as_bytes("12345"))) == 0xcbf43926);
    CHECK(crc32({}) == 0);
}

TEST_CASE("a journal's name is known in every spelling, and nothing else is taken for one") {
    info_hash hash;
    hash.bytes.fill(0xab);
    const std::string name = journal_name(hash);
    CHECK(name == ".abababababababababababababababababababab.cohort");
    CHECK(is_journal_name(name));
    CHECK(is_journal_name(name + ".new"));
    CHECK(is_journal_name(".ABABABABABABABABABABABABABABABABABABABAB.COHORT"));
    CHECK(!is_journal_name(name.substr(1)));
    CHECK(!is_journal_name(".abababababababababababababababababababag.cohort"));
    CHECK(!is_journal_name(".abababababababababababababababababababab.cohor"));
    CHECK(!is_journal_name("._bababababababababababababababababababab.cohort"));
    CHECK(!is_journal_name(""));
    CHECK(!is_journal_name("notes.cohort"));
}

}  // namespace crc32_test
