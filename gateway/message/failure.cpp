#include "message/failure.hpp"

namespace gw {
namespace {

struct row
{
    std::string_view name;
    int status;
};

constexpr row row_of(code value)
{
    switch (value) {
    case code::rate_limited:
        return {"rate_limited", 429};
    case code::out_of_credits:
        return {"out_of_credits", 402};
    case code::token_rejected:
        return {"token_rejected", 502};
    case code::warming:
        return {"warming", 429};
    case code::unavailable:
        return {"unavailable", 502};
    case code::timeout:
        return {"timeout", 504};
    case code::unsupported:
        return {"unsupported", 404};
    case code::too_large:
        return {"too_large", 413};
    case code::rejected:
        return {"rejected", 400};
    case code::broken_stream:
        return {"broken_stream", 502};
    case code::bad_framing:
        return {"bad_framing", 400};
    case code::bad_chunk:
        return {"bad_chunk", 400};
    case code::header_too_large:
        return {"header_too_large", 431};
    case code::target_too_long:
        return {"target_too_long", 414};
    case code::body_too_large:
        return {"body_too_large", 413};
    case code::request_timeout:
        return {"request_timeout", 408};
    case code::bad_version:
        return {"bad_version", 505};
    case code::unknown_method:
        return {"unknown_method", 501};
    case code::method_not_allowed:
        return {"method_not_allowed", 405};
    case code::unsupported_coding:
        return {"unsupported_coding", 415};
    case code::expectation_failed:
        return {"expectation_failed", 417};
    case code::unauthenticated:
        return {"unauthenticated", 401};
    case code::forbidden:
        return {"forbidden", 403};
    case code::no_such_door:
        return {"no_such_door", 404};
    case code::unknown_model:
        return {"unknown_model", 404};
    case code::invalid_model:
        return {"invalid_model", 400};
    case code::unknown_task:
        return {"unknown_task", 400};
    case code::invalid_json:
        return {"invalid_json", 400};
    case code::invalid_base64:
        return {"invalid_base64", 400};
    case code::wrong_modality:
        return {"wrong_modality", 400};
    case code::overloaded:
        return {"overloaded", 429};
    case code::upstream_redirect:
        return {"upstream_redirect", 502};
    case code::upstream_leak:
        return {"upstream_leak", 502};
    case code::upstream_tls:
        return {"upstream_tls", 502};
    case code::internal:
        return {"internal", 500};
    case code::stopping:
        return {"stopping", 429};
    case code::client_gone:
        return {"client_gone", 499};
    }
    return {"internal", 500};
}

} // namespace

std::string_view to_string(code value)
{
    return row_of(value).name;
}

int default_status(code value)
{
    return row_of(value).status;
}

} // namespace gw
