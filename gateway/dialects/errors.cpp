#include "dialects/errors.hpp"

#include "wire/json_text.hpp"

namespace gw::dialects {
namespace {

// For failures that were made without a text. Each names the cause and what can be done about it.
constexpr std::string_view sentence_of(code value)
{
    switch (value) {
    case code::rate_limited:
        return "Every way to this model is rate limited at the moment. Try again after the time in "
               "Retry-After.";
    case code::out_of_credits:
        return "The gateway's credits for this model are used up. Ask whoever runs the gateway to add "
               "credits or "
               "another way to the model.";
    case code::token_rejected:
        return "An upstream refused the gateway's own token. Ask whoever runs the gateway to renew it; your "
               "key is "
               "not at fault.";
    case code::warming:
        return "The model is being loaded. Try again after the time in Retry-After.";
    case code::unavailable:
        return "No upstream could answer for this model. Try again; x-fourways-route says what was tried.";
    case code::timeout:
        return "No upstream answered in time. Try again, or ask for less work in one request.";
    case code::unsupported:
        return "No configured upstream runs this model for this task. Check the model's name and task, or "
               "ask "
               "whoever runs the gateway to add a way.";
    case code::too_large:
        return "The request is too large for every upstream of this model. Send a smaller payload or batch.";
    case code::rejected:
        return "The upstream refused the request as it is. Check its inputs and parameters.";
    case code::broken_stream:
        return "The upstream broke off in the middle of its answer, so what came before is incomplete. Send "
               "the "
               "request again.";
    case code::bad_framing:
        return "The request is not well-formed HTTP/1.1, so the connection is closed. Check the client or "
               "the proxy "
               "before the gateway.";
    case code::bad_chunk:
        return "The chunked body is malformed, so the connection is closed. Check the client, or send "
               "Content-Length.";
    case code::header_too_large:
        return "The request's header fields are too large. Send fewer or shorter ones.";
    case code::target_too_long:
        return "The request's URL is too long. Move parameters into a JSON body.";
    case code::body_too_large:
        return "The body is larger than the gateway takes. Send a smaller payload.";
    case code::request_timeout:
        return "The request did not arrive in time. Send it again without pauses.";
    case code::bad_version:
        return "Only HTTP/1.1 and HTTP/1.0 are spoken here. Set the client to HTTP/1.1.";
    case code::unknown_method:
        return "This HTTP method is not known here. Use GET or POST.";
    case code::method_not_allowed:
        return "This path does not take this HTTP method. The Allow field says which it takes.";
    case code::unsupported_coding:
        return "The body has a Content-Encoding that is not taken. Send it uncompressed.";
    case code::expectation_failed:
        return "Only `Expect: 100-continue` is understood. Leave the field out.";
    case code::unauthenticated:
        return "No valid key was sent. Send one as `Authorization: Bearer KEY` or `X-Api-Key: KEY`.";
    case code::forbidden:
        return "This key may not do that. Ask whoever runs the gateway to allow it in the policy.";
    case code::no_such_door:
        return "Nothing is served at this path. Check the base URL of the client.";
    case code::unknown_model:
        return "No model of this name is configured. GET /v1/models lists the names.";
    case code::invalid_model:
        return "The model's name is missing or malformed. Use `namespace/name` as on the Hub.";
    case code::unknown_task:
        return "The task is not known. Name one of Hugging Face's tasks, for example `image-classification`.";
    case code::invalid_json:
        return "The body is not the JSON that this path expects. Check its fields.";
    case code::invalid_base64:
        return "The payload is not plain base64. Use the standard alphabet, padded, without line breaks.";
    case code::wrong_modality:
        return "The payload is not of the kind that this task takes.";
    case code::overloaded:
        return "The gateway is at its limit at the moment. Try again in a second.";
    case code::upstream_redirect:
        return "The upstream answered with a redirect, which is not followed. Ask whoever runs the gateway "
               "to correct "
               "the upstream's URL.";
    case code::upstream_leak:
        return "The upstream's answer repeated a secret of the gateway and was withheld. Tell whoever runs "
               "the "
               "gateway.";
    case code::upstream_tls:
        return "The upstream's TLS certificate could not be verified. Ask whoever runs the gateway to check "
               "its URL "
               "and `ca_file`.";
    case code::internal:
        return "The gateway failed on this request. Try again; the request id helps to find it in the log.";
    case code::stopping:
        return "The gateway is being stopped and ended this request before it was done. Send it again.";
    case code::client_gone:
        return "The client went away before the answer.";
    }
    return "The gateway failed on this request. Try again; the request id helps to find it in the log.";
}

// The names that OpenAI's API itself uses; SDKs show them and some applications branch on them.
constexpr std::string_view openai_type(code value, int status)
{
    switch (value) {
    case code::out_of_credits:
        return "insufficient_quota";
    case code::unauthenticated:
        return "authentication_error";
    case code::forbidden:
        return "permission_error";
    default:
        break;
    }
    if (status == 429) {
        return "rate_limit_error";
    }
    return status >= 500 ? "server_error" : "invalid_request_error";
}

} // namespace

int client_status(const failure& what, says_503 may)
{
    if (what.what == code::overloaded) {
        return may == says_503::when_overloaded ? 503 : 429;
    }
    const bool is_error = what.status >= 400 && what.status <= 599;
    const int status = is_error ? what.status : default_status(what.what);
    if (status == 503) {
        return what.retry_after ? 429 : 502;
    }
    return status;
}

std::string_view message_of(const failure& what)
{
    return what.text.empty() ? sentence_of(what.what) : std::string_view{what.text};
}

std::string openai_error(const failure& what)
{
    std::string body = R"({"error":{"message":)";
    wire::append_json_string(body, message_of(what));
    body += R"(,"type":)";
    wire::append_json_string(body, openai_type(what.what, client_status(what, says_503::when_overloaded)));
    body += R"(,"param":)";
    if (what.param.empty()) {
        body += "null";
    } else {
        wire::append_json_string(body, what.param);
    }
    body += R"(,"code":)";
    wire::append_json_string(body, to_string(what.what));
    body += "}}";
    return body;
}

failure cut_answer()
{
    return {
        .what = code::broken_stream,
        .from = origin::upstream,
        .text = "The upstream's answer is no complete JSON. Send the request again.",
    };
}

std::string one_event(std::string_view json)
{
    std::string event = "data: ";
    event += json;
    event += "\n\n";
    return event;
}

} // namespace gw::dialects
