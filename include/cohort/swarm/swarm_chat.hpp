// Talk among the peers of one torrent: the extension `ct_chat` (BEP 10).
//
// A message is what chat links carry, JSON of the type `entries` (protocol/json_chat.hpp), at most 64 KiB. An entry is
// signed by its author and public: whoever has the torrent can read it. Its conversation is the room "torrent <hex of
// the info-hash>". An author's first entry is a room_join with the name; the others are texts of at most 4 KiB. Peers
// check the signature and pass a text on once, behind its author's room_join for who has not had that. Newcomers get
// the last 40 texts. Other types and kinds are ignored. Names are what people call themselves; the key tells who it is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cohort/core/error.hpp>
#include <cohort/net/network.hpp>
#include <cohort/policy/swarm_gossip.hpp>
#include <cohort/protocol/json_chat.hpp>
#include <cohort/swarm/extensions.hpp>

namespace cohort {

struct swarm_chat_options {
    std::string name = "somebody";  ///< as others see it: 1 to 64 bytes, see is_chat_name()
    /// To be known again: the secret of an identity, in one program at a time. Without, each torrent has a new one.
    std::optional<secret32> seed = {};
};

/// For torrent_options::chat, leecher_options::chat and seeder_options::chat:
///
///     cohort::leecher leecher(net, info, {.directory = "downloads", .chat = cohort::swarm_chat({.name = "alice"})});
///     leecher.torrent().say("hello");      // and event::chat_message tells what others say
///
/// Throws errc::name_invalid.
swarm_talk_maker swarm_chat(swarm_chat_options options);

namespace detail {

class swarm_chat_room final : public swarm_talk {
public:
    using listener = std::function<void(torrent_event)>;

    swarm_chat_room(network& net, const info_hash& hash, identity self, const std::string& name, listener told)
        : net_(net),
          told_(std::move(told)),
          self_(std::move(self)),
          gossip_(hash),
          // The calendar, so that numbers go on from those of an earlier run.
          last_seq_(static_cast<std::uint64_t>(std::max<std::int64_t>(net.calendar(), 2))),
          last_hash_{gossip_.room().bytes} {
        add_own(chat::room_join{swarm_room(hash), name});
    }

    std::string_view name() const override { return "ct_chat"; }

    void say(std::string_view text) override {
        if (text.size() > gossip_limits::text) raise(errc::chat_too_long);
        if (text.empty() || !is_utf8(text)) raise(errc::chat_malformed);
        if (own_.take(1, net_.now()) == 0) raise(errc::queue_full);
        pass_on(add_own(chat::text{std::string(text)}), nullptr);
    }

    void joined(peer& newcomer, std::uint8_t id) override {
        const bool held = held_ < most_held;
        if (held) ++held_;
        link& to = links_.emplace(newcomer.key, link{&newcomer, id, held, {}}).first->second;
        const auto& recent = gossip_.recent();
        for (std::size_t i = recent.size() - std::min(recent.size(), gossip_limits::backlog); i < recent.size(); ++i) {
            serialized none;
            tell(to, recent[i], none);
        }
    }

    void received(peer& from, byte_view payload) override {
        const time_point now = net_.now();
        link& by = links_.at(from.key);
        if (!by.budget.may_hear(now)) return;
        std::error_code wrong;
        std::optional<chat::message> message;
        if (payload.size() <= most_payload) message = chat::parse(as_text(payload), wrong);
        if (!message) return by.budget.punish(now);
        auto* const got = std::get_if<chat::entries>(&*message);
        if (got == nullptr) return;
        for (std::size_t i = 0; i < got->list.size(); ++i) {
            if (i > 0 && !by.budget.may_hear(now)) return;
            take(by, got->list[i], now);
        }
    }

    void left(const peer& gone) override {
        const auto found = links_.find(gone.key);
        if (found == links_.end()) return;  // there was no memory to take it in
        if (found->second.held) --held_;
        links_.erase(found);
    }

