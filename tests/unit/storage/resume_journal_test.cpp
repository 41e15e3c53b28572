#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>

#include <doctest/doctest.h>

#include <cohort/storage/resume_journal.hpp>

#include "support/corpus.hpp"
#include "support/faulty_disk.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace resume_journal_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 16 * 1024;

using pieces = std::vector<piece_index>;

pieces set_bits(const bitfield& bits) {
    pieces out;
    for (piece_index i = 0; i < bits.size(); ++i)
        if (bits.get(i)) out.push_back(i);
    return out;
}

/// A torrent of twenty pieces: file a has pieces 0 to 9, b 10 to 14, c the rest.
struct fixture {
    temp_dir dir;
    faulty_disk d;
    info_hash hash;
    std::vector<file_entry> files =
        entries({{"t/a", 10 * piece_length}, {"t/b", 5 * piece_length}, {"t/none", 0}, {"t/c", 5 * piece_length - 3}});
    piece_layout layout = layout_of(files, piece_length);
    std::unique_ptr<torrent_files> t;
    std::unique_ptr<resume_journal> journal;

    fixture() { hash.bytes.fill(0x5a); }

    /// As a program that starts; one that ran before is simply gone, as after kill -9.
    resume_journal& start() {
        journal.reset();
        t = std::make_unique<torrent_files>(d, files, layout, dir.string());
        journal = std::make_unique<resume_journal>(d, dir.string(), hash, *t);
        return *journal;
    }
    /// The first start: nothing is there, and that is known from then on.
    resume_journal& start_fresh() {
        start();
        t->create();
        journal->append_rechecked();
        return *journal;
    }
    /// Piece 1 would survive a loss of power, 2 is only verified.
    void start_with_one_safe() {
        start_fresh();
        verified({1});
        journal->checkpoint();
        verified({2});
    }
    void write(piece_index piece) { t->write(layout.offset(piece), byte_vector(layout.piece_size(piece), 1)); }
    void verified(const pieces& which) {
        for (const piece_index piece : which) {
            write(piece);
            journal->append_verified(piece);
        }
    }
    pieces trusted() { return set_bits(start().found().verified); }
    pieces rechecked() const { return set_bits(journal->found().recheck); }

    /// A record as encode() makes it, of a kind that is not written any more.
    void append_by_hand(std::uint32_t kind, std::uint64_t value) const {
        byte_vector all = read_file(path()), record, salt;
        const std::size_t snapshot = 8 + 20 + 20 + 8 + 3 * ((layout.piece_count() + 7) / 8) + 4;
        append_be(salt, std::uint64_t{(all.size() - snapshot) / 16});
        append_be(record, kind);
        append_be(record, value);
        append_be(record, crc32(record, crc32(salt)));
        all.insert(all.end(), record.begin(), record.end());
        write_file(path(), all);
    }

    std::filesystem::path path() const { return dir / journal_name(hash); }
    void age(const std::string& file, std::chrono::seconds by) const {
        std::filesystem::last_write_time(dir / file, std::filesystem::last_write_time(path()) + by);
    }
};

pieces all_pieces() {
    pieces out;
    for (piece_index i = 0; i < 20; ++i) out.push_back(i);
    return out;
}

pieces all_but(const pieces& some) {
    pieces out = all_pieces();
    std::erase_if(out, [&some](piece_index piece) { return std::ranges::count(some, piece) != 0; });
    return out;
}

}  // namespace

TEST_CASE("without a journal everything is to be rechecked, until somebody did") {
    fixture f;
    CHECK(f.trusted().empty());
    CHECK(f.rechecked() == all_pieces());
    CHECK(std::filesystem::exists(f.path()));
    CHECK(!std::filesystem::exists(f.dir / (journal_name(f.hash) + ".new")));
    f.t->create();
    f.verified({3});
    CHECK(f.trusted() == pieces{3});
    CHECK(f.rechecked().size() == 19);
    f.journal->append_rechecked();
    CHECK(f.trusted() == pieces{3});
    CHECK(f.rechecked().empty());
}

