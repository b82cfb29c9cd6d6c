#include "runtime/runtime.hpp"

#include "config/values.hpp"
#include "dispatch/core.hpp"
#include "dispatch/waker.hpp"
#include "payload/spool.hpp"
#include "runtime/admin.hpp"
#include "runtime/cores.hpp"
#include "runtime/descriptors.hpp"
#include "runtime/drain.hpp"
#include "runtime/listener.hpp"
#include "runtime/metrics.hpp"
#include "runtime/reload.hpp"
#include "runtime/watch.hpp"
#include "telemetry/log.hpp"
#include "wire/json_text.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <thread>
#include <unistd.h>
#include <utility>

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
          signals_(control_), drain_(control_, cores_, shared_, settings_, [this] { control_.stop(); }),
          started_(std::chrono::steady_clock::now())
    {
    }

    int run();

private:
    result<void> bind();
    void start();
    void wait_for_signals();
    std::pair<bool, std::string> reload(std::string_view because);
    void allow_connections();
    void hurry();
    void stop_workers();
    std::string metrics();

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
    cores cores_; // outlives the threads below: they post to its loops to the last
    net::resolver names_;
    payloads::spool store_;
    dispatch::standing known_;
    workers::supervisor workers_;
    telemetry::line_writer records_;
    upstream::lookup hub_;   // its thread posts to the cores' loops
    dispatch::waker bridge_; // and so does this one
    dispatch::process shared_;

    net::asio::io_context control_{1};
    net::asio::executor_work_guard<net::executor> control_stays_{control_.get_executor()};
    std::unique_ptr<admin> admin_;
    net::asio::basic_signal_set<net::executor> signals_;
    drain drain_;
    std::unique_ptr<file_watch> watch_;
    std::chrono::steady_clock::time_point started_;
    bool hurried_ = false; // there was a second signal
    bool over_ = false;    // the cores have ended
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
    const unsigned count =
        how_.threads != 0 ? how_.threads : std::max(1U, std::thread::hardware_concurrency());
    cores_.make(count, shared_, snapshot_);
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
    admin_->stop();
    cores_.stop();
    stop_workers();
    log(level::info, "stopped");
    return 0;
}

result<void> runtime::parts::bind()
{
    auto listening = cores_.bind(*settings_);
    if (!listening) {
        return fail(listening);
    }
    auto made = bind_first(settings_->admin);
    if (!made) {
        return fail(made);
    }
    const std::string admin_at = url_of("http", settings_->admin.host, made->at.port());
    admin_ = std::make_unique<admin>(
        net::tcp_acceptor(control_, made->at.protocol(), made->socket.release()),
        admin_answers{
            .ready = [this] { return !drain_.begun(); },
            .metrics = [this] { return metrics(); },
            .workers = [this] { return workers_json(workers_); },
            .reload = [this] { return reload("POST /reload"); },
            .now = [this] { return settings_; }
        }
    );

    // The ready line comes before any access record: the writer is not in use yet.
    records_.put("fourways: listening on " + *listening + " (admin " + admin_at + ")\n", 0);
    return {};
}

void runtime::parts::start()
{
    for (const int each :
         {SIGPIPE, SIGXFSZ}) { // told by the write: a reader left, a file is as large as it may be
        ::signal(each, SIG_IGN);
    }
    cores_.first_loop().each_tick([this, known = std::uint64_t{0}, n = 0](net::time_point) mutable {
        if (++n % 10 == 0) {
            store_.blocks().trim();
        }
        if (const auto now = store_.now().io_errors; now != std::exchange(known, now)) {
            log(level::warning,
                "a body's file could not be written or read",
                {{"spool.dir", store_.limits().dir}});
        }
    });
    cores_.start();
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
        } else if (drain_.begun()) {
            hurry();
        } else {
            drain_.begin();
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
    cores_.publish(snapshot_);
    allow_connections();
    if (watch_) {
        watch_->files(watched_files(how_.config, *settings_));
    }
    log(level::info, "reloaded", {{"because", std::string(because)}});
    for (const auto& each : settings_->notes) {
        log(level::info, each);
    }
    return {true, R"({"reloaded":true,"models":)" + std::to_string(settings_->models.size()) + "}\n"};
}

void runtime::parts::allow_connections()
{
    const std::size_t wanted = settings_->limits.connections;
    const std::size_t most =
        most_connections(wanted, files_.now, cores_.count(), cores_.count() * bound_->listen.size());
    shared_.clients.allow(most);
    if (wanted > most) {
        log(level::warning,
            "limits.connections is more than the limit of open files leaves room for (ulimit -n, "
            "LimitNOFILE=)",
            {{"connections", std::to_string(most)}, {"open_files", std::to_string(files_.now)}});
    }
}

// ---- the end ----

// A second signal: nothing is waited for any more.
void runtime::parts::hurry()
{
    hurried_ = true;
    if (over_) {
        workers_.kill();
    } else {
        drain_.cut("second signal: what is left is cut");
    }
}

// They have their own time to stop; a second signal ends that too.
void runtime::parts::stop_workers()
{
    over_ = true;
    watch_.reset();
    drain_.forget();
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

std::string runtime::parts::metrics()
{
    return metrics_text(
        cores_.metrics(),
        {.version = how_.version,
         .started = started_,
         .reloads = reloads_,
         .failed_reloads = failed_reloads_,
         .records = records_,
         .lines = log_.lines,
         .store = store_,
         .hub = hub_,
         .known = known_,
         .workers = workers_}
    );
}

} // namespace gw::runtime
