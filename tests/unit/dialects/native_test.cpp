#include "support.hpp"

#include "payload/base64.hpp"
#include "payload/tasks.hpp"

namespace gw::dialects {
namespace {

const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0", 29);
const std::string wav("RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0", 24);

std::string as_base64(const std::string& bytes)
{
    return payloads::encode_base64(bytes);
}

TEST(native, json_is_read_into_the_normalized_request)
{
    const auto body = sample_body::json(
        R"({"model":"google/vit","task":"image-classification","inputs":{"base64":")" + as_base64(png) +
        R"(","media_type":"image/png"},"parameters":{"top_k":3},"stream":false})"
    );
    const auto asked =
        sample{
            .target = "/v1/inference",
            .content_type = "application/json",
            .accept = "application/json",
            .user_agent = "test/1",
            .timeout = "30s",
            .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }
            .parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->dialect, dialect_id::native);
    EXPECT_EQ(asked->at, door::native_inference);
    EXPECT_EQ(asked->model, "google/vit");
    EXPECT_EQ(asked->task_name, "image-classification");
    ASSERT_NE(asked->task, nullptr);
    EXPECT_EQ(asked->task->name, "image-classification");
    EXPECT_FALSE(asked->raw);
    EXPECT_EQ(asked->body_size, body->facts().size);
    EXPECT_EQ(asked->parameters, R"({"top_k":3})");
    EXPECT_FALSE(asked->stream);
    ASSERT_TRUE(asked->inputs.has_value());
    EXPECT_TRUE(body->at(*asked->inputs).starts_with(R"({"base64":")"));
    ASSERT_TRUE(asked->model_at.has_value());
    EXPECT_EQ(body->at(*asked->model_at), R"("google/vit")");
    ASSERT_TRUE(asked->binary.has_value());
    EXPECT_EQ(asked->binary->as, payload::form::base64);
    EXPECT_EQ(body->at(asked->binary->where), as_base64(png));
    EXPECT_EQ(asked->binary->size, png.size());
    EXPECT_EQ(asked->binary->media_type, "image/png");
    EXPECT_TRUE(asked->accepts_json);
    EXPECT_EQ(asked->accept, "application/json");
    EXPECT_EQ(asked->content_type, "application/json");
    EXPECT_EQ(asked->user_agent, "test/1");
    ASSERT_TRUE(asked->timeout.has_value());
    EXPECT_EQ(*asked->timeout, std::chrono::seconds(30));
    ASSERT_EQ(asked->forwarded.size(), 1u);
    EXPECT_EQ(asked->forwarded[0].first, "traceparent");
    ASSERT_NE(find_member(*asked, "parameters"), nullptr);
    EXPECT_EQ(find_member(*asked, "parameters")->text, R"({"top_k":3})");
}

TEST(native, the_least_that_json_must_say)
{
    const auto body = sample_body::json(R"({"inputs":"I like it","model":"m"})");
    const auto asked = sample{.target = "/v1/inference"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->model, "m");
    EXPECT_EQ(asked->task, nullptr);
    EXPECT_TRUE(asked->task_name.empty());
    EXPECT_TRUE(asked->parameters.empty());
    EXPECT_FALSE(asked->binary.has_value());
    EXPECT_EQ(body->at(*asked->inputs), R"("I like it")");
    EXPECT_FALSE(asked->timeout.has_value());
    EXPECT_TRUE(asked->accepts_json);
    EXPECT_TRUE(asked->accepts_binary);
}

TEST(native, null_and_empty_mean_not_given)
{
    const auto body =
        sample_body::json(R"({"model":"m","inputs":"x","task":null,"parameters":null,"stream":null})");
    const auto asked = sample{.target = "/v1/inference"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->task, nullptr);
    EXPECT_TRUE(asked->parameters.empty());
    EXPECT_FALSE(asked->stream);

    const auto blank = sample_body::json("{\"model\":\"m\",\"inputs\":\"x\",\"parameters\": { \n} }");
    const auto also = sample{.target = "/v1/inference"}.parse(*blank);
    ASSERT_TRUE(also.has_value()) << also.error().text;
    EXPECT_TRUE(also->parameters.empty());
}

