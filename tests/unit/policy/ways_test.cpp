// What the Hub says of a model, and which candidates are left for a request.
#include "payload/tasks.hpp"
#include "policy/decide.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ways_test : public testing::Test
{
protected:
    ways_test()
    {
        now_.hub.on = true;
        upstream("vit", config::kind::dedicated).models = {"google/vit*"};
        upstream("router", config::kind::serverless);
        auto& worker = upstream("worker", config::kind::local);
        worker.run.emplace().command = {"python3", "--model", "$model"};

        entry("google/vit-base", true, {"vit", "router", "worker"});
        entry("own", true, {"router", "worker"}).aliases = {"mine"};
        entry("x:7b", true, {"router", "worker"});
        entry("fixed/one", false, {"router", "vit"});
        entry("*", true, {"vit", "router"});
        entry("open/*", false, {"router", "vit"});
        entry("said/*", false, {"router"}).task = payloads::find_task("fill-mask");
        entry("served/*", false, {"vit"}).task = payloads::find_task("fill-mask");
        config::index_models(now_);
    }

    config::upstream& upstream(const std::string& name, config::kind kind)
    {
        auto& made = *now_.upstreams.emplace_back(std::make_unique<config::upstream>());
        made.name = name;
        made.kind = kind;
        return made;
    }

    config::model_entry& entry(const std::string& name, bool automatic, const std::vector<std::string>& route)
    {
        auto& made = *now_.models.emplace_back(std::make_unique<config::model_entry>());
        made.name = name;
        made.pattern = name.find('*') != std::string::npos;
        made.literal_prefix = name.substr(0, name.find('*'));
        made.automatic = automatic;
        for (const auto& each : route) {
            made.route.push_back(
                {.to = now_.find_upstream(each), .rank = static_cast<std::uint32_t>(made.route.size())}
            );
        }
        return made;
    }

    static request asking(const std::string& model, const std::string& task = {}, door at = door::hf_task)
    {
        request made;
        made.model = model;
        made.at = at;
        made.task = payloads::find_task(task);
        made.task_name = task;
        return made;
    }

    static hub_answer found(std::vector<provider_way> providers = {})
    {
        auto of = std::make_shared<ways>();
        of->model = "the/model";
        of->providers = std::move(providers);
        return {.what = hub_says::found, .of = std::move(of), .text = {}};
    }
    static provider_way
    by(std::string provider, std::string task, provider_state state = provider_state::live)
    {
        return {.provider = std::move(provider), .state = state, .task = std::move(task), .id = "there"};
    }

    result<plan> decide(const request& asked, const hub_answer* said = nullptr)
    {
        return policy::decide(nullptr, asked, now_, 0, said);
    }
    std::vector<std::string> left(const request& asked, const hub_answer& said)
    {
        const auto plan = decide(asked, &said);
        std::vector<std::string> names;
        if (!plan) {
            return {std::string(to_string(plan.error().what)) + ": " + plan.error().text};
        }
        for (const auto& each : plan->candidates) {
            names.push_back(each.to->name);
        }
        return names;
    }

    config::settings now_;
};

TEST_F(ways_test, who_asks_the_hub)
{
    const auto asks = [this](const request& asked) {
        const auto plan = decide(asked);
        EXPECT_TRUE(plan.has_value());
        return plan && plan->asks_hub;
    };
    EXPECT_TRUE(asks(asking("google/vit-base", "image-classification"))) << "an automatic route";
    EXPECT_TRUE(asks(asking("mine", "image-classification")));
    EXPECT_TRUE(asks(asking("some/model", {}, door::openai_chat)));
    EXPECT_TRUE(asks(asking("open/model"))) << "nobody says the task";
    EXPECT_TRUE(asks(asking("open/model", "fill-mask"))) << "who serves it, and what is it called there";
    EXPECT_FALSE(asks(asking("open/model", {}, door::openai_chat)));
    EXPECT_TRUE(asks(asking("said/model")));
    EXPECT_FALSE(asks(asking("served/model"))) << "no provider is asked, and the policy says the task";
    EXPECT_TRUE(asks(asking("open/model:groq", {}, door::openai_chat))) << "a way that it may lack";
    EXPECT_FALSE(asks(asking("open/model:fastest", {}, door::openai_chat))) << "no way in particular";
    EXPECT_FALSE(asks(asking("fixed/one"))) << "the policy names it with a route of its own";
    EXPECT_FALSE(asks(asking("fixed/one:groq")));

    now_.hub.on = false;
    EXPECT_FALSE(asks(asking("open/model")));
    EXPECT_FALSE(asks(asking("open/model:groq")));
}

