// Keeps a torrent's trackers informed, and brings back the peers that they know (BEP 3, 7, 12).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/core/endpoint.hpp>
#include <cohort/core/time.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/net/tracker_client.hpp>
#include <cohort/net/wakeup.hpp>
#include <cohort/policy/tracker_tiers.hpp>
#include <cohort/protocol/announce.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/swarm/events.hpp>

namespace cohort {

struct announcer_options {
    bool enabled = true;
    std::vector<std::string> more_trackers;  ///< in addition to the torrent's own, as a tier before them
    /// Whatever a tracker that answered wishes, we come back no sooner (adversary A39), except to tell of a completion.
    duration least_interval = 60s;
    duration default_interval = 30min;  ///< where the tracker does not say
    duration first_retry = 5s;          ///< after a round in which no tracker answered; doubled each time ...
    duration last_retry = 5min;         ///< ... up to this
    duration goodbye_timeout = 2s;
};

/// The figures of an announce as they are now.
struct announce_numbers {
    std::uint64_t uploaded = 0;
    std::uint64_t downloaded = 0;
    std::uint64_t left = 0;
    std::int32_t numwant = 50;
    bool lonely = false;  ///< a leecher without a peer, which asks again as soon as the tracker allows
};

/// One torrent's conversation with its trackers: `started`, then at each interval, `completed` at once, `stopped`.
class announcer {
public:
    struct handlers {
        std::function<announce_numbers()> numbers;
        std::function<void(torrent_event)> on_event;
        std::function<void(const std::vector<endpoint>&)> on_peers;
    };

    /// Announces go out over each of the `families`, as a tracker learns an address of ours from where they come
    /// (BEP 7).
    announcer(network& net, const metainfo& info, peer_id id, std::uint16_t port, std::vector<address_family> families,
              announcer_options options, handlers h);

    /// Announces until cancelled.
    asio::awaitable<void> run();

    /// All that was wanted is there: if that is the whole torrent and its download began here, says so at once
    /// (BEP 3).
    void completed() { changed_.notify(); }

    /// Tells the tracker that knows us that we leave, and before that of a completion it has not heard of. Completes
    /// when it heard, or after a moment; never throws.
    asio::awaitable<void> stopped();

private:
    asio::awaitable<bool> round(announce_event event);
    asio::awaitable<bool> tell(std::string url, announce_event event);
    asio::awaitable<void> last_words(std::string url);
    asio::awaitable<std::optional<announce_response>> ask(std::string url, announce_event event, address_family family);
    asio::awaitable<void> wait(duration d, bool news_ends_it);
    announce_event next_event() const;
    bool completion_is_news() const { return !said_completed_ && handlers_.numbers().left == 0; }

