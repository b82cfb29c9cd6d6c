#include "ways.hpp"

#include "config/values.hpp"
#include "payload/tasks.hpp"
#include "policy/decide.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace gw {
namespace {

// One way: yes or no, and the reasons, a line each.
std::string row(std::string_view name, bool yes, const std::vector<std::string>& reasons)
{
    std::string out = fmt::format("{:<21} {:<4}", name, yes ? "yes" : "no");
    bool first = true;
    for (const auto& each : reasons) {
        out += first ? "  " : "\n" + std::string(28, ' ');
        out += each;
        first = false;
    }
    return out + "\n";
}

// Its providers serve it for chats, and for nothing else.
bool chats_only(const ways& of)
{
    bool chats = false;
    for (const auto& each : of.providers) {
        const task_info* task = payloads::find_task(each.task);
        const bool chat = task != nullptr && task->is_chat();
        if (each.usable() && !chat) {
            return false;
        }
        chats = chats || each.usable();
    }
    return chats;
}

std::string place(const config::url& at)
{
    return (at.tls ? "https://" : "http://") + at.host_header + at.base_path;
}

std::string providers(const ways& of)
{
    std::vector<std::string> reasons;
    bool yes = false;
    for (const auto& each : of.providers) {
        yes = yes || each.usable();
        std::string line = fmt::format("{}: {}, {}", each.provider, to_string(each.state), each.task);
        line += each.id != of.model ? ", called " + each.id : "";
        line += each.state == provider_state::staging ? " (may change without notice)" : "";
        line += each.usable() ? "" : " (not usable now)";
        reasons.push_back(std::move(line));
    }
    if (reasons.empty()) {
        reasons.emplace_back("no provider serves it");
    }
    return row("Inference Providers", yes, reasons);
}

std::string endpoints(const ways& of, const config::settings* now, const std::string& asked)
{
    std::vector<std::string> reasons;
    for (const auto& each : of.engines) {
        reasons.push_back(fmt::format("engine {}: {}", each.engine, each.why));
    }
    const bool deployable = !reasons.empty();
    if (!deployable) {
        reasons.emplace_back("only with a container of your own: nothing says that an engine loads it");
    }
    if (now == nullptr) {
        return row("Inference Endpoints", deployable, reasons);
    }

    // Those of the policy: in its route, or said to run it.
    const auto entry = policy::resolve(asked, nullptr, *now);
    bool configured = false;
    for (const auto& each : now->upstreams) {
        const bool says = std::ranges::any_of(each->models, [&](const std::string& name) {
            return config::matches(name, asked);
        });
        const bool routed = entry && !entry->entry->automatic &&
                            std::ranges::any_of(entry->entry->route, [&](const config::route_entry& to) {
                                return to.to == each.get();
                            });
        if (each->kind == config::kind::dedicated && (says || routed)) {
            configured = true;
            reasons.push_back(fmt::format(
                "configured: {} (engine {}) at {}",
                each->name,
                config::to_string(each->engine),
                place(each->at)
            ));
        }
    }
    return row("Inference Endpoints", deployable || configured, reasons);
}

std::string spaces(const ways& of, const std::vector<space_stage>& stages)
{
    std::vector<std::string> reasons;
    bool runs = false;
    for (const auto& [name, stage] : stages) {
        // Old versions serve while a new one comes.
        const bool up = stage == "RUNNING" || stage == "RUNNING_BUILDING" || stage == "RUNNING_APP_STARTING";
        runs = runs || up;
        reasons.push_back(fmt::format("{}: {}", name, stage.empty() ? "its stage is not told" : stage));
    }
    if (of.spaces.size() > stages.size()) {
        reasons.push_back(fmt::format("and {} more", of.spaces.size() - stages.size()));
    }
    if (reasons.empty()) {
        reasons.emplace_back("none cites it");
    }
    return row("Spaces", runs, reasons);
}

std::string access(const ways& of)
{
    if (of.gated.empty()) {
        return "open";
    }
    return fmt::format(
        "gated ({}): accept the conditions at https://huggingface.co/{} with the account of the token",
        of.gated,
        of.model
    );
}

// What the policy makes of it: the candidates of its route, in their order.
std::string here(const ways& of, const config::settings& now, const std::string& asked)
{
    request sample;
    sample.model = asked;
    sample.at = chats_only(of) ? door::openai_chat : door::hf_task;
    const hub_answer said{.what = hub_says::found, .of = std::make_shared<ways>(of), .text = {}};
    const auto entry = policy::resolve(asked, nullptr, now);
    if (!entry) {
        return "no entry of `models:` is for it";
    }
    std::string names;
    if (const auto plan = policy::decide(nullptr, sample, now, 0, &said)) {
        for (const auto& each : plan->candidates) {
            names += (names.empty() ? "" : ", ") + each.to->name;
        }
    }
    return fmt::format(
        "{} (models.{}{})",
        names.empty() ? "none of the upstreams" : names,
        entry->entry->name,
        entry->entry->automatic ? ", route: auto" : ""
    );
}

} // namespace

