#include "adapters/openai_routes.hpp"

#include "wire/json_walk.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <utility>
#include <vector>

namespace gw::adapters {
namespace {

using wire::json_string;
using wire::member_view;
using wire::members_of;

struct named
{
    std::string name;
    std::string value; // JSON
};

// What the client gave beside the input: `parameters`, and the root where the task has them there.
std::vector<named> parameters_of(const request& asked, const task_info& task)
{
    std::vector<named> found;
    const auto add = [&](std::string_view name, std::string_view value) {
        const bool again = std::ranges::find(found, name, &named::name) != found.end();
        if (value != "null" && !value.empty() && !again) {
            found.push_back({std::string(name), std::string(value)});
        }
    };
    for (const member_view& each : members_of(asked.parameters).value_or(std::vector<member_view>{})) {
        add(each.key, each.value);
    }
    static constexpr std::array<std::string_view, 6> others{
        "model", "task", "inputs", "parameters", "stream", "options"
    };
    for (const member_text& each : asked.members) {
        if (task.root_parameters && std::ranges::find(others, each.name) == others.end()) {
            add(each.name, each.text);
        }
    }
    return found;
}

std::string take(std::vector<named>& from, std::string_view name)
{
    const auto found = std::ranges::find(from, name, &named::name);
    if (found == from.end()) {
        return {};
    }
    std::string value = std::move(found->value);
    from.erase(found);
    return value;
}

void rename(std::vector<named>& in, std::string_view from, std::string_view to)
{
    const auto found = std::ranges::find(in, from, &named::name);
    if (found != in.end()) {
        found->name = to;
    }
}

// Hugging Face's names of parameters in OpenAI's words; what has none goes on as it is.
void translate_generation(std::vector<named>& of)
{
    rename(of, "max_new_tokens", "max_tokens");
    rename(of, "max_length", "max_tokens");
    rename(of, "num_return_sequences", "n");
    rename(of, "stop_sequences", "stop");
    if (take(of, "return_full_text") == "true") {
        of.push_back({"echo", "true"});
    }
    take(of, "details"); // says how the answer looks there
    take(of, "decoder_input_details");
}

void translate_image(std::vector<named>& of, const openai_habits& habits)
{
    of.push_back({"response_format", json_string(habits.image_format)});
    if (habits.image_sizes) {
        const std::string width = take(of, "width");
        const std::string height = take(of, "height");
        if (!width.empty() && !height.empty()) {
            of.push_back({"size", json_string(width + "x" + height)});
        }
    }
    if (habits.image_steps.empty()) {
        take(of, "num_inference_steps");
        take(of, "guidance_scale");
    } else {
        rename(of, "num_inference_steps", habits.image_steps);
    }
}

// {"model":...,"<key>":inputs,parameters}
result<body_plan> json_body(
    const request& asked, std::string_view model, std::string_view key, const std::vector<named>& parameters
)
{
    const member_text* inputs = find_member(asked, "inputs");
    if (asked.raw || inputs == nullptr) {
        return refuse(
            code::wrong_modality,
            "This task takes text: send {\"inputs\":\"...\"} with Content-Type: application/json."
        );
    }
    body_plan body;
    append_text(body, R"({"model":)" + json_string(model) + "," + json_string(key) + ":");
    if (inputs->text.empty()) { // too long to be held
        body.pieces.push_back(piece::copy(inputs->where));
    } else {
        append_text(body, std::string(inputs->text));
    }
    std::string rest;
    for (const named& each : parameters) {
        rest += "," + json_string(each.name) + ":" + each.value;
    }
    append_text(body, rest + "}");
    return body;
}

// {"model","query","documents",parameters}
result<body_plan> ranking_body(const request& asked, std::string_view model, std::vector<named> parameters)
{
    const auto given = comparison_of(asked);
    if (!given) {
        return std::unexpected(given.error());
    }
    rename(parameters, "top_k", "top_n");
    std::string text = R"({"model":)" + json_string(model) + R"(,"query":)" + given->query +
                       R"(,"documents":)" + given->texts;
    for (const named& each : parameters) {
        text += "," + json_string(each.name) + ":" + each.value;
    }
    body_plan body;
    append_text(body, text + "}");
    return body;
}

// What separates the parts of a form. A payload that held it could add parts of its own, so nobody can guess
// it.
const std::string& boundary()
{
    static const std::string made = [] {
        std::random_device source;
        std::string text = "fourways-";
        for (int i = 0; i < 32; ++i) {
            text += "0123456789abcdef"[source() % 16];
        }
        return text;
    }();
    return made;
}

std::string part(std::string_view name, std::string_view more = {})
{
    return "--" + boundary() + "\r\nContent-Disposition: form-data; name=\"" + std::string(name) + "\"" +
           std::string(more) + "\r\n\r\n";
}

// Names that cannot break out of a part's head.
bool plain_name(std::string_view name)
{
    return !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '[' || c == ']';
    });
}

