#include <limits>
#include <string>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <support/mutate.hpp>

namespace chat_entry_test {

using namespace cohort;

namespace {

identity person(std::uint8_t number) {
    key32 seed{};
    seed.fill(number);
    return identity(seed);
}

chat_entry entry_of(chat::entry_body body) {
    chat_entry out;
    out.conversation = room_conversation("lobby");
    out.author = person(1).key();
    out.seq = 7;
    out.clock = 12;
    out.time_ms = 1'700'000'000'000;
    out.prev.bytes.fill(0x33);
    out.body = std::move(body);
    return out;
}

chat::file_offer offer_of(byte_vector info) {
    chat::file_offer out;
    out.name = "photo.jpg";
    out.size = 123'456'789'012;
    out.hash.bytes = sha1_of(info).bytes;
    out.info = std::move(info);
    return out;
}

std::vector<chat::entry_body> all_bodies() {
    return {chat::text{"¡Hola Bob! \U0001F600"},
            offer_of(byte_vector{'d', '1', ':', 'a', 'i', '1', 'e', 'e'}),
            chat::room_join{"lobby", "alice"},
            chat::room_leave{"bye"},
            chat::room_leave{},
            chat::unknown_body{999, {1, 2, 3}},
            chat::unknown_body{0, {}}};
}

std::error_code refusal(const chat_entry& entry) {
    std::error_code ec;
    CHECK_FALSE(parse_entry(entry_bytes(entry), ec));
    return ec;
}

std::error_code refusal(chat::entry_body body) { return refusal(entry_of(std::move(body))); }

bool accepted(chat::entry_body body) {
    std::error_code ec;
    return parse_entry(entry_bytes(entry_of(std::move(body))), ec).has_value();
}

}  // namespace

TEST_CASE("a conversation of two has one name, whoever asks, and never that of a room") {
    const identity_key a = person(1).key();
    const identity_key b = person(2).key();
    CHECK(direct_conversation(a, b) == direct_conversation(b, a));
    CHECK(direct_conversation(a, b) != direct_conversation(a, a));
    CHECK(room_conversation("lobby") != room_conversation("Lobby"));
    std::string both = " direct";
    for (const identity_key* const key : {&a, &b}) both.append(key->bytes.begin(), key->bytes.end());
    CHECK(room_conversation(both) != direct_conversation(a, b));
    sha256 hash;
    hash.update(as_bytes("cohort roomlobby"));
    CHECK(room_conversation("lobby").bytes == hash.finish().bytes);
}

TEST_CASE("every entry comes back from its bytes, and the bytes from the entry") {
    for (const chat::entry_body& body : all_bodies()) {
        const chat_entry entry = entry_of(body);
        const byte_vector bytes = entry_bytes(entry);
        std::error_code ec;
        const auto back = parse_entry(bytes, ec);
        REQUIRE(back);
        CHECK_FALSE(ec);
        CHECK(*back == entry);
        CHECK(entry_bytes(*back) == bytes);
    }
}

TEST_CASE("the bytes of an entry are the same today and tomorrow") {
    chat_entry entry;
    entry.conversation.bytes.fill(1);
    entry.author.bytes.fill(2);
    entry.clock = 3;
    entry.time_ms = 4;
    entry.body = chat::text{"hi"};
    const auto fill = [](char digit) {
        std::string out;
        for (int i = 0; i < 32; ++i) out += {'0', digit};
        return out;
    };
    CHECK(to_hex(entry_bytes(entry)) == "636f686f727420656e74727901" + fill('1') + fill('2') +
                                            "000000000000000100000000000000030000000000000004" + fill('0') +
                                            "0001000000026869");
}

TEST_CASE("A50: an entry that was altered anywhere does not verify") {
    std::error_code ec;
    chat_entry entry = entry_of(chat::text{"pay 100"});
    entry.author = {};
    const auto made = signed_entry::make(entry, person(1), ec);
    REQUIRE(made);
    CHECK(made->entry().author == person(1).key());
    CHECK(made->verify());
    CHECK(made->hash() == sha256_of(entry_bytes(made->entry())));
    for (std::size_t i = 0; i < made->bytes().size(); ++i) {
        byte_vector bytes(made->bytes().begin(), made->bytes().end());
        bytes[i] ^= 1;
        if (const auto other = signed_entry::parse(bytes, ec)) CHECK_FALSE(other->verify());
    }
    const auto back = signed_entry::parse(made->bytes(), ec);
    REQUIRE(back);
    CHECK(*back == *made);
    CHECK(back->verify());
    CHECK(back->hash() == made->hash());
}

TEST_CASE("A50: what one signed cannot be given out as another's") {
    std::error_code ec;
    const auto made = signed_entry::make(entry_of(chat::text{"hi"}), person(1), ec);
    REQUIRE(made);
    chat_entry stolen = made->entry();
    stolen.author = person(2).key();
    byte_vector bytes = entry_bytes(stolen);
    bytes.insert(bytes.end(), made->bytes().end() - 64, made->bytes().end());
    const auto forged = signed_entry::parse(bytes, ec);
    REQUIRE(forged);
    CHECK_FALSE(forged->verify());
}

TEST_CASE("a text is UTF-8 of 1 byte to 64 KiB") {
    CHECK(accepted(chat::text{std::string(chat::max_text, 'x')}));
    CHECK(refusal(chat::text{std::string(chat::max_text + 1, 'x')}) == errc::chat_too_long);
    CHECK(refusal(chat::text{std::string(max_entry_body + 1, 'x')}) == errc::chat_too_long);
    CHECK(refusal(chat::text{}) == errc::chat_malformed);
    CHECK(refusal(chat::text{"\xff"}) == errc::chat_malformed);
    CHECK(refusal(chat::text{"\xed\xa0\x80"}) == errc::chat_malformed);
}

TEST_CASE("an offer keeps its limits, and its info dictionary is that of its hash") {
    CHECK(accepted(offer_of({})));
    CHECK(accepted(offer_of(byte_vector(chat::max_file_info, 'x'))));
    CHECK(refusal(offer_of(byte_vector(chat::max_file_info + 1, 'x'))) == errc::chat_too_long);
    chat::file_offer wrong = offer_of({'d', 'e'});
    wrong.hash.bytes[0] ^= 1;
    CHECK(refusal(wrong) == errc::chat_malformed);
    chat::file_offer name = offer_of({});
    name.name = std::string(255, 'n');
    CHECK(accepted(name));
    name.name += 'n';
    CHECK(refusal(name) == errc::chat_too_long);
    name.name = "";
    CHECK(refusal(name) == errc::chat_malformed);
    name.name = "\xff";
    CHECK(refusal(name) == errc::chat_malformed);
    chat::file_offer size = offer_of({});
    size.size = std::numeric_limits<std::uint64_t>::max();
    CHECK(refusal(size) == errc::chat_malformed);
}

TEST_CASE("A48: the name under which an offered file is kept stays in its folder") {
    for (const char* const name :
         {"../../etc/passwd", "/etc/passwd", "a\\..\\b", "..", ".", "nul", "a\u202egpj.exe", "\x1b[2J"}) {
        chat::file_offer offer = offer_of({});
        offer.name = name;
        CHECK(accepted(offer));
        const std::string safe = offer.safe_name();
        CHECK(safe.find_first_of("/\\\x1b") == std::string::npos);
        CHECK(safe != "..");
        CHECK(safe != ".");
        CHECK(safe.find("\u202e") == std::string::npos);
    }
}

TEST_CASE("a join names its own room, and people and rooms have names that can be shown") {
    CHECK(refusal(chat::room_join{"elsewhere", "alice"}) == errc::chat_malformed);
    for (const std::string name : {"", " alice", "alice ", "a\nb", "\x1b[1m", "a\u202e", "\xff", "\uFFFD"}) {
        CHECK_FALSE(is_chat_name(name));
        CHECK(refusal(chat::room_join{"lobby", name}) == errc::chat_malformed);
    }
    CHECK(is_chat_name(std::string(64, 'a')));
    CHECK_FALSE(is_chat_name(std::string(65, 'a')));
    CHECK(is_chat_name("José García"));
    CHECK(refusal(chat::room_leave{std::string(chat::max_reason + 1, 'x')}) == errc::chat_too_long);
    CHECK(refusal(chat::room_leave{std::string(70'000, 'x')}) == errc::chat_too_long);
    CHECK(refusal(chat::room_leave{"\xff"}) == errc::chat_malformed);
}

TEST_CASE("numbers that no entry has are refused") {
    const auto with = [](auto change) {
        chat_entry entry = entry_of(chat::text{"x"});
        change(entry);
        return refusal(entry);
    };
    CHECK(with([](chat_entry& e) { e.seq = 0; }) == errc::chat_malformed);
    CHECK(with([](chat_entry& e) { e.seq = max_clock + 1; }) == errc::chat_malformed);
    CHECK(with([](chat_entry& e) { e.clock = 0; }) == errc::chat_malformed);
    CHECK(with([](chat_entry& e) { e.clock = max_clock + 1; }) == errc::chat_malformed);
    CHECK(with([](chat_entry& e) { e.time_ms = -1; }) == errc::chat_malformed);
    CHECK(with([](chat_entry& e) { e.time_ms = max_time_ms + 1; }) == errc::chat_malformed);
    CHECK(with([](chat_entry& e) { e.seq = 1; }) == errc::chat_malformed);    // with a predecessor
    CHECK(with([](chat_entry& e) { e.prev = {}; }) == errc::chat_malformed);  // without one
}

TEST_CASE("a signed entry cut anywhere, or with more behind it, is refused") {
    std::error_code ec;
    for (const chat::entry_body& body : all_bodies()) {
        const auto made = signed_entry::make(entry_of(body), person(1), ec);
        REQUIRE(made);
        for (std::size_t size = 0; size < made->bytes().size(); ++size)
            if (const auto cut = signed_entry::parse(made->bytes().first(size), ec)) CHECK_FALSE(cut->verify());
        byte_vector more(made->bytes().begin(), made->bytes().end());
        more.push_back(0);
        if (const auto longer = signed_entry::parse(more, ec)) CHECK_FALSE(longer->verify());
    }
}

TEST_CASE("nobody signs what nobody would take") {
    std::error_code ec;
    CHECK_FALSE(signed_entry::make(entry_of(chat::text{std::string(chat::max_text + 1, 'x')}), person(1), ec));
    CHECK(ec == errc::chat_too_long);
    CHECK_FALSE(signed_entry::make(entry_of(chat::unknown_body{1, {'h', 'i'}}), person(1), ec));  // a text, then
    CHECK(ec == errc::chat_malformed);
}

TEST_CASE("mutated entries are read exactly or refused, and never verify") {
    random_engine random(3);
    std::error_code ec;
    int read = 0;
    for (const chat::entry_body& body : all_bodies()) {
        const auto made = signed_entry::make(entry_of(body), person(1), ec);
        REQUIRE(made);
        for (int round = 0; round < 400; ++round) {
            const byte_vector bytes = test::mutated(byte_vector(made->bytes().begin(), made->bytes().end()), random);
            const auto other = signed_entry::parse(bytes, ec);
            CHECK(other.has_value() == !ec);
            if (!other) continue;
            ++read;
            byte_vector again = entry_bytes(other->entry());
            again.insert(again.end(), bytes.end() - 64, bytes.end());
            CHECK(again == bytes);
            if (bytes != byte_vector(made->bytes().begin(), made->bytes().end())) CHECK_FALSE(other->verify());
        }
    }
    CHECK(read > 100);
}

}  // namespace chat_entry_test
