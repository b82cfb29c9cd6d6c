// Text Generation Inference: text generation in its own words, which are those of Hugging Face's clients, so
// that they pass as they came; chats and completions on its OpenAI routes, with a schema told its way. Its
// streams answer 200 before anything is known: the first event decides (exchange.cpp).
//   source  huggingface/text-generation-inference router/src/{server,lib}.rs
#include "adapters/engines.hpp"
#include "adapters/openai_routes.hpp"
#include "payload/tasks.hpp"

namespace gw::adapters::dedicated {
namespace {

constexpr task_style style{
    .spelling = [](std::string_view) { return std::string{}; },
};

// `/` answers with a list and tells streams by the body; who names `/generate` means its two routes.
std::string generate_path(const request& asked, const config::upstream& to)
{
    std::string path = path_of(to, "/");
    if (asked.stream && path.ends_with("/generate")) {
        path += "_stream";
    }
    return path;
}

class tgi_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        if (wants_chat(asked, to)) {
            return prepare_chat(asked, to, to.model, schema_form::tgi);
        }
        if (to.task == nullptr || to.task->name != "text-generation") {
            return refuse(
                to.task == nullptr ? code::unknown_task : code::unsupported,
                "Upstream " + to.to->name + " (engine tgi) answers chats and text-generation" +
                    (to.task == nullptr
                         ? ", and the task of this model is not known. Say `task: text-generation` or `task: "
                           "chat-completion` at the model in the policy."
                         : ", not " + std::string(to.task->name) +
                               ". Engines for it: toolkit, custom; or a serverless upstream.")
            );
        }
        if (is_openai_task(asked.at)) {
            prepared made = prepare_as_asked(asked, to, to.model);
            made.what.path = openai_path(*to.to, "/completions");
            return made;
        }
        auto body = encode_task(asked, to, style);
        if (!body) {
            return fail(body);
        }
        return prepared{
            .as = body->as,
            .what =
                {
                    .path = generate_path(asked, *to.to),
                    .content_type = std::move(body->content_type),
                    .accept = asked.stream ? "text/event-stream" : "application/json",
                    .body = std::move(body->body),
                    .expects_stream = asked.stream,
                },
            .answer =
                {
                    .wanted = expects::json,
                    .stream = asked.stream,
                    .task = to.task,
                    .tokens = asked.stream,
                },
        };
    }
};

} // namespace

const adapter& tgi()
{
    static const tgi_adapter only;
    return only;
}

} // namespace gw::adapters::dedicated
