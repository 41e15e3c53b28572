#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <cohort/net/noise_stream.hpp>
#include <cohort/net/task_group.hpp>

#include "support/net.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"
#include "support/tap_stream.hpp"

namespace noise_stream_test {

using namespace cohort;

namespace {

identity somebody(std::uint8_t number) { return identity(key32{number}); }

/// Two people, taps on the lines that they write to, and the streams between them once open() has completed.
struct two_ends {
    explicit two_ends(network& net) : clock(net), tasks(net.executor()) {}

    asio::awaitable<void> connect() {
        test::stream_pair links = co_await test::tcp_pair(clock);
        link_a = std::make_unique<test::tap_stream>(std::move(links.first));
        link_b = std::make_unique<test::tap_stream>(std::move(links.second));
        tap_a = link_a.get();
        tap_b = link_b.get();
    }

    asio::awaitable<void> open() {
        co_await connect();
        tasks.spawn(test::store(a, noise_stream::as_initiator(clock, std::move(link_a), ann, {}, options)));
        tasks.spawn(test::store(b, noise_stream::as_responder(clock, std::move(link_b), bob, {}, options_b)));
        co_await tasks.join();
        tap_a->written.clear();
        tap_a->writes = 0;
    }

    /// Both sides' errors when they try.
    asio::awaitable<void> fail_to_open(std::error_code& of_a, std::error_code& of_b) {
        tasks.spawn(
            test::store_error(of_a, noise_stream::as_initiator(clock, std::move(link_a), ann, welcome_to_a, options)));
        tasks.spawn(
            test::store_error(of_b, noise_stream::as_responder(clock, std::move(link_b), bob, welcome_to_b, options)));
        co_await tasks.join();
    }

    test::shifting_network clock;
    identity ann = somebody(1);
    identity bob = somebody(2);
    noise_stream::predicate welcome_to_a;
    noise_stream::predicate welcome_to_b;
    noise_stream_options options;
    noise_stream_options options_b;
    std::unique_ptr<test::tap_stream> link_a;
    std::unique_ptr<test::tap_stream> link_b;
    test::tap_stream* tap_a = nullptr;
    test::tap_stream* tap_b = nullptr;
    std::unique_ptr<noise_stream> a;
    std::unique_ptr<noise_stream> b;
    task_group tasks;
};

byte_vector random_bytes(std::size_t size, std::uint64_t seed) {
    byte_vector out(size);
    random_engine(seed).fill(out);
    return out;
}

/// Reads to the end of the stream, at most `step` bytes at a time; keeps the error if that is how it ended.
asio::awaitable<void> read_to_end(stream& from, byte_vector& out, std::size_t step, std::error_code& error) {
    byte_vector buffer(step);
    try {
        for (;;) {
            const std::size_t got = co_await from.read_some(buffer);
            if (got == 0) co_return;
            out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got));
        }
    } catch (const std::system_error& failure) {
        error = failure.code();
    }
}

asio::awaitable<void> talk(network& net) {
    two_ends both(net);
    co_await both.open();
    CHECK(both.a->remote() == both.bob.key());
    CHECK(both.b->remote() == both.ann.key());
    CHECK(both.a->remote_endpoint() == both.b->local_endpoint());
    CHECK(both.b->remote_endpoint() == both.a->local_endpoint());

    const std::vector<byte_view> parts{as_bytes("one "), {}, as_bytes("two")};
    co_await both.a->write(parts);
    CHECK(both.tap_a->writes == 1);
    CHECK(both.tap_a->written.size() == 2 + 7 + noise_tag);
    CHECK(as_text(both.tap_a->written).find("one") == std::string_view::npos);
    co_await both.b->readable();
    byte_vector buffer(7);
    co_await read_exactly(*both.b, buffer);
    CHECK(as_text(buffer) == "one two");
    co_await write_all(*both.b, as_bytes("back"));
    const std::size_t got = co_await both.a->read_some(buffer);
    CHECK(got == 4);

    // Three messages that came together are read together, and a byte at a time.
    for (const std::string_view text : {"ab", "cd", "ef"}) co_await write_all(*both.a, as_bytes(text));
    byte_vector one(1);
    std::string all;
    for (int i = 0; i < 4; ++i) {
        co_await both.b->readable();
        co_await read_exactly(*both.b, one);
        all += static_cast<char>(one[0]);
    }
    co_await both.b->readable();
    byte_vector rest(2);
    co_await read_exactly(*both.b, rest);
    CHECK(all + std::string(as_text(rest)) == "abcdef");

    const std::vector<byte_view> nothing{{}, {}};
    co_await both.a->write(nothing);
    CHECK(both.tap_a->writes == 4);
    both.a->finish();
    const std::size_t end = co_await both.b->read_some(buffer);
    CHECK(end == 0);
    co_await write_all(*both.b, as_bytes("still"));
    co_await read_exactly(*both.a, byte_span(buffer).first(5));
    CHECK(as_text(buffer).substr(0, 5) == "still");
}

