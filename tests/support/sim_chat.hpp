// People who chat in a simulated world: a tracker, and for each of them a node on a host and a disk of its own.
// Meanwhile all speak, in one room and to each other, and what they were told is on disk is remembered.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/sim/disk.hpp>
#include <cohort/sim/world.hpp>

#include "support/sim_world.hpp"

namespace cohort::test {

class sim_chat {
public:
    static constexpr const char* room = "#lobby";

    struct person {
        std::string name;
        sim::host* host = nullptr;
        network* net = nullptr;  // the host, or what a test has put around it
        bool behind_router = false;
        std::shared_ptr<sim::medium> platters;
        std::unique_ptr<sim::disk> disk;
        std::unique_ptr<sim::jobs> jobs;
        std::unique_ptr<chat_node> node;
        std::unique_ptr<task_group> running;
        bool dead = false;  // nobody sees any more what this life does
        bool talkative = true;
        int numbers = 0;  // the last of those it gave its messages
        // What it was told is on its disk, by room or name: that must never be lost.
        std::map<std::string, std::vector<std::string>> kept;
        std::map<std::string, int> heard;  // how often each message to it alone was shown
    };

    explicit sim_chat(std::uint64_t seed_of_all) : seed(seed_of_all), world(seed), tracker_(world.add_host()) {}

    sim::host& tracker_host() { return tracker_.host; }
    void start_tracker() { tracker_.start(); }
    asio::awaitable<void> stop_tracker() { return tracker_.stop(); }

    person& add(const sim::access& at) { return add_at(world.add_host(at), false); }
    person& add_at(sim::host& where, bool behind_router) {
        person& out = *people.emplace_back(std::make_unique<person>());
        out.name = "p" + std::to_string(people.size());
        out.host = &where;
        out.net = around ? around(where, out.name) : &where;
        out.behind_router = behind_router;
        out.platters = std::make_shared<sim::medium>(seed + people.size());
        start(out);
        return out;
    }

    /// Begins a life of the node, with what is on its disk.
    void start(person& it) {
        it.dead = false;
        it.disk = std::make_unique<sim::disk>(it.platters);
        it.jobs = std::make_unique<sim::jobs>(it.host->executor());
        chat_options how;
        how.name = it.name;
        how.home = "/home";
        how.tracker = tracker_.root();
        how.addresses = {it.host->address()};
        how.port = 9000;
        how.seed.emplace();
        store_be(how.seed->bytes.data(), seed);
        how.seed->bytes.back() = static_cast<std::uint8_t>(std::stoi(it.name.substr(1)));
        how.storage = it.disk.get();
        how.pool = it.jobs.get();
        it.node = std::make_unique<chat_node>(*it.net, std::move(how));
        it.running = std::make_unique<task_group>(it.host->executor());
        it.running->spawn(run_node(*it.node));
        it.running->spawn(listen(it));
        it.running->spawn(live(it));
    }

    /// Ends one, in good order.
    asio::awaitable<void> stop(person& it) {
        if (!it.node) co_return;
        it.running->cancel();
        co_await it.running->join();
        it.node.reset();
        it.disk.reset();
    }

    /// What the dying program still writes goes nowhere, and what it still says nobody hears.
    asio::awaitable<void> lose_power(person& it) {
        it.dead = true;
        it.platters = it.platters->clone();
        it.platters->lose_power();
        it.host->set_online(false);
        co_await stop(it);
        it.host->reset_connections();
        it.host->set_online(true);
    }

    /// Completes when everybody has all that was kept, in one order, each message once, and knows that it arrived.
    asio::awaitable<void> converged() {
        speaking_ = false;
        for (;;) {
            co_await tracker_.host.sleep_for(5s);
            why_not.clear();
            co_await compare_rooms();
            for (const auto& a : people)
                for (const auto& b : people)
                    if (why_not.empty() && a != b) co_await compare_talk(*a, *b);
            if (why_not.empty()) co_return;
        }
    }

    /// Ends all, whatever becomes of `main`.
    void run(asio::awaitable<void> main, duration limit) {
        std::exception_ptr failure;
        try {
            world.run(std::move(main), limit);
        } catch (...) {
            failure = std::current_exception();
        }
        world.run(end());
        check_nothing_left(world);
        if (failure) std::rethrow_exception(failure);
    }

    const std::uint64_t seed;
    sim::world world;
    /// Puts a network around a host.
    std::function<network*(sim::host&, const std::string&)> around;
    std::vector<std::unique_ptr<person>> people;
    std::string why_not;  ///< what kept converged() from completing, when it looked last

private:
    static asio::awaitable<void> run_node(chat_node& one) { co_await one.run(); }

