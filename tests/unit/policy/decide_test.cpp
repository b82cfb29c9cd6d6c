#include "policy/decide.hpp"

#include "payload/tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace gw::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Settings built by hand: upstreams by name, entries by name.
class decide_test : public testing::Test
{
protected:
    decide_test()
    {
        upstream("router", config::kind::serverless);
        upstream("vit", config::kind::dedicated);
        upstream("llm", config::kind::dedicated);
        upstream("llm2", config::kind::dedicated);

        entry("google/vit-base", "image-classification", {{"router"}, {"vit"}}).aliases = {"vision"};
        entry("chat", "chat-completion", {{"llm", "served"}, {"router", "meta/llama:groq"}});
        entry("qwen2.5:7b", "text-generation", {{"llm"}});
        entry("bert", "", {{"vit"}});
        entry("open/*", "", {{"router"}, {"vit"}});
        config::index_models(now_);
    }

    struct to
    {
        std::string upstream;
        std::string model = {};
        std::uint32_t weight = 1;
        std::uint32_t rank = 0;
    };

    config::upstream& upstream(const std::string& name, config::kind kind)
    {
        auto& made = *now_.upstreams.emplace_back(std::make_unique<config::upstream>());
        made.name = name;
        made.kind = kind;
        return made;
    }

    config::model_entry& entry(const std::string& name, const std::string& task, const std::vector<to>& route)
    {
        auto& made = *now_.models.emplace_back(std::make_unique<config::model_entry>());
        made.name = name;
        made.pattern = name.find('*') != std::string::npos;
        made.literal_prefix = name.substr(0, name.find('*'));
        made.task = payloads::find_task(task);
        made.task_name = task;
        for (std::uint32_t rank = 0; const auto& each : route) {
            made.route.push_back(
                {.to = now_.find_upstream(each.upstream),
                 .model = each.model,
                 .weight = each.weight,
                 .rank = rank++}
            );
        }
        return made;
    }

    // All of one rank.
    config::model_entry& peers(const std::string& name, const std::vector<to>& route)
    {
        auto& made = entry(name, "", route);
        for (auto& each : made.route) {
            each.rank = 0;
        }
        for (std::size_t i = 0; i < route.size(); ++i) {
            made.route[i].weight = route[i].weight;
        }
        config::index_models(now_);
        return made;
    }

    [[nodiscard]] result<plan> ask(const std::string& model, door at = door::native_inference) const
    {
        request asked;
        asked.model = model;
        asked.at = at;
        return decide(who_, asked, now_, 1);
    }

    // `router:name vit:name`, or the code of the refusal.
    [[nodiscard]] static std::string route(const result<plan>& from)
    {
        if (!from) {
            return std::string(to_string(from.error().what));
        }
        std::string out;
        for (const auto& each : from->candidates) {
            out += (out.empty() ? "" : " ") + each.to->name + '=' + each.model;
        }
        return out;
    }

    config::settings now_;
    const config::client* who_ = nullptr;
};

TEST_F(decide_test, names_aliases_and_patterns)
{
    EXPECT_EQ(route(ask("google/vit-base")), "router=google/vit-base vit=google/vit-base");
    EXPECT_EQ(route(ask("vision")), "router=google/vit-base vit=google/vit-base") << "an alias is its model";
    EXPECT_EQ(ask("vision")->model, "google/vit-base");
    EXPECT_EQ(route(ask("chat")), "llm=served router=meta/llama:groq")
        << "the route says what it is called there";
    EXPECT_EQ(route(ask("open/thing")), "router=open/thing vit=open/thing");
    EXPECT_EQ(ask("open/thing")->model, "open/thing");
    EXPECT_EQ(ask("open/thing")->entry->name, "open/*");
    EXPECT_EQ(route(ask("qwen2.5:7b")), "llm=qwen2.5:7b") << "stands in the policy: exempt from the grammar";
}

TEST_F(decide_test, a_provider_goes_to_the_router_only)
{
    EXPECT_EQ(route(ask("open/thing:groq")), "router=open/thing:groq vit=open/thing");
    EXPECT_EQ(ask("open/thing:groq")->model, "open/thing");
    EXPECT_EQ(ask("open/thing:groq")->provider, "groq");
    EXPECT_EQ(route(ask("vision:fastest")), "router=google/vit-base:fastest vit=google/vit-base");
    EXPECT_EQ(route(ask("chat:cheapest")), "llm=served router=meta/llama:groq")
        << "what the operator wrote stays";
    EXPECT_EQ(route(ask("qwen2.5:7b:fastest")), "llm=qwen2.5:7b");
}

