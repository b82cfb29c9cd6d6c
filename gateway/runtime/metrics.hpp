// What the admin listener tells of the process: the text of /metrics and the JSON of /workers. On the control
// thread; every part is asked when a scrape comes.
#pragma once

#include "dispatch/standing.hpp"
#include "payload/spool.hpp"
#include "telemetry/access_record.hpp"
#include "telemetry/metrics.hpp"
#include "upstream/lookup.hpp"
#include "workers/supervisor.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace gw::runtime {

// Who is asked.
struct metric_sources
{
    std::string_view version;
    std::chrono::steady_clock::time_point started;
    std::uint64_t reloads = 0;
    std::uint64_t failed_reloads = 0;
    const telemetry::line_writer& records;
    const telemetry::line_writer& lines; // of the log
    const payloads::spool& store;
    const upstream::lookup& hub;
    const dispatch::standing& known;
    const workers::supervisor& workers;
};

// Prometheus text. `cores`: the sum of what they counted.
[[nodiscard]] std::string metrics_text(const telemetry::core_metrics& cores, const metric_sources& of);
[[nodiscard]] std::string workers_json(const workers::supervisor& of);

} // namespace gw::runtime
