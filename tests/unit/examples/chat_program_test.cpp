#include <examples/support/chat_program.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/net/real_network.hpp>
#include <support/eventually.hpp>
#include <support/pseudo_terminal.hpp>
#include <support/run.hpp>
#include <support/small_terminal.hpp>
#include <support/temp_dir.hpp>

namespace chat_program_test {

using namespace cohort;
using namespace cohort::examples;
using cohort::test::talk;

namespace {

identity_key key_of(std::uint8_t n) {
    identity_key out;
    out.bytes.fill(n);
    return out;
}

/// Does nothing but note what is asked of it. Bob is there; nobody knows "ghost"; "slow" is reached when the test says
/// so.
class pretended_node {
public:
    explicit pretended_node(network& net) : happened_(net.executor()), ended_(net.executor()) {}

    std::uint16_t port() const { return 7001; }
    const identity_key& key() const { return key_; }
    const std::string& name() const { return name_; }
    asio::awaitable<void> run() {
        while (!stopped) co_await ended_.wait();
    }
    void stop() {
        stopped = true;
        ended_.notify();
        happened_.notify();
    }
    asio::awaitable<void> connect(std::string who) {
        note("connect " + who);
        if (who == "ghost") raise(errc::unknown_peer, who);
        while (who == "slow" && !reached) co_await happened_.wait();
    }
    asio::awaitable<message_id> send(std::string to, std::string text) {
        if (to == "ghost") raise(errc::unknown_peer, to);
        note("send " + to + ": " + text);
        co_return message_id{key_, ++sent_[to]};
    }
    asio::awaitable<chat_node_event> receive() {
        while (events_.empty()) {
            if (stopped) raise(errc::stopped);
            co_await happened_.wait();
        }
        chat_node_event out = std::move(events_.front());
        events_.pop_front();
        co_return out;
    }
    asio::awaitable<void> join(std::string room) {
        note("join " + room);
        co_return;
    }
    asio::awaitable<void> leave(std::string room) {
        note("leave " + room);
        co_return;
    }
    asio::awaitable<std::vector<shown_message>> history(std::string with, std::size_t limit,
                                                        std::optional<message_id> before) {
        std::vector<shown_message> out;
        const std::uint64_t end = before ? before->seq : 51;
        for (std::uint64_t seq = end > limit ? end - limit : 1; seq < end; ++seq) {
            shown_message one;
            one.with = one.from = with;
            one.id = {key_of(2), seq};
            one.text = "number " + std::to_string(seq) + ".";
            out.push_back(one);
        }
        co_return out;
    }
    void typing(const std::string& to, bool on) { note("typing " + to + (on ? " on" : " off")); }
    void set_presence(const std::string& state) { note("presence " + state); }
    void mark_read(const std::string& with) { note("read " + with); }
    asio::awaitable<message_id> send_file(std::string to, std::string path) {
        note("file " + to + ": " + path);
        co_return message_id{key_, 100};
    }
    asio::awaitable<void> accept_file(std::string with, message_id offer, std::string directory) {
        note("accept " + with + " " + std::to_string(offer.seq) + " " + directory);
        co_return;
    }
    void refuse_file(const std::string& with, const message_id& offer) {
        note("refuse " + with + " " + std::to_string(offer.seq));
    }
    std::vector<chat_peer> peers() const {
        return {{"bob", key_of(2), std::nullopt, true, true, false, ""}, {"carol", {}, {}, false, false, false, ""}};
    }
    std::vector<chat_room_info> rooms() const { return {{"#lobby", {"alice", "bob"}, 1}}; }
    std::vector<std::string> conversations() const { return {"bob", "#lobby"}; }
    std::string safety_number(const std::string&) const { return "12345 67890"; }
    void verify(const std::string& who) { note("verify " + who); }
    void forget(const std::string& who) { note("forget " + who); }

    // The test's side.
    void happen(chat_node_event event) {
        events_.push_back(std::move(event));
        happened_.notify();
    }
    void reach() {
        reached = true;
        happened_.notify();
    }
    bool asked(const std::string& what) const { return std::find(log.begin(), log.end(), what) != log.end(); }

    std::vector<std::string> log;
    bool stopped = false, reached = false;

private:
    void note(std::string what) { log.push_back(std::move(what)); }

