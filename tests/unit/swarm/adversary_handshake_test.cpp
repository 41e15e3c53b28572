// Strangers at the door (adversaries A01 to A05, A35): refused early, cheaply, and without harm to the others.
#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "support/eventually.hpp"
#include "support/heap.hpp"
#include "support/swarm_fixture.hpp"

namespace adversary_handshake_test {

using namespace cohort;
using namespace cohort::test;

namespace {

struct running_seeder {
    session& where;
    std::shared_ptr<torrent> it;
    endpoint address;
};

asio::awaitable<running_seeder> start_seeder(swarm_fixture& world, const shared_content& content) {
    session& where = world.start();
    running_seeder out{where, where.add(content.info, world.seeding(content)), world.address_of(where)};
    event_log log = world.log(out.it);
    co_await log.until<event::completed>();
    co_return out;
}

/// Somebody honest gets what he asks for.
asio::awaitable<void> expect_service(swarm_fixture& world, endpoint at, const shared_content& content,
                                     std::string_view name) {
    auto guest = co_await world.join(at, content.info.hash, name);
    guest->say(wire::interested{});
    co_await guest->flush();
    co_await guest->expect<wire::unchoke>();
    const block first = content.info.layout().block_at(0, 0);
    guest->say(wire::request{first});
    co_await guest->flush();
    const auto got = co_await guest->expect<wire::piece>();
    CHECK(as_text(got.data) == as_text(byte_view(content.bytes).first(first.length)));
}

/// Connections to `at` that are complete before anybody accepts them.
class waiting_guests {
public:
    waiting_guests(endpoint at, int count) {
        for (int i = 0; i < count; ++i) {
            const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            const auto address = to_asio<asio::ip::tcp>(at);
            if (::connect(one, address.data(), static_cast<socklen_t>(address.size())) == 0) sockets_.push_back(one);
        }
    }
    ~waiting_guests() { leave(); }
    waiting_guests(const waiting_guests&) = delete;
    waiting_guests& operator=(const waiting_guests&) = delete;
    void leave() {
        for (const int one : std::exchange(sockets_, {})) ::close(one);
    }
    std::size_t size() const { return sockets_.size(); }

private:
    std::vector<int> sockets_;
};

/// No descriptor above those that are open now, while it lives.
class no_more_descriptors {
public:
    no_more_descriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit tight = before_;
        // Every number below the limit must be taken.
        const int spare = ::dup(0);
        tight.rlim_cur = static_cast<rlim_t>(spare);
        ::close(spare);
        ::setrlimit(RLIMIT_NOFILE, &tight);
    }
    ~no_more_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    no_more_descriptors(const no_more_descriptors&) = delete;
    no_more_descriptors& operator=(const no_more_descriptors&) = delete;

private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("A01: whoever connects and says nothing is sent away after ten seconds, and disturbs nobody") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        auto silent = co_await dial_as_peer(world.real, seeder.address);
        co_await expect_service(world, seeder.address, content, "honest");
        world.net.shift(9s);
        co_await expect_service(world, seeder.address, content, "another");
        world.net.shift(1s);
        const std::size_t heard = co_await silent->expect_end();
        CHECK(heard == 0);
    });
}

TEST_CASE("A02: whoever drips his handshake is sent away after the same ten seconds") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        auto loris = co_await dial_as_peer(world.real, seeder.address);
        const auto bytes = encode(greeting_of(content.info.hash, "loris"));
        for (std::size_t second = 0; second < 10; ++second) {
            loris->say_bytes(byte_view(bytes).subspan(second, 1));
            co_await loris->flush();
            co_await take_turns(world.real, 20);
            world.net.shift(1s);
        }
        const std::size_t heard = co_await loris->expect_end();
        CHECK(heard == 0);
        co_await expect_service(world, seeder.address, content, "honest");
    });
}

TEST_CASE("A03: another protocol is refused at once, without a word") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        for (const std::string_view words : {"\x12"
                                             "BitTorrent protocol",
                                             "\x13"
                                             "BitTorrent protocoL",
                                             "SSH-2.0-x\r\n"}) {
            auto stranger = co_await dial_as_peer(world.real, seeder.address);
            stranger->say_bytes(as_bytes(words));
            co_await stranger->flush();
            const time_point before = world.real.now();
            const std::size_t heard = co_await stranger->expect_end();
            CHECK(heard == 0);
            CHECK(world.real.now() - before < 5s);
        }
        co_await expect_service(world, seeder.address, content, "honest");
    });
}

