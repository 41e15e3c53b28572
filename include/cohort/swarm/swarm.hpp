// The connected peers of one torrent: a conversation each, and what they have in common.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/beside.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/policy/peer_list.hpp>
#include <cohort/protocol/metainfo.hpp>
#include <cohort/swarm/content.hpp>
#include <cohort/swarm/culprits.hpp>
#include <cohort/swarm/download.hpp>
#include <cohort/swarm/events.hpp>
#include <cohort/swarm/extensions.hpp>
#include <cohort/swarm/peer.hpp>
#include <cohort/swarm/peer_totals.hpp>
#include <cohort/swarm/super_seeder.hpp>
#include <cohort/swarm/upload.hpp>

namespace cohort {

struct swarm_options {
    std::size_t max_peers = 200;
    picker_options picking;
    upload_options uploading;
    std::uint64_t download_limit = 0;  ///< bytes a second over all peers; 0: none
    bool super_seeding = false;        ///< while we have everything: see super_seeding.hpp
};

class swarm {
public:
    struct handlers {
        std::function<void(torrent_event)> on_event;
        std::function<void()> on_completed;                  ///< the last wanted piece was verified
        std::function<void()> on_change;                     ///< a peer came or went
        std::function<void(std::exception_ptr)> on_failure;  ///< memory ran out: nothing more comes of this swarm
    };

    /// `known` are the addresses of the torrent; `listen_port` is told to peers.
    /// `totals` go on from an earlier life of the torrent.
    swarm(network& net, std::shared_ptr<const metainfo> info, peer_id ours, std::uint16_t listen_port,
          const swarm_options& options, peer_list& known, totals_by_peer& totals, handlers h);

    const download& downloads() const { return download_; }
    piece_picker& picker() { return download_.picker(); }
    const piece_picker& picker() const { return download_.picker(); }
    const upload& uploads() const { return upload_; }
    const peer_table& peers() const { return peers_; }
    bool full() const { return peers_.size() >= options_.max_peers; }

    /// Blocks come from and go to these files from now on; null while there are none.
    void use(content* files) {
        content_ = files;
        download_.use(files);
        upload_.use(files);
    }

    /// To be spoken with peers that speak it too. Before any comes; `one` outlives the swarm.
    void speak(swarm_extension& one) { extensions_.add(one); }

    /// Our side of a handshake for this torrent.
    handshake greeting() const {
        handshake ours;
        ours.hash = info_->hash;
        ours.id = id_;
        ours.fast = true;
        ours.extension_protocol = true;
        return ours;
    }

    /// A peer whose handshake is over, to converse() with.
    std::unique_ptr<peer> meet(std::unique_ptr<peer_connection> link, const handshake& theirs, bool incoming) {
        link->begin(info_->layout(), theirs.fast);
        if (options_.download_limit > 0) link->read_at_most(options_.download_limit / limited_reads);
        return std::make_unique<peer>(totals_.next_key(), std::move(link), theirs, incoming, net_.now());
    }

    /// Talks with a peer until one side has enough. Completes with the reason; throws nothing but bugs. Cancelling ends
    /// the conversation.
    asio::awaitable<void> converse(std::unique_ptr<peer> newcomer);

    /// Once a second: time-outs, keep-alives, and every ten seconds a round of choking.
    void tick() {
        change([this] { look_after_peers(); });
    }

    /// Changes the priorities of pieces, and looks anew at who has what we want.
    void set_priorities(const std::vector<std::uint8_t>& wishes) {
        change([&] {
            for (piece_index piece = 0; piece < wishes.size(); ++piece) picker().set_priority(piece, wishes[piece]);
            download_.wants_changed();
        });
    }

