// From a draft without problems to settings: references become pointers, upstreams get their identity.
#include "config/digest.hpp"
#include "config/draft.hpp"

#include <algorithm>
#include <unordered_map>

namespace gw::config {
namespace {

// What makes an upstream the same over a reload, so that pools and what was learned of it live on. Limits and
// timeouts may change without making it another.
std::uint64_t identity(const upstream& of)
{
    std::string run;
    if (of.run) {
        for (const auto& each : of.run->command) {
            run += std::to_string(each.size()) + ':' + each;
        }
        for (const auto& [name, value] : of.run->env) {
            run += std::to_string(name.size()) + ':' + name + std::to_string(value.size()) + ':' + value;
        }
    }
    return hash_of(
        {of.name,
         to_string(of.kind),
         to_string(of.engine),
         of.at.origin,
         of.at.base_path,
         of.ca_file,
         of.proxy,
         of.path,
         run}
    );
}

// Said once at start: what will never be asked, and why.
void note(settings& made)
{
    std::set<const upstream*> used;
    std::set<const token*> sent;
    for (const auto& entry : made.models) {
        for (const auto& each : entry->route) {
            used.insert(each.to);
        }
    }
    const bool automatic = std::ranges::any_of(made.models, [](const auto& each) { return each->automatic; });
    if (made.hub.with != nullptr) {
        sent.insert(made.hub.with);
    }
    for (const auto& each : made.upstreams) {
        sent.insert(each->tokens.begin(), each->tokens.end());
        if (each->without_token()) {
            std::string names;
            for (const auto* one : each->tokens) {
                names += (names.empty() ? "`" : ", `") + one->name + '`';
            }
            made.notes.push_back(
                "upstream `" + each->name + "` is off (no_token): " + names + " has no value"
            );
        }
        if (!used.contains(each.get())) {
            made.notes.push_back(
                "upstream `" + each->name + "` is in no route" +
                (automatic && each->models.empty()
                     ? "; `route: auto` chooses it when it says what it runs: `models: [...]`"
                     : "")
            );
        }
    }
    for (const auto& each : made.tokens) {
        if (!sent.contains(each.get()) && !each->value.empty()) {
            made.notes.push_back("token `" + each->name + "` is used by no upstream");
        }
    }
}

} // namespace

std::shared_ptr<const settings> build(draft from, std::string file)
{
    auto made = std::make_shared<settings>();
    made->file = std::move(file);
    made->listen = std::move(from.listen);
    made->admin = from.admin.value_or(made->admin);
    made->admin_key_digest = std::move(from.admin_key_digest);
    made->clients = std::move(from.clients);
    made->open = from.open;
    made->limits = from.limits;
    made->spool = std::move(from.spool);
    made->hub = std::move(from.hub);

    std::unordered_map<std::string, const token*> tokens;
    for (auto& each : from.tokens) {
        const auto& kept = made->tokens.emplace_back(std::make_unique<token>(std::move(each)));
        tokens.emplace(kept->name, kept.get());
    }

    made->hub.with = from.hub_token.empty() ? nullptr : tokens.at(from.hub_token);

    std::unordered_map<std::string, const upstream*> upstreams;
    for (auto& each : from.upstreams) {
        const auto& kept = made->upstreams.emplace_back(std::make_unique<upstream>(std::move(each.value)));
        for (const auto& name : each.tokens) {
            kept->tokens.push_back(tokens.at(name));
        }
        // An empty token is no member of a pool that has others.
        if (!kept->without_token()) {
            std::erase_if(kept->tokens, [](const token* one) { return one->value.empty(); });
        }
        kept->id = identity(*kept);
        upstreams.emplace(kept->name, kept.get());
    }

    for (auto& each : from.models) {
        const auto& kept = made->models.emplace_back(std::make_unique<model_entry>(std::move(each.value)));
        for (auto& to : each.route) {
            kept->route.push_back(
                {.to = upstreams.at(to.upstream),
                 .model = std::move(to.model),
                 .weight = to.weight,
                 .rank = to.rank,
                 .provider = std::move(to.provider)}
            );
        }
    }
    index_models(*made);
    made->notes = std::move(from.notes);
    note(*made);
    return made;
}

} // namespace gw::config
