// A torrent's files as the engine uses them: blocks go in without waiting, verdicts on whole pieces come out.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <set>
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

/// Blocks on their way to the disk. A piece belongs to one lane of the pool; what comes while the lane is busy is its
/// next batch, so that the slower the disk and the hashing are the more they take at once, and pieces of one batch are
/// hashed two side by side. Everything else happens on the executor's thread. Bounded: who feeds it awaits room().
class content {
public:
    struct handlers {
        std::function<void(const piece_verdict&)> on_verdict;
        /// The disk failed, or memory ran out: what was on its way is lost, nothing verified is.
        std::function<void(std::exception_ptr)> on_failure;
    };

    content(asio::any_io_executor executor, job_runner& pool, std::shared_ptr<torrent_files> files,
            std::shared_ptr<const metainfo> info, std::shared_ptr<resume_journal> journal, handlers h)
        : executor_(std::move(executor)),
          pool_(pool),
          files_(std::move(files)),
          info_(std::move(info)),
          journal_(std::move(journal)),
          handlers_(std::move(h)),
          changed_(executor_),
          lanes_(pool.concurrency()) {}

    torrent_files& files() { return *files_; }

    /// Hands a run of blocks of one piece to the disk. `parts` together are the bytes from `begin` on and stay valid
    /// while `memory` is held. With finish_follows the caller says so next, and the disk hears both at once.
    void write(piece_index piece, std::uint32_t begin, std::vector<byte_view> parts, std::shared_ptr<const void> memory,
               bool finish_follows = false) {
        const std::size_t size = total_size(parts);
        const std::uint32_t to = hand_over({writer_of(piece), begin, std::move(parts), std::move(memory), size, false});
        if (!finish_follows) feed(to);
    }

    /// All blocks of the piece were handed over: the verdict follows. `digests` asks for those of the blocks of a good
    /// piece too.
    void finish(piece_index piece, bool digests) { feed(hand_over({writer_of(piece), 0, {}, {}, 0, digests})); }

    /// Says that blocks of a piece will be sent next: has it read ahead and, where we never write, makes sure that
    /// nobody changed its files since they were checked. Once is enough for all who ask meanwhile. False while so many
    /// are being prepared that the caller is to say it again with the next block: others choose how often the piece
    /// changes, and writes and verdicts are behind these in the lanes.
    bool about_to_serve(piece_index piece) {
        if (prepared_.contains(piece)) return true;
        if (prepared_.size() >= most_prepared) return false;
        const auto prepare = [files = files_, piece] {
            const piece_layout& layout = files->layout();
            files->prefetch(layout.offset(piece), layout.piece_size(piece));
            if (files->read_only()) files->check_unchanged(layout.offset(piece), layout.piece_size(piece));
        };
        start(piece, prepare, [this, piece] { prepared_.erase(piece); });
        prepared_.insert(piece);
        return true;
    }

    /// The bytes of a block. Throws errc::stopped if the files are not what they should be: on_failure has been told;
    /// std::bad_alloc if there is no memory for it, which is no failure of the files.
    std::shared_ptr<const outgoing_block> block_to_send(const block& range) {
        const auto found = std::make_shared<outgoing_block>();
        try {
            fill(*found, range);
        } catch (const std::system_error&) {
            fail(std::current_exception());
            raise(errc::stopped);
        }
        return found;
    }

    /// A file ended before what was to be sent of it: on_failure is told soon, with the file's name if it can be found.
    void shrunk() {
        start(0, [files = files_] {
            files->check_unchanged(0, files->layout().total_size());
            raise(errc::file_changed, "a file became shorter while it was sent");
        });
    }

