#include "workers/life.hpp"

#include <gtest/gtest.h>

#include <ostream>

namespace gw::workers {

std::ostream& operator<<(std::ostream& out, life::answer value)
{
    constexpr const char* names[]{"ready", "wait", "backing_off", "down", "removed", "closed"};
    return out << names[static_cast<std::size_t>(value)];
}

std::ostream& operator<<(std::ostream& out, life::deed value)
{
    constexpr const char* names[]{"nothing", "start", "stop", "kill"};
    return out << names[static_cast<std::size_t>(value)];
}

std::ostream& operator<<(std::ostream& out, life::reason value)
{
    constexpr const char* names[]{"none", "idle", "slow_start", "condemned", "retired", "closed"};
    return out << names[static_cast<std::size_t>(value)];
}

std::ostream& operator<<(std::ostream& out, life::state value)
{
    return out << to_string(value);
}

namespace {

using namespace std::chrono_literals;
using enum life::answer;
using deed = life::deed;
using reason = life::reason;
using state = life::state;

// A life and its own clock.
struct story
{
    life it{tunables{.start_timeout = 20s, .idle_stop = 60s, .stop_timeout = 5s}};
    time_point now{1000h};
    std::uint64_t generation = 0;

    void pass(milliseconds time) { now += time; }
    life::answer want() { return it.want(now); }
    life::order step() { return it.advance(now); }