TEST(native, escapes_in_the_model_are_undone)
{
    const auto body = sample_body::json(R"({"model":"google\/v\u0069t","inputs":1,"stream":true})");
    const auto asked = sample{.target = "/v1/inference"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->model, "google/vit");
    EXPECT_TRUE(asked->stream);
}

TEST(native, the_query_may_name_model_and_task_of_a_json_body)
{
    const auto body = sample_body::json(R"({"inputs":"x"})");
    const auto asked = sample{.target = "/v1/inference?model=a/b&task=fill-mask"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->model, "a/b");
    EXPECT_EQ(asked->task_name, "fill-mask");
    EXPECT_FALSE(asked->model_at.has_value());

    const auto twice = sample_body::json(R"({"inputs":"x","model":"a/b","task":"fill-mask"})");
    EXPECT_TRUE((sample{.target = "/v1/inference?model=a/b&task=fill-mask"}.parse(*twice).has_value()));
}

TEST(native, a_long_payload_is_found_without_being_read)
{
    // 96 KiB of base64: over what a scanner keeps in memory.
    const std::string big = png + std::string(72 * 1024 - png.size(), '\x5a');
    const auto body = sample_body::json(
        R"({"inputs":")" + as_base64(big) + R"(","model":"m","task":"image-classification"})",
        sample_body::lies::elsewhere
    );
    const auto asked = sample{.target = "/v1/inference"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->body_size, body->facts().size);
    ASSERT_TRUE(asked->binary.has_value());
    EXPECT_EQ(asked->binary->size, big.size());
    EXPECT_EQ(body->at(asked->binary->where), as_base64(big));
    EXPECT_EQ(asked->binary->media_type, "image/png");
    ASSERT_NE(find_member(*asked, "inputs"), nullptr);
    EXPECT_TRUE(find_member(*asked, "inputs")->text.empty());
}

TEST(native, raw_bytes_with_everything_in_the_query)
{
    const auto body = sample_body::raw(png);
    const auto asked =
        sample{
            .target = "/v1/inference?model=google/vit&task=image-classification&top_k=3",
            .content_type = "image/png"
        }
            .parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->model, "google/vit");
    EXPECT_EQ(asked->task_name, "image-classification");
    EXPECT_EQ(asked->parameters, R"({"top_k":3})");
    EXPECT_TRUE(asked->raw);
    EXPECT_EQ(asked->body_size, png.size());
    ASSERT_TRUE(asked->binary.has_value());
    EXPECT_EQ(asked->binary->as, payload::form::raw);
    EXPECT_EQ(asked->binary->where, (byte_range{0, png.size()}));
    EXPECT_EQ(asked->binary->size, png.size());
    EXPECT_EQ(asked->binary->media_type, "image/png");
    EXPECT_FALSE(asked->inputs.has_value());
    EXPECT_FALSE(asked->stream);
}

struct query_row
{
    std::string_view why;
    std::string_view query;
    std::string_view parameters;
};

