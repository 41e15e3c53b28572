#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <cohort/net/noise_channel.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/websocket_pipe.hpp>

#include "support/eventually.hpp"
#include "support/net.hpp"
#include "support/pipe_pair.hpp"
#include "support/run.hpp"
#include "support/shifting_network.hpp"
#include "support/stream_pair.hpp"

namespace noise_channel_test {

using namespace cohort;

namespace {

using channel_ptr = std::unique_ptr<noise_channel>;

identity somebody(std::uint8_t number) { return identity(key32{number}); }

/// Two people, the pipe between them, and the channel over it once open() has completed.
struct two_people {
    explicit two_people(network& net) : clock(net), between(net.executor()), tasks(net.executor()) {
        wire_a = between.first.get();
        wire_b = between.second.get();
    }

    asio::awaitable<void> open() {
        tasks.spawn(
            test::store(a, noise_channel::as_initiator(clock, std::move(between.first), ann, bob.key(), options)));
        tasks.spawn(
            test::store(b, noise_channel::as_responder(clock, std::move(between.second), bob, ann.key(), options)));
        co_await tasks.join();
        wire_a->sent.clear();
        wire_b->sent.clear();
    }

    /// Both sides' errors when they try.
    asio::awaitable<void> fail_to_open(std::error_code& of_a, std::error_code& of_b,
                                       std::optional<identity_key> expected_by_a = std::nullopt,
                                       std::optional<identity_key> expected_by_b = std::nullopt) {
        tasks.spawn(test::store_error(
            of_a, noise_channel::as_initiator(clock, std::move(between.first), ann, expected_by_a, options)));
        tasks.spawn(test::store_error(
            of_b, noise_channel::as_responder(clock, std::move(between.second), bob, expected_by_b, options)));
        return tasks.join();
    }

