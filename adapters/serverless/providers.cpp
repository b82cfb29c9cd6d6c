#include "adapters/serverless/providers.hpp"

#include <algorithm>
#include <array>

namespace gw::adapters::serverless {
namespace {

constexpr std::string_view plain_chat = "v1/chat/completions";
constexpr openai_habits object_schemas{.schema = schema_form::json_object};

// Those that only older clients name (clarifai, hyperbolic, nebius, sambanova) are still asked as those did.
constexpr std::array table{
    provider{.name = "baseten", .routes = {.chat = plain_chat}},
    provider{.name = "cerebras", .routes = {.chat = plain_chat}},
    provider{.name = "clarifai", .routes = {.chat = "v2/ext/openai/v1/chat/completions"}},
    provider{
        .name = "cohere",
        .routes = {.chat = "compatibility/v1/chat/completions"},
        .habits = object_schemas,
    },
    provider{
        .name = "deepinfra",
        .routes =
            {.chat = "v1/openai/chat/completions",
             .completions = "v1/openai/completions",
             .embeddings = "v1/openai/embeddings",
             .speech = "v1/openai/audio/speech",
             .transcriptions = "v1/openai/audio/transcriptions"},
    },
    provider{.name = "fal-ai", .queued = true},
    provider{
        .name = "featherless-ai",
        .routes = {.chat = plain_chat, .completions = "v1/completions"},
    },
    provider{
        .name = "fireworks-ai",
        .routes = {.chat = "inference/v1/chat/completions"},
        .habits = object_schemas,
    },
    provider{.name = "groq", .routes = {.chat = "openai/v1/chat/completions"}},
    provider{.name = "hyperbolic", .routes = {.chat = plain_chat}},
    provider{
        .name = "nebius",
        .routes =
            {.chat = plain_chat,
             .completions = "v1/completions",
             .embeddings = "v1/embeddings",
             .images = "v1/images/generations"},
        .habits = {.image_sizes = false, .image_steps = "num_inference_steps"},
    },
    provider{
        .name = "novita",
        .routes = {.chat = "v3/openai/chat/completions", .completions = "v3/openai/completions"},
    },
    provider{
        .name = "nscale",
        .routes = {.chat = plain_chat, .images = "v1/images/generations"},
    },
    provider{
        .name = "ovhcloud",
        .routes = {.chat = plain_chat, .completions = "v1/completions"},
    },
    provider{.name = "publicai", .routes = {.chat = plain_chat}},
    provider{.name = "replicate", .queued = true},
    provider{
        .name = "sambanova",
        .routes = {.chat = plain_chat, .embeddings = "v1/embeddings"},
    },
    provider{
        .name = "scaleway",
        .routes = {.chat = plain_chat, .completions = "v1/completions", .embeddings = "v1/embeddings"},
    },
    provider{
        .name = "together",
        .routes =
            {.chat = plain_chat,
             .completions = "v1/completions",
             .embeddings = "v1/embeddings",
             .images = "v1/images/generations",
             .speech = "v1/audio/speech",
             .transcriptions = "v1/audio/transcriptions"},
        .habits =
            {.schema = schema_form::bare_schema,
             .image_format = "base64",
             .image_sizes = false,
             .image_steps = "steps"},
    },
    provider{.name = "wavespeed", .queued = true},
    provider{
        .name = "zai-org",
        .routes = {.chat = "api/paas/v4/chat/completions"},
        .fields = "x-source-channel: hugging_face\r\nAccept-Language: en-US,en\r\n",
    },
};
static_assert(std::ranges::is_sorted(table, {}, &provider::name));

} // namespace

const provider* find_provider(std::string_view name)
{
    const auto found = std::ranges::lower_bound(table, name, {}, &provider::name);
    return found != table.end() && found->name == name ? &*found : nullptr;
}

} // namespace gw::adapters::serverless
