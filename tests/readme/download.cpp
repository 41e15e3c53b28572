// The first program of README.md.
#include <cohort.hpp>

#include <cstdio>

asio::awaitable<void> download(cohort::network& net, std::string torrent_file) {
    cohort::leecher_options options;
    options.directory = "downloads";
    cohort::leecher leecher(net, cohort::read_torrent(torrent_file), options);
    co_await leecher.run();
    std::printf("have all of %s\n", leecher.torrent().info().name.c_str());
}

int main(int argc, char** argv) {
    asio::io_context io;
    cohort::real_network net(io.get_executor());
    asio::co_spawn(io, download(net, argc > 1 ? argv[1] : "some.torrent"), [](std::exception_ptr failure) {
        if (failure) std::rethrow_exception(failure);
    });
    io.run();
}
