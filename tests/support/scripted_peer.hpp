// A peer that does what a test says, byte by byte: `say` what it sends, `expect` what must come, or let it serve.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/core/pieces.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/protocol/handshake.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/protocol/wire.hpp>

namespace cohort::test {

/// How long a test waits for what must happen. Only a failing one waits so long.
inline constexpr duration patience = 15s;

/// A peer id that a test recognises.
inline peer_id id_of(std::string_view name) {
    peer_id id;
    std::copy_n(name.begin(), std::min(name.size(), id.bytes.size()), id.bytes.begin());
    return id;
}

/// The handshake of a peer with the Fast extension.
inline handshake greeting_of(const info_hash& hash, std::string_view name) {
    handshake out;
    out.hash = hash;
    out.id = id_of(name);
    out.fast = true;
    return out;
}

/// What a serving peer gives, and how badly.
struct serving {
    const byte_vector* content = nullptr;  ///< the whole torrent; outlives the peer
    std::uint32_t piece_length = 0;
    std::function<bool(const block&)> corrupt = {};  ///< blocks to be sent with wrong bytes
    std::function<bool(const block&)> ignore = {};   ///< requests to be left without an answer
};

/// Every wait ends after `patience` with errc::timed_out. Requires nothing of the library but its streams and codecs.
class scripted_peer {
public:
    scripted_peer(network& net, std::unique_ptr<stream> link) : net_(net), link_(std::move(link)) {}

    // Sending. What is said goes out together at the next flush().

    scripted_peer& say(const wire::message& message) {
        wire::append(outgoing_, message);
        return *this;
    }
    scripted_peer& say_bytes(byte_view bytes) {
        outgoing_.insert(outgoing_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    scripted_peer& say_handshake(const handshake& ours) {
        const auto bytes = encode(ours);
        return say_bytes(bytes);
    }
    /// The block as it stands in the whole torrent's bytes.
    scripted_peer& say_block(const serving& from, const block& range) {
        const std::uint64_t offset = std::uint64_t{range.piece} * from.piece_length + range.begin;
        const byte_view data = byte_view(*from.content).subspan(offset, range.length);
        wire::piece message{range.piece, range.begin, data};
        byte_vector spoiled;
        if (from.corrupt && from.corrupt(range)) {
            spoiled.assign(data.begin(), data.end());
            spoiled[spoiled.size() / 2] ^= 0xff;
            message.data = spoiled;
        }
        return say(message);
    }
    asio::awaitable<void> flush() { return with_timeout(net_, patience, write_out()); }

    // Receiving

    /// Completes with the next message; its views are valid until the next call.
    asio::awaitable<wire::message> next() { return with_timeout(net_, patience, read_message()); }

    /// Completes with the next message of this kind and drops those before it. Throws std::runtime_error if the peer
    /// ends the connection instead.
    template <class Message>
    asio::awaitable<Message> expect() {
        return with_timeout(net_, patience, read_until<Message>());
    }

    asio::awaitable<handshake> expect_handshake() { return with_timeout(net_, patience, read_handshake()); }

    /// Says `ours` and completes with the answer.
    asio::awaitable<handshake> greet(handshake ours) {
        say_handshake(ours);
        co_await flush();
        const handshake theirs = co_await expect_handshake();
        co_return theirs;
    }

    /// Completes when the other side ends the connection, in good order or by reset; drops what comes before, and
    /// returns how many bytes that were.
    asio::awaitable<std::size_t> expect_end() { return with_timeout(net_, patience, read_to_end()); }

    /// Answers requests, unchokes who is interested, until the connection ends. After close() it does not touch what
    /// `how` refers to.
    asio::awaitable<void> serve(serving how) {
        try {
            for (;;) {
                const wire::message message = co_await read_message();
                if (!link_open_) co_return;
                answer(message, how);
                co_await write_out();
            }
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code()) && link_open_) throw;
        } catch (const std::runtime_error&) {
            // The other side has ended it.
        }
    }

    void close() {
        link_open_ = false;
        link_->close();
    }

    stream& link() { return *link_; }

