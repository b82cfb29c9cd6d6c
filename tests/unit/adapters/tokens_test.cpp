#include "adapters/tokens.hpp"

#include <gtest/gtest.h>

#include <string>

namespace gw::adapters {
namespace {

std::string chunk(std::string_view text, std::string_view finish, std::string_view more = {})
{
    return R"({"object":"text_completion","choices":[{"index":0,"text":")" + std::string(text) +
           R"(","logprobs":null,"finish_reason":)" + std::string(finish) + "}]" + std::string(more) + "}";
}

TEST(tokens, a_completion_in_the_words_of_tgi)
{
    token_stream one;
    EXPECT_EQ(
        one.event_of(chunk(" Four", "null")),
        R"(data: {"index":1,"token":{"id":0,"text":" Four","logprob":0.0,"special":false},"generated_text":null,"details":null})"
        "\n\n"
    );
    EXPECT_EQ(one.event_of(chunk("", "null")), "") << "nothing was said";
    EXPECT_EQ(one.event_of(R"({"choices":[],"usage":{"completion_tokens":9}})"), "");
    EXPECT_EQ(
        one.event_of(chunk(R"(ways\n)", R"("")")),
        R"(data: {"index":2,"token":{"id":0,"text":"ways\n","logprob":0.0,"special":false},"generated_text":null,"details":null})"
        "\n\n"
    ) << "TGI's empty reason is none";
    EXPECT_EQ(
        one.event_of(chunk("", R"("stop")", R"(,"usage":{"completion_tokens":9})")),
        R"(data: {"index":2,"token":{"id":0,"text":"","logprob":0.0,"special":true},"generated_text":" Fourways\n",)"
        R"("details":{"finish_reason":"eos_token","generated_tokens":9,"seed":null}})"
        "\n\n"
    );
}

TEST(tokens, the_last_event_may_hold_text)
{
    token_stream one;
    EXPECT_EQ(
        one.event_of(chunk("all", R"("length")")),
        R"(data: {"index":1,"token":{"id":0,"text":"all","logprob":0.0,"special":false},"generated_text":"all",)"
        R"("details":{"finish_reason":"length","generated_tokens":1,"seed":null}})"
        "\n\n"
    );
}

TEST(tokens, an_event_is_one_line_for_every_reader)
{
    token_stream one;
    const std::string event = one.event_of(chunk("a\xE2\x80\xA8", R"("stop")"));
    EXPECT_FALSE(event.contains("\xE2\x80\xA8")) << event;
    EXPECT_TRUE(event.contains(R"("generated_text":"a\u2028")")) << event;
}

TEST(tokens, what_is_no_token)
{
    token_stream one;
    for (const std::string_view data :
         {"",
          "[]",
          "{",
          R"({"choices":5})",
          R"({"choices":[5]})",
          R"({"choices":[{"index":1,"text":"x"}]})",
          R"({"choices":[{"text":null}]})",
          R"({"choices":[{"text":"}]})"}) {
        EXPECT_EQ(one.event_of(data), "") << data;
    }
}

} // namespace
} // namespace gw::adapters
