// Announces over HTTP (BEP 3, 23) as fast as a tracker answers them, for tracker.py.
//
//     http_load PORT SECONDS SWARMS PEERS NUMWANT fresh|kept     prints one JSON line: how many answers, peers in them
//
// So many swarms of so many peers are filled first; then peers of them announce again and again, over 64 connections at
// a time: a fresh one for each announce, or always the same.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cohort/core/endian.hpp>
#include <cohort/core/hash.hpp>
#include <cohort/core/number.hpp>

using namespace cohort;

namespace {

constexpr std::size_t connections = 64;

struct work {
    std::uint16_t port;
    std::vector<std::string> swarms;  // as they stand in a query
    std::uint32_t peers;
    std::uint32_t numwant;
    bool fresh;
    std::uint64_t next = 0;

    /// The announce of the next peer.
    std::string request(std::uint32_t wanted) {
        const std::uint64_t number = next++;
        const auto peer = static_cast<std::uint32_t>(number / swarms.size() % peers);
        std::array<char, 512> out;
        const int size = std::snprintf(
            out.data(), out.size(),
            "GET /announce?info_hash=%s&peer_id=-XX0001-%012u&ip=10.0.%u.%u&port=%u&uploaded=0&downloaded=0&left=1"
            "&numwant=%u&compact=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n",
            swarms[number % swarms.size()].c_str(), peer, peer >> 8, peer & 255, 1024 + peer % 60'000, wanted,
            fresh ? "Connection: close\r\n" : "");
        return {out.data(), static_cast<std::size_t>(size)};
    }
};

/// One connection, with one announce on the way.
class asker {
public:
    explicit asker(work& todo) : todo_(todo) {}
    ~asker() { hang_up(); }
    asker(const asker&) = delete;
    asker& operator=(const asker&) = delete;

    int fd() const { return fd_; }

    void ask(std::uint32_t wanted) {
        if (fd_ < 0) dial();
        const std::string text = todo_.request(wanted);
        if (::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) fail("send");
        have_ = 0;
    }

    /// Reads; says whether the answer is there, and adds its peers.
    bool take(std::uint64_t& peers) {
        const ssize_t got = ::recv(fd_, answer_.data() + have_, answer_.size() - have_, 0);
        if (got <= 0) fail("no answer");
        have_ += static_cast<std::size_t>(got);
        const std::string_view text(answer_.data(), have_);
        const std::size_t header = text.find("\r\n\r\n");
        if (header == std::string_view::npos) return false;
        if (text.size() < header + 4 + number_behind(text, "Content-Length: ")) return false;
        peers += number_behind(text.substr(header), "5:peers") / 6;
        if (todo_.fresh) hang_up();
        return true;
    }

private:
    [[noreturn]] static void fail(const char* what) {
        std::perror(what);
        std::exit(1);
    }

    static std::size_t number_behind(std::string_view text, std::string_view name) {
        const std::size_t at = text.find(name);
        if (at == std::string_view::npos) fail("not an answer that this understands");
        return std::strtoul(text.data() + at + name.size(), nullptr, 10);
    }

    void dial() {
        fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port = htons(todo_.port);
        const int on = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
    }

    /// With a reset: ports that wait for stray packets would run out.
    void hang_up() {
        if (fd_ < 0) return;
        const linger none{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        ::close(fd_);
        fd_ = -1;
    }

    work& todo_;
    int fd_ = -1;
    std::array<char, 4096> answer_;
    std::size_t have_ = 0;
};

struct figures {
    std::uint64_t answers = 0, peers = 0;
};

/// Until so many were answered, or the time is over.
figures play(std::vector<std::unique_ptr<asker>>& askers, std::uint32_t wanted, std::uint64_t most,
             std::chrono::steady_clock::time_point end) {
    figures out;
    for (const auto& one : askers) one->ask(wanted);
    std::size_t waiting = askers.size();
    std::vector<pollfd> ready(askers.size());
    while (waiting > 0) {
        for (std::size_t i = 0; i < askers.size(); ++i) ready[i] = {askers[i]->fd(), POLLIN, 0};
        if (::poll(ready.data(), ready.size(), 10'000) <= 0) std::exit(1);
        const bool over = out.answers >= most || std::chrono::steady_clock::now() >= end;
        for (std::size_t i = 0; i < askers.size(); ++i) {
            if (ready[i].fd < 0 || ready[i].revents == 0 || !askers[i]->take(out.peers)) continue;
            ++out.answers;
            if (over) {
                --waiting;
            } else {
                askers[i]->ask(wanted);
            }
        }
    }
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7) return 2;
    const auto argument = [argv](int i) { return static_cast<std::uint32_t>(std::strtoul(argv[i], nullptr, 10)); };
    work todo{
        static_cast<std::uint16_t>(argument(1)), {}, argument(4), argument(5), std::strcmp(argv[6], "fresh") == 0};
    for (std::uint32_t i = 0; i < argument(3); ++i) {
        std::array<std::uint8_t, 4> name;
        store_be(name.data(), i);
        std::string& text = todo.swarms.emplace_back();
        for (const std::uint8_t byte : sha1_of(name).bytes) text += '%' + to_hex(byte_view(&byte, 1));
    }
    std::vector<std::unique_ptr<asker>> askers;
    for (std::size_t i = 0; i < connections; ++i) askers.push_back(std::make_unique<asker>(todo));
    const auto never = std::chrono::steady_clock::now() + std::chrono::minutes(10);
    play(askers, 1, std::uint64_t{todo.peers} * todo.swarms.size(), never);
    std::puts("filled");
    std::fflush(stdout);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argument(2));
    const figures done = play(askers, todo.numwant, ~std::uint64_t{0}, end);
    std::printf("{\"answers\":%llu,\"peers\":%llu}\n", static_cast<unsigned long long>(done.answers),
                static_cast<unsigned long long>(done.peers));
}
