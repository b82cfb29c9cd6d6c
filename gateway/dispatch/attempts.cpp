#include "dispatch/attempts.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace gw::dispatch {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::uint8_t connects_per_candidate = 3; // the first one and two more, a pause apart
constexpr milliseconds connect_pause{100};         // doubles; from half to one and a half of it
constexpr milliseconds unexplained_pause{1'000};   // after a refusal that left nothing behind to wait for

// These answers say that nothing was done: only after them the same upstream may get the request again.
bool is_refusal(outcome what)
{
    return what == outcome::rate_limited || what == outcome::out_of_credits ||
           what == outcome::token_rejected || what == outcome::warming;
}

// What passes by itself while a client waits.
bool worth_waiting_for(outcome why)
{
    switch (why) {
    case outcome::rate_limited:
    case outcome::warming:
    case outcome::unavailable:
    case outcome::timeout:
    case outcome::broken_stream:
        return true;
    case outcome::ok:
    case outcome::out_of_credits:
    case outcome::token_rejected:
    case outcome::unsupported:
    case outcome::too_large:
    case outcome::rejected:
        break;
    }
    return false;
}

bool has_value(const config::token* token)
{
    return token != nullptr && !token->value.empty();
}

bool has_token(const config::upstream& to)
{
    return to.tokens.empty() ? !to.needs_token : std::ranges::any_of(to.tokens, has_value);
}

bool holds(const std::vector<const config::token*>& some, const config::token* one)
{
    return std::ranges::find(some, one) != some.end();
}

// Which of two blocks to wait for: what passes by itself, then what ends first.
void keep_better(std::optional<block>& best, const block& other)
{
    const auto rank = [](const block& one) { return std::pair(!worth_waiting_for(one.because), one.until); };
    if (!best || rank(other) < rank(*best)) {
        best = other;
    }
}

milliseconds since(time_point began, time_point now)
{
    return std::chrono::duration_cast<milliseconds>(now - began);
}

// Without overflow.
time_point later(time_point now, nanoseconds span)
{
    return span >= time_point::max() - now ? time_point::max()
                                           : now + std::chrono::ceil<time_point::duration>(span);
}

} // namespace

attempts::attempts(const policy::plan& plan, standing& now, attempt_options options)
    : plan_(plan), standing_(now), fallback_(plan.entry->fallback), options_(std::move(options)),
      body_whole_(options_.body_whole), seats_(plan.candidates.size())
{
    standing_.budget.enter();
}

attempts::~attempts()
{
    if (now_) {
        take_back(*now_);
    }
    standing_.budget.leave();
}

subject attempts::subject_of(std::size_t candidate, const config::token* with) const
{
    const policy::candidate& one = plan_.candidates[candidate];
    return {.to = one.to, .with = with, .model = one.model, .task = plan_.task};
}