    network& net_;
    announce_request base_;
    std::vector<address_family> families_;
    announcer_options options_;
    handlers handlers_;
    tracker_tiers tiers_;
    wakeup changed_;
    bool started_ = false;  // a tracker knows us
    bool said_completed_ = false;
    std::optional<std::string> known_at_;  // the tracker to say goodbye to
    duration interval_{};
    duration soonest_{};
    std::string last_error_;
};

inline announcer::announcer(network& net, const metainfo& info, peer_id id, std::uint16_t port,
                            std::vector<address_family> families, announcer_options options, handlers h)
    : net_(net),
      families_(std::move(families)),
      options_(std::move(options)),
      handlers_(std::move(h)),
      changed_(net.executor()) {
    base_.hash = info.hash;
    base_.id = id;
    base_.port = port;
    base_.key = static_cast<std::uint32_t>(net.random()());
    std::vector<std::vector<std::string>> tiers = info.trackers;
    tiers.insert(tiers.begin(), options_.more_trackers);
    if (options_.enabled) tiers_ = tracker_tiers(tiers, net.random());
}

inline asio::awaitable<void> announcer::run() {
    duration retry = options_.first_retry;
    // What was there before we began was not downloaded: no `completed` for it (BEP 3).
    said_completed_ = handlers_.numbers().left == 0;
    while (!tiers_.empty()) {
        const announce_event event = next_event();
        const bool answered = co_await round(event);
        if (answered) {
            retry = options_.first_retry;
            const time_point next = net_.now() + interval_;
            do {
                co_await wait(std::min(soonest_, next - net_.now()), true);
            } while (net_.now() < next && !handlers_.numbers().lonely && next_event() == announce_event::none);
        } else {
            // What no tracker heard is still to be said, but it is no news.
            co_await wait(retry, event != announce_event::completed);
            retry = std::min(retry * 2, options_.last_retry);
        }
    }
}

inline announce_event announcer::next_event() const {
    if (!started_) return announce_event::started;
    return completion_is_news() ? announce_event::completed : announce_event::none;
}

/// Completes after `d`, or as soon as the trackers that know us are to hear of something.
inline asio::awaitable<void> announcer::wait(duration d, bool news_ends_it) {
    const time_point until = net_.now() + d;
    while (net_.now() < until) {
        if (news_ends_it && started_ && completion_is_news()) co_return;
        try {
            co_await with_timeout(net_, until - net_.now(), changed_.wait());
        } catch (const std::system_error& error) {
            if (error.code() != errc::timed_out) throw;
        }
    }
}

/// One announce: the trackers in the order of BEP 12, until one answers.
inline asio::awaitable<bool> announcer::round(announce_event event) {
    tiers_.begin();
    for (bool more = true; more; more = tiers_.failed()) {
        const std::string url = *tiers_.current();
        // A tracker that was asked may know us, even if we are cancelled before it answers.
        if (!started_) known_at_ = url;
        const bool answered = co_await tell(url, event);
        if (!answered) continue;
        tiers_.succeeded();
        started_ = true;
        known_at_ = url;
        if (event == announce_event::completed) said_completed_ = true;
        co_return true;
    }
    if (!started_) known_at_.reset();
    co_return false;
}

/// Announces over each family; an answer over one of them is an answer.
inline asio::awaitable<bool> announcer::tell(std::string url, announce_event event) {
    std::vector<endpoint> found;
    bool answered = false;
    last_error_.clear();
    for (const address_family family : families_) {
        const auto response = co_await ask(url, event, family);
        if (!response) continue;
        answered = true;
        found.insert(found.end(), response->peers.begin(), response->peers.end());
        if (!response->tracker_id.empty()) base_.tracker_id = response->tracker_id;
        const duration wished =
            response->interval.count() > 0 ? duration(response->interval) : options_.default_interval;
        soonest_ = std::max<duration>({response->min_interval, options_.least_interval, 1s});
        interval_ = std::max(wished, soonest_);
    }
    if (answered) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(interval_);
        handlers_.on_event(event::tracker_answered{url, found.size(), seconds});
        handlers_.on_peers(found);
    } else {
        handlers_.on_event(event::tracker_failed{url, last_error_});
    }
    co_return answered;
}

inline asio::awaitable<std::optional<announce_response>> announcer::ask(std::string url, announce_event event,
                                                                        address_family family) {
    const announce_numbers now = handlers_.numbers();
    announce_request request = base_;
    request.event = event;
    request.uploaded = now.uploaded;
    request.downloaded = now.downloaded;
    request.left = now.left;
    request.numwant = now.numwant;
    tracker_client_options how;
    how.family = family;
    std::optional<announce_response> response;
    try {
        response = co_await announce(net_, url, request, how);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        // A tracker without an address of this family is no failure while the other one answers.
        if (last_error_.empty() || error.code() != errc::host_not_found) last_error_ = error.what();
    } catch (const std::bad_alloc& error) {
        last_error_ = error.what();
    }
    co_return response;
}

inline asio::awaitable<void> announcer::stopped() {
    started_ = false;
    if (!known_at_) co_return;
    std::string url = *std::exchange(known_at_, std::nullopt);
    try {
        co_await with_timeout(net_, options_.goodbye_timeout, last_words(std::move(url)));
    } catch (...) {
        caught_error();  // The tracker will miss our announces and forget us.
    }
}

inline asio::awaitable<void> announcer::last_words(std::string url) {
    // Who leaves as soon as the download is complete has not said so yet.
    if (completion_is_news()) {
        said_completed_ = true;
        for (const address_family family : families_) co_await ask(url, announce_event::completed, family);
    }
    for (const address_family family : families_) co_await ask(url, announce_event::stopped, family);
}

}  // namespace cohort
