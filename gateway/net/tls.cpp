#include "net/tls.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/error.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>
#include <string_view>

namespace gw::net {
namespace {

namespace ssl = boost::asio::ssl;

constexpr std::array<unsigned char, 9> alpn{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

std::unexpected<failure> broken(std::string text, const error_code& ec)
{
    return std::unexpected(failure{.what = code::internal, .text = std::move(text) + ": " + ec.message()});
}

int select_http11(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size, void*)
{
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, alpn.data(), alpn.size(), in, in_size) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; // RFC 7301 section 3.2: it speaks something else
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

// OpenSSL would ask at the terminal.
int no_password(char*, int, int, void*)
{
    return 0;
}

// What both sides have in common.
void harden(SSL_CTX* of)
{
    SSL_CTX_set_min_proto_version(of, TLS1_2_VERSION);
    SSL_CTX_set_mode(of, SSL_MODE_RELEASE_BUFFERS); // an idle connection holds none
    SSL_CTX_set_options(of, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // Tickets do for clients that come back, and a resumed upstream would skip the look at its certificate.
    SSL_CTX_set_session_cache_mode(of, SSL_SESS_CACHE_OFF);
}

// ---- a certificate that is refused, in words ----

struct free_bio
{
    void operator()(BIO* it) const { BIO_free(it); }
};
using text_bio = std::unique_ptr<BIO, free_bio>;

std::string text_of(const text_bio& from)
{
    char* bytes = nullptr;
    const long size = from ? BIO_get_mem_data(from.get(), &bytes) : 0;
    return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string("?");
}

std::string name_text(const X509_NAME* name)
{
    const text_bio out(BIO_new(BIO_s_mem()));
    if (out) {
        X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
    }
    return text_of(out);
}

std::string time_text(const ASN1_TIME* when)
{
    const text_bio out(BIO_new(BIO_s_mem()));
    if (out) {
        ASN1_TIME_print(out.get(), when);
    }
    return text_of(out);
}

// The names that a certificate is for.
std::string names_in(const X509* certificate)
{
    struct free_names
    {
        void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
    };
    const std::unique_ptr<GENERAL_NAMES, free_names> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))
    );
    const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
    std::string all;
    for (int i = 0; i < count && all.size() < 200; ++i) {
        const text_bio out(BIO_new(BIO_s_mem()));
        if (out) {
            GENERAL_NAME_print(out.get(), sk_GENERAL_NAME_value(names.get(), i));
        }
        all += (all.empty() ? "" : ", ") + text_of(out);
    }
    return all.empty() ? "no name at all (a common name alone does not count)" : all;
}

std::string certificate_fault(X509_STORE_CTX* of)
{
    const int error = X509_STORE_CTX_get_error(of);
    const X509* const at = X509_STORE_CTX_get_current_cert(of);
    const std::string whose =
        X509_STORE_CTX_get_error_depth(of) == 0 ? "its certificate" : "a certificate in its chain";
    if (at != nullptr) {
        switch (error) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return whose + " expired on " + time_text(X509_get0_notAfter(at)) +
                   ": whoever runs it has to renew it (or the clock of this machine is wrong)";
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return whose + " is not valid before " + time_text(X509_get0_notBefore(at)) +
                   ": whoever runs it has to replace it (or the clock of this machine is wrong)";
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return "its certificate is for another name: it has " + names_in(at) +
                   "; `url:` must use a name that stands in it";
        case X509_V_ERR_INVALID_PURPOSE:
            return whose + " is not one for servers (its extended key usage does not say serverAuth): "
                           "whoever runs it "
                           "has to replace it";
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return whose + " was signed by `" + name_text(X509_get_issuer_name(at)) +
                   "`, which is not trusted here: a company's own authority goes into the upstream's "
                   "`ca_file`, an "
                   "intermediate certificate has to be sent by the upstream itself";
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            return whose + " is self-signed and not trusted here (`" + name_text(X509_get_subject_name(at)) +
                   "`): a company's own authority goes into the upstream's `ca_file`";
        default:
            break;
        }
    }
    return whose + " is refused: " + X509_verify_cert_error_string(error);
}

int why_index()
{
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

int verified(int good, X509_STORE_CTX* of)
{
    auto* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(of, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* const why = static_cast<std::string*>(SSL_get_ex_data(ssl, why_index()));
    if (good == 0 && why != nullptr && why->empty()) {
        *why = certificate_fault(of);
    }
    return good;
}

} // namespace

bool expect_host(SSL* of, const std::string& host, std::string& why)
{
    error_code ec;
    asio::ip::make_address(host, ec);
    X509_VERIFY_PARAM* const param = SSL_get0_param(of);
    // Names stand in subjectAltName; `*` stands for one whole label.
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
    );
    const bool set = ec ? X509_VERIFY_PARAM_set1_host(param, host.data(), host.size()) == 1 &&
                              SSL_set_tlsext_host_name(of, host.c_str()) == 1
                        : X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str()) == 1;
    SSL_set_verify(of, SSL_VERIFY_PEER, &verified);
    return set && SSL_set_ex_data(of, why_index(), &why) == 1;
}

std::string handshake_fault(const error_code& ec)
{
    if (handshake_reset(ec)) {
        return "it closed the connection";
    }
    if (ec.category() == asio::error::get_ssl_category()) {
        switch (ERR_GET_REASON(static_cast<unsigned long>(ec.value()))) {
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
            return "what answers there does not speak TLS; check the port, or whether `http://` is meant";
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
            return "it does not speak TLS 1.2 or newer, which is the least that is spoken here";
        default:
            break;
        }
    }
    return ec.message();
}

bool handshake_reset(const error_code& ec)
{
    return ec == asio::error::eof || ec == asio::error::connection_reset || ec == asio::error::broken_pipe ||
           ec == ssl::error::stream_truncated;
}

result<std::shared_ptr<ssl::context>> client_context(const std::string& ca_file)
{
    auto made = std::make_shared<ssl::context>(ssl::context::tls_client);
    harden(made->native_handle());
    SSL_CTX_set_alpn_protos(made->native_handle(), alpn.data(), alpn.size());
    made->set_verify_mode(ssl::verify_peer);
    error_code ec;
    made->set_default_verify_paths(ec);
    if (ec) {
        return broken(
            "the system's trusted certificates cannot be read (install the package ca-certificates)", ec
        );
    }
    if (!ca_file.empty()) {
        made->load_verify_file(ca_file, ec);
        if (ec) {
            return broken("ca_file " + ca_file + " cannot be used (PEM certificates are expected)", ec);
        }
    }
    return made;
}

result<std::shared_ptr<ssl::context>> server_context(const std::string& certificate, const std::string& key)
{
    auto made = std::make_shared<ssl::context>(ssl::context::tls_server);
    harden(made->native_handle());
    SSL_CTX_set_alpn_select_cb(made->native_handle(), &select_http11, nullptr);
    error_code ec;
    // A key with a passphrase is an error: nobody is asked at a terminal.
    made->set_password_callback(
        [](std::size_t, ssl::context::password_purpose) { return std::string(); }, ec
    );
    made->use_certificate_chain_file(certificate, ec);
    if (ec) {
        return broken("tls.certificate " + certificate + " cannot be used (a PEM chain is expected)", ec);
    }
    SSL_CTX_set_default_passwd_cb(made->native_handle(), &no_password);
    made->use_private_key_file(key, ssl::context::pem, ec);
    if (ec) {
        return broken(
            "tls.key " + key + " cannot be used (a PEM key without a password that fits the certificate " +
                certificate + " is expected)",
            ec
        );
    }
    return made;
}

} // namespace gw::net
