// An encrypted, authenticated channel of messages between two identities, over any pipe of binary messages.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include <cohort/core/error.hpp>
#include <cohort/net/message_pipe.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/waiting_line.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/protocol/noise_identity.hpp>

namespace cohort {

struct noise_channel_options {
    std::string prologue = "cohort chat 1";  ///< must be the same on both sides
    duration handshake_timeout = 10s;
    std::size_t max_message = 256 * 1024;     ///< bytes of a message, of ours and of theirs
    std::uint64_t rekey_messages = 1u << 16;  ///< transport messages under one of our keys, at most
    duration rekey_time = 1h;                 ///< and this long
    std::uint64_t max_under_key = 1u << 16;   ///< transport messages under one of their keys
};

/// Each message of the pipe is one or several Noise transport messages, all but the last of 65535 bytes. The first byte
/// of the plaintext is 0 before a message, or 1 and all: the sender's key changes after this. Any number of coroutines
/// may send, one receives. Whoever owns the channel keeps it alive until all of them have ended; close() ends them.
/// Whatever does not authenticate ends the channel: nothing is delivered or sent any more. One thread only.
class noise_channel {
public:
    /// As the side that dialled: completes when both sides have proven who they are; with `expected`, that it is this
    /// one, before it is told who we are. Throws errc::identity_changed with the other's key, errc::identity_unproven,
    /// errc::noise_failed, errc::timed_out after handshake_timeout, or the pipe's error. After that, and when cancelled
    /// (operation_aborted), the pipe is closed. `self` lives until it has completed, `net` as long as the channel.
    static asio::awaitable<std::unique_ptr<noise_channel>> as_initiator(network& net,
                                                                        std::unique_ptr<message_pipe> pipe,
                                                                        const identity& self,
                                                                        std::optional<identity_key> expected,
                                                                        noise_channel_options options) {
        return open(net, std::move(pipe), self, expected, std::move(options), noise_role::initiator);
    }
    static asio::awaitable<std::unique_ptr<noise_channel>> as_initiator(
        network& net, std::unique_ptr<message_pipe> pipe, const identity& self,
        std::optional<identity_key> expected = std::nullopt) {
        return open(net, std::move(pipe), self, expected, noise_channel_options(), noise_role::initiator);
    }

    /// The same as the side that accepted.
    static asio::awaitable<std::unique_ptr<noise_channel>> as_responder(network& net,
                                                                        std::unique_ptr<message_pipe> pipe,
                                                                        const identity& self,
                                                                        std::optional<identity_key> expected,
                                                                        noise_channel_options options) {
        return open(net, std::move(pipe), self, expected, std::move(options), noise_role::responder);
    }
    static asio::awaitable<std::unique_ptr<noise_channel>> as_responder(
        network& net, std::unique_ptr<message_pipe> pipe, const identity& self,
        std::optional<identity_key> expected = std::nullopt) {
        return open(net, std::move(pipe), self, expected, noise_channel_options(), noise_role::responder);
    }

    noise_channel(const noise_channel&) = delete;
    noise_channel& operator=(const noise_channel&) = delete;
    ~noise_channel() { close(); }

    /// Completes when the message is with the pipe, after all that were sent before; the bytes stay valid until then.
    /// It is sealed when its turn comes, and goes on at once while the pipe has room. Throws errc::chat_too_long above
    /// max_message, else what ended the channel. Cancelling before its turn leaves no trace; a message that is sealed
    /// and cannot be sent any more ends the channel.
    asio::awaitable<void> send(byte_view message) {
        if (message.size() > options_.max_message) raise(errc::chat_too_long);
        if (busy_ || !line_.empty()) co_await wait_in_line();
        if (failed_) raise(failed_);
        busy_ = true;
        try {
            if (must_rekey(message.size())) {
                const byte_view nothing;
                co_await send_sealed(key_changes, nothing);
                send_.rekey();
                send_key_since_ = net_.now();
            }
            co_await send_sealed(text_follows, message);
        } catch (const std::system_error& error) {
            end(is_cancellation(error.code()) ? make_error_code(errc::stopped) : error.code());
            throw;
        } catch (...) {
            close();
            throw;
        }
        busy_ = false;
        if (!line_.empty()) turn_.notify();
    }

    /// Completes with the next message. Throws errc::noise_failed for one that is altered, cut, repeated or moved, or
    /// with a key used too often, errc::chat_too_long, errc::chat_malformed for a first byte of no meaning, or the
    /// pipe's error; the channel has then ended. Cancelling throws operation_aborted and loses none.
    asio::awaitable<byte_vector> receive() {
        for (;;) {
            if (failed_) raise(failed_);
            byte_vector bytes;
            try {
                bytes = co_await pipe_->receive();
            } catch (const std::system_error& error) {
                if (failed_) raise(failed_);
                if (!is_cancellation(error.code())) end(error.code());
                throw;
            }
            if (const std::error_code wrong = open_in_place(bytes)) {
                end(wrong);
                raise(wrong);
            }
            const std::uint8_t kind = bytes.front();
            if (kind == key_changes && bytes.size() == 1) {
                receive_.rekey();
            } else if (kind == text_follows) {
                bytes.erase(bytes.begin());
                co_return bytes;
            } else {
                end(errc::chat_malformed);
            }
        }
    }

    /// Ends the channel in good order, see message_pipe::finish(). Nobody sends meanwhile.
    asio::awaitable<void> finish() { return pipe_->finish(); }

    /// Ends the channel now: pending operations fail, later ones too. May be called more than once.
    void close() noexcept { end(make_error_code(errc::stopped)); }

    /// Who the other side has proven to be.
    const identity_key& remote() const { return remote_; }
    endpoint remote_endpoint() const { return pipe_->remote_endpoint(); }

