// A tracker and chat nodes in one process, on the machine's loopback.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/tracker.hpp>

#include "support/run.hpp"
#include "support/temp_dir.hpp"

namespace cohort::test {

/// A running node and what it told. stop() is awaited before it goes.
class chat_person {
public:
    chat_person(network& net, chat_options options) : node(net, std::move(options)), net_(net), tasks_(net.executor()) {
        tasks_.spawn(run_node());
    }

    /// Completes with the next event of this kind that `fits`; those before it are passed over.
    template <class Event, class Fits>
    asio::awaitable<Event> until(Fits fits) {
        return with_timeout(net_, patience, search<Event, Fits>(std::move(fits)));
    }
    template <class Event>
    asio::awaitable<Event> until() {
        return until<Event>([](const Event&) { return true; });
    }
    /// The next message's text.
    asio::awaitable<std::string> hears() {
        const auto heard = co_await until<chat_event::message>([](const auto& one) { return !one.what.own; });
        co_return heard.what.text;
    }

    asio::awaitable<void> stop() {
        tasks_.cancel();
        co_await tasks_.join();
    }

    static constexpr duration patience = 20s;

    chat_node node;

private:
    asio::awaitable<void> run_node() { co_await node.run(); }

    template <class Event, class Fits>
    asio::awaitable<Event> search(Fits fits) {
        for (;;) {
            const chat_node_event one = co_await node.receive();
            const auto* const wanted = std::get_if<Event>(&one);
            if (wanted != nullptr && fits(*wanted)) co_return *wanted;
        }
    }

    network& net_;
    task_group tasks_;
};

class chat_fixture {
public:
    explicit chat_fixture(network& machine) : net(machine), tasks_(machine.executor()) {
        tracker_options how;
        how.host = "127.0.0.1";
        how.port = how.udp_port = 0;
        tracker_ = std::make_unique<tracker>(net, std::move(how));
        url = "http://127.0.0.1:" + std::to_string(tracker_->http_endpoints().front().port);
        tasks_.spawn(run_tracker());
    }

    chat_options options(const std::string& name) {
        chat_options out;
        out.name = name;
        out.home = (folder / name).string();
        out.tracker = url;
        out.addresses = {ip_address::loopback_v4()};
        return out;
    }
    chat_person& start(const std::string& name) { return start(options(name)); }
    chat_person& start(chat_options how) {
        const std::string name = how.name;
        people_[name] = std::make_unique<chat_person>(net, std::move(how));
        return *people_[name];
    }

    /// Ends a node as if its program had ended; what it kept stays for another start().
    asio::awaitable<void> stop(std::string name) {
        co_await people_.at(name)->stop();
        people_.erase(name);
    }

    asio::awaitable<void> end_people() {
        task_group stopping(net.executor());
        for (auto& [name, one] : people_) stopping.spawn(one->stop());
        co_await stopping.join();
        people_.clear();
    }
    asio::awaitable<void> end() {
        co_await end_people();
        tasks_.cancel();
        co_await tasks_.join();
    }

    network& net;
    temp_dir folder;
    std::string url;

private:
    asio::awaitable<void> run_tracker() { co_await tracker_->run(); }

    std::unique_ptr<tracker> tracker_;
    std::map<std::string, std::unique_ptr<chat_person>> people_;
    task_group tasks_;
};

/// Runs `f(world)`, and ends all that was started whatever becomes of it.
template <class F>
void run_chat(F f, duration limit = 60s) {
    const auto whole = [f](network& net) -> asio::awaitable<void> {
        return [](network& machine, F body) -> asio::awaitable<void> {
            chat_fixture world(machine);
            std::exception_ptr failure;
            try {
                co_await body(world);
            } catch (...) {
                failure = std::current_exception();
            }
            co_await world.end();
            if (failure) std::rethrow_exception(failure);
        }(net, f);
    };
    run(whole, limit);
}

}  // namespace cohort::test