TEST_F(decide_test, names_outside_the_grammar_are_refused)
{
    for (const std::string& bad :
         {std::string(),
          std::string("http://127.0.0.1:9/"),
          std::string("x/../../api/whoami-v2"),
          std::string("a/b@main?x=1"),
          std::string("evil:80"),
          std::string("open/thing:evil"),
          std::string("open/a/b"),
          std::string("open/..%2f"),
          std::string("open/\u202e"),
          std::string("open/") + std::string(10'000, 'a'),
          std::string(":groq"),
          std::string("open/thing:groq:groq"),
          std::string("--flag")}) {
        const auto refused = ask(bad);
        ASSERT_FALSE(refused.has_value()) << bad;
        EXPECT_EQ(refused.error().what, code::invalid_model) << bad;
        EXPECT_EQ(refused.error().http_status(), 400);
        if (bad.size() > 5) {
            EXPECT_THAT(refused.error().text, Not(HasSubstr(bad))) << "not echoed";
        }
    }
}

TEST_F(decide_test, unknown_models_name_near_ones_of_this_client)
{
    const auto refused = ask("google/vit-bass");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().what, code::unknown_model);
    EXPECT_EQ(refused.error().http_status(), 404);
    EXPECT_EQ(
        refused.error().text, "no model `google/vit-bass` in the policy; did you mean `google/vit-base`?"
    );
    EXPECT_THAT(ask("visoin").error().text, HasSubstr("did you mean `vision`?"));
    EXPECT_EQ(
        ask("something/else").error().text,
        "no model `something/else` in the policy; GET /v1/models lists those it has"
    );

    const config::client other{.name = "other", .key_digests = {}, .models = {"open/*"}};
    who_ = &other;
    EXPECT_EQ(
        ask("google/vit-bass").error().text,
        "no model `google/vit-bass` in the policy; GET /v1/models lists those it has"
    ) << "names of other clients' models are not told";
}

TEST_F(decide_test, clients_are_authorised_for_the_resolved_name)
{
    const config::client search{.name = "search", .key_digests = {}, .models = {"google/*", "bert"}};
    const config::client all{.name = "all", .key_digests = {}, .models = {}};
    who_ = &search;
    EXPECT_TRUE(ask("google/vit-base").has_value());
    EXPECT_TRUE(ask("vision").has_value()) << "the alias of an allowed model";
    EXPECT_TRUE(ask("bert").has_value());
    EXPECT_EQ(route(ask("chat")), "forbidden");
    EXPECT_EQ(route(ask("chat:groq")), "forbidden");
    EXPECT_EQ(route(ask("open/thing")), "forbidden");
    EXPECT_EQ(ask("chat").error().http_status(), 403);
    EXPECT_THAT(ask("chat").error().text, HasSubstr("client `search` may not use `chat`"));
    who_ = &all;
    EXPECT_TRUE(ask("chat").has_value()) << "no `models:`: every one";
}

TEST_F(decide_test, the_task_is_the_requests_else_the_policys)
{
    EXPECT_EQ(ask("vision")->task, payloads::find_task("image-classification"));
    EXPECT_EQ(ask("bert")->task, nullptr);

    request asked;
    asked.model = "vision";
    asked.task_name = "image-feature-extraction";
    asked.task = payloads::find_task(asked.task_name);
    const auto said = decide(nullptr, asked, now_, 1);
    ASSERT_TRUE(said.has_value());
    EXPECT_EQ(said->task, asked.task);

    asked.task_name = "image-clasification";
    asked.task = nullptr;
    const auto refused = decide(nullptr, asked, now_, 1);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().what, code::unknown_task);
    EXPECT_THAT(refused.error().text, HasSubstr("did you mean `image-classification`?"));
}