    std::map<block, int> asked;           ///< by requests
    std::vector<block> asked_in_turn;     ///< the same, as they came
    std::map<std::size_t, int> received;  ///< messages, by their index in wire::message
    std::uint64_t block_bytes = 0;        ///< of `piece` messages received

    template <class Message>
    int count() const {
        const auto found = received.find(wire::message(Message{}).index());
        return found == received.end() ? 0 : found->second;
    }
    int requests() const { return count<wire::request>(); }

private:
    asio::awaitable<void> write_out() {
        const byte_vector bytes = std::exchange(outgoing_, {});
        if (!bytes.empty()) co_await write_all(*link_, bytes);
    }

    asio::awaitable<bool> read_more() {
        incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(taken_));
        taken_ = 0;
        const std::size_t had = incoming_.size();
        incoming_.resize(had + 64 * 1024);
        const byte_span target = byte_span(incoming_).subspan(had);
        std::size_t got = 0;
        try {
            got = co_await link_->read_some(target);
        } catch (const std::system_error& error) {
            incoming_.resize(had);
            if (is_cancellation(error.code())) throw;
        }
        incoming_.resize(had + got);
        co_return got > 0;
    }

    asio::awaitable<wire::message> read_message() {
        for (;;) {
            byte_view in = byte_view(incoming_).subspan(taken_);
            std::error_code wrong;
            const auto message = wire::parse(in, wrong);
            if (wrong) throw std::runtime_error("the peer under test sent " + wrong.message());
            if (message) {
                taken_ = incoming_.size() - in.size();
                note(*message);
                co_return *message;
            }
            const bool more = co_await read_more();
            if (!more) throw std::runtime_error("the peer under test ended the connection");
        }
    }

    template <class Message>
    asio::awaitable<Message> read_until() {
        for (;;) {
            const wire::message message = co_await read_message();
            if (const auto* const wanted = std::get_if<Message>(&message)) co_return *wanted;
        }
    }

    asio::awaitable<handshake> read_handshake() {
        for (;;) {
            byte_view in = byte_view(incoming_).subspan(taken_);
            std::error_code wrong;
            const auto theirs = parse_handshake(in, wrong);
            if (wrong) throw std::runtime_error("the peer under test sent no handshake");
            if (theirs) {
                taken_ = incoming_.size() - in.size();
                co_return *theirs;
            }
            const bool more = co_await read_more();
            if (!more) throw std::runtime_error("the peer under test ended the connection");
        }
    }

    asio::awaitable<std::size_t> read_to_end() {
        std::size_t bytes = incoming_.size() - taken_;
        bool more = true;
        while (more) {
            taken_ = incoming_.size();
            more = co_await read_more();
            bytes += incoming_.size();
        }
        co_return bytes;
    }

    void note(const wire::message& message) {
        ++received[message.index()];
        if (const auto* const request = std::get_if<wire::request>(&message)) {
            ++asked[request->range];
            asked_in_turn.push_back(request->range);
        }
        if (const auto* const piece = std::get_if<wire::piece>(&message)) block_bytes += piece->data.size();
    }

    void answer(const wire::message& message, const serving& how) {
        if (std::holds_alternative<wire::interested>(message)) say(wire::unchoke{});
        const auto* const request = std::get_if<wire::request>(&message);
        if (request == nullptr || (how.ignore && how.ignore(request->range))) return;
        say_block(how, request->range);
    }

    network& net_;
    std::unique_ptr<stream> link_;
    bool link_open_ = true;
    byte_vector outgoing_;
    byte_vector incoming_;
    std::size_t taken_ = 0;
};

/// Completes with a scripted peer that has connected to the address.
inline asio::awaitable<std::shared_ptr<scripted_peer>> dial_as_peer(network& net, endpoint to) {
    std::unique_ptr<stream> link = co_await with_timeout(net, patience, net.connect(to));
    co_return std::make_shared<scripted_peer>(net, std::move(link));
}

/// Completes with a scripted peer for whoever dials the listener next.
inline asio::awaitable<std::shared_ptr<scripted_peer>> accept_as_peer(network& net, listener& from) {
    std::unique_ptr<stream> link = co_await with_timeout(net, patience, from.accept());
    co_return std::make_shared<scripted_peer>(net, std::move(link));
}

}  // namespace cohort::test
