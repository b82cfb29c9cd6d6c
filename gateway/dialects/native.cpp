// POST /v1/inference: the normalized request on the wire, as JSON or as raw bytes with the parameters in the
// query.
#include "dialects/answers.hpp"
#include "dialects/errors.hpp"
#include "dialects/reading.hpp"
#include "dialects/tongues.hpp"

#include "wire/json_text.hpp"

#include <algorithm>
#include <array>

namespace gw::dialects {
namespace {

constexpr std::array<std::string_view, 5> known_members = {"model", "task", "inputs", "parameters", "stream"};
constexpr std::string_view example = R"({"model":"namespace/name","inputs":"...","parameters":{}})";

// This door is ours, so a misspelt key is an error rather than a parameter that silently does nothing.
result<void> check_members(const body_facts& body)
{
    for (const auto& each : body.index->members) {
        if (std::ranges::find(known_members, each.key) != known_members.end()) {
            continue;
        }
        std::string text = "The key `" + each.key.substr(0, 100) + "` is not known here. ";
        const std::string_view near = nearest(each.key, known_members);
        if (each.key == "messages") {
            text += "Send chats to /v1/chat/completions.";
        } else if (!near.empty()) {
            text += "Did you mean `" + std::string(near) + "`?";
        } else {
            text += "Known are model, task, inputs, parameters and stream; options of the task belong into "
                    "`parameters`.";
        }
        return refuse_field(code::invalid_json, each.key, std::move(text));
    }
    return {};
}

// A JSON body may be accompanied by a model and a task in the query, but not contradicted by them.
result<void> take_query_names(request& into, query_facts from)
{
    if (!from.parameters.empty()) {
        return refuse_field(
            code::invalid_json,
            "parameters",
            "Parameters stand in the query only beside raw bytes. Put them into `parameters` of the JSON "
            "body."
        );
    }
    if (from.model) {
        if (!into.model.empty() && into.model != *from.model) {
            return refuse_field(
                code::invalid_model, "model", "The query and the body name different models. Name it once."
            );
        }
        if (auto set = set_model(into, std::move(*from.model)); !set) {
            return set;
        }
    }
    if (from.task) {
        if (!into.task_name.empty() && into.task_name != *from.task) {
            return refuse_field(
                code::unknown_task, "task", "The query and the body name different tasks. Name it once."
            );
        }
        return set_task(into, std::move(*from.task));
    }
    return {};
}

result<void> read_json(request& into, query_facts query, const body_facts& body)
{
    if (auto taken = take_object(into, body, example); !taken) {
        return taken;
    }
    if (auto checked = check_members(body); !checked) {
        return checked;
    }

    // Model and task, from the body or the query.
    auto model = read_string(body, "model");
    if (!model) {
        return fail(model);
    }
    if (*model) {
        if (auto set = set_model(into, std::move(**model)); !set) {
            return set;
        }
        into.model_at = find(body, "model")->where;
    }
    auto task = read_string(body, "task");
    if (!task) {
        return fail(task);
    }
    if (auto set = set_task(into, std::move(*task).value_or("")); !set) {
        return set;
    }
    if (auto taken = take_query_names(into, std::move(query)); !taken) {
        return taken;
    }
    if (into.model.empty()) {
        return set_model(into, "");
    }

    // What is to be done with it.
    const auto inputs = find(body, "inputs");
    if (!inputs) {
        return refuse_field(
            code::invalid_json,
            "inputs",
            R"(`inputs` is missing. Send text, a JSON value, or a file as {"base64":"...","media_type":"image/png"}.)"
        );
    }
    into.inputs = inputs->where;
    auto parameters = read_parameters(body);
    if (!parameters) {
        return fail(parameters);
    }
    if (const auto given = find(body, "parameters"); given && given->text.empty()) {
        return refuse_field(
            code::invalid_json,
            "parameters",
            "`parameters` holds a string that is too long for a parameter. Files belong into `inputs`."
        );
    }
    into.parameters = std::move(*parameters);
    auto stream = read_bool(body, "stream");
    if (!stream) {
        return fail(stream);
    }
    into.stream = *stream;
    return {};
}

result<void> read_raw(request& into, query_facts query, const body_facts& body)
{
    if (auto taken = take_raw(into, body); !taken) {
        return taken;
    }
    if (!query.model) {
        return refuse_field(
            code::invalid_model,
            "model",
            "Raw bytes need the model in the query: POST /v1/inference?model=namespace/name. A JSON body "
            "needs "
            "Content-Type: application/json and must be valid."
        );
    }
    if (auto set = set_model(into, std::move(*query.model)); !set) {
        return set;
    }
    if (auto set = set_task(into, std::move(query.task).value_or("")); !set) {
        return set;
    }
    into.parameters = std::move(query.parameters);
    return {};
}

class native_dialect final : public dialect
{
public:
    dialect_id id() const override { return dialect_id::native; }

    result<request> parse(
        const door_match& at, const wire::request_head& head, std::string_view query, const body_facts& body
    ) const override
    {
        auto asked = begin(id(), at, head);
        if (!asked || at.at != door::native_inference) {
            return asked;
        }
        auto told = read_query(query, reserved::model_and_task);
        if (!told) {
            return fail(told);
        }
        auto read =
            body.json ? read_json(*asked, std::move(*told), body) : read_raw(*asked, std::move(*told), body);
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
        return render_any(asked, kind, media_type);
    }

    result<std::string> answer_of(const request&, std::string json) const override { return json; }

    std::string events_from_answer(const request& asked, std::string_view json) const override
    {
        auto events = events_of(asked, json);
        return events ? std::move(*events) : error_event(cut_answer(), asked.request_id);
    }

    int status_of(const failure& what) const override { return client_status(what, says_503::never); }

    std::string error_body(const failure& what, std::string_view request_id) const override
    {
        std::string body = R"({"error":{"code":)";
        wire::append_json_string(body, to_string(what.what));
        body += R"(,"message":)";
        wire::append_json_string(body, message_of(what));
        body += R"(,"request_id":)";
        wire::append_json_string(body, request_id);
        body += "}}";
        return body;
    }

    std::string error_event(const failure& what, std::string_view request_id) const override
    {
        return one_event(error_body(what, request_id));
    }
};

} // namespace

const dialect& native()
{
    static const native_dialect only;
    return only;
}

const dialect& fallback_dialect()
{
    return native();
}

} // namespace gw::dialects
