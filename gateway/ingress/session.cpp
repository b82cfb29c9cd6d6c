#include "ingress/session.hpp"

#include "ingress/serve.hpp"
#include "telemetry/log.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>

namespace gw::ingress {
namespace {

constexpr auto linger_time = std::chrono::seconds(2);
constexpr auto goodbye_time = std::chrono::seconds(2); // for the handshake of one that is turned away
constexpr std::uint64_t linger_bytes = 16ULL << 20U;
// While the gateway drains, a connection is closed once it has idled for so long: a request that was on its
// way when the drain began is answered still.
constexpr auto last_chance = std::chrono::milliseconds(200);
constexpr auto cut_linger = std::chrono::milliseconds(200); // the drain limit is over

failure slow_head()
{
    return {
        .what = code::request_timeout,
        .from = origin::client,
        .text = "the request's head did not arrive within `limits.header_timeout`",
        .close = true
    };
}

} // namespace

class session::parts
{
public:
    parts(dispatch::core& here, net::descriptor socket, std::shared_ptr<boost::asio::ssl::context> tls)
        : here_(here), tls_(std::move(tls)), wire_(here.loop, std::move(socket)), in_(wire_),
          client_{.here = here, .wire = wire_, .in = in_, .head = {}, .copy = {}}
    {
    }

    net::task<void> run() { return to_its_end(serve_all()); }
    net::task<void> turn_away(failure why) { return to_its_end(refuse(std::move(why))); }
    void end_when_idle()
    {
        ending_ = true;
        if (idle_) {
            wire_.read_until(std::max(net::clock::now(), idle_since_ + last_chance));
        }
    }
    void abort()
    {
        ending_ = cut_ = true;
        if (client_.running != nullptr) {
            client_.running->fire(code::stopping);
        }
        wire_.cancel(); // whatever waits for this client
    }

private:
    net::task<void> to_its_end(net::task<void> work);
    net::task<void> serve_all();
    net::task<void> refuse(failure why);
    net::task<bool> shake_hands(net::clock::duration within);
    // The next request's head in the buffer: its size; 0: the connection is over.
    net::task<lean<std::size_t>> next_head();
    net::task<void> linger(net::stream::ending how);

    dispatch::core& here_;
    std::shared_ptr<boost::asio::ssl::context> tls_;
    net::stream wire_;
    net::reader in_;
    client_side client_;
    bool idle_ = false; // waits for a request's first byte
    net::time_point idle_since_{};
    bool ending_ = false; // the gateway drains
    bool cut_ = false;    // the drain limit is over
};

net::task<lean<std::size_t>> session::parts::next_head()
{
    const auto now = here_.now; // a reload may come while we wait
    const auto& limits = now->policy->limits;
    const wire::head_limits bounds{limits.header_bytes, limits.header_fields, limits.target_bytes};
    bool begun = !in_.empty();
    bool looked = false;
    idle_ = !begun;
    idle_since_ = net::clock::now();
    const std::chrono::milliseconds patience = begun     ? limits.header_timeout
                                               : ending_ ? last_chance
                                                         : limits.idle_timeout;
    wire_.read_until(idle_since_ + patience);
    while (true) {
        if (!in_.empty()) {
            auto scanned = wire::scan_request_head(in_.data(), bounds, client_.head);
            if (!scanned) {
                co_return fail(scanned);
            }
            if (*scanned) {
                idle_ = false;
                wire_.read_until(net::never);
                co_return **scanned;
            }
        }
        if (cut_) {
            co_return std::size_t{0};
        }
        const net::error_code ec = co_await in_.more();
        if (ec == net::asio::error::timed_out && in_.empty() && !looked && !wire_.silent()) {
            // Just as we meant to close, something came: to close now would answer a request with a reset.
            looked = true;
            in_.clear_timeout();
            wire_.read_until(net::clock::now() + limits.header_timeout);
            continue;
        }
        if (ec) {
            idle_ = false;
            if (ec == net::asio::error::timed_out && !in_.empty()) {
                co_return std::unexpected(slow_head());
            }
            co_return std::size_t{0};
        }
        if (!begun) {
            begun = true;
            idle_ = false;
            wire_.read_until(net::clock::now() + limits.header_timeout);
        }
    }
}

net::task<void> session::parts::linger(net::stream::ending how)
{
    wire_.write_until(net::clock::now() + linger_time);
    co_await wire_.end_send(how);
    wire_.write_until(net::never);
    in_.clear_timeout();
    wire_.read_until(net::clock::now() + (cut_ ? cut_linger : linger_time));
    std::uint64_t dropped = 0;
    while (dropped < linger_bytes) {
        in_.consume(in_.data().size());
        const net::error_code ec = co_await in_.more();
        if (ec) {
            break;
        }
        dropped += in_.data().size();
    }
}

net::task<void> session::parts::refuse(failure why)
{
    const bool shaken = co_await shake_hands(goodbye_time);
    if (shaken) {
        co_await refuse_head(client_, why);
        co_await linger(net::stream::ending::whole);
    }
}

net::task<void> session::parts::to_its_end(net::task<void> work)
{
    std::exception_ptr bug;
    try {
        co_await work;
    } catch (...) { // no memory: the listener counts it
        bug = std::current_exception();
    }
    wire_.close();
    co_await in_.stop(); // a read may be outstanding in it
    if (bug) {
        std::rethrow_exception(bug);
    }
}

net::task<bool> session::parts::shake_hands(net::clock::duration within)
{
    if (!tls_) {
        co_return true;
    }
    wire_.write_until(net::clock::now() + within); // the limit of handshakes, too
    const net::error_code ec = co_await wire_.handshake_server(*tls_);
    wire_.write_until(net::never);
    if (ec) {
        wire_.close();
        co_return false;
    }
    co_return true;
}

net::task<void> session::parts::serve_all()
{
    const bool shaken = co_await shake_hands(here_.now->policy->limits.header_timeout);
    if (!shaken) {
        co_return;
    }
    while (true) {
        auto head = co_await next_head();
        if (!head) {
            co_await refuse_head(client_, *head.error());
            co_await linger(net::stream::ending::whole);
            break;
        }
        if (*head == 0) {
            if (wire_.is_tls() && wire_.is_open()) {
                wire_.write_until(net::clock::now() + linger_time);
                co_await wire_.end_send(net::stream::ending::whole);
            }
            break;
        }
        const after then = co_await serve(client_, *head);
        client_.copy.clear();
        if (then == after::keep) {
            in_.give_back();
            continue;
        }
        if (then == after::linger || then == after::linger_cut) {
            co_await linger(then == after::linger ? net::stream::ending::whole : net::stream::ending::cut);
        }
        if (then == after::cut) {
            wire_.reset();
        }
        break;
    }
}

session::session(dispatch::core& here, net::descriptor socket, std::shared_ptr<boost::asio::ssl::context> tls)
    : parts_(std::make_unique<parts>(here, std::move(socket), std::move(tls)))
{
}

session::~session() = default;

net::task<void> session::run()
{
    return parts_->run();
}

net::task<void> session::turn_away(failure why)
{
    return parts_->turn_away(std::move(why));
}

void session::end_when_idle()
{
    parts_->end_when_idle();
}

void session::abort()
{
    parts_->abort();
}

} // namespace gw::ingress
