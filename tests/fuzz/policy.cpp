// Who gets what, whom to dial, what is new: deciders under a script of events and of times that never go back.

#include <set>

#include <cohort/policy/chat_timeline.hpp>
#include <cohort/policy/choker.hpp>
#include <cohort/policy/peer_list.hpp>
#include <cohort/policy/swarm_gossip.hpp>
#include <cohort/policy/token_bucket.hpp>

#include "fuzz/people.hpp"
#include "fuzz/targets.hpp"

namespace cohort::fuzz {

namespace {

void check_choker(byte_view input) {
    script from(input);
    const choker_options options{.unchoke_slots = from.below(5), .optimistic_slots = from.below(3)};
    choker deciding(options);
    random_engine random(from.byte());
    time_point now{};
    std::vector<choke_candidate> peers;
    for (int rounds = 0; rounds < 40 && !from.done(); ++rounds) {
        now += std::chrono::seconds(from.below(40));
        if (from.flag() && peers.size() < 16) {
            const auto key = static_cast<peer_key>(rounds);
            peers.push_back({.key = key, .connected_since = now});
        }
        for (choke_candidate& peer : peers) {
            const std::uint8_t what = from.byte();
            peer.interested = what % 4 != 0;
            peer.snubbed = what % 5 == 0;
            peer.download_rate = what / 16;
            peer.uploaded_since_unchoke += std::uint64_t{what} << 18;
        }
        const std::vector<peer_key> chosen = deciding.rechoke(peers, from.flag(), now, random);
        const std::set<peer_key> slots(chosen.begin(), chosen.end());
        require(slots.size() == chosen.size(), "nobody has two slots");
        std::size_t interested = 0;
        for (choke_candidate& peer : peers) {
            interested += peer.interested;
            const bool in = slots.contains(peer.key);
            require(!in || peer.interested, "who wants nothing gets no slot");
            if (in && !peer.unchoked_now) peer.unchoked_since = now;
            if (in && !peer.unchoked_now) peer.uploaded_since_unchoke = 0;
            peer.unchoked_now = in;
        }
        require(chosen.size() == std::min(interested, options.unchoke_slots + options.optimistic_slots),
                "every slot is used while somebody wants one");
    }
}

void check_token_bucket(byte_view input) {
    script from(input);
    const std::uint64_t rate = std::uint64_t{1} + from.number<std::uint32_t>();
    const std::uint64_t burst = std::uint64_t{1} + from.number<std::uint32_t>();
    token_bucket bucket(rate, burst);
    const time_point start{};
    time_point now = start;
    double granted = 0;
    while (!from.done()) {
        now += std::chrono::microseconds(from.number<std::uint32_t>());
        const std::uint64_t bytes = from.number<std::uint32_t>();
        const duration wait = bucket.wait(bytes, now);
        require(wait >= duration::zero() && wait <= 24h + 1s, "a wait that ends");
        const bool at_once = wait == duration::zero();
        if (wait < 1h && from.flag()) now += wait;
        const bool waited = at_once || wait == duration::zero();
        const std::uint64_t got = bucket.take(bytes, now);
        require(got <= bytes && (!waited || got >= std::min(bytes, burst)), "after the wait it passes");
        granted += static_cast<double>(got);
        const double most = static_cast<double>(burst) + static_cast<double>(rate) * to_seconds(now - start);
        require(granted <= most * (1 + 1e-9) + 1, "never more than rate and burst allow");
    }
}

endpoint some_endpoint(script& from) {
    const std::uint8_t what = from.byte();
    const std::uint16_t port = static_cast<std::uint16_t>(what % 4 == 0 ? 0 : 6880 + what / 64);
    constexpr std::uint32_t hosts[] = {0x0a000001, 0x0a000002, 0x7f000001, 0xe0000001,
                                       0,          0xffffffff, 0x0a000003, 0x0a000004};
    return {ip_address::v4(hosts[what / 4 % 8]), port};
}

void check_peer_list(byte_view input) {
    script from(input);
    const peer_list_options options{.max_peers = 6, .max_per_address = 2, .max_banned = 3, .max_failures = 2};
    peer_list list(options);
    random_engine random(from.byte());
    time_point now{};
    std::size_t by_hand = 0;
    while (!from.done()) {
        now += std::chrono::seconds(from.byte());
        const endpoint peer = some_endpoint(from);
        switch (from.byte() % 8) {
        case 0: by_hand += list.add(peer, peer_source::user, now); break;
        case 1: list.add(peer, static_cast<peer_source>(from.below(3)), now); break;
        case 2: list.exclude(peer); break;
        case 3: list.ban(peer.address); break;
        case 4: list.failed(peer, now); break;
        case 5: list.closed(peer, now); break;
        case 6: list.connected(peer, now); break;
        default: {
            const auto next = list.next_to_dial(now, random);
            if (!next) break;
            require(list.contains(*next) && !list.is_banned(next->address), "who is banned is not dialled");
            require(next->port != 0 && !next->address.is_unspecified() && !next->address.is_multicast(),
                    "what is dialled can be");
            list.dialled(*next);
            const auto other = list.next_to_dial(now, random);
            require(!other || *other != *next, "nobody is dialled twice at once");
            require(!other || other->address != next->address || next->address.is_loopback(),
                    "one port of an address at a time");
        }
        }
        require(list.size() <= options.max_peers + by_hand && list.banned_count() <= options.max_banned,
                "what is kept is bounded");
    }
}

/// One author's entries; each is ahead of the one before.
std::vector<signed_entry> said_by(const identity& author, const conversation_id& room, const std::string& in_room,
                                  int count) {
    std::vector<signed_entry> out;
    chat_entry next;
    next.conversation = room;
    next.body = chat::room_join{in_room, "somebody"};
    for (int i = 0; i < count; ++i) {
        std::error_code ec;
        out.push_back(*signed_entry::make(next, author, ec));
        next.prev = out.back().hash();
        next.body = chat::text{"text " + std::to_string(i)};
        next.seq += 1;
        next.clock += 1 + author.key().bytes[0] % 3;
    }
    return out;
}

void check_swarm_gossip(byte_view input) {
    static const std::vector<signed_entry> entries = [] {
        const info_hash hash{};
        std::vector<signed_entry> out;
        for (std::size_t author = 0; author < 3; ++author) {
            const auto more = said_by(person(author), room_conversation(swarm_room(hash)), swarm_room(hash), 80);
            out.insert(out.end(), more.begin(), more.end());
        }
        return out;
    }();
    script from(input);
    swarm_gossip gossip(info_hash{});
    std::set<std::size_t> taken;
    time_point now{};
    for (int steps = 0; steps < 200 && !from.done(); ++steps) {
        now += std::chrono::milliseconds(from.byte());
        const std::size_t which = from.byte() % entries.size();
        std::error_code ec;
        const byte_vector come = altered(entries[which].bytes(), from);
        const auto entry = signed_entry::parse(come, ec);
        if (!entry) continue;
        const gossip_verdict verdict = gossip.take(*entry, now);
        const bool good = verdict == gossip_verdict::fresh || verdict == gossip_verdict::name;
        require(!good || *entry == entries[which], "nothing forged is taken");
        require(!good || taken.insert(which).second, "nothing is new twice");
    }
    require(gossip.recent().size() <= gossip_limits::recent && gossip.authors() <= 3, "what is kept is bounded");
    for (std::size_t author = 0; author < 3; ++author)
        require(gossip.name_of(person(author).key()).empty() != taken.contains(author * 80),
                "names are those introduced");
}

void check_chat_timeline(byte_view input) {
    static const std::vector<signed_entry> entries = [] {
        std::vector<signed_entry> out;
        for (std::size_t author = 0; author < 3; ++author) {
            const auto more = said_by(person(author), room_conversation("room"), "room", 8);
            out.insert(out.end(), more.begin(), more.end());
        }
        return out;
    }();
    script from(input);
    const timeline_options options{.anchors = from.flag(), .max_ahead = 6};
    std::array<chat_timeline, 2> sides{chat_timeline(options), chat_timeline(options)};
    const auto take = [](chat_timeline& side, const signed_entry& entry) {
        const add_answer expected = side.check(entry.entry(), entry.hash());
        const std::size_t before = side.size();
        const add_answer answer = side.add(entry, side.size());
        require(answer.result == expected.result && answer.missing == expected.missing, "check() says what add() will");
        require(side.size() == before + (answer.result == add_result::added), "what is added is there");
        require(answer.result != add_result::contradicts && answer.result != add_result::full, "nobody lied");
    };
    for (int steps = 0; steps < 200 && !from.done(); ++steps) {
        chat_timeline& side = sides[from.flag()];
        const std::uint8_t what = from.byte();
        if (what < 240) {
            take(side, entries[what % entries.size()]);
        } else if (what < 248) {
            side.stored(side.size() - from.below(static_cast<std::uint32_t>(side.size()) + 1));
        } else {
            const std::uint64_t kept = std::min<std::uint64_t>(side.stored(), side.size());
            side.forget_unstored();
            require(side.size() == kept, "what is not stored is taken back");
        }
    }
    for (chat_timeline& side : sides) side.stored(side.size());
    // Both tell each other what the other lacks, until nobody has anything to tell.
    for (bool news = true; news;) {
        news = false;
        for (const std::size_t giver : {0U, 1U}) {
            chat_timeline& to = sides[1 - giver];
            require(sides[giver].contradictions(to.heads()).empty(), "nobody lied");
            for (const timeline_entry& lacked : sides[giver].lacking(to.heads(), 5)) {
                for (const signed_entry& entry : entries) {
                    const std::size_t before = to.size();
                    if (entry.hash() == lacked.hash) take(to, entry);
                    news = news || to.size() != before;
                }
            }
            to.stored(to.size());
        }
    }
    const auto end = sides[0].page_before(std::nullopt, 100);
    require(end.size() == sides[0].size(), "a page holds all");
    for (std::size_t i = 1; i < end.size(); ++i) require(end[i - 1].order < end[i].order, "entries are in order");
    if (options.anchors) return;  // then each has the end of a chain, and the beginnings may differ
    const auto other = sides[1].page_before(std::nullopt, 100);
    require(std::equal(end.begin(), end.end(), other.begin(), other.end(),
                       [](const auto& a, const auto& b) { return a.order == b.order && a.hash == b.hash; }),
            "both have the same in the same order");
}

constexpr target table[] = {
    {"choker", check_choker, 512},
    {"token_bucket", check_token_bucket, 512},
    {"peer_list", check_peer_list, 512},
    {"swarm_gossip", check_swarm_gossip, 512},
    {"chat_timeline", check_chat_timeline, 512},
};

}  // namespace

std::span<const target> policy_targets() { return table; }

}  // namespace cohort::fuzz