    /// What became of a piece that the content has hashed.
    void on_verdict(const piece_verdict& verdict);

private:
    /// Bounds of peer_connection::partial() and of silence: an unfinished message for two minutes, or nothing but
    /// keep-alives for ten (adversaries A07, A24 in tests/README.md).
    static constexpr duration stuck_after = 120s;
    static constexpr duration inactive_after = 600s;
    /// The same where one side only waits for the other to unchoke it: where a seeder's line is slow and long, a turn
    /// comes after many times ten minutes, and who leaves goes to the end.
    static constexpr duration inactive_in_line_after = 3600s;
    static constexpr duration keep_alive_interval = 100s;  // BEP 3: two minutes at most
    static constexpr duration rechoke_interval = 10s;      // BEP 3
    /// What was queued quietly waits for so many ticks at most.
    static constexpr std::uint64_t quiet_turns = 3;
    /// Reads a second, at least, that use up the download limit: peers wait for their turn.
    static constexpr std::uint64_t limited_reads = 32;
    /// Two connections between the same peers that began closer together than this were dialled from both sides.
    static constexpr duration crossing = 10s;
    /// Requests that we take of one peer, told to it (BEP 10 `reqq`).
    static constexpr std::uint32_t request_queue = 2000;
    static constexpr std::ptrdiff_t most_of_a_network = 8;

    /// All changes to what conversations have in common. One that memory does not suffice for leaves it contradicting
    /// itself: then it was the last.
    template <class Change>
    void change(Change what) {
        if (broken_) return;
        try {
            what();
        } catch (const std::bad_alloc&) {
            broken_ = true;
            handlers_.on_failure(std::current_exception());
        }
    }

    void look_after_peers();
    bool welcome(const peer& newcomer);
    bool replaces(const peer& newcomer, const peer& twin) const;
    bool crowded(const ip_address& address) const;
    void call_at(peer& p, const endpoint& address);
    void enter(peer& newcomer);
    void introduce(peer& to);
    void leave(peer& gone, std::error_code reason);
    asio::awaitable<void> read_from(peer& from);
    asio::awaitable<void> write_to(peer& to);
    void handle(peer& from, const wire::message& message, const message_batch& batch);
    void on_extended(peer& from, const wire::extended& message);
    void end(peer& p, std::error_code reason);
    bool nothing_to_do_with(const peer& p) const {
        return p.state().has.all() && picker().have().all() && !p.state().has.none() && !extensions_.hold(p);
    }

    void on_verified(piece_index piece);
    void on_failed(piece_index piece, const std::vector<peer_key>& contributors, const piece_verdict& verdict);
    void ban(const std::vector<endpoint>& guilty);

