// A stream that is encrypted between two identities, over any stream. On the wire each Noise message, of the handshake
// and after it, has its length before it in 16 bits (noiseprotocol.org, section 13).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include <cohort/core/endian.hpp>
#include <cohort/core/error.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/stream.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/protocol/noise_identity.hpp>

namespace cohort {

/// All but the timeout must be the same on both sides.
struct noise_stream_options {
    std::string prologue = "cohort stream 1";
    duration handshake_timeout = 10s;
    std::uint64_t rekey_messages = 1u << 16;  ///< Noise messages under one key; then both sides change it by themselves
};

/// What is written arrives unaltered and in order, or the other side's reads fail. That the stream ended between two
/// Noise messages is as little proof of the other's will as it is over TCP; an end within one is a failure. Idle, it
/// holds no buffers.
class noise_stream final : public stream {
public:
    using predicate = identity_handshake::predicate;

    /// As the side that dialled: completes when both sides have proven who they are. `welcome` decides about the other
    /// before it is told who we are. Throws errc::identity_changed with the other's key if it does not approve,
    /// errc::identity_unproven, errc::noise_failed, errc::connection_closed, errc::timed_out after handshake_timeout,
    /// or the carrier's error. Then, and when cancelled (operation_aborted), `link` is closed. `self` lives until it
    /// has completed.
    static asio::awaitable<std::unique_ptr<noise_stream>> as_initiator(network& net, std::unique_ptr<stream> link,
                                                                       const identity& self, predicate welcome,
                                                                       noise_stream_options options) {
        return open(net, std::move(link), self, std::move(welcome), std::move(options), noise_role::initiator);
    }

    /// The same as the side that accepted.
    static asio::awaitable<std::unique_ptr<noise_stream>> as_responder(network& net, std::unique_ptr<stream> link,
                                                                       const identity& self, predicate welcome,
                                                                       noise_stream_options options) {
        return open(net, std::move(link), self, std::move(welcome), std::move(options), noise_role::responder);
    }

    /// Who the other side has proven to be.
    const identity_key& remote() const { return remote_; }

    asio::awaitable<void> readable() override {
        if (!failed_ && plain_.empty() && whole_message().empty()) co_await link_->readable();
    }

    /// Throws errc::noise_failed for what does not authenticate, and ever after.
    asio::awaitable<std::size_t> read_some(byte_span into) override {
        for (;;) {
            const std::size_t got = deliver(into);
            if (got > 0 || into.empty()) co_return got;
            if (failed_) raise(errc::noise_failed);
            co_await link_->readable();
            const byte_span space = space_for_more();
            const std::size_t more = co_await link_->read_some(space);
            if (more == space.size()) read_size_ = std::min(read_size_ * 2, largest_read);
            if (more == 0 && end_ == begin_) co_return 0;
            if (more == 0) fail();
            end_ += more;
        }
    }

    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        begin_writing(total_size(buffers));
        for (const byte_view& one : buffers) {
            const byte_view bytes = one;
            co_await put(bytes);
        }
        seal_message();
        co_await flush();
        out_.release();
    }

    /// File ranges are read to where they are sealed.
    asio::awaitable<void> write_segments(std::span<const segment> segments) override {
        std::size_t total = 0;
        for (const segment& one : segments) total += size_of(one);
        begin_writing(total);
        for (const segment& one : segments) {
            if (const auto* const slice = std::get_if<file_slice>(&one)) {
                const file_slice range = *slice;
                co_await put_file(range);
            } else {
                const byte_view bytes = std::get<byte_view>(one);
                co_await put(bytes);
            }
        }
        seal_message();
        co_await flush();
        out_.release();
    }

