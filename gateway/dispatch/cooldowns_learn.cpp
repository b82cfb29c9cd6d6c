// What an attempt's outcome means for the marks: which key rests, and for how long.
#include "dispatch/cooldowns.hpp"

#include <algorithm>

namespace gw::dispatch {
namespace {

using std::chrono::milliseconds;

// first, doubled `level` times, at most `longest`.
milliseconds back_off(milliseconds first, milliseconds longest, unsigned level)
{
    return std::min<milliseconds>(longest, first * (1LL << std::min(level, 20U)));
}

// Until the first of the next month, UTC: when monthly credits come back.
std::chrono::nanoseconds to_next_month(wall_time wall)
{
    using namespace std::chrono;
    const year_month_day today{floor<days>(wall)};
    const sys_days turn = (today.year() / today.month() + months{1}) / day{1};
    return turn - wall;
}

// A time that was told, as far as it can be believed.
std::optional<milliseconds> told(const verdict& what)
{
    if (!what.retry_after || *what.retry_after <= milliseconds::zero()) {
        return std::nullopt;
    }
    return std::clamp<milliseconds>(*what.retry_after, cooldowns::first_back_off, cooldowns::longest);
}

bool needs_a_few(outcome what)
{
    return what == outcome::unavailable || what == outcome::timeout || what == outcome::broken_stream;
}

// Timeouts and broken streams are the upstream's own, whatever was asked of it.
scope scope_of(const verdict& what)
{
    return what.what == outcome::timeout || what.what == outcome::broken_stream ? scope::upstream
                                                                                : what.where;
}

} // namespace

// A success ends what was over when its request was sent. A request sent before says nothing about a later
// cooldown.
bool cooldowns::succeeded(const key& of, time_point sent, time_point now)
{
    mark* found = find(of);
    if (found == nullptr || sent < found->until) {
        return false;
    }
    const bool blocked = found->blocks();
    const bool remembered = found->limited_until > now || found->failed > now - recent;
    if (!remembered) {
        erase(by_key_.find(of)->second);
        return blocked;
    }
    found->until = time_point::min();
    found->prober = 0;
    found->level = 0;
    found->in_a_row = 0;
    return blocked;
}

// A failure that counts: a few in a row, or one of a probe, and the key cools.
bool cooldowns::count(const key& of, const subject& who, const evidence& seen, time_point now)
{
    mark& here = make(of, who, now);
    here.failed = now;
    if (seen.sent < here.until) {
        return false; // under way since before the cooldown: nothing new
    }
    here.why = seen.what.what;
    ++here.in_a_row;
    if (!here.blocks() && here.in_a_row < failures_in_a_row) {
        return false;
    }
    // A probe that finds nobody moves on, so there is one every second and the upstream is back at once. One
    // that times out or breaks off costs its client the answer.
    const bool costly = seen.what.what != outcome::unavailable;
    const milliseconds rest =
        costly ? back_off(first_back_off, longest_back_off, here.level++) : first_back_off;
    here.until = now + std::max(rest, told(seen.what).value_or(milliseconds::zero()));
    here.prober = 0;
    return true;
}

// A rate limit: until the time told, else back-off. When a second model of the same token is limited there,
// all are.
bool cooldowns::limit(const keys& of, scope where, const subject& who, const evidence& seen, time_point now)
{
    mark& here = make(of[index_of(where)], who, now);
    const std::optional<milliseconds> rest = told(seen.what);
    const bool fresh = seen.sent >= here.until;
    if (!rest && !fresh) {
        return false;
    }
    const time_point end = now + rest.value_or(back_off(first_back_off, longest_back_off, here.level));
    here.level += rest ? 0U : 1U;
    here.until = fresh ? end : std::max(end, here.until);
    here.why = outcome::rate_limited;
    if (fresh) {
        here.prober = 0;
    }
    const time_point until = here.until; // `here` may go when the next mark is made

    if (where == scope::token_model) {
        mark& all = make(of[index_of(scope::token_upstream)], who, now);
        const bool second = all.limited_until > now && all.limited_model != who.model;
        if (second && until > all.until) {
            all.until = until;
            all.why = outcome::rate_limited;
            all.prober = 0;
        }
        if (!second || until > all.limited_until) {
            all.limited_model = who.model;
            all.limited_until = until;
        }
    }
    return true;
}

bool cooldowns::learn(const subject& who, const evidence& seen, bool rests, time_point now, wall_time wall)
{
    const verdict& what = seen.what;
    const bool plain_success = what.what == outcome::ok && !told(what);
    if (plain_success && quiet(who)) {
        return false;
    }
    const keys of = keys_of(who);
    if (plain_success && quiet(of)) {
        return false;
    }

    const std::lock_guard hold(lock_);
    sweep(now);
    bool changed = release(of, seen.probe);
    const scope where = scope_of(what);
    const auto key_at = [&of](scope at) -> const key& { return of[index_of(at)]; };

    // A complete answer, whatever it says, shows that the upstream itself is there.
    if (what.what == outcome::ok) {
        for (const key& one : of) {
            changed |= succeeded(one, seen.sent, now);
        }
        if (told(what)) {
            changed |= limit(of, where == scope::none ? scope::token_model : where, who, seen, now);
        }
        return changed;
    }
    if (what.status != 0 && !(needs_a_few(what.what) && where == scope::upstream)) {
        changed |= succeeded(key_at(scope::upstream), seen.sent, now);
    }
    if (where == scope::none || key_at(where).where == scope::none) {
        return changed;
    }

    const auto rest_for = [&](std::chrono::nanoseconds rest) {
        mark& here = make(key_at(where), who, now);
        const bool fresh = seen.sent >= here.until;
        if (!fresh && !told(what)) {
            return false;
        }
        const time_point end = now + std::max<std::chrono::nanoseconds>(rest, first_back_off);
        here.until = fresh ? end : std::max(end, here.until);
        here.level += fresh ? 1U : 0U;
        here.why = what.what;
        if (fresh) {
            here.prober = 0;
        }
        return true;
    };
    const auto level = [&] {
        const mark* here = find(key_at(where));
        return here == nullptr ? 0U : here->level;
    };

    switch (what.what) {
    case outcome::rate_limited:
        return rests ? limit(of, where, who, seen, now) || changed : changed;
    case outcome::out_of_credits: {
        // Looked at again now and then, since credits can be bought; and when the month turns in any case.
        const std::chrono::nanoseconds doubt =
            told(what).value_or(back_off(first_doubt, longest_doubt, level()));
        return rest_for(std::min(doubt, to_next_month(wall))) || changed;
    }
    case outcome::token_rejected:
        return rest_for(told(what).value_or(back_off(first_doubt, longest_doubt, level()))) || changed;
    case outcome::warming:
        return rest_for(told(what).value_or(first_back_off)) || changed;
    case outcome::unsupported:
        return rest_for(
                   what.permanent ? milliseconds(unsupported_for_good) : milliseconds(unsupported_for)
               ) ||
               changed;
    case outcome::unavailable:
    case outcome::timeout:
    case outcome::broken_stream:
        return count(key_at(where), who, seen, now) || changed;
    case outcome::ok:
    case outcome::too_large:
    case outcome::rejected:
        break;
    }
    return changed;
}

} // namespace gw::dispatch
