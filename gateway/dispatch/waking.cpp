#include "dispatch/waking.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace gw::dispatch {

using std::chrono::seconds;

waking::heard waking::hear(int status, bool paused)
{
    if (paused) {
        return heard::paused;
    }
    if (status >= 200 && status < 300) {
        return heard::ready;
    }
    if (status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505)) {
        return heard::not_yet;
    }
    if (status == 401 || status == 403 || status == 407) {
        return heard::refused;
    }
    return heard::no_route;
}

std::string_view waking::to_string(end value)
{
    constexpr std::array<std::string_view, ends> names{
        "ready", "unwanted", "paused", "refused", "no_route", "unreachable", "given_up", "gone"
    };
    return names[static_cast<std::size_t>(value)];
}

std::optional<waking::start> waking::refuses(std::uint64_t place, time_point now) const
{
    const std::lock_guard hold_lock(lock_);
    const auto found = known_.find(place);
    if (found == known_.end() || found->second.told.working) {
        return std::nullopt;
    }
    return now < found->second.given_up_until    ? std::optional(start::given_up)
           : now < found->second.by_itself_until ? std::optional(start::by_itself)
                                                 : std::nullopt;
}

waking::start waking::begin(
    std::uint64_t place, std::string_view name, milliseconds limit, std::size_t tokens, time_point now
)
{
    const std::lock_guard hold_lock(lock_);
    endpoint& it = known_[place];
    it.named = true;
    it.told.upstream = name;
    it.limit = limit;
    it.tokens = std::max<std::size_t>(1, tokens);
    it.wanted = now;
    if (it.told.working) {
        return start::joined;
    }
    if (now < it.given_up_until) {
        return start::given_up;
    }
    if (now < it.by_itself_until) {
        return start::by_itself;
    }

    it.told.working = true;
    it.asking = false;
    it.silent = 0;
    it.token = it.tokens_refused = 0;
    it.stop.reset();
    it.worked = now;
    // A health route that says ready while requests get 503 is not the end of the start.
    if (it.began == time_point::min() || now - it.ended > same_start) {
        it.began = now;
    }
    return start::begun;
}

void waking::want(std::uint64_t place, time_point now)
{
    const std::lock_guard hold_lock(lock_);
    if (const auto found = known_.find(place); found != known_.end()) {
        found->second.wanted = std::max(found->second.wanted, now);
    }
}

void waking::works(std::uint64_t place)
{
    const std::lock_guard hold_lock(lock_);
    if (const auto found = known_.find(place); found != known_.end()) {
        found->second.given_up_until = time_point::min();
        found->second.by_itself_until = time_point::min();
        if (!found->second.told.working) {
            found->second.began = time_point::min();
        }
    }
}

waking::step waking::stop(endpoint& it, end why, time_point now)
{
    it.told.working = false;
    it.stop.reset();
    it.ended = now;
    ++it.told.ended[static_cast<std::size_t>(why)];
    if (why != end::ready) { // it may be ready long since: the next start is another one
        it.began = time_point::min();
    }
    switch (why) {
    case end::ready:
        it.told.last_took = std::chrono::duration_cast<milliseconds>(now - it.worked);
        it.told.took += it.told.last_took;
        break;
    case end::given_up:
        it.given_up_until = now + it.limit;
        break;
    case end::refused:
    case end::no_route:
        it.by_itself_until = now + it.limit;
        break;
    case end::unwanted:
    case end::paused:
    case end::unreachable:
    case end::gone:
        break;
    }
    return {.stop = why, .working = false};
}

waking::step waking::next(std::uint64_t place, time_point now)
{
    const std::lock_guard hold_lock(lock_);
    const auto found = known_.find(place);
    if (found == known_.end() || !found->second.told.working) {
        return {.working = false};
    }
    endpoint& it = found->second;
    if (!it.named) {
        return stop(it, end::gone, now);
    }
    if (it.stop) {
        return stop(it, *it.stop, now);
    }
    if (now - it.wanted >= unwanted) {
        return stop(it, end::unwanted, now);
    }
    const auto left = it.limit - (now - it.began);
    if (left <= milliseconds::zero()) {
        return stop(it, end::given_up, now);
    }
    if (it.asking || now < it.not_before) {
        return {};
    }
    it.asking = true;
    it.not_before = now + between;
    ++it.told.asked;
    return {.ask = std::clamp(std::chrono::ceil<seconds>(left), seconds(1), hold), .token = it.token};
}

void waking::heard_of(std::uint64_t place, heard what, milliseconds wait, time_point now)
{
    const std::lock_guard hold_lock(lock_);
    const auto found = known_.find(place);
    if (found == known_.end()) {
        return;
    }
    endpoint& it = found->second;
    it.asking = false;
    it.silent = what == heard::silent ? it.silent + 1 : 0;
    it.tokens_refused = what == heard::refused ? it.tokens_refused + 1 : 0;
    switch (what) {
    case heard::ready:
        it.stop = end::ready;
        break;
    case heard::not_yet:
        it.not_before = std::max(it.not_before, now + wait);
        break;
    case heard::paused:
        it.stop = end::paused;
        break;
    case heard::refused: // the next token of the pool
        it.token = (it.token + 1) % it.tokens;
        if (it.tokens_refused >= it.tokens) {
            it.stop = end::refused;
        }
        break;
    case heard::no_route:
        it.stop = end::no_route;
        break;
    case heard::silent:
        if (it.silent >= most_silent) {
            it.stop = end::unreachable;
        }
        break;
    }
}

void waking::keep(const std::unordered_set<std::uint64_t>& places)
{
    const std::lock_guard hold_lock(lock_);
    for (auto at = known_.begin(); at != known_.end();) {
        endpoint& it = at->second;
        it.named = places.contains(at->first);
        at = it.named || it.told.working ? std::next(at) : known_.erase(at);
    }
}

std::vector<waking::view> waking::now() const
{
    std::vector<view> all;
    const std::lock_guard hold_lock(lock_);
    all.reserve(known_.size());
    for (const auto& [place, it] : known_) {
        all.push_back(it.told);
    }
    return all;
}

} // namespace gw::dispatch
