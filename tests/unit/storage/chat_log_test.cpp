#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cohort/core/random.hpp>
#include <cohort/storage/chat_log.hpp>
#include <support/corpus.hpp>
#include <support/faulty_disk.hpp>
#include <support/temp_dir.hpp>

namespace chat_log_test {

using namespace cohort;
using namespace cohort::test;

namespace {

using records = std::vector<byte_vector>;

constexpr std::size_t data_at = 1536;
constexpr std::size_t overhead = 32;

key32 key_of(std::uint8_t number = 1) {
    key32 out;
    out.fill(number);
    return out;
}

struct fixture {
    temp_dir dir;
    faulty_disk d;
    std::unique_ptr<chat_log> log;
    records replayed;

    /// As a program that starts; one that ran before is simply gone.
    chat_log& start(const key32& key = key_of()) {
        log.reset();
        replayed.clear();
        const auto each = [this](std::uint64_t index, byte_view payload) {
            CHECK(index == replayed.size());
            replayed.emplace_back(payload.begin(), payload.end());
        };
        log = std::make_unique<chat_log>(d, dir.string(), "a.log", key, each);
        CHECK(log->size() == replayed.size());
        return *log;
    }
    std::error_code failure(const key32& key = key_of()) {
        try {
            start(key);
        } catch (const std::system_error& error) {
            CHECK(std::string(error.what()).find("a.log") != std::string::npos);
            return error.code();
        }
        return {};
    }
    std::filesystem::path path() const { return dir / "a.log"; }
    byte_vector bytes() const { return read_file(path()); }
    void put(byte_view content) const { write_file(path(), content); }
};

byte_vector record_of(random_engine& random, std::size_t size) {
    byte_vector out(size);
    random.fill(out);
    return out;
}

void append(chat_log& log, const records& batch) {
    std::vector<byte_view> views(batch.begin(), batch.end());
    log.append(views);
}

std::error_code append_failure(chat_log& log, const records& batch) {
    try {
        append(log, batch);
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}

void extend(records& all, const records& more) { all.insert(all.end(), more.begin(), more.end()); }

bool is_prefix(const records& part, const records& whole) {
    return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

}  // namespace

TEST_CASE("what was appended is there at the next start, in order, over many starts") {
    random_engine random(1);
    fixture f;
    records all;
    for (int run = 0; run < 10; ++run) {
        chat_log& log = f.start();
        CHECK(f.replayed == all);
        CHECK(log.dropped() == 0);
        for (std::uint32_t batches = random.below(4); batches > 0; --batches) {
            records batch;
            for (std::uint32_t i = random.below(20); i > 0; --i) batch.push_back(record_of(random, random.below(300)));
            append(log, batch);
            extend(all, batch);
            CHECK(log.size() == all.size());
        }
        for (std::size_t i = 0; i < all.size(); ++i) CHECK(log.read(i) == all[i]);
    }
    CHECK(all.size() > 20);
}

TEST_CASE("a batch is one sync, however many records it has") {
    random_engine random(2);
    fixture f;
    chat_log& log = f.start();
    f.d.forget_synced();
    append(log, records(500, record_of(random, 100)));
    CHECK(f.d.synced().size() == 1);
    append(log, {});
    CHECK(f.d.synced().size() == 1);
}

TEST_CASE("records of all sizes are kept, and none above the limit") {
    random_engine random(3);
    fixture f;
    records all{{}, record_of(random, 1), record_of(random, chat_log::max_record), {}, record_of(random, 70'000)};
    append(f.start(), all);
    CHECK(append_failure(*f.log, {record_of(random, 5), record_of(random, chat_log::max_record + 1)}) ==
          errc::chat_too_long);
    CHECK(f.log->size() == 5);
    f.start();
    CHECK(f.replayed == all);
    CHECK_THROWS_AS(f.log->read(5), std::system_error);
}

TEST_CASE("nothing of a record can be read in the file, nor is the same record the same twice") {
    fixture f;
    const std::string secret = "meet me at the old bridge at noon";
    f.start().append(as_bytes(secret));
    f.log->append(as_bytes(secret));
    const byte_vector bytes = f.bytes();
    for (const std::string part : {"bridge", "meet"}) CHECK(as_text(bytes).find(part) == std::string_view::npos);
    const std::size_t size = secret.size() + overhead;
    REQUIRE(bytes.size() == data_at + 2 * size);
    CHECK_FALSE(std::equal(bytes.begin() + data_at + 16, bytes.begin() + data_at + 32,
                           bytes.begin() + static_cast<std::ptrdiff_t>(data_at + size) + 16));
}

TEST_CASE("A52: the log of another identity is refused and stays as it is") {
    fixture f;
    f.start().append(as_bytes("hello"));
    f.log.reset();
    const byte_vector before = f.bytes();
    CHECK(f.failure(key_of(2)) == errc::log_damaged);
    CHECK(f.bytes() == before);
    f.start();
    CHECK(f.replayed.size() == 1);
}

TEST_CASE("A52: a file that is no log is refused and stays as it is") {
    fixture f;
    const std::string diary(5000, 'x');
    f.put(as_bytes(diary));
    CHECK(f.failure() == errc::log_damaged);
    CHECK(as_text(f.bytes()) == diary);
}

TEST_CASE("A52: whatever part of the last batch a crash left, all batches before are there and nothing wrong is") {
    random_engine random(4);
    fixture f;
    records sure, last;
    for (int i = 0; i < 6; ++i) sure.push_back(record_of(random, random.below(200)));
    for (int i = 0; i < 4; ++i) last.push_back(record_of(random, random.below(900)));
    append(f.start(), {sure[0], sure[1]});
    append(*f.log, {sure.begin() + 2, sure.end()});
    const byte_vector before = f.bytes();
    append(*f.log, last);
    byte_vector after = f.bytes();
    f.log.reset();
    records whole = sure;
    extend(whole, last);
    // The mark of the last batch is written after its sync: at the crash it was not there.
    std::copy(before.begin(), before.end(), after.begin());

    const auto check = [&](const byte_vector& content) {
        f.put(content);
        chat_log& log = f.start();
        CHECK(is_prefix(sure, f.replayed));
        CHECK(is_prefix(f.replayed, whole));
        // It goes on from there, and what was torn never comes back.
        records now = f.replayed;
        append(log, {{1, 2, 3}});
        now.push_back({1, 2, 3});
        f.start();
        CHECK(f.replayed == now);
        CHECK(f.log->dropped() == 0);
        for (std::size_t i = 0; i < now.size(); ++i) CHECK(f.log->read(i) == now[i]);
    };
    for (std::size_t size = before.size(); size <= after.size(); size += 1 + random.below(8))
        check(byte_vector(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(size)));
    check(after);
    // Blocks reach the disk in any order: some are zeros.
    for (int round = 0; round < 100; ++round) {
        byte_vector torn = after;
        for (std::size_t at = before.size(); at < torn.size(); ++at)
            if ((at / 64 * 2654435761U >> 7) % 3 == static_cast<std::size_t>(round) % 3 || random.chance(0.001))
                torn[at] = 0;
        check(torn);
    }
}

TEST_CASE("A52: records whose writer was killed before the sync are brought to safety when the log is opened") {
    fixture f;
    f.start().append(as_bytes("x"));
    const byte_vector before = f.bytes();
    f.log->append(as_bytes("y"));
    byte_vector after = f.bytes();
    std::copy(before.begin(), before.end(), after.begin());  // without the mark, which comes after the sync
    f.log.reset();
    f.put(after);
    f.d.syncs_fail = true;
    CHECK(f.failure() == errc::disk_failed);
    f.d.syncs_fail = false;
    f.d.forget_synced();
    CHECK(f.start().size() == 2);
    CHECK(f.d.synced().size() == 1);
    f.d.forget_synced();
    CHECK(f.start().size() == 2);
    CHECK(f.d.synced().empty());
}

TEST_CASE("A52: a record altered after it was safe is found, wherever it is, and the file is kept") {
    random_engine random(5);
    fixture f;
    records all;
    f.start();
    for (int i = 0; i < 12; ++i) {
        all.push_back(record_of(random, 1 + random.below(60)));
        f.log->append(all.back());
    }
    f.log.reset();
    const byte_vector good = f.bytes();
    for (std::size_t at = data_at; at < good.size(); ++at) {
        byte_vector bad = good;
        bad[at] ^= static_cast<std::uint8_t>(1U << random.below(8));
        f.put(bad);
        CHECK(f.failure() == errc::log_damaged);
        CHECK(f.bytes() == bad);
    }
    f.put(good);
    f.start();
    CHECK(f.replayed == all);
}

TEST_CASE("A52: any bit of the file's head flipped is found, or does no harm") {
    random_engine random(6);
    fixture f;
    records all;
    f.start();
    for (int i = 0; i < 5; ++i) {
        all.push_back(record_of(random, 50));
        f.log->append(all.back());
    }
    f.log.reset();
    const byte_vector good = f.bytes();
    int harmless = 0;
    for (std::size_t at = 0; at < data_at; ++at) {
        byte_vector bad = good;
        bad[at] ^= 1;
        f.put(bad);
        const std::error_code failure = f.failure();
        if (!failure) {
            ++harmless;
            CHECK(f.replayed == all);
        } else {
            CHECK(failure == errc::log_damaged);
            CHECK(at < 72);
            CHECK(f.bytes() == bad);
        }
    }
    CHECK(harmless == static_cast<int>(data_at) - 72);
    byte_vector bad = good;
    bad[512] ^= 1;
    bad[1024] ^= 1;
    f.put(bad);
    CHECK(f.failure() == errc::log_damaged);
}

TEST_CASE("A52: a log cut after it was safe is found") {
    random_engine random(7);
    fixture f;
    f.start();
    for (int i = 0; i < 8; ++i) f.log->append(record_of(random, 40));
    f.log.reset();
    const byte_vector good = f.bytes();
    for (std::size_t size = 0; size < good.size(); ++size) {
        f.put(byte_view(good).first(size));
        CHECK(f.failure() == errc::log_damaged);
        CHECK(f.bytes().size() == size);
    }
}

TEST_CASE("A52: a log that was cut before anything was kept in it is left as it is too") {
    fixture f;
    f.start();
    f.log.reset();
    const byte_vector begun = f.bytes();
    CHECK(begun.size() == data_at);
    for (std::size_t size = 0; size < begun.size(); ++size) {
        f.put(byte_view(begun).first(size));
        CHECK(f.failure() == errc::log_damaged);
        CHECK(f.bytes().size() == size);
    }
}

TEST_CASE("A52: records exchanged, doubled, left out or taken from another log do not pass") {
    random_engine random(8);
    fixture f;
    constexpr std::ptrdiff_t size = 40 + overhead;
    f.start();
    for (int i = 0; i < 6; ++i) f.log->append(record_of(random, 40));
    f.log.reset();
    const byte_vector good = f.bytes();
    const auto record = [&](const byte_vector& from, int index) {
        const auto begin = from.begin() + static_cast<std::ptrdiff_t>(data_at) + index * size;
        return byte_vector(begin, begin + size);
    };
    const auto with = [&](const std::vector<byte_vector>& list) {
        byte_vector out(good.begin(), good.begin() + data_at);
        for (const byte_vector& one : list) out.insert(out.end(), one.begin(), one.end());
        return out;
    };
    std::vector<byte_vector> list;
    for (int i = 0; i < 6; ++i) list.push_back(record(good, i));
    CHECK(with(list) == good);
    const auto refused = [&](std::vector<byte_vector> changed) {
        f.put(with(changed));
        CHECK(f.failure() == errc::log_damaged);
    };
    auto changed = list;
    std::swap(changed[1], changed[2]);
    refused(changed);
    changed = list;
    changed[3] = changed[2];
    refused(changed);
    changed = list;
    changed.erase(changed.begin() + 2);
    refused(changed);
    changed = list;
    changed.erase(changed.begin());
    refused(changed);

    std::filesystem::remove(f.path());
    f.start();
    for (int i = 0; i < 6; ++i) f.log->append(record_of(random, 40));
    f.log.reset();
    changed = list;
    changed[4] = record(f.bytes(), 4);
    refused(changed);
}

TEST_CASE("A52: a log altered while it is open is found by who reads there") {
    random_engine random(9);
    fixture f;
    records all;
    f.start();
    for (int i = 0; i < 4; ++i) {
        all.push_back(record_of(random, 40));
        f.log->append(all.back());
    }
    byte_vector bad = f.bytes();
    bad[data_at + 2 * (40 + overhead) + 20] ^= 1;
    f.put(bad);
    CHECK(f.log->read(0) == all[0]);
    CHECK(f.log->read(3) == all[3]);
    try {
        f.log->read(2);
        FAIL("read what was altered");
    } catch (const std::system_error& error) {
        CHECK(error.code() == errc::log_damaged);
    }
    f.put(byte_view(bad).first(data_at + 10));
    CHECK_THROWS_AS(f.log->read(0), std::system_error);
}

TEST_CASE("A51: on a full disk nothing counts as kept, and when there is room the log goes on") {
    random_engine random(10);
    for (std::uint64_t room = 0; room < 400; room += 1 + random.below(16)) {
        fixture f;
        records all{record_of(random, 30)};
        append(f.start(), all);
        f.d.bytes_left = room;
        const records batch{record_of(random, 100), record_of(random, 100), record_of(random, 60)};
        const std::error_code failure = append_failure(*f.log, batch);
        if (room < 260 + 3 * overhead) {
            CHECK(failure == errc::disk_full);
            CHECK(f.log->size() == 1);
            CHECK(f.log->read(0) == all[0]);
            if (random.chance(0.5)) f.start();  // as after kill -9
            CHECK(f.log->size() == 1);
        } else {
            CHECK_FALSE(failure);
            extend(all, batch);
        }
        f.d.bytes_left = 1'000'000;
        append(*f.log, batch);
        extend(all, batch);
        f.start();
        CHECK(f.replayed == all);
    }
}

TEST_CASE("A51: a sync that fails keeps nothing, and the next append is whole") {
    random_engine random(11);
    for (const bool resizes_fail : {false, true}) {
        fixture f;
        records all{record_of(random, 30)};
        append(f.start(), all);
        f.d.syncs_fail = true;
        f.d.resizes_fail = resizes_fail;
        CHECK(append_failure(*f.log, {record_of(random, 300), record_of(random, 300)}) == errc::disk_failed);
        CHECK(f.log->size() == 1);
        f.d.syncs_fail = false;
        const records next{record_of(random, 10)};
        append(*f.log, next);
        extend(all, next);
        for (int i = 0; i < 2; ++i) {
            f.start();
            CHECK(f.replayed == all);
        }
        f.d.resizes_fail = false;
        f.start().append(next[0]);
        extend(all, next);
        f.start();
        CHECK(f.replayed == all);
    }
}

TEST_CASE("A51: a log that could not be begun is begun the next time") {
    for (const std::uint64_t room : {0U, 1U, 71U, 72U, 300U, 512U, 600U, 1100U, 1535U}) {
        fixture f;
        f.d.bytes_left = room;
        f.d.resizes_fail = room % 2 == 1;
        CHECK(f.failure() == (room % 2 == 1 ? errc::disk_failed : errc::disk_full));
        f.d.resizes_fail = false;
        f.d.bytes_left = 1'000'000;
        f.start().append(as_bytes("x"));
        f.start();
        CHECK(f.replayed.size() == 1);
    }
    // A crash may leave any part of the beginning, under another name.
    fixture f;
    f.start();
    f.log.reset();
    const byte_vector begun = f.bytes();
    for (std::size_t size = 0; size <= begun.size(); size += 12) {
        std::filesystem::remove(f.path());
        write_file(f.dir / "a.log.new", byte_view(begun).first(size));
        f.start().append(as_bytes("x"));
        f.start();
        CHECK(f.replayed.size() == 1);
        CHECK_FALSE(std::filesystem::exists(f.dir / "a.log.new"));
    }
}

TEST_CASE("A51: a log is begun only when its name is safe, also where somebody was killed just before that") {
    fixture f;
    f.start();
    const auto is_folder = [&f](const std::string& path) { return path == f.dir.string(); };
    CHECK(std::ranges::any_of(f.d.synced(), is_folder));
    f.d.forget_synced();
    f.start().append(as_bytes("x"));
    CHECK(std::ranges::any_of(f.d.synced(), is_folder));
    f.d.forget_synced();
    f.start();
    CHECK(f.d.synced().empty());
}

TEST_CASE("A51: a log that cannot be read is not cut") {
    fixture f;
    f.start().append(as_bytes("x"));
    const byte_vector good = f.bytes();
    f.d.reads_fail = true;
    CHECK(f.failure() == errc::disk_failed);
    CHECK(f.bytes() == good);
    f.d.reads_fail = false;
    f.start();
    CHECK(f.replayed.size() == 1);
}

TEST_CASE("any run of appends, failures, crashes and starts keeps what was acknowledged, once and in order") {
    random_engine random(12);
    for (int round = 0; round < 30; ++round) {
        fixture f;
        records sure;
        f.start();
        for (int step = 0; step < 60; ++step) {
            records batch;
            for (std::uint32_t i = 1 + random.below(5); i > 0; --i)
                batch.push_back(record_of(random, random.below(120)));
            f.d.bytes_left = random.chance(0.3) ? random.below(400) : 1'000'000'000;
            f.d.syncs_fail = random.chance(0.2);
            f.d.resizes_fail = random.chance(0.3);
            if (!append_failure(*f.log, batch)) extend(sure, batch);
            CHECK(f.log->size() == sure.size());
            f.d.bytes_left = 1'000'000'000;
            f.d.syncs_fail = false;
            if (!random.chance(0.2)) continue;
            // What failed may be there all the same: it was not acknowledged, but it is true.
            f.start();
            REQUIRE(is_prefix(sure, f.replayed));
            CHECK(f.replayed.size() <= sure.size() + batch.size());
            sure = f.replayed;
        }
    }
}

TEST_CASE("A52: kill -9 at any moment loses and doubles no acknowledged record") {
    random_engine random(13);
    temp_dir dir;
    real_disk d;
    std::uint64_t acknowledged = 0;
    for (int kills = 0; kills < 30; ++kills) {
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        const std::uint32_t batch_size = 1 + random.below(40);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            try {
                chat_log log(d, dir.string(), "a.log", key_of(), nullptr);
                for (;;) {
                    std::vector<std::string> texts;
                    for (std::uint32_t i = 0; i < batch_size; ++i) texts.push_back(std::to_string(log.size() + i));
                    std::vector<byte_view> views;
                    for (const std::string& text : texts) views.push_back(as_bytes(text));
                    log.append(views);
                    const std::uint64_t size = log.size();
                    if (::write(ends[1], &size, sizeof size) != sizeof size) ::_exit(1);
                }
            } catch (...) {
                ::_exit(1);
            }
        }
        ::close(ends[1]);
        // The number of acknowledgements seen is random, and so is where in the next one the child is.
        for (std::uint32_t i = random.below(12); i > 0; --i)
            REQUIRE(::read(ends[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged);
        ::kill(child, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        while (::read(ends[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged) continue;
        ::close(ends[0]);
        std::uint64_t seen = 0;
        const auto each = [&](std::uint64_t index, byte_view payload) {
            CHECK(as_text(payload) == std::to_string(index));
            ++seen;
        };
        const chat_log log(d, dir.string(), "a.log", key_of(), each);
        CHECK(seen >= acknowledged);
        CHECK(seen <= acknowledged + batch_size);
        acknowledged = seen;
    }
    CHECK(acknowledged > 100);
}

TEST_CASE("two programs never have one log open") {
    temp_dir dir;
    real_disk d;
    auto first = std::make_unique<chat_log>(d, dir.string(), "a.log", key_of(), nullptr);
    first->append(as_bytes("x"));
    std::error_code code;
    try {
        chat_log second(d, dir.string(), "a.log", key_of(), nullptr);
    } catch (const std::system_error& error) {
        code = error.code();
    }
    CHECK(code == std::errc::device_or_resource_busy);
    first->append(as_bytes("y"));
    first.reset();
    chat_log third(d, dir.string(), "a.log", key_of(), nullptr);
    CHECK(third.size() == 2);
}

TEST_CASE("a long log is replayed in order, and every record can be read back") {
    temp_dir dir;
    real_disk d;
    constexpr std::uint64_t count = 20'000;
    {
        chat_log log(d, dir.string(), "a.log", key_of(), nullptr);
        std::vector<std::string> texts;
        for (std::uint64_t i = 0; i < count; ++i) texts.push_back(std::string(i % 200, '.') + std::to_string(i));
        std::vector<byte_view> views;
        for (const std::string& text : texts) views.push_back(as_bytes(text));
        log.append(views);
    }
    std::uint64_t seen = 0;
    const auto each = [&](std::uint64_t index, byte_view payload) {
        if (index == seen && as_text(payload).ends_with(std::to_string(index))) ++seen;
    };
    chat_log log(d, dir.string(), "a.log", key_of(), each);
    CHECK(seen == count);
    for (std::uint64_t i = 0; i < count; i += 997) CHECK(as_text(log.read(i)).ends_with(std::to_string(i)));
}

}  // namespace chat_log_test
