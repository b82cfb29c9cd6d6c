// Canonical answers in the shape that one of Hugging Face's clients, in its version, accepts: their
// validators disagree with each other and with the tasks' specifications. Numbers and texts stay as the bytes
// they were. Pure; never throws for any input.
//   source  huggingface_hub inference/_client.py, huggingface.js
//   packages/inference/src/providers/hf-inference.ts
#pragma once

#include "message/request.hpp"

#include <string>

namespace gw::dialects {

// Whether this client wants the answers of this task in another shape: then they are read whole.
[[nodiscard]] bool rewords(const request& asked);

// The answer in that client's shape; what is not recognised stays as it is.
[[nodiscard]] std::string reworded(const request& asked, std::string json);

} // namespace gw::dialects
