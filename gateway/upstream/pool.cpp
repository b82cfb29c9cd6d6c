#include "upstream/pool.hpp"

#include "net/tls.hpp"
#include "wire/response_head.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>

namespace gw::upstream {
namespace {

// What the read of an idle connection may take: it becomes the first read of the next answer.
constexpr std::size_t idle_watch = net::reader::full_size;
// An end that came within this time would not be seen before our request is on its way anyway.
constexpr std::chrono::microseconds just_looked{500};
constexpr std::size_t most_idle_per_peer = 256;
constexpr std::size_t most_remembered = 1024; // hosts
// The least that an address gets of the time to connect while there are others (RFC 8305 section 5).
constexpr std::chrono::milliseconds least_share{250};

std::unexpected<failure> not_connected(code what, std::string text, std::string detail)
{
    return std::unexpected(failure{
        .what = what,
        .from = origin::upstream,
        .again = retry::safe,
        .text = std::move(text),
        .detail = std::move(detail)
    });
}

// A closed connection's read completes later; this waits for it and only then frees the object.
net::task<void> bury(std::unique_ptr<connection> it)
{
    co_await it->in.stop();
}

} // namespace

lease::~lease()
{
    discard();
}

void lease::keep(std::chrono::milliseconds rest)
{
    if (it_) {
        it_->rests_until = rest.count() == 0 ? net::time_point{} : net::clock::now() + rest;
        --from_->busy_;
        from_->put_back(std::move(it_));
    }
}

void lease::discard()
{
    if (it_) {
        --from_->busy_;
        from_->retire(std::move(it_));
    }
}

pool::pool(net::loop& on, net::resolver& names) : on_(on), names_(names) {}

pool::~pool()
{
    clear();
}

void pool::retire(std::unique_ptr<connection> it)
{
    it->wire.close();
    if (it->in.outstanding()) {
        net::spawn(bury(std::move(it)), [](const std::exception_ptr&) {});
    }
}

void pool::put_back(std::unique_ptr<connection> it)
{
    const bool dropped = named_ && !named_->contains(it->base);
    if (dropped || !it->wire.is_open() || it->in.failed() || !it->in.empty()) {
        retire(std::move(it));
        return;
    }
    auto& kept = idle_[it->key];
    if (kept.size() >= most_idle_per_peer) {
        retire(std::move(it));
        return;
    }
    it->wire.read_until(net::never);
    it->wire.write_until(net::never);
    it->idle_since = net::clock::now();
    it->in.give_back();
    connection* raw = it.get();
    kept.push_back(std::move(it));
    ++idle_total_;
    raw->in.watch(idle_watch, [raw] { raw->dead = true; });
}

void pool::tick(net::time_point now)
{
    for (auto at = idle_.begin(); at != idle_.end();) {
        auto& kept = at->second;
        for (std::size_t i = 0; i < kept.size();) {
            connection& each = *kept[i];
            if (each.dead || !each.in.empty() || now - each.idle_since >= each.idle_limit) {
                retire(std::move(kept[i]));
                kept[i] = std::move(kept.back());
                kept.pop_back();
                --idle_total_;
            } else {
                ++i;
            }
        }
        at = kept.empty() ? idle_.erase(at) : std::next(at);
    }
}

void pool::keep_only(std::shared_ptr<const std::unordered_set<std::string>> named)
{
    named_ = std::move(named);
    for (auto& [key, kept] : idle_) {
        for (auto& each : kept) {
            each->dead = each->dead || !named_->contains(each->base);
        }
    }
    tick(net::time_point{});
}

void pool::clear()
{
    auto all = std::move(idle_);
    idle_.clear();
    idle_total_ = 0;
    for (auto& [key, kept] : all) {
        for (auto& each : kept) {
            retire(std::move(each));
        }
    }
}

lease pool::borrow_idle(const peer& to)
{
    // The newest idle connection is the likeliest to be alive.
    if (const auto at = idle_.find(to.key); at != idle_.end()) {
        auto& kept = at->second;
        const auto now = net::clock::now();
        for (std::size_t i = kept.size(); i-- > 0;) {
            if (kept[i]->rests_until > now) {
                continue;
            }
            std::unique_ptr<connection> it = std::move(kept[i]);
            kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(i));
            --idle_total_;
            it->in.unwatch();
            const auto idled = now - it->idle_since;
            const bool fresh = !it->dead && it->in.empty() && !it->in.failed() && idled < it->idle_limit;
            // The outstanding read has told of everything but what arrived since the loop last looked.
            const bool told = now - on_.looked() < just_looked && !it->wire.readable();
            if (fresh && (told || it->wire.silent())) {
                ++busy_;
                return {*this, std::move(it), true};
            }
            retire(std::move(it));
        }
    }
    return {};
}

