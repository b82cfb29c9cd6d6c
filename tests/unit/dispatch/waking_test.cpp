// The warm bridge's decisions, with a clock of the test's own: when an endpoint is asked, when its waker
// stops, and what requests meet meanwhile.
#include "world.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace gw::dispatch::testing {
namespace {

using end = waking::end;
using heard = waking::heard;
using start = waking::start;

class waking_test : public ::testing::Test
{
protected:
    static constexpr std::uint64_t here = 7, there = 8;

    world w;
    waking it;

    start begin(std::uint64_t place = here, std::size_t tokens = 1, milliseconds limit = 15min)
    {
        return it.begin(place, "vit", limit, tokens, w.now);
    }
    // What the waker does now, as a sentence.
    std::string step(std::uint64_t place = here)
    {
        const waking::step now = it.next(place, w.now);
        if (now.stop) {
            return "stop: " + std::string(waking::to_string(*now.stop));
        }
        if (now.ask) {
            const std::string with = now.token == 0 ? "" : " with token " + std::to_string(now.token);
            return "ask for " + std::to_string(now.ask->count()) + " s" + with;
        }
        return now.working ? "wait" : "nothing to do";
    }
    std::string after(std::chrono::nanoseconds span, std::uint64_t place = here)
    {
        w.pass(span);
        return step(place);
    }
    void hears(heard what, milliseconds wait = 0ms) { it.heard_of(here, what, wait, w.now); }
    waking::view view()
    {
        const auto all = it.now();
        return all.empty() ? waking::view{} : all.front();
    }
};

TEST_F(waking_test, nobody_sleeps_and_nothing_is_done)
{
    EXPECT_EQ(step(), "nothing to do");
    it.want(here, w.now); // of nobody: forgotten
    EXPECT_TRUE(it.now().empty());
}

TEST_F(waking_test, however_many_meet_it_asleep_one_request_wakes_it)
{
    EXPECT_EQ(begin(), start::begun);
    EXPECT_EQ(begin(), start::joined);
    EXPECT_EQ(step(), "ask for 55 s");
    for (int i = 0; i < 540; ++i) { // held for 54 s
        EXPECT_EQ(begin(), start::joined);
        EXPECT_EQ(after(100ms), "wait");
    }
    hears(heard::ready);
    EXPECT_EQ(step(), "stop: ready");
    EXPECT_EQ(step(), "nothing to do") << "what is ready is never asked";
    EXPECT_EQ(after(1h), "nothing to do");
    EXPECT_EQ(view().asked, 1U);
    EXPECT_EQ(view().last_took, 54s);
}

TEST_F(waking_test, one_that_answers_at_once_is_asked_once_a_second)
{
    begin();
    int asked = 0;
    for (int i = 0; i < 100; ++i, w.pass(100ms)) {
        it.want(here, w.now);
        if (step() != "wait") {
            ++asked;
            hears(heard::not_yet);
        }
    }
    EXPECT_EQ(asked, 10);
    EXPECT_EQ(view().asked, 10U);
}

TEST_F(waking_test, with_nobody_asking_it_stops_after_a_minute)
{
    begin();
    EXPECT_EQ(step(), "ask for 55 s");
    hears(heard::not_yet);
    std::string last;
    while ((last = after(100ms)) != "stop: unwanted") {
        ASSERT_LT(w.now - time_point{}, 100h + 61s);
        if (last != "wait") {
            hears(heard::not_yet);
        }
    }
    EXPECT_EQ(w.now - time_point{}, 100h + 60s);
    EXPECT_EQ(view().asked, 60U);
    EXPECT_EQ(after(1h), "nothing to do");

    // Somebody comes again: the same once more.
    EXPECT_EQ(begin(), start::begun);
    EXPECT_EQ(step(), "ask for 55 s");
    EXPECT_EQ(after(59900ms), "wait");
    it.want(here, w.now);
    EXPECT_EQ(after(59900ms), "wait") << "held all the time, and wanted";
    EXPECT_EQ(after(100ms), "stop: unwanted") << "also while a request is held";
}

TEST_F(waking_test, a_new_start_keeps_the_second_between_two_requests)
{
    begin();
    EXPECT_EQ(step(), "ask for 55 s");
    hears(heard::ready);
    EXPECT_EQ(after(200ms), "stop: ready");
    EXPECT_EQ(begin(), start::begun) << "it said ready, and the next request met it asleep";
    EXPECT_EQ(step(), "wait");
    EXPECT_EQ(after(700ms), "wait");
    EXPECT_EQ(after(100ms), "ask for 55 s");
}

TEST_F(waking_test, what_never_starts_is_given_up_for_as_long)
{
    begin(here, 1, 2min);
    EXPECT_EQ(step(), "ask for 55 s");
    w.pass(55s);
    hears(heard::not_yet);
    it.want(here, w.now);
    EXPECT_EQ(step(), "ask for 55 s");
    w.pass(55s);
    hears(heard::not_yet);
    it.want(here, w.now);
    EXPECT_EQ(step(), "ask for 10 s") << "no longer than the start may take";
    EXPECT_EQ(after(10s), "stop: given_up");
    EXPECT_EQ(begin(here, 1, 2min), start::given_up);
    w.pass(119s);
    EXPECT_EQ(begin(here, 1, 2min), start::given_up);
    w.pass(1s);
    EXPECT_EQ(begin(here, 1, 2min), start::begun) << "another try";
}

TEST_F(waking_test, another_try_has_its_own_time_however_short)
{
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(begin(here, 1, 5s), start::begun);
        EXPECT_EQ(step(), "ask for 5 s");
        EXPECT_EQ(after(5s), "stop: given_up");
        EXPECT_EQ(begin(here, 1, 5s), start::given_up);
        hears(heard::not_yet);
        w.pass(5s);
    }
    EXPECT_EQ(begin(here, 1, 5s), start::begun);
    EXPECT_EQ(step(), "ask for 5 s");
    hears(heard::no_route);
    EXPECT_EQ(step(), "stop: no_route");
    w.pass(5s);
    EXPECT_EQ(begin(here, 1, 5s), start::begun);
    EXPECT_EQ(step(), "ask for 5 s");
}

