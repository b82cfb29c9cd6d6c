// TLS contexts: one per distinct set of trusted roots (upstreams) or certificate (listeners). TLS 1.2 and up,
// ALPN http/1.1, verification always on: there is no switch that turns it off.
#pragma once

#include "message/failure.hpp"

#include <boost/asio/ssl/context.hpp>

#include <memory>
#include <string>

namespace gw::net {

// `ca_file`: further trusted roots (PEM); empty: the system's only.
[[nodiscard]] result<std::shared_ptr<boost::asio::ssl::context>> client_context(const std::string& ca_file);
[[nodiscard]] result<std::shared_ptr<boost::asio::ssl::context>>
server_context(const std::string& certificate, const std::string& key);

} // namespace gw::net
