// Which key rests for how long after what, told by the clock alone.
#include "world.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace gw::dispatch::testing {
namespace {

class cooldowns_test : public ::testing::Test
{
protected:
    world w;
    config::token& acme = w.token("acme", "hf_one");
    config::token& spare = w.token("spare", "hf_two");
    config::upstream& router = w.upstream("router", config::kind::serverless, {&acme, &spare});
    config::upstream& mirror = w.upstream("mirror", config::kind::serverless, {&acme});
    config::upstream& vit = w.upstream("vit", config::kind::dedicated, {&acme});
    cooldowns& marks = w.state.cooling;

    subject who(const config::upstream& to, const config::token* with, std::string_view model = "org/model")
    {
        return {.to = &to, .with = with, .model = model};
    }
    // A request sent now comes to this at once.
    bool learn(const subject& whose, const verdict& what, probe_id probe = 0)
    {
        return marks.learn(whose, {.what = what, .sent = w.now, .probe = probe}, true, w.now, w.wall);
    }
    // The time that `whose` is kept away; zero: free.
    milliseconds rest(const subject& whose)
    {
        const auto why = marks.look(whose, w.now);
        return why ? std::chrono::duration_cast<milliseconds>(why->until - w.now) : 0ms;
    }
    // Lets the rest pass, probes and fails again.
    void probe_fails(const subject& whose, const verdict& what)
    {
        w.pass(rest(whose));
        const admission in = marks.claim(whose, true, w.now);
        ASSERT_FALSE(in.blocked);
        ASSERT_NE(in.probe, 0U);
        ASSERT_TRUE(marks.confirm(whose, in.probe, w.now));
        learn(whose, what, in.probe);
    }
};

TEST_F(cooldowns_test, each_scope_reaches_as_far_as_it_says)
{
    struct row
    {
        verdict what;
        std::string_view
            blocked; // of: the same; m: another model; t: the other token; r: mirror; d: the dedicated one
        std::string_view why;
    };
    const row rows[] = {
        {limited(10s), "same", "a rate limit: this token, here, this model"},
        {gated(), "same", "gated: this token for this model"},
        {revoked(scope::token_upstream), "same model", "401: this token here, whatever the model"},
        {no_credits(), "same model mirror", "credits: this token on every serverless upstream"},
        {revoked(scope::token_everywhere),
         "same model mirror dedicated",
         "the Hub says that the token is gone"},
        {unsupported(), "same token", "the model is not there, whoever asks"},
    };
    for (const row& of : rows) {
        world fresh;
        config::token& a = fresh.token("a", "hf_a");
        config::token& b = fresh.token("b", "hf_b");
        config::upstream& here = fresh.upstream("here", config::kind::serverless, {&a, &b});
        config::upstream& there = fresh.upstream("there", config::kind::serverless, {&a});
        config::upstream& own = fresh.upstream("own", config::kind::dedicated, {&a});
        cooldowns& all = fresh.state.cooling;
        all.learn(who(here, &a), {.what = of.what, .sent = fresh.now}, true, fresh.now, fresh.wall);
        std::string blocked;
        const auto look = [&](const subject& whose, std::string_view name) {
            if (all.look(whose, fresh.now)) {
                blocked += (blocked.empty() ? "" : " ") + std::string(name);
            }
        };
        look(who(here, &a), "same");
        look(who(here, &a, "org/other"), "model");
        look(who(here, &b), "token");
        look(who(there, &a), "mirror");
        look(who(own, &a), "dedicated");
        EXPECT_EQ(blocked, of.blocked) << of.why;
    }
}

TEST_F(cooldowns_test, a_task_of_its_own_is_not_touched)
{
    // The table's rows are known by their address only.
    const auto* one = reinterpret_cast<const task_info*>(&w);
    const auto* other = reinterpret_cast<const task_info*>(&acme);
    subject classify{.to = &router, .with = &acme, .model = "org/model", .task = one};
    subject detect{.to = &router, .with = &acme, .model = "org/model", .task = other};
    learn(classify, unsupported());
    EXPECT_GT(rest(classify), 0ms);
    EXPECT_EQ(rest(detect), 0ms);
}

TEST_F(cooldowns_test, without_a_time_the_back_off_doubles_to_a_minute)
{
    const subject one = who(router, &acme);
    learn(one, limited());
    for (const milliseconds expected : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
        EXPECT_EQ(rest(one), expected);
        probe_fails(one, limited());
    }
}

TEST_F(cooldowns_test, what_is_down_is_probed_every_second_so_that_it_is_back_at_once)
{
    const subject one = who(vit, &acme);
    for (int i = 0; i < 5; ++i) {
        learn(one, broken(503));
    }
    for (int i = 0; i < 60; ++i) {
        ASSERT_EQ(rest(one), 1s) << "an outage of a minute ends within a second, too";
        probe_fails(one, i % 2 == 0 ? reset() : broken(503));
    }

    verdict starting = warming(0s);
    starting.retry_after.reset();
    const subject other = who(mirror, &acme);
    learn(other, starting);
    for (int i = 0; i < 60; ++i) {
        ASSERT_EQ(rest(other), 1s);
        probe_fails(other, starting);
    }
}

TEST_F(cooldowns_test, a_probe_that_costs_its_client_an_answer_is_made_ever_less_often)
{
    const subject one = who(vit, &acme);
    for (int i = 0; i < 5; ++i) {
        learn(one, verdict{.what = outcome::timeout});
    }
    for (const milliseconds expected : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
        EXPECT_EQ(rest(one), expected);
        probe_fails(one, verdict{.what = outcome::timeout});
    }
}

TEST_F(cooldowns_test, a_time_that_was_told_is_kept_exactly)
{
    const subject one = who(router, &acme);
    learn(one, limited(1234567ms));
    EXPECT_EQ(rest(one), 1234567ms);
    learn(who(vit, &acme), limited(20ms));
    EXPECT_EQ(rest(who(vit, &acme)), 1000ms) << "never less than a second, or it would be a hot loop";
    learn(who(mirror, &acme), limited(std::chrono::hours(24 * 365 * 200)));
    EXPECT_EQ(rest(who(mirror, &acme)), milliseconds(cooldowns::longest)) << "nonsense does not overflow";
}

TEST_F(cooldowns_test, a_second_limited_model_widens_to_the_token)
{
    learn(who(router, &acme, "a"), limited(30s));
    EXPECT_EQ(rest(who(router, &acme, "c")), 0ms);
    learn(who(router, &acme, "a"), limited(30s));
    EXPECT_EQ(rest(who(router, &acme, "c")), 0ms) << "the same model twice is still one";
    learn(who(router, &acme, "b"), limited(50s));
    EXPECT_EQ(rest(who(router, &acme, "c")), 50s) << "the limit is the token's, not the model's";
    EXPECT_EQ(rest(who(router, &spare, "c")), 0ms) << "the other token has its own";
    EXPECT_EQ(rest(who(mirror, &acme, "c")), 0ms) << "so has another origin";
}

TEST_F(cooldowns_test, two_limits_far_apart_do_not_widen)
{
    learn(who(router, &acme, "a"), limited(5s));
    w.pass(6s);
    learn(who(router, &acme, "b"), limited(5s));
    EXPECT_EQ(rest(who(router, &acme, "c")), 0ms);
}

TEST_F(cooldowns_test, five_failures_in_a_row_rest_the_upstream_and_one_success_starts_the_count_anew)
{
    const subject one = who(vit, &acme);
    for (int i = 0; i < 4; ++i) {
        EXPECT_FALSE(learn(one, broken(503)));
    }
    learn(one, ok());
    for (int i = 0; i < 4; ++i) {
        learn(one, broken(503));
        EXPECT_EQ(rest(one), 0ms);
    }
    EXPECT_TRUE(learn(one, broken(503)));
    EXPECT_EQ(rest(one), 1s);
    EXPECT_EQ(rest(who(vit, nullptr, "org/other")), 1s)
        << "refused, reset, 502 to 504 say something of the whole upstream";
}

TEST_F(cooldowns_test, complete_500s_rest_the_model_and_task_only)
{
    const subject one = who(vit, &acme);
    for (int i = 0; i < 5; ++i) {
        learn(one, broken(500));
    }
    EXPECT_EQ(rest(one), 1s);
    EXPECT_EQ(rest(who(vit, &acme, "org/other")), 0ms);
}

TEST_F(cooldowns_test, any_complete_answer_shows_that_the_upstream_is_there)
{
    const subject one = who(vit, &acme);
    for (const verdict& what : {rejected(), limited(1s), broken(500), too_large(), warming(1s)}) {
        world fresh;
        cooldowns& all = fresh.state.cooling;
        const auto say = [&](const verdict& is) {
            all.learn(one, {.what = is, .sent = fresh.now}, true, fresh.now, fresh.wall);
        };
        for (int i = 0; i < 4; ++i) {
            say(reset());
        }
        say(what);
        say(reset());
        const auto still = all.look(who(vit, &acme, "org/other"), fresh.now);
        EXPECT_FALSE(still.has_value()) << to_string(what.what) << " " << what.status;
    }
}

TEST_F(cooldowns_test, timeouts_count_for_the_upstream)
{
    const subject one = who(vit, &acme);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(rest(one), 0ms);
        learn(one, verdict{.what = outcome::timeout}); // whatever scope its maker forgot
    }
    EXPECT_EQ(rest(one), 1s);
}

