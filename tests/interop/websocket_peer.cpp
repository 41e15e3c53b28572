// The WebSocket programs that the scripts here and tests/bench talk with: an echo server, and clients.
//
//   websocket_peer serve [PORT]   echoes at /echo, and at /sealed through a noise_channel; shows /page, a page that
//   tries the browser's WebSocket out websocket_peer check URL      tries out an echo server; says `ok NAME` for each
//   step websocket_peer read URL       shows what a server sends and how it ends
#include <csignal>
#include <cstdio>
#include <string>

#include <cohort/net/http_server.hpp>
#include <cohort/net/listen_all.hpp>
#include <cohort/net/noise_channel.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/net/websocket_client.hpp>
#include <cohort/net/websocket_pipe.hpp>
#include <cohort/net/websocket_server.hpp>

#include <asio/signal_set.hpp>

namespace {

using namespace cohort;

void say(const std::string& line) {
    std::puts(line.c_str());
    std::fflush(stdout);
}

// ---- server ----

/// Opens WebSockets to where it came from and posts what it saw.
constexpr std::string_view page = R"html(<!doctype html>
<meta charset="utf-8">
<title>WebSocket</title>
<script>
const told = [];
const address = "ws://" + location.host + "/echo";
function attempt(name, protocols, work) {
  return new Promise(resolve => {
    const done = verdict => { told.push(verdict + " " + name); resolve(); };
    const socket = new WebSocket(address, protocols);
    socket.binaryType = "arraybuffer";
    work(socket, () => done("ok"), why => done("not ok: " + why));
    setTimeout(() => done("not ok: too late"), 20000);
  });
}
function same(a, b) {
  if (typeof a === "string" || typeof b === "string") return a === b;
  const x = new Uint8Array(a), y = new Uint8Array(b);
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}
function echoes(messages) {
  return (socket, good, bad) => {
    let next = 0;
    socket.onopen = () => messages.forEach(one => socket.send(one));
    socket.onmessage = event => {
      if (!same(event.data, messages[next++])) return bad("message " + next);
      if (next === messages.length) socket.close(1000);
    };
    socket.onclose = event => next === messages.length && event.wasClean && event.code === 1000
      ? good() : bad("closed with " + event.code + " after " + next);
  };
}
const bytes = size => Uint8Array.from({length: size}, (_, i) => i * 7).buffer;
async function everything() {
  await attempt("texts", [], echoes(["", "a", "κόσμε 🌍", "x".repeat(125), "x".repeat(126), "x".repeat(70000)]));
  await attempt("binary", [], echoes([0, 1, 125, 126, 65535, 65536, 1048576].map(bytes)));
  await attempt("a thousand at once", [], echoes(Array.from({length: 1000}, (_, i) => "message " + i)));
  await attempt("subprotocol", ["other", "cohort.1"], (socket, good, bad) => {
    socket.onopen = () => { socket.protocol === "cohort.1" ? socket.close() : bad(socket.protocol); };
    socket.onclose = event => good();
  });
  await attempt("our code and words", [], (socket, good, bad) => {
    socket.onopen = () => socket.close(4321, "Gründe");
    socket.onclose = event => event.code === 4321 && event.wasClean ? good() : bad(event.code);
  });
  await attempt("the server's code and words", [], (socket, good, bad) => {
    socket.onopen = () => socket.send("close 4001 enough");
    socket.onclose = event =>
      event.code === 4001 && event.reason === "enough" && event.wasClean ? good() : bad(event.code);
  });
  await attempt("too long a message", [], (socket, good, bad) => {
    socket.onopen = () => socket.send(bytes(1048577));
    socket.onclose = event => event.code === 1009 ? good() : bad(event.code);
  });
  await fetch("/told", {method: "POST", body: told.join("\n")});
}
everything();
</script>
)html";

/// Echoes; a text `close CODE WORDS` is obeyed instead.
asio::awaitable<void> echo(std::unique_ptr<websocket> with) {
    try {
        for (;;) {
            const websocket_message message = co_await with->receive();
            if (message.is_text && message.text().starts_with("close ")) {
                const std::string order(message.text().substr(6));
                const auto code = static_cast<std::uint16_t>(std::stoi(order));
                const std::string words = order.substr(std::min(order.size(), order.find(' ') + 1));
                co_await with->close(code, words);
                say("closed " + order);
                break;
            }
            co_await with->send(message);
        }
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        say(std::string("ended: ") + error.what());
    }
}

/// The same through an encrypted channel.
asio::awaitable<void> echo_sealed(network& net, const identity& self, std::unique_ptr<websocket> with) {
    try {
        std::unique_ptr<message_pipe> pipe = std::make_unique<websocket_pipe>(std::move(with));
        const auto channel = co_await noise_channel::as_responder(net, std::move(pipe), self);
        for (;;) {
            const byte_vector message = co_await channel->receive();
            co_await channel->send(message);
        }
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
    }
}

class server {
public:
    explicit server(network& net) : net_(net), self_(identity::random()) {}

