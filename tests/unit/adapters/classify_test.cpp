// The one decision function, over status x upstream x stream: every row says why it exists. Bodies are
// recorded ones where an engine could be run or its traffic was recorded.
#include "adapters/classify.hpp"
#include "adapters/words.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::adapters {
namespace {

using namespace std::chrono_literals;
using config::engine;
using config::kind;

// Sunday, 6 November 1994, 08:49:37 GMT.
constexpr std::chrono::system_clock::time_point now{std::chrono::seconds{784111777}};

// What is asked: each bit is one kind of upstream and route.
enum door : unsigned {
    router_task = 1U << 0U,
    router_chat = 1U << 1U,
    own_toolkit = 1U << 2U, // dedicated, a host of the operator's
    own_custom = 1U << 3U,
    own_openai = 1U << 4U,
    platform_toolkit = 1U << 5U, // dedicated, *.endpoints.huggingface.cloud
    platform_openai = 1U << 6U,
    local_toolkit = 1U << 7U,
    local_openai = 1U << 8U,
};
constexpr unsigned routers = router_task | router_chat;
constexpr unsigned platforms = platform_toolkit | platform_openai;
constexpr unsigned owns = own_toolkit | own_custom | own_openai;
constexpr unsigned locals = local_toolkit | local_openai;
constexpr unsigned dedicateds = owns | platforms;
constexpr unsigned toolkits = own_toolkit | own_custom | platform_toolkit | local_toolkit;
constexpr unsigned openais = own_openai | platform_openai | local_openai;
constexpr unsigned behind = dedicateds | locals; // everything but the router
constexpr unsigned all = behind | routers;

constexpr std::string_view names[] = {
    "router task",
    "router chat",
    "own toolkit",
    "own custom",
    "own openai",
    "platform toolkit",
    "platform openai",
    "local toolkit",
    "local openai",
};

facts asked_at(unsigned index)
{
    const unsigned bit = 1U << index;
    facts of{.wall = now};
    of.kind = (bit & routers) != 0 ? kind::serverless : (bit & locals) != 0 ? kind::local : kind::dedicated;
    of.engine = (bit & openais) != 0 ? engine::openai : bit == own_custom ? engine::custom : engine::toolkit;
    of.platform = (bit & platforms) != 0;
    of.chat = (bit & (openais | router_chat)) != 0;
    of.wanted = expects::json;
    return of;
}

struct answer
{
    int status = 200;
    std::string_view body = {};
    std::string_view type = "application/json";
    std::string_view retry_after = {};
    std::string_view rate_limit = {};
    std::string_view error_code = {};
    std::string_view provider = {};
    std::string_view compute_type = {};
};

struct meant
{
    outcome what = outcome::ok;
    scope where = scope::none;
    std::optional<std::chrono::milliseconds> wait = {};
    int status = 0; // 0: the answer's own
    bool permanent = false;
};

struct row
{
    unsigned doors;
    answer is;
    meant as;
    std::string_view why;
};

void check(const std::vector<row>& rows)
{
    for (const row& each : rows) {
        for (unsigned index = 0; index < std::size(names); ++index) {
            if ((each.doors & (1U << index)) == 0) {
                continue;
            }
            for (const bool stream : {false, true}) {
                facts of = asked_at(index);
                of.stream = stream;
                of.status = each.is.status;
                of.body = each.is.body;
                of.content_type = each.is.type;
                of.retry_after = each.is.retry_after;
                of.rate_limit = each.is.rate_limit;
                of.error_code = each.is.error_code;
                of.provider = each.is.provider;
                of.compute_type = each.is.compute_type;
                const verdict got = classify(of);
                SCOPED_TRACE(
                    std::string(names[index]) + (stream ? ", stream, " : ", ") +
                    std::to_string(each.is.status) + " " + std::string(each.is.body.substr(0, 120)) +
                    "\n  since " + std::string(each.why) + "\n  said: " + got.text + "\n  log: " + got.detail
                );
                EXPECT_EQ(to_string(got.what), to_string(each.as.what));
                EXPECT_EQ(static_cast<int>(got.where), static_cast<int>(each.as.where));
                EXPECT_EQ(got.status, each.as.status != 0 ? each.as.status : each.is.status);
                EXPECT_EQ(got.permanent, each.as.permanent);
                EXPECT_EQ(got.retry_after.has_value(), each.as.wait.has_value());
                if (got.retry_after && each.as.wait) {
                    EXPECT_EQ(got.retry_after->count(), each.as.wait->count());
                }
                EXPECT_LE(got.text.size(), 500U);
                EXPECT_EQ(got.text.empty(), each.as.what == outcome::ok);
            }
        }
    }
}

using enum outcome;
constexpr auto none = scope::none;
constexpr auto token_model = scope::token_model;
constexpr auto token_upstream = scope::token_upstream;
constexpr auto token_serverless = scope::token_serverless;
constexpr auto token_everywhere = scope::token_everywhere;
constexpr auto model_task = scope::model_task;
constexpr auto whole_upstream = scope::upstream;

constexpr std::string_view page =
    "<!DOCTYPE html><html><head><title>Bad Gateway</title></head><body>x</body></html>";

TEST(classify, success)
{
    check({
        {all, {200, "", "application/json"}, {}, "the plain case"},
        {all, {200, "", "application/json; charset=utf-8"}, {}, "parameters of the type do not matter"},
        {all, {201, "", "application/json"}, {}, "replicate says 201 for a result"},
        {all, {200, "", "application/problem+json"}, {}, "a +json type is JSON"},
        {all, {200, "", "application/json", "2"}, {}, "together sends retry-after on a 200: it means nothing"
        },
        {all,
         {200, "", "application/json", "", R"("api";r=0;t=55)"},
         {ok, token_model, 55s},
         "the budget is used up: only the cooldown follows"},
        {all, {200, "", "application/json", "", R"("api";r=3;t=55)"}, {}, "some of the budget is left"},
        {all, {200, "", "application/json", "", R"("api-x;r=0")"}, {}, "an unreadable budget is none"},
    });
}

TEST(classify, success_that_is_none)
{
    check({
        {all,
         {200, page, "text/html"},
         {unavailable, model_task},
         "a Space in trouble, a captive portal: HTML with 200"},
        {all, {200, "", "text/html; charset=utf-8"}, {unavailable, model_task}, "the same with a charset"},
        {all, {200, "", "text/plain"}, {unavailable, model_task}, "Ok as text is no answer to a task"},
        {all, {200, "", "image/png"}, {unavailable, model_task}, "an image is no answer to a JSON task"},
        {all, {204, "", ""}, {unavailable, model_task}, "no content"},
        {all, {205, "", "application/json"}, {unavailable, model_task}, "reset content has no content"},
        {all, {206, "", "application/json"}, {unavailable, model_task}, "a part was never asked for"},
        {all, {101, "", ""}, {unavailable, model_task}, "a protocol switch was never asked for"},
        {all,
         {301, "", ""},
         {unavailable, model_task},
         "redirects are never followed: a token must not leave its origin"},
        {all, {302, page, "text/html"}, {unavailable, model_task}, "a login page is a redirect"},
        {all, {307, "", "text/plain"}, {unavailable, model_task}, "renamed models of the Hub"},
        {all, {304, "", ""}, {unavailable, model_task}, "not modified, though nothing was conditional"},
    });
    facts of = asked_at(0);
    of.status = 302;
    EXPECT_EQ(classify(of).as_code, code::upstream_redirect);
    of.status = 200;
    of.content_type = "application/json";
    of.content_encoding = "gzip";
    EXPECT_EQ(classify(of).what, unavailable) << "compressed without being asked: nothing here undoes it";
    of.content_encoding = "identity";
    EXPECT_EQ(classify(of).what, ok);
}

TEST(classify, event_streams_only_for_those_who_asked)
{
    for (unsigned index = 0; index < std::size(names); ++index) {
        for (const std::string_view type :
             {"text/event-stream",
              "text/event-stream; charset=utf-8",
              "text/event-stream;charset=utf-8",
              "Text/Event-Stream"}) {
            facts of = asked_at(index);
            of.status = 200;
            of.content_type = type;
            EXPECT_EQ(classify(of).what, unavailable) << names[index] << type;
            of.stream = true;
            EXPECT_EQ(classify(of).what, ok) << names[index] << type;
        }
        facts of = asked_at(index);
        of.status = 200;
        of.stream = true;
        of.content_type = "application/json";
        EXPECT_EQ(classify(of).what, ok) << "a JSON answer to a streaming client is rendered as events";
    }
}

TEST(classify, what_was_wanted_decides_the_type)
{
    struct typed
    {
        expects wanted;
        std::string_view type;
        outcome what;
    };
    for (const typed& each : {
             typed{expects::bytes, "image/png", ok},
             typed{expects::bytes, "IMAGE/JPEG", ok},
             typed{expects::bytes, "audio/flac", ok},
             typed{expects::bytes, "application/octet-stream", ok},
             typed{expects::bytes, "", ok},
             typed{expects::bytes, "application/json", ok}, // base64 inside
             typed{expects::bytes, "text/plain", unavailable},
             typed{expects::bytes, "text/html", unavailable},
             typed{expects::json, "", ok}, // read whole and checked
             typed{expects::json, "application/octet-stream", unavailable},
             typed{expects::json, "application/x-ndjson", unavailable},
             typed{expects::anything, "text/plain", ok},
             typed{expects::anything, "image/png", ok},
             typed{expects::anything, "", ok},
             typed{expects::anything, "text/html", unavailable},
             typed{expects::anything, "application/xhtml+xml", unavailable},
         }) {
        facts of = asked_at(0);
        of.status = 200;
        of.wanted = each.wanted;
        of.content_type = each.type;
        EXPECT_EQ(to_string(classify(of).what), to_string(each.what))
            << static_cast<int>(each.wanted) << " " << each.type;
    }
}

TEST(classify, bad_requests_of_the_router)
{
    check({
        {routers,
         {400,
          R"({"error":{"message":"The requested model 'x/y' is not supported by any provider you have enabled.","type":"invalid_request_error","param":"model","code":"model_not_supported"}})"
         },
         {unsupported, model_task},
         "nobody serves it: the object form"},
        {all,
         {400, R"({"error":{"message":"no","code":"model_not_supported"}})"},
         {unsupported, model_task},
         "the code is enough"},
        {routers,
         {400, R"({"error":"The requested model 'x/y' is not supported by any provider you have enabled."})"},
         {unsupported, model_task},
         "the same as a plain string"},
        {routers,
         {400, R"({"error":"Model not supported by provider hf-inference"})"},
         {unsupported, model_task},
         "a provider's route words it so"},
        {routers,
         {400, R"({"error":{"message":"The requested model 'x/y' is not a chat model."}})"},
         {unsupported, model_task},
         "the router knows it, but not for chats"},
        {behind,
         {400, R"({"error":"Model not supported by provider hf-inference"})"},
         {rejected, none},
         "only the router may say this: elsewhere a client's own words could stand there"},
        {router_task,
         {400, R"({"error":["Error in `inputs.context`: field required"]})"},
         {rejected, none},
         "the old CPU back end says a list: the client's fault"},
        {router_task,
         {400,
          R"({"error":"The following `model_kwargs` are not used by the model: ['watermark']","warnings":["x"]})"
         },
         {rejected, none},
         "an unknown parameter is the client's"},
        {router_chat,
         {400, R"({"error":{"message":"messages must not be empty","type":"invalid_request_error"}})"},
         {rejected, none},
         "a bad chat is the client's"},
        {all,
         {400, page, "text/html"},
         {unavailable, model_task},
         "an engine never says HTML: a proxy in front spoke"},
        {all, {400, ""}, {rejected, none}, "a silent 400 is still the client's"},
    });
}

TEST(classify, the_toolkit_says_400_for_everything)
{
    constexpr unsigned handlers = toolkits | router_task;
    check({
        {handlers,
         {400,
          R"J({"error":"CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 14.58 GiB total capacity)"})J"
         },
         {unavailable, model_task},
         "its own fault: memory"},
        {handlers,
         {400, R"({"error":"CUDA error: device-side assert triggered"})"},
         {unavailable, model_task},
         "its own fault: the GPU"},
        {handlers,
         {400,
          R"({"error":"[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"})"
         },
         {unavailable, model_task},
         "its own fault: memory of the CPU"},
        {handlers,
         {400, R"({"error":"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"})"},
         {unavailable, model_task},
         "its own fault: cuDNN"},
        {handlers,
         {400, R"({"error":"[Errno 28] No space left on device"})"},
         {unavailable, model_task},
         "its own fault: the disk"},
        {handlers,
         {400,
          R"({"error":"Incorrect image source. Must be a valid URL starting with `http://` or `https://`, a valid path to an image file, or a base64 encoded string. Got CUDA out of memory. Failed with Incorrect padding"})"
         },
         {rejected, none},
         "the text repeats the input: a client must not be able to trip the breaker"},
        {handlers,
         {400,
          R"({"error":"Body needs to provide a inputs key, received: b'{\"input\": \"CUDA out of memory\"}'"})"
         },
         {rejected, none},
         "the same, whole body"},
        {handlers,
         {400, R"({"error":"[Errno 36] File name too long: 'UklGRiQAAABXQVZFZm10IBAAAAABAAEA'"})"},
         {rejected, none},
         "base64 audio without parameters"},
        {handlers,
         {400,
          R"({"error":"\n                Content type \"None\" not supported.\n Supported content types are:\n application/json"})"
         },
         {unsupported, none},
         "a missing Content-Type is the word None. The client chose it: nothing cools down"},
        {handlers,
         {400, R"({"error":"'NoneType' object has no attribute 'deserialize'"})"},
         {unsupported, none},
         "text/plain is in its table but mapped to nothing"},
        {handlers,
         {400,
          R"({"error":"Accept type \"text/html\" not supported. Supported accept types are: application/json"})"
         },
         {unsupported, model_task},
         "our Accept, refused after the model ran"},
        {handlers,
         {400, R"({"error":"Can only serialize PIL.Image.Image, got <class 'list'>"})"},
         {unsupported, model_task},
         "an image was asked of a model that gives none"},
        {handlers,
         {400, R"({"error":"cannot identify image file <_io.BytesIO object at 0x7f>"})"},
         {rejected, none},
         "a corrupt picture"},
        {handlers,
         {400,
          R"({"error":"ImageClassificationPipeline._sanitize_parameters() got an unexpected keyword argument 'nope'"})"
         },
         {rejected, none},
         "an unknown parameter"},
        {handlers,
         {400, R"J({"error":"unexpected end of data: line 1 column 11 (char 10)"})J"},
         {rejected, none},
         "broken JSON"},
        {handlers,
         {400,
          R"({"error":"\"Unknown task question-answering, available tasks are ['audio-classification']\""})"},
         {unsupported, model_task, {}, 0, true},
         "transformers 5 dropped this pipeline: for good"},
        {openais | router_chat,
         {400, R"({"error":{"message":"Invalid value: CUDA out of memory","type":"invalid_request_error"}})"},
         {rejected, none},
         "chat servers do not say 400 for their own faults, and may quote the client"},
    });
}

