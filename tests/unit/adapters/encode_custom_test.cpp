// What a server of the operator's own is sent.
#include "support.hpp"

#include "adapters/encode.hpp"

namespace gw::adapters {
namespace {

using namespace testing;

using what = config::template_part::what;

TEST(custom, any_key)
{
    const auto to = with_template({
        {what::literal, R"({"image":)"},
        {what::base64, ""},
        {what::literal, R"(,"options":)"},
        {what::parameters, ""},
        {what::literal, R"(,"name":)"},
        {what::model, ""},
        {what::literal, "}"},
    });
    const std::string bytes = image(123);
    const std::string text = payloads::encode_base64(bytes);
    const auto binary = raw(bytes, "image/png", "image-classification", R"({"k":0.5})");
    const auto from_raw = sent(binary->asked, at(to, binary->asked));
    EXPECT_EQ(
        execute(from_raw.body, binary->body),
        R"({"image":")" + text + R"(","options":{"k":0.5},"name":"org/name"})"
    );
    EXPECT_EQ(from_raw.content_type, "application/json");
    EXPECT_EQ(planned(binary->asked, at(to, binary->asked)), encoding::custom_template);
    EXPECT_TRUE(adapter_for(to).can_stream(binary->asked, at(to, binary->asked)));

    const auto base64 = json(
        R"({"inputs":"data:image/png;base64,)" + slashes_escaped(text) + R"("})", "image-classification"
    );
    EXPECT_EQ(
        execute(sent(base64->asked, at(to, base64->asked)).body, base64->body),
        R"({"image":")" + slashes_escaped(text) + R"(","options":{},"name":"org/name"})"
    );
}

TEST(custom, data_urls)
{
    const auto to =
        with_template({{what::literal, R"({"url":)"}, {what::data_url, ""}, {what::literal, "}"}});
    const std::string text = payloads::encode_base64(image(50));
    const auto typed = raw(image(50), "image/png", "image-classification");
    EXPECT_EQ(
        execute(sent(typed->asked, at(to, typed->asked)).body, typed->body),
        R"({"url":"data:image/png;base64,)" + text + R"("})"
    );
    const auto untyped = raw("abc", "", "image-classification");
    EXPECT_EQ(
        execute(sent(untyped->asked, at(to, untyped->asked)).body, untyped->body),
        R"({"url":"data:application/octet-stream;base64,YWJj"})"
    );
}

TEST(custom, inputs)
{
    const auto to = with_template({{what::literal, R"({"q":)"}, {what::inputs, ""}, {what::literal, "}"}});
    const auto object =
        json(R"({"parameters":{"a":1},"inputs":{"question":"x", "n":1e400}})", "question-answering");
    EXPECT_EQ(
        execute(sent(object->asked, at(to, object->asked)).body, object->body),
        R"({"q":{"question":"x", "n":1e400}})"
    );
    const auto native = json(
        R"({"inputs":{"base64":")" + payloads::encode_base64(image(9)) + R"("}})",
        "image-classification",
        door::native_inference
    );
    EXPECT_EQ(
        execute(sent(native->asked, at(to, native->asked)).body, native->body),
        R"({"q":")" + payloads::encode_base64(image(9)) + R"("})"
    );
    const auto none = json(R"({"table":{}})", "tabular-classification");
    EXPECT_EQ(refused(none->asked, at(to, none->asked)).what, code::invalid_json);
}

TEST(custom, without_a_template_what_handlers_expect)
{
    const auto to = with_template({});
    const auto text = json(R"({"inputs":"x","parameters":{"a":1}})", "text-classification");
    EXPECT_EQ(
        execute(sent(text->asked, at(to, text->asked)).body, text->body),
        R"({"inputs":"x","parameters":{"a":1}})"
    );
    const auto binary = raw("abc", "image/png", "image-classification");
    EXPECT_EQ(
        execute(sent(binary->asked, at(to, binary->asked)).body, binary->body),
        R"({"inputs":"YWJj","parameters":{}})"
    );
}

TEST(custom, refusals)
{
    const auto to = with_template({{what::base64, ""}});
    const auto text = json(R"({"inputs":"hello"})", "text-classification");
    const failure why = refused(text->asked, at(to, text->asked));
    EXPECT_EQ(why.what, code::wrong_modality);
    EXPECT_TRUE(why.text.contains("$base64"));
    const auto chat = json(R"({"messages":[]})", "chat-completion", door::openai_chat);
    EXPECT_EQ(refused(chat->asked, at(to, chat->asked)).what, code::unsupported);
}

TEST(custom, the_payload_twice_waits_for_the_whole_body)
{
    const auto to = with_template(
        {{what::literal, "["},
         {what::base64, ""},
         {what::literal, ","},
         {what::base64, ""},
         {what::literal, "]"}}
    );
    const auto binary = raw("abc", "image/png", "image-classification");
    EXPECT_EQ(execute(sent(binary->asked, at(to, binary->asked)).body, binary->body), R"(["YWJj","YWJj"])");
    EXPECT_FALSE(adapter_for(to).can_stream(binary->asked, at(to, binary->asked)));
}

} // namespace
} // namespace gw::adapters