TEST(native, query_values_keep_their_json_type)
{
    const query_row rows[] = {
        {"none", "", ""},
        {"an integer", "top_k=3", R"({"top_k":3})"},
        {"zero", "n=0", R"({"n":0})"},
        {"minus", "n=-1", R"({"n":-1})"},
        {"a fraction", "t=0.25", R"({"t":0.25})"},
        {"an exponent", "t=1e5", R"({"t":1e5})"},
        {"a signed exponent", "t=1.5E-3", R"({"t":1.5E-3})"},
        {"an exponent with an encoded plus", "t=1e%2B5", R"({"t":1e+5})"},
        {"digits beyond any machine type",
         "n=123456789012345678901234567890",
         R"({"n":123456789012345678901234567890})"},
        {"true", "b=true", R"({"b":true})"},
        {"false", "b=false", R"({"b":false})"},
        {"null", "b=null", R"({"b":null})"},
        {"a word", "w=hello", R"({"w":"hello"})"},
        {"capitals are words", "w=True", R"({"w":"True"})"},
        {"a leading zero is a word", "w=007", R"({"w":"007"})"},
        {"a leading plus is a word", "w=%2B1", R"({"w":"+1"})"},
        {"a bare point is a word", "w=.5", R"({"w":".5"})"},
        {"a trailing point is a word", "w=5.", R"({"w":"5."})"},
        {"an exponent without digits is a word", "w=1e", R"({"w":"1e"})"},
        {"a minus alone is a word", "w=-", R"({"w":"-"})"},
        {"NaN is a word", "w=NaN", R"({"w":"NaN"})"},
        {"hexadecimal is a word", "w=0x10", R"({"w":"0x10"})"},
        {"a number and more is a word", "w=1%20", R"({"w":"1 "})"},
        {"nothing is an empty word", "w=", R"({"w":""})"},
        {"a name alone is an empty word", "w", R"({"w":""})"},
        {"quotes are part of the word", "w=%22a%22", R"({"w":"\"a\""})"},
        {"an object is a word", "w=%7B%7D", R"({"w":"{}"})"},
        {"a plus is a blank", "w=a+b", R"({"w":"a b"})"},
        {"a name is JSON too", "a%22b=1", R"({"a\"b":1})"},
        {"UTF-8", "w=%C3%A9", "{\"w\":\"\xC3\xA9\"}"},
        {"repeated names make an array", "l=cat&l=dog", R"({"l":["cat","dog"]})"},
        {"each element has its own type", "l=1&x=2&l=b&l=true", R"({"l":[1,"b",true],"x":2})"},
        {"order is kept", "b=1&a=2", R"({"b":1,"a":2})"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.why);
        const auto body = sample_body::raw(png);
        std::string target = "/v1/inference?model=m";
        target += row.query.empty() ? "" : "&" + std::string(row.query);
        const auto asked = sample{.target = target}.parse(*body);
        ASSERT_TRUE(asked.has_value()) << asked.error().text;
        EXPECT_EQ(asked->parameters, row.parameters);
        EXPECT_EQ(asked->model, "m");
    }
}

struct media_row
{
    std::string_view why;
    std::string_view declared;
    const std::string* bytes;
    std::string_view task;
    std::string_view expected;
};

TEST(native, the_media_type_of_raw_bytes_is_declared_or_seen)
{
    const std::string noise = "\x01\x02\x03";
    const media_row rows[] = {
        {"declared", "image/jpeg", &png, "", "image/jpeg"},
        {"declared with parameters and in capitals", "Image/PNG; name=x", &png, "", "image/png"},
        {"declared by another spelling", "image/jpg", &noise, "", "image/jpeg"},
        {"missing", "", &png, "", "image/png"},
        {"curl says this of every --data-binary", "application/x-www-form-urlencoded", &png, "", "image/png"},
        {"says nothing", "application/octet-stream", &wav, "", "audio/wav"},
        {"text says nothing of bytes that are an image",
         "text/plain",
         &png,
         "image-classification",
         "image/png"},
        {"neither declared nor seen", "", &noise, "image-classification", ""},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.why);
        const auto body = sample_body::raw(*row.bytes);
        std::string target = "/v1/inference?model=m";
        target += row.task.empty() ? "" : "&task=" + std::string(row.task);
        const auto asked = sample{.target = target, .content_type = std::string(row.declared)}.parse(*body);
        ASSERT_TRUE(asked.has_value()) << asked.error().text;
        EXPECT_EQ(asked->binary->media_type, row.expected);
    }
}

struct bad_row
{
    std::string_view why;
    std::string_view target;
    std::string_view body; // JSON when it starts with a brace, a bracket or a quote
    code what;
    std::string_view param;
    std::string_view says;
};

