#include <doctest/doctest.h>

#include <condition_variable>
#include <mutex>
#include <string_view>

#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cohort/net/listen_all.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>

#include "support/eventually.hpp"
#include "support/net.hpp"
#include "support/run.hpp"

namespace real_network_test {

using namespace cohort;

namespace {

/// A name server that does not answer before it may.
struct slow_name_server {
    std::mutex guard;
    std::condition_variable changed;
    bool asked = false;
    bool may_answer = false;

    void wait() {
        std::unique_lock lock(guard);
        asked = true;
        changed.wait_for(lock, 10s, [this] { return may_answer; });
    }
    bool is_asked() {
        const std::lock_guard lock(guard);
        return asked;
    }
    void answer() {
        const std::lock_guard lock(guard);
        may_answer = true;
        changed.notify_all();
    }
};

slow_name_server far_away;

}  // namespace

}  // namespace real_network_test

/// Stands before the system's own: what is asked for one name waits.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** out) {
    using function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static const auto system_function = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    if (node != nullptr && std::string_view(node) == "far-away.test") {
        real_network_test::far_away.wait();
        return EAI_AGAIN;
    }
    return system_function(node, service, hints, out);
}

namespace real_network_test {

namespace {

const ip_address loopback_v6 = *ip_address::parse("::1");

asio::awaitable<void> connect_both(network& net) {
    for (const ip_address& address : {ip_address::loopback_v4(), loopback_v6}) {
        auto door = net.listen({address, 0});
        CHECK(door->local_endpoint().port != 0);
        auto a = co_await net.connect(door->local_endpoint());
        auto b = co_await door->accept();
        CHECK(a->remote_endpoint() == door->local_endpoint());
        CHECK(b->remote_endpoint() == a->local_endpoint());
        CHECK(b->remote_endpoint().address == address);
    }
}

asio::awaitable<void> fail_to_connect(network& net, std::error_code& error) {
    endpoint nobody;
    {
        const auto door = net.listen({ip_address::loopback_v4(), 0});
        nobody = door->local_endpoint();
    }
    co_await test::store_error(error, net.connect(nobody));
}

asio::awaitable<void> cancel_accept(network& net, std::error_code& cancelled, std::error_code& closed) {
    auto door = net.listen({ip_address::loopback_v4(), 0});
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(cancelled, door->accept()));
    co_await asio::post(net.executor(), asio::use_awaitable);
    tasks.cancel();
    co_await tasks.join();

    // It still accepts.
    auto a = co_await net.connect(door->local_endpoint());
    auto b = co_await door->accept();