    void finish() noexcept override { link_->finish(); }
    void close() noexcept override { link_->close(); }
    endpoint remote_endpoint() const override { return link_->remote_endpoint(); }
    endpoint local_endpoint() const override { return link_->local_endpoint(); }

private:
    static constexpr std::size_t length_size = 2;
    static constexpr std::size_t most_handshake = 1024;
    static constexpr std::size_t smallest_read = 16 * 1024;
    static constexpr std::size_t largest_read = 256 * 1024;
    /// Two full messages go out with one write.
    static constexpr std::size_t largest_write = 2 * (length_size + noise_max_message);

    /// Memory that is not filled before it is used.
    struct buffer {
        std::unique_ptr<std::uint8_t[]> memory;
        std::size_t size = 0;

        void take(std::size_t wanted) {
            memory = std::make_unique_for_overwrite<std::uint8_t[]>(wanted);
            size = wanted;
        }
        void release() {
            memory.reset();
            size = 0;
        }
        byte_span part(std::size_t from, std::size_t to) const { return {memory.get() + from, to - from}; }
    };

    noise_stream(std::unique_ptr<stream> link, const noise_stream_options& options, identity_handshake& handshake)
        : link_(std::move(link)), rekey_messages_(options.rekey_messages), remote_(*handshake.remote()) {
        std::tie(send_, receive_) = handshake.split();
    }

    static asio::awaitable<std::unique_ptr<noise_stream>> open(network& net, std::unique_ptr<stream> link,
                                                               const identity& self, predicate welcome,
                                                               noise_stream_options options, noise_role role) {
        identity_handshake handshake(role, as_bytes(options.prologue), self, std::move(welcome), secrets_of(net));
        try {
            co_await with_timeout(net, options.handshake_timeout, shake_hands(*link, handshake));
        } catch (...) {
            link->close();
            throw;
        }
        std::unique_ptr<noise_stream> out(new noise_stream(std::move(link), options, handshake));
        co_return out;
    }

    static asio::awaitable<void> shake_hands(stream& link, identity_handshake& handshake) {
        std::array<std::uint8_t, length_size> length;
        while (!handshake.done()) {
            std::error_code wrong;
            if (handshake.our_turn()) {
                const auto message = handshake.write(wrong);
                if (!message) raise(wrong);
                byte_vector bytes;
                append_be(bytes, static_cast<std::uint16_t>(message->size()));
                bytes.insert(bytes.end(), message->begin(), message->end());
                co_await write_all(link, bytes);
            } else {
                co_await read_exactly(link, length);
                const std::size_t size = load_be<std::uint16_t>(length.data());
                if (size > most_handshake) raise(errc::noise_failed);
                byte_vector bytes(size);
                co_await read_exactly(link, bytes);
                const bool good = handshake.read(bytes, wrong);
                if (wrong == errc::identity_changed) raise(wrong, "now " + handshake.remote()->hex());
                if (!good) raise(wrong);
            }
        }
    }

    // Reading: begin_ to end_ of in_ is what has come and is not opened yet; plain_ what is opened and not delivered.

    /// The message at the start of what has come, with its length before it; empty if it is not whole.
    byte_span whole_message() const {
        if (end_ - begin_ < length_size) return {};
        const std::size_t size = length_size + load_be<std::uint16_t>(in_.memory.get() + begin_);
        return end_ - begin_ < size ? byte_span() : in_.part(begin_, begin_ + size);
    }

    /// Opens as many messages as there are and fit, to where they are wanted if the whole of one fits there.
    std::size_t deliver(byte_span into) {
        std::size_t done = 0;
        while (done < into.size() && !failed_) {
            if (plain_.empty()) {
                const byte_span message = whole_message();
                if (message.empty()) break;
                begin_ += message.size();
                const byte_span sealed = message.subspan(length_size);
                if (sealed.size() <= noise_tag) {  // an empty message would be work for nothing
                    fail();
                    break;
                }
                const std::size_t size = sealed.size() - noise_tag;
                const bool direct = size <= into.size() - done;
                const byte_span target = direct ? into.subspan(done, size) : sealed.first(size);
                if (!receive_.open({}, sealed, target)) {
                    fail();
                    break;
                }
                if (receive_.count() >= rekey_messages_) receive_.rekey();
                if (direct) {
                    done += size;
                    continue;
                }
                plain_ = target;
            }
            const std::size_t size = std::min(plain_.size(), into.size() - done);
            std::memcpy(into.data() + done, plain_.data(), size);
            plain_ = plain_.subspan(size);
            done += size;
        }
        if (begin_ == end_ && plain_.empty()) {
            in_.release();
            begin_ = end_ = 0;
        }
        return done;
    }

