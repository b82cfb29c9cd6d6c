// Names to addresses: one cached resolver for the process, getaddrinfo on four threads of its own, so that no
// core ever waits for a name server. An answer is good for 30 s, then refreshed in the background while the
// last good one is served for up to 1 h; one look-up per name at a time. Thread-safe.
#pragma once

#include "message/failure.hpp"
#include "net/interrupt.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/thread_pool.hpp>

#include <functional>
#include <map>
#include <mutex>
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
    ~resolver();

    // Addresses of `host` (a name, or a literal address). Never empty.
    //   errors   unavailable (the name does not resolve; text names it), or the interrupt's reason
    [[nodiscard]] task<result<addresses>> resolve(loop& on, std::string host, interrupt& stop);

    static result<addresses> system_lookup(const std::string& host);

private:
    struct entry
    {
        addresses last_good;
        time_point looked_up{};
        bool looking = false;
        std::vector<std::function<void(const result<addresses>&)>> waiting; // called on a look-up thread
    };
    void look(const std::string& host);

    lookup_fn lookup_;
    std::mutex guard_;
    std::map<std::string, entry> known_;
    asio::thread_pool threads_{4};
};

// Loopback, private, link-local, unspecified or multicast: not where a name from outside may lead.
[[nodiscard]] bool is_private(const asio::ip::address& where);

} // namespace gw::net