TEST(native, bad_input_is_told_what_is_wrong_and_what_to_do)
{
    const bad_row rows[] = {
        {"no object",
         "/v1/inference",
         R"(["a"])",
         code::invalid_json,
         "",
         "must be a JSON object, not an array"},
        {"a bare text",
         "/v1/inference",
         R"("a")",
         code::invalid_json,
         "",
         "must be a JSON object, not a string"},
        {"no model", "/v1/inference", R"({"inputs":"x"})", code::invalid_model, "model", "GET /v1/models"},
        {"an empty model",
         "/v1/inference",
         R"({"model":"","inputs":"x"})",
         code::invalid_model,
         "model",
         "empty"},
        {"a null model",
         "/v1/inference",
         R"({"model":null,"inputs":"x"})",
         code::invalid_model,
         "model",
         "missing"},
        {"a model that is no text",
         "/v1/inference",
         R"({"model":7,"inputs":"x"})",
         code::invalid_json,
         "model",
         "`model` must be a string, not a number"},
        {"a line break in the model",
         "/v1/inference",
         R"({"model":"a\nb","inputs":"x"})",
         code::invalid_model,
         "model",
         "control characters"},
        {"a line break in the model of a query",
         "/v1/inference?model=a%C2",
         "\x01\x02",
         code::invalid_json,
         "",
         "UTF-8"},
        {"no inputs", "/v1/inference", R"({"model":"m"})", code::invalid_json, "inputs", "`inputs` is missing"
        },
        {"null inputs",
         "/v1/inference",
         R"({"model":"m","inputs":null})",
         code::invalid_json,
         "inputs",
         "`inputs` is missing"},
        {"parameters that are no object",
         "/v1/inference",
         R"({"model":"m","inputs":1,"parameters":[1]})",
         code::invalid_json,
         "parameters",
         "`parameters` must be a JSON object"},
        {"parameters as text",
         "/v1/inference",
         R"({"model":"m","inputs":1,"parameters":"{}"})",
         code::invalid_json,
         "parameters",
         "not a string"},
        {"a stream that is no boolean",
         "/v1/inference",
         R"({"model":"m","inputs":1,"stream":"yes"})",
         code::invalid_json,
         "stream",
         "`stream` must be true or false, not a string"},
        {"a stream that is a number",
         "/v1/inference",
         R"({"model":"m","inputs":1,"stream":1})",
         code::invalid_json,
         "stream",
         "not a number"},
        {"a task that is no text",
         "/v1/inference",
         R"({"model":"m","inputs":1,"task":{}})",
         code::invalid_json,
         "task",
         "`task` must be a string, not an object"},
        {"a misspelt task",
         "/v1/inference",
         R"({"model":"m","inputs":1,"task":"image-clasification"})",
         code::unknown_task,
         "task",
         "Did you mean `image-classification`?"},
        {"a task from nowhere",
         "/v1/inference",
         R"({"model":"m","inputs":1,"task":"zzzzqqqqxxxx"})",
         code::unknown_task,
         "task",
         "one of Hugging Face's tasks"},
        {"a misspelt key",
         "/v1/inference",
         R"({"model":"m","input":"x"})",
         code::invalid_json,
         "input",
         "Did you mean `inputs`?"},
        {"another misspelt key",
         "/v1/inference",
         R"({"model":"m","inputs":1,"params":{}})",
         code::invalid_json,
         "params",
         "The key `params` is not known here"},
        {"an unknown key",
         "/v1/inference",
         R"({"model":"m","inputs":1,"temperature":1})",
         code::invalid_json,
         "temperature",
         "belong into `parameters`"},
        {"a chat",
         "/v1/inference",
         R"({"model":"m","messages":[]})",
         code::invalid_json,
         "messages",
         "/v1/chat/completions"},
        {"keys differ by case",
         "/v1/inference",
         R"({"Model":"m","inputs":1})",
         code::invalid_json,
         "Model",
         "Did you mean `model`?"},
        {"two models",
         "/v1/inference?model=a",
         R"({"model":"b","inputs":1})",
         code::invalid_model,
         "model",
         "different models"},
        {"two tasks",
         "/v1/inference?task=fill-mask",
         R"({"model":"b","inputs":1,"task":"translation"})",
         code::unknown_task,
         "task",
         "different tasks"},
        {"parameters beside JSON",
         "/v1/inference?top_k=3",
         R"({"model":"b","inputs":1})",
         code::invalid_json,
         "parameters",
         "only beside raw bytes"},
        {"base64 with a line break",
         "/v1/inference",
         R"({"model":"m","inputs":{"base64":"iVBORw0K\nGgoA"}})",
         code::invalid_base64,
         "",
         "inputs.base64"},
        {"URL-safe base64",
         "/v1/inference",
         R"({"model":"m","inputs":{"base64":"_-__"}})",
         code::invalid_base64,
         "",
         "inputs.base64"},
        {"a text where an image is due",
         "/v1/inference",
         R"({"model":"m","task":"image-classification","inputs":"two cats!"})",
         code::wrong_modality,
         "",
         "takes an image"},
        {"a sound where an image is due",
         "/v1/inference",
         R"({"model":"m","task":"image-classification","inputs":"data:audio/wav;base64,UklGRiQAAABXQVZF"})",
         code::wrong_modality,
         "inputs",
         "audio/wav"},
        {"nothing", "/v1/inference?model=m", "", code::invalid_json, "", "The body is empty"},
        {"raw bytes without a model", "/v1/inference", "\x01\x02", code::invalid_model, "model", "?model="},
        {"raw bytes with an empty model",
         "/v1/inference?model=",
         "\x01\x02",
         code::invalid_model,
         "model",
         "empty"},
        {"raw bytes with two models",
         "/v1/inference?model=a&model=b",
         "\x01\x02",
         code::invalid_model,
         "model",
         "more than once"},
        {"raw bytes with two tasks",
         "/v1/inference?model=a&task=b&task=b",
         "\x01\x02",
         code::unknown_task,
         "task",
         "more than once"},
        {"raw bytes with a misspelt task",
         "/v1/inference?model=a&task=fil-mask",
         "\x01\x02",
         code::unknown_task,
         "task",
         "`fill-mask`"},
        {"raw bytes for a task that takes text",
         "/v1/inference?model=a&task=fill-mask",
         "\x01\x02",
         code::wrong_modality,
         "",
         "not raw bytes"},
        {"JSON that is cut, for a task that takes text",
         "/v1/inference?model=a&task=fill-mask",
         "\t{\"inputs\":",
         code::invalid_json,
         "",
         "not valid JSON"},
        {"raw bytes for a task that needs a question",
         "/v1/inference?model=a&task=visual-question-answering",
         "\x01\x02",
         code::wrong_modality,
         "",
         R"({"image":"<base64>")"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.why);
        const bool is_json =
            row.body.starts_with('{') || row.body.starts_with('[') || row.body.starts_with('"');
        const auto body =
            is_json ? sample_body::json(std::string(row.body)) : sample_body::raw(std::string(row.body));
        const auto asked = sample{.target = std::string(row.target)}.parse(*body);
        ASSERT_FALSE(asked.has_value());
        EXPECT_EQ(to_string(asked.error().what), to_string(row.what));
        EXPECT_EQ(asked.error().http_status(), 400);
        EXPECT_EQ(asked.error().from, origin::client);
        EXPECT_EQ(asked.error().param, row.param);
        EXPECT_NE(asked.error().text.find(row.says), std::string::npos) << asked.error().text;
    }
}

