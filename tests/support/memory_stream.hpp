// A stream whose other end is the test: reads return what was put in, one put() a read; writes are kept.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/net/stream.hpp>
#include <cohort/net/wakeup.hpp>

namespace cohort::test {

class memory_stream final : public stream {
public:
    explicit memory_stream(const asio::any_io_executor& executor) : changed_(executor) {}

    /// What the next read returns, as far as it fits.
    void put(byte_view bytes) {
        pieces_.emplace_back(bytes.begin(), bytes.end());
        changed_.notify();
    }
    void put_end() {
        ended_ = true;
        changed_.notify();
    }
    /// The next write fails with this.
    void fail_writes(std::error_code with) { write_failure_ = with; }

    asio::awaitable<std::size_t> read_some(byte_span into) override {
        note_target(into);
        while (pieces_.empty()) {
            if (closed_) throw_cancelled();
            if (ended_) co_return 0;
            co_await changed_.wait();
        }
        byte_vector& first = pieces_.front();
        const std::size_t size = std::min(first.size(), into.size());
        std::memcpy(into.data(), first.data(), size);
        first.erase(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(size));
        if (first.empty()) pieces_.pop_front();
        expected_ = into.data() + size;
        ++reads;
        co_return size;
    }

    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        if (write_failure_) raise(write_failure_);
        ++writes;
        for (const byte_view part : buffers) written.insert(written.end(), part.begin(), part.end());
        co_return;
    }

    void close() noexcept override {
        closed_ = true;
        changed_.notify();
    }
    endpoint remote_endpoint() const override { return {}; }
    endpoint local_endpoint() const override { return {}; }
    bool closed() const { return closed_; }

    byte_vector written;
    std::size_t writes = 0;
    std::size_t reads = 0;
    std::size_t largest_target = 0;  ///< the most bytes that a reader made room for
    std::size_t moves = 0;           ///< reads that did not go on where the one before had ended

private:
    void note_target(byte_span into) {
        largest_target = std::max(largest_target, into.size());
        moves += into.data() != expected_;
    }

    std::deque<byte_vector> pieces_;
    wakeup changed_;
    const std::uint8_t* expected_ = nullptr;
    std::error_code write_failure_;
    bool ended_ = false;
    bool closed_ = false;
};

}  // namespace cohort::test
