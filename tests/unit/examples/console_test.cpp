#include <examples/support/console.hpp>

#include <sys/wait.h>
#include <termios.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/net/task_group.hpp>
#include <support/eventually.hpp>
#include <support/pseudo_terminal.hpp>
#include <support/run.hpp>
#include <support/temp_dir.hpp>

namespace console_test {

using namespace cohort;
using namespace cohort::examples;
using cohort::test::talk;

namespace {

asio::awaitable<void> read_all(console& source, std::vector<typed>& out) {
    for (;;) {
        const typed one = co_await source.next();
        out.push_back(one);
        if (one.what == typed::kind::end_of_input) co_return;
    }
}

typed line(const std::string& text) { return {typed::kind::line, text}; }
const typed the_end{typed::kind::end_of_input, {}};

tcflag_t local_modes(int terminal) {
    termios modes{};
    CHECK(::tcgetattr(terminal, &modes) == 0);
    return modes.c_lflag;
}

struct with_term {
    with_term() { ::setenv("TERM", "xterm", 1); }
};

}  // namespace

TEST_CASE("from a pipe come lines, the last also without its end, and then the end for ever") {
    talk people = talk::over_pipes();
    std::vector<typed> got;
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other, std::vector<typed>& lines) -> asio::awaitable<void> {
            console terminal(world.executor(), false, other.input, other.output);
            CHECK_FALSE(terminal.live());
            other.type("one\r\n\ntw");
            other.type("o\nthree");
            other.hang_up();
            co_await read_all(terminal, lines);
            const typed again = co_await terminal.next();
            CHECK(again == the_end);
            terminal.print("said");
            terminal.print("a\nb\n");
        }(net, people, got);
    });
    CHECK(got == std::vector{line("one"), line(""), line("two"), line("three"), the_end});
    CHECK(people.seen() == "said\na\nb\n");
}

TEST_CASE("the shared opening of a pipe is given back blocking") {
    talk people = talk::over_pipes();
    const int before = ::fcntl(people.input, F_GETFL);
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other) -> asio::awaitable<void> {
            console terminal(world.executor(), false, other.input, other.output);
            task_group reading(world.executor());
            std::vector<typed> got;
            reading.spawn(read_all(terminal, got));
            other.type("x\n");
            const auto one_line = [&got] { return got.size() == 1; };
            co_await test::eventually(world, one_line);
            reading.cancel();
            co_await reading.join();
        }(net, people);
    });
    CHECK(::fcntl(people.input, F_GETFL) == before);
}

TEST_CASE("a file, which cannot be waited for, is read as a pipe is") {
    const test::temp_dir folder;
    std::string text;
    for (int i = 0; i < 10000; ++i) text += std::to_string(i) + "\n";
    test::write_file(folder / "input", std::string_view(text));
    for (const std::string& path : {(folder / "input").string(), std::string("/dev/null")}) {
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        REQUIRE(file >= 0);
        std::vector<typed> got;
        talk people = talk::over_pipes();
        test::run([&](network& net) -> asio::awaitable<void> {
            return [](network& world, int input, int output, std::vector<typed>& lines) -> asio::awaitable<void> {
                console terminal(world.executor(), false, input, output);
                co_await read_all(terminal, lines);
            }(net, file, people.output, got);
        });
        ::close(file);
        CHECK(got.size() == (path == "/dev/null" ? 1 : 10001));
    }
}

TEST_CASE("an endless line is cut in pieces instead of being kept") {
    talk people = talk::over_pipes();
    std::vector<typed> got;
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other, std::vector<typed>& lines) -> asio::awaitable<void> {
            console terminal(world.executor(), false, other.input, other.output);
            task_group reading(world.executor());
            reading.spawn(read_all(terminal, lines));
            for (int i = 0; i < 48; ++i) {
                other.type(std::string(32768, 'x'));
                const auto all_read = [&other] {
                    int unread = 0;
                    return ::ioctl(other.input, FIONREAD, &unread) == 0 && unread == 0;
                };
                co_await test::eventually(world, all_read);
            }
            other.hang_up();
            co_await reading.join();
        }(net, people, got);
    });
    REQUIRE(got.size() == 3);
    CHECK(got[0].line.size() == console::longest_line);
    CHECK(got[0].line.size() + got[1].line.size() == 48 * 32768);
}

