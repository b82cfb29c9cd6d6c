#include "message/ways.hpp"

#include <algorithm>

namespace gw {

std::string_view to_string(provider_state value)
{
    switch (value) {
    case provider_state::live:
        return "live";
    case provider_state::staging:
        return "staging";
    case provider_state::error:
        return "error";
    }
    return "error";
}

std::string_view to_string(hub_says value)
{
    switch (value) {
    case hub_says::found:
        return "found";
    case hub_says::unknown:
        return "unknown";
    case hub_says::gated:
        return "gated";
    case hub_says::disabled:
        return "disabled";
    case hub_says::away:
        return "away";
    }
    return "away";
}

const provider_way* ways::find(std::string_view provider) const
{
    const auto found = std::ranges::find(providers, provider, &provider_way::provider);
    return found != providers.end() ? &*found : nullptr;
}

std::string in_words(const ways& of)
{
    std::string all;
    const auto add = [&all](std::string_view name) {
        all += all.empty() ? "" : ", ";
        all += name;
    };
    std::string inside;
    const auto one = [&inside](std::string_view name) {
        inside += inside.empty() ? "" : ", ";
        inside += name;
    };

    for (const auto& each : of.providers) {
        if (each.usable()) {
            one(each.provider);
        }
    }
    if (!inside.empty()) {
        add("Inference Providers (" + inside + ")");
    }
    inside.clear();
    for (const auto& each : of.engines) {
        one(each.engine);
    }
    if (!inside.empty()) {
        add("Inference Endpoints (" + inside + ")");
    }
    if (!of.spaces.empty()) {
        add("Spaces (" + std::to_string(of.spaces.size()) + ")");
    }
    if (of.transformers.yes) {
        add("Transformers");
    }
    if (of.transformers_js.yes) {
        add("Transformers.js");
    }
    if (of.llama_cpp.yes) {
        add("llama.cpp");
    }
    if (of.tei.yes) {
        add("Text Embeddings Inference");
    }
    return all.empty() ? "none" : all;
}

} // namespace gw
