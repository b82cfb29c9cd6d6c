#include "dispatch/cooldowns.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace gw::dispatch {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes stale_after{5};

constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b)
{
    std::uint64_t x = a ^ (b + 0x9e3779b97f4a7c15ULL + (a << 6U) + (a >> 2U));
    x ^= x >> 31U;
    x *= 0xbf58476d1ce4e5b9ULL;
    return x ^ (x >> 29U);
}

std::uint64_t hash_of(std::string_view text)
{
    return std::hash<std::string_view>{}(text);
}

// What is cooled down together: everything behind one origin and base path (one host may carry several services).
// A worker is a process for each model, and an upstream whose host is not known yet is only itself. Never 0.
std::uint64_t place_of(const subject& who)
{
    if (who.to->run) {
        return mix(who.to->id, hash_of(who.model)) | 1U;
    }
    return (who.to->at.origin.empty() ? mix(who.to->id, 1)
                                      : mix(hash_of(who.to->at.origin), hash_of(who.to->at.base_path))) |
           1U;
}

// Credits belong to whoever is billed.
std::uint64_t purse_of(const config::token& token)
{
    return token.bill_to.empty() ? token.hash : mix(token.hash, hash_of(token.bill_to));
}

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

// What a mark is counted under: its upstream, or its token when it is of no single one.
constexpr std::uint64_t near_hash(std::uint64_t place, std::uint64_t token)
{
    return place != 0 ? place : token;
}

// Where a scope's key stands among a subject's keys. REQUIRES at is not none.
constexpr std::size_t index_of(scope at)
{
    return static_cast<std::size_t>(at) - 1;
}

// Timeouts and broken streams are the upstream's own, whatever was asked of it.
scope scope_of(const verdict& what)
{
    return what.what == outcome::timeout || what.what == outcome::broken_stream ? scope::upstream
                                                                                : what.where;
}

} // namespace

