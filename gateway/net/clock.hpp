// The time as a core sees it: read at most once per step of its loop (what is done for one descriptor, or one
// job), since a small request would ask some twenty times in its few microseconds. Outside a loop every
// reading is a new one. A step that works for long sees the time at which it first asked.
#pragma once

#include <chrono>

namespace gw::net {

namespace detail {

struct step_times // epoch: not read yet
{
    bool stepping = false; // a loop runs on this thread and begins the steps
    std::chrono::steady_clock::time_point steady;
    std::chrono::system_clock::time_point wall;
};
inline constinit thread_local step_times times;

template <class Clock>
typename Clock::time_point read(typename Clock::time_point& kept)
{
    if (kept != typename Clock::time_point{}) {
        return kept;
    }
    const auto now = Clock::now();
    if (times.stepping) {
        kept = now;
    }
    return now;
}

} // namespace detail

struct clock
{
    using duration = std::chrono::steady_clock::duration;
    using time_point = std::chrono::steady_clock::time_point;
    [[nodiscard]] static time_point now()
    {
        return detail::read<std::chrono::steady_clock>(detail::times.steady);
    }
};
using time_point = clock::time_point;

struct wall_clock
{
    using time_point = std::chrono::system_clock::time_point;
    [[nodiscard]] static time_point now()
    {
        return detail::read<std::chrono::system_clock>(detail::times.wall);
    }
};

// For the loop: lives while it runs.
struct steps
{
    steps() { next(); }
    ~steps() { detail::times = {}; }
    steps(const steps&) = delete;
    steps& operator=(const steps&) = delete;
    static void next() { detail::times = {.stepping = true, .steady = {}, .wall = {}}; }
};

} // namespace gw::net