TEST_F(waking_test, what_was_given_up_and_works_is_woken_again)
{
    begin(here, 1, 1s);
    (void)step();
    EXPECT_EQ(after(1s), "stop: given_up");
    it.works(here);
    EXPECT_EQ(begin(here, 1, 1s), start::begun);
}

TEST_F(waking_test, a_health_route_that_lies_does_not_go_on_for_ever)
{
    const auto began = w.now;
    while (begin(here, 1, 1min) != start::given_up) {
        if (step().starts_with("ask")) {
            hears(heard::ready); // and the next request gets a 503 all the same
        }
        w.pass(100ms);
        ASSERT_LT(w.now - began, 2min);
    }
    EXPECT_GE(w.now - began, 1min);
    EXPECT_LE(view().asked, 61U);
}

TEST_F(waking_test, answers)
{
    const std::vector<std::pair<int, heard>> table{
        {200, heard::ready},
        {204, heard::ready},
        {400, heard::no_route},
        {401, heard::refused},
        {403, heard::refused},
        {407, heard::refused},
        {404, heard::no_route},
        {405, heard::no_route},
        {301, heard::no_route},
        {408, heard::not_yet},
        {429, heard::not_yet},
        {500, heard::not_yet},
        {502, heard::not_yet},
        {503, heard::not_yet},
        {504, heard::not_yet},
        {501, heard::no_route},
        {101, heard::no_route},
        {505, heard::no_route},
    };
    for (const auto& [status, what] : table) {
        EXPECT_EQ(waking::hear(status, false), what) << status;
    }
    EXPECT_EQ(waking::hear(400, true), heard::paused);
}

TEST_F(waking_test, a_paused_endpoint_is_left_alone)
{
    begin();
    (void)step();
    hears(heard::paused);
    EXPECT_EQ(step(), "stop: paused");
    EXPECT_EQ(after(1h), "nothing to do");
    EXPECT_EQ(begin(), start::begun) << "a 503 later on: it was resumed";
}

TEST_F(waking_test, every_token_is_tried_and_then_requests_find_out)
{
    begin(here, 2);
    EXPECT_EQ(step(), "ask for 55 s");
    hears(heard::refused);
    EXPECT_EQ(step(), "wait");
    EXPECT_EQ(after(1s), "ask for 55 s with token 1");
    hears(heard::refused);
    EXPECT_EQ(step(), "stop: refused");
    EXPECT_EQ(begin(here, 2), start::by_itself);
    w.pass(15min);
    EXPECT_EQ(begin(here, 2), start::begun);

    // One that is good stays.
    EXPECT_EQ(step(), "ask for 55 s");
    hears(heard::refused);
    EXPECT_EQ(after(1s), "ask for 55 s with token 1");
    hears(heard::not_yet);
    EXPECT_EQ(after(1s), "ask for 55 s with token 1");
}

TEST_F(waking_test, a_route_that_is_not_there_leaves_it_to_requests)
{
    begin();
    (void)step();
    hears(heard::no_route);
    EXPECT_EQ(step(), "stop: no_route");
    EXPECT_EQ(begin(), start::by_itself);
    it.works(here);
    EXPECT_EQ(begin(), start::begun);
}

