#include "net/stream.hpp"

#include "net/tls.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <tuple>
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

auto handler(io_op& op, asio::cancellation_signal& by)
{
    return asio::bind_cancellation_slot(by.slot(), to_op{&op});
}

// An awaiter that starts an operation given as a callable taking the handler, which `by` cancels.
template <class Start>
struct awaiting : io_await
{
    asio::cancellation_signal& by;
    Start start;
    awaiting(asio::cancellation_signal& signal, Start s) : by(signal), start(std::move(s)) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h)
    {
        who = h;
        start(handler(*this, by));
    }
};

constexpr std::size_t record_size = 16 * 1024; // the most that one TLS record holds

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
    : on_(on), socket_(std::move(socket)), read_deadline_(on.deadlines, this, &stream::read_expired),
      write_deadline_(on.deadlines, this, &stream::write_expired)
{
}

stream::~stream() = default;

void stream::read_expired(void* self)
{
    auto& me = *static_cast<stream*>(self);
    me.read_timed_out_ = true;
    me.cancel_read_.emit(asio::cancellation_type::terminal);
}

void stream::write_expired(void* self)
{
    auto& me = *static_cast<stream*>(self);
    // Its kernel took some meanwhile: slow is not stalled. (A socket is writable again only when a third of
    // its buffer is free, which may be megabytes.)
    if (const int left = me.unsent(); me.stall_.count() != 0 && left < me.unsent_) {
        me.unsent_ = left;
        me.write_until(clock::now() + me.stall_);
        return;
    }
    me.write_timed_out_ = true;
    me.cancel_write_.emit(asio::cancellation_type::terminal);
}

int stream::unsent() const
{
    int left = 0;
    std::ignore = ::ioctl(const_cast<tcp_socket&>(socket_).native_handle(), SIOCOUTQ, &left);
    return left;
}

void stream::start_read(void* into, std::size_t size, io_op& op)
{
    read_timed_out_ = false;
    if (tls_) {
        tls_->ssl.async_read_some(asio::mutable_buffer(into, size), handler(op, cancel_read_));
    } else {
        socket_.async_read_some(asio::mutable_buffer(into, size), handler(op, cancel_read_));
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

task<error_code> stream::write(std::span<const asio::const_buffer> buffers, std::chrono::milliseconds stall)
{
    write_timed_out_ = cancelled_ = false;
    stall_ = stall;
    const auto limit_wait = [this] {
        if (stall_.count() != 0) {
            unsent_ = unsent();
            write_until(clock::now() + stall_);
        }
    };
    // A cancel(), or the end of the limit, just as it became ready is not lost.
    const auto over = [this](error_code ec) {
        if (!ec && (cancelled_ || write_timed_out_)) {
            ec = asio::error::operation_aborted;
        }
        name_timeout(ec, write_timed_out_);
        torn_ = torn_ || ec;
        if (stall_.count() != 0) {
            write_until(never);
        }
        return ec;
    };
    if (tls_ && !ended_) {
        // One record instead of one per buffer: TLS writes are gathered here when they are small.
        std::size_t total = 0;
        for (const auto& each : buffers) {
            total += each.size();
        }
        if (total <= record_size && buffers.size() > 1) {
            const auto joined =
                std::make_unique_for_overwrite<char[]>(total); // not in the frame, which plain writes share
            asio::buffer_copy(asio::buffer(joined.get(), total), buffers);
            auto op = awaiting(cancel_write_, [&](auto done) {
                asio::async_write(tls_->ssl, asio::buffer(joined.get(), total), std::move(done));
            });
            limit_wait();
            const io_result got = co_await op;
            co_return over(got.ec);
        }
        for (asio::const_buffer each : buffers) {
            while (each.size() != 0) {
                const asio::const_buffer part(each.data(), std::min(each.size(), record_size));
                auto op = awaiting(cancel_write_, [&](auto done) {
                    asio::async_write(tls_->ssl, part, std::move(done));
                });
                limit_wait();
                const io_result got = co_await op;
                const error_code ec = over(got.ec);
                if (ec) {
                    co_return ec;
                }
                each += part.size();
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
            auto op = awaiting(cancel_write_, [&](auto done) {
                socket_.async_wait(tcp_socket::wait_write, std::move(done));
            });
            limit_wait();
            const io_result ready = co_await op;
            ec = over(ready.ec);
            if (ec) {
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
    write_timed_out_ = false;
    stall_ = {};
    error_code ec;
    if (!socket_.is_open()) {
        socket_.open(to.protocol(), ec);
        if (ec) {
            co_return ec;
        }
    }
    auto op = awaiting(cancel_write_, [&](auto done) { socket_.async_connect(to, std::move(done)); });
    const io_result got = co_await op;
    ec = got.ec;
    name_timeout(ec, write_timed_out_);
    if (!ec) {
        error_code ignored;
        socket_.set_option(tcp::no_delay(true), ignored);
    }
    // Nobody listens on a port of this machine that the kernel then picks for our end: connected to itself.
    if (!ec && socket_.local_endpoint(ec) == to && !ec) {
        ec = asio::error::connection_refused;
    }
    co_return ec;
}

task<error_code> stream::handshake_client(asio::ssl::context& with, const std::string& host)
{
    tls_ = std::make_unique<tls_part>(socket_, with);
    why_.clear();
    if (!expect_host(tls_->ssl.native_handle(), host, why_)) {
        co_return asio::error::no_memory;
    }
    const error_code ec = co_await handshake(false);
    if (ec && why_.empty()) {
        why_ = handshake_fault(ec);
    }
    co_return ec;
}

task<error_code> stream::handshake_server(asio::ssl::context& with)
{
    tls_ = std::make_unique<tls_part>(socket_, with);
    const error_code ec = co_await handshake(true);
    if (ec) {
        why_ = ec.message();
    }
    co_return ec;
}

task<error_code> stream::handshake(bool as_server)
{
    write_timed_out_ = false;
    stall_ = {};
    const auto side = as_server ? asio::ssl::stream_base::server : asio::ssl::stream_base::client;
    auto op = awaiting(cancel_write_, [&](auto done) { tls_->ssl.async_handshake(side, std::move(done)); });
    const io_result got = co_await op;
    error_code ec = got.ec;
    name_timeout(ec, write_timed_out_);
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
