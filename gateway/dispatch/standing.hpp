// What the process knows of its upstreams and tokens: who rests until when, what is in flight, who waits, how
// many repeat themselves. One per process, shared by all cores; every function may be called from any thread.
// It lives over reloads, since everything in it is kept by identity (hash of a secret, origin, upstream id),
// never by a pointer into settings.
#pragma once

#include "dispatch/cooldowns.hpp"
#include "dispatch/retry_budget.hpp"
#include "dispatch/slots.hpp"
#include "dispatch/waking.hpp"

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gw::dispatch {

struct standing_counters
{
    std::int64_t active_requests = 0;
    std::int64_t active_retries = 0;
    std::uint64_t retries_refused = 0;
    std::uint64_t probes = 0;
    std::uint64_t probes_passed = 0;
    std::uint64_t limits_lowered = 0;
    std::uint64_t marks_evicted = 0;
    std::size_t marks = 0;
    std::size_t waiting = 0;
};

class standing
{
public:
    explicit standing(std::size_t marks = 4096) : cooling(marks) {}

    // What an attempt came to; wakes who waits for it.
    void learn(const subject& who, const evidence& seen, slots::lease& slot, time_point now, wall_time wall);

    // The first content of a good answer is there: what was probed works.
    void proven(const subject& who, probe_id probe, time_point sent);

    // The probe ends without an outcome: its client left, or it was not sent after all.
    void give_back(const subject& who, probe_id probe);

    // A waker saw the model ready there.
    void warmed(const config::upstream& to, std::string_view model);

    // A request met a dedicated endpoint asleep: whether it is woken now. If so, requests pass it by, or wait
    // for it, until sleeps_no_more().
    [[nodiscard]] waking::start sleeps(const config::upstream& to, const verdict& what, time_point now);
    // Its waker stopped. Wakes who waits.
    void sleeps_no_more(const config::upstream& to, waking::end why, time_point now);

    // For `explain`: why `who` would be skipped now.
    [[nodiscard]] std::optional<block> look(const subject& who, time_point now) const
    {
        return cooling.look(who, now);
    }
    [[nodiscard]] std::vector<cooldown_view> resting(time_point now) const { return cooling.view(now); }
    [[nodiscard]] std::vector<slots_view> places() const { return room.view(); }
    [[nodiscard]] standing_counters counters() const;

    cooldowns cooling;
    slots room;
    retry_budget budget;
    waking bridge;

private:
    std::atomic<std::uint64_t> probes_{0};
    std::atomic<std::uint64_t> probes_passed_{0};
    std::atomic<std::uint64_t> limits_lowered_{0};
};

} // namespace gw::dispatch
