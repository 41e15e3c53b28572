// What a person in a chat sees: lines for what has happened, and a prompt and a status row for how things are now.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/chat/events.hpp>

#include "chat_text.hpp"
#include "terminal.hpp"

namespace cohort::examples {

/// Follows the events of a node. Lines that have scrolled away cannot be changed, so what an own message has come to,
/// who is typing, what is unread and how far files are stands in the status row, which is about now. Elsewhere than on
/// a terminal there is no such row, and files say every tenth part of their progress.
class chat_screen {
public:
    struct offer {
        message_id id;
        std::string with;
        std::string file_name;
        std::uint64_t size = 0;
        bool own = false;
        bool open = true;  ///< neither accepted nor refused
        std::size_t number = 0;
    };

    chat_screen(std::string own_name, bool live, bool colours)
        : own_name_(std::move(own_name)), live_(live), paint_(colours) {}

    const painter& paint() const { return paint_; }
    bool live() const { return live_; }
    /// Of the terminal, 0 elsewhere: how long lines may be.
    std::size_t columns() const { return columns_; }
    void set_columns(std::size_t columns) { columns_ = columns; }

    /// The conversation that typed words go to: "bob", "#lobby"; empty: none yet.
    const std::string& current() const { return current_; }
    void turn_to(const std::string& with) {
        current_ = with;
        unread_.erase(with);
    }

    /// What one event adds to the screen, as lines; nothing where only prompt and status change.
    std::string show(const chat_node_event& event, std::int64_t now_ms) {
        return std::visit([&](const auto& what) { return on(what, now_ms); }, event);
    }

    /// An own message that was just taken by the node.
    std::string show_own(const shown_message& what, std::int64_t now_ms) {
        if (own_shown(what.with) >= what.id.seq) return {};
        mark& last = marks_[what.with];
        last.seq = what.id.seq;
        last.reach(what.id.seq, what.state);
        return message_text(what, paint_, now_ms, columns_);
    }

    /// A page of the past, oldest first; own messages with their marks.
    std::string show_history(std::string_view with, const std::vector<shown_message>& page, std::int64_t now_ms) const {
        if (page.empty()) return paint_.dim("(nothing earlier with " + printable(with) + ")") + "\n";
        std::string out;
        for (const shown_message& one : page) out += message_text(one, paint_, now_ms, columns_, true);
        return paint_.dim("--- " + printable(with) + " ---") + "\n" + out + paint_.dim("---") + "\n";
    }

    std::string show_error(std::string_view text) const { return paint_.alarm(printable(text)) + "\n"; }
    std::string show_note(std::string_view text) const { return paint_.dim("-- " + printable(text)) + "\n"; }

    /// An own offer that was just taken by the node.
    std::string offered(const message_id& id, const std::string& to, const std::string& file, std::uint64_t size) {
        if (find_offer(to, id) != nullptr) return {};
        if (!remember({id, to, file, size, true, false})) return {};
        return show_note("offered " + file + " (" + human_size(size) + ") to " + to);
    }
    /// The offer with the number that was shown, or the newest one that waits for an answer.
    offer* find_offer(std::optional<std::size_t> number) {
        if (number) {
            const auto found =
                std::find_if(offers_.begin(), offers_.end(), [&](const offer& one) { return one.number == *number; });
            return found == offers_.end() ? nullptr : &*found;
        }
        const auto newest = std::find_if(offers_.rbegin(), offers_.rend(), [](const offer& one) { return one.open; });
        return newest == offers_.rend() ? nullptr : &*newest;
    }
    /// The newest one of that conversation that waits for an answer.
    offer* newest_offer(const std::string& with) {
        const auto newest = std::find_if(offers_.rbegin(), offers_.rend(),
                                         [&](const offer& one) { return one.open && one.with == with; });
        return newest == offers_.rend() ? nullptr : &*newest;
    }
    /// Taking it failed, and may go better next time.
    void reopen_offer(const std::string& with, const message_id& id) {
        offer* const known = find_offer(with, id);
        if (known != nullptr && !known->own) known->open = true;
    }
    /// Numbers of messages count in their conversation.
    offer* find_offer(const std::string& with, const message_id& id) {
        const auto found = std::find_if(offers_.begin(), offers_.end(),
                                        [&](const offer& one) { return one.id == id && one.with == with; });
        return found == offers_.end() ? nullptr : &*found;
    }

    void mark_verified(const std::string& name) { peers_[name].verified = true; }

    /// Conversations whose newest own message is on nobody else's disk yet.
    std::vector<std::string> undelivered() const {
        std::vector<std::string> out;
        for (const auto& [with, last] : marks_) {
            if (last.seq > 0 && last.state() < delivery::delivered) out.push_back(with);
        }
        return out;
    }

    std::string prompt() const { return current_.empty() ? "> " : printable(current_) + "> "; }

