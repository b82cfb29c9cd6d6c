#include "net/stream.hpp"

#include "net/tls.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <utility>

namespace gw::net {
namespace {

// Handlers are one pointer wide, so Asio keeps them in its recycled memory.
struct to_op
{
    io_op* op;
    void operator()(error_code ec, std::size_t n) const
    {
        op->ec = ec;
        op->n = n;
        op->complete(*op);
    }
    void operator()(error_code ec) const { (*this)(ec, 0); }
};

// An awaiter that starts an operation given as a callable taking the handler.
template <class Start>
struct awaiting : io_await
{
    Start start;
    explicit awaiting(Start s) : start(std::move(s)) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h)
    {
        who = h;
        start(to_op{this});
    }
};

void name_timeout(error_code& ec, bool timed_out)
{
    if (timed_out && ec == asio::error::operation_aborted) {
        ec = asio::error::timed_out;
    }
}

} // namespace

bool no_descriptors(const error_code& ec)
{
    return ec.category() == boost::system::system_category() &&
           (ec.value() == EMFILE || ec.value() == ENFILE);
}

struct stream::tls_part
{
    asio::ssl::stream<tcp_socket&> ssl;
    tls_part(tcp_socket& below, asio::ssl::context& with) : ssl(below, with) {}

    // The alert that tells the peer that this was the end and no cut. Asio sends what OpenSSL has to say only
    // within its own operations, of which async_shutdown() waits for the peer's answer: so the few bytes are
    // taken out here. REQUIRES no write is outstanding, none follows.
    std::string close_notify()
    {
        BIO* const out = ::BIO_new(::BIO_s_mem());
        if (out == nullptr || ::SSL_is_init_finished(ssl.native_handle()) == 0) {
            ::BIO_free(out);
            return {};
        }
        ::SSL_set0_wbio(ssl.native_handle(), out);
        ::SSL_shutdown(ssl.native_handle());
        ::ERR_clear_error();
        char* bytes = nullptr;
        const long size = ::BIO_get_mem_data(out, &bytes);
        return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string();
    }
};

stream::stream(loop& on, tcp_socket socket)
    : on_(on), socket_(std::move(socket)), read_deadline_(on.deadlines, this, &stream::expired),
      write_deadline_(on.deadlines, this, &stream::expired)
{
}

stream::~stream() = default;

void stream::expired(void* self)
{
    auto& me = *static_cast<stream*>(self);
    me.timed_out_ = true;
    me.cancel();
}

void stream::start_read(void* into, std::size_t size, io_op& op)
{
    timed_out_ = false;
    if (tls_) {
        tls_->ssl.async_read_some(asio::mutable_buffer(into, size), to_op{&op});
    } else {
        socket_.async_read_some(asio::mutable_buffer(into, size), to_op{&op});
    }
}

std::size_t stream::try_write(std::span<const asio::const_buffer> buffers, error_code& ec)
{
    if (tls_ && !ended_) {
        return 0;
    }
    std::array<iovec, 16> parts; // NOLINT: filled below
    std::size_t count = 0;
    for (const auto& each : buffers) {
        if (count == parts.size()) {
            break;
        }
        if (each.size() != 0) {
            parts[count++] = {const_cast<void*>(each.data()), each.size()};
        }
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        return static_cast<std::size_t>(sent);
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        ec = error_code(errno, boost::system::system_category());
    }
    return 0;
}