// By its ending some servers choose how to read a file.
std::string file_name(std::string_view media_type)
{
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> endings{{
        {"audio/mpeg", "mp3"},
        {"audio/m4a", "m4a"},
        {"audio/x-wav", "wav"},
        {"audio/wave", "wav"},
        {"audio/x-flac", "flac"},
    }};
    const auto known = std::ranges::find(endings, media_type, [](const auto& each) { return each.first; });
    if (known != endings.end()) {
        return "audio." + std::string(known->second);
    }
    std::string_view ending = media_type.substr(std::min(media_type.find('/') + 1, media_type.size()));
    return "audio." + std::string(plain_name(ending) ? ending : "bin");
}

// The sound as a file of a form, the parameters as its other parts.
result<body_plan> form_body(const request& asked, std::string_view model, std::vector<named> parameters)
{
    if (!asked.binary) {
        return refuse(
            code::wrong_modality, "This task takes sound: send a file's bytes, or {\"inputs\":\"<base64>\"}."
        );
    }
    if (take(parameters, "return_timestamps") != "") {
        parameters.push_back({"response_format", "\"verbose_json\""});
    }
    body_plan body;
    append_text(body, part("model") + std::string(model) + "\r\n");
    for (const named& each : parameters) {
        if (plain_name(each.name)) {
            append_text(body, part(each.name) + wire::string_of(each.value).value_or(each.value) + "\r\n");
        }
    }
    const std::string& type = asked.binary->media_type;
    append_text(
        body,
        part(
            "file",
            "; filename=\"" + file_name(type) +
                "\"\r\nContent-Type: " + (type.empty() ? "application/octet-stream" : type)
        )
    );
    for (piece& each : binary_body(asked).pieces) {
        body.pieces.push_back(std::move(each));
    }
    append_text(body, "\r\n--" + boundary() + "--\r\n");
    return body;
}

// A part's value must not be able to end the part, nor a media type its line.
bool fits_a_form(const request& asked, std::string_view model)
{
    const auto clean = [](std::string_view text) {
        return text.find_first_of("\r\n") == std::string_view::npos;
    };
    return clean(model) && (!asked.binary || clean(asked.binary->media_type));
}

} // namespace

std::string_view route_for(const openai_routes& of, const request& asked, const target& to)
{
    if (wants_chat(asked, to)) {
        return of.chat;
    }
    const std::string_view task = to.task == nullptr ? std::string_view{} : to.task->name;
    return task == "text-generation"                             ? of.completions
           : task == "feature-extraction"                        ? of.embeddings
           : task == "text-to-image"                             ? of.images
           : task == "text-to-speech" || task == "text-to-audio" ? of.speech
           : task == "automatic-speech-recognition"              ? of.transcriptions
           : task == "text-ranking"                              ? of.rerank
                                                                 : std::string_view{};
}

prepared prepare_as_asked(const request& asked, const target& to, std::string_view model)
{
    body_plan body = naming_model(asked, model);
    const bool untouched = body.pass_through();
    const bool bytes = to.task != nullptr && to.task->output == modality::audio;
    return {
        .as = untouched ? encoding::pass_through : encoding::json,
        .what =
            {
                .content_type = "application/json",
                .accept = bytes          ? ""
                          : asked.stream ? "text/event-stream"
                                         : "application/json",
                .body = std::move(body),
                .expects_stream = asked.stream,
            },
        .answer =
            {
                .wanted = bytes ? expects::bytes : expects::json,
                .chat = true,
                .as_asked = true,
                .stream = asked.stream,
            },
    };
}

result<prepared> prepare_openai_task(
    const request& asked, const target& to, std::string_view model, const openai_habits& habits
)
{
    const task_info& task = *to.task;
    std::vector<named> parameters = parameters_of(asked, task);
    result<body_plan> body;
    if (task.input == modality::audio) {
        body = fits_a_form(asked, model) ? form_body(asked, model, std::move(parameters))
                                         : refuse(code::wrong_modality, "The media type is none.");
    } else if (task.shape == answer_shape::ranking) {
        body = ranking_body(asked, model, std::move(parameters));
    } else if (task.output == modality::image) {
        translate_image(parameters, habits);
        body = json_body(asked, model, "prompt", parameters);
    } else if (task.name == "text-generation") {
        translate_generation(parameters);
        if (asked.stream) {
            parameters.push_back({"stream", "true"});
        }
        body = json_body(asked, model, "prompt", parameters);
    } else {
        body = json_body(asked, model, "input", parameters);
    }
    if (!body) {
        return fail(body);
    }
    const bool form = task.input == modality::audio;
    const bool tokens = asked.stream && task.name == "text-generation";
    return prepared{
        .as = form ? encoding::binary : encoding::json,
        .what =
            {
                .content_type = form ? "multipart/form-data; boundary=" + boundary() : "application/json",
                .accept = task.output == modality::audio ? ""
                          : tokens                       ? "text/event-stream"
                                                         : "application/json",
                .body = std::move(*body),
                .expects_stream = tokens,
            },
        .answer =
            {
                .wanted = task.binary_output() ? expects::bytes : expects::json,
                .chat = tokens,
                .stream = asked.stream,
                .task = to.task,
                .translated = true,
                .as_tokens = tokens,
            },
    };
}

} // namespace gw::adapters