TEST_CASE("after kill -9 every piece recorded is trusted, over any number of restarts") {
    fixture f;
    f.start_fresh();
    f.verified({0, 7, 19});
    CHECK(f.trusted() == pieces{0, 7, 19});
    CHECK(f.rechecked().empty());
    f.verified({1});
    CHECK(f.trusted() == pieces{0, 1, 7, 19});
    CHECK(f.trusted() == pieces{0, 1, 7, 19});
    CHECK(f.rechecked().empty());
}

TEST_CASE("after a loss of power only what a checkpoint covered is trusted") {
    fixture f;
    f.start_fresh();
    f.verified({1, 2});
    f.journal->checkpoint();
    f.verified({3, 4});
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1, 2});
    CHECK(f.rechecked() == all_but({1, 2}));
    // A second loss during the recheck forgets nothing.
    f.d.boot = "third boot";
    CHECK(f.trusted() == pieces{1, 2});
    CHECK(f.rechecked() == all_but({1, 2}));
    f.journal->append_verified(pieces{3});
    f.journal->append_rechecked();
    CHECK(f.trusted() == pieces{1, 2, 3});
    CHECK(f.rechecked().empty());
}

TEST_CASE("a journal that lost whole records with the power has the pieces that reached the disk rechecked") {
    fixture f;
    f.start_fresh();
    f.verified({1});
    f.journal->checkpoint();
    f.verified({2, 3});
    f.journal.reset();
    std::filesystem::resize_file(f.path(), std::filesystem::file_size(f.path()) - 2 * 16);
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == all_but({1}));
}

TEST_CASE("pieces of a run that was killed are synced by the next, and only then survive a loss of power") {
    fixture f;
    f.start_fresh();
    f.verified({1, 12});
    f.start();
    f.d.forget_synced();
    f.journal->checkpoint();
    const auto synced = f.d.synced();
    CHECK(std::ranges::count(synced, f.dir.string() + "/t/a") == 1);
    CHECK(std::ranges::count(synced, f.dir.string() + "/t/b") == 1);
    CHECK(std::ranges::count(synced, f.dir.string() + "/t/c") == 0);
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1, 12});

    f.verified({2});
    f.start();
    f.d.boot = "third boot";
    CHECK(f.trusted() == pieces{1, 12});
    CHECK(f.rechecked() == all_but({1, 12}));
}

TEST_CASE("pieces that a recheck found are synced before they are called safe") {
    fixture f;
    f.start_fresh();
    f.verified({1, 12});
    f.journal.reset();
    std::filesystem::remove(f.path());
    f.start();
    f.d.forget_synced();
    f.journal->append_verified(pieces{1, 12});
    f.journal->append_rechecked();
    f.journal->checkpoint();
    const auto synced = f.d.synced();
    CHECK(std::ranges::count(synced, f.dir.string() + "/t/a") == 1);
    CHECK(std::ranges::count(synced, f.dir.string() + "/t/b") == 1);
    CHECK(std::ranges::count(synced, f.dir.string() + "/t/c") == 0);
}

TEST_CASE("a system that cannot name its boot is never trusted with what was not synced") {
    fixture f;
    f.d.boot = "";
    f.start_fresh();
    f.verified({1});
    f.journal->checkpoint();
    f.verified({2});
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == all_but({1}));
}

TEST_CASE("a checkpoint does not cover pieces recorded while it runs") {
    fixture f;
    f.start_fresh();
    f.verified({1});
    f.d.on_sync = [&f] {
        f.d.on_sync = nullptr;
        f.verified({2, 13});
    };
    f.journal->checkpoint();
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == all_but({1}));
}

