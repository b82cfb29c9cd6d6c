// What the tests of dispatch stand on: a small world of upstreams and tokens with its own clock, and one
// request walking through it. Steps are compared as sentences ("try router with acme"), so that a failure
// reads as one.
#pragma once

#include "dispatch/attempts.hpp"
#include "dispatch/standing.hpp"

#include <chrono>
#include <deque>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

namespace gw::dispatch::testing {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

// Sunday, 15 November 2026, noon UTC.
inline const wall_time mid_november{std::chrono::sys_days{std::chrono::year{2026} / 11 / 15} + 12h};

// Answers as adapters classify them.
inline verdict answer(outcome what, scope where, int status, milliseconds told = 0ms)
{
    verdict is{.what = what, .where = where, .status = status};
    if (told > 0ms) {
        is.retry_after = told;
    }
    return is;
}
inline verdict ok()
{
    return answer(outcome::ok, scope::none, 200);
}
inline verdict limited(milliseconds told = 0ms)
{
    return answer(outcome::rate_limited, scope::token_model, 429, told);
}
inline verdict no_credits()
{
    return answer(outcome::out_of_credits, scope::token_serverless, 402);
}
inline verdict revoked(scope where = scope::token_upstream)
{
    return answer(outcome::token_rejected, where, 401);
}
inline verdict gated()
{
    return answer(outcome::token_rejected, scope::token_model, 403);
}
inline verdict warming(milliseconds told = 0ms)
{
    return answer(outcome::warming, scope::model_task, 503, told);
}
inline verdict broken(int status = 503)
{
    return answer(outcome::unavailable, status == 500 ? scope::model_task : scope::upstream, status);
}
inline verdict reset()
{
    return {.what = outcome::unavailable, .where = scope::upstream};
}
inline verdict refused()
{
    return {.what = outcome::unavailable, .where = scope::upstream, .connect_failed = true};
}
inline verdict slow()
{
    return {.what = outcome::timeout, .where = scope::upstream};
}
inline verdict unsupported(bool for_good = false)
{
    verdict is = answer(outcome::unsupported, scope::model_task, 404);
    is.permanent = for_good;
    return is;
}
inline verdict too_large()
{
    return answer(outcome::too_large, scope::none, 413);
}
inline verdict rejected(int status = 422)
{
    verdict is = answer(outcome::rejected, scope::none, status);
    is.text = "top_k must be positive";
    return is;
}

class world
{
public:
    standing state;
    time_point now = time_point{} + std::chrono::hours(100);
    wall_time wall = mid_november;

    void pass(std::chrono::nanoseconds span)
    {
        now += span;
        wall += std::chrono::duration_cast<wall_time::duration>(span);
    }

    config::token& token(const std::string& name, const std::string& secret, const std::string& bill_to = "")
    {
        config::token& made = tokens_.emplace_back();
        made.name = name;
        made.value = config::secret(secret);
        made.bill_to = bill_to;
        made.hash = std::hash<std::string>{}(secret);
        return made;
    }

    config::upstream& upstream(
        const std::string& name, config::kind kind, std::initializer_list<const config::token*> tokens = {}
    )
    {
        config::upstream& made = upstreams_.emplace_back();
        made.name = name;
        made.kind = kind;
        made.at.origin = "https://" + name + ".example:443";
        made.tokens = tokens;
        made.needs_token = kind == config::kind::serverless;
        made.id = std::hash<std::string>{}(name);
        return made;
    }
    config::upstream& dedicated(const std::string& name) { return upstream(name, config::kind::dedicated); }

