// Where to connect, resolved from an upstream's settings: everything that makes two connections
// interchangeable.
#pragma once

#include "config/settings.hpp"
#include "message/failure.hpp"

#include <boost/asio/ssl/context.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace gw::upstream {

struct peer
{
    // Connections of equal keys are interchangeable (scheme, host, port, trusted roots, proxy).
    std::string key;
    std::string base; // what a policy names: the key, for a worker without what changes from start to start

    std::string host; // to resolve, to verify, for SNI
    std::uint16_t port = 0;
    std::shared_ptr<boost::asio::ssl::context> tls; // null: clear text
    std::string proxy_host;                         // HTTP CONNECT proxy; empty: none
    std::uint16_t proxy_port = 0;
    bool checks_private = false; // refuse private addresses: the name is not the operator's own word
    std::string host_header;
    std::chrono::milliseconds idle{4'000}; // kept connections are dropped before the other side does it

    // What begins the line that carries a token. A Space's author reads Authorization; the platform's own
    // header is taken off before.
    [[nodiscard]] std::string_view token_field() const
    {
        return host.ends_with(".hf.space") ? "x-hf-authorization: Bearer " : "authorization: Bearer ";
    }

    // The idle limit a kind of upstream gets: uvicorn and llama.cpp close at 5 s, the router later.
    [[nodiscard]] static std::chrono::milliseconds idle_of(config::kind kind)
    {
        return std::chrono::milliseconds(kind == config::kind::serverless ? 30'000 : 4'000);
    }
};

// Who is trusted by a `ca_file` (empty: the system's authorities); another content is another trust, and
// needs other connections.
struct trust
{
    std::shared_ptr<boost::asio::ssl::context> context;
    std::size_t content = 0; // a hash
};
//   errors   internal: the file, or the system's certificates, cannot be used
[[nodiscard]] result<trust> trust_in(const std::string& ca_file);

// Through this HTTP CONNECT proxy; empty: none.
void go_through(peer& to, const std::string& proxy);

} // namespace gw::upstream