task<error_code> stream::write(std::span<const asio::const_buffer> buffers)
{
    timed_out_ = cancelled_ = false;
    if (tls_ && !ended_) {
        // One record instead of one per buffer: TLS writes are gathered here when they are small.
        std::size_t total = 0;
        for (const auto& each : buffers) {
            total += each.size();
        }
        if (total <= 16 * 1024 && buffers.size() > 1) {
            const auto joined =
                std::make_unique_for_overwrite<char[]>(total); // not in the frame, which plain writes share
            asio::buffer_copy(asio::buffer(joined.get(), total), buffers);
            auto op = awaiting([&](to_op done) {
                asio::async_write(tls_->ssl, asio::buffer(joined.get(), total), done);
            });
            const io_result got = co_await op;
            error_code ec = got.ec;
            torn_ = torn_ || ec;
            name_timeout(ec, timed_out_);
            co_return ec;
        }
        for (const auto& each : buffers) {
            auto op = awaiting([&](to_op done) { asio::async_write(tls_->ssl, each, done); });
            const io_result got = co_await op;
            error_code ec = got.ec;
            if (!ec && cancelled_) {
                ec = asio::error::operation_aborted;
            }
            if (ec) {
                torn_ = true;
                name_timeout(ec, timed_out_);
                co_return ec;
            }
        }
        co_return error_code{};
    }

    std::size_t at = 0;     // buffer
    std::size_t within = 0; // byte of it
    std::array<asio::const_buffer, 16> rest;
    while (true) {
        // Skip what is empty or done.
        while (at < buffers.size() && within >= buffers[at].size()) {
            within = 0;
            ++at;
        }
        if (at == buffers.size()) {
            co_return error_code{};
        }

        std::size_t count = 0;
        for (std::size_t i = at; i < buffers.size() && count < rest.size(); ++i) {
            rest[count++] = i == at ? buffers[i] + within : buffers[i];
        }
        error_code ec;
        std::size_t sent = try_write({rest.data(), count}, ec);
        if (ec) {
            co_return ec;
        }
        if (sent == 0) {
            auto op = awaiting([&](to_op done) { socket_.async_wait(tcp_socket::wait_write, done); });
            const io_result ready = co_await op;
            ec = ready.ec;
            if (!ec && cancelled_) { // just as it became ready: a cancel() may not be lost
                ec = asio::error::operation_aborted;
            }
            if (ec) {
                name_timeout(ec, timed_out_);
                co_return ec;
            }
            continue;
        }
        while (sent > 0) {
            const std::size_t left = buffers[at].size() - within;
            const std::size_t step = std::min(left, sent);
            sent -= step;
            within += step;
            if (within == buffers[at].size()) {
                within = 0;
                ++at;
            }
        }
    }
}

task<error_code> stream::connect(const tcp::endpoint& to)
{
    timed_out_ = false;
    error_code ec;
    if (!socket_.is_open()) {
        socket_.open(to.protocol(), ec);
        if (ec) {
            co_return ec;
        }
    }
    auto op = awaiting([&](to_op done) { socket_.async_connect(to, done); });
    const io_result got = co_await op;
    ec = got.ec;
    name_timeout(ec, timed_out_);
    if (!ec) {
        error_code ignored;
        socket_.set_option(tcp::no_delay(true), ignored);
    }
    co_return ec;
}

task<error_code> stream::handshake_client(asio::ssl::context& with, const std::string& host)
{
    timed_out_ = false;
    tls_ = std::make_unique<tls_part>(socket_, with);
    why_.clear();
    if (!expect_host(tls_->ssl.native_handle(), host, why_)) {
        co_return asio::error::no_memory;
    }
    auto op = awaiting([&](to_op done) { tls_->ssl.async_handshake(asio::ssl::stream_base::client, done); });
    const io_result got = co_await op;
    error_code ec = got.ec;
    name_timeout(ec, timed_out_);
    if (ec && why_.empty()) {
        why_ = handshake_fault(ec);
    }
    co_return ec;
}

task<error_code> stream::handshake_server(asio::ssl::context& with)
{
    timed_out_ = false;
    tls_ = std::make_unique<tls_part>(socket_, with);
    auto op = awaiting([&](to_op done) { tls_->ssl.async_handshake(asio::ssl::stream_base::server, done); });
    const io_result got = co_await op;
    error_code ec = got.ec;
    name_timeout(ec, timed_out_);
    if (ec) {
        why_ = ec.message();
    }
    co_return ec;
}

void stream::cancel()
{
    cancelled_ = true;
    error_code ignored;
    socket_.cancel(ignored);
}

task<void> stream::end_send(ending how)
{
    if (std::exchange(ended_, true)) {
        co_return;
    }
    if (tls_ && how == ending::whole && !torn_) {
        const std::string alert = tls_->close_notify();
        const std::array<asio::const_buffer, 1> out{asio::buffer(alert)};
        (void)co_await write(out); // as it is: it is a record already
    }
    error_code ignored;
    socket_.shutdown(tcp_socket::shutdown_send, ignored);
}

void stream::close()
{
    read_deadline_.disarm();
    write_deadline_.disarm();
    error_code ignored;
    socket_.close(ignored);
}

void stream::reset()
{
    error_code ignored;
    if (socket_.is_open()) {
        socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    }
    close();
}

std::string stream::remote() const
{
    error_code ec;
    const auto at = socket_.remote_endpoint(ec);
    if (ec) {
        return {};
    }
    if (!at.address().is_v6()) {
        return at.address().to_string();
    }
    auto bytes = at.address().to_v6().to_bytes();
    std::fill(bytes.begin() + 8, bytes.end(), 0);
    return asio::ip::address_v6(bytes).to_string();
}

bool stream::silent() const
{
    char one = 0;
    const ssize_t got =
        ::recv(const_cast<tcp_socket&>(socket_).native_handle(), &one, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

} // namespace gw::net
