// Routing: what the policy decides about a request, and the way of one through its candidates.
#include "dispatch/attempts.hpp"
#include "payload/tasks.hpp"
#include "policy/decide.hpp"
#include "world.hpp" // of the tests of dispatch

#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <variant>

namespace gw {
namespace {

config::settings policy_of(std::int64_t models)
{
    config::settings made;
    for (const char* name : {"router", "llm"}) {
        auto& upstream = *made.upstreams.emplace_back(std::make_unique<config::upstream>());
        upstream.name = name;
        upstream.kind =
            name == std::string_view("router") ? config::kind::serverless : config::kind::dedicated;
    }
    for (std::int64_t i = 0; i < models; ++i) {
        auto& entry = *made.models.emplace_back(std::make_unique<config::model_entry>());
        entry.name = "company/model-" + std::to_string(i);
        entry.aliases = {"alias-" + std::to_string(i)};
        entry.task_name = "chat-completion";
        entry.task = payloads::find_task(entry.task_name);
        for (std::uint32_t rank = 0; const auto& upstream : made.upstreams) {
            entry.route.push_back({.to = upstream.get(), .model = {}, .weight = 1, .rank = rank++});
        }
    }
    config::index_models(made);
    return made;
}

void decide_by_alias(benchmark::State& state)
{
    const config::settings now = policy_of(state.range(0));
    request asked;
    asked.model = "alias-" + std::to_string(state.range(0) / 2);
    asked.at = door::openai_chat;
    for (auto _ : state) {
        auto plan = policy::decide(nullptr, asked, now, 1);
        benchmark::DoNotOptimize(plan);
        if (!plan || plan->candidates.size() != 2) {
            state.SkipWithError("refused");
        }
    }
}
BENCHMARK(decide_by_alias)->Arg(10)->Arg(10'000);

// One request, from its plan to its good answer; `resting`: its first candidate is cooling down.
void attempts_of_a_request(benchmark::State& state, bool resting)
{
    using namespace dispatch;
    testing::world here;
    const auto& token = here.token("acme", "hf_secret");
    const auto& router = here.upstream("router", config::kind::serverless, {&token});
    const auto& plan = here.route({&router, &here.dedicated("llm")});
    const auto go = [&](const verdict& first) {
        attempts one(plan, here.state, {});
        auto step = one.next(here.now);
        auto* what = std::get_if<attempts::try_it>(&step);
        if (what == nullptr || !one.sending(here.now)) {
            return false;
        }
        if (first.what != outcome::ok) {
            one.told(first, here.now, here.wall);
            return true;
        }
        one.content(200, here.now);
        one.told(first, here.now, here.wall);
        return what->candidate == (resting ? 1U : 0U) && !one.route().empty();
    };
    bool good = !resting || go(testing::limited(std::chrono::hours(1)));
    for (auto _ : state) {
        good = good && go(testing::ok());
    }
    if (!good) {
        state.SkipWithError("it went another way");
    }
}
BENCHMARK_CAPTURE(attempts_of_a_request, healthy, false);
BENCHMARK_CAPTURE(attempts_of_a_request, first_is_resting, true);

} // namespace
} // namespace gw