TEST_F(cooldowns_test, requests_under_way_when_it_began_neither_end_nor_lengthen_it)
{
    const subject one = who(vit, &acme);
    const time_point before = w.now;
    w.pass(1s);
    for (int i = 0; i < 5; ++i) {
        learn(one, broken(503));
    }
    ASSERT_EQ(rest(one), 1s);

    // A hundred that were sent before fail too: still one second. One of them succeeds: still one second.
    for (int i = 0; i < 100; ++i) {
        marks.learn(one, {.what = broken(503), .sent = before}, true, w.now, w.wall);
    }
    EXPECT_EQ(rest(one), 1s);
    marks.learn(one, {.what = ok(), .sent = before}, true, w.now, w.wall);
    EXPECT_EQ(rest(one), 1s);
}

TEST_F(cooldowns_test, a_later_answer_may_tell_a_longer_time_but_not_a_shorter_one)
{
    const subject one = who(router, &acme);
    const time_point before = w.now - 1s;
    learn(one, limited(30s));
    marks.learn(one, {.what = limited(50s), .sent = before}, true, w.now, w.wall);
    EXPECT_EQ(rest(one), 50s);
    marks.learn(one, {.what = limited(10s), .sent = before}, true, w.now, w.wall);
    EXPECT_EQ(rest(one), 50s);
}