    void start()
    {
        ASSERT_EQ(step().what, deed::start);
        it.launched({.port = 81, .generation = ++generation}, now);
    }
    void start_and_be_ready()
    {
        ASSERT_EQ(want(), wait);
        start();
        pass(1s);
        it.became_ready(now);
        ASSERT_EQ(it.now(), state::ready);
    }
    // Wanted again as soon as it may start, and crashes at once.
    void crash_at_start()
    {
        pass(it.try_again_in(now));
        ASSERT_EQ(want(), wait);
        start();
        ASSERT_TRUE(it.ended(now, false));
    }
};

TEST(life, nothing_starts_before_it_is_wanted)
{
    story s;
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_FALSE(s.step().again);
    EXPECT_FALSE(s.it.borrow());
}

TEST(life, many_who_want_it_start_it_once)
{
    story s;
    EXPECT_EQ(s.want(), wait);
    EXPECT_EQ(s.want(), wait);
    s.start();
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_EQ(s.want(), wait);
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_FALSE(s.it.borrow()) << "not before it is ready";
    s.it.became_ready(s.now);
    EXPECT_EQ(s.want(), ready);
    EXPECT_EQ(s.it.borrow(), (ready_worker{.port = 81, .generation = 1}));
    EXPECT_EQ(s.it.starts(), 1U);
}

TEST(life, a_start_that_takes_too_long_is_stopped_and_counts_as_a_crash)
{
    story s;
    EXPECT_EQ(s.want(), wait);
    s.start();
    EXPECT_EQ(s.step().again, s.now + 20s);
    s.pass(19'999ms);
    EXPECT_EQ(s.step().what, deed::nothing);
    s.pass(1ms);
    const life::order late = s.step();
    EXPECT_EQ(late.what, deed::stop);
    EXPECT_EQ(late.why, reason::slow_start);
    EXPECT_EQ(s.it.crashes(), 1U);

    s.it.became_ready(s.now); // its answer crossed the order to stop
    EXPECT_EQ(s.it.now(), state::stopping);
    EXPECT_FALSE(s.it.borrow());
}

TEST(life, what_does_not_stop_is_killed_once)
{
    story s;
    s.start_and_be_ready();
    s.it.close();
    EXPECT_EQ(s.step().what, deed::stop);
    EXPECT_EQ(s.step().what, deed::nothing);
    s.pass(5s + life::kill_margin - 1ms);
    EXPECT_EQ(s.step().what, deed::nothing);
    s.pass(1ms);
    EXPECT_EQ(s.step().what, deed::kill);
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_FALSE(s.step().again);
}

TEST(life, idling_counts_from_the_end_of_the_last_request)
{
    story s;
    s.start_and_be_ready();
    EXPECT_EQ(s.step().again, s.now + 60s);
    const ready_worker where = *s.it.borrow();
    s.pass(200s);
    EXPECT_EQ(s.step().what, deed::nothing) << "a request is under way";
    ASSERT_TRUE(s.step().again);
    EXPECT_LE(*s.step().again, s.now + 60s);
    EXPECT_FALSE(s.it.give_back(where.generation, s.now));
    s.pass(59'999ms);
    EXPECT_EQ(s.step().what, deed::nothing);
    s.pass(1ms);
    const life::order idle = s.step();
    EXPECT_EQ(idle.what, deed::stop);
    EXPECT_EQ(idle.why, reason::idle);
    EXPECT_EQ(s.it.crashes(), 0U);
}

TEST(life, who_comes_while_it_stops_gets_a_new_one)
{
    story s;
    s.start_and_be_ready();
    s.pass(60s);
    EXPECT_EQ(s.step().what, deed::stop);
    EXPECT_EQ(s.want(), wait);
    EXPECT_EQ(s.step().what, deed::nothing) << "not while the old one runs";
    EXPECT_FALSE(s.it.ended(s.now, false)) << "those who wait are not told of the old one's end";
    s.start();
    s.it.became_ready(s.now);
    EXPECT_EQ(s.it.borrow()->generation, 2U);
}

TEST(life, zero_means_it_never_stops_for_idling)
{
    story s;
    s.it.tune({.idle_stop = 0ms});
    s.start_and_be_ready();
    s.pass(1000h);
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_FALSE(s.step().again);
}

TEST(life, rests_after_a_crash_twice_as_long_each_time)
{
    story s;
    milliseconds rest{100};
    for (int crashes = 1; crashes <= 12; ++crashes) {
        s.crash_at_start();
        EXPECT_EQ(s.it.try_again_in(s.now), rest) << crashes;
        rest = std::min(2 * rest, 30'000ms);
        s.pass(31s); // far apart: never five within a minute
    }
    EXPECT_EQ(s.it.crashes(), 12U);
}

TEST(life, a_short_rest_is_waited_for_a_long_one_refused)
{
    story s;
    s.crash_at_start();
    EXPECT_EQ(s.want(), wait);
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_EQ(s.step().again, s.now + 100ms);
    s.pass(100ms);
    s.start();
    EXPECT_TRUE(s.it.ended(s.now, false));
    s.crash_at_start();
    s.crash_at_start(); // 800 ms by now
    EXPECT_EQ(s.want(), wait);
    s.pass(800ms);
    s.start();
    s.pass(70s);
    EXPECT_TRUE(s.it.ended(s.now, false)); // 1.6 s
    EXPECT_EQ(s.want(), backing_off);
    s.pass(600ms);
    EXPECT_EQ(s.want(), wait);
}

TEST(life, five_crashes_in_a_minute_mark_it_down_for_a_minute)
{
    story s;
    for (int crashes = 0; crashes < 4; ++crashes) {
        s.crash_at_start();
        EXPECT_FALSE(s.it.down(s.now));
    }
    s.crash_at_start();
    EXPECT_TRUE(s.it.down(s.now));
    EXPECT_EQ(s.want(), down);
    EXPECT_EQ(s.it.try_again_in(s.now), 60s);
    s.pass(60s);
    EXPECT_FALSE(s.it.down(s.now));
    EXPECT_EQ(s.want(), wait);
    s.start();
    s.it.became_ready(s.now);
    EXPECT_EQ(s.want(), ready) << "it recovers by itself";
}

TEST(life, a_minute_of_service_clears_the_rest)
{
    story s;
    for (int crashes = 0; crashes < 3; ++crashes) {
        s.crash_at_start();
    }
    s.pass(1s);
    s.start_and_be_ready();
    s.pass(59s);
    EXPECT_TRUE(s.it.ended(s.now, false));
    EXPECT_EQ(s.it.try_again_in(s.now), 800ms);

    s.pass(1s);
    s.start_and_be_ready();
    s.pass(60s);
    EXPECT_TRUE(s.it.ended(s.now, false));
    EXPECT_EQ(s.it.try_again_in(s.now), 100ms);
}

TEST(life, a_taken_port_is_no_crash_until_the_third)
{
    story s;
    EXPECT_EQ(s.want(), wait);
    s.start();
    EXPECT_FALSE(s.it.ended(s.now, true));
    s.start();
    EXPECT_FALSE(s.it.ended(s.now, true));
    s.start();
    EXPECT_EQ(s.it.crashes(), 0U);
    EXPECT_TRUE(s.it.ended(s.now, true));
    EXPECT_EQ(s.it.crashes(), 1U);
    EXPECT_EQ(s.it.starts(), 3U);
}

TEST(life, a_crash_while_ready_takes_it_out_and_the_next_starts_another)
{
    story s;
    s.start_and_be_ready();
    const ready_worker before = *s.it.borrow();
    EXPECT_TRUE(s.it.ended(s.now, false));
    EXPECT_EQ(s.it.crashes(), 1U);
    EXPECT_FALSE(s.it.borrow());
    EXPECT_EQ(s.it.in_flight(), 0U);

    s.pass(100ms);
    s.start_and_be_ready();
    ASSERT_TRUE(s.it.borrow());
    EXPECT_FALSE(s.it.give_back(before.generation, s.now)) << "the lease of an earlier process";
    EXPECT_EQ(s.it.in_flight(), 1U);
}

TEST(life, a_condemned_one_serves_nobody_and_counts_one_crash)
{
    story s;
    s.start_and_be_ready();
    EXPECT_FALSE(s.it.condemn(99, s.now)) << "another generation";
    EXPECT_TRUE(s.it.condemn(1, s.now));
    EXPECT_FALSE(s.it.condemn(1, s.now));
    EXPECT_FALSE(s.it.borrow());
    const life::order told = s.step();
    EXPECT_EQ(told.what, deed::stop);
    EXPECT_EQ(told.why, reason::condemned);
    EXPECT_EQ(told.again, s.now + life::condemned_time) << "not the time that others have to stop";
    EXPECT_EQ(s.want(), wait);
    EXPECT_FALSE(s.it.ended(s.now, false));
    EXPECT_EQ(s.it.crashes(), 1U);
    EXPECT_EQ(s.step().again, s.now + 100ms);

    story deaf; // to SIGTERM
    deaf.start_and_be_ready();
    EXPECT_TRUE(deaf.it.condemn(1, deaf.now));
    EXPECT_EQ(deaf.step().what, deed::stop);
    deaf.pass(life::condemned_time);
    EXPECT_EQ(deaf.step().what, deed::strike);
    EXPECT_EQ(deaf.step().again, deaf.now + 5s + life::kill_margin - life::condemned_time)
        << "for its launcher";

    story died; // by itself, before it could be told
    died.start_and_be_ready();
    EXPECT_TRUE(died.it.condemn(1, died.now));
    EXPECT_TRUE(died.it.ended(died.now, false));
    EXPECT_EQ(died.it.crashes(), 1U);
}

TEST(life, a_retired_one_serves_what_it_has_and_goes)
{
    story s;
    s.start_and_be_ready();
    const ready_worker where = *s.it.borrow();
    EXPECT_FALSE(s.it.retire(s.now));
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_EQ(s.step().again, s.now + 30s);
    EXPECT_EQ(s.want(), ready) << "requests that began before the reload";
    s.pass(10s);
    EXPECT_TRUE(s.it.give_back(where.generation, s.now)) << "somebody must look now";
    EXPECT_EQ(s.step().again, s.now + life::retired_silence);
    s.pass(life::retired_silence);
    EXPECT_EQ(s.step().why, reason::retired);
    EXPECT_EQ(s.want(), removed);
    EXPECT_TRUE(s.it.ended(s.now, false));
    EXPECT_EQ(s.it.crashes(), 0U);
}

TEST(life, a_retired_one_has_thirty_seconds)
{
    story s;
    s.start_and_be_ready();
    ASSERT_TRUE(s.it.borrow());
    EXPECT_FALSE(s.it.retire(s.now));
    s.pass(29'999ms);
    EXPECT_FALSE(s.it.retire(s.now)) << "a second reload does not give it more";
    EXPECT_EQ(s.step().what, deed::nothing);
    s.pass(1ms);
    EXPECT_EQ(s.step().what, deed::stop);
}

TEST(life, one_that_is_named_again_lives_on)
{
    story s;
    s.start_and_be_ready();
    EXPECT_FALSE(s.it.retire(s.now));
    s.it.name_again();
    s.pass(31s);
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_EQ(s.want(), ready);
}

TEST(life, one_that_is_retired_while_it_starts_serves_those_who_wait)
{
    story s;
    EXPECT_EQ(s.want(), wait);
    s.start();
    EXPECT_FALSE(s.it.retire(s.now));
    EXPECT_EQ(s.step().what, deed::nothing);
    s.it.became_ready(s.now);
    EXPECT_EQ(s.step().what, deed::nothing) << "they need a moment to come";
    ASSERT_TRUE(s.it.borrow());
}

TEST(life, one_that_is_retired_while_it_rests_never_starts)
{
    story s;
    s.crash_at_start();
    EXPECT_EQ(s.want(), wait);
    EXPECT_TRUE(s.it.retire(s.now)) << "those who wait must be told";
    s.pass(1s);
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_EQ(s.want(), removed);
}

TEST(life, two_of_the_same_name_never_run_together)
{
    story s;
    s.it.hold_back(true);
    EXPECT_EQ(s.want(), wait);
    EXPECT_EQ(s.step().what, deed::nothing);
    s.it.hold_back(false);
    EXPECT_EQ(s.step().what, deed::start);
}

TEST(life, a_closed_one_starts_no_more)
{
    story s;
    EXPECT_EQ(s.want(), wait);
    s.it.close();
    EXPECT_EQ(s.step().what, deed::nothing);
    EXPECT_EQ(s.want(), closed);

    story starting;
    EXPECT_EQ(starting.want(), wait);
    starting.start();
    starting.it.close();
    EXPECT_EQ(starting.step().what, deed::stop);
    EXPECT_TRUE(starting.it.ended(starting.now, false));
    EXPECT_EQ(starting.it.crashes(), 0U);
    EXPECT_EQ(starting.step().what, deed::nothing);
}

} // namespace
} // namespace gw::workers
