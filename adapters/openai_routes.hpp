// Tasks asked on the routes of OpenAI's API: text generation, embeddings, images, speech, transcriptions.
// Their bodies and answers never have the task's form, so both are translated, unless the client's door
// speaks OpenAI's words too: then they pass as they came. Shared by the engines that have such routes and by
// the providers of the router that speak it. Pure.
#pragma once

#include "adapters/one_shot.hpp"

#include <string>
#include <string_view>

namespace gw::adapters {

// Where a server has these routes; "": it has not.
struct openai_routes
{
    std::string_view chat;
    std::string_view completions;
    std::string_view embeddings;
    std::string_view images;
    std::string_view speech;
    std::string_view transcriptions;
    std::string_view rerank; // not OpenAI's, but common among servers that speak its API
};

// The route of a task, chats included; "": none, or the task is not known.
[[nodiscard]] std::string_view route_for(const openai_routes& of, const request& asked, const target& to);

// How a server deviates.
struct openai_habits
{
    schema_form schema = schema_form::openai;
    std::string_view image_format = "b64_json"; // what `response_format` calls base64
    bool image_sizes = true;                    // "size":"WxH"; false: width and height
    std::string_view image_steps;               // its name of num_inference_steps; "": not taken
};

// A request in OpenAI's words for a server that speaks them: the body with the name of the model there, the
// answer as it comes. REQUIRES is_openai_task(asked.at); the path is the caller's to set.
[[nodiscard]] prepared prepare_as_asked(const request& asked, const target& to, std::string_view model);

// The request of a task but for its path, which is the caller's to set. REQUIRES route_for() found one, and
// the task is no chat.
//   model    the name there
//   errors   wrong_modality: bytes where text belongs, or the reverse
[[nodiscard]] result<prepared> prepare_openai_task(
    const request& asked, const target& to, std::string_view model, const openai_habits& habits = {}
);

} // namespace gw::adapters