net::task<result<lease>> pool::borrow(const peer& to, net::time_point until, net::interrupt& stop)
{
    if (lease idle = borrow_idle(to)) {
        co_return idle;
    }
    auto made = co_await connect(to, until, stop);
    co_return made;
}

// A name server may take longer than connecting may.
net::task<result<net::addresses>>
pool::resolve(const std::string& host, net::time_point until, net::interrupt& stop)
{
    net::interrupt ended;
    net::deadline limit(on_.deadlines, &ended, [](void* it) {
        static_cast<net::interrupt*>(it)->fire(code::timeout);
    });
    limit.arm(until);
    const net::interrupt::scope passes_on(stop, [&] { ended.fire(stop.why()); });
    auto found = co_await names_.resolve(on_, host, ended);
    if (!found && ended.fired() && !stop.fired()) {
        co_return not_connected(
            code::timeout, "looking up `" + host + "` took longer than the upstream's timeout.connect", host
        );
    }
    co_return found;
}

net::task<result<lease>> pool::connect(const peer& to, net::time_point until, net::interrupt& stop)
{
    const bool proxied = !to.proxy_host.empty();
    const std::string& first_hop = proxied ? to.proxy_host : to.host;
    auto found = co_await resolve(first_hop, until, stop);
    if (!found) {
        co_return fail(found);
    }
    if (to.checks_private && !proxied && std::ranges::any_of(*found, net::is_private)) {
        co_return not_connected(
            code::unavailable,
            "the host `" + to.host +
                "` resolves to a private address; an upstream inside your network needs its own `url:`",
            to.host
        );
    }
    if (found->size() > 1) {
        const auto known = worked_.find(first_hop);
        found = net::in_turn(std::move(*found), known == worked_.end() ? nullptr : &known->second);
    }

    const std::uint16_t port = proxied ? to.proxy_port : to.port;
    std::string why = "no address";
    bool slow = false; // the last one that was tried
    for (std::size_t i = 0; i < found->size(); ++i) {
        const auto& address = (*found)[i];
        auto it = std::make_unique<connection>(on_);
        it->idle_limit = to.idle;
        it->key = to.key;
        it->base = to.base;
        const net::interrupt::scope ends(stop, [&it] { it->wire.cancel(); });
        if (stop.fired()) {
            co_return std::unexpected(failure{.what = stop.why()});
        }

        // One that swallows everything must not use up the time of those behind it.
        const auto now = net::clock::now();
        const std::size_t left = found->size() - i;
        const auto share =
            std::max<net::clock::duration>((until - now) / static_cast<int>(left), least_share);
        it->wire.write_until(left == 1 ? until : std::min(until, now + share));
        net::error_code ec = co_await it->wire.connect({address, port});
        if (net::no_descriptors(ec) && idle_total_ != 0) {
            clear(); // of our own
            ec = co_await it->wire.connect({address, port});
        }
        if (stop.fired()) {
            co_return std::unexpected(failure{.what = stop.why()});
        }
        if (net::no_descriptors(ec)) {
            // Nobody else's fault: it is held against no upstream.
            co_return std::unexpected(failure{
                .what = code::overloaded,
                .again = retry::safe,
                .text =
                    "the gateway has as many open files as it may have (ulimit -n, LimitNOFILE=); try again "
                    "in a second",
                .detail = to.key + ": " + ec.message(),
                .retry_after = std::chrono::seconds(1)
            });
        }
        if (ec) {
            slow = ec == net::asio::error::timed_out;
            why = ec.message();
            if (slow && net::clock::now() >= until) {
                break;
            }
            continue; // the next address
        }
        if (found->size() > 1) {
            if (worked_.size() >= most_remembered) {
                worked_.clear();
            }
            worked_.insert_or_assign(first_hop, address);
        }
        it->wire.write_until(until);
        if (proxied) {
            it->wire.read_until(until);
            auto opened = co_await tunnel(*it, to, stop);
            if (!opened) {
                co_await it->in.stop();
                co_return fail(opened);
            }
        }
        if (to.tls) {
            const net::error_code shaken = co_await it->wire.handshake_client(*to.tls, to.host);
            if (stop.fired()) {
                co_return std::unexpected(failure{.what = stop.why()});
            }
            if (shaken == net::asio::error::timed_out) {
                co_return not_connected(
                    code::timeout,
                    "the TLS handshake with the upstream took longer than its timeout.connect",
                    to.key
                );
            }
            if (shaken && net::handshake_reset(shaken)) {
                why = "it closed the connection during the TLS handshake";
                slow = false;
                continue; // the next address
            }
            if (shaken) {
                co_return not_connected(
                    code::upstream_tls,
                    "the TLS connection to `" + to.host + "` is refused: " + it->wire.why(),
                    to.key + ": " + shaken.message()
                );
            }
        }
        it->wire.write_until(net::never);
        it->wire.read_until(net::never);
        ++busy_;
        co_return lease(*this, std::move(it), false);
    }
    if (slow) {
        co_return not_connected(
            code::timeout,
            "connecting to the upstream took longer than its timeout.connect",
            to.key + ": connect timed out"
        );
    }
    co_return not_connected(
        code::unavailable,
        proxied ? "the upstream's proxy cannot be reached: " + why : "the upstream cannot be reached: " + why,
        to.key + ": " + why
    );
}