TEST_CASE("a checkpoint with nothing written does nothing, one while data comes in keeps the journal young") {
    fixture f;
    f.start_fresh();
    f.journal->checkpoint();
    const auto size = std::filesystem::file_size(f.path());
    f.journal->checkpoint();
    CHECK(std::filesystem::file_size(f.path()) == size);
    f.write(3);
    f.journal->checkpoint();
    CHECK(std::filesystem::file_size(f.path()) == size + 16);
}

TEST_CASE("a failed sync claims nothing, and has what was in doubt rechecked") {
    fixture f;
    f.start_with_one_safe();
    f.d.syncs_fail = true;
    CHECK(failure_of([&] { f.journal->checkpoint(); }) == errc::disk_failed);
    f.d.syncs_fail = false;
    CHECK(failure_of([&] { f.journal->checkpoint(); }) == errc::disk_failed);
    CHECK(failure_of([&] { f.journal->close_clean(); }) == errc::disk_failed);
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == pieces{2});
}

TEST_CASE("a clean stop whose sync fails claims nothing either") {
    fixture f;
    f.start_with_one_safe();
    f.d.syncs_fail = true;
    CHECK(failure_of([&] { f.journal->close_clean(); }) == errc::disk_failed);
    f.d.syncs_fail = false;
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == pieces{2});
}

TEST_CASE("pieces that are verified after a failed sync are in doubt like those before it") {
    fixture f;
    f.start_with_one_safe();
    f.d.syncs_fail = true;
    CHECK(failure_of([&] { f.journal->checkpoint(); }) == errc::disk_failed);
    f.d.syncs_fail = false;
    f.verified({3});
    f.journal->append_sign_of_life();
    f.verified({4, 5});
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == pieces{2, 3, 4, 5});
    // The next run begins anew: what it checked and synced is safe.
    f.verified({2, 3});
    f.journal->append_rechecked();
    f.journal->checkpoint();
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1, 2, 3});
}

TEST_CASE("a failed sync during the recheck does not end it") {
    fixture f;
    f.start();
    f.t->create();
    f.verified({1});
    f.d.syncs_fail = true;
    CHECK(failure_of([&] { f.journal->checkpoint(); }) == errc::disk_failed);
    f.d.syncs_fail = false;
    f.journal->append_rechecked();
    CHECK(f.trusted().empty());
    CHECK(f.rechecked() == all_pieces());
}

TEST_CASE("where the disk has no room for the doubt of a failed sync, everything is rechecked") {
    for (const bool stops : {false, true}) {
        CAPTURE(stops);
        fixture f;
        f.start_fresh();
        f.verified({1});
        f.journal->checkpoint();
        f.verified({2});
        f.d.syncs_fail = true;
        f.d.bytes_left = 15;
        CHECK(failure_of([&] { stops ? f.journal->close_clean() : f.journal->checkpoint(); }) == errc::disk_failed);
        f.d.syncs_fail = false;
        f.d.bytes_left = 1'000'000;
        f.verified({3});
        CHECK(f.trusted().empty());
        CHECK(f.rechecked() == all_pieces());
    }
}

TEST_CASE("a full disk leaves the journal whole: what could not be recorded can be recorded later") {
    for (std::uint64_t room = 0; room < 48; ++room) {
        CAPTURE(room);
        fixture f;
        f.start_fresh();
        f.verified({1});
        f.d.resizes_fail = room % 2 == 0;
        f.d.bytes_left = room;
        CHECK(failure_of([&] { f.journal->append_verified(pieces{2, 3, 4}); }) == errc::disk_full);
        f.d.bytes_left = 1'000'000;
        f.d.resizes_fail = false;
        f.journal->append_verified(pieces{5});
        f.journal->append_verified(pieces{2, 3, 4});
        CHECK(f.trusted() == pieces{1, 2, 3, 4, 5});
        CHECK(f.rechecked().empty());
    }
}

