// Memory that runs out, at each allocation of a transfer in turn.
//
// What is counted and refused is operator new: containers, strings, buffers, shared state, closures, and the text of
// exceptions, in a tracker, a seeder and a leecher while they transfer a torrent in a simulated world. Not counted are
//  - Asio's coroutine frames and operations. It takes them from std::aligned_alloc() and starts operations inside a
//    noexcept await_suspend(), so that no program can hear of a lack there: std::terminate() is all it leaves. For the
//    same reason Asio's heap of timers is made large before anything is counted;
//  - what happens outside the io_context: that is the simulated world, which stands for kernels and cables.
//
// COHORT_ALLOCATION_STEP=1 plays all of them, COHORT_ALLOCATION=n only the n-th: the same n is the same place each
// time.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include <cohort/net/event_queue.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/sim/disk.hpp>
#include <cohort/sim/world.hpp>
#include <cohort/storage/worker_pool.hpp>
#include <cohort/swarm/run_session.hpp>
#include <cohort/swarm/swarm_chat.hpp>
#include <cohort/tracker.hpp>

#include "support/sim_world.hpp"
#include "support/test_content.hpp"

using namespace cohort;
using namespace cohort::test;

namespace {

/// The memory of the program, of which some is refused. One thread only.
struct limited_memory {
    bool may_refuse() const { return counts && spared == 0 && (!inside || inside->running_in_this_thread()); }

    /// Asked for each allocation.
    bool refuses() {
        if (!may_refuse()) return false;
        const std::uint64_t number = ++asked;
        if (number < first || refused == most) return false;
        ++refused;
        return true;
    }
    /// From the allocation `number` on so many are refused.
    void refuse(std::uint64_t number, std::uint64_t how_many) {
        first = number;
        most = how_many;
        asked = refused = 0;
        counts = true;
    }
    void restore() { counts = counts && refused == 0; }

    std::optional<asio::io_context::executor_type> inside;  // where it is counted; else everywhere
    bool counts = false;
    int spared = 0;
    std::uint64_t first = 0;
    std::uint64_t most = 0;
    std::uint64_t asked = 0;
    std::uint64_t refused = 0;
} memory;

/// What the test itself needs is always there.
struct spared {
    spared() { ++memory.spared; }
    ~spared() { --memory.spared; }
    spared(const spared&) = delete;
    spared& operator=(const spared&) = delete;
};

void* take(std::size_t size, std::size_t alignment) noexcept {
    if (memory.refuses()) return nullptr;
    if (alignment <= alignof(std::max_align_t)) return std::malloc(size == 0 ? 1 : size);
    void* out = nullptr;
    return ::posix_memalign(&out, alignment, size) == 0 ? out : nullptr;
}

void* take_or_throw(std::size_t size, std::size_t alignment) {
    if (void* const out = take(size, alignment)) return out;
    throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return take_or_throw(size, 1); }
void* operator new[](std::size_t size) { return take_or_throw(size, 1); }
void* operator new(std::size_t size, std::align_val_t to) { return take_or_throw(size, static_cast<std::size_t>(to)); }
void* operator new[](std::size_t size, std::align_val_t to) {
    return take_or_throw(size, static_cast<std::size_t>(to));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size, 1); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size, 1); }