net::task<result<void>> pool::tunnel(connection& over, const peer& to, net::interrupt& stop)
{
    const std::string authority = to.host + ":" + std::to_string(to.port);
    const std::string ask = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
    const std::array<net::asio::const_buffer, 1> out{net::asio::buffer(ask)};
    const net::error_code sent = co_await over.wire.write(out);
    if (sent) {
        co_return not_connected(
            code::unavailable, "the upstream's proxy closed the connection", sent.message()
        );
    }
    wire::response_head head;
    while (true) {
        // A 2xx to CONNECT has no body whatever its fields say: the HEAD rule of the scanner.
        auto scanned = wire::scan_response_head(over.in.data(), wire::response_limits, head, true);
        if (!scanned) {
            co_return not_connected(
                code::unavailable, "the upstream's proxy does not speak HTTP", scanned.error().text
            );
        }
        if (*scanned) {
            over.in.consume(**scanned);
            break;
        }
        const net::error_code ec = co_await over.in.more();
        if (stop.fired()) {
            co_return std::unexpected(failure{.what = stop.why()});
        }
        if (ec) {
            co_return not_connected(code::unavailable, "the upstream's proxy gave no answer", ec.message());
        }
    }
    if (head.status < 200 || head.status > 299) {
        co_return not_connected(
            code::unavailable,
            "the upstream's proxy refused the tunnel with status " + std::to_string(head.status),
            to.key
        );
    }
    if (!over.in.empty()) { // in front of the TLS that we begin: nobody vouches for it
        co_return not_connected(
            code::unavailable, "the upstream's proxy sent something of its own into the tunnel", to.key
        );
    }
    co_return result<void>{};
}

} // namespace gw::upstream