    wakeup happened_, ended_;
    std::deque<chat_node_event> events_;
    std::map<std::string, std::uint64_t> sent_;
    std::string name_ = "alice";
    identity_key key_ = key_of(1);
};

/// A program that runs, somebody who types, and what came of it.
struct stage {
    stage(network& world, talk& other, chat_program_options options = {})
        : net(world),
          people(other),
          node(world),
          terminal(world.executor(), options.json, other.input, other.output),
          program(world, node, terminal, options),
          running(world.executor()) {
        running.spawn(whole());
    }

    asio::awaitable<void> whole() { code = co_await program.run(); }
    asio::awaitable<void> sees(std::string text) {
        try {
            const auto seen_it = [this, &text] { return people.sees(text); };
            co_await test::eventually(net, seen_it);
        } catch (const std::runtime_error&) {
            throw std::runtime_error("not seen: " + text + " in: " + people.seen());
        }
    }
    asio::awaitable<void> asked(std::string what) {
        const auto noted = [this, &what] { return node.asked(what); };
        co_await test::eventually(net, noted);
    }
    asio::awaitable<void> ended() { return running.join(); }

    network& net;
    talk& people;
    pretended_node node;
    console terminal;
    chat_program<pretended_node> program;
    task_group running;
    int code = -1;
};

chat_event::message from(const std::string& who, const std::string& text, const std::string& with = {}) {
    chat_event::message out;
    out.what.with = with.empty() ? who : with;
    out.what.from = who;
    out.what.id = {key_of(2), 1};
    out.what.text = text;
    return out;
}

using scene = asio::awaitable<void> (*)(stage&);

asio::awaitable<void> played(network& net, talk& people, chat_program_options options, scene play) {
    stage now(net, people, options);
    co_await play(now);
    co_await now.ended();
}

/// Plays on a terminal of 80 columns; what it looks like at the end.
std::vector<std::string> on_terminal(scene play) {
    ::setenv("TERM", "xterm", 1);
    ::setenv("NO_COLOR", "1", 1);
    talk people = talk::over_terminal(80);
    test::run([&](network& net) { return played(net, people, {}, play); });
    test::small_terminal screen(80);
    screen.write(people.seen());
    return screen.rows();
}

std::string in_pipe(scene play, chat_program_options options = {}) {
    talk people = talk::over_pipes();
    test::run([&](network& net) { return played(net, people, options, play); });
    return people.seen();
}

bool holds(const std::vector<std::string>& rows, std::string_view part) {
    return std::any_of(rows.begin(), rows.end(),
                       [part](const std::string& row) { return row.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("on a terminal people connect, talk, and leave") {
    const auto rows = on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("/connect bob\r");
        co_await s.sees("bob> ");
        s.people.type("hello\r");
        co_await s.asked("send bob: hello");
        co_await s.sees("alice → bob: hello");
        s.node.happen(from("bob", "hi there"));
        co_await s.sees("bob: hi there");
        co_await s.asked("read bob");
        s.people.type("/quit\r");
        co_await s.ended();
        CHECK(s.code == 0);
        CHECK(s.node.stopped);
    });
    CHECK(rows[0] == "-- alice listens on port 7001; /help says what can be done");
    CHECK(holds(rows, "> /connect bob"));
    CHECK(holds(rows, "alice → bob: hello"));
    CHECK(rows.back().empty());
}

TEST_CASE("what comes in while somebody types stands above the line, and the line stays whole") {
    const auto rows = on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("@bob\r");
        co_await s.sees("bob> ");
        s.people.type("half a mess");
        co_await s.sees("half a mess");
        for (int i = 0; i < 30; ++i) s.node.happen(from("bob", "number " + std::to_string(i)));
        co_await s.sees("number 29");
        s.people.type("age\r");
        co_await s.asked("send bob: half a message");
        s.people.type("\x04");
        co_await s.ended();
        CHECK(s.code == 0);
    });
    for (int i = 0; i < 30; ++i) CHECK(holds(rows, "bob: number " + std::to_string(i)));
    CHECK_FALSE(holds(rows, "bob> half"));
}

TEST_CASE("Ctrl-C empties the line; twice on an empty one it leaves with 130") {
    on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("words\x03");
        s.people.type("\x03");
        co_await s.sees("Ctrl-C again leaves");
        s.people.type("/peers\r");
        co_await s.sees("carol");
        s.people.type("\x03");
        const auto warned_twice = [&s] {
            const std::string& all = s.people.seen();
            return all.find("Ctrl-C again leaves") != all.rfind("Ctrl-C again leaves");
        };
        co_await test::eventually(s.net, warned_twice);
        s.people.type("\x03");
        co_await s.ended();
        CHECK(s.code == 130);
    });
}

