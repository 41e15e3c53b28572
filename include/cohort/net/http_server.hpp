// An HTTP/1.1 server over cohort::stream: keep-alive, pipelining, and a bound on everything a client may take.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/http_parser.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>

namespace cohort {

/// Answers one request, which stays the server's but may be emptied. An exception that is not a cancellation is
/// answered with 500.
using http_handler = std::function<asio::awaitable<http_response>(http_request&)>;

struct http_server_options {
    http_limits limits{};                ///< 431 and 413 beyond
    duration header_timeout = 10s;       ///< for a header, absolute, from its first byte or the connection's start: 408
    duration body_timeout = 60s;         ///< for a body, absolute, from the header's end: 408
    duration idle_timeout = 60s;         ///< between two requests
    duration write_timeout = 60s;        ///< for the client to take what was answered
    std::size_t max_connections = 1000;  ///< further ones wait in the system's queue
    /// Told of every exception of the handler.
    std::function<void(const http_request&, const std::string& what)> on_handler_error = nullptr;
};

/// Serves HTTP on listeners that exist already, so that an address in use shows before anything runs.
class http_server {
public:
    http_server(network& net, std::vector<std::unique_ptr<listener>> listeners, http_handler handler,
                http_server_options options = {})
        : net_(net),
          listeners_(std::move(listeners)),
          handler_(std::move(handler)),
          options_(std::move(options)),
          tasks_(net.executor()),
          clients_(std::make_shared<roster>(net.executor())) {}

    std::vector<endpoint> local_endpoints() const {
        std::vector<endpoint> out;
        for (const auto& one : listeners_) out.push_back(one->local_endpoint());
        return out;
    }

    std::size_t connections() const { return clients_->list.size(); }

    /// Serves until cancelled, and then throws asio::error::operation_aborted; throws the error of a listener that
    /// fails. When it ends, every connection has ended.
    asio::awaitable<void> run() {
        for (const auto& one : listeners_) tasks_.spawn(accept_from(*one));
        tasks_.spawn(enforce_deadlines());
        co_await tasks_.join();
    }

private:
    using reader = detail::http_reader<http_request>;

    enum class phase { header, body, handling, writing, idle, refused };

    struct connection {
        std::unique_ptr<stream> link;
        phase now = phase::header;
        time_point deadline;
        bool begun = false;    // some bytes of the request that we read are here
        bool expired = false;  // the stream is answer_late_request()'s
        byte_vector input;
        std::size_t input_begin = 0;
        std::size_t input_end = 0;
        std::string output;
        http_request request;
    };

    /// Shared with the connections' coroutines, which the executor's context may outlive the server to destroy.
    struct roster {
        explicit roster(const asio::any_io_executor& executor) : changed(executor) {}

        std::list<std::shared_ptr<connection>> list;
        wakeup changed;
    };
    using roster_entry = std::list<std::shared_ptr<connection>>::iterator;

    /// Takes a connection off the roster, however its coroutine ends.
    struct registration {
        std::shared_ptr<roster> clients;
        roster_entry entry;

        ~registration() {
            clients->list.erase(entry);
            clients->changed.notify();
        }
    };

    static constexpr byte_view no_body{};
    static constexpr std::size_t small_buffer = 4 * 1024;
    static constexpr std::size_t large_buffer = 64 * 1024;

    asio::awaitable<void> accept_from(listener& door) {
        for (;;) {
            while (connections() >= options_.max_connections) co_await clients_->changed.wait();
            auto link = co_await door.accept();
            const auto client = std::make_shared<connection>();
            client->link = std::move(link);
            client->deadline = net_.now() + options_.header_timeout;
            const roster_entry entry = clients_->list.insert(clients_->list.end(), client);
            clients_->changed.notify();
            tasks_.spawn(serve(entry));
        }
    }

