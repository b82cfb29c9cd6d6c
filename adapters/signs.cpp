#include "adapters/signs.hpp"

#include <algorithm>
#include <array>

namespace gw::adapters::signs {
namespace {

using config::engine;
using config::kind;

struct status_name
{
    std::string_view name;
    int status;
};

// Types and codes of TGI, TEI, OpenAI, vLLM, SGLang, llama.cpp and Anthropic, in lower case.
constexpr std::array names{
    status_name{"overloaded", 429},
    status_name{"overloaded_error", 429},
    status_name{"rate_limit_error", 429},
    status_name{"rate_limit_exceeded", 429},
    status_name{"ratelimiterror", 429},
    status_name{"too_many_requests", 429},
    status_name{"insufficient_quota", 429},
    status_name{"generation", 424},
    status_name{"backend", 424},
    status_name{"validation", 422},
    status_name{"tokenizer", 422},
    status_name{"template_error", 422},
    status_name{"missing_template_variable", 422},
    status_name{"tool_error", 422},
    status_name{"empty", 400},
    status_name{"incomplete_generation", 500},
    status_name{"incomplete_generation_stream", 500},
    status_name{"stream_serialization_error", 500},
    status_name{"model_not_supported", 400},
    status_name{"model_not_found", 404},
    status_name{"invalid_request_error", 400},
    status_name{"exceed_context_size_error", 400},
    status_name{"context_length_exceeded", 400},
    status_name{"badrequesterror", 400},
    status_name{"authentication_error", 401},
    status_name{"invalid_api_key", 401},
    status_name{"permission_error", 403},
    status_name{"not_found_error", 404},
    status_name{"notfounderror", 404},
    status_name{"server_error", 500},
    status_name{"api_error", 500},
    status_name{"internalservererror", 500},
    status_name{"internal_server_error", 500},
    status_name{"not_supported_error", 501},
    status_name{"unavailable_error", 503},
    status_name{"healthcheck", 503},
    status_name{"unhealthy", 503},
};

int status_of_name(std::string_view name)
{
    const auto found = std::ranges::find(names, name, &status_name::name);
    return found == names.end() ? 0 : found->status;
}

// The status that an error event stands for. TGI's chat stream claims 422 whatever happened, so the words
// come first.
int event_status(const seen& s)
{
    if (queue_full(s)) {
        return 429;
    }
    if (s.begins({"request failed during generation"}) || hardware(s)) {
        return 424;
    }
    if (s.begins({"incomplete generation"})) {
        return 500;
    }
    for (const std::string_view name : {std::string_view(s.code), std::string_view(s.type)}) {
        if (const int known = status_of_name(name)) {
            return known;
        }
    }
    if (s.said.status >= 400) {
        return s.said.status;
    }
    if (s.type.size() == 3 && s.type >= "400" && s.type <= "599") { // SGLang writes the status as the type
        return (s.type[0] - '0') * 100 + (s.type[1] - '0') * 10 + (s.type[2] - '0');
    }
    return 500;
}

} // namespace

bool seen::has(std::initializer_list<std::string_view> any) const
{
    return std::ranges::any_of(any, [&](std::string_view each) { return lower.contains(each); });
}

bool seen::begins(std::initializer_list<std::string_view> any) const
{
    return std::ranges::any_of(any, [&](std::string_view each) { return lower.starts_with(each); });
}

seen read(const facts& of)
{
    seen s{.of = of, .status = of.status, .said = read_words(of.body, of.content_type)};
    if (!of.content_encoding.empty() && lower_case(of.content_encoding) != "identity") {
        s.said = {}; // compressed, though not asked for: not readable
    }
    if (s.said.message.empty()) {
        s.said.message = of.error_text;
    }
    s.lower = lower_case(std::string_view(s.said.message).substr(0, 1000));
    s.lower.erase(0, s.lower.find_first_not_of(" \t\r\n"));
    s.type = lower_case(s.said.type);
    s.code = lower_case(s.said.code);
    if (of.first_event) {
        s.status = event_status(s);
    }
    return s;
}

bool always(const seen&)
{
    return true;
}

bool web_page(const seen& s)
{
    return s.said.html;
}

bool serverless(const seen& s)
{
    return s.serverless();
}

bool by_provider(const seen& s)
{
    return s.serverless() && !s.of.provider.empty();
}

bool toolkit_echo(const seen& s)
{
    return s.toolkit() && s.begins(
                              {"body needs to provide a inputs key",
                               "incorrect image source",
                               "[errno 36] file name too long",
                               "cannot identify image",
                               "only base64 data is allowed"}
                          );
}

bool hardware(const seen& s)
{
    return s.has(
        {"cuda out of memory",
         "cuda error",
         "cuda runtime error",
         "cublas_status",
         "cudnn_status",
         "cudnn error",
         "hip out of memory",
         "mps backend out of memory",
         "out of memory",
         "device-side assert",
         "not enough memory",
         "cannot allocate memory",
         "can't allocate memory",
         "failed to allocate memory",
         "no space left on device"}
    );
}

bool toolkit_hardware(const seen& s)
{
    return (s.toolkit() || s.of.engine == engine::tgi || s.of.engine == engine::tei) && hardware(s);
}

bool paused(const seen& s)
{
    return s.of.kind == kind::dedicated &&
           (s.has({"endpoint is paused"}) || s.lower == "bad request: invalid state" ||
            s.lower == "invalid state");
}

bool no_provider(const seen& s)
{
    return s.code == "model_not_supported" || s.code == "model_not_found" ||
           (s.serverless() && s.has(
                                  {"not supported by any provider",
                                   "not supported by provider",
                                   "no longer supported by provider",
                                   "is not a chat model"}
                              ));
}

bool model_unknown(const seen& s)
{
    return s.of.engine == engine::openai && s.begins({"model '", "model \""}) &&
           s.has({"' not found", "\" not found"});
}

bool content_type_refused(const seen& s)
{
    return s.toolkit() && ((s.has({"content type"}) && s.has({"not supported"})) ||
                           s.has({"has no attribute 'deserialize'"}));
}

bool accept_refused(const seen& s)
{
    return s.toolkit() &&
           ((s.has({"accept type"}) && s.has({"not supported"})) || s.has({"can only serialize pil.image"}));
}

bool task_unknown(const seen& s)
{
    return s.begins({"unknown task", "\"unknown task", "'unknown task"});
}

bool inference_providers(const seen& s)
{
    return s.serverless() && s.has({"inference providers"});
}

bool gated(const seen& s)
{
    return s.of.error_code == "GatedRepo" || s.of.error_code == "RepoNotFound" ||
           s.code == "model_not_found" ||
           s.has(
               {"gated repo",
                "gated model",
                "is gated",
                "awaiting a review",
                "not in the authorized list",
                "access to model",
                "access to this model",
                "must have access"}
           );
}

bool no_quota(const seen& s)
{
    return s.code == "insufficient_quota" || s.type == "insufficient_quota";
}

bool batch_size(const seen& s)
{
    return s.has({"batch size"}) && s.has({"maximum allowed", "exceeded"});
}

bool wrong_kind_of_model(const seen& s)
{
    return s.begins({"backend error: model is not", "model is not a"});
}

bool queue_full(const seen& s)
{
    return s.type == "overloaded" || s.type == "overloaded_error" ||
           s.has(
               {"queue is full",
                "queue full",
                "maximum pending requests",
                "server busy",
                "server is busy",
                "too busy",
                "overloaded",
                "too many requests"}
           );
}

bool loading(const seen& s)
{
    return s.said.estimated_time >= 0 || s.begins({"loading model"}) ||
           s.has(
               {"currently loading",
                "is loading",
                "still loading",
                "starting up",
                "is starting",
                "scaled to zero"}
           );
}

bool unhealthy(const seen& s)
{
    return s.type == "healthcheck" || s.type == "unhealthy";
}

bool proxy_words(const seen& s)
{
    return s.silent() ||
           (s.type.empty() && s.code.empty() &&
            (s.begins({"503 service", "502 bad gateway", "service unavailable", "bad gateway"}) ||
             s.has({"no healthy", "not ready", "initializing", "scaling"})));
}

bool asleep_503(const seen& s)
{
    if (s.of.kind != kind::dedicated || !s.of.compute_type.empty()) {
        return false;
    }
    return s.of.platform ? s.type.empty() && s.code.empty() : proxy_words(s);
}

bool asleep_502(const seen& s)
{
    return s.of.kind == kind::dedicated && s.of.platform && s.of.compute_type.empty() && !s.said.html &&
           proxy_words(s);
}

bool starting(const seen& s)
{
    return s.of.kind == kind::local && s.silent();
}

bool client_fault_500(const seen& s)
{
    return s.of.engine == engine::openai && s.of.kind != kind::serverless &&
           (s.begins(
                {"[json.exception.",
                 "image input is not supported",
                 "audio input is not supported",
                 "video input is not supported",
                 "unsupported param"}
            ) ||
            s.has({": [json.exception."}));
}

bool model_loading(const seen& s)
{
    return s.serverless() && loading(s);
}

} // namespace gw::adapters::signs
