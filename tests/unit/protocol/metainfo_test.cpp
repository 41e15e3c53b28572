#include <cohort/protocol/metainfo.hpp>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <ostream>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <cohort/core/random.hpp>
#include <cohort/protocol/metainfo_write.hpp>
#include <support/corpus.hpp>
#include <support/mutate.hpp>
#include <support/path_check.hpp>

namespace metainfo_test {

using namespace cohort;

namespace {

/// What everything behind the parser relies on.
void check_invariants(const metainfo& m) {
    REQUIRE(m.hash.bytes == sha1_of(m.info).bytes);
    REQUIRE(m.piece_length >= 1);
    REQUIRE(m.piece_length <= max_piece_length);
    REQUIRE(m.piece_hashes.size() == m.layout().piece_count());
    REQUIRE(m.piece_hashes.size() <= max_piece_count);
    REQUIRE_FALSE(m.files.empty());
    REQUIRE(test::is_safe_path(m.name));
    REQUIRE(m.name.find('/') == m.name.npos);
    std::uint64_t at = 0;
    std::set<std::string> paths;
    for (const file_entry& file : m.files) {
        REQUIRE(file.offset == at);
        at += file.length;
        REQUIRE(test::is_safe_path(file.path));
        REQUIRE(paths.insert(file.path).second);
        REQUIRE(file.path.starts_with(m.multi_file ? m.name + "/" : m.name));
    }
    REQUIRE(at == m.total_size);
    if (!m.multi_file) REQUIRE((m.files.size() == 1 && m.files[0].path == m.name));
}

void check_same(const metainfo& a, const metainfo& b) {
    CHECK(a.hash == b.hash);
    CHECK(a.info == b.info);
    CHECK(a.name == b.name);
    CHECK(a.files.size() == b.files.size());
    CHECK(a.trackers == b.trackers);
    CHECK(a.url_list == b.url_list);
    CHECK(a.nodes == b.nodes);
    CHECK(a.comment == b.comment);
    CHECK(a.created_by == b.created_by);
    CHECK(a.creation_date == b.creation_date);
}

metainfo parsed(std::string_view torrent) {
    std::error_code ec;
    auto m = parse_metainfo(as_bytes(torrent), ec);
    REQUIRE_MESSAGE(m, ec.message());
    REQUIRE_FALSE(ec);
    check_invariants(*m);
    return std::move(*m);
}

std::error_code error_of(std::string_view torrent) {
    std::error_code ec;
    CHECK_FALSE(parse_metainfo(as_bytes(torrent), ec));
    return ec;
}

std::string text_of(std::string_view text) { return std::to_string(text.size()) + ":" + std::string(text); }
std::string integer_of(std::uint64_t value) { return "i" + std::to_string(value) + "e"; }

/// A torrent with these keys of the info dictionary, given in order and bencoded.
std::string torrent_with(const std::string& info, const std::string& before = {}, const std::string& after = {}) {
    return "d" + before + "4:infod" + info + "e" + after + "e";
}

const std::string one_piece = "12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa";
const std::string minimal = "6:lengthi5e4:name1:x" + one_piece;

std::string file_with(std::uint64_t length, const std::vector<std::string>& path, const std::string& attr = {}) {
    std::string out = "d";
    if (!attr.empty()) out += "4:attr" + text_of(attr);
    out += "6:length" + integer_of(length) + "4:pathl";
    for (const std::string& component : path) out += text_of(component);
    return out + "ee";
}

/// A torrent of these bencoded files; their sizes add up to one piece.
std::string torrent_of(const std::string& files, const std::string& name = "t") {
    return torrent_with("5:filesl" + files + "e4:name" + text_of(name) + one_piece);
}

std::vector<std::string> paths_of(const metainfo& m) {
    std::vector<std::string> out;
    for (const file_entry& file : m.files) out.push_back(file.path);
    return out;
}

std::vector<std::string> strings_of(const picojson::value& list) {
    std::vector<std::string> out;
    for (const picojson::value& one : list.get<picojson::array>()) out.push_back(one.get<std::string>());
    return out;
}

bool is_number(const picojson::value& value, std::uint64_t expected) {
    return value.is<std::int64_t>() && value.get<std::int64_t>() == static_cast<std::int64_t>(expected);
}

void check_files(const metainfo& m, const picojson::value& expected) {
    const auto& files = expected.get("files").get<picojson::array>();
    REQUIRE(files.size() == m.files.size());
    for (std::size_t i = 0; i < files.size(); ++i) {
        CAPTURE(i);
        CHECK(is_number(files[i].get("length"), m.files[i].length));
        if (files[i].contains("attr"))
            CHECK(m.files[i].pad == (files[i].get("attr").get<std::string>().find('p') != std::string::npos));
        std::string raw = m.multi_file ? m.name : std::string();
        for (const std::string& component : strings_of(files[i].get("path")))
            raw += (raw.empty() ? "" : "/") + component;
        if (!expected.contains("path_hazards") && test::is_safe_path(raw)) CHECK(m.files[i].path == raw);
    }
}

void check_asserts(const metainfo& m, const picojson::value& asserts) {
    if (asserts.contains("num_files")) CHECK(is_number(asserts.get("num_files"), m.files.size()));
    if (asserts.contains("piece_length")) CHECK(is_number(asserts.get("piece_length"), m.piece_length));
    if (asserts.contains("trackers"))
        CHECK(m.trackers == std::vector<std::vector<std::string>>{strings_of(asserts.get("trackers"))});
    if (asserts.contains("pad_file_flags")) {
        const auto& flags = asserts.get("pad_file_flags").get<picojson::array>();
        REQUIRE(flags.size() == m.files.size());
        for (std::size_t i = 0; i < flags.size(); ++i) CHECK(m.files[i].pad == flags[i].get<bool>());
    }
}

void check_fields(const metainfo& m, const picojson::value& expected) {
    CHECK(m.hash.hex() == expected.get("info_hash_v1").get<std::string>());
    CHECK(is_number(expected.get("total_size"), m.total_size));
    CHECK(is_number(expected.get("piece_length"), m.piece_length));
    CHECK(is_number(expected.get("num_pieces_v1"), m.piece_hashes.size()));
    CHECK(is_number(expected.get("num_files"), m.files.size()));
    CHECK(m.is_private == (expected.contains("private") && expected.get("private").get<bool>()));
    const std::string name = expected.get("name").get<std::string>();
    if (test::is_safe_path(name)) CHECK(m.name == name);
    if (expected.contains("files")) check_files(m, expected);
    if (expected.contains("asserts")) check_asserts(m, expected.get("asserts"));

    std::vector<std::vector<std::string>> tiers;
    if (expected.contains("announce_list")) {
        for (const picojson::value& tier : expected.get("announce_list").get<picojson::array>())
            tiers.push_back(strings_of(tier));
        CHECK(m.trackers == tiers);
    } else if (expected.contains("announce")) {
        REQUIRE(m.trackers.size() == 1);
        REQUIRE(m.trackers[0].size() == 1);
        CHECK(expected.get("announce").get<std::string>().ends_with(m.trackers[0][0]));
    } else {
        CHECK(m.trackers.empty());
    }
    // The recording stops after 60 web seeds.
    std::vector<std::string> first_urls = m.url_list;
    first_urls.resize(std::min<std::size_t>(first_urls.size(), 60));
    CHECK(first_urls ==
          (expected.contains("url_list") ? strings_of(expected.get("url_list")) : std::vector<std::string>{}));
    if (expected.contains("comment")) CHECK(m.comment == expected.get("comment").get<std::string>());
    if (expected.contains("created_by")) CHECK(m.created_by == expected.get("created_by").get<std::string>());
    CHECK(m.creation_date ==
          (expected.contains("creation_date") ? expected.get("creation_date").get<std::int64_t>() : 0));
}

/// The draft that must lead to the same info dictionary, made from its raw values.
torrent_draft draft_of(const metainfo& m) {
    std::error_code ec;
    const auto document = bencode::parse(m.info, ec);
    const bencode::node info = document->root();
    torrent_draft draft;
    draft.name = *info["name"].text();
    draft.piece_length = m.piece_length;
    draft.multi_file = m.multi_file;
    draft.piece_hashes = m.piece_hashes;
    draft.is_private = m.is_private;
    if (!m.multi_file) draft.files.push_back({.path = {}, .length = m.total_size, .pad = false});
    for (const bencode::node file : info["files"]) {
        draft_file one;
        for (const bencode::node component : file["path"]) one.path.emplace_back(*component.text());
        one.length = static_cast<std::uint64_t>(*file["length"].integer());
        one.pad = file["attr"].text() == "p";
        draft.files.push_back(one);
    }
    return draft;
}

}  // namespace

TEST_CASE("the recorded torrents get the stated verdicts and fields") {
    std::size_t loaded = 0;
    std::size_t refused = 0;
    std::size_t version_2 = 0;
    for (const test::corpus_case& one : test::corpus("metainfo")) {
        CAPTURE(one.id);
        const picojson::value& expected = one.expect();
        const byte_vector torrent = one.bytes();
        std::error_code ec;
        const auto m = parse_metainfo(torrent, ec);
        REQUIRE(m.has_value() == !ec);
        if (m) check_invariants(*m);
        if (!expected.get("valid").is<bool>()) continue;
        if (!expected.get("valid").get<bool>()) {
            CHECK_FALSE(m);
            ++refused;
        } else if (!expected.contains("info_hash_v1")) {
            CHECK(ec == errc::metainfo_unsupported);
            ++version_2;
        } else {
            REQUIRE(m);
            check_fields(*m, expected);
            check_same(parsed(write_metainfo(*m)), *m);
            const auto info_only = parse_info(m->info, ec);
            REQUIRE(info_only);
            CHECK(info_only->hash == m->hash);
            CHECK(paths_of(*info_only) == paths_of(*m));
            ++loaded;
        }
    }
    CHECK(loaded == 41);
    CHECK(refused == 18);
    CHECK(version_2 == 2);
}

TEST_CASE("a draft of the same content gives the info dictionary that other programs made") {
    std::size_t compared = 0;
    for (const test::corpus_case& one : test::corpus("metainfo")) {
        std::error_code ec;
        const byte_vector torrent = one.bytes();
        const auto m = parse_metainfo(torrent, ec);
        if (!m) continue;
        // Keys that only their programs write (md5sum, source, version 2) are not ours to make.
        bool ours = true;
        const auto document = bencode::parse(m->info, ec);
        const std::set<std::string_view> keys{"files", "length", "name", "piece length", "pieces", "private"};
        for (const auto [key, value] : document->root().entries()) ours = ours && keys.contains(key);
        const std::set<std::string_view> file_keys{"attr", "length", "path"};
        for (const bencode::node file : document->root()["files"]) {
            for (const auto [key, value] : file.entries()) ours = ours && file_keys.contains(key);
            ours = ours && file["attr"].text().value_or("p") == "p";
        }
        if (!ours || !document->canonical()) continue;
        CAPTURE(one.id);
        CHECK(write_info(draft_of(*m)) == m->info);
        ++compared;
    }
    CHECK(compared > 20);
}

TEST_CASE("the least that a torrent needs is enough, and nothing of it may be missing or of another type") {
    const metainfo m = parsed(torrent_with(minimal));
    CHECK(m.name == "x");
    CHECK(m.total_size == 5);
    CHECK_FALSE(m.multi_file);
    CHECK_FALSE(m.is_private);
    CHECK(m.trackers.empty());

    CHECK(error_of("") == errc::bencode_syntax);
    CHECK(error_of("i1e") == errc::metainfo_missing);
    CHECK(error_of("de") == errc::metainfo_missing);
    CHECK(error_of("d4:infoi1ee") == errc::metainfo_missing);
    CHECK(error_of(torrent_with("4:name1:x" + one_piece)) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("6:lengthi5e" + one_piece)) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("6:length1:54:name1:x" + one_piece)) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("6:lengthi5e4:namei1e" + one_piece)) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("6:lengthi5e4:name1:x6:pieces20:aaaaaaaaaaaaaaaaaaaa")) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("6:lengthi5e4:name1:x12:piece lengthi16384e")) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("6:lengthi5e4:name1:x12:piece lengthi16384e6:piecesle")) == errc::metainfo_missing);
    CHECK(error_of(torrent_of("")) == errc::metainfo_missing);
    CHECK(error_of(torrent_of("i1e")) == errc::metainfo_missing);
    CHECK(error_of(torrent_of("d4:pathl1:aee")) == errc::metainfo_missing);
    CHECK(error_of(torrent_of("d6:lengthi1ee")) == errc::metainfo_missing);
    CHECK(error_of(torrent_of("d6:lengthi1e4:path1:ae")) == errc::metainfo_missing);
    CHECK(error_of(torrent_of("d6:lengthi1e4:pathlee")) == errc::metainfo_invalid);
    CHECK(error_of(torrent_of("d6:lengthi1e4:pathli1eee")) == errc::metainfo_invalid);
}

