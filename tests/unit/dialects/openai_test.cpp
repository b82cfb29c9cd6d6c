#include "support.hpp"

#include "dialects/answers.hpp"
#include "payload/tasks.hpp"

namespace gw::dialects {
namespace {

TEST(openai, a_chat_as_the_sdk_sends_it)
{
    const auto body = sample_body::json(
        R"({"messages": [{"role":"user","content":"Hi"}], "model": "org/name:fastest", "temperature": 1e400, "stream": true,)"
        R"( "stream_options": {"include_usage": true}})"
    );
    const auto asked =
        sample{.target = "/v1/chat/completions", .content_type = "application/json"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->dialect, dialect_id::openai);
    EXPECT_EQ(asked->at, door::openai_chat);
    EXPECT_EQ(asked->model, "org/name:fastest");
    EXPECT_EQ(body->at(*asked->model_at), R"("org/name:fastest")");
    EXPECT_TRUE(asked->stream);
    EXPECT_TRUE(wants_usage(*asked));
    ASSERT_NE(asked->task, nullptr);
    EXPECT_EQ(asked->task->name, "chat-completion");
    EXPECT_FALSE(asked->raw);
    EXPECT_EQ(asked->body_size, body->facts().size);
    EXPECT_EQ(find_member(*asked, "temperature")->text, "1e400") << "numbers are not touched";
}

TEST(openai, usage_is_wanted_only_when_it_was_asked_for)
{
    const std::pair<std::string, bool> rows[] = {
        {R"({"model":"m","messages":[]})", false},
        {R"({"model":"m","messages":[],"stream_options":null})", false},
        {R"({"model":"m","messages":[],"stream_options":{}})", false},
        {R"({"model":"m","messages":[],"stream_options":{"include_usage":false}})", false},
        {R"({"model":"m","messages":[],"stream_options":{"include_usage":1}})", false},
        {R"({"model":"m","messages":[],"stream_options":{"other":{"include_usage":true}}})", false},
        {R"({"model":"m","messages":[],"stream_options":{ "a":[1], "include_usage" : true }})", true},
        {R"({"model":"m","messages":[],"stream_options":{"include\u005fusage":true}})", true},
    };
    for (const auto& [text, wanted] : rows) {
        const auto body = sample_body::json(text);
        const auto asked = sample{.target = "/v1/chat/completions"}.parse(*body);
        ASSERT_TRUE(asked.has_value()) << text;
        EXPECT_EQ(wants_usage(*asked), wanted) << text;
    }
}

TEST(openai, pictures_in_messages_are_not_looked_at)
{
    const std::string picture(90 * 1024, 'A');
    const auto body = sample_body::json(
        R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,)" +
            picture + R"("}}]}]})",
        sample_body::lies::elsewhere
    );
    const auto asked = sample{.target = "/v1/chat/completions"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_FALSE(asked->binary.has_value());
    EXPECT_EQ(asked->body_size, body->facts().size);
}

struct bad_row
{
    std::string_view why;
    std::string_view body;
    code what;
    std::string_view param;
    std::string_view says;
};