std::string ways_table(
    const ways& of,
    const std::vector<space_stage>& stages,
    const config::settings* now,
    const std::string& asked
)
{
    std::string out = fmt::format("model   {}", of.model);
    out += of.model != asked ? fmt::format("  (asked for as {})\n", asked) : "\n";
    out += fmt::format(
        "task    {}\n", of.task.empty() ? "not known: " + of.task_why : of.task + " (" + of.task_why + ")"
    );
    out += fmt::format("access  {}\n", access(of));
    if (now != nullptr) {
        out += fmt::format("here    {}\n", here(of, *now, asked));
    }
    out += '\n';
    out += providers(of);
    out += endpoints(of, now, asked);
    out += spaces(of, stages);
    out += row("Transformers", of.transformers.yes, {of.transformers.why});
    out += row("Transformers.js", of.transformers_js.yes, {of.transformers_js.why});
    out += row("llama.cpp", of.llama_cpp.yes, {of.llama_cpp.why});
    out += row("Text Embeddings Inf.", of.tei.yes, {of.tei.why});
    return out;
}

std::string ways_policy(const ways& of)
{
    const bool serverless =
        std::ranges::any_of(of.providers, [](const provider_way& each) { return each.usable(); });
    const std::string engine = of.engines.empty() ? std::string() : of.engines.front().engine;
    const bool local = of.llama_cpp.yes || of.transformers.yes || of.tei.yes;

    // What needs nothing but a token is ready; of the rest the first is, when there is nothing else.
    std::string upstreams;
    std::string route;
    const auto add = [&](std::string_view name, const std::string& line, bool ready) {
        upstreams += ready ? "  " : "  # ";
        upstreams += line + "\n";
        if (ready) {
            route += route.empty() ? "" : ", ";
            route += name;
        }
    };
    if (serverless) {
        add("router", "router: { kind: serverless, token: hf }", true);
    }
    if (!engine.empty()) {
        add("endpoint",
            fmt::format(
                "endpoint: {{ kind: dedicated, engine: {}, token: hf, url: "
                "\"https://NAME.endpoints.huggingface.cloud\" }}"
                "   # made at https://endpoints.huggingface.co",
                engine
            ),
            route.empty());
    }
    if (local) {
        // Language models have servers of their own; of a copy as GGUF and the original the latter.
        const bool chats =
            of.task == "text-generation" || of.task == "image-text-to-text" || of.task == "chat-completion";
        const bool gguf = of.llama_cpp.yes && (chats || !of.transformers.yes);
        const std::string_view speaks = of.tei.yes ? "tei" : gguf || chats ? "openai" : "toolkit";
        const std::string started = of.tei.yes
                                        ? "text-embeddings-router --model-id " + of.model + " --port 8001"
                                    : gguf  ? "llama-server -hf " + of.model + " --port 8001"
                                    : chats ? "vllm serve " + of.model + " --port 8001"
                                            : "a server with the toolkit's contract: POST /, GET /health";
        add("here",
            fmt::format(
                "here: {{ kind: local, engine: {}, url: \"http://127.0.0.1:8001\" }}   # {}", speaks, started
            ),
            route.empty());
    }
    if (route.empty()) {
        add("own",
            "own: { kind: dedicated, engine: custom, url: \"https://NAME.example.com\", request: { inputs: "
            "$inputs } }   "
            "# a server of your own",
            true);
    }

    std::string out = "tokens:\n  hf: { secret: \"${HF_TOKEN}\" }\nupstreams:\n" + upstreams + "models:\n";
    out += fmt::format("  \"{}\":\n", of.model);
    const std::string task = chats_only(of) ? "chat-completion" : of.task;
    out += task.empty() ? "" : fmt::format("    task: {}\n", task);
    out += fmt::format("    route: [{}]\n", route);
    return out;
}

} // namespace gw