    asio::awaitable<void> listen(person& it) {
        for (;;) {
            const chat_node_event event = co_await it.node->receive();
            if (const auto* const trouble = std::get_if<chat_event::warning>(&event)) warnings.push_back(trouble->text);
            const auto* const said = std::get_if<chat_event::message>(&event);
            if (said == nullptr || said->what.own || said->what.with == room || it.dead) continue;
            ++it.heard[said->what.from + ": " + said->what.text];
        }
    }

    /// Comes to the room, and speaks as long as all do.
    asio::awaitable<void> live(person& it) {
        random_engine chance(it.host->random()());
        const std::string lobby = room;
        co_await it.node->join(lobby);
        while (speaking_ && it.talkative) {
            // Sometimes several in one breath.
            const auto pause = std::chrono::milliseconds(chance.below(3000) * chance.below(4));
            co_await it.host->sleep_for(pause);
            const auto& other = people[chance.below(static_cast<std::uint32_t>(people.size()))];
            const bool reaches = other.get() != &it && !(it.behind_router && other->behind_router);
            std::string to = chance.chance(0.4) && reaches ? other->name : lobby;
            co_await say(it, std::move(to));
        }
        co_await it.host->sleep_until(time_point::max());
    }

    asio::awaitable<void> say(person& it, std::string to) {
        const std::string words = it.name + " " + std::to_string(++it.numbers);
        try {
            co_await it.node->send(to, words);
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code())) throw;
            co_return;  // not known yet, and so not said
        }
        if (!it.dead) it.kept[to].push_back(words);
    }

    static std::vector<std::string> texts(const std::vector<shown_message>& all, const std::string& of = {}) {
        std::vector<std::string> out;
        for (const shown_message& one : all)
            if (of.empty() || one.from == of) out.push_back(one.from + ": " + one.text);
        return out;
    }
    /// What of that which `from` said is missing there, or stands there in another order or twice.
    static std::string missing(const std::vector<std::string>& there, const person& from, const std::string& to) {
        std::vector<std::string> sorted = there;
        std::sort(sorted.begin(), sorted.end());
        const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
        if (twice != sorted.end()) return *twice;
        auto place = there.begin();
        const auto wanted = from.kept.find(to);
        if (wanted == from.kept.end()) return "";
        for (const std::string& words : wanted->second) {
            const std::string line = from.name + ": " + words;
            place = std::find(place, there.end(), line);
            if (place == there.end()) return line;
        }
        return "";
    }
    static bool all_delivered(const std::vector<shown_message>& all) {
        return std::all_of(all.begin(), all.end(),
                           [](const auto& one) { return !one.own || one.state >= delivery::delivered; });
    }

    asio::awaitable<void> compare_rooms() {
        std::vector<std::string> first;
        for (const auto& one : people) {
            const auto all = co_await one->node->history(room, 10'000, std::nullopt);
            const std::vector<std::string> theirs = texts(all);
            if (one == people.front()) first = theirs;
            if (theirs != first) why_not = one->name + " has another timeline of the room than p1";
            for (const auto& other : people)
                if (const std::string words = missing(theirs, *other, room); !words.empty())
                    why_not = one->name + " has not once and in order: " + words;
            if (!all_delivered(all)) why_not = one->name + " does not know that what it said in the room arrived";
            if (one->node->rooms().front().members.size() != people.size())
                why_not = one->name + " does not see all members";
        }
    }

    asio::awaitable<void> compare_talk(person& a, person& b) {
        const auto known = a.node->conversations();
        const bool talked = std::find(known.begin(), known.end(), b.name) != known.end();
        if (!talked && !a.kept.contains(b.name)) co_return;
        const auto here = co_await a.node->history(b.name, 10'000, std::nullopt);
        const auto also = b.node->conversations();
        std::vector<shown_message> there;
        if (std::find(also.begin(), also.end(), a.name) != also.end())
            there = co_await b.node->history(a.name, 10'000, std::nullopt);
        const std::string pair = a.name + " and " + b.name;
        if (texts(here) != texts(there)) why_not = pair + " differ in what they said to each other";
        if (const std::string words = missing(texts(there, a.name), a, b.name); !words.empty())
            why_not = b.name + " has not once and in order: " + words;
        if (!all_delivered(here)) why_not = a.name + " does not know that what it said to " + b.name + " arrived";
    }

    asio::awaitable<void> end() {
        for (const auto& one : people) co_await stop(*one);
        co_await stop_tracker();
    }

public:
    std::vector<std::string> warnings;

private:
    sim_tracker tracker_;
    bool speaking_ = true;
};

}  // namespace cohort::test