    /// Completes when few enough bytes are on their way to the disk to take in more.
    asio::awaitable<void> room() {
        while (bytes_under_way_ > most_under_way && !failed_) co_await changed_.wait();
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

    /// What a lane takes at once, about: more would leave the processor's caches before it is hashed.
    static constexpr std::size_t batch_size = 4 * 1024 * 1024;

    /// Pieces that are made ready to be sent at the same time.
    static constexpr std::size_t most_prepared = 32;

    /// A run of blocks of one piece; or, without any, the end of the piece.
    struct piece_work {
        std::shared_ptr<piece_writer> writer;
        std::uint32_t begin;
        std::vector<byte_view> parts;
        std::shared_ptr<const void> memory;
        std::size_t size;
        bool digests;
    };
    struct batch {
        std::vector<piece_work> works;
        std::vector<piece_verdict> verdicts;
        std::size_t size = 0;
    };
    struct lane {
        std::deque<piece_work> waiting;
        bool busy = false;
    };

    /// Work on its way. Made as a whole before it starts: it must not end for want of memory to tell how it ended.
    struct job {
        std::function<void()> work;
        std::function<void()> done;
        std::exception_ptr failed;
    };

    template <class Attempt>
    static std::exception_ptr attempt(const Attempt& what) {
        try {
            what();
            return nullptr;
        } catch (...) {
            return std::current_exception();
        }
    }

    std::shared_ptr<piece_writer> writer_of(piece_index piece) {
        auto& writer = writers_[piece];
        if (!writer) writer = std::make_shared<piece_writer>(*files_, piece);
        return writer;
    }

    /// To the lane whose number is returned, which is to be fed.
    std::uint32_t hand_over(piece_work work) {
        // Pieces that follow one another mostly come one after the other: they meet in one lane.
        const std::uint32_t number = work.writer->piece() / 2 % static_cast<std::uint32_t>(lanes_.size());
        const std::size_t size = work.size;
        lanes_[number].waiting.push_back(std::move(work));
        bytes_under_way_ += size;
        return number;
    }

    /// Gives the lane its next batch if it is idle.
    void feed(std::uint32_t number) {
        lane& to = lanes_[number];
        if (to.busy || to.waiting.empty()) return;
        const auto next = std::make_shared<batch>();
        while (!to.waiting.empty() && next->size < batch_size) {
            next->works.push_back(std::move(to.waiting.front()));
            to.waiting.pop_front();
            next->size += next->works.back().size;
        }
        start(
            number,
            [next, files = files_, info = info_, journal = journal_] { run(*next, *files, *info, journal.get()); },
            [this, next, number] { ended(*next, number); });
        to.busy = true;
    }

    /// On the lane.
    static void run(batch& all, torrent_files& files, const metainfo& info, resume_journal* journal) {
        std::vector<piece_writer*> writers;
        for (const piece_work& one : all.works) {
            if (one.parts.empty()) continue;
            one.writer->store(one.begin, one.parts);
            if (std::find(writers.begin(), writers.end(), one.writer.get()) == writers.end())
                writers.push_back(one.writer.get());
        }
        piece_writer::hash_stored(writers);
        for (piece_work& one : all.works) {
            const bool is_end = one.parts.empty();
            if (is_end) {
                all.verdicts.push_back(judge(one, files, info, journal));
            } else {
                one.memory.reset();  // other blocks may come into it from now on
            }
        }
    }

    static piece_verdict judge(const piece_work& of, torrent_files& files, const metainfo& info,
                               resume_journal* journal) {
        piece_verdict out;
        out.piece = of.writer->piece();
        out.passed = of.writer->finish() == info.piece_hashes[out.piece];
        if (!out.passed || of.digests) out.blocks = block_digests(files, out.piece);
        if (out.passed && journal != nullptr) journal->append_verified(out.piece);
        return out;
    }

    void ended(const batch& all, std::uint32_t number) {
        lanes_[number].busy = false;
        bytes_under_way_ -= all.size;
        written_ = written_ || all.size > 0;
        for (const piece_verdict& verdict : all.verdicts) writers_.erase(verdict.piece);
        feed(number);
        for (const piece_verdict& verdict : all.verdicts) handlers_.on_verdict(verdict);
    }

    /// Runs `work` on the lane of that number and then `done` on our thread, unless it failed.
    void start(std::uint32_t number, std::function<void()> work, std::function<void()> done = {}) {
        auto started = std::make_shared<job>(job{std::move(work), std::move(done), nullptr});
        pool_.post(number, [this, one = std::move(started), alive = asio::make_work_guard(executor_)] {
            one->failed = attempt(one->work);
            one->work = nullptr;
            detail::post_result(alive.get_executor(), [this, one] { ended(*one); });
        });
        ++jobs_under_way_;
    }

    void ended(const job& one) {
        --jobs_under_way_;
        if (one.failed) fail(one.failed);
        if (!failed_ && one.done) {
            if (const std::exception_ptr halfway = attempt(one.done)) fail(halfway);
        }
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

    void fail(const std::exception_ptr& why) {
        if (!std::exchange(failed_, true)) handlers_.on_failure(why);
    }

    asio::any_io_executor executor_;
    job_runner& pool_;
    std::shared_ptr<torrent_files> files_;
    std::shared_ptr<const metainfo> info_;
    std::shared_ptr<resume_journal> journal_;
    handlers handlers_;
    wakeup changed_;
    std::map<piece_index, std::shared_ptr<piece_writer>> writers_;
    std::vector<lane> lanes_;
    std::set<piece_index> prepared_;  // by jobs under way
    std::size_t bytes_under_way_ = 0;
    std::size_t jobs_under_way_ = 0;
    bool written_ = false;  // blocks, since the last sign_of_life()
    bool failed_ = false;
};

}  // namespace cohort
