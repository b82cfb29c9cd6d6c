// What chats are sent.
#include "support.hpp"

#include "adapters/encode.hpp"

#include <vector>

namespace gw::adapters {
namespace {

using namespace testing;
using config::engine;
using config::kind;

TEST(chat, untouched_when_the_name_is_the_same)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    for (const std::string_view body : {
             R"({"model":"org/name","messages":[{"role":"user","content":"hi"}],"stream":true})",
             R"({ "messages":[] , "model" : "org\/name" })",
         }) {
        const auto asked = json(std::string(body), "chat-completion", door::openai_chat);
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_TRUE(what.body.pass_through()) << body;
        EXPECT_EQ(what.path, "/v1/chat/completions");
        EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::pass_through);
    }
}

TEST(chat, the_name_is_replaced_in_place)
{
    const auto to = upstream(kind::local, engine::openai);
    struct row
    {
        std::string_view body;
        std::string_view sent;
    };
    for (const row& each : std::vector<row>{
             {R"({"model":"dummy","messages":[]})", R"({"model":"org/name","messages":[]})"},
             {R"({"messages":[ ], "model" : "tgi" })", R"({"messages":[ ], "model" : "org/name" })"},
             {R"({"messages":[],"model":null})", R"({"messages":[],"model":"org/name"})"},
             {R"({"messages":[]})", R"({"messages":[],"model":"org/name"})"},
             {R"( {"messages":[{"a":"}"}] } )", R"( {"messages":[{"a":"}"}],"model":"org/name" } )"},
         }) {
        const auto asked = json(std::string(each.body), "chat-completion", door::hf_chat);
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_EQ(execute(what.body, asked->body, 3), each.sent);
        EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::json);
    }
}

TEST(chat, response_format_of_tgi_becomes_openais)
{
    const auto to = upstream(kind::serverless);
    const auto asked = json(
        R"({"response_format":{"type":"json_object","value":{"type":"object","maximum":1e400}},"model":"x","messages":[]})",
        "chat-completion",
        door::openai_chat
    );
    EXPECT_EQ(
        execute(sent(asked->asked, at(to, asked->asked)).body, asked->body),
        R"({"response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object","maximum":1e400}}},"model":"org/name","messages":[]})"
    );
    for (const std::string_view format : {
             R"({"type":"json_object"})",
             R"({"type":"json_schema","json_schema":{"name":"n","schema":{}}})",
             R"({"type":"text"})",
             R"({"type":"json_object","value":"text"})",
             R"("json")",
         }) {
        const std::string body =
            R"({"model":"org/name","messages":[],"response_format":)" + std::string(format) + "}";
        const auto same = json(body, "chat-completion", door::openai_chat);
        EXPECT_TRUE(sent(same->asked, at(to, same->asked)).body.pass_through()) << format;
    }
}

TEST(chat, long_messages_stay_ranges)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const std::string picture = payloads::encode_base64(some_bytes(200'000));
    const std::string messages =
        R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,)" +
        picture + R"("}}]}])";
    const auto asked =
        json(R"({"model":"alias","messages":)" + messages + "}", "chat-completion", door::openai_chat);
    const auto what = sent(asked->asked, at(to, asked->asked));
    ASSERT_EQ(what.body.pieces.size(), 3U);
    EXPECT_LT(what.body.pieces[1].text.size(), 20U) << "nothing of the picture is copied";
    EXPECT_EQ(execute(what.body, asked->body), R"({"model":"org/name","messages":)" + messages + "}");
}

TEST(chat, streams_have_their_own_limit_and_accept)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const auto stream =
        json(R"({"model":"m","messages":[],"stream":true})", "chat-completion", door::openai_chat);
    EXPECT_TRUE(sent(stream->asked, at(to, stream->asked)).expects_stream);
    EXPECT_EQ(sent(stream->asked, at(to, stream->asked)).accept, "text/event-stream");
    const auto plain = json(R"({"model":"m","messages":[]})", "chat-completion", door::openai_chat);
    EXPECT_FALSE(sent(plain->asked, at(to, plain->asked)).expects_stream);
    EXPECT_EQ(sent(plain->asked, at(to, plain->asked)).accept, "application/json");
}

TEST(chat, paths)
{
    auto to = upstream(kind::dedicated, engine::openai);
    const auto asked = json(R"({"model":"m","messages":[]})", "chat-completion", door::openai_chat);
    for (const auto& [base, path] : std::vector<std::pair<std::string, std::string>>{
             {"", "/v1/chat/completions"},
             {"/v1", "/v1/chat/completions"},
             {"/api", "/api/v1/chat/completions"},
             {"/openai/v1", "/openai/v1/chat/completions"},
             {"/x/chat/completions", "/x/chat/completions"},
         }) {
        to.at.base_path = base;
        EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, path);
    }
    to.at.base_path = "/api";
    to.path = "/paas/v4/chat/completions";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, "/api/paas/v4/chat/completions");
}

TEST(chat, made_of_inputs)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const auto text = json(
        R"({"model":"m","inputs":"hi \"you\"","parameters":{"max_tokens":5,"model":"evil"},"stream":true})",
        "chat-completion",
        door::native_inference
    );
    EXPECT_EQ(
        execute(sent(text->asked, at(to, text->asked)).body, text->body),
        R"({"model":"org/name","messages":[{"role":"user","content":"hi \"you\""}],"max_tokens":5,"stream":true})"
    );
    const auto list =
        json(R"({"inputs":[{"role":"user","content":"x"}]})", "chat-completion", door::native_inference);
    EXPECT_EQ(
        execute(sent(list->asked, at(to, list->asked)).body, list->body),
        R"({"model":"org/name","messages":[{"role":"user","content":"x"}]})"
    );
    const auto number = json(R"({"inputs":5})", "chat-completion", door::native_inference);
    EXPECT_EQ(refused(number->asked, at(to, number->asked)).what, code::wrong_modality);
    const auto bytes = raw("x", "image/png", "chat-completion");
    EXPECT_EQ(refused(bytes->asked, at(to, bytes->asked)).what, code::wrong_modality);
}

TEST(chat, engine_openai_says_who_takes_other_tasks)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const auto asked = raw(image(20), "image/png", "image-to-text");
    const failure why = refused(asked->asked, at(to, asked->asked));
    EXPECT_EQ(why.what, code::unsupported);
    EXPECT_TRUE(why.text.contains("image-to-text") && why.text.contains("toolkit")) << why.text;
    const auto unknown = json(R"({"inputs":"x"})", "");
    EXPECT_EQ(refused(unknown->asked, at(to, unknown->asked)).what, code::unknown_task);
}

} // namespace
} // namespace gw::adapters
