// Chat: people find each other through the tracker and talk over encrypted links of their own.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pwd.h>
#include <unistd.h>

#include <cohort/chat.hpp>
#include <cohort/net/real_network.hpp>

#include "support/addresses.hpp"
#include "support/chat_api.hpp"
#include "support/chat_program.hpp"
#include "support/program.hpp"
#include "support/trace_file.hpp"

namespace {

struct flags {
    std::string name;
    std::string tracker;
    std::string host;
    std::string public_host;
    std::uint16_t port = 0;
    std::string home;
    bool accept_files = false;
    bool json = false;
    bool stay = false;
    std::optional<std::uint16_t> api;
    std::string api_token;
    std::string trace;
};

std::string environment(const char* variable) {
    const char* const value = std::getenv(variable);
    return value == nullptr ? "" : value;
}

std::string login_name() {
    const passwd* const entry = ::getpwuid(::geteuid());
    return entry == nullptr ? environment("USER") : entry->pw_name;
}

/// Where programs keep what a person would miss (the XDG base directory specification), a folder for each name.
std::string default_home(const std::string& name) {
    const std::string data = environment("XDG_DATA_HOME");
    std::string out = (data.empty() ? environment("HOME") + "/.local/share" : data) + "/cohort/chat/";
    if (name.starts_with('.')) out += '%';
    for (const char c : name) out += c == '/' ? '%' : c;
    return out;
}

cohort::chat_options node_options(const flags& given, std::vector<cohort::ip_address> addresses,
                                  const cohort::chat_start& wanted) {
    cohort::chat_options options;
    options.name = wanted.username;
    if (!cohort::is_user_name(options.name)) cohort::raise(cohort::errc::name_invalid, options.name);
    options.home = given.home.empty() ? default_home(options.name) : given.home;
    options.tracker = wanted.tracker_url;
    options.addresses = std::move(addresses);
    options.port = wanted.port;
    options.host = given.public_host;
    options.accept_files = given.accept_files;
    return options;
}

asio::awaitable<int> talk(cohort::network& net, std::shared_ptr<cohort::chat_node> node, const flags& given,
                          std::string home) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::examples::console terminal(executor, given.json);
    cohort::examples::chat_program_options how;
    how.json = given.json;
    how.stay = given.stay || given.api;
    how.files = home + "/files";
    cohort::examples::chat_program program(net, *node, terminal, how);
    const int code = co_await program.run();
    co_return code;
}

void announce(const cohort::examples::chat_api& door, const flags& given) {
    const std::string line = given.json ? cohort::json_line().add("event", "api").add("url", door.url()).take()
                                        : "scripts reach this chat at " + door.url();
    std::puts(line.c_str());
    if (given.name.empty() && !given.json) std::puts("it begins with POST /start {username,port,tracker_url}");
    std::fflush(stdout);
}

asio::awaitable<int> chat(const flags& given) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network machine(executor);
    cohort::examples::maybe_traced traced(machine, given.trace, given.name.empty() ? "chat" : given.name);
    cohort::network& net = traced.net();
    const auto addresses = co_await cohort::examples::resolve_host(net, given.host);
    const auto plan = [&given, &addresses](const cohort::chat_start& wanted) {
        return node_options(given, addresses, wanted);
    };
    cohort::chat_start ours{given.name, given.port, given.tracker};
    if (!given.api) {
        if (ours.username.empty()) ours.username = login_name();
        const cohort::chat_options options = plan(ours);
        const auto node = std::make_shared<cohort::chat_node>(net, options);
        const int code = co_await talk(net, node, given, options.home);
        co_return code;
    }
    const cohort::examples::chat_api_options how{*given.api, given.api_token};
    cohort::examples::chat_api door(net, how, plan);
    if (!given.name.empty()) door.begin(ours);
    announce(door, given);
    const cohort::examples::chat_api::talker talker = [&net, &given](std::shared_ptr<cohort::chat_node> node,
                                                                     std::string home) {
        return talk(net, std::move(node), given, std::move(home));
    };
    const int code = co_await door.run(talker);
    co_return code;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Talks with others, encrypted, over direct links; the tracker only says who is where.");
    flags given;
    app.add_option("--name", given.name, "How others call you; your login name by default")->option_text("NAME");
    app.add_option("--tracker", given.tracker, "Where names are found; without it only those who dial you are met")
        ->option_text("URL");
    app.add_option("--host", given.host, "Address to listen on; all by default")->option_text("A");
    app.add_option("--public-host", given.public_host,
                   "Address that others dial; by default where the tracker sees you")
        ->option_text("A");
    app.add_option("--port", given.port, "Port to listen on; a free one by default")->option_text("P");
    app.add_option("--home", given.home, "Folder for your key, contacts, history and files")->option_text("FOLDER");
    app.add_flag("--accept-files", given.accept_files, "Fetch every file that is offered, without asking");
    app.add_flag("--json", given.json, "One JSON line an event and an answer; commands as typed or as JSON");
    app.add_flag("--stay", given.stay, "Go on after the end of piped input");
    app.add_option("--api", given.api,
                   "Port on this machine at which scripts and pages control the chat, 0 for a free one; without --name "
                   "it begins with their POST /start")
        ->option_text("P");
    app.add_option("--api-token", given.api_token, "What they have to show then; by default nothing")
        ->envname("COHORT_API_TOKEN")
        ->option_text("TOKEN");
    cohort::examples::add_trace_flag(app, given.trace);
    app.footer(
        "Examples:\n"
        "  tracker --port 8000                                         somewhere that all can reach\n"
        "  chat --name alice --tracker http://127.0.0.1:8000           then type @bob hello, or /help\n"
        "  echo '@bob dinner is ready' | chat --name alice --tracker http://127.0.0.1:8000\n"
        "  echo '{\"command\":\"history\",\"with\":\"bob\"}' | chat --name alice --json\n");
    return cohort::examples::run_program(argc, argv, app, given, chat);
}