    test::shifting_network clock;
    identity ann = somebody(1);
    identity bob = somebody(2);
    noise_channel_options options;
    test::pipe_pair between;
    test::memory_pipe* wire_a;
    test::memory_pipe* wire_b;
    channel_ptr a;
    channel_ptr b;
    task_group tasks;
};

asio::awaitable<void> say(noise_channel& channel, std::string text) {
    const byte_view bytes = as_bytes(text);
    co_await channel.send(bytes);
}

asio::awaitable<std::string> hear(noise_channel& channel) {
    const byte_vector bytes = co_await channel.receive();
    co_return std::string(as_text(bytes));
}

/// The code that receiving ends with.
asio::awaitable<std::error_code> deaf(noise_channel& channel) {
    std::error_code out;
    co_await test::store_error(out, channel.receive());
    co_return out;
}
asio::awaitable<std::error_code> mute(noise_channel& channel) {
    std::error_code out;
    co_await test::store_error(out, say(channel, "x"));
    co_return out;
}

asio::awaitable<void> talk(network& net) {
    two_people both(net);
    co_await both.open();
    CHECK(both.a->remote() == both.bob.key());
    CHECK(both.b->remote() == both.ann.key());
    CHECK(both.a->handshake_hash() == both.b->handshake_hash());
    CHECK(both.a->remote_endpoint().port == 7);
    for (const std::string text : {"hello", "", "how are you"}) {
        co_await say(*both.a, text);
        const std::string heard = co_await hear(*both.b);
        CHECK(heard == text);
        co_await say(*both.b, text + " too");
        const std::string back = co_await hear(*both.a);
        CHECK(back == text + " too");
    }
    for (const byte_vector& sealed : both.wire_a->sent) {
        CHECK(as_text(sealed).find("hello") == std::string_view::npos);
    }
    REQUIRE(both.wire_a->sent.size() == 3);
    CHECK(both.wire_a->sent[0].size() == 5 + 1 + noise_tag);
    both.a->close();
    const std::error_code end = co_await deaf(*both.b);
    CHECK(end == errc::connection_closed);
    const std::error_code ours = co_await mute(*both.a);
    CHECK(ours == errc::stopped);
}

asio::awaitable<void> send_large(network& net) {
    two_people both(net);
    both.options.max_message = 200'000;
    co_await both.open();
    random_engine random(1);
    // Around each number of bytes that just fills its transport messages.
    for (const std::size_t size : {noise_max_payload - 2, noise_max_payload - 1, noise_max_payload,
                                   2 * noise_max_payload - 1, 2 * noise_max_payload, std::size_t{200'000}}) {
        byte_vector message(size);
        random.fill(message);
        co_await both.a->send(message);
        const byte_vector heard = co_await both.b->receive();
        CHECK(heard == message);
    }
    CHECK(both.wire_a->sent[1].size() == noise_max_message);
    CHECK(both.wire_a->sent[2].size() == noise_max_message + 1 + noise_tag);

    const byte_vector too_long(200'001);
    std::error_code error;
    co_await test::store_error(error, both.a->send(too_long));
    CHECK(error == errc::chat_too_long);
    co_await say(*both.a, "still here");
    const std::string heard = co_await hear(*both.b);
    CHECK(heard == "still here");
}

asio::awaitable<void> receive_oversized(network& net) {
    two_people both(net);
    co_await both.open();
    both.wire_b->put(byte_vector(300 * 1024));
    const std::error_code error = co_await deaf(*both.b);
    CHECK(error == errc::chat_too_long);
    CHECK(both.wire_b->closed());
}

asio::awaitable<void> keep_order(network& net) {
    two_people both(net);
    co_await both.open();
    both.wire_b->set_capacity(3);
    task_group senders(net.executor());
    for (int i = 0; i < 50; ++i) senders.spawn(say(*both.a, std::to_string(i)));
    const auto full = [&] { return both.wire_b->waiting() == 3; };
    co_await test::eventually(net, full);
    for (int i = 0; i < 50; ++i) {
        const std::string heard = co_await hear(*both.b);
        CHECK(heard == std::to_string(i));
    }
    co_await senders.join();
}

asio::awaitable<void> cancel_waiting(network& net) {
    two_people both(net);
    co_await both.open();
    both.wire_b->set_capacity(1);
    co_await say(*both.a, "one");
    task_group patient(net.executor());
    patient.spawn(say(*both.a, "two"));  // sealed, and waits for the pipe
    co_await asio::post(net.executor(), asio::use_awaitable);
    task_group hasty(net.executor());
    hasty.spawn(say(*both.a, "never"));  // waits in line
    co_await asio::post(net.executor(), asio::use_awaitable);
    patient.spawn(say(*both.a, "three"));
    co_await asio::post(net.executor(), asio::use_awaitable);
    hasty.cancel();
    co_await hasty.join();
    for (const std::string text : {"one", "two", "three"}) {
        const std::string heard = co_await hear(*both.b);
        CHECK(heard == text);
    }
    co_await patient.join();
}

asio::awaitable<void> cancel_sealed(network& net) {
    two_people both(net);
    co_await both.open();
    both.wire_b->set_capacity(1);
    co_await say(*both.a, "one");
    task_group hasty(net.executor());
    hasty.spawn(say(*both.a, "two"));
    co_await asio::post(net.executor(), asio::use_awaitable);
    hasty.cancel();
    co_await hasty.join();
    const std::error_code error = co_await mute(*both.a);
    CHECK(error == errc::stopped);
    CHECK(both.wire_a->closed());
}

asio::awaitable<void> cancel_receiving(network& net) {
    two_people both(net);
    co_await both.open();
    std::error_code error;
    co_await test::store_error(error, with_timeout(net, 5ms, both.b->receive()));
    CHECK(error == errc::timed_out);
    co_await say(*both.a, "late");
    const std::string heard = co_await hear(*both.b);
    CHECK(heard == "late");
}

asio::awaitable<void> close_with_waiters(network& net) {
    two_people both(net);
    co_await both.open();
    both.wire_b->set_capacity(1);
    co_await say(*both.a, "one");
    std::vector<std::error_code> errors(4);
    for (std::error_code& error : errors) both.tasks.spawn(test::store_error(error, say(*both.a, "more")));
    std::error_code reading;
    both.tasks.spawn(test::store_error(reading, both.a->receive()));
    for (int i = 0; i < 8; ++i) co_await asio::post(net.executor(), asio::use_awaitable);
    both.a->close();
    co_await both.tasks.join();
    CHECK(reading == errc::stopped);
    CHECK(is_cancellation(errors[0]));  // what the pipe said to the one that was in it
    for (std::size_t i = 1; i < errors.size(); ++i) CHECK(errors[i] == errc::stopped);
}

/// The third of five messages suffers; what came before it stays heard, and nothing after it.
asio::awaitable<void> damage(network& net, std::function<void(std::vector<byte_vector>&)> how) {
    two_people both(net);
    co_await both.open();
    both.wire_a->drop = true;
    for (int i = 0; i < 5; ++i) co_await say(*both.a, "message " + std::to_string(i));
    std::vector<byte_vector> sealed = both.wire_a->sent;
    how(sealed);
    for (const byte_vector& one : sealed) both.wire_b->put(one);
    for (int i = 0; i < 2; ++i) {
        const std::string heard = co_await hear(*both.b);
        CHECK(heard == "message " + std::to_string(i));
    }
    for (int i = 0; i < 4; ++i) {
        const std::error_code error = co_await deaf(*both.b);
        CHECK(error == errc::noise_failed);
    }
    const std::error_code error = co_await mute(*both.b);
    CHECK(error == errc::noise_failed);
    CHECK(both.wire_b->closed());
}

void check_damage(std::function<void(std::vector<byte_vector>&)> how) {
    test::run([&](network& net) { return damage(net, how); });
}

constexpr std::size_t sealed_size = 9 + 1 + noise_tag;

asio::awaitable<void> rekey_by_count(network& net) {
    two_people both(net);
    both.options.rekey_messages = 4;
    both.options.max_under_key = 4;
    co_await both.open();
    for (int i = 0; i < 10; ++i) {
        co_await say(*both.a, std::to_string(i));
        const std::string heard = co_await hear(*both.b);
        CHECK(heard == std::to_string(i));
    }
    // After each three messages one that announces a new key.
    CHECK(both.wire_a->sent.size() == 13);
    CHECK(both.wire_b->sent.empty());
    co_await say(*both.b, "the other direction has its own count");
    const std::string heard = co_await hear(*both.a);
    CHECK(!heard.empty());
    CHECK(both.wire_b->sent.size() == 1);
}

asio::awaitable<void> exchange(two_people& both) {
    co_await say(*both.a, "x");
    const std::string heard = co_await hear(*both.b);
    CHECK(heard == "x");
}

asio::awaitable<void> rekey_by_time(network& net) {
    two_people both(net);
    co_await both.open();
    co_await exchange(both);
    both.clock.shift(59min);
    co_await exchange(both);
    CHECK(both.wire_a->sent.size() == 2);
    both.clock.shift(2min);
    co_await exchange(both);
    CHECK(both.wire_a->sent.size() == 4);
    co_await exchange(both);
    CHECK(both.wire_a->sent.size() == 5);
}

asio::awaitable<void> overuse_key(network& net) {
    two_people both(net);
    both.options.rekey_messages = 100;
    both.options.max_under_key = 5;
    co_await both.open();
    for (int i = 0; i < 6; ++i) co_await say(*both.a, "x");
    for (int i = 0; i < 5; ++i) {
        const std::string heard = co_await hear(*both.b);
        CHECK(heard == "x");
    }
    const std::error_code error = co_await deaf(*both.b);
    CHECK(error == errc::noise_failed);
}

asio::awaitable<void> keep_words(std::string& out, asio::awaitable<channel_ptr> op) {
    try {
        co_await std::move(op);
    } catch (const std::system_error& error) {
        out = error.what();
    }
}

asio::awaitable<void> change_identity(network& net) {
    const identity_key cat = somebody(3).key();
    std::error_code of_a;
    std::error_code of_b;
    {
        two_people both(net);
        co_await both.fail_to_open(of_a, of_b, cat);
        CHECK(of_a == errc::identity_changed);
        CHECK(of_b == errc::connection_closed);
    }
    {
        // Whoever asks the person for consent shows the new key.
        two_people both(net);
        std::string told;
        both.tasks.spawn(
            keep_words(told, noise_channel::as_initiator(net, std::move(both.between.first), both.ann, cat)));
        both.tasks.spawn(
            test::store_error(of_b, noise_channel::as_responder(net, std::move(both.between.second), both.bob)));
        co_await both.tasks.join();
        CHECK(told.find(both.bob.key().hex()) != std::string::npos);
    }
    {
        two_people both(net);
        of_b.clear();
        co_await both.fail_to_open(of_a, of_b, both.bob.key(), cat);
        CHECK(of_b == errc::identity_changed);
    }
}

asio::awaitable<void> damage_handshake(network& net, int message, std::size_t at) {
    two_people both(net);
    int next = 0;
    const auto alter = [&next, message, at](byte_vector& bytes) {
        if (next++ == message) bytes.at(at) ^= 0x10;
    };
    both.wire_a->alter = alter;
    both.wire_b->alter = alter;
    std::error_code of_a;
    std::error_code of_b;
    co_await both.fail_to_open(of_a, of_b);
    if (message < 2) CHECK(of_a == errc::noise_failed);
    if (message < 2) CHECK(of_b == errc::connection_closed);
    if (message == 2) CHECK(of_b == errc::noise_failed);
}

/// Somebody who knows Noise and lies about who they are.
asio::awaitable<void> lie(two_people& both, byte_vector payload) {
    test::memory_pipe& wire = *both.wire_a;
    noise_handshake liar(noise_role::initiator, as_bytes(both.options.prologue), x25519_random(), x25519_random());
    std::error_code ec;
    const byte_vector first = *liar.write_message({}, ec);
    co_await wire.send(first);
    const byte_vector second = co_await wire.receive();
    CHECK(liar.read_message(second, ec));
    const byte_vector third = *liar.write_message(payload, ec);
    co_await wire.send(third);
}

asio::awaitable<void> refuse_liar(network& net) {
    for (int kind = 0; kind < 2; ++kind) {
        two_people both(net);
        const byte_vector payload = kind == 0 ? byte_vector() : identity_proof(both.ann);
        std::error_code error;
        both.tasks.spawn(lie(both, payload));
        both.tasks.spawn(test::store_error(
            error, noise_channel::as_responder(net, std::move(both.between.second), both.bob, both.ann.key())));
        co_await both.tasks.join();
        CHECK(error == errc::identity_unproven);
    }
}

asio::awaitable<void> silence(network& net) {
    two_people both(net);
    std::error_code error;
    auto pipe = std::move(both.between.second);
    both.tasks.spawn(test::store_error(error, noise_channel::as_responder(both.clock, std::move(pipe), both.bob)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    both.clock.shift(11s);
    co_await both.tasks.join();
    CHECK(error == errc::timed_out);

    two_people early(net);
    early.wire_b->put_end();
    error.clear();
    co_await test::store_error(error, noise_channel::as_responder(net, std::move(early.between.second), early.bob));
    CHECK(error == errc::connection_closed);

    two_people cancelled(net);
    error.clear();
    cancelled.tasks.spawn(
        test::store_error(error, noise_channel::as_initiator(net, std::move(cancelled.between.first), cancelled.ann)));
    co_await asio::post(net.executor(), asio::use_awaitable);
    cancelled.tasks.cancel();
    co_await cancelled.tasks.join();
    CHECK(is_cancellation(error));
}

/// Seals by hand what the channel never would: first bytes without a meaning.
asio::awaitable<void> speak_wrongly(network& net, byte_vector plaintext) {
    two_people both(net);
    identity_handshake hand(noise_role::initiator, as_bytes(both.options.prologue), both.ann, {});
    both.tasks.spawn(test::store(both.b, noise_channel::as_responder(net, std::move(both.between.second), both.bob)));
    std::error_code ec;
    const byte_vector first = *hand.write(ec);
    co_await both.wire_a->send(first);
    const byte_vector second = co_await both.wire_a->receive();
    CHECK(hand.read(second, ec));
    const byte_vector third = *hand.write(ec);
    co_await both.wire_a->send(third);
    co_await both.tasks.join();
    auto keys = hand.split();
    byte_vector sealed(plaintext.size() + noise_tag);
    CHECK(keys.first.seal({}, plaintext, sealed));
    co_await both.wire_a->send(sealed);
    const std::error_code error = co_await deaf(*both.b);
    CHECK(error == (plaintext.empty() ? errc::noise_failed : errc::chat_malformed));
}

asio::awaitable<void> talk_over_websockets(network& net) {
    test::stream_pair links = co_await test::tcp_pair(net);
    websocket_options options;
    options.max_queued = 10'000;
    auto client = std::make_unique<websocket>(net, std::move(links.first), websocket_role::client, options);
    auto server = std::make_unique<websocket>(net, std::move(links.second), websocket_role::server, options);
    const identity ann = somebody(1);
    const identity bob = somebody(2);
    channel_ptr a;
    channel_ptr b;
    task_group tasks(net.executor());
    tasks.spawn(
        test::store(a, noise_channel::as_initiator(net, std::make_unique<websocket_pipe>(std::move(client)), ann)));
    tasks.spawn(
        test::store(b, noise_channel::as_responder(net, std::make_unique<websocket_pipe>(std::move(server)), bob)));
    co_await tasks.join();
    CHECK(a->remote() == bob.key());
    // Far more senders than the link's queue has room for.
    constexpr int messages = 300;
    for (int i = 0; i < messages; ++i) tasks.spawn(say(*a, std::string(200, 'x') + std::to_string(i)));
    for (int i = 0; i < messages; ++i) {
        const std::string heard = co_await hear(*b);
        CHECK(heard == std::string(200, 'x') + std::to_string(i));
    }
    co_await tasks.join();
    std::error_code end;
    tasks.spawn(test::store_error(end, b->receive()));
    co_await a->finish();
    co_await tasks.join();
    CHECK(end == errc::websocket_closed);
}

}  // namespace

TEST_CASE("a channel over WebSockets keeps the order of many senders, and ends in good order") {
    test::run(&talk_over_websockets);
}

TEST_CASE("two people talk over a Noise channel, and know each other") { test::run(&talk); }

TEST_CASE("a channel's message may take several transport messages; one above the limit is not sent") {
    test::run(&send_large);
}

TEST_CASE("an oversized message ends the channel before it is opened (A50)") { test::run(&receive_oversized); }

TEST_CASE("messages of many senders arrive in the order of the sends, however slow the pipe is") {
    test::run(&keep_order);
}

TEST_CASE("a send that is cancelled in the line leaves no gap") { test::run(&cancel_waiting); }

TEST_CASE("a send that is cancelled when its message is sealed ends the channel") { test::run(&cancel_sealed); }

TEST_CASE("cancelling a receive loses no message") { test::run(&cancel_receiving); }

TEST_CASE("closing a channel ends all who wait on it") { test::run(&close_with_waiters); }

TEST_CASE("a transport message altered at any byte ends the channel (A50)") {
    for (std::size_t at = 0; at < sealed_size; ++at) {
        check_damage([at](std::vector<byte_vector>& sealed) { sealed[2].at(at) ^= 0x01; });
    }
}

TEST_CASE("a transport message cut anywhere or lengthened ends the channel (A50)") {
    for (std::size_t size = 0; size < sealed_size; ++size) {
        check_damage([size](std::vector<byte_vector>& sealed) { sealed[2].resize(size); });
    }
    check_damage([](std::vector<byte_vector>& sealed) { sealed[2].push_back(0); });
    check_damage([](std::vector<byte_vector>& sealed) { sealed[2].resize(noise_max_message + 20); });
}

TEST_CASE("a transport message that is replayed, left out or before its turn ends the channel (A50)") {
    check_damage([](std::vector<byte_vector>& sealed) { sealed[2] = sealed[1]; });
    check_damage([](std::vector<byte_vector>& sealed) { sealed[2] = sealed[0]; });
    check_damage([](std::vector<byte_vector>& sealed) { sealed.erase(sealed.begin() + 2); });
    check_damage([](std::vector<byte_vector>& sealed) { std::swap(sealed[2], sealed[3]); });
}

TEST_CASE("the key changes after so many messages, in each direction on its own") { test::run(&rekey_by_count); }

TEST_CASE("the key changes after an hour") { test::run(&rekey_by_time); }

TEST_CASE("whoever does not change the key in time is not heard any more") { test::run(&overuse_key); }

TEST_CASE("another identity than expected gets no channel, on either side (A50)") { test::run(&change_identity); }

TEST_CASE("a handshake message altered anywhere gives no channel (A50)") {
    const std::size_t sizes[] = {32, 32 + 48 + 96 + 16, 48 + 96 + 16};
    for (int message = 0; message < 3; ++message) {
        for (std::size_t at = 0; at < sizes[message]; at += 5) {
            test::run([=](network& net) { return damage_handshake(net, message, at); });
        }
    }
}

TEST_CASE("without a proof, or with another's, there is no channel (A50)") { test::run(&refuse_liar); }

TEST_CASE("a peer that never answers, ends early or is given up gives no channel (A50)") { test::run(&silence); }

TEST_CASE("an authentic message of no meaning ends the channel") {
    for (const byte_vector& plaintext : {byte_vector{2, 'x'}, byte_vector{1, 'x'}, byte_vector{255}, byte_vector{}}) {
        test::run([&](network& net) { return speak_wrongly(net, plaintext); });
    }
}

}  // namespace noise_channel_test
