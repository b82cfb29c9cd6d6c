// The TLS of one connection: OpenSSL reads from and writes to the socket itself, each record with one system
// call and no copy between. Owned by its stream. Nothing here waits: what would block says for what.
#pragma once

#include "net/asio.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <openssl/ssl.h>

namespace gw::net {

// What is known of a socket without asking it.
struct socket_state
{
    int fd = -1;
    bool readable = false; // there may be something to read
    bool greedy =
        false; // an end, an error or urgent data lies behind what can be read: a short read is no sign
};

// Reads from the socket; -1 with EAGAIN: nothing is there. Keeps `of.readable`.
[[nodiscard]] ssize_t receive(socket_state& of, void* into, std::size_t size);

class tls_link
{
public:
    static constexpr std::size_t record_size = 16 * 1024; // the most that one TLS record holds

    // `wants` nothing: it is done, or it failed with `ec`. eof: the peer said that this was the end;
    // stream_truncated: it did not.
    enum class wants : std::uint8_t { nothing, read, write };
    struct outcome
    {
        error_code ec;
        std::size_t n = 0;
        wants for_more = wants::nothing;
    };

    // The state and the context outlive the link.
    tls_link(SSL_CTX* with, socket_state& socket);

    [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
    [[nodiscard]] outcome handshake(bool as_server);
    // Reads what is there, as far as it fits.
    [[nodiscard]] outcome read(char* into, std::size_t size);
    // Writes as many records as the socket takes; n are bytes of whole records. When it would block, the same
    // bytes have to come again. `room`: record_size bytes, where pieces are joined to a record.
    [[nodiscard]] outcome write(std::span<const asio::const_buffer> buffers, char* room);
    // The alert that tells the peer that this was the end and no cut.
    [[nodiscard]] outcome close_notify();

private:
    struct callbacks;
    struct free_ssl
    {
        void operator()(SSL* it) const { SSL_free(it); }
    };

    [[nodiscard]] outcome failed(int returned);

    socket_state& socket_;
    std::unique_ptr<SSL, free_ssl> ssl_;
    int errno_ = 0;      // of the socket
    bool ended_ = false; // it gave its end
    error_code late_;    // an error behind bytes that were given first
};

} // namespace gw::net
