// The least that a transfer can do: no protocol, one file, one connection. What a real one reaches of this is its
// quality; see transfer.py.
//
//     bare FILE COPY     sends FILE to itself over 127.0.0.1 with sendfile(); the receiving process takes pieces of
//                        1 MiB as they come, and a second thread hashes two of them in step and writes them to COPY
//
// Prints one JSON line: seconds from the first byte to the last one written, CPU seconds and peak KiB of both sides.
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohort/core/hash.hpp>
#include <cohort/core/time.hpp>

using namespace cohort;

namespace {

constexpr std::size_t piece_size = 1 << 20;
constexpr std::size_t most_waiting = 8;  // pieces between the two threads

/// A system call's result, unless it failed.
template <class T>
T must(T result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

struct usage {
    double cpu;
    long peak_kib;
};
usage usage_of(int who) {
    rusage used{};
    getrusage(who, &used);
    const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * double(t.tv_usec); };
    return {seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss};
}

/// Pieces on their way to the second thread, and empty buffers on their way back.
class conveyor {
public:
    conveyor() {
        for (std::size_t i = 0; i < most_waiting; ++i) empty_.emplace_back(piece_size);
    }
    byte_vector take_empty() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !empty_.empty(); });
        byte_vector out = std::move(empty_.back());  // the one used last is still in the cache
        empty_.pop_back();
        return out;
    }
    void put_full(byte_vector piece) {
        const std::lock_guard lock(mutex_);
        full_.push_back(std::move(piece));
        changed_.notify_all();
    }
    void close() {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        changed_.notify_all();
    }
    /// Two pieces, fewer at the end.
    std::vector<byte_vector> take_two() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return full_.size() >= 2 || closed_; });
        std::vector<byte_vector> out;
        while (!full_.empty() && out.size() < 2) {
            out.push_back(std::move(full_.front()));
            full_.pop_front();
        }
        return out;
    }
    void give_back(byte_vector piece) {
        const std::lock_guard lock(mutex_);
        piece.resize(piece_size);
        empty_.push_back(std::move(piece));
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<byte_vector> full_;
    std::vector<byte_vector> empty_;
    bool closed_ = false;
};

void hash_and_write(conveyor& from, int file) {
    sha1 hashes[2];
    off_t at = 0;
    for (auto pieces = from.take_two(); !pieces.empty(); pieces = from.take_two()) {
        update_both(hashes[0], pieces[0], hashes[1], pieces.size() > 1 ? byte_view(pieces[1]) : byte_view());
        for (sha1& hash : hashes) hash.finish();
        for (byte_vector& piece : pieces) {
            at += must(pwrite(file, piece.data(), piece.size(), at), "pwrite");
            from.give_back(std::move(piece));
        }
    }
}

double receive(int socket, std::size_t size, int file) {
    const auto begun = std::chrono::steady_clock::now();
    conveyor belt;
    std::thread second([&] { hash_and_write(belt, file); });
    for (std::size_t left = size; left > 0;) {
        byte_vector piece = belt.take_empty();
        piece.resize(std::min(left, piece_size));
        for (std::size_t have = 0; have < piece.size();) {
            const ssize_t got = must(recv(socket, piece.data() + have, piece.size() - have, 0), "recv");
            if (got == 0) throw std::runtime_error("the sender went away");
            have += static_cast<std::size_t>(got);
        }
        left -= piece.size();
        belt.put_full(std::move(piece));
    }
    belt.close();
    second.join();
    return to_seconds(std::chrono::steady_clock::now() - begun);
}

int send_all(const char* path, const sockaddr_in& to) {
    const int file = must(open(path, O_RDONLY), path);
    const int socket = must(::socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to), "connect");
    while (must(sendfile(socket, file, nullptr, 512 * 1024), "sendfile") > 0) {
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3) throw std::runtime_error("usage: bare FILE COPY");
    const int listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof here;
    must(bind(listener, reinterpret_cast<const sockaddr*>(&here), length), "bind");
    must(listen(listener, 1), "listen");
    must(getsockname(listener, reinterpret_cast<sockaddr*>(&here), &length), "getsockname");
    struct stat info {};
    must(stat(argv[1], &info), argv[1]);
    const int copy = must(open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0644), argv[2]);
    if (must(fork(), "fork") == 0) _exit(send_all(argv[1], here));
    const int socket = must(accept(listener, nullptr, nullptr), "accept");
    const double before = usage_of(RUSAGE_SELF).cpu;
    const double seconds = receive(socket, static_cast<std::size_t>(info.st_size), copy);
    wait(nullptr);
    const usage receiver = usage_of(RUSAGE_SELF), sender = usage_of(RUSAGE_CHILDREN);
    std::printf(
        "{\"seconds\":%.4f,\"sender_cpu\":%.4f,\"receiver_cpu\":%.4f,\"sender_kib\":%ld,\"receiver_kib\":%ld}\n",
        seconds, sender.cpu, receiver.cpu - before, sender.peak_kib, receiver.peak_kib);
} catch (const std::exception& error) {
    std::fprintf(stderr, "bare: %s\n", error.what());
    return 1;
}