    /// Room after what has come. It grows with what comes, not with what a length promises.
    byte_span space_for_more() {
        const std::size_t rest = end_ - begin_;
        if (in_.size - end_ < smallest_read / 4) {
            buffer bigger;
            bigger.take(std::max(read_size_, rest) + rest);
            if (rest > 0) std::memcpy(bigger.memory.get(), in_.memory.get() + begin_, rest);
            in_ = std::move(bigger);
            begin_ = 0;
            end_ = rest;
        }
        return in_.part(end_, in_.size);
    }

    void fail() {
        failed_ = true;
        link_->close();
    }

    // Writing: the plaintext of a message gathers in out_ from message_ + 2 to used_, where it is then sealed.

    void begin_writing(std::size_t total) {
        const std::size_t messages = (total + noise_max_payload - 1) / noise_max_payload;
        out_.take(std::min(total + messages * (length_size + noise_tag), largest_write) + length_size + noise_tag);
        message_ = 0;
        used_ = length_size;
    }

    /// Where more plaintext of the present message goes. Empty when the buffer must be flushed first.
    byte_span room() const {
        const std::size_t end = std::min(message_ + length_size + noise_max_payload, out_.size - noise_tag);
        return used_ < end ? out_.part(used_, end) : byte_span();
    }

    asio::awaitable<void> put(byte_view bytes) {
        while (!bytes.empty()) {
            const byte_span target = room();
            const std::size_t size = std::min(target.size(), bytes.size());
            std::copy_n(bytes.begin(), size, target.begin());
            bytes = bytes.subspan(size);
            if (taken(size)) co_await flush();
        }
    }

    asio::awaitable<void> put_file(file_slice range) {
        while (range.length > 0) {
            const byte_span target = room();
            const std::size_t size = std::min(target.size(), range.length);
            read_range({range.handle, range.offset, size}, target.data());
            range.offset += size;
            range.length -= size;
            if (taken(size)) co_await flush();
        }
    }

    /// So much more plaintext is there. Whether the buffer must be flushed.
    bool taken(std::size_t size) {
        used_ += size;
        if (!room().empty()) return false;
        seal_message();
        return room().empty();
    }

    void seal_message() {
        const byte_span plain = out_.part(message_ + length_size, used_);
        if (plain.empty()) return;
        const byte_span sealed = out_.part(message_ + length_size, used_ + noise_tag);
        store_be(out_.memory.get() + message_, static_cast<std::uint16_t>(sealed.size()));
        if (!send_.seal({}, plain, sealed)) raise(errc::noise_failed);
        if (send_.count() >= rekey_messages_) send_.rekey();
        message_ = used_ + noise_tag;
        used_ = message_ + length_size;
    }

    asio::awaitable<void> flush() {
        const byte_view bytes = out_.part(0, message_);
        message_ = 0;
        used_ = length_size;
        if (!bytes.empty()) co_await write_all(*link_, bytes);
    }

    std::unique_ptr<stream> link_;
    std::uint64_t rekey_messages_;
    identity_key remote_;
    noise_cipher send_;
    noise_cipher receive_;

    buffer in_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    byte_span plain_;
    std::size_t read_size_ = smallest_read;
    bool failed_ = false;

    buffer out_;
    std::size_t message_ = 0;
    std::size_t used_ = 0;
};

}  // namespace cohort
