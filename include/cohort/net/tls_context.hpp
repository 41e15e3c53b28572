// Keys, certificates and rules of TLS connections, read from files once.
//
// A certificate of one's own, for machines that know each other:
//
//   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -keyout key.pem
//       -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1      (one line)
//
// The server takes cert.pem and key.pem, the client takes cert.pem as its ca_file. The names and addresses behind
// subjectAltName are those that clients dial. Programs that include this link libssl beside libcrypto.
#pragma once

#include <memory>
#include <string>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cohort/core/error.hpp>

namespace cohort {

struct tls_client_options {
    std::string ca_file{};           ///< PEM: whom to trust; empty: the system's authorities
    std::string certificate_file{};  ///< PEM: to show to servers that ask who we are; with key_file
    std::string key_file{};
    bool verify = true;  ///< false accepts whoever answers: encrypted, but to nobody knows whom
};

struct tls_server_options {
    std::string certificate_file;  ///< PEM: ours, then those between it and the authority
    std::string key_file;          ///< PEM, without a passphrase
    std::string ca_file{};         ///< PEM: if given, clients need a certificate of these authorities
};

/// A value: copies share what was read. TLS 1.2 and 1.3; no renegotiation, no compression, and no resumed sessions.
class tls_context {
public:
    /// Both throw errc::tls_failed with the file's name and OpenSSL's reason.
    static tls_context client(const tls_client_options& options = {});
    static tls_context server(const tls_server_options& options);

    bool is_server() const { return is_server_; }
    bool verifies() const { return (SSL_CTX_get_verify_mode(context_.get()) & SSL_VERIFY_PEER) != 0; }
    SSL_CTX* native() const { return context_.get(); }

private:
    explicit tls_context(bool is_server);

    void trust(const std::string& ca_file);
    void show(const std::string& certificate_file, const std::string& key_file);

    std::shared_ptr<SSL_CTX> context_;
    bool is_server_;
};

namespace detail {

/// OpenSSL's reason for the last failure, or the words given if it has none; forgets it.
inline std::string tls_reason(const char* otherwise) {
    const unsigned long code = ERR_peek_error();
    const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    const std::string out = reason == nullptr ? otherwise : reason;
    ERR_clear_error();
    return out;
}

/// Never asks at the terminal.
inline int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace detail

// ---- Machinery

inline tls_context::tls_context(bool is_server)
    : context_(SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method()), &SSL_CTX_free),
      is_server_(is_server) {
    if (!context_) raise(errc::tls_failed, detail::tls_reason("no context"));
    SSL_CTX* const to = context_.get();
    SSL_CTX_set_min_proto_version(to, TLS1_2_VERSION);
    SSL_CTX_set_options(to, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(to, 0);
    SSL_CTX_set_session_cache_mode(to, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(to, SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps little
    SSL_CTX_set_default_passwd_cb(to, &detail::no_passphrase);
}

inline void tls_context::trust(const std::string& ca_file) {
    ERR_clear_error();
    const int done = ca_file.empty() ? SSL_CTX_set_default_verify_paths(native())
                                     : SSL_CTX_load_verify_locations(native(), ca_file.c_str(), nullptr);
    if (done != 1) raise(errc::tls_failed, ca_file + ": " + detail::tls_reason("no certificates"));
}

inline void tls_context::show(const std::string& certificate_file, const std::string& key_file) {
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(native(), certificate_file.c_str()) != 1)
        raise(errc::tls_failed, certificate_file + ": " + detail::tls_reason("no certificate"));
    if (SSL_CTX_use_PrivateKey_file(native(), key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(native()) != 1)
        raise(errc::tls_failed, key_file + ": " + detail::tls_reason("no key"));
}

inline tls_context tls_context::client(const tls_client_options& options) {
    tls_context out(false);
    if (options.verify) {
        SSL_CTX_set_verify(out.native(), SSL_VERIFY_PEER, nullptr);
        out.trust(options.ca_file);
    }
    if (!options.certificate_file.empty()) out.show(options.certificate_file, options.key_file);
    return out;
}

inline tls_context tls_context::server(const tls_server_options& options) {
    tls_context out(true);
    out.show(options.certificate_file, options.key_file);
    if (!options.ca_file.empty()) {
        SSL_CTX_set_verify(out.native(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        out.trust(options.ca_file);
    }
    return out;
}

}  // namespace cohort
