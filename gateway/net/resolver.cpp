#include "net/resolver.hpp"

#include "message/quiet_thread.hpp"
#include "net/event.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <netdb.h>
#include <sys/socket.h>
#include <thread>

namespace gw::net {
namespace {

constexpr auto fresh_for = std::chrono::seconds(30);
constexpr auto stale_for = std::chrono::hours(1);
constexpr std::size_t most_names = 4096;
constexpr int threads = 4;
constexpr auto last_wait = std::chrono::seconds(1);

// What a look-up hands back to the coroutine that waits for it. Shared, since either may go first.
struct ticket
{
    explicit ticket(loop& of) : on(of), done(of) {}
    loop& on;
    event done;
    std::optional<result<addresses>> got;
};

struct entry
{
    addresses last_good;
    time_point looked_up{};
    bool looking = false;
    std::vector<std::shared_ptr<ticket>> waiting;
};

} // namespace

struct resolver::parts
{
    explicit parts(lookup_fn how) : lookup(std::move(how)) {}

    const lookup_fn lookup;

    std::mutex guard; // of all below
    std::condition_variable changed;
    std::map<std::string, entry> known;
    std::deque<std::string> wanted;
    std::size_t running = 0; // threads
    bool over = false;

    void work();
};

void resolver::parts::work()
{
    std::unique_lock lock(guard);
    while (true) {
        changed.wait(lock, [this] { return over || !wanted.empty(); });
        if (over) {
            break;
        }
        const std::string host = std::move(wanted.front());
        wanted.pop_front();
        lock.unlock();
        const result<addresses> got = lookup(host);
        lock.lock();
        if (over) {
            break; // who waited is gone
        }
        entry& mine = known[host];
        mine.looking = false;
        if (got && !got->empty()) {
            mine.last_good = *got;
            mine.looked_up = clock::now();
        }
        for (auto& each : std::exchange(mine.waiting, {})) {
            loop& on = each->on;
            on.post([it = std::move(each), got] {
                it->got = got;
                it->done.set();
            });
        }
    }
    --running;
    changed.notify_all();
}

resolver::resolver(lookup_fn lookup) : parts_(std::make_shared<parts>(std::move(lookup)))
{
    for (int count = 0; count < threads; ++count) {
        ++parts_->running;
        quiet_thread([its = parts_] { its->work(); }).detach();
    }
}

resolver::~resolver()
{
    std::unique_lock lock(parts_->guard);
    parts_->over = true;
    parts_->changed.notify_all();
    parts_->changed.wait_for(lock, last_wait, [this] { return parts_->running == 0; });
}

result<addresses> resolver::system_lookup(const std::string& host)
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (status != 0) {
        return std::unexpected(failure{
            .what = code::unavailable,
            .from = origin::upstream,
            .again = retry::safe,
            .text = "the host name `" + host + "` of the upstream does not resolve",
            .detail = ::gai_strerror(status)
        });
    }
    addresses made;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        if (each->ai_family == AF_INET) {
            const auto* in = reinterpret_cast<const sockaddr_in*>(each->ai_addr); // NOLINT: the C API's way
            made.emplace_back(asio::ip::address_v4(ntohl(in->sin_addr.s_addr)));
        } else if (each->ai_family == AF_INET6) {
            const auto* in = reinterpret_cast<const sockaddr_in6*>(each->ai_addr); // NOLINT: the C API's way
            asio::ip::address_v6::bytes_type bytes;
            std::copy(std::begin(in->sin6_addr.s6_addr), std::end(in->sin6_addr.s6_addr), bytes.begin());
            made.emplace_back(asio::ip::address_v6(bytes, in->sin6_scope_id));
        }
    }
    ::freeaddrinfo(found);
    return made;
}

