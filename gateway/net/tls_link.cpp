#include "net/tls_link.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <sys/socket.h>

namespace gw::net {

ssize_t receive(socket_state& of, void* into, std::size_t size)
{
    while (true) {
        const ssize_t got = ::recv(of.fd, into, size, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        // Less than would have fitted: it is empty, and epoll tells when that changes.
        of.readable = got >= 0 ? of.greedy || static_cast<std::size_t>(got) == size : errno != EAGAIN;
        return got;
    }
}

// What OpenSSL calls to reach the socket.
struct tls_link::callbacks
{
    static int read(BIO* self, char* into, int size)
    {
        auto& link = *static_cast<tls_link*>(BIO_get_data(self));
        BIO_clear_retry_flags(self);
        if (!link.socket_.readable) {
            BIO_set_retry_read(self);
            return -1;
        }
        const ssize_t got = receive(link.socket_, into, static_cast<std::size_t>(size));
        if (got > 0) {
            return static_cast<int>(got);
        }
        // OpenSSL is not told of an end: it would send an alert, and no answer could follow.
        if (got == 0) {
            link.ended_ = true;
        } else if (errno != EAGAIN) {
            link.errno_ = errno;
        }
        BIO_set_retry_read(self);
        return -1;
    }
    static int write(BIO* self, const char* from, int size)
    {
        auto& link = *static_cast<tls_link*>(BIO_get_data(self));
        BIO_clear_retry_flags(self);
        const ssize_t sent =
            ::send(link.socket_.fd, from, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            BIO_set_retry_write(self);
        } else if (sent < 0) {
            link.errno_ = errno;
        }
        return static_cast<int>(sent);
    }
    static long control(BIO*, int what, long, void*) { return what == BIO_CTRL_FLUSH ? 1 : 0; }
    static BIO_METHOD* method()
    {
        static BIO_METHOD* const made = [] {
            BIO_METHOD* const of = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
            if (of == nullptr) {
                throw std::bad_alloc();
            }
            BIO_meth_set_read(of, &read);
            BIO_meth_set_write(of, &write);
            BIO_meth_set_ctrl(of, &control);
            return of;
        }();
        return made;
    }
};

tls_link::tls_link(SSL_CTX* with, socket_state& socket) : socket_(socket), ssl_(SSL_new(with))
{
    BIO* const both = ssl_ ? BIO_new(callbacks::method()) : nullptr;
    if (both == nullptr) {
        throw std::bad_alloc();
    }
    BIO_set_data(both, this);
    BIO_set_init(both, 1);
    SSL_set_bio(ssl_.get(), both, both);
    SSL_set_read_ahead(ssl_.get(), 1); // a record's head and body, and what follows, with one read
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    socket_.readable = true; // whether it is has not been asked yet
}

tls_link::outcome tls_link::failed(int returned)
{
    switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
        if (!ended_ && errno_ == 0) {
            return {.for_more = wants::read};
        }
        break;
    case SSL_ERROR_WANT_WRITE:
        return {.for_more = wants::write};
    case SSL_ERROR_ZERO_RETURN:
        return {.ec = asio::error::eof};
    case SSL_ERROR_SSL:
        return {.ec = error_code(static_cast<int>(ERR_get_error()), asio::error::get_ssl_category())};
    default:
        break;
    }
    return {
        .ec = errno_ != 0 ? error_code(errno_, boost::system::system_category())
                          : error_code(asio::ssl::error::stream_truncated)
    };
}

tls_link::outcome tls_link::handshake(bool as_server)
{
    ERR_clear_error();
    const int done = as_server ? SSL_accept(ssl_.get()) : SSL_connect(ssl_.get());
    return done == 1 ? outcome{} : failed(done);
}

tls_link::outcome tls_link::read(char* into, std::size_t size)
{
    if (late_) {
        return {.ec = late_};
    }
    ERR_clear_error();
    std::size_t all = 0;
    while (all < size) {
        std::size_t got = 0;
        const int done = SSL_read_ex(ssl_.get(), into + all, size - all, &got);
        if (done != 1) {
            outcome how = failed(done);
            if (all != 0) { // what was read goes first; OpenSSL need not say the same again
                late_ = how.ec;
                how = {.for_more = how.for_more};
            }
            how.n = all;
            if (late_) {
                socket_.readable = true; // it is told at the next read
            }
            return how;
        }
        all += got;
        if (!socket_.readable && SSL_has_pending(ssl_.get()) == 0) {
            return {.n = all};
        }
    }
    socket_.readable = true; // the rest may lie here
    return {.n = all};
}

tls_link::outcome tls_link::write(std::span<const asio::const_buffer> buffers, char* room)
{
    std::size_t rest = 0;
    for (const auto& each : buffers) {
        rest += each.size();
    }
    std::size_t all = 0;
    std::size_t within = 0; // of the first buffer
    ERR_clear_error();
    while (rest != 0) {
        while (within == buffers.front().size()) {
            buffers = buffers.subspan(1);
            within = 0;
        }
        // The next record: out of one buffer as it is, out of several joined.
        const std::size_t size = std::min(rest, record_size);
        const char* from = static_cast<const char*>(buffers.front().data()) + within;
        if (buffers.front().size() - within < size) {
            std::size_t joined = 0;
            std::size_t skip = within;
            for (const auto& each : buffers) {
                const std::size_t part = std::min(each.size() - skip, size - joined);
                if (part != 0) {
                    std::memcpy(room + joined, static_cast<const char*>(each.data()) + skip, part);
                }
                joined += part;
                skip = 0;
                if (joined == size) {
                    break;
                }
            }
            from = room;
        }
        std::size_t sent = 0;
        const int done = SSL_write_ex(ssl_.get(), from, size, &sent);
        if (done != 1) {
            outcome how = failed(done);
            how.n = all;
            return how;
        }
        all += sent;
        rest -= sent;
        while (sent != 0) {
            const std::size_t part = std::min(sent, buffers.front().size() - within);
            sent -= part;
            within += part;
            if (within == buffers.front().size() && buffers.size() > 1) {
                buffers = buffers.subspan(1);
                within = 0;
            }
        }
    }
    return {.n = all};
}

tls_link::outcome tls_link::close_notify()
{
    if (SSL_is_init_finished(ssl_.get()) == 0) {
        return {};
    }
    ERR_clear_error();
    const int done = SSL_shutdown(ssl_.get());
    return done >= 0 ? outcome{} : failed(done);
}

} // namespace gw::net
