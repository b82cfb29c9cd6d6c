// What the Hub's JSON says of a model, as ways. Pure; never throws; no clock.
#pragma once

#include "message/failure.hpp"
#include "message/ways.hpp"

#include <string>
#include <string_view>

namespace gw::hub {

// The target of the one request that tells everything: /api/models/{model}?expand=...
// REQUIRES the grammar of Hub ids was checked; what else stands in a name is percent-encoded.
[[nodiscard]] std::string model_target(std::string_view model);

// The same of /api/spaces/{space}/runtime.
[[nodiscard]] std::string runtime_target(std::string_view space);

// The longest answer that is read. Models of thousands of files have 2 MB.
inline constexpr std::size_t longest_answer = 8U << 20U;

// An answer to model_target().
//   asked     the name asked for, kept when the answer has none
//   errors    unavailable: it is no JSON object, or one that names another model
//   source    hub-docs, inference-providers/hub-api.md; the OpenAPI page of the Hub
[[nodiscard]] result<ways> read_ways(std::string_view json, std::string_view asked);

// An answer to runtime_target(): its `stage` (RUNNING, SLEEPING, ...); empty: it says none.
[[nodiscard]] std::string read_stage(std::string_view json);

} // namespace gw::hub
