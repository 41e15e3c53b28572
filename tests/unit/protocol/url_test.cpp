#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/protocol/url.hpp>
#include <support/corpus.hpp>

namespace url_test {

using namespace cohort;

namespace {

std::optional<url> read(std::string_view text) {
    std::error_code ec;
    auto out = parse_url(text, ec);
    CHECK(out.has_value() == !ec);
    return out;
}

std::error_code refusal(std::string_view text) {
    std::error_code ec;
    CHECK_FALSE(parse_url(text, ec));
    return ec;
}

std::string redirect(std::string_view base, std::string_view location) {
    std::error_code ec;
    const auto out = resolve_redirect(read(base).value(), location, ec);
    CHECK(out.has_value() == !ec);
    return out ? out->to_string() : "refused";
}

bool allowed(std::string_view from, std::string_view to) {
    return redirect_allowed(read(from).value(), read(to).value());
}

std::string text_of(const json& object, const char* key) {
    return std::string(json_text(json_member(object, key)).value());
}

/// Why we refuse what a browser takes; each is a repair that could lead to another host than the text shows, or a form
/// that no tracker has.
std::string stricter_because(std::string_view text) {
    const auto is_control = [](char c) { return (c >= 0 && c <= 0x20) || c == 0x7f; };
    if (std::any_of(text.begin(), text.end(), is_control)) return "spaces or control characters that a browser drops";
    const std::size_t colon = text.find(':');
    if (!text.substr(colon + 1).starts_with("//")) return "no // after the scheme";
    text.remove_prefix(colon + 3);
    const std::string_view host = text.substr(0, text.find_first_of("/?#"));
    if (std::any_of(host.begin(), host.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
        return "a host that is not ASCII";
    if (host.find('%') != std::string_view::npos) return "a percent-encoded host";
    if (host == ".") return "an empty host";
    if (host.starts_with("0x")) return "a number as host";
    if (host.find_first_of("!\"$&'()*+,;=_`{}~") != std::string_view::npos) return "a host with punctuation";
    return "";
}

void check_whatwg(const test::corpus_case& c, std::map<std::string, int>& outcomes) {
    const std::string text = text_of(c.input(), "url");
    std::error_code ec;
    const auto u = parse_url(text, ec);
    if (c.expect().contains("failure")) {
        CHECK_FALSE(u);
        ++outcomes["refused"];
        return;
    }
    if (!u) {
        const std::string reason = stricter_because(text);
        CHECK_FALSE(reason.empty());
        ++outcomes[reason];
        return;
    }
    ++outcomes["accepted"];
    CHECK(u->scheme + ":" == text_of(c.expect(), "protocol"));
    CHECK((u->ipv6 ? "[" + u->host + "]" : u->host) == text_of(c.expect(), "hostname"));
    const std::string port = text_of(c.expect(), "port");
    CHECK(u->port == (port.empty() ? default_port(u->scheme) : std::stoi(port)));
    CHECK(u->userinfo.empty() == (text_of(c.expect(), "username") + text_of(c.expect(), "password")).empty());
}

void check_components(const test::corpus_case& c) {
    const auto u = read(text_of(c.input(), "url"));
    if (c.expect().contains("failure")) {
        CHECK_FALSE(u);
        return;
    }
    REQUIRE(u);
    const json& parts = c.expect().get("components");
    CHECK(u->scheme == text_of(parts, "scheme"));
    CHECK(u->userinfo == text_of(parts, "auth"));
    CHECK(u->host == text_of(parts, "host"));
    const std::int64_t port = json_integer(json_member(parts, "port")).value();
    CHECK(u->port == (port == -1 ? default_port(u->scheme) : port));
    // A fragment is not part of what a server is asked for; the source keeps it.
    const std::string path = text_of(parts, "path");
    CHECK(u->target == path.substr(0, path.find('#')));
}

void check_redirect(const test::corpus_case& c) {
    std::error_code ec;
    const auto base = parse_url(text_of(c.input(), "referrer"), ec);
    if (!base) {
        CHECK(text_of(c.input(), "referrer").starts_with("my-custom-scheme:"));
        CHECK(ec == errc::url_unsupported);
        return;
    }
    CHECK(redirect(base->to_string(), text_of(c.input(), "location")) == text_of(c.expect(), "result"));
}

void check_same_origin(const test::corpus_case& c) {
    std::error_code ec;
    const auto a = parse_url(text_of(c.input(), "a"), ec);
    const auto b = parse_url(text_of(c.input(), "b"), ec);
    const bool same = a && b && a->scheme == b->scheme && a->host == b->host && a->port == b->port;
    CHECK(same == c.expect().get("same_origin").get<bool>());
}

}  // namespace

TEST_CASE("a URL is taken apart") {
    const auto u = read("HTTP://user:pa%40ss@Tracker.Example:6969/announce?passkey=x#here");
    REQUIRE(u);
    CHECK(u->scheme == "http");
    CHECK(u->userinfo == "user:pa%40ss");
    CHECK(u->host == "tracker.example");
    CHECK(u->port == 6969);
    CHECK(u->target == "/announce?passkey=x");
    CHECK_FALSE(u->ipv6);
    CHECK_FALSE(u->secure());
    CHECK(u->authority() == "tracker.example:6969");
    CHECK(u->to_string() == "http://user:pa%40ss@tracker.example:6969/announce?passkey=x");
}

TEST_CASE("a scheme's own port is filled in, and left out of the text") {
    CHECK(read("http://h").value().port == 80);
    CHECK(read("ws://h").value().port == 80);
    CHECK(read("https://h").value().port == 443);
    CHECK(read("wss://h").value().port == 443);
    CHECK(read("https://h:443/x").value().to_string() == "https://h/x");
    CHECK(read("http://h:443/x").value().authority() == "h:443");
    CHECK(read("http://h:/x").value().port == 80);
    CHECK(read("http://h").value().target == "/");
    CHECK(read("http://h?q").value().target == "/?q");
}

TEST_CASE("a udp URL must name its port") {
    CHECK(read("udp://h:1337").value().to_string() == "udp://h:1337/");
    CHECK(refusal("udp://h") == errc::url_invalid);
}

TEST_CASE("addresses are kept in their shortest form, IPv6 between brackets") {
    const auto six = read("http://[2001:DB8:0:0::1]:8080/");
    REQUIRE(six);
    CHECK(six->ipv6);
    CHECK(six->host == "2001:db8::1");
    CHECK(six->authority() == "[2001:db8::1]:8080");
    CHECK(read("http://[::1]").value().authority() == "[::1]");
    CHECK(read("http://[::ffff:10.0.0.1]/").value().authority() == "10.0.0.1");
    CHECK(read("http://10.0.0.1/").value().host == "10.0.0.1");
}

TEST_CASE("numbers that only some resolvers take for an address are no hosts") {
    for (const char* const host :
         {"127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "1.2.3.4.5", "1.2.3.256", "127.0.0.1.",
          "a.1", "0x", "[1.2.3.4]", "[::1", "::1", "[::1]x", "[]", "[fe80::1%25eth0]"})
        CHECK(refusal("http://" + std::string(host) + "/") == errc::url_invalid);
}

TEST_CASE("ports outside 1 to 65535 and ports that are not numbers are refused") {
    for (const char* const port : {"0", "65536", "-1", "+80", "8o", "99999999999999999999", "80:80"})
        CHECK(refusal("http://h:" + std::string(port) + "/") == errc::url_invalid);
    CHECK(read("http://h:65535/").value().port == 65535);
}

TEST_CASE("spaces, control characters and line ends are refused anywhere") {
    for (int c = 0; c < 256; ++c) {
        const bool bad = c <= 0x20 || c == 0x7f;
        const std::string text = std::string("http://h/a") + static_cast<char>(c) + "?b";
        CHECK(read(text).has_value() != bad);
    }
    CHECK(refusal("http://h/\r\nX: 1") == errc::url_invalid);
    CHECK(refusal(" http://h/") == errc::url_invalid);
    CHECK(refusal("http://h\t/") == errc::url_invalid);
}

TEST_CASE("text that could be read as two different hosts is refused") {
    CHECK(refusal("http://good.example\\@evil.example/") == errc::url_invalid);
    CHECK(refusal("http://good.example%2f@/") == errc::url_invalid);
    CHECK(read("http://good.example@evil.example/").value().host == "evil.example");
    CHECK(read("http://evil.example/@good.example").value().host == "evil.example");
    CHECK(read("http://evil.example?@good.example").value().host == "evil.example");
    CHECK(read("http://evil.example#@good.example").value().host == "evil.example");
    CHECK(read("http://a@b@c/").value().host == "c");
}

TEST_CASE("host names follow RFC 1123") {
    CHECK(read("http://" + std::string(63, 'a') + ".example/"));
    CHECK(refusal("http://" + std::string(64, 'a') + ".example/") == errc::url_invalid);
    std::string labels;
    for (int i = 0; i < 127; ++i) labels += "a.";
    CHECK(read("http://" + labels.substr(0, 253) + "/"));
    CHECK(refusal("http://" + labels + "a/") == errc::url_invalid);
    CHECK(read("http://example./").value().host == "example.");
    for (const char* const host : {"", ".", "..", "a..b", ".a", "a_b", "a b", "a%41", "\xc3\xa4", "a,b"})
        CHECK(refusal("http://" + std::string(host) + "/") == errc::url_invalid);
}

TEST_CASE("only the five schemes are known, and only absolute URLs are read") {
    for (const char* const text : {"ftp://h/", "file:///etc/passwd", "httpx://h/", "gopher://h:70/", "mailto:a@b"})
        CHECK(refusal(text) == errc::url_unsupported);
    for (const char* const text :
         {"", "h", "//h/", "/announce", "http:", "http:/h", "http//h", ":http://h", "1http://h"})
        CHECK(refusal(text) == errc::url_invalid);
}

TEST_CASE("a URL of more than 8 KiB is refused") {
    const std::string start = "http://h/";
    CHECK(read(start + std::string(url_size_max - start.size(), 'a')));
    CHECK(refusal(start + std::string(url_size_max - start.size() + 1, 'a')) == errc::url_invalid);
}

TEST_CASE("what RFC 3986 does not allow in a target is percent-encoded, once") {
    CHECK(read("http://h/\xc3\xa4?\"<>\\^`{|}").value().target == "/%C3%A4?%22%3C%3E%5C%5E%60%7B%7C%7D");
    CHECK(read("http://h/%C3%A4%zz").value().target == "/%C3%A4%zz");
}

TEST_CASE("dot segments are resolved (RFC 3986, section 5.2.4)") {
    CHECK(read("http://h/a/b/c/./../../g").value().target == "/a/g");
    CHECK(read("http://h/../../x").value().target == "/x");
    CHECK(read("http://h/a/..").value().target == "/");
    CHECK(read("http://h/a/.").value().target == "/a/");
    CHECK(read("http://h/a//../b").value().target == "/a/b");
    CHECK(read("http://h/...?/../x").value().target == "/...?/../x");
}

TEST_CASE("redirects resolve as RFC 3986, section 5.4, shows") {
    const std::string base = "http://a/b/c/d;p?q";
    const std::map<std::string, std::string> examples = {
        {"g", "http://a/b/c/g"},       {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},     {"/g", "http://a/g"},
        {"//g", "http://g/"},          {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},   {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},     {";x", "http://a/b/c/;x"},
        {"", "http://a/b/c/d;p?q"},    {".", "http://a/b/c/"},
        {"..", "http://a/b/"},         {"../g", "http://a/b/g"},
        {"../..", "http://a/"},        {"../../../../g", "http://a/g"},
        {"g..", "http://a/b/c/g.."},   {"./../g", "http://a/b/g"},
        {"g/./h", "http://a/b/c/g/h"}, {"g?y/../x", "http://a/b/c/g?y/../x"}};
    for (const auto& [location, result] : examples) {
        CAPTURE(location);
        CHECK(redirect(base, location) == result);
    }
    CHECK(redirect(base, "https://x:8443/y") == "https://x:8443/y");
    CHECK(redirect("http://u:p@h:81/a", "b") == "http://u:p@h:81/b");
    for (const char* const location : {"http:g", "file:///x", "g h", "/\r\nX: 1", "//a_b/", "//h:0/"})
        CHECK(redirect(base, location) == "refused");
}

TEST_CASE("a redirect leads only to http and https, and not out of https") {
    CHECK(allowed("http://a/", "http://b/"));
    CHECK(allowed("http://a/", "https://b/"));
    CHECK(allowed("https://a/", "https://b/"));
    CHECK_FALSE(allowed("https://a/", "http://a/"));
    CHECK_FALSE(allowed("http://a/", "udp://b:1/"));
    CHECK_FALSE(allowed("http://a/", "ws://b/"));
    CHECK_FALSE(allowed("https://a/", "wss://b/"));
}

TEST_CASE("a redirect does not lead from elsewhere to this machine or the local link") {
    for (const char* const near :
         {"http://localhost/", "http://LocalHost./", "http://x.localhost/", "http://127.0.0.1/", "http://127.9.9.9/",
          "http://0.0.0.0/", "http://0.1.2.3/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
          "http://169.254.169.254/", "http://[fe80::1]/", "http://[febf::1]/"}) {
        CAPTURE(near);
        CHECK_FALSE(allowed("http://tracker.example/", near));
        CHECK_FALSE(allowed("http://8.8.8.8/", near));
        CHECK(allowed("http://127.0.0.1:6969/", near));
    }
    for (const char* const far :
         {"http://169.253.1.1/", "http://[fec0::1]/", "http://128.0.0.1/", "http://localhost.example/"})
        CHECK(allowed("http://tracker.example/", far));
}

TEST_CASE("percent-encoding and decoding are each other's reverse for every byte") {
    std::string all;
    for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
    const std::string encoded = percent_encode(all);
    CHECK(percent_decode(encoded) == all);
    for (const char c : encoded) CHECK((is_unreserved(c) || c == '%'));
    CHECK(percent_encode("aZ09-._~ +/") == "aZ09-._~%20%2B%2F");
    CHECK(percent_decode("a+b%2bc%2B") == "a+b+c+");
}

TEST_CASE("an escape without two digits is refused") {
    for (const char* const text : {"%", "%4", "a%", "a%4", "%g0", "%0g", "%%41", "%-1", "% 1"})
        CHECK_FALSE(percent_decode(text));
}

TEST_CASE("decoding into a fixed size takes neither more nor less") {
    std::array<std::uint8_t, 3> out;
    CHECK(percent_decode("a%00b", out));
    CHECK(as_text(out) == std::string_view("a\0b", 3));
    CHECK_FALSE(percent_decode("ab", out));
    CHECK_FALSE(percent_decode("abcd", out));
    CHECK_FALSE(percent_decode("ab%", out));
}

TEST_CASE("what was read and written again reads as the same URL") {
    random_engine random(1);
    constexpr std::string_view alphabet = "http://s:@[]/?#.%0a1xA-\\_~\xc3\xa4";
    int accepted = 0;
    for (int round = 0; round < 50000; ++round) {
        std::string text = round % 2 == 0 ? "http://h" : "";
        for (std::uint32_t i = random.below(12); i > 0; --i)
            text += alphabet[random.below(static_cast<std::uint32_t>(alphabet.size()))];
        std::error_code ec;
        const auto u = parse_url(text, ec);
        REQUIRE(u.has_value() == !ec);
        if (!u) continue;
        ++accepted;
        CAPTURE(text);
        REQUIRE(parse_url(u->to_string(), ec) == u);
    }
    CHECK(accepted > 1000);
}

TEST_CASE("the corpus's URLs have the stated results, or are refused for a reason that is listed") {
    std::map<std::string, int> ops;
    std::map<std::string, int> outcomes;
    for (const test::corpus_case& c : test::corpus("url")) {
        CAPTURE(c.id);
        const std::string op = text_of(c.input(), "op");
        ++ops[op];
        if (op == "whatwg") {
            check_whatwg(c, outcomes);
        } else if (op == "parse") {
            check_components(c);
        } else if (op == "tracker_valid") {
            CHECK(read(text_of(c.input(), "url")).has_value() == c.expect().get("valid").get<bool>());
        } else if (op == "resolve_redirect") {
            check_redirect(c);
        } else {
            check_same_origin(c);
        }
    }
    const std::map<std::string, int> expected_ops = {
        {"whatwg", 100}, {"parse", 8}, {"tracker_valid", 8}, {"resolve_redirect", 3}, {"same_origin", 5}};
    CHECK(ops == expected_ops);
    std::string report;
    for (const auto& [outcome, count] : outcomes) report += outcome + ": " + std::to_string(count) + "\n";
    CHECK(report ==
          "a host that is not ASCII: 1\n"
          "a host with punctuation: 1\n"
          "a number as host: 2\n"
          "a percent-encoded host: 1\n"
          "accepted: 27\n"
          "an empty host: 1\n"
          "no // after the scheme: 8\n"
          "refused: 52\n"
          "spaces or control characters that a browser drops: 7\n");
}

}  // namespace url_test
