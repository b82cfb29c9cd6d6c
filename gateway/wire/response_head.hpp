// The strict scan of an upstream's response head, in the manner of request_head.hpp: one pass, views into the
// caller's bytes, any split gives the same verdict, never throws. An upstream that speaks ambiguously is not
// believed: its connection must be discarded after any error of this file.
#pragma once

#include "message/failure.hpp"
#include "wire/field.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace gw::wire {

// Reuse one object per connection: the scan resets it and keeps the capacity of `fields`.
// Of a repeated field the first counts; the others stand in `fields`. Absent: data() == nullptr.
struct response_head
{
    int status = 0;          // 100 to 599; never 101
    std::string_view reason; // may be empty
    int minor = 1;           // HTTP/1.<minor>
    std::vector<field> fields;

    framing body =
        framing::none; // none: 1xx, 204, 304 and answers to HEAD; until_close: neither length nor chunks
    std::uint64_t content_length = 0;
    bool keep_alive = true; // by version, Connection and framing; false also for a 204 that announces a body
    std::optional<std::chrono::seconds> keeps; // Keep-Alive: timeout=N, how long the other side keeps it

    std::string_view content_type;
    std::string_view content_encoding;
    std::string_view retry_after;
    std::string_view ratelimit;
    std::string_view location;
    std::string_view x_request_id;
    std::string_view x_inference_provider;
    std::string_view error_code;    // x-error-code
    std::string_view error_message; // x-error-message
    std::string_view compute_type;  // x-compute-type
    std::string_view server;

    [[nodiscard]] bool interim() const
    {
        return status < 200;
    } // 1xx: another head follows; the caller counts them
};

// Scans a head from the first byte of a response; call again with a longer prefix while it wants more.
//   head_request  the request was a HEAD: whatever the fields say, no body follows
//   returns       nullopt: more bytes are needed. Else the size of the head, blank line included
//   errors        all unavailable, origin upstream, retry never: no HTTP/1.x status line, a status outside
//   100..599, 101 (we
//                 never ask for it), bare CR or LF, NUL or control bytes, folded lines, a bad name, over the
//                 limits; Content-Length that is no plain number, repeated, or beside Transfer-Encoding;
//                 Transfer-Encoding that is not exactly one `chunked`, or on HTTP/1.0
//   source        RFC 9112 sections 4, 5, 6.3
[[nodiscard]] result<std::optional<std::size_t>> scan_response_head(
    std::string_view bytes, const head_limits& limits, response_head& out, bool head_request = false
);

} // namespace gw::wire
