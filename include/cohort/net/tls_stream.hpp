// TLS over any stream, for clients and servers. OpenSSL gets and gives bytes in memory; what carries them is a
// cohort::stream like any other, so that a TLS connection over a simulated link is one too.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <cohort/net/network.hpp>
#include <cohort/net/stream.hpp>
#include <cohort/net/stream_upgrade.hpp>
#include <cohort/net/tls_context.hpp>
#include <cohort/net/wakeup.hpp>

namespace cohort {

/// Makes `plain` a TLS connection to the server `host`, whose certificate is to be for that name or address, and
/// completes after the handshake. Fails with errc::tls_failed and the reason: a certificate that is not trusted, for
/// another host or out of date, no common version; with errc::connection_closed, or the carrier's error. There is no
/// deadline here: with_timeout(). Cancelling closes the connection and throws asio::error::operation_aborted.
asio::awaitable<std::unique_ptr<stream>> tls_connect(std::unique_ptr<stream> plain, tls_context client,
                                                     std::string host);

/// The server's side of it. Fails in the same way.
asio::awaitable<std::unique_ptr<stream>> tls_accept(std::unique_ptr<stream> plain, tls_context server);

/// A listener whose connections are TLS ones. accept() waits for no handshake: the first read or write of a connection
/// makes it, and fails as tls_accept() does. http_server and others listen with TLS by it.
std::unique_ptr<listener> tls_listen(std::unique_ptr<listener> plain, tls_context server);

/// What http_client_options::tls takes, for https.
stream_upgrade tls_upgrade(tls_context client);

// ---- Machinery

namespace detail {

/// Reads never write once the handshake is over (an answer to a key update goes out with the next write), so that one
/// reader and one writer need no lock. The end without TLS's own goodbye is errc::connection_closed: somebody else may
/// have cut it.
class tls_stream final : public stream {
public:
    tls_stream(const asio::any_io_executor& executor, std::unique_ptr<stream> plain, const tls_context& context,
               const std::string& host)
        : state_(std::make_shared<state>(executor, std::move(plain), context)) {
        SSL* const ssl = state_->ssl.get();
        if (context.is_server()) {
            SSL_set_accept_state(ssl);
        } else {
            SSL_set_connect_state(ssl);
            expect_host(ssl, host, context.verifies());
        }
    }

    ~tls_stream() override { close(); }

    asio::awaitable<void> handshake() { return state_->handshake(); }

    asio::awaitable<void> readable() override {
        SSL* const ssl = state_->ssl.get();
        if (SSL_pending(ssl) > 0 || BIO_pending(SSL_get_rbio(ssl)) > 0) co_return;
        co_await state_->plain->readable();
    }

    asio::awaitable<std::size_t> read_some(byte_span into) override { return state_->read_some(into); }
    asio::awaitable<void> write(std::span<const byte_view> buffers) override { return state_->write(buffers); }

    /// Says goodbye in a coroutine of its own, which close() ends.
    void finish() noexcept override {
        if (state_->closed || state_->finished || !SSL_is_init_finished(state_->ssl.get())) return;
        state_->finished = true;
        try {
            asio::co_spawn(state_->executor, say_goodbye(state_), [](std::exception_ptr) {});
        } catch (const std::exception&) {
            state_->plain->finish();
        }
    }

    void close() noexcept override {
        state_->closed = true;
        state_->plain->close();
        state_->shaken.notify();
    }

    endpoint remote_endpoint() const override { return state_->plain->remote_endpoint(); }
    endpoint local_endpoint() const override { return state_->plain->local_endpoint(); }

private:
    static constexpr std::size_t record_max = 16 * 1024;  // RFC 8446, 5.1
    static constexpr int output_max = 64 * 1024;          // waiting to be written

    struct ssl_deleter {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };

    /// Shared with the goodbye.
    struct state : std::enable_shared_from_this<state> {
        state(const asio::any_io_executor& ex, std::unique_ptr<stream> carrier, const tls_context& context)
            : executor(ex), plain(std::move(carrier)), ssl(SSL_new(context.native())), shaken(ex) {
            BIO* const in = BIO_new(BIO_s_mem());
            BIO* const out = BIO_new(BIO_s_mem());
            if (ssl == nullptr || in == nullptr || out == nullptr) {
                BIO_free(in);
                BIO_free(out);
                raise(errc::tls_failed, "no memory");
            }
            SSL_set_bio(ssl.get(), in, out);
        }