TEST_CASE("a journal that cannot be made or read fails as the disk does") {
    fixture f;
    f.d.bytes_left = 10;
    CHECK(failure_of([&] { f.start(); }) == errc::disk_full);
    f.d.bytes_left = 1'000'000;
    f.start_fresh();
    f.verified({1});
    f.d.reads_fail = true;
    CHECK(failure_of([&] { f.start(); }) == errc::disk_failed);
    f.d.reads_fail = false;
    CHECK(f.trusted() == pieces{1});
    // A start that fails while it writes the new snapshot leaves the old one in place.
    f.d.bytes_left = 50;
    CHECK(failure_of([&] { f.start(); }) == errc::disk_full);
    f.d.bytes_left = 1'000'000;
    CHECK(f.trusted() == pieces{1});
}

TEST_CASE("a journal torn at any byte gives what stands before the tear, and a recheck of the rest") {
    fixture f;
    f.start_fresh();
    const std::size_t snapshot = std::filesystem::file_size(f.path()) - 16;  // behind it stands `rechecked`
    f.verified({4, 5, 6, 7});
    const byte_vector whole = read_file(f.path());
    REQUIRE(whole.size() == snapshot + 5 * 16);
    f.journal.reset();
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        CAPTURE(size);
        write_file(f.path(), byte_view(whole).first(size));
        const pieces seen = f.trusted();
        if (size < snapshot + 16) {
            CHECK(seen.empty());
            CHECK(f.rechecked() == all_pieces());
        } else {
            pieces expected{4, 5, 6, 7};
            expected.resize((size - snapshot) / 16 - 1);
            CHECK(seen == expected);
            // At the end of a record nobody can tell that there were more.
            const bool torn = (size - snapshot) % 16 != 0;
            CHECK(f.rechecked().size() == (torn ? all_pieces().size() - seen.size() : 0));
        }
    }
}

TEST_CASE("a journal with any byte altered never adds a piece, and forgets none") {
    fixture f;
    f.start_fresh();
    f.verified({4, 5});
    f.journal->checkpoint();
    f.verified({6});
    const byte_vector whole = read_file(f.path());
    f.journal.reset();
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (const int flip : {0x01, 0x80, 0xff}) {
            byte_vector broken = whole;
            broken[at] = static_cast<std::uint8_t>(broken[at] ^ flip);
            write_file(f.path(), broken);
            pieces known = f.trusted();
            for (const piece_index piece : known) CHECK((piece >= 4 && piece <= 6));
            const pieces checked = f.rechecked();
            known.insert(known.end(), checked.begin(), checked.end());
            for (const piece_index piece : {4u, 5u, 6u}) CHECK(std::count(known.begin(), known.end(), piece) == 1);
        }
    }
}

TEST_CASE("records out of place, repeated or of numbers that do not exist end the reading") {
    fixture f;
    f.start_fresh();
    f.verified({4, 5, 6});
    const byte_vector whole = read_file(f.path());
    f.journal.reset();
    const auto tail = [&](std::size_t from) { return byte_view(whole).subspan(whole.size() - from, 16); };
    // 4 and 6 change places.
    byte_vector swapped(whole.begin(), whole.end() - 48);
    for (const std::size_t from : {16u, 32u, 48u}) swapped.insert(swapped.end(), tail(from).begin(), tail(from).end());
    write_file(f.path(), swapped);
    CHECK(f.trusted().empty());
    // 6 comes twice.
    byte_vector twice = whole;
    twice.insert(twice.end(), tail(16).begin(), tail(16).end());
    write_file(f.path(), twice);
    CHECK(f.trusted() == pieces{4, 5, 6});
}

TEST_CASE("a journal of another torrent, or of the same with another layout, is not believed") {
    fixture f;
    f.start_fresh();
    f.verified({4});
    const byte_vector whole = read_file(f.path());
    SUBCASE("another torrent") {
        f.hash.bytes[19] ^= 1;
        write_file(f.path(), whole);
    }
    SUBCASE("another number of pieces") {
        f.files = entries({{"t/a", 30 * piece_length}});
        f.layout = layout_of(f.files, piece_length);
    }
    CHECK(f.trusted().empty());
    CHECK(f.rechecked().size() == f.layout.piece_count());
}

