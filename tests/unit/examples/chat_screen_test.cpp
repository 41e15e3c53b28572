#include <examples/support/chat_screen.hpp>

#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/protocol/json.hpp>
#include <examples/support/chat_json.hpp>

namespace chat_screen_test {

using namespace cohort;
using namespace cohort::examples;

namespace {

constexpr std::int64_t noon = 1'763'726'400'000;  // 2025-11-21 12:00 UTC
constexpr std::int64_t minute = 60'000;

/// Times are printed as UTC.
struct in_utc {
    in_utc() {
        ::setenv("TZ", "UTC", 1);
        ::tzset();
    }
};

identity_key key_of(std::uint8_t n) {
    identity_key out;
    out.bytes.fill(n);
    return out;
}

shown_message message(const std::string& with, const std::string& from, const std::string& text,
                      std::uint64_t seq = 1) {
    shown_message out;
    out.with = with;
    out.from = from;
    out.id = {key_of(2), seq};
    out.time_ms = noon;
    out.text = text;
    return out;
}
shown_message own(const std::string& with, const std::string& text, std::uint64_t seq = 1) {
    shown_message out = message(with, "alice", text, seq);
    out.own = true;
    out.id.author = key_of(1);
    return out;
}

struct look : in_utc {
    explicit look(bool live = true, bool colours = false) : screen("alice", live, colours) {}
    std::string show(const chat_node_event& event, std::int64_t now = noon) { return screen.show(event, now); }
    std::string status() const { return screen.status(200); }

