// How a request's body is laid out for an upstream: as it came where that shape is the upstream's too, else
// the payload re-encoded by ranges. Shared by every kind of upstream; what differs between them is a
// task_style. Pure.
#pragma once

#include "adapters/adapter.hpp"
#include "payload/tasks.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace gw::adapters {

// A laid-out body, not yet addressed.
struct encoded
{
    encoding as = encoding::pass_through;
    std::string content_type;
    std::string query; // without `?`; empty: none
    body_plan body;
};

// What a door for tasks (`{"inputs","parameters"}`, or a payload as the whole body) takes.
struct task_style
{
    // The Content-Type under which a raw payload of this media type is taken; "": it is not.
    std::string (*spelling)(std::string_view media_type) = nullptr;
    bool takes_untyped = false;    // a raw payload without a Content-Type
    bool query_parameters = false; // a raw payload with parameters in the query, by preference
    bool audio_needs_parameters =
        false;                    // base64 audio counts only with `parameters`, and without a data: prefix
    bool takes_data_urls = false; // base64 images may keep their data: prefix
    bool takes_root_question = false; // `question` may stand beside `inputs`
    bool takes_root_table = false;    // a table may be the whole body
    // Where parameters of tasks without a payload stand: under `parameters`; at the root for the tasks that
    // have them there (feature-extraction); at the root always.
    enum class parameters : std::uint8_t { beside, by_task, root };
    parameters at = parameters::beside;
};

// A task's request.
//   errors   wrong_modality (bytes for a task that takes text or JSON)
//            unknown_task   (something would have to be translated, and the task is not known)
[[nodiscard]] result<encoded> encode_task(const request& asked, const target& to, const task_style& style);

// How a server wants to be told of a JSON schema in `response_format`.
enum class schema_form : std::uint8_t {
    openai,      // {"type":"json_schema","json_schema":{"name","schema"}}
    tgi,         // {"type":"json_object","value":schema}: what huggingface_hub sends to any URL
    json_object, // {"type":"json_object","schema":schema}
    bare_schema, // {"type":"json_schema","schema":schema}
};

// A chat request: the body with the upstream's name of the model, everything else untouched but a
// response_format in another form. Also makes a chat of `inputs` (text, or a list of messages).
//   errors   wrong_modality (no JSON, or neither `messages` nor `inputs` that can be made into them)
[[nodiscard]] result<encoded>
encode_chat(const request& asked, std::string_view model, schema_form form = schema_form::openai);

// The body of a task without a payload, rearranged where the upstream wants its parts elsewhere; nullopt: it
// may go as it came.
[[nodiscard]] std::optional<body_plan>
rearranged(const request& asked, const task_info& task, const task_style& style);

// A task that was asked in OpenAI's words, in the task's own. REQUIRES is_openai_task(asked.at)
//   errors   wrong_modality: token numbers, which are those of one model's own tokenizer
[[nodiscard]] result<encoded> in_task_words(const request& asked, const target& to, const task_style& style);

// What text-ranking compares, as JSON: of {"query","texts"}, or of pairs that share their first text.
struct comparison
{
    std::string query;
    std::string texts;
};
//   errors   wrong_modality: neither
[[nodiscard]] result<comparison> comparison_of(const request& asked);

// The body with the value of `model` replaced where it differs.
[[nodiscard]] body_plan with_model(const request& asked, std::string_view model);

// The same for servers that want to be told a model: also put in where the body names none.
[[nodiscard]] body_plan naming_model(const request& asked, std::string_view model);

// True when the request is an OpenAI chat: by its door, or by its task.
[[nodiscard]] bool wants_chat(const request& asked, const target& to);

// Parameters as a query: flags, whole numbers and words, which alone keep their type there.
//   returns  nullopt when one would not: fractions, negative numbers, null, lists, objects, and text that
//            reads like a number or a flag
[[nodiscard]] std::optional<std::string> query_of(std::string_view parameters);

// The payload as base64 JSON text between quotes: our quotes, its characters. REQUIRES asked.binary
void append_base64(body_plan& to, const request& asked, std::string prefix = {});

// The payload's bytes, whole. REQUIRES asked.binary
[[nodiscard]] body_plan binary_body(const request& asked);

// Text that follows text of ours becomes one piece.
void append_text(body_plan& to, std::string text);

// The path of an upstream: its base path, then `route` unless the policy names another. "" becomes "/".
[[nodiscard]] std::string path_of(const config::upstream& to, std::string_view route);

// The path of one of OpenAI's routes, as in `/chat/completions`: base URLs that end in /v1 or in the whole
// route are common.
[[nodiscard]] std::string openai_path(const config::upstream& to, std::string_view route);

} // namespace gw::adapters