asio::awaitable<void> send_sizes(network& net) {
    two_ends both(net);
    co_await both.open();
    for (const std::size_t size : {noise_max_payload - 1, noise_max_payload, noise_max_payload + 1,
                                   2 * noise_max_payload, 2 * noise_max_payload + 1, std::size_t{400'000}}) {
        const byte_vector bytes = random_bytes(size, size);
        byte_vector got(size);
        both.tap_a->writes = 0;
        both.tasks.spawn(write_all(*both.a, bytes));
        co_await read_exactly(*both.b, got);
        co_await both.tasks.join();
        CHECK(got == bytes);
        CHECK(both.tap_a->writes == (size + 2 * noise_max_payload - 1) / (2 * noise_max_payload));
    }
}

asio::awaitable<void> write_in_pieces(stream& to, const byte_vector& bytes, std::uint64_t seed) {
    random_engine random(seed);
    byte_view rest = bytes;
    while (!rest.empty()) {
        std::vector<byte_view> parts;
        for (std::uint32_t i = random.below(4); i < 4 && !rest.empty(); ++i) {
            const std::size_t size =
                std::min<std::size_t>(rest.size(), random.below(random.chance(0.2) ? 200'000 : 900));
            parts.push_back(rest.first(size));
            rest = rest.subspan(size);
        }
        co_await to.write(parts);
    }
    to.finish();
}

asio::awaitable<void> send_much(network& net) {
    for (const std::size_t step : {1'000u, 16'384u, 65'519u, 300'000u}) {
        two_ends both(net);
        both.options.rekey_messages = both.options_b.rekey_messages = 7;
        co_await both.open();
        const byte_vector there = random_bytes(3'000'000, 1);
        const byte_vector back = random_bytes(2'000'000, 2);
        byte_vector got_there;
        byte_vector got_back;
        std::error_code error;
        both.tasks.spawn(write_in_pieces(*both.a, there, 3));
        both.tasks.spawn(write_in_pieces(*both.b, back, 4));
        both.tasks.spawn(read_to_end(*both.a, got_back, step, error));
        both.tasks.spawn(read_to_end(*both.b, got_there, step, error));
        co_await both.tasks.join();
        CHECK(!error);
        CHECK(got_there == there);
        CHECK(got_back == back);
    }
}

asio::awaitable<void> disagree_about_keys(network& net) {
    two_ends both(net);
    both.options.rekey_messages = 2;
    both.options_b.rekey_messages = 3;
    co_await both.open();
    byte_vector got;
    std::error_code error;
    for (const std::string_view text : {"1", "2", "3"}) co_await write_all(*both.a, as_bytes(text));
    co_await read_to_end(*both.b, got, 10, error);
    CHECK(as_text(got) == "12");
    CHECK(error == errc::noise_failed);
}

struct temporary_file {
    explicit temporary_file(byte_view content) {
        char path[] = "/tmp/cohort-test-XXXXXX";
        handle = ::mkstemp(path);
        ::unlink(path);
        REQUIRE(::write(handle, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    }
    ~temporary_file() { ::close(handle); }
    int handle;
};

asio::awaitable<void> send_files(network& net) {
    two_ends both(net);
    co_await both.open();
    const byte_vector content = random_bytes(300'000, 5);
    const temporary_file file(content);
    const std::vector<segment> segments{as_bytes("<"),
                                        file_slice{file.handle, 1'000, 200'000},
                                        as_bytes("|"),
                                        file_slice{file.handle, 7, 0},
                                        file_slice{file.handle, 0, 3},
                                        as_bytes(">")};
    both.tasks.spawn(both.a->write_segments(segments));
    byte_vector got(200'006);
    co_await read_exactly(*both.b, got);
    co_await both.tasks.join();
    byte_vector wanted{'<'};
    wanted.insert(wanted.end(), content.begin() + 1'000, content.begin() + 201'000);
    wanted.push_back('|');
    wanted.insert(wanted.end(), content.begin(), content.begin() + 3);
    wanted.push_back('>');
    CHECK(got == wanted);
    CHECK(both.tap_a->writes == 2);

    std::error_code cut;
    const std::vector<segment> beyond{file_slice{file.handle, 299'990, 20}};
    co_await test::store_error(cut, both.a->write_segments(beyond));
    CHECK(cut == errc::file_changed);
}

constexpr std::size_t sealed_size = 2 + 5 + noise_tag;

/// "first", "other" and "third" are sent; the bytes of the three messages on the wire are what `how` makes of them.
asio::awaitable<void> damage(network& net, std::function<void(std::vector<byte_vector>&)> how, std::size_t step) {
    two_ends both(net);
    co_await both.open();
    both.tap_a->hold = true;
    for (const std::string_view text : {"first", "other", "third"}) co_await write_all(*both.a, as_bytes(text));
    std::vector<byte_vector> messages;
    for (std::size_t i = 0; i < 3; ++i) {
        const auto start = both.tap_a->written.begin() + static_cast<std::ptrdiff_t>(i * sealed_size);
        messages.emplace_back(start, start + sealed_size);
    }
    how(messages);
    for (const byte_vector& one : messages) co_await write_all(both.tap_a->inner(), one);
    both.a->finish();
    byte_vector got;
    std::error_code error;
    co_await read_to_end(*both.b, got, step, error);
    CHECK(as_text(got) == "first");
    CHECK(error == errc::noise_failed);
    // For good.
    error.clear();
    co_await test::store_error(error, both.b->read_some(got));
    CHECK(error == errc::noise_failed);
    error.clear();
    co_await test::store_error(error, write_all(*both.b, got));
    CHECK(error);
}

void check_damage(std::function<void(std::vector<byte_vector>&)> how) {
    for (const std::size_t step : {3u, 1'000u}) {
        test::run([&](network& net) { return damage(net, how, step); });
    }
}

asio::awaitable<void> promise_much(network& net) {
    two_ends both(net);
    co_await both.open();
    both.tap_b->largest_target = 0;
    byte_vector buffer(10);
    std::error_code error;
    both.tasks.spawn(test::store_error(error, both.b->read_some(buffer)));
    const byte_vector promise{0xff, 0xff, 1, 2, 3};
    co_await write_all(both.tap_a->inner(), promise);
    for (int i = 0; i < 10; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
    CHECK(both.tap_b->largest_target <= 16 * 1024);
    both.tap_a->inner().finish();
    co_await both.tasks.join();
    CHECK(error == errc::noise_failed);
}

asio::awaitable<void> cancel_and_close(network& net) {
    two_ends both(net);
    co_await both.open();
    byte_vector buffer(5);
    std::error_code error;
    co_await test::store_error(error, with_timeout(net, 5ms, both.b->read_some(buffer)));
    CHECK(error == errc::timed_out);
    // Half a message, then a cancelled read, then the rest.
    both.tap_a->hold = true;
    co_await write_all(*both.a, as_bytes("whole"));
    const byte_view sealed = both.tap_a->written;
    co_await write_all(both.tap_a->inner(), sealed.first(9));
    error.clear();
    co_await test::store_error(error, with_timeout(net, 5ms, both.b->read_some(buffer)));
    CHECK(error == errc::timed_out);
    co_await write_all(both.tap_a->inner(), sealed.subspan(9));
    co_await read_exactly(*both.b, buffer);
    CHECK(as_text(buffer) == "whole");

    error.clear();
    both.tasks.spawn(test::store_error(error, both.b->read_some(buffer)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    both.b->close();
    co_await both.tasks.join();
    CHECK(is_cancellation(error));
}

asio::awaitable<void> refuse_identity(network& net) {
    const auto nobody = [](const identity_key&) { return false; };
    std::error_code of_a;
    std::error_code of_b;
    two_ends first(net);
    co_await first.connect();
    first.welcome_to_a = nobody;
    co_await first.fail_to_open(of_a, of_b);
    CHECK(of_a == errc::identity_changed);
    CHECK(of_b == errc::connection_closed);

    two_ends second(net);
    co_await second.connect();
    second.welcome_to_b = nobody;
    of_b.clear();
    co_await second.fail_to_open(of_a, of_b);
    CHECK(of_b == errc::identity_changed);
}

asio::awaitable<void> damage_handshake(network& net, int message, std::size_t at) {
    two_ends both(net);
    co_await both.connect();
    int next = 0;
    const auto alter = [&next, message, at](byte_vector& bytes) {
        if (next++ == message) bytes.at(at) ^= 0x10;
    };
    both.tap_a->alter = alter;
    both.tap_b->alter = alter;
    std::error_code of_a;
    std::error_code of_b;
    // A message that became longer is waited for; the deadline ends that.
    both.options.handshake_timeout = 100ms;
    co_await both.fail_to_open(of_a, of_b);
    if (message < 2) CHECK(of_a);
    CHECK(of_b);
}

asio::awaitable<void> answer_wrongly(network& net) {
    const std::vector<std::string> answers{
        "\x13"
        "BitTorrent protocol and more",
        "\xff\xff long", std::string(2, '\0'), ""};
    for (const std::string& bytes : answers) {
        two_ends both(net);
        co_await both.connect();
        co_await write_all(both.tap_b->inner(), as_bytes(bytes));
        both.tap_b->inner().finish();
        std::error_code error;
        co_await test::store_error(
            error, noise_stream::as_initiator(net, std::move(both.link_a), both.ann, both.welcome_to_a, both.options));
        CHECK(error == (bytes.empty() ? errc::connection_closed : errc::noise_failed));
    }
}

asio::awaitable<void> never_answer(network& net) {
    two_ends both(net);
    co_await both.connect();
    std::error_code error;
    both.tasks.spawn(test::store_error(
        error, noise_stream::as_initiator(both.clock, std::move(both.link_a), both.ann, {}, both.options)));
    for (int i = 0; i < 5; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
    both.clock.shift(11s);
    co_await both.tasks.join();
    CHECK(error == errc::timed_out);

    two_ends cancelled(net);
    co_await cancelled.connect();
    error.clear();
    cancelled.tasks.spawn(test::store_error(
        error, noise_stream::as_responder(net, std::move(cancelled.link_b), cancelled.bob, {}, cancelled.options)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    cancelled.tasks.cancel();
    co_await cancelled.tasks.join();
    CHECK(is_cancellation(error));
    byte_vector rest(1);
    const std::size_t end = co_await cancelled.link_a->read_some(rest);
    CHECK(end == 0);
}

}  // namespace

TEST_CASE("a Noise stream carries bytes both ways between two identities, and nobody else can read them") {
    test::run(&talk);
}

TEST_CASE("a Noise stream divides what is written into messages, two of them a write") { test::run(&send_sizes); }

TEST_CASE("megabytes cross in both directions at once, in any pieces, with keys that change") { test::run(&send_much); }

TEST_CASE("sides that change their keys at different times do not understand each other") {
    test::run(&disagree_about_keys);
}

TEST_CASE("a Noise stream sends file ranges and notices a file that is too short") { test::run(&send_files); }

TEST_CASE("a message on a Noise stream altered at any byte ends it (A50)") {
    for (std::size_t at = 0; at < sealed_size; ++at) {
        check_damage([at](std::vector<byte_vector>& messages) { messages[1][at] ^= 0x04; });
    }
}

TEST_CASE("a Noise stream that is cut within a message has failed; one cut between two has ended (A50)") {
    for (std::size_t size = 1; size < sealed_size; ++size) {
        check_damage([size](std::vector<byte_vector>& messages) {
            messages[1].resize(size);
            messages.pop_back();
        });
    }
}

TEST_CASE("messages on a Noise stream that are replayed, left out, moved or empty end it (A50)") {
    check_damage([](std::vector<byte_vector>& messages) { messages[1] = messages[0]; });
    check_damage([](std::vector<byte_vector>& messages) { messages.erase(messages.begin() + 1); });
    check_damage([](std::vector<byte_vector>& messages) { std::swap(messages[1], messages[2]); });
    check_damage([](std::vector<byte_vector>& messages) { messages[1] = {0, 0}; });
    check_damage([](std::vector<byte_vector>& messages) {
        messages[1] = byte_vector(2 + noise_tag);
        messages[1][1] = noise_tag;
    });
}

TEST_CASE("a promised length takes no memory before its bytes come (A50)") { test::run(&promise_much); }

TEST_CASE("a Noise stream's read can be cancelled without loss, and is ended by close") {
    test::run(&cancel_and_close);
}

TEST_CASE("whoever is not welcome gets no Noise stream, on either side (A50)") { test::run(&refuse_identity); }

TEST_CASE("a handshake altered anywhere gives no Noise stream (A50)") {
    const std::size_t sizes[] = {2 + 32, 2 + 32 + 48 + 96 + 16, 2 + 48 + 96 + 16};
    for (int message = 0; message < 3; ++message) {
        for (std::size_t at = 1; at < sizes[message]; at += 7) {
            test::run([=](network& net) { return damage_handshake(net, message, at); });
        }
    }
}

TEST_CASE("another protocol, an oversized answer or none gives no Noise stream (A50)") { test::run(&answer_wrongly); }

TEST_CASE("a peer that never answers gives no Noise stream (A50)") { test::run(&never_answer); }

}  // namespace noise_stream_test
