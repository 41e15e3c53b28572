// Makes links and keeps them: dials those whom we want, answers those who dial, and sees to it that there is one link
// to each peer even when both dial at once.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <cohort/chat/link.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/net/websocket_pipe.hpp>

namespace cohort::chat {

class links_owner : public link_owner {
public:
    /// Where the peer is, as far as we know.
    virtual std::optional<endpoint> address_of(const identity_key& peer) = 0;
    /// Completes if whoever proved to own `peer` may go by the name that it claims. Throws why not.
    virtual asio::awaitable<void> admit(identity_key peer, std::string name) = 0;
    /// Nobody answers where address_of() says, or somebody else.
    virtual void unreachable(const identity_key& peer) = 0;
    virtual void linked(const std::shared_ptr<link>& to) = 0;
    virtual void unlinked(const std::shared_ptr<link>& to, std::error_code why) = 0;
};

struct links_options {
    hello greeting;                   ///< what we say of ourselves
    duration greeting_timeout = 10s;  ///< for connecting, the handshake and the first message
    duration first_retry = 1s;        ///< after a link was lost; doubled at each failure,
    duration longest_retry = 60s;     ///< up to this
    std::size_t max_links = 1000;
    std::size_t max_newcomers = 100;  ///< connections that have not introduced themselves
    std::size_t max_wanted = 2000;    ///< peers to whom a link is made again and again
};

/// The path at which chat nodes answer.
inline constexpr std::string_view chat_path = "/chat";

/// One thread only. `owner` and `self` outlive it; its tasks run in run().
class links {
public:
    links(network& net, const identity& self, links_owner& owner, links_options options)
        : net_(net),
          self_(self),
          owner_(owner),
          options_(std::move(options)),
          tasks_(net.executor()),
          changed_(net.executor()) {}

    /// Runs until cancelled; then every link has ended.
    asio::awaitable<void> run() {
        tasks_.spawn(wait_forever());
        std::exception_ptr end;
        try {
            co_await tasks_.join();
        } catch (...) {
            end = std::current_exception();
        }
        stopped_ = true;
        changed_.notify();
        if (end) std::rethrow_exception(end);
    }

    std::shared_ptr<link> find(const identity_key& peer) const {
        const auto found = table_.find(peer);
        return found == table_.end() ? nullptr : found->second;
    }
    const std::map<identity_key, std::shared_ptr<link>>& all() const { return table_; }

    /// From now on a link to `peer` is made again whenever there is none. Those of whom only others told us leave half
    /// of the room to those whom our user knows.
    void want(const identity_key& peer, bool hearsay = false) {
        const std::size_t most = hearsay ? options_.max_wanted / 2 : options_.max_wanted;
        if (stopped_ || peer == self_.key() || wanted_.contains(peer) || wanted_.size() >= most) return;
        const std::uint64_t turn = ++turns_;
        wanted_[peer].turn = turn;
        tasks_.spawn(keep(peer, turn));
    }

    void forget(const identity_key& peer) {
        wanted_.erase(peer);
        if (const auto one = find(peer)) one->end(errc::stopped);
        changed_.notify();
    }

    /// Something changed that may help: addresses, or the peer is back. Those who wait to dial again do so now.
    void try_again(const identity_key& peer) {
        const auto found = wanted_.find(peer);
        if (found == wanted_.end() || find(peer)) return;
        found->second.hurry = true;
        changed_.notify();
    }

    /// Completes when there is a link. Throws errc::unknown_peer if no address is known, and what the attempt throws;
    /// it is made again and again all the same.
    asio::awaitable<void> connect(identity_key peer) {
        if (find(peer)) co_return;
        if (!owner_.address_of(peer)) raise(errc::unknown_peer);
        const bool known = wanted_.contains(peer);
        want(peer);
        if (known) try_again(peer);
        const auto asked = wanted_.find(peer);
        if (asked == wanted_.end()) raise(errc::queue_full, "too many peers");
        const std::uint64_t before = asked->second.attempts;
        for (;;) {
            if (stopped_) raise(errc::stopped);
            co_await changed_.wait();
            if (find(peer)) co_return;
            const auto found = wanted_.find(peer);
            if (found == wanted_.end()) raise(errc::stopped);
            if (found->second.attempts > before) raise(found->second.last);
        }
    }

    /// The link to whoever listens there; null if there is none.
    std::shared_ptr<link> find_at(const endpoint& at) const {
        for (const auto& [key, one] : table_)
            if (owner_.address_of(key) == at) return one;
        return nullptr;
    }

