// The adapters there are, one per way of asking. Stateless singletons; registry.cpp says which upstream has
// which.
#pragma once

#include "adapters/adapter.hpp"

namespace gw::adapters {

namespace serverless {
// The Inference Providers router: hf-inference for tasks, /v1/chat/completions for chats.
[[nodiscard]] const adapter& router();
} // namespace serverless

// What runs in a container or a process: the same on a dedicated endpoint and here.
namespace dedicated {
// Hugging Face's inference toolkit, the default container, and workers that speak its contract.
[[nodiscard]] const adapter& toolkit();
// Text Generation Inference: its own routes and its chats.
[[nodiscard]] const adapter& tgi();
// Text Embeddings Inference: embeddings, comparisons, classes, rankings.
[[nodiscard]] const adapter& tei();
// The operator's own body and answer.
[[nodiscard]] const adapter& custom();
// vLLM, SGLang, llama.cpp and everything that speaks OpenAI's chat.
[[nodiscard]] const adapter& openai();
} // namespace dedicated

} // namespace gw::adapters
