#include "dispatch/standing.hpp"

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