attempts::next_step attempts::next(time_point now)
{
    assert(!now_);
    if (resting_since_) {
        rested_ += now - *resting_since_;
        resting_since_.reset();
    }
    for (seat& one : seats_) {
        one.news.leave(); // whoever still waits sits down again below
    }

    if (over_ || final_ || (written_ && !sendable_)) {
        return end(std::nullopt, now);
    }
    if (now >= options_.deadline) {
        return end(reason::deadline, now);
    }

    // First another token of the pool that was refused: still the same attempt.
    if (again_) {
        const std::size_t candidate = *std::exchange(again_, std::nullopt);
        std::variant<exchange, obstacle> found = consider(candidate, take::next_token, now);
        if (auto* go = std::get_if<exchange>(&found)) {
            return begin(std::move(*go), now);
        }
    }
    if (stopped_ || used_ >= fallback_.attempts) {
        return end(std::nullopt, now);
    }

    // Then who was not asked yet, in the plan's order; then who may be asked again.
    std::size_t looks = seats_.size();
    while (true) {
        std::vector<obstacle> blocked;
        for (const bool tried : {false, true}) {
            for (std::size_t i = 0; i < seats_.size(); ++i) {
                if (seats_[i].out || seats_[i].tried != tried) {
                    continue;
                }
                std::variant<exchange, obstacle> found = consider(i, take::first, now);
                if (auto* go = std::get_if<exchange>(&found)) {
                    for (const obstacle& passed : blocked) {
                        note(passed.candidate, passed.why, now);
                    }
                    return begin(std::move(*go), now);
                }
                blocked.push_back(std::get<obstacle>(std::move(found)));
                if (!tried && stops(blocked.back())) {
                    break;
                }
            }
        }

        // Nobody can be asked now. Who sits down to wait looks once more, since things may have changed
        // meanwhile: a slot that was free just then is his, and nobody wakes him for it.
        bool sat_down = false;
        const std::optional<wait_for> waiting = wait(blocked, now, sat_down);
        if (sat_down && looks != 0) {
            --looks;
            continue;
        }
        if (waiting) {
            return *waiting;
        }
        for (const obstacle& passed : blocked) {
            note(passed.candidate, passed.why, now);
        }
        return end(std::nullopt, now);
    }
}

// Whether `candidate` can be asked now. Holds its slot and its probe when it can, nothing otherwise.
std::variant<attempts::exchange, attempts::obstacle>
attempts::consider(std::size_t candidate, take which, time_point now)
{
    seat& here = seats_[candidate];
    const config::upstream& to = *plan_.candidates[candidate].to;
    if (!has_token(to)) {
        return obstacle{.candidate = candidate, .why = reason::no_token};
    }
    if (which == take::first) {
        if (here.not_before > now) {
            here.slot.leave();
            const block pause{
                .because = here.last ? here.last->what : outcome::unavailable, .until = here.not_before
            };
            return obstacle{.candidate = candidate, .why = reason::cooling, .resting = pause};
        }
        here.refused.clear();
    }

    std::optional<block> least; // of the tokens
    static const config::token* const none = nullptr;
    const config::token* const* tokens = to.tokens.empty() ? &none : to.tokens.data();
    const std::size_t count = std::max<std::size_t>(1, to.tokens.size());
    for (std::size_t i = 0; i < count; ++i) {
        const config::token* with = tokens[i];
        if ((with != nullptr && with->value.empty()) || holds(here.refused, with)) {
            continue;
        }
        const subject who = subject_of(candidate, with);
        if (const std::optional<block> why = standing_.look(who, now)) {
            if (why->waking) {
                standing_.bridge.want(place_of(to, who.model), now);
            }
            keep_better(least, *why);
            continue;
        }

        // A second attempt at an upstream that failed in the last seconds needs the budget.
        exchange made{.candidate = candidate, .with = with, .same = which == take::next_token, .began = now};
        if (!made.same && used_ > 0 && standing_.cooling.failed_recently(who, now)) {
            if (!standing_.budget.take()) {
                here.slot.leave();
                return obstacle{.candidate = candidate, .why = reason::budget};
            }
            made.retry = true;
        }

        // Who waits in its queue gets what is handed over there, everybody else what is free.
        made.slot = here.slot ? here.slot.take() : standing_.room.acquire(to, who.model);
        if (!made.slot) {
            if (made.retry) {
                standing_.budget.give_back();
            }
            return obstacle{.candidate = candidate, .why = reason::full, .slot = true};
        }

        admission in = standing_.cooling.claim(who, body_whole_, now);
        if (in.blocked) {
            if (made.retry) {
                standing_.budget.give_back();
            }
            keep_better(least, *in.blocked);
            continue;
        }
        made.probe = in.probe;
        return made;
    }

    here.slot.leave();
    if (!least) { // every token was refused in this very attempt
        return obstacle{.candidate = candidate, .why = reason::cooling};
    }
    return obstacle{.candidate = candidate, .why = least->why(), .resting = least};
}