    /// One row of at most `columns`.
    std::string status(std::size_t columns) const {
        std::string out;
        const auto add = [&out](const std::string& part) {
            if (!part.empty()) out += (out.empty() ? "" : " · ") + part;
        };
        add(current_.empty() ? own_name_ + ": nobody to talk to yet; /peers, /connect NAME, /join ROOM, /help"
                             : link());
        const auto last = marks_.find(current_);
        if (last != marks_.end() && last->second.seq > 0) add(mark_text(last->second));
        add(typing_text());
        add(unread_text());
        if (!tracker_trouble_.empty()) add("tracker: " + tracker_trouble_);
        if (transfers_.empty()) return printable(out);

        constexpr std::size_t least_bar = 40;
        const std::size_t used = display_width(printable(out)) + 3;
        const progress& newest = transfers_.rbegin()->second;
        if (used + least_bar > columns) return progress_line(newest, columns);
        return printable(out) + " · " + progress_line(newest, columns - used);
    }

private:
    /// The newest own message of a conversation, and what the others told. That they have it can be heard before we
    /// know its number, so both are kept.
    struct mark {
        std::uint64_t seq = 0;
        std::array<std::uint64_t, 4> reached{};  ///< by delivery: all up to this number
        std::map<std::string, std::uint64_t> read_by;

        delivery state() const {
            for (const delivery one : {delivery::read, delivery::delivered, delivery::sent}) {
                if (reached[static_cast<std::size_t>(one)] >= seq) return one;
            }
            return delivery::kept;
        }
        std::set<std::string> readers() const {
            std::set<std::string> out;
            for (const auto& [name, up_to] : read_by) {
                if (up_to >= seq) out.insert(name);
            }
            return out;
        }
        void reach(std::uint64_t up_to, delivery state) {
            for (std::size_t i = 0; i <= static_cast<std::size_t>(state); ++i) reached[i] = std::max(reached[i], up_to);
        }
    };
    struct peer_state {
        bool connected = false;
        bool verified = false;
        std::string presence;
    };
    static constexpr std::size_t most_offers = 1000;

    std::uint64_t own_shown(const std::string& with) const {
        const auto found = marks_.find(with);
        return found == marks_.end() ? 0 : found->second.seq;
    }

    // ---- the status row ----

    std::string link() const {
        if (current_.starts_with('#')) return current_;
        const auto found = peers_.find(current_);
        if (found == peers_.end() || !found->second.connected) return current_ + " is not connected";
        const peer_state& peer = found->second;
        std::string out = current_ + (peer.verified ? " verified" : " connected");
        if (!peer.presence.empty() && peer.presence != "online") out += ", " + peer.presence;
        return out;
    }

    std::string mark_text(const mark& last) const {
        const bool room = current_.starts_with('#');
        const delivery state = last.state();
        if (!room || state != delivery::read) return std::string(mark_of(state));
        return "✓✓ read by " + names_text(last.readers());
    }

    static std::string names_text(const std::set<std::string>& names) {
        constexpr std::size_t most = 3;
        if (names.size() > most) return std::to_string(names.size());
        std::string out;
        for (const std::string& one : names) out += (out.empty() ? "" : ", ") + one;
        return out;
    }

    std::string typing_text() const {
        const auto found = typing_.find(current_);
        if (found == typing_.end() || found->second.empty()) return {};
        return names_text(found->second) + (found->second.size() == 1 ? " is typing…" : " are typing…");
    }

    std::string unread_text() const {
        std::string out;
        for (const auto& [with, count] : unread_) {
            out += (out.empty() ? "unread: " : ", ") + with + " " + std::to_string(count);
        }
        return out;
    }

    // ---- events: each returns the lines that it adds ----

    std::string at(std::int64_t now_ms, const std::string& text) const {
        return paint_.dim(clock_text(now_ms, now_ms) + " -- " + printable(text)) + "\n";
    }