TEST_CASE("A04: whoever wants a torrent that is not here is refused at once, without a word") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        auto stranger = co_await dial_as_peer(world.real, seeder.address);
        const auto bytes = encode(greeting_of(info_hash{}, "stranger"));
        // The peer id is not waited for.
        stranger->say_bytes(byte_view(bytes).first(48));
        co_await stranger->flush();
        const std::size_t heard = co_await stranger->expect_end();
        CHECK(heard == 0);
        co_await expect_service(world, seeder.address, content, "honest");
    });
}

TEST_CASE("A35: hundreds of peers are bounded in number and in memory, and those who are in keep being served") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        constexpr std::size_t most = 200;
        std::vector<std::unique_ptr<stream>> guests;
        guests.reserve(most + 100);
        const heap_growth growth;
        for (std::size_t i = 0; i < most + 100; ++i) {
            std::unique_ptr<stream> link = co_await world.real.connect(seeder.address);
            const auto bytes = encode(greeting_of(content.info.hash, std::to_string(i)));
            co_await write_all(*link, bytes);
            guests.push_back(std::move(link));
        }
        const auto full = [&] { return seeder.it->status().peers == most; };
        co_await world.eventually(full);
        co_await world.take_turns(500);
        CHECK(full());
        // Ours and the guests' ends together.
        CHECK(growth.bytes() / most < 16 * 1024);
        // The first is still served, and one who leaves makes room for another.
        scripted_peer first(world.real, std::move(guests.front()));
        co_await first.expect_handshake();
        first.say(wire::interested{});
        co_await first.flush();
        co_await first.expect<wire::unchoke>();
        guests[1]->close();
        const auto room = [&] { return seeder.it->status().peers < most; };
        co_await world.eventually(room);
        co_await world.join(seeder.address, content.info.hash, "late");
    });
}

TEST_CASE("A35: connections that say nothing are bounded, and whoever came before them is served") {
    run_swarm_everywhere([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        std::vector<std::shared_ptr<scripted_peer>> silent;
        for (int i = 0; i < 150; ++i) {
            auto one = co_await dial_as_peer(world.real, seeder.address);
            silent.push_back(one);
        }
        // A hundred may think about what to say, the others are gone at once.
        for (std::size_t i = 100; i < silent.size(); ++i) {
            const std::size_t heard = co_await silent[i]->expect_end();
            CHECK(heard == 0);
        }
        world.net.shift(10s);
        for (std::size_t i = 0; i < 100; ++i) {
            const std::size_t heard = co_await silent[i]->expect_end();
            CHECK(heard == 0);
        }
        co_await expect_service(world, seeder.address, content, "honest");
    });
}

TEST_CASE("A35: a stranger whose many connections say nothing does not keep others out") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        session& giver = world.start(world.host(1), std::make_unique<real_disk>(), world.host(1).address());
        const auto seeded = giver.add(content.info, world.seeding(content));
        event_log log = world.log(seeded);
        co_await log.until<event::completed>();
        const endpoint at{world.host(1).address(), giver.port()};
        std::vector<std::shared_ptr<scripted_peer>> silent;
        for (int i = 0; i < 120; ++i) {
            auto one = co_await dial_as_peer(world.host(2), at);
            silent.push_back(one);
        }
        auto honest = co_await dial_as_peer(world.host(3), at);
        const handshake ours = greeting_of(content.info.hash, "honest");
        co_await honest->greet(ours);
        co_await honest->expect<wire::have_all>();
        for (std::size_t i = 8; i < silent.size(); ++i) {
            const std::size_t heard = co_await silent[i]->expect_end();
            CHECK(heard == 0);
        }
        world.net.shift(11s);
        co_await silent[0]->expect_end();
    });
}

TEST_CASE("A35: running out of descriptors does not end the accepting") {
    run_swarm([](swarm_fixture& world) -> asio::awaitable<void> {
        const shared_content content = world.make_content(100'000);
        const running_seeder seeder = co_await start_seeder(world, content);
        {
            waiting_guests guests(seeder.address, 20);
            CHECK(guests.size() == 20);
            const no_more_descriptors tight;
            co_await take_turns(world.real, 200);
            CHECK(::dup(0) == -1);
            CHECK(errno == EMFILE);
        }
        co_await expect_service(world, seeder.address, content, "honest");
    });
}

}  // namespace adversary_handshake_test
