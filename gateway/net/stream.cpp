#include "net/stream.hpp"

#include "net/tls.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <tuple>
#include <utility>

namespace gw::net {
namespace {

constexpr std::size_t small_write = loop::small_block;
constexpr std::uint32_t all_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI;
constexpr std::uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;

error_code last_error()
{
    return {errno, boost::system::system_category()};
}

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

// Waits until the loop says that something can be written (or, in a handshake, read).
struct stream::write_wait : io_await
{
    stream& of;
    explicit write_wait(stream& on) : of(on) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> caller)
    {
        who = caller;
        of.write_ = this;
        if (of.watch()) {
            of.stop_write();
        }
    }
};

stream::stream(loop& on, descriptor socket)
    : on_(on), socket_(std::move(socket)), state_{.fd = socket_.get()},
      read_deadline_(on.deadlines, this, &stream::read_expired),
      write_deadline_(on.deadlines, this, &stream::write_expired)
{
}

stream::~stream()
{
    close();
    on_.forget(*this);
}

error_code stream::watch()
{
    if (!watched_) {
        const error_code ec = on_.watch(socket_.get(), *this, all_events);
        if (ec) {
            return ec;
        }
        watched_ = true;
    }
    return {};
}

void stream::ready(std::uint32_t events)
{
    if (!socket_.is_open()) {
        return; // closed since the loop looked
    }
    if ((events & (EPOLLIN | ends)) != 0) {
        state_.readable = true;
        state_.greedy = state_.greedy || (events & ends) != 0;
    }
    const bool writable = (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    if (writable && std::exchange(read_waits_for_room_, false)) {
        state_.readable = true;
    }
    if (write_ != nullptr && (writable || write_waits_for_bytes_)) {
        loop& on = on_;
        finish_write({});
        if (!on.here(*this)) {
            return;
        }
    }
    if (read_ != nullptr && state_.readable) {
        try_read();
    }
}

void stream::due()
{
    if (write_ != nullptr && stop_write_) {
        loop& on = on_;
        finish_write(asio::error::operation_aborted);
        if (!on.here(*this)) {
            return;
        }
    }
    if (read_ != nullptr && stop_read_) {
        finish_read(asio::error::operation_aborted, 0);
    } else if (read_ != nullptr && state_.readable) {
        try_read();
    }
}

void stream::finish_read(error_code ec, std::size_t n)
{
    io_op& op = *std::exchange(read_, nullptr);
    stop_read_ = false;
    op.ec = ec;
    op.n = n;
    op.complete(op);
}

void stream::finish_write(error_code ec)
{
    io_op& op = *std::exchange(write_, nullptr);
    stop_write_ = false;
    op.ec = ec;
    op.complete(op);
}

void stream::stop_read()
{
    if (read_ != nullptr) {
        stop_read_ = true;
        on_.soon(*this);
    }
}

void stream::stop_write()
{
    if (write_ != nullptr) {
        stop_write_ = true;
        on_.soon(*this);
    }
}

void stream::start_read(std::size_t size, io_op& op, char* into)
{
    read_timed_out_ = false;
    read_ = &op;
    read_into_ = into;
    read_size_ = into == nullptr ? std::min(size, loop::full_block) : size;
    if (!socket_.is_open() || watch()) {
        stop_read();
    } else if (state_.readable) {
        on_.soon(*this);
    }
}

void stream::try_read()
{
    char* const into = read_into_ == nullptr ? on_.scratch() : read_into_;
    if (tls_) {
        const auto got = tls_->read(into, read_size_);
        read_waits_for_room_ = got.for_more == tls_link::wants::write;
        if (got.n != 0 || got.ec) {
            finish_read(got.ec, got.n);
        }
        return;
    }
    const ssize_t got = receive(state_, into, read_size_);
    if (got > 0) {
        finish_read({}, static_cast<std::size_t>(got));
    } else if (got == 0) {
        finish_read(asio::error::eof, 0);
    } else if (errno != EAGAIN) {
        finish_read(last_error(), 0);
    }
}

void stream::read_expired(void* self)
{
    auto& me = *static_cast<stream*>(self);
    me.read_timed_out_ = true;
    me.stop_read();
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
    me.stop_write();
}

int stream::unsent() const
{
    int left = 0;
    std::ignore = ::ioctl(socket_.get(), SIOCOUTQ, &left);
    return left;
}

std::size_t stream::try_write(std::span<const asio::const_buffer> buffers, error_code& ec)
{
    if (tls_) {
        const auto done = tls_->write(buffers, on_.scratch());
        unfinished_ = done.ec || done.for_more != tls_link::wants::nothing;
        ec = done.ec;
        return done.n;
    }
    std::array<iovec, 16> parts; // NOLINT: filled below
    std::size_t count = 0;
    std::size_t total = 0;
    for (const auto& each : buffers) {
        if (count == parts.size()) {
            break;
        }
        if (each.size() != 0) {
            parts[count++] = {const_cast<void*>(each.data()), each.size()};
            total += each.size();
        }
    }
    ssize_t sent = 0;
    if (total <= small_write) { // one piece saves the kernel more than the copy costs
        char* end = on_.scratch();
        for (const iovec& each : std::span(parts).first(count)) {
            end = std::copy_n(static_cast<const char*>(each.iov_base), each.iov_len, end);
        }
        sent = ::send(socket_.get(), on_.scratch(), total, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = count;
        sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent >= 0) {
        return static_cast<std::size_t>(sent);
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        ec = last_error();
    }
    return 0;
}

task<error_code> stream::write(std::span<const asio::const_buffer> buffers, std::chrono::milliseconds stall)
{
    write_timed_out_ = cancelled_ = false;
    stall_ = stall;
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
            write_wait room(*this);
            limit_wait();
            const io_result ready = co_await room;
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

void stream::limit_wait()
{
    if (stall_.count() != 0) {
        unsent_ = unsent();
        write_until(clock::now() + stall_);
    }
}

// A cancel(), or the end of the limit, just as it became ready is not lost.
error_code stream::over(error_code ec)
{
    if (!ec && (cancelled_ || write_timed_out_)) {
        ec = asio::error::operation_aborted;
    }
    name_timeout(ec, write_timed_out_);
    torn_ = torn_ || ec;
    if (stall_.count() != 0) {
        write_until(never);
    }
    return ec;
}

task<error_code> stream::connect(const tcp::endpoint& to)
{
    write_timed_out_ = cancelled_ = false;
    stall_ = {};
    if (!socket_.is_open()) {
        socket_.reset(
            ::socket(to.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP)
        );
        if (!socket_.is_open()) {
            co_return last_error();
        }
        state_ = {.fd = socket_.get()};
    }
    if (::connect(socket_.get(), to.data(), static_cast<socklen_t>(to.size())) != 0) {
        if (errno != EINPROGRESS) {
            co_return last_error();
        }
        write_wait connected(*this);
        const io_result got = co_await connected;
        if (got.ec) {
            error_code ec = got.ec;
            name_timeout(ec, write_timed_out_);
            co_return ec;
        }
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            co_return error_code(error, boost::system::system_category());
        }
    }
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // Nobody listens on a port of this machine that the kernel then picks for our end: connected to itself.
    tcp::endpoint mine;
    auto size = static_cast<socklen_t>(mine.capacity());
    if (::getsockname(socket_.get(), mine.data(), &size) != 0) {
        co_return last_error();
    }
    mine.resize(size);
    co_return mine == to ? error_code(asio::error::connection_refused) : error_code();
}

task<error_code> stream::handshake_client(asio::ssl::context& with, const std::string& host)
{
    tls_ = std::make_unique<tls_link>(with.native_handle(), state_);
    why_.clear();
    if (!expect_host(tls_->ssl(), host, why_)) {
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
    tls_ = std::make_unique<tls_link>(with.native_handle(), state_);
    const error_code ec = co_await handshake(true);
    if (ec) {
        why_ = ec.message();
    }
    co_return ec;
}

task<error_code> stream::handshake(bool as_server)
{
    write_timed_out_ = cancelled_ = false;
    stall_ = {};
    while (true) {
        const auto done = tls_->handshake(as_server);
        if (done.ec || done.for_more == tls_link::wants::nothing) {
            state_.readable = true; // what came behind it may lie in OpenSSL
            co_return done.ec;
        }
        write_waits_for_bytes_ = done.for_more == tls_link::wants::read;
        write_wait more(*this);
        const io_result got = co_await more;
        write_waits_for_bytes_ = false;
        error_code ec = got.ec;
        if (!ec && (cancelled_ || write_timed_out_)) {
            ec = asio::error::operation_aborted;
        }
        name_timeout(ec, write_timed_out_);
        if (ec) {
            co_return ec;
        }
    }
}

void stream::cancel()
{
    cancelled_ = true;
    stop_read();
    stop_write();
}

task<void> stream::end_send(ending how)
{
    if (std::exchange(ended_, true)) {
        co_return;
    }
    write_timed_out_ = cancelled_ = false;
    stall_ = {};
    while (tls_ && how == ending::whole && !torn_ && !unfinished_) {
        const auto done = tls_->close_notify();
        if (done.for_more != tls_link::wants::write) {
            break;
        }
        write_wait room(*this);
        const io_result ready = co_await room;
        if (over(ready.ec)) {
            break;
        }
    }
    ::shutdown(socket_.get(), SHUT_WR);
}

void stream::close()
{
    read_deadline_.disarm();
    write_deadline_.disarm();
    if (socket_.is_open()) {
        if (std::exchange(watched_, false)) {
            on_.unwatch(socket_.get());
        }
        socket_.reset();
        state_.fd = -1;
    }
    stop_read();
    stop_write();
}

void stream::reset()
{
    if (socket_.is_open()) {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close();
}

std::string stream::remote() const
{
    tcp::endpoint at;
    auto size = static_cast<socklen_t>(at.capacity());
    if (::getpeername(socket_.get(), at.data(), &size) != 0) {
        return {};
    }
    at.resize(size);
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
    const ssize_t got = ::recv(socket_.get(), &one, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

} // namespace gw::net
