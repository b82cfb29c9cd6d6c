#include "workers/life.hpp"

#include <algorithm>

namespace gw::workers {

std::string_view to_string(life::state value)
{
    switch (value) {
    case life::state::stopped:
        return "stopped";
    case life::state::starting:
        return "starting";
    case life::state::ready:
        return "ready";
    case life::state::stopping:
        return "stopping";
    }
    return "stopped";
}

life::answer life::want(time_point now)
{
    if (closed_) {
        return answer::closed;
    }
    if (state_ == state::ready && !condemned_) {
        return answer::ready;
    }
    if (retired_since_ && state_ != state::starting) {
        return answer::removed;
    }
    if (now + longest_wait < rest_until_) {
        return now < down_until_ ? answer::down : answer::backing_off;
    }
    wanted_ = true;
    return answer::wait;
}

milliseconds life::try_again_in(time_point now) const
{
    return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(rest_until_ - now));
}

life::order life::advance(time_point now)
{
    switch (state_) {
    case state::stopped:
        if (!wanted_ || held_back_ || closed_) {
            return {};
        }
        if (now < rest_until_) {
            return {.again = rest_until_};
        }
        state_ = state::starting;
        since_ = now;
        in_flight_ = 0;
        condemned_ = false;
        killed_ = false;
        return {.what = deed::start, .again = now + how_.start_timeout};

    case state::starting:
        if (closed_) {
            return stop(now, reason::closed);
        }
        if (retired_since_ && (!wanted_ || now >= *retired_since_ + retirement)) {
            return stop(now, reason::retired);
        }
        if (now >= since_ + how_.start_timeout) {
            crash(now);
            wanted_ = false;
            return stop(now, reason::slow_start);
        }
        return {.again = since_ + how_.start_timeout};

    case state::ready:
        if (closed_ || condemned_) {
            return stop(now, closed_ ? reason::closed : reason::condemned);
        }
        if (retired_since_) {
            const time_point last = *retired_since_ + retirement;
            const time_point silent = since_ + retired_silence;
            if (now >= last || (in_flight_ == 0 && now >= silent)) {
                return stop(now, reason::retired);
            }
            return {.again = in_flight_ == 0 ? std::min(last, silent) : last};
        }
        if (how_.idle_stop > milliseconds{0}) {
            // A request under way ends later than now: looking again one idle_stop from now is never too
            // late.
            if (in_flight_ == 0 && now >= since_ + how_.idle_stop) {
                return stop(now, reason::idle);
            }
            return {.again = (in_flight_ == 0 ? since_ : now) + how_.idle_stop};
        }
        return {};

    case state::stopping:
        if (killed_) {
            return {};
        }
        if (now >= since_ + how_.stop_timeout + kill_margin) {
            killed_ = true;
            return {.what = deed::kill};
        }
        if (strike_at_ && now >= *strike_at_) {
            strike_at_.reset();
            return {.what = deed::strike, .again = since_ + how_.stop_timeout + kill_margin};
        }
        return {.again = strike_at_.value_or(since_ + how_.stop_timeout + kill_margin)};
    }
    return {};
}

life::order life::stop(time_point now, reason why)
{
    state_ = state::stopping;
    condemned_ = false;
    since_ = now;
    strike_at_.reset();
    if (why == reason::condemned && condemned_time < how_.stop_timeout) {
        strike_at_ = now + condemned_time;
    }
    return {
        .what = deed::stop, .why = why, .again = strike_at_.value_or(now + how_.stop_timeout + kill_margin)
    };
}

void life::launched(ready_worker where, time_point now)
{
    where_ = where;
    since_ = now;
    ++starts_;
}

void life::became_ready(time_point now)
{
    if (state_ != state::starting) {
        return;
    }
    state_ = state::ready;
    since_ = now;
    ready_at_ = now;
    wanted_ = false;
    ports_tried_ = 0;
}

bool life::ended(time_point now, bool port_taken)
{
    in_flight_ = 0;

    // Asked for: whoever came meanwhile gets a new one.
    if (state_ == state::stopping) {
        state_ = state::stopped;
        if (retired_since_ || closed_) {
            wanted_ = false;
            return true;
        }
        return false;
    }
    if (state_ == state::starting && port_taken && ++ports_tried_ < port_tries) {
        state_ = state::stopped;
        return false;
    }
    if (!condemned_) {
        crash(now);
    }
    state_ = state::stopped;
    condemned_ = false;
    wanted_ = false;
    ports_tried_ = 0;
    return true;
}

bool life::condemn(std::uint64_t generation, time_point now)
{
    if (state_ != state::ready || condemned_ || where_.generation != generation) {
        return false;
    }
    crash(now);
    condemned_ = true;
    return true;
}

void life::crash(time_point now)
{
    ++crashes_;
    if (state_ == state::ready && now - ready_at_ >= crash_window) {
        crashes_in_a_row_ = 0;
    }
    const std::uint32_t doublings = std::min(crashes_in_a_row_, std::uint32_t{16});
    rest_until_ = now + std::min(longest_back_off, first_back_off * (1U << doublings));
    ++crashes_in_a_row_;

    recent_crashes_.push_back(now);
    while (now - recent_crashes_.front() >= crash_window) {
        recent_crashes_.pop_front();
    }
    if (recent_crashes_.size() >= crashes_until_down) {
        recent_crashes_.clear();
        down_until_ = now + down_time;
        rest_until_ = down_until_;
    }
}

bool life::retire(time_point now)
{
    if (!retired_since_) {
        retired_since_ = now;
    }
    if (state_ != state::stopped) {
        return false;
    }
    wanted_ = false;
    return true;
}

void life::close()
{
    closed_ = true;
    wanted_ = false;
}

std::optional<ready_worker> life::where() const
{
    if (state_ != state::ready || condemned_) {
        return std::nullopt;
    }
    return where_;
}

std::optional<ready_worker> life::borrow()
{
    const std::optional<ready_worker> found = where();
    if (found) {
        ++in_flight_;
    }
    return found;
}

bool life::give_back(std::uint64_t generation, time_point now)
{
    if (where_.generation != generation || in_flight_ == 0) {
        return false;
    }
    --in_flight_;
    if (state_ != state::ready || in_flight_ > 0) {
        return false;
    }
    since_ = now;
    return retired_since_.has_value();
}

} // namespace gw::workers
