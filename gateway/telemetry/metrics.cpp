#include "telemetry/metrics.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>

namespace gw::telemetry {
namespace {

template <class Map>
void add_all(Map& to, const Map& from)
{
    for (const auto& [key, value] : from) {
        if constexpr (requires { to[key].add(value); }) {
            to[key].add(value);
        } else {
            to[key] += value;
        }
    }
}

// Finds or makes the entry of a label without making a string when it exists.
template <class Map>
auto& entry(Map& in, std::string_view key)
{
    const auto at = in.find(key);
    return at != in.end() ? at->second : in[std::string(key)];
}

void head(std::string& out, std::string_view name, std::string_view type, std::string_view help)
{
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void histograms(
    std::string& out,
    std::string_view name,
    std::string_view help,
    std::string_view by,
    const std::map<std::string, histogram, std::less<>>& all
)
{
    head(out, name, "histogram", help);
    for (const auto& [key, each] : all) {
        const std::string who = label(by, key);
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < bounds.size(); ++i) {
            below += each.buckets[i];
            out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, who, bounds[i], below);
        }
        below += each.buckets.back();
        out += fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n", name, who, below);
        out += fmt::format("{}_sum{{{}}} {:.6f}\n{}_count{{{}}} {}\n", name, who, each.sum, name, who, below);
    }
}

void counter(std::string& out, std::string_view name, std::string_view help, std::uint64_t value)
{
    head(out, name, "counter", help);
    out += fmt::format("{} {}\n", name, value);
}

void gauge(std::string& out, std::string_view name, std::string_view help, std::uint64_t value)
{
    head(out, name, "gauge", help);
    out += fmt::format("{} {}\n", name, value);
}

} // namespace

void histogram::observe(double seconds)
{
    const auto at = std::ranges::lower_bound(bounds, seconds);
    ++buckets[static_cast<std::size_t>(at - bounds.begin())];
    sum += seconds;
}

void histogram::add(const histogram& other)
{
    for (std::size_t i = 0; i < buckets.size(); ++i) {
        buckets[i] += other.buckets[i];
    }
    sum += other.sum;
}

void core_metrics::count_request(std::string_view model, std::string_view door, int status, double seconds)
{
    const auto key = std::make_tuple(model, door, status);
    const auto at = requests.find(key);
    if (at != requests.end()) {
        ++at->second;
    } else {
        ++requests[std::make_tuple(std::string(model), std::string(door), status)];
    }
    entry(request_seconds, model).observe(seconds);
}

void core_metrics::count_attempt(
    std::string_view upstream,
    std::string_view model,
    std::string_view outcome,
    double seconds,
    std::uint64_t sent,
    std::uint64_t received
)
{
    const auto key = std::make_tuple(upstream, model, outcome);
    const auto at = attempts.find(key);
    if (at != attempts.end()) {
        ++at->second;
    } else {
        ++attempts[std::make_tuple(std::string(upstream), std::string(model), std::string(outcome))];
    }
    entry(attempt_seconds, upstream).observe(seconds);
    entry(bytes_to_upstream, upstream) += sent;
    entry(bytes_from_upstream, upstream) += received;
}

void core_metrics::add(const core_metrics& other)
{
    add_all(requests, other.requests);
    add_all(attempts, other.attempts);
    add_all(request_seconds, other.request_seconds);
    add_all(attempt_seconds, other.attempt_seconds);
    add_all(bytes_to_upstream, other.bytes_to_upstream);
    add_all(bytes_from_upstream, other.bytes_from_upstream);
    bytes_from_clients += other.bytes_from_clients;
    bytes_to_clients += other.bytes_to_clients;
    connections_accepted += other.connections_accepted;
    connections_open += other.connections_open;
    connections_refused += other.connections_refused;
    requests_in_flight += other.requests_in_flight;
    idle_upstream += other.idle_upstream;
    busy_upstream += other.busy_upstream;
    internal_errors += other.internal_errors;
    leaks_stopped += other.leaks_stopped;
    no_copy += other.no_copy;
    stale_connections += other.stale_connections;
}

