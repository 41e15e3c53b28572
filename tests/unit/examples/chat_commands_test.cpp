#include <examples/support/chat_commands.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <examples/support/chat_completion.hpp>
#include <examples/support/chat_json_commands.hpp>
#include <support/temp_dir.hpp>

namespace chat_commands_test {

using namespace cohort;
using namespace cohort::examples;
namespace command = cohort::examples::chat_command;

namespace {

/// The command that a line is; fails the test if it is none of that kind.
template <class Command>
Command parsed(std::string_view line) {
    std::string error;
    const auto out = parse_chat_line(line, error);
    CAPTURE(line);
    CHECK(error.empty());
    REQUIRE(out.has_value());
    REQUIRE(std::holds_alternative<Command>(*out));
    return std::get<Command>(*out);
}

std::string error_of(std::string_view line) {
    std::string error;
    CHECK_FALSE(parse_chat_line(line, error).has_value());
    return error;
}

std::vector<std::string> completed(std::string_view before, const std::vector<std::string>& files = {}) {
    const chat_names names{{"bob", "bobby", "carol"}, {"#lobby", "#tea"}};
    const auto out = complete_chat_line(before, names, [&](std::string_view begun) {
        std::vector<std::string> found;
        for (const std::string& file : files) {
            if (file.starts_with(begun)) found.push_back(file);
        }
        return found;
    });
    std::vector<std::string> lines;
    for (const std::string& one : out.candidates) lines.push_back(std::string(before.substr(0, out.from)) + one);
    return lines;
}

using texts = std::vector<std::string>;

}  // namespace

TEST_CASE("words without a command go to the current conversation") {
    CHECK(parsed<command::say>("hello bob").text == "hello bob");
    CHECK(parsed<command::say>("hello bob").to.empty());
    CHECK(parsed<command::say>("  code();  \r\n").text == "  code();");
    CHECK(parsed<command::say>("don't \"quote").text == "don't \"quote");
    CHECK(parsed<command::say>("one\ntwo").text == "one\ntwo");
    CHECK(parsed<command::say>("@").text == "@");
    parsed<command::nothing>("");
    parsed<command::nothing>(" \t ");
}

TEST_CASE("two slashes begin a text that begins with one") {
    CHECK(parsed<command::say>("//etc/passwd").text == "/etc/passwd");
    CHECK(parsed<command::say>("//").text == "/");
}

TEST_CASE("a name behind an at sign turns to somebody, with words for them or without") {
    const auto said = parsed<command::say>("@bob  hello  there ");
    CHECK(said.to == "bob");
    CHECK(said.text == "hello  there");
    CHECK(said.turn);
    CHECK(parsed<command::turn_to>("@#lobby").with == "#lobby");
    CHECK(parsed<command::say>("@#lobby hi").to == "#lobby");
}

TEST_CASE("a name with spaces is quoted or escaped, and other quotes are letters") {
    CHECK(parsed<command::say>("@\"Bob B\" hi \"there\"").to == "Bob B");
    CHECK(parsed<command::say>("@\"Bob B\" hi \"there\"").text == "hi \"there\"");
    CHECK(parsed<command::say>("/msg Bob\\ B hi").to == "Bob B");
    CHECK(parsed<command::say>("@O'Neill hi").to == "O'Neill");
    CHECK(parsed<command::turn_to>("@\"Bob").with == "\"Bob");
    CHECK(parsed<command::turn_to>("@\"Bob B\"").with == "Bob B");
    CHECK(parsed<command::connect>("/connect \"Bob B\"").name == "Bob B");
}

TEST_CASE("each command takes its words, also by its short name") {
    CHECK(parsed<command::connect>("/connect bob").name == "bob");
    CHECK(parsed<command::connect>("/c @bob").name == "bob");
    const auto said = parsed<command::say>("/msg bob don't  wait");
    CHECK(said.to == "bob");
    CHECK(said.text == "don't  wait");
    CHECK_FALSE(said.turn);
    CHECK(parsed<command::say>("/m #lobby one\ntwo").text == "one\ntwo");
    parsed<command::peers>("/peers");
    parsed<command::rooms>("/rooms");
    CHECK(parsed<command::join>("/join lobby").room == "#lobby");
    CHECK(parsed<command::join>("/j #lobby").room == "#lobby");
    CHECK(parsed<command::leave>("/leave").room.empty());
    CHECK(parsed<command::leave>("/leave lobby").room == "#lobby");
    CHECK(parsed<command::verify>("/verify bob").name == "bob");
    CHECK_FALSE(parsed<command::verify>("/verify bob").confirmed);
    CHECK(parsed<command::verify>("/verify bob yes").confirmed);
    CHECK(parsed<command::forget>("/forget bob").name == "bob");
    CHECK(parsed<command::presence>("/away").state == "away");
    CHECK(parsed<command::presence>("/away it's lunch").state == "it's lunch");
    CHECK(parsed<command::presence>("/back").state == "online");
    CHECK(parsed<command::read>("/read bob").with == "bob");
    CHECK(parsed<command::help>("/help").topic.empty());
    CHECK(parsed<command::help>("/help /send").topic == "send");
    parsed<command::quit>("/quit");
    parsed<command::quit>("  /q ");
}

TEST_CASE("the page of a history may name a conversation, a count, or both") {
    CHECK(parsed<command::history>("/history").with.empty());
    CHECK_FALSE(parsed<command::history>("/history").count.has_value());
    CHECK(parsed<command::history>("/history 50").count == 50U);
    CHECK(parsed<command::history>("/history 50").with.empty());
    CHECK(parsed<command::history>("/history bob").with == "bob");
    const auto both = parsed<command::history>("/h #lobby 5");
    CHECK(both.with == "#lobby");
    CHECK(both.count == 5U);
}

TEST_CASE("names of files may be quoted or escaped, and a receiver may stand before them") {
    CHECK(parsed<command::send_file>("/send photo.jpg").path == "photo.jpg");
    CHECK(parsed<command::send_file>("/send photo.jpg").to.empty());
    const auto quoted = parsed<command::send_file>("/send bob \"my photo.jpg\"");
    CHECK(quoted.to == "bob");
    CHECK(quoted.path == "my photo.jpg");
    CHECK(parsed<command::send_file>("/send my\\ photo.jpg").path == "my photo.jpg");
    CHECK(parsed<command::send_file>("/send 'a\\b \"c\"'").path == "a\\b \"c\"");
    CHECK(error_of("/send bob my photo.jpg") == "/send: a file name with spaces needs quotes around it");
    CHECK(error_of("/send \"photo") == "/send: a quote is not closed");
}

TEST_CASE("offers are accepted by number, into a folder, or just the newest") {
    CHECK_FALSE(parsed<command::accept>("/accept").offer.has_value());
    CHECK(parsed<command::accept>("/accept 3").offer == 3U);
    CHECK(parsed<command::accept>("/accept 3 /tmp").directory == "/tmp");
    CHECK(parsed<command::accept>("/accept /tmp").directory == "/tmp");
    CHECK(parsed<command::refuse>("/refuse 2").offer == 2U);
    CHECK(error_of("/refuse bob") == "/refuse: usage: /refuse [NUMBER]");
}

TEST_CASE("what cannot be understood is said in one line, with the nearest command") {
    CHECK(error_of("/conect bob") == "/conect: no such command; did you mean /connect?");
    CHECK(error_of("/jion lobby") == "/jion: no such command; did you mean /join?");
    CHECK(error_of("/hist") == "/hist: no such command; did you mean /history?");
    CHECK(error_of("/frobnicate") == "/frobnicate: no such command; see /help");
    CHECK(error_of("/") == "/: no such command; see /help");
    CHECK(error_of("/\x1b[2J") == "/?[2J: no such command; see /help");
    CHECK(error_of("/connect") == "/connect: usage: /connect NAME");
    CHECK(error_of("/connect a b") == "/connect: usage: /connect NAME");
    CHECK(error_of("/peers now") == "/peers: usage: /peers");
    CHECK(error_of("/msg bob") == "/msg: usage: /msg WHO TEXT");
    CHECK(error_of("/history bob many") == "/history: usage: /history [WHO] [COUNT]");
    CHECK(error_of("/verify bob no") == "/verify: usage: /verify NAME [yes]");
    CHECK(error_of("/help nonsense") == "/nonsense: no such command; see /help");
    CHECK(error_of("/accept 99999999999999999999999 x y").starts_with("/accept: usage"));
}

TEST_CASE("every command has its help, and is known by both names") {
    const std::string all = chat_help();
    for (const chat_command_info& one : chat_command_table) {
        CHECK(all.find("/" + std::string(one.name)) != std::string::npos);
        CHECK(find_chat_command(one.name) == &one);
        CHECK(chat_help(one.name).starts_with("  /" + std::string(one.name)));
        if (!one.shorter.empty()) CHECK(find_chat_command(one.shorter) == &one);
    }
    CHECK(find_chat_command("") == nullptr);
}

TEST_CASE("Tab completes commands, names, rooms and what kind of word comes next") {
    CHECK(completed("/conn") == texts{"/connect "});
    CHECK(completed("/re") == texts{"/refuse ", "/read "});
    CHECK(completed("/connect b") == texts{"/connect bob ", "/connect bobby "});
    CHECK(completed("/c @c") == texts{"/c @carol "});
    CHECK(completed("/msg #l") == texts{"/msg #lobby "});
    CHECK(completed("/msg bob b").empty());
    CHECK(completed("/leave lo") == texts{"/leave lobby"});
    CHECK(completed("/leave #t") == texts{"/leave #tea"});
    CHECK(completed("/help se") == texts{"/help send "});
    CHECK(completed("@") == texts{"@bob ", "@bobby ", "@carol ", "@#lobby ", "@#tea "});
    CHECK(completed("car") == texts{"carol: "});
    CHECK(completed("I saw car") == texts{"I saw carol "});
    CHECK(completed("").empty());
    CHECK(completed("//con").empty());
    CHECK(completed("/nonsense b").empty());
}

TEST_CASE("Tab completes a name with spaces as one word") {
    const chat_names names{{"Bob B", "O'Neill"}, {}};
    const auto nothing = [](std::string_view) { return texts{}; };
    CHECK(complete_chat_line("@Bo", names, nothing).candidates == texts{"@Bob\\ B "});
    CHECK(complete_chat_line("/c Bob\\ ", names, nothing).candidates == texts{"Bob\\ B "});
    CHECK(complete_chat_line("@O", names, nothing).candidates == texts{"@O\\'Neill "});
}

TEST_CASE("Tab completes names of files with what they need to be one word") {
    const texts files = {"my photo.jpg", "music/", "bobs.txt"};
    CHECK(completed("/send m", files) == texts{"/send my\\ photo.jpg ", "/send music/"});
    CHECK(completed("/send my\\ p", files) == texts{"/send my\\ photo.jpg "});
    CHECK(completed("/send \"my p", files) == texts{"/send my\\ photo.jpg "});
    CHECK(completed("/send bob m", files) == texts{"/send bob my\\ photo.jpg ", "/send bob music/"});
    CHECK(completed("/send bob", files) == texts{"/send bob ", "/send bobby ", "/send bobs.txt "});
}

TEST_CASE("files are looked for where the typed path says, hidden ones only when asked for") {
    const test::temp_dir folder;
    for (const char* name : {"one.txt", "only", ".hidden"}) test::write_file(folder / name, std::string_view("x"));
    std::filesystem::create_directory(folder / "open");
    const std::string base = folder.string() + "/";
    CHECK(matching_files(base + "o") == texts{base + "one.txt", base + "only", base + "open/"});
    CHECK(matching_files(base).size() == 3);
    CHECK(matching_files(base + ".h") == texts{base + ".hidden"});
    CHECK(matching_files(base + "missing/x").empty());
}

TEST_CASE("scripts give commands as JSON objects, with texts of several lines and a tag") {
    const auto request = parse_chat_request(R"({"command":"send","to":"bob","text":"one\ntwo","tag":7})", true);
    REQUIRE(request.valid());
    CHECK(request.name == "send");
    CHECK(request.tag.serialize() == "7");
    REQUIRE(std::holds_alternative<command::say>(request.command));
    CHECK(std::get<command::say>(request.command).to == "bob");
    CHECK(std::get<command::say>(request.command).text == "one\ntwo");

    for (const char* text :
         {R"({"command":"talk","with":"bob"})", R"({"command":"connect","name":"bob"})", R"({"command":"peers"})",
          R"({"command":"rooms"})", R"({"command":"join","room":"lobby"})", R"({"command":"leave"})",
          R"({"command":"history","with":"bob","count":5,"before":"00:1"})",
          R"({"command":"send_file","to":"bob","path":"x"})", R"({"command":"accept"})", R"({"command":"refuse"})",
          R"({"command":"verify","name":"bob","confirmed":true})", R"({"command":"forget","name":"bob"})",
          R"({"command":"presence","state":"away"})", R"({"command":"read","with":"bob"})",
          R"({"command":"typing","to":"bob","on":false})", R"({"command":"quit"})"}) {
        CAPTURE(text);
        const auto one = parse_chat_request(text, true);
        CHECK(one.error.empty());
        CHECK(chat_command_name(one.command) == one.name);
    }
}

TEST_CASE("people's commands work beside JSON, and have the same names in answers") {
    CHECK(parse_chat_request("/send photo.jpg", true).name == "send_file");
    CHECK(parse_chat_request("hello", true).name == "send");
    CHECK(parse_chat_request("/away", true).name == "presence");
    CHECK(parse_chat_request("", true).name.empty());
    // Where no JSON is expected, a brace is a text like others.
    CHECK(parse_chat_request("{}", false).name == "send");
}

TEST_CASE("a JSON command that is none says what is wrong with it") {
    const auto error = [](const char* text) { return parse_chat_request(text, true).error; };
    CHECK(error("{") == "not valid JSON");
    CHECK(error("{}") == "\"command\" is missing");
    CHECK(error(R"({"command":1})") == "\"command\" is missing");
    CHECK(error(R"({"command":"dance"})") == "no such command");
    CHECK(error(R"({"command":"send"})") == "\"text\" is missing");
    CHECK(error(R"({"command":"send","text":5})") == "\"text\" is not a text");
    CHECK(error(R"({"command":"history","count":-1})") == "\"count\" is not a count");
    CHECK(error(R"({"command":"history","count":1.5})") == "\"count\" is not a count");
    CHECK(error(R"({"command":"verify","name":"bob","confirmed":"yes"})") == "\"confirmed\" is not true or false");
    const auto request = parse_chat_request(R"({"command":"send","tag":"t"})", true);
    CHECK(request.name == "send");
    CHECK(request.tag.serialize() == "\"t\"");
}

}  // namespace chat_commands_test
