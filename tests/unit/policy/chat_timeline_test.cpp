#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <cohort/core/random.hpp>
#include <cohort/policy/chat_timeline.hpp>

namespace chat_timeline_test {

using namespace cohort;

namespace {

identity_key author_of(std::uint8_t number) {
    identity_key out;
    // Keys that do not sort as their numbers do.
    out.bytes.fill(static_cast<std::uint8_t>(number * 151));
    out.bytes[31] = number;
    return out;
}

/// An entry that needs no signature: the timeline asks for none.
struct made_entry {
    chat_entry entry;
    sha256_digest hash;

    entry_order order() const { return {entry.clock, entry.author, entry.seq}; }
};

made_entry make(std::uint8_t author, const next_entry& next, const std::string& said) {
    made_entry out;
    out.entry.author = author_of(author);
    out.entry.seq = next.seq;
    out.entry.clock = next.clock;
    out.entry.prev = next.prev;
    out.entry.body = chat::text{said};
    out.hash = entry_hash(entry_bytes(out.entry));
    return out;
}

/// One author's chain of `count` entries with clocks from `clock` on.
std::vector<made_entry> chain_of(std::uint8_t author, int count, std::uint64_t clock = 1) {
    std::vector<made_entry> out;
    for (int i = 0; i < count; ++i) {
        next_entry next{static_cast<std::uint64_t>(i) + 1, clock + static_cast<std::uint64_t>(i), {}};
        if (!out.empty()) next.prev = out.back().hash;
        out.push_back(make(author, next, std::to_string(i)));
    }
    return out;
}

/// A timeline whose log is only counted.
struct node {
    chat_timeline timeline;
    std::uint64_t written = 0;

    explicit node(bool anchors = false) : timeline(timeline_options{.anchors = anchors}) {}

