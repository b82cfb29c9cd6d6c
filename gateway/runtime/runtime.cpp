#include "runtime/runtime.hpp"

#include "config/values.hpp"
#include "dispatch/core.hpp"
#include "dispatch/waker.hpp"
#include "payload/spool.hpp"
#include "runtime/admin.hpp"
#include "runtime/descriptors.hpp"
#include "runtime/listener.hpp"
#include "runtime/reload.hpp"
#include "runtime/watch.hpp"
#include "telemetry/log.hpp"
#include "wire/json_text.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <thread>
#include <tuple>
#include <unistd.h>

namespace gw::runtime {
namespace {

using telemetry::level;
using telemetry::log;

payloads::spool_limits spool_of(const config::settings& now)
{
    payloads::spool_limits made;
    made.dir = now.spool.dir;
    made.memory_per_body = now.spool.memory_per_body;
    made.memory = now.spool.memory;
    made.whole = 8 * now.spool.memory_per_body;
    made.disk = now.spool.disk;
    return made;
}

void worker_line(workers::severity how, std::string_view text, const workers::log_fields& fields)
{
    const level as = how == workers::severity::error     ? level::error
                     : how == workers::severity::warning ? level::warning
                                                         : level::info;
    log(as, text, fields);
}

std::string url_of(std::string_view scheme, const std::string& host, std::uint16_t port)
{
    const bool literal_v6 = host.find(':') != std::string::npos;
    std::string made(scheme);
    made += literal_v6 ? "://[" : "://";
    made += host;
    made += literal_v6 ? "]:" : ":";
    return made + std::to_string(port);
}

// One core with its thread and its listeners.
struct unit
{
    explicit unit(dispatch::process& shared) : core(shared) {}
    dispatch::core core;
    std::vector<std::unique_ptr<listener>> listeners;
    std::thread thread;
    std::size_t draining = 0; // listeners that still have sessions
};

} // namespace

class runtime::parts
{
public:
    parts(options how, std::shared_ptr<const config::settings> first)
        : how_(std::move(how)), settings_(std::move(first)), bound_(settings_), store_(spool_of(*settings_)),
          workers_(worker_line, how_.executable), records_(STDOUT_FILENO), hub_(names_, how_.version),
          bridge_(known_, names_, how_.version),
          shared_{
              .names = names_,
              .store = store_,
              .known = known_,
              .workers = workers_,
              .records = records_,
              .version = how_.version,
              .hub = &hub_,
              .bridge = &bridge_
          },
          signals_(control_), drain_limit_(control_), started_(std::chrono::steady_clock::now())
    {
    }

    int run();

private:
    result<void> bind();
    void start();
    void wait_for_signals();
    std::pair<bool, std::string> reload(std::string_view because);
    void publish(const std::shared_ptr<const dispatch::snapshot>& next);
    void allow_connections();
    void drain();
    void close_listeners();
    void cut(std::string_view why);
    void hurry();
    void stop_cores();
    void stop_workers();
    std::string metrics();
    std::string workers_json() const;
    void each_core(const std::function<void(unit&)>& call); // on the core's thread; waits for all, up to 5 s

    // Declared first: whatever logs goes before it.
    struct log_thread
    {
        log_thread() { telemetry::log_through(&lines); }
        ~log_thread() { telemetry::log_through(nullptr); }
        log_thread(const log_thread&) = delete;
        log_thread& operator=(const log_thread&) = delete;
        telemetry::line_writer lines{STDERR_FILENO};
    } log_;
    options how_;
    open_files files_ = raise_open_files();
    std::shared_ptr<const config::settings> settings_; // control thread
    std::shared_ptr<const config::settings> bound_;    // of the start: the addresses
    std::shared_ptr<const dispatch::snapshot> snapshot_;
    std::vector<std::unique_ptr<unit>>
        units_; // outlives the threads below: they post to its loops to the last
    net::resolver names_;
    payloads::spool store_;
    dispatch::standing known_;
    workers::supervisor workers_;
    telemetry::line_writer records_;
    upstream::lookup hub_;   // its thread posts to the units' loops
    dispatch::waker bridge_; // and so does this one
    dispatch::process shared_;