TEST_CASE("something else in the journal's place is replaced, or told") {
    fixture f;
    SUBCASE("an empty file") { write_file(f.path(), ""); }
    SUBCASE("nonsense") { write_file(f.path(), random_bytes(100'000)); }
    SUBCASE("a link") {
        write_file(f.dir / "victim", "precious");
        std::filesystem::create_symlink(f.dir / "victim", f.path());
    }
    SUBCASE("a dangling link where the new one is made") {
        std::filesystem::create_symlink(f.dir / "nowhere", f.dir / (journal_name(f.hash) + ".new"));
    }
    CHECK(f.trusted().empty());
    CHECK(f.rechecked() == all_pieces());
    CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(f.path())));
    CHECK(!std::filesystem::exists(f.dir / "nowhere"));
    if (std::filesystem::exists(f.dir / "victim")) CHECK(as_text(read_file(f.dir / "victim")) == "precious");
}

TEST_CASE("after a clean stop everything is trusted, even in another boot") {
    fixture f;
    f.start_fresh();
    f.verified({0, 11, 16});
    f.journal->close_clean();
    f.d.boot = "second boot";
    f.age("t/a", std::chrono::seconds(0));
    f.start();  // a changed time alone makes a's pieces doubtful
    CHECK(set_bits(f.journal->found().verified) == pieces{11, 16});
    CHECK(f.rechecked() == pieces{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    f.journal->append_verified(piece_index{0});
    f.journal->append_rechecked();
    f.journal->close_clean();
    f.d.boot = "third boot";
    CHECK(f.trusted() == pieces{0, 11, 16});
    CHECK(f.rechecked().empty());
}

TEST_CASE("files missing, replaced or of another size after a clean stop have their pieces rechecked") {
    fixture f;
    f.start_fresh();
    f.verified(all_pieces());
    f.journal->close_clean();
    SUBCASE("missing") { std::filesystem::remove(f.dir / "t/b"); }
    SUBCASE("cut short") { std::filesystem::resize_file(f.dir / "t/b", 100); }
    SUBCASE("replaced by one of the same size and time") {
        const auto time = std::filesystem::last_write_time(f.dir / "t/b");
        std::filesystem::copy_file(f.dir / "t/b", f.dir / "copy");
        std::filesystem::rename(f.dir / "copy", f.dir / "t/b");
        std::filesystem::last_write_time(f.dir / "t/b", time);
    }
    CHECK(f.trusted().size() == 15);
    CHECK(f.rechecked() == pieces{10, 11, 12, 13, 14});
    // The doubt stays when the program is killed before it has looked.
    f.start();
    CHECK(f.rechecked() == pieces{10, 11, 12, 13, 14});
}

TEST_CASE("without a clean stop a file modified well after the journal is rechecked, one modified just after is not") {
    fixture f;
    f.start_fresh();
    f.verified({0, 11, 16});
    f.age("t/a", std::chrono::seconds(9));
    f.age("t/b", std::chrono::seconds(12));
    f.age("t/c", std::chrono::seconds(-1000));
    CHECK(f.trusted() == pieces{0, 16});
    CHECK(f.rechecked() == pieces{10, 11, 12, 13, 14});
}

TEST_CASE("signs of life while the blocks of a large piece come in keep what was verified trusted, and sync nothing") {
    for (const bool alive : {false, true}) {
        CAPTURE(alive);
        fixture f;
        f.start_fresh();
        f.verified({0, 11});
        std::filesystem::last_write_time(f.path(),
                                         std::filesystem::last_write_time(f.path()) - std::chrono::minutes(5));
        f.write(1);
        f.d.forget_synced();
        if (alive) f.journal->append_sign_of_life();
        CHECK(f.d.synced().empty());
        CHECK(f.trusted() == (alive ? pieces{0, 11} : pieces{}));
        CHECK(f.rechecked().size() == (alive ? 0 : 20));
    }
}

TEST_CASE("a sign of life claims nothing that a loss of power may have taken") {
    fixture f;
    f.start_fresh();
    f.verified({1});
    f.journal->checkpoint();
    f.verified({2});
    f.journal->append_sign_of_life();
    f.write(3);
    f.journal->append_sign_of_life();
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == all_but({1}));
}

TEST_CASE("without a clean stop a file missing or too short is rechecked") {
    fixture f;
    f.start_fresh();
    f.verified({0, 11, 16});
    std::filesystem::remove(f.dir / "t/a");
    std::filesystem::resize_file(f.dir / "t/c", 5);
    CHECK(f.trusted() == pieces{11});
    CHECK(f.rechecked() == pieces{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 19});
}

TEST_CASE("a cleanly closed journal that is appended to counts as killed from then on") {
    fixture f;
    f.start_fresh();
    f.verified({1});
    f.journal->close_clean();
    f.verified({2});
    f.d.boot = "second boot";
    CHECK(f.trusted() == pieces{1});
    CHECK(f.rechecked() == all_but({1}));
}

TEST_CASE("a piece that an older version recorded as lost is not trusted, wherever it was verified") {
    fixture f;
    f.start_fresh();
    f.verified({1, 2});
    f.journal->checkpoint();
    f.verified({3, 4});
    f.append_by_hand(4, 1);
    f.append_by_hand(4, 3);
    f.append_by_hand(4, 9);  // never had
    CHECK(f.trusted() == pieces{2, 4});
    CHECK(f.rechecked() == pieces{1, 3, 9});
    f.verified({3});
    CHECK(f.trusted() == pieces{2, 3, 4});
}

TEST_CASE("the journal stays small however often pieces are recorded") {
    fixture f;
    f.start_fresh();
    for (int i = 0; i < 100; ++i) f.journal->append_verified(all_pieces());
    const auto size = std::filesystem::file_size(f.path());
    f.start();
    CHECK(std::filesystem::file_size(f.path()) < size);
    CHECK(size < 700);
}

TEST_CASE("remove takes the journal away, and a new one begins anew") {
    fixture f;
    f.start_fresh();
    f.verified(all_pieces());
    f.journal->remove();
    CHECK(!std::filesystem::exists(f.path()));
    CHECK(f.trusted().empty());
}

TEST_CASE("the journal is removed only when the files are safe; if that fails it stays, and is in doubt") {
    fixture f;
    f.start_fresh();
    f.verified(all_pieces());
    f.d.syncs_fail = true;
    CHECK(failure_of([&] { f.journal->remove(); }) == errc::disk_failed);
    f.d.syncs_fail = false;
    CHECK(f.trusted().empty());
    CHECK(f.rechecked() == all_pieces());
    f.journal->append_verified(all_pieces());
    f.d.forget_synced();
    f.journal->remove();
    const auto synced = f.d.synced();
    for (const char* const file : {"/t/a", "/t/b", "/t/c"})
        CHECK(std::ranges::count(synced, f.dir.string() + file) == 1);
    CHECK(!std::filesystem::exists(f.path()));
}

TEST_CASE("pieces are recorded from several threads while checkpoints run") {
    fixture f;
    f.start_fresh();
    std::vector<std::thread> threads;
    for (piece_index t = 0; t < 4; ++t)
        threads.emplace_back([&f, t] {
            for (piece_index piece = t; piece < 20; piece += 4) {
                f.verified({piece});
                if (piece % 3 == 0) f.journal->checkpoint();
            }
        });
    for (std::thread& thread : threads) thread.join();
    f.journal->checkpoint();
    f.d.boot = "second boot";
    CHECK(f.trusted() == all_pieces());
}

}  // namespace resume_journal_test
