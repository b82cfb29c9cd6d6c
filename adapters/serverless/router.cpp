// The Inference Providers router (https://router.huggingface.co): tasks go to Hugging Face's own provider,
// hf-inference, whose URL names the model; chats go to /v1, whose body does. Raw bytes where there are no
// parameters, base64 JSON where there are: what its own clients send.
#include "adapters/engines.hpp"
#include "adapters/one_shot.hpp"
#include "payload/tasks.hpp"
#include "wire/field.hpp"
#include "wire/target.hpp"

namespace gw::adapters::serverless {
namespace {

constexpr task_style style{
    .spelling = [](std::string_view media_type) { return std::string(media_type); },
    .takes_untyped = true, // it sniffs, and its clients send bytes without a type
    .takes_root_question = true,
    .takes_root_table = true,
    .at = task_style::parameters::by_task,
};

// `namespace/name` as path segments, without a provider behind a colon: that suffix is known to /v1 only.
std::string model_path(std::string_view model)
{
    model = model.substr(0, model.rfind(':'));
    std::string path;
    while (true) {
        const std::size_t slash = model.find('/');
        path += "/" + wire::percent_encode_segment(model.substr(0, slash));
        if (slash == std::string_view::npos) {
            return path;
        }
        model.remove_prefix(slash + 1);
    }
}

std::string task_route(const target& to)
{
    std::string route = "/hf-inference/models" + model_path(to.model);
    if (to.task != nullptr && to.task->pipeline_path) {
        route += "/pipeline/" + std::string(to.task->name);
    }
    return route;
}

// `:together` pins a provider, `:fastest` names a policy; a name that has a suffix of its own keeps it.
std::string chat_model(const target& to)
{
    return to.provider.empty() || to.model.contains(':') ? to.model : to.model + ":" + to.provider;
}

std::string bill_to(const target& to)
{
    if (to.with == nullptr || to.with->bill_to.empty() || !wire::valid_value(to.with->bill_to)) {
        return {};
    }
    return "X-HF-Bill-To: " + to.with->bill_to + "\r\n";
}

// Images are asked for as its own clients do; other bytes come in the format that the model has.
std::string accept_for(const task_info* task)
{
    if (task == nullptr) {
        return {};
    }
    if (!task->binary_output()) {
        return "application/json";
    }
    return task->output == modality::image ? "image/png" : "";
}

class router_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        if (wants_chat(asked, to)) {
            auto chat = prepare_chat(asked, to, chat_model(to));
            if (chat) {
                chat->what.fields = bill_to(to);
            }
            return chat;
        }
        auto body = encode_task(asked, to, style);
        if (!body) {
            return fail(body);
        }
        std::string path = path_of(*to.to, task_route(to));
        if (!body->query.empty()) {
            path += "?" + body->query;
        }
        return prepared{
            .as = body->as,
            .what =
                {
                    .path = std::move(path),
                    .content_type = std::move(body->content_type),
                    .accept = accept_for(to.task),
                    .fields = bill_to(to),
                    .body = std::move(body->body),
                    .expects_stream = asked.stream,
                },
            .answer =
                {
                    .wanted = to.task == nullptr         ? expects::anything
                              : to.task->binary_output() ? expects::bytes
                                                         : expects::json,
                    .stream = asked.stream,
                    .task = to.task,
                },
        };
    }
};

} // namespace

const adapter& router()
{
    static const router_adapter only;
    return only;
}

} // namespace gw::adapters::serverless
