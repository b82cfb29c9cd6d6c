#include "runtime/listener.hpp"

#include "runtime/descriptors.hpp"
#include "telemetry/log.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/v6_only.hpp>

#include <algorithm>
#include <array>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sstream>
#include <sys/socket.h>

namespace gw::runtime {
namespace {

// Boost 1.81 has no public options for these.
using reuse_port = net::asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
using most_unsent = net::asio::detail::socket_option::integer<IPPROTO_TCP, TCP_NOTSENT_LOWAT>;

// What the kernel keeps for a client that reads slowly, beside what is on its way. Without it: some MiB each.
constexpr int unsent_bytes = 256 * 1024;

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

result<net::tcp_acceptor> open(net::loop& on, const net::tcp::endpoint& at, bool first)
{
    std::ostringstream where_text;
    where_text << at; // an IPv6 address in brackets
    const std::string where = where_text.str();
    net::tcp_acceptor made(on.io);
    net::error_code ec;
    made.open(at.protocol(), ec);
    if (!ec) {
        made.set_option(net::asio::socket_base::reuse_address(true), ec);
    }
    if (!ec && !first) {
        made.set_option(reuse_port(true), ec);
    }
    if (!ec && at.address().is_v6()) {
        made.set_option(net::asio::ip::v6_only(true), ec);
    }
    if (!ec) {
        made.bind(at, ec);
    }
    if (!ec) {
        made.listen(net::asio::socket_base::max_listen_connections, ec);
    }
    if (!ec && first) {
        made.set_option(reuse_port(true), ec);
    }
    if (ec) {
        return cannot(where, ec);
    }
    return made;
}

// From now on the kernel drops SYNs to this listener, while handshakes that have begun are finished: a filter
// of four instructions over the TCP header. Who tries meanwhile tries again a second later, and is refused.
bool hear_no_new(net::tcp_acceptor& on)
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
    return ::setsockopt(on.native_handle(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

} // namespace

result<net::tcp_acceptor> bind_first(net::loop& on, const config::address& at)
{
    net::error_code ec;
    const std::string host = at.host == "localhost" ? "127.0.0.1" : at.host.empty() ? "0.0.0.0" : at.host;
    const auto address = net::asio::ip::make_address(host, ec);
    if (ec) {
        return cannot(at.host + ":" + std::to_string(at.port), ec);
    }
    return open(on, {address, at.port}, true);
}

result<net::tcp_acceptor> bind_next(net::loop& on, const net::tcp::endpoint& at)
{
    return open(on, at, false);
}

listener::listener(dispatch::core& here, net::tcp_acceptor acceptor, std::size_t position)
    : here_(here), acceptor_(std::move(acceptor)), retry_(here.loop.io), position_(position)
{
    acceptor_.non_blocking(true);
}

void listener::start()
{
    accept();
}

void listener::accept()
{
    if (accepting_ || draining_ || turned_away_ >= most_turned_away) {
        return;
    }
    accepting_ = true;
    acceptor_.async_accept([this](net::error_code ec, net::tcp_socket socket) {
        accepting_ = false;
        if (!ec) {
            pause_ = {};
            if (std::exchange(told_, false)) {
                telemetry::log(telemetry::level::info, "accepts connections again");
            }
            take(std::move(socket));
            accept();
            return;
        }
        if (ec != net::asio::error::operation_aborted && !draining_) {
            pause(ec);
        }
    });
}

// No descriptors, no memory: a pause, not a spin; idle upstream connections are given up first.
void listener::pause(const net::error_code& why)
{
    here_.pool.tick(net::never);
    if (const auto now = net::clock::now(); now >= tell_again_) {
        tell_again_ = now + std::chrono::seconds(10);
        told_ = true;
        telemetry::log(telemetry::level::warning, "cannot accept, tries again", {{"why", why.message()}});
    }
    pause_ = std::clamp(2 * pause_, std::chrono::milliseconds(50), std::chrono::milliseconds(800));
    retry_.expires_after(pause_);
    retry_.async_wait([this](net::error_code stopped) {
        if (!stopped) {
            accept();
        }
    });
}

void listener::take(net::tcp_socket socket)
{
    net::error_code ignored;
    socket.set_option(net::tcp::no_delay(true), ignored);
    socket.set_option(most_unsent(unsent_bytes), ignored);
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
    net::spawn(serve_one(std::move(one), admitted), [this, admitted](const std::exception_ptr& error) {
        if (error) {
            telemetry::log(telemetry::level::error, "a session ended by an exception");
            ++here_.metrics.internal_errors;
        }
        ended(admitted);
    });
}

net::task<void> listener::serve_one(std::unique_ptr<ingress::session> one, bool admitted)
{
    if (admitted) {
        co_await one->run();
        co_return;
    }
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
    net::error_code ignored;
    acceptor_.cancel(ignored);
    retry_.cancel();
    // Whoever the kernel has told that it is connected is served: closing a listener resets those in its
    // queue, also one that got there a moment after the last accept().
    const bool quiet = hear_no_new(acceptor_);
    empty_queue();
    for (auto& each : sessions_) {
        each.end_when_idle();
    }
    if (!quiet) {
        close_acceptor();
        return;
    }
    retry_.expires_after(handshakes);
    retry_.async_wait([this](net::error_code stopped) {
        if (!stopped) {
            empty_queue();
            close_acceptor();
        }
    });
}

void listener::empty_queue()
{
    net::error_code ec;
    while (acceptor_.is_open()) {
        net::tcp_socket socket(here_.loop.io);
        acceptor_.accept(socket, ec);
        if (ec) {
            return;
        }
        take(std::move(socket));
    }
}

void listener::close_acceptor()
{
    net::error_code ignored;
    acceptor_.close(ignored);
    tell_if_drained();
}

void listener::tell_if_drained()
{
    if (open_ == 0 && !acceptor_.is_open() && drained_) {
        std::exchange(drained_, nullptr)();
    }
}

void listener::abort()
{
    retry_.cancel();
    empty_queue();
    close_acceptor();
    for (auto& each : sessions_) {
        each.abort();
    }
}

} // namespace gw::runtime