    asio::awaitable<http_response> answer(http_request& request) {
        if (request.path() == "/echo") {
            http_response out = upgrade_to_websocket(net_, request, &echo, options_);
            co_return out;
        }
        if (request.path() == "/sealed") {
            const websocket_talk talk = [this](std::unique_ptr<websocket> with) {
                return echo_sealed(net_, self_, std::move(with));
            };
            http_response out = upgrade_to_websocket(net_, request, talk, options_);
            co_return out;
        }
        if (request.path() == "/told") say(request.body + "\ntold");
        if (request.path() == "/page") co_return make_http_response(200, "text/html", std::string(page));
        co_return make_http_response(request.path() == "/told" ? 200 : 404, "text/plain", "");
    }

private:
    network& net_;
    const identity self_;
    const websocket_server_options options_{.link = {}, .protocols = {"cohort.1"}, .any_origin = false};
};

asio::awaitable<void> serve(network& net, std::uint16_t port) {
    server answers(net);
    const http_handler handler = [&answers](http_request& request) { return answers.answer(request); };
    std::vector<ip_address> here{ip_address::loopback_v4()};
    http_server_options options;
    options.max_connections = 5000;
    http_server http(net, listen_all(net, here, port), handler, options);
    say("listening on " + http.local_endpoints().front().to_string());
    co_await http.run();
}

// ---- clients ----

std::string letters(std::size_t size) {
    std::string out;
    while (out.size() < size) out += "κόσμε";
    return out;
}

/// What comes back must be what was sent.
asio::awaitable<void> expect_echo(websocket& link, std::string text) {
    co_await link.send(text);
    const websocket_message back = co_await link.receive();
    if (!back.is_text || back.text() != text) throw std::runtime_error("another text came back");
}

asio::awaitable<void> expect_binary_echo(websocket& link, byte_vector bytes) {
    co_await link.send(bytes);
    const websocket_message back = co_await link.receive();
    if (back.is_text || !std::equal(bytes.begin(), bytes.end(), back.payload.begin(), back.payload.end()))
        throw std::runtime_error("other bytes came back");
}

asio::awaitable<void> send_many(websocket& link, int count) {
    for (int i = 0; i < count; ++i) {
        const std::string text = "message " + std::to_string(i);
        co_await link.send(text);
    }
}

asio::awaitable<void> check(network& net, std::string url) {
    websocket_client_options options;
    options.protocols = {"other", "cohort.1"};
    const auto link = co_await websocket_connect(net, url, options);
    say("ok connected, protocol " + link->protocol);
    for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U, 1000U * 1000U}) {
        co_await expect_echo(*link, letters(size));
        byte_vector bytes(size);
        net.random().fill(bytes);
        co_await expect_binary_echo(*link, std::move(bytes));
    }
    say("ok texts and bytes of all sizes");
    constexpr int many = 20'000;
    task_group tasks(net.executor());
    tasks.spawn(send_many(*link, many));
    for (int i = 0; i < many; ++i) {
        const websocket_message back = co_await link->receive();
        if (back.text() != "message " + std::to_string(i)) throw std::runtime_error("out of order");
    }
    co_await tasks.join();
    say("ok many messages in order");
    co_await link->close(4321, "Gründe");
    say("ok closed with " + std::to_string(link->peer_close_code()));
}

asio::awaitable<void> read(network& net, std::string url) {
    const auto link = co_await websocket_connect(net, url);
    try {
        for (;;) {
            const websocket_message message = co_await link->receive();
            say(std::string(message.is_text ? "text " : "binary ") + std::to_string(message.payload.size()) + " " +
                std::string(message.text().substr(0, 40)));
        }
    } catch (const std::system_error& error) {
        if (is_cancellation(error.code())) throw;
        say(std::string("ended: ") + error.what());
    }
    co_await link->close();
}

}  // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    const std::string argument = argc > 2 ? argv[2] : "";
    std::signal(SIGPIPE, SIG_IGN);
    asio::io_context io(1);
    real_network net(io.get_executor());
    asio::awaitable<void> work;
    if (what == "serve") work = serve(net, static_cast<std::uint16_t>(argument.empty() ? 0 : std::stoi(argument)));
    if (what == "check") work = check(net, argument);
    if (what == "read") work = read(net, argument);
    if (!work.valid()) {
        std::fputs("usage: websocket_peer serve [PORT] | check URL | read URL\n", stderr);
        return 2;
    }
    int code = 0;
    asio::cancellation_signal stop;
    asio::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&stop](const std::error_code& error, int) {
        if (!error) stop.emit(asio::cancellation_type::terminal);
    });
    asio::co_spawn(io, std::move(work), asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr thrown) {
                       signals.cancel();
                       try {
                           if (thrown) std::rethrow_exception(thrown);
                       } catch (const std::exception& error) {
                           code = is_cancellation(thrown) ? 0 : 1;
                           if (code != 0) std::fprintf(stderr, "websocket_peer: %s\n", error.what());
                       }
                   }));
    io.run();
    return code;
}