TEST(classify, paused_endpoints)
{
    check({
        {dedicateds,
         {400, R"({"error":"Bad Request: The endpoint is paused, ask a maintainer to restart it"})"},
         {unavailable, whole_upstream},
         "paused is 400, and never wakes by itself"},
        {dedicateds,
         {400, R"({"error":"Bad Request: Invalid state"})"},
         {unavailable, whole_upstream},
         "the older words"},
        {locals | routers,
         {400, R"({"error":"Bad Request: The endpoint is paused, ask a maintainer to restart it"})"},
         {rejected, none},
         "only dedicated endpoints are paused"},
        {all,
         {400, R"({"error":"Invalid state of the conversation"})"},
         {rejected, none},
         "words that begin alike"},
    });
}

TEST(classify, tokens)
{
    check({
        {routers,
         {401, R"({"error":"Invalid username or password."})"},
         {token_rejected, token_everywhere},
         "the router knows every token of the Hub"},
        {routers,
         {401, R"({"error":"bad key"})", "application/json", "", "", "", "together"},
         {token_rejected, token_model},
         "a provider behind the router said it, of its own key"},
        {behind, {401, R"({"error":"Unauthorized"})"}, {token_rejected, token_upstream}, "vLLM: a string"},
        {behind, {401, ""}, {token_rejected, token_upstream}, "TGI and TEI: empty"},
        {behind,
         {401, R"({"error":{"message":"Invalid API Key","type":"authentication_error","code":401}})"},
         {token_rejected, token_upstream},
         "llama.cpp"},
        {behind,
         {401, page, "text/html"},
         {token_rejected, token_upstream},
         "a login page is still about the token"},
        {all,
         {401, R"({"error":"Access to model x/y is restricted."})", "application/json", "", "", "GatedRepo"},
         {token_rejected, token_model},
         "gated: this token for this model"},
        {all,
         {401, R"({"error":"Repository not found"})", "application/json", "", "", "RepoNotFound"},
         {token_rejected, token_model},
         "a private model looks like none"},
        {routers,
         {403,
          R"({"error":"This authentication method does not have sufficient permissions to call Inference Providers on behalf of user NAME"})"
         },
         {token_rejected, token_serverless},
         "the token lacks inference.serverless.write: on every serverless upstream"},
        {behind,
         {403,
          R"({"error":"This authentication method does not have sufficient permissions to call Inference Providers"})"
         },
         {token_rejected, token_upstream},
         "only the router can mean it"},
        {all,
         {403,
          R"({"error":"Access to model meta-llama/x is restricted and you are not in the authorized list."})"
         },
         {token_rejected, token_model},
         "gated, by its words"},
        {all,
         {403, R"({"error":"Your request to access model x/y is awaiting a review from the repo authors."})"},
         {token_rejected, token_model},
         "gated, asked and not yet granted"},
        {all, {403, "", "", "", "", "GatedRepo"}, {token_rejected, token_model}, "gated, by the header alone"
        },
        {all, {403, R"({"error":"Forbidden"})"}, {token_rejected, token_upstream}, "refused without a reason"
        },
        {routers,
         {403, R"({"error":"Forbidden"})", "application/json", "", "", "", "novita"},
         {token_rejected, token_model},
         "refused by one provider"},
        {all,
         {403, page, "text/html"},
         {unavailable, model_task},
         "a firewall's page says nothing about the token"},
        {routers,
         {402,
          R"({"error":"You have depleted your monthly included credits. Purchase pre-paid credits to continue using Inference Providers."})"
         },
         {out_of_credits, token_serverless},
         "an account without credits: every model behind this token fails alike"},
        {behind,
         {402, R"({"error":{"message":"Insufficient Balance"}})"},
         {out_of_credits, token_upstream},
         "vendors with OpenAI's API"},
    });
}