void* operator new(std::size_t size, std::align_val_t to, const std::nothrow_t&) noexcept {
    return take(size, static_cast<std::size_t>(to));
}
void* operator new[](std::size_t size, std::align_val_t to, const std::nothrow_t&) noexcept {
    return take(size, static_cast<std::size_t>(to));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

namespace {

constexpr std::uint32_t piece_length = 32 * 1024;
constexpr std::size_t content_size = 4 * piece_length + 1'000;
constexpr std::uint64_t too_often = 100'000;
constexpr duration lack_lasts = 5s;

/// What people saw of it.
struct troubles {
    int torrents = 0;  ///< that said why they cannot go on, and went on when told to
    int programs = 0;  ///< that ended, and were started again
};

/// A tracker, a seeder and a leecher, each with somebody who goes on as soon as there is memory again.
class small_world {
public:
    explicit small_world(bool starts_anew) : starts_anew_(starts_anew), world_(1) {
        prepare_timers();
        seeder_.platters = std::make_shared<sim::medium>(2);
        sim::disk d(seeder_.platters);
        d.create_directories({"/d", ""});
        d.open({"/d", info_.name}, open_mode::create)->write_at(0, bytes_);
        leecher_.platters = std::make_shared<sim::medium>(3);
    }

    /// Plays a transfer in which memory is refused as `memory` says. Returns what it came to.
    troubles play() {
        task_group people(tracker_host_.executor());
        people.spawn(keep_tracking());
        people.spawn(keep_running(seeder_));
        people.spawn(keep_running(leecher_));
        look_after();
        world_.run(transfer(*this), 1h);
        memory.counts = false;
        people.cancel();
        world_.run(join(people));
        check_nothing_left(world_);
        CHECK(content_on(leecher_) == bytes_);
        CHECK(memory.refused < too_often);
        return seen_;
    }

private:
    struct node {
        explicit node(sim::host& at) : host(at) {}
        sim::host& host;
        std::shared_ptr<sim::medium> platters;
        std::unique_ptr<cohort::session> session;
        std::shared_ptr<cohort::torrent> torrent;
        std::unique_ptr<task_group> readers;
    };

    void prepare_timers() {
        std::vector<asio::steady_timer> many;
        for (int i = 0; i < 1000; ++i) {
            many.emplace_back(tracker_host_.executor(), asio::steady_timer::time_point::max());
            many.back().async_wait([](const std::error_code&) {});
        }
        memory.inside = *tracker_host_.executor().target<asio::io_context::executor_type>();
    }

    byte_vector content_on(const node& it) const {
        sim::disk d(it.platters);
        const auto file = d.open({"/d", info_.name}, open_mode::read);
        byte_vector out(static_cast<std::size_t>(file->size()));
        file->read_at(0, out);
        return out;
    }

    /// Once a second.
    void look_after() {
        if (memory.refused > 0 && !lack_began_) lack_began_ = world_.time().now();
        if (lack_began_ && world_.time().now() - *lack_began_ >= lack_lasts) memory.restore();
        const bool done = leecher_.torrent && leecher_.torrent->status().state == torrent_state::seeding;
        over_ = over_ || (done && !memory.counts) || (done && memory.refused == 0);
        if (over_) return changed_.notify();
        world_.time().after(1s, [this] { look_after(); });
    }

    static asio::awaitable<void> transfer(small_world& in) {
        while (!in.over_) co_await in.changed_.wait();
    }
    static asio::awaitable<void> join(task_group& group) { co_await group.join(); }

    asio::awaitable<void> keep_tracking() {
        for (;;) {
            auto one = made_tracker();
            std::error_code why;
            try {
                co_await one->run();
            } catch (...) {
                why = caught_error();
            }
            if (is_over(why)) co_return;
        }
    }
    std::unique_ptr<tracker> made_tracker() {
        const spared ours;
        return tracker_at(tracker_host_);
    }

    /// One program after the other, until one is told to end.
    asio::awaitable<void> keep_running(node& it) {
        for (;;) {
            start(it);
            std::error_code why;
            try {
                co_await run_session(*it.session, use(it));
            } catch (...) {
                why = caught_error();
            }
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
            it.readers->cancel();
            co_await it.readers->join();
            it.torrent.reset();
            it.session.reset();
            co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
            if (is_over(why)) co_return;
        }
    }

    /// After a program has ended: whether that was to be.
    bool is_over(const std::error_code& why) {
        const spared ours;
        if (over_) return true;
        INFO("a program ended: " << why.message());
        CHECK(why == std::errc::not_enough_memory);
        ++seen_.programs;
        memory.restore();
        return false;
    }

    void start(node& it) {
        const spared ours;
        session_options options;
        options.addresses = {it.host.address()};
        it.session = std::make_unique<session>(it.host, std::make_unique<sim::disk>(it.platters),
                                               std::make_unique<sim::jobs>(it.host.executor()), options);
        torrent_options how;
        how.content.path = "/d";
        how.announcing.more_trackers = {"http://" + tracker_host_.address().to_string() + ":6969/announce"};
        how.keep_journal = true;
        it.torrent = it.session->add(info_, how);
        it.readers = std::make_unique<task_group>(it.host.executor());
        it.readers->spawn(read_events(it));
    }

    /// Completes never: throws what a program would tell its user.
    asio::awaitable<void> use(node& it) {
        for (;;) {
            std::error_code why;
            try {
                co_await it.torrent->ended();
            } catch (...) {
                why = caught_error();
            }
            if (starts_anew_ || why != std::errc::not_enough_memory) raise(why);
            ++seen_.torrents;
            memory.restore();
            it.torrent->resume();
        }
    }

    /// What is said to be verified is on the disk at that moment.
    asio::awaitable<void> read_events(node& it) {
        for (;;) {
            std::optional<torrent_event> what;
            try {
                what = co_await it.torrent->next_event();
            } catch (const std::bad_alloc&) {
                // An event is lost; or we are cancelled, and there was no memory to say so.
            }
            const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none) co_return;
            if (!what) continue;
            const spared ours;
            if (const auto* const verified = std::get_if<event::piece_verified>(&*what)) {
                const piece_layout layout = info_.layout();
                const byte_vector there = content_on(it);
                CHECK(there.size() == bytes_.size());
                const auto size = layout.piece_size(verified->piece);
                const auto at = layout.offset(verified->piece);
                CHECK(std::equal(bytes_.begin() + static_cast<std::ptrdiff_t>(at),
                                 bytes_.begin() + static_cast<std::ptrdiff_t>(at + size),
                                 there.begin() + static_cast<std::ptrdiff_t>(at)));
            } else if (const auto* const failed = std::get_if<event::failed>(&*what)) {
                CHECK(failed->code == std::errc::not_enough_memory);
            }
        }
    }

    const byte_vector bytes_ = random_bytes(content_size);
    const metainfo info_ = info_of(bytes_, piece_length);
    const bool starts_anew_;
    sim::world world_;
    sim::host& tracker_host_ = world_.add_host();
    node seeder_{world_.add_host()};
    node leecher_{world_.add_host()};
    wakeup changed_{tracker_host_.executor()};
    bool over_ = false;
    std::optional<time_point> lack_began_;
    troubles seen_;
};

/// Returns whether there were so many allocations.
bool play(std::uint64_t number, std::uint64_t how_many, bool starts_anew, troubles& all) {
    INFO("from allocation " << number << " on " << how_many << " are refused");
    std::optional<small_world> world(std::in_place, starts_anew);
    memory.refuse(number, how_many);
    const troubles seen = world->play();
    memory.counts = false;
    world.reset();
    memory.inside.reset();
    all.torrents += seen.torrents;
    all.programs += seen.programs;
    return memory.refused > 0;
}

/// Lets `what` happen with each of its allocations refused in turn, until none is; returns how many were.
template <class What>
int refuse_each(const What& what) {
    for (int number = 1;; ++number) {
        memory.refuse(static_cast<std::uint64_t>(number), 1);
        bool threw = false;
        try {
            what();
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        memory.counts = false;
        CHECK(threw == (memory.refused > 0));
        if (memory.refused == 0) return number - 1;
    }
}

asio::awaitable<void> wait_for_ever(wakeup& never, bool& cancelled) {
    try {
        for (;;) co_await never.wait();
    } catch (const std::system_error& error) {
        cancelled = is_cancellation(error.code());
    }
}

/// Every few allocations of a transfer, with users who resume and others who start their programs again by turns.
void play_all(std::uint64_t how_many) {
    const std::uint64_t only = number_of("COHORT_ALLOCATION", 0);
    const std::uint64_t step = number_of("COHORT_ALLOCATION_STEP", 3);
    troubles all;
    std::uint64_t number = only == 0 ? 1 : only;
    std::uint64_t rounds = 0;
    while (play(number, how_many, number % 2 == 0, all)) {
        ++rounds;
        if (only != 0) return;
        number += step;
    }
    MESSAGE(memory.asked << " allocations, " << rounds << " rounds: " << all.torrents << " times a torrent went on, "
                         << all.programs << " times a program was started again");
    CHECK(all.torrents > 0);
    CHECK(all.programs > 0);
    CHECK(number > 900);
}

}  // namespace

TEST_CASE("a transfer of which any one allocation fails ends well, or says why it cannot go on and then goes on") {
    play_all(1);
}

TEST_CASE("the same when all memory is gone for a while") { play_all(too_often); }

TEST_CASE("a pool without memory for a job says so, runs those that it took, and ends") {
    std::atomic<int> taken = 0;
    std::atomic<int> shared = 0;
    int refused = 0;
    {
        worker_pool pool(3);
        refused =
            refuse_each([&] { pool.post(0, [&taken, padding = std::array<int, 8>()] { taken += 1 + padding[0]; }); });
        const std::function<void(std::uint32_t)> work = [&](std::uint32_t) { ++shared; };
        CHECK(refuse_each([&] { run_on_all_lanes(pool, work); }) >= 3);
    }
    CHECK(refused >= 2);
    CHECK(taken == 1);
    CHECK(shared >= 3);
}

TEST_CASE("a task for which there is no memory has failed, and the others end with it") {
    asio::io_context io;
    wakeup never(io.get_executor());
    bool cancelled = false;
    bool began = false;
    task_group tasks(io.get_executor());
    tasks.spawn(wait_for_ever(never, cancelled));
    CHECK(refuse_each([&] { tasks.admit(wait_for_ever(never, began)); }) == 1);
    io.poll();
    CHECK_FALSE(cancelled);
    memory.refuse(1, 1);
    tasks.spawn(wait_for_ever(never, began));
    memory.counts = false;
    std::exception_ptr failure;
    asio::co_spawn(io, tasks.join(), [&](std::exception_ptr why) { failure = why; });
    io.restart();
    io.run();
    CHECK(cancelled);
    CHECK_THROWS_AS(std::rethrow_exception(failure), std::bad_alloc);
}

TEST_CASE("an event that there is no memory for leaves a gap of which the reader hears") {
    using large = std::array<int, 1000>;
    asio::io_context io;
    basic_event_queue<large> events(io.get_executor());
    const auto next = [&] {
        int first = -1;
        asio::co_spawn(io, events.next(), [&](const std::exception_ptr& why, const large& got) {
            if (!why) first = got[0];
        });
        io.restart();
        io.run();
        return first;
    };
    events.push(large{1});
    memory.refuse(1, 1);
    events.push(large{2});
    memory.counts = false;
    CHECK(next() == 1);
    CHECK(next() == -1);
    events.push(large{3});
    CHECK(next() == 3);
}
