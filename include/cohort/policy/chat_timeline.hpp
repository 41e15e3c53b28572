// One conversation: how far each author's chain goes, what is missing here or there, and the one order in which
// everybody shows the entries. What they say stays in the log; here are their places in it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include <cohort/core/ids.hpp>
#include <cohort/policy/block_list.hpp>
#include <cohort/protocol/chat_entry.hpp>
#include <cohort/protocol/chat_message.hpp>

namespace cohort {

struct timeline_options {
    bool anchors = false;              ///< an author's chain may begin anywhere: a room's history before one came
    std::size_t max_authors = 10'000;  ///< further ones are refused
    std::size_t max_entries = 10'000'000;
    std::uint64_t max_ahead = 1'000'000;  ///< a seq further than this beyond what we have is not believed
};

enum class add_result {
    added,
    known,          ///< we have this very entry
    gap,            ///< entries between it and ours are missing: ask for them, and take it again afterwards
    contradicts,    ///< the author, who signed both, said something else before: another entry of that seq, another
                    ///< predecessor, or a clock that goes back
    too_far_ahead,  ///< a seq beyond max_ahead
    full,           ///< one of the limits is reached
};

/// Entries of one author, both ends included.
struct entry_range {
    identity_key author{};
    std::uint64_t first = 0;
    std::uint64_t last = 0;

    bool operator==(const entry_range&) const = default;
};

struct add_answer {
    add_result result = add_result::added;
    entry_range missing;  ///< after a gap: what to ask for
    bool newest = false;  ///< added at the end of the order, so that it may be shown below all others
};

/// The place of an entry in the order that all members agree on.
struct entry_order {
    std::uint64_t clock = 0;
    identity_key author{};
    std::uint64_t seq = 0;

    auto operator<=>(const entry_order&) const = default;
};

/// An entry as the timeline knows it.
struct timeline_entry {
    entry_order order;
    sha256_digest hash;
    std::uint64_t position = 0;  ///< in the log
};

/// What an author's next entry begins with.
struct next_entry {
    std::uint64_t seq = 1;
    std::uint64_t clock = 1;
    sha256_digest prev;
};

/// Takes entries whose signatures were verified. Whatever the order in which they come, and however often, the same
/// entries give the same timeline. Adding costs a search; memory is about 75 bytes an entry.
///
/// Entries count as `stored` when the log has them on disk, and only those are told to others: positions must grow from
/// one add() to the next, and stored() says how far the log got.
class chat_timeline {
public:
    explicit chat_timeline(timeline_options options = {}) : options_(options) {}

    /// `position` is where the entry's content is, or will be, in the log.
    add_answer add(const chat_entry& entry, const sha256_digest& hash, std::uint64_t position);
    add_answer add(const signed_entry& entry, std::uint64_t position) {
        return add(entry.entry(), entry.hash(), position);
    }
    /// What add() would answer (but for `newest`), changing nothing.
    add_answer check(const chat_entry& entry, const sha256_digest& hash) const;

    /// The log has everything below this position on disk.
    void stored(std::uint64_t below) { stored_ = std::max(stored_, below); }
    std::uint64_t stored() const { return stored_; }
    /// Takes back what is not stored: the log could not be written. Returns how many entries that were.
    std::size_t forget_unstored();

    /// What an own entry must begin with. Before an author of some history writes again it must have all of its own
    /// chain here, or it would contradict itself.
    next_entry next_of(const identity_key& author) const;

    std::size_t size() const { return order_.size(); }
    std::size_t authors() const { return authors_.size(); }
    /// The highest clock here, 0 for none.
    std::uint64_t clock() const { return order_.empty() ? 0 : records_[order_.back()].clock; }

    std::optional<timeline_entry> find(const identity_key& author, std::uint64_t seq) const;
    /// Every author's last stored entry: what we have.
    std::vector<chat::head> heads() const;
    /// Every author's first entry here, stored or not.
    std::vector<chat::head> anchors() const;