TEST_F(decide_test, chat_doors_are_for_chat_models)
{
    for (const auto at : {door::openai_chat, door::hf_chat}) {
        EXPECT_EQ(ask("chat", at)->task, payloads::find_task("chat-completion"));
        EXPECT_EQ(ask("qwen2.5:7b", at)->task, payloads::find_task("chat-completion"))
            << "the Hub calls most chat models text-generation";
        EXPECT_EQ(ask("bert", at)->task, payloads::find_task("chat-completion")) << "the policy does not say";

        const auto refused = ask("vision", at);
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().what, code::wrong_modality);
        EXPECT_EQ(refused.error().http_status(), 400);
        EXPECT_EQ(
            refused.error().text,
            "`google/vit-base` is a model for image-classification, not for chat: use POST /v1/inference or "
            "POST "
            "/models/google/vit-base"
        );
    }
    const auto reverse = ask("chat", door::hf_task);
    ASSERT_FALSE(reverse.has_value());
    EXPECT_EQ(reverse.error().what, code::wrong_modality);
    EXPECT_THAT(reverse.error().text, HasSubstr("use POST /v1/chat/completions"));
    EXPECT_TRUE(ask("chat", door::native_inference).has_value()) << "the native door takes every task";
}

TEST_F(decide_test, a_door_that_says_its_task_is_not_for_models_of_pictures)
{
    request asked;
    asked.at = door::openai_embeddings;
    asked.task = payloads::find_task("feature-extraction");
    asked.model = "bert";
    EXPECT_EQ(decide(nullptr, asked, now_, 1)->task, asked.task);
    asked.model = "chat";
    EXPECT_EQ(decide(nullptr, asked, now_, 1)->task, asked.task) << "such servers often do both";
    asked.model = "vision";
    const auto refused = decide(nullptr, asked, now_, 1);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().what, code::wrong_modality);
    EXPECT_THAT(
        refused.error().text, HasSubstr("a model for image-classification, not for feature-extraction")
    );
}

TEST_F(decide_test, ranks_come_in_order_whatever_the_dice_say)
{
    entry("ranked", "", {{"llm2"}, {"router"}, {"vit"}, {"llm"}});
    config::index_models(now_);
    request asked;
    asked.model = "ranked";
    std::mt19937_64 dice(7);
    for (int i = 0; i < 200; ++i) {
        const auto made = decide(nullptr, asked, now_, dice());
        ASSERT_EQ(route(made), "llm2=ranked router=ranked vit=ranked llm=ranked");
        EXPECT_EQ(made->candidates[2].rank, 2U);
    }
}

// Each of equal rank is first as often as its weight says, and the rest of the order is drawn the same way.
TEST_F(decide_test, weights_are_shares)
{
    peers("shared", {{"llm", "", 3}, {"llm2", "", 1}, {"vit", "", 4}});
    request asked;
    asked.model = "shared";
    std::mt19937_64 dice(42);
    constexpr int rounds = 20'000;
    std::map<std::string, int> first;
    int llm_second_after_vit = 0;
    for (int i = 0; i < rounds; ++i) {
        const auto made = decide(nullptr, asked, now_, dice());
        ASSERT_TRUE(made.has_value());
        ASSERT_EQ(made->candidates.size(), 3U);
        ++first[made->candidates[0].to->name];
        if (made->candidates[0].to->name == "vit" && made->candidates[1].to->name == "llm") {
            ++llm_second_after_vit;
        }
    }
    // Five standard deviations are about 350.
    EXPECT_NEAR(first["llm"], rounds * 3 / 8, 350);
    EXPECT_NEAR(first["llm2"], rounds * 1 / 8, 350);
    EXPECT_NEAR(first["vit"], rounds * 4 / 8, 350);
    EXPECT_NEAR(llm_second_after_vit, first["vit"] * 3 / 4, 350);
}

// Callers may count instead of rolling dice: neighbouring numbers share load too.
TEST_F(decide_test, counting_shares_load_as_well)
{
    peers("even", {{"llm"}, {"llm2"}});
    request asked;
    asked.model = "even";
    int first = 0;
    for (std::uint64_t i = 0; i < 10'000; ++i) {
        first += decide(nullptr, asked, now_, i)->candidates[0].to->name == "llm" ? 1 : 0;
    }
    EXPECT_NEAR(first, 5'000, 250);
}

TEST_F(decide_test, the_same_dice_give_the_same_order)
{
    peers("shared", {{"llm", "", 3}, {"llm2", "", 1}, {"vit", "", 4}, {"router", "", 2}});
    request asked;
    asked.model = "shared";
    EXPECT_EQ(route(decide(nullptr, asked, now_, 99)), route(decide(nullptr, asked, now_, 99)));
}

} // namespace
} // namespace gw::policy
