// Who gets a slot, who waits, and what is learned from refusals.
#include "world.hpp"

#include <gtest/gtest.h>

namespace gw::dispatch::testing {
namespace {

class slots_test : public ::testing::Test
{
protected:
    world w;
    config::upstream& llm = w.dedicated("llm");
    slots room;
    std::vector<int> woken;

    slots::wake_function wakes(int who)
    {
        return [this, who] { woken.push_back(who); };
    }
    slots_view view() { return room.view().at(0); }
};

TEST_F(slots_test, without_a_limit_everybody_gets_one)
{
    std::vector<slots::lease> all;
    for (int i = 0; i < 1000; ++i) {
        all.push_back(room.acquire(llm, "m"));
        ASSERT_TRUE(all.back());
    }
    EXPECT_EQ(view().in_flight, 1000U);
    all.clear();
    EXPECT_EQ(view().in_flight, 0U);
}

TEST_F(slots_test, models_share_the_limit_of_their_upstream_but_wait_apart)
{
    llm.max_in_flight = 1;
    llm.max_waiting = 1;
    slots::lease one = room.acquire(llm, "a");
    EXPECT_FALSE(room.acquire(llm, "b")) << "it is one upstream";
    const slots::ticket a = room.wait_for_slot(llm, "a", wakes(1));
    const slots::ticket b = room.wait_for_slot(llm, "b", wakes(2));
    EXPECT_TRUE(a);
    EXPECT_TRUE(b) << "those who wait for one model do not take the seats of another";
    EXPECT_FALSE(room.wait_for_slot(llm, "a", wakes(3)));
    EXPECT_FALSE(room.wait_for_news(llm, "a", wakes(3))) << "one bound for both kinds of waiting";
    EXPECT_EQ(room.waiting(), 2U);
}

TEST_F(slots_test, workers_have_slots_for_each_model)
{
    config::upstream& worker = w.upstream("worker", config::kind::local);
    worker.run = config::worker{};
    worker.max_in_flight = 1;
    const slots::lease a = room.acquire(worker, "a");
    const slots::lease b = room.acquire(worker, "b");
    EXPECT_TRUE(a);
    EXPECT_TRUE(b);
    EXPECT_FALSE(room.acquire(worker, "a"));
}

TEST_F(slots_test, a_slot_goes_from_hand_to_hand_in_order)
{
    llm.max_in_flight = 1;
    slots::lease one = room.acquire(llm, "m");
    slots::ticket first = room.wait_for_slot(llm, "m", wakes(1));
    slots::ticket second = room.wait_for_slot(llm, "m", wakes(2));
    EXPECT_FALSE(first.take());
    one.release();
    EXPECT_EQ(woken, std::vector<int>{1});
    EXPECT_FALSE(room.acquire(llm, "m")) << "it belongs to the first who waits, even before he comes for it";
    EXPECT_FALSE(second.take());
    slots::lease mine = first.take();
    EXPECT_TRUE(mine);
    EXPECT_FALSE(first);
    mine.release();
    EXPECT_EQ(woken, (std::vector<int>{1, 2}));
    second.leave(); // never came for it
    EXPECT_EQ(view().in_flight, 0U);
    EXPECT_EQ(room.waiting(), 0U);
}

TEST_F(slots_test, whoever_leaves_the_queue_is_not_missed)
{
    llm.max_in_flight = 1;
    slots::lease one = room.acquire(llm, "m");
    slots::ticket first = room.wait_for_slot(llm, "m", wakes(1));
    slots::ticket second = room.wait_for_slot(llm, "m", wakes(2));
    first.leave();
    one.release();
    EXPECT_EQ(woken, std::vector<int>{2});
}

TEST_F(slots_test, a_raised_limit_lets_the_next_ones_in)
{
    llm.max_in_flight = 1;
    slots::lease one = room.acquire(llm, "m");
    EXPECT_FALSE(room.acquire(llm, "m"));
    llm.max_in_flight = 2; // a reload
    EXPECT_TRUE(room.acquire(llm, "m"));
}

TEST_F(slots_test, a_raised_limit_lets_those_in_first_who_wait)
{
    llm.max_in_flight = 1;
    slots::lease one = room.acquire(llm, "m");
    slots::ticket first = room.wait_for_slot(llm, "m", wakes(1));
    slots::ticket second = room.wait_for_slot(llm, "m", wakes(2));
    llm.max_in_flight = 2;
    EXPECT_FALSE(room.acquire(llm, "m")) << "nobody overtakes";
    EXPECT_EQ(woken, std::vector<int>{1});
    EXPECT_TRUE(first.take());
}

TEST_F(slots_test, whoever_sits_down_when_a_slot_is_free_gets_it_without_being_woken)
{
    llm.max_in_flight = 1;
    slots::ticket first = room.wait_for_slot(llm, "m", wakes(1));
    EXPECT_TRUE(first.take());
    EXPECT_TRUE(woken.empty());
}

TEST_F(slots_test, news_wakes_all_who_listen_in_order_and_once)
{
    const slots::ticket a = room.wait_for_news(llm, "m", wakes(1));
    const slots::ticket b = room.wait_for_news(llm, "m", wakes(2));
    room.news(llm, "m");
    EXPECT_EQ(woken, (std::vector<int>{1, 2}));
    room.news(llm, "m");
    EXPECT_EQ(woken.size(), 2U);
    EXPECT_EQ(room.waiting(), 0U) << "who was woken does not wait";
}

TEST_F(slots_test, a_burst_of_refusals_finds_the_number_that_the_upstream_bears)
{
    // 200 at once at an engine that bears 8: 192 refusals arrive, one after another.
    std::vector<slots::lease> all;
    for (int i = 0; i < 200; ++i) {
        all.push_back(room.acquire(llm, "m"));
    }
    for (int i = 0; i < 192; ++i) {
        EXPECT_TRUE(all.back().refused(w.now));
        all.pop_back();
    }
    EXPECT_EQ(view().learned, 8U);
    EXPECT_FALSE(room.acquire(llm, "m"));
}

TEST_F(slots_test, a_learned_limit_grows_by_one_for_each_round_without_a_refusal)
{
    std::vector<slots::lease> all;
    for (int i = 0; i < 3; ++i) {
        all.push_back(room.acquire(llm, "m"));
    }
    EXPECT_TRUE(all.back().refused(w.now));
    all.pop_back();
    ASSERT_EQ(view().learned, 2U);
    all[0].succeeded(w.now);
    EXPECT_EQ(view().learned, 2U);
    slots::ticket waits = room.wait_for_slot(llm, "m", wakes(1));
    all[1].succeeded(w.now);
    EXPECT_EQ(view().learned, 3U) << "two good answers are a round of two";
    EXPECT_EQ(woken, std::vector<int>{1}) << "the new slot is handed out at once";
    for (int i = 0; i < 3; ++i) {
        all[0].succeeded(w.now);
    }
    EXPECT_EQ(view().learned, 4U);
    EXPECT_TRUE(all[0].refused(w.now));
    EXPECT_EQ(view().learned, 2U) << "two others are in flight";
}

TEST_F(slots_test, alone_in_flight_a_refusal_teaches_no_limit)
{
    slots::lease one = room.acquire(llm, "m");
    EXPECT_FALSE(one.refused(w.now));
    EXPECT_EQ(view().learned, 0U);
}

TEST_F(slots_test, a_limit_that_was_not_refused_for_long_is_forgotten)
{
    slots::lease one = room.acquire(llm, "m");
    slots::lease two = room.acquire(llm, "m");
    EXPECT_TRUE(two.refused(w.now));
    w.pass(11min);
    one.succeeded(w.now);
    EXPECT_EQ(view().learned, 0U);
}

TEST_F(slots_test, the_learned_limit_never_goes_over_the_configured_one)
{
    llm.max_in_flight = 2;
    slots::lease one = room.acquire(llm, "m");
    slots::lease two = room.acquire(llm, "m");
    EXPECT_TRUE(two.refused(w.now));
    EXPECT_EQ(view().limit, 1U);
    for (int i = 0; i < 20; ++i) {
        one.succeeded(w.now);
    }
    EXPECT_EQ(view().limit, 2U);
}

TEST_F(slots_test, places_that_nobody_uses_are_used_anew)
{
    // Reloads that rename upstreams all day must not grow the table for ever.
    std::vector<slots::lease> kept;
    for (std::size_t i = 0; i < 8 * slots::nominal_places; ++i) {
        config::upstream one;
        one.name = "u" + std::to_string(i);
        one.id = i * 7919 + 1;
        slots::lease got = room.acquire(one, "m");
        ASSERT_TRUE(got);
        if (i < 10) {
            kept.push_back(std::move(got));
        }
    }
    const std::vector<slots_view> all = room.view();
    EXPECT_LT(all.size(), 3 * slots::nominal_places);
    std::size_t busy = 0;
    for (const slots_view& one : all) {
        busy += one.in_flight;
    }
    EXPECT_EQ(busy, 10U) << "those in use stay who they are";
}

} // namespace
} // namespace gw::dispatch::testing
