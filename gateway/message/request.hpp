// The normalized request: what every dialect parses into and every adapter encodes from. It describes the
// body by ranges (body.hpp) and never holds a payload. Owned by the request's coroutine; views point into its
// head and body.
#pragma once

#include "message/body.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gw {

// The task table's row (payload/tasks.hpp). Null: the task is not known.
struct task_info;

// A client-facing API. Errors and headers are worded per dialect.
enum class dialect_id : std::uint8_t { native, huggingface, openai };
[[nodiscard]] std::string_view to_string(dialect_id value);

// One endpoint of a dialect; the client's shape is known from it.
enum class door : std::uint8_t {
    native_inference,   // POST /v1/inference
    hf_task,            // POST [/hf-inference]/models/{id}[/pipeline/{task}]
    hf_chat,            // POST [/hf-inference]/models/{id}/v1/chat/completions
    hf_completions,     // POST [/hf-inference]/models/{id}/v1/completions
    hf_embeddings,      // POST [/hf-inference]/models/{id}/v1/embeddings
    openai_chat,        // POST /v1/chat/completions
    openai_completions, // POST /v1/completions
    openai_embeddings,  // POST /v1/embeddings
    openai_images,      // POST /v1/images/generations
    openai_speech,      // POST /v1/audio/speech
    openai_models,      // GET /v1/models, /v1/models/{id}: answered by us
    health,             // GET /health: answered by us
};
[[nodiscard]] std::string_view to_string(door value);
// True for the doors whose body is an OpenAI chat request.
[[nodiscard]] constexpr bool is_chat(door value)
{
    return value == door::hf_chat || value == door::openai_chat;
}
// True for the doors whose body is a task's request in the words of OpenAI's API. The door says the task;
// `inputs` and `parameters` of the request are what the words mean, its body is what was received.
[[nodiscard]] constexpr bool is_openai_task(door value)
{
    switch (value) {
    case door::hf_completions:
    case door::hf_embeddings:
    case door::openai_completions:
    case door::openai_embeddings:
    case door::openai_images:
    case door::openai_speech:
        return true;
    default:
        return false;
    }
}

// The client's binary payload, wherever it stands in the body.
struct payload
{
    enum class form : std::uint8_t {
        raw,    // the whole body is the payload
        base64, // `where` is base64 text inside a JSON string (behind a data: prefix, if there was one)
    };

    form as = form::raw;
    byte_range where;
    byte_range member;      // base64: the whole JSON value (inputs' text) that holds the string
    bool escaped = false;   // base64: JSON escapes stand inside
    std::uint64_t size = 0; // decoded bytes, exact
    std::string media_type; // `image/png`: declared or sniffed, without parameters; empty: not known
};

// A top-level member of a JSON body.
struct member_text
{
    std::string name; // unescaped
    byte_range where; // the value's text, quotes included
    std::string_view
        text; // the same as bytes; empty when the value holds a string that is too long to be looked at
    bool list = false; // the value is an array: known also of one that cannot be looked at
};

struct request
{
    dialect_id dialect = dialect_id::native;
    door at = door::native_inference;

    std::string model;               // as the client asked
    const task_info* task = nullptr; // from the path, the query or the body; policy fills it in otherwise
    std::string task_name;           // as the client said it; empty: not said

    // The body: `body_size` bytes in the source. Raw: the payload itself. JSON: members by range.
    bool raw = false;
    std::uint64_t body_size = 0;
    std::string content_type;         // as received
    std::vector<member_text> members; // JSON object bodies
    std::optional<byte_range> inputs; // the value of `inputs` (JSON bodies)
    std::optional<payload> binary;    // the payload when one was found
    std::string parameters;           // a JSON object's text; empty: none were given
    std::optional<byte_range>
        model_at; // the value of `model` in a JSON body (with its quotes), to be replaced

    // What the client can read.
    bool stream = false;
    bool accepts_json = true;
    bool accepts_binary = true;
    std::string accept; // as received

    std::string client; // the caller's name in the policy; "anonymous" without `clients:`
    std::string request_id;
    std::int64_t arrived = 0; // seconds since 1970
    std::string user_agent;
    std::vector<std::pair<std::string, std::string>> forwarded; // traceparent, baggage, ...: the allow-list
    std::optional<std::chrono::milliseconds> timeout;           // x-fourways-timeout
};

// The text of a top-level member; empty when it is absent or too long to be looked at.
[[nodiscard]] const member_text* find_member(const request& from, std::string_view name);

} // namespace gw
