// How two nodes bring each other up to date. Each says of a conversation what it has; the other sends what is missing,
// a batch at a time, and goes on with what is new. In a room, where everybody might, members are asked for what is
// missing one after the other. Nothing of that is remembered beyond the link, so that it never disagrees with the disk:
// after a lost link both simply say again what they have.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat/archive.hpp>
#include <cohort/chat/links.hpp>
#include <cohort/chat/room_keys.hpp>
#include <cohort/chat/turns.hpp>

namespace cohort::chat {

/// One thread only. What it is given outlives it.
class exchange {
public:
    struct handlers {
        std::function<void(chat_node_event)> on_event;
        /// What somebody is called here, who gives itself a name.
        std::function<std::string(const identity_key&, const std::string& claimed)> name_of;
        /// Somebody came to a room, or left.
        std::function<void(conversation&, const identity_key&, bool joined)> on_member;
        /// An offer is on our disk: one of somebody else's.
        std::function<void(conversation&, const chat_entry&)> on_offer;
    };

    exchange(network& net, const identity& self, archive& kept, links& linked, handlers h)
        : net_(net), self_(self), archive_(kept), links_(linked), handlers_(std::move(h)) {}

    /// Says in the conversation what `body` says. Completes when it is on disk; it goes out by itself.
    /// Throws errc::unknown_peer in a room that we have left: it would be no part of it.
    asio::awaitable<message_id> say(conversation& in, entry_body body) {
        if (!take_part(in) && !std::holds_alternative<room_join>(body)) raise(errc::unknown_peer, "not in " + in.name);
        const next_entry next = in.timeline.next_of(self_.key());
        const std::int64_t now = net_.calendar();
        chat_entry entry;
        entry.conversation = in.id;
        entry.seq = next.seq;
        // A Lamport clock that follows the calendar where nobody's is ahead: so the order is that of time, mostly.
        entry.clock = std::max(next.clock, static_cast<std::uint64_t>(std::max<std::int64_t>(now, 1)));
        entry.time_ms = now;
        entry.prev = next.prev;
        entry.body = std::move(body);
        std::error_code ec;
        auto made = signed_entry::make(std::move(entry), self_, ec);
        if (!made) raise(ec);
        const message_id id{self_.key(), next.seq};
        const std::uint64_t position = in.next_position;
        in.add(std::move(*made));
        co_await archive_.stored(in, position);
        co_return id;
    }

    /// Tells the peer what we have of the conversation, which makes it say what it has and send what we lack: in a room
    /// not the first time on a link, but when it has its turn.
    void tell(link& to, const conversation& about) {
        link_view& view = to.views[about.id];
        view.waiting = about.is_room() && !view.told;
        view.told = true;
        to.post(have{about.id, about.timeline.clock(), about.timeline.heads(), view.waiting});
    }

    /// Tells a member once more, unless it waits for its turn while another has it.
    void compare(link& with, const conversation& about) {
        if (!with.views[about.id].waiting || turns_.is_free(about.id, net_.now())) tell(with, about);
    }

    /// Tells once more what we have where something was asked for and did not come, or came and could not be taken yet.
    void ask_again() {
        for (const auto& [key, to] : links_.all())
            for (const auto& [id, view] : to->views)
                if (conversation* const in = view.asked && !view.waiting ? shared_with(*to, id) : nullptr)
                    tell(*to, *in);
        for (const auto& [id, in] : archive_.all()) next_turn(*in);
    }

    /// The link to the peer is gone, or is another now: it is no longer its turn.
    void begin_anew(const identity_key& peer) {
        for (const conversation_id& id : turns_.gone(peer))
            if (conversation* const in = archive_.find(id)) next_turn(*in);
    }

    /// Whether we are in it: always, of a conversation of two.
    bool take_part(const conversation& in) const { return !in.is_room() || in.members.is_member(self_.key()); }

    /// Records reached the disk: told to those whom they concern.
    void on_stored(conversation& in, std::vector<record>& records);

    asio::awaitable<void> heard(std::shared_ptr<link> from, entries what);
    asio::awaitable<void> heard(std::shared_ptr<link> from, room_message what);
    void heard(link& from, const have& what);
    void heard(link& from, const received& what);
    void heard(link& from, const read& what);
    void heard(link& from, const room_key& what);
    void heard(link& from, const history_request& what);

