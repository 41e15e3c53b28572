// The rooms that we are in: finding their members through the tracker, keeping links to them, and now and then
// comparing notes, so that what one link lost comes over another.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/exchange.hpp>
#include <cohort/net/tracker_client.hpp>
#include <cohort/protocol/client.hpp>

namespace cohort::chat {

struct rooms_options {
    std::string name;     ///< ours
    std::string tracker;  ///< an http URL; empty: members are found by what others know
    std::uint16_t port = 0;
    duration announce_min = 15s;  ///< between two announces while we know no member
    duration compare = 20s;       ///< between two comparisons with a member drawn by lot
};

/// One thread only. What it is given outlives it; its tasks run in run().
class rooms {
public:
    /// `on_trouble` hears what went wrong with a tracker, in words.
    rooms(network& net, const identity& self, disk& files, job_runner& pool, const std::string& home, archive& kept,
          exchange& talk, links& linked, rooms_options options)
        : net_(net),
          self_(self),
          pool_(pool),
          archive_(kept),
          exchange_(talk),
          links_(linked),
          options_(std::move(options)),
          id_(make_peer_id(net.random())),
          tasks_(net.executor()) {
        const secret32 key = self_.storage_key("log of rooms");
        const auto replay = [this](std::uint64_t, byte_view note) {
            const std::string room(as_text(note).substr(std::min<std::size_t>(1, note.size())));
            if (as_text(note).starts_with('+')) names_.insert(room);
            if (as_text(note).starts_with('-')) names_.erase(room);
        };
        log_ = std::make_unique<chat_log>(files, home, "rooms.log", key, replay, secrets_of(net));
        // Of a coming or going that was cut short nothing is left.
        std::erase_if(names_, [this](const std::string& one) { return !open(one).members.is_member(self_.key()); });
    }

    /// Attends to the rooms that we are in, until cancelled.
    asio::awaitable<void> run() {
        tasks_.spawn(compare_notes());
        for (const std::string& name : names_) attend(name);
        co_await tasks_.join();
    }

    /// With '#' or without. Throws errc::name_invalid.
    static std::string checked(const std::string& room) {
        std::string out = room.starts_with('#') ? room : "#" + room;
        if (!is_chat_name(out.substr(1))) raise(errc::name_invalid, "room " + room);
        return out;
    }

    bool is_in(const std::string& room) const { return names_.contains(room); }
    const std::set<std::string>& names() const { return names_; }

    conversation& open(const std::string& room) {
        return archive_.open(room, room_conversation(room.substr(1)), std::nullopt);
    }

    /// Completes when our coming is on disk; members hear of it as links to them come about.
    asio::awaitable<void> join(std::string room) {
        conversation& in = open(room);
        if (!names_.contains(room)) {
            co_await note('+' + room);
            names_.insert(room);
        }
        if (!in.members.is_member(self_.key())) {
            entry_body coming = room_join{room.substr(1), options_.name};
            co_await exchange_.say(in, std::move(coming));
        }
        attend(room);
    }

    /// Completes when our going is on disk, which those hear to whom there are links.
    asio::awaitable<void> leave(std::string room) {
        if (!names_.contains(room)) raise(errc::unknown_peer, "not in " + room);
        conversation& in = open(room);
        if (in.members.is_member(self_.key())) {
            entry_body going = room_leave{};
            co_await exchange_.say(in, std::move(going));
            if (in.members.is_member(self_.key())) co_return;  // it came again meanwhile
        }
        names_.erase(room);
        co_await note('-' + room);
    }

    /// A link came about: those who may be in a room with us are told what we have of it.
    void linked(link& to) {
        for (const std::string& name : names_) {
            conversation& in = open(name);
            const bool found_there = candidates_[name].contains(to.address());
            if (in.members.is_member(to.peer()) || found_there) exchange_.tell(to, in);
        }
    }

    /// Somebody came or left.
    void on_member(conversation& in, const identity_key& who, bool joined) {
        if (!joined || who == self_.key() || !names_.contains(in.name)) return;
        links_.want(who, true);
        const auto to = links_.find(who);
        if (to && !to->views[in.id].told) exchange_.tell(*to, in);
    }

private:
    static info_hash swarm_of(const std::string& room) {
        return {sha1_of(as_bytes("cohort room " + room.substr(1))).bytes};
    }

    asio::awaitable<void> note(std::string what) {
        chat_log& log = *log_;
        const auto append = [&log, what] { log.append(as_bytes(what)); };
        co_await run_job(pool_, 0, append);
    }

    void attend(const std::string& room) {
        conversation& in = open(room);
        for (const room_member& one : in.members.joined()) on_member(in, one.key, true);
        if (!options_.tracker.empty() && attended_.insert(room).second) tasks_.spawn(announce_room(room));
    }

    asio::awaitable<void> announce_room(std::string room);
    asio::awaitable<duration> announce_once(std::string room, announce_event event);
    asio::awaitable<void> compare_notes();

    network& net_;
    const identity& self_;
    job_runner& pool_;
    archive& archive_;
    exchange& exchange_;
    links& links_;
    rooms_options options_;
    peer_id id_;
    std::unique_ptr<chat_log> log_;
    std::set<std::string> names_;
    std::set<std::string> attended_;
    std::map<std::string, std::set<endpoint>> candidates_;  // whom the tracker named, by room
    task_group tasks_;
};

// ---- Machinery

inline asio::awaitable<void> rooms::announce_room(std::string room) {
    announce_event event = announce_event::started;
    while (names_.contains(room)) {
        const duration wait = co_await announce_once(room, event);
        event = announce_event::none;
        co_await net_.sleep_for(wait);
    }
    attended_.erase(room);
    co_await announce_once(room, announce_event::stopped);
}

/// Completes with how long to wait for the next.
inline asio::awaitable<duration> rooms::announce_once(std::string room, announce_event event) {
    announce_request ask;
    ask.hash = swarm_of(room);
    ask.id = id_;
    ask.port = options_.port;
    ask.left = 1;
    ask.event = event;
    announce_response answer;
    try {
        const std::string url = options_.tracker + "/announce";
        answer = co_await announce(net_, url, ask);
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        co_return options_.announce_min;
    }
    std::set<endpoint>& found = candidates_[room];
    found.clear();
    for (const endpoint& one : answer.peers) {
        found.insert(one);
        if (event == announce_event::stopped) continue;
        const std::shared_ptr<link> known = links_.find_at(one);
        if (!known) {
            links_.dial(one);
        } else if (conversation& in = open(room); !known->views[in.id].told) {
            exchange_.tell(*known, in);
        }
    }
    const bool alone = open(room).members.joined_count() < 2;
    co_return alone ? options_.announce_min : std::max<duration>(answer.interval, options_.announce_min);
}

inline asio::awaitable<void> rooms::compare_notes() {
    for (;;) {
        co_await net_.sleep_for(options_.compare);
        exchange_.ask_again();
        for (const std::string& name : names_) {
            conversation& in = open(name);
            std::vector<std::shared_ptr<link>> there;
            for (const auto& [key, one] : links_.all())
                if (in.members.is_member(key)) there.push_back(one);
            if (there.empty()) continue;
            const auto& lot = there[net_.random().below(static_cast<std::uint32_t>(there.size()))];
            exchange_.compare(*lot, in);
        }
    }
}

}  // namespace cohort::chat