TEST(classify, not_there)
{
    check({
        {all, {404, R"({"error":"Model x/y does not exist"})"}, {unsupported, model_task}, "the router"},
        {all,
         {404, R"({"error":"Not Found: Model not found"})"},
         {unsupported, model_task},
         "the router, earlier"},
        {all, {404, "Not Found", "text/plain"}, {unsupported, model_task}, "the toolkit has no such route"},
        {all, {404, ""}, {unsupported, model_task}, "TEI: empty"},
        {all, {404, page, "text/html"}, {unsupported, model_task}, "a web server without the route"},
        {all,
         {404, R"({"error":{"message":"File Not Found","type":"not_found_error","code":404}})"},
         {unsupported, model_task},
         "llama.cpp has no such route"},
        {all,
         {404,
          R"({"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}})"
         },
         {unsupported, model_task},
         "Ollama"},
        {all,
         {404,
          R"({"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404})"
         },
         {unsupported, model_task},
         "vLLM before mid-2025: flat"},
        {openais,
         {400, R"({"error":{"code":400,"message":"model 'nope' not found","type":"invalid_request_error"}})"},
         {unsupported, model_task},
         "llama.cpp's router mode says 400"},
        {all, {405, "Method Not Allowed", "text/plain"}, {unsupported, model_task}, "the route takes no POST"
        },
        {all,
         {410,
          R"({"error":"The requested model is deprecated and no longer supported by provider hf-inference"})"
         },
         {unsupported, model_task},
         "a retired pair of model and provider"},
        {routers,
         {400,
          R"({"error":"The requested model is deprecated and no longer supported by provider hf-inference"})"
         },
         {unsupported, model_task},
         "the same as 400"},
        {all,
         {410,
          R"({"error":"https://api-inference.huggingface.co is no longer supported. Please use https://router.huggingface.co instead."})"
         },
         {unsupported, model_task},
         "the legacy host"},
        {all,
         {501,
          R"({"error":{"code":501,"message":"This server does not support embeddings. Start it with `--embeddings`","type":"not_supported_error"}})"
         },
         {unsupported, model_task},
         "llama.cpp without the feature"},
        {all, {451, ""}, {unsupported, model_task}, "not here, for legal reasons"},
    });
}

