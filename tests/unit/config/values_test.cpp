#include "config/values.hpp"

#include "config/suggest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace gw::config {
namespace {

using namespace std::chrono_literals;

TEST(values, durations)
{
    EXPECT_EQ(parse_duration("250ms"), 250ms);
    EXPECT_EQ(parse_duration("30s"), 30s);
    EXPECT_EQ(parse_duration("5m"), 5min);
    EXPECT_EQ(parse_duration("1h"), 1h);
    EXPECT_EQ(parse_duration("0"), 0ms);
    EXPECT_EQ(parse_duration("10000h"), 10'000h);
    for (const auto* bad :
         {"",
          "s",
          "-1s",
          "+1s",
          "1",
          "1.5s",
          "1 s",
          " 1s",
          "1s ",
          "1S",
          "1d",
          "1h30m",
          "10001h",
          "99999999999999999999s",
          "18446744073709551615h",
          "0x1s"}) {
        EXPECT_FALSE(parse_duration(bad).has_value()) << bad;
    }
}

TEST(values, sizes)
{
    EXPECT_EQ(parse_size("0"), 0U);
    EXPECT_EQ(parse_size("1000"), 1000U);
    EXPECT_EQ(parse_size("256KiB"), 262'144U);
    EXPECT_EQ(parse_size("10MiB"), 10'485'760U);
    EXPECT_EQ(parse_size("1024GiB"), 1ULL << 40U);
    for (const auto* bad :
         {"",
          "KiB",
          "-1",
          "10 MiB",
          "10MB",
          "10mib",
          "10M",
          "1025GiB",
          "18446744073709551616",
          "17179869185GiB",
          "1e3"}) {
        EXPECT_FALSE(parse_size(bad).has_value()) << bad;
    }
    EXPECT_EQ(parse_size("10mb").error(), "not a size; did you mean `10MiB`?");
}

TEST(values, urls)
{
    const auto plain = parse_url("HTTPS://Example.COM");
    ASSERT_TRUE(plain.has_value());
    EXPECT_TRUE(plain->tls);
    EXPECT_EQ(plain->host, "example.com");
    EXPECT_EQ(plain->port, 443);
    EXPECT_EQ(plain->base_path, "");
    EXPECT_EQ(plain->origin, "https://example.com:443");
    EXPECT_EQ(plain->host_header, "example.com");

    const auto six = parse_url("http://[::1]:8080/a/b//");
    ASSERT_TRUE(six.has_value());
    EXPECT_FALSE(six->tls);
    EXPECT_EQ(six->host, "::1");
    EXPECT_EQ(six->base_path, "/a/b");
    EXPECT_EQ(six->origin, "http://[::1]:8080");
    EXPECT_EQ(six->host_header, "[::1]:8080");

    EXPECT_EQ(parse_url("http://h:80/")->host_header, "h");
    EXPECT_EQ(parse_url("https://h:80/")->host_header, "h:80");
    for (const auto* bad :
         {"",
          "example.com",
          "https://",
          "https:///x",
          "//example.com",
          "ftp://x",
          "https://a b",
          "https://u@x",
          "https://x?q",
          "https://x#f",
          "https://x:0",
          "https://x:65536",
          "https://x:y",
          "https://1.2.3",
          "https://256.1.1.1",
          "https://[::zz]",
          "https://[::1]:8p80",
          "https://x\r\nEvil: 1",
          "https://a..b",
          "https://.a",
          "https://x/%zz"}) {
        EXPECT_FALSE(parse_url(bad).has_value()) << bad;
    }
}

TEST(values, addresses)
{
    EXPECT_EQ(parse_address("127.0.0.1:8080"), (address{"127.0.0.1", 8080}));
    EXPECT_EQ(parse_address("[::1]:0"), (address{"::1", 0}));
    EXPECT_EQ(parse_address("LocalHost:1"), (address{"localhost", 1}));
    for (const auto* bad :
         {"",
          "8080",
          ":8080",
          "*:80",
          "localhost",
          "1.2.3:80",
          "::1:80",
          "[::1]",
          "[::1:80",
          "x:65536",
          "x:-1",
          "x:",
          "a b:1",
          "[127.0.0.1]:1"}) {
        EXPECT_FALSE(parse_address(bad).has_value()) << bad;
    }
}

TEST(values, loopback)
{
    for (const auto* here : {"localhost", "LOCALHOST", "127.0.0.1", "127.255.0.9", "::1"}) {
        EXPECT_TRUE(is_loopback(here)) << here;
    }
    for (const auto* elsewhere :
         {"",
          "0.0.0.0",
          "::",
          "128.0.0.1",
          "localhost.evil.com",
          "127.0.0.1.evil.com",
          "127.0.0.1.",
          "::2",
          "::ffff:10.0.0.1",
          "10.0.0.1",
          "0127.0.0.1",
          "127.1"}) {
        EXPECT_FALSE(is_loopback(elsewhere)) << elsewhere;
    }
}

TEST(values, names)
{
    for (const auto* good : {"a", "vit-prod", "A.b_c-9"}) {
        EXPECT_TRUE(is_name(good)) << good;
    }
    for (const auto* bad : {"", "-a", ".a", "a b", "a/b", "a(b)", "ü", "a\n"}) {
        EXPECT_FALSE(is_name(bad)) << bad;
    }
    for (const auto* good : {"qwen2.5:7b", "google/vit-base-patch16-224", "a/b/c", "*", "google/*", "a@b"}) {
        EXPECT_TRUE(is_model_name(good)) << good;
    }
    for (const auto* bad :
         {"", "../a", "a/../b", "a/.", "/a", "a/", "a//b", "a b", "a\"b", "a\\b", "a\x7f", "\xc3\xbc"}) {
        EXPECT_FALSE(is_model_name(bad)) << bad;
    }
}

TEST(values, patterns)
{
    EXPECT_TRUE(matches("*", ""));
    EXPECT_TRUE(matches("*", "a/b"));
    EXPECT_TRUE(matches("google/*", "google/vit"));
    EXPECT_TRUE(matches("google/*", "google/"));
    EXPECT_TRUE(matches("*-base*", "google/vit-base-patch"));
    EXPECT_TRUE(matches("a*b*c", "aXbXbXc"));
    EXPECT_TRUE(matches("abc", "abc"));
    EXPECT_FALSE(matches("google/*", "google"));
    EXPECT_FALSE(matches("google/*", "Google/vit"));
    EXPECT_FALSE(matches("a*b*c", "aXbXb"));
    EXPECT_FALSE(matches("abc", "abcd"));
    EXPECT_FALSE(matches("", "a"));
    // Not exponential.
    EXPECT_FALSE(matches("*a*a*a*a*a*a*a*a*a*a*b", std::string(256, 'a')));
}

TEST(values, pointers)
{
    for (const auto* good : {"", "/", "/a/0", "/a~0b/~1"}) {
        EXPECT_TRUE(parse_pointer(good).has_value()) << good;
    }
    for (const auto* bad : {"a", "a/b", "/~", "/~2", "#/a"}) {
        EXPECT_FALSE(parse_pointer(bad).has_value()) << bad;
    }
}

TEST(suggest, nearest_of_those_that_are_near)
{
    constexpr std::array<std::string_view, 4> names{"kind", "timeout", "max_in_flight", "url"};
    EXPECT_EQ(nearest("kynd", names), "kind");
    EXPECT_EQ(nearest("KIND", names), "kind");
    EXPECT_EQ(nearest("tiemout", names), "timeout") << "swapped neighbours are one mistake";
    EXPECT_EQ(nearest("maxinflight", names), "max_in_flight");
    EXPECT_EQ(nearest("ulr", names), "url");
    EXPECT_EQ(nearest("xyz", names), std::nullopt);
    EXPECT_EQ(nearest("k", names), std::nullopt);
    EXPECT_EQ(nearest("", names), std::nullopt);
    EXPECT_EQ(nearest(std::string(100'000, 'k'), names), std::nullopt);
    EXPECT_EQ(edit_distance("abc", "abc", 3), 0U);
    EXPECT_EQ(edit_distance("abc", "acb", 3), 1U);
    EXPECT_EQ(edit_distance("abc", "", 3), 3U);
    EXPECT_EQ(edit_distance("abcdef", "", 3), 4U) << "more than asked for";
}

} // namespace
} // namespace gw::config
