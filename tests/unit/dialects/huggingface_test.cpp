#include "support.hpp"

#include "payload/base64.hpp"
#include "payload/tasks.hpp"

namespace gw::dialects {
namespace {

const std::string jpeg("\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01", 13);

TEST(huggingface, a_task_request_as_the_python_client_sends_it)
{
    const auto body = sample_body::json(R"({"inputs": "I like it", "parameters": {}})");
    const auto asked =
        sample{
            .target = "/hf-inference/models/org/name",
            .accept = "*/*",
            .user_agent = "unknown/None; hf_hub/2.4.0"
        }
            .parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->dialect, dialect_id::huggingface);
    EXPECT_EQ(asked->at, door::hf_task);
    EXPECT_EQ(asked->model, "org/name");
    EXPECT_EQ(asked->task, nullptr);
    EXPECT_TRUE(asked->parameters.empty()) << "an empty object says nothing";
    EXPECT_EQ(body->at(*asked->inputs), R"("I like it")");
    EXPECT_FALSE(asked->model_at.has_value());
    EXPECT_EQ(asked->user_agent, "unknown/None; hf_hub/2.4.0");
    EXPECT_TRUE(asked->accepts_binary);
}

TEST(huggingface, the_task_of_the_path)
{
    const auto body = sample_body::json(R"({"inputs":["a","b"],"normalize":true})");
    const auto asked = sample{.target = "/models/org/name/pipeline/feature-extraction"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->task_name, "feature-extraction");
    ASSERT_NE(asked->task, nullptr);
    EXPECT_TRUE(asked->task->root_parameters);
    ASSERT_NE(find_member(*asked, "normalize"), nullptr) << "parameters at the root stay members";
    EXPECT_EQ(find_member(*asked, "normalize")->text, "true");
}

TEST(huggingface, an_alias_in_the_path_is_a_task)
{
    const auto body = sample_body::json(R"({"inputs":"a"})");
    const auto asked = sample{.target = "/pipeline/sentiment-analysis/org/name"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->task->name, "text-classification");
    EXPECT_EQ(asked->task_name, "sentiment-analysis");
}

struct kept_row
{
    std::string_view why;
    std::string_view body;
    std::string_view member;
    std::string_view text;
};

TEST(huggingface, what_the_protocol_does_not_know_stays_where_it_is)
{
    const kept_row rows[] = {
        {"old clients send options",
         R"({"inputs":"a","options":{"wait_for_model":true}})",
         "options",
         R"({"wait_for_model":true})"},
        {"sentence similarity, old form",
         R"({"inputs":null,"parameters":{},"source_sentence":"a","sentences":["b"]})",
         "sentences",
         R"(["b"])"},
        {"tabular classification without inputs",
         R"({"parameters":{},"table":{"a":["1"]}})",
         "table",
         R"({"a":["1"]})"},
        {"table questions, old form", R"({"inputs":null,"query":"q","table":{}})", "query", R"("q")"},
        {"a question beside the image",
         R"({"inputs":"x","parameters":{},"question":"why?","image":"x"})",
         "question",
         R"("why?")"},
        {"a body that names a model does not count", R"({"inputs":"x","model":7})", "model", "7"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.why);
        const auto body = sample_body::json(std::string(row.body));
        const auto asked = sample{.target = "/models/m"}.parse(*body);
        ASSERT_TRUE(asked.has_value()) << asked.error().text;
        EXPECT_EQ(asked->model, "m");
        const auto* member = find_member(*asked, row.member);
        ASSERT_NE(member, nullptr);
        EXPECT_EQ(member->text, row.text);
        EXPECT_EQ(body->at(member->where), row.text);
    }
}

TEST(huggingface, a_stream_of_tokens_is_asked_for_at_the_root)
{
    const auto body = sample_body::json(R"({"inputs":"a","parameters":{"top_p":0.9},"stream":true})");
    const auto asked = sample{.target = "/models/m"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_TRUE(asked->stream);
    EXPECT_EQ(asked->parameters, R"({"top_p":0.9})");
}

TEST(huggingface, raw_bytes_and_the_query)
{
    const auto body = sample_body::raw(jpeg);
    const auto asked =
        sample{.target = "/models/org/name/pipeline/image-classification?top_k=2&task=transcribe&model=x"}
            .parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->model, "org/name") << "the path names the model";
    EXPECT_EQ(asked->task_name, "image-classification");
    EXPECT_EQ(asked->parameters, R"({"top_k":2,"task":"transcribe","model":"x"})")
        << "no name is reserved here";
    ASSERT_TRUE(asked->binary.has_value());
    EXPECT_EQ(asked->binary->media_type, "image/jpeg");
    EXPECT_EQ(asked->binary->as, payload::form::raw);
    EXPECT_EQ(asked->binary->size, jpeg.size());
}

TEST(huggingface, base64_beside_parameters)
{
    const std::string text = payloads::encode_base64(jpeg);
    const auto body = sample_body::json(R"({"inputs":")" + text + R"(","parameters":{"top_k":2}})");
    const auto asked = sample{.target = "/models/m"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    ASSERT_TRUE(asked->binary.has_value()) << "a JPEG can be nothing else";
    EXPECT_EQ(asked->binary->media_type, "image/jpeg");
    EXPECT_EQ(body->at(asked->binary->where), text);
    EXPECT_EQ(body->at(asked->binary->member), "\"" + text + "\"");
}

TEST(huggingface, parameters_with_a_mask_pass_through_unread)
{
    const std::string mask(70 * 1024, 'A');
    const auto body = sample_body::json(R"({"inputs":"a","parameters":{"mask":")" + mask + "\"}}");
    const auto asked = sample{.target = "/models/m"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_TRUE(asked->parameters.empty());
    const auto* member = find_member(*asked, "parameters");
    ASSERT_NE(member, nullptr);
    EXPECT_GT(member->where.size(), mask.size());
}

TEST(huggingface, the_model_of_the_path_wins_in_a_chat)
{
    for (const std::string said : {R"("dummy")", R"("tgi")", R"("http://gw/models/org/name")", "null", "7"}) {
        SCOPED_TRACE(said);
        const auto body = sample_body::json(R"({"messages":[],"model":)" + said + R"(,"stream":false})");
        const auto asked = sample{.target = "/models/org/name/v1/chat/completions"}.parse(*body);
        ASSERT_TRUE(asked.has_value()) << asked.error().text;
        EXPECT_EQ(asked->at, door::hf_chat);
        EXPECT_EQ(asked->dialect, dialect_id::huggingface);
        EXPECT_EQ(asked->model, "org/name");
        ASSERT_TRUE(asked->model_at.has_value());
        EXPECT_EQ(body->at(*asked->model_at), said);
        ASSERT_NE(asked->task, nullptr);
        EXPECT_TRUE(asked->task->is_chat());
        EXPECT_FALSE(asked->binary.has_value());
    }
    const auto body = sample_body::json(R"({"messages":[{}],"stream":true})");
    const auto asked = sample{.target = "/models/org/name/v1/chat/completions"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_FALSE(asked->model_at.has_value());
    EXPECT_TRUE(asked->stream);
}

struct bad_row
{
    std::string_view why;
    std::string_view target;
    std::string_view body;
    code what;
    std::string_view param;
    std::string_view says;
};

TEST(huggingface, bad_input_is_told_what_is_wrong_and_what_to_do)
{
    const bad_row rows[] = {
        {"no object", "/models/m", R"(["a"])", code::invalid_json, "", "must be a JSON object, not an array"},
        {"no input of any kind",
         "/models/m",
         R"({"parameters":{},"options":{}})",
         code::invalid_json,
         "inputs",
         "`inputs` is missing"},
        {"an empty object", "/models/m", "{}", code::invalid_json, "inputs", "`inputs` is missing"},
        {"parameters that are no object",
         "/models/m",
         R"({"inputs":"a","parameters":3})",
         code::invalid_json,
         "parameters",
         "`parameters` must be a JSON object such as {\"top_k\":3}, not a number"},
        {"a stream that is no boolean",
         "/models/m",
         R"({"inputs":"a","stream":"true"})",
         code::invalid_json,
         "stream",
         "not a string"},
        {"a misspelt task",
         "/models/m/pipeline/fil-mask",
         R"({"inputs":"a"})",
         code::unknown_task,
         "task",
         "Did you mean `fill-mask`?"},
        {"control characters in the id",
         "/models/a%C2%80%C2",
         R"({"inputs":"a"})",
         code::invalid_model,
         "model",
         "bytes that are no text"},
        {"nothing", "/models/m", "", code::invalid_json, "", "The body is empty"},
        {"raw bytes for a task that takes text",
         "/models/m/pipeline/translation",
         "\x01\x02",
         code::wrong_modality,
         "",
         "Content-Type: application/json"},
        {"a query that is no UTF-8", "/models/m?a=%FF", "\x01\x02", code::invalid_json, "", "UTF-8"},
        {"a text where an image is due",
         "/models/m/pipeline/object-detection",
         R"({"inputs":"two cats!"})",
         code::wrong_modality,
         "",
         "takes an image"},
        {"base64 that is cut",
         "/models/m/pipeline/object-detection",
         R"({"inputs":"iVBORw0KGgo"})",
         code::invalid_base64,
         "",
         "`inputs`"},
        {"raw bytes in a chat",
         "/models/m/v1/chat/completions",
         "\x01\x02",
         code::invalid_json,
         "",
         "The body is not JSON"},
        {"a chat without messages",
         "/models/m/v1/chat/completions",
         R"({"model":"tgi"})",
         code::invalid_json,
         "messages",
         "`messages` is missing"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.why);
        const bool is_json = row.body.starts_with('{') || row.body.starts_with('[');
        const auto body =
            is_json ? sample_body::json(std::string(row.body)) : sample_body::raw(std::string(row.body));
        const auto asked = sample{.target = std::string(row.target)}.parse(*body);
        ASSERT_FALSE(asked.has_value());
        EXPECT_EQ(to_string(asked.error().what), to_string(row.what));
        EXPECT_EQ(asked.error().http_status(), 400);
        EXPECT_EQ(asked.error().param, row.param);
        EXPECT_NE(asked.error().text.find(row.says), std::string::npos) << asked.error().text;
    }
}

} // namespace
} // namespace gw::dialects