TEST_CASE("bytes after the torrent are ignored, after an info dictionary they are an error") {
    CHECK(parsed(torrent_with(minimal) + "\r\n").name == "x");
    std::error_code ec;
    CHECK(parse_info(as_bytes("d" + minimal + "e"), ec));
    CHECK_FALSE(parse_info(as_bytes("d" + minimal + "e\n"), ec));
    CHECK(ec == errc::bencode_trailing);
}

TEST_CASE("the hash is that of the raw bytes, also where they are out of order") {
    const std::string info = "d4:name1:x" + one_piece + "6:lengthi5e7:unknownle" + "e";
    const metainfo m = parsed("d4:info" + info + "e");
    CHECK(m.hash.bytes == sha1_of(as_bytes(info)).bytes);
    CHECK(as_text(m.info) == info);
}

TEST_CASE("sizes, pieces and piece lengths must agree and stay within the limits") {
    const auto torrent = [](const std::string& length, const std::string& piece_length, std::size_t hash_bytes) {
        return torrent_with("6:lengthi" + length + "e4:name1:x12:piece lengthi" + piece_length + "e6:pieces" +
                            text_of(std::string(hash_bytes, 'h')));
    };
    CHECK(parsed(torrent("16384", "16384", 20)).piece_hashes.size() == 1);
    CHECK(parsed(torrent("16385", "16384", 40)).piece_hashes.size() == 2);
    CHECK(parsed(torrent("3", "1", 60)).piece_hashes.size() == 3);
    CHECK(parsed(torrent("0", "16384", 0)).piece_hashes.empty());
    CHECK(parsed(torrent("5", "536870912", 20)).piece_length == 536870912);

    const std::vector<std::string> refused{
        torrent("16385", "16384", 20),
        torrent("16384", "16384", 40),
        torrent("16384", "16384", 19),
        torrent("16384", "16384", 21),
        torrent("16384", "16384", 0),
        torrent("0", "16384", 20),
        torrent("5", "0", 20),
        torrent("5", "-16384", 20),
        torrent("5", "536870913", 20),
        torrent("5", "4294967301", 20),
        torrent("-1", "16384", 20),
        torrent("9223372036854775807", "16384", 20),
        torrent("1125899906842625", "536870912", 20),
        torrent_of(file_with(std::uint64_t{1} << 49, {"a"}) + file_with(std::uint64_t{1} << 50, {"b"})),
    };
    for (const std::string& one : refused) {
        CAPTURE(one);
        CHECK(error_of(one) == errc::metainfo_invalid);
    }
    CHECK(error_of(torrent("9223372036854775808", "16384", 20)) == errc::metainfo_missing);
    CHECK(error_of(torrent("2000001", "1", std::size_t{2'000'001} * 20)) == errc::metainfo_invalid);
    CHECK(parsed(torrent("2000000", "1", std::size_t{2'000'000} * 20)).piece_hashes.size() == 2'000'000);
}