    add_answer add(const made_entry& e) {
        const add_answer answer = timeline.add(e.entry, e.hash, written);
        if (answer.result == add_result::added) timeline.stored(++written);
        return answer;
    }
    add_result result(const made_entry& e) { return add(e).result; }
    void all(const std::vector<made_entry>& entries) {
        for (const made_entry& e : entries) CHECK(result(e) == add_result::added);
    }
    std::vector<entry_order> order() const { return orders(timeline.page_before(std::nullopt, 1'000'000)); }
    static std::vector<entry_order> orders(const std::vector<timeline_entry>& entries) {
        std::vector<entry_order> out;
        for (const timeline_entry& e : entries) out.push_back(e.order);
        return out;
    }
};

/// What some authors write who hear of each other now and then.
std::vector<made_entry> conversation(random_engine& random, std::uint8_t authors, int count) {
    std::vector<chat_timeline> views(authors);
    std::vector<made_entry> all;
    std::vector<std::size_t> heard(authors);
    for (int i = 0; i < count; ++i) {
        const auto who = static_cast<std::uint8_t>(random.below(authors));
        chat_timeline& view = views[who];
        if (random.chance(0.3)) {
            for (; heard[who] < all.size(); ++heard[who]) view.add(all[heard[who]].entry, all[heard[who]].hash, 0);
        }
        all.push_back(make(who, view.next_of(author_of(who)), std::to_string(i)));
        REQUIRE(view.add(all.back().entry, all.back().hash, 0).result == add_result::added);
    }
    return all;
}

}  // namespace

TEST_CASE("an author's entries are added one after the other, and each only once") {
    node n;
    const auto chain = chain_of(1, 3);
    CHECK(n.timeline.next_of(author_of(1)).seq == 1);
    for (const made_entry& e : chain) {
        const add_answer answer = n.add(e);
        CHECK(answer.result == add_result::added);
        CHECK(answer.newest);
        CHECK(n.result(e) == add_result::known);
    }
    CHECK(n.result(chain[0]) == add_result::known);
    CHECK(n.timeline.size() == 3);
    CHECK(n.timeline.clock() == 3);
    const next_entry next = n.timeline.next_of(author_of(1));
    CHECK(next.seq == 4);
    CHECK(next.clock == 4);
    CHECK(next.prev == chain[2].hash);
    CHECK(n.timeline.next_of(author_of(2)).seq == 1);
    CHECK(n.timeline.next_of(author_of(2)).clock == 4);
    CHECK(n.timeline.next_of(author_of(2)).prev == sha256_digest{});
    CHECK(n.timeline.find(author_of(1), 2)->hash == chain[1].hash);
    CHECK_FALSE(n.timeline.find(author_of(1), 4));
    CHECK_FALSE(n.timeline.find(author_of(2), 1));
}

TEST_CASE("an entry whose predecessors are missing says which to ask for") {
    node n;
    const auto chain = chain_of(1, 10);
    CHECK(n.add(chain[4]).missing == entry_range{author_of(1), 1, 4});
    n.all({chain[0], chain[1]});
    const add_answer answer = n.add(chain[8]);
    CHECK(answer.result == add_result::gap);
    CHECK(answer.missing == entry_range{author_of(1), 3, 8});
    CHECK(n.timeline.size() == 2);
}

TEST_CASE("A50: an author who says two things under one number is found out") {
    node n;
    const auto chain = chain_of(1, 3);
    n.all({chain[0], chain[1]});
    // Another second entry.
    CHECK(n.result(make(1, {2, 2, chain[0].hash}, "other")) == add_result::contradicts);
    // A third one after it.
    const made_entry other = make(1, {2, 2, chain[0].hash}, "other");
    CHECK(n.result(make(1, {3, 3, other.hash}, "and so on")) == add_result::contradicts);
    // A clock that goes back.
    CHECK(n.result(make(1, {3, 1, chain[1].hash}, "early")) == add_result::contradicts);
    CHECK(n.timeline.check(chain[2].entry, chain[2].hash).result == add_result::added);
    CHECK(n.timeline.size() == 2);
    CHECK(n.result(chain[2]) == add_result::added);

    const std::vector<chat::head> theirs{{author_of(1), 2, other.hash}, {author_of(2), 5, {}}};
    CHECK(n.timeline.contradictions(theirs) == std::vector<identity_key>{author_of(1)});
    CHECK(n.timeline.contradictions(n.timeline.heads()).empty());
    // Nothing of ours continues theirs.
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 2, other.hash}}, 10).empty());
}

TEST_CASE("A50: a number far beyond is not believed, and limits hold") {
    chat_timeline timeline({.max_authors = 2, .max_entries = 3, .max_ahead = 100});
    const auto chain = chain_of(1, 300);
    CHECK(timeline.add(chain[0].entry, chain[0].hash, 0).result == add_result::added);
    CHECK(timeline.add(chain[101].entry, chain[101].hash, 1).result == add_result::gap);
    CHECK(timeline.add(chain[102].entry, chain[102].hash, 1).result == add_result::too_far_ahead);
    made_entry far = make(2, {max_clock, 9, chain[0].hash}, "far");
    CHECK(timeline.add(far.entry, far.hash, 1).result == add_result::too_far_ahead);
    const auto second = chain_of(2, 1);
    const auto third = chain_of(3, 1);
    CHECK(timeline.add(second[0].entry, second[0].hash, 1).result == add_result::added);
    CHECK(timeline.add(third[0].entry, third[0].hash, 2).result == add_result::full);
    CHECK(timeline.add(chain[1].entry, chain[1].hash, 2).result == add_result::added);
    CHECK(timeline.add(chain[2].entry, chain[2].hash, 3).result == add_result::full);
    CHECK(timeline.size() == 3);
}

TEST_CASE("clocks end without running over") {
    node n;
    n.all({make(1, {1, max_clock, {}}, "end of time")});
    CHECK(n.timeline.next_of(author_of(2)).clock == max_clock);
    n.all({make(2, n.timeline.next_of(author_of(2)), "after it")});
    n.all({make(1, n.timeline.next_of(author_of(1)), "once more")});
    CHECK(n.timeline.size() == 3);
}

