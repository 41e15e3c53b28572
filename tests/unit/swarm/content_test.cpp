#include <doctest/doctest.h>

#include <filesystem>
#include <optional>
#include <thread>

#include <cohort/net/timeout.hpp>
#include <cohort/swarm/content.hpp>

#include "support/eventually.hpp"
#include "support/faulty_disk.hpp"
#include "support/gated_pool.hpp"
#include "support/memory_stream.hpp"
#include "support/net.hpp"
#include "support/run.hpp"
#include "support/temp_dir.hpp"
#include "support/test_content.hpp"

namespace content_test {

using namespace cohort;
using namespace cohort::test;

namespace {

constexpr std::uint32_t piece_length = 64 * 1024;

/// Content of three and a half pieces in two files, being downloaded.
struct download_to_disk {
    explicit download_to_disk(network& net, std::uint32_t length_of_piece = piece_length) {
        info->files = entries({{"one", 100'000}, {"two", 3 * piece_length + 20'000 - 100'000}});
        info->total_size = bytes.size();
        info->piece_length = length_of_piece;
        info->piece_hashes = hashes_of(bytes, length_of_piece);
        files = std::make_shared<torrent_files>(disk, info->files, info->layout(), folder.string());
        journal = std::make_shared<resume_journal>(disk, folder.string(), info->hash, *files);
        files->create();
        where.emplace(net.executor(), pool, files, info, journal,
                      content::handlers{[this](const piece_verdict& one) { verdicts.push_back(one); },
                                        [this](const std::exception_ptr& why) { note(why); }});
    }

    byte_view piece(piece_index index) const {
        const piece_layout layout = info->layout();
        return byte_view(bytes).subspan(layout.offset(index), layout.piece_size(index));
    }
    void note(const std::exception_ptr& why) {
        try {
            std::rethrow_exception(why);
        } catch (const std::system_error& error) {
            failures.push_back(error.code());
            words = error.what();
        }
    }
    void write_piece(piece_index index) { where->write(index, 0, {piece(index)}, nullptr); }

    temp_dir folder;
    faulty_disk disk;
    gated_pool pool;
    byte_vector bytes = random_bytes(3 * piece_length + 20'000);
    std::shared_ptr<metainfo> info = std::make_shared<metainfo>();
    std::shared_ptr<torrent_files> files;
    std::shared_ptr<resume_journal> journal;
    std::vector<piece_verdict> verdicts;
    std::vector<std::error_code> failures;
    std::string words;
    std::optional<content> where;
};

}  // namespace

TEST_CASE("blocks in any order become a verified piece on the disk and in the journal") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        const byte_view piece = it.piece(1);
        it.where->write(1, 32'768, {piece.subspan(32'768, 16'384), piece.subspan(49'152)}, nullptr);
        it.where->write(1, 0, {piece.first(16'384)}, nullptr);
        it.where->write(1, 16'384, {piece.subspan(16'384, 16'384)}, nullptr);
        it.where->finish(1, false);
        co_await it.where->drain();
        CHECK(it.verdicts.size() == 1);
        CHECK(it.verdicts[0].piece == 1);
        CHECK(it.verdicts[0].passed);
        CHECK(it.verdicts[0].blocks.empty());
        byte_vector copy(piece_length);
        it.files->read(piece_length, copy);
        CHECK(as_text(byte_view(copy)) == as_text(piece));
        const resume_journal again(it.disk, it.folder.string(), it.info->hash, *it.files);
        CHECK(again.found().verified.get(1));
        CHECK(again.found().verified.count() == 1);
    });
}

TEST_CASE("a piece with a wrong block fails, with the digest of each block, and can be written again") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        byte_vector wrong(it.piece(0).begin(), it.piece(0).end());
        wrong[20'000] ^= 1;
        it.where->write(0, 0, {wrong}, nullptr);
        it.where->finish(0, false);
        co_await it.where->drain();
        CHECK(it.verdicts.size() == 1);
        CHECK_FALSE(it.verdicts[0].passed);
        CHECK(it.verdicts[0].blocks.size() == 4);

        it.write_piece(0);
        it.where->finish(0, true);
        co_await it.where->drain();
        CHECK(it.verdicts.size() == 2);
        CHECK(it.verdicts[1].passed);
        CHECK(it.verdicts[1].blocks.size() == 4);
        for (std::size_t i = 0; i < 4; ++i) {
            const bool same = it.verdicts[0].blocks[i] == it.verdicts[1].blocks[i];
            CHECK(same == (i != 1));
        }
        CHECK(it.failures.empty());
    });
}

TEST_CASE("a block's memory is held until it is written, and not longer") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        auto memory = std::make_shared<byte_vector>(it.piece(0).begin(), it.piece(0).end());
        const std::weak_ptr<byte_vector> watched = memory;
        const byte_view view = *memory;
        it.where->write(0, 0, {view}, std::move(memory));
        co_await it.where->drain();
        it.where->finish(0, false);
        co_await it.where->drain();
        CHECK(watched.expired());
        CHECK(it.verdicts.at(0).passed);
    });
}

