#include "runtime/metrics.hpp"

#include "wire/json_text.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace gw::runtime {
namespace {

using telemetry::label;

double seconds(std::chrono::duration<double> span)
{
    return span.count();
}

// The process's samples as they come.
class samples
{
public:
    template <class Number>
    void gauge(std::string name, std::string help, std::string labels, Number value)
    {
        add(std::move(name), std::move(help), std::move(labels), static_cast<double>(value), false);
    }
    template <class Number>
    void counter(std::string name, std::string help, std::string labels, Number value)
    {
        add(std::move(name), std::move(help), std::move(labels), static_cast<double>(value), true);
    }
    // Samples of one name stand together.
    telemetry::process_metrics sorted() &&
    {
        std::ranges::sort(all_.values, {}, [](const auto& each) { return std::tie(each.name, each.labels); });
        return std::move(all_);
    }

private:
    void add(std::string name, std::string help, std::string labels, double value, bool counts)
    {
        all_.values.push_back({std::move(name), std::move(help), std::move(labels), value, counts});
    }

    telemetry::process_metrics all_;
};

void of_process(samples& out, const metric_sources& of)
{
    out.gauge("fourways_build_info", "The version that runs.", label("version", of.version), 1);
    out.gauge(
        "fourways_uptime_seconds",
        "Seconds since the start.",
        "",
        seconds(std::chrono::steady_clock::now() - of.started)
    );
    out.counter("fourways_reloads_total", "Policies loaded while running.", "", of.reloads);
    out.counter("fourways_reload_failed_total", "Policies that could not be loaded.", "", of.failed_reloads);
    out.counter(
        "fourways_access_records_dropped_total",
        "Access records lost since stdout was not read.",
        "",
        of.records.dropped()
    );
    out.counter(
        "fourways_log_lines_dropped_total",
        "Lines of the log lost since stderr was not read.",
        "",
        of.lines.dropped()
    );
}

void of_spool(samples& out, const payloads::spool& store)
{
    const auto now = store.now();
    out.gauge("fourways_spool_memory_bytes", "Memory reserved for bodies.", "", now.memory);
    out.gauge("fourways_spool_disk_bytes", "Disk reserved for bodies.", "", now.disk);
    out.counter("fourways_spool_refused_total", "Bodies refused for want of space.", "", now.refused);
    out.counter(
        "fourways_spool_without_copy_total",
        "Bodies that went on without a copy for want of space.",
        "",
        now.without_copy
    );
    out.counter(
        "fourways_spool_errors_total",
        "Files of the spool that could not be written or read.",
        "",
        now.io_errors
    );
}

void of_hub(samples& out, const upstream::lookup& hub)
{
    const auto now = hub.now();
    const auto questions = [&out](std::string_view result, std::uint64_t value) {
        out.counter(
            "fourways_hub_questions_total",
            "What was asked about models: from memory, after waiting for a look-up, or not told since the "
            "Hub is away.",
            label("result", result),
            value
        );
    };
    questions("memory", now.served);
    questions("waited", now.waited);
    questions("away", now.away);
    out.counter("fourways_hub_lookups_total", "Look-ups sent to the Hub.", "", now.asked);
    out.gauge("fourways_hub_models", "Models whose look-up is remembered.", "", now.known);
}

void of_upstreams(samples& out, const dispatch::standing& known)
{
    out.gauge(
        "fourways_cooldowns",
        "Upstreams, models and tokens that rest now.",
        "",
        known.resting(std::chrono::steady_clock::now()).size()
    );
    const auto counters = known.counters();
    out.counter(
        "fourways_retries_refused_total",
        "Attempts that the retry budget refused.",
        "",
        counters.retries_refused
    );
    out.counter("fourways_probes_total", "Probes sent when a cooldown ended.", "", counters.probes);
    out.gauge("fourways_requests_waiting", "Requests that wait for a slot or a probe.", "", counters.waiting);
    for (const auto& each : known.places()) {
        const std::string who =
            label("upstream", each.upstream) + (each.model.empty() ? "" : "," + label("model", each.model));
        out.gauge("fourways_upstream_in_flight", "Requests in flight.", who, each.in_flight);
        out.gauge(
            "fourways_upstream_limit",
            "How many may be in flight; 0: no limit.",
            who,
            each.learned != 0 ? each.learned : each.limit
        );
    }
}

void of_waking(samples& out, const dispatch::waking& bridge)
{
    using dispatch::waking;
    for (const auto& each : bridge.now()) {
        const std::string who = label("upstream", each.upstream);
        out.gauge("fourways_waking", "1: the endpoint is being woken.", who, each.working ? 1 : 0);
        out.counter(
            "fourways_waking_requests_total",
            "Waking requests sent: GETs of the health route, never a client's request.",
            who,
            each.asked
        );
        out.counter(
            "fourways_wake_seconds_total",
            "What all starts took that came to an end, in seconds.",
            who,
            seconds(each.took)
        );
        out.gauge(
            "fourways_wake_last_seconds",
            "What the last start took, in seconds; 0: none was seen.",
            who,
            seconds(each.last_took)
        );
        for (std::size_t i = 0; i < waking::ends; ++i) {
            out.counter(
                "fourways_wakes_total",
                "How the waking of an endpoint ended.",
                who + "," + label("result", waking::to_string(static_cast<waking::end>(i))),
                each.ended[i]
            );
        }
    }
}

void of_workers(samples& out, const workers::supervisor& all)
{
    for (const auto& each : all.snapshot()) {
        const std::string who = label("upstream", each.upstream) + "," + label("model", each.model);
        out.gauge("fourways_worker_ready", "1: the worker is ready.", who, each.state == "ready" ? 1 : 0);
        out.counter("fourways_worker_starts_total", "Starts of the worker.", who, each.starts);
        out.counter("fourways_worker_crashes_total", "Crashes of the worker.", who, each.crashes);
    }
}

} // namespace

std::string metrics_text(const telemetry::core_metrics& cores, const metric_sources& of)
{
    samples out;
    of_process(out, of);
    of_spool(out, of.store);
    of_hub(out, of.hub);
    of_upstreams(out, of.known);
    of_waking(out, of.known.bridge);
    of_workers(out, of.workers);
    return telemetry::render(cores, std::move(out).sorted());
}

std::string workers_json(const workers::supervisor& of)
{
    std::string out = R"({"workers":[)";
    bool first = true;
    const auto text = [&out](std::string_view name, std::string_view value) {
        out += ',';
        wire::append_json_string(out, name);
        out += ':';
        wire::append_json_string(out, value);
    };
    for (const auto& each : of.snapshot()) {
        out += first ? R"({"upstream":)" : R"(,{"upstream":)";
        first = false;
        wire::append_json_string(out, each.upstream);
        text("model", each.model);
        text("state", each.state);
        out += R"(,"pid":)" + std::to_string(each.pid) + R"(,"port":)" + std::to_string(each.port) +
               R"(,"in_flight":)" + std::to_string(each.in_flight) + R"(,"starts":)" +
               std::to_string(each.starts) + R"(,"crashes":)" + std::to_string(each.crashes);
        text("last_end", each.last_end);
        out += R"(,"last_lines":[)";
        for (std::size_t i = 0; i < each.last_lines.size(); ++i) {
            out += i == 0 ? "" : ",";
            wire::append_json_string(out, each.last_lines[i]);
        }
        out += "]}";
    }
    out += "]}\n";
    return out;
}

} // namespace gw::runtime
