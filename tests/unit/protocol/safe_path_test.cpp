#include <cohort/protocol/safe_path.hpp>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <cohort/core/bytes.hpp>
#include <cohort/core/random.hpp>
#include <support/corpus.hpp>
#include <support/path_check.hpp>

namespace safe_path_test {

using namespace cohort;
using namespace std::string_literals;

namespace {

std::string element_of(const picojson::value& json) {
    if (json.is<std::string>()) return json.get<std::string>();
    const std::string digits = json.get("hex").get<std::string>();
    std::string out(digits.size() / 2, '\0');
    REQUIRE(from_hex(digits, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()}));
    return out;
}

std::vector<std::string> distinct(std::vector<std::string> paths) {
    std::vector<const std::string*> views;
    for (const std::string& path : paths) views.push_back(&path);
    for (const new_path& fresh : distinct_paths(views)) paths[fresh.index] = fresh.path;
    return paths;
}

/// Whether all paths can exist side by side: none twice, and none the folder of another.
bool can_exist_together(const std::vector<std::string>& paths) {
    std::set<std::string> files(paths.begin(), paths.end());
    if (files.size() != paths.size()) return false;
    for (const std::string& path : paths) {
        for (std::size_t at = path.find('/'); at != path.npos; at = path.find('/', at + 1)) {
            if (files.contains(path.substr(0, at))) return false;
        }
    }
    return true;
}

}  // namespace

TEST_CASE("the recorded path elements come out safe, and none vanishes") {
    std::size_t cases = 0;
    for (const test::corpus_case& one : test::corpus("paths")) {
        CAPTURE(one.id);
        std::string path;
        for (const picojson::value& json : one.input().get("elements").get<picojson::array>()) {
            const std::string element = element_of(json);
            const std::string safe = safe_component(element);
            CHECK(test::is_safe_path(safe));
            CHECK(safe.find('/') == safe.npos);
            path += (path.empty() ? "" : "/") + safe;
            if (one.expect().contains("valid_utf8")) {
                CHECK(is_utf8(element) == one.expect().get("valid_utf8").get<bool>());
                CHECK(to_utf8(element) == one.expect().get("libtorrent_repair").get<std::string>());
            }
        }
        CHECK(test::is_safe_path(path));
        ++cases;
    }
    CHECK(cases == 36);
}

TEST_CASE("names that are safe stay as they are") {
    for (const std::string name :
         {"a", ".hidden", "a...b", "..a", "...a", "name with spaces.txt", "f\u00fcr.txt", "\u65e5\u672c\u8a9e",
          "\U0001f468\u200d\U0001f469\u200d\U0001f467", "std::vector.3.gz", "what?*<>|\"", "ab:c", "console.txt", "com",
          "com10", "nullable", "_con", "filename\u27f9"}) {
        CAPTURE(name);
        CHECK(safe_component(name) == name);
    }
    CHECK(safe_component(std::string(255, 'x')) == std::string(255, 'x'));
}

TEST_CASE("what could leave the folder, deceive or fail becomes an underscore") {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"", "_"},
        {".", "_"},
        {"..", "_"},
        {"...", ".._"},
        {"/", "_"},
        {"/etc/passwd", "_etc_passwd"},
        {"../../x", ".._.._x"},
        {"..\\..\\x", ".._.._x"},
        {"a\0b"s, "a_b"},
        {"a\nb\x7f", "a_b_"},
        {"a\u0085b", "a_b"},
        {"photo\u202egpj.exe", "photo_gpj.exe"},
        {"a\u2067b\u061c", "a_b_"},
        {"\ufeff", "_"},
        {"invoice\u00ad.pdf", "invoice_.pdf"},
        {"a\u034fb\u115fc\u1160d", "a_b_c_d"},
        {"\u17b4\u17b5\u180b\u180e\u180f", "_____"},
        {"\u3164\uffa0", "__"},
        {"a\U000e0000b\U000e0041c\U000e0fffd", "a_b_c_d"},
        {"bad\xff\xfe\x80name", "bad_name"},
        {"cut\xe2\x82", "cut_"},
        {"\xc0\xae\xc0\xae", "_"},
        {"\xed\xa0\x80x", "_x"},
        {"\xf4\x90\x80\x80x", "_x"},
        {"c:", "c_"},
        {"C:file", "C_file"},
        {"trailing.", "trailing_"},
        {"trailing ", "trailing_"},
        {"a. . .", "a. . _"},
        {"con", "_con"},
        {"NUL.txt", "_NUL.txt"},
        {"Aux .c", "_Aux .c"},
        {"LPT9.tar.gz", "_LPT9.tar.gz"},
        {"com\u00b9", "_com\u00b9"},
        {"CONOUT$", "_CONOUT$"},
    };
    for (const auto& [raw, safe] : cases) {
        CAPTURE(raw);
        CHECK(safe_component(raw) == safe);
    }
}