TEST_F(ways_test, a_client_that_may_not_have_a_model_causes_no_look_up)
{
    const config::client who{.name = "app", .key_digests = {}, .models = {"google/*"}};
    const auto plan = policy::decide(&who, asking("some/model"), now_, 0);
    ASSERT_FALSE(plan.has_value());
    EXPECT_EQ(plan.error().what, code::forbidden);
}

TEST_F(ways_test, only_those_that_exist_in_the_order_of_the_policy)
{
    const auto vit = asking("google/vit-base", "image-classification");
    auto said = found({by("hf-inference", "image-classification")});
    EXPECT_THAT(left(vit, said), ElementsAre("vit", "router")) << "no Transformers";

    auto of = std::make_shared<ways>(*said.of);
    of->transformers.yes = true;
    said.of = of;
    EXPECT_THAT(left(vit, said), ElementsAre("vit", "router", "worker"));
    EXPECT_THAT(left(vit, found()), ElementsAre("vit"));
    EXPECT_THAT(left(asking("google/vit-large", "image-classification"), said), ElementsAre("vit", "router"));
    EXPECT_THAT(left(asking("some/bert", "image-classification"), said), ElementsAre("router"))
        << "a server that answers for any name is not asked for another model";
}

TEST_F(ways_test, a_provider_serves_one_task)
{
    const auto chat = asking("some/chat", {}, door::openai_chat);
    const auto said = found({by("groq", "conversational"), by("x", "fill-mask", provider_state::error)});
    EXPECT_THAT(left(chat, said), ElementsAre("router"));
    EXPECT_THAT(left(asking("some/chat"), said), ElementsAre("router")) << "nobody says the task";
    EXPECT_THAT(
        left(asking("some/chat", "text-generation"), said),
        ElementsAre(
            HasSubstr("unsupported: no way of `some/chat` can be used here for text-generation: Inference "
                      "Providers serve it only by groq for chat-completion")
        )
    );
    EXPECT_THAT(left(asking("some/chat", "fill-mask"), said), ElementsAre(HasSubstr("unsupported")))
        << "its only provider for that is out of order";
    EXPECT_THAT(
        left(chat, found({by("x", "conversational", provider_state::staging)})), ElementsAre("router")
    );

    const auto embeds = found({by("hf-inference", "feature-extraction")});
    EXPECT_THAT(left(asking("some/bge", "sentence-similarity"), embeds), ElementsAre("router"));
}

TEST_F(ways_test, a_provider_that_a_model_lacks_is_told_with_those_it_has)
{
    const auto said =
        found({by("groq", "conversational"), by("nscale", "conversational", provider_state::error)});
    for (const auto* model : {"some/chat", "open/chat"}) {
        const std::string name = model;
        EXPECT_THAT(left(asking(name + ":groq", {}, door::openai_chat), said), testing::Contains("router"));
        EXPECT_THAT(
            left(asking(name + ":together", {}, door::openai_chat), said),
            ElementsAre(
                "unsupported: `" + name +
                "` is not served by the Inference Provider `together`. It has: Inference Providers "
                "(groq); leave `:together` out, or name one of these"
            )
        );
        EXPECT_THAT(
            left(asking(name + ":nscale", {}, door::openai_chat), said),
            ElementsAre(HasSubstr("`nscale` at present"))
        );
    }
}

TEST_F(ways_test, the_task_is_the_hubs_where_nobody_says_it)
{
    auto of = std::make_shared<ways>();
    of->task = "image-classification";
    const hub_answer said{.what = hub_says::found, .of = of, .text = {}};
    const auto plan = decide(asking("open/vit"), &said);
    ASSERT_TRUE(plan.has_value());
    ASSERT_NE(plan->task, nullptr);
    EXPECT_EQ(plan->task->name, "image-classification");
    EXPECT_EQ(plan->known, of);
    EXPECT_THAT(left(asking("open/vit"), said), ElementsAre("router", "vit")) << "a route of its own stays";
    EXPECT_THAT(
        left(asking("some/vit", {}, door::openai_chat), said),
        ElementsAre(HasSubstr("wrong_modality: `some/vit` is a model for image-classification"))
    );
    EXPECT_EQ(decide(asking("open/vit", "fill-mask"), &said)->task->name, "fill-mask")
        << "the request's own word";
}