    /// One attempt, whoever answers there; for addresses that a tracker names without a key.
    void dial(const endpoint& at) {
        if (stopped_ || table_.size() >= options_.max_links) return;
        for (const auto& [key, one] : table_)
            if (owner_.address_of(key) == at) return;
        if (dialling_.size() < options_.max_newcomers && !dialling_.contains(at)) tasks_.spawn(dial_once(at));
    }

    /// A connection that somebody else made. Completes when the link, if it comes to one, has ended.
    asio::awaitable<void> answer(std::unique_ptr<message_pipe> pipe);

private:
    struct attempt {
        std::uint64_t turn = 0;      // of the task that keeps the link: one that was forgotten leaves it to the next
        std::uint64_t attempts = 0;  // that failed
        std::error_code last;
        bool hurry = false;
    };

    asio::awaitable<void> wait_forever() { co_await net_.sleep_until(time_point::max()); }
    bool keeps(const identity_key& peer, std::uint64_t turn) const {
        const auto found = wanted_.find(peer);
        return found != wanted_.end() && found->second.turn == turn;
    }
    asio::awaitable<void> keep(identity_key peer, std::uint64_t turn);
    asio::awaitable<std::error_code> attempt_once(identity_key peer, endpoint at);
    asio::awaitable<void> wait_before_retry(identity_key peer, duration most);
    asio::awaitable<void> dial_once(endpoint at);
    asio::awaitable<std::shared_ptr<link>> reach(endpoint at, std::optional<identity_key> expected);
    asio::awaitable<std::shared_ptr<link>> introduce(std::unique_ptr<message_pipe> pipe, bool dialled,
                                                     std::optional<identity_key> expected);
    asio::awaitable<void> carry(std::shared_ptr<link> one);
    bool stays(const link& newcomer);

