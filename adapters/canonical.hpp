// Puts the JSON answers of all upstreams into the one form of their task (payload/tasks.hpp answer_shape):
// serverless, the toolkit's pipelines, TGI, TEI and OpenAI-like servers say the same thing differently. What
// is taken over travels as the bytes it was; members that are not known are kept. Pure; a form that is not
// recognised goes on as it came.
#pragma once

#include "message/body.hpp"
#include "payload/tasks.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace gw::adapters {

// Whether answers of this task are met in several forms, so that they have to be read whole. False: the
// canonical form is the only one, and the bytes go on as they arrive.
[[nodiscard]] bool has_forms(const task_info& task);

// The canonical answer, as ranges of `document` and text between them.
//   where   the value that is the answer, inside `document`
[[nodiscard]] body_plan canonical(std::string_view document, byte_range where, const task_info& task);

// A WAV file of what text-to-speech pipelines answer in JSON: {"audio":[[samples]],"sampling_rate":N}, one
// list per channel (or one list alone), numbers from -1 to 1; 16 bits a sample.
//   returns  nullopt: it is no such answer
[[nodiscard]] std::optional<std::string> wav_of(std::string_view json);

} // namespace gw::adapters