    net::asio::io_context control_{1};
    net::asio::executor_work_guard<net::executor> control_stays_{control_.get_executor()};
    std::unique_ptr<admin> admin_;
    std::string admin_at_;
    net::asio::basic_signal_set<net::executor> signals_;
    net::timer drain_limit_;
    std::unique_ptr<file_watch> watch_;
    std::chrono::steady_clock::time_point started_;
    bool draining_ = false; // /ready says 503
    bool closing_ = false;  // the listeners are closed, or about to be
    bool hurried_ = false;  // there was a second signal
    bool over_ = false;     // the cores have ended
    std::size_t cores_draining_ = 0;
    std::uint64_t reloads_ = 0;
    std::uint64_t failed_reloads_ = 0;
};

runtime::runtime(options how, std::shared_ptr<const config::settings> first)
    : parts_(std::make_unique<parts>(std::move(how), std::move(first)))
{
}

runtime::~runtime() = default;

int runtime::run()
{
    return parts_->run();
}

int runtime::parts::run()
{
    auto first = dispatch::make_snapshot(settings_);
    if (!first) {
        std::fprintf(stderr, "fourways: %s\n", first.error().text.c_str());
        return 2;
    }
    if (auto hub = hub_.use(settings_->hub); !hub) {
        std::fprintf(stderr, "fourways: %s\n", hub.error().text.c_str());
        return 2;
    }
    snapshot_ = *first;
    bridge_.use(snapshot_);
    const unsigned cores =
        how_.threads != 0 ? how_.threads : std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < cores; ++i) {
        units_.push_back(std::make_unique<unit>(shared_));
        units_.back()->core.now = snapshot_;
    }
    wait_for_signals(); // before the ready line: who reads it may send one at once
    auto bound = bind();
    if (!bound) {
        std::fprintf(stderr, "fourways: %s\n", bound.error().text.c_str());
        workers_.stop();
        return 1;
    }
    for (const auto& each : settings_->notes) {
        log(level::info, each);
    }
    if (files_.now != files_.before) {
        log(level::info,
            "raised the limit of open files",
            {{"from", std::to_string(files_.before)}, {"to", std::to_string(files_.now)}});
    }
    allow_connections();
    start();
    control_.run();
    bridge_.stop();
    stop_cores();
    stop_workers();
    log(level::info, "stopped");
    return 0;
}

result<void> runtime::parts::bind()
{
    std::string listening;
    for (std::size_t i = 0; i < settings_->listen.size(); ++i) {
        const auto& where = settings_->listen[i];
        net::tcp::endpoint at;
        for (std::size_t k = 0; k < units_.size(); ++k) {
            auto& core = units_[k]->core;
            auto made = k == 0 ? bind_first(where.at) : bind_next(at);
            if (!made) {
                return fail(made);
            }
            at = made->at;
            units_[k]->listeners.push_back(std::make_unique<listener>(core, std::move(made->socket), i));
        }
        listening += listening.empty() ? "" : ", ";
        listening += url_of(where.certificate.empty() ? "http" : "https", where.at.host, at.port());
    }

    auto made = bind_first(settings_->admin);
    if (!made) {
        return fail(made);
    }
    admin_at_ = url_of("http", settings_->admin.host, made->at.port());
    admin_ = std::make_unique<admin>(
        net::tcp_acceptor(control_, made->at.protocol(), made->socket.release()),
        admin_answers{
            .ready = [this] { return !draining_; },
            .metrics = [this] { return metrics(); },
            .workers = [this] { return workers_json(); },
            .reload = [this] { return reload("POST /reload"); },
            .now = [this] { return settings_; }
        }
    );

    // The ready line comes before any access record: the writer is not in use yet.
    records_.put("fourways: listening on " + listening + " (admin " + admin_at_ + ")\n", 0);
    return {};
}

void runtime::parts::start()
{
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int each : {SIGTERM, SIGINT, SIGHUP}) {
        sigaddset(&blocked, each);
    }
    for (const int each :
         {SIGPIPE, SIGXFSZ}) { // told by the write: a reader left, a file is as large as it may be
        ::signal(each, SIG_IGN);
    }
    units_.front()->core.loop.each_tick([this, known = std::uint64_t{0}, n = 0](net::time_point) mutable {
        if (++n % 10 == 0) {
            store_.blocks().trim();
        }
        if (const auto now = store_.now().io_errors; now != std::exchange(known, now)) {
            log(level::warning,
                "a body's file could not be written or read",
                {{"spool.dir", store_.limits().dir}});
        }
    });
    for (auto& each : units_) {
        unit& mine = *each;
        mine.core.loop.each_tick([&mine, n = 0](net::time_point now) mutable {
            mine.core.pool.tick(now);
            if (++n % 2 == 0) {
                mine.core.log.flush();
            }
        });
        for (auto& one : mine.listeners) {
            one->start();
        }
        mine.thread = std::thread([&mine, blocked] {
            ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr); // signals are the control thread's
            mine.core.loop.run();
            mine.core.log.flush();
        });
    }
    admin_->start();
    if (!how_.config.empty()) {
        watch_ = std::make_unique<file_watch>(control_, [this] { (void)reload("a changed file"); });
        watch_->files(watched_files(how_.config, *settings_));
    }
}