    /// The same on both sides, and in no other connection: to bind what is above to this channel.
    const key32& handshake_hash() const { return hash_; }

private:
    static constexpr std::uint8_t text_follows = 0;
    static constexpr std::uint8_t key_changes = 1;
    /// What a buffer may keep between messages.
    static constexpr std::size_t most_kept = 64 * 1024;

    noise_channel(network& net, std::unique_ptr<message_pipe> pipe, noise_channel_options options,
                  identity_handshake& handshake)
        : net_(net),
          pipe_(std::move(pipe)),
          options_(std::move(options)),
          remote_(*handshake.remote()),
          hash_(handshake.handshake_hash()),
          send_key_since_(net.now()),
          turn_(net.executor()) {
        std::tie(send_, receive_) = handshake.split();
    }

    static asio::awaitable<void> shake_hands(message_pipe& pipe, identity_handshake& handshake) {
        while (!handshake.done()) {
            std::error_code wrong;
            if (handshake.our_turn()) {
                const auto message = handshake.write(wrong);
                if (!message) raise(wrong);
                const byte_view bytes = *message;
                co_await pipe.send(bytes);
            } else {
                const byte_vector message = co_await pipe.receive();
                const bool good = handshake.read(message, wrong);
                if (wrong == errc::identity_changed) raise(wrong, "now " + handshake.remote()->hex());
                if (!good) raise(wrong);
            }
        }
    }

    static asio::awaitable<std::unique_ptr<noise_channel>> open(network& net, std::unique_ptr<message_pipe> pipe,
                                                                const identity& self,
                                                                std::optional<identity_key> expected,
                                                                noise_channel_options options, noise_role role) {
        const identity_handshake::predicate welcome = [expected](const identity_key& key) {
            return !expected || *expected == key;
        };
        identity_handshake handshake(role, as_bytes(options.prologue), self, welcome, secrets_of(net));
        try {
            co_await with_timeout(net, options.handshake_timeout, shake_hands(*pipe, handshake));
        } catch (...) {
            pipe->close();
            throw;
        }
        std::unique_ptr<noise_channel> out(new noise_channel(net, std::move(pipe), std::move(options), handshake));
        co_return out;
    }

    /// Transport messages that so much plaintext takes.
    static std::size_t parts_of(std::size_t plaintext) {
        return (plaintext + noise_max_payload - 1) / noise_max_payload;
    }
    static std::size_t sealed_size(std::size_t plaintext) { return plaintext + parts_of(plaintext) * noise_tag; }

    /// One message is left to announce the change with.
    bool must_rekey(std::size_t message) const {
        return send_.count() + parts_of(message + 1) + 1 > options_.rekey_messages ||
               (send_.count() > 0 && net_.now() - send_key_since_ >= options_.rekey_time);
    }

    asio::awaitable<void> send_sealed(std::uint8_t kind, byte_view text) {
        byte_vector out = std::move(spare_);
        if (!seal(kind, text, out)) raise(errc::noise_failed);
        const byte_view bytes = out;
        co_await pipe_->send(bytes);
        if (failed_) raise(failed_);
        if (out.capacity() <= most_kept) spare_ = std::move(out);
    }

    /// Each part is copied to its place and sealed there.
    bool seal(std::uint8_t kind, byte_view text, byte_vector& out) {
        out.resize(sealed_size(text.size() + 1));
        byte_span rest = out;
        bool good = true;
        for (bool first = true; good && !rest.empty(); first = false) {
            const byte_span part = rest.first(std::min(rest.size(), noise_max_message));
            rest = rest.subspan(part.size());
            byte_span plain = part.first(part.size() - noise_tag);
            byte_span room = plain;
            if (first) {
                room.front() = kind;
                room = room.subspan(1);
            }
            std::copy_n(text.begin(), room.size(), room.begin());
            text = text.subspan(room.size());
            good = send_.seal({}, plain, part);
        }
        return good;
    }

    /// Leaves the plaintexts of all parts, one after the other.
    std::error_code open_in_place(byte_vector& bytes) {
        if (bytes.size() > sealed_size(options_.max_message + 1)) return errc::chat_too_long;
        std::size_t kept = 0;
        byte_span rest = bytes;
        do {
            const byte_span part = rest.first(std::min(rest.size(), noise_max_message));
            rest = rest.subspan(part.size());
            if (part.size() <= noise_tag || receive_.count() >= options_.max_under_key) return errc::noise_failed;
            const byte_span plain = part.first(part.size() - noise_tag);
            if (!receive_.open({}, part, plain)) return errc::noise_failed;
            if (kept > 0) std::copy(plain.begin(), plain.end(), bytes.begin() + static_cast<std::ptrdiff_t>(kept));
            kept += plain.size();
        } while (!rest.empty());
        bytes.resize(kept);
        return {};
    }

    /// Senders go in the order in which they came, and one at a time: what is sealed must arrive in that order.
    asio::awaitable<void> wait_in_line() {
        return line_.wait(turn_, [this](bool is_first) { return failed_ || (is_first && !busy_); });
    }

    void end(std::error_code reason) noexcept {
        if (failed_) return;
        failed_ = reason;
        send_ = noise_cipher();
        receive_ = noise_cipher();
        pipe_->close();
        turn_.notify();
    }

    network& net_;
    std::unique_ptr<message_pipe> pipe_;
    noise_channel_options options_;
    identity_key remote_;
    key32 hash_;
    noise_cipher send_;
    noise_cipher receive_;
    time_point send_key_since_;
    byte_vector spare_;  // of the last message, for the next one
    bool busy_ = false;  // a sealed message is on its way into the pipe
    waiting_line line_;  // of senders
    wakeup turn_;
    std::error_code failed_;
};

}  // namespace cohort
