// Hugging Face's inference toolkit (the default container of dedicated endpoints) and workers that speak its
// contract. It looks Content-Type and Accept up as exact strings, and Accept only after the model has run;
// so each is one value from its table. Parameters of raw bodies stand in the query.
#include "adapters/engines.hpp"
#include "adapters/one_shot.hpp"
#include "payload/media_type.hpp"
#include "payload/tasks.hpp"

#include <algorithm>
#include <array>

namespace gw::adapters::dedicated {
namespace {

// Its table of Content-Types for payloads, in the spelling that canonical() gives.
constexpr std::array<std::string_view, 19> payload_types{
    "image/png",     "image/jpeg", "image/tiff", "image/bmp",  "image/gif",    "image/webp",  "image/x-image",
    "audio/x-flac",  "audio/flac", "audio/mpeg", "audio/wave", "audio/wav",    "audio/x-wav", "audio/ogg",
    "audio/x-audio", "audio/webm", "audio/m4a",  "audio/amr",  "audio/AMR-WB",
};

std::string spelling(std::string_view media_type)
{
    return std::ranges::find(payload_types, media_type) != payload_types.end() ? std::string(media_type)
                                                                               : std::string{};
}

constexpr task_style style{
    .spelling = spelling,
    .query_parameters = true,
    .audio_needs_parameters = true,
    .takes_data_urls = true,
};

// Image formats that it can write, by their names in Accept.
constexpr std::array<std::string_view, 3> image_types{"image/png", "image/jpeg", "image/webp"};

std::string accept_for(const request& asked, const task_info* task)
{
    if (task == nullptr || !task->binary_output() || task->output != modality::image ||
        !asked.accepts_binary) {
        return "application/json";
    }
    const std::string wanted = payloads::parse_accept(asked.accept, modality::image).media_type;
    return std::ranges::find(image_types, wanted) != image_types.end() ? wanted : "image/png";
}

class toolkit_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        if (wants_chat(asked, to)) {
            return refuse(
                code::unsupported,
                "Upstream " + to.to->name +
                    " (engine toolkit) has no chat route. Servers that have one (vLLM, SGLang, llama.cpp) "
                    "are `engine: openai`."
            );
        }
        auto body = encode_task(asked, to, style);
        if (!body) {
            return fail(body);
        }
        std::string path = path_of(*to.to, "");
        if (!body->query.empty()) {
            path += "?" + body->query;
        }
        const bool bytes = to.task != nullptr && to.task->binary_output();
        return prepared{
            .as = body->as,
            .what =
                {
                    .path = std::move(path),
                    .content_type = std::move(body->content_type),
                    .accept = accept_for(asked, to.task),
                    .body = std::move(body->body),
                    .expects_stream = asked.stream,
                },
            .answer =
                {
                    .wanted = to.task == nullptr ? expects::anything
                              : bytes            ? expects::bytes
                                                 : expects::json,
                    .stream = asked.stream,
                    .task = to.task,
                },
        };
    }
};

} // namespace

const adapter& toolkit()
{
    static const toolkit_adapter only;
    return only;
}

} // namespace gw::adapters::dedicated
