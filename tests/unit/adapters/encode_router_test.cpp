// What the router is sent.
#include "support.hpp"

#include "adapters/encode.hpp"

#include <vector>

namespace gw::adapters {
namespace {

using namespace testing;
using config::kind;

TEST(router, task_paths)
{
    const auto to = upstream(kind::serverless);
    struct row
    {
        std::string_view model;
        std::string_view task;
        std::string_view path;
    };
    for (const row& each : std::vector<row>{
             {"google/vit-base", "text-classification", "/hf-inference/models/google/vit-base"},
             {"gpt2", "text-generation", "/hf-inference/models/gpt2"},
             {"org/m", "feature-extraction", "/hf-inference/models/org/m/pipeline/feature-extraction"},
             {"org/m", "sentence-similarity", "/hf-inference/models/org/m/pipeline/sentence-similarity"},
             {"org/m:hf-inference", "fill-mask", "/hf-inference/models/org/m"},
             {"o rg/m?x", "fill-mask", "/hf-inference/models/o%20rg/m%3Fx"},
             {"org/a/b", "fill-mask", "/hf-inference/models/org/a/b"},
         }) {
        const auto asked = json(R"({"inputs":"x"})", each.task);
        EXPECT_EQ(sent(asked->asked, at(to, asked->asked, each.model)).path, each.path);
    }
    auto mirror = to;
    mirror.at.base_path = "/mirror";
    const auto asked = json(R"({"inputs":"x"})", "fill-mask");
    EXPECT_EQ(sent(asked->asked, at(mirror, asked->asked)).path, "/mirror/hf-inference/models/org/name");
}

TEST(router, bytes_without_parameters_base64_with)
{
    const auto to = upstream(kind::serverless);
    const std::string bytes = image(99);
    const auto bare = raw(bytes, "image/png", "image-classification");
    const auto first = sent(bare->asked, at(to, bare->asked));
    EXPECT_TRUE(first.body.pass_through());
    EXPECT_EQ(first.content_type, "image/png");

    const auto with = raw(bytes, "image/png", "image-classification", R"({"top_k":3})");
    const auto second = sent(with->asked, at(to, with->asked));
    EXPECT_EQ(second.path, "/hf-inference/models/org/name") << "no query";
    EXPECT_EQ(second.content_type, "application/json");
    EXPECT_EQ(
        execute(second.body, with->body),
        R"({"inputs":")" + payloads::encode_base64(bytes) + R"(","parameters":{"top_k":3}})"
    );
    EXPECT_TRUE(adapter_for(to).can_stream(with->asked, at(to, with->asked)));

    const auto untyped = raw("ab", "", "image-classification");
    const auto third = sent(untyped->asked, at(to, untyped->asked));
    EXPECT_TRUE(third.body.pass_through());
    EXPECT_EQ(third.content_type, "") << "it sniffs, as for its own clients";
}

TEST(router, base64_json)
{
    const auto to = upstream(kind::serverless);
    const std::string bytes = image(99);
    const std::string text = payloads::encode_base64(bytes);
    const std::string plain = R"({"inputs":")" + text + R"("})";
    const auto passes = json(plain, "image-classification");
    EXPECT_TRUE(sent(passes->asked, at(to, passes->asked)).body.pass_through());

    const auto prefixed =
        json(R"({"inputs":"data:image/png;base64,)" + text + R"("})", "image-classification");
    EXPECT_EQ(execute(sent(prefixed->asked, at(to, prefixed->asked)).body, prefixed->body), bytes)
        << "its clients never send a data URL";

    const std::string python =
        R"({"inputs":")" + text + R"(","parameters":{},"question":"q","image":")" + text + R"("})";
    const auto vqa = json(python, "visual-question-answering");
    EXPECT_EQ(execute(sent(vqa->asked, at(to, vqa->asked)).body, vqa->body), python)
        << "what huggingface_hub sends it";

    const std::string js = R"({"inputs":{"question":"q","image":")" + text + R"("}})";
    const auto doc = json(js, "document-question-answering");
    EXPECT_EQ(execute(sent(doc->asked, at(to, doc->asked)).body, doc->body), js);

    const auto zero = json(
        R"({"inputs":{"image":")" + text + R"("},"parameters":{"candidate_labels":["a"]}})",
        "zero-shot-image-classification"
    );
    EXPECT_EQ(
        execute(sent(zero->asked, at(to, zero->asked)).body, zero->body),
        R"({"inputs":")" + text + R"(","parameters":{"candidate_labels":["a"]}})"
    );
}

TEST(router, who_pays)
{
    const auto to = upstream(kind::serverless);
    const auto asked = json(R"({"inputs":"x"})", "fill-mask");
    config::token token;
    auto there = at(to, asked->asked);
    there.with = &token;
    EXPECT_EQ(sent(asked->asked, there).fields, "");
    token.bill_to = "acme";
    EXPECT_EQ(sent(asked->asked, there).fields, "X-HF-Bill-To: acme\r\n");
    token.bill_to = "acme\r\nX-Evil: 1";
    EXPECT_EQ(sent(asked->asked, there).fields, "") << "never a header of somebody else's making";

    token.bill_to = "acme";
    const auto chat = json(R"({"model":"org/name","messages":[]})", "chat-completion", door::openai_chat);
    auto chat_there = at(to, chat->asked);
    chat_there.with = &token;
    EXPECT_EQ(sent(chat->asked, chat_there).fields, "X-HF-Bill-To: acme\r\n");
}

TEST(router, accept)
{
    const auto to = upstream(kind::serverless);
    for (const auto& [task, accept] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"text-to-image", "image/png"},
             {"fill-mask", "application/json"},
             {"text-to-speech", ""},
             {"", ""}
         }) {
        const auto asked = json(R"({"inputs":"x"})", task);
        EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, accept) << task;
    }
}

TEST(router, the_suffix_stays_in_chats)
{
    const auto to = upstream(kind::serverless);
    const auto asked =
        json(R"({"model":"alias:together","messages":[]})", "chat-completion", door::openai_chat);
    auto there = at(to, asked->asked, "org/name");
    there.provider = "together";
    EXPECT_EQ(
        execute(sent(asked->asked, there).body, asked->body), R"({"model":"org/name:together","messages":[]})"
    );
    there.model = "org/name:fastest";
    EXPECT_EQ(
        execute(sent(asked->asked, there).body, asked->body), R"({"model":"org/name:fastest","messages":[]})"
    );
    EXPECT_EQ(sent(asked->asked, there).path, "/v1/chat/completions");
}

} // namespace
} // namespace gw::adapters