    // A route to `to`, each asked for `model`, with the default fallback of the policy.
    policy::plan&
    route(std::initializer_list<const config::upstream*> to, const std::string& model = "org/model")
    {
        config::model_entry& entry = entries_.emplace_back();
        entry.name = model;
        entry.fallback.on = {
            outcome::rate_limited,
            outcome::out_of_credits,
            outcome::token_rejected,
            outcome::warming,
            outcome::unavailable,
            outcome::unsupported,
            outcome::too_large,
        };
        policy::plan& made = plans_.emplace_back();
        made.entry = &entry;
        made.model = model;
        for (const config::upstream* one : to) {
            made.candidates.push_back({.to = one, .model = model});
        }
        return made;
    }
    config::fallback& fallback_of(const policy::plan& plan)
    {
        for (config::model_entry& one : entries_) {
            if (&one == plan.entry) {
                return one.fallback;
            }
        }
        std::abort();
    }

    // Whether a fresh request would be kept from `to`, in words.
    std::string
    standing_of(const config::upstream& to, const config::token* with, const std::string& model = "org/model")
    {
        const auto why = state.look({.to = &to, .with = with, .model = model}, now);
        if (!why) {
            return "free";
        }
        const auto left = std::chrono::duration_cast<milliseconds>(why->until - now).count();
        return std::string(to_string(why->why())) + " for " + std::to_string(left) + " ms";
    }

private:
    std::deque<config::token> tokens_;
    std::deque<config::upstream> upstreams_;
    std::deque<config::model_entry> entries_;
    std::deque<policy::plan> plans_;
};

// One request. Every function that lets it go on returns what it wants next, as a sentence.
class walker
{
public:
    walker(world& here, const policy::plan& plan, attempt_options options = {})
        : here_(here), plan_(plan), woken_(std::make_shared<int>(0))
    {
        if (!options.waker) {
            options.waker = [count = woken_] { return [count] { ++*count; }; };
        }
        its = std::make_unique<attempts>(plan, here.state, std::move(options));
    }

    std::string next()
    {
        step_ = its->next(here_.now);
        return say(step_);
    }

    // Writes the head, gets `what`, asks on.
    std::string gets(const verdict& what)
    {
        if (!its->sending(here_.now)) {
            return "may not send";
        }
        its->told(what, here_.now, here_.wall);
        return next();
    }
    // The connection fails before a byte is written.
    std::string cannot_connect(const verdict& what = refused())
    {
        its->told(what, here_.now, here_.wall);
        return next();
    }
    void succeeds()
    {
        must(its->sending(here_.now));
        its->told(ok(), here_.now, here_.wall);
    }
    // To the end of a wait by its timer.
    std::string waits()
    {
        const auto& step = std::get<attempts::wait_for>(step_);
        here_.pass(step.until - here_.now);
        return next();
    }

    [[nodiscard]] int woken() const { return *woken_; }
    [[nodiscard]] std::string route() const { return its->route(); }
    [[nodiscard]] const attempts::next_step& step() const { return step_; }
    void leaves() { its.reset(); }

    std::unique_ptr<attempts> its;

    std::string say(const attempts::next_step& step) const
    {
        if (const auto* go = std::get_if<attempts::try_it>(&step)) {
            std::string text = "try " + plan_.candidates[go->candidate].to->name;
            text += go->with == nullptr ? "" : " with " + go->with->name;
            return text + (go->probe ? " as the probe" : "");
        }
        if (const auto* wait = std::get_if<attempts::wait_for>(&step)) {
            const bool ever = wait->until == time_point::max();
            const auto span = std::chrono::duration_cast<milliseconds>(wait->until - here_.now).count();
            std::string text = ever ? "wait for ever" : "wait " + std::to_string(span) + " ms";
            text += wait->woken ? " or for news" : "";
            return text + (wait->body ? " or for the body" : "");
        }
        const failure& last = std::get<attempts::give_up>(step).last;
        std::string text =
            "give up: " + std::string(to_string(last.what)) + " " + std::to_string(last.http_status());
        return text + (last.retry_after ? " after " + std::to_string(last.retry_after->count()) + " s" : "");
    }

private:
    static void must(bool holds)
    {
        if (!holds) {
            std::abort();
        }
    }

    world& here_;
    const policy::plan& plan_;
    std::shared_ptr<int> woken_;
    attempts::next_step step_;
};

} // namespace gw::dispatch::testing