TEST(classify, sizes_and_forms)
{
    check({
        {all,
         {413, "Failed to buffer the request body: length limit exceeded", "text/plain; charset=utf-8"},
         {too_large, none},
         "TGI and TEI over 2 MB"},
        {all, {413, page, "text/html"}, {too_large, none}, "nginx"},
        {all, {414, ""}, {too_large, none}, "parameters too long for a query"},
        {all,
         {422, R"({"error":"batch size 5 > maximum allowed batch size 4","error_type":"Validation"})"},
         {too_large, none},
         "TEI: 422 though documented as 413"},
        {all,
         {422, R"({"message":"batch size 5 > maximum allowed batch size 4","code":422,"type":"Validation"})"},
         {too_large, none},
         "TEI's OpenAI route: flat"},
        {all,
         {422, R"({"error":"batch size exceeded","error_type":"batch size exceeded"})"},
         {too_large, none},
         "TGI completions"},
        {all,
         {415, "Expected request with `Content-Type: application/json`", "text/plain; charset=utf-8"},
         {unsupported, none},
         "another form than this upstream takes; the client chose it"},
        {all, {406, ""}, {unsupported, none}, "not in the form that was asked for"},
        {openais,
         {400,
          R"({"error":{"code":400,"message":"request (3002 tokens) exceeds the available context size (1024 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":3002,"n_ctx":1024}})"
         },
         {rejected, none},
         "a prompt over the context is the client's"},
    });
}

TEST(classify, validation)
{
    check({
        {all,
         {422, R"({"error":"Input validation error: `inputs` cannot be empty","error_type":"validation"})"},
         {rejected, none},
         "TGI"},
        {all,
         {400, R"({"error":"Input validation error: `inputs` cannot be empty","error_type":"Empty"})"},
         {rejected, none},
         "TEI"},
        {all,
         {422,
          "Failed to deserialize the JSON body into the target type: missing field `inputs` at line 1 column "
          "2",
          "text/plain; charset=utf-8"},
         {rejected, none},
         "axum's plain text"},
        {all,
         {422, R"({"error":"Template error: syntax","error_type":"template_error"})"},
         {rejected, none},
         "a chat template"},
        {all,
         {422,
          R"({"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required","input":{}}]})"},
         {rejected, none},
         "FastAPI"},
        {all,
         {422, R"({"detail":"Unsupported fields in the request: {'logprobs'}"})"},
         {rejected, none},
         "transformers serve"},
        {all,
         {422,
          R"({"detail":"bad","status":422,"title":"Input validation failed","invalid_fields":[]})",
          "application/problem+json"},
         {rejected, none},
         "replicate"},
        {all, {409, R"({"error":"conflict"})"}, {rejected, none}, "other 4xx are the client's"},
        {all, {418, R"({"error":"teapot"})"}, {rejected, none}, "even strange ones"},
        {openais,
         {500,
          R"({"error":{"code":500,"message":"[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing value - invalid literal; last read: 'no'","type":"server_error"}})"
         },
         {rejected, none, {}, 400},
         "llama.cpp says 500 for a body that is no JSON"},
        {openais,
         {500,
          R"({"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}})"
         },
         {rejected, none, {}, 400},
         "llama.cpp says 500 for an image to a text model"},
        {toolkits | routers,
         {500, R"({"error":{"code":500,"message":"image input is not supported","type":"server_error"}})"},
         {unavailable, model_task},
         "the same words elsewhere are a fault of the server"},
        {openais,
         {400,
          R"({"error":{"code":400,"message":"Field 'temperature': [json.exception.type_error.302] type must be number, but is string","type":"invalid_request_error"}})"
         },
         {rejected, none},
         "llama.cpp, wrong type"},
    });
}

