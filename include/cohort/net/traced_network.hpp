// A network that notes what is said through it, a JSON line a message (protocol/trace.hpp), and changes nothing else.
// Under a noise_network it notes what is on the wire, over one what the two have to say.
//
//     traced_network net(real, [](std::string_view line) { std::puts(std::string(line).c_str()); }, "leecher");
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <cohort/net/network.hpp>
#include <cohort/protocol/trace.hpp>
#include <cohort/protocol/trace_conversation.hpp>
#include <cohort/protocol/trace_datagram.hpp>

namespace cohort {

namespace detail {

/// What all that was made through one traced_network shares.
class trace_book {
public:
    trace_book(network& below, trace_sink sink, std::string host)
        : below_(below), sink_(std::move(sink)), host_(std::move(host)), began_(below.now()) {
        writer_.begin(0, host_);
        writer_.add("message", std::string_view("trace"));
        writer_.add_seconds("clock", microseconds(began_.time_since_epoch()));
        sink_(writer_.finish());
    }

    network& below() { return below_; }
    std::uint64_t next_link() { return ++links_; }

    void note(std::uint64_t link, const std::optional<endpoint>& peer, std::optional<trace_direction> dir,
              const trace_event& event) {
        writer_.begin(microseconds(below_.now() - began_), host_);
        if (peer) writer_.add("peer", std::string_view(peer->to_string()));
        writer_.add("link", link);
        if (dir) writer_.add("dir", name_of(*dir));
        writer_.add(event);
        sink_(writer_.finish());
    }

private:
    static std::int64_t microseconds(duration d) {
        return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
    }

    network& below_;
    trace_sink sink_;
    std::string host_;
    time_point began_;
    trace_writer writer_;
    std::uint64_t links_ = 0;
};

/// What goes out is noted before it goes, so that no answer is noted before its question.
class traced_stream final : public stream {
public:
    traced_stream(std::shared_ptr<trace_book> book, std::unique_ptr<stream> inner, trace_direction opened)
        : book_(std::move(book)),
          inner_(std::move(inner)),
          peer_(inner_->remote_endpoint()),
          link_(book_->next_link()),
          said_([this](trace_direction dir, const trace_event& event) { note(dir, event); }) {
        const std::string_view how = opened == trace_direction::out ? "connect" : "accept";
        note(opened, {how, {{"local", inner_->local_endpoint().to_string()}}});
    }
    ~traced_stream() override { note_close(); }

    asio::awaitable<void> readable() override { return inner_->readable(); }

    asio::awaitable<std::size_t> read_some(byte_span into) override {
        std::size_t got = 0;
        try {
            got = co_await inner_->read_some(into);
        } catch (const std::system_error& error) {
            remember(error.code());
            throw;
        }
        if (got > 0) said_.feed(trace_direction::in, into.first(got));
        if (got == 0 && !into.empty()) note_end(trace_direction::in);
        co_return got;
    }

    asio::awaitable<void> write(std::span<const byte_view> buffers) override {
        for (const byte_view part : buffers) said_.feed(trace_direction::out, part);
        try {
            co_await inner_->write(buffers);
        } catch (const std::system_error& error) {
            remember(error.code());
            throw;
        }
    }

    asio::awaitable<void> write_segments(std::span<const segment> segments) override {
        for (const segment& part : segments) {
            if (const auto* const slice = std::get_if<file_slice>(&part)) {
                said_.skip(trace_direction::out, slice->length);
            } else {
                said_.feed(trace_direction::out, std::get<byte_view>(part));
            }
        }
        try {
            co_await inner_->write_segments(segments);
        } catch (const std::system_error& error) {
            remember(error.code());
            throw;
        }
    }

    void finish() noexcept override {
        note_end(trace_direction::out);
        inner_->finish();
    }
    void close() noexcept override {
        note_close();
        inner_->close();
    }

    endpoint remote_endpoint() const override { return peer_; }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }

private:
    void note(std::optional<trace_direction> dir, const trace_event& event) {
        if (!closed_) book_->note(link_, peer_, dir, event);
    }

    void note_end(trace_direction dir) {
        bool& ended = ended_[static_cast<std::size_t>(dir)];
        if (std::exchange(ended, true) || closed_) return;
        said_.end(dir);
        note(dir, {"end", {}});
    }

    /// Why the connection ended, unless we just let go of it. The first error is the cause of the others.
    void remember(const std::error_code& code) {
        if (!reason_ && !is_cancellation(code)) reason_ = code;
    }

