// What went wrong, whose fault it is, and whether it may be tried again. A value: every stage returns
// result<T>, and exactly one place (ingress/reply) turns a failure into an HTTP status. Nothing here
// allocates until it fails.
#pragma once

#include "message/boxed.hpp"

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gw {

// The closed set of error codes a client can see (design: section 10). The first block are the outcomes of an
// upstream's answer (outcome.hpp), the rest are refusals of ours.
enum class code {
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

    bad_framing,
    bad_chunk,
    header_too_large,
    target_too_long,
    body_too_large,
    request_timeout,
    bad_version,
    unknown_method,
    method_not_allowed,
    unsupported_coding,
    expectation_failed,
    unauthenticated,
    forbidden,
    no_such_door,
    unknown_model,
    invalid_model,
    unknown_task,
    invalid_json,
    invalid_base64,
    wrong_modality,
    overloaded,
    upstream_redirect,
    upstream_leak,
    upstream_tls,
    internal,

    stopping,    // the gateway's drain is over; told as `overloaded`, recorded as what it is
    client_gone, // never rendered: nobody is there to read it; recorded as 499
};

[[nodiscard]] std::string_view to_string(code value);

// The HTTP status that a failure of this code has when nothing more is known (`rejected` carries the
// upstream's own).
[[nodiscard]] int default_status(code value);

enum class origin { client, upstream, gateway };

// if_reused: only if the connection was a kept one, since a server may close an idle connection just as we
// write to it.
enum class retry { never, safe, if_reused };

struct failure
{
    code what = code::internal;
    origin from = origin::gateway;
    retry again = retry::never;
    std::string text;   // safe to show to the caller: what is wrong, where, what to do
    std::string detail; // for our log only
    int status = 0;     // 0: default_status(what)
    std::optional<std::chrono::seconds> retry_after;
    bool close = false; // the client's connection cannot be kept (its framing is lost)
    std::string
        param; // the field of the request at fault (`messages`, `parameters`); empty: none in particular
    std::string error_type; // TGI's own word for it (`validation`, ...), when the upstream said one
    std::string allow;      // method_not_allowed: what the Allow field has to say

    [[nodiscard]] int http_status() const { return status != 0 ? status : default_status(what); }
};

template <class T>
using result = std::expected<T, failure>;

// The same where thousands of coroutines wait with one in their frame: a failure takes room once it is there.
template <class T>
using lean = std::expected<T, boxed<failure>>;

// Passes a failure on: `if (!x) { return fail(x); }`
template <class T>
[[nodiscard]] std::unexpected<failure> fail(result<T>& from)
{
    return std::unexpected(std::move(from).error());
}
template <class T>
[[nodiscard]] std::unexpected<failure> fail(lean<T>& from)
{
    return std::unexpected(std::move(*from.error()));
}

[[nodiscard]] inline std::unexpected<failure> refuse(code what, std::string text)
{
    return std::unexpected(failure{.what = what, .from = origin::client, .text = std::move(text)});
}

} // namespace gw