TEST_CASE("entries in any order, doubled and with retries, give one order everywhere") {
    random_engine random(21);
    for (int round = 0; round < 60; ++round) {
        const auto authors = static_cast<std::uint8_t>(1 + random.below(6));
        std::vector<made_entry> entries = conversation(random, authors, 60);
        std::vector<entry_order> expected;
        for (const made_entry& e : entries) expected.push_back(e.order());
        std::sort(expected.begin(), expected.end());
        for (int member = 0; member < 4; ++member) {
            node n;
            for (std::size_t tries = 0; n.timeline.size() < entries.size(); ++tries) {
                REQUIRE(tries < 1000);
                random.shuffle(entries);
                for (const made_entry& e : entries) {
                    if (random.chance(0.2)) continue;  // lost on the way
                    const add_answer answer = n.add(e);
                    const bool fine = answer.result == add_result::added || answer.result == add_result::known ||
                                      answer.result == add_result::gap;
                    CHECK(fine);
                    if (answer.result == add_result::gap) {
                        CHECK(answer.missing.last + 1 == e.entry.seq);
                        CHECK_FALSE(n.timeline.find(e.entry.author, answer.missing.first));
                    }
                }
            }
            CHECK(n.order() == expected);
        }
    }
}

TEST_CASE("members who tell each other what they have end with the same, whoever meets whom") {
    random_engine random(22);
    for (int round = 0; round < 20; ++round) {
        const std::uint8_t count = 5;
        std::vector<node> members(count);
        std::map<entry_order, made_entry> all;
        const auto meet = [&](node& a, node& b) {
            for (int i = 0; i < 100; ++i) {
                const auto heads = a.timeline.heads();
                const auto batch = b.timeline.lacking(heads, 7);
                CHECK(batch.empty() == a.timeline.wanted(b.timeline.heads()).empty());
                if (batch.empty()) return;
                for (const timeline_entry& e : batch) CHECK(a.result(all.at(e.order)) == add_result::added);
            }
            FAIL("no end");
        };
        for (int step = 0; step < 120; ++step) {
            const auto who = static_cast<std::uint8_t>(random.below(count));
            if (random.chance(0.5)) {
                const made_entry e = make(who, members[who].timeline.next_of(author_of(who)), "x");
                all.emplace(e.order(), e);
                members[who].all({e});
            } else {
                const std::uint32_t other = random.below(count);
                if (other != who) meet(members[who], members[other]);
            }
        }
        for (node& a : members)
            for (node& b : members) meet(a, b);
        for (node& a : members)
            for (node& b : members) meet(a, b);
        std::vector<entry_order> expected;
        for (const auto& [order, e] : all) expected.push_back(order);
        for (const node& n : members) {
            CHECK(n.order() == expected);
            CHECK(n.timeline.heads() == members[0].timeline.heads());
        }
    }
}

TEST_CASE("without anchors a chain begins at 1, with them anywhere") {
    const auto chain = chain_of(1, 10);
    node direct;
    CHECK(direct.add(chain[3]).missing == entry_range{author_of(1), 1, 3});
    node room(true);
    room.all({chain[3], chain[4]});
    CHECK(room.timeline.anchors().at(0).seq == 4);
    CHECK(room.timeline.heads().at(0).seq == 5);
    CHECK(room.timeline.next_of(author_of(1)).seq == 6);
    const add_answer earlier = room.add(chain[0]);
    CHECK(earlier.result == add_result::gap);
    CHECK(earlier.missing == entry_range{author_of(1), 2, 3});
    // What comes right before the anchor is taken, if it is what the anchor names.
    CHECK(room.result(make(1, {3, 3, chain[1].hash}, "other")) == add_result::contradicts);
    room.all({chain[2], chain[5], chain[1]});
    CHECK(room.timeline.anchors().at(0).seq == 2);
    CHECK(room.order().size() == 5);
    CHECK(room.result(chain[3]) == add_result::known);
    room.all({chain[0]});
    CHECK(room.timeline.find(author_of(1), 1)->hash == chain[0].hash);
}

