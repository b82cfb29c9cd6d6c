// What an upstream's answer means: the one place that turns status, headers and body into a verdict. It is
// used for every kind, every task, streaming or not; the rows stand in classify.cpp, in the order in which
// they are asked. Pure: any thread, no clock (the wall time is an argument, for headers that carry dates),
// never throws.
#pragma once

#include "config/settings.hpp"
#include "message/outcome.hpp"
#include "wire/response_head.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace gw::adapters {

// What the request asked for; decides which content types of a 2xx are an answer.
enum class expects : std::uint8_t {
    anything, // the task is not known, or the body is the operator's own: whatever is no web page
    json,     // a JSON document
    bytes,    // an image or audio; JSON that holds it is fine too
};

// Everything that is known of one answer.
struct facts
{
    config::kind kind = config::kind::serverless;
    config::engine engine = config::engine::toolkit;
    bool platform =
        false; // the host is one of Hugging Face's own for dedicated endpoints: its proxy may speak for it
    bool chat = false;   // an OpenAI route was asked
    bool stream = false; // the client asked for an event stream
    expects wanted = expects::anything;

    int status = 0;
    std::string_view content_type;
    std::string_view content_encoding;
    std::string_view retry_after;
    std::string_view rate_limit;   // RateLimit
    std::string_view error_code;   // X-Error-Code
    std::string_view error_text;   // X-Error-Message
    std::string_view provider;     // x-inference-provider: the router speaks for somebody else
    std::string_view compute_type; // x-compute-type: an engine spoke, not the platform's proxy

    std::string_view body;    // the error's body, cut at 64 KiB; empty when the head is all there is
    bool first_event = false; // `body` is the data of an event in a 200 stream, and it is an error
    std::chrono::system_clock::time_point wall;
};

// Adds what a head tells; kind, engine and what was wanted are the caller's to fill in.
void add_head(facts& to, const wire::response_head& head);

// The verdict.
//   ok          may carry a retry_after (RateLimit r=0 on it): only the cooldown follows from that
//   text        safe to show (words.hpp clean_words): for `rejected` the upstream's own words, else what
//   happened, in our
//               words, then the upstream's where they help and name no account
//   status      the upstream's, except where an engine says 500 for the client's own fault (400), and where
//   an event
//               carries the error (the status it stands for)
//   where       none also for `unsupported` when the client chose what is not supported (a media type): a
//   client must
//               not be able to cool an upstream down for others
[[nodiscard]] verdict classify(const facts& of);

// Whether the head alone decides: 1xx, 2xx, 3xx. Otherwise the error's body is worth reading first.
[[nodiscard]] bool decided_by_head(int status);

} // namespace gw::adapters
