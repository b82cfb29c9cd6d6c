// vLLM, SGLang, llama.cpp's server, TGI's OpenAI route and everything alike: chats only, and those as they
// came but for the name of the model.
#include "adapters/engines.hpp"
#include "adapters/one_shot.hpp"
#include "payload/tasks.hpp"

namespace gw::adapters::dedicated {
namespace {

class openai_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request& asked, const target& to) const override
    {
        if (wants_chat(asked, to)) {
            return prepare_chat(asked, to, to.model);
        }
        if (to.task == nullptr) {
            return refuse(
                code::unknown_task,
                "Upstream " + to.to->name +
                    " (engine openai) answers chats only, and the task of this model is not known. Ask it at "
                    "/v1/chat/completions, or say `task: chat-completion` at the model in the policy."
            );
        }
        return refuse(
            code::unsupported,
            "Upstream " + to.to->name + " (engine openai) answers chats only, not " +
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