TEST_F(cooldowns_test, credits_are_looked_at_again_now_and_then_and_when_the_month_turns)
{
    const subject one = who(router, &acme);
    learn(one, no_credits());
    for (const milliseconds expected : {60s, 120s, 240s, 480s, 960s, 1920s, 3600s, 3600s}) {
        EXPECT_EQ(rest(one), expected);
        probe_fails(one, no_credits());
    }

    world eve;
    eve.wall = wall_time(std::chrono::sys_days{std::chrono::year{2026} / 12 / 31} + 23h + 59min + 50s);
    eve.state.cooling.learn(one, {.what = no_credits(), .sent = eve.now}, true, eve.now, eve.wall);
    EXPECT_EQ(eve.standing_of(router, &acme), "out_of_credits for 10000 ms")
        << "January begins in ten seconds";
}

TEST_F(cooldowns_test, credits_belong_to_who_is_billed)
{
    config::token& billed = w.token("billed", "hf_one", "company");
    learn(who(router, &acme), no_credits());
    EXPECT_GT(rest(who(router, &acme)), 0ms);
    EXPECT_EQ(rest(who(router, &billed)), 0ms) << "the same secret, another purse";
}

TEST_F(cooldowns_test, what_a_token_learned_follows_its_secret_not_its_name)
{
    learn(who(router, &acme), revoked());
    config::token& renamed = w.token("renamed", "hf_one");
    config::token& rotated = w.token("acme", "hf_three");
    EXPECT_GT(rest(who(router, &renamed)), 0ms);
    EXPECT_EQ(rest(who(router, &rotated)), 0ms);
}

