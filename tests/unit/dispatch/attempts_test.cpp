// One request, step by step: what happened and when, and what is done next.
#include "world.hpp"

#include <gmock/gmock.h>

namespace gw::dispatch::testing {
namespace {

using ::testing::HasSubstr;

class attempts_test : public ::testing::Test
{
protected:
    world w;
    config::token& acme = w.token("acme", "hf_one");
    config::token& spare = w.token("spare", "hf_two");
    config::upstream& router = w.upstream("router", config::kind::serverless, {&acme, &spare});
    config::upstream& vit = w.dedicated("vit");
    config::upstream& own = w.dedicated("own");
    policy::plan& plan = w.route({&router, &vit, &own});
};

TEST_F(attempts_test, a_healthy_first_candidate_gets_it)
{
    walker r(w, plan);
    EXPECT_EQ(r.next(), "try router with acme");
    r.succeeds();
    EXPECT_EQ(r.route(), "router(200)");
    ASSERT_EQ(r.its->story().size(), 1U);
    EXPECT_EQ(r.its->story()[0].with, &acme);
    EXPECT_EQ(r.its->story()[0].what, outcome::ok);
    EXPECT_FALSE(r.its->may_fall_back());
}

// The outcome table: what one answer of the first candidate leads to.
struct row
{
    std::string_view why;
    verdict what;
    std::string_view then;
    std::string_view route;      // at this point
    std::string_view last;       // what the client gets if the second candidate were not there
    std::string_view first_next; // how the first stands for the next request
};

void PrintTo(const row& of, std::ostream* out)
{
    *out << of.why;
}

class outcome_table : public ::testing::TestWithParam<row>
{
};

TEST_P(outcome_table, decides)
{
    const row& of = GetParam();
    {
        world w;
        config::upstream& first = w.upstream("first", config::kind::serverless, {&w.token("acme", "hf_one")});
        config::upstream& second = w.dedicated("second");
        walker r(w, w.route({&first, &second}));
        ASSERT_EQ(r.next(), "try first with acme");
        EXPECT_EQ(r.gets(of.what), of.then) << of.why;
        EXPECT_EQ(r.route(), of.route) << of.why;
        EXPECT_EQ(w.standing_of(first, first.tokens[0]), of.first_next) << of.why;
    }
    {
        world w;
        config::upstream& first = w.upstream("first", config::kind::serverless, {&w.token("acme", "hf_one")});
        walker r(w, w.route({&first}));
        ASSERT_EQ(r.next(), "try first with acme");
        EXPECT_EQ(r.gets(of.what), of.last) << of.why;
    }
}

INSTANTIATE_TEST_SUITE_P(
    rows,
    outcome_table,
    ::testing::Values(
        row{"a 429 that tells a time rests the token for this model, exactly so long; the client is told to "
            "wait so long",
            limited(45s),
            "try second",
            "first(429)",
            "give up: rate_limited 429 after 45 s",
            "cooling for 45000 ms"},
        row{"a 429 that tells a short time is waited for when nobody else is left",
            limited(12s),
            "try second",
            "first(429)",
            "wait 12000 ms or for news",
            "cooling for 12000 ms"},
        row{"a 429 without a time from serverless backs off, from a second on",
            limited(),
            "try second",
            "first(429)",
            "wait 1000 ms or for news",
            "cooling for 1000 ms"},
        row{"402 is nothing that waiting helps, and is looked at again after a minute",
            no_credits(),
            "try second",
            "first(402)",
            "give up: out_of_credits 402",
            "out_of_credits for 60000 ms"},
        row{"401 is our token's fault, so the client must not see a 401",
            revoked(),
            "try second",
            "first(401)",
            "give up: token_rejected 502",
            "token_rejected for 60000 ms"},
        row{"403 gated: this token may not have this model",
            gated(),
            "try second",
            "first(403)",
            "give up: token_rejected 502",
            "token_rejected for 60000 ms"},
        row{"loading with an estimate: the next one has it, or it is waited for",
            warming(20s),
            "try second",
            "first(503)",
            "wait 20000 ms or for news",
            "warming for 20000 ms"},
        row{"loading for longer than anybody waits: 429 with the estimate, never 503",
            warming(200s),
            "try second",
            "first(503)",
            "give up: warming 429 after 200 s",
            "warming for 200000 ms"},
        row{"one 503 is no reason to rest an upstream",
            broken(503),
            "try second",
            "first(503)",
            "give up: unavailable 502",
            "free"},
        row{"a reset after the head was sent has no status; it may have been processed, so never again there",
            reset(),
            "try second",
            "first(unavailable)",
            "give up: unavailable 502",
            "free"},
        row{"a web page with 200 is no answer",
            answer(outcome::unavailable, scope::model_task, 200),
            "try second",
            "first(unavailable)",
            "give up: unavailable 502",
            "free"},
        row{"too slow after the head was sent: the default policy does not pay twice",
            slow(),
            "give up: timeout 504",
            "first(timeout)",
            "give up: timeout 504",
            "free"},
        row{"a model it does not have is skipped for ten minutes",
            unsupported(),
            "try second",
            "first(404)",
            "give up: unsupported 404",
            "unsupported for 600000 ms"},
        row{"a kind of model that it never will have is skipped for a day",
            unsupported(true),
            "try second",
            "first(404)",
            "give up: unsupported 404",
            "unsupported for 86400000 ms"},
        row{"too large for it: the next may take it, and nothing rests",
            too_large(),
            "try second",
            "first(413)",
            "give up: too_large 413",
            "free"},
        row{"the client's own fault ends the request with the upstream's status",
            rejected(422),
            "give up: rejected 422",
            "first(422)",
            "give up: rejected 422",
            "free"}
    )
);

TEST_F(attempts_test, rejected_keeps_the_upstreams_words)
{
    walker r(w, plan);
    (void)r.next();
    (void)r.gets(rejected(422));
    EXPECT_EQ(std::get<attempts::give_up>(r.step()).last.text, "top_k must be positive");
    EXPECT_EQ(std::get<attempts::give_up>(r.step()).last.from, origin::client);
}

// ---- tokens

TEST_F(attempts_test, the_next_token_of_the_pool_goes_first_and_is_no_attempt_of_its_own)
{
    w.fallback_of(plan).attempts = 2;
    walker r(w, plan);
    EXPECT_EQ(r.next(), "try router with acme");
    EXPECT_EQ(r.gets(limited(60s)), "try router with spare");
    EXPECT_EQ(r.gets(limited(60s)), "try vit");
    EXPECT_EQ(r.gets(broken()), "give up: rate_limited 429 after 60 s") << "two attempts: the pool, and vit";
    EXPECT_EQ(r.route(), "router(429) router(429) vit(503)");
}

TEST_F(attempts_test, each_kind_of_refusal_moves_to_the_next_token)
{
    for (const verdict& what : {limited(60s), no_credits(), revoked(), gated()}) {
        world fresh;
        config::upstream& pool = fresh.upstream(
            "pool", config::kind::serverless, {&fresh.token("a", "hf_a"), &fresh.token("b", "hf_b")}
        );
        walker r(fresh, fresh.route({&pool}));
        EXPECT_EQ(r.next(), "try pool with a");
        EXPECT_EQ(r.gets(what), "try pool with b") << to_string(what.what);
        r.succeeds();

        walker later(fresh, fresh.route({&pool}));
        EXPECT_EQ(later.next(), "try pool with b")
            << "what one request learned, the next one knows: " << to_string(what.what);
    }
}

TEST_F(attempts_test, a_failure_that_is_not_the_tokens_fault_does_not_go_through_the_pool)
{
    walker r(w, plan);
    (void)r.next();
    EXPECT_EQ(r.gets(broken(500)), "try vit")
        << "the POST may have been processed: the router never gets it again";
}

TEST_F(attempts_test, warming_is_not_the_tokens_fault_either)
{
    walker r(w, plan);
    (void)r.next();
    EXPECT_EQ(r.gets(warming(20s)), "try vit") << "the model is cold for every token";
}

TEST_F(attempts_test, a_pool_may_be_longer_than_the_attempts)
{
    config::upstream& pool = w.upstream("pool", config::kind::serverless);
    for (int i = 0; i < 70; ++i) {
        pool.tokens.push_back(&w.token("t" + std::to_string(i), "hf_" + std::to_string(i)));
    }
    walker r(w, w.route({&pool}));
    EXPECT_EQ(r.next(), "try pool with t0");
    for (int i = 1; i < 70; ++i) {
        ASSERT_EQ(r.gets(limited(60s)), "try pool with t" + std::to_string(i));
    }
    EXPECT_EQ(r.gets(limited(60s)), "give up: rate_limited 429 after 60 s");
}

TEST_F(attempts_test, an_upstream_whose_tokens_are_empty_is_skipped_and_says_so)
{
    config::upstream& off = w.upstream("router", config::kind::serverless, {&w.token("acme", "")});
    walker r(w, w.route({&off, &vit}));
    EXPECT_EQ(r.next(), "try vit");
    r.succeeds();
    EXPECT_EQ(r.route(), "router(no_token) vit(200)");

    walker alone(w, w.route({&off}));
    EXPECT_EQ(alone.next(), "give up: token_rejected 502");
    EXPECT_EQ(alone.route(), "router(no_token)");

    config::upstream& none = w.upstream("bare", config::kind::serverless);
    walker bare(w, w.route({&none}));
    EXPECT_EQ(bare.next(), "give up: token_rejected 502") << "the router needs one";
}

TEST_F(attempts_test, an_empty_token_of_a_pool_is_passed_over)
{
    config::upstream& half = w.upstream("half", config::kind::serverless, {&w.token("empty", ""), &acme});
    walker r(w, w.route({&half}));
    EXPECT_EQ(r.next(), "try half with acme");
}

// ---- moving on

TEST_F(attempts_test, only_the_outcomes_in_fallback_on_move_on)
{
    w.fallback_of(plan).on = {outcome::timeout};
    walker r(w, plan);
    (void)r.next();
    EXPECT_EQ(r.gets(broken()), "give up: unavailable 502");

    walker other(w, plan);
    (void)other.next();
    EXPECT_EQ(other.gets(slow()), "try vit") << "the policy consents to paying twice";
}

TEST_F(attempts_test, a_token_pool_is_used_even_if_the_policy_does_not_move_on)
{
    w.fallback_of(plan).on = {};
    walker r(w, plan);
    EXPECT_EQ(r.next(), "try router with acme");
    EXPECT_EQ(r.gets(limited(20s)), "try router with spare");
    EXPECT_EQ(r.gets(limited(20s)), "give up: rate_limited 429 after 20 s");
}

TEST_F(attempts_test, of_a_pool_the_last_tokens_answer_decides)
{
    w.fallback_of(plan).on = {outcome::unavailable};
    walker r(w, plan);
    (void)r.next();
    EXPECT_EQ(r.gets(limited(20s)), "try router with spare");
    EXPECT_EQ(r.gets(broken()), "try vit");
}

TEST_F(attempts_test, connect_failures_always_may_move_on)
{
    w.fallback_of(plan).on = {};
    walker r(w, plan);
    (void)r.next();
    EXPECT_EQ(r.cannot_connect(), "try vit");

    walker late(w, plan);
    (void)late.next();
    verdict connect_timeout = slow();
    connect_timeout.connect_failed = true;
    EXPECT_EQ(late.cannot_connect(connect_timeout), "try vit")
        << "a timeout in the connect phase sent nothing";
}

TEST_F(attempts_test, what_rests_stops_the_request_where_the_policy_does_not_move_on)
{
    w.fallback_of(plan).on = {outcome::unavailable};
    walker r(w, plan);
    (void)r.next();
    (void)r.gets(limited(60s));
    (void)r.gets(limited(60s));
    walker later(w, plan);
    EXPECT_EQ(later.next(), "give up: rate_limited 429 after 60 s")
        << "the next request hears the same as the first";
    EXPECT_EQ(later.route(), "router(cooling)");
}

TEST_F(attempts_test, an_upstream_that_timed_out_before_is_passed_by_a_request_that_was_not_sent)
{
    policy::plan& alone = w.route({&vit});
    for (unsigned i = 0; i < cooldowns::failures_in_a_row; ++i) {
        walker r(w, alone);
        EXPECT_EQ(r.next(), "try vit");
        (void)r.gets(slow());
    }
    walker r(w, w.route({&vit, &own}));
    EXPECT_EQ(r.next(), "try own") << "`timeout` is not in fallback.on, but nothing was sent yet";
    r.succeeds();
    EXPECT_EQ(r.route(), "vit(cooling) own(200)");
}

TEST_F(attempts_test, two_candidates_of_one_upstream_are_one_upstream)
{
    policy::plan& twice = w.route({&vit, &vit, &own});
    twice.candidates[1].model = "org/other";
    walker r(w, twice);
    EXPECT_EQ(r.next(), "try vit");
    EXPECT_EQ(r.gets(broken(500)), "try own") << "the POST may have been processed there";
}

TEST_F(attempts_test, attempts_are_counted_over_everything)
{
    config::upstream& fourth = w.dedicated("fourth");
    policy::plan& four = w.route({&vit, &own, &fourth, &router});
    walker r(w, four);
    EXPECT_EQ(r.next(), "try vit");
    EXPECT_EQ(r.gets(broken()), "try own");
    EXPECT_EQ(r.cannot_connect(), "try fourth");
    EXPECT_EQ(r.gets(broken()), "give up: unavailable 502");
    EXPECT_EQ(r.route(), "vit(503) own(unavailable) fourth(503)");
}

TEST_F(attempts_test, a_lone_upstream_that_refuses_connections_gets_two_more_tries_a_pause_apart)
{
    policy::plan& alone = w.route({&vit});
    walker r(w, alone, {.random = 12345});
    EXPECT_EQ(r.next(), "try vit");
    const std::string first = r.cannot_connect();
    EXPECT_THAT(first, HasSubstr("wait "));
    const time_point before = w.now;
    EXPECT_EQ(r.waits(), "try vit");
    EXPECT_GE(w.now - before, 50ms);
    EXPECT_LE(w.now - before, 150ms);
    EXPECT_THAT(r.cannot_connect(), HasSubstr("wait "));
    EXPECT_EQ(r.waits(), "try vit");
    EXPECT_EQ(r.cannot_connect(), "give up: unavailable 502");
    EXPECT_EQ(r.route(), "vit(unavailable) vit(unavailable) vit(unavailable)");
}

TEST_F(attempts_test, a_certificate_that_fails_is_not_tried_again)
{
    policy::plan& alone = w.route({&vit});
    walker r(w, alone);
    (void)r.next();
    verdict tls = refused();
    tls.as_code = code::upstream_tls;
    EXPECT_EQ(r.cannot_connect(tls), "give up: upstream_tls 502");
}

TEST_F(attempts_test, an_adapter_that_cannot_encode_is_skipped_without_costing_an_attempt)
{
    w.fallback_of(plan).attempts = 1;
    walker r(w, plan);
    EXPECT_EQ(r.next(), "try router with acme");
    r.its->skip(0, reason::unsupported, {.what = code::unsupported, .text = "no speech here"});
    EXPECT_EQ(r.next(), "try vit");
    r.its->skip(1, reason::forbidden, {.what = code::forbidden, .text = "not yours"});
    EXPECT_EQ(r.next(), "try own");
    r.succeeds();
    EXPECT_EQ(r.route(), "router(unsupported) vit(forbidden) own(200)");
    EXPECT_EQ(w.state.places().size(), 3U);
    for (const slots_view& one : w.state.places()) {
        EXPECT_EQ(one.in_flight, 0U) << one.upstream;
    }
}

TEST_F(attempts_test, when_every_adapter_refuses_the_client_hears_its_words)
{
    walker r(w, w.route({&vit}));
    (void)r.next();
    r.its->skip(0, reason::unsupported, {.what = code::wrong_modality, .text = "this task takes text"});
    EXPECT_EQ(r.next(), "give up: wrong_modality 400");
    EXPECT_EQ(std::get<attempts::give_up>(r.step()).last.text, "this task takes text");
}

// ---- first content decides

TEST_F(attempts_test, after_the_first_content_nothing_is_sent_again)
{
    walker r(w, plan);
    (void)r.next();
    ASSERT_TRUE(r.its->sending(w.now));
    EXPECT_TRUE(r.its->may_fall_back());
    EXPECT_TRUE(r.its->another_candidate_left());
    r.its->content(200, w.now);
    EXPECT_EQ(r.route(), "router(200)") << "the head that goes to the client says so";
    EXPECT_FALSE(r.its->may_fall_back());
    EXPECT_FALSE(r.its->another_candidate_left());
    r.its->told(reset(), w.now, w.wall);
    EXPECT_EQ(r.next(), "give up: broken_stream 502");
    EXPECT_EQ(r.route(), "router(broken_stream)");
}

TEST_F(attempts_test, a_stream_falls_back_before_its_first_content)
{
    walker r(w, plan);
    (void)r.next();
    verdict busy = limited(60s);
    busy.status = 200; // the error came as the first event of a 200
    EXPECT_EQ(r.gets(busy), "try router with spare");
    EXPECT_EQ(r.route(), "router(rate_limited)");
}

TEST_F(attempts_test, broken_streams_in_a_row_rest_the_upstream)
{
    policy::plan& alone = w.route({&vit});
    for (unsigned i = 0; i < cooldowns::failures_in_a_row; ++i) {
        EXPECT_EQ(w.standing_of(vit, nullptr), "free");
        walker r(w, alone);
        (void)r.next();
        ASSERT_TRUE(r.its->sending(w.now));
        r.its->content(200, w.now);
        r.its->told(reset(), w.now, w.wall);
    }
    EXPECT_EQ(w.standing_of(vit, nullptr), "cooling for 1000 ms");
}

// ---- the last answer

TEST_F(attempts_test, the_most_hopeful_answer_wins)
{
    struct pair
    {
        verdict first;
        verdict second;
        std::string_view last;
        std::string_view why;
    };
    const pair pairs[] = {
        {broken(),
         limited(60s),
         "give up: rate_limited 429 after 60 s",
         "waiting helps, a broken one may stay broken"},
        {limited(60s), broken(), "give up: rate_limited 429 after 60 s", "whatever the order"},
        {limited(90s), warming(50s), "give up: warming 429 after 50 s", "the smaller time of both"},
        {broken(), no_credits(), "give up: unavailable 502", "broken may pass sooner than no credits"},
        {no_credits(),
         revoked(),
         "give up: out_of_credits 402",
         "credits can be bought by the caller's company"},
        {revoked(), too_large(), "give up: token_rejected 502", "a size that another would take"},
        {unsupported(), too_large(), "give up: too_large 413", "one of them has the model"},
    };
    for (const pair& of : pairs) {
        world fresh;
        walker r(fresh, fresh.route({&fresh.dedicated("a"), &fresh.dedicated("b")}));
        ASSERT_EQ(r.next(), "try a");
        ASSERT_EQ(r.gets(of.first), "try b");
        EXPECT_EQ(r.gets(of.second), of.last) << of.why;
    }
}

TEST_F(attempts_test, a_timeout_is_more_hopeful_than_unavailable)
{
    w.fallback_of(plan).on.insert(outcome::timeout);
    walker r(w, w.route({&vit, &own}));
    const_cast<config::fallback&>(w.route({&vit}).entry->fallback).on.insert(outcome::timeout);
    (void)r.next();
    (void)r.gets(broken());
    EXPECT_EQ(r.gets(slow()), "give up: timeout 504");
}

TEST_F(attempts_test, a_pool_with_one_limited_and_one_empty_purse_says_when_to_come_back)
{
    walker r(w, w.route({&router}));
    (void)r.next();
    EXPECT_EQ(r.gets(limited(90s)), "try router with spare");
    EXPECT_EQ(r.gets(no_credits()), "give up: rate_limited 429 after 90 s");
}

// ---- deadline and waiting

TEST_F(attempts_test, waits_for_the_earliest_and_then_probes_it)
{
    w.fallback_of(plan).attempts = 5;
    walker r(w, plan);
    (void)r.next();
    (void)r.gets(limited(20s));
    (void)r.gets(limited(8s));
    (void)r.gets(warming(15s));
    EXPECT_EQ(r.gets(limited(25s)), "wait 8000 ms or for news");
    EXPECT_EQ(r.waits(), "try router with spare as the probe");
    r.succeeds();
    EXPECT_EQ(r.route(), "router(429) router(429) vit(503) own(429) router(200)");
}

TEST_F(attempts_test, waits_no_longer_than_max_wait_in_all)
{
    policy::plan& alone = w.route({&vit});
    w.fallback_of(alone).max_wait = 10s;
    w.fallback_of(alone).attempts = 9;
    walker r(w, alone);
    (void)r.next();
    EXPECT_EQ(r.gets(limited(7s)), "wait 7000 ms or for news");
    EXPECT_EQ(r.waits(), "try vit as the probe");
    EXPECT_EQ(r.gets(limited(4s)), "give up: rate_limited 429 after 4 s")
        << "seven and four are more than ten";
}

TEST_F(attempts_test, does_not_begin_to_wait_for_what_ends_after_the_deadline)
{
    policy::plan& alone = w.route({&vit});
    walker r(w, alone, {.deadline = w.now + 5s});
    (void)r.next();
    EXPECT_EQ(r.gets(limited(6s)), "give up: rate_limited 429 after 6 s");
}

TEST_F(attempts_test, credits_and_tokens_are_not_waited_for)
{
    walker r(w, w.route({&router}));
    (void)r.next();
    (void)r.gets(no_credits());
    EXPECT_EQ(r.gets(no_credits()), "give up: out_of_credits 402");
    w.pass(45s); // 15 s to go, well within max_wait
    walker later(w, w.route({&router}));
    EXPECT_EQ(later.next(), "give up: out_of_credits 402");
    EXPECT_EQ(later.route(), "router(out_of_credits)");
}

TEST_F(attempts_test, the_deadline_ends_everything_and_is_nobodys_fault)
{
    walker r(w, plan, {.deadline = w.now + 5s});
    (void)r.next();
    ASSERT_TRUE(r.its->sending(w.now));
    w.pass(5s);
    r.its->out_of_time(w.now);
    EXPECT_EQ(r.next(), "give up: timeout 504");
    EXPECT_EQ(r.route(), "router(deadline) vit(deadline) own(deadline)");
    EXPECT_EQ(w.state.counters().marks, 0U) << "the request's deadline says nothing about the upstream";
}

TEST_F(attempts_test, a_deadline_after_a_rate_limit_still_says_when_to_come_back)
{
    policy::plan& alone = w.route({&vit});
    walker r(w, alone, {.deadline = w.now + 20s});
    (void)r.next();
    EXPECT_EQ(r.gets(limited(15s)), "wait 15000 ms or for news");
    walker other(w, alone);
    w.pass(15s);
    EXPECT_EQ(other.next(), "try vit as the probe");
    ASSERT_TRUE(other.its->sending(w.now));
    EXPECT_EQ(r.next(), "wait 5000 ms or for news");
    EXPECT_EQ(r.waits(), "give up: rate_limited 429 after 1 s");
}

TEST_F(attempts_test, a_request_whose_body_is_gone_is_not_sent_again)
{
    walker r(w, plan);
    (void)r.next();
    r.its->body_dropped();
    EXPECT_FALSE(r.its->may_fall_back());
    EXPECT_EQ(r.gets(broken()), "give up: unavailable 502");
}

TEST_F(attempts_test, a_body_that_streams_without_a_copy_may_still_be_sent_once)
{
    walker r(w, plan);
    r.its->body_dropped();
    EXPECT_EQ(r.next(), "try router with acme");
    EXPECT_EQ(r.cannot_connect(), "try vit") << "nothing of it was read yet";
    EXPECT_EQ(r.gets(broken()), "give up: unavailable 502");
}

TEST_F(attempts_test, a_conversation_of_several_exchanges_is_one_attempt)
{
    walker r(w, plan);
    (void)r.next();
    EXPECT_TRUE(r.its->sending(w.now));
    w.pass(6s);
    EXPECT_TRUE(r.its->sending(w.now));
    r.its->told(ok(), w.now, w.wall);
    EXPECT_EQ(r.route(), "router(200)");
}

TEST_F(attempts_test, what_comes_after_an_attempt_was_taken_back_is_ignored)
{
    walker r(w, plan);
    (void)r.next();
    r.its->skip(0, reason::unsupported, {.what = code::unsupported});
    r.its->content(200, w.now);
    r.its->told(broken(), w.now, w.wall);
    EXPECT_EQ(r.next(), "try vit");
}

TEST_F(attempts_test, says_whether_the_body_is_worth_keeping)
{
    walker r(w, w.route({&router, &vit}));
    (void)r.next();
    EXPECT_TRUE(r.its->another_candidate_left());
    (void)r.gets(broken());
    EXPECT_FALSE(r.its->another_candidate_left()) << "vit is the last";
    EXPECT_TRUE(r.its->may_fall_back()) << "it might be told to come back in a second";

    walker pool(w, w.route({&router}));
    (void)pool.next();
    EXPECT_TRUE(pool.its->another_candidate_left()) << "the other token";
    (void)pool.gets(limited(60s));
    EXPECT_FALSE(pool.its->another_candidate_left());

    walker lone(w, w.route({&vit}));
    (void)lone.next();
    EXPECT_FALSE(lone.its->another_candidate_left());
}

// ---- the probe

class probe_test : public attempts_test
{
protected:
    policy::plan& alone = w.route({&vit});

