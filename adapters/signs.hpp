// Signs in an answer: what its status, headers and words say about its cause. Each is a question that a row
// of classify.cpp asks; the words are those of the servers that were measured or read. Pure.
#pragma once

#include "adapters/classify.hpp"
#include "adapters/words.hpp"

#include <initializer_list>
#include <string>
#include <string_view>

namespace gw::adapters::signs {

// One answer, read: the facts, the status that it stands for, and what was said.
struct seen
{
    const facts& of;
    int status = 0;
    upstream_words said;
    std::string lower; // the message in lower case, its first 1,000 bytes
    std::string type;  // the type in lower case
    std::string code;  // the code in lower case

    [[nodiscard]] bool has(std::initializer_list<std::string_view> any) const;
    [[nodiscard]] bool begins(std::initializer_list<std::string_view> any) const;
    [[nodiscard]] bool silent() const { return said.message.empty() && !said.html; }
    [[nodiscard]] bool serverless() const { return of.kind == config::kind::serverless; }
    // A handler of the inference toolkit, which says 400 for everything.
    [[nodiscard]] bool toolkit() const
    {
        return !of.chat && (of.engine == config::engine::toolkit || of.engine == config::engine::custom);
    }
};

// Reads an answer; the status of an event is the one that its error stands for.
[[nodiscard]] seen read(const facts& of);

[[nodiscard]] bool always(const seen& s);
[[nodiscard]] bool web_page(const seen& s);
[[nodiscard]] bool serverless(const seen& s);
// The router hands on what a provider answered.
[[nodiscard]] bool by_provider(const seen& s);
// The toolkit's own messages about the client's input, which repeat that input: whatever else stands in them
// was written by the client.
[[nodiscard]] bool toolkit_echo(const seen& s);
// Not enough memory, or the accelerator is broken: said by PyTorch, ONNX Runtime and the kernel.
[[nodiscard]] bool hardware(const seen& s);
[[nodiscard]] bool toolkit_hardware(const seen& s);
[[nodiscard]] bool paused(const seen& s);
// "No provider has this model": the object and the text form, and a pair that was retired.
[[nodiscard]] bool no_provider(const seen& s);
// llama.cpp's router mode says 400 for a model that it does not have.
[[nodiscard]] bool model_unknown(const seen& s);
[[nodiscard]] bool content_type_refused(const seen& s);
[[nodiscard]] bool accept_refused(const seen& s);
// A pipeline that this version of the library does not have (transformers 5 dropped some).
[[nodiscard]] bool task_unknown(const seen& s);
[[nodiscard]] bool inference_providers(const seen& s);
[[nodiscard]] bool gated(const seen& s);
// OpenAI-like vendors say 429 for an empty account.
[[nodiscard]] bool no_quota(const seen& s);
[[nodiscard]] bool batch_size(const seen& s);
// TEI: the route belongs to another kind of model.
[[nodiscard]] bool wrong_kind_of_model(const seen& s);
// Full, by the words of SGLang, Ollama, Gradio, the old CPU back end, TGI and TEI.
[[nodiscard]] bool queue_full(const seen& s);
[[nodiscard]] bool loading(const seen& s);
[[nodiscard]] bool unhealthy(const seen& s);
// Not a word of an engine: what a proxy says when nobody is behind it.
[[nodiscard]] bool proxy_words(const seen& s);
// The platform of dedicated endpoints answers for one that is scaled to zero: 503 at once, older fleets 502.
// There is no mark of its own, so: its host, and no mark of an engine.
[[nodiscard]] bool asleep_503(const seen& s);
[[nodiscard]] bool asleep_502(const seen& s);
// SGLang answers an empty 503 while it starts; a worker without its model yet does alike.
[[nodiscard]] bool starting(const seen& s);
// llama.cpp says 500 for a body that it cannot use.
[[nodiscard]] bool client_fault_500(const seen& s);
// The same, where one model of many loads.
[[nodiscard]] bool model_loading(const seen& s);

} // namespace gw::adapters::signs
