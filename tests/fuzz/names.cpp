// A model's name that is taken from a client is a Hub id or stands in the policy; whatever it is, the path at
// the upstream begins with the configured prefix and cannot be read as another place.
#include "adapters/adapter.hpp"
#include "config/load.hpp"
#include "config/providers.hpp"
#include "policy/decide.hpp"

#include "property.hpp"
#include "wire/target.hpp"

#include <algorithm>
#include <memory>
#include <string>

using namespace gw;

namespace {

constexpr std::string_view yaml = R"(
tokens: { acme: { secret: "${HF_TOKEN}" } }
upstreams:
  router: { kind: serverless, url: "https://router.test/base", token: acme }
models:
  "qwen2.5:7b": { route: [router] }
  google/vit: { aliases: [vision], task: image-classification, route: [router] }
  "org/*": { route: [{ upstream: router, model: other/name }] }
  "*": { route: [router] }
clients:
  one: { keys: ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"], models: ["google/*", "a*"] }
)";

std::shared_ptr<const config::settings> load(std::string_view text)
{
    auto made = config::load_text(text, "/policy.yaml", [](std::string_view) {
        return std::optional<std::string>{"hf_x"};
    });
    require(made.has_value(), "the policy of the test is good");
    return *made;
}

// huggingface_hub's validator, in its own words.
bool is_id_slowly(std::string_view id)
{
    const std::size_t slash = id.find('/');
    const auto part = [](std::string_view text) {
        constexpr std::string_view word = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        return !text.empty() && text.size() <= 96 && word.contains(text.front()) &&
               std::ranges::all_of(text, [&](char c) {
                   return word.contains(c) || c == '_' || c == '-' || c == '.';
               });
    };
    const bool parts =
        slash == std::string_view::npos ? part(id) : part(id.substr(0, slash)) && part(id.substr(slash + 1));
    return parts && !id.contains("..") && !id.contains("--") && !id.ends_with(".git");
}

// The path under which this name is asked for, as a task.
void check_path(const std::string& model, const config::upstream& router)
{
    request asked{.raw = true, .body_size = 1};
    asked.binary = payload{.where = {0, 1}, .size = 1};
    const adapters::target to{.to = &router, .with = router.tokens.front(), .model = model};
    const auto& adapter = adapters::adapter_for(router);
    const auto plan = adapter.plan(asked, to);
    const std::size_t colon = model.rfind(':');
    const std::string provider = colon == std::string::npos ? "" : model.substr(colon + 1);
    if (config::is_provider_name(provider) && provider != "hf-inference") { // and not a choice, as `fastest`
        require(
            !plan && plan.error().what == code::unsupported, "what a provider calls the model is not known"
        );
        return;
    }
    require(plan.has_value(), "bytes can be sent");
    auto action = adapter.open(asked, to).value()->step(adapters::event::start{}, {}, {});
    const auto* sent = std::get_if<adapters::action::send>(&action);
    require(sent != nullptr, "it begins with a request");
    const std::string& path = sent->what.path;
    require(path.starts_with("/base/hf-inference/models/"), "the path begins with the prefix");
    const auto read = wire::parse_target(path);
    require(read && read->path == path && read->query.empty(), "and is read as nothing else");
}

} // namespace

GW_FUZZ(input)
{
    static const auto now = load(yaml);
    require(policy::is_hub_id(input) == is_id_slowly(input), "what a Hub id is");

    for (const config::client* who : {static_cast<const config::client*>(nullptr), &now->clients.front()}) {
        request asked{.at = door::hf_task, .model = std::string{input}};
        const auto made = policy::decide(who, asked, *now, input.size());
        if (!made) {
            require(
                made.error().from == origin::client && made.error().text.size() < 2000, "a refusal explains"
            );
            continue;
        }
        require(!made->candidates.empty(), "a plan leads somewhere");
        const bool literal = now->by_name.contains(made->model);
        require(literal || policy::is_hub_id(made->model), "a Hub id, or a name of the policy");
        require(
            made->provider.empty() || policy::is_provider(made->provider), "a provider of the closed list"
        );
        require(who == nullptr || policy::allowed(who, made->model), "one that this client may use");
        if (!literal) {
            const std::string given =
                made->provider.empty() ? made->model : made->model + ":" + made->provider;
            require(given == input, "it is the name that was given");
            check_path(made->candidates.front().model, *made->candidates.front().to);
        }
    }
}