std::string label(std::string_view name, std::string_view value)
{
    std::string out(name);
    out += "=\"";
    for (const char c : value) {
        if (c == '\\' || c == '"') {
            out += '\\';
        }
        if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    out += '"';
    return out;
}

std::string render(const core_metrics& sum, const process_metrics& process)
{
    std::string out;
    head(out, "fourways_requests_total", "counter", "Requests by policy entry, door and status.");
    for (const auto& [key, value] : sum.requests) {
        const auto& [model, door, status] = key;
        out += fmt::format(
            "fourways_requests_total{{{},{},status=\"{}\"}} {}\n",
            label("model", model),
            label("door", door),
            status,
            value
        );
    }
    head(out, "fourways_attempts_total", "counter", "Exchanges with upstreams by what their answer meant.");
    for (const auto& [key, value] : sum.attempts) {
        const auto& [upstream, model, outcome] = key;
        out += fmt::format(
            "fourways_attempts_total{{{},{},{}}} {}\n",
            label("upstream", upstream),
            label("model", model),
            label("outcome", outcome),
            value
        );
    }
    histograms(
        out,
        "fourways_request_seconds",
        "Time from a request's head to the end of its answer.",
        "model",
        sum.request_seconds
    );
    histograms(
        out,
        "fourways_attempt_seconds",
        "Time of one exchange with an upstream.",
        "upstream",
        sum.attempt_seconds
    );
    head(out, "fourways_upstream_sent_bytes_total", "counter", "Bytes sent to upstreams.");
    for (const auto& [upstream, value] : sum.bytes_to_upstream) {
        out +=
            fmt::format("fourways_upstream_sent_bytes_total{{{}}} {}\n", label("upstream", upstream), value);
    }
    head(out, "fourways_upstream_received_bytes_total", "counter", "Bytes received from upstreams.");
    for (const auto& [upstream, value] : sum.bytes_from_upstream) {
        out += fmt::format(
            "fourways_upstream_received_bytes_total{{{}}} {}\n", label("upstream", upstream), value
        );
    }
    counter(
        out,
        "fourways_client_received_bytes_total",
        "Body bytes received from clients.",
        sum.bytes_from_clients
    );
    counter(out, "fourways_client_sent_bytes_total", "Bytes sent to clients.", sum.bytes_to_clients);
    counter(
        out, "fourways_connections_accepted_total", "Client connections accepted.", sum.connections_accepted
    );
    gauge(out, "fourways_connections_open", "Client connections open now.", sum.connections_open);
    counter(
        out,
        "fourways_connections_refused_total",
        "Client connections over limits.connections.",
        sum.connections_refused
    );
    gauge(out, "fourways_requests_in_flight", "Requests being worked on now.", sum.requests_in_flight);
    gauge(out, "fourways_pool_idle_connections", "Kept upstream connections that idle.", sum.idle_upstream);
    gauge(out, "fourways_pool_busy_connections", "Upstream connections in use.", sum.busy_upstream);
    counter(
        out, "fourways_internal_errors_total", "Requests that failed by our own fault.", sum.internal_errors
    );
    counter(
        out,
        "fourways_leaks_stopped_total",
        "Answers stopped because they held a token of ours.",
        sum.leaks_stopped
    );
    counter(
        out,
        "fourways_bodies_without_copy_total",
        "Bodies streamed without a copy for a second attempt.",
        sum.no_copy
    );
    counter(
        out,
        "fourways_stale_connections_total",
        "Kept upstream connections that ended just as a request went out on them.",
        sum.stale_connections
    );

    std::set<std::string> named;
    for (const auto& each : process.values) {
        if (named.insert(each.name).second) {
            head(out, each.name, each.counter ? "counter" : "gauge", each.help);
        }
        out += each.labels.empty() ? fmt::format("{} {}\n", each.name, each.value)
                                   : fmt::format("{}{{{}}} {}\n", each.name, each.labels, each.value);
    }
    return out;
}

} // namespace gw::telemetry
