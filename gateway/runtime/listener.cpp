#include "runtime/listener.hpp"

#include "runtime/descriptors.hpp"
#include "telemetry/log.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sstream>
#include <sys/socket.h>

namespace gw::runtime {
namespace {

// What the kernel keeps for a client that reads slowly, beside what is on its way. Without it: some MiB each.
constexpr int unsent_bytes = 256 * 1024;

constexpr int most_at_once = 16; // before others have their turn

// What a handshake that has begun may take to be finished, after the drain began.
constexpr auto handshakes = std::chrono::milliseconds(100);

std::unexpected<failure> cannot(const std::string& where, const net::error_code& ec)
{
    std::string text = "cannot listen on " + where + ": " + ec.message();
    if (ec == net::asio::error::address_in_use) {
        text += " (another program, or another fourways, listens there; --listen and --admin choose other "
                "addresses)";
    }
    return std::unexpected(failure{.what = code::internal, .text = std::move(text)});
}

bool switch_on(const net::descriptor& of, int level, int name)
{
    const int on = 1;
    return ::setsockopt(of.get(), level, name, &on, sizeof on) == 0;
}

result<bound> open(const net::tcp::endpoint& at, bool first)
{
    std::ostringstream where; // an IPv6 address in brackets
    where << at;
    bound made{
        .socket = net::descriptor(
            ::socket(at.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP)
        ),
        .at = at
    };
    const auto& socket = made.socket;
    auto size = static_cast<socklen_t>(made.at.capacity());
    const bool listens = socket.is_open() && switch_on(socket, SOL_SOCKET, SO_REUSEADDR) &&
                         (first || switch_on(socket, SOL_SOCKET, SO_REUSEPORT)) &&
                         (!at.address().is_v6() || switch_on(socket, IPPROTO_IPV6, IPV6_V6ONLY)) &&
                         ::bind(socket.get(), at.data(), static_cast<socklen_t>(at.size())) == 0 &&
                         ::listen(socket.get(), SOMAXCONN) == 0 &&
                         (!first || switch_on(socket, SOL_SOCKET, SO_REUSEPORT)) &&
                         ::getsockname(socket.get(), made.at.data(), &size) == 0;
    if (!listens) {
        return cannot(where.str(), {errno, boost::system::system_category()});
    }
    made.at.resize(size);
    return made;
}

// From now on the kernel drops SYNs to this listener, while handshakes that have begun are finished: a filter
// of four instructions over the TCP header. Who tries meanwhile tries again a second later, and is refused.
bool hear_no_new(const net::descriptor& on)
{
    static constexpr std::uint16_t flags_at = 13; // of the TCP header
    static constexpr std::uint32_t syn = 0x02;
    static constexpr std::uint32_t everything = 0xFFFFFFFF;
    std::array<sock_filter, 4> code{{
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, flags_at},
        {BPF_JMP | BPF_JSET | BPF_K, 0, 1, syn},
        {BPF_RET | BPF_K, 0, 0, 0},
        {BPF_RET | BPF_K, 0, 0, everything},
    }};
    const sock_fprog program{.len = code.size(), .filter = code.data()};
    return ::setsockopt(on.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

} // namespace

result<bound> bind_first(const config::address& at)
{
    net::error_code ec;
    const std::string host = at.host == "localhost" ? "127.0.0.1" : at.host.empty() ? "0.0.0.0" : at.host;
    const auto address = net::asio::ip::make_address(host, ec);
    if (ec) {
        return cannot(at.host + ":" + std::to_string(at.port), ec);
    }
    return open({address, at.port}, true);
}

result<bound> bind_next(const net::tcp::endpoint& at)
{
    return open(at, false);
}

listener::listener(dispatch::core& here, net::descriptor socket, std::size_t position)
    : here_(here), socket_(std::move(socket)), retry_(here.loop.deadlines, this, &listener::pause_over),
      position_(position)
{
}

listener::~listener()
{
    here_.loop.forget(*this);
}

void listener::start()
{
    if (const net::error_code ec = here_.loop.watch(socket_.get(), *this, EPOLLIN)) {
        telemetry::log(telemetry::level::error, "cannot wait for connections", {{"why", ec.message()}});
    }
}

void listener::ready(std::uint32_t)
{
    take_some();
}

void listener::due()
{
    if (draining_) {
        empty_queue();
        close_acceptor();
    } else {
        take_some();
    }
}

void listener::accept()
{
    if (!draining_) {
        here_.loop.soon(*this);
    }
}

void listener::take_some()
{
    for (int i = 0; i < most_at_once; ++i) {
        if (paused_ || draining_ || turned_away_ >= most_turned_away) {
            return;
        }
        net::descriptor socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket.is_open()) {
            pause_ = {};
            if (std::exchange(told_, false)) {
                telemetry::log(telemetry::level::info, "accepts connections again");
            }
            take(std::move(socket));
        } else if (errno == EAGAIN) {
            return; // the loop tells when somebody knocks
        } else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
            pause(errno);
        }
    }
    accept();
}

