#include "workers/core.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <exception>
#include <utility>

namespace gw::workers {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using clock = std::chrono::steady_clock;

constexpr std::size_t lines_kept = 20;
constexpr std::size_t lines_logged_a_second =
    500; // of one worker; more are counted, and still kept for GET /workers
constexpr std::size_t drained_bytes = 1024 * 1024; // of what a worker wrote before it ended
constexpr milliseconds quick_start{5'000};         // for as long it is asked more often
constexpr milliseconds check_pause{200};
constexpr int refusals_until_lost = 3;

int number_after(std::string_view line, std::string_view word)
{
    int number = -1;
    if (line.starts_with(word)) {
        std::from_chars(line.data() + word.size(), line.data() + line.size(), number);
    }
    return number;
}

std::string describe_signal(int number)
{
    std::string text = "was killed by signal " + std::to_string(number);
    if (number == SIGKILL) {
        text += " (by hand, or by the kernel for want of memory)";
    } else if (const char* name = ::sigabbrev_np(number); name != nullptr) {
        text += " (SIG" + std::string(name) + ")";
    }
    return text;
}

std::string in_seconds(milliseconds time)
{
    return std::to_string(std::chrono::ceil<std::chrono::seconds>(time).count()) + " s";
}

std::string reason_of(life::reason why, const tunables& how)
{
    switch (why) {
    case life::reason::idle:
        return "unused for " + in_seconds(how.idle_stop);
    case life::reason::slow_start:
        return "not ready in time";
    case life::reason::condemned:
        return "does not do its work";
    case life::reason::retired:
        return "the policy no longer names it";
    case life::reason::closed:
        return "the gateway is stopping";
    case life::reason::none:
        break;
    }
    return "";
}

} // namespace

recipe recipe_of(const config::upstream& to, std::string_view model)
{
    recipe made{
        .who = identity_of(to, model),
        .ready = to.run->ready,
        .how =
            {
                .start_timeout = to.run->start_timeout,
                .idle_stop = to.run->idle_stop,
                .stop_timeout = to.run->stop_timeout,
            },
        .max_waiting = to.max_waiting,
    };
    if (const config::token* token = token_of(to); token != nullptr && made.who.token != 0) {
        made.token = token->value;
    }
    return made;
}

core::run::run(asio::io_context& context, launched&& from, ready_worker at, std::string secret)
    : where(at), launcher(from.launcher), launched_at(clock::now()),
      control(context, asio::local::stream_protocol(), from.control.release()),
      output(context, from.output.release()), pause(context), splitter(std::move(secret)), second(launched_at)
{
    output.non_blocking(true);
}

core::core(log_fn log, std::string executable, const rhythm& times)
    : log_(std::move(log)), executable_(std::move(executable)), times_(times),
      inherited_(inherited_environment()), work_(context_.get_executor())
{
}

// The thread takes no signal: they belong to the runtime.
void core::start()
{
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] {
        while (true) {
            try {
                context_.run();
                return;
            } catch (const std::exception& fault) {
                log_(severity::error, "workers: a fault of the gateway's own", {{"what", fault.what()}});
            }
        }
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void core::stop()
{
    post([this] { close(); });
    const std::scoped_lock guard(joining_);
    if (thread_.joinable()) {
        thread_.join();
    }
}

// False: the thread has ended or is about to, and `work` will not run.
template <class Work>
bool core::post(Work work)
{
    const std::scoped_lock guard(lock_);
    if (closed_) {
        return false;
    }
    asio::post(context_, std::move(work));
    return true;
}

// ---- workers

void core::ensure(recipe wanted, supervisor::answer_fn then)
{
    // Shared, so that it is still there when it could not be posted.
    auto kept = std::make_shared<supervisor::answer_fn>(std::move(then));
    const std::string name = wanted.who.upstream;
    if (!post([this, wanted = std::move(wanted), kept]() mutable {
            want(std::move(wanted), std::move(*kept));
        })) {
        (*kept)(std::unexpected(failure{
            .what = code::unavailable,
            .from = origin::gateway,
            .again = retry::safe,
            .text = "worker '" + name + "' cannot be used: the gateway is stopping",
        }));
    }
}

void core::want(recipe wanted, supervisor::answer_fn then)
{
    const std::size_t max_waiting = wanted.max_waiting;
    const result<worker_ptr> made = find_or_make(std::move(wanted));
    if (!made) {
        then(std::unexpected(made.error()));
        return;
    }
    const worker_ptr& w = *made;

    // What may be answered at once.
    life::answer how = life::answer::wait;
    milliseconds rest{0};
    ready_worker where;
    {
        const std::scoped_lock guard(w->shared->lock);
        how = w->shared->now.want(clock::now());
        rest = w->shared->now.try_again_in(clock::now());
        where = w->shared->now.current();
    }
    failure refused;
    switch (how) {
    case life::answer::ready:
        then(where);
        return;
    case life::answer::wait:
        if (w->waiting.size() < std::max(max_waiting, std::size_t{1})) {
            w->waiting.push_back(std::move(then));
            step(w);
            return;
        }
        refused = unavailable(
            *w, "is starting, and " + std::to_string(w->waiting.size()) + " requests wait for it already"
        );
        refused.what = code::warming;
        refused.retry_after = std::chrono::seconds{1};
        break;
    case life::answer::backing_off:
        refused = unavailable(*w, "rests after a crash and starts again in " + in_seconds(rest));
        refused.retry_after = std::chrono::ceil<std::chrono::seconds>(rest);
        break;
    case life::answer::down:
        refused =
            unavailable(*w, "crashed 5 times within 60 s and is marked down for another " + in_seconds(rest));
        refused.retry_after = std::chrono::ceil<std::chrono::seconds>(rest);
        break;
    case life::answer::removed:
        refused = unavailable(*w, "was removed by a reload");
        break;
    case life::answer::closed:
        refused = unavailable(*w, "cannot be used: the gateway is stopping");
        break;
    }
    then(std::unexpected(std::move(refused)));
}

core::worker_ptr core::find(const cell_ptr& one) const
{
    const auto found = std::ranges::find(workers_, one, [](const worker_ptr& each) { return each->shared; });
    return found == workers_.end() ? nullptr : *found;
}

result<core::worker_ptr> core::find_or_make(recipe wanted)
{
    const auto found =
        std::ranges::find(workers_, wanted.who, [](const worker_ptr& each) { return each->shared->who; });
    if (found != workers_.end()) {
        const worker_ptr& w = *found;
        const std::scoped_lock guard(w->shared->lock);
        w->shared->now.tune(wanted.how);
        w->how = std::move(wanted);
        return w;
    }

    // A request that began before the last reload may ask for what that removed.
    const bool named = !named_ || std::ranges::find(*named_, wanted.who) != named_->end();
    auto shared = std::make_shared<cell>(wanted.who, wanted.how, weak_from_this());
    auto w = std::make_shared<worker>(context_, shared, std::move(wanted));
    if (!named || closing_) {
        return std::unexpected(
            unavailable(*w, named ? "cannot be used: the gateway is stopping" : "was removed by a reload")
        );
    }
    cells_.add(shared);
    workers_.push_back(w);
    return w;
}

// Does what is to be done for one worker now, and sees to it that it is looked at again in time.
void core::step(const worker_ptr& w)
{
    const bool another_runs = std::ranges::any_of(workers_, [&](const worker_ptr& each) {
        return each != w && each->running && each->shared->who.upstream == w->shared->who.upstream &&
               each->shared->who.model == w->shared->who.model;
    });
    life::order order;
    {
        const std::scoped_lock guard(w->shared->lock);
        w->shared->now.hold_back(another_runs);
        order = w->shared->now.advance(clock::now());
        if (order.what == life::deed::start || order.what == life::deed::stop) {
            w->shared->since = std::chrono::system_clock::now();
        }
    }

    switch (order.what) {
    case life::deed::nothing:
        break;
    case life::deed::start:
        if (const result<void> begun = begin(w); !begun) {
            ended(w, "could not be started: " + begun.error().detail, false);
            return;
        }
        break;
    case life::deed::stop: {
        const run_ptr r = w->running;
        tell(severity::info, *w, "worker is being stopped: " + reason_of(order.why, w->how.how));
        r->pause.cancel();
        if (r->asking) {
            r->asking->cancel();
        }
        error_code ignored;
        r->control.shutdown(asio::local::stream_protocol::socket::shutdown_send, ignored);
        if (order.why == life::reason::slow_start) {
            const std::string text = "was not ready after " + in_seconds(w->how.how.start_timeout) +
                                     ": GET " + w->how.ready + " " + describe(r->last_answer);
            const failure what = unavailable(*w, text);
            tell(severity::error, *w, "worker " + text);
            answer(w, std::unexpected(what));
        }
        break;
    }
    case life::deed::kill:
        tell(severity::error, *w, "worker's launcher does not end, so both are killed");
        ::kill(w->running->launcher, SIGKILL);
        if (w->running->worker > 0) {
            ::kill(-w->running->worker, SIGKILL);
        }
        break;
    }
    arm(w, order.again);
}

void core::arm(const worker_ptr& w, std::optional<time_point> when)
{
    w->timer.cancel();
    if (!when) {
        return;
    }
    w->timer.expires_at(*when);
    w->timer.async_wait([this, w](error_code fault) {
        if (!fault) {
            step(w);
        }
    });
}

void core::answer(const worker_ptr& w, const result<ready_worker>& what)
{
    for (supervisor::answer_fn& each : std::exchange(w->waiting, {})) {
        each(what);
    }
}

// A worker that a reload removed is forgotten with its process.
void core::forget_if_gone(const worker_ptr& w)
{
    bool retired = false;
    {
        const std::scoped_lock guard(w->shared->lock);
        retired = w->shared->now.retired();
    }
    if (retired && !w->running) {
        w->timer.cancel();
        cells_.remove(w->shared);
        std::erase(workers_, w);
    }
}

void core::look_at(const cell_ptr& one)
{
    post([this, one] {
        if (const worker_ptr w = find(one)) {
            step(w);
        }
    });
}

void core::lost(const cell_ptr& one, std::uint64_t generation)
{
    post([this, one, generation] {
        const worker_ptr w = find(one);
        if (!w || !w->running || w->running->where.generation != generation || w->running->ill_since) {
            return;
        }
        {
            const std::scoped_lock guard(one->lock);
            if (!one->now.where()) {
                return;
            }
        }
        w->running->ill_since = clock::now();
        w->running->refusals = 0;
        ask_later(w, w->running, milliseconds{0});
    });
}

void core::replace(const cell_ptr& one, std::uint64_t generation, std::string why)
{
    post([this, one, generation, why = std::move(why)] {
        if (const worker_ptr w = find(one)) {
            condemn(w, generation, why);
        }
    });
}

void core::condemn(const worker_ptr& w, std::uint64_t generation, const std::string& why)
{
    {
        const std::scoped_lock guard(w->shared->lock);
        if (!w->shared->now.condemn(generation, clock::now())) {
            return;
        }
        w->shared->last_end = why;
    }
    tell(severity::error, *w, "worker is replaced: it " + why);
    step(w);
}

void core::keep(std::vector<recipe> named)
{
    post([this, named = std::move(named)]() mutable {
        named_.emplace();
        for (const recipe& each : named) {
            named_->push_back(each.who);
        }
        for (const worker_ptr& w : std::vector(workers_)) {
            const auto found = std::ranges::find(named, w->shared->who, &recipe::who);
            bool refused = false;
            {
                const std::scoped_lock guard(w->shared->lock);
                if (found == named.end()) {
                    refused = w->shared->now.retire(clock::now());
                } else {
                    w->shared->now.name_again();
                    w->shared->now.tune(found->how);
                }
            }
            if (found != named.end()) {
                w->how = std::move(*found);
            }
            if (refused) {
                answer(w, std::unexpected(unavailable(*w, "was removed by a reload")));
            }
            step(w);
            forget_if_gone(w);
        }
    });
}

void core::close()
{
    closing_ = true;
    for (const worker_ptr& w : std::vector(workers_)) {
        {
            const std::scoped_lock guard(w->shared->lock);
            w->shared->now.close();
        }
        answer(w, std::unexpected(unavailable(*w, "cannot be used: the gateway is stopping")));
        step(w);
    }
    if (std::ranges::none_of(workers_, [](const worker_ptr& each) { return each->running != nullptr; })) {
        for (const worker_ptr& w : workers_) {
            w->timer.cancel();
        }
        work_.reset();
        const std::scoped_lock guard(lock_);
        closed_ = true;
    }
}

// ---- processes

result<std::uint16_t> core::choose_port() const
{
    // One that was handed out a moment ago looks free until its worker listens.
    const auto handed_out = [&](std::uint16_t port) {
        return std::ranges::any_of(workers_, [&](const worker_ptr& each) {
            return each->running && each->running->where.port == port;
        });
    };
    result<std::uint16_t> port = free_port();
    while (port && handed_out(*port)) {
        port = free_port();
    }
    return port;
}

result<void> core::begin(const worker_ptr& w)
{
    const result<std::uint16_t> port = choose_port();
    if (!port) {
        return std::unexpected(port.error());
    }
    launch_order order{
        .executable = executable_,
        .command = expand_command(w->how.who, *port),
        .environment = expand_environment(w->how.who, *port, w->how.token.reveal(), inherited_),
        .directory = w->how.who.directory,
        .stop_timeout = w->how.how.stop_timeout,
    };
    result<launched> process = launch(order);
    if (!process) {
        return std::unexpected(process.error());
    }

    const ready_worker where{.port = *port, .generation = ++generations_};
    w->running =
        std::make_shared<run>(context_, std::move(*process), where, std::string(w->how.token.reveal()));
    {
        const std::scoped_lock guard(w->shared->lock);
        w->shared->now.launched(where, clock::now());
        w->shared->lines.clear();
    }
    tell(severity::info, *w, "worker starts", {{"port", std::to_string(*port)}});
    read_control(w, w->running);
    read_output(w, w->running);
    ask_later(w, w->running, times_.first_pause);
    return {};
}

// What the launcher reports; its end of file is the end of the process.
void core::read_control(const worker_ptr& w, const run_ptr& r)
{
    r->control.async_read_some(
        asio::buffer(r->control_bytes),
        [this, w, r](error_code fault, std::size_t size) {
            if (fault) {
                gone(w, r);
                return;
            }
            r->reports.append(r->control_bytes.data(), size);
            for (std::size_t end = r->reports.find('\n'); end != std::string::npos;
                 end = r->reports.find('\n')) {
                take_report(w, r, std::string_view(r->reports).substr(0, end));
                r->reports.erase(0, end + 1);
            }
            read_control(w, r);
        }
    );
}

void core::take_report(const worker_ptr& w, const run_ptr& r, std::string_view line)
{
    if (const int pid = number_after(line, "started "); pid > 0) {
        r->worker = pid;
        const std::scoped_lock guard(w->shared->lock);
        w->shared->pid = pid;
    } else if (const int status = number_after(line, "exited "); status >= 0) {
        r->end = "exited with status " + std::to_string(status);
    } else if (const int number = number_after(line, "signal "); number > 0) {
        r->end = describe_signal(number);
    } else if (line.starts_with("failed ")) {
        r->end = "could not be started: " + clean_line(line.substr(7));
    }
}

void core::read_output(const worker_ptr& w, const run_ptr& r)
{
    // Waits and reads in two steps, so that what was read is never still under way when drain() reads the
    // rest.
    r->output.async_wait(asio::posix::stream_descriptor::wait_read, [this, w, r](error_code fault) {
        if (fault || r->over) {
            return;
        }
        const std::size_t size = r->output.read_some(asio::buffer(r->output_bytes), fault);
        if (fault && fault != asio::error::would_block && fault != asio::error::interrupted) {
            return;
        }
        take_lines(w, r, r->splitter.feed({r->output_bytes.data(), size}));
        read_output(w, r);
    });
}

void core::take_lines(const worker_ptr& w, const run_ptr& r, const std::vector<std::string>& lines)
{
    if (lines.empty()) {
        return;
    }
    {
        const std::scoped_lock guard(w->shared->lock);
        for (const std::string& each : lines) {
            w->shared->lines.push_back(each);
            if (w->shared->lines.size() > lines_kept) {
                w->shared->lines.pop_front();
            }
        }
    }
    for (const std::string& each : lines) {
        const time_point now = clock::now();
        if (now - r->second >= std::chrono::seconds{1}) {
            if (r->dropped > 0) {
                tell(
                    severity::warning,
                    *w,
                    "worker writes too much: lines were not logged",
                    {{"lines", std::to_string(r->dropped)}}
                );
            }
            r->second = now;
            r->logged = 0;
            r->dropped = 0;
        }
        if (r->logged == lines_logged_a_second) {
            ++r->dropped;
            continue;
        }
        ++r->logged;
        tell(severity::info, *w, each, {{"from", "worker"}});
    }
}

// Reads what was written before the end. Somebody who left the worker's group may hold the other side open,
// so the end of file is not waited for.
void core::drain(const worker_ptr& w, const run_ptr& r)
{
    std::size_t total = 0;
    error_code fault;
    while (total < drained_bytes) {
        const std::size_t size = r->output.read_some(asio::buffer(r->output_bytes), fault);
        if (fault || size == 0) {
            break;
        }
        total += size;
        take_lines(w, r, r->splitter.feed({r->output_bytes.data(), size}));
    }
    take_lines(w, r, r->splitter.finish());
    if (r->dropped > 0) {
        tell(
            severity::warning,
            *w,
            "worker wrote too much: lines were not logged",
            {{"lines", std::to_string(r->dropped)}}
        );
    }
    r->output.close(fault);
}

void core::ask_later(const worker_ptr& w, const run_ptr& r, milliseconds delay)
{
    r->pause.expires_after(delay);
    r->pause.async_wait([this, w, r](error_code fault) {
        if (fault || r->over) {
            return;
        }
        r->asking = probe::start(
            context_,
            r->where.port,
            w->how.ready,
            times_.answer,
            [this, w, r](const probe_answer& got) {
                if (!r->over) {
                    take_answer(w, r, got);
                }
            }
        );
    });
}

void core::take_answer(const worker_ptr& w, const run_ptr& r, const probe_answer& got)
{
    r->last_answer = got;
    const bool well = got.is == probe_answer::what::status && got.status == 200;
    life::state now = life::state::stopped;
    {
        const std::scoped_lock guard(w->shared->lock);
        now = w->shared->now.now();
        if (now == life::state::starting && well) {
            w->shared->now.became_ready(clock::now());
            w->shared->since = std::chrono::system_clock::now();
        }
    }

    if (now == life::state::starting) {
        const auto took = std::chrono::duration_cast<milliseconds>(clock::now() - r->launched_at);
        if (!well) {
            ask_later(w, r, took < quick_start ? times_.first_pause : times_.pause);
            return;
        }
        tell(
            severity::info,
            *w,
            "worker is ready",
            {{"port", std::to_string(r->where.port)}, {"ms", std::to_string(took.count())}}
        );
        answer(w, r->where);
        step(w);
        return;
    }

    // A ready one that was lost.
    if (now != life::state::ready || !r->ill_since) {
        return;
    }
    if (well) {
        r->ill_since.reset();
        return;
    }
    r->refusals = got.is == probe_answer::what::refused ? r->refusals + 1 : 0;
    if (r->refusals >= refusals_until_lost) {
        condemn(w, r->where.generation, "no longer listens on port " + std::to_string(r->where.port));
        return;
    }
    if (clock::now() - *r->ill_since >= times_.silence) {
        condemn(
            w,
            r->where.generation,
            "has not been well for " + in_seconds(times_.silence) + ": GET " + w->how.ready + " " +
                describe(got)
        );
        return;
    }
    ask_later(w, r, check_pause);
}

// The launcher has ended, and with it the worker and all that it left behind.
void core::gone(const worker_ptr& w, const run_ptr& r)
{
    // Everything about this process comes to rest.
    r->over = true;
    r->pause.cancel();
    if (r->asking) {
        r->asking->cancel();
    }
    drain(w, r);
    error_code ignored;
    r->control.close(ignored);

    // Its descriptors are closed, so it is a zombie now or in a moment.
    int status = 0;
    while (::waitpid(r->launcher, &status, 0) < 0 && errno == EINTR) {
    }
    if (r->end.empty()) {
        r->end = "was lost: its launcher " +
                 (WIFSIGNALED(status) ? describe_signal(WTERMSIG(status))
                                      : "ended with status " + std::to_string(WEXITSTATUS(status)));
        if (r->worker > 0) { // the kernel has killed the worker with it, but not the rest of its group
            ::kill(-r->worker, SIGKILL);
        }
    }
    w->running.reset();
    ended(w, r->end, port_taken(r->where.port));
}

void core::ended(const worker_ptr& w, const std::string& how, bool port_is_taken)
{
    life::state before = life::state::stopped;
    bool final = true;
    {
        const std::scoped_lock guard(w->shared->lock);
        before = w->shared->now.now();
        final = w->shared->now.ended(clock::now(), port_is_taken);
        w->shared->pid = 0;
        w->shared->since = std::chrono::system_clock::now();
        w->shared->last_end = how;
    }

    // Tell the log, and those who wait.
    const std::string text = how + (before == life::state::starting ? " while starting" : "");
    if (before == life::state::stopping) {
        tell(severity::info, *w, "worker " + how);
    } else if (!final) {
        tell(
            severity::warning,
            *w,
            "worker " + text + "; somebody else has its port, so it is started with another one"
        );
    } else {
        tell(severity::error, *w, "worker " + text + "; its last lines stand above");
    }
    if (final) {
        answer(
            w,
            std::unexpected(
                unavailable(*w, before == life::state::stopping ? "was removed by a reload" : text)
            )
        );
    }

    // What comes next, for it and for one that waited for its end.
    forget_if_gone(w);
    for (const worker_ptr& each : std::vector(workers_)) {
        step(each);
    }
    if (closing_) {
        close();
    }
}

failure core::unavailable(const worker& w, const std::string& what) const
{
    const identity& who = w.shared->who;
    failure made{
        .what = code::unavailable,
        .from = origin::upstream,
        .again = retry::safe,
        .text = "worker '" + who.upstream + "' of model '" + who.model + "' " + what +
                "; its last lines are in the gateway's log and in GET /workers of the admin listener",
    };
    const std::scoped_lock guard(w.shared->lock);
    for (const std::string& each : w.shared->lines) {
        made.detail += (made.detail.empty() ? "" : "\n") + each;
    }
    return made;
}

void core::tell(severity level, const worker& w, std::string_view text, log_fields more) const
{
    const identity& who = w.shared->who;
    more.emplace_back("worker", who.upstream);
    more.emplace_back("model", who.model);
    if (w.running && w.running->worker > 0) {
        more.emplace_back("pid", std::to_string(w.running->worker));
    }
    log_(level, text, more);
}

} // namespace gw::workers
