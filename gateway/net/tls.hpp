// TLS contexts: one per distinct set of trusted roots (upstreams) or certificate (listeners). TLS 1.2 and up,
// ALPN http/1.1, verification always on: there is no switch that turns it off.
#pragma once

#include "message/failure.hpp"
#include "net/asio.hpp"

#include <boost/asio/ssl/context.hpp>

#include <memory>
#include <string>

namespace gw::net {

// `ca_file`: further trusted roots (PEM); empty: the system's only.
[[nodiscard]] result<std::shared_ptr<boost::asio::ssl::context>> client_context(const std::string& ca_file);
[[nodiscard]] result<std::shared_ptr<boost::asio::ssl::context>>
server_context(const std::string& certificate, const std::string& key);

// Before a client's handshake: the server must show a certificate for `host`, a name (which goes out as SNI)
// or an address (which does not, RFC 6066). A certificate that is refused is told in `why`, in words: what is
// wrong with it and what to do.
//   returns    false: no memory
//   requires   `why` lives as long as the handshake
[[nodiscard]] bool expect_host(SSL* of, const std::string& host, std::string& why);

// What else ended a handshake, in words.
[[nodiscard]] std::string handshake_fault(const error_code& ec);

// The other side went away in the middle: it said nothing about TLS, and the next connection may do better.
[[nodiscard]] bool handshake_reset(const error_code& ec);

} // namespace gw::net