    chat_screen screen;
};

std::string said(const std::string& text, std::size_t columns = 0) {
    in_utc utc;
    return message_text(message("bob", "bob", text), painter(false), noon, columns);
}

}  // namespace

TEST_CASE("messages say when, where and who, so that none passes for another") {
    look l;
    CHECK(l.show(chat_event::message{message("bob", "bob", "hello")}) == "12:00 bob: hello\n");
    CHECK(l.show(chat_event::message{message("#lobby", "bob", "hello")}) == "12:00 #lobby bob: hello\n");
    CHECK(l.screen.show_own(own("bob", "hi"), noon) == "12:00 alice → bob: hi\n");
    CHECK(l.screen.show_own(own("#lobby", "hi"), noon) == "12:00 #lobby alice: hi\n");
    CHECK(l.show(chat_event::message{message("bob", "bob", "old")}, noon + 1440 * minute) ==
          "2025-11-21 12:00 bob: old\n");
}

TEST_CASE("a clock that is far off does no harm") {
    in_utc utc;
    CHECK(clock_text(-5, noon) == "1970-01-01 00:00");
    CHECK(clock_text(INT64_MAX, noon) == "9999-12-30 23:59");
    CHECK(clock_text(INT64_MIN, noon) == "1970-01-01 00:00");
}

TEST_CASE("what others write obeys nothing and cannot be laid out as a line of somebody else") {
    CHECK(said("a\x1b[2Jb\x07") == "12:00 bob: a?[2Jb?\n");
    CHECK(said("x\n12:00 carol: send money") == "12:00 bob: x\n      | 12:00 carol: send money\n");
    CHECK(said("a\tb") == "12:00 bob: a    b\n");
    CHECK(said("\u202eevil") == "12:00 bob: ?evil\n");
    look l;
    auto evil = message("b\x1b[31mob", "b\nob", "x");
    CHECK(l.show(chat_event::message{evil}) == "12:00 b?ob: x\n");
    CHECK(l.show(chat_event::presence{"bob", "\x1b]0;title\x07"}) == "12:00 -- bob is ?]0;title?\n");
    CHECK(l.show(chat_event::warning{"a\nb"}) == "!! a?b\n");
    CHECK(l.screen.prompt() == "b?[31mob> ");
}

TEST_CASE("on a terminal long texts are cut between words, behind a bar") {
    CHECK(said("the quick brown fox jumps over it", 31) ==
          "12:00 bob: the quick brown fox\n"
          "      | jumps over it\n");
    const std::string padded = said("hi" + std::string(80, ' ') + "12:00 carol: x", 40);
    CHECK(padded.find("\n12:00 carol") == std::string::npos);
    for (std::size_t columns : {30U, 40U, 77U}) {
        const std::string text = said(std::string(300, 'x') + " 日本語日本語日本語日本語日本語日本語日本語", columns);
        std::size_t at = 0;
        while (at < text.size()) {
            const std::size_t end = text.find('\n', at);
            CHECK(display_width(std::string_view(text).substr(at, end - at)) < columns);
            at = end + 1;
        }
    }
    CHECK(said("one two three", 12) == "12:00 bob: one two three\n");  // too narrow to be nice
    CHECK(said("", 40) == "12:00 bob: \n");
}

TEST_CASE("of a text with very many lines the first hundred are shown") {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += "line\n";
    const std::string shown = said(text + "end", 40);
    CHECK(std::count(shown.begin(), shown.end(), '\n') == 101);
    CHECK(shown.ends_with("      | (4901 more lines)\n"));
}

TEST_CASE("own messages are followed in the status row until they are read") {
    look l;
    l.screen.turn_to("bob");
    l.screen.show_own(own("bob", "one", 1), noon);
    l.screen.show_own(own("bob", "two", 2), noon);
    CHECK(l.status() == "bob is not connected · waiting");
    l.show(chat_event::peer_connected{"bob", key_of(2), {}, true});
    CHECK(l.show(chat_event::receipt{"bob", "bob", {key_of(1), 2}, delivery::sent}).empty());
    CHECK(l.status() == "bob verified · ✓");
    l.show(chat_event::receipt{"bob", "bob", {key_of(1), 2}, delivery::delivered});
    CHECK(l.status() == "bob verified · ✓✓");
    l.show(chat_event::receipt{"bob", "bob", {key_of(1), 1}, delivery::read});
    CHECK(l.status() == "bob verified · ✓✓");  // the second is not read
    l.show(chat_event::receipt{"bob", "bob", {key_of(1), 2}, delivery::read});
    CHECK(l.status() == "bob verified · ✓✓ read");
    l.show(chat_event::receipt{"bob", "bob", {key_of(1), 2}, delivery::delivered});
    CHECK(l.status() == "bob verified · ✓✓ read");
    l.screen.show_own(own("bob", "three", 3), noon);
    CHECK(l.status() == "bob verified · waiting");
}

TEST_CASE("in a room the status row says who has read") {
    look l;
    l.screen.turn_to("#lobby");
    l.screen.show_own(own("#lobby", "hi", 4), noon);
    for (const char* name : {"carol", "bob"}) {
        l.show(chat_event::receipt{"#lobby", name, {key_of(1), 4}, delivery::read});
    }
    CHECK(l.status() == "#lobby · ✓✓ read by bob, carol");
    for (const char* name : {"dave", "eve"}) {
        l.show(chat_event::receipt{"#lobby", name, {key_of(1), 4}, delivery::read});
    }
    CHECK(l.status() == "#lobby · ✓✓ read by 4");
}

TEST_CASE("an own message is shown once, whoever tells of it") {
    look l;
    CHECK_FALSE(l.show(chat_event::message{own("bob", "hi", 1)}).empty());
    CHECK(l.screen.show_own(own("bob", "hi", 1), noon).empty());
    CHECK_FALSE(l.screen.show_own(own("#lobby", "hi", 1), noon).empty());
}

TEST_CASE("the first who writes becomes the conversation, others are counted until one turns to them") {
    look l;
    CHECK(l.screen.prompt() == "> ");
    l.show(chat_event::message{message("bob", "bob", "hello")});
    CHECK(l.screen.prompt() == "bob> ");
    l.show(chat_event::message{message("carol", "carol", "a")});
    l.show(chat_event::message{message("carol", "carol", "b")});
    l.show(chat_event::message{message("#tea", "carol", "c")});
    CHECK(l.status() == "bob is not connected · unread: #tea 1, carol 2");
    l.screen.turn_to("carol");
    CHECK(l.status() == "carol is not connected · unread: #tea 1");
}

TEST_CASE("the status row says who is typing where one is, until they have written or are gone") {
    look l;
    l.screen.turn_to("#lobby");
    l.show(chat_event::typing{"#lobby", "bob", true});
    CHECK(l.status() == "#lobby · bob is typing…");
    l.show(chat_event::typing{"#lobby", "carol", true});
    CHECK(l.status() == "#lobby · bob, carol are typing…");
    l.show(chat_event::message{message("#lobby", "bob", "x")});
    CHECK(l.status() == "#lobby · carol is typing…");
    l.show(chat_event::peer_disconnected{"carol", errc::connection_closed});
    CHECK(l.status() == "#lobby");
    l.show(chat_event::typing{"dave", "dave", true});
    CHECK(l.status() == "#lobby");
    l.show(chat_event::typing{"dave", "dave", false});
    l.show(chat_event::typing{"eve", "eve", false});
}

TEST_CASE("links, presence and rooms are told in one line each, and only when they change") {
    look l;
    CHECK(l.show(chat_event::peer_connected{"bob", key_of(2), {}, false}) ==
          "12:00 -- bob is connected, not verified (compare numbers: /verify bob)\n");
    CHECK(l.show(chat_event::presence{"bob", "online"}).empty());
    CHECK(l.show(chat_event::presence{"bob", "lunch"}) == "12:00 -- bob is lunch\n");
    CHECK(l.show(chat_event::presence{"bob", "lunch"}).empty());
    l.screen.turn_to("bob");
    CHECK(l.status() == "bob connected, lunch");
    CHECK(l.show(chat_event::presence{"bob", "online"}) == "12:00 -- bob is online\n");
    CHECK(l.show(chat_event::peer_disconnected{"bob", errc::timed_out}) == "12:00 -- bob is gone: timed out\n");
    CHECK(l.show(chat_event::member_joined{"#tea", "eve"}) == "12:00 -- eve came into #tea\n");
    CHECK(l.show(chat_event::member_left{"#tea", "eve"}) == "12:00 -- eve left #tea\n");
    CHECK(l.show(chat_event::tracker_state{true, ""}).empty());
    CHECK(l.show(chat_event::tracker_state{false, "refused"}) == "12:00 -- the tracker does not answer: refused\n");
    CHECK(l.show(chat_event::tracker_state{false, "refused"}).empty());
    CHECK(l.status() == "bob is not connected · tracker: refused");
    CHECK(l.show(chat_event::tracker_state{true, ""}) == "12:00 -- the tracker answers again\n");
}

TEST_CASE("another key under a known name is an alarm that nobody overlooks") {
    look l(true, true);
    const std::string alarm = l.show(chat_event::identity_changed{"bob", key_of(0xaa), key_of(0xbb)});
    CHECK(alarm.starts_with("\a"));
    CHECK(alarm.find("\x1b[1;31m") != std::string::npos);
    CHECK(alarm.find("bob CAME WITH ANOTHER KEY") != std::string::npos);
    CHECK(alarm.find("Known: aaaaaaaa aaaaaaaa") != std::string::npos);
    CHECK(alarm.find("Now:   bbbbbbbb bbbbbbbb") != std::string::npos);
    CHECK(alarm.find("/forget bob") != std::string::npos);
    CHECK(std::count(alarm.begin(), alarm.end(), '\n') == 8);
    look plain(false);
    CHECK(plain.show(chat_event::identity_changed{"bob", {}, {}}).find('\x1b') == std::string::npos);
}

TEST_CASE("of a thousand offers the settled ones make room for new ones, and the others keep their numbers") {
    look l;
    const auto offer = [&l](std::uint64_t seq) {
        return l.show(chat_event::file_offered{"bob", "bob", {key_of(2), seq}, "file " + std::to_string(seq), 10});
    };
    for (std::uint64_t seq = 1; seq <= 1000; ++seq) offer(seq);
    CHECK(offer(1001) == "bob offers too many files\n");  // all of them wait
    l.screen.find_offer(2)->open = false;
    l.show(chat_event::file_progress{"bob", {key_of(2), 2}, 1, 10, 1});
    l.screen.find_offer(3)->open = false;
    l.show(chat_event::file_done{"bob", {key_of(2), 4}, "/tmp/file 4"});
    CHECK(offer(1001).find("/accept 1001 ") != std::string::npos);
    CHECK(offer(1002).find("/accept 1002 ") != std::string::npos);
    CHECK(offer(1003) == "bob offers too many files\n");
    for (const std::size_t there : {1U, 2U, 5U, 1001U, 1002U}) {
        REQUIRE(l.screen.find_offer(there) != nullptr);
        CHECK(l.screen.find_offer(there)->id.seq == there);
        CHECK(l.screen.find_offer("bob", {key_of(2), there}) == l.screen.find_offer(there));
    }
    for (const std::size_t gone : {3U, 4U}) CHECK(l.screen.find_offer(gone) == nullptr);
}

TEST_CASE("files are offered by number, progress in the status row, and end with where they are") {
    look l;
    l.screen.turn_to("bob");
    CHECK(l.show(chat_event::file_offered{"bob", "bob", {key_of(2), 5}, "a\x1b.jpg", 1'200'000}) ==
          "12:00 bob offers a?.jpg (1.2 MB): /accept 1 or /refuse 1\n");
    CHECK(l.show(chat_event::file_offered{"bob", "bob", {key_of(2), 6}, "b.jpg", 10}).find("/accept 2") !=
          std::string::npos);
    CHECK(l.screen.find_offer(std::nullopt)->file_name == "b.jpg");
    l.screen.find_offer(std::nullopt)->open = false;
    CHECK(l.screen.find_offer(std::nullopt)->size == 1'200'000);
    CHECK(l.screen.find_offer(2)->file_name == "b.jpg");
    CHECK(l.screen.find_offer(0) == nullptr);
    CHECK(l.screen.find_offer(3) == nullptr);

    CHECK(l.show(chat_event::file_progress{"bob", {key_of(2), 5}, 600'000, 1'200'000, 1e6}).empty());
    const std::string status = l.status();
    CHECK(status.starts_with("bob is not connected · a?.jpg ["));
    CHECK(status.find("50 %") != std::string::npos);
    CHECK(display_width(l.screen.status(60)) <= 60);
    CHECK(l.show(chat_event::file_done{"bob", {key_of(2), 5}, "/tmp/a.jpg"}) ==
          "12:00 -- the file is here: /tmp/a.jpg\n");
    CHECK(l.status() == "bob is not connected");
    CHECK(l.show(chat_event::file_failed{"bob", {key_of(2), 6}, "refused"}) == "!! b.jpg: refused\n");

    CHECK(l.screen.offered({key_of(1), 9}, "bob", "mine.txt", 2000) == "-- offered mine.txt (2.0 kB) to bob\n");
    CHECK(l.show(chat_event::file_done{"bob", {key_of(1), 9}, "/x"}) == "12:00 -- bob has mine.txt\n");
}

TEST_CASE("in a pipe a file says every tenth part of its progress") {
    look l(false);
    int lines = 0;
    for (std::uint64_t done = 0; done <= 1000; done += 3) {
        lines += l.show(chat_event::file_progress{"bob", {key_of(2), 5}, done, 1000, 1}).empty() ? 0 : 1;
    }
    CHECK(lines == 9);
    CHECK(l.show(chat_event::file_progress{"bob", {key_of(2), 5}, 1000, 1000, 1}).find("100 %") != std::string::npos);
}

TEST_CASE("a page of the past shows how far own messages have come") {
    look l;
    auto mine = own("bob", "hi");
    mine.state = delivery::delivered;
    CHECK(l.screen.show_history("bob", {message("bob", "bob", "hello"), mine}, noon) ==
          "--- bob ---\n"
          "12:00 bob: hello\n"
          "12:00 alice → bob: hi  (✓✓)\n"
          "---\n");
    CHECK(l.screen.show_history("bob", {}, noon) == "(nothing earlier with bob)\n");
}

TEST_CASE("a name has one colour, and colours only where they are wanted") {
    const painter paint(true), none(false);
    CHECK(paint.name("bob") == paint.name("bob"));
    CHECK(paint.name("bob").starts_with("\x1b["));
    CHECK(paint.name("bob").find("31m") == std::string::npos);
    CHECK(none.name("bob") == "bob");
    ::setenv("NO_COLOR", "1", 1);
    CHECK_FALSE(painter::wanted(true));
    ::setenv("NO_COLOR", "", 1);
    CHECK(painter::wanted(true));
    CHECK_FALSE(painter::wanted(false));
    ::unsetenv("NO_COLOR");
    CHECK(painter::wanted(true));
}

TEST_CASE("lists of peers and rooms, and the safety number") {
    chat_peer bob{"bob", key_of(2), endpoint::parse("127.0.0.1:7000"), true, true, true, "away"};
    chat_peer christine{"christine", std::nullopt, std::nullopt, true, false, false, ""};
    CHECK(peers_text({bob, christine}, painter(false)) ==
          "  bob        connected, away, verified  127.0.0.1:7000\n"
          "  christine  online\n");
    CHECK(peers_text({}, painter(false)) == "nobody is known yet\n");
    CHECK(rooms_text({{"#tea", {"alice", "bob"}, 1}}) == "  #tea: alice, bob (1 connected)\n");
    CHECK(rooms_text({}) == "you are in no room; /join one\n");
    CHECK(safety_number_text("bob", "12345 67890", painter(false)).starts_with("  12345 67890\n"));
}

TEST_CASE("every event is one JSON line with stable names") {
    const std::string key(64, '0');
    const message_id id{key_of(0), 7};
    CHECK(chat_event_json(chat_event::message{message("#tea", "bob", "a\nb\x1b")}).find('\n') == std::string::npos);
    auto plain = message("bob", "bob", "hi");
    plain.id = id;
    CHECK(chat_event_json(chat_event::message{plain}) ==
          R"({"event":"message","with":"bob","from":"bob","text":"hi","time_ms":1763726400000,"id":")" + key +
              R"(:7","own":false})");
    CHECK(chat_event_json(chat_event::receipt{"bob", "bob", id, delivery::read}) ==
          R"({"event":"receipt","with":"bob","by":"bob","up_to":")" + key + R"(:7","state":"read"})");
    CHECK(chat_event_json(chat_event::typing{"#tea", "bob", true}) ==
          R"({"event":"typing","with":"#tea","who":"bob","on":true})");
    CHECK(chat_event_json(chat_event::peer_connected{"bob", key_of(0), *endpoint::parse("1.2.3.4:5"), false}) ==
          R"({"event":"peer_connected","name":"bob","key":")" + key + R"(","address":"1.2.3.4:5","verified":false})");
    CHECK(chat_event_json(chat_event::peer_disconnected{"bob", errc::timed_out}) ==
          R"({"event":"peer_disconnected","name":"bob","reason":"timed out"})");
    CHECK(chat_event_json(chat_event::presence{"bob", "away"}) ==
          R"({"event":"presence","name":"bob","state":"away"})");
    CHECK(chat_event_json(chat_event::member_joined{"#tea", "bob"}) ==
          R"({"event":"member_joined","room":"#tea","name":"bob"})");
    CHECK(chat_event_json(chat_event::member_left{"#tea", "bob"}) ==
          R"({"event":"member_left","room":"#tea","name":"bob"})");
    CHECK(chat_event_json(chat_event::identity_changed{"bob", key_of(0), key_of(0)}) ==
          R"({"event":"identity_changed","name":"bob","known":")" + key + R"(","claimed":")" + key + R"("})");
    CHECK(chat_event_json(chat_event::file_offered{"#tea", "bob", id, "x", 9'007'199'254'740'993}) ==
          R"({"event":"file_offered","with":"#tea","from":"bob","id":")" + key +
              R"(:7","file_name":"x","size":9007199254740993})");
    CHECK(chat_event_json(chat_event::file_progress{"bob", id, 1, 2, 0.5}) ==
          R"({"event":"file_progress","with":"bob","id":")" + key + R"(:7","done":1,"total":2,"rate":0.5})");
    CHECK(chat_event_json(chat_event::file_done{"bob", id, "p"}) ==
          R"({"event":"file_done","with":"bob","id":")" + key + R"(:7","path":"p"})");
    CHECK(chat_event_json(chat_event::file_failed{"bob", id, "r"}) ==
          R"({"event":"file_failed","with":"bob","id":")" + key + R"(:7","reason":"r"})");
    CHECK(chat_event_json(chat_event::tracker_state{true, ""}) ==
          R"({"event":"tracker_state","reachable":true,"reason":""})");
    CHECK(chat_event_json(chat_event::warning{"\xff\"\u2028"}) == "{\"event\":\"warning\",\"text\":\"_\\\"\u2028\"}");
}

}  // namespace chat_screen_test
