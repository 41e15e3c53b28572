#include <examples/support/line_editor.hpp>

#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <support/small_terminal.hpp>

namespace line_editor_test {

using namespace cohort;
using namespace cohort::examples;
using cohort::test::small_terminal;

namespace {

using rows = std::vector<std::string>;

/// An editor and the terminal that it draws on.
struct desk {
    explicit desk(std::size_t columns = 40) : editor(columns), screen(columns) {
        editor.set_prompt("> ");
        show();
    }
    std::vector<typed> type(std::string_view bytes) {
        auto out = editor.feed(bytes);
        show();
        return out;
    }
    void print(std::string_view text) {
        editor.print_above(text);
        show();
    }
    void show() { screen.write(editor.take_output()); }

    line_editor editor;
    small_terminal screen;
};

std::vector<key_press> keys_of(std::string_view bytes) { return key_reader().read(bytes); }
key_press one(key what) { return {what, {}}; }
key_press text(std::u32string_view what) { return {key::text, std::u32string(what)}; }
typed line(const std::string& what) { return {typed::kind::line, what}; }

constexpr std::string_view left = "\x1b[D", right = "\x1b[C", up = "\x1b[A", down = "\x1b[B", home = "\x1b[H",
                           end = "\x1b[F";

}  // namespace

TEST_CASE("keys come out of UTF-8, control characters and the sequences of terminals") {
    CHECK(keys_of("hé日🎉") == std::vector{text(U"hé日🎉")});
    CHECK(keys_of("a\r\t\x7f\x03\x04") == std::vector{text(U"a"), one(key::enter), one(key::tab), one(key::backspace),
                                                      one(key::interrupt), one(key::end_of_input)});
    CHECK(keys_of("\x1b[A\x1bOB\x1b[1;5C\x1b[1;3D\x1b[H\x1bOF\x1b[3~\x1b[1~\x1b[4~") ==
          std::vector{one(key::up), one(key::down), one(key::word_right), one(key::word_left), one(key::home),
                      one(key::end), one(key::erase), one(key::home), one(key::end)});
    CHECK(keys_of("\x1b"
                  "b\x1b"
                  "f\x1b"
                  "d\x1b\x7f\x1b\r") == std::vector{one(key::word_left), one(key::word_right), one(key::kill_next_word),
                                                    one(key::kill_word), one(key::newline)});
}

TEST_CASE("sequences that mean nothing vanish whole, and what follows them does not") {
    CHECK(keys_of("\x1b[15~\x1b[[A\x1b[24;2~\x1b[?1;2cx") == std::vector{text(U"x")});
    CHECK(keys_of("\x1bOPx") == std::vector{text(U"x")});
    CHECK(keys_of("\x1b[12\x03") == std::vector{one(key::interrupt)});
    CHECK(keys_of("\x1bx") == std::vector{text(U"x")});  // Esc, then x
    CHECK(keys_of("\x1b\x1b[A") == std::vector{one(key::up)});
    CHECK(keys_of("\x1b[" + std::string(40, '1') + "x").empty());
    key_reader reader;
    CHECK(reader.read("\x1b[" + std::string(40, '1')).empty());  // without an end, it is given up
    CHECK(reader.read("x") == std::vector{text(U"x")});
}

TEST_CASE("invalid UTF-8 and what a terminal would obey are no text") {
    CHECK(keys_of("a\xff\xc3(b").size() == 1);
    CHECK(keys_of("a\xff\xc3(b") == std::vector{text(U"a(b")});
    CHECK(keys_of("a\xc2\x9b\u202eb\x01z") == std::vector{text(U"ab"), one(key::home), text(U"z")});
    CHECK(keys_of("a\u200eb\u200fc\u2066d/") == std::vector{text(U"abcd/")});
}

TEST_CASE("a key may be cut anywhere by the terminal") {
    const std::string all = "hé日🎉\x1b[1;5C\x1b[200~a\r\nb\x1b[2Jc\x1b[201~\x1bOAz\r";
    const auto whole = keys_of(all);
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        key_reader reader;
        auto parts = reader.read(std::string_view(all).substr(0, cut));
        for (const key_press& next : reader.read(std::string_view(all).substr(cut))) {
            const bool joined = next.what == key::text && !parts.empty() && parts.back().what == key::text;
            joined ? void(parts.back().text += next.text) : parts.push_back(next);
        }
        CHECK(parts == whole);
    }
    key_reader reader;
    std::u32string texts;
    for (const char c : all) {
        for (const key_press& next : reader.read(std::string_view(&c, 1))) texts += next.text;
    }
    CHECK(texts == U"hé日🎉a\nb[2Jcz");
}

