// The chat's control door: an HTTP server for this machine alone, beside the terminal, on the same node.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/chat.hpp>
#include <cohort/net/http_server.hpp>
#include <cohort/net/task_group.hpp>
#include <cohort/net/timeout.hpp>
#include <cohort/web/chat_routes.hpp>

namespace cohort::examples {

struct chat_api_options {
    std::uint16_t port = 0;  ///< on the loopback; 0 takes a free one
    std::string token{};     ///< see local_guard
};

/// The node is there before, or comes with POST /start. One thread only; `net` outlives it.
class chat_api {
public:
    /// What a node is made with.
    using planner = std::function<chat_options(const chat_start&)>;
    /// Runs a node and what else uses it; completes with the program's exit code.
    using talker = std::function<asio::awaitable<int>(std::shared_ptr<chat_node>, std::string home)>;

    /// Listens. Throws the system's error with the address if it cannot.
    chat_api(network& net, chat_api_options options, planner plan)
        : net_(net),
          options_(std::move(options)),
          plan_(std::move(plan)),
          changed_(net.executor()),
          tasks_(net.executor()) {
        auto doors = listen_here(net, options_.port);
        options_.port = doors.front()->local_endpoint().port;
        http_server_options how;
        how.limits.body = chat_body_max;
        how.max_connections = 128;
        server_ = std::make_unique<http_server>(
            net, std::move(doors), [this](http_request& request) { return routes_->answer(request); }, how);
    }

    std::uint16_t port() const { return options_.port; }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }

    /// Makes the node, for a run() to come. Throws what chat_node throws.
    void begin(const chat_start& wanted) { first_ = make(wanted); }

    /// Serves, and talks on each node until one has talked to its end: completes with that exit code. A node that fails
    /// while somebody waits for the answer to POST /start is their failure; another one throws here. Cancelling throws
    /// asio::error::operation_aborted when all has ended.
    asio::awaitable<int> run(talker talk) {
        routes_.emplace(
            net_, local_guard{options_.port, options_.token},
            [this](chat_start wanted) { return start(std::move(wanted)); }, std::exchange(first_, nullptr));
        tasks_.spawn(server_->run());
        tasks_.spawn(routes_->run());
        tasks_.spawn(talk_on(std::move(talk)));
        co_await tasks_.join();
        co_return code_;
    }

private:
    static constexpr duration verdict_timeout = 3s;

    static std::vector<std::unique_ptr<listener>> listen_here(network& net, std::uint16_t port) {
        try {
            return listen_all(net, {ip_address::loopback_v4(), *ip_address::parse("::1")}, port);
        } catch (const std::system_error& error) {
            if (!cohort::detail::lacks_address_family(error.code())) throw;
        }
        return listen_all(net, {ip_address::loopback_v4()}, port);
    }

    std::shared_ptr<chat_face> make(const chat_start& wanted) {
        chat_start free = wanted;
        if (free.port == port()) free.port = 0;  // one port for both is what older chats had
        const chat_options options = plan_(free);
        fresh_ = std::make_shared<chat_node>(net_, options);
        home_ = options.home;
        const std::string files = std::filesystem::absolute(options.home + "/files").lexically_normal().string();
        return std::make_shared<chat_face_of<chat_node>>(fresh_, chat_origin{options.tracker, files});
    }

    /// Completes when the tracker has taken the name or cannot be asked: whoever starts wants to know.
    asio::awaitable<started_chat> start(chat_start wanted) {
        started_chat out;
        out.node = make(wanted);
        verdict_ = fresh_->subscribe();
        failure_ = nullptr;
        changed_.notify();
        try {
            if (!wanted.tracker_url.empty())
                out.tracker_reachable = co_await with_timeout(net_, verdict_timeout, verdict());
        } catch (const std::system_error& error) {
            if (error.code() != errc::timed_out) {
                verdict_.reset();
                throw;
            }
        }
        verdict_.reset();
        co_return out;
    }

    asio::awaitable<bool> verdict() {
        for (;;) {
            const chat_node_event event = co_await verdict_->next();
            if (failure_) std::rethrow_exception(failure_);
            if (const auto* const news = std::get_if<chat_event::tracker_state>(&event)) co_return news->reachable;
        }
    }

    asio::awaitable<void> talk_on(talker talk) {
        for (;;) {
            while (!fresh_) co_await changed_.wait();
            std::shared_ptr<chat_node> node = std::exchange(fresh_, nullptr);
            const std::string home = home_;
            try {
                code_ = co_await talk(node, home);
                tasks_.cancel();
                co_return;
            } catch (const std::system_error& error) {
                if (is_cancellation(error.code()) || !verdict_) throw;
                failure_ = std::current_exception();
                verdict_->push(chat_event::warning{error.what()});
            }
        }
    }

    network& net_;
    chat_api_options options_;
    planner plan_;
    std::unique_ptr<http_server> server_;
    std::optional<chat_routes> routes_;
    std::shared_ptr<chat_face> first_;
    std::shared_ptr<chat_node> fresh_;  ///< made, and nobody runs it yet
    std::string home_;
    std::shared_ptr<chat_event_queue> verdict_;  ///< while somebody waits for the answer to their start
    std::exception_ptr failure_;
    wakeup changed_;
    int code_ = 0;
    task_group tasks_;
};

}  // namespace cohort::examples
