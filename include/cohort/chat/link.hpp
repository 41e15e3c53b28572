// One encrypted link to a peer. What comes in is handed to the link's owner; what goes out waits in a bounded queue,
// and what is too much for a queue, the entries of conversations, is asked of the owner when there is room for it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cohort/core/number.hpp>
#include <cohort/net/beside.hpp>
#include <cohort/net/noise_channel.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/protocol/json_chat.hpp>

namespace cohort::chat {

class link;

class link_owner {
public:
    virtual ~link_owner() = default;

    /// Deals with what the peer says. The link reads on when this has completed, so waiting here holds the peer back.
    /// What it throws ends the link.
    virtual asio::awaitable<void> heard(std::shared_ptr<link> from, message what) = 0;

    /// Completes with the text of one more message for the peer, or nothing until the next touch().
    virtual asio::awaitable<std::optional<std::string>> more_for(std::shared_ptr<link> to) = 0;
};

/// How far one conversation has come on a link.
struct link_view {
    bool told = false;                            ///< the peer knows what we have
    bool answered = false;                        ///< and we know what it has; before, no entries are sent
    bool waiting = false;                         ///< it knows that we ask others first for what we lack
    bool waits = false;                           ///< and we know that it does: its turn to be asked comes
    bool asked = false;                           ///< we told it again because something is missing here
    bool behind = false;                          ///< it may lack entries, of whomever
    bool own = false;                             ///< it may lack entries of ours
    std::map<identity_key, std::uint64_t> given;  ///< by author: the last entry that the peer has, or that we sent
    std::optional<std::uint32_t> key_id;          ///< of our sender key that the peer knows,
    std::uint32_t key_from = 0;                   ///< from this index on
    std::uint64_t resent = 0;                     ///< of our own entries: up to it they do not go out sealed
};

/// One thread only. The owner keeps it alive while run() is under way.
class link : public std::enable_shared_from_this<link> {
public:
    /// Messages that wait to be sent. Who lets so many pile up does not read.
    static constexpr std::size_t queue_max = 2000;
    static constexpr std::size_t queue_bytes_max = 8 * 1024 * 1024;

    link(network& net, std::unique_ptr<noise_channel> channel, bool dialled, std::string name)
        : channel_(std::move(channel)), changed_(net.executor()), dialled_(dialled), name_(std::move(name)) {}

    const identity_key& peer() const { return channel_->remote(); }
    endpoint address() const { return channel_->remote_endpoint(); }
    bool dialled() const { return dialled_; }  ///< by us
    /// Where the peer takes links: where we found it, or at the port that it names.
    std::optional<endpoint> listens_at() const {
        if (dialled_) return address();
        for (const std::string& one : features) {
            if (!one.starts_with("port:")) continue;
            std::uint16_t port = 0;
            if (parse_number(std::string_view(one).substr(5), port) && port != 0)
                return endpoint{address().address, port};
        }
        return std::nullopt;
    }
    const std::string& name() const { return name_; }

    /// Queues a message. A peer that does not take them is given up with errc::queue_full.
    void post(const message& what) {
        if (ended_) return;
        if (outgoing_.size() >= queue_max || outgoing_bytes_ >= queue_bytes_max) return end(errc::queue_full);
        outgoing_.push_back(serialize(what));
        outgoing_bytes_ += outgoing_.back().size();
        changed_.notify();
    }

    /// There is something that more_for() can tell.
    void touch() {
        touched_ = true;
        changed_.notify();
    }

    /// Ends the link: run() throws `why`, however the connection takes it.
    void end(std::error_code why) {
        if (!ended_) ended_ = why;
        channel_->close();
        changed_.notify();
    }
    bool ended() const { return ended_.has_value(); }

    /// Carries messages until the link ends, and throws why: what end() said, errc::chat_malformed and its kind for a
    /// peer that breaks the rules, what the channel or the owner throws. Cancelling throws operation_aborted.
    asio::awaitable<void> run(link_owner& owner) {
        std::exception_ptr failure;
        try {
            co_await beside(write_all_to_peer(owner), read_all_from_peer(owner));
        } catch (...) {
            failure = std::current_exception();
        }
        channel_->close();
        if (ended_ && !is_cancellation(failure)) raise(*ended_);
        std::rethrow_exception(failure);
    }

    std::map<conversation_id, link_view> views;
    conversation_id served;             ///< whose entries went out last: the others have their turn before it
    std::vector<std::string> features;  ///< that the peer named in its greeting
    std::string presence = "online";

private:
    asio::awaitable<void> write_all_to_peer(link_owner& owner) {
        const std::shared_ptr<link> self = shared_from_this();
        for (;;) {
            while (outgoing_.empty() && !touched_) co_await changed_.wait();
            std::string text;
            if (!outgoing_.empty()) {
                text = std::move(outgoing_.front());
                outgoing_.pop_front();
                outgoing_bytes_ -= text.size();
            } else {
                touched_ = false;
                auto more = co_await owner.more_for(self);
                if (!more) continue;
                touched_ = true;
                text = std::move(*more);
            }
            co_await channel_->send(as_bytes(text));
        }
    }

    asio::awaitable<void> read_all_from_peer(link_owner& owner) {
        const std::shared_ptr<link> self = shared_from_this();
        for (;;) {
            const byte_vector text = co_await channel_->receive();
            std::error_code ec;
            auto what = parse(as_text(text), ec);
            if (!what) raise(ec);
            co_await owner.heard(self, std::move(*what));
        }
    }

    std::unique_ptr<noise_channel> channel_;
    std::deque<std::string> outgoing_;
    std::size_t outgoing_bytes_ = 0;
    wakeup changed_;
    std::optional<std::error_code> ended_;
    bool dialled_;
    bool touched_ = false;
    std::string name_;
};

}  // namespace cohort::chat