    task_group others(net.executor());
    others.spawn(test::store_error(closed, door->accept()));
    co_await asio::post(net.executor(), asio::use_awaitable);
    door->close();
    co_await others.join();
}

asio::awaitable<void> share_a_port(network& net) {
    const auto doors = listen_all(net, all_addresses(), 0);
    REQUIRE(doors.size() == 2);
    const std::uint16_t port = doors[0]->local_endpoint().port;
    CHECK(doors[1]->local_endpoint().port == port);
    std::error_code error;
    std::string what;
    try {
        net.listen({ip_address(), port});
    } catch (const std::system_error& failure) {
        error = failure.code();
        what = failure.what();
    }
    CHECK(error == std::errc::address_in_use);
    CHECK(what.find("0.0.0.0:" + std::to_string(port)) != std::string::npos);

    const auto sockets = bind_udp_all(net, all_addresses(), 0);
    REQUIRE(sockets.size() == 2);
    CHECK(sockets[0]->local_endpoint().port == sockets[1]->local_endpoint().port);
    co_return;
}

/// Takes all descriptors but a few, so that accept runs out of them.
class descriptor_famine {
public:
    descriptor_famine() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const int next = ::dup(0);
        ::close(next);
        rlimit tight = before_;
        tight.rlim_cur = static_cast<rlim_t>(next);
        ::setrlimit(RLIMIT_NOFILE, &tight);
    }
    ~descriptor_famine() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

asio::awaitable<void> starve_accept(network& net) {
    auto door = net.listen({ip_address::loopback_v4(), 0});
    auto a = co_await net.connect(door->local_endpoint());
    std::error_code error;
    {
        const descriptor_famine famine;
        co_await test::store_error(error, with_timeout(net, 10ms, door->accept()));
    }
    CHECK(error == errc::timed_out);
    auto b = co_await door->accept();
    CHECK(b->remote_endpoint() == a->local_endpoint());
}

asio::awaitable<void> exchange_datagrams(network& net) {
    for (const ip_address& address : {ip_address::loopback_v4(), loopback_v6}) {
        auto a = net.bind_udp({address, 0});
        auto b = net.bind_udp({address, 0});
        byte_vector buffer(10);
        co_await a->send(b->local_endpoint(), as_bytes("hello"));
        auto got = co_await b->receive(buffer);
        CHECK(got.from == a->local_endpoint());
        CHECK(as_text(byte_view(buffer).first(got.size)) == "hello");
        co_await b->send(got.from, as_bytes(""));
        got = co_await a->receive(buffer);
        CHECK(got.size == 0);
        co_await a->send(b->local_endpoint(), as_bytes("more than ten bytes"));
        got = co_await b->receive(buffer);
        CHECK(as_text(byte_view(buffer).first(got.size)) == "more than ");
    }
}

asio::awaitable<void> exchange_batches(network& net) {
    for (const ip_address& address : {ip_address::loopback_v4(), loopback_v6}) {
        auto a = net.bind_udp({address, 0});
        auto b = net.bind_udp({address, 0});
        datagram_batch out(100, 8);
        for (std::uint8_t i = 0; i < 100; ++i) {
            // Every third to a port where nobody is, which is no matter of the others.
            const endpoint to = i % 3 == 2 ? endpoint{address, 0} : b->local_endpoint();
            std::fill_n(out.room().begin(), 8, i);
            out.add(to, i % 8 + 1u);
        }
        co_await a->send_many(out);
        datagram_batch in(50, 4);
        std::vector<byte_vector> came;
        while (came.size() < 67) {
            in.clear();
            co_await b->receive_many(in);
            CHECK(in.size() <= 50);
            for (std::size_t i = 0; i < in.size(); ++i) {
                CHECK(in.address(i) == a->local_endpoint());
                came.emplace_back(in.bytes(i).begin(), in.bytes(i).end());
            }
        }
        for (std::uint8_t i = 0, at = 0; i < 100; ++i) {
            if (i % 3 != 2) CHECK(came[at++] == byte_vector(std::min(i % 8 + 1u, 4u), i));
        }
    }
}

/// What one destination refused does not disturb the others.
asio::awaitable<void> survive_refusal(network& net) {
    auto a = net.bind_udp({ip_address::loopback_v4(), 0});
    auto b = net.bind_udp({ip_address::loopback_v4(), 0});
    auto nobody = net.bind_udp({ip_address::loopback_v4(), 0});
    const endpoint gone = nobody->local_endpoint();
    nobody.reset();
    const endpoint of_other_family{loopback_v6, 1};
    byte_vector buffer(10);
    for (int i = 0; i < 3; ++i) {
        co_await a->send(gone, as_bytes("x"));
        co_await a->send(of_other_family, as_bytes("x"));
        co_await a->send(b->local_endpoint(), as_bytes("y"));
        const auto got = co_await b->receive(buffer);
        CHECK(got.size == 1);
        co_await b->send(a->local_endpoint(), as_bytes("z"));
        const auto back = co_await a->receive(buffer);
        CHECK(back.from == b->local_endpoint());
    }
}

asio::awaitable<void> receive_one(datagram_socket& from, byte_span into) { co_await from.receive(into); }

/// The descriptor of this process that is bound to the port.
int descriptor_at(std::uint16_t port) {
    for (int one = 0; one < 1024; ++one) {
        sockaddr_in at{};
        socklen_t size = sizeof at;
        if (::getsockname(one, reinterpret_cast<sockaddr*>(&at), &size) == 0 && at.sin_port == htons(port)) return one;
    }
    return -1;
}

/// The same where the system tells of refusals, as it does for some sockets.
asio::awaitable<void> survive_news(network& net, bool many) {
    auto a = net.bind_udp({ip_address::loopback_v4(), 0});
    auto b = net.bind_udp({ip_address::loopback_v4(), 0});
    auto nobody = net.bind_udp({ip_address::loopback_v4(), 0});
    const endpoint gone = nobody->local_endpoint();
    nobody.reset();
    const int yes = 1;
    const int descriptor = descriptor_at(a->local_endpoint().port);
    REQUIRE(::setsockopt(descriptor, IPPROTO_IP, IP_RECVERR, &yes, sizeof yes) == 0);
    co_await a->send(gone, as_bytes("x"));
    co_await b->send(a->local_endpoint(), as_bytes("z"));
    datagram_batch batch(2, 10);
    byte_vector buffer(10);
    std::error_code error;
    asio::awaitable<void> receiving = many ? a->receive_many(batch) : receive_one(*a, buffer);
    co_await test::store_error(error, std::move(receiving));
    CHECK_MESSAGE(!error, error.message());
}

asio::awaitable<void> end_receive(network& net, bool many, std::error_code& cancelled, std::error_code& closed) {
    auto socket = net.bind_udp({ip_address::loopback_v4(), 0});
    byte_vector buffer(10);
    task_group tasks(net.executor());
    datagram_batch batch(2, 10);
    tasks.spawn(test::store_error(cancelled, many ? socket->receive_many(batch) : receive_one(*socket, buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    tasks.cancel();
    co_await tasks.join();
    task_group others(net.executor());
    others.spawn(test::store_error(closed, many ? socket->receive_many(batch) : receive_one(*socket, buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    socket->close();
    co_await others.join();
}

asio::awaitable<void> resolve_names(network& net) {
    const auto literal = co_await net.resolve("192.0.2.1");
    CHECK(literal == std::vector<ip_address>{*ip_address::parse("192.0.2.1")});
    const auto six = co_await net.resolve("2001:db8::1");
    CHECK(six == std::vector<ip_address>{*ip_address::parse("2001:db8::1")});
    const auto local = co_await net.resolve("localhost");
    for (const ip_address& one : local) CHECK(one.is_loopback());
    CHECK(std::adjacent_find(local.begin(), local.end()) == local.end());
    std::error_code error;
    co_await test::store_error(error, net.resolve("no-such-host.invalid"));
    CHECK(error == errc::host_not_found);
}

asio::awaitable<void> resolve_slowly(network& net, std::error_code& error, bool& answered) {
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, net.resolve("far-away.test")));
    co_await test::eventually(net, [] { return far_away.is_asked(); });
    tasks.cancel();
    co_await tasks.join();
    answered = far_away.may_answer;
    far_away.answer();
    const auto later = co_await net.resolve("localhost");
    CHECK(!later.empty());
}

asio::awaitable<void> sleep_and_cancel(network& net) {
    const time_point start = net.now();
    co_await net.sleep_for(10ms);
    CHECK(net.now() - start >= 10ms);
    co_await net.sleep_until(start);
    std::error_code error;
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, net.sleep_for(1h)));
    tasks.cancel();
    co_await tasks.join();
    CHECK(is_cancellation(error));
    real_network other(net.executor());
    CHECK(net.random()() != other.random()());
}

}  // namespace

TEST_CASE("connections work over both families, and the ends know each other") { test::run(&connect_both); }

TEST_CASE("a refused connection compares with std::errc") {
    std::error_code error;
    test::run([&](network& net) { return fail_to_connect(net, error); });
    CHECK(error == std::errc::connection_refused);
}

TEST_CASE("a pending accept ends by cancelling it or closing its listener") {
    std::error_code cancelled;
    std::error_code closed;
    test::run([&](network& net) { return cancel_accept(net, cancelled, closed); });
    CHECK(is_cancellation(cancelled));
    CHECK(is_cancellation(closed));
}

TEST_CASE("both families share a port, and a taken one is named") { test::run(&share_a_port); }

TEST_CASE("running out of descriptors is waited out") { test::run(&starve_accept); }

TEST_CASE("only what is wrong with the listener itself ends it") {
    using detail::accept_failure;
    const auto judge = [](int number) { return detail::judge_accept({number, std::system_category()}); };
    for (const int number : {EBADF, EINVAL, ENOTSOCK}) CHECK(judge(number) == accept_failure::listener);
    for (const int number : {ECONNABORTED, EPROTO, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENOPROTOOPT})
        CHECK(judge(number) == accept_failure::connection);
    for (const int number : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) CHECK(judge(number) == accept_failure::shortage);
    CHECK(detail::judge_accept(asio::error::operation_aborted) == accept_failure::listener);
}

TEST_CASE("datagrams arrive with their sender, cut to the buffer") { test::run(&exchange_datagrams); }

TEST_CASE("datagrams go and come many at once, in order, and one that cannot be sent is left out") {
    test::run(&exchange_batches);
}

TEST_CASE("a datagram that nobody takes disturbs no other") {
    test::run(&survive_refusal);
    for (const bool many : {false, true}) test::run([=](network& net) { return survive_news(net, many); });
}

TEST_CASE("a pending receive ends by cancelling it or closing its socket") {
    for (const bool many : {false, true}) {
        std::error_code cancelled;
        std::error_code closed;
        test::run([&](network& net) { return end_receive(net, many, cancelled, closed); });
        CHECK(is_cancellation(cancelled));
        CHECK(is_cancellation(closed));
    }
}

TEST_CASE("names and literals resolve, and unknown names fail as such") { test::run(&resolve_names); }

TEST_CASE("whoever waits for a slow name server may leave") {
    std::error_code error;
    bool answered = true;
    test::run([&](network& net) { return resolve_slowly(net, error, answered); });
    CHECK(is_cancellation(error));
    CHECK_FALSE(answered);
}

TEST_CASE("sleeping takes its time and can be cancelled") { test::run(&sleep_and_cancel); }

}  // namespace real_network_test