TEST_F(cooldowns_test, two_services_behind_one_host_are_two)
{
    config::upstream& other = w.upstream("other", config::kind::dedicated, {&acme});
    other.at.origin = vit.at.origin;
    other.at.base_path = "/other";
    learn(who(vit, &acme), limited(10s));
    EXPECT_EQ(rest(who(vit, &acme)), 10s);
    EXPECT_EQ(rest(who(other, &acme)), 0ms);
}

TEST_F(cooldowns_test, what_an_origin_did_follows_the_origin_not_the_upstreams_name)
{
    config::upstream& twin = w.dedicated("twin");
    twin.at.origin = vit.at.origin;
    for (int i = 0; i < 5; ++i) {
        learn(who(vit, &acme), reset());
    }
    EXPECT_EQ(rest(who(twin, nullptr)), 1s);
}

TEST_F(cooldowns_test, workers_of_two_models_are_two_places)
{
    config::upstream& here = w.upstream("here", config::kind::local);
    here.run = config::worker{};
    for (int i = 0; i < 5; ++i) {
        learn(who(here, nullptr, "a"), reset());
    }
    EXPECT_EQ(rest(who(here, nullptr, "a")), 1s);
    EXPECT_EQ(rest(who(here, nullptr, "b")), 0ms);
}

TEST_F(cooldowns_test, a_good_answer_that_says_nothing_is_left_sets_the_cooldown_only)
{
    verdict last = ok();
    last.retry_after = 55s; // RateLimit: "api";r=0;t=55
    learn(who(router, &acme), last);
    EXPECT_EQ(rest(who(router, &acme)), 55s);
}

TEST_F(cooldowns_test, scope_none_rests_nothing)
{
    verdict quiet = limited(30s);
    quiet.where = scope::none;
    EXPECT_FALSE(learn(who(router, &acme), quiet));
    EXPECT_EQ(rest(who(router, &acme)), 0ms);
}

TEST_F(cooldowns_test, a_waker_ends_warming_for_every_task_and_nothing_else)
{
    const auto* task = reinterpret_cast<const task_info*>(&w);
    const subject one = who(vit, &acme);
    const subject other{.to = &vit, .with = &acme, .model = "org/model", .task = task};
    learn(one, warming(200s));
    learn(other, warming(200s));
    learn(who(vit, &acme, "org/limited"), limited(100s));
    EXPECT_TRUE(marks.warmed(vit, "org/model"));
    EXPECT_EQ(rest(one), 0ms);
    EXPECT_EQ(rest(other), 0ms);
    EXPECT_EQ(rest(who(vit, &acme, "org/limited")), 100s);
    EXPECT_FALSE(marks.warmed(vit, "org/model"));
}

TEST_F(cooldowns_test, one_probe_goes_past_everything_that_is_over)
{
    const subject one = who(router, &acme);
    learn(one, limited(2s));
    learn(one, warming(3s));
    for (int i = 0; i < 5; ++i) {
        learn(one, reset());
    }
    w.pass(3s);
    const admission in = marks.claim(one, true, w.now);
    ASSERT_NE(in.probe, 0U);
    EXPECT_TRUE(marks.claim(one, true, w.now).blocked->probing);
    EXPECT_TRUE(marks.claim(who(router, &spare, "org/other"), true, w.now).blocked->probing)
        << "the whole upstream is being probed";
    learn(one, ok(), in.probe);
    EXPECT_EQ(rest(one), 0ms);
    EXPECT_EQ(marks.claim(one, true, w.now).probe, 0U);
}

TEST_F(cooldowns_test, names_and_times_for_those_who_look)
{
    learn(who(router, &acme), limited(30s));
    learn(who(router, &spare), no_credits());
    w.pass(10s);
    const std::vector<cooldown_view> all = marks.view(w.now);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[1].upstream, "router");
    EXPECT_EQ(all[1].token, "acme");
    EXPECT_EQ(all[1].model, "org/model");
    EXPECT_EQ(all[1].why, outcome::rate_limited);
    EXPECT_EQ(all[1].remaining, 20s);
    EXPECT_EQ(all[1].unwanted, 10s);
    EXPECT_EQ(all[0].upstream, "") << "a token's credits are of no single upstream";
    EXPECT_EQ(all[0].token, "spare");
}

