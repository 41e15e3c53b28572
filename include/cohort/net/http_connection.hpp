// One client's connection as an HTTP server keeps it: its stream, its buffers, and where it stands.
#pragma once

#include <algorithm>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include <cohort/core/endpoint.hpp>
#include <cohort/net/http_parser.hpp>
#include <cohort/net/network.hpp>
#include <cohort/net/wakeup.hpp>

namespace cohort::detail {

struct http_connection {
    using reader = http_reader<http_request>;

    enum class phase { header, body, handling, writing, idle, refused, upgraded };

    static constexpr std::size_t small_buffer = 4 * 1024;
    static constexpr std::size_t large_buffer = 64 * 1024;

    std::unique_ptr<stream> link;
    phase now = phase::header;
    time_point deadline;
    bool begun = false;    ///< some bytes of the request that we read are here
    bool expired = false;  ///< the stream is with whoever answers the late request
    byte_vector input;
    std::size_t input_begin = 0;
    std::size_t input_end = 0;
    std::string output;
    http_request request;

    byte_span unread() { return byte_span(input).subspan(input_begin, input_end - input_begin); }

    /// Feeds what has arrived; returns the status to refuse the request with, or 0.
    int parse(reader& into) {
        byte_view in = unread();
        std::error_code ec;
        into.put(in, ec);
        input_begin = input_end - in.size();
        begun = into.started() || !in.empty();
        return ec ? into.refusal() : 0;
    }

    void make_room(std::size_t size) {
        const byte_span rest = unread();
        std::copy(rest.begin(), rest.end(), input.begin());
        input_end -= input_begin;
        input_begin = 0;
        // The reader leaves at most as many bytes as a header may have, so this stays within twice that.
        if (input.size() < size) input.resize(size);
        if (input_end == input.size()) input.resize(2 * input.size());
    }

    byte_vector take_unread() {
        const byte_span rest = unread();
        byte_vector out(rest.begin(), rest.end());
        input_begin = input_end;
        return out;
    }

    /// An idle connection, of which nothing is unread, keeps little. Assigning something empty would keep the memory.
    void release_memory() {
        if (input.capacity() > small_buffer) byte_vector().swap(input);
        if (output.capacity() > small_buffer) std::string().swap(output);
        if (request.body.capacity() > small_buffer) std::string().swap(request.body);
        input_begin = input_end = 0;
    }
};

/// The connections of a server, shared with their coroutines, which the executor's context may outlive the server to
/// destroy.
struct http_roster {
    struct visitor {
        std::shared_ptr<http_connection> client;  ///< null: it speaks another protocol by now
        ip_address network;                       ///< whence it came
    };
    using entry = std::list<visitor>::iterator;

    explicit http_roster(const asio::any_io_executor& executor) : changed(executor) {}

    std::size_t count_from(const ip_address& network) const {
        const auto found = per_network.find(network);
        return found == per_network.end() ? 0 : found->second;
    }

    entry add(std::shared_ptr<http_connection> client, const ip_address& network) {
        std::size_t& count = per_network[network];
        const entry out = list.insert(list.end(), {std::move(client), network});
        ++count;
        changed.notify();
        return out;
    }
    void remove(entry gone) {
        if (const auto count = per_network.find(gone->network); --count->second == 0) per_network.erase(count);
        list.erase(gone);
        changed.notify();
    }

    /// Takes a connection off the roster, however its coroutine ends.
    struct registration {
        std::shared_ptr<http_roster> clients;
        http_roster::entry place;

        ~registration() { clients->remove(place); }
    };

    std::list<visitor> list;
    std::unordered_map<ip_address, std::size_t> per_network;
    wakeup changed;
};

}  // namespace cohort::detail
