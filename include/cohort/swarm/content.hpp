// A torrent's files as the engine uses them: blocks go in without waiting, verdicts on whole pieces come out.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/net/stream.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/piece_writer.hpp>
#include <cohort/storage/resume_journal.hpp>
#include <cohort/storage/torrent_files.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/run_job.hpp>

namespace cohort {

/// What became of a piece whose blocks were all written.
struct piece_verdict {
    piece_index piece = 0;
    bool passed = false;
    std::vector<sha1_digest> blocks;  ///< digest of each block, where asked for or the piece failed
};

/// A block on its way from the disk. `data` refers to what the others keep.
struct outgoing_block {
    std::vector<segment> data;
    std::vector<content_slice> files;
    byte_vector copy;  ///< where the disk has no file descriptors
};

/// Blocks on their way to the disk. Jobs of one piece run on one lane of the pool, in order; everything else happens on
/// the executor's thread. Bounded: who feeds it awaits room() between batches.
class content {
public:
    struct handlers {
        std::function<void(const piece_verdict&)> on_verdict;
        /// The disk failed: what was on its way is lost, nothing verified is.
        std::function<void(std::error_code, const std::string&)> on_failure;
    };

    content(asio::any_io_executor executor, job_runner& pool, std::shared_ptr<torrent_files> files,
            std::shared_ptr<const metainfo> info, std::shared_ptr<resume_journal> journal, handlers h)
        : executor_(std::move(executor)),
          pool_(pool),
          files_(std::move(files)),
          info_(std::move(info)),
          journal_(std::move(journal)),
          handlers_(std::move(h)),
          changed_(executor_) {}

    torrent_files& files() { return *files_; }

    /// Hands a run of blocks of one piece to the disk. `parts` together are the bytes from `begin` on and stay valid
    /// while `memory` is held.
    void write(piece_index piece, std::uint32_t begin, std::vector<byte_view> parts,
               std::shared_ptr<const void> memory) {
        std::size_t size = 0;
        for (const byte_view part : parts) size += part.size();
        post(piece, size, [begin, parts = std::move(parts), memory = std::move(memory)](piece_writer& writer) {
            writer.write(begin, parts);
        });
    }

    /// All blocks of the piece were handed over: the verdict follows. `digests` asks for those of the blocks of a good
    /// piece too.
    void finish(piece_index piece, bool digests) {
        const auto verdict = std::make_shared<piece_verdict>(piece_verdict{piece, false, {}});
        post(
            piece, 0,
            [this_files = files_, info = info_, journal = journal_, verdict, digests, piece](piece_writer& w) {
                verdict->passed = w.finish() == info->piece_hashes[piece];
                if (!verdict->passed || digests) verdict->blocks = block_digests(*this_files, piece);
                if (verdict->passed && journal) journal->append_verified(piece);
            },
            [this, verdict, piece] {
                writers_.erase(piece);
                handlers_.on_verdict(*verdict);
            });
    }

    /// Says that blocks of a piece will be sent next: has it read ahead and, where we never write, makes sure that
    /// nobody changed its files since they were checked.
    void about_to_serve(piece_index piece) {
        ++jobs_under_way_;
        auto guard = asio::make_work_guard(executor_);
        pool_.post(piece, [this, alive = files_, guard, piece] {
            const piece_layout& layout = alive->layout();
            const outcome result = attempt([&] {
                alive->prefetch(layout.offset(piece), layout.piece_size(piece));
                if (alive->read_only()) alive->check_unchanged(layout.offset(piece), layout.piece_size(piece));
            });
            asio::post(executor_, [this, result] { ended(0, result, {}); });
        });
    }

    /// The bytes of a block. Throws errc::stopped if the files are not what they should be: on_failure has been told.
    std::shared_ptr<const outgoing_block> block_to_send(const block& range) {
        const auto found = std::make_shared<outgoing_block>();
        const outcome result = attempt([&] { fill(*found, range); });
        if (result.code) {
            fail(result);
            raise(errc::stopped);
        }
        return found;
    }

