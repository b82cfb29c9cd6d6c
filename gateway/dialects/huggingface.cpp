// The paths of Hugging Face's own clients: any task below /models/{id}, and chats, completions and embeddings
// in OpenAI's words below /models/{id}/v1. The
// path names the model (a body's `model` may be "dummy", "tgi" or the URL itself), and what the body holds
// beyond the protocol travels as it is.
#include "dialects/answers.hpp"
#include "dialects/errors.hpp"
#include "dialects/openai_tasks.hpp"
#include "dialects/reading.hpp"
#include "dialects/reword.hpp"
#include "dialects/tongues.hpp"

#include "wire/json_text.hpp"

#include <algorithm>
#include <array>

namespace gw::dialects {
namespace {

constexpr std::string_view example = R"({"inputs":"...","parameters":{}})";

// Keys that say nothing about the input. Some clients send tables, sentences or questions beside or instead
// of `inputs`, so any other key may be the input.
constexpr std::array<std::string_view, 5> not_input = {"inputs", "parameters", "options", "stream", "model"};

// huggingface_hub turns these into exceptions of their own and trips over every other word.
constexpr std::array<std::string_view, 4> known_error_types = {
    "generation", "incomplete_generation", "overloaded", "validation"
};

result<void> read_json(request& into, const body_facts& body)
{
    if (auto taken = take_object(into, body, example); !taken) {
        return taken;
    }

    const auto inputs = find(body, "inputs");
    if (inputs) {
        into.inputs = inputs->where;
    }
    const bool has_other_input = std::ranges::any_of(body.index->members, [](const wire::json_member& each) {
        return std::ranges::find(not_input, each.key) == not_input.end();
    });
    if (!inputs && !has_other_input) {
        return refuse_field(
            code::invalid_json,
            "inputs",
            "`inputs` is missing. Send " + std::string(example) + ", or the raw bytes of a file."
        );
    }

    auto parameters = read_parameters(body);
    if (!parameters) {
        return fail(parameters);
    }
    into.parameters = std::move(*parameters);
    auto stream = read_bool(body, "stream");
    if (!stream) {
        return fail(stream);
    }
    into.stream = *stream;
    return {};
}

result<void> read_raw(request& into, std::string_view query, const body_facts& body)
{
    if (auto taken = take_raw(into, body); !taken) {
        return taken;
    }
    auto told = read_query(query, reserved::nothing);
    if (!told) {
        return fail(told);
    }
    into.parameters = std::move(told->parameters);
    return {};
}

class huggingface_dialect final : public dialect
{
public:
    dialect_id id() const override { return dialect_id::huggingface; }

    result<request> parse(
        const door_match& at, const wire::request_head& head, std::string_view query, const body_facts& body
    ) const override
    {
        auto asked = begin(id(), at, head);
        if (!asked) {
            return asked;
        }
        auto read = at.at == door::hf_chat  ? take_chat(*asked, body)
                    : is_openai_task(at.at) ? take_openai_task(*asked, body)
                    : body.json             ? read_json(*asked, body)
                                            : read_raw(*asked, query, body);
        if (!read) {
            return fail(read);
        }
        if (auto settled = settle_task(*asked, nullptr, body); !settled) {
            return fail(settled);
        }
        return asked;
    }

    result<rendering> render(const request& asked, answer_is kind, std::string_view media_type) const override
    {
        if (is_chat(asked.at)) {
            return render_chat(asked, kind, media_type);
        }
        if (is_openai_task(asked.at)) {
            return render_openai_task(asked, kind, media_type);
        }
        auto shape = render_any(asked, kind, media_type);
        if (shape && kind == answer_is::json && shape->as == rendering::how::as_is && rewords(asked)) {
            shape->as = rendering::how::reworded;
        }
        return shape;
    }

    result<std::string> answer_of(const request& asked, std::string json) const override
    {
        if (is_openai_task(asked.at)) {
            return openai_task_answer(asked, std::move(json));
        }
        return reworded(asked, std::move(json));
    }

    std::string events_from_answer(const request& asked, std::string_view json) const override
    {
        const auto events =
            is_openai_task(asked.at) ? openai_task_events(asked, json) : events_of(asked, json);
        return events ? *events : error_event(cut_answer(), asked.request_id);
    }

    int status_of(const failure& what) const override { return client_status(what, says_503::never); }

    // `error` is a string: @huggingface/inference shows nothing else.
    std::string error_body(const failure& what, std::string_view) const override
    {
        std::string body = R"({"error":)";
        wire::append_json_string(body, message_of(what));
        body += R"(,"code":)";
        wire::append_json_string(body, to_string(what.what));
        if (const bool known =
                std::ranges::find(known_error_types, what.error_type) != known_error_types.end();
            known) {
            body += R"(,"error_type":)";
            wire::append_json_string(body, what.error_type);
        }
        body += '}';
        return body;
    }

    // Inside a stream `error` is an object: all SDKs raise on it, and OpenAI's show only its `message`.
    std::string error_event(const failure& what, std::string_view) const override
    {
        return one_event(openai_error(what));
    }
};

} // namespace

const dialect& huggingface()
{
    static const huggingface_dialect only;
    return only;
}

} // namespace gw::dialects