TEST(native, what_is_too_long_to_be_looked_at_is_refused_where_it_would_be_needed)
{
    const std::string big(70 * 1024, 'a');
    const auto model = sample_body::json(R"({"inputs":1,"model":")" + big + "\"}");
    const auto no_model = sample{.target = "/v1/inference"}.parse(*model);
    ASSERT_FALSE(no_model.has_value());
    EXPECT_EQ(no_model.error().param, "model");
    EXPECT_LT(no_model.error().text.size(), 200u);

    const auto parameters =
        sample_body::json(R"({"inputs":1,"model":"m","parameters":{"mask":")" + big + "\"}}");
    const auto no_parameters = sample{.target = "/v1/inference"}.parse(*parameters);
    ASSERT_FALSE(no_parameters.has_value());
    EXPECT_EQ(no_parameters.error().param, "parameters");
    EXPECT_NE(no_parameters.error().text.find("belong into `inputs`"), std::string::npos);

    const auto name = sample_body::json(R"({"inputs":1,"model":")" + std::string(513, 'a') + "\"}");
    const auto no_name = sample{.target = "/v1/inference"}.parse(*name);
    ASSERT_FALSE(no_name.has_value());
    EXPECT_EQ(no_name.error().what, code::invalid_model);
    EXPECT_NE(no_name.error().text.find("513 bytes"), std::string::npos) << no_name.error().text;
}

