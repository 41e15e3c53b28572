// Collects outgoing wire messages and sends them together: one system call for many small messages, file ranges
// for blocks.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <cohort/net/stream.hpp>
#include <cohort/protocol/wire.hpp>

namespace cohort {

/// A queue of messages in front of a stream. Whoever fills it bounds it: queued_bytes() tells how much waits.
class message_writer {
public:
    explicit message_writer(stream& link) : link_(link) {}

    template <class Message>
    void queue(const Message& message) {
        wire::append(waiting_.text, message);
    }

    /// Queues a `piece` message whose data, range.length bytes in all, stands in files (or is memory that lasts as long
    /// as `owner`, which also keeps the files open) until it was sent.
    void queue_block(const block& range, std::span<const segment> data, std::shared_ptr<const void> owner) {
        const auto header = wire::piece_header(range);
        waiting_.text.insert(waiting_.text.end(), header.begin(), header.end());
        for (const segment& part : data) waiting_.data.push_back({waiting_.text.size(), part});
        waiting_.data_bytes += range.length;
        if (waiting_.owners.empty() || waiting_.owners.back() != owner) waiting_.owners.push_back(std::move(owner));
    }

    /// Bytes not handed to the stream yet.
    std::size_t queued_bytes() const { return waiting_.size() + sending_.size(); }
    bool empty() const { return waiting_.size() == 0; }

    /// Completes when all that was queued at the call is with the stream. One coroutine at a time. Throws the
    /// stream's error, errc::file_changed if a file became shorter. After cancelling, the stream can only be closed.
    asio::awaitable<void> flush() {
        std::swap(waiting_, sending_);
        if (sending_.data.empty()) {
            const byte_view text = sending_.text;
            if (!text.empty()) co_await write_all(link_, text);
        } else {
            const std::vector<segment> segments = sending_.segments();
            co_await link_.write_segments(segments);
        }
        sending_.clear();
    }

private:
    struct data_place {
        std::size_t after;  ///< position in the text that the data follows
        segment data;
    };

    struct outgoing {
        byte_vector text;
        std::vector<data_place> data;
        std::vector<std::shared_ptr<const void>> owners;
        std::size_t data_bytes = 0;

        std::size_t size() const { return text.size() + data_bytes; }

        std::vector<segment> segments() const {
            std::vector<segment> out;
            out.reserve(data.size() * 2 + 1);
            std::size_t at = 0;
            const byte_view all = text;
            for (const data_place& place : data) {
                if (place.after > at) out.emplace_back(all.subspan(at, place.after - at));
                at = place.after;
                out.push_back(place.data);
            }
            if (at < all.size()) out.emplace_back(all.subspan(at));
            return out;
        }

        void clear() {
            text.clear();
            data.clear();
            owners.clear();
            data_bytes = 0;
        }
    };

    stream& link_;
    outgoing waiting_;
    outgoing sending_;
};

}  // namespace cohort