    bool holds(const peer& p) const override {
        const auto found = links_.find(p.key);
        return found != links_.end() && found->second.held;
    }

private:
    /// One peer that takes part.
    struct link {
        peer* to;
        std::uint8_t id;
        bool held;  ///< the connection stays even if no block goes over it
        gossip_link budget;
    };
    /// A text as it goes out, made when the first peer needs it.
    struct serialized {
        std::string alone, introduced;
    };
    static constexpr std::size_t most_payload = 64 * 1024;
    /// The places of others are for those who want blocks.
    static constexpr std::size_t most_held = 20;
    /// A peer that has more than this to read of us hears no more: blocks alone queue half of it.
    static constexpr std::size_t most_queued = 1024 * 1024;

    signed_entry add_own(chat::entry_body body) {
        chat_entry next;
        next.conversation = gossip_.room();
        next.seq = next.clock = ++last_seq_;
        next.time_ms = net_.calendar();
        next.prev = last_hash_;
        next.body = std::move(body);
        std::error_code wrong;
        const auto out = signed_entry::make(std::move(next), self_, wrong);
        if (!out) raise(wrong);
        last_hash_ = out->hash();
        gossip_.add_own(*out);
        return *out;
    }

    void take(link& by, const signed_entry& entry, time_point now) {
        const identity_key author = entry.entry().author;
        const gossip_verdict what = gossip_.take(entry, now);
        if (what == gossip_verdict::refused) {
            by.budget.punish(now);
        } else if (what == gossip_verdict::name) {
            by.budget.introduced(author);
        } else if (what == gossip_verdict::fresh) {
            const chat_entry& said = entry.entry();
            told_(event::chat_message{std::string(gossip_.name_of(author)),
                                      {author.bytes},
                                      std::get<chat::text>(said.body).content,
                                      said.time_ms});
            pass_on(entry, by.to);
        }
    }

    void pass_on(const signed_entry& text, const peer* from) {
        serialized once;
        for (auto& [key, to] : links_) {
            if (to.to != from) tell(to, text, once);
        }
    }

    /// What does not fit the peer's budget, or its queue, it must hear from others.
    void tell(link& to, const signed_entry& text, serialized& once) {
        const identity_key& author = text.entry().author;
        const signed_entry* const first = to.budget.knows(author) ? nullptr : gossip_.introduction(author);
        if (to.to->connection->queued_bytes() > most_queued) return;
        if (!to.budget.may_tell(first == nullptr ? 1 : 2, net_.now())) return;
        std::string& payload = first == nullptr ? once.alone : once.introduced;
        if (payload.empty()) {
            chat::entries out;
            if (first != nullptr) out.list.push_back(*first);
            out.list.push_back(text);
            payload = chat::serialize(out);
        }
        if (first != nullptr) to.budget.introduced(author);
        to.to->connection->queue(wire::extended{to.id, as_bytes(payload)});
    }

    network& net_;
    listener told_;
    identity self_;
    swarm_gossip gossip_;
    std::map<peer_key, link> links_;
    std::size_t held_ = 0;
    token_bucket own_{gossip_limits::rate_own, gossip_limits::burst_own};
    std::uint64_t last_seq_;
    sha256_digest last_hash_;
};

}  // namespace detail

inline swarm_talk_maker swarm_chat(swarm_chat_options options) {
    if (!is_chat_name(options.name)) raise(errc::name_invalid, options.name);
    return [options = std::move(options)](network& net, const info_hash& hash,
                                          std::function<void(torrent_event)> told) -> std::unique_ptr<swarm_talk> {
        identity self = options.seed ? identity(*options.seed) : identity::random(secrets_of(net));
        return std::make_unique<detail::swarm_chat_room>(net, hash, std::move(self), options.name, std::move(told));
    };
}

}  // namespace cohort