TEST_CASE("a long name keeps its extension and whole characters") {
    const std::string cut = safe_component(std::string(300, 'x') + ".jpg");
    CHECK(cut == std::string(251, 'x') + ".jpg");

    std::string euros;
    for (int i = 0; i < 100; ++i) euros += "\u20ac";
    CHECK(safe_component(euros) == euros.substr(0, 255));
    CHECK(safe_component("x" + euros) == ("x" + euros).substr(0, 253));
    CHECK(safe_component("x" + euros + ".m4a").size() == 3 * 83 + 1 + 4);

    CHECK(safe_component("x." + std::string(300, 'y')).size() == 255);
    CHECK(safe_component(std::string(254, 'x') + ". tail that is no extension") == std::string(254, 'x') + "_");
    CHECK(safe_component("con." + std::string(300, 'y')).starts_with("_con."));
    // What is cut off must not leave the name of a device.
    CHECK(safe_component("con" + std::string(249, ' ') + "x.abc") == "_on" + std::string(248, ' ') + ".abc");
}

TEST_CASE("any bytes at all come out safe, and safe names come out unchanged") {
    random_engine random(7);
    const std::string alphabet = "./\\: \0a\xe2\x80\xae\xc3\xa9\xff\x1f"s;
    for (int round = 0; round < 20000; ++round) {
        std::string raw;
        for (std::uint32_t left = random.below(random.chance(0.05) ? 600 : 12); left > 0; --left)
            raw += random.chance(0.9) ? alphabet[random.below(static_cast<std::uint32_t>(alphabet.size()))]
                                      : static_cast<char>(random.below(256));
        const std::string safe = safe_component(raw);
        CAPTURE(to_hex(as_bytes(raw)));
        REQUIRE(test::is_safe_path(safe));
        REQUIRE(safe.find('/') == safe.npos);
        REQUIRE(safe_component(safe) == safe);
    }
}

TEST_CASE("paths that differ already stay, also if only by case") {
    const std::vector<std::string> paths{"t/a", "t/A", "t/a-b", "t/b/a", "t/a.1", "t/ab/c"};
    CHECK(distinct(paths) == paths);
    CHECK(distinct({}).empty());
}

TEST_CASE("of equal paths the first stays and the others are numbered before the extension") {
    CHECK(distinct({"t/a.txt", "t/a.txt", "t/b", "t/a.txt", "t/b", "t/.rc", "t/.rc"}) ==
          std::vector<std::string>{"t/a.txt", "t/a.1.txt", "t/b", "t/a.2.txt", "t/b.1", "t/.rc", "t/.rc.1"});
}

TEST_CASE("a number that is taken, by a file or a folder, is passed over") {
    CHECK(distinct({"a", "a", "a.1", "a.2/x", "a"}) == std::vector<std::string>{"a", "a.3", "a.1", "a.2/x", "a.4"});
}

TEST_CASE("a file gives way to a folder of its name, before it or after") {
    CHECK(distinct({"t/a", "t/a/b", "t/a-", "t/a"}) == std::vector<std::string>{"t/a.1", "t/a/b", "t/a-", "t/a.2"});
    CHECK(distinct({"t/a/b/c", "t/a/b", "t/a"}) == std::vector<std::string>{"t/a/b/c", "t/a/b.1", "t/a.1"});
    CHECK(distinct({"a/b/c/d", "a/b/c", "a/b/c", "a/b", "a"}) ==
          std::vector<std::string>{"a/b/c/d", "a/b/c.1", "a/b/c.2", "a/b.1", "a.1"});
}

TEST_CASE("numbered names stay within 255 bytes") {
    const std::string longest(255, 'x');
    const std::string other = std::string(254, 'x') + "y";
    const auto paths =
        distinct({longest, longest, other, other, std::string(250, 'x') + ".jpeg", std::string(250, 'x') + ".jpeg"});
    CHECK(can_exist_together(paths));
    for (const std::string& path : paths) CHECK(path.size() <= 255);
    CHECK(paths[5].ends_with(".jpeg"));
    const std::string device = "t/con" + std::string(240, ' ') + "x.abc";
    CHECK(distinct({device, device})[1].starts_with("t/_on  "));
}

TEST_CASE("random trees of few names become distinct, the same way each time") {
    random_engine random(11);
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::string> paths(1 + random.below(12));
        for (std::string& path : paths) {
            for (std::uint32_t depth = random.below(4);; --depth) {
                const std::vector<std::string> names{"a", "b", "a.1", "a.2", "b.1", "a-"};
                path += names[random.below(static_cast<std::uint32_t>(names.size()))];
                if (depth == 0) break;
                path += '/';
            }
        }
        const auto out = distinct(paths);
        REQUIRE(can_exist_together(out));
        REQUIRE(distinct(paths) == out);
        REQUIRE(distinct(out) == out);
        for (std::size_t i = 0; i < paths.size(); ++i)
            REQUIRE(out[i].substr(0, out[i].rfind('/') + 1) == paths[i].substr(0, paths[i].rfind('/') + 1));
    }
}

TEST_CASE("a hundred thousand equal paths, or nearly equal long ones, take no quadratic time") {
    // Quadratic work would be 10^10 comparisons: minutes, where this takes a moment.
    CHECK(can_exist_together(distinct(std::vector<std::string>(100'000, "t/a.txt"))));
    std::vector<std::string> paths;
    for (int i = 0; i < 50'000; ++i) {
        paths.push_back(std::string(245, 'x') + std::to_string(i));
        paths.push_back(paths.back());
    }
    CHECK(can_exist_together(distinct(paths)));
}

}  // namespace safe_path_test
