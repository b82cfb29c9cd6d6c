// What the Hub says of a model, and what follows from it for a request: which candidates exist.
#include "config/providers.hpp"
#include "config/values.hpp"
#include "payload/tasks.hpp"
#include "policy/decide.hpp"

#include <algorithm>
#include <array>

namespace gw::policy {
namespace {

constexpr std::size_t most_providers = 3; // of one model, in the Hub's order

std::string in_ticks(std::string_view text)
{
    return '`' + std::string(text) + '`';
}

bool embeds(std::string_view task)
{
    return task == "feature-extraction" || task == "sentence-similarity";
}

// A provider serves a model for one task. The two embedding tasks are the same model.
bool serves(const provider_way& by, const task_info* task)
{
    const task_info* its = payloads::find_task(by.task);
    return task == nullptr || its == task || its == nullptr || (embeds(task->name) && embeds(its->name));
}

std::string offers(const ways& of)
{
    std::string all;
    for (const auto& each : of.providers) {
        if (each.usable()) {
            const task_info* task = payloads::find_task(each.task);
            all += all.empty() ? "" : ", ";
            all += each.provider + " for " + (task != nullptr ? std::string(task->name) : each.task);
        }
    }
    return all;
}

// An engine that the gateway starts for a model by its name.
bool can_load(config::engine engine, const ways& of)
{
    switch (engine) {
    case config::engine::toolkit:
        return of.transformers.yes;
    case config::engine::openai:
        return of.llama_cpp.yes || of.transformers.yes;
    case config::engine::tei:
        return of.tei.yes;
    case config::engine::tgi:
        return of.transformers.yes;
    case config::engine::custom:
        return true;
    }
    return true;
}

bool exists(const candidate& way, const resolved& what, const task_info* task, const hub_answer& said)
{
    const config::upstream& to = *way.to;
    const bool told = said.what == hub_says::found;
    if (to.kind == config::kind::serverless) {
        const auto usable = [task](const provider_way& each) { return each.usable() && serves(each, task); };
        return said.what == hub_says::away || (told && std::ranges::any_of(said.of->providers, usable));
    }
    if (!to.models.empty()) { // the operator's word
        return std::ranges::any_of(to.models, [&what](const std::string& each) {
            return config::matches(each, what.model);
        });
    }
    return said.what == hub_says::away || said.what == hub_says::gated ||
           (told && can_load(to.engine, *said.of));
}

std::string lacks(const resolved& what, const task_info* task, const ways& known)
{
    const std::string model = in_ticks(what.model);
    const std::string there = offers(known);
    std::string text = "no way of " + model + " can be used here";
    text += task != nullptr ? " for " + std::string(task->name) : "";
    text += there.empty() ? ": no Inference Provider serves it"
                          : ": Inference Providers serve it only by " + there;
    text += ", and no other upstream of the policy says that it runs it (`models: [" + what.model + "]`). ";
    return text + "It has: " + in_words(known) + "; `fourways ways " + what.model + "` tells more";
}

} // namespace

const hub_answer& no_hub_id()
{
    static const hub_answer only{
        .what = hub_says::unknown, .of = nullptr, .text = "this model's name is no Hugging Face id"
    };
    return only;
}

bool needs_hub(const request& asked, const resolved& what, const config::settings& now)
{
    if (!now.hub.on) {
        return false;
    }
    if (what.entry->automatic) {
        return true;
    }
    // A name that the policy holds is the operator's own business.
    if (!what.entry->pattern) {
        return false;
    }
    // Of tasks the router wants to know the provider, and what that calls the model; a chat it sees to
    // itself.
    const bool no_task = what.entry->task == nullptr && asked.task == nullptr && asked.task_name.empty();
    const auto serverless = [](const config::route_entry& each) {
        return each.to->kind == config::kind::serverless && each.model.empty();
    };
    return (!is_chat(asked.at) && (no_task || std::ranges::any_of(what.entry->route, serverless))) ||
           config::is_provider_name(what.provider);
}

void name_at_providers(
    std::vector<candidate>& candidates, const resolved& what, const task_info* task, const ways& known
)
{
    if (task == nullptr || task->is_chat()) {
        return;
    }
    const bool pinned = config::is_provider_name(what.provider);
    std::vector<const provider_way*> serving;
    for (const auto& each : known.providers) {
        if (each.usable() && serves(each, task) && (!pinned || each.provider == what.provider)) {
            serving.push_back(&each);
        }
    }
    const bool own = std::ranges::any_of(serving, [](const provider_way* each) {
        return each->provider == "hf-inference";
    });
    if (serving.empty() || own) {
        return; // hf-inference is what is asked anyway
    }

    std::vector<candidate> all;
    for (auto& each : candidates) {
        const bool free = each.to->kind == config::kind::serverless && !each.at_provider &&
                          each.model.substr(0, each.model.rfind(':')) == what.model;
        if (!free) {
            all.push_back(std::move(each));
            continue;
        }
        for (std::size_t i = 0; i < std::min(serving.size(), most_providers); ++i) {
            candidate named = each;
            named.model = serving[i]->id + ':' + serving[i]->provider;
            named.at_provider = true;
            all.push_back(std::move(named));
        }
    }
    candidates = std::move(all);
}

result<void> keep_ways_that_exist(
    std::vector<candidate>& candidates, const resolved& what, const task_info* task, const hub_answer& said
)
{
    if (config::is_provider_name(what.provider) && said.what == hub_says::found) {
        const provider_way* asked = said.of->find(what.provider);
        if (asked == nullptr || !asked->usable()) {
            return refuse(
                code::unsupported,
                in_ticks(what.model) + " is not served by the Inference Provider " + in_ticks(what.provider) +
                    (asked != nullptr ? " at present" : "") + ". It has: " + in_words(*said.of) +
                    "; leave `:" + what.provider + "` out, or name one of these"
            );
        }
        if (task != nullptr && !serves(*asked, task)) {
            return refuse(
                code::unsupported,
                "the Inference Provider " + in_ticks(what.provider) + " does not serve " +
                    in_ticks(what.model) + " for " + std::string(task->name) +
                    ". Inference Providers serve it by " + offers(*said.of)
            );
        }
    }
    if (!what.entry->automatic) {
        return {};
    }

    std::erase_if(candidates, [&](const candidate& each) { return !exists(each, what, task, said); });
    if (!candidates.empty()) {
        return {};
    }
    switch (said.what) {
    case hub_says::found:
        return refuse(code::unsupported, lacks(what, task, *said.of));
    case hub_says::unknown:
        return refuse(
            code::unknown_model,
            said.text + ". If it runs here all the same, its upstream has to say so: `models: [" +
                what.model + "]`"
        );
    case hub_says::gated:
        return std::unexpected(failure{.what = code::token_rejected, .text = said.text});
    case hub_says::disabled:
        return refuse(code::unsupported, said.text);
    case hub_says::away:
        break;
    }
    failure why{.what = code::unavailable, .text = said.text};
    why.text += ", and no upstream of the policy says that it runs " + in_ticks(what.model);
    return std::unexpected(std::move(why));
}

} // namespace gw::policy