TEST_CASE("a command that takes long does not hold up the next") {
    on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("/connect slow\r");
        co_await s.asked("connect slow");
        s.people.type("/peers\r");
        co_await s.sees("carol");
        s.people.type("already meant for them\r");
        co_await s.asked("send slow: already meant for them");
        s.people.type("\x04");
        co_await s.ended();
        CHECK(s.code == 0);
    });
}

TEST_CASE("a name that nobody has leaves the conversation as it was") {
    const auto rows = on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("@bob\r/connect ghost\r");
        co_await s.sees("!! ghost: nobody of that name is registered");
        s.people.type("for bob\r");
        co_await s.asked("send bob: for bob");
        s.people.type("@ghost hello\r/conect x\r");
        co_await s.sees("did you mean /connect?");
        s.people.type("also\r");
        co_await s.asked("send bob: also");
        s.people.type("\x04");
    });
    CHECK(holds(rows, "!! /conect: no such command; did you mean /connect?"));
}

TEST_CASE("words without anybody to hear them are an error that says what to do") {
    const auto rows = on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("hello?\r");
        co_await s.sees("nobody to talk to yet: @NAME");
        s.people.type("\x04");
        co_await s.ended();
        CHECK(s.node.log.empty());
    });
}

TEST_CASE("the other side hears that somebody is typing, and when not any more") {
    on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("/peers");
        s.people.type("\x03@bob\r");
        co_await s.asked("read bob");
        CHECK_FALSE(s.node.asked("typing bob on"));
        s.people.type("h");
        co_await s.asked("typing bob on");
        s.people.type("i");
        s.people.type("\r");
        co_await s.asked("send bob: hi");
        CHECK(std::count(s.node.log.begin(), s.node.log.end(), "typing bob on") == 1);
        CHECK(s.node.asked("typing bob off"));
        s.people.type("x");
        const auto times = [&s](const char* what) { return std::count(s.node.log.begin(), s.node.log.end(), what); };
        const auto began_again = [&times] { return times("typing bob on") == 2; };
        co_await test::eventually(s.net, began_again);
        s.people.type("\x7f");
        const auto ended_again = [&times] { return times("typing bob off") == 2; };
        co_await test::eventually(s.net, ended_again);
        s.people.type("\x04");
    });
}

TEST_CASE("Tab completes the names that the node knows") {
    on_terminal([](stage& s) -> asio::awaitable<void> {
        s.people.type("/connect ca\t\r");
        co_await s.asked("connect carol");
        s.people.type("@#lo\thi\r");
        co_await s.asked("send #lobby: hi");
        s.people.type("\x04");
    });
}

TEST_CASE("history pages back when asked again, and begins anew after anything else") {
    const std::string out = in_pipe([](stage& s) -> asio::awaitable<void> {
        s.people.type("@bob\n/history 20\n");
        co_await s.sees("number 50.");
        CHECK(s.people.sees("number 31."));
        CHECK_FALSE(s.people.sees("number 30."));
        s.people.type("/history 20\n");
        co_await s.sees("number 30.");
        s.people.type("/history\n");
        co_await s.sees("number 1.");
        s.people.type("/history\n");
        co_await s.sees("(nothing earlier with bob)");
        s.people.forget();
        s.people.type("/peers\n/history 5\n");
        co_await s.sees("number 50.");
        CHECK_FALSE(s.people.sees("number 45."));
        s.people.hang_up();
    });
    CHECK(out.find('\x1b') == std::string::npos);
}

TEST_CASE("in a pipe one command runs after the other") {
    in_pipe([](stage& s) -> asio::awaitable<void> {
        s.people.type("/connect slow\nhello\n");
        co_await s.asked("connect slow");
        for (int i = 0; i < 100; ++i) co_await asio::post(s.net.executor(), asio::use_awaitable);
        CHECK_FALSE(s.node.asked("send slow: hello"));
        s.node.reach();
        co_await s.asked("send slow: hello");
        s.people.hang_up();
        co_await s.ended();
        CHECK(s.code == 0);
    });
}

