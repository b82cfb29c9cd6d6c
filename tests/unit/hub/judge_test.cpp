// What the Hub's answers mean.
#include "hub/judge.hpp"
#include "recorded.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::hub {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

constexpr std::chrono::system_clock::time_point now{std::chrono::seconds(1'784'000'000)};

judgement of(const std::string& name, std::string_view token = {})
{
    const recorded from(name);
    return judge({.model = from.model, .token = token}, from.answer(), now);
}

judgement with(reply from, std::string_view token = {})
{
    return judge({.model = "a/b", .token = token}, from, now);
}

TEST(judge, each_recorded_answer)
{
    for (const auto* name : {"all", "none", "chat", "gguf", "gpt2", "embeddings"}) {
        const auto made = of(name);
        EXPECT_EQ(made.is.what, hub_says::found) << name;
        ASSERT_NE(made.is.of, nullptr) << name;
        EXPECT_FALSE(made.rest) << "499 of 500 are left";
    }
}

TEST(judge, each_no_has_words_of_its_own)
{
    const auto gated = of("gated").is;
    EXPECT_EQ(gated.what, hub_says::gated);
    EXPECT_THAT(
        gated.text,
        HasSubstr("accept its conditions at https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct")
    );
    EXPECT_THAT(gated.text, HasSubstr("`hub: { token }`"));
    EXPECT_THAT(of("gated", "acme").is.text, HasSubstr("the account of the token `acme`"));

    const auto unknown = of("unknown").is;
    EXPECT_EQ(unknown.what, hub_says::unknown);
    EXPECT_THAT(unknown.text, HasSubstr("does not exist, or it is private"));
    EXPECT_THAT(unknown.text, HasSubstr("name a token of its owner"));

    const auto mine = with({.status = 404, .error_code = "RepoNotFound"}, "acme").is;
    EXPECT_EQ(mine.what, hub_says::unknown);
    EXPECT_THAT(mine.text, HasSubstr("not this account's"));

    const auto disabled = of("disabled").is;
    EXPECT_EQ(disabled.what, hub_says::disabled);
    EXPECT_THAT(disabled.text, HasSubstr("disabled the model `bad/withdrawn`"));
}

TEST(judge, a_gate_wins_over_the_status)
{
    for (const int status : {401, 403}) {
        EXPECT_EQ(with({.status = status, .error_code = "GatedRepo"}).is.what, hub_says::gated) << status;
        EXPECT_EQ(with({.status = status, .error_code = "GatedRepo"}, "acme").is.what, hub_says::gated)
            << status;
    }
    EXPECT_EQ(with({.status = 401, .error_code = "RepoNotFound"}, "acme").is.what, hub_says::unknown);
}

TEST(judge, a_token_that_is_refused_is_not_the_models_fault)
{
    const auto made =
        with({.status = 401, .error_message = "Invalid credentials in Authorization header"}, "acme");
    EXPECT_EQ(made.is.what, hub_says::away);
    EXPECT_THAT(made.is.text, HasSubstr("refuses the token `acme`"));
    EXPECT_FALSE(made.only_this) << "every look-up would get this";
}

TEST(judge, a_new_name_is_looked_up_and_no_other_place)
{
    EXPECT_EQ(of("renamed").renamed, "openai-community/gpt2");
    EXPECT_EQ(with({.status = 307, .location = "/api/models/x/y?expand=a"}).renamed, "x/y");
    for (const auto* place :
         {"https://evil.example/api/models/x/y",
          "//evil.example/api/models/x",
          "/api/models/",
          "/api/models/x/y/z",
          "/api/models/../../x",
          "/api/models//x",
          "/api/models/x/",
          "/api/spaces/x/y",
          "/api/models/x%2fy",
          "",
          "x/y"}) {
        const auto made = with({.status = 302, .location = place});
        EXPECT_EQ(made.renamed, "") << place;
        EXPECT_EQ(made.is.what, hub_says::away) << place;
        EXPECT_TRUE(made.only_this) << place;
    }
}

TEST(judge, its_limits)
{
    EXPECT_EQ(with({.status = 429, .retry_after = "7"}).rest, 7s);
    EXPECT_EQ(with({.status = 429, .ratelimit = "\"api\";r=0;t=55"}).rest, 55s);
    EXPECT_EQ(with({.status = 429}).rest, 60s);
    EXPECT_EQ(with({.status = 429}).is.what, hub_says::away);
    EXPECT_EQ(with({.status = 200, .ratelimit = "\"api\";r=0;t=55", .body = "{}"}).rest, 55s)
        << "the last one that is answered";
    EXPECT_EQ(with({.status = 200, .ratelimit = "\"api\";r=0;t=55", .body = "{}"}).is.what, hub_says::found);
    EXPECT_FALSE(with({.status = 200, .ratelimit = "\"api\";r=1;t=55", .body = "{}"}).rest);
    EXPECT_FALSE(with({.status = 200, .retry_after = "7", .body = "{}"}).rest) << "not on a good answer";
    EXPECT_EQ(with({.status = 503, .retry_after = "0"}).rest, 1s);
}

TEST(judge, the_rest_is_a_hub_that_is_away)
{
    for (const int status : {408, 418, 500, 502, 503, 504}) {
        const auto made = with({.status = status, .body = "<html>"});
        EXPECT_EQ(made.is.what, hub_says::away) << status;
        EXPECT_FALSE(made.only_this) << status;
        EXPECT_THAT(made.is.text, Not(HasSubstr("a/b"))) << "others are told the same";
    }
    const auto page = with({.status = 200, .content_type = "text/html", .body = "<html>"});
    EXPECT_EQ(page.is.what, hub_says::away);
    EXPECT_TRUE(page.only_this);
    EXPECT_EQ(with({.status = 400}).is.what, hub_says::unknown);
}

} // namespace
} // namespace gw::hub