TEST(classify, limits)
{
    check({
        {all,
         {429, R"({"error":"Model is overloaded","error_type":"overloaded"})"},
         {rate_limited, token_model},
         "TGI, without a time"},
        {all,
         {429, R"({"message":"Model is overloaded","code":429,"type":"Overloaded"})"},
         {rate_limited, token_model},
         "TEI's OpenAI route"},
        {all, {429, ""}, {rate_limited, token_model}, "silent"},
        {all, {429, page, "text/html"}, {rate_limited, token_model}, "a CDN's page: the status is clear"},
        {all, {429, "", "", "30"}, {rate_limited, token_model, 30s}, "Retry-After in seconds"},
        {all, {429, "", "", "1.5"}, {rate_limited, token_model, 1500ms}, "in parts of seconds"},
        {all, {429, "", "", "0"}, {rate_limited, token_model, 0s}, "at once"},
        {all,
         {429, "", "", "Sun, 06 Nov 1994 08:50:37 GMT"},
         {rate_limited, token_model, 60s},
         "Retry-After as a date"},
        {all,
         {429, "", "", "Sun, 06 Nov 1994 08:00:00 GMT"},
         {rate_limited, token_model, 0s},
         "a date that has passed"},
        {all, {429, "", "", "soon"}, {rate_limited, token_model}, "an unreadable time is none"},
        {all,
         {429, "", "", "", R"("api";r=0;t=55)"},
         {rate_limited, token_model, 55s},
         "RateLimit, as the Hub says it"},
        {all, {429, "", "", "", R"("api" ; r = 0 ; t = 7)"}, {rate_limited, token_model, 7s}, "with blanks"},
        {all,
         {429, "", "", "", R"("api";r=4;t=55)"},
         {rate_limited, token_model},
         "budget is left: its time is another's"},
        {all,
         {429, "", "", "9", R"("api";r=0;t=55)"},
         {rate_limited, token_model, 9s},
         "Retry-After is the upstream's own word"},
        {all,
         {429,
          R"({"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}})"
         },
         {out_of_credits, token_upstream},
         "an empty account under the status of a limit"},
        {all,
         {503, R"({"detail":"Queue is full. Max size is 2 and size is 2."})"},
         {rate_limited, token_model},
         "Gradio"},
        {all,
         {503, R"({"error":"server busy, please try again.  maximum pending requests exceeded"})"},
         {rate_limited, token_model},
         "Ollama"},
        {all,
         {503,
          R"({"object":"error","message":"The request queue is full.","type":"ServiceUnavailableError","param":null,"code":503})"
         },
         {rate_limited, token_model},
         "SGLang"},
        {all,
         {503, R"J({"error":"Model too busy, unable to get response in less than 60 second(s)"})J"},
         {rate_limited, token_model},
         "the old CPU back end"},
        {all,
         {503,
          R"({"error":{"message":"That model is currently overloaded with other requests.","type":"server_error"}})",
          "application/json",
          "4"},
         {rate_limited, token_model, 4s},
         "OpenAI's words, with a time"},
        {all,
         {529, R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})"},
         {rate_limited, token_model},
         "Anthropic"},
    });
}