    /// The next message with entries that the peer lacks.
    asio::awaitable<std::optional<std::string>> more_for(std::shared_ptr<link> to);

    /// An entry as people see it.
    shown_message shown(const conversation& in, const chat_entry& entry) const;

private:
    static constexpr std::size_t batch_bytes = 96 * 1024;  ///< of entries in one message, beyond the first
    static constexpr std::size_t batch_entries = 64;
    static constexpr std::uint64_t clock_skew_ms = 10 * 60 * 1000;  ///< by which others' clocks may be ahead,
    static constexpr std::uint64_t clock_steps = 1000;              ///< or of what was said already

    conversation* shared_with(const link& peer, const conversation_id& id) {
        conversation* const found = archive_.find(id);
        if (found == nullptr || !take_part(*found)) return nullptr;
        return found->other && *found->other != peer.peer() ? nullptr : found;
    }

    /// The same, and a room that we have left: those in it are to hear so.
    conversation* told_to(const link& peer, const conversation_id& id) {
        conversation* const found = archive_.find(id);
        if (found == nullptr || (found->other && *found->other != peer.peer())) return nullptr;
        return take_part(*found) || found->has_member(peer.peer()) ? found : nullptr;
    }

    std::string called(const conversation& in, const identity_key& who) const {
        const room_member* const member = in.members.find(who);
        return handlers_.name_of(who, member == nullptr ? "" : member->name);
    }
    bool is_due(const conversation& in, const chat_entry& entry) const;
    void blame(const conversation& in, const identity_key& author, std::uint64_t seq);
    void take(link& from, conversation& in, signed_entry one);
    void ask_for_missing(link& from, conversation& in);
    void next_turn(conversation& in);
    void tell_own(conversation& in, const signed_entry& entry);
    void show(conversation& in, const chat_entry& entry);
    void greet(conversation& in, const chat_entry& coming);
    std::vector<timeline_entry> next_batch(conversation& in, link& to, link_view& view);
    asio::awaitable<std::string> pack(conversation& in, link& to, std::vector<timeline_entry> batch);
    room_keys& keys_of(const conversation& room) {
        return keys_.try_emplace(room.id, room.id, self_, secrets_of(net_)).first->second;
    }