        asio::awaitable<void> handshake();
        asio::awaitable<std::size_t> read_some(byte_span into);
        asio::awaitable<void> write(std::span<const byte_view> buffers);
        asio::awaitable<void> fill();
        asio::awaitable<void> flush();
        void encrypt(byte_view bytes);
        int output_waiting() const { return static_cast<int>(BIO_pending(SSL_get_wbio(ssl.get()))); }
        std::string reason(const char* otherwise) const;

        asio::any_io_executor executor;
        std::unique_ptr<stream> plain;
        std::unique_ptr<SSL, ssl_deleter> ssl;
        wakeup shaken;
        bool shaking = false;
        bool finished = false;
        bool closed = false;
    };

    /// One coroutine at a time makes the handshake; the other waits.
    struct turn {
        explicit turn(std::shared_ptr<state> whose) : of(std::move(whose)) { of->shaking = true; }
        ~turn() {
            of->shaking = false;
            of->shaken.notify();
        }
        turn(const turn&) = delete;
        turn& operator=(const turn&) = delete;

        std::shared_ptr<state> of;
    };

    static asio::awaitable<void> say_goodbye(std::shared_ptr<state> with) {
        ERR_clear_error();
        SSL_shutdown(with->ssl.get());
        co_await with->flush();
        with->plain->finish();
    }

    static void expect_host(SSL* ssl, const std::string& host, bool verify) {
        const bool is_address = ip_address::parse(host).has_value();
        int done = 1;
        if (!is_address && !host.empty()) done = static_cast<int>(SSL_set_tlsext_host_name(ssl, host.c_str()));
        if (done == 1 && verify) {
            SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            if (host.empty()) done = 0;
            if (done == 1 && is_address)
                done = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
            else if (done == 1)
                done = SSL_set1_host(ssl, host.c_str());
        }
        if (done != 1) raise(errc::tls_failed, "not a host to expect: " + host);
    }