    void note_close() {
        if (closed_) return;
        for (const trace_direction dir : {trace_direction::out, trace_direction::in})
            if (!ended_[static_cast<std::size_t>(dir)]) said_.end(dir);
        trace_event event{
            "close", {{"sent", said_.total(trace_direction::out)}, {"received", said_.total(trace_direction::in)}}};
        if (reason_) event.fields.push_back({"reason", reason_.message()});
        note(std::nullopt, event);
        closed_ = true;
    }

    std::shared_ptr<trace_book> book_;
    std::unique_ptr<stream> inner_;
    endpoint peer_;
    std::uint64_t link_;
    conversation_trace said_;
    std::error_code reason_;
    bool ended_[2] = {};
    bool closed_ = false;
};

class traced_listener final : public listener {
public:
    traced_listener(std::shared_ptr<trace_book> book, std::unique_ptr<listener> inner)
        : book_(std::move(book)), inner_(std::move(inner)) {}

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        const std::shared_ptr<trace_book> book = book_;
        std::unique_ptr<stream> link = co_await inner_->accept();
        std::unique_ptr<stream> out = std::make_unique<traced_stream>(book, std::move(link), trace_direction::in);
        co_return out;
    }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }
    void close() noexcept override { inner_->close(); }

private:
    std::shared_ptr<trace_book> book_;
    std::unique_ptr<listener> inner_;
};

class traced_socket final : public datagram_socket {
public:
    traced_socket(std::shared_ptr<trace_book> book, std::unique_ptr<datagram_socket> inner)
        : book_(std::move(book)), inner_(std::move(inner)), link_(book_->next_link()) {
        const trace_event event{"bind", {{"local", inner_->local_endpoint().to_string()}}};
        book_->note(link_, std::nullopt, std::nullopt, event);
    }

    asio::awaitable<arrival> receive(byte_span into) override {
        const std::shared_ptr<trace_book> book = book_;
        const std::uint64_t link = link_;
        const arrival came = co_await inner_->receive(into);
        const trace_event event = trace_datagram(into.first(came.size), came.from.address.is_v6());
        book->note(link, came.from, trace_direction::in, event);
        co_return came;
    }
    asio::awaitable<void> send(endpoint to, byte_view bytes) override {
        book_->note(link_, to, trace_direction::out, trace_datagram(bytes, to.address.is_v6()));
        co_await inner_->send(to, bytes);
    }
    endpoint local_endpoint() const override { return inner_->local_endpoint(); }
    void close() noexcept override { inner_->close(); }

private:
    std::shared_ptr<trace_book> book_;
    std::unique_ptr<datagram_socket> inner_;
    std::uint64_t link_;
};

}  // namespace detail

/// Everything is that of `below`, which outlives this and all that was made through it; `sink` lives as long as the
/// last of these. Times are those of below's clock: a simulated run gives the same lines from the same seed.
class traced_network final : public network {
public:
    /// `host` is what the lines call this network's machine.
    traced_network(network& below, trace_sink sink, std::string host = "here")
        : book_(std::make_shared<detail::trace_book>(below, std::move(sink), std::move(host))) {}

    asio::any_io_executor executor() override { return book_->below().executor(); }
    time_point now() const override { return book_->below().now(); }
    asio::awaitable<void> sleep_until(time_point deadline) override { return book_->below().sleep_until(deadline); }
    std::int64_t calendar() const override { return book_->below().calendar(); }
    random_engine& random() override { return book_->below().random(); }
    void secret(byte_span out) override { book_->below().secret(out); }

    asio::awaitable<std::unique_ptr<stream>> connect(endpoint to) override { return dial(book_, to); }
    std::unique_ptr<listener> listen(endpoint at) override {
        return std::make_unique<detail::traced_listener>(book_, book_->below().listen(at));
    }
    std::unique_ptr<datagram_socket> bind_udp(endpoint at) override {
        return std::make_unique<detail::traced_socket>(book_, book_->below().bind_udp(at));
    }
    asio::awaitable<std::vector<ip_address>> resolve(std::string host) override {
        return book_->below().resolve(std::move(host));
    }

private:
    static asio::awaitable<std::unique_ptr<stream>> dial(std::shared_ptr<detail::trace_book> book, endpoint to) {
        std::unique_ptr<stream> link;
        try {
            link = co_await book->below().connect(to);
        } catch (const std::system_error& error) {
            const trace_event event{"connect_failed", {{"reason", error.code().message()}}};
            book->note(book->next_link(), to, trace_direction::out, event);
            throw;
        }
        std::unique_ptr<stream> out =
            std::make_unique<detail::traced_stream>(book, std::move(link), trace_direction::out);
        co_return out;
    }

    std::shared_ptr<detail::trace_book> book_;
};

}  // namespace cohort