TEST_CASE("a paste is text: its line ends and tabs stay, its keys do nothing, and a very long one is cut") {
    CHECK(keys_of("\x1b[200~a\r\nb\rc\nd\te\x03\x1b[A\x1b[201~x") == std::vector{text(U"a\nb\nc\nd\te[Ax")});
    const auto huge = keys_of("\x1b[200~" + std::string(key_reader::longest_paste + 1000, 'x') + "\x1b[201~\r");
    REQUIRE(huge.size() == 2);
    CHECK(huge[0].text.size() == key_reader::longest_paste);
    CHECK(huge[1].what == key::enter);
}

TEST_CASE("what is typed stands behind the prompt, and Enter gives it") {
    desk d;
    CHECK(d.type("hello").empty());
    CHECK(d.screen.rows() == rows{"> hello"});
    CHECK(d.screen.column() == 7);
    CHECK(d.type("\r") == std::vector{line("hello")});
    CHECK(d.screen.rows() == rows{">"});
    CHECK(d.type("a\rb\rc") == std::vector{line("a"), line("b")});
    CHECK(d.screen.rows() == rows{"> c"});
}

TEST_CASE("the cursor moves by characters and words, and keys change what is at it") {
    desk d;
    d.type("one two three");
    d.type(std::string(left) + std::string(left) + "X");
    CHECK(d.editor.line() == "one two thrXee");
    d.type("\x01Y\x05Z");
    CHECK(d.editor.line() == "Yone two thrXeeZ");
    d.type("\x1b[1;5D\x1b[1;5D|");
    CHECK(d.editor.line() == "Yone |two thrXeeZ");
    d.type("\x1b[1;5C\x17");
    CHECK(d.editor.line() == "Yone  thrXeeZ");
    d.type("\x0b");
    CHECK(d.editor.line() == "Yone ");
    d.type(std::string(home) + std::string(right) + "\x1b[3~");
    CHECK(d.editor.line() == "Yne ");
    d.type("\x04");
    CHECK(d.editor.line() == "Ye ");
    d.type("\x15");
    CHECK(d.editor.line() == "e ");
    d.type(std::string(end) + "\x7f\x7f\x7f\x7f");
    CHECK(d.editor.line().empty());
    d.type(
        "ab cd\x01\x1b"
        "d");
    CHECK(d.editor.line() == " cd");
}

TEST_CASE("wide characters take two columns, and combining marks go with the character before them") {
    desk d;
    d.type("日e\u0301🎉");
    CHECK(d.screen.rows() == rows{"> 日e\u0301🎉"});
    CHECK(d.screen.column() == 2 + 2 + 1 + 2);
    d.type(left);
    CHECK(d.screen.column() == 5);
    d.type(left);
    CHECK(d.screen.column() == 4);
    CHECK(d.editor.cursor() == 1);
    d.type("x\x1b[3~");
    CHECK(d.editor.line() == "日x🎉");
    d.type(std::string(end) + "\x7f\x7f\x7f");
    CHECK(d.editor.line().empty());
    d.type("e\u0301\x7f");
    CHECK(d.editor.line().empty());
}

TEST_CASE("a line longer than the screen scrolls sideways, with signs where it goes on") {
    desk d(20);
    d.type("abcdefghijklmnopqrstuvwxyz");
    REQUIRE(d.screen.rows().size() == 1);
    const std::string shown = d.screen.rows()[0];
    CHECK(shown.starts_with("> <"));
    CHECK(shown.ends_with("xyz"));
    d.type(home);
    CHECK(d.screen.rows() == rows{"> abcdefghijklmnop>"});
    CHECK(d.screen.column() == 2);
    for (int i = 0; i < 15; ++i) d.type(right);
    CHECK(d.screen.rows()[0].starts_with("> <"));
    CHECK(d.screen.rows()[0].ends_with(">"));
    d.type("\x15\x0b");
    CHECK(d.screen.rows() == rows{">"});
}

