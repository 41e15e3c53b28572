// Plays a swarm in a simulated world: a tracker, seeders and leechers with the engine that the other programs run, in
// virtual time. The same seed gives the same run.
#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/protocol/json.hpp>

#include "support/program.hpp"
#include "support/sim_report.hpp"

namespace {

using namespace cohort::examples;

struct flags {
    play_options play;
    std::vector<piece_order> orders{piece_order::rarest_first};
    std::vector<choking> ways{choking::tit_for_tat};
    double limit_hours = 24;
    std::string report;
    std::string trace;
    bool json = false;
};

void print(const play& one, bool json) {
    const play_summary of = summary_of(one);
    if (json) {
        cohort::json_line line;
        line.add("event", "swarm").add("order", name_of(one.options.order)).add("choking", name_of(one.options.choke));
        line.add("complete", of.complete).add("leechers", of.leechers).add("median_s", of.median);
        line.add("slowest_s", of.last).add("free_rider_median_s", of.rider_median);
        line.add("seeder_copies", of.seeder_copies).add("from_leechers", of.from_peers);
        line.add("fewest_copies", of.fewest_copies).add("lasted_s", one.lasted).add("computed_s", one.computed);
        std::printf("%s\n", line.take().c_str());
    } else {
        std::printf("%-28s %5zu of %-5zu %9.1f %9.1f", name_of(one).c_str(), of.complete, of.leechers, of.median,
                    of.last);
        if (of.rider_median > 0) {
            std::printf(" %12.1f", of.rider_median);
        } else {
            std::printf(" %12s", "-");
        }
        std::printf(" %9.2f %8.1f %% %9.1f\n", of.seeder_copies, 100 * of.from_peers, one.computed);
    }
    std::fflush(stdout);
}

/// Opened before the first swarm: a run may take hours, and that nothing can be written there is known at once.
class output_file {
public:
    explicit output_file(std::string path) : path_(std::move(path)) {
        if (path_.empty()) return;
        file_.reset(std::fopen(path_.c_str(), "wbe"));
        if (!file_) fail(errno);
    }

    bool is_open() const { return file_ != nullptr; }
    /// What fails is told by close(): an error in the middle of a swarm would be one of its peers'.
    void write(std::string_view text) {
        if (error_ == 0 && std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) error_ = errno;
    }
    void close() {
        if (file_ && std::fclose(file_.release()) != 0 && error_ == 0) error_ = errno;
        if (error_ != 0) fail(error_);
    }

private:
    struct closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    [[noreturn]] void fail(int error) const {
        cohort::raise({error, std::generic_category()}, "cannot write " + path_);
    }