TEST_CASE("room() waits while too much is on its way to the disk") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        std::atomic<bool> go_on = false;
        for (const std::uint32_t lane : {0U, 1U})
            it.pool.post(lane, [&go_on] {
                while (!go_on) std::this_thread::yield();
            });
        for (int i = 0; i < 200; ++i) it.where->write(0, 0, {it.piece(0)}, nullptr);
        std::error_code code;
        co_await store_error(code, with_timeout(net, 10ms, it.where->room()));
        CHECK(code == errc::timed_out);
        go_on = true;
        co_await it.where->room();
        co_await it.where->drain();
        CHECK(it.failures.empty());
    });
}

TEST_CASE("A51: a full disk is told once, with the file's name, and no piece counts that is not there") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        it.disk.bytes_left = 80'000;
        for (piece_index piece = 0; piece < 4; ++piece) {
            it.write_piece(piece);
            it.where->finish(piece, false);
        }
        co_await it.where->drain();
        CHECK(it.failures.size() == 1);
        CHECK(it.failures.at(0) == errc::disk_full);
        CHECK(it.words.find(it.folder.string()) != std::string::npos);
        it.disk.bytes_left = 1'000'000;
        const resume_journal again(it.disk, it.folder.string(), it.info->hash, *it.files);
        for (const piece_verdict& one : it.verdicts) {
            byte_vector copy(it.piece(one.piece).size());
            it.files->read(it.info->layout().offset(one.piece), copy);
            CHECK((!one.passed || as_text(byte_view(copy)) == as_text(it.piece(one.piece))));
        }
        CHECK(again.found().verified.count() <= 1);
    });
}

TEST_CASE("A51: a file that is removed while it is downloaded is noticed before its piece counts") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        it.write_piece(0);
        co_await it.where->drain();
        std::filesystem::remove(it.folder / "one");
        it.where->finish(0, false);
        co_await it.where->drain();
        CHECK(it.verdicts.empty());
        CHECK(it.failures.size() == 1);
        CHECK(it.failures.at(0) == errc::file_missing);
        CHECK(it.words.find("one") != std::string::npos);
    });
}

TEST_CASE("blocks to be sent come from the files, also across their border") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        it.write_piece(1);
        co_await it.where->drain();
        const block across{1, 32'768, 16'384};
        const auto bytes = it.where->block_to_send(across);
        CHECK(bytes->data.size() == 2);
        memory_stream link(net.executor());
        co_await link.write_segments(bytes->data);
        CHECK(as_text(byte_view(link.written)) == as_text(it.piece(1).subspan(32'768, 16'384)));
    });
}

TEST_CASE("A13: however often peers change the piece, it is made ready once at a time, and few pieces are at once") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net, 4096);
        const piece_index count = it.info->layout().piece_count();
        CHECK(count > 40);
        it.pool.shut();
        for (int i = 0; i < 1000; ++i) CHECK(it.where->about_to_serve(static_cast<piece_index>(i % 2)));
        CHECK(it.pool.held() == 2);
        for (piece_index piece = 0; piece < count; ++piece) CHECK(it.where->about_to_serve(piece) == (piece < 32));
        CHECK(it.pool.held() == 32);
        it.pool.open();
        co_await it.where->drain();
        it.pool.shut();
        CHECK(it.where->about_to_serve(0));
        CHECK(it.where->about_to_serve(count - 1));
        CHECK(it.pool.held() == 2);
        it.pool.open();
        co_await it.where->drain();
        CHECK(it.failures.empty());
    });
}

TEST_CASE("a file that cannot be opened for a block stops the torrent with its name") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        it.files->close();
        std::filesystem::remove(it.folder / "two");
        std::error_code code;
        try {
            it.where->block_to_send({2, 0, 16'384});
        } catch (const std::system_error& error) {
            code = error.code();
        }
        CHECK(code == errc::stopped);
        CHECK(it.failures.size() == 1);
        CHECK(it.failures.at(0) == errc::file_missing);
        CHECK(it.words.find("two") != std::string::npos);
        co_await it.where->drain();
    });
}

TEST_CASE("the journal gets a sign of life where blocks were written since the last, and only there") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        const auto journal_size = [&it] { return std::filesystem::file_size(it.folder / journal_name(it.info->hash)); };
        const auto before = journal_size();
        co_await it.where->sign_of_life();
        CHECK(journal_size() == before);
        it.where->write(1, 0, {it.piece(1).first(16'384)}, nullptr);
        co_await it.where->drain();
        it.disk.forget_synced();
        co_await it.where->sign_of_life();
        CHECK(journal_size() == before + 16);
        co_await it.where->sign_of_life();
        CHECK(journal_size() == before + 16);
        CHECK(it.disk.synced().empty());
    });
}

TEST_CASE("a checkpoint brings what was verified to safety") {
    run([](network& net) -> asio::awaitable<void> {
        download_to_disk it(net);
        it.write_piece(0);
        it.where->finish(0, false);
        co_await it.where->drain();
        it.disk.forget_synced();
        co_await it.where->checkpoint();
        CHECK_FALSE(it.disk.synced().empty());
        it.disk.syncs_fail = true;
        it.write_piece(1);
        it.where->finish(1, false);
        co_await it.where->drain();
        std::error_code code;
        co_await store_error(code, it.where->checkpoint());
        CHECK(code == errc::disk_failed);
    });
}

}  // namespace content_test