    network& net_;
    const identity& self_;
    archive& archive_;
    links& links_;
    handlers handlers_;
    std::map<conversation_id, room_keys> keys_;
    turns turns_;
    std::set<std::pair<conversation_id, identity_key>> blamed_;  // those who said different things to different people
};

// ---- Machinery: what comes in

/// Whether an entry's time may be right: one that is ahead of ours will be later.
inline bool exchange::is_due(const conversation& in, const chat_entry& entry) const {
    const auto now = static_cast<std::uint64_t>(std::max<std::int64_t>(net_.calendar(), 0));
    return entry.clock <= std::max(now + clock_skew_ms, in.timeline.clock() + clock_steps);
}

inline void exchange::take(link& from, conversation& in, signed_entry one) {
    link_view& view = from.views[in.id];
    const chat_entry entry = one.entry();
    const sha256_digest hash = one.hash();
    const add_result expected = in.timeline.check(entry, hash).result;
    if (expected == add_result::known || !in.may_hold(entry.author, self_.key())) return;
    // A chain in a room begins with its author's coming.
    if (in.is_room() && entry.seq == 1 && !std::holds_alternative<room_join>(entry.body)) return;
    if (!one.verify()) raise(errc::signature_invalid);
    if (!is_due(in, entry)) {
        view.asked = true;  // and so asked for again after a while
        return;
    }
    if (expected == add_result::gap) {
        ask_for_missing(from, in);
        return;
    }
    if (expected == add_result::contradicts) {
        blame(in, entry.author, entry.seq);
        return;
    }
    // Whoever left says nothing there: its chain, which all have in this order, tells everybody the same.
    const bool outside = in.is_room() && !in.members.is_member(entry.author);
    if (outside && !std::holds_alternative<room_join>(entry.body)) return;
    if (in.add(std::move(one)).result != add_result::added) return;
    view.asked = false;
    auto& given = view.given[entry.author];
    given = std::max(given, entry.seq);
    turns_.heard(in.id, from.peer(), net_.now());
}

/// Once: what is missing comes in one go, and whatever showed that it is missing comes with it.
inline void exchange::ask_for_missing(link& from, conversation& in) {
    link_view& view = from.views[in.id];
    if (std::exchange(view.asked, true)) return;
    if (!in.is_room()) return tell(from, in);
    view.waiting = true;
    next_turn(in);
}

/// Asks the next of those who wait for it, and have something that we lack, unless somebody is at it.
inline void exchange::next_turn(conversation& in) {
    if (!take_part(in) || !turns_.is_free(in.id, net_.now())) return;
    for (const auto& [key, to] : links_.all()) {
        const auto found = to->views.find(in.id);
        if (found == to->views.end() || !found->second.waiting || !found->second.answered) continue;
        link_view& view = found->second;
        std::vector<head> theirs;
        for (const auto& [author, seq] : view.given) theirs.push_back({author, seq, {}});
        if (!view.asked && in.timeline.wanted(theirs).empty()) continue;
        view.asked = true;
        turns_.begin(in.id, key, std::move(theirs), net_.now());
        tell(*to, in);
        if (!turns_.is_free(in.id, net_.now())) return;
    }
}

/// Once for each author; both entries are signed, so it is true.
inline void exchange::blame(const conversation& in, const identity_key& author, std::uint64_t seq) {
    constexpr std::size_t most = 10'000;
    if (blamed_.size() >= most || !blamed_.emplace(in.id, author).second) return;
    handlers_.on_event(chat_event::warning{called(in, author) + " said different things to different people in " +
                                           in.name + ": number " + std::to_string(seq) + " exists twice"});
}

inline asio::awaitable<void> exchange::heard(std::shared_ptr<link> from, entries what) {
    for (signed_entry& one : what.list) {
        conversation* const in = shared_with(*from, one.entry().conversation);
        if (in == nullptr) continue;
        take(*from, *in, std::move(one));
        co_await archive_.room(*in);
    }
}

inline asio::awaitable<void> exchange::heard(std::shared_ptr<link> from, room_message what) {
    conversation* const in = shared_with(*from, what.room);
    // Nobody passes on what others sealed.
    if (in == nullptr || !in->is_room() || what.author != from->peer()) co_return;
    const auto bytes = keys_of(*in).open(what);
    if (!bytes && keys_of(*in).is_forged(what)) raise(errc::noise_failed, "a forged message in a room");
    std::error_code ec;
    std::optional<signed_entry> entry;
    if (bytes) entry = signed_entry::parse(*bytes, ec);
    if (!entry || entry->entry().conversation != in->id || entry->entry().author != what.author) {
        // Without the key, what it says comes with the rest that we lack.
        ask_for_missing(*from, *in);
        co_return;
    }
    take(*from, *in, std::move(*entry));
    co_await archive_.room(*in);
}

inline void exchange::heard(link& from, const have& what) {
    conversation* const in = shared_with(from, what.conversation);
    if (in == nullptr) return;
    link_view& view = from.views[in->id];
    view.resent = std::max(view.resent, view.given[self_.key()]);
    view.given.clear();
    for (const head& one : what.heads) view.given[one.author] = one.seq;
    view.answered = true;
    view.waits = what.later;
    view.behind = !what.later;
    view.own = !what.later || !in->has_member(from.peer());
    // Anybody can say that an author said something else; what proves it is the entry.
    for (const head& one : what.heads) {
        const auto ours = in->timeline.find(one.author, one.seq);
        if (!ours || ours->hash == one.hash || blamed_.contains({in->id, one.author})) continue;
        from.post(history_request{in->id, one.author, one.seq, 1});
        break;
    }
    for (const head& one : what.heads) {
        // A chain of ours that we have lost says nothing about the one that we are at.
        const auto ours = in->timeline.find(one.author, one.seq);
        if (one.author == self_.key() && ours && ours->hash == one.hash) heard(from, received{in->id, one.seq});
    }
    const bool we_lack = !in->timeline.wanted(what.heads).empty();
    if (!view.told) {
        tell(from, *in);
    } else if (we_lack) {
        ask_for_missing(from, *in);
    }
    if (view.waiting) next_turn(*in);
    from.touch();
}

inline void exchange::heard(link& from, const received& what) {
    conversation* const in = shared_with(from, what.conversation);
    if (in == nullptr) return;
    const std::uint64_t seq = std::min(what.seq, in->timeline.next_of(self_.key()).seq - 1);
    if (!in->has_member(from.peer())) return;
    std::uint64_t& known = in->received_by[from.peer()];
    if (seq <= known) return;
    known = seq;
    in->queue(mark_record(record_kind::received, from.peer(), seq));
    handlers_.on_event(
        chat_event::receipt{in->name, called(*in, from.peer()), {self_.key(), seq}, delivery::delivered});
}

inline void exchange::heard(link& from, const read& what) {
    conversation* const in = shared_with(from, what.conversation);
    if (in == nullptr || !in->has_member(from.peer())) return;
    for (const read_mark& mark : what.marks) {
        if (mark.author != self_.key()) continue;
        const std::uint64_t seq = std::min(mark.seq, in->timeline.next_of(self_.key()).seq - 1);
        std::uint64_t& known = in->read_by[from.peer()];
        if (seq <= known) continue;
        known = seq;
        in->queue(mark_record(record_kind::read, from.peer(), seq));
        handlers_.on_event(chat_event::receipt{in->name, called(*in, from.peer()), {self_.key(), seq}, delivery::read});
    }
}

inline void exchange::heard(link& from, const room_key& what) {
    conversation* const in = shared_with(from, what.room);
    if (in == nullptr || !in->is_room() || what.author != from.peer()) return;
    if (!verify(what)) raise(errc::signature_invalid);
    keys_of(*in).learn(what);
}

inline void exchange::heard(link& from, const history_request& what) {
    conversation* const in = shared_with(from, what.conversation);
    if (in == nullptr) return;
    if (!in->timeline.find(what.author, what.from_seq)) return;
    link_view& view = from.views[in->id];
    view.resent = std::max(view.resent, view.given[self_.key()]);
    view.given[what.author] = what.from_seq - 1;
    view.answered = view.behind = true;
    from.touch();
}

// ---- Machinery: what goes out

inline void exchange::on_stored(conversation& in, std::vector<record>& records) {
    std::map<identity_key, std::uint64_t> newest;  // by author, so that a batch has one receipt
    for (const record& one : records) {
        if (!one.entry) continue;
        const chat_entry& entry = one.entry->entry();
        if (entry.author == self_.key()) {
            tell_own(in, *one.entry);
        } else {
            newest[entry.author] = entry.seq;
        }
        show(in, entry);
    }
    for (const auto& [author, seq] : newest)
        if (const auto to = links_.find(author)) to->post(received{in.id, seq});
    if (turns_.is_over(in.id, in.timeline)) next_turn(in);
}

/// A new entry of ours goes to all who have answered; the others get it when they do. Somebody with whom nothing was
/// said so far hears of the conversation now.
inline void exchange::tell_own(conversation& in, const signed_entry& entry) {
    const auto reader = in.other ? links_.find(*in.other) : nullptr;
    if (reader && !reader->views[in.id].answered) tell(*reader, in);
    std::vector<std::shared_ptr<link>> those;
    for (const auto& [key, one] : links_.all()) {
        const auto view = one->views.find(in.id);
        if (view != one->views.end() && view->second.answered && in.has_member(key)) those.push_back(one);
    }
    if (in.is_room() && !those.empty()) {
        room_keys& keys = keys_of(in);
        const sender_key& key = keys.current(in.members.epoch());
        for (const auto& to : those) {
            link_view& view = to->views[in.id];
            if (view.key_id == key.name().key_id) continue;
            view.key_id = key.name().key_id;
            view.key_from = key.chain().index;
            to->post(keys.to_give());
        }
        keys.seal(entry, in.members.epoch());
    }
    for (const auto& to : those) {
        to->views[in.id].own = true;
        to->touch();
    }
}

inline void exchange::show(conversation& in, const chat_entry& entry) {
    const bool own = entry.author == self_.key();
    const std::string who = called(in, entry.author);
    if (std::holds_alternative<text>(entry.body)) {
        handlers_.on_event(chat_event::message{shown(in, entry)});
    } else if (const auto* const offer = std::get_if<file_offer>(&entry.body)) {
        const message_id id{entry.author, entry.seq};
        handlers_.on_event(chat_event::file_offered{in.name, who, id, offer->safe_name(), offer->size});
        if (!own) handlers_.on_offer(in, entry);
    } else if (std::holds_alternative<room_join>(entry.body)) {
        handlers_.on_event(chat_event::member_joined{in.name, who});
        handlers_.on_member(in, entry.author, true);
        greet(in, entry);
    } else if (std::holds_alternative<room_leave>(entry.body)) {
        handlers_.on_event(chat_event::member_left{in.name, who});
        if (in.is_room() && !own) keys_of(in).forget(entry.author);
        handlers_.on_member(in, entry.author, false);
    }
}

/// Who is a member now may have everything when it asks for it; and who was away does not know that there is something.
inline void exchange::greet(conversation& in, const chat_entry& coming) {
    const auto to = links_.find(coming.author);
    if (!to || !to->views[in.id].answered) return;
    link_view& view = to->views[in.id];
    if (view.waits && coming.seq > 1) return tell(*to, in);
    view.behind = view.behind || !view.waits;
    to->touch();
}

/// Somebody who is no member of a room, but names it, hears of our coming if that is what it lacks next, without which
/// two who come at the same time would each wait for the other's; and nothing that we said.
inline std::vector<timeline_entry> exchange::next_batch(conversation& in, link& to, link_view& view) {
    std::vector<timeline_entry> out;
    if (view.behind && take_part(in) && in.has_member(to.peer())) {
        std::vector<head> theirs;
        for (const auto& [author, seq] : view.given) theirs.push_back({author, seq, {}});
        out = in.timeline.lacking(theirs, batch_entries);
        view.behind = !out.empty();
    }
    if (out.empty() && view.own) {
        const std::uint64_t next = view.given[self_.key()] + 1;
        const std::size_t outsiders = in.comings.contains({self_.key(), next}) ? 1 : 0;
        out = in.timeline.chain(self_.key(), next, in.has_member(to.peer()) ? batch_entries : outsiders);
        view.own = !out.empty();
    }
    return out;
}

inline asio::awaitable<std::string> exchange::pack(conversation& in, link& to, std::vector<timeline_entry> batch) {
    entries out;
    std::size_t size = 0;
    for (const timeline_entry& one : batch) {
        auto entry = co_await archive_.entry_at(in, one.position);
        size += entry.bytes().size();
        if (!out.list.empty() && size > batch_bytes) break;
        out.list.push_back(std::move(entry));
    }
    // Only now, as the peer may have told anew what it has while the disk was asked.
    link_view& view = to.views[in.id];
    for (const signed_entry& one : out.list) {
        auto& given = view.given[one.entry().author];
        given = std::max(given, one.entry().seq);
        if (one.entry().author == self_.key()) in.sent = std::max(in.sent, one.entry().seq);
    }
    co_return serialize(out);
}

inline asio::awaitable<std::optional<std::string>> exchange::more_for(std::shared_ptr<link> to) {
    auto place = to->views.upper_bound(to->served);
    for (std::size_t i = 0; i < to->views.size(); ++i, ++place) {
        if (place == to->views.end()) place = to->views.begin();
        auto& [id, view] = *place;
        conversation* const in = told_to(*to, id);
        if (in == nullptr || !view.answered) continue;
        auto batch = next_batch(*in, *to, view);
        if (batch.empty()) continue;
        to->served = id;
        const entry_order first = batch.front().order;
        // What goes out again goes out open: sealed, it could not be read a second time.
        if (in->is_room() && first.author == self_.key() && view.key_id && first.seq > view.resent) {
            const std::string* const text = keys_of(*in).sealed(first.seq, *view.key_id, view.key_from);
            if (text != nullptr) {
                view.given[first.author] = first.seq;
                in->sent = std::max(in->sent, first.seq);
                co_return *text;
            }
        }
        auto text = co_await pack(*in, *to, std::move(batch));
        co_return text;
    }
    co_return std::nullopt;
}

inline shown_message exchange::shown(const conversation& in, const chat_entry& entry) const {
    shown_message out;
    out.with = in.name;
    out.id = {entry.author, entry.seq};
    out.own = entry.author == self_.key();
    out.from = called(in, entry.author);
    out.time_ms = entry.time_ms;
    if (const auto* const words = std::get_if<text>(&entry.body)) out.text = words->content;
    if (out.own) out.state = in.state_of(entry.seq);
    return out;
}

}  // namespace cohort::chat