    /// Looks at all connections eight times within the shortest limit: cheaper than a timer for each request, and
    /// late by an eighth at most. Without connections it sleeps.
    asio::awaitable<void> enforce_deadlines() {
        const duration shortest =
            std::min({options_.header_timeout, options_.body_timeout, options_.idle_timeout, options_.write_timeout});
        for (;;) {
            while (clients_->list.empty()) co_await clients_->changed.wait();
            co_await net_.sleep_for(shortest / 8);
            const time_point now = net_.now();
            for (auto next = clients_->list.begin(); next != clients_->list.end();) {
                const std::shared_ptr<connection> client = *next++;
                if (now >= client->deadline) expire(client);
            }
        }
    }

    void expire(const std::shared_ptr<connection>& client) {
        const bool reading = client->now == phase::header || client->now == phase::body;
        if (!reading || !client->begun || client->expired) {
            client->link->close();
            return;
        }
        client->expired = true;
        client->deadline = net_.now() + options_.write_timeout;
        tasks_.spawn(answer_late_request(client));
    }

    /// Runs while the connection's own coroutine waits in its read, which close() ends.
    asio::awaitable<void> answer_late_request(std::shared_ptr<connection> client) {
        std::string text;
        append_refusal(text, 408);
        try {
            co_await write_all(*client->link, as_bytes(text));
        } catch (const std::system_error&) {
            // Too late for the client as well.
        }
        client->link->close();
    }

    asio::awaitable<void> serve(roster_entry entry) {
        const registration registered{clients_, entry};
        const std::shared_ptr<connection> client = *entry;
        try {
            co_await exchange(*client);
        } catch (const std::system_error&) {
            // The client went away or was too slow, or the server stops: nobody is left to answer.
        }
        if (!client->expired) client->link->close();
    }

    asio::awaitable<void> exchange(connection& client) {
        for (;;) {
            client.request.clear();
            client.request.from = client.link->remote_endpoint();
            client.begun = false;
            reader request(client.request, options_.limits);
            int refusal = parse(client, request);
            while (refusal == 0 && !request.is_done()) {
                const bool open = co_await read_more(client, request);
                if (!open) co_return;
                refusal = parse(client, request);
            }
            if (refusal == 0) refusal = examine(client.request);
            if (refusal != 0) {
                co_await refuse(client, refusal);
                co_return;
            }
            enter(client, phase::handling, duration::max());
            const bool keep_alive = client.request.keep_alive;
            const bool head_only = client.request.method == "HEAD";
            http_response response = co_await answer(client.request);
            append_answer(client, response, keep_alive);
            if (head_only) response.body.clear();
            const bool large = response.body.size() > large_buffer;
            if (!large) client.output += response.body;
            const byte_view body = large ? as_bytes(response.body) : no_body;
            if (large || !keep_alive || client.output.size() > large_buffer) co_await flush(client, body);
            if (!keep_alive) co_return;
        }
    }

    /// Feeds what has arrived; returns the status to refuse the request with, or 0.
    static int parse(connection& client, reader& request) {
        byte_view in = byte_view(client.input).subspan(client.input_begin, client.input_end - client.input_begin);
        std::error_code ec;
        request.put(in, ec);
        client.input_begin = client.input_end - in.size();
        client.begun = request.started() || !in.empty();
        return ec ? request.refusal() : 0;
    }

    /// What is well-formed and still not for us: returns the status to refuse with, or 0.
    static int examine(const http_request& request) {
        if (request.version == 11 && !request.headers.contains("Host")) return 400;  // RFC 9112, 3.2
        const auto coding = request.headers.find("Transfer-Encoding");
        if (coding && !equal_ignoring_case(*coding, "chunked")) return 501;  // RFC 9112, 6.1
        return 0;
    }