    /// Stored entries that somebody with these heads lacks: up to `limit`, the earliest in the order first, each
    /// author's without a gap. A hash of zeros fits any entry; another hash than ours means that nothing here is of
    /// use. Of authors that the heads do not name, or with seq 0, it begins with the first entry above `after_clock`
    /// (0: the first that we have).
    std::vector<timeline_entry> lacking(std::span<const chat::head> theirs, std::size_t limit,
                                        std::uint64_t after_clock = 0) const;
    /// What we lack of theirs.
    std::vector<entry_range> wanted(std::span<const chat::head> theirs) const;
    /// Authors of whom these heads show another entry than ours: they said different things to different people.
    std::vector<identity_key> contradictions(std::span<const chat::head> theirs) const;

    /// One author's stored entries from `from_seq` on.
    std::vector<timeline_entry> chain(const identity_key& author, std::uint64_t from_seq, std::size_t limit) const;
    /// The last `limit` entries in order, or those just before `before`; the earliest of them first.
    std::vector<timeline_entry> page_before(const std::optional<entry_order>& before, std::size_t limit) const;
    /// The first `limit` entries after `after` in order.
    std::vector<timeline_entry> page_after(const entry_order& after, std::size_t limit) const;

private:
    struct record {
        std::uint64_t clock;
        std::uint64_t position;
        std::uint64_t seq;
        sha256_digest hash;
        std::uint32_t author;
    };
    struct author_chain {
        identity_key key;
        std::uint64_t first;                // the seq of the first entry here
        sha256_digest prev;                 // what that one names as its predecessor
        std::deque<std::uint32_t> records;  // without a gap; entries from before an anchor come in at the front

        std::uint64_t end() const { return first + records.size(); }  // the seq after the last
    };

    const author_chain* chain_of(const identity_key& author) const {
        const auto at = by_key_.find(author);
        return at == by_key_.end() ? nullptr : &authors_[at->second];
    }
    const record& at(const author_chain& chain, std::uint64_t seq) const {
        return records_[chain.records[static_cast<std::size_t>(seq - chain.first)]];
    }
    entry_order order_of(std::uint32_t index) const {
        const record& r = records_[index];
        return {r.clock, authors_[r.author].key, r.seq};
    }
    timeline_entry view_of(const record& r) const {
        return {{r.clock, authors_[r.author].key, r.seq}, r.hash, r.position};
    }
    /// In the order of entry_order, without copying keys.
    bool less(std::uint32_t a, std::uint32_t b) const {
        const record& x = records_[a];
        const record& y = records_[b];
        if (x.clock != y.clock) return x.clock < y.clock;
        if (x.author != y.author) return authors_[x.author].key < authors_[y.author].key;
        return x.seq < y.seq;
    }
    bool is_stored(const record& r) const { return r.position < stored_; }
    /// The seq after the last stored entry. Entries at the front may have come later than those behind them.
    std::uint64_t stored_end(const author_chain& chain) const;