TEST(native, the_rest_of_a_question_may_stand_in_the_query)
{
    const auto body = sample_body::raw(png);
    const auto asked =
        sample{
            .target = "/v1/"
                      "inference?model=a&task=zero-shot-image-classification&candidate_labels=cat&candidate_"
                      "labels=dog"
        }
            .parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->parameters, R"({"candidate_labels":["cat","dog"]})");
}

TEST(native, timeouts_are_durations)
{
    const std::pair<std::string, std::int64_t> good[] = {
        {"500ms", 500},
        {"1ms", 1},
        {"30s", 30'000},
        {"2m", 120'000},
        {"1h", 3'600'000},
        {"24h", 86'400'000},
        {"1.5s", 1'500},
        {"30", 30'000},
        {"0.25m", 15'000}
    };
    const auto body = sample_body::json(R"({"model":"m","inputs":1})");
    for (const auto& [text, milliseconds] : good) {
        const auto asked = sample{.target = "/v1/inference", .timeout = text}.parse(*body);
        ASSERT_TRUE(asked.has_value()) << text;
        EXPECT_EQ(asked->timeout->count(), milliseconds) << text;
    }
    for (const std::string bad :
         {"s",
          "-1s",
          "0s",
          "0",
          "0.0001s",
          "1 s",
          "25h",
          "1d",
          "99999999999999999999s",
          "1sx",
          "+1s",
          "nan",
          "inf",
          "infs",
          "1e3s",
          "0x10s",
          ".5s",
          "1,5s"}) {
        const auto asked = sample{.target = "/v1/inference", .timeout = bad}.parse(*body);
        ASSERT_FALSE(asked.has_value()) << bad;
        EXPECT_EQ(asked.error().what, code::rejected);
        EXPECT_EQ(asked.error().http_status(), 400);
        EXPECT_NE(asked.error().text.find("for example 30s"), std::string::npos);
    }
}

TEST(native, a_task_that_is_known_later_makes_the_payload_known)
{
    // Four bytes that are no known file: base64 text or just a word, depending on the task.
    const auto body = sample_body::json(R"({"model":"m","inputs":"AAECAw=="})");
    auto asked = sample{.target = "/v1/inference"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_FALSE(asked->binary.has_value());

    auto as_image = *asked;
    ASSERT_TRUE(settle_task(as_image, payloads::find_task("image-classification"), body->facts()).has_value()
    );
    ASSERT_TRUE(as_image.binary.has_value());
    EXPECT_EQ(as_image.binary->size, 4u);

    auto as_text = *asked;
    ASSERT_TRUE(settle_task(as_text, payloads::find_task("fill-mask"), body->facts()).has_value());
    EXPECT_FALSE(as_text.binary.has_value());
}

TEST(native, a_task_that_is_known_later_refuses_the_wrong_kind_of_file)
{
    const auto body = sample_body::raw(wav);
    auto asked = sample{.target = "/v1/inference?model=m"}.parse(*body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    const auto refused = settle_task(*asked, payloads::find_task("image-classification"), body->facts());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().what, code::wrong_modality);
    EXPECT_NE(refused.error().text.find("the body is audio/wav"), std::string::npos) << refused.error().text;
    EXPECT_TRUE(
        settle_task(*asked, payloads::find_task("automatic-speech-recognition"), body->facts()).has_value()
    );
}

} // namespace
} // namespace gw::dialects
