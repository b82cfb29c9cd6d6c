// The names of inference providers as the router knows them. Constant data.
//   source  huggingface_hub inference/_providers, huggingface.js packages/inference/src/providers
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace gw::config {

// In ascending order; those that only older clients still name included.
inline constexpr auto provider_names = std::to_array<std::string_view>({
    "baseten",      "black-forest-labs",
    "cerebras",     "clarifai",
    "cohere",       "deepinfra",
    "fal-ai",       "featherless-ai",
    "fireworks-ai", "groq",
    "hf-inference", "hyperbolic",
    "nebius",       "novita",
    "nscale",       "openai",
    "ovhcloud",     "publicai",
    "replicate",    "sambanova",
    "scaleway",     "together",
    "wavespeed",    "zai-org",
});
static_assert(std::ranges::is_sorted(provider_names));

[[nodiscard]] inline bool is_provider_name(std::string_view name)
{
    return std::ranges::binary_search(provider_names, name);
}

} // namespace gw::config