    std::shared_ptr<state> state_;
};

inline std::string tls_stream::state::reason(const char* otherwise) const {
    const long verdict = SSL_get_verify_result(ssl.get());
    const std::string words = tls_reason(otherwise);
    return verdict == X509_V_OK ? words : words + ": " + X509_verify_cert_error_string(verdict);
}

inline asio::awaitable<void> tls_stream::state::handshake() {
    while (shaking) co_await shaken.wait();
    if (closed) throw_cancelled();
    if (SSL_is_init_finished(ssl.get())) co_return;
    const turn ours(shared_from_this());
    for (;;) {
        ERR_clear_error();
        const int done = SSL_do_handshake(ssl.get());
        const bool failed = done != 1 && SSL_get_error(ssl.get(), done) != SSL_ERROR_WANT_READ;
        const std::string why = failed ? reason("handshake failed") : std::string();
        try {
            co_await flush();  // an alert, too
        } catch (const std::system_error& error) {
            if (!failed || is_cancellation(error.code())) throw;
        }
        if (failed) raise(errc::tls_failed, why);
        if (done == 1) co_return;
        co_await fill();
    }
}

inline asio::awaitable<std::size_t> tls_stream::state::read_some(byte_span into) {
    if (!SSL_is_init_finished(ssl.get())) co_await handshake();
    for (;;) {
        if (closed) throw_cancelled();
        ERR_clear_error();
        std::size_t got = 0;
        const int done = SSL_read_ex(ssl.get(), into.data(), into.size(), &got);
        if (done == 1) co_return got;
        const int error = SSL_get_error(ssl.get(), done);
        if (error == SSL_ERROR_ZERO_RETURN) co_return 0;
        if (error != SSL_ERROR_WANT_READ) raise(errc::tls_failed, reason("broken record"));
        // Somebody who asks for new keys without end, and whom we have nothing to say.
        if (output_waiting() > output_max) raise(errc::tls_failed, "too many key updates");
        co_await fill();
    }
}

inline asio::awaitable<void> tls_stream::state::write(std::span<const byte_view> buffers) {
    if (!SSL_is_init_finished(ssl.get())) co_await handshake();
    if (closed) throw_cancelled();
    if (finished) raise(std::make_error_code(std::errc::broken_pipe), "after finish()");
    byte_vector small;  // gathers what would be records of a few bytes
    for (const byte_view& buffer : buffers) {
        for (byte_view left = buffer; !left.empty();) {
            const byte_view part = left.first(std::min(left.size(), record_max - small.size()));
            left = left.subspan(part.size());
            const bool alone = small.empty() && (part.size() == record_max || buffers.size() == 1);
            if (alone)
                encrypt(part);
            else
                small.insert(small.end(), part.begin(), part.end());
            if (small.size() == record_max) {
                encrypt(small);
                small.clear();
            }
            if (output_waiting() >= output_max) co_await flush();
        }
    }
    if (!small.empty()) encrypt(small);
    co_await flush();
}

/// Into memory, so that it never waits.
inline void tls_stream::state::encrypt(byte_view bytes) {
    ERR_clear_error();
    std::size_t done = 0;
    if (SSL_write_ex(ssl.get(), bytes.data(), bytes.size(), &done) != 1 || done != bytes.size())
        raise(errc::tls_failed, reason("cannot write"));
}

inline asio::awaitable<void> tls_stream::state::fill() {
    if (closed) throw_cancelled();
    co_await plain->readable();  // an idle connection holds no buffer
    const auto input = std::make_unique_for_overwrite<std::uint8_t[]>(record_max);
    const byte_span room(input.get(), record_max);
    const std::size_t got = co_await plain->read_some(room);
    if (got == 0) raise(errc::connection_closed);
    if (BIO_write(SSL_get_rbio(ssl.get()), input.get(), static_cast<int>(got)) != static_cast<int>(got))
        raise(errc::tls_failed, "no memory");
}

inline asio::awaitable<void> tls_stream::state::flush() {
    while (output_waiting() > 0) {
        byte_vector out(static_cast<std::size_t>(output_waiting()));
        const int size = BIO_read(SSL_get_wbio(ssl.get()), out.data(), static_cast<int>(out.size()));
        if (size <= 0) co_return;
        const byte_view bytes = byte_view(out).first(static_cast<std::size_t>(size));
        co_await write_all(*plain, bytes);
    }
}

class tls_listener final : public listener {
public:
    tls_listener(std::unique_ptr<listener> plain, tls_context context)
        : plain_(std::move(plain)), context_(std::move(context)) {}

    asio::awaitable<std::unique_ptr<stream>> accept() override {
        const asio::any_io_executor executor = co_await asio::this_coro::executor;
        auto link = co_await plain_->accept();
        const std::string nobody;
        co_return std::make_unique<tls_stream>(executor, std::move(link), context_, nobody);
    }
    endpoint local_endpoint() const override { return plain_->local_endpoint(); }
    void close() noexcept override { plain_->close(); }

private:
    std::unique_ptr<listener> plain_;
    tls_context context_;
};

inline asio::awaitable<std::unique_ptr<stream>> tls_shake(std::unique_ptr<stream> plain, tls_context context,
                                                          std::string host) {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto out = std::make_unique<tls_stream>(executor, std::move(plain), context, host);
    co_await out->handshake();
    co_return out;
}

}  // namespace detail

inline asio::awaitable<std::unique_ptr<stream>> tls_connect(std::unique_ptr<stream> plain, tls_context client,
                                                            std::string host) {
    return detail::tls_shake(std::move(plain), std::move(client), std::move(host));
}

inline asio::awaitable<std::unique_ptr<stream>> tls_accept(std::unique_ptr<stream> plain, tls_context server) {
    return detail::tls_shake(std::move(plain), std::move(server), std::string());
}

inline std::unique_ptr<listener> tls_listen(std::unique_ptr<listener> plain, tls_context server) {
    return std::make_unique<detail::tls_listener>(std::move(plain), std::move(server));
}

inline stream_upgrade tls_upgrade(tls_context client) {
    return [client = std::move(client)](std::unique_ptr<stream> plain, std::string host) {
        return tls_connect(std::move(plain), client, std::move(host));
    };
}

}  // namespace cohort
