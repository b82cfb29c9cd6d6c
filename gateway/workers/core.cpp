#include "workers/core.hpp"

#include "message/quiet_thread.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace gw::workers {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using clock = std::chrono::steady_clock;

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

std::string in_seconds(milliseconds time)
{
    return std::to_string(std::chrono::ceil<std::chrono::seconds>(time).count()) + " s";
}

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

core::core(log_fn log, std::string executable, const rhythm& times)
    : log_(std::move(log)), executable_(std::move(executable)), times_(times),
      inherited_(inherited_environment()), work_(context_.get_executor())
{
}

void core::start()
{
    thread_ = quiet_thread([this] {
        while (true) {
            try {
                context_.run();
                return;
            } catch (const std::exception& fault) {
                log_(severity::error, "workers: a fault of the gateway's own", {{"what", fault.what()}});
            }
        }
    });
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
        give(then, std::unexpected(made.error()));
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
        give(then, where);
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
        refused = failed(*w, "rests after a crash and starts again in " + in_seconds(rest));
        refused.retry_after = std::chrono::ceil<std::chrono::seconds>(rest);
        break;
    case life::answer::down:
        refused =
            failed(*w, "crashed 5 times within 60 s and is marked down for another " + in_seconds(rest));
        refused.retry_after = std::chrono::ceil<std::chrono::seconds>(rest);
        break;
    case life::answer::removed:
        refused = unavailable(*w, "was removed by a reload");
        break;
    case life::answer::closed:
        refused = unavailable(*w, "cannot be used: the gateway is stopping");
        break;
    }
    give(then, std::unexpected(std::move(refused)));
}

core::worker_ptr core::find(const cell_ptr& one) const
{
    const auto found = std::ranges::find(workers_, one, [](const worker_ptr& each) { return each->shared; });
    return found == workers_.end() ? nullptr : *found;
}

result<core::worker_ptr> core::find_or_make(recipe wanted)
{
    // A request that began before the last reload may ask for what that removed, or with times that it
    // changed.
    if (named_) {
        const auto named = std::ranges::find(*named_, wanted.who, &recipe::who);
        if (named != named_->end()) {
            wanted = *named;
        }
    }
    const auto found =
        std::ranges::find(workers_, wanted.who, [](const worker_ptr& each) { return each->shared->who; });
    if (found != workers_.end()) {
        const worker_ptr& w = *found;
        const std::scoped_lock guard(w->shared->lock);
        w->shared->now.tune(wanted.how);
        w->how = std::move(wanted);
        return w;
    }

    const bool removed = named_ && std::ranges::find(*named_, wanted.who, &recipe::who) == named_->end();
    auto shared = std::make_shared<cell>(wanted.who, wanted.how, weak_from_this());
    auto w = std::make_shared<worker>(context_, shared, std::move(wanted));
    if (removed || closing_) {
        return std::unexpected(
            unavailable(*w, removed ? "was removed by a reload" : "cannot be used: the gateway is stopping")
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
        tell(severity::info, *w, "worker is being stopped: " + reason_of(order.why, w->how.how));
        w->running->stop();
        if (order.why == life::reason::slow_start) {
            const std::string text = "was not ready after " + in_seconds(w->how.how.start_timeout) +
                                     ": GET " + w->how.ready + " " + describe(w->last_answer);
            const failure what = failed(*w, text);
            w->blamed = text;
            tell(severity::error, *w, "worker " + text);
            answer(w, std::unexpected(what));
        }
        break;
    }
    case life::deed::strike:
        tell(severity::warning, *w, "worker does not end and is killed");
        w->running->strike();
        break;
    case life::deed::kill:
        tell(severity::error, *w, "worker's launcher does not end, so both are killed");
        w->running->kill();
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

// A callback that throws is a bug of its owner's; the others still get their answer.
void core::give(supervisor::answer_fn& then, const result<ready_worker>& what) const
{
    try {
        then(what);
    } catch (const std::exception& fault) {
        log_(severity::error, "workers: a callback threw", {{"what", fault.what()}});
    }
}

void core::answer(const worker_ptr& w, const result<ready_worker>& what)
{
    for (supervisor::answer_fn& each : std::exchange(w->waiting, {})) {
        give(each, what);
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
        if (!w || w->ill_since) {
            return;
        }
        {
            const std::scoped_lock guard(one->lock);
            const std::optional<ready_worker> where = one->now.where();
            if (!where || where->generation != generation) {
                return;
            }
        }
        w->ill_since = clock::now();
        w->refusals = 0;
        ask(w, milliseconds{0});
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
    }
    w->blamed = why;
    tell(severity::error, *w, "worker is replaced: it " + why);
    step(w);
}

void core::keep(std::vector<recipe> named)
{
    post([this, named = std::move(named)]() mutable {
        named_ = std::move(named);
        for (const worker_ptr& w : std::vector(workers_)) {
            const auto found = std::ranges::find(*named_, w->shared->who, &recipe::who);
            bool refused = false;
            {
                const std::scoped_lock guard(w->shared->lock);
                if (found == named_->end()) {
                    refused = w->shared->now.retire(clock::now());
                } else {
                    w->shared->now.name_again();
                    w->shared->now.tune(found->how);
                    w->how = *found;
                }
            }
            if (refused) {
                answer(w, std::unexpected(unavailable(*w, "was removed by a reload")));
            }
            step(w);
            forget_if_gone(w);
        }
    });
}

void core::kill()
{
    post([this] {
        for (const worker_ptr& w : workers_) {
            if (w->running) {
                tell(severity::warning, *w, "worker is killed: the gateway stops now");
                w->running->strike();
            }
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

} // namespace gw::workers
