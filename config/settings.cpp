#include "config/settings.hpp"

#include "config/values.hpp"

#include <algorithm>
#include <array>
#include <tuple>

namespace gw::config {

std::string_view to_string(kind value)
{
    constexpr std::array<std::string_view, 4> names{"serverless", "dedicated", "space", "local"};
    return names[static_cast<std::size_t>(value)];
}

std::string_view to_string(engine value)
{
    constexpr std::array<std::string_view, 5> names{"toolkit", "custom", "tgi", "tei", "openai"};
    return names[static_cast<std::size_t>(value)];
}

std::string_view to_string(payload_form value)
{
    constexpr std::array<std::string_view, 3> names{"auto", "binary", "base64"};
    return names[static_cast<std::size_t>(value)];
}

bool upstream::without_token() const
{
    return (needs_token || !tokens.empty()) &&
           std::ranges::all_of(tokens, [](const token* each) { return each->value.empty(); });
}

void index_models(settings& of)
{
    of.by_name.clear();
    of.patterns.clear();
    for (const auto& each : of.models) {
        if (each->pattern) {
            of.patterns.push_back(each.get());
            continue;
        }
        of.by_name.emplace(each->name, each.get());
        for (const auto& alias : each->aliases) {
            of.by_name.emplace(alias, each.get());
        }
    }
    // Equal prefixes: the longer pattern says more.
    std::ranges::sort(of.patterns, [](const model_entry* one, const model_entry* other) {
        const auto rank = [](const model_entry* each) {
            return std::tuple(
                -static_cast<std::ptrdiff_t>(each->literal_prefix.size()),
                std::string_view(each->literal_prefix),
                -static_cast<std::ptrdiff_t>(each->name.size()),
                std::string_view(each->name)
            );
        };
        return rank(one) < rank(other);
    });
}

const model_entry* settings::find(std::string_view model) const
{
    const auto exact = by_name.find(model);
    return exact != by_name.end() ? exact->second : find_pattern(model);
}

const model_entry* settings::find_pattern(std::string_view model) const
{
    // Groups of equal prefix length, longest first; inside a group a binary search for the one prefix that
    // can match.
    const auto length = [](const model_entry* each) { return each->literal_prefix.size(); };
    const auto prefix = [](const model_entry* each) { return std::string_view(each->literal_prefix); };
    for (auto at = patterns.begin(); at != patterns.end();) {
        const std::size_t size = length(*at);
        const auto end =
            std::upper_bound(at, patterns.end(), size, [&](std::size_t wanted, const model_entry* each) {
                return length(each) < wanted;
            });
        if (size <= model.size()) {
            for (const auto* each : std::ranges::equal_range(at, end, model.substr(0, size), {}, prefix)) {
                if (matches(each->name, model)) {
                    return each;
                }
            }
        }
        at = end;
    }
    return nullptr;
}

const upstream* settings::find_upstream(std::string_view name) const
{
    const auto found =
        std::ranges::find(upstreams, name, [](const auto& each) { return std::string_view(each->name); });
    return found != upstreams.end() ? found->get() : nullptr;
}

} // namespace gw::config
