// vLLM, SGLang, llama.cpp's server and everything alike: chats as they came but for the name of the model,
// and the tasks that OpenAI's API has a route for.
#include "adapters/engines.hpp"
#include "adapters/openai_routes.hpp"
#include "payload/tasks.hpp"

namespace gw::adapters::dedicated {
namespace {

constexpr openai_routes routes{
    .chat = "/chat/completions",
    .completions = "/completions",
    .embeddings = "/embeddings",
    .images = "/images/generations",
    .speech = "/audio/speech",
    .transcriptions = "/audio/transcriptions",
    .rerank = "/rerank",
};

class openai_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        if (wants_chat(asked, to)) {
            return prepare_chat(asked, to, to.model);
        }
        const std::string_view route = route_for(routes, asked, to);
        if (!route.empty()) {
            auto made = is_openai_task(asked.at) ? prepare_as_asked(asked, to, to.model)
                                                 : prepare_openai_task(asked, to, to.model);
            if (made) {
                made->what.path = openai_path(*to.to, route);
            }
            return made;
        }
        if (to.task == nullptr) {
            return refuse(
                code::unknown_task,
                "The task of this model is not known, and upstream " + to.to->name +
                    " (engine openai) has a route for each. Ask it at /v1/chat/completions, or say `task: "
                    "chat-completion` at the model in the policy."
            );
        }
        return refuse(
            code::unsupported,
            "Upstream " + to.to->name +
                " (engine openai) answers chats, text-generation, feature-extraction, text-to-image, "
                "text-to-speech, automatic-speech-recognition and text-ranking, not " +
                std::string(to.task->name) + ". Engines for it: toolkit, custom; or a serverless upstream."
        );
    }
};

} // namespace

const adapter& openai()
{
    static const openai_adapter only;
    return only;
}

} // namespace gw::adapters::dedicated