TEST_CASE("files are placed one after another, and empty ones are kept") {
    const metainfo m = parsed(torrent_of(file_with(3, {"a"}) + file_with(0, {"empty"}) + file_with(4, {"d", "b"})));
    CHECK(m.multi_file);
    CHECK(paths_of(m) == std::vector<std::string>{"t/a", "t/empty", "t/d/b"});
    CHECK(m.files[1].offset == 3);
    CHECK(m.files[2].offset == 3);
    CHECK(m.total_size == 7);
}

TEST_CASE("pad files are known by their attribute or by BitComet's name, and give way to real files") {
    const metainfo m = parsed(torrent_of(file_with(3, {"a"}, "p") + file_with(1, {"a"}) + file_with(1, {"x"}, "hx") +
                                         file_with(1, {"d", "_____padding_file_0"})));
    CHECK(m.files[0].pad);
    CHECK_FALSE(m.files[1].pad);
    CHECK_FALSE(m.files[2].pad);
    CHECK(m.files[3].pad);
    CHECK(m.files[1].path == "t/a");
    CHECK(m.files[0].path == "t/a.1");
}

TEST_CASE("hostile names end below the folder, each file under its own name") {
    const metainfo m = parsed(torrent_of(file_with(1, {"..", "..", "etc", "passwd"}) + file_with(1, {"/etc/passwd"}) +
                                         file_with(1, {"_etc_passwd"}) + file_with(0, {"", ""}) +
                                         file_with(0, {"_", "_", "x"}) + file_with(0, {"NUL"})));
    CHECK(paths_of(m) == std::vector<std::string>{"t/_/_/etc/passwd", "t/_etc_passwd.1", "t/_etc_passwd", "t/_/_.1",
                                                  "t/_/_/x", "t/_NUL"});
    CHECK(parsed(torrent_of(file_with(1, {"a"}), "../..")).name == ".._._");
    CHECK(parsed(torrent_of(file_with(1, {"a"}), "/")).files[0].path == "_/a");
    CHECK(error_of(torrent_of(file_with(1, {"a"}), std::string("a\0b", 3))) == errc::metainfo_invalid);
    for (const std::string name : {"", ".", ".."}) {
        const metainfo unnamed = parsed(torrent_of(file_with(1, {"a"}), name));
        CHECK(unnamed.name == unnamed.hash.hex());
    }
}

