// Kept connections to upstreams, per core. A connection belongs to the pool while it idles and to a lease
// while it works; only a complete, clean exchange brings it back (lease::keep). An idle connection always has
// a read outstanding: bytes or end of file on it, and it is closed. Used on its core's thread only.
#pragma once

#include "message/failure.hpp"
#include "net/interrupt.hpp"
#include "net/reader.hpp"
#include "net/resolver.hpp"
#include "upstream/peer.hpp"
#include "wire/response_head.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace gw::upstream {

struct connection
{
    explicit connection(net::loop& on) : wire(on), in(wire) {}
    net::stream wire;
    net::reader in;
    std::string key;  // of the peer it leads to
    std::string base; // of the peer too
    std::uint64_t exchanges = 0;
    wire::response_head head; // of the exchange; here, so that the memory of its fields is used again
    net::time_point idle_since{};
    net::time_point rests_until{}; // not lent before
    std::chrono::milliseconds idle_limit{};
    bool dead = false;
};

class pool;

// A borrowed connection. Closed when it goes, unless keep() was called.
class lease
{
public:
    lease() = default;
    lease(pool& from, std::unique_ptr<connection> it, bool reused)
        : from_(&from), it_(std::move(it)), reused_(reused)
    {
    }
    lease(lease&&) = default;
    lease& operator=(lease&&) = default;
    ~lease();

    [[nodiscard]] explicit operator bool() const { return it_ != nullptr; }
    [[nodiscard]] connection& operator*() const { return *it_; }
    [[nodiscard]] connection* operator->() const { return it_.get(); }
    [[nodiscard]] bool reused() const { return reused_; }

    // After a complete, clean exchange. `rest`: not lent before that time is over.
    void keep(std::chrono::milliseconds rest = {});
    void discard(); // closes now

private:
    pool* from_ = nullptr;
    std::unique_ptr<connection> it_;
    bool reused_ = false;
};

class pool
{
public:
    pool(net::loop& on, net::resolver& names);
    ~pool();

    // Lends a connection to `to`: an idle one with an equal key that is still silent, else a new one (DNS,
    // TCP, TLS). Of several addresses the one that worked last is tried first; each gets a fair share.
    //   until     covers resolving, connecting and the handshake together
    //   errors    unavailable (not resolved, refused, reset), timeout, upstream_tls, overloaded (no
    //             descriptors): all retry::safe, nothing was sent; or the interrupt's reason
    [[nodiscard]] net::task<result<lease>>
    borrow(const peer& to, net::time_point until, net::interrupt& stop);
    // The first part of it, which waits for nothing: an idle connection, or none.
    [[nodiscard]] lease borrow_idle(const peer& to);

    void tick(net::time_point now); // drops what idled too long
    void clear();                   // closes every idle one
    // After a reload: only connections whose peer.base is in `named` are kept from now on; others that idle
    // are closed.
    void keep_only(std::shared_ptr<const std::unordered_set<std::string>> named);
    [[nodiscard]] std::size_t idle_count() const { return idle_total_; }
    [[nodiscard]] std::size_t busy_count() const { return busy_; }

private:
    friend class lease;
    void put_back(std::unique_ptr<connection> it);
    void retire(std::unique_ptr<connection> it);
    [[nodiscard]] net::task<result<net::addresses>>
    resolve(const std::string& host, net::time_point until, net::interrupt& stop);
    [[nodiscard]] net::task<result<lease>>
    connect(const peer& to, net::time_point until, net::interrupt& stop);
    [[nodiscard]] net::task<result<void>> tunnel(connection& over, const peer& to, net::interrupt& stop);

    net::loop& on_;
    net::resolver& names_;
    std::unordered_map<std::string, std::vector<std::unique_ptr<connection>>> idle_;
    std::shared_ptr<const std::unordered_set<std::string>> named_;   // null: no reload yet
    std::unordered_map<std::string, net::asio::ip::address> worked_; // of hosts with several addresses
    std::size_t idle_total_ = 0;
    std::size_t busy_ = 0;
};

} // namespace gw::upstream