    // vit rests for 2 s after a rate limit of another request.
    void SetUp() override
    {
        walker r(w, alone);
        (void)r.next();
        (void)r.gets(limited(2s));
    }
};

TEST_F(probe_test, one_request_probes_and_the_others_see_it)
{
    w.pass(2s);
    walker first(w, alone);
    EXPECT_EQ(first.next(), "try vit as the probe");
    ASSERT_TRUE(first.its->sending(w.now));

    walker second(w, w.route({&vit, &own}));
    EXPECT_EQ(second.next(), "try own");
    second.succeeds();
    EXPECT_EQ(second.route(), "vit(probing) own(200)");

    walker third(w, alone);
    EXPECT_EQ(third.next(), "wait 5000 ms or for news");
    first.its->told(ok(), w.now, w.wall);
    EXPECT_EQ(third.woken(), 1);
    EXPECT_EQ(third.next(), "try vit") << "the crowd follows";
}

TEST_F(probe_test, whoever_rests_with_it_is_woken_by_it_under_whatever_name)
{
    // Another entry of the policy, or one of before a reload, of the same origin.
    config::upstream& twin = w.dedicated("twin");
    twin.at.origin = vit.at.origin;
    w.pass(2s);
    walker first(w, alone);
    EXPECT_EQ(first.next(), "try vit as the probe");
    ASSERT_TRUE(first.its->sending(w.now));
    walker other(w, w.route({&twin}));
    EXPECT_EQ(other.next(), "wait 5000 ms or for news");
    first.its->told(ok(), w.now, w.wall);
    EXPECT_EQ(other.woken(), 1);
    EXPECT_EQ(other.next(), "try twin");
}

TEST_F(probe_test, its_failure_doubles_the_rest_and_wakes_the_waiting)
{
    w.pass(2s);
    walker first(w, alone);
    (void)first.next();
    ASSERT_TRUE(first.its->sending(w.now));
    walker third(w, alone);
    EXPECT_EQ(third.next(), "wait 5000 ms or for news");
    first.its->told(limited(40s), w.now, w.wall);
    EXPECT_EQ(third.woken(), 1);
    EXPECT_EQ(third.next(), "give up: rate_limited 429 after 40 s") << "at once, not after its own timer";
}

TEST_F(probe_test, is_given_back_when_its_client_leaves)
{
    w.pass(2s);
    walker first(w, alone);
    (void)first.next();
    ASSERT_TRUE(first.its->sending(w.now));
    walker third(w, alone);
    (void)third.next();
    first.its->left(w.now);
    EXPECT_EQ(third.woken(), 1);
    EXPECT_EQ(third.next(), "try vit as the probe");
    EXPECT_EQ(first.its->story().back().skipped, reason::client_gone);
}

TEST_F(probe_test, is_given_back_when_the_request_just_goes_away)
{
    w.pass(2s);
    {
        walker first(w, alone);
        (void)first.next();
    }
    walker third(w, alone);
    EXPECT_EQ(third.next(), "try vit as the probe");
}

TEST_F(probe_test, is_given_back_after_five_seconds_from_its_head)
{
    w.pass(2s);
    walker first(w, alone);
    (void)first.next();
    w.pass(1s);
    ASSERT_TRUE(first.its->sending(w.now));
    walker third(w, alone);
    EXPECT_EQ(third.next(), "wait 5000 ms or for news") << "from the head on, not from the decision";
    EXPECT_EQ(third.waits(), "try vit as the probe");
    ASSERT_TRUE(third.its->sending(w.now));

    // The slow one succeeds after all: it was sent after the cooldown, so it counts.
    first.its->told(ok(), w.now, w.wall);
    EXPECT_EQ(w.standing_of(vit, nullptr), "free");
}

TEST_F(probe_test, a_probe_that_came_too_late_to_its_head_must_not_send)
{
    w.pass(2s);
    walker slow_connect(w, alone);
    EXPECT_EQ(slow_connect.next(), "try vit as the probe");
    w.pass(5s);
    walker other(w, alone);
    EXPECT_EQ(other.next(), "try vit as the probe");
    ASSERT_TRUE(other.its->sending(w.now));
    EXPECT_FALSE(slow_connect.its->sending(w.now));
    EXPECT_EQ(slow_connect.next(), "wait 5000 ms or for news");
    EXPECT_EQ(slow_connect.route(), "") << "as if it had never been proposed";
}

TEST_F(probe_test, only_a_request_whose_body_is_whole_probes)
{
    w.pass(2s);
    walker uploading(w, alone, {.deadline = w.now + 60s, .body_whole = false});
    EXPECT_EQ(uploading.next(), "wait 60000 ms or for news or for the body");
    uploading.its->body_arrived();
    EXPECT_EQ(uploading.next(), "try vit as the probe");

    walker with_choice(w, w.route({&vit, &own}), {.body_whole = false});
    EXPECT_EQ(with_choice.next(), "try own");
}

TEST_F(probe_test, the_first_content_of_a_stream_lets_the_crowd_in)
{
    w.pass(2s);
    walker first(w, alone);
    (void)first.next();
    ASSERT_TRUE(first.its->sending(w.now));
    walker third(w, alone);
    (void)third.next();
    first.its->content(200, w.now);
    EXPECT_EQ(third.woken(), 1);
    EXPECT_EQ(third.next(), "try vit");
}

TEST_F(probe_test, the_clients_own_fault_gives_the_probe_to_the_next)
{
    w.pass(2s);
    walker first(w, alone);
    (void)first.next();
    EXPECT_EQ(first.gets(rejected()), "give up: rejected 422");
    walker third(w, alone);
    EXPECT_EQ(third.next(), "try vit as the probe") << "a 422 does not tell whether the limit is over";
}

TEST_F(probe_test, those_who_wait_are_bounded_by_max_waiting)
{
    vit.max_waiting = 2;
    w.pass(2s);
    walker prober(w, alone);
    (void)prober.next();
    walker a(w, alone);
    walker b(w, alone);
    walker c(w, alone);
    EXPECT_EQ(a.next(), "wait 5000 ms or for news");
    EXPECT_EQ(b.next(), "wait 5000 ms or for news");
    EXPECT_EQ(c.next(), "give up: rate_limited 429 after 5 s");
    a.leaves();
    walker d(w, alone);
    EXPECT_EQ(d.next(), "wait 5000 ms or for news") << "a seat became free";
}

// ---- slots

class slots_of_attempts : public attempts_test
{
protected:
    policy::plan& alone = w.route({&vit});
};

TEST_F(slots_of_attempts, over_max_in_flight_requests_wait_first_in_first_out)
{
    vit.max_in_flight = 1;
    walker a(w, alone, {.deadline = w.now + 600s});
    walker b(w, alone, {.deadline = w.now + 600s});
    walker c(w, alone, {.deadline = w.now + 600s});
    EXPECT_EQ(a.next(), "try vit");
    EXPECT_EQ(b.next(), "wait 600000 ms or for news");
    EXPECT_EQ(c.next(), "wait 600000 ms or for news");
    a.succeeds();
    EXPECT_EQ(b.woken(), 1);
    EXPECT_EQ(c.woken(), 0);
    walker newcomer(w, alone, {.deadline = w.now + 600s});
    EXPECT_EQ(newcomer.next(), "wait 600000 ms or for news") << "nobody overtakes";
    EXPECT_EQ(c.next(), "wait 600000 ms or for news");
    EXPECT_EQ(b.next(), "try vit");
    b.leaves();
    EXPECT_EQ(c.woken(), 1);
    c.leaves(); // with the slot in its hands
    EXPECT_EQ(newcomer.woken(), 1);
    EXPECT_EQ(newcomer.next(), "try vit");
}

TEST_F(slots_of_attempts, over_max_waiting_they_are_told_at_once)
{
    vit.max_in_flight = 1;
    vit.max_waiting = 1;
    walker a(w, alone);
    walker b(w, alone);
    walker c(w, alone);
    (void)a.next();
    EXPECT_EQ(b.next(), "wait for ever or for news");
    EXPECT_EQ(c.next(), "give up: overloaded 429 after 1 s");
    EXPECT_EQ(c.route(), "vit(full)");
}

TEST_F(slots_of_attempts, a_full_one_is_passed_by)
{
    vit.max_in_flight = 1;
    walker a(w, alone);
    (void)a.next();
    walker b(w, w.route({&vit, &own}));
    EXPECT_EQ(b.next(), "try own");
    b.succeeds();
    EXPECT_EQ(b.route(), "vit(full) own(200)");
}

TEST_F(slots_of_attempts, a_refusal_without_a_time_is_a_limit_and_no_cooldown)
{
    walker a(w, alone);
    walker b(w, alone);
    walker c(w, alone);
    (void)a.next();
    (void)b.next();
    (void)c.next();
    ASSERT_TRUE(a.its->sending(w.now));
    ASSERT_TRUE(b.its->sending(w.now));
    EXPECT_EQ(c.gets(limited()), "wait for ever or for news") << "two are in flight: two is what it bears";
    EXPECT_EQ(w.standing_of(vit, nullptr), "free");
    EXPECT_EQ(w.state.places().at(0).learned, 2U);

    a.its->told(ok(), w.now, w.wall);
    EXPECT_EQ(c.woken(), 1);
    EXPECT_EQ(
        c.next(), "try vit"
    ) << "the limit was refused with a complete answer, so it may go there again";
    EXPECT_EQ(c.route(), "vit(429)");
}

TEST_F(slots_of_attempts, a_refusal_without_a_time_backs_off_when_nothing_else_is_in_flight)
{
    walker a(w, alone);
    (void)a.next();
    EXPECT_EQ(a.gets(limited()), "wait 1000 ms or for news");
    EXPECT_EQ(a.waits(), "try vit as the probe");
    EXPECT_EQ(a.gets(limited()), "wait 2000 ms or for news");
    EXPECT_EQ(a.waits(), "try vit as the probe");
    EXPECT_EQ(a.gets(limited()), "give up: rate_limited 429 after 4 s") << "three attempts";
}

TEST_F(slots_of_attempts, a_deadline_in_the_queue_says_overloaded)
{
    vit.max_in_flight = 1;
    walker a(w, alone);
    (void)a.next();
    walker b(w, alone, {.deadline = w.now + 3s});
    EXPECT_EQ(b.next(), "wait 3000 ms or for news");
    EXPECT_EQ(b.waits(), "give up: overloaded 429 after 1 s");
    EXPECT_EQ(b.route(), "vit(deadline)");
    EXPECT_EQ(w.state.counters().waiting, 0U);
}

// ---- the retry budget

TEST_F(attempts_test, the_budget_counts_only_second_attempts_at_an_upstream_that_failed_just_now)
{
    policy::plan& both = w.route({&vit, &own});
    const auto fail_own = [&] {
        walker r(w, w.route({&own}));
        (void)r.next();
        (void)r.gets(broken(500));
    };
    fail_own();

    std::deque<walker> retrying;
    for (int i = 0; i < 3; ++i) {
        walker& r = retrying.emplace_back(w, both);
        (void)r.next();
        EXPECT_EQ(r.gets(broken(500)), "try own") << "three are always free, number " << i;
    }
    walker fourth(w, both);
    (void)fourth.next();
    EXPECT_EQ(fourth.gets(broken(500)), "give up: unavailable 502");
    EXPECT_EQ(fourth.route(), "vit(500) own(budget)");
    EXPECT_EQ(w.state.counters().retries_refused, 1U);

    // Others do not pay for it: a first attempt, and a second one at an upstream without a recent failure.
    walker first(w, w.route({&own}));
    EXPECT_EQ(first.next(), "try own");
    walker healthy(w, w.route({&vit, &router}));
    (void)healthy.next();
    EXPECT_EQ(healthy.gets(too_large()), "try router with acme");

    // Ten seconds later nothing is held against it.
    w.pass(10s);
    walker later(w, both);
    (void)later.next();
    EXPECT_EQ(later.gets(too_large()), "try own");
    retrying.clear();
    EXPECT_EQ(w.state.counters().active_retries, 0);
}

TEST_F(attempts_test, the_budget_grows_with_the_requests_in_progress)
{
    {
        walker r(w, w.route({&own}));
        (void)r.next();
        (void)r.gets(broken(500));
    }
    policy::plan& both = w.route({&vit, &own});
    std::deque<walker> crowd;
    for (int i = 0; i < 50; ++i) {
        (void)crowd.emplace_back(w, both).next();
    }
    int moved = 0;
    for (walker& r : crowd) {
        moved += r.gets(too_large()) == "try own" ? 1 : 0;
    }
    EXPECT_EQ(moved, 10) << "a fifth of fifty";
}

TEST_F(attempts_test, a_hundred_in_flight_at_a_primary_that_resets_all_reach_the_healthy_second)
{
    policy::plan& both = w.route({&vit, &own});
    std::deque<walker> crowd;
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(crowd.emplace_back(w, both).next(), "try vit");
        ASSERT_TRUE(crowd.back().its->sending(w.now));
    }
    for (walker& r : crowd) {
        r.its->told(reset(), w.now, w.wall);
        EXPECT_EQ(r.next(), "try own");
        r.succeeds();
    }
    EXPECT_EQ(w.standing_of(vit, nullptr), "cooling for 1000 ms");
}

// 1,000 requests, one after another, two upstreams that always say 503: each request is seen by each at most
// once, and together they see hardly more than there are requests.
TEST_F(attempts_test, a_storm_of_retries_does_not_happen)
{
    policy::plan& both = w.route({&vit, &own});
    w.fallback_of(both).max_wait = 0s;
    int seen = 0;
    for (int i = 0; i < 1000; ++i) {
        walker r(w, both);
        std::string step = r.next();
        int here = 0;
        while (step.starts_with("try")) {
            ++here;
            step = r.gets(broken());
        }
        EXPECT_LE(here, 2);
        EXPECT_TRUE(step.starts_with("give up")) << step;
        seen += here;
        w.pass(10ms);
    }
    EXPECT_LE(seen, 100) << "ten seconds: five each, and then a probe at 1, 3, 7 s";
}

} // namespace
} // namespace gw::dispatch::testing
