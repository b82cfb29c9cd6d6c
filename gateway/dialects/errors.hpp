// What all dialects share when they word a failure: the status, the sentence, and pieces of JSON. Pure.
#pragma once

#include "message/failure.hpp"

#include <string>
#include <string_view>

namespace gw::dialects {

// Whether this dialect may say 503. Only OpenAI's SDKs pause before they repeat one; @huggingface/inference
// repeats it for ever without a pause.
enum class says_503 : bool { never, when_overloaded };

// The HTTP status of a failure: its own if that is an error status, else its code's. A 503 that may not be
// said becomes 429 when waiting helps (a Retry-After is known, or we are full), else 502.
[[nodiscard]] int client_status(const failure& what, says_503 may);

// failure.text, else a sentence of the code's own: the cause and the way out. Never failure.detail.
[[nodiscard]] std::string_view message_of(const failure& what);

// `{"error":{"message","type","param","code"}}`, the shape of OpenAI's API.
[[nodiscard]] std::string openai_error(const failure& what);

// The failure of an answer that had to be worded as events and is no complete JSON.
[[nodiscard]] failure cut_answer();

// `data: <json>`, a blank line behind it. REQUIRES json is one line without U+0085, U+2028 and U+2029.
[[nodiscard]] std::string one_event(std::string_view json);

} // namespace gw::dialects
