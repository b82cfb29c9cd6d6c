// What one thread owns, and the parts of the process that all threads share. Made by runtime/, used by
// ingress/ and dispatch/. A core's members are touched on its own thread only.
#pragma once

#include "auth/key_table.hpp"
#include "config/settings.hpp"
#include "dispatch/connections.hpp"
#include "dispatch/leak_search.hpp"
#include "dispatch/standing.hpp"
#include "net/loop.hpp"
#include "net/resolver.hpp"
#include "payload/spool.hpp"
#include "telemetry/access_record.hpp"
#include "telemetry/metrics.hpp"
#include "upstream/lookup.hpp"
#include "upstream/peer.hpp"
#include "upstream/pool.hpp"
#include "workers/supervisor.hpp"

#include <boost/asio/ssl/context.hpp>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace gw::dispatch {

// Settings and what is made from them once: where to connect, TLS contexts. Immutable; a request takes one at
// its start.
struct snapshot
{
    explicit snapshot(std::shared_ptr<const config::settings> of) : policy(std::move(of)), keys(*policy) {}

    std::shared_ptr<const config::settings> policy;
    auth::key_table keys;
    std::unordered_map<const config::upstream*, upstream::peer> peers; // workers: without a port
    // What may not come back from each: the tokens of every upstream of the same origin.
    std::unordered_map<const config::upstream*, std::shared_ptr<const secret_set>> secrets;
    std::shared_ptr<const std::unordered_set<std::string>> bases; // of all peers
    std::vector<std::shared_ptr<boost::asio::ssl::context>>
        listener_tls; // by position in policy->listen; null: clear text
};
//   errors   internal: a certificate or ca_file cannot be used (text names it)
[[nodiscard]] result<std::shared_ptr<const snapshot>>
make_snapshot(std::shared_ptr<const config::settings> policy);

class waker;

// Shared by all cores; every member is safe from any thread.
struct process
{
    net::resolver& names;
    payloads::spool& store;
    standing& known;
    workers::supervisor& workers;
    telemetry::line_writer& records;
    std::string version;
    connections clients{};
    upstream::lookup* hub = nullptr; // null: no request asks the Hub
    waker* bridge = nullptr;         // null: sleeping endpoints are probed by requests
    std::atomic<bool> cut = false;   // the drain limit is over: what ends now makes room for nobody
};

struct core
{
    explicit core(process& shared)
        : all(shared), pool(loop, shared.names), log(shared.records), random(std::random_device{}())
    {
    }

    process& all;
    net::loop loop;
    upstream::pool pool;
    telemetry::core_metrics metrics;
    telemetry::access_log log;
    std::mt19937_64 random;
    std::shared_ptr<const snapshot> now;
    bool draining = false; // answers carry `Connection: close`
};

} // namespace gw::dispatch
