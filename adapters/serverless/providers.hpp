// The providers behind the router: where each has its routes below https://router.huggingface.co/{provider}/,
// and how it deviates. Constant data.
//   source  huggingface_hub inference/_providers, huggingface.js packages/inference/src/providers
#pragma once

#include "adapters/openai_routes.hpp"

#include <string_view>

namespace gw::adapters::serverless {

struct provider
{
    std::string_view name;
    openai_routes routes; // without a slash in front
    openai_habits habits;
    std::string_view fields; // further `name: value\r\n` lines
    bool queued = false;     // tasks are put into a queue of its own, and their results fetched from there
};

// nullptr: nothing is known of it.
[[nodiscard]] const provider* find_provider(std::string_view name);

} // namespace gw::adapters::serverless