// No descriptors, no memory: a pause, not a spin; idle upstream connections are given up first.
void listener::pause(int why)
{
    here_.pool.tick(net::never);
    if (const auto now = net::clock::now(); now >= tell_again_) {
        tell_again_ = now + std::chrono::seconds(10);
        told_ = true;
        const net::error_code ec(why, boost::system::system_category());
        telemetry::log(telemetry::level::warning, "cannot accept, tries again", {{"why", ec.message()}});
    }
    pause_ = std::clamp(2 * pause_, std::chrono::milliseconds(50), std::chrono::milliseconds(800));
    paused_ = true;
    retry_.arm(net::clock::now() + pause_);
}

void listener::pause_over(void* self)
{
    auto& me = *static_cast<listener*>(self);
    me.paused_ = false;
    me.here_.loop.soon(me);
}

void listener::take(net::descriptor socket)
{
    switch_on(socket, IPPROTO_TCP, TCP_NODELAY);
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
    const bool admitted = here_.all.clients.take();
    ++open_;
    ++here_.metrics.connections_accepted;
    ++here_.metrics.connections_open;
    if (!admitted) {
        ++turned_away_;
        ++here_.metrics.connections_refused;
    }
    // A listener that a reload dropped keeps serving in clear text or TLS as it began.
    const auto& contexts = here_.now->listener_tls;
    auto tls = position_ < contexts.size() ? contexts[position_] : nullptr;
    auto one = std::make_unique<ingress::session>(here_, std::move(socket), std::move(tls));
    sessions_.push_back(*one);
    if (draining_) {
        one->end_when_idle();
    }
    net::spawn(
        admitted ? serve_one(std::move(one)) : turn_away(std::move(one)),
        [this, admitted](const std::exception_ptr& error) {
            if (error) {
                telemetry::log(telemetry::level::error, "a session ended by an exception");
                ++here_.metrics.internal_errors;
            }
            ended(admitted);
        }
    );
}

net::task<void> listener::serve_one(std::unique_ptr<ingress::session> one)
{
    co_await one->run();
}

net::task<void> listener::turn_away(std::unique_ptr<ingress::session> one)
{
    failure why{
        .what = code::overloaded,
        .text = "the gateway has as many connections as it takes, " +
                std::to_string(here_.all.clients.allowed()) +
                "; try again in a second. The policy's `limits.connections` raises that, as far as the "
                "process may open files"
    };
    why.retry_after = std::chrono::seconds(1);
    why.close = true;
    co_await one->turn_away(std::move(why));
}

void listener::ended(bool admitted)
{
    --open_;
    --here_.metrics.connections_open;
    if (admitted) {
        here_.all.clients.give();
    } else {
        --turned_away_;
    }
    if (draining_) {
        tell_if_drained();
        return;
    }
    accept();
}

void listener::drain(std::function<void()> done)
{
    drained_ = std::move(done);
    draining_ = true;
    retry_.disarm();
    // Whoever the kernel has told that it is connected is served: closing a listener resets those in its
    // queue, also one that got there a moment after the last accept().
    const bool quiet = hear_no_new(socket_);
    empty_queue();
    for (auto& each : sessions_) {
        each.end_when_idle();
    }
    if (!quiet) {
        close_acceptor();
        return;
    }
    retry_.arm(net::clock::now() + handshakes);
}

void listener::empty_queue()
{
    while (socket_.is_open()) {
        net::descriptor socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!socket.is_open()) {
            return;
        }
        take(std::move(socket));
    }
}

void listener::close_acceptor()
{
    if (socket_.is_open()) {
        here_.loop.unwatch(socket_.get());
        socket_.reset();
    }
    tell_if_drained();
}

void listener::tell_if_drained()
{
    if (open_ == 0 && !socket_.is_open() && drained_) {
        std::exchange(drained_, nullptr)();
    }
}

void listener::abort()
{
    retry_.disarm();
    empty_queue();
    close_acceptor();
    for (auto& each : sessions_) {
        each.abort();
    }
}

} // namespace gw::runtime