TEST_CASE("at the end of piped input own messages are handed over to those who are there") {
    const std::string out = in_pipe([](stage& s) -> asio::awaitable<void> {
        s.people.type("@bob hello\n@carol later\n");
        s.people.hang_up();
        co_await s.asked("send carol: later");
        for (int i = 0; i < 100; ++i) co_await asio::post(s.net.executor(), asio::use_awaitable);
        CHECK(s.code == -1);
        // Carol is not there and nobody waits for her; bob is.
        s.node.happen(chat_event::receipt{"bob", "bob", {key_of(1), 1}, delivery::sent});
        for (int i = 0; i < 100; ++i) co_await asio::post(s.net.executor(), asio::use_awaitable);
        CHECK(s.code == -1);
        s.node.happen(chat_event::receipt{"bob", "bob", {key_of(1), 1}, delivery::delivered});
        co_await s.ended();
        CHECK(s.code == 0);
    });
    CHECK(out.find("waits on disk for carol\n") != std::string::npos);
    CHECK(out.find("waits on disk for bob") == std::string::npos);
}

TEST_CASE("in a pipe a command that fails makes the exit code 1, and the others run all the same") {
    const std::string out = in_pipe([](stage& s) -> asio::awaitable<void> {
        s.people.type("/connect ghost\n/connect bob\n/quit\n");
        co_await s.asked("connect bob");
        co_await s.ended();
        CHECK(s.code == 1);
    });
    CHECK(out.find("!!") == std::string::npos);  // it is on standard error
}

TEST_CASE("who is to stay does not leave at the end of the input") {
    chat_program_options staying;
    staying.stay = true;
    talk people = talk::over_pipes();
    test::run([&](network& net) {
        return [](network& world, talk& other, chat_program_options options) -> asio::awaitable<void> {
            stage s(world, other, options);
            other.hang_up();
            s.node.happen(from("bob", "still there?"));
            co_await s.sees("still there?");
            for (int i = 0; i < 100; ++i) co_await asio::post(world.executor(), asio::use_awaitable);
            CHECK(s.code == -1);
            s.running.cancel();
            co_await s.ended();
        }(net, people, staying);
    });
}

TEST_CASE("rooms, presence, keys and files are asked of the node") {
    const std::string out = in_pipe([](stage& s) -> asio::awaitable<void> {
        s.people.type("/join lobby\nhi all\n/leave\n/away lunch\n/back\n/verify bob\n/verify bob yes\n/forget bob\n");
        co_await s.asked("forget bob");
        const std::vector<std::string> expected = {"join #lobby",    "send #lobby: hi all", "leave #lobby",
                                                   "presence lunch", "presence online",     "verify bob",
                                                   "forget bob"};
        CHECK(s.node.log == expected);
        s.node.happen(chat_event::file_offered{"bob", "bob", {key_of(2), 5}, "a.jpg", 10});
        s.node.happen(chat_event::file_offered{"bob", "bob", {key_of(2), 6}, "b.jpg", 10});
        co_await s.sees("/accept 2");
        s.people.type("/accept 1 /tmp\n/accept 1\n/refuse\n/refuse\n/msg bob don't \"go\n");
        co_await s.asked("send bob: don't \"go");
        CHECK(s.node.asked("accept bob 5 /tmp"));
        CHECK(s.node.asked("refuse bob 6"));
        s.node.happen(chat_event::receipt{"#lobby", "bob", {key_of(1), 1}, delivery::delivered});
        s.node.happen(chat_event::receipt{"bob", "bob", {key_of(1), 1}, delivery::delivered});
        s.people.hang_up();
        co_await s.ended();
        CHECK(s.code == 1);  // nobody offered anything any more
    });
    CHECK(out.find("12345 67890") != std::string::npos);
}

TEST_CASE("a file is offered with its whole path, and one that is not there is an error") {
    const test::temp_dir folder;
    test::write_file(folder / "my photo.jpg", std::string_view("12345"));
    ::setenv("COHORT_TEST_FOLDER", folder.string().c_str(), 1);
    const std::string out = in_pipe([](stage& s) -> asio::awaitable<void> {
        const std::string base = std::getenv("COHORT_TEST_FOLDER");
        s.people.type("/send bob '" + base + "/my photo.jpg'\n/send bob " + base + "/missing\n");
        co_await s.asked("file bob: " + base + "/my photo.jpg");
        s.people.hang_up();
        co_await s.ended();
        CHECK(s.code == 1);
    });
    CHECK(out.find("-- offered my photo.jpg (5 B) to bob\n") != std::string::npos);
}