TEST_CASE("the character at the cursor is on the screen, whatever is typed where") {
    std::mt19937 random(7);
    const std::vector<std::string> keys = {"a",         "日",     "e\u0301", " ",    "\x7f",  "\x1b[3~",
                                           "\x1b[D",    "\x1b[D", "\x1b[C",  "\x01", "\x05",  "\x17",
                                           "\x1b[1;5D", "🎉",     "b",       "c",    "\x1b\r"};
    for (std::size_t columns : {8U, 9U, 13U, 20U, 41U}) {
        desk d(columns);
        for (int i = 0; i < 2000; ++i) {
            d.type(keys[random() % keys.size()]);
            if (random() % 50 == 0) d.print("news " + std::to_string(i % 10));
            const std::u32string line_now = to_code_points(d.editor.line());
            REQUIRE(d.screen.column() < columns);
            REQUIRE(d.screen.row() + 1 == d.screen.rows().size());
            REQUIRE(d.screen.rows().back().starts_with(">"));
            REQUIRE(d.editor.cursor() <= line_now.size());
            const bool at_mark = d.editor.cursor() < line_now.size() && line_now[d.editor.cursor()] == U'\u0301';
            REQUIRE((!at_mark || d.editor.cursor() == 0));
        }
    }
}

TEST_CASE("what is printed stands above the line, which stays whole with its cursor") {
    desk d;
    d.type("half a messa");
    d.type(left);
    d.print("14:03 bob: hello");
    d.print("two\nlines");
    d.print("a row of exactly as many columns as are!");
    CHECK(d.screen.rows() ==
          rows{"14:03 bob: hello", "two", "lines", "a row of exactly as many columns as are!", "> half a messa"});
    CHECK(d.screen.column() == 13);
    d.type("X");
    CHECK(d.screen.rows().back() == "> half a messXa");
}

TEST_CASE("several things printed and typed are one piece of output") {
    line_editor editor(40);
    editor.set_prompt("> ");
    editor.take_output();
    editor.print_above("a");
    editor.print_above("b");
    editor.feed("x");
    CHECK(editor.take_output() == "\r\x1b[Ja\r\nb\r\n> x\x1b[K\r\x1b[3C");
    CHECK(editor.take_output().empty());
    editor.set_prompt("> ");
    CHECK(editor.take_output().empty());
}

TEST_CASE("the status row stands above the line and is cut where the screen ends") {
    desk d(20);
    d.type("abc");
    d.editor.set_status("bob is typing…");
    d.show();
    CHECK(d.screen.rows() == rows{"bob is typing…", "> abc"});
    d.print("news");
    CHECK(d.screen.rows() == rows{"news", "bob is typing…", "> abc"});
    d.editor.set_status("a status that is much longer than the row");
    d.show();
    CHECK(d.screen.rows() == rows{"news", "a status that is m…", "> abc"});
    d.editor.set_status("");
    d.show();
    CHECK(d.screen.rows() == rows{"news", "", "> abc"});
    d.editor.set_status(std::nullopt);
    d.show();
    CHECK(d.screen.rows() == rows{"news", "> abc"});
    CHECK(d.screen.column() == 5);
}

TEST_CASE("prompt and status obey nothing that strangers put into them") {
    desk d;
    d.editor.set_prompt("a\x1b[2Jb> ");
    d.editor.set_status("x\ny");
    d.show();
    CHECK(d.screen.rows() == rows{"x?y", "a?[2Jb>"});
}

TEST_CASE("up and down go through the lines typed before, and come back to the one being written") {
    desk d;
    d.type("first\rsecond\rsecond\r   \r");
    d.type("draft");
    d.type(up);
    CHECK(d.editor.line() == "second");
    d.type(up);
    CHECK(d.editor.line() == "first");
    d.type(up);
    CHECK(d.editor.line() == "first");
    CHECK(d.screen.bells() == 1);
    d.type(down);
    d.type("!");
    CHECK(d.editor.line() == "second!");
    d.type(down);
    CHECK(d.editor.line() == "draft");
    d.type(down);
    CHECK(d.editor.line() == "draft");
    d.type(up);
    CHECK(d.type("\r") == std::vector{line("second")});
}

TEST_CASE("the list of lines typed before is bounded") {
    desk d;
    for (std::size_t i = 0; i < line_editor::most_history + 50; ++i) d.type(std::to_string(i) + "\r");
    for (std::size_t i = 0; i < line_editor::most_history + 50; ++i) d.type(up);
    CHECK(d.editor.line() == "50");
}

