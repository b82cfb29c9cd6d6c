// `models:`: which upstreams answer for a name, in which order, and when the next one is tried.
#include "config/draft.hpp"
#include "config/keys.hpp"
#include "config/providers.hpp"
#include "config/suggest.hpp"
#include "payload/tasks.hpp"

#include <algorithm>
#include <unordered_map>

namespace gw::config {
namespace {

constexpr std::string_view model_rule =
    "not a model's name; use visible ASCII without quotes, backslashes and segments `.` or `..`, at most 256";

std::set<outcome> default_on()
{
    return {
        outcome::rate_limited,
        outcome::out_of_credits,
        outcome::token_rejected,
        outcome::warming,
        outcome::unavailable,
        outcome::unsupported,
        outcome::too_large,
    };
}

void read_on(const field& from, std::set<outcome>& into)
{
    std::vector<std::string_view> names;
    for (int i = 0; i < outcome_count; ++i) {
        const auto each = static_cast<outcome>(i);
        if (each != outcome::ok && each != outcome::rejected && each != outcome::broken_stream) {
            names.push_back(to_string(each));
        }
    }
    into.clear();
    for (const auto& each : from.texts("a list of outcomes, as in `[rate_limited, unavailable]`")) {
        const auto said = each.text("an outcome");
        const auto known = said ? parse_outcome(*said) : std::nullopt;
        if (known == outcome::ok || known == outcome::rejected || known == outcome::broken_stream) {
            each.report_value("an outcome that never moves on to the next upstream; leave it out");
        } else if (const auto index = each.choice("outcome", names)) {
            into.insert(*parse_outcome(names[*index]));
        }
    }
}

void read_fallback(const field& from, fallback& into)
{
    const fields map(from, "a map with `on`, `attempts`, `deadline`, `max_wait`", keys::fallback);
    if (const auto on = map.get("on")) {
        read_on(*on, into.on);
    }
    std::size_t attempts = into.attempts;
    map.count("attempts", attempts, 1, 100);
    into.attempts = static_cast<std::uint32_t>(attempts);
    map.duration("deadline", into.deadline);
    map.duration("max_wait", into.max_wait, std::chrono::milliseconds(0));
}

// Reads the routes of one model.
class route_reader
{
public:
    route_reader(const draft& known, model_draft& into) : known_(known), into_(into)
    {
        for (const auto& each : known.upstreams) {
            names_.emplace_back(each.value.name);
        }
    }

    void read(const field& from)
    {
        if (from.is(node::type::scalar) && from.at().text == "auto") {
            every_way(from);
            return;
        }
        const auto ranks = from.items("a list of upstreams, as in `route: [router, own]`, or `auto`");
        if (ranks.empty() && from.is(node::type::sequence)) {
            from.report("an empty route leads nowhere; list the upstreams, as in `route: [router]`");
        }
        for (std::uint32_t rank = 0; const auto& each : ranks) {
            if (each.is(node::type::sequence)) {
                const auto peers = each.items("a list of upstreams of equal rank");
                if (peers.empty()) {
                    each.report("an empty list of upstreams of equal rank");
                }
                for (const auto& peer : peers) {
                    entry(peer, rank);
                }
            } else {
                entry(each, rank);
            }
            ++rank;
        }
    }

private:
    // `auto`: every upstream that could run the model, in the order of `upstreams:`. Which of them do is
    // asked at the Hub when a request comes.
    void every_way(const field& from)
    {
        into_.value.automatic = true;
        for (const auto& each : known_.upstreams) {
            if (could_run(each.value)) {
                const auto rank = static_cast<std::uint32_t>(into_.route.size());
                into_.route.push_back({.upstream = each.value.name, .model = {}, .rank = rank});
            }
        }
        if (into_.route.empty()) {
            from.report(
                "no upstream can be chosen: kind `serverless` is, and one that says what it runs, as in "
                "`models: [\"" +
                into_.value.name + "\"]`"
            );
        }
    }

    // Most servers run one model and answer for any name. So one is chosen only if it is started for the
    // model asked for, or says what it runs.
    bool could_run(const upstream& to) const
    {
        if (to.kind == kind::serverless) {
            return true;
        }
        if (to.run && into_.value.pattern) {
            return false; // no process for a name that only a pattern matched
        }
        const bool says = std::ranges::any_of(to.models, [&](const std::string& each) {
            return into_.value.pattern || matches(each, into_.value.name);
        });
        const bool takes_name =
            to.run && to.models.empty() && std::ranges::any_of(to.run->command, [](const std::string& each) {
                return each.contains("$model");
            });
        return says || takes_name;
    }

