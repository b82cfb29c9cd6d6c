// What the client hears in the end, and what a connection's failure means.
#include "world.hpp"

#include "dispatch/classify_transport.hpp"

#include <gtest/gtest.h>

namespace gw::dispatch::testing {
namespace {

TEST(last_answer_test, retry_after_is_never_less_than_a_second_and_rounds_up)
{
    world w;
    config::upstream& a = w.dedicated("a");
    const auto told = [&](std::chrono::nanoseconds left) {
        last_answer one;
        one.resting(a, {.because = outcome::rate_limited}, left);
        return one.best().retry_after.value();
    };
    EXPECT_EQ(told(0ns), 1s);
    EXPECT_EQ(told(-5s), 1s);
    EXPECT_EQ(told(1ns), 1s);
    EXPECT_EQ(told(1000ms), 1s);
    EXPECT_EQ(told(1001ms), 2s);
}

TEST(last_answer_test, what_rests_after_failures_is_a_429_that_says_why)
{
    world w;
    last_answer one;
    one.resting(w.dedicated("a"), {.because = outcome::unavailable}, 3s);
    EXPECT_EQ(one.best().http_status(), 429);
    EXPECT_EQ(one.best().what, code::unavailable);
    EXPECT_EQ(one.best().text, "upstream a failed several times; it is asked again in 3 s");
}

TEST(last_answer_test, the_smallest_time_of_all_that_helps)
{
    world w;
    last_answer one;
    one.resting(w.dedicated("a"), {.because = outcome::rate_limited}, 30s);
    one.resting(w.dedicated("b"), {.because = outcome::unavailable}, 8s);
    one.told(w.dedicated("c"), warming(20s), 20s);
    one.told(w.dedicated("d"), broken(), 0s);
    EXPECT_EQ(one.best().retry_after, 8s);
    one.full(w.dedicated("e"));
    EXPECT_EQ(one.best().retry_after, 1s);
    EXPECT_EQ(one.best().what, code::overloaded);
}

TEST(last_answer_test, of_equals_the_first)
{
    world w;
    last_answer one;
    one.told(w.dedicated("a"), broken(500), 0s);
    one.told(w.dedicated("b"), broken(503), 0s);
    EXPECT_EQ(one.best().text, "upstream a answered 500");
}

TEST(last_answer_test, rejected_has_the_upstreams_status_but_never_a_500)
{
    world w;
    const config::upstream& a = w.dedicated("a");
    EXPECT_EQ(to_failure(a, rejected(422)).http_status(), 422);
    EXPECT_EQ(to_failure(a, rejected(500)).http_status(), 400)
        << "an engine that says 500 for the client's own fault";
    EXPECT_EQ(to_failure(a, rejected(0)).http_status(), 400);
}

TEST(last_answer_test, nothing_at_all_is_unavailable)
{
    EXPECT_EQ(last_answer().best().what, code::unavailable);
}

struct transport_row
{
    std::string_view why;
    code what;
    bool connected;
    bool head_sent;
    outcome is;
    scope where;
    bool connect_failed;
};

TEST(classify_transport_test, table)
{
    const transport_row rows[] = {
        {"refused, reset while connecting, not resolved",
         code::unavailable,
         false,
         false,
         outcome::unavailable,
         scope::upstream,
         true},
        {"too slow to connect", code::timeout, false, false, outcome::timeout, scope::upstream, true},
        {"the first byte or the idle limit",
         code::timeout,
         true,
         true,
         outcome::timeout,
         scope::upstream,
         false},
        {"a certificate that does not verify",
         code::upstream_tls,
         false,
         false,
         outcome::unavailable,
         scope::upstream,
         true},
        {"reset before any answer, after the head",
         code::unavailable,
         true,
         true,
         outcome::unavailable,
         scope::upstream,
         false},
        {"a kept connection that turned out closed before we wrote",
         code::unavailable,
         true,
         false,
         outcome::unavailable,
         scope::upstream,
         true},
        {"a garbage status line",
         code::bad_framing,
         true,
         true,
         outcome::unavailable,
         scope::model_task,
         false},
        {"two megabytes of headers",
         code::header_too_large,
         true,
         true,
         outcome::unavailable,
         scope::model_task,
         false},
        {"a redirect", code::upstream_redirect, true, true, outcome::unavailable, scope::model_task, false},
    };
    for (const transport_row& of : rows) {
        const verdict is = classify_transport({.what = of.what}, of.connected, of.head_sent);
        EXPECT_EQ(is.what, of.is) << of.why;
        EXPECT_EQ(is.where, of.where) << of.why;
        EXPECT_EQ(is.connect_failed, of.connect_failed) << of.why;
        EXPECT_EQ(is.status, 0) << of.why;
        EXPECT_FALSE(is.text.empty()) << of.why;
    }
    EXPECT_EQ(classify_transport({.what = code::upstream_tls}, false, false).as_code, code::upstream_tls);
    EXPECT_EQ(
        classify_transport({.what = code::unavailable, .text = "no such name"}, false, false).text,
        "no such name"
    );
}

TEST(reasons, each_has_its_word)
{
    EXPECT_EQ(to_string(reason_for(outcome::rate_limited)), "cooling");
    EXPECT_EQ(to_string(reason_for(outcome::unavailable)), "cooling");
    EXPECT_EQ(to_string(reason_for(outcome::warming)), "warming");
    EXPECT_EQ(to_string(reason_for(outcome::unsupported)), "unsupported");
    EXPECT_EQ(to_string(reason_for(outcome::out_of_credits)), "out_of_credits");
}

} // namespace
} // namespace gw::dispatch::testing
