// The paths of OpenAI's SDKs: chats, the tasks that its API has a route for, and /v1/models, which the
// gateway answers itself.
#include "dialects/answers.hpp"
#include "dialects/errors.hpp"
#include "dialects/openai_tasks.hpp"
#include "dialects/reading.hpp"
#include "dialects/tongues.hpp"

#include "wire/json_text.hpp"

namespace gw::dialects {
namespace {

result<void> read_body(request& into, const body_facts& body)
{
    if (auto taken = is_chat(into.at) ? take_chat(into, body) : take_openai_task(into, body); !taken) {
        return taken;
    }
    auto model = read_string(body, "model");
    if (!model) {
        return fail(model);
    }
    return set_model(into, std::move(*model).value_or(""));
}

class openai_dialect final : public dialect
{
public:
    dialect_id id() const override { return dialect_id::openai; }

    result<request> parse(
        const door_match& at, const wire::request_head& head, std::string_view, const body_facts& body
    ) const override
    {
        auto asked = begin(id(), at, head);
        if (!asked || at.at == door::openai_models) {
            return asked;
        }
        if (auto read = read_body(*asked, body); !read) {
            return fail(read);
        }
        if (auto settled = settle_task(*asked, nullptr, body); !settled) {
            return fail(settled);
        }
        return asked;
    }

    result<rendering> render(const request& asked, answer_is kind, std::string_view media_type) const override
    {
        return is_chat(asked.at) ? render_chat(asked, kind, media_type)
                                 : render_openai_task(asked, kind, media_type);
    }

    result<std::string> answer_of(const request& asked, std::string json) const override
    {
        return openai_task_answer(asked, std::move(json));
    }

    std::string events_from_answer(const request& asked, std::string_view json) const override
    {
        const auto events = is_chat(asked.at) ? events_of(asked, json) : openai_task_events(asked, json);
        return events ? *events : error_event(cut_answer(), asked.request_id);
    }

    int status_of(const failure& what) const override
    {
        return client_status(what, says_503::when_overloaded);
    }

    std::string error_body(const failure& what, std::string_view) const override
    {
        return openai_error(what);
    }

    std::string error_event(const failure& what, std::string_view) const override
    {
        return one_event(openai_error(what));
    }
};

void append_model(std::string& out, const model_line& model, std::int64_t created)
{
    out += R"({"id":)";
    wire::append_json_string(out, model.id);
    out += R"(,"object":"model","created":)" + std::to_string(created);
    out += R"(,"owned_by":)";
    const auto slash = model.id.find('/');
    wire::append_json_string(
        out,
        slash == std::string::npos ? std::string_view{"fourways"}
                                   : std::string_view{model.id}.substr(0, slash)
    );
    if (!model.task.empty()) {
        out += R"(,"task":)";
        wire::append_json_string(out, model.task);
    }
    out += '}';
}

} // namespace

const dialect& openai()
{
    static const openai_dialect only;
    return only;
}

std::string models_body(const std::vector<model_line>& models, std::int64_t created)
{
    std::string body = R"({"object":"list","data":[)";
    for (const auto& each : models) {
        if (&each != models.data()) {
            body += ',';
        }
        append_model(body, each, created);
    }
    body += "]}";
    return body;
}

std::string model_body(const model_line& model, std::int64_t created)
{
    std::string body;
    append_model(body, model, created);
    return body;
}

} // namespace gw::dialects
