#include "wire/retry.hpp"

#include <gtest/gtest.h>

#include <string>

namespace gw::wire {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

// Sun, 06 Nov 1994 08:49:37 GMT
constexpr system_clock::time_point now{784111777s};

TEST(retry_after, reads_seconds)
{
    EXPECT_EQ(retry_after("0", now), 0ms);
    EXPECT_EQ(retry_after("12", now), 12s);
    EXPECT_EQ(retry_after(" 12\t", now), 12s);
    EXPECT_EQ(retry_after("1.5", now), 1500ms);
    EXPECT_EQ(retry_after("0.0019", now), 1ms);
    EXPECT_EQ(retry_after("007", now), 7s);
}

TEST(retry_after, reads_the_three_forms_of_a_date)
{
    EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now), 3s);
    EXPECT_EQ(retry_after("Sunday, 06-Nov-94 08:49:40 GMT", now), 3s);
    EXPECT_EQ(retry_after("Sun Nov  6 08:49:40 1994", now), 3s);
    EXPECT_EQ(retry_after("Thu Nov 10 08:49:37 1994", now), 96h);
    EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now + 250ms), 2750ms);
}

TEST(retry_after, is_never_negative_and_never_absurd)
{
    EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:49:36 GMT", now), 0ms);
    EXPECT_EQ(retry_after("Thu, 01 Jan 1970 00:00:00 GMT", now), 0ms);
    EXPECT_EQ(retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now), longest_wait);
    EXPECT_EQ(retry_after("99999999999999999999999999999999", now), longest_wait);
    EXPECT_EQ(retry_after("2678401", now), longest_wait);
    EXPECT_EQ(retry_after("2678399", now), 2678399s);
}

TEST(retry_after, takes_years_of_two_digits_for_near_ones)
{
    const system_clock::time_point later{seconds{1767225600}}; // 2026-01-01
    EXPECT_EQ(retry_after("Thursday, 01-Jan-26 00:00:05 GMT", later), 5s);
    EXPECT_EQ(retry_after("Sunday, 06-Nov-94 08:49:37 GMT", later), 0ms) << "1994, not 2094";
}

TEST(retry_after, refuses_the_rest)
{
    for (const std::string_view bad :
         {"",
          " ",
          "-1",
          "+1",
          "soon",
          "1s",
          "1e3",
          ".5",
          "1.",
          "1.5.5",
          "0x10",
          "1 2",
          "Sun, 06 Nov 1994 08:49:37",
          "Sun, 31 Feb 1994 08:49:37 GMT",
          "Sun, 06 Nov 1994 24:49:37 GMT",
          "Sun, 06 Nov 1994 08:60:37 GMT",
          "sun, 06 nov 1994 08:49:37 gmt",
          "Sun, 6 Nov 1994 08:49:37 GMT",
          "Sun, 06 Nov 1994 08:49:37 GMT+1",
          "1994-11-06T08:49:37Z",
          "NaN",
          "inf"}) {
        EXPECT_FALSE(retry_after(bad, now)) << bad;
    }
}

TEST(rate_limit, reads_what_the_hub_sends)
{
    const auto made = parse_rate_limit("\"api\";r=0;t=55");
    ASSERT_TRUE(made);
    EXPECT_EQ(made->bucket, "api");
    EXPECT_EQ(made->remaining, 0u);
    EXPECT_EQ(made->reset, 55s);
}

TEST(rate_limit, reads_the_variations)
{
    const auto made = parse_rate_limit(" \"per-user\" ; t = 7 ; x ; pk=:abc: ; r = 12 , \"other\";r=1;t=2");
    ASSERT_TRUE(made);
    EXPECT_EQ(made->bucket, "per-user");
    EXPECT_EQ(made->remaining, 12u);
    EXPECT_EQ(made->reset, 7s);
    EXPECT_EQ(parse_rate_limit("default;r=1;t=2")->bucket, "default");
    EXPECT_EQ(
        parse_rate_limit("\"a\";r=99999999999999999999999;t=99999999999999999999")->reset, longest_wait
    );
}

TEST(rate_limit, refuses_the_rest)
{
    for (const std::string_view bad :
         {"",
          "\"api\"",
          "\"api\";r=0",
          "\"api\";t=55",
          ";r=0;t=55",
          "\"api\";r=;t=5",
          "\"api\";r=-1;t=5",
          "\"api\";r=0;t=1.5",
          "\"\";r=0;t=5",
          "limit=100, remaining=0, reset=50",
          "\"a;r=0;t=5",
          "a\"b;r=0;t=5"}) {
        EXPECT_FALSE(parse_rate_limit(bad)) << bad;
    }
}

TEST(http_date, writes_what_it_reads)
{
    EXPECT_EQ(http_date(now), "Sun, 06 Nov 1994 08:49:37 GMT");
    EXPECT_EQ(http_date(system_clock::time_point{}), "Thu, 01 Jan 1970 00:00:00 GMT");
    for (int day = 0; day < 800; ++day) {
        const auto when = now + hours{24 * day} + seconds{day * 31};
        EXPECT_EQ(retry_after(http_date(when), when - 9s), 9s);
    }
}

} // namespace
} // namespace gw::wire
