// Many requests at once in random order against upstreams that answer at random: what must hold whatever
// happens. The model beside it knows only what was sent and what came back.
#include "world.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace gw::dispatch::testing {
namespace {

bool refusal(outcome what)
{
    return what == outcome::rate_limited || what == outcome::out_of_credits ||
           what == outcome::token_rejected || what == outcome::warming;
}

// One request of the model.
struct client
{
    policy::plan* plan = nullptr;
    std::shared_ptr<bool> woken = std::make_shared<bool>(false);
    std::unique_ptr<attempts> machine;
    std::optional<attempts::try_it> trying;
    std::optional<attempts::wait_for> waiting;
    bool sent = false;
    bool committed = false;
    time_point deadline;
    std::set<const config::upstream*> spent; // got the POST and did not refuse it
    std::optional<outcome> last;             // of the last attempt
    bool last_sent = false;                  // it was sent
    std::uint32_t visits = 0;                // attempts by our own count
    std::optional<std::size_t> visiting; // the candidate of the last attempt, as long as nothing came between
    std::set<const config::token*> pool; // tokens tried in it
    bool counted = false;                // the exchange in progress began an attempt
    bool done = false;
};

class storm
{
public:
    explicit storm(std::uint32_t seed) : any_(seed)
    {
        const config::token* tokens[] = {
            &w_.token("a", "hf_a"),
            &w_.token("b", "hf_b"),
            &w_.token("c", "hf_c", "company"),
            &w_.token("none", "")
        };
        for (int i = 0; i < 5; ++i) {
            const auto kind = static_cast<config::kind>(any_() % 4);
            config::upstream& made = w_.upstream("u" + std::to_string(i), kind);
            for (const config::token* one : tokens) {
                if (any_() % 2 == 0) {
                    made.tokens.push_back(one);
                }
            }
            made.max_in_flight = any_() % 3 == 0 ? 1 + any_() % 3 : 0;
            made.max_waiting = any_() % 6;
            upstreams_.push_back(&made);
        }
        for (int i = 0; i < 4; ++i) {
            policy::plan& made = w_.route({}, "m" + std::to_string(i));
            const std::size_t many = 1 + any_() % 4;
            for (std::size_t k = 0; k < many; ++k) {
                const std::string model = any_() % 4 == 0 ? "alias" : made.model;
                made.candidates.push_back({.to = upstreams_[any_() % upstreams_.size()], .model = model});
            }
            config::fallback& rule = w_.fallback_of(made);
            rule.attempts = 1 + static_cast<std::uint32_t>(any_() % 4);
            rule.max_wait = milliseconds(any_() % 40'000);
            for (const outcome one :
                 {outcome::rate_limited, outcome::unavailable, outcome::warming, outcome::timeout}) {
                if (any_() % 4 == 0) {
                    rule.on.contains(one) ? void(rule.on.erase(one)) : void(rule.on.insert(one));
                }
            }
            plans_.push_back(&made);
        }
    }

    void run(int steps)
    {
        for (int i = 0; i < steps; ++i) {
            if (clients_.size() < 40 && any_() % 3 == 0) {
                arrives();
            }
            if (!clients_.empty()) {
                const std::size_t which = any_() % clients_.size();
                step(clients_[which]);
                if (clients_[which].done) {
                    clients_[which] = std::move(clients_.back());
                    clients_.pop_back();
                }
            }
            if (any_() % 4 == 0) {
                w_.pass(milliseconds(any_() % 700));
            }
            one_probe_each();
        }

        // Nothing is left behind by those who leave.
        clients_.clear();
        const standing_counters end = w_.state.counters();
        EXPECT_EQ(end.active_requests, 0);
        EXPECT_EQ(end.active_retries, 0);
        EXPECT_EQ(end.waiting, 0U);
        for (const slots_view& one : w_.state.places()) {
            EXPECT_EQ(one.in_flight, 0U) << one.upstream;
        }
        for (const cooldown_view& one : w_.state.resting(w_.now)) {
            EXPECT_FALSE(one.probing) << one.upstream << one.token;
        }
        EXPECT_GT(finished_, steps / 100) << "the storm must get somewhere";
    }

private:
    void arrives()
    {
        client made;
        made.plan = plans_[any_() % plans_.size()];
        made.deadline = w_.now + milliseconds(any_() % 60'000);
        const auto wake = made.woken;
        made.machine = std::make_unique<attempts>(
            *made.plan,
            w_.state,
            attempt_options{
                .deadline = made.deadline,
                .body_whole = any_() % 4 != 0,
                .random = any_(),
                .waker = [wake] { return [wake] { *wake = true; }; },
            }
        );
        clients_.push_back(std::move(made));
    }

    void step(client& who)
    {
        if (any_() % 50 == 0) {
            who.machine->left(w_.now);
            who.done = true;
            return;
        }
        if (who.trying) {
            goes_on(who);
            return;
        }
        if (who.waiting && w_.now < who.waiting->until && !*who.woken) {
            if (who.waiting->body && any_() % 3 == 0) {
                who.machine->body_arrived();
            } else if (any_() % 10 != 0) { // a spurious look is allowed
                return;
            }
        }
        who.waiting.reset();
        *who.woken = false;
        take(who, who.machine->next(w_.now));
    }

    void take(client& who, const attempts::next_step& next)
    {
        if (const auto* last = std::get_if<attempts::give_up>(&next)) {
            const failure& is = last->last;
            EXPECT_EQ(is.http_status() == 429, is.retry_after.has_value()) << to_string(is.what);
            EXPECT_GE(is.retry_after.value_or(1s), 1s);
            EXPECT_FALSE(is.text.empty());
            EXPECT_NE(is.http_status(), 503);
            who.done = true;
            ++finished_;
            return;
        }
        if (const auto* wait = std::get_if<attempts::wait_for>(&next)) {
            EXPECT_GT(wait->until, w_.now) << "a wait without a time is a hot loop";
            EXPECT_LE(wait->until, who.deadline);
            who.waiting = *wait;
            who.visiting.reset();
            return;
        }

        const auto& go = std::get<attempts::try_it>(next);
        const config::upstream* to = who.plan->candidates[go.candidate].to;
        EXPECT_FALSE(who.committed) << "after the first content nothing is sent again";
        EXPECT_FALSE(who.spent.contains(to)) << to->name << " got this POST and may have processed it";
        EXPECT_LT(w_.now, who.deadline);
        EXPECT_TRUE(go.with == nullptr ? to->tokens.empty() : !go.with->value.empty());

        // The next token of the pool, right after a refusal, is the same attempt; everything else is a new
        // one, and needs the policy's consent when the last one was sent.
        const bool same =
            who.visiting == go.candidate && who.last && refusal(*who.last) && !who.pool.contains(go.with);
        who.counted = !same;
        if (!same) {
            who.pool.clear();
            ++who.visits;
            EXPECT_LE(who.visits, who.plan->entry->fallback.attempts);
            if (who.last && who.last_sent) {
                EXPECT_TRUE(who.plan->entry->fallback.on.contains(*who.last))
                    << "moved on after " << to_string(*who.last);
            }
        }
        who.pool.insert(go.with);
        who.visiting = go.candidate;
        who.trying = go;
        who.sent = false;
    }

    static void taken_back(client& who)
    {
        who.trying.reset();
        who.visiting.reset();
        who.visits -= who.counted ? 1U : 0U;
    }

    void goes_on(client& who)
    {
        attempts& machine = *who.machine;
        const config::upstream* to = who.plan->candidates[who.trying->candidate].to;
        if (!who.sent) {
            switch (any_() % 6) {
            case 0: // the adapter cannot encode it
                machine.skip(
                    who.trying->candidate, reason::unsupported, {.what = code::unsupported, .text = "no"}
                );
                taken_back(who);
                return;
            case 1: // it cannot be connected to
                machine.told(refused(), w_.now, w_.wall);
                who.last = outcome::unavailable;
                who.last_sent = false;
                who.trying.reset();
                return;
            default:
                if (!machine.sending(w_.now)) {
                    taken_back(who);
                    return;
                }
                who.sent = true;
                return;
            }
        }
        if (w_.now >= who.deadline && !who.committed) {
            machine.out_of_time(w_.now);
            who.spent.insert(to);
            who.trying.reset();
            return;
        }
        if (!who.committed && any_() % 5 == 0) {
            machine.content(200, w_.now);
            who.committed = true;
            EXPECT_FALSE(machine.may_fall_back());
            return;
        }

        const verdict kinds[] = {
            ok(),
            ok(),
            ok(),
            limited(milliseconds(any_() % 9000)),
            limited(),
            no_credits(),
            revoked(),
            gated(),
            warming(),
            warming(3s),
            broken(500),
            broken(502),
            reset(),
            slow(),
            unsupported(),
            too_large(),
            rejected(),
        };
        const verdict& is = kinds[any_() % std::size(kinds)];
        machine.told(is, w_.now, w_.wall);
        who.trying.reset();
        who.last = is.what;
        who.last_sent = true;
        if (!refusal(is.what)) {
            who.spent.insert(to);
        }
        if (is.what == outcome::ok) {
            EXPECT_FALSE(machine.route().empty());
            who.done = true;
            ++finished_;
        }
    }

    // Over all requests, nobody but one may have written its head past a mark that was over.
    void one_probe_each()
    {
        std::map<std::pair<const config::upstream*, std::string>, int> heads;
        for (const client& one : clients_) {
            if (one.trying && one.trying->probe && one.sent && !one.committed) {
                const story_entry& entry = one.machine->story().back();
                if (entry.began > w_.now - cooldowns::probe_time) {
                    const policy::candidate& at = one.plan->candidates[one.trying->candidate];
                    // The same upstream, token and model share every key they have.
                    ++heads[{at.to, at.model + "/" + (one.trying->with ? one.trying->with->name : "")}];
                }
            }
        }
        for (const auto& [where, count] : heads) {
            EXPECT_LE(count, 1) << where.first->name << " " << where.second;
        }
    }

    std::mt19937 any_;
    world w_;
    std::vector<config::upstream*> upstreams_;
    std::vector<policy::plan*> plans_;
    std::vector<client> clients_;
    int finished_ = 0;
};

class random_storms : public ::testing::TestWithParam<std::uint32_t>
{
};

TEST_P(random_storms, keep_their_promises)
{
    storm(GetParam()).run(6000);
}

INSTANTIATE_TEST_SUITE_P(seeds, random_storms, ::testing::Range(1U, 13U));

} // namespace
} // namespace gw::dispatch::testing
