// An HTTP/1.1 server over cohort::stream: keep-alive, pipelining, and a bound on everything a client may take.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <cohort/net/http_connection.hpp>
#include <cohort/net/http_parser.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/task_group.hpp>

namespace cohort {

/// Answers one request, which stays the server's but may be emptied. An exception that is not a cancellation is
/// answered with 500. A response with status 101 and an `upgrade` hands the connection over: that coroutine runs as a
/// part of the server, cancelled and awaited with it, and knows none of its deadlines.
using http_handler = std::function<asio::awaitable<http_response>(http_request&)>;

struct http_server_options {
    http_limits limits{};                ///< 431 and 413 beyond
    duration header_timeout = 10s;       ///< for a header, absolute, from its first byte or the connection's start: 408
    duration body_timeout = 60s;         ///< for a body, absolute, from the header's end: 408
    duration idle_timeout = 60s;         ///< between two requests
    duration write_timeout = 60s;        ///< for the client to take what was answered
    std::size_t max_connections = 1000;  ///< further ones wait in the system's queue
    /// Of one address, or of one IPv6 network (/64): further ones are closed. This machine has no such limit; more is
    /// wanted behind a proxy on another.
    std::size_t max_of_one_network = 64;
    /// Told of every exception of the handler, and of an upgrade's that is not a std::system_error.
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
    using connection = detail::http_connection;
    using roster = detail::http_roster;
    using phase = connection::phase;
    using reader = connection::reader;

    static constexpr byte_view no_body{};
    static constexpr std::size_t large_buffer = connection::large_buffer;

    asio::awaitable<void> accept_from(listener& door) {
        bool short_of_memory = false;
        for (;;) {
            try {
                if (short_of_memory) co_await net_.sleep_for(100ms);
                short_of_memory = false;
                while (connections() >= options_.max_connections) co_await clients_->changed.wait();
                auto link = co_await door.accept();
                receive(std::move(link));
            } catch (const std::bad_alloc&) {
                if (short_of_memory) throw;  // not even for waiting: to try again at once would only spin
                short_of_memory = true;      // who was at the door finds the connection closed
            }
        }
    }

    /// Nobody takes all places alone.
    void receive(std::unique_ptr<stream> link) {
        const ip_address address = link->remote_endpoint().address;
        const ip_address from = address.network();
        if (!address.is_loopback() && clients_->count_from(from) >= options_.max_of_one_network) return;
        const auto client = std::make_shared<connection>();
        client->link = std::move(link);
        client->deadline = net_.now() + options_.header_timeout;
        const roster::entry entry = clients_->add(client, from);
        try {
            tasks_.admit(serve(entry));
        } catch (...) {
            clients_->remove(entry);
            throw;
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
                const std::shared_ptr<connection> client = (next++)->client;
                if (client && now >= client->deadline) expire(client);
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
        try {
            std::string text;
            append_refusal(text, 408);
            co_await write_all(*client->link, as_bytes(text));
        } catch (...) {
            caught_error();  // Too late for the client as well.
        }
        client->link->close();
    }

    asio::awaitable<void> serve(roster::entry entry) {
        const roster::registration registered{clients_, entry};
        std::shared_ptr<connection> client = entry->client;
        std::string method;
        std::string target;
        std::string what;
        try {
            const http_upgrade upgrade = co_await exchange(*client);
            if (upgrade) {
                method = client->request.method;
                target = client->request.target;
                auto talk = begin_talk(*client, upgrade);
                client.reset();
                entry->client.reset();  // its place on the roster stays, what it held of memory goes
                co_await std::move(talk);
            }
        } catch (const std::system_error&) {
            // The client went away or was too slow, or the server stops: nobody is left to answer.
        } catch (const std::bad_alloc&) {
            // No more is there to answer with.
        } catch (const std::exception& error) {
            if (client) throw;
            what = error.what();
        }
        if (client && client->link && !client->expired) client->link->close();
        if (!what.empty()) tell_upgrade_error(std::move(method), std::move(target), what);
    }

    static asio::awaitable<void> begin_talk(connection& client, const http_upgrade& upgrade) {
        byte_vector early = client.take_unread();
        return upgrade(std::move(client.link), std::move(early));
    }

    void tell_upgrade_error(std::string method, std::string target, const std::string& what) const {
        http_request request;
        request.method = std::move(method);
        request.target = std::move(target);
        if (options_.on_handler_error) options_.on_handler_error(request, what);
    }

    /// Completes when the connection is to be closed, or with who takes it over.
    asio::awaitable<http_upgrade> exchange(connection& client) {
        for (;;) {
            client.request.clear();
            client.request.from = client.link->remote_endpoint();
            client.begun = false;
            reader request(client.request, options_.limits);
            int refusal = client.parse(request);
            while (refusal == 0 && !request.is_done()) {
                const bool open = co_await read_more(client, request);
                if (!open) co_return nullptr;
                refusal = client.parse(request);
            }
            if (refusal == 0) refusal = examine(client.request);
            if (refusal != 0) {
                co_await refuse(client, refusal);
                co_return nullptr;
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
            const bool upgrades = response.status == 101 && response.upgrade;
            const bool flush_now = large || !keep_alive || upgrades || client.output.size() > large_buffer;
            if (flush_now) co_await flush(client, body);
            if (upgrades) {
                enter(client, phase::upgraded, duration::max());
                co_return std::move(response.upgrade);
            }
            if (!keep_alive) co_return nullptr;
        }
    }

    /// What is well-formed and still not for us: returns the status to refuse with, or 0.
    static int examine(http_request& request) {
        if (request.version == 11 && !request.headers.contains("Host")) return 400;  // RFC 9112, 3.2
        if (!detail::to_origin_form(request)) return 400;
        const auto coding = request.headers.find("Transfer-Encoding");
        if (coding && !equal_ignoring_case(*coding, "chunked")) return 501;  // RFC 9112, 6.1
        return 0;
    }

    /// Waits for more of a request, after the answers to those before it are out. False: no more will come.
    asio::awaitable<bool> read_more(connection& client, const reader& request) {
        const bool in_body = request.is_header_done();
        const bool awaits_body = in_body && client.input_begin == client.input_end && client.request.body.empty() &&
                                 client.now != phase::body;
        if (awaits_body && expects_continue(client.request)) client.output += "HTTP/1.1 100 Continue\r\n\r\n";
        if (!client.output.empty()) co_await flush(client, no_body);
        if (in_body) {
            enter(client, phase::body, options_.body_timeout);
        } else if (client.begun) {
            enter(client, phase::header, options_.header_timeout);
        } else if (client.now != phase::header) {
            enter(client, phase::idle, options_.idle_timeout);
            client.release_memory();
        }
        client.make_room(in_body ? large_buffer : connection::small_buffer);
        const byte_span room = byte_span(client.input).subspan(client.input_end);
        const std::size_t got = co_await client.link->read_some(room);
        client.input_end += got;
        co_return got > 0 && !client.expired;
    }

    /// RFC 9110, 10.1.1.
    static bool expects_continue(const http_request& request) {
        const auto expected = request.headers.find("Expect");
        return request.version == 11 && expected && equal_ignoring_case(*expected, "100-continue");
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
        while (got > 0) {
            co_await client.link->readable();  // others have their turn, however fast it comes
            got = co_await client.link->read_some(client.input);
        }
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
