#include "explain.hpp"

#include "adapters/adapter.hpp"
#include "payload/tasks.hpp"
#include "policy/decide.hpp"

#include <spdlog/fmt/fmt.h>

#include <chrono>

namespace gw {
namespace {

// The request that a client would send: a picture (or sound) as raw bytes for tasks that take one, else JSON.
request sample(const std::string& model, const task_info* task, const std::string& task_name)
{
    request made;
    made.model = model;
    made.task = task;
    made.task_name = task_name;
    if (task != nullptr && task->is_chat()) {
        made.dialect = dialect_id::openai;
        made.at = door::openai_chat;
        made.model_at = byte_range{9, 11 + model.size()};
        const byte_range messages{made.model_at->end + 12, made.model_at->end + 14}; // ,"messages":[]
        made.body_size = messages.end + 1;
        made.members = {
            {.name = "model", .where = *made.model_at, .text = {}},
            {.name = "messages", .where = messages, .text = "[]"},
        };
        return made;
    }
    made.at = door::hf_task;
    made.dialect = dialect_id::huggingface;
    if (task != nullptr && task->binary_input() && task->raw_payload) {
        made.raw = true;
        made.body_size = 1000;
        made.content_type = task->input == modality::audio ? "audio/wav" : "image/png";
        made.binary = payload{
            .as = payload::form::raw, .where = {0, 1000}, .size = 1000, .media_type = made.content_type
        };
        return made;
    }
    made.body_size = 20;
    made.inputs = byte_range{10, 19};
    made.members = {{.name = "inputs", .where = *made.inputs, .text = R"("a text")"}};
    return made;
}

std::string duration(std::chrono::milliseconds value)
{
    return value.count() % 1000 == 0 ? fmt::format("{}s", value.count() / 1000)
                                     : fmt::format("{}ms", value.count());
}

std::string place(const config::upstream& to)
{
    if (to.run) {
        return "a process of this gateway: " +
               (to.run->command.empty() ? std::string() : to.run->command.front()) + " ...";
    }
    return to.at.origin + to.at.base_path;
}

} // namespace

result<std::string> explain(
    const config::settings& now,
    const std::string& model,
    const std::string& task,
    const std::function<hub_answer(const std::string& model)>& ask
)
{
    const task_info* known = task.empty() ? nullptr : payloads::find_task(task);
    if (known == nullptr && task.empty()) {
        // The policy's word decides how a client would ask.
        const auto found = policy::resolve(model, nullptr, now);
        if (found && found->entry != nullptr) {
            known = found->entry->task;
        }
    }
    const request asked = sample(model, known, task);
    auto plan = policy::decide(nullptr, asked, now, 0);
    hub_answer said;
    const bool asks = plan && plan->asks_hub;
    if (asks) {
        said = ask(plan->model);
        plan = policy::decide(nullptr, asked, now, 0, &said);
    }
    if (!plan) {
        return std::unexpected(plan.error());
    }

    const auto& entry = *plan->entry;
    std::string out = fmt::format("model     {}\n", plan->model);
    out += fmt::format("entry     {}{}\n", entry.name, entry.pattern ? " (a pattern)" : "");
    out += fmt::format(
        "task      {}\n",
        plan->task != nullptr ? plan->task->name : "not known: only pass-through is possible"
    );
    if (asks) {
        out += fmt::format("hub       {}\n", said.of ? "has " + in_words(*said.of) : said.text);
    }
    std::string moves;
    for (const outcome each : entry.fallback.on) {
        moves += moves.empty() ? "" : ", ";
        moves += to_string(each);
    }
    out += fmt::format(
        "fallback  at most {} attempts in {}; moves on after {}\n",
        entry.fallback.attempts,
        duration(entry.fallback.deadline),
        moves
    );

    std::size_t number = 0;
    for (const auto& each : plan->candidates) {
        const config::upstream& to = *each.to;
        std::string kind(config::to_string(to.kind));
        if (to.kind != config::kind::serverless) {
            kind += fmt::format(", engine {}", config::to_string(to.engine));
        }
        out += fmt::format("\n{}. {}  ({})\n", ++number, to.name, kind);
        out += fmt::format("   at        {}\n", place(to));
        if (each.model != plan->model) {
            out += fmt::format("   asks for  {}\n", each.model);
        }
        if (each.weight != 1) {
            out += fmt::format("   weight    {} among those of its rank\n", each.weight);
        }

        std::string tokens;
        std::string empty;
        const config::token* with = nullptr;
        for (const auto* token : to.tokens) {
            std::string& list = token->value.empty() ? empty : tokens;
            list += (list.empty() ? "" : ", ") + token->name;
            with = with == nullptr && !token->value.empty() ? token : with;
        }
        out += fmt::format(
            "   token     {}\n",
            !tokens.empty()     ? tokens
            : to.tokens.empty() ? "none needed"
                                : empty + " (empty)"
        );
        if (to.without_token()) {
            out += "   off       no_token: every token it names is empty; set it and it is used\n";
            continue;
        }
        if (to.wake_timeout > std::chrono::milliseconds::zero()) {
            out += fmt::format(
                "   asleep    woken by GET {}{}, given up after {}\n",
                to.at.base_path,
                to.health,
                duration(to.wake_timeout)
            );
        }
        const adapters::target target{
            .to = &to,
            .with = with,
            .model = each.model,
            .provider = plan->provider,
            .at_provider = each.at_provider,
            .task = plan->task
        };
        const auto encoding = adapters::adapter_for(to).plan(asked, target);
        if (encoding) {
            out += fmt::format(
                "   encoding  {} (for {})\n",
                adapters::to_string(*encoding),
                asked.raw ? "a raw " + asked.content_type : "a JSON body"
            );
        } else {
            out +=
                fmt::format("   off       {}: {}\n", to_string(encoding.error().what), encoding.error().text);
        }
    }
    return out;
}

} // namespace gw
