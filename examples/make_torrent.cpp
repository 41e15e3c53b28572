// Makes a .torrent file of a file or folder.
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include <cohort/protocol/client.hpp>
#include <cohort/protocol/url.hpp>
#include <cohort/storage/make_torrent.hpp>
#include <cohort/storage/real_disk.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/program.hpp"
#include "support/terminal.hpp"

namespace {

struct flags {
    std::string path;
    std::string output;
    std::vector<std::string> trackers;
    std::uint32_t piece_length = 0;
    bool is_private = false;
    std::string comment;
};

/// Hashing may take hours: that the torrent cannot be put where it is to be is told before.
void require_place_for(const std::string& output) {
    const std::filesystem::path folder = std::filesystem::path(output).parent_path();
    int error = ::access(folder.empty() ? "." : folder.c_str(), W_OK) == 0 ? 0 : errno;
    if (std::filesystem::is_directory(output)) error = EISDIR;
    if (error == 0) return;
    cohort::raise({error, std::generic_category()}, "cannot write " + (output.empty() ? "here" : output));
}

/// A torrent is no use where nobody can announce: what is no URL of a tracker is told before anything is hashed.
void require_tracker(const std::string& text) {
    std::error_code error;
    const auto url = cohort::parse_url(text, error);
    if (!url || url->scheme.starts_with("ws"))
        throw cohort::examples::usage_error(
            "--tracker takes URLs like http://HOST:PORT/announce or udp://HOST:PORT, not '" + text + "'");
    if (url->target == "/" && url->scheme != "udp")
        cohort::examples::complain("make_torrent", text + ": did you mean " + url->to_string() + "announce?");
}

/// Where the torrent goes. Written over a file that is shared, it would make itself a torrent of what is no more.
std::string place_for_torrent(const flags& given) {
    std::error_code none;
    if (!given.output.empty() && !std::filesystem::exists(given.output, none)) return given.output;
    const cohort::scanned_content shared = cohort::scan_content(given.path);
    std::string output = given.output.empty() ? shared.draft.name + ".torrent" : given.output;
    for (const cohort::draft_file& file : shared.draft.files) {
        std::filesystem::path path = given.path;
        for (const std::string& name : file.path) path /= name;
        if (!std::filesystem::equivalent(path, output, none)) continue;
        throw cohort::examples::usage_error(output +
                                            " is one of the files to share; choose another place with --output");
    }
    return output;
}

int make(const flags& given) {
    for (const std::string& tracker : given.trackers) require_tracker(tracker);
    require_place_for(given.output);
    const std::string output = place_for_torrent(given);
    cohort::make_torrent_options options;
    options.piece_length = given.piece_length;
    options.is_private = given.is_private;
    options.comment = given.comment;
    options.created_by = cohort::client_name;
    options.creation_date = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    for (const std::string& tracker : given.trackers) options.trackers.push_back({tracker});

    cohort::examples::progress_printer printer(stderr);
    cohort::examples::progress shown;
    shown.label = given.path;
    const auto began = std::chrono::steady_clock::now();
    const auto progress = [&](const cohort::hash_progress& now) {
        shown.done = now.hashed;
        shown.total = now.total;
        shown.rate = static_cast<double>(now.hashed) / cohort::to_seconds(std::chrono::steady_clock::now() - began);
        try {
            printer.show(shown);
        } catch (const std::system_error&) {
            // Nobody reads how far it is; the torrent is wanted all the same.
        }
        return true;
    };
    cohort::real_disk disk;
    cohort::worker_pool pool;
    const auto info = cohort::make_torrent(disk, given.path, pool, options, progress);
    try {
        printer.finish();
    } catch (const std::system_error&) {
    }
    cohort::write_torrent(output, *info);
    std::printf("%s  %s\n", info->hash.hex().c_str(), output.c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Makes a .torrent file. Prints its info-hash and where it was written.");
    flags given;
    app.add_option("path", given.path, "The file or folder to share")
        ->required()
        ->option_text("PATH")
        ->check(cohort::examples::not_empty());
    app.add_option("-o,--output", given.output, "Where to write it; NAME.torrent here by default")
        ->option_text("FILE.torrent");
    app.add_option("--tracker", given.trackers, "Announce URL; repeated, each is a tier of its own (BEP 12)")
        ->option_text("URL")
        ->expected(1)
        ->take_all();
    app.add_option("--piece-length", given.piece_length,
                   "Multiple of 16384, at most 536870912; by default what suits the size")
        ->option_text("BYTES");
    app.add_flag("--private", given.is_private, "Peers from the trackers only (BEP 27)");
    app.add_option("--comment", given.comment, "A line about the content")->option_text("TEXT");
    return cohort::examples::run_plain_program(argc, argv, app, [&] { return make(given); });
}
