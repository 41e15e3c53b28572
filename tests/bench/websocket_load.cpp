// The client of websocket.py: links that keep a number of messages on the way to an echo server, or that lie idle.
//
//   websocket_load PORT PATH LINKS WINDOW SECONDS SIZE   prints messages a second
//   websocket_load PORT PATH LINKS idle                  opens the links, exchanges one message on each, prints `idle`
//                                                        and waits until its standard input ends
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <cohort/net/noise_channel.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/net/websocket_pipe.hpp>
#include <cohort/protocol/websocket.hpp>

#include <unistd.h>

namespace {

using namespace cohort;

/// Dials and leaves nothing of the handshake unread: this client checks no server.
asio::awaitable<std::unique_ptr<stream>> open_link(network& net, endpoint at, std::string path) {
    auto link = co_await net.connect(at);
    const std::string head = "GET " + path +
                             " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    co_await write_all(*link, as_bytes(head));
    std::string answer;
    std::uint8_t one = 0;
    while (!answer.ends_with("\r\n\r\n")) {
        co_await read_exactly(*link, byte_span(&one, 1));
        answer += static_cast<char>(one);
    }
    if (!answer.starts_with("HTTP/1.1 101")) throw std::runtime_error(answer);
    co_return link;
}

struct tally {
    std::uint64_t messages = 0;
    bool stop = false;
};

byte_vector masked_frames(network& net, std::size_t count, std::size_t size) {
    byte_vector out;
    const std::string payload(size, 'm');
    for (std::size_t i = 0; i < count; ++i)
        append_websocket_frame(out, websocket_opcode::binary, as_bytes(payload),
                               static_cast<std::uint32_t>(net.random()()));
    return out;
}

/// Keeps `window` messages on the way: writes half of them whenever as many came back.
asio::awaitable<void> keep_busy(network& net, stream& link, std::size_t window, std::size_t size, tally& total) {
    byte_vector echoed;
    append_websocket_frame(echoed, websocket_opcode::binary, byte_vector(size), std::nullopt);
    const std::size_t half = window > 1 ? window / 2 : 1;
    const byte_vector frames = masked_frames(net, half, size);
    byte_vector buffer(64 * 1024);
    co_await write_all(link, frames);
    if (window > 1) co_await write_all(link, frames);
    for (std::size_t bytes = 0; !total.stop;) {
        const std::size_t got = co_await link.read_some(buffer);
        if (got == 0) raise(errc::connection_closed);
        bytes += got;
        for (; bytes >= half * echoed.size(); bytes -= half * echoed.size()) {
            total.messages += half;
            co_await write_all(link, frames);
        }
    }
    link.close();
}

// ---- the same through encrypted channels, at the path /sealed

asio::awaitable<std::unique_ptr<noise_channel>> open_channel(network& net, endpoint at, std::string path) {
    const std::string url = "ws://" + at.to_string() + path;
    auto socket = co_await websocket_connect(net, url);
    std::unique_ptr<message_pipe> pipe = std::make_unique<websocket_pipe>(std::move(socket));
    const identity self = identity::random();
    auto out = co_await noise_channel::as_initiator(net, std::move(pipe), self);
    co_return out;
}

asio::awaitable<void> keep_busy(network&, noise_channel& channel, std::size_t window, std::size_t size, tally& total) {
    const byte_vector message(size, 'm');
    for (std::size_t i = 0; i < window; ++i) co_await channel.send(message);
    while (!total.stop) {
        const byte_vector back = co_await channel.receive();
        if (back != message) throw std::runtime_error("something else came back");
        ++total.messages;
        co_await channel.send(message);
    }
    channel.close();
}

// ---- both

asio::awaitable<void> count(network& net, task_group& tasks, tally& total, double seconds) {
    const duration warm_up = 500ms;
    co_await net.sleep_for(warm_up);
    const time_point begin = net.now();
    const std::uint64_t before = total.messages;
    const auto how_long = std::chrono::duration_cast<duration>(std::chrono::duration<double>(seconds));
    co_await net.sleep_for(how_long);
    const double rate = static_cast<double>(total.messages - before) / to_seconds(net.now() - begin);
    std::printf("%.0f\n", rate);
    std::fflush(stdout);
    total.stop = true;
    tasks.cancel();
    co_await tasks.join();
}

template <auto Open>
asio::awaitable<void> measure(network& net, endpoint at, std::string path, std::size_t count_of_links,
                              std::size_t window, double seconds, std::size_t size) {
    std::vector<typename decltype(Open(net, at, path))::value_type> links;
    for (std::size_t i = 0; i < count_of_links; ++i) {
        auto link = co_await Open(net, at, path);
        links.push_back(std::move(link));
    }
    tally total;
    task_group tasks(net.executor());
    for (const auto& link : links) tasks.spawn(keep_busy(net, *link, window, size, total));
    co_await count(net, tasks, total, seconds);
}

asio::awaitable<void> lie_idle(network& net, endpoint at, std::string path, std::size_t count) {
    const byte_vector frame = masked_frames(net, 1, 100);
    byte_vector echoed(102);
    std::vector<std::unique_ptr<stream>> links;
    for (std::size_t i = 0; i < count; ++i) {
        auto link = co_await open_link(net, at, path);
        co_await write_all(*link, frame);
        co_await read_exactly(*link, echoed);
        links.push_back(std::move(link));
    }
    std::puts("idle");
    std::fflush(stdout);
    std::uint8_t end = 0;
    while (::read(0, &end, 1) > 0) {
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5 && argc != 7) {
        std::fputs("usage: websocket_load PORT PATH LINKS WINDOW SECONDS SIZE | PORT PATH LINKS idle\n", stderr);
        return 2;
    }
    const endpoint at{ip_address::loopback_v4(), static_cast<std::uint16_t>(std::stoi(argv[1]))};
    const auto links = static_cast<std::size_t>(std::stoul(argv[3]));
    asio::io_context io(1);
    real_network net(io.get_executor());
    asio::awaitable<void> work;
    if (argc == 5) {
        work = lie_idle(net, at, argv[2], links);
    } else {
        const auto start = std::string(argv[2]) == "/sealed" ? &measure<&open_channel> : &measure<&open_link>;
        work = start(net, at, argv[2], links, std::stoul(argv[4]), std::stod(argv[5]), std::stoul(argv[6]));
    }
    int code = 0;
    asio::co_spawn(io, std::move(work), [&code](std::exception_ptr thrown) {
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "websocket_load: %s\n", error.what());
            code = 1;
        }
    });
    io.run();
    return code;
}
