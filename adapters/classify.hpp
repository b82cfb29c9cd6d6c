// What an upstream's answer means: the one place that turns status, headers and body into a verdict. It is used for
// every kind, every task, streaming or not; the rows stand in classify.cpp, in the order in which they are asked. Pure:
// any thread, no clock (the wall time is an argument, for headers that carry dates), never throws.
#pragma once

#include "config/settings.hpp"
#include "message/outcome.hpp"
#include "wire/response_head.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace gw::adapters {

// What the request asked for; decides which content types of a 2xx are an answer.
enum class expects : std::uint8_t {
    anything, // the task is not known: whatever is no web page
    json,     // a JSON document
    bytes,    // an image or audio; JSON that holds it is fine too
};

// Everything that is known of one answer.
struct facts
{
    config::kind kind = config::kind::serverless;
    config::engine engine = config::engine::toolkit;
    bool platform = false; // the host is one of Hugging Face's own for dedicated endpoints: its proxy may speak for it
    bool chat = false;     // an OpenAI route was asked, so errors have its shape
    bool stream = false;   // the client asked for an event stream
    expects wanted = expects::anything;

    int status = 0;
    std::string_view content_type;
    std::string_view retry_after;
    std::string_view rate_limit;    // RateLimit
    std::string_view error_code;    // X-Error-Code
    std::string_view error_message; // X-Error-Message
    std::string_view server;
    std::string_view compute_type;  // x-compute-type: an engine spoke, not the platform's proxy

    std::string_view body;    // the error's body, cut at 64 KiB; empty for a 2xx head
    bool first_event = false; // `body` is the data of the first event of a 200 stream, and it is an error
    std::chrono::system_clock::time_point wall;
};

// The facts that a head tells; kind, engine and what was wanted are the caller's to fill in.
[[nodiscard]] facts facts_of(const wire::response_head& head, std::chrono::system_clock::time_point wall);

// The verdict. `ok` may carry a retry_after (RateLimit r=0 on it): only the cooldown follows from that.
// `text` is safe to show: cut to 500 bytes, without control characters, invalid UTF-8, tokens or echoed payloads. For
// `rejected` it is the upstream's own words, else it says what happened first. `status` is the upstream's, except where
// an engine says 500 for the client's own fault (400) and where an event carries the error (the status it stands for).
[[nodiscard]] verdict classify(const facts& of);

// Whether this status and content type already decide without the body: 2xx, 1xx, 3xx. Otherwise the error's body is
// worth reading first.
[[nodiscard]] bool decided_by_head(const facts& of);

// Whether the data of a first event is an error rather than content; `name` is its `event:` field.
[[nodiscard]] bool is_error_event(std::string_view name, std::string_view data);

// An error body taken apart, in whatever shape it came.
struct upstream_words
{
    std::string message;         // unescaped, not yet cleaned; empty: nothing usable was said
    std::string type;            // error_type, error.type, type
    std::string code;            // error.code, code, when it is text
    int status = 0;              // a number in error.code, code, http_status_code; 0: none
    double estimated_time = -1;  // seconds; below zero: not told
    bool html = false;           // a web page: its text is nobody's business
};

// Shapes: {"error":text | list | {"message","type","code"}}, {"message"}, {"detail":text | [{"msg"}] | {"error"}},
// {"errors":[{"message"}]}, {"error_description"}, plain text, HTML.
[[nodiscard]] upstream_words read_words(std::string_view body, std::string_view content_type);

// Safe to show: at most `limit` bytes on one line; what is no UTF-8, no printable character, looks like a token or like
// an echoed payload is left out.
[[nodiscard]] std::string clean_words(std::string_view text, std::size_t limit = 500);

// Media types of an answer; parameters are ignored, case too.
[[nodiscard]] bool is_json(std::string_view content_type);
[[nodiscard]] bool is_event_stream(std::string_view content_type);
[[nodiscard]] bool is_media(std::string_view content_type); // image/*, audio/*, video/*, octet-stream

} // namespace gw::adapters
