// The half of core that deals with a worker's process: how it begins, what is heard of it, how it ends.
#include "workers/core.hpp"

#include <algorithm>
#include <utility>

namespace gw::workers {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t lines_kept = 20;
constexpr milliseconds quick_start{5'000}; // for as long it is asked more often
constexpr milliseconds check_pause{200};
constexpr int refusals_until_lost = 3;

} // namespace

result<std::uint16_t> core::choose_port() const
{
    // One that was handed out a moment ago looks free until its worker listens.
    const auto handed_out = [&](std::uint16_t port) {
        return std::ranges::any_of(workers_, [&](const worker_ptr& each) {
            return each->running && each->running->where().port == port;
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
    result<std::uint16_t> port = choose_port();
    if (!port) {
        return fail(port);
    }
    const launch_order order{
        .executable = executable_,
        .command = expand_command(w->how.who, *port),
        .environment = expand_environment(w->how.who, *port, w->how.token.reveal(), inherited_),
        .directory = w->how.who.directory,
        .stop_timeout = w->how.how.stop_timeout,
    };
    const ready_worker where{.port = *port, .generation = ++generations_};
    process::events events{
        .started =
            [w](pid_t pid) {
                const std::scoped_lock guard(w->shared->lock);
                w->shared->pid = pid;
            },
        .wrote = [this, w](const std::vector<std::string>& lines) { take_lines(w, lines); },
        .answered = [this, w](const probe_answer& got) { take_answer(w, got); },
        .ended = [this, w, where](const std::string& how) { ended(w, how, port_taken(where.port)); },
    };
    result<std::shared_ptr<process>> begun =
        process::start(context_, order, where, std::string(w->how.token.reveal()), std::move(events));
    if (!begun) {
        return fail(begun);
    }

    w->running = std::move(*begun);
    w->gate = {};
    w->last_answer = {};
    w->blamed.clear();
    w->ill_since.reset();
    {
        const std::scoped_lock guard(w->shared->lock);
        w->shared->now.launched(where, clock::now());
        w->shared->lines.clear();
    }
    tell(severity::info, *w, "worker starts", {{"port", std::to_string(*port)}});
    ask(w, times_.first_pause);
    return {};
}

void core::ask(const worker_ptr& w, milliseconds delay) const
{
    w->running->ask_later(delay, w->how.ready, times_.answer);
}

void core::take_answer(const worker_ptr& w, const probe_answer& got)
{
    w->last_answer = got;
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
    const ready_worker where = w->running->where();

    if (now == life::state::starting) {
        const auto took = std::chrono::duration_cast<milliseconds>(clock::now() - w->running->started_at());
        if (!well) {
            ask(w, took < quick_start ? times_.first_pause : times_.pause);
            return;
        }
        tell(
            severity::info,
            *w,
            "worker is ready",
            {{"port", std::to_string(where.port)}, {"ms", std::to_string(took.count())}}
        );
        answer(w, where);
        step(w);
        return;
    }

    // A ready one that was lost.
    if (now != life::state::ready || !w->ill_since) {
        return;
    }
    if (well) {
        w->ill_since.reset();
        return;
    }
    w->refusals = got.is == probe_answer::what::refused ? w->refusals + 1 : 0;
    if (w->refusals >= refusals_until_lost) {
        condemn(w, where.generation, "no longer listens on port " + std::to_string(where.port));
        return;
    }
    if (clock::now() - *w->ill_since >= times_.silence) {
        condemn(
            w,
            where.generation,
            "has not been well for " + in_seconds(times_.silence) + ": GET " + w->how.ready + " " +
                describe(got)
        );
        return;
    }
    ask(w, check_pause);
}

void core::take_lines(const worker_ptr& w, const std::vector<std::string>& lines)
{
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
        tell_dropped(*w, w->gate.take_refused(now));
        if (w->gate.admit(now)) {
            tell(severity::info, *w, each, {{"from", "worker"}});
        }
    }
}

void core::tell_dropped(const worker& w, std::size_t lines) const
{
    if (lines > 0) {
        tell(
            severity::warning,
            w,
            "worker writes too much: lines were not logged",
            {{"lines", std::to_string(lines)}}
        );
    }
}

// The process is gone, or there was none.
void core::ended(const worker_ptr& w, const std::string& how, bool port_is_taken)
{
    tell_dropped(*w, w->gate.take_refused());
    life::state before = life::state::stopped;
    bool final = true;
    {
        const std::scoped_lock guard(w->shared->lock);
        before = w->shared->now.now();
        final = w->shared->now.ended(clock::now(), port_is_taken);
        w->shared->pid = 0;
        w->shared->since = std::chrono::system_clock::now();
        w->shared->last_end = w->blamed.empty() ? how : w->blamed + "; it was stopped and " + how;
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
    w->running.reset();
    if (final) {
        answer(
            w,
            std::unexpected(
                before == life::state::stopping ? unavailable(*w, "was removed by a reload")
                                                : failed(*w, text)
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
    return {
        .what = code::unavailable,
        .from = origin::upstream,
        .again = retry::safe,
        .text = "worker '" + who.upstream + "' of model '" + who.model + "' " + what,
    };
}

failure core::failed(const worker& w, const std::string& what) const
{
    failure made = unavailable(w, what);
    made.text += "; its last lines are in the gateway's log and in GET /workers of the admin listener";
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
    if (w.running && w.running->worker() > 0) {
        more.emplace_back("pid", std::to_string(w.running->worker()));
    }
    log_(level, text, more);
}

} // namespace gw::workers
