// What was looked up and for how long it counts; time is injected.
#include "hub/judge.hpp"
#include "hub/memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::hub {
namespace {

using namespace std::chrono_literals;
using advice = memory::advice;

class memory_test : public testing::Test
{
protected:
    static hub_answer yes(std::string model)
    {
        auto of = std::make_shared<ways>();
        of->model = std::move(model);
        return {.what = hub_says::found, .of = std::move(of), .text = {}};
    }
    static hub_answer no() { return {.what = hub_says::unknown, .of = nullptr, .text = "no"}; }

    advice look(std::string_view model = "a/b") { return known_.look(model, now_).what; }
    std::shared_ptr<const hub_answer> put(hub_answer told, const std::string& model = "a/b")
    {
        return known_.put(model, std::move(told), std::nullopt, now_);
    }

    memory known_;
    time_point now_{1h};
};

TEST_F(memory_test, one_asks_and_the_others_wait)
{
    EXPECT_EQ(look(), advice::ask);
    for (int i = 0; i < 999; ++i) {
        EXPECT_EQ(look(), advice::wait);
    }
    EXPECT_EQ(look("c/d"), advice::ask) << "another model";
    EXPECT_EQ(put(yes("a/b"))->of->model, "a/b");
    const auto found = known_.look("a/b", now_);
    EXPECT_EQ(found.what, advice::serve);
    EXPECT_EQ(found.is->of->model, "a/b");
}

TEST_F(memory_test, an_aged_answer_is_served_while_one_asks_again)
{
    EXPECT_EQ(look(), advice::ask);
    put(yes("old"));
    now_ += 10min - 1ms;
    EXPECT_EQ(look(), advice::serve);
    now_ += 1ms;
    const auto stale = known_.look("a/b", now_);
    EXPECT_EQ(stale.what, advice::refresh);
    EXPECT_EQ(stale.is->of->model, "old");
    EXPECT_EQ(look(), advice::serve) << "one asks already";
    put(yes("new"));
    EXPECT_EQ(known_.look("a/b", now_).is->of->model, "new");
    EXPECT_EQ(look(), advice::serve);
}

TEST_F(memory_test, a_no_counts_for_a_minute_and_is_then_asked_for_again)
{
    EXPECT_EQ(look(), advice::ask);
    put(no());
    now_ += 1min - 1ms;
    EXPECT_EQ(look(), advice::serve);
    now_ += 1ms;
    EXPECT_EQ(look(), advice::ask) << "the model may be there by now";
}

TEST_F(memory_test, a_hub_that_is_away_is_asked_ever_more_rarely)
{
    EXPECT_EQ(look(), advice::ask);
    put(away("it is down"));
    const auto gone = known_.look("c/d", now_);
    EXPECT_EQ(gone.what, advice::away) << "another model neither: nobody waits";
    ASSERT_NE(gone.is, nullptr);
    EXPECT_EQ(gone.is->what, hub_says::away);

    auto pause = 1'000ms;
    for (int i = 0; i < 10; ++i) {
        now_ += pause - 1ms;
        EXPECT_EQ(look(), advice::away) << i;
        now_ += 1ms;
        EXPECT_EQ(look(), advice::ask) << i;
        put(away("it is down"));
        pause = std::min<std::chrono::milliseconds>(2 * pause, 1min);
    }
    now_ += 1min;
    EXPECT_EQ(look(), advice::ask);
    put(yes("a/b"));
    EXPECT_EQ(look("c/d"), advice::ask) << "it is back";
}

TEST_F(memory_test, what_is_known_is_served_for_a_day_without_the_hub)
{
    EXPECT_EQ(look(), advice::ask);
    put(yes("old"));
    now_ += 11min;
    EXPECT_EQ(look(), advice::refresh);
    EXPECT_EQ(put(away("it is down"))->of->model, "old");
    EXPECT_EQ(look(), advice::serve);
    now_ += 23h;
    EXPECT_EQ(look(), advice::refresh);
    put(away("it is down"));
    now_ += 1h;
    EXPECT_EQ(look(), advice::ask);
}

TEST_F(memory_test, the_hubs_limit_is_honoured)
{
    EXPECT_EQ(look(), advice::ask);
    known_.put("a/b", yes("a/b"), 55s, now_);
    EXPECT_EQ(look(), advice::serve);
    now_ += 55s - 1ms;
    EXPECT_EQ(look("c/d"), advice::away);
    now_ += 1ms;
    EXPECT_EQ(look("c/d"), advice::ask);
    known_.put("c/d", away("429"), 7s, now_);
    now_ += 7s - 1ms;
    EXPECT_EQ(look("c/d"), advice::away);
    now_ += 1ms;
    EXPECT_EQ(look("c/d"), advice::ask);
}

TEST_F(memory_test, one_odd_model_stops_no_other)
{
    EXPECT_EQ(look(), advice::ask);
    known_.put("a/b", away("it is no JSON"), std::nullopt, now_, true);
    EXPECT_EQ(look("c/d"), advice::ask);
    EXPECT_EQ(look(), advice::serve) << "as a no";
    now_ += 1min;
    EXPECT_EQ(look(), advice::ask);
}

TEST_F(memory_test, it_is_bounded)
{
    known_.set({.entries = 3, .asking = 2});
    for (const auto* name : {"1", "2", "3"}) {
        EXPECT_EQ(look(name), advice::ask);
        put(yes(name), name);
    }
    EXPECT_EQ(look("1"), advice::serve);
    EXPECT_EQ(look("4"), advice::ask);
    put(yes("4"), "4");
    EXPECT_EQ(known_.size(), 3U);
    EXPECT_EQ(look("1"), advice::serve) << "it was wanted lately";
    EXPECT_EQ(look("2"), advice::ask) << "it was wanted least recently";
    EXPECT_EQ(look("5"), advice::ask);
    EXPECT_EQ(look("6"), advice::away) << "two are asked for already";
    put(yes("5"), "5");
    EXPECT_EQ(look("6"), advice::ask);
    EXPECT_EQ(known_.asking(), 2U);
}

TEST_F(memory_test, another_hub_starts_clean)
{
    EXPECT_EQ(look("a/b"), advice::ask);
    put(yes("a/b"));
    EXPECT_EQ(look("c/d"), advice::ask);
    known_.forget();
    EXPECT_EQ(look("a/b"), advice::ask);
    put(yes("from the old hub"), "c/d");
    EXPECT_EQ(look("c/d"), advice::ask) << "what was asked before is not kept";
}

} // namespace
} // namespace gw::hub