cooldowns::cooldowns(std::size_t capacity)
    : capacity_(std::clamp<std::size_t>(capacity, 16, 60'000)
      ) // a cell of the counts must be able to count them all
      ,
      hand_(used_.end())
{
    by_key_.reserve(64);
}

// The keys that concern `who`, in the order of `scope`.
cooldowns::keys cooldowns::keys_of(const subject& who)
{
    const std::uint64_t place = place_of(who);
    const std::uint64_t token = who.with == nullptr ? 0 : who.with->hash;
    const std::uint64_t model = hash_of(who.model);

    keys all;
    const auto set = [&all](key of, std::uint64_t hash) {
        hash = mix(mix(hash, of.token), mix(of.place, index_of(of.where) + 1));
        of.hash = static_cast<std::size_t>(hash);
        all[index_of(of.where)] = of;
    };
    set({.where = scope::token_model, .token = token, .place = place, .model = who.model}, model);
    set({.where = scope::token_upstream, .token = token, .place = place}, 0);
    if (who.with != nullptr && who.to->kind == config::kind::serverless) {
        set({.where = scope::token_serverless, .token = purse_of(*who.with)}, 0);
    }
    if (who.with != nullptr) {
        set({.where = scope::token_everywhere, .token = token}, 0);
    }
    const auto task = static_cast<std::uint64_t>(std::hash<const task_info*>{}(who.task));
    set({.where = scope::model_task, .place = place, .task = who.task, .model = who.model}, mix(model, task));
    set({.where = scope::upstream, .place = place}, 0);
    return all;
}

bool cooldowns::quiet(const subject& who) const
{
    const auto none = [this](std::uint64_t hash) {
        return cell(near_, hash).load(std::memory_order_relaxed) == 0;
    };
    if (size() == 0) {
        return true;
    }
    return none(place_of(who)) &&
           (who.with == nullptr || (none(who.with->hash) && none(purse_of(*who.with))));
}

bool cooldowns::quiet(const keys& of) const
{
    return std::ranges::none_of(of, [this](const key& one) {
        return one.where != scope::none && cell(exact_, one.hash).load(std::memory_order_relaxed) != 0;
    });
}

cooldowns::mark* cooldowns::find(const key& of) const
{
    if (of.where == scope::none) {
        return nullptr;
    }
    const auto found = by_key_.find(of);
    return found == by_key_.end() ? nullptr : &*found->second;
}

cooldowns::mark* cooldowns::use(const key& of, time_point now)
{
    if (of.where == scope::none) {
        return nullptr;
    }
    const auto found = by_key_.find(of);
    if (found == by_key_.end()) {
        return nullptr;
    }
    used_.splice(used_.begin(), used_, found->second);
    found->second->wanted = now;
    return &*found->second;
}

cooldowns::mark& cooldowns::make(const key& of, const subject& who, time_point now)
{
    if (mark* found = use(of, now)) {
        return *found;
    }
    if (by_key_.size() >= capacity_) {
        erase(std::prev(used_.end()));
        evicted_.fetch_add(1, std::memory_order_relaxed);
    }
    mark& made = used_.emplace_front();
    made.model = of.model;
    made.of = of;
    made.of.model = made.model;
    made.upstream = who.to->name;
    made.token = who.with == nullptr ? std::string() : who.with->name;
    made.wanted = now;
    by_key_.emplace(made.of, used_.begin());
    cell(near_, near_hash(made.of.place, made.of.token)).fetch_add(1, std::memory_order_relaxed);
    cell(exact_, made.of.hash).fetch_add(1, std::memory_order_relaxed);
    size_.store(by_key_.size(), std::memory_order_relaxed);
    return made;
}

void cooldowns::erase(marks::iterator which)
{
    if (hand_ == which) {
        ++hand_;
    }
    cell(near_, near_hash(which->of.place, which->of.token)).fetch_sub(1, std::memory_order_relaxed);
    cell(exact_, which->of.hash).fetch_sub(1, std::memory_order_relaxed);
    by_key_.erase(which->of);
    used_.erase(which);
    size_.store(by_key_.size(), std::memory_order_relaxed);
}

// Forgets what is long over, two marks a call, so that an upstream becomes quiet again even if nobody asks
// for the model that once was limited there.
void cooldowns::sweep(time_point now)
{
    for (int i = 0; i < 2 && !used_.empty(); ++i) {
        if (hand_ == used_.end()) {
            hand_ = used_.begin();
        }
        const marks::iterator here = hand_++;
        const time_point last =
            std::max({here->until, here->failed, here->probe_ends, here->limited_until, here->wanted});
        if (last < now - stale_after) {
            erase(here);
        }
    }
}

std::optional<block> cooldowns::blocking(const keys& of, time_point now) const
{
    std::optional<block> worst;
    for (const key& one : of) {
        const mark* found = find(one);
        if (found == nullptr || !found->blocks()) {
            continue;
        }
        const bool cooling = found->until > now;
        if (!cooling && !found->probed(now)) {
            continue;
        }
        // All that cool must be over: the last one to end counts, and a cooldown more than a probe.
        const block here{
            .because = found->why, .probing = !cooling, .until = cooling ? found->until : found->probe_ends
        };
        if (!worst || (worst->probing && cooling) ||
            (worst->probing == here.probing && here.until > worst->until)) {
            worst = here;
        }
    }
    return worst;
}

std::optional<block> cooldowns::look(const subject& who, time_point now) const
{
    if (quiet(who)) {
        return std::nullopt;
    }
    const keys of = keys_of(who);
    if (quiet(of)) {
        return std::nullopt;
    }
    const std::lock_guard hold(lock_);
    return blocking(of, now);
}

admission cooldowns::claim(const subject& who, bool may_probe, time_point now)
{
    if (quiet(who)) {
        return {};
    }
    const keys of = keys_of(who);
    if (quiet(of)) {
        return {};
    }

    const std::lock_guard hold(lock_);
    sweep(now);
    std::array<mark*, 6> due{};
    std::size_t count = 0;
    for (const key& one : of) {
        mark* found = use(one, now);
        if (found != nullptr && found->blocks()) {
            due[count++] = found;
        }
    }
    if (count == 0) {
        return {};
    }
    if (std::optional<block> blocked = blocking(of, now)) {
        return {.blocked = blocked};
    }
    if (!may_probe) {
        return {.blocked = block{.because = due[0]->why, .wants_body = true, .until = now + probe_time}};
    }

    // Every mark whose time is over is probed at once, since this request goes past all of them.
    const probe_id id = ++last_probe_;
    for (std::size_t i = 0; i < count; ++i) {
        due[i]->prober = id;
        due[i]->probe_ends = now + probe_time;
    }
    return {.probe = id};
}

bool cooldowns::confirm(const subject& who, probe_id probe, time_point now)
{
    if (probe == 0) {
        return true;
    }
    const keys of = keys_of(who);
    const std::lock_guard hold(lock_);

    // Gone marks are fine: the crowd was let in meanwhile. Others must still be this one's.
    for (const key& one : of) {
        const mark* found = find(one);
        if (found != nullptr && found->blocks() &&
            (found->until > now || (found->prober != probe && found->probed(now)))) {
            return false;
        }
    }
    for (const key& one : of) {
        mark* found = find(one);
        if (found != nullptr && found->blocks()) {
            found->prober = probe;
            found->probe_ends = now + probe_time;
        }
    }
    return true;
}

bool cooldowns::release(const keys& of, probe_id probe)
{
    bool changed = false;
    for (const key& one : of) {
        mark* found = probe == 0 ? nullptr : find(one);
        if (found != nullptr && found->prober == probe) {
            found->prober = 0;
            changed = true;
        }
    }
    return changed;
}

bool cooldowns::give_back(const subject& who, probe_id probe)
{
    if (probe == 0) {
        return false;
    }
    const std::lock_guard hold(lock_);
    return release(keys_of(who), probe);
}

bool cooldowns::proven(const subject& who, probe_id probe, time_point sent)
{
    if (probe == 0) {
        return false;
    }
    const keys of = keys_of(who);
    const std::lock_guard hold(lock_);
    release(of, probe);

    // The back-off and the count stay until the answer has ended well: a stream may still break.
    bool changed = false;
    for (const key& one : of) {
        mark* found = find(one);
        if (found != nullptr && found->blocks() && sent >= found->until) {
            found->until = time_point::min();
            found->prober = 0;
            changed = true;
        }
    }
    return changed;
}

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
    const milliseconds rest = back_off(first_back_off, longest_back_off, here.level++);
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
        return rest_for(told(what).value_or(back_off(first_back_off, longest_back_off, level()))) || changed;
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

bool cooldowns::failed_recently(const subject& who, time_point now) const
{
    if (quiet(who)) {
        return false;
    }
    const keys of = keys_of(who);
    if (quiet(of)) {
        return false;
    }
    const std::lock_guard hold(lock_);
    return std::ranges::any_of(of, [&](const key& one) {
        const mark* found = find(one);
        return found != nullptr && found->failed > now - recent;
    });
}

bool cooldowns::warmed(const config::upstream& to, std::string_view model)
{
    const std::uint64_t place = place_of({.to = &to, .model = model});
    const std::lock_guard hold(lock_);
    bool changed = false;
    for (auto at = used_.begin(); at != used_.end();) {
        const auto here = at++;
        // A whole upstream that slept is awake for every model.
        const bool same =
            here->of.place == place && (here->of.where == scope::upstream || here->of.model == model);
        if (same && here->blocks() && here->why == outcome::warming) {
            erase(here);
            changed = true;
        }
    }
    return changed;
}

std::vector<cooldown_view> cooldowns::view(time_point now) const
{
    std::vector<cooldown_view> all;
    const std::lock_guard hold(lock_);
    for (const mark& here : used_) {
        if (!here.blocks()) {
            continue;
        }
        const auto ms = [](auto span) { return std::chrono::ceil<milliseconds>(span); };
        all.push_back({
            .where = here.of.where,
            .upstream = here.of.place == 0 ? std::string() : here.upstream,
            .token = here.of.token == 0 ? std::string() : here.token,
            .model = here.model,
            .task = here.of.task,
            .why = here.why,
            .remaining = here.until > now ? ms(here.until - now) : milliseconds::zero(),
            .failures = here.in_a_row,
            .probing = here.until <= now && here.probed(now),
            .unwanted = now > here.wanted ? ms(now - here.wanted) : milliseconds::zero(),
        });
    }
    return all;
}

} // namespace gw::dispatch