    timeline_options options_;
    std::vector<record> records_;        // in the order of adding
    std::vector<author_chain> authors_;  // in the order of their first entries
    std::map<identity_key, std::uint32_t> by_key_;
    block_list<std::uint32_t> order_;  // indices of records_
    std::uint64_t stored_ = 0;
};

inline add_answer chat_timeline::check(const chat_entry& entry, const sha256_digest& hash) const {
    const auto answer = [](add_result result) { return add_answer{result, {}, false}; };
    const auto gap = [&](std::uint64_t first, std::uint64_t last) {
        if (last - first >= options_.max_ahead) return answer(add_result::too_far_ahead);
        return add_answer{add_result::gap, {entry.author, first, last}, false};
    };
    const author_chain* const chain = chain_of(entry.author);
    const bool is_full = records_.size() >= options_.max_entries;
    if (chain == nullptr) {
        if (entry.seq > 1 && !options_.anchors) return gap(1, entry.seq - 1);
        return answer(is_full || authors_.size() >= options_.max_authors ? add_result::full : add_result::added);
    }
    if (entry.seq > chain->end()) return gap(chain->end(), entry.seq - 1);
    if (entry.seq + 1 < chain->first) return gap(entry.seq + 1, chain->first - 1);
    bool fits;
    if (entry.seq == chain->end()) {
        const record& last = at(*chain, chain->end() - 1);
        fits = entry.prev == last.hash && entry.clock >= last.clock;
    } else if (entry.seq < chain->first) {
        fits = hash == chain->prev && entry.clock <= at(*chain, chain->first).clock;
    } else {
        return answer(at(*chain, entry.seq).hash == hash ? add_result::known : add_result::contradicts);
    }
    if (!fits) return answer(add_result::contradicts);
    return answer(is_full ? add_result::full : add_result::added);
}

inline add_answer chat_timeline::add(const chat_entry& entry, const sha256_digest& hash, std::uint64_t position) {
    add_answer answer = check(entry, hash);
    if (answer.result != add_result::added) return answer;
    const auto index = static_cast<std::uint32_t>(records_.size());
    const auto [known, fresh] = by_key_.emplace(entry.author, static_cast<std::uint32_t>(authors_.size()));
    if (fresh) authors_.push_back({entry.author, entry.seq, entry.prev, {}});
    author_chain& chain = authors_[known->second];
    if (entry.seq < chain.first) {
        chain.records.push_front(index);
        chain.first = entry.seq;
        chain.prev = entry.prev;
    } else {
        chain.records.push_back(index);
    }
    records_.push_back({entry.clock, position, entry.seq, hash, known->second});
    const auto place = order_.lower_bound([&](std::uint32_t other) { return less(other, index); });
    answer.newest = place == order_.end();
    order_.insert(place, index);
    return answer;
}

inline std::size_t chat_timeline::forget_unstored() {
    std::size_t count = 0;
    for (; !records_.empty() && !is_stored(records_.back()); ++count) {
        const auto index = static_cast<std::uint32_t>(records_.size() - 1);
        order_.erase(order_.lower_bound([&](std::uint32_t other) { return less(other, index); }));
        // What was added last stands at one end of its author's chain, and a chain of its own is the last.
        author_chain& chain = authors_[records_.back().author];
        if (chain.records.back() == index) {
            chain.records.pop_back();
        } else {
            chain.records.pop_front();
            ++chain.first;
            chain.prev = records_.back().hash;
        }
        if (chain.records.empty()) {
            by_key_.erase(chain.key);
            authors_.pop_back();
        }
        records_.pop_back();
    }
    return count;
}

inline next_entry chat_timeline::next_of(const identity_key& author) const {
    next_entry out;
    out.clock = std::min(clock() + 1, max_clock);
    if (const author_chain* const chain = chain_of(author)) {
        out.seq = chain->end();
        out.prev = at(*chain, chain->end() - 1).hash;
    }
    return out;
}

inline std::optional<timeline_entry> chat_timeline::find(const identity_key& author, std::uint64_t seq) const {
    const author_chain* const chain = chain_of(author);
    if (chain == nullptr || seq < chain->first || seq >= chain->end()) return std::nullopt;
    return view_of(at(*chain, seq));
}

inline std::uint64_t chat_timeline::stored_end(const author_chain& chain) const {
    std::uint64_t end = chain.end();
    while (end > chain.first && !is_stored(at(chain, end - 1))) --end;
    return end;
}

inline std::vector<chat::head> chat_timeline::heads() const {
    std::vector<chat::head> out;
    for (const auto& [key, index] : by_key_) {
        const author_chain& chain = authors_[index];
        const std::uint64_t end = stored_end(chain);
        if (end > chain.first) out.push_back({key, end - 1, at(chain, end - 1).hash});
    }
    return out;
}

inline std::vector<chat::head> chat_timeline::anchors() const {
    std::vector<chat::head> out;
    for (const auto& [key, index] : by_key_)
        out.push_back({key, authors_[index].first, at(authors_[index], authors_[index].first).hash});
    return out;
}

inline std::vector<timeline_entry> chat_timeline::lacking(std::span<const chat::head> theirs, std::size_t limit,
                                                          std::uint64_t after_clock) const {
    std::vector<timeline_entry> out;
    std::map<identity_key, const chat::head*> known;
    for (const chat::head& head : theirs)
        if (head.seq > 0) known.emplace(head.author, &head);

    struct source {
        const author_chain* chain;
        std::uint64_t next, end;
    };
    const auto later = [this](const source& a, const source& b) {
        return less(b.chain->records[static_cast<std::size_t>(b.next - b.chain->first)],
                    a.chain->records[static_cast<std::size_t>(a.next - a.chain->first)]);
    };
    std::priority_queue<source, std::vector<source>, decltype(later)> sources(later);
    for (const author_chain& chain : authors_) {
        source from{&chain, chain.first, stored_end(chain)};
        if (const auto found = known.find(chain.key); found != known.end()) {
            // Entries that do not continue theirs are of no use to them.
            const chat::head& head = *found->second;
            if (head.seq < chain.first - 1 || head.seq >= from.end) continue;
            const sha256_digest& ours = head.seq < chain.first ? chain.prev : at(chain, head.seq).hash;
            if (ours != head.hash && head.hash != sha256_digest{}) continue;
            from.next = head.seq + 1;
        } else {
            const auto first =
                std::partition_point(chain.records.begin(), chain.records.end(),
                                     [&](std::uint32_t index) { return records_[index].clock <= after_clock; });
            from.next += static_cast<std::uint64_t>(first - chain.records.begin());
            while (from.next < from.end && !is_stored(at(chain, from.next))) ++from.next;
        }
        if (from.next < from.end && is_stored(at(chain, from.next))) sources.push(from);
    }
    while (!sources.empty() && out.size() < limit) {
        source from = sources.top();
        sources.pop();
        out.push_back(view_of(at(*from.chain, from.next)));
        if (++from.next < from.end) sources.push(from);
    }
    return out;
}

inline std::vector<entry_range> chat_timeline::wanted(std::span<const chat::head> theirs) const {
    std::vector<entry_range> out;
    for (const chat::head& head : theirs) {
        const author_chain* const chain = chain_of(head.author);
        const std::uint64_t next = chain == nullptr ? 1 : chain->end();
        if (head.seq >= next) out.push_back({head.author, next, head.seq});
    }
    return out;
}

inline std::vector<identity_key> chat_timeline::contradictions(std::span<const chat::head> theirs) const {
    std::vector<identity_key> out;
    for (const chat::head& head : theirs) {
        const auto ours = find(head.author, head.seq);
        if (ours && ours->hash != head.hash) out.push_back(head.author);
    }
    return out;
}

inline std::vector<timeline_entry> chat_timeline::chain(const identity_key& author, std::uint64_t from_seq,
                                                        std::size_t limit) const {
    std::vector<timeline_entry> out;
    const author_chain* const chain = chain_of(author);
    if (chain == nullptr) return out;
    const std::uint64_t end = stored_end(*chain);
    for (std::uint64_t seq = std::max(from_seq, chain->first); seq < end && out.size() < limit; ++seq)
        if (is_stored(at(*chain, seq))) out.push_back(view_of(at(*chain, seq)));
    return out;
}

inline std::vector<timeline_entry> chat_timeline::page_before(const std::optional<entry_order>& before,
                                                              std::size_t limit) const {
    std::vector<timeline_entry> out;
    auto place = order_.end();
    if (before) place = order_.lower_bound([&](std::uint32_t index) { return order_of(index) < *before; });
    while (place != order_.begin() && out.size() < limit) {
        place = order_.previous(place);
        out.push_back(view_of(records_[order_[place]]));
    }
    std::reverse(out.begin(), out.end());
    return out;
}

inline std::vector<timeline_entry> chat_timeline::page_after(const entry_order& after, std::size_t limit) const {
    std::vector<timeline_entry> out;
    auto place = order_.lower_bound([&](std::uint32_t index) { return order_of(index) <= after; });
    for (; place != order_.end() && out.size() < limit; place = order_.next(place))
        out.push_back(view_of(records_[order_[place]]));
    return out;
}

}  // namespace cohort