TEST(classify, warming)
{
    check({
        {routers,
         {503, R"({"error":"Model x/y is currently loading","estimated_time":20.0})"},
         {warming, model_task, 20s},
         "one model of the many loads"},
        {behind,
         {503, R"({"error":"Model x/y is currently loading","estimated_time":20.5})"},
         {warming, whole_upstream, 20500ms},
         "copied by back ends of one model"},
        {all & ~routers,
         {503, R"({"error":"loading","estimated_time":999999})"},
         {warming, whole_upstream, 3600s},
         "an estimate beyond an hour is none"},
        {behind,
         {503, R"({"error":"Model x is currently loading","estimated_time":20.0})", "application/json", "5"},
         {warming, whole_upstream, 5s},
         "a header is more precise than an estimate"},
        {behind,
         {503, R"({"error":{"message":"Loading model","type":"unavailable_error","code":503}})"},
         {warming, whole_upstream},
         "llama.cpp while it loads"},
        {platforms,
         {503, ""},
         {warming, whole_upstream},
         "scaled to zero: 503 at once, and this request woke it"},
        {platforms,
         {503, R"({"error":"503 Service Unavailable"})"},
         {warming, whole_upstream},
         "the same with the proxy's words"},
        {platforms, {503, page, "text/html"}, {warming, whole_upstream}, "the platform's load balancer"},
        {platforms, {502, R"({"error":"Bad Gateway"})"}, {warming, whole_upstream}, "older fleets say 502"},
        {platforms, {502, ""}, {warming, whole_upstream}, "older fleets, silent"},
        {platforms,
         {502, page, "text/html"},
         {unavailable, whole_upstream},
         "a page may be a crash: be careful"},
        {platforms,
         {502, "", "", "", "", "", "", "gpu+optimized"},
         {unavailable, whole_upstream},
         "an engine's header: the platform did not say this"},
        {platforms,
         {503, R"({"error":"unhealthy","error_type":"healthcheck"})"},
         {unavailable, whole_upstream},
         "TGI is sick, not asleep"},
        {platforms,
         {503, R"({"error":"Backend is gone","error_type":"Unhealthy"})"},
         {unavailable, whole_upstream},
         "TEI is sick, not asleep"},
        {platform_openai,
         {503, R"({"error":{"message":"engine is dead","type":"internal_error","code":503}})"},
         {unavailable, whole_upstream},
         "an engine's own error"},
        {owns, {503, ""}, {warming, whole_upstream}, "SGLang starts with an empty 503"},
        {owns,
         {503, R"({"error":"503 Service Unavailable"})"},
         {warming, whole_upstream},
         "a proxy without anybody behind it yet"},
        {owns,
         {503, page, "text/html"},
         {unavailable, whole_upstream},
         "a host of one's own: a page is a fault"},
        {owns, {503, R"({"error":"license expired"})"}, {unavailable, whole_upstream}, "unknown words"},
        {owns | locals, {502, ""}, {unavailable, whole_upstream}, "only the platform means sleep by 502"},
        {locals, {503, ""}, {warming, whole_upstream}, "a worker whose model is not there yet"},
        {locals,
         {503, R"({"error":"the pipeline is starting up"})"},
         {warming, whole_upstream},
         "the same, said"},
        {locals, {503, R"({"error":"no idea"})"}, {unavailable, whole_upstream}, "unknown words"},
    });
}

