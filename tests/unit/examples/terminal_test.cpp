#include <examples/support/terminal.hpp>

#include <cstdio>
#include <memory>
#include <string>

#include <doctest/doctest.h>

namespace terminal_test {

using namespace cohort;
using namespace cohort::examples;

namespace {

/// A file in memory that the printer writes to.
class captured {
public:
    std::FILE* file() { return file_.get(); }

    std::string text() {
        std::string out;
        std::rewind(file_.get());
        for (int c = std::fgetc(file_.get()); c != EOF; c = std::fgetc(file_.get())) out += static_cast<char>(c);
        return out;
    }

private:
    struct closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, closer> file_{std::tmpfile()};
};

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
    return n;
}

}  // namespace

TEST_CASE("sizes are in decimal units and never show a thousand of one unit") {
    CHECK(human_size(0) == "0 B");
    CHECK(human_size(999) == "999 B");
    CHECK(human_size(1000) == "1.0 kB");
    CHECK(human_size(99'949) == "99.9 kB");
    CHECK(human_size(99'950) == "100 kB");
    CHECK(human_size(999'499) == "999 kB");
    CHECK(human_size(999'500) == "1.0 MB");
    CHECK(human_size(23'456'789) == "23.5 MB");
    CHECK(human_size(UINT64_MAX) == "18.4 EB");
}

TEST_CASE("rates that are not positive numbers read as zero") {
    CHECK(human_rate(12'300'000) == "12.3 MB/s");
    CHECK(human_rate(0.4) == "0 B/s");
    CHECK(human_rate(-5) == "0 B/s");
    CHECK(human_rate(0.0 / 0.0) == "0 B/s");
    CHECK(human_rate(1e300) == "1.0 EB/s");
}

TEST_CASE("durations grow from tenths to days") {
    CHECK(human_duration(-1s) == "0.0 s");
    CHECK(human_duration(3240ms) == "3.2 s");
    CHECK(human_duration(9940ms) == "9.9 s");
    CHECK(human_duration(9960ms) == "10 s");
    CHECK(human_duration(59600ms) == "1:00");
    CHECK(human_duration(185s) == "3:05");
    CHECK(human_duration(2h + 3min + 5s) == "2:03:05");
    CHECK(human_duration(98h + 3min) == "4 d 02:03");
}

TEST_CASE("what a terminal would obey, and what is not UTF-8, is printed as a question mark") {
    CHECK(printable("plain") == "plain");
    CHECK(printable("grüße 日本 🎉") == "grüße 日本 🎉");
    CHECK(printable("a\x1b[2Jb\nc\x7f") == "a?[2Jb?c?");
    CHECK(printable("\xc2\x9b") == "?");  // the one-byte form of ESC [
    CHECK(printable("\u202egpj.exe") == "?gpj.exe");
    CHECK(printable("a\u200eb\u200fc\u202ed\u2066e\u2069") == "a?b?c?d?e?");
    CHECK(printable("\u061c\u200b\ufeff") == "???");
    CHECK(printable("a/b\\c \u200d\u200c") == "a/b\\c \u200d\u200c");
    CHECK(printable("\xff\xc3") == "??");
    CHECK(printable("\xc0\xaf") == "??");       // an overlong slash
    CHECK(printable("\xed\xa0\x80") == "???");  // half of a surrogate pair
}

TEST_CASE("text is measured in columns and cut between characters") {
    CHECK(display_width("abc") == 3);
    CHECK(display_width("e\u0301") == 1);
    CHECK(display_width("日本語") == 6);
    CHECK(fit("abc", 5) == "abc  ");
    CHECK(fit("abcdef", 4) == "abc…");
    CHECK(fit("日本語", 4) == "日… ");
    CHECK(fit("日本語", 6) == "日本語");
    CHECK(fit("abc", 1) == "…");
    CHECK(fit("abc", 0).empty());
}

TEST_CASE("progress reaches 100 % only with the last byte") {
    progress state{.label = "x", .done = 999'999, .total = 1'000'000, .rate = 0, .note = {}};
    CHECK(state.percent() == 99);
    state.done = state.total;
    CHECK(state.percent() == 100);
    state = {.label = "x", .done = UINT64_MAX - 1, .total = UINT64_MAX, .rate = 0, .note = {}};
    CHECK(state.percent() == 99);
    state = {.label = "nothing to do", .done = 0, .total = 0, .rate = 0, .note = {}};
    CHECK(state.percent() == 100);
}

TEST_CASE("the time left is told only where the rate says something") {
    progress state{.label = "x", .done = 50, .total = 150, .rate = 10, .note = {}};
    CHECK(state.left() == 10s);
    state.rate = 0;
    CHECK_FALSE(state.left().has_value());
    state = {.label = "x", .done = 0, .total = UINT64_MAX, .rate = 1, .note = {}};
    CHECK_FALSE(state.left().has_value());
}

TEST_CASE("a progress line shows all there is room for") {
    const progress state{
        .label = "demo", .done = 45'000'000, .total = 100'000'000, .rate = 5'000'000, .note = "4 peers"};
    const std::string line = progress_line(state, 80);
    CHECK(line.starts_with("demo [=="));
    CHECK(line.find(" 45 %  5.0 MB/s   11 s left") != std::string::npos);
    CHECK(line.ends_with("4 peers"));
    CHECK(display_width(line) == 80);
    CHECK(progress_line(state, 45).find('[') != std::string::npos);
    CHECK(progress_line(state, 45).find("peers") == std::string::npos);
    CHECK(progress_line(state, 30).find('[') == std::string::npos);
    CHECK(progress_line(state, 30).find("5.0 MB/s") != std::string::npos);
    CHECK(progress_line(state, 4) == " 45…");
}

TEST_CASE("a progress line never exceeds the terminal, whatever the name") {
    progress state{.label = "", .done = 1, .total = 3, .rate = 123'456'789, .note = "a longer note 日本"};
    for (const char* name :
         {"", "x", "a name that is rather long for a line", "日本語の長い名前のフォルダ", "\x1b[31m"}) {
        state.label = name;
        for (std::size_t columns = 0; columns <= 160; ++columns) {
            CHECK(display_width(progress_line(state, columns)) <= columns);
        }
    }
}

TEST_CASE("on a terminal the bar is one line that is redrawn at most ten times a second") {
    captured out;
    time_point now{};
    {
        progress_printer printer(out.file(), true, 60);
        for (int ms = 0; ms < 1000; ++ms) {
            const progress state{
                .label = "x", .done = static_cast<std::uint64_t>(ms), .total = 1000, .rate = 1, .note = {}};
            printer.show(state, now + std::chrono::milliseconds(ms));
        }
        printer.print("a line");
        const progress end{.label = "x", .done = 1000, .total = 1000, .rate = 1, .note = {}};
        printer.show(end, now + 999ms);
        printer.finish();
    }
    const std::string text = out.text();
    CHECK(count(text, "\r") == 10 + 2 + 1 + 1);  // ten bars, the line and the bar below it, the end, finish()
    CHECK(count(text, "\n") == 2);
    CHECK(text.find("\r\x1b[Ka line\n\r") != std::string::npos);
    CHECK(text.find("100 %") != std::string::npos);
    CHECK(text.ends_with("\x1b[K\n"));
}

TEST_CASE("in a pipe progress is a line at each tenth, at most one a second, without control characters") {
    captured out;
    const time_point now{};
    progress_printer printer(out.file(), false);
    for (int ms = 0; ms <= 5000; ++ms) {
        const progress state{
            .label = "x", .done = static_cast<std::uint64_t>(ms), .total = 5000, .rate = 1000, .note = "1 peer"};
        printer.show(state, now + std::chrono::milliseconds(ms));
    }
    printer.finish();
    const std::string text = out.text();
    CHECK(text ==
          "x: 0 %, 0 B of 5.0 kB, 1.0 kB/s, 1 peer\n"
          "x: 20 %, 1.0 kB of 5.0 kB, 1.0 kB/s, 1 peer\n"
          "x: 40 %, 2.0 kB of 5.0 kB, 1.0 kB/s, 1 peer\n"
          "x: 60 %, 3.0 kB of 5.0 kB, 1.0 kB/s, 1 peer\n"
          "x: 80 %, 4.0 kB of 5.0 kB, 1.0 kB/s, 1 peer\n"
          "x: 100 %, 5.0 kB of 5.0 kB, 1.0 kB/s, 1 peer\n");
}

TEST_CASE("in a pipe a transfer that stands still says so every ten seconds") {
    captured out;
    const time_point now{};
    progress_printer printer(out.file(), false);
    const progress state{.label = "x", .done = 1, .total = 10, .rate = 0, .note = {}};
    for (int second = 0; second <= 25; ++second) printer.show(state, now + std::chrono::seconds(second));
    CHECK(count(out.text(), "\n") == 3);
}

TEST_CASE("the end is shown even right after another line, and only once") {
    captured out;
    const time_point now{};
    progress_printer printer(out.file(), false);
    progress state{.label = "x", .done = 1, .total = 10, .rate = 0, .note = {}};
    printer.show(state, now);
    state.done = 10;
    printer.show(state, now + 1ms);
    printer.show(state, now + 60s);
    CHECK(count(out.text(), "100 %") == 1);
}

TEST_CASE("on a terminal what is complete goes on being drawn: a seeder has rates and peers") {
    captured out;
    const time_point now{};
    progress_printer printer(out.file(), true, 80);
    progress state{.label = "x", .done = 10, .total = 10, .rate = 0, .note = "0 peers"};
    printer.show(state, now);
    state.note = "3 peers";
    printer.show(state, now + 50ms);
    CHECK(count(out.text(), "3 peers") == 0);
    printer.show(state, now + 1s);
    CHECK(count(out.text(), "3 peers") == 1);
}

}  // namespace terminal_test