attempts::try_it attempts::begin(exchange what, time_point now)
{
    leave_queues();
    used_ += what.same ? 0U : 1U;
    story_.push_back({
        .to = plan_.candidates[what.candidate].to,
        .with = what.with,
        .probe = what.probe != 0,
        .began = now,
    });
    now_ = std::move(what);
    return {.candidate = now_->candidate, .with = now_->with, .probe = now_->probe != 0};
}

// Sits down where waiting helps. Empty: it helps nowhere.
std::optional<attempts::wait_for>
attempts::wait(const std::vector<obstacle>& blocked, time_point now, bool& sat_down)
{
    const time_point patience =
        std::min(options_.deadline, later(now, std::max(nanoseconds::zero(), fallback_.max_wait - rested_)));
    const auto wake = [this]() -> slots::wake_function {
        return options_.waker ? slots::wake_function(options_.waker()) : slots::wake_function();
    };

    bool waits = false;
    bool rests = false;
    wait_for made{.until = options_.deadline};
    for (const obstacle& here : blocked) {
        seat& one = seats_[here.candidate];
        const policy::candidate& candidate = plan_.candidates[here.candidate];
        if (here.slot) {
            if (!one.slot) {
                one.slot = standing_.room.wait_for_slot(*candidate.to, candidate.model, wake());
                sat_down |= static_cast<bool>(one.slot);
            }
            if (one.slot) {
                made.woken = true;
                waits = true;
            }
            continue;
        }
        if (!here.resting || !worth_waiting_for(here.resting->because)) {
            continue;
        }
        const block& why = *here.resting;
        // When it is over is known, unless somebody finds out at this moment.
        const bool known = !why.probing && !(why.waking && why.until <= now + cooldowns::waking_look);
        if (!why.wants_body && (patience <= now || (known && why.until > patience))) {
            continue; // waited long enough, or its time is told and too far away
        }
        if (!one.news) {
            one.news = standing_.room.wait_for_news(*candidate.to, candidate.model, wake());
            if (!one.news) {
                continue; // enough wait there
            }
            sat_down = true;
        }
        made.woken = true;
        if (why.wants_body) {
            made.body = true; // the client's own time
            waits = true;
        } else {
            made.until = std::min({made.until, why.until, patience});
            rests = true;
        }
    }
    if (!waits && !rests) {
        return std::nullopt;
    }
    if (rests) {
        resting_since_ = now;
    }
    return made;
}

// Nothing more is tried: what the client gets. Who could not be asked gets a last look, for the time to tell.
attempts::give_up attempts::end(std::optional<reason> because, time_point now)
{
    over_ = true;
    last_answer answer;
    for (std::size_t i = 0; i < seats_.size(); ++i) {
        seat& here = seats_[i];
        const config::upstream& to = *plan_.candidates[i].to;
        if (because && !here.tried && !here.out) {
            note(i, *because, now);
        }
        if (here.skipped) {
            answer.skipped(*here.skipped);
            continue;
        }
        if (!has_token(to)) {
            answer.no_token(to);
            continue;
        }

        // When the first of its tokens is free. One that is free now needs no word.
        std::optional<block> least;
        bool free = false;
        const auto look = [&](const config::token* with) {
            if (const std::optional<block> why = standing_.look(subject_of(i, with), now)) {
                keep_better(least, *why);
            } else {
                free = true;
            }
        };
        if (to.tokens.empty()) {
            look(nullptr);
        }
        for (const config::token* with : to.tokens) {
            if (has_value(with)) {
                look(with);
            }
        }

        const bool rests = !free && least;
        if (here.last) {
            const time_point free_at = rests ? least->until : std::max(here.not_before, now);
            answer.told(to, *here.last, free_at - now);
        }
        if (here.slot || here.noted == reason::full) {
            answer.full(to);
        }
        if (rests && (here.noted || (here.last && here.last->what != least->because))) {
            answer.resting(to, *least, least->until - now);
        }
    }
    if (because == reason::deadline) {
        answer.deadline();
    }
    leave_queues();
    return {.last = final_ ? *final_ : answer.best()};
}

