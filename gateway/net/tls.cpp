#include "net/tls.hpp"

#include "net/asio.hpp"

#include <openssl/ssl.h>

#include <array>
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
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

} // namespace

result<std::shared_ptr<ssl::context>> client_context(const std::string& ca_file)
{
    auto made = std::make_shared<ssl::context>(ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(made->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_mode(made->native_handle(), SSL_MODE_RELEASE_BUFFERS);
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
    SSL_CTX_set_min_proto_version(made->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_mode(made->native_handle(), SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(made->native_handle(), &select_http11, nullptr);
    error_code ec;
    made->use_certificate_chain_file(certificate, ec);
    if (ec) {
        return broken("tls.certificate " + certificate + " cannot be used (a PEM chain is expected)", ec);
    }
    made->use_private_key_file(key, ssl::context::pem, ec);
    if (ec) {
        return broken(
            "tls.key " + key + " cannot be used (a PEM key that fits the certificate is expected)", ec
        );
    }
    return made;
}

} // namespace gw::net
