// The strict scan of a request's head: request line, fields, framing, in one pass without copying. Whoever
// feeds it owns the bytes; every view in request_head points into them. Pure: any thread, no clock, never
// throws for any input. It refuses whatever two HTTP implementations could read differently (RFC 9112
// sections 2.2, 3, 5, 6, 9.3, 11.2): that is why it is ours and not a library's. A refusal always closes: the
// framing behind it cannot be trusted.
#pragma once

#include "message/failure.hpp"
#include "wire/field.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace gw::wire {

// The methods that are let through. TRACE and CONNECT are refused by the scan, unknown ones too, so `other`
// never leaves it; it is the value before the first scan.
enum class method : std::uint8_t { get, head, post, put, delete_, options, patch, other };
[[nodiscard]] std::string_view to_string(method verb);

// For the Allow field of a 405 that the scan itself causes (TRACE, CONNECT).
inline constexpr std::string_view allowed_methods = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

// A scanned head. Reuse one object per connection: scan_request_head() resets it and keeps the capacity of
// `fields`. A well-known field that was absent has data() == nullptr; one that was present and empty has not.
struct request_head
{
    method verb = method::other;
    std::string_view verb_text;
    std::string_view target; // visible ASCII, not yet judged further: parse_target() of target.hpp does that
    int minor = 1;           // HTTP/1.<minor>: 0 or 1
    std::vector<field>
        fields; // in order; names that hold `_` are left out (see the errors for those that are refused)

    framing body =
        framing::none; // sized or chunked when the head says so; sized with 0 when it says Content-Length: 0
    std::uint64_t content_length = 0;
    bool keep_alive = true;       // by version and Connection
    bool expect_continue = false; // Expect: 100-continue, on HTTP/1.1 only

    // At most one of each may be present:
    std::string_view host;
    std::string_view authorization;
    std::string_view x_api_key;
    std::string_view content_type;
    std::string_view content_encoding; // `identity` or absent: others are refused
    std::string_view origin;
    std::string_view timeout; // x-fourways-timeout
    // Of these the first counts; the others stand in `fields`. Absent too when Connection names it:
    std::string_view accept;
    std::string_view user_agent;
    std::string_view request_id; // x-request-id
    std::string_view traceparent;
    std::string_view tracestate;
    std::string_view baggage;
    std::string_view anthropic_version;
    std::string_view wait_for_model; // x-wait-for-model
};

// Scans a head from the first byte of a request. Call it again with a longer prefix of the same bytes while
// it wants more: any split leads to the same verdict, and an error of a prefix stays the error of the whole.
//   bytes    what has arrived so far; up to two CRLF before the request line are skipped
//   out      reset, then filled; complete only when a size is returned. After an error it holds what stood
//   before the fault returns  nullopt: more bytes are needed. Else the size of the head, blank line (and
//   skipped CRLF) included errors   all with origin client and close:
//            bad_framing (400)         bare CR or LF, NUL, control bytes, folded lines, a bad name, white
//            space around the
//                                      name, a bad target byte, no version (HTTP/0.9); Host absent, repeated
//                                      or no host; Content-Length that is not one plain number, repeated, or
//                                      beside Transfer-Encoding; Transfer-Encoding on HTTP/1.0; a second
//                                      Authorization, X-Api-Key, Content-Type, Content-Encoding, Origin or
//                                      X-Fourways-Timeout; a name with `_` that would be a framing or
//                                      identity field if it had `-`
//            bad_framing, status 501   Transfer-Encoding that is not exactly one `chunked`
//            bad_version (505)         any version but 1.0 and 1.1, the HTTP/2 preface
//            unknown_method (501)      method_not_allowed (405): TRACE, CONNECT; the answer needs Allow:
//            allowed_methods target_too_long (414)     header_too_large (431): bytes or fields, as soon as
//            the limit is passed unsupported_coding (415)  Content-Encoding other than identity
//            expectation_failed (417)  Expect other than 100-continue
//   source   RFC 9112; RFC 9110 sections 7.2, 8.6, 10.1.1
[[nodiscard]] result<std::optional<std::size_t>>
scan_request_head(std::string_view bytes, const head_limits& limits, request_head& out);

} // namespace gw::wire
