#include <string>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/plain_text.hpp>

namespace plain_text_test {

using namespace cohort;

TEST_CASE("A48: text for a terminal holds no escape, no C1 control, nothing that reverses or hides") {
    CHECK(terminal_text("\x1b[2Jhello\x07") == "\uFFFD[2Jhello\uFFFD");
    CHECK(terminal_text("\u009b31m") == "\uFFFD31m");  // the one-character CSI
    CHECK(terminal_text("\x9b"
                        "31m") == "\uFFFD31m");                  // the same as a bare byte
    CHECK(terminal_text("a\u202egpj.exe") == "a\uFFFDgpj.exe");  // right-to-left override
    CHECK(terminal_text("a\u2066b\u2069c\u200bd\ufeff") == "a\uFFFDb\uFFFDc\uFFFDd\uFFFD");
    CHECK(terminal_text(std::string_view("a\0b\x7f", 4)) == "a\uFFFDb\uFFFD");
    CHECK(terminal_text("\xff\xfe") == "\uFFFD\uFFFD");
}

TEST_CASE("text for a terminal keeps all that people write") {
    const std::string text = "¡Hola Bob! \U0001F469\u200D\U0001F680 שלום /etc/x C:\\x <&>\"' e\u0301";
    CHECK(terminal_text(text) == text);
}

TEST_CASE("line breaks of a text for a terminal are kept or flattened") {
    CHECK(terminal_text("a\r\nb\nc\rd\u2028e\tf", line_breaks::keep) == "a\nb\nc\nd\ne f");
    CHECK(terminal_text("a\r\nb\nc\rd\u2029e\tf") == "a b c d e f");
}

TEST_CASE("A48: whatever bytes come in, what reaches a terminal is harmless, and cleaning it again changes nothing") {
    random_engine random(11);
    const char* const pieces[] = {"\x1b", "\u202e", "\r",       "\n",     "\xc2", "\x9b",
                                  "a",    "\u00e4", "\xf0\x9f", "\u0085", "\t"};
    for (int round = 0; round < 5000; ++round) {
        std::string raw;
        for (std::uint32_t i = random.below(12); i > 0; --i) {
            if (random.chance(0.5))
                raw += pieces[random.below(std::size(pieces))];
            else
                raw += static_cast<char>(random());
        }
        for (const line_breaks how : {line_breaks::keep, line_breaks::flatten}) {
            const std::string out = terminal_text(raw, how);
            CHECK(terminal_text(out, how) == out);
            std::string_view left = out;
            while (!left.empty()) {
                const auto code = take_code_point(left);
                REQUIRE(code);
                const bool control = (*code < 0x20 && *code != U'\n') || (*code >= 0x7f && *code < 0xa0);
                CHECK_FALSE(control);
                if (how == line_breaks::flatten) CHECK(*code != U'\n');
                CHECK_FALSE((*code >= 0x202a && *code <= 0x202e));
                CHECK_FALSE((*code >= 0x2066 && *code <= 0x2069));
            }
        }
    }
}

}  // namespace plain_text_test
