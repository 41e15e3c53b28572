#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/noise_network.hpp>
#include <cohort/net/peer_connection.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/traced_network.hpp>
#include <cohort/protocol/json.hpp>
#include <cohort/sim/world.hpp>

#include "support/net.hpp"
#include "support/run.hpp"
#include "support/stream_pair.hpp"

namespace traced_network_test {

using namespace cohort;

namespace {

const endpoint any_port{ip_address::loopback_v4(), 0};
const piece_layout layout{4 * 32'768, 32'768};

/// The lines of one or more traces, and what is in them.
struct notes {
    std::vector<std::string> lines;

    trace_sink sink() {
        return [this](std::string_view line) { lines.emplace_back(line); };
    }

    static std::string text(const json& line, const std::string& name) {
        const json* const member = json_member(line, name);
        return member == nullptr
                   ? ""
                   : std::string(member->is<std::string>() ? member->get<std::string>() : member->serialize());
    }
    /// "link dir message member.." of each line that has a link and is of `host`, or of all.
    std::vector<std::string> brief(const std::string& host = "", const std::vector<std::string>& members = {}) const {
        std::vector<std::string> out;
        for (const std::string& one : lines) {
            std::error_code ec;
            const auto line = parse_json(one, ec);
            REQUIRE_MESSAGE(line, one);
            if (json_member(*line, "link") == nullptr || (!host.empty() && text(*line, "host") != host)) continue;
            std::string words = text(*line, "link") + " " + text(*line, "dir") + " " + text(*line, "message");
            for (const std::string& name : members)
                if (json_member(*line, name) != nullptr) words += " " + text(*line, name);
            out.push_back(std::move(words));
        }
        return out;
    }
};

struct temporary_file {
    explicit temporary_file(std::size_t size) {
        char path[] = "/tmp/cohort-test-XXXXXX";
        handle = ::mkstemp(path);
        ::unlink(path);
        REQUIRE(::ftruncate(handle, static_cast<off_t>(size)) == 0);
    }
    ~temporary_file() { ::close(handle); }
    int handle;
};

handshake greeting(std::uint8_t who) {
    handshake out;
    out.hash.bytes.fill(1);
    out.id.bytes.fill(who);
    out.fast = true;
    return out;
}

/// Gives every block that is asked for out of a file, until the connection ends.
asio::awaitable<void> give(network& net, std::unique_ptr<stream> link, int file) {
    peer_connection peer(net, std::move(link));
    const auto answer = [](const info_hash&) { return std::optional<handshake>(greeting('s')); };
    co_await peer.handshake_as_listener(answer);
    peer.begin(layout, true);
    peer.queue(wire::have_all{});
    peer.queue(wire::unchoke{});
    co_await peer.flush();
    try {
        for (;;) {
            const message_batch batch = co_await peer.receive();
            for (const wire::message& message : batch.messages) {
                const auto* const wanted = std::get_if<wire::request>(&message);
                if (wanted == nullptr) continue;
                const std::vector<segment> data{file_slice{file, wanted->range.begin, wanted->range.length}};
                peer.queue_block(wanted->range, data, nullptr);
            }
            co_await peer.flush();
        }
    } catch (const std::system_error& error) {
        if (error.code() != errc::connection_closed) throw;
    }
}

asio::awaitable<void> take(network& net, endpoint from) {
    std::unique_ptr<stream> link = co_await net.connect(from);
    peer_connection peer(net, std::move(link));
    const handshake ours = greeting('l');
    co_await peer.handshake_as_dialler(ours);
    peer.begin(layout, true);
    task_group running(net.executor());
    running.spawn(peer.run());
    peer.queue(wire::interested{});
    while (peer.state().peer_choking) co_await peer.next_event();
    for (std::uint32_t i = 0; i < 2; ++i) {
        const block wanted = layout.block_at(0, i);
        const block_data got = co_await peer.request(wanted);
        CHECK(got.bytes.size() == wanted.length);
    }
    running.cancel();
    co_await running.join();
}

asio::awaitable<void> transfer(network& giving, network& taking, endpoint at) {
    const temporary_file file(65'536);
    const std::unique_ptr<listener> door = giving.listen(at);
    task_group tasks(taking.executor());
    tasks.spawn(take(taking, door->local_endpoint()));
    std::unique_ptr<stream> link = co_await door->accept();
    tasks.spawn(give(giving, std::move(link), file.handle));
    co_await tasks.join();
}

asio::awaitable<void> transfer_traced(network& net, notes& into) {
    traced_network giving(net, into.sink(), "seeder"), taking(net, into.sink(), "leecher");
    co_await transfer(giving, taking, any_port);
}

void turned(std::vector<std::string>& lines) {
    for (std::string& one : lines) {
        const std::size_t at = one.find(" out ");
        if (at != std::string::npos)
            one.replace(at, 5, " in ");
        else
            one.replace(one.find(" in "), 4, " out ");
    }
}

asio::awaitable<void> untraced_behaviour(network& machine, notes& into) {
    traced_network net(machine, into.sink());
    auto pair = co_await test::tcp_pair(net);
    CHECK(pair.first->remote_endpoint() == pair.second->local_endpoint());
    CHECK(pair.second->remote_endpoint() == pair.first->local_endpoint());
    byte_vector buffer(3);
    std::error_code error;
    co_await test::store_error(error, with_timeout(net, 5ms, read_exactly(*pair.second, buffer)));
    CHECK(error == errc::timed_out);
    error.clear();
    co_await test::store_error(error, with_timeout(net, 5ms, pair.second->readable()));
    CHECK(error == errc::timed_out);
    const std::vector<byte_view> parts{as_bytes("a"), {}, as_bytes("bc")};
    co_await pair.first->write(parts);
    co_await pair.second->readable();
    co_await read_exactly(*pair.second, buffer);
    CHECK(as_text(buffer) == "abc");

    const temporary_file file(3);
    const std::vector<segment> beyond{file_slice{file.handle, 1, 4}};
    error.clear();
    co_await test::store_error(error, pair.second->write_segments(beyond));
    CHECK(error == errc::file_changed);

    pair.first->finish();
    const std::size_t none = co_await pair.second->read_some(buffer);
    CHECK(none == 0);
    const std::size_t again = co_await pair.second->read_some(buffer);
    CHECK(again == 0);

    error.clear();
    const byte_span rest = byte_span(buffer);
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, pair.second->read_some(rest)));
    tasks.spawn(test::store_error(error, pair.first->readable()));
    co_await asio::post(net.executor(), asio::use_awaitable);
    pair.second->close();
    pair.second->close();
    pair.first->close();
    co_await tasks.join();
    error.clear();
    co_await test::store_error(error, write_all(*pair.first, as_bytes("x")));
    CHECK(is_cancellation(error));
}

asio::awaitable<void> doors(network& machine, notes& into) {
    traced_network net(machine, into.sink());
    std::unique_ptr<listener> door = net.listen(any_port);
    const endpoint at = door->local_endpoint();
    std::unique_ptr<stream> link = co_await net.connect(at);
    const std::unique_ptr<stream> theirs = co_await door->accept();
    std::error_code error;
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, door->accept()));
    co_await asio::post(net.executor(), asio::use_awaitable);
    co_await asio::post(net.executor(), asio::use_awaitable);
    door.reset();
    co_await tasks.join();
    CHECK(is_cancellation(error));
    error.clear();
    co_await test::store_error(error, net.connect(at));
    CHECK(error == std::errc::connection_refused);
    co_await write_all(*link, as_bytes("outlives its listener"));
    link.reset();
    const auto found = co_await net.resolve("127.0.0.1");
    CHECK(found.size() == 1);
    const time_point soon = net.now() + 1ms;
    co_await net.sleep_until(soon);
    CHECK(net.now() >= soon);
}