void runtime::parts::wait_for_signals()
{
    net::error_code ignored;
    for (const int each : {SIGTERM, SIGINT, SIGHUP}) {
        signals_.add(each, ignored);
    }
    signals_.async_wait([this](net::error_code ec, int which) {
        if (ec) {
            return;
        }
        if (which == SIGHUP) {
            if (!over_) {
                (void)reload("SIGHUP");
            }
        } else if (draining_) {
            hurry();
        } else {
            drain();
        }
        wait_for_signals();
    });
}

// ---- reload ----

std::pair<bool, std::string> runtime::parts::reload(std::string_view because)
{
    if (watch_) {
        watch_->look_now(); // what changes from here on is a change to what is loaded now
    }
    const reloaded made = load_again(how_, *bound_, *snapshot_);
    if (!made.next) {
        ++failed_reloads_;
        log(level::error,
            "reload failed, the old settings stay",
            {{"because", std::string(because)},
             {"problem", made.problems.front()},
             {"problems", std::to_string(made.problems.size())}});
        std::string all;
        for (const auto& each : made.problems) {
            all += all.empty() ? "" : ",";
            wire::append_json_string(all, each);
        }
        return {false, R"({"reloaded":false,"problems":[)" + all + "]}\n"};
    }
    for (const auto& each : made.warnings) {
        log(level::warning, each);
    }
    snapshot_ = made.next;
    settings_ = snapshot_->policy;
    config::hide_secrets(*settings_);
    ++reloads_;
    workers_.keep(*settings_); // before a request meets the new settings
    if (auto hub = hub_.use(settings_->hub); !hub) {
        log(level::warning, "the Hub is asked as before", {{"problem", hub.error().text}});
    }
    bridge_.use(snapshot_);
    publish(snapshot_);
    if (watch_) {
        watch_->files(watched_files(how_.config, *settings_));
    }
    log(level::info, "reloaded", {{"because", std::string(because)}});
    for (const auto& each : settings_->notes) {
        log(level::info, each);
    }
    return {true, R"({"reloaded":true,"models":)" + std::to_string(settings_->models.size()) + "}\n"};
}

void runtime::parts::publish(const std::shared_ptr<const dispatch::snapshot>& next)
{
    for (auto& each : units_) {
        each->core.loop.post([&core = each->core, next] {
            core.now = next;
            core.pool.keep_only(next->bases);
        });
    }
    allow_connections();
}

void runtime::parts::allow_connections()
{
    const std::size_t wanted = settings_->limits.connections;
    const std::size_t most =
        most_connections(wanted, files_.now, units_.size(), units_.size() * bound_->listen.size());
    shared_.clients.allow(most);
    if (wanted > most) {
        log(level::warning,
            "limits.connections is more than the limit of open files leaves room for (ulimit -n, "
            "LimitNOFILE=)",
            {{"connections", std::to_string(most)}, {"open_files", std::to_string(files_.now)}});
    }
}

// ---- the end ----

// Not ready at once; the listeners stay for `pre_stop`, so that load balancers look elsewhere before they
// close.
void runtime::parts::drain()
{
    draining_ = true;
    const auto& limits = settings_->limits;
    log(level::info,
        "draining",
        {{"pre_stop_ms", std::to_string(limits.pre_stop.count())},
         {"limit_ms", std::to_string(limits.drain.count())}});
    for (auto& each : units_) {
        each->core.loop.post([&mine = *each] { mine.core.draining = true; });
    }
    if (limits.pre_stop.count() == 0) {
        close_listeners();
        return;
    }
    drain_limit_.expires_after(limits.pre_stop);
    drain_limit_.async_wait([this](net::error_code ec) {
        if (!ec) {
            close_listeners();
        }
    });
}

