// What the Hub's answers say of a model, read from recorded ones and from bent ones.
#include "hub/read.hpp"
#include "recorded.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ways of(const std::string& name)
{
    const recorded from(name);
    const auto read = read_ways(from.body, from.model);
    EXPECT_TRUE(read.has_value()) << name;
    return read.value_or(ways{});
}

ways read(std::string_view json)
{
    const auto made = read_ways(json, "a/b");
    EXPECT_TRUE(made.has_value()) << json;
    return made.value_or(ways{});
}

std::vector<std::string> engines(const ways& from)
{
    std::vector<std::string> names;
    for (const auto& each : from.engines) {
        names.push_back(each.engine);
    }
    return names;
}

TEST(read_ways, a_model_with_all_ways)
{
    const ways vit = of("all");
    EXPECT_EQ(vit.model, "google/vit-base-patch16-224");
    EXPECT_EQ(vit.task, "image-classification");
    EXPECT_EQ(vit.task_why, "pipeline_tag");
    ASSERT_EQ(vit.providers.size(), 2U);
    EXPECT_EQ(vit.providers[0].provider, "hf-inference");
    EXPECT_EQ(vit.providers[0].state, provider_state::live);
    EXPECT_EQ(vit.providers[0].task, "image-classification");
    EXPECT_EQ(vit.providers[0].id, "google/vit-base-patch16-224");
    EXPECT_EQ(vit.providers[1].state, provider_state::error);
    EXPECT_FALSE(vit.providers[1].usable());
    EXPECT_THAT(engines(vit), ElementsAre("toolkit", "openai"));
    EXPECT_THAT(vit.spaces, ElementsAre("klick/gabor", "merve/vision-playground", "sleepy/vit"));
    EXPECT_TRUE(vit.transformers.yes);
    EXPECT_THAT(vit.transformers.why, HasSubstr("AutoModelForImageClassification"));
    EXPECT_TRUE(vit.transformers_js.yes);
    EXPECT_TRUE(vit.llama_cpp.yes);
    EXPECT_FALSE(vit.tei.yes);
    EXPECT_EQ(vit.gated, "");
    EXPECT_FALSE(vit.disabled);
}

TEST(read_ways, a_model_with_none)
{
    const ways raw = of("none");
    EXPECT_EQ(raw.task, "");
    EXPECT_THAT(raw.task_why, HasSubstr("neither"));
    EXPECT_THAT(raw.providers, IsEmpty());
    EXPECT_THAT(raw.engines, IsEmpty());
    EXPECT_THAT(raw.spaces, IsEmpty());
    EXPECT_FALSE(raw.transformers.yes || raw.transformers_js.yes || raw.llama_cpp.yes || raw.tei.yes);
    for (const auto& each : {raw.transformers, raw.transformers_js, raw.llama_cpp, raw.tei}) {
        EXPECT_NE(each.why, "") << "a no has its reason, too";
    }
    EXPECT_EQ(in_words(raw), "none");
}

TEST(read_ways, a_chat_model_is_named_at_each_provider)
{
    const ways chat = of("chat"); // with an integer of 31 digits in its config
    EXPECT_EQ(chat.task, "text-generation");
    ASSERT_NE(chat.find("cerebras"), nullptr);
    EXPECT_EQ(chat.find("cerebras")->id, "gpt-oss-120b");
    EXPECT_EQ(chat.find("cerebras")->task, "conversational");
    EXPECT_EQ(chat.find("together")->state, provider_state::staging);
    EXPECT_TRUE(chat.find("together")->usable());
    EXPECT_EQ(chat.find("nobody"), nullptr);
    EXPECT_EQ(
        in_words(chat),
        "Inference Providers (cerebras, groq, together), Inference Endpoints (openai, toolkit), "
        "Spaces (1), Transformers"
    );
}

TEST(read_ways, files_of_llama_cpp)
{
    const ways gguf = of("gguf");
    EXPECT_TRUE(gguf.llama_cpp.yes);
    EXPECT_THAT(gguf.llama_cpp.why, HasSubstr("2 GGUF files, architecture llama"));
    EXPECT_FALSE(gguf.transformers.yes);
    EXPECT_THAT(engines(gguf), ElementsAre("openai"));
}

TEST(read_ways, embeddings)
{
    const ways bge = of("embeddings");
    EXPECT_EQ(bge.task, "feature-extraction");
    EXPECT_TRUE(bge.tei.yes);
    EXPECT_TRUE(bge.transformers.yes) << "transformersInfo, though the library is another one";
    EXPECT_THAT(engines(bge), ElementsAre("tei", "toolkit"));
}

TEST(read_ways, providers_in_a_list_name_themselves)
{
    const ways gpt2 = of("gpt2");
    ASSERT_EQ(gpt2.providers.size(), 1U);
    EXPECT_EQ(gpt2.providers[0].provider, "hf-inference");
    EXPECT_THAT(engines(gpt2), ElementsAre("tgi", "toolkit"));
}

TEST(read_ways, warm_without_a_mapping_is_hf_inference)
{
    const ways old = read(R"({"id":"a/b","pipeline_tag":"fill-mask","inference":"warm"})");
    ASSERT_EQ(old.providers.size(), 1U);
    EXPECT_EQ(old.providers[0].provider, "hf-inference");
    EXPECT_EQ(old.providers[0].task, "fill-mask");
    EXPECT_EQ(old.providers[0].id, "a/b");
}