TEST_F(waking_test, silence_ends_it_after_a_few)
{
    begin();
    for (unsigned i = 0; i + 1 < waking::most_silent; ++i) {
        EXPECT_EQ(step(), "ask for 55 s");
        hears(heard::silent);
        EXPECT_EQ(after(1s), "ask for 55 s") << "once is nothing";
        hears(heard::not_yet);
        w.pass(1s);
    }
    for (unsigned i = 0; i < waking::most_silent; ++i) {
        EXPECT_EQ(step(), "ask for 55 s");
        hears(heard::silent);
        w.pass(i + 1 == waking::most_silent ? 0s : 1s);
    }
    EXPECT_EQ(step(), "stop: unreachable");
}

TEST_F(waking_test, a_told_pause_is_kept)
{
    begin();
    (void)step();
    hears(heard::not_yet, 5s);
    EXPECT_EQ(after(4900ms), "wait");
    EXPECT_EQ(after(100ms), "ask for 55 s");
}

TEST_F(waking_test, endpoints_do_not_share_a_waker)
{
    begin(here);
    begin(there);
    EXPECT_EQ(step(here), "ask for 55 s");
    EXPECT_EQ(step(there), "ask for 55 s");
    hears(heard::ready);
    EXPECT_EQ(step(here), "stop: ready");
    EXPECT_EQ(step(there), "wait");
}

TEST_F(waking_test, a_policy_without_it_ends_its_waker)
{
    begin(here);
    begin(there);
    it.keep({here});
    EXPECT_EQ(step(here), "ask for 55 s") << "still named: it lives on";
    EXPECT_EQ(step(there), "stop: gone");
    it.keep({here});
    EXPECT_EQ(it.now().size(), 1U);
    hears(heard::ready);
    (void)step(here);
    it.keep({});
    EXPECT_TRUE(it.now().empty());
}

// --- what requests meet ---

class bridge_test : public ::testing::Test
{
protected:
    world w;
    config::upstream& vit = sleeper("vit");
    config::upstream& own = w.dedicated("own");
    policy::plan& both = w.route({&vit, &own});
    policy::plan& alone = w.route({&vit});

    config::upstream& sleeper(const std::string& name)
    {
        config::upstream& made = w.dedicated(name);
        made.wake_timeout = 15min;
        return made;
    }
    static verdict asleep(milliseconds told = 0ms)
    {
        return answer(outcome::warming, scope::upstream, 503, told);
    }
    // A request was sent there and met it asleep, as the dispatch coroutine goes about it.
    std::string meets(walker& r, const verdict& what = asleep())
    {
        EXPECT_TRUE(r.its->sending(w.now));
        w.pass(1ms);
        (void)w.state.sleeps(vit, what, w.now);
        return r.gets(what);
    }
};

TEST_F(bridge_test, requests_pass_by_and_none_is_a_probe_until_it_is_ready)
{
    walker first(w, both);
    EXPECT_EQ(first.next(), "try vit");
    EXPECT_EQ(meets(first), "try own");
    for (int i = 0; i < 300; ++i) {
        w.pass(1s);
        walker r(w, both);
        ASSERT_EQ(r.next(), "try own");
        r.succeeds();
        ASSERT_EQ(r.route(), "vit(warming) own(200)");
    }
    w.state.sleeps_no_more(vit, end::ready, w.now);
    walker r(w, both);
    EXPECT_EQ(r.next(), "try vit as the probe");
    walker beside(w, both);
    EXPECT_EQ(beside.next(), "try own") << "a health route may say more than is true: the crowd follows";
    beside.succeeds();
    r.succeeds();
    EXPECT_EQ(w.standing_of(vit, nullptr), "free");
}

TEST_F(bridge_test, the_only_way_is_waited_for)
{
    walker first(w, alone);
    EXPECT_EQ(first.next(), "try vit");
    EXPECT_EQ(meets(first), "wait 5000 ms or for news");
    walker second(w, alone);
    EXPECT_EQ(second.next(), "wait 5000 ms or for news");
    EXPECT_EQ(second.waits(), "wait 5000 ms or for news");
    w.pass(1s);
    w.state.sleeps_no_more(vit, end::ready, w.now);
    EXPECT_EQ(first.woken() + second.woken(), 2);
    EXPECT_EQ(second.next(), "try vit as the probe");
    EXPECT_EQ(first.next(), "wait 5000 ms or for news");
    second.succeeds();
    EXPECT_EQ(second.route(), "vit(200)");
    EXPECT_EQ(first.woken(), 2) << "by the health route, and by the probe";
    EXPECT_EQ(first.next(), "try vit");
    first.succeeds();
    EXPECT_EQ(first.route(), "vit(503) vit(200)");
}