void runtime::parts::close_listeners()
{
    closing_ = true;
    cores_draining_ = units_.size();
    for (auto& each : units_) {
        unit& mine = *each;
        mine.core.loop.post([this, &mine] {
            mine.draining = mine.listeners.size();
            for (auto& one : mine.listeners) {
                one->drain([this, &mine] {
                    if (--mine.draining == 0) {
                        net::asio::post(control_, [this] {
                            if (--cores_draining_ == 0) {
                                control_.stop();
                            }
                        });
                    }
                });
            }
        });
    }
    drain_limit_.expires_after(settings_->limits.drain);
    drain_limit_.async_wait([this](net::error_code ec) {
        if (!ec) {
            cut("the drain limit is over; what is left is cut");
        }
    });
}

// A second signal: nothing is waited for any more.
void runtime::parts::hurry()
{
    hurried_ = true;
    if (over_) {
        workers_.kill();
    } else {
        cut("second signal: what is left is cut");
    }
}

// Requests end now, each with its record; whatever does not end soon is not waited for.
void runtime::parts::cut(std::string_view why)
{
    log(level::warning, why);
    if (!closing_) {
        close_listeners();
    }
    shared_.cut = true;
    for (auto& each : units_) {
        each->core.loop.post([&mine = *each] {
            for (auto& one : mine.listeners) {
                one->abort();
            }
        });
    }
    drain_limit_.expires_after(std::chrono::seconds(2));
    drain_limit_.async_wait([this](net::error_code ec) {
        if (!ec) {
            control_.stop();
        }
    });
}

void runtime::parts::stop_cores()
{
    if (admin_) {
        admin_->stop();
    }
    for (auto& each : units_) {
        each->core.loop.post([&mine = *each] {
            mine.core.pool.clear();
            // Reads of the connections just closed complete first.
            mine.core.loop.post([&mine] { mine.core.loop.post([&mine] { mine.core.loop.stop(); }); });
        });
    }
    for (auto& each : units_) {
        if (each->thread.joinable()) {
            each->thread.join();
        }
    }
}

// They have their own time to stop; a second signal ends that too.
void runtime::parts::stop_workers()
{
    over_ = true;
    watch_.reset();
    drain_limit_.cancel();
    control_.restart(); // before anything can stop it
    std::thread waits([this] {
        workers_.stop();
        control_.stop();
    });
    if (hurried_) {
        workers_.kill();
    }
    control_.run();
    waits.join();
}

// ---- what it tells ----

void runtime::parts::each_core(const std::function<void(unit&)>& call)
{
    struct meeting
    {
        std::mutex guard;
        std::condition_variable done;
        std::size_t left = 0;
        bool over = false; // a core that comes later tells nothing: its caller is gone
    };
    const auto wait = std::make_shared<meeting>();
    wait->left = units_.size();
    for (auto& each : units_) {
        each->core.loop.post([wait, &mine = *each, call] {
            const std::lock_guard lock(wait->guard);
            if (wait->over) {
                return;
            }
            call(mine);
            if (--wait->left == 0) {
                wait->done.notify_all();
            }
        });
    }
    std::unique_lock lock(wait->guard);
    wait->done.wait_for(lock, std::chrono::seconds(5), [&] { return wait->left == 0; });
    wait->over = true;
}