    /// Waits for more of a request, after the answers to those before it are out. False: no more will come.
    asio::awaitable<bool> read_more(connection& client, const reader& request) {
        const bool in_body = request.is_header_done();
        const bool awaits_continue = in_body && client.input_begin == client.input_end && client.request.body.empty() &&
                                     client.now != phase::body && client.request.headers.contains("Expect");
        if (awaits_continue) client.output += "HTTP/1.1 100 Continue\r\n\r\n";  // RFC 9110, 10.1.1
        if (!client.output.empty()) co_await flush(client, no_body);
        if (in_body) {
            enter(client, phase::body, options_.body_timeout);
        } else if (client.begun) {
            enter(client, phase::header, options_.header_timeout);
        } else if (client.now != phase::header) {
            enter(client, phase::idle, options_.idle_timeout);
            release_memory(client);
        }
        make_room(client, in_body ? large_buffer : small_buffer);
        const byte_span room = byte_span(client.input).subspan(client.input_end);
        const std::size_t got = co_await client.link->read_some(room);
        client.input_end += got;
        co_return got > 0 && !client.expired;
    }

    /// An idle connection keeps little.
    static void release_memory(connection& client) {
        if (client.input.capacity() > small_buffer) client.input = {};
        if (client.output.capacity() > small_buffer) client.output = {};
        if (client.request.body.capacity() > small_buffer) client.request.body = {};
    }

    static void make_room(connection& client, std::size_t size) {
        std::copy(client.input.begin() + static_cast<std::ptrdiff_t>(client.input_begin),
                  client.input.begin() + static_cast<std::ptrdiff_t>(client.input_end), client.input.begin());
        client.input_end -= client.input_begin;
        client.input_begin = 0;
        // The reader leaves at most as many bytes as a header may have, so this stays within twice that.
        if (client.input.size() < size) client.input.resize(size);
        if (client.input_end == client.input.size()) client.input.resize(2 * client.input.size());
    }

    asio::awaitable<http_response> answer(http_request& request) {
        std::string what;
        try {
            auto response = co_await handler_(request);
            co_return response;
        } catch (const std::system_error& error) {
            if (is_cancellation(error.code())) throw;
            what = error.what();
        } catch (const std::exception& error) {
            what = error.what();
        }
        if (options_.on_handler_error) options_.on_handler_error(request, what);
        co_return plain_response(500);
    }

    void append_answer(connection& client, http_response& response, bool keep_alive) {
        const std::size_t before = client.output.size();
        try {
            append_head(client.output, response, keep_alive);
        } catch (const std::system_error& error) {
            if (options_.on_handler_error) options_.on_handler_error(client.request, error.what());
            client.output.resize(before);
            response = plain_response(500);
            append_head(client.output, response, keep_alive);
        }
    }

    static http_response plain_response(int status) {
        return make_http_response(status, "text/plain", std::string(http_reason(status)) + "\n");
    }

    static void append_refusal(std::string& out, int status) {
        const http_response response = plain_response(status);
        append_head(out, response, false);
        out += response.body;
    }

    /// Says why, and reads on for a while: closing over unread bytes would reset the connection, and the client
    /// might never see the answer.
    asio::awaitable<void> refuse(connection& client, int status) {
        append_refusal(client.output, status);
        co_await flush(client, no_body);
        client.link->finish();
        enter(client, phase::refused, std::min<duration>(options_.header_timeout, 2s));
        client.input.resize(large_buffer);
        std::size_t got = 1;
        while (got > 0) got = co_await client.link->read_some(client.input);
    }

    /// Writes the gathered answers and, behind them, `body`.
    asio::awaitable<void> flush(connection& client, byte_view body) {
        enter(client, phase::writing, options_.write_timeout);
        const std::array<byte_view, 2> parts{as_bytes(client.output), body};
        co_await client.link->write(parts);
        client.output.clear();
    }

    /// A phase's limit counts from its beginning: being in it already changes nothing.
    void enter(connection& client, phase next, duration limit) {
        if (client.now == next) return;
        client.now = next;
        client.deadline = limit == duration::max() ? time_point::max() : net_.now() + limit;
    }

    network& net_;
    std::vector<std::unique_ptr<listener>> listeners_;
    http_handler handler_;
    http_server_options options_;
    task_group tasks_;
    std::shared_ptr<roster> clients_;
};

}  // namespace cohort
