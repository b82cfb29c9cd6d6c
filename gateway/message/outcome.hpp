// What an upstream's answer means: one closed set (design: section 5). Adapters map statuses, headers and
// bodies to a verdict; the attempts machine decides from the verdict alone what happens next. No I/O, no
// clock.
#pragma once

#include "message/failure.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace gw {

enum class outcome {
    ok,
    rate_limited,
    out_of_credits,
    token_rejected,
    warming,
    unavailable,
    timeout,
    unsupported,
    too_large,
    rejected,
    broken_stream,
};
inline constexpr int outcome_count = 11;

[[nodiscard]] std::string_view to_string(outcome value);
[[nodiscard]] std::optional<outcome> parse_outcome(std::string_view name);
[[nodiscard]] code to_code(outcome value); // REQUIRES value != ok

// How much a bad answer says about: which key the cooldown gets.
enum class scope {
    none,             // nothing cools down
    token_model,      // this token, on this upstream, for this model (429, gated 403)
    token_upstream,   // this token on this upstream (401)
    token_serverless, // this token (with its bill_to) on every serverless upstream (402, 403 "Inference
                      // Providers")
    token_everywhere, // 401 said by the router or the Hub
    model_task,       // upstream x model x task (unsupported, 500, 5xx without a better scope)
    upstream,         // the whole upstream (refused, reset, 502, 503, 504, timeouts)
};

// What one answer (or its absence) means.
struct verdict
{
    outcome what = outcome::ok;
    scope where = scope::none;
    int status = 0; // the upstream's status; 0 when there was none
    std::optional<std::chrono::milliseconds>
        retry_after;             // told by Retry-After, RateLimit t, estimated_time, ...
    bool permanent = false;      // unsupported for good (wrong kind of model), not for a while
    bool connect_failed = false; // not one byte was written: any candidate may get it, also this one
    std::string text;            // the upstream's own words, cut and cleaned: safe to show
    std::string detail;          // for our log
    std::string error_type;      // TGI's error_type or OpenAI's type/code where it had one
    std::optional<code> as_code; // a more precise code for the client (upstream_redirect, upstream_tls, ...)
};

} // namespace gw