std::string runtime::parts::metrics()
{
    const auto sum = std::make_shared<telemetry::core_metrics>();
    each_core([sum](unit& mine) {
        mine.core.metrics.idle_upstream = mine.core.pool.idle_count();
        mine.core.metrics.busy_upstream = mine.core.pool.busy_count();
        sum->add(mine.core.metrics);
    });
    telemetry::process_metrics process;
    const auto add =
        [&process](
            std::string name, std::string help, std::string labels, double value, bool counter = false
        ) {
            process.values.push_back({std::move(name), std::move(help), std::move(labels), value, counter});
        };
    using telemetry::label;
    add("fourways_build_info", "The version that runs.", label("version", how_.version), 1);
    add("fourways_uptime_seconds",
        "Seconds since the start.",
        "",
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
    add("fourways_reloads_total", "Policies loaded while running.", "", static_cast<double>(reloads_), true);
    add("fourways_reload_failed_total",
        "Policies that could not be loaded.",
        "",
        static_cast<double>(failed_reloads_),
        true);
    add("fourways_access_records_dropped_total",
        "Access records lost since stdout was not read.",
        "",
        static_cast<double>(records_.dropped()),
        true);
    add("fourways_log_lines_dropped_total",
        "Lines of the log lost since stderr was not read.",
        "",
        static_cast<double>(log_.lines.dropped()),
        true);
    const auto spool = store_.now();
    add("fourways_spool_memory_bytes", "Memory reserved for bodies.", "", static_cast<double>(spool.memory));
    add("fourways_spool_disk_bytes", "Disk reserved for bodies.", "", static_cast<double>(spool.disk));
    add("fourways_spool_refused_total",
        "Bodies refused for want of space.",
        "",
        static_cast<double>(spool.refused),
        true);
    add("fourways_spool_without_copy_total",
        "Bodies that went on without a copy for want of space.",
        "",
        static_cast<double>(spool.without_copy),
        true);
    add("fourways_spool_errors_total",
        "Files of the spool that could not be written or read.",
        "",
        static_cast<double>(spool.io_errors),
        true);

    const auto hub = hub_.now();
    const auto of_hub = [&add](std::string_view result, std::uint64_t value) {
        add("fourways_hub_questions_total",
            "What was asked about models: from memory, after waiting for a look-up, or not told since the "
            "Hub is away.",
            label("result", result),
            static_cast<double>(value),
            true);
    };
    of_hub("memory", hub.served);
    of_hub("waited", hub.waited);
    of_hub("away", hub.away);
    add("fourways_hub_lookups_total", "Look-ups sent to the Hub.", "", static_cast<double>(hub.asked), true);
    add("fourways_hub_models", "Models whose look-up is remembered.", "", static_cast<double>(hub.known));

    const auto now = std::chrono::steady_clock::now();
    const auto resting = known_.resting(now);
    add("fourways_cooldowns",
        "Upstreams, models and tokens that rest now.",
        "",
        static_cast<double>(resting.size()));
    const auto counters = known_.counters();
    add("fourways_retries_refused_total",
        "Attempts that the retry budget refused.",
        "",
        static_cast<double>(counters.retries_refused),
        true);
    add("fourways_probes_total",
        "Probes sent when a cooldown ended.",
        "",
        static_cast<double>(counters.probes),
        true);
    add("fourways_requests_waiting",
        "Requests that wait for a slot or a probe.",
        "",
        static_cast<double>(counters.waiting));
    for (const auto& each : known_.places()) {
        const std::string who =
            label("upstream", each.upstream) + (each.model.empty() ? "" : "," + label("model", each.model));
        add("fourways_upstream_in_flight", "Requests in flight.", who, static_cast<double>(each.in_flight));
        add("fourways_upstream_limit",
            "How many may be in flight; 0: no limit.",
            who,
            static_cast<double>(each.learned != 0 ? each.learned : each.limit));
    }
    for (const auto& each : known_.bridge.now()) {
        const std::string who = label("upstream", each.upstream);
        const auto seconds = [](std::chrono::milliseconds span) {
            return std::chrono::duration<double>(span).count();
        };
        add("fourways_waking", "1: the endpoint is being woken.", who, each.working ? 1 : 0);
        add("fourways_waking_requests_total",
            "Waking requests sent: GETs of the health route, never a client's request.",
            who,
            static_cast<double>(each.asked),
            true);
        add("fourways_wake_seconds_total",
            "What all starts took that came to an end, in seconds.",
            who,
            seconds(each.took),
            true);
        add("fourways_wake_last_seconds",
            "What the last start took, in seconds; 0: none was seen.",
            who,
            seconds(each.last_took));
        for (std::size_t i = 0; i < dispatch::waking::ends; ++i) {
            const auto why = static_cast<dispatch::waking::end>(i);
            add("fourways_wakes_total",
                "How the waking of an endpoint ended.",
                who + "," + label("result", dispatch::waking::to_string(why)),
                static_cast<double>(each.ended[i]),
                true);
        }
    }
    for (const auto& each : workers_.snapshot()) {
        const std::string who = label("upstream", each.upstream) + "," + label("model", each.model);
        add("fourways_worker_ready", "1: the worker is ready.", who, each.state == "ready" ? 1 : 0);
        add("fourways_worker_starts_total",
            "Starts of the worker.",
            who,
            static_cast<double>(each.starts),
            true);
        add("fourways_worker_crashes_total",
            "Crashes of the worker.",
            who,
            static_cast<double>(each.crashes),
            true);
    }
    // Samples of one name stand together.
    std::ranges::sort(process.values, {}, [](const auto& each) { return std::tie(each.name, each.labels); });
    return telemetry::render(*sum, process);
}

std::string runtime::parts::workers_json() const
{
    std::string out = R"({"workers":[)";
    bool first = true;
    const auto text = [&out](std::string_view name, std::string_view value) {
        out += ',';
        wire::append_json_string(out, name);
        out += ':';
        wire::append_json_string(out, value);
    };
    for (const auto& each : workers_.snapshot()) {
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
