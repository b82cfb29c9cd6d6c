#include "policy/decide.hpp"

#include "payload/tasks.hpp"

#include <algorithm>
#include <array>

namespace gw::policy {
namespace {

// splitmix64: every 64 bits give a fair sequence of 64-bit numbers.
class dice
{
public:
    explicit dice(std::uint64_t seed) : state_(seed) {}

    // 0 to sides - 1. REQUIRES sides > 0. The bias, sides / 2^64, is far below what weights express.
    std::uint64_t roll(std::uint64_t sides)
    {
        state_ += 0x9e3779b97f4a7c15ULL;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
        return (mixed ^ (mixed >> 31U)) % sides;
    }

private:
    std::uint64_t state_;
};

// What the model is called at this upstream.
std::string name_there(const config::route_entry& to, const resolved& what)
{
    std::string name = to.model.empty() ? what.model : to.model;
    if (!to.provider.empty()) { // the operator's choice, whatever the client would like
        return name + ':' + to.provider;
    }
    // Only the router understands providers; one that the operator wrote stays.
    const bool has_one =
        name.rfind(':') != std::string::npos && is_provider(name.substr(name.rfind(':') + 1));
    if (!what.provider.empty() && to.to->kind == config::kind::serverless && !has_one) {
        name += ':' + what.provider;
    }
    return name;
}

// In the order to be tried: inside a rank, the next one is drawn by weight from those that are left.
std::vector<candidate> order(const resolved& what, std::uint64_t random)
{
    std::vector<candidate> all;
    all.reserve(what.entry->route.size());
    for (const auto& each : what.entry->route) {
        all.push_back(
            {.to = each.to,
             .model = name_there(each, what),
             .at_provider = !each.provider.empty(),
             .rank = each.rank,
             .weight = each.weight}
        );
    }
    std::ranges::sort(all, {}, [&](const candidate& each) { return each.rank; });

    dice draw(random);
    for (auto at = all.begin(); at != all.end();) {
        const auto end =
            std::ranges::find_if(at, all.end(), [&](const candidate& each) { return each.rank != at->rank; });
        for (; at != end; ++at) {
            std::uint64_t sum = 0;
            for (auto each = at; each != end; ++each) {
                sum += each->weight;
            }
            auto chosen = at;
            for (std::uint64_t left = draw.roll(std::max<std::uint64_t>(sum, 1));
                 left >= chosen->weight && chosen + 1 != end;) {
                left -= chosen->weight;
                ++chosen;
            }
            std::iter_swap(at, chosen);
        }
    }
    return all;
}

// Tasks whose models chat too: what the Hub calls a chat model is one of these.
bool is_language_model(std::string_view task)
{
    constexpr auto names = std::to_array<std::string_view>(
        {"any-to-any", "audio-text-to-text", "image-text-to-text", "text-generation", "video-text-to-text"}
    );
    return std::ranges::find(names, task) != names.end();
}

// The request's own task, else the policy's, else the Hub's; chat doors and models of other tasks do not go
// together.
result<const task_info*> task_of(const request& asked, const resolved& what, const ways* known)
{
    if (asked.task == nullptr && !asked.task_name.empty()) {
        const std::string near = payloads::nearest_task(asked.task_name);
        return refuse(
            code::unknown_task,
            near.empty() ? "no such task; tasks have the names that Hugging Face gives them, as in "
                           "`image-classification`"
                         : "no such task; did you mean `" + near + "`?"
        );
    }

    const task_info* policy = what.entry->task;
    if (policy == nullptr && known != nullptr && !known->task.empty()) {
        policy = payloads::find_task(known->task);
    }
    if (is_chat(asked.at)) {
        const bool chats = policy == nullptr || policy->is_chat() || is_language_model(policy->name);
        if (!chats) {
            return refuse(
                code::wrong_modality,
                "`" + what.model + "` is a model for " + std::string(policy->name) +
                    ", not for chat: use POST /v1/inference or POST /models/" + what.model
            );
        }
        static const task_info* const chat = payloads::find_task("chat-completion");
        return chat;
    }
    if (is_openai_task(asked.at) && policy != nullptr && policy->binary_input()) {
        return refuse(
            code::wrong_modality,
            "`" + what.model + "` is a model for " + std::string(policy->name) + ", not for " +
                std::string(asked.task->name) + ": use POST /v1/inference or POST /models/" + what.model
        );
    }
    if (asked.task != nullptr) {
        return asked.task;
    }
    if (policy != nullptr && policy->is_chat() && asked.at == door::hf_task) {
        return refuse(
            code::wrong_modality,
            "`" + what.model + "` is a chat model: use POST /v1/chat/completions, or POST /models/" +
                what.model + "/v1/chat/completions"
        );
    }
    return policy;
}

} // namespace

result<plan> decide(
    const config::client* who,
    const request& asked,
    const config::settings& now,
    std::uint64_t random,
    const hub_answer* looked_up
)
{
    result<resolved> what = resolve(asked.model, who, now);
    if (!what) {
        return fail(what);
    }

    // What counts is the resolved name: an alias or a suffix opens nothing that its model does not.
    if (!allowed(who, what->model)) {
        return refuse(
            code::forbidden,
            "client `" + who->name + "` may not use `" + what->model +
                "`; its `models:` in the policy would have to list it"
        );
    }

    plan made{.entry = what->entry, .provider = what->provider};
    if (looked_up == nullptr && now.hub.on && needs_hub(asked, *what, now)) {
        if (is_hub_id(what->model)) {
            made.asks_hub = true;
            made.model = std::move(what->model);
            return made;
        }
        looked_up = &no_hub_id();
    }
    if (looked_up != nullptr) {
        made.known = looked_up->of;
    }

    const auto task = task_of(asked, *what, made.known.get());
    if (!task) {
        return std::unexpected(task.error());
    }
    made.task = *task;
    made.candidates = order(*what, random);
    if (looked_up != nullptr) {
        if (auto kept = keep_ways_that_exist(made.candidates, *what, made.task, *looked_up); !kept) {
            return fail(kept);
        }
        if (made.known) {
            name_at_providers(made.candidates, *what, made.task, *made.known);
        }
    }
    made.model = std::move(what->model);
    return made;
}

} // namespace gw::policy
