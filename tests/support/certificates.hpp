// Certificates made on the spot, good ones and others.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace cohort::test {

struct certificate_wish {
    std::string names = "DNS:localhost,IP:127.0.0.1";  ///< a subjectAltName as OpenSSL writes it
    long valid_from = -3600;                           ///< seconds from now
    long valid_for = 86'400;                           ///< seconds from now
};

namespace detail {

inline void must(bool done) {
    if (!done) throw std::logic_error("OpenSSL makes no certificate");
}

inline void add_extension(X509* to, int kind, const std::string& value) {
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> made(
        X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()), &X509_EXTENSION_free);
    must(made != nullptr);
    must(X509_add_ext(to, made.get(), -1) == 1);
}

}  // namespace detail

/// Writes a self-signed certificate to folder/cert.pem and its key to folder/key.pem.
inline void write_certificate(const std::filesystem::path& folder, const certificate_wish& wish = {}) {
    std::filesystem::create_directories(folder);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> made(X509_new(), &X509_free);
    detail::must(key && made);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), wish.valid_from);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), wish.valid_for);
    X509_NAME* const name = X509_get_subject_name(made.get());
    const auto* const common = reinterpret_cast<const unsigned char*>("test");
    detail::must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0) == 1);
    X509_set_issuer_name(made.get(), name);
    X509_set_pubkey(made.get(), key.get());
    detail::add_extension(made.get(), NID_basic_constraints, "critical,CA:TRUE");
    detail::add_extension(made.get(), NID_subject_alt_name, wish.names);
    detail::must(X509_sign(made.get(), key.get(), EVP_sha256()) > 0);

    const auto open = [&folder](const char* file) {
        std::FILE* const out = std::fopen((folder / file).c_str(), "wb");
        detail::must(out != nullptr);
        return std::unique_ptr<std::FILE, decltype(&std::fclose)>(out, &std::fclose);
    };
    detail::must(PEM_write_X509(open("cert.pem").get(), made.get()) == 1);
    detail::must(PEM_write_PrivateKey(open("key.pem").get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
}

}  // namespace cohort::test
