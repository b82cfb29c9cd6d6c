// Counters of one core, and their rendering as Prometheus text. A core counts without locks; a scrape asks
// each core for a copy on its own thread and adds them up. Labels are policy entries and upstream names,
// never what a client chose, so their number is bounded by the policy.
#pragma once

#include "message/outcome.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace gw::telemetry {

// Upper bounds in seconds; the last bucket is +Inf.
inline constexpr std::array<double, 14> bounds{
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120
};

struct histogram
{
    std::array<std::uint64_t, bounds.size() + 1> buckets{};
    double sum = 0;

    void observe(double seconds);
    void add(const histogram& other);
};

struct core_metrics
{

    // entry, door, status
    std::map<std::tuple<std::string, std::string, int>, std::uint64_t, std::less<>> requests;
    // upstream, entry, outcome
    std::map<std::tuple<std::string, std::string, std::string>, std::uint64_t, std::less<>> attempts;
    std::map<std::string, histogram, std::less<>> request_seconds; // by entry
    std::map<std::string, histogram, std::less<>> attempt_seconds; // by upstream
    std::map<std::string, std::uint64_t, std::less<>> bytes_to_upstream, bytes_from_upstream;
    std::uint64_t bytes_from_clients = 0;
    std::uint64_t bytes_to_clients = 0;
    std::uint64_t connections_accepted = 0;
    std::uint64_t connections_open = 0;
    std::uint64_t connections_refused = 0; // over limits.connections
    std::uint64_t requests_in_flight = 0;
    std::uint64_t idle_upstream = 0;
    std::uint64_t busy_upstream = 0;
    std::uint64_t internal_errors = 0;
    std::uint64_t leaks_stopped = 0;
    std::uint64_t no_copy = 0;
    std::uint64_t stale_connections = 0;

    void count_request(std::string_view entry, std::string_view door, int status, double seconds);
    void count_attempt(
        std::string_view upstream,
        std::string_view entry,
        std::string_view outcome,
        double seconds,
        std::uint64_t sent,
        std::uint64_t received
    );
    void add(const core_metrics& other);
};

// Numbers that belong to the process, not to a core.
struct process_metrics
{
    struct gauge
    {
        std::string name; // `fourways_cooldowns`
        std::string help;
        std::string labels; // `upstream="x",scope="y"`; empty: none
        double value = 0;
        bool counter = false;
    };
    std::vector<gauge> values;
};

[[nodiscard]] std::string render(const core_metrics& sum, const process_metrics& process);
// A label value between quotes, escaped.
[[nodiscard]] std::string label(std::string_view name, std::string_view value);

} // namespace gw::telemetry