TEST_CASE("Tab completes what is unique, then the common beginning, then lists") {
    desk d;
    d.editor.complete_with([](std::string_view before) {
        completion out;
        const std::size_t space = before.rfind(' ');
        out.from = space == std::string_view::npos ? 0 : space + 1;
        for (const char* name : {"/connect ", "/conquer ", "/peers", "größe ", "größter "}) {
            if (std::string_view(name).starts_with(before.substr(out.from))) out.candidates.push_back(name);
        }
        return out;
    });
    d.type("/p\t");
    CHECK(d.editor.line() == "/peers");
    d.type("\x15/c\t");
    CHECK(d.editor.line() == "/con");
    CHECK(d.screen.rows() == rows{"> /con"});
    d.type("\t");
    CHECK(d.screen.rows() == rows{"/connect   /conquer", "> /con"});
    d.type("n\t");
    CHECK(d.editor.line() == "/connect ");
    d.type("x\t");
    CHECK(d.screen.bells() >= 1);
    CHECK(d.editor.line() == "/connect x");
    d.type("\x15say gr\t");
    CHECK(d.editor.line() == "say größ");
    d.type("e tail");
    for (int i = 0; i < 5; ++i) d.type(left);
    d.type("\t");
    CHECK(d.editor.line() == "say größe  tail");
    CHECK(d.editor.cursor() == 10);
}

TEST_CASE("many candidates are listed up to a bound, and those with control characters are none") {
    desk d(30);
    d.editor.complete_with([](std::string_view) {
        completion out;
        for (int i = 0; i < 250; ++i) out.candidates.push_back("name" + std::to_string(i));
        out.candidates.push_back("name\x1b[2J");
        return out;
    });
    d.type("name\t\t");
    REQUIRE(d.screen.rows().size() == 36);  // three in a row
    CHECK(d.screen.rows()[34] == "and 150 more");
}

TEST_CASE("Ctrl-C empties the line and says what stood there; Ctrl-D ends only on an empty line") {
    desk d;
    d.type("some words");
    CHECK(d.type("\x03") == std::vector{typed{typed::kind::interrupt, "some words"}});
    CHECK(d.editor.line().empty());
    CHECK(d.type("\x03") == std::vector{typed{typed::kind::interrupt, ""}});
    CHECK(d.type("ab\x01\x04") == std::vector<typed>{});
    CHECK(d.editor.line() == "b");
    CHECK(d.type("\x04\x04") == std::vector{typed{typed::kind::end_of_input, ""}});
    CHECK(d.type("\x1a") == std::vector{typed{typed::kind::suspend, ""}});
}

TEST_CASE("a pasted text of several lines is one line with signs for its line ends") {
    desk d;
    CHECK(d.type("\x1b[200~one\ntwo\x1b[201~").empty());
    CHECK(d.screen.rows() == rows{"> one↵two"});
    CHECK(d.type("\r") == std::vector{line("one\ntwo")});
    d.type(up);
    CHECK(d.editor.line() == "one\ntwo");
}

TEST_CASE("the line has a bound, and the bell says so") {
    desk d;
    d.type("\x1b[200~" + std::string(line_editor::longest_line - 2, 'x') + "\x1b[201~abc");
    CHECK(to_code_points(d.editor.line()).size() == line_editor::longest_line);
    CHECK(d.screen.bells() == 1);
}

TEST_CASE("Ctrl-L clears the screen but not the line") {
    desk d;
    d.print("old");
    d.editor.set_status("status");
    d.type("words");
    d.type("\x0c");
    const auto all = d.screen.rows();
    CHECK(rows(all.end() - 2, all.end()) == rows{"status", "> words"});
}

TEST_CASE("another width of the screen draws the line anew") {
    desk d(40);
    d.type("a line of some length");
    d.editor.resize(16);
    d.screen.resize(16);
    d.show();
    CHECK(d.screen.rows().back().starts_with("> <"));
    d.editor.resize(60);
    d.screen.resize(60);
    d.show();
    CHECK(d.screen.rows() == rows{"> a line of some length"});
}

TEST_CASE("a hidden line leaves nothing on the screen, and printing goes on without it") {
    desk d;
    d.editor.set_status("status");
    d.type("words");
    d.editor.print_above("news");
    d.editor.hide();
    d.show();
    CHECK(d.screen.rows() == rows{"news", ""});
    d.print("more");
    CHECK(d.screen.rows() == rows{"news", "more", ""});
    d.editor.redraw(true);
    d.show();
    CHECK(d.screen.rows() == rows{"news", "more", "status", "> words"});
}

TEST_CASE("a prompt wider than half of the screen is cut") {
    desk d(20);
    d.editor.set_prompt("somebody with a very long name> ");
    d.type("hello");
    CHECK(d.screen.rows() == rows{"somebody…hello"});
}

}  // namespace line_editor_test
