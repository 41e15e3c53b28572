// Hashing what is on the disk already, spread over the pool, with progress.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <cohort/core/bitfield.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/torrent_files.hpp>
#include <cohort/storage/verify.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/run_job.hpp>

namespace cohort {

/// Hears how many of how many bytes have been checked.
using check_progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Whether the check is still wanted.
using check_wanted = std::function<bool()>;

namespace detail {

struct check_run {
    job_runner& pool;
    torrent_files& files;
    const metainfo& info;
    const bitfield& which;
    const check_progress& progress;
    const check_wanted& wanted;
    bitfield good;
    piece_index next = 0;
    std::uint64_t done = 0;
    std::uint64_t total = 0;
};

inline std::uint64_t bytes_of(const piece_layout& layout, const bitfield& which, piece_index first, piece_index last) {
    std::uint64_t sum = 0;
    for (piece_index piece = first; piece < last; ++piece) sum += which.get(piece) ? layout.piece_size(piece) : 0;
    return sum;
}

/// One lane's share: takes the next few pieces until none are left. A check that is not wanted any more fails: what
/// was not looked at must not count as not there.
inline asio::awaitable<void> check_lane(check_run& run, std::uint32_t lane) {
    const piece_layout layout = run.info.layout();
    const piece_index step = verify_step(layout);
    while (run.next < layout.piece_count()) {
        if (!run.wanted()) raise(errc::stopped);
        const piece_index first = run.next;
        const piece_index last = layout.piece_count() - first < step ? layout.piece_count() : first + step;
        run.next = last;
        const std::uint64_t bytes = bytes_of(layout, run.which, first, last);
        if (bytes == 0) continue;
        const auto work = [&run, first, last] {
            return verify_range(run.files, run.info.piece_hashes, first, last, run.which);
        };
        const std::vector<piece_index> found = co_await run_job(run.pool, lane, work);
        for (const piece_index piece : found) run.good.set(piece);
        run.done += bytes;
        if (run.progress) run.progress(run.done, run.total);
    }
}

}  // namespace detail

/// Completes with those of the pieces `which` whose data is there and right. All arguments outlive it. Throws the
/// disk's error, files that are missing or too short being none, and errc::stopped when the check is not wanted any
/// more. That, and cancelling, stops after at most 16 MiB, or two pieces, a lane.
inline asio::awaitable<bitfield> check_pieces(job_runner& pool, torrent_files& files, const metainfo& info,
                                              const bitfield& which, const check_progress& progress,
                                              const check_wanted& wanted) {
    const piece_layout layout = info.layout();
    detail::check_run run{pool, files, info, which, progress, wanted, bitfield(which.size())};
    run.total = detail::bytes_of(layout, which, 0, layout.piece_count());
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    task_group lanes(executor);
    for (std::uint32_t lane = 0; lane < pool.concurrency(); ++lane) lanes.spawn(detail::check_lane(run, lane));
    co_await lanes.join();
    co_return std::move(run.good);
}

}  // namespace cohort