TEST_F(cooldowns_test, is_bounded_and_the_least_recently_used_goes_first)
{
    cooldowns few(16);
    const auto limit = [&](const std::string& model) {
        few.learn(who(vit, &acme, model), {.what = unsupported(), .sent = w.now}, true, w.now, w.wall);
    };
    for (int i = 0; i < 16; ++i) {
        limit("m" + std::to_string(i));
    }
    (void)few.claim(who(vit, &acme, "m0"), true, w.now);
    for (int i = 16; i < 1000; ++i) {
        limit("m" + std::to_string(i));
        (void)few.claim(who(vit, &acme, "m0"), true, w.now);
    }
    EXPECT_EQ(few.size(), 16U);
    EXPECT_EQ(few.evicted(), 984U);
    EXPECT_TRUE(few.look(who(vit, &acme, "m0"), w.now)) << "always in use";
    EXPECT_FALSE(few.look(who(vit, &acme, "m1"), w.now));
}

TEST_F(cooldowns_test, what_is_long_over_is_forgotten_without_anybody_asking_for_it)
{
    for (int i = 0; i < 50; ++i) {
        learn(who(router, &acme, "m" + std::to_string(i)), limited(5s));
    }
    w.pass(10min);
    const std::size_t before = marks.size();
    for (int i = 0; i < 50; ++i) {
        learn(who(vit, &acme, "other"), unsupported());
    }
    EXPECT_GE(before, 50U);
    EXPECT_LE(marks.size(), 2U);
    EXPECT_EQ(rest(who(router, &acme, "m7")), 0ms);
}

TEST_F(cooldowns_test, a_recent_failure_is_remembered_for_ten_seconds_even_after_a_success)
{
    const subject one = who(vit, &acme);
    EXPECT_FALSE(marks.failed_recently(one, w.now));
    learn(one, broken(503));
    learn(one, ok());
    EXPECT_TRUE(marks.failed_recently(one, w.now));
    w.pass(9999ms);
    EXPECT_TRUE(marks.failed_recently(one, w.now));
    w.pass(1ms);
    EXPECT_FALSE(marks.failed_recently(one, w.now));
    learn(one, ok());
    EXPECT_EQ(marks.size(), 0U) << "quiet again";
}

TEST_F(cooldowns_test, the_count_of_marks_is_exact_after_any_history)
{
    // the counts must come back to zero with the marks, or the lock-free path is gone for ever (or worse, a
    // mark is not seen).
    std::mt19937 any(4711);
    const verdict kinds[] = {
        ok(),
        limited(3s),
        limited(),
        no_credits(),
        revoked(),
        gated(),
        warming(),
        broken(500),
        broken(503),
        reset(),
        slow(),
        unsupported(),
        rejected(),
        too_large()
    };
    const config::token* tokens[] = {&acme, &spare};
    const config::upstream* upstreams[] = {&router, &mirror, &vit};
    cooldowns small(32);
    for (int i = 0; i < 20'000; ++i) {
        const std::string model = "m" + std::to_string(any() % 12);
        const subject one = who(*upstreams[any() % 3], tokens[any() % 2], model);
        w.pass(milliseconds(any() % 400));
        const admission in = small.claim(one, any() % 4 != 0, w.now);
        if (in.blocked) {
            ASSERT_TRUE(in.blocked->wants_body || small.look(one, w.now).has_value());
            ASSERT_GT(in.blocked->until, w.now);
            continue;
        }
        ASSERT_FALSE(small.look(one, w.now).has_value() && in.probe == 0);
        if (any() % 8 == 0) {
            small.give_back(one, in.probe);
            continue;
        }
        small.learn(
            one,
            {.what = kinds[any() % std::size(kinds)], .sent = w.now, .probe = in.probe},
            true,
            w.now,
            w.wall
        );
        ASSERT_LE(small.size(), 32U);
    }
    EXPECT_GT(small.evicted(), 0U);
    w.pass(std::chrono::hours(24 * 60));
    const config::token& never = w.token("never", "hf_never");
    for (int i = 0; i < 40; ++i) { // each makes a mark that is not stale, and sweeps two that are
        small.learn(who(vit, &never), {.what = gated(), .sent = w.now}, true, w.now, w.wall);
    }
    EXPECT_EQ(small.size(), 1U);
}

} // namespace
} // namespace gw::dispatch::testing