TEST_CASE("members with different anchors converge when they hear of the earlier entries") {
    random_engine random(23);
    for (int round = 0; round < 30; ++round) {
        std::vector<made_entry> entries = conversation(random, 4, 50);
        std::vector<entry_order> expected;
        for (const made_entry& e : entries) expected.push_back(e.order());
        std::sort(expected.begin(), expected.end());
        node n(true);
        for (std::size_t tries = 0; n.timeline.size() < entries.size(); ++tries) {
            REQUIRE(tries < 1000);
            random.shuffle(entries);
            for (const made_entry& e : entries) {
                const add_result result = n.result(e);
                const bool fine =
                    result == add_result::added || result == add_result::known || result == add_result::gap;
                CHECK(fine);
            }
        }
        CHECK(n.order() == expected);
    }
}

TEST_CASE("who came later is sent what was said since, as far as it goes without gaps") {
    node n;
    const auto alice = chain_of(1, 10, 1);  // clocks 1 to 10
    const auto bob = chain_of(2, 4, 8);     // clocks 8 to 11
    n.all(alice);
    n.all(bob);
    const auto since = n.timeline.lacking({}, 100, 8);
    REQUIRE(since.size() == 5);
    for (std::size_t i = 1; i < since.size(); ++i) CHECK(since[i - 1].order < since[i].order);
    CHECK(since[0].order == bob[1].order());
    node late(true);
    for (const timeline_entry& e : since)
        CHECK(late.result((e.order.author == author_of(1) ? alice : bob)[e.order.seq - 1]) == add_result::added);
    CHECK(n.timeline.lacking(late.timeline.heads(), 100, 8).empty());
    CHECK(late.timeline.wanted(n.timeline.heads()).empty());
    // The late one cannot help somebody who has less of a chain than its own begin.
    const std::vector<chat::head> early{{author_of(1), 3, alice[2].hash}, {author_of(2), 1, bob[0].hash}};
    const auto help = late.timeline.lacking(early, 100);
    CHECK(std::all_of(help.begin(), help.end(), [](const auto& e) { return e.order.author == author_of(2); }));
    CHECK(help.size() == 3);
}

TEST_CASE("heads without hashes are believed, and a head of 0 is none") {
    node n(true);
    const auto chain = chain_of(1, 6);
    n.all({chain.begin() + 2, chain.end()});
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 4, {}}}, 10).size() == 2);
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 2, {}}}, 10).size() == 4);
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 0, {}}}, 10).size() == 4);
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 1, {}}}, 10).empty());
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 4, chain[4].hash}}, 10).empty());
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), 6, {}}}, 10).empty());
    CHECK(n.timeline.lacking(std::vector<chat::head>{{author_of(1), max_clock, {}}}, 10).empty());
}

TEST_CASE("what a peer lacks comes in bounded batches that continue each other") {
    random_engine random(24);
    const std::vector<made_entry> entries = conversation(random, 5, 500);
    node full;
    full.all(entries);
    std::map<entry_order, made_entry> all;
    for (const made_entry& e : entries) all.emplace(e.order(), e);
    node empty;
    int batches = 0;
    for (;; ++batches) {
        const auto batch = full.timeline.lacking(empty.timeline.heads(), 64);
        CHECK(batch.size() <= 64);
        if (batch.empty()) break;
        for (const timeline_entry& e : batch) {
            CHECK(empty.result(all.at(e.order)) == add_result::added);
            CHECK(entries[e.position].order() == e.order);
        }
    }
    CHECK(batches == 8);
    CHECK(empty.order() == full.order());
}

