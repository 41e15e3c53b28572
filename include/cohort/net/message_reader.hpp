// Reads wire messages off a stream in batches, parsed where they were received: blocks are handed on as slices.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <cohort/net/stream.hpp>
#include <cohort/protocol/wire.hpp>

namespace cohort {

/// The messages of one read. Their views point into `memory`: whoever keeps a view keeps that too. `messages` itself
/// is valid until the next receive().
struct message_batch {
    std::span<const wire::message> messages;
    std::shared_ptr<const std::uint8_t[]> memory;
    std::size_t bytes = 0;  ///< read from the stream since the batch before, what is kept of a next message included
};

/// Memory is bounded by what has arrived, not by what a length prefix claims: an idle connection holds no buffer, one
/// with the start of a message at most a copy of that start, and a long message lets its buffer grow with its bytes.
class message_reader {
public:
    explicit message_reader(stream& link, wire::limits limits = {}) : link_(link), limits_(limits) {}

    /// Puts bytes that came with the handshake in front of the stream.
    void unread(byte_view bytes) { rest_.assign(bytes.begin(), bytes.end()); }

    /// Bytes of a message whose end has not come yet.
    std::size_t partial() const { return rest_.size(); }

    /// Bounds what one read takes, for those who pay for it afterwards; a whole block may always come at once.
    void read_at_most(std::size_t bytes) {
        most_read_ = std::clamp(bytes, smallest_read, largest_read);
        read_size_ = std::min(read_size_, most_read_);
    }

    /// Completes when at least one whole message is there; returns all that came with one read. Throws
    /// errc::connection_closed at the end of the stream, errc::message_too_long or errc::message_malformed after the
    /// valid messages before the bad one were returned. Cancelling loses no byte.
    asio::awaitable<message_batch> receive() {
        if (messages_.capacity() > most_messages_kept) messages_ = std::vector<wire::message>();
        message_batch batch = parse(buffer_after_rest(0), rest_.size());
        while (batch.messages.empty()) {
            if (failed_) raise(failed_);
            batch.memory = nullptr;  // who waits holds no buffer
            co_await link_.readable();
            if (rest_.size() >= long_message) {
                co_await extend_rest();
                if (wire::needed(rest_) <= rest_.size()) batch = parse(buffer_after_rest(0), rest_.size());
                continue;
            }
            const std::size_t kept = rest_.size();
            const std::shared_ptr<std::uint8_t[]> buffer = buffer_after_rest(read_size_);
            const byte_span target(buffer.get() + kept, read_size_);
            const std::size_t got = co_await link_.read_some(target);
            if (got == 0) raise(errc::connection_closed);
            batch = parse(buffer, kept + got);
            adapt(got);
        }
        batch.bytes = std::exchange(since_batch_, 0);
        co_return batch;
    }

private:
    /// The size of one read follows the peer's pace, so that a slow peer's few bytes do not pin a large buffer while
    /// the disk has them. The smallest takes a whole block with its header and some small messages: what a read cuts
    /// in two is copied.
    static constexpr std::size_t smallest_read = block_size + 1024;
    static constexpr std::size_t largest_read = 256 * 1024;
    /// From here on the start of a message is extended in place: copying it at each read would cost its square.
    static constexpr std::size_t long_message = 32 * 1024;
    /// Room for more messages than this, after a flood of tiny ones, is given back.
    static constexpr std::size_t most_messages_kept = 1024;

    /// To be called with the size of each read.
    void adapt(std::size_t got) {
        since_batch_ += got;
        if (got == read_size_) read_size_ = std::min(read_size_ * 2, most_read_);
        if (got < read_size_ / 8) read_size_ = std::max(read_size_ / 2, smallest_read);
    }

    asio::awaitable<void> extend_rest() {
        const std::size_t had = rest_.size();
        const std::size_t whole = wire::needed(rest_);
        if (rest_.capacity() == had) rest_.reserve(std::min(whole, 2 * had));
        rest_.resize(std::min({whole, rest_.capacity(), had + read_size_}));
        const byte_span target = byte_span(rest_).subspan(had);
        std::size_t got = 0;
        try {
            got = co_await link_.read_some(target);
        } catch (...) {
            rest_.resize(had);
            throw;
        }
        rest_.resize(had + got);
        if (got == 0) raise(errc::connection_closed);
        adapt(got);
    }

    std::shared_ptr<std::uint8_t[]> buffer_after_rest(std::size_t space) const {
        auto buffer = std::make_shared_for_overwrite<std::uint8_t[]>(rest_.size() + space);
        if (!rest_.empty()) std::memcpy(buffer.get(), rest_.data(), rest_.size());
        return buffer;
    }

    message_batch parse(const std::shared_ptr<std::uint8_t[]>& buffer, std::size_t size) {
        byte_view in(buffer.get(), size);
        messages_.clear();
        if (!failed_) {
            while (const auto message = wire::parse(in, failed_, limits_)) messages_.push_back(*message);
        }
        if (in.empty() || rest_.capacity() > long_message) {
            rest_ = byte_vector(in.begin(), in.end());  // gives back what a long message took
        } else {
            rest_.assign(in.begin(), in.end());
        }
        return {messages_, buffer};
    }

    stream& link_;
    wire::limits limits_;
    std::size_t most_read_ = largest_read;
    std::size_t read_size_ = smallest_read;
    std::size_t since_batch_ = 0;  // bytes that were read
    byte_vector rest_;
    std::vector<wire::message> messages_;
    std::error_code failed_;
};

}  // namespace cohort