TEST_CASE("the author's own path is remembered where it differs and does no harm, and no other file takes it") {
    const metainfo m =
        parsed(torrent_of(file_with(1, {"unit\\x2dname"}) + file_with(1, {"unit_x2dname"}) + file_with(1, {"plain"}) +
                              file_with(1, {"..", "up"}) + file_with(1, {"a/b"}) + file_with(1, {"dir ", "aux.h"}),
                          "te.."));
    const std::vector<std::string> expected{"te._/unit\\x2dname", "", "", "", "", "te._/dir /aux.h"};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK(m.files[i].author_path == expected[i]);
    }
    CHECK(m.files[0].path == "te._/unit_x2dname.1");
    CHECK(m.files[1].path == "te._/unit_x2dname");
}

TEST_CASE("the UTF-8 variants of names are preferred where they are UTF-8") {
    const std::string file =
        "d6:lengthi1e4:pathl1:\xe4"
        "e10:path.utf-8l2:\u00e4"
        "ee";
    CHECK(parsed(torrent_with("5:filesl" + file +
                              "e4:name1:\xf6"
                              "10:name.utf-82:\u00f6" +
                              one_piece))
              .files[0]
              .path == "\u00f6/\u00e4");
    CHECK(parsed(torrent_with("6:lengthi1e4:name1:x10:name.utf-81:\xff" + one_piece)).name == "x");
    CHECK(parsed(torrent_with("6:lengthi1e4:name3:a\xff"
                              "b" +
                              one_piece))
              .name == "a_b");
}