TEST_F(ways_test, a_task_goes_to_those_that_serve_it_by_their_own_names)
{
    const auto models = [this](const std::string& model, const std::string& task, const hub_answer& said) {
        const auto plan = decide(asking(model, task), &said);
        std::vector<std::string> all;
        for (const auto& each : plan ? plan->candidates : std::vector<candidate>{}) {
            all.push_back(each.to->name + " " + each.model + (each.at_provider ? " !" : ""));
        }
        return all;
    };
    const auto said = found(
        {by("fal-ai", "text-to-image"),
         by("groq", "conversational"),
         by("nebius", "text-to-image", provider_state::error),
         by("together", "text-to-image"),
         by("nscale", "text-to-image", provider_state::staging),
         by("deepinfra", "text-to-image")}
    );
    EXPECT_THAT(
        models("open/flux", "text-to-image", said),
        ElementsAre(
            "router there:fal-ai !", "router there:together !", "router there:nscale !", "vit open/flux"
        )
    ) << "in the Hub's order, at most three";
    EXPECT_THAT(
        models("open/flux:together", "text-to-image", said),
        ElementsAre("router there:together !", "vit open/flux")
    );
    EXPECT_THAT(models("some/flux", "text-to-image", said), testing::SizeIs(3));
    EXPECT_THAT(models("open/flux", "fill-mask", said), ElementsAre("router open/flux", "vit open/flux"))
        << "a route of its own stays";

    const auto own = found({by("together", "text-to-image"), by("hf-inference", "text-to-image")});
    EXPECT_THAT(models("open/flux", "text-to-image", own), ElementsAre("router open/flux", "vit open/flux"));
    EXPECT_THAT(
        models("open/flux:together", "text-to-image", own),
        ElementsAre("router there:together !", "vit open/flux")
    );
    EXPECT_THAT(
        left(asking("open/flux:together", "fill-mask"), own),
        ElementsAre(
            "unsupported: the Inference Provider `together` does not serve `open/flux` for fill-mask. "
            "Inference Providers serve it by together for text-to-image, hf-inference for text-to-image"
        )
    );
    const auto chat = decide(asking("open/flux:groq", {}, door::openai_chat), &said);
    EXPECT_EQ(chat->candidates.front().model, "open/flux:groq") << "the router's own business";
    EXPECT_FALSE(chat->candidates.front().at_provider);
}

TEST_F(ways_test, the_hub_away_fails_nothing_that_a_configured_way_could_serve)
{
    const hub_answer away{
        .what = hub_says::away, .of = nullptr, .text = "the Hub could not be asked: it is down"
    };
    EXPECT_THAT(left(asking("google/vit-base"), away), ElementsAre("vit", "router", "worker"));
    EXPECT_THAT(left(asking("some/model"), away), ElementsAre("router"));
    EXPECT_THAT(left(asking("open/model"), away), ElementsAre("router", "vit"));
    EXPECT_THAT(left(asking("open/model:groq"), away), ElementsAre("router", "vit"));
}

TEST_F(ways_test, each_no_of_the_hub_is_told_when_nothing_else_is_left)
{
    const auto no = [](hub_says what) {
        return hub_answer{.what = what, .of = nullptr, .text = "words of the Hub"};
    };
    EXPECT_THAT(left(asking("google/vit-base"), no(hub_says::unknown)), ElementsAre("vit"))
        << "the operator's word";
    EXPECT_THAT(
        left(asking("some/model"), no(hub_says::unknown)),
        ElementsAre("unknown_model: words of the Hub. If it runs here all the same, its upstream has to say "
                    "so: `models: [some/model]`")
    );
    EXPECT_THAT(
        left(asking("some/model"), no(hub_says::gated)), ElementsAre("token_rejected: words of the Hub")
    );
    EXPECT_THAT(
        left(asking("some/model"), no(hub_says::disabled)), ElementsAre("unsupported: words of the Hub")
    );
    EXPECT_THAT(left(asking("google/vit-base"), no(hub_says::gated)), ElementsAre("vit", "worker"))
        << "the worker has a token of its own";
    for (const auto what : {hub_says::unknown, hub_says::gated, hub_says::disabled}) {
        EXPECT_THAT(left(asking("open/model"), no(what)), ElementsAre("router", "vit"))
            << "a route of its own stays";
    }
    EXPECT_THAT(left(asking("x:7b"), no(hub_says::away)), testing::Contains("router"));
    EXPECT_EQ(decide(asking("x:7b")).error().what, code::unknown_model);
    EXPECT_THAT(decide(asking("x:7b")).error().text, HasSubstr("no Hugging Face id"));
}

} // namespace
} // namespace gw::policy