TEST_CASE("with JSON each command is answered in order, with its tag, and events are lines") {
    chat_program_options json;
    json.json = true;
    const std::string out = in_pipe(
        [](stage& s) -> asio::awaitable<void> {
            co_await s.sees("\"event\":\"ready\"");
            s.people.type(R"({"command":"send","to":"bob","text":"one\ntwo","tag":1})"
                          "\n");
            co_await s.asked("send bob: one\ntwo");
            s.people.type("hello\n\n{oops\n@bob\n/history 1\n/verify bob\n/peers\n/rooms\n{\"command\":\"dance\"}\n");
            s.people.type("{\"command\":\"typing\",\"on\":true}\n/connect ghost\n");
            co_await s.sees("nobody of that name");
            s.node.happen(from("carol", "x"));
            co_await s.sees("\"event\":\"message\"");
            s.people.type("/quit\n");
            co_await s.ended();
            CHECK(s.code == 0);
            CHECK_FALSE(s.node.asked("read carol"));
            CHECK(s.node.asked("typing bob on"));
        },
        json);
    const std::string key(64, '0'), ours = key_of(1).hex(), theirs = key_of(2).hex();
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < out.size(); at = out.find('\n', at) + 1) {
        lines.push_back(out.substr(at, out.find('\n', at) - at));
    }
    REQUIRE(lines.size() == 14);
    CHECK(lines[0] == R"({"event":"ready","name":"alice","key":")" + ours + R"(","port":7001})");
    CHECK(lines[1] == R"({"event":"done","command":"send","with":"bob","id":")" + ours + R"(:1","tag":1})");
    CHECK(lines[2].starts_with(R"({"event":"error","command":"send","message":"nobody to talk to yet)"));
    CHECK(lines[3] == R"({"event":"error","command":null,"message":"not valid JSON"})");
    CHECK(lines[4] == R"({"event":"done","command":"talk","with":"bob"})");
    CHECK(lines[5].starts_with(R"({"event":"done","command":"history","with":"bob","messages":[{"from":"bob","id":")"));
    CHECK(lines[6] ==
          R"({"event":"done","command":"verify","name":"bob","safety_number":"12345 67890","verified":false})");
    CHECK(lines[7].starts_with(R"({"event":"done","command":"peers","peers":[{"address":null,"connected":true,)"));
    CHECK(lines[8] ==
          R"({"event":"done","command":"rooms","rooms":[{"connected":1,"members":["alice","bob"],"name":"#lobby"}]})");
    CHECK(lines[9] == R"({"event":"error","command":"dance","message":"no such command"})");
    CHECK(lines[10] == R"({"event":"done","command":"typing"})");
    CHECK(lines[11] == R"({"event":"error","command":"connect","message":"ghost: nobody of that name is registered"})");
    CHECK(lines[12].starts_with(R"({"event":"message","with":"carol","from":"carol","text":"x",)"));
    CHECK(lines[13] == R"({"event":"done","command":"quit"})");
}

TEST_CASE("a program that is cancelled gives the terminal back") {
    ::setenv("TERM", "xterm", 1);
    talk people = talk::over_terminal();
    test::run([&](network& net) {
        return [](network& world, talk& other) -> asio::awaitable<void> {
            stage s(world, other);
            co_await s.sees("> ");
            s.running.cancel();
            co_await s.ended();
        }(net, people);
    });
    CHECK(people.sees("\x1b[?2004l"));
}

TEST_CASE("ids of messages are read as they are written") {
    const message_id id{key_of(0xab), 17};
    CHECK(message_id::parse(id.text()) == id);
    for (const char* text : {"", ":", "ab:1", "x:1"}) CHECK_FALSE(message_id::parse(text).has_value());
    CHECK_FALSE(message_id::parse(key_of(1).hex()).has_value());
    CHECK_FALSE(message_id::parse(key_of(1).hex() + ":").has_value());
    CHECK_FALSE(message_id::parse(key_of(1).hex() + ":-1").has_value());
    CHECK_FALSE(message_id::parse(key_of(1).hex() + ":99999999999999999999").has_value());
}

}  // namespace chat_program_test