TEST_CASE("trackers come in tiers, trimmed, each once; announce counts where there is no list") {
    using tiers = std::vector<std::vector<std::string>>;
    const auto trackers = [](const std::string& before) { return parsed(torrent_with(minimal, before)).trackers; };
    CHECK(trackers("8:announce8:http://a") == tiers{{"http://a"}});
    CHECK(trackers("8:announce8:http://a13:announce-listll8:http://b10: http://c\nel8:http://b8:udp://cceleli1eee") ==
          tiers{{"http://b", "http://c"}, {"udp://cc"}});
    CHECK(trackers("8:announce8:http://a13:announce-listle") == tiers{{"http://a"}});
    CHECK(trackers("8:announce8:http://a13:announce-listll0:ee") == tiers{{"http://a"}});
    CHECK(trackers("8:announce2:  ").empty());
    CHECK(trackers("8:announcei1e13:announce-list1:x").empty());
}

TEST_CASE("web seeds may be a string or a list, DHT nodes are host and port") {
    CHECK(parsed(torrent_with(minimal, {}, "8:url-list8:http://a")).url_list == std::vector<std::string>{"http://a"});
    CHECK(parsed(torrent_with(minimal, {}, "8:url-listl8:http://a0:i1e8:http://be")).url_list ==
          std::vector<std::string>{"http://a", "http://b"});
    const metainfo m = parsed(torrent_with(
        minimal, {}, "5:nodesll9:127.0.0.1i6881eel3:::1i1eel1:xi0eel1:xi65536eel0:i1eel1:xel1:xi1ei2eei7ee"));
    REQUIRE(m.nodes.size() == 2);
    CHECK(m.nodes[0] == std::pair<std::string, std::uint16_t>("127.0.0.1", std::uint16_t{6881}));
    CHECK(m.nodes[1].first == "::1");
}

