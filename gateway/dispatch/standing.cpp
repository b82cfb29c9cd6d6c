#include "dispatch/standing.hpp"

#include <algorithm>

namespace gw::dispatch {

void standing::learn(
    const subject& who, const evidence& seen, slots::lease& slot, time_point now, wall_time wall
)
{
    const verdict& what = seen.what;
    bool rests = true;
    if (what.what == outcome::ok) {
        slot.succeeded(now);
    } else if (what.what == outcome::rate_limited && who.to->kind != config::kind::serverless &&
               what.retry_after.value_or(std::chrono::milliseconds::zero()) <=
                   std::chrono::milliseconds::zero()) {
        // Full: it bears fewer at once than it got. Only if it had nothing else to do is it a matter of time.
        rests = !slot.refused(now);
        if (!rests) {
            limits_lowered_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    if (seen.probe != 0) {
        probes_.fetch_add(1, std::memory_order_relaxed);
        if (what.what == outcome::ok) {
            probes_passed_.fetch_add(1, std::memory_order_relaxed);
        }
    }
    if (cooling.learn(who, seen, rests, now, wall)) {
        if (what.what == outcome::ok) {
            bridge.works(place_of(*who.to, who.model));
        }
        room.news(*who.to, who.model);
    }
}

void standing::proven(const subject& who, probe_id probe, time_point sent)
{
    if (cooling.proven(who, probe, sent)) {
        room.news(*who.to, who.model);
    }
}

void standing::give_back(const subject& who, probe_id probe)
{
    if (cooling.give_back(who, probe)) {
        room.news(*who.to, who.model);
    }
}

void standing::warmed(const config::upstream& to, std::string_view model)
{
    if (cooling.warmed(to, model)) {
        room.news(to, model);
    }
}

waking::start standing::sleeps(const config::upstream& to, const verdict& what, time_point now)
{
    const auto tokens = static_cast<std::size_t>(
        std::ranges::count_if(to.tokens, [](const config::token* each) { return !each->value.empty(); })
    );
    const std::uint64_t place = place_of(to, {});
    if (const auto why = bridge.refuses(place, now)) {
        return *why;
    }
    // Held first: whenever this waker stops, what it lets go of is there.
    cooling.hold(to, what.retry_after, now);
    const waking::start how = bridge.begin(place, to.name, to.wake_timeout, tokens, now);
    if (how != waking::start::begun && how != waking::start::joined) {
        cooling.let_go(to, true, now); // it stopped for good just now
    }
    return how;
}

void standing::sleeps_no_more(const config::upstream& to, waking::end why, time_point now)
{
    switch (why) {
    case waking::end::ready: // as its health route says: one request finds out, the crowd follows
    case waking::end::unwanted:
    case waking::end::refused:
    case waking::end::no_route:
    case waking::end::gone:
        cooling.let_go(to, true, now);
        break;
    case waking::end::paused:
    case waking::end::unreachable:
    case waking::end::given_up:
        cooling.let_go(to, false, now);
        break;
    }
    room.news(to, {});
}

standing_counters standing::counters() const
{
    return {
        .active_requests = budget.active(),
        .active_retries = budget.retries(),
        .retries_refused = budget.refused(),
        .probes = probes_.load(std::memory_order_relaxed),
        .probes_passed = probes_passed_.load(std::memory_order_relaxed),
        .limits_lowered = limits_lowered_.load(std::memory_order_relaxed),
        .marks_evicted = cooling.evicted(),
        .marks = cooling.size(),
        .waiting = room.waiting(),
    };
}

} // namespace gw::dispatch
