// A tracker: peers announce to it and hear about each other; users register names and find each other.
//
//   tracker [--host A] [--port P] [--udp-port P] [--interval S] [--silent-after S] [--require-keys]
//           [--log-level L] [--trace FILE]

#include <algorithm>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <cohort/net/real_network.hpp>
#include <cohort/tracker.hpp>

#include "support/program.hpp"
#include "support/trace_file.hpp"

namespace {

struct options {
    std::string host;
    std::uint16_t port = 6969;
    std::optional<std::uint16_t> udp_port;
    unsigned interval = 1800;
    unsigned silent_after = 120;
    bool require_keys = false;
    std::string log_level = "info";
    std::string trace;
};

void log_line(cohort::log_level level, const std::string& line) {
    std::fprintf(stderr, "tracker: %s: %s\n", std::string(to_string(level)).c_str(), line.c_str());
}

asio::awaitable<int> run(const options& chosen) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    cohort::real_network machine(executor);
    cohort::examples::maybe_traced traced(machine, chosen.trace, "tracker");
    cohort::network& net = traced.net();

    cohort::tracker_options how;
    how.host = chosen.host;
    how.port = chosen.port;
    how.udp_port = chosen.udp_port.value_or(chosen.port);
    how.interval = std::chrono::seconds(chosen.interval);
    how.users.names.silent_after = std::chrono::seconds(chosen.silent_after);
    how.users.names.require_keys = chosen.require_keys;
    how.users.sweep_interval = std::min<cohort::duration>(how.users.sweep_interval, how.users.names.silent_after / 4);
    how.log = {*cohort::parse_log_level(chosen.log_level), log_line};

    cohort::tracker tracker(net, how);
    std::printf("tracker: listening on %s and %s\n", tracker.http_url().c_str(), tracker.udp_url().c_str());
    std::fflush(stdout);

    co_await tracker.run();
    co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(
        "Tells the peers of torrents about each other, over HTTP and UDP, and users of the chat who is there.");
    options chosen;
    app.add_option("--host", chosen.host, "address to listen on; default: all, IPv4 and IPv6");
    app.add_option("--port", chosen.port, "port for HTTP, 0 for a free one")->capture_default_str();
    app.add_option("--udp-port", chosen.udp_port, "port for UDP, 0 for a free one; default: that of --port");
    app.add_option("--interval", chosen.interval, "seconds between two announces of a peer")
        ->check(CLI::Range(1, 604800))
        ->capture_default_str();
    app.add_option("--silent-after", chosen.silent_after, "seconds without a heartbeat until a user counts as away")
        ->check(CLI::Range(1, 86400))
        ->capture_default_str();
    app.add_flag("--require-keys", chosen.require_keys, "take only names that are registered with a key");
    app.add_option("--log-level", chosen.log_level, "what to log to standard error")
        ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
        ->capture_default_str();
    cohort::examples::add_trace_flag(app, chosen.trace);
    return cohort::examples::run_program(argc, argv, app, chosen, &run);
}
