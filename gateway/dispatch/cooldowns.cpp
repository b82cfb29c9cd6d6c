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

// Credits belong to whoever is billed.
std::uint64_t purse_of(const config::token& token)
{
    return token.bill_to.empty() ? token.hash : mix(token.hash, hash_of(token.bill_to));
}

// What a mark is counted under: its upstream, or its token when it is of no single one.
constexpr std::uint64_t near_hash(std::uint64_t place, std::uint64_t token)
{
    return place != 0 ? place : token;
}

} // namespace

std::uint64_t place_of(const config::upstream& to, std::string_view model)
{
    if (to.run) {
        return mix(to.id, hash_of(model)) | 1U;
    }
    return (to.at.origin.empty() ? mix(to.id, 1) : mix(hash_of(to.at.origin), hash_of(to.at.base_path))) | 1U;
}

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
    const std::uint64_t place = place_of(*who.to, who.model);
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
    return none(place_of(*who.to, who.model)) &&
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
        if (last < now - stale_after && !here->held) {
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
        const bool cooling = found->until > now || found->held;
        if (!cooling && !found->probed(now)) {
            continue;
        }
        // All that cool must be over: the last one to end counts, and a cooldown more than a probe.
        block here{
            .because = found->why, .probing = !cooling, .until = cooling ? found->until : found->probe_ends
        };
        if (found->held) {
            here.because = outcome::warming;
            here.waking = true;
            here.until = std::max(found->until, now + waking_look);
        }
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
            (found->until > now || found->held || (found->prober != probe && found->probed(now)))) {
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
    const std::uint64_t place = place_of(to, model);
    const std::lock_guard hold(lock_);
    bool changed = false;
    for (auto at = used_.begin(); at != used_.end();) {
        const auto here = at++;
        // A whole upstream that slept is awake for every model.
        const bool same =
            here->of.place == place && (here->of.where == scope::upstream || here->of.model == model);
        if (same && here->blocks() && (here->held || here->why == outcome::warming)) {
            erase(here);
            changed = true;
        }
    }
    return changed;
}

void cooldowns::hold(
    const config::upstream& to, std::optional<std::chrono::milliseconds> waits, time_point now
)
{
    const subject who{.to = &to, .with = nullptr, .model = {}, .task = nullptr};
    const keys of = keys_of(who);
    const std::lock_guard hold_lock(lock_);
    mark& here = make(of[index_of(scope::upstream)], who, now);
    here.held = true;
    here.why = outcome::warming;
    here.prober = 0;
    here.until = std::max(
        here.until,
        now + std::clamp<milliseconds>(waits.value_or(milliseconds::zero()), milliseconds::zero(), longest)
    );
}

void cooldowns::let_go(const config::upstream& to, bool asleep, time_point now)
{
    const subject who{.to = &to, .with = nullptr, .model = {}, .task = nullptr};
    const keys of = keys_of(who);
    const std::lock_guard hold_lock(lock_);
    mark* here = find(of[index_of(scope::upstream)]);
    if (here == nullptr || !here->held) {
        return;
    }
    here->held = false;
    here->until = now;
    if (!asleep) {
        here->why = outcome::unavailable;
        here->until += first_back_off;
        here->failed = now;
    }
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
