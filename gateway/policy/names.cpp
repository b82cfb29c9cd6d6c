// Names of models: the grammar of Hub ids, provider suffixes, and which policy entry a name stands for.
#include "config/providers.hpp"
#include "config/suggest.hpp"
#include "config/values.hpp"
#include "policy/decide.hpp"

#include <algorithm>
#include <array>

namespace gw::policy {
namespace {

// The router's own ways to choose a provider.
constexpr auto choices = std::to_array<std::string_view>({"cheapest", "fastest", "preferred"});

bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_segment(std::string_view text)
{
    return !text.empty() && text.size() <= 96 && is_alphanumeric(text.front()) &&
           std::ranges::all_of(text, [](char c) {
               return is_alphanumeric(c) || c == '_' || c == '.' || c == '-';
           });
}

// What to do about an unknown name: the names of the policy that this client may use and could have meant.
// Bounded: an unknown name is cheap to send.
std::string near(std::string_view model, const config::client* who, const config::settings& now)
{
    constexpr std::size_t most = 1'000;
    std::vector<std::string_view> names;
    for (const auto& each : now.models) {
        if (names.size() >= most) {
            break;
        }
        if (!each->pattern && allowed(who, each->name)) {
            names.emplace_back(each->name);
            names.insert(names.end(), each->aliases.begin(), each->aliases.end());
        }
    }
    std::string meant = config::did_you_mean(model, names);
    return meant.empty() ? "; GET /v1/models lists those it has" : meant;
}

} // namespace

bool is_hub_id(std::string_view name)
{
    if (name.find("..") != std::string_view::npos || name.find("--") != std::string_view::npos ||
        name.ends_with(".git")) {
        return false;
    }
    const std::size_t slash = name.find('/');
    if (slash == std::string_view::npos) {
        return is_segment(name);
    }
    return is_segment(name.substr(0, slash)) && is_segment(name.substr(slash + 1));
}

bool is_provider(std::string_view suffix)
{
    return config::is_provider_name(suffix) || std::ranges::find(choices, suffix) != choices.end();
}

bool allowed(const config::client* who, std::string_view model)
{
    return who == nullptr || who->models.empty() ||
           std::ranges::any_of(who->models, [&](const std::string& each) {
               return config::matches(each, model);
           });
}

result<resolved> resolve(std::string_view model, const config::client* who, const config::settings& now)
{
    const auto literal = [&](std::string_view name) -> const config::model_entry* {
        const auto found = now.by_name.find(name);
        return found != now.by_name.end() ? found->second : nullptr;
    };

    // A name that stands in the policy means what the policy says, whatever it looks like.
    if (const auto* entry = literal(model)) {
        return resolved{.entry = entry, .model = entry->name, .provider = {}};
    }
    std::string_view name = model;
    std::string_view provider;
    if (const std::size_t colon = model.rfind(':');
        colon != std::string_view::npos && is_provider(model.substr(colon + 1))) {
        name = model.substr(0, colon);
        provider = model.substr(colon + 1);
        if (const auto* entry = literal(name)) {
            return resolved{.entry = entry, .model = entry->name, .provider = std::string(provider)};
        }
    }

    if (!is_hub_id(name)) {
        const std::string text =
            name.empty() ? "no model was named: say which one, as in `google/vit-base-patch16-224`"
                         : "this is no model of the policy and no Hugging Face id: `name` or "
                           "`namespace/name` of letters, digits, "
                           "`_`, `-` and `.`, perhaps with a provider behind it (`:groq`, `:fastest`)";
        return refuse(code::invalid_model, text);
    }
    const auto* entry = now.find_pattern(name);
    if (entry == nullptr) {
        return refuse(
            code::unknown_model, "no model `" + std::string(name) + "` in the policy" + near(name, who, now)
        );
    }
    return resolved{.entry = entry, .model = std::string(name), .provider = std::string(provider)};
}

} // namespace gw::policy
