// What follows from the task: which payload the body holds, whether it is of the right kind, what the client
// accepts.
#include "dialects/reading.hpp"

#include "payload/find_payload.hpp"
#include "payload/media_type.hpp"
#include "payload/tasks.hpp"

#include <utility>

namespace gw::dialects {
namespace {

std::string article_for(modality kind)
{
    const std::string_view name = to_string(kind);
    return (name == "image" || name == "audio" ? "an " : "a ") + std::string(name);
}

std::string json_form(const task_info& task)
{
    std::string form = R"({"inputs":)";
    if (task.raw_payload || task.payload_key.empty()) {
        form += task.binary_input() ? R"("<base64>")" : "...";
    } else {
        form += R"({")" + std::string(task.payload_key) + R"(":"<base64>")";
        if (!task.text_key.empty()) {
            form += R"(,")" + std::string(task.text_key) + R"(":"...")";
        }
        form += '}';
    }
    form += R"(,"parameters":{}})";
    return form;
}

// What the client reads when a task's output is `output`. When that is not known to be bytes, but bytes come
// all the same, bytes of any kind that the client named count.
payloads::acceptance acceptance_of(std::string_view accept, modality output)
{
    auto accepts = payloads::parse_accept(accept, output);
    if (is_binary(output) || !accepts.json) {
        return accepts;
    }
    accepts.binary = false;
    accepts.prefers_json = true;
    for (const auto kind : {modality::image, modality::audio, modality::video}) {
        const auto of_kind = payloads::parse_accept(accept, kind);
        accepts.binary = accepts.binary || of_kind.binary;
        accepts.prefers_json = accepts.prefers_json && (of_kind.prefers_json || !of_kind.binary);
    }
    return accepts;
}

// Whether these raw bytes may be this task's input.
result<void> check_raw(const request& asked, const task_info& task, std::string_view first_bytes)
{
    const std::string of_task = "The task " + shown(task.name);
    if (!task.binary_input() && task.input != modality::any) {
        if (payloads::looks_like_json(first_bytes)) {
            return refuse(
                code::invalid_json,
                of_task + " takes JSON, and the body is not valid JSON. Send it as " + json_form(task) + '.'
            );
        }
        return refuse(
            code::wrong_modality,
            of_task + " takes " + std::string(to_string(task.input)) + ", not raw bytes. Send " +
                json_form(task) + " with Content-Type: application/json."
        );
    }
    if (task.binary_input() && !task.raw_payload && asked.parameters.empty()) {
        return refuse(
            code::wrong_modality,
            of_task + " needs more than the raw bytes. Add the rest to the query, or send JSON: " +
                json_form(task) + '.'
        );
    }
    const std::string& media_type = asked.binary->media_type;
    const modality found = payloads::modality_of(media_type);
    if (task.binary_input() && found != modality::any && found != task.input) {
        return refuse(
            code::wrong_modality,
            of_task + " takes " + article_for(task.input) + ", and the body is " + media_type +
                ". Send the right file, or correct the Content-Type."
        );
    }
    return {};
}

// Whether a payload that stands in JSON may be this task's input.
result<void> check_found(const request& asked, const task_info& task)
{
    const std::string& media_type = asked.binary->media_type;
    const modality found = payloads::modality_of(media_type);
    if (task.binary_input() && is_binary(found) && found != task.input) {
        return refuse_field(
            code::wrong_modality,
            "inputs",
            "The task " + shown(task.name) + " takes " + article_for(task.input) + ", and `inputs` holds " +
                media_type + ". Send the right file, or correct its media type."
        );
    }
    return {};
}

} // namespace

result<void> take_raw(request& into, const body_facts& body)
{
    if (body.size == 0) {
        return refuse(
            code::invalid_json,
            R"(The body is empty. Send JSON such as {"inputs":"..."}, or the raw bytes of the image or audio file.)"
        );
    }
    into.raw = true;
    into.body_size = body.size;
    into.binary =
        payload{.as = payload::form::raw, .where = {.begin = 0, .end = body.size}, .size = body.size};
    return {};
}

result<void> settle_task(request& asked, const task_info* task, const body_facts& body)
{
    if (task != nullptr) {
        asked.task = task;
    }
    const modality input = asked.task != nullptr ? asked.task->input : modality::any;

    if (is_chat(asked.at) || is_openai_task(asked.at)) {
        return {}; // text in, and out what the door says, whatever Accept says
    }

    // What the client can read depends on what the task gives.
    const auto accepts =
        acceptance_of(asked.accept, asked.task != nullptr ? asked.task->output : modality::any);
    asked.accepts_json = accepts.json;
    // A browser's script says `application/json, */*;q=0.1`: on the native door that is a wish. Hugging
    // Face's own clients expect bytes unless nothing but JSON is accepted.
    const bool wants_json = asked.dialect == dialect_id::native && accepts.prefers_json;
    asked.accepts_binary = accepts.binary && !wants_json;

    if (asked.raw) {
        // What the client declares counts if it says image, audio or video; else what the bytes show.
        std::string declared = payloads::canonical(asked.content_type, input);
        const std::string_view shows = payloads::sniff(body.first_bytes, input);
        const bool declared_well = is_binary(payloads::modality_of(declared));
        asked.binary->media_type = declared_well || shows.empty() ? std::move(declared) : std::string(shows);
        return asked.task != nullptr ? check_raw(asked, *asked.task, body.first_bytes) : result<void>{};
    }
    if (!body.json || body.index == nullptr) {
        return {};
    }

    // The body may lie in memory; else only the index and the short members are looked at.
    const auto peek = [&body](byte_range range) {
        const bool inside = range.begin <= range.end && range.end <= body.text.size();
        return inside ? body.text.substr(range.begin, range.size()) : std::string_view{};
    };
    auto found = payloads::find_payload(*body.index, body.members, asked.task, peek);
    if (!found) {
        return fail(found);
    }
    asked.binary = std::move(*found);
    return asked.task != nullptr && asked.binary ? check_found(asked, *asked.task) : result<void>{};
}

} // namespace gw::dialects