TEST_CASE("a private torrent says so in its info dictionary") {
    CHECK(parsed(torrent_with(minimal + "7:privatei1e")).is_private);
    CHECK_FALSE(parsed(torrent_with(minimal + "7:privatei0e")).is_private);
    CHECK_FALSE(parsed(torrent_with(minimal, "7:privatei1e")).is_private);
}

TEST_CASE("comments are text, whatever bytes they are made of") {
    CHECK(parsed(torrent_with(minimal,
                              "7:comment4:a\xff\xfe"
                              "b10:created by1:\xff"))
              .comment == "a_b");
}

TEST_CASE("a hybrid torrent that lists its files the version 2 way only is aligned to pieces") {
    const auto leaf = [](std::uint64_t length) { return "d0:d6:length" + integer_of(length) + "ee"; };
    const std::string tree = "9:file treed1:a" + leaf(5) + "3:dird1:b" + leaf(16384) + "e1:z" + leaf(7) + "e";
    const metainfo m = parsed(torrent_with(tree + "12:meta versioni2e4:name1:t12:piece lengthi16384e6:pieces" +
                                           text_of(std::string(60, 'h'))));
    CHECK(paths_of(m) == std::vector<std::string>{"t/a", "t/.pad/16379", "t/dir/b", "t/z"});
    CHECK(m.files[1].pad);
    CHECK(m.files[3].offset == 32768);
    CHECK(m.total_size == 32775);

    const metainfo single = parsed(torrent_with("9:file treed1:t" + leaf(5) + "e4:name1:t" + one_piece));
    CHECK_FALSE(single.multi_file);
    CHECK(error_of(torrent_with("9:file treed0:d6:lengthi5eee4:name1:t" + one_piece)) == errc::metainfo_missing);
    CHECK(error_of(torrent_with("9:file treed1:ai5ee4:name1:t" + one_piece)) == errc::metainfo_invalid);
    CHECK(error_of(torrent_with("9:file treed1:t" + leaf(5) + "e4:name1:t12:piece lengthi16384e")) ==
          errc::metainfo_unsupported);
}