asio::awaitable<void> lost_connection(network& machine, notes& into) {
    traced_network net(machine, into.sink());
    std::unique_ptr<listener> door = machine.listen(any_port);
    const endpoint at = door->local_endpoint();
    const std::unique_ptr<stream> link = co_await net.connect(at);
    std::unique_ptr<stream> theirs = co_await door->accept();
    co_await write_all(*link, as_bytes("unread"));
    byte_vector one(1);
    co_await read_exactly(*theirs, one);
    theirs.reset();  // with something unread, so that it is a reset
    std::error_code error;
    co_await test::store_error(error, read_exactly(*link, one));
    CHECK(error == std::errc::connection_reset);
}

asio::awaitable<void> datagrams(network& machine, notes& into) {
    traced_network net(machine, into.sink());
    std::unique_ptr<datagram_socket> a = net.bind_udp(any_port);
    const std::unique_ptr<datagram_socket> b = net.bind_udp(any_port);
    const auto ask = udp_tracker::write_connect(7);
    co_await a->send(b->local_endpoint(), ask);
    byte_vector buffer(100);
    const auto came = co_await b->receive(buffer);
    CHECK(came.size == ask.size());
    CHECK(came.from == a->local_endpoint());
    std::error_code error;
    co_await test::store_error(error, with_timeout(net, 5ms, b->receive(buffer)));
    CHECK(error == errc::timed_out);
    error.clear();
    task_group tasks(net.executor());
    tasks.spawn(test::store_error(error, a->receive(buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    co_await asio::post(net.executor(), asio::use_awaitable);
    a.reset();
    co_await tasks.join();
    CHECK(is_cancellation(error));
}

asio::awaitable<void> over_and_under_noise(network& machine, notes& plain, notes& wire) {
    const identity ann(key32{1}), bob(key32{2});
    traced_network below(machine, wire.sink(), "wire");
    const auto everybody = [](const identity_key&) { return true; };
    noise_network of_ann(below, ann, everybody), of_bob(below, bob, everybody);
    traced_network taking(of_ann, plain.sink(), "ann"), giving(of_bob, plain.sink(), "bob");
    co_await transfer(giving, taking, any_port);
}

std::vector<std::string> simulated(std::uint64_t seed) {
    sim::world world(seed);
    sim::host& here = world.add_host({.latency = 20ms, .jitter = 5ms, .up = 1'000'000, .loss = 0.01});
    sim::host& there = world.add_host({.latency = 20ms, .jitter = 5ms});
    notes of_both;
    traced_network giving(here, of_both.sink(), "seeder"), taking(there, of_both.sink(), "leecher");
    const endpoint at{here.address(), 6881};
    world.run(transfer(giving, taking, at));
    return of_both.lines;
}

}  // namespace

TEST_CASE("a transfer through traced networks is told message by message, on both sides") {
    notes all;
    test::run([&all](network& net) { return transfer_traced(net, all); });
    const std::vector<std::string> members{"index", "begin", "length"};
    auto leecher = all.brief("leecher", members), seeder = all.brief("seeder", members);
    REQUIRE(leecher.size() == 11);
    CHECK(leecher.front() == "1 out connect");
    CHECK(leecher.back() == "1  close");
    CHECK(seeder.front() == "1 in accept");
    CHECK(seeder.back() == "1  close");
    const auto without_ends = [](std::vector<std::string>& lines) {
        std::erase_if(lines, [](const std::string& one) {
            return one.ends_with("connect") || one.ends_with("accept") || one.ends_with("close") ||
                   one.ends_with("end");
        });
    };
    without_ends(leecher);
    without_ends(seeder);
    CHECK(leecher.front() == "1 out handshake");
    for (const char* const one : {"1 in have_all", "1 in unchoke", "1 out interested", "1 out request 0 0 16384",
                                  "1 in piece 0 0 16384", "1 out request 0 16384 16384", "1 in piece 0 16384 16384"})
        CHECK_MESSAGE(std::count(leecher.begin(), leecher.end(), one) == 1, one);
    turned(seeder);
    std::sort(leecher.begin(), leecher.end());
    std::sort(seeder.begin(), seeder.end());
    CHECK(leecher == seeder);

    // 68 for the handshake; 13 before each block, which went out of a file.
    const auto closed = std::find_if(all.lines.begin(), all.lines.end(), [](const std::string& one) {
        return one.find(R"("host":"seeder")") != std::string::npos && one.find(R"("close")") != std::string::npos;
    });
    REQUIRE(closed != all.lines.end());
    const std::size_t sent = 68 + 5 + 5 + 2 * (13 + 16384), received = 68 + 5 + 2 * 17;
    CHECK(closed->find("\"sent\":" + std::to_string(sent) + ",\"received\":" + std::to_string(received) + "}") !=
          std::string::npos);
    CHECK(all.lines.front().starts_with(R"({"time":0.000000,"host":"seeder","message":"trace","clock":)"));
}

TEST_CASE("a traced stream behaves as the stream below it") {
    notes all;
    test::run([&all](network& net) { return untraced_behaviour(net, all); });
    const std::vector<std::string> expected{
        "1 out connect", "2 in accept", "1 out opaque", "2 in opaque",
        "2 out opaque",  "1 out end",   "2 in end",     "2  close 4 3 file became shorter while it was sent",
        "1  close 3 0"};
    const auto heard = all.brief("", {"sent", "received", "reason"});
    REQUIRE(heard.size() == expected.size());
    for (std::size_t i = 0; i < heard.size(); ++i) {
        if (i == 7)
            CHECK(heard[i].starts_with("2  close 4 3 "));
        else
            CHECK(heard[i] == expected[i]);
    }
}

TEST_CASE("a traced listener ends as the one below it, and its streams outlive it") {
    notes all;
    test::run([&all](network& net) { return doors(net, all); });
    const std::vector<std::string> expected{"1 out connect", "2 in accept", "3 out connect_failed",
                                            "1 out opaque",  "1  close",    "2  close"};
    CHECK(all.brief() == expected);
}

TEST_CASE("a trace says why a connection ended") {
    notes all;
    test::run([&all](network& net) { return lost_connection(net, all); });
    CHECK(all.brief("", {"reason"}).back() == "1  close Connection reset by peer");
}

TEST_CASE("traced UDP sockets tell each datagram once a side, and can be cancelled and destroyed") {
    notes all;
    test::run([&all](network& net) { return datagrams(net, all); });
    const std::vector<std::string> expected{"1  bind", "2  bind", "1 out connect_request 7", "2 in connect_request 7"};
    CHECK(all.brief("", {"transaction"}) == expected);
}

TEST_CASE("over an encrypted network a trace shows the messages, under it nothing but bytes") {
    notes plain, wire;
    test::run([&](network& net) { return over_and_under_noise(net, plain, wire); });
    const auto seen = plain.brief(), raw = wire.brief();
    CHECK(std::count(seen.begin(), seen.end(), "1 out piece") == 2);
    CHECK(std::count(seen.begin(), seen.end(), "1 in piece") == 2);
    CHECK(std::none_of(raw.begin(), raw.end(), [](const std::string& one) { return one.ends_with("piece"); }));
    CHECK(std::count(raw.begin(), raw.end(), "1 out opaque") == 1);
}

TEST_CASE("in a simulated world the same seed gives the same trace") {
    const auto one = simulated(3), same = simulated(3), other = simulated(4);
    CHECK(one.size() > 20);
    CHECK(one == same);
    CHECK(one != other);
}

}  // namespace traced_network_test