// The reason stands once in the story, and not for a candidate that was asked.
void attempts::note(std::size_t candidate, reason why, time_point now)
{
    seat& here = seats_[candidate];
    if (why == reason::no_token) {
        here.out = true;
    }
    if (here.tried || here.noted == why) {
        return;
    }
    here.noted = why;
    story_.push_back({.to = plan_.candidates[candidate].to, .skipped = why, .began = now});
}

void attempts::skip(std::size_t candidate, reason because, failure why)
{
    time_point now{};
    if (now_ && now_->candidate == candidate) {
        now = now_->began;
        take_back(*now_);
        now_.reset();
    }
    seats_[candidate].out = true;
    seats_[candidate].skipped = std::move(why);
    note(candidate, because, now);
}

bool attempts::sending(time_point now)
{
    assert(now_);
    if (now_->written) {
        return true; // a further exchange of the same conversation
    }
    if (!standing_.cooling.confirm(subject_of(now_->candidate, now_->with), now_->probe, now)) {
        take_back(*now_);
        now_.reset();
        return false;
    }
    now_->written = true;
    now_->sent = now;
    written_ = true;
    return true;
}

void attempts::content(int status, time_point now)
{
    if (!now_) {
        return;
    }
    committed_ = true;
    story_.back().status = status;
    story_.back().took = since(now_->began, now);
    standing_.proven(subject_of(now_->candidate, now_->with), now_->probe, now_->sent);
}

void attempts::told(const verdict& what, time_point now, wall_time wall)
{
    if (!now_) {
        return; // it was taken back: too late for the probe, or skipped
    }
    exchange done = std::move(*now_);
    now_.reset();
    verdict is = what;
    if (committed_ && is.what != outcome::ok) {
        is.what = outcome::broken_stream;
        is.where = scope::upstream;
        is.status = 0;
    }

    // What everybody learns of it.
    const subject who = subject_of(done.candidate, done.with);
    const time_point sent = done.written ? done.sent : done.began;
    standing_.learn(who, {.what = is, .sent = sent, .probe = done.probe}, done.slot, now, wall);
    settle(done, now);
    story_entry& entry = story_.back();
    entry.what = is.what;
    entry.status = what.status != 0 ? what.status : entry.status;

    // What this request does next.
    seat& here = seats_[done.candidate];
    here.tried = true;
    if (is.what == outcome::ok) {
        over_ = true;
        return;
    }
    if (is.what == outcome::rejected || is.what == outcome::broken_stream) {
        final_ = to_failure(*who.to, is);
        over_ = true;
        return;
    }
    const bool untouched = is.connect_failed || !done.written;
    if (is_refusal(is.what)) {
        here.refused.push_back(done.with);
        again_ = done.candidate;
        const bool explained = standing_.look(who, now).has_value() ||
                               (is.what == outcome::rate_limited &&
                                who.to->kind != config::kind::serverless && is.where != scope::none);
        here.not_before =
            explained
                ? time_point::min()
                : later(
                      now, std::max<nanoseconds>(unexplained_pause, is.retry_after.value_or(milliseconds{}))
                  );
    } else if (untouched) {
        ++here.connects;
        const bool repeat = is.what == outcome::unavailable && is.as_code != code::upstream_tls &&
                            here.connects < connects_per_candidate;
        here.out = !repeat;
        here.not_before = later(now, pause(here.connects));
    } else {
        spend(who.to);
    }
    stopped_ = !untouched && !fallback_.on.contains(is.what); // of a pool, the last token's answer
    here.last = std::move(is);
}

void attempts::left(time_point now, reason why)
{
    over_ = true;
    leave_queues();
    if (now_) {
        exchange done = std::move(*now_);
        now_.reset();
        standing_.give_back(subject_of(done.candidate, done.with), done.probe);
        settle(done, now);
        story_.back().skipped = why;
    }
}