TEST(classify, faults_of_upstreams)
{
    check({
        {all, {500, R"({"error":"unknown error"})"}, {unavailable, model_task}, "the CPU back end"},
        {all, {500, "Internal Server Error", "text/plain"}, {unavailable, model_task}, "an uncaught exception"
        },
        {all, {500, page, "text/html"}, {unavailable, model_task}, "a page"},
        {all, {500, ""}, {unavailable, model_task}, "silent"},
        {all,
         {500, R"({"error":"Incomplete generation","error_type":"incomplete_generation"})"},
         {unavailable, model_task},
         "TGI lost its shard"},
        {all,
         {424, R"({"error":"Request failed during generation: CUDA out of memory","error_type":"generation"})"
         },
         {unavailable, model_task},
         "TGI failed while generating"},
        {all,
         {424, R"({"error":"Backend error: CUDA error","error_type":"Backend"})"},
         {unavailable, model_task},
         "TEI failed"},
        {all,
         {424, R"({"error":"Backend error: Model is not a classifier model","error_type":"Backend"})"},
         {unsupported, model_task, {}, 0, true},
         "TEI with another kind of model: never going to work"},
        {all,
         {424, R"({"error":"Backend error: model is not a re-ranker model","error_type":"Backend"})"},
         {unsupported, model_task, {}, 0, true},
         "the same for ranking"},
        {all,
         {424,
          R"({"error":"Backend error: Model is not an embedding model with SPLADE pooling","error_type":"Backend"})"
         },
         {unsupported, model_task, {}, 0, true},
         "the same for sparse embeddings"},
        {all,
         {424, R"({"message":"Backend error: Model is not an embedding model","code":424,"type":"Backend"})"},
         {unsupported, model_task, {}, 0, true},
         "the same on TEI's OpenAI route"},
        {routers, {502, page, "text/html"}, {unavailable, whole_upstream}, "the CDN"},
        {routers,
         {503, R"({"error":"Service Unavailable"})"},
         {unavailable, whole_upstream},
         "the router itself"},
        {routers,
         {503, R"({"error":"Service Unavailable"})", "application/json", "", "", "", "nscale"},
         {unavailable, model_task},
         "one provider behind the router: the others still work"},
        {routers, {502, "", "", "", "", "", "nscale"}, {unavailable, model_task}, "the same as 502"},
        {all, {504, page, "text/html"}, {unavailable, whole_upstream}, "the upstream's own proxy gave up"},
        {all,
         {503, R"({"error":"unhealthy","error_type":"healthcheck"})"},
         {unavailable, whole_upstream},
         "sick"},
        {all & ~platforms,
         {503, R"({"error":"maintenance"})", "application/json", "120"},
         {unavailable, whole_upstream, 120s},
         "a time is kept"},
        {all, {520, page, "text/html"}, {unavailable, whole_upstream}, "Cloudflare: unknown error"},
        {all, {522, ""}, {unavailable, whole_upstream}, "Cloudflare: not reached"},
        {all, {530, ""}, {unavailable, whole_upstream}, "Cloudflare: no such host"},
        {all, {599, ""}, {unavailable, model_task}, "any other 5xx"},
        {all, {505, ""}, {unavailable, model_task}, "HTTP/1.1 not spoken"},
        {all, {507, ""}, {unavailable, model_task}, "out of storage"},
        {all, {407, ""}, {unavailable, model_task}, "the company's proxy wants a password"},
        {all, {408, ""}, {unavailable, model_task}, "it waited for our bytes"},
        {all, {421, ""}, {unavailable, model_task}, "a wrong connection"},
        {all, {423, ""}, {unavailable, model_task}, "locked"},
        {all, {425, ""}, {unavailable, model_task}, "too early"},
        {all, {426, ""}, {unavailable, model_task}, "another protocol wanted"},
        {all, {431, ""}, {unavailable, model_task}, "our own head was too large"},
        {all,
         {499, R"({"error":"client closed"})"},
         {unavailable, model_task},
         "Ollama's word for a cancelled request"},
    });
}

TEST(classify, every_status_means_something)
{
    for (unsigned index = 0; index < std::size(names); ++index) {
        for (int status = 100; status <= 599; ++status) {
            for (const std::string_view body :
                 {std::string_view{}, page, std::string_view(R"({"error":"words"})")}) {
                facts of = asked_at(index);
                of.status = status;
                of.body = body;
                of.content_type = body == page ? "text/html" : "application/json";
                const verdict got = classify(of);
                EXPECT_EQ(
                    got.what == ok,
                    status >= 200 && status < 300 && !(status >= 204 && status <= 206) && body != page
                ) << names[index]
                  << " " << status;
                EXPECT_NE(got.what, broken_stream);
                EXPECT_NE(got.what, timeout) << "an answer is never our own limit";
                if (got.what == rejected) {
                    EXPECT_TRUE(got.status >= 400 && got.status < 500) << status;
                    EXPECT_EQ(got.where, none) << "a client must not be able to cool an upstream down";
                }
                if (got.what == too_large) {
                    EXPECT_EQ(got.where, none);
                }
                EXPECT_FALSE(got.text.contains("DOCTYPE")) << "a page is nobody's business";
            }
        }
    }
}

TEST(classify, what_may_be_shown)
{
    facts of = asked_at(2);
    of.content_type = "application/json";

    of.status = 401;
    of.body = R"({"error":"Invalid key for organisation acme-secret"})";
    EXPECT_FALSE(classify(of).text.contains("acme-secret")) << "accounts are named in the log only";
    EXPECT_TRUE(classify(of).detail.contains("acme-secret"));

    of.status = 429;
    of.body = R"({"error":"Rate limit reached for org-12345"})";
    EXPECT_FALSE(classify(of).text.contains("org-12345"));

    of.status = 422;
    of.body = R"({"error":"`top_k` must be positive","error_type":"validation"})";
    EXPECT_EQ(classify(of).text, "`top_k` must be positive")
        << "the client's own fault: the upstream's own words";
    EXPECT_EQ(classify(of).error_type, "validation");

    of.status = 424;
    of.body = R"({"error":"Request failed during generation: CUDA out of memory","error_type":"generation"})";
    EXPECT_EQ(
        classify(of).text,
        "the upstream failed while it computed the answer: Request failed during generation: CUDA out of "
        "memory"
    );

    of.status = 400;
    of.body = "";
    of.error_text = "words of the header";
    EXPECT_EQ(classify(of).text, "words of the header") << "X-Error-Message, when the body is silent";

    of.error_text = "";
    const std::string echo = R"({"error":"Body needs to provide a inputs key, received: b'{\"image\": \")" +
                             std::string(4000, 'A') + R"(\"}'"})";
    of.body = echo;
    EXPECT_EQ(classify(of).text, "Body needs to provide a inputs key, received: …");
}

