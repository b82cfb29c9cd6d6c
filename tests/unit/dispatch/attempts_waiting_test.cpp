// One request that has to wait: for its deadline, a cooldown's end, a probe, a slot; and what the retry
// budget refuses.
#include "three_candidates.hpp"

#include <gmock/gmock.h>

namespace gw::dispatch::testing {
namespace {

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

// Other cores go on while one looks for a seat: their steps are taken whenever the request is about to sit.
TEST_F(slots_of_attempts, a_slot_that_becomes_free_just_then_is_not_held_asleep)
{
    vit.max_in_flight = own.max_in_flight = 1;
    vit.max_waiting = 1;
    own.max_waiting = 9;
    slots::lease in_vit = w.state.room.acquire(vit, "org/model");
    const slots::lease in_own = w.state.room.acquire(own, "org/model");
    slots::ticket seat = w.state.room.wait_for_slot(vit, "org/model", {});
    int sits = 0;
    const auto meanwhile = [&] {
        ++sits;
        if (sits == 2) { // vit had no seat, now for own
            seat.leave();
        } else if (sits == 3) { // now vit has one
            in_vit.release();
        }
        return [] {};
    };
    walker one(w, w.route({&vit, &own}), {.waker = meanwhile});
    EXPECT_EQ(one.next(), "try vit");
    EXPECT_EQ(sits, 3);
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