TEST_CASE("paths that no system opens, or that would fill the memory, are refused") {
    CHECK(error_of(torrent_of(file_with(1, std::vector<std::string>(3000, "d")))) == errc::metainfo_invalid);
    // Each file repeats a name of 255 bytes: 24 bytes of input would become ten times as many.
    std::string files;
    for (int i = 0; i < 300'000; ++i) files += "d6:lengthi0e4:pathl1:aee";
    CHECK(error_of(torrent_of(files, std::string(255, 'n'))) == errc::metainfo_invalid);
}

TEST_CASE("a hundred thousand files of one name get distinct names in reasonable time") {
    std::string files;
    for (int i = 0; i < 100'000; ++i) files += "d6:lengthi0e4:pathl5:a.txtee";
    files += file_with(1, {"last"});
    const metainfo m = parsed(torrent_of(files));
    CHECK(m.files.size() == 100'001);
    CHECK(m.files[99'999].path == "t/a.99999.txt");
}

TEST_CASE("trackers, web seeds and nodes beyond a thousand are left out") {
    std::string list;
    std::string nodes;
    for (int i = 0; i < 3000; ++i) {
        list += text_of("http://" + std::to_string(i));
        nodes += "l1:xi1ee";
    }
    const metainfo m = parsed(
        torrent_with(minimal, "13:announce-listll" + list + "ee", "5:nodesl" + nodes + "e8:url-listl" + list + "e"));
    CHECK(m.trackers.at(0).size() == 1000);
    CHECK(m.url_list.size() == 1000);
    CHECK(m.nodes.size() == 1000);
}

TEST_CASE("the info dictionary of a draft has its keys in order and private only when set") {
    torrent_draft draft;
    draft.name = "t";
    draft.piece_length = 16384;
    draft.multi_file = true;
    draft.files = {{.path = {"a", "b"}, .length = 5, .pad = false}, {.path = {".pad", "2"}, .length = 2, .pad = true}};
    draft.piece_hashes.resize(1);
    const std::string pieces = "6:pieces20:" + std::string(20, '\0');
    CHECK(
        as_text(write_info(draft)) ==
        "d5:filesld6:lengthi5e4:pathl1:a1:beed4:attr1:p6:lengthi2e4:pathl4:.pad1:2eee4:name1:t12:piece lengthi16384e" +
            pieces + "e");
    draft.is_private = true;
    draft.multi_file = false;
    draft.files.resize(1);
    CHECK(as_text(write_info(draft)) == "d6:lengthi5e4:name1:t12:piece lengthi16384e" + pieces + "7:privatei1ee");
}

TEST_CASE("a torrent file written is canonical and reads the same") {
    metainfo m = parsed(torrent_with(minimal));
    m.trackers = {{"http://a", "udp://b"}, {}, {"http://c"}};
    m.url_list = {"http://w"};
    m.nodes = {{"::1", std::uint16_t{6881}}};
    m.comment = "hello";
    m.created_by = "somebody";
    m.creation_date = 1700000000;
    const std::string text = write_metainfo(m);
    std::error_code ec;
    const auto document = bencode::parse(as_bytes(text), ec);
    REQUIRE(document);
    CHECK(document->canonical());
    CHECK(document->root()["announce"].text() == "http://a");
    m.trackers.erase(m.trackers.begin() + 1);
    check_same(parsed(text), m);

    m.trackers = {{"http://a"}};
    CHECK(write_metainfo(m).find("announce-list") == std::string::npos);
    m.trackers.clear();
    CHECK(write_metainfo(m).find("announce") == std::string::npos);
}

TEST_CASE("the piece length grows with the content from 16 KiB to 16 MiB") {
    constexpr std::uint64_t mib = 1024 * 1024;
    CHECK(choose_piece_length(0) == 16384);
    CHECK(choose_piece_length(1) == 16384);
    CHECK(choose_piece_length(30 * mib) == 16384);
    CHECK(choose_piece_length(200 * mib) == 131072);
    CHECK(choose_piece_length(1024 * mib) == 1 * mib);
    CHECK(choose_piece_length(100 * 1024 * mib) == 16 * mib);
    for (std::uint64_t size = 32 * mib; size < 30 * 1024 * mib; size = size * 5 / 4) {
        const std::uint64_t pieces = size / choose_piece_length(size);
        CHECK(pieces >= 999);
        CHECK(pieces <= 2000);
    }
    const std::uint64_t most = std::uint64_t{max_piece_count} * max_piece_length;
    CHECK(choose_piece_length(most) == max_piece_length);
    CHECK(choose_piece_length(std::numeric_limits<std::uint64_t>::max()) == max_piece_length);
}

TEST_CASE("damaged torrents never crash the parser, and what it lets through is sound") {
    random_engine random(3);
    std::size_t loaded = 0;
    for (const test::corpus_case& one : test::corpus("metainfo")) {
        const byte_vector torrent = one.bytes();
        const int rounds = torrent.size() > 10'000 ? 50 : 300;
        for (int round = 0; round < rounds; ++round) {
            const byte_vector damaged = test::mutated(torrent, random);
            CAPTURE(one.id);
            CAPTURE(round);
            std::error_code ec;
            const auto m = parse_metainfo(damaged, ec);
            REQUIRE(m.has_value() == !ec);
            if (!m) continue;
            check_invariants(*m);
            check_same(parsed(write_metainfo(*m)), *m);
            ++loaded;
        }
    }
    CHECK(loaded > 200);
}

TEST_CASE("a torrent cut short anywhere is refused") {
    const std::string torrent = torrent_of(file_with(1, {"a"}) + file_with(0, {"b", "c"}));
    CHECK(parsed(torrent).files.size() == 2);
    for (std::size_t size = 0; size < torrent.size(); ++size)
        CHECK(error_of(torrent.substr(0, size)) == errc::bencode_syntax);
}

}  // namespace metainfo_test
