// One request, step by step: what happened and when, and what is done next.
#include "three_candidates.hpp"

#include <gmock/gmock.h>

namespace gw::dispatch::testing {
namespace {

using ::testing::HasSubstr;

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

} // namespace
} // namespace gw::dispatch::testing
