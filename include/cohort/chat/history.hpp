// Reading a conversation: pages of what was said, and what our user has seen of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <cohort/chat/exchange.hpp>

namespace cohort::chat {

/// Completes with the last `limit` messages, or those before `before`, the earliest first. Throws errc::unknown_peer if
/// there is no such message, errc::log_damaged, errc::stopped if the archive ends first. What it is given outlives it.
inline asio::awaitable<std::vector<shown_message>> read_history(archive& kept, const exchange& talk, conversation& in,
                                                                std::size_t limit, std::optional<message_id> before) {
    std::optional<entry_order> place;
    if (before) {
        const auto found = in.timeline.find(before->author, before->seq);
        if (!found) raise(errc::unknown_peer, "no such message");
        place = found->order;
    }
    std::vector<shown_message> latest_first;
    // Comings and goings count as entries, but are no messages: more is read until there are enough.
    while (latest_first.size() < limit) {
        auto page = in.timeline.page_before(place, std::min<std::size_t>(limit, 256));
        if (page.empty()) break;
        place = page.front().order;
        std::reverse(page.begin(), page.end());
        for (const timeline_entry& one : page) {
            const signed_entry entry = co_await kept.entry_at(in, one.position);
            const bool said = std::holds_alternative<text>(entry.entry().body);
            if (said && latest_first.size() < limit) latest_first.push_back(talk.shown(in, entry.entry()));
        }
    }
    std::reverse(latest_first.begin(), latest_first.end());
    co_return latest_first;
}

/// Our user has seen all that is there, which its authors are told.
inline void mark_seen(conversation& in, const identity_key& self, const links& linked) {
    for (const head& one : in.timeline.heads()) {
        std::uint64_t& seen = in.seen[one.author];
        if (one.author == self || one.seq <= seen) continue;
        seen = one.seq;
        in.queue(mark_record(record_kind::seen, one.author, seen));
        if (const auto to = linked.find(one.author)) to->post(read{in.id, {{one.author, seen}}});
    }
}

/// Entries of others that our user has not seen.
inline std::size_t unread_in(const conversation& in, const identity_key& self) {
    std::size_t out = 0;
    for (const head& one : in.timeline.heads()) {
        const auto seen = in.seen.find(one.author);
        if (one.author != self) out += one.seq - (seen == in.seen.end() ? 0 : std::min(seen->second, one.seq));
    }
    return out;
}

}  // namespace cohort::chat
