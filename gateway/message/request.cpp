#include "message/request.hpp"

namespace gw {

std::string_view to_string(dialect_id value)
{
    switch (value) {
    case dialect_id::native:
        return "native";
    case dialect_id::huggingface:
        return "huggingface";
    case dialect_id::openai:
        return "openai";
    }
    return "native";
}

std::string_view to_string(door value)
{
    switch (value) {
    case door::native_inference:
        return "native_inference";
    case door::hf_task:
        return "hf_task";
    case door::hf_chat:
        return "hf_chat";
    case door::hf_completions:
        return "hf_completions";
    case door::hf_embeddings:
        return "hf_embeddings";
    case door::openai_chat:
        return "openai_chat";
    case door::openai_completions:
        return "openai_completions";
    case door::openai_embeddings:
        return "openai_embeddings";
    case door::openai_images:
        return "openai_images";
    case door::openai_speech:
        return "openai_speech";
    case door::openai_models:
        return "openai_models";
    case door::health:
        return "health";
    }
    return "native_inference";
}

const member_text* find_member(const request& from, std::string_view name)
{
    for (const auto& each : from.members) {
        if (each.name == name) {
            return &each;
        }
    }
    return nullptr;
}

} // namespace gw