TEST_F(bridge_test, patience_ends_and_the_client_is_told_when_to_come_back)
{
    w.fallback_of(alone).max_wait = 12s;
    walker first(w, alone);
    EXPECT_EQ(first.next(), "try vit");
    EXPECT_EQ(meets(first), "wait 5000 ms or for news");
    EXPECT_EQ(first.waits(), "wait 5000 ms or for news");
    EXPECT_EQ(first.waits(), "wait 2000 ms or for news");
    EXPECT_EQ(first.waits(), "give up: warming 429 after 5 s");

    walker second(w, alone);
    EXPECT_EQ(second.next(), "wait 5000 ms or for news");
    EXPECT_EQ(second.waits(), "wait 5000 ms or for news");
    EXPECT_EQ(second.waits(), "wait 2000 ms or for news");
    EXPECT_EQ(second.waits(), "give up: warming 429 after 5 s");
    const auto& last = std::get<attempts::give_up>(second.step()).last;
    EXPECT_EQ(last.text, "upstream vit is starting; the gateway wakes it: ask again in 5 s");
    EXPECT_EQ(second.route(), "vit(warming)");
}

TEST_F(bridge_test, a_told_time_that_is_too_far_away_is_not_waited_for)
{
    walker first(w, alone);
    EXPECT_EQ(first.next(), "try vit");
    EXPECT_EQ(meets(first, asleep(200s)), "give up: warming 429 after 200 s");
    w.pass(100s);
    walker second(w, alone);
    EXPECT_EQ(second.next(), "give up: warming 429 after 100 s");
}

TEST_F(bridge_test, whoever_asks_keeps_it_wanted_and_whoever_has_another_way_first_does_not)
{
    policy::plan& late = w.route({&own, &vit});
    walker first(w, both);
    (void)first.next();
    (void)meets(first);
    const std::uint64_t place = place_of(vit, {});
    w.pass(50s);
    {
        walker r(w, both);
        (void)r.next();
    }
    w.pass(50s);
    EXPECT_FALSE(w.state.bridge.next(place, w.now).stop);
    {
        walker r(w, late);
        EXPECT_EQ(r.next(), "try own");
    }
    w.pass(10s);
    EXPECT_EQ(w.state.bridge.next(place, w.now).stop, end::unwanted);
    w.state.sleeps_no_more(vit, end::unwanted, w.now);

    // The next one finds out how it is; others pass by meanwhile.
    walker probe(w, both);
    EXPECT_EQ(probe.next(), "try vit as the probe");
    walker other(w, both);
    EXPECT_EQ(other.next(), "try own");
    EXPECT_EQ(other.route(), "vit(probing)");
    probe.succeeds();
    EXPECT_EQ(w.standing_of(vit, nullptr), "free");
}

TEST_F(bridge_test, one_that_is_paused_or_unreachable_rests_as_unavailable_first)
{
    for (const end why : {end::paused, end::unreachable, end::given_up}) {
        walker first(w, both);
        EXPECT_EQ(first.next(), "try vit");
        EXPECT_EQ(meets(first), "try own");
        w.state.sleeps_no_more(vit, why, w.now);
        EXPECT_EQ(w.standing_of(vit, nullptr), "cooling for 1000 ms");
        w.pass(1s);
        walker probe(w, both);
        EXPECT_EQ(probe.next(), "try vit as the probe");
        probe.succeeds();
    }
}

TEST_F(bridge_test, answers_of_requests_that_were_under_way_change_nothing)
{
    walker early(w, both);
    EXPECT_EQ(early.next(), "try vit");
    EXPECT_TRUE(early.its->sending(w.now));
    walker first(w, both);
    EXPECT_EQ(first.next(), "try vit");
    EXPECT_EQ(meets(first), "try own");
    early.its->told(ok(), w.now, w.wall);
    EXPECT_EQ(w.standing_of(vit, nullptr), "warming for 5000 ms");

    walker late(w, both);
    EXPECT_EQ(late.next(), "try own");
    w.pass(2h);
    EXPECT_EQ(w.standing_of(vit, nullptr), "warming for 5000 ms")
        << "it is the waker's, and never swept away";
}

TEST_F(bridge_test, a_probe_that_was_chosen_before_may_not_send)
{
    walker first(w, both);
    (void)first.next();
    (void)meets(first);
    w.state.sleeps_no_more(vit, end::unwanted, w.now);
    walker probe(w, both);
    EXPECT_EQ(probe.next(), "try vit as the probe");
    (void)w.state.sleeps(vit, asleep(), w.now);
    EXPECT_FALSE(probe.its->sending(w.now));
    EXPECT_EQ(probe.next(), "try own");
}

} // namespace
} // namespace gw::dispatch::testing