    void entry(const field& from, std::uint32_t rank)
    {
        constexpr std::string_view expected =
            "an upstream's name, or a map with `upstream`, `model`, `provider`, `weight`";
        route_draft made{.rank = rank};
        if (from.is(node::type::scalar)) {
            if (const auto said = from.text(expected)) {
                made.upstream = *said;
                check(from, made);
            }
            return;
        }
        const fields map(from, expected, keys::route);
        if (!map.is_map()) {
            return;
        }
        if (const auto model = map.get("model")) {
            if (const auto said = model->text("the model's name there")) {
                made.model = *said;
                if (!is_model_name(*said) || said->find('*') != std::string::npos) {
                    model->report_value(std::string(model_rule));
                }
            }
        }
        if (const auto weight = map.get("weight")) {
            made.weight = static_cast<std::uint32_t>(weight->count(1, 1'000'000).value_or(1));
        }
        if (const auto provider = map.get("provider")) {
            if (const auto index = provider->choice("provider", provider_names)) {
                made.provider = provider_names.at(*index);
            }
        }
        if (const auto name = map.get("upstream")) {
            if (const auto said = name->text("an upstream's name")) {
                made.upstream = *said;
                check(*name, made);
            }
        } else {
            from.report("lacks `upstream`");
        }
    }

    void check(const field& from, const route_draft& made)
    {
        const auto to = std::ranges::find(known_.upstreams, made.upstream, [](const upstream_draft& each) {
            return std::string_view(each.value.name);
        });
        if (to == known_.upstreams.end()) {
            from.report_value("no upstream of `upstreams:`" + did_you_mean(made.upstream, names_));
            return;
        }
        const bool again = std::ranges::any_of(into_.route, [&](const route_draft& other) {
            return other.upstream == made.upstream && other.model == made.model &&
                   other.provider == made.provider;
        });
        if (again) {
            from.report_value("in this route already; to try again is what `fallback: { attempts }` is for");
            return;
        }
        if (!made.provider.empty() && to->value.kind != kind::serverless) {
            from.report_value("no serverless upstream, and only the router has providers");
            return;
        }
        if (to->value.run && into_.value.pattern && made.model.empty()) {
            from.report_value(
                "an upstream with a `command`, and no process is started for a name that only a pattern "
                "matched: list "
                "the model by its name, or write `{ upstream: " +
                made.upstream + ", model: ... }`"
            );
            return;
        }
        into_.route.push_back(made);
    }

    const draft& known_;
    model_draft& into_;
    std::vector<std::string_view> names_;
};

} // namespace

void read_models(const field& from, draft& into)
{
    const auto all = from.members("a map of models");
    if (all.empty() && from.is(node::type::map)) {
        from.report("names no model; `\"*\": { route: [...] }` stands for every one");
    }

    std::unordered_map<std::string, int> lines; // of names
    for (const auto& [name, value] : all) {
        lines.emplace(name, value.line());
    }
    std::unordered_map<std::string, std::pair<int, std::string>> aliases; // alias -> line and model

    for (const auto& [name, value] : all) {
        model_draft made;
        made.value.name = name;
        made.value.pattern = name.find('*') != std::string::npos;
        made.value.literal_prefix = name.substr(0, name.find('*'));
        made.value.fallback.on = default_on();
        if (!is_model_name(name)) {
            value.report(std::string(model_rule));
        }
        if (made.value.pattern && name.find(':') != std::string::npos) {
            value.report("a pattern matches Hub ids only, which hold no `:`; list such models by name");
        }

        const fields map(value, "a map with `task`, `aliases`, `route`, `fallback`", keys::model);
        if (const auto task = map.get("task")) {
            if (const auto said = task->text("a task's name")) {
                made.value.task = payloads::find_task(*said);
                made.value.task_name = *said;
                if (made.value.task == nullptr) {
                    const std::string near = payloads::nearest_task(*said);
                    task->report_value("no task" + (near.empty() ? near : "; did you mean `" + near + "`?"));
                }
            }
        }
        if (const auto list = map.get("aliases")) {
            for (const auto& each : list->texts("a list of names")) {
                const auto said = each.text("a name");
                if (!said) {
                    continue;
                }
                if (!is_model_name(*said) || said->find('*') != std::string::npos) {
                    each.report_value(std::string(model_rule) + ", and no `*`");
                } else if (made.value.pattern) {
                    each.report(
                        "a pattern cannot have aliases: there is no one name that they would stand for"
                    );
                } else if (const auto model = lines.find(*said); model != lines.end()) {
                    each.report_value(
                        "the name of a model already (line " + std::to_string(model->second) + ")"
                    );
                } else if (const auto [first, fresh] = aliases.emplace(*said, std::pair(each.line(), name));
                           !fresh) {
                    each.report_value(
                        "an alias of `" + first->second.second + "` already (line " +
                        std::to_string(first->second.first) + ")"
                    );
                } else {
                    made.value.aliases.push_back(*said);
                }
            }
        }
        if (const auto fallback = map.get("fallback")) {
            read_fallback(*fallback, made.value.fallback);
        }
        if (const auto route = map.get("route")) {
            route_reader(into, made).read(*route);
            into.hub.on = into.hub.on || made.value.automatic;
        } else if (map.is_map()) {
            value.report("lacks `route`; list the upstreams, as in `route: [router]`");
        }
        into.models.push_back(std::move(made));
    }
}

} // namespace gw::config