TEST_CASE("A51: only what the log has on disk is told to others, and what it could not keep is forgotten") {
    random_engine random(25);
    for (int round = 0; round < 40; ++round) {
        std::vector<made_entry> entries = conversation(random, 4, 80);
        random.shuffle(entries);
        chat_timeline timeline({.anchors = true});
        chat_timeline sure({.anchors = true});
        std::uint64_t position = 0;
        std::vector<made_entry> pending;
        for (int step = 0; step < 600; ++step) {
            const made_entry& e = entries[random.below(static_cast<std::uint32_t>(entries.size()))];
            if (timeline.add(e.entry, e.hash, position).result == add_result::added) {
                ++position;
                pending.push_back(e);
                CHECK(timeline.find(e.entry.author, e.entry.seq));
            }
            CHECK(timeline.heads().size() <= sure.heads().size());
            if (random.chance(0.1)) {  // the log wrote them
                timeline.stored(position);
                for (const made_entry& one : pending)
                    REQUIRE(sure.add(one.entry, one.hash, sure.size()).result == add_result::added);
                sure.stored(sure.size());
                pending.clear();
            } else if (random.chance(0.1)) {  // or it could not
                CHECK(timeline.forget_unstored() == pending.size());
                position -= pending.size();
                pending.clear();
                CHECK(timeline.heads() == sure.heads());
                CHECK(timeline.anchors() == sure.anchors());
                CHECK(timeline.authors() == sure.authors());
                CHECK(node::orders(timeline.page_before({}, 1000)) == node::orders(sure.page_before({}, 1000)));
            }
            for (const timeline_entry& one : timeline.lacking({}, 1000)) CHECK(one.position < timeline.stored());
        }
    }
}

TEST_CASE("pages go back through the whole conversation, and forward again") {
    random_engine random(26);
    std::vector<made_entry> entries = conversation(random, 3, 205);
    node n;
    n.all(entries);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.order() < b.order(); });
    std::vector<entry_order> back;
    std::optional<entry_order> before;
    for (;;) {
        const auto page = node::orders(n.timeline.page_before(before, 20));
        if (page.empty()) break;
        back.insert(back.begin(), page.begin(), page.end());
        before = page.front();
    }
    REQUIRE(back.size() == entries.size());
    for (std::size_t i = 0; i < back.size(); ++i) CHECK(back[i] == entries[i].order());
    const auto page = node::orders(n.timeline.page_after(back[100], 30));
    CHECK(page == std::vector<entry_order>(back.begin() + 101, back.begin() + 131));
    CHECK(n.timeline.page_after(back.back(), 5).empty());
    CHECK(n.timeline.page_before(back.front(), 5).empty());
    CHECK(n.timeline.page_after({}, 500).size() == 205);
}

TEST_CASE("an entry that comes late stands in its place and does not call itself the newest") {
    node n;
    n.all(chain_of(1, 5, 1));
    const auto late = chain_of(2, 1, 3);
    const add_answer answer = n.add(late[0]);
    CHECK(answer.result == add_result::added);
    CHECK_FALSE(answer.newest);
    const auto order = n.order();
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK(n.timeline.clock() == 5);
}

TEST_CASE("a hundred thousand entries are added in the worst order without trouble") {
    // Fifty authors, one after the other: all but the first come into the middle.
    node n;
    sha256_digest hash;
    for (std::uint8_t author = 0; author < 50; ++author) {
        chat_entry e;
        e.author = author_of(author);
        for (std::uint64_t seq = 1; seq <= 2000; ++seq) {
            e.seq = seq;
            e.clock = seq * 3;
            e.prev = hash;
            if (seq == 1) e.prev = {};
            store_be(hash.bytes.data(), (std::uint64_t{author} << 32) + seq);
            REQUIRE(n.timeline.add(e, hash, n.written++).result == add_result::added);
        }
    }
    n.timeline.stored(n.written);
    const auto order = n.order();
    CHECK(order.size() == 100'000);
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK(n.timeline.lacking({}, 100'000).size() == 100'000);
}

}  // namespace chat_timeline_test