// ---- an error as the first event of a 200 stream ----

struct event_row
{
    std::string_view data;
    meant as;
    std::string_view why;
};

TEST(classify, an_error_as_first_event)
{
    for (const event_row& each : std::vector<event_row>{
             {R"({"error":{"message":"Model is overloaded","http_status_code":422}})",
              {rate_limited, token_model, {}, 429},
              "TGI's chat stream claims 422: the words tell"},
             {R"({"error":"Model is overloaded","error_type":"overloaded"})",
              {rate_limited, token_model, {}, 429},
              "TGI's own stream"},
             {R"({"error":"Input validation error: `temperature` must be strictly positive","error_type":"validation"})",
              {rejected, none, {}, 422},
              "TGI: validation under a 200"},
             {R"({"error":{"message":"Input validation error: `inputs` cannot be empty","http_status_code":422}})",
              {rejected, none, {}, 422},
              "the same in the chat stream"},
             {R"({"error":"Request failed during generation: CUDA out of memory","error_type":"generation"})",
              {unavailable, model_task, {}, 424},
              "TGI: failed at the first token"},
             {R"({"error":{"message":"Request failed during generation: CUDA out of memory","http_status_code":422}})",
              {unavailable, model_task, {}, 424},
              "the same in the chat stream, which claims 422"},
             {R"({"error":"Incomplete generation stream","error_type":"incomplete_generation_stream"})",
              {unavailable, model_task, {}, 500},
              "TGI: the backend went away"},
             {R"({"error":{"object":"error","message":"The model does not exist","type":"NotFoundError","code":404}})",
              {unsupported, model_task, {}, 404},
              "vLLM"},
             {R"({"object":"error","message":"bad tokens","type":"BadRequestError","param":null,"code":400})",
              {rejected, none, {}, 400},
              "vLLM and SGLang, flat"},
             {R"({"error":{"object":"error","message":"bad","type":"400","code":null}})",
              {rejected, none, {}, 400},
              "SGLang: the status as type"},
             {R"({"error":{"code":500,"message":"something broke","type":"server_error"}})",
              {unavailable, model_task, {}, 500},
              "llama.cpp"},
             {R"({"error":{"code":400,"message":"too many tokens","type":"exceed_context_size_error"}})",
              {rejected, none, {}, 400},
              "llama.cpp over its context"},
             {R"({"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}})",
              {rate_limited, token_model, {}, 429},
              "OpenAI's code"},
             {R"({"error":{"message":"Overloaded","type":"overloaded_error"}})",
              {rate_limited, token_model, {}, 429},
              "Anthropic"},
             {R"({"error":{"message":"nope","code":"model_not_supported"}})",
              {unsupported, model_task, {}, 400},
              "the router"},
             {R"({"error":"text"})", {unavailable, model_task, {}, 500}, "transformers serve: no reason told"
             },
             {R"(not json)", {unavailable, model_task, {}, 500}, "event: error without JSON"},
         }) {
        for (const unsigned index : {1U, 4U, 6U, 8U}) {
            facts of = asked_at(index);
            of.status = 200;
            of.stream = true;
            of.content_type = "text/event-stream";
            of.first_event = true;
            of.body = each.data;
            const verdict got = classify(of);
            SCOPED_TRACE(
                std::string(names[index]) + " " + std::string(each.data) + "\n  since " +
                std::string(each.why)
            );
            EXPECT_EQ(to_string(got.what), to_string(each.as.what));
            EXPECT_EQ(static_cast<int>(got.where), static_cast<int>(each.as.where));
            EXPECT_EQ(got.status, each.as.status);
            EXPECT_FALSE(got.text.empty());
        }
    }
}

TEST(classify, hopeless_bytes_are_survived)
{
    std::string noise;
    for (int i = 0; i < 5000; ++i) {
        noise += static_cast<char>((i * 7919) >> 3);
    }
    for (const std::string& body :
         {noise,
          std::string(65536, '{'),
          std::string(65536, '['),
          std::string("{\"error\":") + std::string(5000, '['),
          std::string("\0\0\0", 3),
          std::string("{\"error\":\"") + noise,
          std::string("\"")}) {
        for (unsigned index = 0; index < std::size(names); ++index) {
            for (int status : {400, 404, 429, 500, 503}) {
                facts of = asked_at(index);
                of.status = status;
                of.body = body;
                of.content_type = "application/json";
                EXPECT_LE(classify(of).text.size(), 500U);
                of.first_event = true;
                EXPECT_LE(classify(of).text.size(), 500U);
            }
        }
    }
}

} // namespace
} // namespace gw::adapters