task<result<addresses>> resolver::resolve(loop& on, std::string host, interrupt& stop)
{
    error_code ec;
    const asio::ip::address literal = asio::ip::make_address(host, ec);
    if (!ec) {
        co_return addresses{literal};
    }

    const auto mine = std::make_shared<ticket>(on);
    {
        const std::lock_guard lock(parts_->guard);
        auto& all = parts_->known;
        if (all.size() > most_names) {
            std::erase_if(all, [](const auto& each) { return !each.second.looking; });
        }
        entry& known = all[host];
        const auto look = [this, &known, &host] {
            known.looking = true;
            parts_->wanted.push_back(host);
            parts_->changed.notify_one();
        };
        const auto age = clock::now() - known.looked_up;
        const bool usable = !known.last_good.empty() && age < stale_for;
        if (usable && age >= fresh_for && !known.looking) {
            look();
        }
        if (usable) {
            co_return known.last_good;
        }
        known.waiting.push_back(mine);
        if (!known.looking) {
            look();
        }
    }

    const interrupt::scope ends(stop, [&mine] { mine->done.set(); });
    co_await mine->done.wait();
    if (!mine->got) { // nothing is told to a loop that may go before the look-up ends
        const std::lock_guard lock(parts_->guard);
        if (const auto known = parts_->known.find(host); known != parts_->known.end()) {
            std::erase(known->second.waiting, mine);
        }
        co_return std::unexpected(failure{.what = stop.why(), .text = "stopped while resolving " + host});
    }
    if (!*mine->got) {
        co_return std::unexpected(mine->got->error());
    }
    if ((*mine->got)->empty()) {
        co_return std::unexpected(failure{
            .what = code::unavailable,
            .from = origin::upstream,
            .again = retry::safe,
            .text = "the host name `" + host + "` of the upstream has no address"
        });
    }
    co_return **mine->got;
}

addresses in_turn(addresses all, const asio::ip::address* first)
{
    addresses made;
    made.reserve(all.size());
    std::array<std::size_t, 2> next{}; // of each family
    bool v6 = !all.empty() && all.front().is_v6();
    while (made.size() < all.size()) {
        std::size_t& at = next[v6 ? 1 : 0];
        while (at < all.size() && all[at].is_v6() != v6) {
            ++at;
        }
        if (at < all.size()) {
            made.push_back(all[at++]);
        }
        v6 = !v6;
    }
    if (first != nullptr) {
        if (const auto found = std::ranges::find(made, *first); found != made.end()) {
            std::rotate(made.begin(), found, found + 1);
        }
    }
    return made;
}

bool is_private(const asio::ip::address& where)
{
    if (where.is_v6()) {
        const auto v6 = where.to_v6();
        if (v6.is_v4_mapped()) {
            return is_private(asio::ip::make_address_v4(asio::ip::v4_mapped, v6));
        }
        const auto bytes = v6.to_bytes();
        // An IPv4 address in other clothes: 64:ff9b::/96 (RFC 6052), ::/96, 2002::/16 (RFC 3056).
        const auto v4_at = [&bytes](std::size_t at) {
            return asio::ip::address_v4({bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]});
        };
        const auto zeros = [&bytes](std::size_t from) {
            return std::all_of(
                bytes.begin() + static_cast<std::ptrdiff_t>(from),
                bytes.begin() + 12,
                [](auto b) { return b == 0; }
            );
        };
        const bool translated = zeros(0) || (bytes[0] == 0 && bytes[1] == 0x64 && bytes[2] == 0xFF &&
                                             bytes[3] == 0x9B && zeros(4));
        if ((translated && is_private(v4_at(12))) ||
            (bytes[0] == 0x20 && bytes[1] == 0x02 && is_private(v4_at(2)))) {
            return true;
        }
        return v6.is_loopback() || v6.is_link_local() || v6.is_unspecified() || v6.is_multicast() ||
               v6.is_site_local() || (bytes[0] & 0xFEU) == 0xFCU;
    }
    const auto v4 = where.to_v4();
    const std::uint32_t ip = v4.to_uint();
    const auto within = [ip](std::uint32_t net, unsigned bits) {
        return (ip >> (32U - bits)) == (net >> (32U - bits));
    };
    return v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || within(0x0A000000U, 8) ||
           within(0xAC100000U, 12) || within(0xC0A80000U, 16) || within(0xA9FE0000U, 16) ||
           within(0x64400000U, 10) || within(0U, 8) || within(0xF0000000U, 4);
}

} // namespace gw::net