void attempts::out_of_time(time_point now)
{
    options_.deadline = std::min(options_.deadline, now);
    if (now_) {
        exchange done = std::move(*now_);
        now_.reset();
        standing_.give_back(subject_of(done.candidate, done.with), done.probe);
        settle(done, now);
        story_.back().skipped = reason::deadline;
        seats_[done.candidate].tried = true;
        seats_[done.candidate].out = true;
    }
}

// As if next() had not proposed it.
void attempts::take_back(exchange& what)
{
    standing_.give_back(subject_of(what.candidate, what.with), what.probe);
    if (what.retry) {
        standing_.budget.give_back();
    }
    what.slot.release();
    used_ -= what.same ? 0U : 1U;
    story_.pop_back();
}

void attempts::settle(exchange& what, time_point now)
{
    if (what.retry) {
        standing_.budget.give_back();
    }
    what.slot.release();
    story_.back().took = since(what.began, now);
}

void attempts::leave_queues()
{
    for (seat& one : seats_) {
        one.slot.leave();
        one.news.leave();
    }
}

void attempts::spend(const config::upstream* to)
{
    for (std::size_t i = 0; i < seats_.size(); ++i) {
        if (plan_.candidates[i].to == to) {
            seats_[i].out = true;
        }
    }
}

// Whether the policy wants the client to hear of this rather than go on. A request that was not sent may pass
// by an upstream that timed out, whatever the policy says of one that was.
bool attempts::stops(const obstacle& here) const
{
    if (here.slot) {
        return !fallback_.on.contains(outcome::rate_limited);
    }
    if (!here.resting) {
        return false;
    }
    const outcome why = here.resting->because;
    return why != outcome::timeout && why != outcome::broken_stream && !fallback_.on.contains(why);
}

nanoseconds attempts::pause(unsigned times)
{
    options_.random = options_.random * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto part = static_cast<std::int64_t>(options_.random >> 54U); // 0 to 1023
    const nanoseconds base = connect_pause * (1U << (times - 1));
    return base / 2 + base * part / 1024;
}

bool attempts::may_fall_back() const
{
    if (committed_ || over_ || !sendable_) {
        return false;
    }
    // Even alone, an upstream that rests for a moment may get it again.
    return another_candidate_left() || used_ < fallback_.attempts;
}

bool attempts::another_candidate_left() const
{
    if (committed_ || over_ || stopped_ || !sendable_) {
        return false;
    }
    const config::upstream* asked = nullptr;
    if (now_) {
        const policy::candidate& one = plan_.candidates[now_->candidate];
        asked = one.to;
        const auto untried = [&](const config::token* token) {
            return has_value(token) && token != now_->with && !holds(seats_[now_->candidate].refused, token);
        };
        if (std::ranges::any_of(one.to->tokens, untried)) {
            return true;
        }
    }
    if (used_ >= fallback_.attempts) {
        return false;
    }
    for (std::size_t i = 0; i < seats_.size(); ++i) {
        if (!seats_[i].out && plan_.candidates[i].to != asked && has_token(*plan_.candidates[i].to)) {
            return true;
        }
    }
    return false;
}

std::string attempts::route() const
{
    std::string text;
    for (const story_entry& one : story_) {
        std::string word;
        if (one.skipped) {
            word = to_string(*one.skipped);
        } else if (one.what == outcome::ok) {
            word = std::to_string(one.status == 0 ? 200 : one.status);
        } else if (one.what && (one.status < 300 || *one.what == outcome::broken_stream)) {
            word = to_string(*one.what); // an error inside a 200, or no answer at all
        } else if (one.status != 0) {
            word = std::to_string(one.status);
        } else {
            continue; // in progress
        }
        text += text.empty() ? "" : " ";
        text += one.to->name + "(" + word + ")";
    }
    return text;
}

story_entry* attempts::current()
{
    return now_ ? &story_.back() : nullptr;
}

} // namespace gw::dispatch
