// A complete JSON answer worded as the event stream that its client asked for. Pure; never throws for any
// input.
#pragma once

#include "message/request.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace gw::dialects {

// Events in the one form that every SDK reads: a single line `data: <json>`, a blank line, no U+0085, U+2028
// or U+2029 unescaped, at the end `data: [DONE]`. By the answer's shape:
//   chat.completion    chunks: the role, then the message member by member (long strings in several pieces,
//   cut between
//                      characters), the finish reason, and the usage if the client asked for it
//   {"generated_text"} (also in a list) TGI's token events, the last with generated_text and details
//   anything else      the answer as one event
// Numbers and escapes stay as the upstream wrote them.
//   returns   nullopt when `json` is no complete JSON document
[[nodiscard]] std::optional<std::string> events_of(const request& asked, std::string_view json);

// Whether the client asked for a usage chunk (`stream_options.include_usage`).
[[nodiscard]] bool wants_usage(const request& asked);

} // namespace gw::dialects