TEST(openai, bad_input_is_told_what_is_wrong_and_what_to_do)
{
    const bad_row rows[] = {
        {"no JSON", "model=m", code::invalid_json, "", "Content-Type: application/json"},
        {"nothing", "", code::invalid_json, "", "The body is not JSON"},
        {"no object", "[]", code::invalid_json, "", "must be a JSON object, not an array"},
        {"no model", R"({"messages":[]})", code::invalid_model, "model", "`model` is missing"},
        {"an empty model", R"({"messages":[],"model":""})", code::invalid_model, "model", "missing or empty"},
        {"a null model", R"({"messages":[],"model":null})", code::invalid_model, "model", "missing"},
        {"a model that is no text",
         R"({"messages":[],"model":["a"]})",
         code::invalid_json,
         "model",
         "`model` must be a string, not an array"},
        {"a model that is a number",
         R"({"messages":[],"model":4})",
         code::invalid_json,
         "model",
         "not a number"},
        {"no messages",
         R"({"model":"m"})",
         code::invalid_json,
         "messages",
         R"([{"role":"user","content":"Hello"}])"},
        {"null messages", R"({"model":"m","messages":null})", code::invalid_json, "messages", "is missing"},
        {"messages that are a text",
         R"({"model":"m","messages":"Hi"})",
         code::invalid_json,
         "messages",
         "`messages` must be a list such as"},
        {"one message that is no list",
         R"({"model":"m","messages":{"role":"user"}})",
         code::invalid_json,
         "messages",
         "not an object"},
        {"a stream that is a text",
         R"({"model":"m","messages":[],"stream":"true"})",
         code::invalid_json,
         "stream",
         "`stream` must be true or false, not a string"},
        {"options that are no object",
         R"({"model":"m","messages":[],"stream_options":true})",
         code::invalid_json,
         "stream_options",
         "`stream_options` must be an object such as {\"include_usage\":true}, not a boolean"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.why);
        const bool is_json = row.body.starts_with('{') || row.body.starts_with('[');
        const auto body =
            is_json ? sample_body::json(std::string(row.body)) : sample_body::raw(std::string(row.body));
        const auto asked = sample{.target = "/v1/chat/completions"}.parse(*body);
        ASSERT_FALSE(asked.has_value());
        EXPECT_EQ(to_string(asked.error().what), to_string(row.what));
        EXPECT_EQ(asked.error().http_status(), 400);
        EXPECT_EQ(asked.error().param, row.param);
        EXPECT_NE(asked.error().text.find(row.says), std::string::npos) << asked.error().text;

        // The same as the SDK sees it.
        json_reader reader;
        const auto error = reader.read(tongue_of("/v1/chat/completions").error_body(asked.error(), "r1"));
        EXPECT_EQ(text_at(error, "/error/message"), asked.error().text);
        EXPECT_EQ(text_at(error, "/error/type"), "invalid_request_error");
        EXPECT_EQ(text_at(error, "/error/code"), to_string(row.what));
    }
}

TEST(openai, lists_are_answered_without_a_body)
{
    const auto found = find_door("/v1/models/org%2Fname", wire::method::get);
    ASSERT_TRUE(found.has_value());
    const wire::request_head head;
    const auto asked = found->tongue->parse(*found, head, "", body_facts{});
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->at, door::openai_models);
    EXPECT_EQ(asked->model, "org/name");
}

TEST(openai, the_list_of_models)
{
    json_reader reader;
    const auto none = reader.read(models_body({}, 0));
    EXPECT_EQ(text_at(none, "/object"), "list");
    EXPECT_EQ(none.at_pointer("/data").get_array().value().size(), 0u);

    json_reader other;
    const auto two = other.read(models_body({{"org/na\"me", "fill-mask"}, {"chat", ""}}, 1700000000));
    EXPECT_EQ(two.at_pointer("/data").get_array().value().size(), 2u);
    EXPECT_EQ(text_at(two, "/data/0/id"), "org/na\"me");
    EXPECT_EQ(text_at(two, "/data/0/object"), "model");
    EXPECT_EQ(text_at(two, "/data/0/owned_by"), "org");
    EXPECT_EQ(text_at(two, "/data/0/task"), "fill-mask");
    EXPECT_EQ(two.at_pointer("/data/0/created").get_int64().value(), 1700000000);
    EXPECT_EQ(text_at(two, "/data/1/id"), "chat");
    EXPECT_EQ(text_at(two, "/data/1/owned_by"), "fourways");
    EXPECT_FALSE(has(two, "/data/1/task"));

    json_reader third;
    const auto one = third.read(model_body({"org/name", "chat-completion"}, 5));
    EXPECT_EQ(text_at(one, "/id"), "org/name");
    EXPECT_EQ(text_at(one, "/object"), "model");
    EXPECT_EQ(one.at_pointer("/created").get_int64().value(), 5);
}

} // namespace
} // namespace gw::dialects
