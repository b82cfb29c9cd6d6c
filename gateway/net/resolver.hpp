// Names to addresses: one cached resolver for the process, getaddrinfo on four threads of its own, so that no
// core ever waits for a name server. An answer is good for 30 s, then refreshed in the background while the
// last good one is served for up to 1 h; one look-up per name at a time. Thread-safe.
#pragma once

#include "message/failure.hpp"
#include "net/interrupt.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

#include <boost/asio/ip/address.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gw::net {

using addresses = std::vector<asio::ip::address>;

class resolver
{
public:
    using lookup_fn =
        std::function<result<addresses>(const std::string& host)>; // blocking; tests inject their own

    explicit resolver(lookup_fn lookup = system_lookup);
    // Waits for look-ups in progress, up to a second: a name server that hangs does not hold the exit. What
    // it answers later is dropped.
    ~resolver();
    resolver(const resolver&) = delete;
    resolver& operator=(const resolver&) = delete;

    // Addresses of `host` (a name, or a literal address). Never empty.
    //   errors   unavailable (the name does not resolve; text names it), or the interrupt's reason
    [[nodiscard]] task<result<addresses>> resolve(loop& on, std::string host, interrupt& stop);

    static result<addresses> system_lookup(const std::string& host);

private:
    struct parts; // outlives this while a look-up hangs
    std::shared_ptr<parts> parts_;
};

// The order in which addresses are tried: the families take turns (RFC 8305 section 4), `first`, if it is one
// of them, before all others.
[[nodiscard]] addresses in_turn(addresses all, const asio::ip::address* first);

// Loopback, private, link-local, unspecified or multicast: not where a name from outside may lead.
[[nodiscard]] bool is_private(const asio::ip::address& where);

} // namespace gw::net
