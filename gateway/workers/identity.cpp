#include "workers/identity.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

namespace gw::workers {
namespace {

constexpr std::array inherited_names{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"};

using placeholder = std::pair<std::string_view, std::string_view>;

// The same as the loader of policies takes, which refuses unknown names in a command.
bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// `$name` for a known name is replaced; everything else, `$other` and `$modelx` included, stays as it is.
std::string substitute(std::string_view text, std::span<const placeholder> known)
{
    std::string made;
    while (!text.empty()) {
        const std::size_t dollar = text.find('$');
        made += text.substr(0, dollar);
        if (dollar == std::string_view::npos) {
            break;
        }
        text.remove_prefix(dollar + 1);
        const std::size_t length =
            static_cast<std::size_t>(std::ranges::find_if_not(text, is_name_character) - text.begin());
        const std::string_view name = text.substr(0, length);
        const auto found = std::ranges::find(known, name, &placeholder::first);
        if (found == known.end()) {
            made += '$';
            made += name;
        } else {
            made += found->second;
        }
        text.remove_prefix(length);
    }
    return made;
}

bool names_token(const std::map<std::string, std::string>& env)
{
    const std::array<placeholder, 1> nothing{placeholder{"token", ""}};
    return std::ranges::any_of(env, [&](const auto& entry) {
        return entry.second.contains('$') && substitute(entry.second, nothing) != entry.second;
    });
}

std::uint64_t token_hash(const config::upstream& to)
{
    if (!names_token(to.run->env)) {
        return 0;
    }
    const config::token* token = token_of(to);
    return token == nullptr ? 0 : token->hash;
}

} // namespace

const config::token* token_of(const config::upstream& to)
{
    const auto found =
        std::ranges::find_if(to.tokens, [](const config::token* each) { return !each->value.empty(); });
    return found == to.tokens.end() ? nullptr : *found;
}

identity identity_of(const config::upstream& to, std::string_view model)
{
    return {
        .upstream = to.name,
        .model = std::string(model),
        .command = to.run->command,
        .directory = to.run->directory,
        .env = to.run->env,
        .token = token_hash(to),
    };
}

bool is_identity_of(const identity& who, const config::upstream& to, std::string_view model)
{
    return to.run && who.model == model && who.upstream == to.name && who.command == to.run->command &&
           who.directory == to.run->directory && who.env == to.run->env && who.token == token_hash(to);
}

std::vector<named_worker> workers_of(const config::settings& from)
{
    std::vector<named_worker> all;
    for (const std::unique_ptr<config::model_entry>& entry : from.models) {
        for (const config::route_entry& way : entry->route) {
            if (!way.to->run || (entry->pattern && way.model.empty())) {
                continue;
            }
            const std::string& model = way.model.empty() ? entry->name : way.model;
            const auto same = [&](const named_worker& each) {
                return each.to == way.to && each.model == model;
            };
            if (std::ranges::none_of(all, same)) {
                all.push_back({.to = way.to, .model = model});
            }
        }
    }
    return all;
}

std::vector<std::string> expand_command(const identity& who, std::uint16_t port)
{
    const std::string number = std::to_string(port);
    const std::array known{placeholder{"model", who.model}, placeholder{"port", number}};
    std::vector<std::string> made;
    for (const std::string& argument : who.command) {
        made.push_back(substitute(argument, known));
    }
    return made;
}

std::vector<std::string> expand_environment(
    const identity& who,
    std::uint16_t port,
    std::string_view token,
    const std::map<std::string, std::string>& inherited
)
{
    const std::string number = std::to_string(port);
    const std::array known{
        placeholder{"model", who.model}, placeholder{"port", number}, placeholder{"token", token}
    };
    std::map<std::string, std::string> all;
    for (const char* name : inherited_names) {
        if (const auto found = inherited.find(name); found != inherited.end()) {
            all.insert(*found);
        }
    }
    for (const auto& [name, value] : who.env) {
        all[name] = substitute(value, known);
    }

    std::vector<std::string> made;
    for (const auto& [name, value] : all) {
        made.push_back(name + '=' + value);
    }
    return made;
}

std::map<std::string, std::string> inherited_environment()
{
    std::map<std::string, std::string> found;
    for (const char* name : inherited_names) {
        if (const char* value = std::getenv(name); value != nullptr) {
            found.emplace(name, value);
        }
    }
    return found;
}

} // namespace gw::workers
