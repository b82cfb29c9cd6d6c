// The Inference Providers router (https://router.huggingface.co): tasks go to Hugging Face's own provider,
// hf-inference, whose URL names the model; chats go to /v1, whose body does. Raw bytes where there are no
// parameters, base64 JSON where there are: what its own clients send. Where the policy says what a provider
// calls the model, that provider's own routes are asked.
#include "adapters/engines.hpp"
#include "adapters/one_shot.hpp"
#include "adapters/serverless/providers.hpp"
#include "config/providers.hpp"
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
    std::string name(to.model);
    if (!to.provider.empty() && !to.model.contains(':')) {
        name.append(":").append(to.provider);
    }
    return name;
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

// The provider that has to answer; empty: the router chooses, by whatever rule.
std::string_view chosen(const target& to)
{
    const std::size_t colon = to.model.rfind(':'); // ids on the Hub hold none
    const std::string_view said = colon == std::string::npos ? to.provider : to.model.substr(colon + 1);
    return config::is_provider_name(said) ? said : std::string_view{};
}

std::unexpected<failure> queued(std::string_view provider)
{
    return refuse(
        code::unsupported,
        "The provider " + std::string(provider) +
            " puts requests into a queue of its own, which this version does not speak. Choose another "
            "provider, or none."
    );
}

std::unexpected<failure> no_route(const target& to, std::string_view provider)
{
    return refuse(
        code::unsupported,
        "The provider " + std::string(provider) + " has no route for " +
            (to.task == nullptr ? "a task that is not known" : "the task " + std::string(to.task->name)) + "."
    );
}

// A task for a provider of which only the name is known.
std::unexpected<failure> needs_name(const target& to, std::string_view provider)
{
    return refuse(
        code::unsupported,
        "The router takes a provider behind a colon for chats only. For " +
            (to.task == nullptr ? std::string("this task") : std::string(to.task->name)) + ", say what " +
            std::string(provider) + " calls the model: `{ upstream: " + to.to->name +
            ", provider: " + std::string(provider) + ", model: ... }` in `route:` of the policy."
    );
}

// A task for hf-inference, which of OpenAI's routes has the one for completions.
result<prepared> task_of(const request& asked, const target& to)
{
    if (is_openai_task(asked.at) && to.task != nullptr && to.task->name == "text-generation") {
        const std::string_view id = to.model.substr(0, to.model.rfind(':'));
        prepared made = prepare_as_asked(asked, to, id);
        made.what.path = path_of(*to.to, "/hf-inference/models" + model_path(id) + "/v1/completions");
        return made;
    }
    if (to.task != nullptr && !to.task->at_hf_inference) {
        return refuse(
            code::unsupported,
            "Upstream " + to.to->name + " (serverless) has no known form for " + std::string(to.task->name) +
                ": none of Hugging Face's clients asks for it there. Engines for it: tei, openai, toolkit, "
                "custom."
        );
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

// Whether what was asked in OpenAI's words passes as it came. Providers have words of their own for the size
// of a picture and the form it comes in.
bool passes_at(const request& asked, const task_info& task)
{
    return is_openai_task(asked.at) && task.output != modality::image;
}

// Some answer numbers where base64 was asked for, which one of the SDKs reads as nothing: the door looks.
prepared as_asked(const request& asked, const target& to, std::string_view model)
{
    prepared made = prepare_as_asked(asked, to, model);
    made.answer.as_asked = to.task->shape != answer_shape::numbers;
    return made;
}

// A provider's own route, with its own name of the model.
result<prepared> at_provider(const request& asked, const target& to, std::string_view provider)
{
    const std::string_view id = to.model.substr(0, to.model.rfind(':'));
    if (provider == "hf-inference") {
        if (!wants_chat(asked, to)) {
            return task_of(asked, to);
        }
        auto chat = prepare_chat(asked, to, id, schema_form::tgi);
        if (chat) {
            chat->what.path =
                path_of(*to.to, "/hf-inference/models" + model_path(id) + "/v1/chat/completions");
        }
        return chat;
    }
    const serverless::provider* known = find_provider(provider);
    if (known != nullptr && known->queued) {
        return queued(provider);
    }
    const std::string_view route =
        known == nullptr ? std::string_view{} : route_for(known->routes, asked, to);
    if (route.empty()) {
        return no_route(to, provider);
    }
    auto made = wants_chat(asked, to)        ? prepare_chat(asked, to, id, known->habits.schema)
                : passes_at(asked, *to.task) ? result<prepared>(as_asked(asked, to, id))
                                             : prepare_openai_task(asked, to, id, known->habits);
    if (made) {
        made->what.path = path_of(*to.to, "/" + std::string(provider) + "/" + std::string(route));
        made->what.fields = known->fields;
    }
    return made;
}

result<prepared> ask(const request& asked, const target& to)
{
    const std::string_view provider = chosen(to);
    if (to.at_provider) {
        return at_provider(asked, to, provider);
    }
    const serverless::provider* known = find_provider(provider);
    if (known != nullptr && known->queued) {
        return queued(provider);
    }
    if (wants_chat(asked, to)) {
        return prepare_chat(asked, to, chat_model(to));
    }
    return provider.empty() || provider == "hf-inference" ? task_of(asked, to) : needs_name(to, provider);
}

class router_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        auto made = ask(asked, to);
        if (made) {
            made->what.fields += bill_to(to);
        }
        return made;
    }
};

} // namespace

const adapter& router()
{
    static const router_adapter only;
    return only;
}

} // namespace gw::adapters::serverless