TEST(read_ways, an_entry_that_lacks_something_is_none)
{
    const ways some = read(
        R"({"inferenceProviderMapping":{"a":{"status":"live","task":"fill-mask"},"b":{"providerId":"x","task":"fill-mask"},)"
        R"("c":{"status":"live","providerId":"x"},"d":7,"e":{"status":"retired","providerId":"x","task":"fill-mask"}}})"
    );
    ASSERT_EQ(some.providers.size(), 1U);
    EXPECT_EQ(some.providers[0].provider, "e");
    EXPECT_FALSE(some.providers[0].usable()) << "a status that nobody knows is not usable";
}

TEST(read_ways, the_task_from_elsewhere)
{
    EXPECT_EQ(read(R"({"transformersInfo":{"pipeline_tag":"summarization"}})").task, "summarization");
    EXPECT_EQ(
        read(R"({"config":{"architectures":["BertForTokenClassification"]}})").task, "token-classification"
    );
    EXPECT_EQ(
        read(
            R"({"inferenceProviderMapping":{"x":{"status":"live","providerId":"y","task":"conversational"}}})"
        )
            .task,
        "chat-completion"
    );
    const ways strange = read(R"({"pipeline_tag":"time-travel"})");
    EXPECT_EQ(strange.task, "");
    EXPECT_THAT(strange.task_why, HasSubstr("`time-travel`"));
}

TEST(read_ways, code_of_its_own)
{
    EXPECT_TRUE(read(R"({"transformersInfo":{"auto_model":"AutoModel","custom_class":"x.Y"}})").own_code);
    EXPECT_TRUE(read(R"({"config":{"auto_map":{"AutoModel":"x.Y"}}})").own_code);
    const ways plain = read(R"({"library_name":"transformers","config":{"auto_map":{}}})");
    EXPECT_FALSE(plain.own_code);
    EXPECT_TRUE(plain.transformers.yes);
}

TEST(read_ways, a_handler_of_its_own_comes_first)
{
    EXPECT_THAT(
        engines(read(
            R"({"library_name":"transformers","tags":["text-generation-inference"],"siblings":[{"rfilename":"handler.py"}]})"
        )),
        ElementsAre("toolkit", "tgi")
    );
    EXPECT_THAT(engines(read(R"({"library_name":"diffusers"})")), ElementsAre("toolkit"));
}

TEST(read_ways, what_cannot_be_shown_is_not_said)
{
    const ways bad = read(
        "{\"id\":\"a/\\u001b[31mb\",\"pipeline_tag\":\"fill-mask\\u0007\",\"spaces\":[\"x\\ny\",7,null,\"ok/"
        "one\"],\"gated\":\"man ual\"}"
    );
    EXPECT_EQ(bad.model, "a/b") << "as it was asked for";
    EXPECT_EQ(bad.task, "");
    EXPECT_THAT(bad.spaces, ElementsAre("ok/one"));
    EXPECT_EQ(bad.gated, "");
}

TEST(read_ways, other_types_than_expected_are_not_said)
{
    const ways bent = read(
        R"({"id":7,"pipeline_tag":[],"library_name":{},"tags":{"a":1},"spaces":"x","inferenceProviderMapping":"live",)"
        R"("transformersInfo":[1],"config":null,"siblings":{"rfilename":"handler.py"},"gguf":true,"gated":true,"disabled":"yes"})"
    );
    EXPECT_EQ(bent.model, "a/b");
    EXPECT_EQ(bent.gated, "manual");
    EXPECT_FALSE(bent.disabled);
    EXPECT_EQ(in_words(bent), "none");
}

TEST(read_ways, no_object)
{
    for (const auto* text :
         {"",
          "[]",
          "null",
          "7",
          "{",
          R"({"id":"a"} x)",
          R"({"id":"a","id":"b"})",
          "<html>",
          "{\"a\":\"\xff\"}"}) {
        const auto made = read_ways(text, "a/b");
        ASSERT_FALSE(made.has_value()) << text;
        EXPECT_EQ(made.error().what, code::unavailable);
    }
}

TEST(read_ways, lists_are_bounded)
{
    std::string text = R"({"spaces":["a/b")";
    for (int i = 0; i < 1000; ++i) {
        text += R"(,"a/b")";
    }
    EXPECT_EQ(read(text + "]}").spaces.size(), 100U);
}

TEST(targets, what_stands_in_a_name_stays_in_its_segment)
{
    EXPECT_THAT(
        model_target("google/vit-base"),
        testing::StartsWith("/api/models/google/vit-base?expand=inferenceProviderMapping&expand=inference&")
    );
    EXPECT_THAT(
        model_target("a?b#c/d/../e"), testing::StartsWith("/api/models/a%3Fb%23c/d%2F..%2Fe?expand=")
    );
    EXPECT_EQ(runtime_target("klick/gabor"), "/api/spaces/klick/gabor/runtime");
    EXPECT_EQ(runtime_target("a/b/../c"), "/api/spaces/a/b%2F..%2Fc/runtime");
}

TEST(read_stage, of_a_runtime)
{
    EXPECT_EQ(read_stage(R"({"stage":"RUNNING","hardware":{"current":"cpu-basic"}})"), "RUNNING");
    EXPECT_EQ(read_stage(R"({"stage":7})"), "");
    EXPECT_EQ(read_stage("no"), "");
}

} // namespace
} // namespace gw::hub
