#include "support.hpp"

namespace gw::dialects {
namespace {

using wire::method;

struct open_door
{
    std::string_view why;
    method verb;
    std::string_view path;
    door at;
    dialect_id tongue;
    std::string_view model;
    std::string_view task;
};

TEST(doors, every_path_a_client_uses_leads_to_its_door)
{
    const open_door rows[] = {
        {"the native door", method::post, "/v1/inference", door::native_inference, dialect_id::native, "", ""
        },
        {"a base URL with a slash at its end",
         method::post,
         "/v1/inference/",
         door::native_inference,
         dialect_id::native,
         "",
         ""},
        {"OpenAI SDKs", method::post, "/v1/chat/completions", door::openai_chat, dialect_id::openai, "", ""},
        {"the list", method::get, "/v1/models", door::openai_models, dialect_id::openai, "", ""},
        {"HEAD is a GET", method::head, "/v1/models", door::openai_models, dialect_id::openai, "", ""},
        {"a model, as the docs write it",
         method::get,
         "/v1/models/org/name",
         door::openai_models,
         dialect_id::openai,
         "org/name",
         ""},
        {"a model, as OpenAI SDKs write it",
         method::get,
         "/v1/models/org%2Fname",
         door::openai_models,
         dialect_id::openai,
         "org/name",
         ""},
        {"a model without a namespace",
         method::get,
         "/v1/models/gpt2",
         door::openai_models,
         dialect_id::openai,
         "gpt2",
         ""},
        {"health", method::get, "/health", door::health, dialect_id::native, "", ""},
        {"health, HEAD", method::head, "/health", door::health, dialect_id::native, "", ""},
        {"the retired host's path",
         method::post,
         "/models/org/name",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         ""},
        {"JS keeps a slash at the end",
         method::post,
         "/models/org/name/",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         ""},
        {"one segment", method::post, "/models/gpt2", door::hf_task, dialect_id::huggingface, "gpt2", ""},
        {"an encoded slash",
         method::post,
         "/models/org%2fname",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         ""},
        {"the router's path",
         method::post,
         "/hf-inference/models/org/name",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         ""},
        {"a task in the path",
         method::post,
         "/models/org/name/pipeline/feature-extraction",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         "feature-extraction"},
        {"the same below the router's",
         method::post,
         "/hf-inference/models/gpt2/pipeline/text-generation",
         door::hf_task,
         dialect_id::huggingface,
         "gpt2",
         "text-generation"},
        {"the same with an encoded slash",
         method::post,
         "/models/org%2Fname/pipeline/fill-mask",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         "fill-mask"},
        {"the old order",
         method::post,
         "/pipeline/fill-mask/org/name",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         "fill-mask"},
        {"the old order below the router's",
         method::post,
         "/hf-inference/pipeline/fill-mask/bert",
         door::hf_task,
         dialect_id::huggingface,
         "bert",
         "fill-mask"},
        {"chat below a model",
         method::post,
         "/models/org/name/v1/chat/completions",
         door::hf_chat,
         dialect_id::huggingface,
         "org/name",
         ""},
        {"chat below a model of one segment",
         method::post,
         "/hf-inference/models/gpt2/v1/chat/completions",
         door::hf_chat,
         dialect_id::huggingface,
         "gpt2",
         ""},
        {"chat below a model with an encoded slash",
         method::post,
         "/models/a%2Fb/v1/chat/completions",
         door::hf_chat,
         dialect_id::huggingface,
         "a/b",
         ""},
        {"completions below a model",
         method::post,
         "/hf-inference/models/org/name/v1/completions",
         door::hf_completions,
         dialect_id::huggingface,
         "org/name",
         ""},
        {"embeddings below a model",
         method::post,
         "/models/gpt2/v1/embeddings/",
         door::hf_embeddings,
         dialect_id::huggingface,
         "gpt2",
         ""},
        {"completions", method::post, "/v1/completions", door::openai_completions, dialect_id::openai, "", ""
        },
        {"embeddings", method::post, "/v1/embeddings", door::openai_embeddings, dialect_id::openai, "", ""},
        {"images", method::post, "/v1/images/generations", door::openai_images, dialect_id::openai, "", ""},
        {"speech", method::post, "/v1/audio/speech", door::openai_speech, dialect_id::openai, "", ""},
        {"a model that is called pipeline",
         method::post,
         "/models/org/pipeline",
         door::hf_task,
         dialect_id::huggingface,
         "org/pipeline",
         ""},
        {"a namespace that is called pipeline",
         method::post,
         "/models/pipeline/name",
         door::hf_task,
         dialect_id::huggingface,
         "pipeline/name",
         ""},
        {"an escape that is no slash",
         method::post,
         "/models/org/na%6De",
         door::hf_task,
         dialect_id::huggingface,
         "org/name",
         ""},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(std::string(row.why) + ": " + std::string(row.path));
        const auto found = find_door(row.path, row.verb);
        ASSERT_TRUE(found.has_value()) << found.error().text;
        EXPECT_EQ(to_string(found->at), to_string(row.at));
        EXPECT_EQ(to_string(found->tongue->id()), to_string(row.tongue));
        EXPECT_EQ(found->model, row.model);
        EXPECT_EQ(found->task, row.task);
    }
}

struct closed_door
{
    std::string_view why;
    std::string_view path;
    std::string_view says; // a part of the text
};

TEST(doors, a_path_without_a_door_is_told_what_there_is)
{
    const closed_door rows[] = {
        {"the root", "/", "POST /v1/inference"},
        {"a base URL without /v1", "/chat/completions", "ends in /v1"},
        {"a base URL with /v1 twice", "/v1/v1/chat/completions", "ends in /v1"},
        {"a base URL that is a task URL", "/v1/inference/chat/completions", "ends in /v1"},
        {"the list without /v1", "/models", "GET /v1/models lists"},
        {"not offered", "/v1/responses", "POST /v1/chat/completions"},
        {"not offered below a model", "/models/org/name/v1/responses", "/v1/embeddings"},
        {"a base URL without /v1 again", "/embeddings", "ends in /v1"},
        {"three segments are no id", "/models/a/b/c", "`name` or `namespace/name`"},
        {"four segments are no id", "/hf-inference/models/a/b/c/d", "`name` or `namespace/name`"},
        {"a slash too many by an escape", "/models/a%2Fb/c", "`name` or `namespace/name`"},
        {"nothing before the encoded slash", "/models/%2Fname", "GET /health"},
        {"nothing behind the encoded slash", "/models/name%2F", "GET /health"},
        {"chat without a model", "/models/v1/chat/completions", "/models/{id}"},
        {"the retired prefix alone", "/hf-inference", "/hf-inference"},
        {"a task without a model", "/pipeline/fill-mask", "/models/{id}/pipeline/{task}"},
        {"case counts", "/V1/Inference", "POST /v1/inference"},
        {"the empty path", "", "GET /health"},
        {"an asterisk", "*", "GET /health"},
        {"admin paths are elsewhere", "/metrics", "GET /health"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(std::string(row.why) + ": " + std::string(row.path));
        const auto found = find_door(row.path, method::post);
        ASSERT_FALSE(found.has_value());
        EXPECT_EQ(found.error().what, code::no_such_door);
        EXPECT_EQ(found.error().http_status(), 404);
        EXPECT_EQ(found.error().from, origin::client);
        EXPECT_NE(found.error().text.find(row.says), std::string::npos) << found.error().text;
    }
}

TEST(doors, a_long_path_is_not_repeated_whole)
{
    const auto found = find_door("/" + std::string(8000, 'x'), method::get);
    ASSERT_FALSE(found.has_value());
    EXPECT_LT(found.error().text.size(), 600u);
}

TEST(doors, a_wrong_method_is_told_the_right_one)
{
    const std::pair<std::string_view, std::string_view> paths[] = {
        {"/v1/inference", "POST"},
        {"/v1/chat/completions", "POST"},
        {"/models/gpt2", "POST"},
        {"/models/a/b/v1/chat/completions", "POST"},
        {"/v1/models", "GET, HEAD"},
        {"/v1/models/a/b", "GET, HEAD"},
        {"/health", "GET, HEAD"},
    };
    for (const auto& [path, allow] : paths) {
        for (const auto verb :
             {method::get,
              method::head,
              method::post,
              method::put,
              method::delete_,
              method::options,
              method::patch}) {
            SCOPED_TRACE(std::string(wire::to_string(verb)) + ' ' + std::string(path));
            const bool reads = verb == method::get || verb == method::head;
            const bool fits = allow == "POST" ? verb == method::post : reads;
            const auto found = find_door(path, verb);
            ASSERT_EQ(found.has_value(), fits);
            if (!fits) {
                EXPECT_EQ(found.error().what, code::method_not_allowed);
                EXPECT_EQ(found.error().http_status(), 405);
                EXPECT_EQ(found.error().allow, allow);
                EXPECT_NE(found.error().text.find(allow.substr(0, 3)), std::string::npos)
                    << found.error().text;
            }
        }
    }
}

} // namespace
} // namespace gw::dialects
