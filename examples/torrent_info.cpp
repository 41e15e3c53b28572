// Shows what a .torrent file says.
#include <cstdio>
#include <string>

#include <cohort/protocol/json.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/storage/torrent_file.hpp>

#include "support/program.hpp"
#include "support/terminal.hpp"

namespace {

using cohort::to_json;

void print_json(const cohort::metainfo& info) {
    cohort::json_array files;
    for (const cohort::file_entry& file : info.files) {
        if (file.pad) continue;
        cohort::json_object one;
        one["path"] = to_json(file.path);
        one["length"] = to_json(file.length);
        files.push_back(to_json(one));
    }
    cohort::json_array tiers;
    for (const auto& tier : info.trackers) {
        cohort::json_array urls;
        for (const std::string& url : tier) urls.push_back(to_json(url));
        tiers.push_back(to_json(urls));
    }
    const std::string text = cohort::json_line()
                                 .add("name", info.name)
                                 .add("info_hash", info.hash.hex())
                                 .add("total_size", info.total_size)
                                 .add("piece_length", info.piece_length)
                                 .add("pieces", info.piece_hashes.size())
                                 .add("private", info.is_private)
                                 .add("trackers", tiers)
                                 .add("comment", info.comment)
                                 .add("created_by", info.created_by)
                                 .add("creation_date", info.creation_date)
                                 .add("files", files)
                                 .take();
    std::printf("%s\n", text.c_str());
}

void print_text(const cohort::metainfo& info) {
    using namespace cohort::examples;
    std::size_t files = 0;
    for (const cohort::file_entry& file : info.files) files += file.pad ? 0 : 1;
    std::printf("name       %s\n", printable(info.name).c_str());
    std::printf("info_hash  %s\n", info.hash.hex().c_str());
    std::printf("size       %s in %zu file%s\n", human_size(info.total_size).c_str(), files, files == 1 ? "" : "s");
    std::printf("pieces     %zu of %s\n", info.piece_hashes.size(), human_size(info.piece_length).c_str());
    if (info.is_private) std::printf("private    yes\n");
    if (!info.comment.empty()) std::printf("comment    %s\n", printable(info.comment).c_str());
    for (std::size_t tier = 0; tier < info.trackers.size(); ++tier) {
        for (const std::string& url : info.trackers[tier])
            std::printf("tracker %zu  %s\n", tier + 1, printable(url).c_str());
    }
    for (const cohort::file_entry& file : info.files) {
        if (!file.pad) std::printf("%10s  %s\n", human_size(file.length).c_str(), printable(file.path).c_str());
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Shows what a .torrent file says. Exit code 2 if it is not a valid torrent.");
    std::string path;
    bool as_json = false;
    cohort::examples::add_torrent_argument(app, path);
    app.add_flag("--json", as_json, "Print one JSON object");
    return cohort::examples::run_plain_program(argc, argv, app, [&] {
        const cohort::metainfo info = cohort::read_torrent(path);
        as_json ? print_json(info) : print_text(info);
        return 0;
    });
}