    std::string path_;
    std::unique_ptr<std::FILE, closer> file_;
    int error_ = 0;
};

int simulate(const flags& given) {
    constexpr std::uint64_t most = 1 << 30;
    if (std::uint64_t{given.play.pieces} * given.play.piece_length > most)
        throw usage_error("a content of more than 1 GiB; take fewer or shorter pieces");
    output_file trace(given.trace), report(given.report);
    if (!given.json)
        std::printf("%-28s %14s %9s %9s %12s %9s %10s %9s\n", "swarm", "complete", "median s", "slowest s",
                    "free riders", "seeded", "from peers", "computed");
    std::vector<play> plays;
    for (const piece_order order : given.orders) {
        for (const choking choke : given.ways) {
            play_options options = given.play;
            options.order = order;
            options.choke = choke;
            options.limit = std::chrono::duration_cast<cohort::duration>(
                std::chrono::duration<double, std::ratio<3600>>(given.limit_hours));
            if (trace.is_open() && plays.empty())
                options.trace = [&trace](std::string_view line) { trace.write(std::string(line) + '\n'); };
            plays.push_back(swarm_play(options).run());
            print(plays.back(), given.json);
        }
    }
    trace.close();
    if (report.is_open()) {
        report.write(report_page(plays));
        report.close();
        if (!given.json) std::printf("%s shows it\n", given.report.c_str());
    }
    const bool all = std::all_of(plays.begin(), plays.end(), [](const play& one) { return one.all_complete; });
    return all ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Simulates swarms, and writes a page that shows what happened. Exit code 3: not everybody completed.");
    flags given;
    play_options& play = given.play;
    const std::map<std::string, piece_order> orders{{"rarest-first", piece_order::rarest_first},
                                                    {"random", piece_order::random},
                                                    {"sequential", piece_order::sequential}};
    const std::map<std::string, choking> chokings{{"tit-for-tat", choking::tit_for_tat},
                                                  {"everybody", choking::everybody}};
    app.add_option("--peers", play.peers, "Leechers; 100 by default")->option_text("N")->check(CLI::Range(1, 10'000));
    app.add_option("--seeders", play.seeders, "Seeders; 1 by default")->option_text("N")->check(CLI::Range(1, 1000));
    app.add_option("--pieces", play.pieces, "Pieces; 200 by default")->option_text("N")->check(CLI::Range(1, 100'000));
    app.add_option("--piece-length", play.piece_length, "Bytes of a piece; 4096 by default")
        ->option_text("N")
        ->check(CLI::Range(1, 16 << 20));
    app.add_option("--order", given.orders, "rarest-first, random, sequential; several are compared")
        ->option_text("ORDER...")
        ->transform(CLI::CheckedTransformer(orders));
    app.add_option("--choking", given.ways, "tit-for-tat, everybody; several are compared")
        ->option_text("WAY...")
        ->transform(CLI::CheckedTransformer(chokings));
    app.add_option("--up", play.up, "Bytes a second that a leecher's line sends; 62500 by default")->option_text("N");
    app.add_option("--down", play.down, "Bytes a second that a line receives; 500000 by default")->option_text("N");
    app.add_option("--seeder-up", play.seeder_up, "Bytes a second that a seeder's line sends; 62500 by default")
        ->option_text("N");
    app.add_option("--latency", play.latency_ms, "Milliseconds from a peer to the middle of the net; 20 by default")
        ->option_text("MS")
        ->check(CLI::Range(0.0, 10'000.0));
    app.add_option("--loss", play.loss, "Part of the packets that is lost; 0 by default")
        ->option_text("P")
        ->check(CLI::Range(0.0, 0.9));
    app.add_option("--arrivals", play.arrivals, "Seconds over which the leechers come; 0 by default")
        ->option_text("S")
        ->check(CLI::Range(0.0, 1e6));
    app.add_option("--connections", play.connections, "Links of a peer, at most; 20 by default")
        ->option_text("N")
        ->check(CLI::Range(1, 1000));
    app.add_option("--free-riders", play.free_riders, "Part of the leechers that gives nothing; 0 by default")
        ->option_text("P")
        ->check(CLI::Range(0.0, 1.0));
    app.add_flag("--leave", play.leave, "Leechers go when they are complete");
    app.add_flag("--super-seed", play.super_seed, "Seeders tell of each piece to one peer first, which gives it on");
    app.add_flag("--seeders-leave", play.seeders_leave, "Seeders go when every piece was given once");
    app.add_option("--seed", play.seed, "What decides everything; 1 by default")->option_text("N");
    app.add_option("--limit", given.limit_hours, "Hours of the swarm's time, at most; 24 by default")
        ->option_text("H")
        ->check(CLI::Range(0.001, 10'000.0));
    app.add_option("--report", given.report, "Write a page with charts")->option_text("FILE.html");
    app.add_option("--trace", given.trace,
                   "Write what the first swarm's first leecher says and hears, for trace_view.html")
        ->option_text("FILE");
    app.add_flag("--json", given.json, "Print one JSON line a swarm");
    return run_plain_program(argc, argv, app, [&] { return simulate(given); });
}