    network& net_;
    const identity& self_;
    links_owner& owner_;
    links_options options_;
    task_group tasks_;
    wakeup changed_;
    std::map<identity_key, std::shared_ptr<link>> table_;
    std::map<identity_key, attempt> wanted_;
    // One at a time to an address, or both might end in one link and each side keep another.
    std::set<endpoint> dialling_;
    std::size_t newcomers_ = 0;
    std::uint64_t turns_ = 0;
    bool stopped_ = false;
};

// ---- Machinery

inline asio::awaitable<void> links::keep(identity_key peer, std::uint64_t turn) {
    duration delay = options_.first_retry;
    while (keeps(peer, turn)) {
        const auto at = owner_.address_of(peer);
        if (find(peer) || (at && dialling_.contains(*at))) {
            co_await changed_.wait();
            continue;
        }
        std::error_code failure = errc::unknown_peer;
        const time_point begun = net_.now();
        if (at) failure = co_await attempt_once(peer, *at);
        // Whoever takes links and drops them at once is no better than one who takes none.
        if (net_.now() - begun >= options_.greeting_timeout) delay = options_.first_retry;
        const auto found = wanted_.find(peer);
        if (found == wanted_.end() || found->second.turn != turn) break;
        if (find(peer)) continue;
        // Of somebody without an address the next heartbeat may tell; asking at each attempt would not help.
        if (at || found->second.attempts == 0) owner_.unreachable(peer);
        found->second.last = failure;
        ++found->second.attempts;
        changed_.notify();
        // Somebody else's key is no weather that passes: it takes the user.
        if (failure == errc::identity_changed) delay = options_.longest_retry;
        const double part = 0.5 + 0.5 * static_cast<double>(net_.random().below(1000)) / 1000;
        co_await wait_before_retry(peer, std::chrono::duration_cast<duration>(delay * part));
        delay = std::min(delay * 2, options_.longest_retry);
    }
}

/// Completes when it has failed, or the link has ended.
inline asio::awaitable<std::error_code> links::attempt_once(identity_key peer, endpoint at) {
    std::shared_ptr<link> one;
    std::error_code failure = errc::connection_closed;
    try {
        one = co_await reach(at, peer);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        failure = error.code();
    }
    if (one) co_await carry(one);
    co_return failure;
}

/// Ends early when there is a link, a hint, or nobody wants the peer any more.
inline asio::awaitable<void> links::wait_before_retry(identity_key peer, duration most) {
    const time_point until = net_.now() + most;
    while (net_.now() < until) {
        const auto found = wanted_.find(peer);
        if (found == wanted_.end() || find(peer) || std::exchange(found->second.hurry, false)) co_return;
        try {
            co_await with_timeout(net_, until - net_.now(), changed_.wait());
        } catch (const std::system_error& error) {
            if (error.code() != errc::timed_out) throw;
        }
    }
}

inline asio::awaitable<void> links::dial_once(endpoint at) {
    std::shared_ptr<link> one;
    try {
        if (!dialling_.contains(at)) one = co_await reach(at, std::nullopt);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
    }
    if (one) co_await carry(one);
}

inline asio::awaitable<void> links::answer(std::unique_ptr<message_pipe> pipe) {
    if (newcomers_ >= options_.max_newcomers || table_.size() >= options_.max_links) co_return;
    ++newcomers_;
    std::shared_ptr<link> one;
    std::exception_ptr failure;
    try {
        const duration limit = options_.greeting_timeout;
        one = co_await with_timeout(net_, limit, introduce(std::move(pipe), false, std::nullopt));
    } catch (...) {
        failure = std::current_exception();
    }
    --newcomers_;
    // A stranger that fails is the stranger's own affair.
    if (failure && is_cancellation(failure)) std::rethrow_exception(failure);
    if (one) co_await carry(one);
}

inline asio::awaitable<std::shared_ptr<link>> links::reach(endpoint at, std::optional<identity_key> expected) {
    struct visit {
        visit(links& of, const endpoint& to) : owner(of), at(to) { owner.dialling_.insert(at); }
        ~visit() {
            owner.dialling_.erase(at);
            owner.changed_.notify();
        }
        links& owner;
        endpoint at;
    };
    const visit ours(*this, at);
    url where;
    where.scheme = "ws";
    where.host = at.address.to_string();
    where.port = at.port;
    where.target = chat_path;
    const duration limit = options_.greeting_timeout;
    const std::string url_text = where.to_string();
    auto socket = co_await with_timeout(net_, limit, websocket_connect(net_, url_text));
    std::unique_ptr<message_pipe> pipe = std::make_unique<websocket_pipe>(std::move(socket));
    auto out = co_await with_timeout(net_, limit, introduce(std::move(pipe), true, expected));
    co_return out;
}

/// Handshake and greetings. Null if there is a link already that stays.
inline asio::awaitable<std::shared_ptr<link>> links::introduce(std::unique_ptr<message_pipe> pipe, bool dialled,
                                                               std::optional<identity_key> expected) {
    std::unique_ptr<noise_channel> channel;
    if (dialled) {
        channel = co_await noise_channel::as_initiator(net_, std::move(pipe), self_, expected);
    } else {
        channel = co_await noise_channel::as_responder(net_, std::move(pipe), self_, expected);
    }
    if (channel->remote() == self_.key()) raise(errc::self_connection);
    const std::string ours = serialize(options_.greeting);
    co_await channel->send(as_bytes(ours));
    const byte_vector theirs = co_await channel->receive();
    std::error_code ec;
    const auto first = parse(as_text(theirs), ec);
    if (!first) raise(ec);
    const auto* const greeting = std::get_if<hello>(&*first);
    if (greeting == nullptr) raise(errc::chat_malformed, "no greeting");
    co_await owner_.admit(channel->remote(), greeting->name);
    auto out = std::make_shared<link>(net_, std::move(channel), dialled, greeting->name);
    out->features = greeting->features;
    if (!stays(*out)) co_return nullptr;
    co_return out;
}

/// Of two links to one peer the one that the smaller key dialled stays, and of two dialled by the same side the newer,
/// as the other side has then lost the older.
inline bool links::stays(const link& newcomer) {
    const auto older = find(newcomer.peer());
    if (!older || older->ended() || older->dialled() == newcomer.dialled()) return true;
    const bool we_are_smaller = self_.key() < newcomer.peer();
    return newcomer.dialled() == we_are_smaller;
}

/// Whatever the peer does, and whatever goes wrong over it, ends the link and nothing else.
inline asio::awaitable<void> links::carry(std::shared_ptr<link> one) {
    // Another may have come since the introduction.
    if (!stays(*one)) co_return one->end(errc::duplicate_peer);
    if (const auto older = find(one->peer())) older->end(errc::duplicate_peer);
    table_[one->peer()] = one;
    changed_.notify();
    std::error_code why = errc::stopped;
    bool cancelled = false;
    try {
        owner_.linked(one);
        co_await one->run(owner_);
    } catch (const std::system_error& error) {
        why = error.code();
        cancelled = is_cancellation(why);
    } catch (const std::exception&) {
        why = errc::chat_malformed;
    }
    one->end(why);
    const auto found = table_.find(one->peer());
    if (found != table_.end() && found->second == one) {
        table_.erase(found);
        owner_.unlinked(one, why);
        changed_.notify();
    }
    if (cancelled) throw_cancelled();
}

}  // namespace cohort::chat
