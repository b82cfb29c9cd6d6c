#include "wire/target.hpp"

#include "splits.hpp"

#include <string>
#include <utility>
#include <vector>

namespace gw::wire {
namespace {

target accepted(std::string_view raw)
{
    const result<target> made = parse_target(raw);
    if (!made) {
        ADD_FAILURE() << raw << ": " << testing::PrintToString(made.error());
        return {};
    }
    return *made;
}

TEST(target, splits_path_and_query)
{
    EXPECT_EQ(accepted("/").path, "/");
    EXPECT_EQ(accepted("/v1/inference?model=a/b&x=%20").path, "/v1/inference");
    EXPECT_EQ(accepted("/v1/inference?model=a/b&x=%20").query, "model=a/b&x=%20");
    EXPECT_EQ(accepted("/a?").query, "");
    EXPECT_EQ(accepted("/a?b?c").query, "b?c");
    EXPECT_EQ(accepted("/models/org/name/").path, "/models/org/name/");
    EXPECT_EQ(accepted("*").path, "*");
    EXPECT_EQ(accepted("/a").authority, "");
}

TEST(target, takes_the_absolute_form_apart)
{
    const target made = accepted("http://gw:8080/v1/models?x=1");
    EXPECT_EQ(made.authority, "gw:8080");
    EXPECT_EQ(made.path, "/v1/models");
    EXPECT_EQ(made.query, "x=1");
    EXPECT_EQ(accepted("HTTPS://gw").path, "/");
    EXPECT_EQ(accepted("http://gw?x").path, "/");
    EXPECT_EQ(accepted("http://gw?x").query, "x");
    EXPECT_EQ(accepted("http://[::1]:80/").authority, "[::1]:80");
}

TEST(target, allows_what_model_names_need)
{
    EXPECT_EQ(accepted("/v1/models/org%2Fname").path, "/v1/models/org%2Fname");
    EXPECT_EQ(accepted("/models/google/vit-base.v1-16.224").path, "/models/google/vit-base.v1-16.224");
    accepted("/models/a..b");
    accepted("/models/...");
    accepted("/models/qwen2.5:7b");
    accepted("/a%20b%C3%A9");
    accepted("/a?x=../..&y=//");
    accepted("/a?x=%2e%2e%2f%5c");
}

TEST(target, refuses_what_walks_or_hides)
{
    for (const std::string_view each :
         {"",
          "a",
          "a/b",
          "/v1/models/../../admin",
          "/..",
          "/.",
          "/./a",
          "/a/.",
          "/a/..",
          "/../a",
          "/v1/models/%2e%2e/admin",
          "/v1/models/%2E%2E",
          "/a/.%2e",
          "/a/%2e.",
          "/a/%2e",
          "/a/b%2e%2ec",
          "/..%2f..",
          "/a%2f..",
          "/a%2f../b",
          "/a%2f",
          "//",
          "//evil/x",
          "/a//b",
          "/a%2f/b",
          "/%2fa",
          "/a%2fb%2fc",
          "/a\\b",
          "/a%5cb",
          "/a#b",
          "/a?b#c",
          "/a?\\",
          "/a%00b",
          "/a%0d%0aX",
          "/a%0a",
          "/a%0D",
          "/a%1f",
          "/a%7f",
          "/a?x=%00",
          "/a?x=%0d%0aEvil:1",
          "/a%",
          "/a%4",
          "/a%zz",
          "/a?%",
          "/a?%f",
          "/a b",
          "/\xc3\xa9",
          "/a?\xff",
          "/a\x7f",
          "http:/x",
          "ftp://a/",
          "://a/",
          "http://",
          "http:///x",
          "http://a@b/",
          "http://a b/",
          "gw:80",
          "http://a/..",
          "http://a//b",
          "**",
          "http://gw:99999/",
          "javascript:alert(1)"}) {
        const result<target> made = parse_target(each);
        if (each == "/a%2f") {
            EXPECT_TRUE(made) << "an encoded slash at the end is one encoded slash";
            continue;
        }
        ASSERT_FALSE(made) << each;
        EXPECT_EQ(made.error().what, code::bad_framing) << each;
        EXPECT_EQ(made.error().http_status(), 400) << each;
        EXPECT_TRUE(made.error().close) << each;
    }
}

TEST(target, decodes_percent_escapes)
{
    EXPECT_EQ(percent_decode("a%2Fb+c%C3%a9").value_or("?"), "a/b+c\u00e9");
    EXPECT_EQ(percent_decode_query("a%2Fb+c%2B").value_or("?"), "a/b c+");
    EXPECT_FALSE(percent_decode("%"));
    EXPECT_FALSE(percent_decode("%1"));
    EXPECT_FALSE(percent_decode("%x1"));
}

TEST(target, encodes_segments_so_that_they_stay_one)
{
    EXPECT_EQ(percent_encode_segment("vit-base_1.0~x"), "vit-base_1.0~x");
    EXPECT_EQ(percent_encode_segment("a/b?c#d e%\u00e9"), "a%2Fb%3Fc%23d%20e%25%C3%A9");
    for (int c = 0; c < 256; ++c) {
        const std::string text{static_cast<char>(c)};
        EXPECT_EQ(percent_decode(percent_encode_segment(text)).value_or("?"), text);
    }
}

TEST(target, walks_a_query)
{
    std::vector<std::pair<std::string, std::string>> seen;
    const auto note = [&seen](std::string name, std::string value) {
        seen.emplace_back(std::move(name), std::move(value));
    };
    ASSERT_TRUE(for_each_query("model=a%2Fb&top_k=3&&flag&x=1=2&y=a+b&=v", note));
    const std::vector<std::pair<std::string, std::string>> wanted = {
        {"model", "a/b"}, {"top_k", "3"}, {"flag", ""}, {"x", "1=2"}, {"y", "a b"}, {"", "v"}
    };
    EXPECT_EQ(seen, wanted);
    EXPECT_TRUE(for_each_query("", note));
    EXPECT_FALSE(for_each_query("a=%", note));
    EXPECT_FALSE(for_each_query("%zz=1", note));
}

} // namespace
} // namespace gw::wire