TEST_CASE("on a terminal keys come one by one, what is printed goes above, and the modes come back") {
    const with_term term;
    talk people = talk::over_terminal();
    const tcflag_t before = local_modes(people.input);
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other) -> asio::awaitable<void> {
            console terminal(world.executor(), false, other.input, other.output);
            CHECK(terminal.live());
            CHECK((local_modes(other.input) & (ICANON | ECHO | ISIG)) == 0);
            CHECK(other.sees("\x1b[?2004h"));
            terminal.editor().set_prompt("> ");
            terminal.flush();
            int edits = 0;
            terminal.on_edit([&edits] { ++edits; });
            task_group reading(world.executor());
            std::vector<typed> got;
            reading.spawn(read_all(terminal, got));
            other.type("hal");
            const auto drawn = [&] { return other.sees("> hal"); };
            co_await test::eventually(world, drawn);
            CHECK(edits == 1);
            terminal.print("news");
            CHECK(other.sees("\r\x1b[Jnews\r"));
            other.type("lo\r\x03\x04");
            co_await reading.join();
            CHECK(got == std::vector{line("hallo"), typed{typed::kind::interrupt, ""}, the_end});
            terminal.restore();
            terminal.print("after");
        }(net, people);
    });
    CHECK(local_modes(people.input) == before);
    CHECK(people.sees("\x1b[?2004l"));
    CHECK(people.seen().ends_with("after\r\n"));
}

TEST_CASE("a terminal that goes away is the end of the input") {
    const with_term term;
    talk people = talk::over_terminal();
    std::vector<typed> got;
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other, std::vector<typed>& lines) -> asio::awaitable<void> {
            console terminal(world.executor(), false, other.input, other.output);
            task_group reading(world.executor());
            reading.spawn(read_all(terminal, lines));
            other.hang_up();
            co_await reading.join();
        }(net, people, got);
    });
    CHECK(got == std::vector{the_end});
}

TEST_CASE("with another size of the window the line is drawn anew") {
    const with_term term;
    talk people = talk::over_terminal(80);
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other) -> asio::awaitable<void> {
            console terminal(world.executor(), false, other.input, other.output);
            CHECK(terminal.editor().columns() == 80);
            winsize size{};
            size.ws_col = 33;
            CHECK(::ioctl(other.input, TIOCSWINSZ, &size) == 0);
            ::raise(SIGWINCH);
            const auto narrow = [&] { return terminal.editor().columns() == 33; };
            co_await test::eventually(world, narrow);
        }(net, people);
    });
}

TEST_CASE("a dumb terminal, or one that is not wanted, is read line by line") {
    talk people = talk::over_terminal();
    test::run([&](network& net) -> asio::awaitable<void> {
        return [](network& world, talk& other) -> asio::awaitable<void> {
            ::setenv("TERM", "dumb", 1);
            console dumb(world.executor(), false, other.input, other.output);
            CHECK_FALSE(dumb.live());
            ::setenv("TERM", "xterm", 1);
            console plain(world.executor(), true, other.input, other.output);
            CHECK_FALSE(plain.live());
            other.type("hello\n");
            const typed got = co_await plain.next();
            CHECK(got == line("hello"));
        }(net, people);
    });
}

TEST_CASE("a signal that ends the process on the spot leaves the terminal as it was") {
    const with_term term;
    for (const int signal : {SIGABRT, SIGSEGV, SIGQUIT}) {
        talk people = talk::over_terminal();
        const tcflag_t before = local_modes(people.input);
        const ::pid_t child = ::fork();
        if (child == 0) {
            for (const int one : {SIGABRT, SIGSEGV, SIGQUIT}) ::signal(one, SIG_DFL);
            raw_mode raw(people.input);
            raw.enter();
            ::raise(signal);
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == signal);
        CHECK(local_modes(people.input) == before);
        CHECK(people.sees("\x1b[?2004l"));
    }
}

}  // namespace console_test
