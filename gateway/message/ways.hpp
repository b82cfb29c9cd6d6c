// What Hugging Face's Hub says of a model: which ways to run it there are, and why. hub/ reads it, policy/
// chooses by it, adapters take from it what a model is called at a provider.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gw {

// How an inference provider stands to a model. staging: it answers, and may change without notice.
enum class provider_state : std::uint8_t { live, staging, error };
[[nodiscard]] std::string_view to_string(provider_state value);

// One Inference Provider of a model.
struct provider_way
{
    std::string provider; // `hf-inference`, `groq`
    provider_state state = provider_state::live;
    std::string task; // in the words of the Hub: `conversational`, `image-classification`
    std::string id;   // what the model is called there (providerId)
    [[nodiscard]] bool usable() const { return state != provider_state::error; }
};

// One engine with which an Inference Endpoint for a model can be made.
struct engine_way
{
    std::string engine; // in the words of a policy: `toolkit`, `tgi`, `tei`, `openai`
    std::string why;
};

struct yes_or_no
{
    bool yes = false;
    std::string why; // also of a no
};

struct ways
{
    std::string model;                   // the Hub's own spelling
    std::string task;                    // a Hugging Face task; empty: it is not said
    std::string task_why;                // where that stands, or that it stands nowhere
    std::vector<provider_way> providers; // in the Hub's order
    std::vector<engine_way> engines;     // the fittest first
    std::vector<std::string> spaces;     // ids of Spaces that cite it; those that run are another question
    yes_or_no transformers;
    yes_or_no transformers_js;
    yes_or_no llama_cpp;
    yes_or_no tei;
    std::string gated;     // empty: open; `auto` or `manual`: how access is granted
    bool disabled = false; // by the Hub
    bool own_code = false; // needs trust_remote_code

    [[nodiscard]] const provider_way* find(std::string_view provider) const;
};

// Which ways there are, in half a line: `Inference Providers (groq, together), Transformers, llama.cpp`.
[[nodiscard]] std::string in_words(const ways& of);

// How a look-up ended. `away`: the Hub was not asked or did not answer, so nothing is known.
enum class hub_says : std::uint8_t { found, unknown, gated, disabled, away };
[[nodiscard]] std::string_view to_string(hub_says value);

struct hub_answer
{
    hub_says what = hub_says::away;
    std::shared_ptr<const ways> of; // found and disabled only
    std::string text;               // of the others: what is wrong and what to do, for whoever asked
};

} // namespace gw