    /// A file ended before what was to be sent of it: on_failure is told soon, with the file's name if it can be found.
    void shrunk() {
        ++jobs_under_way_;
        auto guard = asio::make_work_guard(executor_);
        pool_.post(0, [this, alive = files_, guard] {
            const outcome result = attempt([&] {
                alive->check_unchanged(0, alive->layout().total_size());
                raise(errc::file_changed, "a file became shorter while it was sent");
            });
            asio::post(executor_, [this, result] { ended(0, result, {}); });
        });
    }

    /// Completes when few enough bytes are on their way to the disk to take in more.
    asio::awaitable<void> room() {
        while (bytes_under_way_ > most_under_way) co_await changed_.wait();
    }

    /// Completes when nothing is on its way any more, whatever became of it; verdicts have been given by then.
    asio::awaitable<void> drain() {
        while (jobs_under_way_ > 0) co_await changed_.wait();
    }

    /// Keeps the journal no older than the files, if blocks were written since the last call. Throws the disk's error.
    asio::awaitable<void> sign_of_life() {
        if (!journal_ || !std::exchange(written_, false)) co_return;
        const auto note = [journal = journal_] { journal->append_sign_of_life(); };
        co_await run_job(pool_, 0, note);
    }

    /// Makes what was verified survive a loss of power, and notes in the journal that it does. Throws the disk's error.
    asio::awaitable<void> checkpoint() {
        if (!journal_) co_return;
        const auto save = [journal = journal_] { journal->checkpoint(); };
        co_await run_job(pool_, 0, save);
    }

private:
    static constexpr std::size_t most_under_way = 8 * 1024 * 1024;

    using work = std::function<void(piece_writer&)>;

    struct outcome {
        std::error_code code;
        std::string message;
    };

    template <class Attempt>
    static outcome attempt(const Attempt& what) {
        try {
            what();
            return {};
        } catch (const std::system_error& error) {
            return {error.code(), error.what()};
        }
    }

    /// Runs `job` on the piece's lane and then `done` on our thread, unless it failed.
    void post(piece_index piece, std::size_t size, work job, std::function<void()> done = {}) {
        auto& writer = writers_[piece];
        if (!writer) writer = std::make_shared<piece_writer>(*files_, piece);
        bytes_under_way_ += size;
        ++jobs_under_way_;
        auto guard = asio::make_work_guard(executor_);
        pool_.post(piece, [this, alive = files_, writer, size, guard, job = std::move(job), done = std::move(done)] {
            const outcome result = attempt([&] { job(*writer); });
            asio::post(executor_, [this, size, result, done] { ended(size, result, done); });
        });
    }

    void ended(std::size_t size, const outcome& result, const std::function<void()>& done) {
        bytes_under_way_ -= size;
        --jobs_under_way_;
        written_ = written_ || size > 0;
        if (result.code) fail(result);
        if (!failed_ && done) done();
        changed_.notify();
    }

    void fill(outgoing_block& out, const block& range) {
        static constexpr std::array<std::uint8_t, block_size> zeros{};
        out.files = files_->slices(files_->layout().offset(range.piece, range.begin), range.length);
        out.copy.reserve(range.length);
        for (const content_slice& slice : out.files) {
            if (slice.is_padding()) {
                out.data.emplace_back(byte_view(zeros).first(slice.range.length));
            } else if (slice.range.handle >= 0) {
                out.data.emplace_back(slice.range);
            } else {
                const std::size_t had = out.copy.size();
                out.copy.resize(had + slice.range.length);
                const byte_span part = byte_span(out.copy).subspan(had);
                if (slice.file->read_at(slice.range.offset, part) != part.size()) raise(errc::file_changed);
                out.data.emplace_back(byte_view(part));
            }
        }
    }

    void fail(const outcome& result) {
        if (!std::exchange(failed_, true)) handlers_.on_failure(result.code, result.message);
    }

    asio::any_io_executor executor_;
    job_runner& pool_;
    std::shared_ptr<torrent_files> files_;
    std::shared_ptr<const metainfo> info_;
    std::shared_ptr<resume_journal> journal_;
    handlers handlers_;
    wakeup changed_;
    std::map<piece_index, std::shared_ptr<piece_writer>> writers_;
    std::size_t bytes_under_way_ = 0;
    std::size_t jobs_under_way_ = 0;
    bool written_ = false;  // blocks, since the last sign_of_life()
    bool failed_ = false;
};

}  // namespace cohort
