// Announces over UDP (BEP 15) as fast as a tracker answers them, for tracker.py.
//
//     udp_load PORT SECONDS SWARMS PEERS NUMWANT     prints one JSON line: how many answers came, and the peers in them
//
// So many swarms of so many peers are filled first; then peers of them announce again and again, 512 on the way at a
// time, over sixteen sockets. What is not answered within 50 ms is asked anew.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include <poll.h>
#include <sys/socket.h>

#include <cohort/core/hash.hpp>
#include <cohort/core/random.hpp>
#include <cohort/net/datagram_batch.hpp>
#include <cohort/protocol/udp_tracker.hpp>

#include <netinet/in.h>
#include <unistd.h>

using namespace cohort;

namespace {

constexpr std::size_t sockets = 16, on_the_way = 32;

/// A connected UDP socket that has a connection id.
class asker {
public:
    explicit asker(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_DGRAM, 0)) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port = htons(port);
        if (fd_ < 0 || ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) std::exit(1);
        const auto hello = udp_tracker::write_connect(1);
        std::array<std::uint8_t, 2048> answer;
        if (::send(fd_, hello.data(), hello.size(), 0) < 0) std::exit(1);
        const ssize_t got = ::recv(fd_, answer.data(), answer.size(), 0);
        if (got != udp_tracker::connect_size) std::exit(1);
        id_ = load_be<std::uint64_t>(answer.data() + 8);
    }
    ~asker() { ::close(fd_); }

    int fd() const { return fd_; }

    /// Sends `count` announces of peers of the swarms, one after the other.
    void ask(std::size_t count, std::span<const info_hash> swarms, std::uint32_t peers, std::int32_t numwant,
             std::uint64_t& number) {
        packets_.clear();
        std::array<iovec, on_the_way> parts;
        std::array<mmsghdr, on_the_way> messages{};
        for (std::size_t i = 0; i < count; ++i, ++number) {
            announce_request one;
            const auto swarm = number % swarms.size();
            const auto peer = static_cast<std::uint32_t>(number / swarms.size() % peers);
            one.hash = swarms[swarm];
            store_be(one.id.bytes.data(), peer);
            one.ip = ip_address::v4(0x0a000000 + peer);  // trackers that believe it have so many addresses
            one.port = static_cast<std::uint16_t>(1024 + peer % 60'000);
            one.left = 1;
            one.numwant = numwant;
            packets_.push_back(udp_tracker::write_announce(id_, static_cast<std::uint32_t>(number), one, {}));
        }
        for (std::size_t i = 0; i < count; ++i) {
            parts[i] = {packets_[i].data(), packets_[i].size()};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        const int sent = ::sendmmsg(fd_, messages.data(), static_cast<unsigned>(count), 0);
        waiting_ += sent > 0 ? static_cast<std::size_t>(sent) : 0;
    }

    /// Takes the answers that are there. Returns how many, and adds their peers.
    std::size_t take(std::uint64_t& peers) {
        std::array<iovec, on_the_way> parts;
        std::array<mmsghdr, on_the_way> messages{};
        for (std::size_t i = 0; i < on_the_way; ++i) {
            parts[i] = {answers_.room(i).data(), answers_.room(i).size()};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        const int got = ::recvmmsg(fd_, messages.data(), on_the_way, MSG_DONTWAIT, nullptr);
        for (int i = 0; i < got; ++i)
            peers += (messages[static_cast<std::size_t>(i)].msg_len - udp_tracker::announce_answer_header_size) / 6;
        const auto count = static_cast<std::size_t>(std::max(got, 0));
        waiting_ -= std::min(waiting_, count);
        return count;
    }
    std::size_t waiting() const { return waiting_; }
    void give_up() { waiting_ = 0; }

private:
    int fd_;
    std::uint64_t id_ = 0;
    std::size_t waiting_ = 0;
    std::vector<byte_vector> packets_;
    datagram_batch answers_{on_the_way, 2048};
};

struct figures {
    std::uint64_t answers = 0, peers = 0;
};

/// Until so many were answered, or the time is over.
figures play(std::vector<std::unique_ptr<asker>>& askers, std::span<const info_hash> swarms, std::uint32_t peers,
             std::int32_t numwant, std::uint64_t& number, std::uint64_t most,
             std::chrono::steady_clock::time_point end) {
    figures out;
    std::vector<pollfd> ready;
    for (const auto& one : askers) ready.push_back({one->fd(), POLLIN, 0});
    while (out.answers < most && std::chrono::steady_clock::now() < end) {
        for (const auto& one : askers)
            if (one->waiting() <= on_the_way / 2) one->ask(on_the_way - one->waiting(), swarms, peers, numwant, number);
        const int some = ::poll(ready.data(), ready.size(), 50);
        for (std::size_t i = 0; i < askers.size(); ++i) {
            if (some == 0) askers[i]->give_up();
            if ((ready[i].revents & POLLIN) != 0) out.answers += askers[i]->take(out.peers);
        }
    }
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) return 2;
    const auto argument = [argv](int i) { return static_cast<std::uint32_t>(std::strtoul(argv[i], nullptr, 10)); };
    std::vector<info_hash> swarms(argument(3));
    for (std::uint32_t i = 0; i < swarms.size(); ++i) {
        std::array<std::uint8_t, 4> name;
        store_be(name.data(), i);
        swarms[i] = info_hash(sha1_of(name).bytes);
    }
    std::vector<std::unique_ptr<asker>> askers;
    for (std::size_t i = 0; i < sockets; ++i)
        askers.push_back(std::make_unique<asker>(static_cast<std::uint16_t>(argument(1))));
    const std::uint32_t peers = argument(4);
    const auto numwant = static_cast<std::int32_t>(argument(5));
    std::uint64_t number = 0;
    const auto never = std::chrono::steady_clock::now() + std::chrono::minutes(10);
    play(askers, swarms, peers, 1, number, std::uint64_t{peers} * swarms.size(), never);
    std::puts("filled");
    std::fflush(stdout);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argument(2));
    const figures done = play(askers, swarms, peers, numwant, number, ~std::uint64_t{0}, end);
    std::printf("{\"answers\":%llu,\"peers\":%llu}\n", static_cast<unsigned long long>(done.answers),
                static_cast<unsigned long long>(done.peers));
}