    network& net_;
    std::shared_ptr<const metainfo> info_;
    peer_id id_;
    std::uint16_t listen_port_;
    swarm_options options_;
    peer_list& known_;
    handlers handlers_;
    peer_table peers_;
    swarm_extensions extensions_;
    download download_;
    upload upload_;
    super_seeder sparing_;
    token_bucket download_limit_;
    content* content_ = nullptr;
    bool broken_ = false;
    totals_by_peer& totals_;
    culprits culprits_;
    time_point next_rechoke_{};
    std::uint64_t ticks_ = 0;
};

inline swarm::swarm(network& net, std::shared_ptr<const metainfo> info, peer_id ours, std::uint16_t listen_port,
                    const swarm_options& options, peer_list& known, totals_by_peer& totals, handlers h)
    : net_(net),
      info_(std::move(info)),
      id_(ours),
      listen_port_(listen_port),
      options_(options),
      known_(known),
      handlers_(std::move(h)),
      download_(net, info_->layout(), peers_, options.picking,
                {[this](piece_index piece) { on_verified(piece); },
                 [this](piece_index piece, const std::vector<peer_key>& contributors, const piece_verdict& verdict) {
                     on_failed(piece, contributors, verdict);
                 }}),
      upload_(net, info_->layout(), download_.picker().have(), peers_, options.uploading),
      sparing_(net, download_.picker(), peers_, info_->layout().piece_count(), options.super_seeding),
      download_limit_(options.download_limit),
      totals_(totals),
      culprits_(known, totals, peers_) {}

// One conversation

inline asio::awaitable<void> swarm::converse(std::unique_ptr<peer> newcomer) {
    peer& self = *newcomer;
    std::optional<task_group> writing;
    std::error_code reason;
    try {
        if (!welcome(self)) co_return;
        enter(self);
        writing.emplace(net_.executor());
        writing->admit(write_to(self));
        co_await read_from(self);
    } catch (...) {
        const std::error_code why = caught_error();
        reason = self.leaving ? self.leaving : why;
    }
    self.connection->close();
    leave(self, is_cancellation(reason) ? make_error_code(errc::stopped) : reason);
    if (!writing) co_return;
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    writing->cancel();
    co_await writing->join();
}

/// Whether the peer is taken; otherwise its address is dealt with.
inline bool swarm::welcome(const peer& newcomer) {
    const auto twin =
        std::find_if(peers_.begin(), peers_.end(), [&](const auto& entry) { return entry.second->id == newcomer.id; });
    const bool successor = twin != peers_.end() && replaces(newcomer, *twin->second);
    const bool room = successor || (!full() && !crowded(newcomer.address.address));
    if (newcomer.id == id_) {
        known_.exclude(newcomer.address);
    } else if (twin != peers_.end() && !successor) {
        // The address that we dialled is where the peer that we have listens.
        if (!newcomer.incoming) call_at(*twin->second, newcomer.address);
    } else if (content_ == nullptr || !room || culprits_.is_banned(newcomer)) {
        known_.failed(newcomer.address, net_.now());
    } else {
        if (successor) end(*twin->second, errc::duplicate_peer);
        return true;
    }
    return false;
}

/// Of two connections with one peer the older stays; but when both sides dialled at the same time, both must keep the
/// same one, and it is that of the side with the greater id.
inline bool swarm::replaces(const peer& newcomer, const peer& twin) const {
    const bool crossed = newcomer.incoming != twin.incoming && newcomer.connected_at - twin.connected_at < crossing;
    const bool dialled_by_greater = newcomer.incoming == (newcomer.id > id_);
    return crossed && dialled_by_greater;
}

/// One connection an address, and a few a network, as one stranger can open a thousand and has 2^64 addresses; but this
/// machine may talk to itself.
inline bool swarm::crowded(const ip_address& address) const {
    if (address.is_loopback()) return false;
    std::ptrdiff_t neighbours = 0;
    for (const auto& [key, p] : peers_) {
        if (p->address.address == address) return true;
        neighbours += p->address.address.network() == address.network() ? 1 : 0;
    }
    return neighbours >= most_of_a_network;
}

/// The peer is not to be dialled there while it is here.
inline void swarm::call_at(peer& p, const endpoint& address) {
    if (p.add_name(address)) {
        known_.connected(address, net_.now());
    } else {
        known_.failed(address, net_.now());
    }
}

inline void swarm::enter(peer& newcomer) {
    if (!newcomer.incoming) call_at(newcomer, newcomer.address);
    peers_.emplace(newcomer.key, &newcomer);
    handlers_.on_event(event::peer_connected{newcomer.address, newcomer.id, newcomer.incoming});
    introduce(newcomer);
}

/// What we say first: who we are (BEP 10) and what we have (BEP 3, 6).
inline void swarm::introduce(peer& to) {
    if (to.extension_protocol) extensions_.greet(to, listen_port_, request_queue);
    const bitfield& have = picker().have();
    const bool hide = sparing_.active();
    if (to.state().fast() && have.all() && !hide) {
        to.connection->queue(wire::have_all{});
    } else if (to.state().fast() && (have.none() || hide)) {
        to.connection->queue(wire::have_none{});
    } else if (!have.none() && !hide) {
        to.connection->queue(wire::bitfield{have.bytes()});
    }
    sparing_.entered(to);
}

inline void swarm::leave(peer& gone, std::error_code reason) {
    const bool was_here = peers_.erase(gone.key) > 0;
    const auto close = [&](const endpoint& name) {
        // Of two connections with one peer the other may go on.
        const bool last =
            std::none_of(peers_.begin(), peers_.end(), [&](const auto& entry) { return entry.second->has_name(name); });
        if (last) known_.closed(name, net_.now());
    };
    if (gone.listens_at) close(*gone.listens_at);
    for (const endpoint& name : gone.other_names) close(name);
    if (!was_here) return;
    extensions_.left(gone);
    change([&] {
        download_.left(gone);
        sparing_.left(gone);
        totals_.gone(gone);
        upload_.fill_slots();
        handlers_.on_event(event::peer_disconnected{gone.address, reason, gone.download.total(), gone.upload.total()});
        handlers_.on_change();
    });
}

/// What was read is paid for afterwards: until the debt that it leaves is earned the peer is not read again. So they
/// take turns, however many there are, and are together no faster than the limit.
inline asio::awaitable<void> swarm::read_from(peer& from) {
    for (;;) {
        from.pause(net_.now());
        const duration debt = download_limit_.wait(0, net_.now());
        if (debt > duration::zero()) co_await beside(from.connection->closed(), net_.sleep_for(debt));
        if (content_ == nullptr) raise(errc::stopped);
        co_await content_->room();
        from.resume(net_.now());
        co_await from.connection->room();
        const message_batch batch = co_await from.connection->receive();
        download_limit_.spend(batch.bytes, net_.now());
        const auto take = [&] {
            for (const wire::message& message : batch.messages) handle(from, message, batch);
            download_.end_of_batch(from);
        };
        change(take);
        if (broken_) raise(errc::stopped);
        if (from.leaving) raise(from.leaving);
    }
}

inline asio::awaitable<void> swarm::write_to(peer& to) {
    try {
        for (;;) {
            const duration wait = upload_.fill(to);
            if (!to.connection->nothing_queued()) {
                to.last_sent = net_.now();
                co_await to.connection->flush();
            } else if (wait > duration::zero()) {
                // Other messages wait for no longer than this.
                co_await net_.sleep_for(std::min<duration>(wait, 250ms));
            } else {
                co_await to.connection->wait_for_outgoing();
            }
        }
    } catch (...) {
        const std::error_code why = caught_error();
        if (!is_cancellation(why)) end(to, why);
        if (why == errc::file_changed && content_ != nullptr) {
            change([this] { content_->shrunk(); });
        }
    }
}

/// The reading coroutine finds its stream closed and leaves with the reason.
inline void swarm::end(peer& p, std::error_code reason) {
    if (!p.leaving) p.leaving = reason;
    p.connection->close();
}

inline void swarm::handle(peer& from, const wire::message& message, const message_batch& batch) {
    if (const auto* const piece = std::get_if<wire::piece>(&message)) {
        from.last_message = net_.now();
        download_.on_block(from, *piece, batch.memory);
        return;
    }
    const std::uint32_t had = from.state().has.count();
    const bool late = std::holds_alternative<wire::bitfield>(message) && from.state().pieces_known();
    const bitfield before = late ? from.state().has : bitfield();
    if (const std::error_code violation = from.state().apply(message)) raise(violation);
    if (!std::holds_alternative<wire::keep_alive>(message)) from.last_message = net_.now();

    if (const auto* const request = std::get_if<wire::request>(&message)) {
        upload_.on_request(from, request->range);
    } else if (const auto* const cancel = std::get_if<wire::cancel>(&message)) {
        upload_.on_cancel(from, cancel->range);
    } else if (const auto* const have = std::get_if<wire::have>(&message)) {
        if (from.state().has.count() != had) {
            download_.on_have(from, have->piece);
            sparing_.on_have(from, have->piece);
        }
    } else if (late) {
        download_.on_more_pieces(from, before);
        sparing_.on_more_pieces(from, before);
    } else if (std::holds_alternative<wire::bitfield>(message) || std::holds_alternative<wire::have_all>(message)) {
        download_.on_pieces(from);
        sparing_.on_pieces(from);
    } else if (std::holds_alternative<wire::interested>(message)) {
        upload_.on_interested(from);
    } else if (std::holds_alternative<wire::not_interested>(message)) {
        upload_.on_not_interested(from);
    } else if (std::holds_alternative<wire::choke>(message)) {
        download_.on_choke(from);
    } else if (const auto* const reject = std::get_if<wire::reject>(&message)) {
        download_.on_reject(from, reject->range);
    } else if (const auto* const extended = std::get_if<wire::extended>(&message)) {
        on_extended(from, *extended);
    }
    if (nothing_to_do_with(from)) raise(errc::peer_useless);
}

inline void swarm::on_extended(peer& from, const wire::extended& message) {
    const std::optional<std::uint16_t> port = extensions_.on_message(from, message);
    if (port && from.incoming && !from.listens_at) {
        const endpoint address{from.address.address, *port};
        known_.add(address, peer_source::incoming, net_.now());
        call_at(from, address);
    }
}

// All conversations

inline void swarm::look_after_peers() {
    const time_point now = net_.now();
    ++ticks_;
    for (const auto& [key, p] : peers_) {
        download_.tick(*p, now);
        if (p->connection->partial() == 0 || p->last_message > p->partial_since) p->partial_since = now;
        const bool stuck = now - p->partial_since > stuck_after;
        const duration patience = p->in_line() ? inactive_in_line_after : inactive_after;
        const bool silent = now - p->last_message > patience && !extensions_.hold(*p);
        if (stuck || silent) p->leaving = errc::peer_inactive;
        if (nothing_to_do_with(*p)) p->leaving = errc::peer_useless;
        if (p->leaving) end(*p, p->leaving);
        if (now - p->last_sent >= keep_alive_interval) p->connection->queue(wire::keep_alive{});
        // What may wait is said in turns: a message to everybody at once would be the work of a whole second.
        if ((ticks_ + key) % quiet_turns == 0 && !p->connection->nothing_queued()) p->connection->nudge();
    }
    sparing_.tick();
    if (now < next_rechoke_) return;
    next_rechoke_ = now + rechoke_interval;
    upload_.rechoke(picker().finished(), now);
}

inline void swarm::on_verdict(const piece_verdict& verdict) {
    change([&] {
        download_.on_verdict(verdict);
        if (verdict.passed && !verdict.blocks.empty()) ban(culprits_.passed(verdict));
    });
}

inline void swarm::on_verified(piece_index piece) {
    const bool may_unchoke = upload_.has_free_slot();
    for (const auto& [key, p] : peers_) {
        if (p->state().has.get(piece)) continue;
        // Who cannot ask us for it now, or is about to hear from us anyway, is told of several in one go: in a large
        // swarm there are many more of these messages than of any other.
        const bool can_wait = p->state().am_choking ? !may_unchoke : !p->wanted_blocks.empty();
        if (can_wait) {
            p->connection->queue_quietly(wire::have{piece});
        } else {
            p->connection->queue(wire::have{piece});
        }
    }
    handlers_.on_event(event::piece_verified{piece});
    if (picker().finished()) handlers_.on_completed();
}

inline void swarm::on_failed(piece_index piece, const std::vector<peer_key>& contributors,
                             const piece_verdict& verdict) {
    handlers_.on_event(event::piece_failed{piece});
    const std::vector<endpoint> guilty = culprits_.failed(contributors, verdict);
    if (guilty.empty()) {
        download_.want_digests(piece);
    } else {
        ban(guilty);
    }
}

inline void swarm::ban(const std::vector<endpoint>& guilty) {
    for (const endpoint& name : guilty) {
        const bool news = culprits_.ban(name);
        for (const auto& [key, p] : peers_)
            if (culprits_.is_banned(*p)) end(*p, errc::peer_banned);
        if (news) handlers_.on_event(event::peer_banned{name});
    }
}

}  // namespace cohort