    std::string on(const chat_event::message& e, std::int64_t now_ms) {
        const shown_message& what = e.what;
        if (what.own) return show_own(what, now_ms);
        if (const auto writing = typing_.find(what.with); writing != typing_.end()) writing->second.erase(what.from);
        if (live_ && current_.empty()) current_ = what.with;
        if (what.with != current_) ++unread_[what.with];
        return message_text(what, paint_, now_ms, columns_);
    }
    std::string on(const chat_event::receipt& e, std::int64_t) {
        mark& last = marks_[e.with];
        last.reach(e.up_to.seq, e.state);
        if (e.state == delivery::read) last.read_by[e.by] = std::max(last.read_by[e.by], e.up_to.seq);
        return {};
    }
    std::string on(const chat_event::typing& e, std::int64_t) {
        if (e.on) {
            typing_[e.with].insert(e.who);
        } else if (const auto found = typing_.find(e.with); found != typing_.end()) {
            found->second.erase(e.who);
        }
        return {};
    }
    std::string on(const chat_event::peer_connected& e, std::int64_t now_ms) {
        peers_[e.name] = {true, e.verified, {}};
        return at(now_ms, e.name + " is connected, " +
                              (e.verified ? "verified" : "not verified (compare numbers: /verify " + e.name + ")"));
    }
    std::string on(const chat_event::peer_disconnected& e, std::int64_t now_ms) {
        peers_[e.name].connected = false;
        for (auto& [with, who] : typing_) who.erase(e.name);
        return at(now_ms, e.name + " is gone" + (e.reason ? ": " + e.reason.message() : ""));
    }
    std::string on(const chat_event::presence& e, std::int64_t now_ms) {
        std::string& known = peers_[e.name].presence;
        // That somebody is online is told by the link already.
        const bool told = known == e.state || (known.empty() && e.state == "online");
        known = e.state;
        return told ? "" : at(now_ms, e.name + " is " + e.state);
    }
    std::string on(const chat_event::member_joined& e, std::int64_t now_ms) {
        return at(now_ms, e.name + " came into " + e.room);
    }
    std::string on(const chat_event::member_left& e, std::int64_t now_ms) {
        if (const auto found = typing_.find(e.room); found != typing_.end()) found->second.erase(e.name);
        return at(now_ms, e.name + " left " + e.room);
    }
    std::string on(const chat_event::identity_changed& e, std::int64_t) {
        return (live_ ? "\a" : "") + identity_alarm(e, paint_);
    }
    std::string on(const chat_event::file_offered& e, std::int64_t now_ms) {
        if (e.from == own_name_) return offered(e.id, e.with, e.file_name, e.size);
        if (find_offer(e.with, e.id) != nullptr) return {};
        if (!remember({e.id, e.with, e.file_name, e.size})) return show_error(e.from + " offers too many files");
        const std::string number = std::to_string(offers_.back().number);
        const std::string where = e.with == e.from ? "" : printable(e.with) + " ";
        return paint_.dim(clock_text(now_ms, now_ms) + " " + where) + paint_.name(e.from) + " offers " +
               printable(e.file_name) + " (" + human_size(e.size) + "): /accept " + number + " or /refuse " + number +
               "\n";
    }
    std::string on(const chat_event::file_progress& e, std::int64_t now_ms) {
        const bool news = !transfers_.contains({e.with, e.id});
        if (news && transfers_.size() >= most_offers) return {};
        progress& state = transfers_[{e.with, e.id}];
        const unsigned before = news ? 0 : state.percent();
        state = {file_name(e.with, e.id), e.done, e.total, e.rate, e.with};
        const bool step = state.percent() / 10 > before / 10;
        return live_ || !step ? "" : at(now_ms, progress_sentence(state));
    }
    std::string on(const chat_event::file_done& e, std::int64_t now_ms) {
        transfers_.erase({e.with, e.id});
        offer* const known = find_offer(e.with, e.id);
        if (known != nullptr) known->open = false;  // also where nobody was asked
        if (known != nullptr && known->own) return at(now_ms, e.with + " has " + known->file_name);
        return at(now_ms, "the file is here: " + e.path);
    }
    std::string on(const chat_event::file_failed& e, std::int64_t) {
        transfers_.erase({e.with, e.id});
        reopen_offer(e.with, e.id);  // maybe into another folder
        return show_error("!! " + file_name(e.with, e.id) + ": " + e.reason);
    }
    /// Where there would be too many, the oldest that is settled is forgotten; false if none is. The others keep their
    /// numbers.
    bool remember(offer one) {
        if (offers_.size() >= most_offers) {
            const auto settled = std::find_if(offers_.begin(), offers_.end(), [this](const offer& old) {
                return !old.open && !transfers_.contains({old.with, old.id});
            });
            if (settled == offers_.end()) return false;
            offers_.erase(settled);
        }
        one.number = ++last_number_;
        offers_.push_back(std::move(one));
        return true;
    }
    std::string file_name(const std::string& with, const message_id& id) {
        const offer* const known = find_offer(with, id);
        return known != nullptr ? known->file_name : "file";
    }
    std::string on(const chat_event::tracker_state& e, std::int64_t now_ms) {
        const bool was_fine = tracker_trouble_.empty();
        tracker_trouble_ = e.reachable ? "" : e.reason.empty() ? "cannot be reached" : e.reason;
        if (e.reachable == was_fine) return {};
        return at(now_ms, e.reachable ? "the tracker answers again" : "the tracker does not answer: " + e.reason);
    }
    std::string on(const chat_event::warning& e, std::int64_t) { return show_error("!! " + e.text); }

    std::string own_name_;
    bool live_;
    painter paint_;
    std::size_t columns_ = 0;
    std::string current_;
    std::map<std::string, mark> marks_;
    std::map<std::string, peer_state> peers_;
    std::map<std::string, std::set<std::string>> typing_;
    std::map<std::string, std::uint64_t> unread_;
    std::vector<offer> offers_;
    std::size_t last_number_ = 0;  ///< of an offer
    std::map<std::pair<std::string, message_id>, progress> transfers_;
    std::string tracker_trouble_;
};

}  // namespace cohort::examples
