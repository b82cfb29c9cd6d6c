// Tasks in the words of OpenAI's API: completions, embeddings, images, speech. What the words mean becomes
// the task's `inputs` and `parameters`; the task's answer is told in the words of the door. Pure; never
// throws for any input. A server that speaks the same words is asked and answers untouched, so none of this
// happens.
//   source  OpenAI's API reference; openai-python resources/embeddings.py (base64 is what it asks for)
#pragma once

#include "dialects/dialect.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace gw::dialects {

// Reads the body of such a door (`model` aside). REQUIRES is_openai_task(into.at)
//   errors   invalid_json: no object, the input absent or of another type, `encoding_format`, `size` or
//            `stream` no such thing
[[nodiscard]] result<void> take_openai_task(request& into, const body_facts& body);

//   errors   unavailable: an event stream that nobody asked for, bytes where JSON is due, or the reverse
[[nodiscard]] result<rendering>
render_openai_task(const request& asked, dialect::answer_is kind, std::string_view media_type);

// The task's answer, or a provider's own, as the door's answer.
//   errors   unavailable: it is no answer of this task; unsupported: vectors of tokens, of which OpenAI's
//            words know none
[[nodiscard]] result<std::string> openai_task_answer(const request& asked, std::string json);

// The same as events for a client that asked for them; nullopt: it is no answer of this task.
[[nodiscard]] std::optional<std::string> openai_task_events(const request& asked, std::string_view json);

} // namespace gw::dialects
