#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/noise_sender_key.hpp>

namespace noise_sender_key_test {

using namespace cohort;

namespace {

sender_key_name name_of(std::uint32_t id = 1) {
    sender_key_name out{room_conversation("lobby"), {}, id};
    out.author.bytes.fill(5);
    return out;
}

sender_chain chain_of(std::uint8_t number) {
    sender_chain out;
    out.key.bytes.fill(number);
    return out;
}

std::string opened(sender_key_reader& reader, const sender_key::sealed& message) {
    std::error_code ec;
    const auto out = reader.open(message.index, message.ciphertext, ec);
    CHECK(out.has_value() == !ec);
    if (!out) CHECK(ec == errc::noise_failed);
    return out ? std::string(as_text(*out)) : "refused";
}

}  // namespace

TEST_CASE("what one seals all members open, in order") {
    sender_key sender(name_of());
    sender_key_reader bob(name_of(), sender.chain());
    sender_key_reader carol(name_of(), sender.chain());
    for (int i = 0; i < 20; ++i) {
        const std::string said = "message " + std::to_string(i);
        const auto sealed = sender.seal(as_bytes(said));
        CHECK(sealed.index == static_cast<std::uint32_t>(i));
        CHECK(sealed.ciphertext.size() == said.size() + 16);
        CHECK(opened(bob, sealed) == said);
        CHECK(opened(carol, sealed) == said);
    }
    CHECK(bob.skipped() == 0);
}

TEST_CASE("the chain is HMAC-SHA-256 of 1 and 2, and the same for ever") {
    sender_key sender(name_of(), chain_of(9));
    const auto first = sender.seal(as_bytes("x"));
    key32 nine;
    nine.fill(9);
    const std::uint8_t one = 1;
    const std::uint8_t two = 2;
    CHECK(sender.chain().key.bytes == hmac_sha256(nine, byte_view(&two, 1)).bytes);
    const secret32 key = hmac_sha256(nine, byte_view(&one, 1));
    std::string bound = "cohort room message";
    for (const std::uint8_t byte : room_conversation("lobby").bytes) bound += static_cast<char>(byte);
    bound += std::string(32, 5) + std::string("\0\0\0\1\0\0\0\0", 8);
    byte_vector out(1);
    CHECK(aead(key).open(nonce12{}, as_bytes(bound), first.ciphertext, out));
    CHECK(out[0] == 'x');
}

TEST_CASE("who gets the key later reads from there on, and nothing before") {
    sender_key sender(name_of());
    const auto before = sender.seal(as_bytes("before"));
    sender_key_reader late(name_of(), sender.chain());
    const auto after = sender.seal(as_bytes("after"));
    CHECK(opened(late, before) == "refused");
    CHECK(opened(late, after) == "after");
}

TEST_CASE("A50: a replayed room message is refused, also one that came late") {
    sender_key sender(name_of());
    sender_key_reader reader(name_of(), sender.chain());
    std::vector<sender_key::sealed> sent;
    for (int i = 0; i < 5; ++i) sent.push_back(sender.seal(as_bytes(std::to_string(i))));
    CHECK(opened(reader, sent[3]) == "3");
    CHECK(reader.skipped() == 3);
    CHECK(opened(reader, sent[1]) == "1");
    CHECK(opened(reader, sent[1]) == "refused");
    CHECK(opened(reader, sent[3]) == "refused");
    CHECK(opened(reader, sent[0]) == "0");
    CHECK(opened(reader, sent[2]) == "2");
    CHECK(opened(reader, sent[4]) == "4");
    CHECK(reader.skipped() == 0);
    for (const auto& message : sent) CHECK(opened(reader, message) == "refused");
}

TEST_CASE(
    "A50: a room message altered, cut or moved to another room, author, key or index is refused and costs nothing") {
    sender_key sender(name_of());
    const sender_chain chain = sender.chain();
    sender_key_reader reader(name_of(), chain);
    const auto good = sender.seal(as_bytes("hello"));
    for (std::size_t i = 0; i < good.ciphertext.size(); ++i) {
        sender_key::sealed bad = good;
        bad.ciphertext[i] ^= 0x80;
        CHECK(opened(reader, bad) == "refused");
    }
    for (std::size_t size = 0; size < good.ciphertext.size(); ++size) {
        sender_key::sealed bad = good;
        bad.ciphertext.resize(size);
        CHECK(opened(reader, bad) == "refused");
    }
    for (const std::uint32_t index : {1U, 2U, 500U, 1000U})
        CHECK(opened(reader, {index, good.ciphertext}) == "refused");
    sender_key_name names[] = {name_of(), name_of(), name_of(2)};
    names[0].room.bytes[31] ^= 1;
    names[1].author.bytes[0] ^= 1;
    for (const sender_key_name& name : names) {
        sender_key_reader other(name, chain);
        CHECK(opened(other, good) == "refused");
    }
    CHECK(reader.next_index() == 0);
    CHECK(reader.skipped() == 0);
    CHECK(opened(reader, good) == "hello");
}

TEST_CASE("up to a thousand messages may be missing, and no more keys than that are kept") {
    sender_key sender(name_of());
    sender_key_reader reader(name_of(), sender.chain());
    std::vector<sender_key::sealed> sent;
    for (int i = 0; i < 3100; ++i) sent.push_back(sender.seal(as_bytes(std::to_string(i))));
    CHECK(opened(reader, sent[1001]) == "refused");
    CHECK(opened(reader, sent[1000]) == "1000");
    CHECK(reader.skipped() == 1000);
    CHECK(opened(reader, sent[0]) == "0");
    CHECK(opened(reader, sent[2001]) == "2001");
    CHECK(reader.skipped() == 1000);
    CHECK(opened(reader, sent[1]) == "refused");  // forgotten
    CHECK(opened(reader, sent[1500]) == "1500");
    CHECK(opened(reader, sent[3099]) == "refused");
    CHECK(opened(reader, sent[2002]) == "2002");
}

TEST_CASE("in whatever order messages come, each is opened once, and its own words come out") {
    random_engine random(17);
    for (int round = 0; round < 20; ++round) {
        sender_key sender(name_of());
        sender_key_reader reader(name_of(), sender.chain());
        std::vector<sender_key::sealed> sent;
        for (int i = 0; i < 100; ++i) sent.push_back(sender.seal(as_bytes(std::to_string(i))));
        std::vector<std::size_t> order;
        for (std::size_t i = 0; i < 200; ++i) order.push_back(i % 100);
        random.shuffle(order);
        std::vector<bool> seen(100);
        for (const std::size_t i : order) {
            CHECK(opened(reader, sent[i]) == (seen[i] ? "refused" : std::to_string(i)));
            seen[i] = true;
        }
        CHECK(reader.skipped() == 0);
    }
}

TEST_CASE("two new sender keys are never the same, and a spent one seals no more") {
    CHECK(sender_key(name_of()).chain().key.bytes != sender_key(name_of()).chain().key.bytes);
    sender_chain last = chain_of(1);
    last.index = sender_key::max_messages - 1;
    sender_key sender(name_of(), last);
    sender_key_reader reader(name_of(), last);
    CHECK_FALSE(sender.spent());
    CHECK(opened(reader, sender.seal(as_bytes("last"))) == "last");
    CHECK(sender.spent());
    CHECK_THROWS_AS(sender.seal(as_bytes("more")), std::system_error);
    CHECK(opened(reader, {0xffffffff, byte_vector(20)}) == "refused");
}

}  // namespace noise_sender_key_test
